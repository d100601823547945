//! A small federation for this crate's tests: a bundle folder that they edit, sign and offer.

use crate::signing::{SigningKey, cosign, sign_contract, write_manifest};
use crate::{
    Bundle, BundleError, Candidate, DatasetAccess, Manifest, OutputKind, Question, TrustRoot, Validity, Watermark,
};
use firebreak_domain::{ColumnName, DatasetId, Identity, Operation, OrgId, Recipient, Timestamp};
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

/// 2025-03-01T12:00:00Z.
pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_740_830_400);
/// A hundred days before [`NOW`].
pub(crate) const MADE: Timestamp = NOW.plus_secs(-100 * 86_400);
pub(crate) const DAY: i64 = 86_400;

pub(crate) struct Fixture {
    dir: TempDir,
    pub(crate) overseers: Vec<SigningKey>,
    pub(crate) agencies: Vec<(&'static str, SigningKey)>,
}

pub(crate) const VALIDITY: Validity =
    Validity { made: MADE, valid_from: MADE.plus_secs(31 * DAY), valid_until: NOW.plus_secs(200 * DAY) };

impl Fixture {
    /// The folder with its contracts signed and no manifest.
    pub(crate) fn unsealed() -> Self {
        let overseers = ["amina", "bela", "chidi"].map(|n| SigningKey::generate(n).unwrap()).into();
        let agencies = ["health", "education", "immigration"].map(|n| (n, SigningKey::generate(n).unwrap())).into();
        let this = Self { dir: TempDir::new().unwrap(), overseers, agencies };
        for folder in ["agreements", "assessments", "contracts", "policies"] {
            fs::create_dir(this.path(folder)).unwrap();
        }
        this.write("endpoints.toml", ENDPOINTS);
        this.write("overseers.toml", &this.overseers_toml(&this.overseers));
        this.write("assessments/visits.toml", ASSESSMENT);
        this.write("policies/all.cedar", "@id(\"agreements-permit\")\npermit (principal, action, resource);\n");
        for (id, agency, columns) in CONTRACTS {
            this.write(&format!("contracts/{id}.toml"), &contract(id, agency, columns));
        }
        for (id, body) in AGREEMENTS {
            this.write(&format!("agreements/{id}.toml"), &agreement(id, body));
        }
        this.sign_contracts();
        this
    }

    /// The first bundle, signed by two of three.
    pub(crate) fn new() -> Self {
        let this = Self::unsealed();
        this.seal(1, None, VALIDITY, &[0, 1]);
        this
    }

    /// [`Fixture::unsealed`] with agreements that join.
    pub(crate) fn unsealed_with_joins() -> Self {
        let this = Self::unsealed();
        for (id, body) in JOINS {
            this.write(&format!("agreements/{id}.toml"), &agreement(id, body));
        }
        this
    }

    /// [`Fixture::new`] with agreements that join.
    pub(crate) fn with_joins() -> Self {
        let this = Self::unsealed_with_joins();
        this.seal(1, None, VALIDITY, &[0, 1]);
        this
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    pub(crate) fn write(&self, file: &str, text: &str) {
        fs::write(self.path(file), text).unwrap();
    }

    pub(crate) fn edit(&self, file: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.path(file)).unwrap();
        assert!(text.contains(from), "{file} has no {from}");
        self.write(file, &text.replace(from, to));
    }

    pub(crate) fn overseers_toml(&self, overseers: &[SigningKey]) -> String {
        let mut text = String::from("format = 1\nthreshold = 2\n");
        for key in overseers {
            let key = key.verifier_key();
            let id = key.split('+').next().unwrap();
            text += &format!("[[overseer]]\nid = \"{id}\"\ntitle = \"Overseer {id}\"\nkey = \"{key}\"\n");
            // Its name's first letter, 32 times.
            let seal = hex::encode([id.as_bytes()[0]; 32]);
            text += &format!("seal_key = \"x25519:{seal}\"\n");
        }
        for (id, key) in &self.agencies {
            text += &format!("[[agency]]\nid = \"{id}\"\nkey = \"{}\"\n", key.verifier_key());
        }
        text
    }

    pub(crate) fn sign_contracts(&self) {
        for (id, agency, _) in CONTRACTS {
            sign_contract(&self.path(&format!("contracts/{id}.toml")), self.agency(agency)).unwrap();
        }
    }

    pub(crate) fn agency(&self, id: &str) -> &SigningKey {
        &self.agencies.iter().find(|(a, _)| *a == id).unwrap().1
    }

    pub(crate) fn manifest(&self, sequence: u64, previous: Option<[u8; 32]>, validity: Validity) -> Manifest {
        Manifest::parse(&write_manifest(self.dir.path(), sequence, previous, validity).unwrap()).unwrap()
    }

    pub(crate) fn cosign(&self, key: &SigningKey) {
        cosign(self.dir.path(), key).unwrap();
    }

    pub(crate) fn seal(&self, sequence: u64, previous: Option<[u8; 32]>, validity: Validity, by: &[usize]) {
        self.manifest(sequence, previous, validity);
        by.iter().for_each(|n| self.cosign(&self.overseers[*n]));
    }

    pub(crate) fn offered(&self) -> Result<Candidate, BundleError> {
        Candidate::read(self.dir.path())
    }

    pub(crate) fn root(&self) -> TrustRoot {
        TrustRoot::parse(&self.overseers_toml(&self.overseers)).unwrap()
    }

    pub(crate) fn taken_up(&self) -> Result<Bundle, BundleError> {
        Bundle::first(&self.offered()?, &self.root(), NOW)
    }

    /// What a program that accepted that bundle last makes of the folder at its start.
    pub(crate) fn resumed(&self, accepted: Watermark) -> Result<Bundle, BundleError> {
        Bundle::resume(&self.offered()?, accepted)
    }

    /// Seals what stands in the folder as the successor of `bundle` and offers it.
    pub(crate) fn succeeds(&self, bundle: &Bundle, validity: Validity, by: &[usize]) -> Result<Bundle, BundleError> {
        self.seal(bundle.sequence() + 1, Some(bundle.manifest().digest()), validity, by);
        bundle.succeed(&self.offered()?, NOW)
    }

    pub(crate) fn bundle(&self) -> Bundle {
        self.taken_up().unwrap()
    }
}

/// What the statistical office asks of health; tests change one thing about it.
pub(crate) fn question() -> Question {
    Question {
        principal: "spiffe://firebreak.example/org/nso/analyst/ada".parse::<Identity>().unwrap(),
        operation: Operation::Aggregate,
        agreement: "visits".parse().unwrap(),
        purpose: "planning".parse().unwrap(),
        recipients: vec![Recipient::Organisation(OrgId::new("nso").unwrap())],
        datasets: vec![access("health.visits", &["region", "kind"])],
        output: OutputKind::DpAggregate,
        joined: false,
        signed: true,
    }
}

/// What health asks to learn of education.
pub(crate) fn match_question() -> Question {
    Question {
        principal: "spiffe://firebreak.example/org/health/adapter/main".parse().unwrap(),
        operation: Operation::Match,
        agreement: "school-match".parse().unwrap(),
        purpose: "planning".parse().unwrap(),
        recipients: vec![],
        datasets: vec![],
        output: OutputKind::Match,
        joined: false,
        signed: true,
    }
}

/// What the statistical office asks of the persons whom education and health both have.
pub(crate) fn join_question() -> Question {
    Question {
        agreement: "school-join".parse().unwrap(),
        datasets: vec![access("education.enrolments", &["level"]), access("health.visits", &["region"])],
        joined: true,
        ..question()
    }
}

pub(crate) fn access(dataset: &str, columns: &[&str]) -> DatasetAccess {
    let columns = columns.iter().map(|c| ColumnName::new(*c).unwrap()).collect();
    DatasetAccess { dataset: DatasetId::new(dataset).unwrap(), columns }
}

const ENDPOINTS: &str = r#"
format = 1
organisation = [
    { id = "health", title = "Health", class = "service" },
    { id = "education", title = "Education", class = "service" },
    { id = "immigration", title = "Immigration", class = "enforcement" },
    { id = "nso", title = "Statistical office", class = "statistics" },
    { id = "firm", title = "A contractor", class = "service", passes_to = ["cloud"] },
    { id = "cloud", title = "Its contractor", class = "service", passes_to = ["immigration"] },
    { id = "school", title = "A school", class = "service" },
]
endpoint = [
    { id = "nso-desk", organisation = "nso", class = "statistics" },
    { id = "firm-desk", organisation = "firm", class = "service" },
    { id = "border-desk", organisation = "immigration", class = "enforcement" },
    { id = "school-desk", organisation = "school", class = "service" },
]
"#;

const ASSESSMENT: &str = r#"
format = 1
id = "visits"
purpose_and_context = "planning"
necessity_and_proportionality = "less would not do"
categories_of_persons = "patients"
kinds_of_data = "visits"
foreseeable_risks = "inference"
safeguards = "noise"
human_oversight = "overseers"
remedies = "contest"
communities_consulted = "patients"
approved_by = "the board"
approved_on = "2024-01-01"
review_by = "2026-01-01"
measures = [{ what = "review", owner = "the board", due = "2026-01-01" }]
"#;

/// What persons are matched by.
const NUMBER: &str = "match_key text";

/// Names and shapes.
type Columns = &'static [(&'static str, &'static str)];

/// Dataset, agency, and its columns with their shapes `role domain` or `role domain kind`.
const CONTRACTS: [(&str, &str, Columns); 4] = [
    (
        "health.visits",
        "health",
        &[
            ("number", NUMBER),
            ("name", "identifier text"),
            ("region", "category code"),
            ("kind", "category code health"),
            ("cost", "measure integer"),
        ],
    ),
    (
        "health.patients",
        "health",
        &[("number", NUMBER), ("family", NUMBER), ("given", NUMBER), ("born", NUMBER), ("region", "category code")],
    ),
    (
        "education.enrolments",
        "education",
        &[
            ("number", NUMBER),
            ("family", NUMBER),
            ("given", NUMBER),
            ("born", NUMBER),
            ("level", "category code"),
            ("since", "filter date"),
        ],
    ),
    (
        "immigration.permits",
        "immigration",
        &[("number", NUMBER), ("status", "category code"), ("fingerprint", "withheld text biometric")],
    ),
];

fn contract(id: &str, agency: &str, columns: &[(&str, &str)]) -> String {
    let mut text = format!(
        r#"
format = 1
id = "{id}"
title = "{id}"
description = "{id}"
controller = "{agency}"
agency = "{agency}"
population = "persons"
unit_space = {{ id = "{agency}.persons", register_size = 100000, rho_per_year = 1000000000, rho_for_life = 4000000000 }}
contribution = {{ rows_per_person = 4 }}
cuts = ["2024-Q4"]
[[column]]
name = "person"
label = "person"
definition = "the agency's own key"
role = "privacy_unit"
domain = {{ type = "text" }}
"#
    );
    for (name, shape) in columns {
        let mut parts = shape.split(' ');
        let role = parts.next().unwrap();
        let domain = match parts.next().unwrap() {
            "code" => r#"{ type = "category", codes = [{ code = "a", label = "A" }, { code = "b", label = "B" }] }"#,
            "integer" => r#"{ type = "integer", min = 0, max = 100 }"#,
            "date" => r#"{ type = "date", first = "2020-01-01", last = "2024-12-31" }"#,
            _ => r#"{ type = "text" }"#,
        };
        let special = parts.next().map_or(String::new(), |kind| format!("special = \"{kind}\"\n"));
        text += &format!(
            "[[column]]\nname = \"{name}\"\nlabel = \"l\"\ndefinition = \"d\"\nrole = \"{role}\"\ndomain = {domain}\n{special}"
        );
    }
    text
}

const VISITS: &str = r#"dataset = [{ id = "health.visits", columns = ["region", "kind", "cost"] }]"#;
const GROUND: &str = r#"special_ground = [{ kind = "health", ground = "Public Health Act, section 4" }]"#;
const STATS: &str = r#"parties = ["health", "nso"]
recipients = ["nso"]
operations = ["aggregate", "export"]"#;
const ALL: &str = r#"parties = ["health", "immigration", "nso", "firm", "stranger"]
recipients = ["nso", "immigration", "firm", "stranger"]
operations = ["aggregate", "export"]"#;
const RUNS: &str = "assessment = \"visits\"\nend = \"2026-01-01\"";

const AGREEMENTS: [(&str, &[&str]); 9] = [
    ("visits", &[STATS, VISITS, GROUND, RUNS]),
    ("open-to-all", &[ALL, VISITS, GROUND, RUNS]),
    ("no-ground", &[STATS, VISITS, RUNS]),
    ("ended", &[STATS, VISITS, GROUND, "assessment = \"visits\"\nend = \"2025-02-28\""]),
    ("unassessed", &[STATS, VISITS, GROUND, "end = \"2026-01-01\""]),
    ("unsigned", &[STATS, VISITS, GROUND, RUNS, "gateway_asserted = true"]),
    (
        "permits",
        &[STATS, r#"dataset = [{ id = "immigration.permits", columns = ["status", "fingerprint", "number"] }]"#, RUNS],
    ),
    (
        "school-match",
        &[
            r#"parties = ["health", "education"]
recipients = ["health", "education", "firm", "school"]
operations = ["match"]
dataset = [{ id = "health.patients", columns = ["number", "family", "given", "born"] }, { id = "education.enrolments", columns = ["number", "family", "given", "born"] }]
match = { receiver = "health", sender = "education", receiver_dataset = "health.patients", sender_dataset = "education.enrolments", key = [{ name = "number", columns = ["number"], normaliser = 1 }] }"#,
            RUNS,
        ],
    ),
    (
        "permit-match",
        &[
            r#"parties = ["immigration", "education"]
recipients = ["immigration"]
operations = ["match"]
dataset = [{ id = "immigration.permits", columns = ["number"] }, { id = "education.enrolments", columns = ["number"] }]
match = { receiver = "immigration", sender = "education", receiver_dataset = "immigration.permits", sender_dataset = "education.enrolments", key = [{ name = "number", columns = ["number"], normaliser = 1 }] }"#,
            RUNS,
        ],
    ),
];

/// Agreements with the terms of a join, which a bundle has where a test asks for them.
const JOINS: [(&str, &[&str]); 2] = [
    (
        "school-join",
        &[
            r#"parties = ["health", "education", "nso"]
recipients = ["nso", "firm"]
operations = ["aggregate", "export", "publish"]
dataset = [{ id = "education.enrolments", columns = ["number", "level"] }, { id = "health.visits", columns = ["number", "region", "kind"] }, { id = "health.patients", columns = ["number", "region"] }]
join = { left = "education.enrolments", right = "health.visits", field = "number", normaliser = 1, epsilon = 300000000, semi_honest_join = true }"#,
            GROUND,
            RUNS,
        ],
    ),
    (
        "permit-join",
        &[
            r#"parties = ["immigration", "education", "nso"]
recipients = ["nso"]
operations = ["aggregate"]
dataset = [{ id = "immigration.permits", columns = ["number", "status"] }, { id = "education.enrolments", columns = ["number", "level"] }]
join = { left = "education.enrolments", right = "immigration.permits", field = "number", normaliser = 1, epsilon = 300000000, semi_honest_join = true }"#,
            RUNS,
        ],
    ),
];

fn agreement(id: &str, body: &[&str]) -> String {
    let body = body.join("\n");
    format!(
        r#"
format = 1
id = "{id}"
title = "{id}"
controller = "health"
purposes = ["planning", "research"]
legal_basis = "public_task"
retention_days = 30
contest = "write to the ombudsman"
budget = {{ rho_per_query = 5000000, rho_per_query_max = 50000000, rho_total = 500000000, rho_per_analyst = 100000000 }}
mechanism = "discrete_gaussian"
start = "2024-01-01"
review = "2026-01-01"
{body}
"#
    )
}
