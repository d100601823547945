//! What an adapter says on its connections: one service to the gateway, one inside a tunnel, one to its own staff.

mod agency;
mod broken;
mod join_session;
mod joining;
mod local;
mod oversized;
mod patience;
mod session;
mod tunnel;
mod way;

pub use agency::Agency;
pub use local::LocalMatch;
pub use way::Way;

use crate::app::{Failure, MatchError, Refused};
use firebreak_domain::Refusal;
use firebreak_wire::agency::v1 as wire;
use firebreak_wire::{refusal_to_wire, status_of_refusal};
use tonic::Status;

/// A failure as its caller sees it: that it failed, and nothing of why. The program's own log says more.
fn failed(failure: &Failure) -> Status {
    tracing::error!(error_kind = %failure, "request failed");
    Status::internal("the agency could not answer; what was charged stays charged, and a retry costs nothing more")
}

/// The refusal of what is no request at all.
fn no_request(refusal: &Refusal) -> Status {
    status_of_refusal(refusal, None)
}

fn match_status(error: MatchError) -> Status {
    match error {
        MatchError::Refused(refusal) | MatchError::Fault(refusal) => status_of_refusal(&refusal, None),
        MatchError::Session(error) => Status::failed_precondition(error.to_string()),
        error @ (MatchError::Store(_) | MatchError::Dataset(_) | MatchError::Failed) => {
            tracing::error!(error_kind = %error, "match failed");
            Status::internal("the match failed at this agency; asking again under the same request id resumes it")
        }
    }
}

fn refused(refused: &Refused) -> wire::Refused {
    wire::Refused {
        refusal: Some(refusal_to_wire(&refused.refusal)),
        leaf: refused.evidence.leaf.as_bytes().to_vec(),
        opening: firebreak_wire::opening_to_wire(&refused.evidence.opening),
        sealed_opening: refused.evidence.sealed.as_bytes().to_vec(),
    }
}
