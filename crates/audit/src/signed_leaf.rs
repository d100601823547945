use crate::entries::MAX_ENTRY;
use crate::text::{Lines, from_base64, hash_from_hex, put, to_base64};
use crate::{Leaf, TextError};
use firebreak_domain::Pin;

/// The key that signs leaves could not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key that signs leaves could not be used")]
pub struct LeafSignatureError;

/// Signs leaves with the key of a certificate (ECDSA P-256 over SHA-256). The key stays where TLS keys are kept.
pub trait LeafSigner {
    /// SHA-256 of the key's SubjectPublicKeyInfo.
    fn key(&self) -> Pin;

    /// Signs the text of a leaf.
    ///
    /// # Errors
    /// [`LeafSignatureError`].
    fn sign(&self, leaf: &[u8]) -> Result<Vec<u8>, LeafSignatureError>;
}

/// Knows whose key may sign a leaf, and checks the signature.
pub trait LeafVerifier {
    /// Whether `key` is that of the leaf's signer ([`Leaf::signer_org`], [`Leaf::signer_role`]) and `signature` is its
    /// signature of `text`.
    fn accepts(&self, leaf: &Leaf, text: &[u8], key: &Pin, signature: &[u8]) -> bool;
}

/// A leaf under the signature of whoever acted: what the log holds as an entry.
///
/// Its text is the leaf's, then the line `signature <hex of the key's hash> <base64 of the signature>`. The signature
/// is over the leaf's text, whose first line keeps it apart from everything else that the key signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedLeaf {
    text: String,
    leaf: Leaf,
    leaf_len: usize,
    key: Pin,
    signature: Vec<u8>,
}

impl SignedLeaf {
    /// Signs a leaf.
    ///
    /// # Errors
    /// [`LeafSignatureError`].
    pub fn sign(leaf: Leaf, signer: &dyn LeafSigner) -> Result<Self, LeafSignatureError> {
        let mut text = leaf.encode();
        let leaf_len = text.len();
        let key = signer.key();
        let signature = signer.sign(text.as_bytes())?;
        if signature.is_empty() {
            return Err(LeafSignatureError);
        }
        put(&mut text, "signature", format_args!("{} {}", hex::encode(key.as_bytes()), to_base64(&signature)));
        Ok(Self { text, leaf, leaf_len, key, signature })
    }

    /// Reads an entry of the log. The signature is not yet checked: [`SignedLeaf::is_signed`].
    ///
    /// # Errors
    /// [`TextError`], which names the line.
    pub fn decode(bytes: &[u8]) -> Result<Self, TextError> {
        if bytes.len() > MAX_ENTRY {
            return Err(TextError::TooLarge);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| TextError::NotText)?;
        let mut lines = Lines::begin(bytes, "leaf")?;
        let leaf = Leaf::read(&mut lines)?;
        let leaf_len = text.len() - lines.rest().len();
        let (key, signature) = lines.parsed("signature", |value| {
            let (key, signature) = value.split_once(' ')?;
            let signature = from_base64(signature).filter(|signature| !signature.is_empty())?;
            Some((Pin::from_bytes(hash_from_hex(key)?), signature))
        })?;
        lines.end()?;
        Ok(Self { text: text.to_owned(), leaf, leaf_len, key, signature })
    }

    /// The entry of the log.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// The entry of the log, as the text that it is.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What it says.
    #[must_use]
    pub const fn leaf(&self) -> &Leaf {
        &self.leaf
    }

    /// SHA-256 of the SubjectPublicKeyInfo of the key that is said to have signed.
    #[must_use]
    pub const fn key(&self) -> &Pin {
        &self.key
    }

    /// Whether its signer's key signed it.
    #[must_use]
    pub fn is_signed(&self, verifier: &dyn LeafVerifier) -> bool {
        let text = self.text.as_bytes().get(..self.leaf_len).unwrap_or_default();
        verifier.accepts(&self.leaf, text, &self.key, &self.signature)
    }
}
