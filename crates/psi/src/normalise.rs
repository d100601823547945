//! How an identifier is written before it is matched. Both sides name the same version; a version never changes.

use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroize;

/// The fewest characters of a normalised number.
const SHORTEST: usize = 6;
/// The most.
pub(crate) const LONGEST: usize = 20;

/// A versioned rule for writing an identifier.
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
}

impl Normaliser {
    /// The rule with that number, as agreements write it.
    #[must_use]
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::V1),
            _ => None,
        }
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::V1 => 1,
        }
    }

    /// The one way to write `text`; `None` for what is missing, empty or no identifier.
    #[must_use]
    pub fn normalise(self, text: &str) -> Option<NormalisedInput> {
        match self {
            Self::V1 => national_number(text),
        }
    }
}

/// An identifier in the form of a [`Normaliser`]. Wiped when dropped.
///
/// PRIVACY: it has neither `Debug` nor `Display`, so that it cannot end in a log.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NormalisedInput {
    /// Padded with zeros, which no identifier contains.
    bytes: [u8; LONGEST],
    length: u8,
}

impl NormalisedInput {
    /// The identifier's ASCII bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }

    /// Takes bytes that are in the form of the rules' output.
    pub(crate) fn from_normal_form(normal: &[u8]) -> Option<Self> {
        let alphanumeric = normal.iter().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase());
        let formed = alphanumeric && normal.len() >= SHORTEST && normal.iter().any(u8::is_ascii_digit);
        let mut bytes = [0; LONGEST];
        if !formed {
            return None;
        }
        bytes.get_mut(..normal.len())?.copy_from_slice(normal);
        Some(Self { bytes, length: u8::try_from(normal.len()).ok()? })
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

fn national_number(text: &str) -> Option<NormalisedInput> {
    let mut normal = [0; LONGEST];
    let mut length = 0;
    for character in text.nfkc().filter(|character| !is_dropped(*character)) {
        *normal.get_mut(length)? = u8::try_from(character.to_ascii_uppercase()).ok()?;
        length += 1;
    }
    let found = normal.get(..length).and_then(NormalisedInput::from_normal_form);
    normal.zeroize();
    found
}

/// What people put into a number to read it more easily, and what software puts there unseen.
fn is_dropped(character: char) -> bool {
    character.is_whitespace()
        || matches!(
            character,
            // Soft hyphen, Mongolian vowel separator, zero-width characters, marks of direction, byte order mark.
            '\u{ad}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
                | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
            // Hyphens, dashes, minus.
            | '-' | '\u{58a}' | '\u{2010}'..='\u{2015}' | '\u{2043}' | '\u{2212}' | '\u{2e3a}' | '\u{2e3b}'
            // Dots.
            | '.' | '\u{b7}' | '\u{2022}' | '\u{2027}' | '\u{3002}' | '\u{30fb}'
            // Slashes.
            | '/' | '\\' | '\u{2044}' | '\u{2215}' | '\u{2216}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn v1(text: &str) -> Option<String> {
        Normaliser::V1.normalise(text).map(|number| String::from_utf8(number.as_bytes().to_vec()).unwrap())
    }

    #[test]
    fn every_spelling_of_one_number_gives_the_same_bytes() {
        for spelling in [
            "AB123456C",
            "ab123456c",
            "Ab 12 34 56 C",
            "  AB123456C\t\r\n",
            "AB-123456-C",
            "AB.123.456.C",
            "AB/123/456/C",
            "AB\\123456\\C",
            "ＡＢ１２３４５６Ｃ",
            "ａｂ１２３４５６ｃ",
            "ＡＢ－１２３４５６／Ｃ",
            "AB\u{a0}123\u{202f}456\u{3000}C",
            "AB\u{2007}123\u{2009}456\u{200a}C",
            "AB\u{2010}123\u{2011}456\u{2013}C",
            "AB\u{2014}123\u{2212}456\u{fe63}C",
            "AB\u{200b}123\u{feff}456\u{2060}C",
            "\u{200e}AB123456C\u{200f}",
            "\u{202a}AB123456C\u{202c}",
            "AB\u{ad}123456C",
            "AB\u{b7}123\u{2027}456\u{30fb}C",
            "AB\u{ff0e}123\u{2024}456\u{3002}C",
            "AB\u{2044}123\u{2215}456C",
            "𝐀𝐁𝟏𝟐𝟑𝟒𝟓𝟔𝐂",
            "ⒶⒷ①②③④⑤⑥Ⓒ",
        ] {
            assert_eq!(v1(spelling).as_deref(), Some("AB123456C"), "{spelling:?}");
        }
    }

    #[test]
    fn what_is_no_number_gives_nothing() {
        for text in [
            "",
            " ",
            "-",
            "\u{200b}",
            "n/a",
            "NULL",
            "unknown",
            "MISSING",
            "not available",
            "12345",
            "AB-12",
            "123456789012345678901",
            "AB123456Ç",
            "AB123456C\u{301}",
            "AB123_456",
            "AB123,456",
            "AB123456?",
            "AB\u{0}123456",
            "АВ123456С", // Cyrillic letters that look Latin.
            "١٢٣٤٥٦٧",   // Arabic-Indic digits, which NFKC leaves as they are.
            "ı2345678",
            "ß1234567",
        ] {
            assert_eq!(v1(text), None, "{text:?}");
        }
    }

    #[test]
    fn length_is_counted_after_normalising() {
        assert_eq!(v1("1 2 3 4 5 6").as_deref(), Some("123456"));
        assert_eq!(v1(&"1-".repeat(20)), Some("1".repeat(20)));
        assert_eq!(v1(&"1".repeat(21)), None);
        assert_eq!(v1(&"1".repeat(1_000_000)), None);
    }

    #[test]
    fn a_rule_has_a_number_and_others_are_unknown() {
        assert_eq!(Normaliser::from_number(Normaliser::V1.number()), Some(Normaliser::V1));
        assert_eq!(Normaliser::from_number(0), None);
        assert_eq!(Normaliser::from_number(2), None);
    }

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing(text in prop_oneof!["\\PC{0,24}", "[0-9A-Za-z０-９Ａ-ｚ ./-]{4,24}"]) {
            if let Some(once) = v1(&text) {
                let twice = v1(&once);
                prop_assert_eq!(twice, Some(once));
            }
        }

        #[test]
        fn decoration_changes_nothing(number in "[A-Z][0-9]{5,10}", marks in prop::collection::vec(0usize..8, 0..30)) {
            let decoration = [" ", "-", ".", "/", "\u{200b}", "\u{3000}", "\u{2013}", ""];
            let mut text = String::new();
            for (place, character) in number.to_lowercase().chars().enumerate() {
                text.push(character);
                text.push_str(marks.get(place).map_or("", |mark| decoration[*mark]));
            }
            prop_assert_eq!(v1(&text), Some(number));
        }
    }
}
