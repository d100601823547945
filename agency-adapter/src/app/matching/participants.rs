//! Who takes part in a match, asked at the moment each part of it is sent.

use super::MatchError;
use crate::app::App;
use firebreak_domain::{LegalBasis, PurposeId};
use firebreak_node::StandingMatch;
use firebreak_store::Participation;
use std::sync::Arc;
use tokio::sync::Mutex;

/// The choices that count for one match. With consent as its legal basis, those take part who have given it; else all
/// but those who are restricted.
pub(super) struct Participants {
    purpose: PurposeId,
    by_consent: bool,
    known: Mutex<Option<Arc<Participation>>>,
}

impl Participants {
    pub(super) fn of(standing: &StandingMatch, purpose: PurposeId) -> Self {
        let by_consent = standing.facts().legal_basis == Some(LegalBasis::Consent);
        Self { purpose, by_consent, known: Mutex::default() }
    }

    /// Those of this moment.
    pub(super) async fn now(&self, app: &App) -> Result<Arc<Participation>, MatchError> {
        let mut known = self.known.lock().await;
        let now = app.state.participation(&self.purpose, self.by_consent, known.as_ref()).await?;
        Ok(Arc::clone(known.insert(now)))
    }
}
