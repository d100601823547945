//! The scenes of the demonstration, in the order in which they are shown.

use crate::truth::{Figure, Truth};
use anyhow::{Context, Result};
use firebreak::client::{Ask, Connection, MatchAsk, Profile, get_budget, run_match, run_query};
use firebreak::number::{count, decimal};
use firebreak_audit::verify_folder;
use firebreak_testbed::{Address, CASEWORKER, Federation, Live, OFFICER, figure, gateway_identity};
use std::path::Path;

const STATISTICIAN: (&str, &str, &str) = ("nso", "analyst", "ada");

/// A heading.
pub fn title(text: &str) {
    println!("\n{text}\n{}", "─".repeat(text.chars().count()));
}

/// How somebody of the federation reaches the gateway.
pub fn profile(federation: &Federation, gateway: Address, who: (&str, &str, &str)) -> Result<Profile> {
    let (org, role, id) = who;
    federation.issue(org, role, id)?;
    let layout = federation.layout();
    Ok(Profile {
        identity: Some(layout.certificate(org, role, id)),
        authority: Some(layout.authority().join("ca.pem")),
        gateway: Some(format!("localhost:{}", gateway.port())),
        gateway_identity: Some(gateway_identity()),
        ..Profile::default()
    })
}

/// How an agency's caseworker, or its officer, reaches its own adapter.
pub fn local_profile(federation: &Federation, agency: &str, who: (&str, &str), local: Address) -> Profile {
    let layout = federation.layout();
    Profile {
        identity: Some(layout.staff_certificate(agency, who.0, who.1)),
        authority: Some(layout.local_authority(agency).join("ca.pem")),
        local: Some(format!("localhost:{}", local.port())),
        ..Profile::default()
    }
}

struct Question {
    asks: &'static str,
    agency: (&'static str, &'static str),
    dataset: &'static str,
    agreement: (&'static str, &'static str),
    sql: &'static str,
    group: Option<&'static str>,
    figure: Figure,
}

const QUESTIONS: [Question; 3] = [
    Question {
        asks: "How many patients did the clinics of each region see?",
        agency: ("health-agency", "health"),
        dataset: "health.visits",
        agreement: ("health-statistics", "health-planning"),
        sql: "SELECT region, COUNT(DISTINCT person_key) AS patients FROM health.visits GROUP BY region",
        group: Some("region"),
        figure: Figure::Persons,
    },
    Question {
        asks: "What did a visit cost on average, year by year?",
        agency: ("health-agency", "health"),
        dataset: "health.visits",
        agreement: ("health-statistics", "health-planning"),
        sql: "SELECT visit_year, AVG(cost) AS mean_cost FROM health.visits GROUP BY visit_year",
        group: Some("visit_year"),
        figure: Figure::Mean("cost"),
    },
    Question {
        asks: "Which share of residence permits is temporary protection?",
        agency: ("immigration-agency", "immigration"),
        dataset: "immigration.permits",
        agreement: ("residence-statistics", "reception-planning"),
        sql: "SELECT COUNT(*) FILTER (WHERE status = 'temporary_protection') / COUNT(*) AS share FROM immigration.permits",
        group: None,
        figure: Figure::Share("status", "temporary_protection"),
    },
];

/// Three questions with their answers, errors and costs, and the two truths.
pub async fn questions(federation: &Federation, live: &Live) -> Result<()> {
    title("1. A statistician of the national office asks");
    println!(
        "Noise is added inside the agency, so that no answer depends noticeably on any one person.\n\
         Because this population is made up, the truth can be shown beside each answer: over the bounded view\n\
         (a fixed number of rows a person), which the answer estimates, and over the whole file."
    );
    let connection = profile(federation, live.address, STATISTICIAN)?.connect().await?;
    for question in &QUESTIONS {
        println!("\n{}\n  {}", question.asks, question.sql);
        let (agreement, purpose) = question.agreement;
        let answer = ask(&connection, agreement, purpose, question.sql).await?;
        let truth = Truth::of(federation, question.agency.0, question.agency.1, question.dataset).await?;
        let truths = truth.figures(question.group, question.figure)?;
        println!("\n  {:<14}{:>14}{:>14}{:>16}{:>14}", "", "answer", "± (95 %)", "bounded view", "whole file");
        for row in &answer.rows {
            let group = row.groups.first().cloned().unwrap_or_default();
            let Some(estimate) = row.estimates.first() else { continue };
            let (bounded, whole) = truths.get(&group).copied().unwrap_or_default();
            let value = estimate.value.map_or_else(|| "not computable".to_owned(), |v| shown(v, question.figure));
            let error = estimate.standard_error.map_or_else(String::new, |e| error_of(1.96 * e));
            let label = if group.is_empty() { "all" } else { group.as_str() };
            println!(
                "  {label:<14}{value:>14}{error:>14}{:>16}{:>14}",
                shown(bounded, question.figure),
                shown(whole, question.figure)
            );
        }
        let cost = answer.accepted.cost.context("an answer without its cost")?;
        println!(
            "  cost to every person concerned: ρ = {}, release {}",
            rho(cost.rho_nano),
            answer.released.release_id
        );
    }
    Ok(())
}

async fn ask(
    connection: &Connection,
    agreement: &str,
    purpose: &str,
    sql: &str,
) -> Result<firebreak::client::QueryAnswer> {
    Ok(run_query(connection, &Ask::new(agreement, purpose, sql)?, &mut |_| {}).await?)
}

fn shown(value: f64, figure: Figure) -> String {
    match figure {
        Figure::Persons => decimal(value, 0),
        Figure::Mean(_) => decimal(value, 2),
        Figure::Share(..) => format!("{value:.4}"),
    }
}

/// An error to two significant digits.
fn error_of(value: f64) -> String {
    let digits = value.abs().log10().floor();
    let decimals = (1.0 - digits).clamp(0.0, 6.0);
    decimal(value, decimals as usize)
}

fn rho(nano: u64) -> String {
    firebreak_domain::Rho::from_nano(nano).to_string()
}

/// A match that an agreement permits.
pub async fn a_match(federation: &Federation, live: &Live) -> Result<()> {
    title("2. The health agency plans a vaccination round at schools");
    println!(
        "Which of its own patients of school age are enrolled? The agreement permits the health agency to learn this,\n\
         and nobody to learn anything else."
    );
    let local = live.adapter("health-agency")?.local;
    let connection = local_profile(federation, "health-agency", CASEWORKER, local).connect_local().await?;
    let mut ask = MatchAsk::new("vaccination-round", "vaccination-round")?;
    ask.selection = "birth_year BETWEEN 2008 AND 2018".to_owned();
    let mut last = String::new();
    let summary = run_match(&connection, &ask, &mut |progress| {
        if progress.step != last {
            println!("  {}", progress.step);
            last.clone_from(&progress.step);
        }
    })
    .await?;
    println!(
        "  {} patients asked for, {} of them enrolled, {} without a usable number",
        count(summary.offered),
        count(summary.matched),
        count(summary.unusable)
    );
    let carried = figure(live.gateway_metrics, "firebreak_tunnel_bytes_total").await?;
    println!(
        "\n  The education agency saw a padded number of blinded points, and never learns who was enrolled.\n\
         \x20 The gateway saw that the match was authorised, and carried {} bytes that it cannot read.\n\
         \x20 The list stays in the health agency.",
        count(carried)
    );
    Ok(())
}

/// What is left.
pub async fn budgets(federation: &Federation, live: &Live) -> Result<()> {
    title("4. What is left to ask");
    let connection = profile(federation, live.address, STATISTICIAN)?.connect().await?;
    for agreement in ["health-statistics", "residence-statistics"] {
        println!("  under {agreement}");
        for account in get_budget(&connection, &agreement.parse()?).await? {
            let (limit, spent) = (account.limit.unwrap_or_default(), account.spent.unwrap_or_default());
            let left = limit.rho_nano.saturating_sub(spent.rho_nano);
            println!("    {:<44} ρ = {} of {} left", account.of, rho(left), rho(limit.rho_nano));
        }
    }
    Ok(())
}

/// The log, verified from its files.
pub fn log(federation: &Federation) -> Result<()> {
    title("5. The evidence, checked from files alone");
    let copy = federation.layout().root().join("log-copy");
    copy_log(&federation.layout().log(), &copy)?;
    let report = verify_folder(&copy, &federation.log_key().parse()?, &[], None)?;
    println!("  the log verifies: {} leaves", report.size);
    for (kind, count) in &report.leaves_by_kind {
        println!("    {:<20}{count:>6}", kind.as_str());
    }
    Ok(())
}

/// Copies the log at rest: the checkpoint first, so that whatever is newer is not in it.
fn copy_log(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_log(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Commands to try while everything runs.
pub fn keep(federation: &Federation, live: &Live) -> Result<()> {
    let root = federation.layout().root();
    let analyst = root.join(STATISTICIAN.2);
    federation.working_folder(&analyst, STATISTICIAN, live.address)?;
    let staff = root.join("health-officer.toml");
    let local = live.adapter("health-agency")?.local;
    std::fs::write(&staff, local_profile(federation, "health-agency", OFFICER, local).to_toml()?)?;
    let programs = std::env::current_exe()?;
    let programs = programs.parent().context("this program lies in no folder")?;
    title("Everything keeps running. Try, in another terminal:");
    let (analyst, staff, root) = (analyst.display(), staff.display(), root.display());
    println!(
        "  cargo build --bin firebreak\n\
         \x20 export PATH=\"{programs}:$PATH\" FIREBREAK_PROFILE=\"{analyst}/firebreak.toml\"\n\
         \x20 firebreak datasets\n\
         \x20 firebreak query --agreement health-statistics --purpose health-planning \\\n\
         \x20   \"SELECT kind, COUNT(*) AS visits FROM health.visits GROUP BY kind\"\n\
         \x20 firebreak budget --agreement health-statistics\n\
         \x20 firebreak match --profile {staff} --agreement vaccination-round --purpose vaccination-round \\\n\
         \x20   --out matched.parquet\n\
         \x20 firebreak register --profile {staff}\n\
         \x20 firebreak audit verify --log {root}/gateway/log --key {root}/log.pub\n\
         \x20 curl http://{public_log}/checkpoint\n\
         Python and R as in README.md and docs/COOKBOOK.md: start them in {analyst}, and in Python write\n\
         grpc+tls://localhost:{port} for the gateway.\n\
         Ctrl-C ends it; the folder {root} stays.",
        programs = programs.display(),
        public_log = live.public_log,
        port = live.address.port(),
    );
    Ok(())
}
