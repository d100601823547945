//! The canonical form and the two ways to write a question, by random questions and rows.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::unreachable,
    reason = "a test stops where its own material is wrong"
)]

mod support;

use chrono::{Datelike, NaiveDate};
use firebreak_domain::{ColumnName, CutId, DatasetId, Rho};
use firebreak_query::{
    Aggregate, AggregateQuery, Arithmetic, BoundValue, Category, Comparison, DatePart, Decimal, End, Group, Literal,
    Measure, Output, OutputExpression, OutputValue, Predicate, RowArithmetic, RowValue, Spread, View, check, parse_sql,
    to_sql,
};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::RngSeed;
use std::collections::BTreeSet;
use support::visits;

fn column(name: &str) -> ColumnName {
    ColumnName::new(name).unwrap()
}

fn form(query: &AggregateQuery) -> String {
    query.canonical().as_str().to_owned()
}

fn comparison() -> impl Strategy<Value = Comparison> {
    use Comparison::{Eq, Ge, Gt, Le, Lt, Ne};
    select(vec![Eq, Ne, Lt, Le, Gt, Ge])
}

fn region() -> impl Strategy<Value = Literal> {
    (1..=17).prop_map(|n| Literal::Text(format!("R{n:02}")))
}

fn year() -> impl Strategy<Value = Literal> {
    (2020..=2024_i64).prop_map(|y| Literal::Number(Decimal::whole(y)))
}

fn cost() -> impl Strategy<Value = Literal> {
    (0..=500_000_i128).prop_map(|cents| Literal::Number(Decimal::new(cents, 2).unwrap()))
}

fn day() -> impl Strategy<Value = Literal> {
    (0..1827_u64).prop_map(|n| Literal::Date(NaiveDate::from_ymd_opt(2020, 1, 1).unwrap() + chrono::Days::new(n)))
}

fn atom() -> impl Strategy<Value = Predicate> {
    let compare = |name: &'static str| move |(op, literal)| Predicate::Compare { column: column(name), op, literal };
    prop_oneof![
        (select(vec![Comparison::Eq, Comparison::Ne]), region()).prop_map(compare("region")),
        prop::collection::vec(region(), 1..5).prop_map(|l| Predicate::In { column: column("region"), literals: l }),
        (comparison(), year()).prop_map(compare("visit_year")),
        prop::collection::vec(year(), 1..4).prop_map(|l| Predicate::In { column: column("visit_year"), literals: l }),
        (year(), year()).prop_map(|(low, high)| Predicate::Between { column: column("visit_year"), low, high }),
        (comparison(), cost()).prop_map(compare("cost")),
        prop::collection::vec(cost(), 1..4).prop_map(|l| Predicate::In { column: column("cost"), literals: l }),
        (comparison(), day()).prop_map(compare("visit_date")),
        (day(), day()).prop_map(|(low, high)| Predicate::Between { column: column("visit_date"), low, high }),
        select(vec!["region", "cost", "visit_date"]).prop_map(|n| Predicate::IsNull { column: column(n) }),
    ]
}

fn predicate() -> impl Strategy<Value = Predicate> {
    atom().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(Predicate::And),
            prop::collection::vec(inner.clone(), 1..4).prop_map(Predicate::Or),
            inner.prop_map(|p| Predicate::Not(Box::new(p))),
        ]
    })
}

const SPREADS: [Spread; 4] =
    [Spread::VarianceSample, Spread::VariancePopulation, Spread::DeviationSample, Spread::DeviationPopulation];

/// A value that names a column and leaves no integers.
fn row_value() -> impl Strategy<Value = RowValue> {
    let number = (-50..50_i128).prop_map(|n| Decimal::new(n, 1).unwrap());
    let cost = || RowValue::Column(column("cost"));
    let part = prop_oneof![Just(cost()), number.clone().prop_map(RowValue::Constant)];
    let op = select(vec![RowArithmetic::Add, RowArithmetic::Subtract, RowArithmetic::Multiply]);
    let joined = (op, part, any::<bool>()).prop_map(move |(op, part, first)| {
        let (left, right) = if first { (cost(), part) } else { (part, cost()) };
        RowValue::Binary { op, left: Box::new(left), right: Box::new(right) }
    });
    prop_oneof![
        Just(RowValue::Column(column("cost"))),
        joined.clone(),
        (joined, -50..0_i64, 0..50_i64).prop_map(|(of, low, high)| RowValue::Clamp {
            of: Box::new(of),
            low: Decimal::whole(low),
            high: Decimal::whole(high),
        }),
    ]
}

/// A value whose square leaves no integers either.
fn narrow_value() -> impl Strategy<Value = RowValue> {
    let cost = RowValue::Column(column("cost"));
    let cut = |(low, high): (i64, i64)| RowValue::Clamp {
        of: Box::new(RowValue::Column(column("cost"))),
        low: Decimal::whole(low),
        high: Decimal::whole(high),
    };
    prop_oneof![Just(cost), (-50..0_i64, 0..50_i64).prop_map(cut)]
}

/// The same value with the sides of + and * exchanged.
fn mirrored(value: &RowValue) -> RowValue {
    match value {
        RowValue::Binary { op, left, right } if *op != RowArithmetic::Subtract => {
            RowValue::Binary { op: *op, left: Box::new(mirrored(right)), right: Box::new(mirrored(left)) }
        }
        RowValue::Clamp { of, low, high } => RowValue::Clamp { of: Box::new(mirrored(of)), low: *low, high: *high },
        other => other.clone(),
    }
}

fn measure() -> impl Strategy<Value = Measure> {
    let aggregate = prop_oneof![
        Just(Aggregate::CountRows),
        Just(Aggregate::CountDistinct(column("person_key"))),
        select(vec!["cost", "region", "visit_date"]).prop_map(|n| Aggregate::Count(column(n))),
        row_value().prop_map(Aggregate::Sum),
        row_value().prop_map(Aggregate::Avg),
        (select(SPREADS.to_vec()), narrow_value()).prop_map(|(spread, value)| Aggregate::Spread(spread, value)),
    ];
    (aggregate, prop::option::of(predicate())).prop_map(|(aggregate, filter)| Measure { aggregate, filter })
}

/// Arithmetic over every one of `measures` measures.
fn expression(measures: usize) -> impl Strategy<Value = OutputExpression> {
    let leaf = prop_oneof![
        (0..measures).prop_map(OutputExpression::Measure),
        (-5_000..5_000_i128).prop_map(|n| OutputExpression::Constant(Decimal::new(n, 1).unwrap())),
    ];
    let plain = leaf.prop_recursive(4, 12, 2, |inner| {
        use Arithmetic::{Add, Divide, Multiply, Subtract};
        prop_oneof![
            inner.clone().prop_map(|part| OutputExpression::Negate(Box::new(part))),
            (select(vec![Add, Subtract, Multiply, Divide]), inner.clone(), inner).prop_map(|(op, left, right)| {
                OutputExpression::Binary { op, left: Box::new(left), right: Box::new(right) }
            }),
        ]
    });
    let bound = (-50..50_i128).prop_map(|n| Decimal::new(n, 1).unwrap());
    let finish = (select(vec![None, Some(End::AtLeast), Some(End::AtMost)]), bound, -2..3_i8);
    (plain, prop::collection::vec(finish, 0..3)).prop_map(|(plain, finishes)| {
        finishes.into_iter().fold(plain, |of, (end, bound, decimals)| match end {
            Some(end) => OutputExpression::Clip { of: Box::new(of), end, bound },
            None => OutputExpression::Round { of: Box::new(of), decimals },
        })
    })
}

/// Ways to split an answer.
fn groupings() -> Vec<Vec<Group>> {
    let of = |name: &str| Group::of_column(column(name));
    let named = |name: &str, category| Group { name: name.to_owned(), category };
    let month = |name: &str| named(name, Category::Date { part: DatePart::Month, column: column("visit_date") });
    let costs = RowValue::Clamp {
        of: Box::new(RowValue::Column(column("cost"))),
        low: Decimal::new(5, 1).unwrap(),
        high: Decimal::whole(900),
    };
    let (low, high) = (Decimal::new(-25, 1).unwrap(), Decimal::whole(1_000));
    let bucket = named("Cost band", Category::Bucket { value: costs, low, high, buckets: 7 });
    let holds = |column: &str, op, literal| Predicate::Compare { column: self::column(column), op, literal };
    let either = Predicate::Or(vec![
        holds("region", Comparison::Eq, Literal::Text("R01".into())),
        Predicate::IsNull { column: column("cost") },
    ]);
    let late = holds("visit_year", Comparison::Ge, Literal::Number(Decimal::whole(2_023)));
    let branches = vec![(either, "it's one".to_owned()), (late.clone(), "x".to_owned()), (late, "it's one".to_owned())];
    let case = |otherwise: Option<&str>| Category::Case {
        branches: branches.clone(),
        otherwise: otherwise.map(ToOwned::to_owned),
    };
    vec![
        vec![],
        vec![of("region")],
        vec![of("visit_year"), of("region")],
        vec![of("kind"), of("region")],
        vec![month("month")],
        vec![month("when"), named("case", case(None)), of("kind")],
        vec![bucket, named("a \"b\"", case(Some("rest")))],
        vec![named("again", case(Some("x")))],
    ]
}

/// Groups with no grouping sets, a ROLLUP or a CUBE, each set its places ascending.
fn margins(groups: Vec<Group>) -> impl Strategy<Value = (Vec<Group>, Vec<Vec<usize>>)> {
    let rollup = (0..=groups.len()).map(|length| (0..length).collect()).collect();
    let of = |chosen: usize| (0..groups.len()).filter(|place| chosen >> place & 1 == 1).collect();
    let mut cube: Vec<Vec<usize>> = (0..1_usize << groups.len()).map(of).collect();
    cube.sort();
    let sets = if groups.is_empty() { vec![vec![]] } else { vec![vec![], rollup, cube] };
    (Just(groups), select(sets))
}

prop_compose! {
    fn question()(
        measures in prop::collection::vec(measure(), 1..4),
    )(
        more in prop::collection::vec(expression(measures.len()), 0..3),
        measures in Just(measures),
        filter in prop::option::of(predicate()),
        (group_by, grouping_sets) in select(groupings()).prop_flat_map(margins),
        cut in select(vec![None, Some("2024-Q4"), Some("2024-Q2")]),
        rho in prop::option::of(1..10_000_000_000_u64),
    ) -> AggregateQuery {
        let each = (0..measures.len()).map(OutputExpression::Measure);
        let named = |(n, expression)| Output { name: format!("Output \"{n}\", 'é'"), expression };
        AggregateQuery {
            dataset: DatasetId::new("health.visits").unwrap(),
            joins: Vec::new(),
            on_person: false,
            partial: false,
            cut: cut.map(|cut| CutId::new(cut).unwrap()),
            filter,
            group_by,
            grouping_sets,
            outputs: each.chain(more).enumerate().map(named).collect(),
            measures,
            view: View::default(),
            rho: rho.map(Rho::from_nano),
        }
    }
}

/// The same conditions with every list the other way round.
fn reversed(predicate: &Predicate) -> Predicate {
    match predicate {
        Predicate::And(parts) => Predicate::And(parts.iter().rev().map(reversed).collect()),
        Predicate::Or(parts) => Predicate::Or(parts.iter().rev().map(reversed).collect()),
        Predicate::Not(part) => Predicate::Not(Box::new(reversed(part))),
        Predicate::In { column, literals } => {
            Predicate::In { column: column.clone(), literals: literals.iter().rev().cloned().collect() }
        }
        other => other.clone(),
    }
}

/// The same statement in another hand: lower-case words, odd spaces, comments. Quoted text stays.
fn respelled(sql: &str) -> String {
    let mut quote = None;
    let mut text = String::from("/* ; */ ");
    for ch in sql.chars() {
        match (quote, ch) {
            (None, '\'' | '"') => quote = Some(ch),
            (Some(open), _) if open == ch => quote = None,
            _ => {}
        }
        match (quote, ch) {
            (None, ' ') => text.push_str("\n\t -- 'x'\n"),
            (None, _) => text.extend(ch.to_lowercase()),
            _ => text.push(ch),
        }
    }
    text + " ;;"
}

#[derive(Debug, Clone)]
struct Row {
    region: Option<usize>,
    year: Option<i32>,
    cost: Option<i64>,
    day: Option<NaiveDate>,
}

fn row() -> impl Strategy<Value = Row> {
    let region = prop::option::of(1..=17_usize);
    let cost = prop::option::of(0..=500_000_i64);
    let day = prop::option::of(day().prop_map(|l| match l {
        Literal::Date(day) => day,
        _ => unreachable!(),
    }));
    (region, prop::option::of(2020..=2024), cost, day).prop_map(|(region, year, cost, day)| Row {
        region,
        year,
        cost,
        day,
    })
}

/// SQL's meaning of a condition on plain values, written without the crate's normal form or encodings.
fn meaning(predicate: &Predicate, row: &Row) -> Option<bool> {
    let compare = |column: &ColumnName, op: Comparison, literal: &Literal| {
        let order = match (column.as_str(), literal) {
            ("region", Literal::Text(text)) => format!("R{:02}", row.region?).cmp(text),
            ("visit_year", Literal::Number(year)) => row.year?.cmp(&(year.as_f64() as i32)),
            ("cost", Literal::Number(euros)) => row.cost?.cmp(&((euros.as_f64() * 100.0).round() as i64)),
            ("visit_date", Literal::Date(day)) => row.day?.cmp(day),
            _ => panic!("no such pair"),
        };
        Some(match op {
            Comparison::Eq => order.is_eq(),
            Comparison::Ne => order.is_ne(),
            Comparison::Lt => order.is_lt(),
            Comparison::Le => order.is_le(),
            Comparison::Gt => order.is_gt(),
            Comparison::Ge => order.is_ge(),
        })
    };
    let and = |a: Option<bool>, b: Option<bool>| match (a, b) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    };
    let not = |a: Option<bool>| a.map(|a| !a);
    let or = |a: Option<bool>, b: Option<bool>| not(and(not(a), not(b)));
    match predicate {
        Predicate::And(parts) => parts.iter().map(|p| meaning(p, row)).fold(Some(true), and),
        Predicate::Or(parts) => parts.iter().map(|p| meaning(p, row)).fold(Some(false), or),
        Predicate::Not(part) => not(meaning(part, row)),
        Predicate::Compare { column, op, literal } => compare(column, *op, literal),
        Predicate::In { column, literals } => {
            literals.iter().map(|l| compare(column, Comparison::Eq, l)).fold(Some(false), or)
        }
        Predicate::Between { column, low, high } => {
            and(compare(column, Comparison::Ge, low), compare(column, Comparison::Le, high))
        }
        Predicate::IsNull { column } => Some(match column.as_str() {
            "region" => row.region.is_none(),
            "cost" => row.cost.is_none(),
            _ => row.day.is_none(),
        }),
    }
}

/// A fixed seed, so that every run sees the same cases.
fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(20_241_231),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config(192))]

    #[test]
    fn a_message_and_its_sql_are_the_same_question(query in question()) {
        let sql = to_sql(&query);
        let read = parse_sql(&sql).map_err(|e| TestCaseError::fail(format!("{sql}: {e}")))?;
        prop_assert_eq!(form(&query), form(&read), "{}", sql);
        let contract = visits();
        let (one, two) = (check(&query, &contract).unwrap(), check(&read, &contract).unwrap());
        prop_assert_eq!(one.canonical(), two.canonical());
        prop_assert!(one.primitives() == two.primitives());
        // The outputs mean the same as well.
        let values: Vec<f64> = (1..=one.primitives().len()).map(|n| 37.5 * n as f64).collect();
        let (one, two) = (one.evaluate(&values, &values), two.evaluate(&values, &values));
        let plain = |outputs: &[OutputValue]| outputs.iter().map(|o| (o.value, o.standard_error)).collect::<Vec<_>>();
        prop_assert_eq!(plain(&one), plain(&two), "{}", sql);
        // Ends of intervals to within rounding: `-(-2)` is carried along as two factors, and 2 as one.
        let close = |one: f64, two: f64| one == two || (one - two).abs() <= 1e-9 * one.abs().max(two.abs());
        let same = |one: &OutputValue, two: &OutputValue| match (one.interval, two.interval) {
            (Some(one), Some(two)) => close(one.0, two.0) && close(one.1, two.1),
            (one, two) => one.is_none() && two.is_none(),
        };
        prop_assert!(one.iter().zip(&two).all(|(one, two)| same(one, two)), "{}", sql);
    }

    #[test]
    fn order_and_spelling_do_not_change_the_canonical_form(query in question()) {
        let mut other = query.clone();
        other.filter = other.filter.as_ref().map(reversed);
        other.group_by.reverse();
        let last = other.group_by.len();
        other.grouping_sets.iter_mut().flatten().for_each(|place| *place = last - 1 - *place);
        other.grouping_sets.reverse();
        let count = other.measures.len();
        other.measures.reverse();
        for measure in &mut other.measures {
            measure.filter = measure.filter.as_ref().map(reversed);
            if let Aggregate::Sum(value) | Aggregate::Avg(value) | Aggregate::Spread(_, value) = &mut measure.aggregate {
                *value = mirrored(value);
            }
        }
        other.outputs = (0..count).map(|index| Output {
            name: format!("o{index}"),
            expression: OutputExpression::Measure(index),
        }).collect();
        let wanted = query.canonical();
        prop_assert_eq!(wanted.as_str(), form(&other));
        let sql = respelled(&to_sql(&other));
        let read = parse_sql(&sql).map_err(|e| TestCaseError::fail(format!("{sql}: {e}")))?;
        prop_assert_eq!(wanted.as_str(), form(&read));
        prop_assert_eq!(wanted.digest(), read.canonical().digest());
        let contract = visits();
        let (one, two) = (check(&query, &contract).unwrap(), check(&other, &contract).unwrap());
        prop_assert_eq!(one.canonical(), two.canonical());
        prop_assert!(one.primitives() == two.primitives());
        prop_assert_eq!(one.basis(), two.basis());
        prop_assert_eq!(one.groups(), two.groups());
    }

    #[test]
    fn the_bound_condition_means_on_every_row_what_was_written(filter in predicate(), row in row()) {
        let mut query = parse_sql("SELECT COUNT(*) FROM health.visits").unwrap();
        query.filter = Some(filter.clone());
        let checked = check(&query, &visits()).unwrap();
        let value = |column: &ColumnName| match column.as_str() {
            "region" => row.region.map(|n| BoundValue::Code(n as u16 - 1)),
            "visit_year" => row.year.map(|y| BoundValue::Code((y - 2020) as u16)),
            "cost" => row.cost.map(BoundValue::Number),
            _ => row.day.map(|d| BoundValue::Day(d.num_days_from_ce() - 719_163)),
        };
        prop_assert_eq!(checked.filter().unwrap().holds(&value), meaning(&filter, &row), "{}", to_sql(&query));
    }

    #[test]
    fn two_conditions_with_one_canonical_form_hold_on_the_same_rows(
        one in predicate(), two in predicate(), rows in prop::collection::vec(row(), 24),
    ) {
        let with = |filter: &Predicate| {
            let mut query = parse_sql("SELECT COUNT(*) FROM health.visits").unwrap();
            query.filter = Some(filter.clone());
            query.canonical()
        };
        let differ = rows.iter().any(|row| meaning(&one, row) != meaning(&two, row));
        prop_assert!(!differ || with(&one) != with(&two));
    }

    #[test]
    fn no_text_passes_for_another(one in "[ -~\n]{0,24}", two in "[ -~\n]{0,24}") {
        let with = |texts: Vec<&str>| {
            let mut query = parse_sql("SELECT COUNT(*) FROM health.visits").unwrap();
            let literals = texts.into_iter().map(|text| Literal::Text(text.into())).collect();
            query.filter = Some(Predicate::In { column: column("region"), literals });
            query
        };
        prop_assert_eq!(one == two, with(vec![&one]).canonical() == with(vec![&two]).canonical());
        let pair = with(vec![&one, &two]);
        for between in [" ".to_owned(), " t:".into(), " t0:".into(), format!(" t{}:", two.len())] {
            prop_assert_ne!(pair.canonical(), with(vec![&format!("{one}{between}{two}")]).canonical());
        }
        let read = parse_sql(&to_sql(&pair)).unwrap();
        prop_assert_eq!(read.canonical(), pair.canonical());
    }
}

#[test]
fn different_questions_have_different_canonical_forms() {
    let statements = [
        "SELECT COUNT(*) FROM a",
        "SELECT COUNT(*) FROM b",
        "SELECT COUNT(x) FROM a",
        "SELECT COUNT(DISTINCT x) FROM a",
        "SELECT SUM(x) FROM a",
        "SELECT AVG(x) FROM a",
        "SELECT AVG(x), SUM(x) FROM a",
        "SELECT COUNT(*) FROM a FOR SYSTEM_TIME AS OF '2024'",
        "SELECT COUNT(*) FROM a FOR SYSTEM_TIME AS OF '2025'",
        "SELECT COUNT(*) FROM a SETTINGS rho = 1",
        "SELECT COUNT(*) FROM a SETTINGS rho = 0.1",
        "SELECT COUNT(*) FROM a GROUP BY g",
        "SELECT COUNT(*) FROM a GROUP BY g, h",
        "SELECT COUNT(*) FROM a WHERE x = 1",
        "SELECT COUNT(*) FROM a WHERE x = '1'",
        "SELECT COUNT(*) FROM a WHERE x = DATE '2024-01-01'",
        "SELECT COUNT(*) FROM a WHERE x = '2024-01-01'",
        "SELECT COUNT(*) FROM a WHERE x <> 1",
        "SELECT COUNT(*) FROM a WHERE x < 1",
        "SELECT COUNT(*) FROM a WHERE x IN (1, 2)",
        "SELECT COUNT(*) FROM a WHERE x NOT IN (1, 2)",
        "SELECT COUNT(*) FROM a WHERE x BETWEEN 1 AND 2",
        "SELECT COUNT(*) FROM a WHERE x NOT BETWEEN 1 AND 2",
        "SELECT COUNT(*) FROM a WHERE x IS NULL",
        "SELECT COUNT(*) FROM a WHERE x IS NOT NULL",
        "SELECT COUNT(*) FROM a WHERE x = 1 AND y = 1",
        "SELECT COUNT(*) FROM a WHERE x = 1 OR y = 1",
        "SELECT COUNT(*) FROM a WHERE (x = 1 OR y = 1) AND z = 1",
        "SELECT COUNT(*) FROM a WHERE x = 1 OR (y = 1 AND z = 1)",
        "SELECT COUNT(*) FILTER (WHERE x = 1) FROM a",
        "SELECT COUNT(*) FILTER (WHERE x = 1), COUNT(*) FROM a",
        "SELECT COUNT(*) FROM a WHERE x = 'b)\nmeasure count_rows - where -'",
    ];
    let forms: BTreeSet<String> =
        statements.iter().map(|sql| parse_sql(sql).unwrap().canonical().as_str().to_owned()).collect();
    assert_eq!(forms.len(), statements.len());
}

#[test]
fn one_question_has_one_digest_over_every_cut_and_at_every_price_and_another_has_another() {
    let digest = |sql: &str| parse_sql(sql).unwrap().canonical().digest_of_question();
    let one = digest("SELECT COUNT(*) FROM a WHERE x = 'y\ncut z\nrho 1'");
    for same in [" FOR SYSTEM_TIME AS OF '2024'", " FOR SYSTEM_TIME AS OF '2025'"] {
        for price in ["", " SETTINGS rho = 0.1"] {
            assert_eq!(digest(&format!("SELECT COUNT(*) FROM a{same} WHERE x = 'y\ncut z\nrho 1'{price}")), one);
        }
    }
    for other in [
        "SELECT COUNT(*) FROM b WHERE x = 'y\ncut z\nrho 1'",
        "SELECT COUNT(*) FROM a WHERE x = 'y\ncut z\nrho 2'",
        "SELECT COUNT(*) FROM a WHERE x = 'y\ncut w\nrho 1'",
        "SELECT SUM(x) FROM a WHERE x = 'y\ncut z\nrho 1'",
        "SELECT COUNT(*) FROM a WHERE x = 'y\ncut z\nrho 1' GROUP BY g",
        "SELECT COUNT(*) FROM a",
    ] {
        assert_ne!(digest(other), one, "{other}");
    }
}

#[test]
fn equal_questions_have_one_canonical_form() {
    for (one, two) in [
        ("x = 1 OR x = 2 OR x = 2", "x IN (2, 1)"),
        ("x <> 1 AND NOT x = 2", "x NOT IN (1, 2)"),
        ("x BETWEEN 1 AND 2", "2.0 >= x AND x >= 1e0"),
        ("NOT (x = 1 AND y = 2)", "y <> 2 OR x <> 1"),
        ("(x = 1 AND y = 2) AND z = 3", "z = 3 AND (y = 2 AND x = 1)"),
        ("NOT NOT x IS NULL", "x IS NULL"),
        ("NOT (x NOT BETWEEN 1 AND 2)", "x BETWEEN 1 AND 2"),
        ("x IN (5)", "5 = x"),
    ] {
        let form = |filter: &str| parse_sql(&format!("SELECT COUNT(*) FROM a WHERE {filter}")).unwrap().canonical();
        assert_eq!(form(one).as_str(), form(two).as_str(), "{one}");
    }
}

#[test]
fn the_canonical_form_is_the_one_that_is_signed_and_stored() {
    let sql = "SELECT region, AVG(cost) / 2 AS half, COUNT(*) FILTER (WHERE kind IN ('other', 'emergency')) \
               FROM health.visits WHERE visit_year >= 2022 AND region <> 'R01' GROUP BY region SETTINGS rho = 0.005";
    assert_eq!(
        parse_sql(sql).unwrap().canonical().as_str(),
        "firebreak query format 1\n\
         dataset health.visits\n\
         cut latest\n\
         rho 5000000\n\
         where (and (ne region t3:R01) (ge visit_year n:2022))\n\
         group region\n\
         measure avg cost where -\n\
         measure count_rows - where (in kind t9:emergency t5:other)\n"
    );
}

#[test]
fn every_word_of_the_grammar_can_be_a_name() {
    for word in sqlparser::keywords::ALL_KEYWORDS {
        let word = word.to_ascii_lowercase();
        let Ok(name) = ColumnName::new(word.clone()) else { continue };
        let mut query = parse_sql("SELECT COUNT(*) FROM a.b").unwrap();
        query.dataset = DatasetId::new(format!("a.{word}")).unwrap();
        query.group_by = vec![Group::of_column(name.clone())];
        query.filter = Some(Predicate::And(vec![
            Predicate::IsNull { column: name.clone() },
            Predicate::In { column: name.clone(), literals: vec![Literal::Text(word.clone())] },
        ]));
        query
            .measures
            .push(Measure { aggregate: Aggregate::Sum(RowValue::Column(name.clone())), filter: query.filter.clone() });
        query.measures.push(Measure { aggregate: Aggregate::CountDistinct(name), filter: None });
        query.outputs = (0..3)
            .map(|n| Output { name: format!("{word}{}", "_".repeat(n + 1)), expression: OutputExpression::Measure(n) })
            .collect();
        let sql = to_sql(&query);
        let read = parse_sql(&sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
        assert_eq!(form(&read), form(&query), "{sql}");
        assert!(read.outputs == query.outputs, "{sql}");
    }
}
