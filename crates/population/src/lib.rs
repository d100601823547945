//! A synthetic population, seeded and the same on every machine, as three agencies would hold it.
//!
//! Nobody in it exists. Every person is a function of the seed and of a number below the population's size, so a
//! million of them need no memory: each file is written in the order of its agency's own keys, row group by row
//! group. All arithmetic is in integers, and all randomness is ChaCha with eight rounds, so the rows do not depend on
//! processor, compiler or mathematics library. A test pins their hash.
//!
//! [`Population::write`] makes, below one folder:
//!
//! | file | rows |
//! | --- | --- |
//! | `immigration/permits.parquet` | residence permits, several for a person |
//! | `health/visits.parquet` | visits, several for a person |
//! | `health/vaccinations.parquet` | at most one for a person and vaccine |
//! | `education/enrolments.parquet` | one for a person and school year, under the columns of the agency's own system |
//! | `education/pupils.parquet` | those enrolled now, one for each key of the register; no earlier cut |
//! | `health/interpreting.parquet`, `education/interpreting.parquet` | interpreters for newcomers, in one form |
//! | `<agency>/2024-Q3/<file>` | the same register as it stood at the end of the third quarter of 2024 |
//! | `truth.parquet` | who stands in which register under which keys and number; for tests alone |
//!
//! Each agency has its own key of a person. The national number that they share is written as registers write it: in
//! either case, with spaces, hyphens, dots and slashes, in full-width characters, sometimes missing or mistyped, and
//! sometimes another person's. A few persons have two keys in one register. Values lie outside their declared domains
//! now and then, as they do in real files.
//!
//! Names and days of birth are written so, too: in three cases, with marks or without, in Cyrillic or by one of several
//! standards in Latin, in other forms, each day as the register's own forms ask for it. What is wrong or missing, and
//! how often, is [`Fault`].

mod draw;
mod education;
mod fault;
mod health;
mod held;
mod immigration;
mod interpreting;
mod names;
mod number;
mod permutation;
mod person;
mod pupils;
mod table;
mod truth;
mod writing;

use draw::Topic;
use permutation::Permutation;
use std::path::Path;
use std::thread;

pub use fault::{Fault, RATED};
pub use number::NationalNumber;
pub use person::Register;
pub use table::PopulationError;
pub use truth::{Entry, TruthRow};

/// The fewest letters of a family name that is looked for where it may not turn up.
const LONG_NAME: usize = 7;

/// The most persons that the keys' eight digits have room for, second keys included.
pub const MOST_PERSONS: u32 = 40_000_000;

/// A population that can be written.
#[derive(Debug, Clone)]
pub struct Population {
    persons: u32,
    seed: u64,
    numbers: Permutation,
    keys: [Permutation; 3],
}

/// The size of what [`Population::write`] wrote: rows per file, the latest cut alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Rows of `immigration/permits.parquet`.
    pub permits: u64,
    /// Rows of `health/visits.parquet`.
    pub visits: u64,
    /// Rows of `health/vaccinations.parquet`.
    pub vaccinations: u64,
    /// Rows of `education/enrolments.parquet`.
    pub enrolments: u64,
    /// Rows of `education/pupils.parquet`.
    pub pupils: u64,
    /// Rows of `health/interpreting.parquet`.
    pub health_interpreting: u64,
    /// Rows of `education/interpreting.parquet`.
    pub education_interpreting: u64,
    /// Rows of `truth.parquet`.
    pub truth: u64,
}

/// One person who stands in all three registers under one key and their own number in each, to be looked for where no
/// person's data may turn up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canary {
    /// The national number as its normaliser writes it.
    pub national_number: String,
    /// Given and family name in the health agency's register.
    pub name: String,
    /// The agencies' keys, in the order immigration, health, education.
    pub person_keys: [String; 3],
    /// Year of birth.
    pub birth_year: i32,
}

impl Population {
    /// A population of `persons` persons. The same size and seed give the same rows; the seed of the demo is 1.
    ///
    /// # Errors
    /// [`PopulationError::Size`] for nobody, or for more than [`MOST_PERSONS`].
    pub fn new(persons: u32, seed: u64) -> Result<Self, PopulationError> {
        if persons == 0 || persons > MOST_PERSONS {
            return Err(PopulationError::Size);
        }
        let key = |register: Register| Permutation::new(persons, &mut draw::Draws::of_keys(seed, register as u32));
        Ok(Self {
            persons,
            seed,
            numbers: Permutation::new(number::NUMBERS, &mut draw::Draws::of_keys(seed, 3)),
            keys: Register::ALL.map(key),
        })
    }

    /// How many persons there are.
    #[must_use]
    pub const fn persons(&self) -> u32 {
        self.persons
    }

    /// The figure to declare as the size of each register: the population rounded up to two digits, as an office
    /// would publish it, and never a count of rows.
    #[must_use]
    pub fn declared_register_size(&self) -> u64 {
        let persons = u64::from(self.persons);
        let step = std::iter::successors(Some(1_u64), |step| Some(step * 10))
            .find(|step| persons.div_ceil(*step) <= 99)
            .unwrap_or(1);
        persons.div_ceil(step) * step
    }

    /// Writes every file below `folder`, which is made if it is not there. Files of the same names are replaced.
    ///
    /// # Errors
    /// [`PopulationError`] if a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<Written, PopulationError> {
        let join = |handle: thread::ScopedJoinHandle<'_, Result<u64, PopulationError>>| {
            handle.join().unwrap_or(Err(PopulationError::Interrupted))
        };
        thread::scope(|scope| {
            let visits = scope.spawn(|| health::write_visits(self, &folder.join("health")));
            let permits = scope.spawn(|| immigration::write_permits(self, &folder.join("immigration")));
            let vaccinations = scope.spawn(|| health::write_vaccinations(self, &folder.join("health")));
            let enrolments = scope.spawn(|| education::write_enrolments(self, &folder.join("education")));
            let pupils = scope.spawn(|| pupils::write_pupils(self, &folder.join("education")));
            let interpreting = |register: Register, topic| {
                interpreting::write_assignments(self, register, topic, &folder.join(register.as_str()))
            };
            let at_clinics = scope.spawn(move || interpreting(Register::Health, Topic::HealthInterpreting));
            let at_schools = scope.spawn(move || interpreting(Register::Education, Topic::EducationInterpreting));
            let truth = scope.spawn(|| truth::write(self, folder));
            Ok(Written {
                permits: join(permits)?,
                visits: join(visits)?,
                vaccinations: join(vaccinations)?,
                enrolments: join(enrolments)?,
                pupils: join(pupils)?,
                health_interpreting: join(at_clinics)?,
                education_interpreting: join(at_schools)?,
                truth: join(truth)?,
            })
        })
    }

    /// Who stands in which register, in no order that any register has: what `truth.parquet` holds.
    pub fn truth(&self) -> impl Iterator<Item = TruthRow> + '_ {
        truth::rows(self)
    }

    /// What the register's file says of each person under each of their keys, in the order of the keys.
    pub fn entries(&self, register: Register) -> impl Iterator<Item = Entry> + '_ {
        truth::entries(self, register)
    }

    /// The first [`Canary`] of school age; `None` if the population is too small to have one.
    #[must_use]
    pub fn canary(&self) -> Option<Canary> {
        (0..self.persons).find_map(|index| {
            let person = self.person(index);
            let [im, he, ed] = Register::ALL.map(|register| self.registration(register, &person));
            let (im, he, ed) = (im?, he?, ed?);
            let plain = [&im, &he, &ed].iter().all(|r| r.number == Some(person.number) && r.second_key.is_none());
            if !plain || !person.is_of_school_age() {
                return None;
            }
            // A name that can stand in a question, and that nothing else is called.
            let held = Register::ALL.map(|register| self.held(register, &person));
            let [_, at_clinics, _] = &held;
            let name = at_clinics.name();
            let in_ascii = name.chars().all(|letter| letter.is_ascii_alphabetic() || letter == ' ');
            let named = in_ascii && at_clinics.family.as_ref().is_some_and(|family| family.len() >= LONG_NAME);
            (named && held.iter().all(|held| held.faults.is_empty())).then(|| Canary {
                national_number: person.number.to_string(),
                name,
                person_keys: [im.key, he.key, ed.key],
                birth_year: person.birth_year,
            })
        })
    }
}
