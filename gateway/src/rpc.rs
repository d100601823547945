//! What the gateway says on its connections.

mod agencies;
mod catalogue;
mod evidence;
mod export;
mod flight;
mod matching;
mod pages;
mod publication;
mod query;

pub use agencies::ConnectedAgencies;
pub use catalogue::Catalogue;
pub use evidence::Evidence;
pub use export::Export;
pub use flight::{Flight, Tickets};
pub use matching::Matching;
pub use pages::public_page;
pub use publication::Publications;
pub use query::Query;

use crate::app::{Failure, Unanswered};
use firebreak_domain::Refusal;
use firebreak_wire::status_of_refusal;
use tonic::Status;

/// Rows in one message.
const ROWS: usize = 1000;

fn status(unanswered: Unanswered) -> Status {
    match unanswered {
        Unanswered::Refused { refusal, receipt } => status_of_refusal(&refusal, receipt.as_deref()),
        Unanswered::Failed(Failure::Agency) => {
            Status::unavailable("the agency gave no answer; a retry under the same request id costs nothing more")
        }
        Unanswered::Failed(failure @ Failure::OtherContract) => {
            tracing::warn!(error_kind = %failure, "request failed");
            Status::aborted(
                "a contract is being changed, and the agency does not go by the same one as the gateway yet; what was \
                 charged stays charged: ask again in a few seconds, under a new request id",
            )
        }
        Unanswered::Failed(failure) => {
            tracing::error!(error_kind = %failure, "request failed");
            Status::internal("the gateway could not answer; a retry under the same request id costs nothing more")
        }
    }
}

fn refused(refusal: Refusal) -> Status {
    status_of_refusal(&refusal, None)
}
