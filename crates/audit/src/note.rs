//! The log's Ed25519 key and what it signs: checkpoints as C2SP signed notes.

use crate::text::{Lines, first_line, from_base64};
use crate::{Hash, NoRandomness, TextError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer as _, SigningKey};
use signed_note::{Note, NoteError, StandardVerifier, VerifierList};
use std::fmt;
use std::str::FromStr;
use tlog_tiles::tlog::{EMPTY_HASH, Hash as TreeHash};
use zeroize::Zeroizing;

const ALGORITHM_ED25519: u8 = 1;
const WHAT: &str = "note key";
/// A tree beyond 2^40 leaves is nothing that this program wrote; below it, no index computation can overflow.
pub(crate) const MAX_SIZE: u64 = 1 << 40;

/// A key that cannot be read or made. Says nothing of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteKeyError {
    /// The name is not usable.
    #[error("a log's name must be 1 to 200 visible ASCII characters without '+', for instance 'example.org/log'")]
    Name,
    /// Not a key file.
    #[error(transparent)]
    Text(#[from] TextError),
    /// Not a verifier key.
    #[error("a verifier key must be '<name>+<8 hexadecimal digits>+<base64 of an Ed25519 key>'")]
    Verifier,
    /// No randomness.
    #[error(transparent)]
    Random(#[from] NoRandomness),
}

/// The log's own key. Its name is the log's origin.
///
/// SECURITY: no `Debug`, no `Clone`; the secret is wiped when dropped.
pub struct NoteKey {
    secret: SigningKey,
    verifier: VerifierKey,
}

impl NoteKey {
    /// A new key for the log of that name, which is the first line of its checkpoints: a URL without its scheme.
    ///
    /// # Errors
    /// [`NoteKeyError::Name`], [`NoteKeyError::Random`].
    pub fn generate(name: &str) -> Result<Self, NoteKeyError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut_slice()).map_err(|_| NoRandomness)?;
        Self::of(name, SigningKey::from_bytes(&seed))
    }

    fn of(name: &str, secret: SigningKey) -> Result<Self, NoteKeyError> {
        check_name(name)?;
        let verifier = signed_note::new_ed25519_verifier_key(name, &secret.verifying_key()).parse()?;
        Ok(Self { secret, verifier })
    }

    /// Reads what [`NoteKey::encode`] wrote.
    ///
    /// # Errors
    /// [`NoteKeyError::Text`], [`NoteKeyError::Name`].
    pub fn decode(text: &[u8]) -> Result<Self, NoteKeyError> {
        let mut lines = Lines::begin(text, WHAT)?;
        let value = lines.value("key")?;
        lines.end()?;
        let (name, id, key) = (|| {
            let mut parts = value.strip_prefix("PRIVATE+KEY+")?.splitn(3, '+');
            Some((parts.next()?, parts.next()?, parts.next()?))
        })()
        .ok_or(TextError::Value("key"))?;
        let bytes = Zeroizing::new(from_base64(key).ok_or(TextError::Value("key"))?);
        let seed: &[u8; 32] = bytes
            .split_first()
            .filter(|(algorithm, _)| **algorithm == ALGORITHM_ED25519)
            .and_then(|(_, seed)| seed.try_into().ok())
            .ok_or(TextError::Value("key"))?;
        let key = Self::of(name, SigningKey::from_bytes(seed))?;
        if format!("{:08x}", key.id()) == id { Ok(key) } else { Err(TextError::Value("key").into()) }
    }

    /// The key as a file: the line `firebreak note key format 1`, then `key` and the key as C2SP tools write it.
    /// Whoever can read it can sign checkpoints.
    #[must_use]
    pub fn encode(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new([ALGORITHM_ED25519; 33]);
        if let Some(seed) = bytes.get_mut(1..) {
            seed.copy_from_slice(self.secret.as_bytes());
        }
        let start = format!("{}key PRIVATE+KEY+{}+{:08x}+", first_line(WHAT), self.name(), self.id());
        // SECURITY: room for the whole at once; a string that grows leaves copies of the secret behind.
        let mut text = Zeroizing::new(String::with_capacity(start.len() + 64));
        text.push_str(&start);
        STANDARD.encode_string(bytes.as_slice(), &mut text);
        text.push('\n');
        text
    }

    /// The log's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.verifier.name()
    }

    /// The key by which others verify.
    #[must_use]
    pub const fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    fn id(&self) -> u32 {
        signed_note::Verifier::key_id(&self.verifier.verifier)
    }

    /// Signs a tree of `size` leaves with that root.
    pub(crate) fn sign(&self, size: u64, root: Hash) -> Result<Checkpoint, CheckpointError> {
        let text = tlog_tiles::checkpoint::Checkpoint::new(self.name(), size, TreeHash(root), "")
            .map_err(|_| CheckpointError::Malformed)?
            .to_bytes();
        let mut note = Note::new(&text, &[]).map_err(|_| CheckpointError::Malformed)?;
        note.add_sigs(&[&NoteSigner(self)]).map_err(|_| CheckpointError::Malformed)?;
        let note = String::from_utf8(note.to_bytes()).map_err(|_| CheckpointError::Malformed)?;
        Ok(Checkpoint { size, root, note })
    }
}

fn check_name(name: &str) -> Result<(), NoteKeyError> {
    let visible = name.bytes().all(|b| b.is_ascii_graphic() && b != b'+');
    if visible && (1..=200).contains(&name.len()) { Ok(()) } else { Err(NoteKeyError::Name) }
}

/// Signs without handing the secret to a type that would copy it.
struct NoteSigner<'a>(&'a NoteKey);

impl signed_note::Signer for NoteSigner<'_> {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn key_id(&self) -> u32 {
        self.0.id()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, ed25519_dalek::SignatureError> {
        Ok(self.0.secret.try_sign(message)?.to_vec())
    }
}

/// The public key of a log, in the form `<name>+<key id>+<base64>` that C2SP tools take. Its name is the log's origin.
#[derive(Clone)]
pub struct VerifierKey {
    text: String,
    verifier: StandardVerifier,
}

impl VerifierKey {
    /// The log's name.
    #[must_use]
    pub fn name(&self) -> &str {
        signed_note::Verifier::name(&self.verifier)
    }

    /// Checks a signed checkpoint: three lines, a blank one, one signature by this key, and not a byte more.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn open(&self, note: &[u8]) -> Result<Checkpoint, CheckpointError> {
        let parsed = Note::from_bytes(note).map_err(|_| CheckpointError::Malformed)?;
        let tree =
            tlog_tiles::checkpoint::Checkpoint::from_bytes(parsed.text()).map_err(|_| CheckpointError::Malformed)?;
        // Extension lines and further signatures are legal elsewhere. Here nobody would check them, and what nobody
        // checks could be changed unseen: five lines, and the bytes that writing them again gives.
        let lines = note.iter().filter(|byte| **byte == b'\n').count();
        if lines != 5 || parsed.to_bytes() != note || tree.to_bytes() != parsed.text() || tree.size() > MAX_SIZE {
            return Err(CheckpointError::Malformed);
        }
        if tree.origin() != self.name() {
            return Err(CheckpointError::WrongOrigin);
        }
        match parsed.verify(&VerifierList::new(vec![Box::new(self.verifier.clone())])) {
            Ok(_) => {}
            Err(NoteError::InvalidSignature { .. }) => return Err(CheckpointError::BadSignature),
            Err(_) => return Err(CheckpointError::WrongKey),
        }
        if tree.size() == 0 && *tree.hash() != EMPTY_HASH {
            return Err(CheckpointError::Malformed);
        }
        let note = String::from_utf8(note.to_vec()).map_err(|_| CheckpointError::Malformed)?;
        Ok(Checkpoint { size: tree.size(), root: tree.hash().0, note })
    }
}

impl FromStr for VerifierKey {
    type Err = NoteKeyError;

    fn from_str(text: &str) -> Result<Self, NoteKeyError> {
        let name = text.split('+').next().unwrap_or_default();
        check_name(name)?;
        let canonical = text.split('+').nth(1).is_some_and(|id| !id.bytes().any(|b| b.is_ascii_uppercase()));
        if !canonical {
            return Err(NoteKeyError::Verifier);
        }
        let verifier = StandardVerifier::new(text).map_err(|_| NoteKeyError::Verifier)?;
        Ok(Self { text: text.to_owned(), verifier })
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for VerifierKey {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for VerifierKey {}

/// A checkpoint whose signature holds: so many leaves, under that root. Only [`VerifierKey::open`] and the log make
/// one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    size: u64,
    root: Hash,
    note: String,
}

impl Checkpoint {
    /// Leaves in the tree.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Root of the tree (RFC 6962, section 2.1).
    #[must_use]
    pub const fn root(&self) -> &Hash {
        &self.root
    }

    /// The signed note itself.
    #[must_use]
    pub fn note(&self) -> &str {
        &self.note
    }
}

/// A checkpoint that does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Not a signed checkpoint of the one form accepted here.
    #[error("not a checkpoint of three lines with one signature")]
    Malformed,
    /// Another log's.
    #[error("the checkpoint is of another log")]
    WrongOrigin,
    /// Signed by another key.
    #[error("the checkpoint is signed by another key than the log's")]
    WrongKey,
    /// Changed after signing.
    #[error("the signature does not fit the checkpoint")]
    BadSignature,
}

#[cfg(test)]
mod tests;
