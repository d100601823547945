//! Outputs from released numbers, with the error that follows from the noise.

use crate::{Arithmetic, CheckedQuery};

/// One number of the answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OutputValue {
    /// The value; `None` where it is not computable: a denominator is 0, or a mean has no value left to divide by.
    pub value: Option<f64>,
    /// The standard error that the noise alone causes; `None` where the value is not computable.
    pub standard_error: Option<f64>,
}

/// An output in terms of primitives, by their index.
#[derive(Clone, PartialEq)]
pub(crate) enum Formula {
    /// The primitive as it is.
    Primitive(usize),
    /// `(sum + centre·count) / unit`. Without `count`, the centre is 0.
    Total { sum: usize, count: Option<usize>, centre: f64, unit: f64 },
    /// `(centre + sum / count) / unit`.
    Mean { sum: usize, count: usize, centre: f64, unit: f64 },
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
    #[must_use]
    pub fn evaluate(&self, values: &[f64], deviations: &[f64]) -> Vec<OutputValue> {
        let fits = values.len() == self.primitives.len() && deviations.len() == self.primitives.len();
        self.outputs.iter().map(|output| output_value(&output.formula, values, deviations, fits)).collect()
    }
}

fn output_value(formula: &Formula, values: &[f64], deviations: &[f64], fits: bool) -> OutputValue {
    let jet = if fits { formula.jet(values) } else { None };
    let computed = jet.and_then(|jet| {
        let variance: f64 = jet.slopes.iter().zip(deviations).map(|(slope, sigma)| (slope * sigma).powi(2)).sum();
        (jet.value.is_finite() && variance.is_finite()).then(|| (jet.value, variance.sqrt()))
    });
    OutputValue { value: computed.map(|(value, _)| value), standard_error: computed.map(|(_, error)| error) }
}

impl Formula {
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
        let mut state = 1_u64;
        let mut uniform = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        // The sum of twelve uniform numbers is close to a Gaussian of deviation 1.
        let mut gaussian = || (0..12).map(|_| uniform()).sum::<f64>() - 6.0;
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
