use crate::{ColumnName, DatasetId};
use serde::Deserialize;

/// A dataset, or a column of it, that its agency opens to no question and to no match, whatever policy says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Closed {
    /// The dataset.
    pub dataset: DatasetId,
    /// The column; the whole dataset if none is named.
    #[serde(default)]
    pub column: Option<ColumnName>,
}

impl Closed {
    /// The most datasets and columns that an agency may keep closed. A gateway hears of all of them at each visit.
    pub const MOST: usize = 4096;

    /// Whether any of `closed` is the dataset as a whole or one of the columns.
    pub fn reach<'a>(closed: &[Self], dataset: &DatasetId, mut columns: impl Iterator<Item = &'a ColumnName>) -> bool {
        let shut: Vec<_> = closed.iter().filter(|closed| closed.dataset == *dataset).collect();
        let is_shut = |name: &ColumnName| shut.iter().any(|closed| closed.column.as_ref() == Some(name));
        shut.iter().any(|closed| closed.column.is_none()) || columns.any(is_shut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dataset_is_closed_with_all_its_columns_and_a_column_by_itself() {
        let (visits, doses): (DatasetId, DatasetId) =
            ("health.visits".parse().unwrap(), "health.doses".parse().unwrap());
        let (region, cost) = (ColumnName::new("region").unwrap(), ColumnName::new("cost").unwrap());
        let closed = |column: Option<&ColumnName>| [Closed { dataset: visits.clone(), column: column.cloned() }];
        let reach = |closed: &[Closed], dataset: &DatasetId, columns: &[&ColumnName]| {
            Closed::reach(closed, dataset, columns.iter().copied())
        };
        assert!(reach(&closed(None), &visits, &[]));
        assert!(reach(&closed(Some(&region)), &visits, &[&cost, &region]));
        assert!(!reach(&closed(Some(&region)), &visits, &[&cost]));
        assert!(!reach(&closed(None), &doses, &[&region]) && !reach(&[], &visits, &[&region]));
    }
}
