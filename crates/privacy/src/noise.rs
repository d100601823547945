//! Noise by opendp's exact samplers. Under zero-concentrated differential privacy, the discrete Gaussian for what is
//! counted and added up and the exponential mechanism for what is chosen; under pure, the discrete Laplace and
//! permute-and-flip.

mod threshold;

use crate::measure::MeasureError;
use crate::release::shape_is_allowed;
use firebreak_domain::{Epsilon, Rho};
use firebreak_query::{Candidates, CheckedQuery, PrimitiveKind};
use opendp::core::Measurement;
use opendp::domains::{AtomDomain, VectorDomain};
use opendp::measurements::{TopKMeasure, make_gaussian, make_laplace, make_noisy_max};
use opendp::measures::{MaxDivergence, ZeroConcentratedDivergence};
use opendp::metrics::{L1Distance, L2Distance, LInfDistance};
use std::thread;
pub(crate) use threshold::Selected;
pub use threshold::{SELECTION_DELTA, Selection};
use zeroize::Zeroizing;

/// The largest standard deviation that is drawn. Forty of them stay below 2⁶¹, so that exact values within ±2⁶²
/// are, but for a probability below e⁻⁸⁰⁰, never clamped.
pub const MAX_SIGMA: f64 = (1_u64 << 55) as f64;

/// Noise that cannot be priced or drawn. Independent of the data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoiseError {
    /// No query has that many primitives or cells, or so few.
    #[error("no query has this many measures or cells: check it against its contract")]
    Shape,
    /// The loss is too small to be split over the query's measures.
    #[error("the privacy loss is too small for this many measures: ask for more loss or for fewer measures")]
    LossTooSmall,
    /// The loss is larger than can be computed with exactly.
    #[error("the privacy loss is larger than any budget: ask for less")]
    LossTooLarge,
    /// The noise would drown every value.
    #[error("the noise for this privacy loss would be larger than any sum: ask for more loss or for tighter bounds")]
    NoiseTooLarge,
    /// Groups are selected with a δ, which a pure mechanism does not have.
    #[error(
        "groups whose codes are not declared are selected with a delta: ask under an agreement with discrete_gaussian"
    )]
    PureSelection,
    /// Dummies are drawn by both sides of a join, and added to nothing.
    #[error("matching dummies are the noise of a join alone: price the join")]
    OfAJoin,
    /// The measurement says that it loses more than it was paid for.
    #[error("the measurement loses more than its share of the charge")]
    Underpaid,
    /// The sampler failed: the system gave no randomness.
    #[error("the sampler failed: check the system's source of randomness")]
    Sampler,
}

/// The scale of the noise on one primitive: a vector over all cells, whose sensitivity and loss are known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// The square of its L2 sensitivity under zCDP, its L1 sensitivity under pure DP.
    sensitivity: u128,
    /// Its part of the loss, in units of 10⁻⁹ of ρ or of ε.
    share: u64,
    sigma: f64,
    way: Way,
}

/// What is done to exact numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// A discrete Gaussian is added to each.
    Gaussian,
    /// A discrete Laplace is.
    Laplace,
    /// One candidate of each cell is chosen by the exponential mechanism.
    Exponential,
    /// One is by permute-and-flip.
    Flip,
}

type Gaussian = Measurement<VectorDomain<AtomDomain<i128>>, L2Distance<f64>, ZeroConcentratedDivergence, Vec<i128>>;

fn gaussian(sigma: f64) -> Result<Gaussian, NoiseError> {
    make_gaussian(VectorDomain::new(AtomDomain::<i128>::default()), L2Distance::<f64>::default(), sigma, None)
        .map_err(|_| NoiseError::Sampler)
}

type Laplace = Measurement<VectorDomain<AtomDomain<i128>>, L1Distance<f64>, MaxDivergence, Vec<i128>>;

fn laplace(scale: f64) -> Result<Laplace, NoiseError> {
    make_laplace(VectorDomain::new(AtomDomain::<i128>::default()), L1Distance::<f64>::default(), scale, None)
        .map_err(|_| NoiseError::Sampler)
}

type Choice<M> = Measurement<VectorDomain<AtomDomain<i64>>, LInfDistance<i64>, M, usize>;

/// Chooses the place of a low score: under zCDP that of score `s` with a probability proportional to `exp(−s/scale)`,
/// under pure DP by permute-and-flip at that scale.
fn choice<M: TopKMeasure>(measure: M, scale: f64) -> Result<Choice<M>, NoiseError> {
    let domain = VectorDomain::new(AtomDomain::<i64>::default());
    make_noisy_max(domain, LInfDistance::default(), measure, scale, true).map_err(|_| NoiseError::Sampler)
}

/// A double that is at least the square root of `squared`.
///
/// The conversion and the root each round to the nearest double, so that the next one up is an upper bound of each.
fn root_above(squared: u128) -> f64 {
    (squared as f64).next_up().sqrt().next_up()
}

/// A double that is at least `whole`: beyond 2⁵³ the next one up from the nearest.
fn above(whole: u128) -> f64 {
    if whole < 1 << 53 { whole as f64 } else { (whole as f64).next_up() }
}

/// A double that is at most so many units of 10⁻⁹.
///
/// Below 2⁵³ the conversion is exact; the quotient rounds to the nearest double, so that the next one down is a
/// lower bound.
fn loss_below(nano: u64) -> Result<f64, NoiseError> {
    if nano >= 1 << 53 {
        return Err(NoiseError::LossTooLarge);
    }
    Ok((nano as f64 / 1e9).next_down())
}

impl Scale {
    /// The smallest scale (to a few units in the last place) whose loss, as opendp's privacy map gives it, is at most
    /// `rho`: σ = Δ₂ / √(2ρ), rounded up (Canonne, Kamath and Steinke 2020, theorem 14; Bun and Steinke 2016,
    /// proposition 1.6).
    ///
    /// A sensitivity of zero is taken for one, so that nothing leaves without noise.
    ///
    /// # Errors
    /// [`NoiseError`], which depends on the arguments alone.
    pub fn for_loss(squared_sensitivity: u128, rho: Rho) -> Result<Self, NoiseError> {
        Self::smallest(Way::Gaussian, squared_sensitivity, rho.nano())
    }

    /// The smallest scale of the exponential mechanism whose loss over all cells is at most `rho`.
    ///
    /// Where a person moves the scores of cell `c` by at most `Δ_c`, they differ between any two candidates by at most
    /// `2·Δ_c` more or less, and one choice loses `(2·Δ_c/scale)²/8` (Cesar and Rogers 2020, lemma 3.2: a mechanism of
    /// ε-bounded range is ε²/8-zCDP). The cells' losses add up to at most `ΣΔ_c²/(2·scale²)`: that of the discrete
    /// Gaussian at the same squared sensitivity and scale.
    ///
    /// # Errors
    /// As [`Scale::for_loss`].
    pub fn for_choice(squared_sensitivity: u128, rho: Rho) -> Result<Self, NoiseError> {
        Self::smallest(Way::Exponential, squared_sensitivity, rho.nano())
    }

    /// The smallest scale of the discrete Laplace whose loss is at most `epsilon`: b = Δ₁ / ε, rounded up (Ghosh,
    /// Roughgarden and Sundararajan 2009; Dwork, McSherry, Nissim and Smith 2006, proposition 1, for vectors).
    ///
    /// # Errors
    /// As [`Scale::for_loss`].
    pub fn for_epsilon(l1_sensitivity: u128, epsilon: Epsilon) -> Result<Self, NoiseError> {
        Self::smallest(Way::Laplace, l1_sensitivity, epsilon.nano())
    }

    /// The smallest scale of permute-and-flip whose loss over all cells is at most `epsilon`: 2·Δ₁ / ε (McKenna and
    /// Sheldon 2020, theorem 1). The losses `2·Δ_c/scale` of the cells add up to at most `2·Δ₁/scale`.
    ///
    /// # Errors
    /// As [`Scale::for_loss`].
    pub fn for_choice_of_epsilon(l1_sensitivity: u128, epsilon: Epsilon) -> Result<Self, NoiseError> {
        Self::smallest(Way::Flip, l1_sensitivity, epsilon.nano())
    }

    fn smallest(way: Way, sensitivity: u128, share: u64) -> Result<Self, NoiseError> {
        if share == 0 {
            return Err(NoiseError::LossTooSmall);
        }
        let sensitivity = sensitivity.max(1);
        let limit = loss_below(share)?;
        let mut sigma = match way {
            Way::Gaussian | Way::Exponential => root_above(sensitivity) / (2.0 * limit).sqrt(),
            Way::Laplace => above(sensitivity) / limit,
            Way::Flip => 2.0 * above(sensitivity) / limit,
        };
        // The formula is right but for its own rounding; what counts is the map, which is exact and rounds up.
        for _ in 0..16 {
            if !sigma.is_finite() || sigma > MAX_SIGMA {
                return Err(NoiseError::NoiseTooLarge);
            }
            let scale = Self { sensitivity, share, sigma, way };
            if scale.loss()? <= limit {
                return Ok(scale);
            }
            sigma = sigma.next_up();
        }
        Err(NoiseError::Underpaid)
    }

    /// The loss that opendp's privacy map gives at this sensitivity: an upper bound.
    fn loss(&self) -> Result<f64, NoiseError> {
        let whole = |distance: u128| i64::try_from(distance).map_err(|_| NoiseError::NoiseTooLarge);
        match self.way {
            Way::Gaussian => gaussian(self.sigma)?.map(&root_above(self.sensitivity)),
            Way::Laplace => laplace(self.sigma)?.map(&above(self.sensitivity)),
            Way::Exponential => {
                let root = self.sensitivity.isqrt();
                let above = root + u128::from(root * root < self.sensitivity);
                choice(ZeroConcentratedDivergence, self.sigma)?.map(&whole(above)?)
            }
            Way::Flip => choice(MaxDivergence, self.sigma)?.map(&whole(self.sensitivity)?),
        }
        .map_err(|_| NoiseError::Sampler)
    }

    /// Of the discrete Gaussian its parameter σ, an upper bound of its standard deviation (Canonne, Kamath and Steinke
    /// 2020, corollary 9); of the discrete Laplace its scale b. In units of the primitive's fixed point. Of a choice,
    /// its scale in units of the scores.
    #[must_use]
    pub const fn sigma(&self) -> f64 {
        self.sigma
    }

    /// This primitive's share of the charge, in units of 10⁻⁹ of ρ or of ε.
    #[must_use]
    pub const fn share(&self) -> u64 {
        self.share
    }

    // PRIVACY: the price is checked against a measurement that is made as the one which draws is, at the same scale.
    fn check(&self) -> Result<(), NoiseError> {
        if self.loss()? > loss_below(self.share)? { Err(NoiseError::Underpaid) } else { Ok(()) }
    }

    /// Draws independent noise for each of `cells` cells.
    ///
    /// The mechanism is M(x) = x + Z with Z independent of x, so that M(0) is a draw of Z, and adding it to an exact
    /// vector later gives a draw of M at that vector. `i128` holds every draw: |Z| ≥ 2¹²⁷ is 2⁷² standard deviations
    /// away at the largest scale allowed, 2⁷² scales for the discrete Laplace.
    fn draw(&self, cells: usize) -> Result<Vec<i128>, NoiseError> {
        self.check()?;
        let nothing = vec![0_i128; cells];
        match self.way {
            Way::Gaussian => gaussian(self.sigma)?.invoke(&nothing),
            Way::Laplace => laplace(self.sigma)?.invoke(&nothing),
            // A choice has nothing to draw.
            Way::Exponential | Way::Flip => return Err(NoiseError::Sampler),
        }
        .map_err(|_| NoiseError::Sampler)
    }
}

impl Scale {
    /// The place of a score, chosen.
    fn choose(&self, scores: &Vec<i64>) -> Result<usize, NoiseError> {
        match self.way {
            Way::Exponential => choice(ZeroConcentratedDivergence, self.sigma)?.invoke(scores),
            Way::Flip => choice(MaxDivergence, self.sigma)?.invoke(scores),
            Way::Gaussian | Way::Laplace => return Err(NoiseError::Sampler),
        }
        .map_err(|_| NoiseError::Sampler)
    }
}

/// Which noise a query needs: a scale for each of its vectors.
#[derive(Debug, Clone, PartialEq)]
pub struct NoisePlan {
    scales: Vec<Scale>,
    /// Among what is chosen, for each vector that is a choice.
    choices: Vec<Option<Candidates>>,
    cells: Vec<usize>,
    /// How groups are selected, where the question's are not declared.
    selection: Option<Selection>,
}

impl NoisePlan {
    /// Splits `rho` over vectors of `cells` cells with these squared L2 sensitivities: equal shares in units of 10⁻⁹,
    /// and what does not divide goes to the first. Shares add up to `rho` exactly (composition: Bun and Steinke 2016,
    /// lemma 2.3).
    ///
    /// # Errors
    /// [`NoiseError`], which depends on the arguments alone.
    pub fn split(squared_sensitivities: &[u128], cells: usize, rho: Rho) -> Result<Self, NoiseError> {
        let vectors = squared_sensitivities.len();
        Self::concentrated(squared_sensitivities, vec![None; vectors], vec![cells; vectors], rho)
    }

    /// [`NoisePlan::split`] over the vectors of a query.
    ///
    /// # Errors
    /// As there.
    pub fn of(query: &CheckedQuery, rho: Rho) -> Result<Self, NoiseError> {
        if let Some((_, persons)) = query.selection() {
            return Selection::plan(query, persons, rho);
        }
        Self::concentrated(query.squared_sensitivities(), choices(query), cells(query), rho)
    }

    /// Splits `epsilon` over the vectors of a query, in proportion to the cube roots of how many measures rest on
    /// each: with squared errors in units of `Δ²`, which are `1/ε²`, that is the split by which they add up to least
    /// over all measures.
    ///
    /// # Errors
    /// As [`NoisePlan::split`].
    pub fn of_epsilon(query: &CheckedQuery, epsilon: Epsilon) -> Result<Self, NoiseError> {
        if query.selection().is_some() {
            return Err(NoiseError::PureSelection);
        }
        let weights: Vec<u64> = query.uses().iter().map(|uses| cube_root(*uses)).collect();
        let choices = choices(query);
        let shares = shares(epsilon.nano(), &weights)?;
        let scale = |((&sensitivity, share), choice): ((&u128, u64), &Option<Candidates>)| match choice {
            None => Scale::for_epsilon(sensitivity, Epsilon::from_nano(share)),
            Some(_) => Scale::for_choice_of_epsilon(sensitivity, Epsilon::from_nano(share)),
        };
        let scales = query.l1_sensitivities().iter().zip(shares).zip(&choices).map(scale);
        Self::allowed(scales.collect::<Result<_, _>>()?, choices, cells(query))
    }

    fn allowed(scales: Vec<Scale>, choices: Vec<Option<Candidates>>, cells: Vec<usize>) -> Result<Self, NoiseError> {
        if shape_is_allowed(&cells) {
            Ok(Self { scales, choices, cells, selection: None })
        } else {
            Err(NoiseError::Shape)
        }
    }

    fn concentrated(
        squared_sensitivities: &[u128],
        choices: Vec<Option<Candidates>>,
        cells: Vec<usize>,
        rho: Rho,
    ) -> Result<Self, NoiseError> {
        if !shape_is_allowed(&cells) {
            return Err(NoiseError::Shape);
        }
        let scale = |((&squared, share), choice): ((&u128, u64), &Option<Candidates>)| match choice {
            None => Scale::for_loss(squared, Rho::from_nano(share)),
            Some(_) => Scale::for_choice(squared, Rho::from_nano(share)),
        };
        let scales = squared_sensitivities
            .iter()
            .zip(shares(rho.nano(), &vec![1; squared_sensitivities.len()])?)
            .zip(&choices)
            .map(scale);
        Self::allowed(scales.collect::<Result<_, _>>()?, choices, cells)
    }

    /// The scale of each vector, in the order of the query's vectors.
    #[must_use]
    pub fn scales(&self) -> &[Scale] {
        &self.scales
    }

    /// How groups are selected, where the question's are not declared. Then the scales have one more behind those of
    /// the vectors, of the noise on the number of groups, and cells are groups for which noise is drawn.
    #[must_use]
    pub const fn selection(&self) -> Option<&Selection> {
        self.selection.as_ref()
    }

    /// How many cells each vector has.
    #[must_use]
    pub fn cells(&self) -> &[usize] {
        &self.cells
    }
}

fn cells(query: &CheckedQuery) -> Vec<usize> {
    query.vectors().map(|(_, set)| set.cells()).collect()
}

/// Among what is chosen, for each vector of a query that is a choice.
fn choices(query: &CheckedQuery) -> Vec<Option<Candidates>> {
    let choice = |primitive: &firebreak_query::Primitive| match primitive.kind() {
        PrimitiveKind::Quantile { candidates, .. } => Some(*candidates),
        _ => None,
    };
    query.vectors().map(|(primitive, _)| choice(primitive)).collect()
}

/// Whole parts of `whole` in proportion to the weights; what does not divide goes to the first. They add up to it.
fn shares(whole: u64, weights: &[u64]) -> Result<Vec<u64>, NoiseError> {
    let sum: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
    let part = |weight: &u64| u64::try_from(u128::from(whole) * u128::from(*weight) / sum.max(1)).unwrap_or(whole);
    let mut parts: Vec<u64> = weights.iter().map(part).collect();
    // The first share could be enough where the others are nothing: then none of it is.
    if parts.contains(&0) {
        return Err(NoiseError::LossTooSmall);
    }
    let rest = whole - parts.iter().sum::<u64>();
    if let Some(first) = parts.first_mut() {
        *first += rest;
    }
    Ok(parts)
}

/// The cube root in millionths, rounded down: in whole numbers, the same on every machine.
fn cube_root(of: u32) -> u64 {
    let cube = u128::from(of) * 1_000_000_000_000_000_000;
    let (mut low, mut high) = (0_u64, 2_000_000_000_u64);
    while high - low > 1 {
        let middle = low.midpoint(high);
        if u128::from(middle).pow(3) <= cube { low = middle } else { high = middle }
    }
    low
}

/// Noise of one vector for so many of its cells.
type Piece = Zeroizing<Vec<i128>>;

/// The most cells that are drawn at a time: longer work for a thread than to start one.
const PIECE: usize = 256;

/// The pieces of a vector of `cells` cells: the scale of each, and how many cells it has.
fn cut(scale: Scale, cells: usize) -> impl Iterator<Item = (Scale, usize)> {
    (0..cells).step_by(PIECE).map(move |start| (scale, PIECE.min(cells - start)))
}

/// Draws each of the pieces, and gives them in their order.
///
/// opendp's measurements are not `Send`: each thread makes its own, for each piece anew. Each of them is checked
/// against its price before it is drawn, and what one draws is independent of all others.
fn pieces(planned: &[(Scale, usize)]) -> Result<impl Iterator<Item = Piece> + use<>, NoiseError> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(planned.len()).max(1);
    let every = |first: usize| {
        let own = planned.iter().skip(first).step_by(threads);
        own.map(|(scale, cells)| Ok(Zeroizing::new(scale.draw(*cells)?))).collect::<Result<Vec<Piece>, NoiseError>>()
    };
    let drawn: Vec<Vec<Piece>> = thread::scope(|scope| {
        let start = |first| thread::Builder::new().spawn_scoped(scope, move || every(first)).map_err(|_| first);
        let others: Vec<_> = (1..threads).map(start).collect();
        let joined = others.into_iter().map(|other| match other {
            Ok(thread) => thread.join().map_err(|_| NoiseError::Sampler)?,
            // The system gives no more threads: what was to be drawn there is drawn here.
            Err(first) => every(first),
        });
        std::iter::once(every(0)).chain(joined).collect::<Result<_, _>>()
    })?;
    let mut by_thread: Vec<_> = drawn.into_iter().map(Vec::into_iter).collect();
    Ok((0..planned.len()).map_while(move |piece| by_thread.get_mut(piece % threads)?.next()))
}

/// Noise drawn for one request: a whole number for each vector and cell.
///
/// Never kept, pooled, shown or scaled: with it, a release would be an exact value again. It has no way out but
/// being added, and is wiped from memory when dropped.
//
// PRIVACY: no trait may be derived or implemented here.
pub(crate) struct Noise(Vec<Drawn>);

/// What a primitive is measured with.
enum Drawn {
    /// To be added.
    Noise(Zeroizing<Vec<i128>>),
    /// A choice depends on scores, which only the engine gives: nothing of it can be drawn before. That its loss is
    /// paid is checked before.
    Choice(Scale, Candidates),
}

impl Noise {
    /// Draws what `plan` says, on as many threads as there are. Takes about 4 µs of CPU a cell and primitive, and its
    /// time hints at the scale alone: run it where it blocks nobody.
    pub(crate) fn draw(plan: &NoisePlan) -> Result<Self, NoiseError> {
        let vectors = || plan.scales.iter().zip(&plan.choices).zip(&plan.cells);
        let added = vectors().filter(|((_, choice), _)| choice.is_none());
        let mut pieces = pieces(&added.flat_map(|((scale, _), cells)| cut(*scale, *cells)).collect::<Vec<_>>())?;
        let drawn = vectors().map(|((scale, choice), cells)| match choice {
            None => {
                let mut noise = Zeroizing::new(Vec::with_capacity(*cells));
                while noise.len() < *cells {
                    noise.extend_from_slice(&pieces.next().ok_or(NoiseError::Sampler)?);
                }
                Ok(Drawn::Noise(noise))
            }
            Some(candidates) => scale.check().map(|()| Drawn::Choice(*scale, *candidates)),
        });
        Ok(Self(drawn.collect::<Result<_, _>>()?))
    }

    /// Measures exact values: adds the noise to those of the same shape, and chooses among the candidates. A choice
    /// takes up to a few µs a candidate, and its time hints at the scores: run it where it blocks nobody, and before a
    /// tick.
    ///
    /// # Errors
    /// [`MeasureError`].
    pub(crate) fn measure(self, exact: &[Vec<i64>]) -> Result<Vec<Vec<i64>>, MeasureError> {
        if exact.len() != self.0.len() {
            return Err(MeasureError::Shape);
        }
        exact.iter().zip(&self.0).map(|(exact, drawn)| drawn.measure(exact)).collect()
    }

    #[cfg(test)]
    pub(crate) fn planted(noise: Vec<Vec<i128>>) -> Self {
        Self(noise.into_iter().map(|noise| Drawn::Noise(Zeroizing::new(noise))).collect())
    }

    #[cfg(test)]
    pub(crate) fn expose(&self) -> Vec<&[i128]> {
        let mut noise = Vec::new();
        for drawn in &self.0 {
            if let Drawn::Noise(drawn) = drawn {
                noise.push(drawn.as_slice());
            }
        }
        noise
    }
}

impl Drawn {
    /// Sums are formed first and clamped to 64 bits then: clamping what was already measured is post-processing. An
    /// `i64` and a draw of at most 2¹²⁷ − 2⁶⁴ never overflow `i128`; beyond, saturation and clamp give the same bound.
    fn measure(&self, exact: &[i64]) -> Result<Vec<i64>, MeasureError> {
        match self {
            Self::Noise(noise) if noise.len() == exact.len() => {
                let add = |(&value, &noise): (&i64, &i128)| clamp_to_i64(i128::from(value).saturating_add(noise));
                Ok(exact.iter().zip(noise.iter()).map(add).collect())
            }
            Self::Noise(_) => Err(MeasureError::Shape),
            Self::Choice(scale, candidates) => {
                let cells = exact.chunks_exact(candidates.count() as usize);
                if !cells.remainder().is_empty() {
                    return Err(MeasureError::Shape);
                }
                let of_cell = |counts| {
                    let scores = Zeroizing::new(candidates.scores(counts));
                    scale.choose(&scores).map(|place| candidates.value(place)).map_err(|_| MeasureError::Sampler)
                };
                cells.map(of_cell).collect()
            }
        }
    }
}

fn clamp_to_i64(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests;
