//! Outputs from released numbers, with the error that follows from the noise.

use crate::{Arithmetic, CheckedQuery, Spread};

/// One number of the answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OutputValue {
    /// The value; `None` where it is not computable: a denominator is 0, or a mean has no value left to divide by.
    pub value: Option<f64>,
    /// The standard error that the noise alone causes; `None` where the value is not computable.
    pub standard_error: Option<f64>,
    /// The 95 % interval of the value for the noise alone; `None` where the value is not computable, and for a ratio whose
    /// denominator may as well be 0.
    pub interval: Option<(f64, f64)>,
}

/// The 97.5 % quantile of the standard normal distribution: half the width of a 95 % interval in standard errors.
pub const INTERVAL_95: f64 = 1.959_964;

/// An output in terms of primitives, by their index.
#[derive(Clone, PartialEq)]
pub(crate) enum Formula {
    /// The primitive as it is.
    Primitive(usize),
    /// `(sum + centre·count) / unit`. Without `count`, the centre is 0.
    Total { sum: usize, count: Option<usize>, centre: f64, unit: f64 },
    /// `(centre + sum / count) / unit`.
    Mean { sum: usize, count: usize, centre: f64, unit: f64 },
    /// `(squares + centre·count)/count − (sum/count)²`, over `unit`; of a sample times `count/(count − 1)`; its root.
    Spread { sum: usize, squares: usize, count: usize, centre: f64, unit: f64, spread: Spread },
    /// A constant.
    Constant(f64),
    /// The negative.
    Negate(Box<Formula>),
    /// Two parts joined.
    Binary(Arithmetic, Box<Formula>, Box<Formula>),
}

/// A value and its derivative by each primitive.
struct Jet {
    value: f64,
    slopes: Vec<f64>,
}

impl CheckedQuery {
    /// The outputs of one cell, from the released values of its primitives and the standard deviations of their
    /// noise, both in the order of [`CheckedQuery::primitives`].
    ///
    /// The error is that of the delta method: with independent noise of deviation `σ_i` on primitive `i`, an output
    /// `f` has the standard error `√Σ (∂f/∂x_i · σ_i)²`, the derivatives taken at the released values. They are taken
    /// of the whole output, so parts that share a primitive (a share `a / (a + b)`) are treated exactly as far as the
    /// first order goes. Where `f` is linear the error is exact; a ratio whose denominator is not large against its
    /// noise has a heavier tail than the error says. Without one value per primitive nothing is computable.
    ///
    /// The interval is that of the normal distribution; of a ratio, and so of AVG, Fieller's (1954), which holds for any
    /// denominator: it is wider and lopsided where the denominator is small against its noise, and where the denominator's
    /// own interval holds 0 there is none.
    #[must_use]
    pub fn evaluate(&self, values: &[f64], deviations: &[f64]) -> Vec<OutputValue> {
        let fits = values.len() == self.primitives.len() && deviations.len() == self.primitives.len();
        self.outputs.iter().map(|output| output_value(&output.formula, values, deviations, fits)).collect()
    }
}

fn output_value(formula: &Formula, values: &[f64], deviations: &[f64], fits: bool) -> OutputValue {
    let none = OutputValue { value: None, standard_error: None, interval: None };
    let Some(jet) = formula.jet(values).filter(|_| fits) else { return none };
    let variance = jet.covariance(&jet, deviations);
    if !jet.value.is_finite() || !variance.is_finite() {
        return none;
    }
    let error = variance.sqrt();
    let interval = match formula.ratio(values) {
        Some(ratio) => ratio.interval(deviations),
        None => Some((jet.value - INTERVAL_95 * error, jet.value + INTERVAL_95 * error)),
    };
    OutputValue { value: Some(jet.value), standard_error: Some(error), interval }
}

/// `shift + numerator / denominator`.
struct Ratio {
    numerator: Jet,
    denominator: Jet,
    shift: f64,
}

impl Ratio {
    /// The values θ that the noise does not tell from the ratio: those for which `a − θb` is within 1.96 of its own
    /// standard errors of 0, with `a − θb` linear in the noise.
    fn interval(&self, deviations: &[f64]) -> Option<(f64, f64)> {
        let (a, b) = (self.numerator.value, self.denominator.value);
        let var_a = self.numerator.covariance(&self.numerator, deviations);
        let var_b = self.denominator.covariance(&self.denominator, deviations);
        let both = self.numerator.covariance(&self.denominator, deviations);
        let squared = INTERVAL_95 * INTERVAL_95;
        // (b² − t²·var b)·θ² − 2(ab − t²·cov)·θ + (a² − t²·var a) ≤ 0
        let (two, one, nought) = (b * b - squared * var_b, a * b - squared * both, a * a - squared * var_a);
        if two <= 0.0 {
            return None;
        }
        let root = (one * one - two * nought).max(0.0).sqrt();
        let ends = [(one - root) / two + self.shift, (one + root) / two + self.shift];
        ends.iter().all(|end| end.is_finite()).then_some((ends[0], ends[1]))
    }
}

impl Formula {
    /// The value, where it is computable.
    pub(crate) fn value(&self, values: &[f64]) -> Option<f64> {
        self.jet(values).map(|jet| jet.value).filter(|value| value.is_finite())
    }

    /// Numerator and denominator, if it is one over the other.
    fn ratio(&self, values: &[f64]) -> Option<Ratio> {
        match self {
            Self::Mean { sum, count, centre, unit } => Some(Ratio {
                numerator: Jet::variable(values, *sum)?.scaled(1.0 / unit),
                denominator: Jet::variable(values, *count)?,
                shift: centre / unit,
            }),
            Self::Binary(Arithmetic::Divide, left, right) => {
                Some(Ratio { numerator: left.jet(values)?, denominator: right.jet(values)?, shift: 0.0 })
            }
            _ => None,
        }
    }

    fn jet(&self, values: &[f64]) -> Option<Jet> {
        match self {
            Self::Primitive(index) => Jet::variable(values, *index),
            Self::Constant(value) => Some(Jet::constant(values, *value)),
            Self::Total { sum, count: None, unit, .. } => Some(Jet::variable(values, *sum)?.scaled(1.0 / unit)),
            Self::Total { sum, count: Some(count), centre, unit } => {
                let (sum, count) = (Jet::variable(values, *sum)?, Jet::variable(values, *count)?);
                Some(sum.plus(&count.scaled(*centre)).scaled(1.0 / unit))
            }
            Self::Mean { sum, count, centre, unit } => {
                let (sum, count) = (Jet::variable(values, *sum)?, Jet::variable(values, *count)?);
                // A noisy count of none or fewer says that there is nothing to take a mean of.
                if count.value <= 0.0 {
                    return None;
                }
                Some(sum.over(&count)?.plus(&Jet::constant(values, *centre)).scaled(1.0 / unit))
            }
            Self::Spread { sum, squares, count, centre, unit, spread } => {
                let (sum, squares) = (Jet::variable(values, *sum)?, Jet::variable(values, *squares)?);
                let count = Jet::variable(values, *count)?;
                let least = if spread.is_of_sample() { 1.0 } else { 0.0 };
                if count.value <= least {
                    return None;
                }
                let mean = sum.over(&count)?;
                let about_centre = squares.over(&count)?.plus(&Jet::constant(values, *centre));
                let variance = about_centre.plus(&mean.times(&mean).scaled(-1.0)).scaled(1.0 / unit);
                let variance = if spread.is_of_sample() {
                    variance.times(&count.over(&count.plus(&Jet::constant(values, -1.0)))?)
                } else {
                    variance
                };
                if spread.is_root() { variance.root() } else { Some(variance) }
            }
            Self::Negate(part) => Some(part.jet(values)?.scaled(-1.0)),
            Self::Binary(op, left, right) => {
                let (left, right) = (left.jet(values)?, right.jet(values)?);
                match op {
                    Arithmetic::Add => Some(left.plus(&right)),
                    Arithmetic::Subtract => Some(left.plus(&right.scaled(-1.0))),
                    Arithmetic::Multiply => Some(left.times(&right)),
                    Arithmetic::Divide => left.over(&right),
                }
            }
        }
    }
}

impl Jet {
    /// The covariance of the noise of two jets, to the first order.
    fn covariance(&self, other: &Self, deviations: &[f64]) -> f64 {
        let slopes = self.slopes.iter().zip(&other.slopes).zip(deviations);
        slopes.map(|((one, other), sigma)| one * other * sigma * sigma).sum()
    }

    fn constant(values: &[f64], value: f64) -> Self {
        Self { value, slopes: vec![0.0; values.len()] }
    }

    fn variable(values: &[f64], index: usize) -> Option<Self> {
        let mut jet = Self::constant(values, *values.get(index)?);
        *jet.slopes.get_mut(index)? = 1.0;
        Some(jet)
    }

    fn scaled(mut self, factor: f64) -> Self {
        self.value *= factor;
        self.slopes.iter_mut().for_each(|slope| *slope *= factor);
        self
    }

    /// `value`, with the slopes `a·own + b·other's`.
    fn joined(&self, other: &Self, value: f64, a: f64, b: f64) -> Self {
        let slopes = self.slopes.iter().zip(&other.slopes).map(|(own, others)| a * own + b * others).collect();
        Self { value, slopes }
    }

    fn plus(&self, other: &Self) -> Self {
        self.joined(other, self.value + other.value, 1.0, 1.0)
    }

    fn times(&self, other: &Self) -> Self {
        self.joined(other, self.value * other.value, other.value, self.value)
    }

    /// The root; of nothing that the noise has drawn to 0 or below.
    fn root(&self) -> Option<Self> {
        let root = (self.value > 0.0).then(|| self.value.sqrt())?;
        Some(self.joined(self, root, 0.5 / root, 0.0))
    }

    fn over(&self, other: &Self) -> Option<Self> {
        if other.value == 0.0 {
            return None;
        }
        let ratio = self.value / other.value;
        Some(self.joined(other, ratio, 1.0 / other.value, -ratio / other.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binary(op: Arithmetic, left: Formula, right: Formula) -> Formula {
        Formula::Binary(op, Box::new(left), Box::new(right))
    }

    fn close(found: Option<f64>, wanted: f64) {
        let found = found.unwrap();
        assert!((found - wanted).abs() <= 1e-9 * wanted.abs().max(1.0), "{found} is not {wanted}");
    }

    #[test]
    fn a_share_of_itself_has_no_error_because_shared_noise_cancels() {
        let share = binary(Arithmetic::Divide, Formula::Primitive(0), Formula::Primitive(0));
        let found = output_value(&share, &[40.0], &[5.0], true);
        close(found.value, 1.0);
        close(found.standard_error, 0.0);
    }

    #[test]
    fn a_mean_is_centred_scaled_and_carries_both_errors() {
        // Values in hundredths around 2500.00; 100 of them, 50.00 below the centre in all.
        let mean = Formula::Mean { sum: 0, count: 1, centre: 250_000.0, unit: 100.0 };
        let found = output_value(&mean, &[-5_000.0, 100.0], &[300.0, 2.0], true);
        close(found.value, 2_499.5);
        // d/dsum = 1/(100·100), d/dcount = 5000/(100²·100).
        close(found.standard_error, (0.03_f64.powi(2) + (2.0 * 0.005_f64).powi(2)).sqrt());
    }

    #[test]
    fn the_interval_of_a_ratio_is_fiellers_and_there_is_none_over_what_may_be_0() {
        let ratio = binary(Arithmetic::Divide, Formula::Primitive(0), Formula::Primitive(1));
        let of = |values: [f64; 2], sigmas: [f64; 2]| output_value(&ratio, &values, &sigmas, true);
        // a = 10 ± 1, b = 5 ± 1: (25 − t²)θ² − 100θ + (100 − t²) = 0 with t² = 3.841.
        let found = of([10.0, 5.0], [1.0, 1.0]);
        let (low, high) = found.interval.unwrap();
        close(Some(low), (50.0 - (2500.0_f64 - 21.158_541 * 96.158_541).sqrt()) / 21.158_541);
        close(Some(high), (50.0 + (2500.0_f64 - 21.158_541 * 96.158_541).sqrt()) / 21.158_541);
        assert!(high - 2.0 > 2.0 - low, "it is longer towards the smaller denominators");
        // A denominator within 1.96 of its standard errors of 0: a value, and no bound on it.
        let open = of([10.0, 1.9], [1.0, 1.0]);
        assert!(open.value.is_some() && open.interval.is_none());
        // Without noise below it is the numerator's.
        let (low, high) = of([10.0, 5.0], [1.0, 0.0]).interval.unwrap();
        close(Some(low), 2.0 - INTERVAL_95 / 5.0);
        close(Some(high), 2.0 + INTERVAL_95 / 5.0);
        // A mean is the same around its centre: 100 values whose sum is 0 ± 30 around 25.
        let mean = Formula::Mean { sum: 0, count: 1, centre: 25.0, unit: 1.0 };
        let (low, high) = output_value(&mean, &[0.0, 100.0], &[30.0, 0.0], true).interval.unwrap();
        close(Some(low), 25.0 - 0.3 * INTERVAL_95);
        close(Some(high), 25.0 + 0.3 * INTERVAL_95);
    }

    /// The interval holds the truth in 95 of 100 draws, also where the denominator is three deviations from 0.
    #[test]
    fn fiellers_interval_holds_the_truth_as_often_as_it_says() {
        let ratio = binary(Arithmetic::Divide, Formula::Primitive(0), Formula::Primitive(1));
        let mut gaussian = gaussian(3);
        let (mut held, mut open) = (0, 0);
        for _ in 0..20_000 {
            let drawn = [20.0 + 5.0 * gaussian(), 30.0 + 10.0 * gaussian()];
            match output_value(&ratio, &drawn, &[5.0, 10.0], true).interval {
                Some((low, high)) => held += usize::from((low..=high).contains(&(20.0 / 30.0))),
                None => open += 1,
            }
        }
        // An interval without ends holds everything that the denominator's sign leaves open.
        let share = (held + open) as f64 / 20_000.0;
        assert!((0.94..0.97).contains(&share), "{share}, {open} of them open");
    }

    /// Numbers close to Gaussian ones of deviation 1: sums of twelve uniform ones.
    fn gaussian(seed: u64) -> impl FnMut() -> f64 {
        let mut state = seed;
        let mut uniform = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        move || (0..12).map(|_| uniform()).sum::<f64>() - 6.0
    }

    #[test]
    fn a_total_adds_the_centre_back() {
        let total = Formula::Total { sum: 0, count: Some(1), centre: 250_000.0, unit: 100.0 };
        let found = output_value(&total, &[-5_000.0, 100.0], &[300.0, 2.0], true);
        close(found.value, 249_950.0);
        close(found.standard_error, (3.0_f64.powi(2) + 5_000.0_f64.powi(2)).sqrt());
    }

    #[test]
    fn a_product_and_a_difference_follow_the_delta_method() {
        let product = binary(Arithmetic::Multiply, Formula::Primitive(0), Formula::Primitive(1));
        let found = output_value(&product, &[3.0, 4.0], &[0.1, 0.2], true);
        close(found.value, 12.0);
        close(found.standard_error, (0.4_f64.powi(2) + 0.6_f64.powi(2)).sqrt());
        let rest = binary(Arithmetic::Subtract, Formula::Constant(1.0), Formula::Negate(Box::new(product)));
        close(output_value(&rest, &[3.0, 4.0], &[0.1, 0.2], true).value, 13.0);
    }

    #[test]
    fn what_cannot_be_computed_is_none_and_never_infinite() {
        let ratio = binary(Arithmetic::Divide, Formula::Constant(1.0), Formula::Primitive(0));
        assert_eq!(output_value(&ratio, &[0.0], &[1.0], true).value, None);
        assert_eq!(output_value(&ratio, &[0.0], &[1.0], true).standard_error, None);
        close(output_value(&ratio, &[-2.0], &[1.0], true).value, -0.5);
        let mean = Formula::Mean { sum: 0, count: 1, centre: 0.0, unit: 1.0 };
        assert_eq!(output_value(&mean, &[5.0, -1.0], &[1.0, 1.0], true).value, None);
        assert_eq!(output_value(&mean, &[5.0], &[1.0], false).value, None);
        let huge = binary(Arithmetic::Multiply, Formula::Constant(1e300), Formula::Constant(1e300));
        assert_eq!(output_value(&huge, &[0.0], &[1.0], true).value, None);
    }

    /// Errors of a ratio of sums, against 20,000 seeded draws. Both are within 3 % of each other with the
    /// denominator forty deviations from 0; the sampling error of a deviation from 20,000 draws is 0.5 %.
    #[test]
    fn the_error_of_a_ratio_is_that_of_repeated_draws() {
        let ratio = binary(
            Arithmetic::Divide,
            Formula::Primitive(0),
            binary(Arithmetic::Add, Formula::Primitive(0), Formula::Primitive(1)),
        );
        let (truth, sigma) = ([300.0, 500.0], [20.0, 10.0]);
        let claimed = output_value(&ratio, &truth, &sigma, true).standard_error.unwrap();
        let mut gaussian = gaussian(1);
        let draws: Vec<f64> = (0..20_000)
            .map(|_| {
                let drawn = [truth[0] + sigma[0] * gaussian(), truth[1] + sigma[1] * gaussian()];
                output_value(&ratio, &drawn, &sigma, true).value.unwrap()
            })
            .collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let found = (draws.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / draws.len() as f64).sqrt();
        assert!((found / claimed - 1.0).abs() < 0.03, "{found} against {claimed}");
    }
}
