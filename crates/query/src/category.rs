//! By what an answer is split: declared categories, and those that follow from columns by a public rule.

use crate::{BoundNumber, BoundPredicate, BoundValue, Decimal, Predicate, RowValue};
use chrono::{Datelike, NaiveDate};
use firebreak_domain::{ColumnName, Domain};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// One heading by which an answer is split.
#[derive(Clone, PartialEq, Eq)]
pub struct Group {
    /// Its heading: 1 to 128 characters, none of them a control character; of a column, the column's name.
    pub name: String,
    /// What puts a row into one of its groups.
    pub category: Category,
}

/// What puts a row into one of finitely many groups, all known from the question and the contract alone.
///
/// Each row is in at most one of them, so that groups never overlap, whatever the data.
#[derive(Clone, PartialEq, Eq)]
pub enum Category {
    /// A declared category; or a column of open codes, whose groups alone are not known before.
    Column(ColumnName),
    /// `WIDTH_BUCKET(value, low, high, buckets)`: 1 to `buckets` for the parts of one width from `low` to below `high`,
    /// 0 below them, `buckets + 1` from `high` on; a missing value is in none.
    Bucket {
        /// The value.
        value: RowValue,
        /// The lower end, included.
        low: Decimal,
        /// The upper end, excluded.
        high: Decimal,
        /// How many parts.
        buckets: u32,
    },
    /// `EXTRACT(part FROM column)` or `DATE_TRUNC('part', column)`, of a day or a month.
    Date {
        /// Which part.
        part: DatePart,
        /// The column.
        column: ColumnName,
    },
    /// `CASE WHEN condition THEN 'label' .. END`: the label of the first condition that holds, else that after ELSE;
    /// without one, a row for which none holds is in no group.
    Case {
        /// The conditions and their labels, in order; at least one.
        branches: Vec<(Predicate, String)>,
        /// The label after ELSE.
        otherwise: Option<String>,
    },
}

/// A part of a day or of a month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DatePart {
    /// The year: `2024`.
    Year,
    /// The quarter of some year: `2024-Q3`.
    Quarter,
    /// The month of some year: `2024-07`.
    Month,
    /// The week of some year (ISO 8601, of Monday to Sunday; 53 in some years): `2024-W29`.
    Week,
    /// The quarter whatever the year: 1 to 4.
    QuarterOfYear,
    /// The month whatever the year: 1 to 12.
    MonthOfYear,
    /// The week whatever the year (ISO 8601): 1 to 53.
    WeekOfYear,
    /// The day of the week (ISO 8601): 1 for Monday to 7.
    DayOfWeek,
    /// The day of the month: 1 to 31.
    DayOfMonth,
    /// The day of the year: 1 to 366.
    DayOfYear,
}

impl DatePart {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Year,
        Self::Quarter,
        Self::Month,
        Self::Week,
        Self::QuarterOfYear,
        Self::MonthOfYear,
        Self::WeekOfYear,
        Self::DayOfWeek,
        Self::DayOfMonth,
        Self::DayOfYear,
    ];

    /// The part of that name in `EXTRACT`, in lower case.
    #[must_use]
    pub fn of_field(word: &str) -> Option<Self> {
        match word {
            "year" => Some(Self::Year),
            "quarter" => Some(Self::QuarterOfYear),
            "month" => Some(Self::MonthOfYear),
            "week" => Some(Self::WeekOfYear),
            "isodow" => Some(Self::DayOfWeek),
            "day" => Some(Self::DayOfMonth),
            "doy" => Some(Self::DayOfYear),
            _ => None,
        }
    }

    /// The part of that name in `DATE_TRUNC`, in lower case.
    #[must_use]
    pub fn of_unit(word: &str) -> Option<Self> {
        match word {
            "year" => Some(Self::Year),
            "quarter" => Some(Self::Quarter),
            "month" => Some(Self::Month),
            "week" => Some(Self::Week),
            _ => None,
        }
    }

    /// Its word in the canonical form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Year => "year",
            Self::Quarter => "quarter",
            Self::Month => "month",
            Self::Week => "week",
            Self::QuarterOfYear => "quarter_of_year",
            Self::MonthOfYear => "month_of_year",
            Self::WeekOfYear => "week_of_year",
            Self::DayOfWeek => "day_of_week",
            Self::DayOfMonth => "day_of_month",
            Self::DayOfYear => "day_of_year",
        }
    }

    /// In SQL, of a column.
    pub(crate) fn to_sql(self, column: &str) -> String {
        match self {
            Self::Year => format!("EXTRACT(YEAR FROM {column})"),
            Self::QuarterOfYear => format!("EXTRACT(QUARTER FROM {column})"),
            Self::MonthOfYear => format!("EXTRACT(MONTH FROM {column})"),
            Self::WeekOfYear => format!("EXTRACT(WEEK FROM {column})"),
            Self::DayOfWeek => format!("EXTRACT(ISODOW FROM {column})"),
            Self::DayOfMonth => format!("EXTRACT(DAY FROM {column})"),
            Self::DayOfYear => format!("EXTRACT(DOY FROM {column})"),
            Self::Quarter => format!("DATE_TRUNC('quarter', {column})"),
            Self::Month => format!("DATE_TRUNC('month', {column})"),
            Self::Week => format!("DATE_TRUNC('week', {column})"),
        }
    }

    /// Whether its groups follow each other in time.
    pub(crate) const fn is_period(self) -> bool {
        matches!(self, Self::Year | Self::Quarter | Self::Month | Self::Week)
    }

    /// Whether it can be told of a month, whose day is not known.
    const fn is_of_months(self) -> bool {
        !matches!(self, Self::Week | Self::WeekOfYear | Self::DayOfWeek | Self::DayOfMonth | Self::DayOfYear)
    }

    /// Which group a day is in, as a number that grows with time; of a part whatever the year, the part itself.
    fn number(self, day: NaiveDate) -> i32 {
        let quarter = day.month0().div_euclid(3) as i32;
        let week = day.iso_week();
        match self {
            Self::Year => day.year(),
            Self::Quarter => day.year() * 4 + quarter,
            Self::Month => day.year() * 12 + day.month0() as i32,
            Self::Week => week.year() * 100 + week.week() as i32,
            Self::QuarterOfYear => quarter + 1,
            Self::MonthOfYear => day.month() as i32,
            Self::WeekOfYear => week.week() as i32,
            Self::DayOfWeek => day.weekday().number_from_monday() as i32,
            Self::DayOfMonth => day.day() as i32,
            Self::DayOfYear => day.ordinal() as i32,
        }
    }

    fn label(self, number: i32) -> String {
        match self {
            Self::Quarter => format!("{:04}-Q{}", number.div_euclid(4), number.rem_euclid(4) + 1),
            Self::Month => format!("{:04}-{:02}", number.div_euclid(12), number.rem_euclid(12) + 1),
            Self::Week => format!("{:04}-W{:02}", number.div_euclid(100), number.rem_euclid(100)),
            _ => number.to_string(),
        }
    }

    /// The groups that the values of a domain fall into, and for each value in order the group that it is in. `None`
    /// of a domain that has no such part.
    pub(crate) fn table(self, domain: &Domain) -> Option<DateTable> {
        let (first, days): (i64, Vec<NaiveDate>) = match domain {
            Domain::Date { first, last } if last.signed_duration_since(*first).num_days() < MAX_DAYS => {
                (i64::from(first.to_epoch_days()), first.iter_days().take_while(|day| day <= last).collect())
            }
            Domain::Month { .. } if self.is_of_months() => {
                let day = |month: &String| crate::parse::day(&format!("{month}-01"));
                (0, domain.codes().iter().map(day).collect::<Option<_>>()?)
            }
            _ => return None,
        };
        let numbers: Vec<i32> = days.into_iter().map(|day| self.number(day)).collect();
        let groups: BTreeSet<i32> = match self {
            // Declared in full, so that no answer's shape tells how far the calendar goes within a year.
            Self::QuarterOfYear => (1..=4).collect(),
            Self::MonthOfYear => (1..=12).collect(),
            Self::WeekOfYear => (1..=53).collect(),
            Self::DayOfWeek => (1..=7).collect(),
            Self::DayOfMonth => (1..=31).collect(),
            Self::DayOfYear => (1..=366).collect(),
            Self::Year | Self::Quarter | Self::Month | Self::Week => numbers.iter().copied().collect(),
        };
        let groups: Vec<i32> = groups.into_iter().collect();
        let place = |number: &i32| groups.binary_search(number).ok().and_then(|place| u16::try_from(place).ok());
        let codes = numbers.iter().map(place).collect::<Option<_>>()?;
        Some(DateTable { first, codes, labels: groups.into_iter().map(|number| self.label(number)).collect() })
    }
}

/// The longest domain of days that is split by a part: four centuries.
const MAX_DAYS: i64 = 146_097;

/// The groups of a part of dates.
pub(crate) struct DateTable {
    /// The encoded value that stands first.
    pub(crate) first: i64,
    /// The group of each value from there on.
    pub(crate) codes: Vec<u16>,
    /// What the groups are called.
    pub(crate) labels: Vec<String>,
}

impl Group {
    /// A declared category, under its own name.
    #[must_use]
    pub fn of_column(column: ColumnName) -> Self {
        Self { name: column.to_string(), category: Category::Column(column) }
    }

    /// A part of a column's dates, under the part's name.
    #[must_use]
    pub fn of_date(part: DatePart, column: ColumnName) -> Self {
        Self { name: part.as_str().to_owned(), category: Category::Date { part, column } }
    }
}

impl Category {
    /// The columns that it names.
    #[must_use]
    pub fn columns(&self) -> BTreeSet<&ColumnName> {
        match self {
            Self::Column(column) | Self::Date { column, .. } => [column].into(),
            Self::Bucket { value, .. } => value.columns(),
            Self::Case { branches, .. } => {
                let mut columns = BTreeSet::new();
                for (condition, _) in branches {
                    condition.visit(&mut |column| {
                        columns.insert(column);
                    });
                }
                columns
            }
        }
    }

    /// What its groups are called, as far as the question says.
    pub(crate) fn labels(&self) -> Vec<&str> {
        match self {
            Self::Case { branches, otherwise } => Labels::of(branches, otherwise.as_ref()).names,
            Self::Column(_) | Self::Bucket { .. } | Self::Date { .. } => Vec::new(),
        }
    }

    /// The heading of one that is given none.
    #[must_use]
    pub fn default_name(&self) -> String {
        match self {
            Self::Column(column) => column.to_string(),
            Self::Bucket { .. } => "width_bucket".to_owned(),
            Self::Date { part, .. } => part.as_str().to_owned(),
            Self::Case { .. } => "case".to_owned(),
        }
    }
}

/// The labels of a CASE, each once, in the order in which they are written, and the place of each.
pub(crate) struct Labels<'a> {
    pub(crate) names: Vec<&'a str>,
    places: BTreeMap<&'a str, usize>,
}

impl<'a> Labels<'a> {
    pub(crate) fn of(branches: &'a [(Predicate, String)], otherwise: Option<&'a String>) -> Self {
        let (mut names, mut places) = (Vec::new(), BTreeMap::new());
        for label in branches.iter().map(|(_, label)| label).chain(otherwise) {
            let next = names.len();
            if *places.entry(label.as_str()).or_insert(next) == next {
                names.push(label.as_str());
            }
        }
        Self { names, places }
    }

    /// The place of a label; all that are asked for are there.
    pub(crate) fn place(&self, label: &str) -> usize {
        self.places.get(label).copied().unwrap_or_default()
    }
}

/// What puts a row whose columns are encoded as whole numbers into a group: its index, or none.
///
/// INVARIANT: it is total: no row makes it fail or overflow.
#[derive(Clone, PartialEq, Eq)]
pub enum BoundCategory {
    /// The index that the column holds.
    Code(ColumnName),
    /// The number of an open code, of which no list is declared: groups follow from the data, and are selected.
    Open(ColumnName),
    /// The entry for the column's value, counted from `first`; a value beyond the table is in no group.
    Table {
        /// A day, or a category, month or year.
        column: ColumnName,
        /// The value to which the first entry belongs.
        first: i64,
        /// The entries.
        codes: Vec<u16>,
    },
    /// 0 below `low`, `buckets + 1` from `high` on, and in between `(value − low) · buckets / (high − low) + 1`, whose
    /// product is within 62 bits.
    Bucket {
        /// The value.
        value: BoundNumber,
        /// The lower end.
        low: i64,
        /// The upper end, above the lower.
        high: i64,
        /// How many parts, at least 1.
        buckets: u16,
    },
    /// The index beside the first condition that holds.
    Case {
        /// Conditions and indices.
        branches: Vec<(BoundPredicate, u16)>,
        /// The index where none holds.
        otherwise: Option<u16>,
    },
}

impl BoundCategory {
    /// How many columns, constants and conditions an engine computes for it.
    #[must_use]
    pub fn parts(&self) -> u64 {
        match self {
            Self::Code(_) | Self::Open(_) => 0,
            Self::Table { .. } => 1,
            // The value is compared with both ends before it is put into its part.
            Self::Bucket { value, .. } => 4 * value.parts(),
            Self::Case { branches, .. } => branches.iter().map(|(condition, _)| condition.parts()).sum(),
        }
    }

    /// The group that a row is in. `value` gives a column's encoded value, `None` where it is missing. Open codes have
    /// no index, for they are not listed.
    ///
    /// This is the meaning to which every engine is held.
    pub fn code(&self, value: &dyn Fn(&ColumnName) -> Option<BoundValue>) -> Option<u16> {
        match self {
            Self::Open(_) => None,
            Self::Code(column) => match value(column)? {
                BoundValue::Code(code) => Some(code),
                BoundValue::Number(_) | BoundValue::Day(_) => None,
            },
            Self::Table { column, first, codes } => {
                let place = match value(column)? {
                    BoundValue::Code(code) => i64::from(code),
                    BoundValue::Day(day) => i64::from(day),
                    BoundValue::Number(_) => return None,
                };
                codes.get(usize::try_from(place.checked_sub(*first)?).ok()?).copied()
            }
            Self::Bucket { value: number, low, high, buckets } => {
                let number = number.value(value)?;
                if number < *low {
                    Some(0)
                } else if number >= *high {
                    Some(buckets + 1)
                } else {
                    u16::try_from((number - low) * i64::from(*buckets) / (high - low) + 1).ok()
                }
            }
            Self::Case { branches, otherwise } => {
                let found = branches.iter().find(|(condition, _)| condition.holds(value) == Some(true));
                found.map(|(_, code)| *code).or(*otherwise)
            }
        }
    }
}

/// // PRIVACY: labels, ends and conditions are the caller's words.
macro_rules! without_contents {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    )*};
}

without_contents!(Group, Category, BoundCategory);

#[cfg(test)]
mod tests;
