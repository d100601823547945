use super::{AgencyError, App};
use firebreak_domain::{AgreementId, CapStanding, Identity, MOST_MATCH_KEYS};
use firebreak_node::caps_of;
use firebreak_policy::VisibleMatch;
use std::time::Duration;

/// The longest that a sender is waited for.
const ASKED: Duration = Duration::from_secs(5);

impl App {
    /// How the caps of a match stand, as its sender's adapter says, which alone counts. Where it says nothing, what they
    /// are by the policy in force here.
    pub(crate) async fn caps(
        &self,
        caller: &Identity,
        agreement: &AgreementId,
        matching: &VisibleMatch,
    ) -> Vec<CapStanding> {
        let Some((sender, caps)) = caps_of(matching, self.state.now().year()) else { return Vec::new() };
        let asked = tokio::time::timeout(ASKED, self.agencies.caps(&sender, caller, agreement)).await;
        match asked.unwrap_or(Err(AgencyError::Lost)) {
            // An agency that goes by another bundle for a moment may not know of the match.
            Ok(said) if !said.is_empty() => said.into_iter().take(MOST).collect(),
            Ok(_) | Err(_) => caps,
        }
    }
}

/// The most caps that are passed on: there are four of each key.
const MOST: usize = 4 * MOST_MATCH_KEYS;
