//! Grouping sets: the parts of an answer that are split by some of its groups, and what makes them add up.

use crate::checked::Total;
use crate::{CheckedQuery, MAX_GROUPING_SETS, Noise};
use std::collections::{BTreeMap, BTreeSet};

/// Some of the groups of a question, by which a part of its answer is split: one cell for each combination of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupingSet {
    /// Places in [`CheckedQuery::groups`], ascending.
    groups: Vec<usize>,
    /// How many values each of them has.
    sizes: Vec<usize>,
    cells: usize,
}

impl GroupingSet {
    /// Of groups by their places, ascending, and the number of values of each; `None` if the cells are beyond counting.
    pub(crate) fn of(groups: Vec<usize>, size: impl Fn(usize) -> usize) -> Option<Self> {
        let sizes: Vec<usize> = groups.iter().map(|group| size(*group)).collect();
        let cells = sizes.iter().try_fold(1_usize, |cells, size| cells.checked_mul(*size))?;
        Some(Self { groups, sizes, cells })
    }

    /// Places in [`CheckedQuery::groups`], ascending.
    #[must_use]
    pub fn groups(&self) -> &[usize] {
        &self.groups
    }

    /// How many cells it has: 1 without groups, else the product of the numbers of values. Cells are numbered from 0
    /// with the last group running fastest.
    #[must_use]
    pub const fn cells(&self) -> usize {
        self.cells
    }

    /// The cell that a row is in, from its value in each group by the group's place; `None` if it is in none.
    pub fn cell(&self, code: impl Fn(usize) -> Option<usize>) -> Option<usize> {
        self.groups.iter().zip(&self.sizes).try_fold(0, |cell, (group, size)| {
            let code = code(*group).filter(|code| code < size)?;
            Some(cell * size + code)
        })
    }

    /// Each group of a cell and the value that it has there, the last first.
    fn codes(&self, cell: usize) -> impl Iterator<Item = (usize, usize)> {
        let mut rest = cell;
        self.groups.iter().zip(&self.sizes).rev().map(move |(group, size)| {
            let code = rest % size.max(&1);
            rest /= size.max(&1);
            (*group, code)
        })
    }

    /// The value that a group has in a cell; `None` where the set does not have the group.
    #[must_use]
    pub fn code(&self, cell: usize, group: usize) -> Option<usize> {
        self.codes(cell).find(|(place, _)| *place == group).map(|(_, code)| code)
    }

    /// Whether all of its groups are in another set, so that each of its cells is the sum of some of the other's.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        self.groups.iter().all(|group| other.groups.contains(group))
    }

    /// For each cell, the sum of a table of its own over the cells that have the same values in these groups.
    fn added_up(&self, table: Option<&Vec<f64>>, within: &[usize]) -> Vec<f64> {
        let size = |group: usize| {
            let of = self.groups.iter().zip(&self.sizes).find(|(place, _)| **place == group);
            of.map_or(1, |(_, size)| *size)
        };
        let groups = self.groups.iter().filter(|group| within.contains(group)).copied().collect();
        let Some(coarse) = Self::of(groups, size) else { return Vec::new() };
        let mut sums = vec![0.0; coarse.cells];
        for (value, cell) in table.into_iter().flatten().zip(coarse.cells_of(self)) {
            if let Some(sum) = sums.get_mut(cell) {
                *sum += value;
            }
        }
        coarse.cells_of(self).filter_map(|cell| sums.get(cell).copied()).collect()
    }

    /// Of a set that it is within, for each cell in order the cell of this one that it is a part of.
    pub fn cells_of(&self, finer: &Self) -> impl Iterator<Item = usize> {
        let mut steps = Vec::with_capacity(self.groups.len());
        let (mut stride, mut own) = (1, 1);
        for (group, size) in finer.groups.iter().zip(&finer.sizes).rev() {
            let size = (*size).max(1);
            if self.groups.contains(group) {
                steps.push((stride, size, own));
                own *= size;
            }
            stride *= size;
        }
        let cell = move |cell: usize| steps.iter().map(|(stride, size, own)| cell / stride % size * own).sum();
        (0..finer.cells).map(cell)
    }
}

/// The released numbers of an answer, ready to be worked with: one table for each grouping set and primitive.
#[derive(Debug, Clone)]
pub struct Figures {
    /// `tables[set · primitives + primitive][cell]`.
    tables: Vec<Vec<f64>>,
    /// `totals[set · number of totals + total][cell]`.
    totals: Vec<Vec<f64>>,
    /// Of each set.
    noise: Vec<Noise>,
    /// By how much each number is off at most besides, shaped like `tables` and behind them `totals`; of a question over
    /// a join that adds up alone, which has one set.
    roundings: Vec<Vec<f64>>,
    primitives: usize,
    totals_of_set: usize,
}

/// What the values of one group more count in each primitive, and by how much that is rounded: a list for each primitive
/// of a number for each value.
pub(crate) struct Weights {
    pub(crate) each: Vec<Vec<f64>>,
    pub(crate) roundings: Vec<Vec<f64>>,
}

impl Figures {
    /// Of tables that are estimates already, with independent noise of those deviations in each row.
    pub(crate) fn of(tables: Vec<Vec<f64>>, deviations: &[f64], primitives: usize) -> Self {
        let noise = deviations.chunks(primitives.max(1)).map(Noise::independent).collect();
        Self { tables, totals: Vec::new(), noise, roundings: Vec::new(), primitives, totals_of_set: 0 }
    }

    /// The numbers of one cell, in the order of [`CheckedQuery::primitives`], and behind them the totals over the
    /// answer that its outputs take.
    #[must_use]
    pub fn values(&self, set: usize, cell: usize) -> Vec<f64> {
        let of_set = self.tables.iter().skip(set * self.primitives).take(self.primitives);
        let totals = self.totals.iter().skip(set * self.totals_of_set).take(self.totals_of_set);
        of_set.chain(totals).filter_map(|table| table.get(cell).copied()).collect()
    }

    /// By how much each of [`Figures::values`] is off at most for its rounding alone; empty where none is rounded.
    #[must_use]
    pub fn roundings(&self, cell: usize) -> Vec<f64> {
        self.roundings.iter().filter_map(|table| table.get(cell).copied()).collect()
    }

    /// Their noise, which is the same in all cells of a set; `None` beyond the last set.
    #[must_use]
    pub fn noise(&self, set: usize) -> Option<&Noise> {
        self.noise.get(set)
    }
}

impl CheckedQuery {
    /// The released numbers with those of several grouping sets made to add up: what is counted or added up is, in each
    /// set, the weighted least squares estimate from the vectors of all sets, weights being one over the variance of
    /// the noise. `tables` are the released vectors and `deviations` those of their noise, both in the order of
    /// [`CheckedQuery::vectors`]. Persons and quantiles do not add up, and stay as they were released.
    ///
    /// It is post-processing, and costs nothing. See `docs/PRIVACY.md` for the closed form that it is.
    #[must_use]
    pub fn figures(&self, mut tables: Vec<Vec<f64>>, deviations: &[f64]) -> Figures {
        let after = self.deviations(deviations);
        if self.sets.len() > 1 && self.vectors().count() == tables.len() && tables.len() == after.len() {
            for (place, _) in self.primitives().iter().enumerate().filter(|(_, p)| p.kind().adds_up()) {
                let places = || (0..self.sets.len()).map(|set| set * self.primitives().len() + place);
                let measured: Vec<(&[f64], f64)> =
                    places().filter_map(|at| Some((tables.get(at)?.as_slice(), *deviations.get(at)?))).collect();
                for (at, estimate) in places().zip(least_squares(&self.sets, &measured)) {
                    if let Some(table) = tables.get_mut(at) {
                        *table = estimate;
                    }
                }
            }
        }
        let totals = self.sets.iter().enumerate().flat_map(|(place, set)| {
            let of_set = tables.iter().skip(place * self.primitives().len());
            self.totals.iter().map(move |total| set.added_up(of_set.clone().nth(total.primitive), &total.within))
        });
        let totals = totals.collect();
        let (primitives, totals_of_set) = (self.primitives().len(), self.totals.len());
        let noise = self.noise(deviations);
        Figures { tables, totals, noise, roundings: Vec::new(), primitives, totals_of_set }
    }

    /// The numbers of this question from those of `finer`, which counts in one vector and is split by one group more, at
    /// `place`: each primitive is the sum over that group's values of the count times the value's weight. The last are the
    /// released vector and the deviation of its noise.
    ///
    /// Primitives that weigh one count vary together, and so do totals of them: the covariance of two numbers is that
    /// of the cells that both add up, times the product of their weights.
    pub(crate) fn weighted(
        &self,
        weights: &Weights,
        finer: &Self,
        place: usize,
        (counts, deviations): (Vec<Vec<f64>>, &[f64]),
    ) -> Figures {
        let (Some(set), Some(all)) = (self.sets.first(), finer.sets.first()) else {
            return Figures::of(Vec::new(), &[], 0);
        };
        // INVARIANT: groups stand in canonical order in both, so that without the one more cells are numbered alike.
        let size = |group: usize| finer.groups.get(group).map_or(1, |group| group.codes.len());
        let coarse = GroupingSet::of(all.groups.iter().copied().filter(|group| *group != place).collect(), size);
        let table = |weights: &Vec<f64>, least: f64| {
            let mut sums = vec![0.0; set.cells];
            let cells = coarse.iter().flat_map(|coarse| coarse.cells_of(all)).enumerate();
            for ((finer, cell), count) in cells.zip(counts.iter().flatten()) {
                let weight = all.code(finer, place).and_then(|code| weights.get(code));
                if let (Some(sum), Some(weight)) = (sums.get_mut(cell), weight) {
                    *sum += weight * count.max(least);
                }
            }
            sums
        };
        let with_totals = |tables: Vec<Vec<f64>>| {
            let total = |total: &Total| set.added_up(tables.get(total.primitive), &total.within);
            let totals: Vec<_> = self.totals.iter().map(total).collect();
            (tables, totals)
        };
        let (tables, totals) =
            with_totals(weights.each.iter().map(|weights| table(weights, f64::NEG_INFINITY)).collect());
        // A bin has no fewer persons than none, whatever its noisy number.
        let (of_cells, of_totals) = with_totals(weights.roundings.iter().map(|off| table(off, 0.0)).collect());
        let roundings = [of_cells, of_totals].concat();
        let weights = &weights.each;
        let of_cells = weights.iter().map(|weights| (weights, set.groups()));
        let of_totals = self.totals.iter().filter_map(|t| Some((weights.get(t.primitive)?, t.within.as_slice())));
        let numbers: Vec<(&Vec<f64>, &[usize])> = of_cells.chain(of_totals).collect();
        let both = |(one, within): &(&Vec<f64>, &[usize]), (other, beside): &(&Vec<f64>, &[usize])| {
            let product: f64 = one.iter().zip(*other).map(|(one, other)| one * other).sum();
            product * covariance(&self.sets, deviations, set, within, beside)
        };
        let deviations = numbers.iter().map(|number| both(number, number).sqrt()).collect();
        let earlier = numbers.iter().enumerate().flat_map(|(later, other)| {
            let both = &both;
            numbers.iter().take(later).enumerate().map(move |(place, number)| (place, later, both(number, other)))
        });
        let noise = vec![Noise::new(deviations, earlier.collect())];
        let (primitives, totals_of_set) = (self.primitives().len(), self.totals.len());
        Figures { tables, totals, noise, roundings, primitives, totals_of_set }
    }

    /// The noise in the numbers of each grouping set, from the deviations of the vectors' noise.
    ///
    /// A total has a part of each cell's noise, so that cells and totals of one primitive vary together; primitives are
    /// independent of each other.
    pub(crate) fn noise(&self, of_vectors: &[f64]) -> Vec<Noise> {
        let after = self.deviations(of_vectors);
        let primitives = self.primitives().len();
        let of_set = |(place, set): (usize, &GroupingSet)| {
            let mut deviations: Vec<f64> = after.iter().skip(place * primitives).take(primitives).copied().collect();
            let mut covariances = Vec::new();
            for (number, total) in self.totals.iter().enumerate() {
                let both = |other: &[usize]| {
                    let measured =
                        (0..self.sets.len()).filter_map(|set| of_vectors.get(set * primitives + total.primitive));
                    covariance(&self.sets, &measured.copied().collect::<Vec<_>>(), set, &total.within, other)
                };
                deviations.push(both(&total.within).sqrt());
                covariances.push((total.primitive, primitives + number, both(set.groups())));
                for (earlier, other) in self.totals.iter().enumerate().take(number) {
                    if other.primitive == total.primitive {
                        covariances.push((primitives + earlier, primitives + number, both(&other.within)));
                    }
                }
            }
            Noise::new(deviations, covariances)
        };
        self.sets.iter().enumerate().map(of_set).collect()
    }

    /// The standard deviations of [`CheckedQuery::figures`], in the order of [`CheckedQuery::vectors`], from those of
    /// the vectors' noise: they do not depend on what is released.
    #[must_use]
    pub fn deviations(&self, of_vectors: &[f64]) -> Vec<f64> {
        let mut after = of_vectors.to_vec();
        if self.sets.len() > 1 {
            for (place, _) in self.primitives().iter().enumerate().filter(|(_, p)| p.kind().adds_up()) {
                let places = || (0..self.sets.len()).map(|set| set * self.primitives().len() + place);
                let measured: Vec<f64> = places().filter_map(|at| of_vectors.get(at).copied()).collect();
                for (at, error) in places().zip(errors(&self.sets, &measured)) {
                    if let Some(deviation) = after.get_mut(at) {
                        *deviation = error;
                    }
                }
            }
        }
        after
    }
}

/// The estimate of each set's table, from one noisy table of each set and the deviation of its noise; those with an
/// infinite one were not measured, and lie within one that was.
pub(crate) fn estimates(sets: &[GroupingSet], measured: &[(&[f64], f64)]) -> Vec<Vec<f64>> {
    let known = measured.iter().filter(|(_, deviation)| deviation.is_finite());
    let sum = |table: &[f64], of: &GroupingSet, set: &GroupingSet| {
        let mut sums = vec![0.0; set.cells];
        for (value, cell) in table.iter().zip(set.cells_of(of)) {
            if let Some(sum) = sums.get_mut(cell) {
                *sum += value;
            }
        }
        sums
    };
    match (sets.first(), measured.first()) {
        // The sum of cells that are measured once is the best there is, however many groups they have.
        (Some(of), Some((table, _))) if known.count() == 1 => sets.iter().map(|set| sum(table, of, set)).collect(),
        _ => least_squares(sets, measured),
    }
}

/// The standard deviations of [`estimates`].
pub(crate) fn estimated_errors(sets: &[GroupingSet], deviations: &[f64]) -> Vec<f64> {
    match (sets.first(), deviations) {
        (Some(of), [deviation, rest @ ..]) if rest.iter().all(|deviation| deviation.is_infinite()) => {
            sets.iter().map(|set| deviation * (of.cells as f64 / set.cells.max(1) as f64).sqrt()).collect()
        }
        _ => errors(sets, deviations),
    }
}

/// Every subset of the groups of any set.
fn parts(sets: &[GroupingSet]) -> BTreeSet<Vec<usize>> {
    let mut parts = BTreeSet::new();
    for set in sets {
        // INVARIANT: a set of more than one has at most as many groups as give that many sets.
        for chosen in 0..1_u64 << set.groups.len().min(MAX_GROUPS) {
            let part = set.groups.iter().enumerate().filter(|(bit, _)| chosen >> bit & 1 == 1);
            parts.insert(part.map(|(_, group)| *group).collect());
        }
    }
    parts
}

/// The most groups of a question with several grouping sets.
pub(crate) const MAX_GROUPS: usize = 6;

const _: () = assert!(1 << MAX_GROUPS <= MAX_GROUPING_SETS, "a CUBE over that many groups has no more sets");

/// The weighted least squares estimate of each set's table, from one noisy table of each set and the deviation of its
/// noise.
///
/// Let `x` be the table over all groups, `n_i` their sizes, and `N_S` the product of the sizes outside of `S`. A
/// table is the sum of its *interactions* `f_U` over subsets `U` of its groups (the decomposition of an analysis of
/// variance), each with mean 0 along each of its groups. In the table of `S` the interaction of `U ⊆ S` is `N_S·f_U`,
/// and noise of variance `σ_S²` gives it one of its own; interactions are orthogonal, so that each is estimated by
/// itself: `f_U = Σ w_S·g_SU / Σ w_S·N_S` over the sets `S ⊇ U`, with `w_S = 1/σ_S²` and `g_SU` the interaction in
/// the noisy table of `S`. Its variance in one cell is `Π(1 − 1/n_i) / (N_U·Σ w_S·N_S)`, the product over `U`.
fn least_squares(sets: &[GroupingSet], measured: &[(&[f64], f64)]) -> Vec<Vec<f64>> {
    let sizes = Sizes::of(sets);
    let deviations: Vec<f64> = measured.iter().map(|(_, deviation)| *deviation).collect();
    let mut estimates: Vec<Vec<f64>> = sets.iter().map(|set| vec![0.0; set.cells]).collect();
    for part in parts(sets) {
        let Some(part) = GroupingSet::of(part, |group| sizes.of_group(group)) else { continue };
        let mut interaction = vec![0.0; part.cells];
        for (set, (table, deviation)) in sets.iter().zip(measured).filter(|(set, _)| part.is_within(set)) {
            let share = part.cells as f64 / set.cells as f64 / (deviation * deviation);
            for (value, cell) in table.iter().zip(part.cells_of(set)) {
                if let Some(mean) = interaction.get_mut(cell) {
                    *mean += value * share;
                }
            }
        }
        centre(&mut interaction, &part.sizes);
        let weights = sizes.weights(&part, sets, &deviations);
        for (set, estimate) in sets.iter().zip(&mut estimates).filter(|(set, _)| part.is_within(set)) {
            let times = sizes.outside(&set.groups) / weights;
            for (value, cell) in estimate.iter_mut().zip(part.cells_of(set)) {
                *value += times * interaction.get(cell).unwrap_or(&0.0);
            }
        }
    }
    estimates
}

/// The standard deviations of [`least_squares`], from those of what was measured alone.
fn errors(sets: &[GroupingSet], deviations: &[f64]) -> Vec<f64> {
    let sizes = Sizes::of(sets);
    let mut variances = vec![0.0; sets.len()];
    for part in parts(sets) {
        let Some(part) = GroupingSet::of(part, |group| sizes.of_group(group)) else { continue };
        let variance = variance_of(&part, &sizes, sets, deviations);
        for (set, of_set) in sets.iter().zip(&mut variances).filter(|(set, _)| part.is_within(set)) {
            *of_set += sizes.outside(&set.groups).powi(2) * variance;
        }
    }
    variances.into_iter().map(f64::sqrt).collect()
}

/// The covariance of two sums over cells of one set, `set`: over those that agree with a cell in the groups of `one`,
/// and over those that agree with the same cell in the groups of `other`. Groups that the set does not have do not
/// matter.
///
/// Where nothing is made to add up, cells are independent and it is the variance of one times the number of cells that
/// are in both sums. Else the sum over the cells that agree in `W` is the estimate of the table of `W` in that cell,
/// and in the terms of [`least_squares`] its covariance with that of `V` is `N_W·N_V·Σ var f_U` over `U ⊆ W ∩ V`,
/// interactions being uncorrelated.
fn covariance(sets: &[GroupingSet], measured: &[f64], set: &GroupingSet, one: &[usize], other: &[usize]) -> f64 {
    let within = |groups: &[usize]| -> BTreeSet<usize> {
        set.groups.iter().filter(|group| groups.contains(group)).copied().collect()
    };
    let (one, other) = (within(one), within(other));
    if sets.len() < 2 {
        let apart =
            set.groups.iter().zip(&set.sizes).filter(|(group, _)| !one.contains(group) && !other.contains(group));
        let cells: f64 = apart.map(|(_, size)| *size as f64).product();
        return cells * measured.first().map_or(0.0, |deviation| deviation * deviation);
    }
    let sizes = Sizes::of(sets);
    let outside = |groups: &BTreeSet<usize>| sizes.outside(&groups.iter().copied().collect::<Vec<_>>());
    let mut sum = 0.0;
    for part in parts(std::slice::from_ref(set)) {
        if part.iter().all(|group| one.contains(group) && other.contains(group))
            && let Some(part) = GroupingSet::of(part, |group| sizes.of_group(group))
        {
            sum += variance_of(&part, &sizes, sets, measured);
        }
    }
    outside(&one) * outside(&other) * sum
}

/// The variance of the estimate of an interaction in one cell.
fn variance_of(part: &GroupingSet, sizes: &Sizes, sets: &[GroupingSet], deviations: &[f64]) -> f64 {
    let spread: f64 = part.sizes.iter().map(|size| 1.0 - 1.0 / *size as f64).product();
    spread / (sizes.outside(&part.groups) * sizes.weights(part, sets, deviations))
}

/// The sizes of all groups of some sets.
struct Sizes(BTreeMap<usize, usize>);

impl Sizes {
    fn of(sets: &[GroupingSet]) -> Self {
        Self(sets.iter().flat_map(|set| set.groups.iter().copied().zip(set.sizes.iter().copied())).collect())
    }

    fn of_group(&self, group: usize) -> usize {
        self.0.get(&group).copied().unwrap_or(1)
    }

    /// `N_S`: the product of the sizes of the groups that are not among these.
    fn outside(&self, groups: &[usize]) -> f64 {
        self.0.iter().filter(|(group, _)| !groups.contains(group)).map(|(_, size)| *size as f64).product()
    }

    /// `Σ w_S·N_S` over the sets that hold all groups of `part`.
    fn weights(&self, part: &GroupingSet, sets: &[GroupingSet], deviations: &[f64]) -> f64 {
        let holding = sets.iter().zip(deviations).filter(|(set, _)| part.is_within(set));
        holding.map(|(set, deviation)| self.outside(&set.groups) / (deviation * deviation)).sum()
    }
}

/// Takes off the mean along each axis of a table, whose last axis runs fastest.
fn centre(table: &mut [f64], sizes: &[usize]) {
    let mut stride = 1;
    for size in sizes.iter().rev() {
        let block = stride * size;
        for block in table.chunks_mut(block.max(1)) {
            for offset in 0..stride {
                let mean = block.iter().skip(offset).step_by(stride).sum::<f64>() / *size as f64;
                block.iter_mut().skip(offset).step_by(stride).for_each(|value| *value -= mean);
            }
        }
        stride = block;
    }
}

#[cfg(test)]
mod tests;
