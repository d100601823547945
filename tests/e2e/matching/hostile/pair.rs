//! Two agencies' sides over one folder, and sessions between them, one after another.

use crate::matching::caps::by_number;
use crate::matching::side::{RECEIVER, SENDER, opening, recorded, refused, submitted_by};
use crate::matching::sides::Sides;
use agency_adapter::app::{Attempt, MatchError, OpenRequest, Prepared, Receiver, SenderSession};
use anyhow::{Context, Result, ensure};
use firebreak_domain::{CapPeriod, Clock, Counted, ReasonCode, SystemClock};
use firebreak_node::SubmittedMatch;
use firebreak_policy::Validity;
use firebreak_tests::{Own, change_contracts};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Both sides, and their sessions.
pub struct Pair {
    pub sides: Sides,
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

impl Pair {
    /// Opens both, under a receiver's register that is large enough for fifty sessions within the cap.
    pub async fn open() -> Result<Self> {
        let (federation, folder) = Own::prepare(600)?;
        change_contracts(&federation, RECEIVER, &[("register_size", "200_000")])?;
        let now = SystemClock.now();
        let validity = Validity { made: now, valid_from: now.plus_secs(-60), valid_until: now.plus_secs(86_400) };
        federation.sign_bundle(1, None, validity)?;
        Ok(Self { sides: Sides::open(federation, folder, Arc::new(SystemClock)).await? })
    }

    fn submitted(&self, id: u8) -> Result<SubmittedMatch> {
        submitted_by(&self.sides.federation.issue(RECEIVER, "adapter", "main")?, id, SystemClock.now())
    }

    /// The receiver's own preparation of a request.
    pub async fn prepare(&self, id: u8) -> Result<Result<Prepared, MatchError>> {
        Ok(self.sides.prepare(&self.submitted(id)?, "").await)
    }

    /// What the sender makes of the request as it comes.
    pub async fn accept(&self, id: u8) -> Result<SenderSession> {
        self.sides.accept(&self.submitted(id)?).await
    }

    /// A request that is let in.
    pub async fn let_in(&mut self, id: u8) -> Result<LetIn> {
        self.sides.visit().await?;
        let prepared = self.prepare(id).await??;
        let session = self.accept(id).await?;
        let (attempt, open) = (prepared.attempt(), opening(&prepared)?);
        Ok(LetIn { prepared, attempt, session, open })
    }

    /// A session that is open and whose set is committed to.
    pub async fn begin(&mut self, id: u8) -> Result<Session> {
        let before = self.open_sessions().await?;
        let LetIn { prepared, attempt, session, open } = self.let_in(id).await?;
        let (key, tags) = session.open(&self.sides.sender.app, &open).await?;
        let machine = self.sides.begin(prepared, &key, tags).await?;
        let name = self.open_sessions().await?.difference(&before).next().copied();
        self.sides.visit().await?;
        let name = name.or_else(|| before.iter().next_back().copied()).context("no session is open")?;
        Ok(Session { name, attempt, machine, session, open })
    }

    /// The sessions that the receiver has open.
    pub async fn open_sessions(&self) -> Result<BTreeSet<[u8; 32]>> {
        Ok(self.sides.receiver.app.state().open_sessions().await?.iter().map(|open| open.session).collect())
    }

    /// Elements that the sender has counted against the receiver's cap.
    pub fn counted(&self) -> Result<u64> {
        let state = self.sides.sender.app.state();
        let period = CapPeriod::Year(SystemClock.now().year());
        Ok(state.counted(Counted::Evaluations, &by_number()?, period))
    }

    /// That both have recorded that reason, once each, since the last visit.
    pub async fn both_recorded(&self, reason: ReasonCode) -> Result<()> {
        for (who, side) in [("the receiver", &self.sides.receiver), ("the sender", &self.sides.sender)] {
            let found = recorded(side).await?;
            ensure!(found == [reason], "{who} recorded {found:?}, and not {reason} alone");
        }
        Ok(())
    }

    /// That a session has ended for that reason on both sides, that nothing of it is left, and that the same request is
    /// told the reason by both.
    pub async fn ended(&mut self, id: u8, name: &[u8; 32], open: &OpenRequest, reason: ReasonCode) -> Result<()> {
        self.both_recorded(reason).await?;
        for side in [&self.sides.receiver, &self.sides.sender] {
            let state = side.app.state();
            ensure!(state.session_end(name).await? == Some(reason), "it has not ended for {reason}");
            ensure!(state.open_sessions().await?.is_empty(), "its secrets are kept");
        }
        for agency in [RECEIVER, SENDER] {
            let files = self.sides.federation.layout().adapter(agency).join("state/sessions").join(hex::encode(name));
            ensure!(!files.exists(), "{agency} keeps the session's files");
        }
        let state = self.sides.receiver.app.state();
        ensure!(state.matched_persons(name).await?.is_empty(), "somebody was matched");
        let counted = self.counted()?;
        self.sides.visit().await?;
        refused(self.prepare(id).await?.map(drop), reason).context("the same request, by its receiver")?;
        let again = self.accept(id).await?;
        refused(again.open(&self.sides.sender.app, open).await, reason).context("the same request, by the sender")?;
        self.both_recorded(reason).await?;
        ensure!(self.counted()? == counted, "the cap was charged");
        self.sides.visit().await
    }
}
