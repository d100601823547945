use super::{App, Failure, Tick};
use crate::datasets::DatasetError;
use firebreak_audit::{LeafKind, SignedLeaf};
use firebreak_domain::{Charge, Identity, ReasonCode, Refusal};
use firebreak_node::{DecidedQuery, Evidence, SubmittedQuery, decide_query, exhausted, release_payload};
use firebreak_policy::{DecisionFacts, Denial};
use firebreak_privacy::{Funded, Measured, RunError};
use firebreak_store::{RequestKey, Reservation, ReserveError, Reserved, StoreError};
use std::time::Duration;
use tokio::time::Instant;

/// What became of a request.
pub enum Outcome {
    /// A release in its stored form, new or stored before.
    Released(Vec<u8>),
    /// A refusal, with the evidence of it.
    Refused(Refused),
}

/// A refusal and its evidence, which is recorded already.
pub struct Refused {
    /// What the caller is told.
    pub refusal: Refusal,
    /// The evidence.
    pub evidence: Evidence,
}

/// A release as one answer holds it: the noisy numbers, the leaf, and what opens the leaf.
pub struct Parts<'a> {
    /// [`firebreak_privacy::Released::encode`].
    pub release: Vec<u8>,
    /// The leaf.
    pub leaf: &'a SignedLeaf,
    /// What opens it.
    pub opening: &'a firebreak_audit::Opening,
}

impl App {
    /// Answers a request whose caller is `claimed`, on its tick.
    ///
    /// The order: decide, reserve durably, draw noise, execute, measure, store release and leaf in one transaction,
    /// wait for the tick, answer. `encode` gives the bytes in which an answer is stored and sent.
    ///
    /// # Errors
    /// [`Failure`], on the same tick. What was charged stays charged, and the same request may run again.
    pub async fn answer(
        &self,
        submitted: &SubmittedQuery,
        claimed: &Identity,
        encode: impl Fn(&Parts<'_>) -> Vec<u8>,
    ) -> Result<Outcome, Failure> {
        let start = Instant::now();
        let (tick, outcome) = self.answer_now(submitted, claimed, encode).await;
        Tick::wait(start, tick).await;
        outcome
    }

    async fn answer_now(
        &self,
        submitted: &SubmittedQuery,
        claimed: &Identity,
        encode: impl Fn(&Parts<'_>) -> Vec<u8>,
    ) -> (Duration, Result<Outcome, Failure>) {
        let now = self.state.now();
        let decided = match decide_query(submitted, claimed, &self.policy, &self.trust, now) {
            Ok(decided) => decided,
            Err(denial) => return (self.tick.smallest(), self.refuse(denial).await),
        };
        let rows = decided
            .permit
            .contract(decided.query.dataset())
            .map_or(0, |c| c.unit_space.register_size.saturating_mul(u64::from(c.contribution.rows_per_person)));
        let numbers = decided.query.cells() as u64 * decided.query.primitives().len() as u64;
        let tick = self.tick.length(rows, numbers);
        (tick, self.answer_decided(decided, encode).await)
    }

    async fn answer_decided(
        &self,
        decided: DecidedQuery,
        encode: impl Fn(&Parts<'_>) -> Vec<u8>,
    ) -> Result<Outcome, Failure> {
        let facts = decided.permit.facts().clone();
        let contest = decided.permit.agreement().contest.clone();
        let refuse = |refusal: Refusal| {
            self.refuse(Denial { refusal: Refusal { contest: Some(contest), ..refusal }, facts: facts.clone() })
        };
        if let Err(refusal) = self.check_open(&decided.permit) {
            return refuse(refusal).await;
        }
        if let Err(refusal) = self.gate.check(&self.state).await? {
            return refuse(refusal).await;
        }
        let request = RequestKey {
            principal: decided.caller.identity.to_string(),
            request_id: decided.intent.request_id,
            digest: decided.intent.digest(),
        };
        let price = &decided.price;
        let reserved = self.state.reserve(&request, &price.release_key(), price.charge(), &decided.accounts).await;
        let reservation = match reserved {
            Ok(Reserved::Fresh(reservation) | Reserved::Resumed(reservation)) => reservation,
            Ok(Reserved::Stored(stored) | Reserved::Repeat(stored)) => {
                return Ok(Outcome::Released(stored.bytes.to_vec()));
            }
            Err(ReserveError::Exhausted { account, left }) => return refuse(exhausted(account, left)).await,
            Err(error @ (ReserveError::RequestIdReused | ReserveError::RequestChanged)) => {
                let refusal = Refusal::new(ReasonCode::RequestIdReused).because(error.to_string());
                return refuse(refusal).await;
            }
            Err(ReserveError::NoAccount) => return Err(Failure::Measurement(ReserveError::NoAccount.to_string())),
            Err(ReserveError::Store(error)) => return Err(error.into()),
        };
        let measured = self.measure(decided, reservation).await?;
        self.store(measured, &facts, encode).await.map(Outcome::Released)
    }

    async fn measure(&self, decided: DecidedQuery, reservation: Reservation) -> Result<Decided, Failure> {
        let DecidedQuery { permit, query, price, intent, .. } = decided;
        let contract = permit.contract(query.dataset()).cloned().ok_or(Failure::Stored)?;
        let charge = price.charge();
        let failed = |e: &dyn std::error::Error| Failure::Measurement(e.to_string());
        let funded = Funded::new(permit, reservation, price).map_err(|e| failed(&e))?;
        let measured = funded
            .release(|| async {
                let engine = self.datasets.engine(&contract, query.cut()).await?;
                metrics::counter!("firebreak_engine_executions_total").increment(1);
                Ok::<_, DatasetError>(engine.execute(&query).await?)
            })
            .await
            .map_err(|error| match error {
                RunError::Engine(error) => Failure::Dataset(error),
                RunError::Noise(error) => failed(&error),
                RunError::Measure(error) => failed(&error),
            })?;
        Ok(Decided { measured, charge, payload: intent.signing_bytes() })
    }

    async fn store(
        &self,
        decided: Decided,
        facts: &DecisionFacts,
        encode: impl Fn(&Parts<'_>) -> Vec<u8>,
    ) -> Result<Vec<u8>, Failure> {
        let Decided { measured: Measured { released, reservation }, charge, payload } = decided;
        let release = released.encode();
        let payload = release_payload(&payload, &release);
        let evidence = self.recorder.record(LeafKind::Release, facts, None, charge, &payload, &self.state)?;
        let bytes = encode(&Parts { release, leaf: &evidence.leaf, opening: &evidence.opening });
        let stored = self.state.settle(reservation, &bytes, evidence.leaf.as_bytes()).await?;
        Ok(stored.bytes.to_vec())
    }

    /// Records a refusal durably before anybody hears of it.
    pub(crate) async fn refuse(&self, denial: Denial) -> Result<Outcome, Failure> {
        self.record_refusal(denial).await.map(Outcome::Refused)
    }

    pub(crate) async fn record_refusal(&self, denial: Denial) -> Result<Refused, Failure> {
        let Denial { refusal, facts } = denial;
        let reason = Some(refusal.reason);
        let none = Charge::default();
        let evidence = self.recorder.record(LeafKind::Refusal, &facts, reason, none, b"", &self.state)?;
        self.state.record_leaf(evidence.leaf.as_bytes()).await.map_err(|e: StoreError| Failure::Store(e))?;
        tracing::info!(outcome = "refused", reason = %refusal.reason, "request");
        Ok(Refused { refusal, evidence })
    }
}

struct Decided {
    measured: Measured,
    charge: Charge,
    payload: Vec<u8>,
}
