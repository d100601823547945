//! An adapter inside this process, without a gateway: for what is asked of the adapter alone.

use agency_adapter::app::{App, Confirmation, ConfirmedLeaf};
use agency_adapter::program;
use anyhow::{Context, Result, bail};
use firebreak::client::Ask;
use firebreak_audit::{Log, NoteKey, SignedLeaf};
use firebreak_domain::{Act, Clock, Identity, Recipient, SystemClock};
use firebreak_node::{SubmittedQuery, Unread};
use firebreak_store::LeafHash;
use firebreak_testbed::{Federation, Options};
use firebreak_transport::{Credential, sign};
use firebreak_wire::query::v1::Question;
use firebreak_wire::{Header, RequestSignature, question_from_wire, sql_question};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::Mutex;
use tokio::time::sleep;

/// How long a request is good, in seconds.
const VALID: i64 = 300;

/// The health agency's adapter as its program opens it, and a log whose key it trusts.
pub struct Inside {
    /// Its folder.
    pub federation: Federation,
    /// What the adapter does.
    pub app: Arc<App>,
    log: Mutex<Shown>,
    _folder: TempDir,
}

struct Shown {
    log: Log,
    /// The newest leaf that tells of the ledger.
    newest: Option<(u64, SignedLeaf)>,
}

impl Inside {
    /// Opens one. `closed` is what stands in its configuration besides, for instance what it keeps closed.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub async fn open(options: &Options, closed: &str) -> Result<Self> {
        Self::open_with(options, closed, |_| Ok(())).await
    }

    /// As [`Inside::open`], after `change` was made to the federation's folder.
    ///
    /// # Errors
    /// As there, and those of the change.
    pub async fn open_with(
        options: &Options,
        closed: &str,
        change: impl FnOnce(&Federation) -> Result<()>,
    ) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let federation = Federation::prepare(&folder.path().join("federation"), options, |_| {})?;
        // Nobody dials: the address is never used.
        let file = federation.configure_adapter("health-agency", &[SocketAddr::from(([127, 0, 0, 1], 9))], None)?;
        fs::write(&file, format!("{closed}{}", fs::read_to_string(&file)?))?;
        change(&federation)?;
        let app = program::open(&program::check(&file)?, Arc::new(SystemClock)).await?;
        let log = open_log(&federation.layout().gateway())?;
        let log = Mutex::new(Shown { log, newest: None });
        Ok(Self { federation, app: Arc::new(app), log, _folder: folder })
    }

    /// The same adapter after its program has ended and started again over what it left, and the same log.
    ///
    /// # Errors
    /// A state that is never let go.
    pub async fn reopened(self) -> Result<Self> {
        let Self { federation, app, log, _folder } = self;
        drop(app);
        let checked = program::check(&federation.layout().adapter("health-agency").join("adapter.toml"))?;
        for _ in 0..100 {
            match program::open(&checked, Arc::new(SystemClock)).await {
                Ok(app) => return Ok(Self { federation, app: Arc::new(app), log, _folder }),
                // The old program holds its state folder until its last task is gone.
                Err(error) if format!("{error:#}").contains("in use") => sleep(Duration::from_millis(100)).await,
                Err(error) => return Err(error.into()),
            }
        }
        bail!("the state folder was never let go")
    }

    /// Who asks in most tests, with their certificate.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub fn ada(&self) -> Result<Credential> {
        self.federation.issue("nso", "analyst", "ada")
    }

    /// A question as it comes to the adapter, by `caller` and signed by `signer`, if anybody signs.
    ///
    /// # Errors
    /// A question that is no request.
    pub fn request(&self, ask: &Ask, caller: &Identity, signer: Option<&Credential>) -> Result<SubmittedQuery> {
        let question = Question {
            rho_nano: ask.rho.map_or(0, firebreak_domain::Rho::nano),
            partial: ask.partial,
            ..sql_question(ask.sql.as_deref().unwrap_or_default())
        };
        let canonical_query = question_from_wire(Some(&question)).map(|query| query.canonical().into());
        let act = Act::Aggregate { canonical_query: canonical_query.unwrap_or_default() };
        let mut header = Header {
            request_id: ask.request_id,
            agreement: ask.agreement.clone(),
            purpose: ask.purpose.clone(),
            expires: SystemClock.now().plus_secs(VALID),
            signature: None,
        };
        if let Some(signer) = signer {
            let recipient = Recipient::Organisation(caller.org.clone());
            let signature = sign(signer, &header.intent(act, recipient).signing_bytes())?;
            header.signature = Some(RequestSignature { certificates: signer.chain(), signature });
        }
        match SubmittedQuery::read(Some(&header.to_wire()), Some(&question), None) {
            Ok(submitted) => Ok(submitted),
            Err(Unread::NoRequest(refusal)) => bail!("{refusal}"),
            Err(Unread::Misnamed(_)) => bail!("the request names something as nothing can be named"),
        }
    }

    /// Takes up the adapter's leaves into the log and shows it to the adapter, as a gateway does after each visit.
    ///
    /// # Errors
    /// A log that cannot be written, or that the adapter does not believe.
    pub async fn show_log(&self) -> Result<()> {
        let mut shown = self.log.lock().await;
        let (offered, accepted) = self.app.outstanding().await?;
        let leaves = offered.iter().map(|leaf| SignedLeaf::decode(&leaf.leaf)).collect::<Result<Vec<_>, _>>()?;
        let places = shown.log.append(&leaves)?;
        let published = Arc::clone(shown.log.publish()?);
        let size = published.checkpoint().size();
        let place = |index: u64, leaf: &SignedLeaf| {
            let hash = *LeafHash::of(leaf.as_bytes()).as_bytes();
            Ok::<_, anyhow::Error>(ConfirmedLeaf { hash, index, proof: published.inclusion_proof(index, size)? })
        };
        let mut confirmed = Vec::with_capacity(leaves.len());
        for (index, leaf) in places.zip(leaves) {
            confirmed.push(place(index, &leaf)?);
            if leaf.leaf().kind.tells_of_ledger() {
                shown.newest = Some((index, leaf));
            }
        }
        let newest = match &shown.newest {
            Some((index, leaf)) => Some((leaf.as_bytes().to_vec(), place(*index, leaf)?)),
            None => None,
        };
        let checkpoint = published.checkpoint().note().as_bytes().to_vec();
        let consistency = published.consistency_proof(accepted, size)?;
        self.app.confirm(&Confirmation { checkpoint, consistency, leaves: confirmed, newest }).await?;
        Ok(())
    }
}

fn open_log(gateway: &Path) -> Result<Log> {
    let text = fs::read(gateway.join("log.key")).context("the log has no key")?;
    Ok(Log::open(&gateway.join("log"), NoteKey::decode(&text)?)?)
}
