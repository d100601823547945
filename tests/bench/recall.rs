//! How many of the persons who stand in two registers a match finds, and how often it takes one person for another.
//!
//! `bench-recall [PERSONS] [SEED]`. Each register's entries are those of the synthetic population, with all that is wrong
//! in them; the rates of each fault are printed beside the figures. The keys are applied as two adapters apply them: the
//! number first (rule 1), then family name, given name and birth date (rule 2) for entries that the number has not matched.
//! A protocol run finds equal forms and nothing else, which `tests/e2e/matching` and `crates/psi` prove, so forms are
//! compared here without one.
//!
//! - An *entry* is a person under one key of a register. A *match* is an entry of the receiver whose form the sender has.
//! - It is *right* if one of the sender's entries with that form is the same person's, and *false* if none is.
//! - `match_recall`: of the persons who stand in both registers, whatever is wrong with their entries, those with a right
//!   match.
//! - `match_false_rate`: of all matches, the false ones.
//! - `match_wrong_persons`: persons of the receiver with a false match. How many of them are not in the sender's register
//!   at all is printed beside.
//!
//! A name and birth date that two entries of the receiver share match neither. A number that several of its entries have
//! matches them unless two of them have a name and birth date, and other ones: then it is left to the name, as adapters do.
//! What other rules for it would give stands beside: `…_together` if it matched all who have it, as it does under an
//! agreement by number alone; `…_nobodys` if it matched none of them.

use anyhow::{Result, ensure};
use firebreak_population::{Entry, Fault, Population, RATED, Register};
use firebreak_psi::{NormalisedInput, Normaliser};
use firebreak_tests::bench::{Aim, aimed, argument, conditions, figure, remark};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

const PERSONS: u32 = 100_000;
const SEED: u64 = 1;

/// Receiver and sender of the sample's two permitted matches.
const MATCHES: [(&str, Register, Register); 2] =
    [("", Register::Health, Register::Education), ("_language_support", Register::Education, Register::Immigration)];

fn main() -> Result<()> {
    conditions();
    let persons = argument(PERSONS)?;
    let seed = std::env::args().nth(2).map_or(Ok(SEED), |text| text.parse())?;
    let population = Population::new(persons, seed)?;
    for fault in Fault::ALL {
        remark(&format!("{}: {} % of entries that can have it", fault.as_str(), percent(fault.rate(), RATED)));
    }
    for (suffix, receiver, sender) in MATCHES {
        let (receiver, sender) = (Side::of(&population, receiver), Side::of(&population, sender));
        report(suffix, &receiver, &sender)?;
    }
    Ok(())
}

/// One register's entries and their forms.
struct Side {
    entries: Vec<Entry>,
    numbers: Forms,
    names: Forms,
}

/// The form of each entry by one rule, and the entries with each form.
struct Forms {
    of: Vec<Option<NormalisedInput>>,
    with: HashMap<NormalisedInput, Vec<usize>>,
}

impl Forms {
    fn of(entries: &[Entry], form: impl Fn(&Entry) -> Option<NormalisedInput>) -> Self {
        let of: Vec<_> = entries.iter().map(form).collect();
        let mut with: HashMap<_, Vec<usize>> = HashMap::new();
        for (place, form) in of.iter().enumerate() {
            if let Some(form) = form {
                with.entry(form.clone()).or_default().push(place);
            }
        }
        Self { of, with }
    }

    fn get(&self, entry: usize) -> Option<&NormalisedInput> {
        self.of.get(entry)?.as_ref()
    }

    fn sharing(&self, form: &NormalisedInput) -> &[usize] {
        self.with.get(form).map(Vec::as_slice).unwrap_or_default()
    }
}

impl Side {
    fn of(population: &Population, register: Register) -> Self {
        let entries: Vec<Entry> = population.entries(register).collect();
        let number = |entry: &Entry| Normaliser::V1.normalise(entry.national_number.as_deref()?);
        let name = |entry: &Entry| {
            let parts = [&entry.family_name, &entry.given_name, &entry.birth_date];
            Normaliser::V2.normalise_parts(&parts.map(Option::as_deref))
        };
        Self { numbers: Forms::of(&entries, number), names: Forms::of(&entries, name), entries }
    }

    fn persons(&self) -> BTreeSet<u32> {
        self.entries.iter().map(|entry| entry.person).collect()
    }

    /// The persons behind a form.
    fn persons_with(&self, forms: &Forms, form: &NormalisedInput) -> HashSet<u32> {
        forms.sharing(form).iter().filter_map(|place| self.entries.get(*place)).map(|entry| entry.person).collect()
    }

    /// Whether entries may be one person's: unless two have a name and birth date, and other ones.
    fn may_be_one(&self, entries: &[usize]) -> bool {
        let names: HashSet<_> = entries.iter().filter_map(|entry| self.names.get(*entry)).collect();
        names.len() < 2
    }
}

/// What becomes of the receiver's entries that share a number.
#[derive(Clone, Copy)]
enum SharedNumbers {
    /// They are matched.
    Together,
    /// They are matched if they may be one person's.
    OfOnePerson,
    /// They are not.
    Nobodys,
}

/// A match of one entry of the receiver.
struct Match {
    entry: usize,
    is_right: bool,
}

/// The matches of each key.
struct Found {
    by_number: Vec<Match>,
    by_name: Vec<Match>,
}

impl Found {
    fn by_both_keys(receiver: &Side, sender: &Side, shared: SharedNumbers) -> Self {
        let takes_part = |entry: usize| {
            let Some(form) = receiver.numbers.get(entry) else { return false };
            let sharing = receiver.numbers.sharing(form);
            match shared {
                SharedNumbers::Together => true,
                SharedNumbers::OfOnePerson => receiver.may_be_one(sharing),
                SharedNumbers::Nobodys => sharing.len() == 1,
            }
        };
        let everybody = 0..receiver.entries.len();
        let by_number = matches(receiver, sender, |side| &side.numbers, everybody.clone().filter(|e| takes_part(*e)));
        let matched: HashSet<usize> = by_number.iter().map(|found| found.entry).collect();
        let left = everybody.filter(|entry| {
            let alone = receiver.names.get(*entry).is_some_and(|form| receiver.names.sharing(form).len() == 1);
            alone && !matched.contains(entry)
        });
        let by_name = matches(receiver, sender, |side| &side.names, left);
        Self { by_number, by_name }
    }

    fn all(&self) -> impl Iterator<Item = &Match> {
        self.by_number.iter().chain(&self.by_name)
    }

    /// The receiver's persons with a right match, or with a false one.
    fn persons(&self, receiver: &Side, right: bool) -> BTreeSet<u32> {
        let found = self.all().filter(|found| found.is_right == right);
        found.filter_map(|found| receiver.entries.get(found.entry)).map(|entry| entry.person).collect()
    }

    fn false_rate(&self) -> f64 {
        percent(self.all().filter(|found| !found.is_right).count(), self.all().count())
    }
}

fn matches(
    receiver: &Side,
    sender: &Side,
    forms: impl Fn(&Side) -> &Forms,
    entries: impl Iterator<Item = usize>,
) -> Vec<Match> {
    let held = forms(sender);
    let one = |entry: usize| {
        let form = forms(receiver).get(entry)?;
        let persons = sender.persons_with(held, form);
        let own = receiver.entries.get(entry)?.person;
        (!persons.is_empty()).then(|| Match { entry, is_right: persons.contains(&own) })
    };
    entries.filter_map(one).collect()
}

fn report(suffix: &str, receiver: &Side, sender: &Side) -> Result<()> {
    let there = sender.persons();
    let both: BTreeSet<u32> = receiver.persons().intersection(&there).copied().collect();
    ensure!(!both.is_empty(), "nobody stands in both registers: the population is too small");
    let (own, theirs) = (receiver.entries.len(), sender.entries.len());
    remark(&format!("{own} entries of the receiver, {theirs} of the sender; {} persons in both registers", both.len()));

    let found = Found::by_both_keys(receiver, sender, SharedNumbers::OfOnePerson);
    let (right, wrong) = (found.persons(receiver, true), found.persons(receiver, false));
    aimed(&format!("match_recall{suffix}"), percent(right.len(), both.len()), "%", Aim::AtLeast(99.0));
    aimed(&format!("match_false_rate{suffix}"), found.false_rate(), "%", Aim::Below(0.1));
    figure(&format!("match_wrong_persons{suffix}"), wrong.len() as f64, "persons");
    remark(&format!("{} of the wrong persons are not in the sender's register", wrong.difference(&there).count()));
    for (key, matches) in [("number", &found.by_number), ("name", &found.by_name)] {
        let false_ones = matches.iter().filter(|found| !found.is_right).count();
        remark(&format!("by {key}: {} matches, {false_ones} of them false", matches.len()));
    }
    let by_number = Found { by_name: Vec::new(), ..found };
    let recall = percent(by_number.persons(receiver, true).len(), both.len());
    figure(&format!("match_recall_by_number{suffix}"), recall, "%");

    for (rule, shared) in [("together", SharedNumbers::Together), ("nobodys", SharedNumbers::Nobodys)] {
        let found = Found::by_both_keys(receiver, sender, shared);
        let recall = percent(found.persons(receiver, true).len(), both.len());
        figure(&format!("match_recall{suffix}_{rule}"), recall, "%");
        figure(&format!("match_false_rate{suffix}_{rule}"), found.false_rate(), "%");
    }
    report_groups(receiver, sender, &both, &right);
    Ok(())
}

/// Of the persons in both registers with each kind of name and each fault, on either side, how many are found.
fn report_groups(receiver: &Side, sender: &Side, both: &BTreeSet<u32>, right: &BTreeSet<u32>) {
    let mut kinds: HashMap<u32, BTreeSet<&str>> = HashMap::new();
    for entry in receiver.entries.iter().chain(&sender.entries).filter(|entry| both.contains(&entry.person)) {
        let of = kinds.entry(entry.person).or_default();
        of.insert(if entry.is_cyrillic { "a Cyrillic name" } else { "a Latin name" });
        of.extend(entry.faults.iter().map(|fault| fault.as_str()));
    }
    let mut groups: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (person, of) in &kinds {
        // Without any fault there is the script alone.
        for group in of.iter().copied().chain((of.len() == 1).then_some("no fault")) {
            let count = groups.entry(group).or_default();
            *count = (count.0 + usize::from(right.contains(person)), count.1 + 1);
        }
    }
    for (group, (found, all)) in groups {
        remark(&format!("{group}: {found} of {all} persons found, {:.1} %", percent(found, all)));
    }
}

/// A share of a count, in per cent.
fn percent<N: TryInto<u32>>(part: N, of: N) -> f64 {
    let number = |n: N| n.try_into().map_or(f64::NAN, f64::from);
    100.0 * number(part) / number(of)
}
