//! What aggregates are of: arithmetic over columns and constants, and CASE.

use super::conditions::{condition, number, unsupported};
use super::select::Source;
use super::{bare, folded, place, refuse, too_large};
use crate::{Decimal, MAX_DEPTH, Predicate, RowArithmetic, RowValue};
use firebreak_domain::{ReasonCode, Refusal};
use sqlparser::ast::{
    BinaryOperator, CaseWhen, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments,
    UnaryOperator, Value,
};

/// A value, and the condition without which it does not count.
pub(super) struct Case<'a> {
    pub(super) condition: Option<Predicate>,
    pub(super) value: &'a Expr,
}

/// Reads `CASE WHEN condition THEN value [ELSE NULL] END`; with `or_zero`, `ELSE 0` too. Anything else is a value.
pub(super) fn case<'a>(expr: &'a Expr, or_zero: bool, source: &Source) -> Result<Case<'a>, Refusal> {
    let Expr::Case { operand, conditions, else_result, .. } = expr else {
        return Ok(Case { condition: None, value: expr });
    };
    let is_nothing = |otherwise: &Expr| match bare(otherwise) {
        Expr::Value(value) => match &value.value {
            Value::Null => true,
            Value::Number(digits, false) => or_zero && digits.parse() == Ok(Decimal::whole(0)),
            _ => false,
        },
        _ => false,
    };
    let [CaseWhen { condition: when, result }] = conditions.as_slice() else {
        let what = "a CASE in an aggregate has one WHEN: write one aggregate for each, and add them up";
        return Err(refuse(ReasonCode::UnsupportedExpression, place(expr), what));
    };
    if operand.is_some() || !else_result.as_deref().is_none_or(is_nothing) {
        let what = "a CASE in an aggregate is WHEN condition THEN value, without ELSE, or in a SUM with ELSE 0";
        return Err(refuse(ReasonCode::UnsupportedExpression, place(expr), what));
    }
    Ok(Case { condition: Some(condition(when, source)?), value: bare(result) })
}

/// Reads a number on one row.
pub(super) fn value(expr: &Expr, source: &Source, depth: usize) -> Result<RowValue, Refusal> {
    if depth > MAX_DEPTH {
        return Err(too_large());
    }
    if let Some(column) = source.column(expr, "an aggregate")? {
        return Ok(RowValue::Column(column));
    }
    match bare(expr) {
        Expr::Value(of) => match &of.value {
            Value::Number(digits, false) => Ok(RowValue::Constant(number(digits, expr)?)),
            _ => Err(refuse(ReasonCode::UnsupportedExpression, place(expr), "constants in aggregates are numbers")),
        },
        Expr::UnaryOp { op: UnaryOperator::Plus, expr } => value(expr, source, depth + 1),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => Ok(match value(expr, source, depth + 1)? {
            RowValue::Constant(number) => RowValue::Constant(number.negated()),
            other => RowValue::Binary {
                op: RowArithmetic::Multiply,
                left: Box::new(RowValue::Constant(Decimal::whole(-1))),
                right: Box::new(other),
            },
        }),
        Expr::BinaryOp { left, op, right } => {
            let op = match op {
                BinaryOperator::Plus => RowArithmetic::Add,
                BinaryOperator::Minus => RowArithmetic::Subtract,
                BinaryOperator::Multiply => RowArithmetic::Multiply,
                _ => {
                    let what = "inside an aggregate + - and * are known; divide outside, or multiply by a constant";
                    return Err(refuse(ReasonCode::UnsupportedExpression, place(left), what));
                }
            };
            let left = Box::new(value(left, source, depth + 1)?);
            let right = Box::new(value(right, source, depth + 1)?);
            Ok(RowValue::Binary { op, left, right })
        }
        Expr::Function(function) => clamp(function, source, depth),
        Expr::Case { .. } => {
            let what = "a CASE stands alone in its aggregate";
            Err(refuse(ReasonCode::UnsupportedExpression, place(expr), what))
        }
        other => Err(unsupported(other)),
    }
}

/// A plain call of a function: its name in lower case and its arguments. `None` for one with DISTINCT, FILTER, OVER or
/// whatever else an aggregate may have.
pub(super) fn plain_call(function: &Function) -> Option<(String, Vec<&Expr>)> {
    // INVARIANT: every field is named, so a part that a later parser learns to read cannot slip through unread.
    let Function { name, uses_odbc_syntax, parameters, args, filter, null_treatment, over, within_group } = function;
    let [part] = name.0.as_slice() else { return None };
    let plain = matches!(parameters, FunctionArguments::None)
        && !*uses_odbc_syntax
        && filter.is_none()
        && null_treatment.is_none()
        && over.is_none()
        && within_group.is_empty();
    let FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses }) = args else {
        return None;
    };
    let argument = |argument| match argument {
        &FunctionArg::Unnamed(FunctionArgExpr::Expr(ref expr)) => Some(expr),
        _ => None,
    };
    let arguments = args.iter().map(argument).collect::<Option<_>>()?;
    let name = part.as_ident().map(folded)?;
    (plain && clauses.is_empty()).then_some((name, arguments))
}

/// `CLAMP(value, low, high)`, the one function of values.
fn clamp(function: &Function, source: &Source, depth: usize) -> Result<RowValue, Refusal> {
    let at = function.name.0.first().and_then(|part| part.as_ident()).map(|ident| ident.span.start);
    let call = plain_call(function);
    let Some(("clamp", [of, low, high])) = call.as_ref().map(|(name, of)| (name.as_str(), of.as_slice())) else {
        let what = "the one function of values is CLAMP(value, low, high)";
        return Err(refuse(ReasonCode::UnsupportedExpression, at, what));
    };
    let read = |expr: &Expr| value(expr, source, depth + 1);
    match (read(of)?, read(low)?, read(high)?) {
        (of, RowValue::Constant(low), RowValue::Constant(high)) => Ok(RowValue::Clamp { of: Box::new(of), low, high }),
        _ => Err(refuse(ReasonCode::UnsupportedExpression, at, "the ends of a range are numbers")),
    }
}
