//! By which key a receiver's match was made, and of which persons: what a match by the next weaker key goes by.

use crate::{State, StoreError, codec};
use firebreak_domain::MatchKeyName;
use sqlx::Row;

/// How a session matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatchedBy {
    /// The agreement's key.
    pub key: MatchKeyName,
    /// SHA-256 of all that the key compares, in whatever words: another hash is another key, of the same name too.
    pub compares: [u8; 32],
    /// Whether its matches are to be looked at by people before anything follows from them.
    pub provisional: bool,
    /// SHA-256 of the condition by which persons took part.
    pub selection: [u8; 32],
    /// The session by the next stronger key, whose matched persons took no part; `None` of the strongest.
    pub after: Option<[u8; 32]>,
}

const WHAT: &str = "key of a match";

impl State {
    /// Records how a session matches. To be called before [`State::complete_matched`]. The first stands.
    ///
    /// # Errors
    /// [`StoreError`]: it was not recorded.
    pub async fn record_matched_by(&self, session: &[u8; 32], by: &MatchedBy) -> Result<(), StoreError> {
        let (session, by) = (*session, by.clone());
        self.write(move |work| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO match_keys (session, name, compares, provisional, selection, after)
                     VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (session) DO NOTHING",
                )
                .bind(session.as_slice())
                .bind(by.key.as_str())
                .bind(by.compares.as_slice())
                .bind(by.provisional)
                .bind(by.selection.as_slice())
                .bind(by.after.as_ref().map(<[u8; 32]>::as_slice))
                .execute(work.sql())
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// How a session matched; `None` if nothing was recorded of it.
    ///
    /// # Errors
    /// [`StoreError`] if the state failed.
    pub async fn matched_by(&self, session: &[u8; 32]) -> Result<Option<MatchedBy>, StoreError> {
        let row = sqlx::query("SELECT name, compares, provisional, selection, after FROM match_keys WHERE session = ?")
            .bind(session.as_slice())
            .fetch_optional(&self.shared.readers)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let after: Option<&[u8]> = row.try_get(4)?;
        Ok(Some(MatchedBy {
            key: name(row.try_get(0)?)?,
            compares: codec::fixed(WHAT, row.try_get(1)?)?,
            provisional: row.try_get(2)?,
            selection: codec::fixed(WHAT, row.try_get(3)?)?,
            after: after.map(|session| codec::fixed(WHAT, session)).transpose()?,
        }))
    }
}

/// A key's name as a row has it.
pub(crate) fn name(text: String) -> Result<MatchKeyName, StoreError> {
    MatchKeyName::new(text).map_err(|_| StoreError::Malformed(WHAT))
}
