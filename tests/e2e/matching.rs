//! R3, R14: permitted matches. The receiver learns exactly which of its own persons the sender holds; the sender learns
//! nothing.

mod exact;
mod learned;
mod refused;
mod truth;
