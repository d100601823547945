//! What changed from one release to another, from what is released alone.

use super::{ClientError, QueryAnswer};
use firebreak_domain::Mechanism;
use firebreak_privacy::compared;
use firebreak_query::Arithmetic::{Divide, Subtract};
use firebreak_wire::query::v1::{Accepted, Estimate, OutputColumn, Released, Row};
use firebreak_wire::{charge_from_wire, charge_to_wire, estimate_to_wire};
use std::collections::BTreeMap;

/// By how much, and by what factor, each figure of a later release differs from that of an earlier one of the same
/// question, over another cut or at another price. The noise of two releases is independent, so the error of a
/// difference is the root of the sum of both variances, and the interval of a factor Fieller's. Of a figure that
/// nothing bounds, and which so has no interval, neither the difference nor the factor has one. It costs nothing
/// more.
///
/// A row that one of them does not show, for its HAVING or LIMIT, is not computable. The release id is both, `EARLIER
/// to LATER`, and so is the cut; the receipt is the later one's.
///
/// # Errors
/// [`ClientError::Compared`]: they are of other questions, groups or headings, or are one and the same.
pub fn changes(earlier: &QueryAnswer, later: &QueryAnswer) -> Result<QueryAnswer, ClientError> {
    if earlier.released.release_id == later.released.release_id {
        return Err(ClientError::Compared("a release does not differ from itself: name an earlier one"));
    }
    let headings = |answer: &QueryAnswer| -> Vec<String> {
        answer.accepted.columns.iter().map(|column| column.name.clone()).collect()
    };
    let question = |answer: &QueryAnswer| (answer.accepted.dataset.clone(), answer.accepted.question.clone());
    if question(earlier) != question(later) || later.accepted.question.is_empty() {
        return Err(ClientError::Compared(
            "the releases are not known to be of one question: compare two answers of one FROM, WHERE, GROUP BY and \
             SELECT list, over two cuts or at two prices",
        ));
    }
    if earlier.accepted.groups != later.accepted.groups || headings(earlier) != headings(later) {
        return Err(ClientError::Compared(
            "the releases have other groups or headings: compare two answers that name them alike and in one order",
        ));
    }
    let finished = |answer: &QueryAnswer| {
        let columns = &answer.accepted.columns;
        columns.iter().any(|c| c.rounded.is_some() || c.at_least.is_some() || c.at_most.is_some())
    };
    if finished(earlier) || finished(later) {
        return Err(ClientError::Compared(
            "nothing is worked out from rounded or clipped figures: compare answers of the question without ROUND, \
             GREATEST and LEAST",
        ));
    }
    // Of two that differ, the one with the heavier tails.
    let wider = [Mechanism::DiscreteLaplace, Mechanism::MatchingDummies];
    let is_of =
        |mechanism: &Mechanism| [earlier, later].iter().any(|answer| answer.accepted.mechanism == mechanism.as_str());
    let mechanism = wider.into_iter().find(is_of).unwrap_or(Mechanism::DiscreteGaussian);
    let before: BTreeMap<&[String], &[Estimate]> =
        earlier.rows.iter().map(|row| (row.groups.as_slice(), row.estimates.as_slice())).collect();
    let mut rows: Vec<Row> = later
        .rows
        .iter()
        .map(|row| {
            let then = before.get(row.groups.as_slice()).copied().unwrap_or_default();
            let pair = |(place, now): (usize, &Estimate)| change(mechanism, then.get(place), Some(now));
            let estimates = row.estimates.iter().enumerate().flat_map(pair).collect();
            Row { groups: row.groups.clone(), estimates }
        })
        .collect();
    let shown: Vec<&[String]> = later.rows.iter().map(|row| row.groups.as_slice()).collect();
    let gone = earlier.rows.iter().filter(|row| !shown.contains(&row.groups.as_slice())).map(|row| {
        let estimates = row.estimates.iter().flat_map(|then| change(mechanism, Some(then), None)).collect();
        Row { groups: row.groups.clone(), estimates }
    });
    rows.extend(gone);
    let column = |name: String| OutputColumn { name, ..OutputColumn::default() };
    let two = |name: String| [column(format!("{name}_change")), column(format!("{name}_factor"))];
    let cost = |answer: &QueryAnswer| charge_from_wire(answer.accepted.cost.as_ref());
    let cost = cost(earlier).plus(cost(later)).map_err(|_| ClientError::Answer("a cost beyond any budget"))?;
    let both = |of: fn(&QueryAnswer) -> &str| format!("{} to {}", of(earlier), of(later));
    Ok(QueryAnswer {
        accepted: Accepted {
            cost: Some(charge_to_wire(cost)),
            cut: both(|answer| &answer.accepted.cut),
            columns: headings(later).into_iter().flat_map(two).collect(),
            ..later.accepted.clone()
        },
        rows,
        released: Released {
            release_id: both(|answer| &answer.released.release_id),
            estimand: format!(
                "the later release less the earlier, and the later over the earlier; {}",
                later.released.estimand
            ),
            ..later.released.clone()
        },
    })
}

/// The difference and the factor.
fn change(mechanism: Mechanism, then: Option<&Estimate>, now: Option<&Estimate>) -> [Estimate; 2] {
    // PRIVACY.md, section 8: a standard error alone bounds nothing where what is divided by may be 0.
    let figure = |estimate: Option<&Estimate>| {
        let bounded = |e: &Estimate| e.standard_error.filter(|_| e.lower.is_some() && e.upper.is_some());
        estimate.and_then(|e| Some((e.value?, bounded(e))))
    };
    let of = |op| estimate_to_wire(&compared(op, mechanism, figure(now), figure(then)));
    [of(Subtract), of(Divide)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use firebreak_wire::estimate_status;

    fn answer(id: &str, rows: &[(&str, f64, f64)]) -> QueryAnswer {
        let row = |(group, value, error): &(&str, f64, f64)| Row {
            groups: vec![(*group).to_owned()],
            estimates: vec![Estimate {
                value: Some(*value),
                standard_error: Some(*error),
                lower: Some(value - 1.959_964 * error),
                upper: Some(value + 1.959_964 * error),
                ..Estimate::default()
            }],
        };
        let columns = vec![OutputColumn { name: "visits".into(), ..OutputColumn::default() }];
        QueryAnswer {
            accepted: Accepted {
                groups: vec!["region".into()],
                columns,
                cut: id.into(),
                dataset: "health.visits".into(),
                question: vec![7; 32],
                mechanism: "discrete_gaussian".into(),
                ..Accepted::default()
            },
            rows: rows.iter().map(row).collect(),
            released: Released { release_id: id.into(), ..Released::default() },
        }
    }

    #[test]
    fn a_difference_has_the_errors_of_both_and_a_factor_fiellers_interval() {
        let earlier = answer("2024-Q3", &[("n", 100.0, 3.0), ("s", 2.0, 4.0), ("w", 5.0, 1.0)]);
        let later = answer("2024-Q4", &[("n", 150.0, 4.0), ("s", 50.0, 4.0)]);
        let found = changes(&earlier, &later).unwrap();
        let names: Vec<_> = found.accepted.columns.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["visits_change", "visits_factor"]);
        assert_eq!(found.accepted.cut, "2024-Q3 to 2024-Q4");
        assert_eq!(found.released.release_id, "2024-Q3 to 2024-Q4", "it is neither release's own");
        let [difference, factor] = found.rows[0].estimates.as_slice() else { panic!("two columns") };
        assert_eq!((difference.value, difference.standard_error), (Some(50.0), Some(5.0)));
        assert!((difference.lower.unwrap() - (50.0 - 1.959_964 * 5.0)).abs() < 1e-9);
        assert_eq!(factor.value, Some(1.5));
        // θ is an end where (a − θb)² = z²·(σa² + θ²σb²).
        for end in [factor.lower, factor.upper].map(Option::unwrap) {
            let (distance, error) = (150.0 - end * 100.0, (16.0 + end * end * 9.0_f64).sqrt());
            assert!((distance.abs() - 1.959_964 * error).abs() < 1e-6, "{end}");
        }
        // What the noise does not tell from 0 bounds no factor.
        let [_, factor] = found.rows[1].estimates.as_slice() else { panic!("two columns") };
        assert_eq!((factor.value, factor.lower, estimate_status(factor)), (Some(25.0), None, "U"));
        // What one of them does not show is not lost, and not made up.
        assert_eq!(found.rows[2].groups, ["w"]);
        assert!(found.rows[2].estimates.iter().all(|e| e.value.is_none() && estimate_status(e) == "O"));
    }

    #[test]
    fn what_nothing_bounds_has_a_difference_and_a_factor_without_an_interval() {
        let bounded = answer("2024-Q3", &[("n", 3.0, 1.0)]);
        let mut unbounded = answer("2024-Q4", &[("n", 4.0, 1.0)]);
        // A mean over what may be nobody: an error to the first order, and no interval.
        (unbounded.rows[0].estimates[0].lower, unbounded.rows[0].estimates[0].upper) = (None, None);
        for (one, other) in [(&bounded, &unbounded), (&unbounded, &bounded)] {
            let found = changes(one, other).unwrap();
            for estimate in &found.rows[0].estimates {
                assert!(estimate.value.is_some());
                assert_eq!((estimate.standard_error, estimate.lower, estimate.upper), (None, None, None));
                assert_eq!(estimate_status(estimate), "U");
            }
        }
    }

    #[test]
    fn releases_of_other_questions_or_of_another_form_are_not_compared() {
        let one = answer("2024-Q3", &[("n", 1.0, 1.0)]);
        assert!(matches!(changes(&one, &one), Err(ClientError::Compared(_))));
        let changed: [fn(&mut QueryAnswer); 6] = [
            |other| other.accepted.groups = vec!["year".into()],
            |other| other.accepted.columns[0].name = "persons".into(),
            |other| other.accepted.columns[0].rounded = Some(-1),
            |other| other.accepted.dataset = "health.vaccinations".into(),
            |other| other.accepted.question = vec![8; 32],
            |other| other.accepted.question.clear(),
        ];
        for change in changed {
            let mut other = answer("2024-Q4", &[("n", 1.0, 1.0)]);
            assert!(changes(&one, &other).is_ok());
            change(&mut other);
            assert!(matches!(changes(&one, &other), Err(ClientError::Compared(_))));
            assert!(matches!(changes(&other, &one), Err(ClientError::Compared(_))));
        }
    }
}
