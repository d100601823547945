//! R3, R26, R30: one person's identifiers, followed through everything that the gateway and the adapters write and say.
//!
//! The person stands in all three registers. They are counted, matched, asked for in an export, and typed by mistake
//! into literals, column names, agreements, purposes, datasets and endpoints. Then their identifiers are sought, in
//! every form in which a program could have written them. What a caller typed does reach the gateway, in that request
//! and nowhere else: it may not be written down, logged, counted or said again.

mod forms;

use anyhow::{Context, Result, ensure};
use arrow::array::{Array, StringArray};
use firebreak::client::{
    Ask, ClientError, Export, MatchAsk, describe_dataset, get_budget, list_matched, request_export, run_match,
    run_query, validate_query,
};
use firebreak_population::Canary;
use firebreak_testbed::AGENCIES;
use firebreak_tests::{Caller, Own, ask_until_answered, files_below, http_get, run};
use firebreak_wire::export::v1::ExportKind;
use forms::{Form, forms_of, found};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::collections::BTreeSet;
use std::path::Path;

/// The person's number as one register writes it, row by row.
fn spellings(file: &Path, key_column: &str, number_column: &str, key: &str) -> Result<BTreeSet<String>> {
    let mut spellings = BTreeSet::new();
    for batch in ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(file)?)?.build()? {
        let batch = batch?;
        let column = |name: &str| {
            let column = batch.column_by_name(name).with_context(|| format!("no column {name}"))?;
            column.as_any().downcast_ref::<StringArray>().cloned().context("not a column of text")
        };
        let (keys, numbers) = (column(key_column)?, column(number_column)?);
        for row in 0..keys.len() {
            if keys.value(row) == key && !numbers.is_null(row) {
                spellings.insert(numbers.value(row).to_owned());
            }
        }
    }
    ensure!(!spellings.is_empty(), "the person stands in no row of {}", file.display());
    Ok(spellings)
}

/// All that identifies the person, as written anywhere.
fn identifiers(own: &Own, canary: &Canary) -> Result<BTreeSet<String>> {
    let population = own.federation.layout().population();
    let [permit_key, patient, pupil] = &canary.person_keys;
    let mut all = spellings(&population.join("health/visits.parquet"), "person_key", "national_number", patient)?;
    all.extend(spellings(&population.join("education/enrolments.parquet"), "pupil_no", "nat_id", pupil)?);
    all.extend(spellings(
        &population.join("immigration/permits.parquet"),
        "person_key",
        "national_number",
        permit_key,
    )?);
    all.extend([canary.national_number.clone(), canary.name.clone()]);
    all.extend(canary.person_keys.clone());
    Ok(all)
}

/// What the caller is told.
#[derive(Default)]
struct Told(Vec<String>);

impl Told {
    /// Keeps a refusal's every word.
    fn refused<T>(&mut self, what: &str, outcome: Result<T, ClientError>) -> Result<()> {
        let text = match outcome {
            Err(ClientError::Refused(refused)) => {
                let mut words: Vec<_> = refused.refusal.metadata.iter().map(|(k, v)| format!("{k}: {v}")).collect();
                words.sort();
                format!("{} {}", refused.refusal.reason, words.join("; "))
            }
            Err(ClientError::Failed { code, said }) => format!("{code:?} {said}"),
            Err(error) => return Err(error).context(what.to_owned()),
            Ok(_) => anyhow::bail!("{what} was answered"),
        };
        self.0.push(text);
        Ok(())
    }
}

/// Counts the person, matches them, asks for them in an export, and types them in wrong places.
async fn act(own: &Own, canary: &Canary, told: &mut Told) -> Result<()> {
    let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
    let (number, name) = (canary.national_number.as_str(), canary.name.as_str());
    let [_, patient, _] = &canary.person_keys;
    let (agreement, purpose) = ("health-statistics", "health-planning");

    let sql = format!("SELECT COUNT(*) AS n FROM health.visits WHERE birth_year = {}", canary.birth_year);
    let answer = ask_until_answered(&ada, &Ask::new(agreement, purpose, &sql)?).await?;
    told.0.push(format!("{answer:?}"));

    let desk =
        Caller::connect_local(&own.federation, "health-agency", own.live.adapter("health-agency")?.local).await?;
    let summary = run_match(&desk, &MatchAsk::new("vaccination-round", "vaccination-round")?, &mut |_| {}).await?;
    ensure!(list_matched(&desk, &summary.session_id).await?.contains(patient), "the person was not matched");

    let mistaken = [
        format!("SELECT COUNT(*) AS n FROM health.visits WHERE region = '{number}'"),
        format!("SELECT COUNT(*) AS n FROM health.visits WHERE national_number = '{number}'"),
        format!("SELECT COUNT(*) AS n FROM health.visits WHERE name = '{name}'"),
        format!("SELECT COUNT(*) AS n FROM health.visits WHERE person_key = '{patient}'"),
        format!("SELECT COUNT(*) AS n FROM health.visits WHERE birth_year = '{number}'"),
        format!("SELECT COUNT(*) AS n FROM health.visits WHERE {number} = 1"),
        format!("SELECT SUM(\"{name}\") AS n FROM health.visits"),
        format!("SELECT COUNT(*) AS \"{number}\" FROM health.visits GROUP BY \"{number}\""),
        format!("SELECT COUNT(*) AS n FROM {number}"),
        format!("SELECT COUNT(*) AS n FROM health.visits WHERE region = '{number}"),
        format!("{number}"),
    ];
    for sql in &mistaken {
        told.refused("a mistaken question", run_query(&ada, &Ask::new(agreement, purpose, sql)?, &mut |_| {}).await)?;
        told.refused("a mistaken question", validate_query(&ada, &Ask::new(agreement, purpose, sql)?).await)?;
    }
    let plain = "SELECT COUNT(*) AS n FROM health.visits";
    let lower = number.to_lowercase();
    told.refused("an agreement", run_query(&ada, &Ask::new(&lower, purpose, plain)?, &mut |_| {}).await)?;
    told.refused("a purpose", run_query(&ada, &Ask::new(agreement, &lower, plain)?, &mut |_| {}).await)?;
    told.refused("a budget", get_budget(&ada, &lower.parse()?).await)?;
    told.refused("a dataset", describe_dataset(&ada, number).await)?;
    told.refused("a dataset", describe_dataset(&ada, &lower).await)?;

    for kind in [ExportKind::Identifiable, ExportKind::Pseudonymous, ExportKind::DpAggregate] {
        let sql = format!("SELECT * FROM health.visits WHERE national_number = '{number}'");
        for (endpoint, dataset) in
            [(None, Some("health.visits")), (Some(lower.as_str()), Some("health.visits")), (None, Some(lower.as_str()))]
        {
            let export = Export { kind, endpoint: endpoint.map(str::to_owned), dataset: dataset.map(str::to_owned) };
            let ask = Ask::new("shared-tables", "service-planning", &sql)?;
            told.refused("an export", request_export(&ada, &ask, &export, &mut |_| {}).await)?;
        }
    }
    for (agreement, purpose, selection) in [
        ("vaccination-round", "vaccination-round", format!("national_number = '{number}'")),
        ("vaccination-round", "vaccination-round", format!("region = '{number}'")),
        (lower.as_str(), "vaccination-round", String::new()),
        ("vaccination-round", lower.as_str(), String::new()),
    ] {
        let ask = MatchAsk { selection, ..MatchAsk::new(agreement, purpose)? };
        told.refused("a match", run_match(&desk, &ask, &mut |_| {}).await)?;
    }
    Ok(())
}

/// Where the identifiers are sought: a name and the bytes there.
async fn places(own: &mut Own, told: Told) -> Result<Vec<(String, Vec<u8>)>> {
    let mut places: Vec<_> =
        told.0.into_iter().enumerate().map(|(n, text)| (format!("answer {n}"), text.into_bytes())).collect();
    places
        .push(("the gateway's metrics".to_owned(), http_get(own.live.gateway_metrics, "/metrics").await?.into_bytes()));
    for adapter in &own.live.adapters {
        let page = http_get(adapter.metrics, "/metrics").await?;
        places.push((format!("metrics of {}", adapter.agency), page.into_bytes()));
    }
    own.live.stop().await?;
    let layout = own.federation.layout();
    // Everything that the gateway wrote, and everything that adapters wrote: what they must keep of persons is sealed.
    let folders = std::iter::once(layout.gateway()).chain(AGENCIES.iter().map(|(agency, _, _)| layout.adapter(agency)));
    for folder in folders {
        for file in files_below(&folder)? {
            places.push((file.display().to_string(), std::fs::read(&file)?));
        }
    }
    Ok(places)
}

#[test]
fn no_form_of_a_persons_identifiers_is_in_anything_written_or_said() -> Result<()> {
    run(async {
        let mut own = Own::start(400, &[]).await?;
        let canary = own.federation.population().canary().context("no person stands in every register")?;
        let mut told = Told::default();
        act(&own, &canary, &mut told).await?;
        let mut places = places(&mut own, told).await?;
        for part in
            ["gateway/gateway.log", "gateway/log/checkpoint", "gateway/state/state.sqlite", "health-agency/adapter.log"]
        {
            ensure!(
                places.iter().any(|(name, bytes)| name.ends_with(part) && !bytes.is_empty()),
                "{part} was not searched"
            );
        }
        let identifiers = identifiers(&own, &canary)?;
        let forms: Vec<Form> = identifiers.iter().flat_map(|identifier| forms_of(identifier)).collect();
        let hits = found(&forms, &places);
        assert!(hits.is_empty(), "{hits:#?}");

        // A line planted in a log is found, whatever the form.
        let log = places.iter_mut().find(|(name, _)| name.ends_with("gateway.log")).context("no log")?;
        let clean = log.1.clone();
        for form in &forms {
            log.1 = clean.clone();
            log.1.extend(b"{\"level\":\"INFO\",\"message\":\"");
            log.1.extend(form.planted());
            log.1.extend(b"\"}\n");
            let planted = [(log.0.clone(), log.1.clone())];
            assert!(
                !found(std::slice::from_ref(form), &planted).is_empty(),
                "{} is not found where it is",
                form.name()
            );
        }
        println!("{} forms of {} identifiers sought in {} places", forms.len(), identifiers.len(), places.len());
        Ok(())
    })
}
