use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// What a stream of draws is for. Its number is part of the stream's and never changes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Topic {
    Keys = 0,
    Person = 1,
    Registration = 2,
    Permits = 3,
    Visits = 4,
    Vaccinations = 5,
    Enrolments = 6,
    HealthInterpreting = 7,
    EducationInterpreting = 8,
    Weeks = 9,
    Identity = 10,
    Spelling = 11,
    RowsOfNames = 12,
    Typing = 13,
    Pupils = 14,
}

/// A stream of draws of its own for each topic and index, so that no file depends on the order in which others are
/// made.
pub(crate) struct Draws(ChaCha8Rng);

impl Draws {
    pub(crate) fn new(seed: u64, topic: Topic, index: u32) -> Self {
        let mut key = [0; 32];
        for (to, from) in key.iter_mut().zip(seed.to_le_bytes().iter().chain(b"firebreak population 1 ")) {
            *to = *from;
        }
        let mut generator = ChaCha8Rng::from_seed(key);
        generator.set_stream(((topic as u64) << 32) | u64::from(index));
        Self(generator)
    }

    /// The stream from which a permutation's round keys come.
    pub(crate) fn of_keys(seed: u64, index: u32) -> Self {
        Self::new(seed, Topic::Keys, index)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound`, which is at least 1. Multiplication instead of division: the bias is below 2⁻³².
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        ((u128::from(self.0.next_u64()) * u128::from(bound)) >> 64) as u32
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: i32, high: i32) -> i32 {
        let span = high.abs_diff(low).saturating_add(1);
        low.saturating_add_unsigned(self.below(span))
    }

    pub(crate) fn permille(&mut self, chance: u32) -> bool {
        self.below(1000) < chance
    }

    /// The place of the weight that was drawn; the weights add up to less than 2³².
    pub(crate) fn weighted(&mut self, weights: &[u32]) -> usize {
        let mut left = self.below(weights.iter().sum());
        for (place, weight) in weights.iter().enumerate() {
            match left.checked_sub(*weight) {
                Some(rest) => left = rest,
                None => return place,
            }
        }
        0
    }

    /// One of `choices`, each as likely as its weight.
    pub(crate) fn choose<T: Copy + Default>(&mut self, choices: &[(T, u32)]) -> T {
        let mut left = self.below(choices.iter().map(|(_, weight)| weight).sum());
        for (choice, weight) in choices {
            match left.checked_sub(*weight) {
                Some(rest) => left = rest,
                None => return *choice,
            }
        }
        T::default()
    }

    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }
}
