//! A sample of the committed set, opened inside the agency when the session and its secrets are long gone.

use super::begun::{Begun, DAY};
use super::truth::expected;
use agency_adapter::app::{MatchError, Sample};
use anyhow::{Context, Result, bail, ensure};
use firebreak_domain::{Clock, ReasonCode};
use firebreak_psi::{Root, sample_places, verify_opening};
use firebreak_tests::{run, without_rows};
use std::collections::BTreeSet;

const SEED: [u8; 32] = [17; 32];

/// A match made to its end: the name of its session.
async fn ended(begun: &mut Begun) -> Result<[u8; 32]> {
    while begun.machine.next(&begun.sides.receiver.app).await?.is_some() {
        begun.evaluate().await?;
    }
    begun.tags().await?;
    Ok(begun.machine.finish(&begun.sides.receiver.app).await?.session)
}

/// What stands in the log as committed to, by what the receiver keeps of the leaf.
async fn logged(begun: &Begun, session: &[u8; 32]) -> Result<Root> {
    let kept = begun.sides.receiver.app.state().session_opening(session).await?.context("nothing is kept")?;
    let text = String::from_utf8_lossy(&kept).into_owned();
    let (_, line) = text.rsplit_once("set ").context("no set is committed to")?;
    let (size, hash) = line.trim().split_once(' ').context("no root")?;
    let mut root = Root { size: size.parse()?, hash: [0; 32] };
    hex::decode_to_slice(hash, &mut root.hash)?;
    Ok(root)
}

async fn opened(begun: &Begun, session: &[u8; 32], places: u32) -> Result<Sample> {
    begun.sides.receiver.app.open_sample(session, &SEED, places).await?.context("nothing is kept that opens it")
}

#[test]
fn every_place_opens_to_the_root_in_the_log_after_the_session_and_its_secrets_are_gone() -> Result<()> {
    run(async {
        let mut begun = Begun::start().await?;
        let session = ended(&mut begun).await?;
        let root = logged(&begun, &session).await?;
        begun.sides.restart_receiver().await?;

        let all = opened(&begun, &session, root.size).await?;
        ensure!(all.root == root && all.places.len() == root.size as usize, "not all of what was committed to");
        let expected = expected(begun.sides.federation.population(), i32::MIN..=i32::MAX);
        let (mut identifiers, mut persons) = (BTreeSet::new(), BTreeSet::new());
        for place in &all.places {
            verify_opening(&root, &place.opening)?;
            ensure!(place.padding == place.persons.is_empty(), "place {}", place.opening.index);
            if !place.padding {
                identifiers.insert(place.opening.item.clone());
                persons.extend(place.persons.iter().cloned());
            }
        }
        assert_eq!(identifiers.len(), expected.elements.0);
        assert_eq!(persons.len() as u64, expected.offered);

        // A sample is a part of that, the one that its seed draws.
        let some = opened(&begun, &session, 50).await?;
        let places: Vec<_> = some.places.iter().map(|place| place.opening.index).collect();
        assert_eq!(places, sample_places(&root, &SEED, 50));
        for place in &some.places {
            verify_opening(&root, &place.opening)?;
        }
        ensure!(begun.sides.receiver.app.open_sample(&[3; 32], &SEED, 1).await?.is_none(), "no such session");

        // For as long as the agreement lets anything be kept, and no longer.
        let day = i64::from(180_u32);
        begun.clock.set(begun.clock.now().plus_secs((day - 1) * DAY));
        begun.sides.receiver.app.close_old_sessions().await?;
        opened(&begun, &session, 1).await.context("before its time")?;
        begun.clock.set(begun.clock.now().plus_secs(2 * DAY));
        begun.sides.receiver.app.close_old_sessions().await?;
        ensure!(begun.sides.receiver.app.open_sample(&session, &SEED, 1).await?.is_none(), "kept beyond its time");
        ensure!(
            begun.sides.receiver.app.state().session_opening(&session).await?.is_none(),
            "the opening seed is kept"
        );
        Ok(())
    })
}

/// Seen from the register as it is, an identifier that it does not hold was invented: the set that it gives is another
/// than the one that was committed to.
#[test]
fn a_set_with_an_identifier_that_the_register_does_not_hold_is_found_out() -> Result<()> {
    run(async {
        let mut begun = Begun::start().await?;
        let session = ended(&mut begun).await?;
        opened(&begun, &session, 1).await.context("the twin")?;
        let canary = begun.sides.federation.population().canary().context("no person stands in every register")?;
        let [_, patient, _] = &canary.person_keys;
        let visits = begun.sides.federation.layout().population().join("health/visits.parquet");
        ensure!(without_rows(&visits, "person_key", patient)? > 0, "the person had no visit");
        match begun.sides.receiver.app.open_sample(&session, &SEED, 1).await {
            Err(MatchError::Refused(refusal)) => {
                assert_eq!(refusal.reason, ReasonCode::SessionMismatch);
                ensure!(!refusal.to_string().contains(patient.as_str()), "{refusal}");
                ensure!(refusal.detail.contains("do not give the set"), "{refusal}");
                Ok(())
            }
            Err(error) => bail!("failed: {error}"),
            Ok(_) => bail!("a set was opened that the register does not give"),
        }
    })
}
