use crate::bundle::Bundle;
use firebreak_domain::{
    Agreement, AgreementId, ColumnName, ColumnRole, Contract, Operation, OrgId, Recipient, RecipientClass, Timestamp,
};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A dataset as an organisation may ask it.
#[derive(Debug, Clone)]
pub struct VisibleDataset {
    /// Its contract. What is not among `columns` is not for showing.
    pub contract: Arc<Contract>,
    /// The columns that some agreement lets it ask, in the contract's order. The privacy unit is among them: it can be
    /// counted.
    pub columns: Vec<ColumnName>,
    /// The agreements under which it may ask, by id.
    pub agreements: Vec<Arc<Agreement>>,
}

/// A match as an organisation may know of it.
#[derive(Debug, Clone)]
pub struct VisibleMatch {
    /// The agreement that permits it.
    pub agreement: Arc<Agreement>,
    /// The contract of the receiver's dataset.
    pub receiver: Arc<Contract>,
    /// The contract of the sender's dataset.
    pub sender: Arc<Contract>,
}

impl Bundle {
    /// The match of an agreement, for `org` to know of now: by the rule of [`Bundle::visible_datasets`], with matches in
    /// place of aggregates. `None` alike for what it may not know of and what there is not.
    #[must_use]
    pub fn visible_match(&self, org: &OrgId, agreement: &AgreementId, now: Timestamp) -> Option<VisibleMatch> {
        if !self.may_receive(org, now) {
            return None;
        }
        let agreement = self.agreements().get(agreement).filter(|a| self.is_open(a, org, Operation::Match, now))?;
        let terms = agreement.matching.as_ref()?;
        let contract = |dataset| self.contracts().get(dataset).cloned();
        let (receiver, sender) = (contract(&terms.receiver_dataset)?, contract(&terms.sender_dataset)?);
        Some(VisibleMatch { agreement: Arc::clone(agreement), receiver, sender })
    }

    /// The datasets of which `org` may ask aggregates now, from the bundle alone, sorted by id. An organisation that
    /// counts as enforcement sees none. Suspensions do not show here.
    #[must_use]
    pub fn visible_datasets(&self, org: &OrgId, now: Timestamp) -> Vec<VisibleDataset> {
        if !self.may_receive(org, now) {
            return Vec::new();
        }
        let open = |a: &&Arc<Agreement>| self.is_open(a, org, Operation::Aggregate, now);
        let agreements: Vec<_> = self.agreements().values().filter(open).collect();
        self.contracts().values().filter_map(|contract| visible(contract, &agreements)).collect()
    }

    /// Whether anything may be for `org` while this bundle is in force.
    fn may_receive(&self, org: &OrgId, now: Timestamp) -> bool {
        let class = self.class_of(&Recipient::Organisation(org.clone())).class;
        class != RecipientClass::Enforcement && self.in_force(now)
    }

    fn is_open(&self, agreement: &Agreement, org: &OrgId, operation: Operation, now: Timestamp) -> bool {
        agreement.recipients.contains(org)
            && agreement.operations.contains(&operation)
            && self.agreement_counts(agreement, now)
    }
}

fn visible(contract: &Arc<Contract>, agreements: &[&Arc<Agreement>]) -> Option<VisibleDataset> {
    let mut allowed = BTreeSet::new();
    let mut under = Vec::new();
    for agreement in agreements {
        let grounded = membership_kinds(contract).all(|kind| agreement.has_ground_for(kind));
        if let Some(columns) = agreement.columns_of(&contract.id).filter(|_| grounded) {
            allowed.extend(columns);
            under.push(Arc::clone(agreement));
        }
    }
    let askable = |role| matches!(role, ColumnRole::Category | ColumnRole::Measure | ColumnRole::Filter);
    let columns = contract
        .columns
        .iter()
        .filter(|c| c.role == ColumnRole::PrivacyUnit || (askable(c.role) && allowed.contains(&c.name)));
    let columns = columns.map(|c| c.name.clone()).collect();
    (!under.is_empty()).then(|| VisibleDataset { contract: Arc::clone(contract), columns, agreements: under })
}

/// The special categories that standing in a dataset tells of a person: those that any column holds which is not
/// withheld altogether.
pub(crate) fn membership_kinds(contract: &Contract) -> impl Iterator<Item = firebreak_domain::SpecialKind> {
    contract.columns.iter().filter_map(|c| c.special).filter(|kind| !kind.is_forbidden())
}
