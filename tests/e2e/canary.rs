//! R3, R26, R30: one person's identifiers, followed through everything that the gateway and the adapters write and say.
//!
//! The person stands in all three registers. They are counted, matched, asked for in an export, and typed by mistake
//! into literals, column names, agreements, purposes, datasets and endpoints. Then their identifiers are sought, in
//! every form in which a program could have written them. What a caller typed does reach the gateway, in that request
//! and nowhere else: it may not be written down, logged, counted or said again.
//!
//! A second gateway, the test's own, receives what a gateway receives: every answer of an adapter is kept as it came,
//! and so is what passes a tunnel that it relays. The programs write their logs at the level `trace`.

mod forms;
mod mistakes;

use anyhow::{Context, Result, ensure};
use arrow::array::{Array, StringArray};
use firebreak::client::{
    Ask, ClientError, Export, HandOutPart, MatchAsk, describe_dataset, get_budget, hand_out, list_matched,
    request_export, run_match, run_query, validate_query,
};
use firebreak_population::Canary;
use firebreak_testbed::{AGENCIES, Program, Programs};
use firebreak_tests::{Caller, Shared, ask_until_answered, files_below, http_get, passes, run};
use firebreak_wire::export::v1::ExportKind;
use firebreak_wire::local::v1::HandOutForm;
use forms::{Form, forms_of, found};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

const RECEIVER: &str = "health-agency";

/// What stands in one column of the person's rows in a register: each way in which it is written there.
fn spellings(file: &Path, key_column: &str, column: &str, key: &str) -> Result<BTreeSet<String>> {
    let mut spellings = BTreeSet::new();
    for batch in ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(file)?)?.build()? {
        let batch = batch?;
        let texts = |name: &str| {
            let column = batch.column_by_name(name).with_context(|| format!("no column {name}"))?;
            column.as_any().downcast_ref::<StringArray>().cloned().context("not a column of text")
        };
        let (keys, values) = (texts(key_column)?, texts(column)?);
        for row in 0..keys.len() {
            if keys.value(row) == key && !values.is_null(row) {
                spellings.insert(values.value(row).to_owned());
            }
        }
    }
    ensure!(!spellings.is_empty(), "the person stands in no row of {}", file.display());
    Ok(spellings)
}

/// All that identifies the person, as written anywhere.
fn identifiers(own: &Shared, canary: &Canary) -> Result<BTreeSet<String>> {
    let population = own.federation.layout().population();
    let [permit_key, patient, pupil] = &canary.person_keys;
    let mut all = BTreeSet::new();
    for (file, key_column, columns, key) in [
        ("health/visits.parquet", "person_key", ["national_number", "name", "family_name"], patient),
        ("education/enrolments.parquet", "pupil_no", ["nat_id", "full_name", "surname"], pupil),
        ("immigration/permits.parquet", "person_key", ["national_number", "name", "family_name"], permit_key),
    ] {
        for column in columns {
            all.extend(spellings(&population.join(file), key_column, column, key)?);
        }
    }
    all.extend([canary.national_number.clone(), canary.name.clone()]);
    all.extend(canary.person_keys.clone());
    Ok(all)
}

/// What callers and gateways are told, each under a name.
#[derive(Default)]
struct Told(Vec<(String, Vec<u8>)>);

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
        self.keep(what, text);
        Ok(())
    }

    fn keep(&mut self, what: &str, heard: impl Into<Vec<u8>>) {
        self.0.push((format!("{what}, answer {}", self.0.len()), heard.into()));
    }
}

/// So many that the sender lets the receiver ask twice.
const PERSONS: u32 = 4_200;

/// Questions into which the person's number, name or key was typed by mistake.
fn mistaken_questions(canary: &Canary) -> Vec<String> {
    let (number, name) = (canary.national_number.as_str(), canary.name.as_str());
    let [_, patient, _] = &canary.person_keys;
    vec![
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
        number.to_owned(),
    ]
}

/// Counts the person, matches them, asks for them in an export, and types them in wrong places.
async fn act(own: &Shared, canary: &Canary, told: &mut Told) -> Result<()> {
    let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
    let number = canary.national_number.as_str();
    let (agreement, purpose) = ("health-statistics", "health-planning");

    let sql = format!("SELECT COUNT(*) AS n FROM health.visits WHERE birth_year = {}", canary.birth_year);
    let answer = ask_until_answered(&ada, &Ask::new(agreement, purpose, &sql)?).await?;
    told.keep("a question", format!("{answer:?}"));
    matched(own, canary).await.context("through the gateway")?;

    for sql in &mistaken_questions(canary) {
        told.refused("a mistaken question", run_query(&ada, &Ask::new(agreement, purpose, sql)?, &mut |_| {}).await)?;
        told.refused("a mistaken question", validate_query(&ada, &Ask::new(agreement, purpose, sql)?, None).await)?;
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
    let desk = Caller::connect_local(&own.federation, RECEIVER, own.live.adapter(RECEIVER)?.local).await?;
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

/// The person is matched, through whatever gateway the receiver dials first.
async fn matched(own: &Shared, canary: &Canary) -> Result<()> {
    let [_, patient, _] = &canary.person_keys;
    let local = own.live.adapter(RECEIVER)?.local;
    let desk = Caller::connect_local(&own.federation, RECEIVER, local).await?;
    let officer = Caller::connect_officer(&own.federation, RECEIVER, local).await?;
    let ask = MatchAsk::new("vaccination-round", "vaccination-round")?;
    for _ in 0..200 {
        match run_match(&desk, &ask, &mut |_| {}).await {
            Err(error) if passes(&error) => tokio::time::sleep(Duration::from_millis(100)).await,
            ended => {
                let session = ended?.session_id;
                let listed = list_matched(&officer, &session).await?;
                ensure!(listed.contains(patient), "the person was not matched");
                let mut file = hand_out(&officer, &session, HandOutForm::Csv).await?;
                while let HandOutPart::Piece(_) = file.part().await? {}
                return Ok(());
            }
        }
    }
    anyhow::bail!("the match did not come to an end")
}

/// The same match once more, its tunnel relayed by the false gateway: the receiver's adapter starts anew and dials that
/// one first. The other is still there, for the log.
async fn matched_through_the_false_gateway(own: &mut Shared, programs: &Programs, canary: &Canary) -> Result<()> {
    let gateways = [own.liar.address(), own.live.address];
    let adapter = own.live.adapters.iter_mut().find(|a| a.agency == RECEIVER).context("no such agency")?;
    adapter.started.kill().await?;
    let configuration = own.federation.configure_adapter(RECEIVER, &gateways, Some(adapter.metrics))?;
    adapter.started = programs.start(Program::Adapter, &configuration)?;
    adapter.local = adapter.started.address().await?;
    matched(own, canary).await
}

/// Where the identifiers are sought: a name and the bytes there.
async fn places(own: &mut Shared, told: Told) -> Result<Vec<(String, Vec<u8>)>> {
    let mut places = told.0;
    let relayed = own.liar.relayed();
    ensure!(relayed.forth.len() > 4096 * 32 && relayed.back.len() > 4096 * 32, "no tunnel was relayed");
    places.push(("the beginning of a relayed tunnel".to_owned(), relayed.first));
    places.push(("a relayed tunnel, from the receiver".to_owned(), relayed.forth));
    places.push(("a relayed tunnel, from the sender".to_owned(), relayed.back));
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
            let mut bytes = std::fs::read(&file)?;
            if file.extension().is_some_and(|e| e == "log") {
                let lines = String::from_utf8_lossy(&bytes).into_owned();
                ensure!(lines.contains("\"level\":\"TRACE\""), "{} has no traces", file.display());
                // Most traces are of other crates, without a word of theirs, and the same again and again.
                let lines: BTreeSet<_> = lines.lines().collect();
                bytes = lines.into_iter().collect::<Vec<_>>().join("\n").into_bytes();
            }
            places.push((file.display().to_string(), bytes));
        }
    }
    Ok(places)
}

#[test]
fn no_form_of_a_persons_identifiers_is_in_anything_written_or_said() -> Result<()> {
    run(async {
        let programs = Programs::at_level("trace")?;
        let mut own = Shared::with(&programs, PERSONS, |_| Ok(())).await?;
        let canary = own.federation.population().canary().context("no person stands in every register")?;
        let mut told = Told::default();
        act(&own, &canary, &mut told).await?;
        mistakes::made(&own, &canary, &mut told).await?;
        matched_through_the_false_gateway(&mut own, &programs, &canary).await?;
        mistakes::outstanding(&own, &mut told).await?;
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
