//! Reading the ledger back and checking everything that rests on it.

use crate::{
    ReleaseId, ReleaseKey, StoreError,
    accounts::RequestRef,
    codec::{self, Reader, charge_bytes},
    ledger::{Draft, Entry, Evaluation, Ledger, LedgerHead, Spend, chain},
    outbox::LeafHash,
    watermark::{Marks, Seal},
};
use firebreak_domain::{UnknownFormat, check_format};
use sha2::{Digest, Sha256};
use sqlx::{Connection, Row, SqliteConnection};
use std::collections::{HashMap, HashSet};

/// A ledger that is not as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// An entry is not there, or out of place.
    #[error("entry {at} of the ledger is missing")]
    EntryMissing {
        /// Its number, the first being 1.
        at: u64,
    },
    /// An entry does not give the head stored with it.
    #[error("entry {at} of the ledger was changed")]
    EntryChanged {
        /// Its number.
        at: u64,
    },
    /// An entry that no run of this program would have written after those before it.
    #[error("entry {at} of the ledger contradicts those before it")]
    EntryContradicts {
        /// Its number.
        at: u64,
    },
    /// An entry of a later format.
    #[error(transparent)]
    Format(#[from] UnknownFormat),
    /// An evaluated chunk was added, changed or removed beside the ledger.
    #[error("the recorded evaluations are not those in the ledger")]
    Evaluations,
    /// A release was changed, or the request that settled it never paid for it.
    #[error("a stored release was changed, or no entry of the ledger paid for it")]
    Releases,
    /// A leaf was changed, or one that a release names is not there.
    #[error("a stored leaf was changed or removed")]
    Leaves,
    /// The latest time and bundle were changed, removed or set back.
    #[error("the latest time and policy bundle that the state keeps were edited, removed or set back")]
    Watermark,
    /// What is on the disk is not what this program wrote there.
    #[error("the ledger on the disk is not the one that this program has written")]
    NotAsWritten,
    /// The state failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for ChainError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Rows read at a time.
const PAGE: i64 = 2048;

/// Reads the ledger and checks it with the chunks that it paid for.
pub(crate) async fn ledger(connection: &mut SqliteConnection) -> Result<Ledger, ChainError> {
    let mut tx = connection.begin().await?;
    let audit = Audit::of(&mut tx, LedgerHead::default()).await?;
    Ok(audit.ledger)
}

/// Checks everything, that the ledger holds the entries up to `known`, and that time and bundle are not behind `marks`.
/// Returns the ledger's head.
pub(crate) async fn everything(
    connection: &mut SqliteConnection,
    known: LedgerHead,
    seal: &Seal,
    marks: &Marks,
) -> Result<LedgerHead, ChainError> {
    // One transaction: what is read of the tables is of one moment.
    let mut tx = connection.begin().await?;
    let audit = Audit::of(&mut tx, known).await?;
    audit.releases(&mut tx).await?;
    leaves(&mut tx).await?;
    let found = seal.read(&mut tx, &audit.ledger.head).await?.ok_or(ChainError::Watermark)?;
    let sequence = |marks: &Marks| marks.bundle.map(|bundle| bundle.sequence);
    if found.seen < marks.seen || sequence(&found) < sequence(marks) {
        return Err(ChainError::Watermark);
    }
    Ok(audit.ledger.head)
}

/// What the entries read so far imply.
#[derive(Default)]
struct Audit {
    ledger: Ledger,
    /// Of each request that is charged and was not given back, a hash of what was charged.
    requests: HashMap<RequestRef, [u8; 32]>,
    /// Fresh requests charged and not given back, each with the release that it paid for.
    paid: HashSet<(ReleaseKey, RequestRef)>,
    chunks: HashMap<([u8; 32], u32), [u8; 32]>,
}

impl Audit {
    async fn of(connection: &mut SqliteConnection, known: LedgerHead) -> Result<Self, ChainError> {
        let mut audit = Self::default();
        let mut reached = audit.ledger.head == known;
        loop {
            let after = codec::stored("ledger", audit.ledger.head.count)?;
            let rows = sqlx::query("SELECT seq, entry, head FROM ledger WHERE seq > ? ORDER BY seq LIMIT ?")
                .bind(after)
                .bind(PAGE)
                .fetch_all(&mut *connection)
                .await?;
            if rows.is_empty() {
                break;
            }
            for row in rows {
                audit.entry(row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)?;
                reached |= audit.ledger.head == known;
            }
        }
        // Rows numbered 0 or below would escape the loop above.
        let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM ledger").fetch_one(&mut *connection).await?;
        if !reached || codec::count("ledger", rows)? != audit.ledger.head.count {
            return Err(ChainError::NotAsWritten);
        }
        audit.chunks(connection).await?;
        Ok(audit)
    }

    fn entry(&mut self, seq: i64, bytes: &[u8], head: &[u8]) -> Result<(), ChainError> {
        let at = self.ledger.head.count + 1;
        if u64::try_from(seq) != Ok(at) {
            return Err(ChainError::EntryMissing { at });
        }
        if chain(&self.ledger.head.head, bytes) != head {
            return Err(ChainError::EntryChanged { at });
        }
        let format = Reader::new("ledger entry", bytes).u32().map_err(|_| ChainError::EntryChanged { at })?;
        check_format("the ledger", format)?;
        let (_, entry) = Entry::from_bytes(bytes).map_err(|_| ChainError::EntryContradicts { at })?;
        let mut draft: Draft = self.ledger.draft();
        draft.apply(&self.ledger, &entry, bytes).map_err(|_| ChainError::EntryContradicts { at })?;
        self.ledger.commit(draft);
        let consistent = match &entry {
            Entry::Reserve(spend) => {
                self.paid.insert((spend.release_key, spend.request));
                self.requests.insert(spend.request, mark(spend)).is_none()
            }
            Entry::Repeat(spend) => self.requests.insert(spend.request, mark(spend)).is_none(),
            Entry::Refund(spend) => {
                self.paid.remove(&(spend.release_key, spend.request))
                    && self.requests.remove(&spend.request).is_some_and(|paid| paid == mark(spend))
            }
            Entry::Evaluate(evaluation) => {
                let key = (evaluation.session, evaluation.chunk);
                self.chunks.insert(key, chunk_mark(evaluation)).is_none()
            }
            // That it is charged once is seen to above; nothing is kept beside the ledger.
            Entry::HandOut(_) => true,
        };
        if consistent { Ok(()) } else { Err(ChainError::EntryContradicts { at }) }
    }

    async fn chunks(&self, connection: &mut SqliteConnection) -> Result<(), ChainError> {
        let (mut session, mut chunk) = (Vec::new(), -1);
        let mut found = 0;
        loop {
            let rows = sqlx::query(
                "SELECT session, chunk, blinded_hash, account, elements FROM evaluated_chunks
                 WHERE (session, chunk) > (?, ?) ORDER BY session, chunk LIMIT ?",
            )
            .bind(session.as_slice())
            .bind(chunk)
            .bind(PAGE)
            .fetch_all(&mut *connection)
            .await?;
            for row in &rows {
                session = row.try_get(0)?;
                chunk = row.try_get(1)?;
                let key =
                    (codec::fixed("evaluation", &session)?, u32::try_from(chunk).map_err(|_| ChainError::Evaluations)?);
                let (hash, account, elements): (&[u8], &[u8], i64) =
                    (row.try_get(2)?, row.try_get(3)?, row.try_get(4)?);
                let mark = chunk_mark_of(hash, account, codec::count("evaluation", elements)?);
                if self.chunks.get(&key) != Some(&mark) {
                    return Err(ChainError::Evaluations);
                }
                found += 1;
            }
            if rows.is_empty() {
                break;
            }
        }
        if found == self.chunks.len() { Ok(()) } else { Err(ChainError::Evaluations) }
    }

    async fn releases(&self, connection: &mut SqliteConnection) -> Result<(), ChainError> {
        let mut after = i64::MIN;
        loop {
            let rows = sqlx::query(
                "SELECT releases.rowid, release_key, releases.id, releases.bytes, leaves.hash, principal, request, evidence
                 FROM releases
                 LEFT JOIN leaves ON leaves.hash = releases.leaf
                 WHERE releases.rowid > ? ORDER BY releases.rowid LIMIT 64",
            )
            .bind(after)
            .fetch_all(&mut *connection)
            .await?;
            for row in &rows {
                after = row.try_get(0)?;
                let key = ReleaseKey::from_bytes(codec::fixed("release", row.try_get(1)?)?);
                let (id, bytes, evidence): (&[u8], &[u8], &[u8]) = (row.try_get(2)?, row.try_get(3)?, row.try_get(7)?);
                let settler = RequestRef {
                    principal: codec::fixed("release", row.try_get(5)?)?,
                    id: codec::fixed("release", row.try_get(6)?)?,
                };
                let paid = self.paid.contains(&(key, settler));
                if !paid || id != ReleaseId::of(&key, bytes, &settler, evidence).as_bytes() {
                    return Err(ChainError::Releases);
                }
                row.try_get::<Option<&[u8]>, _>(4)?.ok_or(ChainError::Leaves)?;
            }
            if rows.is_empty() {
                return Ok(());
            }
        }
    }
}

async fn leaves(connection: &mut SqliteConnection) -> Result<(), ChainError> {
    let mut after = i64::MIN;
    loop {
        let rows = sqlx::query("SELECT seq, hash, bytes FROM leaves WHERE seq > ? ORDER BY seq LIMIT ?")
            .bind(after)
            .bind(PAGE)
            .fetch_all(&mut *connection)
            .await?;
        for row in &rows {
            after = row.try_get(0)?;
            let (hash, bytes): (&[u8], &[u8]) = (row.try_get(1)?, row.try_get(2)?);
            if hash != LeafHash::of(bytes).as_bytes() {
                return Err(ChainError::Leaves);
            }
        }
        if rows.is_empty() {
            return Ok(());
        }
    }
}

fn mark(spend: &Spend) -> [u8; 32] {
    hash_of(&[&spend.digest, spend.release_key.as_bytes(), &charge_bytes(&spend.charge)])
}

fn chunk_mark(evaluation: &Evaluation) -> [u8; 32] {
    chunk_mark_of(&evaluation.blinded_hash, evaluation.account.as_bytes(), evaluation.elements)
}

fn chunk_mark_of(hash: &[u8], account: &[u8], elements: u64) -> [u8; 32] {
    hash_of(&[hash, account, &elements.to_be_bytes()])
}

/// A hash over parts, each after its length.
fn hash_of(parts: &[&[u8]]) -> [u8; 32] {
    let mut bytes = Vec::with_capacity(160);
    for part in parts {
        codec::put_bytes(&mut bytes, part);
    }
    Sha256::digest(&bytes).into()
}
