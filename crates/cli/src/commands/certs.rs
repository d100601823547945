//! `firebreak certs`: the demonstration's authority.

use crate::failure::Failure;
use crate::table;
use crate::terminal::Terminal;
use clap::{Args, Subcommand};
use firebreak_domain::Identity;
use firebreak_transport::{Ca, Credential, Validity};
use std::path::PathBuf;

/// What every use of the authority says of it.
const WARNING: &str = "This authority is for demonstrations and tests: its key lies in a file. A federation at work \
                       has an authority of its own with its key in hardware, and gives Firebreak only its certificate.";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Makes the authority of a demonstration: ca.pem and ca-key.pem
    NewCa(NewCa),
    /// Issues a certificate of the demonstration's authority: cert.pem and key.pem
    Issue(Issue),
    /// Issues another certificate for the identity, names and key of a folder, so that pins still fit: cert.pem
    Renew(Renew),
}

#[derive(Args)]
pub(crate) struct NewCa {
    /// The folder to write to
    folder: PathBuf,
    /// The trust domain of all its certificates, for instance firebreak.example
    #[arg(long, value_name = "DOMAIN")]
    trust_domain: String,
    /// The name in its certificate
    #[arg(long)]
    name: String,
}

#[derive(Args)]
pub(crate) struct Issue {
    /// The folder of the authority
    #[arg(long, value_name = "DIR")]
    ca: PathBuf,
    /// Who it is for, spiffe://<domain>/org/<org>/<role>/<id>
    #[arg(long, value_name = "URI")]
    identity: Identity,
    /// The folder to write to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// A name or address under which other clients reach this server; may be repeated
    #[arg(long, value_name = "NAME")]
    dns: Vec<String>,
    /// Days for which it holds
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
}

#[derive(Args)]
pub(crate) struct Renew {
    /// The folder of cert.pem and key.pem
    folder: PathBuf,
    /// The folder of the authority
    #[arg(long, value_name = "DIR")]
    ca: PathBuf,
    /// Days for which it holds
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
}

pub(crate) fn run(command: Command, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    match command {
        Command::NewCa(arguments) => {
            Ca::generate(&arguments.name, &arguments.trust_domain)?.save(&arguments.folder)?;
            let folder = arguments.folder.display();
            terminal.line(format!("Made ca.pem and ca-key.pem in {folder} for {}.", arguments.trust_domain))?;
        }
        Command::Issue(arguments) => {
            let ca = Ca::load(&arguments.ca)?;
            let names: Vec<&str> = arguments.dns.iter().map(String::as_str).collect();
            let credential = ca.issue(&arguments.identity, &names, Validity::days(arguments.days))?;
            credential.save(&arguments.out)?;
            terminal.line(format!("Made cert.pem and key.pem in {}.", arguments.out.display()))?;
            show(&credential, terminal)?;
        }
        Command::Renew(arguments) => {
            let ca = Ca::load(&arguments.ca)?;
            let credential = ca.renew(&Credential::load(&arguments.folder)?, Validity::days(arguments.days))?;
            credential.save(&arguments.folder)?;
            terminal.line(format!("Renewed cert.pem in {}, for the same key.", arguments.folder.display()))?;
            show(&credential, terminal)?;
        }
    }
    for line in table::wrap(WARNING, terminal.width) {
        terminal.note(line);
    }
    Ok(())
}

/// What a certificate says.
fn show(credential: &Credential, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let shown = [
        ("Identity", credential.identity().to_string()),
        ("Holds until", credential.expires().to_string()),
        ("Pin", credential.pin().to_string()),
    ];
    let shown: Vec<_> = shown.iter().map(|(name, text)| (*name, text.as_str())).collect();
    Ok(terminal.block(table::fields(&shown, terminal.width))?)
}
