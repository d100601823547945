//! Two agencies' lists of points that meet at a third party, which counts what both have and learns no record.
//!
//! Each side has a key of its own for the session. It blinds its records with it and sends the list to the other side,
//! which raises every point to its own key and sends it on: a record that both sides have comes to one point, whichever
//! way round it went, and the third party sees which of the two lists' points are equal, by the labels that they carry.
//!
//! | step | a side | |
//! | --- | --- | --- |
//! | 1 | [`JoinParty::new`], [`JoinParty::key`] | to the other side, which checks it: [`JoinParty::meet`] |
//! | 2 | [`JoinParty::blind`] for all records, [`JoinParty::own_dummies`], [`PointList::of`] | to the other side: [`PointList::read`] |
//! | 3 | [`JoinParty::raise`] for the other's list, [`JoinParty::counterparts`], [`PointList::of`] | to the third party |
//!
//! A side that does not hold its records in memory begins with [`JoinParty::of`], blinds them block by block with
//! [`JoinParty::blind_records`], and reads the other's list by [`PointStream`].
//!
//! What makes a count a release, and the third party's view one too, is *dummies* ([`dummies`](self)): points that both
//! lists have though no record is behind them. How many a side draws for each pair of labels follows a law that the
//! caller gives as weights; the third party knows its centre and no more.
//!
//! Protocol, the parties' views, the theorem and its proof stand in `docs/JOIN_PRIVACY.md`. It holds for parties that
//! follow the protocol. Everything random follows from one seed, so that a side sends the same bytes when it resumes, and
//! overseers can have a session replayed.

mod dummies;
mod list;
mod party;
mod proof;
mod stream;

#[cfg(test)]
mod tests;

pub use list::{ENTRY, Entry, PointList, label_of};
pub use party::{JoinParty, PeerKey};
pub use proof::{JoinSession, KEY_WITH_PROOF};
pub use stream::{PointStream, check_points};

use crate::PsiError;

/// The most pairs of labels of a join.
pub const MAX_CELLS: usize = 4096;
/// The most dummies that a law may have in a cell.
const MAX_DUMMIES: usize = 1024;

/// One of the two sides of a join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JoinSide {
    /// The side that a question names first.
    Left,
    /// The other.
    Right,
}

impl JoinSide {
    /// The side opposite.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }

    const fn byte(self) -> u8 {
        match self {
            Self::Left => b'L',
            Self::Right => b'R',
        }
    }
}

/// What both sides of a join declare before its first byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinParams {
    left_labels: u16,
    right_labels: u16,
    weights: Vec<u64>,
}

impl JoinParams {
    /// Parameters of a join. The left side's records have one of `left_labels` labels each, counted from 0, and the right
    /// side's one of `right_labels`. `weights` are those of 0, 1, 2 … dummies in a cell, an odd number of them; the law
    /// is that of each side, and of the points without a counterpart that each puts under each of its labels.
    ///
    /// # Errors
    /// [`PsiError::Parameters`].
    pub fn new(left_labels: u16, right_labels: u16, weights: Vec<u64>) -> Result<Self, PsiError> {
        let cells = usize::from(left_labels) * usize::from(right_labels);
        if cells == 0 || cells > MAX_CELLS {
            return Err(PsiError::Parameters("a join has 1 to 4,096 pairs of labels"));
        }
        if weights.len().is_multiple_of(2) || weights.len() > MAX_DUMMIES + 1 || weights.contains(&0) {
            return Err(PsiError::Parameters(
                "a law of dummies has an odd number of weights above zero, at most 1,025",
            ));
        }
        Ok(Self { left_labels, right_labels, weights })
    }

    /// How many labels the records of a side have.
    #[must_use]
    pub const fn labels(&self, side: JoinSide) -> u16 {
        match side {
            JoinSide::Left => self.left_labels,
            JoinSide::Right => self.right_labels,
        }
    }

    /// The most dummies of a side in a cell.
    #[must_use]
    pub const fn most_dummies(&self) -> u32 {
        // At most MAX_DUMMIES.
        self.weights.len() as u32 - 1
    }

    /// By how many points of each label the list that a side sends on is longer than the one that it was sent: the same
    /// whatever it drew.
    #[must_use]
    pub const fn added(&self, side: JoinSide) -> u64 {
        self.most_dummies() as u64 * self.labels(side) as u64
    }
}
