//! A join made once more inside its agency, for overseers: whether what was committed to and sent is what the seed, the
//! cut and the protocol make.

use super::exchange::Exchange;
use super::prepare::params_of;
use super::{leaf_of, lists, party, psi_side};
use crate::app::App;
use crate::app::matching::MatchError;
use firebreak_audit::LeafKind;
use firebreak_domain::{Contract, JoinSide, PurposeId, RequestId};
use firebreak_node::{Evidence, StoredQuestion};
use firebreak_privacy::join::{JoinTakers, join_price};
use firebreak_psi::join::{JoinParams, JoinParty};
use firebreak_query::{CheckedJoin, check_join};
use firebreak_records::{Committed, Sent, join_key_hash, join_seed_hash};
use firebreak_store::SessionFiles;
use std::sync::Arc;
use tokio::task::block_in_place;

/// What became of one thing that was made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// It is what was committed to.
    Equal,
    /// It is not.
    Different,
    /// The join did not come so far.
    NotSent,
    /// It cannot be made again: the other side's list is gone with the session, or the contract or the cut with which
    /// the own list was made.
    Gone,
    /// The program with which the join was begun committed to no such thing.
    NotCommitted,
}

/// A side of a join that was made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replayed {
    /// The session.
    pub session: [u8; 32],
    /// The leaf that commits, as the log names it; none where what is kept is no evidence.
    pub leaf: Option<[u8; 32]>,
    /// Whether that leaf opens to exactly the seed, key, terms and own list that are kept. Needs no contract.
    pub commitment: Replay,
    /// The terms: whether the question's meaning, the labels and the law of the dummies that are kept, and by which all
    /// else is made again, are those that the two sides compared. Needs no contract.
    pub terms: Replay,
    /// The public key. It follows from the seed and needs no contract.
    pub key: Replay,
    /// The own list: records, dummies and the key that blinds them.
    pub own_list: Replay,
    /// The points that were added to the other side's list. They need no contract.
    pub added: Replay,
    /// The list that was sent on.
    pub sent_on: Replay,
    /// What is kept of the commitment.
    pub committed: CommittedHashes,
    /// What is kept of what was sent.
    pub sent: Option<SentHashes>,
}

/// What stands in the leaf of a commitment, if it opens to what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommittedHashes {
    /// Of the seed, with a word before it.
    pub seed: [u8; 32],
    /// SHA-256 of the public key that this side shows.
    pub key: Option<[u8; 32]>,
    /// SHA-256 of all that both sides go by.
    pub terms: [u8; 32],
    /// SHA-256 of the own list.
    pub own_list: [u8; 32],
}

/// What stands in the leaf of the end, and beside it the other side's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SentHashes {
    /// SHA-256 of the other side's list as it came: what that side committed to as its own.
    pub received: [u8; 32],
    /// SHA-256 of the points that were added to it.
    pub added: [u8; 32],
    /// SHA-256 of the list that was sent on.
    pub sent_on: [u8; 32],
    /// SHA-256 of the public key that the other side showed: what that side committed to as its key.
    pub their_key: [u8; 32],
}

/// What an own list is made again from, beside the cut.
struct Remade {
    join: CheckedJoin,
    side: JoinSide,
    contract: Arc<Contract>,
}

impl Replayed {
    /// What is known of a session with nothing but what is kept of it.
    fn of(session: [u8; 32], kept: &Committed, sent: Option<&Sent>) -> Self {
        let evidence = Evidence::decode(&kept.evidence);
        let agreed = kept.drawn.as_ref().map(|drawn| drawn.agreed.terms(&session, &kept.release_key));
        let unsent = if sent.is_some() { Replay::Gone } else { Replay::NotSent };
        Self {
            session,
            leaf: evidence.as_ref().map(|evidence| *leaf_of(evidence).as_bytes()),
            commitment: opened(kept, evidence.as_ref()),
            terms: agreed.map_or(Replay::NotCommitted, |terms| compared(&terms, &kept.terms)),
            key: if kept.drawn.is_some() { Replay::Gone } else { Replay::NotCommitted },
            own_list: Replay::Gone,
            added: unsent,
            sent_on: unsent,
            committed: CommittedHashes {
                seed: join_seed_hash(&kept.seed),
                key: kept.drawn.as_ref().map(|drawn| drawn.key),
                terms: kept.terms,
                own_list: kept.own,
            },
            sent: sent.map(|sent| SentHashes {
                received: sent.received,
                added: sent.added,
                sent_on: sent.sent_on,
                their_key: join_key_hash(&sent.key),
            }),
        }
    }
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
            let kept = Committed::decode(&kept).ok_or(MatchError::Failed)?;
            let sent = self.state.sent_join(&session).await?;
            let sent = sent.map(|sent| Sent::decode(&sent).ok_or(MatchError::Failed)).transpose()?;
            replayed.push(self.replay(session, &kept, sent.as_ref()).await?);
        }
        Ok(replayed)
    }

    async fn replay(&self, session: [u8; 32], kept: &Committed, sent: Option<&Sent>) -> Result<Replayed, MatchError> {
        let mut replayed = Replayed::of(session, kept, sent);
        let Some((side, params)) = drawn(kept) else { return Ok(replayed) };
        let party = party(&session, kept.terms, side, &kept.seed, params.clone())?;
        replayed.key = key_again(kept, &party);
        let scratch = self.state.scratch_files()?;
        let files = scratch.files();
        if let Some(remade) = self.remade(kept) {
            replayed.own_list = self.own_again(kept, &remade, &party, files).await?;
        }
        if let Some(sent) = sent {
            replayed.added = block_in_place(|| added_again(sent, &party))?;
            // With the session its files are deleted, and with them what the other side sent.
            if let Ok(theirs) = self.state.session_files(&session).await {
                replayed.sent_on = block_in_place(|| sent_on_again(&theirs, sent, side, &params, &party, files))?;
            }
        }
        Ok(replayed)
    }

    /// The question and contracts of a session, if they are still those that it was begun with.
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
        join_price(&join, takers).ok().filter(|price| *price.release_key().as_bytes() == kept.release_key)?;
        let side = join.side_of(self.recorder.organisation())?.side();
        let [left, right] = contracts;
        let contract = match side {
            JoinSide::Left => left,
            JoinSide::Right => right,
        };
        Some(Remade { join, side, contract })
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
        match self.make_own_list(checked, terms, &remade.contract, &who, party, files).await {
            Ok(own) => Ok(compared(&own.hash, &kept.own)),
            // What else is kept is answered all the same.
            Err(MatchError::Dataset(error)) => {
                tracing::warn!(error_kind = %error, "a cut of which a join is to be made again is not there");
                Ok(Replay::Gone)
            }
            Err(error) => Err(error),
        }
    }
}

/// Which side it is and how its dummies are drawn, as it is kept. Nothing where the program that began the join kept no
/// such thing, or where no side can have drawn by what is kept: that is not what both sides went by then.
fn drawn(kept: &Committed) -> Option<(JoinSide, JoinParams)> {
    let drawn = kept.drawn.as_ref()?;
    Some((drawn.side, params_of(&drawn.agreed).ok()?))
}

/// Whether the leaf of a commitment opens to exactly what is kept, behind the line of its request.
fn opened(kept: &Committed, evidence: Option<&Evidence>) -> Replay {
    let committed = evidence.filter(|evidence| evidence.leaf.leaf().kind == LeafKind::JoinCommitted);
    let lines = committed.and_then(|evidence| {
        let (request, lines) = std::str::from_utf8(&evidence.opening.payload).ok()?.split_once('\n')?;
        request.starts_with("request sha256 ").then_some(lines)
    });
    let due: String = kept.lines().iter().map(|line| format!("{line}\n")).collect();
    if lines == Some(due.as_str()) { Replay::Equal } else { Replay::Different }
}

/// Whether the key that was committed to is that of the seed.
fn key_again(kept: &Committed, party: &JoinParty) -> Replay {
    kept.drawn.as_ref().map_or(Replay::NotCommitted, |drawn| compared(&join_key_hash(&party.key()), &drawn.key))
}

/// Whether what was added to the other side's list is drawn from the seed, beside the key that the other one showed.
fn added_again(sent: &Sent, party: &JoinParty) -> Result<Replay, MatchError> {
    // What nobody could have gone on with is not what was met.
    let Ok(peer) = party.meet(&sent.key) else { return Ok(Replay::Different) };
    Ok(compared(&lists::hash_of_added(&party.counterparts(&peer)?), &sent.added))
}

/// Whether the list that was sent on is the other side's, as it lies in the session's files, raised, and what is added.
fn sent_on_again(
    theirs: &SessionFiles,
    sent: &Sent,
    side: JoinSide,
    params: &JoinParams,
    party: &JoinParty,
    files: &SessionFiles,
) -> Result<Replay, MatchError> {
    let other = psi_side(side.other());
    let labels = params.labels(other);
    let Ok(exchange) = Exchange::open(theirs, other, params, party, labels) else { return Ok(Replay::Gone) };
    let (Ok((peer, list)), Ok(received)) = (exchange.whole(), exchange.hash()) else { return Ok(Replay::Gone) };
    if received != sent.received {
        return Ok(Replay::Different);
    }
    let made = lists::sent_on(party, list, &party.counterparts(peer)?, labels, files)?;
    Ok(compared(&made.hash, &sent.sent_on))
}

fn compared(made: &[u8; 32], committed: &[u8; 32]) -> Replay {
    if made == committed { Replay::Equal } else { Replay::Different }
}

#[cfg(test)]
#[path = "replay_tests.rs"]
mod tests;
