//! The message form of HAVING, ORDER BY and LIMIT.

use crate::query::v1::{self as wire, having, order};
use crate::question::{comparison, comparison_to_wire, expression, expression_to_wire, malformed};
use firebreak_domain::Refusal;
use firebreak_query::{Having, Order, OrderKey, View};

pub(crate) fn view_from_wire(view: &wire::View) -> Result<View, Refusal> {
    Ok(View {
        having: view.having.as_ref().map(having_from_wire).transpose()?,
        order_by: view.order_by.iter().map(order_from_wire).collect::<Result<_, _>>()?,
        offset: view.offset,
        limit: view.limit,
    })
}

fn having_from_wire(node: &wire::Having) -> Result<Having, Refusal> {
    let several = |of: &wire::Havings| {
        if of.of.is_empty() {
            return Err(malformed("a condition joins nothing"));
        }
        of.of.iter().map(having_from_wire).collect::<Result<Vec<_>, _>>()
    };
    let side = |side: &Option<wire::Expression>| {
        expression(side.as_ref().ok_or_else(|| malformed("a comparison has one side only"))?)
    };
    Ok(match node.node.as_ref().ok_or_else(|| malformed("a condition is empty"))? {
        having::Node::All(of) => Having::And(several(of)?),
        having::Node::Any(of) => Having::Or(several(of)?),
        having::Node::Not(inner) => Having::Not(Box::new(having_from_wire(inner)?)),
        having::Node::Compare(compare) => Having::Compare {
            left: side(&compare.left)?,
            op: comparison(compare.operator())?,
            right: side(&compare.right)?,
        },
    })
}

fn order_from_wire(order: &wire::Order) -> Result<Order, Refusal> {
    let by = match order.by.as_ref().ok_or_else(|| malformed("an order names nothing"))? {
        order::By::Group(name) => OrderKey::Group(name.clone()),
        order::By::Value(value) => OrderKey::Value(expression(value)?),
    };
    Ok(Order { by, descending: order.descending })
}

pub(crate) fn view_to_wire(view: &View) -> wire::View {
    wire::View {
        having: view.having.as_ref().map(having_to_wire),
        order_by: view.order_by.iter().map(order_to_wire).collect(),
        offset: view.offset,
        limit: view.limit,
    }
}

fn having_to_wire(having: &Having) -> wire::Having {
    let several = |parts: &[Having]| wire::Havings { of: parts.iter().map(having_to_wire).collect() };
    let node = match having {
        Having::And(parts) => having::Node::All(several(parts)),
        Having::Or(parts) => having::Node::Any(several(parts)),
        Having::Not(inner) => having::Node::Not(Box::new(having_to_wire(inner))),
        Having::Compare { left, op, right } => having::Node::Compare(wire::HavingComparison {
            left: Some(expression_to_wire(left)),
            operator: comparison_to_wire(*op).into(),
            right: Some(expression_to_wire(right)),
        }),
    };
    wire::Having { node: Some(node) }
}

fn order_to_wire(order: &Order) -> wire::Order {
    let by = match &order.by {
        OrderKey::Group(name) => order::By::Group(name.clone()),
        OrderKey::Value(value) => order::By::Value(expression_to_wire(value)),
    };
    wire::Order { by: Some(by), descending: order.descending }
}
