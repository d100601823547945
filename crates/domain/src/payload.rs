//! What of a matched person's row goes from the sender of a match to its receiver, and how it is written: in as many
//! bytes whatever it holds.

use crate::{Column, ColumnName, ColumnRole, Contract, Domain, OpenCode};
use chrono::{Duration, NaiveDate};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The payload of a match: columns of the sender's that the receiver gets of matched persons, and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PayloadTerms {
    /// Columns of the sender's dataset, in the order in which the receiver gets them.
    pub columns: Vec<ColumnName>,
    /// Days after the match at which the receiver's adapter deletes what it got.
    pub retention_days: u32,
}

/// How the row of a payload is written. Every row of one layout has as many bytes, also the one that holds nothing.
///
/// A row is a byte, 1 where it holds a person's values and 0 where nothing is disclosed, then each column's value in as
/// many bytes as its domain needs, big-endian: 0 for a missing one, else its place in the domain, from 1 on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadLayout {
    columns: Vec<PayloadColumn>,
    bytes: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct PayloadColumn {
    name: ColumnName,
    domain: Domain,
    /// The declared values of a domain that lists them.
    codes: Vec<String>,
    /// The least integer that stands for a value.
    least: i64,
    /// How many values there are.
    values: u64,
    bytes: usize,
}

/// What a receiver reads of a payload's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PayloadRow {
    /// Nothing is disclosed.
    Empty,
    /// A person's values, in the order of the columns; `None` for a missing one.
    Values(Vec<Option<i64>>),
}

/// Columns that make no payload. Names what stands in an agreement and a contract.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// None, or more than [`PayloadLayout::MOST_COLUMNS`].
    #[error("a payload has 1 to {} columns", PayloadLayout::MOST_COLUMNS)]
    Columns,
    /// One named twice.
    #[error("column {0} stands twice in the payload")]
    Repeated(ColumnName),
    /// The contract has no such column.
    #[error("the contract of the sender's dataset has no column {0}")]
    Unknown(ColumnName),
    /// A key, an identifier, something withheld or a special kind that never leaves.
    #[error("column {0} names persons, is withheld, or is biometric or genetic: it is in no payload")]
    Withheld(ColumnName),
    /// No row of a file holds it, or nothing bounds it.
    #[error("column {0} has no bounded values in the file: a payload takes codes, months, years, numbers and days")]
    Unbounded(ColumnName),
}

impl PayloadLayout {
    /// The number of the form in which rows are written.
    pub const FORMAT: u32 = 1;
    /// The most columns of a payload: a row has 513 bytes at most.
    pub const MOST_COLUMNS: usize = 64;

    /// The layout of those columns of a contract.
    ///
    /// # Errors
    /// The first [`PayloadError`] found.
    pub fn of(contract: &Contract, columns: &[ColumnName]) -> Result<Self, PayloadError> {
        if columns.is_empty() || columns.len() > Self::MOST_COLUMNS {
            return Err(PayloadError::Columns);
        }
        let mut seen = BTreeSet::new();
        let laid_out = columns.iter().map(|name| {
            if !seen.insert(name) {
                return Err(PayloadError::Repeated(name.clone()));
            }
            let column = contract.column(name.as_str()).ok_or_else(|| PayloadError::Unknown(name.clone()))?;
            PayloadColumn::of(column)
        });
        let columns = laid_out.collect::<Result<Vec<_>, _>>()?;
        let bytes = columns.iter().fold(1_usize, |sum, column| sum.saturating_add(column.bytes));
        Ok(Self { columns, bytes })
    }

    /// The columns, in their order.
    pub fn columns(&self) -> impl Iterator<Item = &ColumnName> {
        self.columns.iter().map(|column| &column.name)
    }

    /// Bytes of every row.
    #[must_use]
    pub const fn row_bytes(&self) -> usize {
        self.bytes
    }

    /// What the bytes of a row stand for, as text: two layouts that read one row in two ways differ in it.
    #[must_use]
    pub fn meaning(&self) -> String {
        let mut meaning = String::new();
        for column in &self.columns {
            let kind = match &column.domain {
                Domain::Integer { .. } => "integer".to_owned(),
                Domain::Decimal { decimals, .. } => format!("decimal {decimals}"),
                Domain::Date { .. } => "date".to_owned(),
                Domain::Open { length } => format!("open {length}"),
                _ => "codes".to_owned(),
            };
            meaning += &format!("{} {kind} {} {}\n", column.name, column.least, column.values);
            for code in &column.codes {
                meaning += &format!("{} {code}\n", code.len());
            }
        }
        meaning
    }

    /// The row that holds nothing.
    #[must_use]
    pub fn empty(&self) -> Vec<u8> {
        vec![0; self.bytes]
    }

    /// A person's row of one value for each column. A value outside of its domain, which no adapter reads, is missing.
    #[must_use]
    pub fn encode(&self, values: impl IntoIterator<Item = Option<i64>>) -> Vec<u8> {
        let mut row = Vec::with_capacity(self.bytes);
        row.push(1);
        let values = values.into_iter().chain(std::iter::repeat(None));
        for (column, value) in self.columns.iter().zip(values) {
            let place = value.and_then(|value| column.place(value)).unwrap_or(0).to_be_bytes();
            row.extend(place.iter().skip(place.len().saturating_sub(column.bytes)));
        }
        row
    }

    /// Reads a row; `None` for bytes that are none of this layout.
    #[must_use]
    pub fn decode(&self, row: &[u8]) -> Option<PayloadRow> {
        let (first, mut rest) = row.split_first().filter(|_| row.len() == self.bytes)?;
        if *first == 0 {
            return rest.iter().all(|byte| *byte == 0).then_some(PayloadRow::Empty);
        }
        let mut values = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            let (bytes, behind) = rest.split_at_checked(column.bytes)?;
            let place = bytes.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
            values.push(if place == 0 { None } else { Some(column.value(place)?) });
            rest = behind;
        }
        (*first == 1).then_some(PayloadRow::Values(values))
    }

    /// Values as they stand in answers: codes, months, years, numbers with their decimals, days as YYYY-MM-DD; a missing
    /// one is empty.
    #[must_use]
    pub fn texts(&self, values: &[Option<i64>]) -> Vec<String> {
        let values = values.iter().copied().chain(std::iter::repeat(None));
        let text = |(column, value): (&PayloadColumn, Option<i64>)| {
            value.and_then(|value| column.text(value)).unwrap_or_default()
        };
        self.columns.iter().zip(values).map(text).collect()
    }
}

impl PayloadColumn {
    fn of(column: &Column) -> Result<Self, PayloadError> {
        let forbidden = column.special.is_some_and(crate::SpecialKind::is_forbidden);
        let readable = matches!(column.role, ColumnRole::Category | ColumnRole::Measure | ColumnRole::Filter);
        if forbidden || !readable {
            return Err(PayloadError::Withheld(column.name.clone()));
        }
        let unbounded = || PayloadError::Unbounded(column.name.clone());
        let codes = column.domain.codes();
        let (least, most) = match &column.domain {
            Domain::Category { .. } | Domain::Month { .. } | Domain::Year { .. } => {
                (0, i64::try_from(codes.len()).map_err(|_| unbounded())?.saturating_sub(1))
            }
            Domain::Integer { .. } | Domain::Decimal { .. } => {
                column.domain.fixed_point_bounds().map(|(min, max, _)| (min, max)).ok_or_else(unbounded)?
            }
            Domain::Date { first, last } => (day_number(*first), day_number(*last)),
            // Every open code is a number below 2⁶³.
            Domain::Open { .. } => (0, i64::MAX - 1),
            Domain::LeftOut | Domain::Text => return Err(unbounded()),
        };
        let values = most.checked_sub(least).and_then(|span| u64::try_from(span).ok()).ok_or_else(unbounded)?;
        let values = values.saturating_add(1);
        let bits = u64::BITS.saturating_sub(values.leading_zeros());
        Ok(Self {
            name: column.name.clone(),
            domain: column.domain.clone(),
            codes,
            least,
            values,
            bytes: bits.div_ceil(8) as usize,
        })
    }

    /// The place of a value, from 1 on; `None` outside of the domain.
    fn place(&self, value: i64) -> Option<u64> {
        let above = u64::try_from(value.checked_sub(self.least)?).ok()?;
        (above < self.values && self.is_value(value)).then(|| above.saturating_add(1))
    }

    fn value(&self, place: u64) -> Option<i64> {
        let above = place.checked_sub(1).filter(|above| *above < self.values)?;
        self.least.checked_add(i64::try_from(above).ok()?).filter(|value| self.is_value(*value))
    }

    /// Whether a number within the bounds stands for a value: of open codes, most stand for none, or for one that is
    /// longer than the contract says.
    fn is_value(&self, value: i64) -> bool {
        match self.domain {
            Domain::Open { length } => {
                OpenCode::of(value).is_some_and(|code| code.to_string().len() <= usize::from(length))
            }
            _ => true,
        }
    }

    fn text(&self, value: i64) -> Option<String> {
        match &self.domain {
            Domain::Integer { .. } => Some(value.to_string()),
            Domain::Decimal { decimals, .. } => Some(decimal(value, *decimals)),
            Domain::Date { .. } => {
                let day = NaiveDate::default().checked_add_signed(Duration::try_days(value)?)?;
                Some(day.format("%Y-%m-%d").to_string())
            }
            Domain::Open { .. } => OpenCode::of(value).map(|code| code.to_string()),
            _ => self.codes.get(usize::try_from(value).ok()?).cloned(),
        }
    }
}

fn day_number(date: NaiveDate) -> i64 {
    date.signed_duration_since(NaiveDate::default()).num_days()
}

/// A number in fixed point with all of its decimals.
fn decimal(value: i64, decimals: u8) -> String {
    if decimals == 0 {
        return value.to_string();
    }
    let scale = 10_u64.saturating_pow(u32::from(decimals));
    let (whole, part) = (value.unsigned_abs() / scale, value.unsigned_abs() % scale);
    let sign = if value < 0 { "-" } else { "" };
    format!("{sign}{whole}.{part:0width$}", width = usize::from(decimals))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contract() -> Contract {
        let text = include_str!("../../../deploy/sample/bundle/contracts/health.visits.toml");
        toml::from_str(text).unwrap()
    }

    fn names(names: &[&str]) -> Vec<ColumnName> {
        names.iter().map(|name| ColumnName::new(*name).unwrap()).collect()
    }

    fn layout(columns: &[&str]) -> Result<PayloadLayout, PayloadError> {
        PayloadLayout::of(&contract(), &names(columns))
    }

    #[test]
    fn rows_have_one_length_and_are_read_as_they_were_written() {
        let layout = layout(&["region", "visit_date", "visit_year", "cost"]).unwrap();
        let day = day_number(NaiveDate::from_ymd_opt(2024, 2, 29).unwrap());
        for values in [
            vec![Some(0), Some(day), Some(1), Some(12_345)],
            vec![Some(16), None, None, Some(0)],
            vec![None, None, None, None],
        ] {
            let row = layout.encode(values.iter().copied());
            assert_eq!(row.len(), layout.row_bytes());
            assert_eq!(layout.decode(&row), Some(PayloadRow::Values(values)));
        }
        assert_eq!(layout.decode(&layout.empty()), Some(PayloadRow::Empty));
        // A byte for the row, one for 17 regions, two for days of some years, one for years, three for cents up to
        // 5,000.
        assert_eq!(layout.row_bytes(), 1 + 1 + 2 + 1 + 3);
        let texts = layout.texts(&[Some(0), Some(day), Some(1), Some(12_345)]);
        assert_eq!(texts.first().map(String::as_str), Some("R01"));
        assert_eq!(texts.get(1).map(String::as_str), Some("2024-02-29"));
        assert_eq!(texts.get(3).map(String::as_str), Some("123.45"));
        assert_eq!(layout.texts(&[]), ["", "", "", ""]);
    }

    #[test]
    fn layouts_that_read_a_row_in_two_ways_do_not_mean_the_same() {
        let columns = names(&["region", "visit_date", "cost"]);
        let of = |change: &dyn Fn(&mut Domain)| {
            let mut contract = contract();
            contract.columns.iter_mut().for_each(|column| change(&mut column.domain));
            PayloadLayout::of(&contract, &columns).unwrap()
        };
        let now = of(&|_| {});
        let later = of(&|domain| {
            if let Domain::Date { first, .. } = domain {
                *first = first.succ_opt().unwrap();
            }
        });
        let turned = of(&|domain| {
            if let Domain::Category { codes, .. } = domain {
                codes.reverse();
            }
        });
        for other in [later, turned] {
            assert_eq!(other.row_bytes(), now.row_bytes());
            assert_ne!(other.meaning(), now.meaning());
        }
        assert_eq!(of(&|_| {}).meaning(), now.meaning());
    }

    #[test]
    fn bytes_that_are_no_row_are_none() {
        let layout = layout(&["region"]).unwrap();
        for wrong in [&[][..], &[1], &[1, 0, 0], &[2, 1], &[0, 1], &[1, 18], &[1, 255]] {
            assert_eq!(layout.decode(wrong), None, "{wrong:?}");
        }
        assert_eq!(layout.decode(&[1, 17]), Some(PayloadRow::Values(vec![Some(16)])));
        assert_eq!(layout.encode([Some(17)]), [1, 0], "outside of the domain");
        assert_eq!(layout.encode([Some(-1)]), [1, 0]);
    }

    #[test]
    fn what_names_a_person_is_withheld_or_unbounded_is_in_no_payload() {
        for name in ["person_key", "national_number", "name", "fingerprint"] {
            assert_eq!(layout(&[name]), Err(PayloadError::Withheld(ColumnName::new(name).unwrap())), "{name}");
        }
        assert!(matches!(layout(&["left_out"]), Err(PayloadError::Unbounded(_))));
        assert!(matches!(layout(&["no_such"]), Err(PayloadError::Unknown(_))));
        assert!(matches!(layout(&["region", "region"]), Err(PayloadError::Repeated(_))));
        assert_eq!(layout(&[]), Err(PayloadError::Columns));
        // Whatever role a column is given: a kind that never leaves is in none.
        let mut contract = contract();
        contract.columns.iter_mut().filter(|c| c.name.as_str() == "region").for_each(|column| {
            column.special = Some(crate::SpecialKind::Genetic);
        });
        assert!(matches!(PayloadLayout::of(&contract, &names(&["region"])), Err(PayloadError::Withheld(_))));
    }

    #[test]
    fn open_codes_and_numbers_below_zero_come_back() {
        let mut contract = contract();
        for column in &mut contract.columns {
            match column.name.as_str() {
                "region" => column.domain = Domain::Open { length: 10 },
                "cost" => column.domain = Domain::Decimal { min: -10, max: 10, decimals: 2 },
                _ => {}
            }
        }
        let layout = PayloadLayout::of(&contract, &names(&["region", "cost"])).unwrap();
        let code = OpenCode::parse("zzzzzzzzzz", 10).unwrap().number();
        for (code, cost, texts) in [(code, -5, ["zzzzzzzzzz", "-0.05"]), (code, 1000, ["zzzzzzzzzz", "10.00"])] {
            let values = vec![Some(code), Some(cost)];
            let row = layout.encode(values.clone());
            assert_eq!(layout.decode(&row), Some(PayloadRow::Values(values.clone())));
            assert_eq!(layout.texts(&values), texts);
        }
    }

    #[test]
    fn a_number_that_stands_for_no_open_code_or_for_too_long_a_one_is_no_value() {
        let mut contract = contract();
        contract.columns.iter_mut().filter(|c| c.name.as_str() == "region").for_each(|column| {
            column.domain = Domain::Open { length: 3 };
        });
        let layout = PayloadLayout::of(&contract, &names(&["region"])).unwrap();
        let number = |code| OpenCode::parse(code, 10).unwrap().number();
        // The place of a number is one above it.
        let row = |number: i64| [&[1], (number + 1).to_be_bytes().as_slice()].concat();
        assert_eq!(layout.decode(&row(number("abc"))), Some(PayloadRow::Values(vec![Some(number("abc"))])));
        for wrong in [number("abcd"), number("abc") + 1, 0, i64::MAX - 1] {
            assert_eq!(layout.decode(&row(wrong)), None, "{wrong}");
            assert_eq!(layout.encode([Some(wrong)]), layout.encode([None]), "{wrong}");
        }
    }
}
