//! `firebreak audit`: evidence, verified with no server.

mod openings;

use super::files;
use crate::failure::Failure;
use crate::number::{count, loss_and_delta};
use crate::table::Table;
use crate::terminal::Terminal;
use clap::{Args, Subcommand};
use firebreak_audit::{Leaf, LeafVerifier, LogReport, NoteKey, VerifierKey, verify_folder};
use firebreak_domain::{Identity, Pin};
use firebreak_transport::{CertificateError, identity_of_cert, pin_of_cert, verify};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::path::{Path, PathBuf};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Verifies every byte of a copy of the log, and receipts, with the log's public key alone
    Verify(Verify),
    /// Fetches what opens the leaves of the log, sealed to the overseers, from the gateway
    Fetch(openings::Fetch),
    /// Reads what was asked behind each leaf, with an overseer's key, and checks that the leaf commits to it
    Open(openings::Open),
    /// Makes the key that signs a log's checkpoints, for the gateway that writes it
    Key(Key),
}

#[derive(Args)]
pub(crate) struct Key {
    /// The log's name: no spaces, no plus sign, for instance firebreak.example/log
    name: String,
    /// The file to make; only you can read it
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Args)]
pub(crate) struct Verify {
    /// The folder of the log: checkpoint and tile/
    #[arg(long, value_name = "DIR")]
    log: PathBuf,
    /// The log's public key, name+id+key, or a file that holds it
    #[arg(long)]
    key: String,
    /// A receipt to verify as well; may be repeated
    #[arg(long, value_name = "FILE")]
    receipt: Vec<PathBuf>,
    /// A certificate (PEM) of the gateway or an adapter, to check the signature of every leaf; give all of them
    #[arg(long, value_name = "FILE")]
    signer: Vec<PathBuf>,
}

pub(crate) async fn run(command: Command, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    match command {
        Command::Verify(arguments) => verify_log(&arguments, terminal),
        Command::Fetch(arguments) => openings::fetch(arguments, terminal).await,
        Command::Open(arguments) => openings::open(&arguments, terminal),
        Command::Key(arguments) => {
            let key = NoteKey::generate(&arguments.name)
                .map_err(|error| Failure::Content { file: arguments.out.clone(), problem: error.to_string() })?;
            files::write_secret(&arguments.out, &key.encode())?;
            terminal
                .note(format!("Made {}: the gateway's log_key. For adapters and auditors:", arguments.out.display()));
            Ok(terminal.line(key.verifier().to_string())?)
        }
    }
}

fn verify_log(arguments: &Verify, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let key = verifier_key(&arguments.key)?;
    let signers = Signers::read(&arguments.signer)?;
    let signers = (!arguments.signer.is_empty()).then_some(&signers as &dyn LeafVerifier);
    let report = verify_folder(&arguments.log, &key, &arguments.receipt, signers)?;
    Ok(terminal.block(shown(&report, terminal.width))?)
}

/// The key itself, or else the file of that name.
fn verifier_key(text: &str) -> Result<VerifierKey, Failure> {
    if let Ok(key) = text.parse() {
        return Ok(key);
    }
    let file = Path::new(text);
    let content = files::read(file)?;
    content.trim().parse().map_err(|error| Failure::Content { file: file.to_owned(), problem: format!("{error}") })
}

fn shown(report: &LogReport, width: usize) -> String {
    let mut table = Table::new().text("What").number("Leaves");
    table.row(["all", &count(report.size)]);
    for (kind, leaves) in &report.leaves_by_kind {
        table.row([kind.as_str().replace('_', " "), count(*leaves)]);
    }
    for (reason, leaves) in &report.refusals_by_reason {
        table.row([format!("refused: {reason}"), count(*leaves)]);
    }
    let mut text = format!("The log {} holds: every byte leads to its signed checkpoint.\n\n", report.origin);
    text += &table.render(width);
    if !report.charges_by_dataset.is_empty() {
        let mut charges = Table::new().text("Dataset").text("Charged in all");
        for (dataset, charge) in &report.charges_by_dataset {
            charges.row([dataset.to_string(), loss_and_delta(*charge)]);
        }
        text += "\n";
        text += &charges.render(width);
    }
    text += &format!("\nRoot {}\n", hex::encode(report.root));
    text += &match report.receipts {
        0 => "No receipt was given.\n".to_owned(),
        1 => "The receipt holds and is of this log.\n".to_owned(),
        receipts => format!("All {} receipts hold and are of this log.\n", count(receipts as u64)),
    };
    text += if report.signatures_checked {
        "Every leaf is signed by the gateway or an adapter whose certificate was given.\n"
    } else {
        "Who signed the leaves was not checked: give the signers' certificates with --signer.\n"
    };
    text
}

/// The certificates of those who may sign leaves.
struct Signers(Vec<Signer>);

struct Signer {
    identity: Identity,
    pin: Pin,
    certificate: Vec<u8>,
}

impl Signers {
    fn read(files: &[PathBuf]) -> Result<Self, Failure> {
        let read = |file: &PathBuf| {
            let wrong = |problem: String| Failure::Content { file: file.clone(), problem };
            let certificate = CertificateDer::from_pem_file(file)
                .map_err(|_| wrong("cannot be read as a PEM certificate: give the signer's cert.pem".to_owned()))?;
            Self::signer(certificate.to_vec()).map_err(|error| wrong(error.to_string()))
        };
        files.iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    fn signer(certificate: Vec<u8>) -> Result<Signer, CertificateError> {
        Ok(Signer { identity: identity_of_cert(&certificate)?, pin: pin_of_cert(&certificate)?, certificate })
    }
}

impl LeafVerifier for Signers {
    fn accepts(&self, leaf: &Leaf, text: &[u8], key: &Pin, signature: &[u8]) -> bool {
        self.0.iter().any(|signer| {
            signer.pin == *key
                && signer.identity.org == leaf.signer_org
                && signer.identity.role == leaf.signer_role.into()
                && verify(&signer.certificate, text, signature).is_ok()
        })
    }
}

#[cfg(test)]
mod tests;
