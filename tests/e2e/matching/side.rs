//! A side of a match without its sockets: the same code as in an adapter, in this process, under a clock that a test
//! may move and a log that a test brings its leaves to.

use agency_adapter::app::{App, Confirmation, ConfirmedLeaf, Gate, MatchError, OpenRequest, Prepared, Receiver, Tick};
use agency_adapter::configuration::Configuration;
use agency_adapter::datasets::Datasets;
use agency_adapter::views::Views;
use anyhow::{Context, Result, bail, ensure};
use firebreak_audit::{LeafKind, Log, NoteKey, SignedLeaf};
use firebreak_domain::{Act, Clock, Closed, ReasonCode, Recipient, RequestId, Timestamp};
use firebreak_node::{PolicyInForce, Recorder, SubmittedMatch, load};
use firebreak_store::{LeafHash, State, StateKey};
use firebreak_testbed::Federation;
use firebreak_transport::{Credential, sign};
use firebreak_wire::{Header, RequestSignature};
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The agency that learns.
pub const RECEIVER: &str = "health-agency";
/// The agency that is asked.
pub const SENDER: &str = "education-agency";

/// A side of a match: an agency's adapter without its sockets.
pub struct Side {
    /// The adapter's work.
    pub app: App,
    agency: &'static str,
}

/// The log of a federation, in a folder of the test's own.
pub fn log_in(federation: &Federation, folder: &Path) -> Result<Log> {
    let key = NoteKey::decode(&std::fs::read(federation.layout().gateway().join("log.key"))?)?;
    Ok(Log::open(folder, key)?)
}

impl Side {
    /// Opens an agency's side over the folders that its adapter would have.
    pub async fn open(
        federation: &Federation,
        agency: &'static str,
        clock: Arc<dyn Clock>,
        closed: Vec<Closed>,
    ) -> Result<Self> {
        let file = federation.configure_adapter(agency, &[([127, 0, 0, 1], 1).into()], None)?;
        let base = file.parent().context("no folder")?;
        let configuration: Configuration = load(&file)?;
        let (credential, trust) = configuration.federation.open(base)?;
        let key = StateKey::load_or_create(&base.join(&configuration.state_key))?;
        let ranking = *key.secret("row ranking");
        let folder = base.join(&configuration.state_folder);
        let state = State::open(&folder, key, clock).await?;
        let policy = PolicyInForce::open(&configuration.bundles, base, &folder, &state).await?;
        let recorder = Recorder::new(&credential, policy.sealer())?;
        policy.refresh(&recorder, &state).await?;
        let bindings = configuration.bindings.iter().map(|b| load(&base.join(b))).collect::<Result<_, _>>()?;
        let app = App::new(
            state,
            Arc::new(policy),
            trust,
            recorder,
            Datasets::new(
                base.join(&configuration.data_folder),
                bindings,
                ranking,
                1,
                Views::open(&folder.join("views"))?,
            ),
            closed,
            Gate::new(configuration.log_key.parse()?),
            Tick::of(Duration::from_millis(1)),
        );
        Ok(Self { app, agency })
    }

    /// Brings the side's leaves into the log and shows it that they are there, as the gateway does.
    pub async fn visit(&self, log: &mut Log) -> Result<()> {
        let (leaves, accepted) = self.app.outstanding().await?;
        let signed = leaves.iter().map(|leaf| SignedLeaf::decode(&leaf.leaf)).collect::<Result<Vec<_>, _>>()?;
        let places = if signed.is_empty() { 0..0 } else { log.append(&signed)? };
        let published = Arc::clone(log.publish()?);
        let checkpoint = published.checkpoint();
        let size = checkpoint.size();
        let confirmed = places.zip(&leaves).map(|(index, leaf)| {
            let proof = published.inclusion_proof(index, size)?;
            Ok(ConfirmedLeaf { hash: *LeafHash::of(&leaf.leaf).as_bytes(), index, proof })
        });
        let leaves = confirmed.collect::<Result<_>>()?;
        // As the gateway does: the newest of this agency's leaves that tells of its ledger.
        let mut newest = None;
        published.for_each_entry(|index, leaf| {
            if leaf.leaf().signer_org.as_str() == self.agency && leaf.leaf().kind.tells_of_ledger() {
                newest = Some((index, leaf));
            }
        })?;
        let newest = newest.map(|(index, leaf)| {
            let hash = *LeafHash::of(leaf.as_bytes()).as_bytes();
            let proof = published.inclusion_proof(index, size)?;
            Ok::<_, anyhow::Error>((leaf.as_bytes().to_vec(), ConfirmedLeaf { hash, index, proof }))
        });
        let newest = newest.transpose()?;
        let consistency = if accepted == 0 { Vec::new() } else { published.consistency_proof(accepted, size)? };
        let checkpoint = checkpoint.note().as_bytes().to_vec();
        self.app.confirm(&Confirmation { checkpoint, consistency, leaves, newest }).await?;
        Ok(())
    }
}

/// The reasons in the leaves of refusals that wait for the log.
pub async fn recorded(side: &Side) -> Result<Vec<ReasonCode>> {
    let (leaves, _) = side.app.outstanding().await?;
    let leaves = leaves.iter().map(|leaf| SignedLeaf::decode(&leaf.leaf)).collect::<Result<Vec<_>, _>>()?;
    Ok(leaves
        .iter()
        .filter(|leaf| leaf.leaf().kind == LeafKind::Refusal)
        .filter_map(|leaf| leaf.leaf().reason)
        .collect())
}

/// That something is refused, and for that reason.
pub fn refused<T: Debug>(done: Result<T, MatchError>, reason: ReasonCode) -> Result<()> {
    match done {
        Err(MatchError::Refused(refusal)) => {
            ensure!(refusal.reason == reason, "refused for {refusal}, and not for {reason}");
            Ok(())
        }
        other => bail!("not refused for {reason}: {other:?}"),
    }
}

/// The receiver's request, the same each time that it is made.
pub fn submitted(federation: &Federation, now: Timestamp) -> Result<SubmittedMatch> {
    submitted_by(&federation.issue(RECEIVER, "adapter", "main")?, 42, now)
}

/// The receiver's request of a session of that number, under a certificate of its own.
pub fn submitted_by(credential: &Credential, session: u8, now: Timestamp) -> Result<SubmittedMatch> {
    submitted_under(credential, "vaccination-round", session, now)
}

/// The same under another agreement.
pub fn submitted_under(
    credential: &Credential,
    agreement: &str,
    session: u8,
    now: Timestamp,
) -> Result<SubmittedMatch> {
    let unsigned = Header {
        request_id: RequestId::from_bytes([session; 16]),
        agreement: agreement.parse()?,
        purpose: "vaccination-round".parse()?,
        expires: now.plus_secs(600),
        signature: None,
    };
    let recipient = Recipient::Organisation(credential.identity().org.clone());
    let signature = sign(credential, &unsigned.intent(Act::Match, recipient).signing_bytes())?;
    let signature = Some(RequestSignature { certificates: credential.chain(), signature });
    Ok(SubmittedMatch { header: Header { signature, ..unsigned } })
}

/// What the receiver names when it opens the session.
pub fn opening(prepared: &Prepared) -> Result<OpenRequest> {
    let header = &prepared.submitted().header;
    Ok(OpenRequest {
        session: header.request_id,
        agreement: header.agreement.to_string(),
        purpose: header.purpose.to_string(),
        bundle_sequence: prepared.bundle_sequence(),
        normaliser: prepared.field().1.number(),
        field: prepared.field().0.to_string(),
        elements: prepared.elements(),
        chunk_elements: prepared.chunk_elements(),
        proofs: prepared.proofs(),
        payload: prepared.payload(),
        epoch: prepared.epoch(),
    })
}

/// Begins the receiver's session, whose commitment is brought to the log meanwhile.
pub async fn begin(prepared: Prepared, receiver: &Side, log: &mut Log, key: &[u8], tags: u32) -> Result<Receiver> {
    let mut beginning = Box::pin(prepared.begin(&receiver.app, key, tags));
    loop {
        // The commitment waits for the log, and the log for a visit.
        tokio::select! {
            begun = &mut beginning => return Ok(begun?),
            () = tokio::time::sleep(Duration::from_millis(10)) => receiver.visit(log).await?,
        }
    }
}
