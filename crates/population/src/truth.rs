//! Who is who: for tests, and for the truths that a demonstration can show because nobody here exists.

use crate::draw::Topic;
use crate::person::{Person, Registration};
use crate::table::{Columns, PopulationError, Table};
use crate::{Fault, NationalNumber, Population, Register};
use arrow::array::{ArrayRef, Int32Builder, Int64Builder, StringBuilder};
use arrow::datatypes::DataType;
use std::path::Path;
use std::sync::Arc;

/// One key of one person in one register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TruthRow {
    /// The person, by their number in the population.
    pub person: u32,
    /// Year of birth.
    pub birth_year: i32,
    /// The register.
    pub register: Register,
    /// The key under which the register knows the person.
    pub person_key: String,
    /// The number that the register holds for the person, not always their own.
    pub national_number: Option<NationalNumber>,
}

/// What one register's file says of one person under one key, and what is wrong with it.
///
/// The file has several rows of most persons. Each may write this in other ways (case, separators, the form of the day),
/// and none says anything else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The person, by their number in the population.
    pub person: u32,
    /// The key under which the register knows the person.
    pub person_key: String,
    /// The number, as one row has it.
    pub national_number: Option<String>,
    /// The family name, as one row has it.
    pub family_name: Option<String>,
    /// The given names, as one row has them.
    pub given_name: Option<String>,
    /// The day of birth, as one row has it.
    pub birth_date: Option<String>,
    /// Whether the person writes their own name in Cyrillic.
    pub is_cyrillic: bool,
    /// What is wrong with the entry, or makes it differ from those of other registers.
    pub faults: Vec<Fault>,
}

pub(crate) fn entries(population: &Population, register: Register) -> impl Iterator<Item = Entry> + '_ {
    population.registered(register).flat_map(move |(person, registration)| {
        let held = population.held(register, &person);
        let mut draws = population.draws_in(Topic::RowsOfNames, register, &person);
        let entry = |key: &String| {
            let national_number = registration.number_in_row(&mut draws);
            let written = held.in_row(register, &mut draws);
            Entry {
                person: person.index,
                person_key: key.clone(),
                national_number,
                family_name: written.family,
                given_name: written.given,
                birth_date: written.birth_date,
                is_cyrillic: held.is_cyrillic,
                faults: registration.fault.iter().chain(&held.faults).copied().collect(),
            }
        };
        std::iter::once(&registration.key).chain(&registration.second_key).map(entry).collect::<Vec<_>>()
    })
}

#[derive(Default)]
struct Truth {
    person: Int64Builder,
    birth_year: Int32Builder,
    register: StringBuilder,
    person_key: StringBuilder,
    national_number: StringBuilder,
}

impl Columns for Truth {
    const FIELDS: &'static [(&'static str, DataType)] = &[
        ("person", DataType::Int64),
        ("birth_year", DataType::Int32),
        ("register", DataType::Utf8),
        ("person_key", DataType::Utf8),
        ("national_number", DataType::Utf8),
    ];

    fn finish(&mut self) -> Vec<ArrayRef> {
        vec![
            Arc::new(self.person.finish()),
            Arc::new(self.birth_year.finish()),
            Arc::new(self.register.finish()),
            Arc::new(self.person_key.finish()),
            Arc::new(self.national_number.finish()),
        ]
    }
}

pub(crate) fn rows(population: &Population) -> impl Iterator<Item = TruthRow> + '_ {
    (0..population.persons()).map(|index| population.person(index)).flat_map(move |person| {
        Register::ALL.into_iter().flat_map(move |register| {
            population.registration(register, &person).into_iter().flat_map({
                let person = person.clone();
                move |registration| keys_of(&person, register, &registration)
            })
        })
    })
}

fn keys_of(person: &Person, register: Register, registration: &Registration) -> Vec<TruthRow> {
    let row = |key: &String| TruthRow {
        person: person.index,
        birth_year: person.birth_year,
        register,
        person_key: key.clone(),
        national_number: registration.number,
    };
    std::iter::once(&registration.key).chain(&registration.second_key).map(row).collect()
}

pub(crate) fn write(population: &Population, folder: &Path) -> Result<u64, PopulationError> {
    let mut table = Table::<Truth>::create(folder, "truth.parquet")?;
    for row in rows(population) {
        let columns = &mut table.columns;
        columns.person.append_value(row.person.into());
        columns.birth_year.append_value(row.birth_year);
        columns.register.append_value(row.register.as_str());
        columns.person_key.append_value(&row.person_key);
        columns.national_number.append_option(row.national_number.map(|number| number.to_string()));
        table.end_row(true)?;
    }
    table.close()
}
