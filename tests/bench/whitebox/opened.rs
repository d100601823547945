//! What an engine computed, in a box that can be opened: an audit compiles the engine's own source a second time,
//! around this box, which stands in that program alone under the name of the real one.

/// What the engine computed, where it can be read.
pub struct Exact<T>(T);

/// What the engine computed of each vector, where it can be read.
pub struct ExactCells(Vectors);

/// The exact vectors of a question: a number for each cell, or for each of the open codes that there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vectors {
    /// Ascending; none where cells are declared.
    pub codes: Vec<i64>,
    /// `values[vector][cell]`.
    pub values: Vec<Vec<i64>>,
}

impl<T> Exact<T> {
    /// Puts a value into the box.
    pub const fn new(value: T) -> Self {
        Self(value)
    }
}

impl ExactCells {
    /// Puts an engine's output into the box.
    pub const fn new(values: Vec<Vec<i64>>) -> Self {
        Self(Vectors { codes: Vec::new(), values })
    }

    /// Puts an engine's output by open codes into the box.
    pub const fn by_code(codes: Vec<i64>, values: Vec<Vec<i64>>) -> Self {
        Self(Vectors { codes, values })
    }
}

impl Exact<ExactCells> {
    /// What is in the box.
    pub fn open(self) -> Vectors {
        self.0.0
    }
}
