use crate::bundle::Bundle;
use firebreak_domain::{
    Agreement, ColumnName, ColumnRole, Contract, Operation, OrgId, Recipient, RecipientClass, Timestamp,
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

impl Bundle {
    /// The datasets of which `org` may ask aggregates now, from the bundle alone, sorted by id. An organisation that
    /// counts as enforcement sees none. Suspensions do not show here.
    #[must_use]
    pub fn visible_datasets(&self, org: &OrgId, now: Timestamp) -> Vec<VisibleDataset> {
        let class = self.class_of(&Recipient::Organisation(org.clone())).class;
        if class == RecipientClass::Enforcement || !self.in_force(now) {
            return Vec::new();
        }
        let open = |a: &&Arc<Agreement>| {
            a.recipients.contains(org) && a.operations.contains(&Operation::Aggregate) && self.agreement_counts(a, now)
        };
        let agreements: Vec<_> = self.agreements().values().filter(open).collect();
        self.contracts().values().filter_map(|contract| visible(contract, &agreements)).collect()
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
