//! Statistics over a join of two agencies' records, as far as they are numbers: how many *matching dummies* a side
//! draws ([`DummyLaw`]), and how the third party, to which both lists of points come, counts them ([`count`]).
//!
//! The noise is in the lists already when they meet. What is counted here is therefore a release and no exact value.
//! Protocol, views, theorem and proof stand in `docs/JOIN_PRIVACY.md`; the points are made in `firebreak-psi`.

mod count;
mod law;
mod price;

pub use count::{JoinCells, JoinList, JoinListError, ListSide, Point, count, points};
pub use law::{DummyLaw, DummyLawError};
pub use price::{JoinPrice, JoinTakers, OtherJoin, join_price};
