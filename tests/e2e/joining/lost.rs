//! Sessions whose seed or files are deleted or changed on the disk: nothing is drawn a second time for one charge.

use super::inside::{ALL, LEFT, Pair, law, own};
use agency_adapter::app::Replay;
use anyhow::{Context, Result, bail, ensure};
use firebreak_domain::{Charge, ReasonCode, RequestId};
use firebreak_population::Register;
use firebreak_store::Choice;
use firebreak_tests::run;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use std::fs;
use std::path::PathBuf;

/// The left agency's database, as whoever runs its machine opens it.
async fn database(pair: &Pair) -> Result<SqliteConnection> {
    let file = pair.federation.layout().adapter(LEFT).join("state/state.sqlite");
    Ok(SqliteConnectOptions::new().filename(file).foreign_keys(false).connect().await?)
}

/// The folder of a session's files.
fn files(pair: &Pair, name: &[u8; 32]) -> PathBuf {
    pair.federation.layout().adapter(LEFT).join("state/sessions").join(hex::encode(name))
}

/// A session of the left side that was begun and let go of: its name, and its list.
async fn begun(pair: &mut Pair, id: u8) -> Result<([u8; 32], Vec<u8>)> {
    let request = pair.request(id, ALL)?;
    let left = pair.prepare(LEFT, &request).await?.map_err(|r| anyhow::anyhow!("{}", r.refusal))?;
    Ok((*left.name(), own(&left)?))
}

/// That the session is over, and what it cost is spent.
async fn is_over(pair: &mut Pair, id: u8, spent: Charge) -> Result<()> {
    let request = pair.request(id, ALL)?;
    // Asked twice: what is refused once draws nothing the next time.
    for _ in 0..2 {
        let Err(refused) = pair.prepare(LEFT, &request).await? else { bail!("it was prepared again") };
        assert_eq!(refused.refusal.reason, ReasonCode::SessionMismatch);
        ensure!(refused.refusal.detail.contains("stays spent"), "{}", refused.refusal);
        assert_eq!(Pair::lost(&pair.left, "education.persons")?, spent);
    }
    Ok(())
}

#[test]
fn a_seed_that_is_deleted_or_changed_ends_the_session_and_its_charge_stays_spent() -> Result<()> {
    run(async {
        let mut pair = Pair::open(300).await?;
        let one = law()?.charge();
        let (deleted, _) = begun(&mut pair, 1).await?;
        let mut insider = database(&pair).await?;
        let gone = sqlx::query("DELETE FROM sessions WHERE session = ?").bind(deleted.to_vec());
        assert_eq!(gone.execute(&mut insider).await?.rows_affected(), 1);
        is_over(&mut pair, 1, one).await?;

        let (changed, _) = begun(&mut pair, 2).await?;
        let sealed = sqlx::query_scalar("SELECT secret FROM sessions WHERE session = ?").bind(changed.to_vec());
        let mut sealed: Vec<u8> = sealed.fetch_one(&mut insider).await?;
        *sealed.last_mut().context("no seed")? ^= 1;
        let edit = sqlx::query("UPDATE sessions SET secret = ? WHERE session = ?").bind(sealed).bind(changed.to_vec());
        assert_eq!(edit.execute(&mut insider).await?.rows_affected(), 1);
        insider.close().await?;
        is_over(&mut pair, 2, one.plus(one)?).await?;

        // What was committed to is kept apart, and made again as it was.
        for id in [1, 2] {
            let request = RequestId::from_bytes([id; 16]);
            let [replayed] = pair.left.app.replay_join(&request).await?[..] else { bail!("not one join") };
            assert_eq!((replayed.commitment, replayed.key), (Replay::Equal, Replay::Equal));
            assert_eq!(replayed.own_list, Replay::Equal);
        }
        Ok(())
    })
}

#[test]
fn a_list_that_is_changed_on_the_disk_ends_the_session_and_its_charge_stays_spent() -> Result<()> {
    run(async {
        let mut pair = Pair::open(300).await?;
        let (name, _) = begun(&mut pair, 1).await?;
        let file = files(&pair, &name).join("own-points");
        let mut sealed = fs::read(&file)?;
        let middle = sealed.len() / 2;
        *sealed.get_mut(middle).context("an empty list")? ^= 1;
        fs::write(&file, &sealed)?;
        is_over(&mut pair, 1, law()?.charge()).await
    })
}

#[test]
fn files_that_are_deleted_are_made_again_as_they_were_or_end_the_session() -> Result<()> {
    run(async {
        let mut pair = Pair::open(300).await?;
        let (name, list) = begun(&mut pair, 1).await?;
        fs::remove_dir_all(files(&pair, &name))?;
        let (_, again) = begun(&mut pair, 1).await?;
        ensure!(again == list, "the same seed and cut make other bytes");
        // Deleted with the moment whose choices counted: who takes part now is not who took part then.
        fs::remove_dir_all(files(&pair, &name))?;
        let persons = pair.federation.population().truth().filter(|row| row.register == Register::Education);
        let keys: Vec<String> = persons.map(|row| row.person_key).collect();
        for key in keys {
            pair.left.app.state().record_choice(key.as_bytes(), &Choice::Restrict(None)).await?;
        }
        is_over(&mut pair, 1, law()?.charge()).await
    })
}
