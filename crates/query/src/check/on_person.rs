//! Two agencies' datasets, joined on the person by an identifier that both have.

use super::join::{Subject, part};
use super::summed::{counted, summed};
use super::{Misfit, of_subject};
use crate::canonical::{category_key, normal};
use crate::joined::Summed;
use crate::to_sql::{dataset, name};
use crate::{
    Aggregate, AggregateQuery, Basis, Bins, Category, CheckedJoin, CheckedQuery, CheckedSide, Group, MAX_BINS, Measure,
    Output, OutputExpression, Predicate, RowValue, View, of_dataset,
};
use firebreak_domain::{
    Column, ColumnName, ColumnRole, Contract, Contribution, DatasetId, Domain, JoinSide, JoinTerms, MAX_JOIN_CELLS,
    ReasonCode, Refusal,
};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// Checks a question over two agencies' datasets, joined `ON PERSON`, against the contracts of both and the terms of the
/// agreement, which it reads as they are: that they hold is the policy's to say. It reads nothing else, and no data.
///
/// What is counted is persons: of each register at most one row of a person takes part, and a person counts in the one
/// cell of both rows' labels. So a question has `COUNT(*)` and arithmetic over it; `WHERE`, whose conditions are each on
/// one side's columns; `GROUP BY`, likewise, with at most [`MAX_JOIN_CELLS`] cells; and `HAVING`, `ORDER BY` and
/// `LIMIT`, which choose among released values. `SUM` and `AVG` of one value of one side are worked out from the counts by
/// that value's [`Bins`], whose number counts towards the cells.
///
/// # Errors
/// A [`Refusal`] whose suggestion is a question that can be answered. It repeats nothing that the caller typed.
pub fn check_join(query: &AggregateQuery, contracts: &[Contract], terms: &JoinTerms) -> Result<CheckedJoin, Refusal> {
    let of = |side: JoinSide| contracts.iter().find(|contract| contract.id == *terms.dataset(side)).map(asked);
    let (Some(left), Some(right)) = (of(JoinSide::Left), of(JoinSide::Right)) else {
        return Err(Refusal::new(ReasonCode::UnknownDataset));
    };
    joined(query, &left, &right, terms).map_err(|misfit| misfit.refusal.instead(example(&left, &right)))
}

/// What of a contract a join can ask. Which rows of a person a dataset's own bound leaves out says nothing here, where
/// at most one counts.
fn asked(contract: &Contract) -> Contract {
    let columns = contract.columns.iter().filter(|column| column.domain != Domain::LeftOut).cloned().collect();
    Contract { columns, ..contract.clone() }
}

fn joined(query: &AggregateQuery, left: &Contract, right: &Contract, terms: &JoinTerms) -> Result<CheckedJoin, Misfit> {
    if !query.on_person || !terms.joins(query.datasets()) {
        let what = "the agreement joins two datasets ON PERSON: those that its [join] names";
        return Err(Refusal::new(ReasonCode::JoinAsked).because(what).into());
    }
    let added_up = summed(query)?;
    if !query.margins().is_empty() {
        let what = "a join has the cells of all its groups together: add margins up from them, or take them as \
                    SUM(COUNT(*)) OVER (PARTITION BY ..), which costs nothing";
        return Err(Refusal::new(ReasonCode::UnsupportedClause).because(what).into());
    }
    if query.rho.is_some() {
        let what = "a join costs what the agreement's [join] says: leave rho out";
        return Err(Refusal::new(ReasonCode::UnsupportedClause).because(what).into());
    }
    let answered = of_subject(query, subject(left, right)?)?;
    if answered.selection.is_some() {
        let what = "groups of a join are declared: a column whose codes are not has none here";
        return Err(Refusal::new(ReasonCode::NotGroupable).because(what).into());
    }
    let binned = added_up.map(|value| binned(query, value, left, right, terms)).transpose()?;
    let query = binned.as_ref().map_or(query, |(_, counted)| counted);
    let whole = if binned.is_some() { of_subject(query, subject(left, right)?)? } else { answered.clone() };
    let labels = whole.sets.iter().map(crate::GroupingSet::cells).fold(0, usize::saturating_add);
    if labels > MAX_JOIN_CELLS {
        let bins = if binned.is_some() { ", the bins of what is added up counted in" } else { "" };
        let what = format!("a join has at most {MAX_JOIN_CELLS} cells{bins}: each is covered by dummies of both sides");
        return Err(Refusal::new(ReasonCode::TooManyGroups).because(what).into());
    }
    let groups = divided(query, terms)?;
    let side = |contract: &Contract, of: JoinSide| side(query, &whole, &groups, contract, of);
    let (left, right) = (side(left, JoinSide::Left)?, side(right, JoinSide::Right)?);
    // Labels of both sides come to the cells of all groups: each group is one side's.
    let cells = cells(&whole, &groups, &left, &right).ok_or_else(|| Refusal::new(ReasonCode::NotGroupable))?;
    let basis = basis(&whole, &left, &right, terms);
    // The bins stand last of the groups that are counted.
    let summed = binned.zip(whole.shown.last().copied()).map(|((bins, _), place)| {
        let answered = CheckedQuery { basis, ..answered };
        Summed { answered, bins, place }
    });
    let whole = CheckedQuery { basis, ..whole };
    Ok(CheckedJoin { whole, summed, left, right, terms: terms.clone(), cells })
}

/// The bins of a value of one side, and the question that counts by them.
fn binned(
    query: &AggregateQuery,
    value: &RowValue,
    left: &Contract,
    right: &Contract,
    terms: &JoinTerms,
) -> Result<(Bins, AggregateQuery), Refusal> {
    let own = |side: &JoinSide| Own { dataset: terms.dataset(*side) }.value(value).is_some();
    if !JoinSide::BOTH.iter().any(own) {
        let what = format!(
            "a join adds up a value of one of its datasets, as counts of persons in at most {MAX_BINS} bins of it: a value \
             of both is never put together"
        );
        return Err(Refusal::new(ReasonCode::UnsupportedAggregate).because(what));
    }
    let (bins, category) = Bins::of(value, &subject(left, right)?.contract)?;
    if query.group_by.iter().any(|group| category_key(&group.category) == category_key(&category)) {
        let what = "a group has the very bins in which a join counts what it adds up, so that the sum of each is its count \
                    times the middle of the bin: ask COUNT(*) by them, without the sum";
        return Err(Refusal::new(ReasonCode::UnsupportedAggregate).because(what));
    }
    Ok((bins, counted(query, category)))
}

/// Both datasets as one of which each person has one row, each column behind its dataset's id.
fn subject(left: &Contract, right: &Contract) -> Result<Subject, Refusal> {
    let beneath = |one: &Contract, other: &Contract| other.id.as_str().starts_with(&format!("{}.", one.id));
    if beneath(left, right) || beneath(right, left) {
        let what = "the id of one of these datasets begins with that of another: columns cannot be told apart";
        return Err(Refusal::new(ReasonCode::JoinAsked).because(what));
    }
    let mut columns: Vec<Column> = Vec::new();
    for contract in [left, right] {
        for column in contract.columns.iter().filter(|column| column.role != ColumnRole::PrivacyUnit) {
            let name = ColumnName::new(format!("{}.{}", contract.id, column.name)).map_err(|_| {
                let what = "a dataset's id and a column's name are too long for a join";
                Refusal::new(ReasonCode::JoinAsked).because(what)
            })?;
            columns.push(Column { name, ..column.clone() });
        }
    }
    let keys = [left, right].into_iter().filter_map(Contract::privacy_unit).cloned().collect();
    let contract = Contract {
        cuts: left.cuts.iter().filter(|cut| right.cuts.contains(cut)).cloned().collect(),
        contribution: Contribution { rows_per_person: 1 },
        part_of: None,
        columns,
        ..left.clone()
    };
    Ok(Subject { contract, parts: vec![part(left), part(right)], keys, units: BTreeSet::new() })
}

/// By what the answer is split, each thing once and in the order asked, with the side that it is of and in that side's
/// own names.
fn divided(query: &AggregateQuery, terms: &JoinTerms) -> Result<Vec<(JoinSide, Category)>, Refusal> {
    let mut known = BTreeSet::new();
    let once = query.group_by.iter().filter(|group| known.insert(category_key(&group.category)));
    let of_side = |group: &Group| {
        let own = |side: JoinSide| Some((side, Own { dataset: terms.dataset(side) }.category(&group.category)?));
        JoinSide::BOTH.into_iter().find_map(own).ok_or_else(|| {
            let what = "each group of a join follows from columns of one of its datasets";
            Refusal::new(ReasonCode::NotGroupable).because(what)
        })
    };
    once.map(of_side).collect()
}

/// The question over one side: the conditions and groups that are its own.
fn side(
    query: &AggregateQuery,
    whole: &CheckedQuery,
    groups: &[(JoinSide, Category)],
    contract: &Contract,
    side: JoinSide,
) -> Result<CheckedSide, Misfit> {
    let own = Own { dataset: &contract.id };
    let named = |(place, category): (usize, &Category)| {
        // Headings are of no use here, and must not meet each other's or a column's.
        let name = match category {
            Category::Column(column) => column.to_string(),
            _ => format!("group {}", place + 1),
        };
        Group { name, category: category.clone() }
    };
    let groups = groups.iter().filter(|(of, _)| *of == side).map(|(_, category)| category).enumerate().map(named);
    let alone = AggregateQuery {
        dataset: contract.id.clone(),
        joins: Vec::new(),
        on_person: false,
        partial: false,
        cut: Some(whole.cut.clone()),
        filter: own.filter(query.filter.as_ref(), whole)?,
        group_by: groups.collect(),
        grouping_sets: Vec::new(),
        measures: vec![Measure { aggregate: Aggregate::CountRows, filter: None }],
        outputs: vec![Output { name: "rows counted".to_owned(), expression: OutputExpression::Measure(0) }],
        view: View::default(),
        rho: None,
    };
    Ok(CheckedSide { side, query: of_subject(&alone, Subject::alone(contract))? })
}

/// One side's columns, by their own names.
struct Own<'a> {
    dataset: &'a DatasetId,
}

impl Own<'_> {
    /// The conditions that are on this side's columns, of all that are joined by AND.
    ///
    /// # Errors
    /// A refusal where one is on columns of both.
    fn filter(&self, filter: Option<&Predicate>, whole: &CheckedQuery) -> Result<Option<Predicate>, Refusal> {
        let Some(filter) = filter else { return Ok(None) };
        let parts = match normal(filter, false) {
            Predicate::And(parts) => parts,
            other => vec![other],
        };
        let mut own = Vec::new();
        for part in &parts {
            let of_one = |reads: &crate::Reads| Own { dataset: &reads.dataset }.predicate(part).is_some();
            if !whole.reads.iter().any(of_one) {
                let what = "each condition of a join is on columns of one of its datasets, and AND joins them";
                return Err(Refusal::new(ReasonCode::UnsupportedExpression).because(what));
            }
            own.extend(self.predicate(part));
        }
        Ok((!own.is_empty()).then_some(Predicate::And(own)))
    }

    fn column(&self, column: &ColumnName) -> Option<ColumnName> {
        of_dataset(self.dataset, column)
    }

    /// A condition in this side's own names; `None` if it is on a column that is not this side's.
    fn predicate(&self, predicate: &Predicate) -> Option<Predicate> {
        let all = |parts: &[Predicate]| parts.iter().map(|part| self.predicate(part)).collect::<Option<Vec<_>>>();
        Some(match predicate {
            Predicate::And(parts) => Predicate::And(all(parts)?),
            Predicate::Or(parts) => Predicate::Or(all(parts)?),
            Predicate::Not(part) => Predicate::Not(Box::new(self.predicate(part)?)),
            Predicate::Compare { column, op, literal } => {
                Predicate::Compare { column: self.column(column)?, op: *op, literal: literal.clone() }
            }
            Predicate::In { column, literals } => {
                Predicate::In { column: self.column(column)?, literals: literals.clone() }
            }
            Predicate::Between { column, low, high } => {
                Predicate::Between { column: self.column(column)?, low: low.clone(), high: high.clone() }
            }
            Predicate::IsNull { column } => Predicate::IsNull { column: self.column(column)? },
        })
    }

    /// A category in this side's own names; `None` if it rests on a column that is not this side's, or on none.
    fn category(&self, category: &Category) -> Option<Category> {
        Some(match category {
            Category::Column(column) => Category::Column(self.column(column)?),
            Category::Date { part, column } => Category::Date { part: *part, column: self.column(column)? },
            Category::Bucket { value, .. } if value.columns().is_empty() => return None,
            Category::Bucket { value, low, high, buckets } => {
                Category::Bucket { value: self.value(value)?, low: *low, high: *high, buckets: *buckets }
            }
            Category::Case { branches, otherwise } => {
                let branch = |(when, label): &(Predicate, String)| Some((self.predicate(when)?, label.clone()));
                let branches = branches.iter().map(branch).collect::<Option<_>>()?;
                Category::Case { branches, otherwise: otherwise.clone() }
            }
        })
    }

    fn value(&self, value: &RowValue) -> Option<RowValue> {
        Some(match value {
            RowValue::Column(column) => RowValue::Column(self.column(column)?),
            RowValue::Constant(number) => RowValue::Constant(*number),
            RowValue::Binary { op, left, right } => {
                let (left, right) = (Box::new(self.value(left)?), Box::new(self.value(right)?));
                RowValue::Binary { op: *op, left, right }
            }
            RowValue::Clamp { of, low, high } => {
                RowValue::Clamp { of: Box::new(self.value(of)?), low: *low, high: *high }
            }
        })
    }
}

/// The cell of the answer for each pair of labels; `None` where the sides' groups are not those of the answer.
///
/// Canonical order is that of the groups' texts, among which a rule's begins with a bracket: one side's groups need not
/// stand together, nor in the order that they have on their side.
fn cells(
    whole: &CheckedQuery,
    groups: &[(JoinSide, Category)],
    left: &CheckedSide,
    right: &CheckedSide,
) -> Option<Vec<usize>> {
    // Of each group of the answer by its place, the side that has it and its place there.
    let mut owners = vec![None; whole.groups.len()];
    let (mut of_left, mut of_right) = (left.query.shown.iter(), right.query.shown.iter());
    for ((side, _), place) in groups.iter().zip(&whole.shown) {
        let own = match side {
            JoinSide::Left => of_left.next(),
            JoinSide::Right => of_right.next(),
        };
        *owners.get_mut(*place)? = Some((*side, *own?));
    }
    let (all, left, right) = (whole.sets.first()?, left.query.sets.first()?, right.query.sets.first()?);
    if left.cells().checked_mul(right.cells())? != all.cells() {
        return None;
    }
    let pairs = (0..left.cells()).flat_map(|one| (0..right.cells()).map(move |other| (one, other)));
    let cell = |(one, other): (usize, usize)| {
        all.cell(|group| match (*owners.get(group)?)? {
            (JoinSide::Left, place) => left.code(one, place),
            (JoinSide::Right, place) => right.code(other, place),
        })
    };
    pairs.map(cell).collect()
}

/// What gives the counts of a join their meaning: both sides' contracts, and by which identifier persons are joined.
fn basis(whole: &CheckedQuery, left: &CheckedSide, right: &CheckedSide, terms: &JoinTerms) -> Basis {
    let hash = Sha256::new()
        .chain_update(b"firebreak join basis format 1\n")
        .chain_update(whole.basis.as_bytes())
        .chain_update(left.query.basis.as_bytes())
        .chain_update(right.query.basis.as_bytes())
        .chain_update(terms.normaliser.to_be_bytes())
        .chain_update(terms.field.as_str());
    Basis::from_bytes(hash.finalize().into())
}

/// A question over this join that can be answered.
fn example(left: &Contract, right: &Contract) -> String {
    let group = |contract: &Contract| {
        let column = contract.columns.iter().find(|column| super::is_groupable(column))?;
        Some(format!("{}.{}", named(contract), name(column.name.as_str())))
    };
    let groups: Vec<String> = [left, right].into_iter().filter_map(group).collect();
    let from = format!("COUNT(*) FROM {} JOIN {} ON PERSON", named(left), named(right));
    if groups.is_empty() {
        return format!("SELECT {from}");
    }
    let groups = groups.join(", ");
    format!("SELECT {groups}, {from} GROUP BY {groups}")
}

fn named(contract: &Contract) -> String {
    dataset(contract.id.as_str())
}
