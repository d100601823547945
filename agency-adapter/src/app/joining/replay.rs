//! A join made once more inside its agency, for overseers: whether what was sent is what the seed, the cut and the
//! protocol make.

use super::exchange::Exchange;
use super::kept::{Committed, Sent};
use super::{lists, party, psi_side};
use crate::app::App;
use crate::app::matching::MatchError;
use firebreak_domain::{Contract, JoinSide, PurposeId, RequestId};
use firebreak_node::StoredQuestion;
use firebreak_privacy::join::{DummyLaw, JoinTakers, join_price};
use firebreak_psi::join::{JoinParams, JoinParty};
use firebreak_query::{CheckedJoin, check_join};
use firebreak_store::SessionFiles;
use std::sync::Arc;
use tokio::task::block_in_place;

/// What became of one thing that was made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// It is what was sent.
    Equal,
    /// It is not.
    Different,
    /// The join did not come so far.
    NotSent,
    /// It cannot be made again: the other side's list is gone with the session, or the contract has changed.
    Gone,
}

/// A side of a join that was made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replayed {
    /// The session.
    pub session: [u8; 32],
    /// The own list: records, dummies and the key that blinds them.
    pub own_list: Replay,
    /// The points that were added to the other side's list.
    pub added: Replay,
    /// The list that was sent on.
    pub sent_on: Replay,
}

/// What a session is made again from.
struct Remade {
    join: CheckedJoin,
    law: DummyLaw,
    side: JoinSide,
    contract: Arc<Contract>,
}

impl App {
    /// Makes again what this agency sent in the joins that were asked for under a request id, one for each caller, and
    /// compares it with what was committed to. Nothing of it stays.
    ///
    /// # Errors
    /// [`MatchError`].
    pub async fn replay_join(&self, request: &RequestId) -> Result<Vec<Replayed>, MatchError> {
        let mut replayed = Vec::new();
        for session in self.state.joins_of(request).await? {
            let Some(kept) = self.state.kept_join(&session).await? else { continue };
            let sent = self.state.sent_join(&session).await?.map(|sent| Sent::decode(&sent)).transpose()?;
            replayed.push(self.replay(session, &Committed::decode(&kept)?, sent.as_ref()).await?);
        }
        Ok(replayed)
    }

    async fn replay(&self, session: [u8; 32], kept: &Committed, sent: Option<&Sent>) -> Result<Replayed, MatchError> {
        let Some(remade) = self.remade(kept) else {
            let gone = Replay::Gone;
            return Ok(Replayed { session, own_list: gone, added: gone, sent_on: gone });
        };
        let labels = |side| remade.join.side(side).labels();
        let params = JoinParams::new(labels(JoinSide::Left), labels(JoinSide::Right), remade.law.weights())?;
        let party = party(&session, kept.terms, remade.side, &kept.seed, params.clone())?;
        let scratch = self.state.scratch_files()?;
        let files = scratch.files();
        let own = self.own_again(kept, &remade, &party, files).await?;
        let added = match sent {
            None => Replay::NotSent,
            Some(sent) => {
                let added = block_in_place(|| Ok::<_, MatchError>(party.counterparts(&party.meet(&sent.key)?)?))?;
                compared(&lists::hash_of_added(&added), &sent.added)
            }
        };
        let sent_on = match sent {
            None => Replay::NotSent,
            Some(sent) => self.sent_on_again(&session, sent, &remade, &params, &party, files).await?,
        };
        Ok(Replayed { session, own_list: own, added, sent_on })
    }

    /// The question, contracts and law of a session, if they are still those that it was begun with.
    fn remade(&self, kept: &Committed) -> Option<Remade> {
        let bundle = self.policy.accepted()?;
        let terms = bundle.agreements().get(&kept.agreement)?.join.clone()?;
        let question = StoredQuestion::decode(&kept.question)?;
        let contract = |side: JoinSide| bundle.contracts().get(terms.dataset(side)).cloned();
        let contracts = [contract(JoinSide::Left)?, contract(JoinSide::Right)?];
        let whole: Vec<Contract> = contracts.iter().map(|contract| Contract::clone(contract)).collect();
        let join = check_join(&question, &whole, &terms).ok()?;
        let purpose = PurposeId::new(kept.purpose.clone()).ok()?;
        let takers = JoinTakers { purpose, by_consent: kept.by_consent };
        let price =
            join_price(&join, takers).ok().filter(|price| *price.release_key().as_bytes() == kept.release_key)?;
        let side = join.side_of(self.recorder.organisation())?.side();
        let [left, right] = contracts;
        let contract = match side {
            JoinSide::Left => left,
            JoinSide::Right => right,
        };
        Some(Remade { join, law: price.law().clone(), side, contract })
    }

    async fn own_again(
        &self,
        kept: &Committed,
        remade: &Remade,
        party: &JoinParty,
        files: &SessionFiles,
    ) -> Result<Replay, MatchError> {
        let (checked, terms) = (remade.join.side(remade.side), remade.join.terms());
        let purpose = PurposeId::new(kept.purpose.clone()).map_err(|_| MatchError::Failed)?;
        let who = self.state.participation_at(&purpose, kept.by_consent, kept.moment).await?;
        let own = self.make_own_list(checked, terms, &remade.contract, &who, party, files).await?;
        Ok(compared(&own.hash, &kept.own))
    }

    async fn sent_on_again(
        &self,
        session: &[u8; 32],
        sent: &Sent,
        remade: &Remade,
        params: &JoinParams,
        party: &JoinParty,
        files: &SessionFiles,
    ) -> Result<Replay, MatchError> {
        // With the session its files are deleted, and with them what the other side sent.
        let Ok(theirs) = self.state.session_files(session).await else { return Ok(Replay::Gone) };
        let other = remade.side.other();
        let labels = remade.join.side(other).labels();
        block_in_place(|| {
            let exchange = Exchange::open(&theirs, psi_side(other), params, party, labels)?;
            let (peer, list) = exchange.whole()?;
            if compared(&exchange.hash()?, &sent.received) != Replay::Equal {
                return Ok(Replay::Different);
            }
            let made = lists::sent_on(party, list, &party.counterparts(peer)?, labels, files)?;
            Ok(compared(&made.hash, &sent.sent_on))
        })
    }
}

fn compared(made: &[u8; 32], sent: &[u8; 32]) -> Replay {
    if made == sent { Replay::Equal } else { Replay::Different }
}
