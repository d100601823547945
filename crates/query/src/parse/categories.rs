//! By what an answer is split: parts of dates, WIDTH_BUCKET and CASE.

use super::conditions::{condition, literal};
use super::select::Source;
use super::{bare, folded, place, refuse, values};
use crate::canonical::category_key;
use crate::{Category, Comparison, DatePart, Group, Literal, MAX_GROUPING_SETS, Predicate, RowValue};
use firebreak_domain::{ColumnName, ReasonCode, Refusal};
use sqlparser::ast::{CaseWhen, DateTimeField, Expr, Ident, Value};
use std::collections::BTreeSet;

/// The category that follows from columns by a rule, or `None` if the expression is something else.
pub(super) fn category(expr: &Expr, source: &Source) -> Result<Option<Category>, Refusal> {
    match bare(expr) {
        Expr::Extract { field, expr: of, .. } => {
            let word = field.to_string().to_ascii_lowercase();
            let part = match field {
                DateTimeField::Week(Some(_)) => None,
                _ => DatePart::of_field(&word),
            };
            let part = part.ok_or_else(|| {
                let what = "EXTRACT takes YEAR, QUARTER, MONTH, WEEK, ISODOW, DAY or DOY";
                refuse(ReasonCode::UnsupportedExpression, place(of), what)
            })?;
            date(part, of, source).map(Some)
        }
        Expr::Function(function) => {
            let Some((word, arguments)) = values::plain_call(function) else { return Ok(None) };
            match word.as_str() {
                "date_trunc" => truncated(expr, &arguments, source).map(Some),
                "width_bucket" => bucket(expr, &arguments, source).map(Some),
                _ => Ok(None),
            }
        }
        Expr::Case { operand, conditions, else_result, .. } => {
            case(operand.as_deref(), conditions, else_result.as_deref(), source).map(Some)
        }
        _ => Ok(None),
    }
}

fn date(part: DatePart, of: &Expr, source: &Source) -> Result<Category, Refusal> {
    let column = source.column(of, "a part of a date")?.ok_or_else(|| {
        refuse(ReasonCode::UnsupportedExpression, place(of), "a part of a date is one of a column's, by its name")
    })?;
    Ok(Category::Date { part, column })
}

fn truncated(whole: &Expr, arguments: &[&Expr], source: &Source) -> Result<Category, Refusal> {
    let refused = || {
        let what = "DATE_TRUNC takes 'year', 'quarter', 'month' or 'week', and a column";
        refuse(ReasonCode::UnsupportedExpression, place(whole), what)
    };
    let [unit, of] = arguments else { return Err(refused()) };
    let Literal::Text(unit) = literal(unit)? else { return Err(refused()) };
    let part = DatePart::of_unit(&unit.to_ascii_lowercase()).ok_or_else(refused)?;
    date(part, of, source)
}

fn bucket(whole: &Expr, arguments: &[&Expr], source: &Source) -> Result<Category, Refusal> {
    let refused = || {
        let what = "WIDTH_BUCKET takes a value, the lower end, the upper end and the number of buckets, the last three as \
                    numbers";
        refuse(ReasonCode::UnsupportedExpression, place(whole), what)
    };
    let [of, low, high, buckets] = arguments else { return Err(refused()) };
    let number = |expr: &Expr| match literal(expr)? {
        Literal::Number(number) => Ok(number),
        Literal::Text(_) | Literal::Date(_) => Err(refused()),
    };
    let value: RowValue = values::value(of, source, 0)?;
    let buckets = number(buckets)?.fixed_point(0).and_then(|buckets| u32::try_from(buckets).ok());
    Ok(Category::Bucket { value, low: number(low)?, high: number(high)?, buckets: buckets.ok_or_else(refused)? })
}

fn case(
    operand: Option<&Expr>,
    conditions: &[CaseWhen],
    otherwise: Option<&Expr>,
    source: &Source,
) -> Result<Category, Refusal> {
    let of = operand.map(|of| {
        source.column(of, "CASE")?.ok_or_else(|| {
            refuse(ReasonCode::UnsupportedExpression, place(of), "what stands after CASE is a column, or nothing")
        })
    });
    let of: Option<ColumnName> = of.transpose()?;
    let branch = |CaseWhen { condition: when, result }: &CaseWhen| {
        let holds = match &of {
            None => condition(when, source)?,
            Some(column) => Predicate::Compare { column: column.clone(), op: Comparison::Eq, literal: literal(when)? },
        };
        Ok::<_, Refusal>((holds, label(result)?))
    };
    let branches = conditions.iter().map(branch).collect::<Result<_, _>>()?;
    let nothing = |expr: &Expr| matches!(bare(expr), Expr::Value(value) if matches!(value.value, Value::Null));
    let otherwise = otherwise.filter(|expr| !nothing(expr)).map(label).transpose()?;
    Ok(Category::Case { branches, otherwise })
}

/// What a group is called: a text, or a number as it is written shortest.
fn label(expr: &Expr) -> Result<String, Refusal> {
    let what = "the groups of a CASE are texts in single quotes; within an aggregate write FILTER (WHERE ..) after it";
    match bare(expr) {
        Expr::Value(value) if matches!(value.value, Value::SingleQuotedString(_) | Value::Number(..)) => {
            match literal(expr)? {
                Literal::Text(text) => Ok(text),
                Literal::Number(number) => Ok(number.to_string()),
                Literal::Date(_) => Err(refuse(ReasonCode::UnsupportedExpression, place(expr), what)),
            }
        }
        _ => Err(refuse(ReasonCode::UnsupportedExpression, place(expr), what)),
    }
}

/// A category with the text by which it is the same as another.
pub(super) struct Keyed {
    pub(super) category: Category,
    key: String,
}

impl Keyed {
    pub(super) fn new(category: Category) -> Self {
        Self { key: category_key(&category), category }
    }

    /// Whether it is the same, its groups called alike.
    ///
    /// # Errors
    /// A refusal if it is the same and its groups are called otherwise: one of the two would be shown under the other's
    /// labels.
    pub(super) fn is(&self, other: &Self, at: &Expr) -> Result<bool, Refusal> {
        if self.key != other.key {
            return Ok(false);
        }
        if self.category.labels() == other.category.labels() {
            return Ok(true);
        }
        let what = "one CASE stands here twice with other labels: write it once, and name it by its heading";
        Err(refuse(ReasonCode::UnsupportedClause, place(at), what))
    }
}

/// What the SELECT list says of groups: the categories in it, and every heading that it gives.
pub(super) struct Listed<'a> {
    categories: Vec<(&'a Expr, Option<String>, Keyed)>,
    headings: BTreeSet<String>,
}

impl<'a> Listed<'a> {
    pub(super) fn read(
        items: impl Iterator<Item = (&'a Expr, Option<&'a Ident>)>,
        source: &Source,
    ) -> Result<Self, Refusal> {
        let (mut categories, mut headings) = (Vec::new(), BTreeSet::new());
        for (expr, alias) in items {
            let heading = alias.map(folded);
            headings.extend(heading.clone());
            if let Some(category) = category(expr, source)? {
                categories.push((expr, heading, Keyed::new(category)));
            }
        }
        Ok(Self { categories, headings })
    }

    /// The category that GROUP BY names by its heading.
    fn named(&self, expr: &Expr) -> Option<Category> {
        let Expr::Identifier(ident) = bare(expr) else { return None };
        let name = folded(ident);
        let mut found = self.categories.iter().filter(|(_, heading, _)| heading.as_ref() == Some(&name));
        found.next().map(|(_, _, keyed)| keyed.category.clone())
    }

    /// The heading that the list gives a category.
    fn heading(&self, of: &Keyed) -> Result<Option<String>, Refusal> {
        for (expr, heading, keyed) in &self.categories {
            if keyed.is(of, expr)? && heading.is_some() {
                return Ok(heading.clone());
            }
        }
        Ok(None)
    }
}

/// What GROUP BY names so far.
struct Asked<'a> {
    categories: Vec<Keyed>,
    listed: &'a Listed<'a>,
    source: &'a Source,
}

impl Asked<'_> {
    /// The place of what an expression names.
    fn place(&mut self, expr: &Expr) -> Result<usize, Refusal> {
        let category = match category(expr, self.source)?.or_else(|| self.listed.named(expr)) {
            Some(category) => category,
            None => Category::Column(self.column(expr)?),
        };
        let category = Keyed::new(category);
        let mut known = None;
        for (at, before) in self.categories.iter().enumerate() {
            if before.is(&category, expr)? {
                known = Some(at);
            }
        }
        Ok(known.unwrap_or_else(|| {
            self.categories.push(category);
            self.categories.len() - 1
        }))
    }

    fn column(&self, expr: &Expr) -> Result<ColumnName, Refusal> {
        match bare(expr) {
            Expr::Value(value) => {
                let what = "GROUP BY names columns, not positions";
                Err(refuse(ReasonCode::UnsupportedClause, Some(value.span.start), what))
            }
            Expr::Rollup(_) | Expr::Cube(_) | Expr::GroupingSets(_) | Expr::Tuple(_) => {
                let what = "ROLLUP, CUBE and GROUPING SETS stand side by side, not within each other";
                Err(refuse(ReasonCode::UnsupportedClause, None, what))
            }
            _ => self.source.column(expr, "GROUP BY")?.ok_or_else(|| {
                let what = "GROUP BY names columns, parts of dates, WIDTH_BUCKET and CASE";
                refuse(ReasonCode::NotGroupable, place(expr), what)
            }),
        }
    }

    fn places(&mut self, expressions: &[Expr]) -> Result<Vec<usize>, Refusal> {
        expressions.iter().map(|expr| self.place(expr)).collect()
    }

    fn lists(&mut self, lists: &[Vec<Expr>]) -> Result<Vec<Vec<usize>>, Refusal> {
        if lists.len() > MAX_GROUPING_SETS {
            return Err(too_many_sets());
        }
        lists.iter().map(|list| self.places(list)).collect()
    }

    /// The sets of groups that one element of GROUP BY stands for.
    fn sets(&mut self, element: &Expr) -> Result<Vec<Vec<usize>>, Refusal> {
        Ok(match bare(element) {
            Expr::Tuple(all) => vec![self.places(all)?],
            Expr::GroupingSets(sets) => self.lists(sets)?,
            Expr::Rollup(parts) => {
                let parts = self.lists(parts)?;
                (0..=parts.len()).rev().map(|length| parts.iter().take(length).flatten().copied().collect()).collect()
            }
            Expr::Cube(parts) => {
                let parts = self.lists(parts)?;
                if 1_usize.checked_shl(parts.len() as u32).is_none_or(|sets| sets > MAX_GROUPING_SETS) {
                    return Err(too_many_sets());
                }
                let of = |chosen: usize| {
                    let parts = parts.iter().enumerate().filter(|(bit, _)| chosen >> bit & 1 == 1);
                    parts.flat_map(|(_, part)| part.iter().copied()).collect()
                };
                (0..1_usize << parts.len()).map(of).collect()
            }
            _ => vec![vec![self.place(element)?]],
        })
    }
}

fn too_many_sets() -> Refusal {
    let what = format!("at most {MAX_GROUPING_SETS} grouping sets, which is a CUBE over six groups");
    Refusal::new(ReasonCode::TooManyGroups).because(what)
}

/// The groups that GROUP BY names, each once, with the headings that the SELECT list gives them; and the grouping
/// sets by places among them, none where all groups are meant together.
pub(super) fn groups(
    elements: &[Expr],
    listed: &Listed<'_>,
    source: &Source,
) -> Result<(Vec<Group>, Vec<Vec<usize>>), Refusal> {
    let mut asked = Asked { categories: Vec::new(), listed, source };
    let mut sets = BTreeSet::from([BTreeSet::new()]);
    for element in elements {
        let of_element = asked.sets(element)?;
        let joined = |set: &BTreeSet<usize>, more: &Vec<usize>| set.iter().chain(more).copied().collect();
        sets = sets.iter().flat_map(|set| of_element.iter().map(move |more| joined(set, more))).collect();
        if sets.len() > MAX_GROUPING_SETS {
            return Err(too_many_sets());
        }
    }
    let asked = asked.categories;
    let all = sets.len() == 1 && sets.first().is_some_and(|only| only.len() == asked.len());
    let sets = if all { Vec::new() } else { sets.into_iter().map(|set| set.into_iter().collect()).collect() };
    let mut taken = listed.headings.clone();
    let headings = || {
        asked.iter().filter_map(|keyed| match &keyed.category {
            Category::Column(column) => Some(source.heading(column)),
            _ => None,
        })
    };
    let alone = |column: &ColumnName| {
        let plain = source.heading(column);
        if headings().filter(|heading| *heading == plain).count() == 1 { plain } else { column.to_string() }
    };
    let columns: Vec<Option<String>> = asked
        .iter()
        .map(|keyed| match &keyed.category {
            Category::Column(column) => Some(alone(column)),
            _ => None,
        })
        .collect();
    taken.extend(columns.iter().flatten().cloned());
    let mut groups: Vec<Group> = Vec::with_capacity(asked.len());
    for (keyed, column) in asked.into_iter().zip(columns) {
        let heading = match column {
            Some(column) => Some(column),
            None => listed.heading(&keyed)?,
        };
        let name = heading.unwrap_or_else(|| {
            let plain = keyed.category.default_name();
            let numbered = (2_u32..).map(|n| format!("{plain}_{n}"));
            let mut free = std::iter::once(plain.clone()).chain(numbered).filter(|name| !taken.contains(name));
            free.next().unwrap_or(plain.clone())
        });
        taken.insert(name.clone());
        groups.push(Group { name, category: keyed.category });
    }
    Ok((groups, sets))
}
