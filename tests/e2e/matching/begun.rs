//! A match in this process, begun under a clock that the test moves and policy that it changes between two steps.

use super::side::{RECEIVER, SENDER, Side, begin, log_in, opening, submitted};
use agency_adapter::app::{MatchError, OpenRequest, Prepared, Receiver, SenderSession, accept_match, prepare_receiver};
use anyhow::{Result, bail, ensure};
use firebreak_audit::Log;
use firebreak_domain::{Clock, ManualClock, SystemClock, Timestamp};
use firebreak_policy::signing::{cosign, write_manifest};
use firebreak_policy::{Candidate, Validity};
use firebreak_testbed::Federation;
use firebreak_tests::Own;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

/// Who signs bundles: two of them are enough.
pub const OVERSEERS: [&str; 3] = ["overseer-north", "overseer-south", "overseer-west"];

/// Seconds.
pub const DAY: i64 = 86_400;

/// A match whose session is open and whose set is committed to.
pub struct Begun {
    /// The folders.
    pub federation: Federation,
    /// When it began.
    pub start: Timestamp,
    /// When the first bundle's time has passed.
    pub end: Timestamp,
    /// Everybody's.
    pub clock: Arc<ManualClock>,
    /// The agency that learns.
    pub receiver: Side,
    /// The agency that is asked.
    pub sender: Side,
    /// Of both.
    pub log: Log,
    /// The receiver's session.
    pub machine: Receiver,
    /// The sender's.
    pub session: SenderSession,
    /// With what it was opened.
    pub opening: OpenRequest,
    _folder: TempDir,
}

impl Begun {
    /// Begins under a bundle that was made 60 days ago and has a quarter of an hour left.
    pub async fn start() -> Result<Self> {
        Self::of(600).await
    }

    /// The same, over a population of so many persons.
    pub async fn of(persons: u32) -> Result<Self> {
        Self::after(persons, |_| Ok(())).await
    }

    /// The same, after `change` was made to the bundle's folder.
    pub async fn after(persons: u32, change: impl FnOnce(&Path) -> Result<()>) -> Result<Self> {
        let (federation, folder) = Own::prepare(persons)?;
        change(&federation.layout().bundle())?;
        let start = SystemClock.now();
        let end = start.plus_secs(900);
        let made = start.plus_secs(-60 * DAY);
        federation.sign_bundle(1, None, Validity { made, valid_from: made, valid_until: end })?;
        let clock = Arc::new(ManualClock::at(start));
        let receiver = Side::open(&federation, RECEIVER, clock.clone(), Vec::new()).await?;
        let sender = Side::open(&federation, SENDER, clock.clone(), Vec::new()).await?;
        let mut log = log_in(&federation, &folder.path().join("log"))?;
        for side in [&receiver, &sender] {
            side.visit(&mut log).await?;
        }
        let submitted = submitted(&federation, start)?;
        let identity = federation.issue(RECEIVER, "adapter", "main")?.identity().clone();
        let prepared = prepare_receiver(&receiver.app, submitted.clone(), &identity, "").await?;
        let Ok((session, _)) = accept_match(&sender.app, &submitted, &identity).await? else {
            bail!("the sender refused")
        };
        let opening = opening(&prepared)?;
        let (key, tags) = session.open(&sender.app, &opening).await?;
        let machine = begin(prepared, &receiver, &mut log, &key, tags).await?;
        Ok(Self { federation, start, end, clock, receiver, sender, log, machine, session, opening, _folder: folder })
    }

    /// The next chunk, from one side to the other and back.
    pub async fn evaluate(&mut self) -> Result<(), MatchError> {
        let (number, chunk) = self.machine.next(&self.receiver.app).await?.ok_or(MatchError::Failed)?;
        let evaluated = self.session.evaluate(&self.sender.app, number, chunk.as_bytes().to_vec()).await?;
        self.machine.accept(&chunk, &evaluated)
    }

    /// The whole list.
    pub async fn tags(&mut self) -> Result<(), MatchError> {
        let mut pieces = self.session.tags(&self.sender.app, self.machine.tag_bytes()).await?;
        while let Some(piece) = self.session.next_piece(&self.sender.app, &mut pieces).await? {
            self.machine.push_tags(&piece)?;
        }
        Ok(())
    }

    /// The receiver's program as it is after it was killed and started again. The session is in its state alone.
    pub async fn restart_receiver(&mut self) -> Result<()> {
        self.receiver.app.state().clone().close().await;
        self.receiver = Side::open(&self.federation, RECEIVER, self.clock.clone(), Vec::new()).await?;
        self.visit().await
    }

    /// The sender's, likewise.
    pub async fn restart_sender(&mut self) -> Result<()> {
        self.sender.app.state().clone().close().await;
        self.sender = Side::open(&self.federation, SENDER, self.clock.clone(), Vec::new()).await?;
        self.visit().await
    }

    /// Shows both sides the log.
    pub async fn visit(&mut self) -> Result<()> {
        for side in [&self.receiver, &self.sender] {
            side.visit(&mut self.log).await?;
        }
        Ok(())
    }

    /// The same request again, as its receiver's adapter prepares it.
    pub async fn prepare_again(&self, selection: &str) -> Result<Prepared, MatchError> {
        let failed = |_| MatchError::Failed;
        let submitted = submitted(&self.federation, self.clock.now()).map_err(failed)?;
        let identity = self.federation.issue(RECEIVER, "adapter", "main").map_err(failed)?.identity().clone();
        prepare_receiver(&self.receiver.app, submitted, &identity, selection).await
    }

    /// The same request again, as its sender's adapter lets it in.
    pub async fn accept_again(&self) -> Result<SenderSession> {
        let submitted = submitted(&self.federation, self.clock.now())?;
        let identity = self.federation.issue(RECEIVER, "adapter", "main")?.identity().clone();
        match accept_match(&self.sender.app, &submitted, &identity).await? {
            Ok((session, _)) => Ok(session),
            Err(_) => bail!("the sender refused"),
        }
    }

    /// A second bundle, of the folder as it is, taken up by both.
    pub async fn second_bundle(&self, made: Timestamp, signers: &[&str]) -> Result<()> {
        let folder = self.federation.layout().bundle();
        let previous = Candidate::read(&self.federation.layout().root().join("first"))?.manifest().digest();
        let validity =
            Validity { made, valid_from: self.start.plus_secs(-60), valid_until: self.end.plus_secs(9 * DAY) };
        write_manifest(&folder, 2, Some(previous), validity)?;
        for name in signers {
            cosign(&folder, &self.federation.signing_key(name)?)?;
        }
        for side in [&self.receiver, &self.sender] {
            ensure!(side.app.refresh_policy().await?, "no leaf tells of the bundle");
            let sequence = side.app.policy().accepted().map(|bundle| bundle.sequence());
            ensure!(sequence == Some(2), "the second bundle was not taken up");
        }
        Ok(())
    }

    /// Keeps the bundle as it is, for the second to follow.
    pub fn keep_first(&self) -> Result<()> {
        let layout = self.federation.layout();
        firebreak_tests::copy_folder(&layout.bundle(), &layout.root().join("first"))
    }
}
