//! A value added up over two agencies' join, as counts of persons by its bins.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops where its own material is wrong")]

use firebreak_domain::{
    Column, ColumnName, Contract, Epsilon, JoinSide, JoinTerms, MAX_JOIN_CELLS, ReasonCode, Refusal,
};
use firebreak_query::{BoundValue, CheckedJoin, OutputValue, check_join, parse_sql};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn enrolments() -> Contract {
    toml::from_str(include_str!("../../../deploy/sample/bundle/contracts/education.enrolments.toml")).unwrap()
}

/// With a measure of its own, which the sample's has not.
fn vaccinations() -> Contract {
    let mut contract: Contract =
        toml::from_str(include_str!("../../../deploy/sample/bundle/contracts/health.vaccinations.toml")).unwrap();
    let hours = enrolments().column("weekly_hours").unwrap().clone();
    contract.columns.push(Column { name: "doses".parse().unwrap(), ..hours });
    contract
}

fn read(sql: &str) -> Result<CheckedJoin, Refusal> {
    let terms = JoinTerms {
        left: "education.enrolments".parse().unwrap(),
        right: "health.vaccinations".parse().unwrap(),
        field: "national_number".parse().unwrap(),
        normaliser: 1,
        epsilon: Epsilon::from_nano(500_000_000),
        semi_honest_join: true,
    };
    check_join(&parse_sql(sql)?, &[enrolments(), vaccinations()], &terms)
}

fn checked(sql: &str) -> CheckedJoin {
    read(sql).unwrap_or_else(|refusal| panic!("{sql}: {refusal}"))
}

fn label(join: &CheckedJoin, side: JoinSide, values: &[(&str, BoundValue)]) -> Option<u16> {
    let value = |name: &ColumnName| values.iter().find(|(known, _)| name.as_str() == *known).map(|(_, value)| *value);
    join.side(side).label(&value)
}

const ON: &str = "FROM education.enrolments e JOIN health.vaccinations v ON PERSON";

#[test]
fn a_sum_is_counted_as_the_question_by_the_bins_is() {
    let sum = checked(&format!("SELECT e.level, v.vaccine, SUM(e.weekly_hours) AS h {ON} GROUP BY e.level, v.vaccine"));
    let by_bins = checked(&format!(
        "SELECT e.level, v.vaccine, WIDTH_BUCKET(e.weekly_hours, 4, 57, 14) AS b, COUNT(*) AS n {ON} GROUP BY e.level, \
         v.vaccine, b"
    ));
    assert_eq!(sum.counted().canonical(), by_bins.counted().canonical());
    assert_eq!(sum.counted().basis(), by_bins.counted().basis());
    assert_eq!((sum.answered().cells(), sum.counted().cells()), (36, 36 * 16));
    assert_eq!((sum.side(JoinSide::Left).labels(), sum.side(JoinSide::Right).labels()), (6 * 16, 6));
    assert_eq!((sum.counted().squared_sensitivities(), sum.counted().l1_sensitivities()), (&[1][..], &[1][..]));
    let groups: Vec<&str> = sum.answered().shown_groups().map(|group| group.name.as_str()).collect();
    assert_eq!(groups, ["level", "vaccine"], "nobody sees the bins");
    let read: Vec<&str> = sum.side(JoinSide::Left).query().columns().iter().map(ColumnName::as_str).collect();
    assert_eq!(read, ["level", "weekly_hours"]);
    let bins = sum.bins().unwrap();
    assert_eq!((bins.count(), bins.rounding(), bins.bounds()), (16, 1.5, (0.0, 60.0)));
    assert!(by_bins.bins().is_none());
    // Of the other side, likewise; and headings of the caller's own meet none of ours.
    let doses = checked(&format!(
        "SELECT EXTRACT(YEAR FROM v.dose_date) AS \"bin 0\", AVG(v.doses) AS \"persons 0\" {ON} GROUP BY \"bin 0\""
    ));
    assert_eq!((doses.side(JoinSide::Left).labels(), doses.side(JoinSide::Right).labels()), (1, 5 * 16));
}

#[test]
fn a_row_has_the_label_of_its_groups_and_bin_and_none_without_the_value() {
    let join = checked(&format!("SELECT e.level, SUM(e.weekly_hours) AS h {ON} GROUP BY e.level"));
    let of = |level: u16, hours: i64| {
        label(&join, JoinSide::Left, &[("level", BoundValue::Code(level)), ("weekly_hours", BoundValue::Number(hours))])
    };
    // A rule stands before any column, so that the level runs fastest.
    assert_eq!((of(0, 0), of(2, 3), of(0, 4)), (Some(0), Some(2), Some(6)));
    assert_eq!((of(5, 56), of(5, 57), of(5, 60)), (Some(14 * 6 + 5), Some(15 * 6 + 5), Some(15 * 6 + 5)));
    assert_eq!(label(&join, JoinSide::Left, &[("level", BoundValue::Code(2))]), None, "no value");
}

/// Persons of both registers: level, hours, vaccine.
type Persons = Vec<(u16, i64, u16)>;

/// What is counted of them, without noise.
fn counts(join: &CheckedJoin, persons: &Persons) -> Vec<f64> {
    let columns = usize::from(join.side(JoinSide::Right).labels());
    let mut counts = vec![0; usize::from(join.side(JoinSide::Left).labels()) * columns];
    for (level, hours, vaccine) in persons {
        let values = [("level", BoundValue::Code(*level)), ("weekly_hours", BoundValue::Number(*hours))];
        let left = label(join, JoinSide::Left, &values).unwrap();
        let right = label(join, JoinSide::Right, &[("vaccine", BoundValue::Code(*vaccine))]).unwrap();
        *counts.get_mut(usize::from(left) * columns + usize::from(right)).unwrap() += 1;
    }
    join.arranged(&counts).unwrap().into_iter().map(|count| count as f64).collect()
}

/// The outputs of each row that is answered.
fn outputs(join: &CheckedJoin, counts: &[f64], deviation: f64) -> Vec<(Vec<String>, Vec<OutputValue>)> {
    let figures = join.figures(vec![counts.to_vec()], &[deviation]);
    let answered = join.answered();
    let row = |row: firebreak_query::CheckedRow| {
        let labels = answered.labels(&row).map(str::to_owned).collect();
        let noise = figures.noise(row.set).unwrap();
        (labels, answered.evaluate_with_tails(&figures.values(row.set, row.cell), noise, 1.0))
    };
    answered.rows().into_iter().map(row).collect()
}

/// By how much the outputs of each row are off at most for the rounding.
fn rounded(join: &CheckedJoin, counts: &[f64]) -> Vec<Vec<f64>> {
    let figures = join.figures(vec![counts.to_vec()], &[1.0]);
    let of_row = |row: firebreak_query::CheckedRow| {
        join.answered().off_by(&figures.values(row.set, row.cell), &figures.roundings(row.cell))
    };
    join.answered().rows().into_iter().map(of_row).collect()
}

/// What each value from 0 to 60 counts with: the middle of all that share its label.
fn middles(join: &CheckedJoin) -> Vec<f64> {
    let of = |hours: i64| {
        let values = [("level", BoundValue::Code(0)), ("weekly_hours", BoundValue::Number(hours))];
        label(join, JoinSide::Left, &values).unwrap()
    };
    let mut bins: BTreeMap<u16, (i64, i64)> = BTreeMap::new();
    for hours in 0..=60 {
        let ends = bins.entry(of(hours)).or_insert((hours, hours));
        ends.1 = hours;
    }
    (0..=60).map(|hours| bins.get(&of(hours)).unwrap()).map(|(low, high)| (low + high) as f64 / 2.0).collect()
}

fn code(contract: &Contract, column: &str, code: &str) -> u16 {
    let codes = contract.column(column).unwrap().domain.codes();
    u16::try_from(codes.iter().position(|known| known == code).unwrap()).unwrap()
}

fn near(found: Option<f64>, wanted: f64) -> bool {
    found.is_some_and(|found| (found - wanted).abs() <= 1e-6 * wanted.abs().max(1.0))
}

const BY_BOTH: &str = "SELECT e.level, v.vaccine, SUM(e.weekly_hours) AS hours, COUNT(e.weekly_hours) AS n, \
                       AVG(e.weekly_hours) AS mean FROM education.enrolments e JOIN health.vaccinations v ON PERSON \
                       GROUP BY e.level, v.vaccine";

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn without_noise_a_sum_is_that_of_the_middles_and_off_by_the_rounding_at_most(
        persons in prop::collection::vec((0_u16..6, 0_i64..=60, 0_u16..6), 0..200)
    ) {
        let join = checked(BY_BOTH);
        let (middles, rounding) = (middles(&join), join.bins().unwrap().rounding());
        // A question with SUM alone adds up around 0, and one with counts or means around the centre.
        let alone = checked(&BY_BOTH.replace(", COUNT(e.weekly_hours) AS n, AVG(e.weekly_hours) AS mean", ""));
        let off = rounded(&join, &counts(&join, &persons));
        let (found, direct) = (outputs(&join, &counts(&join, &persons), 2.0), outputs(&alone, &counts(&alone, &persons), 2.0));
        prop_assert_eq!(found.len(), 36);
        for (((labels, outputs), (same, direct)), off) in found.iter().zip(&direct).zip(&off) {
            let cell = (code(&enrolments(), "level", &labels[0]), code(&vaccinations(), "vaccine", &labels[1]));
            let here: Vec<i64> = persons.iter().filter(|p| (p.0, p.2) == cell).map(|p| p.1).collect();
            let binned: f64 = here.iter().map(|hours| middles[usize::try_from(*hours).unwrap()]).sum();
            let (truth, n) = (here.iter().sum::<i64>() as f64, here.len() as f64);
            let [sum, count, mean] = outputs.as_slice() else { panic!("three outputs") };
            prop_assert!(near(sum.value, binned) && near(count.value, n), "{:?} {:?}", labels, outputs);
            prop_assert!((binned - truth).abs() <= off[0] + 1e-9 && off[0] <= rounding * n + 1e-9);
            prop_assert!(off[1] == 0.0 && (n == 0.0 || off[2] <= rounding + 1e-9), "{:?}", off);
            prop_assert!(n == 0.0 || (binned - truth).abs() / n <= off[2] + 1e-9);
            let mean_is_due = if n > 0.0 { near(mean.value, binned / n) } else { mean.value.is_none() };
            prop_assert!(mean_is_due, "{:?} {:?}", labels, outputs);
            prop_assert_eq!(labels, same);
            prop_assert!(near(direct[0].value, binned) && near(direct[0].standard_error, sum.standard_error.unwrap()));
        }
    }
}

#[test]
fn the_error_of_what_is_added_up_is_that_of_every_count_beneath_it() {
    let join = checked(
        "SELECT e.level, v.vaccine, SUM(e.weekly_hours) AS hours, COUNT(e.weekly_hours) AS n, AVG(e.weekly_hours) AS mean, \
         SUM(e.weekly_hours) / SUM(SUM(e.weekly_hours)) OVER () AS share, SUM(SUM(e.weekly_hours)) OVER (PARTITION BY \
         level) - 3 * COUNT(e.weekly_hours) AS mixed FROM education.enrolments e JOIN health.vaccinations v ON PERSON \
         GROUP BY e.level, v.vaccine",
    );
    let deviation = 1.9;
    let persons = (0..3_000).map(|n| (n % 6, i64::from(n * 7 % 61), n / 6 % 6)).collect();
    let counts = counts(&join, &persons);
    let base = outputs(&join, &counts, deviation);
    // By hand: each count has noise of its own, and moves each output by its slope.
    let mut variances = vec![vec![0.0; 5]; base.len()];
    for cell in 0..counts.len() {
        let moved = |by: f64| {
            let mut counts = counts.clone();
            counts[cell] += by;
            outputs(&join, &counts, deviation)
        };
        for ((variances, (_, up)), (_, down)) in variances.iter_mut().zip(moved(0.5)).zip(moved(-0.5)) {
            for ((variance, up), down) in variances.iter_mut().zip(up).zip(down) {
                *variance += (deviation * (up.value.unwrap() - down.value.unwrap())).powi(2);
            }
        }
    }
    for (variances, (labels, outputs)) in variances.iter().zip(&base) {
        for (place, (variance, output)) in variances.iter().zip(outputs).enumerate() {
            let (found, wanted) = (output.standard_error.unwrap(), variance.sqrt());
            assert!((found / wanted - 1.0).abs() < 1e-3, "{labels:?}, {place}: {found} is not {wanted}");
        }
    }
    // Of a sum it is told before anything is counted.
    let foreseen = join.bins().unwrap().deviation_of_sum(deviation);
    let middles: BTreeMap<u64, f64> = middles(&join).into_iter().map(|middle| (middle.to_bits(), middle)).collect();
    let by_hand = deviation * middles.values().map(|middle| middle * middle).sum::<f64>().sqrt();
    assert!((foreseen - by_hand).abs() < 1e-9 && near(base[0].1[0].standard_error, foreseen));
}

#[test]
fn the_rounding_of_totals_and_of_what_is_worked_out_is_that_of_all_that_they_add_up() {
    let join = checked(&format!(
        "SELECT e.level, v.vaccine, SUM(SUM(e.weekly_hours)) OVER (PARTITION BY vaccine) AS total, 10 - 2 * \
         SUM(e.weekly_hours) AS twice, SUM(e.weekly_hours) / SUM(COUNT(e.weekly_hours)) OVER () AS share {ON} GROUP BY \
         e.level, v.vaccine"
    ));
    let persons: Persons = (0..1200).map(|n| (n % 6, i64::from(n * 7 % 61), n / 6 % 6)).collect();
    let (counts, middles) = (counts(&join, &persons), middles(&join));
    // Of three values a bin is off by 1 at most, and of four by 1.5.
    let width = |hours: usize| middles.iter().filter(|middle| **middle == middles[hours]).count();
    let most = |persons: &mut dyn Iterator<Item = &(u16, i64, u16)>| -> f64 {
        persons.map(|person| (width(usize::try_from(person.1).unwrap()) - 1) as f64 / 2.0).sum()
    };
    for ((labels, _), off) in outputs(&join, &counts, 1.0).iter().zip(rounded(&join, &counts)) {
        let cell = (code(&enrolments(), "level", &labels[0]), code(&vaccinations(), "vaccine", &labels[1]));
        let [total, twice, share] = off.as_slice() else { panic!("three outputs") };
        let own = most(&mut persons.iter().filter(|p| (p.0, p.2) == cell));
        assert!(own > 0.0 && near(Some(*total), most(&mut persons.iter().filter(|p| p.2 == cell.1))), "{labels:?}");
        assert!(near(Some(*twice), 2.0 * own) && near(Some(*share), own / 1200.0), "{labels:?}: {off:?}");
    }
    // Noise makes no rounding less than nothing.
    assert!(rounded(&join, &vec![-1.0; counts.len()]).iter().flatten().all(|off| *off == 0.0));
}

/// Bins that stand among the groups and not behind them, of the other side.
#[test]
fn a_sum_is_the_same_wherever_its_bins_stand_among_the_groups() {
    let select = "SELECT WIDTH_BUCKET(e.weekly_hours, 0, 60, 3) AS part, v.vaccine, SUM(v.doses) AS doses";
    let join = checked(&format!("{select} {ON} GROUP BY part, v.vaccine"));
    assert_eq!((join.answered().cells(), join.counted().cells()), (5 * 6, 5 * 6 * 16));
    // Doses have the bounds of hours, and so their bins.
    let middles = middles(&checked(&format!("SELECT SUM(e.weekly_hours) AS h {ON}")));
    let persons: Vec<(i64, i64, u16)> = (0..900).map(|n| (n * 7 % 61, n * 13 % 61, (n % 6) as u16)).collect();
    let columns = usize::from(join.side(JoinSide::Right).labels());
    let mut counts = vec![0; usize::from(join.side(JoinSide::Left).labels()) * columns];
    for (hours, doses, vaccine) in &persons {
        let left = label(&join, JoinSide::Left, &[("weekly_hours", BoundValue::Number(*hours))]).unwrap();
        let right = [("vaccine", BoundValue::Code(*vaccine)), ("doses", BoundValue::Number(*doses))];
        let right = label(&join, JoinSide::Right, &right).unwrap();
        counts[usize::from(left) * columns + usize::from(right)] += 1;
    }
    let counts: Vec<f64> = join.arranged(&counts).unwrap().into_iter().map(|count| count as f64).collect();
    let found = outputs(&join, &counts, 1.0);
    assert_eq!(found.len(), 30);
    let mut parts: Vec<&str> = found.iter().map(|(labels, _)| labels[0].as_str()).collect();
    parts.dedup();
    assert_eq!(parts.len(), 5, "rows are in the order of the declared values: {parts:?}");
    // Below 0, three parts of twenty hours, and 60.
    let part_of = |hours: i64| parts[usize::try_from(hours / 20 + 1).unwrap()];
    for (labels, outputs) in &found {
        let vaccine = code(&vaccinations(), "vaccine", &labels[1]);
        let here = persons.iter().filter(|(hours, _, of)| part_of(*hours) == labels[0] && *of == vaccine);
        let binned: f64 = here.map(|(_, doses, _)| middles[usize::try_from(*doses).unwrap()]).sum();
        assert!(near(outputs[0].value, binned), "{labels:?}: {outputs:?} is not {binned}");
    }
    assert!(found.iter().filter(|(_, outputs)| outputs[0].value > Some(0.0)).count() > 18, "too little is added up");
}

#[test]
fn few_values_are_added_up_as_they_are() {
    let join = checked(&format!("SELECT v.vaccine, SUM(CLAMP(e.weekly_hours, 20, 35)) AS h {ON} GROUP BY v.vaccine"));
    assert_eq!((join.bins().unwrap().count(), join.bins().unwrap().rounding()), (16, 0.0));
    let persons: Persons = (0..61).map(|hours| (0, hours, 3)).collect();
    let found = outputs(&join, &counts(&join, &persons), 1.0);
    let truth: i64 = (0..61_i64).map(|hours| hours.clamp(20, 35)).sum();
    let place = usize::from(code(&vaccinations(), "vaccine", &found[3].0[0]));
    assert!(place == 3 && near(found[3].1[0].value, truth as f64), "{found:?}");
    assert!(found.iter().enumerate().all(|(row, (_, outputs))| row == 3 || near(outputs[0].value, 0.0)));
}

#[test]
fn a_value_with_decimals_is_added_up_in_its_own_unit() {
    let join = checked(&format!("SELECT SUM(0.25 * e.weekly_hours - 1) AS x, COUNT(e.weekly_hours) AS n {ON}"));
    let bins = join.bins().unwrap();
    // 1,501 hundredths in 16 bins of 94 at most.
    assert_eq!((bins.count(), bins.rounding(), bins.bounds()), (16, 0.465, (-1.0, 14.0)));
    let persons: Persons = (0..610).map(|n| (0, n % 61, 3)).collect();
    let truth: f64 = persons.iter().map(|person| 0.25 * person.1 as f64 - 1.0).sum();
    let found = outputs(&join, &counts(&join, &persons), 1.0)[0].1[0];
    let off = (found.value.unwrap() - truth).abs();
    assert!(off > 0.0 && off <= 610.0 * bins.rounding(), "{off}");
    assert!(near(found.standard_error, bins.deviation_of_sum(1.0)));
}

#[test]
fn what_a_join_does_not_add_up_is_refused_with_what_it_does() {
    let refused = |select: &str, rest: &str, reason: ReasonCode, words: &str| {
        let sql = format!("SELECT {select} {ON} {rest}");
        let refusal = read(&sql).map(drop).unwrap_err();
        assert_eq!(refusal.reason, reason, "{sql}: {refusal}");
        assert!(refusal.to_string().contains(words), "{sql}: {refusal}");
        assert!(read(refusal.suggestion.as_deref().unwrap()).is_ok(), "{sql}");
    };
    use ReasonCode as R;
    refused("SUM(e.weekly_hours * v.doses) AS x", "", R::UnsupportedAggregate, "a value of both is never put together");
    refused("SUM(e.weekly_hours) AS x, SUM(v.doses) AS y", "", R::UnsupportedAggregate, "one value");
    refused("SUM(e.weekly_hours) AS x, AVG(e.weeks) AS y", "", R::UnsupportedAggregate, "one value");
    refused("SUM(e.weekly_hours) AS x, COUNT(*) AS n", "", R::UnsupportedAggregate, "COUNT(column)");
    refused("SUM(e.weekly_hours) AS x, COUNT(v.vaccine) AS n", "", R::UnsupportedAggregate, "COUNT(column) stands");
    refused("SUM(e.weekly_hours) FILTER (WHERE e.level = 'primary') AS x", "", R::UnsupportedAggregate, "WHERE");
    let by_bins = "WIDTH_BUCKET(e.weekly_hours, 4, 57, 14) AS b, SUM(e.weekly_hours) AS x";
    refused(by_bins, "GROUP BY b", R::UnsupportedAggregate, "ask COUNT(*) by them");
    refused("STDDEV(e.weekly_hours) AS x", "", R::UnsupportedAggregate, "SUM and AVG of one value");
    // Codes have no bounds as numbers, and identifiers none at all.
    refused("SUM(e.level) AS x", "", R::NotMeasurable, "level");
    refused("SUM(v.dose_date) AS x", "", R::NotMeasurable, "dose_date");
    refused("SUM(e.national_number) AS x", "", R::IdentifierColumn, "national_number");
    // 17 regions on either side are 289 cells, and 4,624 with the bins.
    let by_regions = "GROUP BY e.region, v.region";
    refused("e.region, v.region, SUM(e.weekly_hours) AS x", by_regions, R::TooManyGroups, "bins");
    let counted = format!("SELECT e.region, v.region, COUNT(*) AS n {ON} {by_regions}");
    assert!(289 <= MAX_JOIN_CELLS && read(&counted).is_ok());
}
