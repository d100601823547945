use crate::client::{ClientError, Refused};
use crate::table;
use crate::terminal::{Terminal, printable};
use firebreak_audit::VerifyError;
use firebreak_format::FormatError;
use firebreak_policy::BundleError;
use firebreak_policy::signing::SigningError;
use firebreak_transport::CredentialError;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

/// How a command ended, for scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: done.
    Done,
    /// 1: something failed.
    Failed,
    /// 2: the command was not given what it needs.
    Usage,
    /// 3: the federation refused, with a reason.
    Refused,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Refused => 3,
        })
    }
}

/// Why a command did not do what it was asked. Every message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command lacks something, or something given is malformed.
    #[error("{0}")]
    Usage(String),
    /// Asking the federation.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A file that cannot be read or written.
    #[error("{} {what}", file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// What could not be done with it.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A file whose content is not what it should be.
    #[error("{}: {problem}", file.display())]
    Content {
        /// Which.
        file: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A contract, its binding and its files do not fit; what does not was already said.
    #[error("{0} misfits found: mend them and check again")]
    Misfits(usize),
    /// Keys and certificates.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// A log or a receipt that does not hold.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// A bundle that would not be taken up.
    #[error("the bundle: {0}")]
    Bundle(#[from] BundleError),
    /// A signature that could not be made.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// An answer that could not be laid out.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The result could not be written.
    #[error(
        "the result could not be written: see that there is room for it and that nothing has closed what it goes to"
    )]
    Write(#[from] io::Error),
}

impl Failure {
    /// How the command ends.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) | Self::Client(ClientError::Profile(_) | ClientError::Malformed(_)) => Exit::Usage,
            Self::Client(ClientError::Refused(_)) => Exit::Refused,
            // Whoever closed the pipe has seen enough.
            Self::Write(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
            _ => Exit::Failed,
        }
    }

    /// Tells it to the person at the terminal.
    pub(crate) fn report(&self, terminal: &mut Terminal<'_>) {
        match self {
            Self::Client(ClientError::Refused(refused)) => terminal.note_block(refusal(refused, terminal.width)),
            _ if self.exit() == Exit::Done => {}
            _ => terminal.note(format!("firebreak: {}", printable(&with_sources(self)))),
        }
    }
}

/// The error and what lies under it, each once.
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let inner = error.to_string();
        if !text.contains(&inner) {
            text = format!("{text}: {inner}");
        }
        source = error.source();
    }
    text
}

pub(crate) fn refusal(refused: &Refused, width: usize) -> String {
    let refusal = &refused.refusal;
    let said = |key: &str| refusal.metadata.get(key).map_or("", String::as_str);
    let receipt = match (&refused.receipt_file, said("receipt")) {
        (Some(file), _) => format!("stored in {}", file.display()),
        (None, "") => String::new(),
        (None, _) => "given; --receipt FILE stores it".to_owned(),
    };
    let fields = [
        ("Rule", said("rule")),
        ("What was wrong", said("detail")),
        ("Decided by", said("policies")),
        ("Instead", said("suggestion")),
        ("To contest", said("contest")),
        ("Receipt", receipt.as_str()),
    ];
    let title = format!("Refused: {}\n", printable(&refusal.reason));
    title + &table::fields(&fields, width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use firebreak_domain::{ReasonCode, Refusal};
    use firebreak_wire::{refusal_of_status, status_of_refusal};

    #[test]
    fn a_refusal_tells_everything_that_it_carries_and_ends_with_3() {
        let refusal = Refusal {
            contest: Some("write to the ombudsperson".into()),
            ..Refusal::new(ReasonCode::OnwardTransfer)
                .because("school passes on to it-firm")
                .instead("SELECT COUNT(*) FROM health.visits")
                .decided_by(vec!["constitution/r4".into()])
        };
        let received = refusal_of_status(&status_of_refusal(&refusal, Some("text"))).unwrap();
        let refused = Refused { refusal: received, receipt_file: Some("r.txt".into()) };
        let failure = Failure::from(ClientError::Refused(Box::new(refused)));
        assert_eq!(failure.exit(), Exit::Refused);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        failure.report(&mut Terminal {
            out: &mut out,
            err: &mut err,
            width: 60,
            out_is_terminal: false,
            err_is_terminal: false,
        });
        let shown = String::from_utf8(err).unwrap();
        for part in [
            "Refused: ONWARD_TRANSFER",
            "at any distance",
            "school passes on to it-firm",
            "constitution/r4",
            "SELECT COUNT(*) FROM health.visits",
            "write to the ombudsperson",
            "stored in r.txt",
        ] {
            assert!(shown.contains(part), "{part} is missing in\n{shown}");
        }
        assert!(out.is_empty());
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        assert_eq!(Failure::from(io::Error::from(io::ErrorKind::BrokenPipe)).exit(), Exit::Done);
        assert_eq!(Failure::from(io::Error::from(io::ErrorKind::StorageFull)).exit(), Exit::Failed);
        assert_eq!(Failure::Usage("x".into()).exit(), Exit::Usage);
    }
}
