//! `firebreak bundle`: what overseers do with policy bundles.

mod show;

use super::files;
use crate::arguments;
use crate::failure::Failure;
use crate::terminal::Terminal;
use clap::{Args, Subcommand};
use firebreak_audit::OpeningKey;
use firebreak_domain::{Clock, SystemClock, Timestamp};
use firebreak_policy::signing::{SigningKey, cosign, write_manifest};
use firebreak_policy::{Candidate, Validity};
use std::path::PathBuf;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Shows a bundle: who takes part and counts as what, agreements, contracts, and what it would loosen
    Show(show::Show),
    /// Lists the files of a bundle in a new, unsigned manifest, in place of any before
    Manifest(ManifestArguments),
    /// Adds a signature to a bundle's manifest
    Sign(Sign),
    /// Makes a key with which an overseer signs bundles or an agency signs contracts
    Key(Key),
    /// Makes a key with which an overseer reads what was asked (`firebreak audit open`)
    OpeningKey(OpeningKeyArguments),
}

#[derive(Args)]
pub(crate) struct OpeningKeyArguments {
    /// The file to make; only you can read it
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Args)]
pub(crate) struct ManifestArguments {
    /// The folder of the bundle
    folder: PathBuf,
    /// 1 for the first bundle of a federation, and one more for each that follows
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    sequence: u64,
    /// The folder of the bundle before; none for sequence 1
    #[arg(long, value_name = "DIR")]
    previous: Option<PathBuf>,
    /// When it comes into force, for instance 2026-04-01 (its first second in UTC) or 2026-04-01T06:00:00Z
    #[arg(long, value_name = "TIME", value_parser = arguments::time)]
    valid_from: Timestamp,
    /// When it is in force no longer and, without a successor, everything is refused
    #[arg(long, value_name = "TIME", value_parser = arguments::time)]
    valid_until: Timestamp,
}

#[derive(Args)]
pub(crate) struct Sign {
    /// The folder of the bundle; look at it first with `firebreak bundle show`
    folder: PathBuf,
    /// Your key, as made by `firebreak bundle key`
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

#[derive(Args)]
pub(crate) struct Key {
    /// The signer's name: no spaces, no plus sign
    name: String,
    /// The file to make; only you can read it
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(crate) fn run(command: Command, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    match command {
        Command::Show(arguments) => show::run(&arguments, terminal),
        Command::Manifest(arguments) => manifest(&arguments, terminal),
        Command::Sign(arguments) => {
            cosign(&arguments.folder, &files::read_signing_key(&arguments.key)?)?;
            Ok(terminal.line("Signed. Any edit of the bundle voids it.")?)
        }
        Command::Key(arguments) => {
            let key = SigningKey::generate(&arguments.name)?;
            files::write_secret(&arguments.out, key.secret())?;
            terminal.note(format!("Made {}: keep it to yourself. For overseers.toml:", arguments.out.display()));
            Ok(terminal.line(key.verifier_key())?)
        }
        Command::OpeningKey(arguments) => {
            let wrong = |error| Failure::Content { file: arguments.out.clone(), problem: format!("{error}") };
            let key = OpeningKey::generate().map_err(wrong)?;
            files::write_secret(&arguments.out, &key.secret())?;
            terminal.note(format!(
                "Made {}: keep it to yourself. As your seal_key in overseers.toml:",
                arguments.out.display()
            ));
            Ok(terminal.line(key.seal_key().to_string())?)
        }
    }
}

fn manifest(arguments: &ManifestArguments, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let previous = match &arguments.previous {
        None if arguments.sequence == 1 => None,
        None => {
            return Err(Failure::Usage("a sequence above 1 follows another bundle: give --previous DIR".to_owned()));
        }
        Some(folder) => Some(Candidate::read(folder)?.manifest().digest()),
    };
    let validity =
        Validity { made: SystemClock.now(), valid_from: arguments.valid_from, valid_until: arguments.valid_until };
    terminal.block(write_manifest(&arguments.folder, arguments.sequence, previous, validity)?)?;
    terminal.note("Have each overseer look at it (firebreak bundle show) and sign it (firebreak bundle sign).");
    Ok(())
}

#[cfg(test)]
mod tests;
