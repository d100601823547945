//! R34: Flight SQL, by the public driver of Python's world and by the Rust client of the Arrow project.

mod client;
mod hostile;
mod lapsed;
mod statements;

use crate::cookbook::{GATEWAY, ended, program};
use crate::python::script;
use anyhow::{Context, Result, ensure};
use firebreak::client::{Ask, describe_dataset, get_budget, list_datasets, run_query};
use firebreak_domain::Rho;
use firebreak_tests::{Caller, Shared, ask_until_answered, run, shared};
use firebreak_wire::charge_from_wire;
use serde_json::{Value, json};
use std::path::PathBuf;

const AGREEMENT: &str = "health-statistics-unsigned";
const PURPOSE: &str = "health-planning";
/// An output of each kind: with an error, and with an error in rank.
const SQL: &str = "SELECT region, COUNT(*) AS visits, MEDIAN(cost) AS median FROM health.visits GROUP BY region";

/// What `tests/python/flight.py` prints, run as an analyst of its own.
async fn python(id: &str, act: &str, asked: &Value) -> Result<Value> {
    let shared = shared().await?;
    shared.federation.issue("nso", "analyst", id)?;
    let layout = shared.federation.layout();
    let own = layout.certificate("nso", "analyst", id);
    let keys: [PathBuf; 3] = [layout.authority().join("ca.pem"), own.join("cert.pem"), own.join("key.pem")];
    let mut arguments = vec![shared.live.address.port().to_string()];
    arguments.extend(keys.iter().map(|key| key.display().to_string()));
    arguments.push(act.to_owned());
    Ok(serde_json::from_str(&script("flight.py", &arguments, &asked.to_string())?)?)
}

fn asked(sql: &str) -> Value {
    json!({ "agreement": AGREEMENT, "purpose": PURPOSE, "sql": sql })
}

fn list<'a>(value: &'a Value, path: &str) -> Result<&'a Vec<Value>> {
    value.pointer(path).and_then(Value::as_array).with_context(|| format!("no {path} in {value}"))
}

fn text<'a>(value: &'a Value, path: &str) -> Result<&'a str> {
    value.pointer(path).and_then(Value::as_str).with_context(|| format!("no {path} in {value}"))
}

/// What an analyst has spent under the agreement.
async fn spent(shared: &Shared, id: &'static str) -> Result<Rho> {
    let connection = Caller("nso", "analyst", id).connect(&shared.federation, shared.live.address).await?;
    let accounts = get_budget(&connection, &AGREEMENT.parse()?).await?;
    let own = accounts.iter().find(|account| account.of.starts_with("you, ")).context("no account of one's own")?;
    Ok(charge_from_wire(own.spent.as_ref()).rho)
}

#[test]
fn a_python_program_has_its_answer_in_pandas_with_the_figures_of_the_same_release() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let found = python("grace", "frame", &asked(SQL)).await?;
        let (frame, rows) = (list(&found, "/frame")?, list(&found, "/table/rows")?);
        assert_eq!(frame.len(), 17, "{found}");
        let names: Vec<_> = list(&found, "/table/columns")?.iter().filter_map(|c| c.get(0)?.as_str()).collect();
        let expected = ["region", "visits", "visits_standard_error", "visits_lower", "visits_upper", "visits_status"];
        assert_eq!(names[..6], expected);
        assert_eq!(names[6..], ["median", "median_rank_error", "median_status"]);
        let kinds: Vec<_> = list(&found, "/kinds")?.iter().filter_map(Value::as_str).collect();
        let number = "float64";
        assert_eq!(kinds, ["str", number, number, number, number, "str", number, number, "str"]);

        let grace = Caller("nso", "analyst", "grace").connect(&shared.federation, shared.live.address).await?;
        let answer = run_query(&grace, &Ask::new(AGREEMENT, PURPOSE, SQL)?, &mut |_| {}).await?;
        assert_eq!(text(&found, "/table/told/release_id")?, answer.released.release_id);
        for (key, told) in
            [("dataset", "health.visits"), ("cut", "2024-Q4"), ("mechanism", "discrete_gaussian"), ("cost", "0.005")]
        {
            assert_eq!(text(&found, &format!("/table/told/{key}"))?, told);
        }
        assert_eq!(text(&found, "/table/told/estimand")?, answer.released.estimand);
        let receipt = firebreak_audit::Receipt::decode(text(&found, "/table/told/receipt")?.as_bytes())?;
        receipt.verify(&shared.log_key()?)?;
        for ((shown, row), expected) in frame.iter().zip(rows).zip(&answer.rows) {
            assert_eq!(row.get("region").and_then(Value::as_str), expected.groups.first().map(String::as_str));
            let [visits, median] = expected.estimates.as_slice() else { anyhow::bail!("{expected:?}") };
            for (name, figure) in [
                ("visits", visits.value),
                ("visits_standard_error", visits.standard_error),
                ("visits_lower", visits.lower),
                ("visits_upper", visits.upper),
                ("median", median.value),
                ("median_rank_error", median.rank_error),
            ] {
                // The last bit may be lost where this test reads JSON, and pandas writes 15 decimals.
                for (found, off) in [(row, 4.0 * f64::EPSILON), (shown, 1e-12)] {
                    let found = found.get(name).and_then(Value::as_f64);
                    let near = |(a, b): (f64, f64)| (a - b).abs() <= off * b.abs().max(1.0);
                    let same = found.zip(figure).map_or(found.is_none() && figure.is_none(), near);
                    ensure!(same, "{name}: {found:?} for {figure:?}");
                }
            }
            for (name, estimate) in [("visits_status", visits), ("median_status", median)] {
                let status = row.get(name).and_then(Value::as_str);
                assert_eq!(status, Some(firebreak_wire::estimate_status(estimate)));
            }
        }
        Ok(())
    })
}

#[test]
fn a_python_program_reads_the_whole_price_what_is_left_out_and_how_groups_were_selected() -> Result<()> {
    run(async {
        let (agreement, purpose) = ("residence-statistics-unsigned", "reception-planning");
        let sql = "SELECT provision, COUNT(DISTINCT person) AS persons FROM immigration.permits GROUP BY provision";
        let shared = shared().await?;
        let ruth = Caller("nso", "analyst", "ruth").connect(&shared.federation, shared.live.address).await?;
        let answer = ask_until_answered(&ruth, &Ask::new(agreement, purpose, sql)?).await?;
        let selection = answer.accepted.selection.context("nothing was selected")?;
        let cost = charge_from_wire(answer.accepted.cost.as_ref());
        let all = answer.released.all_groups.context("how many codes there are is not said")?;
        let (number, error) = all.value.zip(all.standard_error).context("no number")?;

        let asked = json!({ "agreement": agreement, "purpose": purpose, "sql": sql });
        let described = python("ruth", "describe", &asked).await?;
        let answered = python("ruth", "show", &json!({ "ticket": text(&described, "/tickets/0")? })).await?;
        for told in [&described, &answered] {
            for (key, expected) in [
                ("cost", cost.rho.to_string()),
                ("delta", cost.delta.to_string()),
                ("threshold", selection.threshold.to_string()),
            ] {
                assert_eq!(text(told, &format!("/told/{key}"))?, expected, "{key}");
            }
            ensure!(told.pointer("/told/epsilon").is_none(), "{told}");
        }
        ensure!(cost.delta.atto() > 0, "a selection costs a delta");
        assert_eq!(text(&answered, "/told/all_groups")?, number.to_string());
        assert_eq!(text(&answered, "/told/all_groups_standard_error")?, error.to_string());
        let left_out = answer.released.left_out.first().context("nothing is said of what is left out")?;
        let told = text(&answered, "/told/left_out")?;
        ensure!(told.starts_with("immigration.permits: "), "{told}");
        ensure!(told.contains(&left_out.question) || told.contains(" persons, release "), "{told}");
        Ok(())
    })
}

/// A fenced block of the README.
fn block(language: &str) -> Result<&'static str> {
    let text = include_str!("../../README.md");
    let rest = text.split_once(&format!("```{language}\n")).context("no such block")?.1;
    Ok(rest.split_once("```").context("the block does not end")?.0)
}

#[test]
fn the_ten_lines_of_the_readme_are_run_as_they_stand() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let folder = tempfile::tempdir()?;
        shared.federation.working_folder(folder.path(), ("nso", "analyst", "reader"), shared.live.address)?;
        let (python, r, profile) = (block("python")?, block("r")?, block("toml")?);
        assert_eq!((python.lines().count(), r.lines().count()), (10, 10));
        let here = format!("localhost:{}", shared.live.address.port());
        for text in [python, profile] {
            assert!(text.contains(GATEWAY), "{text}");
        }
        std::fs::write(folder.path().join("firebreak.toml"), profile.replace(GATEWAY, &here))?;
        for (variable, file, text) in [("FIREBREAK_PYTHON", "ten.py", python), ("FIREBREAK_RSCRIPT", "ten.R", r)] {
            std::fs::write(folder.path().join(file), text.replace(GATEWAY, &here))?;
            let (shown, _) = ended(program(variable, folder.path())?.arg(file).output()?)?;
            for part in ["visits", "R01", "R17"] {
                assert!(shown.contains(part), "{variable}: {part} is not in\n{shown}");
            }
        }
        Ok(())
    })
}

#[test]
fn describing_a_question_charges_nothing_and_tells_the_schema_that_its_answer_has() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let sql = "SELECT visit_year, MEDIAN(cost) AS median, AVG(cost) AS mean FROM health.visits GROUP BY visit_year";
        let described = python("hedy", "describe", &asked(sql)).await?;
        let ticket = text(&described, "/tickets/0")?;
        assert_eq!(spent(shared, "hedy").await?, Rho::default(), "describing is charged");
        assert_eq!(text(&described, "/told/cost")?, "0.005");
        assert!(described.pointer("/told/release_id").is_none(), "{described}");

        let answered = python("hedy", "show", &json!({ "ticket": ticket })).await?;
        assert_eq!(described.pointer("/schema"), answered.pointer("/columns"));
        assert_eq!(described.pointer("/prepared"), answered.pointer("/columns"));
        assert_eq!(list(&answered, "/rows")?.len(), 5);
        assert_eq!(spent(shared, "hedy").await?, Rho::from_nano(5_000_000));
        Ok(())
    })
}

#[test]
fn one_ticket_is_charged_once_and_answers_its_principal_alone() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let sql = "SELECT kind, COUNT(*) AS visits, SUM(cost) AS costs FROM health.visits GROUP BY kind";
        let described = python("katherine", "describe", &asked(sql)).await?;
        let shown = json!({ "ticket": text(&described, "/tickets/0")? });
        let stranger = python("mallory", "show", &shown).await?;
        assert_eq!(text(&stranger, "/exception")?, "ProgrammingError");
        assert!(text(&stranger, "/says")?.contains("the ticket is none that was given to this caller"), "{stranger}");
        assert_eq!(spent(shared, "mallory").await?, Rho::default());

        let first = python("katherine", "show", &shown).await?;
        let once = spent(shared, "katherine").await?;
        assert_eq!(once, Rho::from_nano(5_000_000));
        let (second, third) =
            tokio::try_join!(python("katherine", "show", &shown), python("katherine", "show", &shown))?;
        for again in [second, third] {
            assert_eq!(first.pointer("/rows"), again.pointer("/rows"));
            assert_eq!(text(&first, "/told/release_id")?, text(&again, "/told/release_id")?);
        }
        assert_eq!(spent(shared, "katherine").await?, once, "a ticket shown again is charged again");
        assert!(python("mallory", "show", &shown).await?.get("exception").is_some(), "answered once it is stored");
        Ok(())
    })
}

#[test]
fn a_call_that_does_not_say_for_what_it_asks_is_told_the_very_lines_to_add() -> Result<()> {
    run(async {
        let lines = [
            ("agreement", format!("\"adbc.flight.sql.rpc.call_header.firebreak-agreement\": \"{AGREEMENT}\",")),
            ("purpose", format!("\"adbc.flight.sql.rpc.call_header.firebreak-purpose\": \"{PURPOSE}\",")),
        ];
        for missing in [&lines[..], &lines[..1], &lines[1..]] {
            let mut partly = asked(SQL);
            let object = partly.as_object_mut().context("no object")?;
            missing.iter().for_each(|(key, _)| drop(object.remove(*key)));
            let refused = python("radia", "frame", &partly).await?;
            let says = text(&refused, "/says")?;
            for (key, line) in &lines {
                let expected = missing.iter().any(|(missing, _)| missing == key);
                assert_eq!(says.contains(line.as_str()), expected, "{key}: {says}");
            }
        }
        // The lines as they were told are those that are answered.
        assert!(list(&python("radia", "frame", &asked(SQL)).await?, "/frame")?.len() == 17);
        Ok(())
    })
}

#[test]
fn a_refusal_is_an_exception_that_says_why_and_what_would_be_answered() -> Result<()> {
    run(async {
        let number = "SELECT national_number, COUNT(*) AS n FROM health.visits GROUP BY national_number";
        let rows = "SELECT * FROM health.visits";
        let changes = "DELETE FROM health.visits";
        for (sql, says) in [
            (number, &["UNAUTHORIZED", "identifiers are never read by a question", "instead: SELECT "][..]),
            (rows, &["INVALID_ARGUMENT", "rows never leave an agency, only aggregates do", "instead: SELECT "]),
            (changes, &["INVALID_ARGUMENT", "a question reads; it never changes anything"]),
        ] {
            let refused = python("shafi", "frame", &asked(sql)).await?;
            let found = text(&refused, "/says")?;
            says.iter().for_each(|part| assert!(found.contains(part), "{part} is not in: {found}"));
        }
        // These clients cannot sign. They are told which of their agreements does not ask for it.
        let signed = json!({ "agreement": "health-statistics", "purpose": PURPOSE, "sql": SQL });
        let refused = python("shafi", "frame", &signed).await?;
        let found = text(&refused, "/says")?;
        assert!(found.contains("UNAUTHENTICATED") && found.contains("gateway_asserted"), "{found}");
        assert!(found.contains(&format!("firebreak-agreement\": \"{AGREEMENT}\"")), "{found}");
        let nobodys = json!({ "agreement": "no-such-agreement", "purpose": PURPOSE, "sql": SQL });
        let refused = python("shafi", "frame", &nobodys).await?;
        assert!(text(&refused, "/says")?.contains("data-sharing agreement that its caller takes part in"), "{refused}");
        Ok(())
    })
}

#[test]
fn what_flight_sql_has_beyond_questions_is_refused_by_its_name() -> Result<()> {
    run(async {
        let ends = python("tim", "refused", &asked("SELECT COUNT(*) AS n FROM health.visits")).await?;
        assert_eq!(text(&ends, "/execute/0")?, "no exception");
        for (act, name) in [
            ("ingest", "ingest is not served here: data stay at their own agency"),
            ("update", "updates are not served here: data change at their own agency alone"),
            ("prepared_update", "updates are not served here"),
            ("parameters", "parameters are not served here: write the values into the SQL"),
            ("substrait", "Substrait plans are not served here: send the question as SQL"),
            ("password", "a handshake is not served here: the certificate says who calls"),
        ] {
            assert_eq!(text(&ends, &format!("/{act}/0"))?, "NotSupportedError", "{act}: {ends}");
            let says = text(&ends, &format!("/{act}/1"))?;
            assert!(says.contains(name), "{act}: {says}");
        }
        // The driver asks what the server has, and says so itself.
        assert!(text(&ends, "/transaction/1")?.contains("Cannot disable autocommit"), "{ends}");
        Ok(())
    })
}

#[test]
fn a_sql_tool_browses_what_the_catalogue_shows_and_nothing_else() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let barbara = Caller("nso", "analyst", "barbara").connect(&shared.federation, shared.live.address).await?;
        let found = python("barbara", "browse", &json!({ "depth": "all" })).await?;
        assert_eq!((text(&found, "/server")?, text(&found, "/types/0")?), ("Firebreak", "VIEW"));
        let mut tables = Vec::new();
        for agency in list(&found, "/objects")? {
            for schema in list(agency, "/catalog_db_schemas")? {
                for table in list(schema, "/db_schema_tables")? {
                    let id = format!("{}.{}", text(schema, "/db_schema_name")?, text(table, "/table_name")?);
                    let names = list(table, "/table_columns")?.iter().map(|c| text(c, "/column_name"));
                    let names: Vec<String> = names.map(|name| Ok(name?.to_owned())).collect::<Result<_>>()?;
                    tables.push((id, text(agency, "/catalog_name")?.to_owned(), names));
                }
            }
        }
        let mut expected = Vec::new();
        for dataset in list_datasets(&barbara).await? {
            let columns = describe_dataset(&barbara, &dataset.id).await?.columns;
            expected.push((dataset.id, dataset.agency, columns.into_iter().map(|c| c.name).collect()));
        }
        tables.sort();
        expected.sort();
        assert_eq!(tables, expected);
        assert!(tables.len() >= 4, "{tables:?}");
        let visits = text(&found, "/told/example")?;
        assert!(list(&python("barbara", "frame", &asked(visits)).await?, "/frame")?.len() == 1, "{visits}");
        let narrowed = json!({ "depth": "tables", "db_schema_filter": "health", "table_name_filter": "v%s" });
        let narrowed = python("barbara", "browse", &narrowed).await?;
        let found = list(&narrowed, "/objects")?.iter().map(|agency| agency.to_string()).collect::<String>();
        assert!(found.contains("\"visits\"") && !found.contains("permits"), "{found}");
        Ok(())
    })
}
