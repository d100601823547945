//! What a register holds of a person's names and day of birth: the same in all the person's rows there.

use crate::draw::{Draws, Topic};
use crate::names::{Identity, Marks, Standard, in_latin, with_marks};
use crate::person::{Person, Register};
use crate::{Fault, Population};
use chrono::{Datelike, NaiveDate};

/// Women born earlier may have changed their family names.
const BORN_BEFORE: i32 = 2000;

/// Names and day of birth as they stand in a register, whatever a row makes of case and punctuation.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) family: Option<String>,
    pub(crate) given: Option<String>,
    pub(crate) born: Born,
    /// What is wrong with them.
    pub(crate) faults: Vec<Fault>,
    /// Whether the person's names are Cyrillic at home.
    pub(crate) is_cyrillic: bool,
}

/// What a register knows of the day of birth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Born {
    Nothing,
    In(i32),
    InMonth(i32, u32),
    On(NaiveDate),
    /// The day, of whose year two digits are written.
    OnOfShortYear(NaiveDate),
}

/// How many in a thousand of a register's Cyrillic names stand there in Cyrillic.
const fn in_cyrillic(register: Register) -> u32 {
    match register {
        Register::Immigration => 50,
        Register::Health => 200,
        Register::Education => 400,
    }
}

/// How a register treats the marks of Latin letters, by weight: the immigration agency reads passports by machine, old
/// forms of schools have no room for marks.
const fn marks(register: Register) -> [(Marks, u32); 3] {
    match register {
        Register::Immigration => [(Marks::Kept, 10), (Marks::Dropped, 15), (Marks::Machine, 75)],
        Register::Health => [(Marks::Kept, 65), (Marks::Dropped, 25), (Marks::Machine, 10)],
        Register::Education => [(Marks::Kept, 45), (Marks::Dropped, 50), (Marks::Machine, 5)],
    }
}

/// What is drawn of the spelling of both names at once: a clerk writes them by one rule.
struct Spelling {
    /// `None` for what stays in Cyrillic.
    standard: Option<Standard>,
    marks: Marks,
}

impl Spelling {
    fn of(&self, name: &str, identity: &Identity) -> String {
        match (identity.language, self.standard) {
            (Some(_), None) => name.to_owned(),
            (Some(language), Some(standard)) => with_marks(&in_latin(name, language, standard), self.marks),
            (None, _) => with_marks(name, self.marks),
        }
    }
}

impl Held {
    /// The name as one text, given name first; what is missing is left out.
    pub(crate) fn name(&self) -> String {
        let parts = [self.given.as_deref(), self.family.as_deref()];
        parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}

impl Population {
    /// What `register` holds of the person.
    pub(crate) fn held(&self, register: Register, person: &Person) -> Held {
        let identity = self.identity(person);
        let mut draws = self.draws_in(Topic::Spelling, register, person);
        let mut faults = Vec::new();
        let (family, given) = names(&identity, register, &mut draws, &mut faults);
        let born = born(identity.born, &mut draws, &mut faults);
        Held { family, given, born, faults, is_cyrillic: identity.language.is_some() }
    }
}

fn names(
    identity: &Identity,
    register: Register,
    draws: &mut Draws,
    faults: &mut Vec<Fault>,
) -> (Option<String>, Option<String>) {
    let spelling = spelling(identity, register, draws, faults);
    let mut strikes = |fault: Fault, can: bool, draws: &mut Draws| {
        let struck = fault.strikes(draws) && can;
        if struck {
            faults.push(fault);
        }
        struck
    };
    let former = strikes(Fault::FormerFamily, identity.is_woman && identity.born.year() < BORN_BEFORE, draws);
    let family = if former { &identity.former_family } else { &identity.family };
    let other = strikes(Fault::OtherForm, identity.other_form.is_some(), draws);
    let first = identity.other_form.as_ref().filter(|_| other).unwrap_or(&identity.given);
    let left_out = strikes(Fault::SecondGivenLeftOut, identity.second_given.is_some(), draws);
    let second = identity.second_given.as_ref().filter(|_| !left_out);
    let added = strikes(Fault::PatronymicAdded, identity.patronymic.is_some(), draws);
    let patronymic = identity.patronymic.as_ref().filter(|_| added);
    let given: Vec<&str> = [Some(first), second, patronymic].into_iter().flatten().map(String::as_str).collect();

    let mut family = spelling.of(family, identity);
    let mut given = spelling.of(&given.join(" "), identity);
    if strikes(Fault::FamilyMistyped, true, draws) {
        family = mistyped(&family, draws);
    }
    if strikes(Fault::GivenMistyped, true, draws) {
        given = mistyped(&given, draws);
    }
    if strikes(Fault::NamesSwapped, true, draws) {
        std::mem::swap(&mut family, &mut given);
    }
    match (strikes(Fault::NameMissing, true, draws), draws.below(2)) {
        (true, 0) => (None, Some(given)),
        (true, _) => (Some(family), None),
        (false, _) => (Some(family), Some(given)),
    }
}

fn spelling(identity: &Identity, register: Register, draws: &mut Draws, faults: &mut Vec<Fault>) -> Spelling {
    let stays = draws.permille(in_cyrillic(register));
    let usual = draws.choose(&[(Standard::Passport, 65), (Standard::Everyday, 35)]);
    let marks = draws.choose(&marks(register));
    let other = Fault::OtherStandard.strikes(draws);
    if other && !stays && identity.language.is_some() {
        faults.push(Fault::OtherStandard);
        return Spelling { standard: Some(Standard::German), marks };
    }
    Spelling { standard: (!stays).then_some(usual), marks }
}

fn born(day: NaiveDate, draws: &mut Draws, faults: &mut Vec<Fault>) -> Born {
    if is_first_of_year(day) {
        faults.push(Fault::BirthYearAlone);
    }
    let drawn = [Fault::BirthDateMissing, Fault::BirthDayUnknown, Fault::BirthDateMistyped, Fault::YearOfTwoDigits]
        .map(|fault| (fault, fault.strikes(draws)));
    // One at most can be seen in what is written.
    let Some((fault, _)) = drawn.into_iter().find(|(_, strikes)| *strikes) else { return Born::On(day) };
    faults.push(fault);
    match fault {
        Fault::BirthDateMissing => Born::Nothing,
        Fault::BirthDayUnknown => match draws.below(3) {
            0 => Born::In(day.year()),
            1 => Born::InMonth(day.year(), day.month()),
            _ => Born::On(NaiveDate::from_yo_opt(day.year(), 1).unwrap_or(day)),
        },
        Fault::BirthDateMistyped => Born::On(other_day(day, draws)),
        _ => Born::OnOfShortYear(day),
    }
}

fn is_first_of_year(day: NaiveDate) -> bool {
    day.ordinal() == 1
}

/// A day that is typed for another: day and month in each other's place where that is a day, or else another day of the
/// month or another year.
fn other_day(day: NaiveDate, draws: &mut Draws) -> NaiveDate {
    let swapped = NaiveDate::from_ymd_opt(day.year(), day.day(), day.month()).filter(|other| *other != day);
    let of_month = NaiveDate::from_ymd_opt(day.year(), day.month(), 1 + draws.below(28)).filter(|other| *other != day);
    let of_year = day.with_year(day.year() - if draws.below(2) == 0 { 1 } else { 10 });
    let choice = match draws.below(3) {
        0 => swapped.or(of_month),
        1 => of_month.or(of_year),
        _ => of_year.or(of_month),
    };
    choice.or(day.pred_opt()).unwrap_or(day)
}

/// The name with one letter mistyped, left out or doubled, or two that changed places; never the first.
pub(crate) fn mistyped(name: &str, draws: &mut Draws) -> String {
    let mut letters: Vec<char> = name.chars().collect();
    let place = 1 + draws.below((letters.len() as u32).saturating_sub(1).max(1)) as usize;
    let Some(letter) = letters.get(place).copied() else { return format!("{name}{name}") };
    let from = if ('\u{400}'..='\u{4ff}').contains(&letter) { 'а' } else { 'a' };
    let others = if from == 'a' { 26 } else { 32 };
    let typed = char::from_u32(u32::from(from) + draws.below(others)).filter(|typed| *typed != letter);
    let (taken, put) = match (draws.below(4), typed, letters.get(place + 1).copied()) {
        (0 | 1, Some(typed), _) => (1, vec![typed]),
        (2, _, Some(after)) if after != letter => (2, vec![after, letter]),
        (3, ..) => (1, vec![letter, letter]),
        _ => (1, Vec::new()),
    };
    letters.splice(place..place + taken, put);
    letters.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mistyped_differs_and_begins_alike() {
        let mut draws = Draws::of_keys(5, 5);
        for name in ["Бондаренко", "García López", "Li", "Anna", "Əliyev"] {
            for _ in 0..500 {
                let typed = mistyped(name, &mut draws);
                assert!(typed != name && !typed.is_empty(), "{name}");
                assert_eq!(typed.chars().next(), name.chars().next());
                assert!(typed.chars().count().abs_diff(name.chars().count()) <= 1, "{name}: {typed}");
            }
        }
    }

    #[test]
    fn another_day_is_another_day_of_the_calendar() {
        let mut draws = Draws::of_keys(5, 6);
        for ordinal in 1..=365 {
            let day = NaiveDate::from_yo_opt(1987, ordinal).unwrap();
            (0..20).for_each(|_| assert_ne!(other_day(day, &mut draws), day));
        }
    }
}
