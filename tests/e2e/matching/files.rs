//! A match goes on behind what is on the disk, on either side, with the same bytes and at no further cost.

use super::begun::Begun;
use super::caps::by_number;
use super::truth::expected;
use agency_adapter::app::MatchError;
use anyhow::{Context, Result, bail, ensure};
use firebreak_domain::{CapPeriod, Clock, Counted, ReasonCode};
use firebreak_tests::run;
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
        let came = Arc::new(Notify::new());
        let mut exchange = begun.machine.exchange(|number, _| {
            let (answer, came) = (answer.clone(), Arc::clone(&came));
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
            _ = exchange.verified(&begun.sides.receiver.app) => {}
            () = came.notified() => {}
        }
        drop(exchange);

        begun.sides.restart_receiver().await?;
        begun.begin_again().await?;
        let (send, asked) = mpsc::channel();
        let mut exchange = begun.machine.exchange(|number, _| {
            let _ = send.send(number);
            Box::pin(pending::<Result<_, MatchError>>())
        });
        let verified = timeout(Duration::from_secs(60), exchange.verified(&begun.sides.receiver.app)).await;
        let asked: Vec<_> = asked.try_iter().collect();
        ensure!(!asked.contains(&number), "the sender is asked for chunks {asked:?}");
        ensure!(verified??.is_some(), "nothing was verified");
        Ok(())
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
