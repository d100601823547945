//! What a statistic over the join of two agencies' datasets costs, and whether it is permitted.

use super::App;
use firebreak_domain::{Charge, Identity, ReasonCode, Refusal};
use firebreak_node::{DecidedJoin, SubmittedQuery, foresee_join};
use firebreak_privacy::join::JoinPrice;
use firebreak_query::{Canonical, CheckedJoin};

/// What a question over a join would cost.
pub struct ValidatedJoin {
    /// The form of it that is signed.
    pub canonical: Canonical,
    /// The question.
    pub join: CheckedJoin,
    /// Its price, for the persons of either register.
    pub price: JoinPrice,
    /// The price to both registers together.
    pub cost: Charge,
    /// Whether the accounts could pay it now.
    pub affordable: bool,
}

/// The width of a join's intervals follows from the agreement's ε.
const ONE_PRICE: &str =
    "a join has one price, which the agreement says, and intervals of one width: leave the half-width out";

impl App {
    /// As [`App::validate`], of a question over a join. Reads contracts, policy and accounts; charges and records
    /// nothing.
    ///
    /// # Errors
    /// A refusal.
    pub fn validate_join(
        &self,
        submitted: &SubmittedQuery,
        caller: &Identity,
        half_width: Option<f64>,
    ) -> Result<ValidatedJoin, Refusal> {
        let decided =
            foresee_join(submitted, caller, &self.policy, self.state.now()).map_err(|denial| denial.refusal)?;
        if half_width.is_some() {
            return Err(Refusal::new(ReasonCode::MalformedRequest).because(ONE_PRICE));
        }
        let canonical = submitted.query.clone()?.canonical();
        let DecidedJoin { join, price, left, right, cost, .. } = decided;
        let affordable = self.affordable([left, right].iter().map(|side| (&side.accounts, price.charge())))?;
        Ok(ValidatedJoin { canonical, join, price, cost, affordable })
    }
}
