//! A join made again inside its agency, for overseers.

use super::inside::{ALL, Pair, send};
use agency_adapter::app::Replay;
use anyhow::{Result, bail, ensure};
use firebreak_domain::RequestId;
use firebreak_tests::{run, without_rows};

const REQUEST: RequestId = RequestId::from_bytes([1; 16]);

#[test]
fn what_was_sent_is_found_to_be_what_seed_and_cut_make() -> Result<()> {
    run(async {
        let mut pair = Pair::open(300).await?;
        let [left, right] = pair.both(1, ALL).await?;
        let [before] = pair.left.app.replay_join(&REQUEST).await?[..] else { bail!("not one join") };
        assert_eq!((before.own_list, before.added, before.sent_on), (Replay::Equal, Replay::NotSent, Replay::NotSent));
        send(&left, &right)?;
        send(&right, &left)?;
        left.sent_on(&pair.left.app).await?;
        let [after] = pair.left.app.replay_join(&REQUEST).await?[..] else { bail!("not one join") };
        assert_eq!((after.own_list, after.added, after.sent_on), (Replay::Equal, Replay::Equal, Replay::Equal));
        let name = *left.name();
        drop((left, right));
        // With the session the other side's list is deleted, and with it what could be raised again.
        pair.left.app.state().close_session(&name).await?;
        let [late] = pair.left.app.replay_join(&REQUEST).await?[..] else { bail!("not one join") };
        assert_eq!((late.own_list, late.added, late.sent_on), (Replay::Equal, Replay::Equal, Replay::Gone));
        ensure!(pair.left.app.state().open_sessions().await?.is_empty(), "what was made again stays");
        ensure!(pair.left.app.replay_join(&RequestId::from_bytes([9; 16])).await?.is_empty());
        Ok(())
    })
}

#[test]
fn a_list_that_the_cut_does_not_make_is_found() -> Result<()> {
    run(async {
        let mut pair = Pair::open(300).await?;
        let [left, right] = pair.both(1, ALL).await?;
        // Somebody was in the list who is not in the cut: as if a side had put a record into it.
        let file = pair.federation.layout().population().join("education/enrolments.parquet");
        let truth = pair.federation.population().truth();
        let mut pupils = truth.filter(|row| row.register == firebreak_population::Register::Education);
        let found = pupils.find_map(|row| {
            let dropped = row.national_number.and_then(|_| without_rows(&file, "pupil_no", &row.person_key).ok());
            dropped.filter(|rows| *rows > 0)
        });
        ensure!(found.is_some(), "nobody with a number is in the file");
        let [replayed] = pair.left.app.replay_join(&REQUEST).await?[..] else { bail!("not one join") };
        assert_eq!(replayed.own_list, Replay::Different);
        drop((left, right));
        Ok(())
    })
}
