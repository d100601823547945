//! Who may not publish what.

use super::{ENFORCEMENT, OWNER, draft, drafted, release, step};
use crate::publications::BY_REGION;
use anyhow::{Context, Result, ensure};
use firebreak::client::{Ask, take_step};
use firebreak_domain::{Clock, PublicationId, PublicationStep, ReleaseName, SystemClock};
use firebreak_policy::Validity;
use firebreak_testbed::{Federation, Programs};
use firebreak_tests::{Caller, Own, ask_until_answered, refusal_of, run};
use std::fs;

/// Lets agreements name publication that do not in the sample, and enforcement among the recipients of one.
fn generous(federation: &Federation) -> Result<()> {
    for (agreement, from, to) in [
        ("clinic-tables", "operations = [", "operations = [\"publish\", "),
        ("residence-statistics", "operations = [", "operations = [\"publish\", "),
        ("residence-statistics", "recipients = [", "recipients = [\"immigration-agency\", "),
        ("health-statistics-2023", "operations = [", "operations = [\"publish\", "),
    ] {
        let file = federation.layout().bundle().join(format!("agreements/{agreement}.toml"));
        let text = fs::read_to_string(&file)?;
        ensure!(text.contains(from), "{agreement}");
        fs::write(&file, text.replacen(from, to, 1))?;
    }
    let now = SystemClock.now();
    let validity = Validity { made: now, valid_from: now.plus_secs(-60), valid_until: now.plus_secs(86_400) };
    federation.sign_bundle(1, None, validity)
}

#[test]
fn nothing_is_published_by_whom_or_under_what_may_not() -> Result<()> {
    run(async {
        let (federation, folder) = Own::prepare(300)?;
        generous(&federation)?;
        let live = federation.start(&Programs::built()?, &[]).await?;
        let own = Own::of(federation, live, folder);
        let connect = |who: Caller| who.connect(&own.federation, own.live.address);
        let ada = connect(Caller::ADA).await?;
        let (_, health) = release(&ada, BY_REGION).await?;
        let of = async |agreement: &str, purpose: &str, sql: &str| -> Result<ReleaseName> {
            let ask = Ask::new(agreement, purpose, sql)?;
            Ok(ask_until_answered(&ada, &ask).await?.released.release_id.parse()?)
        };
        let school =
            of("education-statistics", "school-planning", "SELECT COUNT(*) AS n FROM education.enrolments").await?;
        let permits =
            of("residence-statistics", "reception-planning", "SELECT COUNT(*) AS n FROM immigration.permits").await?;
        let clinic = Caller("ngo-clinic", "analyst", "nina");
        let nothing = ReleaseName::of(b"nothing");
        for (who, agreement, purpose, release, reason) in [
            // An agreement that does not name publication; one that ended; a release of another agreement's dataset.
            (Caller::ADA, "education-statistics", "school-planning", school, "OPERATION_NOT_COVERED"),
            (Caller::ADA, "health-statistics-2023", "health-planning", health, "AGREEMENT_NOT_IN_FORCE"),
            (Caller::ADA, "health-statistics", "health-planning", school, "UNKNOWN_RELEASE"),
            (Caller::ADA, "health-statistics", "health-planning", nothing, "UNKNOWN_RELEASE"),
            (Caller::ADA, "health-statistics", "school-planning", health, "PURPOSE_NOT_COVERED"),
            // Enforcement, under nobody's agreement and under one that names it, with data of its own.
            (ENFORCEMENT, "health-statistics", "health-planning", health, ""),
            (ENFORCEMENT, "residence-statistics", "reception-planning", permits, "ENFORCEMENT_RECIPIENT"),
            // A service that receives, and neither owns the data nor makes statistics.
            (clinic, "clinic-tables", "service-planning", health, "NOT_PERMITTED"),
        ] {
            let connection = connect(who).await?;
            let ask = Ask::without_question(agreement, purpose)?;
            let refused = refusal_of(take_step(&connection, &ask, draft(release, "table", false)?).await)?.refusal;
            ensure!(refused.reason.starts_with(reason), "{who:?}, {agreement}: {}", refused.reason);
            ensure!(refused.metadata.contains_key("receipt"), "{who:?}, {agreement}: no evidence");
        }
        // Twins: the owner and the statistics office, each in a series of its own of the same name.
        let olga = connect(OWNER).await?;
        let theirs = drafted(&olga, health, "table", false).await?;
        let ours = drafted(&ada, health, "table", false).await?;
        // Anothers draft is not there, for any step.
        let absent = PublicationId::from_bytes([7; 16]);
        let until = SystemClock.now().plus_secs(600);
        for (publication, nobodys) in [(theirs, absent)] {
            let steps = |publication| {
                [
                    PublicationStep::Publish { publication },
                    PublicationStep::Withdraw { publication },
                    PublicationStep::Embargo { publication, until },
                ]
            };
            for (hidden, none) in steps(publication).into_iter().zip(steps(nobodys)) {
                let told = |refused: firebreak::client::Refused| {
                    let mut refusal = refused.refusal;
                    refusal.metadata.remove("receipt");
                    refusal
                };
                let hidden = told(refusal_of(step(&ada, hidden).await)?);
                assert_eq!(hidden, told(refusal_of(step(&ada, none).await)?));
                assert_eq!(hidden.reason, "UNKNOWN_PUBLICATION");
            }
        }
        for (connection, publication) in [(&olga, theirs), (&ada, ours)] {
            let taken = step(connection, PublicationStep::Publish { publication }).await?;
            assert_eq!(taken.publication.context("none")?.revision, 1);
        }
        Ok(())
    })
}
