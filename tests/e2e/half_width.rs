//! What ±x costs: the answer at that price keeps to it, and what the price does not cover is said.

use crate::catalogue::firebreak;
use anyhow::{Context, Result, ensure};
use firebreak::client::{Ask, Connection, validate_query};
use firebreak_domain::Rho;
use firebreak_tests::{Caller, Own, ask_until_answered, refusal_of, run, shared};

const OF_VISITS: &str = "SELECT region, COUNT(cost) AS n, SUM(cost) / 10000 AS ten_thousands, AVG(cost) AS mean, \
                         MEDIAN(cost) AS middle, MEDIAN(cost) / 2 AS half FROM health.visits GROUP BY region";
const OF_ENROLMENTS: &str = "SELECT level, 2 * COUNT(*) AS twice, AVG(weekly_hours) AS hours, \
                             COUNT(weekly_hours) / COUNT(*) AS known FROM education.enrolments GROUP BY level";
/// Its outputs are a mean and a median.
const NO_WIDTH: &str =
    "SELECT region, AVG(cost) AS mean, MEDIAN(cost) FROM health.visits WHERE kind = 'emergency' GROUP BY region";

fn of_visits(sql: &str) -> Result<Ask> {
    Ok(Ask::new("health-statistics", "health-planning", sql)?)
}

/// How far the widest interval of each output that is none of `others` reaches to either side.
async fn reach(connection: &Connection, ask: &Ask, others: &[&str]) -> Result<Vec<f64>> {
    let answer = ask_until_answered(connection, ask).await?;
    let mut widest = Vec::new();
    for (place, column) in answer.accepted.columns.iter().enumerate() {
        if others.contains(&column.name.as_str()) {
            continue;
        }
        let mut most = 0.0_f64;
        for row in &answer.rows {
            let estimate = row.estimates.get(place).context("no figure")?;
            let (low, high) = estimate.lower.zip(estimate.upper).context("no interval")?;
            most = most.max((high - low) / 2.0);
        }
        widest.push(most);
    }
    Ok(widest)
}

#[test]
fn the_answer_at_the_price_of_a_half_width_keeps_to_it_and_for_a_hundredth_less_does_not() -> Result<()> {
    run(async {
        let own = Own::start(300, &[]).await?;
        let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
        // Gaussian noise and Laplace's, whose intervals are wider at one deviation.
        let visits = ("health-statistics", "health-planning", OF_VISITS);
        let enrolments = ("education-yearbook", "school-planning", OF_ENROLMENTS);
        for ((agreement, purpose, sql), half_width, others) in
            [(visits, 200.0, ["mean", "middle", "half"].as_slice()), (enrolments, 400.0, ["hours", "known"].as_slice())]
        {
            let ask = || Ask::new(agreement, purpose, sql);
            let said = validate_query(&ada, &ask()?, Some(half_width)).await?;
            let named: Vec<&str> = said.not_covered.iter().map(|output| &*output.column).collect();
            assert_eq!(named, others);
            for output in &said.not_covered {
                let reason = match &*output.column {
                    "middle" => "off in rank and not in value",
                    "half" => "worked out from quantiles",
                    _ => "depends on what is released: ask its counts and sums",
                };
                ensure!(output.why.contains(reason), "{}: {}", output.column, output.why);
            }
            let at = async |rho| reach(&ada, &Ask { rho: Some(Rho::from_nano(rho)), ..ask()? }, others).await;
            let found = at(said.rho_nano).await?;
            ensure!(found.iter().all(|half| *half <= half_width * (1.0 + 1e-9)), "{found:?} at {}", said.rho_nano);
            let for_less = at(said.rho_nano - said.rho_nano / 100).await?;
            ensure!(for_less.iter().any(|half| *half > half_width), "{for_less:?} below {}", said.rho_nano);
            ensure!(validate_query(&ada, &ask()?, None).await?.not_covered.is_empty(), "nothing was wanted");
        }
        Ok(())
    })
}

#[test]
fn a_question_of_which_no_width_is_known_is_refused_with_its_counts_and_sums() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let ada = Caller::ADA.connect(&shared.federation, shared.live.address).await?;
        let refused = async |sql: &str, half_width: f64| {
            Ok::<_, anyhow::Error>(refusal_of(validate_query(&ada, &of_visits(sql)?, Some(half_width)).await)?.refusal)
        };
        let refusal = refused(NO_WIDTH, 200.0).await?;
        assert_eq!(refusal.reason, "MALFORMED_REQUEST");
        let told = |key: &str| refusal.metadata.get(key).cloned().unwrap_or_default();
        ensure!(told("detail").contains("depends on what is released"), "{}", told("detail"));
        assert_eq!(told("suggestion"), "SELECT region, COUNT(cost), SUM(cost) FROM health.visits GROUP BY region");
        // What is suggested is priced, and without a half-width so is the question itself.
        let said = validate_query(&ada, &of_visits(&told("suggestion"))?, Some(500_000.0)).await?;
        ensure!(said.not_covered.is_empty(), "{:?}", said.not_covered);
        validate_query(&ada, &of_visits(NO_WIDTH)?, None).await?;

        for none in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(refused(OF_VISITS, none).await?.reason, "MALFORMED_REQUEST", "{none}");
        }
        assert_eq!(refused(OF_VISITS, 0.1).await?.reason, "LOSS_CEILING");

        let dry_run = |sql, half_width| {
            let right = ["--agreement", "health-statistics", "--purpose", "health-planning"];
            let words = [&["query", sql, "--dry-run", "--half-width", half_width], right.as_slice()].concat();
            firebreak(shared, "hal", &words)
        };
        let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let priced = dry_run(OF_VISITS, "200")?;
        assert_eq!(priced.code, Some(0), "{}", priced.err);
        for part in [
            "Not known to be within ±200 at that price mean how wide its interval is",
            "middle a quantile is off in rank and not in value",
            "for 95 % intervals of ±200 at most.",
        ] {
            ensure!(flat(&priced.out).contains(part), "{part} is missing:\n{}", priced.out);
        }
        let unpriced = dry_run(NO_WIDTH, "200")?;
        assert_eq!(unpriced.code, Some(3), "{}", unpriced.err);
        ensure!(flat(&unpriced.err).contains(&told("suggestion")), "{}", unpriced.err);
        ensure!(!unpriced.err.contains("emergency"), "{}", unpriced.err);
        Ok(())
    })
}
