//! A value that a question over a join adds up, as counts of persons by its bins.

use crate::canonical::value_key;
use crate::{Aggregate, AggregateQuery, Category, Group, Measure, Output, OutputExpression, RowValue, View};
use firebreak_domain::{ColumnName, ReasonCode, Refusal};

/// The value that is added up, if one is. Persons are counted, each once, in one cell: nothing else is measured.
///
/// # Errors
/// A refusal of everything that does not follow from such counts.
pub(super) fn summed(query: &AggregateQuery) -> Result<Option<&RowValue>, Refusal> {
    let refused = |what: &str| Err(Refusal::new(ReasonCode::UnsupportedAggregate).because(what));
    let mut summed: Option<&RowValue> = None;
    for Measure { aggregate, filter } in &query.measures {
        if filter.is_some() {
            return refused("a condition of a join stands in WHERE, and not in FILTER");
        }
        match aggregate {
            Aggregate::CountRows | Aggregate::Count(_) => {}
            Aggregate::CountDistinct(_) => {
                return refused("COUNT(*) counts the persons of a join, each once: write that");
            }
            Aggregate::Sum(value) | Aggregate::Avg(value) => match summed {
                Some(known) if value_key(known) != value_key(value) => {
                    return refused("a join adds up one value: ask each by itself");
                }
                _ => summed = Some(value),
            },
            Aggregate::Spread(..) | Aggregate::Quantile(..) => {
                return refused("a join answers COUNT(*), or SUM and AVG of one value, and arithmetic over them");
            }
        }
    }
    let of_value = |column: &ColumnName| summed.is_some_and(|value| value.columns().into_iter().eq([column]));
    for Measure { aggregate, .. } in &query.measures {
        match aggregate {
            // Whoever has no value is in no bin, and so in no count.
            Aggregate::CountRows if summed.is_some() => {
                return refused(
                    "beside a sum a join counts the persons who have the value, COUNT(column), and no others",
                );
            }
            Aggregate::Count(column) if !of_value(column) => {
                return refused(
                    "a join counts persons, COUNT(*); COUNT(column) stands beside the SUM or AVG of the column",
                );
            }
            _ => {}
        }
    }
    Ok(summed)
}

/// The question whose counts a sum is worked out from: the persons of each group and bin.
///
/// It is the one that asks for them, so that both have one release.
pub(super) fn counted(query: &AggregateQuery, bins: Category) -> AggregateQuery {
    // Headings must not meet each other.
    let free = |word: &str| {
        let names = (0..=query.group_by.len()).map(|number| format!("{word} {number}"));
        names.into_iter().find(|name| query.group_by.iter().all(|group| group.name != *name)).unwrap_or_default()
    };
    let bins = Group { name: free("bin"), category: bins };
    AggregateQuery {
        group_by: query.group_by.iter().cloned().chain([bins]).collect(),
        grouping_sets: Vec::new(),
        measures: vec![Measure { aggregate: Aggregate::CountRows, filter: None }],
        outputs: vec![Output { name: free("persons"), expression: OutputExpression::Measure(0) }],
        view: View::default(),
        ..query.clone()
    }
}
