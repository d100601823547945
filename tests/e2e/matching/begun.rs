//! A match in this process, begun under a clock that the test moves and policy that it changes between two steps.

use super::side::{opening, submitted};
use super::sides::Sides;
use agency_adapter::app::{MatchError, OpenRequest, Prepared, Receiver, SenderSession};
use anyhow::Result;
use firebreak_domain::{Clock, ManualClock, SystemClock, Timestamp};
use firebreak_policy::signing::{cosign, write_manifest};
use firebreak_policy::{Candidate, Validity};
use firebreak_tests::Own;
use std::path::Path;
use std::sync::Arc;

/// Who signs bundles: two of them are enough.
pub const OVERSEERS: [&str; 3] = ["overseer-north", "overseer-south", "overseer-west"];

/// Seconds.
pub const DAY: i64 = 86_400;

/// A match whose session is open and whose set is committed to.
pub struct Begun {
    /// When it began.
    pub start: Timestamp,
    /// When the first bundle's time has passed.
    pub end: Timestamp,
    /// Everybody's.
    pub clock: Arc<ManualClock>,
    /// The receiver's session.
    pub machine: Receiver,
    /// The sender's.
    pub session: SenderSession,
    /// With what it was opened.
    pub opening: OpenRequest,
    /// Both agencies.
    pub sides: Sides,
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
        let mut sides = Sides::open(federation, folder, clock.clone()).await?;
        let submitted = submitted(&sides.federation, start)?;
        let prepared = sides.prepare(&submitted, "").await?;
        let session = sides.accept(&submitted).await?;
        let opening = opening(&prepared)?;
        let (key, tags) = session.open(&sides.sender.app, &opening).await?;
        let machine = sides.begin(prepared, &key, tags).await?;
        Ok(Self { start, end, clock, machine, session, opening, sides })
    }

    /// The next chunk, from one side to the other and back.
    pub async fn evaluate(&mut self) -> Result<(), MatchError> {
        let (number, chunk) = self.machine.next(&self.sides.receiver.app).await?.ok_or(MatchError::Failed)?;
        let evaluated = self.session.evaluate(&self.sides.sender.app, number, chunk.as_bytes().to_vec()).await?;
        self.machine.accept(&chunk, &evaluated)
    }

    /// The sender's list from that byte on.
    pub async fn list(&self, offset: u64) -> Result<Vec<u8>, MatchError> {
        self.sides.list(&self.session, offset).await
    }

    /// The whole list, to the receiver.
    pub async fn tags(&mut self) -> Result<(), MatchError> {
        self.sides.receive(&self.session, &mut self.machine).await
    }

    /// The same request again, as its receiver's adapter prepares it.
    pub async fn prepare_again(&self, selection: &str) -> Result<Prepared, MatchError> {
        let submitted = submitted(&self.sides.federation, self.clock.now()).map_err(|_| MatchError::Failed)?;
        self.sides.prepare(&submitted, selection).await
    }

    /// The same request again, as its sender's adapter lets it in.
    pub async fn accept_again(&self) -> Result<SenderSession> {
        self.sides.accept(&submitted(&self.sides.federation, self.clock.now())?).await
    }

    /// A second bundle, of the folder as it is, taken up by both.
    pub async fn second_bundle(&self, made: Timestamp, signers: &[&str]) -> Result<()> {
        let folder = self.sides.federation.layout().bundle();
        let previous = Candidate::read(&self.sides.federation.layout().root().join("first"))?.manifest().digest();
        let validity =
            Validity { made, valid_from: self.start.plus_secs(-60), valid_until: self.end.plus_secs(9 * DAY) };
        write_manifest(&folder, 2, Some(previous), validity)?;
        for name in signers {
            cosign(&folder, &self.sides.federation.signing_key(name)?)?;
        }
        self.sides.take_up_second().await
    }

    /// Keeps the bundle as it is, for the second to follow.
    pub fn keep_first(&self) -> Result<()> {
        let layout = self.sides.federation.layout();
        firebreak_tests::copy_folder(&layout.bundle(), &layout.root().join("first"))
    }
}
