//! What an adapter holds by itself, whatever a gateway says: it is asked directly, in this process.
#![expect(clippy::panic, reason = "what fails here fails a test")]

mod codes;
mod engine;

use agency_adapter::app::Outcome;
use anyhow::Result;
use firebreak::client::Ask;
use firebreak_domain::{Identity, ReasonCode};
use firebreak_node::SubmittedQuery;
use firebreak_testbed::{Federation, Options};
use firebreak_tests::{Inside, change_contracts};
use std::time::{Duration, Instant};

const OPTIONS: Options = Options { persons: 300, seed: 7, tick_milliseconds: 20 };
const SQL: &str = "SELECT region, COUNT(*) AS n FROM health.visits GROUP BY region";

fn ask() -> Result<Ask> {
    Ok(Ask::new("health-statistics", "health-planning", SQL)?)
}

/// Why it was refused; `None` if it was answered.
async fn refusal(inside: &Inside, submitted: &SubmittedQuery, claimed: &Identity) -> Option<ReasonCode> {
    match inside.app.answer(submitted, claimed).await {
        Ok(Outcome::Released(_)) => None,
        Ok(Outcome::Refused(refused)) => Some(refused.refusal.reason),
        Err(failure) => panic!("{failure}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adapter_answers_nobody_for_whom_a_gateway_merely_speaks() -> Result<()> {
    let inside = Inside::open(&OPTIONS, "").await?;
    inside.show_log().await?;
    let (ada, bob) = (inside.ada()?, inside.federation.issue("nso", "analyst", "bob")?);
    let signed = inside.request(&ask()?, ada.identity(), Some(&ada))?;
    assert_eq!(refusal(&inside, &signed, ada.identity()).await, None);
    // The gateway says that Ada asks, and has nothing of hers.
    let unsigned = inside.request(&ask()?, ada.identity(), None)?;
    assert_eq!(refusal(&inside, &unsigned, ada.identity()).await, Some(ReasonCode::SignatureRequired));
    let by_another = inside.request(&ask()?, ada.identity(), Some(&bob))?;
    assert_eq!(refusal(&inside, &by_another, ada.identity()).await, Some(ReasonCode::SignatureInvalid));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_agency_closes_is_answered_to_nobody() -> Result<()> {
    let closed = "closed = [{ dataset = \"health.visits\", column = \"region\" }]\n";
    let inside = Inside::open(&OPTIONS, closed).await?;
    inside.show_log().await?;
    let ada = inside.ada()?;
    let submitted = inside.request(&ask()?, ada.identity(), Some(&ada))?;
    assert_eq!(refusal(&inside, &submitted, ada.identity()).await, Some(ReasonCode::ClosedByAgency));
    let open = Ask::new("health-statistics", "health-planning", "SELECT COUNT(*) AS n FROM health.visits")?;
    let submitted = inside.request(&open, ada.identity(), Some(&ada))?;
    assert_eq!(refusal(&inside, &submitted, ada.identity()).await, None);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_new_is_answered_before_the_log_is_seen() -> Result<()> {
    let inside = Inside::open(&OPTIONS, "").await?;
    let ada = inside.ada()?;
    let submitted = inside.request(&ask()?, ada.identity(), Some(&ada))?;
    assert_eq!(refusal(&inside, &submitted, ada.identity()).await, Some(ReasonCode::EvidenceOutstanding));
    inside.show_log().await?;
    assert_eq!(refusal(&inside, &submitted, ada.identity()).await, None);
    Ok(())
}

/// A clock that runs tells how long something took at least: that nothing comes earlier holds on any machine.
#[tokio::test(flavor = "multi_thread")]
async fn no_answer_and_no_refusal_leaves_before_its_tick() -> Result<()> {
    let tick = Duration::from_millis(400);
    let inside = Inside::open(&Options { tick_milliseconds: 400, ..OPTIONS }, "").await?;
    inside.show_log().await?;
    let ada = inside.ada()?;
    for signer in [Some(&ada), None] {
        let submitted = inside.request(&ask()?, ada.identity(), signer)?;
        for repeated in [false, true] {
            let begun = Instant::now();
            let refused = refusal(&inside, &submitted, ada.identity()).await;
            assert_eq!(refused.is_some(), signer.is_none());
            assert!(begun.elapsed() >= tick, "signed: {}, repeated: {repeated}", signer.is_some());
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_question_over_several_agencies_an_adapter_answers_its_own_part_and_no_other() -> Result<()> {
    let inside = Inside::open(&OPTIONS, "").await?;
    inside.show_log().await?;
    let ada = inside.ada()?;
    let asked = |dataset: &str| {
        let sql = format!("SELECT mode, COUNT(*) AS n FROM {dataset} GROUP BY mode");
        Ask::new("interpreting-statistics", "interpreting-planning", &sql)
    };
    let answer = async |dataset: &str| {
        let submitted = inside.request(&asked(dataset)?, ada.identity(), Some(&ada))?;
        match inside.app.answer(&submitted, ada.identity()).await {
            Ok(Outcome::Released(answered)) => Ok::<_, anyhow::Error>(Ok(answered)),
            Ok(Outcome::Refused(refused)) => Ok(Err(refused.refusal.reason)),
            Err(failure) => panic!("{failure}"),
        }
    };
    // The gateway brings the request; whose data are read is not its choice.
    let other = answer("education.interpreting").await?;
    assert_eq!(other.err(), Some(ReasonCode::DatasetNotCovered));
    let Ok(union) = answer("services.interpreting").await? else { panic!("the union is refused") };
    let Ok(own) = answer("health.interpreting").await? else { panic!("its own dataset is refused") };
    assert_eq!(union.release, own.release, "its part is what it answers of it alone");
    let leaf = union.evidence.leaf.leaf();
    assert_eq!(leaf.dataset.as_ref().map(|dataset| dataset.as_str()), Some("health.interpreting"));
    Ok(())
}

/// PRIVACY: otherwise the answer's time would tell how large the files are that are read before it is there, and whether
/// somebody else asked for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_question_over_a_cut_that_is_being_read_is_given_the_time_of_reading() -> Result<()> {
    // Registers of 10,000 with 6, 4 and 3 rows of each, in two cuts each: 26 times 10,000 rows at 400 are 1.04·10⁸, 104
    // tenths of a tick.
    let small = |federation: &Federation| {
        change_contracts(federation, "health-agency", &[("register_size", "10_000")])?;
        federation.sign_bundle(1, None, codes::validity())
    };
    let inside = Inside::open_with(&Options { tick_milliseconds: 400, ..OPTIONS }, "", small).await?;
    let (opened, reading) = (Instant::now(), Duration::from_millis(4_160));
    inside.app.read_all_cuts().await;
    inside.show_log().await?;
    let ada = inside.ada()?;
    let time = async |cut: &str, number: u32| {
        let sql =
            format!("SELECT COUNT(*) AS n FROM health.visits FOR SYSTEM_TIME AS OF '{cut}' WHERE cost > {number}");
        let submitted =
            inside.request(&Ask::new("health-statistics", "health-planning", &sql)?, ada.identity(), Some(&ada))?;
        let begun = Instant::now();
        assert_eq!(refusal(&inside, &submitted, ada.identity()).await, None);
        Ok::<_, anyhow::Error>(begun.elapsed())
    };
    // All are read, and of the latest cuts that was so before anybody could ask.
    assert!(time("2024-Q3", 1).await? >= reading);
    let latest = time("2024-Q4", 1).await?;
    assert!(latest < reading, "{latest:?}");
    tokio::time::sleep((reading * 2).saturating_sub(opened.elapsed())).await;
    let ready = time("2024-Q3", 2).await?;
    assert!(ready < reading, "all can have been read by now: {ready:?}");
    Ok(())
}
