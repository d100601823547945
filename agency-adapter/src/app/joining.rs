//! One side of a statistic over two agencies' join, of whose records nobody learns a match (`docs/JOIN_PRIVACY.md`), with
//! neither sockets nor messages in it.
//!
//! | step | a side | |
//! | --- | --- | --- |
//! | 1 | decides, charges, forms its records, makes its own list and commits to it | [`App::prepare_join`] |
//! | 2 | waits until the commitment is in the log | [`JoinRun::logged`] |
//! | 3 | exchanges keys and lists with the other side | [`JoinRun::greet`], [`JoinRun::push`], [`JoinRun::own`] |
//! | 4 | makes the list that it sends on, for counting | [`JoinRun::sent_on`] |
//!
//! All of it is on the disk before it is sent, and follows from one seed: a side that is asked again sends the same bytes.

mod ended;
mod exchange;
mod form;
mod lists;
mod prepare;
mod replay;
mod running;

pub use ended::is_of_list;
pub use exchange::Arrival;
pub use lists::JoinList;
pub use replay::{CommittedHashes, Replay, Replayed, SentHashes};
pub(crate) use running::Joins;

use super::matching::{MatchError, wait_until_logged};
use super::{App, Failure};
use ended::Recorded;
use exchange::Exchange;
use firebreak_audit::LeafKind;
use firebreak_domain::{Charge, Intent, JoinSide, OrgId, Pin, ReasonCode, Refusal, RequestId, Timestamp};
use firebreak_node::{Content, DecidedJoin, Evidence, StandingJoin};
use firebreak_policy::DecisionFacts;
use firebreak_psi::join::{JoinParams, JoinParty, JoinSession, JoinSide as PsiSide};
use firebreak_psi::{SecretSeed, SessionId};
use firebreak_records::Sent;
use firebreak_store::{Fault, LeafHash, SealError, SessionFiles, StoreError};
use running::Begun;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;
use tokio::task::block_in_place;

/// A side of a join that has charged its persons and committed, and the evidence of that.
pub struct PreparedJoin {
    /// The side.
    pub run: Arc<JoinRun>,
    /// The commitment, which is recorded.
    pub evidence: Evidence,
}

/// One side of a join that runs. One of a session lives at a time.
pub struct JoinRun {
    standing: StandingJoin,
    intent: Intent,
    contest: String,
    /// What the log may say of this side.
    facts: DecisionFacts,
    request: RequestId,
    name: [u8; 32],
    terms: [u8; 32],
    bundle_sequence: u64,
    /// The rule by which identifiers are written.
    normaliser: u32,
    side: JoinSide,
    peer: OrgId,
    peer_pin: Pin,
    /// Persons whom the other side's register is declared to have, and this side's.
    registers: (u64, u64),
    params: JoinParams,
    party: JoinParty,
    files: SessionFiles,
    own: JoinList,
    leaf: LeafHash,
    /// Whether that is known to be in the log.
    logged: AtomicBool,
    until: Timestamp,
    exchange: Mutex<Exchange>,
    arrival: watch::Sender<Arrival>,
    recorded: tokio::sync::Mutex<Recorded>,
    _running: Begun,
}

impl JoinRun {
    /// The session's name.
    #[must_use]
    pub const fn name(&self) -> &[u8; 32] {
        &self.name
    }

    /// SHA-256 of all that both sides go by.
    #[must_use]
    pub const fn terms(&self) -> &[u8; 32] {
        &self.terms
    }

    /// The sequence of the bundle that permitted it.
    #[must_use]
    pub const fn bundle_sequence(&self) -> u64 {
        self.bundle_sequence
    }

    /// The number of the rule by which identifiers are written.
    #[must_use]
    pub const fn normaliser(&self) -> u32 {
        self.normaliser
    }

    /// Which side this is.
    #[must_use]
    pub const fn side(&self) -> JoinSide {
        self.side
    }

    /// The organisation at the other end, and the one key by which it is known inside the tunnel.
    #[must_use]
    pub const fn peer(&self) -> (&OrgId, Pin) {
        (&self.peer, self.peer_pin)
    }

    /// This side's list, once its commitment is in the log ([`JoinRun::logged`]).
    ///
    /// # Errors
    /// [`MatchError::Refused`]: `EVIDENCE_OUTSTANDING`.
    // SECURITY: there is no other way to it, or to its sizes, for whatever sends them.
    pub fn own(&self) -> Result<&JoinList, MatchError> {
        if self.logged.load(Ordering::SeqCst) {
            return Ok(&self.own);
        }
        let refusal = Refusal::new(ReasonCode::EvidenceOutstanding);
        Err(refusal.because("the commitment to the list is not known to be in the log").into())
    }

    /// Persons whom both registers are declared to have together: what is worked through, at most, before a message.
    #[must_use]
    pub const fn work(&self) -> u64 {
        self.registers.0.saturating_add(self.registers.1)
    }

    /// Decides again, by the agency's own policy in force, whether the join may go on.
    ///
    /// # Errors
    /// [`MatchError`]: the join ends.
    pub async fn check(&self, app: &App) -> Result<(), MatchError> {
        self.standing.check(&app.policy, app.state.now()).map_err(|denial| denial.refusal)?;
        app.check_session(&self.name).await
    }

    /// Why something of this join failed, which may be that another call ended it meanwhile.
    pub async fn why(&self, app: &App, error: MatchError) -> MatchError {
        app.why(&self.name, error).await
    }

    /// Waits until the commitment is in the log: nothing is sent before.
    ///
    /// # Errors
    /// [`MatchError`]; `EVIDENCE_OUTSTANDING`.
    pub async fn logged(&self, app: &App) -> Result<(), MatchError> {
        wait_until_logged(app, &self.leaf).await??;
        self.logged.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// The list that is sent on to the gateway: the other side's, raised, and what is added to it. It is made once, and
    /// recorded with hashes of it before its first byte.
    ///
    /// # Errors
    /// [`MatchError`]; [`MatchError::Fault`] for points of the other side that are none.
    pub async fn sent_on(&self, app: &App) -> Result<JoinList, MatchError> {
        self.check(app).await?;
        let (list, sent) = block_in_place(|| self.make_sent_on())?;
        let line = |what: &str, hash: &[u8; 32]| format!("{what} sha256 {}", hex::encode(hash));
        let content = Content::of_request(Some(&self.intent))
            .with_line(&line("received", &sent.received))
            .with_line(&line("added", &sent.added))
            .with_line(&line("sent on", &sent.sent_on));
        let evidence =
            app.recorder.record(LeafKind::JoinSent, &self.facts, None, Charge::default(), content, &app.state);
        let evidence = evidence.map_err(|_| MatchError::Failed)?;
        app.state.end_join(&self.name, &self.request, self.until, &sent.encode(), evidence.new_leaf()).await?;
        Ok(list)
    }

    fn make_sent_on(&self) -> Result<(JoinList, Sent), MatchError> {
        let exchange = self.exchange();
        let (peer, spool) = exchange.whole()?;
        let added = self.party.counterparts(peer)?;
        let labels = self.params.labels(psi_side(self.side.other()));
        let list = lists::sent_on(&self.party, spool, &added, labels, &self.files)?;
        let (received, added) = (exchange.hash()?, lists::hash_of_added(&added));
        let sent = Sent { received, added, sent_on: list.hash, key: exchange.shown()? };
        Ok((list, sent))
    }
}

/// The facts of the decision, with this side's dataset.
fn facts_of(decided: &DecidedJoin, side: JoinSide) -> DecisionFacts {
    let dataset = decided.join.side(side).dataset().clone();
    DecisionFacts { datasets: vec![dataset], ..decided.permit.facts().clone() }
}

const fn psi_side(side: JoinSide) -> PsiSide {
    match side {
        JoinSide::Left => PsiSide::Left,
        JoinSide::Right => PsiSide::Right,
    }
}

fn party(
    name: &[u8; 32],
    terms: [u8; 32],
    side: JoinSide,
    seed: &[u8; 32],
    params: JoinParams,
) -> Result<JoinParty, MatchError> {
    let id = SessionId::from_bytes(*name.first_chunk().ok_or(MatchError::Failed)?);
    let session = JoinSession { id, terms };
    Ok(JoinParty::of(session, psi_side(side), &SecretSeed::from_bytes(*seed), params)?)
}

/// The leaf of stored evidence.
fn leaf_of(evidence: &Evidence) -> LeafHash {
    LeafHash::of(evidence.leaf.as_bytes())
}

/// The refusal of a join whose session is over: nobody draws a second time for one charge.
fn lost() -> Refusal {
    Refusal::new(ReasonCode::SessionMismatch)
        .because("the session of this join is over, and what it drew is destroyed: its charge stays spent")
        .instead("the question under a new request id, at its price")
}

/// What whoever waits is told; a failure of this program's own is one.
fn refusal_of(error: MatchError) -> Result<Refusal, Failure> {
    match error {
        MatchError::Refused(refusal) | MatchError::Fault(refusal) => Ok(refusal),
        MatchError::Session(_) => Ok(lost()),
        // A seed or a file of the session that does not open any more is as good as deleted.
        MatchError::Store(StoreError::Seal(SealError::Open) | StoreError::File(Fault::Damaged)) => {
            tracing::warn!("what a join keeps on the disk does not open: it is over");
            Ok(lost())
        }
        MatchError::Store(error) => Err(error.into()),
        MatchError::Dataset(error) => Err(error.into()),
        MatchError::Failed => Err(Failure::Measurement("a join failed on this side".to_owned())),
    }
}
