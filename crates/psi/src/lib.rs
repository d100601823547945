//! The private set intersection behind a permitted match, as pure state machines over bytes.
//!
//! The **receiver** learns which of its own inputs the **sender** holds. The sender learns a padded size and
//! nothing else: what it receives has the same length and the same distribution whatever matches.
//!
//! | step | receiver | sender |
//! | --- | --- | --- |
//! | 1 | [`Receiver::new`], [`Receiver::root`] goes to the log | [`derive_session_key`], [`Sender::new`] |
//! | 2 | for each chunk: [`Receiver::blind_chunk`] | [`Sender::evaluate`] |
//! | 3 | [`Receiver::verify_chunk`], [`Receiver::accept`] | |
//! | 4 | [`Receiver::push_tags`] | [`Sender::tag_list`] |
//! | 5 | acknowledge, then [`Receiver::finish`] | |
//!
//! Underneath is the oblivious PRF of RFC 9497 in its suite ristretto255-SHA512 (§4.1), mode VOPRF (§3.3.2) or, where
//! both sides want no proofs, OPRF (§3.3.1), in [`oprf`]. A tag is a PRF output cut to [`MatchParams::tag_bytes`].
//!
//! # What is proved, and what is not
//! In mode VOPRF, the proof that comes with each chunk (RFC 9497 §2.2) shows that the sender raised **every blinded element of
//! the chunk to the one key** whose public half the session names. It says nothing of the **tag list**: a sender
//! may leave records out of it, put guessed identifiers in, or use another key for it. Nor does it say anything of the
//! rows that stand beside tags where a match has a payload ([`PayloadKey`]). A receiver that lies about
//! its set is not stopped here either: the sender's cap on evaluations bounds it, and the commitment
//! ([`Receiver::root`]) lets overseers have a sample of the set opened.
//!
//! A side whose set does not fit into memory keeps it itself and takes the parts of which the two are made: [`Shuffle`],
//! [`CommitmentBuilder`], [`Blinding`] and [`TagStream`] for the one, [`Evaluator`] for the other. The bytes are the same.
//!
//! Nothing here does I/O, waits or starts a thread. The expensive calls take `&self` and one chunk or range, so a
//! caller may run them on as many threads as it likes. The one outside thing is the operating system's
//! randomness, for the nonces of proofs and for [`SecretSeed::generate`].

mod blinding;
mod chunk;
mod commitment;
mod error;
mod expand;
pub mod join;
mod key;
pub mod normalise;
pub mod oprf;
mod params;
mod payload;
mod receiver;
mod sample;
mod secret;
mod sender;
mod set;
mod tag;
mod wire;

#[cfg(test)]
mod session_tests;

pub use blinding::{BlindedChunk, Blinding, VerifiedChunk};
pub use chunk::{ChunkId, SessionId};
pub use commitment::{Commitment, CommitmentBuilder, Opening, Root, verify_opening};
pub use error::PsiError;
pub use key::{KeyContext, SessionKey, derive_session_key};
pub use normalise::{NormalisedInput, Normaliser};
pub use oprf::{Mode, PublicKey, ReadBatch};
pub use params::{MAX_CHUNK, MatchParams, padded_size};
pub use payload::{PAYLOAD_KEY_BYTES, PayloadKey, SEAL_BYTES};
pub use receiver::{Matches, Receiver, SlotOpening};
pub use sample::{SampleBuilder, sample_places};
pub use secret::SecretSeed;
pub use sender::{Evaluator, Sender, Tags};
pub use set::{CommittedSet, Shuffle, Slot};
pub use tag::{TagList, TagStream};

/// The number of the formats that this crate defines: chunks, tag lists, key contexts, commitments. It stands in
/// the session's manifest, as [`MatchParams::format`].
pub const FORMAT: u32 = 1;
