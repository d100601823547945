//! Publications on the command line.

use crate::catalogue::firebreak;
use anyhow::{Context, Result, ensure};
use firebreak_domain::{Clock, SystemClock};
use firebreak_tests::{run, shared};

/// What stands behind a word at the beginning of a line.
fn told<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.trim_start().strip_prefix(word)).map(str::trim)
}

#[test]
fn on_the_command_line_a_release_is_drafted_published_listed_and_read() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let right = ["--agreement", "health-statistics", "--purpose", "health-planning"];
        let sql = "SELECT region, COUNT(*) AS visits FROM health.visits WHERE cost >= 7 GROUP BY region";
        let asked = firebreak(shared, "paula", &[&["query", sql, "--csv"], right.as_slice()].concat())?;
        ensure!(asked.code == Some(0), "{}", asked.err);
        let release = asked.err.split_whitespace().last().context("no release")?;
        let step = |words: &[&str]| firebreak(shared, "paula", &[&["publication"], words, right.as_slice()].concat());
        let drafted = step(&["draft", release, "--series", "by-command"])?;
        ensure!(drafted.code == Some(0), "{}", drafted.err);
        assert_eq!(told(&drafted.out, "State"), Some("draft"), "{}", drafted.out);
        let id = told(&drafted.out, "Publication").context("no id")?;
        let until = SystemClock.now().plus_secs(86_400).to_string();
        let embargoed = step(&["embargo", id, "--until", &until])?;
        assert_eq!(told(&embargoed.out, "Until"), Some(until.as_str()), "{}{}", embargoed.out, embargoed.err);
        let refused = step(&["publish", id])?;
        ensure!(refused.code == Some(3) && refused.err.contains("PUBLICATION_STEP"), "{}", refused.err);
        step(&["withdraw", id])?;

        let again = step(&["draft", release, "--series", "by-command"])?;
        let id = told(&again.out, "Publication").context("no id")?;
        let published = step(&["publish", id])?;
        assert_eq!(told(&published.out, "Revision"), Some("1"), "{}{}", published.out, published.err);
        let listed = firebreak(shared, "paula", &["publication", "list"])?;
        ensure!(listed.out.contains("nso/by-command"), "{}", listed.out);
        let read = firebreak(shared, "paula", &["publication", "get", "nso/by-command", "--format", "csv"])?;
        assert_eq!(read.out, asked.out);
        let shown = firebreak(shared, "paula", &["publication", "get", "nso/by-command/1"])?;
        ensure!(shown.out.contains("noise alone") && shown.out.contains("Health Records Directorate"), "{}", shown.out);
        let cited = firebreak(shared, "paula", &[&["release", "cite", release], right.as_slice()].concat())?;
        ensure!(cited.out.contains("/publications/nso/by-command/1"), "{}", cited.out);
        Ok(())
    })
}
