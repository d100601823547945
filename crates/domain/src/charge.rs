//! Privacy loss, in integers that are always rounded up.

use serde::{Deserialize, Serialize};
use std::fmt;

/// ρ of zero-concentrated differential privacy, in units of 10⁻⁹ (Bun and Steinke 2016, definition 1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rho(u64);

/// δ, in units of 10⁻¹⁸.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Delta(u64);

/// ε of pure differential privacy, in units of 10⁻⁹.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epsilon(u64);

const NANO: f64 = 1e9;

fn ceil_nano(value: f64) -> Option<u64> {
    let scaled = (value * NANO).ceil();
    // 2^53 nano-units is nine million: far above any ceiling, and exact below it.
    (scaled.is_finite() && (0.0..=9_007_199_254_740_992.0).contains(&scaled)).then_some(scaled as u64)
}

impl Rho {
    /// ρ in units of 10⁻⁹.
    #[must_use]
    pub const fn from_nano(nano: u64) -> Self {
        Self(nano)
    }

    /// The largest ε whose [`Epsilon::to_rho`] is at most this.
    #[must_use]
    pub fn to_epsilon(self) -> Epsilon {
        let squared = 2 * u128::from(self.0) * 1_000_000_000;
        // The root of less than 2⁹⁵ fits.
        Epsilon(u64::try_from(squared.isqrt()).unwrap_or(u64::MAX))
    }

    /// The smallest representable ρ that is at least `value`; `None` if it is negative, not a number or absurd.
    #[must_use]
    pub fn at_least(value: f64) -> Option<Self> {
        ceil_nano(value).map(Self)
    }

    /// Units of 10⁻⁹.
    #[must_use]
    pub const fn nano(self) -> u64 {
        self.0
    }

    /// As a number, for showing and for choosing a scale; never for adding up.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / NANO
    }
}

impl Epsilon {
    /// ε in units of 10⁻⁹.
    #[must_use]
    pub const fn from_nano(nano: u64) -> Self {
        Self(nano)
    }

    /// The smallest representable ε that is at least `value`; `None` if it is negative, not a number or absurd.
    #[must_use]
    pub fn at_least(value: f64) -> Option<Self> {
        ceil_nano(value).map(Self)
    }

    /// Units of 10⁻⁹.
    #[must_use]
    pub const fn nano(self) -> u64 {
        self.0
    }

    /// As a number, for showing and for choosing a scale.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / NANO
    }

    /// The zCDP loss of an ε-DP mechanism: ρ = ε²/2, rounded up (Bun and Steinke 2016, proposition 1.4).
    #[must_use]
    pub fn to_rho(self) -> Rho {
        let square = u128::from(self.0) * u128::from(self.0);
        let nano = square.div_ceil(2 * 1_000_000_000);
        Rho(u64::try_from(nano).unwrap_or(u64::MAX))
    }
}

impl Delta {
    /// δ in units of 10⁻¹⁸.
    #[must_use]
    pub const fn from_atto(atto: u64) -> Self {
        Self(atto)
    }

    /// Units of 10⁻¹⁸.
    #[must_use]
    pub const fn atto(self) -> u64 {
        self.0
    }
}

/// What one answer costs: ρ, δ, and, where the mechanism is pure, its ε as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Charge {
    /// Zero-concentrated loss; for a pure mechanism ε²/2.
    pub rho: Rho,
    /// Probability outside the bound.
    pub delta: Delta,
    /// Pure loss, summed on its own; zero for a mechanism that is not pure.
    pub epsilon: Epsilon,
}

/// A sum of charges beyond what the integers hold. It means that an account is spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sum of privacy losses is larger than any budget")]
pub struct ChargeOverflow;

impl Charge {
    /// The charge of a mechanism under zCDP alone.
    #[must_use]
    pub const fn of_rho(rho: Rho) -> Self {
        Self { rho, delta: Delta(0), epsilon: Epsilon(0) }
    }

    /// The charge of a pure mechanism.
    #[must_use]
    pub fn of_epsilon(epsilon: Epsilon) -> Self {
        Self { rho: epsilon.to_rho(), delta: Delta(0), epsilon }
    }

    /// Basic composition: each part adds up.
    ///
    /// # Errors
    /// [`ChargeOverflow`] instead of wrapping round.
    pub fn plus(self, other: Self) -> Result<Self, ChargeOverflow> {
        Ok(Self {
            rho: Rho(self.rho.0.checked_add(other.rho.0).ok_or(ChargeOverflow)?),
            delta: Delta(self.delta.0.checked_add(other.delta.0).ok_or(ChargeOverflow)?),
            epsilon: Epsilon(self.epsilon.0.checked_add(other.epsilon.0).ok_or(ChargeOverflow)?),
        })
    }

    /// Whether every part is at most that of `limit`. A limit's ε of zero means that ε is not limited on its own.
    #[must_use]
    pub fn within(&self, limit: &Self) -> bool {
        self.rho <= limit.rho
            && self.delta <= limit.delta
            && (limit.epsilon == Epsilon(0) || self.epsilon <= limit.epsilon)
    }
}

impl fmt::Display for Rho {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", trim_zeros(&format!("{}.{:09}", self.0 / 1_000_000_000, self.0 % 1_000_000_000)))
    }
}

impl fmt::Display for Delta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = 1_000_000_000_000_000_000;
        write!(f, "{}", trim_zeros(&format!("{}.{:018}", self.0 / whole, self.0 % whole)))
    }
}

impl fmt::Display for Epsilon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Rho(self.0).fmt(f)
    }
}

fn trim_zeros(text: &str) -> &str {
    text.trim_end_matches('0').trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_round_up() {
        assert_eq!(Rho::at_least(1e-10), Some(Rho(1)));
        assert_eq!(Rho::at_least(0.0), Some(Rho(0)));
        assert_eq!(Rho::at_least(-1.0), None);
        assert_eq!(Rho::at_least(f64::NAN), None);
        assert_eq!(Epsilon::from_nano(1).to_rho(), Rho(1));
        assert_eq!(Epsilon::from_nano(1_000_000_000).to_rho(), Rho(500_000_000));
    }

    #[test]
    fn an_epsilon_is_the_largest_that_a_rho_pays_for() {
        assert_eq!(Rho(500_000_000).to_epsilon(), Epsilon(1_000_000_000));
        for nano in [0, 1, 2, 5_000_000, 123_456_789, 4_000_000_000, u64::MAX / 4] {
            let Epsilon(epsilon) = Rho(nano).to_epsilon();
            assert!(Epsilon(epsilon).to_rho() <= Rho(nano), "{nano}");
            assert!(Epsilon(epsilon + 1).to_rho() > Rho(nano), "{nano}");
        }
    }

    #[test]
    fn a_sum_never_wraps() {
        let all = Charge::of_rho(Rho(u64::MAX));
        assert_eq!(all.plus(Charge::of_rho(Rho(1))), Err(ChargeOverflow));
    }

    #[test]
    fn every_part_of_a_loss_adds_up_and_is_limited() {
        let charge = |rho, delta, epsilon| Charge { rho: Rho(rho), delta: Delta(delta), epsilon: Epsilon(epsilon) };
        assert_eq!(charge(1, 20, 300).plus(charge(4, 50, 600)), Ok(charge(5, 70, 900)));
        for over in [charge(u64::MAX, 0, 0), charge(0, u64::MAX, 0), charge(0, 0, u64::MAX)] {
            assert_eq!(over.plus(charge(1, 1, 1)), Err(ChargeOverflow));
        }
        let limit = charge(5, 70, 900);
        assert!(limit.within(&limit));
        for over in [charge(6, 70, 900), charge(5, 71, 900), charge(5, 70, 901)] {
            assert!(!over.within(&limit), "{over:?}");
        }
        assert!(charge(5, 70, 901).within(&charge(5, 70, 0)), "no limit on epsilon alone");
    }

    #[test]
    fn a_loss_is_shown_without_padding() {
        assert_eq!(Rho(5_000_000).to_string(), "0.005");
        assert_eq!(Rho(2_000_000_000).to_string(), "2");
        assert_eq!(Delta(100_000_000).to_string(), "0.0000000001");
    }
}
