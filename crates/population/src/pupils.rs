//! The education agency's list of those enrolled now: one row for each of its keys, under the contract's names and codes.

use crate::draw::{Draws, Topic};
use crate::table::{Columns, PopulationError, Table};
use crate::{Population, Register};
use arrow::array::{ArrayRef, Int32Builder, StringBuilder};
use arrow::datatypes::DataType;
use std::path::Path;
use std::sync::Arc;

const LANGUAGES: [(&str, u32); 4] = [("official", 70), ("regional", 15), ("bilingual", 10), ("sign", 5)];

#[derive(Default)]
struct Pupils {
    person_key: StringBuilder,
    national_number: StringBuilder,
    region: StringBuilder,
    level: StringBuilder,
    language: StringBuilder,
    since: Int32Builder,
}

impl Columns for Pupils {
    const FIELDS: &'static [(&'static str, DataType)] = &[
        ("person_key", DataType::Utf8),
        ("national_number", DataType::Utf8),
        ("region", DataType::Utf8),
        ("level", DataType::Utf8),
        ("language", DataType::Utf8),
        ("since", DataType::Int32),
    ];

    fn finish(&mut self) -> Vec<ArrayRef> {
        vec![
            Arc::new(self.person_key.finish()),
            Arc::new(self.national_number.finish()),
            Arc::new(self.region.finish()),
            Arc::new(self.level.finish()),
            Arc::new(self.language.finish()),
            Arc::new(self.since.finish()),
        ]
    }
}

pub(crate) fn write_pupils(population: &Population, folder: &Path) -> Result<u64, PopulationError> {
    let mut table = Table::<Pupils>::create(folder, "pupils.parquet")?;
    for (person, registration) in population.registered(Register::Education) {
        let mut draws = population.draws(Topic::Pupils, person.index);
        // Whoever was registered twice is listed twice.
        for key in std::iter::once(&registration.key).chain(&registration.second_key) {
            let columns = &mut table.columns;
            columns.person_key.append_value(key);
            columns.national_number.append_option(registration.number_in_row(&mut draws));
            columns.region.append_value(format!("R{:02}", person.region));
            columns.level.append_value(level(2024 - person.birth_year));
            columns.language.append_option(language(&mut draws));
            columns.since.append_value(draws.between(2020, 2024));
            table.end_row(true)?;
        }
    }
    table.close()
}

fn level(age: i32) -> &'static str {
    match age {
        ..=5 => "pre_primary",
        6..=10 => "primary",
        11..=14 => "lower_secondary",
        15..=18 => "upper_secondary",
        19..=26 => "tertiary",
        _ => "adult_language",
    }
}

/// Now and then nobody noted it.
fn language(draws: &mut Draws) -> Option<&'static str> {
    if draws.below(20) == 0 { None } else { Some(draws.choose(&LANGUAGES)) }
}
