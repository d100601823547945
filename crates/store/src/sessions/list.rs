//! The sender's list as a receiver keeps it while the session is open: sealed, in pieces, and gone when it is closed.

use super::{CHUNKS, LIST, LIST_HEAD, SessionError, check_open, chunk_place};
use crate::{State, StoreError};
use sha2::{Digest, Sha256};
use sqlx::Row;
use zeroize::Zeroizing;

/// Bytes in a piece: each is a transaction of its own, so that nobody else waits for millions of tags.
const PIECE: usize = 1024 * 1024;
/// Bytes of the list's hash, with which its head begins; the number of pieces follows in four.
const HASH: usize = 32;

/// A list that was kept whole.
pub struct KeptList {
    /// What was kept with it.
    pub terms: Zeroizing<Vec<u8>>,
    /// Its bytes.
    pub list: Zeroizing<Vec<u8>>,
}

impl State {
    /// Keeps a list and what belongs to it. A program that is killed meanwhile has kept none. The first one stays.
    ///
    /// # Errors
    /// [`SessionError`]: not an open session, or the state failed.
    pub async fn keep_list(&self, session: &[u8; 32], terms: &[u8], list: &[u8]) -> Result<(), SessionError> {
        if self.kept(session, LIST_HEAD).await?.is_some() {
            return Ok(());
        }
        let mut number = LIST;
        for piece in list.chunks(PIECE) {
            self.put(session, number, piece).await?;
            number += 1;
        }
        let pieces = (number - LIST).to_be_bytes();
        let head = Zeroizing::new([Sha256::digest(list).as_slice(), &pieces, terms].concat());
        self.put(session, LIST_HEAD, &head).await
    }

    /// The list of an open session, if it was kept whole.
    ///
    /// # Errors
    /// [`StoreError`] if the state failed or it does not unseal.
    pub async fn kept_list(&self, session: &[u8; 32]) -> Result<Option<KeptList>, StoreError> {
        let Some(head) = self.kept(session, LIST_HEAD).await? else { return Ok(None) };
        let malformed = || StoreError::Malformed("kept list");
        let (hash, rest) = head.split_at_checked(HASH).ok_or_else(malformed)?;
        let (pieces, terms) = rest.split_first_chunk().ok_or_else(malformed)?;
        let mut list = Zeroizing::new(Vec::new());
        for number in (LIST..LIST_HEAD).take(u32::from_be_bytes(*pieces) as usize) {
            let Some(piece) = self.kept(session, number).await? else { return Ok(None) };
            list.extend_from_slice(&piece);
        }
        // Two transfers at once, of a list that changed between them, leave pieces of both: that is no list.
        let whole = Sha256::digest(&list).as_slice() == hash;
        Ok(whole.then(|| KeptList { terms: Zeroizing::new(terms.to_vec()), list }))
    }

    /// Keeps a piece in place of what a transfer that broke off left there.
    async fn put(&self, session: &[u8; 32], number: u32, bytes: &[u8]) -> Result<(), SessionError> {
        let sealed = self.shared.keys.sessions.seal(CHUNKS, &chunk_place(session, number), bytes);
        let (session, sealed) = (*session, sealed.map_err(StoreError::from)?);
        self.write(move |work| {
            Box::pin(async move {
                if let Err(error) = check_open(work, &session).await? {
                    return Ok(Err(error));
                }
                sqlx::query("INSERT OR REPLACE INTO session_chunks (session, chunk, sealed) VALUES (?, ?, ?)")
                    .bind(session.as_slice())
                    .bind(number)
                    .bind(sealed)
                    .execute(work.sql())
                    .await?;
                Ok(Ok(()))
            })
        })
        .await?
    }

    /// What is kept of a session under a number.
    pub(super) async fn kept(&self, session: &[u8; 32], number: u32) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let row = sqlx::query("SELECT sealed FROM session_chunks WHERE session = ? AND chunk = ?")
            .bind(session.as_slice())
            .bind(number)
            .fetch_optional(&self.shared.readers)
            .await?;
        let place = chunk_place(session, number);
        row.map(|row| Ok(self.shared.keys.sessions.open(CHUNKS, &place, row.try_get(0)?)?)).transpose()
    }
}
