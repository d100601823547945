//! R4, R6, R7, R8, R9, R10, R13: what must not leave is refused by the gateway, and by each adapter when a gateway that
//! holds the real one's certificate passes it on or lies about it; beside each refusal stands a twin that is answered.

mod cases;
mod disclosed;
mod facts;
pub mod ground;
mod misnamed;
pub mod request;

use anyhow::{Result, ensure};
use cases::CASES;
use facts::Fact;
use firebreak_tests::run;
use ground::Ground;

#[test]
fn what_must_not_leave_is_refused_by_gateway_and_adapter_and_its_twin_is_answered() -> Result<()> {
    run(async {
        let ground = Ground::start(false, None).await?;
        ground.stands().await?;
        ground.rows_are_refused_to_a_service_and_its_table_is_delivered().await?;
        ground.no_change_passes_an_adapter().await?;
        ground.all_in_the_log().await
    })
}

#[test]
fn a_bundle_that_permits_everything_permits_none_of_it() -> Result<()> {
    run(async {
        let ground = Ground::start(true, None).await?;
        ground.stands().await?;
        ground.rows_are_refused_to_a_service_and_its_table_is_delivered().await?;
        ground.no_change_passes_an_adapter().await?;
        ground.all_in_the_log().await
    })
}

#[test]
fn the_same_request_has_another_outcome_where_one_fact_of_the_bundle_differs() -> Result<()> {
    run(async {
        let mut tried = 0;
        for fact in Fact::LIFTING {
            let ground = Ground::start(false, Some(fact)).await?;
            tried += ground.stands_without(fact).await?;
            ground.all_in_the_log().await?;
        }
        let decided_by_a_fact = CASES.iter().filter(|case| case.without.is_some()).count();
        ensure!(tried == decided_by_a_fact, "{tried} of {decided_by_a_fact} cases were tried");
        Ok(())
    })
}

/// Without the edge the same match is let in: it is the twin of the portal's case, under both bundles.
#[test]
fn a_match_is_refused_whose_receiver_has_a_desk_that_passes_data_on_towards_enforcement() -> Result<()> {
    run(async {
        for permissive in [false, true] {
            let ground = Ground::start(permissive, Some(Fact::SchoolDeskPassesOn)).await?;
            ground.refuses_what_would_be_passed_on().await?;
            ground.all_in_the_log().await?;
        }
        Ok(())
    })
}
