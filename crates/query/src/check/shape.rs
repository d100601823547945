//! What holds of every question whatever its contract; SQL gives most of it, a message may not.

use crate::parse::{tokens, too_large};
use crate::{
    Aggregate, AggregateQuery, Category, Group, Having, MAX_DEPTH, MAX_JOINS, MAX_MEASURES, MAX_ROUNDING, OrderKey,
    OutputExpression, Predicate, RowValue, to_sql,
};
use chrono::Datelike;
use firebreak_domain::{ReasonCode, Refusal};
use std::collections::BTreeSet;

/// The longest heading or label.
const MAX_NAME: usize = 128;

pub(super) fn check(query: &AggregateQuery) -> Result<(), Refusal> {
    if query.measures.len() > MAX_MEASURES || query.outputs.len() > MAX_MEASURES {
        return Err(too_large());
    }
    if query.measures.is_empty() || query.outputs.is_empty() {
        return Err(malformed("a question has at least one measure and one output"));
    }
    if query.joins.len() > MAX_JOINS {
        return Err(too_large());
    }
    if query.on_person && query.joins.len() != 1 {
        return Err(malformed("on_person joins one dataset to another"));
    }
    if query.rho.is_some_and(|rho| rho.nano() == 0) {
        return Err(malformed("rho is above 0"));
    }
    for filter in query.measures.iter().filter_map(|m| m.filter.as_ref()).chain(&query.filter) {
        predicate(filter, 0)?;
    }
    for measure in &query.measures {
        if let Aggregate::Sum(of) | Aggregate::Avg(of) | Aggregate::Spread(_, of) | Aggregate::Quantile(of, _) =
            &measure.aggregate
        {
            value(of, 0, 0, &mut 0)?;
        }
    }
    let mut used = BTreeSet::new();
    let mut names: BTreeSet<&str> = BTreeSet::new();
    for (place, group) in query.group_by.iter().enumerate() {
        self::group(group, query.joins.is_empty())?;
        let repeated = query.group_by.iter().take(place).any(|before| before == group);
        if !names.insert(&group.name) && !repeated {
            return Err(twice());
        }
    }
    grouping_sets(query)?;
    for output in &query.outputs {
        outermost(&output.expression, query.measures.len(), &mut used)?;
        heading(&output.name)?;
        if !names.insert(&output.name) {
            return Err(twice());
        }
    }
    let mut of_view = |part: &OutputExpression| outermost(part, query.measures.len(), &mut used);
    if let Some(having) = &query.view.having {
        self::having(having, 0, &mut of_view)?;
    }
    if query.view.order_by.len() > MAX_MEASURES {
        return Err(too_large());
    }
    for order in &query.view.order_by {
        if let OrderKey::Value(value) = &order.by {
            of_view(value)?;
        }
    }
    if used.len() != query.measures.len() {
        return Err(malformed("every measure is used by an output, HAVING or ORDER BY"));
    }
    // One rule for both forms: a message may say what fits into the SQL that says the same.
    tokens::read(&to_sql(query)).map(drop).map_err(|_| too_large())
}

fn malformed(what: &'static str) -> Refusal {
    Refusal::new(ReasonCode::MalformedRequest).because(what)
}

fn twice() -> Refusal {
    malformed("two columns of the answer have one name")
}

fn heading(text: &str) -> Result<(), Refusal> {
    let length = text.chars().count();
    if (1..=MAX_NAME).contains(&length) && !text.chars().any(char::is_control) {
        Ok(())
    } else {
        Err(malformed("a heading or a label has 1 to 128 characters, none of them a control character"))
    }
}

fn group(Group { name, category }: &Group, alone: bool) -> Result<(), Refusal> {
    heading(name)?;
    match category {
        Category::Column(column) if alone && column.as_str() != name => {
            Err(malformed("a group column keeps its own name"))
        }
        Category::Column(_) | Category::Date { .. } => Ok(()),
        Category::Bucket { value: of, .. } => value(of, 0, 0, &mut 0),
        Category::Case { branches, .. } if branches.is_empty() => Err(malformed("a CASE has at least one WHEN")),
        Category::Case { branches, otherwise } => {
            branches.iter().map(|(_, label)| label).chain(otherwise).try_for_each(|label| heading(label))?;
            branches.iter().try_for_each(|(condition, _)| predicate(condition, 0))
        }
    }
}

fn grouping_sets(query: &AggregateQuery) -> Result<(), Refusal> {
    let groups = query.group_by.len();
    let named: BTreeSet<usize> = query.grouping_sets.iter().flatten().copied().collect();
    if query.grouping_sets.is_empty() || named == (0..groups).collect() {
        Ok(())
    } else {
        Err(malformed("grouping sets name the groups by place from 0, each group in one of them at least"))
    }
}

fn predicate(part: &Predicate, depth: usize) -> Result<(), Refusal> {
    if depth > MAX_DEPTH {
        return Err(too_large());
    }
    match part {
        Predicate::And(parts) | Predicate::Or(parts) if parts.is_empty() => {
            Err(malformed("AND and OR join at least one condition"))
        }
        Predicate::And(parts) | Predicate::Or(parts) => parts.iter().try_for_each(|part| predicate(part, depth + 1)),
        Predicate::Not(part) => predicate(part, depth + 1),
        Predicate::In { literals, .. } if literals.is_empty() => Err(malformed("IN needs at least one literal")),
        Predicate::In { literals, .. } => literals.iter().try_for_each(literal),
        Predicate::Compare { literal: one, .. } => literal(one),
        Predicate::Between { low, high, .. } => literal(low).and_then(|()| literal(high)),
        Predicate::IsNull { .. } => Ok(()),
    }
}

fn having(
    part: &Having,
    depth: usize,
    of: &mut dyn FnMut(&OutputExpression) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    if depth > MAX_DEPTH {
        return Err(too_large());
    }
    match part {
        Having::And(parts) | Having::Or(parts) if parts.is_empty() => {
            Err(malformed("AND and OR join at least one condition"))
        }
        Having::And(parts) | Having::Or(parts) => parts.iter().try_for_each(|part| having(part, depth + 1, of)),
        Having::Not(part) => having(part, depth + 1, of),
        Having::Compare { left, right, .. } => of(left).and_then(|()| of(right)),
    }
}

/// The most columns, constants and operators of one value.
const MAX_VALUE: usize = 64;
/// How often CLAMP may stand within CLAMP: an engine computes what is inside three times.
const MAX_CLAMPS: usize = 2;

fn value(part: &RowValue, depth: usize, clamps: usize, parts: &mut usize) -> Result<(), Refusal> {
    *parts += 1;
    if depth > MAX_DEPTH || *parts > MAX_VALUE || clamps > MAX_CLAMPS {
        return Err(too_large());
    }
    match part {
        RowValue::Column(_) | RowValue::Constant(_) => Ok(()),
        RowValue::Clamp { of, .. } => value(of, depth + 1, clamps + 1, parts),
        RowValue::Binary { left, right, .. } => {
            value(left, depth + 1, clamps, parts)?;
            value(right, depth + 1, clamps, parts)
        }
    }
}

fn literal(literal: &crate::Literal) -> Result<(), Refusal> {
    match literal {
        crate::Literal::Date(day) if !(0..=9999).contains(&day.year()) => {
            Err(Refusal::new(ReasonCode::LiteralMismatch).because("a day has a year of four digits"))
        }
        _ => Ok(()),
    }
}

/// An output, or a side of HAVING or ORDER BY: what is rounded and clipped, is so at the end.
fn outermost(part: &OutputExpression, measures: usize, used: &mut BTreeSet<usize>) -> Result<(), Refusal> {
    let mut part = part;
    for _ in 0..MAX_DEPTH {
        part = match part {
            OutputExpression::Round { decimals, .. } if !(-MAX_ROUNDING..=MAX_ROUNDING).contains(decimals) => {
                let what = format!("ROUND takes -{MAX_ROUNDING} to {MAX_ROUNDING} decimals");
                return Err(Refusal::new(ReasonCode::LiteralMismatch).because(what));
            }
            OutputExpression::Round { of, .. } | OutputExpression::Clip { of, .. } => of,
            other => return expression(other, measures, used, 0),
        };
    }
    Err(too_large())
}

fn expression(
    part: &OutputExpression,
    measures: usize,
    used: &mut BTreeSet<usize>,
    depth: usize,
) -> Result<(), Refusal> {
    if depth > MAX_DEPTH {
        return Err(too_large());
    }
    match part {
        OutputExpression::Measure(index) if *index >= measures => {
            Err(malformed("an output names a measure that is not there"))
        }
        OutputExpression::Measure(index) => {
            used.insert(*index);
            Ok(())
        }
        OutputExpression::Total { measure, .. } => {
            expression(&OutputExpression::Measure(*measure), measures, used, depth)
        }
        OutputExpression::Round { .. } | OutputExpression::Clip { .. } => {
            let what = "ROUND, GREATEST and LEAST stand around a whole output: nothing is worked out further from them";
            Err(Refusal::new(ReasonCode::UnsupportedExpression).because(what))
        }
        OutputExpression::Constant(_) => Ok(()),
        OutputExpression::Negate(part) => expression(part, measures, used, depth + 1),
        OutputExpression::Binary { left, right, .. } => {
            expression(left, measures, used, depth + 1)?;
            expression(right, measures, used, depth + 1)
        }
    }
}
