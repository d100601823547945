//! Which columns a question may name, and for what.

use super::bind::typed;
use super::{Misfit, listed};
use crate::canonical::value_key;
use crate::{Aggregate, Category, Comparison, Predicate, RowArithmetic, RowValue};
use firebreak_domain::{Column, ColumnName, ColumnRole, Contract, Domain, ReasonCode, Refusal, SpecialKind};
use std::collections::BTreeSet;

/// The contract's columns, and those that the question has touched so far.
pub(super) struct Columns<'a> {
    contract: &'a Contract,
    units: &'a BTreeSet<ColumnName>,
    touched: BTreeSet<ColumnName>,
}

/// The word that stands for the privacy unit where the contract has no column of that name.
pub(super) const PERSON: &str = "person";

/// Whether values of a column may enter conditions and aggregates.
pub(crate) fn is_readable(column: &Column) -> bool {
    matches!(column.role, ColumnRole::Category | ColumnRole::Measure | ColumnRole::Filter)
        && !column.special.is_some_and(SpecialKind::is_forbidden)
}

/// Whether the answer may be split by a column.
pub(crate) fn is_groupable(column: &Column) -> bool {
    is_readable(column) && column.role == ColumnRole::Category && column.domain.is_groupable()
}

impl<'a> Columns<'a> {
    /// `units` are further names of the privacy unit.
    pub(super) fn new(contract: &'a Contract, units: &'a BTreeSet<ColumnName>) -> Self {
        Self { contract, units, touched: BTreeSet::new() }
    }

    /// The columns touched, the privacy unit aside, and their special categories.
    pub(super) fn touched(self) -> (BTreeSet<ColumnName>, BTreeSet<SpecialKind>) {
        let special = self.touched.iter().filter_map(|name| self.contract.column(name.as_str())?.special);
        let special = special.collect();
        (self.touched, special)
    }

    /// A column whose values may be read.
    fn readable(&mut self, name: &ColumnName) -> Result<&'a Column, Misfit> {
        let refused = |reason: ReasonCode, detail: String, known: bool| Misfit {
            refusal: Box::new(Refusal::new(reason).because(detail)),
            column: known.then(|| name.clone()),
        };
        let column = self.contract.column(name.as_str());
        match column {
            Some(column) if column.special.is_some_and(SpecialKind::is_forbidden) => {
                Err(refused(ReasonCode::ForbiddenKind, format!("column {}", column.name), true))
            }
            Some(column) if is_readable(column) => {
                self.touched.insert(column.name.clone());
                Ok(column)
            }
            Some(column) if column.role != ColumnRole::Withheld => {
                let detail = match column.role {
                    ColumnRole::PrivacyUnit => {
                        format!("column {} stands only in COUNT(DISTINCT {})", column.name, column.name)
                    }
                    _ => format!("column {}", column.name),
                };
                Err(refused(ReasonCode::IdentifierColumn, detail, true))
            }
            // What is withheld and what does not exist look the same.
            _ => {
                let columns = self.contract.columns.iter().filter(|c| is_readable(c));
                let names: Vec<&str> = columns.map(|c| c.name.as_str()).collect();
                let detail = format!("{} has {}", self.contract.id, listed(&names));
                Err(refused(ReasonCode::UnknownColumn, detail, false))
            }
        }
    }

    /// By what the answer may be split, with literals in their columns' types.
    ///
    /// What follows from columns by a rule asks no more of them than a condition does: each group is the rows for which
    /// one holds. So it may rest on any column that may be filtered.
    pub(super) fn category(&mut self, category: &Category) -> Result<Category, Misfit> {
        Ok(match category {
            Category::Column(name) => Category::Column(self.groupable(name)?),
            Category::Date { part, column } => {
                Category::Date { part: *part, column: self.readable(column)?.name.clone() }
            }
            Category::Bucket { value, low, high, buckets } => {
                Category::Bucket { value: self.value(value)?, low: *low, high: *high, buckets: *buckets }
            }
            Category::Case { branches, otherwise } => {
                let branch = |(condition, label): &(Predicate, String)| Ok((self.resolve(condition)?, label.clone()));
                let branches = branches.iter().map(branch).collect::<Result<_, Misfit>>()?;
                Category::Case { branches, otherwise: otherwise.clone() }
            }
        })
    }

    fn groupable(&mut self, name: &ColumnName) -> Result<ColumnName, Misfit> {
        let column = self.readable(name)?;
        if is_groupable(column) || (column.role == ColumnRole::Category && column.domain.is_open()) {
            return Ok(column.name.clone());
        }
        let refusal = Refusal::new(ReasonCode::NotGroupable).because(format!("column {} is not one", column.name));
        Err(Misfit { refusal: Box::new(refusal), column: Some(column.name.clone()) })
    }

    /// An aggregate with its column checked and its privacy unit named as in the contract.
    pub(super) fn aggregate(&mut self, aggregate: &Aggregate) -> Result<Aggregate, Misfit> {
        match aggregate {
            Aggregate::CountRows => Ok(Aggregate::CountRows),
            Aggregate::CountDistinct(name) => self.unit(name),
            Aggregate::Count(name) => self.readable(name).map(|column| Aggregate::Count(column.name.clone())),
            Aggregate::Sum(value) => self.value(value).map(Aggregate::Sum),
            Aggregate::Avg(value) => self.value(value).map(Aggregate::Avg),
            Aggregate::Spread(spread, value) => self.value(value).map(|value| Aggregate::Spread(*spread, value)),
            Aggregate::Quantile(value, rank) => self.value(value).map(|value| Aggregate::Quantile(value, *rank)),
        }
    }

    fn unit(&mut self, name: &ColumnName) -> Result<Aggregate, Misfit> {
        let by_word = name.as_str() == PERSON && self.contract.column(PERSON).is_none();
        if let Some(unit) = self.contract.privacy_unit()
            && (unit.name == *name || by_word || self.units.contains(name))
        {
            return Ok(Aggregate::CountDistinct(unit.name.clone()));
        }
        let column = self.readable(name)?;
        let detail = format!("only persons are counted by DISTINCT, column {} is not their key", column.name);
        let refusal = Refusal::new(ReasonCode::UnsupportedAggregate).because(detail);
        Err(Misfit { refusal: Box::new(refusal), column: Some(column.name.clone()) })
    }

    fn measurable(&mut self, name: &ColumnName) -> Result<ColumnName, Misfit> {
        let column = self.readable(name)?;
        if column.role == ColumnRole::Measure && column.domain.fixed_point_bounds().is_some() {
            return Ok(column.name.clone());
        }
        let refusal = Refusal::new(ReasonCode::NotMeasurable).because(format!("column {} is not one", column.name));
        Err(Misfit { refusal: Box::new(refusal), column: Some(column.name.clone()) })
    }

    /// A value with its columns checked. One that names none is the same on every row, and is no measure.
    fn value(&mut self, value: &RowValue) -> Result<RowValue, Misfit> {
        if value.columns().is_empty() {
            return Err(Refusal::new(ReasonCode::NotMeasurable).because("a constant is not one").into());
        }
        self.part(value)
    }

    fn part(&mut self, value: &RowValue) -> Result<RowValue, Misfit> {
        Ok(match value {
            RowValue::Column(name) => RowValue::Column(self.measurable(name)?),
            RowValue::Constant(number) => RowValue::Constant(*number),
            RowValue::Binary { op, left, right } => {
                let (mut left, mut right) = (self.part(left)?, self.part(right)?);
                // INVARIANT: what has one canonical form is computed in one way, so that it is one primitive.
                if *op != RowArithmetic::Subtract && value_key(&right) < value_key(&left) {
                    std::mem::swap(&mut left, &mut right);
                }
                RowValue::Binary { op: *op, left: Box::new(left), right: Box::new(right) }
            }
            RowValue::Clamp { of, low, high } => {
                RowValue::Clamp { of: Box::new(self.part(of)?), low: *low, high: *high }
            }
        })
    }

    /// A condition with its columns checked and its literals in their columns' types.
    pub(super) fn resolve(&mut self, predicate: &Predicate) -> Result<Predicate, Misfit> {
        match predicate {
            Predicate::And(parts) => Ok(Predicate::And(self.resolve_all(parts)?)),
            Predicate::Or(parts) => Ok(Predicate::Or(self.resolve_all(parts)?)),
            Predicate::Not(part) => Ok(Predicate::Not(Box::new(self.resolve(part)?))),
            Predicate::Compare { column, op, literal } => {
                let column = self.readable(column)?;
                let literal = typed(literal, column, *op)?;
                Ok(Predicate::Compare { column: column.name.clone(), op: *op, literal })
            }
            Predicate::In { column, literals } => {
                let column = self.readable(column)?;
                let literals =
                    literals.iter().map(|literal| typed(literal, column, Comparison::Eq)).collect::<Result<_, _>>()?;
                Ok(Predicate::In { column: column.name.clone(), literals })
            }
            Predicate::Between { column, low, high } => {
                let column = self.readable(column)?;
                let (low, high) = (typed(low, column, Comparison::Ge)?, typed(high, column, Comparison::Le)?);
                Ok(Predicate::Between { column: column.name.clone(), low, high })
            }
            Predicate::IsNull { column } => {
                let column = self.readable(column)?;
                Ok(Predicate::IsNull { column: column.name.clone() })
            }
        }
    }

    fn resolve_all(&mut self, parts: &[Predicate]) -> Result<Vec<Predicate>, Misfit> {
        parts.iter().map(|part| self.resolve(part)).collect()
    }
}

/// What the literals of a column look like, in words of the contract.
pub(super) fn domain_in_words(domain: &Domain) -> String {
    match domain {
        Domain::Category { .. } | Domain::LeftOut => {
            let codes = domain.codes();
            format!("takes = and IN with one of {}", listed(&codes.iter().map(String::as_str).collect::<Vec<_>>()))
        }
        Domain::Month { first, last } => format!("takes months as 'YYYY-MM', from '{first}' to '{last}'"),
        Domain::Year { first, last } => format!("takes years, from {first} to {last}"),
        Domain::Integer { min, max } => format!("takes whole numbers, from {min} to {max}"),
        Domain::Decimal { min, max, decimals } => {
            format!("takes numbers with at most {decimals} decimals, from {min} to {max}")
        }
        Domain::Date { first, last } => format!("takes days as DATE 'YYYY-MM-DD', from {first} to {last}"),
        Domain::Open { length } => {
            format!("takes = and IN with codes of at most {length} letters, digits, '-', '.', '/' and '_'")
        }
        Domain::Text => "takes no literal".into(),
    }
}
