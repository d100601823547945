//! Every decoder that reads bytes from outside, as a function that can be fed anything.
//!
//! A *target* gives bytes to one decoder and asserts what must hold whatever they are: nothing panics, limits are kept,
//! what was read is written again as it was, what is signed or proved is not accepted in any other form. Each brings
//! samples of its own that its decoder takes, made in code, so that a mutation starts behind the first check.
//!
//! Two things run them: the test of this package tries mutations of the samples, the same in every run; `cargo xtask fuzz`
//! lets libFuzzer look for more, guided by which code an input reaches (`tests/fuzz/libfuzzer`). An input that broke
//! something is kept under `tests/fuzz/corpus/<target>/`, where the test tries it ever after.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what fails here fails a test"
)]

pub mod mutate;
mod samples;
mod targets;

pub use targets::TARGETS;

use std::path::PathBuf;

/// One decoder, or several that read the same bytes.
pub struct Target {
    /// Its name, which is also that of its folder of inputs that once broke it.
    pub name: &'static str,
    /// Reads bytes and panics where an invariant does not hold. True if the decoder took them.
    pub run: fn(&[u8]) -> bool,
    /// Inputs that it takes.
    pub samples: fn() -> Vec<Vec<u8>>,
    /// Mutations that the test tries: more of what is quick.
    pub rounds: u32,
}

/// The target of that name.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// The folder with the inputs that once broke a target.
#[must_use]
pub fn corpus() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus")
}
