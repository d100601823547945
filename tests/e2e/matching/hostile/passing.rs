//! What is nobody's lie, a peer that is silent or a connection that breaks, is named too, and ends no session.

use super::pair::{LetIn, Pair};
use crate::matching::side::{recorded, refused};
use crate::matching::truth::expected;
use agency_adapter::app::{BrokenOff, CHUNK_ELEMENTS, MatchError};
use anyhow::{Result, ensure};
use firebreak_domain::{ReasonCode, Refusal};
use firebreak_tests::run;

#[test]
fn after_a_stall_and_a_lost_connection_the_same_request_goes_on_where_it_was() -> Result<()> {
    run(async {
        let mut pair = Pair::open().await?;
        // The sender is silent, which the receiver finds; then the receiver, which the sender finds.
        let session = pair.begin(1).await?;
        let why = BrokenOff::Stalled;
        let told = why.told();
        ensure!(told == Some(ReasonCode::PeerStalled), "the sender is told {told:?}");
        let said = session.attempt.broken_off(&pair.sides.receiver.app, why).await;
        refused(Err::<(), _>(said), ReasonCode::PeerStalled)?;
        session.session.broken_off(&pair.sides.sender.app, ReasonCode::PeerStalled).await?;
        session.session.left(&pair.sides.sender.app, ReasonCode::ConnectionLost).await?;
        pair.both_recorded(ReasonCode::PeerStalled).await?;
        ensure!(pair.open_sessions().await?.len() == 1, "a stall ended the session");
        drop(session);

        // One chunk is evaluated and kept; then the connection breaks.
        let mut session = pair.begin(1).await?;
        let (receiver, sender) = (&pair.sides.receiver.app, &pair.sides.sender.app);
        let (number, chunk) = session.machine.next(receiver).await?.ok_or(MatchError::Failed)?;
        let answer = session.session.evaluate(sender, number, chunk.as_bytes().to_vec()).await?;
        session.machine.accept(&chunk, &answer)?;
        ensure!(BrokenOff::Lost.told().is_none(), "there is nobody to be told");
        let said = session.attempt.broken_off(receiver, BrokenOff::Lost).await;
        refused(Err::<(), _>(said), ReasonCode::ConnectionLost)?;
        session.session.left(sender, ReasonCode::ConnectionLost).await?;
        session.session.left(sender, ReasonCode::ConnectionLost).await?;
        pair.both_recorded(ReasonCode::ConnectionLost).await?;
        let counted = pair.counted()?;
        drop(session);

        let mut session = pair.begin(1).await?;
        let (receiver, sender) = (&pair.sides.receiver.app, &pair.sides.sender.app);
        ensure!(session.machine.next(receiver).await?.is_none(), "a chunk that was kept is asked for again");
        session.machine.push_tags(&pair.sides.list(&session.session, 0).await?)?;
        session.machine.keep("a receipt")?;
        session.session.close(sender).await?;
        session.session.left(sender, ReasonCode::ConnectionLost).await?;
        ensure!(recorded(&pair.sides.sender).await?.is_empty(), "a match that was over was not broken off");
        let report = session.machine.finish(receiver).await?;
        let expected = expected(pair.sides.federation.population(), i32::MIN..=i32::MAX);
        assert_eq!(report.matched, expected.matched.len() as u64);
        assert_eq!((pair.counted()?, counted), (u64::from(CHUNK_ELEMENTS), u64::from(CHUNK_ELEMENTS)));
        ensure!(pair.sides.sender.app.state().session_end(&report.session).await?.is_none(), "it ended for a reason");
        Ok(())
    })
}

#[test]
fn a_receiver_tells_its_sender_of_faults_in_what_it_sent_and_of_nothing_else() -> Result<()> {
    run(async {
        for own in [
            MatchError::Failed,
            MatchError::Refused(Refusal::new(ReasonCode::NoPolicyInForce)),
            MatchError::Refused(Refusal::new(ReasonCode::ProofRejected)),
            MatchError::Fault(Refusal::new(ReasonCode::NoPolicyInForce)),
        ] {
            ensure!(BrokenOff::Here(own).told().is_none(), "what is the receiver's own is told");
        }
        // Nor can a receiver have anything else recorded at the sender.
        let mut pair = Pair::open().await?;
        let LetIn { session, open, .. } = pair.let_in(1).await?;
        session.open(&pair.sides.sender.app, &open).await?;
        pair.sides.visit().await?;
        for reason in [ReasonCode::EnforcementRecipient, ReasonCode::ConnectionLost, ReasonCode::ChunkReplayed] {
            let told = session.broken_off(&pair.sides.sender.app, reason).await;
            refused(told, ReasonCode::MalformedRequest)?;
        }
        ensure!(recorded(&pair.sides.sender).await?.is_empty(), "something was recorded");
        ensure!(pair.sides.sender.app.state().open_sessions().await?.len() == 1, "it ended the session");
        Ok(())
    })
}
