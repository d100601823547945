//! Numbers as people read them: grouped by thousands, and no more digits than the noise leaves.

use firebreak_domain::{Charge, Delta, Epsilon, Rho};
use firebreak_privacy::epsilon_text;

/// Narrow no-break space: groups digits without being taken for a decimal sign anywhere.
const THIN: char = '\u{202f}';
/// More decimals are never shown.
const MOST_DECIMALS: usize = 12;

/// A whole number, grouped by thousands.
#[must_use]
pub fn count(value: u64) -> String {
    group(&value.to_string())
}

/// A number with so many decimals, grouped by thousands before the decimal point.
#[must_use]
pub fn decimal(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    // What rounds to nothing has no sign.
    let text = match text.strip_prefix('-') {
        Some(rest) if !rest.contains(|c: char| c.is_ascii_digit() && c != '0') => rest,
        _ => &text,
    };
    match text.split_once('.') {
        Some((whole, fraction)) => format!("{}.{fraction}", group(whole)),
        None => group(text),
    }
}

/// A value and its error, both as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The value: to the last digit of its error, but never rounded above units.
    pub value: String,
    /// The standard error, to two significant digits.
    pub error: String,
    /// Decimals of both.
    pub decimals: usize,
}

/// Lays out a value with its standard error.
///
/// A value without an error (an output of constants alone) is shown with the decimals that it has.
#[must_use]
pub fn with_error(value: f64, error: f64) -> Shown {
    let Some((rounded, decimals)) = two_digits(error) else {
        let decimals = value.to_string().split_once('.').map_or(0, |(_, fraction)| fraction.len());
        let decimals = decimals.min(MOST_DECIMALS);
        return Shown { value: decimal(value, decimals), error: decimal(error, 0), decimals };
    };
    Shown { value: decimal(value, decimals), error: decimal(rounded, decimals), decimals }
}

/// The number rounded to two significant digits, and the decimals that these take; `None` for 0 and for what is not
/// a number.
fn two_digits(error: f64) -> Option<(f64, usize)> {
    if !error.is_finite() || error == 0.0 {
        return None;
    }
    // Written in scientific form first, so that 0.0996 becomes 0.10 and not 0.100.
    let text = format!("{error:.1e}");
    let exponent: i32 = text.split_once('e')?.1.parse().ok()?;
    let decimals = usize::try_from(1 - exponent).unwrap_or(0).min(MOST_DECIMALS);
    Some((text.parse().ok()?, decimals))
}

/// A loss as ρ, then as ε at δ = 10⁻⁶.
#[must_use]
pub fn loss(rho: Rho) -> String {
    format!("ρ {rho} (ε {} at δ = 1e-6)", epsilon_text(rho))
}

/// A loss, and the δ that was charged beside it, if any was.
#[must_use]
pub fn loss_and_delta(charge: Charge) -> String {
    let Charge { rho, delta, .. } = charge;
    if delta == Delta::default() { loss(rho) } else { format!("{} and δ {delta}", loss(rho)) }
}

/// What was charged: of a pure mechanism its ε first.
#[must_use]
pub fn charged(charge: Charge) -> String {
    if charge.epsilon == Epsilon::default() {
        loss_and_delta(charge)
    } else {
        format!("ε {} (pure; ρ {})", charge.epsilon, charge.rho)
    }
}

/// Puts a thin space between groups of three digits; texts that are not digits pass.
fn group(whole: &str) -> String {
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return whole.to_owned();
    }
    let mut text = String::with_capacity(whole.len() * 2);
    text.push_str(sign);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(THIN);
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> String {
        text.replace(THIN, " ")
    }

    #[test]
    fn thousands_are_grouped_and_signs_stay_in_front() {
        for (value, expected) in
            [(0, "0"), (999, "999"), (1000, "1 000"), (123_456, "123 456"), (1_234_567, "1 234 567")]
        {
            assert_eq!(plain(&count(value)), expected);
        }
        assert_eq!(plain(&decimal(-1_234_567.891, 2)), "-1 234 567.89");
        assert_eq!(plain(&decimal(-123.0, 0)), "-123");
        assert_eq!(decimal(-0.001, 2), "0.00");
        assert_eq!(decimal(f64::INFINITY, 2), "inf");
    }

    #[test]
    fn a_standard_error_has_two_significant_digits_and_its_value_ends_with_it() {
        for (value, error, expected_value, expected_error) in [
            (1234.567, 12.345, "1 235", "12"),
            (1234.567, 1.2345, "1 234.6", "1.2"),
            (1234.567, 0.996, "1 234.6", "1.0"),
            (0.123_456, 0.000_996, "0.1235", "0.0010"),
            (0.123_456, 0.001_234, "0.1235", "0.0012"),
            (567_891.0, 1234.5, "567 891", "1 200"),
            (-5.0, 99.6, "-5", "100"),
            (0.5, 0.0, "0.5", "0"),
            (100.0, 0.0, "100", "0"),
        ] {
            let shown = with_error(value, error);
            assert_eq!((plain(&shown.value).as_str(), plain(&shown.error).as_str()), (expected_value, expected_error));
        }
    }

    #[test]
    fn a_loss_is_shown_as_rho_and_epsilon_and_with_its_delta_where_it_has_one() {
        let charge = Charge::of_rho(Rho::from_nano(5_000_000));
        assert_eq!(loss(charge.rho), "ρ 0.005 (ε 0.53 at δ = 1e-6)");
        assert_eq!(loss_and_delta(charge), loss(charge.rho));
        let selected = Charge { delta: Delta::from_atto(100_000_000), ..charge };
        assert_eq!(loss_and_delta(selected), "ρ 0.005 (ε 0.53 at δ = 1e-6) and δ 0.0000000001");
        assert_eq!(charged(selected), loss_and_delta(selected));
    }
}
