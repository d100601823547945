use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// The name by which a release is cited: the first 16 bytes of SHA-256 over its bytes. Written as 32 hexadecimal
/// digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReleaseName([u8; 16]);

/// A text that names no release. Never carries the text that was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a release id is 32 hexadecimal digits in lower case; an answer over several agencies has that of each part, with a \
     plus sign between them: name one"
)]
pub struct InvalidReleaseName;

impl ReleaseName {
    /// The name of the release with those bytes.
    #[must_use]
    pub fn of(release: &[u8]) -> Self {
        let hash: [u8; 32] = Sha256::digest(release).into();
        let mut name = [0; 16];
        name.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
        Self(name)
    }

    /// Wraps 16 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for ReleaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl FromStr for ReleaseName {
    type Err = InvalidReleaseName;

    fn from_str(text: &str) -> Result<Self, InvalidReleaseName> {
        let mut name = [0; 16];
        hex::decode_to_slice(text, &mut name).map_err(|_| InvalidReleaseName)?;
        // One name has one text.
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) { Err(InvalidReleaseName) } else { Ok(Self(name)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_beginning_of_the_hash_and_has_one_text() {
        let name = ReleaseName::of(b"abc");
        // FIPS 180-2, appendix B.1.
        assert_eq!(name.to_string(), "ba7816bf8f01cfea414140de5dae2223");
        assert_eq!(name.to_string().parse(), Ok(name));
        let other = ["", "ba", "BA7816BF8F01CFEA414140DE5DAE2223", "ba7816bf8f01cfea414140de5dae222g"];
        for text in other.into_iter().chain(["ba7816bf8f01cfea414140de5dae222300"]) {
            assert_eq!(text.parse::<ReleaseName>(), Err(InvalidReleaseName), "{text}");
        }
    }
}
