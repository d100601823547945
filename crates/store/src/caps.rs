//! Caps of a match: how many of its elements a receiver may have evaluated by a key of an agreement, and how many of the
//! sender's tags it may have, in a year and over all years together.
//!
//! Each chunk and each list of tags that is charged is one entry of the ledger, which counts in the year and for life at
//! once, so that a cap that was set back shows like a budget that was.

use crate::{
    State, StoreError,
    accounts::AccountKey,
    codec,
    ledger::{Entry, Evaluation, HandOut, ListRef},
    writer::Work,
};
use firebreak_domain::{AgreementId, CapLimits, CapPeriod, Counted, MatchKeyName, OrgId};
use sqlx::Row;

/// What caps are of: each key by which a receiver is matched under an agreement has caps of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CappedKey {
    /// Under which agreement.
    pub agreement: AgreementId,
    /// For whom.
    pub receiver: OrgId,
    /// By which of the agreement's keys.
    pub key: MatchKeyName,
}

/// A chunk of blinded elements that a receiver wants evaluated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvaluationChunk {
    /// Under which agreement, for whom and by which key.
    pub of: CappedKey,
    /// In which year the cap counts it.
    pub period: i32,
    /// The match session.
    pub session: [u8; 32],
    /// The chunk's number in the session.
    pub number: u32,
    /// SHA-256 of the blinded elements.
    pub blinded_hash: [u8; 32],
    /// How many there are.
    pub elements: u64,
}

/// A whole list of tags that is about to be handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagsHandedOut {
    /// Under which agreement, to whom and of which key.
    pub of: CappedKey,
    /// In which year the cap counts it.
    pub period: i32,
    /// The match session.
    pub session: [u8; 32],
    /// SHA-256 of the list.
    pub list_hash: [u8; 32],
    /// How many tags it has.
    pub tags: u64,
}

/// How a chunk, or a list of tags, stands with its cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CapOutcome {
    /// Charged now.
    Fresh,
    /// Charged before, with the very same elements or tags: giving them again tells nothing more.
    Resumed,
}

/// Why a chunk is not to be evaluated, or a list not to be handed out. Nothing was charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CapError {
    /// A cap would be passed.
    #[error("of the {counted} that the receiver's cap allows {period}, {left} are left")]
    Exhausted {
        /// What the cap counts.
        counted: Counted,
        /// For how long. Life is named before the year: no new year helps then.
        period: CapPeriod,
        /// What is left of it.
        left: u64,
    },
    /// This chunk of this session was charged with other elements, or for another receiver, agreement or key.
    #[error("this chunk of the session was evaluated with other elements: begin a new session")]
    ChunkMismatch,
    /// The state failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl State {
    /// Charges a chunk to its caps, on the disk before it returns. The same chunk is charged once, in whichever year.
    ///
    /// # Errors
    /// [`CapError`]; the chunk must not be evaluated then.
    pub async fn charge_evaluations(&self, chunk: &EvaluationChunk, limits: CapLimits) -> Result<CapOutcome, CapError> {
        let caps = Caps::of(Counted::Evaluations, &chunk.of, chunk.period, limits);
        let evaluation = Evaluation {
            account: caps.year.account.clone(),
            session: chunk.session,
            chunk: chunk.number,
            blinded_hash: chunk.blinded_hash,
            elements: chunk.elements,
        };
        let elements = codec::stored("evaluation", chunk.elements)?;
        self.write(move |work| Box::pin(evaluate(work, evaluation, elements, caps))).await?
    }

    /// Charges a whole list of tags to its caps, on the disk before it returns. The same list of the same session is
    /// charged once, in whichever year; other tags under the session's key are charged like any others.
    ///
    /// # Errors
    /// [`CapError`]; no byte of the list may leave then.
    pub async fn charge_tags(&self, list: &TagsHandedOut, limits: CapLimits) -> Result<CapOutcome, CapError> {
        let caps = Caps::of(Counted::Tags, &list.of, list.period, limits);
        let handed = HandOut {
            account: caps.year.account.clone(),
            list: ListRef { session: list.session, hash: list.list_hash },
            tags: list.tags,
        };
        self.write(move |work| Box::pin(async move { hand_out(work, handed, &caps) })).await?
    }

    /// Whether so many more would be within the caps of that year and for life. Charges nothing.
    ///
    /// # Errors
    /// [`CapError::Exhausted`].
    pub fn check_caps(
        &self,
        counted: Counted,
        of: &CappedKey,
        year: i32,
        more: u64,
        limits: CapLimits,
    ) -> Result<(), CapError> {
        let caps = Caps::of(counted, of, year, limits);
        self.ledger(|ledger| caps.check(more, |account| ledger.counted(account)))
    }

    /// What a receiver has used by a key of an agreement, of evaluations or tags, in a year or for life. What an earlier
    /// program counted for the agreement alone counts against each of its keys.
    #[must_use]
    pub fn counted(&self, counted: Counted, of: &CappedKey, period: CapPeriod) -> u64 {
        let cap = Cap::of(counted, of, period);
        self.ledger(|ledger| cap.used(|account| ledger.counted(account)))
    }

    /// Whether a list of tags of that session is charged.
    #[must_use]
    pub fn is_handed_out(&self, session: &[u8; 32]) -> bool {
        let of_session = |hash| ListRef { session: *session, hash };
        let all = of_session([0; 32])..=of_session([u8::MAX; 32]);
        self.ledger(|ledger| ledger.handed_out.range(all).next().is_some())
    }
}

/// The accounts that one cap goes by, of a year or for life.
struct Cap {
    period: CapPeriod,
    account: AccountKey,
    without_key: AccountKey,
}

impl Cap {
    fn of(counted: Counted, of: &CappedKey, period: CapPeriod) -> Self {
        let account = AccountKey::of_counted(counted, of, period);
        Self { period, account, without_key: AccountKey::of_counted_without_key(counted, of, period) }
    }

    fn used(&self, counted: impl Fn(&AccountKey) -> u64) -> u64 {
        counted(&self.account).saturating_add(counted(&self.without_key))
    }
}

/// The caps of a year and for life, and what they may come to.
struct Caps {
    counted: Counted,
    year: Cap,
    for_life: Cap,
    limits: CapLimits,
}

impl Caps {
    fn of(counted: Counted, of: &CappedKey, period: i32, limits: CapLimits) -> Self {
        let cap = |period| Cap::of(counted, of, period);
        Self { counted, year: cap(CapPeriod::Year(period)), for_life: cap(CapPeriod::Life), limits }
    }

    /// Whether so many more are within both.
    fn check(&self, more: u64, counted: impl Fn(&AccountKey) -> u64) -> Result<(), CapError> {
        for (cap, limit) in [(&self.for_life, self.limits.for_life), (&self.year, self.limits.per_year)] {
            let used = cap.used(&counted);
            if used.checked_add(more).is_none_or(|after| after > limit) {
                let (counted, period, left) = (self.counted, cap.period, limit.saturating_sub(used));
                return Err(CapError::Exhausted { counted, period, left });
            }
        }
        Ok(())
    }
}

async fn evaluate(
    work: &mut Work,
    evaluation: Evaluation,
    elements: i64,
    caps: Caps,
) -> Result<Result<CapOutcome, CapError>, StoreError> {
    let row =
        sqlx::query("SELECT blinded_hash, account, elements FROM evaluated_chunks WHERE session = ? AND chunk = ?")
            .bind(evaluation.session.as_slice())
            .bind(evaluation.chunk)
            .fetch_optional(work.sql())
            .await?;
    if let Some(row) = row {
        // A session that is resumed after New Year was charged in the old one.
        let charged = AccountKey::from_bytes(row.try_get(1)?).for_life();
        let same = row.try_get::<&[u8], _>(0)? == evaluation.blinded_hash
            && charged.as_ref() == Some(&caps.for_life.account)
            && row.try_get::<i64, _>(2)? == elements;
        return Ok(if same { Ok(CapOutcome::Resumed) } else { Err(CapError::ChunkMismatch) });
    }
    if let Err(error) = caps.check(evaluation.elements, |account| work.counted(account)) {
        return Ok(Err(error));
    }
    keep_chunk(work, &evaluation, elements).await?;
    work.append(&Entry::Evaluate(evaluation))?;
    Ok(Ok(CapOutcome::Fresh))
}

/// Keeps which elements a chunk had, so that it is charged once.
async fn keep_chunk(work: &mut Work, evaluation: &Evaluation, elements: i64) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO evaluated_chunks (session, chunk, blinded_hash, account, elements) VALUES (?, ?, ?, ?, ?)",
    )
    .bind(evaluation.session.as_slice())
    .bind(evaluation.chunk)
    .bind(evaluation.blinded_hash.as_slice())
    .bind(evaluation.account.as_bytes())
    .bind(elements)
    .execute(work.sql())
    .await?;
    Ok(())
}

/// That a list is charged stands in the ledger alone.
fn hand_out(work: &mut Work, handed: HandOut, caps: &Caps) -> Result<Result<CapOutcome, CapError>, StoreError> {
    if work.is_handed_out(&handed.list) {
        return Ok(Ok(CapOutcome::Resumed));
    }
    if let Err(error) = caps.check(handed.tags, |account| work.counted(account)) {
        return Ok(Err(error));
    }
    work.append(&Entry::HandOut(handed))?;
    Ok(Ok(CapOutcome::Fresh))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StateKey;
    use firebreak_domain::SystemClock;
    use std::sync::Arc;

    /// An upgrade gives no receiver a cap anew.
    #[tokio::test]
    async fn what_was_counted_before_keys_had_caps_counts_against_each_key_in_its_year_and_for_life() {
        const YEAR: i32 = 2025;
        let folder = tempfile::tempdir().unwrap();
        let open = async || State::open(folder.path(), StateKey::from_bytes([7; 32]), Arc::new(SystemClock)).await;
        let by = |key: &str| CappedKey {
            agreement: "round".parse().unwrap(),
            receiver: "health".parse().unwrap(),
            key: key.parse().unwrap(),
        };
        let state = open().await.unwrap();
        let written = state.write(move |work| {
            let of = |counted| AccountKey::of_counted_without_key(counted, &by("any"), CapPeriod::Year(YEAR));
            let [evaluations, tags] = [Counted::Evaluations, Counted::Tags].map(of);
            Box::pin(async move {
                let (session, blinded_hash) = ([1; 32], [2; 32]);
                let chunk = Evaluation { account: evaluations, session, chunk: 0, blinded_hash, elements: 60 };
                keep_chunk(work, &chunk, 60).await?;
                work.append(&Entry::Evaluate(chunk))?;
                let list = ListRef { session, hash: [3; 32] };
                work.append(&Entry::HandOut(HandOut { account: tags, list, tags: 70 }))
            })
        });
        written.await.unwrap();
        state.close().await;

        let state = open().await.unwrap();
        state.verify_chain().await.unwrap();
        let limits = CapLimits { per_year: 100, for_life: 120 };
        for (key, session) in [("number", 4), ("names", 5)] {
            for (counted, used) in [(Counted::Evaluations, 60), (Counted::Tags, 70)] {
                for (period, left) in [(YEAR, 100 - used), (YEAR + 1, 120 - used)] {
                    assert_eq!(state.check_caps(counted, &by(key), period, left.min(100), limits), Ok(()));
                    let over = state.check_caps(counted, &by(key), period, left + 1, limits);
                    assert!(matches!(over, Err(CapError::Exhausted { .. })), "{key} {counted:?} {period}");
                }
                assert_eq!(state.counted(counted, &by(key), CapPeriod::Life), used, "{key} {counted:?}");
            }
            let (session, blinded_hash) = ([session; 32], [6; 32]);
            let chunk =
                |elements| EvaluationChunk { of: by(key), period: YEAR, session, number: 0, blinded_hash, elements };
            let over = state.charge_evaluations(&chunk(41), limits).await;
            assert!(matches!(over, Err(CapError::Exhausted { left: 40, .. })), "{over:?}");
            assert_eq!(state.charge_evaluations(&chunk(40), limits).await, Ok(CapOutcome::Fresh));
        }
        let [number, other] =
            ["number", "third"].map(|key| state.counted(Counted::Evaluations, &by(key), CapPeriod::Life));
        assert_eq!((number, other), (100, 60), "what keys count since is theirs alone");
        state.close().await;
    }
}
