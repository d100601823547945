//! Preparing a side of a join: decision, charge, records, own list, commitment.

use super::exchange::Exchange;
use super::form::Forming;
use super::lists::{self, JoinList};
use super::{JoinRun, PreparedJoin, facts_of, leaf_of, lost, party, psi_side, refusal_of};
use crate::app::matching::MatchError;
use crate::app::query::{Refused, not_served, request_changed};
use crate::app::{App, Failure, Tick};
use firebreak_audit::LeafKind;
use firebreak_domain::{
    Contract, Identity, JoinSide, JoinTerms, LegalBasis, PurposeId, ReasonCode, Refusal, Timestamp,
};
use firebreak_node::{
    Content, DecidedJoin, Evidence, StoredQuestion, SubmittedQuery, decide_join, exhausted, join_session,
};
use firebreak_policy::Denial;
use firebreak_psi::join::{JoinParams, JoinParty};
use firebreak_psi::{Normaliser, PsiError, SecretSeed};
use firebreak_query::{AggregateQuery, CheckedSide};
use firebreak_records::{Agreed, Committed, Drawn, commitment_lines, join_key_hash};
use firebreak_store::{Participation, RequestKey, ReserveError, Reserved, SessionFiles};
use futures::FutureExt;
use std::iter;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::block_in_place;
use tokio::time::Instant;
use zeroize::Zeroizing;

/// Seconds of a day.
const DAY: i64 = 24 * 3600;

impl App {
    /// Whether this agency would take part in a join now: decides, and looks whether it is open and served. Charges
    /// nothing. What is refused is recorded.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn check_join(
        &self,
        submitted: &SubmittedQuery,
        claimed: &Identity,
    ) -> Result<Result<(), Refused>, Failure> {
        let start = Instant::now();
        let checked = self.checked_join(submitted, claimed).await;
        Tick::wait(start, self.tick.smallest()).await;
        Ok(match checked? {
            Ok(_) => Ok(()),
            Err(refused) => Err(refused),
        })
    }

    /// Decides again, as one side of a join, charges its persons in full, forms its records and makes its own list, and
    /// commits to seed and list in a leaf: on a tick that follows from the declared register. The same request again
    /// costs nothing and has the same list.
    ///
    /// # Errors
    /// [`Failure`], on the same tick. What was charged stays charged.
    // PRIVACY: from the charge on, whatever becomes of the session, nothing is given back.
    pub async fn prepare_join(
        &self,
        submitted: &SubmittedQuery,
        claimed: &Identity,
    ) -> Result<Result<PreparedJoin, Refused>, Failure> {
        let start = Instant::now();
        let (tick, prepared) = self.prepare_join_now(submitted, claimed).await;
        Tick::wait(start, tick).await;
        prepared
    }

    async fn prepare_join_now(
        &self,
        submitted: &SubmittedQuery,
        claimed: &Identity,
    ) -> (Duration, Result<Result<PreparedJoin, Refused>, Failure>) {
        let (decided, side) = match self.checked_join(submitted, claimed).await {
            Ok(Ok(decided)) => decided,
            Ok(Err(refused)) => return (self.tick.smallest(), Ok(Err(refused))),
            Err(failure) => return (self.tick.smallest(), Err(failure)),
        };
        let register = decided.side(side).contract.unit_space.register_size;
        // PRIVACY: what is public of the work: as many dummies as could be drawn, and not as many as were.
        let labels = |side| u64::from(decided.join.side(side).labels());
        let drawn = labels(side.other()).saturating_add(1).saturating_mul(labels(side));
        let dummies = drawn.saturating_mul(decided.price.law().most().into());
        let tick = self.tick.of_set(register.saturating_add(dummies)).saturating_mul(2);
        let facts = facts_of(&decided, side);
        let (intent, contest) = (decided.intent.clone(), decided.permit.agreement().contest.clone());
        let prepared = async {
            let Ok(question) = &submitted.query else { return Err(MatchError::Failed) };
            self.run_of(decided, side, question).await
        };
        let prepared = match AssertUnwindSafe(prepared).catch_unwind().await {
            Ok(prepared) => prepared,
            Err(_) => return (tick, Err(Failure::Died)),
        };
        let ended = match prepared {
            Ok(prepared) => Ok(Ok(prepared)),
            Err(error) => match refusal_of(error) {
                Ok(refusal) => {
                    let denial = Denial { refusal: Refusal { contest: Some(contest), ..refusal }, facts };
                    self.record_refusal(denial, Some(&intent)).await.map(Err)
                }
                Err(failure) => Err(failure),
            },
        };
        (tick, ended)
    }

    /// The join that is decided, if this agency would take part in it now, and its side.
    async fn checked_join(
        &self,
        submitted: &SubmittedQuery,
        claimed: &Identity,
    ) -> Result<Result<(DecidedJoin, JoinSide), Refused>, Failure> {
        let decided = decide_join(submitted, claimed, &self.policy, &self.trust, self.state.now());
        let sided = match decided {
            Ok(decided) => decided.side_of(self.recorder.organisation()).map(|side| (decided, side)),
            Err(denial) => Err(denial),
        };
        let denial = match sided {
            Err(denial) => denial,
            Ok((decided, side)) => match self.may_join(&decided, side).await? {
                Ok(()) => return Ok(Ok((decided, side))),
                Err(refusal) => {
                    let contest = Some(decided.permit.agreement().contest.clone());
                    Denial { refusal: Refusal { contest, ..refusal }, facts: facts_of(&decided, side) }
                }
            },
        };
        self.record_refusal(denial, Some(&submitted.intent(claimed))).await.map(Err)
    }

    /// Whether the side's dataset is open and served, and new answers may leave.
    async fn may_join(&self, decided: &DecidedJoin, side: JoinSide) -> Result<Result<(), Refusal>, Failure> {
        let own = decided.join.side(side).query();
        let field = iter::once(&decided.join.terms().field);
        let open = self.check_open(&decided.permit, own.reads());
        if let Err(refusal) = open.and_then(|()| self.check_not_closed(own.dataset(), field)) {
            return Ok(Err(refusal));
        }
        if let Err(refusal) = self.gate.check(&self.state).await? {
            return Ok(Err(refusal));
        }
        if let Err(error) = self.datasets.check(&[own.dataset()], own.cut()) {
            tracing::warn!(error_kind = %error, "a join that the bindings do not serve");
            return Ok(Err(not_served(&error)));
        }
        Ok(Ok(()))
    }

    async fn run_of(
        &self,
        decided: DecidedJoin,
        side: JoinSide,
        question: &AggregateQuery,
    ) -> Result<PreparedJoin, MatchError> {
        self.charge_join(&decided, side).await?;
        let (facts, standing) = (facts_of(&decided, side), decided.standing());
        let DecidedJoin { permit, join, price, intent, caller, left, right, .. } = decided;
        let (own, other) = match side {
            JoinSide::Left => (&left, &right),
            JoinSide::Right => (&right, &left),
        };
        let name = join_session(&caller.identity, &intent);
        let running = self.joins.begin(name).await?;
        let seed = self.state.open_session(&name, SecretSeed::generate()?.expose()).await?;
        self.check_session(&name).await?;
        let seed: Zeroizing<[u8; 32]> = Zeroizing::new(seed.as_slice().try_into().map_err(|_| MatchError::Failed)?);
        let files = self.state.session_files(&name).await?;
        let release_key = *price.release_key().as_bytes();
        let labels = |side| join.side(side).labels();
        let agreed = Agreed {
            pins: [left.pin, right.pin].map(|pin| *pin.as_bytes()),
            normaliser: join.terms().normaliser,
            labels: [labels(JoinSide::Left), labels(JoinSide::Right)],
            names: [join.terms().left.as_str(), join.terms().right.as_str(), join.terms().field.as_str()]
                .map(str::to_owned),
            weights: price.law().weights(),
        };
        let terms = agreed.terms(&name, &release_key);
        let kept = self.state.kept_join(&name).await?;
        let kept = kept.map(|kept| Committed::decode(&kept).ok_or(MatchError::Failed)).transpose()?;
        if kept.as_ref().is_some_and(|kept| kept.terms != terms) {
            // PRIVACY: other terms would draw other dummies, which nobody has paid for.
            let what = "the agreement's terms, a contract or a pinned key are no longer those that the join began with";
            let refusal = Refusal::new(ReasonCode::SessionMismatch).because(what);
            return Err(refusal.instead("the question under a new request id, at its price").into());
        }
        if kept.as_ref().is_some_and(|kept| *kept.seed != *seed) {
            // What was committed to was drawn from a seed that is gone.
            return Err(lost().into());
        }
        let params = params_of(&agreed)?;
        let party = party(&name, terms, side, &seed, params.clone())?;
        let purpose = permit.question().purpose.clone();
        let by_consent = facts.legal_basis == Some(LegalBasis::Consent);
        let who = self.who_takes_part(&files, &purpose, by_consent).await?;
        // What was made and not committed to was never sent, and may be under other terms: it is made anew.
        let made = match &kept {
            Some(_) => block_in_place(|| lists::kept_own(join.side(side).labels(), &files))?,
            None => None,
        };
        let list = match made {
            Some(list) => list,
            None => self.make_own_list(join.side(side), join.terms(), &own.contract, &who, &party, &files).await?,
        };
        let committed = match kept {
            Some(kept) if kept.own == list.hash => kept,
            // What was committed to cannot be made any more.
            Some(_) => return Err(lost().into()),
            None => {
                let key = join_key_hash(&party.key());
                let content = commitment_lines(&seed, Some(&key), &terms, &list.hash)
                    .iter()
                    .fold(Content::of_request(Some(&intent)), |content, line| content.with_line(line));
                let (kind, charge) = (LeafKind::JoinCommitted, price.charge());
                let evidence = self.recorder.record(kind, &facts, None, charge, content, &self.state);
                let evidence = evidence.map_err(|_| MatchError::Failed)?;
                let until = self.state.now().plus_secs(i64::from(permit.agreement().retention_days) * DAY);
                let committed = Committed {
                    seed,
                    terms,
                    release_key,
                    own: list.hash,
                    moment: who.moment(),
                    until: until.secs(),
                    agreement: permit.agreement().id.clone(),
                    purpose: purpose.to_string(),
                    by_consent,
                    question: StoredQuestion::encode(question, join.answered()),
                    evidence: evidence.encode(),
                    drawn: Some(Drawn { side, key, agreed }),
                };
                let (request, bytes) = (intent.request_id, committed.encode());
                self.state.keep_join(&name, &request, until, &bytes, evidence.new_leaf()).await?;
                committed
            }
        };
        let evidence = Evidence::decode(&committed.evidence).ok_or(MatchError::Failed)?;
        let (theirs, their_labels) = (psi_side(side.other()), labels(side.other()));
        let exchange = block_in_place(|| Exchange::open(&files, theirs, &params, &party, their_labels))?;
        let run = JoinRun {
            standing,
            contest: permit.agreement().contest.clone(),
            facts,
            request: intent.request_id,
            intent,
            name,
            terms,
            bundle_sequence: permit.bundle_sequence(),
            normaliser: join.terms().normaliser,
            side,
            peer: other.contract.agency.clone(),
            peer_pin: other.pin,
            registers: (other.contract.unit_space.register_size, own.contract.unit_space.register_size),
            params,
            party,
            files,
            own: list,
            leaf: leaf_of(&evidence),
            logged: AtomicBool::new(false),
            until: Timestamp::from_secs(committed.until),
            arrival: watch::Sender::new(exchange.arrival()),
            recorded: tokio::sync::Mutex::default(),
            exchange: Mutex::new(exchange),
            _running: running,
        };
        Ok(PreparedJoin { run: Arc::new(run), evidence })
    }

    /// Charges the persons of this side's register, the agreement and the caller: once for a request.
    async fn charge_join(&self, decided: &DecidedJoin, side: JoinSide) -> Result<(), MatchError> {
        let request = RequestKey {
            principal: decided.caller.identity.to_string(),
            request_id: decided.intent.request_id,
            digest: decided.intent.digest(),
        };
        let (price, accounts) = (&decided.price, &decided.side(side).accounts);
        // INVARIANT: durable before the first record is formed.
        match self.state.reserve(&request, &price.release_key(), price.charge(), accounts).await {
            Ok(Reserved::Fresh(reservation) | Reserved::Resumed(reservation)) => {
                reservation.mark_executing();
                Ok(())
            }
            // No release of a join is ever stored here.
            Ok(Reserved::Stored(_) | Reserved::Repeat(_)) | Err(ReserveError::NoAccount) => Err(MatchError::Failed),
            Err(ReserveError::Exhausted { account, left }) => Err(exhausted(account, left).into()),
            Err(error @ (ReserveError::RequestIdReused | ReserveError::RequestChanged | ReserveError::OtherYear)) => {
                Err(request_changed(error).into())
            }
            Err(ReserveError::Store(error)) => Err(error.into()),
        }
    }

    /// Who takes part: as it stood when that was first asked in the session.
    async fn who_takes_part(
        &self,
        files: &SessionFiles,
        purpose: &PurposeId,
        by_consent: bool,
    ) -> Result<Arc<Participation>, MatchError> {
        if let Some(moment) = block_in_place(|| moment(files))? {
            return Ok(Arc::new(self.state.participation_at(purpose, by_consent, moment).await?));
        }
        let who = self.state.participation(purpose, by_consent, None).await?;
        block_in_place(|| files.spool(MOMENT)?.add(&who.moment().to_be_bytes()))?;
        Ok(who)
    }

    /// Makes a side's list from the cut.
    pub(super) async fn make_own_list(
        &self,
        checked: &CheckedSide,
        terms: &JoinTerms,
        contract: &Contract,
        who: &Participation,
        party: &JoinParty,
        files: &SessionFiles,
    ) -> Result<JoinList, MatchError> {
        let normaliser = normaliser(terms.normaliser)?;
        let rows =
            self.datasets.rows_to_match(contract, checked.query().cut(), std::slice::from_ref(&terms.field)).await?;
        let takes_part = |key: &[u8]| who.allows(&self.state.person_reference(key));
        let ranking = self.datasets.ranking_key(contract);
        let forming = Forming { side: checked, normaliser, ranking, takes_part: &takes_part };
        let records = forming.records(rows, files).await?;
        let list = block_in_place(|| lists::own(party, &records, checked.labels(), files))?;
        records.delete();
        Ok(list)
    }

    /// Makes a prepared join known: to the other side, by whatever tunnel the gateway opens to it, and to the gateway.
    pub fn show_join(&self, run: &Arc<JoinRun>) {
        self.joins.show(run);
    }

    /// The prepared join of that session, while it runs.
    #[must_use]
    pub fn running_join(&self, session: &[u8; 32]) -> Option<Arc<JoinRun>> {
        self.joins.find(session)
    }

    /// The prepared join of that session to which `other`, an adapter of the other agency, is let in: only the left side
    /// asks, and only the right one is asked.
    #[must_use]
    pub fn accepting_join(&self, session: &[u8; 32], other: &Identity) -> Option<Arc<JoinRun>> {
        self.joins.find(session).filter(|run| run.side == JoinSide::Right && run.peer == other.org)
    }
}

/// The file in which the moment stands whose choices count.
const MOMENT: &str = "moment";

fn moment(files: &SessionFiles) -> Result<Option<i64>, MatchError> {
    let spool = files.spool(MOMENT)?;
    if spool.is_empty() {
        return Ok(None);
    }
    let bytes = spool.get(0)?;
    Ok(Some(i64::from_be_bytes(bytes.as_slice().try_into().map_err(|_| MatchError::Failed)?)))
}

/// The protocol's own part of what both sides go by.
pub(super) fn params_of(agreed: &Agreed) -> Result<JoinParams, PsiError> {
    let [left, right] = agreed.labels;
    JoinParams::new(left, right, agreed.weights.clone())
}

/// The rule of that number, by which both sides write the one column on which they are joined.
fn normaliser(number: u32) -> Result<Normaliser, Refusal> {
    let rule = Normaliser::from_number(number).filter(|rule| rule.parts().len() == 1);
    rule.ok_or_else(|| {
        Refusal::new(ReasonCode::NormaliserMismatch).because("the agreement's rule is not one of a single column here")
    })
}
