//! A hostile sender: its receiver finds it out, tells it, and ends the session.

use super::pair::{LetIn, Pair, Session};
use crate::matching::side::refused;
use crate::matching::sides::Sides;
use agency_adapter::app::{BrokenOff, CHUNK_ELEMENTS, MatchError};
use anyhow::{Context, Result, ensure};
use firebreak_domain::ReasonCode;
use firebreak_psi::{
    FORMAT, KeyContext, MatchParams, Mode, Normaliser, SecretSeed, Sender, SessionKey, derive_session_key,
};
use firebreak_tests::run;

#[derive(Debug, Clone, Copy)]
enum Sent {
    NoElement,
    Identity,
    OneTwice,
    TwoSwapped,
    UnderAnotherKey,
    ProofOfAnotherSession,
    NoScalar,
    NoProof,
    OneByteShort,
    TenTimesTheChunk,
    TagsFalling,
    TagTwice,
    TagCut,
    EmptyPiece,
    ListTooShort,
    TenTimesTheList,
}

const ALL: [(Sent, ReasonCode); 16] = [
    (Sent::NoElement, ReasonCode::HostileInput),
    (Sent::Identity, ReasonCode::HostileInput),
    (Sent::OneTwice, ReasonCode::HostileInput),
    (Sent::TwoSwapped, ReasonCode::ProofRejected),
    (Sent::UnderAnotherKey, ReasonCode::ProofRejected),
    (Sent::ProofOfAnotherSession, ReasonCode::ProofRejected),
    (Sent::NoScalar, ReasonCode::HostileInput),
    (Sent::NoProof, ReasonCode::WrongCount),
    (Sent::OneByteShort, ReasonCode::WrongCount),
    (Sent::TenTimesTheChunk, ReasonCode::SizeExceeded),
    (Sent::TagsFalling, ReasonCode::HostileInput),
    (Sent::TagTwice, ReasonCode::HostileInput),
    (Sent::TagCut, ReasonCode::WrongCount),
    (Sent::EmptyPiece, ReasonCode::WrongCount),
    (Sent::ListTooShort, ReasonCode::WrongCount),
    (Sent::TenTimesTheList, ReasonCode::SizeExceeded),
];

/// Bytes of an element, and of a proof.
const ELEMENT: usize = 32;
const PROOF: usize = 64;

/// A key that is not this session's.
fn another_key() -> Result<SessionKey> {
    let context = KeyContext {
        agreement: "vaccination-round",
        receiver: "health-agency",
        field: "national_number",
        normaliser: Normaliser::from_number(1).context("no such rule")?,
        session: &[9; 16],
        mode: Mode::Voprf,
    };
    Ok(derive_session_key(&SecretSeed::from_bytes([9; 32]), &context)?)
}

/// A chunk as a sender evaluates it under that key.
fn of_another_session(blinded: &[u8]) -> Result<Vec<u8>> {
    let params = MatchParams::new(FORMAT, CHUNK_ELEMENTS, CHUNK_ELEMENTS, CHUNK_ELEMENTS)?;
    Ok(Sender::new(another_key()?, Vec::new(), params)?.evaluate(0, blinded)?)
}

fn part(bytes: &[u8], from: usize, to: usize) -> &[u8] {
    bytes.get(from..to).unwrap_or_default()
}

/// An answer to the chunk, changed.
fn answer(honest: &[u8], blinded: &[u8], sent: Sent) -> Result<Vec<u8>> {
    let rest = part(honest, ELEMENT, honest.len());
    let second = part(honest, ELEMENT, 2 * ELEMENT);
    let but_proof = part(honest, 0, honest.len().saturating_sub(PROOF));
    let another = of_another_session(blinded)?;
    Ok(match sent {
        Sent::NoElement => [&[0xff; ELEMENT], rest].concat(),
        Sent::Identity => [&[0; ELEMENT], rest].concat(),
        Sent::OneTwice => [second, rest].concat(),
        Sent::TwoSwapped => [second, part(honest, 0, ELEMENT), part(honest, 2 * ELEMENT, honest.len())].concat(),
        Sent::UnderAnotherKey => another,
        Sent::ProofOfAnotherSession => [but_proof, part(&another, but_proof.len(), another.len())].concat(),
        Sent::NoScalar => [but_proof, &[0xff; PROOF]].concat(),
        Sent::NoProof => but_proof.to_vec(),
        Sent::OneByteShort => part(honest, 0, honest.len().saturating_sub(1)).to_vec(),
        Sent::TenTimesTheChunk => honest.repeat(10),
        _ => honest.to_vec(),
    })
}

/// The conversation up to what is wrong in it.
async fn receive(session: &mut Session, sides: &Sides, sent: Sent) -> Result<(), MatchError> {
    let (number, chunk) = session.machine.next(&sides.receiver.app).await?.ok_or(MatchError::Failed)?;
    let honest = session.session.evaluate(&sides.sender.app, number, chunk.as_bytes().to_vec()).await?;
    let changed = answer(&honest, chunk.as_bytes(), sent).map_err(|_| MatchError::Failed)?;
    session.machine.accept(&chunk, &changed)?;
    let list = sides.list(&session.session, 0).await?;
    let (list, tag) = (list.as_slice(), list.len() / session.machine.tags() as usize);
    let (first, second) = (part(list, 0, tag), part(list, tag, 2 * tag));
    match sent {
        Sent::TagsFalling => session.machine.push_tags(&[second, first].concat()),
        Sent::TagTwice => session.machine.push_tags(&[first, first].concat()),
        Sent::TagCut => session.machine.push_tags(part(list, 0, tag + 1)),
        Sent::EmptyPiece => session.machine.push_tags(&[]),
        Sent::ListTooShort => {
            session.machine.push_tags(part(list, 0, list.len().saturating_sub(tag)))?;
            session.machine.keep("a receipt")
        }
        _ => {
            session.machine.push_tags(list)?;
            session.machine.push_tags(&vec![0xff; tag])
        }
    }
}

#[test]
fn whatever_a_sender_sends_wrong_ends_the_session_by_its_name_on_both_sides() -> Result<()> {
    run(async {
        let mut pair = Pair::open().await?;
        for (id, (sent, reason)) in (1..).zip(ALL) {
            let mut session = pair.begin(id).await?;
            let counted = pair.counted()?;
            let found = receive(&mut session, &pair.sides, sent).await;
            let why = BrokenOff::Here(found.err().with_context(|| format!("{sent:?} was taken"))?);
            let told = why.told();
            ensure!(told == Some(reason), "{sent:?}: the sender is told {told:?}, and not {reason}");
            let said = session.attempt.broken_off(&pair.sides.receiver.app, why).await;
            refused(Err::<(), _>(said), reason).with_context(|| format!("{sent:?}"))?;
            session.session.broken_off(&pair.sides.sender.app, reason).await?;
            // One chunk was evaluated, and the list was not made for it once more.
            ensure!(pair.counted()? == counted + u64::from(CHUNK_ELEMENTS), "{sent:?}: the cap");
            ensure!(pair.sides.sender.app.state().offered().await?.len() == usize::from(id), "{sent:?}: the register");
            pair.ended(id, &session.name, &session.open, reason).await.with_context(|| format!("{sent:?}"))?;
        }
        Ok(())
    })
}

#[test]
fn an_opening_that_is_none_is_found_before_anything_is_sent() -> Result<()> {
    run(async {
        let mut pair = Pair::open().await?;
        let key = |bytes: &[u8]| bytes.to_vec();
        let good = key(another_key()?.public_key().as_bytes());
        // A register of 600 is 4,096 tags, and 8,192 the most.
        for (id, (key, tags, reason)) in (1..).zip([
            (key(&[0xff; ELEMENT]), 4096, ReasonCode::HostileInput),
            (key(&[0; ELEMENT]), 4096, ReasonCode::HostileInput),
            (key(&[1; ELEMENT - 1]), 4096, ReasonCode::WrongCount),
            (key(&[1; ELEMENT + 1]), 4096, ReasonCode::SizeExceeded),
            (good.clone(), 0, ReasonCode::WrongCount),
            (good.clone(), 8193, ReasonCode::SizeExceeded),
            (good.clone(), 40_960, ReasonCode::SizeExceeded),
        ]) {
            let LetIn { prepared, attempt, session, open } = pair.let_in(id).await?;
            session.open(&pair.sides.sender.app, &open).await?;
            let name = pair.sides.sender.app.state().open_sessions().await?.first().context("nothing is open")?.session;
            pair.sides.visit().await?;
            let why = match prepared.begin(&pair.sides.receiver.app, &key, tags).await {
                Err(error) => BrokenOff::Here(error),
                Ok(_) => anyhow::bail!("begun with {tags} tags"),
            };
            let told = why.told().context("the sender is told nothing")?;
            let said = attempt.broken_off(&pair.sides.receiver.app, why).await;
            refused(Err::<(), _>(said), reason).with_context(|| format!("{tags} tags"))?;
            session.broken_off(&pair.sides.sender.app, told).await?;
            pair.ended(id, &name, &open, reason).await?;
        }
        assert_eq!(pair.counted()?, 0);
        Ok(())
    })
}
