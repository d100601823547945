//! The health agency's visits and vaccinations. Column for column the contracts' names.

use crate::draw::{Draws, Topic};
use crate::immigration::{EARLIER_MONTHS, day_number, first_day, region};
use crate::person::Person;
use crate::table::{Columns, PopulationError, Table};
use crate::writing::NameColumns;
use crate::{Population, Register};
use arrow::array::{ArrayRef, BinaryBuilder, Date32Builder, Decimal128Builder, Int32Builder, StringBuilder};
use arrow::datatypes::DataType;
use chrono::{Datelike, NaiveDate, TimeDelta};
use std::path::Path;
use std::sync::Arc;

/// How many visits a person makes, by weight from one on. Contracts bound them at six.
const VISITS: [u32; 12] = [24, 21, 16, 12, 9, 6, 4, 3, 2, 1, 1, 1];

/// Kinds of visit as the contract writes them. The last is in no code list: the clinics began to use it on their own.
const KINDS: [(&str, u32); 6] = [
    ("consultation", 610),
    ("emergency", 130),
    ("vaccination", 120),
    ("maternity", 60),
    ("other", 72),
    ("video_consultation", 8),
];

/// Vaccines, and how many in a thousand have had them: at school age, and older or younger.
const VACCINES: [(&str, u32, u32); 6] = [
    ("MMR", 620, 140),
    ("DTP", 660, 210),
    ("POLIO", 590, 120),
    ("HEPB", 380, 90),
    ("COVID19", 210, 430),
    ("FLU", 90, 160),
];

#[derive(Default)]
struct Visits {
    person_key: StringBuilder,
    national_number: StringBuilder,
    name: StringBuilder,
    names: NameColumns,
    visit_date: Date32Builder,
    visit_year: Int32Builder,
    birth_year: Int32Builder,
    region: StringBuilder,
    kind: StringBuilder,
    cost: Cents,
    fingerprint: BinaryBuilder,
}

/// Money with two decimals.
struct Cents(Decimal128Builder);

const MONEY: DataType = DataType::Decimal128(12, 2);

impl Default for Cents {
    fn default() -> Self {
        Self(Decimal128Builder::new().with_data_type(MONEY))
    }
}

impl Columns for Visits {
    const FIELDS: &'static [(&'static str, DataType)] = &[
        ("person_key", DataType::Utf8),
        ("national_number", DataType::Utf8),
        ("name", DataType::Utf8),
        ("family_name", DataType::Utf8),
        ("given_name", DataType::Utf8),
        ("birth_date", DataType::Utf8),
        ("visit_date", DataType::Date32),
        ("visit_year", DataType::Int32),
        ("birth_year", DataType::Int32),
        ("region", DataType::Utf8),
        ("kind", DataType::Utf8),
        ("cost", MONEY),
        ("fingerprint", DataType::Binary),
    ];

    fn finish(&mut self) -> Vec<ArrayRef> {
        let [family, given, birth_date] = self.names.finish();
        vec![
            Arc::new(self.person_key.finish()),
            Arc::new(self.national_number.finish()),
            Arc::new(self.name.finish()),
            family,
            given,
            birth_date,
            Arc::new(self.visit_date.finish()),
            Arc::new(self.visit_year.finish()),
            Arc::new(self.birth_year.finish()),
            Arc::new(self.region.finish()),
            Arc::new(self.kind.finish()),
            Arc::new(self.cost.0.finish()),
            Arc::new(self.fingerprint.finish()),
        ]
    }
}

#[derive(Default)]
struct Vaccinations {
    person_key: StringBuilder,
    national_number: StringBuilder,
    vaccine: StringBuilder,
    dose_date: Date32Builder,
    region: StringBuilder,
}

impl Columns for Vaccinations {
    const FIELDS: &'static [(&'static str, DataType)] = &[
        ("person_key", DataType::Utf8),
        ("national_number", DataType::Utf8),
        ("vaccine", DataType::Utf8),
        ("dose_date", DataType::Date32),
        ("region", DataType::Utf8),
    ];

    fn finish(&mut self) -> Vec<ArrayRef> {
        vec![
            Arc::new(self.person_key.finish()),
            Arc::new(self.national_number.finish()),
            Arc::new(self.vaccine.finish()),
            Arc::new(self.dose_date.finish()),
            Arc::new(self.region.finish()),
        ]
    }
}

pub(crate) fn write_visits(population: &Population, folder: &Path) -> Result<u64, PopulationError> {
    let mut table = Table::<Visits>::with_earlier_cut(folder, "visits.parquet")?;
    let earlier_end = first_day(EARLIER_MONTHS);
    for (person, registration) in population.registered(Register::Health) {
        let mut draws = population.draws(Topic::Visits, person.index);
        let mut template = [0; 32];
        draws.fill(&mut template);
        let visits = (draws.weighted(&VISITS) as u32 + 1).max(registration.least_rows());
        let held = population.held(Register::Health, &person);
        let mut names = population.draws_in(Topic::RowsOfNames, Register::Health, &person);
        let name = held.name();
        for ordinal in 0..visits {
            let date = a_day_since_arrival(&person, &mut draws);
            let kind = draws.choose(&KINDS);
            let columns = &mut table.columns;
            columns.person_key.append_value(registration.key_of_row(ordinal));
            columns.national_number.append_option(registration.number_in_row(&mut draws));
            columns.name.append_value(&name);
            columns.names.append(&held.in_row(Register::Health, &mut names));
            columns.visit_date.append_value(day_number(date));
            columns.visit_year.append_value(date.year());
            columns.birth_year.append_value(person.birth_year);
            columns.region.append_option(region(person.region, &mut draws));
            columns.kind.append_value(kind);
            columns.cost.0.append_value(cost_in_cents(kind, &mut draws));
            columns.fingerprint.append_value(template);
            table.end_row(date < earlier_end)?;
        }
    }
    table.close()
}

pub(crate) fn write_vaccinations(population: &Population, folder: &Path) -> Result<u64, PopulationError> {
    let mut table = Table::<Vaccinations>::with_earlier_cut(folder, "vaccinations.parquet")?;
    let earlier_end = first_day(EARLIER_MONTHS);
    for (person, registration) in population.registered(Register::Health) {
        let mut draws = population.draws(Topic::Vaccinations, person.index);
        for (vaccine, at_school_age, otherwise) in VACCINES {
            if !draws.permille(if person.is_of_school_age() { at_school_age } else { otherwise }) {
                continue;
            }
            let date = a_day_since_arrival(&person, &mut draws);
            let columns = &mut table.columns;
            columns.person_key.append_value(&registration.key);
            columns.national_number.append_option(registration.number_in_row(&mut draws));
            columns.vaccine.append_value(vaccine);
            columns.dose_date.append_value(day_number(date));
            columns.region.append_option(region(person.region, &mut draws));
            table.end_row(date < earlier_end)?;
        }
    }
    table.close()
}

/// A day on which the person was in the country and born, up to the end of 2024.
fn a_day_since_arrival(person: &Person, draws: &mut Draws) -> NaiveDate {
    let from_birth = person.birth_year.saturating_sub(2019).max(0).unsigned_abs() * 12;
    let first = first_day(person.first_month().max(from_birth).min(59));
    let days = first_day(60).signed_duration_since(first).num_days() as u32;
    first.checked_add_signed(TimeDelta::days(draws.below(days).into())).unwrap_or(first)
}

/// What a visit cost: mostly little, with a tail of one in a few hundred above the contract's bound of 5,000.
fn cost_in_cents(kind: &str, draws: &mut Draws) -> i128 {
    let (low, spread) = match kind {
        "emergency" => (9_000, 40_000),
        "maternity" => (12_000, 90_000),
        "vaccination" => (800, 3_500),
        "other" => (1_500, 20_000),
        _ => (2_000, 9_000),
    };
    // Each doubling of the spread is drawn by half of those who drew the one before, up to sixteenfold.
    let doublings = (draws.next().trailing_zeros() / 2).min(4);
    i128::from(low + draws.below(spread << doublings))
}
