use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// A name that does not have the form of its kind. Never carries the text that was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{kind} must be 1 to 64 characters of a-z, 0-9, '.', '-' or '_', starting with a letter or digit")]
pub struct InvalidId {
    /// What was to be named, in words.
    pub kind: &'static str,
}

fn well_formed(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() <= 64
        && bytes.first().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_'))
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident = $kind:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Takes a name of the right form.
            ///
            /// # Errors
            /// [`InvalidId`], which does not repeat the text.
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidId> {
                let text = text.into();
                if well_formed(&text) { Ok(Self(text)) } else { Err(InvalidId { kind: $kind }) }
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
    )*};
}

names! {
    /// An organisation: an agency, an office, an analyst's institute.
    OrgId = "an organisation id";
    /// A registered endpoint of an organisation.
    EndpointId = "an endpoint id";
    /// A data-sharing agreement.
    AgreementId = "an agreement id";
    /// An assessment of the impact on data protection and fundamental rights.
    AssessmentId = "an assessment id";
    /// A purpose, as named in agreements.
    PurposeId = "a purpose";
    /// A dataset that a contract describes, for instance `health.visits`.
    DatasetId = "a dataset id";
    /// The register of persons over which privacy loss adds up, for instance `health.persons`.
    UnitSpaceId = "a unit space id";
    /// A column of a contract.
    ColumnName = "a column name";
    /// A key by which a match is made, as its agreement calls it.
    MatchKeyName = "the name of a match key";
}

/// A version of a dataset on its declared calendar, for instance `2024-Q4` or `2024-12-31`.
///
/// It names a place on the calendar and nothing else: it is the same whether or not a row changed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CutId(String);

impl CutId {
    /// Takes a cut's name: digits, capital letters and hyphens, up to 16 characters.
    ///
    /// # Errors
    /// [`InvalidId`], which does not repeat the text.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidId> {
        let text = text.into();
        let formed = (1..=16).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase() || b == b'-');
        if formed { Ok(Self(text)) } else { Err(InvalidId { kind: "a cut" }) }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CutId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for CutId {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        Self::new(text)
    }
}

impl From<CutId> for String {
    fn from(cut: CutId) -> String {
        cut.0
    }
}

/// A caller's name for one request, so that a retry is known as such: 16 bytes, chosen at random.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId([u8; 16]);

impl RequestId {
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

    /// The id of a further request that belongs to this one and to something else: the first 16 bytes of SHA-256 over
    /// both. Whoever sends the two again sends them under the same ids.
    #[must_use]
    pub fn further(&self, of: &[u8]) -> Self {
        let hash: [u8; 32] = Sha256::new().chain_update(self.0).chain_update(of).finalize().into();
        let mut id = [0; 16];
        id.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
        Self(id)
    }
}

impl TryFrom<&[u8]> for RequestId {
    type Error = InvalidId;
    fn try_from(bytes: &[u8]) -> Result<Self, InvalidId> {
        bytes.try_into().map(Self).map_err(|_| InvalidId { kind: "a request id (16 bytes)" })
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_further_request_has_the_same_id_again_and_shares_it_with_no_other() {
        let (one, other) = (RequestId::from_bytes([1; 16]), RequestId::from_bytes([2; 16]));
        assert_eq!(one.further(b"a"), RequestId::from_bytes([1; 16]).further(b"a"));
        let ids =
            std::collections::BTreeSet::from([one, other, one.further(b"a"), one.further(b"b"), other.further(b"a")]);
        assert_eq!(ids.len(), 5);
    }

    #[test]
    fn a_name_with_other_characters_is_refused_without_repeating_it() {
        let error = AgreementId::new("AB 12-34").unwrap_err().to_string();
        assert!(!error.contains("12-34"));
        assert!(AgreementId::new("").is_err());
        assert!(AgreementId::new("a".repeat(65)).is_err());
        assert!(AgreementId::new("-a").is_err());
        assert_eq!(AgreementId::new("health.stats-2024").unwrap().as_str(), "health.stats-2024");
    }

    #[test]
    fn a_cut_is_a_calendar_name() {
        assert!(CutId::new("2024-Q4").is_ok());
        assert!(CutId::new("2024 Q4").is_err());
        assert!(CutId::new("").is_err());
    }
}
