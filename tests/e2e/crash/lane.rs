use super::moments::{Moment, Moments};
use super::received::{Ready, Received};
use super::step::{Killed, Left, Step};
use anyhow::{Context, Result, ensure};
use firebreak::client::{Ask, QueryAnswer};
use firebreak_audit::{LeafKind, verify_folder};
use firebreak_domain::{Rho, SystemClock};
use firebreak_store::{State, StateKey};
use firebreak_tests::{Caller, Own, ask_until_answered, copy_folder};
use sqlx::{ConnectOptions, Connection as _, SqliteConnection};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};

const AGENCY: &str = "health-agency";
/// What one request costs, in nano-ρ.
const PRICE: u64 = 100_000;

/// How many kills fell on each step.
#[derive(Default)]
pub struct Toll {
    steps: BTreeMap<Step, u64>,
    /// Kills after which the caller held a part of its answer.
    pub partly: u64,
}

impl Toll {
    pub fn add(&mut self, other: Self) {
        self.partly += other.partly;
        for (step, kills) in other.steps {
            *self.steps.entry(step).or_default() += kills;
        }
    }

    pub fn of(&self, step: Step) -> u64 {
        self.steps.get(&step).copied().unwrap_or_default()
    }

    pub fn kills(&self) -> u64 {
        self.steps.values().sum()
    }
}

/// A federation whose gateway and adapter are killed in turn.
pub struct Lane {
    own: Own,
    number: u32,
    gateway: Moments,
    adapter: Moments,
    toll: Toll,
}

impl Lane {
    pub async fn start(number: u32) -> Result<Self> {
        let seed = u64::from(number);
        let (gateway, adapter) = (Moments::new(Killed::Gateway, seed), Moments::new(Killed::Adapter, seed + 1000));
        Ok(Self { own: Own::start(300, &[]).await?, number, gateway, adapter, toll: Toll::default() })
    }

    pub async fn run(mut self, kills: u32) -> Result<Toll> {
        // One request that nobody disturbs, so that all programs have found each other.
        let ada = Caller::ADA.connect(&self.own.federation, self.own.live.address).await?;
        let mut answers = vec![ask_until_answered(&ada, &ask(0)?).await?];
        for number in 1..=kills {
            let killed = if number % 2 == 1 { Killed::Gateway } else { Killed::Adapter };
            let (step, answer) = self
                .kill(killed, &ask(number)?, answers.len() as u64)
                .await
                .with_context(|| format!("kill {number} of lane {}, the {killed:?}", self.number))?;
            *self.toll.steps.entry(step).or_default() += 1;
            answers.push(answer);
        }
        self.audit(&answers).await?;
        Ok(self.toll)
    }

    /// Asks, kills at some moment, looks at what is left, starts again and asks again.
    async fn kill(&mut self, killed: Killed, ask: &Ask, done: u64) -> Result<(Step, QueryAnswer)> {
        let moments = if killed == Killed::Gateway { &mut self.gateway } else { &mut self.adapter };
        let moment = moments.next();
        let mut received = Received::default();
        let ready = Ready::to_ask(&self.own.federation, self.own.live.address, ask).await?;
        let checkpoint = self.own.federation.layout().log().join("checkpoint");
        let own = &mut self.own;
        let receiving = async {
            if let Moment::Sent(milliseconds) = moment {
                sleep(Duration::from_secs_f64((-milliseconds).max(0.0) / 1000.0)).await;
            }
            // However it ends: what counts is what has come by then.
            let _ = timeout(Duration::from_secs(20), received.take_in(ready)).await;
        };
        let kill = async {
            match moment {
                Moment::Sent(milliseconds) => sleep(Duration::from_secs_f64(milliseconds.max(0.0) / 1000.0)).await,
                Moment::Logged(milliseconds) => logged(&checkpoint, milliseconds).await?,
            }
            match killed {
                Killed::Gateway => own.kill_gateway().await,
                Killed::Adapter => own.kill_adapter(AGENCY).await,
            }
        };
        let ((), ended) = tokio::join!(receiving, kill);
        ended?;
        let left = self.left(killed).await?;
        let step = Step::at(killed, &left, done, received.whole());
        self.toll.partly += u64::from(received.anything() && !received.whole());
        // A single figure is as much a release as all of them.
        let released = (done + u64::from(received.anything())) * PRICE;
        ensure!(left.recorded >= released, "{} recorded, {released} released: {left:?}", left.recorded);
        ensure!(
            left.recorded >= left.releases * PRICE,
            "a release is stored that the ledger did not pay for: {left:?}"
        );
        ensure!(left.requests <= done + 1 && left.releases <= left.requests, "{left:?} after {done} requests");
        let moments = if killed == Killed::Gateway { &mut self.gateway } else { &mut self.adapter };
        moments.fell(moment, step);
        match killed {
            Killed::Gateway => self.own.start_gateway().await?,
            Killed::Adapter => self.own.start_adapter(AGENCY).await?,
        }
        let ada = Caller::ADA.connect(&self.own.federation, self.own.live.address).await?;
        let answer =
            timeout(Duration::from_secs(60), ask_until_answered(&ada, ask)).await.context("no answer came")??;
        received.agrees_with(&answer)?;
        Ok((step, answer))
    }

    fn folder(&self, killed: Killed) -> PathBuf {
        let layout = self.own.federation.layout();
        match killed {
            Killed::Gateway => layout.gateway(),
            Killed::Adapter => layout.adapter(AGENCY),
        }
    }

    /// What a killed program left, read from a copy, whose whole ledger is verified.
    async fn left(&self, killed: Killed) -> Result<Left> {
        let folder = self.folder(killed);
        let copies = tempfile::tempdir()?;
        let copy = copies.path().join("state");
        copy_folder(&folder.join("state"), &copy)?;
        let state =
            State::open(&copy, StateKey::load_or_create(&folder.join("state.key"))?, Arc::new(SystemClock)).await?;
        let recorded = state.verify_chain().await?.total.rho.nano();
        state.close().await;
        let mut database = open(&copy).await?;
        let left = Left {
            requests: count(&mut database, CHARGED).await?,
            releases: count(&mut database, "SELECT count(*) FROM releases").await?,
            outstanding: count(&mut database, "SELECT count(*) FROM leaves WHERE log_index IS NULL").await?,
            recorded,
        };
        database.close().await?;
        Ok(left)
    }

    /// At the end: every answer is a stored release on both sides, paid for on both, and in the log on behalf of both.
    async fn audit(&mut self, answers: &[QueryAnswer]) -> Result<()> {
        // The courier confirms what is outstanding.
        sleep(Duration::from_millis(1500)).await;
        self.own.live.stop().await?;
        let done = answers.len() as u64;
        for killed in [Killed::Gateway, Killed::Adapter] {
            let left = self.left(killed).await?;
            ensure!((left.requests, left.releases) == (done, done), "{killed:?}: {left:?} after {done} answers");
            ensure!(left.recorded >= done * PRICE, "{killed:?}: {left:?} after {done} answers");
        }
        let distinct: std::collections::BTreeSet<_> = answers.iter().map(|a| &a.released.release_id).collect();
        ensure!(distinct.len() as u64 == done, "two requests share a release");
        let key = self.own.federation.log_key().parse()?;
        let report = verify_folder(&self.own.federation.layout().log(), &key, &[], None)?;
        let releases = report.leaves_by_kind.get(&LeafKind::Release).copied().unwrap_or_default();
        ensure!(releases == 2 * done, "{releases} leaves of releases, of gateway and agency, for {done} answers");
        Ok(())
    }
}

/// Waits for another checkpoint and so many milliseconds more, to a fraction of one.
async fn logged(checkpoint: &Path, milliseconds: f64) -> Result<()> {
    let before = std::fs::read(checkpoint)?;
    let begun = Instant::now();
    // A checkpoint is replaced at once: there is always one to read.
    while std::fs::read(checkpoint)? == before && begun.elapsed() < Duration::from_secs(5) {
        tokio::task::yield_now().await;
    }
    let logged = Instant::now();
    while logged.elapsed().as_secs_f64() * 1000.0 < milliseconds {
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// The requests that a ledger charges: its entries' fifth byte says that one is charged (1, 2) or given back (3).
const CHARGED: &str = "SELECT coalesce(sum(CASE substr(entry, 5, 1) WHEN x'01' THEN 1 WHEN x'02' THEN 1 \
                       WHEN x'03' THEN -1 ELSE 0 END), 0) FROM ledger";

async fn open(folder: &Path) -> Result<SqliteConnection> {
    let file = folder.join("state.sqlite");
    Ok(sqlx::sqlite::SqliteConnectOptions::new().filename(file).connect().await?)
}

async fn count(database: &mut SqliteConnection, query: &'static str) -> Result<u64> {
    let found: i64 = sqlx::query_scalar(query).fetch_one(database).await?;
    Ok(u64::try_from(found)?)
}

/// A question that nobody asked before.
fn ask(number: u32) -> Result<Ask> {
    let sql = format!("SELECT COUNT(*) AS n FROM health.visits WHERE cost >= {number}");
    let mut ask = Ask::new("health-statistics", "health-planning", &sql)?;
    ask.rho = Some(Rho::from_nano(PRICE));
    Ok(ask)
}
