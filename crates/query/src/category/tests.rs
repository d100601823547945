use super::*;
use crate::Comparison;

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn of_days(part: DatePart, first: &str, last: &str) -> DateTable {
    part.table(&Domain::Date { first: day(first), last: day(last) }).unwrap()
}

fn label(part: DatePart, of: &str) -> String {
    let table = of_days(part, of, of);
    table.labels[usize::from(table.codes[0])].clone()
}

#[test]
fn the_parts_of_a_day_are_those_of_the_calendar() {
    for (of, wanted) in [
        // A Sunday in the last ISO week of the year before, and a Monday that begins the first of the next.
        ("2023-01-01", ["2023", "2023-Q1", "2023-01", "2022-W52", "1", "1", "52", "7", "1", "1"]),
        ("2024-12-30", ["2024", "2024-Q4", "2024-12", "2025-W01", "4", "12", "1", "1", "30", "365"]),
        // A year of 53 weeks.
        ("2021-01-01", ["2021", "2021-Q1", "2021-01", "2020-W53", "1", "1", "53", "5", "1", "1"]),
        ("2024-02-29", ["2024", "2024-Q1", "2024-02", "2024-W09", "1", "2", "9", "4", "29", "60"]),
        // The last day of a leap year.
        ("2020-12-31", ["2020", "2020-Q4", "2020-12", "2020-W53", "4", "12", "53", "4", "31", "366"]),
        ("1969-07-20", ["1969", "1969-Q3", "1969-07", "1969-W29", "3", "7", "29", "7", "20", "201"]),
    ] {
        for (part, wanted) in DatePart::ALL.into_iter().zip(wanted) {
            assert_eq!(label(part, of), wanted, "{part:?} of {of}");
        }
    }
}

#[test]
fn groups_of_dates_are_declared_in_full_and_in_the_order_of_time() {
    let (first, last) = ("2019-12-15", "2021-03-10");
    let labels = |part| of_days(part, first, last).labels;
    assert_eq!(labels(DatePart::Year), ["2019", "2020", "2021"]);
    let quarters = ["2019-Q4", "2020-Q1", "2020-Q2", "2020-Q3", "2020-Q4", "2021-Q1"];
    assert_eq!(labels(DatePart::Quarter), quarters);
    assert_eq!(labels(DatePart::Month).len(), 16);
    // Whatever the domain covers, there are 4 quarters, 12 months, 53 weeks, 7 days of a week, 31 of a month and 366 of
    // a year.
    let sizes = DatePart::ALL.map(|part| of_days(part, "2024-05-01", "2024-05-02").labels.len());
    assert_eq!(sizes, [1, 1, 1, 1, 4, 12, 53, 7, 31, 366]);
    for part in DatePart::ALL {
        let table = of_days(part, first, last);
        assert_eq!(table.first, i64::from(day(first).to_epoch_days()));
        assert_eq!(table.codes.len(), 452, "one entry a day");
        let sorted = table.labels.is_sorted() || table.labels.iter().all(|label| label.len() <= 3);
        assert!(sorted, "{part:?}");
    }
}

#[test]
fn months_have_the_parts_that_need_no_day() {
    let months = Domain::Month { first: "2020-11".into(), last: "2021-04".into() };
    let quarters = DatePart::Quarter.table(&months).unwrap();
    assert_eq!(quarters.labels, ["2020-Q4", "2021-Q1", "2021-Q2"]);
    assert_eq!((quarters.first, quarters.codes), (0, vec![0, 0, 1, 1, 1, 2]));
    assert!(DatePart::Week.table(&months).is_none());
    for of_days in [DatePart::DayOfWeek, DatePart::DayOfMonth, DatePart::DayOfYear] {
        assert!(of_days.table(&months).is_none(), "{of_days:?}");
    }
    assert!(DatePart::Year.table(&Domain::Integer { min: 0, max: 9 }).is_none());
    let long = |last| DatePart::Week.table(&Domain::Date { first: day("1900-01-01"), last: day(last) });
    assert!(long("2299-12-31").is_some());
    assert!(long("9999-12-31").is_none(), "a last day that stands for none");
}

fn column() -> ColumnName {
    ColumnName::new("x").unwrap()
}

/// The part of one width that holds a number, by trying each: `i` with `low + (i − 1)·width ≤ x < low + i·width`.
fn bucket_by_trial(x: i64, low: i64, high: i64, buckets: i64) -> i64 {
    // In units of 1/buckets, so that every end is a whole number.
    let (x, low, width) = (x * buckets, low * buckets, high - low);
    (0..=buckets).find(|part| x < low + part * width).unwrap_or(buckets + 1)
}

#[test]
fn a_bucket_is_the_part_of_one_width_that_holds_the_value() {
    for (low, high, buckets) in [(0, 10, 5), (-7, 4, 3), (0, 1, 4), (5, 6, 1), (-100, -3, 7)] {
        let of = BoundCategory::Bucket { value: BoundNumber::Column(column()), low, high, buckets };
        for x in -120..=20 {
            let found = of.code(&|_| Some(BoundValue::Number(x))).unwrap();
            assert_eq!(
                i64::from(found),
                bucket_by_trial(x, low, high, buckets.into()),
                "{x} in {low}..{high}/{buckets}"
            );
        }
        assert_eq!(of.code(&|_| None), None, "a missing value is in none");
    }
}

#[test]
fn a_table_gives_the_entry_of_the_value_and_nothing_beyond_its_ends() {
    let table = BoundCategory::Table { column: column(), first: 10, codes: vec![3, 1] };
    let of = |value: Option<BoundValue>| table.code(&|_| value);
    let days = [9, 10, 11, 12, i32::MIN, i32::MAX].map(|day| of(Some(BoundValue::Day(day))));
    assert_eq!(days, [None, Some(3), Some(1), None, None, None]);
    assert_eq!(of(Some(BoundValue::Code(11))), Some(1));
    assert_eq!(of(Some(BoundValue::Number(11))), None);
    assert_eq!(of(None), None);
}

#[test]
fn a_case_takes_the_first_condition_that_holds_and_an_unknown_one_does_not() {
    let above = |value| BoundPredicate::Number { column: column(), op: Comparison::Ge, value };
    let branches = vec![(above(100), 0), (above(10), 1)];
    let of = |otherwise, value: Option<i64>| {
        let case = BoundCategory::Case { branches: branches.clone(), otherwise };
        case.code(&|_| value.map(BoundValue::Number))
    };
    assert_eq!([150, 50, 5].map(|x| of(None, Some(x))), [Some(0), Some(1), None]);
    assert_eq!([150, 50, 5].map(|x| of(Some(2), Some(x))), [Some(0), Some(1), Some(2)]);
    assert_eq!((of(None, None), of(Some(2), None)), (None, Some(2)));
}
