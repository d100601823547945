//! Engines that die half-way, and what noise is drawn after a restart: an adapter is asked directly, in this process.
#![expect(clippy::panic, reason = "an engine dies by one, and what fails here fails a test")]

use super::OPTIONS;
use agency_adapter::app::Outcome;
use agency_adapter::bounded::PERSON;
use agency_adapter::engine::Engine;
use anyhow::{Context, Result};
use arrow::array::{ArrayRef, Int16Array, RecordBatch, UInt32Array};
use arrow::datatypes::DataType;
use datafusion::common::exec_err;
use datafusion::logical_expr::{ColumnarValue, Volatility, create_udf};
use datafusion::prelude::{SessionContext, col};
use firebreak::client::Ask;
use firebreak_domain::DatasetId;
use firebreak_node::SubmittedQuery;
use firebreak_privacy::Released;
use firebreak_store::AccountKind;
use firebreak_testbed::Options;
use firebreak_tests::Inside;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const REGIONS: i16 = 17;
const PERSONS: u32 = 3_400;
/// What the engine says when it dies, as an engine might that fell over somebody's row.
const WORDS: &str = "row of person 4711";

/// How an engine ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Answers,
    Fails,
    Panics,
}

/// What an engine will do, said from outside.
#[derive(Clone, Default)]
struct Fate {
    end: Arc<AtomicU8>,
    batches: Arc<AtomicUsize>,
}

impl Fate {
    fn set(&self, end: End) {
        self.batches.store(0, Ordering::SeqCst);
        self.end.store(end as u8, Ordering::SeqCst);
    }

    /// An engine over 200 persons of each region, a row each, that ends so after it has read half of them.
    fn engine(&self) -> Result<Engine> {
        let half = |from: u32, to: u32| {
            let persons: ArrayRef = Arc::new(UInt32Array::from_iter_values(from..to));
            let regions = (from..to).map(|person| (person % 17) as i16);
            let regions: ArrayRef = Arc::new(regions.collect::<Int16Array>());
            RecordBatch::try_from_iter([(PERSON, persons), ("region", regions)])
        };
        let halves = vec![half(0, PERSONS / 2)?, half(PERSONS / 2, PERSONS)?];
        let fate = self.clone();
        let passed = move |arguments: &[ColumnarValue]| {
            let second = fate.batches.fetch_add(1, Ordering::SeqCst) > 0;
            let end = fate.end.load(Ordering::SeqCst);
            if second && end == End::Panics as u8 {
                panic!("{WORDS}");
            }
            match arguments {
                [values] if !(second && end == End::Fails as u8) => Ok(values.clone()),
                _ => exec_err!("{WORDS}"),
            }
        };
        let passed =
            create_udf("Passed", vec![DataType::Int16], DataType::Int16, Volatility::Volatile, Arc::new(passed));
        let frame = SessionContext::new().read_batches(halves)?;
        Ok(Engine::of(frame.with_column("region", passed.call(vec![col("region")]))?))
    }

    /// Has the visits asked through such an engine.
    fn serves(&self, inside: &Inside) -> Result<()> {
        let bundle = inside.app.policy().accepted().context("no bundle")?;
        let visits: DatasetId = "health.visits".parse()?;
        let contract = bundle.contracts().get(&visits).context("no contract")?;
        let cut = contract.latest_cut().context("no cut")?;
        inside.app.datasets().serve(contract, cut, self.engine()?);
        Ok(())
    }
}

fn of_regions(end: &str) -> Result<Ask> {
    let sql = format!("SELECT region, COUNT(*) AS n FROM health.visits {end} SETTINGS rho = 0.1");
    Ok(Ask::new("health-statistics", "health-planning", &sql)?)
}

/// What the persons have lost, in units of 10⁻⁹.
fn lost(inside: &Inside) -> Result<u64> {
    let account = AccountKind::UnitSpaceLife("health.persons".parse()?);
    Ok(inside.app.state().balance(&[account]).first().context("no account")?.rho.nano())
}

/// The noisy numbers that a request is answered with.
async fn numbers(inside: &Inside, submitted: &SubmittedQuery) -> Result<Vec<i64>> {
    let ada = inside.ada()?;
    match inside.app.answer(submitted, ada.identity()).await {
        Ok(Outcome::Released(answered)) => {
            let released = Released::decode(&answered.release)?;
            Ok(released.vectors().next().context("no vector")?.to_vec())
        }
        Ok(Outcome::Refused(refused)) => panic!("{}", refused.refusal),
        Err(failure) => panic!("{failure}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_dies_half_way_keeps_charge_and_tick_and_tells_nothing_of_the_data() -> Result<()> {
    let tick = Duration::from_millis(400);
    let inside = Inside::open(&Options { tick_milliseconds: 400, ..OPTIONS }, "").await?;
    inside.show_log().await?;
    let (ada, fate) = (inside.ada()?, Fate::default());
    fate.serves(&inside)?;
    for (times, end) in [(1, End::Fails), (2, End::Panics)] {
        let asked = of_regions(&format!("WHERE region <> 'R0{times}' GROUP BY region"))?;
        let submitted = inside.request(&asked, ada.identity(), Some(&ada))?;
        // Sent again while the engine dies again, it costs nothing more.
        for _ in 0..2 {
            fate.set(end);
            let begun = Instant::now();
            let failure = inside.app.answer(&submitted, ada.identity()).await.err().context("answered")?;
            assert!(begun.elapsed() >= tick, "{end:?}: the failure left before its tick");
            let said = format!("{failure:#} {failure:?}");
            for word in WORDS.split(' ').filter(|word| word.len() > 3) {
                assert!(!said.contains(word), "{end:?}: {said}");
            }
            assert_eq!(lost(&inside)?, times * 100_000_000, "{end:?}: not charged once");
        }
        fate.set(End::Answers);
        let answered = numbers(&inside, &submitted).await?;
        assert_eq!(answered.len(), 17);
        assert_eq!(lost(&inside)?, times * 100_000_000, "{end:?}: charged again");
    }
    Ok(())
}

/// Two questions of one exact answer and one scale of noise. At a deviation of 13 seventeen numbers are the same by
/// accident with a probability below 10⁻²⁵.
#[tokio::test(flavor = "multi_thread")]
async fn noise_after_a_restart_is_not_that_of_before() -> Result<()> {
    let inside = Inside::open(&OPTIONS, "").await?;
    inside.show_log().await?;
    let ada = inside.ada()?;
    let asked = inside.request(&of_regions("GROUP BY region")?, ada.identity(), Some(&ada))?;
    let before = numbers(&inside, &asked).await?;
    inside.show_log().await?;
    let inside = inside.reopened().await?;
    inside.show_log().await?;
    let same = inside.request(&of_regions("WHERE region IS NOT NULL GROUP BY region")?, ada.identity(), Some(&ada))?;
    assert_ne!(numbers(&inside, &same).await?, before, "noise was used twice");
    assert_eq!(numbers(&inside, &asked).await?, before, "what was released is given again");
    Ok(())
}

/// No group has so many rows, exactly or released: none is shown, and each is released with its own noisy number.
#[tokio::test(flavor = "multi_thread")]
async fn having_leaves_no_group_out_of_the_release() -> Result<()> {
    let inside = Inside::open(&OPTIONS, "").await?;
    inside.show_log().await?;
    let (ada, fate) = (inside.ada()?, Fate::default());
    fate.serves(&inside)?;
    let asked = of_regions("GROUP BY region HAVING COUNT(*) >= 5000")?;
    let found = numbers(&inside, &inside.request(&asked, ada.identity(), Some(&ada))?).await?;
    // 200 each, at a deviation of 13: fewer than 90 once in 10¹⁵ answers.
    assert_eq!(found.len(), REGIONS as usize);
    assert!(found.iter().all(|number| (90..=310).contains(number)), "{found:?}");
    // HAVING is read from the release: without it the same release answers.
    let plain = inside.request(&of_regions("GROUP BY region")?, ada.identity(), Some(&ada))?;
    let charged = lost(&inside)?;
    assert_eq!((numbers(&inside, &plain).await?, lost(&inside)?), (found, charged));
    Ok(())
}
