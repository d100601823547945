//! Both sides of a join without their sockets: the same code as in two adapters, in this process.

use super::truth::{joined, labelled};
use crate::matching::side::{Side, log_in};
use agency_adapter::app::{JoinRun, MatchError, PreparedJoin, Refused};
use anyhow::{Context, Result, bail, ensure};
use firebreak_audit::{LeafKind, Log, SignedLeaf};
use firebreak_domain::{Charge, Clock, Epsilon, ReasonCode, Recipient, RequestId, SystemClock};
use firebreak_node::SubmittedQuery;
use firebreak_population::Register;
use firebreak_privacy::join::{DummyLaw, JoinList, ListSide, count, points};
use firebreak_store::{AccountKind, Choice};
use firebreak_testbed::Federation;
use firebreak_tests::{Own, run};
use firebreak_transport::sign;
use firebreak_wire::{Header, RequestSignature, question_from_wire, sql_question};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

pub const LEFT: &str = "education-agency";
pub const RIGHT: &str = "health-agency";
pub const ALL: &str = "SELECT COUNT(*) AS pupils FROM education.enrolments e JOIN health.vaccinations v ON PERSON";
pub const EDUCATION: (&str, &str, &str) = (LEFT, "education", "education.enrolments");
pub const HEALTH: (&str, &str, &str) = (RIGHT, "health", "health.vaccinations");

/// The law of the sample agreement's dummies.
pub fn law() -> Result<DummyLaw> {
    Ok(DummyLaw::new(Epsilon::from_nano(500_000_000))?)
}

/// Two agencies, and a log to which their leaves are brought.
pub struct Pair {
    pub federation: Federation,
    pub left: Side,
    pub right: Side,
    log: Log,
    _folder: TempDir,
}

impl Pair {
    pub async fn open(persons: u32) -> Result<Self> {
        let (federation, folder) = Own::prepare(persons)?;
        let clock = || Arc::new(SystemClock);
        let left = Side::open(&federation, LEFT, clock(), Vec::new()).await?;
        let right = Side::open(&federation, RIGHT, clock(), Vec::new()).await?;
        let log = log_in(&federation, &folder.path().join("log"))?;
        let mut this = Self { federation, left, right, log, _folder: folder };
        this.visit().await?;
        Ok(this)
    }

    /// Brings both sides' leaves to the log, as the gateway does.
    pub async fn visit(&mut self) -> Result<()> {
        self.left.visit(&mut self.log).await?;
        self.right.visit(&mut self.log).await
    }

    /// The right side after its program has ended and started again over what it left.
    pub async fn reopen_right(&mut self) -> Result<()> {
        self.right.app.state().clone().close().await;
        self.right = Side::open(&self.federation, RIGHT, Arc::new(SystemClock), Vec::new()).await?;
        self.visit().await
    }

    /// Ada's request of that number, signed.
    pub fn request(&self, id: u8, sql: &str) -> Result<SubmittedQuery> {
        let ada = self.federation.issue("nso", "analyst", "ada")?;
        let question = sql_question(sql);
        let canonical_query = question_from_wire(Some(&question)).map(|query| query.canonical().into());
        let act = firebreak_domain::Act::Aggregate { canonical_query: canonical_query.unwrap_or_default() };
        let unsigned = Header {
            request_id: RequestId::from_bytes([id; 16]),
            agreement: "school-vaccinations".parse()?,
            purpose: "school-health".parse()?,
            expires: SystemClock.now().plus_secs(300),
            signature: None,
        };
        let recipient = Recipient::Organisation(ada.identity().org.clone());
        let signature = sign(&ada, &unsigned.intent(act, recipient).signing_bytes())?;
        let signature = Some(RequestSignature { certificates: ada.chain(), signature });
        let header = Header { signature, ..unsigned };
        match SubmittedQuery::read(Some(&header.to_wire()), Some(&question), None) {
            Ok(submitted) => Ok(submitted),
            Err(_) => bail!("the request cannot be read"),
        }
    }

    /// Has a side prepare, and brings its commitment into the log.
    pub async fn prepare(&mut self, agency: &str, request: &SubmittedQuery) -> Result<Result<Arc<JoinRun>, Refused>> {
        let ada = self.federation.issue("nso", "analyst", "ada")?.identity().clone();
        let side = if agency == LEFT { &self.left } else { &self.right };
        let prepared = match side.app.prepare_join(request, &ada).await? {
            Ok(PreparedJoin { run, evidence }) => {
                assert_eq!(evidence.leaf.leaf().kind, LeafKind::JoinCommitted);
                assert_eq!(evidence.leaf.leaf().charge, law()?.charge());
                Ok(run)
            }
            Err(refused) => Err(refused),
        };
        self.visit().await?;
        if let Ok(run) = &prepared {
            let side = if agency == LEFT { &self.left } else { &self.right };
            run.logged(&side.app).await?;
        }
        Ok(prepared)
    }

    /// Both sides prepared.
    pub async fn both(&mut self, id: u8, sql: &str) -> Result<[Arc<JoinRun>; 2]> {
        let request = self.request(id, sql)?;
        let left = self.prepare(LEFT, &request).await?.map_err(|r| anyhow::anyhow!("{}", r.refusal))?;
        let right = self.prepare(RIGHT, &request).await?.map_err(|r| anyhow::anyhow!("{}", r.refusal))?;
        Ok([left, right])
    }

    /// What a register's account for life has lost.
    pub fn lost(side: &Side, register: &str) -> Result<Charge> {
        let account = AccountKind::UnitSpaceLife(register.parse()?);
        side.app.state().balance(&[account]).first().copied().context("no balance")
    }
}

/// All bytes of a side's own list.
pub fn own(run: &JoinRun) -> Result<Vec<u8>> {
    all(run.own()?)
}

fn all(list: &agency_adapter::app::JoinList) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let piece = list.piece(bytes.len() as u64)?;
        if piece.is_empty() {
            return Ok(bytes);
        }
        bytes.extend(piece);
    }
}

/// Sends one side's key and list to the other.
pub fn send(from: &JoinRun, to: &JoinRun) -> Result<()> {
    let offset = to.greet(&from.key(), &from.own()?.sizes)?;
    let bytes = own(from)?;
    let rest = bytes.get(offset as usize..).context("it has more than there is")?;
    if !rest.is_empty() {
        to.push(offset, rest)?;
    }
    Ok(())
}

/// What the gateway counts: the lists that both send on.
async fn counted(pair: &Pair, [left, right]: &[Arc<JoinRun>; 2]) -> Result<(Vec<i64>, [Vec<u8>; 2])> {
    send(left, right)?;
    send(right, left)?;
    let of_right = all(&left.sent_on(&pair.left.app).await?)?;
    let of_left = all(&right.sent_on(&pair.right.app).await?)?;
    let list = |side, bytes| points(side, bytes);
    let one = JoinList { points: list(ListSide::Left, &of_left)?, own_sizes: &left.own()?.sizes };
    let other = JoinList { points: list(ListSide::Right, &of_right)?, own_sizes: &right.own()?.sizes };
    let cells = count(&law()?, one, other)?;
    Ok((cells.counts().to_vec(), [of_left, of_right]))
}

/// A cell is farther from the truth than this in fewer than one of 10⁹ runs.
pub fn farthest() -> Result<i64> {
    Ok(law()?.half_width(1.0 - 1e-9).into())
}

#[test]
fn two_agencies_count_the_persons_whom_both_have_and_each_loses_its_charge_once() -> Result<()> {
    run(async {
        let mut pair = Pair::open(2_000).await?;
        let runs = pair.both(1, ALL).await?;
        let (counts, _) = counted(&pair, &runs).await?;
        let one = labelled(&pair.federation, EDUCATION, Register::Education, None).await?;
        let other = labelled(&pair.federation, HEALTH, Register::Health, None).await?;
        let truth = joined(&one, &other).get(&(0, 0)).copied().unwrap_or_default();
        let [found] = counts.as_slice() else { bail!("{} counts", counts.len()) };
        ensure!(truth > 2 * farthest()?, "the population is too small to tell");
        ensure!((found - truth).abs() <= farthest()?, "{found} is not {truth}");
        // Prepared again, by the same request: nothing more is lost.
        drop(runs);
        let again = pair.both(1, ALL).await?;
        drop(again);
        let charge = law()?.charge();
        assert_eq!(Pair::lost(&pair.left, "education.persons")?, charge);
        assert_eq!(Pair::lost(&pair.right, "health.persons")?, charge);
        Ok(())
    })
}

#[test]
fn a_side_that_starts_again_sends_the_same_bytes_and_goes_on_where_it_broke_off() -> Result<()> {
    run(async {
        let mut pair = Pair::open(600).await?;
        let runs = pair.both(1, ALL).await?;
        let [left, right] = &runs;
        let (before, key) = (own(right)?, right.key());
        // Half of the left side's list has come.
        right.greet(&left.key(), &left.own()?.sizes)?;
        let list = own(left)?;
        let half = list.len() / 34 / 2 * 34;
        right.push(0, list.get(..half).context("no half")?)?;
        let [left, right] = runs;
        drop(right);
        pair.reopen_right().await?;
        let request = pair.request(1, ALL)?;
        let right = pair.prepare(RIGHT, &request).await?.map_err(|r| anyhow::anyhow!("{}", r.refusal))?;
        assert_eq!((own(&right)?, right.key()), (before, key));
        assert_eq!(right.received(), half as u64);
        let runs = [left, right];
        let (_, lists) = counted(&pair, &runs).await?;
        let (_, again) = counted(&pair, &runs).await?;
        ensure!(lists == again, "what is sent on differs");
        assert_eq!(Pair::lost(&pair.right, "health.persons")?, law()?.charge());
        Ok(())
    })
}

#[test]
fn a_session_that_is_over_draws_nothing_again_and_its_charge_stays_spent() -> Result<()> {
    run(async {
        let mut pair = Pair::open(300).await?;
        let [left, right] = pair.both(1, ALL).await?;
        let name = *left.name();
        drop((left, right));
        pair.left.app.state().close_session(&name).await?;
        let request = pair.request(1, ALL)?;
        let Err(refused) = pair.prepare(LEFT, &request).await? else { bail!("it was prepared again") };
        assert_eq!(refused.refusal.reason, ReasonCode::SessionMismatch);
        ensure!(refused.refusal.detail.contains("stays spent"), "{}", refused.refusal);
        assert_eq!(Pair::lost(&pair.left, "education.persons")?, law()?.charge());
        Ok(())
    })
}

#[test]
fn whoever_is_restricted_takes_no_part() -> Result<()> {
    run(async {
        let mut pair = Pair::open(2_000).await?;
        let persons = pair.federation.population().truth().filter(|row| row.register == Register::Education);
        let keys: Vec<String> = persons.map(|row| row.person_key).collect();
        for key in &keys {
            pair.left.app.state().record_choice(key.as_bytes(), &Choice::Restrict(None)).await?;
        }
        let request = pair.request(1, ALL)?;
        let left = pair.prepare(LEFT, &request).await?.map_err(|r| anyhow::anyhow!("{}", r.refusal))?;
        // Matching dummies of the one cell and single ones of the one label: that is all.
        let most = 2 * u64::from(law()?.most());
        ensure!(keys.len() as u64 > most, "the population is too small to tell");
        ensure!(left.own()?.sizes.iter().sum::<u64>() <= most, "somebody takes part");
        Ok(())
    })
}

#[test]
fn nothing_is_sent_before_the_commitment_is_in_the_log() -> Result<()> {
    run(async {
        let mut pair = Pair::open(300).await?;
        let ada = pair.federation.issue("nso", "analyst", "ada")?.identity().clone();
        let request = pair.request(1, ALL)?;
        let Ok(PreparedJoin { run, .. }) = pair.left.app.prepare_join(&request, &ada).await? else { bail!("refused") };
        let waited = tokio::time::timeout(Duration::from_millis(300), run.logged(&pair.left.app)).await;
        ensure!(waited.is_err(), "the commitment is not in the log");
        match run.own() {
            Err(MatchError::Refused(refusal)) => assert_eq!(refusal.reason, ReasonCode::EvidenceOutstanding),
            _ => bail!("the list can be sent"),
        }
        let (leaves, _) = pair.left.app.outstanding().await?;
        let kinds: Result<Vec<_>, _> = leaves.iter().map(|leaf| SignedLeaf::decode(&leaf.leaf)).collect();
        ensure!(kinds?.iter().any(|leaf| leaf.leaf().kind == LeafKind::JoinCommitted), "no commitment waits");
        pair.visit().await?;
        run.logged(&pair.left.app).await?;
        run.own()?;
        Ok(())
    })
}
