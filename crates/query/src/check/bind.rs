//! Literals in the types of their columns, and conditions over encoded columns.

use super::Misfit;
use super::columns::domain_in_words;
use crate::canonical::normal;
use crate::parse::day;
use crate::{BoundPredicate, Comparison, Decimal, Literal, Predicate};
use chrono::NaiveDate;
use firebreak_domain::{Column, ColumnName, Contract, Domain, OpenCode, ReasonCode, Refusal};

/// A literal in the type of its column.
///
/// For `=`, `<>` and `IN` it must lie in the domain, where anything else is a slip. For the others it may lie outside:
/// `visit_date < DATE '2025-01-01'` is how people write the end of 2024.
pub(super) fn typed(literal: &Literal, column: &Column, op: Comparison) -> Result<Literal, Misfit> {
    let exact = matches!(op, Comparison::Eq | Comparison::Ne);
    let found = match (&column.domain, literal) {
        (Domain::Category { codes, .. }, Literal::Text(text)) => {
            (exact && codes.iter().any(|code| code.code == *text)).then(|| literal.clone())
        }
        (Domain::Category { codes, .. }, Literal::Number(number)) => {
            // Many code lists are numbers; 1 means the code '1'.
            let text = number.to_string();
            (exact && codes.iter().any(|code| code.code == text)).then_some(Literal::Text(text))
        }
        (Domain::LeftOut, Literal::Text(text)) => {
            (exact && Domain::LEFT_OUT.contains(&text.as_str())).then(|| literal.clone())
        }
        (Domain::Open { length }, Literal::Text(text)) => {
            (exact && OpenCode::parse(text, *length).is_some()).then(|| literal.clone())
        }
        (Domain::Open { length }, Literal::Number(number)) => {
            let text = number.to_string();
            (exact && OpenCode::parse(&text, *length).is_some()).then_some(Literal::Text(text))
        }
        (Domain::Month { .. }, Literal::Text(text)) => {
            let within = if exact { column.domain.codes().contains(text) } else { is_month(text) };
            within.then(|| literal.clone())
        }
        (Domain::Year { first, last }, Literal::Number(_) | Literal::Text(_)) => whole(literal)
            .filter(|year| !exact || (i64::from(*first)..=i64::from(*last)).contains(year))
            .map(|year| Literal::Number(Decimal::whole(year))),
        (domain @ (Domain::Integer { .. } | Domain::Decimal { .. }), Literal::Number(number)) => {
            let bounds = domain.fixed_point_bounds();
            let fits = bounds.is_some_and(|(low, high, decimals)| {
                number.fixed_point(decimals).is_some_and(|value| !exact || (low..=high).contains(&value))
            });
            fits.then(|| literal.clone())
        }
        (Domain::Date { first, last }, Literal::Date(_) | Literal::Text(_)) => {
            as_day(literal).filter(|day| !exact || (first <= day && day <= last)).map(Literal::Date)
        }
        _ => None,
    };
    found.ok_or_else(|| Misfit {
        refusal: Box::new(Refusal::new(ReasonCode::LiteralMismatch).because(format!(
            "column {} {}",
            column.name,
            domain_in_words(&column.domain)
        ))),
        column: Some(column.name.clone()),
    })
}

fn whole(literal: &Literal) -> Option<i64> {
    match literal {
        Literal::Number(number) => number.fixed_point(0),
        Literal::Text(text) => text.parse::<Decimal>().ok()?.fixed_point(0),
        Literal::Date(_) => None,
    }
}

fn as_day(literal: &Literal) -> Option<NaiveDate> {
    match literal {
        Literal::Date(date) => Some(*date),
        Literal::Text(text) => day(text),
        Literal::Number(_) => None,
    }
}

fn is_month(text: &str) -> bool {
    day(&format!("{text}-01")).is_some()
}

/// A resolved condition in normal form, over encoded columns.
///
/// # Errors
/// Refuses a code list longer than the encoding holds.
pub(super) fn bound(predicate: &Predicate, contract: &Contract) -> Result<BoundPredicate, Refusal> {
    of_normal(&normal(predicate, false), contract)
}

fn of_normal(predicate: &Predicate, contract: &Contract) -> Result<BoundPredicate, Refusal> {
    let all = |parts: &[Predicate]| parts.iter().map(|part| of_normal(part, contract)).collect::<Result<Vec<_>, _>>();
    match predicate {
        Predicate::And(parts) => Ok(BoundPredicate::And(all(parts)?)),
        Predicate::Or(parts) => Ok(BoundPredicate::Or(all(parts)?)),
        Predicate::Not(part) => Ok(BoundPredicate::Not(Box::new(of_normal(part, contract)?))),
        Predicate::Compare { column, op, literal } => compared(column, *op, literal, contract),
        Predicate::In { column, literals } => among(column, literals, contract),
        Predicate::Between { column, low, high } => Ok(BoundPredicate::And(vec![
            compared(column, Comparison::Ge, low, contract)?,
            compared(column, Comparison::Le, high, contract)?,
        ])),
        Predicate::IsNull { column } => Ok(BoundPredicate::IsNull { column: column.clone() }),
    }
}

fn among(column: &ColumnName, literals: &[Literal], contract: &Contract) -> Result<BoundPredicate, Refusal> {
    let domain = domain(column, contract)?;
    if domain.is_groupable() {
        return codes(column, domain, &|value| literals.iter().any(|l| holds(value, Comparison::Eq, l)));
    }
    let each = literals.iter().map(|literal| compared(column, Comparison::Eq, literal, contract));
    Ok(BoundPredicate::Or(each.collect::<Result<_, _>>()?))
}

fn compared(
    column: &ColumnName,
    op: Comparison,
    literal: &Literal,
    contract: &Contract,
) -> Result<BoundPredicate, Refusal> {
    let domain = domain(column, contract)?;
    if domain.is_groupable() {
        return codes(column, domain, &|value| holds(value, op, literal));
    }
    let column = column.clone();
    if let (Domain::Open { length }, Literal::Text(text)) = (domain, literal) {
        let value = OpenCode::parse(text, *length).ok_or_else(untyped)?.number();
        return Ok(BoundPredicate::Number { column, op, value });
    }
    match (domain.fixed_point_bounds(), literal) {
        (Some((_, _, decimals)), Literal::Number(number)) => {
            let value = number.fixed_point(decimals).ok_or_else(untyped)?;
            Ok(BoundPredicate::Number { column, op, value })
        }
        (None, Literal::Date(date)) => Ok(BoundPredicate::Day { column, op, value: date.to_epoch_days() }),
        _ => Err(untyped()),
    }
}

/// Whether a declared value stands in that relation to a literal of its type. Months compare as texts, because they
/// are written with the larger unit first; years as numbers.
fn holds(value: &str, op: Comparison, literal: &Literal) -> bool {
    match literal {
        Literal::Text(text) => op.holds(&value, &text.as_str()),
        Literal::Number(number) => {
            let sides = value.parse::<i64>().ok().zip(number.fixed_point(0));
            sides.is_some_and(|(value, number)| op.holds(&value, &number))
        }
        Literal::Date(_) => false,
    }
}

fn codes(column: &ColumnName, domain: &Domain, wanted: &dyn Fn(&str) -> bool) -> Result<BoundPredicate, Refusal> {
    let values = domain.codes();
    let among = |inside: bool| {
        let chosen = values.iter().enumerate().filter(|(_, value)| wanted(value) == inside);
        let codes = chosen.map(|(index, _)| u16::try_from(index)).collect::<Result<_, _>>().map_err(|_| {
            let what = format!("column {column} has too many codes for a condition");
            Refusal::new(ReasonCode::TooManyGroups).because(what)
        })?;
        Ok::<_, Refusal>(BoundPredicate::Codes { column: column.clone(), codes })
    };
    // The shorter list of the two: `<>` in a list of ten thousand names one code. Both are unknown for a missing value.
    let most = 2 * values.iter().filter(|value| wanted(value)).count() > values.len();
    if most { Ok(BoundPredicate::Not(Box::new(among(false)?))) } else { among(true) }
}

fn domain<'a>(column: &ColumnName, contract: &'a Contract) -> Result<&'a Domain, Refusal> {
    contract.column(column.as_str()).map(|column| &column.domain).ok_or_else(untyped)
}

/// A condition that was not resolved against this contract first; [`super::fits`] always does.
fn untyped() -> Refusal {
    Refusal::new(ReasonCode::LiteralMismatch)
}
