//! Among what a quantile is chosen, and how far each is from the rank asked for.

use crate::{Decimal, MAX_QUANTILE_CANDIDATES};
use firebreak_domain::{ReasonCode, Refusal};
use std::fmt;

/// The rank of the median.
pub(crate) const MEDIAN: Decimal = Decimal::HALF;

/// Decimals of a rank.
const RANK_DECIMALS: u8 = 4;

/// The values among which a quantile is chosen: `low`, `low + step`, .., in fixed point, and the rank as a fraction.
///
/// They follow from declared bounds alone. A value stands for the last candidate that is not above it, so that each
/// value between the bounds stands for one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Candidates {
    low: i64,
    step: i64,
    count: u32,
    numerator: u32,
    denominator: u32,
}

impl Candidates {
    /// Between two bounds, both included, for a rank: every value where they are few, else steps of 1, 2 or 5 times a
    /// power of ten, so that there are at most [`MAX_QUANTILE_CANDIDATES`].
    pub(crate) fn between(low: i64, high: i64, rank: Decimal) -> Result<Self, Refusal> {
        let scale = 10_u32.pow(u32::from(RANK_DECIMALS));
        let parts = rank.fixed_point(RANK_DECIMALS).and_then(|parts| u32::try_from(parts).ok());
        let parts = parts.filter(|parts| (1..scale).contains(parts)).ok_or_else(|| {
            let what = format!("a rank is above 0 and below 1, with at most {RANK_DECIMALS} decimals");
            Refusal::new(ReasonCode::LiteralMismatch).because(what)
        })?;
        let divisor = greatest_common_divisor(parts, scale);
        // Bounds are within ±2^62.
        let width = high - low;
        let steps = (0..18).map(|power| 10_i64.pow(power)).flat_map(|ten| [ten, 2 * ten, 5 * ten]);
        let fits = |step: &i64| width / step < i64::from(MAX_QUANTILE_CANDIDATES);
        let step = { steps }.find(fits).unwrap_or(i64::MAX);
        let count = u32::try_from(width / step + 1).unwrap_or(MAX_QUANTILE_CANDIDATES);
        Ok(Self { low, step, count, numerator: parts / divisor, denominator: scale / divisor })
    }

    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// The first, in fixed point.
    #[must_use]
    pub const fn low(&self) -> i64 {
        self.low
    }

    /// From one to the next, in fixed point.
    #[must_use]
    pub const fn step(&self) -> i64 {
        self.step
    }

    /// Parts of a rank in which scores are whole numbers.
    #[must_use]
    pub const fn parts(&self) -> u32 {
        self.denominator
    }

    /// The candidate at a place, in fixed point.
    #[must_use]
    pub fn value(&self, place: usize) -> i64 {
        let place = i64::try_from(place).unwrap_or(i64::MAX);
        self.low.saturating_add(self.step.saturating_mul(place))
    }

    /// The candidate for which a value between the bounds stands, by its place.
    #[must_use]
    pub const fn place(&self, value: i64) -> i64 {
        (value - self.low).div_euclid(self.step)
    }

    /// How far each candidate is from the rank, in [`Candidates::parts`] of one value; 0 where the rank lies within the
    /// values that stand for it. `counts` says how many those are.
    ///
    /// With `n` values, `L` of them below a candidate and `E` on it, and the rank `p/d`: `max(d·L − p·n, p·n − d·(L +
    /// E), 0)`.
    #[must_use]
    pub fn scores(&self, counts: &[i64]) -> Vec<i64> {
        let wide = |count: i64| i128::from(count);
        let (p, d) = (i128::from(self.numerator), i128::from(self.denominator));
        let rank = p * counts.iter().map(|count| wide(*count)).sum::<i128>();
        let mut below = 0;
        let score = |count: &i64| {
            let upto = below + wide(*count);
            let score = (d * below - rank).max(rank - d * upto).max(0);
            below = upto;
            i64::try_from(score).unwrap_or(i64::MAX)
        };
        counts.iter().map(score).collect()
    }

    /// By how much one value more or less moves the score of any candidate at most: `max(p, d − p)`.
    ///
    /// One value more adds 1 to `n`, and 1 to `L` and `L + E` of the candidates above it, 1 to `L + E` alone of its
    /// own. So `d·L − p·n` moves by `d − p` or `−p`, and `p·n − d·(L + E)` by `p` or `p − d`; the largest of such and
    /// 0 moves by no more than they do.
    #[must_use]
    pub const fn score_sensitivity(&self) -> u32 {
        let other = self.denominator - self.numerator;
        if self.numerator > other { self.numerator } else { other }
    }

    /// By how many values the rank of what is chosen is off at most, beyond the best candidate's, but for that chance,
    /// above 0, that it is off by more; `scale` is that of the exponential mechanism, in [`Candidates::parts`] of one
    /// value.
    ///
    /// The mechanism chooses one whose score is worse than the best by `t` or more with a probability of at most
    /// `count·exp(−t/scale)` (McSherry and Talwar 2007, theorem 7, in the form of Dwork and Roth 2014, theorem 3.11).
    #[must_use]
    pub fn rank_error(&self, scale: f64, chance: f64) -> f64 {
        scale * (f64::from(self.count) / chance).ln() / f64::from(self.denominator)
    }
}

/// One text for each; it holds the caller's rank.
impl fmt::Display for Candidates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { low, step, count, numerator, denominator } = self;
        write!(f, "{numerator}/{denominator} of {count} from {low} by {step}")
    }
}

/// // PRIVACY: rank and ends are the caller's words.
impl fmt::Debug for Candidates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Candidates(..)")
    }
}

const fn greatest_common_divisor(mut one: u32, mut other: u32) -> u32 {
    while other != 0 {
        (one, other) = (other, one % other);
    }
    one
}

#[cfg(test)]
mod tests;
