//! Whoever is given a release that another request was measured for learns nothing of that request.

use super::signed;
use anyhow::{Context, Result, bail, ensure};
use firebreak::client::{Ask, QueryAnswer, run_query};
use firebreak_audit::{LeafKind, Opening, Receipt, SignedLeaf, SignerRole, VerifierKey, verify_folder};
use firebreak_domain::Charge;
use firebreak_testbed::{Federation, Programs};
use firebreak_tests::{Caller, Liar, Own, ask_until_answered, run};
use firebreak_wire::agency::v1::{Release, execute_query_response::Step};
use firebreak_wire::opening_from_wire;

const BOB: Caller = Caller("nso", "analyst", "bob");
const HEALTH: &str = "health-agency";

fn about_health(least: u32) -> Result<Ask> {
    let sql = format!("SELECT COUNT(*) AS n FROM health.visits WHERE cost >= {least}");
    Ok(Ask::new("health-statistics", "health-planning", &sql)?)
}

/// The leaf of a receipt, after checking that it opens to that request and to that release.
fn own_leaf(answer: &QueryAnswer, ask: &Ask, key: &VerifierKey) -> Result<SignedLeaf> {
    let receipt = Receipt::decode(answer.released.receipt.as_bytes())?.verify(key)?;
    let opening = receipt.opening.context("a receipt without an opening")?;
    opens_to(&opening, ask)?;
    let payload = String::from_utf8_lossy(&opening.payload).into_owned();
    let hash = format!("release sha256 {}", answer.released.release_id);
    ensure!(payload.contains(&hash), "the receipt is of another release");
    Ok(receipt.leaf)
}

fn opens_to(opening: &Opening, ask: &Ask) -> Result<()> {
    let payload = String::from_utf8_lossy(&opening.payload);
    let line = format!("request 32 {}", ask.request_id);
    ensure!(payload.lines().any(|l| l == line), "the opening tells of another request");
    Ok(())
}

fn of(leaf: &SignedLeaf) -> (LeafKind, SignerRole) {
    (leaf.leaf().kind, leaf.leaf().signer_role)
}

const REPEATED: (LeafKind, SignerRole) = (LeafKind::StoredRelease, SignerRole::Gateway);

#[test]
fn a_repeat_sent_again_shows_its_own_receipt_and_never_the_first_callers() -> Result<()> {
    run(async {
        let mut own = Own::start(300, &[]).await?;
        let key: VerifierKey = own.federation.log_key().parse()?;
        let (first, repeat) = (about_health(10)?, about_health(10)?);
        let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
        let bob = BOB.connect(&own.federation, own.live.address).await?;
        let answered = ask_until_answered(&ada, &first).await?;
        let measured = own_leaf(&answered, &first, &key)?;
        assert_eq!(of(&measured), (LeafKind::Release, SignerRole::Adapter));
        for round in 0..6 {
            if round == 4 {
                // Nothing of it is in memory alone.
                own.kill_gateway().await?;
                own.start_gateway().await?;
            }
            let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
            let bob = BOB.connect(&own.federation, own.live.address).await?;
            let again = ask_until_answered(&bob, &repeat).await?;
            assert_eq!(again.rows, answered.rows, "round {round}");
            let leaf = own_leaf(&again, &repeat, &key).with_context(|| format!("round {round}"))?;
            assert_eq!((of(&leaf), leaf.leaf().charge), (REPEATED, Charge::default()), "round {round}");
            // Who asked first keeps the first receipt.
            let again = ask_until_answered(&ada, &first).await?;
            assert_eq!(again.rows, answered.rows, "round {round}");
            assert_eq!(own_leaf(&again, &first, &key)?, measured, "round {round}");
        }
        drop(bob);
        Ok(())
    })
}

#[test]
fn two_who_ask_at_once_get_one_release_and_each_a_receipt_of_their_own() -> Result<()> {
    run(async {
        const ROUNDS: u64 = 8;
        let mut own = Own::start(300, &[]).await?;
        let key: VerifierKey = own.federation.log_key().parse()?;
        let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
        let bob = BOB.connect(&own.federation, own.live.address).await?;
        ask_until_answered(&ada, &about_health(9)?).await?;
        for round in 0..ROUNDS {
            let least = 10 + u32::try_from(round)?;
            let (one, other) = (about_health(least)?, about_health(least)?);
            let (mut quiet, mut silent) = (|_: firebreak::client::Step<'_>| {}, |_: firebreak::client::Step<'_>| {});
            let (a, b) = tokio::join!(run_query(&ada, &one, &mut quiet), run_query(&bob, &other, &mut silent));
            let (a, b) = (a?, b?);
            assert_eq!((&a.rows, &a.released.release_id), (&b.rows, &b.released.release_id), "round {round}");
            own_leaf(&a, &one, &key).with_context(|| format!("ada, round {round}"))?;
            own_leaf(&b, &other, &key).with_context(|| format!("bob, round {round}"))?;
            for (who, ask, before) in [(&ada, &one, &a), (&bob, &other, &b)] {
                let again = run_query(who, ask, &mut |_| {}).await?;
                assert_eq!((&again.rows, &again.released.release_id), (&before.rows, &before.released.release_id));
                own_leaf(&again, ask, &key).with_context(|| format!("again, round {round}"))?;
            }
        }
        own.live.stop().await?;
        let report = verify_folder(&own.federation.layout().log(), &key, &[], None)?;
        let of = |kind| report.leaves_by_kind.get(&kind).copied().unwrap_or_default();
        assert_eq!(of(LeafKind::Release), 2 * (ROUNDS + 1), "one by the gateway and one by the agency, whoever races");
        Ok(())
    })
}

/// Brings a request to the agency's adapter by the false gateway.
async fn bring(liar: &Liar, federation: &Federation, caller: Caller, ask: &Ask) -> Result<(Release, SignedLeaf)> {
    let request = signed(federation, caller, ask)?;
    let mut steps = liar.agency(HEALTH)?.execute_query(request).await?.into_inner();
    while let Some(message) = steps.message().await? {
        match message.step {
            Some(Step::Release(release)) => {
                let leaf = SignedLeaf::decode(&release.leaf)?;
                let opening = opening_from_wire(&release.opening).context("no opening")?;
                assert_eq!(leaf.leaf().commitment, opening.commitment());
                opens_to(&opening, ask)?;
                return Ok((release, leaf));
            }
            Some(Step::Refused(refused)) => bail!("refused: {refused:?}"),
            _ => {}
        }
    }
    bail!("the adapter said nothing")
}

#[test]
fn an_adapter_gives_no_gateway_anothers_opening_with_a_release() -> Result<()> {
    run(async {
        let (federation, _folder) = Own::prepare(300)?;
        let liar = Liar::listen(&federation).await?;
        let live = federation.start(&Programs::built()?, &[liar.address()]).await?;
        liar.wait_for_agencies().await?;
        let key: VerifierKey = federation.log_key().parse()?;
        let eve = Caller("nso", "analyst", "eve").connect(&federation, live.address).await?;
        ask_until_answered(&eve, &about_health(9)?).await?;

        // The gateway does not know of this release.
        let first = about_health(10)?;
        let (release, measured) = bring(&liar, &federation, Caller::ADA, &first).await?;
        assert_eq!(measured.leaf().kind, LeafKind::Release);
        let repeat = about_health(10)?;
        for _ in 0..3 {
            let (again, leaf) = bring(&liar, &federation, BOB, &repeat).await?;
            assert_eq!(again.release, release.release);
            assert_eq!((leaf.leaf().kind, leaf.leaf().charge), (LeafKind::StoredRelease, Charge::default()));
        }
        let (again, leaf) = bring(&liar, &federation, Caller::ADA, &first).await?;
        assert_eq!((again, leaf), (release, measured), "who asked first keeps the first evidence");

        // The gateway charges in full what it never saw, and gives the receipt of the agency's repetition.
        let third = about_health(10)?;
        let answer = ask_until_answered(&eve, &third).await?;
        let leaf = own_leaf(&answer, &third, &key)?;
        assert_eq!(of(&leaf), (LeafKind::StoredRelease, SignerRole::Adapter));
        let again = run_query(&eve, &third, &mut |_| {}).await?;
        assert_eq!(own_leaf(&again, &third, &key)?, leaf);
        // And Ada, who had her release by another way, is given it here as a repeat of Eve's.
        let ada = Caller::ADA.connect(&federation, live.address).await?;
        let here = ask_until_answered(&ada, &first).await?;
        assert_eq!((&here.rows, of(&own_leaf(&here, &first, &key)?)), (&answer.rows, REPEATED));
        Ok(())
    })
}
