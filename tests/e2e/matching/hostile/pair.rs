//! Two agencies' sides over one folder, and sessions between them, one after another.

use crate::matching::caps::by_number;
use crate::matching::side::{RECEIVER, SENDER, Side, begin, log_in, opening, recorded, refused, submitted_by};
use agency_adapter::app::{
    App, Attempt, MatchError, OpenRequest, Prepared, Receiver, SenderSession, accept_match, prepare_receiver,
};
use anyhow::{Context, Result, bail, ensure};
use firebreak_audit::Log;
use firebreak_domain::{CapPeriod, Clock, Counted, Identity, ReasonCode, SystemClock};
use firebreak_node::SubmittedMatch;
use firebreak_policy::Validity;
use firebreak_testbed::Federation;
use firebreak_tests::{Own, change_contracts};
use std::collections::BTreeSet;
use std::sync::Arc;
use tempfile::TempDir;

/// Both sides, and the log.
pub struct Pair {
    pub federation: Federation,
    pub receiver: Side,
    pub sender: Side,
    log: Log,
    identity: Identity,
    _folder: TempDir,
}

/// A session that the sender has let in.
pub struct LetIn {
    pub prepared: Prepared,
    pub attempt: Attempt,
    pub session: SenderSession,
    pub open: OpenRequest,
}

/// A session under way.
pub struct Session {
    pub name: [u8; 32],
    pub attempt: Attempt,
    pub machine: Receiver,
    pub session: SenderSession,
    pub open: OpenRequest,
}

impl Session {
    /// The whole list as the sender gives it.
    pub async fn list(&self, sender: &App) -> Result<Vec<u8>, MatchError> {
        let (mut pieces, mut list) = (self.session.tags(sender, 0).await?, Vec::new());
        while let Some(piece) = self.session.next_piece(sender, &mut pieces).await? {
            list.extend_from_slice(&piece);
        }
        Ok(list)
    }
}

impl Pair {
    /// Opens both, under a receiver's register that is large enough for fifty sessions within the cap.
    pub async fn open() -> Result<Self> {
        let (federation, folder) = Own::prepare(600)?;
        change_contracts(&federation, RECEIVER, &[("register_size", "200_000")])?;
        let now = SystemClock.now();
        let validity = Validity { made: now, valid_from: now.plus_secs(-60), valid_until: now.plus_secs(86_400) };
        federation.sign_bundle(1, None, validity)?;
        let receiver = Side::open(&federation, RECEIVER, Arc::new(SystemClock), Vec::new()).await?;
        let sender = Side::open(&federation, SENDER, Arc::new(SystemClock), Vec::new()).await?;
        let log = log_in(&federation, &folder.path().join("log"))?;
        let identity = federation.issue(RECEIVER, "adapter", "main")?.identity().clone();
        Ok(Self { federation, receiver, sender, log, identity, _folder: folder })
    }

    /// Brings what both have recorded into the log.
    pub async fn visit(&mut self) -> Result<()> {
        for side in [&self.receiver, &self.sender] {
            side.visit(&mut self.log).await?;
        }
        Ok(())
    }

    fn submitted(&self, id: u8) -> Result<SubmittedMatch> {
        submitted_by(&self.federation.issue(RECEIVER, "adapter", "main")?, id, SystemClock.now())
    }

    /// The receiver's own preparation of a request.
    pub async fn prepare(&self, id: u8) -> Result<Result<Prepared, MatchError>> {
        Ok(prepare_receiver(&self.receiver.app, self.submitted(id)?, &self.identity, "").await)
    }

    /// What the sender makes of the request as it comes.
    pub async fn accept(&self, id: u8) -> Result<SenderSession> {
        match accept_match(&self.sender.app, &self.submitted(id)?, &self.identity).await? {
            Ok((session, _)) => Ok(session),
            Err(refused) => bail!("the sender does not let it in: {}", refused.refusal),
        }
    }

    /// A request that is let in.
    pub async fn let_in(&mut self, id: u8) -> Result<LetIn> {
        self.visit().await?;
        let prepared = self.prepare(id).await??;
        let session = self.accept(id).await?;
        let (attempt, open) = (prepared.attempt(), opening(&prepared)?);
        Ok(LetIn { prepared, attempt, session, open })
    }

    /// A session that is open and whose set is committed to.
    pub async fn begin(&mut self, id: u8) -> Result<Session> {
        let before = self.open_sessions().await?;
        let LetIn { prepared, attempt, session, open } = self.let_in(id).await?;
        let (key, tags) = session.open(&self.sender.app, &open).await?;
        let machine = begin(prepared, &self.receiver, &mut self.log, &key, tags).await?;
        let name = self.open_sessions().await?.difference(&before).next().copied();
        self.visit().await?;
        let name = name.or_else(|| before.iter().next_back().copied()).context("no session is open")?;
        Ok(Session { name, attempt, machine, session, open })
    }

    /// The sessions that the receiver has open.
    pub async fn open_sessions(&self) -> Result<BTreeSet<[u8; 32]>> {
        Ok(self.receiver.app.state().open_sessions().await?.iter().map(|open| open.session).collect())
    }

    /// Elements that the sender has counted against the receiver's cap.
    pub fn counted(&self) -> Result<u64> {
        let state = self.sender.app.state();
        let period = CapPeriod::Year(SystemClock.now().year());
        Ok(state.counted(Counted::Evaluations, &by_number()?, period))
    }

    /// That both have recorded that reason, once each, since the last visit.
    pub async fn both_recorded(&self, reason: ReasonCode) -> Result<()> {
        for (who, side) in [("the receiver", &self.receiver), ("the sender", &self.sender)] {
            let found = recorded(side).await?;
            ensure!(found == [reason], "{who} recorded {found:?}, and not {reason} alone");
        }
        Ok(())
    }

    /// That a session has ended for that reason on both sides, that nothing of it is left, and that the same request is
    /// told the reason by both.
    pub async fn ended(&mut self, id: u8, name: &[u8; 32], open: &OpenRequest, reason: ReasonCode) -> Result<()> {
        self.both_recorded(reason).await?;
        for side in [&self.receiver, &self.sender] {
            let state = side.app.state();
            ensure!(state.session_end(name).await? == Some(reason), "it has not ended for {reason}");
            ensure!(state.open_sessions().await?.is_empty(), "its secrets are kept");
        }
        for agency in [RECEIVER, SENDER] {
            let files = self.federation.layout().adapter(agency).join("state/sessions").join(hex::encode(name));
            ensure!(!files.exists(), "{agency} keeps the session's files");
        }
        let state = self.receiver.app.state();
        ensure!(state.matched_persons(name).await?.is_empty(), "somebody was matched");
        let counted = self.counted()?;
        self.visit().await?;
        refused(self.prepare(id).await?.map(drop), reason).context("the same request, by its receiver")?;
        let again = self.accept(id).await?;
        refused(again.open(&self.sender.app, open).await, reason).context("the same request, by the sender")?;
        self.both_recorded(reason).await?;
        ensure!(self.counted()? == counted, "the cap was charged");
        self.visit().await
    }
}
