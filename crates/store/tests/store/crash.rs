//! R28, R32: a program killed at any moment has lost nothing that it had promised, and promised nothing that it had not
//! written.

use crate::support::{open, rho};
use firebreak_domain::{
    AgreementId, CapLimits, Charge, Clock, MatchKeyName, OrgId, RequestId, SystemClock, UnitSpaceId,
};
use firebreak_store::{
    AccountKind, AccountLimit, CapOutcome, CappedKey, EvaluationChunk, OwnRelease, ReleaseKey, RequestKey, Reserved,
    State, TagsHandedOut,
};
use rand::{Rng, SeedableRng};
use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

#[cfg(test)]
const ROUNDS: u32 = 24;

/// What the killed program said before it died.
#[derive(Default)]
struct Promises {
    reserved: BTreeSet<u32>,
    settled: Vec<(u32, String)>,
    refunded: BTreeSet<u32>,
    evaluated: BTreeSet<u32>,
    handed: BTreeSet<u32>,
}

/// Built by `cargo test` beside this test.
#[cfg(test)]
fn charger() -> std::path::PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests.parent().and_then(Path::parent).unwrap().join("examples").join("charger");
    assert!(path.exists(), "build the example first: cargo build -p firebreak-store --example charger");
    path
}

/// Starts the program, lets it promise for a while, and kills it.
fn kill_after(charger: &Path, folder: &Path, round: u32, delay: Duration) -> Promises {
    let mut child = Command::new(charger).arg(folder).arg(round.to_string()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "open");
    let killer = std::thread::spawn(move || {
        std::thread::sleep(delay);
        child.kill().unwrap();
        child.wait().unwrap()
    });
    let mut promises = Promises::default();
    let mut last = String::new();
    for line in lines.map_while(Result::ok) {
        let words: Vec<_> = line.split(' ').collect();
        // The very last line can be cut short by the kill; it is held to only if it is whole.
        match words[..] {
            ["reserved", number] => drop(number.parse().map(|number| promises.reserved.insert(number))),
            ["settled", number, id] if id.len() == 64 => {
                promises.settled.push((number.parse().unwrap(), id.to_owned()))
            }
            ["refunded", number] => drop(number.parse().map(|number| promises.refunded.insert(number))),
            ["evaluated", number] => drop(number.parse().map(|number| promises.evaluated.insert(number))),
            ["handed", number] => drop(number.parse().map(|number| promises.handed.insert(number))),
            _ => last = line,
        }
    }
    assert!(last.len() < 100, "not a line of the program");
    assert!(!killer.join().unwrap().success(), "it ended by itself");
    promises
}

fn cost(number: u32) -> Charge {
    rho(u64::from(number % 7 + 1))
}

fn digest(number: u32) -> [u8; 32] {
    let mut digest = [0; 32];
    digest[..4].copy_from_slice(&number.to_be_bytes());
    digest
}

/// Sends a request again with nothing left to charge it to: what is not known yet is refused.
async fn ask_again(state: &State, number: u32) -> Option<Reserved> {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&number.to_be_bytes());
    let key = RequestKey {
        principal: "spiffe://firebreak.example/org/nso/analyst/ada".to_owned(),
        request_id: RequestId::from_bytes(id),
        digest: digest(number),
    };
    let nothing = AccountLimit { account: persons(), limit: rho(0) };
    state.reserve(&key, &ReleaseKey::from_bytes(digest(number)), cost(number), &[nothing]).await.ok()
}

fn persons() -> AccountKind {
    AccountKind::UnitSpaceLife(UnitSpaceId::new("persons").unwrap())
}

fn capped() -> CappedKey {
    CappedKey {
        agreement: AgreementId::new("agreement").unwrap(),
        receiver: OrgId::new("receiver").unwrap(),
        key: MatchKeyName::new("number").unwrap(),
    }
}

async fn evaluated(state: &State, number: u32) -> CapOutcome {
    let chunk = EvaluationChunk {
        of: capped(),
        period: 2025,
        session: digest(number),
        number: 0,
        blinded_hash: digest(number),
        elements: 10,
    };
    state.charge_evaluations(&chunk, NO_LIMIT).await.unwrap()
}

async fn handed_out(state: &State, number: u32) -> CapOutcome {
    let list =
        TagsHandedOut { of: capped(), period: 2025, session: digest(number), list_hash: digest(number), tags: 10 };
    state.charge_tags(&list, NO_LIMIT).await.unwrap()
}

const NO_LIMIT: CapLimits = CapLimits { per_year: u64::MAX, for_life: u64::MAX };

#[cfg(test)]
#[tokio::test]
async fn a_killed_program_keeps_every_promise() {
    let kinds = kills(&charger(), ROUNDS, 28).await;
    assert!(kinds.iter().all(|kind| *kind > 0), "every step was reached: {kinds:?}");
}

/// Kills the program `charger` so many times over one folder, and holds the folder to what it had promised each time.
/// Says how many promises there were: of charges, releases, refunds, evaluations and lists of tags.
///
/// # Panics
/// If a promise is broken.
pub async fn kills(charger: &Path, rounds: u32, seed: u64) -> [usize; 5] {
    let folder = tempfile::tempdir().unwrap();
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let (mut recorded, mut releases) = (0, 0);
    let mut kinds = [0; 5];
    for round in 0..rounds {
        let delay = Duration::from_micros(random.random_range(0..60_000));
        let promises = kill_after(charger, folder.path(), round, delay);
        // Opening verifies the chain; this verifies the releases and leaves too, each paid for by an entry.
        let state = open(folder.path(), Arc::new(SystemClock) as Arc<dyn Clock>).await.unwrap();
        let head = state.verify_chain().await.unwrap();
        assert_eq!(state.balance(&[persons()]), [head.total], "the balance is the sum of the entries");
        for number in &promises.reserved {
            let known = ask_again(&state, *number).await;
            let refunded = promises.refunded.contains(number);
            // A refund that nobody was told of may have happened still.
            assert!(known.is_some() && !refunded || known.is_none() && number % 3 == 0, "reserved {number}");
        }
        for (number, id) in &promises.settled {
            match ask_again(&state, *number).await {
                Some(Reserved::Stored(OwnRelease { release, .. })) => {
                    assert_eq!(&release.id.to_string(), id);
                    assert_eq!(&*release.bytes, format!("release {number}").as_bytes());
                }
                other => panic!("settled {number}: {other:?}"),
            }
        }
        for number in &promises.evaluated {
            assert_eq!(evaluated(&state, *number).await, CapOutcome::Resumed, "evaluated {number}");
        }
        for number in &promises.handed {
            assert_eq!(handed_out(&state, *number).await, CapOutcome::Resumed, "handed {number}");
        }
        // The recorded loss is that of the requests that are known, and nothing else. Each task of the program may have
        // got one request further than it said.
        let mut known = Charge::default();
        let (mut stored, mut number) = (0, round << 20);
        for _ in 0..8 {
            let first = number;
            while number < first + 0xffff {
                match ask_again(&state, number).await {
                    Some(Reserved::Stored(_)) => stored += 1,
                    Some(_) => {}
                    // Abandoned ones are every third; two more unknown ones in a row are the end.
                    None if number % 3 == 0 => {
                        number += 1;
                        continue;
                    }
                    None => break,
                }
                known = known.plus(cost(number)).unwrap();
                number += 1;
            }
            number = first + (1 << 16);
        }
        assert_eq!(head.total.rho.nano() - recorded, known.rho.nano(), "round {round}");
        let leaves = state.outstanding(1_000_000).await.unwrap().len();
        assert_eq!(leaves - releases, stored, "each release has its leaf, and each leaf its release");
        (recorded, releases) = (head.total.rho.nano(), leaves);
        for (sum, more) in kinds.iter_mut().zip([
            promises.reserved.len(),
            promises.settled.len(),
            promises.refunded.len(),
            promises.evaluated.len(),
            promises.handed.len(),
        ]) {
            *sum += more;
        }
        state.close().await;
    }
    kinds
}
