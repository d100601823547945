//! Measures into primitives, outputs into formulas over them.

use super::bind::bound;
use crate::canonical::{filter_key, measure_key};
use crate::checked::Total;
use crate::evaluate::Formula;
use crate::number::{Bounded, bounded, too_wide};
use crate::view::{CheckedHaving, CheckedKey, CheckedOrder, CheckedView};
use crate::{
    Aggregate, AggregateQuery, Candidates, CheckedGroup, CheckedOutput, Having, Measure, OrderKey, OutputExpression,
    Primitive, PrimitiveKind, RowValue, Spread, View,
};
use firebreak_domain::{ColumnName, Contract, ReasonCode, Refusal};
use std::collections::{BTreeMap, BTreeSet};

/// What a question costs and what it shows.
pub(super) struct Lowered {
    pub(super) primitives: Vec<Primitive>,
    /// What each primitive is, its filter included, as a text.
    pub(super) keys: Vec<String>,
    /// How many measures rest on each.
    pub(super) uses: Vec<u32>,
    /// The primitive by which groups of open codes are selected.
    pub(super) selection: Option<usize>,
    pub(super) totals: Vec<Total>,
    pub(super) outputs: Vec<CheckedOutput>,
    pub(super) view: CheckedView,
}

/// Primitives by a text that depends on the canonical form alone, so that each comes once and their order is fixed.
struct Plan<'a> {
    contract: &'a Contract,
    /// The columns and filters whose count of values is measured whatever becomes of the sums.
    counted: BTreeSet<(BTreeSet<ColumnName>, String)>,
    primitives: BTreeMap<String, Primitive>,
}

/// One measure in terms of the keys of its primitives.
enum Estimate {
    Plain(String),
    Total { sum: String, count: Option<String>, centre: f64, unit: f64 },
    Mean { sum: String, count: String, centre: f64, unit: f64 },
    Spread { sum: String, squares: String, count: String, centre: f64, unit: f64, spread: Spread },
    Quantile { chosen: String, count: String, unit: f64, candidates: Candidates },
}

impl Estimate {
    /// The primitives that it rests on. A sum around 0 does not rest on the count beside it.
    fn keys(&self) -> Vec<&str> {
        match self {
            Self::Plain(key) => vec![key],
            Self::Total { sum, count: Some(count), centre, .. } if *centre != 0.0 => vec![sum, count],
            Self::Total { sum, .. } => vec![sum],
            Self::Mean { sum, count, .. } => vec![sum, count],
            Self::Spread { sum, squares, count, .. } => vec![sum, squares, count],
            Self::Quantile { chosen, count, .. } => vec![chosen, count],
        }
    }
}

fn columns_of(value: &RowValue) -> BTreeSet<ColumnName> {
    value.columns().into_iter().cloned().collect()
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
///
/// A variance is `Σ(x − c)²/n − (Σ(x − c)/n)²`, which holds around any `c`: the squares of distances from the midpoint
/// lie between 0 and `h²`, and are summed around the middle of that, so that their noise is scaled to `h²/2`.
///
/// `groups` are those of the answer, each with its place in canonical order, in the order in which they are shown.
pub(super) fn lower(
    query: &AggregateQuery,
    groups: &[(usize, &CheckedGroup)],
    contract: &Contract,
) -> Result<Lowered, Refusal> {
    let counted = query.measures.iter().filter_map(|measure| {
        let columns = match &measure.aggregate {
            Aggregate::Count(column) => [column.clone()].into(),
            Aggregate::Avg(value) | Aggregate::Spread(_, value) | Aggregate::Quantile(value, _) => columns_of(value),
            Aggregate::CountRows | Aggregate::CountDistinct(_) | Aggregate::Sum(_) => return None,
        };
        Some((columns, filter_key(measure.filter.as_ref())))
    });
    let mut plan = Plan { contract, counted: counted.collect(), primitives: BTreeMap::new() };
    // INVARIANT: in the order of the canonical form, so that nothing depends on the order in which measures were
    // written.
    let mut written: Vec<(usize, &Measure)> = query.measures.iter().enumerate().collect();
    written.sort_by_key(|(_, measure)| measure_key(measure));
    let mut estimates = Vec::with_capacity(written.len());
    let mut rests = Vec::with_capacity(written.len());
    for (place, measure) in written {
        let estimate = plan.estimate(measure)?;
        // A measure that is written twice is one.
        rests.push((measure_key(measure), estimate.keys().into_iter().map(str::to_owned).collect::<Vec<_>>()));
        estimates.push((place, estimate));
    }
    let open = groups.iter().find_map(|(_, group)| group.open());
    let selection = open.map(|_| plan.selection(query)).transpose()?;
    rests.dedup();
    estimates.sort_by_key(|(place, _)| *place);
    let estimates: Vec<Estimate> = estimates.into_iter().map(|(_, estimate)| estimate).collect();
    let order: BTreeMap<&str, usize> = plan.primitives.keys().enumerate().map(|(i, key)| (key.as_str(), i)).collect();
    let mut outputs = Vec::with_capacity(query.outputs.len());
    let mut formulas = Formulas { estimates: &estimates, order: &order, plan: &plan, groups, totals: Vec::new() };
    for output in &query.outputs {
        outputs.push(CheckedOutput { name: output.name.clone(), formula: formulas.of(&output.expression)? });
    }
    let view = formulas.view(&query.view)?;
    let totals = formulas.totals;
    if let Some(open) = open.filter(|_| !totals.is_empty()) {
        let what =
            format!("the groups of column {open} that are shown are not all, and have no total: ask it without it");
        return Err(Refusal::new(ReasonCode::UnsupportedAggregate).because(what));
    }
    let selection = selection.and_then(|key| order.get(key.as_str()).copied());
    let mut uses = vec![0_u32; order.len()];
    for key in rests.iter().flat_map(|(_, keys)| keys) {
        if let Some(uses) = order.get(key.as_str()).and_then(|place| uses.get_mut(*place)) {
            *uses += 1;
        }
    }
    // No measure may rest on the persons by which groups are selected.
    if let Some(uses) = selection.and_then(|place| uses.get_mut(place)) {
        *uses = (*uses).max(1);
    }
    let (keys, primitives) = plan.primitives.into_iter().unzip();
    Ok(Lowered { selection, totals, outputs, view, primitives, keys, uses })
}

/// Outputs as formulas over primitives, and over the totals that they take.
struct Formulas<'a> {
    estimates: &'a [Estimate],
    order: &'a BTreeMap<&'a str, usize>,
    plan: &'a Plan<'a>,
    groups: &'a [(usize, &'a CheckedGroup)],
    totals: Vec<Total>,
}

impl Formulas<'_> {
    fn view(&mut self, view: &View) -> Result<CheckedView, Refusal> {
        let mut order_by = Vec::with_capacity(view.order_by.len());
        for order in &view.order_by {
            let by = match &order.by {
                OrderKey::Value(value) => CheckedKey::Value(self.of(value)?),
                OrderKey::Group(name) => {
                    let place = self.groups.iter().position(|(_, group)| group.name == *name);
                    CheckedKey::Group(place.ok_or_else(|| {
                        Refusal::new(ReasonCode::UngroupedColumn).because("ORDER BY names a group or a value")
                    })?)
                }
            };
            order_by.push(CheckedOrder { by, descending: order.descending });
        }
        Ok(CheckedView {
            having: view.having.as_ref().map(|having| self.having(having)).transpose()?,
            order_by,
            offset: view.offset as usize,
            limit: view.limit.map(|limit| limit as usize),
        })
    }

    fn having(&mut self, having: &Having) -> Result<CheckedHaving, Refusal> {
        Ok(match having {
            Having::And(parts) => CheckedHaving::And(self.all(parts)?),
            Having::Or(parts) => CheckedHaving::Or(self.all(parts)?),
            Having::Not(part) => CheckedHaving::Not(Box::new(self.having(part)?)),
            Having::Compare { left, op, right } => CheckedHaving::Compare(self.of(left)?, *op, self.of(right)?),
        })
    }

    fn all(&mut self, parts: &[Having]) -> Result<Vec<CheckedHaving>, Refusal> {
        parts.iter().map(|part| self.having(part)).collect()
    }
}

impl Plan<'_> {
    fn estimate(&mut self, measure: &Measure) -> Result<Estimate, Refusal> {
        match &measure.aggregate {
            Aggregate::CountRows => self.primitive(measure, PrimitiveKind::CountRows).map(Estimate::Plain),
            Aggregate::CountDistinct(_) => self.primitive(measure, PrimitiveKind::CountPersons).map(Estimate::Plain),
            Aggregate::Count(column) => self.count(measure, [column.clone()].into()).map(Estimate::Plain),
            Aggregate::Sum(value) => {
                let columns = columns_of(value);
                let counted = self.counted.contains(&(columns.clone(), filter_key(measure.filter.as_ref())));
                let Sum { key: sum, centre, unit } = self.sum(measure, bounded(value, self.contract)?, counted)?;
                let count = if counted { Some(self.count(measure, columns)?) } else { None };
                Ok(Estimate::Total { sum, count, centre, unit })
            }
            Aggregate::Avg(value) => {
                let Sum { key: sum, centre, unit } = self.sum(measure, bounded(value, self.contract)?, true)?;
                let count = self.count(measure, columns_of(value))?;
                Ok(Estimate::Mean { sum, count, centre, unit })
            }
            Aggregate::Spread(spread, value) => {
                let of = bounded(value, self.contract)?;
                let squared = of.squared_from(midpoint(&of))?;
                let Sum { key: sum, .. } = self.sum(measure, of, true)?;
                let Sum { key: squares, centre, unit } = self.sum(measure, squared, true)?;
                let count = self.count(measure, columns_of(value))?;
                Ok(Estimate::Spread { sum, squares, count, centre, unit, spread: *spread })
            }
            Aggregate::Quantile(value, rank) => {
                let of = bounded(value, self.contract)?;
                let candidates = Candidates::between(of.low, of.high, *rank)?;
                let unit = unit(of.decimals);
                let kind = PrimitiveKind::Quantile { value: of.number, candidates, decimals: of.decimals };
                let chosen = self.primitive(measure, kind)?;
                let count = self.count(measure, columns_of(value))?;
                Ok(Estimate::Quantile { chosen, count, unit, candidates })
            }
        }
    }

    /// The persons of each group, by which groups of open codes are selected: their key.
    ///
    /// Whatever else is measured in a group rests on its rows, and so on the persons that this counts.
    fn selection(&mut self, query: &AggregateQuery) -> Result<String, Refusal> {
        if query.measures.iter().any(|measure| matches!(measure.aggregate, Aggregate::Quantile(..))) {
            let what =
                "there are no quantiles by a column whose codes are not declared: ask AVG, or by a declared column";
            return Err(Refusal::new(ReasonCode::UnsupportedAggregate).because(what));
        }
        let of_all = Measure { aggregate: Aggregate::CountRows, filter: None };
        self.primitive(&of_all, PrimitiveKind::CountPersons)
    }

    fn count(&mut self, measure: &Measure, columns: BTreeSet<ColumnName>) -> Result<String, Refusal> {
        self.primitive(measure, PrimitiveKind::CountValues { columns })
    }

    /// The sum of a value around the midpoint of its bounds or around 0.
    fn sum(&mut self, measure: &Measure, of: Bounded, centred: bool) -> Result<Sum, Refusal> {
        // INVARIANT: no sum over a cut leaves 63 bits, as a contract demands of its columns.
        let largest = u128::from(of.low.unsigned_abs().max(of.high.unsigned_abs()));
        if 2 * largest * u128::from(self.contract.most_rows()) >= 1 << 63 {
            return Err(too_wide());
        }
        let centre = if centred { midpoint(&of) } else { 0 };
        let half_width = of.low.abs_diff(centre).max(of.high.abs_diff(centre)).max(1);
        let kind = PrimitiveKind::SumCentred { value: of.number, centre, half_width, decimals: of.decimals };
        let key = self.primitive(measure, kind)?;
        Ok(Sum { key, centre: centre as f64, unit: unit(of.decimals) })
    }

    fn primitive(&mut self, measure: &Measure, kind: PrimitiveKind) -> Result<String, Refusal> {
        let (word, of) = match &kind {
            PrimitiveKind::CountRows => ("count_rows".to_owned(), "-".to_owned()),
            PrimitiveKind::CountPersons => ("count_persons".to_owned(), "-".to_owned()),
            PrimitiveKind::CountValues { columns } => {
                let names: Vec<&str> = columns.iter().map(ColumnName::as_str).collect();
                ("count_values".to_owned(), names.join(" "))
            }
            PrimitiveKind::SumCentred { value, centre, decimals, .. } => {
                (format!("sum around {centre} in {decimals}"), value.to_string())
            }
            PrimitiveKind::Quantile { value, candidates, decimals } => {
                (format!("quantile {candidates} in {decimals}"), value.to_string())
            }
        };
        let key = format!("{word} {of} where {}", filter_key(measure.filter.as_ref()));
        if !self.primitives.contains_key(&key) {
            let filter = measure.filter.as_ref().map(|filter| bound(filter, self.contract)).transpose()?;
            self.primitives.insert(key.clone(), Primitive { kind, filter });
        }
        Ok(key)
    }
}

/// The units of a fixed point in 1.
fn unit(decimals: u8) -> f64 {
    10_f64.powi(i32::from(decimals))
}

/// A sum: its key, the centre, and the units in 1.
struct Sum {
    key: String,
    centre: f64,
    unit: f64,
}

/// Ends are within ±2^62, so their sum does not leave 64 bits.
const fn midpoint(of: &Bounded) -> i64 {
    (of.low + of.high).div_euclid(2)
}

impl Formulas<'_> {
    fn of(&mut self, expression: &OutputExpression) -> Result<Formula, Refusal> {
        Ok(match expression {
            OutputExpression::Constant(number) => Formula::Constant(number.as_f64()),
            OutputExpression::Negate(part) => Formula::Negate(Box::new(self.of(part)?)),
            OutputExpression::Binary { op, left, right } => {
                let left = Box::new(self.of(left)?);
                Formula::Binary(*op, left, Box::new(self.of(right)?))
            }
            OutputExpression::Round { of, decimals } => Formula::Round(Box::new(self.of(of)?), *decimals),
            OutputExpression::Clip { of, end, bound } => Formula::Clip(Box::new(self.of(of)?), *end, bound.as_f64()),
            OutputExpression::Total { measure, within } => self.total(*measure, within)?,
            OutputExpression::Measure(measure) => self.measure(*measure)?,
        })
    }

    fn estimate(&self, measure: usize) -> Result<&Estimate, Refusal> {
        self.estimates.get(measure).ok_or_else(Self::no_measure)
    }

    fn index(&self, key: &str) -> Result<usize, Refusal> {
        self.order.get(key).copied().ok_or_else(Self::no_measure)
    }

    fn no_measure() -> Refusal {
        Refusal::new(ReasonCode::MalformedRequest).because("an output names a measure that is not there")
    }

    fn measure(&self, measure: usize) -> Result<Formula, Refusal> {
        Ok(match self.estimate(measure)? {
            Estimate::Plain(key) => Formula::Primitive(self.index(key)?),
            Estimate::Total { sum, count, centre, unit } => Formula::Total {
                sum: self.index(sum)?,
                count: match count {
                    Some(count) => Some(self.index(count)?),
                    None => None,
                },
                centre: *centre,
                unit: *unit,
            },
            Estimate::Mean { sum, count, centre, unit } => {
                Formula::Mean { sum: self.index(sum)?, count: self.index(count)?, centre: *centre, unit: *unit }
            }
            Estimate::Spread { sum, squares, count, centre, unit, spread } => Formula::Spread {
                sum: self.index(sum)?,
                squares: self.index(squares)?,
                count: self.index(count)?,
                centre: *centre,
                unit: *unit,
                spread: *spread,
            },
            Estimate::Quantile { chosen, count, unit, candidates } => Formula::Quantile {
                chosen: self.index(chosen)?,
                count: self.index(count)?,
                unit: *unit,
                candidates: *candidates,
            },
        })
    }

    /// A measure added up over rows of the answer: what it rests on, added up.
    fn total(&mut self, measure: usize, within: &[String]) -> Result<Formula, Refusal> {
        let place = |heading: &String| {
            let group = self.groups.iter().find(|(_, group)| group.name == *heading);
            group.map(|(place, _)| *place).ok_or_else(|| {
                Refusal::new(ReasonCode::UngroupedColumn).because("PARTITION BY names groups of the answer")
            })
        };
        let within: Vec<usize> = within.iter().map(place).collect::<Result<BTreeSet<_>, _>>()?.into_iter().collect();
        let (sum, count) = match self.estimate(measure)? {
            Estimate::Plain(key) => (key.clone(), None),
            Estimate::Total { sum, count, .. } => (sum.clone(), count.clone()),
            Estimate::Mean { .. } | Estimate::Spread { .. } | Estimate::Quantile { .. } => return Err(no_total()),
        };
        let mut added_up = |key: &String| {
            if !self.plan.primitives.get(key).is_some_and(|primitive| primitive.kind.adds_up()) {
                return Err(no_total());
            }
            let primitive = self.order.get(key.as_str()).copied().ok_or_else(Self::no_measure)?;
            let total = Total { primitive, within: within.clone() };
            let place = self.totals.iter().position(|known| *known == total).unwrap_or_else(|| {
                self.totals.push(total);
                self.totals.len() - 1
            });
            Ok(self.order.len() + place)
        };
        let (sum, count) = (added_up(&sum)?, count.as_ref().map(added_up).transpose()?);
        Ok(match self.measure(measure)? {
            Formula::Total { centre, unit, .. } => Formula::Total { sum, count, centre, unit },
            _ => Formula::Primitive(sum),
        })
    }
}

/// A person can be in several rows, and means and quantiles of parts do not add up to those of the whole.
fn no_total() -> Refusal {
    let what = "a total over the answer is of COUNT(*), COUNT(column) or SUM(value), which add up";
    Refusal::new(ReasonCode::UnsupportedAggregate).because(what)
}
