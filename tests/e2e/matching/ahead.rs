//! While the sender works on a chunk, and has the next, another is blinded ahead.

use super::begun::Begun;
use agency_adapter::app::MatchError;
use anyhow::{Context, Result, ensure};
use firebreak_store::Choice;
use firebreak_tests::{copy_folder, run};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::timeout;

/// Persons, of whom enough stand in the receiver's register for three chunks.
const PERSONS: u32 = 60_000;

/// The third chunk as it is sent, when those persons are restricted while two are with the sender.
async fn third_chunk(begun: &mut Begun, answer: &[u8], restricted: &[String]) -> Result<Vec<u8>> {
    let state = begun.sides.receiver.app.state().clone();
    let (send, sent) = mpsc::channel();
    let third = Arc::new(Notify::new());
    let mut exchange = begun.machine.exchange(|number, blinded| {
        let (state, restricted) = (state.clone(), restricted.to_vec());
        let (answer, send, third) = (answer.to_vec(), send.clone(), Arc::clone(&third));
        Box::pin(async move {
            match number {
                0 => {}
                1 => {
                    let _ = timeout(Duration::from_secs(60), third.notified()).await;
                    return Err(MatchError::Failed);
                }
                _ => {
                    let _ = send.send(blinded);
                    third.notify_one();
                    return Err(MatchError::Failed);
                }
            }
            // Several times what blinding a chunk takes.
            tokio::time::sleep(Duration::from_secs(2)).await;
            for person in &restricted {
                state.record_choice(person.as_bytes(), &Choice::Restrict(None)).await?;
            }
            Ok(answer)
        })
    });
    ensure!(exchange.verified(&begun.sides.receiver.app).await?.is_some(), "the first chunk was not verified");
    while let Ok(Some(_)) = exchange.verified(&begun.sides.receiver.app).await {}
    sent.try_recv().context("the third chunk was not sent")
}

#[test]
fn a_chunk_blinded_ahead_is_blinded_anew_for_whom_a_choice_came_in_between() -> Result<()> {
    run(async {
        let mut begun = Begun::of(PERSONS).await?;
        ensure!(begun.opening.elements > 2 * begun.opening.chunk_elements, "the set has two chunks");
        let persons = begun.sides.federation.population().truth();
        let patients: Vec<_> =
            persons.filter(|row| row.register.as_str() == "health").map(|row| row.person_key).collect();
        ensure!(patients.len() > 100, "the register is empty");

        let (number, first) = begun.machine.next(&begun.sides.receiver.app).await?.context("no chunk")?;
        let answer = begun.session.evaluate(&begun.sides.sender.app, number, first.as_bytes().to_vec()).await?;
        let folder = begun.sides.federation.layout().adapter("health-agency").join("state");
        let before = begun.sides.federation.layout().root().join("state-before");
        copy_folder(&folder, &before)?;
        let with = third_chunk(&mut begun, &answer, &[]).await?;

        begun.sides.receiver.app.state().clone().close().await;
        std::fs::remove_dir_all(&folder)?;
        copy_folder(&before, &folder)?;
        begun.sides.restart_receiver().await?;
        let prepared = begun.prepare_again("").await?;
        let (key, tags) = begun.session.open(&begun.sides.sender.app, &begun.opening).await?;
        begun.machine = begun.sides.begin(prepared, &key, tags).await?;
        let again = begun.machine.next(&begun.sides.receiver.app).await?.context("no chunk")?.1;
        ensure!(again.as_bytes() == first.as_bytes(), "the first chunk is another");
        // Somebody of them stands in the third chunk, but for one in a million runs.
        let without = third_chunk(&mut begun, &answer, patients.get(..100).unwrap_or_default()).await?;
        ensure!(with.len() == without.len(), "the size tells that somebody is withheld");
        ensure!(with != without, "who was restricted before the third chunk was sent took part in it");
        Ok(())
    })
}
