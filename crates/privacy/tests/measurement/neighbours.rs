//! Neighbouring tables: one person's rows more or less.

use crate::cells;
use crate::fixture::{Agency, ask, contract, price_of};
use firebreak_privacy::{Funded, Measured};
use firebreak_query::{BoundValue, CheckedQuery, GroupingSet, Primitive, PrimitiveKind};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use std::collections::BTreeSet;
use std::convert::Infallible;

/// One row of the bounded view, encoded as engines see it; `None` is missing.
#[derive(Debug, Clone)]
struct Row {
    person: u32,
    region: Option<u16>,
    kind: Option<u16>,
    cost: Option<i64>,
}

impl Row {
    fn value(&self, column: &str) -> Option<BoundValue> {
        match column {
            "region" => self.region.map(BoundValue::Code),
            "kind" => self.kind.map(BoundValue::Code),
            "cost" => self.cost.map(BoundValue::Number),
            _ => None,
        }
    }

    /// Its place in each of the groups, if it has one in all.
    fn codes(&self, query: &CheckedQuery) -> Option<Vec<u16>> {
        query.groups().iter().map(|group| group.category.code(&|column| self.value(column.as_str()))).collect()
    }
}

/// What the query's primitives mean, written down row by row.
fn exact(query: &CheckedQuery, rows: &[Row]) -> Vec<Vec<i64>> {
    let of = |(primitive, set): (&Primitive, &GroupingSet)| {
        let per_cell = primitive.kind().numbers_per_cell();
        let mut totals = vec![0; set.cells() * per_cell];
        let mut persons = vec![BTreeSet::new(); set.cells()];
        for row in rows {
            let passes = [query.filter(), primitive.filter()]
                .into_iter()
                .flatten()
                .all(|filter| filter.holds(&|column| row.value(column.as_str())) == Some(true));
            let (true, Some(codes)) = (passes, row.codes(query)) else { continue };
            let cell = set.cell(|group| Some(codes[group].into())).unwrap();
            let mut place = cell * per_cell;
            let more = match primitive.kind() {
                PrimitiveKind::CountRows => 1,
                PrimitiveKind::CountPersons => i64::from(persons[cell].insert(row.person)),
                PrimitiveKind::CountValues { .. } => i64::from(row.cost.is_some()),
                PrimitiveKind::SumCentred { centre, .. } => row.cost.map_or(0, |cost| cost - centre),
                PrimitiveKind::Quantile { candidates, .. } => {
                    let Some(cost) = row.cost else { continue };
                    place += candidates.place(cost) as usize;
                    1
                }
            };
            totals[place] += more;
        }
        match primitive.kind() {
            // What decides a choice, and has a sensitivity, is the scores.
            PrimitiveKind::Quantile { candidates, .. } => {
                totals.chunks(per_cell).flat_map(|counts| candidates.scores(counts)).collect()
            }
            _ => totals,
        }
    };
    query.vectors().map(of).collect()
}

/// The distance of each primitive to a power: of each cell the largest movement of a number counts.
fn distances(power: u32, query: &CheckedQuery, one: &[Vec<i64>], other: &[Vec<i64>]) -> Vec<u128> {
    let moved = |(a, b): (&i64, &i64)| u128::from(a.abs_diff(*b));
    let distance = |primitive: &Primitive, one: &[i64], other: &[i64]| {
        let per_cell = primitive.kind().numbers_per_cell();
        let cells = one.chunks(per_cell).zip(other.chunks(per_cell));
        cells.map(|(a, b)| a.iter().zip(b).map(moved).max().unwrap_or(0).pow(power)).sum()
    };
    let pairs = query.vectors().zip(one.iter().zip(other));
    pairs.map(|((primitive, _), (one, other))| distance(primitive, one, other)).collect()
}

fn squared_distances(query: &CheckedQuery, one: &[Vec<i64>], other: &[Vec<i64>]) -> Vec<u128> {
    distances(2, query, one, other)
}

const QUESTIONS: [&str; 8] = [
    "SELECT COUNT(*) AS a, COUNT(DISTINCT person) AS b, COUNT(cost) AS c, SUM(cost) AS d, AVG(cost) AS e FROM health.visits",
    "SELECT region, kind, COUNT(*) AS a, COUNT(DISTINCT person) AS b, SUM(cost) AS d FROM health.visits GROUP BY region, kind",
    "SELECT region, AVG(cost) FILTER (WHERE kind = 'emergency') AS e, COUNT(cost) AS c FROM health.visits WHERE cost > 20 GROUP BY region",
    "SELECT COUNT(DISTINCT person) AS b FROM health.visits WHERE kind = 'planned' GROUP BY region",
    "SELECT COUNT(DISTINCT person) AS b, SUM(cost) AS d FROM health.visits GROUP BY CUBE (region, kind)",
    "SELECT QUANTILE(cost, 0.3) AS q FROM health.visits GROUP BY GROUPING SETS ((region), (kind), ())",
    "SELECT region, QUANTILE(cost, 0.3) AS q FROM health.visits GROUP BY region",
    "SELECT MEDIAN(cost) AS m, COUNT(*) AS n FROM health.visits GROUP BY CASE WHEN cost < 50 THEN 'a' WHEN region = 'n' THEN 'b' END",
];

fn row(person: u32) -> impl Strategy<Value = Row> {
    let missing_or = |strategy: BoxedStrategy<i64>| prop::option::weighted(0.9, strategy);
    let code = |count| prop::option::weighted(0.9, 0_u16..count);
    let cost = prop_oneof![Just(0), Just(10_000), 0_i64..=10_000].boxed();
    (code(3), code(2), missing_or(cost)).prop_map(move |(region, kind, cost)| Row { person, region, kind, cost })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, rng_seed: RngSeed::Fixed(2), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_person_more_or_less_moves_no_primitive_by_more_than_its_sensitivity(
        others in prop::collection::vec((0_u32..5).prop_flat_map(row), 0..20),
        person in prop::collection::vec(row(9), 1..=4),
        question in 0..QUESTIONS.len(),
    ) {
        let query = ask(QUESTIONS[question]);
        prop_assert_eq!(contract().contribution.rows_per_person, 4);
        let with: Vec<Row> = others.iter().chain(&person).cloned().collect();
        let (without, with) = (exact(&query, &others), exact(&query, &with));
        for (power, bounds) in [(1, query.l1_sensitivities()), (2, query.squared_sensitivities())] {
            for (distance, bound) in distances(power, &query, &without, &with).iter().zip(bounds) {
                prop_assert!(distance <= bound, "{} above {} in power {}", distance, bound, power);
            }
        }
    }
}

#[test]
fn the_worst_person_reaches_the_sensitivity_and_one_row_beyond_the_bound_exceeds_it() {
    let worst = Row { person: 9, region: Some(0), kind: Some(1), cost: Some(10_000) };
    let query = ask(QUESTIONS[0]);
    let none = exact(&query, &[]);
    let bounds = query.squared_sensitivities();
    let at_the_bound = squared_distances(&query, &none, &exact(&query, &vec![worst.clone(); 4]));
    assert_eq!(at_the_bound.iter().collect::<BTreeSet<_>>(), bounds.iter().collect::<BTreeSet<_>>());
    let beyond = squared_distances(&query, &none, &exact(&query, &vec![worst; 5]));
    assert!(beyond.iter().zip(bounds).any(|(distance, bound)| distance > bound));
}

#[tokio::test]
async fn neighbouring_tables_have_one_price_one_scale_and_one_shape() {
    let agency = Agency::new().await;
    let query = ask(QUESTIONS[1]);
    let person = Row { person: 9, region: Some(2), kind: Some(0), cost: Some(77) };
    let mut seen = Vec::new();
    for (number, rows) in [(1, vec![]), (2, vec![person])] {
        // Priced anew beside each table: a price takes no data at all.
        let price = price_of(&query);
        let values = exact(&query, &rows);
        // Two requests, neither stored: each takes its own reservation.
        let reservation = agency.reserve(number, price.release_key(), price.charge()).await;
        let funded = Funded::new(agency.permit(&query), reservation, price.clone()).unwrap();
        let Measured { released, .. } = funded.release(|| async { Ok::<_, Infallible>(cells(values)) }).await.unwrap();
        let answer = released.answer(&query).unwrap();
        let labels: Vec<_> = answer.rows.into_iter().map(|row| row.groups).collect();
        seen.push((price, released.charge(), released.sigmas().collect::<Vec<_>>(), released.encode().len(), labels));
    }
    assert_eq!(seen[0], seen[1]);
}
