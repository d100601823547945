//! An agency's side of Firebreak: its data, its accounts, its own decision on every request.
//!
//! `rpc` speaks, [`app`] does, the crates below keep and measure. An exact value exists between [`engine`] and the
//! measurement in `firebreak-privacy`, as a type with no other way out.

pub mod app;
pub mod bounded;
pub mod configuration;
pub mod datasets;
pub mod engine;
pub mod program;
mod rpc;
pub mod source;
pub mod views;
