use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// An overseer's X25519 public key (RFC 7748), to which the openings of leaves are sealed: `x25519:` and 64 hexadecimal
/// digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SealKey([u8; 32]);

impl SealKey {
    /// Wraps a key.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "x25519:{}", hex::encode(self.0))
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for SealKey {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const SHAPE: &str = "a seal key is x25519: and 64 hexadecimal digits";
        let mut bytes = [0; 32];
        let digits = text.strip_prefix("x25519:").ok_or(SHAPE)?;
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| SHAPE)?;
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for SealKey {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<SealKey> for String {
    fn from(key: SealKey) -> String {
        key.to_string()
    }
}
