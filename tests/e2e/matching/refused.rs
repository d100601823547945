//! Matches that an agency's own staff may not make.

use anyhow::Result;
use firebreak::client::{Connection, MatchAsk, run_match};
use firebreak_tests::{Caller, Shared, passes, refusal_of, run, shared};
use std::time::Duration;

const RECEIVER: &str = "health-agency";
const SENDER: &str = "education-agency";

#[test]
fn a_match_under_another_agreement_or_for_another_purpose_is_refused() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let own = "vaccination-round";
        for (agency, agreement, purpose, selection, reason) in [
            ("health-agency", own, "health-planning", "", "PURPOSE_NOT_COVERED"),
            ("health-agency", "health-statistics", "health-planning", "", "OPERATION_NOT_COVERED"),
            ("health-agency", "vaccination-rounds", own, "", "NO_AGREEMENT"),
            // The sender learns nothing, so it has nothing to ask for either.
            ("education-agency", own, own, "", "RECIPIENT_NOT_COVERED"),
            ("immigration-agency", own, own, "", "ENFORCEMENT_RECIPIENT"),
            ("health-agency", own, own, "national_number = 'AB123456789'", "IDENTIFIER_COLUMN"),
            ("health-agency", own, own, "fingerprint = 'x'", "FORBIDDEN_KIND"),
        ] {
            let local = shared.live.adapter(agency)?.local;
            let desk = Caller::connect_local(&shared.federation, agency, local).await?;
            let mut ask = MatchAsk::new(agreement, purpose)?;
            ask.selection = selection.to_owned();
            let refused = refusal_of(run_match(&desk, &ask, &mut |_| {}).await)?;
            assert_eq!(refused.refusal.reason, reason, "{agency} under {agreement} for {purpose}, {selection:?}");
        }
        Ok(())
    })
}

#[test]
fn rows_are_read_on_both_sides_of_a_permitted_match_and_on_neither_of_a_refused_one() -> Result<()> {
    run(async {
        let shared = Shared::own(300, |_| Ok(())).await?;
        let executions = async || -> Result<[u64; 2]> {
            Ok([shared.engine_executions(RECEIVER).await?, shared.engine_executions(SENDER).await?])
        };
        let desk = Caller::connect_local(&shared.federation, RECEIVER, shared.live.adapter(RECEIVER)?.local).await?;
        let ask = |selection: &str| {
            let mut ask = MatchAsk::new("vaccination-round", "vaccination-round")?;
            ask.selection = selection.to_owned();
            Ok::<_, anyhow::Error>(ask)
        };
        let before = executions().await?;
        let misplaced = MatchAsk { purpose: "health-planning".parse()?, ..ask("")? };
        for (asked, reason) in [
            (ask("national_number = 'AB123456789'")?, "IDENTIFIER_COLUMN"),
            (ask("fingerprint = 'x'")?, "FORBIDDEN_KIND"),
            (ask("birth_year >=")?, "SQL_SYNTAX"),
            (misplaced, "PURPOSE_NOT_COVERED"),
        ] {
            assert_eq!(lasting(&desk, &asked).await?.err().as_deref(), Some(reason));
        }
        assert_eq!(executions().await?, before, "a refused match read rows");
        assert_eq!(lasting(&desk, &ask("birth_year >= 1990")?).await?, Ok(()));
        let after = executions().await?;
        let counted = before.iter().zip(after).all(|(before, after)| *before < after);
        assert!(counted, "rows were read that nobody counted: {before:?}, then {after:?}");
        Ok(())
    })
}

/// The reason for which a match is refused once the programs have found each other, if it is.
async fn lasting(desk: &Connection, ask: &MatchAsk) -> Result<Result<(), String>> {
    for _ in 0..200 {
        match run_match(desk, ask, &mut |_| {}).await {
            Ok(_) => return Ok(Ok(())),
            Err(error) if passes(&error) => tokio::time::sleep(Duration::from_millis(100)).await,
            Err(error) => return Ok(Err(refusal_of(Err::<(), _>(error))?.refusal.reason)),
        }
    }
    anyhow::bail!("the programs did not find each other")
}
