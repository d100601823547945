//! How what two registers match on is written before it is matched. Both sides name the same version of the rule; a
//! version never changes.

mod date;
mod fold;
mod latin;
mod number;
mod person;
mod separators;

use sha2::{Digest, Sha256};
use zeroize::Zeroize;

/// The first byte of a form that is a digest. No number starts with it, and no padding.
const DIGEST: u8 = 0x01;
/// The bytes of a form that is a digest: its kind, and SHA-256.
const DIGEST_LENGTH: usize = 33;
/// Room for a form of any rule, the longest of which are digests.
///
/// It is a constant, so that a form lies in one place of known size whatever rule gave it; what padding in a session
/// has to be as long as is [`NormalisedInput::longest`].
pub(crate) const LONGEST: usize = DIGEST_LENGTH;

/// A versioned rule for writing what is matched on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Normaliser {
    /// National numbers, version 1.
    ///
    /// Unicode compatibility composition (NFKC); then white space, invisible characters, hyphens and dashes, dots
    /// and slashes are dropped and `a`–`z` become capitals. What is left must be 6 to 20 of `0`–`9` and `A`–`Z`
    /// with at least one digit, so that no word for "missing" becomes a number. Nothing else is guessed: a letter
    /// with an accent, or a digit of another script than those that NFKC maps, is no number.
    V1,
    /// Family name, given name and birth date, version 2.
    ///
    /// A person without one of the three has no form.
    ///
    /// **Names.** NFKC, full case folding, canonical decomposition (NFD). Marks, white space, invisible characters,
    /// hyphens, dots and apostrophes are dropped. Cyrillic letters, and Latin ones beyond `a`–`z`, are written by the
    /// tables of ICAO Doc 9303, part 3 (eighth edition, 2021), section 6. Then what those tables write in more than
    /// one way is written in one; module `fold` lists each such fold and what it costs. The name is all of its letters
    /// in their order, so that `Anna-Maria`, `Anna Maria` and `Annamaria` are one name, and `Maria Anna` and `Anna`
    /// are others. No form have: a name of one letter, one of more than 1,024 bytes or 128 letters, one with a digit, a
    /// bracket, a comma, a slash or a letter that is not in those tables, and words for a name that is not known.
    ///
    /// **Birth dates.** Year, month and day, or day, month and year, with dots, slashes or hyphens; or eight digits,
    /// year first. The year has four digits, 1850 to 2199. No form have impossible dates, dates with a part missing,
    /// and **1 January of any year**, which registers write where they know the year alone.
    ///
    /// The form is a digest of the three, so that it has one length for everybody.
    V2,
}

impl Normaliser {
    /// The rule with that number, as agreements write it.
    #[must_use]
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::V1),
            2 => Some(Self::V2),
            _ => None,
        }
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }

    /// What the rule takes, in this order.
    #[must_use]
    pub const fn parts(self) -> &'static [&'static str] {
        match self {
            Self::V1 => &["number"],
            Self::V2 => &["family name", "given name", "birth date"],
        }
    }

    /// Whether a register gives what the rule writes to one person alone: a number, and not a name and a birth date,
    /// which two persons may share.
    #[must_use]
    pub const fn names_one_person(self) -> bool {
        match self {
            Self::V1 => true,
            Self::V2 => false,
        }
    }

    /// Bytes of its longest form.
    pub(crate) const fn longest(self) -> usize {
        match self {
            Self::V1 => number::LONGEST,
            Self::V2 => DIGEST_LENGTH,
        }
    }

    /// The one way to write `text`, for a rule that takes one part; `None` for what is missing, empty or no identifier.
    #[must_use]
    pub fn normalise(self, text: &str) -> Option<NormalisedInput> {
        self.normalise_parts(&[Some(text)])
    }

    /// The one way to write these parts, each as a register writes it: as many as [`Self::parts`] names, in that
    /// order. `None` if one is missing or cannot be written, or for another number of parts.
    #[must_use]
    pub fn normalise_parts(self, parts: &[Option<&str>]) -> Option<NormalisedInput> {
        match (self, parts) {
            (Self::V1, [Some(number)]) => number::normal_form(number),
            (Self::V2, [Some(family), Some(given), Some(birth_date)]) => person::normal_form(family, given, birth_date),
            _ => None,
        }
    }
}

/// An identifier in the form of a [`Normaliser`]. Wiped when dropped.
///
/// Of a number it is the number; of a person's name and birth date a digest, which says nothing to whoever does not
/// guess them and everything to whoever does: it is as secret as they are.
///
/// PRIVACY: it has neither `Debug` nor `Display`, so that it cannot end in a log.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NormalisedInput {
    /// Padded with zeros. Forms of one kind have one length, or hold no zero.
    bytes: [u8; LONGEST],
    length: u8,
}

impl NormalisedInput {
    /// The form's bytes: ASCII of a number, 33 of a digest.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }

    /// Takes bytes that are in the form of the rules' output.
    pub(crate) fn from_normal_form(normal: &[u8]) -> Option<Self> {
        let formed = match normal {
            [DIGEST, ..] => normal.len() == DIGEST_LENGTH,
            number => number::is_normal_form(number),
        };
        let mut bytes = [0; LONGEST];
        if !formed {
            return None;
        }
        bytes.get_mut(..normal.len())?.copy_from_slice(normal);
        Some(Self { bytes, length: u8::try_from(normal.len()).ok()? })
    }

    /// The form of an identifier that has several parts: `0x01`, then SHA-256 of "firebreak normal form", the rule's
    /// number, and each part behind its length, both in four bytes. So no two identifiers share what is hashed.
    fn of_parts(rule: Normaliser, parts: &[&[u8]]) -> Option<Self> {
        let mut hash = Sha256::new_with_prefix(b"firebreak normal form");
        hash.update(rule.number().to_be_bytes());
        for part in parts {
            hash.update(u32::try_from(part.len()).ok()?.to_be_bytes());
            hash.update(part);
        }
        let mut normal = Self { bytes: [0; LONGEST], length: DIGEST_LENGTH as u8 };
        for (to, from) in normal.bytes.iter_mut().zip(std::iter::once(DIGEST).chain(hash.finalize())) {
            *to = from;
        }
        Some(normal)
    }

    /// As long as the longest form of the same kind.
    pub(crate) const fn longest(&self) -> usize {
        if self.length as usize == DIGEST_LENGTH { DIGEST_LENGTH } else { number::LONGEST }
    }

    /// What padding is as long as that stands among `inputs`: the longest form of their kind. Among none it is as long
    /// as the longest number, which only who opens an empty set can tell from anything else.
    pub(crate) fn longest_beside(inputs: &[Self]) -> usize {
        inputs.iter().map(Self::longest).max().unwrap_or(number::LONGEST)
    }

    /// Whether an item that is no form has the length that padding has beside one kind of form.
    pub(crate) const fn is_longest(length: usize) -> bool {
        length == number::LONGEST || length == DIGEST_LENGTH
    }
}

impl AsRef<[u8]> for NormalisedInput {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl Drop for NormalisedInput {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

#[cfg(test)]
mod tests;
