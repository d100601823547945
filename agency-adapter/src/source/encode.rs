//! Values of one column as integers of its domain.

use super::SourceError;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use datafusion::arrow::compute::{cast, nullif};
use datafusion::arrow::datatypes::{DataType, Date32Type, Float64Type, Int64Type, TimeUnit};
use firebreak_domain::{Column, ColumnName, Domain, OpenCode};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Stands for a missing value in [`EncodedColumn::values`]; outside every domain.
pub const MISSING: i64 = i64::MIN;

/// What the integers of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoded {
    /// Places in the declared list of codes.
    Code,
    /// Numbers in fixed point, or those of open codes.
    Number,
    /// Days since 1970-01-01.
    Day,
}

/// A column as integers.
pub struct EncodedColumn {
    name: ColumnName,
    encoding: Encoding,
    missing: Vec<String>,
    values: Vec<i64>,
}

enum Encoding {
    Code { places: HashMap<String, i64>, other: i64, length: Option<usize> },
    Number { min: i64, max: i64, scale: f64 },
    Day { first: i64, last: i64 },
    Open { length: u8 },
}

impl EncodedColumn {
    pub(crate) fn new(column: &Column, recodes: Option<&BTreeMap<String, String>>) -> Self {
        let encoding = match &column.domain {
            Domain::Category { .. } | Domain::Month { .. } | Domain::Year { .. } | Domain::LeftOut | Domain::Text => {
                let mut places: HashMap<String, i64> = column.domain.codes().into_iter().zip(0..).collect();
                let other = match &column.domain {
                    Domain::Category { other: Some(other), .. } => places.get(other).copied().unwrap_or(MISSING),
                    _ => MISSING,
                };
                for (from, to) in recodes.into_iter().flatten() {
                    if let Some(place) = places.get(to).copied() {
                        places.insert(from.clone(), place);
                    }
                }
                // Months and years are also read from whole dates, by their first characters.
                let length = match &column.domain {
                    Domain::Month { .. } => Some(7),
                    Domain::Year { .. } => Some(4),
                    _ => None,
                };
                Encoding::Code { places, other, length }
            }
            Domain::Open { length } => Encoding::Open { length: *length },
            Domain::Integer { .. } | Domain::Decimal { .. } => {
                let (min, max, decimals) = column.domain.fixed_point_bounds().unwrap_or_default();
                Encoding::Number { min, max, scale: 10_f64.powi(i32::from(decimals)) }
            }
            Domain::Date { first, last } => Encoding::Day { first: day(*first), last: day(*last) },
        };
        Self { name: column.name.clone(), encoding, missing: column.missing.clone(), values: Vec::new() }
    }

    /// The column's name in the contract.
    #[must_use]
    pub const fn name(&self) -> &ColumnName {
        &self.name
    }

    /// What the integers are.
    #[must_use]
    pub const fn encoded(&self) -> Encoded {
        match self.encoding {
            Encoding::Code { .. } => Encoded::Code,
            Encoding::Number { .. } | Encoding::Open { .. } => Encoded::Number,
            Encoding::Day { .. } => Encoded::Day,
        }
    }

    /// One integer a row; [`MISSING`] where there is none.
    #[must_use]
    pub fn values(&self) -> &[i64] {
        &self.values
    }

    /// Appends values as [`EncodedColumn::values`] gave them.
    pub(crate) fn extend_encoded(&mut self, values: &[i64]) {
        self.values.extend_from_slice(values);
    }

    /// Appends the rows of `array` that `keeps` names.
    pub(crate) fn extend(&mut self, array: &ArrayRef, keeps: &dyn Fn(usize) -> bool) -> Result<(), SourceError> {
        let kept = |row: &usize| keeps(*row);
        let array = &within_calendar(array)?;
        // Text is compared with the contract's codes for missing first, whatever the type.
        let absent = self.absent(array)?;
        let is_absent = |row: usize| absent.as_ref().is_some_and(|a| a.get(row).copied().unwrap_or(true));
        match &self.encoding {
            Encoding::Code { places, other, length } => {
                let texts = cast(array, &DataType::Utf8)?;
                let texts = texts.as_string::<i32>();
                self.values.extend((0..texts.len()).filter(kept).map(|row| {
                    if texts.is_null(row) || is_absent(row) {
                        return MISSING;
                    }
                    let value = texts.value(row).trim();
                    let value = length.and_then(|l| value.get(..l)).unwrap_or(value);
                    places.get(value).copied().unwrap_or(*other)
                }));
            }
            Encoding::Open { length } => {
                let texts = cast(array, &DataType::Utf8)?;
                let texts = texts.as_string::<i32>();
                self.values.extend((0..texts.len()).filter(kept).map(|row| {
                    let code = (!texts.is_null(row) && !is_absent(row)).then(|| texts.value(row).trim());
                    code.and_then(|code| OpenCode::parse(code, *length)).map_or(MISSING, OpenCode::number)
                }));
            }
            Encoding::Number { min, max, scale } => {
                let numbers = cast(array, &DataType::Float64)?;
                let numbers = numbers.as_primitive::<Float64Type>();
                self.values.extend((0..numbers.len()).filter(kept).map(|row| {
                    if numbers.is_null(row) || is_absent(row) || numbers.value(row).is_nan() {
                        return MISSING;
                    }
                    // A cast from float saturates, so that the clamp sees an infinity as the bound.
                    ((numbers.value(row) * scale).round() as i64).clamp(*min, *max)
                }));
            }
            Encoding::Day { first, last } => {
                let days = cast(array, &DataType::Date32)?;
                let days = days.as_primitive::<Date32Type>();
                self.values.extend((0..days.len()).filter(kept).map(|row| {
                    let value = i64::from(days.value(row));
                    let inside = !days.is_null(row) && !is_absent(row) && (*first..=*last).contains(&value);
                    if inside { value } else { MISSING }
                }));
            }
        }
        Ok(())
    }

    fn absent(&self, array: &ArrayRef) -> Result<Option<Vec<bool>>, SourceError> {
        if self.missing.is_empty() {
            return Ok(None);
        }
        let texts = cast(array, &DataType::Utf8)?;
        let listed = |text: Option<&str>| text.is_none_or(|t| self.missing.iter().any(|m| m == t.trim()));
        Ok(Some(texts.as_string::<i32>().iter().map(listed).collect()))
    }
}

/// The array, out of its dictionary if it has one, with days and times outside the years 1 to 9999 missing.
///
/// PRIVACY: a cast of one such value fails for the whole array, and one person's row would keep everybody's from
/// being read.
pub(super) fn within_calendar(array: &ArrayRef) -> Result<ArrayRef, SourceError> {
    const DAY: i64 = 86_400;
    let units_of_a_day = match array.data_type() {
        DataType::Date32 => 1,
        DataType::Date64 | DataType::Timestamp(TimeUnit::Millisecond, _) => DAY * 1_000,
        DataType::Timestamp(TimeUnit::Second, _) => DAY,
        DataType::Timestamp(TimeUnit::Microsecond, _) => DAY * 1_000_000,
        DataType::Dictionary(_, value) => return within_calendar(&cast(array, value)?),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => DAY * 1_000_000_000,
        _ => return Ok(Arc::clone(array)),
    };
    let (first, end) = (-719_162_i64, 2_932_897_i64);
    let numbers = cast(array, &DataType::Int64)?;
    let outside = numbers.as_primitive::<Int64Type>().iter().map(|number| {
        // Within a day of either end it is left out as well: a time zone may shift it.
        Some(number.is_some_and(|n| !(first + 1..end - 1).contains(&n.div_euclid(units_of_a_day))))
    });
    Ok(nullif(array, &outside.collect::<BooleanArray>())?)
}

fn day(date: chrono::NaiveDate) -> i64 {
    i64::from(date.signed_duration_since(chrono::NaiveDate::default()).num_days() as i32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::{
        Date32Array, Date64Array, Float64Array, StringArray, TimestampMicrosecondArray, TimestampMillisecondArray,
        TimestampSecondArray,
    };
    use firebreak_domain::ColumnRole;
    use std::sync::Arc;

    fn encode(domain: Domain, missing: &[&str], recodes: &[(&str, &str)], array: ArrayRef) -> Vec<i64> {
        let column = Column {
            name: ColumnName::new("x").unwrap(),
            label: String::new(),
            definition: String::new(),
            role: ColumnRole::Filter,
            domain,
            missing: missing.iter().map(|m| (*m).to_owned()).collect(),
            special: None,
            retention_days: None,
        };
        let recodes = recodes.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let mut encoded = EncodedColumn::new(&column, Some(&recodes));
        encoded.extend(&array, &|_| true).unwrap();
        encoded.values
    }

    fn texts(values: &[&str]) -> ArrayRef {
        Arc::new(StringArray::from(values.to_vec()))
    }

    #[test]
    fn a_code_outside_the_list_becomes_other_or_missing() {
        let code = |code: &str| firebreak_domain::Code { code: code.into(), label: code.into() };
        let domain = |other| Domain::Category { codes: vec![code("a"), code("b")], other };
        let values = texts(&["a", "9", "z", "-", "b "]);
        let recodes = [("9", "b")];
        assert_eq!(encode(domain(Some("a".into())), &["-"], &recodes, values.clone()), [0, 1, 0, MISSING, 1]);
        assert_eq!(encode(domain(None), &["-"], &recodes, values), [0, 1, MISSING, MISSING, 1]);
    }

    #[test]
    fn an_open_code_is_the_number_of_its_signs_and_what_is_none_is_missing() {
        let number = |code: &str| OpenCode::parse(code, 4).unwrap().number();
        let domain = Domain::Open { length: 4 };
        let values = texts(&["SY", " 0301 ", "SYRIA", "", "a b", "-"]);
        let missing = [number("SY"), number("0301"), MISSING, MISSING, MISSING, MISSING];
        assert_eq!(encode(domain.clone(), &["-"], &[], values), missing);
        let whole: ArrayRef = Arc::new(datafusion::arrow::array::Int64Array::from(vec![Some(301), None, Some(12345)]));
        assert_eq!(encode(domain, &[], &[], whole), [number("301"), MISSING, MISSING]);
    }

    #[test]
    fn a_number_outside_its_bounds_becomes_the_bound() {
        let domain = Domain::Decimal { min: 0, max: 10, decimals: 2 };
        let values = [1.239, -5.0, 1e300, f64::NEG_INFINITY, f64::NAN];
        assert_eq!(
            encode(domain.clone(), &[], &[], Arc::new(Float64Array::from(values.to_vec()))),
            [124, 0, 1000, 0, MISSING]
        );
        assert_eq!(encode(domain, &["99"], &[], texts(&["1.5", "many", "99", ""])), [150, MISSING, MISSING, MISSING]);
    }

    /// Whatever one row says, every other is read as it is.
    #[test]
    fn a_day_beyond_every_calendar_is_missing_and_keeps_no_other_from_being_read() {
        let date = |text: &str| text.parse::<chrono::NaiveDate>().unwrap();
        let good = day(date("2020-02-29"));
        let extremes = [i64::MIN, i64::MAX, -719_163, 2_932_897, 1 << 40, -(1 << 40)];
        let texts = ["-", "x"];
        let domains = [
            (Domain::Date { first: date("2020-01-01"), last: date("2020-12-31") }, good),
            (Domain::Month { first: "2020-01".into(), last: "2020-12".into() }, 1),
            (Domain::Year { first: 2019, last: 2020 }, 1),
        ];
        for (domain, encoded) in domains {
            for missing in [&[][..], &texts[..]] {
                for extreme in extremes {
                    let days = vec![Some(good as i32), Some(extreme.clamp(i32::MIN.into(), i32::MAX.into()) as i32)];
                    let seconds = vec![good * 86_400, extreme];
                    let scaled = |by: i64| vec![good * 86_400 * by, extreme];
                    let arrays: [ArrayRef; 6] = [
                        Arc::new(Date32Array::from(days)),
                        Arc::new(Date64Array::from(scaled(1_000))),
                        Arc::new(TimestampSecondArray::from(seconds)),
                        Arc::new(TimestampMillisecondArray::from(scaled(1_000))),
                        Arc::new(TimestampMicrosecondArray::from(scaled(1_000_000))),
                        Arc::new(TimestampMillisecondArray::from(scaled(1_000)).with_timezone("+02:00")),
                    ];
                    for array in arrays {
                        let what = format!("{:?}, {extreme}", array.data_type());
                        let found = encode(domain.clone(), missing, &[], array);
                        assert_eq!(found[0], encoded, "{what}");
                        assert_eq!(found[1], MISSING, "{what}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_day_outside_its_bounds_becomes_missing_and_months_are_read_from_days() {
        let date = |text: &str| text.parse::<chrono::NaiveDate>().unwrap();
        let domain = Domain::Date { first: date("2020-01-01"), last: date("2020-12-31") };
        let days = Arc::new(Date32Array::from(vec![
            Some(day(date("2020-02-29")) as i32),
            Some(day(date("2021-01-01")) as i32),
            None,
        ]));
        assert_eq!(encode(domain, &[], &[], days.clone()), [day(date("2020-02-29")), MISSING, MISSING]);
        let months = Domain::Month { first: "2020-01".into(), last: "2020-12".into() };
        assert_eq!(encode(months, &[], &[], days), [1, MISSING, MISSING]);
    }
}
