//! What overseers and agencies do to a bundle folder: list its files, sign contracts, cosign the manifest.
//!
//! In order: [`sign_contract`] for each contract, by its agency; [`write_manifest`]; [`cosign`] by each overseer, and
//! by an agency where facts about its data are loosened.

use crate::candidate::read_files;
use crate::error::BundleError;
use crate::manifest::{MANIFEST, Manifest, Validity};
use base64::Engine as _;
use firebreak_domain::{Contract, FORMAT};
use sha2::{Digest as _, Sha256};
use signed_note::{Note, StandardSigner};
use std::path::Path;
use zeroize::Zeroizing;

/// An ed25519 key with which an overseer cosigns manifests or an agency signs contracts. It has no `Debug`.
pub struct SigningKey {
    text: Zeroizing<String>,
    verifier: String,
}

/// A key or a signature that could not be made. Never carries key material.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SigningError {
    /// Not a signer key in C2SP note form.
    #[error("not a signer key (PRIVATE+KEY+name+id+key with an ed25519 key)")]
    Key,
    /// A key name with spaces or plus signs, or empty.
    #[error("a key's name has no spaces and no plus sign")]
    Name,
    /// The system gave no randomness.
    #[error("the operating system gave no random bytes")]
    Randomness,
    /// What is to be signed is not there or not what it should be.
    #[error("{file} cannot be signed: {problem}")]
    Unsignable {
        /// Path inside the bundle.
        file: String,
        /// What is wrong.
        problem: String,
    },
    /// The folder is not a bundle.
    #[error(transparent)]
    Bundle(#[from] Box<BundleError>),
}

impl SigningKey {
    /// Draws a key from the system's randomness, for the signer of that name.
    ///
    /// # Errors
    /// [`SigningError::Name`] or [`SigningError::Randomness`].
    pub fn generate(name: &str) -> Result<Self, SigningError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut()).map_err(|_| SigningError::Randomness)?;
        if !signed_note::is_key_name_valid(name) {
            return Err(SigningError::Name);
        }
        let public = ed25519_dalek::SigningKey::from_bytes(&seed).verifying_key();
        let verifier = signed_note::new_ed25519_verifier_key(name, &public);
        let id = verifier.split('+').nth(1).ok_or(SigningError::Name)?;
        let mut key = Zeroizing::new(vec![ED25519]);
        key.extend_from_slice(seed.as_ref());
        let encoded = Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(&*key));
        let text = Zeroizing::new(format!("PRIVATE+KEY+{name}+{id}+{}", *encoded));
        Ok(Self { text, verifier })
    }

    /// Reads a signer key in the form of C2SP notes, as [`SigningKey::secret`] gives it.
    ///
    /// # Errors
    /// [`SigningError::Key`].
    pub fn parse(text: &str) -> Result<Self, SigningError> {
        let text = text.trim();
        StandardSigner::new(text).map_err(|_| SigningError::Key)?;
        let mut parts = text.splitn(5, '+').skip(2);
        let (Some(name), Some(_), Some(encoded)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(SigningError::Key);
        };
        let decoded = base64::engine::general_purpose::STANDARD.decode(encoded).map_err(|_| SigningError::Key)?;
        let decoded = Zeroizing::new(decoded);
        let seed = decoded.get(1..).and_then(|s| <[u8; 32]>::try_from(s).ok()).ok_or(SigningError::Key)?;
        let seed = Zeroizing::new(seed);
        let public = ed25519_dalek::SigningKey::from_bytes(&seed).verifying_key();
        let verifier = signed_note::new_ed25519_verifier_key(name, &public);
        Ok(Self { text: Zeroizing::new(text.to_owned()), verifier })
    }

    /// The key itself, to be written to a file that only its owner can read.
    #[must_use]
    pub fn secret(&self) -> &Zeroizing<String> {
        &self.text
    }

    /// The verifier key that goes into `overseers.toml`.
    #[must_use]
    pub fn verifier_key(&self) -> String {
        self.verifier.clone()
    }

    fn signer(&self) -> Result<StandardSigner, SigningError> {
        StandardSigner::new(&self.text).map_err(|_| SigningError::Key)
    }
}

/// ed25519's number among the signature types of C2SP notes.
const ED25519: u8 = 1;

/// Signs a contract for its agency: writes `<name>.note` beside `contracts/<name>.toml`.
///
/// Any later edit of the contract, a space included, makes the note void.
///
/// # Errors
/// [`SigningError`]: no such contract, not a contract, not writable.
pub fn sign_contract(contract: &Path, key: &SigningKey) -> Result<(), SigningError> {
    let file = contract.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let failed = |problem: String| SigningError::Unsignable { file: file.clone(), problem };
    let text = std::fs::read_to_string(contract).map_err(|e| failed(e.kind().to_string()))?;
    let parsed: Contract = toml::from_str(&text).map_err(|e| failed(e.message().to_owned()))?;
    parsed.check().map_err(|e| failed(e.to_string()))?;
    let signed = sign(contract_text(&parsed, text.as_bytes()).as_bytes(), key).map_err(|e| failed(e.to_string()))?;
    std::fs::write(contract.with_extension("note"), signed).map_err(|e| failed(e.kind().to_string()))
}

/// What an agency signs for a contract: its name and the hash of the file.
pub(crate) fn contract_text(contract: &Contract, file: &[u8]) -> String {
    let hash = hex::encode(Sha256::digest(file));
    format!("firebreak contract format {FORMAT}\ncontract {}\nagency {}\nsha256 {hash}\n", contract.id, contract.agency)
}

/// Lists the folder's files in a new, unsigned `manifest.note`, in place of any before, and gives its text.
///
/// `previous` is the hash of the manifest before ([`Manifest::digest`]); sequence 1 has none.
///
/// # Errors
/// [`SigningError`]: a stray file, a folder that cannot be read or written, times or numbers that no manifest has.
pub fn write_manifest(
    folder: &Path,
    sequence: u64,
    previous: Option<[u8; 32]>,
    validity: Validity,
) -> Result<String, SigningError> {
    let mut files = read_files(folder).map_err(Box::new)?;
    files.remove(MANIFEST);
    let files = files.into_iter().map(|(path, bytes)| (path, Sha256::digest(bytes).into())).collect();
    let text = Manifest { sequence, previous, validity, files }.to_string();
    Manifest::parse(&text).map_err(Box::new)?;
    write_note(folder, text.as_bytes())?;
    Ok(text)
}

/// Adds a signature to `manifest.note`. A second one by the same key replaces the first.
///
/// # Errors
/// [`SigningError`]: no manifest, one that does not fit the folder's files, or not writable.
pub fn cosign(folder: &Path, key: &SigningKey) -> Result<(), SigningError> {
    // SECURITY: nobody is made to sign a list that is not the folder in front of them.
    let candidate = crate::Candidate::read(folder).map_err(Box::new)?;
    let failed = |problem: String| SigningError::Unsignable { file: MANIFEST.to_owned(), problem };
    let bytes = std::fs::read(folder.join(MANIFEST)).map_err(|e| failed(e.kind().to_string()))?;
    let mut note = match Note::from_bytes(&bytes) {
        Ok(signed) => signed,
        Err(_) => Note::new(candidate.note.text().as_bytes(), &[]).map_err(|e| failed(e.to_string()))?,
    };
    note.add_sigs(&[&key.signer()?]).map_err(|e| failed(e.to_string()))?;
    write_note(folder, &note.to_bytes())
}

fn sign(text: &[u8], key: &SigningKey) -> Result<Vec<u8>, SigningError> {
    let failed = |_| SigningError::Key;
    let mut note = Note::new(text, &[]).map_err(failed)?;
    note.add_sigs(&[&key.signer()?]).map_err(failed)?;
    Ok(note.to_bytes())
}

fn write_note(folder: &Path, bytes: &[u8]) -> Result<(), SigningError> {
    let failed =
        |e: std::io::Error| SigningError::Unsignable { file: MANIFEST.to_owned(), problem: e.kind().to_string() };
    std::fs::write(folder.join(MANIFEST), bytes).map_err(failed)
}
