use super::super::{JoinList, ListSide, count, points};
use super::*;
use crate::{ObservationStatus, UNRELIABLE_ABOVE};
use firebreak_domain::{Contract, Epsilon, JoinSide, JoinTerms};
use firebreak_query::{INTERVAL_95, check_join, parse_sql};

const ENROLMENTS: &str = include_str!("../../../../deploy/sample/bundle/contracts/education.enrolments.toml");
const VACCINATIONS: &str = include_str!("../../../../deploy/sample/bundle/contracts/health.vaccinations.toml");
const BY_BOTH: &str = "SELECT e.level, v.vaccine, COUNT(*) AS n FROM education.enrolments e JOIN health.vaccinations \
                       v ON PERSON GROUP BY e.level, v.vaccine";

fn asked(sql: &str, epsilon: f64) -> CheckedJoin {
    let contracts: Vec<Contract> = [ENROLMENTS, VACCINATIONS].map(|text| toml::from_str(text).unwrap()).into();
    let terms = JoinTerms {
        left: "education.enrolments".parse().unwrap(),
        right: "health.vaccinations".parse().unwrap(),
        field: "national_number".parse().unwrap(),
        normaliser: 1,
        epsilon: Epsilon::at_least(epsilon).unwrap(),
        semi_honest_join: true,
    };
    check_join(&parse_sql(sql).unwrap(), &contracts, &terms).unwrap()
}

/// What is counted where `met` points of both lists have labels `i` and `j`, lists having as many persons as dummies do not
/// make up for.
fn counted(join: &CheckedJoin, law: &DummyLaw, met: impl Fn(u64, u64) -> u64) -> JoinCells {
    let [rows, columns] = JoinSide::BOTH.map(|side| u64::from(join.side(side).labels()));
    let most = u64::from(law.most());
    let (mut left, mut right) = (Vec::new(), Vec::new());
    let point = |kind: u8, number: u64, label: u64| {
        let mut bytes = [0_u8; 34];
        bytes[0] = kind;
        bytes[1..9].copy_from_slice(&number.to_be_bytes());
        bytes[32..].copy_from_slice(&u16::try_from(label).unwrap().to_be_bytes());
        bytes
    };
    let (mut of_left, mut of_right) = (vec![0; rows as usize], vec![0; columns as usize]);
    let mut number = 0;
    for (i, j) in (0..rows).flat_map(|i| (0..columns).map(move |j| (i, j))) {
        for _ in 0..met(i, j) {
            left.push(point(1, number, i));
            right.push(point(1, number, j));
            of_left[i as usize] += 1;
            of_right[j as usize] += 1;
            number += 1;
        }
    }
    let persons = |found: &[u64], dummies: u64| found.iter().map(|n| n.saturating_sub(dummies)).collect::<Vec<_>>();
    let own = [persons(&of_left, most * columns), persons(&of_right, most * rows)];
    for (list, kind, found, due) in [(&mut left, 2, &of_left, most * columns), (&mut right, 3, &of_right, most * rows)]
    {
        for (label, found) in (0_u64..).zip(found) {
            for _ in *found..due {
                list.push(point(kind, number, label));
                number += 1;
            }
        }
    }
    let (left, right) = (left.concat(), right.concat());
    let read = |side, bytes| points(side, bytes).unwrap();
    count(
        law,
        JoinList { points: read(ListSide::Left, &left), own_sizes: &own[0] },
        JoinList { points: read(ListSide::Right, &right), own_sizes: &own[1] },
    )
    .unwrap()
}

fn by_law() -> JoinTakers {
    JoinTakers { purpose: "health-planning".parse().unwrap(), by_consent: false }
}

#[test]
fn either_register_is_charged_the_square_of_epsilon_over_two_and_a_delta() {
    let price = join_price(&asked(BY_BOTH, 1.0), by_law()).unwrap();
    assert_eq!((price.charge().rho.nano(), price.charge().epsilon.nano()), (500_000_000, 0));
    assert!(2 * price.charge().delta.atto() <= 1_000_000_000);
    let dearer = join_price(&asked(BY_BOTH, 1.0), by_law()).unwrap();
    let cheaper = join_price(&asked(BY_BOTH, 0.5), by_law()).unwrap();
    assert_eq!(dearer.release_key(), price.release_key());
    assert_ne!(cheaper.release_key(), price.release_key(), "another loss is another release");
    assert_eq!(cheaper.charge().rho.nano(), 125_000_000);
    assert!(cheaper.deviation() > price.deviation());
}

#[test]
fn persons_who_take_part_by_other_choices_are_another_release() {
    let key = |takers| join_price(&asked(BY_BOTH, 1.0), takers).unwrap().release_key();
    let consented = JoinTakers { by_consent: true, ..by_law() };
    let elsewhere = JoinTakers { purpose: "school-planning".parse().unwrap(), ..by_law() };
    assert_ne!(key(by_law()), key(consented), "who never consented is in what consent is asked for");
    assert_ne!(key(by_law()), key(elsewhere), "who objects to a purpose is in what is given for it");
}

#[test]
fn a_release_answers_the_question_with_the_error_of_both_sides_dummies() {
    let join = asked(BY_BOTH, 1.0);
    let price = join_price(&join, by_law()).unwrap();
    let most = u64::from(price.law().most());
    // The most that fits: 42 points of each pair of labels.
    let cells = counted(&join, price.law(), |i, j| if i == 2 && j == 5 { 30 } else { most });
    let released = price.release(&join, &cells).unwrap();
    assert_eq!(released.mechanism(), Mechanism::MatchingDummies);
    assert_eq!(released.charge(), price.charge());
    let again = Released::decode(&released.encode()).unwrap();
    assert_eq!(again, released);
    let answer = again.answer(join.answered()).unwrap();
    assert_eq!(answer.rows.len(), 36);
    for row in &answer.rows {
        let found = row.outputs[0];
        let due = if row.groups == ["lower_secondary", "FLU"] { -12.0 } else { 0.0 };
        assert_eq!(found.value, Some(due), "{:?}", row.groups);
        assert!((found.standard_error.unwrap() - 1.919).abs() < 0.001);
        let (low, high) = found.interval.unwrap();
        assert!(((high - low) / 2.0 - 1.05 * INTERVAL_95 * 1.919).abs() < 0.01, "{low} to {high}");
    }
    // Of another question nothing is released.
    let other = asked(
        "SELECT e.level, COUNT(*) FROM education.enrolments e JOIN health.vaccinations v ON PERSON GROUP BY e.level",
        1.0,
    );
    assert_eq!(price.release(&other, &cells), Err(OtherJoin));
    assert_eq!(join_price(&other, by_law()).unwrap().release(&other, &cells), Err(OtherJoin));
    assert!(released.answer(other.answered()).is_err());
}

#[test]
fn a_sum_follows_from_the_release_of_the_counts_by_its_bins() {
    let of = |select: &str, by: &str| {
        let from = "FROM education.enrolments e JOIN health.vaccinations v ON PERSON GROUP BY v.vaccine";
        asked(&format!("SELECT v.vaccine, {select} {from}{by}"), 1.0)
    };
    let sum = of("SUM(e.weekly_hours) AS hours", "");
    let by_bins = of("WIDTH_BUCKET(e.weekly_hours, 4, 57, 14) AS bin, COUNT(*) AS n", ", bin");
    let price = join_price(&sum, by_law()).unwrap();
    let most = u64::from(price.law().most());
    // Of the third bin and the second vaccine there are three fewer than none, as noise may have it.
    let cells = counted(&sum, price.law(), |i, j| if (i, j) == (2, 1) { most - 3 } else { most });
    assert_eq!(price.release_key(), join_price(&by_bins, by_law()).unwrap().release_key(), "one release answers both");
    let released = price.release(&sum, &cells).unwrap();
    assert_eq!(join_price(&by_bins, by_law()).unwrap().release(&by_bins, &cells).unwrap(), released);
    assert_eq!(price.charge(), join_price(&asked(BY_BOTH, 1.0), by_law()).unwrap().charge(), "bins cost nothing");
    let answer = released.answer_join(&sum).unwrap();
    assert_eq!((answer.group_columns.as_slice(), answer.rows.len()), (["vaccine".to_owned()].as_slice(), 6));
    let deviation = sum.bins().unwrap().deviation_of_sum(price.deviation());
    // Hours 8 to 11, whose middle is 9.5.
    for (row, due) in answer.rows.iter().zip([0.0, -3.0 * 9.5, 0.0, 0.0, 0.0, 0.0]) {
        let found = row.outputs[0];
        assert_eq!(found.value, Some(due), "{:?}", row.groups);
        assert!((found.standard_error.unwrap() - deviation).abs() < 1e-6);
        let (low, high) = found.interval.unwrap();
        assert!(((high - low) / 2.0 / deviation - 1.05 * INTERVAL_95).abs() < 0.01, "{low} to {high}");
    }
    assert_eq!(answer, released.answer_join(&of("SUM(e.weekly_hours) AS hours", "")).unwrap());
    assert_eq!(released.answer_join(&by_bins).unwrap().rows.len(), 6 * 16);
    assert!(released.answer_join(&asked(BY_BOTH, 1.0)).is_err(), "it is of another question");
    assert!(released.answer(sum.answered()).is_err(), "the bins are not what is answered");
}

#[test]
fn what_is_rounded_too_much_is_unreliable_however_little_noise_it_has() {
    let from = "FROM education.enrolments e JOIN health.vaccinations v ON PERSON GROUP BY v.vaccine";
    let of = |value: &str| asked(&format!("SELECT v.vaccine, SUM({value}) AS s, AVG({value}) AS m {from}"), 1.0);
    let answer = |sum: &CheckedJoin, bin: u64| {
        let price = join_price(sum, by_law()).unwrap();
        let most = u64::from(price.law().most());
        let cells = counted(sum, price.law(), |i, j| if (i, j) == (bin, 1) { most + 2_000 } else { most });
        price.release(sum, &cells).unwrap().answer_join(sum).unwrap().rows[1].outputs.clone()
    };
    // Of 2,000 persons with 0 to 3 hours, a sum of 3,000 that may be anything from 0 to 6,000.
    let hours = of("e.weekly_hours");
    for figure in answer(&hours, 0) {
        let error = figure.standard_error.unwrap() / figure.value.unwrap();
        assert!(error < UNRELIABLE_ABOVE && figure.status == ObservationStatus::Unreliable, "{figure:?}");
    }
    // With 39 to 41 the rounding is little.
    assert!(answer(&hours, 10).iter().all(|figure| figure.status == ObservationStatus::Normal));
    // Values from 1 to 16 are a bin each, and nothing is rounded.
    let few = of("CLAMP(e.weekly_hours, 1, 16)");
    assert_eq!(few.bins().unwrap().rounding(), 0.0);
    assert!(answer(&few, 0).iter().all(|figure| figure.status == ObservationStatus::Normal), "{:?}", answer(&few, 0));
}

#[test]
fn a_sum_is_shown_ordered_and_cut_like_any_other_figure() {
    let of = |view: &str| {
        let from = "FROM education.enrolments e JOIN health.vaccinations v ON PERSON GROUP BY v.vaccine";
        asked(&format!("SELECT v.vaccine, SUM(e.weekly_hours) AS hours {from}{view}"), 1.0)
    };
    let whole = of("");
    let price = join_price(&whole, by_law()).unwrap();
    let most = u64::from(price.law().most());
    let cells = counted(&whole, price.law(), |i, j| if i == 10 { most + 100 * j } else { most });
    let released = price.release(&whole, &cells).unwrap();
    let shown = |view: &str| {
        let join = of(view);
        assert_eq!(
            join_price(&join, by_law()).unwrap().release_key(),
            price.release_key(),
            "{view} is another release"
        );
        let rows = released.answer_join(&join).unwrap().rows;
        rows.into_iter().map(|row| row.outputs[0].value.unwrap()).collect::<Vec<_>>()
    };
    // Hours 39 to 41, whose middle is 40, of 0 to 500 persons.
    let all: Vec<f64> = (0..6).map(|n| 4_000.0 * f64::from(n)).collect();
    assert_eq!(shown(""), all);
    assert_eq!(shown(" HAVING SUM(e.weekly_hours) > 10000"), all[3..]);
    assert_eq!(shown(" ORDER BY hours DESC LIMIT 2"), [all[5], all[4]]);
    assert_eq!(shown(" HAVING hours < 10000 ORDER BY hours DESC LIMIT 1 OFFSET 1"), [all[1]]);
}

#[test]
fn an_interval_covers_the_dummies_of_nineteen_runs_in_twenty_but_for_their_steps() {
    for epsilon in [0.05, 0.1, 0.25, 0.5, 0.75, 1.0] {
        let law = DummyLaw::new(Epsilon::at_least(epsilon).unwrap()).unwrap();
        let half = crate::accuracy::tails(Mechanism::MatchingDummies) * INTERVAL_95 * law.deviation();
        // Whole numbers within the interval: one more step is always enough, and at small ε the interval itself is.
        let enough = f64::from(law.half_width(0.95));
        assert!(half > enough - 1.0 && half < enough + 2.0, "{epsilon}: {half} beside {enough}");
        if epsilon <= 0.1 {
            assert!((half / enough - 1.0).abs() < 0.04, "{epsilon}: {half} beside {enough}");
        }
    }
}
