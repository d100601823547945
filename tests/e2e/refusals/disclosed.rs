//! R4, R13: rows that name persons move in one way, to a service. A receiver that is enforcement, or no service, is
//! refused at three places, each by its own: the gateway, the sender's adapter, the receiver's adapter. The twin of each
//! refusal is the very same request, with the same agreement, where one word of the registry differs.

use super::cases::{DISCLOSED, DISCLOSED_BEYOND};
use super::facts::Fact;
use super::ground::Ground;
use anyhow::{Context, Result, ensure};
use firebreak::client::{MatchAsk, run_match};
use firebreak_tests::{Caller, passes, refusal_of, run};
use std::time::Duration;

/// The reason for which the receiver's own adapter refuses the match, which it decides before it asks anybody; `None`
/// where the match is made.
async fn at_receiver(ground: &Ground) -> Result<Option<String>> {
    let local = ground.shared.live.adapter("health-agency")?.local;
    let desk = Caller::connect_local(&ground.shared.federation, "health-agency", local).await?;
    let ask = MatchAsk::new("vaccination-letters", "vaccination-round")?;
    for _ in 0..200 {
        match run_match(&desk, &ask, &mut |_| {}).await {
            Ok(summary) => {
                ensure!(summary.payload.is_some_and(|payload| payload.disclosed > 0), "nothing was disclosed");
                return Ok(None);
            }
            Err(error) if passes(&error) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(error) => return Ok(Some(refusal_of(Err::<(), _>(error))?.refusal.reason)),
        }
    }
    anyhow::bail!("the programs did not find each other")
}

#[test]
fn disclosures_to_enforcement_are_refused_at_gateway_sender_and_receiver_whatever_a_bundle_permits() -> Result<()> {
    run(async {
        for permissive in [false, true] {
            let ground = Ground::start(permissive, Some(Fact::HealthEnforces)).await?;
            ground.settle().await?;
            ground.refused(&DISCLOSED).await?;
            let before = ground.executions().await?;
            assert_eq!(at_receiver(&ground).await?.as_deref(), Some("ENFORCEMENT_RECIPIENT"));
            assert_eq!(ground.executions().await?, before, "rows were read");
            ground.all_in_the_log().await?;
        }
        Ok(())
    })
}

#[test]
fn disclosures_to_a_statistics_office_are_refused_at_the_same_three_places() -> Result<()> {
    run(async {
        let ground = Ground::start(true, Some(Fact::HealthCounts)).await?;
        ground.settle().await?;
        ground.refused(&DISCLOSED_BEYOND).await?;
        assert_eq!(at_receiver(&ground).await?.as_deref(), Some("RECIPIENT_NOT_COVERED"));
        ground.all_in_the_log().await
    })
}

#[test]
fn the_same_disclosure_to_a_service_is_let_in_at_all_three_places_and_made() -> Result<()> {
    run(async {
        let ground = Ground::start(false, None).await?;
        ground.settle().await?;
        ground.answered(&DISCLOSED.asked, &DISCLOSED).await.context("gateway and sender")?;
        assert_eq!(at_receiver(&ground).await?, None);
        Ok(())
    })
}
