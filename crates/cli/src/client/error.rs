use firebreak_domain::{IdentityError, InvalidId};
use firebreak_transport::{ConnectError, CredentialError, SignatureError};
use firebreak_wire::{ReceivedRefusal, refusal_of_status};
use std::path::PathBuf;
use tonic::{Code, Status};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// It was refused, for a reason.
    #[error("refused: {}", .0.refusal.reason)]
    Refused(Box<Refused>),
    /// The profile lacks something or cannot be used.
    #[error("{0}")]
    Profile(String),
    /// Something that names an agreement, a purpose or another thing is malformed. Does not repeat it.
    #[error(transparent)]
    Malformed(#[from] InvalidId),
    /// Certificate or key.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// An identity that is none.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// No connection.
    #[error("cannot connect to {address}")]
    Connect {
        /// Where to.
        address: String,
        /// Why.
        source: ConnectError,
    },
    /// The request could not be signed.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// The system gave no random bytes.
    #[error(
        "the operating system gave no random bytes: try again, and look at its random number generator if it goes on"
    )]
    Randomness,
    /// The other side failed.
    #[error("{said} ({code:?}){}", advice(*code))]
    Failed {
        /// The status.
        code: Code,
        /// What it said.
        said: String,
    },
    /// Releases that are not compared, and why.
    #[error("{0}")]
    Compared(&'static str),
    /// The other side's answer is not of its form.
    #[error("the answer is not of its form: {0}; ask again, and tell whoever runs the other side")]
    Answer(&'static str),
}

/// A refusal, and where its receipt was stored.
#[derive(Debug)]
pub struct Refused {
    /// Reason, rule, detail, deciding policies, suggestion, how to contest, receipt.
    pub refusal: ReceivedRefusal,
    /// The file to which a command wrote the receipt.
    pub receipt_file: Option<PathBuf>,
}

impl Refused {
    /// The receipt of the refusal, if one came.
    #[must_use]
    pub fn receipt(&self) -> Option<&str> {
        self.refusal.metadata.get("receipt").map(String::as_str)
    }
}

impl From<Status> for ClientError {
    fn from(status: Status) -> Self {
        match refusal_of_status(&status) {
            Some(refusal) => Self::Refused(Box::new(Refused { refusal, receipt_file: None })),
            None => Self::Failed { code: status.code(), said: status.message().to_owned() },
        }
    }
}

const fn advice(code: Code) -> &'static str {
    match code {
        Code::Unavailable | Code::Cancelled | Code::Unknown => {
            ": the connection ended or nobody is there; the same request id may be sent again at no cost"
        }
        Code::Unimplemented => ": the other side is older than this program, or the address is another service's",
        _ => "",
    }
}
