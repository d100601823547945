use crate::error::BundleError;
use chrono::NaiveDateTime;
use firebreak_domain::{FORMAT, Timestamp, check_format};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt;

/// The manifest's file name.
pub const MANIFEST: &str = "manifest.note";

const FIRST_LINE: &str = "firebreak bundle format ";

/// The times that a manifest states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// When it was written, which starts the waiting period of a loosening.
    pub made: Timestamp,
    /// The first second in which the bundle may be in force.
    pub valid_from: Timestamp,
    /// The first second in which it no longer is.
    pub valid_until: Timestamp,
}

/// The text of `manifest.note`: which bundle this is, and the hash of every file in it.
///
/// ```text
/// firebreak bundle format 1
/// sequence 2
/// previous 8e51…
/// made 2025-01-01T00:00:00Z
/// valid-from 2025-02-01T00:00:00Z
/// valid-until 2026-02-01T00:00:00Z
/// 5f2c… agreements/health-stats.toml
/// …
/// ```
///
/// Hashes are SHA-256 in hexadecimal; `previous` is that of the text (not the signatures) of the manifest before, or
/// `none`. Times are UTC. Files are sorted by path. There is one way to write a manifest, and no other is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// 1 for the first bundle of a federation, and one more for each that follows.
    pub sequence: u64,
    /// Hash of the text of the manifest before.
    pub previous: Option<[u8; 32]>,
    /// When it was made and when it counts.
    pub validity: Validity,
    /// SHA-256 of each file, by path.
    pub files: BTreeMap<String, [u8; 32]>,
}

impl Manifest {
    /// Reads the text of a manifest.
    ///
    /// # Errors
    /// [`BundleError::Manifest`], or [`BundleError::Format`] for one written for a later program.
    pub fn parse(text: &str) -> Result<Self, BundleError> {
        let wrong = BundleError::Manifest;
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default();
        let format = first.strip_prefix(FIRST_LINE).and_then(|f| f.parse().ok());
        let format = format.ok_or(wrong("the first line is not `firebreak bundle format` and a number"))?;
        check_format("the bundle", format)
            .map_err(|source| BundleError::Format { file: MANIFEST.to_owned(), source })?;
        let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let sequence = field("sequence").and_then(|s| s.parse().ok());
        let sequence = sequence.ok_or(wrong("the second line is not `sequence` and a number"))?;
        let previous = match field("previous") {
            Some("none") => None,
            Some(hash) => Some(parse_hash(hash).ok_or(wrong("`previous` is not a SHA-256 or `none`"))?),
            None => return Err(wrong("the third line is not `previous` and a SHA-256 or `none`")),
        };
        let mut time = |name, problem| field(name).and_then(parse_time).ok_or(wrong(problem));
        let validity = Validity {
            made: time("made", "the fourth line is not `made` and a time")?,
            valid_from: time("valid-from", "the fifth line is not `valid-from` and a time")?,
            valid_until: time("valid-until", "the sixth line is not `valid-until` and a time")?,
        };
        let mut files = BTreeMap::new();
        for line in lines {
            let (hash, path) = line.split_once(' ').ok_or(wrong("a file line is not a SHA-256 and a path"))?;
            let hash = parse_hash(hash).ok_or(wrong("a file line does not begin with a SHA-256"))?;
            files.insert(path.to_owned(), hash);
        }
        let manifest = Self { sequence, previous, validity, files };
        // INVARIANT: one meaning, one text: repeated paths, another order, spare zeros or a missing newline are
        // refused.
        if manifest.to_string() != text {
            return Err(wrong("it is not written in the one way: files sorted, each once, a newline at the end"));
        }
        if sequence == 0 || (sequence == 1) != previous.is_none() {
            return Err(wrong("sequence 1 has no previous manifest and every other has one"));
        }
        if validity.valid_from >= validity.valid_until || validity.made > validity.valid_until {
            return Err(wrong("the times are not in order: made, valid-from, valid-until"));
        }
        Ok(manifest)
    }

    /// SHA-256 of its text, by which the next one names it.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.to_string().as_bytes()).into()
    }
}

impl fmt::Display for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Validity { made, valid_from, valid_until } = self.validity;
        let previous = self.previous.map_or_else(|| "none".to_owned(), hex::encode);
        writeln!(f, "{FIRST_LINE}{FORMAT}\nsequence {}\nprevious {previous}", self.sequence)?;
        writeln!(f, "made {made}\nvalid-from {valid_from}\nvalid-until {valid_until}")?;
        self.files.iter().try_for_each(|(path, hash)| writeln!(f, "{} {path}", hex::encode(hash)))
    }
}

fn parse_hash(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(bytes)
}

fn parse_time(text: &str) -> Option<Timestamp> {
    let time = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%SZ").ok()?;
    Some(Timestamp::from_secs(time.and_utc().timestamp()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn manifest() -> impl Strategy<Value = Manifest> {
        let time = || (0_i64..4_000_000_000).prop_map(Timestamp::from_secs);
        let files = proptest::collection::btree_map("[a-z]{1,8}/[a-z. ]{1,12}", any::<[u8; 32]>(), 0..6);
        (1_u64.., any::<[u8; 32]>(), time(), 1_i64..1_000_000, files).prop_map(|(sequence, hash, from, len, files)| {
            let validity = Validity { made: from, valid_from: from, valid_until: from.plus_secs(len) };
            Manifest { sequence, previous: (sequence > 1).then_some(hash), validity, files }
        })
    }

    proptest! {
        #[test]
        fn a_manifest_reads_back_as_written(manifest in manifest()) {
            prop_assert_eq!(Manifest::parse(&manifest.to_string()).unwrap(), manifest);
        }

        #[test]
        fn no_second_text_reads_as_the_same_manifest(manifest in manifest(), at in any::<proptest::sample::Index>(), put in any::<char>()) {
            let text = manifest.to_string();
            let mut other: Vec<char> = text.chars().collect();
            let at = at.index(other.len());
            other[at] = put;
            let other: String = other.into_iter().collect();
            if let Ok(read) = Manifest::parse(&other) {
                prop_assert_eq!(read == manifest, other == text);
            }
        }
    }

    #[test]
    fn a_later_format_is_refused_by_name() {
        let text = "firebreak bundle format 2\nanything\n";
        assert!(matches!(Manifest::parse(text), Err(BundleError::Format { .. })));
    }

    #[test]
    fn a_first_bundle_with_a_predecessor_is_refused() {
        let validity = Validity {
            made: Timestamp::from_secs(0),
            valid_from: Timestamp::from_secs(0),
            valid_until: Timestamp::from_secs(9),
        };
        let mut manifest = Manifest { sequence: 1, previous: None, validity, files: BTreeMap::new() };
        assert!(Manifest::parse(&manifest.to_string()).is_ok());
        manifest.previous = Some([0; 32]);
        assert!(Manifest::parse(&manifest.to_string()).is_err());
    }
}
