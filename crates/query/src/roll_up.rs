//! Roll-ups: a question answered by adding up what another one's release holds.

use crate::margins::{Figures, GroupingSet, estimated_errors, estimates};
use crate::{CheckedGroup, CheckedQuery};

/// Why a release cannot be added up to the answer of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotRolledUp {
    /// The questions read other data.
    #[error("the release is of other datasets, another cut or other rows: a roll-up has its FROM, cut and WHERE")]
    OtherData,
    /// A figure cannot be had from those of the release.
    #[error(
        "a roll-up adds up counts and sums that the release holds, each with the same FILTER; persons and quantiles do \
         not add up. A sum that stands beside the count or mean of its values in the release is named beside their count"
    )]
    NotMeasured,
    /// A total over several grouping sets.
    #[error("shares of a total are taken of one grouping set, in the release and in the roll-up")]
    TotalOfSets,
    /// A group is not among those of the release.
    #[error("a roll-up is split by some of the groups of the release, and by nothing else")]
    NotSplit,
}

/// Which part of a release each part of a question is.
struct Places {
    /// For each primitive of the question, that of the release.
    primitives: Vec<usize>,
    /// For each grouping set of the question, the same in terms of the release's groups.
    sets: Vec<GroupingSet>,
}

impl CheckedQuery {
    /// Whether `coarser` can be answered by adding up cells of this question's release.
    ///
    /// # Errors
    /// [`NotRolledUp`].
    pub fn rolls_up_to(&self, coarser: &Self) -> Result<(), NotRolledUp> {
        self.places(coarser).map(|_| ())
    }

    /// The figures of `coarser`, added up from the vectors of this question's release and the deviations of their
    /// noise, both in the order of [`CheckedQuery::vectors`]: over k cells with independent noise of deviation σ
    /// each, the sum has the deviation √k·σ. Where the release holds several grouping sets it is their weighted least
    /// squares estimate of the sum, as in [`CheckedQuery::figures`].
    ///
    /// It is post-processing, and costs nothing. Rows that are in none of the release's groups are in no cell, and so
    /// in no sum of them.
    ///
    /// # Errors
    /// [`NotRolledUp`].
    pub fn rolled_up(&self, coarser: &Self, tables: &[Vec<f64>], deviations: &[f64]) -> Result<Figures, NotRolledUp> {
        let Places { primitives, sets } = self.places(coarser)?;
        let known = self.sets.len();
        let all: Vec<GroupingSet> = self.sets.iter().chain(&sets).cloned().collect();
        let mut by_primitive = Vec::with_capacity(primitives.len());
        for place in primitives {
            let vector = |set: usize| set * self.primitives.len() + place;
            let measured: Option<Vec<(&[f64], f64)>> = (0..known)
                .map(|set| Some((tables.get(vector(set))?.as_slice(), *deviations.get(vector(set))?)))
                .collect();
            let mut measured = measured.ok_or(NotRolledUp::OtherData)?;
            // What was not measured weighs nothing.
            measured.resize(all.len(), (&[], f64::INFINITY));
            let errors: Vec<f64> = measured.iter().map(|(_, deviation)| *deviation).collect();
            let (sums, errors) = (estimates(&all, &measured), estimated_errors(&all, &errors));
            by_primitive.push(sums.into_iter().zip(errors).skip(known).collect::<Vec<_>>());
        }
        let mut rolled = (Vec::new(), Vec::new());
        for set in 0..sets.len() {
            for of_primitive in &mut by_primitive {
                let (table, deviation) = of_primitive.get_mut(set).map(std::mem::take).unwrap_or_default();
                rolled.0.push(table);
                rolled.1.push(deviation);
            }
        }
        let (tables, deviations) = rolled;
        if coarser.totals.is_empty() {
            return Ok(Figures::of(tables, &deviations, coarser.primitives.len()));
        }
        // Cells of one set are sums over other cells each, and so independent as the cells of a release are.
        Ok(coarser.figures(tables, &deviations))
    }

    fn places(&self, coarser: &Self) -> Result<Places, NotRolledUp> {
        let same = self.reads.iter().map(|reads| &reads.dataset).eq(coarser.reads.iter().map(|reads| &reads.dataset));
        if !same || self.cut != coarser.cut || self.filter != coarser.filter {
            return Err(NotRolledUp::OtherData);
        }
        if self.selection.is_some() || coarser.selection.is_some() {
            return Err(NotRolledUp::NotSplit);
        }
        if !coarser.totals.is_empty() && (self.sets.len() > 1 || coarser.sets.len() > 1) {
            return Err(NotRolledUp::TotalOfSets);
        }
        let primitive = |wanted: &crate::Primitive| {
            let found = self.primitives.iter().position(|primitive| primitive == wanted);
            found.filter(|_| wanted.kind().adds_up()).ok_or(NotRolledUp::NotMeasured)
        };
        let primitives = coarser.primitives.iter().map(primitive).collect::<Result<Vec<_>, _>>()?;
        let alike =
            |one: &CheckedGroup, other: &CheckedGroup| one.category == other.category && one.codes == other.codes;
        let group = |wanted: &CheckedGroup| {
            self.groups.iter().position(|group| alike(group, wanted)).ok_or(NotRolledUp::NotSplit)
        };
        let groups = coarser.groups.iter().map(group).collect::<Result<Vec<_>, _>>()?;
        let set = |wanted: &GroupingSet| {
            let places: Option<Vec<usize>> = wanted.groups().iter().map(|place| groups.get(*place).copied()).collect();
            // INVARIANT: groups stand in canonical order in both, so that cells are numbered alike.
            let places = places.filter(|places| places.is_sorted_by(|one, other| one < other));
            let size = |place: usize| self.groups.get(place).map_or(0, |group| group.codes.len());
            let set = places.and_then(|places| GroupingSet::of(places, size));
            set.filter(|set| self.sets.iter().any(|known| set.is_within(known))).ok_or(NotRolledUp::NotSplit)
        };
        let sets = coarser.sets.iter().map(set).collect::<Result<Vec<_>, _>>()?;
        Ok(Places { primitives, sets })
    }
}
