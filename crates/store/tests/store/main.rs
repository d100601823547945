//! The state as its users see it, over real files and killed programs.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "what fails here fails a test")]

mod accounts;
mod bound;
mod choices;
mod crash;
mod disclosed;
mod edits;
mod epochs;
mod files;
mod folder;
mod handed_out;
mod joins;
mod matching;
mod model;
mod questions;
mod schedules;
mod scrub;
mod sources;
mod stranger;
mod support;
