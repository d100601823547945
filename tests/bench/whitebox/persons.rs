//! Random persons: plain, at the bounds, and hostile.

use super::contracts::{Dataset, Field, Form, Ground, STRATUM, one_of, stratum_code};
use firebreak_domain::Domain;
use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

/// A value as a file holds it.
#[derive(Clone)]
pub enum Value {
    Absent,
    Text(String),
    Whole(i64),
    Real(f64),
    /// Days since 1970.
    Day(i32),
    /// Milliseconds since 1970.
    Instant(i64),
}

/// A person and all rows of theirs in one stratum.
#[derive(Clone)]
pub struct Person {
    pub key: i64,
    /// Those in each dataset, values in the order of its fields.
    pub rows: Vec<Vec<Vec<Value>>>,
}

impl Person {
    /// Their rows in one of the datasets.
    pub fn rows_of(&self, dataset: usize) -> &[Vec<Value>] {
        self.rows.get(dataset).map_or(&[], Vec::as_slice)
    }
}

/// How values are drawn.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Plain,
    AtTheBounds,
    Hostile,
}

const HOSTILE_TEXTS: &[&str] = &[
    "",
    " ",
    "-",
    "99",
    "77",
    "NaN",
    "inf",
    "-inf",
    "1e308",
    "-1e308",
    "1e999",
    "-0",
    "0x10",
    "1,5",
    "null",
    "NULL",
    "99999999999999999999",
    "-9223372036854775808",
    "9223372036854775807",
    "a,b",
    "line\nbreak",
    "\r\n",
    "quo\"te",
    "\"",
    "'; DROP TABLE rows; --",
    "e\u{301}",
    "\u{202e}0",
    "\u{0}",
    "9999-12",
    "0000-00-00",
    "2020-02-30",
    "2020-13",
    "20200101",
    "+12020-01-01",
    "2020-01-01T00:00:00Z",
    "2020-\u{e9}1",
    "t1000000",
];
const HOSTILE_REALS: &[f64] =
    &[f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, 5e-324, -0.0, 0.5, -0.5, 9.3e18, -9.3e18];
const HOSTILE_WHOLES: &[i64] = &[i64::MIN, i64::MIN + 1, i64::MAX, 0, -1, 1 << 53, (1 << 53) + 1, 32_768, 99, 77];
/// Days of the calendar that the file's reader has, which ends a quarter of a million years from here.
const HOSTILE_DAYS: &[i32] = &[i32::MIN, i32::MAX, -90_000_000, 90_000_000, 0, -1, 2_932_897, -719_529];
const HOSTILE_INSTANTS: &[i64] = &[i64::MIN, i64::MAX, -90_000_000 * DAY, 2_932_897 * DAY, 0, -1, DAY - 1];
const DAY: i64 = 86_400_000;

impl Ground {
    /// A person in a stratum, who may have up to three times the rows that a view keeps; of two datasets that are
    /// joined they may be in one alone.
    pub fn person(&self, rng: &mut ChaCha8Rng, stratum: usize, key: i64) -> Person {
        let absent = (self.is_joined() && rng.random_bool(0.1)).then(|| rng.random_range(0..self.datasets.len()));
        let rows = |(place, dataset): (usize, &Dataset)| {
            if absent == Some(place) { Vec::new() } else { dataset.rows(rng, stratum) }
        };
        Person { key, rows: self.datasets.iter().enumerate().map(rows).collect() }
    }
}

impl Dataset {
    fn rows(&self, rng: &mut ChaCha8Rng, stratum: usize) -> Vec<Vec<Value>> {
        let bound = self.contract.contribution.rows_per_person as usize;
        let number = match (self.key, rng.random_range(0..4)) {
            (None, _) => 1,
            (_, 0) => bound,
            (_, 1) => rng.random_range(1..=bound),
            _ => rng.random_range(1..=3 * bound),
        };
        let manner = manner(rng);
        let first = self.row(rng, stratum, manner);
        // Rows that are all alike reach the bounds of sums and counts, rows that are spread over the groups that of
        // persons.
        let alike = rng.random_range(0..3);
        let mut rows = vec![first.clone()];
        while rows.len() < number {
            rows.push(match alike {
                0 => first.clone(),
                1 => self.in_another_group(rng, &first),
                _ => {
                    let manner = self::manner(rng);
                    self.row(rng, stratum, manner)
                }
            });
        }
        rows
    }

    fn row(&self, rng: &mut ChaCha8Rng, stratum: usize, manner: Manner) -> Vec<Value> {
        let mut row = Vec::with_capacity(self.fields.len());
        for field in &self.fields {
            row.push(if field.column.name.as_str() == STRATUM {
                // Rows of nowhere, too; never those of another stratum.
                let astray = rng.random_bool(0.03);
                Value::Text(if astray { "nowhere".to_owned() } else { stratum_code(stratum) })
            } else if rng.random_bool(0.05) {
                Value::Absent
            } else {
                field.value(rng, manner)
            });
        }
        row
    }

    fn in_another_group(&self, rng: &mut ChaCha8Rng, row: &[Value]) -> Vec<Value> {
        let other = |(field, value): (&Field, &Value)| {
            let domain = &field.column.domain;
            let groups = (domain.is_groupable() || domain.is_open()) && field.column.name.as_str() != STRATUM;
            if groups { field.value(rng, Manner::Plain) } else { value.clone() }
        };
        self.fields.iter().zip(row).map(other).collect()
    }
}

/// Codes of which no list is declared.
const OPEN_CODES: &[&str] = &["7", "17", "aa", "B1", "24.1/c", "x_y", "0301", "zzzzzzzzzz"];

/// One that is no longer than that.
pub fn open_code(rng: &mut ChaCha8Rng, length: u8) -> &'static str {
    let short: Vec<&str> = OPEN_CODES.iter().filter(|code| code.len() <= usize::from(length)).copied().collect();
    one_of(rng, &short, "7")
}

fn manner(rng: &mut ChaCha8Rng) -> Manner {
    one_of(
        rng,
        &[Manner::Plain, Manner::Plain, Manner::AtTheBounds, Manner::AtTheBounds, Manner::Hostile],
        Manner::Plain,
    )
}

impl Field {
    fn value(&self, rng: &mut ChaCha8Rng, manner: Manner) -> Value {
        if manner == Manner::Hostile && rng.random_bool(0.7) {
            return self.hostile(rng);
        }
        match &self.column.domain {
            Domain::Integer { min, max } => self.number(rng, (*min, *max, 0), manner),
            Domain::Decimal { min, max, decimals } => self.number(rng, (*min, *max, *decimals), manner),
            Domain::Date { first, last } => {
                let (first, last) = (first.to_epoch_days(), last.to_epoch_days());
                let ends = if manner == Manner::Plain { [first, last] } else { [first - 1, last + 1] };
                self.day(rng.random_range(ends[0]..=ends[1]))
            }
            Domain::Open { length } => {
                let code = open_code(rng, *length);
                self.code(code)
            }
            domain => match domain.codes().choose(rng) {
                Some(code) => self.code(code),
                None => Value::Absent,
            },
        }
    }

    fn number(&self, rng: &mut ChaCha8Rng, (min, max, decimals): (i64, i64, u8), manner: Manner) -> Value {
        let whole = match manner {
            Manner::AtTheBounds => one_of(rng, &[min, max, min.saturating_sub(5), max.saturating_add(5)], min),
            _ => rng.random_range(min..=max),
        };
        let part =
            if manner == Manner::Plain && decimals > 0 { rng.random_range(0..10_i64.pow(decimals.into())) } else { 0 };
        let real = whole as f64 + part as f64 / 10_f64.powi(decimals.into());
        match self.form {
            Form::Whole => Value::Whole(whole),
            Form::Real => Value::Real(real),
            _ => Value::Text(real.to_string()),
        }
    }

    fn code(&self, code: &str) -> Value {
        let day = || {
            let text = format!("{code}-01-01");
            let text = text.get(..10).unwrap_or_default();
            text.parse::<chrono::NaiveDate>().map(|day| day.to_epoch_days())
        };
        match self.form {
            Form::Whole => code.parse().map_or(Value::Absent, Value::Whole),
            Form::Day | Form::Instant => day().map_or(Value::Absent, |day| self.day(day)),
            _ => Value::Text(code.to_owned()),
        }
    }

    fn day(&self, number: i32) -> Value {
        match self.form {
            Form::Day => Value::Day(number),
            Form::Instant => Value::Instant(i64::from(number) * DAY + 1),
            _ => Value::Text(chrono::NaiveDate::from_epoch_days(number).unwrap_or_default().to_string()),
        }
    }

    fn hostile(&self, rng: &mut ChaCha8Rng) -> Value {
        match self.form {
            Form::Text => {
                let text = one_of(rng, HOSTILE_TEXTS, "");
                Value::Text(if rng.random_bool(0.02) { text.repeat(500) } else { text.to_owned() })
            }
            Form::Whole => Value::Whole(one_of(rng, HOSTILE_WHOLES, 0)),
            Form::Real => Value::Real(one_of(rng, HOSTILE_REALS, 0.0)),
            Form::Day => Value::Day(one_of(rng, HOSTILE_DAYS, 0)),
            Form::Instant => Value::Instant(one_of(rng, HOSTILE_INSTANTS, 0)),
        }
    }
}
