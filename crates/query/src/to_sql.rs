//! The question written as SQL.

use crate::quantile::MEDIAN;
use crate::{
    Aggregate, AggregateQuery, Arithmetic, Category, Decimal, End, Group, Having, Join, Literal, Measure, Order,
    OrderKey, OutputExpression, Predicate, RowArithmetic, RowValue, View,
};
use firebreak_domain::ColumnName;
use sqlparser::keywords::ALL_KEYWORDS;
use std::collections::BTreeSet;
use std::fmt::Write;

/// Words of the parser that are plain names all the same wherever a question has a name.
const PLAIN_WORDS: &[&str] = &[
    "AVG", "CATEGORY", "COST", "COUNT", "DATA", "HEALTH", "HOURS", "KIND", "LEVEL", "MONTH", "NAME", "PERSON",
    "REGION", "SECTOR", "SOURCE", "STATUS", "SUM", "TYPE", "YEAR",
];

/// The question as SQL that [`parse_sql`](crate::parse_sql) reads back to the same canonical form.
///
/// What [`check`](crate::check) would refuse as malformed (an empty list of conditions, an output of a measure that
/// is not there) has no SQL; the text that comes out for it is refused.
///
/// // PRIVACY: the text holds the question's literals. It is for its caller, not for logs.
#[must_use]
pub fn to_sql(query: &AggregateQuery) -> String {
    let mut items: Vec<String> = query.group_by.iter().map(group).collect();
    for output in &query.outputs {
        let text = expression(&output.expression, &query.measures);
        let plain = default_name(&output.expression, &query.measures);
        let alone = query.outputs.iter().filter(|o| default_name(&o.expression, &query.measures) == plain).count() == 1;
        let named = if alone && output.name == plain { text } else { format!("{text} AS {}", name(&output.name)) };
        items.push(named);
    }
    let mut sql = format!("SELECT {} FROM {}", items.join(", "), dataset(query.dataset.as_str()));
    // Writing to a String cannot fail.
    if let Some(cut) = &query.cut {
        let _ = write!(sql, " FOR SYSTEM_TIME AS OF '{cut}'");
    }
    for Join { dataset: joined, on: _ } in &query.joins {
        let how = if query.on_person { "ON PERSON" } else { "USING (person)" };
        let _ = write!(sql, " JOIN {} {how}", dataset(joined.as_str()));
    }
    if let Some(filter) = &query.filter {
        let _ = write!(sql, " WHERE {}", condition(filter).0);
    }
    if !query.group_by.is_empty() {
        let by = |group: &Group| match &group.category {
            Category::Column(column) => name(column.as_str()),
            _ => name(&group.name),
        };
        let named = |groups: &mut dyn Iterator<Item = &Group>| groups.map(by).collect::<Vec<_>>().join(", ");
        let margins = query.margins();
        let set = |set: &BTreeSet<usize>| {
            format!("({})", named(&mut set.iter().filter_map(|place| query.group_by.get(*place))))
        };
        let _ = if margins.is_empty() {
            write!(sql, " GROUP BY {}", named(&mut query.group_by.iter()))
        } else {
            let sets: Vec<String> = margins.iter().rev().map(set).collect();
            write!(sql, " GROUP BY GROUPING SETS ({})", sets.join(", "))
        };
    }
    sql += &view(&query.view, &query.measures);
    if let Some(rho) = query.rho {
        let _ = write!(sql, " SETTINGS rho = {rho}");
    }
    sql
}

/// A group in the SELECT list, under its heading.
fn group(group: &Group) -> String {
    let of = match &group.category {
        Category::Column(column) => return name(column.as_str()),
        Category::Date { part, column } => part.to_sql(&name(column.as_str())),
        Category::Bucket { value, low, high, buckets } => {
            format!("WIDTH_BUCKET({}, {low}, {high}, {buckets})", row_value(value).0)
        }
        Category::Case { branches, otherwise } => {
            let text = |label: &String| literal(&Literal::Text(label.clone()));
            let branch = |(when, label): &(_, _)| format!(" WHEN {} THEN {}", condition(when).0, text(label));
            let branches: String = branches.iter().map(branch).collect();
            let otherwise = otherwise.as_ref().map(|label| format!(" ELSE {}", text(label)));
            format!("CASE{branches}{} END", otherwise.unwrap_or_default())
        }
    };
    format!("{of} AS {}", name(&group.name))
}

fn view(view: &View, measures: &[Measure]) -> String {
    let mut sql = String::new();
    // Writing to a String cannot fail.
    if let Some(having) = &view.having {
        let _ = write!(sql, " HAVING {}", of_having(having, measures).0);
    }
    let order = |order: &Order| {
        let by = match &order.by {
            OrderKey::Group(heading) => name(heading),
            // In brackets a number is a value, and no position in the SELECT list.
            OrderKey::Value(value @ OutputExpression::Constant(_)) => format!("({})", expression(value, measures)),
            OrderKey::Value(value) => expression(value, measures),
        };
        if order.descending { format!("{by} DESC") } else { by }
    };
    let orders: Vec<String> = view.order_by.iter().map(order).collect();
    if !orders.is_empty() {
        let _ = write!(sql, " ORDER BY {}", orders.join(", "));
    }
    if let Some(limit) = view.limit {
        let _ = write!(sql, " LIMIT {limit}");
    }
    if view.offset > 0 {
        let _ = write!(sql, " OFFSET {}", view.offset);
    }
    sql
}

fn of_having(having: &Having, measures: &[Measure]) -> (String, Binding) {
    let joined = |parts: &[Having], word: &str, binding: Binding| match parts {
        [only] => of_having(only, measures),
        _ => {
            let parts: Vec<String> = parts.iter().map(|part| bracketed(of_having(part, measures), binding)).collect();
            (parts.join(word), binding)
        }
    };
    match having {
        Having::And(parts) => joined(parts, " AND ", Binding::And),
        Having::Or(parts) => joined(parts, " OR ", Binding::Or),
        Having::Not(part) => (format!("NOT ({})", of_having(part, measures).0), Binding::Atom),
        Having::Compare { left, op, right } => {
            let side = |side: &OutputExpression| bracketed(piece(side, measures), Binding::Sum);
            (format!("{} {} {}", side(left), op.as_sql(), side(right)), Binding::Atom)
        }
    }
}

/// The heading of an output that is given none.
pub(crate) fn default_name(expression: &OutputExpression, measures: &[Measure]) -> String {
    match expression {
        OutputExpression::Measure(index) => match measures.get(*index).map(|measure| &measure.aggregate) {
            Some(Aggregate::CountRows) => "count".into(),
            Some(Aggregate::CountDistinct(_)) => "persons".into(),
            Some(Aggregate::Count(column)) => format!("count_{}", short(column)),
            Some(Aggregate::Sum(value)) => value_name("sum", value),
            Some(Aggregate::Avg(value)) => value_name("avg", value),
            Some(Aggregate::Spread(spread, value)) => value_name(&spread.as_sql().to_ascii_lowercase(), value),
            Some(Aggregate::Quantile(value, rank)) if *rank == MEDIAN => value_name("median", value),
            Some(Aggregate::Quantile(value, rank)) => value_name(&percentile(*rank), value),
            None => "value".into(),
        },
        OutputExpression::Round { of, .. } | OutputExpression::Clip { of, .. } => default_name(of, measures),
        OutputExpression::Total { .. } => "total".into(),
        _ => "value".into(),
    }
}

/// A column's name without the dataset's before it.
pub(crate) fn short(column: &ColumnName) -> &str {
    column.as_str().rsplit('.').next().unwrap_or_default()
}

/// A rank as a percentile: `p95`, `p99_9`.
fn percentile(rank: Decimal) -> String {
    let percent = rank.fixed_point(4).and_then(|parts| Decimal::new(parts.into(), 2).ok());
    percent.map_or_else(|| "quantile".to_owned(), |percent| format!("p{percent}").replace('.', "_"))
}

fn value_name(word: &str, value: &RowValue) -> String {
    match value {
        RowValue::Column(column) => format!("{word}_{}", short(column)),
        _ => word.to_owned(),
    }
}

/// How tightly a piece of text binds; a piece is bracketed where it binds no tighter than its place demands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Binding {
    /// A sign in front, which next to an operator is easily misread.
    Sign,
    /// OR.
    Or,
    /// AND.
    And,
    /// + and -
    Sum,
    /// * and /
    Product,
    /// A name, a number, a call, a single condition.
    Atom,
}

fn expression(expression: &OutputExpression, measures: &[Measure]) -> String {
    piece(expression, measures).0
}

fn piece(expression: &OutputExpression, measures: &[Measure]) -> (String, Binding) {
    match expression {
        OutputExpression::Measure(index) => (measures.get(*index).map_or_else(String::new, measure), Binding::Atom),
        OutputExpression::Constant(number) => {
            (number.to_string(), if number.is_negative() { Binding::Sign } else { Binding::Atom })
        }
        OutputExpression::Total { measure: index, within } => {
            let within: Vec<String> = within.iter().map(|heading| name(heading)).collect();
            let by = if within.is_empty() { String::new() } else { format!("PARTITION BY {}", within.join(", ")) };
            let of = measures.get(*index).map_or_else(String::new, measure);
            (format!("SUM({of}) OVER ({by})"), Binding::Atom)
        }
        OutputExpression::Round { of, decimals } => {
            (format!("ROUND({}, {decimals})", piece(of, measures).0), Binding::Atom)
        }
        OutputExpression::Clip { of, end, bound } => {
            let word = match end {
                End::AtLeast => "GREATEST",
                End::AtMost => "LEAST",
            };
            (format!("{word}({}, {bound})", piece(of, measures).0), Binding::Atom)
        }
        OutputExpression::Negate(part) => {
            (format!("-{}", bracketed(piece(part, measures), Binding::Atom)), Binding::Sign)
        }
        OutputExpression::Binary { op, left, right } => {
            let (sign, binding, tighter) = match op {
                Arithmetic::Add => ("+", Binding::Sum, Binding::Product),
                Arithmetic::Subtract => ("-", Binding::Sum, Binding::Product),
                Arithmetic::Multiply => ("*", Binding::Product, Binding::Atom),
                Arithmetic::Divide => ("/", Binding::Product, Binding::Atom),
            };
            let left = bracketed(piece(left, measures), binding);
            let right = bracketed(piece(right, measures), tighter);
            (format!("{left} {sign} {right}"), binding)
        }
    }
}

fn bracketed((text, binding): (String, Binding), least: Binding) -> String {
    if binding >= least { text } else { format!("({text})") }
}

fn measure(measure: &Measure) -> String {
    let call = match &measure.aggregate {
        Aggregate::CountRows => "COUNT(*)".to_owned(),
        Aggregate::CountDistinct(column) => format!("COUNT(DISTINCT {})", name(column.as_str())),
        Aggregate::Count(column) => format!("COUNT({})", name(column.as_str())),
        Aggregate::Sum(value) => format!("SUM({})", row_value(value).0),
        Aggregate::Avg(value) => format!("AVG({})", row_value(value).0),
        Aggregate::Spread(spread, value) => format!("{}({})", spread.as_sql(), row_value(value).0),
        Aggregate::Quantile(value, rank) => format!("QUANTILE({}, {rank})", row_value(value).0),
    };
    match &measure.filter {
        None => call,
        Some(filter) => format!("{call} FILTER (WHERE {})", condition(filter).0),
    }
}

fn row_value(value: &RowValue) -> (String, Binding) {
    match value {
        RowValue::Column(column) => (name(column.as_str()), Binding::Atom),
        RowValue::Constant(number) => {
            (number.to_string(), if number.is_negative() { Binding::Sign } else { Binding::Atom })
        }
        RowValue::Binary { op, left, right } => {
            let (binding, tighter) = match op {
                RowArithmetic::Add | RowArithmetic::Subtract => (Binding::Sum, Binding::Product),
                RowArithmetic::Multiply => (Binding::Product, Binding::Atom),
            };
            let left = bracketed(row_value(left), binding);
            let right = bracketed(row_value(right), tighter);
            (format!("{left} {} {right}", op.as_sql()), binding)
        }
        RowValue::Clamp { of, low, high } => (format!("CLAMP({}, {low}, {high})", row_value(of).0), Binding::Atom),
    }
}

fn condition(predicate: &Predicate) -> (String, Binding) {
    let joined = |parts: &[Predicate], word: &str, binding: Binding| match parts {
        [only] => condition(only),
        _ => {
            let parts: Vec<String> = parts.iter().map(|part| bracketed(condition(part), binding)).collect();
            (parts.join(word), binding)
        }
    };
    match predicate {
        Predicate::And(parts) => joined(parts, " AND ", Binding::And),
        Predicate::Or(parts) => joined(parts, " OR ", Binding::Or),
        Predicate::Not(part) => match part.as_ref() {
            Predicate::In { column, literals } => (membership(column.as_str(), "NOT IN", literals), Binding::Atom),
            Predicate::IsNull { column } => (format!("{} IS NOT NULL", name(column.as_str())), Binding::Atom),
            other => (format!("NOT ({})", condition(other).0), Binding::Atom),
        },
        Predicate::Compare { column, op, literal: constant } => {
            (format!("{} {} {}", name(column.as_str()), op.as_sql(), literal(constant)), Binding::Atom)
        }
        Predicate::In { column, literals } => (membership(column.as_str(), "IN", literals), Binding::Atom),
        Predicate::Between { column, low, high } => {
            (format!("{} BETWEEN {} AND {}", name(column.as_str()), literal(low), literal(high)), Binding::Atom)
        }
        Predicate::IsNull { column } => (format!("{} IS NULL", name(column.as_str())), Binding::Atom),
    }
}

fn membership(column: &str, word: &str, literals: &[Literal]) -> String {
    let literals: Vec<String> = literals.iter().map(literal).collect();
    format!("{} {word} ({})", name(column), literals.join(", "))
}

fn literal(literal: &Literal) -> String {
    match literal {
        Literal::Number(number) => number.to_string(),
        Literal::Text(text) => format!("'{}'", text.replace('\'', "''")),
        Literal::Date(day) => format!("DATE '{day}'"),
    }
}

pub(crate) fn dataset(id: &str) -> String {
    if id.split('.').all(is_plain) { id.to_owned() } else { quoted(id) }
}

pub(crate) fn name(text: &str) -> String {
    if is_plain(text) { text.to_owned() } else { quoted(text) }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// Whether a name can stand without quotes: lower case, and no word that the grammar gives a meaning.
fn is_plain(text: &str) -> bool {
    let mut bytes = text.bytes();
    let formed = bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b == b'_')
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    let upper = text.to_ascii_uppercase();
    formed && (PLAIN_WORDS.contains(&upper.as_str()) || !ALL_KEYWORDS.contains(&upper.as_str()))
}
