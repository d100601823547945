//! Answers, refusals and budgets as the commands show them.

use crate::client::{QueryAnswer, Refused};
use crate::commands::{budget, query};
use crate::failure;
use firebreak_wire::query::v1::Account;

/// An answer: the table with values, standard errors, intervals and marks; then cost, what is left, and the release.
#[must_use]
pub fn answer(answer: &QueryAnswer, width: usize) -> String {
    query::shown(answer, width, query::Bars::None)
}

/// A refusal: reason, rule, what was wrong, deciding policies, what would be answered instead, how to contest.
#[must_use]
pub fn refusal(refused: &Refused, width: usize) -> String {
    failure::refusal(refused, width)
}

/// Accounts: limit, spent and left, as ρ and as ε at δ = 10⁻⁶.
#[must_use]
pub fn budget(accounts: &[Account], width: usize) -> String {
    budget::shown(accounts, width)
}
