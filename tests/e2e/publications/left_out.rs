//! What bounding leaves out, beside what is published.

use super::{BY_REGION, ENFORCEMENT, drafted, newest, release, right, step};
use anyhow::{Context, Result, bail, ensure};
use firebreak::client::{cite_release, get_publication};
use firebreak_domain::PublicationStep;
use firebreak_tests::{Caller, Own, http_file, refusal_of, run};
use std::fs;
use std::time::Duration;

const AGENCY: &str = "health-agency";

#[test]
fn what_bounding_leaves_out_is_published_beside_a_release_once_it_is_measured_and_while_it_may_be() -> Result<()> {
    run(async {
        let mut own = Own::start(300, &[]).await?;
        let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
        let publish = |publication| PublicationStep::Publish { publication };
        let (answer, name) = release(&ada, BY_REGION).await?;
        let question =
            answer.released.left_out.first().context("nothing is said of what is left out")?.question.clone();
        let before = drafted(&ada, name, "before", false).await?;
        step(&ada, publish(before)).await?;

        let (measured, measured_as) = release(&ada, &question).await?;
        let (beside, late) = (drafted(&ada, name, "beside", false).await?, drafted(&ada, name, "late", false).await?);
        step(&ada, publish(beside)).await?;
        let ivo = ENFORCEMENT.connect(&own.federation, own.live.address).await?;
        let unmeasured = get_publication(&ivo, &newest("before")?).await?.answer.released.left_out;
        ensure!(unmeasured.is_empty(), "{unmeasured:?}");
        let shown = get_publication(&ivo, &newest("beside")?).await?.answer.released.left_out;
        let [of_visits] = shown.as_slice() else { bail!("{shown:?}") };
        assert_eq!((&of_visits.dataset, &of_visits.release_id), (&"health.visits".into(), &measured_as.to_string()));
        let [rows, persons] = measured.rows[0].estimates.as_slice() else { bail!("{:?}", measured.rows) };
        assert_eq!((of_visits.rows, of_visits.persons), (Some(*rows), Some(*persons)));
        for ending in ["sdmx.csv", "parquet", "json"] {
            let file = http_file(own.live.public_log, &format!("/publications/nso/beside.{ending}")).await?;
            ensure!(String::from_utf8_lossy(&file).contains(&measured_as.to_string()), "{ending} does not say it");
        }

        // What its agency closes is not opened by publishing what was drafted before.
        own.kill_adapter(AGENCY).await?;
        let file = own.federation.layout().adapter(AGENCY).join("adapter.toml");
        let text = fs::read_to_string(&file)?;
        fs::write(&file, format!("closed = [{{ dataset = \"health.visits\", column = \"left_out\" }}]\n{text}"))?;
        own.start_adapter(AGENCY).await?;
        let mut closed = false;
        for _ in 0..400 {
            closed = cite_release(&ada, &right()?, measured_as).await.is_err();
            if closed {
                break;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        ensure!(closed, "the gateway does not hear of it");
        let refused = refusal_of(step(&ada, publish(late)).await)?.refusal;
        assert_eq!(refused.reason, "PUBLICATION_STEP");
        let why = refused.metadata.get("detail").cloned().unwrap_or_default();
        ensure!(why.contains("what bounding leaves out of the data may no longer be published"), "{why}");
        let anew = drafted(&ada, name, "late", false).await?;
        step(&ada, publish(anew)).await?;
        let read = get_publication(&ivo, &newest("late")?).await?.answer;
        ensure!(read.released.left_out.is_empty() && read.rows == answer.rows, "{:?}", read.released.left_out);
        Ok(())
    })
}
