use zeroize::Zeroizing;

/// An exact value, computed from people's rows and not yet measured.
///
/// It exists only inside an adapter, between the engine's answer and the measurement. Whoever runs an engine can make
/// one; the only way out is [`Armed::measure`](crate::Armed::measure), which adds the noise that was drawn for this
/// request. So it can be neither shown, written, copied, compared nor borrowed:
///
/// ```
/// let exact = firebreak_privacy::Exact::new(3_i64);
/// drop(exact);
/// ```
///
/// It has no `Debug`, so no log line can hold it:
/// ```compile_fail,E0277
/// let exact = firebreak_privacy::Exact::new(3_i64);
/// format!("{exact:?}");
/// ```
/// nor `Display`:
/// ```compile_fail,E0277
/// let exact = firebreak_privacy::Exact::new(3_i64);
/// format!("{exact}");
/// ```
/// It cannot be copied, so one value is measured once:
/// ```compile_fail,E0599
/// let exact = firebreak_privacy::Exact::new(3_i64);
/// let second = exact.clone();
/// ```
/// The field is private:
/// ```compile_fail,E0616
/// let exact = firebreak_privacy::Exact::new(3_i64);
/// let cells = exact.0;
/// ```
/// and nothing dereferences to it:
/// ```compile_fail,E0614
/// let exact = firebreak_privacy::Exact::new(3_i64);
/// let cells = *exact;
/// ```
/// It cannot be serialised:
/// ```compile_fail,E0277
/// let exact = firebreak_privacy::Exact::new(3_i64);
/// fn write(_: &impl serde::Serialize) {}
/// write(&exact);
/// ```
/// The cells inside say as little before they are wrapped:
/// ```compile_fail,E0277
/// use firebreak_privacy::ExactCells;
/// let cells = ExactCells::new(vec![vec![3]]);
/// format!("{cells:?}");
/// ```
/// ```compile_fail,E0616
/// use firebreak_privacy::ExactCells;
/// let cells = ExactCells::new(vec![vec![3]]);
/// let values = cells.0;
/// ```
//
// PRIVACY: no trait may be derived or implemented here, and no method may be added that gives out `T` or part of it.
#[must_use = "an exact value is only good for being measured"]
pub struct Exact<T>(T);

impl<T> Exact<T> {
    /// Seals an exact value.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    // PRIVACY: visible in this crate alone, for measurements.
    pub(crate) fn into_inner(self) -> T {
        self.0
    }
}

/// What an engine computed: a whole number for each vector of a query and each declared cell, empty cells included, in
/// the order of the query's vectors and of their cells; of a quantile, how many values each of its candidates stands
/// for, cell by cell.
///
/// Rows are contribution-bounded and values clamped before they are summed; sums are in the fixed point of their
/// column. Wiped from memory when dropped.
//
// PRIVACY: no trait may be derived or implemented here either.
#[must_use = "exact cells are only good for being measured"]
pub struct ExactCells(Zeroizing<Vec<Vec<i64>>>, Zeroizing<Vec<i64>>);

impl ExactCells {
    /// Takes an engine's output: `values[vector][cell]`, of a quantile `values[vector][cell·candidates + candidate]`.
    pub fn new(values: Vec<Vec<i64>>) -> Self {
        Self(Zeroizing::new(values), Zeroizing::default())
    }

    /// Takes an engine's output by open codes: `values[vector][place]`, with the codes that there are, ascending.
    pub fn by_code(codes: Vec<i64>, values: Vec<Vec<i64>>) -> Self {
        Self(Zeroizing::new(values), Zeroizing::new(codes))
    }

    pub(crate) fn codes(&self) -> &[i64] {
        &self.1
    }

    pub(crate) fn values(&self) -> &[Vec<i64>] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compiles only while the type does *not* implement the trait: with it, two implementations fit and the
    /// inference of `_` is ambiguous.
    macro_rules! assert_not {
        ($type:ty: $($forbidden:path),+ $(,)?) => {$({
            trait Fits<Marker> {
                fn fits() {}
            }
            struct Forbidden;
            impl<T: ?Sized> Fits<()> for T {}
            impl<T: ?Sized + $forbidden> Fits<Forbidden> for T {}
            <$type as Fits<_>>::fits();
        })+};
    }

    #[test]
    fn an_exact_value_has_no_trait_that_could_let_it_out() {
        assert_not!(Exact<ExactCells>: std::fmt::Debug, std::fmt::Display, Clone, Copy, std::ops::Deref,
            AsRef<ExactCells>, std::borrow::Borrow<ExactCells>, Into<ExactCells>, PartialEq, PartialOrd,
            std::hash::Hash, IntoIterator, serde::Serialize, ToString);
        assert_not!(Exact<i64>: std::fmt::Debug, std::fmt::Display, Clone, Copy, std::ops::Deref, AsRef<i64>,
            std::borrow::Borrow<i64>, Into<i64>, PartialEq, PartialOrd, std::hash::Hash, serde::Serialize, ToString);
        assert_not!(ExactCells: std::fmt::Debug, std::fmt::Display, Clone, Copy, std::ops::Deref,
            AsRef<[Vec<i64>]>, Into<Vec<Vec<i64>>>, PartialEq, PartialOrd, std::hash::Hash, IntoIterator,
            serde::Serialize, ToString);
    }
}
