//! The sample federation's facts parse, are sound each by itself and fit together, and fit the population's files.
#![expect(clippy::unwrap_used, clippy::panic, reason = "what fails here fails a test")]

use arrow::datatypes::{DataType, FieldRef};
use firebreak_domain::{
    Agreement, Assessment, Binding, ClassFinding, ColumnRole, Contract, Domain, Endpoint, EndpointId, FileType,
    JoinSide, Operation, OrgId, Recipient, RecipientClass, Registry, SpecialKind, Timestamp,
};
use firebreak_population::Population;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, read_dir, read_to_string};
use std::path::{Path, PathBuf};

/// The agreements that the bundle ships to be refused for what they say themselves.
const UNSOUND: [&str; 4] = ["health-statistics-2023", "health-waiting-times", "health-pilot", "health-costs"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn parse<T: DeserializeOwned>(path: &Path) -> T {
    toml::from_str(&read_to_string(path).unwrap()).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Every TOML file of a folder by its stem, which is the id of what it holds.
fn all<T: DeserializeOwned>(folder: &str) -> BTreeMap<String, T> {
    let files = read_dir(root().join("deploy/sample").join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|e| e == "toml"));
    files.map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), parse(&path))).collect()
}

fn registry() -> Registry {
    parse(&root().join("deploy/sample/bundle/endpoints.toml"))
}

fn class(org: &str) -> ClassFinding {
    registry().class_of(&OrgId::new(org).unwrap())
}

/// Noon of a day well inside every sound agreement.
fn now() -> Timestamp {
    Timestamp::from_secs(1_780_000_000)
}

#[test]
fn every_contract_is_sound_and_shares_its_register_word_for_word() {
    let contracts = all::<Contract>("bundle/contracts");
    assert_eq!(contracts.len(), 7);
    let mut spaces = BTreeMap::new();
    for (name, contract) in &contracts {
        assert_eq!(contract.id.as_str(), name);
        contract.check().unwrap_or_else(|e| panic!("{name}: {e}"));
        let space = &contract.unit_space;
        assert_eq!(*spaces.entry(space.id.clone()).or_insert((space, &contract.agency)), (space, &contract.agency));
        // What two agencies hold together is added up, and matched with nothing.
        let key =
            contract.columns.iter().any(|c| c.role == ColumnRole::MatchKey && c.name.as_str() == "national_number");
        assert_eq!(key, contract.part_of.is_none(), "{name}");
    }
    // Those that know persons by name hold all that the rule for names takes.
    for dataset in ["health.visits", "education.enrolments", "immigration.permits"] {
        for name in ["family_name", "given_name", "birth_date"] {
            let column = contracts[dataset].column(name).unwrap();
            assert_eq!((column.role, &column.domain), (ColumnRole::MatchKey, &Domain::Text), "{dataset}: {name}");
        }
    }
    assert!(contracts["health.interpreting"].reads_like(&contracts["education.interpreting"]));
    for dataset in ["health.visits", "immigration.permits"] {
        let column = contracts[dataset].column("fingerprint").unwrap();
        assert_eq!((column.role, column.special), (ColumnRole::Withheld, Some(SpecialKind::Biometric)));
    }
}

#[test]
fn the_registry_is_sound_and_each_class_is_what_the_samples_rest_on() {
    registry().check().unwrap();
    for (org, expected) in [
        ("health-agency", RecipientClass::Service),
        ("education-agency", RecipientClass::Service),
        ("ngo-clinic", RecipientClass::Service),
        ("nso", RecipientClass::Statistics),
        ("oversight-council", RecipientClass::Oversight),
        ("dpa", RecipientClass::Oversight),
    ] {
        assert_eq!((class(org).class, class(org).registered), (expected, true), "{org}");
    }
    for org in ["immigration-agency", "removal-office", "it-contractor", "cloud-host", "school-portal", "relief-fund"] {
        assert_eq!(class(org).class, RecipientClass::Enforcement, "{org}");
    }
    assert!(!class("relief-fund").registered);
    let path: Vec<_> = class("school-portal").path.into_iter().map(String::from).collect();
    assert_eq!(path, ["school-portal", "it-contractor", "cloud-host", "removal-office"]);
    assert!(
        registry()
            .organisation(&OrgId::new("cloud-host").unwrap())
            .unwrap()
            .passes_to
            .iter()
            .any(|o| o.as_str() == "immigration-agency")
    );
}

#[test]
fn every_endpoint_belongs_to_a_registered_organisation() {
    let registry = registry();
    let known = |e: &Endpoint| registry.organisation(&e.organisation).is_some();
    assert!(registry.endpoints.iter().all(known));
    let portal = Recipient::Endpoint(EndpointId::new("school-portal-api").unwrap());
    assert_eq!(registry.class_of_recipient(&portal).class, RecipientClass::Enforcement);
    let desk = Recipient::Endpoint(EndpointId::new("school-census-desk").unwrap());
    assert_eq!(registry.class_of_recipient(&desk).class, RecipientClass::Service);
}

#[test]
fn every_assessment_but_the_draft_is_complete_and_in_force() {
    for (name, assessment) in all::<Assessment>("bundle/assessments") {
        assert_eq!(assessment.id.as_str(), name);
        assessment.check_format().unwrap();
        assert_eq!(assessment.in_force(now()), name != "health-pilot", "{name} lacks {:?}", assessment.missing());
    }
}

#[test]
fn every_agreement_names_what_exists_and_the_sound_ones_count() {
    let contracts = all::<Contract>("bundle/contracts");
    let assessments = all::<Assessment>("bundle/assessments");
    let agreements = all::<Agreement>("bundle/agreements");
    assert_eq!(agreements.len(), 20);
    for (name, agreement) in &agreements {
        assert_eq!(agreement.id.as_str(), name);
        agreement.check_format().unwrap();
        for dataset in &agreement.datasets {
            let contract = &contracts[dataset.id.as_str()];
            assert!(agreement.parties.contains(&contract.agency), "{name}: {} is no party", contract.agency);
            let missing = dataset.columns.iter().find(|c| contract.column(c.as_str()).is_none());
            assert_eq!(missing, None, "{name}: {}", dataset.id);
        }
        assert!(agreement.recipients.iter().all(|r| agreement.parties.contains(r) || r.as_str() == "school-portal"));
        assert_eq!(agreement.operations.contains(&Operation::Match), agreement.matching.is_some());
        let payload = agreement.matching.as_ref().and_then(|terms| terms.payload.as_ref());
        assert_eq!(agreement.operations.contains(&Operation::Disclose), payload.is_some(), "{name}");
        assert_eq!(payload.is_some(), name == "vaccination-letters");
        assert!(!agreement.contest.trim().is_empty() && !agreement.controller.trim().is_empty());
        let budget = &agreement.budget;
        assert!(budget.rho_per_query <= budget.rho_per_query_max && budget.rho_per_analyst <= budget.rho_total);
        let assessed = agreement.assessment.as_ref().is_some_and(|id| assessments[id.as_str()].in_force(now()));
        let health = agreement.datasets.iter().any(|d| d.id.as_str().starts_with("health."));
        let asks = agreement.operations.contains(&Operation::Aggregate);
        let grounded = !(health && asks) || agreement.has_ground_for(SpecialKind::Health);
        let sound = agreement.runs(now()) && assessed && grounded;
        assert_eq!(sound, !UNSOUND.contains(&name.as_str()), "{name}");
    }
    assert!(!agreements["health-statistics-2023"].runs(now()));
    assert!(agreements["health-waiting-times"].assessment.is_none());
    assert!(!agreements["health-costs"].has_ground_for(SpecialKind::Health));
    let unsigned: Vec<_> = agreements.iter().filter(|(_, a)| a.gateway_asserted).map(|(name, _)| name).collect();
    let expected = [
        "education-statistics-unsigned",
        "education-yearbook",
        "health-statistics-unsigned",
        "interpreting-statistics-unsigned",
        "residence-statistics-unsigned",
    ];
    assert_eq!(unsigned, expected);
}

#[test]
fn each_side_of_a_join_holds_the_dataset_and_the_field_that_it_names() {
    let contracts = all::<Contract>("bundle/contracts");
    let joins: Vec<_> = all::<Agreement>("bundle/agreements").into_values().filter(|a| a.join.is_some()).collect();
    assert_eq!(joins.iter().map(|a| a.id.as_str()).collect::<Vec<_>>(), ["school-vaccinations"]);
    for agreement in &joins {
        let terms = agreement.join.as_ref().unwrap();
        assert_eq!(terms.problem(), None);
        let agencies = JoinSide::BOTH.map(|side| {
            let contract = &contracts[terms.dataset(side).as_str()];
            assert_eq!(contract.column(terms.field.as_str()).unwrap().role, ColumnRole::MatchKey);
            assert!(agreement.columns_of(&contract.id).unwrap().contains(&terms.field));
            assert_ne!(registry().class_of(&contract.agency).class, RecipientClass::Enforcement);
            &contract.agency
        });
        assert_ne!(agencies[0], agencies[1]);
        assert!(terms.charge().rho <= agreement.budget.rho_per_query_max);
    }
}

#[test]
fn each_side_of_a_match_holds_the_dataset_and_the_field_that_it_names() {
    let contracts = all::<Contract>("bundle/contracts");
    for (name, agreement) in all::<Agreement>("bundle/agreements") {
        let Some(terms) = &agreement.matching else { continue };
        assert!(agreement.recipients.contains(&terms.receiver), "{name}");
        for (agency, dataset) in [(&terms.receiver, &terms.receiver_dataset), (&terms.sender, &terms.sender_dataset)] {
            let contract = &contracts[dataset.as_str()];
            assert_eq!(contract.agency, *agency, "{name}");
            for column in terms.columns() {
                assert_eq!(contract.column(column.as_str()).unwrap().role, ColumnRole::MatchKey, "{name}");
                assert!(agreement.columns_of(dataset).unwrap().contains(column), "{name}");
            }
        }
        let receiver_is_enforcement = registry().class_of(&terms.receiver).class == RecipientClass::Enforcement;
        assert_eq!(receiver_is_enforcement, name == "residence-check");
        let told = &contracts[terms.sender_dataset.as_str()].columns;
        assert!(
            told.iter().filter_map(|c| c.special).all(SpecialKind::is_forbidden),
            "{name} would tell a special kind"
        );
    }
}

/// What a Parquet file holds, as a binding judges it.
fn schema(path: &Path) -> Vec<(String, FileType)> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let kind = |field: &FieldRef| match field.data_type() {
        DataType::Utf8 => FileType::Text,
        DataType::Int32 => FileType::Integer,
        DataType::Decimal128(..) => FileType::Decimal,
        DataType::Date32 => FileType::Date,
        DataType::Binary => FileType::Binary,
        _ => FileType::Other,
    };
    reader.schema().fields().iter().map(|field| (field.name().clone(), kind(field))).collect()
}

#[test]
fn every_binding_fits_its_contract_and_the_files_that_the_population_writes() {
    let folder = tempfile::tempdir().unwrap();
    Population::new(300, 1).unwrap().write(folder.path()).unwrap();
    let contracts = all::<Contract>("bundle/contracts");
    let bindings = all::<Binding>("bindings");
    assert_eq!(bindings.keys().collect::<Vec<_>>(), contracts.keys().collect::<Vec<_>>());
    for (name, binding) in bindings {
        let contract = &contracts[&name];
        assert_eq!(binding.misfits(contract), [], "{name}");
        let agency = folder.path().join(name.split('.').next().unwrap());
        for cut in &binding.cuts {
            let file = schema(&agency.join(&cut.file));
            assert_eq!(binding.misfits_of_file(contract, &file), [], "{name}");
            // The rule above lets identifiers and withheld columns be absent: here they are there to be withheld.
            let held: BTreeSet<_> = file.iter().map(|(column, _)| column.as_str()).collect();
            let columns = contract.columns.iter().filter(|c| c.domain != Domain::LeftOut);
            let bound: BTreeSet<_> = columns.map(|c| binding.file_column(&c.name)).collect();
            assert_eq!(held, bound, "{name}");
        }
    }
}

#[test]
fn the_school_census_is_bound_by_other_names_and_codes() {
    let binding = &all::<Binding>("bindings")["education.enrolments"];
    assert_eq!((binding.columns.len(), binding.recodes.len()), (11, 2));
}

#[test]
fn the_public_microdata_are_bound_to_a_sound_contract() {
    let folder = root().join("tests/fixtures/public-microdata");
    let contract: Contract = parse(&folder.join("contract.toml"));
    contract.check().unwrap();
    let binding: Binding = parse(&folder.join("binding.toml"));
    assert_eq!(binding.misfits(&contract), []);
}
