//! The command line of Firebreak, for analysts, agencies, overseers and auditors.
//!
//! - [`client`] is what a program needs to ask a gateway or an adapter's local listener: a [`client::Profile`], a
//!   connection, signed requests, answers or refusals.
//! - [`show`], [`table`], [`bar`] and [`number`] lay out what is shown, and `firebreak-format` what other programs
//!   read.
//! - [`run`] is a whole command: `firebreak` is a thin `main` around it.
//!
//! Everything that came over the network passes [`terminal::printable`] before it reaches a terminal.

mod arguments;
pub mod bar;
pub mod client;
mod commands;
mod failure;
pub mod number;
pub mod schema;
pub mod show;
pub mod table;
pub mod terminal;

pub use arguments::Arguments;
pub use failure::{Exit, Failure};

use terminal::Terminal;

/// Runs one command and reports its end: results to [`Terminal::out`], everything else to [`Terminal::err`].
///
/// The future is `Send`, needs a Tokio runtime with network and time, and is not cancelled half-way by itself.
pub async fn run(arguments: Arguments, terminal: &mut Terminal<'_>) -> Exit {
    let Err(failure) = commands::run(arguments, terminal).await else { return Exit::Done };
    failure.report(terminal);
    failure.exit()
}
