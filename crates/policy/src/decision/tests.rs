use super::*;
use crate::Suspensions;
use crate::constitution::Constitution;
use crate::fixture::{Fixture, NOW, access, join_question, match_question, question};
use crate::permit::Denial;
use firebreak_domain::{EndpointId, OrgId};
use std::collections::BTreeMap;

fn org(id: &str) -> Recipient {
    Recipient::Organisation(OrgId::new(id).unwrap())
}

fn endpoint(id: &str) -> Recipient {
    Recipient::Endpoint(EndpointId::new(id).unwrap())
}

fn caller(uri: &str) -> Identity {
    format!("spiffe://firebreak.example/org/{uri}").parse().unwrap()
}

fn allowed(bundle: &Bundle, question: &Question) -> bool {
    bundle.decide(question, &Suspensions::none(), NOW).is_ok()
}

fn denied(bundle: &Bundle, question: &Question) -> Denial {
    bundle.decide(question, &Suspensions::none(), NOW).err().expect("must be refused")
}

/// Asserts the reason and the one constitutional policy that decided, and gives the denial.
fn refused(bundle: &Bundle, question: &Question, reason: ReasonCode, policy: &str) -> Denial {
    let denial = denied(bundle, question);
    assert_eq!(denial.refusal.reason, reason);
    assert_eq!(denial.refusal.policies, [format!("constitution/{policy}")]);
    denial
}

/// What the fixture permits, changed.
fn with(change: impl FnOnce(&mut Question)) -> Question {
    let mut question = question();
    change(&mut question);
    question
}

fn export(output: OutputKind, recipient: Recipient) -> Question {
    with(|q| {
        q.agreement = "open-to-all".parse().unwrap();
        q.operation = Operation::Export;
        q.output = output;
        q.recipients = vec![recipient];
    })
}

const ENFORCEMENT: &str = "enforcement-receives-only-published";

#[test]
fn a_covered_question_is_permitted_and_the_permit_says_under_what() {
    let bundle = Fixture::new().bundle();
    let Ok(permit) = bundle.decide(&question(), &Suspensions::none(), NOW) else { panic!("must be permitted") };
    assert_eq!(permit.agreement().id.as_str(), "visits");
    assert_eq!(permit.contracts().iter().map(|c| c.id.as_str()).collect::<Vec<_>>(), ["health.visits"]);
    assert_eq!(permit.policies(), ["bundle/agreements-permit"]);
    assert_eq!(permit.bundle_sequence(), 1);
    assert_eq!(permit.facts().recipient_class, RecipientClass::Statistics);
    assert_eq!(permit.facts().purpose.as_ref().unwrap().as_str(), "planning");
}

#[test]
fn an_export_reaches_enforcement_by_no_way() {
    let bundle = Fixture::new().bundle();
    assert!(allowed(&bundle, &export(OutputKind::DpAggregate, endpoint("nso-desk"))));
    for output in [OutputKind::Identifiable, OutputKind::Pseudonymous, OutputKind::DpAggregate] {
        for (recipient, reason) in [
            (org("immigration"), ReasonCode::EnforcementRecipient),
            (endpoint("border-desk"), ReasonCode::EnforcementRecipient),
            (endpoint("firm-desk"), ReasonCode::OnwardTransfer),
            (org("firm"), ReasonCode::OnwardTransfer),
            (endpoint("nobodys-desk"), ReasonCode::UnregisteredRecipient),
            (org("stranger"), ReasonCode::UnregisteredRecipient),
        ] {
            let denial = refused(&bundle, &export(output, recipient), reason, ENFORCEMENT);
            assert_eq!(denial.facts.recipient_class, RecipientClass::Enforcement);
        }
    }
    let denial = denied(&bundle, &export(OutputKind::DpAggregate, org("firm")));
    assert_eq!(denial.refusal.detail, "data would go on from firm to cloud to immigration");
    assert_eq!(denial.refusal.contest.as_deref(), Some("write to the ombudsman"));
}

#[test]
fn enforcement_asks_no_aggregate_and_may_have_what_is_published() {
    let bundle = Fixture::new().bundle();
    let ask = |output| {
        with(|q| {
            q.agreement = "open-to-all".parse().unwrap();
            q.principal = caller("immigration/analyst/ivo");
            q.output = output;
            q.recipients = vec![org("nso")];
        })
    };
    refused(&bundle, &ask(OutputKind::DpAggregate), ReasonCode::EnforcementRecipient, ENFORCEMENT);
    assert!(allowed(&bundle, &ask(OutputKind::PublishedRelease)));
}

#[test]
fn enforcement_publishes_nothing_whatever_leaves() {
    let bundle = Fixture::new().bundle();
    let publish = |org: &str, output| {
        with(|q| {
            q.agreement = "open-to-all".parse().unwrap();
            q.principal = caller(&format!("{org}/analyst/ivo"));
            q.operation = Operation::Publish;
            q.output = output;
        })
    };
    for output in [OutputKind::DpAggregate, OutputKind::PublishedRelease] {
        let denial = denied(&bundle, &publish("immigration", output));
        assert_eq!(denial.refusal.reason, ReasonCode::EnforcementRecipient);
        assert!(denial.refusal.policies.iter().any(|id| id.ends_with("enforcement-publishes-nothing")));
        // The statistics office is refused for what the agreement names, and not for what it is.
        assert_eq!(denied(&bundle, &publish("nso", output)).refusal.reason, ReasonCode::OperationNotCovered);
    }
}

#[test]
fn rows_do_not_leave_even_for_a_service_recipient() {
    let bundle = Fixture::new().bundle();
    for output in [OutputKind::Identifiable, OutputKind::Pseudonymous] {
        let question = with(|q| {
            q.operation = Operation::Export;
            q.output = output;
        });
        let denial = denied(&bundle, &question);
        assert_eq!(denial.refusal.reason, ReasonCode::IdentifiableExport);
        assert_eq!(denial.refusal.policies, ["constitution/rows-do-not-leave"]);
        assert!(denial.refusal.suggestion.unwrap().contains("dp_aggregate"));
    }
    assert!(allowed(&bundle, &with(|q| q.operation = Operation::Export)));
}

#[test]
fn a_match_goes_to_its_receiver_and_never_to_enforcement() {
    let bundle = Fixture::new().bundle();
    let Ok(permit) = bundle.decide(&match_question(), &Suspensions::none(), NOW) else { panic!("must be permitted") };
    let datasets: Vec<_> = permit.contracts().iter().map(|c| c.id.as_str()).collect();
    assert_eq!(datasets, ["health.patients", "education.enrolments"]);

    let mut to_enforcement = match_question();
    to_enforcement.agreement = "permit-match".parse().unwrap();
    to_enforcement.principal = caller("immigration/adapter/main");
    refused(&bundle, &to_enforcement, ReasonCode::EnforcementRecipient, ENFORCEMENT);

    // The sender cannot ask in the receiver's place either: the receiver still counts.
    to_enforcement.principal = caller("education/adapter/main");
    refused(&bundle, &to_enforcement, ReasonCode::EnforcementRecipient, ENFORCEMENT);

    let mut through_a_chain = match_question();
    through_a_chain.recipients = vec![endpoint("firm-desk")];
    refused(&bundle, &through_a_chain, ReasonCode::OnwardTransfer, ENFORCEMENT);
    through_a_chain.recipients = vec![endpoint("school-desk")];
    assert!(allowed(&bundle, &through_a_chain));

    let mut by_the_sender = match_question();
    by_the_sender.principal = caller("education/adapter/main");
    refused(&bundle, &by_the_sender, ReasonCode::RecipientNotCovered, "a-match-is-its-receivers-to-ask");

    let mut as_an_aggregate = match_question();
    as_an_aggregate.output = OutputKind::DpAggregate;
    refused(&bundle, &as_an_aggregate, ReasonCode::OperationNotCovered, "each-operation-has-its-output");
}

#[test]
fn a_match_on_a_dataset_with_special_categories_is_refused() {
    let fixture = Fixture::unsealed();
    fixture.edit("contracts/education.enrolments.toml", "name = \"level\"", "name = \"level\"\nspecial = \"belief\"");
    fixture.edit(
        "agreements/school-match.toml",
        "start =",
        "special_ground = [{ kind = \"belief\", ground = \"Act\" }]\nstart =",
    );
    fixture.sign_contracts();
    fixture.seal(1, None, crate::fixture::VALIDITY, &[0, 1]);
    refused(&fixture.bundle(), &match_question(), ReasonCode::NoSpecialGround, "special-kinds-are-not-matched");
}

#[test]
fn columns_that_nobody_may_read_are_refused() {
    let bundle = Fixture::new().bundle();
    let permits = |columns: &[&str]| {
        with(|q| {
            q.agreement = "permits".parse().unwrap();
            q.datasets = vec![access("immigration.permits", columns)];
        })
    };
    assert!(allowed(&bundle, &permits(&["status", "person"])));
    refused(&bundle, &permits(&["fingerprint"]), ReasonCode::ForbiddenKind, "biometric-and-genetic-never");
    refused(&bundle, &permits(&["number"]), ReasonCode::IdentifierColumn, "identifiers-are-not-read");
    let name = with(|q| q.datasets = vec![access("health.visits", &["name"])]);
    refused(&bundle, &name, ReasonCode::IdentifierColumn, "identifiers-are-not-read");
}

#[test]
fn health_data_without_a_named_ground_are_refused_even_uncounted_by_kind() {
    let bundle = Fixture::new().bundle();
    for columns in [&["kind"][..], &["region"]] {
        let ask = |agreement: &str| {
            with(|q| {
                q.agreement = agreement.parse().unwrap();
                q.datasets = vec![access("health.visits", columns)];
            })
        };
        refused(&bundle, &ask("no-ground"), ReasonCode::NoSpecialGround, "special-kinds-on-a-named-ground");
        assert!(allowed(&bundle, &ask("visits")));
    }
}

#[test]
fn nothing_happens_outside_an_agreement_that_counts_and_covers() {
    let bundle = Fixture::new().bundle();
    let under = |agreement: &str| with(|q| q.agreement = agreement.parse().unwrap());
    refused(&bundle, &under("ended"), ReasonCode::AgreementNotInForce, "the-agreement-is-in-force");
    refused(&bundle, &under("unassessed"), ReasonCode::AgreementNotAssessed, "the-agreement-is-assessed");
    let purpose = with(|q| q.purpose = "advertising".parse().unwrap());
    let denial = refused(&bundle, &purpose, ReasonCode::PurposeNotCovered, "purposes-are-the-agreements");
    assert_eq!(denial.refusal.suggestion.as_deref(), Some("its purposes are planning, research"));
    assert_eq!(denial.facts.purpose, None);
    let column = with(|q| q.datasets = vec![access("health.visits", &["month"])]);
    refused(&bundle, &column, ReasonCode::ColumnNotCovered, "columns-are-the-agreements");
    let dataset = with(|q| q.datasets = vec![access("health.patients", &["region"])]);
    refused(&bundle, &dataset, ReasonCode::DatasetNotCovered, "datasets-are-the-agreements");
    let nothing = with(|q| q.datasets = vec![]);
    refused(&bundle, &nothing, ReasonCode::DatasetNotCovered, "datasets-are-the-agreements");
    let recipient = with(|q| q.recipients = vec![org("education")]);
    refused(&bundle, &recipient, ReasonCode::RecipientNotCovered, "recipients-are-the-agreements");
    let mut operation = match_question();
    operation.operation = Operation::Export;
    operation.output = OutputKind::DpAggregate;
    operation.datasets = vec![access("health.patients", &[])];
    refused(&bundle, &operation, ReasonCode::OperationNotCovered, "operations-are-the-agreements");
}

#[test]
fn an_unsigned_request_needs_an_agreement_that_takes_the_gateways_word() {
    let bundle = Fixture::new().bundle();
    let unsigned = |agreement: &str| {
        with(|q| {
            q.agreement = agreement.parse().unwrap();
            q.signed = false;
        })
    };
    refused(&bundle, &unsigned("visits"), ReasonCode::SignatureRequired, "the-caller-signs");
    assert!(allowed(&bundle, &unsigned("unsigned")));
}

#[test]
fn an_agreement_of_others_looks_like_one_that_does_not_exist() {
    let bundle = Fixture::new().bundle();
    let ask = |agreement: &str| with(|q| q.agreement = agreement.parse().unwrap());
    let (others, none) = (denied(&bundle, &ask("school-match")), denied(&bundle, &ask("no-such-thing")));
    // The whole of it, because the caller gets the leaf too.
    assert_eq!(others, none);
    assert_eq!(others.refusal.reason, ReasonCode::NoAgreement);
    assert_eq!((&none.facts.agreement, none.facts.legal_basis), (&None, None));
    let mut biometric = ask("no-such-thing");
    biometric.datasets = vec![access("immigration.permits", &["fingerprint"])];
    assert_eq!(denied(&bundle, &biometric).refusal, none.refusal);
    // One's own is still named, and so is one's own agreement that does not do.
    assert_eq!(denied(&bundle, &ask("ended")).facts.agreement.unwrap().as_str(), "ended");
}

#[test]
fn a_purpose_of_others_looks_like_one_that_does_not_exist() {
    let fixture = Fixture::unsealed();
    fixture.edit("agreements/school-match.toml", "\"planning\", \"research\"", "\"vaccination\"");
    fixture.seal(1, None, crate::fixture::VALIDITY, &[0, 1]);
    let bundle = fixture.bundle();
    let ask = |purpose: &str| with(|q| q.purpose = purpose.parse().unwrap());
    let others = denied(&bundle, &ask("vaccination"));
    assert_eq!(others, denied(&bundle, &ask("no-such-thing")));
    assert_eq!(others.facts.purpose, None);
}

#[test]
fn a_name_that_nothing_can_have_is_refused_like_one_that_nothing_has() {
    let bundle = Fixture::new().bundle();
    let misnamed = |question: &Question| Misnamed {
        principal: question.principal.clone(),
        operation: question.operation,
        agreement: Some(question.agreement.clone()),
        purpose: Some(question.purpose.clone()),
        recipient: question.recipients.first().cloned(),
        datasets: question.datasets.clone(),
        output: question.output,
        joined: question.joined,
    };
    let refuse = |misnamed: &Misnamed| bundle.refuse(misnamed, &Suspensions::none(), NOW);
    let table = export(OutputKind::DpAggregate, endpoint("nso-desk"));
    let by_immigration = with(|q| q.principal = caller("immigration/analyst/ivo"));
    for question in [question(), table, by_immigration] {
        let (base, unknown) = (misnamed(&question), "no-such-thing");
        let agreement = Question { agreement: unknown.parse().unwrap(), ..question.clone() };
        assert_eq!(refuse(&Misnamed { agreement: None, ..base.clone() }), denied(&bundle, &agreement));
        let purpose = Question { purpose: unknown.parse().unwrap(), ..question.clone() };
        assert_eq!(refuse(&Misnamed { purpose: None, ..base.clone() }), denied(&bundle, &purpose));
        let recipient = Question { recipients: vec![endpoint(unknown)], ..question.clone() };
        assert_eq!(refuse(&Misnamed { recipient: None, ..base }), denied(&bundle, &recipient));
    }
    // A bundle that permits everything to everybody gives no permit for it, and nothing that is wrongly called misnamed
    // gets one either.
    let denial = refuse(&misnamed(&question()));
    assert_eq!(denial.refusal.reason, ReasonCode::NotPermitted);
}

#[test]
fn a_dataset_outside_the_agreement_looks_like_one_that_does_not_exist() {
    let bundle = Fixture::new().bundle();
    let ask = |dataset: &str, column: &str| with(|q| q.datasets = vec![access(dataset, &[column])]);
    let none = denied(&bundle, &ask("no.such", "thing"));
    // Another of the caller's own agreements has this one, and this one none has: only the former is named to it.
    let elsewhere = denied(&bundle, &ask("immigration.permits", "fingerprint"));
    assert_eq!(elsewhere.refusal, none.refusal);
    assert_eq!(elsewhere.facts.datasets, [DatasetId::new("immigration.permits").unwrap()]);
    assert_eq!(denied(&bundle, &ask("education.enrolments", "level")), none);
    assert_eq!(none.facts.datasets, []);
    assert_eq!(denied(&bundle, &ask("health.visits", "no-such")).refusal.reason, ReasonCode::ColumnNotCovered);
    let text = format!("{:?}{}", none, none.refusal);
    assert!(!text.contains("no.such"), "{text}");
}

#[test]
fn a_suspension_stops_whatever_it_names_and_nothing_else() {
    let bundle = Fixture::new().bundle();
    let stops = |suspensions: &Suspensions| match bundle.decide(&question(), suspensions, NOW) {
        Ok(_) => false,
        Err(denial) => {
            assert_eq!(denial.refusal.reason, ReasonCode::Suspended);
            assert_eq!(denial.refusal.policies, ["constitution/nothing-while-suspended"]);
            true
        }
    };
    let none = Suspensions::none;
    assert!(!stops(&none()));
    assert!(stops(&Suspensions { everything: true, ..none() }));
    for (agency, stopped) in [("health", true), ("nso", true), ("education", false)] {
        assert_eq!(stops(&Suspensions { agencies: [OrgId::new(agency).unwrap()].into(), ..none() }), stopped);
        let stopped = stopped && agency != "health";
        assert_eq!(stops(&Suspensions { recipients: [org(agency)].into(), ..none() }), stopped);
    }
    for (agreement, stopped) in [("visits", true), ("ended", false)] {
        assert_eq!(stops(&Suspensions { agreements: [agreement.parse().unwrap()].into(), ..none() }), stopped);
    }
    let desk = Suspensions { recipients: [endpoint("nso-desk")].into(), ..none() };
    assert!(!stops(&desk));
    let to_desk = with(|q| q.recipients = vec![endpoint("nso-desk")]);
    assert!(bundle.decide(&to_desk, &desk, NOW).is_err() && allowed(&bundle, &to_desk));
}

#[test]
fn everything_is_refused_once_the_bundle_has_expired() {
    let bundle = Fixture::new().bundle();
    let end = bundle.manifest().validity.valid_until;
    // The agreement has to outlive the bundle for the bundle to be what decides.
    assert!(bundle.decide(&question(), &Suspensions::none(), end.plus_secs(-1)).is_ok());
    let denial = bundle.decide(&question(), &Suspensions::none(), end).err().unwrap();
    assert_eq!(denial.refusal.reason, ReasonCode::NoPolicyInForce);
    assert_eq!(denial.refusal.policies, ["constitution/a-bundle-is-in-force"]);
}

#[test]
fn without_a_permit_of_the_bundle_nothing_is_permitted() {
    let sealed_with = |policies: &str| {
        let fixture = Fixture::unsealed();
        fixture.write("policies/all.cedar", policies);
        fixture.seal(1, None, crate::fixture::VALIDITY, &[0, 1]);
        fixture.bundle()
    };
    let denial = denied(&sealed_with(""), &question());
    assert_eq!(denial.refusal.reason, ReasonCode::NotPermitted);
    assert!(denial.refusal.policies.is_empty());
    let forbidding = "@id(\"all\") permit (principal, action, resource);
        @id(\"not-nso\") @rule(\"not this year\") forbid (principal == Organisation::\"nso\", action, resource);";
    let denial = denied(&sealed_with(forbidding), &question());
    assert_eq!(denial.refusal.reason, ReasonCode::NotPermitted);
    assert_eq!(denial.refusal.detail, "not this year");
    assert_eq!(denial.refusal.policies, ["bundle/not-nso"]);
    let narrow = "@id(\"one\") permit (principal == Organisation::\"nso\", action == Action::\"aggregate\", \
                  resource == Agreement::\"visits\");";
    let bundle = sealed_with(narrow);
    assert!(allowed(&bundle, &question()));
    assert!(!allowed(&bundle, &with(|q| q.agreement = "unsigned".parse().unwrap())));
}

#[test]
fn a_policy_that_errs_refuses() {
    let fixture = Fixture::unsealed();
    let erring = "@id(\"all\") permit (principal, action, resource);
        @id(\"errs\") forbid (principal, action, resource)
        when { context.agreement.retention_days * 9223372036854775807 > 0 };";
    fixture.write("policies/all.cedar", erring);
    fixture.seal(1, None, crate::fixture::VALIDITY, &[0, 1]);
    let denial = denied(&fixture.bundle(), &question());
    assert_eq!(denial.refusal.reason, ReasonCode::PolicyError);
}

#[test]
fn enforcement_is_refused_even_if_every_policy_permits() {
    let mut bundle = Fixture::new().bundle();
    bundle.content.policies = "permit (principal, action, resource);".parse().unwrap();
    assert!(allowed(&bundle, &export(OutputKind::DpAggregate, endpoint("nso-desk"))));
    for recipient in ["border-desk", "firm-desk", "nobodys-desk"] {
        for output in OutputKind::ALL.into_iter().filter(|o| *o != OutputKind::PublishedRelease) {
            let denial = denied(&bundle, &export(output, endpoint(recipient)));
            assert!(denial.refusal.policies.is_empty());
            assert_eq!(denial.facts.recipient_class, RecipientClass::Enforcement);
        }
    }
}

#[test]
fn the_catalogue_shows_what_can_be_asked_and_nothing_else() {
    let bundle = Fixture::new().bundle();
    let seen = |org: &str, now| -> BTreeMap<String, Vec<String>> {
        let datasets = bundle.visible_datasets(&OrgId::new(org).unwrap(), now).into_iter();
        datasets.map(|d| (d.contract.id.to_string(), d.columns.iter().map(ToString::to_string).collect())).collect()
    };
    let nso = seen("nso", NOW);
    assert_eq!(nso["health.visits"], ["person", "region", "kind", "cost"]);
    assert_eq!(nso["immigration.permits"], ["person", "status"]);
    assert_eq!(nso.len(), 2);
    for nobody in ["immigration", "firm", "school", "stranger"] {
        assert!(seen(nobody, NOW).is_empty(), "{nobody}");
    }
    assert!(seen("nso", bundle.manifest().validity.valid_until).is_empty());
}

#[test]
fn every_article_of_the_constitution_decides_somewhere_by_itself() {
    // One fact is changed at a time, at the level of the context: what no program would ever compute is covered too.
    let bundle = Fixture::with_joins().bundle();
    let base =
        |question: &Question| crate::view::View::of(&bundle, question.into()).to_facts(&Suspensions::none(), NOW);
    let (asked, matched, joined) = (base(&question()), base(&match_question()), base(&join_question()));
    let fired = |facts: crate::context::Facts| -> Vec<String> {
        let constitution = Constitution::compiled().unwrap();
        let mut policies = constitution.policies().clone();
        policies
            .add(
                cedar_policy::Policy::parse(
                    Some(cedar_policy::PolicyId::new("all")),
                    "permit(principal,action,resource);",
                )
                .unwrap(),
            )
            .unwrap();
        let uid = |text: &str| text.parse::<EntityUid>().unwrap();
        let action = uid(&format!("Action::\"{}\"", facts.operation));
        let context = facts.into_context().unwrap();
        let request = Request::new(
            uid("Organisation::\"x\""),
            action,
            uid("Agreement::\"x\""),
            context,
            Some(constitution.schema()),
        );
        let response = Authorizer::new().is_authorized(&request.unwrap(), &policies, &Entities::empty());
        decisive(&response)
    };
    assert_eq!(fired(asked.clone()), ["all"]);
    assert_eq!(fired(matched.clone()), ["all"]);
    assert_eq!(fired(joined.clone()), ["all"]);
    assert!(joined.roles.contains("join_key") && !joined.roles.contains("match_key"));
    let mut decided = BTreeSet::new();
    let mut case = |base: &crate::context::Facts, change: &dyn Fn(&mut crate::context::Facts)| {
        let mut facts = base.clone();
        change(&mut facts);
        let by = fired(facts);
        assert_eq!(by.len(), 1, "{by:?}");
        decided.insert(by[0].clone());
    };
    case(&asked, &|f| _ = f.recipient_classes.insert("enforcement"));
    case(&asked, &|f| _ = f.recipient_classes.insert("something new"));
    case(&asked, &|f| {
        f.operation = "publish";
        f.agreement.operations.insert("publish");
        f.output = "published_release";
        f.recipient_classes.insert("enforcement");
    });
    case(&asked, &|f| f.output = "identifiable");
    case(&matched, &|f| {
        f.output = "dp_aggregate";
        f.roles = ["category"].into();
    });
    case(&matched, &|f| f.discloses = true);
    case(&matched, &|f| {
        f.discloses = true;
        f.agreement.operations.insert("disclose");
        f.recipient_classes.insert("statistics");
    });
    case(&asked, &|f| f.recipients.clear());
    case(&asked, &|f| f.recipient_classes.clear());
    case(&asked, &|f| _ = f.recipients.insert("other".into()));
    case(&matched, &|f| f.caller = "education".into());
    case(&asked, &|f| {
        f.kinds.insert("genetic");
        f.agreement.grounds.insert("genetic");
    });
    case(&asked, &|f| _ = f.roles.insert("match_key"));
    case(&asked, &|f| _ = f.kinds.insert("origin"));
    case(&matched, &|f| {
        f.kinds.insert("origin");
        f.agreement.grounds.insert("origin");
    });
    case(&asked, &|f| f.datasets.clear());
    case(&asked, &|f| _ = f.columns.insert("a/b".into()));
    case(&asked, &|f| f.agreement.parties.clear());
    case(&asked, &|f| f.agreement.in_force = false);
    case(&asked, &|f| f.agreement.assessed = false);
    case(&asked, &|f| f.purpose = "other".into());
    case(&asked, &|f| f.agreement.operations.clear());
    case(&joined, &|f| f.agreement.semi_honest_join = false);
    case(&joined, &|f| f.agreement.join.clear());
    case(&joined, &|f| _ = f.agreement.join.insert("a third".into()));
    case(&joined, &|f| {
        f.datasets.insert("a third".into());
        f.agreement.datasets.insert("a third".into());
    });
    case(&joined, &|f| f.operation = "export");
    case(&joined, &|f| f.output = "published_release");
    case(&joined, &|f| _ = f.roles.insert("match_key"));
    case(&joined, &|f| f.joined = false);
    case(&asked, &|f| f.bundle_in_force = false);
    case(&asked, &|f| f.suspended = true);
    case(&asked, &|f| f.signed = false);
    let all: BTreeSet<_> = Constitution::compiled().unwrap().articles().keys().cloned().collect();
    assert_eq!(decided, all);
}
