//! A hostile receiver: the sender finds it out, charges nothing for it, and ends the session.

use super::pair::{LetIn, Pair, Session};
use crate::matching::side::{SENDER, recorded, refused};
use agency_adapter::app::{App, BrokenOff, CHUNK_ELEMENTS, MatchError, OpenRequest};
use anyhow::{Context, Result, ensure};
use firebreak_domain::{ReasonCode, RequestId};
use firebreak_tests::{HeldFile, run};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::time::sleep;

#[derive(Debug, Clone, Copy)]
enum Sent {
    NoElement,
    Identity,
    OneTwice,
    OneByteShort,
    TenTimesTheChunk,
    OneChunkMore,
    OtherElements,
}

const ALL: [(Sent, ReasonCode); 7] = [
    (Sent::NoElement, ReasonCode::HostileInput),
    (Sent::Identity, ReasonCode::HostileInput),
    (Sent::OneTwice, ReasonCode::HostileInput),
    (Sent::OneByteShort, ReasonCode::WrongCount),
    (Sent::TenTimesTheChunk, ReasonCode::SizeExceeded),
    (Sent::OneChunkMore, ReasonCode::SizeExceeded),
    (Sent::OtherElements, ReasonCode::ChunkReplayed),
];

/// Bytes of an element.
const ELEMENT: usize = 32;

fn changed(honest: &[u8], sent: Sent) -> Vec<u8> {
    let (first, rest) = honest.split_at(ELEMENT);
    let (second, others) = rest.split_at(ELEMENT);
    match sent {
        Sent::NoElement => [&[0xff; ELEMENT], rest].concat(),
        Sent::Identity => [&[0; ELEMENT], rest].concat(),
        Sent::OneTwice => [second, rest].concat(),
        Sent::OneByteShort => honest.split_last().map(|(_, but_last)| but_last.to_vec()).unwrap_or_default(),
        Sent::TenTimesTheChunk => honest.repeat(10),
        Sent::OneChunkMore => honest.to_vec(),
        Sent::OtherElements => [second, first, others].concat(),
    }
}

async fn ask(session: &mut Session, receiver: &App, sender: &App, sent: Sent) -> Result<Vec<u8>, MatchError> {
    let (number, chunk) = session.machine.next(receiver).await?.ok_or(MatchError::Failed)?;
    let number = if matches!(sent, Sent::OneChunkMore) { number + 1 } else { number };
    session.session.evaluate(sender, number, changed(chunk.as_bytes(), sent)).await
}

#[test]
fn whatever_a_receiver_sends_wrong_ends_the_session_by_its_name_on_both_sides() -> Result<()> {
    run(async {
        let mut pair = Pair::open().await?;
        for (id, (sent, reason)) in (1..).zip(ALL) {
            let mut session = pair.begin(id).await?;
            if matches!(sent, Sent::OtherElements) {
                // The twin: the chunk itself, once and again.
                let (number, chunk) = session.machine.next(&pair.sides.receiver.app).await?.context("no chunk")?;
                let mut answers = Vec::new();
                for _ in 0..2 {
                    let answer =
                        session.session.evaluate(&pair.sides.sender.app, number, chunk.as_bytes().to_vec()).await?;
                    answers.push(answer);
                }
                let answer = answers.pop().context("no answer")?;
                // A resumed session would ask for it once more.
                session.machine.accept(&chunk, &answer)?;
                let other = changed(chunk.as_bytes(), sent);
                let counted = pair.counted()?;
                refused(session.session.evaluate(&pair.sides.sender.app, number, other).await, reason)?;
                ensure!(pair.counted()? == counted, "{sent:?}: it was counted");
            } else {
                let counted = pair.counted()?;
                let found = ask(&mut session, &pair.sides.receiver.app, &pair.sides.sender.app, sent).await;
                refused(found, reason).with_context(|| format!("{sent:?}"))?;
                ensure!(pair.counted()? == counted, "{sent:?}: it was counted");
            }
            let why = BrokenOff::BySender(reason);
            ensure!(why.told().is_none(), "the sender is told what it said itself");
            let said = session.attempt.broken_off(&pair.sides.receiver.app, why).await;
            refused(Err::<(), _>(said), reason).with_context(|| format!("{sent:?}"))?;
            ensure!(pair.sides.sender.app.state().offered().await?.len() == usize::from(id), "{sent:?}: the register");
            pair.ended(id, &session.name, &session.open, reason).await.with_context(|| format!("{sent:?}"))?;
        }
        Ok(())
    })
}

/// A session that is open, a chunk that ends it, and where the sender keeps its files.
struct Open {
    pair: Pair,
    session: Session,
    number: u32,
    hostile: Vec<u8>,
    files: PathBuf,
}

impl Open {
    async fn begin() -> Result<Self> {
        let mut pair = Pair::open().await?;
        let mut session = pair.begin(1).await?;
        let (number, chunk) = session.machine.next(&pair.sides.receiver.app).await?.context("no chunk")?;
        let hostile = changed(chunk.as_bytes(), Sent::NoElement);
        let files = pair.sides.federation.layout().adapter(SENDER).join("state/sessions");
        Ok(Self { files: files.join(hex::encode(session.name)), pair, session, number, hostile })
    }

    async fn end(&self) -> Result<Vec<u8>, MatchError> {
        self.session.session.evaluate(&self.pair.sides.sender.app, self.number, self.hostile.clone()).await
    }
}

#[test]
fn a_list_that_is_made_while_another_call_ends_the_session_is_refused_for_what_ended_it() -> Result<()> {
    run(async {
        let mut open = Open::begin().await?;
        let set = HeldFile::at(&open.files.join("set"))?;
        let ends = async {
            // By then the other call has found that the session goes on, and waits where it reads the set.
            sleep(Duration::from_millis(500)).await;
            let found = open.end().await;
            drop(set);
            found
        };
        let (list, found) = tokio::join!(open.session.session.tags(&open.pair.sides.sender.app, 0), ends);
        refused(found, ReasonCode::HostileInput)?;
        refused(list.map(drop), ReasonCode::HostileInput).context("the list")?;
        let why = BrokenOff::BySender(ReasonCode::HostileInput);
        let Open { pair, session, .. } = &mut open;
        let said = session.attempt.broken_off(&pair.sides.receiver.app, why).await;
        refused(Err::<(), _>(said), ReasonCode::HostileInput)?;
        pair.ended(1, &session.name, &session.open, ReasonCode::HostileInput).await
    })
}

#[test]
fn a_call_that_finds_the_session_over_while_its_files_are_deleted_records_no_second_leaf() -> Result<()> {
    run(async {
        let open = Open::begin().await?;
        let sender = &open.pair.sides.sender;
        let files = open.files.clone();
        // So that deleting takes its time.
        let writing = std::thread::spawn(move || {
            let begun = Instant::now();
            for piece in 0.. {
                if begun.elapsed() > Duration::from_secs(1) {
                    break;
                }
                let _ = std::fs::write(files.join(format!("more-{piece}")), b"more");
            }
        });
        let again = async {
            while sender.app.state().session_end(&open.session.name).await?.is_none() {
                sleep(Duration::from_millis(1)).await;
            }
            anyhow::Ok(open.end().await)
        };
        let (first, again) = tokio::join!(open.end(), again);
        refused(first, ReasonCode::HostileInput)?;
        refused(again?, ReasonCode::HostileInput)?;
        assert_eq!(recorded(sender).await?, [ReasonCode::HostileInput]);
        writing.join().map_err(|_| anyhow::anyhow!("nothing more was written"))?;
        Ok(())
    })
}

/// An opening like that one, with something else in it.
fn other(open: &OpenRequest, change: impl FnOnce(&mut OpenRequest)) -> OpenRequest {
    let mut other = OpenRequest {
        session: open.session,
        agreement: open.agreement.clone(),
        purpose: open.purpose.clone(),
        bundle_sequence: open.bundle_sequence,
        normaliser: open.normaliser,
        field: open.field.clone(),
        elements: open.elements,
        chunk_elements: open.chunk_elements,
        proofs: open.proofs,
        payload: open.payload.clone(),
        epoch: open.epoch,
    };
    change(&mut other);
    other
}

type Change = fn(&mut OpenRequest);

#[test]
fn a_peer_that_goes_by_something_else_is_named_and_loses_nothing() -> Result<()> {
    run(async {
        let mut pair = Pair::open().await?;
        let changes: [(Change, ReasonCode); 11] = [
            (|open| open.bundle_sequence += 1, ReasonCode::BundleMismatch),
            (|open| open.normaliser += 1, ReasonCode::NormaliserMismatch),
            (|open| open.session = RequestId::from_bytes([200; 16]), ReasonCode::SessionMismatch),
            (|open| open.agreement.push('s'), ReasonCode::SessionMismatch),
            (|open| open.purpose.push('s'), ReasonCode::SessionMismatch),
            (|open| open.field.push('s'), ReasonCode::SessionMismatch),
            (|open| open.chunk_elements /= 2, ReasonCode::SessionMismatch),
            (|open| open.proofs = false, ReasonCode::SessionMismatch),
            (|open| open.payload.columns.push("level".to_owned()), ReasonCode::SessionMismatch),
            (|open| open.payload.row_bytes = 2, ReasonCode::SessionMismatch),
            (|open| open.epoch = Some(1), ReasonCode::SessionMismatch),
        ];
        // All of them are of one session, which goes on in the end.
        for (change, reason) in changes {
            let LetIn { attempt, session, open, .. } = pair.let_in(1).await?;
            pair.sides.visit().await?;
            refused(session.open(&pair.sides.sender.app, &other(&open, change)).await, reason)?;
            let said = attempt.broken_off(&pair.sides.receiver.app, BrokenOff::BySender(reason)).await;
            refused(Err::<(), _>(said), reason)?;
            pair.both_recorded(reason).await?;
            ensure!(pair.sides.sender.app.state().open_sessions().await?.is_empty(), "{reason}: a session was opened");
            ensure!(pair.sides.sender.app.state().offered().await?.is_empty(), "{reason}: the register");
        }
        let mut session = pair.begin(1).await?;
        finished(&pair, &mut session).await?;
        ensure!(pair.counted()? == u64::from(CHUNK_ELEMENTS), "one chunk");
        Ok(())
    })
}

/// The rest of a session, as far as the sender is needed.
async fn finished(pair: &Pair, session: &mut Session) -> Result<()> {
    pair.sides.evaluate(&session.session, &mut session.machine).await?;
    session.machine.push_tags(&pair.sides.list(&session.session, 0).await?)?;
    Ok(session.machine.keep("a receipt")?)
}

#[test]
fn sizes_that_are_none_end_the_session_and_more_than_the_cap_is_refused() -> Result<()> {
    run(async {
        let mut pair = Pair::open().await?;
        let none: [(Change, ReasonCode); 2] =
            [(|open| open.elements = 0, ReasonCode::WrongCount), (|open| open.elements += 1, ReasonCode::WrongCount)];
        for (id, (change, reason)) in (1..).zip(none) {
            // Opened once as it should be, so that the session's name is known.
            let LetIn { attempt, session, open, .. } = pair.let_in(id).await?;
            session.open(&pair.sides.sender.app, &open).await?;
            let name = pair.sides.sender.app.state().open_sessions().await?.first().context("nothing is open")?.session;
            let again = pair.accept(id).await?;
            pair.sides.visit().await?;
            refused(again.open(&pair.sides.sender.app, &other(&open, change)).await, reason)?;
            let said = attempt.broken_off(&pair.sides.receiver.app, BrokenOff::BySender(reason)).await;
            refused(Err::<(), _>(said), reason)?;
            pair.ended(id, &name, &open, reason).await?;
        }
        let LetIn { session, open, .. } = pair.let_in(9).await?;
        pair.sides.visit().await?;
        // The cap of a register of 200,000 is 212,992.
        let beyond = other(&open, |open| open.elements = 10 * 212_992);
        refused(session.open(&pair.sides.sender.app, &beyond).await, ReasonCode::MatchCapExhausted)?;
        assert_eq!(recorded(&pair.sides.sender).await?, [ReasonCode::MatchCapExhausted]);
        session.open(&pair.sides.sender.app, &open).await.context("the cap ends no session")?;
        assert_eq!(pair.counted()?, 0);
        Ok(())
    })
}
