use super::epoch::{Epochs, SharedEpoch, another_epoch, keep_epoch, over};
use super::fault::{ends_session, is_told, of_peer};
use super::keys::{Key, another_key, keep_key};
use super::offer::Offer;
use super::offered::{Evaluated, OfferedTags};
use super::opening::OpenRequest;
use super::participants::Participants;
use super::payload::{Payload, PayloadOffer, keep_offer, offer};
use super::pieces::TagPieces;
use super::{CHUNK_ELEMENTS, MatchError, OPEN_AT_ONCE, mode, session_name, terms};
use crate::app::query::Refused;
use crate::app::{App, Failure, Tick};
use firebreak_audit::LeafKind;
use firebreak_domain::{
    AgreementId, CapPeriod, Charge, Contract, Counted, DatasetId, Identity, MatchCaps, OrgId, Pin, PurposeId,
    ReasonCode, Refusal, RequestId, Timestamp,
};
use firebreak_node::{Content, Evidence, StandingMatch, SubmittedMatch, decide_match, exhausted_cap};
use firebreak_policy::Denial;
use firebreak_psi::{MatchParams, Mode, SecretSeed};
use firebreak_store::{CapError, CappedKey, EvaluationChunk, OpenBound, TagsHandedOut};
use sha2::{Digest, Sha256};
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OnceCell;
use tokio::time::Instant;

/// A match that this agency has let in as its sender: what was decided, before any session is open on it.
///
/// PRIVACY: the sender's side holds its whole set, padded sizes and blinded elements. Nothing in it depends on which
/// records match, so there is nothing that could be stored, logged or timed.
pub struct SenderSession {
    standing: StandingMatch,
    /// Whether a refusal of this session is recorded already: a receiver that goes on asking makes no more leaves.
    refused: tokio::sync::Mutex<bool>,
    /// Whether the receiver has said that it has all that it wanted.
    done: AtomicBool,
    agreement: AgreementId,
    purpose: PurposeId,
    bundle_sequence: u64,
    /// The agreement's keys, of which the receiver names one as it opens the session.
    keys: Vec<Offered>,
    dataset: DatasetId,
    contract: Arc<Contract>,
    payload: Option<Payload>,
    request: RequestId,
    last_year: i32,
    participants: Participants,
    open: Arc<OnceCell<Open>>,
}

/// A key of the agreement's, how much of it this receiver may have, and its epochs, if there are any.
#[derive(Clone)]
pub(super) struct Offered {
    pub(super) key: Key,
    of: CappedKey,
    caps: MatchCaps,
    epochs: Option<Epochs>,
}

pub(super) struct Open {
    since: Instant,
    /// By which it was opened.
    by: Offered,
    offered: Arc<Offer>,
    evaluated: Arc<Mutex<Evaluated>>,
    /// Held while a chunk is evaluated.
    turn: Arc<tokio::sync::Mutex<()>>,
    name: [u8; 32],
    payload: PayloadOffer,
    /// The year in which the session was first opened. Its chunks and its list count in it, so that what is sent again
    /// over New Year is what was charged.
    year: i32,
}

/// Decides, as the sender's own adapter, whether a match may begin, and records that it was authorised.
///
/// # Errors
/// [`Failure`] if nothing could be recorded.
pub async fn accept_match(
    app: &App,
    submitted: &SubmittedMatch,
    claimed: &Identity,
) -> Result<Result<(SenderSession, Evidence), Refused>, Failure> {
    let now = app.state.now();
    let intent = submitted.intent(claimed);
    let (permit, _) = match decide_match(submitted, claimed, &app.policy, &app.trust, now) {
        Ok(decided) => decided,
        Err(denial) => return Ok(Err(app.record_refusal(denial, Some(&intent)).await?)),
    };
    let facts = permit.facts().clone();
    let refused = |refusal: Refusal| Denial { refusal, facts: facts.clone() };
    let session = terms(&permit).and_then(|terms| {
        if terms.sender != *app.recorder.organisation() {
            return Err(Refusal::new(ReasonCode::SessionMismatch).because("another agency is the sender"));
        }
        let contract = permit.contract(&terms.sender_dataset).ok_or(Refusal::new(ReasonCode::DatasetNotCovered))?;
        let theirs = permit.contract(&terms.receiver_dataset).ok_or(Refusal::new(ReasonCode::DatasetNotCovered))?;
        let payload = Payload::of(terms, contract)?;
        app.check_not_closed(&contract.id, payload.iter().flat_map(Payload::columns))?;
        let keys = Key::all(terms)?;
        // Which of them it is, is said inside of the tunnel: here there has to be one.
        let closed = |key: &Key| app.check_not_closed(&contract.id, key.columns.iter());
        if keys.iter().all(|key| closed(key).is_err()) {
            keys.iter().try_for_each(closed)?;
        }
        let offered = |key: Key| {
            Ok::<_, Refusal>(Offered {
                caps: MatchCaps::of(permit.agreement(), &key, theirs.unit_space.register_size),
                of: CappedKey {
                    agreement: permit.agreement().id.clone(),
                    receiver: terms.receiver.clone(),
                    key: key.name.clone(),
                },
                epochs: Epochs::of(&permit, &key)?,
                key,
            })
        };
        let standing = StandingMatch::of(&permit, intent.clone(), &app.policy)?;
        Ok(SenderSession {
            participants: Participants::of(&standing, permit.question().purpose.clone()),
            standing,
            refused: tokio::sync::Mutex::default(),
            done: AtomicBool::new(false),
            agreement: permit.agreement().id.clone(),
            purpose: permit.question().purpose.clone(),
            bundle_sequence: permit.bundle_sequence(),
            keys: keys.into_iter().map(offered).collect::<Result<_, _>>()?,
            dataset: contract.id.clone(),
            contract: contract.clone(),
            payload,
            request: submitted.header.request_id,
            last_year: permit.agreement().last_year(),
            open: app.running.send(session_name(&permit.agreement().id, &submitted.header.request_id)),
        })
    });
    let session = match session {
        Ok(session) => session,
        Err(refusal) => return Ok(Err(app.record_refusal(refused(refusal), Some(&intent)).await?)),
    };
    if let Err(refusal) = app.gate.check(&app.state).await? {
        return Ok(Err(app.record_refusal(refused(refusal), Some(&intent)).await?));
    }
    let (none, content) = (Charge::default(), Content::of_request(Some(&intent)));
    let evidence = app.recorder.record(LeafKind::MatchAuthorised, &facts, None, none, content, &app.state)?;
    app.state.record_leaf(evidence.new_leaf()).await?;
    Ok(Ok((session, evidence)))
}

impl SenderSession {
    /// The organisation at the other end.
    #[must_use]
    pub const fn receiver(&self) -> &OrgId {
        &self.standing.terms().receiver
    }

    /// The one key by which it is known inside the tunnel.
    #[must_use]
    pub const fn receiver_pin(&self) -> Pin {
        self.standing.receiver_pin()
    }

    /// Decides again, by the agency's own policy in force, whether the match may go on; the session must not be closed
    /// or past its lifetime either. A refusal is recorded.
    ///
    /// # Errors
    /// [`MatchError`]: the match ends.
    pub async fn check(&self, app: &App) -> Result<(), MatchError> {
        if let Err(denial) = self.standing.check(&app.policy, app.state.now()) {
            return Err(self.refuse(app, denial).await);
        }
        let Some(open) = self.open.get() else { return Ok(()) };
        if open.offered.is_over(app).await? {
            return self.recorded(app, Err(over().into())).await;
        }
        // What is open is shared: another tunnel's session may have ended it for a fault.
        self.recorded(app, app.check_session(&open.name).await).await
    }

    async fn refuse(&self, app: &App, denial: Denial) -> MatchError {
        let mut refused = self.refused.lock().await;
        self.refuse_once(app, denial, &mut refused).await
    }

    async fn refuse_once(&self, app: &App, denial: Denial, refused: &mut bool) -> MatchError {
        if mem::replace(refused, true) {
            return denial.refusal.into();
        }
        app.refuse_match(denial, self.standing.intent()).await
    }

    /// Records a fault of the receiver, and ends the session if it may not be resumed. Gives what the receiver is told.
    pub async fn fault(&self, app: &App, refusal: Refusal) -> MatchError {
        // Held until it is recorded: another call may find that the session is over while this one still deletes its files.
        let mut refused = self.refused.lock().await;
        if ends_session(refusal.reason) {
            let name = session_name(&self.agreement, &self.request);
            // Set before: a call that is broken off has its leaf written all the same.
            let before = mem::replace(&mut *refused, true);
            let ended = app.end_session(&name, refusal.reason, &self.standing).await;
            if matches!(ended, Ok(true)) {
                return refusal.into();
            }
            *refused = before;
            if let Err(error) = ended {
                return error;
            }
        }
        self.refuse_once(app, Denial { refusal, facts: self.standing.facts().clone() }, &mut refused).await
    }

    /// Ends the match for a fault that the receiver says it found.
    ///
    /// # Errors
    /// [`MatchError`]; `MALFORMED_REQUEST` for a reason that no receiver has.
    pub async fn broken_off(&self, app: &App, reason: ReasonCode) -> Result<(), MatchError> {
        if !is_told(reason) {
            let refusal = Refusal::new(ReasonCode::MalformedRequest);
            return Err(refusal.because("no receiver ends a match for this reason").into());
        }
        let refusal = Refusal::new(reason).because("the receiver found it in what it was sent");
        match self.fault(app, refusal).await {
            MatchError::Refused(_) => Ok(()),
            error => Err(error),
        }
    }

    /// Records that the tunnel is gone, for that reason. That says nothing where the match was over: the receiver had
    /// all that it wanted, or a refusal is recorded already.
    ///
    /// # Errors
    /// [`MatchError`] if it could not be recorded.
    pub async fn left(&self, app: &App, reason: ReasonCode) -> Result<(), MatchError> {
        if self.done.load(Ordering::SeqCst) || *self.refused.lock().await {
            return Ok(());
        }
        match self.fault(app, Refusal::new(reason)).await {
            MatchError::Refused(_) => Ok(()),
            error => Err(error),
        }
    }

    /// What was done, its refusal recorded.
    async fn recorded<T>(&self, app: &App, done: Result<T, MatchError>) -> Result<T, MatchError> {
        let done = match (done, self.open.get()) {
            (Err(error), Some(open)) => Err(app.why(&open.name, error).await),
            (done, _) => done,
        };
        match done {
            Err(MatchError::Fault(refusal)) => Err(self.fault(app, refusal).await),
            Err(MatchError::Refused(refusal)) => {
                let facts = self.standing.facts().clone();
                Err(self.refuse(app, Denial { refusal, facts }).await)
            }
            done => done,
        }
    }

    /// Opens the session: checks that both sides hold the same agreement, purpose, bundle and rule, and forms the set.
    /// Gives the public key and the padded number of tags.
    ///
    /// # Errors
    /// [`MatchError`].
    pub async fn open(&self, app: &App, request: &OpenRequest) -> Result<([u8; 32], u32), MatchError> {
        self.check(app).await?;
        let opened = self.open_checked(app, request).await;
        self.recorded(app, opened).await
    }

    async fn open_checked(&self, app: &App, request: &OpenRequest) -> Result<([u8; 32], u32), MatchError> {
        let named = self.keys.iter().find(|offered| offered.key.field() == request.field);
        let by = named.or(self.keys.first()).ok_or(MatchError::Failed)?;
        let epoch = by.epoch(request.epoch, app.state.now());
        let chunk_elements = match &epoch {
            Ok(None) => CHUNK_ELEMENTS,
            Ok(Some(epoch)) => epoch.elements,
            // It is refused below, unless something that it may follow from differs.
            Err(_) => request.chunk_elements,
        };
        let same = request.compare(&OpenRequest {
            session: self.request,
            agreement: self.agreement.to_string(),
            purpose: self.purpose.to_string(),
            bundle_sequence: self.bundle_sequence,
            normaliser: by.key.normaliser.number(),
            field: by.key.field(),
            elements: request.elements,
            chunk_elements,
            proofs: self.standing.terms().proofs,
            payload: offer(self.payload.as_ref()),
            epoch: request.epoch,
        });
        same.map_err(MatchError::Fault)?;
        let epoch = epoch.map_err(MatchError::Fault)?;
        app.check_not_closed(&self.contract.id, by.key.columns.iter())?;
        self.check_size(app, by, u64::from(request.elements))?;
        let since = Instant::now();
        let shared = epoch.map(|epoch| (app.running.epoch(&epoch), epoch));
        let is_there = shared.as_ref().is_some_and(|(offered, _)| offered.initialized());
        let opened = self.open.get_or_try_init(|| async {
            let name = session_name(&self.agreement, &self.request);
            let bound = OpenBound {
                agreement: self.agreement.clone(),
                receiver: self.receiver().clone(),
                most: OPEN_AT_ONCE,
                after: app.oldest_session(),
            };
            let seed = app.state.open_session_within(&name, SecretSeed::generate()?.expose(), bound).await?;
            app.check_session(&name).await?;
            let year = app.state.session_opened(&name).await?.year();
            let seed = SecretSeed::from_bytes(seed.as_slice().try_into().map_err(|_| MatchError::Failed)?);
            let files = app.state.session_files(&name).await?;
            keep_key(&files, &by.key)?;
            let payload = self.payload.as_ref();
            let evaluated = tokio::task::block_in_place(|| {
                keep_epoch(&files, shared.as_ref().map(|(_, epoch)| epoch))?;
                keep_offer(&files, payload)?;
                Evaluated::open(&files)
            })?;
            let offered = match &shared {
                None => Arc::new(self.offer_alone(app, by, name, &seed, files, request.elements).await?),
                Some((offered, epoch)) => {
                    let form = || async { Ok::<_, MatchError>(Arc::new(self.offer_of_epoch(app, by, epoch).await?)) };
                    Arc::clone(offered.get_or_try_init(form).await?)
                }
            };
            self.check_tags(app, by, &offered.name, year, u64::from(offered.padded()))?;
            if let Some(payload) = payload {
                app.state.record_offered_columns(&name, payload.columns()).await?;
            }
            app.state.record_offered(&name, &self.agreement, &self.purpose).await?;
            let (by, evaluated, turn) = (by.clone(), Arc::new(Mutex::new(evaluated)), Arc::default());
            Ok::<_, MatchError>(Open { since, by, offered, evaluated, turn, name, payload: offer(payload), year })
        });
        let opened = opened.await;
        // PRIVACY: forming the set takes longer the more records there are; the receiver hears, of a failure too, on a
        // tick that follows from the declared register. Where the set of an epoch is there already, nothing does.
        let forming = app.tick.of_set(self.contract.unit_space.register_size);
        Tick::wait(since, if is_there { app.tick.smallest() } else { forming }).await;
        let opened = opened?;
        if opened.by.key.compares() != by.key.compares() {
            return Err(MatchError::Fault(another_key()));
        }
        if opened.name_of_epoch() != shared.map(|(_, epoch)| epoch.name) {
            return Err(MatchError::Fault(another_epoch()));
        }
        if opened.payload != request.payload {
            let refusal = Refusal::new(ReasonCode::SessionMismatch);
            return Err(refusal.because("the session was opened with another payload: begin a new match").into());
        }
        if opened.params().receiver_padded() != request.elements {
            let refusal = Refusal::new(ReasonCode::WrongCount).because("the session was opened with another size");
            return Err(MatchError::Fault(refusal));
        }
        Ok((*opened.offered.evaluator.public_key().as_bytes(), opened.offered.padded()))
    }

    /// A set that is larger than a whole cap begins no session.
    fn check_size(&self, app: &App, by: &Offered, elements: u64) -> Result<(), Refusal> {
        let (counted, limits) = (Counted::Evaluations, by.caps.evaluations);
        let year = CapPeriod::Year(app.state.now().year());
        for (period, cap) in [(CapPeriod::Life, limits.for_life), (year, limits.per_year)] {
            if elements > cap {
                let used = app.state.counted(counted, &by.of, period);
                return Err(exhausted_cap(counted, period, cap.saturating_sub(used), self.last_year));
            }
        }
        Ok(())
    }

    /// A list that could not be handed out in the end has nothing evaluated for it. One that was is free.
    fn check_tags(&self, app: &App, by: &Offered, name: &[u8; 32], year: i32, tags: u64) -> Result<(), MatchError> {
        if app.state.is_handed_out(name) {
            return Ok(());
        }
        let left = app.state.check_caps(Counted::Tags, &by.of, year, tags, by.caps.tags(tags));
        left.map_err(|error| self.not_charged(error))
    }

    fn not_charged(&self, error: CapError) -> MatchError {
        match error {
            CapError::Exhausted { counted, period, left } => {
                exhausted_cap(counted, period, left, self.last_year).into()
            }
            CapError::ChunkMismatch => MatchError::Fault(
                Refusal::new(ReasonCode::ChunkReplayed).because("it was evaluated before with other elements"),
            ),
            CapError::Store(error) => error.into(),
        }
    }

    /// The session: the request that was let in.
    #[must_use]
    pub const fn session(&self) -> RequestId {
        self.request
    }

    /// Padded elements of the receiver; none before the session is open.
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.open.get().map_or(0, |open| open.params().receiver_padded().into())
    }

    fn opened(&self) -> Result<&Open, MatchError> {
        let refusal = || Refusal::new(ReasonCode::SessionMismatch).because("the session is not open");
        Ok(self.open.get().ok_or_else(refusal)?)
    }

    /// Evaluates a chunk, after a [`SenderSession::check`], after reading it whole, and after charging it durably to the
    /// receiver's cap: what is hostile is charged to nobody. A chunk that comes again costs nothing and is given the same
    /// bytes.
    ///
    /// # Errors
    /// [`MatchError`].
    pub async fn evaluate(&self, app: &App, chunk: u32, blinded: Vec<u8>) -> Result<Vec<u8>, MatchError> {
        self.check(app).await?;
        let evaluated = self.evaluate_checked(app, chunk, blinded).await;
        self.recorded(app, evaluated).await
    }

    async fn evaluate_checked(&self, app: &App, chunk: u32, blinded: Vec<u8>) -> Result<Vec<u8>, MatchError> {
        let opened = self.opened()?;
        let (evaluator, hash) = (Arc::clone(&opened.offered.evaluator), Sha256::digest(&blinded));
        let read = tokio::task::spawn_blocking(move || evaluator.read(chunk, blinded)).await;
        let read = read.map_err(|_| MatchError::Failed)?.map_err(of_peer)?;
        let charged = EvaluationChunk {
            of: opened.by.of.clone(),
            period: opened.year,
            session: opened.name,
            number: chunk,
            blinded_hash: hash.into(),
            elements: u64::from(opened.params().chunk_elements()),
        };
        let charged = app.state.charge_evaluations(&charged, opened.by.caps.evaluations).await;
        charged.map_err(|error| self.not_charged(error))?;
        let (evaluator, evaluated) = (Arc::clone(&opened.offered.evaluator), Arc::clone(&opened.evaluated));
        // One after the other: a kill loses no more than the one that was being evaluated. It goes on when the tunnel is
        // gone: who comes back by another finds the same session open, and waits for its end.
        let (turn, open) = (Arc::clone(&opened.turn).lock_owned().await, Arc::clone(&self.open));
        let done = tokio::task::spawn_blocking(move || {
            let _held = (turn, open);
            let locked = || evaluated.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(kept) = locked().get(chunk)? {
                return Ok(kept);
            }
            tracing::debug!(sequence = chunk, "a chunk is evaluated");
            let made = evaluator.evaluate_read(&read)?;
            locked().keep(chunk, made)
        });
        done.await.map_err(|_| MatchError::Failed)?
    }

    /// Ends the session when the receiver has the whole list: the key under which everything was evaluated is
    /// destroyed, and nobody evaluates under it again. A receiver that does not say so has it ended by
    /// [`SESSION_LIFETIME`](super::SESSION_LIFETIME).
    ///
    /// # Errors
    /// [`MatchError`].
    pub async fn close(&self, app: &App) -> Result<(), MatchError> {
        app.state.close_session(&self.opened()?.name).await?;
        self.done.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// The padded tags of the whole set in pieces of whole tags, from byte `offset` on. The list is made once, and is
    /// ready on a tick that follows from its padded length, after a [`SenderSession::check`] as it is asked for. The
    /// whole of it is charged durably to the receiver's cap before any of it leaves; the session's list again costs
    /// nothing.
    ///
    /// # Errors
    /// [`MatchError`]; `SESSION_MISMATCH` for a byte in the middle of a tag.
    pub async fn tags(&self, app: &App, offset: u64) -> Result<TagPieces, MatchError> {
        self.check(app).await?;
        let tags = self.tags_checked(app).await;
        let list = self.recorded(app, tags).await?;
        let pieces = TagPieces::of(list, offset);
        self.recorded(app, pieces).await
    }

    /// The next piece of the list, after a [`SenderSession::check`]; `None` after the last. Who takes part is asked as a
    /// piece is sent for the first time.
    ///
    /// # Errors
    /// [`MatchError`].
    pub async fn next_piece(&self, app: &App, pieces: &mut TagPieces) -> Result<Option<Vec<u8>>, MatchError> {
        self.check(app).await?;
        let who = self.participants.now(app).await?;
        let piece = tokio::task::block_in_place(|| pieces.next(&who));
        self.recorded(app, piece).await
    }

    async fn tags_checked(&self, app: &App) -> Result<Arc<Mutex<OfferedTags>>, MatchError> {
        let opened = self.opened()?;
        let made = opened.offered.list().await?;
        let padded = u64::from(opened.offered.padded());
        let charged = TagsHandedOut {
            of: opened.by.of.clone(),
            period: opened.year,
            session: opened.offered.name,
            list_hash: made.hash,
            tags: padded,
        };
        // INVARIANT: before the first byte leaves.
        let charged = app.state.charge_tags(&charged, opened.by.caps.tags(padded)).await;
        charged.map_err(|error| self.not_charged(error))?;
        Tick::wait(opened.since, app.tick.of_set(padded).saturating_mul(2)).await;
        Ok(made.list)
    }

    /// The dataset offered.
    #[must_use]
    pub const fn dataset(&self) -> &DatasetId {
        &self.dataset
    }

    pub(super) const fn agreement(&self) -> &AgreementId {
        &self.agreement
    }

    pub(super) fn contract(&self) -> &Contract {
        &self.contract
    }

    pub(super) const fn payload(&self) -> Option<&Payload> {
        self.payload.as_ref()
    }

    /// Whether evaluations are proved.
    pub(super) const fn mode(&self) -> Mode {
        mode(self.standing.terms())
    }
}

impl Offered {
    /// The epoch that the receiver names: the present one, if the agreement has epochs.
    fn epoch(&self, named: Option<u64>, now: Timestamp) -> Result<Option<SharedEpoch>, Refusal> {
        let refused = |what| Err(Refusal::new(ReasonCode::SessionMismatch).because(what));
        match (named, &self.epochs) {
            (None, _) => Ok(None),
            (Some(_), None) => refused("the agreement has no epochs"),
            (Some(number), Some(epochs)) => {
                let epoch = epochs.at(now);
                if epoch.epoch.number != number {
                    return refused("the epoch that the receiver names is not the present one: begin a new match");
                }
                Ok(Some(epoch))
            }
        }
    }
}

impl Open {
    fn params(&self) -> &MatchParams {
        self.offered.evaluator.params()
    }

    /// The name of the epoch that the session is of, if it is of one.
    fn name_of_epoch(&self) -> Option<[u8; 32]> {
        (self.offered.name != self.name).then_some(self.offered.name)
    }
}
