use crate::decision::{OutputKind, Question};
use firebreak_domain::{
    Agreement, AgreementId, Contract, DatasetId, LegalBasis, Operation, OrgId, PurposeId, RecipientClass, Refusal,
};
use std::sync::Arc;

/// Leave to do the one thing that was asked, once.
///
/// Only [`crate::Bundle::decide`] makes one; whoever measures, matches or exports takes it by value.
/// It can be neither copied nor made from parts:
///
/// ```compile_fail
/// fn twice(permit: firebreak_policy::Permit) -> (firebreak_policy::Permit, firebreak_policy::Permit) {
///     (permit.clone(), permit)
/// }
/// ```
pub struct Permit {
    // SECURITY: private fields and no constructor outside this crate; `decide` is the only caller of `Permit::grant`.
    question: Question,
    agreement: Arc<Agreement>,
    contracts: Vec<Arc<Contract>>,
    policies: Vec<String>,
    facts: DecisionFacts,
}

/// A refusal and what the log may hold of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// What the caller is told.
    pub refusal: Refusal,
    /// What the log may say.
    pub facts: DecisionFacts,
}

/// What a log leaf may say about a decision. Every name in it stands in the bundle and is one that the caller may know
/// of, because the caller gets the leaf; none is merely what a caller typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecisionFacts {
    /// Sequence of the bundle that decided.
    pub bundle_sequence: u64,
    /// The caller's organisation, if the bundle registers it.
    pub organisation: Option<OrgId>,
    /// What was asked for.
    pub operation: Operation,
    /// What would have left or leaves.
    pub output: OutputKind,
    /// The agreement, if the caller takes part in it.
    pub agreement: Option<AgreementId>,
    /// The purpose, if some agreement that the caller takes part in names it.
    pub purpose: Option<PurposeId>,
    /// The agreement's ground in law, if the caller takes part in it.
    pub legal_basis: Option<LegalBasis>,
    /// The worst class among the recipients, after onward transfer.
    pub recipient_class: RecipientClass,
    /// The datasets touched, as far as an agreement that the caller takes part in has them, or they are its own.
    pub datasets: Vec<DatasetId>,
}

impl Permit {
    pub(crate) const fn grant(
        question: Question,
        agreement: Arc<Agreement>,
        contracts: Vec<Arc<Contract>>,
        policies: Vec<String>,
        facts: DecisionFacts,
    ) -> Self {
        Self { question, agreement, contracts, policies, facts }
    }

    /// The question that was decided: who, what, for whom, over which columns.
    #[must_use]
    pub const fn question(&self) -> &Question {
        &self.question
    }

    /// The agreement under which it is allowed.
    #[must_use]
    pub const fn agreement(&self) -> &Arc<Agreement> {
        &self.agreement
    }

    /// The contracts of the datasets touched, in the order of [`Question::datasets`]; for a match, those of its terms
    /// that the question did not name follow.
    #[must_use]
    pub fn contracts(&self) -> &[Arc<Contract>] {
        &self.contracts
    }

    /// The contract of one dataset touched.
    #[must_use]
    pub fn contract(&self, dataset: &DatasetId) -> Option<&Arc<Contract>> {
        self.contracts.iter().find(|c| c.id == *dataset)
    }

    /// The bundle that decided.
    #[must_use]
    pub const fn bundle_sequence(&self) -> u64 {
        self.facts.bundle_sequence
    }

    /// The policies of the bundle that permit it, by id, sorted.
    #[must_use]
    pub fn policies(&self) -> &[String] {
        &self.policies
    }

    /// What the log may say.
    #[must_use]
    pub const fn facts(&self) -> &DecisionFacts {
        &self.facts
    }
}
