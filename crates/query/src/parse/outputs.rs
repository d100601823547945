//! The SELECT list: aggregates become measures, the arithmetic around them outputs.

use super::categories::{Keyed, category};
use super::conditions::{condition, literal, number, unsupported};
use super::finish::{self, Finish};
use super::select::Source;
use super::values::{self, Case};
use super::{bare, folded, place, refuse, too_large};
use crate::canonical::measure_key;
use crate::quantile::MEDIAN;
use crate::to_sql::default_name;
use crate::{
    Aggregate, Arithmetic, Category, Decimal, Group, Literal, MAX_DEPTH, MAX_MEASURES, Measure, OrderKey, Output,
    OutputExpression, Predicate, RowValue, Spread,
};
use firebreak_domain::{ReasonCode, Refusal};
use sqlparser::ast::{
    BinaryOperator, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, Ident, UnaryOperator, Value, WindowSpec, WindowType,
};
use sqlparser::tokenizer::Location;
use std::collections::HashMap;

/// The SELECT list as it is read.
pub(super) struct Outputs<'a> {
    source: &'a Source,
    groups: Vec<(&'a str, Keyed)>,
    measures: Vec<Measure>,
    known: HashMap<String, usize>,
    found: Vec<(Option<String>, OutputExpression)>,
    /// Each item of the list, as ORDER BY names it by its place.
    items: Vec<OrderKey>,
    loose_column: Option<Option<Location>>,
}

impl<'a> Outputs<'a> {
    pub(super) fn new(source: &'a Source, groups: &'a [Group]) -> Self {
        let keyed = |group: &'a Group| (group.name.as_str(), Keyed::new(group.category.clone()));
        Self {
            source,
            groups: groups.iter().map(keyed).collect(),
            measures: Vec::new(),
            known: HashMap::new(),
            found: Vec::new(),
            items: Vec::new(),
            loose_column: None,
        }
    }

    /// Takes one item of the list. A group is passed over: it is in every answer.
    pub(super) fn add(&mut self, expr: &Expr, alias: Option<&Ident>) -> Result<(), Refusal> {
        if let Some(category) = self.category(expr, "SELECT")? {
            let name = self.group_of(category, expr)?;
            if name.is_none() {
                self.loose_column.get_or_insert(place(expr));
            } else if alias.is_some_and(|alias| name.as_ref() != Some(&folded(alias))) {
                let what = "a group column keeps its own name, and a group has one";
                return Err(refuse(ReasonCode::UnsupportedClause, place(expr), what));
            }
            self.items.push(OrderKey::Group(name.unwrap_or_default()));
            return Ok(());
        }
        let expression = self.expression(expr, 0)?;
        if self.found.len() >= MAX_MEASURES {
            return Err(too_large());
        }
        self.items.push(OrderKey::Value(expression.clone()));
        self.found.push((alias.map(folded), expression));
        Ok(())
    }

    /// The measures and outputs, each output named.
    pub(super) fn finish(self) -> Result<(Vec<Measure>, Vec<Output>), Refusal> {
        if self.measures.is_empty() {
            let what = "an answer holds at least one aggregate: COUNT, SUM, AVG, QUANTILE, VARIANCE or STDDEV";
            return Err(refuse(ReasonCode::RowsAsked, self.loose_column.flatten(), what));
        }
        if let Some(place) = self.loose_column {
            return Err(refuse(ReasonCode::UngroupedColumn, place, "this is not in GROUP BY"));
        }
        let mut taken: Vec<String> = self.groups.iter().map(|(name, _)| (*name).to_owned()).collect();
        taken.extend(self.found.iter().filter_map(|(alias, _)| alias.clone()));
        let mut outputs = Vec::with_capacity(self.found.len());
        for (alias, expression) in self.found {
            let name = alias.unwrap_or_else(|| {
                let plain = default_name(&expression, &self.measures);
                let numbered = (2_u32..).map(|n| format!("{plain}_{n}"));
                // The numbers do not run out before the names do.
                let mut free = std::iter::once(plain.clone()).chain(numbered).filter(|name| !taken.contains(name));
                let name = free.next().unwrap_or(plain.clone());
                taken.push(name.clone());
                name
            });
            outputs.push(Output { name, expression });
        }
        Ok((self.measures, outputs))
    }

    /// What HAVING or ORDER BY names: the heading of an output, or an expression of its own.
    pub(super) fn named(&mut self, expr: &Expr) -> Result<OutputExpression, Refusal> {
        match self.heading(expr) {
            Some(expression) => Ok(expression),
            None => self.expression(expr, 0),
        }
    }

    /// The output of that heading, as far as it was given one.
    fn heading(&self, expr: &Expr) -> Option<OutputExpression> {
        let Expr::Identifier(ident) = bare(expr) else { return None };
        let name = folded(ident);
        self.found.iter().find(|(alias, _)| alias.as_ref() == Some(&name)).map(|(_, expression)| expression.clone())
    }

    /// The heading of the group that an expression is, or names.
    pub(super) fn group(&self, expr: &Expr) -> Result<Option<String>, Refusal> {
        if self.heading(expr).is_some() {
            return Ok(None);
        }
        if let Expr::Identifier(ident) = bare(expr) {
            let name = folded(ident);
            return Ok(self.groups.iter().any(|(group, _)| *group == name).then_some(name));
        }
        match self.category(expr, "ORDER BY")? {
            Some(category) => self.group_of(category, expr),
            None => Ok(None),
        }
    }

    /// What an expression may be grouped by, if it is that: a column, or what follows from columns by a rule.
    fn category(&self, expr: &Expr, clause: &str) -> Result<Option<Category>, Refusal> {
        match self.source.column(expr, clause)? {
            Some(column) => Ok(Some(Category::Column(column))),
            None => category(expr, self.source),
        }
    }

    /// The heading of the group that a category is.
    fn group_of(&self, category: Category, expr: &Expr) -> Result<Option<String>, Refusal> {
        let wanted = Keyed::new(category);
        for (name, group) in &self.groups {
            if group.is(&wanted, expr)? {
                return Ok(Some((*name).to_owned()));
            }
        }
        Ok(None)
    }

    /// The place of an item of the SELECT list, from 1.
    pub(super) fn at(&self, place: usize) -> Option<OrderKey> {
        self.items.get(place.checked_sub(1)?).cloned()
    }

    fn expression(&mut self, expr: &Expr, depth: usize) -> Result<OutputExpression, Refusal> {
        if depth > MAX_DEPTH {
            return Err(too_large());
        }
        match bare(expr) {
            Expr::Value(value) => match &value.value {
                Value::Number(digits, false) => Ok(OutputExpression::Constant(number(digits, expr)?)),
                _ => Err(refuse(ReasonCode::UnsupportedExpression, place(expr), "constants in outputs are numbers")),
            },
            Expr::UnaryOp { op: UnaryOperator::Plus, expr } => self.expression(expr, depth + 1),
            Expr::UnaryOp { op: UnaryOperator::Minus, expr } => Ok(match self.expression(expr, depth + 1)? {
                OutputExpression::Constant(number) => OutputExpression::Constant(number.negated()),
                other => OutputExpression::Negate(Box::new(other)),
            }),
            Expr::BinaryOp { left, op, right } => {
                let op = match op {
                    BinaryOperator::Plus => Arithmetic::Add,
                    BinaryOperator::Minus => Arithmetic::Subtract,
                    BinaryOperator::Multiply => Arithmetic::Multiply,
                    BinaryOperator::Divide => Arithmetic::Divide,
                    _ => {
                        let what = "outputs join aggregates and numbers by + - * and /";
                        return Err(refuse(ReasonCode::UnsupportedExpression, place(left), what));
                    }
                };
                let left = Box::new(self.expression(left, depth + 1)?);
                let right = Box::new(self.expression(right, depth + 1)?);
                Ok(OutputExpression::Binary { op, left, right })
            }
            Expr::Function(function) => self.call(function, depth),
            other if self.source.column(other, "SELECT")?.is_some() => {
                let what = "arithmetic is on aggregates, not on columns";
                Err(refuse(ReasonCode::UngroupedColumn, place(other), what))
            }
            other => Err(unsupported(other)),
        }
    }

    /// An aggregate, a total over the answer, or what rounds or clips an output.
    fn call(&mut self, function: &Function, depth: usize) -> Result<OutputExpression, Refusal> {
        match &function.over {
            Some(over) => self.total(function, over),
            None => match finish::of(function)? {
                None => self.aggregate(function),
                Some(Finish::Round { of, decimals }) => {
                    Ok(OutputExpression::Round { of: Box::new(self.expression(of, depth + 1)?), decimals })
                }
                Some(Finish::Clip { of, end, bound }) => {
                    Ok(OutputExpression::Clip { of: Box::new(self.expression(of, depth + 1)?), end, bound })
                }
            },
        }
    }

    /// `SUM(measure) OVER (PARTITION BY ..)`.
    fn total(&mut self, function: &Function, over: &WindowType) -> Result<OutputExpression, Refusal> {
        let at = function.name.0.first().and_then(|part| part.as_ident()).map(|ident| ident.span.start);
        let refused = || {
            let what = "OVER makes totals of the answer: write SUM(COUNT(*)) OVER (), or OVER (PARTITION BY a group)";
            refuse(ReasonCode::UnsupportedExpression, at, what)
        };
        let WindowType::WindowSpec(WindowSpec { window_name: None, partition_by, order_by, window_frame: None }) = over
        else {
            return Err(refused());
        };
        let inner = finish::only_argument(function, "sum").filter(|_| order_by.is_empty()).ok_or_else(refused)?;
        let Expr::Function(inner) = bare(inner) else { return Err(refused()) };
        if inner.over.is_some() {
            return Err(refused());
        }
        let OutputExpression::Measure(measure) = self.aggregate(inner)? else { return Err(refused()) };
        let mut within = Vec::with_capacity(partition_by.len());
        for expr in partition_by {
            let group = self.group(expr)?;
            within.push(group.ok_or_else(|| {
                refuse(ReasonCode::UngroupedColumn, place(expr), "PARTITION BY names groups of the answer")
            })?);
        }
        Ok(OutputExpression::Total { measure, within })
    }

    fn aggregate(&mut self, function: &Function) -> Result<OutputExpression, Refusal> {
        // INVARIANT: every field is named, so a part that a later parser learns to read cannot slip through unread.
        let Function { name, uses_odbc_syntax, parameters, args, filter, null_treatment, over, within_group } =
            function;
        let ident = match name.0.as_slice() {
            [part] => part.as_ident(),
            _ => None,
        };
        let at = ident.map(|ident| ident.span.start);
        let word = ident.map(folded).unwrap_or_default();
        if over.is_some() {
            return Err(refuse(ReasonCode::UnsupportedExpression, at, "OVER stands behind SUM of an aggregate"));
        }
        let known = matches!(word.as_str(), "count" | "sum" | "avg" | "quantile" | "median");
        if !known && Spread::of_word(&word).is_none() {
            return Err(unknown_function(&word, at));
        }
        let FunctionArguments::List(FunctionArgumentList { duplicate_treatment, args, clauses }) = args else {
            let subquery = matches!(args, FunctionArguments::Subquery(_));
            let reason = if subquery { ReasonCode::SubqueryAsked } else { ReasonCode::UnsupportedAggregate };
            return Err(refuse(reason, at, "an aggregate takes one column"));
        };
        let plain = matches!(parameters, FunctionArguments::None) && clauses.is_empty() && within_group.is_empty();
        if *uses_odbc_syntax || null_treatment.is_some() || !plain {
            return Err(refuse(ReasonCode::UnsupportedAggregate, at, "an aggregate takes one column and a FILTER"));
        }
        let distinct = matches!(duplicate_treatment, Some(DuplicateTreatment::Distinct));
        let (aggregate, case) = match (word.as_str(), args.as_slice()) {
            ("quantile", [FunctionArg::Unnamed(argument), FunctionArg::Unnamed(FunctionArgExpr::Expr(rank))]) => {
                let Literal::Number(rank) = literal(rank)? else {
                    return Err(refuse(ReasonCode::LiteralMismatch, place(rank), "a rank is a number"));
                };
                self.of_argument(&word, distinct, argument, rank, at)?
            }
            ("quantile", _) => {
                let what = "QUANTILE takes a value and a rank: QUANTILE(value, 0.9)";
                return Err(refuse(ReasonCode::UnsupportedAggregate, at, what));
            }
            (_, [FunctionArg::Unnamed(argument)]) => self.of_argument(&word, distinct, argument, MEDIAN, at)?,
            _ => return Err(refuse(ReasonCode::UnsupportedAggregate, at, "an aggregate takes one column")),
        };
        let filter = filter.as_ref().map(|expr| condition(expr, self.source)).transpose()?;
        let filter = match (filter, case) {
            (Some(filter), Some(case)) => Some(Predicate::And(vec![filter, case])),
            (filter, case) => filter.or(case),
        };
        let measure = Measure { aggregate, filter };
        let next = self.measures.len();
        let index = *self.known.entry(measure_key(&measure)).or_insert(next);
        if index == next {
            if next >= MAX_MEASURES {
                return Err(too_large());
            }
            self.measures.push(measure);
        }
        Ok(OutputExpression::Measure(index))
    }

    fn of_argument(
        &self,
        word: &str,
        distinct: bool,
        argument: &FunctionArgExpr,
        rank: Decimal,
        at: Option<Location>,
    ) -> Result<(Aggregate, Option<Predicate>), Refusal> {
        let expr = match argument {
            FunctionArgExpr::Wildcard if word == "count" && !distinct => return Ok((Aggregate::CountRows, None)),
            FunctionArgExpr::Expr(expr) => bare(expr),
            _ => return Err(refuse(ReasonCode::UnsupportedAggregate, at, "only COUNT(*) takes a star")),
        };
        // A value that is missing, or for a sum 0, wherever a condition does not hold, is the value under a filter.
        let Case { condition, value } = values::case(expr, word == "sum", self.source)?;
        let aggregate = match (word, distinct) {
            ("count", _) => self.counted(value, distinct, at)?,
            (_, true) => {
                let what = "DISTINCT stands only in COUNT(DISTINCT ..)";
                return Err(refuse(ReasonCode::UnsupportedAggregate, at, what));
            }
            // The sum of 1 over rows is their number, as people write it around CASE.
            ("sum", false) => match values::value(value, self.source, 0)? {
                RowValue::Constant(number) if number == Decimal::whole(1) => Aggregate::CountRows,
                value => Aggregate::Sum(value),
            },
            ("quantile" | "median", false) => Aggregate::Quantile(values::value(value, self.source, 0)?, rank),
            ("avg", false) => Aggregate::Avg(values::value(value, self.source, 0)?),
            (word, false) => match Spread::of_word(word) {
                Some(spread) => Aggregate::Spread(spread, values::value(value, self.source, 0)?),
                None => return Err(unknown_function(word, at)),
            },
        };
        Ok((aggregate, condition))
    }

    fn counted(&self, expr: &Expr, distinct: bool, at: Option<Location>) -> Result<Aggregate, Refusal> {
        if !distinct && matches!(expr, Expr::Value(v) if matches!(v.value, Value::Number(..))) {
            // COUNT(1) counts rows, as everywhere.
            return Ok(Aggregate::CountRows);
        }
        match self.source.column(expr, "an aggregate")? {
            Some(column) if distinct => Ok(Aggregate::CountDistinct(column)),
            Some(column) => Ok(Aggregate::Count(column)),
            None => Err(match expr {
                subquery @ (Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. }) => unsupported(subquery),
                _ => refuse(ReasonCode::UnsupportedExpression, at, "COUNT takes a column, not an expression"),
            }),
        }
    }
}

/// Whether a function sums up rows elsewhere, or works on one value.
fn unknown_function(word: &str, at: Option<Location>) -> Refusal {
    const ELSEWHERE: &[&str] = &[
        "any_value",
        "arg_max",
        "arg_min",
        "array_agg",
        "bool_and",
        "bool_or",
        "corr",
        "count_if",
        "countif",
        "every",
        "first",
        "first_value",
        "group_concat",
        "grouping",
        "histogram",
        "last",
        "last_value",
        "listagg",
        "max",
        "max_by",
        "mean",
        "min",
        "min_by",
        "mode",
        "string_agg",
        "total",
        "xmlagg",
    ];
    const FAMILIES: &[&str] =
        &["approx_", "bit_", "covar", "json", "kurt", "percentile", "quantile", "regr_", "skew", "std", "var"];
    let elsewhere = ELSEWHERE.contains(&word) || FAMILIES.iter().any(|family| word.starts_with(family));
    if elsewhere {
        refuse(
            ReasonCode::UnsupportedAggregate,
            at,
            "this aggregate is not offered: for MIN, MAX and percentiles write QUANTILE(value, rank)",
        )
    } else {
        refuse(ReasonCode::UnsupportedExpression, at, "no function is applied to aggregates or columns")
    }
}
