//! R28: random schedules against a model that fits on a page.

use crate::support::*;
use firebreak_domain::Charge;
use firebreak_store::{Abandoned, Reservation, ReserveError, Reserved, Settled, State};
use proptest::{prelude::*, test_runner::RngSeed};
use std::collections::HashMap;

const NAMES: [&str; 2] = ["ada", "bob"];
const LIFE: u64 = 40;
const ANALYST: u64 = 25;

#[derive(Debug, Clone)]
enum Op {
    Reserve { name: usize, id: u8, digest: u8 },
    MarkExecuting(usize),
    Settle(usize),
    Abandon(usize),
    Drop(usize),
    Confirm,
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    let slot = || any::<prop::sample::Index>().prop_map(|index| index.index(64));
    prop_oneof![
        8 => (0..NAMES.len(), 0..4_u8, 0..5_u8).prop_map(|(name, id, digest)| Op::Reserve { name, id, digest }),
        2 => slot().prop_map(Op::MarkExecuting),
        4 => slot().prop_map(Op::Settle),
        3 => slot().prop_map(Op::Abandon),
        2 => slot().prop_map(Op::Drop),
        1 => Just(Op::Confirm),
        1 => Just(Op::Reopen),
    ]
}

/// What a digest stands for: two digests mean the same release key.
fn meaning(digest: u8) -> (u8, u64) {
    (digest / 2, u64::from(digest / 2) * 3 + 2)
}

/// The rules, without a disk.
#[derive(Default)]
struct Model {
    /// Digest of each request charged and not given back.
    requests: HashMap<(usize, u8), u8>,
    /// The release by its key, and the request that settled it.
    releases: HashMap<u8, (Vec<u8>, (usize, u8))>,
    life: u64,
    analyst: [u64; 2],
    entries: u64,
}

/// A reservation held, and whether it may be given back by the rules.
struct Held {
    token: Reservation,
    name: usize,
    id: u8,
    digest: u8,
    refundable: bool,
}

#[derive(Debug, PartialEq)]
enum Expected {
    Fresh,
    Resumed,
    Stored(Vec<u8>),
    Repeat(Vec<u8>),
    Refused,
    Reused,
}

impl Model {
    fn reserve(&mut self, name: usize, id: u8, digest: u8) -> Expected {
        let (key, cost) = meaning(digest);
        let release = self.releases.get(&key).cloned();
        if let Some(before) = self.requests.get(&(name, id)) {
            return match release {
                _ if *before != digest => Expected::Reused,
                Some((bytes, settler)) if settler == (name, id) => Expected::Stored(bytes),
                Some((bytes, _)) => Expected::Repeat(bytes),
                None => Expected::Resumed,
            };
        }
        let charges_life = release.is_none();
        if self.analyst[name] + cost > ANALYST || (charges_life && self.life + cost > LIFE) {
            return Expected::Refused;
        }
        self.analyst[name] += cost;
        self.life += if charges_life { cost } else { 0 };
        self.entries += 1;
        self.requests.insert((name, id), digest);
        release.map_or(Expected::Fresh, |(bytes, _)| Expected::Repeat(bytes))
    }

    fn refund(&mut self, held: &Held) {
        let (_, cost) = meaning(held.digest);
        self.analyst[held.name] -= cost;
        self.life -= cost;
        self.entries += 1;
        self.requests.remove(&(held.name, held.id));
    }
}

async fn reserve(state: &State, name: usize, id: u8, digest: u8) -> Result<Reserved, ReserveError> {
    let (release, cost) = meaning(digest);
    let accounts = [within(life(), LIFE), within(analyst(NAMES[name]), ANALYST)];
    state.reserve(&request(NAMES[name], id, digest), &key(release), rho(cost), &accounts).await
}

async fn agree(state: &State, model: &Model) {
    let balance = state.balance(&[life(), analyst("ada"), analyst("bob")]);
    let expected: Vec<Charge> = [model.life, model.analyst[0], model.analyst[1]].map(rho).to_vec();
    assert_eq!(balance, expected);
    let head = state.ledger_head();
    assert_eq!((head.count, head.total), (model.entries, rho(model.life)));
    assert!(model.life <= LIFE && model.analyst.iter().all(|spent| *spent <= ANALYST));
}

async fn run(ops: Vec<Op>) {
    let folder = Folder::new();
    let mut state = folder.open().await;
    let mut model = Model::default();
    let mut held: Vec<Held> = Vec::new();
    for (step, op) in ops.into_iter().enumerate() {
        match op {
            Op::Reserve { name, id, digest } => {
                let expected = model.reserve(name, id, digest);
                let got = match reserve(&state, name, id, digest).await {
                    Ok(Reserved::Fresh(token)) => {
                        held.push(Held { token, name, id, digest, refundable: true });
                        Expected::Fresh
                    }
                    Ok(Reserved::Resumed(token)) => {
                        for other in held.iter_mut().filter(|held| (held.name, held.id) == (name, id)) {
                            other.refundable = false;
                        }
                        held.push(Held { token, name, id, digest, refundable: false });
                        Expected::Resumed
                    }
                    Ok(Reserved::Stored(own)) => {
                        assert_eq!(&*own.evidence, format!("evidence {name} {id}").as_bytes(), "step {step}");
                        Expected::Stored(own.release.bytes.to_vec())
                    }
                    Ok(Reserved::Repeat(release)) => Expected::Repeat(release.bytes.to_vec()),
                    Err(ReserveError::Exhausted { .. }) => Expected::Refused,
                    Err(ReserveError::RequestIdReused) => Expected::Reused,
                    Err(other) => panic!("{other}"),
                };
                assert_eq!(got, expected, "step {step}");
            }
            Op::MarkExecuting(slot) if !held.is_empty() => {
                let slot = slot % held.len();
                held[slot].token.mark_executing();
                held[slot].refundable = false;
            }
            Op::Settle(slot) if !held.is_empty() => {
                let held = held.swap_remove(slot % held.len());
                let bytes = format!("release of step {step}").into_bytes();
                let leaf = format!("leaf of step {step}").into_bytes();
                let evidence = format!("evidence {} {}", held.name, held.id).into_bytes();
                let settled = state.settle(held.token, &bytes, &evidence, crate::support::leaf(&leaf)).await.unwrap();
                let (key, request) = (meaning(held.digest).0, (held.name, held.id));
                let first = !model.releases.contains_key(&key);
                let (expected, settler) = model.releases.entry(key).or_insert((bytes, request));
                assert_eq!(&*settled.release().bytes, expected.as_slice(), "step {step}");
                match settled {
                    Settled::Now(_) => assert!(first, "step {step}"),
                    Settled::Stored(own) => {
                        assert!(!first && *settler == request && *own.evidence == *evidence, "step {step}");
                    }
                    Settled::Repeat(_) => assert!(!first && *settler != request, "step {step}"),
                }
            }
            Op::Abandon(slot) if !held.is_empty() => {
                let held = held.swap_remove(slot % held.len());
                let expected = if held.refundable {
                    model.refund(&held);
                    Abandoned::Refunded
                } else {
                    Abandoned::Kept
                };
                assert_eq!(state.abandon(held.token).await.unwrap(), expected, "step {step}");
            }
            Op::Drop(slot) if !held.is_empty() => drop(held.swap_remove(slot % held.len())),
            Op::Confirm => {
                let waiting = state.outstanding(100).await.unwrap();
                let leaves: Vec<_> = waiting.iter().map(|leaf| (leaf.hash, step as u64)).collect();
                state.confirm(&leaves).await.unwrap();
            }
            Op::Reopen => {
                held.clear();
                state.verify_chain().await.unwrap();
                state.close().await;
                state = folder.open().await;
            }
            _ => {}
        }
        agree(&state, &model).await;
    }
    assert_eq!(state.verify_chain().await.unwrap(), state.ledger_head());
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None, rng_seed: RngSeed::Fixed(28), ..ProptestConfig::with_cases(32)
    })]

    #[test]
    fn every_schedule_leaves_what_the_model_says(ops in proptest::collection::vec(op(), 1..60)) {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(run(ops));
    }
}
