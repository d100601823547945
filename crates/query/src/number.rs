//! Numbers on one row in fixed point, with bounds that follow from the contract.

use crate::{BoundCategory, BoundValue, Decimal, RowArithmetic, RowValue};
use firebreak_domain::{ColumnName, Contract, ReasonCode, Refusal};
use std::collections::BTreeSet;
use std::fmt;

/// The most decimals of a value in fixed point.
const MAX_DECIMALS: u8 = 12;

/// A whole number on one row, over encoded columns: what engines compute. Missing where one of its columns is.
///
/// INVARIANT: every part of it stays within 62 bits on every row, whatever the data, so that no engine overflows.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum BoundNumber {
    /// A measure, in its own fixed point.
    Column(ColumnName),
    /// A constant.
    Constant(i64),
    /// The sum.
    Plus(Box<BoundNumber>, Box<BoundNumber>),
    /// The difference.
    Minus(Box<BoundNumber>, Box<BoundNumber>),
    /// The product.
    Times(Box<BoundNumber>, Box<BoundNumber>),
    /// The number, or the end of the range that it is beyond.
    Clamp(Box<BoundNumber>, i64, i64),
}

impl BoundNumber {
    /// How many columns, constants and operators an engine computes for it, what is inside a CLAMP three times.
    #[must_use]
    pub fn parts(&self) -> u64 {
        match self {
            Self::Column(_) | Self::Constant(_) => 1,
            Self::Plus(one, other) | Self::Minus(one, other) | Self::Times(one, other) => {
                1 + one.parts() + other.parts()
            }
            Self::Clamp(of, _, _) => 1 + 3 * of.parts(),
        }
    }

    /// The number on a row, `None` where it is missing. `value` gives a column's encoded value, `None` where it is
    /// missing.
    ///
    /// This is the meaning to which every engine is held.
    pub fn value(&self, value: &dyn Fn(&ColumnName) -> Option<BoundValue>) -> Option<i64> {
        match self {
            Self::Column(column) => match value(column)? {
                BoundValue::Number(number) => Some(number),
                BoundValue::Code(_) | BoundValue::Day(_) => None,
            },
            Self::Constant(number) => Some(*number),
            Self::Plus(one, other) => Some(one.value(value)? + other.value(value)?),
            Self::Minus(one, other) => Some(one.value(value)? - other.value(value)?),
            Self::Times(one, other) => Some(one.value(value)? * other.value(value)?),
            Self::Clamp(of, low, high) => Some(of.value(value)?.max(*low).min(*high)),
        }
    }

    /// The columns that it reads.
    #[must_use]
    pub fn columns(&self) -> BTreeSet<&ColumnName> {
        match self {
            Self::Column(column) => [column].into(),
            Self::Constant(_) => BTreeSet::new(),
            Self::Plus(one, other) | Self::Minus(one, other) | Self::Times(one, other) => {
                one.columns().into_iter().chain(other.columns()).collect()
            }
            Self::Clamp(of, _, _) => of.columns(),
        }
    }
}

/// One text for each number; it names columns and holds the caller's constants.
impl fmt::Display for BoundNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Column(column) => write!(f, "{column}"),
            Self::Constant(number) => write!(f, "n:{number}"),
            Self::Plus(one, other) => write!(f, "(plus {one} {other})"),
            Self::Minus(one, other) => write!(f, "(minus {one} {other})"),
            Self::Times(one, other) => write!(f, "(times {one} {other})"),
            Self::Clamp(of, low, high) => write!(f, "(clamp {of} n:{low} n:{high})"),
        }
    }
}

/// // PRIVACY: constants are the caller's words.
impl fmt::Debug for BoundNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BoundNumber(..)")
    }
}

/// A number with what bounds it on every row.
#[derive(Clone)]
pub(crate) struct Bounded {
    pub(crate) number: BoundNumber,
    pub(crate) low: i64,
    pub(crate) high: i64,
    pub(crate) decimals: u8,
}

/// Bounds by interval arithmetic: `[a, b] + [c, d] = [a + c, b + d]`, and likewise; of a product the least and the
/// largest of the four products of ends. Where one column stands several times they are wider than need be, and never
/// narrower.
pub(crate) fn bounded(value: &RowValue, contract: &Contract) -> Result<Bounded, Refusal> {
    match value {
        RowValue::Column(name) => {
            let bounds = contract.column(name.as_str()).and_then(|column| column.domain.fixed_point_bounds());
            let (low, high, decimals) = bounds.ok_or_else(|| Refusal::new(ReasonCode::NotMeasurable))?;
            Ok(Bounded { number: BoundNumber::Column(name.clone()), low, high, decimals })
        }
        RowValue::Constant(number) => constant(*number),
        RowValue::Clamp { of, low, high } => {
            let (of, low, high) = bounded(of, contract)?.and_range(*low, *high)?;
            if low > high {
                return Err(Refusal::new(ReasonCode::LiteralMismatch).because("a range has its lower end first"));
            }
            let (bottom, top) = (of.low.clamp(low, high), of.high.clamp(low, high));
            let number = BoundNumber::Clamp(Box::new(of.number), low, high);
            Ok(Bounded { number, low: bottom, high: top, decimals: of.decimals })
        }
        RowValue::Binary { op, left, right } => {
            let (left, right) = (bounded(left, contract)?, bounded(right, contract)?);
            match op {
                RowArithmetic::Add => {
                    let (left, right) = left.aligned(&right)?;
                    left.joined(&right, BoundNumber::Plus, |(a, b), (c, d)| [a + c, b + d])
                }
                RowArithmetic::Subtract => {
                    let (left, right) = left.aligned(&right)?;
                    left.joined(&right, BoundNumber::Minus, |(a, b), (c, d)| [a - d, b - c])
                }
                RowArithmetic::Multiply => left.times(&right),
            }
        }
    }
}

fn constant(number: Decimal) -> Result<Bounded, Refusal> {
    let decimals = (0..=MAX_DECIMALS).find(|decimals| number.fixed_point(*decimals).is_some());
    let found = decimals.and_then(|decimals| Some((number.fixed_point(decimals)?, decimals)));
    let (value, decimals) = found.filter(|(value, _)| value.unsigned_abs() < 1 << 62).ok_or_else(too_wide)?;
    Ok(Bounded { number: BoundNumber::Constant(value), low: value, high: value, decimals })
}

impl Bounded {
    /// Both in the decimals of the one that has more.
    fn aligned(&self, other: &Self) -> Result<(Self, Self), Refusal> {
        let decimals = self.decimals.max(other.decimals);
        Ok((self.scaled_to(decimals)?, other.scaled_to(decimals)?))
    }

    /// With the ends of a range, all three in the decimals of the one that has most.
    fn and_range(self, low: Decimal, high: Decimal) -> Result<(Self, i64, i64), Refusal> {
        let ends = constant(low)?.aligned(&constant(high)?)?;
        let (of, low) = self.aligned(&ends.0)?;
        let (of, high) = of.aligned(&ends.1)?;
        Ok((of, low.low, high.low))
    }

    fn scaled_to(&self, decimals: u8) -> Result<Self, Refusal> {
        let more = decimals.saturating_sub(self.decimals);
        if more == 0 {
            return Ok(self.clone());
        }
        let factor = 10_i64.checked_pow(u32::from(more)).ok_or_else(too_wide)?;
        let factor = Self { number: BoundNumber::Constant(factor), low: factor, high: factor, decimals: more };
        self.times(&factor)
    }

    fn times(&self, other: &Self) -> Result<Self, Refusal> {
        let decimals = self.decimals + other.decimals;
        if decimals > MAX_DECIMALS {
            return Err(too_wide());
        }
        // A square is never below 0.
        let square = self.number == other.number;
        let product = self.joined(other, BoundNumber::Times, |(a, b), (c, d)| {
            let ends = [a * c, a * d, b * c, b * d];
            let (low, high) = ends.iter().fold((i128::MAX, i128::MIN), |(l, h), e| (l.min(*e), h.max(*e)));
            [if square { low.max(0) } else { low }, high]
        })?;
        Ok(Self { decimals, ..product })
    }

    /// The square of the distance from `centre`, in twice the decimals.
    pub(crate) fn squared_from(&self, centre: i64) -> Result<Self, Refusal> {
        let centre = Self { number: BoundNumber::Constant(centre), low: centre, high: centre, decimals: self.decimals };
        let distance = self.joined(&centre, BoundNumber::Minus, |(a, b), (c, d)| [a - d, b - c])?;
        distance.times(&distance)
    }

    fn joined(
        &self,
        other: &Self,
        join: fn(Box<BoundNumber>, Box<BoundNumber>) -> BoundNumber,
        bounds: impl Fn((i128, i128), (i128, i128)) -> [i128; 2],
    ) -> Result<Self, Refusal> {
        let wide = |bounded: &Self| (i128::from(bounded.low), i128::from(bounded.high));
        let narrow = |end: i128| i64::try_from(end).ok().filter(|end| end.unsigned_abs() < 1 << 62);
        let [low, high] = bounds(wide(self), wide(other)).map(narrow);
        let (low, high) = low.zip(high).ok_or_else(too_wide)?;
        let number = join(Box::new(self.number.clone()), Box::new(other.number.clone()));
        Ok(Self { number, low, high, decimals: self.decimals })
    }
}

/// `WIDTH_BUCKET(value, low, high, buckets)` over encoded columns.
pub(crate) fn bucket(
    value: &RowValue,
    low: Decimal,
    high: Decimal,
    buckets: u16,
    contract: &Contract,
) -> Result<BoundCategory, Refusal> {
    let (of, low, high) = bounded(value, contract)?.and_range(low, high)?;
    if low >= high {
        let what = "the buckets lie between two ends, the lower first";
        return Err(Refusal::new(ReasonCode::LiteralMismatch).because(what));
    }
    // INVARIANT: what an engine computes for a value between the ends stays within 62 bits.
    let widest = i128::from(high - low) * i128::from(buckets);
    if widest >= 1 << 62 {
        return Err(too_wide());
    }
    Ok(BoundCategory::Bucket { value: of.number, low, high, buckets })
}

/// A value whose bounds leave the integers.
pub(crate) fn too_wide() -> Refusal {
    Refusal::new(ReasonCode::NotMeasurable).because(
        "the bounds that follow for this value are too wide for an exact sum: narrow them by CLAMP(value, low, high)",
    )
}

#[cfg(test)]
mod tests;
