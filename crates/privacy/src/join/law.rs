use firebreak_domain::{Charge, Delta, Epsilon};

/// The most that twice the δ of a join may be, at whichever ε.
const DELTA: Delta = Delta::from_atto(1_000_000_000);
/// Fractional bits of a weight and of e^-ε.
const BITS: u32 = 63;
/// Fractional bits in which e^-ε is worked out.
const WORKED: u32 = 80;
/// Terms of the exponential series, an odd number of them: for ε of at most 1, the next is below 2⁻⁸⁰.
const TERMS: u64 = 31;

/// The law of how many matching dummies a side puts into each cell: geometric to both sides of a centre n, cut off
/// at 0 and at 2n.
///
/// P[T = k] is proportional to the weight w(|k − n|), an integer. Each weight is at least e^-ε times the one before,
/// in whole numbers and without rounding towards more loss, so that T and T + 1 differ by a factor of at most e^ε
/// wherever both can be, and the chance of being where only one can be is P[T = 0]. n is the least for which twice that
/// chance is at most 10⁻⁹, so that neither a person more nor another person in the place of one goes beyond it.
#[derive(Debug, Clone, PartialEq)]
pub struct DummyLaw {
    epsilon: Epsilon,
    /// w(0) to w(n).
    weights: Vec<u64>,
}

/// A loss for which there are no dummies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a join's ε is from 0.05 to 1: with less there would be more than 700 dummies in a cell")]
pub struct DummyLawError;

impl DummyLaw {
    /// The law at a loss of `epsilon`.
    ///
    /// # Errors
    /// [`DummyLawError`] below 0.05 or above 1.
    pub fn new(epsilon: Epsilon) -> Result<Self, DummyLawError> {
        if !(50_000_000..=1_000_000_000).contains(&epsilon.nano()) {
            return Err(DummyLawError);
        }
        let shrink = exponential_above(epsilon);
        let mut weights = vec![1_u64 << BITS];
        let mut last = 1_u64 << BITS;
        let mut total = u128::from(last);
        // INVARIANT: it ends: weights fall by a factor of at least e^-0.05, until rounding up keeps them at about 20.
        while 2 * u128::from(last) * 1_000_000_000_000_000_000 > u128::from(DELTA.atto()) * total {
            let next = (u128::from(last) * u128::from(shrink)).div_ceil(1 << BITS);
            // At most 2⁶³: both factors are.
            last = next as u64;
            total += 2 * u128::from(last);
            weights.push(last);
        }
        Ok(Self { epsilon, weights })
    }

    /// n: the number of dummies a cell has in the middle, and what each side's adds to a count on average.
    #[must_use]
    pub const fn centre(&self) -> u32 {
        // About 360 weights at the most.
        self.weights.len() as u32 - 1
    }

    /// 2n: the most dummies of one side in one cell.
    #[must_use]
    pub const fn most(&self) -> u32 {
        2 * self.centre()
    }

    /// The weights of 0, 1, … 2n dummies.
    #[must_use]
    pub fn weights(&self) -> Vec<u64> {
        self.weights.iter().rev().chain(self.weights.iter().skip(1)).copied().collect()
    }

    /// What a question costs each of the two unit spaces: ρ = ε²/2 with δ = P[T = 0], rounded up.
    ///
    /// In either of two neighbouring histories the loss is pure outside of an event of that probability, which makes
    /// it δ-approximately ρ-zCDP (Bun and Steinke 2016, definition 8.1 and proposition 1.4). It is not pure, so it is
    /// not counted with pure losses.
    #[must_use]
    pub fn charge(&self) -> Charge {
        let outermost = self.weights.last().copied().unwrap_or_default();
        let total: u128 = self.weights().into_iter().map(u128::from).sum();
        let delta = (u128::from(outermost) * 1_000_000_000_000_000_000).div_ceil(total);
        let delta = Delta::from_atto(u64::try_from(delta).unwrap_or(u64::MAX));
        Charge { delta, ..Charge::of_rho(self.epsilon.to_rho()) }
    }

    /// The standard deviation of a released count: of T_A + T_B, which are independent.
    #[must_use]
    pub fn deviation(&self) -> f64 {
        let squares = self.probabilities().enumerate().map(|(number, p)| {
            let away = number as f64 - f64::from(self.centre());
            p * away * away
        });
        (2.0 * squares.sum::<f64>()).sqrt()
    }

    /// The least t for which a released count is within ±t of the truth in at least `level` of all runs.
    #[must_use]
    pub fn half_width(&self, level: f64) -> u32 {
        let one: Vec<f64> = self.probabilities().collect();
        let mut both = vec![0.0; 2 * one.len()];
        for (mine, p) in one.iter().enumerate() {
            for (theirs, q) in one.iter().enumerate() {
                if let Some(sum) = both.get_mut(mine + theirs) {
                    *sum += p * q;
                }
            }
        }
        let outside = |t: u32| {
            let inside = |sum: usize| sum.abs_diff(self.most() as usize) <= t as usize;
            both.iter().enumerate().filter(|(sum, _)| !inside(*sum)).map(|(_, p)| p).sum::<f64>()
        };
        // Tails are summed, and not the middle, so that nothing is lost near a level of 1.
        (0..self.most()).find(|t| outside(*t) <= 1.0 - level).unwrap_or(2 * self.most())
    }

    fn probabilities(&self) -> impl Iterator<Item = f64> {
        let weights = self.weights();
        let total: f64 = weights.iter().map(|weight| *weight as f64).sum();
        weights.into_iter().map(move |weight| weight as f64 / total)
    }
}

/// e^-ε for ε of at most 1, in units of 2⁻⁶³, rounded up.
///
/// The series 1 − ε + ε²/2 − … alternates and falls, so that a sum which ends with a term that is added is above its
/// limit. Terms that are added are rounded up and those that are taken off are rounded down.
fn exponential_above(epsilon: Epsilon) -> u64 {
    let one = 1_u128 << WORKED;
    let (mut above, mut below, mut sum) = (one, one, one);
    for number in 1..TERMS {
        let (by, over) = (u128::from(epsilon.nano()), u128::from(number) * 1_000_000_000);
        above = (above * by).div_ceil(over);
        below = below * by / over;
        if number % 2 == 1 { sum -= below } else { sum += above }
    }
    // At most 2⁶³, for ε above zero.
    sum.div_ceil(1 << (WORKED - BITS)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn at(epsilon: f64) -> DummyLaw {
        DummyLaw::new(Epsilon::at_least(epsilon).unwrap()).unwrap()
    }

    /// Σ max(P − e^ε·Q, 0), the least δ for which P is (ε, δ)-close to Q (Dwork and Roth 2014, section 3.5.1).
    fn hockey_stick<K: Ord>(p: &BTreeMap<K, f64>, q: &BTreeMap<K, f64>, epsilon: f64) -> f64 {
        // The margin covers the rounding of doubles, which pure loss would otherwise be drowned in.
        let beyond = |(at, p): (&K, &f64)| {
            let allowed = epsilon.exp() * q.get(at).unwrap_or(&0.0);
            if *p > allowed * (1.0 + 1e-12) { p - allowed } else { 0.0 }
        };
        p.iter().map(beyond).sum()
    }

    /// Law of what the third party and one agency see together of one cell and of one list's size, if `matched`
    /// records of the other agency are in the cell and `unmatched` more are in the list.
    fn pooled(law: &DummyLaw, matched: usize, unmatched: usize) -> BTreeMap<(usize, usize), f64> {
        let mut seen = BTreeMap::new();
        for (t, p) in law.probabilities().enumerate() {
            for (u, q) in law.probabilities().enumerate() {
                // What is not in the cell: the list's size less the cell.
                *seen.entry((matched + t, unmatched + u)).or_default() += p * q;
            }
        }
        seen
    }

    #[test]
    fn at_epsilon_1_there_are_at_most_42_dummies_a_side() {
        let law = at(1.0);
        assert_eq!((law.centre(), law.most(), law.weights().len()), (21, 42, 43));
        // One less would take the two steps of another person beyond 10⁻⁹: 2·P[T = 0] at n = 20 is 1.905·10⁻⁹.
        assert_eq!((at(0.5).centre(), at(0.25).centre(), at(0.1).centre()), (41, 78, 185));
        let weights = law.weights();
        assert!(weights.iter().eq(weights.iter().rev()), "not symmetric");
    }

    #[test]
    fn neighbouring_counts_are_within_epsilon_wherever_both_can_be() {
        for epsilon in [0.05, 0.1, 0.25, 0.5, 0.75, 1.0] {
            let law = at(epsilon);
            for [nearer, further] in law.weights.array_windows() {
                assert!(further <= nearer);
                // e^-ε as a double is off by less than 2⁻⁵², and weights are whole numbers above 2²⁰.
                let ratio = *nearer as f64 / *further as f64;
                assert!(ratio <= epsilon.exp() * (1.0 + 1e-15), "{epsilon}: {ratio}");
                assert!(ratio >= epsilon.exp() * (1.0 - 1e-6), "{epsilon}: more noise than is asked for: {ratio}");
            }
        }
    }

    #[test]
    fn e_to_the_minus_epsilon_is_rounded_up() {
        // e⁻¹, e^-½ and e^-¼ times 2⁶³, rounded up, by arithmetic of 60 decimal digits.
        for (epsilon, due) in
            [(1.0, 3_393_088_950_634_442_638_u64), (0.5, 5_594_257_926_288_582_650), (0.25, 7_183_169_364_861_397_922)]
        {
            let found = exponential_above(Epsilon::at_least(epsilon).unwrap());
            assert!(found == due || found == due + 1, "{epsilon}: {found}");
        }
    }

    #[test]
    fn a_person_more_or_another_person_is_within_epsilon_and_delta_of_what_is_charged() {
        for (epsilon, law) in [1.0, 0.5].map(|epsilon| (epsilon, at(epsilon))) {
            let delta = law.charge().delta.atto() as f64 / 1e18;
            assert!(2.0 * delta <= 1e-9, "{delta}");
            let without = pooled(&law, 3, 3);
            for with in [pooled(&law, 4, 3), pooled(&law, 3, 4)] {
                let found = hockey_stick(&with, &without, epsilon).max(hockey_stick(&without, &with, epsilon));
                assert!(found <= delta * (1.0 + 1e-9), "{found} beyond {delta}");
                assert!(found >= delta * 0.99, "{found} far below {delta}");
            }
            // Another person, who is not in the cell: two steps, twice the loss and twice the δ.
            let other = pooled(&law, 2, 4);
            let found = hockey_stick(&other, &without, 2.0 * epsilon);
            assert!(found <= 2.0 * delta * (1.0 + 1e-9), "{found} beyond twice {delta}");
            // Were a list as long whatever its side's matching dummies, a matched person would move cell and size.
            let both = hockey_stick(&pooled(&law, 4, 4), &without, epsilon);
            assert!(both > 0.1, "a size that moves with the cell costs no more: {both}");
        }
    }

    #[test]
    fn what_is_released_loses_somebody_of_both_registers_one_charge() {
        for (epsilon, law) in [1.0, 0.5].map(|epsilon| (epsilon, at(epsilon))) {
            let released = |matched: usize| {
                let mut seen: BTreeMap<usize, f64> = BTreeMap::new();
                for (a, p) in law.probabilities().enumerate() {
                    for (b, q) in law.probabilities().enumerate() {
                        *seen.entry(matched + a + b).or_default() += p * q;
                    }
                }
                seen
            };
            let delta = law.charge().delta.atto() as f64 / 1e18;
            let (with, without) = (released(4), released(3));
            let found = hockey_stick(&with, &without, epsilon).max(hockey_stick(&without, &with, epsilon));
            assert!(found <= delta, "{found} beyond {delta}");
            // Who sees the lists' sizes as well sees two draws move, of which one charge covers one.
            let both = hockey_stick(&pooled(&law, 4, 4), &pooled(&law, 3, 3), epsilon);
            assert!(both > 0.1, "two draws cost no more than one: {both}");
        }
    }

    #[test]
    fn a_count_is_within_8_in_998_of_1000_runs_at_epsilon_1() {
        let law = at(1.0);
        assert!((law.deviation() - 1.919).abs() < 0.001, "{}", law.deviation());
        assert!(law.half_width(0.998) <= 8, "{}", law.half_width(0.998));
        assert_eq!(law.half_width(0.95), 4);
        assert!(at(0.5).half_width(0.95) > law.half_width(0.95));
    }

    #[test]
    fn the_charge_is_rounded_up_and_is_not_pure() {
        let charge = at(1.0).charge();
        assert_eq!((charge.rho.nano(), charge.epsilon.nano()), (500_000_000, 0));
        assert!((345_000_000..=355_000_000).contains(&charge.delta.atto()), "{}", charge.delta.atto());
    }

    #[test]
    fn a_loss_out_of_range_has_no_law() {
        for nano in [0, 49_999_999, 1_000_000_001, u64::MAX] {
            assert_eq!(DummyLaw::new(Epsilon::from_nano(nano)), Err(DummyLawError));
        }
        assert!(DummyLaw::new(Epsilon::from_nano(50_000_000)).unwrap().most() <= 800);
    }
}
