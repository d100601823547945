//! R34, R5: clients that are not ours. A Python gRPC client has its stubs by reflection and knows no file of this
//! project.

use anyhow::{Context, Result, ensure};
use firebreak_tests::{run, shared};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a script of `tests/python` prints, run by the interpreter that `cargo xtask test` provides.
pub fn script<S: AsRef<std::ffi::OsStr>>(name: &str, arguments: &[S], input: &str) -> Result<String> {
    let python = std::env::var_os("FIREBREAK_PYTHON").context("run the tests with `cargo xtask test`")?;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(name);
    let mut child = Command::new(python)
        .arg(file)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("the Python client could not be started")?;
    child.stdin.take().context("no input")?.write_all(input.as_bytes())?;
    let ended = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&ended.stderr);
    ensure!(ended.status.success(), "{name} failed:\n{said}");
    Ok(String::from_utf8(ended.stdout)?)
}

/// Runs the client as an analyst of its own.
async fn client(id: &str, act: &[&str]) -> Result<String> {
    let shared = shared().await?;
    let (org, role) = ("nso", "analyst");
    shared.federation.issue(org, role, id)?;
    let layout = shared.federation.layout();
    let own = layout.certificate(org, role, id);
    let keys: [PathBuf; 3] = [layout.authority().join("ca.pem"), own.join("cert.pem"), own.join("key.pem")];
    let mut arguments = vec![shared.live.address.port().to_string()];
    arguments.extend(keys.iter().map(|k| k.display().to_string()));
    arguments.extend(act.iter().map(|a| (*a).to_owned()));
    script("client.py", &arguments, "")
}

#[test]
fn a_python_client_with_stubs_by_reflection_lists_the_catalogue() -> Result<()> {
    run(async {
        let printed = client("guido", &["datasets"]).await?;
        let listed: Vec<_> = printed.lines().collect();
        assert!(listed.contains(&"health.visits health-agency"), "{printed}");
        assert!(listed.contains(&"education.enrolments education-agency"), "{printed}");
        Ok(())
    })
}

#[test]
fn a_python_client_is_answered_under_an_agreement_that_takes_the_gateways_word() -> Result<()> {
    run(async {
        let sql = "SELECT region, COUNT(*) AS visits FROM health.visits GROUP BY region";
        let printed = client("barbara", &["query", "health-statistics-unsigned", "health-planning", sql]).await?;
        let lines: Vec<Vec<&str>> = printed.lines().map(|l| l.split_whitespace().collect()).collect();
        assert_eq!(
            lines.first().map(Vec::as_slice),
            Some(["region", "visits", "standard_error"].as_slice()),
            "{printed}"
        );
        let rows: Vec<_> = lines.iter().filter(|l| l.first().is_some_and(|f| f.starts_with('R'))).collect();
        assert_eq!(rows.len(), 17, "{printed}");
        for row in rows {
            let [_, visits, error] = row[..] else { anyhow::bail!("{printed}") };
            // Noise may carry a small region below 0, but no further than its own scale.
            let (visits, error): (f64, f64) = (visits.parse()?, error.parse()?);
            assert!(error > 0.0 && visits > -6.0 * error && visits < 20_000.0, "{printed}");
        }
        assert!(printed.lines().any(|l| l.starts_with("release ") && l.len() > 20), "{printed}");
        Ok(())
    })
}

#[test]
fn a_python_client_reads_why_it_is_refused() -> Result<()> {
    run(async {
        // The twin above: the same question under an agreement that demands a signature.
        let sql = "SELECT region, COUNT(*) AS visits FROM health.visits GROUP BY region";
        let printed = client("edsger", &["query", "health-statistics", "health-planning", sql]).await?;
        assert!(printed.contains("refused firebreak SIGNATURE_REQUIRED\n"), "{printed}");
        assert!(printed.contains("\nrule "), "{printed}");
        let unsigned = "SELECT national_number, COUNT(*) AS n FROM health.visits GROUP BY national_number";
        let printed = client("edsger", &["query", "health-statistics-unsigned", "health-planning", unsigned]).await?;
        assert!(printed.contains("refused firebreak IDENTIFIER_COLUMN\n"), "{printed}");
        assert!(printed.contains("\nsuggestion SELECT"), "{printed}");
        Ok(())
    })
}
