use crate::release::{Released, SelectedGroups};
use firebreak_domain::{Delta, Mechanism, Rho};
use firebreak_query::{
    Arithmetic, CheckedJoin, CheckedOutput, CheckedQuery, CheckedRow, End, Figures, INTERVAL_95, OutputValue,
    PrimitiveKind, combined,
};

/// The relative standard error above which a value is called unreliable.
pub const UNRELIABLE_ABOVE: f64 = 0.25;

/// The share of values by which a quantile's rank may be off before it is called unreliable.
pub const UNRELIABLE_RANK_ABOVE: f64 = 0.05;

/// The δ at which a loss is shown as an ε.
pub const SHOWN_DELTA: f64 = 1e-6;

/// An answer as it is shown: a row for every declared group, empty ones too; where groups were selected, for each of
/// these.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Headings of the groups, in the order asked.
    pub group_columns: Vec<String>,
    /// The outputs, in the order asked.
    pub output_columns: Vec<AnswerColumn>,
    /// The rows, in the order of the declared values.
    pub rows: Vec<AnswerRow>,
    /// How groups were selected, where they were.
    pub selected: Option<AnswerSelection>,
}

/// How the groups of an answer were selected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AnswerSelection {
    /// The least noisy number of persons at which a group is shown.
    pub threshold: i64,
    /// The largest probability that one person makes a group appear which nobody else is in.
    pub delta: Delta,
    /// How many groups there are, shown or not.
    pub all_groups: Estimate,
}

/// An output of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct AnswerColumn {
    /// Its heading.
    pub name: String,
    /// Whether its figures have an error in rank and none in value: a quantile.
    pub in_rank: bool,
    /// To how many decimals its figures are rounded, below 0 to tens and so on; `None` where they are shown as drawn.
    pub rounded: Option<i8>,
    /// Nothing is shown below it.
    pub at_least: Option<f64>,
    /// Nothing is shown above it.
    pub at_most: Option<f64>,
}

/// One row of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct AnswerRow {
    /// The group's values, one for each of [`Answer::group_columns`]; empty where the row is for all of them together.
    pub groups: Vec<String>,
    /// The estimates, one for each of [`Answer::output_columns`].
    pub outputs: Vec<Estimate>,
}

/// One number of an answer. What it estimates is the value over the bounded, clamped view, not over the whole file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The value; `None` where it is not computable.
    pub value: Option<f64>,
    /// The standard error that the noise alone causes; `None` where there is no value. Never below the true one for
    /// outputs that are linear, an approximation of first order for ratios and products.
    pub standard_error: Option<f64>,
    /// The 95 % interval, from lower to upper end; `None` where there is no value, and for a ratio whose denominator
    /// may as well be 0. It covers noise alone: not what bounding and clamping leave out, nor any error in the data.
    pub interval: Option<(f64, f64)>,
    /// Of a quantile, in place of an error of its value: the share of values by which its rank is off at most, with
    /// 95 % probability, for the noise alone.
    pub rank_error: Option<f64>,
    /// Whether the value is a bound that the question gave, beyond which the one that was drawn lies. Error and
    /// interval are those of what was drawn, before rounding and clipping.
    pub clipped: bool,
    /// How far to trust it.
    pub status: ObservationStatus,
}

/// The status of an observation, after SDMX's code list `CL_OBS_STATUS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ObservationStatus {
    /// `A`, normal value.
    Normal,
    /// `U`, low reliability: the standard error, together with what the values of a sum over a join are rounded by at most,
    /// is above a quarter of the value ([`UNRELIABLE_ABOVE`]), or nothing bounds the value; of a quantile, its rank may be
    /// off by more than a twentieth ([`UNRELIABLE_RANK_ABOVE`]).
    Unreliable,
    /// `P`, provisional value: a part of what was asked for is missing.
    Provisional,
    /// `O`, missing value: not computable from the noisy numbers, for instance a ratio whose denominator is 0.
    NotComputable,
}

/// The release answers another query, or was measured under another contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the release answers another query, or this one under another contract: look it up by the price's release key")]
pub struct OtherQuery;

impl ObservationStatus {
    /// Its code in SDMX.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Normal => "A",
            Self::Unreliable => "U",
            Self::Provisional => "P",
            Self::NotComputable => "O",
        }
    }
}

impl Released {
    /// Whether the release was measured for `query`, under a contract that gives its numbers the meaning that they have
    /// under the query's own.
    ///
    /// # Errors
    /// [`OtherQuery`].
    pub fn check(&self, query: &CheckedQuery) -> Result<(), OtherQuery> {
        let fits = *self.query_digest() == query.canonical().digest()
            && self.basis() == query.basis()
            && match self.selected_groups() {
                None => query.selection().is_none() && self.cells().eq(query.vectors().map(|(_, set)| set.cells())),
                // Each vector has a number for each of its groups, or it is no release.
                Some(_) => query.selection().is_some() && self.cells().len() == query.vectors().count(),
            };
        if fits { Ok(()) } else { Err(OtherQuery) }
    }

    /// Works out the outputs of `query` from the release, which costs nothing: it is post-processing.
    ///
    /// The noise's deviation is taken for [`deviation`]'s, which is an upper bound of it.
    ///
    /// # Errors
    /// As [`Released::check`].
    pub fn answer(&self, query: &CheckedQuery) -> Result<Answer, OtherQuery> {
        answer_together(&[(query, self)])
    }

    /// Works out the outputs of `coarser` by adding up cells of the release, which answers `query`. It costs nothing.
    ///
    /// # Errors
    /// [`OtherQuery`] as [`Released::check`], and where [`CheckedQuery::rolls_up_to`] refuses.
    pub fn roll_up(&self, query: &CheckedQuery, coarser: &CheckedQuery) -> Result<Answer, OtherQuery> {
        self.check(query)?;
        let of_vectors = deviations(query, self.mechanism(), self.sigmas());
        let figures = query.rolled_up(coarser, &self.tables(), &of_vectors).map_err(|_| OtherQuery)?;
        Ok(answer_of(coarser, &figures, self))
    }

    /// Works out the outputs of a question over a join from the release of what it counts
    /// ([`CheckedJoin::counted`]). It costs nothing.
    ///
    /// # Errors
    /// As [`Released::check`].
    pub fn answer_join(&self, join: &CheckedJoin) -> Result<Answer, OtherQuery> {
        self.check(join.counted())?;
        let of_vectors = deviations(join.counted(), self.mechanism(), self.sigmas());
        Ok(answer_of(join.answered(), &join.figures(self.tables(), &of_vectors), self))
    }

    fn tables(&self) -> Vec<Vec<f64>> {
        self.vectors().map(|values| values.iter().map(|value| *value as f64).collect()).collect()
    }
}

/// Works out the outputs of one question over several datasets from a release of each: the numbers of all are added,
/// cell by cell, and outputs are worked out from the sums.
///
/// Each release has noise of its own, so that the variance of a sum is the sum of the variances. It is post-processing,
/// and the same releases give the same answer.
///
/// # Errors
/// [`OtherQuery`] as [`Released::check`], for no release at all, and for questions whose numbers cannot be added
/// ([`CheckedQuery::adds_up_with`]).
pub fn answer_together(parts: &[(&CheckedQuery, &Released)]) -> Result<Answer, OtherQuery> {
    let Some(((query, first), others)) = parts.split_first() else { return Err(OtherQuery) };
    first.check(query)?;
    let mut tables = first.tables();
    let mut errors = deviations(query, first.mechanism(), first.sigmas());
    for (other, released) in others {
        released.check(other)?;
        if !query.adds_up_with(other) || released.mechanism() != first.mechanism() {
            return Err(OtherQuery);
        }
        for (table, values) in tables.iter_mut().zip(released.vectors()) {
            table.iter_mut().zip(values).for_each(|(sum, value)| *sum += *value as f64);
        }
        let of_other = deviations(other, released.mechanism(), released.sigmas());
        errors.iter_mut().zip(of_other).for_each(|(error, more)| *error = error.hypot(more));
    }
    Ok(answer_of(query, &query.figures(tables, &errors), first))
}

/// The rows of figures that rest on a release, or on several with its mechanism and its groups.
fn answer_of(query: &CheckedQuery, figures: &Figures, released: &Released) -> Answer {
    let selected = released.selected_groups();
    let codes: Option<Vec<String>> = selected.map(|selected| selected.codes().collect());
    let rows = match &codes {
        None => query.rows(),
        Some(codes) => CheckedQuery::open_rows(codes.len()).collect(),
    };
    let tails = tails(released.mechanism());
    let row = |row: CheckedRow| {
        let values = figures.values(row.set, row.cell);
        let outputs = figures.noise(row.set).map(|noise| query.evaluate_with_tails(&values, noise, tails));
        let off = query.off_by(&values, &figures.roundings(row.cell));
        let code = codes.as_ref().and_then(|codes| codes.get(row.cell)).cloned();
        AnswerRow {
            groups: code.map_or_else(|| query.labels(&row).map(str::to_owned).collect(), |code| vec![code]),
            outputs: outputs
                .into_iter()
                .flatten()
                .zip(off)
                .map(|(output, off)| Estimate::rounded(output, off))
                .collect(),
        }
    };
    let shown = query.shown_of(rows, |row| figures.values(row.set, row.cell));
    let selection = |selected: &SelectedGroups| {
        let (groups, error) = selected.groups();
        let all_groups = Estimate::of_count(groups, error);
        AnswerSelection { threshold: selected.threshold(), delta: released.charge().delta, all_groups }
    };
    Answer {
        selected: selected.map(selection),
        group_columns: query.shown_groups().map(|group| group.name.clone()).collect(),
        output_columns: query.outputs().iter().map(AnswerColumn::of).collect(),
        rows: shown.into_iter().map(row).collect(),
    }
}

/// The difference or quotient of two released figures, each with the standard error of its noise, whose noise is
/// independent: figures of two releases. Not computable without both values; without both errors it has none.
#[must_use]
pub fn compared(
    op: Arithmetic,
    mechanism: Mechanism,
    left: Option<(f64, Option<f64>)>,
    right: Option<(f64, Option<f64>)>,
) -> Estimate {
    let (Some((left, of_left)), Some((right, of_right))) = (left, right) else { return Estimate::not_computable() };
    let errors = of_left.zip(of_right).map(|(of_left, of_right)| [of_left, of_right]);
    let found = combined(op, [left, right], errors.unwrap_or_default(), tails(mechanism));
    Estimate::of(match errors {
        Some(_) => found,
        None => OutputValue { standard_error: None, interval: None, ..found },
    })
}

/// [`deviation`] for each vector of a query, in their order, from the scales of their noise.
#[must_use]
pub fn deviations(query: &CheckedQuery, mechanism: Mechanism, scales: impl Iterator<Item = f64>) -> Vec<f64> {
    query.vectors().zip(scales).map(|((primitive, _), scale)| deviation(mechanism, primitive.kind(), scale)).collect()
}

/// An upper bound of the standard deviation of noise of that scale; of a choice, the scale itself.
///
/// σ for the discrete Gaussian (Canonne, Kamath and Steinke 2020, corollary 9). The variance of the discrete Laplace,
/// `2·e^(1/b) / (e^(1/b) − 1)²`, is at most `2·b²`, because `e^(x/2) − e^(−x/2) ≥ x`. Of dummies the scale is their
/// deviation itself.
#[must_use]
pub fn deviation(mechanism: Mechanism, kind: &PrimitiveKind, scale: f64) -> f64 {
    match (mechanism, kind) {
        (_, PrimitiveKind::Quantile { .. }) | (Mechanism::DiscreteGaussian | Mechanism::MatchingDummies, _) => scale,
        (Mechanism::DiscreteLaplace, _) => scale * std::f64::consts::SQRT_2,
    }
}

/// By how much wider a 95 % interval is than that of normal noise of the same deviation.
///
/// A Laplace leaves ±b·ln 20 once in twenty draws, 2.118 of its deviations; a discrete one of a small scale somewhat
/// more often, because only whole numbers lie within (at b = 1, in 7 of 100). A sum of several independent ones is
/// closer to the normal distribution and leaves as many of its own more rarely. The dummies of both sides of a join are
/// such a sum of two, whose deviation is 2·b.
pub(crate) fn tails(mechanism: Mechanism) -> f64 {
    match mechanism {
        Mechanism::DiscreteGaussian => 1.0,
        Mechanism::DiscreteLaplace => 20.0_f64.ln() / std::f64::consts::SQRT_2 / INTERVAL_95,
        Mechanism::MatchingDummies => TWO_LAPLACES / 2.0 / INTERVAL_95,
    }
}

/// The t beyond which a sum of two independent Laplaces of scale 1 is once in twenty draws: e^(−t)·(1 + t/2) = 1/20.
const TWO_LAPLACES: f64 = 4.113_1;

impl Answer {
    /// The same answer of which a part is missing: what would be normal is provisional.
    #[must_use]
    pub fn provisional(mut self) -> Self {
        for estimate in self.rows.iter_mut().flat_map(|row| &mut row.outputs) {
            if estimate.status == ObservationStatus::Normal {
                estimate.status = ObservationStatus::Provisional;
            }
        }
        self
    }
}

impl AnswerColumn {
    /// What is said of an output before anything is released.
    #[must_use]
    pub fn of(output: &CheckedOutput) -> Self {
        Self {
            name: output.name().to_owned(),
            in_rank: output.is_quantile(),
            rounded: output.rounded(),
            at_least: output.bound(End::AtLeast),
            at_most: output.bound(End::AtMost),
        }
    }
}

impl Estimate {
    /// An estimate from an output and the error of its noise.
    #[must_use]
    pub fn of(output: OutputValue) -> Self {
        Self::rounded(output, 0.0)
    }

    /// The same of an output that is off by `off` besides, for what was rounded before it was added up.
    fn rounded(output: OutputValue, off: f64) -> Self {
        let OutputValue { value, standard_error, interval, rank_error, clipped } = output;
        let reliable = match (value, standard_error) {
            (Some(value), Some(error)) => interval.is_some() && error + off <= UNRELIABLE_ABOVE * value.abs(),
            // A quantile by itself has an error in rank; what is made of several has none at all.
            (Some(_), None) => rank_error.is_some_and(|error| error <= UNRELIABLE_RANK_ABOVE),
            (None, _) => return Self::not_computable(),
        };
        let status = if reliable { ObservationStatus::Normal } else { ObservationStatus::Unreliable };
        Self { value, standard_error, interval, rank_error, clipped, status }
    }

    /// Of a noisy count by itself.
    fn of_count(count: i64, error: f64) -> Self {
        let (value, half) = (count as f64, INTERVAL_95 * error);
        Self::of(OutputValue {
            value: Some(value),
            standard_error: Some(error),
            interval: Some((value - half, value + half)),
            rank_error: None,
            clipped: false,
        })
    }

    const fn not_computable() -> Self {
        let status = ObservationStatus::NotComputable;
        Self { value: None, standard_error: None, interval: None, rank_error: None, clipped: false, status }
    }
}

/// The ε at δ = [`SHOWN_DELTA`] that a loss of ρ implies: ε = ρ + 2√(ρ ln(1/δ)) (Bun and Steinke 2016,
/// proposition 1.3). For showing; accounts add up ρ.
#[must_use]
pub fn shown_epsilon(rho: Rho) -> f64 {
    let rho = rho.as_f64();
    rho + 2.0 * (rho * (1.0 / SHOWN_DELTA).ln()).sqrt()
}

/// [`shown_epsilon`] to two decimals, as people read it; never shown as nothing where there is some.
#[must_use]
pub fn epsilon_text(rho: Rho) -> String {
    let epsilon = shown_epsilon(rho);
    if epsilon > 0.0 && epsilon < 0.01 { "<0.01".to_owned() } else { format!("{epsilon:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epsilon_has_two_decimals_and_is_never_shown_as_nothing_where_there_is_some() {
        let shown = [0, 1, 5_000_000].map(|nano| epsilon_text(Rho::from_nano(nano)));
        assert_eq!(shown, ["0.00", "<0.01", "0.53"]);
    }

    #[test]
    fn an_estimate_carries_its_interval_and_says_how_far_to_trust_it() {
        let of = |value: Option<f64>, standard_error: Option<f64>, interval: Option<(f64, f64)>| {
            Estimate::of(OutputValue { value, standard_error, interval, rank_error: None, clipped: false })
        };
        let bounded = |value, error| of(Some(value), Some(error), Some((value - 2.0 * error, value + 2.0 * error)));
        let good = bounded(100.0, 25.0);
        assert_eq!((good.status, good.interval), (ObservationStatus::Normal, Some((50.0, 150.0))));
        assert_eq!(bounded(-100.0, 25.1).status, ObservationStatus::Unreliable);
        assert_eq!(bounded(0.0, 0.1).status, ObservationStatus::Unreliable);
        assert_eq!(bounded(0.0, 0.0).status, ObservationStatus::Normal);
        let open = of(Some(100.0), Some(1.0), None);
        assert_eq!((open.value, open.status, open.interval), (Some(100.0), ObservationStatus::Unreliable, None));
        for none in [of(None, None, None), of(None, Some(1.0), None)] {
            assert_eq!(none.status, ObservationStatus::NotComputable);
            assert!(none.value.is_none() && none.standard_error.is_none() && none.interval.is_none());
        }
    }

    #[test]
    fn a_quantile_is_unreliable_where_its_rank_may_be_far_off_and_where_nothing_is_known_of_it() {
        let of = |rank_error| {
            let value = Some(7.0);
            Estimate::of(OutputValue { value, standard_error: None, interval: None, rank_error, clipped: false })
        };
        assert_eq!(of(Some(0.05)).status, ObservationStatus::Normal);
        assert_eq!(of(Some(0.051)).status, ObservationStatus::Unreliable);
        assert_eq!((of(None).status, of(None).value), (ObservationStatus::Unreliable, Some(7.0)));
        assert_eq!(of(Some(0.01)).standard_error, None);
    }

    #[test]
    fn a_loss_is_shown_as_the_epsilon_of_its_conversion() {
        for (nano, epsilon) in [(1_000_000, 0.236), (5_000_000, 0.531), (500_000_000, 5.757), (2_000_000_000, 12.513)] {
            assert!((shown_epsilon(Rho::from_nano(nano)) - epsilon).abs() < 5e-4);
        }
    }
}
