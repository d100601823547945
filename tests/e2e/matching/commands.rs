//! Matches on the command line, by staff whose certificates `firebreak certs` made.

use super::truth::expected;
use crate::catalogue::{Done, done, program};
use anyhow::{Context, Result, bail, ensure};
use firebreak_testbed::TRUST_DOMAIN;
use firebreak_tests::{Own, run};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::sleep;

pub const AGENCY: &str = "health-agency";

/// A certificate of that authority for somebody of the agency's staff, made by the command.
pub fn certificate(authority: &Path, role: &str, out: PathBuf) -> Result<PathBuf> {
    certificate_of(AGENCY, authority, role, out)
}

/// The same for another agency's.
pub fn certificate_of(agency: &str, authority: &Path, role: &str, out: PathBuf) -> Result<PathBuf> {
    let identity = format!("spiffe://{TRUST_DOMAIN}/org/{agency}/{role}/eve");
    let mut command = program("firebreak")?;
    command.args(["certs", "issue", "--identity", &identity, "--days", "1"]);
    let issued = done(command.arg("--ca").arg(authority).arg("--out").arg(&out))?;
    ensure!(issued.code == Some(0), "{}", issued.err);
    for said in [identity.as_str(), "sha256:", "Holds until"] {
        ensure!(issued.out.contains(said), "{said}: {}", issued.out);
    }
    ensure!(issued.err.contains("for demonstrations and tests"), "{}", issued.err);
    Ok(out)
}

/// `firebreak` at the local listener of the agency's adapter.
pub fn firebreak(own: &Own, identity: &Path, words: &[&str]) -> Result<Done> {
    firebreak_at(own, AGENCY, identity, words)
}

/// The same at another agency's.
pub fn firebreak_at(own: &Own, agency: &str, identity: &Path, words: &[&str]) -> Result<Done> {
    let local = format!("localhost:{}", own.live.adapter(agency)?.local.port());
    let authority = own.federation.layout().local_authority(agency).join("ca.pem");
    let mut command = program("firebreak")?;
    command.args(words).args(["--local", &local]);
    done(command.arg("--identity").arg(identity).arg("--authority").arg(authority))
}

/// The same until it succeeds: programs that have just started have yet to find each other.
pub async fn succeeds(own: &Own, identity: &Path, words: &[&str]) -> Result<Done> {
    let mut said = String::new();
    for _ in 0..60 {
        let done = firebreak(own, identity, words)?;
        if done.code == Some(0) {
            return Ok(done);
        }
        said = done.err;
        sleep(Duration::from_millis(250)).await;
    }
    bail!("{words:?}: {said}")
}

#[test]
fn a_caseworker_makes_a_match_on_the_command_line_and_an_officer_lists_who_was_matched() -> Result<()> {
    run(async {
        let own = Own::start(600, &[]).await?;
        let expected = expected(own.federation.population(), 2006..=2018);
        ensure!(!expected.matched.is_empty() && expected.unusable > 0, "the population shows too little");
        let folder = own.federation.layout().root().join("command-line");
        let authority = own.federation.layout().local_authority(AGENCY);
        let eve = certificate(&authority, "caseworker", folder.join("eve"))?;
        let receipt = folder.join("receipt");

        let words = ["match", "--agreement", "vaccination-round", "--purpose", "vaccination-round"];
        let id = "00112233445566778899aabbccddeeff";
        let receipt_text = receipt.display().to_string();
        let asked = ["--selection", "birth_year BETWEEN 2006 AND 2018", "--request-id", id, "--receipt", &receipt_text];
        let done = succeeds(&own, &eve, &[&words[..], &asked].concat()).await?;
        for step in ["forming the set", "committed to the set in the log", "evaluating blinded identifiers 100 %"] {
            assert!(done.err.contains(step), "no progress with {step}:\n{}", done.err);
        }
        for (name, number) in [
            ("Own records that took part", expected.offered),
            ("Held by the other agency too", expected.matched.len() as u64),
            ("Without a usable identifier", expected.unusable),
        ] {
            let line =
                done.out.lines().find(|line| line.trim_start().starts_with(name)).with_context(|| done.out.clone())?;
            assert_eq!(line.split_whitespace().last(), Some(number.to_string().as_str()), "{line}");
        }
        assert!(std::fs::read_to_string(&receipt)?.contains("match_authorised"), "no receipt of the authorisation");

        let list = done.out.lines().find_map(|line| line.split_once("firebreak matched --session "));
        let (_, session) = list.with_context(|| done.out.clone())?;
        let officer = certificate(&authority, "officer", folder.join("officer"))?;
        let listed = succeeds(&own, &officer, &["matched", "--session", session]).await?;
        let listed: Vec<_> = listed.out.lines().map(str::to_owned).collect();
        assert_eq!(listed.len(), expected.matched.len(), "somebody is listed twice");
        assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), expected.matched);

        // Refused: for another purpose; a list to whoever runs matches; and a match to whoever runs the adapter.
        let other = ["match", "--agreement", "vaccination-round", "--purpose", "health-planning"];
        let refused = firebreak(&own, &eve, &other)?;
        assert_eq!(refused.code, Some(3), "{}", refused.err);
        assert!(refused.err.contains("PURPOSE_NOT_COVERED") && refused.out.is_empty(), "{}", refused.err);
        let admin = certificate(&authority, "admin", folder.join("admin"))?;
        for (who, words) in [(&eve, &["matched", "--session", session][..]), (&admin, &words)] {
            let refused = firebreak(&own, who, words)?;
            assert_eq!(refused.code, Some(3), "{}", refused.err);
            assert!(refused.err.contains("ROLE_NOT_ALLOWED") && refused.out.is_empty(), "{}", refused.err);
        }
        Ok(())
    })
}

#[test]
fn a_certificate_of_an_authority_that_somebody_made_opens_nothing() -> Result<()> {
    run(async {
        let own = Own::start(300, &[]).await?;
        let folder = own.federation.layout().root().join("command-line");
        let stranger = folder.join("stranger");
        let mut command = program("firebreak")?;
        command.args(["certs", "new-ca", "--trust-domain", TRUST_DOMAIN, "--name", "Stranger"]);
        let made = done(command.arg(&stranger))?;
        assert_eq!(made.code, Some(0), "{}", made.err);
        assert!(made.err.contains("for demonstrations and tests"), "{}", made.err);
        let real = own.federation.layout().local_authority(AGENCY);
        let words = ["matched", "--session", &"00".repeat(32)];
        // The same words, the same identity, an authority each: one is let in, and hears that there is no such match.
        let theirs = firebreak(&own, &certificate(&stranger, "officer", folder.join("theirs"))?, &words)?;
        assert_eq!(theirs.code, Some(1), "{}", theirs.err);
        assert!(theirs.err.contains("cannot connect"), "{}", theirs.err);
        let ours = firebreak(&own, &certificate(&real, "officer", folder.join("ours"))?, &words)?;
        assert_eq!((ours.code, ours.out.as_str()), (Some(1), ""), "{}", ours.err);
        assert!(ours.err.contains("no match of that session is recorded here"), "{}", ours.err);
        Ok(())
    })
}
