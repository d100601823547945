//! Caps on evaluations: how many of its elements a receiver may have evaluated under an agreement in a period.
//!
//! Each chunk that is charged is an entry of the ledger, so that a cap that was set back shows like a budget that was.

use crate::{
    State, StoreError,
    accounts::AccountKey,
    codec,
    ledger::{Entry, Evaluation},
    writer::Work,
};
use firebreak_domain::{AgreementId, OrgId};
use sqlx::Row;

/// A chunk of blinded elements that a receiver wants evaluated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvaluationChunk {
    /// Under which agreement.
    pub agreement: AgreementId,
    /// For whom.
    pub receiver: OrgId,
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

/// How a chunk stands with its cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CapOutcome {
    /// Charged now.
    Fresh,
    /// Charged before, with the very same elements: evaluating them again tells nothing more.
    Resumed,
}

/// Why a chunk is not to be evaluated. Nothing was charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CapError {
    /// The cap would be passed.
    #[error(
        "the receiver's cap on evaluations for the period leaves {left}: match a smaller set, or in the next period"
    )]
    Exhausted {
        /// Evaluations left.
        left: u64,
    },
    /// This chunk of this session was charged with other elements, or for another receiver, agreement or period.
    #[error("this chunk of the session was evaluated with other elements: begin a new session")]
    ChunkMismatch,
    /// The state failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl State {
    /// Charges a chunk to its cap, on the disk before it returns. The same chunk is charged once.
    ///
    /// # Errors
    /// [`CapError`]; the chunk must not be evaluated then.
    pub async fn charge_evaluations(&self, chunk: &EvaluationChunk, cap: u64) -> Result<CapOutcome, CapError> {
        let evaluation = Evaluation {
            account: AccountKey::of_evaluations(&chunk.agreement, &chunk.receiver, chunk.period),
            session: chunk.session,
            chunk: chunk.number,
            blinded_hash: chunk.blinded_hash,
            elements: chunk.elements,
        };
        let elements = codec::stored("evaluation", chunk.elements)?;
        self.write(move |work| Box::pin(charge(work, evaluation, elements, cap))).await?
    }

    /// Evaluations charged so far for a receiver under an agreement in a period.
    #[must_use]
    pub fn evaluations(&self, agreement: &AgreementId, receiver: &OrgId, period: i32) -> u64 {
        let account = AccountKey::of_evaluations(agreement, receiver, period);
        self.ledger(|ledger| ledger.evaluated.get(&account).copied().unwrap_or_default())
    }
}

async fn charge(
    work: &mut Work,
    evaluation: Evaluation,
    elements: i64,
    cap: u64,
) -> Result<Result<CapOutcome, CapError>, StoreError> {
    let row =
        sqlx::query("SELECT blinded_hash, account, elements FROM evaluated_chunks WHERE session = ? AND chunk = ?")
            .bind(evaluation.session.as_slice())
            .bind(evaluation.chunk)
            .fetch_optional(work.sql())
            .await?;
    if let Some(row) = row {
        let same = row.try_get::<&[u8], _>(0)? == evaluation.blinded_hash
            && row.try_get::<&[u8], _>(1)? == evaluation.account.as_bytes()
            && row.try_get::<i64, _>(2)? == elements;
        return Ok(if same { Ok(CapOutcome::Resumed) } else { Err(CapError::ChunkMismatch) });
    }
    let used = work.evaluated(&evaluation.account);
    if used.checked_add(evaluation.elements).is_none_or(|after| after > cap) {
        return Ok(Err(CapError::Exhausted { left: cap.saturating_sub(used) }));
    }
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
    work.append(&Entry::Evaluate(evaluation))?;
    Ok(Ok(CapOutcome::Fresh))
}
