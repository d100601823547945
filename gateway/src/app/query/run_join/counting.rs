//! Two lists of points counted as they come.

use super::{next, out_of_turn};
use crate::app::Failure;
use crate::app::agencies::{AgencyRefusal, JoinStep, JoinSteps};
use firebreak_domain::{OrgId, ReasonCode, Refusal};
use firebreak_privacy::join::{DummyLaw, JoinCells, JoinList, JoinListError, ListSide, Point, count, points};
use sha2::{Digest, Sha256};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::mpsc;

/// Pieces of a list that wait for being counted.
const WAITING: usize = 4;
/// Bytes of a point and its label.
const POINT: u64 = 34;

/// Why a join does not come to its end.
pub(super) enum Halted {
    /// An agency refuses.
    Refused(OrgId, Box<AgencyRefusal>),
    /// An agency gave no answer: how.
    Silent(OrgId, &'static str),
    /// It is refused here.
    Here(Refusal),
    /// What came to be counted is no list of a join.
    List(BadList),
    /// This program failed.
    Failed(Failure),
}

/// A list that was made in another way than the protocol's: by its owner, or by the other side, which sent it on.
#[derive(Clone)]
pub(super) struct BadList {
    pub(super) reason: ReasonCode,
    pub(super) owner: OrgId,
    pub(super) sender: OrgId,
}

impl BadList {
    /// What the caller is told. It says no number.
    pub(super) fn refusal(&self) -> Refusal {
        let Self { reason, owner, sender } = self;
        let what = format!("the list of {owner}, which {sender} sent on for counting, is not that of a join");
        let refusal = Refusal::new(*reason).because(what);
        refusal.instead("the question under a new request id, once the agencies have seen to it")
    }
}

/// What is to be counted.
pub(super) struct Lists {
    pub(super) law: DummyLaw,
    /// Left and right: the agency, what it goes on to say, and the sizes of its own list by label.
    pub(super) sides: [(OrgId, Box<dyn JoinSteps>, Vec<u64>); 2],
    /// How long a step may take.
    pub(super) bound: Duration,
}

/// What was counted, and of what.
pub(super) struct Counted {
    pub(super) cells: JoinCells,
    /// Left and right: SHA-256 of the list that the agency sent, by which overseers hold it against what it says it sent.
    pub(super) sent: [(OrgId, [u8; 32]); 2],
}

/// Counts what both sides send. Nothing of it is kept but a hash.
///
/// A side sends the *other's* list, raised and filled up, so that each list is checked against what its owner said of
/// it.
pub(super) async fn counted(lists: &mut Lists) -> Result<Counted, Halted> {
    let Lists { law, sides: [(left, from_left, left_sizes), (right, from_right, right_sizes)], bound } = lists;
    let (law, left_sizes, right_sizes, bound) = (law.clone(), left_sizes.clone(), right_sizes.clone(), *bound);
    let ((to_right, right_list), (to_left, left_list)) = (mpsc::channel(WAITING), mpsc::channel(WAITING));
    let most = |own: &[u64], others: usize| {
        let added = u64::from(law.most()).saturating_mul(others as u64).saturating_mul(own.len() as u64);
        own.iter().fold(added, |all, size| all.saturating_add(*size)).saturating_mul(POINT)
    };
    let (most_left, most_right) = (most(&left_sizes, right_sizes.len()), most(&right_sizes, left_sizes.len()));
    let cut_short = Arc::new(OnceLock::new());
    let arriving =
        |side, pieces| Arriving { side, pieces, ready: Vec::new().into_iter(), cut_short: Arc::clone(&cut_short) };
    let (left_points, right_points) = (arriving(ListSide::Left, left_list), arriving(ListSide::Right, right_list));
    let counting = tokio::task::spawn_blocking(move || {
        let one = JoinList { points: left_points, own_sizes: &left_sizes };
        let other = JoinList { points: right_points, own_sizes: &right_sizes };
        count(&law, one, other)
    });
    let (by_left, by_right) = tokio::join!(
        feed(from_left, [right, left], to_right, most_right, bound),
        feed(from_right, [left, right], to_left, most_left, bound),
    );
    let counted = counting.await.map_err(|_| Halted::Failed(Failure::Answer("the counting of a join")))?;
    let sent_on = |reason, of| {
        let (owner, sender) = match of {
            ListSide::Left => (&*left, &*right),
            ListSide::Right => (&*right, &*left),
        };
        hostile(reason, owner, sender)
    };
    // What no list is, however early it ends, comes before what the sides say; and that before a list that ended for it.
    let (by_left, by_right) = match (by_left, by_right) {
        (Err(found @ Halted::List(_)), _) | (_, Err(found @ Halted::List(_))) => return Err(found),
        both => both,
    };
    if let Err(error @ (JoinListError::Order(_) | JoinListError::Label(_))) = &counted {
        return Err(sent_on(reason_of(error), side_of(error)));
    }
    let (by_left, by_right) = (by_left?, by_right?);
    if let Some(side) = cut_short.get() {
        return Err(sent_on(ReasonCode::WrongCount, *side));
    }
    let cells = counted.map_err(|error| sent_on(reason_of(&error), side_of(&error)))?;
    Ok(Counted { cells, sent: [(left.clone(), by_left), (right.clone(), by_right)] })
}

/// Passes on what a side sends of the other's list, until it has said that it is done, or nobody counts any more. Gives
/// SHA-256 of what was passed on.
async fn feed(
    steps: &mut Box<dyn JoinSteps>,
    [owner, agency]: [&OrgId; 2],
    pieces: mpsc::Sender<Vec<u8>>,
    most: u64,
    bound: Duration,
) -> Result<[u8; 32], Halted> {
    let (mut bytes, mut hash) = (0_u64, Sha256::new());
    loop {
        match next(steps, agency, bound).await? {
            JoinStep::Points(points) => {
                bytes = bytes.saturating_add(points.len() as u64);
                if bytes > most {
                    return Err(hostile(ReasonCode::SizeExceeded, owner, agency));
                }
                hash.update(&points);
                if pieces.send(points).await.is_err() {
                    return Ok(hash.finalize().into());
                }
            }
            JoinStep::Sent => return Ok(hash.finalize().into()),
            step => return Err(out_of_turn(step, agency)),
        }
    }
}

fn hostile(reason: ReasonCode, owner: &OrgId, sender: &OrgId) -> Halted {
    Halted::List(BadList { reason, owner: owner.clone(), sender: sender.clone() })
}

const fn side_of(error: &JoinListError) -> ListSide {
    match error {
        JoinListError::Truncated(side)
        | JoinListError::Order(side)
        | JoinListError::Label(side)
        | JoinListError::Count { side, .. } => *side,
    }
}

const fn reason_of(error: &JoinListError) -> ReasonCode {
    match error {
        JoinListError::Truncated(_) => ReasonCode::WrongCount,
        JoinListError::Order(_) | JoinListError::Label(_) => ReasonCode::HostileInput,
        JoinListError::Count { due, found, .. } => {
            if *found > *due {
                ReasonCode::SizeExceeded
            } else {
                ReasonCode::WrongCount
            }
        }
    }
}

/// The points of a list, as its pieces come.
struct Arriving {
    side: ListSide,
    pieces: mpsc::Receiver<Vec<u8>>,
    ready: std::vec::IntoIter<Point>,
    /// Of which list a piece ended within a point, if one did.
    cut_short: Arc<OnceLock<ListSide>>,
}

impl Iterator for Arriving {
    type Item = Point;

    fn next(&mut self) -> Option<Point> {
        loop {
            if let Some(point) = self.ready.next() {
                return Some(point);
            }
            let piece = self.pieces.blocking_recv()?;
            match points(self.side, &piece) {
                Ok(points) => self.ready = points.collect::<Vec<_>>().into_iter(),
                Err(_) => {
                    // INVARIANT: of two lists that did, either is named.
                    let _ = self.cut_short.set(self.side);
                    return None;
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "counting_tests.rs"]
mod tests;
