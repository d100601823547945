//! Groups of which no list is declared, selected by a noisy count of their persons.

use super::{Drawn, Noise, NoiseError, NoisePlan, Scale, clamp_to_i64, root_above, shares};
use crate::measure::MeasureError;
use firebreak_domain::{Delta, Rho};
use firebreak_query::{CheckedQuery, MAX_OPEN_GROUPS};
use opendp::domains::{AtomDomain, MapDomain};
use opendp::measurements::make_gaussian_threshold;
use opendp::measures::{Approximate, ZeroConcentratedDivergence};
use opendp::metrics::{AbsoluteDistance, L0PInfDistance};
use zeroize::Zeroizing;

/// The δ of a question whose groups are selected: 10⁻¹⁰, a tenth of the most that one question may have.
pub const SELECTION_DELTA: Delta = Delta::from_atto(100_000_000);

/// The loss of each vector, in parts of which one is for the number of groups.
const PARTS: u64 = 20;

/// The most groups for which noise is drawn in each vector.
const MOST_DRAWN: usize = 3 * MAX_OPEN_GROUPS;

/// By how many of its deviations the noisy number of groups is taken to be off at most: further off it is in fewer than
/// one of 10¹³ answers.
const OFF: f64 = 8.0;

/// How groups are selected, fixed before anything is computed.
///
/// With `x_g` persons in group `g` and `Z_g` the noise that is drawn for it, the groups with `x_g + Z_g ≥ threshold`
/// are released, each with its noisy numbers; all others are not, and nothing is said of them. A question that may have
/// more groups than are shown is answered by none: whether it does is decided by a noisy number of groups.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Selection {
    /// The place of the vector of persons.
    persons: usize,
    threshold: i64,
    delta: Delta,
    /// At a larger noisy number of groups none is shown.
    most: i64,
}

impl Selection {
    /// The least noisy number of persons at which a group is shown.
    #[must_use]
    pub const fn threshold(&self) -> i64 {
        self.threshold
    }

    /// The largest probability that one person makes a group appear which nobody else is in.
    #[must_use]
    pub const fn delta(&self) -> Delta {
        self.delta
    }

    /// The plan of a question by open codes, whose persons are counted by the primitive at `persons`: a vector for each
    /// primitive, of noise for more groups than are shown, and behind them one number, the noise on how many groups
    /// there are.
    ///
    /// # Errors
    /// [`NoiseError`], which depends on question and loss alone.
    pub(super) fn plan(query: &CheckedQuery, persons: usize, rho: Rho) -> Result<NoisePlan, NoiseError> {
        let rows = query.rows_per_person();
        let squared = query.squared_sensitivities();
        let mut weights = vec![PARTS; squared.len()];
        weights.push(1);
        // A person is in at most as many groups as they have rows, so that at most so many come or go with them.
        let of_number = u128::from(rows) * u128::from(rows);
        let each = squared.iter().chain([&of_number]).zip(shares(rho.nano(), &weights)?);
        let scales = each.map(|(squared, share)| Scale::for_loss(*squared, Rho::from_nano(share)));
        let scales: Vec<Scale> = scales.collect::<Result<_, _>>()?;
        let off = scales.last().map_or(0.0, |scale| (OFF * scale.sigma()).ceil());
        let drawn = MAX_OPEN_GROUPS as f64 + 2.0 * off;
        if drawn > MOST_DRAWN as f64 {
            return Err(NoiseError::LossTooSmall);
        }
        let sigma = scales.get(persons).ok_or(NoiseError::Shape)?.sigma();
        let threshold = threshold(sigma, rows, SELECTION_DELTA)?;
        let most = (MAX_OPEN_GROUPS as f64 + off) as i64;
        let mut cells = vec![drawn as usize; squared.len()];
        cells.push(1);
        let choices = vec![None; cells.len()];
        let plan = NoisePlan::allowed(scales, choices, cells)?;
        Ok(NoisePlan { selection: Some(Self { persons, threshold, delta: SELECTION_DELTA, most }), ..plan })
    }
}

/// The smallest threshold for which a person who is in up to `groups` groups, and in each of them alone, makes one of
/// them appear with a probability of at most `delta`, as opendp's own privacy map bounds it: `1 − (1 − P[Z ≥ threshold
/// − 1])^groups` for discrete Gaussian noise `Z`.
///
/// The map is that of opendp's mechanism at a threshold that is one less. Its `δ` is a bound on `P[Z > T − 1]`
/// (Canonne, Kamath and Steinke 2020, proposition 25), while that mechanism keeps a group at `1 + Z ≥ T`; one less
/// makes it the bound that is needed here.
fn threshold(sigma: f64, groups: u32, delta: Delta) -> Result<i64, NoiseError> {
    let enough = |threshold: i64| delta_of(sigma, groups, threshold).map(|found| found <= as_probability(delta));
    // δ falls with the threshold; no noise that is drawn is above 2⁶¹.
    let (mut low, mut high) = (1_i64, 4_i64);
    while !enough(high)? {
        low = high;
        high = high.checked_mul(2).ok_or(NoiseError::NoiseTooLarge)?;
    }
    while high - low > 1 {
        let middle = low.midpoint(high);
        if enough(middle)? { high = middle } else { low = middle }
    }
    Ok(high)
}

/// A double that is at most the δ.
fn as_probability(delta: Delta) -> f64 {
    (delta.atto() as f64 / 1e18).next_down()
}

/// An upper bound of the probability that a person alone in `groups` groups makes one appear.
fn delta_of(sigma: f64, groups: u32, threshold: i64) -> Result<f64, NoiseError> {
    let domain = MapDomain::new(AtomDomain::<i64>::default(), AtomDomain::<i64>::default());
    let metric = L0PInfDistance::<2, _>(AbsoluteDistance::<f64>::default());
    let measurement = make_gaussian_threshold::<_, _, Approximate<ZeroConcentratedDivergence>>(
        domain,
        metric,
        sigma,
        threshold - 1,
        None,
    );
    let bound = measurement.and_then(|measurement| measurement.map(&(groups, root_above(u128::from(groups)), 1.0)));
    bound.map(|(_, delta)| delta).map_err(|_| NoiseError::Sampler)
}

/// The groups that were selected, with their noisy numbers.
pub(crate) struct Selected {
    /// Ascending.
    pub(crate) codes: Vec<i64>,
    /// The noisy number of all groups, shown or not.
    pub(crate) groups: i64,
    /// Of each vector, one for each code.
    pub(crate) vectors: Vec<Vec<i64>>,
}

impl Noise {
    /// Adds the noise, and keeps the groups that reach the threshold; `exact` holds a vector for each primitive, with a
    /// number for each code, `codes` ascending.
    ///
    /// Which draw a group gets follows from its place among the codes. All draws are independent, and none is looked at
    /// before, so that every assignment gives the same distribution.
    ///
    /// # Errors
    /// [`MeasureError`].
    pub(crate) fn select(self, plan: &NoisePlan, codes: &[i64], exact: &[Vec<i64>]) -> Result<Selected, MeasureError> {
        let selection = plan.selection.as_ref().ok_or(MeasureError::Shape)?;
        let Some((Drawn::Noise(of_number), of_vectors)) = self.0.split_last() else { return Err(MeasureError::Shape) };
        let [of_number] = of_number.as_slice() else { return Err(MeasureError::Shape) };
        let formed = codes.is_sorted_by(|one, other| one < other) && exact.iter().all(|of| of.len() == codes.len());
        if !formed || exact.len() != of_vectors.len() {
            return Err(MeasureError::Shape);
        }
        let groups = clamp_to_i64((codes.len() as i128).saturating_add(*of_number));
        if groups > selection.most {
            return Ok(Selected { codes: Vec::new(), groups, vectors: vec![Vec::new(); exact.len()] });
        }
        let mut noisy = Vec::with_capacity(exact.len());
        for ((exact, drawn), scale) in exact.iter().zip(of_vectors).zip(plan.scales()) {
            let Drawn::Noise(drawn) = drawn else { return Err(MeasureError::Shape) };
            // Noise was drawn for more groups than the noisy number lets through, but for once in 10¹³ answers.
            let more = codes.len().saturating_sub(drawn.len());
            let more = Zeroizing::new(if more > 0 {
                scale.draw(more).map_err(|_| MeasureError::Sampler)?
            } else {
                Vec::new()
            });
            let noise = drawn.iter().chain(more.iter());
            let add = |(value, noise): (&i64, &i128)| clamp_to_i64(i128::from(*value).saturating_add(*noise));
            noisy.push(Zeroizing::new(exact.iter().zip(noise).map(add).collect::<Vec<i64>>()));
        }
        let persons = noisy.get(selection.persons).ok_or(MeasureError::Shape)?;
        let shown: Vec<bool> = persons.iter().map(|persons| *persons >= selection.threshold).collect();
        let kept = |of: &[i64]| of.iter().zip(&shown).filter(|(_, shown)| **shown).map(|(of, _)| *of).collect();
        Ok(Selected { codes: kept(codes), groups, vectors: noisy.iter().map(|of| kept(of.as_slice())).collect() })
    }
}

#[cfg(test)]
mod tests;
