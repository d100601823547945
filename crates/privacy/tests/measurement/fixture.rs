//! A small federation: one agency's contract, an agreement over it, a signed bundle, and an adapter's state.

use firebreak_domain::{
    Charge, Contract, Identity, ManualClock, Mechanism, Operation, OrgId, Recipient, RequestId, Rho, Timestamp,
};
use firebreak_policy::signing::{SigningKey, cosign, sign_contract, write_manifest};
use firebreak_policy::{
    Bundle, Candidate, DatasetAccess, OutputKind, Permit, Question, Suspensions, TrustRoot, Validity, ceilings,
};
use firebreak_privacy::{Price, price};
use firebreak_query::{CheckedQuery, Reads, check, parse_sql};
use firebreak_store::{AccountKind, AccountLimit, ReleaseKey, RequestKey, Reservation, Reserved, State, StateKey};
use std::fs;
use std::sync::Arc;
use tempfile::TempDir;

/// 2025-03-01T12:00:00Z.
const NOW: Timestamp = Timestamp::from_secs(1_740_830_400);
const DAY: i64 = 86_400;
const PRINCIPAL: &str = "spiffe://firebreak.example/org/nso/analyst/ada";

pub const RHO: Rho = Rho::from_nano(50_000_000);
pub const MECHANISM: Mechanism = Mechanism::DiscreteGaussian;

pub const CONTRACT: &str = r#"
format = 1
id = "health.visits"
title = "Visits"
description = "Visits to clinics"
controller = "Health"
agency = "health"
population = "patients"
unit_space = { id = "health.persons", register_size = 100000, rho_per_year = 1000000000, rho_for_life = 4000000000 }
contribution = { rows_per_person = 4 }
cuts = ["2024-Q4"]

[[column]]
name = "person"
label = "person"
definition = "the agency's own key"
role = "privacy_unit"
domain = { type = "text" }

[[column]]
name = "region"
label = "region"
definition = "region of the clinic"
role = "category"
domain = { type = "category", codes = [{ code = "n", label = "North" }, { code = "s", label = "South" }, { code = "w", label = "West" }] }

[[column]]
name = "kind"
label = "kind"
definition = "kind of visit"
role = "category"
domain = { type = "category", codes = [{ code = "planned", label = "Planned" }, { code = "emergency", label = "Emergency" }] }

[[column]]
name = "year"
label = "year"
definition = "year of birth"
role = "category"
domain = { type = "year", first = 1200, last = 1999 }

[[column]]
name = "cost"
label = "cost"
definition = "cost of the visit"
role = "measure"
domain = { type = "decimal", min = 0, max = 100, decimals = 2 }

[[column]]
name = "ward"
label = "ward"
definition = "the ward, as it was typed"
role = "category"
domain = { type = "open", length = 10 }
"#;

const ENDPOINTS: &str = r#"
format = 1
organisation = [
    { id = "health", title = "Health", class = "service" },
    { id = "nso", title = "Statistical office", class = "statistics" },
]
"#;

const ASSESSMENT: &str = r#"
format = 1
id = "visits"
purpose_and_context = "planning of clinics"
necessity_and_proportionality = "aggregates suffice"
categories_of_persons = "patients"
kinds_of_data = "visits"
foreseeable_risks = "inference about one person"
safeguards = "noise"
human_oversight = "overseers"
remedies = "ombudsman"
communities_consulted = "patients"
approved_by = "the board"
approved_on = "2024-01-01"
review_by = "2026-01-01"
measures = [{ what = "review", owner = "the board", due = "2026-01-01" }]
"#;

const AGREEMENT: &str = r#"
format = 1
id = "visits"
title = "Visits"
controller = "health"
parties = ["health", "nso"]
dataset = [{ id = "health.visits", columns = ["region", "kind", "year", "cost", "ward"] }]
operations = ["aggregate", "export"]
purposes = ["planning"]
legal_basis = "public_task"
recipients = ["nso"]
retention_days = 30
contest = "write to the ombudsman"
budget = { rho_per_query = 5000000, rho_per_query_max = 50000000, rho_total = 500000000, rho_per_analyst = 100000000 }
mechanism = "discrete_gaussian"
start = "2024-01-01"
end = "2026-01-01"
review = "2026-01-01"
assessment = "visits"
"#;

pub fn contract() -> Contract {
    toml::from_str(CONTRACT).unwrap()
}

pub fn ask(sql: &str) -> CheckedQuery {
    check(&parse_sql(sql).unwrap(), &contract()).unwrap()
}

pub fn price_of(query: &CheckedQuery) -> Price {
    price_under(MECHANISM, query)
}

pub fn price_under(mechanism: Mechanism, query: &CheckedQuery) -> Price {
    price(query, mechanism, rho_under(mechanism)).unwrap()
}

/// The loss asked under an agreement that names that mechanism: pure DP is for few questions.
pub fn rho_under(mechanism: Mechanism) -> Rho {
    match mechanism {
        Mechanism::DiscreteGaussian => RHO,
        Mechanism::DiscreteLaplace | Mechanism::MatchingDummies => Rho::from_nano(500_000_000),
    }
}

fn agreement_under(mechanism: Mechanism) -> String {
    let most = rho_under(mechanism).nano();
    AGREEMENT
        .replace(MECHANISM.as_str(), mechanism.as_str())
        .replace("rho_per_query_max = 50000000,", &format!("rho_per_query_max = {most},"))
        .replace("rho_per_analyst = 100000000", &format!("rho_per_analyst = {}", most.max(100_000_000)))
}

/// A bundle in force and an adapter's ledger, both made by their own crates.
pub struct Agency {
    _folder: TempDir,
    bundle: Bundle,
    pub state: State,
}

impl Agency {
    pub async fn new() -> Self {
        Self::under(MECHANISM).await
    }

    /// With an agreement that names that mechanism.
    pub async fn under(mechanism: Mechanism) -> Self {
        Self::of(CONTRACT, mechanism).await
    }

    /// With another contract of that dataset.
    pub async fn of(contract: &str, mechanism: Mechanism) -> Self {
        let agreement = agreement_under(mechanism);
        let folder = TempDir::new().unwrap();
        let bundle = folder.path().join("bundle");
        for sub in ["agreements", "assessments", "contracts", "policies"] {
            fs::create_dir_all(bundle.join(sub)).unwrap();
        }
        let overseers = ["amina", "bela", "chidi"].map(|name| SigningKey::generate(name).unwrap());
        let agency = SigningKey::generate("health").unwrap();
        let mut keys = String::from("format = 1\nthreshold = 2\n");
        for (name, key) in ["amina", "bela", "chidi"].iter().zip(&overseers) {
            let key = key.verifier_key();
            keys += &format!("[[overseer]]\nid = \"{name}\"\ntitle = \"{name}\"\nkey = \"{key}\"\n");
            let seal: String = name.bytes().take(1).map(|letter| format!("{letter:02x}").repeat(32)).collect();
            keys += &format!("seal_key = \"x25519:{seal}\"\n");
        }
        keys += &format!("[[agency]]\nid = \"health\"\nkey = \"{}\"\n", agency.verifier_key());
        for (file, text) in [
            ("endpoints.toml", ENDPOINTS),
            ("overseers.toml", &keys),
            ("assessments/visits.toml", ASSESSMENT),
            ("agreements/visits.toml", agreement.as_str()),
            ("contracts/visits.toml", contract),
            ("policies/all.cedar", "@id(\"agreements-permit\")\npermit (principal, action, resource);\n"),
        ] {
            fs::write(bundle.join(file), text).unwrap();
        }
        sign_contract(&bundle.join("contracts/visits.toml"), &agency).unwrap();
        let made = NOW.plus_secs(-100 * DAY);
        let validity = Validity { made, valid_from: made.plus_secs(31 * DAY), valid_until: NOW.plus_secs(200 * DAY) };
        write_manifest(&bundle, 1, None, validity).unwrap();
        for key in &overseers[..2] {
            cosign(&bundle, key).unwrap();
        }
        let root = TrustRoot::parse(&keys).unwrap();
        let bundle = Bundle::first(&Candidate::read(&bundle).unwrap(), &root, NOW).unwrap();
        let clock = Arc::new(ManualClock::at(NOW));
        let state = State::open(&folder.path().join("state"), StateKey::from_bytes([7; 32]), clock).await.unwrap();
        Self { _folder: folder, bundle, state }
    }

    /// Leave to answer that query.
    pub fn permit(&self, query: &CheckedQuery) -> Permit {
        self.permit_for(query, OutputKind::DpAggregate)
    }

    pub fn permit_for(&self, query: &CheckedQuery, output: OutputKind) -> Permit {
        let access = |reads: &Reads| DatasetAccess { dataset: reads.dataset.clone(), columns: reads.columns.clone() };
        let question = Question {
            principal: PRINCIPAL.parse::<Identity>().unwrap(),
            operation: Operation::Aggregate,
            agreement: "visits".parse().unwrap(),
            purpose: "planning".parse().unwrap(),
            recipients: vec![Recipient::Organisation(OrgId::new("nso").unwrap())],
            datasets: query.reads().iter().map(access).collect(),
            output,
            joined: false,
            signed: true,
        };
        match self.bundle.decide(&question, &Suspensions::none(), NOW) {
            Ok(permit) => permit,
            Err(denial) => panic!("denied: {}", denial.refusal),
        }
    }

    /// A reservation for request number `number`.
    pub async fn reserve(&self, number: u8, key: ReleaseKey, charge: Charge) -> Reservation {
        match self.ask_for(number, key, charge).await {
            Reserved::Fresh(reservation) | Reserved::Resumed(reservation) => reservation,
            Reserved::Stored(_) | Reserved::Repeat(_) => panic!("nothing is stored yet"),
        }
    }

    pub async fn ask_for(&self, number: u8, key: ReleaseKey, charge: Charge) -> Reserved {
        let request = RequestKey {
            principal: PRINCIPAL.to_owned(),
            request_id: RequestId::from_bytes([number; 16]),
            digest: [number; 32],
        };
        self.state.reserve(&request, &key, charge, &[limit()]).await.unwrap()
    }

    /// The loss that the register's account holds.
    pub fn spent(&self) -> Charge {
        self.state.balance(&[limit().account])[0]
    }
}

fn limit() -> AccountLimit {
    let space = contract().unit_space;
    let limit = Charge { delta: ceilings::DELTA_FOR_LIFE, ..Charge::of_rho(space.rho_for_life) };
    AccountLimit { account: AccountKind::UnitSpaceLife(space.id), limit }
}
