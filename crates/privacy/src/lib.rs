//! Measurement: the one place where an exact value becomes a release.
//!
//! ```text
//! CheckedQuery ──price──► Price ─┐
//! decision ─────────────► Permit ┼─► Funded ──draw_noise──► Armed ──measure(Exact)──► Released ──answer──► Answer
//! ledger ──────────► Reservation ┘                                        ▲              │
//!                                                       engine ───────────┘       encode │ decode
//! ```
//!
//! - [`price`] says what an answer costs and what noise it will carry, from the query and its contract alone.
//! - [`Funded`] joins price, permit and reservation; [`Funded::release`] is the order in which an adapter answers.
//! - [`Exact`] holds what an engine computed. It has one exit: [`Armed::measure`].
//! - [`Released`] holds noisy whole numbers and has one encoding, which is what is stored and repeated.
//! - [`join`] counts two agencies' lists of points, in which the noise is already when they meet.
//! - [`Released::answer`] works out values, standard errors and intervals, which costs nothing.
//!
//! The theorems that this rests on, aggregate by aggregate, stand in `docs/PRIVACY.md`.

mod accuracy;
mod exact;
pub mod join;
mod measure;
mod noise;
mod price;
mod release;

pub use accuracy::{
    Answer, AnswerColumn, AnswerRow, AnswerSelection, Estimate, ObservationStatus, OtherQuery, SHOWN_DELTA,
    UNRELIABLE_ABOVE, UNRELIABLE_RANK_ABOVE, answer_together, compared, deviation, deviations, epsilon_text,
    shown_epsilon,
};
pub use exact::{Exact, ExactCells};
pub use measure::{Armed, Funded, FundingError, MeasureError, Measured, RunError};
pub use noise::{MAX_SIGMA, NoiseError, NoisePlan, SELECTION_DELTA, Scale, Selection};
pub use price::{Price, price, rho_for_half_width};
pub use release::{ReleaseFormatError, Released, SelectedGroups};
