//! The gateway: who may ask what, at what cost, with what evidence. It holds no data and believes nobody.
//!
//! `rpc` speaks, [`app`] does, the crates below decide and keep. It refuses early and records; it is never the only
//! guard: each agency's adapter decides every request again.

pub mod access;
pub mod app;
pub mod configuration;
mod health;
pub mod program;
mod rpc;
