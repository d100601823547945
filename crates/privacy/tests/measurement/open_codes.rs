//! Groups of which no list is declared.

use crate::fixture::{Agency, MECHANISM, RHO, ask, contract, price_of};
use firebreak_domain::{Charge, Mechanism, OpenCode, Rho};
use firebreak_privacy::{
    Exact, ExactCells, Funded, MeasureError, NoiseError, ObservationStatus, Released, SELECTION_DELTA, price,
};
use firebreak_query::{CheckedQuery, check, parse_sql};
use std::convert::Infallible;

const SQL: &str = "SELECT ward, COUNT(DISTINCT person) AS persons, COUNT(*) AS visits FROM health.visits GROUP BY ward";

fn code(text: &str) -> i64 {
    OpenCode::parse(text, 10).unwrap().number()
}

/// A release over groups with so many persons, who have ten rows each.
async fn released(agency: &Agency, query: &CheckedQuery, groups: &[(&str, i64)]) -> Released {
    let mut groups: Vec<(i64, i64)> = groups.iter().map(|(text, persons)| (code(text), *persons)).collect();
    groups.sort_unstable();
    let (_, of_persons) = query.selection().unwrap();
    let vector = |place: usize| {
        groups.iter().map(|(_, persons)| if place == of_persons { *persons } else { 10 * persons }).collect()
    };
    let vectors = (0..query.primitives().len()).map(vector).collect();
    let exact = Exact::new(ExactCells::by_code(groups.iter().map(|(code, _)| *code).collect(), vectors));
    let price = price_of(query);
    let reservation = agency.reserve(1, price.release_key(), price.charge()).await;
    let funded = Funded::new(agency.permit(query), reservation, price).unwrap();
    funded.release(|| async { Ok::<_, Infallible>(exact) }).await.unwrap().released
}

#[tokio::test]
async fn groups_with_enough_persons_are_shown_with_their_figures_and_delta_is_charged() {
    let agency = Agency::new().await;
    let query = ask(SQL);
    let price = price_of(&query);
    assert_eq!(price.charge(), Charge { delta: SELECTION_DELTA, ..Charge::of_rho(RHO) });
    let threshold = price.plan().selection().unwrap().threshold();
    // Twelve deviations above the threshold a group is shown but for a probability below 10⁻³⁰.
    let sigma = price.sigmas().next().unwrap();
    let above = threshold + (12.0 * sigma) as i64;
    let released = released(&agency, &query, &[("W2", above), ("A", above + 100), ("W10", 1), ("x", 1)]).await;
    assert_eq!(agency.spent(), price.charge());

    let bytes = released.encode();
    assert_eq!(Released::decode(&bytes).unwrap(), released);
    let answer = released.answer(&query).unwrap();
    let rows: Vec<_> = answer.rows.iter().map(|row| row.groups.clone()).collect();
    assert_eq!(rows, [["A"], ["W2"]], "in the order of the codes");
    for (row, persons) in answer.rows.iter().zip([above + 100, above]) {
        let found = row.outputs[0].value.unwrap();
        assert!((found - persons as f64).abs() <= 12.0 * sigma, "{found}, not {persons}");
        assert_eq!(row.outputs[0].status, ObservationStatus::Normal);
    }
    let selected = answer.selected.unwrap();
    assert_eq!((selected.threshold, selected.delta), (threshold, SELECTION_DELTA));
    let error = selected.all_groups.standard_error.unwrap();
    assert!((selected.all_groups.value.unwrap() - 4.0).abs() <= 12.0 * error);
}

#[tokio::test]
async fn groups_that_are_shown_are_kept_sorted_and_cut_by_their_released_values() {
    let agency = Agency::new().await;
    let of = |clauses: &str| ask(&format!("{SQL} {clauses}"));
    let plain = of("");
    let (few, many) = (2_000, 9_000);
    let released = released(&agency, &plain, &[("a", many), ("b", few), ("c", 5_000), ("d", 1)]).await;
    let shown = |clauses: &str| {
        let answer = released.answer(&of(clauses)).unwrap();
        answer.rows.into_iter().map(|row| row.groups.concat()).collect::<Vec<_>>().concat()
    };
    assert_eq!(shown(""), "abc");
    assert_eq!(shown("ORDER BY persons"), "bca");
    assert_eq!(shown("ORDER BY ward DESC LIMIT 2"), "cb");
    assert_eq!(shown("HAVING persons > 3500 ORDER BY visits DESC"), "ac");
}

#[tokio::test]
async fn a_question_by_open_codes_costs_and_promises_the_same_whatever_codes_there_are() {
    let query = ask(SQL);
    let price = price_of(&query);
    let (none, some) = (Agency::new().await, Agency::new().await);
    let nothing = released(&none, &query, &[]).await;
    assert_eq!(nothing.answer(&query).unwrap().rows.len(), 0);
    let found = released(&some, &query, &[("a", 1_000_000)]).await;
    assert_eq!((nothing.charge(), found.charge()), (price.charge(), price.charge()));
    assert!(nothing.sigmas().eq(found.sigmas()));
    // Of another question it is no release, nor the other way round.
    for other in ["SELECT COUNT(*) FROM health.visits", "SELECT ward, COUNT(*) FROM health.visits GROUP BY ward"] {
        assert!(found.answer(&ask(other)).is_err(), "{other}");
    }
}

#[tokio::test]
async fn what_an_engine_gives_without_codes_is_not_measured_by_them() {
    let agency = Agency::new().await;
    let query = ask(SQL);
    let price = price_of(&query);
    for exact in
        [ExactCells::new(vec![vec![1], vec![1]]), ExactCells::by_code(vec![2, 1], vec![vec![1, 1], vec![1, 1]])]
    {
        let reservation = agency.reserve(1, price.release_key(), price.charge()).await;
        let funded = Funded::new(agency.permit(&query), reservation, price.clone()).unwrap();
        let armed = funded.draw_noise().await.unwrap();
        assert!(matches!(armed.measure(Exact::new(exact)), Err(MeasureError::Shape)));
    }
}

#[test]
fn no_pure_mechanism_selects_groups_and_no_small_loss_hides_how_many_there_are() {
    let query = ask(SQL);
    assert_eq!(price(&query, Mechanism::DiscreteLaplace, RHO).map(drop), Err(NoiseError::PureSelection));
    assert_eq!(price(&query, MECHANISM, Rho::from_nano(10_000)).map(drop), Err(NoiseError::LossTooSmall));
    let threshold =
        |nano| price(&query, MECHANISM, Rho::from_nano(nano)).unwrap().plan().selection().unwrap().threshold();
    assert!(threshold(5_000_000) > threshold(50_000_000), "less loss, more noise, a higher threshold");
}

/// As many groups as rows appear with one person: with the same noise on persons, more rows take a higher threshold.
#[test]
fn the_threshold_reckons_with_as_many_groups_as_a_person_has_rows() {
    let mut contract = contract();
    let mut thresholds = Vec::new();
    for rows in [1, 4, 64] {
        contract.contribution.rows_per_person = rows;
        let query = check(
            &parse_sql("SELECT ward, COUNT(DISTINCT person) FROM health.visits GROUP BY ward").unwrap(),
            &contract,
        );
        let query = query.unwrap();
        // σ grows with the root of the rows, which the loss makes good.
        let price = price(&query, MECHANISM, Rho::from_nano(10_000_000 * u64::from(rows))).unwrap();
        thresholds.push(price.plan().selection().unwrap().threshold());
        assert!((price.sigmas().next().unwrap() - 7.25).abs() < 0.01);
    }
    assert!(thresholds.is_sorted_by(|one, other| one < other), "{thresholds:?}");
}

#[test]
fn bytes_of_a_selected_release_have_one_encoding() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let bytes = runtime
        .block_on(async { released(&Agency::new().await, &ask(SQL), &[("a", 4_000), ("b", 5_000)]).await.encode() });
    assert_eq!(&bytes[..8], b"FBRG\0\0\0\x01");
    for end in 0..bytes.len() {
        assert!(Released::decode(&bytes[..end]).is_err());
    }
    assert!(Released::decode(&[bytes.as_slice(), &[0]].concat()).is_err());
    for at in 0..bytes.len() {
        for byte in [0, 1, 0x7f, 0x80, 0xff] {
            let mut other = bytes.clone();
            other[at] = byte;
            if let Ok(read) = Released::decode(&other) {
                assert_eq!(read.encode(), other, "{at}");
            }
        }
    }
}
