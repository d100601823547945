//! How an adapter writes down what a match or a join goes on from, and how that is read again: by the same program, or by
//! the next one after a restart.
//!
//! What it promises: each record has one text. A decoder takes what its encoder writes and nothing else, gives `None` for
//! all other bytes, and never panics. Numbers are big-endian; records of one file have one length, so that they can be
//! sorted and found by their place.
//!
//! Nothing here opens a file or seals anything: `firebreak-store` does, so that what is read was written by whoever has the
//! key of the state. What these decoders refuse was therefore never written, or by a program with other records.
//!
//! | subject | module | records |
//! | --- | --- | --- |
//! | an identifier; a person's key | `item`, `person` | what those below are made of |
//! | the set of a receiver, while it is formed | `forming` | [`Selected`], [`Ranked`] |
//! | the set of a receiver, once it is formed | `set` | [`FormedSet`], [`InEpoch`], [`Behind`], [`Withheld`], [`SetOpening`] |
//! | of what a set is read | `reading` | [`Reading`] |
//! | what a receiver has of a sender | `received` | [`Stated`], [`OwnTag`], [`Compared`], [`AtPlace`], [`Matched`], [`RowStatus`] |
//! | what a sender offers and has sent | `offered` | [`OfferedRecord`], [`OfferedEntry`], [`SentPiece`], [`EvaluatedChunk`] |
//! | a join: its records, and what the other side stated | `join` | [`JoinRow`], [`JoinRecord`], [`JoinStated`] |
//! | what a join is replayed from | `replayed` | [`Committed`], [`Drawn`], [`Sent`] |

mod fields;
mod forming;
mod item;
mod join;
mod offered;
mod person;
mod reading;
mod received;
mod replayed;
mod set;

pub use forming::{NAME, RANK, Ranked, Selected, Stands, name_hash};
pub use item::{ITEM, holds_nothing, item, put_item};
pub use join::{JoinRecord, JoinRow, JoinStated, NO_LABEL, VALUE};
pub use offered::{EvaluatedChunk, OfferedEntry, OfferedRecord, SentPiece};
pub use person::{KEY, LONGEST_KEY, is_readable, key, put_key};
pub use reading::{Read, Reading};
pub use received::{AtPlace, Compared, INDEX, Matched, OwnTag, RowStatus, Stated};
pub use replayed::{Committed, Drawn, Sent, commitment_lines, join_key_hash, join_seed_hash};
pub use set::{Behind, FormedSet, InEpoch, PLACE, SetOpening, Withheld};
