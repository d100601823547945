//! Measurements as an adapter makes them: a real decision, a real ledger, the public interface alone.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the lints' exception for tests reaches test functions, not the fixtures beside them"
)]

mod answers;
mod fixture;
mod keys;
mod neighbours;
mod open_codes;

use firebreak_domain::{Charge, Rho};
use firebreak_policy::OutputKind;
use firebreak_privacy::{Exact, ExactCells, Funded, FundingError, MeasureError, NoiseError, Released, RunError, price};
use firebreak_query::{check, parse_sql};
use firebreak_store::{NewLeaf, Reserved, StoredRelease};
use fixture::{Agency, MECHANISM, RHO, ask, contract, price_of};
use std::convert::Infallible;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const SQL: &str = "SELECT region, COUNT(*) AS visits FROM health.visits GROUP BY region";

fn cells(values: Vec<Vec<i64>>) -> Exact<ExactCells> {
    Exact::new(ExactCells::new(values))
}

#[tokio::test]
async fn a_question_permitted_and_paid_for_is_measured_stored_and_repeated() {
    let agency = Agency::new().await;
    let query = ask(SQL);
    let price = price_of(&query);
    let (key, charge) = (price.release_key(), price.charge());
    let sigma = price.sigmas().next().unwrap();
    let reservation = agency.reserve(1, key, charge).await;
    assert_eq!(agency.spent(), Charge::of_rho(RHO));

    let funded = Funded::new(agency.permit(&query), reservation, price).unwrap();
    let engine = || async { Ok::<_, Infallible>(cells(vec![vec![1_000, 2_000, 3_000]])) };
    let measured = funded.release(engine).await.unwrap();
    let bytes = measured.released.encode();
    let leaf = NewLeaf { leaf: b"leaf".to_vec(), sealed: b"sealed".to_vec() };
    let settled = agency.state.settle(measured.reservation, &bytes, b"evidence", leaf).await.unwrap();
    let stored: &StoredRelease = settled.release();

    let released = Released::decode(&stored.bytes).unwrap();
    assert_eq!(released, measured.released);
    assert_eq!(released.charge(), charge);
    // Twelve deviations are left with a probability below 10⁻³⁰.
    for (cell, exact) in [1_000, 2_000, 3_000].into_iter().enumerate() {
        let noisy = released.value(0, cell).unwrap();
        assert!((noisy - exact).abs() as f64 <= 12.0 * sigma);
    }
    assert!(matches!(agency.ask_for(1, key, charge).await, Reserved::Stored(again) if *again.release.bytes == *bytes));
    assert!(matches!(agency.ask_for(2, key, charge).await, Reserved::Repeat(again) if *again.bytes == *bytes));
    assert_eq!(agency.spent(), Charge::of_rho(RHO));
}

#[tokio::test]
async fn what_failed_released_nothing_keeps_its_charge_and_may_run_again_under_it() {
    let agency = Agency::new().await;
    let query = ask(SQL);
    let price = price_of(&query);
    let fund = async || {
        let reservation = agency.reserve(1, price.release_key(), price.charge()).await;
        Funded::new(agency.permit(&query), reservation, price.clone()).unwrap()
    };
    let failed = fund().await.release(|| async { Err::<Exact<ExactCells>, _>("no disk") }).await;
    assert!(matches!(failed, Err(RunError::Engine("no disk"))));
    for shape in [vec![], vec![vec![1, 2]], vec![vec![1, 2, 3, 4]], vec![vec![1, 2, 3], vec![1, 2, 3]]] {
        let armed = fund().await.draw_noise().await.unwrap();
        assert!(matches!(armed.measure(cells(shape)), Err(MeasureError::Shape)));
    }
    assert_eq!(agency.spent(), price.charge());
    let armed = fund().await.draw_noise().await.unwrap();
    assert!(armed.measure(cells(vec![vec![1, 2, 3]])).is_ok());
    assert_eq!(agency.spent(), price.charge());
}

#[tokio::test]
async fn the_engine_is_asked_when_the_charge_can_no_longer_be_returned() {
    let agency = Agency::new().await;
    let query = ask(SQL);
    let price = price_of(&query);
    let (key, charge) = (price.release_key(), price.charge());
    let armed = {
        let reservation = agency.reserve(1, key, charge).await;
        Funded::new(agency.permit(&query), reservation, price).unwrap().draw_noise().await.unwrap()
    };
    let measured = armed.measure(cells(vec![vec![0, 0, 0]])).unwrap();
    let abandoned = agency.state.abandon(measured.reservation).await.unwrap();
    assert_eq!(abandoned, firebreak_store::Abandoned::Kept);
    assert_eq!(agency.spent(), charge);
}

#[test]
fn the_engine_is_not_asked_before_the_noise_is_drawn() {
    // One thread for blocking work, and that is held: no noise can be drawn until it is let go.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let agency = Agency::new().await;
        let query = ask(SQL);
        let price = price_of(&query);
        let reservation = agency.reserve(1, price.release_key(), price.charge()).await;
        let funded = Funded::new(agency.permit(&query), reservation, price).unwrap();
        let (let_go, held) = std::sync::mpsc::channel::<()>();
        let holder = tokio::task::spawn_blocking(move || held.recv());
        let asked = AtomicBool::new(false);
        let mut run = pin!(funded.release(|| async {
            asked.store(true, Ordering::SeqCst);
            Ok::<_, Infallible>(cells(vec![vec![1, 2, 3]]))
        }));
        assert!(tokio::time::timeout(Duration::from_millis(200), &mut run).await.is_err());
        assert!(!asked.load(Ordering::SeqCst));
        let_go.send(()).unwrap();
        holder.await.unwrap().unwrap();
        assert!(run.await.is_ok());
        assert!(asked.load(Ordering::SeqCst));
    });
}

/// What joining a permit, a reservation and a price comes to; the three are those of `SQL` but for what the case says.
async fn funding_fails_for(case: &str) -> Option<FundingError> {
    let agency = Agency::new().await;
    let query = ask(SQL);
    let (mut permit, mut priced) = (agency.permit(&query), price_of(&query));
    match case {
        "another kind of output" => permit = agency.permit_for(&query, OutputKind::PublishedRelease),
        "a column more" => {
            priced = price_of(&ask("SELECT COUNT(*) AS n FROM health.visits WHERE kind = 'planned' GROUP BY region"));
        }
        "a larger bound on contributions" => {
            let mut looser = contract();
            looser.contribution.rows_per_person = 3;
            priced = price_of(&check(&parse_sql(SQL).unwrap(), &looser).unwrap());
        }
        "more loss than the agreement allows" => {
            priced = price(&query, MECHANISM, Rho::from_nano(RHO.nano() + 1)).unwrap();
        }
        _ => {}
    }
    let (mut key, mut charge) = (priced.release_key(), priced.charge());
    match case {
        "another release" => key = price_of(&ask("SELECT COUNT(*) AS n FROM health.visits")).release_key(),
        "the same at another loss" => {
            key = price(&query, MECHANISM, Rho::from_nano(RHO.nano() - 1)).unwrap().release_key();
        }
        "less than the price" => charge = Charge::of_rho(Rho::from_nano(RHO.nano() - 1)),
        "more than the price" => charge = Charge::of_rho(Rho::from_nano(RHO.nano() + 1)),
        _ => {}
    }
    let reservation = agency.reserve(1, key, charge).await;
    Funded::new(permit, reservation, priced).err()
}

#[tokio::test]
async fn permit_reservation_and_price_must_belong_together() {
    assert_eq!(funding_fails_for("nothing").await, None);
    assert_eq!(funding_fails_for("more than the price").await, None);
    assert_eq!(funding_fails_for("another kind of output").await, Some(FundingError::OtherOperation));
    assert_eq!(funding_fails_for("a column more").await, Some(FundingError::OtherData));
    assert_eq!(funding_fails_for("a larger bound on contributions").await, Some(FundingError::OtherContract));
    assert_eq!(funding_fails_for("more loss than the agreement allows").await, Some(FundingError::OtherTerms));
    assert_eq!(funding_fails_for("another release").await, Some(FundingError::OtherRelease));
    assert_eq!(funding_fails_for("the same at another loss").await, Some(FundingError::OtherRelease));
    assert_eq!(funding_fails_for("less than the price").await, Some(FundingError::Underfunded));
}

/// Whether a type can be copied: the constant of the type itself goes before that of a trait.
struct Copyable<T>(std::marker::PhantomData<T>);

trait Otherwise {
    const COPYABLE: bool = false;
}

impl<T> Otherwise for Copyable<T> {}

impl<T: Clone> Copyable<T> {
    const COPYABLE: bool = true;
}

#[test]
fn what_is_used_up_once_cannot_be_copied() {
    let copyable = [
        Copyable::<firebreak_policy::Permit>::COPYABLE,
        Copyable::<firebreak_store::Reservation>::COPYABLE,
        Copyable::<firebreak_privacy::Funded>::COPYABLE,
        Copyable::<firebreak_privacy::Armed>::COPYABLE,
        Copyable::<firebreak_privacy::Measured>::COPYABLE,
        Copyable::<Exact<ExactCells>>::COPYABLE,
    ];
    assert_eq!(copyable, [false; 6]);
    let seen = Copyable::<firebreak_policy::Question>::COPYABLE;
    assert!(seen, "what can be copied is seen to be");
}

#[test]
fn a_loss_too_small_for_its_measures_is_refused_by_price() {
    let query = ask("SELECT COUNT(*) AS n, AVG(cost) AS mean FROM health.visits");
    assert_eq!(price(&query, MECHANISM, Rho::from_nano(2)).unwrap_err(), NoiseError::LossTooSmall);
    assert!(price(&query, MECHANISM, Rho::from_nano(3)).is_ok());
}
