mod commit;
mod compare;
mod form;
mod list;
mod opened;
mod pipeline;
mod sample;
mod withheld;

pub(in crate::app) use commit::wait_until_logged;
pub use sample::{MOST_PLACES, Sample, SampledPlace};

use super::fault::of_peer;
use super::participants::Participants;
use super::payload::{Payload, PayloadOffer, described, offer, with_payload};
use super::running::Receiving;
use super::{CHUNK_ELEMENTS, MatchError, mode, normaliser, records, session_name, terms};
use crate::app::App;
use firebreak_audit::LeafKind;
use firebreak_domain::{
    Charge, ColumnName, Contract, DatasetId, Domain, Identity, Intent, OrgId, Pin, ReasonCode, Refusal,
};
use firebreak_node::{Content, StandingMatch, SubmittedMatch, decide_match};
use firebreak_policy::{Denial, Permit};
use firebreak_psi::{Blinding, FORMAT, MatchParams, Normaliser, PublicKey, SecretSeed, SessionId, Shuffle, Slot};
use firebreak_query::{CheckedQuery, check, parse_sql};
use firebreak_store::{SessionFiles, Spool};
use form::{Formed, Forming};
use list::List;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use tokio::task::block_in_place;
use withheld::{Choice, Withheld};

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MatchReport {
    /// The name under which the session is kept.
    pub session: [u8; 32],
    /// Own persons who took part.
    pub offered: u64,
    /// Own persons whom the sender holds too.
    pub matched: u64,
    /// Own persons selected whose identifier is missing or unusable.
    pub unusable: u64,
    /// Own persons who took no part, by what they chose or what was decided for them: some of those offered.
    pub withheld: u64,
    /// What was disclosed of those matched; `None` where the agreement names no payload.
    pub payload: Option<PayloadReport>,
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
    /// Records that the sender's register is declared to have.
    sender_register: u64,
    submitted: SubmittedMatch,
    /// The rule by which the identifiers are written.
    normaliser: Normaliser,
    seed: SecretSeed,
    pub(super) files: SessionFiles,
    formed: Formed,
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
/// last chunk that was verified and the last piece of the list that arrived.
pub struct Receiver {
    pub(super) prepared: Prepared,
    blinding: Arc<Blinding>,
    /// The tags of each chunk that was verified.
    own: Spool,
    withheld: Withheld,
    list: List,
}

/// Decides, as the receiver's own adapter, whether a match may be asked for, and forms the set: the persons of the
/// dataset's latest cut for whom `selection`, a condition as it stands behind WHERE, is true in at least one row. A
/// session that goes on has the set that it formed before.
///
/// # Errors
/// [`MatchError`]. A refusal is recorded.
pub async fn prepare_receiver(
    app: &App,
    submitted: SubmittedMatch,
    own: &Identity,
    selection: &str,
) -> Result<Prepared, MatchError> {
    let intent = submitted.intent(own);
    let (permit, _) = match decide_match(&submitted, own, &app.policy, &app.trust, app.state.now()) {
        Ok(decided) => decided,
        Err(denial) => return Err(app.refuse_match(denial, &intent).await),
    };
    let (facts, contest) = (permit.facts().clone(), permit.agreement().contest.clone());
    match prepare(app, submitted, &intent, permit, selection).await {
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
    selection: &str,
) -> Result<Prepared, MatchError> {
    let terms = terms(&permit)?;
    let contract = permit.contract(&terms.receiver_dataset).ok_or(Refusal::new(ReasonCode::DatasetNotCovered))?;
    let theirs = permit.contract(&terms.sender_dataset).ok_or(Refusal::new(ReasonCode::DatasetNotCovered))?;
    app.check_not_closed(&contract.id, std::iter::once(&terms.field))?;
    if let Err(refusal) = app.gate.check(&app.state).await? {
        return Err(refusal.into());
    }
    let normaliser = normaliser(terms.normaliser)?;
    let payload = Payload::of(terms, theirs)?;
    let standing = Arc::new(StandingMatch::of(&permit, intent.clone(), &app.policy)?);
    // Whatever there is to refuse is refused before a row is read.
    let condition = condition(contract, selection)?;
    let cut = contract.latest_cut().ok_or(MatchError::Failed)?;
    let name = session_name(&permit.agreement().id, &submitted.header.request_id);
    let seed = app.state.open_session(&name, SecretSeed::generate()?.expose()).await?;
    app.check_session(&name).await?;
    let seed = SecretSeed::from_bytes(seed.as_slice().try_into().map_err(|_| MatchError::Failed)?);
    let running = app.running.receive(name)?;
    let files = app.state.session_files(&name).await?;
    let formed_from = formed_from(contract, &terms.field, normaliser, selection, payload.as_ref());
    let formed = match Formed::kept(&files, formed_from)? {
        Some(formed) => formed,
        None => {
            let rows = app.datasets.rows_to_match(contract, cut, &terms.field).await?;
            let shuffle = Shuffle::of_session(&seed);
            let forming = Forming { condition: condition.as_ref(), normaliser, disclosed: payload.is_some() };
            form::form(rows, forming, &shuffle, &files, formed_from, cut.clone()).await?
        }
    };
    let (contest, sender_register) = (permit.agreement().contest.clone(), theirs.unit_space.register_size);
    let bundle_sequence = permit.bundle_sequence();
    let participants = Participants::of(&standing, permit.question().purpose.clone());
    Ok(Prepared {
        standing,
        contest,
        sender_register,
        submitted,
        normaliser,
        seed,
        files,
        formed,
        participants,
        payload,
        bundle_sequence,
        selection: selection.to_owned(),
        retention_days: permit.agreement().retention_days,
        name,
        _running: running,
    })
}

/// What a set is formed from but the cut: one that was formed and committed to stays when a later cut is declared.
fn formed_from(
    contract: &Contract,
    field: &ColumnName,
    normaliser: Normaliser,
    selection: &str,
    payload: Option<&Payload>,
) -> [u8; 32] {
    let (number, payload) = (normaliser.number(), described(payload));
    let terms = format!("firebreak match set 1\n{}\n{field}\n{number}\n{selection}{payload}", contract.id);
    Sha256::digest(terms.as_bytes()).into()
}

/// The selection as a question that counts the rows for which it is true; `None` where all are selected.
fn condition(contract: &Contract, selection: &str) -> Result<Option<CheckedQuery>, Refusal> {
    if selection.trim().is_empty() {
        return Ok(None);
    }
    let sql = format!("SELECT COUNT(*) AS n FROM {} WHERE {selection}", contract.id);
    // What is left out is said of bounded rows, and a match is of all.
    let mut contract = contract.clone();
    contract.columns.retain(|column| column.domain != Domain::LeftOut);
    let query = check(&parse_sql(&sql)?, &contract)?;
    if query.cells() != 1 || query.primitives().len() != 1 {
        return Err(Refusal::new(ReasonCode::UnsupportedClause).because("a selection is a condition alone"));
    }
    Ok(Some(query))
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

    /// The field on which both sides match, and the rule by which it is written.
    #[must_use]
    pub fn field(&self) -> (&ColumnName, Normaliser) {
        (&self.standing.terms().field, self.normaliser)
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
        self.formed.places
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
        let params = MatchParams::new(FORMAT, CHUNK_ELEMENTS, self.elements(), tags).map_err(of_peer)?;
        let params = with_payload(params, self.payload.as_ref())?;
        let key = PublicKey::from_bytes(public_key).map_err(of_peer)?;
        block_in_place(|| super::received::keep_sender(&self.files, key.as_bytes(), tags))?;
        self.go_on(app, key, params).await
    }

    /// The session with a sender whose key and number of tags are kept.
    pub(super) async fn go_on(self, app: &App, key: PublicKey, params: MatchParams) -> Result<Receiver, MatchError> {
        // SECURITY: as the agreement says and nothing else: no sender leaves a proof away that is due.
        let params = params.in_mode(mode(self.standing.terms()));
        self.commit(app).await?;
        let session = SessionId::from_bytes(*self.submitted.header.request_id.as_bytes());
        let blinding = Arc::new(Blinding::new(session, &self.seed, key, params));
        let (own, list) = block_in_place(|| {
            let own = self.files.spool("own-tags")?;
            if own.len() > params.chunks() as usize {
                return Err(MatchError::Failed);
            }
            Ok((own, List::open(&self.files, params)?))
        })?;
        let withheld =
            block_in_place(|| Withheld::open(&self.files, Shuffle::of_session(&self.seed), self.normaliser))?;
        Ok(Receiver { prepared: self, blinding, own, withheld, list })
    }
}

impl Receiver {
    /// Decides again, by the agency's own policy in force, whether the match may go on. A refusal is recorded.
    ///
    /// # Errors
    /// [`MatchError`]: the match ends.
    pub async fn check(&self, app: &App) -> Result<(), MatchError> {
        app.check_standing(&self.prepared.standing).await?;
        app.check_session(&self.prepared.name).await
    }

    /// What the places of a chunk hold, once those who take no part are withheld.
    fn slots(&self, number: u32, choice: &Choice) -> Result<Vec<Slot>, MatchError> {
        let mut reader = form::slots(&self.prepared.files)?.read_from(u64::from(number) * u64::from(CHUNK_ELEMENTS))?;
        let mut slots = Vec::with_capacity(CHUNK_ELEMENTS as usize);
        while slots.len() < CHUNK_ELEMENTS as usize {
            let record = reader.next()?.ok_or(MatchError::Failed)?;
            slots.push(records::item(record).ok_or(MatchError::Failed)?);
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

    /// How far it is.
    #[must_use]
    pub fn evaluating(&self) -> MatchStep {
        let done = u64::from(self.verified()) * u64::from(CHUNK_ELEMENTS);
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
        self.check(app).await?;
        if !self.is_complete() {
            return Err(firebreak_psi::PsiError::Incomplete.into());
        }
        let prepared = &self.prepared;
        // PRIVACY: the leaf comes before the comparison, whose time tells how many matched.
        let (none, facts) = (Charge::default(), prepared.standing.facts());
        let content = Content::of_request(Some(prepared.standing.intent()));
        let evidence = app.recorder.record(LeafKind::MatchDone, facts, None, none, content, &app.state);
        app.state.record_end(&prepared.name, evidence.map_err(|_| MatchError::Failed)?.new_leaf()).await?;
        let layout = prepared.payload.as_ref().map(Payload::layout);
        let matched =
            block_in_place(|| compare::compare(self.params(), &self.own, &self.list, layout, &prepared.files))?;
        let header = &prepared.submitted.header;
        app.state.record_match_cut(&prepared.name, prepared.dataset(), &prepared.formed.cut).await?;
        let who = prepared.participants.now(app).await?;
        if let Some(payload) = &prepared.payload {
            let what = (&prepared.standing.terms().sender_dataset, payload.columns());
            let (agreement, purpose, days) = (&header.agreement, &header.purpose, payload.retention_days());
            app.state.begin_disclosure(&prepared.name, agreement, purpose, what, days).await?;
        }
        let (purpose, agreement) = (&header.purpose, &header.agreement);
        let registered = app.register_matched(&prepared.name, purpose, agreement, &matched, layout, &who).await?;
        let withheld = self.withheld.persons()?.saturating_add(registered.late);
        // SECURITY: from here on, nothing that was stored blinds or unblinds: whoever recorded what was sent learns
        // nothing from this state and its key.
        app.state.close_session(&prepared.name).await?;
        Ok(MatchReport {
            session: prepared.name,
            offered: prepared.formed.offered,
            matched: registered.matched,
            unusable: prepared.formed.unusable,
            withheld,
            payload: layout.map(|_| registered.payload),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_is_of_all_rows_and_knows_nothing_of_what_bounding_leaves_out() {
        let text = include_str!("../../../../deploy/sample/bundle/contracts/health.vaccinations.toml");
        let contract: Contract = toml::from_str(text).unwrap();
        assert!(contract.columns.iter().any(|column| column.domain == Domain::LeftOut));
        assert!(condition(&contract, "vaccine = 'MMR'").unwrap().is_some());
        assert!(condition(&contract, " ").unwrap().is_none());
        for refused in ["left_out = 'yes'", "vaccine = 'MMR' AND left_out = 'no'", "COUNT(*) > 1"] {
            assert!(condition(&contract, refused).is_err(), "{refused}");
        }
    }
}
