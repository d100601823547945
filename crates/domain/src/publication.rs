//! Releases made public: their names, and what is done with them.

use crate::{ReleaseName, Timestamp};
use std::fmt;
use std::str::FromStr;

/// A series of publications of one organisation, each of which replaces the one before: 1 to 64 characters of a-z, 0-9
/// and '-', beginning with a letter or digit. It stands in the address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesId(String);

/// A text that names no series or no publication. Never carries the text that was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPublication {
    /// A series.
    #[error("a series is named by 1 to 64 characters of a-z, 0-9 and '-', beginning with a letter or digit")]
    Series,
    /// A publication.
    #[error("a publication id is 32 hexadecimal digits in lower case")]
    Id,
}

impl SeriesId {
    /// Takes a name of the right form.
    ///
    /// # Errors
    /// [`InvalidPublication::Series`].
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidPublication> {
        let text = text.into();
        // SECURITY: no dot and no slash, so that an address reads one way.
        let formed = (1..=64).contains(&text.len())
            && !text.starts_with('-')
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if formed { Ok(Self(text)) } else { Err(InvalidPublication::Series) }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SeriesId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for SeriesId {
    type Err = InvalidPublication;

    fn from_str(text: &str) -> Result<Self, InvalidPublication> {
        Self::new(text)
    }
}

/// A publication from its draft on, as its organisation names it: 16 bytes that nobody guesses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicationId([u8; 16]);

impl PublicationId {
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

impl fmt::Display for PublicationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl FromStr for PublicationId {
    type Err = InvalidPublication;

    fn from_str(text: &str) -> Result<Self, InvalidPublication> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| InvalidPublication::Id)?;
        if text.bytes().any(|b| b.is_ascii_uppercase()) { Err(InvalidPublication::Id) } else { Ok(Self(bytes)) }
    }
}

/// What is done with a publication. Each step is a request of its own, signed and decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicationStep {
    /// Begin one from a stored release.
    Draft {
        /// The release.
        release: ReleaseName,
        /// The series that it belongs to.
        series: SeriesId,
        /// Whether it is to replace what the series has published.
        revises: bool,
    },
    /// Have it published at a time, and not seen before.
    Embargo {
        /// Which.
        publication: PublicationId,
        /// When.
        until: Timestamp,
    },
    /// Publish it now.
    Publish {
        /// Which.
        publication: PublicationId,
    },
    /// Give it up before anybody has seen it.
    Withdraw {
        /// Which.
        publication: PublicationId,
    },
}

impl PublicationStep {
    /// Its name in what is signed.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Draft { .. } => "draft",
            Self::Embargo { .. } => "embargo",
            Self::Publish { .. } => "publish",
            Self::Withdraw { .. } => "withdraw",
        }
    }

    /// All else of it, in the one form that is signed.
    #[must_use]
    pub fn subject(&self) -> String {
        match self {
            Self::Draft { release, series, revises } => {
                format!("release {release} series {series} revises {}", if *revises { "yes" } else { "no" })
            }
            Self::Embargo { publication, until } => format!("publication {publication} until {until}"),
            Self::Publish { publication } | Self::Withdraw { publication } => format!("publication {publication}"),
        }
    }

    /// The publication; none is there yet for a draft.
    #[must_use]
    pub const fn publication(&self) -> Option<PublicationId> {
        match self {
            Self::Draft { .. } => None,
            Self::Embargo { publication, .. } | Self::Publish { publication } | Self::Withdraw { publication } => {
                Some(*publication)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_has_no_character_that_an_address_could_read_otherwise() {
        for text in ["visits-by-region", "a", "0", &"x".repeat(64)] {
            assert_eq!(SeriesId::new(text).unwrap().as_str(), text);
        }
        let long = "x".repeat(65);
        for text in ["", "-a", "a.csv", "..", "a/b", "a%2fb", "A", "a_b", "\u{e9}", " a", long.as_str()] {
            assert_eq!(SeriesId::new(text), Err(InvalidPublication::Series), "{text}");
        }
    }

    #[test]
    fn two_steps_never_share_what_is_signed() {
        let (release, series) = (ReleaseName::of(b"x"), SeriesId::new("s").unwrap());
        let publication = PublicationId::from_bytes([7; 16]);
        let until = Timestamp::from_secs(1);
        let steps = [
            PublicationStep::Draft { release, series: series.clone(), revises: false },
            PublicationStep::Draft { release, series, revises: true },
            PublicationStep::Embargo { publication, until },
            PublicationStep::Embargo { publication, until: Timestamp::from_secs(2) },
            PublicationStep::Publish { publication },
            PublicationStep::Withdraw { publication },
        ];
        for (place, one) in steps.iter().enumerate() {
            for other in steps.iter().skip(place + 1) {
                assert_ne!((one.kind(), one.subject()), (other.kind(), other.subject()));
            }
        }
        assert_eq!(publication.to_string().parse(), Ok(publication));
        assert!("07".repeat(15).parse::<PublicationId>().is_err());
    }
}
