//! The population has the shape that it promises, and the same rows on every machine.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "what fails here fails a test")]

use arrow::util::display::{ArrayFormatter, FormatOptions};
use firebreak_population::{Entry, Fault, Population, RATED, Register};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;
use std::sync::LazyLock;
use unicode_normalization::UnicodeNormalization;

const FILES: [&str; 9] = [
    "immigration/permits.parquet",
    "immigration/2024-Q3/permits.parquet",
    "health/visits.parquet",
    "health/2024-Q3/visits.parquet",
    "health/vaccinations.parquet",
    "health/2024-Q3/vaccinations.parquet",
    "education/enrolments.parquet",
    "education/2024-Q3/enrolments.parquet",
    "truth.parquet",
];

/// What two agencies hold in one form.
const INTERPRETING: [&str; 4] = [
    "health/interpreting.parquet",
    "health/2024-Q3/interpreting.parquet",
    "education/interpreting.parquet",
    "education/2024-Q3/interpreting.parquet",
];

struct Table {
    names: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn read(path: &Path) -> Self {
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
        let names = reader.schema().fields().iter().map(|f| f.name().clone()).collect();
        let options = FormatOptions::default().with_null("∅");
        let mut rows = Vec::new();
        for batch in reader.build().unwrap() {
            let batch = batch.unwrap();
            let columns: Vec<_> =
                batch.columns().iter().map(|c| ArrayFormatter::try_new(c.as_ref(), &options).unwrap()).collect();
            rows.extend((0..batch.num_rows()).map(|row| columns.iter().map(|c| c.value(row).to_string()).collect()));
        }
        Self { names, rows }
    }

    fn column(&self, name: &str) -> impl Iterator<Item = &str> {
        let at = self.names.iter().position(|n| n == name).unwrap();
        self.rows.iter().map(move |row| row[at].as_str())
    }

    fn pairs(&self, one: &str, two: &str) -> Vec<(&str, &str)> {
        self.column(one).zip(self.column(two)).collect()
    }
}

struct Written {
    population: Population,
    tables: BTreeMap<&'static str, Table>,
}

static WRITTEN: LazyLock<Written> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let population = Population::new(20_000, 1).unwrap();
    population.write(folder.path()).unwrap();
    let tables = FILES.map(|file| (file, Table::read(&folder.path().join(file)))).into();
    Written { population, tables }
});

fn table(file: &str) -> &'static Table {
    WRITTEN.tables.get(file).unwrap()
}

fn normal(text: &str) -> String {
    text.nfkc().filter(|c| !c.is_whitespace() && !matches!(c, '-' | '.' | '/')).collect::<String>().to_uppercase()
}

fn digest(persons: u32, seed: u64, files: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    Population::new(persons, seed).unwrap().write(folder.path()).unwrap();
    let mut hash = Sha256::new();
    for file in files {
        let table = Table::read(&folder.path().join(file));
        hash.update(table.names.join("\t"));
        table.rows.iter().for_each(|row| hash.update(row.join("\t")));
    }
    hex::encode(hash.finalize())
}

#[test]
fn a_small_population_has_the_rows_that_it_always_had() {
    assert_eq!(digest(500, 1, &FILES), "881f436a5c77c28863f19346544eefe2ee3316f0c8c711afad4bbbb06e14a9cf");
}

#[test]
fn interpreters_have_the_rows_that_they_always_had_in_one_form_and_come_for_newcomers_of_both_registers() {
    assert_eq!(digest(500, 1, &INTERPRETING), "5ab216d10f063a6e3d0f16091b5ef9495ed52a91bfccc776bf3e43c17a0729f8");
    let folder = tempfile::tempdir().unwrap();
    let population = Population::new(2_000, 1).unwrap();
    let written = population.write(folder.path()).unwrap();
    let tables = INTERPRETING.map(|file| Table::read(&folder.path().join(file)));
    assert!(tables.iter().all(|table| table.names == tables[0].names));
    assert_eq!(written.health_interpreting as usize, tables[0].rows.len());
    assert_eq!(written.education_interpreting as usize, tables[2].rows.len());
    assert!(tables[1].rows.len() < tables[0].rows.len() && tables[3].rows.len() < tables[2].rows.len());
    let persons = |table: &Table, register: Register| {
        let keys: BTreeMap<_, _> =
            population.truth().filter(|row| row.register == register).map(|row| (row.person_key, row.person)).collect();
        table.column("person_key").map(|key| keys[key]).collect::<BTreeSet<_>>()
    };
    let newcomers: BTreeSet<_> =
        population.truth().filter(|row| row.register == Register::Immigration).map(|row| row.person).collect();
    let (at_clinics, at_schools) = (persons(&tables[0], Register::Health), persons(&tables[2], Register::Education));
    assert!(at_clinics.is_subset(&newcomers) && at_schools.is_subset(&newcomers));
    assert!(at_clinics.intersection(&at_schools).count() > 20, "some stand in both registers");
}

#[test]
fn another_seed_gives_other_rows() {
    assert_ne!(digest(50, 1, &FILES), digest(50, 2, &FILES));
}

#[test]
fn arrivals_of_the_years_stand_in_the_published_proportion() {
    let published = [85_657.0, 767_549.0, 820_458.0, 1_048_960.0, 1_539_619.0];
    let total: f64 = published.iter().sum();
    let months: Vec<_> = table("immigration/permits.parquet").column("arrival_month").collect();
    for (year, expected) in (2020..).zip(published) {
        let share = months.iter().filter(|m| m.starts_with(&year.to_string())).count() as f64 / months.len() as f64;
        assert!((share - expected / total).abs() < 0.02, "{year}: {share}");
    }
}

#[test]
fn registers_overlap_and_everybody_stands_in_one() {
    let mut registers: BTreeMap<u32, BTreeSet<Register>> = BTreeMap::new();
    for row in WRITTEN.population.truth() {
        registers.entry(row.person).or_default().insert(row.register);
    }
    let persons = f64::from(WRITTEN.population.persons());
    assert_eq!(registers.len(), 20_000);
    for (register, expected) in [(Register::Immigration, 0.60), (Register::Health, 0.70), (Register::Education, 0.35)] {
        let share = registers.values().filter(|r| r.contains(&register)).count() as f64 / persons;
        assert!((share - expected).abs() < 0.03, "{register:?}: {share}");
    }
    assert!(registers.values().filter(|r| r.len() == 3).count() > 1000);
}

#[test]
fn some_patients_of_school_age_are_enrolled_and_some_are_not() {
    let truth: Vec<_> = WRITTEN.population.truth().filter(|row| (2006..=2018).contains(&row.birth_year)).collect();
    let of = |register| truth.iter().filter(|r| r.register == register).map(|r| r.person).collect::<BTreeSet<_>>();
    let (patients, pupils) = (of(Register::Health), of(Register::Education));
    let share = patients.intersection(&pupils).count() as f64 / patients.len() as f64;
    assert!((0.6..0.95).contains(&share), "{share}");
}

#[test]
fn every_file_holds_exactly_the_keys_and_numbers_of_the_truth() {
    let columns = [
        (Register::Immigration, "immigration/permits.parquet", "person_key", "national_number"),
        (Register::Health, "health/visits.parquet", "person_key", "national_number"),
        (Register::Education, "education/enrolments.parquet", "pupil_no", "nat_id"),
    ];
    for (register, file, key, number) in columns {
        let mut truth = BTreeMap::new();
        for row in WRITTEN.population.truth().filter(|row| row.register == register) {
            let number = row.national_number.map(|n| n.to_string());
            assert!(truth.insert(row.person_key, number).is_none(), "a key of {register:?} stands for two persons");
        }
        let mut found = BTreeMap::new();
        for (key, number) in table(file).pairs(key, number) {
            let number = (!matches!(number, "∅" | "" | "UNKNOWN")).then(|| normal(number));
            assert_eq!(found.entry(key.to_owned()).or_insert_with(|| number.clone()), &number);
        }
        assert!(truth == found, "{file} and the truth differ");
    }
}

#[test]
fn each_key_of_the_education_register_has_one_row_among_the_pupils() {
    let folder = tempfile::tempdir().unwrap();
    let population = Population::new(2_000, 1).unwrap();
    let written = population.write(folder.path()).unwrap();
    let pupils = Table::read(&folder.path().join("education/pupils.parquet"));
    assert_eq!(written.pupils as usize, pupils.rows.len());
    let rows = population.truth().filter(|row| row.register == Register::Education);
    let truth: BTreeMap<_, _> = rows.map(|row| (row.person_key, row.national_number.map(|n| n.to_string()))).collect();
    let found: Vec<_> = pupils.pairs("person_key", "national_number");
    let number = |number: &str| (!matches!(number, "∅" | "" | "UNKNOWN")).then(|| normal(number));
    let as_written: BTreeMap<_, _> = found.iter().map(|(key, n)| ((*key).to_owned(), number(n))).collect();
    assert_eq!(found.len(), truth.len(), "a key stands twice");
    assert!(as_written == truth, "the pupils and the truth differ");
}

#[test]
fn some_numbers_are_missing_and_some_are_carried_by_two_keys() {
    for register in Register::ALL {
        let numbers: Vec<_> = WRITTEN.population.truth().filter(|r| r.register == register).collect();
        let share = |n: usize| n as f64 / numbers.len() as f64;
        let missing = share(numbers.iter().filter(|r| r.national_number.is_none()).count());
        let present: Vec<_> = numbers.iter().filter_map(|r| r.national_number).collect();
        let duplicated = share(present.len() - present.iter().collect::<BTreeSet<_>>().len());
        assert!((0.015..0.025).contains(&missing), "{register:?}: {missing} missing");
        assert!((0.002..0.008).contains(&duplicated), "{register:?}: {duplicated} duplicated");
    }
}

/// Where a register's file has key, number, family name, given name and day of birth.
const NAMED: [(Register, &str, [&str; 5]); 3] = [
    (Register::Immigration, FILES[0], ["person_key", "national_number", "family_name", "given_name", "birth_date"]),
    (Register::Health, FILES[2], ["person_key", "national_number", "family_name", "given_name", "birth_date"]),
    (Register::Education, FILES[6], ["pupil_no", "nat_id", "surname", "first_names", "born"]),
];

/// The letters and digits of a text in one case and without marks; of what stands for nothing, nothing.
fn bare(text: &str) -> String {
    let kept: String = text.nfkd().flat_map(char::to_uppercase).filter(|c| c.is_alphanumeric()).collect();
    if matches!(text, "∅" | "UNKNOWN") { String::new() } else { kept.replace('ʼ', "") }
}

/// Year, month and day of a text in whatever order, each by its number.
fn parts_of_day(text: &str) -> BTreeSet<u32> {
    let spaced = match text.len() {
        length @ (6 | 8) if text.bytes().all(|b| b.is_ascii_digit()) => {
            let (year, rest) = text.split_at(length - 4);
            format!("{year} {} {}", &rest[..2], &rest[2..])
        }
        _ => text.to_owned(),
    };
    spaced.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).filter(|part| *part > 0).collect()
}

#[test]
fn each_row_says_what_the_entry_of_its_key_says() {
    for (register, file, columns) in NAMED {
        let said = |entry: &Entry| {
            let plain = |text: &Option<String>| bare(text.as_deref().unwrap_or_default());
            let (number, family) = (plain(&entry.national_number), plain(&entry.family_name));
            let day = parts_of_day(entry.birth_date.as_deref().unwrap_or_default());
            (number, family, plain(&entry.given_name), day)
        };
        let entries: BTreeMap<_, _> =
            WRITTEN.population.entries(register).map(|entry| (entry.person_key.clone(), said(&entry))).collect();
        let keys = WRITTEN.population.truth().filter(|row| row.register == register).count();
        assert_eq!(entries.len(), keys, "{register:?}");
        let table = table(file);
        let at = columns.map(|name| table.names.iter().position(|n| n == name).unwrap());
        for row in &table.rows {
            let [key, number, family, given, born] = at.map(|place| row[place].as_str());
            assert_eq!((bare(number), bare(family), bare(given), parts_of_day(born)), entries[key], "{file}");
        }
    }
}

#[test]
fn the_column_of_whole_names_agrees_with_the_parts() {
    let visits = table("health/visits.parquet");
    let parts = visits.pairs("given_name", "family_name");
    for (whole, (given, family)) in visits.column("name").zip(parts) {
        assert_eq!(bare(whole), format!("{}{}", bare(given), bare(family)));
    }
}

#[test]
fn each_register_writes_names_and_days_its_own_way() {
    let share = |file: &str, column: &str, holds: &dyn Fn(&str) -> bool| {
        let held: Vec<_> = table(file).column(column).filter(|text| !bare(text).is_empty()).collect();
        held.iter().filter(|text| holds(text)).count() as f64 / held.len() as f64
    };
    let upper = |text: &str| text == text.to_uppercase();
    let cyrillic = |text: &str| text.chars().any(|c| ('\u{400}'..='\u{4ff}').contains(&c));
    let marked = |text: &str| text.chars().any(|c| !c.is_ascii() && !('\u{400}'..='\u{4ff}').contains(&c) && c != '’');
    let [permits, visits, enrolments] = NAMED.map(|(_, file, _)| file);
    assert!(share(permits, "family_name", &upper) > 0.9 && share(visits, "family_name", &upper) < 0.4);
    let in_cyrillic = [(permits, "family_name"), (visits, "family_name"), (enrolments, "surname")]
        .map(|(f, c)| share(f, c, &cyrillic));
    assert!(in_cyrillic.is_sorted() && in_cyrillic[0] > 0.01 && in_cyrillic[2] < 0.3, "{in_cyrillic:?}");
    assert!(share(visits, "family_name", &marked) > 2.0 * share(permits, "family_name", &marked));
    let eight = |text: &str| text.len() == 8 && text.bytes().all(|b| b.is_ascii_digit());
    assert!(share(permits, "birth_date", &eight) > 0.75);
    assert!(share(visits, "birth_date", &|text| text.len() > 5 && text.as_bytes()[text.len() - 5] == b'.') > 0.85);
    assert!(share(enrolments, "born", &|text| text.as_bytes().get(4) == Some(&b'-')) > 0.8);
}

#[test]
fn what_is_wrong_is_as_frequent_as_it_is_said_to_be() {
    let population = Population::new(60_000, 5).unwrap();
    for register in Register::ALL {
        let entries: Vec<_> = population.entries(register).collect();
        for fault in Fault::ALL {
            let found = entries.iter().filter(|entry| entry.faults.contains(&fault)).count() as f64;
            let stated = f64::from(fault.rate()) / f64::from(RATED) * entries.len() as f64;
            // Some can have it alone: whose given name has another form, and so on.
            let least = match fault {
                Fault::OtherForm | Fault::SecondGivenLeftOut | Fault::OtherStandard | Fault::FormerFamily => 0.08,
                Fault::PatronymicAdded => 0.3,
                // Of neighbours who stand in the register; of newcomers, and one in 365 beside.
                Fault::NumberOfAnother => 0.3,
                Fault::BirthYearAlone => 0.5,
                _ => 1.0,
            };
            // Five standard deviations of a count that is about binomial: one run in a million by chance.
            let margin = 5.0 * stated.sqrt();
            let most = if fault == Fault::BirthYearAlone { 1.25 * stated } else { stated };
            assert!(
                (least * stated - margin..most + margin).contains(&found),
                "{register:?} {}: {found} found, {stated} stated",
                fault.as_str()
            );
        }
    }
}

#[test]
fn persons_have_several_permits_and_visits_and_one_enrolment_a_year_and_dose_a_vaccine() {
    let most = |file: &str, key: &str| {
        let mut rows: BTreeMap<&str, u32> = BTreeMap::new();
        table(file).column(key).for_each(|key| *rows.entry(key).or_default() += 1);
        rows.into_values().max().unwrap()
    };
    // More than the contracts' bounds of three and six, so that bounding has something to leave out.
    assert_eq!(most("immigration/permits.parquet", "person_key"), 5);
    assert_eq!(most("health/visits.parquet", "person_key"), 12);
    for (file, one, two) in
        [("health/vaccinations.parquet", "person_key", "vaccine"), ("education/enrolments.parquet", "pupil_no", "year")]
    {
        let pairs = table(file).pairs(one, two);
        assert_eq!(pairs.iter().collect::<BTreeSet<_>>().len(), pairs.len(), "{file}");
    }
}

#[test]
fn some_values_lie_outside_their_declared_domains() {
    let visits = table("health/visits.parquet");
    let outside = |n: usize| n > 0 && n < visits.rows.len() / 50;
    assert!(outside(visits.column("cost").filter(|c| c.parse::<f64>().unwrap() > 5000.0).count()));
    assert!(outside(visits.column("kind").filter(|k| *k == "video_consultation").count()));
    assert!(outside(visits.column("region").filter(|r| matches!(*r, "R99" | "∅")).count()));
    let regions: BTreeSet<_> = visits.column("region").filter(|r| *r != "R99" && *r != "∅").collect();
    assert_eq!(regions.len(), 17);
    let enrolments = table("education/enrolments.parquet");
    assert!(enrolments.column("hours_week").any(|h| h.parse::<i32>().unwrap() > 60));
    assert!(enrolments.column("hours_week").any(|h| h == "-1"));
    assert!(enrolments.column("level_code").any(|l| l == "9"));
}

#[test]
fn the_year_of_a_visit_is_that_of_its_day_and_nobody_is_seen_before_birth() {
    let visits = table("health/visits.parquet");
    assert!(visits.pairs("visit_date", "visit_year").iter().all(|(date, year)| date.starts_with(year)));
    assert!(visits.pairs("visit_year", "birth_year").iter().all(|(year, birth)| birth <= year));
}

#[test]
fn the_earlier_cut_is_what_stood_in_the_register_then() {
    for (latest, earlier) in [(FILES[2], FILES[3]), (FILES[4], FILES[5])] {
        let date = if latest.contains("visits") { "visit_date" } else { "dose_date" };
        let before = |t: &Table| t.column(date).filter(|d| *d < "2024-10-01").count();
        assert_eq!(table(earlier).rows.len(), before(table(latest)));
        assert_eq!(table(earlier).rows.len(), before(table(earlier)));
    }
    assert!(table(FILES[1]).column("arrival_month").all(|m| m < "2024-10"));
    assert!(table(FILES[7]).column("year").all(|y| y < "2024"));
    assert!(FILES[..8].chunks(2).all(|pair| table(pair[1]).rows.len() < table(pair[0]).rows.len()));
}

#[test]
fn a_fingerprint_is_the_same_in_all_rows_of_a_person_and_nobody_elses() {
    let pairs = table("health/visits.parquet").pairs("person_key", "fingerprint");
    assert!(pairs.iter().all(|(_, template)| template.len() == 64), "32 bytes are 64 hexadecimal digits");
    let persons: BTreeMap<_, _> = pairs.iter().map(|(key, template)| (key, template)).collect();
    assert!(pairs.iter().all(|(key, template)| persons.get(key) == Some(&template)));
    assert!(persons.values().collect::<BTreeSet<_>>().len() > persons.len() * 99 / 100);
}

#[test]
fn the_canary_stands_in_every_register_under_its_own_number() {
    let canary = WRITTEN.population.canary().unwrap();
    let rows: Vec<_> = WRITTEN.population.truth().filter(|r| canary.person_keys.contains(&r.person_key)).collect();
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().all(|r| r.national_number.map(|n| n.to_string()) == Some(canary.national_number.clone())));
    assert!(table("health/visits.parquet").column("name").any(|name| name == canary.name));
    let entries = Register::ALL.map(|register| {
        WRITTEN.population.entries(register).find(|entry| canary.person_keys.contains(&entry.person_key)).unwrap()
    });
    assert!(entries.iter().all(|entry| entry.faults.is_empty()));
    // End-to-end tests look for one in small populations.
    assert!(Population::new(600, 7).unwrap().canary().is_some());
}

#[test]
fn a_register_is_declared_at_a_rounded_size_that_it_fits_into() {
    for (persons, declared) in
        [(1, 1), (99, 99), (101, 110), (20_000, 20_000), (123_456, 130_000), (1_000_000, 1_000_000)]
    {
        assert_eq!(Population::new(persons, 1).unwrap().declared_register_size(), declared);
    }
}

#[test]
fn a_population_of_nobody_or_of_too_many_is_refused() {
    assert!(Population::new(0, 1).is_err());
    assert!(Population::new(firebreak_population::MOST_PERSONS + 1, 1).is_err());
}
