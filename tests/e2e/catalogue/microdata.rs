//! R1, R9, R34: a public file that this project did not make, served by contract and binding alone.

use super::{ask, done, program};
use agency_adapter::program::{check, serve};
use anyhow::{Context, Result, bail};
use firebreak::client::{Ask, ClientError, run_query};
use firebreak_domain::{Clock, Rho, SystemClock};
use firebreak_policy::Validity;
use firebreak_policy::signing::sign_contract;
use firebreak_testbed::{Federation, Options};
use firebreak_tests::{Caller, refusal_of, run};
use firebreak_transport::Shutdown;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

const DATASET: &str = "hie.person-years";

const AGREEMENT: &str = r#"
format = 1
id = "insurance-experiment"
title = "Use of medical care in the insurance experiment"
controller = "RAND Corporation, Santa Monica"
processors = []
parties = ["health-agency", "nso"]
operations = ["aggregate"]
purposes = ["health-planning"]
legal_basis = "public_task"
recipients = ["nso"]
retention_days = 365
contest = "Write to the controller."
mechanism = "discrete_gaussian"
start = "2025-01-01"
end = "2034-12-31"
review = "2034-06-30"
assessment = "health-statistics"

[budget]
rho_per_query = 100_000_000
rho_per_query_max = 400_000_000
rho_total = 1_000_000_000
rho_per_analyst = 1_000_000_000

[[dataset]]
id = "hie.person-years"
columns = ["study_year", "site", "age", "doctor_visits"]

[[special_ground]]
kind = "health"
ground = "The file is public."

# Nobody asks it here, but to stand in the file tells of it.
[[special_ground]]
kind = "origin"
ground = "The file is public."
"#;

fn fixture(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/public-microdata").join(file)
}

fn microdata() -> Result<PathBuf> {
    std::env::var_os("FIREBREAK_MICRODATA").map(PathBuf::from).context("run the tests with `cargo xtask test`")
}

/// A federation whose health agency serves the public file and nothing else: contract and binding as they are.
fn with_public_file(folder: &Path) -> Result<(Federation, PathBuf)> {
    let options = Options { persons: 200, seed: 3, tick_milliseconds: 10 };
    let federation = Federation::prepare(folder, &options, |_| {})?;
    let bundle = federation.layout().bundle();
    let contract = bundle.join(format!("contracts/{DATASET}.toml"));
    std::fs::copy(fixture("contract.toml"), &contract)?;
    sign_contract(&contract, &federation.signing_key("health-agency")?)?;
    std::fs::write(bundle.join("agreements/insurance-experiment.toml"), AGREEMENT)?;
    let now = SystemClock.now();
    let valid_until = now.plus_secs(86_400);
    federation.sign_bundle(1, None, Validity { made: now, valid_from: now.plus_secs(-60), valid_until })?;
    Ok((federation, contract))
}

/// What a plain reading of the file counts at each site: rows, persons, visits to a doctor of at most 50 a year.
fn plain(file: &Path) -> Result<BTreeMap<String, [f64; 3]>> {
    let text = std::fs::read_to_string(file)?;
    let mut lines = text.lines();
    let heading: Vec<_> = lines.next().context("no heading")?.split(',').collect();
    let place = |name: &str| heading.iter().position(|h| *h == name).with_context(|| format!("no {name}"));
    let (site, person, visits) = (place("site")?, place("zper")?, place("mdvis")?);
    let mut persons: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    let mut counts: BTreeMap<String, [f64; 3]> = BTreeMap::new();
    for line in lines {
        let row: Vec<_> = line.split(',').collect();
        let value = |place: usize| row.get(place).copied().context("a short row");
        let site = format!("site_{}", value(site)?);
        let count = counts.entry(site.clone()).or_default();
        count[0] += 1.0;
        count[2] += value(visits)?.parse::<f64>()?.min(50.0);
        let persons = persons.entry(site).or_default();
        persons.insert(value(person)?);
        count[1] = persons.len() as f64;
    }
    Ok(counts)
}

#[test]
fn a_public_file_is_served_by_contract_and_binding_alone() -> Result<()> {
    run(async {
        let file = microdata()?;
        let folder = tempfile::tempdir()?;
        let (federation, _) = with_public_file(&folder.path().join("federation"))?;
        let any: SocketAddr = ([127, 0, 0, 1], 0).into();
        let shutdown = Shutdown::new();
        let gateway = firebreak_gateway::program::check(&federation.configure_gateway(any, None, None)?)?;
        let gateway = firebreak_gateway::program::serve(gateway, Arc::new(SystemClock), &shutdown).await?;

        let configuration = federation.configure_adapter("health-agency", &[gateway.address], None)?;
        let mut table: toml::Table = toml::from_str(&std::fs::read_to_string(&configuration)?)?;
        table.insert("data_folder".to_owned(), file.parent().context("no folder")?.display().to_string().into());
        let binding = fixture("binding.toml").canonicalize()?.display().to_string();
        table.insert("bindings".to_owned(), vec![binding].into());
        std::fs::write(&configuration, toml::to_string(&table)?)?;
        let _adapter = serve(check(&configuration)?, Arc::new(SystemClock), &shutdown).await?;

        let analyst = Caller::ADA.connect(&federation, gateway.address).await?;
        let sql = "SELECT site, COUNT(*) AS n, COUNT(DISTINCT person) AS persons, SUM(doctor_visits) AS visits \
                   FROM \"hie.person-years\" GROUP BY site";
        let mut question = Ask::new("insurance-experiment", "health-planning", sql)?;
        question.rho = Rho::at_least(0.4);
        let mut answer = run_query(&analyst, &question, &mut |_| {}).await;
        for _ in 0..60 {
            match &answer {
                Err(ClientError::Refused(r))
                    if ["EVIDENCE_OUTSTANDING", "AGENCY_UNAVAILABLE"].contains(&r.refusal.reason.as_str()) =>
                {
                    sleep(Duration::from_millis(250)).await;
                    answer = run_query(&analyst, &question, &mut |_| {}).await;
                }
                _ => break,
            }
        }
        let answer = answer?;
        let truth = plain(&file)?;
        assert_eq!(answer.rows.len(), 6);
        assert_eq!(truth.len(), 6);
        for row in &answer.rows {
            let site = row.groups.first().context("no site")?;
            for (estimate, truth) in row.estimates.iter().zip(truth[site]) {
                let (value, error) =
                    (estimate.value.context("no value")?, estimate.standard_error.context("no error")?);
                // Six standard errors: the noise alone goes further once in 500 million figures.
                assert!((value - truth).abs() <= 6.0 * error, "{site}: {value} ± {error}, counted {truth}");
                assert!(6.0 * error < truth, "{site}: the error {error} would hide a wrong reading of {truth}");
            }
        }
        // To stand in the contract is not to be served: the agreement does not cover it.
        let sql = "SELECT COUNT(*) AS n FROM \"hie.person-years\" WHERE black = 'yes'";
        let refused = refusal_of(ask(&analyst, "insurance-experiment", "health-planning", sql).await)?;
        assert_eq!(refused.refusal.reason, "COLUMN_NOT_COVERED");
        shutdown.request();
        Ok(())
    })
}

#[test]
fn contract_check_says_whether_the_public_file_fits_and_if_not_what_to_do() -> Result<()> {
    let file = microdata()?;
    let data = file.parent().context("no folder")?;
    let folder = tempfile::tempdir()?;
    let checked = |binding: &Path| {
        let mut command = program("firebreak")?;
        command.args(["contract", "check"]).arg(fixture("contract.toml")).arg("--binding").arg(binding);
        done(command.arg("--data").arg(data))
    };
    let fits = checked(&fixture("binding.toml"))?;
    assert_eq!(fits.code, Some(0), "{}{}", fits.out, fits.err);
    assert!(fits.out.contains("hie.person-years fits"), "{}", fits.out);

    let text = std::fs::read_to_string(fixture("binding.toml"))?;
    let broken = [
        // A column of the file that is not there.
        ("doctor_visits = \"mdvis\"", "doctor_visits = \"doctorvisits\"", "doctor_visits"),
        // A code that the contract does not have.
        ("\"25\" = \"quarter\"", "\"25\" = \"fourth\"", "coinsurance"),
        // A file that is not there.
        ("file = \"randhie.csv\"", "file = \"randhie-1983.csv\"", "cut 1982"),
    ];
    for (good, bad, place) in broken {
        let changed = text.replace(good, bad);
        if changed == text {
            bail!("the binding does not say {good}");
        }
        let binding = folder.path().join("binding.toml");
        std::fs::write(&binding, changed)?;
        let misfit = checked(&binding)?;
        assert_eq!(misfit.code, Some(1), "{bad}: {}", misfit.out);
        let line = misfit.out.lines().find(|l| l.contains(place)).with_context(|| format!("{bad}: {}", misfit.out))?;
        // Place, problem and remedy.
        assert!(line.len() > place.len() + 40, "{line}");
        assert!(misfit.err.contains("mend"), "{}", misfit.err);
    }
    Ok(())
}
