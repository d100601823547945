use crate::app::App;
use firebreak_domain::{AgreementId, CapStanding, Identity};
use firebreak_node::caps_of;
use firebreak_store::CappedKey;

impl App {
    /// How the caps stand of an agreement's match that this agency is the sender of, for a caller to know. Empty alike
    /// for what the caller may not know of and what there is not. Reads policy and the ledger, nothing of the data.
    #[must_use]
    pub fn caps(&self, claimed: &Identity, agreement: &AgreementId) -> Vec<CapStanding> {
        let (now, none) = (self.state.now(), Vec::new());
        let Ok(bundle) = self.policy.bundle() else { return none };
        let Some(matching) = bundle.visible_match(&claimed.org, agreement, now) else { return none };
        let Some((sender, caps)) = caps_of(&matching, now.year()) else { return none };
        if sender != *self.recorder.organisation() {
            return none;
        }
        let used = |cap: &CapStanding| {
            let (receiver, key) = (matching.receiver.agency.clone(), cap.key.clone());
            self.state.counted(cap.counted, &CappedKey { agreement: agreement.clone(), receiver, key }, cap.period)
        };
        caps.into_iter().map(|cap| CapStanding { used: Some(used(&cap)), ..cap }).collect()
    }
}
