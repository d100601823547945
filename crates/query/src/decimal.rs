//! Decimal constants, exact.

use std::fmt;
use std::str::FromStr;

/// The most digits after the point.
const MAX_SCALE: u8 = 12;
/// The most significant digits.
const MAX_DIGITS: usize = 30;

/// A decimal number, kept exactly and in one way: `1.50` and `1.5` are the same value.
///
/// At most 30 significant digits, of which at most 12 after the point.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Decimal {
    // INVARIANT: normalised. `scale` is the smallest that holds the value, so equality of fields is equality of values.
    mantissa: i128,
    scale: u8,
}

/// A number that is not one, or has too many digits. Does not repeat it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a number has at most 30 digits, of which at most 12 after the point")]
pub struct InvalidDecimal;

impl Decimal {
    /// One half.
    pub(crate) const HALF: Self = Self { mantissa: 5, scale: 1 };

    /// So many hundredths, which are no whole tenths.
    pub(crate) const fn hundredths(number: i128) -> Self {
        assert!(number % 10 != 0, "there is a shorter form");
        Self { mantissa: number, scale: 2 }
    }

    /// `mantissa` divided by ten to the power of `scale`.
    ///
    /// # Errors
    /// [`InvalidDecimal`] beyond 30 significant digits or, trailing zeros aside, 12 after the point.
    pub fn new(mantissa: i128, scale: u8) -> Result<Self, InvalidDecimal> {
        let (mut mantissa, mut scale) = (mantissa, scale);
        while scale > 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            scale -= 1;
        }
        let fits = scale <= MAX_SCALE && mantissa.unsigned_abs() < 10_u128.pow(MAX_DIGITS as u32);
        if fits { Ok(Self { mantissa, scale }) } else { Err(InvalidDecimal) }
    }

    /// A whole number.
    #[must_use]
    pub const fn whole(value: i64) -> Self {
        Self { mantissa: value as i128, scale: 0 }
    }

    /// The whole number of units of ten to the power of minus `decimals`; `None` if there is none or it is too large.
    #[must_use]
    pub fn fixed_point(self, decimals: u8) -> Option<i64> {
        let factor = 10_i128.checked_pow(u32::from(decimals.checked_sub(self.scale)?))?;
        i64::try_from(self.mantissa.checked_mul(factor)?).ok()
    }

    /// The nearest floating-point number.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        // Reading the decimal text rounds once; dividing a mantissa would round twice.
        self.to_string().parse().unwrap_or(f64::NAN)
    }

    /// The negative.
    #[must_use]
    pub const fn negated(self) -> Self {
        Self { mantissa: -self.mantissa, scale: self.scale }
    }

    /// Whether it is below 0.
    #[must_use]
    pub const fn is_negative(self) -> bool {
        self.mantissa < 0
    }
}

impl FromStr for Decimal {
    type Err = InvalidDecimal;

    /// Reads `12`, `-1.50`, `.5`, `3.`, `1e3` and `2.5E-1`.
    fn from_str(text: &str) -> Result<Self, InvalidDecimal> {
        let (number, exponent) = match text.split_once(['e', 'E']) {
            Some((number, exponent)) if exponent.len() <= 3 => {
                (number, exponent.parse::<i32>().map_err(|_| InvalidDecimal)?)
            }
            Some(_) => return Err(InvalidDecimal),
            None => (text, 0),
        };
        let (negative, number) = match number.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, number),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let fraction = fraction.trim_end_matches('0');
        let digits = format!("{whole}{fraction}");
        let significant = digits.trim_start_matches('0');
        let formed = (number.contains('.') || !whole.is_empty()) && number != ".";
        if !formed || significant.len() > MAX_DIGITS || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(InvalidDecimal);
        }
        let mantissa: i128 =
            if significant.is_empty() { 0 } else { significant.parse().map_err(|_| InvalidDecimal)? };
        if mantissa == 0 {
            return Ok(Self::whole(0));
        }
        let scale = i32::try_from(fraction.len()).map_err(|_| InvalidDecimal)? - exponent;
        let mantissa = if negative { -mantissa } else { mantissa };
        if scale >= 0 {
            Self::new(mantissa, u8::try_from(scale).map_err(|_| InvalidDecimal)?)
        } else {
            let factor = 10_i128.checked_pow(scale.unsigned_abs()).ok_or(InvalidDecimal)?;
            Self::new(mantissa.checked_mul(factor).ok_or(InvalidDecimal)?, 0)
        }
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.is_negative() { "-" } else { "" };
        let digits = self.mantissa.unsigned_abs().to_string();
        let scale = usize::from(self.scale);
        if scale == 0 {
            return write!(f, "{sign}{digits}");
        }
        let padded = format!("{digits:0>width$}", width = scale + 1);
        let (whole, fraction) = padded.split_at(padded.len() - scale);
        write!(f, "{sign}{whole}.{fraction}")
    }
}

/// // PRIVACY: a constant is the caller's word.
impl fmt::Debug for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Decimal(..)")
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// An order for sorting, the same on every machine; not the order of the values.
impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.scale, self.mantissa).cmp(&(other.scale, other.mantissa))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<String> {
        text.parse::<Decimal>().ok().map(|d| d.to_string())
    }

    #[test]
    fn a_number_has_one_form_however_it_is_written() {
        for (text, form) in [
            ("1.50", "1.5"),
            ("007", "7"),
            (".5", "0.5"),
            ("3.", "3"),
            ("1e3", "1000"),
            ("2.5E-1", "0.25"),
            ("-0.0", "0"),
            ("-12.30", "-12.3"),
            ("0e99", "0"),
            ("1000", "1000"),
        ] {
            assert_eq!(read(text).as_deref(), Some(form), "{text}");
        }
        for text in ["", ".", "-", "1e", "e5", "1e999", "0x10", "1.2.3", "1_000", "--1", "NaN", "1e-13", "１"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(read(&"9".repeat(31)), None);
        assert_eq!(read(&"9".repeat(30)), Some("9".repeat(30)));
    }

    #[test]
    fn a_number_becomes_fixed_point_only_where_that_is_exact() {
        let read = |text: &str| text.parse::<Decimal>().unwrap();
        assert_eq!(read("12.5").fixed_point(2), Some(1250));
        assert_eq!(read("12.505").fixed_point(2), None);
        assert_eq!(read("1e29").fixed_point(0), None);
        assert_eq!(read("-3").fixed_point(6), Some(-3_000_000));
    }
}
