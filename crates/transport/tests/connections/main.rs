//! Real sockets, real handshakes: who gets in, who does not, and what runs on a connection.
//!
//! Rows R1 and R29. Each refusal stands beside the same attempt with the one wrong thing put right.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and so does what supports it"
)]

mod handshakes;
mod limits;
mod renewal;
mod reverse;
mod support;
mod tunnels;
