//! The log, verified from files by three programs, and what does not stand in it.

use anyhow::{Context, Result, ensure};
use firebreak::client::{Ask, MatchAsk, run_match, run_query};
use firebreak_audit::{LeafKind, LogReport, VerifierKey, VerifyError, verify_folder};
use firebreak_testbed::AGENCIES;
use firebreak_tests::{Caller, Own, ask_until_answered, built, copy_folder, files_below, http_file, refusal_of, run};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Output;
use tempfile::TempDir;
use tokio::sync::OnceCell;

/// An analyst with a name that nothing else has.
const ANALYST: Caller = Caller("nso", "analyst", "wilhelmina-quince");
/// A constant that stands in questions and nowhere else.
const CONSTANT: &str = "1234.56";

/// A log at rest, with the receipts of all that was asked.
struct AtRest {
    log: PathBuf,
    /// The same log as the gateway served it over HTTP.
    served: PathBuf,
    key: PathBuf,
    receipts: Vec<PathBuf>,
    signers: Vec<PathBuf>,
    _folder: TempDir,
}

static AT_REST: OnceCell<AtRest> = OnceCell::const_new();

async fn at_rest() -> Result<&'static AtRest> {
    AT_REST.get_or_try_init(make).await
}

/// Asks, is refused, matches; then everything is killed and its files are copied.
async fn make() -> Result<AtRest> {
    let mut own = Own::start(400, &[]).await?;
    let analyst = ANALYST.connect(&own.federation, own.live.address).await?;
    let mut receipts = Vec::new();
    for sql in [
        format!("SELECT COUNT(*) AS n FROM health.visits WHERE cost >= {CONSTANT}"),
        "SELECT region, COUNT(DISTINCT person) AS n FROM health.visits GROUP BY region".to_owned(),
    ] {
        let ask = Ask::new("health-statistics", "health-planning", &sql)?;
        let answer = ask_until_answered(&analyst, &ask).await?;
        receipts.push(answer.released.receipt);
        // The same again: evidence of a stored release.
        let again = Ask::new("health-statistics", "health-planning", &sql)?;
        receipts.push(run_query(&analyst, &again, &mut |_| {}).await?.released.receipt);
    }
    for (agreement, purpose, sql) in [
        (
            "health-statistics",
            "law-enforcement",
            format!("SELECT COUNT(*) AS n FROM health.visits WHERE cost < {CONSTANT}"),
        ),
        ("health-statistics", "health-planning", "SELECT name FROM health.visits".to_owned()),
        ("no-such-agreement", "health-planning", "SELECT COUNT(*) AS n FROM health.visits".to_owned()),
    ] {
        let refused = refusal_of(run_query(&analyst, &Ask::new(agreement, purpose, &sql)?, &mut |_| {}).await)?;
        receipts.push(refused.receipt().context("a refusal without a receipt")?.to_owned());
    }
    let desk =
        Caller::connect_local(&own.federation, "health-agency", own.live.adapter("health-agency")?.local).await?;
    let summary = run_match(&desk, &MatchAsk::new("vaccination-round", "vaccination-round")?, &mut |_| {}).await?;
    receipts.push(summary.receipt);
    let folder = tempfile::tempdir()?;
    let served = folder.path().join("served");
    fetch(own.live.public_log, &served).await?;
    own.live.stop().await?;
    let layout = own.federation.layout();
    let log = folder.path().join("log");
    copy_folder(&layout.log(), &log)?;
    let key = folder.path().join("log.pub");
    std::fs::copy(layout.root().join("log.pub"), &key)?;
    let mut files = Vec::new();
    for (number, receipt) in receipts.iter().enumerate() {
        files.push(folder.path().join(format!("{number}.receipt")));
        std::fs::write(folder.path().join(format!("{number}.receipt")), receipt)?;
    }
    let mut identities = vec![("federation", "gateway")];
    identities.extend(AGENCIES.iter().map(|(agency, _, _)| (*agency, "adapter")));
    let mut signers = Vec::new();
    for (org, role) in identities {
        let signer = folder.path().join(format!("{org}.pem"));
        std::fs::copy(layout.certificate(org, role, "main").join("cert.pem"), &signer)?;
        signers.push(signer);
    }
    Ok(AtRest { log, served, key, receipts: files, signers, _folder: folder })
}

/// Fetches a log of less than 256 leaves over HTTP, as anybody may.
async fn fetch(address: SocketAddr, folder: &Path) -> Result<()> {
    let checkpoint = http_file(address, "/checkpoint").await?;
    let size: u64 = String::from_utf8_lossy(&checkpoint).lines().nth(1).context("no size")?.parse()?;
    ensure!((1..256).contains(&size), "{size} leaves are more than one tile");
    for tile in ["tile/0/000.p", "tile/entries/000.p"] {
        let path = format!("{tile}/{size}");
        let bytes = http_file(address, &format!("/{path}")).await?;
        std::fs::create_dir_all(folder.join(tile))?;
        std::fs::write(folder.join(path), bytes)?;
    }
    Ok(std::fs::write(folder.join("checkpoint"), checkpoint)?)
}

impl AtRest {
    fn verify(&self, log: &Path, receipts: &[PathBuf]) -> Result<Result<LogReport, VerifyError>> {
        let key: VerifierKey = std::fs::read_to_string(&self.key)?.trim().parse()?;
        Ok(verify_folder(log, &key, receipts, None))
    }

    /// `firebreak audit verify`, with nothing but files.
    fn firebreak(&self, log: &Path) -> Result<Output> {
        let mut command = std::process::Command::new(built("firebreak")?);
        command.args(["audit", "verify", "--log"]).arg(log).arg("--key").arg(&self.key);
        for receipt in &self.receipts {
            command.arg("--receipt").arg(receipt);
        }
        for signer in &self.signers {
            command.arg("--signer").arg(signer);
        }
        Ok(command.output()?)
    }

    /// The verifier that shares no code with this project.
    fn independent(&self, log: &Path, receipts: &[PathBuf]) -> Result<Output> {
        let program = std::env::var_os("FIREBREAK_VERIFY_LOG");
        let program =
            program.context("the independent verifier is not there: run the tests with `cargo xtask test`")?;
        Ok(std::process::Command::new(program).arg(&self.key).arg(log).args(receipts).output()?)
    }

    /// A copy of the log and its receipts that may be changed.
    fn copy(&self) -> Result<(TempDir, PathBuf, Vec<PathBuf>)> {
        let folder = tempfile::tempdir()?;
        let log = folder.path().join("log");
        copy_folder(&self.log, &log)?;
        let mut receipts = Vec::new();
        for receipt in &self.receipts {
            let copy = folder.path().join(receipt.file_name().context("a receipt without a name")?);
            std::fs::copy(receipt, &copy)?;
            receipts.push(copy);
        }
        Ok((folder, log, receipts))
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A file with one bit of one byte the other way round, until dropped.
struct Flipped<'a> {
    file: &'a Path,
    before: Vec<u8>,
}

impl<'a> Flipped<'a> {
    fn at(file: &'a Path, place: usize) -> Result<Self> {
        let before = std::fs::read(file)?;
        let mut changed = before.clone();
        *changed.get_mut(place).context("beyond the file")? ^= 1;
        std::fs::write(file, changed)?;
        Ok(Self { file, before })
    }
}

impl Drop for Flipped<'_> {
    fn drop(&mut self) {
        let _ = std::fs::write(self.file, &self.before);
    }
}

#[test]
fn the_log_at_rest_verifies_with_every_receipt() -> Result<()> {
    run(async {
        let at_rest = at_rest().await?;
        let report = at_rest.verify(&at_rest.log, &at_rest.receipts)??;
        assert_eq!(report.receipts, 8);
        let of = |kind| report.leaves_by_kind.get(&kind).copied().unwrap_or_default();
        // Each release by the gateway and by the agency.
        assert_eq!(of(LeafKind::Release), 4);
        assert_eq!(of(LeafKind::StoredRelease), 2);
        assert_eq!(of(LeafKind::BundleAccepted), 4, "by the gateway and by each agency");
        assert!(of(LeafKind::Refusal) >= 3);
        assert_eq!(of(LeafKind::MatchAuthorised), 2, "by the gateway and by the sender");
        // The leaf of the match's end waits for the gateway's next visit, and the programs were stopped at once.
        assert_eq!(of(LeafKind::MatchCommitted), 1);
        Ok(())
    })
}

#[test]
fn the_log_that_is_served_to_everybody_verifies_by_itself() -> Result<()> {
    run(async {
        let at_rest = at_rest().await?;
        // All but leaves that agencies had not yet handed over.
        let report = at_rest.verify(&at_rest.served, &[])??;
        assert_eq!(report.leaves_by_kind.get(&LeafKind::Release), Some(&4));
        let output = at_rest.independent(&at_rest.served, &[])?;
        ensure!(output.status.success(), "{}", said(&output));
        Ok(())
    })
}

#[test]
fn the_command_verifies_the_log_offline_and_names_a_changed_file() -> Result<()> {
    run(async {
        let at_rest = at_rest().await?;
        let good = at_rest.firebreak(&at_rest.log)?;
        ensure!(good.status.success(), "{}", said(&good));
        let text = said(&good);
        for sentence in ["All 8 receipts hold", "Every leaf is signed"] {
            assert!(text.contains(sentence), "{text}");
        }
        let (_folder, log, _) = at_rest.copy()?;
        for file in files_below(&log)? {
            let size = std::fs::metadata(&file)?.len() as usize;
            let _changed = Flipped::at(&file, size / 2)?;
            let bad = at_rest.firebreak(&log)?;
            assert!(!bad.status.success(), "{} was changed, and the log verified", file.display());
            let name = file.file_name().context("no name")?.to_string_lossy().into_owned();
            assert!(said(&bad).contains(&name), "{} is not named: {}", file.display(), said(&bad));
        }
        Ok(())
    })
}

#[test]
fn a_change_to_any_byte_is_found_and_its_file_named() -> Result<()> {
    run(async {
        let at_rest = at_rest().await?;
        let (_folder, log, receipts) = at_rest.copy()?;
        let files: Vec<_> = files_below(&log)?.into_iter().chain(receipts.iter().cloned()).collect();
        let mut changed = 0;
        for file in &files {
            for place in 0..std::fs::metadata(file)?.len() as usize {
                let _changed = Flipped::at(file, place)?;
                let Err(error) = at_rest.verify(&log, &receipts)? else {
                    anyhow::bail!("byte {place} of {} was changed, and the log verified", file.display());
                };
                assert_eq!(error.file, *file, "byte {place}: {error}");
                changed += 1;
            }
        }
        at_rest.verify(&log, &receipts)??;
        println!("{changed} bytes of {} files changed, each found", files.len());
        Ok(())
    })
}

#[test]
fn the_independent_verifier_accepts_the_log_and_rejects_a_changed_one() -> Result<()> {
    run(async {
        let at_rest = at_rest().await?;
        let good = at_rest.independent(&at_rest.log, &at_rest.receipts)?;
        ensure!(good.status.success(), "{}", said(&good));
        assert!(said(&good).contains("8 receipts"), "{}", said(&good));
        let (_folder, log, receipts) = at_rest.copy()?;
        let changed = ["checkpoint", "entries", "tile/0/"];
        for part in changed {
            let files = files_below(&log)?;
            // The newest form of a tile: an older, narrower one is not part of the tree.
            let file = files
                .iter()
                .filter(|f| f.to_string_lossy().contains(part))
                .max_by_key(|f| std::fs::metadata(f).map(|m| m.len()).unwrap_or_default());
            let file = file.with_context(|| format!("no {part} in the log"))?;
            let _changed = Flipped::at(file, 30)?;
            let bad = at_rest.independent(&log, &receipts)?;
            assert!(!bad.status.success(), "{} was changed, and the log verified", file.display());
        }
        let receipt = receipts.first().context("no receipt")?;
        let leaf = std::fs::read_to_string(receipt)?.find("agreement").context("no leaf in the receipt")?;
        let _changed = Flipped::at(receipt, leaf + 12)?;
        assert!(!at_rest.independent(&log, &receipts)?.status.success(), "a changed receipt verified");
        Ok(())
    })
}

#[test]
fn no_leaf_holds_an_analyst_or_a_constant_of_a_question() -> Result<()> {
    run(async {
        let at_rest = at_rest().await?;
        let mut everything = Vec::new();
        for file in files_below(&at_rest.log)? {
            everything.extend(std::fs::read(file)?);
        }
        let text = String::from_utf8_lossy(&everything);
        // What leaves do hold is found, so the search works.
        for public in ["health.visits", "health-statistics", "refusal"] {
            assert!(text.contains(public), "{public} is not found");
        }
        for private in [ANALYST.2, CONSTANT, "123456", "SELECT", "spiffe", "law-enforcement", "no-such-agreement"] {
            assert!(!text.contains(private), "{private} stands in the log");
        }
        let Caller(_, _, name) = ANALYST;
        assert!(!text.contains(&hex::encode(name)), "the analyst stands in the log in hexadecimal digits");
        Ok(())
    })
}
