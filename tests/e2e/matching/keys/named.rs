//! Two registers with names and birth dates, and an agreement that matches by number and then by names.

use crate::matching::begun::DAY;
use crate::matching::side::{RECEIVER, opening, submitted_by};
use crate::matching::sides::Sides;
use agency_adapter::app::{Asked, MatchError, MatchReport, Prepared, SenderSession};
use anyhow::{Context, Result};
use firebreak_domain::{Agreement, Clock, ColumnName, MatchKey, RequestId, SystemClock};
use firebreak_node::SubmittedMatch;
use firebreak_policy::Validity;
use firebreak_population::{Population, Register};
use firebreak_testbed::Federation;
use firebreak_tests::{Own, rewrite_contract, with_columns};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

/// The agreement, and its purpose.
pub const ROUND: &str = "vaccination-round";
/// Columns of the test's own: no sample has them.
const COLUMNS: [&str; 3] = ["last_name", "first_name", "born"];
/// Both cuts of a dataset.
const CUTS: [&str; 2] = ["", "2024-Q3"];

/// The family name of a person, in letters that no rule folds. Every tenth person has that of the one before.
fn family(person: u32) -> String {
    const LETTERS: [&str; 10] = ["ba", "bo", "da", "do", "fa", "fo", "la", "lo", "ma", "mo"];
    let named = if person % 10 == 1 { person - 1 } else { person };
    named.to_string().bytes().filter_map(|digit| LETTERS.get(usize::from(digit - b'0'))).copied().collect()
}

/// Whether the receiver's register holds the person's number.
const fn has_number(person: u32) -> bool {
    !person.is_multiple_of(4)
}

/// Whether it holds the person's name.
const fn has_name(person: u32) -> bool {
    !person.is_multiple_of(13)
}

/// What the two matches should give.
pub struct Expected {
    /// Whom the number matches.
    pub by_number: BTreeSet<String>,
    /// Whom the names match of those who are left.
    pub by_names: BTreeSet<String>,
    /// Persons with names of their own, whoever was matched.
    pub named: u64,
    /// Of these, persons left.
    pub offered: u64,
    /// Persons left without, or with names that somebody else has as well.
    pub unusable: u64,
}

/// The truth of both.
pub fn expected(population: &Population) -> Expected {
    let pupils: Vec<_> = population.truth().filter(|row| row.register == Register::Education).collect();
    let numbers: HashSet<_> = pupils.iter().filter_map(|row| row.national_number).collect();
    let names: HashSet<_> = pupils.iter().map(|row| family(row.person)).collect();
    let patients: Vec<_> = population.truth().filter(|row| row.register == Register::Health).collect();
    let mut holders: HashMap<String, u32> = HashMap::new();
    for patient in patients.iter().filter(|row| has_name(row.person)) {
        *holders.entry(family(patient.person)).or_default() += 1;
    }
    let mut expected =
        Expected { by_number: BTreeSet::new(), by_names: BTreeSet::new(), named: 0, offered: 0, unusable: 0 };
    for patient in patients {
        let number = patient.national_number.filter(|_| has_number(patient.person));
        let name = family(patient.person);
        let own = has_name(patient.person) && holders.get(&name) == Some(&1);
        expected.named += u64::from(own);
        if number.is_some_and(|number| numbers.contains(&number)) {
            expected.by_number.insert(patient.person_key);
        } else if !own {
            expected.unusable += 1;
        } else {
            expected.offered += 1;
            if names.contains(&name) {
                expected.by_names.insert(patient.person_key);
            }
        }
    }
    expected
}

/// Gives both registers names, each written in its own way, and takes numbers from the receiver's.
fn write_registers(federation: &Federation) -> Result<()> {
    let persons: HashMap<(Register, String), u32> =
        federation.population().truth().map(|row| ((row.register, row.person_key), row.person)).collect();
    let person = |register, key: &str| persons.get(&(register, key.to_owned())).copied();
    let folder = federation.layout().population();
    for cut in CUTS {
        let of = |key: &str| person(Register::Health, key);
        with_columns(
            &folder.join("health").join(cut).join("visits.parquet"),
            "person_key",
            &[
                ("national_number", &|key, number| {
                    number.filter(|_| of(key).is_some_and(has_number)).map(str::to_owned)
                }),
                ("last_name", &|key, _| of(key).filter(|person| has_name(*person)).map(family)),
                ("first_name", &|_, _| Some("Anna-Maria".to_owned())),
                ("born", &|_, _| Some("1990-02-03".to_owned())),
            ],
        )?;
        let of = |key: &str| person(Register::Education, key);
        with_columns(
            &folder.join("education").join(cut).join("enrolments.parquet"),
            "pupil_no",
            &[
                ("last_name", &|key, _| of(key).map(|person| family(person).to_uppercase())),
                ("first_name", &|_, _| Some("Anna Maria".to_owned())),
                ("born", &|_, _| Some("03.02.1990".to_owned())),
            ],
        )?;
    }
    Ok(())
}

/// Writes contracts and agreement for it.
fn write_bundle(federation: &Federation) -> Result<()> {
    for dataset in ["health.visits", "education.enrolments"] {
        rewrite_contract(federation, dataset, |text| {
            let column = |name: &str| {
                format!(
                    "\n[[column]]\nname = \"{name}\"\nlabel = \"l\"\ndefinition = \"d\"\nrole = \"match_key\"\n\
                     domain = {{ type = \"text\" }}\n"
                )
            };
            Ok(text.to_owned() + &COLUMNS.map(column).concat())
        })?;
    }
    let file = federation.layout().bundle().join(format!("agreements/{ROUND}.toml"));
    fs::write(&file, with_names(&file)?)?;
    let now = SystemClock.now();
    let made = now.plus_secs(-60 * DAY);
    federation.sign_bundle(1, None, Validity { made, valid_from: made, valid_until: now.plus_secs(DAY) })
}

/// The agreement with a second key, by which both sides write names.
fn with_names(file: &Path) -> Result<String> {
    let mut agreement: Agreement = toml::from_str(&fs::read_to_string(file)?)?;
    let columns = COLUMNS.map(ColumnName::new).into_iter().collect::<Result<Vec<_>, _>>()?;
    let terms = agreement.matching.as_mut().context("the sample permits no match")?;
    terms.keys.truncate(1);
    let number = terms.keys.first().context("the sample has no key")?.clone();
    terms.keys.push(MatchKey { name: "names".parse()?, columns: columns.clone(), normaliser: 2, ..number });
    for dataset in &mut agreement.datasets {
        dataset.columns.extend(columns.iter().cloned());
    }
    Ok(toml::to_string(&agreement)?)
}

/// Folders of a federation that holds names.
pub fn prepare() -> Result<(Federation, TempDir)> {
    let (federation, folder) = Own::prepare(600)?;
    write_registers(&federation)?;
    write_bundle(&federation)?;
    Ok((federation, folder))
}

/// Both sides, and their requests.
pub struct Named {
    pub sides: Sides,
}

/// A match that is done.
pub struct Done {
    pub report: MatchReport,
    /// Whom it matched.
    pub matched: BTreeSet<String>,
    /// All that the sender was told of the size of the receiver's set.
    pub elements: u32,
}

impl Named {
    pub async fn open() -> Result<Self> {
        let (federation, folder) = prepare()?;
        Ok(Self { sides: Sides::open(federation, folder, Arc::new(SystemClock)).await? })
    }

    fn submitted(&self, id: u8) -> Result<SubmittedMatch> {
        submitted_by(&self.sides.federation.issue(RECEIVER, "adapter", "main")?, id, SystemClock.now())
    }

    /// The receiver's own preparation of a request.
    pub async fn prepare(&self, id: u8, asked: Asked<'_>) -> Result<Result<Prepared, MatchError>> {
        Ok(self.sides.prepare(&self.submitted(id)?, asked).await)
    }

    /// The request, let in by the sender.
    pub async fn accept(&self, id: u8) -> Result<SenderSession> {
        self.sides.accept(&self.submitted(id)?).await
    }

    /// A whole match.
    pub async fn run(&mut self, id: u8, asked: Asked<'_>) -> Result<Done> {
        self.sides.visit().await?;
        let prepared = self.prepare(id, asked).await??;
        let session = self.accept(id).await?;
        let open = opening(&prepared)?;
        let (key, tags) = session.open(&self.sides.sender.app, &open).await?;
        let mut machine = self.sides.begin(prepared, &key, tags).await?;
        self.sides.evaluate(&session, &mut machine).await?;
        self.sides.receive(&session, &mut machine).await?;
        session.close(&self.sides.sender.app).await?;
        let report = machine.finish(&self.sides.receiver.app).await?;
        let matched = self.sides.matched(&report.session).await?;
        Ok(Done { report, matched, elements: open.elements })
    }

    /// What the receiver's register says of a person: keys, and whether that is provisional.
    pub async fn told(&self, person: &str) -> Result<BTreeMap<String, bool>> {
        let entries = self.sides.receiver.app.state().matches_of(person.as_bytes()).await?;
        let told = entries.into_iter().map(|entry| Some((entry.key?.to_string(), entry.provisional)));
        told.collect::<Option<_>>().context("an entry without its key")
    }
}

/// A match of everybody by the names, behind the one of that number.
pub const fn names_after(id: u8) -> Asked<'static> {
    Asked { selection: "", key: "names", after: Some(RequestId::from_bytes([id; 16])) }
}
