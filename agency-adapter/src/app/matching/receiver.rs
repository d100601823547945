mod commit;
mod compare;
mod form;
mod held;
mod list;
mod own;
mod pipeline;
mod sample;
mod shared;
mod stronger;
mod withheld;

pub(in crate::app) use commit::wait_until_logged;
pub use sample::{MOST_PLACES, Sample, SampledPlace};

use super::epoch::{Epochs, SharedEpoch, is_kept, over};
use super::fault::of_peer;
use super::keys::{Asked, Chosen, Key};
use super::participants::Participants;
use super::payload::{Payload, PayloadOffer, described, offer, with_payload};
use super::running::Receiving;
use super::{CHUNK_ELEMENTS, MatchError, mode, session_name, terms};
use crate::app::{App, Tick};
use firebreak_audit::LeafKind;
use firebreak_domain::{
    Charge, Contract, DatasetId, Identity, Intent, MatchKeyName, OrgId, Pin, ReasonCode, Refusal, Timestamp,
};
use firebreak_node::{Content, StandingMatch, SubmittedMatch, decide_match};
use firebreak_policy::{Denial, Permit};
use firebreak_psi::{
    Blinding, FORMAT, MatchParams, Normaliser, PsiError, PublicKey, SecretSeed, SessionId, Shuffle, Slot,
};
use firebreak_query::selection;
use firebreak_records::{Stated, WithheldPlaces, read_item};
use firebreak_store::{MatchedBy, SessionFiles, Spool};
use form::{Formed, Forming, Places};
use held::Theirs;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use stronger::{Common, Stronger, selection_hash};
use tokio::task::block_in_place;
use tokio::time::Instant;
use withheld::Withheld;

/// How many times the size that its contract declares a sender's register may have in a match: one that has outgrown its
/// contract a little is compared, and none makes a receiver keep a list without bounds.
const MOST_OF_REGISTER: u64 = 2;

/// Where a match stands, for whoever waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MatchStep {
    /// Forming the own set.
    Forming,
    /// The set is committed to in the log.
    Committed,
    /// Chunks evaluated so far.
    Evaluating {
        /// Elements done.
        done: u64,
        /// Elements in all, padding included.
        of: u64,
    },
    /// Tags received so far.
    Comparing {
        /// Bytes done.
        done: u64,
        /// Bytes in all.
        of: u64,
    },
}

/// What a match came to. It stays in the agency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatchReport {
    /// The name under which the session is kept.
    pub session: [u8; 32],
    /// Own persons who took part.
    pub offered: u64,
    /// Own persons whom the sender holds too.
    pub matched: u64,
    /// Own persons selected, and not matched by a stronger key, whose identifier is missing or unusable.
    pub unusable: u64,
    /// Own persons who took no part, by what they chose or what was decided for them: some of those offered.
    pub withheld: u64,
    /// What was disclosed of those matched; `None` where the agreement names no payload.
    pub payload: Option<PayloadReport>,
    /// The key by which was matched.
    pub key: MatchKeyName,
    /// Whether the matches are to be looked at by people before anything follows from them.
    pub provisional: bool,
    /// The agreement's next weaker key, for whoever is left.
    pub next_key: Option<MatchKeyName>,
    /// When the list of the epoch is deleted; `None` for a session with a list of its own.
    pub held_until: Option<Timestamp>,
}

/// What a match disclosed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PayloadReport {
    /// Own persons matched of whom columns came.
    pub disclosed: u64,
    /// Own persons matched of whom nothing came, because an identifier is several persons' on either side.
    pub undisclosed: u64,
    /// Own persons matched whose row cannot be read: it was not sealed as agreed.
    pub unreadable: u64,
}

/// A match prepared by its receiver: decided by its own adapter, its set formed.
pub struct Prepared {
    pub(super) standing: Arc<StandingMatch>,
    pub(super) contest: String,
    /// Records that the own register is declared to have, and the sender's.
    own_register: u64,
    sender_register: u64,
    submitted: SubmittedMatch,
    /// The key by which is matched.
    key: Key,
    next_key: Option<MatchKeyName>,
    matched_by: MatchedBy,
    seed: SecretSeed,
    pub(super) files: SessionFiles,
    formed: Formed,
    epoch: Option<SharedEpoch>,
    participants: Participants,
    pub(super) payload: Option<Payload>,
    bundle_sequence: u64,
    /// The condition by which the set is formed.
    selection: String,
    /// Days for which what opens the set's commitment is kept.
    retention_days: u32,
    pub(super) name: [u8; 32],
    _running: Receiving,
}

/// A match under way, from its receiver's side. All that it has is on the disk: after a restart it goes on behind the
/// last chunk that was verified and the last piece of the list that arrived. Of chunks that were on their way it takes what
/// was sent and what was answered; the one being blinded and the one being verified it begins again.
pub struct Receiver {
    pub(super) prepared: Prepared,
    blinding: Arc<Blinding>,
    /// Chunks as they were sent for evaluation, and as they were answered.
    sent: Spool,
    answered: Spool,
    /// The tags of each chunk that was verified.
    own: Spool,
    withheld: Withheld,
    list: Theirs,
}

/// Decides, as the receiver's own adapter, whether a match may be asked for, and forms the set: the persons of the
/// dataset's latest cut for whom the selection is true in at least one row. By a weaker key, those of the very cut of the
/// match that it follows whom no stronger key has matched. A session that goes on has the set that it formed before.
///
/// # Errors
/// [`MatchError`]. A refusal is recorded.
pub async fn prepare_receiver<'a>(
    app: &App,
    submitted: SubmittedMatch,
    own: &Identity,
    asked: impl Into<Asked<'a>>,
) -> Result<Prepared, MatchError> {
    let asked = asked.into();
    let intent = submitted.intent(own);
    let (permit, _) = match decide_match(&submitted, own, &app.policy, &app.trust, app.state.now()) {
        Ok(decided) => decided,
        Err(denial) => return Err(app.refuse_match(denial, &intent).await),
    };
    let (facts, contest) = (permit.facts().clone(), permit.agreement().contest.clone());
    match prepare(app, submitted, &intent, permit, &asked).await {
        Err(MatchError::Refused(refusal)) => {
            let refusal = Refusal { contest: Some(contest), ..refusal };
            Err(app.refuse_match(Denial { refusal, facts }, &intent).await)
        }
        prepared => prepared,
    }
}

async fn prepare(
    app: &App,
    submitted: SubmittedMatch,
    intent: &Intent,
    permit: Permit,
    asked: &Asked<'_>,
) -> Result<Prepared, MatchError> {
    let since = Instant::now();
    let terms = terms(&permit)?;
    let Chosen { key, stronger, next } = Chosen::of(terms, asked.key)?;
    let contract = permit.contract(&terms.receiver_dataset).ok_or(Refusal::new(ReasonCode::DatasetNotCovered))?;
    let theirs = permit.contract(&terms.sender_dataset).ok_or(Refusal::new(ReasonCode::DatasetNotCovered))?;
    let reading = key.reading();
    app.check_not_closed(&contract.id, reading.columns().iter())?;
    if let Err(refusal) = app.gate.check(&app.state).await? {
        return Err(refusal.into());
    }
    let payload = Payload::of(terms, theirs)?;
    let standing = Arc::new(StandingMatch::of(&permit, intent.clone(), &app.policy)?);
    // Whatever there is to refuse is refused before a row is read.
    let condition = selection(contract, asked.selection)?;
    let agreement = &permit.agreement().id;
    let common = Common {
        agreement,
        purpose: &permit.question().purpose,
        contract,
        selection: selection_hash(contract, asked.selection),
    };
    let stronger = match (stronger, asked.after) {
        (Some(stronger), after) => Some(Stronger::of(app, &common, &stronger, after).await?),
        (None, None) => None,
        (None, Some(_)) => {
            let refusal = Refusal::new(ReasonCode::SessionMismatch);
            return Err(refusal.because("the agreement's strongest key follows no other match").into());
        }
    };
    let cut = stronger.as_ref().map_or(contract.latest_cut(), |stronger| Some(&stronger.cut));
    let cut = cut.ok_or(MatchError::Failed)?;
    let matched_by = MatchedBy {
        key: key.name.clone(),
        compares: key.compares(),
        provisional: key.provisional,
        selection: common.selection,
        after: stronger.as_ref().and_then(Stronger::session),
    };
    let name = session_name(agreement, &submitted.header.request_id);
    let seed = app.state.open_session(&name, SecretSeed::generate()?.expose()).await?;
    app.check_session(&name).await?;
    let seed = SecretSeed::from_bytes(seed.as_slice().try_into().map_err(|_| MatchError::Failed)?);
    let running = app.running.receive(name)?;
    let files = app.state.session_files(&name).await?;
    let formed_from = formed_from(contract, &key, matched_by.after, asked.selection, payload.as_ref());
    let epochs = Epochs::of(&permit, &key)?;
    let formed = match Formed::kept(&files, formed_from)? {
        Some(formed) => formed,
        None => {
            let matched = match &stronger {
                Some(stronger) => Some(stronger.matched(app, &files).await?),
                None => None,
            };
            let rows = app.datasets.rows_to_match(contract, cut, &reading.columns()).await?;
            let epoch = epochs.as_ref().map(|epochs| epochs.at(app.state.now()));
            let forming = Forming {
                condition: condition.as_ref(),
                reading: &reading,
                shuffle: &Shuffle::of_session(&seed),
                files: &files,
                terms: formed_from,
                cut: cut.clone(),
                places: Places::Padded(epoch.as_ref()),
                disclosed: payload.is_some(),
            };
            forming.form(rows, matched).await?
        }
    };
    let epoch = Epochs::taken_up(epochs.as_ref(), formed.epoch)?;
    let own_register = contract.unit_space.register_size;
    if stronger.is_some() {
        // PRIVACY: forming the set takes longer the more were matched before. The tunnel is opened, which the sender
        // sees, on a tick that follows from the declared register.
        Tick::wait(since, app.tick.of_set(own_register)).await;
    }
    let (contest, sender_register) = (permit.agreement().contest.clone(), theirs.unit_space.register_size);
    let bundle_sequence = permit.bundle_sequence();
    let participants = Participants::of(&standing, permit.question().purpose.clone());
    Ok(Prepared {
        standing,
        contest,
        own_register,
        sender_register,
        submitted,
        key,
        next_key: next,
        matched_by,
        seed,
        files,
        formed,
        epoch,
        participants,
        payload,
        bundle_sequence,
        selection: asked.selection.to_owned(),
        retention_days: permit.agreement().retention_days,
        name,
        _running: running,
    })
}

/// What a set is formed from but the cut: one that was formed and committed to stays when a later cut is declared.
fn formed_from(
    contract: &Contract,
    key: &Key,
    after: Option<[u8; 32]>,
    selection: &str,
    payload: Option<&Payload>,
) -> [u8; 32] {
    let (compares, after) = (hex::encode(key.compares()), after.map(hex::encode).unwrap_or_default());
    let read = key.reading().text();
    let payload = described(payload);
    let terms = format!("firebreak match set 1\n{}\n{compares}\n{read}\n{after}\n{selection}{payload}", contract.id);
    Sha256::digest(terms.as_bytes()).into()
}

impl Prepared {
    /// The sender's organisation, and the one key by which it is known inside the tunnel.
    #[must_use]
    pub fn sender(&self) -> (&OrgId, Pin) {
        (&self.standing.terms().sender, self.standing.sender_pin())
    }

    /// The request that the tunnel is opened with.
    #[must_use]
    pub const fn submitted(&self) -> &SubmittedMatch {
        &self.submitted
    }

    /// The sequence of the bundle that permitted it.
    #[must_use]
    pub const fn bundle_sequence(&self) -> u64 {
        self.bundle_sequence
    }

    /// The key by which both sides match, with its columns, and the rule by which it is written.
    #[must_use]
    pub fn field(&self) -> (String, Normaliser) {
        (self.key.field(), self.key.normaliser)
    }

    /// Whether the sender proves its evaluations.
    #[must_use]
    pub fn proofs(&self) -> bool {
        self.standing.terms().proofs
    }

    /// What the agreement has go with the tags.
    #[must_use]
    pub fn payload(&self) -> PayloadOffer {
        offer(self.payload.as_ref())
    }

    /// The dataset from which the set is formed.
    #[must_use]
    pub fn dataset(&self) -> &DatasetId {
        &self.standing.terms().receiver_dataset
    }

    /// Records that the sender's register is declared to have.
    #[must_use]
    pub const fn sender_register(&self) -> u64 {
        self.sender_register
    }

    /// The padded number of elements: all that the sender learns of the set's size.
    #[must_use]
    pub const fn elements(&self) -> u32 {
        self.formed.set.places
    }

    /// Records that are worked through in the comparison, as it is declared: a list of the session's own is read as a
    /// whole, and in that of an epoch the set is looked up.
    fn compared(&self) -> u64 {
        self.epoch.as_ref().map_or(self.own_register.max(self.sender_register), |epoch| epoch.elements.into())
    }

    /// Elements in each chunk: the whole set, where it is matched in an epoch.
    #[must_use]
    pub fn chunk_elements(&self) -> u32 {
        self.epoch.as_ref().map_or(CHUNK_ELEMENTS, |epoch| epoch.elements)
    }

    /// The number of the epoch in which it is matched; `None` for a session with a key of its own.
    #[must_use]
    pub fn epoch(&self) -> Option<u64> {
        self.epoch.as_ref().map(|epoch| epoch.epoch.number)
    }

    /// What both sides declare, where the sender lists so many tags.
    pub(super) fn params(&self, tags: u32) -> Result<MatchParams, MatchError> {
        let params = MatchParams::new(FORMAT, self.chunk_elements(), self.elements(), tags).map_err(of_peer)?;
        Ok(match &self.epoch {
            Some(epoch) => epoch.params(params)?,
            None => with_payload(params, self.payload.as_ref())?,
        })
    }

    /// Begins, or takes up again, the session with a sender of that key and padded number of tags, and commits to the
    /// set. Waits until the commitment is in the log: nothing is sent for evaluation before.
    ///
    /// # Errors
    /// [`MatchError`]; [`MatchError::Fault`] for a key that is none, for no tags, for more than twice as many as the
    /// sender's contract declares records, and if the sender stated another key or number before.
    pub async fn begin(self, app: &App, public_key: &[u8], tags: u32) -> Result<Receiver, MatchError> {
        let declared = self.sender_register.checked_next_multiple_of(u64::from(CHUNK_ELEMENTS)).unwrap_or(u64::MAX);
        if u64::from(tags) > declared.saturating_mul(MOST_OF_REGISTER) {
            let refusal = Refusal::new(ReasonCode::SizeExceeded);
            return Err(MatchError::Fault(
                refusal.because("the sender's list is far larger than its declared register"),
            ));
        }
        let params = self.params(tags)?;
        let key = PublicKey::from_bytes(public_key).map_err(of_peer)?;
        let otherwise = "the sender stated another key or number of tags than before: begin a new match";
        let stated = Stated { public_key: *key.as_bytes(), tags };
        block_in_place(|| super::received::keep_sender(&self.files, stated, otherwise))?;
        self.go_on(app, key, params).await
    }

    /// The session with a sender whose key and number of tags are kept.
    pub(super) async fn go_on(self, app: &App, key: PublicKey, params: MatchParams) -> Result<Receiver, MatchError> {
        // SECURITY: as the agreement says and nothing else: no sender leaves a proof away that is due.
        let params = params.in_mode(mode(self.standing.terms()));
        self.commit(app).await?;
        let session = SessionId::from_bytes(*self.submitted.header.request_id.as_bytes());
        let list = self.theirs(app, &key, params).await?;
        let blinding = Arc::new(Blinding::new(session, &self.seed, key, params));
        block_in_place(|| {
            let [sent, answered, own] = ["sent-chunks", "answered-chunks", "own-tags"].map(|n| self.files.spool(n));
            let (sent, answered, own) = (sent?, answered?, own?);
            if own.len() > params.chunks() as usize {
                return Err(MatchError::Failed);
            }
            let shuffle = Shuffle::of_session(&self.seed);
            let withheld = Withheld::open(&self.files, shuffle, self.key.normaliser, params.chunk_elements())?;
            let missing = own.len() > answered.len() || answered.len() > sent.len() || sent.len() > withheld.chunks();
            // Each is kept before the next. Of what is verified nothing else is needed.
            if missing && own.len() < params.chunks() as usize {
                let refusal = Refusal::new(ReasonCode::SessionMismatch);
                let refusal = refusal.because("what was kept of this session is no longer whole");
                return Err(refusal.instead("a match under a new request id").into());
            }
            Ok(Receiver { prepared: self, blinding, sent, answered, own, withheld, list })
        })
    }
}

impl Receiver {
    /// Decides again, by the agency's own policy in force, whether the match may go on. A refusal is recorded.
    ///
    /// # Errors
    /// [`MatchError`]: the match ends.
    pub async fn check(&self, app: &App) -> Result<(), MatchError> {
        app.check_standing(&self.prepared.standing).await?;
        let over = match &self.prepared.epoch {
            Some(epoch) => epoch.epoch.held_until <= app.state.now() || !is_kept(app, &epoch.name).await?,
            None => false,
        };
        if over {
            let facts = self.prepared.standing.facts().clone();
            return Err(app
                .refuse_match(Denial { refusal: self::over(), facts }, self.prepared.standing.intent())
                .await);
        }
        app.check_session(&self.prepared.name).await
    }

    /// What the places of a chunk hold, once those who take no part are withheld.
    fn slots(&self, number: u32, choice: &WithheldPlaces) -> Result<Vec<Slot>, MatchError> {
        let count = self.params().chunk_elements();
        let mut reader = form::slots(&self.prepared.files)?.read_from(u64::from(number) * u64::from(count))?;
        let mut slots = Vec::with_capacity(count as usize);
        while slots.len() < count as usize {
            let record = reader.next()?.ok_or(MatchError::Failed)?;
            slots.push(read_item(record.as_array().ok_or(MatchError::Failed)?).ok_or(MatchError::Failed)?);
        }
        self.withheld.apply(number, choice, &mut slots)?;
        Ok(slots)
    }

    /// Chunks that were verified, which is the number of the next.
    fn verified(&self) -> u32 {
        // INVARIANT: no more than there are, which 32 bits hold.
        self.own.len() as u32
    }

    fn params(&self) -> &MatchParams {
        self.blinding.params()
    }

    /// Tags that the sender is to list.
    #[must_use]
    pub fn tags(&self) -> u32 {
        self.params().sender_padded()
    }

    /// Takes a piece of the sender's tags, one at least, and keeps it, on the disk before this returns.
    ///
    /// # Errors
    /// [`MatchError::Fault`]; the list is as it was.
    pub fn push_tags(&mut self, piece: &[u8]) -> Result<(), MatchError> {
        block_in_place(|| self.list.push(piece))
    }

    /// Bytes of the sender's tags that have arrived: where a transfer goes on that broke off.
    #[must_use]
    pub const fn tag_bytes(&self) -> u64 {
        self.list.bytes()
    }

    /// Whether all of the sender's tags have arrived: in an epoch, by an earlier session.
    #[must_use]
    pub const fn has_tags(&self) -> bool {
        self.list.is_complete()
    }

    /// How far it is.
    #[must_use]
    pub fn evaluating(&self) -> MatchStep {
        let done = u64::from(self.verified()) * u64::from(self.params().chunk_elements());
        MatchStep::Evaluating { done, of: u64::from(self.params().receiver_padded()) }
    }

    /// How far the tags are.
    #[must_use]
    pub fn comparing(&self) -> MatchStep {
        MatchStep::Comparing { done: self.list.bytes(), of: self.params().tag_list_bytes() as u64 }
    }

    /// Whether everything has arrived that the sender is needed for.
    pub(super) fn is_complete(&self) -> bool {
        self.verified() == self.params().chunks() && self.list.is_complete()
    }

    /// Records that the match is done, then compares, records who was matched, and destroys the session's secrets. To
    /// be called when the sender has nothing more to hear. Before any of it the match is decided once more. Where it
    /// breaks off, the same request goes on with [`Prepared::received`].
    ///
    /// # Errors
    /// [`MatchError`].
    pub async fn finish(&self, app: &App) -> Result<MatchReport, MatchError> {
        let since = Instant::now();
        self.check(app).await?;
        if !self.is_complete() {
            return Err(PsiError::Incomplete.into());
        }
        let prepared = &self.prepared;
        // PRIVACY: the leaf comes before the comparison, whose time tells how many matched.
        let (none, facts) = (Charge::default(), prepared.standing.facts());
        let content = Content::of_request(Some(prepared.standing.intent()));
        let evidence = app.recorder.record(LeafKind::MatchDone, facts, None, none, content, &app.state);
        app.state.record_end(&prepared.name, evidence.map_err(|_| MatchError::Failed)?.new_leaf()).await?;
        let layout = prepared.payload.as_ref().map(Payload::layout);
        let (params, files) = (self.params(), &prepared.files);
        let compared = || compare::compare(&app.state, params, &self.own, &self.list, layout, files);
        let mut matched = block_in_place(compared)?;
        let header = &prepared.submitted.header;
        app.state.record_match_cut(&prepared.name, prepared.dataset(), &prepared.formed.set.cut).await?;
        app.state.record_matched_by(&prepared.name, &prepared.matched_by).await?;
        let who = prepared.participants.now(app).await?;
        if let Some(payload) = &prepared.payload {
            let what = (&prepared.standing.terms().sender_dataset, payload.columns());
            let (agreement, purpose, days) = (&header.agreement, &header.purpose, payload.retention_days());
            app.state.begin_disclosure(&prepared.name, agreement, purpose, what, days).await?;
        }
        let (purpose, agreement) = (&header.purpose, &header.agreement);
        let registered = app.register_matched(&prepared.name, purpose, agreement, &mut matched, layout, &who).await?;
        let withheld = self.withheld.persons()?.saturating_add(registered.late);
        // PRIVACY: comparing takes longer the more matched, and whoever has something follow when this returns, the next
        // key or the next set of an epoch, opens a tunnel for it, which the sender sees. A program that ends meanwhile
        // loses nothing: the session is still there.
        Tick::wait(since, app.tick.of_set(prepared.compared())).await;
        // SECURITY: from here on, nothing that was stored blinds or unblinds: whoever recorded what was sent learns
        // nothing from this state and its key.
        app.state.close_session(&prepared.name).await?;
        Ok(MatchReport {
            session: prepared.name,
            offered: prepared.formed.set.offered,
            matched: registered.matched,
            unusable: prepared.formed.set.unusable,
            withheld,
            payload: layout.map(|_| registered.payload),
            key: prepared.key.name.clone(),
            provisional: prepared.key.provisional,
            next_key: prepared.next_key.clone(),
            held_until: self.list.held_until(),
        })
    }
}
