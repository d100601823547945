//! How one row writes what the register holds of a person's names and day of birth. No row changes what is held.

use crate::Register;
use crate::draw::Draws;
use crate::held::{Born, Held};
use crate::number::missing;
use arrow::array::{ArrayRef, StringBuilder};
use chrono::NaiveDate;
use std::sync::Arc;

/// Family name, given name and day of birth as one row has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) family: Option<String>,
    pub(crate) given: Option<String>,
    pub(crate) birth_date: Option<String>,
}

/// The three columns of a file while a batch of them is filled.
#[derive(Default)]
pub(crate) struct NameColumns {
    family: StringBuilder,
    given: StringBuilder,
    birth_date: StringBuilder,
}

impl NameColumns {
    pub(crate) fn append(&mut self, written: &Written) {
        self.family.append_option(written.family.as_deref());
        self.given.append_option(written.given.as_deref());
        self.birth_date.append_option(written.birth_date.as_deref());
    }

    /// Family name, given name, day of birth.
    pub(crate) fn finish(&mut self) -> [ArrayRef; 3] {
        [Arc::new(self.family.finish()), Arc::new(self.given.finish()), Arc::new(self.birth_date.finish())]
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Case {
    #[default]
    Title,
    Upper,
    Lower,
}

const fn cases(register: Register) -> [(Case, u32); 3] {
    match register {
        Register::Immigration => [(Case::Title, 5), (Case::Upper, 95), (Case::Lower, 0)],
        Register::Health => [(Case::Title, 70), (Case::Upper, 27), (Case::Lower, 3)],
        Register::Education => [(Case::Title, 92), (Case::Upper, 7), (Case::Lower, 1)],
    }
}

/// How a register's forms ask for a day, by weight. None asks for the month first.
const fn date_forms(register: Register) -> [(&'static str, u32); 3] {
    match register {
        Register::Immigration => [("%Y%m%d", 80), ("%d/%m/%Y", 12), ("%d.%m.%Y", 8)],
        Register::Health => [("%d.%m.%Y", 80), ("%-d.%-m.%Y", 12), ("%Y-%m-%d", 8)],
        Register::Education => [("%Y-%m-%d", 85), ("%d-%m-%Y", 10), ("%Y/%m/%d", 5)],
    }
}

impl Held {
    /// What one row writes.
    pub(crate) fn in_row(&self, register: Register, draws: &mut Draws) -> Written {
        let case = draws.choose(&cases(register));
        let form = draws.choose(&date_forms(register));
        let mut name = |held: &Option<String>| match held {
            Some(name) => Some(punctuated(cased(name, case), draws)),
            None => missing(draws).map(str::to_owned),
        };
        let (family, given) = (name(&self.family), name(&self.given));
        let birth_date = match self.born {
            Born::Nothing => missing(draws).map(str::to_owned),
            Born::On(day) => Some(day.format(form).to_string()),
            Born::OnOfShortYear(day) => Some(day.format(&form.replace("%Y", "%y")).to_string()),
            Born::In(year) => Some(year.to_string()),
            Born::InMonth(year, month) => Some(without_day(year, month, form)),
        };
        Written { family, given, birth_date }
    }
}

fn cased(name: &str, case: Case) -> String {
    match case {
        Case::Title => name.to_owned(),
        Case::Upper => name.to_uppercase(),
        Case::Lower => name.to_lowercase(),
    }
}

/// The name with what is typed between its letters now and then in another way.
fn punctuated(name: String, draws: &mut Draws) -> String {
    match draws.below(100) {
        0..2 => format!(" {name} "),
        2..5 => name.replace('-', " "),
        5..8 => name.replace(' ', "-"),
        8..10 => name.replace(' ', "\u{a0}"),
        10..30 => name.replace('’', "'"),
        30..35 => name.replace('’', "\u{2bc}"),
        35..38 => name.replace('’', "`"),
        _ => name,
    }
}

/// A form's day with zeros for what is not known.
fn without_day(year: i32, month: u32, form: &str) -> String {
    let first = NaiveDate::from_ymd_opt(year, month, 1).unwrap_or_default();
    first.format(&form.replace("%-d", "00").replace("%d", "00")).to_string()
}
