//! National numbers: the rule of version 1.

use super::NormalisedInput;
use super::separators::{is_dash, is_dot, is_slash, is_unseen};
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroize;

/// The fewest characters of a normalised number.
const SHORTEST: usize = 6;
/// The most.
pub(super) const LONGEST: usize = 20;

pub(super) fn normal_form(text: &str) -> Option<NormalisedInput> {
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

/// Whether those are bytes that [`normal_form`] gives.
pub(super) fn is_normal_form(number: &[u8]) -> bool {
    let alphanumeric = number.iter().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase());
    alphanumeric && (SHORTEST..=LONGEST).contains(&number.len()) && number.iter().any(u8::is_ascii_digit)
}

/// What people put into a number to read it more easily, and what software puts there unseen.
fn is_dropped(character: char) -> bool {
    is_unseen(character) || is_dash(character) || is_dot(character) || is_slash(character)
}

#[cfg(test)]
mod tests {
    use crate::Normaliser;
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
