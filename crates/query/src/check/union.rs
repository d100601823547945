//! One question over the datasets of several agencies, each of which holds its part of one logical dataset.

use super::{Misfit, check, fits};
use crate::suggest::{Mentioned, complete};
use crate::to_sql::default_name;
use crate::{Aggregate, AggregateQuery, CheckedQuery, Output, OutputExpression, PrimitiveKind};
use firebreak_domain::{Contract, DatasetId, OrgId, PartOf, ReasonCode, Refusal};

/// What counts persons once in each register is called, where its caller gave it no name.
const REGISTRATIONS: &str = "registrations";

/// A logical dataset: what a question over it is put together from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogicalDataset {
    /// Its name in questions.
    pub id: DatasetId,
    /// Whether nobody stands in the registers of two parts, as the contracts state.
    pub disjoint_registers: bool,
    /// Its parts, by the ids of their datasets; two or more.
    pub parts: Vec<Part>,
}

/// One agency's part of a logical dataset.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    /// The agency.
    pub agency: OrgId,
    /// Its dataset.
    pub dataset: DatasetId,
}

impl LogicalDataset {
    /// That of these contracts, in their order; `None` unless each says to be a part of the same.
    #[must_use]
    pub fn of<'a>(contracts: impl IntoIterator<Item = &'a Contract>) -> Option<Self> {
        let mut found: Option<(&PartOf, Vec<Part>)> = None;
        for contract in contracts {
            let part_of = contract.part_of.as_ref()?;
            let (known, parts) = found.get_or_insert_with(|| (part_of, Vec::new()));
            if *known != part_of {
                return None;
            }
            parts.push(Part { agency: contract.agency.clone(), dataset: contract.id.clone() });
        }
        let (PartOf { dataset, disjoint_registers }, parts) = found?;
        Some(Self { id: dataset.clone(), disjoint_registers: *disjoint_registers, parts })
    }
}

impl AggregateQuery {
    /// The same question over one part of its logical dataset, as if nothing else had been asked.
    #[must_use]
    pub fn of_part(&self, part: &DatasetId) -> Self {
        Self { dataset: part.clone(), partial: false, ..self.clone() }
    }
}

/// Checks a question over a logical dataset against the contracts of all its parts, in their order: for each part the
/// question over that part alone, so that a release of it is the release of that question and answers whoever asks it.
///
/// What is counted and added up over the parts is the sum of what each part gives. What is chosen is not: quantiles are
/// refused. A person who stands in several registers is counted in each, so that what counts persons is called
/// registrations, unless its caller gave it another name than persons or the contracts state that registers are
/// disjoint.
///
/// # Errors
/// As [`check`]; of a quantile the suggestion is over one of the parts.
pub fn check_parts(query: &AggregateQuery, parts: &[Contract]) -> Result<Vec<CheckedQuery>, Refusal> {
    let (Some(first), Some(logical)) = (parts.first(), LogicalDataset::of(parts)) else {
        return Err(Refusal::new(ReasonCode::UnknownDataset));
    };
    if query.measures.iter().any(|measure| matches!(measure.aggregate, Aggregate::Quantile(..))) {
        let refusal = Refusal::new(ReasonCode::UnsupportedAggregate).because(
            "a quantile is chosen by each agency and not added up: over several it does not follow from theirs. Ask \
             each agency by itself",
        );
        return Err(complete(Misfit::from(refusal), first, &Mentioned::in_query(query, first)));
    }
    // What is wrong with the question is wrong over every part; what is suggested is over all of them.
    let whole = Contract { id: query.dataset.clone(), ..first.clone() };
    fits(query, &whole).map_err(|misfit| complete(misfit, &whole, &Mentioned::in_query(query, &whole)))?;
    let asked = if logical.disjoint_registers { query.clone() } else { with_registrations(query) };
    let checked = |part: &Contract| check(&asked.of_part(&part.id), part);
    let checked: Vec<CheckedQuery> = parts.iter().map(checked).collect::<Result<_, _>>()?;
    if checked.iter().any(|part| part.selection().is_some()) {
        let what = "groups whose codes are not declared are selected by each agency for itself, and do not add up: ask each \
                    agency by itself";
        return Err(Refusal::new(ReasonCode::NotGroupable).because(what));
    }
    let Some((one, others)) = checked.split_first() else { return Err(Refusal::new(ReasonCode::UnknownDataset)) };
    if others.iter().any(|other| !one.adds_up_with(other)) {
        let what = "the parts of this dataset do not mean the same: ask each agency by itself";
        return Err(Refusal::new(ReasonCode::UnknownDataset).because(what));
    }
    Ok(checked)
}

/// The question with counts of persons, where their caller did not name them, under the name of what they are.
fn with_registrations(query: &AggregateQuery) -> AggregateQuery {
    let taken = query.outputs.iter().any(|output| output.name == REGISTRATIONS)
        || query.group_by.iter().any(|group| group.name == REGISTRATIONS);
    let counts = |output: &Output| {
        let mut shown = &output.expression;
        while let OutputExpression::Round { of, .. } | OutputExpression::Clip { of, .. } = shown {
            shown = of;
        }
        let OutputExpression::Measure(place) = shown else { return false };
        let measure = query.measures.get(*place);
        measure.is_some_and(|measure| matches!(measure.aggregate, Aggregate::CountDistinct(_)))
            && output.name == default_name(&output.expression, &query.measures)
    };
    let mut renamed = query.clone();
    for output in renamed.outputs.iter_mut().filter(|output| !taken && counts(output)) {
        output.name = REGISTRATIONS.to_owned();
    }
    renamed
}

impl CheckedQuery {
    /// Whether its numbers and those of the same question over another dataset can be added, cell by cell.
    #[must_use]
    pub fn adds_up_with(&self, other: &Self) -> bool {
        let chosen = |query: &Self| query.primitives.iter().any(|p| matches!(p.kind, PrimitiveKind::Quantile { .. }));
        !chosen(self)
            && !chosen(other)
            && self.selection.is_none()
            && self.totals == other.totals
            && self.groups == other.groups
            && self.shown == other.shown
            && self.sets == other.sets
            && self.primitives == other.primitives
            && self.outputs == other.outputs
            && self.view == other.view
    }

    /// Whether an output rests on a count of persons.
    #[must_use]
    pub fn counts_persons(&self, output: &crate::CheckedOutput) -> bool {
        let of_persons =
            |place: usize| self.primitives.get(place).is_some_and(|p| p.kind == PrimitiveKind::CountPersons);
        output.formula.reads_any(&of_persons)
    }
}
