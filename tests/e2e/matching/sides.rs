//! Both sides of a match in this process, over one folder, under one clock, with one log.

use super::side::{RECEIVER, SENDER, Side, begin, log_in};
use agency_adapter::app::{Asked, MatchError, Prepared, Receiver, SenderSession, accept_match, prepare_receiver};
use anyhow::{Result, bail, ensure};
use firebreak_audit::Log;
use firebreak_domain::{Clock, Identity};
use firebreak_node::SubmittedMatch;
use firebreak_policy::{Candidate, Validity};
use firebreak_testbed::Federation;
use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use tempfile::TempDir;

/// Both sides of a match, and their log.
pub struct Sides {
    /// The folders.
    pub federation: Federation,
    /// The agency that learns.
    pub receiver: Side,
    /// The agency that is asked.
    pub sender: Side,
    /// As whom the receiver asks.
    pub identity: Identity,
    log: Log,
    clock: Arc<dyn Clock>,
    _folder: TempDir,
}

impl Sides {
    /// Opens both over the folders of a federation, and shows them the log.
    pub async fn open(federation: Federation, folder: TempDir, clock: Arc<dyn Clock>) -> Result<Self> {
        let receiver = Side::open(&federation, RECEIVER, clock.clone(), Vec::new()).await?;
        let sender = Side::open(&federation, SENDER, clock.clone(), Vec::new()).await?;
        let log = log_in(&federation, &folder.path().join("log"))?;
        let identity = federation.issue(RECEIVER, "adapter", "main")?.identity().clone();
        let mut sides = Self { federation, receiver, sender, identity, log, clock, _folder: folder };
        sides.visit().await?;
        Ok(sides)
    }

    /// Brings what both have recorded into the log, and shows it to them.
    pub async fn visit(&mut self) -> Result<()> {
        self.receiver.visit(&mut self.log).await?;
        self.sender.visit(&mut self.log).await
    }

    /// The receiver's program as it is after it was killed and started again.
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

    /// A request as its receiver prepares it.
    pub async fn prepare<'a>(
        &self,
        submitted: &SubmittedMatch,
        asked: impl Into<Asked<'a>>,
    ) -> Result<Prepared, MatchError> {
        prepare_receiver(&self.receiver.app, submitted.clone(), &self.identity, asked).await
    }

    /// A request as its sender lets it in.
    pub async fn accept(&self, submitted: &SubmittedMatch) -> Result<SenderSession> {
        match accept_match(&self.sender.app, submitted, &self.identity).await? {
            Ok((session, _)) => Ok(session),
            Err(refused) => bail!("the sender does not let it in: {}", refused.refusal),
        }
    }

    /// Begins the receiver's session, whose commitment is brought to the log meanwhile.
    pub async fn begin(&mut self, prepared: Prepared, key: &[u8], tags: u32) -> Result<Receiver> {
        begin(prepared, &self.receiver, &mut self.log, key, tags).await
    }

    /// Every chunk that is left, from one side to the other and back.
    pub async fn evaluate(&self, session: &SenderSession, machine: &mut Receiver) -> Result<(), MatchError> {
        while let Some((number, chunk)) = machine.next(&self.receiver.app).await? {
            let evaluated = session.evaluate(&self.sender.app, number, chunk.as_bytes().to_vec()).await?;
            machine.accept(&chunk, &evaluated)?;
        }
        Ok(())
    }

    /// The sender's list from that byte on.
    pub async fn list(&self, session: &SenderSession, offset: u64) -> Result<Vec<u8>, MatchError> {
        let (mut list, mut pieces) = (Vec::new(), session.tags(&self.sender.app, offset).await?);
        while let Some(piece) = session.next_piece(&self.sender.app, &mut pieces).await? {
            list.extend(piece);
        }
        Ok(list)
    }

    /// What the receiver does not have of the list yet, piece by piece.
    pub async fn receive(&self, session: &SenderSession, machine: &mut Receiver) -> Result<(), MatchError> {
        let mut pieces = session.tags(&self.sender.app, machine.tag_bytes()).await?;
        while let Some(piece) = session.next_piece(&self.sender.app, &mut pieces).await? {
            machine.push_tags(&piece)?;
        }
        Ok(())
    }

    /// The persons matched in a session.
    pub async fn matched(&self, session: &[u8; 32]) -> Result<BTreeSet<String>> {
        let persons = self.receiver.app.state().matched_persons(session).await?;
        persons.iter().map(|key| Ok(String::from_utf8(key.to_vec())?)).collect()
    }

    /// A second bundle, whose agreement has one text in the place of another, taken up by both sides. Without a text
    /// the agreement is withdrawn.
    pub async fn second_bundle(&self, agreement: &str, from: &str, to: Option<&str>, validity: Validity) -> Result<()> {
        let bundle = self.federation.layout().bundle();
        let previous = Candidate::read(&bundle)?.manifest().digest();
        let file = bundle.join(format!("agreements/{agreement}.toml"));
        let text = fs::read_to_string(&file)?;
        ensure!(text.contains(from), "the agreement has no {from}");
        match to {
            Some(to) => fs::write(&file, text.replace(from, to))?,
            None => fs::remove_file(&file)?,
        }
        self.federation.sign_bundle(2, Some(previous), validity)?;
        self.take_up_second().await
    }

    /// Both take up the second bundle, which is signed.
    pub async fn take_up_second(&self) -> Result<()> {
        for side in [&self.receiver, &self.sender] {
            ensure!(side.app.refresh_policy().await?, "no leaf tells of the bundle");
        }
        self.has_second()
    }

    /// That the second bundle is in force at both.
    pub fn has_second(&self) -> Result<()> {
        for side in [&self.receiver, &self.sender] {
            let sequence = side.app.policy().accepted().map(|bundle| bundle.sequence());
            ensure!(sequence == Some(2), "the second bundle was not taken up");
        }
        Ok(())
    }
}
