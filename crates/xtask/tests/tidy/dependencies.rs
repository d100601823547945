//! Which package may depend on which.

use crate::manifests::{Member, members};
use crate::{assert_tidy, root};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// The vocabulary, which everything that speaks of agreements and people may use.
const DOMAIN: &str = "firebreak-domain";
/// Each package and those of ours that it may depend on. What is not in the table depends on none and is used by none.
const EDGES: &[(&str, &[&str])] = &[
    (DOMAIN, &[]),
    // Named for what it stands in the place of. opendp alone uses it.
    ("openssl", &[]),
    ("firebreak-psi", &[]),
    ("firebreak-query", &[DOMAIN]),
    ("firebreak-policy", &[DOMAIN]),
    ("firebreak-audit", &[DOMAIN]),
    ("firebreak-transport", &[DOMAIN]),
    ("firebreak-store", &[DOMAIN]),
    ("firebreak-population", &[DOMAIN]),
    ("firebreak-records", &[DOMAIN, "firebreak-psi", "firebreak-store"]),
    ("firebreak-privacy", &[DOMAIN, "firebreak-query", "firebreak-policy", "firebreak-store"]),
    ("firebreak-wire", &[DOMAIN, "firebreak-query", "firebreak-privacy", "firebreak-policy", "firebreak-audit"]),
    ("firebreak-format", &[DOMAIN, "firebreak-wire"]),
    ("firebreak-review", &[DOMAIN, "firebreak-policy"]),
    (
        "firebreak-node",
        &[
            DOMAIN,
            "firebreak-audit",
            "firebreak-policy",
            "firebreak-privacy",
            "firebreak-query",
            "firebreak-store",
            "firebreak-transport",
            "firebreak-wire",
        ],
    ),
    // INVARIANT: the gateway reaches neither `psi` nor an engine, and neither program reaches the other.
    (
        "firebreak-gateway",
        &[
            DOMAIN,
            "firebreak-audit",
            "firebreak-format",
            "firebreak-node",
            "firebreak-policy",
            "firebreak-privacy",
            "firebreak-query",
            "firebreak-store",
            "firebreak-transport",
            "firebreak-wire",
        ],
    ),
    (
        "agency-adapter",
        &[
            DOMAIN,
            "firebreak-audit",
            "firebreak-format",
            "firebreak-node",
            "firebreak-policy",
            "firebreak-privacy",
            "firebreak-psi",
            "firebreak-query",
            "firebreak-records",
            "firebreak-store",
            "firebreak-transport",
            "firebreak-wire",
        ],
    ),
    (
        "firebreak",
        &[
            DOMAIN,
            "firebreak-audit",
            "firebreak-format",
            "firebreak-policy",
            "firebreak-privacy",
            "firebreak-query",
            "firebreak-review",
            "firebreak-transport",
            "firebreak-wire",
        ],
    ),
    ("firebreak-testbed", ALL_BUT_TESTS),
    ("firebreak-tests", ALL_BUT_TESTS),
    // Neither of the programs: what it reads is built once more for libFuzzer, and the query engine would be too.
    (
        "firebreak-fuzz",
        &[
            DOMAIN,
            "firebreak-audit",
            "firebreak-node",
            "firebreak-policy",
            "firebreak-privacy",
            "firebreak-psi",
            "firebreak-query",
            "firebreak-records",
            "firebreak-store",
            "firebreak-transport",
            "firebreak-wire",
        ],
    ),
    ("xtask", &[]),
];

const ALL_BUT_TESTS: &[&str] = &[
    DOMAIN,
    "agency-adapter",
    "firebreak",
    "firebreak-audit",
    "firebreak-format",
    "firebreak-gateway",
    "firebreak-node",
    "firebreak-policy",
    "firebreak-population",
    "firebreak-privacy",
    "firebreak-psi",
    "firebreak-query",
    "firebreak-records",
    "firebreak-review",
    "firebreak-store",
    "firebreak-testbed",
    "firebreak-transport",
    "firebreak-wire",
];

/// What tests of a package may use beside: the population, and the vocabulary.
const FOR_TESTS: &[&str] = &[DOMAIN, "firebreak-population"];

/// Crates of others that only these packages use. One change of such a crate is one review of one package.
const ONLY_USERS: &[(&str, &[&str])] = &[
    ("curve25519-dalek", &["firebreak-psi"]),
    ("sqlparser", &["firebreak-query"]),
    ("cedar-policy", &["firebreak-policy", "firebreak-review"]),
    ("cedar-policy-symcc", &["firebreak-review"]),
    ("tlog_tiles", &["firebreak-audit"]),
    ("hpke", &["firebreak-audit"]),
    ("signed_note", &["firebreak-audit", "firebreak-policy"]),
    ("rustls", &["firebreak-transport"]),
    ("tokio-rustls", &["firebreak-transport"]),
    ("rcgen", &["firebreak-transport"]),
    ("sqlx", &["firebreak-store"]),
    ("opendp", &["firebreak-privacy"]),
    ("prost", &["firebreak-wire", "firebreak-gateway", "agency-adapter", "firebreak-fuzz", "xtask"]),
    ("arrow-flight", &["firebreak-gateway"]),
    ("datafusion", &["agency-adapter"]),
];

/// End-to-end tests look behind every wall.
const LOOKS_BEHIND_WALLS: &str = "firebreak-tests";

fn strays(members: &[Member]) -> Vec<String> {
    let edges: BTreeMap<_, _> = EDGES.iter().copied().collect();
    let ours: BTreeSet<&str> = members.iter().map(|member| member.name.as_str()).collect();
    let mut faults = Vec::new();
    for member in members {
        let Some(allowed) = edges.get(member.name.as_str()) else {
            faults.push(format!("{}: not in the table of packages", member.name));
            continue;
        };
        for dependency in member.dependencies() {
            let in_tests = dependency.for_tests && FOR_TESTS.contains(&dependency.name);
            if ours.contains(dependency.name) && !allowed.contains(&dependency.name) && !in_tests {
                faults.push(format!("{}: may not depend on {}", member.name, dependency.name));
            }
            let users = ONLY_USERS.iter().find(|(name, _)| *name == dependency.name).map(|(_, users)| *users);
            if users.is_some_and(|users| !users.contains(&member.name.as_str())) && member.name != LOOKS_BEHIND_WALLS {
                faults.push(format!("{}: {} is not its to use", member.name, dependency.name));
            }
        }
    }
    faults
}

/// Packages that both trees have, but built with other features.
fn built_twice(for_programs: &str, for_tests: &str) -> Vec<String> {
    let read = |tree: &str| {
        let mut packages: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for line in tree.lines() {
            if let Some((package, features)) = line.trim_end_matches(" (*)").split_once('|') {
                packages.entry(package.to_owned()).or_default().insert(features.to_owned());
            }
        }
        packages
    };
    let (programs, tests) = (read(for_programs), read(for_tests));
    let differing = programs.into_iter().filter(|(package, features)| tests.get(package) != Some(features));
    differing.map(|(package, _)| format!("{package} is built once for programs and once more for tests")).collect()
}

fn tree(edges: &str) -> String {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(root()).args([
        "tree",
        "--workspace",
        "--prefix",
        "none",
        "--format",
        "{p}|{f}",
        "--edges",
        edges,
    ]);
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn packages_depend_only_on_what_their_layer_allows() {
    assert_tidy(&strays(&members()));
}

/// Otherwise the demo and the tests would each compile the query engine for minutes. Where a test needs a feature that
/// no program needs, `tests/Cargo.toml` asks for it as well: that package is built with everything and never shipped.
#[test]
fn programs_and_tests_share_one_build() {
    let (for_programs, for_tests) = (tree("normal,build"), tree("normal,build,dev"));
    assert!(for_programs.contains("datafusion v"), "the tree of packages was not read");
    assert_tidy(&built_twice(&for_programs, &for_tests));
}

#[test]
fn a_program_that_reaches_the_other_and_a_stray_engine_are_found() {
    let gateway = "[package]\nname = \"firebreak-gateway\"\n[dependencies]\nagency-adapter.workspace = true\n\
                   datafusion.workspace = true\n[dev-dependencies]\nfirebreak-population.workspace = true\n\
                   firebreak-psi.workspace = true";
    let named = |name: &str| format!("[package]\nname = \"{name}\"");
    let texts = [gateway.to_owned(), named("agency-adapter"), named("firebreak-psi"), named("firebreak-population")];
    let mut planted: Vec<_> = texts.iter().map(|text| Member::parse(Path::new("planted"), text)).collect();
    planted.push(Member::parse(Path::new("planted"), &named("firebreak-new")));
    assert_eq!(
        strays(&planted),
        [
            "firebreak-gateway: may not depend on agency-adapter",
            "firebreak-gateway: datafusion is not its to use",
            "firebreak-gateway: may not depend on firebreak-psi",
            "firebreak-new: not in the table of packages",
        ]
    );
}

#[test]
fn a_feature_that_only_tests_have_is_found() {
    let (programs, tests) = ("tokio v1.0.0|rt\nhex v0.4.3|std", "tokio v1.0.0|rt,test-util\nhex v0.4.3|std (*)\nx v1|");
    assert_eq!(built_twice(programs, tests), ["tokio v1.0.0 is built once for programs and once more for tests"]);
}
