//! R28: random schedules of concurrent charges, retries, settlements and refunds, broken off at a random moment, each
//! held to what its callers were told.
//!
//! A *schedule* is the requests of three callers at once over one register of persons with a budget of its own: each
//! charges, retries, settles, gives back or forgets six times, by a seed. Many schedules run together in one state, so
//! that their steps share transactions. At a random moment the files are copied as they lie there, which is what a kill
//! leaves, and a state is opened over the copy. For each schedule it must then hold that
//!
//! - no account is overspent, and each balance is the sum of the charges that are known;
//! - what a caller was told of is there: charges, refunds, and releases with their bytes;
//! - no release is there that nobody paid for, and none that nobody measured;
//! - nothing is stuck: whatever was charged can be settled, and what is left of the budget can be spent, to the last
//!   unit.

use crate::support::{leaf, open, rho};
use firebreak_domain::{AgreementId, ManualClock, RequestId, Timestamp, UnitSpaceId};
use firebreak_store::{
    Abandoned, AccountKind, AccountLimit, ReleaseKey, RequestKey, Reservation, ReserveError, Reserved, Settled, State,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    collections::HashMap,
    io::Read,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};
use tokio::task::JoinSet;

/// Callers of a schedule, each a task.
const CALLERS: usize = 3;
/// What each of them does.
const STEPS: usize = 6;
const IDS: u8 = 4;
const DIGESTS: u8 = 6;
/// What the persons of a schedule, and each of its callers, may spend.
const LIFE: u64 = 40;
const CALLER: u64 = 25;

/// What a digest stands for: two digests mean the same release, at the same cost.
fn meaning(digest: u8) -> (u8, u64) {
    (digest / 2, u64::from(digest / 2) * 3 + 2)
}

/// A request by its caller and id.
type Name = (usize, u8);

/// Where a request stands.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Stand {
    /// Not charged, or given back.
    Unknown,
    /// Charged, to the persons as well unless it was a repeat.
    Charged { digest: u8, persons: bool },
}

/// A change, and when it was asked for and told of.
struct Change<T> {
    asked: u64,
    told: u64,
    to: T,
}

/// What the callers of a schedule did and were told.
#[derive(Default)]
struct Told {
    requests: HashMap<Name, Vec<Change<Stand>>>,
    /// The release stored for a key.
    releases: HashMap<u8, Vec<Change<Vec<u8>>>>,
}

/// What the tasks of a round share.
struct Round {
    state: State,
    seed: u64,
    ticks: AtomicU64,
    stop: AtomicBool,
}

impl Round {
    fn tick(&self) -> u64 {
        self.ticks.fetch_add(1, Ordering::SeqCst)
    }
}

/// One schedule of a round.
struct Schedule {
    number: u64,
    told: Mutex<Told>,
}

impl Schedule {
    fn persons(&self) -> AccountKind {
        AccountKind::UnitSpaceLife(UnitSpaceId::new(format!("persons-{}", self.number)).unwrap())
    }

    fn caller(&self, caller: usize) -> AccountKind {
        AccountKind::Analyst { agreement: AgreementId::new("statistics").unwrap(), principal: self.principal(caller) }
    }

    fn principal(&self, caller: usize) -> String {
        format!("spiffe://firebreak.example/org/nso/analyst/a{}-{caller}", self.number)
    }

    fn key(&self, release: u8) -> ReleaseKey {
        let mut key = [release; 32];
        key[..8].copy_from_slice(&self.number.to_be_bytes());
        ReleaseKey::from_bytes(key)
    }

    fn request(&self, (caller, id): Name, digest: u8) -> RequestKey {
        RequestKey {
            principal: self.principal(caller),
            request_id: RequestId::from_bytes([id; 16]),
            digest: [digest; 32],
        }
    }

    async fn reserve(
        &self,
        state: &State,
        name: Name,
        digest: u8,
        (life, own): (u64, u64),
    ) -> Result<Reserved, ReserveError> {
        let (release, cost) = meaning(digest);
        let accounts = [
            AccountLimit { account: self.persons(), limit: rho(life) },
            AccountLimit { account: self.caller(name.0), limit: rho(own) },
        ];
        state.reserve(&self.request(name, digest), &self.key(release), rho(cost), &accounts).await
    }

    fn changed(&self, name: Name, asked: u64, round: &Round, to: Stand) {
        let told = round.tick();
        self.told.lock().unwrap().requests.entry(name).or_default().push(Change { asked, told, to });
    }

    /// What one caller does.
    async fn act(&self, round: &Round, caller: usize) {
        let mut random = ChaCha8Rng::seed_from_u64(round.seed ^ (self.number << 8 | caller as u64));
        let mut held: Vec<(Reservation, Name, u8)> = Vec::new();
        for step in 0..STEPS {
            if round.stop.load(Ordering::SeqCst) {
                return;
            }
            let asked = round.tick();
            let place = (!held.is_empty()).then(|| random.random_range(0..held.len()));
            match (random.random_range(0..10), place) {
                (0..5, _) | (_, None) => {
                    let (name, digest) = ((caller, random.random_range(0..IDS)), random.random_range(0..DIGESTS));
                    match self.reserve(&round.state, name, digest, (LIFE, CALLER)).await {
                        Ok(Reserved::Fresh(token)) => {
                            self.changed(name, asked, round, Stand::Charged { digest, persons: true });
                            held.push((token, name, digest));
                        }
                        Ok(Reserved::Resumed(token)) => held.push((token, name, digest)),
                        // Charged now as a repeat, unless it was charged before.
                        Ok(Reserved::Repeat(_)) => {
                            let before = self.told.lock().unwrap().stand(name, u64::MAX);
                            if before == Stand::Unknown {
                                self.changed(name, asked, round, Stand::Charged { digest, persons: false });
                            }
                        }
                        Ok(Reserved::Stored(_)) | Err(_) => {}
                    }
                }
                (5..8, Some(place)) => {
                    let (token, name, digest) = held.swap_remove(place);
                    token.mark_executing();
                    let bytes = format!("{} {name:?} {step}", self.number).into_bytes();
                    let settled = round.state.settle(token, &bytes, b"evidence", leaf(&bytes)).await;
                    if let Ok(Settled::Now(_)) = settled {
                        let (told, release) = (round.tick(), meaning(digest).0);
                        let change = Change { asked, told, to: bytes };
                        self.told.lock().unwrap().releases.entry(release).or_default().push(change);
                    }
                }
                (8, Some(place)) => {
                    let (token, name, _) = held.swap_remove(place);
                    if round.state.abandon(token).await == Ok(Abandoned::Refunded) {
                        self.changed(name, asked, round, Stand::Unknown);
                    }
                }
                (_, Some(place)) => drop(held.swap_remove(place)),
            }
        }
    }

    /// Holds a state over the copied files to what the callers were told up to `from`; what was asked for up to `to`
    /// may be there too.
    async fn check(&self, state: &State, from: u64, to: u64) -> Result<(), String> {
        let (mut balances, mut unsure) = ([0; CALLERS + 1], Vec::new());
        let mut paid: Vec<u8> = Vec::new();
        let mut charged = Vec::new();
        for caller in 0..CALLERS {
            for id in 0..IDS {
                let name = (caller, id);
                let expected = self.possible(name, from, to);
                let likely = expected.iter().find_map(|stand| match stand {
                    Stand::Charged { digest, .. } => Some(*digest),
                    Stand::Unknown => None,
                });
                let found = self.found(state, name, likely.unwrap_or(0)).await?;
                let fit = |stand: &&Stand| match (**stand, found) {
                    (Stand::Unknown, None) => true,
                    (Stand::Charged { digest, .. }, Some(found)) => digest == found,
                    _ => false,
                };
                let fits: Vec<Stand> = expected.iter().filter(fit).copied().collect();
                if fits.is_empty() {
                    return Err(format!("{name:?} is {found:?}, its caller knows of {expected:?}"));
                }
                let Some(digest) = found else { continue };
                let (release, cost) = meaning(digest);
                balances[caller + 1] += cost;
                // Given back and charged again as a repeat while the files were copied: either may be in the copy.
                let as_if = |charged: bool| fits.contains(&Stand::Charged { digest, persons: charged });
                match (as_if(true), as_if(false)) {
                    (true, true) => unsure.push(cost),
                    (true, false) => balances[0] += cost,
                    _ => {}
                }
                if as_if(true) {
                    paid.push(release);
                }
                charged.push((name, digest));
            }
        }
        let accounts: Vec<_> = std::iter::once(self.persons()).chain((0..CALLERS).map(|c| self.caller(c))).collect();
        let spent: Vec<u64> = state.balance(&accounts).iter().map(|charge| charge.rho.nano()).collect();
        let sums = unsure
            .iter()
            .fold(vec![balances[0]], |sums, cost| sums.iter().flat_map(|sum| [*sum, sum + cost]).collect());
        if !sums.contains(&spent[0]) || spent[1..] != balances[1..] {
            return Err(format!("balances are {spent:?}, the charges that are known come to {balances:?}"));
        }
        if spent[0] > LIFE || spent[1..].iter().any(|spent| *spent > CALLER) {
            return Err(format!("overspent: {spent:?}"));
        }
        for release in 0..=DIGESTS / 2 {
            let stored = state.release_of(&self.key(release)).await.map_err(|error| error.to_string())?;
            let told = self.told.lock().unwrap();
            let known = told.releases.get(&release).map(Vec::as_slice).unwrap_or_default();
            match stored {
                None if known.iter().any(|change| change.told < from) => {
                    return Err(format!("release {release} is forgotten"));
                }
                None => {}
                Some(stored) => {
                    if known.len() != 1 || known.iter().any(|change| *change.to != *stored.bytes || change.asked > to) {
                        return Err(format!("release {release} is not the one that was measured first"));
                    }
                    if !paid.contains(&release) {
                        return Err(format!("release {release} was paid for by nobody"));
                    }
                }
            }
        }
        self.goes_on(state, &charged, LIFE - spent[0]).await
    }

    /// Nothing is stuck.
    async fn goes_on(&self, state: &State, charged: &[(Name, u8)], left: u64) -> Result<(), String> {
        for (name, digest) in charged {
            match self.reserve(state, *name, *digest, (0, 0)).await {
                Ok(Reserved::Resumed(token)) => {
                    let bytes = format!("again {} {name:?}", self.number).into_bytes();
                    state.settle(token, &bytes, b"evidence", leaf(&bytes)).await.map_err(|error| error.to_string())?;
                }
                Ok(Reserved::Stored(_) | Reserved::Repeat(_)) => {}
                other => return Err(format!("{name:?} was charged and is stuck: {other:?}")),
            }
        }
        for (number, (cost, fits)) in [(left + 1, false), (left, true), (1, false)].into_iter().enumerate() {
            let accounts = [AccountLimit { account: self.persons(), limit: rho(LIFE) }];
            let (request, key) = (self.request((CALLERS, number as u8), 0), self.key(100 + number as u8));
            let reserved = state.reserve(&request, &key, rho(cost), &accounts).await;
            if reserved.is_ok() != fits {
                return Err(format!("{cost} of {left} left: {reserved:?}"));
            }
        }
        Ok(())
    }

    /// The digest under which a request is known, which is looked for under a `likely` one first. One that is not known
    /// finds an account with nothing in it, whatever its digest.
    async fn found(&self, state: &State, name: Name, likely: u8) -> Result<Option<u8>, String> {
        for digest in std::iter::once(likely).chain((0..DIGESTS).filter(|digest| *digest != likely)) {
            match self.reserve(state, name, digest, (0, 0)).await {
                Ok(_) => return Ok(Some(digest)),
                Err(ReserveError::RequestIdReused) => {}
                Err(ReserveError::Exhausted { .. }) if digest == likely => return Ok(None),
                Err(other) => return Err(format!("{name:?} under digest {digest}: {other}")),
            }
        }
        Err(format!("{name:?} is known under no digest of its own"))
    }

    fn possible(&self, name: Name, from: u64, to: u64) -> Vec<Stand> {
        let told = self.told.lock().unwrap();
        let later = told.requests.get(&name).into_iter().flatten();
        let later = later.filter(|change| change.told >= from && change.asked <= to).map(|change| change.to);
        std::iter::once(told.stand(name, from)).chain(later).collect()
    }
}

impl Told {
    /// Where a request stands by what was told before a moment.
    fn stand(&self, name: Name, before: u64) -> Stand {
        let mut changes = self.requests.get(&name).into_iter().flatten();
        changes.rfind(|change| change.told < before).map_or(Stand::Unknown, |change| change.to)
    }
}

/// Runs so many schedules together in `folder`, which must be empty, and says which of them were violated, and how.
pub async fn round(folder: &Path, seed: u64, schedules: u64) -> Vec<String> {
    let clock = || Arc::new(ManualClock::at(Timestamp::from_secs(crate::support::START)));
    let (running, copy) = (folder.join("running"), folder.join("copy"));
    let state = open(&running, clock()).await.unwrap();
    let round = Arc::new(Round { state, seed, ticks: AtomicU64::new(0), stop: AtomicBool::new(false) });
    let all: Vec<_> = (0..schedules)
        .map(|number| Arc::new(Schedule { number: seed.wrapping_mul(1 << 20) + number, told: Mutex::default() }))
        .collect();
    let mut acting = JoinSet::new();
    for schedule in &all {
        for caller in 0..CALLERS {
            let (schedule, round) = (Arc::clone(schedule), Arc::clone(&round));
            acting.spawn(async move { schedule.act(&round, caller).await });
        }
    }
    // What is done in a schedule counts about two ticks.
    let most = schedules * (CALLERS * STEPS * 2) as u64;
    let moment = ChaCha8Rng::seed_from_u64(seed).random_range(0..most * 3 / 4);
    while round.ticks.load(Ordering::SeqCst) < moment && !acting.is_empty() {
        tokio::select! { biased; _ = acting.join_next() => {}, () = tokio::task::yield_now() => {} }
    }
    let from = round.tick();
    copy_files(&running, &copy);
    let to = round.tick();
    round.stop.store(true, Ordering::SeqCst);
    // Those under way learn how they end: that is told by the history, of which the copy is a beginning.
    while let Some(ended) = acting.join_next().await {
        ended.unwrap();
    }
    let mut violations = Vec::new();
    let whole = |problem: &dyn std::fmt::Display| format!("seed {seed}: {problem}");
    match open(&copy, clock()).await {
        Err(error) => violations.push(whole(&error)),
        Ok(state) => {
            // At once, so that their steps share transactions here too.
            let mut checking = JoinSet::new();
            for schedule in &all {
                let (schedule, state) = (Arc::clone(schedule), state.clone());
                checking.spawn(async move {
                    let problem = schedule.check(&state, from, to).await.err()?;
                    Some(format!("schedule {}: {problem}", schedule.number))
                });
            }
            while let Some(checked) = checking.join_next().await {
                violations.extend(checked.unwrap().map(|problem| whole(&problem)));
            }
            if let Err(error) = state.verify_chain().await {
                violations.push(whole(&error));
            }
            state.close().await;
        }
    }
    round.state.clone().close().await;
    for folder in [&running, &copy] {
        std::fs::remove_dir_all(folder).unwrap();
    }
    violations
}

/// Copies the files as they lie there. The log of writes is taken last, and again if it was begun anew meanwhile:
/// what the database lacks is then in it.
fn copy_files(from: &Path, to: &Path) {
    let log = from.join("state.sqlite-wal");
    let salt = || {
        let mut header = [0; 32];
        let read = std::fs::File::open(&log).and_then(|mut file| file.read_exact(&mut header));
        read.map(|()| header).ok()
    };
    loop {
        let before = salt();
        let _ = std::fs::remove_dir_all(to);
        std::fs::create_dir_all(to).unwrap();
        for file in ["state.sqlite", "state.sqlite-wal"] {
            if from.join(file).exists() {
                std::fs::copy(from.join(file), to.join(file)).unwrap();
            }
        }
        if before == salt() {
            return;
        }
    }
}

#[cfg(test)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_schedule_overspends_answers_for_nothing_or_is_stuck_wherever_it_is_broken_off() {
    let folder = tempfile::tempdir().unwrap();
    for seed in 0..12 {
        let violations = round(folder.path(), seed, 32).await;
        assert!(violations.is_empty(), "{violations:#?}");
    }
}
