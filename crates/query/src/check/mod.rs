//! A question against the contract of its dataset.

mod bind;
mod columns;
mod groups;
mod join;
mod lower;
mod on_person;
mod shape;
mod summed;
mod union;

use crate::suggest::{Mentioned, complete};
use crate::{
    AggregateQuery, Basis, CheckedGroup, CheckedQuery, GroupingSet, MAX_QUANTILE_NUMBERS, Measure, Predicate,
    of_dataset,
};
use columns::Columns;
pub(crate) use columns::{is_groupable, is_readable};
use firebreak_domain::{ColumnName, Contract, CutId, ReasonCode, Refusal};
use groups::{Groups, groups};
use join::Subject;
pub use on_person::check_join;
pub use union::{LogicalDataset, Part, check_parts};

/// Why a question does not fit, and the column that it is about, for the suggestion.
pub(crate) struct Misfit {
    pub(crate) refusal: Box<Refusal>,
    pub(crate) column: Option<ColumnName>,
}

impl From<Refusal> for Misfit {
    fn from(refusal: Refusal) -> Self {
        Self { refusal: Box::new(refusal), column: None }
    }
}

/// Checks a question against the contract of its dataset. It reads nothing else, and no data.
///
/// # Errors
/// A [`Refusal`] whose suggestion is a statement that fits this contract. It repeats nothing that the caller typed:
/// names in it are the contract's.
pub fn check(query: &AggregateQuery, contract: &Contract) -> Result<CheckedQuery, Refusal> {
    check_over(query, std::slice::from_ref(contract))
}

/// [`check`] of a question over several datasets, whose contracts are among these.
///
/// # Errors
/// As there; also if one of its datasets has no contract here, or they cannot be joined.
pub fn check_over(query: &AggregateQuery, contracts: &[Contract]) -> Result<CheckedQuery, Refusal> {
    let first = contracts.iter().find(|contract| contract.id == query.dataset).or_else(|| contracts.first());
    let first = first.ok_or_else(|| Refusal::new(ReasonCode::UnknownDataset))?;
    if query.joins.is_empty() {
        return fits(query, first).map_err(|misfit| complete(misfit, first, &Mentioned::in_query(query, first)));
    }
    let subject = Subject::joined(query, contracts).map_err(Misfit::from);
    // What is suggested is over one dataset: its names are not those of a join.
    let plain = |misfit: Misfit| complete(Misfit { column: None, ..misfit }, first, &Mentioned::default());
    subject.and_then(|subject| of_subject(query, subject)).map_err(plain)
}

/// The check without a suggestion, which the suggestion itself has to pass.
pub(crate) fn fits(query: &AggregateQuery, contract: &Contract) -> Result<CheckedQuery, Misfit> {
    of_subject(query, Subject::alone(contract))
}

fn of_subject(query: &AggregateQuery, subject: Subject) -> Result<CheckedQuery, Misfit> {
    let Subject { contract, mut parts, keys, units } = subject;
    let contract = &contract;
    shape::check(query)?;
    if query.dataset != contract.id {
        return Err(Refusal::new(ReasonCode::UnknownDataset).into());
    }
    let cut = cut(query, contract)?;
    let mut columns = Columns::new(contract, &units);
    let Groups { resolved: group_by, grouping_sets, checked: groups, shown, sets } =
        groups(query, &mut columns, contract)?;
    let filter = query.filter.as_ref().map(|filter| columns.resolve(filter)).transpose()?;
    let mut measures = Vec::with_capacity(query.measures.len());
    for measure in &query.measures {
        let aggregate = columns.aggregate(&measure.aggregate)?;
        let filter = measure.filter.as_ref().map(|filter| columns.resolve(filter)).transpose()?;
        measures.push(Measure { aggregate, filter });
    }
    let resolved = AggregateQuery {
        cut: Some(cut.clone()),
        filter,
        group_by,
        grouping_sets,
        measures,
        partial: false,
        ..query.clone()
    };
    let bound = |filter: &Option<Predicate>| filter.as_ref().map(|filter| bind::bound(filter, contract)).transpose();
    let shown_groups: Vec<(usize, &CheckedGroup)> =
        shown.iter().filter_map(|place| Some((*place, groups.get(*place)?))).collect();
    let lowered = lower::lower(&resolved, &shown_groups, contract)?;
    let cells: usize = sets.iter().map(GroupingSet::cells).sum();
    let numbers = |primitive: &crate::Primitive| match primitive.kind().numbers_per_cell() {
        1 => 0,
        several => several.saturating_mul(cells),
    };
    if lowered.primitives.iter().map(numbers).fold(0, usize::saturating_add) > MAX_QUANTILE_NUMBERS {
        let what = "quantiles are chosen among up to a thousand values in each group: fewer groups, or fewer quantiles";
        return Err(Refusal::new(ReasonCode::TooManyGroups).because(what).into());
    }
    let rows_per_person = contract.contribution.rows_per_person;
    // Open codes have as many cells as there are codes: no number of them bounds how many a person can be in.
    let cells_of = |set: &GroupingSet| if lowered.selection.is_some() { usize::MAX } else { set.cells() };
    let mut squared_sensitivities = Vec::with_capacity(sets.len() * lowered.primitives.len());
    let mut l1_sensitivities = Vec::with_capacity(squared_sensitivities.capacity());
    for (set, primitive) in sets.iter().flat_map(|set| lowered.primitives.iter().map(move |of| (set, of))) {
        let squared = primitive.squared_l2_sensitivity(rows_per_person, cells_of(set));
        squared_sensitivities.push(squared.ok_or_else(|| {
            Refusal::new(ReasonCode::NotMeasurable).because("the declared bounds are too wide for a sum with noise")
        })?);
        // What fits squared fits as it is.
        l1_sensitivities.push(primitive.l1_sensitivity(rows_per_person, cells_of(set)).unwrap_or(u128::MAX));
    }
    let (columns, mut special) = columns.touched();
    // To be in a dataset at all can be special.
    special.extend(keys.iter().filter_map(|key| key.special));
    for part in &mut parts {
        let own = |name: &ColumnName| match query.joins.as_slice() {
            [] => Some(name.clone()),
            _ => of_dataset(&part.dataset, name),
        };
        part.columns = columns.iter().filter_map(own).collect();
    }
    Ok(CheckedQuery {
        dataset: contract.id.clone(),
        agency: contract.agency.clone(),
        canonical: resolved.canonical(),
        basis: Basis::of(contract, &parts, &keys, &columns, &groups, &lowered.primitives, &lowered.keys),
        reads: parts,
        cut,
        groups,
        shown,
        filter: bound(&resolved.filter)?,
        primitives: lowered.primitives,
        squared_sensitivities,
        l1_sensitivities,
        uses: lowered.uses.repeat(sets.len()),
        selection: lowered.selection,
        sets,
        totals: lowered.totals,
        outputs: lowered.outputs,
        view: lowered.view,
        columns,
        special,
        rho: query.rho,
        rows_per_person,
    })
}

fn cut(query: &AggregateQuery, contract: &Contract) -> Result<CutId, Refusal> {
    let unknown = || {
        let calendar: Vec<&str> = contract.cuts.iter().map(CutId::as_str).collect();
        Refusal::new(ReasonCode::UnknownCut).because(format!("{} has {}", contract.id, listed(&calendar)))
    };
    match &query.cut {
        Some(cut) if contract.cuts.contains(cut) => Ok(cut.clone()),
        Some(_) => Err(unknown()),
        None => contract.latest_cut().cloned().ok_or_else(unknown),
    }
}

/// A list in words, cut off where it gets long.
pub(crate) fn listed(names: &[&str]) -> String {
    const SHOWN: usize = 24;
    let mut text = names.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}
