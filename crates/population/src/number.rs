use crate::draw::Draws;
use std::fmt;

/// How many numbers nine digits give.
pub(crate) const NUMBERS: u32 = 1_000_000_000;

/// Letters that no clerk takes for a digit.
const LETTERS: [char; 22] =
    ['A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'J', 'K', 'L', 'M', 'N', 'P', 'R', 'T', 'U', 'V', 'W', 'X', 'Y', 'Z'];

/// A national number: two letters and nine digits. The digits alone are one person's.
///
/// Shown as version 1 of the normaliser writes it: capitals and digits of ASCII, nothing between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NationalNumber {
    letters: [char; 2],
    digits: u32,
}

impl fmt::Display for NationalNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second] = self.letters;
        write!(f, "{first}{second}{:09}", self.digits)
    }
}

impl NationalNumber {
    pub(crate) fn new(digits: u32, draws: &mut Draws) -> Self {
        let mut letter = || LETTERS.get(draws.below(LETTERS.len() as u32) as usize).copied().unwrap_or('A');
        Self { letters: [letter(), letter()], digits }
    }

    /// Another number: one digit is another, or two neighbours changed places. That it is somebody else's is about as
    /// likely as that any other number is.
    pub(crate) fn mistyped(self, draws: &mut Draws) -> Self {
        let unit = 10_u32.pow(draws.below(8));
        let (digit, next) = (self.digits / unit % 10, self.digits / unit / 10 % 10);
        let others = self.digits - (digit + 10 * next) * unit;
        let digits = if draws.below(2) == 0 && digit != next {
            others + (next + 10 * digit) * unit
        } else {
            others + ((digit + 1 + draws.below(9)) % 10 + 10 * next) * unit
        };
        Self { digits, ..self }
    }

    /// The number as somebody typed it. Every way of writing it has the same normal form.
    pub(crate) fn spelled(self, draws: &mut Draws) -> String {
        let [first, second] = self.letters;
        let plain = self.to_string();
        let (million, thousand, one) = (self.digits / 1_000_000, self.digits / 1000 % 1000, self.digits % 1000);
        let grouped = |gap: &str| format!("{first}{second}{gap}{million:03}{gap}{thousand:03}{gap}{one:03}");
        match draws.below(100) {
            0..58 => plain,
            58..66 => plain.to_lowercase(),
            66..74 => grouped(" "),
            74..81 => grouped("-"),
            81..84 => format!("{first}{second} {million:03}.{thousand:03}.{one:03}"),
            84..87 => format!("{first}{second}/{:09}", self.digits),
            // A form filled in with an East Asian keyboard: full-width digits, now and then the letters and hyphens
            // too.
            87..91 => format!("{first}{second}{}", full_width(&format!("{:09}", self.digits))),
            91..93 => full_width(&grouped("-")),
            // The no-break and the ideographic space, from a word processor.
            93..95 => grouped("\u{a0}"),
            95..96 => grouped("\u{3000}"),
            96..98 => format!(" {plain} "),
            _ => grouped(" - ").to_lowercase(),
        }
    }
}

/// What a register holds where it has no number: nothing, or what its clerks write for nothing.
pub(crate) fn missing(draws: &mut Draws) -> Option<&'static str> {
    match draws.below(10) {
        0..7 => None,
        7..9 => Some(""),
        _ => Some("UNKNOWN"),
    }
}

fn full_width(text: &str) -> String {
    let wide = |c: char| {
        let offset = u32::from(c).wrapping_sub(0x21);
        if offset < 0x5e { char::from_u32(0xff01 + offset).unwrap_or(c) } else { c }
    };
    text.chars().map(wide).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use unicode_normalization::UnicodeNormalization;

    fn normal(text: &str) -> String {
        text.nfkc().filter(|c| !c.is_whitespace() && !matches!(c, '-' | '.' | '/')).collect::<String>().to_uppercase()
    }

    #[test]
    fn a_mistyped_number_is_another_in_one_digit_or_two() {
        let mut draws = Draws::of_keys(7, 8);
        for digits in [0, 7, 123_456_789, 999_999_999, 100_000_000, 20_813_057] {
            let number = NationalNumber::new(digits, &mut draws);
            for _ in 0..500 {
                let typed = number.mistyped(&mut draws);
                let (typed, plain) = (typed.to_string(), number.to_string());
                let differing = typed.chars().zip(plain.chars()).filter(|(one, other)| one != other).count();
                assert!(typed.len() == plain.len() && (1..=2).contains(&differing), "{plain}: {typed}");
            }
        }
    }

    #[test]
    fn every_spelling_has_the_number_as_its_normal_form() {
        let mut draws = Draws::of_keys(7, 7);
        let number = NationalNumber::new(20_813_057, &mut draws);
        let spellings: BTreeSet<_> = (0..3000).map(|_| number.spelled(&mut draws)).collect();
        assert_eq!(spellings.len(), 12, "one of the ways of writing a number never came up");
        assert!(spellings.iter().all(|text| normal(text) == number.to_string()), "{spellings:?}");
        assert!(spellings.iter().any(|text| text.contains('\u{ff12}')));
    }
}
