//! `firebreak contract`: does a contract hold, and do binding and files fit it.

use super::files;
use crate::failure::Failure;
use crate::schema;
use crate::terminal::Terminal;
use clap::{Args, Subcommand};
use firebreak_domain::{Binding, Contract, Misfit};
use firebreak_policy::signing::sign_contract;
use std::path::{Path, PathBuf};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Says what does not fit in a contract, its binding and its files, and what to do
    Check(Check),
    /// Signs a contract for its agency: writes <name>.note beside it
    Sign(Sign),
}

#[derive(Args)]
pub(crate) struct Check {
    /// The contract
    contract: PathBuf,
    /// The adapter's binding for it
    #[arg(long, value_name = "FILE", requires = "data")]
    binding: Option<PathBuf>,
    /// The adapter's data folder
    #[arg(long, value_name = "DIR", requires = "binding")]
    data: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct Sign {
    /// The contract
    contract: PathBuf,
    /// The agency's contract key, as made by `firebreak bundle key`
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

pub(crate) fn run(command: Command, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    match command {
        Command::Check(arguments) => check(&arguments, terminal),
        Command::Sign(arguments) => {
            sign_contract(&arguments.contract, &files::read_signing_key(&arguments.key)?)?;
            let note = arguments.contract.with_extension("note");
            Ok(terminal.line(format!("Signed: {}. Any edit of the contract voids it.", note.display()))?)
        }
    }
}

fn check(arguments: &Check, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let contract: Contract = files::read_toml(&arguments.contract)?;
    // What is wrong with the contract itself comes first: a check against it would mislead.
    let content = |problem: String| Failure::Content { file: arguments.contract.clone(), problem };
    contract.check().map_err(|error| content(error.to_string()))?;
    let (Some(binding), Some(data)) = (&arguments.binding, &arguments.data) else {
        return Ok(terminal.line(format!("The contract of {} holds.", contract.id))?);
    };
    let binding: Binding = files::read_toml(binding)?;
    let found = misfits(&contract, &binding, data);
    for misfit in &found {
        terminal.line(misfit.to_string())?;
    }
    match found.len() {
        0 => Ok(terminal.line(format!(
            "{} fits: contract, binding and files of {} cuts.",
            contract.id,
            contract.cuts.len()
        ))?),
        count => Err(Failure::Misfits(count)),
    }
}

/// Everything in which contract, binding and files do not fit, in the order in which to mend it.
fn misfits(contract: &Contract, binding: &Binding, data: &Path) -> Vec<Misfit> {
    let mut found = binding.misfits(contract);
    for cut in &binding.cuts {
        let place = format!("cut {}", cut.id);
        match schema::of_file(&data.join(&cut.file)) {
            // The binding was already found to name a file of another kind.
            Err(schema::SchemaError::OtherKind) => {}
            Err(error) => found.push(Misfit {
                place,
                problem: error.to_string(),
                remedy: "check its path under --data, and the file".to_owned(),
            }),
            Ok(columns) => found.extend(
                binding
                    .misfits_of_file(contract, &columns)
                    .into_iter()
                    .map(|misfit| Misfit { place: format!("{place}, {}", misfit.place), ..misfit }),
            ),
        }
    }
    found
}

#[cfg(test)]
mod tests;
