//! From a statement to a checked question in one step, with the suggestion that belongs to a refusal.

use crate::check::{Misfit, check_over};
use crate::suggest::{Mentioned, complete};
use crate::{AggregateQuery, CheckedQuery, default_sql, parse_sql};
use firebreak_domain::{Contract, DatasetId, ReasonCode, Refusal};

/// The contracts that a caller may see.
pub trait Contracts {
    /// The contract of that dataset, if the caller may see it.
    fn contract(&self, dataset: &DatasetId) -> Option<&Contract>;

    /// Any dataset of the caller's catalogue, the first for choice, for a suggestion that answers.
    fn example(&self) -> Option<&Contract>;
}

impl Contracts for [Contract] {
    fn contract(&self, dataset: &DatasetId) -> Option<&Contract> {
        self.iter().find(|contract| contract.id == *dataset)
    }

    fn example(&self) -> Option<&Contract> {
        self.first()
    }
}

/// Reads a statement and checks it against the contract of its dataset.
///
/// # Errors
/// A [`Refusal`] that repeats nothing of the statement. Its suggestion is a statement that would pass this function:
/// over the same dataset where the caller may see it, otherwise over [`Contracts::example`]; only a caller with an
/// empty catalogue is told to look for datasets instead.
pub fn plan(sql: &str, contracts: &(impl Contracts + ?Sized)) -> Result<CheckedQuery, Refusal> {
    match parse_sql(sql) {
        Ok(query) => plan_query(&query, contracts),
        Err(refusal) => {
            let tokens = crate::parse::tokens::readable(sql);
            let named = Mentioned::dataset(&tokens, |dataset| contracts.contract(dataset));
            let Some(contract) = named.or_else(|| contracts.example()) else { return Err(lost(refusal)) };
            let mentioned = Mentioned::in_tokens(&tokens, contract);
            Err(complete(Misfit::from(refusal), contract, &mentioned))
        }
    }
}

/// Checks a question that came as a message against the contract of its dataset.
///
/// # Errors
/// As [`plan`].
pub fn plan_query(query: &AggregateQuery, contracts: &(impl Contracts + ?Sized)) -> Result<CheckedQuery, Refusal> {
    let named: Option<Vec<Contract>> = query.datasets().map(|id| contracts.contract(id).cloned()).collect();
    match named {
        Some(named) if query.joins.is_empty() => check_over(query, &named),
        // The datasets of a join may be of several agreements: an example is answered under the one that is invoked.
        Some(named) => check_over(query, &named).map_err(|refusal| match contracts.example() {
            Some(example) => refusal.instead(default_sql(example)),
            None => refusal,
        }),
        None => {
            let alone = query.joins.is_empty();
            let refusal = Refusal::new(if alone { ReasonCode::UnknownDataset } else { ReasonCode::JoinAsked });
            Err(match contracts.example() {
                Some(contract) => refusal.instead(default_sql(contract)),
                None => lost(refusal),
            })
        }
    }
}

fn lost(refusal: Refusal) -> Refusal {
    refusal.instead("firebreak datasets")
}
