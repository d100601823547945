//! R1, R5, R9, R13, R34: what a caller sees of the catalogue, the commands on a terminal, and what a refusal suggests.

mod formats;
mod microdata;

use crate::health::SERVICES;
use anyhow::{Context, Result, bail, ensure};
use firebreak::client::{
    Ask, ClientError, Connection, Profile, QueryAnswer, describe_dataset, list_datasets, run_query,
};
use firebreak_domain::{Contract, Rho};
use firebreak_node::{ConfigurationError, load};
use firebreak_query::parse_sql;
use firebreak_testbed::{AGENCIES, gateway_identity};
use firebreak_tests::{Caller, Shared, refusal_of, run, send, shared};
use firebreak_transport::connect;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tokio::time::sleep;

const COLUMNS: usize = 80;
const REGIONS: usize = 17;

/// A program beside this one.
pub fn program(name: &str) -> Result<Command> {
    let this = std::env::current_exe()?;
    let folder = this.ancestors().find(|f| f.join(name).is_file());
    Ok(Command::new(folder.context("the programs are not built: run the tests with `cargo xtask test`")?.join(name)))
}

/// What a command did.
pub struct Done {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// Runs a command on a terminal of eighty columns.
pub fn done(command: &mut Command) -> Result<Done> {
    let output = command.env("COLUMNS", COLUMNS.to_string()).output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Done { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) })
}

/// `firebreak`, asking as an analyst of the statistical office with that name, by a profile file.
pub fn firebreak(shared: &Shared, id: &str, words: &[&str]) -> Result<Done> {
    let layout = shared.federation.layout();
    shared.federation.issue("nso", "analyst", id)?;
    let profile = Profile {
        identity: Some(layout.certificate("nso", "analyst", id)),
        authority: Some(layout.authority().join("ca.pem")),
        gateway: Some(format!("localhost:{}", shared.live.address.port())),
        gateway_identity: Some(gateway_identity()),
        ..Profile::default()
    };
    let file = layout.root().join(format!("{id}.toml"));
    std::fs::write(&file, profile.to_toml()?)?;
    for _ in 0..60 {
        let done = done(program("firebreak")?.args(words).arg("--profile").arg(&file))?;
        if !done.err.contains("EVIDENCE_OUTSTANDING") {
            return Ok(done);
        }
        std::thread::sleep(Duration::from_millis(250));
    }
    bail!("the adapter did not get to see the log")
}

fn assert_fits(text: &str) {
    for line in text.lines() {
        assert!(line.chars().count() <= COLUMNS, "{} columns: {line}\n{text}", line.chars().count());
    }
}

fn query<'a>(sql: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let words = ["query", "--agreement", "health-statistics", "--purpose", "health-planning", "--rho", "0.0005", sql];
    words.into_iter().chain(more.iter().copied()).collect()
}

const BY_REGION: &str = "SELECT region, COUNT(*) AS visits, AVG(cost) AS mean_cost FROM health.visits GROUP BY region";

#[test]
fn the_commands_lay_out_tables_for_eighty_columns() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let listed = firebreak(shared, "tess", &["datasets"])?;
        assert_eq!(listed.code, Some(0), "{}", listed.err);
        assert_fits(&listed.out);
        for dataset in ["health.visits", "health.vaccinations", "education.enrolments", "immigration.permits"] {
            assert!(listed.out.contains(dataset), "{}", listed.out);
        }
        let described = firebreak(shared, "tess", &["datasets", "health.visits"])?;
        assert_eq!(described.code, Some(0), "{}", described.err);
        assert_fits(&described.out);
        assert!(described.out.contains("visit_year") && described.out.contains("2024-Q4"), "{}", described.out);

        let answered = firebreak(shared, "tess", &query(BY_REGION, &[]))?;
        assert_eq!(answered.code, Some(0), "{}", answered.err);
        assert_fits(&answered.out);
        // A row too wide for the terminal, as the noise may make it, is a list of fields instead.
        let shown = (1..=REGIONS).filter(|n| answered.out.contains(&format!("R{n:02}"))).count();
        assert_eq!(shown, REGIONS, "{}", answered.out);

        let budget = firebreak(shared, "tess", &["budget", "--agreement", "health-statistics"])?;
        assert_eq!(budget.code, Some(0), "{}", budget.err);
        assert_fits(&budget.out);
        assert!(budget.out.contains("0.0005"), "what was spent is not shown:\n{}", budget.out);
        Ok(())
    })
}

#[test]
fn csv_is_a_table_of_numbers_alone() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let done = firebreak(shared, "carl", &query(BY_REGION, &["--csv"]))?;
        assert_eq!(done.code, Some(0), "{}", done.err);
        let mut lines = done.out.lines().map(|line| line.trim_end().split(',').collect::<Vec<_>>());
        let heading = lines.next().context("no heading")?;
        let place =
            |name: &str| heading.iter().position(|h| *h == name).with_context(|| format!("no {name}: {heading:?}"));
        let (region, visits, mean) = (place("region")?, place("visits")?, place("mean_cost")?);
        let mut regions = BTreeSet::new();
        for row in lines {
            assert_eq!(row.len(), heading.len(), "{row:?}");
            assert!(row[visits].parse::<f64>().is_ok(), "{row:?}");
            assert!(row[mean].is_empty() || row[mean].parse::<f64>().is_ok(), "{row:?}");
            regions.insert(row[region].to_owned());
        }
        assert_eq!(regions.len(), REGIONS);
        assert!(done.err.contains("0.0005"), "the cost is told beside the table:\n{}", done.err);
        Ok(())
    })
}

#[test]
fn a_refused_command_shows_reason_and_suggestion_and_ends_with_3() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let sql = "SELECT national_number, COUNT(*) AS n FROM health.visits GROUP BY national_number";
        let refused = firebreak(shared, "rob", &query(sql, &[]))?;
        assert_eq!(refused.code, Some(3), "{}", refused.err);
        assert_eq!(refused.out, "");
        assert_fits(&refused.err);
        assert!(refused.err.contains("IDENTIFIER_COLUMN"), "{}", refused.err);
        assert!(refused.err.contains("SELECT "), "no suggestion:\n{}", refused.err);
        // Its twin differs in the column alone.
        let twin = "SELECT region, COUNT(*) AS n FROM health.visits GROUP BY region";
        assert_eq!(firebreak(shared, "rob", &query(twin, &[]))?.code, Some(0));
        Ok(())
    })
}

/// The contract in the bundle, with everything that the catalogue leaves out.
fn contract(shared: &Shared, dataset: &str) -> Result<Contract> {
    let file = shared.federation.layout().bundle().join(format!("contracts/{dataset}.toml"));
    Ok(toml::from_str(&std::fs::read_to_string(file)?)?)
}

#[test]
fn the_catalogue_shows_no_column_that_cannot_be_asked() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let analyst = Caller("nso", "analyst", "cate").connect(&shared.federation, shared.live.address).await?;
        let listed = list_datasets(&analyst).await?;
        assert_eq!(listed.len(), 6, "{listed:?}");
        for (_, _, datasets) in AGENCIES {
            for dataset in datasets {
                let contract = contract(shared, dataset)?;
                if covered(shared, dataset)?.is_empty() {
                    let hidden = refusal_of(describe_dataset(&analyst, dataset).await)?;
                    assert_eq!(hidden.refusal.reason, "UNKNOWN_DATASET", "{dataset}");
                    continue;
                }
                let described = describe_dataset(&analyst, dataset).await?;
                let shown: BTreeSet<_> = described.columns.iter().map(|c| c.name.as_str()).collect();
                let covered: BTreeSet<_> = covered(shared, dataset)?;
                assert_eq!(shown, covered.iter().map(String::as_str).collect::<BTreeSet<_>>(), "{dataset}");
                let everything = format!("{described:?}");
                for column in &contract.columns {
                    use firebreak_domain::ColumnRole::{Identifier, MatchKey, Withheld};
                    if matches!(column.role, Identifier | MatchKey | Withheld) {
                        let named = format!("name: \"{}\"", column.name);
                        assert!(!everything.contains(&named), "{dataset} shows {}", column.name);
                        assert!(!everything.contains(column.definition.as_str()), "{dataset} tells of {}", column.name);
                    }
                }
                // What it gives for an example is answered.
                let access = described.summary.context("no summary")?.access;
                let access = access.first().context("no agreement")?;
                let purpose = access.purposes.first().context("no purpose")?;
                ask(&analyst, &access.agreement, purpose, &described.example).await?;
            }
        }
        Ok(())
    })
}

/// The columns that agreements in force let the statistical office ask, read from their files.
fn covered(shared: &Shared, dataset: &str) -> Result<BTreeSet<String>> {
    let mut columns = BTreeSet::new();
    for entry in std::fs::read_dir(shared.federation.layout().bundle().join("agreements"))? {
        let agreement: toml::Table = toml::from_str(&std::fs::read_to_string(entry?.path())?)?;
        let lists = |key: &str, what: &str| {
            agreement
                .get(key)
                .and_then(toml::Value::as_array)
                .is_some_and(|a| a.iter().any(|v| v.as_str() == Some(what)))
        };
        let ended = agreement.get("end").and_then(toml::Value::as_str).is_some_and(|end| end < "2026");
        let assessed = agreement.contains_key("assessment");
        if !(lists("operations", "aggregate") && lists("recipients", "nso") && assessed) || ended {
            continue;
        }
        // What persons are joined by is the agreement's to name and nobody's to ask.
        let key = agreement.get("join").and_then(|join| join.get("field")).and_then(toml::Value::as_str);
        for entry in agreement.get("dataset").and_then(toml::Value::as_array).into_iter().flatten() {
            if entry.get("id").and_then(toml::Value::as_str) == Some(dataset) {
                let named = entry.get("columns").and_then(toml::Value::as_array).into_iter().flatten();
                columns.extend(named.filter_map(|c| c.as_str()).filter(|c| Some(*c) != key).map(str::to_owned));
            }
        }
    }
    Ok(columns)
}

#[test]
fn whoever_may_ask_nothing_sees_nothing() -> Result<()> {
    run(async {
        let shared = shared().await?;
        for (org, role) in
            [("immigration-agency", "analyst"), ("removal-office", "endpoint"), ("relief-fund", "analyst")]
        {
            let caller = Caller(org, role, "curious").connect(&shared.federation, shared.live.address).await?;
            assert_eq!(list_datasets(&caller).await?.len(), 0, "{org}");
            let hidden = refusal_of(describe_dataset(&caller, "health.visits").await)?.refusal;
            let absent = refusal_of(describe_dataset(&caller, "health.visitors").await)?.refusal;
            assert_eq!(hidden.reason, "UNKNOWN_DATASET", "{org}");
            assert_eq!(hidden, absent, "what is hidden from {org} differs from what does not exist");
        }
        // The health agency's own analysts see what their agreement covers, and nobody else's data.
        let own = Caller("health-agency", "analyst", "hanna").connect(&shared.federation, shared.live.address).await?;
        let listed: Vec<_> = list_datasets(&own).await?.into_iter().map(|d| d.agency).collect();
        assert!(!listed.is_empty() && listed.iter().all(|agency| agency == "health-agency"), "{listed:?}");
        let hidden = refusal_of(describe_dataset(&own, "education.enrolments").await)?;
        assert_eq!(hidden.refusal.reason, "UNKNOWN_DATASET");
        Ok(())
    })
}

/// Asks at next to no cost, again while the adapter waits to see the log.
pub async fn ask(
    connection: &Connection,
    agreement: &str,
    purpose: &str,
    sql: &str,
) -> Result<QueryAnswer, ClientError> {
    let mut ask = Ask::new(agreement, purpose, sql)?;
    if parse_sql(sql).is_ok_and(|query| query.rho.is_none()) {
        ask.rho = Rho::at_least(0.00001);
    }
    let mut tries = 0;
    loop {
        match run_query(connection, &ask, &mut |_| {}).await {
            Err(ClientError::Refused(r))
                if ["EVIDENCE_OUTSTANDING", "AGENCY_UNAVAILABLE"].contains(&r.refusal.reason.as_str())
                    && tries < 80 =>
            {
                tries += 1;
                sleep(Duration::from_millis(250)).await;
            }
            outcome => return outcome,
        }
    }
}

/// Where a question can be read, policy decides before the contract is consulted: what does not exist is refused as
/// what the agreement does not cover.
const POLICY_FIRST: [(&str, &str); 2] =
    [("UNKNOWN_DATASET", "DATASET_NOT_COVERED"), ("UNKNOWN_COLUMN", "COLUMN_NOT_COVERED")];

#[test]
fn whatever_a_refusal_suggests_is_answered() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let analyst = Caller("nso", "analyst", "sue").connect(&shared.federation, shared.live.address).await?;
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/query/tests/fixtures/unanswerable.toml");
        let table: toml::Table = toml::from_str(&std::fs::read_to_string(file)?)?;
        let statements = table.get("statement").and_then(toml::Value::as_array).context("no statements")?;
        ensure!(statements.len() >= 60, "the table has shrunk");
        let (mut answered, mut others) = (BTreeSet::new(), Vec::new());
        for statement in statements {
            let text =
                |key: &str| statement.get(key).and_then(toml::Value::as_str).with_context(|| format!("no {key}"));
            let (reason, sql) = (text("reason")?, text("sql")?);
            let refused = refusal_of(ask(&analyst, "health-statistics", "health-planning", sql).await)
                .with_context(|| format!("asked: {sql}"))?
                .refusal;
            let by_policy = POLICY_FIRST.iter().any(|(read, decided)| *read == reason && *decided == refused.reason);
            if refused.reason != reason && !by_policy {
                others.push(format!("{}, not {reason}: {sql}", refused.reason));
            }
            let suggestion =
                refused.metadata.get("suggestion").with_context(|| format!("nothing suggested for {sql}"))?;
            if answered.insert(suggestion.clone()) {
                let answer = ask(&analyst, "health-statistics", "health-planning", suggestion).await;
                let answer = answer.with_context(|| format!("{sql}\nsuggested: {suggestion}"))?;
                assert!(!answer.rows.is_empty(), "{suggestion}");
            }
        }
        assert!(others.is_empty(), "refused for another reason:\n{}", others.join("\n"));
        assert!(answered.len() > 10, "the suggestions are all the same: {answered:?}");
        Ok(())
    })
}

fn deployed(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/config").join(file)
}

#[test]
fn the_sample_configurations_are_read_and_an_unknown_key_is_refused_by_name() -> Result<()> {
    let folder = tempfile::tempdir()?;
    load::<firebreak_gateway::configuration::Configuration>(&deployed("gateway.toml"))?;
    let adapter: agency_adapter::configuration::Configuration = load(&deployed("adapter.toml"))?;
    adapter.gateway()?;
    adapter.log_key.parse::<firebreak_audit::VerifierKey>()?;
    for file in ["gateway.toml", "adapter.toml"] {
        let text = format!("trust_everybody = true\n{}", std::fs::read_to_string(deployed(file))?);
        let changed = folder.path().join(file);
        std::fs::write(&changed, text)?;
        let error = match file {
            "gateway.toml" => load::<firebreak_gateway::configuration::Configuration>(&changed).map(drop),
            _ => load::<agency_adapter::configuration::Configuration>(&changed).map(drop),
        };
        match error {
            Err(error @ ConfigurationError::Content(..)) => {
                assert!(error.to_string().contains("trust_everybody"), "{error}")
            }
            other => bail!("{other:?}"),
        }
    }
    Ok(())
}

#[test]
fn check_reads_everything_and_says_what_is_wrong() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let layout = shared.federation.layout();
        let health = layout.adapter("health-agency");
        for (name, good, own) in [
            (
                "firebreak-gateway",
                layout.gateway().join("gateway.toml"),
                layout.certificate("federation", "gateway", "main"),
            ),
            ("agency-adapter", health.join("adapter.toml"), layout.certificate("health-agency", "adapter", "main")),
        ] {
            let checked = done(program(name)?.arg("--config").arg(&good).arg("--check"))?;
            assert_eq!(checked.code, Some(0), "{name}: {}", checked.err);
            std::fs::write(good.with_file_name("readable"), "no key")?;
            let refused = |wrong: String, told: &str| -> Result<()> {
                let file = good.with_file_name("wrong.toml");
                std::fs::write(&file, wrong)?;
                let checked = done(program(name)?.arg("--config").arg(&file).arg("--check"))?;
                assert_ne!(checked.code, Some(0), "{name}: {told}");
                assert!(checked.err.contains(told), "{name}, {told}: {}", checked.err);
                Ok(())
            };
            let text = std::fs::read_to_string(&good)?;
            let own = own.display().to_string();
            let elses = layout.certificate("education-agency", "adapter", "main").display().to_string();
            let other = if name == "agency-adapter" {
                layout.certificate("federation", "gateway", "main").display().to_string()
            } else {
                elses
            };
            // The same with another value for one key; a key that stands before every table.
            let with = |key: &str, line: &str| {
                let others = text.lines().filter(|l| !l.starts_with(&format!("{key} =")));
                std::iter::once(line).chain(others).collect::<Vec<_>>().join("\n")
            };
            let of_bundles = |key: &str, value: &str| {
                let changed =
                    |l: &str| if l.starts_with(&format!("{key} =")) { value.to_owned() } else { l.to_owned() };
                text.lines().map(changed).collect::<Vec<_>>().join("\n")
            };
            for (key, value, told) in [
                ("metrics", "metrics = \"0.0.0.0:9464\"", "metrics = 0.0.0.0:9464: this is served on loopback alone"),
                ("state_key", "state_key = \"readable\"", "the state key file can be read by others"),
                (
                    "public_log",
                    "public_log = \"[::]:8080\"",
                    "public_log = [::]:8080: this is served on loopback alone",
                ),
                ("data_folder", "data_folder = \"nowhere\"", "the folder cannot be read"),
            ] {
                if (key == "public_log" && name == "agency-adapter")
                    || (key == "data_folder" && name != "agency-adapter")
                {
                    continue;
                }
                refused(with(key, value), key)?;
                refused(with(key, value), told)?;
            }
            for (key, value, told) in [
                ("trust_root", "trust_root = \"nowhere.toml\"", "the file cannot be read"),
                ("trust_root", "trust_root = \"wrong.toml\"", "not an overseers file"),
                ("folder", "folder = \"nowhere\"", "the folder cannot be read"),
            ] {
                refused(of_bundles(key, value), &format!("bundles.{key}"))?;
                refused(of_bundles(key, value), told)?;
            }
            for (wrong, told) in [
                (format!("believe = \"everybody\"\n{text}"), "believe"),
                (text.replace(&own, &other), "this program needs"),
                (text.replace(&format!("{own}/cert.pem"), "nowhere.pem"), "nowhere.pem"),
            ] {
                refused(wrong, told)?;
            }
        }
        Ok(())
    })
}

#[test]
fn the_gateway_says_that_it_serves_and_what() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let trust = shared.federation.authority().trust_anchor()?;
        let monitor = shared.federation.issue("dpa", "authority", "monitor")?;
        let channel = connect(&shared.live.address.to_string(), &monitor, &trust, &gateway_identity().parse()?).await?;
        let check = "/grpc.health.v1.Health/Check";
        // Field 1, the service; the answer's field 1 is 1, SERVING.
        let named = |service: &str| [&[0x0a, service.len() as u8], service.as_bytes()].concat();
        for service in SERVICES {
            assert_eq!(send(&channel, check, named(service)).await??, [0x08, 1], "{service}");
        }
        let unknown = send(&channel, check, named("firebreak.query.v1.NoService")).await?.map(drop);
        assert_eq!(unknown.unwrap_err().code(), tonic::Code::NotFound);

        for version in ["v1", "v1alpha"] {
            let path = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
            let listed = send(&channel, &path, vec![0x3a, 0]).await??;
            let listed = String::from_utf8_lossy(&listed).into_owned();
            for service in
                ["firebreak.query.v1.QueryService", "firebreak.export.v1.ExportService", "grpc.health.v1.Health"]
            {
                assert!(listed.contains(service), "{version} does not list {service}");
            }
        }
        Ok(())
    })
}
