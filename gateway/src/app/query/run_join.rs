//! A statistic over two agencies' join: decided, paid for in full by both registers, run, counted and released.
//!
//! The gateway learns two lists of points and which of them are equal, which is itself differentially private
//! (`docs/JOIN_PRIVACY.md`). It keeps none of the points: they are counted as they come.

mod counting;

use super::parts::{request_id_of_part, unavailable};
use super::{About, App, Asked, Failure, Finished, Given, Held, Unanswered, request_changed};
use crate::app::agencies::{AgencyError, JoinStep, JoinSteps};
use counting::{BadList, Counted, Halted, Lists, counted};
use firebreak_audit::LeafKind;
use firebreak_domain::{Charge, Contract, Identity, JoinSide, OrgId, ReasonCode, Refusal};
use firebreak_node::{
    Content, DecidedJoin, Evidence, StandingJoin, StoredQuestion, decide_join, exhausted, join_session, release_name,
};
use firebreak_policy::Denial;
use firebreak_privacy::Released;
use firebreak_query::{CheckedQuery, Part};
use firebreak_store::{
    Abandoned, Claim, LeafHash, OwnRelease, RequestKey, Reservation, ReserveError, Settled, StoredRelease,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// The longest that a side may take over a step, beside what its and the other's declared register take.
const STEP: Duration = Duration::from_secs(120);
/// The longest that an agency may take to record what it is told.
const TOLD: Duration = Duration::from_secs(5);
/// For each person of both registers: reading, blinding, sorting, and the ticks that hide how long those took.
const PER_PERSON: Duration = Duration::from_micros(500);
/// The longest between two decisions on a join that runs.
const DECIDED_EVERY: Duration = Duration::from_millis(500);

/// A question over a join that is permitted and paid for, here.
pub struct AcceptedJoin {
    decided: DecidedJoin,
    /// Of the left register's charge, and of the right one's.
    held: [Held; 2],
    caller: Identity,
}

impl AcceptedJoin {
    /// The question that is answered.
    #[must_use]
    pub const fn answered(&self) -> &CheckedQuery {
        self.decided.join.answered()
    }

    /// The price to both registers together.
    #[must_use]
    pub const fn cost(&self) -> Charge {
        self.decided.cost
    }
}

impl App {
    /// Decides a question over a join, prices it, and charges both registers, or finds its release.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn accept_join(&self, asked: &Asked, caller: &Identity) -> Result<AcceptedJoin, Unanswered> {
        let intent = asked.submitted.intent(caller);
        let decided = match decide_join(&asked.submitted, caller, &self.policy, &self.trust, self.state.now()) {
            Ok(decided) => decided,
            Err(denial) => return Err(self.refuse(denial, Some(&intent)).await),
        };
        let open = |side: JoinSide| self.check_open(&decided.permit, decided.join.side(side).query());
        let refused = self.check_ledger().and_then(|()| open(JoinSide::Left)).and_then(|()| open(JoinSide::Right));
        if let Err(refusal) = refused {
            return Err(self.refuse(denied(&decided, refusal), Some(&intent)).await);
        }
        let claims = JoinSide::BOTH.map(|side| claim(&decided, side, caller));
        let refusal = match self.reserve(&claims).await {
            Ok(reserved) => {
                let mut held = reserved.into_iter().map(Held::from);
                let (Some(left), Some(right)) = (held.next(), held.next()) else {
                    return Err(Failure::Answer("a join without two sides").into());
                };
                if still_answers(&left, &decided)? {
                    return Ok(AcceptedJoin { decided, held: [left, right], caller: caller.clone() });
                }
                // Its contracts or terms changed since it was answered.
                request_changed(ReserveError::RequestChanged)
            }
            Err(ReserveError::Exhausted { account, left }) => exhausted(account, left),
            Err(error @ (ReserveError::RequestIdReused | ReserveError::RequestChanged | ReserveError::OtherYear)) => {
                request_changed(error)
            }
            Err(ReserveError::NoAccount) => return Err(Failure::Answer("no account bears the loss").into()),
            Err(ReserveError::Store(error)) => return Err(error.into()),
        };
        Err(self.refuse(denied(&decided, refusal), Some(&intent)).await)
    }

    /// Has both agencies run their sides and counts what they send, or takes the stored release; then puts the evidence
    /// into the log.
    ///
    /// # Errors
    /// [`Unanswered`]. What was charged stays charged once both agencies have said that they take part.
    pub async fn finish_join(&self, accepted: AcceptedJoin, asked: &Asked) -> Result<Finished, Unanswered> {
        let AcceptedJoin { decided, held, caller } = accepted;
        let (facts, intent, charge) = (decided.permit.facts(), &decided.intent, decided.cost);
        let about = About { facts, intent, exported: false, charge };
        let given = match held {
            [Held::Own(own), _] => self.give_join_again(own, &about).await?,
            [Held::Repeat(stored), _] => self.give_repeat(&stored, &about).await?,
            [Held::Reservation(left), Held::Reservation(right)] => {
                self.join(&decided, &caller, asked, [left, right], &about).await?
            }
            [Held::Reservation(_), _] => return Err(Failure::Answer("a release of one side alone").into()),
        };
        let released = Released::decode(&given.release).map_err(|_| Failure::Answer("a stored answer"))?;
        let answer =
            released.answer_join(&decided.join).map_err(|_| Failure::Answer("the release is of another question"))?;
        let mut accounts = decided.left.accounts.clone();
        accounts.extend(decided.right.accounts.iter().filter(|a| !decided.left.accounts.contains(a)).cloned());
        Ok(Finished {
            answer,
            release_id: release_name(&given.release),
            receipt: given.receipt,
            left: self.budgets(&accounts),
            rolled_up: false,
            parts: Vec::new(),
            missing: Vec::new(),
            registrations: false,
            joined: true,
            bins: decided.join.bins().cloned(),
            left_out: Vec::new(),
        })
    }

    async fn join(
        &self,
        decided: &DecidedJoin,
        caller: &Identity,
        asked: &Asked,
        reserved: [Reservation; 2],
        about: &About<'_>,
    ) -> Result<Given, Unanswered> {
        // What one agency refuses is not charged by the other.
        if let Err(halted) = self.both_take_part(decided, caller, asked).await {
            let mut given_back = true;
            for reservation in reserved {
                given_back &= self.state.abandon(reservation).await? == Abandoned::Refunded;
            }
            let charged = if given_back { "nothing was charged" } else { "what was charged stays charged" };
            return Err(self.halted(halted, decided, charged).await);
        }
        for reservation in &reserved {
            reservation.mark_executing();
        }
        let standing = decided.standing();
        let ran = tokio::select! {
            denial = self.until_join_refused(&standing) => return Err(self.refuse(denial, Some(about.intent)).await),
            ran = self.run_both(decided, caller, asked) => ran,
        };
        match ran {
            Ok((counted, evidence)) => self.store_join(decided, asked, &counted, evidence, reserved, about).await,
            Err(halted) => {
                let kept = "what was charged pays for the same request again, which goes on where it broke off";
                Err(self.halted(halted, decided, kept).await)
            }
        }
    }

    /// Whether both agencies would take part now.
    async fn both_take_part(&self, decided: &DecidedJoin, caller: &Identity, asked: &Asked) -> Result<(), Halted> {
        let check = async |side: JoinSide| {
            let agency = &decided.side(side).contract.agency;
            match within(STEP, agency, self.agencies.check_join(agency, caller, asked)).await? {
                None => Ok(()),
                Some(refused) => Err(Halted::Refused(agency.clone(), Box::new(refused))),
            }
        };
        let (left, right) = tokio::join!(check(JoinSide::Left), check(JoinSide::Right));
        left.and(right)
    }

    async fn run_both(
        &self,
        decided: &DecidedJoin,
        caller: &Identity,
        asked: &Asked,
    ) -> Result<(Counted, [Evidence; 2]), Halted> {
        let (one, other) = (&decided.left.contract, &decided.right.contract);
        let session = join_session(caller, &decided.intent);
        let flight = self.joins.begin(session, one.agency.clone(), other.agency.clone());
        let flight = flight.map_err(Halted::Here)?;
        let bound = bound(one, other);
        let ((mut left, of_left), (mut right, of_right)) = tokio::try_join!(
            self.begin_side(one, decided, caller, asked, bound),
            self.begin_side(other, decided, caller, asked, bound)
        )?;
        let sizes = async |contract: &Contract, side: JoinSide, steps: &mut Box<dyn JoinSteps>| {
            let agency = &contract.agency;
            match next(steps, agency, bound).await? {
                JoinStep::Prepared(sizes) if sizes.len() == usize::from(decided.join.side(side).labels()) => Ok(sizes),
                step => Err(out_of_turn(step, agency)),
            }
        };
        let (left_sizes, right_sizes) =
            tokio::try_join!(sizes(one, JoinSide::Left, &mut left), sizes(other, JoinSide::Right, &mut right))?;
        flight.is_prepared();
        let sides = [(one.agency.clone(), left, left_sizes), (other.agency.clone(), right, right_sizes)];
        let mut lists = Lists { law: decided.price.law().clone(), sides, bound };
        let counted = counted(&mut lists).await;
        if let Err(Halted::List(found)) = &counted {
            self.report(session, found.clone(), lists);
        }
        Ok((counted?, [of_left, of_right]))
    }

    /// Tells both agencies what was found in one of their lists, while the caller hears of it and this gateway's own log
    /// says it. Both sides run until their steps are dropped.
    fn report(&self, session: [u8; 32], found: BadList, lists: Lists) {
        let agencies = Arc::clone(&self.agencies);
        tokio::spawn(async move {
            let tell = async |agency: &OrgId| {
                let sent_on = found.sender == *agency;
                let telling = agencies.report_join_fault(agency, &session, found.reason, sent_on);
                if within(TOLD, agency, telling).await.is_err() {
                    tracing::warn!(agency = %agency, reason = %found.reason, "an agency was not told of a fault in a join");
                }
            };
            let [(left, ..), (right, ..)] = &lists.sides;
            tokio::join!(tell(left), tell(right));
        });
    }

    /// Has an agency begin its side, and brings its commitment into the log.
    async fn begin_side(
        &self,
        contract: &Contract,
        decided: &DecidedJoin,
        caller: &Identity,
        asked: &Asked,
        bound: Duration,
    ) -> Result<(Box<dyn JoinSteps>, Evidence), Halted> {
        let agency = &contract.agency;
        let mut steps = within(bound, agency, self.agencies.run_join(agency, caller, asked)).await?;
        let evidence = match next(&mut steps, agency, bound).await? {
            JoinStep::Committed(evidence) => evidence,
            step => return Err(out_of_turn(step, agency)),
        };
        let leaf = evidence.leaf.leaf();
        let of_side =
            leaf.kind == LeafKind::JoinCommitted && leaf.signer_org == *agency && leaf.charge == decided.price.charge();
        if !of_side {
            return Err(Halted::Failed(Failure::Answer("the agency's evidence is of something else")));
        }
        let failed = |error: Failure| Halted::Failed(error);
        self.state.record_leaf(evidence.new_leaf()).await.map_err(|error| failed(error.into()))?;
        let index = self.log.append(evidence.entry()).await.map_err(|error| failed(error.into()))?;
        let hash = LeafHash::of(evidence.leaf.as_bytes());
        self.state.confirm(&[(hash, index)]).await.map_err(|error| failed(error.into()))?;
        Ok((steps, evidence))
    }

    /// Decides again and again on a join that runs, and returns when it may no longer.
    async fn until_join_refused(&self, standing: &StandingJoin) -> Denial {
        loop {
            tokio::time::sleep(DECIDED_EVERY).await;
            if let Err(denial) = standing.check(&self.policy, self.state.now()) {
                return denial;
            }
        }
    }

    async fn store_join(
        &self,
        decided: &DecidedJoin,
        asked: &Asked,
        counted: &Counted,
        evidence: [Evidence; 2],
        reserved: [Reservation; 2],
        about: &About<'_>,
    ) -> Result<Given, Unanswered> {
        let release = decided.price.release(&decided.join, &counted.cells);
        let release = release.map_err(|_| Failure::Answer("the counts are of another question"))?.encode();
        let content =
            counted.sent.iter().fold(Content::of_release(about.intent, &release), |content, (agency, hash)| {
                content.with_line(&format!("counted from {agency} sha256 {}", hex::encode(hash)))
            });
        let own = self.recorder.record(LeafKind::Release, about.facts, None, about.charge, content, &self.state)?;
        let asked = asked.submitted.query.as_ref().map_err(|_| Failure::Answer("an answer to no question"))?;
        let question = StoredQuestion::encode(asked, decided.join.answered());
        let [of_left, of_right] = evidence;
        let all = Evidence::encode_join([&own, &of_left, &of_right]);
        let [left, right] = reserved;
        let settled = self.state.settle_asked(left, &release, &all, own.new_leaf(), &question).await?;
        // One release answers for both charges: that of the other register finds it stored.
        self.state.settle(right, &release, &all, own.new_leaf()).await?;
        match settled {
            Settled::Now(stored) => {
                let index = self.log.append(own.entry()).await?;
                self.state.confirm(&[(LeafHash::of(own.leaf.as_bytes()), index)]).await?;
                let receipt = self.receipts([own, of_left, of_right]).await?;
                Ok(Given { release: stored.bytes, receipt })
            }
            Settled::Stored(own) => Ok(self.give_join_again(own, about).await?),
            Settled::Repeat(stored) => Ok(self.give_repeat(&stored, about).await?),
        }
    }

    /// This very request's release again, with its first receipts.
    async fn give_join_again(&self, own: OwnRelease, about: &About<'_>) -> Result<Given, Failure> {
        let first = Evidence::decode_join(&own.evidence).ok_or(Failure::Answer("stored evidence"))?;
        let again = self.given_again(&own.release, about)?;
        self.log.append(again.entry()).await?;
        let receipt = self.receipts(first).await?;
        Ok(Given { release: own.release.bytes, receipt })
    }

    /// The gateway's receipt of a release, and behind it each agency's of its commitment.
    async fn receipts(&self, evidence: [Evidence; 3]) -> Result<String, Failure> {
        let mut receipts = String::new();
        for evidence in evidence {
            receipts.push_str(&self.log.receipt(evidence).await?);
        }
        Ok(receipts)
    }

    /// What the caller is told of a join that did not come to its end.
    async fn halted(&self, halted: Halted, decided: &DecidedJoin, charged: &str) -> Unanswered {
        let intent = &decided.intent;
        let refusal = match halted {
            Halted::Failed(failure) => return failure.into(),
            Halted::Refused(agency, mut refused) => {
                let Refusal { reason, detail, .. } = &refused.refusal;
                let said = if detail.is_empty() { reason.rule() } else { detail };
                refused.refusal.detail = format!("{agency}: {said}; {charged}");
                let contest = decided.permit.agreement().contest.clone();
                return self.refused_by_agency(*refused, &agency, intent, contest).await;
            }
            Halted::Here(refusal) => refusal,
            Halted::List(found) => found.refusal(),
            Halted::Silent(agency, what) => {
                let contract = JoinSide::BOTH.map(|side| &decided.side(side).contract);
                let dataset = contract.into_iter().find(|contract| contract.agency == agency).map(|c| c.id.clone());
                match dataset {
                    Some(dataset) => {
                        let why = format!("{agency} {what}; {charged}");
                        unavailable(&[(Part { agency, dataset }, why)], false)
                    }
                    None => Refusal::new(ReasonCode::AgencyUnavailable),
                }
            }
        };
        self.refuse(denied(decided, refusal), Some(intent)).await
    }
}

/// What is reserved for one register.
fn claim(decided: &DecidedJoin, side: JoinSide, caller: &Identity) -> Claim {
    let of = decided.side(side);
    let part = Part { agency: of.contract.agency.clone(), dataset: of.contract.id.clone() };
    let request_id = match side {
        JoinSide::Left => decided.intent.request_id,
        JoinSide::Right => request_id_of_part(&decided.intent.request_id, &part),
    };
    Claim {
        key: RequestKey { principal: caller.to_string(), request_id, digest: decided.intent.digest() },
        release_key: decided.price.release_key(),
        charge: decided.price.charge(),
        accounts: of.accounts.clone(),
    }
}

/// Whether what is stored for the request answers it still.
fn still_answers(held: &Held, decided: &DecidedJoin) -> Result<bool, Failure> {
    let (Held::Own(OwnRelease { release, .. }) | Held::Repeat(release)) = held else { return Ok(true) };
    let StoredRelease { bytes, .. } = release;
    let released = Released::decode(bytes).map_err(|_| Failure::Answer("a stored answer"))?;
    Ok(released.check(decided.join.counted()).is_ok() && released.charge() == decided.price.charge())
}

fn denied(decided: &DecidedJoin, refusal: Refusal) -> Denial {
    let contest = Some(decided.permit.agreement().contest.clone());
    Denial { refusal: Refusal { contest, ..refusal }, facts: decided.permit.facts().clone() }
}

/// How long a step may take, by what both contracts declare.
fn bound(one: &Contract, other: &Contract) -> Duration {
    let persons = one.unit_space.register_size.saturating_add(other.unit_space.register_size);
    STEP.saturating_add(PER_PERSON.saturating_mul(u32::try_from(persons).unwrap_or(u32::MAX)))
}

async fn within<T>(
    bound: Duration,
    agency: &OrgId,
    answer: impl Future<Output = Result<T, AgencyError>>,
) -> Result<T, Halted> {
    match timeout(bound, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(AgencyError::NotConnected)) => Err(Halted::Silent(agency.clone(), "is not connected")),
        Ok(Err(AgencyError::Lost | AgencyError::Unreadable)) => Err(Halted::Silent(agency.clone(), "gave no answer")),
        Err(_) => Err(Halted::Silent(agency.clone(), "gave no answer in time")),
    }
}

async fn next(steps: &mut Box<dyn JoinSteps>, agency: &OrgId, bound: Duration) -> Result<JoinStep, Halted> {
    within(bound, agency, steps.next()).await
}

/// A step that ends the join here: a refusal, or one that has no place now.
fn out_of_turn(step: JoinStep, agency: &OrgId) -> Halted {
    match step {
        JoinStep::Refused(refused) => Halted::Refused(agency.clone(), Box::new(refused)),
        JoinStep::Committed(_) | JoinStep::Prepared(_) | JoinStep::Points(_) | JoinStep::Sent => {
            Halted::Failed(Failure::Answer("the steps of a join"))
        }
    }
}
