//! What a crash and an insider leave of publications.

use super::{BY_REGION, ENFORCEMENT, draft, drafted, newest, release, right, status, step};
use anyhow::{Context, Result, ensure};
use firebreak::client::{get_publication, list_publications, take_step};
use firebreak_audit::{LeafKind, VerifierKey, verify_folder};
use firebreak_domain::{Clock, PublicationStep, SystemClock};
use firebreak_policy::{Candidate, Validity};
use firebreak_tests::{Caller, Own, run};
use sqlx::{Connection, Executor, SqliteConnection};

async fn database(own: &Own) -> Result<SqliteConnection> {
    let file = own.federation.layout().gateway().join("state/state.sqlite");
    Ok(SqliteConnection::connect(&format!("sqlite://{}", file.display())).await?)
}

#[test]
fn a_gateway_killed_while_it_publishes_publishes_once_and_leaves_one_leaf() -> Result<()> {
    run(async {
        let mut own = Own::start(300, &[]).await?;
        let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
        let (_, name) = release(&ada, BY_REGION).await?;
        for round in 0..5_u64 {
            let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
            let publication = drafted(&ada, name, &format!("round-{round}"), false).await?;
            let (ask, publish) = (right()?, PublicationStep::Publish { publication });
            let (asking, asked) = (ask.clone(), publish.clone());
            let under_way = tokio::spawn(async move { take_step(&ada, &asking, asked).await });
            tokio::time::sleep(std::time::Duration::from_millis(2 * round)).await;
            own.kill_gateway().await?;
            let answered = under_way.await?.is_ok();
            own.start_gateway().await?;
            let path = format!("/publications/nso/round-{round}.csv");
            let shown = status(&own, &path).await?;
            ensure!(!answered || shown == 200, "what was answered is gone, round {round}");
            let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
            let taken = take_step(&ada, &ask, publish).await?;
            assert_eq!(taken.publication.context("none")?.revision, 1, "round {round}");
            assert_eq!(status(&own, &path).await?, 200);
        }
        own.live.stop().await?;
        let key: VerifierKey = own.federation.log_key().parse()?;
        let report = verify_folder(&own.federation.layout().log(), &key, &[], None)?;
        assert_eq!(report.leaves_by_kind.get(&LeafKind::Published), Some(&5));
        assert_eq!(report.leaves_by_kind.get(&LeafKind::PublicationPrepared), Some(&5));
        Ok(())
    })
}

#[test]
fn a_row_that_says_published_shows_nothing_without_its_leaf_in_the_log() -> Result<()> {
    run(async {
        let mut own = Own::start(300, &[]).await?;
        let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
        let (_, name) = release(&ada, BY_REGION).await?;
        let open = drafted(&ada, name, "open", false).await?;
        step(&ada, PublicationStep::Publish { publication: open }).await?;
        drafted(&ada, name, "hidden", false).await?;
        let receipt = get_publication(&ada, &newest("open")?).await?.answer.released.receipt;
        own.kill_gateway().await?;
        let mut insider = database(&own).await?;
        // A receipt that a crash kept from the disk is made again.
        insider.execute("UPDATE publications SET receipt = NULL WHERE series = 'open'").await?;
        insider.close().await?;
        own.start_gateway().await?;
        let ivo = ENFORCEMENT.connect(&own.federation, own.live.address).await?;
        let read = get_publication(&ivo, &newest("open")?).await?;
        let leaf = |receipt: &str| receipt.split_once("\nleaf ").map(|(_, rest)| rest[..300].to_owned());
        assert_eq!(leaf(&read.answer.released.receipt), leaf(&receipt), "the same leaf");
        own.kill_gateway().await?;

        // The evidence of another publication does not publish a draft, nor does its content stand for another's.
        let mut insider = database(&own).await?;
        insider
            .execute(
                "UPDATE publications SET state = 2, revision = 1, published_at = 1, receipt = 'x',
                 evidence = (SELECT evidence FROM publications WHERE series = 'open') WHERE series = 'hidden'",
            )
            .await?;
        insider.close().await?;
        own.start_gateway().await?;
        for path in ["hidden.csv", "hidden/1.json"] {
            assert_eq!(status(&own, &format!("/publications/nso/{path}")).await?, 404, "{path}");
        }
        let ivo = ENFORCEMENT.connect(&own.federation, own.live.address).await?;
        assert!(get_publication(&ivo, &newest("hidden")?).await.is_err());
        assert!(get_publication(&ivo, &newest("open")?).await.is_ok(), "the twin");
        let listed: Vec<_> = list_publications(&ivo).await?.into_iter().map(|p| p.series).collect();
        assert_eq!(listed, ["open"]);

        // Who drafts is in no file in clear.
        let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
        step(&ada, draft(name, "again", false)?).await?;
        let state = own.federation.layout().gateway().join("state");
        for file in firebreak_tests::files_below(&state)? {
            let bytes = std::fs::read(&file)?;
            let holds = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
            ensure!(!holds(b"analyst/ada"), "{}", file.display());
        }
        Ok(())
    })
}

#[test]
fn an_embargo_whose_agreement_no_longer_publishes_ends_as_a_draft_and_shows_nothing() -> Result<()> {
    run(async {
        let own = Own::start(300, &[]).await?;
        let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
        let (_, name) = release(&ada, BY_REGION).await?;
        let publication = drafted(&ada, name, "soon", false).await?;
        let now = SystemClock.now();
        step(&ada, PublicationStep::Embargo { publication, until: now.plus_secs(6) }).await?;

        let bundle = own.federation.layout().bundle();
        let previous = Candidate::read(&bundle)?.manifest().digest();
        let agreement = bundle.join("agreements/health-statistics.toml");
        let text = std::fs::read_to_string(&agreement)?;
        let narrower = text.replace("operations = [\"aggregate\", \"publish\"]", "operations = [\"aggregate\"]");
        ensure!(narrower != text, "the agreement publishes nothing as it is");
        std::fs::write(&agreement, narrower)?;
        let validity = Validity { made: now, valid_from: now.plus_secs(-60), valid_until: now.plus_secs(86_400) };
        own.federation.sign_bundle(2, Some(previous), validity)?;

        // Drafted, put under its embargo, and put back: a leaf each, and one of the refusal.
        let key: VerifierKey = own.federation.log_key().parse()?;
        let mut leaves = Default::default();
        for _ in 0..600 {
            // A tile of the checkpoint that was read first may be gone by now.
            if let Ok(report) = verify_folder(&own.federation.layout().log(), &key, &[], None) {
                leaves = report.leaves_by_kind;
                if leaves.get(&LeafKind::PublicationPrepared) == Some(&3) {
                    break;
                }
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        assert_eq!(leaves.get(&LeafKind::PublicationPrepared), Some(&3), "{leaves:?}");
        ensure!(leaves.contains_key(&LeafKind::Refusal) && !leaves.contains_key(&LeafKind::Published), "{leaves:?}");
        ensure!(SystemClock.now() >= now.plus_secs(6), "decided before its time");
        assert_eq!(status(&own, "/publications/nso/soon.csv").await?, 404);
        let ivo = ENFORCEMENT.connect(&own.federation, own.live.address).await?;
        ensure!(list_publications(&ivo).await?.is_empty(), "shown");
        Ok(())
    })
}
