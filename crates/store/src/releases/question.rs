//! The question behind a release: what decides who may have it again.

use super::{ReleaseKey, StoredRelease, by_key};
use crate::{State, StoreError, codec, writer::Work};
use firebreak_domain::ReleaseName;
use sqlx::Row;
use zeroize::Zeroizing;

const TABLE: &str = "questions";

/// A release, and the question that it was measured for.
pub struct AnsweredQuestion {
    /// The release.
    pub release: StoredRelease,
    /// The question given to [`State::settle_asked`].
    // PRIVACY: it holds what a caller typed, hence no Debug, and a seal on the disk.
    pub question: Zeroizing<Vec<u8>>,
}

/// A question as it touches the disk.
pub(super) struct SealedQuestion {
    name: ReleaseName,
    sealed: Vec<u8>,
}

impl State {
    /// The release of that name with its question; `None` where there is none, and where its question was not kept.
    ///
    /// # Errors
    /// [`StoreError`] if the state failed.
    pub async fn answered(&self, name: &ReleaseName) -> Result<Option<AnsweredQuestion>, StoreError> {
        let mut reading = self.shared.readers.acquire().await?;
        let row = sqlx::query("SELECT release_key, sealed FROM questions WHERE name = ?")
            .bind(name.as_bytes().as_slice())
            .fetch_optional(&mut *reading)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let key = ReleaseKey::from_bytes(codec::fixed("question", row.try_get(0)?)?);
        let question = self.shared.keys.questions.open(TABLE, &place(&key, name), row.try_get(1)?)?;
        let Some(settlement) = by_key(&mut reading, &key).await? else { return Ok(None) };
        Ok(Some(AnsweredQuestion { release: settlement.release, question }))
    }

    pub(super) fn seal_question(
        &self,
        key: &ReleaseKey,
        release: &[u8],
        question: &[u8],
    ) -> Result<SealedQuestion, StoreError> {
        let name = ReleaseName::of(release);
        let sealed = self.shared.keys.questions.seal(TABLE, &place(key, &name), question)?;
        Ok(SealedQuestion { name, sealed })
    }
}

/// Keeps it inside the transaction that stores the release.
pub(super) async fn insert(
    work: &mut Work,
    key: &ReleaseKey,
    SealedQuestion { name, sealed }: &SealedQuestion,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO questions (release_key, name, sealed) VALUES (?, ?, ?)")
        .bind(key.as_bytes().as_slice())
        .bind(name.as_bytes().as_slice())
        .bind(sealed.as_slice())
        .execute(work.sql())
        .await?;
    Ok(())
}

/// Where a question opens: a row whose name or key was exchanged opens nowhere.
fn place(key: &ReleaseKey, name: &ReleaseName) -> Vec<u8> {
    [key.as_bytes().as_slice(), name.as_bytes()].concat()
}
