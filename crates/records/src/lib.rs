//! How an adapter writes down what a match or a join goes on from, and how that is read again: by the same program, or
//! by the next one after a restart.
//!
//! What it promises: each record has one text. A decoder takes nothing but what its encoder writes of parts in their
//! stated lengths, gives `None` for all other bytes, and never panics. (An item of nothing and a key that is too long
//! are written, and read as none.) Numbers are big-endian; records that are sorted have one length in each file.
//!
//! Nothing here opens a file or seals anything: `firebreak-store` does, so that what is read was written by whoever has
//! the key of the state. What holds a person's identifier, key, tag, row or reference has no `Debug`, so that it cannot
//! end in a log. Vectors with such content are made in their full length: what one leaves behind as it grows is not
//! wiped. What is copied on the stack on its way, as an array, is not wiped either.
//!
//! | subject | module | records |
//! | --- | --- | --- |
//! | an identifier; a person's key | `item`, `person` | [`item_record`], [`key_record`], of which those below are made |
//! | the set of a receiver, while it is formed | `forming` | [`Selected`], [`Ranked`], [`Holder`] |
//! | the set of a receiver, once it is formed | `set` | [`FormedSet`], [`InEpoch`], [`Behind`], [`WithheldPlaces`], [`SetOpening`] |
//! | of what a set is read | `reading` | [`Reading`] |
//! | what a receiver has of a sender | `received` | [`Stated`], [`OwnTag`], [`Compared`], [`AtPlace`], [`Matched`], [`RowStatus`] |
//! | what a sender offers and has sent | `offered` | [`OfferedRecord`], [`OfferedEntry`], [`SentPiece`], [`EvaluatedChunk`] |
//! | a join: its records, and what the other side stated | `join` | [`JoinRow`], [`JoinRecord`], [`JoinStated`] |
//! | what a join is replayed from | `replayed` | [`Committed`], [`Drawn`], [`Agreed`], [`Sent`] |

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

pub use forming::{
    Holder, IDENTIFIER, Identifier, NAME, RANK, Ranked, Selected, Stands, identifier, item_of, name_hash,
};
pub use item::{ITEM, holds_nothing, item_record, read_item};
pub use join::{JoinRecord, JoinRow, JoinStated, NO_LABEL, VALUE};
pub use offered::{EvaluatedChunk, OfferedEntry, OfferedRecord, PERSON, SentPiece};
pub use person::{KEY, LONGEST_KEY, is_readable, key_record, read_key};
pub use reading::{ReadColumns, Reading};
pub use received::{AtPlace, Compared, Matched, OwnTag, RowStatus, Stated};
pub use replayed::{Agreed, Committed, Drawn, Sent, commitment_lines, join_key_hash, join_seed_hash};
pub use set::{Behind, FormedSet, InEpoch, PLACE, SetOpening, WithheldPlaces};
