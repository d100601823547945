use super::*;
use crate::fixture::{Fixture, NOW, VALIDITY, match_question};
use crate::{Bundle, Suspensions};
use firebreak_domain::{Domain, SpecialGround, SpecialKind};

const MATCH: &str = "agreements/school-match.toml";
const ENROLMENTS: &str = "contracts/education.enrolments.toml";
const TERMS: &str = "normaliser = 1 }] }";
const PAYLOAD: &str = "normaliser = 1 }], payload = { columns = [\"level\", \"since\"], retention_days = 30 } }";

/// A bundle's folder whose match discloses two columns, not signed yet.
fn unsealed() -> Fixture {
    let fixture = Fixture::unsealed();
    fixture.edit(ENROLMENTS, "rows_per_person = 4", "rows_per_person = 1");
    fixture.edit(MATCH, "operations = [\"match\"]", "operations = [\"match\", \"disclose\"]");
    let columns = "columns = [\"number\", \"family\", \"given\", \"born\", \"level\", \"since\"]";
    fixture.edit(
        MATCH,
        "{ id = \"education.enrolments\", columns = [\"number\", \"family\", \"given\", \"born\"] }",
        &format!("{{ id = \"education.enrolments\", {columns} }}"),
    );
    fixture.edit(MATCH, TERMS, PAYLOAD);
    fixture
}

fn sealed(fixture: &Fixture) -> Result<Bundle, String> {
    fixture.sign_contracts();
    fixture.seal(1, None, VALIDITY, &[0, 1]);
    fixture.taken_up().map_err(|error| error.to_string())
}

fn disclosing() -> Bundle {
    sealed(&unsealed()).unwrap()
}

/// The reason and the article for which the match is refused, if it is.
fn refused(bundle: &Bundle) -> Option<(ReasonCode, Vec<String>)> {
    let decided = bundle.decide(&match_question(), &Suspensions::none(), NOW);
    decided.err().map(|denial| (denial.refusal.reason, denial.refusal.policies))
}

/// The reason for which plain Rust refuses it, if it does.
fn in_rust(bundle: &Bundle) -> Option<ReasonCode> {
    check(&View::of(bundle, (&match_question()).into())).err().map(|refusal| refusal.reason)
}

/// The bundle with its agreement and the sender's contract changed after all that is checked of files.
fn changed(agreement: impl FnOnce(&mut Agreement), contract: impl FnOnce(&mut Contract)) -> Bundle {
    let mut bundle = disclosing();
    let content = &mut bundle.content;
    agreement(Arc::make_mut(content.agreements.get_mut(&"school-match".parse().unwrap()).unwrap()));
    contract(Arc::make_mut(content.contracts.get_mut(&"education.enrolments".parse().unwrap()).unwrap()));
    bundle
}

fn special(contract: &mut Contract, kind: SpecialKind) {
    contract.columns.iter_mut().filter(|c| c.name.as_str() == "level").for_each(|c| c.special = Some(kind));
}

fn grounds(agreement: &mut Agreement, kind: SpecialKind) {
    agreement.special_grounds.push(SpecialGround { kind, ground: "Act, section 4".to_owned() });
}

#[test]
fn a_service_is_disclosed_what_the_agreement_names_and_the_columns_are_touched() {
    let bundle = disclosing();
    let Ok(permit) = bundle.decide(&match_question(), &Suspensions::none(), NOW) else { panic!("must be permitted") };
    assert_eq!(permit.agreement().matching.as_ref().unwrap().payload.as_ref().unwrap().retention_days, 30);
    assert_eq!(in_rust(&bundle), None);
    // A column of the payload that the agreement does not cover is one that it does not reach.
    let uncovered =
        changed(|a| a.datasets.iter_mut().for_each(|d| d.columns.retain(|c| c.as_str() != "level")), |_| {});
    let (reason, by) = refused(&uncovered).unwrap();
    assert_eq!(
        (reason, by.as_slice()),
        (ReasonCode::ColumnNotCovered, &["constitution/columns-are-the-agreements".to_owned()][..])
    );
}

#[test]
fn nobody_but_a_service_is_disclosed_anything_by_cedar_and_by_rust() {
    for (class, reason, article) in [
        ("statistics", ReasonCode::RecipientNotCovered, "constitution/disclosures-are-for-services"),
        ("oversight", ReasonCode::RecipientNotCovered, "constitution/disclosures-are-for-services"),
        ("enforcement", ReasonCode::EnforcementRecipient, "constitution/enforcement-receives-only-published"),
    ] {
        let fixture = unsealed();
        let health = |class: &str| format!("title = \"Health\", class = \"{class}\"");
        fixture.edit("endpoints.toml", &health("service"), &health(class));
        let bundle = sealed(&fixture).unwrap();
        assert_eq!(refused(&bundle), Some((reason, vec![article.to_owned()])), "{class}");
        assert_eq!(in_rust(&bundle), Some(reason), "{class}");
    }
    // A service that passes on to enforcement, at two steps.
    let fixture = unsealed();
    fixture.edit(
        "endpoints.toml",
        "title = \"Health\", class = \"service\"",
        "title = \"Health\", class = \"service\", passes_to = [\"firm\"]",
    );
    let bundle = sealed(&fixture).unwrap();
    assert_eq!(refused(&bundle).map(|(reason, _)| reason), Some(ReasonCode::OnwardTransfer));
    assert_eq!(in_rust(&bundle), Some(ReasonCode::OnwardTransfer));
}

#[test]
fn without_the_operation_nothing_is_disclosed_by_cedar_and_by_rust() {
    let bundle = changed(|agreement| agreement.operations.retain(|o| *o != Operation::Disclose), |_| {});
    let article = "constitution/disclosures-are-agreed".to_owned();
    assert_eq!(refused(&bundle), Some((ReasonCode::OperationNotCovered, vec![article])));
    assert_eq!(in_rust(&bundle), Some(ReasonCode::OperationNotCovered));
}

#[test]
fn a_special_kind_is_disclosed_by_consent_on_a_named_ground_alone() {
    for kind in
        [SpecialKind::Health, SpecialKind::Origin, SpecialKind::Belief, SpecialKind::Offences, SpecialKind::SexualLife]
    {
        let of = |basis: LegalBasis, grounded: bool| {
            changed(
                |agreement| {
                    agreement.legal_basis = basis;
                    if grounded {
                        grounds(agreement, kind);
                    }
                },
                |contract| special(contract, kind),
            )
        };
        let permitted = of(LegalBasis::Consent, true);
        assert_eq!((refused(&permitted), in_rust(&permitted)), (None, None), "{kind:?}");
        for (basis, grounded) in
            [(LegalBasis::PublicTask, true), (LegalBasis::VitalInterest, true), (LegalBasis::Consent, false)]
        {
            let bundle = of(basis, grounded);
            let reason = refused(&bundle).map(|(reason, _)| reason);
            assert_eq!(reason, Some(ReasonCode::NoSpecialGround), "{kind:?} {basis:?} {grounded}");
            assert_eq!(in_rust(&bundle), reason, "{kind:?} {basis:?} {grounded}");
        }
        // Where nothing is disclosed, consent opens no match either: it would tell who stands there.
        let matched = changed(
            |agreement| {
                agreement.legal_basis = LegalBasis::Consent;
                grounds(agreement, kind);
                agreement.matching.as_mut().unwrap().payload = None;
            },
            |contract| special(contract, kind),
        );
        let article = "constitution/special-kinds-are-not-matched".to_owned();
        assert_eq!(refused(&matched), Some((ReasonCode::NoSpecialGround, vec![article])), "{kind:?}");
    }
}

#[test]
fn biometric_and_genetic_columns_and_identifiers_are_never_disclosed_by_cedar_and_by_rust() {
    for kind in [SpecialKind::Biometric, SpecialKind::Genetic] {
        let bundle = changed(
            |agreement| {
                agreement.legal_basis = LegalBasis::Consent;
                grounds(agreement, kind);
            },
            |contract| special(contract, kind),
        );
        assert_eq!(refused(&bundle).map(|(reason, _)| reason), Some(ReasonCode::ForbiddenKind), "{kind:?}");
        assert_eq!(in_rust(&bundle), Some(ReasonCode::ForbiddenKind), "{kind:?}");
    }
    for role in [firebreak_domain::ColumnRole::Identifier, firebreak_domain::ColumnRole::Withheld] {
        let bundle = changed(
            |_| {},
            |contract| contract.columns.iter_mut().filter(|c| c.name.as_str() == "level").for_each(|c| c.role = role),
        );
        assert_eq!(refused(&bundle).map(|(reason, _)| reason), Some(ReasonCode::IdentifierColumn), "{role:?}");
        assert_eq!(in_rust(&bundle), Some(ReasonCode::IdentifierColumn), "{role:?}");
    }
    let text = |contract: &mut Contract| {
        contract.columns.iter_mut().filter(|c| c.name.as_str() == "level").for_each(|c| c.domain = Domain::Text);
    };
    assert_eq!(in_rust(&changed(|_| {}, text)), Some(ReasonCode::ColumnNotCovered));
}

#[test]
fn what_is_wrong_with_a_payload_is_said_before_anything_is_permitted() {
    assert!(sealed(&unsealed()).is_ok());
    let consent = "legal_basis = \"public_task\"";
    let cases: [(&str, &str, &str, &str); 16] = [
        (MATCH, "\"match\", \"disclose\"", "\"match\"", "disclose and the section [match.payload] go together"),
        (MATCH, PAYLOAD, TERMS, "disclose and the section [match.payload] go together"),
        (MATCH, "\"born\", \"level\", \"since\"", "\"born\", \"level\"", "since is not among the agreement's columns"),
        (MATCH, "[\"level\", \"since\"], retention", "[], retention", "a payload has 1 to 64 columns"),
        (MATCH, "[\"level\", \"since\"], retention", "[\"level\", \"level\"], retention", "level stands twice"),
        (MATCH, "[\"level\", \"since\"], retention", "[\"grade\"], retention", "has no column grade"),
        (MATCH, "[\"level\", \"since\"], retention", "[\"number\"], retention", "number names persons, is withheld"),
        (MATCH, "[\"level\", \"since\"], retention", "[\"person\"], retention", "person names persons, is withheld"),
        (MATCH, "retention_days = 30 }", "retention_days = 31 }", "at least 1, and at most 30"),
        (MATCH, "retention_days = 30 }", "retention_days = 0 }", "at least 1, and at most 30"),
        (ENROLMENTS, "name = \"level\"", "retention_days = 7\nname = \"level\"", "at least 1, and at most 7"),
        (ENROLMENTS, "rows_per_person = 1", "rows_per_person = 2", "contribution.rows_per_person = 1"),
        (
            ENROLMENTS,
            "name = \"level\"",
            "special = \"belief\"\nname = \"level\"",
            "category belief is disclosed with consent",
        ),
        (
            "contracts/health.patients.toml",
            "name = \"person\"",
            "name = \"level\"",
            "the receiver's own key of a person",
        ),
        (
            MATCH,
            "normaliser = 1 }]",
            "normaliser = 1 }, { name = \"names\", columns = [\"family\", \"given\", \"born\"], normaliser = 2 }]",
            "match.payload: an agreement that discloses has one match key: what a weaker key finds is provisional and \
             discloses nothing",
        ),
        (
            MATCH,
            "retention_days = 30 }",
            "retention_days = 30 }, epoch = { hours = 24, hold_hours = 24, elements = 1024 }",
            "match.epoch and match.payload do not go together",
        ),
    ];
    for (file, from, to, expected) in cases {
        let fixture = unsealed();
        fixture.edit(file, from, to);
        let error = sealed(&fixture).err().unwrap_or_default();
        assert!(error.contains(expected), "{file}: {to}: {error}");
    }
    // What names find is provisional, also where they are the only key.
    let fixture = unsealed();
    fixture.edit(MATCH, "normaliser = 1 }]", "normaliser = 2 }]");
    fixture.edit(MATCH, "columns = [\"number\"]", "columns = [\"family\", \"given\", \"born\"]");
    let error = sealed(&fixture).err().unwrap_or_default();
    assert!(error.contains("its match key is a number"), "{error}");
    // In a file of matched persons a disclosed column is no other.
    for name in MATCHED_BY_COLUMNS {
        let fixture = unsealed();
        let renamed = format!("\"{name}\"");
        fixture.edit(ENROLMENTS, "name = \"level\"", &format!("name = {renamed}"));
        fixture.edit(MATCH, "\"level\"", &renamed);
        let error = sealed(&fixture).err().unwrap_or_default();
        assert!(error.contains("says by which key a person was matched"), "{name}: {error}");
    }
    // With consent and its ground named, the special kind is no fault of the file.
    let fixture = unsealed();
    fixture.edit(ENROLMENTS, "name = \"level\"", "special = \"belief\"\nname = \"level\"");
    fixture.edit(MATCH, consent, "legal_basis = \"consent\"");
    assert!(sealed(&fixture).is_err(), "without its ground");
    fixture.edit(MATCH, "start =", "special_ground = [{ kind = \"belief\", ground = \"Act\" }]\nstart =");
    assert!(sealed(&fixture).is_ok());
}
