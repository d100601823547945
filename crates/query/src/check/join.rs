//! Several datasets of one register, joined on the person, as one contract.

use crate::{AggregateQuery, MAX_JOINED_ROWS, Reads};
use firebreak_domain::{
    Column, ColumnName, ColumnRole, Contract, Contribution, DatasetId, ReasonCode, Refusal, UnitSpaceId,
};
use std::collections::BTreeSet;

/// What is asked: a dataset, or several joined.
pub(crate) struct Subject {
    /// The contract of the dataset; of a join, one over the pairs of rows of one person, with each column behind its
    /// dataset's id.
    pub(crate) contract: Contract,
    /// Each dataset and the bound on a person's rows in it. Columns are filled in by the check.
    pub(crate) parts: Vec<Reads>,
    /// The persons' key of each dataset.
    pub(crate) keys: Vec<Column>,
    /// Further names of the privacy unit.
    pub(crate) units: BTreeSet<ColumnName>,
}

impl Subject {
    pub(crate) fn alone(contract: &Contract) -> Self {
        let keys = contract.privacy_unit().into_iter().cloned().collect();
        Self { contract: contract.clone(), parts: vec![part(contract)], keys, units: BTreeSet::new() }
    }

    /// The datasets of a question joined.
    ///
    /// A person with n rows in one dataset and k in another has n·k in the join. With the bounds m and l of both that
    /// is at most m·l, which is the bound of the join; whoever is in one of them alone has none.
    ///
    /// # Errors
    /// A refusal where they are not of one register, or are said to be equal in something else than the person.
    pub(crate) fn joined(query: &AggregateQuery, contracts: &[Contract]) -> Result<Self, Refusal> {
        if query.on_person {
            return Err(of_two_agencies(query, contracts));
        }
        let of = |id: &DatasetId| contracts.iter().find(|contract| contract.id == *id);
        let logical = |id: &DatasetId| {
            let of_it = |contract: &Contract| contract.part_of.as_ref().is_some_and(|part| part.dataset == *id);
            of(id).is_none() && contracts.iter().any(of_it)
        };
        if query.datasets().any(logical) {
            return Err(refused(
                "what several agencies hold together is not joined: join each agency's part by itself",
            ));
        }
        let contracts: Option<Vec<&Contract>> = query.datasets().map(of).collect();
        let contracts = contracts.ok_or_else(|| Refusal::new(ReasonCode::JoinAsked))?;
        let beneath = |one: &Contract, other: &Contract| other.id.as_str().starts_with(&format!("{}.", one.id));
        if contracts.iter().any(|one| contracts.iter().any(|other| beneath(one, other))) {
            return Err(refused(
                "the id of one of these datasets begins with that of another: columns cannot be told apart",
            ));
        }
        if !contracts.iter().zip(contracts.iter().skip(1)).all(|(one, next)| one.id < next.id) {
            return Err(refused("the datasets of a join stand in the order of their ids, each once"));
        }
        let Some((first, others)) = contracts.split_first() else {
            return Err(Refusal::new(ReasonCode::UnknownDataset));
        };
        if others.iter().any(|other| other.agency != first.agency || other.unit_space.id != first.unit_space.id) {
            return Err(refused(
                "datasets are joined so where one agency keeps them over one register of persons. Those of two \
                 agencies are joined ON PERSON, under an agreement with the terms of a join; which records another \
                 agency holds as well is asked of the match service",
            ));
        }
        let units: BTreeSet<ColumnName> = contracts.iter().flat_map(|contract| unit_names(contract)).collect();
        if query.joins.iter().flat_map(|join| &join.on).any(|name| !units.contains(name)) {
            return Err(refused(
                "datasets are joined on the person alone, ON a.person = b.person; on any other identifier there is the \
                 match service",
            ));
        }
        let mut columns: Vec<Column> = Vec::new();
        for contract in &contracts {
            let unit = |column: &Column| column.role == ColumnRole::PrivacyUnit;
            for column in contract.columns.iter().filter(|column| !unit(column) || contract.id == first.id) {
                let name = named(contract, &column.name);
                let name = name.ok_or_else(|| refused("a dataset's id and a column's name are too long for a join"))?;
                columns.push(Column { name, ..column.clone() });
            }
        }
        let bound = contracts.iter().map(|contract| contract.contribution.rows_per_person);
        let rows_per_person = bound.clone().try_fold(1_u32, u32::checked_mul).ok_or_else(|| {
            Refusal::new(ReasonCode::NotMeasurable).because("a person could have too many rows in this join")
        })?;
        let declared = first.unit_space.register_size.saturating_mul(u64::from(rows_per_person));
        if declared > MAX_JOINED_ROWS {
            let what = format!("a join is of at most {MAX_JOINED_ROWS} rows as the contracts declare them");
            return Err(refused(&what));
        }
        let everywhere = |cut: &&_| contracts.iter().all(|contract| contract.cuts.contains(cut));
        let contract = Contract {
            cuts: first.cuts.iter().filter(everywhere).cloned().collect(),
            contribution: Contribution { rows_per_person },
            columns,
            ..(*first).clone()
        };
        let keys = contracts.iter().filter_map(|contract| contract.privacy_unit()).cloned().collect();
        Ok(Self { contract, parts: contracts.into_iter().map(part).collect(), keys, units })
    }
}

/// Why a question `ON PERSON` is not answered as one over datasets of one register.
fn of_two_agencies(query: &AggregateQuery, contracts: &[Contract]) -> Refusal {
    let registers: Option<BTreeSet<&UnitSpaceId>> =
        query.datasets().map(|id| Some(&contracts.iter().find(|contract| contract.id == *id)?.unit_space.id)).collect();
    if registers.is_some_and(|registers| registers.len() == 1) {
        return refused("these datasets are over one register of persons: write USING (person) in place of ON PERSON");
    }
    refused(
        "datasets of two agencies are joined under an agreement whose [join] names both, and asked as a question of its \
         own",
    )
}

fn refused(what: &str) -> Refusal {
    Refusal::new(ReasonCode::JoinAsked).because(what)
}

pub(super) fn part(contract: &Contract) -> Reads {
    let rows_per_person = contract.contribution.rows_per_person;
    Reads { dataset: contract.id.clone(), columns: BTreeSet::new(), rows_per_person }
}

/// A column behind its dataset's id.
fn named(contract: &Contract, name: &ColumnName) -> Option<ColumnName> {
    ColumnName::new(format!("{}.{name}", contract.id)).ok()
}

/// What the person may be called in a join: the key of each dataset, or the word where no column has that name.
fn unit_names(contract: &Contract) -> Vec<ColumnName> {
    let word = || ColumnName::new(super::columns::PERSON).ok().filter(|word| contract.column(word.as_str()).is_none());
    let unit = contract.privacy_unit().map(|unit| unit.name.clone());
    let behind = [unit, word()].into_iter().flatten().filter_map(|name| named(contract, &name));
    behind.chain(ColumnName::new(super::columns::PERSON)).collect()
}
