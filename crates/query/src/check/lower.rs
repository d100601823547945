//! Measures into primitives, outputs into formulas over them.

use super::bind::bound;
use crate::canonical::filter_key;
use crate::evaluate::Formula;
use crate::{Aggregate, AggregateQuery, CheckedOutput, Measure, OutputExpression, Primitive, PrimitiveKind};
use firebreak_domain::{ColumnName, Contract, ReasonCode, Refusal};
use std::collections::{BTreeMap, BTreeSet};

/// What a question costs and what it shows.
pub(super) struct Lowered {
    pub(super) primitives: Vec<Primitive>,
    pub(super) outputs: Vec<CheckedOutput>,
}

/// Primitives by a text that depends on the canonical form alone, so that each comes once and their order is fixed.
struct Plan<'a> {
    contract: &'a Contract,
    /// The columns and filters whose count of values is measured whatever becomes of the sums.
    counted: BTreeSet<(ColumnName, String)>,
    primitives: BTreeMap<String, Primitive>,
}

/// One measure in terms of the keys of its primitives.
enum Estimate {
    Plain(String),
    Total { sum: String, count: Option<String>, centre: f64, unit: f64 },
    Mean { sum: String, count: String, centre: f64, unit: f64 },
}

/// Lowers a resolved question.
///
/// AVG is the centred sum and the count of values, `centre + Σ(x − centre)/n`: the noise of the sum is then scaled to
/// the half-width `h` of the bounds instead of to their larger end.
///
/// SUM can be had in two ways. Directly, `Σx`, its noise is scaled to the larger end of the bounds, `h + |c|` with
/// `c` their midpoint. Centred, `Σ(x − c) + c·n`, the squared scales are `h²` and, from the count, `c²`, which
/// together are less: `h² + c² ≤ (h + |c|)²`. But the count is a primitive of its own, and a question's ρ is shared
/// among its primitives. So
///
/// - where the count of values under the same filter is measured anyway (a COUNT(x) or AVG(x) stands beside), the sum
///   is centred: it takes no primitive more and its variance is at most that of the direct way;
/// - where it is not, the sum is direct. With two primitives instead of one each gets half of ρ, hence twice the
///   variance, and `2(h² + c²) ≥ (h + |c|)²` always: centring would never be exacter, and every other primitive of
///   the question would lose as well.
pub(super) fn lower(query: &AggregateQuery, contract: &Contract) -> Result<Lowered, Refusal> {
    let counted = query.measures.iter().filter_map(|measure| match &measure.aggregate {
        Aggregate::Count(column) | Aggregate::Avg(column) => {
            Some((column.clone(), filter_key(measure.filter.as_ref())))
        }
        _ => None,
    });
    let mut plan = Plan { contract, counted: counted.collect(), primitives: BTreeMap::new() };
    let estimates = query.measures.iter().map(|measure| plan.estimate(measure)).collect::<Result<Vec<_>, _>>()?;
    let order: BTreeMap<&str, usize> = plan.primitives.keys().enumerate().map(|(i, key)| (key.as_str(), i)).collect();
    let mut outputs = Vec::with_capacity(query.outputs.len());
    for output in &query.outputs {
        let formula = formula(&output.expression, &estimates, &order).ok_or_else(|| {
            Refusal::new(ReasonCode::MalformedRequest).because("an output names a measure that is not there")
        })?;
        outputs.push(CheckedOutput { name: output.name.clone(), formula });
    }
    Ok(Lowered { outputs, primitives: plan.primitives.into_values().collect() })
}

impl Plan<'_> {
    fn estimate(&mut self, measure: &Measure) -> Result<Estimate, Refusal> {
        match &measure.aggregate {
            Aggregate::CountRows => self.primitive(measure, PrimitiveKind::CountRows).map(Estimate::Plain),
            Aggregate::CountDistinct(_) => self.primitive(measure, PrimitiveKind::CountPersons).map(Estimate::Plain),
            Aggregate::Count(column) => {
                self.primitive(measure, PrimitiveKind::CountValues { column: column.clone() }).map(Estimate::Plain)
            }
            Aggregate::Sum(column) => {
                let counted = self.counted.contains(&(column.clone(), filter_key(measure.filter.as_ref())));
                let (sum, centre, unit) = self.sum(measure, column, counted)?;
                let count = if counted {
                    Some(self.primitive(measure, PrimitiveKind::CountValues { column: column.clone() })?)
                } else {
                    None
                };
                Ok(Estimate::Total { sum, count, centre, unit })
            }
            Aggregate::Avg(column) => {
                let (sum, centre, unit) = self.sum(measure, column, true)?;
                let count = self.primitive(measure, PrimitiveKind::CountValues { column: column.clone() })?;
                Ok(Estimate::Mean { sum, count, centre, unit })
            }
        }
    }

    /// The sum of a column around the midpoint of its bounds or around 0: its key, the centre, and the units in 1.
    fn sum(&mut self, measure: &Measure, column: &ColumnName, centred: bool) -> Result<(String, f64, f64), Refusal> {
        let bounds = self.contract.column(column.as_str()).and_then(|column| column.domain.fixed_point_bounds());
        let (low, high, decimals) = bounds.ok_or_else(|| Refusal::new(ReasonCode::NotMeasurable))?;
        // Bounds are within ±2^51, so their sum and differences are far from the ends of 64 bits.
        let centre = if centred { (low + high).div_euclid(2) } else { 0 };
        let half_width = low.abs_diff(centre).max(high.abs_diff(centre)).max(1);
        let kind = PrimitiveKind::SumCentred { column: column.clone(), centre, half_width, decimals };
        Ok((self.primitive(measure, kind)?, centre as f64, 10_f64.powi(i32::from(decimals))))
    }

    fn primitive(&mut self, measure: &Measure, kind: PrimitiveKind) -> Result<String, Refusal> {
        let (word, column) = match &kind {
            PrimitiveKind::CountRows => ("count_rows".to_owned(), None),
            PrimitiveKind::CountPersons => ("count_persons".to_owned(), None),
            PrimitiveKind::CountValues { column } => ("count_values".to_owned(), Some(column)),
            PrimitiveKind::SumCentred { column, centre, .. } => (format!("sum around {centre}"), Some(column)),
        };
        let column = column.map_or("-", ColumnName::as_str);
        let key = format!("{word} {column} where {}", filter_key(measure.filter.as_ref()));
        if !self.primitives.contains_key(&key) {
            let filter = measure.filter.as_ref().map(|filter| bound(filter, self.contract)).transpose()?;
            self.primitives.insert(key.clone(), Primitive { kind, filter });
        }
        Ok(key)
    }
}

fn formula(expression: &OutputExpression, estimates: &[Estimate], order: &BTreeMap<&str, usize>) -> Option<Formula> {
    let index = |key: &String| order.get(key.as_str()).copied();
    Some(match expression {
        OutputExpression::Constant(number) => Formula::Constant(number.as_f64()),
        OutputExpression::Negate(part) => Formula::Negate(Box::new(formula(part, estimates, order)?)),
        OutputExpression::Binary { op, left, right } => {
            let left = Box::new(formula(left, estimates, order)?);
            Formula::Binary(*op, left, Box::new(formula(right, estimates, order)?))
        }
        OutputExpression::Measure(measure) => match estimates.get(*measure)? {
            Estimate::Plain(key) => Formula::Primitive(index(key)?),
            Estimate::Total { sum, count, centre, unit } => Formula::Total {
                sum: index(sum)?,
                count: match count {
                    Some(count) => Some(index(count)?),
                    None => None,
                },
                centre: *centre,
                unit: *unit,
            },
            Estimate::Mean { sum, count, centre, unit } => {
                Formula::Mean { sum: index(sum)?, count: index(count)?, centre: *centre, unit: *unit }
            }
        },
    })
}
