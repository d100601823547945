//! Random contracts, and the forms that their columns have in a file.

use anyhow::{Context, Result};
use chrono::NaiveDate;
use firebreak_domain::{
    Binding, Code, Column, ColumnName, ColumnRole, Contract, Contribution, CutFile, CutId, Domain, Rho, UnitSpace,
};
use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

/// The column by which the tables of one file are kept apart.
pub const STRATUM: &str = "stratum";
/// A column of open codes.
pub const OPEN: &str = "open";
/// The column of the person.
pub const UNIT: &str = "person";

/// How a file holds a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Text, as all of a CSV file is.
    Text,
    /// 64-bit integers.
    Whole,
    /// Doubles.
    Real,
    /// Days.
    Day,
    /// Milliseconds since 1970.
    Instant,
}

/// A column of the contract that a question may read, and of the file.
pub struct Field {
    pub column: Column,
    pub name: String,
    pub form: Form,
}

/// A contract, its binding, and what the file behind both is like.
pub struct Dataset {
    pub contract: Contract,
    pub binding: Binding,
    /// Of the first dataset the stratum first.
    pub fields: Vec<Field>,
    /// `None` where every row is a person.
    pub key: Option<Form>,
    pub csv: bool,
}

/// What is asked: a dataset, or two of one register that are joined on the person.
pub struct Ground {
    /// In the order of their ids. The first has the strata.
    pub datasets: Vec<Dataset>,
    /// The columns that a question may read beside the stratum, by their names in a question.
    pub columns: Vec<Column>,
}

/// The ids of datasets, in their order.
const IDS: [&str; 2] = ["audit.rows", "audit.visits"];

pub fn one_of<T: Copy>(rng: &mut ChaCha8Rng, options: &[T], otherwise: T) -> T {
    options.choose(rng).copied().unwrap_or(otherwise)
}

impl Ground {
    /// A random one, with so many strata.
    pub fn random(rng: &mut ChaCha8Rng, strata: usize, joined: bool) -> Result<Self> {
        let number = if joined { 2 } else { 1 };
        let row_is_person = !joined && rng.random_bool(0.1);
        let files: Vec<FileOf> = (0..number)
            .map(|place| {
                let strata = if place == 0 { Some(strata) } else { None };
                FileOf::random(rng, strata, row_is_person)
            })
            .collect::<Result<_>>()?;
        // Of a person of a join there are as many rows as the product says.
        let most = if joined { 4 } else { 6 };
        let rows: Vec<u32> = files.iter().map(|_| rng.random_range(1..=most)).collect();
        let register_size = register(rows.iter().product(), files.iter().flat_map(|file| &file.fields));
        let mut datasets = Vec::with_capacity(number);
        for ((FileOf { fields, key, csv }, id), rows) in files.into_iter().zip(IDS).zip(rows) {
            let contract = contract(id, register_size, rows, &fields, rng.random_bool(0.5))?;
            let binding = binding(rng, &contract, &fields, csv, row_is_person)?;
            datasets.push(Dataset { contract, binding, fields, key, csv });
        }
        let mut columns = Vec::new();
        for dataset in &datasets {
            let of_fields = dataset.fields.iter().map(|field| &field.column);
            let of_fields = of_fields.filter(|column| column.name.as_str() != STRATUM);
            for column in of_fields.chain(dataset.contract.left_out()) {
                columns
                    .push(Column { name: named(joined, &dataset.contract, column.name.as_str())?, ..column.clone() });
            }
        }
        Ok(Self { datasets, columns })
    }

    /// The name of a column of the first dataset in a question.
    pub fn of_the_first(&self, column: &str) -> Result<ColumnName> {
        let first = self.datasets.first().context("no dataset")?;
        named(self.is_joined(), &first.contract, column)
    }

    pub fn is_joined(&self) -> bool {
        self.datasets.len() > 1
    }
}

/// In a join columns stand behind their dataset's id.
fn named(joined: bool, contract: &Contract, column: &str) -> Result<ColumnName> {
    Ok(ColumnName::new(if joined { format!("{}.{column}", contract.id) } else { column.to_owned() })?)
}

/// What a file is like.
struct FileOf {
    fields: Vec<Field>,
    key: Option<Form>,
    csv: bool,
}

impl FileOf {
    /// A random one, with a column of so many strata if it has one.
    fn random(rng: &mut ChaCha8Rng, strata: Option<usize>, row_is_person: bool) -> Result<Self> {
        let csv = rng.random_bool(0.3);
        let mut domains = Vec::new();
        if let Some(strata) = strata {
            domains.push((STRATUM.to_owned(), ColumnRole::Category, stratum(strata)));
        }
        for number in 0..rng.random_range(1..=3) {
            domains.push((format!("group_{number}"), ColumnRole::Category, groupable(rng)));
        }
        if rng.random_bool(0.5) {
            let length = rng.random_range(2..=10);
            domains.push((OPEN.to_owned(), ColumnRole::Category, Domain::Open { length }));
        }
        for number in 0..rng.random_range(1..=3) {
            domains.push((format!("measure_{number}"), ColumnRole::Measure, measurable(rng)));
        }
        if rng.random_bool(0.7) {
            let domain = match rng.random_range(0..3) {
                0 => measurable(rng),
                1 => groupable(rng),
                _ => days(rng),
            };
            domains.push(("filter_0".to_owned(), ColumnRole::Filter, domain));
        }
        let mut fields = Vec::new();
        for (name, role, domain) in domains {
            let plain = name == STRATUM;
            let form = if csv || plain { Form::Text } else { one_of(rng, forms(&domain), Form::Text) };
            let name_in_file = if rng.random_bool(0.5) { name.clone() } else { format!("File.{name} \u{e9}") };
            let missing = if plain || rng.random_bool(0.5) { &[][..] } else { &["-", "99"] };
            fields.push(Field { column: column(&name, role, domain, missing)?, name: name_in_file, form });
        }
        let key = (!row_is_person).then(|| if csv || rng.random_bool(0.7) { Form::Text } else { Form::Whole });
        Ok(Self { fields, key, csv })
    }
}

/// As large a register as the contract's own check allows where a person has so many rows, up to a million.
fn register<'a>(rows_per_person: u32, fields: impl Iterator<Item = &'a Field>) -> u64 {
    let bounds = fields.filter_map(|field| field.column.domain.fixed_point_bounds());
    let largest = bounds.map(|(min, max, _)| min.unsigned_abs().max(max.unsigned_abs())).max().unwrap_or(0).max(1);
    (((1_u64 << 62) - 1) / largest / (4 * u64::from(rows_per_person))).clamp(1, 1_000_000)
}

/// `left_out`: whether it has a column that says which rows stand for others.
fn contract(id: &str, register_size: u64, rows_per_person: u32, fields: &[Field], left_out: bool) -> Result<Contract> {
    let marks = if left_out { Some(column("left_out", ColumnRole::Category, Domain::LeftOut, &[])?) } else { None };
    let unit = column(UNIT, ColumnRole::PrivacyUnit, Domain::Text, &["-"])?;
    let contract = Contract {
        format: 1,
        id: id.parse()?,
        title: String::new(),
        description: String::new(),
        controller: String::new(),
        agency: "audit".parse()?,
        population: String::new(),
        unit_space: UnitSpace {
            id: "audit.persons".parse()?,
            register_size,
            rho_per_year: Rho::from_nano(1),
            rho_for_life: Rho::from_nano(1),
        },
        contribution: Contribution { rows_per_person },
        cuts: vec![CutId::new("2024")?],
        part_of: None,
        columns: std::iter::once(unit).chain(fields.iter().map(|field| field.column.clone())).chain(marks).collect(),
    };
    contract.check()?;
    Ok(contract)
}

fn binding(rng: &mut ChaCha8Rng, contract: &Contract, fields: &[Field], csv: bool, alone: bool) -> Result<Binding> {
    let mut recodes = BTreeMap::new();
    for field in fields.iter().filter(|field| field.column.name.as_str() != STRATUM) {
        let codes = field.column.domain.codes();
        if let (Some(code), true) = (codes.choose(rng), rng.random_bool(0.3)) {
            recodes.insert(field.column.name.clone(), BTreeMap::from([("77".to_owned(), code.clone())]));
        }
    }
    Ok(Binding {
        format: 1,
        dataset: contract.id.clone(),
        cuts: vec![CutFile {
            id: CutId::new("2024")?,
            file: format!("{}.{}", contract.id, if csv { "csv" } else { "parquet" }).into(),
        }],
        columns: fields.iter().map(|field| (field.column.name.clone(), field.name.clone())).collect(),
        recodes,
        row_is_person: alone,
    })
}

fn column(name: &str, role: ColumnRole, domain: Domain, missing: &[&str]) -> Result<Column> {
    Ok(Column {
        name: ColumnName::new(name)?,
        label: String::new(),
        definition: String::new(),
        role,
        domain,
        missing: missing.iter().map(|text| (*text).to_owned()).collect(),
        special: None,
        retention_days: None,
    })
}

fn codes(names: impl Iterator<Item = String>) -> Vec<Code> {
    names.map(|code| Code { label: code.clone(), code }).collect()
}

/// The code of a stratum.
pub fn stratum_code(number: usize) -> String {
    format!("t{number}")
}

fn stratum(strata: usize) -> Domain {
    Domain::Category { codes: codes((0..strata).map(stratum_code)), other: None }
}

fn groupable(rng: &mut ChaCha8Rng) -> Domain {
    match rng.random_range(0..4) {
        0 => {
            let first = rng.random_range(1000..2100);
            Domain::Year { first, last: first + rng.random_range(0..6) }
        }
        1 => {
            let (first, last) = (rng.random_range(1..=6), rng.random_range(6..=12));
            Domain::Month { first: format!("2020-{first:02}"), last: format!("2020-{last:02}") }
        }
        _ => {
            let number = rng.random_range(1..=5);
            let other = rng.random_bool(0.4).then(|| rng.random_range(0..number).to_string());
            Domain::Category { codes: codes((0..number).map(|code| code.to_string())), other }
        }
    }
}

fn measurable(rng: &mut ChaCha8Rng) -> Domain {
    if rng.random_bool(0.5) {
        let (min, max) = bounds(rng, 1 << 40);
        Domain::Integer { min, max }
    } else {
        let (min, max) = bounds(rng, 1 << 30);
        Domain::Decimal { min, max, decimals: rng.random_range(0..=6) }
    }
}

/// Small, large, on one side of zero, on both, or one number alone.
fn bounds(rng: &mut ChaCha8Rng, most: i64) -> (i64, i64) {
    let (near, far) = (rng.random_range(1..100), rng.random_range(100..10_000));
    match rng.random_range(0..9) {
        0 => (0, near),
        1 => (-near, near),
        2 => (-far, near),
        3 => (near, far),
        4 => (-far, -near),
        5 => (-most, most),
        6 => (most - near, most),
        7 => (-most, 0),
        _ => {
            let only = rng.random_range(-2..=2);
            (only, only)
        }
    }
}

fn days(rng: &mut ChaCha8Rng) -> Domain {
    let day = |number: i32| NaiveDate::from_epoch_days(number).unwrap_or_default();
    let first = rng.random_range(-30_000..20_000);
    Domain::Date { first: day(first), last: day(first + rng.random_range(0..500)) }
}

/// The forms in which a file may hold a domain.
const fn forms(domain: &Domain) -> &'static [Form] {
    match domain {
        Domain::Category { .. } | Domain::Open { .. } => &[Form::Text, Form::Whole],
        Domain::Month { .. } | Domain::Date { .. } => &[Form::Text, Form::Day, Form::Instant],
        Domain::Year { .. } => &[Form::Text, Form::Whole, Form::Day, Form::Instant],
        Domain::Integer { .. } | Domain::Decimal { .. } => &[Form::Text, Form::Whole, Form::Real],
        Domain::Text | Domain::LeftOut => &[Form::Text],
    }
}
