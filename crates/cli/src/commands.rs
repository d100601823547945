//! One file a command.

pub(crate) mod audit;
pub(crate) mod budget;
pub(crate) mod bundle;
pub(crate) mod certs;
pub(crate) mod choice;
pub(crate) mod contract;
pub(crate) mod datasets;
pub(crate) mod export;
mod files;
mod hand_out;
pub(crate) mod join;
pub(crate) mod loss;
pub(crate) mod matched;
pub(crate) mod matching;
mod new_file;
mod pace;
mod progress;
pub(crate) mod publication;
pub(crate) mod query;
mod receipt;
pub(crate) mod register;
pub(crate) mod release;
pub(crate) mod sample;

use crate::arguments::{Arguments, Command};
use crate::failure::Failure;
use crate::terminal::Terminal;

/// Runs the command.
pub(crate) async fn run(arguments: Arguments, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    match arguments.command {
        Command::Datasets(arguments) => datasets::run(arguments, terminal).await,
        Command::Query(arguments) => query::run(arguments, terminal).await,
        Command::Budget(arguments) => budget::run(arguments, terminal).await,
        Command::Loss(arguments) => loss::run(arguments, terminal).await,
        Command::Publication(command) => publication::run(command, terminal).await,
        Command::Release(command) => release::run(command, terminal).await,
        Command::Export(arguments) => export::run(arguments, terminal).await,
        Command::Match(arguments) => matching::run(arguments, terminal).await,
        Command::Matched(arguments) => matched::run(arguments, terminal).await,
        Command::Choice(command) => choice::run(command, terminal).await,
        Command::Join(command) => join::run(command, terminal).await,
        Command::Register(arguments) => register::run(arguments, terminal).await,
        Command::Sample(arguments) => sample::run(arguments, terminal).await,
        Command::Contract(command) => contract::run(command, terminal),
        Command::Bundle(command) => bundle::run(command, terminal),
        Command::Audit(command) => audit::run(command, terminal).await,
        Command::Certs(command) => certs::run(command, terminal),
    }
}
