//! One question over the datasets of two agencies: one answer, every agency charged in full, and what becomes of it
//! while one of them is down.

use crate::catalogue::firebreak;
use anyhow::{Context, Result, ensure};
use arrow::array::StringArray;
use firebreak::client::{
    Ask, Connection, QueryAnswer, cite_release, get_budget, get_release, run_query, validate_query,
};
use firebreak_audit::{LeafKind, Receipt, SignerRole};
use firebreak_domain::{Charge, ReleaseName, Rho};
use firebreak_format::{csv, json, parquet as parquet_file, sdmx_csv};
use firebreak_query::INTERVAL_95;
use firebreak_testbed::Federation;
use firebreak_tests::{Caller, Own, ask_until_answered, refusal_of, run, shared};
use firebreak_wire::query::v1::Estimate;
use firebreak_wire::{charge_from_wire, estimate_status};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::time::Duration;

const BY_MODE: &str = "SELECT mode, COUNT(*) AS assignments, SUM(minutes) AS minutes FROM services.interpreting \
                       GROUP BY mode";
/// Of so many values at each agency that no noise makes them none.
const MEAN: &str = "SELECT COUNT(minutes) AS n, AVG(minutes) AS mean FROM services.interpreting SETTINGS rho = 0.05";
/// The middle of the bounds of minutes, around which their sum is measured.
const MIDDLE: f64 = 120.0;
const PERSONS: &str = "SELECT COUNT(DISTINCT person) FROM services.interpreting SETTINGS rho = 0.02";

/// Two figures that are reliable of a few dozen persons, and their price at each agency.
const SURE: &str = "SELECT COUNT(*) AS assignments, COUNT(DISTINCT person) AS people FROM services.interpreting \
                    SETTINGS rho = 0.05";
const SURE_RHO: u64 = 50_000_000;

fn ask(sql: &str) -> Result<Ask> {
    Ok(Ask::new("interpreting-statistics", "interpreting-planning", sql)?)
}

/// What is spent of each account, by its name.
async fn spent(connection: &Connection, ask: &Ask) -> Result<BTreeMap<String, u64>> {
    let accounts = get_budget(connection, &ask.agreement).await?;
    Ok(accounts.into_iter().map(|a| (a.of, charge_from_wire(a.spent.as_ref()).rho.nano())).collect())
}

/// What was spent meanwhile: of the persons of each register, and of every other account, which is the same of all.
fn more(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> Result<(u64, u64, u64)> {
    let of = |word: &str| {
        let more: BTreeSet<u64> = after
            .iter()
            .filter(|(account, _)| account.contains(word))
            .map(|(account, spent)| spent - before.get(account).copied().unwrap_or_default())
            .collect();
        ensure!(more.len() == 1, "{word}: {before:?} {after:?}");
        more.first().copied().context("no account")
    };
    let others: BTreeSet<u64> =
        ["agreement ", "you, under", "organisation "].map(&of).into_iter().collect::<Result<_>>()?;
    ensure!(others.len() == 1, "{before:?} {after:?}");
    Ok((of("health.persons")?, of("education.persons")?, others.first().copied().unwrap_or_default()))
}

/// How many keys of persons stand in an agency's file.
fn keys(federation: &Federation, folder: &str) -> Result<usize> {
    let file = federation.layout().population().join(folder).join("interpreting.parquet");
    let mut keys = BTreeSet::new();
    for batch in ParquetRecordBatchReaderBuilder::try_new(File::open(file)?)?.build()? {
        let batch = batch?;
        let column = batch.column_by_name("person_key").context("no key")?;
        let column = column.as_any().downcast_ref::<StringArray>().context("not text")?;
        keys.extend(column.iter().flatten().map(str::to_owned));
    }
    Ok(keys.len())
}

fn estimates(answer: &QueryAnswer) -> Vec<&Estimate> {
    answer.rows.iter().flat_map(|row| &row.estimates).collect()
}

fn close(found: Option<f64>, wanted: f64) -> Result<()> {
    let found = found.context("nothing was computed")?;
    ensure!((found - wanted).abs() <= 1e-6 * wanted.abs().max(1.0), "{found} is not {wanted}");
    Ok(())
}

#[test]
fn a_question_over_two_agencies_has_one_answer_and_every_agency_is_charged_in_full() -> Result<()> {
    run(async {
        let own = Own::start(600, &[]).await?;
        let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
        let asked = ask(BY_MODE)?;
        let said = validate_query(&ada, &asked, None).await;
        let before = spent(&ada, &asked).await?;
        let answer = ask_until_answered(&ada, &asked).await?;
        let after = spent(&ada, &asked).await?;

        // The persons of each register lose the price; whoever asks pays it for each.
        let rho = 5_000_000;
        assert_eq!(more(&before, &after)?, (rho, rho, 2 * rho));
        assert_eq!(charge_from_wire(answer.accepted.cost.as_ref()), Charge::of_rho(Rho::from_nano(2 * rho)));
        assert_eq!(answer.accepted.dataset, "services.interpreting");
        let parts: Vec<_> = answer.released.parts.iter().map(|p| (p.agency.as_str(), p.dataset.as_str())).collect();
        let expected = [("education-agency", "education.interpreting"), ("health-agency", "health.interpreting")];
        assert_eq!(parts, expected);
        ensure!(answer.released.missing.is_empty());

        // Each agency vouches for its own part, at the price of one.
        let receipts: Vec<_> = Receipt::each(answer.released.receipt.as_bytes()).collect();
        assert_eq!(receipts.len(), 2);
        for (text, (agency, dataset)) in receipts.into_iter().zip(expected) {
            let verified = Receipt::decode(text)?.verify(&own.federation.log_key().parse()?)?;
            let leaf = verified.leaf.leaf();
            assert_eq!((leaf.signer_org.as_str(), leaf.signer_role), (agency, SignerRole::Adapter));
            assert_eq!(leaf.dataset.as_ref().map(|dataset| dataset.as_str()), Some(dataset));
            assert_eq!((leaf.kind, leaf.charge), (LeafKind::Release, Charge::of_rho(Rho::from_nano(rho))));
        }

        // The parts are the answers to the question over each by itself, whose sum it is.
        let mut alone = Vec::new();
        for (_, dataset) in expected {
            let of_part = ask(&BY_MODE.replace("services.interpreting", dataset))?;
            alone.push(ask_until_answered(&ada, &of_part).await?);
        }
        assert_eq!(more(&after, &spent(&ada, &asked).await?)?, (0, 0, 2 * rho), "given again to whoever pays");
        let names: Vec<&str> = alone.iter().map(|answer| answer.released.release_id.as_str()).collect();
        assert_eq!(answer.released.release_id, names.join("+"));
        for (row, together) in answer.rows.iter().enumerate() {
            let (one, other) = (&alone[0].rows[row], &alone[1].rows[row]);
            assert_eq!((&together.groups, &together.groups), (&one.groups, &other.groups));
            let value = |row: &firebreak_wire::query::v1::Row, at: usize| row.estimates[at].value.unwrap_or_default();
            let error =
                |row: &firebreak_wire::query::v1::Row, at: usize| row.estimates[at].standard_error.unwrap_or_default();
            for at in 0..2 {
                close(together.estimates[at].value, value(one, at) + value(other, at))?;
                close(together.estimates[at].standard_error, error(one, at).hypot(error(other, at)))?;
            }
        }
        // The first question was not foreseen while adapters were starting; its noise is that of the sum.
        let foreseen = said?.noise.into_iter().find(|n| n.measured == "count of rows").context("no count")?;
        close(answer.rows[0].estimates[0].standard_error, foreseen.standard_error)?;

        // A mean is that of the values of both, and not of the two means.
        let together = ask_until_answered(&ada, &ask(MEAN)?).await?;
        let (mut values, mut distance) = (0.0, 0.0);
        for (_, dataset) in expected {
            let of_part = ask_until_answered(&ada, &ask(&MEAN.replace("services.interpreting", dataset))?).await?;
            let [n, mean] = [0, 1].map(|at| of_part.rows[0].estimates[at].value.unwrap_or_default());
            values += n;
            distance += n * (mean - MIDDLE);
        }
        close(together.rows[0].estimates[0].value, values)?;
        close(together.rows[0].estimates[1].value, MIDDLE + distance / values)?;

        // The same request is the same answer, for nothing.
        let paid = spent(&ada, &asked).await?;
        let again = run_query(&ada, &asked, &mut |_| {}).await?;
        assert_eq!((&again.rows, &again.released.release_id), (&answer.rows, &answer.released.release_id));
        assert_eq!(more(&paid, &spent(&ada, &asked).await?)?, (0, 0, 0));

        // Who stands in both registers counts in both, and the answer says so. At ρ = 0.02 for each the error of the
        // sum is 7.1: it is off by six of its errors once in 5·10⁸ runs.
        let persons = ask_until_answered(&ada, &ask(PERSONS)?).await?;
        let truth = keys(&own.federation, "health")? + keys(&own.federation, "education")?;
        let figure = estimates(&persons).first().copied().context("no figure")?;
        let (value, error) = figure.value.zip(figure.standard_error).context("no figure")?;
        ensure!((value - truth as f64).abs() <= 6.0 * error && error < 10.0, "{value} ± {error} for {truth}");
        let column = persons.accepted.columns.first().context("no column")?;
        assert_eq!((column.name.as_str(), column.registrations), ("registrations", true));
        ensure!(persons.released.estimand.contains("registrations: whoever stands in the registers of several"));
        ensure!(!answer.accepted.columns.iter().any(|column| column.registrations));

        // Each part can be had again and cited by its own name; the whole has none.
        let of_part: ReleaseName = names[0].parse()?;
        let cited = cite_release(&ada, &asked, of_part).await?;
        assert_eq!(cited.dataset, "education.interpreting");
        let plain = Ask { sql: None, ..ask(PERSONS)? };
        let given = get_release(&ada, &plain, of_part, &mut |_| {}).await?;
        assert_eq!(given.rows, alone[0].rows);
        // What is asked over both does not come out of the release of one.
        let both = ask("SELECT COUNT(*) AS assignments FROM services.interpreting")?;
        let refused = refusal_of(get_release(&ada, &both, of_part, &mut |_| {}).await)?;
        assert_eq!(refused.refusal.reason, "NOT_IN_RELEASE");
        Ok(())
    })
}

/// Asks until the gateway no longer has the connection of an agency that was killed.
async fn asked_without(own: &Own, agency: &str) -> Result<()> {
    for _ in 0..400 {
        let health = Caller::ADA.connect(&own.federation, own.live.address).await?;
        let sql = format!("SELECT COUNT(*) AS probe FROM {}.interpreting", agency.trim_end_matches("-agency"));
        match run_query(&health, &ask(&sql)?, &mut |_| {}).await {
            Err(firebreak::client::ClientError::Refused(refused)) if refused.refusal.reason == "AGENCY_UNAVAILABLE" => {
                return Ok(());
            }
            _ => tokio::time::sleep(Duration::from_millis(25)).await,
        }
    }
    anyhow::bail!("{agency} is still connected")
}

#[test]
fn an_agency_that_is_down_is_named_a_partial_answer_says_so_and_is_completed_for_the_rest_alone() -> Result<()> {
    run(async {
        let mut own = Own::start(300, &[]).await?;
        let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
        let warm = ask("SELECT COUNT(*) AS n FROM services.interpreting WHERE year = 2020")?;
        ask_until_answered(&ada, &warm).await?;
        own.kill_adapter("education-agency").await?;
        asked_without(&own, "education-agency").await?;
        let rho = SURE_RHO;

        // The whole is refused by the name of who is missing, which is charged nothing.
        let whole = ask(SURE)?;
        let before = spent(&ada, &whole).await?;
        let refusal = refusal_of(run_query(&ada, &whole, &mut |_| {}).await)?.refusal;
        assert_eq!(refusal.reason, "AGENCY_UNAVAILABLE");
        let said = refusal.metadata.get("detail").cloned().unwrap_or_default();
        ensure!(said.contains("education-agency is not connected; nothing was charged for it"), "{said}");
        ensure!(said.contains("what the other agencies answered is stored"), "{said}");
        let after = spent(&ada, &whole).await?;
        assert_eq!(more(&before, &after)?, (rho, 0, rho));

        // Where it is asked for, what is there is given, and says what is missing wherever it goes.
        let partial = Ask { partial: true, ..ask(SURE)? };
        let answer = run_query(&ada, &partial, &mut |_| {}).await?;
        let missing: Vec<_> = answer.released.missing.iter().map(|p| (p.agency.as_str(), p.dataset.as_str())).collect();
        assert_eq!(missing, [("education-agency", "education.interpreting")]);
        assert_eq!(answer.released.parts.len(), 1);
        assert_eq!(answer.released.release_id, answer.released.parts[0].release_id);
        ensure!(!answer.released.release_id.contains('+'));
        let statuses: BTreeSet<_> = estimates(&answer).into_iter().map(estimate_status).collect();
        ensure!(statuses.contains("P") && !statuses.contains("A"), "{statuses:?}");
        let in_formats = [
            json::answer(&answer)?,
            sdmx_csv::answer(&answer),
            String::from_utf8_lossy(&parquet_file::answer(&answer)?).into_owned(),
        ];
        for text in &in_formats {
            ensure!(
                text.contains("education.interpreting of education-agency") || text.contains("\"missing\":[{"),
                "{text}"
            );
        }
        ensure!(in_formats[1].contains("registrations; education.interpreting of"), "{}", in_formats[1]);
        let csv = csv::answer(&answer.accepted, &answer.rows);
        ensure!(csv.contains(",P"), "the status says so in CSV");
        ensure!(csv.contains(",people_status,people_marks\r\n") && csv.contains(",registrations\r\n"), "{csv}");
        // The health agency's part was there already: its persons lose nothing more, and whoever asks pays as for any.
        let repeated = spent(&ada, &whole).await?;
        assert_eq!(more(&after, &repeated)?, (0, 0, rho));

        // Once the agency is back, the same request is completed, and only its part is measured and charged.
        let executions = engine_executions(&own, "health-agency").await?;
        own.start_adapter("education-agency").await?;
        let mut completed = ask_until_answered(&ada, &partial).await?;
        for _ in 0..400 {
            if completed.released.missing.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
            completed = ask_until_answered(&ada, &partial).await?;
        }
        ensure!(completed.released.missing.is_empty(), "still missing: {:?}", completed.released.missing);
        assert_eq!(completed.released.parts.len(), 2);
        ensure!(completed.released.release_id.contains(&answer.released.release_id));
        assert_ne!(completed.released.release_id, answer.released.release_id);
        ensure!(estimates(&completed).into_iter().any(|estimate| estimate_status(estimate) == "A"));
        assert_eq!(engine_executions(&own, "health-agency").await?, executions);
        let end = spent(&ada, &whole).await?;
        assert_eq!(more(&repeated, &end)?, (0, rho, rho));

        // And so is the one that was refused: what was stored for it is there, and so by now is the other part.
        let whole = ask_until_answered(&ada, &whole).await?;
        assert_eq!(whole.released.release_id, completed.released.release_id);
        assert_eq!(more(&end, &spent(&ada, &partial).await?)?, (0, 0, rho));
        Ok(())
    })
}

#[test]
fn an_agency_that_refuses_its_part_is_named_in_a_partial_answer_and_refuses_the_whole() -> Result<()> {
    run(async {
        let mut own = Own::start(200, &[]).await?;
        let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
        own.kill_adapter("education-agency").await?;
        let file = own.federation.layout().adapter("education-agency").join("adapter.toml");
        let text = std::fs::read_to_string(&file)?;
        let kept = text.replace(", \"bindings/education.interpreting.toml\"", "");
        ensure!(kept.len() < text.len(), "{text}");
        std::fs::write(&file, &kept)?;
        own.start_adapter("education-agency").await?;
        let enrolled =
            Ask::new("education-statistics", "school-planning", "SELECT COUNT(*) AS n FROM education.enrolments")?;
        ask_until_answered(&ada, &enrolled).await?;

        let sql = "SELECT COUNT(*) AS n FROM services.interpreting";
        let before = spent(&ada, &ask(sql)?).await?;
        let refused = refusal_of(run_query(&ada, &ask(sql)?, &mut |_| {}).await)?.refusal;
        assert_eq!(refused.reason, "NOT_SERVED");
        let said = refused.metadata.get("detail").cloned().unwrap_or_default();
        ensure!(said.contains("education-agency: education.interpreting is bound to no file yet"), "{said}");
        let after = spent(&ada, &ask(sql)?).await?;
        assert_eq!(more(&before, &after)?, (5_000_000, 0, 5_000_000), "the other agency has answered its part");

        let partial = run_query(&ada, &Ask { partial: true, ..ask(sql)? }, &mut |_| {}).await?;
        let missing = partial.released.missing.first().context("nothing is missing")?;
        assert_eq!(missing.agency, "education-agency");
        ensure!(missing.why.starts_with("education-agency refuses (NOT_SERVED)"), "{}", missing.why);
        assert_eq!(partial.released.parts.len(), 1);
        // So is one that has closed its part, whether or not the gateway has heard of that.
        own.kill_adapter("education-agency").await?;
        std::fs::write(&file, format!("closed = [{{ dataset = \"education.interpreting\" }}]\n{text}"))?;
        own.start_adapter("education-agency").await?;
        let latest = "SELECT COUNT(*) AS n FROM services.interpreting WHERE year = 2022";
        for number in 0..40 {
            let asked = Ask { partial: true, ..ask(&format!("{latest} AND minutes > {number}"))? };
            let answer = ask_until_answered(&ada, &asked).await?;
            let missing = answer.released.missing.first().context("nothing is missing")?;
            ensure!(missing.agency == "education-agency", "{missing:?}");
            let closed = missing.why.starts_with("education-agency refuses (CLOSED_BY_AGENCY)");
            ensure!(closed || missing.why.contains("not connected"), "{}", missing.why);
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        let whole = refusal_of(run_query(&ada, &ask(latest)?, &mut |_| {}).await)?.refusal;
        assert_eq!(whole.reason, "CLOSED_BY_AGENCY");
        // A refusal of all parts is that refusal, and not an answer of nothing.
        let none = Ask { partial: true, ..ask(sql)? };
        let none = Ask { agreement: "education-statistics".parse()?, ..none };
        ensure!(refusal_of(run_query(&ada, &none, &mut |_| {}).await)?.refusal.reason != "AGENCY_UNAVAILABLE");
        Ok(())
    })
}

async fn engine_executions(own: &Own, agency: &str) -> Result<u64> {
    firebreak_testbed::figure(own.live.adapter(agency)?.metrics, "firebreak_engine_executions_total").await
}

#[test]
fn what_does_not_add_up_over_agencies_is_refused_with_what_does() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let ada = Caller::ADA.connect(&shared.federation, shared.live.address).await?;
        let refused =
            async |asked: Ask| Ok::<_, anyhow::Error>(refusal_of(run_query(&ada, &asked, &mut |_| {}).await)?.refusal);
        let of = |sql: &str| ask(&format!("SELECT {sql} FROM services.interpreting"));

        let median = refused(of("MEDIAN(minutes)")?).await?;
        assert_eq!(median.reason, "UNSUPPORTED_AGGREGATE");
        let instead = median.metadata.get("suggestion").cloned().context("nothing instead")?;
        ensure!(instead.contains("QUANTILE") && instead.contains("education.interpreting"), "{instead}");
        assert!(ask_until_answered(&ada, &ask(&instead)?).await.is_ok());

        let joined = "SELECT COUNT(*) FROM services.interpreting i JOIN health.interpreting h ON i.person = h.person";
        let join = refused(ask(joined)?).await?;
        assert_eq!(join.reason, "JOIN_ASKED");

        // Twice the price that one question may cost.
        let dear = refused(Ask { rho: Some(Rho::from_nano(60_000_000)), ..of("COUNT(*)")? }).await?;
        assert_eq!(dear.reason, "LOSS_CEILING");

        // What an agreement does not cover looks like what is not there.
        let elsewhere = async |dataset: &str| {
            let sql = format!("SELECT COUNT(*) FROM {dataset}");
            refused(Ask::new("education-statistics", "school-planning", &sql)?).await
        };
        let (hidden, absent) = (elsewhere("services.interpreting").await?, elsewhere("services.nothing").await?);
        assert_eq!(hidden.reason, absent.reason);
        Ok(())
    })
}

/// The noise of a sum over two agencies is that of both: each has to be exacter by √2 than the sum.
#[test]
fn the_price_of_a_half_width_over_several_agencies_is_that_of_a_part_that_is_exacter_by_the_root_of_their_number()
-> Result<()> {
    run(async {
        let shared = shared().await?;
        let ada = Caller::ADA.connect(&shared.federation, shared.live.address).await?;
        let of_sum = 120.0_f64;
        let said = async |sql: &str, rho: Option<u64>, half_width: Option<f64>| {
            let said = validate_query(&ada, &Ask { rho: rho.map(Rho::from_nano), ..ask(sql)? }, half_width).await?;
            ensure!(said.not_covered.is_empty(), "{:?}", said.not_covered);
            let foreseen = INTERVAL_95 * said.noise.first().context("no noise")?.standard_error;
            Ok::<_, anyhow::Error>((said.rho_nano, foreseen, charge_from_wire(said.cost.as_ref()).rho.nano()))
        };
        let together = "SELECT mode, COUNT(*) AS n FROM services.interpreting GROUP BY mode";
        let part = together.replace("services.", "health.");
        let (rho, foreseen, cost) = said(together, None, Some(of_sum)).await?;
        ensure!(foreseen <= of_sum, "{foreseen} is asked at {rho}");
        assert_eq!(cost, 2 * rho, "each agency is charged");
        let (of_part, alone, _) = said(&part, None, Some(of_sum / 2.0_f64.sqrt())).await?;
        assert_eq!(of_part, rho);
        ensure!((alone * 2.0_f64.sqrt() - foreseen).abs() < 1e-6, "{alone} and {foreseen}");
        ensure!(said(&part, None, Some(of_sum)).await?.0 < rho);

        // The intervals that come are as narrow, those for a hundredth less are not.
        for (rho, keeps) in [(rho, true), (rho - rho / 100, false)] {
            let answer = ask_until_answered(&ada, &Ask { rho: Some(Rho::from_nano(rho)), ..ask(together)? }).await?;
            for estimate in estimates(&answer) {
                let (low, high) = estimate.lower.zip(estimate.upper).context("no interval")?;
                let half = (high - low) / 2.0;
                ensure!((half <= of_sum * (1.0 + 1e-9)) == keeps, "±{half} at {rho}");
            }
        }
        let right = ["--agreement", "interpreting-statistics", "--purpose", "interpreting-planning"];
        let words = [&["query", together, "--dry-run", "--half-width", "120"], right.as_slice()].concat();
        let told = firebreak(shared, "una", &words)?;
        ensure!(told.code == Some(0), "{}", told.err);
        let flat = told.out.split_whitespace().collect::<Vec<_>>().join(" ");
        let price = format!("Ask with --rho {} for 95 % intervals of ±120 at most.", Rho::from_nano(rho));
        ensure!(flat.contains(&price), "{}", told.out);

        // Twice the price of a part has to keep within the ceiling of one question.
        let refused = refusal_of(validate_query(&ada, &ask(together)?, Some(0.1)).await)?.refusal;
        assert_eq!(refused.reason, "LOSS_CEILING");
        Ok(())
    })
}

#[test]
fn on_the_command_line_each_part_is_named_and_each_receipt_verified() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let file = shared.federation.layout().root().join("union.receipt");
        let receipt = file.to_string_lossy().into_owned();
        let right = ["--agreement", "interpreting-statistics", "--purpose", "interpreting-planning"];
        let sql = "SELECT region, COUNT(DISTINCT person) FROM services.interpreting WHERE year > 2021 GROUP BY region";
        let asked = firebreak(
            shared,
            "uma",
            &[&["query", sql, "--partial", "--receipt", &receipt], right.as_slice()].concat(),
        )?;
        ensure!(asked.code == Some(0), "{}", asked.err);
        let flat = asked.out.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in ["registrations", "services.interpreting", "health.interpreting of", "education.interpreting of"] {
            ensure!(flat.contains(part), "{part} is missing:\n{}", asked.out);
        }
        ensure!(!asked.out.contains("Missing"), "{}", asked.out);
        // A table that is taken away says under any name that it counts registrations.
        let table = shared.federation.layout().root().join("union.csv");
        let sql = "SELECT mode, COUNT(DISTINCT person) AS people FROM services.interpreting GROUP BY mode";
        let out = table.to_string_lossy().into_owned();
        let words = [&["export", sql, "--kind", "dp_aggregate", "--out", &out], right.as_slice()].concat();
        let exported = firebreak(shared, "uma", &words)?;
        ensure!(exported.code == Some(0), "{}", exported.err);
        let csv = std::fs::read_to_string(&table)?;
        ensure!(csv.contains(",people_status,people_marks\r\n") && csv.contains(",registrations\r\n"), "{csv}");

        let layout = shared.federation.layout();
        let (log, key) = (layout.log().to_string_lossy().into_owned(), shared.federation.log_key().to_owned());
        let verify = |file: &str| {
            let words = ["audit", "verify", "--log", log.as_str(), "--key", key.as_str(), "--receipt", file];
            crate::catalogue::done(crate::catalogue::program("firebreak")?.args(words))
        };
        let verified = verify(&receipt)?;
        ensure!(verified.out.contains("All 2 receipts hold"), "{}{}", verified.out, verified.err);
        // Spoilt in the second.
        let text = std::fs::read_to_string(&file)?;
        let place = text.rfind("commitment ").context("no commitment")? + 12;
        let other = if text.as_bytes().get(place) == Some(&b'A') { "B" } else { "A" };
        std::fs::write(&file, format!("{}{other}{}", &text[..place], &text[place + 1..]))?;
        assert_ne!(verify(&receipt)?.code, Some(0));
        Ok(())
    })
}
