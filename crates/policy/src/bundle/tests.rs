use super::*;
use crate::fixture::{DAY, Fixture, MADE, NOW, VALIDITY};
use crate::signing::{SigningKey, cosign, sign_contract};
use crate::{OverseersError, Validity};
use std::fs;

/// A copy of the manifest with its signature lines changed.
fn resign(fixture: &Fixture, change: impl FnOnce(Vec<String>) -> Vec<String>) {
    let note = fs::read_to_string(fixture.path("manifest.note")).unwrap();
    let (text, signatures) = note.rsplit_once("\n\n").unwrap();
    let lines = change(signatures.lines().map(str::to_owned).collect());
    fixture
        .write("manifest.note", &format!("{text}\n\n{}", lines.iter().map(|l| format!("{l}\n")).collect::<String>()));
}

#[test]
fn a_bundle_signed_by_two_of_three_is_taken_up() {
    let bundle = Fixture::new().taken_up().unwrap();
    assert_eq!(bundle.sequence(), 1);
    assert!(bundle.in_force(NOW));
}

#[test]
fn an_unsigned_bundle_is_refused() {
    let fixture = Fixture::unsealed();
    fixture.seal(1, None, VALIDITY, &[]);
    assert!(matches!(fixture.taken_up(), Err(BundleError::Unsigned)));
    fixture.cosign(&fixture.overseers[0]);
    fixture.cosign(&fixture.overseers[2]);
    assert!(fixture.taken_up().is_ok());
}

#[test]
fn a_bundle_stripped_of_its_signatures_is_refused() {
    let fixture = Fixture::new();
    let whole = fs::read_to_string(fixture.path("manifest.note")).unwrap();
    resign(&fixture, |_| vec![]);
    assert!(matches!(fixture.taken_up(), Err(BundleError::Unsigned)));
    fixture.write("manifest.note", &whole);
    resign(&fixture, |lines| lines[..1].to_vec());
    assert!(matches!(fixture.taken_up(), Err(BundleError::TooFewSignatures { have: 1, need: 2 })));
    fixture.write("manifest.note", &whole);
    assert!(fixture.taken_up().is_ok());
}

#[test]
fn a_bundle_signed_by_one_is_refused_and_by_two_accepted() {
    let fixture = Fixture::unsealed();
    fixture.seal(1, None, VALIDITY, &[1]);
    assert!(matches!(fixture.taken_up(), Err(BundleError::TooFewSignatures { have: 1, need: 2 })));
    fixture.cosign(&fixture.overseers[2]);
    assert!(fixture.taken_up().is_ok());
}

#[test]
fn one_overseer_who_signs_twice_counts_once() {
    let fixture = Fixture::unsealed();
    fixture.seal(1, None, VALIDITY, &[0, 0]);
    assert!(matches!(fixture.taken_up(), Err(BundleError::TooFewSignatures { have: 1, .. })));
    resign(&fixture, |lines| [lines.clone(), lines].concat());
    assert!(matches!(fixture.taken_up(), Err(BundleError::TooFewSignatures { have: 1, .. })));
    fixture.cosign(&fixture.overseers[1]);
    assert!(fixture.taken_up().is_ok());
}

#[test]
fn strangers_count_for_nothing_and_hinder_nothing() {
    let fixture = Fixture::unsealed();
    fixture.seal(1, None, VALIDITY, &[0]);
    fixture.cosign(&SigningKey::generate("stranger").unwrap());
    // Somebody who took an overseer's name, not the key.
    fixture.cosign(&SigningKey::generate("bela").unwrap());
    assert!(matches!(fixture.taken_up(), Err(BundleError::TooFewSignatures { have: 1, need: 2 })));
    fixture.cosign(&fixture.overseers[1]);
    assert!(fixture.taken_up().is_ok());
}

#[test]
fn a_signature_of_another_text_counts_for_nothing() {
    let fixture = Fixture::new();
    let earlier = fs::read_to_string(fixture.path("manifest.note")).unwrap();
    let signature = earlier.lines().last().unwrap().to_owned();
    let later = Validity { valid_until: NOW.plus_secs(900 * DAY), ..VALIDITY };
    fixture.seal(1, None, later, &[0]);
    resign(&fixture, |mut lines| {
        lines.push(signature);
        lines
    });
    assert!(matches!(fixture.taken_up(), Err(BundleError::TooFewSignatures { have: 1, need: 2 })));
    fixture.cosign(&fixture.overseers[1]);
    assert!(fixture.taken_up().is_ok());
}

#[test]
fn a_bundle_that_names_its_own_signers_is_refused() {
    let fixture = Fixture::new();
    let bundle = fixture.bundle();
    let own: Vec<_> = ["dora", "emil", "fay"].map(|n| SigningKey::generate(n).unwrap()).into();
    fixture.write("overseers.toml", &fixture.overseers_toml(&own));
    let sealed_by = |olds: &[usize], news: &[usize], sequence, previous| {
        fixture.seal(sequence, previous, VALIDITY, olds);
        news.iter().for_each(|n| fixture.cosign(&own[*n]));
        fixture.offered().unwrap()
    };
    let previous = Some(bundle.manifest().digest());
    let by_new = sealed_by(&[], &[0, 1, 2], 2, previous);
    assert!(matches!(bundle.succeed(&by_new, NOW), Err(BundleError::TooFewSignatures { have: 0, need: 2 })));
    let by_old = sealed_by(&[0, 1], &[0], 2, previous);
    assert!(matches!(bundle.succeed(&by_old, NOW), Err(BundleError::TooFewNewSignatures { have: 1, need: 2 })));
    assert!(bundle.succeed(&sealed_by(&[0, 1], &[0, 2], 2, previous), NOW).is_ok());
    let first = sealed_by(&[], &[0, 1, 2], 1, None);
    let refused = Bundle::first(&first, &fixture.root(), NOW);
    assert!(matches!(refused, Err(BundleError::TooFewSignatures { have: 0, need: 2 })));
    let first = sealed_by(&[0, 1], &[1], 1, None);
    let refused = Bundle::first(&first, &fixture.root(), NOW);
    assert!(matches!(refused, Err(BundleError::TooFewNewSignatures { have: 1, need: 2 })));
    let first = sealed_by(&[0, 1], &[1, 2], 1, None);
    assert!(Bundle::first(&first, &fixture.root(), NOW).is_ok());
}

#[test]
fn a_bundle_rolled_back_is_refused() {
    let fixture = Fixture::new();
    let old = fixture.offered().unwrap();
    let first = fixture.bundle();
    let second = fixture.succeeds(&first, VALIDITY, &[0, 1]).unwrap();
    assert!(matches!(second.succeed(&old, NOW), Err(BundleError::RolledBack { found: 1, accepted: 2 })));
    let mark = second.watermark();
    let restart = |candidate| Bundle::resume(candidate, mark);
    assert!(matches!(restart(&old), Err(BundleError::RolledBack { found: 1, accepted: 2 })));
    assert!(restart(&fixture.offered().unwrap()).is_ok());
}

#[test]
fn a_restart_is_no_way_round_the_ratchet() {
    let fixture = Fixture::new();
    let first = fixture.bundle();
    let mark = first.watermark();
    let kept = tempfile::tempdir().unwrap();
    fixture.offered().unwrap().write(kept.path()).unwrap();
    fixture.seal(2, Some(first.manifest().digest()), VALIDITY, &[0, 1]);
    assert!(matches!(fixture.resumed(mark), Err(BundleError::Skipped { found: 2, accepted: 1 })));
    let copy = Candidate::read(kept.path()).unwrap();
    let resumed = Bundle::resume(&copy, mark).unwrap();
    assert!(resumed.succeed(&fixture.offered().unwrap(), NOW).is_ok());
    // The same sequence signed a second time with other content.
    fixture.seal(1, None, Validity { valid_until: NOW.plus_secs(9 * DAY), ..VALIDITY }, &[0, 1]);
    assert!(matches!(fixture.resumed(mark), Err(BundleError::Forked(1))));
}

#[test]
fn an_overseer_reads_with_another_key_only_under_their_own_signature() {
    let fixture = Fixture::new();
    let first = fixture.bundle();
    let own = hex::encode([b'c'; 32]);
    fixture.edit("overseers.toml", &own, &hex::encode([b'x'; 32]));
    fixture.seal(2, Some(first.manifest().digest()), VALIDITY, &[0, 1]);
    let refused = first.succeed(&fixture.offered().unwrap(), NOW);
    assert!(matches!(refused, Err(BundleError::SealKeyNotSigned(overseer)) if overseer.as_str() == "chidi"));
    fixture.seal(2, Some(first.manifest().digest()), VALIDITY, &[0, 2]);
    assert!(first.succeed(&fixture.offered().unwrap(), NOW).is_ok());
}

#[test]
fn overseers_who_were_succeeded_are_not_asked_again_at_a_restart() {
    let mut fixture = Fixture::new();
    let first = fixture.bundle();
    let new: Vec<_> = ["dora", "emil", "fay"].map(|n| SigningKey::generate(n).unwrap()).into();
    fixture.write("overseers.toml", &fixture.overseers_toml(&new));
    fixture.seal(2, Some(first.manifest().digest()), VALIDITY, &[0, 1]);
    new[..2].iter().for_each(|key| fixture.cosign(key));
    let second = first.succeed(&fixture.offered().unwrap(), NOW).unwrap();
    fixture.overseers = new;
    let third = fixture.succeeds(&second, VALIDITY, &[0, 2]).unwrap();
    assert_eq!(fixture.resumed(third.watermark()).unwrap().sequence(), 3);
    // Its text is the same, and nobody has signed it any more.
    resign(&fixture, |lines| lines[..1].to_vec());
    let stripped = fixture.resumed(third.watermark());
    assert!(matches!(stripped, Err(BundleError::TooFewSignatures { have: 1, need: 2 })));
}

#[test]
fn a_successor_names_the_bundle_before_it() {
    let fixture = Fixture::new();
    let bundle = fixture.bundle();
    let offer = |sequence, previous, validity| {
        fixture.seal(sequence, previous, validity, &[0, 1]);
        bundle.succeed(&fixture.offered().unwrap(), NOW)
    };
    let previous = Some(bundle.manifest().digest());
    assert!(matches!(offer(2, Some([0; 32]), VALIDITY), Err(BundleError::NotASuccessor)));
    assert!(matches!(offer(3, previous, VALIDITY), Err(BundleError::NotASuccessor)));
    let backdated = Validity { made: MADE.plus_secs(-1), ..VALIDITY };
    assert!(matches!(offer(2, previous, backdated), Err(BundleError::NotASuccessor)));
    assert!(offer(2, previous, VALIDITY).is_ok());
}

#[test]
fn a_bundle_edited_after_signing_is_refused_by_the_files_name() {
    let fixture = Fixture::new();
    let files: Vec<_> = fixture.offered().unwrap().files.into_iter().collect();
    assert!(files.len() > 15);
    for (file, bytes) in &files {
        let mut edited = bytes.clone();
        edited.push(b' ');
        fs::write(fixture.path(file), &edited).unwrap();
        let error = fixture.taken_up().unwrap_err();
        assert!(matches!(&error, BundleError::FileChanged { file: named } if named == file), "{error}");
        fs::remove_file(fixture.path(file)).unwrap();
        let error = fixture.taken_up().unwrap_err();
        assert!(matches!(&error, BundleError::FileMissing { file: named } if named == file), "{error}");
        fs::write(fixture.path(file), bytes).unwrap();
    }
    fixture.write("policies/more.cedar", "@id(\"more\") permit (principal, action, resource);");
    assert!(matches!(fixture.taken_up(), Err(BundleError::FileNotListed { file }) if file == "policies/more.cedar"));
    fs::remove_file(fixture.path("policies/more.cedar")).unwrap();
    fixture.write("readme.txt", "x");
    assert!(matches!(fixture.taken_up(), Err(BundleError::Stray(file)) if file == "readme.txt"));
    fs::remove_file(fixture.path("readme.txt")).unwrap();
    fixture.write(".hidden", "x");
    assert!(fixture.taken_up().is_ok());
}

#[test]
fn every_byte_of_the_manifest_counts() {
    let fixture = Fixture::new();
    let whole = fs::read(fixture.path("manifest.note")).unwrap();
    let text = whole.len() - whole.rsplit(|b| *b == b'\n').take(3).map(<[u8]>::len).sum::<usize>();
    for at in (0..text).step_by(7) {
        let mut edited = whole.clone();
        edited[at] ^= 1;
        fs::write(fixture.path("manifest.note"), edited).unwrap();
        assert!(fixture.taken_up().is_err(), "byte {at}");
    }
    fs::write(fixture.path("manifest.note"), &whole).unwrap();
    assert!(fixture.taken_up().is_ok());
}

#[test]
fn a_bundle_counts_from_its_first_second_to_before_its_last() {
    let fixture = Fixture::new();
    let candidate = fixture.offered().unwrap();
    let at = |now| Bundle::first(&candidate, &fixture.root(), now);
    let Validity { valid_from, valid_until, .. } = VALIDITY;
    assert!(matches!(at(valid_from.plus_secs(-1)), Err(BundleError::NotYetValid(_))));
    assert!(at(valid_from).is_ok());
    assert!(matches!(at(valid_until), Err(BundleError::Expired(_))));
    let bundle = at(valid_until.plus_secs(-1)).unwrap();
    assert!(!bundle.in_force(valid_until));
    // Overseers end a standstill by a successor, and a program that restarts meanwhile still starts.
    let resumed = Bundle::resume(&candidate, bundle.watermark()).unwrap();
    let later = Validity { valid_until: valid_until.plus_secs(9 * DAY), ..VALIDITY };
    fixture.seal(2, Some(bundle.manifest().digest()), later, &[0, 1]);
    assert!(resumed.succeed(&fixture.offered().unwrap(), valid_until).is_ok());
}

#[test]
fn a_contract_takes_the_signature_of_its_own_agency() {
    let fixture = Fixture::unsealed();
    let contract = fixture.path("contracts/health.visits.toml");
    let offer = || {
        fixture.seal(1, None, VALIDITY, &[0, 1]);
        fixture.taken_up()
    };
    assert!(offer().is_ok());
    sign_contract(&contract, fixture.agency("education")).unwrap();
    let error = offer().unwrap_err();
    assert!(
        matches!(&error, BundleError::ContractNotSigned { file, agency }
        if file == "contracts/health.visits.toml" && agency.as_str() == "health"),
        "{error}"
    );
    sign_contract(&contract, fixture.agency("health")).unwrap();
    assert!(offer().is_ok());
    fixture.edit("contracts/health.visits.toml", "rows_per_person = 4", "rows_per_person = 5");
    assert!(matches!(offer(), Err(BundleError::ContractNotSigned { .. })));
    fs::remove_file(fixture.path("contracts/health.visits.note")).unwrap();
    assert!(matches!(offer(), Err(BundleError::ContractNotSigned { .. })));
}

#[test]
fn what_is_wrong_in_a_file_is_said_with_the_files_name() {
    const MATCH: &str = "agreements/school-match.toml";
    let cases: [(&str, &str, &str, &str); 27] = [
        ("endpoints.toml", "format = 1", "format = 2", "endpoints.toml has format 2"),
        ("endpoints.toml", "id = \"school\"", "id = \"nso\"", "organisation nso is declared twice"),
        ("overseers.toml", "threshold = 2", "threshold = 1", "overseers.toml: threshold"),
        ("agreements/visits.toml", "format = 1", "format = 2", "agreements/visits.toml: an agreement has format 2"),
        ("agreements/visits.toml", "id = \"visits\"", "id = \"ended\"", "declares agreement ended"),
        ("agreements/visits.toml", "\"cost\"", "\"costs\"", "agreements/visits.toml: the contract of health.visits"),
        ("agreements/visits.toml", "assessment = \"visits\"", "assessment = \"visit\"", "no file declares assessment"),
        (
            "agreements/visits.toml",
            "rho_per_query_max = 50000000",
            "rho_per_query_max = 500000001",
            "above the ceiling of 0.5",
        ),
        ("agreements/visits.toml", "contest = \"write", "contest = \"\"\n#", "contest is blank"),
        ("agreements/visits.toml", "title =", "titel =", "agreements/visits.toml: unknown field"),
        (
            MATCH,
            "columns = [\"number\"], n",
            "columns = [\"region\"], n",
            "match.key number: a column is not a match_key",
        ),
        (MATCH, "[{ name = \"number\", columns = [\"number\"], normaliser = 1 }]", "[]", "a match has 1 to 4 keys"),
        (
            MATCH,
            "normaliser = 1 }",
            "normaliser = 1 }, { name = \"number\", columns = [\"born\"], normaliser = 1 }",
            "the same name",
        ),
        (
            MATCH,
            "normaliser = 1 }",
            "normaliser = 1 }, { name = \"again\", columns = [\"number\"], normaliser = 1 }",
            "match.key again: another key compares",
        ),
        (MATCH, "normaliser = 1", "normaliser = 2", "its columns are as many as its normaliser takes"),
        (MATCH, "normaliser = 1", "normaliser = 3", "knows no such normaliser"),
        (
            MATCH,
            "columns = [\"number\"], normaliser = 1",
            "columns = [\"born\", \"given\", \"born\"], normaliser = 2",
            "stands in it twice",
        ),
        (
            MATCH,
            "enrolments\", columns = [\"number\", ",
            "enrolments\", columns = [",
            "is not among the agreement's columns",
        ),
        (MATCH, "normaliser = 1", "normaliser = 1, life_cap_permille = 1049", "is below cap_permille"),
        (MATCH, "normaliser = 1", "normaliser = 1, tags_permille = 999", "1000 is one list"),
        (MATCH, "normaliser = 1", "normaliser = 1, life_tags_permille = 0", "1000 is one list"),
        (
            MATCH,
            "normaliser = 1",
            "normaliser = 1, tags_permille = 2000, life_tags_permille = 1000",
            "is below tags_permille",
        ),
        (
            MATCH,
            "normaliser = 1 }]",
            "normaliser = 1 }], epoch = { hours = 25, hold_hours = 25, elements = 1024 }",
            "match.epoch.hours is 1 to 24",
        ),
        (
            MATCH,
            "normaliser = 1 }]",
            "normaliser = 1 }, { name = \"again\", columns = [\"born\"], normaliser = 1 }], \
             epoch = { hours = 24, hold_hours = 24, elements = 1024 }",
            "match.epoch is for an agreement with one match key",
        ),
        (
            "contracts/health.visits.toml",
            "rho_per_year = 1000000000",
            "rho_per_year = 2000000001",
            "above the ceiling of 2",
        ),
        (
            "contracts/health.visits.toml",
            "register_size = 100000",
            "register_size = 100001",
            "unit space health.persons otherwise",
        ),
        ("assessments/visits.toml", "format = 1", "format = 7", "assessments/visits.toml: an assessment has format 7"),
    ];
    for (file, from, to, expected) in cases {
        let fixture = Fixture::unsealed();
        fixture.edit(file, from, to);
        fixture.sign_contracts();
        fixture.seal(1, None, VALIDITY, &[0, 1]);
        let error = fixture.taken_up().err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error.contains(expected), "{file}: {to}: {error}");
    }
}

#[test]
fn an_agreement_on_consent_has_no_epochs() {
    let fixture = Fixture::unsealed();
    let epoch = "normaliser = 1 }], epoch = { hours = 24, hold_hours = 24, elements = 1024 }";
    fixture.edit("agreements/school-match.toml", "normaliser = 1 }]", epoch);
    fixture.seal(1, None, VALIDITY, &[0, 1]);
    assert!(fixture.taken_up().is_ok(), "the twin, on a task in the public interest");
    fixture.edit("agreements/school-match.toml", "legal_basis = \"public_task\"", "legal_basis = \"consent\"");
    fixture.seal(1, None, VALIDITY, &[0, 1]);
    let error = fixture.taken_up().err().map(|e| e.to_string()).unwrap_or_default();
    assert!(error.contains("match.epoch is not for consent"), "{error}");
}

#[test]
fn a_policy_at_odds_with_the_constitution_is_refused() {
    for (policy, expected) in [
        ("permit (principal, action, resource);", "@id"),
        ("@id(\"x\") permit (principal, action, resource) when { context.no_such };", "no_such"),
        ("@id(\"x\") permit (principal, action, resource) when { principal.class == \"service\" };", "class"),
        ("@id(\"x\") permit (principal == ?principal, action, resource);", "template"),
        ("@id(\"x\") permit (principal, action == Action::\"anything\", resource);", "anything"),
        (
            "@id(\"x\") permit (principal, action, resource); @id(\"x\") permit (principal, action, resource);",
            "bundle/x",
        ),
        ("@id(\"x\") permit (principal", "unexpected"),
    ] {
        let fixture = Fixture::unsealed();
        fixture.write("policies/all.cedar", policy);
        fixture.seal(1, None, VALIDITY, &[0, 1]);
        let error = fixture.taken_up().unwrap_err();
        assert!(matches!(&error, BundleError::AtOddsWithConstitution { file, .. } if file == "policies/all.cedar"));
        assert!(error.to_string().contains(expected), "{policy}: {error}");
    }
}

#[test]
fn an_overseer_signs_no_list_that_is_not_the_folder() {
    let fixture = Fixture::new();
    fixture.edit("endpoints.toml", "A school", "A college");
    assert!(cosign(&fixture.path(""), &fixture.overseers[2]).is_err());
    fixture.edit("endpoints.toml", "A college", "A school");
    assert!(cosign(&fixture.path(""), &fixture.overseers[2]).is_ok());
}

#[test]
fn a_key_reads_back_as_written() {
    let key = SigningKey::generate("amina").unwrap();
    let again = SigningKey::parse(key.secret()).unwrap();
    assert_eq!(again.verifier_key(), key.verifier_key());
    assert!(SigningKey::generate("two words").is_err());
    assert!(SigningKey::parse("PRIVATE+KEY+x").is_err());
    assert!(matches!(Overseers::parse(""), Err(OverseersError::Syntax(_))));
}

/// Contracts of two agencies that say to be parts of one logical dataset.
fn with_parts(health: &str, education: &str) -> Fixture {
    let fixture = Fixture::unsealed();
    let patients = fs::read_to_string(fixture.path("contracts/health.patients.toml")).unwrap();
    let pupils = patients
        .replace("health.patients", "education.enrolments")
        .replace("\"health\"", "\"education\"")
        .replace("health.persons", "education.persons");
    fixture.write("contracts/health.patients.toml", &format!("part_of = {{ {health} }}\n{patients}"));
    fixture.write("contracts/education.enrolments.toml", &format!("part_of = {{ {education} }}\n{pupils}"));
    fixture.sign_contracts();
    fixture.seal(1, None, VALIDITY, &[0, 1]);
    fixture
}

#[test]
fn parts_of_a_logical_dataset_agree_or_the_bundle_is_refused_by_name() {
    let part = "dataset = \"all.persons\"";
    let bundle = with_parts(part, part).taken_up().unwrap();
    let logical = "all.persons".parse().unwrap();
    let parts: Vec<_> = bundle.parts_of(&logical).map(|contract| contract.id.as_str()).collect();
    assert_eq!(parts, ["education.enrolments", "health.patients"]);
    assert!(bundle.parts_of(&"health.patients".parse().unwrap()).next().is_none());

    let disjoint = "dataset = \"all.persons\", disjoint_registers = true";
    assert!(with_parts(disjoint, disjoint).taken_up().is_ok());
    for (fixture, what) in [
        (with_parts(part, disjoint), "disjoint"),
        (with_parts(part, "dataset = \"all.others\""), "two agencies or more"),
        (with_parts("dataset = \"health.visits\"", "dataset = \"health.visits\""), "name of its own"),
    ] {
        let error = fixture.taken_up().unwrap_err();
        assert!(matches!(error, BundleError::PartsDisagree { .. }), "{error}");
        assert!(error.to_string().contains(what), "{error}");
    }
    let fixture = with_parts(part, part);
    fixture.edit("contracts/education.enrolments.toml", "rows_per_person = 4", "rows_per_person = 5");
    fixture.sign_contracts();
    fixture.seal(1, None, VALIDITY, &[0, 1]);
    let error = fixture.taken_up().unwrap_err();
    assert!(error.to_string().contains("rows per person"), "{error}");
}
