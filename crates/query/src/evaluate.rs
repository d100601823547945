//! Outputs from released numbers, with the error that follows from the noise.

use crate::{Arithmetic, Candidates, CheckedOutput, CheckedQuery, End, Spread};

/// One number of the answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OutputValue {
    /// The value; `None` where it is not computable: a denominator is 0, or a mean has no value left to divide by.
    pub value: Option<f64>,
    /// The standard error that the noise alone causes; `None` where the value is not computable.
    pub standard_error: Option<f64>,
    /// The 95 % interval of the value for the noise alone; `None` where the value is not computable, and for a ratio
    /// whose denominator may as well be 0.
    pub interval: Option<(f64, f64)>,
    /// Of a quantile, in place of an error of its value: the share of values by which its rank is off at most, with 95
    /// % probability over the choice of the value and the noise of their count together.
    pub rank_error: Option<f64>,
    /// Whether the value is a bound beyond which the one that was drawn lies. Error and interval are those of the value
    /// that was drawn, before rounding and clipping.
    pub clipped: bool,
}

/// The noise in the numbers of a cell: those of the primitives and, behind them, of the totals over the answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Noise {
    deviations: Vec<f64>,
    /// Of two numbers whose noise is not independent, each pair once.
    covariances: Vec<(usize, usize, f64)>,
}

impl Noise {
    /// Noise that is independent.
    #[must_use]
    pub fn independent(deviations: &[f64]) -> Self {
        Self { deviations: deviations.to_vec(), covariances: Vec::new() }
    }

    pub(crate) const fn new(deviations: Vec<f64>, covariances: Vec<(usize, usize, f64)>) -> Self {
        Self { deviations, covariances }
    }

    /// The same if nothing varied together: for showing what would be wrong with that.
    #[must_use]
    pub fn as_if_independent(&self) -> Self {
        Self::independent(&self.deviations)
    }

    /// The standard deviation of the noise in one of them.
    #[must_use]
    pub fn deviation(&self, index: usize) -> Option<f64> {
        self.deviations.get(index).copied()
    }

    /// The same with deviations so many times as large.
    fn times(&self, factor: f64) -> Self {
        Self {
            deviations: self.deviations.iter().map(|deviation| deviation * factor).collect(),
            covariances: self.covariances.iter().map(|(i, j, both)| (*i, *j, both * factor * factor)).collect(),
        }
    }
}

/// The 97.5 % quantile of the standard normal distribution: half the width of a 95 % interval in standard errors.
pub const INTERVAL_95: f64 = 1.959_964;

/// An output in terms of primitives, by their index, and of totals, by that behind the last primitive.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Formula {
    /// The primitive as it is.
    Primitive(usize),
    /// `(sum + centre·count) / unit`. Without `count`, the centre is 0.
    Total { sum: usize, count: Option<usize>, centre: f64, unit: f64 },
    /// `(centre + sum / count) / unit`.
    Mean { sum: usize, count: usize, centre: f64, unit: f64 },
    /// `(squares + centre·count)/count − (sum/count)²`, over `unit`; of a sample times `count/(count − 1)`; its root.
    Spread { sum: usize, squares: usize, count: usize, centre: f64, unit: f64, spread: Spread },
    /// `chosen / unit`, where there is anything to choose for.
    Quantile { chosen: usize, count: usize, unit: f64, candidates: Candidates },
    /// A constant.
    Constant(f64),
    /// The negative.
    Negate(Box<Formula>),
    /// Two parts joined.
    Binary(Arithmetic, Box<Formula>, Box<Formula>),
    /// Rounded to so many decimals.
    Round(Box<Formula>, i8),
    /// Clipped at an end.
    Clip(Box<Formula>, End, f64),
}

/// A value and its derivative by each primitive.
struct Jet {
    value: f64,
    slopes: Vec<f64>,
}

impl CheckedQuery {
    /// The outputs of one cell, from the released values of its primitives and the standard deviations of their
    /// noise ([`Figures`](crate::Figures)), both in the order of [`CheckedQuery::primitives`].
    ///
    /// The error is that of the delta method: with independent noise of deviation `σ_i` on primitive `i`, an output
    /// `f` has the standard error `√Σ (∂f/∂x_i · σ_i)²`, the derivatives taken at the released values. They are taken
    /// of the whole output, so parts that share a primitive (a share `a / (a + b)`) are treated exactly as far as the
    /// first order goes. Where `f` is linear the error is exact; a ratio whose denominator is not large against its
    /// noise has a heavier tail than the error says. Without one value per primitive nothing is computable.
    ///
    /// The interval is that of the normal distribution; of a ratio, and so of AVG, Fieller's (1954), which holds for
    /// any denominator: it is wider and lopsided where the denominator is small against its noise, and where the
    /// denominator's own interval holds 0 there is none.
    #[must_use]
    pub fn evaluate(&self, values: &[f64], deviations: &[f64]) -> Vec<OutputValue> {
        self.evaluate_with_tails(values, &Noise::independent(deviations), 1.0)
    }

    /// The largest standard error of the outputs that are linear in the primitives, in any grouping set and whatever is
    /// released; `None` if none is. `deviations` are those of the vectors' noise, in the order of
    /// [`CheckedQuery::vectors`].
    #[must_use]
    pub fn linear_error(&self, deviations: &[f64]) -> Option<f64> {
        let nothing = vec![0.0; self.primitives.len() + self.totals.len()];
        let error = |of_set: &Noise, output: &CheckedOutput| {
            let formula = output.formula.unfinished();
            let jet = formula.jet(&nothing).filter(|_| formula.is_linear())?;
            Some(jet.covariance(&jet, of_set).sqrt())
        };
        let sets = self.noise(deviations);
        let errors = sets.iter().flat_map(|of_set| self.outputs.iter().filter_map(move |output| error(of_set, output)));
        errors.filter(|error| *error > 0.0).reduce(f64::max)
    }

    /// By how much each output is off where each number is off by at most that of `off`: `Σ |∂f/∂x_i|·off_i`, before it is
    /// rounded and clipped itself. A bound for what is linear in what is off, as sums, their totals and means are; of a
    /// ratio over a sum, to first order. 0 for what is not computable.
    #[must_use]
    pub fn off_by(&self, values: &[f64], off: &[f64]) -> Vec<f64> {
        let of_output = |output: &CheckedOutput| {
            let jet = output.formula.unfinished().jet(values);
            jet.map_or(0.0, |jet| jet.slopes.iter().zip(off).map(|(slope, off)| slope.abs() * off).sum())
        };
        self.outputs.iter().map(of_output).collect()
    }

    /// [`CheckedQuery::evaluate`] from the numbers of a cell of [`Figures`](crate::Figures) and their noise, whose
    /// tails are heavier than the normal ones: intervals are those of deviations `tails` times as large.
    #[must_use]
    pub fn evaluate_with_tails(&self, values: &[f64], noise: &Noise, tails: f64) -> Vec<OutputValue> {
        let numbers = self.primitives.len() + self.totals.len();
        let fits = values.len() == numbers && noise.deviations.len() == numbers;
        let wide = noise.times(tails);
        let value = |output: &CheckedOutput| {
            let found = output_value(&output.formula, values, noise, fits);
            if tails == 1.0 {
                return found;
            }
            let formula = output.formula.unfinished();
            let interval = found.interval.and_then(|_| formula.interval(values, &wide));
            OutputValue { interval, rank_error: formula.rank_error(values, noise, &wide).filter(|_| fits), ..found }
        };
        self.outputs.iter().map(value).collect()
    }
}

/// Two figures joined, whose noise is independent and of those deviations; the interval is as
/// [`CheckedQuery::evaluate_with_tails`] has it.
#[must_use]
pub fn combined(op: Arithmetic, values: [f64; 2], deviations: [f64; 2], tails: f64) -> OutputValue {
    let formula = Formula::Binary(op, Box::new(Formula::Primitive(0)), Box::new(Formula::Primitive(1)));
    let noise = Noise::independent(&deviations);
    let found = output_value(&formula, &values, &noise, true);
    let interval = found.interval.and_then(|_| formula.interval(&values, &noise.times(tails)));
    OutputValue { interval, ..found }
}

fn output_value(shown: &Formula, values: &[f64], noise: &Noise, fits: bool) -> OutputValue {
    let none = OutputValue { value: None, standard_error: None, interval: None, rank_error: None, clipped: false };
    let formula = shown.unfinished();
    let finished = |drawn: Option<f64>| drawn.filter(|drawn| drawn.is_finite()).map(|drawn| shown.finished(drawn));
    if formula.reads_a_quantile() {
        let Some((value, clipped)) = finished(formula.value(values).filter(|_| fits)) else { return none };
        return OutputValue {
            value: Some(value),
            rank_error: formula.rank_error(values, noise, noise),
            clipped,
            ..none
        };
    }
    let Some(jet) = formula.jet(values).filter(|_| fits) else { return none };
    let variance = jet.covariance(&jet, noise);
    let Some((value, clipped)) = finished(Some(jet.value)).filter(|_| variance.is_finite()) else { return none };
    // What cancels in exact arithmetic may come to a little less than nothing in doubles.
    let standard_error = Some(variance.max(0.0).sqrt());
    let interval = formula.interval(values, noise);
    OutputValue { value: Some(value), standard_error, interval, rank_error: None, clipped }
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
    fn interval(&self, noise: &Noise) -> Option<(f64, f64)> {
        let (a, b) = (self.numerator.value, self.denominator.value);
        let var_a = self.numerator.covariance(&self.numerator, noise);
        let var_b = self.denominator.covariance(&self.denominator, noise);
        let both = self.numerator.covariance(&self.denominator, noise);
        let squared = INTERVAL_95 * INTERVAL_95;
        // (b² − t²·var b)·θ² − 2(ab − t²·cov)·θ + (a² − t²·var a) ≤ 0
        let (two, one) = (b * b - squared * var_b, a * b - squared * both);
        if two <= 0.0 {
            return None;
        }
        // A quarter of the discriminant, in a form in which nothing cancels.
        let within = a * a * var_b - 2.0 * a * b * both + b * b * var_a - squared * (var_a * var_b - both * both);
        let root = (squared * within).max(0.0).sqrt();
        let ends = [(one - root) / two + self.shift, (one + root) / two + self.shift];
        ends.iter().all(|end| end.is_finite()).then_some((ends[0], ends[1]))
    }
}

impl Formula {
    /// The value, where it is computable.
    pub(crate) fn value(&self, values: &[f64]) -> Option<f64> {
        let value = match self {
            // What is cheap is worked out without its derivatives.
            Self::Primitive(index) => *values.get(*index)?,
            Self::Constant(value) => *value,
            Self::Negate(part) => -part.value(values)?,
            Self::Binary(op, left, right) => {
                let (left, right) = (left.value(values)?, right.value(values)?);
                match op {
                    Arithmetic::Add => left + right,
                    Arithmetic::Subtract => left - right,
                    Arithmetic::Multiply => left * right,
                    Arithmetic::Divide if right == 0.0 => return None,
                    Arithmetic::Divide => left / right,
                }
            }
            // A noisy count of none or fewer says that there is nothing to choose for.
            Self::Quantile { count, .. } if *values.get(*count)? <= 0.0 => return None,
            Self::Quantile { chosen, unit, .. } => values.get(*chosen)? / unit,
            Self::Total { .. } | Self::Mean { .. } | Self::Spread { .. } => self.jet(values)?.value,
            Self::Round(..) | Self::Clip(..) => self.finished(self.unfinished().value(values)?).0,
        };
        value.is_finite().then_some(value)
    }

    /// It without what rounds and clips it.
    pub(crate) fn unfinished(&self) -> &Self {
        match self {
            Self::Round(of, _) | Self::Clip(of, ..) => of.unfinished(),
            _ => self,
        }
    }

    /// What rounds and clips it, the last first.
    pub(crate) fn finishes(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |part| match part {
            Self::Round(of, _) | Self::Clip(of, ..) => Some(of),
            _ => None,
        })
        .filter(|part| matches!(part, Self::Round(..) | Self::Clip(..)))
    }

    /// The value of it without, rounded and clipped; and whether it was clipped.
    fn finished(&self, drawn: f64) -> (f64, bool) {
        match self {
            Self::Round(of, decimals) => {
                let (value, clipped) = of.finished(drawn);
                let scale = 10_f64.powi(i32::from(decimals.unsigned_abs()));
                // Whole numbers and their tens are exact in doubles, their reciprocals are not.
                let rounded =
                    if *decimals < 0 { (value / scale).round() * scale } else { (value * scale).round() / scale };
                (if rounded.is_finite() { rounded } else { value }, clipped)
            }
            Self::Clip(of, end, bound) => {
                let (value, clipped) = of.finished(drawn);
                let kept = match end {
                    End::AtLeast => value.max(*bound),
                    End::AtMost => value.min(*bound),
                };
                (kept, clipped || kept != value)
            }
            _ => (drawn, false),
        }
    }

    /// Whether it is a sum of multiples of primitives and a constant.
    pub(crate) fn is_linear(&self) -> bool {
        match self {
            Self::Primitive(_) | Self::Total { .. } | Self::Constant(_) => true,
            Self::Mean { .. } | Self::Spread { .. } | Self::Quantile { .. } => false,
            Self::Negate(part) | Self::Round(part, _) | Self::Clip(part, ..) => part.is_linear(),
            Self::Binary(Arithmetic::Add | Arithmetic::Subtract, left, right) => left.is_linear() && right.is_linear(),
            Self::Binary(Arithmetic::Multiply, left, right) => {
                left.is_linear() && right.is_linear() && (left.reads_nothing() || right.reads_nothing())
            }
            Self::Binary(Arithmetic::Divide, left, right) => left.is_linear() && right.reads_nothing(),
        }
    }

    /// Whether its error follows from no derivative: how far a quantile's value is off is not known from its rank.
    pub(crate) fn reads_a_quantile(&self) -> bool {
        match self {
            Self::Quantile { .. } => true,
            Self::Negate(part) | Self::Round(part, _) | Self::Clip(part, ..) => part.reads_a_quantile(),
            Self::Binary(_, left, right) => left.reads_a_quantile() || right.reads_a_quantile(),
            Self::Primitive(_) | Self::Total { .. } | Self::Mean { .. } | Self::Spread { .. } | Self::Constant(_) => {
                false
            }
        }
    }

    /// Whether it rests on a primitive of which `of` holds.
    pub(crate) fn reads_any(&self, of: &dyn Fn(usize) -> bool) -> bool {
        match self {
            Self::Constant(_) => false,
            Self::Primitive(place) => of(*place),
            Self::Total { sum, count, .. } => of(*sum) || count.is_some_and(of),
            Self::Mean { sum, count, .. } => of(*sum) || of(*count),
            Self::Spread { sum, squares, count, .. } => of(*sum) || of(*squares) || of(*count),
            Self::Quantile { chosen, count, .. } => of(*chosen) || of(*count),
            Self::Negate(part) | Self::Round(part, _) | Self::Clip(part, ..) => part.reads_any(of),
            Self::Binary(_, left, right) => left.reads_any(of) || right.reads_any(of),
        }
    }

    /// Of a quantile by itself: by how many values its rank is off at most, over the least that their number is. Each
    /// of the two is missed once in forty times, so that both hold at least 95 of 100 times. `wide` is the noise from
    /// which a 95 % interval follows, one end of which a number misses once in forty times.
    fn rank_error(&self, values: &[f64], noise: &Noise, wide: &Noise) -> Option<f64> {
        let Self::Quantile { chosen, count, candidates, .. } = self else { return None };
        let drawn = *values.get(*count).filter(|drawn| **drawn > 0.0)?;
        let off = candidates.rank_error(noise.deviation(*chosen)?, 0.025);
        let least = drawn - INTERVAL_95 * wide.deviation(*count)?;
        // Of less than one value there is no quantile.
        Some((off / least.max(1.0)).min(1.0))
    }

    /// Of a measure of spread, the variance.
    fn variance(&self, values: &[f64]) -> Option<Jet> {
        let Self::Spread { sum, squares, count, centre, unit, spread } = self else { return None };
        let (sum, squares) = (Jet::variable(values, *sum)?, Jet::variable(values, *squares)?);
        let count = Jet::variable(values, *count)?;
        let least = if spread.is_of_sample() { 1.0 } else { 0.0 };
        if count.value <= least {
            return None;
        }
        let mean = sum.over(&count)?;
        let about_centre = squares.over(&count)?.plus(&Jet::constant(values, *centre));
        let variance = about_centre.plus(&mean.times(&mean).scaled(-1.0)).scaled(1.0 / unit);
        if !spread.is_of_sample() {
            return Some(variance);
        }
        Some(variance.times(&count.over(&count.plus(&Jet::constant(values, -1.0)))?))
    }

    /// The 95 % interval: of a ratio Fieller's, carried through what is added to it and what it is multiplied by; of a
    /// deviation the roots of its variance's. Of anything else it is the normal one, and there is none where something
    /// is divided by what may as well be 0.
    fn interval(&self, values: &[f64], noise: &Noise) -> Option<(f64, f64)> {
        let sorted = |one: f64, other: f64| Some((one.min(other), one.max(other)));
        let constant = |part: &Self| if part.reads_nothing() { part.value(values) } else { None };
        match self {
            Self::Negate(part) => part.interval(values, noise).map(|(low, high)| (-high, -low)),
            Self::Spread { spread, .. } if spread.is_root() => {
                let (low, high) = self.variance(values)?.normal_interval(noise);
                self.is_bounded(values, noise).then(|| (low.max(0.0).sqrt(), high.max(0.0).sqrt()))
            }
            Self::Binary(op, left, right) => {
                let (of, by, first) = match (constant(left), constant(right), op) {
                    (_, Some(by), _) => (left, by, true),
                    (Some(by), _, Arithmetic::Add | Arithmetic::Subtract | Arithmetic::Multiply) => (right, by, false),
                    _ => return self.of_ratio_or_normal(values, noise),
                };
                let (low, high) = of.interval(values, noise)?;
                match op {
                    Arithmetic::Add => Some((low + by, high + by)),
                    Arithmetic::Subtract if first => Some((low - by, high - by)),
                    Arithmetic::Subtract => Some((by - high, by - low)),
                    Arithmetic::Multiply => sorted(low * by, high * by),
                    Arithmetic::Divide => (by != 0.0).then(|| sorted(low / by, high / by)).flatten(),
                }
            }
            _ => self.of_ratio_or_normal(values, noise),
        }
    }

    fn of_ratio_or_normal(&self, values: &[f64], noise: &Noise) -> Option<(f64, f64)> {
        match self.ratio(values) {
            Some(ratio) => ratio.interval(noise),
            None if self.is_bounded(values, noise) => Some(self.jet(values)?.normal_interval(noise)),
            None => None,
        }
    }

    /// Whether it is the same whatever was released.
    fn reads_nothing(&self) -> bool {
        match self {
            Self::Constant(_) => true,
            Self::Negate(part) | Self::Round(part, _) | Self::Clip(part, ..) => part.reads_nothing(),
            Self::Binary(_, left, right) => left.reads_nothing() && right.reads_nothing(),
            Self::Primitive(_)
            | Self::Total { .. }
            | Self::Mean { .. }
            | Self::Spread { .. }
            | Self::Quantile { .. } => false,
        }
    }

    /// Whether nothing in it is divided by what may as well be 0.
    fn is_bounded(&self, values: &[f64], noise: &Noise) -> bool {
        let clear = |jet: Option<Jet>| {
            jet.is_some_and(|jet| {
                let (low, high) = jet.normal_interval(noise);
                low > 0.0 || high < 0.0
            })
        };
        match self {
            Self::Primitive(_) | Self::Total { .. } | Self::Constant(_) => true,
            Self::Quantile { .. } => false,
            Self::Mean { count, .. } | Self::Spread { count, .. } => clear(Jet::variable(values, *count)),
            Self::Negate(part) | Self::Round(part, _) | Self::Clip(part, ..) => part.is_bounded(values, noise),
            Self::Binary(op, left, right) => {
                let parts = left.is_bounded(values, noise) && right.is_bounded(values, noise);
                parts && (*op != Arithmetic::Divide || clear(right.jet(values)))
            }
        }
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
            Self::Quantile { .. } => None,
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
            Self::Spread { spread, .. } => {
                let variance = self.variance(values)?;
                if spread.is_root() { variance.root() } else { Some(variance) }
            }
            Self::Round(part, _) | Self::Clip(part, ..) => part.jet(values),
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
    fn covariance(&self, other: &Self, noise: &Noise) -> f64 {
        let slopes = self.slopes.iter().zip(&other.slopes).zip(&noise.deviations);
        let own: f64 = slopes.map(|((one, other), sigma)| one * other * sigma * sigma).sum();
        let slope = |of: &Self, place: usize| of.slopes.get(place).copied().unwrap_or(0.0);
        let pair = |(i, j, both): &(usize, usize, f64)| {
            (slope(self, *i) * slope(other, *j) + slope(self, *j) * slope(other, *i)) * both
        };
        own + noise.covariances.iter().map(pair).sum::<f64>()
    }

    /// 1.96 standard errors to either side.
    fn normal_interval(&self, noise: &Noise) -> (f64, f64) {
        let half = INTERVAL_95 * self.covariance(self, noise).max(0.0).sqrt();
        (self.value - half, self.value + half)
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
mod tests;
