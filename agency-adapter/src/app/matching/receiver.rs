use super::{CHUNK_ELEMENTS, MatchError, session_name, terms};
use crate::app::App;
use crate::source::{Encoded, MISSING, Rows};
use firebreak_audit::LeafKind;
use firebreak_domain::{
    Charge, ColumnName, Contract, DatasetId, Domain, Identity, Intent, OrgId, Pin, ReasonCode, Refusal,
};
use firebreak_node::{Content, StandingMatch, SubmittedMatch, decide_match};
use firebreak_policy::{Denial, Permit};
use firebreak_psi::{
    BlindedChunk, FORMAT, MatchParams, NormalisedInput, Normaliser, PublicKey, SecretSeed, padded_size,
};
use firebreak_query::{BoundValue, CheckedQuery, check, parse_sql};
use firebreak_store::LeafHash;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

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
}

/// A match prepared by its receiver: decided by its own adapter, its set formed.
pub struct Prepared {
    standing: StandingMatch,
    submitted: SubmittedMatch,
    /// The rule by which the identifiers are written.
    normaliser: Normaliser,
    persons: BTreeMap<NormalisedInput, Vec<String>>,
    unusable: u64,
    bundle_sequence: u64,
    pub(super) name: [u8; 32],
}

/// A match under way, from its receiver's side.
pub struct Receiver {
    pub(super) prepared: Prepared,
    pub(super) public_key: PublicKey,
    pub(super) machine: firebreak_psi::Receiver,
}

/// Decides, as the receiver's own adapter, whether a match may be asked for, and forms the set: the persons of the
/// dataset's latest cut for whom `selection`, a condition as it stands behind WHERE, is true in at least one row.
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
    app.check_not_closed(&contract.id, std::iter::once(&terms.field))?;
    if let Err(refusal) = app.gate.check(&app.state).await? {
        return Err(refusal.into());
    }
    let normaliser = Normaliser::from_number(terms.normaliser)
        .ok_or(Refusal::new(ReasonCode::SessionMismatch).because("the agreement's normaliser is not known here"))?;
    let standing = StandingMatch::of(&permit, intent.clone(), &app.policy)?;
    // Whatever there is to refuse is refused before a row is read.
    let condition = condition(contract, selection)?;
    let cut = contract.latest_cut().ok_or(MatchError::Failed)?;
    let rows = app.datasets.rows_to_match(contract, cut, &terms.field).await?;
    let selected = select(condition.as_ref(), &rows);
    let (persons, unusable) = tokio::task::spawn_blocking(move || form(&rows, &selected, normaliser))
        .await
        .map_err(|_| MatchError::Failed)?;
    let name = session_name(&permit.agreement().id, &submitted.header.request_id);
    let bundle_sequence = permit.bundle_sequence();
    Ok(Prepared { standing, submitted, normaliser, persons, unusable, bundle_sequence, name })
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

/// The rows for which the selection is true.
fn select(condition: Option<&CheckedQuery>, rows: &Rows) -> Vec<bool> {
    let Some(filter) = condition.and_then(CheckedQuery::filter) else { return vec![true; rows.persons.len()] };
    let columns: BTreeMap<&ColumnName, _> = rows.columns.iter().map(|c| (c.name(), c)).collect();
    let holds = |row: usize| {
        let value = |name: &ColumnName| {
            let column = columns.get(name)?;
            let value = column.values().get(row).copied().filter(|v| *v != MISSING)?;
            match column.encoded() {
                Encoded::Code => u16::try_from(value).ok().map(BoundValue::Code),
                Encoded::Number => Some(BoundValue::Number(value)),
                Encoded::Day => i32::try_from(value).ok().map(BoundValue::Day),
            }
        };
        filter.holds(&value) == Some(true)
    };
    (0..rows.persons.len()).map(holds).collect()
}

/// The selected persons by identifier, and how many have none that can be used.
fn form(rows: &Rows, selected: &[bool], normaliser: Normaliser) -> (BTreeMap<NormalisedInput, Vec<String>>, u64) {
    let mut usable: BTreeMap<u32, Option<NormalisedInput>> = BTreeMap::new();
    for (row, person) in rows.persons.iter().enumerate().filter(|(row, _)| selected.get(*row) == Some(&true)) {
        let written = rows.match_keys.get(row).and_then(Option::as_ref);
        let input = written.and_then(|text| normaliser.normalise(text));
        let known = usable.entry(*person).or_default();
        if known.is_none() {
            *known = input;
        }
    }
    let mut persons: BTreeMap<NormalisedInput, Vec<String>> = BTreeMap::new();
    let mut unusable = 0;
    for (person, input) in usable {
        match input {
            None => unusable += 1,
            Some(input) => {
                let key = rows.person_keys.get(person as usize).cloned().unwrap_or_default();
                persons.entry(input).or_default().push(key);
            }
        }
    }
    (persons, unusable)
}

impl Prepared {
    /// The sender's organisation, and the one key by which it is known inside the tunnel.
    #[must_use]
    pub const fn sender(&self) -> (&OrgId, Pin) {
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
    pub const fn field(&self) -> (&ColumnName, Normaliser) {
        (&self.standing.terms().field, self.normaliser)
    }

    /// The dataset from which the set is formed.
    #[must_use]
    pub const fn dataset(&self) -> &DatasetId {
        &self.standing.terms().receiver_dataset
    }

    /// The padded number of elements: all that the sender learns of the set's size.
    ///
    /// # Errors
    /// [`MatchError::Protocol`] for a set beyond 2³².
    pub fn elements(&self) -> Result<u32, MatchError> {
        Ok(padded_size(self.persons.len(), CHUNK_ELEMENTS)?)
    }

    /// Begins, or takes up again, the session with a sender of that key and padded number of tags, and commits to the
    /// set. Waits until the commitment is in the log: nothing is sent for evaluation before.
    ///
    /// # Errors
    /// [`MatchError`].
    pub async fn begin(self, app: &App, public_key: &[u8], tags: u32) -> Result<Receiver, MatchError> {
        let params = MatchParams::new(FORMAT, CHUNK_ELEMENTS, self.elements()?, tags)?;
        let key = PublicKey::from_bytes(public_key)?;
        let seed = app.state.open_session(&self.name, SecretSeed::generate()?.expose()).await?;
        app.check_session(&self.name).await?;
        let seed = SecretSeed::from_bytes(seed.as_slice().try_into().map_err(|_| MatchError::Failed)?);
        let inputs: Vec<_> = self.persons.keys().cloned().collect();
        let session = firebreak_psi::SessionId::from_bytes(*self.submitted.header.request_id.as_bytes());
        let public_key = key.clone();
        let made =
            tokio::task::spawn_blocking(move || firebreak_psi::Receiver::new(session, &seed, inputs, key, params));
        let mut machine = made.await.map_err(|_| MatchError::Failed)??;
        self.commit(app, &machine).await?;
        for (number, evaluated) in app.state.chunks_of(&self.name).await? {
            let chunk = machine.blind_chunk(number)?;
            let verified = machine.verify_chunk(&chunk, &evaluated)?;
            machine.accept(&verified)?;
        }
        Ok(Receiver { prepared: self, public_key, machine })
    }

    /// Commits to the set, unless it was before, and waits until that is in the log.
    async fn commit(&self, app: &App, machine: &firebreak_psi::Receiver) -> Result<(), MatchError> {
        let leaf = match app.state.session_opening(&self.name).await? {
            Some(kept) => kept_leaf(&kept).ok_or(MatchError::Failed)?,
            None => {
                let root = machine.root();
                let set = format!("set {} {}", root.size, hex::encode(root.hash));
                let (kind, none) = (LeafKind::MatchCommitted, Charge::default());
                let content = Content::of_request(Some(self.standing.intent())).with_line(&set);
                let evidence = app.recorder.record(kind, self.standing.facts(), None, none, content, &app.state);
                let evidence = evidence.map_err(|_| MatchError::Failed)?;
                let leaf = LeafHash::of(evidence.leaf.as_bytes());
                // PRIVACY: what is kept opens the leaf and, beside the same set, any place of it. It gives no blind:
                // from it nobody tells what was sent, nor what matched.
                let opening = Zeroizing::new(
                    [
                        leaf.as_bytes().as_slice(),
                        machine.opening_seed().expose(),
                        &evidence.opening.nonce,
                        &evidence.opening.payload,
                    ]
                    .concat(),
                );
                app.state.keep_opening(&self.name, &opening, evidence.new_leaf()).await?;
                leaf
            }
        };
        match wait_until_logged(app, &leaf).await? {
            Ok(()) => Ok(()),
            Err(refusal) => {
                let denial = Denial { refusal, facts: self.standing.facts().clone() };
                Err(app.refuse_match(denial, self.standing.intent()).await)
            }
        }
    }
}

/// The leaf that a kept opening begins with.
fn kept_leaf(opening: &[u8]) -> Option<LeafHash> {
    opening.first_chunk().copied().map(LeafHash::from_bytes)
}

/// How long a commitment may take to reach the log.
const LOGGED_WITHIN: Duration = Duration::from_secs(10);

async fn wait_until_logged(app: &App, leaf: &LeafHash) -> Result<Result<(), Refusal>, MatchError> {
    let started = Instant::now();
    loop {
        // SECURITY: that it stands in the log, and not that it is out of sight behind other leaves that wait.
        if app.state.is_logged(leaf).await? {
            return Ok(Ok(()));
        }
        if started.elapsed() > LOGGED_WITHIN {
            let refusal = Refusal::new(ReasonCode::EvidenceOutstanding);
            return Ok(Err(refusal.because("the commitment to the set did not reach the log")));
        }
        sleep(Duration::from_millis(20)).await;
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

    /// The next chunk to be evaluated, after a [`Receiver::check`]; `None` once all are.
    ///
    /// # Errors
    /// [`MatchError`].
    pub async fn next(&self, app: &App) -> Result<Option<(u32, BlindedChunk)>, MatchError> {
        self.check(app).await?;
        let Some(number) = self.machine.next_chunk() else { return Ok(None) };
        // About 0.1 s of arithmetic: the runtime may move other work away meanwhile.
        Ok(Some((number, tokio::task::block_in_place(|| self.machine.blind_chunk(number))?)))
    }

    /// Verifies and keeps an evaluated chunk.
    ///
    /// # Errors
    /// [`MatchError::Protocol`] for evaluations whose proof does not hold.
    pub async fn accept(&mut self, app: &App, chunk: &BlindedChunk, evaluated: &[u8]) -> Result<(), MatchError> {
        let verified = tokio::task::block_in_place(|| self.machine.verify_chunk(chunk, evaluated))?;
        app.state.keep_chunk(&self.prepared.name, chunk.id().number, evaluated).await?;
        self.machine.accept(&verified)?;
        Ok(())
    }

    /// Takes a piece of the sender's tags.
    ///
    /// # Errors
    /// [`MatchError::Protocol`].
    pub fn push_tags(&mut self, piece: &[u8]) -> Result<(), MatchError> {
        Ok(self.machine.push_tags(piece)?)
    }

    /// How far it is.
    #[must_use]
    pub fn evaluating(&self) -> MatchStep {
        let chunk = u64::from(CHUNK_ELEMENTS);
        let of = u64::from(self.machine.params().receiver_padded());
        MatchStep::Evaluating { done: self.machine.accepted_chunks() as u64 * chunk, of }
    }

    /// How far the tags are.
    #[must_use]
    pub fn comparing(&self) -> MatchStep {
        let of = self.machine.params().tag_list_bytes() as u64;
        MatchStep::Comparing { done: self.machine.tag_bytes_received() as u64, of }
    }

    /// Records that the match is done, then compares, records who was matched, and destroys the session's secrets. To
    /// be called when the sender has nothing more to hear. Before any of it the match is decided once more. Where it
    /// breaks off, the same request goes on with [`Prepared::received`].
    ///
    /// # Errors
    /// [`MatchError`].
    pub async fn finish(self, app: &App) -> Result<MatchReport, MatchError> {
        self.check(app).await?;
        let Self { prepared, machine, .. } = self;
        // PRIVACY: the leaf comes before the comparison, whose time tells how many matched.
        let (none, facts) = (Charge::default(), prepared.standing.facts());
        let content = Content::of_request(Some(prepared.standing.intent()));
        let evidence = app.recorder.record(LeafKind::MatchDone, facts, None, none, content, &app.state);
        app.state.record_end(&prepared.name, evidence.map_err(|_| MatchError::Failed)?.new_leaf()).await?;
        let matches = tokio::task::block_in_place(|| machine.finish())?;
        let matched: Vec<&String> =
            matches.inputs().iter().filter_map(|input| prepared.persons.get(input)).flatten().collect();
        let header = &prepared.submitted.header;
        app.state.record_matched(&prepared.name, &header.purpose, &header.agreement, &matched).await?;
        // SECURITY: from here on, nothing that was stored blinds or unblinds: whoever recorded what was sent learns
        // nothing from this state and its key.
        app.state.close_session(&prepared.name).await?;
        Ok(MatchReport {
            session: prepared.name,
            offered: prepared.persons.values().map(|p| p.len() as u64).sum(),
            matched: matched.len() as u64,
            unusable: prepared.unusable,
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
