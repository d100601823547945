use super::sets::OfferedSet;
use super::{CHUNK_ELEMENTS, MatchError, session_name, terms};
use crate::app::query::Refused;
use crate::app::{App, Failure, Tick};
use crate::datasets::count_execution;
use firebreak_audit::LeafKind;
use firebreak_domain::{
    AgreementId, Charge, ColumnName, Contract, DatasetId, Identity, OrgId, Pin, PurposeId, ReasonCode, Refusal,
    RequestId,
};
use firebreak_node::{Content, Evidence, StandingMatch, SubmittedMatch, decide_match};
use firebreak_policy::Denial;
use firebreak_psi::{
    FORMAT, KeyContext, MatchParams, Normaliser, SecretSeed, Sender, TagList, derive_session_key, padded_size,
};
use firebreak_store::EvaluationChunk;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::OnceCell;
use tokio::time::Instant;

/// A match that this agency has let in as its sender: what was decided, before any session is open on it.
///
/// PRIVACY: the sender's side holds its whole set, padded sizes and blinded elements. Nothing in it depends on which
/// records match, so there is nothing that could be stored, logged or timed.
pub struct SenderSession {
    standing: StandingMatch,
    /// Whether a refusal of this session is recorded already: a receiver that goes on asking makes no more leaves.
    refused: AtomicBool,
    agreement: AgreementId,
    purpose: PurposeId,
    bundle_sequence: u64,
    field: ColumnName,
    normaliser: Normaliser,
    dataset: DatasetId,
    contract: Arc<Contract>,
    request: RequestId,
    cap: u64,
    open: OnceCell<Open>,
}

struct Open {
    since: Instant,
    sender: Arc<Sender>,
    tags: OnceCell<Arc<TagList>>,
    name: [u8; 32],
}

/// What the receiver names when it opens a session.
pub struct OpenRequest {
    /// The session: the request that was permitted.
    pub session: RequestId,
    /// The agreement.
    pub agreement: String,
    /// The purpose.
    pub purpose: String,
    /// Sequence of the receiver's bundle.
    pub bundle_sequence: u64,
    /// The receiver's rule for identifiers.
    pub normaliser: u32,
    /// The receiver's field.
    pub field: String,
    /// Padded number of elements.
    pub elements: u32,
    /// Elements in a chunk.
    pub chunk_elements: u32,
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
        app.check_not_closed(&contract.id, std::iter::once(&terms.field))?;
        let normaliser = Normaliser::from_number(terms.normaliser)
            .ok_or(Refusal::new(ReasonCode::SessionMismatch).because("the agreement's normaliser is not known here"))?;
        // The cap is counted in whole chunks, because padding is evaluated like everything else.
        let register = theirs.unit_space.register_size.saturating_mul(u64::from(terms.cap_permille)) / 1000;
        Ok(SenderSession {
            standing: StandingMatch::of(&permit, intent.clone(), &app.policy)?,
            refused: AtomicBool::new(false),
            agreement: permit.agreement().id.clone(),
            purpose: permit.question().purpose.clone(),
            bundle_sequence: permit.bundle_sequence(),
            field: terms.field.clone(),
            normaliser,
            dataset: contract.id.clone(),
            contract: contract.clone(),
            request: submitted.header.request_id,
            cap: register.next_multiple_of(u64::from(CHUNK_ELEMENTS)),
            open: OnceCell::new(),
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
        match self.open.get() {
            Some(open) => app.check_session(&open.name).await,
            None => Ok(()),
        }
    }

    async fn refuse(&self, app: &App, denial: Denial) -> MatchError {
        if self.refused.swap(true, Ordering::SeqCst) {
            return denial.refusal.into();
        }
        app.refuse_match(denial, self.standing.intent()).await
    }

    /// What was done, its refusal recorded.
    async fn recorded<T>(&self, app: &App, done: Result<T, MatchError>) -> Result<T, MatchError> {
        match done {
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
        let same = request.session == self.request
            && request.agreement == self.agreement.as_str()
            && request.purpose == self.purpose.as_str()
            && request.bundle_sequence == self.bundle_sequence
            && request.normaliser == self.normaliser.number()
            && request.field == self.field.as_str()
            && request.chunk_elements == CHUNK_ELEMENTS;
        if !same {
            let refusal = Refusal::new(ReasonCode::SessionMismatch)
                .because("agreement, purpose, bundle, field, normaliser or chunk differ between the two sides");
            return Err(refusal.into());
        }
        if u64::from(request.elements) > self.cap {
            return Err(Refusal::new(ReasonCode::MatchCapExhausted).into());
        }
        let since = Instant::now();
        let opened = self.open.get_or_try_init(|| async {
            let set = app.match_set(&self.contract, &self.field, self.normaliser).await?;
            // Padded to the declared register, so that the receiver does not learn how many records there are.
            let declared = usize::try_from(self.contract.unit_space.register_size).unwrap_or(usize::MAX);
            let padded = padded_size(set.len().max(declared), CHUNK_ELEMENTS)?;
            let params = MatchParams::new(FORMAT, CHUNK_ELEMENTS, request.elements, padded)?;
            let name = session_name(&self.agreement, &self.request);
            let seed = app.state.open_session(&name, SecretSeed::generate()?.expose()).await?;
            app.check_session(&name).await?;
            let seed = SecretSeed::from_bytes(seed.as_slice().try_into().map_err(|_| MatchError::Failed)?);
            let context = KeyContext {
                agreement: self.agreement.as_str(),
                receiver: self.receiver().as_str(),
                field: self.field.as_str(),
                normaliser: self.normaliser,
                session: self.request.as_bytes(),
            };
            let key = derive_session_key(&seed, &context)?;
            let sender = Arc::new(Sender::new(key, set.to_vec(), params)?);
            app.state.record_offered(&name, &self.agreement, &self.purpose).await?;
            Ok::<_, MatchError>(Open { since, sender, tags: OnceCell::new(), name })
        });
        let opened = opened.await;
        // PRIVACY: forming the set takes longer the more records there are; the receiver hears, of a failure too, on a
        // tick that follows from the declared register.
        Tick::wait(since, app.tick.of_set(self.contract.unit_space.register_size)).await;
        let opened = opened?;
        if opened.sender.params().receiver_padded() != request.elements {
            let refusal = Refusal::new(ReasonCode::SessionMismatch).because("the session was opened with another size");
            return Err(refusal.into());
        }
        Ok((*opened.sender.public_key().as_bytes(), opened.sender.params().sender_padded()))
    }

    fn opened(&self) -> Result<&Open, MatchError> {
        let refusal = || Refusal::new(ReasonCode::SessionMismatch).because("the session is not open");
        Ok(self.open.get().ok_or_else(refusal)?)
    }

    /// Evaluates a chunk, after a [`SenderSession::check`] and after charging it durably to the receiver's cap.
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
        if chunk >= opened.sender.params().chunks() || blinded.len() != opened.sender.params().blinded_chunk_bytes() {
            return Err(Refusal::new(ReasonCode::SessionMismatch)
                .because("the chunk has another number or length")
                .into());
        }
        let charged = EvaluationChunk {
            agreement: self.agreement.clone(),
            receiver: self.receiver().clone(),
            period: app.state.now().year(),
            session: opened.name,
            number: chunk,
            blinded_hash: Sha256::digest(&blinded).into(),
            elements: u64::from(CHUNK_ELEMENTS),
        };
        app.state.charge_evaluations(&charged, self.cap).await?;
        let sender = opened.sender.clone();
        let evaluated = tokio::task::spawn_blocking(move || sender.evaluate(chunk, &blinded)).await;
        Ok(evaluated.map_err(|_| MatchError::Failed)??)
    }

    /// Ends the session when the receiver has the whole list: the key under which everything was evaluated is
    /// destroyed, and nobody evaluates under it again. A receiver that does not say so has it ended by
    /// [`SESSION_LIFETIME`](super::SESSION_LIFETIME).
    ///
    /// # Errors
    /// [`MatchError`].
    pub async fn close(&self, app: &App) -> Result<(), MatchError> {
        Ok(app.state.close_session(&self.opened()?.name).await?)
    }

    /// The padded tags of the whole set, made once, on a tick that follows from their padded number, after a
    /// [`SenderSession::check`] as they are asked for and another as they are ready.
    ///
    /// # Errors
    /// [`MatchError`].
    pub async fn tags(&self, app: &App) -> Result<Arc<TagList>, MatchError> {
        self.check(app).await?;
        let tags = self.tags_checked(app).await;
        let tags = self.recorded(app, tags).await?;
        self.check(app).await?;
        Ok(tags)
    }

    async fn tags_checked(&self, app: &App) -> Result<Arc<TagList>, MatchError> {
        let opened = self.opened()?;
        let made = opened.tags.get_or_try_init(|| async {
            let sender = opened.sender.clone();
            let list = tokio::task::spawn_blocking(move || {
                let size = sender.set_size();
                let half = size / 2;
                let (first, second) = std::thread::scope(|scope| {
                    let first = scope.spawn(|| sender.tags(0..half));
                    let second = sender.tags(half..size);
                    (first.join(), second)
                });
                sender.tag_list_of(&[first.map_err(|_| MatchError::Failed)??, second?]).map_err(MatchError::from)
            });
            Ok::<_, MatchError>(Arc::new(list.await.map_err(|_| MatchError::Failed)??))
        });
        let made = made.await?.clone();
        let padded = u64::from(opened.sender.params().sender_padded());
        Tick::wait(opened.since, app.tick.of_set(padded).saturating_mul(2)).await;
        Ok(made)
    }

    /// The dataset offered.
    #[must_use]
    pub const fn dataset(&self) -> &DatasetId {
        &self.dataset
    }
}

impl App {
    /// The normalised identifiers of a dataset's latest cut, each once.
    async fn match_set(
        &self,
        contract: &Contract,
        field: &ColumnName,
        normaliser: Normaliser,
    ) -> Result<OfferedSet, MatchError> {
        let cut = contract.latest_cut().ok_or(MatchError::Failed)?;
        let key = format!("{contract:?} {cut} {field} {}", normaliser.number());
        let make = async || {
            let rows = self.datasets.rows_to_match(contract, cut, field).await?;
            let set = tokio::task::spawn_blocking(move || {
                let mut set: Vec<_> =
                    rows.match_keys.iter().flatten().filter_map(|text| normaliser.normalise(text)).collect();
                set.sort_unstable();
                set.dedup();
                set
            });
            set.await.map_err(|_| MatchError::Failed)
        };
        let (set, kept) = self.sets.get(&contract.id, field, key, make).await?;
        if kept {
            // Kept or read, the rows are asked.
            count_execution();
        }
        Ok(set)
    }
}
