//! The education agency's enrolments, under the column names and codes of the agency's own system: its binding
//! renames and recodes them.

use crate::draw::{Draws, Topic};
use crate::person::Person;
use crate::table::{Columns, PopulationError, Table};
use crate::writing::NameColumns;
use crate::{Population, Register};
use arrow::array::{ArrayRef, Int32Builder, StringBuilder};
use arrow::datatypes::DataType;
use std::path::Path;
use std::sync::Arc;

/// The last school year of the earlier cut: 2024's pupils are counted in October.
const EARLIER_LAST_YEAR: i32 = 2023;

#[derive(Default)]
struct Enrolments {
    pupil_no: StringBuilder,
    nat_id: StringBuilder,
    full_name: StringBuilder,
    names: NameColumns,
    year: Int32Builder,
    region_no: StringBuilder,
    level_code: Int32Builder,
    hours_week: Int32Builder,
    weeks_year: Int32Builder,
}

impl Columns for Enrolments {
    const FIELDS: &'static [(&'static str, DataType)] = &[
        ("pupil_no", DataType::Utf8),
        ("nat_id", DataType::Utf8),
        ("full_name", DataType::Utf8),
        ("surname", DataType::Utf8),
        ("first_names", DataType::Utf8),
        ("born", DataType::Utf8),
        ("year", DataType::Int32),
        ("region_no", DataType::Utf8),
        ("level_code", DataType::Int32),
        ("hours_week", DataType::Int32),
        ("weeks_year", DataType::Int32),
    ];

    fn finish(&mut self) -> Vec<ArrayRef> {
        let [surname, first_names, born] = self.names.finish();
        vec![
            Arc::new(self.pupil_no.finish()),
            Arc::new(self.nat_id.finish()),
            Arc::new(self.full_name.finish()),
            surname,
            first_names,
            born,
            Arc::new(self.year.finish()),
            Arc::new(self.region_no.finish()),
            Arc::new(self.level_code.finish()),
            Arc::new(self.hours_week.finish()),
            Arc::new(self.weeks_year.finish()),
        ]
    }
}

pub(crate) fn write_enrolments(population: &Population, folder: &Path) -> Result<u64, PopulationError> {
    let mut table = Table::<Enrolments>::with_earlier_cut(folder, "enrolments.parquet")?;
    for (person, registration) in population.registered(Register::Education) {
        let mut draws = population.draws(Topic::Enrolments, person.index);
        let mut lengths = population.draws(Topic::Weeks, person.index);
        let held = population.held(Register::Education, &person);
        let mut names = population.draws_in(Topic::RowsOfNames, Register::Education, &person);
        let name = held.name();
        let (first, last) = school_years(&person, registration.least_rows() as i32, &mut draws);
        for (ordinal, year) in (0_u32..).zip(first..=last) {
            let columns = &mut table.columns;
            columns.pupil_no.append_value(registration.key_of_row(ordinal));
            columns.nat_id.append_option(registration.number_in_row(&mut draws));
            columns.full_name.append_value(&name);
            columns.names.append(&held.in_row(Register::Education, &mut names));
            columns.year.append_value(year);
            columns.region_no.append_value(format!("{:02}", person.region));
            let level = level(year - person.birth_year, &mut draws);
            columns.level_code.append_value(level);
            columns.hours_week.append_value(weekly_hours(&mut draws));
            columns.weeks_year.append_value(weeks(level, &mut lengths));
            table.end_row(year <= EARLIER_LAST_YEAR)?;
        }
    }
    table.close()
}

/// A run of school years since the person came, up to 2024, at least so many of them.
fn school_years(person: &Person, least: i32, draws: &mut Draws) -> (i32, i32) {
    let earliest = (2020 + (person.first_month() / 12) as i32).min(2025 - least);
    if person.is_of_school_age() {
        return (earliest, 2024);
    }
    let first = draws.between(earliest, 2025 - least);
    (first, draws.between(first + least - 1, 2024))
}

/// The agency's code of the level at that age: 1 pre-primary to 5 tertiary, 6 a language course for adults, and now
/// and then 9, which its own list does not explain.
fn level(age: i32, draws: &mut Draws) -> i32 {
    if draws.below(500) == 0 {
        return 9;
    }
    match age {
        ..=5 => 1,
        6..=10 => 2,
        11..=14 => 3,
        15..=18 => 4,
        19..=26 => draws.choose(&[(5, 3), (6, 2)]),
        _ => draws.choose(&[(5, 1), (6, 9)]),
    }
}

/// Hours a week; a few were typed with a digit too many, or as the −1 by which an old form said nothing.
fn weekly_hours(draws: &mut Draws) -> i32 {
    match draws.below(200) {
        0 => -1,
        1 => draws.between(70, 300),
        _ => draws.between(2, 36),
    }
}

/// Weeks of instruction in a year: schools have nearly the same, universities fewer, courses as many as they have.
fn weeks(level: i32, draws: &mut Draws) -> i32 {
    match level {
        5 => draws.between(26, 30),
        6 => draws.between(8, 40),
        _ => draws.between(36, 40),
    }
}
