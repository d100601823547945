//! R5, R28: what is told without being paid for never depends on a person.

use anyhow::{Context, Result, ensure};
use firebreak::client::{Ask, ClientError, describe_dataset, get_budget, list_datasets, run_query, validate_query};
use firebreak_population::Register;
use firebreak_testbed::Programs;
use firebreak_tests::{Caller, Own, passes, run, without_rows};
use prost::Message;
use std::time::Duration;

/// Questions that can be priced, and two that cannot.
const QUESTIONS: [&str; 6] = [
    "SELECT COUNT(*) AS n FROM health.visits",
    "SELECT region, COUNT(DISTINCT person) AS n FROM health.visits GROUP BY region",
    "SELECT kind, AVG(cost) AS mean, SUM(cost) AS total FROM health.visits WHERE visit_year = 2023 GROUP BY kind",
    "SELECT vaccine, COUNT(*) AS n FROM health.vaccinations GROUP BY vaccine",
    "SELECT name, COUNT(*) AS n FROM health.visits GROUP BY name",
    "SELECT COUNT(*) AS n FROM health.visits WHERE fingerprint = 'x'",
];

fn ask(sql: &str) -> Result<Ask> {
    Ok(Ask::new("health-statistics", "health-planning", sql)?)
}

/// Everything that a statistician is told for nothing, byte by byte, under names of what it is; and the price that a
/// question is charged.
async fn told(own: &Own) -> Result<Vec<(String, Vec<u8>)>> {
    let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
    let mut told = Vec::new();
    for dataset in list_datasets(&ada).await? {
        told.push((format!("listed {}", dataset.id), dataset.encode_to_vec()));
        let described = describe_dataset(&ada, &dataset.id).await?;
        told.push((format!("described {}", dataset.id), described.encode_to_vec()));
    }
    for (sql, half_width) in QUESTIONS.into_iter().flat_map(|sql| [(sql, None), (sql, Some(80.0))]) {
        let said = match validate_query(&ada, &ask(sql)?, half_width).await {
            Ok(validated) => {
                let count = validated.noise.iter().find(|noise| noise.measured == "count of rows");
                let keeps = |width| count.is_none_or(|count| 1.9599 * count.standard_error <= width);
                ensure!(half_width.is_none_or(keeps), "{sql}: a wider interval than the one that is priced");
                let priced = format!("\nrho {}\n", validated.rho_nano);
                let names_it = half_width.is_none() || validated.canonical_query.contains(&priced);
                ensure!(names_it, "{sql}: the form to sign names another price");
                validated.encode_to_vec()
            }
            Err(ClientError::Refused(refused)) => {
                let mut metadata: Vec<_> = refused.refusal.metadata.into_iter().collect();
                metadata.sort();
                format!("{} {metadata:?}", refused.refusal.reason).into_bytes()
            }
            Err(error) => return Err(error.into()),
        };
        told.push((format!("validated {sql} for {half_width:?}"), said));
    }
    let sql = QUESTIONS.get(1).context("no question")?;
    told.push((format!("accepted {sql}"), accepted(own, sql).await?));
    for account in get_budget(&ada, &"health-statistics".parse()?).await? {
        told.push((format!("left of {}", account.of), account.encode_to_vec()));
    }
    Ok(told)
}

/// What a question is told to cost when it is run, and who it concerns.
async fn accepted(own: &Own, sql: &str) -> Result<Vec<u8>> {
    let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
    let ask = ask(sql)?;
    for _ in 0..200 {
        match run_query(&ada, &ask, &mut |_| {}).await {
            Err(error) if passes(&error) => tokio::time::sleep(Duration::from_millis(50)).await,
            ended => {
                let ended = ended?;
                ensure!(ended.rows.len() == 17, "a region is missing");
                let mut bytes = ended.accepted.encode_to_vec();
                // Errors and statuses are of the noise alone; the values are not compared, they are noisy.
                for row in ended.rows {
                    let errors: Vec<_> = row.estimates.iter().map(|e| e.standard_error).collect();
                    bytes.extend(format!("{:?} {errors:?}", row.groups).into_bytes());
                }
                return Ok(bytes);
            }
        }
    }
    anyhow::bail!("never answered")
}

#[test]
fn two_neighbouring_files_give_the_same_catalogue_price_and_validate_answer() -> Result<()> {
    run(async {
        let with = Own::start(500, &[]).await?;
        let persons = told(&with).await?;
        drop(with);

        // The same federation, but for one patient: whoever has the most rows would show the most.
        let (federation, folder) = Own::prepare(500)?;
        let health = federation.layout().population().join("health");
        let patient = federation.population().truth().find(|row| row.register == Register::Health);
        let patient = patient.context("nobody is a patient")?.person_key;
        let mut rows = 0;
        for file in ["visits.parquet", "vaccinations.parquet", "2024-Q3/visits.parquet", "2024-Q3/vaccinations.parquet"]
        {
            rows += without_rows(&health.join(file), "person_key", &patient)?;
        }
        ensure!(rows > 0, "the patient stood in no file");
        let live = federation.start(&Programs::built()?, &[]).await?;
        let without = told(&Own::of(federation, live, folder)).await?;

        assert_eq!(persons.len(), without.len());
        for ((what, one), (_, other)) in persons.iter().zip(&without) {
            assert_eq!(one, other, "{what} tells whether a person is in the file");
        }
        Ok(())
    })
}
