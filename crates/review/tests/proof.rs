//! The proof itself, by the real solver. A machine without one fails here and says what to install.

#![expect(clippy::panic, reason = "this is a test program: its functions fail by panicking")]

use firebreak_policy::constitution::Constitution;
use firebreak_review::{Counterexample, ProofError, Solver, properties, prove, prove_property, prove_that, weakened};
use std::collections::BTreeSet;

fn solver() -> Solver {
    Solver::find().unwrap_or_else(|missing| panic!("{missing}"))
}

#[tokio::test]
async fn the_constitution_holds_whatever_policies_are_added() {
    let proof = prove(&solver()).await.unwrap_or_else(|error| panic!("{error}"));
    let articles = Constitution::compiled().unwrap().articles();
    assert_eq!(proof.policies.len(), articles.len());
    assert_eq!(proof.properties.len(), properties().unwrap().len());
    assert_eq!(proof.request_kinds.len(), 4);
    println!("{proof}");
}

#[tokio::test]
async fn the_prover_finds_the_hole_in_every_weakened_constitution() {
    let solver = solver();
    let properties = properties().unwrap();
    for weak in weakened().unwrap() {
        let property = properties.iter().find(|p| p.id == weak.property).unwrap();
        match prove_property(&weak.constitution, property, &solver).await {
            Err(ProofError::Allowed { counterexample, .. }) => {
                shows_the_hole(weak.property, &counterexample);
                println!("{}: {}\n{counterexample}", weak.change, property.title);
            }
            other => panic!("{}: {other:?}", weak.change),
        }
    }
}

/// The counterexample is one of the property, as a person would read it.
fn shows_the_hole(property: &str, found: &Counterexample) {
    let fact = |name| found.fact(name).unwrap_or_else(|| panic!("no {name} in\n{found}"));
    match property {
        "enforcement-learns-something-unpublished" | "enforcement-receives-a-match" => {
            assert!(fact("recipient_classes").contains("\"enforcement\""), "{found}");
            assert_ne!(fact("output"), "\"published_release\"");
        }
        "biometric-or-genetic" => {
            assert!(fact("kinds").contains("etic") || fact("kinds").contains("metric"), "{found}")
        }
        "suspended" => assert_eq!(fact("suspended"), "true"),
        "unsigned" => assert_eq!(fact("signed"), "false"),
        "out-of-force" => assert_eq!(fact("agreement.in_force"), "false"),
        "unassessed" => assert_eq!(fact("agreement.assessed"), "false"),
        _ => assert!(found.facts.len() > 20, "{found}"),
    }
}

#[test]
fn every_policy_is_removed_once_and_every_property_falls_once() {
    let weakened = weakened().unwrap();
    let articles = Constitution::compiled().unwrap().articles();
    let removed: BTreeSet<_> =
        articles.keys().filter(|id| weakened.iter().any(|w| !w.constitution.articles().contains_key(*id))).collect();
    assert_eq!(removed.len(), articles.len());
    let fallen: BTreeSet<_> = weakened.iter().map(|w| w.property.to_owned()).collect();
    assert_eq!(fallen, properties().unwrap().into_iter().map(|p| p.id).collect());
}

#[tokio::test]
async fn a_policy_that_can_err_is_found() {
    let weak = weakened().unwrap().into_iter().find(|w| w.change.contains("can err")).unwrap();
    match prove_that(&weak.constitution, &solver()).await {
        Err(ProofError::Errs { policy, counterexample }) => {
            assert_eq!(policy, "constitution/nothing-while-suspended");
            assert_eq!(counterexample.fact("agreement.retention_days"), Some("9223372036854775807"));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_constitution_that_allows_nothing_is_no_proof() {
    let nothing = "@id(\"none\") @reason(\"SUSPENDED\") @rule(\"none\") forbid (principal, action, resource);";
    let constitution = Constitution::parse([nothing]).unwrap();
    assert!(matches!(prove_that(&constitution, &solver()).await, Err(ProofError::Vacuous(_))));
}

#[tokio::test]
async fn a_solver_that_gives_no_answer_is_a_failure() {
    let broken = Solver::at(std::path::Path::new("/bin/false")).unwrap();
    assert!(matches!(prove(&broken).await, Err(ProofError::Solver(_))));
}
