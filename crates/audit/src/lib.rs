//! Evidence: a tamper-evident log of what was released, refused, matched and exported, that an outsider verifies
//! with no server and with tools that are not ours.
//!
//! The log is a folder of static files in the C2SP tlog-tiles format (<https://c2sp.org/tlog-tiles>): `checkpoint`, a
//! signed note (<https://c2sp.org/tlog-checkpoint>); `tile/<L>/<N>`, the hashes of the Merkle tree of RFC 6962;
//! `tile/entries/<N>`, the leaves. A leaf is readable text under the signature of whoever acted ([`SignedLeaf`]).
//!
//! - [`Log`] writes such a folder: leaves are appended in groups and exist once a checkpoint over them is durable.
//! - [`PublishedLog`] is the log under one checkpoint: entries, proofs and receipts, read while the log is written.
//! - [`Receipt`] is what a caller keeps: the leaf, the proof that it is in the log, and the opening of its commitment.
//! - [`SealedOpening`] is what overseers keep: the opening and the request that it is about, readable with their keys.
//! - [`Follower`] is what an adapter keeps: the last checkpoint it accepted, and the demand that each extends the last.
//! - [`verify_folder`] checks every byte of a folder and of receipts, and names the file that is wrong;
//!   [`verified_leaves`] gives what then stands in it.
//!
//! Nothing here waits for a network or keeps time; numbering leaves among writers is the gateway's part.

#[cfg(test)]
extern crate self as firebreak_audit;
#[cfg(test)]
#[path = "../tests/sample/mod.rs"]
mod sample;

mod entries;
mod folder;
mod follower;
mod leaf;
mod log;
mod note;
mod opening;
mod published;
mod receipt;
mod seal;
mod signed_leaf;
mod text;
mod tree;
mod verify;

pub use follower::{FollowError, Follower};
pub use leaf::{Hour, Leaf, LeafKind, OutputKind, SignerRole, SignerRoleError};
pub use log::{Log, LogError};
pub use note::{Checkpoint, CheckpointError, NoteKey, NoteKeyError, VerifierKey};
pub use opening::Opening;
pub use published::PublishedLog;
pub use receipt::{Receipt, ReceiptError, VerifiedReceipt};
pub use seal::{LogEntry, Opened, OpeningKey, SealError, SealedOpening, Sealer, request_line};
pub use signed_leaf::{LeafSignatureError, LeafSigner, LeafVerifier, SignedLeaf};
pub use text::TextError;
#[doc(hidden)]
pub use tree::tile_path_again;
pub use verify::{LogReport, VerifyError, VerifyProblem, verified_leaves, verify_folder};

/// A SHA-256 hash: of a leaf, of a node of the tree, of a root.
pub type Hash = [u8; 32];

/// The operating system gave no random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gave no random bytes")]
pub struct NoRandomness;
