use std::fmt;

/// What may stand in an open code, in the order of the numbers that stand for them.
const SIGNS: &[u8; 66] = b"-./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz";
/// A digit for each sign, and 0 where the code has ended.
const RADIX: i64 = SIGNS.len() as i64 + 1;

/// A code of which no list is declared, as the number that it is read as: 1 to [`OpenCode::MAX_LENGTH`] letters (A–Z,
/// a–z), digits, `-`, `.`, `/` or `_`.
///
/// PRIVACY: the number follows from the code alone, and no two codes share one. A number given out in the order in
/// which codes are met would make what is kept of one person depend on others. Numbers are ordered as the codes are,
/// sign by sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpenCode(i64);

impl OpenCode {
    /// The longest code: so many signs fit into 63 bits.
    pub const MAX_LENGTH: u8 = 10;

    /// The number of a code of at most `length` signs; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str, length: u8) -> Option<Self> {
        let most = length.min(Self::MAX_LENGTH);
        if text.is_empty() || text.len() > usize::from(most) {
            return None;
        }
        let digit = |sign: &u8| SIGNS.iter().position(|of| of == sign).and_then(|place| i64::try_from(place + 1).ok());
        let mut number = 0;
        for sign in text.as_bytes() {
            number = number * RADIX + digit(sign)?;
        }
        // Behind its end a code has zeros, so that a shorter one comes before all that it begins.
        for _ in text.len()..usize::from(Self::MAX_LENGTH) {
            number *= RADIX;
        }
        Some(Self(number))
    }

    /// The code of a number; `None` if it stands for none.
    #[must_use]
    pub fn of(number: i64) -> Option<Self> {
        Self::parse(&text(number)?, Self::MAX_LENGTH).filter(|code| code.0 == number)
    }

    /// The number.
    #[must_use]
    pub const fn number(self) -> i64 {
        self.0
    }
}

/// The signs of a number, up to the first zero.
fn text(number: i64) -> Option<String> {
    let mut digits = Vec::with_capacity(usize::from(OpenCode::MAX_LENGTH));
    let mut rest = u64::try_from(number).ok()?;
    for _ in 0..OpenCode::MAX_LENGTH {
        digits.push(rest % RADIX.unsigned_abs());
        rest /= RADIX.unsigned_abs();
    }
    let signs = digits.iter().rev().take_while(|digit| **digit != 0);
    let sign = |digit: &u64| SIGNS.get(usize::try_from(*digit).ok()?.checked_sub(1)?).map(|sign| char::from(*sign));
    if rest == 0 { signs.map(sign).collect() } else { None }
}

impl fmt::Display for OpenCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text(self.0).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_number_of_its_own_in_the_order_of_codes() {
        let codes = [
            "-",
            "-.",
            ".",
            "/",
            "0",
            "0301",
            "03010",
            "1",
            "A",
            "A1",
            "SY",
            "ZZZZZZZZZZ",
            "_",
            "a",
            "z",
            "zz",
            "zzzzzzzzzz",
        ];
        let numbers: Vec<OpenCode> = codes.iter().map(|code| OpenCode::parse(code, 10).unwrap()).collect();
        assert!(numbers.is_sorted_by(|one, other| one < other));
        for (code, number) in codes.iter().zip(numbers) {
            assert_eq!(number.to_string(), *code);
            assert_eq!(OpenCode::of(number.number()), Some(number));
        }
    }

    #[test]
    fn what_is_no_code_has_no_number() {
        for text in ["", " ", "a b", "é", "12345678901", "a,b", "=1", "\u{0}", "a\n"] {
            assert_eq!(OpenCode::parse(text, 10), None, "{text:?}");
        }
        assert_eq!(OpenCode::parse("abc", 2), None, "longer than the contract says");
        assert_eq!(OpenCode::parse("12345678901", 255), None);
        let first = OpenCode::parse("-", 10).unwrap().number();
        // Nothing, too much, and a sign behind the end.
        for number in [0, 1, -1, i64::MIN, i64::MAX, first - 1, first + 1] {
            assert_eq!(OpenCode::of(number), None, "{number}");
        }
    }
}
