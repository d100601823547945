//! What matches disclosed to this agency, and its end.

use super::{App, Failure};
use firebreak_audit::LeafKind;
use firebreak_domain::{Charge, Operation, RecipientClass};
use firebreak_node::Content;
use firebreak_policy::{DecisionFacts, OutputKind};
use firebreak_store::Disclosure;

impl App {
    /// Deletes what matches disclosed to this agency and whose days are over, and records a leaf for each such match.
    /// Gives how many there were.
    ///
    /// # Errors
    /// [`Failure`]: those behind it are not deleted yet. From its day on, nothing of any of them is handed out.
    pub async fn delete_expired_disclosures(&self) -> Result<u64, Failure> {
        let mut deleted: u64 = 0;
        for disclosure in self.state.expired_disclosures().await? {
            let content = Content::of(format!("session {}\n", hex::encode(disclosure.session)).as_bytes());
            let (kind, none, facts) = (LeafKind::DisclosureDeleted, Charge::default(), self.facts_of(&disclosure));
            let evidence = self.recorder.record(kind, &facts, None, none, content, &self.state)?;
            let now = self.state.delete_disclosed(&disclosure.session, evidence.new_leaf()).await?;
            deleted = deleted.saturating_add(u64::from(now));
        }
        if deleted > 0 {
            tracing::info!(outcome = "deleted", "what matches disclosed reached the end of its days");
        }
        Ok(deleted)
    }

    /// PRIVACY: the agreement and its terms alone. The leaf comes for every match that discloses, also where nobody
    /// matched, and on a day that was fixed before: it tells nobody whether anything was there.
    fn facts_of(&self, disclosure: &Disclosure) -> DecisionFacts {
        let bundle = self.policy.accepted();
        let agreement = bundle.as_ref().and_then(|bundle| bundle.agreements().get(&disclosure.agreement).cloned());
        DecisionFacts {
            bundle_sequence: bundle.map_or(0, |bundle| bundle.sequence()),
            organisation: None,
            operation: Operation::Match,
            output: OutputKind::Match,
            agreement: Some(disclosure.agreement.clone()),
            purpose: Some(disclosure.purpose.clone()),
            legal_basis: agreement.map(|agreement| agreement.legal_basis),
            recipient_class: RecipientClass::Service,
            datasets: Vec::new(),
        }
    }
}
