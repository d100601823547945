//! The immigration agency's permits. Column for column the contract's names.

use crate::draw::{Draws, Topic};
use crate::person::Person;
use crate::table::{Columns, PopulationError, Table};
use crate::writing::NameColumns;
use crate::{Population, Register};
use arrow::array::{ArrayRef, BinaryBuilder, Date32Builder, StringBuilder};
use arrow::datatypes::DataType;
use chrono::{Days, Months, NaiveDate};
use std::path::Path;
use std::sync::Arc;

/// How many permits a person has, by weight from one on. Contracts bound them at three.
const PERMITS: [u32; 5] = [46, 30, 15, 6, 3];

const STATUSES: [(&str, u32); 6] = [
    ("temporary_protection", 520),
    ("work", 170),
    ("family", 130),
    ("study", 80),
    ("asylum_applicant", 70),
    ("other", 30),
];

const SECTORS: [(&str, u32); 11] = [
    ("none", 300),
    ("manufacturing", 120),
    ("construction", 110),
    ("hospitality", 95),
    ("trade", 85),
    ("transport", 75),
    ("health_care", 60),
    ("household_services", 55),
    ("agriculture", 45),
    ("education", 30),
    ("information_technology", 25),
];

#[derive(Default)]
struct Permits {
    person_key: StringBuilder,
    national_number: StringBuilder,
    name: StringBuilder,
    names: NameColumns,
    arrival_month: StringBuilder,
    region: StringBuilder,
    status: StringBuilder,
    sector: StringBuilder,
    provision: StringBuilder,
    valid_until: Date32Builder,
    fingerprint: BinaryBuilder,
}

impl Columns for Permits {
    const FIELDS: &'static [(&'static str, DataType)] = &[
        ("person_key", DataType::Utf8),
        ("national_number", DataType::Utf8),
        ("name", DataType::Utf8),
        ("family_name", DataType::Utf8),
        ("given_name", DataType::Utf8),
        ("birth_date", DataType::Utf8),
        ("arrival_month", DataType::Utf8),
        ("region", DataType::Utf8),
        ("status", DataType::Utf8),
        ("sector", DataType::Utf8),
        ("provision", DataType::Utf8),
        ("valid_until", DataType::Date32),
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
            Arc::new(self.arrival_month.finish()),
            Arc::new(self.region.finish()),
            Arc::new(self.status.finish()),
            Arc::new(self.sector.finish()),
            Arc::new(self.provision.finish()),
            Arc::new(self.valid_until.finish()),
            Arc::new(self.fingerprint.finish()),
        ]
    }
}

/// Days since 1970-01-01.
pub(crate) fn day_number(date: NaiveDate) -> i32 {
    date.signed_duration_since(NaiveDate::default()).num_days() as i32
}

/// The first day of a month counted from January 2020.
pub(crate) fn first_day(month: u32) -> NaiveDate {
    let start = NaiveDate::from_ymd_opt(2020, 1, 1).unwrap_or_default();
    start.checked_add_months(Months::new(month)).unwrap_or_default()
}

/// A region as the contracts write it; a few rows carry one that no code list has, or none.
pub(crate) fn region(home: u32, draws: &mut Draws) -> Option<String> {
    match draws.below(1000) {
        0..4 => None,
        4..6 => Some("R99".to_owned()),
        // Registers are not told of every move.
        6..66 => Some(format!("R{:02}", 1 + draws.below(17))),
        _ => Some(format!("R{home:02}")),
    }
}

pub(crate) fn write_permits(population: &Population, folder: &Path) -> Result<u64, PopulationError> {
    let mut table = Table::<Permits>::with_earlier_cut(folder, "permits.parquet")?;
    for (person, registration) in population.registered(Register::Immigration) {
        let mut draws = population.draws(Topic::Permits, person.index);
        let mut template = [0; 64];
        draws.fill(&mut template);
        let permits = (draws.weighted(&PERMITS) as u32 + 1).max(registration.least_rows());
        let held = population.held(Register::Immigration, &person);
        let mut names = population.draws_in(Topic::RowsOfNames, Register::Immigration, &person);
        let name = held.name();
        let arrival_month = format!("{}-{:02}", 2020 + person.arrival / 12, person.arrival % 12 + 1);
        let mut valid_until = first_day(person.arrival);
        for ordinal in 0..permits {
            let columns = &mut table.columns;
            columns.person_key.append_value(registration.key_of_row(ordinal));
            columns.national_number.append_option(registration.number_in_row(&mut draws));
            columns.name.append_value(&name);
            columns.names.append(&held.in_row(Register::Immigration, &mut names));
            columns.arrival_month.append_value(&arrival_month);
            columns.region.append_option(region(person.region, &mut draws));
            columns.status.append_value(draws.choose(&STATUSES));
            columns.sector.append_value(sector(&person, &mut draws));
            columns.provision.append_value(provision(u64::from(person.index), ordinal));
            let months = Months::new(draws.choose(&[(6, 2), (12, 6), (24, 3), (36, 1)]));
            let issued = valid_until.checked_add_days(Days::new(draws.below(28).into())).unwrap_or(valid_until);
            valid_until = issued.checked_add_months(months).unwrap_or(issued);
            columns.valid_until.append_value(day_number(valid_until));
            columns.fingerprint.append_value(template);
            // A quarter ends before October: permits of later arrivals were not there yet.
            table.end_row(person.arrival < EARLIER_MONTHS)?;
        }
    }
    table.close()
}

/// Months from January 2020 to the end of the earlier cut.
pub(crate) const EARLIER_MONTHS: u32 = 57;

/// The provisions under which most permits are issued, in thousandths.
const PROVISIONS: [(&str, u64); 7] =
    [("24", 450), ("18a", 170), ("28", 110), ("16b", 80), ("55", 40), ("60a", 30), ("23.1", 20)];

/// The provision as it was typed at the counter: a few common ones, and many that hardly anybody else has.
fn provision(person: u64, ordinal: u32) -> String {
    // Fibonacci hashing: it spreads persons, and takes no draw that others rest on.
    let mixed = (person * 8 + u64::from(ordinal)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
    let mut left = mixed % 1_000;
    for (provision, share) in PROVISIONS {
        if left < share {
            return provision.to_owned();
        }
        left -= share;
    }
    format!("{}.{}/{}", 30 + mixed / 1_000 % 70, mixed / 70_000 % 9, mixed / 630_000 % 3)
}

fn sector(person: &Person, draws: &mut Draws) -> &'static str {
    if person.birth_year > 2007 || person.birth_year < 1956 { "none" } else { draws.choose(&SECTORS) }
}
