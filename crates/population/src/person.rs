use crate::draw::{Draws, Topic};
use crate::number::NationalNumber;
use crate::{Fault, Population};

/// An agency's register of persons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Register {
    /// The immigration agency's.
    Immigration = 0,
    /// The health agency's.
    Health = 1,
    /// The education agency's.
    Education = 2,
}

impl Register {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Immigration, Self::Health, Self::Education];

    /// Its name in `truth.parquet`, which is also the folder of its agency.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Immigration => "immigration",
            Self::Health => "health",
            Self::Education => "education",
        }
    }

    const fn prefix(self) -> &'static str {
        match self {
            Self::Immigration => "IM",
            Self::Health => "HE",
            Self::Education => "ED",
        }
    }
}

/// Region of residence, by weight: a capital, some large regions, many small ones.
const REGION_WEIGHTS: [u32; 17] = [190, 131, 104, 92, 78, 69, 58, 51, 44, 40, 34, 29, 25, 20, 16, 12, 7];

/// Births from the first to the second year, by weight.
const BIRTHS: [((i32, i32), u32); 6] = [
    ((1935, 1954), 120),
    ((1955, 1974), 230),
    ((1975, 1994), 300),
    ((1995, 2005), 130),
    ((2006, 2018), 180),
    ((2019, 2023), 40),
];

/// Arrivals of each year from 2020 on, in the proportion of the counts themselves.
const YEARLY_ARRIVALS: [u32; 5] = [85_657, 767_549, 820_458, 1_048_960, 1_539_619];

/// Arrivals of each month of a year, by weight.
const MONTHLY_ARRIVALS: [u32; 12] = [7, 7, 9, 8, 8, 8, 8, 9, 11, 10, 8, 7];

/// A person, as nobody knows them whole.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    pub(crate) index: u32,
    pub(crate) number: NationalNumber,
    pub(crate) birth_year: i32,
    /// Region of residence, 1 to 17.
    pub(crate) region: u32,
    /// Months since January 2020 at which an immigrant arrived.
    pub(crate) arrival: u32,
    registers: [bool; 3],
}

/// How a register knows a person.
#[derive(Debug, Clone)]
pub(crate) struct Registration {
    pub(crate) key: String,
    /// A few persons were registered twice.
    pub(crate) second_key: Option<String>,
    /// The number that the register holds for them, which may be nobody's or somebody else's.
    pub(crate) number: Option<NationalNumber>,
    /// What is wrong with that number.
    pub(crate) fault: Option<Fault>,
}

impl Person {
    /// Between 6 and 18 years in 2024.
    pub(crate) const fn is_of_school_age(&self) -> bool {
        self.birth_year >= 2006 && self.birth_year <= 2018
    }

    pub(crate) fn is_in(&self, register: Register) -> bool {
        self.registers.get(register as usize).copied().unwrap_or(false)
    }

    /// The first month, since January 2020, in which an agency can have met them.
    pub(crate) fn first_month(&self) -> u32 {
        if self.is_in(Register::Immigration) { self.arrival } else { 0 }
    }
}

impl Registration {
    /// The key under which the `ordinal`-th row of the person stands.
    pub(crate) fn key_of_row(&self, ordinal: u32) -> &str {
        match &self.second_key {
            Some(second) if ordinal % 2 == 1 => second,
            _ => &self.key,
        }
    }

    /// How many rows the person needs at least, so that each of their keys stands somewhere.
    pub(crate) const fn least_rows(&self) -> u32 {
        if self.second_key.is_some() { 2 } else { 1 }
    }

    /// The number as the register writes it in one row.
    pub(crate) fn number_in_row(&self, draws: &mut Draws) -> Option<String> {
        match self.number {
            Some(number) => Some(number.spelled(draws)),
            None => crate::number::missing(draws).map(String::from),
        }
    }
}

impl Population {
    pub(crate) fn draws(&self, topic: Topic, index: u32) -> Draws {
        Draws::new(self.seed, topic, index)
    }

    /// The stream of a person in one register.
    pub(crate) fn draws_in(&self, topic: Topic, register: Register, person: &Person) -> Draws {
        self.draws(topic, person.index.wrapping_mul(3).wrapping_add(register as u32))
    }

    /// The person of that number, which is below the population's size.
    pub(crate) fn person(&self, index: u32) -> Person {
        let mut draws = self.draws(Topic::Person, index);
        let number = NationalNumber::new(self.numbers.apply(index), &mut draws);
        let (first, last) = draws.choose(&BIRTHS);
        let birth_year = draws.between(first, last);
        let region = draws.weighted(&REGION_WEIGHTS) as u32 + 1;
        let year = draws.weighted(&YEARLY_ARRIVALS) as u32;
        let arrival = year * 12 + draws.weighted(&MONTHLY_ARRIVALS) as u32;
        // INVARIANT: two draws that nobody reads keep those behind them in their places. Names have a stream of their own.
        draws.next();
        draws.next();
        let immigration = draws.permille(600);
        let education = draws.permille(match birth_year {
            2006..=2018 => 820,
            1995..=2005 => 500,
            1975..=1994 => 300,
            1955..=1974 => 170,
            _ => 60,
        });
        // Whoever stands in neither of the others is a patient, so that everybody is somebody's.
        let health = draws.permille(590) || !(immigration || education);
        let registers = [immigration, health, education];
        Person { index, number, birth_year, region, arrival, registers }
    }

    /// How `register` knows the person; `None` if it does not.
    pub(crate) fn registration(&self, register: Register, person: &Person) -> Option<Registration> {
        if !person.is_in(register) {
            return None;
        }
        let keys = self.keys.get(register as usize)?;
        let place = keys.apply(person.index);
        let key = |place: u32| format!("{}-{place:08}", register.prefix());
        let mut draws = self.draws_in(Topic::Registration, register, person);
        let mut registration =
            Registration { key: key(place), second_key: None, number: Some(person.number), fault: None };
        match draws.below(10_000) {
            0..200 => (registration.number, registration.fault) = (None, Some(Fault::NumberMissing)),
            // The number of a neighbour, a brother's in place of a sister's.
            200..230 => {
                let neighbour = person.index ^ 1;
                if neighbour < self.persons {
                    let neighbour = self.person(neighbour);
                    if neighbour.is_in(register) {
                        registration.number = Some(neighbour.number);
                        registration.fault = Some(Fault::NumberOfAnother);
                    }
                }
            }
            // Second keys lie above all first ones.
            230..260 => registration.second_key = Some(key(place + self.persons)),
            _ => {}
        }
        let mut typing = self.draws_in(Topic::Typing, register, person);
        if registration.fault.is_none() && Fault::NumberMistyped.strikes(&mut typing) {
            registration.number = Some(person.number.mistyped(&mut typing));
            registration.fault = Some(Fault::NumberMistyped);
        }
        Some(registration)
    }

    /// Everybody in the register, in the order of its own keys.
    pub(crate) fn registered(&self, register: Register) -> impl Iterator<Item = (Person, Registration)> + '_ {
        let keys = self.keys.get(register as usize);
        (0..self.persons).filter_map(move |place| {
            let person = self.person(keys?.invert(place));
            let registration = self.registration(register, &person)?;
            Some((person, registration))
        })
    }
}
