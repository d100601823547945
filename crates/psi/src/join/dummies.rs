//! Points with no record behind them.
//!
//! A *matching dummy* of a side for the labels (mine, theirs) is x·r·G in its own list, where x is its key and r a secret
//! of the dummy, and r·x·K in the list that it sends on, where K is the other side's key y·G. The other side raises the
//! first to y like any point: both are x·y·r·G where they meet. To it the first looks like a blinded record, and to the
//! third party both do.
//!
//! A *single dummy* is such a point in its own list alone. *Fill* is such a point in the list that is sent on alone: for
//! each pair of labels as many as there could have been more dummies. PRIVACY: so that list's length says nothing of how
//! many there were, nor does the time in which it is made, since all of its points are made alike.

use super::{JoinParams, JoinSide, list};
use crate::secret::Prf;
use crate::{PsiError, wire};
use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use zeroize::Zeroizing;

/// How many dummies a side has drawn.
pub(super) struct Dummies {
    /// Of each pair of labels, row by row of the left side's.
    matching: Vec<u32>,
    /// Of each of its own labels, without a counterpart.
    single: Vec<u32>,
}

/// Half of a point and the label that it will have.
pub(super) type Half = (RistrettoPoint, u16);

impl Dummies {
    pub(super) fn draw(side: JoinSide, params: &JoinParams, secrets: &Prf) -> Self {
        let cells = usize::from(params.left_labels) * usize::from(params.right_labels);
        let draw = |kind: u8, of: usize| {
            (0..of).map(|number| drawn(&params.weights, secrets, kind, number as u64)).collect::<Vec<_>>()
        };
        Self { matching: draw(b'T', cells), single: draw(b'U', usize::from(params.labels(side))) }
    }

    /// Each pair of labels as a side sees it: (its number, mine, theirs, dummies).
    fn cells(&self, side: JoinSide, params: &JoinParams) -> impl Iterator<Item = (u64, u16, u16, u32)> {
        let columns = u64::from(params.right_labels);
        (0..).zip(self.matching.iter().copied()).map(move |(cell, number): (u64, u32)| {
            // Both below 2¹⁶: there are as many cells as pairs of labels.
            let (left, right) = ((cell / columns) as u16, (cell % columns) as u16);
            match side {
                JoinSide::Left => (cell, left, right, number),
                JoinSide::Right => (cell, right, left, number),
            }
        })
    }

    /// Those of a side's own list.
    pub(super) fn own(&self, side: JoinSide, params: &JoinParams, secrets: &Prf, key: &Scalar) -> Vec<Half> {
        let half = Zeroizing::new(key.div_by_2());
        let matching = self.cells(side, params).flat_map(|(cell, mine, _, number)| {
            let half = &half;
            (0..number).map(move |dummy| (half_of(half, &secret(secrets, MATCHING, cell, dummy)), mine))
        });
        let single = (0..).zip(&self.single).flat_map(|(label, number): (u16, &u32)| {
            let half = &half;
            (0..*number).map(move |dummy| (half_of(half, &secret(secrets, SINGLE, label.into(), dummy)), label))
        });
        matching.chain(single).collect()
    }

    /// Those of the list that a side sends on, with what fills it up.
    pub(super) fn sent_on(
        &self,
        side: JoinSide,
        params: &JoinParams,
        secrets: &Prf,
        key: &Scalar,
        peer: &RistrettoPoint,
    ) -> Vec<Half> {
        let half = Zeroizing::new(key.div_by_2());
        let most = params.most_dummies();
        let cells = self.cells(side, params).flat_map(|(cell, _, theirs, number)| {
            let half = &half;
            (0..most).map(move |dummy| {
                let kind = if dummy < number { MATCHING } else { FILL };
                ((**half * *secret(secrets, kind, cell, dummy)) * peer, theirs)
            })
        });
        cells.collect()
    }

    #[cfg(test)]
    pub(super) fn matching(&self) -> &[u32] {
        &self.matching
    }
}

/// A draw by its weights: exact, by rejection, in a time that says nothing of what comes out.
fn drawn(weights: &[u64], secrets: &Prf, kind: u8, number: u64) -> u32 {
    // At most 2⁷⁴: weights have 64 bits, and there are at most 1,025.
    let total: u128 = weights.iter().copied().map(u128::from).sum();
    let most = u128::MAX - u128::MAX % total;
    let mut tries = 0_u64..;
    let uniform = loop {
        let block = secrets.block(kind, &[&number.to_be_bytes(), &tries.next().unwrap_or_default().to_be_bytes()]);
        let (first, _) = block.as_chunks::<16>();
        // The chance of another try is below 2⁻⁵⁴.
        match first.first().map(|bytes| u128::from_be_bytes(*bytes)) {
            Some(found) if found < most => break found % total,
            _ => {}
        }
    };
    let mut upto = 0;
    // All weights are looked at, and none of the outcomes is left early.
    weights.iter().fold(0, |below, weight| {
        upto += u128::from(*weight);
        below + u32::from(upto <= uniform)
    })
}

/// Kinds of a dummy, each with secrets of its own.
const MATCHING: u8 = b'R';
const SINGLE: u8 = b'S';
const FILL: u8 = b'F';

/// The secret of a dummy of a pair of labels, or of one label.
fn secret(secrets: &Prf, kind: u8, of: u64, dummy: u32) -> Zeroizing<Scalar> {
    let wide = secrets.block(kind, &[&of.to_be_bytes(), &dummy.to_be_bytes()]);
    Zeroizing::new(Scalar::from_bytes_mod_order_wide(&wide))
}

/// Half of the point of a dummy in the own list.
fn half_of(half: &Scalar, secret: &Scalar) -> RistrettoPoint {
    RistrettoPoint::mul_base(&(half * secret))
}

/// The points of which these are the halves.
pub(super) fn encoded(halves: &[Half]) -> Result<Vec<list::Entry>, PsiError> {
    use curve25519_dalek::traits::IsIdentity;
    // INVARIANT: none is the identity, which does not happen by chance and would not be encoded.
    if halves.iter().any(|(half, _)| half.is_identity()) {
        return Err(PsiError::DegenerateHash);
    }
    let points: Vec<RistrettoPoint> = halves.iter().map(|(half, _)| *half).collect();
    let encodings = wire::double_and_encode(&points);
    Ok(encodings.iter().zip(halves).map(|(encoding, (_, label))| list::entry(encoding, *label)).collect())
}
