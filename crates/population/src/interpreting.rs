//! Interpreters whom clinics and schools called for newcomers: each agency's own file, of one form. Column for column
//! the contracts' names.

use crate::draw::{Draws, Topic};
use crate::immigration::{EARLIER_MONTHS, region};
use crate::person::Person;
use crate::table::{Columns, PopulationError, Table};
use crate::{Population, Register};
use arrow::array::{ArrayRef, Int32Builder, StringBuilder};
use arrow::datatypes::DataType;
use std::path::Path;
use std::sync::Arc;

/// How often an interpreter came for a person, by weight from never on. Contracts bound the rows at four.
const TIMES: [u32; 7] = [45, 22, 14, 9, 5, 3, 2];

const MODES: [(&str, u32); 3] = [("telephone", 55), ("in_person", 30), ("video", 15)];

/// Months from January 2020 to the end of the latest cut.
const MONTHS: u32 = 60;

#[derive(Default)]
struct Assignments {
    person_key: StringBuilder,
    year: Int32Builder,
    region: StringBuilder,
    mode: StringBuilder,
    minutes: Int32Builder,
}

impl Columns for Assignments {
    const FIELDS: &'static [(&'static str, DataType)] = &[
        ("person_key", DataType::Utf8),
        ("year", DataType::Int32),
        ("region", DataType::Utf8),
        ("mode", DataType::Utf8),
        ("minutes", DataType::Int32),
    ];

    fn finish(&mut self) -> Vec<ArrayRef> {
        vec![
            Arc::new(self.person_key.finish()),
            Arc::new(self.year.finish()),
            Arc::new(self.region.finish()),
            Arc::new(self.mode.finish()),
            Arc::new(self.minutes.finish()),
        ]
    }
}

/// The assignments of one agency.
pub(crate) fn write_assignments(
    population: &Population,
    register: Register,
    topic: Topic,
    folder: &Path,
) -> Result<u64, PopulationError> {
    let mut table = Table::<Assignments>::with_earlier_cut(folder, "interpreting.parquet")?;
    for (person, registration) in population.registered(register).filter(|(person, _)| is_newcomer(person)) {
        let mut draws = population.draws(topic, person.index);
        for ordinal in 0..draws.weighted(&TIMES) as u32 {
            let month = person.arrival + draws.below(MONTHS.saturating_sub(person.arrival).max(1));
            let columns = &mut table.columns;
            columns.person_key.append_value(registration.key_of_row(ordinal));
            columns.year.append_value(2020 + (month / 12).min(4) as i32);
            columns.region.append_option(region(person.region, &mut draws));
            columns.mode.append_value(draws.choose(&MODES));
            columns.minutes.append_value(minutes(&mut draws));
            table.end_row(month < EARLIER_MONTHS)?;
        }
    }
    table.close()
}

fn is_newcomer(person: &Person) -> bool {
    person.is_in(Register::Immigration)
}

/// Mostly less than an hour and a half; a few were typed in seconds.
fn minutes(draws: &mut Draws) -> i32 {
    if draws.below(300) == 0 { draws.between(600, 3_600) } else { draws.between(5, 90) }
}
