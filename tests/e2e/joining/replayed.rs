//! A join made again inside its agency, for overseers.

use super::inside::{ALL, LEFT, Pair, law, own, send};
use agency_adapter::app::{JoinRun, Replay, Replayed};
use anyhow::{Context, Result, bail, ensure};
use firebreak_domain::{Clock, RequestId, SystemClock};
use firebreak_policy::Validity as BundleValidity;
use firebreak_psi::join::{JoinParams, JoinParty, JoinSession, JoinSide};
use firebreak_psi::{SecretSeed, SessionId};
use firebreak_records::{Committed, Drawn};
use firebreak_store::NewLeaf;
use firebreak_tests::{offered_digest, run, without_rows};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};
use std::sync::Arc;

const REQUEST: RequestId = RequestId::from_bytes([1; 16]);

#[test]
fn what_was_sent_is_found_to_be_what_seed_and_cut_make() -> Result<()> {
    run(async {
        let mut pair = Pair::open(300).await?;
        let [left, right] = pair.both(1, ALL).await?;
        let [before] = pair.left.app.replay_join(&REQUEST).await?[..] else { bail!("not one join") };
        assert_eq!((before.own_list, before.added, before.sent_on), (Replay::Equal, Replay::NotSent, Replay::NotSent));
        assert_eq!((before.commitment, before.key, before.sent), (Replay::Equal, Replay::Equal, None));
        assert_eq!(before.terms, Replay::Equal);
        send(&left, &right)?;
        send(&right, &left)?;
        left.sent_on(&pair.left.app).await?;
        let [after] = pair.left.app.replay_join(&REQUEST).await?[..] else { bail!("not one join") };
        assert_eq!((after.own_list, after.added, after.sent_on), (Replay::Equal, Replay::Equal, Replay::Equal));
        // What each side got is what the other committed to.
        right.sent_on(&pair.right.app).await?;
        let [other] = pair.right.app.replay_join(&REQUEST).await?[..] else { bail!("not one join") };
        for (one, other) in [(after, other), (other, after)] {
            let sent = one.sent.context("nothing was sent")?;
            assert_eq!(Some(sent.their_key), other.committed.key);
            assert_eq!(sent.received, other.committed.own_list);
        }
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

/// Puts other bytes in the place of what the left side keeps of a join: of its commitment (0), or of what it sent.
async fn exchange(pair: &Pair, name: &[u8; 32], part: u32, change: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
    let state = pair.left.app.state();
    let kept = if part == 0 { state.kept_join(name).await? } else { state.sent_join(name).await? };
    let mut bytes = kept.context("nothing is kept")?.to_vec();
    change(&mut bytes);
    let file = pair.federation.layout().adapter(LEFT).join("state/state.sqlite");
    let mut database = SqliteConnectOptions::new().filename(file).connect().await?;
    let gone = sqlx::query("DELETE FROM joins WHERE session = ? AND part = ?").bind(name.to_vec()).bind(part);
    assert_eq!(gone.execute(&mut database).await?.rows_affected(), 1);
    database.close().await?;
    let leaf = NewLeaf { leaf: vec![part as u8], sealed: Vec::new() };
    let until = state.now().plus_secs(1000);
    match part {
        0 => state.keep_join(name, &REQUEST, until, &bytes, leaf).await?,
        _ => state.end_join(name, &REQUEST, until, &bytes, leaf).await?,
    }
    Ok(())
}

/// Both sides of a join, whose lists are exchanged, of which the left one has sent on what is to be counted.
async fn sent_on() -> Result<(Pair, Arc<JoinRun>)> {
    let mut pair = Pair::open(300).await?;
    let [left, right] = pair.both(1, ALL).await?;
    send(&left, &right)?;
    send(&right, &left)?;
    left.sent_on(&pair.left.app).await?;
    Ok((pair, left))
}

async fn at_left(pair: &Pair) -> Result<Replayed> {
    let [replayed] = pair.left.app.replay_join(&REQUEST).await?[..] else { bail!("not one join") };
    Ok(replayed)
}

/// A side that commits to the key of its list, and shows another, finds nothing different in its own replay. The other
/// side has what it showed.
#[test]
fn a_key_that_a_side_did_not_commit_to_is_found_in_what_the_other_side_kept() -> Result<()> {
    run(async {
        let mut pair = Pair::open(300).await?;
        let [left, right] = pair.both(1, ALL).await?;
        let id = SessionId::from_bytes(*right.name().first_chunk().context("no session")?);
        let session = JoinSession { id, terms: *right.terms() };
        let params = JoinParams::new(1, 1, law()?.weights())?;
        let false_key = JoinParty::of(session, JoinSide::Right, &SecretSeed::from_bytes([9; 32]), params)?.key();
        left.greet(&false_key, &right.own()?.sizes)?;
        left.push(0, &own(&right)?)?;
        left.sent_on(&pair.left.app).await?;
        let one = at_left(&pair).await?;
        assert_eq!(
            (one.key, one.own_list, one.added, one.sent_on),
            (Replay::Equal, Replay::Equal, Replay::Equal, Replay::Equal)
        );
        let [other] = pair.right.app.replay_join(&REQUEST).await?[..] else { bail!("not one join") };
        let sent = one.sent.context("nothing was sent")?;
        assert_eq!(sent.received, other.committed.own_list, "the list is the one that was committed to");
        let committed = other.committed.key.context("no key")?;
        ensure!(sent.their_key != committed, "a false key looks like the one that was committed to");
        Ok(())
    })
}

type Change<'a> = &'a dyn Fn(&mut Committed);

#[test]
fn what_is_changed_in_what_is_kept_differs_from_the_seed_and_from_the_leaf() -> Result<()> {
    run(async {
        let (pair, left) = sent_on().await?;
        let name = *left.name();
        let (equal, different) = (Replay::Equal, Replay::Different);
        let no_noise = |drawn: &mut Drawn| {
            let weights = drawn.agreed.weights.iter_mut();
            weights.zip(0..).for_each(|(weight, number)| *weight = if number == 21 { 1 << 60 } else { 1 });
        };
        let changes: [(Change, _); 3] = [
            (&|kept| kept.drawn.iter_mut().for_each(|drawn| drawn.key[0] ^= 1), (different, equal, different, equal)),
            (&|kept| kept.own[0] ^= 1, (different, equal, equal, different)),
            // All of the law's mass in one place: not what both sides went by.
            (&|kept| kept.drawn.iter_mut().for_each(no_noise), (equal, different, equal, different)),
        ];
        for (number, (change, expected)) in changes.into_iter().enumerate() {
            let mut honest = Vec::new();
            exchange(&pair, &name, 0, |bytes| {
                honest.clone_from(bytes);
                if let Some(mut kept) = Committed::decode(bytes) {
                    change(&mut kept);
                    *bytes = kept.encode().to_vec();
                }
            })
            .await?;
            let found = at_left(&pair).await?;
            let outcomes = (found.commitment, found.terms, found.key, found.own_list);
            assert_eq!(outcomes, expected, "change {number}");
            exchange(&pair, &name, 0, |bytes| *bytes = honest).await?;
        }
        for (place, added, sent_on) in [
            (0, Replay::Equal, Replay::Different),
            (32, Replay::Different, Replay::Equal),
            (64, Replay::Equal, Replay::Different),
        ] {
            let change = |bytes: &mut Vec<u8>| bytes[place] ^= 1;
            exchange(&pair, &name, 1, change).await?;
            let found = at_left(&pair).await?;
            assert_eq!((found.added, found.sent_on), (added, sent_on), "{place}");
            exchange(&pair, &name, 1, change).await?;
        }
        let found = at_left(&pair).await?;
        assert_eq!((found.commitment, found.own_list, found.sent_on), (Replay::Equal, Replay::Equal, Replay::Equal));
        Ok(())
    })
}

#[test]
fn what_needs_no_contract_is_answered_when_the_agreement_is_gone() -> Result<()> {
    run(async {
        let (pair, _left) = sent_on().await?;
        let bundle = pair.federation.layout().bundle();
        let previous = offered_digest(&pair.federation)?;
        std::fs::remove_file(bundle.join("agreements/school-vaccinations.toml"))?;
        let now = SystemClock.now();
        let validity = BundleValidity { made: now, valid_from: now.plus_secs(-60), valid_until: now.plus_secs(86_400) };
        pair.federation.sign_bundle(2, Some(previous), validity)?;
        ensure!(pair.left.app.refresh_policy().await?, "no leaf tells of the bundle");
        let accepted = pair.left.app.policy().accepted().map(|bundle| bundle.sequence());
        ensure!(accepted == Some(2), "it was not taken up");
        let found = at_left(&pair).await?;
        assert_eq!((found.commitment, found.key, found.own_list), (Replay::Equal, Replay::Equal, Replay::Gone));
        assert_eq!(found.terms, Replay::Equal);
        assert_eq!((found.added, found.sent_on), (Replay::Equal, Replay::Equal));
        Ok(())
    })
}
