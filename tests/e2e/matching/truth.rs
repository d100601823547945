//! What a match should give, from the population's own truth.

use firebreak_population::{NationalNumber, Population, Register};
use std::collections::{BTreeSet, HashSet};
use std::ops::RangeInclusive;

/// The truth of a match that health makes with education.
pub struct Expected {
    /// The keys of the health agency's persons who are enrolled, as far as the registers' numbers say so.
    pub matched: BTreeSet<String>,
    /// Persons selected who have a number.
    pub offered: u64,
    /// Persons selected who have none.
    pub unusable: u64,
    /// Distinct numbers on the receiver's side and on the sender's.
    pub elements: (usize, usize),
}

/// The truth for patients born in those years.
pub fn expected(population: &Population, born: RangeInclusive<i32>) -> Expected {
    let enrolled = population.truth().filter(|row| row.register == Register::Education);
    let enrolled: HashSet<NationalNumber> = enrolled.filter_map(|row| row.national_number).collect();
    let mut expected = Expected { matched: BTreeSet::new(), offered: 0, unusable: 0, elements: (0, enrolled.len()) };
    let mut numbers = HashSet::new();
    let patients = population.truth().filter(|row| row.register == Register::Health && born.contains(&row.birth_year));
    for patient in patients {
        match patient.national_number {
            None => expected.unusable += 1,
            Some(number) => {
                expected.offered += 1;
                numbers.insert(number);
                if enrolled.contains(&number) {
                    expected.matched.insert(patient.person_key);
                }
            }
        }
    }
    expected.elements.0 = numbers.len();
    expected
}
