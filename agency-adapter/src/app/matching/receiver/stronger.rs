//! What a match by a weaker key goes by: the finished one by the next stronger.

use crate::app::App;
use crate::app::matching::keys::Key;
use crate::app::matching::sorting::SORTED_IN_MEMORY;
use crate::app::matching::{MatchError, session_name};
use firebreak_domain::{AgreementId, Contract, CutId, PurposeId, ReasonCode, Refusal, RequestId};
use firebreak_records::{KEY, key_record};
use firebreak_store::{SessionFiles, Sorted};
use sha2::{Digest, Sha256};

/// What two matches, one behind the other, have in common.
pub(super) struct Common<'a> {
    pub(super) agreement: &'a AgreementId,
    pub(super) purpose: &'a PurposeId,
    pub(super) contract: &'a Contract,
    /// Of the condition by which persons take part.
    pub(super) selection: [u8; 32],
}

/// The finished matches by all stronger keys, the weakest of them first.
pub(super) struct Stronger {
    sessions: Vec<[u8; 32]>,
    /// The version of the dataset that they were formed of.
    pub(super) cut: CutId,
}

/// SHA-256 of a selection over a dataset.
pub(super) fn selection_hash(contract: &Contract, selection: &str) -> [u8; 32] {
    let text = format!("firebreak match selection 1\n{}\n{}", contract.id, selection.trim());
    Sha256::digest(text.as_bytes()).into()
}

impl Stronger {
    /// The match of the request `after`, which was to be made by `key`, and those that it followed.
    ///
    /// # Errors
    /// `SESSION_MISMATCH` if it is not finished, or is of something else.
    pub(super) async fn of(
        app: &App,
        common: &Common<'_>,
        key: &Key,
        after: Option<RequestId>,
    ) -> Result<Self, MatchError> {
        let refused = |why: &str| MatchError::from(Refusal::new(ReasonCode::SessionMismatch).because(why));
        let name = &key.name;
        let after = after.ok_or_else(|| {
            let refusal = Refusal::new(ReasonCode::SessionMismatch).because("a weaker key follows a stronger one");
            refusal.instead(format!("the match by {name} first, and then this one with its request id"))
        })?;
        let session = session_name(common.agreement, &after);
        let (recorded, by) = (app.state.recorded_match(&session).await?, app.state.matched_by(&session).await?);
        let (Some(recorded), Some(by)) = (recorded, by) else {
            let refusal = Refusal::new(ReasonCode::SessionMismatch);
            let refusal = refusal.because("the match that this one follows is not finished under this agreement");
            return Err(refusal
                .instead(format!("finish the match by {name} first: its request again resumes it"))
                .into());
        };
        if by.compares != key.compares() {
            return Err(refused("the match that this one follows is not by the agreement's next stronger key"));
        }
        if recorded.purpose != *common.purpose || by.selection != common.selection {
            return Err(refused("the match that this one follows is of another purpose or selection"));
        }
        let cut =
            recorded.cut.filter(|(dataset, cut)| *dataset == common.contract.id && common.contract.cuts.contains(cut));
        let (_, cut) = cut.ok_or_else(|| {
            refused("the match that this one follows is of a dataset or a cut that the contract has no more")
        })?;
        let (mut sessions, mut before) = (vec![session], by.after);
        while let Some(session) = before {
            sessions.push(session);
            before = app.state.matched_by(&session).await?.ok_or(MatchError::Failed)?.after;
        }
        Ok(Self { sessions, cut })
    }

    /// The session that this one follows.
    pub(super) fn session(&self) -> Option<[u8; 32]> {
        self.sessions.first().copied()
    }

    /// The keys of the persons whom they matched, in order.
    pub(super) async fn matched(&self, app: &App, files: &SessionFiles) -> Result<Sorted, MatchError> {
        let mut keys = files.sort("stronger", KEY, SORTED_IN_MEMORY)?;
        for session in &self.sessions {
            let mut last = None;
            loop {
                let page = app.state.matched_page(session, last).await?;
                for person in &page.persons {
                    keys.push(&*key_record(str::from_utf8(person).map_err(|_| MatchError::Failed)?))?;
                }
                last = page.last;
                if last.is_none() {
                    break;
                }
            }
        }
        Ok(keys.finish()?)
    }
}
