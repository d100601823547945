//! Every target over its samples, over mutations of them and over what once broke it.
#![expect(clippy::unwrap_used, reason = "a test stops where its own material is wrong")]

use firebreak_fuzz::{TARGETS, Target, corpus, mutate, target};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeSet;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Inputs that break a target, in words with which each can be tried again.
fn broken_by(target: &Target, inputs: impl Iterator<Item = Vec<u8>>) -> Vec<String> {
    let breaks = |input: &Vec<u8>| panic::catch_unwind(AssertUnwindSafe(|| (target.run)(input))).is_err();
    // One says as much as many.
    let first = inputs.filter(breaks).map(|input| format!("{}: {}", target.name, hex::encode(input))).next();
    first.into_iter().collect()
}

/// Does it for all targets, on two threads.
fn for_all(each: impl Fn(&Target) -> Vec<String> + Sync) -> Vec<String> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut faults = Vec::new();
        while let Some(target) = TARGETS.get(next.fetch_add(1, Ordering::Relaxed)) {
            faults.extend(each(target));
        }
        faults
    };
    thread::scope(|scope| {
        let threads = [scope.spawn(work), scope.spawn(work)];
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn every_target_takes_its_own_samples_so_that_none_stops_at_its_first_check() {
    let refused = for_all(|target| {
        let samples = (target.samples)();
        let refused = samples.iter().filter(|sample| !(target.run)(sample)).map(hex::encode);
        let refused: Vec<_> = refused.map(|sample| format!("{} refuses {sample}", target.name)).collect();
        if samples.is_empty() { vec![format!("{} has no sample", target.name)] } else { refused }
    });
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

#[test]
fn no_mutation_of_a_sample_breaks_an_invariant() {
    let broken = for_all(|target| {
        let samples = (target.samples)();
        // The name's own stream: what is tried of one target does not move with another.
        let seed = target.name.bytes().fold(0, |seed: u64, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mutations = (0..target.rounds).map(|_| mutate::mutate(&samples, &mut rng));
        broken_by(target, [Vec::new()].into_iter().chain(mutations))
    });
    assert!(broken.is_empty(), "target and input, as bytes in hexadecimal:\n{}", broken.join("\n"));
}

#[test]
fn what_once_broke_a_target_breaks_it_no_more() {
    let mut broken = Vec::new();
    // Without the folder nothing ever has.
    for folder in fs::read_dir(corpus()).into_iter().flatten() {
        let folder = folder.unwrap();
        let name = folder.file_name().into_string().unwrap();
        let target = target(&name).unwrap_or_else(|| panic!("corpus/{name} is of no target"));
        let inputs = fs::read_dir(folder.path()).unwrap().map(|file| fs::read(file.unwrap().path()).unwrap());
        broken.extend(broken_by(target, inputs));
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn targets_have_names_of_their_own_in_order() {
    let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
    assert!(names.is_sorted());
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
}

/// A decoder that takes what it should not is noticed: the harness itself can fail.
#[test]
fn an_input_that_breaks_a_target_is_told_with_its_bytes() {
    let planted = Target {
        name: "planted",
        run: |bytes| {
            assert_ne!(bytes, [0xab], "a planted fault");
            true
        },
        samples: Vec::new,
        rounds: 0,
    };
    assert_eq!(broken_by(&planted, [vec![1], vec![0xab]].into_iter()), ["planted: ab"]);
    assert!(broken_by(&planted, [vec![1]].into_iter()).is_empty());
}
