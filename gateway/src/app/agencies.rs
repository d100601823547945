use async_trait::async_trait;
use bytes::Bytes;
use firebreak_audit::{Hash, LogEntry, SignedLeaf};
use firebreak_domain::{AgreementId, CapStanding, Closed, Identity, OrgId, ReasonCode, Refusal};
use firebreak_node::{Evidence, SubmittedMatch, SubmittedQuery};
use firebreak_transport::ByteStream;
use std::sync::Arc;

/// A release as its agency sent it.
pub struct AgencyRelease {
    /// [`firebreak_privacy::Released::encode`].
    pub release: Vec<u8>,
    /// The agency's evidence of it.
    pub evidence: Evidence,
}

/// A refusal as its agency sent it.
pub struct AgencyRefusal {
    /// What the caller is told.
    pub refusal: Refusal,
    /// The agency's evidence of it.
    pub evidence: Evidence,
}

/// What an agency said to a question.
pub enum AgencyAnswer {
    /// A release.
    Released(AgencyRelease),
    /// A refusal.
    Refused(AgencyRefusal),
}

/// What an agency said to a tunnel.
pub enum TunnelAnswer {
    /// The sender's end of the tunnel, and its evidence.
    Open(ByteStream, Evidence),
    /// A refusal.
    Refused(AgencyRefusal),
}

/// What one side of a join says as it runs.
pub enum JoinStep {
    /// It has charged its persons and committed: the evidence of that.
    Committed(Evidence),
    /// The commitment is in the log; points of its own list, by label.
    Prepared(Vec<u64>),
    /// The next points of the other side's list as it sends that on.
    Points(Vec<u8>),
    /// There are no more.
    Sent,
    /// It ends here.
    Refused(AgencyRefusal),
}

/// The steps of one side of a join. Dropped, it ends that side's part; the same request takes it up again.
#[async_trait]
pub trait JoinSteps: Send {
    /// The next step.
    async fn next(&mut self) -> Result<JoinStep, AgencyError>;
}

/// An agency that gave no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AgencyError {
    /// It has no connection: it was not asked.
    #[error("the agency is not connected")]
    NotConnected,
    /// The connection was lost or the agency failed: it may have been asked.
    #[error("the agency gave no answer")]
    Lost,
    /// What it sent cannot be read.
    #[error("the agency's answer cannot be read")]
    Unreadable,
}

/// A leaf that an agency offers for the log. It names that agency's adapter as its signer.
pub struct OfferedLeaf {
    /// The leaf, and what the overseers read of it.
    pub entry: LogEntry,
    /// Whether the key that the agency's adapter has now made the signature.
    pub signed_by_key: bool,
}

/// What an agency says at a visit.
#[derive(Default)]
pub struct Outstanding {
    /// The leaves of its own that it has not yet seen in the log.
    pub leaves: Vec<OfferedLeaf>,
    /// The size of the log that it has accepted.
    pub log_size: u64,
    /// What it keeps closed, whatever a bundle says.
    pub closed: Vec<Closed>,
}

/// A leaf's place in the log, proved.
pub struct LeafInLog {
    /// The leaf's hash.
    pub hash: Hash,
    /// Its number.
    pub index: u64,
    /// Its inclusion proof.
    pub proof: Vec<Hash>,
}

/// What is shown to an agency of the log.
pub struct Shown {
    /// Signed note.
    pub checkpoint: String,
    /// That it extends what the agency has accepted.
    pub consistency: Vec<Hash>,
    /// Its leaves.
    pub leaves: Vec<LeafInLog>,
    /// The agency's newest leaf in the log.
    pub newest: Option<(SignedLeaf, LeafInLog)>,
}

/// The way to the agencies. What goes this way is the caller's own request, as it came.
#[async_trait]
pub trait Agencies: Send + Sync {
    /// The agencies that have a connection.
    fn connected(&self) -> Vec<OrgId>;

    /// Has an agency answer a question.
    async fn execute(&self, agency: &OrgId, caller: &Identity, asked: &Asked) -> Result<AgencyAnswer, AgencyError>;

    /// Opens the sender's end of a tunnel.
    async fn open_tunnel(
        &self,
        agency: &OrgId,
        caller: &Identity,
        submitted: &SubmittedMatch,
    ) -> Result<TunnelAnswer, AgencyError>;

    /// Whether an agency would take part in a join now: its refusal, if it would not. Nothing is charged there.
    async fn check_join(
        &self,
        agency: &OrgId,
        caller: &Identity,
        asked: &Asked,
    ) -> Result<Option<AgencyRefusal>, AgencyError>;

    /// Has an agency run its side of a join.
    async fn run_join(
        &self,
        agency: &OrgId,
        caller: &Identity,
        asked: &Asked,
    ) -> Result<Box<dyn JoinSteps>, AgencyError>;

    /// Tells a side of a join that runs what was found in a list that came to be counted: in the one that it sent on, or
    /// in its own, as the other side sent it on.
    async fn report_join_fault(
        &self,
        agency: &OrgId,
        session: &[u8; 32],
        reason: ReasonCode,
        sent_on: bool,
    ) -> Result<(), AgencyError>;

    /// Opens the right side's end of a join's tunnel to the left one, which is `left`.
    async fn open_join_tunnel(
        &self,
        agency: &OrgId,
        left: &Identity,
        session: &[u8; 32],
    ) -> Result<ByteStream, AgencyError>;

    /// How the caps stand of an agreement's match, by the agency that is its sender.
    async fn caps(
        &self,
        agency: &OrgId,
        caller: &Identity,
        agreement: &AgreementId,
    ) -> Result<Vec<CapStanding>, AgencyError>;

    /// What an agency has to say at a visit.
    async fn outstanding(&self, agency: &OrgId) -> Result<Outstanding, AgencyError>;

    /// Shows an agency its leaves in the log.
    async fn confirm(&self, agency: &OrgId, shown: Shown) -> Result<(), AgencyError>;
}

/// A question as it came in: what was read, and the bytes of it that go on to the agency.
#[derive(Clone)]
pub struct Asked {
    /// As read.
    pub submitted: SubmittedQuery,
    /// As it came.
    pub message: Arc<Bytes>,
}
