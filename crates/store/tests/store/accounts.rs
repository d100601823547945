//! R28: the loss on each person's data stays bounded under repeats, retries and several callers.

use crate::support::*;
use firebreak_domain::{Charge, Epsilon, Timestamp};
use firebreak_store::{
    Abandoned, AccountClass, AccountKind, AccountLimit, Claim, LeafHash, PersonLoss, ReserveError, Settled, State,
    StoreError,
};
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};

async fn reserve(
    state: &State,
    name: &str,
    id: u8,
    digest: u8,
    release: u8,
) -> Result<firebreak_store::Reserved, ReserveError> {
    let accounts = [within(life(), 100), within(analyst(name), 100)];
    state.reserve(&request(name, id, digest), &key(release), rho(10), &accounts).await
}

#[tokio::test]
async fn a_retry_resumes_under_one_charge_until_a_release_is_stored_and_then_gets_its_bytes() {
    let folder = Folder::new();
    let state = folder.open().await;
    drop(fresh(reserve(&state, "ada", 1, 1, 1).await));
    state.close().await;
    let state = folder.open().await;
    let reservation = resumed(reserve(&state, "ada", 1, 1, 1).await);
    assert_eq!(reservation.charge(), rho(10));
    assert_eq!(state.balance(&[life(), analyst("ada"), analyst("bob")]), [rho(10), rho(10), rho(0)]);
    let first = settle(&state, reservation, "one").await;
    let again = stored(reserve(&state, "ada", 1, 1, 1).await);
    assert_eq!((&again.release, &*again.evidence), (&first, b"evidence one".as_slice()));
    assert_eq!(&*first.bytes, b"release one");
    assert_eq!(first.leaf, LeafHash::of(b"leaf one"));
    assert_eq!(state.ledger_head().total, rho(10));
    state.close().await;
    let state = folder.open().await;
    assert_eq!(stored(reserve(&state, "ada", 1, 1, 1).await), again);
    assert_eq!(state.balance(&[life()]), [rho(10)]);
    state.verify_chain().await.unwrap();
}

#[tokio::test]
async fn a_stored_answer_stays_the_same_from_memory_and_from_disk() {
    let folder = Folder::new();
    let state = folder.open().await;
    let reservation = fresh(reserve(&state, "ada", 1, 1, 1).await);
    let first = settle(&state, reservation, "one").await;
    assert_eq!(first.log_index, None);
    assert_eq!(stored(reserve(&state, "ada", 1, 1, 1).await).release.log_index, None);
    assert_eq!(state.confirm(&[(first.leaf, 7), (LeafHash::of(b"another's"), 8)]).await, Ok(1));
    for _ in 0..3 {
        let again = stored(reserve(&state, "ada", 1, 1, 1).await);
        assert_eq!(&*again.evidence, b"evidence one");
        let again = again.release;
        assert_eq!((again.log_index, &again.bytes, again.id), (Some(7), &first.bytes, first.id));
        // Nor does memory forget what a request id stands for.
        assert_eq!(reserve(&state, "ada", 1, 2, 1).await.unwrap_err(), ReserveError::RequestIdReused);
    }
    assert_eq!(state.release(&first.id).await.unwrap().unwrap().log_index, Some(7));
    assert_eq!(state.release_of(&key(1)).await.unwrap().unwrap().id, first.id);
    assert_eq!(state.release_of(&key(2)).await.unwrap(), None);
}

#[tokio::test]
async fn a_request_id_belongs_to_its_principal_and_digest() {
    let state = Folder::new().open().await;
    drop(fresh(reserve(&state, "ada", 1, 1, 1).await));
    assert_eq!(reserve(&state, "ada", 1, 2, 1).await.unwrap_err(), ReserveError::RequestIdReused);
    drop(fresh(reserve(&state, "bob", 1, 2, 2).await));
    assert_eq!(reserve(&state, "ada", 1, 1, 2).await.unwrap_err(), ReserveError::RequestChanged);
    let accounts = [within(life(), 100)];
    let dearer = state.reserve(&request("ada", 1, 1), &key(1), rho(11), &accounts).await;
    assert_eq!(dearer.unwrap_err(), ReserveError::RequestChanged);
    assert_eq!(state.ledger_head().count, 2);
}

/// PRIVACY: charges that are kept for another year would let more than a year's limit be released within it.
#[tokio::test]
async fn what_one_year_was_charged_for_is_not_measured_in_another() {
    let folder = Folder::new();
    let state = folder.open().await;
    let release = settle(&state, fresh(reserve(&state, "ada", 1, 1, 1).await), "one").await;
    drop(fresh(reserve(&state, "ada", 2, 2, 2).await));
    drop(resumed(reserve(&state, "ada", 2, 2, 2).await));
    folder.clock.set(Timestamp::from_secs(START + 366 * 86_400));
    // What was released is given again in any year; what was not is another request by then.
    assert_eq!(stored(reserve(&state, "ada", 1, 1, 1).await).release.bytes, release.bytes);
    assert_eq!(reserve(&state, "ada", 2, 2, 2).await.unwrap_err(), ReserveError::OtherYear);
    drop(fresh(reserve(&state, "ada", 3, 2, 2).await));
    state.verify_chain().await.unwrap();
}

/// Decided before New Year and charged after it: the account of the year that has ended pays for nothing more.
#[tokio::test]
async fn the_account_of_a_year_that_has_ended_is_charged_no_more() {
    let folder = Folder::new();
    let state = folder.open().await;
    let accounts = [within(year(), 100), within(life(), 100)];
    let reserve = async |id: u8| state.reserve(&request("ada", id, id), &key(id), rho(10), &accounts).await;
    drop(fresh(reserve(1).await));
    folder.clock.set(Timestamp::from_secs(START + 366 * 86_400));
    assert_eq!(reserve(2).await.unwrap_err(), ReserveError::OtherYear);
    assert_eq!(state.balance(&[year(), life()]), [rho(10); 2]);
}

/// The table in which an earlier program kept what was charged a second time, as far as it matters here.
const KEPT_EARLIER: &str = "CREATE TABLE requests (principal BLOB, id BLOB, digest BLOB)";

/// A way past a state that is closed, to its tables.
async fn raw(folder: &Folder) -> SqliteConnection {
    let file = SqliteConnectOptions::new().filename(folder.path.path().join("state.sqlite"));
    SqliteConnection::connect_with(&file).await.unwrap()
}

/// An earlier program kept what was charged a second time beside the ledger. Whatever stands there counts no more.
#[tokio::test]
async fn a_folder_of_an_earlier_program_is_opened_and_its_charges_stand() {
    let folder = Folder::new();
    let state = folder.open().await;
    drop(fresh(reserve(&state, "ada", 1, 1, 1).await));
    state.close().await;
    let mut raw = raw(&folder).await;
    sqlx::query(KEPT_EARLIER).execute(&mut raw).await.unwrap();
    sqlx::query("INSERT INTO requests VALUES (x'01', x'02', x'03')").execute(&mut raw).await.unwrap();
    raw.close().await.unwrap();
    let state = folder.open().await;
    state.verify_chain().await.unwrap();
    assert_eq!(state.balance(&[life()]), [rho(10)]);
    drop(resumed(reserve(&state, "ada", 1, 1, 1).await));
    assert_eq!(state.balance(&[life()]), [rho(10)]);
    state.close().await;
    let mut raw = self::raw(&folder).await;
    sqlx::query("SELECT * FROM requests").fetch_all(&mut raw).await.unwrap_err();
}

/// What such a program kept stays as long as the ledger is not known to be good: it may be all that tells what was
/// there.
#[tokio::test]
async fn a_folder_of_an_earlier_program_that_does_not_open_is_left_as_it_was() {
    let folder = Folder::new();
    let state = folder.open().await;
    drop(fresh(reserve(&state, "ada", 1, 1, 1).await));
    state.close().await;
    let mut raw = raw(&folder).await;
    sqlx::query(KEPT_EARLIER).execute(&mut raw).await.unwrap();
    sqlx::query("UPDATE ledger SET head = zeroblob(32)").execute(&mut raw).await.unwrap();
    raw.close().await.unwrap();
    assert!(folder.try_open().await.is_err());
    let mut raw = self::raw(&folder).await;
    sqlx::query("SELECT * FROM requests").fetch_all(&mut raw).await.unwrap();
}

/// What is charged is known again from the ledger alone, also what was given back and charged once more.
#[tokio::test]
async fn requests_are_known_again_after_a_restart() {
    let folder = Folder::new();
    let state = folder.open().await;
    state.abandon(fresh(reserve(&state, "ada", 1, 1, 1).await)).await.unwrap();
    state.abandon(fresh(reserve(&state, "ada", 2, 2, 2).await)).await.unwrap();
    drop(fresh(reserve(&state, "ada", 1, 3, 1).await));
    state.close().await;
    let state = folder.open().await;
    drop(resumed(reserve(&state, "ada", 1, 3, 1).await));
    assert_eq!(reserve(&state, "ada", 1, 1, 1).await.unwrap_err(), ReserveError::RequestIdReused);
    drop(fresh(reserve(&state, "ada", 2, 4, 2).await));
    assert_eq!(state.balance(&[life()]), [rho(20)]);
    state.verify_chain().await.unwrap();
}

/// Steps that wait together share a transaction: what one has done is known to the next, though nothing is stored yet.
#[tokio::test]
async fn one_request_twice_in_a_transaction_is_charged_once_and_may_be_given_back_and_charged_anew() {
    let folder = Folder::new();
    let state = folder.open().await;
    let of = async |digest: u8| reserve(&state, "ada", 1, digest, digest).await;
    let (first, second, other) = tokio::join!(of(1), of(1), of(2));
    let (first, second) = (fresh(first), resumed(second));
    assert_eq!(other.unwrap_err(), ReserveError::RequestIdReused);
    assert_eq!(state.balance(&[life()]), [rho(10)]);
    // Both hold it: neither gets it back. Of another request one does, and it is charged for something else at once.
    assert_eq!(state.abandon(first).await.unwrap(), Abandoned::Kept);
    drop(second);
    let alone = fresh(reserve(&state, "ada", 2, 3, 3).await);
    let (refund, anew) = tokio::join!(state.abandon(alone), reserve(&state, "ada", 2, 4, 4));
    assert_eq!(refund.unwrap(), Abandoned::Refunded);
    let anew = fresh(anew);
    assert_eq!(state.balance(&[life()]), [rho(20)]);
    let (refund, again) = tokio::join!(state.abandon(anew), reserve(&state, "ada", 2, 3, 3));
    assert_eq!(refund.unwrap(), Abandoned::Refunded);
    drop(fresh(again));
    state.verify_chain().await.unwrap();
    state.close().await;
    let state = folder.open().await;
    assert_eq!(state.balance(&[life()]), [rho(20)]);
    assert_eq!(reserve(&state, "ada", 2, 4, 4).await.unwrap_err(), ReserveError::RequestIdReused);
    drop(resumed(reserve(&state, "ada", 2, 3, 3).await));
}

#[tokio::test]
async fn a_request_is_reserved_for_one_thing_of_several() {
    let state = Folder::new().open().await;
    let claim = |id, release| Claim {
        key: request("ada", id, id),
        release_key: key(release),
        charge: rho(10),
        accounts: vec![within(life(), 100)],
    };
    let twice = state.reserve_all(&[claim(1, 1), claim(2, 2), claim(1, 3)]).await;
    assert_eq!(twice.unwrap_err(), ReserveError::RequestIdReused);
    assert_eq!(state.balance(&[life()]), [rho(0)]);
    assert_eq!(state.reserve_all(&[claim(1, 1), claim(2, 2)]).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_repeat_costs_whoever_asks_but_not_the_persons_again() {
    let state = Folder::new().open().await;
    let reservation = fresh(reserve(&state, "ada", 1, 1, 1).await);
    let first = settle(&state, reservation, "one").await;
    assert_eq!(repeat(reserve(&state, "bob", 9, 3, 1).await), first);
    assert_eq!(repeat(reserve(&state, "bob", 9, 3, 1).await), first, "sent again it is a repeat still, and free");
    assert_eq!(reserve(&state, "bob", 9, 4, 1).await.unwrap_err(), ReserveError::RequestIdReused);
    assert_eq!(state.balance(&[life(), analyst("ada"), analyst("bob")]), [rho(10), rho(10), rho(10)]);
    assert_eq!(state.ledger_head().total, rho(10));
    // Where nothing is left for persons a repeat is answered still; where nothing is left for the caller it is not.
    let spent = [within(life(), 10), within(analyst("eve"), 10)];
    repeat(state.reserve(&request("eve", 1, 1), &key(1), rho(10), &spent).await);
    let again = state.reserve(&request("eve", 2, 1), &key(1), rho(10), &spent).await;
    assert_eq!(again.unwrap_err(), ReserveError::Exhausted { account: AccountClass::Analyst, left: rho(0) });
    state.verify_chain().await.unwrap();
}

#[tokio::test]
async fn the_first_release_stored_wins() {
    let state = Folder::new().open().await;
    let one = fresh(reserve(&state, "ada", 1, 1, 1).await);
    let two = resumed(reserve(&state, "ada", 1, 1, 1).await);
    let three = fresh(reserve(&state, "bob", 1, 1, 1).await);
    let (one, two, three) =
        tokio::join!(settle(&state, one, "one"), settled(&state, two, "two"), settled(&state, three, "three"));
    let own = stored(reserve(&state, "ada", 1, 1, 1).await);
    assert_eq!((&own.release, &*own.evidence), (&one, b"evidence one".as_slice()));
    assert_eq!((two, three), (Settled::Stored(own), Settled::Repeat(one.clone())));
    assert_eq!(state.backlog().await.unwrap().count, 1, "a release that was not stored has no leaf");
    assert_eq!(repeat(reserve(&state, "bob", 1, 1, 1).await), one);
    // Both were charged in full when the engine was asked, and what was charged stays charged.
    assert_eq!(state.balance(&[life(), analyst("ada"), analyst("bob")]), [rho(20), rho(10), rho(10)]);
}

#[tokio::test]
async fn evidence_goes_back_to_the_request_that_settled_and_to_no_other() {
    let folder = Folder::new();
    let mut state = folder.open().await;
    let reservation = fresh(reserve(&state, "ada", 1, 1, 1).await);
    // Bob asks while Ada is answered; Eve afterwards, and Ada herself under another id.
    let overtaken = fresh(reserve(&state, "bob", 1, 1, 1).await);
    let first = settle(&state, reservation, "ada").await;
    assert_eq!(settled(&state, overtaken, "bob").await, Settled::Repeat(first.clone()));
    for logged in [false, true] {
        for _ in 0..3 {
            for (name, id) in [("bob", 1), ("eve", 1), ("ada", 2)] {
                let again = repeat(reserve(&state, name, id, 1, 1).await);
                assert_eq!((&again.bytes, again.log_index.is_some()), (&first.bytes, logged), "{name}");
            }
            assert_eq!(&*stored(reserve(&state, "ada", 1, 1, 1).await).evidence, b"evidence ada");
        }
        state.confirm(&[(first.leaf, 7)]).await.unwrap();
    }
    // Nor does a restart make anybody the first.
    state.close().await;
    state = folder.open().await;
    repeat(reserve(&state, "bob", 1, 1, 1).await);
    repeat(reserve(&state, "eve", 1, 1, 1).await);
    assert_eq!(&*stored(reserve(&state, "ada", 1, 1, 1).await).evidence, b"evidence ada");
    state.verify_chain().await.unwrap();
}

#[tokio::test]
async fn what_every_person_can_have_lost_is_known_whatever_else_is_kept_and_outlives_the_program() {
    let folder = Folder::new();
    let state = folder.open().await;
    assert!(state.losses().is_empty());
    let accounts = [within(year(), 100), within(life(), 100), within(analyst("ada"), 100), within(organisation(), 100)];
    drop(fresh(state.reserve(&request("ada", 1, 1), &key(1), rho(20), &accounts).await));
    let (AccountKind::UnitSpaceYear { space, year: in_year }, AccountKind::UnitSpaceLife(of_life)) = (year(), life())
    else {
        panic!("accounts of persons")
    };
    assert_eq!(space, of_life);
    let next = AccountKind::UnitSpaceYear { space: space.clone(), year: in_year + 1 };
    let later = [within(next, 100), within(life(), 100)];
    folder.clock.set(Timestamp::from_secs(START + 366 * 86_400));
    drop(fresh(state.reserve(&request("ada", 2, 2), &key(2), rho(5), &later).await));
    let losses = state.losses();
    assert_eq!(losses.keys().collect::<Vec<_>>(), [&space], "nothing but accounts of persons");
    let expected = PersonLoss { for_life: rho(25), by_year: [(in_year, rho(20)), (in_year + 1, rho(5))].into() };
    assert_eq!(losses[&space], expected);
    state.close().await;
    assert_eq!(folder.open().await.losses(), losses);
}

#[tokio::test]
async fn an_exhausted_account_refuses_and_charges_no_other() {
    let state = Folder::new().open().await;
    let accounts = [within(year(), 100), within(life(), 100), within(agreement(), 25), within(organisation(), 100)];
    drop(fresh(state.reserve(&request("ada", 1, 1), &key(1), rho(20), &accounts).await));
    let refused = state.reserve(&request("ada", 2, 1), &key(2), rho(6), &accounts).await;
    assert_eq!(refused.unwrap_err(), ReserveError::Exhausted { account: AccountClass::Agreement, left: rho(5) });
    assert_eq!(state.balance(&[year(), life(), agreement(), organisation()]), [rho(20); 4]);
    // The number of a refused request stays free.
    drop(fresh(state.reserve(&request("ada", 2, 7), &key(2), rho(5), &accounts).await));
    assert_eq!(state.balance(&[year(), agreement()]), [rho(25); 2]);
    let nothing = state.reserve(&request("ada", 3, 1), &key(3), rho(1), &[]).await;
    assert_eq!(nothing.unwrap_err(), ReserveError::NoAccount);
}

#[tokio::test]
async fn an_account_named_twice_is_charged_once_and_keeps_within_both_limits() {
    let state = Folder::new().open().await;
    let accounts = [within(life(), 100), within(life(), 15)];
    drop(fresh(state.reserve(&request("ada", 1, 1), &key(1), rho(10), &accounts).await));
    assert_eq!(state.balance(&[life()]), [rho(10)]);
    let refused = state.reserve(&request("ada", 2, 1), &key(2), rho(10), &accounts).await;
    assert_eq!(refused.unwrap_err(), ReserveError::Exhausted { account: AccountClass::UnitSpaceLife, left: rho(5) });
}

#[tokio::test]
async fn pure_loss_is_limited_on_its_own_and_no_sum_wraps() {
    let state = Folder::new().open().await;
    let most = Charge { epsilon: Epsilon::from_nano(1_500_000_000), ..rho(u64::MAX) };
    let accounts = [AccountLimit { account: life(), limit: most }];
    let pure = Charge::of_epsilon(Epsilon::from_nano(1_000_000_000));
    drop(fresh(state.reserve(&request("ada", 1, 1), &key(1), pure, &accounts).await));
    assert!(state.reserve(&request("ada", 2, 1), &key(2), pure, &accounts).await.is_err());
    let all = [within(organisation(), u64::MAX)];
    let refused = state.reserve(&request("ada", 3, 1), &key(3), rho(u64::MAX), &all).await;
    assert!(matches!(refused, Err(ReserveError::Exhausted { .. })), "the total would wrap: {refused:?}");
    drop(fresh(state.reserve(&request("ada", 3, 1), &key(3), rho(1), &all).await));
}

#[tokio::test]
async fn only_what_never_ran_is_given_back() {
    let folder = Folder::new();
    let state = folder.open().await;
    let unused = fresh(reserve(&state, "ada", 1, 1, 1).await);
    assert_eq!(state.abandon(unused).await, Ok(Abandoned::Refunded));
    assert_eq!(state.balance(&[life(), analyst("ada")]), [rho(0); 2]);
    // It counts as never sent: another digest may use its number.
    let ran = fresh(reserve(&state, "ada", 1, 2, 1).await);
    ran.mark_executing();
    assert_eq!(state.abandon(ran).await, Ok(Abandoned::Kept));
    assert_eq!(state.balance(&[life()]), [rho(10)]);
    let again = resumed(reserve(&state, "ada", 1, 2, 1).await);
    assert_eq!(state.abandon(again).await, Ok(Abandoned::Kept));
    // Once a second run may have begun, the first gives nothing back either.
    let first = fresh(reserve(&state, "ada", 2, 1, 2).await);
    let second = resumed(reserve(&state, "ada", 2, 1, 2).await);
    assert_eq!(state.abandon(first).await, Ok(Abandoned::Kept));
    second.mark_executing();
    settle(&state, second, "two").await;
    assert_eq!(state.balance(&[life()]), [rho(20)]);
    state.verify_chain().await.unwrap();
    state.close().await;
    assert_eq!(folder.open().await.balance(&[life(), analyst("ada")]), [rho(20); 2]);
}

#[tokio::test]
async fn a_reservation_pays_in_no_other_state() {
    let (one, two) = (Folder::new().open().await, Folder::new().open().await);
    let reservation = fresh(reserve(&one, "ada", 1, 1, 1).await);
    assert_eq!(two.settle(reservation, b"release", b"evidence", leaf(b"leaf")).await, Err(StoreError::OtherState));
    assert_eq!(two.release_of(&key(1)).await, Ok(None));
    let reservation = resumed(reserve(&one, "ada", 1, 1, 1).await);
    assert_eq!(two.abandon(reservation).await, Err(StoreError::OtherState));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_reservations_never_overspend() {
    let folder = Folder::new();
    let state = folder.open().await;
    let tasks: Vec<_> = (0..200_u8)
        .map(|id| {
            let state = state.clone();
            tokio::spawn(async move {
                let accounts = [within(life(), 777), within(agreement(), 10_000)];
                let release = key(id);
                state.reserve(&request("ada", id, 1), &release, rho(7), &accounts).await.is_ok()
            })
        })
        .collect();
    let mut reserved = 0;
    for task in tasks {
        reserved += u64::from(task.await.unwrap());
    }
    assert_eq!(reserved, 111);
    assert_eq!(state.balance(&[life(), agreement()]), [rho(777); 2]);
    assert_eq!(state.ledger_head().count, 111);
    state.close().await;
    assert_eq!(folder.open().await.balance(&[life()]), [rho(777)]);
}

#[tokio::test]
async fn a_principal_is_nowhere_in_the_files() {
    let folder = Folder::new();
    let state = folder.open().await;
    let reservation = fresh(reserve(&state, "canary-7f3a", 1, 1, 1).await);
    state.settle(reservation, b"release", b"evidence", leaf(b"leaf-that-is-found")).await.unwrap();
    let mut found = 0;
    for file in std::fs::read_dir(folder.path.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(11).any(|window| window == b"canary-7f3a"));
        found += bytes.windows(18).filter(|window| *window == b"leaf-that-is-found").count();
    }
    assert!(found > 0, "the search finds what is there");
    assert_eq!(state.now(), Timestamp::from_secs(START));
}

fn claim(id: u8, release: u8, charge: u64, accounts: &[AccountLimit]) -> Claim {
    Claim { key: request("ada", id, 1), release_key: key(release), charge: rho(charge), accounts: accounts.to_vec() }
}

#[tokio::test]
async fn several_claims_are_charged_together_each_on_top_of_the_others_or_not_at_all() {
    let folder = Folder::new();
    let state = folder.open().await;
    let shared = || within(analyst("ada"), 25);
    let first = claim(1, 1, 10, &[within(life(), 100), shared()]);
    let second = claim(2, 2, 10, &[within(year(), 100), shared()]);
    let third = claim(3, 3, 10, &[within(organisation(), 100), shared()]);
    // Each of the three fits by itself; all of them do not, and none is charged.
    let refused = state.reserve_all(&[first.clone(), second.clone(), third]).await.unwrap_err();
    assert_eq!(refused, ReserveError::Exhausted { account: AccountClass::Analyst, left: rho(5) });
    assert_eq!(state.balance(&[life(), year(), organisation(), analyst("ada")]), [rho(0); 4]);
    assert_eq!(state.ledger_head().count, 0);

    let mut both = state.reserve_all(&[first.clone(), second.clone()]).await.unwrap();
    assert_eq!(state.balance(&[life(), year(), analyst("ada")]), [rho(10), rho(10), rho(20)]);
    // One is given back by itself; the other is settled, and the same claims take up what is there.
    let (one, two) = (both.remove(0), both.remove(0));
    assert_eq!(state.abandon(fresh(Ok(one))).await, Ok(Abandoned::Refunded));
    settle(&state, fresh(Ok(two)), "two").await;
    assert_eq!(state.balance(&[life(), year(), analyst("ada")]), [rho(0), rho(10), rho(10)]);
    let mut again = state.reserve_all(&[first, second]).await.unwrap();
    let (one, two) = (again.remove(0), again.remove(0));
    drop(fresh(Ok(one)));
    assert_eq!(&*stored(Ok(two)).release.bytes, b"release two");
    assert_eq!(state.balance(&[life(), year(), analyst("ada")]), [rho(10), rho(10), rho(20)]);
    assert_eq!(state.reserve_all(&[claim(4, 4, 1, &[])]).await.unwrap_err(), ReserveError::NoAccount);
    state.verify_chain().await.unwrap();
}
