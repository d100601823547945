//! WHERE and FILTER.

use super::select::Source;
use super::{bare, place, refuse};
use crate::{Comparison, Literal, Predicate};
use chrono::NaiveDate;
use firebreak_domain::{ColumnName, ReasonCode, Refusal};
use sqlparser::ast::{BinaryOperator, DataType, Expr, TypedString, UnaryOperator, Value};

pub(super) fn condition(expr: &Expr, source: &Source) -> Result<Predicate, Refusal> {
    match bare(expr) {
        whole @ Expr::BinaryOp { op: BinaryOperator::And, .. } => {
            chain(whole, &BinaryOperator::And, source).map(Predicate::And)
        }
        whole @ Expr::BinaryOp { op: BinaryOperator::Or, .. } => {
            chain(whole, &BinaryOperator::Or, source).map(Predicate::Or)
        }
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => Ok(negated(condition(expr, source)?, true)),
        Expr::BinaryOp { left, op, right } => compared(left, op, right, source),
        Expr::InList { expr, list, negated: not } => {
            let column = column(expr, source)?;
            let literals = list.iter().map(literal).collect::<Result<Vec<_>, _>>()?;
            if literals.is_empty() {
                return Err(refuse(ReasonCode::UnsupportedExpression, place(expr), "IN needs at least one literal"));
            }
            Ok(negated(Predicate::In { column, literals }, *not))
        }
        Expr::Between { expr, negated: not, low, high } => {
            let column = column(expr, source)?;
            Ok(negated(Predicate::Between { column, low: literal(low)?, high: literal(high)? }, *not))
        }
        Expr::IsNull(expr) => Ok(Predicate::IsNull { column: column(expr, source)? }),
        Expr::IsNotNull(expr) => Ok(negated(Predicate::IsNull { column: column(expr, source)? }, true)),
        other => Err(unsupported(other)),
    }
}

fn negated(predicate: Predicate, not: bool) -> Predicate {
    if not { Predicate::Not(Box::new(predicate)) } else { predicate }
}

/// The parts of `a AND b AND c`, which the parser nests to the left; long chains are walked, not descended.
fn chain(expr: &Expr, joined_by: &BinaryOperator, source: &Source) -> Result<Vec<Predicate>, Refusal> {
    let mut parts = Vec::new();
    let mut at = expr;
    while let Expr::BinaryOp { left, op, right } = at
        && op == joined_by
    {
        parts.push(condition(right, source)?);
        at = left;
    }
    parts.push(condition(at, source)?);
    parts.reverse();
    Ok(parts)
}

fn compared(left: &Expr, op: &BinaryOperator, right: &Expr, source: &Source) -> Result<Predicate, Refusal> {
    let op = match op {
        BinaryOperator::Eq => Comparison::Eq,
        BinaryOperator::NotEq => Comparison::Ne,
        BinaryOperator::Lt => Comparison::Lt,
        BinaryOperator::LtEq => Comparison::Le,
        BinaryOperator::Gt => Comparison::Gt,
        BinaryOperator::GtEq => Comparison::Ge,
        _ => {
            let what = "conditions compare a column with a literal and are joined by AND, OR and NOT";
            return Err(refuse(ReasonCode::UnsupportedExpression, place(left), what));
        }
    };
    match (source.column(left, "a condition")?, source.column(right, "a condition")?) {
        (Some(column), None) => Ok(Predicate::Compare { column, op, literal: literal(right)? }),
        (None, Some(column)) => Ok(Predicate::Compare { column, op: op.mirrored(), literal: literal(left)? }),
        (Some(_), Some(_)) => Err(refuse(
            ReasonCode::UnsupportedExpression,
            place(right),
            "a column is compared with a literal, not with a column; texts stand in single quotes",
        )),
        (None, None) => {
            // Say what is wrong with the side that is not a literal.
            literal(left).and_then(|_| literal(right))?;
            Err(refuse(ReasonCode::UnsupportedExpression, place(left), "a condition names a column"))
        }
    }
}

fn column(expr: &Expr, source: &Source) -> Result<ColumnName, Refusal> {
    source.column(expr, "a condition")?.ok_or_else(|| unsupported(bare(expr)))
}

/// A literal: a number, a text in single quotes, or `DATE '2024-12-31'`.
pub(super) fn literal(expr: &Expr) -> Result<Literal, Refusal> {
    let not_one = |what| refuse(ReasonCode::UnsupportedExpression, place(expr), what);
    match bare(expr) {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, false) => Ok(Literal::Number(number(digits, expr)?)),
            Value::SingleQuotedString(text) => Ok(Literal::Text(text.clone())),
            Value::Null => Err(not_one("nothing compares with NULL: write IS NULL or IS NOT NULL")),
            Value::Placeholder(_) => Err(not_one("a parameter must be replaced by its value")),
            _ => Err(not_one("literals are numbers, texts in single quotes, and days as DATE 'YYYY-MM-DD'")),
        },
        Expr::TypedString(TypedString { data_type: DataType::Date, value, .. }) => {
            let Value::SingleQuotedString(text) = &value.value else {
                return Err(not_one("a day is written DATE 'YYYY-MM-DD'"));
            };
            day(text)
                .map(Literal::Date)
                .ok_or_else(|| refuse(ReasonCode::LiteralMismatch, place(expr), "a day is written DATE 'YYYY-MM-DD'"))
        }
        Expr::UnaryOp { op: UnaryOperator::Minus, expr: inner } => match literal(inner)? {
            Literal::Number(number) => Ok(Literal::Number(number.negated())),
            Literal::Text(_) | Literal::Date(_) => Err(not_one("only a number has a sign")),
        },
        Expr::UnaryOp { op: UnaryOperator::Plus, expr: inner } => literal(inner),
        other => Err(unsupported(other)),
    }
}

pub(super) fn number(digits: &str, expr: &Expr) -> Result<crate::Decimal, Refusal> {
    digits
        .parse()
        .map_err(|error: crate::InvalidDecimal| refuse(ReasonCode::LiteralMismatch, place(expr), &error.to_string()))
}

/// A day written `YYYY-MM-DD`, all ten characters of it.
pub(crate) fn day(text: &str) -> Option<NaiveDate> {
    let formed = text.len() == 10 && text.bytes().enumerate().all(|(i, b)| (b == b'-') == (i == 4 || i == 7));
    if formed { NaiveDate::parse_from_str(text, "%Y-%m-%d").ok() } else { None }
}

/// Why an expression has no place in a condition or an output.
pub(super) fn unsupported(expr: &Expr) -> Refusal {
    let place = place(expr);
    match expr {
        Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } | Expr::AnyOp { .. } | Expr::AllOp { .. } => {
            Refusal::new(ReasonCode::SubqueryAsked)
        }
        Expr::Like { .. } | Expr::ILike { .. } | Expr::SimilarTo { .. } | Expr::RLike { .. } => {
            refuse(ReasonCode::UnsupportedExpression, place, "patterns are not matched: compare with = or IN")
        }
        Expr::Case { .. } => refuse(
            ReasonCode::UnsupportedExpression,
            place,
            "a CASE stands in GROUP BY, or within an aggregate as FILTER (WHERE ..) after it",
        ),
        Expr::Extract { .. } => refuse(
            ReasonCode::UnsupportedExpression,
            place,
            "a part of a date stands in GROUP BY; a condition is on the day: BETWEEN DATE '2024-01-01' AND DATE '2024-12-31'",
        ),
        Expr::Cast { .. } | Expr::Convert { .. } => {
            refuse(ReasonCode::UnsupportedExpression, place, "types are the contract's and are not cast")
        }
        Expr::Function(_) | Expr::Substring { .. } | Expr::Trim { .. } => {
            refuse(ReasonCode::UnsupportedExpression, place, "no function is applied here")
        }
        _ => refuse(ReasonCode::UnsupportedExpression, place, "this form is not known"),
    }
}
