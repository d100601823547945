use crate::accuracy::{deviations, tails};
use crate::noise::{NoiseError, NoisePlan, Selection};
use firebreak_domain::{Charge, Delta, Mechanism, Rho};
use firebreak_query::{Basis, CheckedQuery, INTERVAL_95, Reads};
use firebreak_store::ReleaseKey;
use sha2::{Digest, Sha256};

/// What an answer to one checked query costs, and the noise that it will carry.
///
/// It follows from the query, its contract and the loss alone, never from data: two neighbouring datasets, and any
/// two others, have the same prices. It is the same whether or not the answer is already stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Price {
    pub(crate) mechanism: Mechanism,
    pub(crate) charge: Charge,
    pub(crate) plan: NoisePlan,
    /// SHA-256 of the query's canonical form.
    pub(crate) query: [u8; 32],
    pub(crate) basis: Basis,
    pub(crate) reads: Vec<Reads>,
}

/// Prices `query` at the loss `rho` under `mechanism`.
///
/// The charge is `rho` in full, or under pure DP the largest ε with ε²/2 ≤ `rho` (Bun and Steinke 2016, proposition
/// 1.4), split over the query's vectors as [`NoisePlan::of`] and [`NoisePlan::of_epsilon`] say; each one's scale
/// follows from its share and from its sensitivity under the contract's bound on contributions. Where groups are
/// selected, δ is charged beside it ([`SELECTION_DELTA`](crate::SELECTION_DELTA)).
///
/// # Errors
/// [`NoiseError`], if no noise fits; independent of the data.
pub fn price(query: &CheckedQuery, mechanism: Mechanism, rho: Rho) -> Result<Price, NoiseError> {
    let (charge, plan) = match mechanism {
        Mechanism::DiscreteGaussian => {
            let plan = NoisePlan::of(query, rho)?;
            // A group that one person makes appear is outside of what ρ bounds.
            let delta = plan.selection().map_or(Delta::default(), Selection::delta);
            (Charge { delta, ..Charge::of_rho(rho) }, plan)
        }
        Mechanism::DiscreteLaplace => {
            let epsilon = rho.to_epsilon();
            (Charge::of_epsilon(epsilon), NoisePlan::of_epsilon(query, epsilon)?)
        }
        Mechanism::MatchingDummies => return Err(NoiseError::OfAJoin),
    };
    Ok(Price {
        mechanism,
        charge,
        plan,
        query: query.canonical().digest(),
        basis: *query.basis(),
        reads: query.reads().to_vec(),
    })
}

/// The least loss, to within a few units of 10⁻⁹, at which the 95 % interval of every output that is linear in the
/// primitives ([`CheckedOutput::is_linear`](firebreak_query::CheckedOutput::is_linear)) is at most ± `half_width`, in
/// every cell; `None` if none is linear, or no loss up to `most` is enough. It reads no data.
///
/// The interval is that of the answer ([`Released::answer`](crate::Released::answer)), under either mechanism.
#[must_use]
pub fn rho_for_half_width(query: &CheckedQuery, mechanism: Mechanism, half_width: f64, most: Rho) -> Option<Rho> {
    let of_a_deviation = INTERVAL_95 * tails(mechanism);
    let at = |nano: u64| {
        let price = price(query, mechanism, Rho::from_nano(nano)).ok()?;
        let error = query.linear_error(&deviations(query, mechanism, price.sigmas()))?;
        Some(of_a_deviation * error)
    };
    let enough = |nano: u64| at(nano).is_some_and(|found| found <= half_width);
    // Both σ and b fall with the root of ρ, but for the rounding of shares: near the price that this gives it is
    // looked for.
    let largest = at(most.nano()).filter(|largest| *largest <= half_width)?;
    let guess = most.nano() as f64 * (largest / half_width).powi(2);
    let mut low = (guess * 0.999_999 - 128.0) as u64;
    let mut high = ((guess * 1.000_001 + 128.0) as u64).min(most.nano());
    if enough(low) {
        low = 0;
    }
    if !enough(high) {
        high = most.nano();
    }
    while high - low > 1 {
        let middle = low.midpoint(high);
        if enough(middle) { high = middle } else { low = middle }
    }
    Some(Rho::from_nano(high))
}

impl Price {
    /// What every person of the unit space, the agreement and the caller are charged.
    #[must_use]
    pub const fn charge(&self) -> Charge {
        self.charge
    }

    /// How the noise will be drawn.
    #[must_use]
    pub const fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// What is released at this price, for [`firebreak_store::State::reserve`]: one release answers all that share the
    /// canonical query (which names its cut), the basis that the contract gives its numbers, the loss, the mechanism
    /// and the noise. The loss counts because the canonical form of a query that names none says only that the
    /// agreement's is meant, and agreements differ.
    ///
    /// A contract that changes nothing of what the query rests on leaves the key as it is. One that does gives another
    /// key and refills nothing: accounts belong to the unit space, and the key takes no part in what is charged.
    #[must_use]
    pub fn release_key(&self) -> ReleaseKey {
        let mut hash = Sha256::new()
            .chain_update(b"firebreak release key format 2\n")
            .chain_update(self.query)
            .chain_update(self.basis.as_bytes())
            .chain_update(self.charge.rho.nano().to_be_bytes())
            .chain_update(self.charge.delta.atto().to_be_bytes())
            .chain_update(self.charge.epsilon.nano().to_be_bytes());
        // What has no fixed length stands behind its length.
        let mechanism = self.mechanism.as_str();
        hash.update((mechanism.len() as u64).to_be_bytes());
        hash.update(mechanism);
        hash.update((self.plan.scales().len() as u64).to_be_bytes());
        for (sigma, cells) in self.sigmas().zip(self.plan.cells()) {
            hash.update(sigma.to_bits().to_be_bytes());
            hash.update((*cells as u64).to_be_bytes());
        }
        ReleaseKey::from_bytes(hash.finalize().into())
    }

    /// The noise, vector by vector.
    #[must_use]
    pub const fn plan(&self) -> &NoisePlan {
        &self.plan
    }

    /// The scale of the noise on each vector ([`Scale::sigma`](crate::Scale::sigma)), in the primitive's fixed point,
    /// in the order of [`CheckedQuery::vectors`].
    pub fn sigmas(&self) -> impl ExactSizeIterator<Item = f64> {
        self.plan.scales().iter().map(crate::Scale::sigma)
    }
}
