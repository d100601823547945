//! Statistics over two agencies' join: what is counted, what it costs, and what becomes of it when something breaks off.

mod answered;
mod commands;
mod committed;
mod counted;
mod hostile;
mod inside;
mod lost;
mod relayed;
mod replayed;
mod truth;
