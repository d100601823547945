//! A question that fits its contract: what engines execute, mechanisms measure and policies decide.

use crate::evaluate::Formula;
use crate::view::CheckedView;
use crate::{
    Basis, BoundCategory, BoundNumber, BoundPredicate, Candidates, Canonical, End, GroupingSet, MAX_OPEN_GROUPS,
};
use firebreak_domain::{ColumnName, CutId, DatasetId, OrgId, Rho, SpecialKind};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fmt;

/// A question checked against its contract.
///
/// // INVARIANT: only [`check`](crate::check) makes one. Every column in it is declared, readable and of the right
/// // type, every bound is the contract's, and groups and primitives stand in an order that depends on the canonical
/// // form and the basis alone, so that a stored release of the same two fits cell by cell and number by number.
#[derive(Clone, PartialEq)]
pub struct CheckedQuery {
    pub(crate) dataset: DatasetId,
    pub(crate) reads: Vec<Reads>,
    pub(crate) agency: OrgId,
    pub(crate) cut: CutId,
    pub(crate) canonical: Canonical,
    pub(crate) basis: Basis,
    pub(crate) groups: Vec<CheckedGroup>,
    pub(crate) shown: Vec<usize>,
    pub(crate) sets: Vec<GroupingSet>,
    pub(crate) filter: Option<BoundPredicate>,
    pub(crate) primitives: Vec<Primitive>,
    pub(crate) squared_sensitivities: Vec<u128>,
    pub(crate) l1_sensitivities: Vec<u128>,
    pub(crate) uses: Vec<u32>,
    pub(crate) selection: Option<usize>,
    pub(crate) totals: Vec<Total>,
    pub(crate) outputs: Vec<CheckedOutput>,
    pub(crate) view: CheckedView,
    pub(crate) columns: BTreeSet<ColumnName>,
    pub(crate) special: BTreeSet<SpecialKind>,
    pub(crate) rho: Option<Rho>,
    pub(crate) rows_per_person: u32,
}

/// What a question reads of one dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reads {
    /// The dataset.
    pub dataset: DatasetId,
    /// The columns that it touches, by the dataset's own names; the privacy unit aside.
    pub columns: BTreeSet<ColumnName>,
    /// At most so many rows of one person are in the dataset's bounded view.
    pub rows_per_person: u32,
}

/// By what the answer is split, and its groups in order.
#[derive(Clone, PartialEq, Eq)]
pub struct CheckedGroup {
    /// Its heading.
    pub name: String,
    /// What puts a row into a group: the group's index.
    pub category: BoundCategory,
    /// What the groups are called.
    pub codes: Vec<String>,
    /// Whether they are periods of time, and called as SDMX writes those.
    pub is_period: bool,
}

/// What is computed exactly and measured with noise, in each grouping set: a vector of whole numbers, one per cell,
/// and of a quantile one per cell and candidate.
#[derive(Clone, PartialEq, Eq)]
pub struct Primitive {
    pub(crate) kind: PrimitiveKind,
    pub(crate) filter: Option<BoundPredicate>,
}

/// What a primitive counts or adds up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PrimitiveKind {
    /// Rows.
    CountRows,
    /// Distinct persons.
    CountPersons,
    /// Rows in which none of the columns is missing.
    CountValues {
        /// The columns; at least one.
        columns: BTreeSet<ColumnName>,
    },
    /// The sum of `value − centre` in fixed point, columns clamped to their bounds first; a missing value counts
    /// nothing.
    SumCentred {
        /// The value.
        value: BoundNumber,
        /// What is taken off each value, in fixed point.
        centre: i64,
        /// The largest distance of a value from the centre, in fixed point; at least 1.
        half_width: u64,
        /// Decimals of the fixed point.
        decimals: u8,
    },
    /// The candidate whose rank is nearest to the one asked for, among the values in fixed point, columns clamped to
    /// their bounds first; a missing value counts nothing. What is computed exactly is how many values each candidate
    /// stands for.
    Quantile {
        /// The value.
        value: BoundNumber,
        /// What is chosen among, and the rank.
        candidates: Candidates,
        /// Decimals of the fixed point.
        decimals: u8,
    },
}

/// The sum of a primitive over the rows of its grouping set that have the same values in some groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Total {
    /// Place in [`CheckedQuery::primitives`]; it adds up.
    pub(crate) primitive: usize,
    /// Places in [`CheckedQuery::groups`], ascending.
    pub(crate) within: Vec<usize>,
}

/// One column of the answer, as arithmetic over primitives.
#[derive(Clone, PartialEq)]
pub struct CheckedOutput {
    pub(crate) name: String,
    pub(crate) formula: Formula,
}

impl CheckedGroup {
    /// The column, if its codes are open.
    #[must_use]
    pub const fn open(&self) -> Option<&ColumnName> {
        match &self.category {
            BoundCategory::Open(column) => Some(column),
            _ => None,
        }
    }
}

impl CheckedQuery {
    /// The dataset; of a join, the one whose id comes first.
    #[must_use]
    pub const fn dataset(&self) -> &DatasetId {
        &self.dataset
    }

    /// What it reads of each dataset; several are joined on the person.
    ///
    /// INVARIANT: there is at least one.
    #[must_use]
    pub fn reads(&self) -> &[Reads] {
        &self.reads
    }

    /// The datasets, as they are shown.
    #[must_use]
    pub fn datasets(&self) -> String {
        self.reads.iter().map(|reads| reads.dataset.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// The agency whose adapter serves it.
    #[must_use]
    pub const fn agency(&self) -> &OrgId {
        &self.agency
    }

    /// The cut, resolved.
    #[must_use]
    pub const fn cut(&self) -> &CutId {
        &self.cut
    }

    /// The canonical form of the resolved question: cut named, literals in their columns' types.
    ///
    /// Two questions of one canonical form and one [`CheckedQuery::basis`] measure the same thing, so a stored release
    /// of the one answers the other.
    #[must_use]
    pub const fn canonical(&self) -> &Canonical {
        &self.canonical
    }

    /// What of the contract gives the numbers their meaning.
    #[must_use]
    pub const fn basis(&self) -> &Basis {
        &self.basis
    }

    /// A hash of the question without its cut and price: the same wherever an answer tells the same in each of its
    /// columns and rows. What outputs make of measures is in it, and what groups are called, which the canonical form
    /// leaves out; headings are not.
    #[must_use]
    pub fn digest_of_question(&self) -> [u8; 32] {
        let mut hash = Sha256::new().chain_update(self.canonical.digest_of_question());
        for output in &self.outputs {
            hash.update(format!("{:?}\n", output.formula));
        }
        for group in self.shown_groups() {
            hash.update(format!("{:?}\n", group.codes));
        }
        hash.finalize().into()
    }

    /// The groups in canonical order.
    #[must_use]
    pub fn groups(&self) -> &[CheckedGroup] {
        &self.groups
    }

    /// Which rows count at all.
    #[must_use]
    pub const fn filter(&self) -> Option<&BoundPredicate> {
        self.filter.as_ref()
    }

    /// The grouping sets in canonical order; at least one, and without `GROUPING SETS` that of all groups.
    ///
    /// With several, the rows that have no group in one of the categories are in no cell of any: only so is a margin
    /// the sum of its parts.
    #[must_use]
    pub fn grouping_sets(&self) -> &[GroupingSet] {
        &self.sets
    }

    /// What is measured in each grouping set, in canonical order.
    #[must_use]
    pub fn primitives(&self) -> &[Primitive] {
        &self.primitives
    }

    /// The noisy vectors to measure: those of the first grouping set in the order of the primitives, then those of the
    /// next.
    pub fn vectors(&self) -> impl Iterator<Item = (&Primitive, &GroupingSet)> {
        self.sets.iter().flat_map(|set| self.primitives.iter().map(move |primitive| (primitive, set)))
    }

    /// The squared L2 sensitivity of each vector, in their order, for this contract's bound on contributions.
    /// See [`Primitive::squared_l2_sensitivity`].
    #[must_use]
    pub fn squared_sensitivities(&self) -> &[u128] {
        &self.squared_sensitivities
    }

    /// The L1 sensitivity of each vector, likewise. See [`Primitive::l1_sensitivity`].
    #[must_use]
    pub fn l1_sensitivities(&self) -> &[u128] {
        &self.l1_sensitivities
    }

    /// Of each vector, how many measures rest on it: at least 1.
    #[must_use]
    pub fn uses(&self) -> &[u32] {
        &self.uses
    }

    /// The column of open codes by which the answer is split, if it is, and the place, among the primitives, of the
    /// persons in each of its groups, after the question's filter and no other. Groups are selected by it: which there
    /// are is not known before, and a person is in at most as many as they have rows.
    ///
    /// Such a question has one grouping set, of the one cell that each group has.
    #[must_use]
    pub fn selection(&self) -> Option<(&ColumnName, usize)> {
        let open = self.groups.iter().find_map(CheckedGroup::open)?;
        Some((open, self.selection?))
    }

    /// The columns of the answer after the groups.
    #[must_use]
    pub fn outputs(&self) -> &[CheckedOutput] {
        &self.outputs
    }

    /// Every column that the question touches, the privacy unit aside; in a join each behind its dataset's id.
    #[must_use]
    pub const fn columns(&self) -> &BTreeSet<ColumnName> {
        &self.columns
    }

    /// The special categories of data that it touches: those of its columns, and that of the privacy unit, because
    /// being in the dataset at all can be special.
    #[must_use]
    pub const fn special(&self) -> &BTreeSet<SpecialKind> {
        &self.special
    }

    /// How many rows the answer has before any are left out: the cells of all grouping sets; of open codes, at most.
    #[must_use]
    pub fn cells(&self) -> usize {
        if self.selection.is_some() {
            return MAX_OPEN_GROUPS;
        }
        self.sets.iter().map(GroupingSet::cells).sum()
    }

    /// The price that the caller named.
    #[must_use]
    pub const fn rho(&self) -> Option<Rho> {
        self.rho
    }

    /// At most so many rows of one person are in the bounded view; of a join, the product of the datasets' bounds:
    /// each of a person's rows of the one stands beside each of the other.
    #[must_use]
    pub const fn rows_per_person(&self) -> u32 {
        self.rows_per_person
    }

    /// The groups in the order in which they were asked, for the heading of the answer.
    pub fn shown_groups(&self) -> impl Iterator<Item = &CheckedGroup> {
        self.shown.iter().filter_map(|index| self.groups.get(*index))
    }

    /// All rows of the answer in the order of the declared values, a margin after its parts. Every cell of every
    /// grouping set comes once.
    #[must_use]
    pub fn rows(&self) -> Vec<CheckedRow> {
        let of_set = |(set, grouping): (usize, &GroupingSet)| {
            let row = move |cell| CheckedRow { set, cell, codes: self.codes(set, cell) };
            (0..grouping.cells()).map(row)
        };
        let mut rows: Vec<CheckedRow> = self.sets.iter().enumerate().flat_map(of_set).collect();
        rows.sort_by_cached_key(|row| row.codes.iter().map(|code| code.unwrap_or(usize::MAX)).collect::<Vec<_>>());
        rows
    }

    /// So many rows of an answer by open codes, in the order of the codes.
    pub fn open_rows(codes: usize) -> impl Iterator<Item = CheckedRow> {
        (0..codes).map(|place| CheckedRow { set: 0, cell: place, codes: vec![Some(place)] })
    }

    /// The place of a cell's value in each of [`CheckedQuery::shown_groups`].
    fn codes(&self, set: usize, cell: usize) -> Vec<Option<usize>> {
        let set = self.sets.get(set);
        self.shown.iter().map(|group| set?.code(cell, *group)).collect()
    }

    /// The group values of a row, in the order of [`CheckedQuery::shown_groups`]; empty where the row is for all of
    /// them together.
    pub fn labels<'a>(&'a self, row: &'a CheckedRow) -> impl Iterator<Item = &'a str> {
        let label = |(group, code): (&'a CheckedGroup, &Option<usize>)| {
            code.and_then(|code| group.codes.get(code)).map_or("", String::as_str)
        };
        self.shown_groups().zip(&row.codes).map(label)
    }
}

/// A row of an answer: one cell of one grouping set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedRow {
    /// Place in [`CheckedQuery::grouping_sets`].
    pub set: usize,
    /// The cell.
    pub cell: usize,
    /// The place of its value in each of [`CheckedQuery::shown_groups`]; `None` in a margin over all of them.
    pub codes: Vec<Option<usize>>,
}

impl PrimitiveKind {
    /// Whether the number of a margin is the sum of those of its parts. A person can be in several cells, and values
    /// that are chosen do not add up.
    #[must_use]
    pub const fn adds_up(&self) -> bool {
        match self {
            Self::CountRows | Self::CountValues { .. } | Self::SumCentred { .. } => true,
            Self::CountPersons | Self::Quantile { .. } => false,
        }
    }

    /// How many whole numbers an engine computes for each cell.
    #[must_use]
    pub const fn numbers_per_cell(&self) -> usize {
        match self {
            Self::Quantile { candidates, .. } => candidates.count() as usize,
            Self::CountRows | Self::CountPersons | Self::CountValues { .. } | Self::SumCentred { .. } => 1,
        }
    }
}

impl Primitive {
    /// What it counts or adds up.
    #[must_use]
    pub const fn kind(&self) -> &PrimitiveKind {
        &self.kind
    }

    /// Its own filter, on top of the question's.
    #[must_use]
    pub const fn filter(&self) -> Option<&BoundPredicate> {
        self.filter.as_ref()
    }

    /// The square of the L2 sensitivity of the whole vector over `cells` disjoint cells, when a person with all
    /// their rows, at most `m`, is added or removed. `None` if it does not fit 128 bits, which
    /// [`check`](crate::check) refuses.
    ///
    /// Let the person have `n_c` rows in cell `c`. Cells are disjoint, so `Σ n_c ≤ m`; filters, and rows that are in
    /// no group, only make it less. The vector changes
    ///
    /// - for a count of rows or values by at most `n_c` in cell `c`: `Σ n_c² ≤ (Σ n_c)² ≤ m²`, reached when all rows
    ///   fall into one cell;
    /// - for a count of persons by at most 1 in each cell with `n_c ≥ 1`, of which there are at most
    ///   `min(m, cells)`: the square is at most that;
    /// - for a centred sum by at most `n_c·w` in cell `c`, `w` being the largest distance of a clamped value from the
    ///   centre: `Σ (n_c·w)² ≤ m²·w²`;
    /// - for a quantile, the score of each candidate of cell `c` by at most `n_c·s`, `s` being what one value can
    ///   move a score by ([`Candidates::score_sensitivity`]): with the largest change of each cell, `Σ (n_c·s)² ≤
    ///   m²·s²`.
    #[must_use]
    pub fn squared_l2_sensitivity(&self, m: u32, cells: usize) -> Option<u128> {
        let rows = u128::from(m);
        match &self.kind {
            PrimitiveKind::CountRows | PrimitiveKind::CountValues { .. } => Some(rows * rows),
            PrimitiveKind::CountPersons => Some(rows.min(cells as u128)),
            PrimitiveKind::SumCentred { half_width, .. } => {
                let width = u128::from(*half_width);
                (rows * rows).checked_mul(width * width)
            }
            PrimitiveKind::Quantile { candidates, .. } => {
                let one = u128::from(candidates.score_sensitivity());
                Some((rows * one).pow(2))
            }
        }
    }
}

impl Primitive {
    /// The L1 sensitivity of the whole vector, in the terms of [`Primitive::squared_l2_sensitivity`]: `Σ n_c ≤ m` for
    /// counts of rows and values, `min(m, cells)` for persons, `Σ n_c·w ≤ m·w` for a centred sum, `Σ n_c·s ≤ m·s` for
    /// the scores of a quantile. `None` if it does not fit 128 bits.
    #[must_use]
    pub fn l1_sensitivity(&self, m: u32, cells: usize) -> Option<u128> {
        let rows = u128::from(m);
        match &self.kind {
            PrimitiveKind::CountRows | PrimitiveKind::CountValues { .. } => Some(rows),
            PrimitiveKind::CountPersons => Some(rows.min(cells as u128)),
            PrimitiveKind::SumCentred { half_width, .. } => rows.checked_mul(u128::from(*half_width)),
            PrimitiveKind::Quantile { candidates, .. } => Some(rows * u128::from(candidates.score_sensitivity())),
        }
    }
}

impl CheckedOutput {
    /// Its heading.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is a quantile by itself, which has an error in rank.
    #[must_use]
    pub fn is_quantile(&self) -> bool {
        matches!(self.formula.unfinished(), Formula::Quantile { .. })
    }

    /// Whether it rests on a quantile, so that it has no error in value.
    #[must_use]
    pub fn reads_a_quantile(&self) -> bool {
        self.formula.reads_a_quantile()
    }

    /// Whether it is a sum of multiples of what is measured and a constant: its interval is as wide as the noise makes
    /// it, whatever is released.
    #[must_use]
    pub fn is_linear(&self) -> bool {
        self.formula.is_linear()
    }

    /// To how many decimals it is rounded, below 0 to tens and so on; `None` where it is shown as drawn.
    #[must_use]
    pub fn rounded(&self) -> Option<i8> {
        self.formula.finishes().filter_map(|part| if let Formula::Round(_, to) = part { Some(*to) } else { None }).min()
    }

    /// The bound of an end, beyond which nothing is shown; the narrowest of several.
    #[must_use]
    pub fn bound(&self, end: End) -> Option<f64> {
        let bounds = self.formula.finishes().filter_map(|part| match part {
            Formula::Clip(_, of, bound) if *of == end => Some(*bound),
            _ => None,
        });
        bounds.reduce(|one, other| end.narrower(one, other))
    }
}

/// // PRIVACY: filters, headings and the canonical form hold the caller's words.
macro_rules! without_contents {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    )*};
}

without_contents!(CheckedGroup, CheckedQuery, Primitive, CheckedOutput);

#[cfg(test)]
mod tests {
    use super::*;

    fn primitive(kind: PrimitiveKind) -> Primitive {
        Primitive { kind, filter: None }
    }

    /// The largest sum of changes, to a power, over every way to spread at most `m` rows over `cells` cells.
    fn worst(m: u32, cells: usize, power: u32, change: &dyn Fn(u32) -> u128) -> u128 {
        if cells == 0 {
            return 0;
        }
        (0..=m).map(|here| change(here).pow(power) + worst(m - here, cells - 1, power, change)).max().unwrap_or(0)
    }

    #[test]
    fn sensitivity_is_the_worst_spread_of_a_persons_rows_and_no_more() {
        let column = ColumnName::new("x").unwrap();
        let value = BoundNumber::Column(column.clone());
        let sum = PrimitiveKind::SumCentred { value, centre: 0, half_width: 7, decimals: 0 };
        for m in 1..=5 {
            for cells in 1..=4 {
                let counted = || PrimitiveKind::CountValues { columns: [column.clone()].into() };
                for power in [1, 2] {
                    let of = |kind| match power {
                        1 => primitive(kind).l1_sensitivity(m, cells).unwrap(),
                        _ => primitive(kind).squared_l2_sensitivity(m, cells).unwrap(),
                    };
                    assert_eq!(of(PrimitiveKind::CountRows), worst(m, cells, power, &|n| n.into()));
                    assert_eq!(of(counted()), worst(m, cells, power, &|n| n.into()));
                    assert_eq!(of(PrimitiveKind::CountPersons), worst(m, cells, power, &|n| u128::from(n > 0)));
                    assert_eq!(of(sum.clone()), worst(m, cells, power, &|n| u128::from(n) * 7));
                }
            }
        }
    }

    #[test]
    fn a_sensitivity_too_large_for_the_integers_is_none_and_never_wraps() {
        let kind = PrimitiveKind::SumCentred {
            value: BoundNumber::Column(ColumnName::new("x").unwrap()),
            centre: 0,
            half_width: 1 << 50,
            decimals: 6,
        };
        assert_eq!(primitive(kind.clone()).squared_l2_sensitivity(u32::MAX, 1), None);
        assert_eq!(primitive(kind).squared_l2_sensitivity(1 << 12, 1), Some(1 << 124));
    }
}
