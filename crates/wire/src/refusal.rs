//! Refusals between programs, and as the status that a caller gets.

use crate::policy::v1::{ReasonCode as WireReason, Refusal as WireRefusal};
use firebreak_domain::{ReasonCode, Refusal};
use std::collections::HashMap;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// The domain of the `google.rpc.ErrorInfo` in every refusal.
pub const ERROR_DOMAIN: &str = "firebreak";

/// A reason as sent: the place in the one list, from 1.
#[must_use]
pub fn reason_to_wire(reason: ReasonCode) -> WireReason {
    WireReason::from_str_name(&format!("REASON_CODE_{}", reason.as_str())).unwrap_or(WireReason::Unspecified)
}

/// A reason as received; `None` for one that this program does not know.
#[must_use]
pub fn reason_from_wire(reason: WireReason) -> Option<ReasonCode> {
    let name = reason.as_str_name().strip_prefix("REASON_CODE_")?;
    ReasonCode::ALL.iter().copied().find(|r| r.as_str() == name)
}

/// A refusal as one program tells it to another.
#[must_use]
pub fn refusal_to_wire(refusal: &Refusal) -> WireRefusal {
    WireRefusal {
        reason: reason_to_wire(refusal.reason).into(),
        policies: refusal.policies.clone(),
        detail: refusal.detail.clone(),
        suggestion: refusal.suggestion.clone().unwrap_or_default(),
        contest: refusal.contest.clone().unwrap_or_default(),
    }
}

/// A refusal as received. A reason that this program does not know is taken for `NOT_PERMITTED`.
#[must_use]
pub fn refusal_from_wire(refusal: &WireRefusal) -> Refusal {
    let some = |text: &String| Some(text.clone()).filter(|t| !t.is_empty());
    Refusal {
        reason: reason_from_wire(refusal.reason()).unwrap_or(ReasonCode::NotPermitted),
        policies: refusal.policies.clone(),
        detail: refusal.detail.clone(),
        suggestion: some(&refusal.suggestion),
        contest: some(&refusal.contest),
    }
}

/// The status that a caller gets: the refusal in words, with an `ErrorInfo` whose reason is the code and whose
/// metadata hold `rule`, `policies`, `detail`, `suggestion`, `contest` and `receipt`, as far as there are any.
#[must_use]
pub fn status_of_refusal(refusal: &Refusal, receipt: Option<&str>) -> Status {
    let mut metadata = HashMap::from([("rule".to_owned(), refusal.reason.rule().to_owned())]);
    let mut put = |key: &str, value: &str| {
        if !value.is_empty() {
            metadata.insert(key.to_owned(), value.to_owned());
        }
    };
    put("policies", &refusal.policies.join(", "));
    put("detail", &refusal.detail);
    put("suggestion", refusal.suggestion.as_deref().unwrap_or_default());
    put("contest", refusal.contest.as_deref().unwrap_or_default());
    put("receipt", receipt.unwrap_or_default());
    let details = ErrorDetails::with_error_info(refusal.reason.as_str(), ERROR_DOMAIN, metadata);
    Status::with_error_details(code(refusal.reason), refusal.to_string(), details)
}

/// A refusal as a client reads it out of a status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedRefusal {
    /// The reason's code as sent.
    pub reason: String,
    /// `rule`, `policies`, `detail`, `suggestion`, `contest`, `receipt`.
    pub metadata: HashMap<String, String>,
}

/// The refusal in a status, if it carries one of ours.
#[must_use]
pub fn refusal_of_status(status: &Status) -> Option<ReceivedRefusal> {
    let info = status.get_details_error_info().filter(|i| i.domain == ERROR_DOMAIN)?;
    Some(ReceivedRefusal { reason: info.reason, metadata: info.metadata })
}

/// The one map from reasons to gRPC codes.
const fn code(reason: ReasonCode) -> Code {
    use ReasonCode as R;
    match reason {
        R::EnforcementRecipient
        | R::UnregisteredRecipient
        | R::OnwardTransfer
        | R::IdentifiableExport
        | R::ForbiddenKind
        | R::NoSpecialGround
        | R::NoAgreement
        | R::AgreementNotInForce
        | R::AgreementNotAssessed
        | R::PurposeNotCovered
        | R::DatasetNotCovered
        | R::ColumnNotCovered
        | R::OperationNotCovered
        | R::RecipientNotCovered
        | R::Suspended
        | R::NoPolicyInForce
        | R::PolicyError
        | R::NotPermitted
        | R::ClosedByAgency
        | R::RoleNotAllowed
        | R::IdentifierColumn
        | R::SessionMismatch => Code::PermissionDenied,
        R::UnknownRelease | R::UnknownPublication => Code::NotFound,
        R::SignatureInvalid | R::SignatureRequired => Code::Unauthenticated,
        R::RequestExpired => Code::DeadlineExceeded,
        R::RequestIdReused => Code::AlreadyExists,
        R::BudgetExhausted | R::LossCeiling | R::MatchCapExhausted => Code::ResourceExhausted,
        R::MalformedRequest
        | R::NotInRelease
        | R::SqlSyntax
        | R::NotASelect
        | R::SeveralStatements
        | R::RowsAsked
        | R::JoinAsked
        | R::SubqueryAsked
        | R::SetOperationAsked
        | R::UnsupportedClause
        | R::UnsupportedAggregate
        | R::UnsupportedExpression
        | R::UnknownDataset
        | R::UnknownCut
        | R::UnknownColumn
        | R::NotGroupable
        | R::NotMeasurable
        | R::LiteralMismatch
        | R::UngroupedColumn
        | R::TooManyGroups
        | R::QueryTooLarge => Code::InvalidArgument,
        R::AgencyUnavailable | R::EvidenceOutstanding | R::PeerStalled | R::ConnectionLost => Code::Unavailable,
        R::LedgerBehindLog
        | R::PublicationStep
        | R::NotServed
        | R::NormaliserMismatch
        | R::BundleMismatch
        | R::ProofRejected
        | R::HostileInput
        | R::WrongCount
        | R::SizeExceeded
        | R::ChunkReplayed => Code::FailedPrecondition,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_number_on_the_wire() {
        for reason in ReasonCode::ALL {
            let wire = reason_to_wire(*reason);
            assert_ne!(wire, WireReason::Unspecified, "{reason}: add it to proto/firebreak/policy/v1/refusal.proto");
            assert_eq!(reason_from_wire(wire), Some(*reason));
        }
    }

    #[test]
    fn a_refusal_reads_back_from_its_status() {
        let refusal = Refusal::new(ReasonCode::ColumnNotCovered).because("cost").instead("SELECT COUNT(*) FROM a");
        let status = status_of_refusal(&refusal, Some("receipt text"));
        let received = refusal_of_status(&status).unwrap();
        assert_eq!(received.reason, "COLUMN_NOT_COVERED");
        assert_eq!(received.metadata["suggestion"], "SELECT COUNT(*) FROM a");
        assert_eq!(received.metadata["receipt"], "receipt text");
        assert_eq!(refusal_from_wire(&refusal_to_wire(&refusal)), refusal);
    }
}
