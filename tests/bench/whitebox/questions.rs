//! Random questions over a contract.

use super::contracts::{Dataset, Ground, UNIT, one_of};
use super::persons::open_code;
use anyhow::{Context, Result};
use firebreak_domain::{Column, ColumnName, ColumnRole, Contract, Domain, Refusal};
use firebreak_query::{
    Aggregate, AggregateQuery, Category, CheckedQuery, Comparison, DatePart, Decimal, Group, Join, Literal, Measure,
    Output, OutputExpression, Predicate, RowArithmetic, RowValue, Spread, View, check_over,
};
use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

const ORDERED: &[Comparison] = &[Comparison::Lt, Comparison::Le, Comparison::Gt, Comparison::Ge];
const EXACT: &[Comparison] = &[Comparison::Eq, Comparison::Ne];
const ROW_ARITHMETIC: &[RowArithmetic] = &[RowArithmetic::Add, RowArithmetic::Subtract, RowArithmetic::Multiply];
const SPREADS: &[Spread] =
    &[Spread::VarianceSample, Spread::VariancePopulation, Spread::DeviationSample, Spread::DeviationPopulation];
/// Groups of a question with grouping sets, at most: by stratum it is split as well.
const MOST_WITH_MARGINS: usize = 5;
/// Cells of one table, at most.
const CELLS: usize = 60;

/// Random grouping sets that hold each group, or none.
fn margins(rng: &mut ChaCha8Rng, groups: usize) -> Vec<Vec<usize>> {
    if groups > MOST_WITH_MARGINS || rng.random_bool(0.6) {
        return Vec::new();
    }
    let mut sets: Vec<Vec<usize>> =
        (0..rng.random_range(1..=4)).map(|_| (0..groups).filter(|_| rng.random_bool(0.5)).collect()).collect();
    for group in 0..groups {
        if !sets.iter().flatten().any(|named| *named == group) {
            sets.push(vec![group]);
        }
    }
    sets
}

impl Ground {
    /// A random question, not split by stratum.
    pub fn question(&self, rng: &mut ChaCha8Rng) -> Result<AggregateQuery> {
        let mut group_by = Vec::new();
        let mut cells = 1;
        for column in &self.columns {
            let codes = column.domain.codes().len();
            let declared = column.role == ColumnRole::Category && !column.domain.is_open();
            if declared && cells * codes <= CELLS && rng.random_bool(0.5) {
                cells *= codes;
                group_by.push(Group::of_column(column.name.clone()));
            }
        }
        if rng.random_bool(0.4) {
            let rule = Group { name: "by rule".to_owned(), category: self.rule(rng)? };
            if self.cells(&rule).is_some_and(|more| cells * more <= CELLS) {
                group_by.push(rule);
            }
        }
        let mut measures = Vec::new();
        for _ in 0..rng.random_range(3..=8) {
            let filter = if rng.random_bool(0.3) { Some(self.predicate(rng, 2)?) } else { None };
            measures.push(Measure { aggregate: self.aggregate(rng)?, filter });
        }
        let filter = if rng.random_bool(0.4) { Some(self.predicate(rng, 3)?) } else { None };
        let grouping_sets = margins(rng, group_by.len());
        Ok(AggregateQuery { filter, group_by, grouping_sets, ..self.plain(measures)? })
    }

    /// A random question by open codes; none without a column of them.
    pub fn question_by_open_codes(&self, rng: &mut ChaCha8Rng) -> Result<Option<AggregateQuery>> {
        let open: Vec<_> = self.columns.iter().filter(|column| column.domain.is_open()).collect();
        let Some(open) = open.choose(rng) else { return Ok(None) };
        let AggregateQuery { filter, measures, .. } = self.question(rng)?;
        let declared = |measure: Measure| match measure.aggregate {
            Aggregate::Quantile(..) => Measure { aggregate: Aggregate::CountRows, ..measure },
            _ => measure,
        };
        let measures = measures.into_iter().map(declared).collect();
        let group_by = vec![Group::of_column(open.name.clone())];
        Ok(Some(AggregateQuery { filter, group_by, ..self.plain(measures)? }))
    }

    /// A category that follows from columns by a rule.
    fn rule(&self, rng: &mut ChaCha8Rng) -> Result<Category> {
        let dated = |c: &&Column| matches!(c.domain, Domain::Date { .. } | Domain::Month { .. });
        let dates: Vec<_> = self.columns.iter().filter(dated).collect();
        Ok(match (rng.random_range(0..3), dates.choose(rng)) {
            (0, Some(column)) => {
                Category::Date { part: one_of(rng, &DatePart::ALL, DatePart::Year), column: column.name.clone() }
            }
            (1, _) => {
                let measured = |column: &Column| column.role == ColumnRole::Measure;
                let value = RowValue::Column(self.readable(rng, &measured)?.name.clone());
                let low = rng.random_range(-1_000..1_000);
                let high = low + rng.random_range(1..2_000);
                Category::Bucket {
                    value,
                    low: Decimal::whole(low),
                    high: Decimal::whole(high),
                    buckets: rng.random_range(1..=6),
                }
            }
            _ => {
                let branch = |rng: &mut ChaCha8Rng| {
                    let label = rng.random_range(0..3).to_string();
                    Ok((self.predicate(rng, 2)?, label))
                };
                let branches = (0..rng.random_range(1..=3)).map(|_| branch(rng)).collect::<Result<_>>()?;
                Category::Case { branches, otherwise: rng.random_bool(0.5).then(|| "rest".to_owned()) }
            }
        })
    }

    /// How many groups a category has, if it can be asked for.
    fn cells(&self, group: &Group) -> Option<usize> {
        let measures = vec![Measure { aggregate: Aggregate::CountRows, filter: None }];
        let alone = AggregateQuery { group_by: vec![group.clone()], ..self.plain(measures).ok()? };
        self.check(&alone).ok().map(|checked| checked.cells())
    }

    /// The question checked against its contracts.
    pub fn check(&self, question: &AggregateQuery) -> Result<CheckedQuery, Refusal> {
        let contracts: Vec<Contract> = self.datasets.iter().map(|dataset| dataset.contract.clone()).collect();
        check_over(question, &contracts)
    }

    /// A question of measures alone.
    fn plain(&self, measures: Vec<Measure>) -> Result<AggregateQuery> {
        let (first, others) = self.datasets.split_first().context("no dataset")?;
        let joins = others.iter().map(|other| {
            let behind = |dataset: &Dataset| ColumnName::new(format!("{}.{UNIT}", dataset.contract.id));
            Ok(Join { dataset: other.contract.id.clone(), on: vec![behind(first)?, behind(other)?] })
        });
        let outputs = (0..measures.len())
            .map(|place| Output { name: format!("output {place}"), expression: OutputExpression::Measure(place) });
        Ok(AggregateQuery {
            dataset: first.contract.id.clone(),
            joins: joins.collect::<Result<_>>()?,
            on_person: false,
            partial: false,
            cut: None,
            filter: None,
            group_by: Vec::new(),
            grouping_sets: Vec::new(),
            outputs: outputs.collect(),
            measures,
            view: View::default(),
            rho: None,
        })
    }

    fn readable(&self, rng: &mut ChaCha8Rng, fits: &dyn Fn(&Column) -> bool) -> Result<&Column> {
        let columns: Vec<_> = self.columns.iter().filter(|column| fits(column)).collect();
        columns.choose(rng).copied().context("no column fits")
    }

    fn aggregate(&self, rng: &mut ChaCha8Rng) -> Result<Aggregate> {
        let measured = |column: &Column| column.role == ColumnRole::Measure;
        let column = self.readable(rng, &measured)?;
        let plain = RowValue::Column(column.name.clone());
        Ok(match rng.random_range(0..9) {
            0 => Aggregate::CountRows,
            1 => Aggregate::CountDistinct(ColumnName::new(UNIT)?),
            2 => Aggregate::Count(self.readable(rng, &|_| true)?.name.clone()),
            3 => Aggregate::Sum(plain),
            4 => Aggregate::Avg(plain),
            5 => Aggregate::Sum(self.value(rng, column)?),
            6 => Aggregate::Avg(self.value(rng, column)?),
            7 => {
                // Few candidates, for the score of each is compared in each stratum.
                let decimals = column.domain.fixed_point_bounds().map_or(0, |(_, _, decimals)| decimals);
                let least = rng.random_range(-20..=10);
                let (low, high) = (Decimal::new(least, decimals)?, Decimal::new(least + 10, decimals)?);
                let cut = RowValue::Clamp { of: Box::new(plain), low, high };
                Aggregate::Quantile(cut, Decimal::new(rng.random_range(1..=99), 2)?)
            }
            _ => {
                // Its square is within the integers for narrow bounds alone; wide ones are cut.
                let near = |rng: &mut ChaCha8Rng| Decimal::whole(rng.random_range(-1_000..=1_000));
                let (one, other) = (near(rng), near(rng));
                let (low, high) = if one.as_f64() <= other.as_f64() { (one, other) } else { (other, one) };
                let cut = RowValue::Clamp { of: Box::new(plain.clone()), low, high };
                let spread = Aggregate::Spread(one_of(rng, SPREADS, Spread::VarianceSample), cut);
                if self.is_answered(&spread) { spread } else { Aggregate::Avg(plain) }
            }
        })
    }

    /// Arithmetic over one measure or two that leaves no integers, or else the measure itself.
    fn value(&self, rng: &mut ChaCha8Rng, column: &Column) -> Result<RowValue> {
        let measured = |column: &Column| column.role == ColumnRole::Measure;
        let number = RowValue::Constant(Decimal::new(rng.random_range(-30..=30), 1)?);
        let other = RowValue::Column(self.readable(rng, &measured)?.name.clone());
        let joined = |op, left, right| RowValue::Binary { op, left: Box::new(left), right: Box::new(right) };
        let op = one_of(rng, ROW_ARITHMETIC, RowArithmetic::Add);
        let plain = RowValue::Column(column.name.clone());
        let value = match rng.random_range(0..3) {
            0 => joined(op, plain.clone(), number),
            1 => joined(op, other, plain.clone()),
            _ => joined(op, joined(RowArithmetic::Multiply, number, other), plain.clone()),
        };
        Ok(if self.is_answered(&Aggregate::Sum(value.clone())) { value } else { plain })
    }

    fn is_answered(&self, aggregate: &Aggregate) -> bool {
        let alone = self.plain(vec![Measure { aggregate: aggregate.clone(), filter: None }]);
        alone.is_ok_and(|alone| self.check(&alone).is_ok())
    }

    fn predicate(&self, rng: &mut ChaCha8Rng, depth: u32) -> Result<Predicate> {
        let parts = |rng: &mut ChaCha8Rng| (0..2).map(|_| self.predicate(rng, depth - 1)).collect::<Result<_>>();
        let shape = if depth == 0 { 9 } else { rng.random_range(0..10) };
        Ok(match shape {
            0 | 1 => Predicate::And(parts(rng)?),
            2 | 3 => Predicate::Or(parts(rng)?),
            4 => Predicate::Not(Box::new(self.predicate(rng, depth - 1)?)),
            _ => {
                let column = self.readable(rng, &|_| true)?;
                condition(rng, column)?
            }
        })
    }
}

fn condition(rng: &mut ChaCha8Rng, column: &Column) -> Result<Predicate> {
    let name = column.name.clone();
    let ordered = !matches!(column.domain, Domain::Category { .. } | Domain::Open { .. } | Domain::LeftOut);
    Ok(match rng.random_range(0..5) {
        0 => Predicate::IsNull { column: name },
        1 if ordered => {
            Predicate::Between { column: name, low: literal(rng, &column.domain)?, high: literal(rng, &column.domain)? }
        }
        2 => {
            Predicate::In { column: name, literals: vec![literal(rng, &column.domain)?, literal(rng, &column.domain)?] }
        }
        3 if ordered => {
            let op = one_of(rng, ORDERED, Comparison::Le);
            Predicate::Compare { column: name, op, literal: literal(rng, &column.domain)? }
        }
        _ => {
            let op = one_of(rng, EXACT, Comparison::Eq);
            Predicate::Compare { column: name, op, literal: literal(rng, &column.domain)? }
        }
    })
}

/// A literal in the column's domain.
fn literal(rng: &mut ChaCha8Rng, domain: &Domain) -> Result<Literal> {
    Ok(match domain {
        Domain::Year { first, last } => Literal::Number(Decimal::whole(rng.random_range(*first..=*last).into())),
        Domain::Integer { min, max } | Domain::Decimal { min, max, .. } => {
            let drawn = rng.random_range(*min..=*max);
            Literal::Number(Decimal::whole(one_of(rng, &[*min, *max, drawn], drawn)))
        }
        Domain::Date { first, last } => {
            let number = rng.random_range(first.to_epoch_days()..=last.to_epoch_days());
            Literal::Date(chrono::NaiveDate::from_epoch_days(number).context("no such day")?)
        }
        Domain::Open { length } => Literal::Text(open_code(rng, *length).to_owned()),
        domain => Literal::Text(domain.codes().choose(rng).context("no code")?.clone()),
    })
}
