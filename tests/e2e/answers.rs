//! R1, R2, R5: questions and answers.

use anyhow::Result;
use firebreak::client::{Ask, list_datasets, run_query};
use firebreak_tests::{Caller, run, shared};

#[test]
fn a_statistician_lists_the_catalogue_and_is_answered() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let ada = Caller::ADA.connect(&shared.federation, shared.live.address).await?;
        let datasets: Vec<_> = list_datasets(&ada).await?.into_iter().map(|d| d.id).collect();
        assert!(datasets.contains(&"health.visits".to_owned()), "{datasets:?}");
        let sql = "SELECT region, COUNT(*) AS visits FROM health.visits GROUP BY region";
        let ask = Ask::new("health-statistics", "health-planning", sql)?;
        let answer = run_query(&ada, &ask, &mut |_| {}).await?;
        assert_eq!(answer.rows.len(), 17);
        let again = run_query(&ada, &ask, &mut |_| {}).await?;
        assert_eq!(answer.rows, again.rows);
        assert_eq!(answer.released.release_id, again.released.release_id);
        Ok(())
    })
}
