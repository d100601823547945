//! The secret that belongs to a state folder.

use crate::Sealer;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};
use zeroize::Zeroizing;

/// 32 secret bytes under which one state folder's names are hashed and its values sealed.
///
/// Kept in a file of its own, so that a copy of the folder alone tells nothing about a person.
pub struct StateKey(Zeroizing<[u8; 32]>);

/// Why there is no state key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("the state key file cannot be read or created: {0}")]
    Io(#[from] io::Error),
    /// Others can read it.
    #[error("the state key file can be read by others: set its mode to 0600")]
    Exposed,
    /// It is something else.
    #[error("the state key file does not hold a state key: name the right file, or restore it")]
    Form,
    /// Written by a later version.
    #[error("the state key file has a format that this program does not know: upgrade it")]
    Format,
    /// The system gave no randomness.
    #[error("the operating system gave no random bytes")]
    Random,
}

const PREFIX: &str = "firebreak-state-key-v";
const VERSION: &str = "1";
/// Prefix, version, colon, 64 hexadecimal digits, line end.
const MOST_BYTES: u64 = 128;

impl StateKey {
    /// Wraps secret bytes kept elsewhere.
    #[must_use]
    pub fn from_bytes(secret: [u8; 32]) -> Self {
        Self(Zeroizing::new(secret))
    }

    /// Reads the key from the file at `path`, or makes one there, mode 0600 and on the disk, if there is no file.
    ///
    /// # Errors
    /// [`KeyError`]: unreadable, readable by others, of another form or a later format.
    pub fn load_or_create(path: &Path) -> Result<Self, KeyError> {
        match File::open(path) {
            Ok(file) => Self::read(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::create(path),
            Err(error) => Err(error.into()),
        }
    }

    /// Checks that the file at `path` holds a key, if there is one, and makes none.
    ///
    /// # Errors
    /// [`KeyError`], as [`StateKey::load_or_create`].
    pub fn check(path: &Path) -> Result<(), KeyError> {
        match File::open(path) {
            Ok(file) => Self::read(file).map(drop),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Seals values kept outside the state folder; `purpose` keeps one use apart from another.
    #[must_use]
    pub fn sealer(&self, purpose: &'static str) -> Sealer {
        Sealer::new(&self.derive(&format!("seal/{purpose}")))
    }

    /// A secret of its own for another part of the same program; `purpose` keeps one use apart from another.
    #[must_use]
    pub fn secret(&self, purpose: &'static str) -> Zeroizing<[u8; 32]> {
        self.derive(&format!("secret/{purpose}"))
    }

    pub(crate) fn derive(&self, label: &str) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(prf(&self.0, &[b"firebreak-store/1/", label.as_bytes()]))
    }

    fn read(file: File) -> Result<Self, KeyError> {
        if file.metadata()?.permissions().mode() & 0o077 != 0 {
            return Err(KeyError::Exposed);
        }
        let mut text = Zeroizing::new(String::with_capacity(MOST_BYTES as usize));
        file.take(MOST_BYTES).read_to_string(&mut text).map_err(|_| KeyError::Form)?;
        let rest = text.strip_prefix(PREFIX).ok_or(KeyError::Form)?;
        let (version, digits) = rest.split_once(':').ok_or(KeyError::Form)?;
        if version != VERSION {
            return Err(KeyError::Format);
        }
        let mut secret = Zeroizing::new([0; 32]);
        hex::decode_to_slice(digits.trim_end(), secret.as_mut()).map_err(|_| KeyError::Form)?;
        Ok(Self(secret))
    }

    fn create(path: &Path) -> Result<Self, KeyError> {
        let mut secret = Zeroizing::new([0; 32]);
        getrandom::fill(secret.as_mut()).map_err(|_| KeyError::Random)?;
        let line = Zeroizing::new(format!("{PREFIX}{VERSION}:{}\n", *Zeroizing::new(hex::encode(*secret))));
        // Written aside and linked into place, so that a crash leaves a whole file or none, and of two programs that
        // start at once one wins and the other reads what it wrote.
        let mut suffix = [0; 8];
        getrandom::fill(&mut suffix).map_err(|_| KeyError::Random)?;
        let aside = path.with_extension(format!("new-{}", hex::encode(suffix)));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
        let linked =
            file.write_all(line.as_bytes()).and_then(|()| file.sync_all()).and_then(|()| fs::hard_link(&aside, path));
        fs::remove_file(&aside)?;
        match linked {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Self::read(File::open(path)?),
            Err(error) => Err(error.into()),
            Ok(()) => {
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
                File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
                Ok(Self(secret))
            }
        }
    }
}

/// HMAC-SHA-256 over the parts as one string.
pub(crate) fn prf(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    // HMAC pads a key to the block of 64 bytes with zeros (RFC 2104, section 2).
    let mut block = Zeroizing::new([0; 64]);
    for (to, from) in block.iter_mut().zip(key) {
        *to = *from;
    }
    let mut mac = Hmac::<Sha256>::new((&*block).into());
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prf_is_hmac_sha_256() {
        // RFC 4231, test case 2 with the key padded by zeros, which HMAC does itself.
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(hex::encode(prf(&key, &[b"what do ya want ", b"for nothing?"])), expected);
    }

    #[test]
    fn a_key_file_is_made_once_private_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.key");
        let made = StateKey::load_or_create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let read = StateKey::load_or_create(&path).unwrap();
        assert_eq!(*made.0, *read.0);
        assert_ne!(*made.0, [0; 32]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_key_file_that_others_can_read_or_of_another_form_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.key");
        StateKey::check(&path).unwrap();
        assert!(!path.exists());
        StateKey::load_or_create(&path).unwrap();
        StateKey::check(&path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(StateKey::load_or_create(&path), Err(KeyError::Exposed)));
        assert!(matches!(StateKey::check(&path), Err(KeyError::Exposed)));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, text.replace("-v1:", "-v2:")).unwrap();
        assert!(matches!(StateKey::load_or_create(&path), Err(KeyError::Format)));
        fs::write(&path, &text[..40]).unwrap();
        assert!(matches!(StateKey::load_or_create(&path), Err(KeyError::Form)));
    }
}
