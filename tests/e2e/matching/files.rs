//! A match goes on behind what is on the disk, on either side, with the same bytes and at no further cost.

use super::begun::Begun;
use super::caps::by_number;
use super::truth::expected;
use agency_adapter::app::MatchError;
use anyhow::{Context, Result, bail, ensure};
use firebreak_domain::{CapPeriod, Clock, Counted, ReasonCode};
use firebreak_tests::run;
use std::fs;
use std::future::pending;
use std::sync::{Arc, mpsc};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::timeout;

/// Of so many, more stand in the receiver's register than two chunks hold.
const PERSONS: u32 = 24_000;

impl Begun {
    fn evaluations(&self) -> Result<u64> {
        let year = CapPeriod::Year(self.clock.now().year());
        let state = self.sides.sender.app.state();
        Ok(state.counted(Counted::Evaluations, &by_number()?, year))
    }

    /// Takes up the receiver's session again, as it stands in its state.
    async fn begin_again(&mut self) -> Result<()> {
        let prepared = self.prepare_again("").await?;
        let (key, tags) = self.session.open(&self.sides.sender.app, &self.opening).await?;
        self.machine = self.sides.begin(prepared, &key, tags).await?;
        Ok(())
    }

    /// Has the first chunk answered by that, and the receiver's program end before the answer is verified. Gives what comes
    /// of it when the session is taken up again, and the chunks that the sender is asked for then.
    async fn ended_before_it_verified(&mut self, answer: &[u8]) -> Result<(Result<(), MatchError>, Vec<u32>)> {
        let came = Arc::new(Notify::new());
        let mut exchange = self.machine.exchange(|number, _| {
            let (answer, came) = (answer.to_vec(), Arc::clone(&came));
            Box::pin(async move {
                if number > 0 {
                    return pending().await;
                }
                came.notify_one();
                Ok::<_, MatchError>(answer)
            })
        });
        // Dropped as soon as the answer is there, long before it is verified.
        tokio::select! {
            biased;
            _ = exchange.verified(&self.sides.receiver.app) => {}
            () = came.notified() => {}
        }
        drop(exchange);
        self.sides.restart_receiver().await?;
        self.begin_again().await?;
        let (send, asked) = mpsc::channel();
        let mut exchange = self.machine.exchange(|number, _| {
            let _ = send.send(number);
            Box::pin(pending::<Result<_, MatchError>>())
        });
        // Of a chunk that is asked for again nothing comes.
        let verified = timeout(Duration::from_secs(60), exchange.verified(&self.sides.receiver.app)).await;
        let verified = verified.unwrap_or(Err(MatchError::Failed)).map(drop);
        Ok((verified, asked.try_iter().collect()))
    }
}

#[test]
fn a_match_whose_two_programs_end_at_every_step_goes_on_behind_it_and_gives_exactly_the_truth() -> Result<()> {
    run(async {
        let mut begun = Begun::of(PERSONS).await?;
        let (number, first) = begun.machine.next(&begun.sides.receiver.app).await?.context("no chunk")?;
        let first = first.as_bytes().to_vec();
        let evaluated = begun.session.evaluate(&begun.sides.sender.app, number, first.clone()).await?;
        // Killed after the sender has answered and before the receiver has kept it: the same chunk is sent again.
        begun.sides.restart_receiver().await?;
        begun.begin_again().await?;
        let (number, again) = begun.machine.next(&begun.sides.receiver.app).await?.context("no chunk")?;
        ensure!(number == 0 && again.as_bytes() == first, "the first chunk is blinded otherwise");
        let charged = begun.evaluations()?;
        ensure!(charged == 4096, "{charged} are charged");
        begun.sides.restart_receiver().await?;
        begun.sides.restart_sender().await?;
        begun.session = begun.accept_again().await?;
        begun.begin_again().await?;
        let kept = begun.session.evaluate(&begun.sides.sender.app, 0, first).await?;
        // A proof is drawn anew each time: equal bytes are stored ones.
        ensure!(kept == evaluated, "the chunk was evaluated again");
        ensure!(begun.evaluations()? == charged, "the same chunk was charged twice");
        begun.machine.accept(&again, &kept)?;

        // Behind the first chunk, which is neither sent nor verified again.
        begun.sides.restart_receiver().await?;
        begun.begin_again().await?;
        let (number, _) = begun.machine.next(&begun.sides.receiver.app).await?.context("one chunk alone")?;
        ensure!(number == 1, "it goes on at chunk {number}");
        while begun.machine.next(&begun.sides.receiver.app).await?.is_some() {
            begun.evaluate().await?;
        }

        // In the middle of the list, of which the sender's program makes no other.
        let list = begun.list(0).await?;
        let part = list.get(..list.len() / 20 * 10).unwrap_or_default();
        begun.machine.push_tags(part)?;
        begun.sides.restart_receiver().await?;
        begun.sides.restart_sender().await?;
        begun.session = begun.accept_again().await?;
        begun.begin_again().await?;
        ensure!(begun.machine.tag_bytes() == part.len() as u64, "the list goes on elsewhere");
        ensure!([part, &begun.list(part.len() as u64).await?].concat() == list, "it is another list");
        match begun.list(part.len() as u64 + 1).await {
            Err(MatchError::Refused(refusal)) => assert_eq!(refusal.reason, ReasonCode::SessionMismatch),
            _ => bail!("a list goes on in the middle of a tag"),
        }
        begun.tags().await?;
        let report = begun.machine.finish(&begun.sides.receiver.app).await?;
        let expected = expected(begun.sides.federation.population(), i32::MIN..=i32::MAX);
        assert_eq!((report.offered, report.unusable), (expected.offered, expected.unusable));
        assert_eq!(begun.sides.matched(&report.session).await?, expected.matched);
        Ok(())
    })
}

#[test]
fn an_answer_that_came_before_a_kill_is_not_asked_for_again() -> Result<()> {
    run(async {
        let mut begun = Begun::of(PERSONS).await?;
        let (number, first) = begun.machine.next(&begun.sides.receiver.app).await?.context("no chunk")?;
        let answer = begun.session.evaluate(&begun.sides.sender.app, number, first.as_bytes().to_vec()).await?;
        let (verified, asked) = begun.ended_before_it_verified(&answer).await?;
        ensure!(!asked.contains(&number), "the sender is asked for chunks {asked:?}");
        Ok(verified?)
    })
}

#[test]
fn a_wrong_answer_that_came_before_a_kill_is_found_out_after_it() -> Result<()> {
    run(async {
        let mut begun = Begun::of(PERSONS).await?;
        let (number, first) = begun.machine.next(&begun.sides.receiver.app).await?.context("no chunk")?;
        let mut answer = begun.session.evaluate(&begun.sides.sender.app, number, first.as_bytes().to_vec()).await?;
        // Two evaluations in each other's place.
        let (one, others) = answer.split_at_mut(32);
        one.swap_with_slice(others.get_mut(..32).context("no second element")?);
        match begun.ended_before_it_verified(&answer).await? {
            (Err(MatchError::Fault(refusal)), _) => assert_eq!(refusal.reason, ReasonCode::ProofRejected),
            (verified, asked) => bail!("{verified:?}, with the sender asked for chunks {asked:?}"),
        }
        Ok(())
    })
}

#[test]
fn a_session_of_which_a_file_is_gone_is_refused_and_not_its_sender() -> Result<()> {
    run(async {
        let mut begun = Begun::of(PERSONS).await?;
        begun.evaluate().await?;
        let sessions = begun.sides.federation.layout().adapter("health-agency").join("state/sessions");
        let session = fs::read_dir(sessions)?.next().context("no session has files")??.path();
        for file in ["withheld-places", "sent-chunks", "answered-chunks"] {
            let (file, before) = (session.join(file), fs::read(session.join(file))?);
            fs::remove_file(&file)?;
            begun.sides.restart_receiver().await?;
            match begun.begin_again().await.map_err(|error| error.downcast::<MatchError>()) {
                Err(Ok(MatchError::Refused(refusal))) => assert_eq!(refusal.reason, ReasonCode::SessionMismatch),
                other => bail!("without {}: {other:?}", file.display()),
            }
            fs::write(&file, before)?;
        }
        // The twin.
        begun.sides.restart_receiver().await?;
        begun.begin_again().await?;
        Ok(begun.evaluate().await?)
    })
}

#[test]
fn a_request_that_was_begun_has_no_other_set_and_no_other_key() -> Result<()> {
    run(async {
        let mut begun = Begun::start().await?;
        begun.sides.restart_receiver().await?;
        let refused = |done: Result<(), MatchError>| match done {
            Err(MatchError::Refused(refusal) | MatchError::Fault(refusal)) => {
                assert_eq!(refusal.reason, ReasonCode::SessionMismatch);
                Ok(())
            }
            other => bail!("not refused: {other:?}"),
        };
        refused(begun.prepare_again("birth_year >= 1990").await.map(drop))?;
        let (key, tags) = begun.session.open(&begun.sides.sender.app, &begun.opening).await?;
        // A point of the group that is not the sender's key: twice the base point (RFC 9496, appendix A.1).
        let other = hex::decode("6a493210f7499cd17fecb510ae0cea23a110e8d5b901f8acadd3095c73a3b919")?;
        refused(begun.prepare_again("").await?.begin(&begun.sides.receiver.app, &other, tags).await.map(drop))?;
        refused(begun.prepare_again("").await?.begin(&begun.sides.receiver.app, &key, tags + 1).await.map(drop))?;
        // The twin.
        begun.begin_again().await?;
        begun.evaluate().await?;
        Ok(())
    })
}
