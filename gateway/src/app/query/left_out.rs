//! What bounding leaves out of the cuts that a question reads, shown beside its answer.

use super::{App, Failure};
use firebreak_domain::{DatasetId, Identity};
use firebreak_node::{SubmittedQuery, foresee_query, release_name};
use firebreak_privacy::{Answer, Released};
use firebreak_query::{CheckedQuery, Reads, left_out, to_sql};

/// What bounding leaves out of a cut.
pub struct LeftOut {
    /// The dataset.
    pub dataset: DatasetId,
    /// The question that measures it, in SQL.
    pub question: String,
    /// The name of its release and the figures, rows before persons; `None` where nobody has asked yet.
    pub measured: Option<(String, Answer)>,
}

impl App {
    /// What bounding leaves out of what `read` was read for, as far as the caller may ask for that. Reads policy and
    /// releases; charges and records nothing.
    ///
    /// # Errors
    /// A failure of the state.
    // PRIVACY: a release that was paid for by the persons in it, given again to whom the question itself would be
    // answered; its name is there for whoever wants evidence of it.
    pub(in crate::app) async fn left_out(
        &self,
        submitted: &SubmittedQuery,
        caller: &Identity,
        read: impl Iterator<Item = &CheckedQuery>,
    ) -> Result<Vec<LeftOut>, Failure> {
        let mut found = Vec::new();
        let Some(bundle) = self.policy.accepted().filter(|_| submitted.export.is_none()) else { return Ok(found) };
        for query in read {
            for Reads { dataset, .. } in query.reads() {
                let contract = bundle.contracts().get(dataset);
                let Some(question) = contract.and_then(|contract| left_out(contract, query.cut())) else { continue };
                let (sql, asking) = (to_sql(&question), submitted.asking(question));
                let Ok(decided) = foresee_query(&asking, caller, &self.policy, self.state.now()) else { continue };
                if self.check_open(&decided.permit, &decided.query).is_err() {
                    continue;
                }
                let stored = self.state.release_of(&decided.price.release_key()).await?;
                let measured = match stored {
                    Some(stored) => {
                        let malformed = |_| Failure::Answer("a stored answer");
                        let answer = Released::decode(&stored.bytes).map_err(malformed)?.answer(&decided.query);
                        Some((release_name(&stored.bytes), answer.map_err(|_| Failure::Answer("a stored answer"))?))
                    }
                    None => None,
                };
                found.push(LeftOut { dataset: dataset.clone(), question: sql, measured });
            }
        }
        Ok(found)
    }
}
