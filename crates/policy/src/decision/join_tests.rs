//! Statistics over two agencies' join: who may ask what, and under which terms.

use super::*;
use crate::Suspensions;
use crate::fixture::{Fixture, NOW, access, join_question};
use crate::permit::Denial;
use crate::signing::sign_contract;
use firebreak_domain::OrgId;

fn denied(bundle: &Bundle, question: &Question) -> Denial {
    bundle.decide(question, &Suspensions::none(), NOW).err().expect("must be refused")
}

fn reason(bundle: &Bundle, change: impl FnOnce(&mut Question)) -> ReasonCode {
    let mut question = join_question();
    change(&mut question);
    denied(bundle, &question).refusal.reason
}

#[test]
fn a_join_that_the_agreement_names_is_permitted_with_both_contracts() {
    let bundle = Fixture::with_joins().bundle();
    let Ok(permit) = bundle.decide(&join_question(), &Suspensions::none(), NOW) else { panic!("must be permitted") };
    let contracts: Vec<&str> = permit.contracts().iter().map(|contract| contract.id.as_str()).collect();
    assert_eq!(contracts, ["education.enrolments", "health.visits"]);
    assert!(permit.question().joined);
    // The agencies work on points of each other's, and are services.
    assert_eq!(permit.facts().recipient_class, RecipientClass::Service);
    assert_eq!(permit.facts().organisation.as_ref().unwrap().as_str(), "nso");
}

#[test]
fn an_enforcement_body_neither_asks_nor_takes_part_in_a_join() {
    let bundle = Fixture::with_joins().bundle();
    let mut question = join_question();
    question.agreement = "permit-join".parse().unwrap();
    question.datasets = vec![access("education.enrolments", &["level"]), access("immigration.permits", &["status"])];
    let denial = denied(&bundle, &question);
    assert_eq!(denial.refusal.reason, ReasonCode::EnforcementRecipient);
    assert!(denial.refusal.detail.contains("takes part in a join"), "{}", denial.refusal.detail);
    assert_eq!(denial.facts.recipient_class, RecipientClass::Enforcement);
    // Either dataset by itself is the statistics office's to ask, whoever owns it.
    question.joined = false;
    question.datasets = vec![access("immigration.permits", &["status"])];
    assert!(bundle.decide(&question, &Suspensions::none(), NOW).is_ok());
    for (recipient, due) in [("immigration", ReasonCode::EnforcementRecipient), ("firm", ReasonCode::OnwardTransfer)] {
        let recipient = Recipient::Organisation(OrgId::new(recipient).unwrap());
        assert_eq!(reason(&bundle, |q| q.recipients = vec![recipient]), due);
    }
}

#[test]
fn only_the_datasets_that_the_agreement_joins_are_joined() {
    let bundle = Fixture::with_joins().bundle();
    let left = || access("education.enrolments", &["level"]);
    for datasets in [
        // Covered, and not joined.
        vec![left(), access("health.patients", &["region"])],
        vec![left()],
        vec![left(), access("health.patients", &["region"]), access("health.visits", &["region"])],
    ] {
        assert_eq!(reason(&bundle, |q| q.datasets = datasets), ReasonCode::OperationNotCovered);
    }
    // An agreement without terms joins nothing, and says so.
    let mut question = join_question();
    question.agreement = "visits".parse().unwrap();
    question.datasets = vec![access("health.visits", &["region"])];
    let refusal = denied(&bundle, &question).refusal;
    assert_eq!(refusal.reason, ReasonCode::OperationNotCovered);
    assert!(refusal.suggestion.unwrap().contains("joins no two"));
}

#[test]
fn a_join_is_an_aggregate_alone() {
    let bundle = Fixture::with_joins().bundle();
    for operation in [Operation::Export, Operation::Publish] {
        let refusal = {
            let mut question = join_question();
            question.operation = operation;
            denied(&bundle, &question).refusal
        };
        assert_eq!(refusal.reason, ReasonCode::OperationNotCovered);
        assert_eq!(refusal.policies, ["constitution/a-join-is-the-agreements"]);
    }
}

#[test]
fn the_key_of_a_join_is_read_by_its_terms_and_by_no_question() {
    let bundle = Fixture::with_joins().bundle();
    let named = |column: &str| vec![access("education.enrolments", &[column]), access("health.visits", &["region"])];
    assert_eq!(reason(&bundle, |q| q.datasets = named("number")), ReasonCode::IdentifierColumn);
    assert_eq!(reason(&bundle, |q| q.datasets = named("since")), ReasonCode::ColumnNotCovered);
    // Asked by itself it is no different for the agreement's having a join.
    assert_eq!(
        reason(&bundle, |q| {
            q.joined = false;
            q.datasets = vec![access("education.enrolments", &["number"])];
        }),
        ReasonCode::IdentifierColumn
    );
}

#[test]
fn special_kinds_of_either_side_take_a_ground() {
    let fixture = Fixture::unsealed_with_joins();
    let ground = r#"special_ground = [{ kind = "health", ground = "Public Health Act, section 4" }]"#;
    fixture.edit("agreements/school-join.toml", ground, "");
    fixture.seal(1, None, crate::fixture::VALIDITY, &[0, 1]);
    // That a person stands among patients tells by itself, whatever column is asked.
    assert_eq!(reason(&fixture.bundle(), |_| ()), ReasonCode::NoSpecialGround);
}

#[test]
fn a_suspension_of_either_agency_stops_the_join() {
    let bundle = Fixture::with_joins().bundle();
    for agency in ["health", "education"] {
        let mut suspensions = Suspensions::none();
        suspensions.agencies.insert(agency.parse().unwrap());
        let denial = bundle.decide(&join_question(), &suspensions, NOW).err().expect("must be refused");
        assert_eq!(denial.refusal.reason, ReasonCode::Suspended);
    }
}

#[test]
fn an_agreement_without_sound_terms_is_not_taken_up() {
    for (from, to, words) in [
        (", semi_honest_join = true", "", "can take the other's noise off"),
        ("semi_honest_join = true", "semi_honest_join = false", "can take the other's noise off"),
        ("epsilon = 300000000", "epsilon = 1000000001", "join.epsilon"),
        ("epsilon = 300000000", "epsilon = 400000000", "rho_per_query_max"),
        ("normaliser = 1, epsilon", "normaliser = 2, epsilon", "join.normaliser"),
        (r#"left = "education.enrolments""#, r#"left = "health.patients""#, "of one agency"),
        (r#"left = "education.enrolments""#, r#"left = "education.nothing""#, "contracts for"),
        (r#"left = "education.enrolments""#, r#"left = "immigration.permits""#, "order of their ids"),
        (r#"field = "number""#, r#"field = "level""#, "not a match_key"),
        (r#"columns = ["number", "level"]"#, r#"columns = ["level"]"#, "not among the agreement's columns"),
        (r#"parties = ["health", "education", "nso"]"#, r#"parties = ["education", "nso"]"#, "both parties"),
        (r#"operations = ["aggregate", "export", "publish"]"#, r#"operations = ["export"]"#, "operation aggregate"),
    ] {
        let fixture = Fixture::unsealed_with_joins();
        fixture.edit("agreements/school-join.toml", from, to);
        fixture.seal(1, None, crate::fixture::VALIDITY, &[0, 1]);
        let error = fixture.taken_up().err().unwrap_or_else(|| panic!("{to} is taken up")).to_string();
        assert!(error.contains("agreements/school-join.toml") && error.contains(words), "{to}: {error}");
    }
}

#[test]
fn a_key_of_a_special_kind_joins_nobody() {
    let fixture = Fixture::unsealed_with_joins();
    let number = "name = \"number\"\nlabel = \"l\"\ndefinition = \"d\"\nrole = \"match_key\"\n";
    fixture.edit(
        "contracts/education.enrolments.toml",
        &format!("{number}domain = {{ type = \"text\" }}\n"),
        &format!("{number}domain = {{ type = \"text\" }}\nspecial = \"origin\"\n"),
    );
    // No agency signs such a contract, and without its signature no bundle has it.
    let file = fixture.path("contracts/education.enrolments.toml");
    let error = sign_contract(&file, fixture.agency("education")).unwrap_err().to_string();
    assert!(error.contains("a special category is never a match key"), "{error}");
}
