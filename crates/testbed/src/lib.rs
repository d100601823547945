//! A whole federation on one machine: a synthetic population, certificates, a signed policy bundle, three agencies
//! behind their adapters and one gateway. What the demo shows and what the end-to-end tests run against.
//!
//! Everything here is for demonstration and tests. The keys of all parties lie in one folder, which no real
//! federation would do.

mod federation;
mod http;
mod programs;
mod working_folder;

pub use federation::{AGENCIES, CASEWORKER, CUT, Federation, Layout, OFFICER, Options, TRUST_DOMAIN, gateway_identity};
pub use http::{figure, http_answer, http_file};
pub use programs::{Address, Live, LiveAdapter, Program, Programs, Started};
