//! What is done to a released value before it is shown.

/// An end of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// `GREATEST`: nothing is shown below the bound.
    AtLeast,
    /// `LEAST`: nothing is shown above the bound.
    AtMost,
}

/// The most decimals, and the most tens, to which an output is rounded.
pub const MAX_ROUNDING: i8 = 12;

impl End {
    /// Of two bounds of this end, the one that leaves less.
    pub(crate) const fn narrower(self, one: f64, other: f64) -> f64 {
        match self {
            Self::AtLeast => one.max(other),
            Self::AtMost => one.min(other),
        }
    }
}
