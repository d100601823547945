//! The one form of a question that is decided, priced, signed and compared.

use crate::category::Labels;
use crate::{
    Aggregate, AggregateQuery, CANONICAL_FORMAT, Category, Comparison, Join, Literal, Measure, Predicate,
    RowArithmetic, RowValue, Spread,
};
use firebreak_domain::ColumnName;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

/// The canonical form of a question: a text of labelled lines whose first names its format.
///
/// It covers dataset and joins, whether a partial answer is wanted, cut, filter, the set of categories by which it is
/// split, the grouping sets where there are several (as places among the categories in the order in which they stand
/// here), the set of measures, and the price; not the outputs, their names or their order, which are worked out from
/// what is released and change nothing that is measured. Conditions are in negation normal form, flattened, merged
/// (`x = 1 OR x = 2` is `x IN (1, 2)`), sorted and free of repeats, which keeps their meaning on every row, missing
/// values included. A text literal is written with its length, so that no two questions share a form.
///
/// // PRIVACY: it holds the caller's literals. It has no `Display`, and its `Debug` shows nothing.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Canonical(String);

impl Canonical {
    /// The text, for signing, comparing and storing; not for logs.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// SHA-256 of the text.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }

    /// SHA-256 of the text without the lines of cut and price: the same for one question over every cut and at every
    /// price.
    #[must_use]
    pub fn digest_of_question(&self) -> [u8; 32] {
        // Before the filter there are no words of the caller's, so that the first such lines are the form's own.
        let mut own = [false; 2];
        let mut hash = Sha256::new();
        for line in self.0.split_inclusive('\n') {
            let label = ["cut ", "rho "].iter().position(|label| line.starts_with(label));
            match label.and_then(|label| own.get_mut(label)) {
                Some(met) if !*met => *met = true,
                _ => hash.update(line),
            }
        }
        hash.finalize().into()
    }
}

impl fmt::Debug for Canonical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Canonical(..)")
    }
}

impl From<Canonical> for String {
    fn from(canonical: Canonical) -> Self {
        canonical.0
    }
}

impl AggregateQuery {
    /// The canonical form of the question as it stands, before any contract is known: what its caller signs.
    #[must_use]
    pub fn canonical(&self) -> Canonical {
        let keys: Vec<String> = self.group_by.iter().map(|group| category_key(&group.category)).collect();
        let groups: BTreeSet<&String> = keys.iter().collect();
        let place = |at: &usize| keys.get(*at).and_then(|key| groups.iter().position(|known| *known == key));
        let sets: BTreeSet<BTreeSet<usize>> =
            self.margins().iter().map(|set| set.iter().filter_map(place).collect()).collect();
        let measures: BTreeSet<String> = self.measures.iter().map(measure_key).collect();
        let mut text = format!("firebreak query format {CANONICAL_FORMAT}\ndataset {}\n", self.dataset);
        for Join { dataset, on: _ } in &self.joins {
            // Writing to a String cannot fail.
            let how = if self.on_person { " on person" } else { "" };
            let _ = writeln!(text, "join {dataset}{how}");
        }
        if self.partial {
            text.push_str("partial\n");
        }
        let cut = self.cut.as_ref().map_or("latest", |cut| cut.as_str());
        let rho = self.rho.map_or_else(|| "agreed".to_owned(), |rho| rho.nano().to_string());
        // Writing to a String cannot fail.
        let _ = writeln!(text, "cut {cut}\nrho {rho}\nwhere {}", filter_key(self.filter.as_ref()));
        for group in &groups {
            let _ = writeln!(text, "group {group}");
        }
        for set in sets {
            text.push_str("set");
            for place in set {
                let _ = write!(text, " {place}");
            }
            text.push('\n');
        }
        for measure in measures {
            let _ = writeln!(text, "measure {measure}");
        }
        Canonical(text)
    }
}

/// The text by which two categories are the same or not. What their groups are called is no part of it: they are
/// numbered.
pub(crate) fn category_key(category: &Category) -> String {
    match category {
        Category::Column(column) => column.to_string(),
        Category::Bucket { value, low, high, buckets } => {
            format!("(bucket {} n:{low} n:{high} {buckets})", value_key(value))
        }
        Category::Date { part, column } => format!("({} {column})", part.as_str()),
        Category::Case { branches, otherwise } => {
            let labels = Labels::of(branches, otherwise.as_ref());
            let mut text = "(case".to_owned();
            // Writing to a String cannot fail.
            for (condition, label) in branches {
                let _ = write!(text, " {} {}", filter_key(Some(condition)), labels.place(label));
            }
            if let Some(label) = otherwise {
                let _ = write!(text, " else {}", labels.place(label));
            }
            text.push(')');
            text
        }
    }
}

/// The text by which two measures are the same or not.
pub(crate) fn measure_key(measure: &Measure) -> String {
    let (word, of) = match &measure.aggregate {
        Aggregate::CountRows => ("count_rows", "-".to_owned()),
        Aggregate::CountDistinct(column) => ("count_distinct", column.to_string()),
        Aggregate::Count(column) => ("count", column.to_string()),
        Aggregate::Sum(value) => ("sum", value_key(value)),
        Aggregate::Avg(value) => ("avg", value_key(value)),
        Aggregate::Spread(spread, value) => {
            let word = match spread {
                Spread::VarianceSample => "var_samp",
                Spread::VariancePopulation => "var_pop",
                Spread::DeviationSample => "stddev_samp",
                Spread::DeviationPopulation => "stddev_pop",
            };
            (word, value_key(value))
        }
        Aggregate::Quantile(value, rank) => ("quantile", format!("n:{rank} {}", value_key(value))),
    };
    format!("{word} {of} where {}", filter_key(measure.filter.as_ref()))
}

/// The text by which two values on a row are the same or not: `a + b` is `b + a`.
///
/// INVARIANT: a column's name has neither brackets nor blanks, so that no two values share a text.
pub(crate) fn value_key(value: &RowValue) -> String {
    match value {
        RowValue::Column(column) => column.to_string(),
        RowValue::Constant(number) => format!("n:{number}"),
        RowValue::Binary { op, left, right } => {
            let mut parts = [value_key(left), value_key(right)];
            let word = match op {
                RowArithmetic::Add => "add",
                RowArithmetic::Subtract => "subtract",
                RowArithmetic::Multiply => "multiply",
            };
            if *op != RowArithmetic::Subtract {
                parts.sort();
            }
            let [one, other] = parts;
            format!("({word} {one} {other})")
        }
        RowValue::Clamp { of, low, high } => format!("(clamp {} n:{low} n:{high})", value_key(of)),
    }
}

/// The text by which two filters are the same or not.
pub(crate) fn filter_key(filter: Option<&Predicate>) -> String {
    let mut text = String::new();
    match filter {
        None => text.push('-'),
        Some(predicate) => write_predicate(&mut text, &normal(predicate, false)),
    }
    text
}

/// The normal form of a predicate, or of its opposite.
pub(crate) fn normal(predicate: &Predicate, opposite: bool) -> Predicate {
    match predicate {
        Predicate::Not(part) => normal(part, !opposite),
        Predicate::And(parts) => junction(!opposite, parts.iter().map(|part| normal(part, opposite))),
        Predicate::Or(parts) => junction(opposite, parts.iter().map(|part| normal(part, opposite))),
        Predicate::Compare { column, op, literal } => {
            let op = if opposite { op.negated() } else { *op };
            Predicate::Compare { column: column.clone(), op, literal: literal.clone() }
        }
        Predicate::In { column, literals } => membership(column, literals.iter().cloned().collect(), opposite),
        Predicate::Between { column, low, high } => {
            let compare = |op: Comparison, literal: &Literal| {
                let op = if opposite { op.negated() } else { op };
                Predicate::Compare { column: column.clone(), op, literal: literal.clone() }
            };
            junction(!opposite, [compare(Comparison::Ge, low), compare(Comparison::Le, high)].into_iter())
        }
        Predicate::IsNull { column } => {
            let missing = Predicate::IsNull { column: column.clone() };
            if opposite { Predicate::Not(Box::new(missing)) } else { missing }
        }
    }
}

fn membership(column: &ColumnName, literals: BTreeSet<Literal>, opposite: bool) -> Predicate {
    let column = column.clone();
    let mut literals: Vec<Literal> = literals.into_iter().collect();
    if literals.len() == 1
        && let Some(literal) = literals.pop()
    {
        let op = if opposite { Comparison::Ne } else { Comparison::Eq };
        return Predicate::Compare { column, op, literal };
    }
    let among = Predicate::In { column, literals };
    if opposite { Predicate::Not(Box::new(among)) } else { among }
}

/// Joins parts in normal form with AND or OR: flat, alternatives on one column merged, sorted, each once.
fn junction(conjunction: bool, parts: impl Iterator<Item = Predicate>) -> Predicate {
    let mut flat = Vec::new();
    for part in parts {
        match part {
            Predicate::And(inner) if conjunction => flat.extend(inner),
            Predicate::Or(inner) if !conjunction => flat.extend(inner),
            other => flat.push(other),
        }
    }
    // `x = a OR x IN (b, c)` is one membership; `x <> a AND x NOT IN (b, c)` is one non-membership.
    let mut sets: BTreeMap<ColumnName, BTreeSet<Literal>> = BTreeMap::new();
    let mut joined = BTreeSet::new();
    for part in flat {
        match part {
            Predicate::Compare { column, op: Comparison::Eq, literal } if !conjunction => {
                sets.entry(column).or_default().insert(literal);
            }
            Predicate::Compare { column, op: Comparison::Ne, literal } if conjunction => {
                sets.entry(column).or_default().insert(literal);
            }
            Predicate::In { column, literals } if !conjunction => sets.entry(column).or_default().extend(literals),
            Predicate::Not(inner) if conjunction && matches!(*inner, Predicate::In { .. }) => {
                if let Predicate::In { column, literals } = *inner {
                    sets.entry(column).or_default().extend(literals);
                }
            }
            other => {
                joined.insert(other);
            }
        }
    }
    joined.extend(sets.into_iter().map(|(column, literals)| membership(&column, literals, conjunction)));
    let mut parts: Vec<Predicate> = joined.into_iter().collect();
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        last => {
            parts.extend(last);
            if conjunction { Predicate::And(parts) } else { Predicate::Or(parts) }
        }
    }
}

fn write_predicate(text: &mut String, predicate: &Predicate) {
    let mut list = |word: &str, parts: &[Predicate]| {
        let _ = write!(text, "({word}");
        for part in parts {
            text.push(' ');
            write_predicate(text, part);
        }
        text.push(')');
    };
    match predicate {
        Predicate::And(parts) => list("and", parts),
        Predicate::Or(parts) => list("or", parts),
        Predicate::Not(part) => list("not", std::slice::from_ref(part)),
        Predicate::Compare { column, op, literal } => write_atom(text, comparison_word(*op), column, &[literal]),
        Predicate::In { column, literals } => write_atom(text, "in", column, &literals.iter().collect::<Vec<_>>()),
        Predicate::Between { column, low, high } => write_atom(text, "between", column, &[low, high]),
        Predicate::IsNull { column } => write_atom(text, "null", column, &[]),
    }
}

fn write_atom(text: &mut String, word: &str, column: &ColumnName, literals: &[&Literal]) {
    let _ = write!(text, "({word} {column}");
    for literal in literals {
        let _ = match literal {
            Literal::Number(number) => write!(text, " n:{number}"),
            Literal::Date(day) => write!(text, " d:{day}"),
            // INVARIANT: the length stands before the text, so that no text can pass for anything that follows it.
            Literal::Text(words) => write!(text, " t{}:{words}", words.len()),
        };
    }
    text.push(')');
}

const fn comparison_word(op: Comparison) -> &'static str {
    match op {
        Comparison::Eq => "eq",
        Comparison::Ne => "ne",
        Comparison::Lt => "lt",
        Comparison::Le => "le",
        Comparison::Gt => "gt",
        Comparison::Ge => "ge",
    }
}
