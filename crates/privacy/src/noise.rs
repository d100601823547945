//! Discrete Gaussian noise under zero-concentrated differential privacy, by opendp's exact sampler.

use crate::release::shape_is_allowed;
use firebreak_domain::Rho;
use opendp::core::Measurement;
use opendp::domains::{AtomDomain, VectorDomain};
use opendp::measurements::make_gaussian;
use opendp::measures::ZeroConcentratedDivergence;
use opendp::metrics::L2Distance;
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
    /// The measurement says that it loses more than it was paid for.
    #[error("the measurement loses more than its share of the charge")]
    Underpaid,
    /// The sampler failed: the system gave no randomness.
    #[error("the sampler failed: check the system's source of randomness")]
    Sampler,
}

/// The scale of the noise on one primitive: a vector over all cells, whose squared L2 sensitivity and loss are known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    squared_sensitivity: u128,
    rho: Rho,
    sigma: f64,
}

type Gaussian = Measurement<VectorDomain<AtomDomain<i128>>, L2Distance<f64>, ZeroConcentratedDivergence, Vec<i128>>;

fn gaussian(sigma: f64) -> Result<Gaussian, NoiseError> {
    make_gaussian(VectorDomain::new(AtomDomain::<i128>::default()), L2Distance::<f64>::default(), sigma, None)
        .map_err(|_| NoiseError::Sampler)
}

/// A double that is at least the square root of `squared`.
///
/// The conversion and the root each round to the nearest double, so that the next one up is an upper bound of each.
fn root_above(squared: u128) -> f64 {
    (squared as f64).next_up().sqrt().next_up()
}

/// A double that is at most ρ.
///
/// Below 2⁵³ the conversion is exact; the quotient rounds to the nearest double, so that the next one down is a
/// lower bound.
fn rho_below(rho: Rho) -> Result<f64, NoiseError> {
    if rho.nano() >= 1 << 53 {
        return Err(NoiseError::LossTooLarge);
    }
    Ok((rho.nano() as f64 / 1e9).next_down())
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
        if rho.nano() == 0 {
            return Err(NoiseError::LossTooSmall);
        }
        let squared_sensitivity = squared_sensitivity.max(1);
        let sensitivity = root_above(squared_sensitivity);
        let limit = rho_below(rho)?;
        let mut sigma = sensitivity / (2.0 * limit).sqrt();
        // The formula is right but for its own rounding; what counts is the map, which is exact and rounds up.
        for _ in 0..16 {
            if !sigma.is_finite() || sigma > MAX_SIGMA {
                return Err(NoiseError::NoiseTooLarge);
            }
            let scale = Self { squared_sensitivity, rho, sigma };
            if scale.loss()? <= limit {
                return Ok(scale);
            }
            sigma = sigma.next_up();
        }
        Err(NoiseError::Underpaid)
    }

    /// The loss ρ that opendp's privacy map gives at this sensitivity: an upper bound.
    fn loss(&self) -> Result<f64, NoiseError> {
        gaussian(self.sigma)?.map(&root_above(self.squared_sensitivity)).map_err(|_| NoiseError::Sampler)
    }

    /// σ: the parameter of the discrete Gaussian, and an upper bound of its standard deviation
    /// (Canonne, Kamath and Steinke 2020, corollary 9). In units of the primitive's fixed point.
    #[must_use]
    pub const fn sigma(&self) -> f64 {
        self.sigma
    }

    /// This primitive's share of the charge.
    #[must_use]
    pub const fn rho(&self) -> Rho {
        self.rho
    }

    /// Draws independent noise for each of `cells` cells.
    ///
    /// The mechanism is M(x) = x + Z with Z independent of x, so that M(0) is a draw of Z, and adding it to an exact
    /// vector later gives a draw of M at that vector. `i128` holds every draw: |Z| ≥ 2¹²⁷ is 2⁷² standard deviations
    /// away at the largest scale allowed.
    fn draw(&self, cells: usize) -> Result<Vec<i128>, NoiseError> {
        // PRIVACY: the price is checked against the measurement that is about to be used, not one like it.
        let measurement = gaussian(self.sigma)?;
        let loss = measurement.map(&root_above(self.squared_sensitivity)).map_err(|_| NoiseError::Sampler)?;
        if loss > rho_below(self.rho)? {
            return Err(NoiseError::Underpaid);
        }
        measurement.invoke(&vec![0_i128; cells]).map_err(|_| NoiseError::Sampler)
    }
}

/// Which noise a query needs: a scale for each primitive, over the same cells.
#[derive(Debug, Clone, PartialEq)]
pub struct NoisePlan {
    scales: Vec<Scale>,
    cells: usize,
}

impl NoisePlan {
    /// Splits `rho` over primitives with these squared L2 sensitivities: equal shares in units of 10⁻⁹, and what does
    /// not divide goes to the first. Shares add up to `rho` exactly (composition: Bun and Steinke 2016, lemma 2.3).
    ///
    /// # Errors
    /// [`NoiseError`], which depends on the arguments alone.
    pub fn split(squared_sensitivities: &[u128], cells: usize, rho: Rho) -> Result<Self, NoiseError> {
        if !shape_is_allowed(squared_sensitivities.len(), cells) {
            return Err(NoiseError::Shape);
        }
        let count = squared_sensitivities.len() as u64;
        let (share, rest) = (rho.nano() / count, rho.nano() % count);
        // The first share could be enough where the others are nothing: then none of it is.
        if share == 0 {
            return Err(NoiseError::LossTooSmall);
        }
        let shares = std::iter::once(share + rest).chain(std::iter::repeat(share));
        let scales = squared_sensitivities
            .iter()
            .zip(shares)
            .map(|(&squared, share)| Scale::for_loss(squared, Rho::from_nano(share)))
            .collect::<Result<_, _>>()?;
        Ok(Self { scales, cells })
    }

    /// The scale of each primitive, in the order of the query's primitives.
    #[must_use]
    pub fn scales(&self) -> &[Scale] {
        &self.scales
    }

    /// How many cells each primitive has.
    #[must_use]
    pub const fn cells(&self) -> usize {
        self.cells
    }
}

/// Noise drawn for one request: a whole number for each primitive and cell.
///
/// Never kept, pooled, shown or scaled: with it, a release would be an exact value again. It has no way out but
/// being added, and is wiped from memory when dropped.
//
// PRIVACY: no trait may be derived or implemented here.
pub(crate) struct Noise(Zeroizing<Vec<Vec<i128>>>);

impl Noise {
    /// Draws what `plan` says. Takes about 20 µs a cell and primitive, and its time hints at the scale alone:
    /// run it where it blocks nobody.
    pub(crate) fn draw(plan: &NoisePlan) -> Result<Self, NoiseError> {
        let drawn = plan.scales.iter().map(|scale| scale.draw(plan.cells)).collect::<Result<_, _>>()?;
        Ok(Self(Zeroizing::new(drawn)))
    }

    /// Adds it to exact values of the same shape, clamped to 64 bits; `None` if the shapes differ.
    ///
    /// The true sum is formed first and clamped then: clamping what was already measured is post-processing. An
    /// `i64` and a draw of at most 2¹²⁷ − 2⁶⁴ never overflow `i128`; beyond, saturation and clamp give the same bound.
    pub(crate) fn add_to(self, exact: &[Vec<i64>]) -> Option<Vec<Vec<i64>>> {
        let shapes_fit =
            exact.len() == self.0.len() && exact.iter().zip(self.0.iter()).all(|(e, n)| e.len() == n.len());
        shapes_fit.then(|| {
            let add = |(&value, &noise): (&i64, &i128)| clamp_to_i64(i128::from(value).saturating_add(noise));
            exact.iter().zip(self.0.iter()).map(|(e, n)| e.iter().zip(n).map(add).collect()).collect()
        })
    }

    #[cfg(test)]
    pub(crate) fn planted(noise: Vec<Vec<i128>>) -> Self {
        Self(Zeroizing::new(noise))
    }

    #[cfg(test)]
    pub(crate) fn expose(&self) -> &[Vec<i128>] {
        &self.0
    }
}

fn clamp_to_i64(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests;
