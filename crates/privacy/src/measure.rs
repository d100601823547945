use crate::exact::{Exact, ExactCells};
use crate::noise::{Noise, NoiseError, Selected};
use crate::price::Price;
use crate::release::{NoisyVector, Released, SelectedGroups};
use firebreak_domain::Operation;
use firebreak_policy::{OutputKind, Permit};
use firebreak_store::Reservation;

/// A priced query that is permitted and paid for: the third of the states
/// `Submitted` ([`Price`]) → `Permitted` ([`Permit`]) → `Funded` → `Released` ([`Measured`]).
///
/// Each state takes the ones before by value. A permit comes from a decision alone and a reservation from the ledger
/// alone, so that nothing is measured that was not decided and charged, and nothing twice for one charge. The order
/// of an answer is
///
/// 1. decide: [`firebreak_policy::Bundle::decide`] gives the permit;
/// 2. reserve durably: [`firebreak_store::State::reserve`] gives the reservation;
/// 3. [`Funded::release`]: draw the noise, execute, measure;
/// 4. settle: [`firebreak_store::State::settle`] takes [`Measured::reservation`] and the encoded release.
///
/// Dropped at any point, its charge stands, and the same request may run again under it.
#[must_use = "the charge stands: measure under it, or let the same request take it up again"]
pub struct Funded {
    permit: Permit,
    reservation: Reservation,
    price: Price,
}

/// A funded query whose noise is drawn. All that is missing is the engine's answer.
#[must_use = "the charge stands: measure under it, or let the same request take it up again"]
pub struct Armed {
    // Held until the measurement, which uses it up.
    _permit: Permit,
    reservation: Reservation,
    price: Price,
    noise: Noise,
}

/// A release, and the reservation with which it is stored.
#[must_use = "a release is stored before it leaves"]
pub struct Measured {
    /// What may leave, once it is stored.
    pub released: Released,
    /// The charge to settle.
    pub reservation: Reservation,
}

/// Permit, reservation and price do not belong together. A fault of the calling program, not of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FundingError {
    /// The permit is for something other than an aggregate.
    #[error("the permit is not for an aggregate: decide the request that is measured")]
    OtherOperation,
    /// The permit does not cover the datasets and columns that the price is for.
    #[error("the permit covers other data: decide the query that is measured")]
    OtherData,
    /// The contract in force bounds contributions differently from the one under which the query was priced.
    #[error("the contract changed after the query was priced: check and price it again")]
    OtherContract,
    /// The agreement allows neither this mechanism nor this loss for one question.
    #[error("the agreement does not allow this mechanism or this much loss for one question")]
    OtherTerms,
    /// The reservation is for another release.
    #[error("the reservation is for another release: reserve under the price's own release key")]
    OtherRelease,
    /// Less is reserved than the price.
    #[error("less is reserved than the query costs: reserve its price")]
    Underfunded,
}

/// A measurement that did not happen. Its text holds nothing of the engine's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MeasureError {
    /// The engine gave another number of vectors or cells than the query has.
    #[error("the engine's answer does not have the shape of the query")]
    Shape,
    /// The sampler failed: the system gave no randomness.
    #[error("the sampler failed: check the system's source of randomness")]
    Sampler,
}

/// Why [`Funded::release`] released nothing. The charge stands.
#[derive(Debug, thiserror::Error)]
pub enum RunError<E> {
    /// No noise could be drawn; the engine was not asked.
    #[error(transparent)]
    Noise(#[from] NoiseError),
    /// The engine failed.
    #[error("the engine failed")]
    Engine(#[source] E),
    /// The engine's answer could not be measured.
    #[error(transparent)]
    Measure(#[from] MeasureError),
}

impl Funded {
    /// Joins a permit, a reservation and a price, after checking that each covers the next.
    ///
    /// # Errors
    /// [`FundingError`]. Permit and reservation are gone then; the charge stands in the ledger.
    pub fn new(permit: Permit, reservation: Reservation, price: Price) -> Result<Self, FundingError> {
        check_permit(&permit, &price)?;
        if reservation.release_key() != price.release_key() {
            return Err(FundingError::OtherRelease);
        }
        // Part by part: as a limit, an ε of zero would mean that ε is not limited.
        let (paid, owed) = (reservation.charge(), price.charge);
        if paid.rho < owed.rho || paid.delta < owed.delta || paid.epsilon < owed.epsilon {
            return Err(FundingError::Underfunded);
        }
        Ok(Self { permit, reservation, price })
    }

    /// The price that is paid.
    #[must_use]
    pub const fn price(&self) -> &Price {
        &self.price
    }

    /// Draws the noise, on threads of its own: about 4 µs of CPU a primitive and cell, 0.4 s for
    /// a primitive over the most cells that an answer has. From here on the charge is never returned.
    ///
    /// # Errors
    /// [`NoiseError`], if the system gives no randomness or the measurement would lose more than was charged.
    pub async fn draw_noise(self) -> Result<Armed, NoiseError> {
        let Self { permit, reservation, price } = self;
        let plan = price.plan.clone();
        // opendp's measurements are not `Send`: they are made, used and dropped on one thread.
        let noise =
            tokio::task::spawn_blocking(move || Noise::draw(&plan)).await.map_err(|_| NoiseError::Sampler)??;
        reservation.mark_executing();
        Ok(Armed { _permit: permit, reservation, price, noise })
    }

    /// Draws the noise, then calls `execute`, then measures what it gives: the one order in which an adapter answers.
    ///
    /// # Errors
    /// [`RunError`]. The charge stands.
    pub async fn release<E, F>(self, execute: impl FnOnce() -> F) -> Result<Measured, RunError<E>>
    where
        F: Future<Output = Result<Exact<ExactCells>, E>>,
    {
        // PRIVACY: the noise is there before the engine is asked, so that the time between the engine's answer and
        // the release says nothing of the noise. A choice can be made only then; its time is hidden by the tick.
        let armed = self.draw_noise().await?;
        let exact = execute().await.map_err(RunError::Engine)?;
        tokio::task::spawn_blocking(|| armed.measure(exact))
            .await
            .map_err(|_| MeasureError::Sampler)?
            .map_err(Into::into)
    }
}

impl Armed {
    /// Adds the noise and chooses: the one way in which an exact value leaves. To be called where it blocks nobody.
    ///
    /// # Errors
    /// [`MeasureError`]. The charge stands.
    pub fn measure(self, exact: Exact<ExactCells>) -> Result<Measured, MeasureError> {
        let released = release(&self.price, self.noise, exact)?;
        Ok(Measured { released, reservation: self.reservation })
    }
}

/// The measurement M(x) = x + Z, or a choice, cell by cell; `noise` was drawn by the price's own plan.
fn release(price: &Price, noise: Noise, exact: Exact<ExactCells>) -> Result<Released, MeasureError> {
    let exact = exact.into_inner();
    if let Some(selection) = price.plan.selection() {
        let Selected { codes, groups, vectors } = noise.select(&price.plan, exact.codes(), exact.values())?;
        let of_groups = price.sigmas().last().ok_or(MeasureError::Shape)?;
        let selected = SelectedGroups::measured(selection.threshold(), groups, of_groups, codes);
        let vectors = price.sigmas().zip(vectors).map(|(sigma, values)| NoisyVector { sigma, values }).collect();
        return Ok(Released::selected(price.query, price.basis, price.charge, selected, vectors));
    }
    let noisy = noise.measure(exact.values())?;
    if !noisy.iter().map(Vec::len).eq(price.plan.cells().iter().copied()) {
        return Err(MeasureError::Shape);
    }
    let vectors = price.sigmas().zip(noisy).map(|(sigma, values)| NoisyVector { sigma, values }).collect();
    Ok(Released::measured(price.mechanism, price.query, price.basis, price.charge, vectors))
}

fn check_permit(permit: &Permit, price: &Price) -> Result<(), FundingError> {
    let question = permit.question();
    let asks_aggregate = matches!(question.operation, Operation::Aggregate | Operation::Export)
        && question.output == OutputKind::DpAggregate;
    if !asks_aggregate {
        return Err(FundingError::OtherOperation);
    }
    for reads in &price.reads {
        let covers = |access: &firebreak_policy::DatasetAccess| {
            access.dataset == reads.dataset && reads.columns.is_subset(&access.columns)
        };
        if !question.datasets.iter().any(covers) {
            return Err(FundingError::OtherData);
        }
        let contract = permit.contract(&reads.dataset).ok_or(FundingError::OtherData)?;
        if contract.contribution.rows_per_person != reads.rows_per_person {
            return Err(FundingError::OtherContract);
        }
    }
    let agreement = permit.agreement();
    if agreement.mechanism != price.mechanism || price.charge.rho > agreement.budget.rho_per_query_max {
        return Err(FundingError::OtherTerms);
    }
    Ok(())
}
