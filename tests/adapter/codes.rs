//! Ten thousand groups more than may be shown, each of one person.

use super::OPTIONS;
use agency_adapter::app::Outcome;
use anyhow::{Context, Result, bail};
use firebreak::client::Ask;
use firebreak_domain::{Clock, SystemClock};
use firebreak_policy::Validity;
use firebreak_privacy::Released;
use firebreak_query::MAX_OPEN_GROUPS;
use firebreak_testbed::{Federation, Options};
use firebreak_tests::{Inside, change_contracts, rewrite_contract, with_rows};
use std::time::{Duration, Instant};

const CODES: u32 = MAX_OPEN_GROUPS as u32 + 10_000;
const SQL: &str = "SELECT kind, COUNT(DISTINCT person_key) AS persons, COUNT(*) AS visits FROM health.visits \
                   GROUP BY kind SETTINGS rho = 0.05";

/// A day from now on.
pub fn validity() -> Validity {
    let now = SystemClock.now();
    Validity { made: now, valid_from: now.plus_secs(-60), valid_until: now.plus_secs(86_400) }
}

/// The visits are one each of so many persons, of a kind of its own, of which no list is declared.
fn crowded(federation: &Federation) -> Result<()> {
    change_contracts(federation, "health-agency", &[("register_size", "30_000")])?;
    rewrite_contract(federation, "health.visits", |text| {
        let (before, kinds) = text.split_once("type = \"category\"\nother = \"other\"\n").context("no kinds")?;
        let (_, after) = kinds.split_once("\n]\n").context("the codes do not end")?;
        Ok(format!("{before}type = \"open\"\nlength = 8\n{after}"))
    })?;
    let file = federation.layout().population().join("health/visits.parquet");
    let (key, kind) = (|row: u32| format!("{row:06}"), |row: u32| format!("K{row:05}"));
    with_rows(&file, CODES, &[("person_key", &key), ("kind", &kind)])?;
    federation.sign_bundle(1, None, validity())
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_groups_too_many_are_answered_by_none_on_the_tick_and_their_number_is_noisy() -> Result<()> {
    let tick = Duration::from_millis(200);
    let inside = Inside::open_with(&Options { tick_milliseconds: 200, ..OPTIONS }, "", crowded).await?;
    inside.show_log().await?;
    let ada = inside.ada()?;
    let ask = |sql: &str| Ask::new("health-statistics", "health-planning", sql);
    let submitted = inside.request(&ask(SQL)?, ada.identity(), Some(&ada))?;
    let begun = Instant::now();
    let outcome = inside.app.answer(&submitted, ada.identity()).await;
    assert!(begun.elapsed() >= tick, "it left before its tick");
    match outcome {
        Ok(Outcome::Released(answered)) => {
            let released = Released::decode(&answered.release)?;
            let groups = released.selected_groups().context("no groups were selected")?;
            assert_eq!(groups.codes().len(), 0, "codes of one person each are shown");
            assert!(released.vectors().all(<[i64]>::is_empty), "figures of no group");
            // More than are shown, whatever the noise: that is all that is said.
            let (number, sigma) = groups.groups();
            assert!(number as f64 > MAX_OPEN_GROUPS as f64 + 2.0 * sigma, "{number}");
        }
        // PRIVACY: a refusal would tell the exact number, at the limit, and for nothing.
        Ok(Outcome::Refused(refused)) => bail!("refused: {}", refused.refusal),
        Err(failure) => bail!("no answer: {failure}"),
    }
    // The adapter goes on, and counts them where no code is asked for.
    let plain = ask("SELECT COUNT(DISTINCT person_key) AS persons FROM health.visits SETTINGS rho = 0.05")?;
    let submitted = inside.request(&plain, ada.identity(), Some(&ada))?;
    match inside.app.answer(&submitted, ada.identity()).await {
        Ok(Outcome::Released(answered)) => {
            let persons = Released::decode(&answered.release)?.value(0, 0).context("no number")?;
            // At a deviation of 3.2.
            assert!((persons - i64::from(CODES)).abs() < 40, "{persons}");
            Ok(())
        }
        Ok(Outcome::Refused(refused)) => bail!("{}", refused.refusal),
        Err(failure) => bail!("{failure}"),
    }
}
