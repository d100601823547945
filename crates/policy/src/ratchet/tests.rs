use super::*;
use crate::fixture::{DAY, Fixture, NOW};
use crate::{BundleError, Validity};
use firebreak_domain::EpochTerms;

/// A validity that has waited long enough for anything.
const WAITED: Validity = Validity {
    made: NOW.plus_secs(-40 * DAY),
    valid_from: NOW.plus_secs(-5 * DAY),
    valid_until: NOW.plus_secs(90 * DAY),
};
/// One that began at once.
const AT_ONCE: Validity = Validity { made: NOW.plus_secs(-5 * DAY), ..WAITED };

const VISITS: &str = "contracts/health.visits.toml";
const PATIENTS: &str = "contracts/health.patients.toml";
const AGREEMENT: &str = "agreements/visits.toml";
const MATCH: &str = "agreements/school-match.toml";
const JOIN: &str = "agreements/school-join.toml";
const ENDPOINTS: &str = "endpoints.toml";

/// A file, a text in it, and what takes its place.
type Edits<'a> = &'a [(&'a str, &'a str, &'a str)];

fn edited(edits: Edits<'_>) -> (Fixture, Bundle) {
    let fixture = Fixture::new();
    let bundle = fixture.bundle();
    for (file, from, to) in edits {
        fixture.edit(file, from, to);
    }
    fixture.sign_contracts();
    (fixture, bundle)
}

/// Takes the place of the operations of an agreement that joins nothing.
const A_JOIN: &str = r#"operations = ["match", "aggregate"]
join = { left = "education.enrolments", right = "health.patients", field = "number", normaliser = 1, epsilon = 300000000, semi_honest_join = true }"#;

#[test]
fn an_ordinary_bundle_may_tighten_facts() {
    let tightening: [Edits<'_>; 12] = [
        &[(AGREEMENT, "rho_total = 500000000", "rho_total = 400000000")],
        &[
            (VISITS, "rho_per_year = 1000000000", "rho_per_year = 900000000"),
            (PATIENTS, "rho_per_year = 1000000000", "rho_per_year = 900000000"),
        ],
        &[(VISITS, "rows_per_person = 4", "rows_per_person = 3")],
        &[(VISITS, "max = 100", "max = 90")],
        &[(VISITS, "role = \"measure\"", "role = \"withheld\"")],
        &[(ENDPOINTS, "title = \"A school\", class = \"service\"", "title = \"A school\", class = \"enforcement\"")],
        &[(
            ENDPOINTS,
            "title = \"A school\", class = \"service\"",
            "title = \"A school\", class = \"service\", passes_to = [\"firm\"]",
        )],
        &[("contracts/education.enrolments.toml", "2024-12-31", "2025-12-31")],
        &[("contracts/education.enrolments.toml", "[\"2024-Q4\"]", "[\"2024-Q4\", \"2025-Q1\"]")],
        &[(MATCH, "normaliser = 1", "normaliser = 1, life_cap_permille = 3000")],
        &[(MATCH, "normaliser = 1", "normaliser = 1, tags_permille = 26000, life_tags_permille = 78000")],
        // An agreement that says what it allows in all may go on for longer.
        &[
            (MATCH, "normaliser = 1", "normaliser = 1, life_cap_permille = 3000, life_tags_permille = 78000"),
            (MATCH, "end = \"2026-01-01\"", "end = \"2027-01-01\""),
        ],
    ];
    for edits in tightening {
        let (fixture, bundle) = edited(edits);
        let taken = fixture.succeeds(&bundle, AT_ONCE, &[0, 1]);
        assert!(taken.is_ok(), "{edits:?}: {}", taken.err().unwrap());
    }
}

#[test]
fn loosening_takes_all_overseers_the_agency_and_the_waiting_period() {
    let a_year = |to| [(VISITS, "rho_per_year = 1000000000", to), (PATIENTS, "rho_per_year = 1000000000", to)];
    let loosening: [(Edits<'_>, &str, Option<&str>); 24] = [
        (&[(AGREEMENT, "rho_total = 500000000", "rho_total = 500000001")], "budget.rho_total", Some("health")),
        (
            &[(AGREEMENT, "rho_per_query_max = 50000000", "rho_per_query_max = 60000000")],
            "rho_per_query_max",
            Some("health"),
        ),
        (
            &[(AGREEMENT, "rho_per_analyst = 100000000", "rho_per_analyst = 100000001")],
            "rho_per_analyst",
            Some("health"),
        ),
        (&[(AGREEMENT, "start =", "gateway_asserted = true\nstart =")], "gateway_asserted", Some("health")),
        (&[(AGREEMENT, "retention_days = 30", "retention_days = 31")], "kept longer", Some("health")),
        (&a_year("rho_per_year = 1000000001"), "rho_per_year", Some("health")),
        (&[(VISITS, "rows_per_person = 4", "rows_per_person = 5")], "rows_per_person", Some("health")),
        (&[(VISITS, "max = 100", "max = 101")], "a wider domain", Some("health")),
        (&[(VISITS, "role = \"identifier\"", "role = \"match_key\"")], "a looser role", Some("health")),
        (&[(VISITS, "special = \"health\"", "")], "no longer the special kind", Some("health")),
        (&[("contracts/immigration.permits.toml", "special = \"biometric\"", "")], "special kind", Some("immigration")),
        (&[(VISITS, "health.persons", "health.other")], "another unit space", Some("health")),
        (
            &[
                (
                    ENDPOINTS,
                    "title = \"Immigration\", class = \"enforcement\"",
                    "title = \"Immigration\", class = \"service\"",
                ),
                (
                    ENDPOINTS,
                    "organisation = \"immigration\", class = \"enforcement\"",
                    "organisation = \"immigration\", class = \"service\"",
                ),
            ],
            "organisation:immigration: class enforcement to service",
            Some("health"),
        ),
        (
            &[(ENDPOINTS, "passes_to = [\"immigration\"]", "passes_to = []")],
            "firm: class enforcement to service",
            Some("health"),
        ),
        (
            &[(
                ENDPOINTS,
                "endpoint = [",
                "endpoint = [\n{ id = \"new-desk\", organisation = \"nso\", class = \"statistics\" },",
            )],
            "endpoint:new-desk, which was not registered",
            Some("health"),
        ),
        (
            &[(
                ENDPOINTS,
                "organisation = [",
                "organisation = [\n{ id = \"new\", title = \"n\", class = \"service\" },",
            )],
            "organisation:new, which was not registered",
            None,
        ),
        (&[(MATCH, "key = [", "proofs = false, key = [")], "match.proofs", Some("education")),
        // Three calendar years, of 26 chunks each: 105 % of 100,000.
        (&[(MATCH, "normaliser = 1", "normaliser = 1, cap_permille = 1051")], "match.cap_permille", Some("education")),
        (
            &[(MATCH, "normaliser = 1", "normaliser = 1, life_cap_permille = 3200")],
            "match.life_cap_permille",
            Some("education"),
        ),
        (&[(MATCH, "normaliser = 1", "normaliser = 1, tags_permille = 26001")], "match.tags_permille", Some("health")),
        (
            &[(MATCH, "normaliser = 1", "normaliser = 1, life_tags_permille = 78001")],
            "match.life_tags_permille",
            Some("health"),
        ),
        (&[(MATCH, "end = \"2026-01-01\"", "end = \"2027-01-01\"")], "match.life_cap_permille", Some("education")),
        (DISCLOSING, "match.payload gains education.enrolments.level", Some("education")),
        (
            &[(MATCH, "normaliser = 1 }]", "normaliser = 1 }], epoch = { hours = 1, hold_hours = 1, elements = 64 }")],
            "match.epoch is added",
            Some("education"),
        ),
    ];
    for (edits, what, owner) in loosening {
        let (fixture, bundle) = edited(edits);
        let error = fixture.succeeds(&bundle, WAITED, &[0, 1]).expect_err(what);
        assert!(matches!(&error, BundleError::LooseningNeedsAllOverseers { have: 2, need: 3, .. }), "{error}");
        let found = bundle.loosened_by(&fixture.offered().unwrap()).unwrap();
        assert!(found.iter().any(|l| l.what.contains(what)), "{what}: {found:?}");

        let everybody = |validity| {
            fixture.seal(2, Some(bundle.manifest().digest()), validity, &[0, 1, 2]);
            let alone = bundle.succeed(&fixture.offered().unwrap(), NOW);
            match owner {
                None => assert!(!matches!(alone, Err(BundleError::LooseningNeedsAgency { .. }))),
                Some(owner) => assert!(
                    matches!(&alone, Err(BundleError::LooseningNeedsAgency { .. })),
                    "{what} without {owner}: {alone:?}"
                ),
            }
            fixture.agencies.iter().for_each(|(_, key)| fixture.cosign(key));
            bundle.succeed(&fixture.offered().unwrap(), NOW)
        };
        assert!(matches!(everybody(AT_ONCE), Err(BundleError::LooseningTooSoon { .. })), "{what}");
        let taken = everybody(WAITED);
        assert!(taken.is_ok(), "{what}: {}", taken.err().unwrap());
    }
}

const ENROLMENTS: &str = "contracts/education.enrolments.toml";

/// The edits by which the match discloses a column for a week.
const DISCLOSING: Edits<'_> = &[
    (ENROLMENTS, "rows_per_person = 4", "rows_per_person = 1"),
    (MATCH, "operations = [\"match\"]", "operations = [\"match\", \"disclose\"]"),
    (
        MATCH,
        "{ id = \"education.enrolments\", columns = [\"number\", \"family\", \"given\", \"born\"] }",
        "{ id = \"education.enrolments\", columns = [\"number\", \"family\", \"given\", \"born\", \"level\", \"since\"] }",
    ),
    (MATCH, "normaliser = 1 }]", "normaliser = 1 }], payload = { columns = [\"level\"], retention_days = 7 }"),
];

#[test]
fn a_payload_may_lose_columns_and_days_and_gain_neither() {
    let fixture = Fixture::unsealed();
    for (file, from, to) in DISCLOSING.iter().copied() {
        fixture.edit(file, from, to);
    }
    fixture.edit(MATCH, "[\"level\"], retention_days = 7", "[\"level\", \"since\"], retention_days = 7");
    fixture.sign_contracts();
    fixture.seal(1, None, crate::fixture::VALIDITY, &[0, 1]);
    let bundle = fixture.bundle();
    let terms = |columns: &str, days: u32| format!("columns = [{columns}], retention_days = {days}");
    let mut before = terms("\"level\", \"since\"", 7);
    for (after, loosened) in [
        (terms("\"level\", \"since\"", 8), Some("match.payload is kept longer")),
        (terms("\"since\", \"level\"", 7), None),
        (terms("\"level\"", 6), None),
    ] {
        fixture.edit(MATCH, &before, &after);
        before.clone_from(&after);
        fixture.seal(2, Some(bundle.manifest().digest()), AT_ONCE, &[0, 1]);
        let found = bundle.loosened_by(&fixture.offered().unwrap()).unwrap();
        match loosened {
            Some(what) => assert!(found.iter().any(|l| l.what.contains(what)), "{after}: {found:?}"),
            None => assert!(found.is_empty(), "{after}: {found:?}"),
        }
    }
}

#[test]
fn an_epoch_that_lasts_longer_is_held_longer_or_takes_other_sets_is_a_loosening_and_a_shorter_one_is_none() {
    let bundle = Fixture::new().bundle();
    let with = |epoch: Option<EpochTerms>| {
        let mut agreement = bundle.agreements()[&"school-match".parse().unwrap()].as_ref().clone();
        agreement.matching.as_mut().unwrap().epoch = epoch;
        agreement
    };
    let loosened = |before, after| {
        let (owners, mut found) = (BTreeSet::new(), Vec::new());
        epoch_facts(&with(before), &with(after), &mut Facts { owners: &owners, found: &mut found });
        found.into_iter().map(|loosening| loosening.what).collect::<Vec<_>>().join("; ")
    };
    let terms = EpochTerms { hours: 12, hold_hours: 24, elements: 1024 };
    for (after, what) in [
        (EpochTerms { hours: 13, ..terms }, "match.epoch.hours"),
        (EpochTerms { hold_hours: 25, ..terms }, "match.epoch.hold_hours"),
        (EpochTerms { elements: 1025, ..terms }, "match.epoch.elements"),
        (EpochTerms { elements: 64, ..terms }, "match.epoch.elements"),
    ] {
        let found = loosened(Some(terms), Some(after));
        assert!(found.contains(what) && !found.contains(';'), "{what}: {found}");
    }
    assert!(loosened(None, Some(terms)).contains("match.epoch is added"));
    assert_eq!(loosened(Some(terms), Some(EpochTerms { hours: 1, hold_hours: 2, ..terms })), "");
    assert_eq!(loosened(Some(terms), None), "");
}

#[test]
fn nothing_is_loosened_by_removing_it_first() {
    let (fixture, bundle) =
        edited(&[(ENDPOINTS, "{ id = \"immigration\", title = \"Immigration\", class = \"enforcement\" },", "")]);
    let second = fixture.succeeds(&bundle, AT_ONCE, &[0, 1]).unwrap();
    fixture.edit(
        ENDPOINTS,
        "organisation = [",
        "organisation = [\n{ id = \"immigration\", title = \"Care\", class = \"service\" },",
    );
    fixture.edit(
        ENDPOINTS,
        "organisation = \"immigration\", class = \"enforcement\"",
        "organisation = \"immigration\", class = \"service\"",
    );
    let error = fixture.succeeds(&second, AT_ONCE, &[0, 1]).unwrap_err();
    assert!(matches!(error, BundleError::LooseningNeedsAllOverseers { .. }), "{error}");
}

#[test]
fn an_agencys_keys_are_not_changed_over_its_head() {
    let fixture = Fixture::new();
    let bundle = fixture.bundle();
    let mut other = Fixture::unsealed();
    let stolen = other.agencies.remove(0).1;
    let own = fixture.agency("health").verifier_key();
    fixture.edit("overseers.toml", &own, &stolen.verifier_key());
    for id in ["health.visits", "health.patients"] {
        crate::signing::sign_contract(&fixture.path(&format!("contracts/{id}.toml")), &stolen).unwrap();
    }
    let error = fixture.succeeds(&bundle, WAITED, &[0, 1, 2]).unwrap_err();
    assert!(
        matches!(&error, BundleError::LooseningNeedsAgency { agency, .. } if agency.as_str() == "health"),
        "{error}"
    );
    fixture.cosign(fixture.agency("health"));
    assert!(bundle.succeed(&fixture.offered().unwrap(), NOW).is_ok());
}

#[test]
fn terms_of_a_join_are_added_changed_and_raised_only_with_both_agencies_and_in_time() {
    let edited = |(file, from, to): (&str, &str, &str)| {
        let fixture = Fixture::with_joins();
        let bundle = fixture.bundle();
        fixture.edit(file, from, to);
        (fixture, bundle)
    };
    for tightened in [(JOIN, "epsilon = 300000000", "epsilon = 200000000"), (JOIN, "join = {", "# join = {")] {
        let (fixture, bundle) = edited(tightened);
        let taken = fixture.succeeds(&bundle, AT_ONCE, &[0, 1]);
        assert!(taken.is_ok(), "{tightened:?}: {}", taken.err().unwrap());
    }
    for (loosened, what) in [
        ((JOIN, "epsilon = 300000000", "epsilon = 310000000"), "join.epsilon is raised"),
        ((JOIN, "right = \"health.visits\"", "right = \"health.patients\""), "another join"),
        ((MATCH, "operations = [\"match\"]", A_JOIN), "a join of education.enrolments and health.patients"),
    ] {
        let (fixture, bundle) = edited(loosened);
        let error = fixture.succeeds(&bundle, WAITED, &[0, 1]).expect_err(what);
        assert!(matches!(error, BundleError::LooseningNeedsAllOverseers { have: 2, need: 3, .. }), "{what}: {error}");
        let found = bundle.loosened_by(&fixture.offered().unwrap()).unwrap();
        let found = found.iter().find(|loosening| loosening.what.contains(what)).expect(what);
        let owners: Vec<&str> = found.owners.iter().map(OrgId::as_str).collect();
        assert_eq!(owners, ["education", "health"], "{what}");
        let everybody = |validity| {
            fixture.seal(2, Some(bundle.manifest().digest()), validity, &[0, 1, 2]);
            for (agency, key) in &fixture.agencies {
                let without = bundle.succeed(&fixture.offered().unwrap(), NOW);
                let missing = matches!(&without, Err(BundleError::LooseningNeedsAgency { .. }));
                assert_eq!(missing, *agency != "immigration", "{what} before {agency}: {without:?}");
                fixture.cosign(key);
            }
            bundle.succeed(&fixture.offered().unwrap(), NOW)
        };
        assert!(matches!(everybody(AT_ONCE), Err(BundleError::LooseningTooSoon { .. })), "{what}");
        let taken = everybody(WAITED);
        assert!(taken.is_ok(), "{what}: {}", taken.err().unwrap());
    }
}

#[test]
fn a_key_that_is_new_or_comes_to_run_for_more_persons_loosens_and_a_weaker_one_less_does_not() {
    const NUMBER: &str = "{ name = \"number\", columns = [\"number\"], normaliser = 1 }";
    const NAMES: &str = "{ name = \"names\", columns = [\"family\", \"given\", \"born\"], normaliser = 2 }";
    const TURNED: &str = "{ name = \"turned\", columns = [\"given\", \"family\", \"born\"], normaliser = 2 }";
    const OTHERS: &str = "{ name = \"others\", columns = [\"number\", \"given\", \"born\"], normaliser = 2 }";
    let keys = |all: &[&str]| format!("key = [{}]", all.join(", "));
    for (before, after, what) in [
        (&[NUMBER][..], &[NUMBER, NAMES][..], Some("match.key names is new")),
        (&[NUMBER, NAMES], &[NAMES, NUMBER], Some("match.key names no longer follows")),
        (&[NUMBER, NAMES], &[NAMES], Some("match.key names no longer follows")),
        (&[NUMBER, NAMES], &[NUMBER, TURNED], Some("match.key turned is new, or compares something else")),
        (&[NUMBER, NAMES], &[NUMBER], Some("match.key number no longer leaves numbers of different persons")),
        (&[NUMBER, NAMES, OTHERS], &[NUMBER, NAMES], None),
        (&[NUMBER], &[NUMBER], None),
    ] {
        let fixture = Fixture::unsealed();
        fixture.edit(MATCH, &keys(&[NUMBER]), &keys(before));
        fixture.seal(1, None, crate::fixture::VALIDITY, &[0, 1]);
        let bundle = fixture.bundle();
        fixture.edit(MATCH, &keys(before), &keys(after));
        let taken = fixture.succeeds(&bundle, AT_ONCE, &[0, 1]);
        let found = bundle.loosened_by(&fixture.offered().unwrap()).unwrap();
        match what {
            None => assert!(taken.is_ok() && found.is_empty(), "{after:?}: {found:?}"),
            Some(what) => {
                assert!(matches!(taken, Err(BundleError::LooseningNeedsAllOverseers { .. })), "{after:?}");
                assert!(found.iter().any(|l| l.what.contains(what)), "{after:?}: {found:?}");
            }
        }
    }
}
