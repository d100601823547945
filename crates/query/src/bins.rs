//! A value in at most 16 public bins: how a join, which counts persons and nothing else, adds up.

use crate::number::{bounded, too_wide};
use crate::{Category, Decimal, MAX_BINS, PrimitiveKind, RowValue};
use firebreak_domain::{ColumnName, Contract, Refusal};
use std::collections::BTreeSet;

/// The bins of a value, which follow from its bounds alone, and so from the contract and the question.
///
/// Of a value with at most [`MAX_BINS`] possible values, in fixed point, each is a bin by itself; else there are as
/// many or one less, none with more of them than the rounded-up share. Every row that has the value is in exactly one,
/// and counts there with the bin's middle: that is what a sum over them adds up.
#[derive(Debug, Clone, PartialEq)]
pub struct Bins {
    columns: BTreeSet<ColumnName>,
    derived: bool,
    low: i64,
    high: i64,
    decimals: u8,
    /// Of each bucket by its code, the least and the largest value in it, in fixed point; the least is above the
    /// largest where no row can be in it.
    ranges: Vec<(i128, i128)>,
}

impl Bins {
    /// The bins of a value, and the `WIDTH_BUCKET` by which rows are put into them. Its two outer buckets, below its
    /// ends and beyond, are the first bin and the last.
    ///
    /// # Errors
    /// A refusal of a value without bounds, or whose bounds leave the integers.
    pub(crate) fn of(value: &RowValue, contract: &Contract) -> Result<(Self, Category), Refusal> {
        let of = bounded(value, contract)?;
        let (low, high) = (i128::from(of.low), i128::from(of.high));
        let values = high - low + 1;
        // A WIDTH_BUCKET has three buckets at least. Where there are fewer values, nobody is in the last of them.
        let bins = values.clamp(3, i128::from(MAX_BINS));
        let (inner, share) = (bins - 2, (values + i128::from(MAX_BINS) - 1) / i128::from(MAX_BINS));
        let first = low + share;
        let beyond = (high + 1 - share).max(first + 1);
        // The least value of each inner bucket: that from which on `(value − first)·inner / (beyond − first)` is its
        // place.
        let start = |place: i128| first + (place * (beyond - first) + inner - 1) / inner;
        let inside = (0..inner).map(|place| (start(place), (start(place + 1) - 1).min(high)));
        let ranges = std::iter::once((low, (first - 1).min(high))).chain(inside).chain([(beyond, high)]).collect();
        let end = |value: i128| Decimal::new(value, of.decimals).map_err(|_| too_wide());
        let category = Category::Bucket {
            value: value.clone(),
            low: end(first)?,
            high: end(beyond)?,
            buckets: u32::try_from(inner).map_err(|_| too_wide())?,
        };
        let columns = value.columns().into_iter().cloned().collect();
        let derived = !matches!(value, RowValue::Column(_));
        Ok((Self { columns, derived, low: of.low, high: of.high, decimals: of.decimals, ranges }, category))
    }

    /// The columns that the value is worked out from, each behind its dataset's id.
    #[must_use]
    pub const fn columns(&self) -> &BTreeSet<ColumnName> {
        &self.columns
    }

    /// Whether the value is worked out from them, and not one of them as it is.
    #[must_use]
    pub const fn is_derived(&self) -> bool {
        self.derived
    }

    /// The least and the largest that the value can be.
    #[must_use]
    pub fn bounds(&self) -> (f64, f64) {
        (self.low as f64 / self.unit(), self.high as f64 / self.unit())
    }

    /// How many bins have a value.
    #[must_use]
    pub fn count(&self) -> usize {
        self.inhabited().count()
    }

    /// By how much one person's value is away from what it counts with, at most: half of the widest bin; 0 where each
    /// value is a bin by itself.
    #[must_use]
    pub fn rounding(&self) -> f64 {
        let widest = self.inhabited().map(|(least, largest)| largest - least).max();
        widest.unwrap_or_default() as f64 / 2.0 / self.unit()
    }

    /// The standard deviation of the noise in a sum, from that in the count of each bin: `σ·√Σ middle²`.
    #[must_use]
    pub fn deviation_of_sum(&self, deviation: f64) -> f64 {
        let middle = |(least, largest): (i128, i128)| (least + largest) as f64 / 2.0 / self.unit();
        deviation * self.inhabited().map(|range| middle(range).powi(2)).sum::<f64>().sqrt()
    }

    /// The standard deviation of the noise in the count of all persons who have the value: `σ·√bins`.
    #[must_use]
    pub fn deviation_of_count(&self, deviation: f64) -> f64 {
        deviation * (self.count() as f64).sqrt()
    }

    /// What a person in each bucket counts in a primitive.
    ///
    /// A bucket in which nobody can be counts nothing: its count is noise alone, and is left out.
    pub(crate) fn weights(&self, kind: &PrimitiveKind) -> Vec<f64> {
        let weight = |(least, largest): &(i128, i128)| match kind {
            _ if least > largest => 0.0,
            PrimitiveKind::CountRows | PrimitiveKind::CountValues { .. } => 1.0,
            PrimitiveKind::SumCentred { centre, .. } => (least + largest - 2 * i128::from(*centre)) as f64 / 2.0,
            // INVARIANT: a question over a join has none of these.
            PrimitiveKind::CountPersons | PrimitiveKind::Quantile { .. } => 0.0,
        };
        self.ranges.iter().map(weight).collect()
    }

    /// By how much a person in each bucket may be away, at most, from what it counts in a primitive.
    pub(crate) fn roundings(&self, kind: &PrimitiveKind) -> Vec<f64> {
        let rounding = |(least, largest): &(i128, i128)| match kind {
            PrimitiveKind::SumCentred { .. } => (largest - least).max(0) as f64 / 2.0,
            _ => 0.0,
        };
        self.ranges.iter().map(rounding).collect()
    }

    fn inhabited(&self) -> impl Iterator<Item = (i128, i128)> {
        self.ranges.iter().copied().filter(|(least, largest)| least <= largest)
    }

    /// The units of the fixed point in 1.
    fn unit(&self) -> f64 {
        10_f64.powi(i32::from(self.decimals))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BoundValue;
    use crate::number::bucket;
    use proptest::prelude::*;

    fn contract(min: i64, max: i64, decimals: u8) -> Contract {
        let domain = match decimals {
            0 => format!("type = \"integer\"\nmin = {min}\nmax = {max}"),
            _ => format!("type = \"decimal\"\nmin = {min}\nmax = {max}\ndecimals = {decimals}"),
        };
        let text = include_str!("../../../deploy/sample/bundle/contracts/education.enrolments.toml");
        let hours = "type = \"integer\"\nmin = 0\nmax = 60";
        assert!(text.contains(hours));
        toml::from_str(&text.replace(hours, &domain)).unwrap()
    }

    fn bins(contract: &Contract) -> (Bins, crate::BoundCategory) {
        let hours = RowValue::Column("weekly_hours".parse().unwrap());
        let (bins, category) = Bins::of(&hours, contract).unwrap();
        let Category::Bucket { value, low, high, buckets } = category else { panic!("no buckets") };
        (bins, bucket(&value, low, high, u16::try_from(buckets).unwrap(), contract).unwrap())
    }

    /// Every possible value is in the bin that says so, and no bin has more than its share.
    fn holds(min: i64, max: i64, decimals: u8) {
        let (bins, category) = bins(&contract(min, max, decimals));
        let unit = 10_i64.pow(decimals.into());
        let (min, max) = (min * unit, max * unit);
        let mut found = 0;
        for value in min..=max {
            let code = category.code(&|_: &ColumnName| Some(BoundValue::Number(value))).unwrap();
            let (least, largest) = bins.ranges[usize::from(code)];
            assert!(least <= i128::from(value) && i128::from(value) <= largest, "{value} of {min} to {max}");
            found += 1;
        }
        let values: i128 = bins.inhabited().map(|(least, largest)| largest - least + 1).sum();
        assert_eq!(values, found, "every value is in one bin and no bin has others");
        let most = (found + 15) / 16;
        assert!(bins.inhabited().all(|(least, largest)| largest - least < most), "{min} to {max}");
        assert!((1..=16).contains(&bins.count()) && bins.ranges.len() <= 16);
        assert_eq!(bins.rounding() == 0.0, found <= 16);
    }

    #[test]
    fn few_values_are_a_bin_each_and_are_not_rounded() {
        for values in 2..=40 {
            for min in [-7, 0, 3] {
                let max = min + values - 1;
                holds(min, max, 0);
            }
        }
        let (bins, _) = bins(&contract(0, 1, 0));
        assert_eq!((bins.count(), bins.ranges.len(), bins.rounding()), (2, 3, 0.0));
        let sum =
            PrimitiveKind::SumCentred { value: crate::BoundNumber::Constant(0), centre: 0, half_width: 1, decimals: 0 };
        assert_eq!(bins.weights(&sum), [0.0, 1.0, 0.0], "a bucket in which nobody can be adds no noise");
        assert_eq!(bins.deviation_of_sum(2.0), 2.0);
    }

    #[test]
    fn a_clamped_value_has_the_bins_of_its_range_and_one_of_a_single_value_too() {
        let contract = contract(0, 60, 0);
        let clamped = |low: i64, high: i64| {
            let of = Box::new(RowValue::Column("weekly_hours".parse().unwrap()));
            let value = RowValue::Clamp { of, low: Decimal::whole(low), high: Decimal::whole(high) };
            Bins::of(&value, &contract).unwrap().0
        };
        assert_eq!((clamped(10, 25).count(), clamped(10, 25).rounding()), (16, 0.0));
        assert_eq!((clamped(10, 26).rounding(), clamped(10, 26).bounds()), (0.5, (10.0, 26.0)));
        assert_eq!((clamped(5, 5).count(), clamped(5, 5).rounding()), (1, 0.0));
    }

    #[test]
    fn hours_have_bins_of_four_at_most_and_decimals_those_of_their_fixed_point() {
        let (hours, _) = bins(&contract(0, 60, 0));
        assert_eq!((hours.count(), hours.rounding(), hours.bounds()), (16, 1.5, (0.0, 60.0)));
        let (money, _) = bins(&contract(0, 10_000, 2));
        assert_eq!((money.count(), money.rounding(), money.bounds()), (16, 312.5, (0.0, 10_000.0)));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_value_is_in_one_bin_which_has_its_share_at_most(
            min in -5_000_i64..5_000,
            more in 1_i64..300,
            decimals in 0_u8..3,
        ) {
            holds(min, min + more, decimals);
        }
    }
}
