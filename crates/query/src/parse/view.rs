//! HAVING, ORDER BY and LIMIT: which rows of the answer are shown, by their released values.

use super::outputs::Outputs;
use super::{bare, conditions, place, refuse, too_large};
use crate::{Comparison, Having, Literal, MAX_DEPTH, Order, OrderKey, View};
use firebreak_domain::{ReasonCode, Refusal};
use sqlparser::ast::{
    BinaryOperator, Expr, LimitClause, OrderBy, OrderByExpr, OrderByKind, OrderByOptions, UnaryOperator, Value,
};

pub(super) fn view(
    outputs: &mut Outputs<'_>,
    having: Option<&Expr>,
    order_by: Option<&OrderBy>,
    limit: Option<&LimitClause>,
) -> Result<View, Refusal> {
    let (limit, offset) = limits(limit)?;
    Ok(View {
        having: having.map(|expr| condition(expr, outputs, 0)).transpose()?,
        order_by: order_by.map(|order_by| orders(order_by, outputs)).transpose()?.unwrap_or_default(),
        offset,
        limit,
    })
}

fn condition(expr: &Expr, outputs: &mut Outputs<'_>, depth: usize) -> Result<Having, Refusal> {
    if depth > MAX_DEPTH {
        return Err(too_large());
    }
    let compared = |left: &Expr, op: Comparison, right: &Expr, outputs: &mut Outputs<'_>| {
        Ok::<_, Refusal>(Having::Compare { left: outputs.named(left)?, op, right: outputs.named(right)? })
    };
    let op_of = |op: &BinaryOperator| match op {
        BinaryOperator::Eq => Some(Comparison::Eq),
        BinaryOperator::NotEq => Some(Comparison::Ne),
        BinaryOperator::Lt => Some(Comparison::Lt),
        BinaryOperator::LtEq => Some(Comparison::Le),
        BinaryOperator::Gt => Some(Comparison::Gt),
        BinaryOperator::GtEq => Some(Comparison::Ge),
        _ => None,
    };
    match bare(expr) {
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => {
            Ok(Having::Not(Box::new(condition(expr, outputs, depth + 1)?)))
        }
        Expr::BinaryOp { left, op: op @ (BinaryOperator::And | BinaryOperator::Or), right } => {
            let parts = vec![condition(left, outputs, depth + 1)?, condition(right, outputs, depth + 1)?];
            Ok(if *op == BinaryOperator::And { Having::And(parts) } else { Having::Or(parts) })
        }
        Expr::BinaryOp { left, op, right } => match op_of(op) {
            Some(op) => compared(left, op, right, outputs),
            None => Err(unknown(expr)),
        },
        Expr::Between { expr, negated, low, high } => {
            let within = Having::And(vec![
                compared(expr, Comparison::Ge, low, outputs)?,
                compared(expr, Comparison::Le, high, outputs)?,
            ]);
            Ok(if *negated { Having::Not(Box::new(within)) } else { within })
        }
        _ => Err(unknown(expr)),
    }
}

fn unknown(expr: &Expr) -> Refusal {
    let what = "HAVING compares values of the answer, joined by AND, OR and NOT";
    refuse(ReasonCode::UnsupportedExpression, place(expr), what)
}

fn orders(order_by: &OrderBy, outputs: &mut Outputs<'_>) -> Result<Vec<Order>, Refusal> {
    // INVARIANT: every field is named, so a part that a later parser learns to read cannot slip through unread.
    let OrderBy { kind: OrderByKind::Expressions(expressions), interpolate: None } = order_by else {
        return Err(refuse(ReasonCode::UnsupportedClause, None, "ORDER BY names values or groups"));
    };
    let mut orders = Vec::with_capacity(expressions.len());
    for OrderByExpr { expr, options: OrderByOptions { asc, nulls_first }, with_fill } in expressions {
        if nulls_first == &Some(true) || with_fill.is_some() {
            let what = "what is not computable comes last";
            return Err(refuse(ReasonCode::UnsupportedClause, place(expr), what));
        }
        orders.push(Order { by: key(expr, outputs)?, descending: *asc == Some(false) });
    }
    Ok(orders)
}

fn key(expr: &Expr, outputs: &mut Outputs<'_>) -> Result<OrderKey, Refusal> {
    // A number by itself is a place in the SELECT list, as everywhere.
    if let Expr::Value(value) = expr
        && let Value::Number(digits, false) = &value.value
    {
        let place = digits.parse().ok().and_then(|place| outputs.at(place));
        return place.ok_or_else(|| {
            refuse(ReasonCode::UnsupportedClause, Some(value.span.start), "the SELECT list has no such place")
        });
    }
    match outputs.group(expr)? {
        Some(name) => Ok(OrderKey::Group(name)),
        None => outputs.named(expr).map(OrderKey::Value),
    }
}

fn limits(clause: Option<&LimitClause>) -> Result<(Option<u32>, u32), Refusal> {
    let number = |expr: &Expr| {
        match conditions::literal(expr)? {
            Literal::Number(number) => number.fixed_point(0).and_then(|number| u32::try_from(number).ok()),
            Literal::Text(_) | Literal::Date(_) => None,
        }
        .ok_or_else(|| refuse(ReasonCode::LiteralMismatch, place(expr), "LIMIT and OFFSET take a whole number of rows"))
    };
    match clause {
        None => Ok((None, 0)),
        Some(LimitClause::LimitOffset { limit, offset, limit_by }) if limit_by.is_empty() => {
            let limit = limit.as_ref().map(number).transpose()?;
            Ok((limit, offset.as_ref().map(|offset| number(&offset.value)).transpose()?.unwrap_or(0)))
        }
        Some(_) => Err(refuse(ReasonCode::UnsupportedClause, None, "write LIMIT n OFFSET m")),
    }
}
