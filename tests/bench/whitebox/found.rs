//! What an audit found.

use firebreak_query::PrimitiveKind;
use std::collections::BTreeMap;

/// What became of one person of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Nothing,
    Added,
    Removed,
    Replaced,
}

/// The kinds of primitives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Rows,
    Persons,
    Values,
    Sum,
    Quantile,
}

/// How far vectors of one kind moved.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reached {
    /// Vectors compared.
    pub compared: u64,
    /// Those that moved at all.
    pub moved: u64,
    /// The largest movement over its bound when a person was added or removed.
    pub more_or_less: f64,
    /// The same when a person was replaced; the bound is twice as large then.
    pub replaced: f64,
}

/// What was found so far.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// Contracts, each with its files and questions.
    pub plans: u64,
    /// Pairs: a question at two neighbours.
    pub pairs: u64,
    /// Those of them whose tables had a file for themselves.
    pub pairs_alone: u64,
    /// Those over two datasets that are joined.
    pub pairs_joined: u64,
    /// Pairs with a vector beyond its bound, unchanged tables that moved included.
    pub violating: u64,
    /// The first violations of each kind, in words.
    pub violations: Vec<(Kind, String)>,
    /// Neighbours of which the adapter does not read the one or the other, in words.
    pub unreadable: Vec<String>,
    /// Kind by kind, and whether it is over datasets that are joined.
    pub reached: BTreeMap<(Kind, bool), Reached>,
}

impl Kind {
    /// Of a primitive.
    pub const fn of(kind: &PrimitiveKind) -> Self {
        match kind {
            PrimitiveKind::CountRows => Self::Rows,
            PrimitiveKind::CountPersons => Self::Persons,
            PrimitiveKind::CountValues { .. } => Self::Values,
            PrimitiveKind::SumCentred { .. } => Self::Sum,
            PrimitiveKind::Quantile { .. } => Self::Quantile,
        }
    }

    /// In words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rows => "rows",
            Self::Persons => "persons",
            Self::Values => "rows with a value",
            Self::Sum => "centred sum",
            Self::Quantile => "scores of a quantile",
        }
    }
}

impl Change {
    /// The squared bound on movement, from the squared sensitivity for one person more or less. Replacing is removing
    /// and adding: twice the distance by the triangle inequality, four times its square.
    const fn bound(self, squared_sensitivity: u128) -> u128 {
        match self {
            Self::Nothing => 0,
            Self::Added | Self::Removed => squared_sensitivity,
            Self::Replaced => squared_sensitivity.saturating_mul(4),
        }
    }
}

impl Found {
    /// Takes a movement in; false if it is beyond its bound. Compared in whole numbers; ratios are for the reader.
    pub fn compare(&mut self, of: (Kind, bool), change: Change, square: u128, squared_sensitivity: u128) -> bool {
        let bound = change.bound(squared_sensitivity);
        let reached = self.reached.entry(of).or_default();
        reached.compared += 1;
        reached.moved += u64::from(square > 0);
        let ratio = if bound == 0 { 0.0 } else { (square as f64 / bound as f64).sqrt() };
        let largest = if change == Change::Replaced { &mut reached.replaced } else { &mut reached.more_or_less };
        *largest = largest.max(ratio);
        square <= bound
    }

    /// Keeps a violation in words, the first few of each kind.
    pub fn report(&mut self, kind: Kind, words: impl FnOnce() -> String) {
        const MOST: usize = 5;
        if self.violations.iter().filter(|(of, _)| *of == kind).count() < MOST {
            self.violations.push((kind, words()));
        }
    }

    /// The largest movement over its bound, of any kind.
    pub fn worst(&self) -> f64 {
        self.reached.values().map(|reached| reached.more_or_less.max(reached.replaced)).fold(0.0, f64::max)
    }

    /// Both together.
    pub fn and(mut self, other: Self) -> Self {
        self.plans += other.plans;
        self.pairs += other.pairs;
        self.pairs_alone += other.pairs_alone;
        self.pairs_joined += other.pairs_joined;
        self.violating += other.violating;
        self.violations.extend(other.violations);
        self.unreadable.extend(other.unreadable);
        for (kind, other) in other.reached {
            let reached = self.reached.entry(kind).or_default();
            reached.compared += other.compared;
            reached.moved += other.moved;
            reached.more_or_less = reached.more_or_less.max(other.more_or_less);
            reached.replaced = reached.replaced.max(other.replaced);
        }
        self
    }
}
