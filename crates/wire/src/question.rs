//! The message form of a question. It means what the SQL form means.

use crate::group::{group_from_wire, group_to_wire};
use crate::query::v1::{self as wire, clip, expression, literal, measure, predicate, question, row_value};
use crate::view::{view_from_wire, view_to_wire};
use firebreak_domain::{ColumnName, CutId, DatasetId, ReasonCode, Refusal, Rho};
use firebreak_query::{
    Aggregate, AggregateQuery, Arithmetic, Comparison, End, Join, Literal, MAX_SQL_BYTES, Measure, Output,
    OutputExpression, Predicate, RowArithmetic, RowValue, Spread, View, parse_sql, to_sql, too_large,
};
use prost::Message;

/// A question in SQL, as sent.
#[must_use]
pub fn sql_question(sql: &str) -> wire::Question {
    wire::Question { form: Some(question::Form::Sql(sql.to_owned())), cut: String::new(), rho_nano: 0, partial: false }
}

/// Reads a question in either form.
///
/// # Errors
/// A refusal: what is wrong with the SQL, or `MALFORMED_REQUEST` naming the field of the message.
pub fn question_from_wire(question: Option<&wire::Question>) -> Result<AggregateQuery, Refusal> {
    let question = question.ok_or_else(|| malformed("the question is missing"))?;
    let mut query = match &question.form {
        None => return Err(malformed("the question has neither sql nor query")),
        Some(question::Form::Sql(sql)) => parse_sql(sql)?,
        Some(question::Form::Query(query)) => {
            let query = aggregate_query(query)?;
            // As long as the SQL that says the same may be, so that whatever is signed and recorded of it has a bound.
            if !query.is_small() || to_sql(&query).len() > MAX_SQL_BYTES {
                return Err(too_large());
            }
            query
        }
    };
    if !question.cut.is_empty() {
        query.cut = Some(CutId::new(question.cut.clone()).map_err(|_| Refusal::new(ReasonCode::UnknownCut))?);
    }
    if question.rho_nano != 0 {
        query.rho = Some(Rho::from_nano(question.rho_nano));
    }
    query.partial = question.partial;
    Ok(query)
}

pub(crate) fn malformed(what: &str) -> Refusal {
    Refusal::new(ReasonCode::MalformedRequest).because(what)
}

fn aggregate_query(query: &wire::AggregateQuery) -> Result<AggregateQuery, Refusal> {
    let group_by = query.group_by.iter().map(group_from_wire).collect::<Result<_, _>>()?;
    // What a message joins is joined on the person: it has no place for anything else.
    let join = |id: &String| {
        let dataset = DatasetId::new(id.clone()).map_err(|_| Refusal::new(ReasonCode::UnknownDataset))?;
        Ok::<_, Refusal>(Join { dataset, on: Vec::new() })
    };
    let place = |place: &u32| usize::try_from(*place).map_err(|_| malformed("a grouping set names no such group"));
    let set = |set: &wire::GroupingSet| set.groups.iter().map(place).collect::<Result<Vec<_>, _>>();
    Ok(AggregateQuery {
        dataset: DatasetId::new(query.dataset.clone()).map_err(|_| Refusal::new(ReasonCode::UnknownDataset))?,
        joins: query.joins.iter().map(join).collect::<Result<_, _>>()?,
        on_person: query.on_person,
        partial: false,
        cut: None,
        filter: query.filter.as_ref().map(predicate).transpose()?,
        group_by,
        grouping_sets: query.grouping_sets.iter().map(set).collect::<Result<_, _>>()?,
        measures: query.measures.iter().map(measure).collect::<Result<_, _>>()?,
        outputs: query.outputs.iter().map(output).collect::<Result<_, _>>()?,
        view: query.view.as_ref().map(view_from_wire).transpose()?.unwrap_or_default(),
        rho: None,
    })
}

pub(crate) fn column(name: &str) -> Result<ColumnName, Refusal> {
    ColumnName::new(name).map_err(|_| Refusal::new(ReasonCode::UnknownColumn))
}

fn measure(measure: &wire::Measure) -> Result<Measure, Refusal> {
    use measure::Aggregate as Wire;
    let of = || column(&measure.column);
    let value = || match &measure.value {
        Some(value) if measure.column.is_empty() => row_value(value),
        Some(_) => Err(malformed("a measure has a column or a value, not both")),
        None => of().map(RowValue::Column),
    };
    let aggregate = match measure.aggregate() {
        Wire::Unspecified => return Err(malformed("a measure names no aggregate")),
        Wire::CountRows => Aggregate::CountRows,
        Wire::CountDistinct => Aggregate::CountDistinct(of()?),
        Wire::Count => Aggregate::Count(of()?),
        Wire::Sum => Aggregate::Sum(value()?),
        Wire::Avg => Aggregate::Avg(value()?),
        Wire::VarSamp => Aggregate::Spread(Spread::VarianceSample, value()?),
        Wire::VarPop => Aggregate::Spread(Spread::VariancePopulation, value()?),
        Wire::StddevSamp => Aggregate::Spread(Spread::DeviationSample, value()?),
        Wire::StddevPop => Aggregate::Spread(Spread::DeviationPopulation, value()?),
        Wire::Quantile => {
            let rank = measure.rank.parse().map_err(|_| malformed("a quantile's rank is not a decimal number"))?;
            Aggregate::Quantile(value()?, rank)
        }
    };
    if measure.aggregate() != Wire::Quantile && !measure.rank.is_empty() {
        return Err(malformed("only a quantile has a rank"));
    }
    Ok(Measure { aggregate, filter: measure.filter.as_ref().map(predicate).transpose()? })
}

pub(crate) fn row_value(node: &wire::RowValue) -> Result<RowValue, Refusal> {
    use wire::row_binary::Operator;
    let number = |text: &str| text.parse().map_err(|_| malformed("a constant is not a decimal number"));
    match node.node.as_ref().ok_or_else(|| malformed("a value is empty"))? {
        row_value::Node::Column(name) => column(name).map(RowValue::Column),
        row_value::Node::Constant(text) => number(text).map(RowValue::Constant),
        row_value::Node::Clamp(clamp) => {
            let of = clamp.of.as_ref().ok_or_else(|| malformed("a clamp has no value"))?;
            Ok(RowValue::Clamp { of: Box::new(row_value(of)?), low: number(&clamp.low)?, high: number(&clamp.high)? })
        }
        row_value::Node::Binary(binary) => {
            let op = match binary.operator() {
                Operator::Unspecified => return Err(malformed("a value names no operator")),
                Operator::Add => RowArithmetic::Add,
                Operator::Subtract => RowArithmetic::Subtract,
                Operator::Multiply => RowArithmetic::Multiply,
            };
            let part = |side: &Option<Box<wire::RowValue>>| {
                row_value(side.as_ref().ok_or_else(|| malformed("an operator has one side only"))?).map(Box::new)
            };
            Ok(RowValue::Binary { op, left: part(&binary.left)?, right: part(&binary.right)? })
        }
    }
}

pub(crate) fn row_value_to_wire(value: &RowValue) -> wire::RowValue {
    use wire::row_binary::Operator;
    let node = match value {
        RowValue::Column(column) => row_value::Node::Column(column.to_string()),
        RowValue::Constant(number) => row_value::Node::Constant(number.to_string()),
        RowValue::Clamp { of, low, high } => row_value::Node::Clamp(Box::new(wire::Clamp {
            of: Some(Box::new(row_value_to_wire(of))),
            low: low.to_string(),
            high: high.to_string(),
        })),
        RowValue::Binary { op, left, right } => {
            let operator = match op {
                RowArithmetic::Add => Operator::Add,
                RowArithmetic::Subtract => Operator::Subtract,
                RowArithmetic::Multiply => Operator::Multiply,
            };
            row_value::Node::Binary(Box::new(wire::RowBinary {
                operator: operator.into(),
                left: Some(Box::new(row_value_to_wire(left))),
                right: Some(Box::new(row_value_to_wire(right))),
            }))
        }
    };
    wire::RowValue { node: Some(node) }
}

fn output(output: &wire::Output) -> Result<Output, Refusal> {
    let node = output.expression.as_ref().ok_or_else(|| malformed("an output has no expression"))?;
    Ok(Output { name: output.name.clone(), expression: expression(node)? })
}

pub(crate) fn expression(node: &wire::Expression) -> Result<OutputExpression, Refusal> {
    match node.node.as_ref().ok_or_else(|| malformed("an expression is empty"))? {
        expression::Node::Measure(index) => Ok(OutputExpression::Measure(*index as usize)),
        expression::Node::Constant(text) => {
            text.parse().map(OutputExpression::Constant).map_err(|_| malformed("a constant is not a decimal number"))
        }
        expression::Node::Negate(inner) => Ok(OutputExpression::Negate(Box::new(expression(inner)?))),
        expression::Node::Total(total) => {
            Ok(OutputExpression::Total { measure: total.measure as usize, within: total.within.clone() })
        }
        expression::Node::Round(round) => {
            let of = round.of.as_ref().ok_or_else(|| malformed("a round has no value"))?;
            let decimals = i8::try_from(round.decimals).map_err(|_| malformed("a round has too many decimals"))?;
            Ok(OutputExpression::Round { of: Box::new(expression(of)?), decimals })
        }
        expression::Node::Clip(clip) => {
            let of = clip.of.as_ref().ok_or_else(|| malformed("a clip has no value"))?;
            let (end, bound) = match clip.end.as_ref().ok_or_else(|| malformed("a clip has no end"))? {
                clip::End::AtLeast(bound) => (End::AtLeast, bound),
                clip::End::AtMost(bound) => (End::AtMost, bound),
            };
            let bound = bound.parse().map_err(|_| malformed("a constant is not a decimal number"))?;
            Ok(OutputExpression::Clip { of: Box::new(expression(of)?), end, bound })
        }
        expression::Node::Binary(binary) => {
            use wire::binary::Operator;
            let op = match binary.operator() {
                Operator::Unspecified => return Err(malformed("an expression names no operator")),
                Operator::Add => Arithmetic::Add,
                Operator::Subtract => Arithmetic::Subtract,
                Operator::Multiply => Arithmetic::Multiply,
                Operator::Divide => Arithmetic::Divide,
            };
            let part = |side: &Option<Box<wire::Expression>>| {
                expression(side.as_ref().ok_or_else(|| malformed("an operator has one side only"))?).map(Box::new)
            };
            Ok(OutputExpression::Binary { op, left: part(&binary.left)?, right: part(&binary.right)? })
        }
    }
}

pub(crate) fn predicate(node: &wire::Predicate) -> Result<Predicate, Refusal> {
    let several = |of: &wire::Predicates| {
        if of.of.is_empty() {
            return Err(malformed("a condition joins nothing"));
        }
        of.of.iter().map(predicate).collect::<Result<Vec<_>, _>>()
    };
    Ok(match node.node.as_ref().ok_or_else(|| malformed("a condition is empty"))? {
        predicate::Node::All(of) => Predicate::And(several(of)?),
        predicate::Node::Any(of) => Predicate::Or(several(of)?),
        predicate::Node::Not(inner) => Predicate::Not(Box::new(predicate(inner)?)),
        predicate::Node::IsNull(name) => Predicate::IsNull { column: column(name)? },
        predicate::Node::Compare(compare) => Predicate::Compare {
            column: column(&compare.column)?,
            op: comparison(compare.operator())?,
            literal: literal(compare.literal.as_ref())?,
        },
        predicate::Node::In(membership) => {
            if membership.literals.is_empty() {
                return Err(malformed("IN lists nothing"));
            }
            let literals = membership.literals.iter().map(|l| literal(Some(l))).collect::<Result<_, _>>()?;
            Predicate::In { column: column(&membership.column)?, literals }
        }
        predicate::Node::Between(range) => Predicate::Between {
            column: column(&range.column)?,
            low: literal(range.low.as_ref())?,
            high: literal(range.high.as_ref())?,
        },
    })
}

pub(crate) fn comparison(op: wire::comparison::Operator) -> Result<Comparison, Refusal> {
    use wire::comparison::Operator as Wire;
    match op {
        Wire::Unspecified => Err(malformed("a comparison names no operator")),
        Wire::Equal => Ok(Comparison::Eq),
        Wire::NotEqual => Ok(Comparison::Ne),
        Wire::Less => Ok(Comparison::Lt),
        Wire::LessOrEqual => Ok(Comparison::Le),
        Wire::Greater => Ok(Comparison::Gt),
        Wire::GreaterOrEqual => Ok(Comparison::Ge),
    }
}

fn literal(literal: Option<&wire::Literal>) -> Result<Literal, Refusal> {
    let value = literal.and_then(|l| l.value.as_ref()).ok_or_else(|| malformed("a literal is empty"))?;
    match value {
        literal::Value::Number(text) => {
            text.parse().map(Literal::Number).map_err(|_| malformed("a number is not a decimal number"))
        }
        literal::Value::Text(text) => Ok(Literal::Text(text.clone())),
        literal::Value::Date(text) => {
            text.parse().map(Literal::Date).map_err(|_| malformed("a day is not written YYYY-MM-DD"))
        }
    }
}

/// The message form of a question.
#[must_use]
pub fn question_to_wire(query: &AggregateQuery) -> wire::Question {
    let aggregate = |measure: &Measure| {
        use measure::Aggregate as Wire;
        let (kind, column, value) = match &measure.aggregate {
            Aggregate::CountRows => (Wire::CountRows, None, None),
            Aggregate::CountDistinct(column) => (Wire::CountDistinct, Some(column), None),
            Aggregate::Count(column) => (Wire::Count, Some(column), None),
            Aggregate::Sum(value) => (Wire::Sum, None, Some(value)),
            Aggregate::Avg(value) => (Wire::Avg, None, Some(value)),
            Aggregate::Spread(spread, value) => {
                let kind = match spread {
                    Spread::VarianceSample => Wire::VarSamp,
                    Spread::VariancePopulation => Wire::VarPop,
                    Spread::DeviationSample => Wire::StddevSamp,
                    Spread::DeviationPopulation => Wire::StddevPop,
                };
                (kind, None, Some(value))
            }
            Aggregate::Quantile(value, _) => (Wire::Quantile, None, Some(value)),
        };
        let rank = match &measure.aggregate {
            Aggregate::Quantile(_, rank) => rank.to_string(),
            _ => String::new(),
        };
        wire::Measure {
            aggregate: kind.into(),
            column: column.map(ToString::to_string).unwrap_or_default(),
            filter: measure.filter.as_ref().map(predicate_to_wire),
            value: value.map(row_value_to_wire),
            rank,
        }
    };
    let output = |output: &Output| wire::Output {
        name: output.name.clone(),
        expression: Some(expression_to_wire(&output.expression)),
    };
    // A question that was read has far fewer groups than that.
    let place = |place: &usize| u32::try_from(*place).unwrap_or(u32::MAX);
    let set = |set: &Vec<usize>| wire::GroupingSet { groups: set.iter().map(place).collect() };
    let message = wire::AggregateQuery {
        dataset: query.dataset.to_string(),
        filter: query.filter.as_ref().map(predicate_to_wire),
        group_by: query.group_by.iter().map(group_to_wire).collect(),
        measures: query.measures.iter().map(aggregate).collect(),
        outputs: query.outputs.iter().map(output).collect(),
        view: (query.view != View::default()).then(|| view_to_wire(&query.view)),
        grouping_sets: query.grouping_sets.iter().map(set).collect(),
        joins: query.joins.iter().map(|join| join.dataset.to_string()).collect(),
        on_person: query.on_person,
    };
    wire::Question {
        form: Some(question::Form::Query(message)),
        cut: query.cut.as_ref().map(ToString::to_string).unwrap_or_default(),
        rho_nano: query.rho.map_or(0, Rho::nano),
        partial: query.partial,
    }
}

pub(crate) fn expression_to_wire(expression: &OutputExpression) -> wire::Expression {
    use wire::binary::Operator;
    let node = match expression {
        OutputExpression::Measure(index) => expression::Node::Measure(*index as u32),
        OutputExpression::Constant(value) => expression::Node::Constant(value.to_string()),
        OutputExpression::Negate(inner) => expression::Node::Negate(Box::new(expression_to_wire(inner))),
        OutputExpression::Total { measure, within } => {
            expression::Node::Total(wire::Total { measure: *measure as u32, within: within.clone() })
        }
        OutputExpression::Round { of, decimals } => expression::Node::Round(Box::new(wire::Round {
            of: Some(Box::new(expression_to_wire(of))),
            decimals: i32::from(*decimals),
        })),
        OutputExpression::Clip { of, end, bound } => {
            let end = match end {
                End::AtLeast => clip::End::AtLeast(bound.to_string()),
                End::AtMost => clip::End::AtMost(bound.to_string()),
            };
            expression::Node::Clip(Box::new(wire::Clip { of: Some(Box::new(expression_to_wire(of))), end: Some(end) }))
        }
        OutputExpression::Binary { op, left, right } => {
            let operator = match op {
                Arithmetic::Add => Operator::Add,
                Arithmetic::Subtract => Operator::Subtract,
                Arithmetic::Multiply => Operator::Multiply,
                Arithmetic::Divide => Operator::Divide,
            };
            expression::Node::Binary(Box::new(wire::Binary {
                operator: operator.into(),
                left: Some(Box::new(expression_to_wire(left))),
                right: Some(Box::new(expression_to_wire(right))),
            }))
        }
    };
    wire::Expression { node: Some(node) }
}

pub(crate) const fn comparison_to_wire(op: Comparison) -> wire::comparison::Operator {
    use wire::comparison::Operator;
    match op {
        Comparison::Eq => Operator::Equal,
        Comparison::Ne => Operator::NotEqual,
        Comparison::Lt => Operator::Less,
        Comparison::Le => Operator::LessOrEqual,
        Comparison::Gt => Operator::Greater,
        Comparison::Ge => Operator::GreaterOrEqual,
    }
}

pub(crate) fn predicate_to_wire(predicate: &Predicate) -> wire::Predicate {
    let several = |parts: &[Predicate]| wire::Predicates { of: parts.iter().map(predicate_to_wire).collect() };
    let node = match predicate {
        Predicate::And(parts) => predicate::Node::All(several(parts)),
        Predicate::Or(parts) => predicate::Node::Any(several(parts)),
        Predicate::Not(inner) => predicate::Node::Not(Box::new(predicate_to_wire(inner))),
        Predicate::IsNull { column } => predicate::Node::IsNull(column.to_string()),
        Predicate::Compare { column, op, literal } => {
            let operator = comparison_to_wire(*op);
            predicate::Node::Compare(wire::Comparison {
                column: column.to_string(),
                operator: operator.into(),
                literal: Some(literal_to_wire(literal)),
            })
        }
        Predicate::In { column, literals } => predicate::Node::In(wire::Membership {
            column: column.to_string(),
            literals: literals.iter().map(literal_to_wire).collect(),
        }),
        Predicate::Between { column, low, high } => predicate::Node::Between(wire::Range {
            column: column.to_string(),
            low: Some(literal_to_wire(low)),
            high: Some(literal_to_wire(high)),
        }),
    };
    wire::Predicate { node: Some(node) }
}

fn literal_to_wire(literal: &Literal) -> wire::Literal {
    let value = match literal {
        Literal::Number(number) => literal::Value::Number(number.to_string()),
        Literal::Text(text) => literal::Value::Text(text.clone()),
        Literal::Date(day) => literal::Value::Date(day.to_string()),
    };
    wire::Literal { value: Some(value) }
}

/// The format of [`question_to_bytes`].
const STORED_FORMAT: u8 = 1;

/// A question as it is stored: a format number, then its message form.
#[must_use]
pub fn question_to_bytes(query: &AggregateQuery) -> Vec<u8> {
    let mut bytes = vec![STORED_FORMAT];
    bytes.extend(question_to_wire(query).encode_to_vec());
    bytes
}

/// Reads what [`question_to_bytes`] wrote; `None` for anything else, and for a later format.
#[must_use]
pub fn question_from_bytes(bytes: &[u8]) -> Option<AggregateQuery> {
    let (_, message) = bytes.split_first().filter(|(format, _)| **format == STORED_FORMAT)?;
    question_from_wire(Some(&wire::Question::decode(message).ok()?)).ok()
}

#[cfg(test)]
mod tests;
