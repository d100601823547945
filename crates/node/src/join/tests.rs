//! The sample federation's join, decided from its own files.

use super::*;
use crate::{Bundles, Recorder};
use firebreak_domain::{ManualClock, RequestId};
use firebreak_policy::Validity;
use firebreak_policy::signing::{SigningKey, cosign, sign_contract, write_manifest};
use firebreak_query::parse_sql;
use firebreak_store::{AccountClass, AccountKind, State, StateKey};
use firebreak_transport::Ca;
use firebreak_wire::Header;
use std::fs;
use tempfile::TempDir;

/// 2025-03-01T12:00:00Z.
const NOW: Timestamp = Timestamp::from_secs(1_740_830_400);
const DAY: i64 = 86_400;
const VALIDITY: Validity = Validity { made: NOW, valid_from: NOW, valid_until: NOW.plus_secs(90 * DAY) };

const AGREEMENT: &str = include_str!("../../../../deploy/sample/bundle/agreements/school-vaccinations.toml");
const ASSESSMENT: &str = include_str!("../../../../deploy/sample/bundle/assessments/school-vaccinations.toml");
const CONTRACTS: [(&str, &str, &str); 3] = [
    (
        "education.enrolments",
        "education-agency",
        include_str!("../../../../deploy/sample/bundle/contracts/education.enrolments.toml"),
    ),
    (
        "health.vaccinations",
        "health-agency",
        include_str!("../../../../deploy/sample/bundle/contracts/health.vaccinations.toml"),
    ),
    ("health.visits", "health-agency", include_str!("../../../../deploy/sample/bundle/contracts/health.visits.toml")),
];

/// Of the statistics office, the two agencies with their pins, and an enforcement body.
fn endpoints(of_education: &str, of_health: &str) -> String {
    format!(
        r#"format = 1
organisation = [
    {{ id = "education-agency", title = "Schools", class = "service"{of_education} }},
    {{ id = "health-agency", title = "Health", class = "service"{of_health} }},
    {{ id = "nso", title = "Statistics", class = "statistics" }},
    {{ id = "removal-office", title = "Removals", class = "enforcement" }},
]
"#
    )
}

fn pin(byte: &str) -> String {
    format!(", pin = \"sha256:{}\"", byte.repeat(32))
}

/// Policy in force, of an agreement and a registry. The folder holds it, and goes with it.
async fn in_force(agreement: &str, endpoints: &str) -> (TempDir, PolicyInForce) {
    let folder = TempDir::new().unwrap();
    let write = |file: &str, text: &str| {
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let overseers = ["amina", "bela", "chidi"].map(|name| SigningKey::generate(name).unwrap());
    let agencies = ["education-agency", "health-agency"].map(|name| (name, SigningKey::generate(name).unwrap()));
    let mut root = "format = 1\nthreshold = 2\n".to_owned();
    for (id, key) in ["amina", "bela", "chidi"].iter().zip(&overseers) {
        let seal = hex::encode([id.as_bytes()[0]; 32]);
        root += &format!(
            "[[overseer]]\nid = \"{id}\"\ntitle = \"{id}\"\nkey = \"{}\"\nseal_key = \"x25519:{seal}\"\n",
            key.verifier_key()
        );
    }
    for (id, key) in &agencies {
        root += &format!("[[agency]]\nid = \"{id}\"\nkey = \"{}\"\n", key.verifier_key());
    }
    write("trust-root.toml", &root);
    write("offered/overseers.toml", &root);
    write("offered/endpoints.toml", endpoints);
    write("offered/policies/all.cedar", "@id(\"all\")\npermit (principal, action, resource);\n");
    write("offered/agreements/school-vaccinations.toml", agreement);
    write("offered/assessments/school-vaccinations.toml", ASSESSMENT);
    for (id, agency, text) in CONTRACTS {
        let file = format!("offered/contracts/{id}.toml");
        write(&file, text);
        let (_, key) = agencies.iter().find(|(known, _)| *known == agency).unwrap();
        sign_contract(&folder.path().join(file), key).unwrap();
    }
    let offered = folder.path().join("offered");
    write_manifest(&offered, 1, None, VALIDITY).unwrap();
    overseers.iter().for_each(|key| cosign(&offered, key).unwrap());
    let clock = Arc::new(ManualClock::at(NOW));
    let state_folder = folder.path().join("state");
    let state = State::open(&state_folder, StateKey::from_bytes([7; 32]), clock).await.unwrap();
    let bundles = Bundles { folder: "offered".into(), trust_root: "trust-root.toml".into(), interval_seconds: 1 };
    let policy = PolicyInForce::open(&bundles, folder.path(), &state_folder, &state).await.unwrap();
    let identity = "spiffe://firebreak.example/org/health-agency/adapter/main".parse().unwrap();
    let authority = Ca::generate("test", "firebreak.example").unwrap();
    let credential = authority.issue(&identity, &[], firebreak_transport::Validity::days(1)).unwrap();
    policy.refresh(&Recorder::new(&credential, policy.sealer()).unwrap(), &state).await.unwrap();
    state.close().await;
    (folder, policy)
}

async fn sample() -> (TempDir, PolicyInForce) {
    in_force(AGREEMENT, &endpoints(&pin("ed"), &pin("4e"))).await
}

fn submitted(sql: &str) -> SubmittedQuery {
    let header = Header {
        request_id: RequestId::from_bytes([1; 16]),
        agreement: "school-vaccinations".parse().unwrap(),
        purpose: "school-health".parse().unwrap(),
        expires: NOW.plus_secs(60),
        signature: None,
    };
    let query = parse_sql(sql);
    let sql = Some(sql.to_owned());
    SubmittedQuery { header, query, sql, export: None, release: None, roll_up: None, publication: None }
}

fn analyst(org: &str) -> Identity {
    format!("spiffe://firebreak.example/org/{org}/analyst/ada").parse().unwrap()
}

fn foreseen(policy: &PolicyInForce, sql: &str) -> Result<DecidedJoin, Box<Refusal>> {
    foresee_join(&submitted(sql), &analyst("nso"), policy, NOW).map_err(|denial| Box::new(denial.refusal))
}

fn refused(policy: &PolicyInForce, sql: &str) -> Box<Refusal> {
    foreseen(policy, sql).err().unwrap_or_else(|| panic!("{sql} is permitted"))
}

const BY_BOTH: &str = "SELECT e.level, v.vaccine, COUNT(*) FROM education.enrolments e JOIN health.vaccinations v ON \
                       PERSON GROUP BY e.level, v.vaccine";

#[tokio::test]
async fn a_join_is_decided_by_its_terms_and_charged_to_both_registers() {
    let (_folder, policy) = sample().await;
    let decided = foreseen(&policy, BY_BOTH).unwrap_or_else(|refusal| panic!("{refusal}"));
    assert_eq!(decided.price.charge().rho.nano(), 125_000_000);
    assert_eq!(decided.cost.rho.nano(), 250_000_000);
    assert_eq!(decided.cost.delta.atto(), 2 * decided.price.charge().delta.atto());
    let mut agreement_accounts = Vec::new();
    for (side, dataset, agency, space) in [
        (JoinSide::Left, "education.enrolments", "education-agency", "education.persons"),
        (JoinSide::Right, "health.vaccinations", "health-agency", "health.persons"),
    ] {
        let of_side = decided.side(side);
        assert_eq!(of_side.contract.id.as_str(), dataset);
        assert!(of_side.contract.column("national_number").is_some(), "the key is there for whoever joins");
        let agency: OrgId = agency.parse().unwrap();
        assert_eq!(decided.side_of(&agency).ok(), Some(side));
        let spaces = of_side.accounts.iter().filter(|limit| match &limit.account {
            AccountKind::UnitSpaceYear { space: own, .. } => own.as_str() == space,
            AccountKind::UnitSpaceLife(own) => own.as_str() == space,
            _ => false,
        });
        assert_eq!(spaces.count(), 2, "the persons of {space}, for the year and for life");
        let of_others = of_side.accounts.iter().filter(|limit| {
            matches!(
                limit.account.class(),
                AccountClass::Agreement | AccountClass::Analyst | AccountClass::Organisation
            )
        });
        agreement_accounts.push(of_others.cloned().collect::<Vec<_>>());
    }
    assert!(agreement_accounts[0] == agreement_accounts[1], "the others pay for each of the two");
    assert_eq!(agreement_accounts[0].len(), 3);
    assert_ne!(decided.left.pin, decided.right.pin);
    let other = decided.side_of(&"nso".parse().unwrap()).err().unwrap();
    assert_eq!(other.refusal.reason, ReasonCode::DatasetNotCovered);
}

#[tokio::test]
async fn what_the_terms_do_not_reach_is_refused_with_words() {
    let (_folder, policy) = sample().await;
    let by = |rest: &str| format!("SELECT COUNT(*) FROM education.enrolments e JOIN {rest}");
    for (sql, reason, words) in [
        (by("health.visits v ON PERSON"), ReasonCode::OperationNotCovered, "its join is of"),
        (
            by("health.vaccinations v ON PERSON WHERE v.national_number = 'x'"),
            ReasonCode::IdentifierColumn,
            "a match key only by a match",
        ),
        (by("health.vaccinations v ON PERSON WHERE e.weeks = 3"), ReasonCode::ColumnNotCovered, "weekly_hours"),
        (
            by("health.vaccinations v ON PERSON").replace("COUNT(*)", "SUM(e.weeks)"),
            ReasonCode::ColumnNotCovered,
            "weekly_hours",
        ),
        (by("health.vaccinations v ON PERSON SETTINGS rho = 0.1"), ReasonCode::UnsupportedClause, "leave rho out"),
        ("SELECT COUNT(*) FROM education.enrolments".to_owned(), ReasonCode::JoinAsked, "joins no two agencies'"),
    ] {
        let refusal = refused(&policy, &sql);
        assert_eq!(refusal.reason, reason, "{sql}: {refusal}");
        assert!(refusal.to_string().contains(words), "{sql}: {refusal}");
        assert!(refusal.contest.is_some(), "{sql}");
    }
    let unread = refused(&policy, "SELECT COUNT(*) FROM education.enrolments JOIN");
    assert_eq!(unread.reason, ReasonCode::SqlSyntax);
    let denial = foresee_join(&submitted(BY_BOTH), &analyst("removal-office"), &policy, NOW).err().unwrap();
    assert_eq!(denial.refusal.reason, ReasonCode::EnforcementRecipient);
}

#[tokio::test]
async fn a_join_is_no_answer_of_one_agency() {
    let (_folder, policy) = sample().await;
    let denial = crate::foresee_query(&submitted(BY_BOTH), &analyst("nso"), &policy, NOW).err().unwrap();
    assert_eq!(denial.refusal.reason, ReasonCode::JoinAsked);
    // Written as a join of one agency's datasets it is refused with how two agencies' are written.
    let plain = "SELECT COUNT(*) FROM education.enrolments e JOIN health.vaccinations v ON v.person = e.person";
    let denial = crate::foresee_query(&submitted(plain), &analyst("nso"), &policy, NOW).err().unwrap();
    assert!(denial.refusal.reason == ReasonCode::JoinAsked && denial.refusal.detail.contains("ON PERSON"));
    let alone = submitted("SELECT level, COUNT(*) FROM education.enrolments GROUP BY level");
    assert!(crate::foresee_query(&alone, &analyst("nso"), &policy, NOW).is_ok());
}

#[tokio::test]
async fn a_side_without_a_pinned_key_joins_nothing() {
    let (_folder, policy) = in_force(AGREEMENT, &endpoints(&pin("ed"), "")).await;
    let refusal = refused(&policy, BY_BOTH);
    assert_eq!(refusal.reason, ReasonCode::SessionMismatch);
    assert!(refusal.detail.contains("health-agency"), "{refusal}");
}

#[tokio::test]
async fn a_join_that_stands_ends_with_its_terms_and_keys() {
    let (_folder, policy) = sample().await;
    let standing = foreseen(&policy, BY_BOTH).unwrap_or_else(|refusal| panic!("{refusal}")).standing();
    assert!(standing.check(&policy, NOW).is_ok());
    assert_ne!(standing.pin(JoinSide::Left), standing.pin(JoinSide::Right));
    // The bundle expires.
    assert!(standing.check(&policy, NOW.plus_secs(91 * DAY)).is_err());
    let dearer = AGREEMENT.replace("epsilon = 500_000_000", "epsilon = 400_000_000");
    let (_other, changed) = in_force(&dearer, &endpoints(&pin("ed"), &pin("4e"))).await;
    let denial = standing.check(&changed, NOW).err().unwrap();
    assert_eq!(denial.refusal.reason, ReasonCode::SessionMismatch);
    let (_another, replaced) = in_force(AGREEMENT, &endpoints(&pin("ed"), &pin("00"))).await;
    assert!(standing.check(&replaced, NOW).is_err());
    let without = AGREEMENT.replace("semi_honest_join = true", "semi_honest_join = false");
    let (_none, none) = in_force(&without, &endpoints(&pin("ed"), &pin("4e"))).await;
    // Such a bundle is not taken up at all.
    assert_eq!(standing.check(&none, NOW).err().unwrap().refusal.reason, ReasonCode::NoPolicyInForce);
}
