//! ROUND, GREATEST and LEAST around a released value.

use super::conditions::literal;
use super::{bare, folded, place, refuse};
use crate::{Decimal, End, Literal, MAX_ROUNDING};
use firebreak_domain::{ReasonCode, Refusal};
use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, UnaryOperator, Value,
};

/// What is done to a value before it is shown.
pub(super) enum Finish<'a> {
    Round { of: &'a Expr, decimals: i8 },
    Clip { of: &'a Expr, end: End, bound: Decimal },
}

/// A call of one of these functions; `None` if it is of another.
pub(super) fn of(function: &Function) -> Result<Option<Finish<'_>>, Refusal> {
    let word = word(function);
    let end = match word.as_str() {
        "round" => None,
        "greatest" => Some(End::AtLeast),
        "least" => Some(End::AtMost),
        _ => return Ok(None),
    };
    let at = function.name.0.first().and_then(|part| part.as_ident()).map(|ident| ident.span.start);
    let refused = |what| refuse(ReasonCode::UnsupportedExpression, at, what);
    match (end, arguments(function).as_deref()) {
        (None, Some([of])) => Ok(Some(Finish::Round { of, decimals: 0 })),
        (None, Some([of, decimals])) => {
            let whole = match literal(decimals)? {
                Literal::Number(number) => number.fixed_point(0).and_then(|number| i8::try_from(number).ok()),
                Literal::Text(_) | Literal::Date(_) => None,
            };
            let within = whole.filter(|decimals| (-MAX_ROUNDING..=MAX_ROUNDING).contains(decimals));
            let decimals = within.ok_or_else(|| {
                let what = format!("ROUND takes -{MAX_ROUNDING} to {MAX_ROUNDING} decimals");
                refuse(ReasonCode::LiteralMismatch, place(decimals), &what)
            })?;
            Ok(Some(Finish::Round { of, decimals }))
        }
        (Some(end), Some([one, other])) => {
            let (of, bound) = match (is_number(one), is_number(other)) {
                (_, true) => (one, other),
                (true, false) => (other, one),
                _ => return Err(refused("GREATEST and LEAST take an output and a number")),
            };
            let Literal::Number(bound) = literal(bound)? else {
                return Err(refused("GREATEST and LEAST take an output and a number"));
            };
            Ok(Some(Finish::Clip { of, end, bound }))
        }
        (None, _) => Err(refused("ROUND takes an output and a number of decimals")),
        (Some(_), _) => Err(refused("GREATEST and LEAST take an output and a number")),
    }
}

/// What a plain call of the function of that name is given, where that is one thing.
pub(super) fn only_argument<'a>(function: &'a Function, name: &str) -> Option<&'a Expr> {
    let arguments = arguments(function).filter(|_| word(function) == name)?;
    match arguments.as_slice() {
        [only] => Some(only),
        _ => None,
    }
}

fn word(function: &Function) -> String {
    match function.name.0.as_slice() {
        [part] => part.as_ident().map(folded).unwrap_or_default(),
        _ => String::new(),
    }
}

/// The arguments of a call that has nothing but arguments.
fn arguments(function: &Function) -> Option<Vec<&Expr>> {
    // INVARIANT: every field is named, so a part that a later parser learns to read cannot slip through unread.
    let Function { name: _, uses_odbc_syntax, parameters, args, filter, null_treatment, over: _, within_group } =
        function;
    let plain = matches!(parameters, FunctionArguments::None) && within_group.is_empty() && !uses_odbc_syntax;
    if !plain || filter.is_some() || null_treatment.is_some() {
        return None;
    }
    let FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses }) = args else {
        return None;
    };
    let argument = |argument| match argument {
        &FunctionArg::Unnamed(FunctionArgExpr::Expr(ref expr)) => Some(expr),
        _ => None,
    };
    if clauses.is_empty() { args.iter().map(argument).collect() } else { None }
}

fn is_number(expr: &Expr) -> bool {
    match bare(expr) {
        Expr::Value(value) => matches!(value.value, Value::Number(..)),
        Expr::UnaryOp { op: UnaryOperator::Minus | UnaryOperator::Plus, expr } => is_number(expr),
        _ => false,
    }
}
