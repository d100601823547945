//! By what an answer is split, against the contract.

use super::columns::Columns;
use super::{Misfit, bind};
use crate::canonical::category_key;
use crate::category::Labels;
use crate::margins::MAX_GROUPS;
use crate::number::bucket;
use crate::{
    AggregateQuery, BoundCategory, Category, CheckedGroup, DatePart, Group, GroupingSet, MAX_BUCKETS, MAX_CELLS,
};
use firebreak_domain::{ColumnName, Contract, Domain, ReasonCode, Refusal};
use std::collections::{BTreeMap, BTreeSet};

/// The groups of a question, each once.
pub(super) struct Groups {
    /// With literals in their columns' types, in the order in which they are shown.
    pub(super) resolved: Vec<Group>,
    /// Of the question, by places in `resolved`.
    pub(super) grouping_sets: Vec<Vec<usize>>,
    /// In canonical order.
    pub(super) checked: Vec<CheckedGroup>,
    /// Which of them is shown first, and so on.
    pub(super) shown: Vec<usize>,
    /// The grouping sets, by places in `checked`; at least one.
    pub(super) sets: Vec<GroupingSet>,
}

pub(super) fn groups(query: &AggregateQuery, columns: &mut Columns<'_>, contract: &Contract) -> Result<Groups, Misfit> {
    let asked = &query.group_by;
    let mut resolved: Vec<Group> = Vec::with_capacity(asked.len());
    let mut by_key: BTreeMap<String, CheckedGroup> = BTreeMap::new();
    let mut keys = Vec::with_capacity(asked.len());
    // In the order asked, so that the first misfit is the first that the caller wrote.
    for Group { name, category } in asked {
        let category = columns.category(category)?;
        let key = category_key(&category);
        match by_key.get(&key) {
            None => {
                let (bound, codes) = bound(&category, contract)?;
                let is_period = is_period(&category, contract);
                by_key.insert(key.clone(), CheckedGroup { name: name.clone(), category: bound, codes, is_period });
                keys.push(key);
                resolved.push(Group { name: name.clone(), category });
            }
            Some(known) if known.name == *name => {}
            Some(_) => {
                let what = "the answer is split by one thing twice";
                return Err(Refusal::new(ReasonCode::MalformedRequest).because(what).into());
            }
        }
    }
    let shown: Vec<usize> = keys.iter().filter_map(|key| by_key.keys().position(|known| known == key)).collect();
    let sets = sets(query, &resolved, &shown, &by_key.values().collect::<Vec<_>>())?;
    let grouping_sets = query.margins().into_iter().map(|set| set.into_iter().collect()).collect();
    Ok(Groups { resolved, grouping_sets, checked: by_key.into_values().collect(), shown, sets })
}

/// The grouping sets in canonical order: that of all groups where the question names none.
// PRIVACY: headings are the caller's words; what is too much is named by the contract's or ours.
fn sets(
    query: &AggregateQuery,
    resolved: &[Group],
    shown: &[usize],
    groups: &[&CheckedGroup],
) -> Result<Vec<GroupingSet>, Refusal> {
    let size = |group: usize| groups.get(group).map_or(1, |group| group.codes.len());
    let too_many = || {
        let each = resolved.iter().zip(shown).map(|(group, place)| (group.category.default_name(), size(*place)));
        let sizes: Vec<String> = each.map(|(name, size)| format!("{name} has {size} values")).collect();
        Refusal::new(ReasonCode::TooManyGroups).because(sizes.join(", "))
    };
    let margins = query.margins();
    if let Some(open) = groups.iter().find_map(|group| group.open()) {
        if groups.len() > 1 || !margins.is_empty() {
            let what = format!(
                "the codes of column {open} are not declared: it is the only group of an answer, without grouping sets; \
                 for the others write FILTER"
            );
            return Err(Refusal::new(ReasonCode::NotGroupable).because(what));
        }
        // Its groups stand beside each other, each of one cell.
        return GroupingSet::of(Vec::new(), size).map(|set| vec![set]).ok_or_else(too_many);
    }
    if !margins.is_empty() && shown.len() > MAX_GROUPS {
        let what = format!("ROLLUP, CUBE and GROUPING SETS take at most {MAX_GROUPS} groups");
        return Err(Refusal::new(ReasonCode::TooManyGroups).because(what));
    }
    let places = |set: &BTreeSet<usize>| set.iter().filter_map(|asked| shown.get(*asked).copied()).collect();
    let mut sets: BTreeSet<BTreeSet<usize>> = margins.iter().map(places).collect();
    if sets.is_empty() {
        sets.insert(shown.iter().copied().collect());
    }
    let sets = sets.into_iter().map(|set| GroupingSet::of(set.into_iter().collect(), size).ok_or_else(too_many));
    let mut sets: Vec<GroupingSet> = sets.collect::<Result<_, _>>()?;
    // By the last group that two do not share, so that one group more in all of them changes no order.
    sets.sort_by(|one, other| one.groups().iter().rev().cmp(other.groups().iter().rev()));
    let cells = sets.iter().map(GroupingSet::cells).fold(0, usize::saturating_add);
    if cells > MAX_CELLS { Err(too_many()) } else { Ok(sets) }
}

fn is_period(category: &Category, contract: &Contract) -> bool {
    match category {
        Category::Column(column) => contract
            .column(column.as_str())
            .is_some_and(|column| matches!(column.domain, Domain::Month { .. } | Domain::Year { .. })),
        Category::Date { part, .. } => part.is_period(),
        Category::Bucket { .. } | Category::Case { .. } => false,
    }
}

/// A resolved category over encoded columns, and what its groups are called.
fn bound(category: &Category, contract: &Contract) -> Result<(BoundCategory, Vec<String>), Misfit> {
    match category {
        Category::Column(column) => {
            let declared = contract.column(column.as_str());
            if declared.is_some_and(|column| column.domain.is_open()) {
                return Ok((BoundCategory::Open(column.clone()), Vec::new()));
            }
            let codes = declared.map(|column| column.domain.codes());
            Ok((BoundCategory::Code(column.clone()), codes.unwrap_or_default()))
        }
        Category::Date { part, column } => of_date(*part, column, contract),
        Category::Bucket { value, low, high, buckets } => {
            let buckets = u16::try_from(*buckets).ok().filter(|buckets| (1..=MAX_BUCKETS).contains(buckets));
            let buckets = buckets.ok_or_else(|| {
                let what = format!("a WIDTH_BUCKET has 1 to {MAX_BUCKETS} buckets");
                Refusal::new(ReasonCode::LiteralMismatch).because(what)
            })?;
            let labels = (0..=buckets + 1).map(|bucket| bucket.to_string()).collect();
            Ok((bucket(value, *low, *high, buckets, contract)?, labels))
        }
        Category::Case { branches, otherwise } => {
            let labels = Labels::of(branches, otherwise.as_ref());
            // A statement has too few words for that many labels.
            let code = |label: &String| u16::try_from(labels.place(label)).map_err(|_| crate::parse::too_large());
            let bound = |(condition, label): &(_, String)| Ok((bind::bound(condition, contract)?, code(label)?));
            let case = BoundCategory::Case {
                branches: branches.iter().map(bound).collect::<Result<_, Refusal>>()?,
                otherwise: otherwise.as_ref().map(code).transpose()?,
            };
            Ok((case, labels.names.into_iter().map(str::to_owned).collect()))
        }
    }
}

fn of_date(part: DatePart, name: &ColumnName, contract: &Contract) -> Result<(BoundCategory, Vec<String>), Misfit> {
    let table = contract.column(name.as_str()).and_then(|column| part.table(&column.domain));
    let table = table.filter(|table| table.labels.len() <= MAX_CELLS).ok_or_else(|| Misfit {
        refusal: Box::new(
            Refusal::new(ReasonCode::NotGroupable)
                .because(format!("column {name} has no such part of a date, or days of more than four centuries")),
        ),
        column: Some(name.clone()),
    })?;
    let category = BoundCategory::Table { column: name.clone(), first: table.first, codes: table.codes };
    Ok((category, table.labels))
}
