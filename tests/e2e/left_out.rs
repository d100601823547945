//! What the bound on a person's rows leaves out: measured once, and beside every answer from then on.

use crate::catalogue::firebreak;
use anyhow::{Context, Result, ensure};
use firebreak::client::{Ask, get_budget, get_release};
use firebreak_domain::Rho;
use firebreak_tests::{Caller, Own, ask_until_answered, run, shared};
use firebreak_wire::query::v1::{Account, LeftOut};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::collections::BTreeMap;
use std::fs::File;

/// As the sample's contract has it.
const ROWS_PER_PERSON: u64 = 6;

fn ask(sql: &str) -> Result<Ask> {
    Ok(Ask::new("health-statistics", "health-planning", sql)?)
}

/// Rows that are left out, of each person at most as many as are kept, and the persons who have any.
fn truth(file: &std::path::Path) -> Result<(f64, f64)> {
    let mut visits: BTreeMap<String, u64> = BTreeMap::new();
    for batch in ParquetRecordBatchReaderBuilder::try_new(File::open(file)?)?.build()? {
        let batch = batch?;
        let column = batch.column_by_name("person_key").context("no key")?;
        let keys = column.as_any().downcast_ref::<arrow::array::StringArray>().context("not text")?;
        for key in keys.iter().flatten() {
            *visits.entry(key.to_owned()).or_default() += 1;
        }
    }
    let left: Vec<u64> = visits.values().map(|n| n.saturating_sub(ROWS_PER_PERSON).min(ROWS_PER_PERSON)).collect();
    Ok((left.iter().sum::<u64>() as f64, left.iter().filter(|left| **left > 0).count() as f64))
}

fn within(found: &Option<firebreak_wire::query::v1::Estimate>, truth: f64) -> Result<()> {
    let estimate = found.as_ref().context("no figure")?;
    let (value, error) = estimate.value.zip(estimate.standard_error).context("no value")?;
    // Once in 5·10⁸ runs it is not.
    ensure!((value - truth).abs() <= 6.0 * error, "{value} ± {error}, not {truth}");
    Ok(())
}

#[test]
fn what_bounding_leaves_out_is_measured_once_and_stands_beside_every_answer_from_then_on() -> Result<()> {
    run(async {
        let own = Own::start(2_000, &[]).await?;
        let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
        let only = |of: &[LeftOut]| of.first().cloned().context("nothing is said of what is left out");
        let first = ask_until_answered(&ada, &ask("SELECT COUNT(*) AS n FROM health.visits")?).await?;
        let LeftOut { dataset, question, release_id, rows, persons } = only(&first.released.left_out)?;
        assert_eq!((dataset.as_str(), release_id.as_str(), rows, persons), ("health.visits", "", None, None));

        let measured = ask_until_answered(&ada, &ask(&question)?).await?;
        let (rows, persons) = truth(&own.federation.layout().population().join("health/visits.parquet"))?;
        ensure!(rows > 0.0, "the population has nobody with more visits than are kept");
        let figures: Vec<_> = measured.rows[0].estimates.iter().cloned().map(Some).collect();
        within(&figures[0], rows)?;
        within(&figures[1], persons)?;

        // Beside every answer over that cut, for nothing, to whoever is answered.
        let lost = async || {
            let accounts = get_budget(&ada, &"health-statistics".parse()?).await?;
            let rho = |account: &Account| account.spent.as_ref().map_or(0, |spent| spent.rho_nano);
            Ok::<_, anyhow::Error>(accounts.iter().map(rho).max().unwrap_or(0))
        };
        let before = lost().await?;
        let price = Rho::from_nano(1_000_000);
        let asked = Ask { rho: Some(price), ..ask("SELECT kind, COUNT(*) AS n FROM health.visits GROUP BY kind")? };
        let beside = only(&ask_until_answered(&ada, &asked).await?.released.left_out)?;
        assert_eq!(beside.release_id, measured.released.release_id);
        assert_eq!(vec![beside.rows, beside.persons], figures);
        assert_eq!(lost().await? - before, price.nano(), "only the question itself is paid for");
        let plain = Ask::without_question("health-statistics", "health-planning")?;
        let again = get_release(&ada, &plain, beside.release_id.parse()?, &mut |_| {}).await?;
        assert_eq!(again.rows, measured.rows);

        // Of another cut nobody has asked yet, and of a join each dataset is named.
        let folder = own.federation.layout().population().join("health");
        std::fs::create_dir_all(folder.join("2024-Q3"))?;
        std::fs::copy(folder.join("visits.parquet"), folder.join("2024-Q3/visits.parquet"))?;
        let earlier = ask("SELECT COUNT(*) AS n FROM health.visits FOR SYSTEM_TIME AS OF '2024-Q3'")?;
        ensure!(only(&ask_until_answered(&ada, &earlier).await?.released.left_out)?.release_id.is_empty());
        let joined = "SELECT COUNT(*) AS n FROM health.visits v JOIN health.vaccinations c ON v.person = c.person";
        let joined = ask_until_answered(&ada, &ask(joined)?).await?.released.left_out;
        let found: BTreeMap<_, _> = joined.iter().map(|of| (of.dataset.as_str(), !of.release_id.is_empty())).collect();
        assert_eq!(found, BTreeMap::from([("health.vaccinations", false), ("health.visits", true)]));
        Ok(())
    })
}

#[test]
fn the_command_says_what_is_left_out_or_what_to_ask_for_it() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let right = ["--agreement", "education-statistics", "--purpose", "school-planning"];
        let query = |sql: &str| firebreak(shared, "uma", &[&["query", sql], right.as_slice()].concat());
        let before = query("SELECT COUNT(*) AS n FROM education.enrolments")?;
        ensure!(before.code == Some(0), "{}", before.err);
        let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let said = flat(&before.out);
        let (_, question) = said.split_once("for everybody: ").with_context(|| said.clone())?;
        let (question, _) = question.split_once(" Dataset ").with_context(|| said.clone())?;
        let asked = query(question)?;
        ensure!(asked.code == Some(0), "{question}\n{}", asked.err);
        let after = flat(&query("SELECT COUNT(*) AS n FROM education.enrolments")?.out);
        ensure!(after.contains("persons of education.enrolments; release"), "{after}");
        Ok(())
    })
}
