//! What can go wrong with the state as a whole.

use crate::{ChainError, KeyError, SealError};
use firebreak_domain::UnknownFormat;

/// Why the database did not do what it was asked, in a word that carries nothing of what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No room.
    #[error("the disk is full")]
    Full,
    /// The file cannot be written.
    #[error("the file is read-only or access to it is denied")]
    Denied,
    /// Reading or writing failed.
    #[error("the disk reported an error")]
    Disk,
    /// The file is damaged or is something else.
    #[error("the file is damaged or is no database")]
    Damaged,
    /// Another program holds it.
    #[error("another program holds the file")]
    Busy,
    /// A rule of the schema was broken.
    #[error("a rule of the schema was broken")]
    Constraint,
    /// Anything else.
    #[error("the database failed")]
    Other,
}

/// A transaction that did not happen. Nothing of it was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The database failed.
    #[error("the state could not be read or written: {0}")]
    Database(Fault),
    /// A file of a match session could not be read or written.
    #[error("a file of a match session could not be read or written: {0}")]
    File(Fault),
    /// A row that this program would not have written.
    #[error("the state holds a malformed {0}: restore the folder, or have its ledger verified")]
    Malformed(&'static str),
    /// A sealed value did not open, or could not be made.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A reservation was given to a state that did not make it.
    #[error("the reservation was made by another state, or before this one was opened: send the request again")]
    OtherState,
    /// The state was closed, or the task that writes has ended.
    #[error("the state is closed")]
    Closed,
}

/// Why a state folder was not opened. What it holds is left as it was found; of an earlier program's folder, a table that
/// repeated the ledger may be gone.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder cannot be made, entered or kept from others.
    #[error("the state folder cannot be created or made private (mode 0700): {0}")]
    Folder(#[source] std::io::Error),
    /// Another program has it open.
    #[error("the state folder is in use by another running program: give each gateway and adapter a folder of its own")]
    InUse,
    /// Written by a later version.
    #[error(transparent)]
    Format(#[from] UnknownFormat),
    /// Written under another key.
    #[error("the state folder was written under another state key: configure the key file that belongs to it")]
    OtherKey,
    /// No key could be read or made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Its ledger does not hold together.
    #[error("the ledger in the state folder does not verify: {0}")]
    Ledger(#[from] ChainError),
    /// What is kept beside the ledger, so that neither the clock nor policy goes back, is not as it was written.
    #[error(
        "the latest time and policy bundle kept in the state folder were edited, removed or set back: put back the newest whole copy of the folder"
    )]
    Watermark,
    /// Its database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

// PRIVACY: the text of a database error can name what was written; only its kind goes on.
impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let fault = match error {
            sqlx::Error::Database(error) => {
                let code = error.code().and_then(|code| code.parse::<u32>().ok()).unwrap_or_default();
                // The low byte is SQLite's primary result code (sqlite.org/rescode.html).
                match code & 0xff {
                    5 | 6 => Fault::Busy,
                    3 | 8 | 14 => Fault::Denied,
                    10 => Fault::Disk,
                    11 | 26 => Fault::Damaged,
                    13 => Fault::Full,
                    19 => Fault::Constraint,
                    _ => Fault::Other,
                }
            }
            sqlx::Error::Io(_) => Fault::Disk,
            sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => return Self::Closed,
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => return Self::Malformed("row"),
            _ => Fault::Other,
        };
        Self::Database(fault)
    }
}
