//! Embargoes under a clock that jumps: they end by a time that never runs backwards, once, and not without policy in
//! force.

use super::{BY_REGION, ENFORCEMENT, drafted, newest, release, step};
use crate::bundles::clocked::Clocked;
use anyhow::{Result, bail, ensure};
use firebreak::client::{get_publication, list_publications};
use firebreak_domain::{Clock, PublicationStep, SystemClock, Timestamp};
use firebreak_policy::{Candidate, Validity};
use firebreak_testbed::Federation;
use firebreak_tests::{Caller, refusal_of, run};
use std::time::Duration;
use tokio::time::sleep;

const DAY: i64 = 86_400;

/// The series that enforcement sees, who sees nothing before everybody does.
async fn series(clocked: &Clocked) -> Result<Vec<String>> {
    let ivo = ENFORCEMENT.connect(&clocked.federation, clocked.gateway).await?;
    Ok(list_publications(&ivo).await?.into_iter().map(|publication| publication.series).collect())
}

/// The same, once the gateway, which looks every second, has looked at embargoes again.
async fn series_after_a_look(clocked: &Clocked) -> Result<Vec<String>> {
    sleep(Duration::from_millis(2_500)).await;
    series(clocked).await
}

/// Waits until everybody sees a series, and gives when it says that it was published.
async fn published(clocked: &Clocked, name: &str) -> Result<Timestamp> {
    for _ in 0..200 {
        if series(clocked).await?.iter().any(|series| series == name) {
            let ivo = ENFORCEMENT.connect(&clocked.federation, clocked.gateway).await?;
            let read = get_publication(&ivo, &newest(name)?).await?;
            return Ok(Timestamp::from_secs(read.publication.published));
        }
        sleep(Duration::from_millis(100)).await;
    }
    bail!("the embargo of {name} did not end")
}

#[test]
fn an_embargo_never_ends_before_its_time_by_the_durable_clock_nor_twice_nor_without_policy() -> Result<()> {
    run(async {
        let start = SystemClock.now();
        let of_bundle = |made: Timestamp| Validity {
            made,
            valid_from: made.plus_secs(-2 * DAY),
            valid_until: made.plus_secs(2 * DAY),
        };
        let signed = |federation: &Federation| federation.sign_bundle(1, None, of_bundle(start.plus_secs(-60)));
        let mut clocked = Clocked::prepare(start, signed).await?;
        let ada = Caller::ADA.connect(&clocked.federation, clocked.gateway).await?;
        let (_, name) = release(&ada, BY_REGION).await?;
        let (until, much_later) = (start.plus_secs(300), start.plus_secs(3 * DAY));
        for (name_of_series, until) in [("soon", until), ("later", much_later)] {
            let publication = drafted(&ada, name, name_of_series, false).await?;
            step(&ada, PublicationStep::Embargo { publication, until }).await?;
        }
        let other = drafted(&ada, name, "other", false).await?;

        // Set back a day in the last second before its end, and started again: what the program has seen stays seen.
        clocked.clock.set(until.plus_secs(-1));
        assert!(series_after_a_look(&clocked).await?.is_empty(), "in its last second");
        clocked.clock.set(start.plus_secs(-DAY));
        assert!(series_after_a_look(&clocked).await?.is_empty(), "under a clock set back");
        let past = PublicationStep::Embargo { publication: other, until: until.plus_secs(-100) };
        assert_eq!(refusal_of(step(&ada, past).await)?.refusal.reason, "PUBLICATION_STEP", "its end has passed");
        clocked.restart().await?;
        assert!(series_after_a_look(&clocked).await?.is_empty(), "started again under a clock set back");

        // Put right, it ends at its time; and what was published stays so under a clock set back.
        clocked.clock.set(until);
        let at = published(&clocked, "soon").await?;
        ensure!(at >= until, "published at {at}, before {until}");
        clocked.clock.set(start.plus_secs(-DAY));
        assert_eq!(series_after_a_look(&clocked).await?, ["soon"]);
        clocked.restart().await?;
        assert_eq!(published(&clocked, "soon").await?, at, "published once");

        // A clock that jumps beyond what is in force publishes nothing, and neither does one that is set back then.
        let jumped = start.plus_secs(4 * DAY);
        for wrong in [jumped, until.plus_secs(60)] {
            clocked.clock.set(wrong);
            assert_eq!(series_after_a_look(&clocked).await?, ["soon"], "at {wrong}");
        }
        let previous = Candidate::read(&clocked.federation.layout().bundle())?.manifest().digest();
        clocked.federation.sign_bundle(2, Some(previous), of_bundle(jumped))?;
        let at = published(&clocked, "later").await?;
        ensure!(at >= much_later, "published at {at}, before {much_later}");
        assert_eq!(series(&clocked).await?, ["later", "soon"]);
        Ok(())
    })
}
