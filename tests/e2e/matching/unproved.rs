//! An agreement that wants no proofs gives the same matches without them, and no sender does without where they are due.

use super::begun::Begun;
use super::truth::expected;
use agency_adapter::app::{CHUNK_ELEMENTS, MatchError};
use anyhow::{Context, Result, ensure};
use firebreak_domain::ReasonCode;
use firebreak_tests::run;

/// Bytes of a chunk of elements, and of a proof.
const CHUNK: usize = CHUNK_ELEMENTS as usize * 32;
const PROOF: usize = 64;

async fn begun(proofs: bool) -> Result<Begun> {
    Begun::after(600, |bundle| {
        let file = bundle.join("agreements/vaccination-round.toml");
        let text = std::fs::read_to_string(&file)?;
        ensure!(text.contains("[match]\n"), "the sample's terms are written in another way");
        Ok(std::fs::write(&file, text.replace("[match]\n", &format!("[match]\nproofs = {proofs}\n")))?)
    })
    .await
}

fn fault(done: Result<(), MatchError>) -> Result<ReasonCode> {
    match done {
        Err(MatchError::Fault(refusal)) => Ok(refusal.reason),
        other => anyhow::bail!("no fault was found: {other:?}"),
    }
}

#[test]
fn an_agreement_without_proofs_gives_the_same_matches_and_one_with_them_takes_nothing_less() -> Result<()> {
    run(async {
        for (proofs, bytes, wrong, reason) in [
            (false, CHUNK, CHUNK + PROOF, ReasonCode::SizeExceeded),
            (true, CHUNK + PROOF, CHUNK, ReasonCode::WrongCount),
        ] {
            let mut begun = begun(proofs).await?;
            let (number, chunk) = begun.machine.next(&begun.sides.receiver.app).await?.context("no chunk")?;
            let evaluated = begun.session.evaluate(&begun.sides.sender.app, number, chunk.as_bytes().to_vec()).await?;
            assert_eq!(evaluated.len(), bytes, "proofs = {proofs}");
            let mut other = evaluated.clone();
            other.resize(wrong, 0);
            assert_eq!(fault(begun.machine.accept(&chunk, &other))?, reason, "proofs = {proofs}");
            begun.machine.accept(&chunk, &evaluated)?;
            begun.tags().await?;
            let report = begun.machine.finish(&begun.sides.receiver.app).await?;
            let expected = expected(begun.sides.federation.population(), i32::MIN..=i32::MAX);
            ensure!(!expected.matched.is_empty(), "nobody is in both registers");
            assert_eq!(report.matched, expected.matched.len() as u64, "proofs = {proofs}");
        }
        Ok(())
    })
}

/// What the proof is for: without it, a sender that evaluates an element under another key is not found out, and the one
/// who stands behind it goes unmatched.
#[test]
fn without_proofs_a_wrong_evaluation_is_taken_and_a_match_is_missing() -> Result<()> {
    run(async {
        let whole = expected_of(&mut begun(false).await?, |_| {}).await?;
        // Each element but the first in the next one's place: none is behind its own.
        let none = expected_of(&mut begun(false).await?, |evaluated| evaluated.rotate_left(32)).await?;
        ensure!(whole > 0 && none == 0, "{whole} matched, and {none} where every element was another");
        Ok(())
    })
}

async fn expected_of(begun: &mut Begun, change: impl FnOnce(&mut [u8])) -> Result<u64> {
    let (number, chunk) = begun.machine.next(&begun.sides.receiver.app).await?.context("no chunk")?;
    let mut evaluated = begun.session.evaluate(&begun.sides.sender.app, number, chunk.as_bytes().to_vec()).await?;
    change(&mut evaluated);
    begun.machine.accept(&chunk, &evaluated)?;
    begun.tags().await?;
    Ok(begun.machine.finish(&begun.sides.receiver.app).await?.matched)
}
