//! R34: every recipe of the cookbook is answered as it stands, in SQL, Python and R, and as a message.

mod document;
mod message;

use anyhow::{Context, Result, ensure};
use document::{Document, Instead, Refused, Step, Under};
use firebreak::client::{Ask, Connection, QueryAnswer, get_loss};
use firebreak_audit::{LeafKind, Receipt, VerifierKey};
use firebreak_domain::Charge;
use firebreak_tests::{Caller, Own, ask_until_answered, built, refusal_of, run};
use message::Sender;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const COOKBOOK: &str = include_str!("../../docs/COOKBOOK.md");
/// The gateway's address in the documents.
pub const GATEWAY: &str = "gateway.firebreak.example:8443";
/// Who asks by messages. A repeat counts towards the limits of whoever asks, and Ada asks each question twice already.
const BOB: Caller = Caller("nso", "analyst", "bob");
/// Python's figures and R's may differ by so much of their size: neither fits a line as the other does.
const ROUNDING: f64 = 1e-7;

/// What a program had of a recipe: rows of its answer, and the figures that it showed.
#[derive(Debug)]
struct Had {
    rows: usize,
    figures: Vec<f64>,
}

async fn answer(ada: &Connection, under: &Under, sql: &str) -> Result<QueryAnswer> {
    let ask = Ask::new(&under.agreement, &under.purpose, sql).with_context(|| sql.to_owned())?;
    ask_until_answered(ada, &ask).await.with_context(|| sql.to_owned())
}

/// A program with the built ones in its path, in a folder that holds whose it is.
pub fn program(variable: &str, folder: &Path) -> Result<Command> {
    let program = std::env::var_os(variable).context("run the tests with `cargo xtask test`")?;
    let own = built("firebreak")?;
    let mut path = own.parent().context("no folder")?.as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let mut command = Command::new(program);
    command.current_dir(folder).env("PATH", path).env_remove("FIREBREAK_PROFILE");
    Ok(command)
}

/// What a program wrote to standard output, and beside it; all of it in the error if it ended badly.
pub fn ended(Output { status, stdout, stderr }: Output) -> Result<(String, String)> {
    let (stdout, stderr) = (String::from_utf8(stdout)?, String::from_utf8_lossy(&stderr).into_owned());
    ensure!(status.success(), "{stdout}\n{stderr}");
    Ok((stdout, stderr))
}

/// Puts each block, and each question beside its block, in a file of its own.
fn lay_out(steps: &[Step], gateway: &str, folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for (place, step) in steps.iter().enumerate() {
        let title: String = step.title.chars().filter(|c| c.is_ascii_alphanumeric() || *c == ' ').collect();
        let name = format!("{place:03} {title}");
        let write = |ending: &str, text: &Option<String>| match text {
            Some(text) => fs::write(folder.join(format!("{name}.{ending}")), text.replace(GATEWAY, gateway)),
            None => Ok(()),
        };
        write("sql", &step.sql)?;
        write("py", &step.python)?;
        write("R", &step.r)?;
        names.push(name);
    }
    Ok(names)
}

/// Runs all blocks of a language in one process.
fn run_all(variable: &str, script: &str, blocks: &Path, folder: &Path) -> Result<(BTreeMap<String, Had>, String)> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(script);
    let (lines, beside) = ended(program(variable, folder)?.arg(script).arg(blocks).output()?)?;
    let read = |line: &str| -> Result<(String, Had)> {
        let mut fields = line.split('\t');
        let (name, rows) = (fields.next().context("no name")?, fields.next().context("no rows")?);
        let figures = fields.filter(|figure| !figure.is_empty()).map(str::parse).collect::<Result<Vec<f64>, _>>();
        let mut figures = figures.with_context(|| format!("not all are figures: {line}"))?;
        figures.sort_by(f64::total_cmp);
        Ok((name.to_owned(), Had { rows: rows.parse()?, figures }))
    };
    Ok((lines.lines().map(read).collect::<Result<_>>()?, beside))
}

#[test]
fn every_recipe_of_the_cookbook_is_answered() -> Result<()> {
    run(async {
        let Document { steps, refused } = Document::read(COOKBOOK)?;
        let recipes = steps.iter().filter(|step| step.sql.is_some()).count();
        ensure!(recipes >= 25 && refused.len() >= 5, "{recipes} recipes, {} refused", refused.len());
        let own = Own::start(2_000, &[]).await?;
        let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
        let mut releases = BTreeMap::new();
        let (mut rows, mut asked) = (Vec::new(), Vec::new());
        for step in &steps {
            let Some(sql) = &step.sql else {
                rows.push(None);
                continue;
            };
            let answer = answer(&ada, &step.under, sql).await?;
            ensure!(sql.contains("HAVING") || !answer.rows.is_empty(), "no rows: {sql}");
            let estimates = || answer.rows.iter().flat_map(|row| &row.estimates);
            let computed = estimates().any(|estimate| estimate.value.is_some());
            ensure!(computed || answer.rows.is_empty(), "nothing is computable: {sql}");
            if let Some(limit) = sql.lines().find_map(|line| line.strip_prefix("LIMIT ")) {
                assert_eq!(answer.rows.len(), limit.parse::<usize>()?, "{sql}");
            }
            *releases.entry(answer.released.release_id.clone()).or_insert(0) += 1;
            rows.push(Some((answer.rows.len(), estimates().all(|estimate| estimate.value.is_some()))));
            asked.push((&step.under, sql.as_str(), answer));
        }
        // FILTER and CASE are one question, whose release is given again.
        ensure!(releases.values().any(|times| *times == 2), "no recipe repeats another");
        repeat_as_messages(&own, &ada, &asked).await?;
        for row in &refused {
            is_refused(&ada, row).await?;
        }

        let folder = tempfile::tempdir()?;
        let blocks = folder.path().join("blocks");
        fs::create_dir(&blocks)?;
        let Caller(org, role, id) = Caller::ADA;
        own.federation.working_folder(folder.path(), (org, role, id), own.live.address)?;
        let names = lay_out(&steps, &format!("localhost:{}", own.live.address.port()), &blocks)?;
        let (python, python_said) = run_all("FIREBREAK_PYTHON", "python/cookbook.py", &blocks, folder.path())?;
        let (r, r_said) = run_all("FIREBREAK_RSCRIPT", "r/cookbook.R", &blocks, folder.path())?;
        for (name, expected) in names.iter().zip(rows) {
            let Some((expected, all_computed)) = expected else { continue };
            let (python, r) = (python.get(name).context(name.clone())?, r.get(name).context(name.clone())?);
            assert_eq!((python.rows, r.rows), (expected, expected), "rows of the answer: {name}");
            // Both have the same releases, so what they make of them is the same.
            let pairs = python.figures.iter().zip(&r.figures);
            let near = |(a, b): (&f64, &f64)| (a - b).abs() <= ROUNDING * a.abs().max(b.abs());
            ensure!(
                python.figures.len() == r.figures.len() && pairs.clone().all(near),
                "{name}: Python shows {:?} and R {:?}",
                python.figures,
                r.figures
            );
            // Of a few persons noise may leave nothing to compute with, as the root of a variance below 0.
            ensure!(!python.figures.is_empty() || !all_computed, "{name}: the last line shows no figure");
        }
        // What both sections of refusals are about: the reason and the way out are seen in either language.
        for said in [python_said, r_said] {
            ensure!(said.contains("UNSUPPORTED_AGGREGATE") || said.contains("the aggregates are"), "{said}");
            ensure!(said.contains("QUANTILE(cost, 0.95)"), "{said}");
        }
        Ok(())
    })
}

/// Sends what was asked in SQL as messages, which are the same questions: each has the release that the SQL had, and
/// nobody in the data loses anything more.
async fn repeat_as_messages(own: &Own, ada: &Connection, asked: &[(&Under, &str, QueryAnswer)]) -> Result<()> {
    let key: VerifierKey = own.federation.log_key().parse()?;
    let sender = Sender::connect(own, BOB).await?;
    let lost = get_loss(ada).await?;
    for (under, sql, by_sql) in asked {
        let again = sender.ask(under, sql).await.with_context(|| format!("as a message: {sql}"))?;
        assert_eq!(again.released.release_id, by_sql.released.release_id, "{sql}");
        assert_eq!(again.accepted.groups, by_sql.accepted.groups, "{sql}");
        assert_eq!(again.accepted.columns, by_sql.accepted.columns, "{sql}");
        assert_eq!(again.rows, by_sql.rows, "{sql}");
        let mut receipts = 0;
        for receipt in Receipt::each(again.released.receipt.as_bytes()) {
            let leaf = Receipt::decode(receipt)?.verify(&key)?.leaf;
            assert_eq!((leaf.leaf().kind, leaf.leaf().charge), (LeafKind::StoredRelease, Charge::default()), "{sql}");
            receipts += 1;
        }
        assert_eq!(receipts, by_sql.released.parts.len().max(1), "{sql}");
    }
    assert_eq!(get_loss(ada).await?, lost, "a message took something from the persons in the data");
    Ok(())
}

/// Checks a row of what is refused: its reason, and that what it says to ask instead is what the refusal says.
async fn is_refused(ada: &Connection, row: &Refused) -> Result<()> {
    let Refused { under, sql, reason, instead } = row;
    let ask = Ask::new(&under.agreement, &under.purpose, sql)?;
    let refusal = refusal_of(ask_until_answered(ada, &ask).await).with_context(|| sql.clone())?.refusal;
    let told = |key: &str| refusal.metadata.get(key).map_or("", String::as_str);
    assert_eq!(refusal.reason, *reason, "{sql}");
    match instead {
        Instead::Sql(instead) => {
            assert_eq!(told("suggestion"), instead, "{sql}");
            ensure!(!answer(ada, under, instead).await?.rows.is_empty(), "no rows: {instead}");
        }
        Instead::Words(words) => ensure!(told("detail").contains(words.as_str()), "{sql}: {}", told("detail")),
    }
    Ok(())
}
