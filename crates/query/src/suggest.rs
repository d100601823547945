//! The question that can be answered, for one that cannot.

use crate::check::{Misfit, fits, is_groupable, is_readable};
use crate::quantile::MEDIAN;
use crate::to_sql::default_name;
use crate::{
    Aggregate, AggregateQuery, Category, Comparison, DatePart, Decimal, Group, Literal, MAX_CELLS, Measure, Output,
    OutputExpression, Predicate, RowArithmetic, RowValue, Spread, View, to_sql,
};
use firebreak_domain::{Column, ColumnName, ColumnRole, Contract, CutId, DatasetId, Domain, ReasonCode, Refusal};
use sqlparser::tokenizer::{Token, Word};

/// Ranks that stand for the least value and for the largest.
const NEAR_LEAST: Decimal = Decimal::hundredths(5);
const NEAR_LARGEST: Decimal = Decimal::hundredths(95);
/// The most aggregates of a suggestion.
const MAX_SUGGESTED: usize = 4;

/// What a statement seems to be about, in names of one contract. Literals are no part of it.
///
/// // PRIVACY: a name gets here only by being equal to one of the contract's.
#[derive(Default)]
pub(crate) struct Mentioned {
    aggregates: Vec<Aggregate>,
    columns: Vec<ColumnName>,
    groups: Vec<ColumnName>,
    inside_functions: Vec<ColumnName>,
    persons: bool,
}

/// The plainest question over a dataset.
#[must_use]
pub fn default_sql(contract: &Contract) -> String {
    to_sql(&question(&contract.id, vec![Aggregate::CountRows], Vec::new(), None))
}

/// How many rows the bound on a person's rows leaves out of a cut, as many at most of each person as are kept, and of
/// how many persons. `None` where the contract has no column that says so.
#[must_use]
pub fn left_out(contract: &Contract, cut: &CutId) -> Option<AggregateQuery> {
    let (column, person) = (contract.left_out()?.name.clone(), contract.privacy_unit()?.name.clone());
    let [_, yes] = Domain::LEFT_OUT;
    let filter = Predicate::Compare { column, op: Comparison::Eq, literal: Literal::Text(yes.to_owned()) };
    let aggregates = vec![Aggregate::CountRows, Aggregate::CountDistinct(person)];
    let mut query = question(&contract.id, aggregates, Vec::new(), Some(filter));
    for (output, name) in query.outputs.iter_mut().zip(["rows_left_out", "persons_with_rows_left_out"]) {
        output.name = name.to_owned();
    }
    Some(AggregateQuery { cut: Some(cut.clone()), ..query })
}

/// The counts and sums that the measures of a question are made of, as a question by the same columns: its intervals
/// are as wide whatever is released. It is of all rows, and of the first four of them: literals are no part of it.
#[must_use]
pub fn counts_and_sums(query: &AggregateQuery) -> AggregateQuery {
    let mut aggregates = Vec::new();
    for part in query.measures.iter().flat_map(|measure| parts(&measure.aggregate)) {
        if !aggregates.contains(&part) {
            aggregates.push(part);
        }
    }
    aggregates.truncate(MAX_SUGGESTED);
    let columns = query.group_by.iter().filter(|group| matches!(group.category, Category::Column(_))).cloned();
    let AggregateQuery { joins, partial, cut, .. } = query.clone();
    AggregateQuery { joins, partial, cut, ..question(&query.dataset, aggregates, columns.collect(), None) }
}

/// The counts and sums that an aggregate is made of: of its first column alone.
fn parts(aggregate: &Aggregate) -> Vec<Aggregate> {
    let column = |value: &RowValue| value.columns().first().map(|column| (*column).clone());
    let count = |value| column(value).map(Aggregate::Count);
    let sum = |value| column(value).map(|column| Aggregate::Sum(RowValue::Column(column)));
    let squares = |value| {
        let number = Box::new(RowValue::Column(column(value)?));
        Some(Aggregate::Sum(RowValue::Binary { op: RowArithmetic::Multiply, left: number.clone(), right: number }))
    };
    let parts = match aggregate {
        Aggregate::CountRows | Aggregate::CountDistinct(_) | Aggregate::Count(_) => vec![Some(aggregate.clone())],
        Aggregate::Sum(value) => vec![sum(value)],
        Aggregate::Avg(value) => vec![count(value), sum(value)],
        Aggregate::Spread(_, value) => vec![count(value), sum(value), squares(value)],
        Aggregate::Quantile(value, _) => vec![count(value)],
    };
    parts.into_iter().flatten().collect()
}

/// Adds the suggestion.
pub(crate) fn complete(misfit: Misfit, contract: &Contract, mentioned: &Mentioned) -> Refusal {
    let Misfit { refusal, column } = misfit;
    let about = column.and_then(|name| contract.column(name.as_str()));
    let suggestion = suggested(refusal.reason, contract, mentioned, about);
    let sql = if fits(&suggestion, contract).is_ok() { to_sql(&suggestion) } else { default_sql(contract) };
    let groups: Vec<&str> = groupable(contract).map(|column| column.name.as_str()).collect();
    let refusal = if refusal.reason == ReasonCode::RowsAsked && !groups.is_empty() {
        let detail = format!("{}; what is counted may be grouped by {}", refusal.detail, groups.join(", "));
        refusal.because(detail)
    } else {
        *refusal
    };
    refusal.instead(sql)
}

fn groupable(contract: &Contract) -> impl Iterator<Item = &Column> {
    contract.columns.iter().filter(|column| is_groupable(column))
}

fn suggested(reason: ReasonCode, contract: &Contract, mentioned: &Mentioned, about: Option<&Column>) -> AggregateQuery {
    let column = |name: &ColumnName| contract.column(name.as_str());
    let measurable = |name: &&ColumnName| column(name).is_some_and(|c| c.role == ColumnRole::Measure && is_readable(c));
    let mut aggregates = mentioned.aggregates.clone();
    if aggregates.is_empty() {
        aggregates.extend(
            mentioned
                .inside_functions
                .iter()
                .filter(measurable)
                .cloned()
                .map(|name| Aggregate::Avg(RowValue::Column(name))),
        );
    }
    if aggregates.is_empty() {
        // A withheld column is none of these: what is suggested must not tell it from one that does not exist.
        let identifying = [ColumnRole::PrivacyUnit, ColumnRole::MatchKey, ColumnRole::Identifier];
        let identifies = |name: &ColumnName| column(name).is_some_and(|c| identifying.contains(&c.role));
        let unit = contract.privacy_unit().map(|unit| unit.name.clone());
        let of_persons = mentioned.persons || mentioned.columns.iter().any(identifies);
        aggregates.push(unit.filter(|_| of_persons).map_or(Aggregate::CountRows, Aggregate::CountDistinct));
    }
    aggregates.truncate(MAX_SUGGESTED);
    let may_group = |name: &&ColumnName| column(name).is_some_and(is_groupable);
    let mut groups: Vec<ColumnName> = mentioned.groups.iter().filter(may_group).cloned().collect();
    let about_a_day = about.is_some_and(|c| matches!(c.domain, Domain::Date { .. }));
    let rows = matches!(reason, ReasonCode::RowsAsked | ReasonCode::UngroupedColumn | ReasonCode::UnsupportedClause);
    if groups.is_empty() && rows {
        groups.extend(mentioned.columns.iter().filter(may_group).take(2).cloned());
    }
    if groups.is_empty() && reason == ReasonCode::RowsAsked && mentioned.columns.is_empty() {
        // Whoever asks for all columns of rows has those that one may group by.
        groups.extend(groupable(contract).take(2).map(|column| column.name.clone()));
    }
    keep_within(&mut groups, contract);
    let mut groups: Vec<Group> = groups.into_iter().map(Group::of_column).collect();
    if reason == ReasonCode::NotGroupable && groups.is_empty() && about_a_day {
        // By day is not to be had; by month is.
        groups.extend(about.map(|column| Group::of_date(DatePart::Month, column.name.clone())));
    }
    let filter = about.filter(|_| reason == ReasonCode::LiteralMismatch).and_then(example);
    question(&contract.id, aggregates, groups, filter)
}

/// Drops the last groups until the cells fit into one answer.
fn keep_within(groups: &mut Vec<ColumnName>, contract: &Contract) {
    let mut seen = Vec::new();
    groups.retain(|name| {
        !seen.contains(name) && {
            seen.push(name.clone());
            true
        }
    });
    let mut cells = 1_usize;
    groups.retain(|name| {
        let values = contract.column(name.as_str()).map_or(usize::MAX, |column| column.domain.codes().len());
        let more = cells.saturating_mul(values);
        let fits = more <= MAX_CELLS;
        if fits {
            cells = more;
        }
        fits
    });
}

/// A condition on a column whose literal is written as it should be.
fn example(column: &Column) -> Option<Predicate> {
    let (op, literal) = match &column.domain {
        Domain::Category { codes, .. } => (Comparison::Eq, Literal::Text(codes.first()?.code.clone())),
        Domain::Month { first, .. } => (Comparison::Ge, Literal::Text(first.clone())),
        Domain::Year { first, .. } => (Comparison::Ge, Literal::Number(Decimal::whole(i64::from(*first)))),
        Domain::Integer { min, .. } | Domain::Decimal { min, .. } => {
            (Comparison::Ge, Literal::Number(Decimal::whole(*min)))
        }
        Domain::Date { first, .. } => (Comparison::Ge, Literal::Date(*first)),
        Domain::Open { .. } | Domain::LeftOut | Domain::Text => return None,
    };
    Some(Predicate::Compare { column: column.name.clone(), op, literal })
}

fn question(
    dataset: &DatasetId,
    aggregates: Vec<Aggregate>,
    group_by: Vec<Group>,
    filter: Option<Predicate>,
) -> AggregateQuery {
    let measures: Vec<Measure> = aggregates.into_iter().map(|aggregate| Measure { aggregate, filter: None }).collect();
    let outputs = (0..measures.len()).map(|index| {
        let expression = OutputExpression::Measure(index);
        Output { name: default_name(&expression, &measures), expression }
    });
    AggregateQuery {
        dataset: dataset.clone(),
        joins: Vec::new(),
        on_person: false,
        partial: false,
        cut: None,
        filter,
        group_by,
        grouping_sets: Vec::new(),
        outputs: outputs.collect(),
        measures,
        view: View::default(),
        rho: None,
    }
}

impl Mentioned {
    /// What a typed question is about.
    pub(crate) fn in_query(query: &AggregateQuery, contract: &Contract) -> Self {
        let mut mentioned = Self::default();
        let known = |name: &&ColumnName| contract.column(name.as_str()).is_some();
        mentioned.columns.extend(query.columns().into_iter().filter(known).cloned());
        let columns = query.group_by.iter().filter_map(|group| match &group.category {
            Category::Column(column) => Some(column),
            _ => None,
        });
        mentioned.groups.extend(columns.filter(known).cloned());
        for measure in &query.measures {
            mentioned.aggregate(&measure.aggregate, contract);
        }
        mentioned
    }

    /// What a statement is about, as far as its words tell, whether or not it can be parsed.
    pub(crate) fn in_tokens(tokens: &[Token], contract: &Contract) -> Self {
        let mut mentioned = Self::default();
        let mut functions: Vec<bool> = Vec::new();
        let mut grouping = false;
        for (index, token) in tokens.iter().enumerate() {
            let rest = tokens.get(index + 1..).unwrap_or_default();
            match token {
                Token::LParen => {
                    let before = index.checked_sub(1).and_then(|at| tokens.get(at));
                    functions.push(before.and_then(word).is_some_and(|w| is_function(&w)));
                }
                Token::RParen => drop(functions.pop()),
                Token::Word(raw) => {
                    let name = folded(raw);
                    let keyword = if raw.quote_style.is_none() { name.as_str() } else { "" };
                    match keyword {
                        "group" => grouping = rest.first().and_then(word).is_some_and(|next| next == "by"),
                        "having" | "order" | "limit" | "settings" | "window" | "qualify" => grouping = false,
                        "distinct" => mentioned.persons = true,
                        "count" | "sum" | "avg" => mentioned.call(keyword, rest, contract),
                        "min" | "max" | "median" => mentioned.call(keyword, rest, contract),
                        _ if Spread::of_word(keyword).is_some() => mentioned.call(keyword, rest, contract),
                        _ => {}
                    }
                    if let Some(column) = contract.column(&name) {
                        mentioned.columns.push(column.name.clone());
                        if grouping {
                            mentioned.groups.push(column.name.clone());
                        }
                        if functions.iter().any(|function| *function) {
                            mentioned.inside_functions.push(column.name.clone());
                        }
                    }
                }
                _ => {}
            }
        }
        mentioned
    }

    /// The contract of the first dataset that the words name.
    pub(crate) fn dataset<'a>(
        tokens: &[Token],
        find: impl Fn(&DatasetId) -> Option<&'a Contract>,
    ) -> Option<&'a Contract> {
        (0..tokens.len()).find_map(|start| {
            let mut name = String::new();
            // An id has at most 64 characters, so a name of more words than that is none.
            for token in tokens.get(start..)?.iter().take(64) {
                match token {
                    Token::Word(raw) if name.is_empty() || name.ends_with('.') => name.push_str(&folded(raw)),
                    Token::Period if !name.is_empty() && !name.ends_with('.') => name.push('.'),
                    _ => break,
                }
            }
            find(&DatasetId::new(name).ok()?)
        })
    }

    /// Notes `(*)`, `(column)`, `(DISTINCT column)` or an expression that begins with a column after the name of an
    /// aggregate.
    fn call(&mut self, function: &str, rest: &[Token], contract: &Contract) {
        let [Token::LParen, inside @ ..] = rest else { return };
        let end = inside.iter().position(|t| *t == Token::RParen).unwrap_or(0);
        let (distinct, inside) = match inside.get(..end).unwrap_or_default() {
            [first, inner @ ..] if word(first).is_some_and(|w| w == "distinct") => (true, inner),
            inner => (false, inner),
        };
        let named = match inside {
            [Token::Mul] if function == "count" && !distinct => return self.aggregate(&Aggregate::CountRows, contract),
            [only] => word(only),
            [_, Token::Period, last] => word(last),
            // Of an expression its first column.
            [first, ..] if function != "count" => word(first),
            _ => None,
        };
        let Some(name) = named.and_then(|name| ColumnName::new(name).ok()) else { return };
        let aggregate = match (function, distinct) {
            ("count", true) => Aggregate::CountDistinct(name),
            ("count", false) => Aggregate::Count(name),
            ("sum", false) => Aggregate::Sum(RowValue::Column(name)),
            ("avg", false) => Aggregate::Avg(RowValue::Column(name)),
            // The least and the largest are one person's; what lies near them is not.
            ("min", false) => Aggregate::Quantile(RowValue::Column(name), NEAR_LEAST),
            ("max", false) => Aggregate::Quantile(RowValue::Column(name), NEAR_LARGEST),
            ("median", false) => Aggregate::Quantile(RowValue::Column(name), MEDIAN),
            _ => match Spread::of_word(function).filter(|_| !distinct) {
                Some(spread) => Aggregate::Spread(spread, RowValue::Column(name)),
                None => return,
            },
        };
        self.aggregate(&aggregate, contract);
    }

    /// Keeps an aggregate that the contract can answer, once: of its first column alone.
    // PRIVACY: constants inside an aggregate are the caller's words.
    fn aggregate(&mut self, aggregate: &Aggregate, contract: &Contract) {
        let plain = |value: &RowValue| value.columns().first().map(|name| RowValue::Column((*name).clone()));
        let plain = match aggregate {
            Aggregate::Sum(value) => plain(value).map(Aggregate::Sum),
            Aggregate::Avg(value) => plain(value).map(Aggregate::Avg),
            Aggregate::Spread(spread, value) => plain(value).map(|value| Aggregate::Spread(*spread, value)),
            Aggregate::Quantile(value, rank) if [NEAR_LEAST, MEDIAN, NEAR_LARGEST].contains(rank) => {
                plain(value).map(|value| Aggregate::Quantile(value, *rank))
            }
            Aggregate::Quantile(value, _) => plain(value).map(|value| Aggregate::Quantile(value, MEDIAN)),
            other => Some(other.clone()),
        };
        let Some(aggregate) = &plain else { return };
        let alone = question(&contract.id, vec![aggregate.clone()], Vec::new(), None);
        if !self.aggregates.contains(aggregate) && fits(&alone, contract).is_ok() {
            self.aggregates.push(aggregate.clone());
        } else if matches!(aggregate, Aggregate::CountDistinct(_)) {
            self.persons = true;
        }
    }
}

fn is_function(word: &str) -> bool {
    const AROUND: &[&str] = &[
        "in", "and", "or", "not", "where", "from", "select", "by", "as", "filter", "over", "on", "case", "when",
        "then", "else",
    ];
    !AROUND.contains(&word)
}

fn word(token: &Token) -> Option<String> {
    match token {
        Token::Word(raw) => Some(folded(raw)),
        _ => None,
    }
}

fn folded(word: &Word) -> String {
    if word.quote_style.is_some() { word.value.clone() } else { word.value.to_ascii_lowercase() }
}
