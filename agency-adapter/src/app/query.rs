use super::{App, Failure, Tick};
use crate::datasets::DatasetError;
use crate::source::SourceError;
use firebreak_audit::LeafKind;
use firebreak_domain::{Charge, Contract, Identity, Intent, ReasonCode, Refusal};
use firebreak_node::{Content, DecidedQuery, Evidence, SubmittedQuery, decide_query, exhausted};
use firebreak_policy::{DecisionFacts, Denial};
use firebreak_privacy::{Funded, Measured, Released, RunError};
use firebreak_query::Reads;
use firebreak_store::{Abandoned, OwnRelease, RequestKey, Reservation, ReserveError, Reserved, Settled, StoredRelease};
use futures::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What became of a request.
pub enum Outcome {
    /// A release, new or stored before.
    Released(Answered),
    /// A refusal, with the evidence of it.
    Refused(Refused),
}

/// A release and evidence of this very request for it.
pub struct Answered {
    /// [`firebreak_privacy::Released::encode`].
    pub release: Arc<[u8]>,
    /// The evidence, which is recorded already.
    pub evidence: Evidence,
}

/// A refusal and its evidence, which is recorded already.
pub struct Refused {
    /// What the caller is told.
    pub refusal: Refusal,
    /// The evidence.
    pub evidence: Evidence,
}

impl App {
    /// Answers a request whose caller is `claimed`, on its tick.
    ///
    /// The order: decide, reserve durably, draw noise, execute, measure, store release and leaf in one transaction,
    /// wait for the tick, answer. What was released before is given again with a leaf of its own, stored before it
    /// leaves.
    ///
    /// # Errors
    /// [`Failure`], on the same tick. What was charged stays charged, and the same request may run again.
    pub async fn answer(&self, submitted: &SubmittedQuery, claimed: &Identity) -> Result<Outcome, Failure> {
        let start = Instant::now();
        let (tick, outcome) = self.answer_now(submitted, claimed).await;
        Tick::wait(start, tick).await;
        outcome
    }

    async fn answer_now(&self, submitted: &SubmittedQuery, claimed: &Identity) -> (Duration, Result<Outcome, Failure>) {
        let now = self.state.now();
        let decided = match decide_query(submitted, claimed, &self.policy, &self.trust, now) {
            Ok(decided) => decided.of_agency(self.recorder.organisation()),
            Err(denial) => Err(denial),
        };
        let decided = match decided {
            Ok(decided) => decided,
            Err(denial) => return (self.tick.smallest(), self.refuse(denial, Some(&submitted.intent(claimed))).await),
        };
        let tick = self.tick.length(self.work(&decided));
        // PRIVACY: what dies half-way, on whatever it met in the data, waits for its tick like any answer. Its charge
        // stands: the reservation is gone, and with it the right to a refund.
        let ended = AssertUnwindSafe(self.answer_decided(decided)).catch_unwind().await;
        (tick, ended.unwrap_or(Err(Failure::Died)))
    }

    async fn answer_decided(&self, decided: DecidedQuery) -> Result<Outcome, Failure> {
        let facts = decided.facts();
        let contest = decided.permit.agreement().contest.clone();
        let intent = decided.intent.clone();
        let refuse = |refusal: Refusal| {
            let denial = Denial { refusal: Refusal { contest: Some(contest), ..refusal }, facts: facts.clone() };
            self.refuse(denial, Some(&intent))
        };
        if let Err(refusal) = self.check_open(&decided.permit, decided.query.reads()) {
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
            Ok(Reserved::Stored(own)) => {
                return match still_answers(&own.release, &decided)? {
                    Ok(()) => Ok(Outcome::Released(again(own)?)),
                    Err(refusal) => refuse(refusal).await,
                };
            }
            Ok(Reserved::Repeat(stored)) => {
                return match still_answers(&stored, &decided)? {
                    Ok(()) => Ok(Outcome::Released(self.repeat(&stored, &facts, &decided.intent).await?)),
                    Err(refusal) => refuse(refusal).await,
                };
            }
            Err(ReserveError::Exhausted { account, left }) => return refuse(exhausted(account, left)).await,
            Err(error @ (ReserveError::RequestIdReused | ReserveError::RequestChanged | ReserveError::OtherYear)) => {
                return refuse(request_changed(error)).await;
            }
            Err(ReserveError::NoAccount) => return Err(Failure::Measurement(ReserveError::NoAccount.to_string())),
            Err(ReserveError::Store(error)) => return Err(error.into()),
        };
        // What the bindings do not serve never runs, and is not paid for.
        let datasets: Vec<_> = decided.query.reads().iter().map(|reads| &reads.dataset).collect();
        if let Err(error) = self.datasets.check(&datasets, decided.query.cut()) {
            return match self.state.abandon(reservation).await? {
                Abandoned::Refunded => {
                    tracing::warn!(error_kind = %error, "a question that the bindings do not serve");
                    refuse(not_served(&error)).await
                }
                // It was asked before, and served then: what was charged stays charged.
                Abandoned::Kept => Err(Failure::Dataset(error)),
            };
        }
        let measured = self.measure(decided, reservation).await?;
        self.store(measured, &facts).await.map(Outcome::Released)
    }

    async fn measure(&self, decided: DecidedQuery, reservation: Reservation) -> Result<Decided, Failure> {
        let DecidedQuery { permit, query, price, intent, .. } = decided;
        let contract = |reads: &Reads| permit.contract(&reads.dataset).map(|contract| Contract::clone(contract));
        let contracts: Vec<Contract> =
            query.reads().iter().map(contract).collect::<Option<_>>().ok_or(Failure::Stored)?;
        let charge = price.charge();
        let failed = |e: &dyn std::error::Error| Failure::Measurement(e.to_string());
        let funded = Funded::new(permit, reservation, price).map_err(|e| failed(&e))?;
        let measured = funded
            .release(|| async {
                let engine = self.datasets.engine(&contracts, query.cut()).await?;
                metrics::counter!("firebreak_engine_executions_total").increment(1);
                Ok::<_, DatasetError>(engine.execute(&query).await?)
            })
            .await
            .map_err(|error| match error {
                RunError::Engine(error) => Failure::Dataset(error),
                RunError::Noise(error) => failed(&error),
                RunError::Measure(error) => failed(&error),
            })?;
        Ok(Decided { measured, charge, intent })
    }

    async fn store(&self, decided: Decided, facts: &DecisionFacts) -> Result<Answered, Failure> {
        let Decided { measured: Measured { released, reservation }, charge, intent } = decided;
        let release = released.encode();
        let content = Content::of_release(&intent, &release);
        let evidence = self.recorder.record(LeafKind::Release, facts, None, charge, content, &self.state)?;
        let settled = self.state.settle(reservation, &release, &evidence.encode(), evidence.new_leaf()).await?;
        match settled {
            Settled::Now(stored) => Ok(Answered { release: stored.bytes, evidence }),
            Settled::Stored(own) => again(own),
            // What was measured here never leaves; the charge stands.
            Settled::Repeat(stored) => self.repeat(&stored, facts, &intent).await,
        }
    }

    /// What another request was answered, with a leaf and an opening of this one.
    // PRIVACY: the opening of a release holds what its first caller signed.
    async fn repeat(
        &self,
        stored: &StoredRelease,
        facts: &DecisionFacts,
        intent: &Intent,
    ) -> Result<Answered, Failure> {
        let (none, content) = (Charge::default(), Content::of_release(intent, &stored.bytes));
        let evidence = self.recorder.record(LeafKind::StoredRelease, facts, None, none, content, &self.state)?;
        self.state.record_leaf(evidence.new_leaf()).await?;
        Ok(Answered { release: Arc::clone(&stored.bytes), evidence })
    }

    async fn refuse(&self, denial: Denial, intent: Option<&Intent>) -> Result<Outcome, Failure> {
        self.record_refusal(denial, intent).await.map(Outcome::Refused)
    }

    /// Records the refusal of a request, if it could be read, durably before anybody hears of it.
    pub(crate) async fn record_refusal(&self, denial: Denial, intent: Option<&Intent>) -> Result<Refused, Failure> {
        let Denial { refusal, facts } = denial;
        let (reason, none, content) = (Some(refusal.reason), Charge::default(), Content::of_request(intent));
        let evidence = self.recorder.record(LeafKind::Refusal, &facts, reason, none, content, &self.state)?;
        self.state.record_leaf(evidence.new_leaf()).await?;
        tracing::info!(outcome = "refused", reason = %refusal.reason, "request");
        Ok(Refused { refusal, evidence })
    }
}

struct Decided {
    measured: Measured,
    charge: Charge,
    intent: Intent,
}

/// A request's own release, with its first evidence.
fn again(own: OwnRelease) -> Result<Answered, Failure> {
    let evidence = Evidence::decode(&own.evidence).ok_or(Failure::Stored)?;
    Ok(Answered { release: own.release.bytes, evidence })
}

/// Whether what was stored for a request answers it still, under the contract in force.
fn still_answers(stored: &StoredRelease, decided: &DecidedQuery) -> Result<Result<(), Refusal>, Failure> {
    let released = Released::decode(&stored.bytes).map_err(|_| Failure::Stored)?;
    let same = released.check(&decided.query).is_ok() && released.charge() == decided.price.charge();
    Ok(if same { Ok(()) } else { Err(request_changed(ReserveError::RequestChanged)) })
}

/// What a caller is told follows from contracts and bindings alone.
pub(super) fn not_served(error: &DatasetError) -> Refusal {
    let refusal = Refusal::new(ReasonCode::NotServed);
    match error {
        DatasetError::NotBound(dataset) => refusal.because(format!("{dataset} is bound to no file yet")),
        DatasetError::Source(dataset, SourceError::NoFile(cut)) => {
            refusal.because(format!("{dataset} has no file of the cut {cut} yet"))
        }
        DatasetError::Join(_) => refusal.because("one of the datasets has no key of its persons to join them by"),
        _ => refusal,
    }
    .instead("ask of another cut or dataset; the contract names the controller, who can have it bound")
}

pub(super) fn request_changed(error: ReserveError) -> Refusal {
    Refusal::new(ReasonCode::RequestIdReused).because(error.to_string())
}
