//! The durable state of a gateway or an adapter: a file of this crate per subject, all of it in one SQLite
//! database under one folder that one program holds at a time.
//!
//! What it promises:
//! - What a method reports as done is on the disk (`synchronous=FULL`) before it returns.
//! - Privacy loss is recorded before anything is executed, and is never forgotten: the ledger is a hash
//!   chain, from which every balance is computed anew when the state is opened.
//! - A release and the leaf that tells of it are stored together, or neither is.
//! - What tells of the request that a release was measured for is given back to that very request alone.
//! - Principals are kept under a keyed hash, values about a person sealed and found by a keyed index.
//!
//! There is no SQL outside this crate and nothing of it in a log: the methods of [`State`] are named for the
//! transactions that they run. One task writes, and puts all that waits into one transaction.
//!
//! | subject | file | methods of [`State`] |
//! | --- | --- | --- |
//! | folder, lock, key | `state`, `key` | [`State::open`], [`State::close`] |
//! | time, bundles | `watermark` | [`State::now`], [`State::accept_bundle`], [`State::accepted_bundle`] |
//! | privacy loss | `accounts`, `ledger` | [`State::reserve`], [`State::abandon`], [`State::balance`], [`State::losses`], [`State::verify_chain`] |
//! | releases | `releases` | [`State::settle`], [`State::release`], [`State::release_of`] |
//! | leaves for the log | `outbox` | [`State::record_leaf`], [`State::outstanding`], [`State::confirm`] |
//! | what overseers read | `openings` | [`State::keep_sealed`], [`State::sealed_openings`] |
//! | ledger and log | `reconcile` | [`State::check_not_behind`], [`State::head_at`] |
//! | caps of a match | `caps` | [`State::charge_evaluations`], [`State::charge_tags`], [`State::counted`] |
//! | match sessions | `sessions` | [`State::open_session`], [`State::keep_opening`], [`State::close_session`] |
//! | epochs of matches | `sessions/epochs` | [`State::open_epoch`], [`State::close_epochs`], [`State::epochs`] |
//! | what a join is replayed from | `joins` | [`State::keep_join`], [`State::end_join`], [`State::kept_join`] |
//! | a session's files | `files` | [`State::session_files`] |
//! | what agencies have closed | `closed` | [`State::keep_closed`], [`State::closed`] |
//! | publications | `publications` | [`State::draft_publication`], [`State::publish`], [`State::publications`] |
//! | who takes part | `choices` | [`State::record_choice`], [`State::participation`] |
//! | registers | `registers` | [`State::record_matched`], [`State::complete_matched`], [`State::matches_of`], [`State::record_offered`] |
//! | what matches disclosed | `disclosed` | [`State::record_disclosed`], [`State::disclosed_values`], [`State::delete_disclosed`] |
//! | by which key was matched | `match_keys` | [`State::record_matched_by`], [`State::matched_by`] |
//! | what of matches was handed out | `handed_out` | [`State::record_handed_out`], [`State::handed_out`] |

mod accounts;
mod batch;
mod caps;
mod checkpoint;
mod choices;
mod closed;
mod codec;
mod disclosed;
mod error;
mod files;
mod handed_out;
mod joins;
mod key;
mod ledger;
mod match_keys;
mod openings;
mod outbox;
mod publications;
mod reconcile;
mod registers;
mod releases;
mod schema;
mod scrub;
mod seal;
mod sessions;
mod state;
mod verify;
mod watermark;
mod writer;

pub use accounts::{
    Abandoned, AccountClass, AccountKind, AccountLimit, Claim, PersonLoss, RequestKey, Reservation, ReserveError,
    Reserved,
};
pub use caps::{CapError, CapOutcome, CappedKey, EvaluationChunk, TagsHandedOut};
pub use choices::{Choice, Participation, PersonReference, RecordedChoice};
pub use disclosed::{DisclosedValues, Disclosure};
pub use error::{Fault, OpenError, StoreError};
pub use files::{
    LookUp, LookUpWriter, RecordFile, RecordReader, RecordWriter, ScratchFiles, SessionFiles, Sorted, Sorter, Spool,
};
pub use handed_out::{HandOutForm, HandedOut, NewHandedOut, RecordedMatch};
pub use key::{KeyError, StateKey};
pub use ledger::LedgerHead;
pub use match_keys::MatchedBy;
pub use outbox::{Backlog, FollowerError, LeafHash, LogView, NewLeaf, OutstandingLeaf};
pub use publications::{NewPublication, PublicationStage, PublishedAs, StepTaken, StoredPublication};
pub use reconcile::ReconcileError;
pub use registers::{MatchedEntry, MatchedPage, OfferedEntry};
pub use releases::{AnsweredQuestion, OwnRelease, ReleaseId, ReleaseKey, Settled, StoredRelease};
pub use seal::{SealError, Sealer};
pub use sessions::{CommittedSetSource, KeptEpoch, OpenBound, OpenSession, SessionError};
pub use state::State;
pub use verify::ChainError;
pub use watermark::{AcceptedBundle, BundleError};

/// How rows are written before they are sealed: for the fuzz targets, and for nothing else.
#[doc(hidden)]
pub mod rows {
    pub use crate::accounts::{account_again, account_for_life};
    pub use crate::disclosed::{
        columns as read_columns, decode as decode_disclosed, encode as encode_disclosed, joined as joined_columns,
    };
    pub use crate::handed_out::{decode as decode_handed_out, encode as encode_handed_out};
    pub use crate::ledger::entry_again;
}
