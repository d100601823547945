//! R3, R14: permitted matches. The receiver learns exactly which of its own persons the sender holds; the sender learns
//! nothing.

mod ahead;
mod at_once;
mod begun;
mod caps;
mod choices;
pub mod commands;
mod epoch;
mod exact;
mod files;
mod handed_out;
mod heard;
mod hostile;
mod keys;
mod killed;
mod learned;
mod outlived;
mod payload;
mod peers;
mod prepared;
mod refused;
mod resumed;
mod sampled;
pub mod side;
mod sides;
pub mod truth;
mod tunnel;
mod unproved;
mod view;
