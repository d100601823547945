use super::App;
use firebreak_domain::{Agreement, ColumnName, Contract, DatasetId, Identity, ReasonCode, Refusal};
use firebreak_policy::VisibleDataset;
use std::sync::Arc;

/// A dataset as its caller sees it in a list.
pub struct Visible {
    /// Its contract.
    pub contract: Arc<Contract>,
    /// The agreements under which the caller may ask it.
    pub agreements: Vec<Arc<Agreement>>,
}

/// A dataset in full.
pub struct Described {
    /// As in a list.
    pub visible: Visible,
    /// The columns that the caller may ask.
    pub columns: Vec<ColumnName>,
    /// A question that would be answered.
    pub example: String,
}

impl App {
    /// The datasets that the caller may ask, from contracts and agreements alone.
    ///
    /// # Errors
    /// A refusal without a policy in force.
    pub fn list_datasets(&self, caller: &Identity) -> Result<Vec<Visible>, Refusal> {
        Ok(self.visible(caller)?.into_iter().map(seen).collect())
    }

    /// One of them in full. What one may not see and what does not exist look the same.
    ///
    /// # Errors
    /// `UNKNOWN_DATASET`.
    pub fn describe_dataset(&self, caller: &Identity, dataset: &str) -> Result<Described, Refusal> {
        let unknown = || Refusal::new(ReasonCode::UnknownDataset).instead("list the datasets: firebreak datasets");
        let id = DatasetId::new(dataset).map_err(|_| unknown())?;
        let found = self.visible(caller)?.into_iter().find(|d| d.contract.id == id).ok_or_else(unknown)?;
        Ok(described(found))
    }

    /// All of them in full.
    ///
    /// # Errors
    /// A refusal without a policy in force.
    pub fn describe_datasets(&self, caller: &Identity) -> Result<Vec<Described>, Refusal> {
        Ok(self.visible(caller)?.into_iter().map(described).collect())
    }

    fn visible(&self, caller: &Identity) -> Result<Vec<VisibleDataset>, Refusal> {
        Ok(self.policy.bundle()?.visible_datasets(&caller.org, self.state.now()))
    }
}

fn described(found: VisibleDataset) -> Described {
    let shown = |c: &&firebreak_domain::Column| {
        c.role == firebreak_domain::ColumnRole::PrivacyUnit || found.columns.contains(&c.name)
    };
    let columns = found.contract.columns.iter().filter(shown).cloned().collect();
    let restricted = Contract { columns, ..(*found.contract).clone() };
    let example = firebreak_query::default_sql(&restricted);
    let columns = found.columns.clone();
    Described { visible: seen(found), columns, example }
}

fn seen(dataset: VisibleDataset) -> Visible {
    Visible { contract: dataset.contract, agreements: dataset.agreements }
}
