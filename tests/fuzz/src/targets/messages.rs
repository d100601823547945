//! Every message of every service, as protobuf reads it. The first byte chooses the message.

use firebreak_domain::ReasonCode;
use firebreak_wire::{agency, catalogue, evidence, export, local, matching, policy, publication, query};
use firebreak_wire::{
    cap_from_wire, cap_to_wire, charge_from_wire, charge_to_wire, opening_from_wire, opening_to_wire,
    refusal_from_wire, refusal_to_wire,
};
use prost::Message;

type Read = fn(&[u8]) -> bool;

macro_rules! messages {
    ($($package:ident: $($message:ident),*;)*) => {
        const READERS: &[Read] = &[$($(again::<$package::v1::$message>,)*)*];
        /// Names of the messages, as in `proto/`.
        const NAMES: &[&str] = &[$($(concat!(stringify!($package), ".", stringify!($message)),)*)*];
    };
}

messages! {
    agency: ExecuteQueryRequest, ExecuteQueryResponse, AcceptTunnelRequest, AcceptTunnelResponse,
        ListOutstandingLeavesRequest, ListOutstandingLeavesResponse, ConfirmLeavesRequest, ConfirmLeavesResponse,
        ListCapsRequest, ListCapsResponse, CheckJoinRequest, CheckJoinResponse, RunJoinRequest, RunJoinResponse,
        ReportJoinFaultRequest, ReportJoinFaultResponse;
    catalogue: ListDatasetsRequest, ListDatasetsResponse, DescribeDatasetRequest, DescribeDatasetResponse;
    evidence: ListOpeningsRequest, ListOpeningsResponse;
    export: RequestExportRequest, RequestExportResponse;
    local: RecordChoiceRequest, RecordChoiceResponse, ListChoicesRequest, ListChoicesResponse, RunMatchRequest,
        RunMatchResponse, ListMatchedRequest, ListMatchedResponse, HandOutRequest, HandOutResponse,
        ListHandedOutRequest, ListHandedOutResponse, OpenSampleRequest, OpenSampleResponse, ReplayJoinRequest,
        ReplayJoinResponse;
    matching: OpenTunnelRequest, OpenTunnelResponse, OpenSessionRequest, OpenSessionResponse, EvaluateRequest,
        EvaluateResponse, ListTagsRequest, ListTagsResponse, CloseSessionRequest, CloseSessionResponse, OpenJoinRequest,
        OpenJoinResponse, PutPointsRequest, PutPointsResponse, ListPointsRequest, ListPointsResponse, CloseJoinRequest,
        CloseJoinResponse;
    policy: Refusal;
    publication: DraftPublicationRequest, EmbargoPublicationRequest, PublishPublicationRequest,
        WithdrawPublicationRequest, PublicationStepResponse, ListPublicationsRequest, ListPublicationsResponse,
        GetPublicationRequest, GetPublicationResponse, StoredPublication, PublishedFigures;
    query: Charge, RunQueryRequest, RunQueryResponse, ValidateQueryRequest, ValidateQueryResponse, GetBudgetRequest,
        GetBudgetResponse, MatchCap, GetLossRequest, GetLossResponse, GetReleaseRequest, CiteReleaseRequest,
        CiteReleaseResponse;
}

/// What was read is written so that it is read as the same.
fn again<M: Message + Default>(bytes: &[u8]) -> bool {
    let Ok(message) = M::decode(bytes) else { return false };
    let written = message.encode_to_vec();
    assert_eq!(message.encoded_len(), written.len());
    // By bytes and not by value: a number that is none is not equal to itself.
    assert_eq!(M::decode(written.as_slice()).unwrap().encode_to_vec(), written);
    true
}

pub fn run(bytes: &[u8]) -> bool {
    let Some((which, message)) = bytes.split_first() else { return false };
    if let Ok(cap) = query::v1::MatchCap::decode(message)
        && let (Some(standing), Ok(agreement)) = (cap_from_wire(&cap), cap.agreement.parse())
    {
        assert_eq!(cap_from_wire(&cap_to_wire(&agreement, &standing)), Some(standing));
    }
    if let Ok(charge) = query::v1::Charge::decode(message) {
        assert_eq!(charge_to_wire(charge_from_wire(Some(&charge))), charge);
    }
    READERS[usize::from(*which) % READERS.len()](message)
}

pub fn samples() -> Vec<Vec<u8>> {
    let place = |name: &str| u8::try_from(NAMES.iter().position(|known| *known == name).unwrap()).unwrap();
    let made = |name: &str, message: Vec<u8>| [vec![place(name)], message].concat();
    // Empty, each is a message.
    let mut samples: Vec<Vec<u8>> = (0..).take(NAMES.len()).map(|which: u8| vec![which]).collect();
    let session = matching::v1::OpenSessionRequest {
        format: 1,
        session_id: vec![1; 16],
        agreement: "vaccination-round".to_owned(),
        bundle_sequence: 7,
        normaliser: 1,
        field: "number:national_number".to_owned(),
        elements: 4096,
        chunk_elements: 512,
        exporter: vec![2; 32],
        ..Default::default()
    };
    let chunk = matching::v1::EvaluateRequest { session_id: vec![1; 16], chunk: 3, blinded: vec![9; 64] };
    let cap = query::v1::MatchCap {
        agreement: "vaccination-round".to_owned(),
        counted: query::v1::Counted::Tags.into(),
        year: Some(2025),
        cap: 1050,
        used: Some(7),
        key: "number".to_owned(),
    };
    let charge = query::v1::Charge { rho_nano: 5_000_000, delta_atto: 1, epsilon_nano: 2 };
    samples.push(made("matching.OpenSessionRequest", session.encode_to_vec()));
    samples.push(made("matching.EvaluateRequest", chunk.encode_to_vec()));
    samples.push(made("query.MatchCap", cap.encode_to_vec()));
    samples.push(made("query.Charge", charge.encode_to_vec()));
    samples
        .extend(super::requests::queries().into_iter().take(20).map(|request| made("query.RunQueryRequest", request)));
    samples
}

/// What another program says of why it refused.
pub fn refusal(bytes: &[u8]) -> bool {
    let Ok(told) = policy::v1::Refusal::decode(bytes) else { return false };
    let read = refusal_from_wire(&told);
    let again = refusal_from_wire(&refusal_to_wire(&read));
    assert!((again.reason, &again.detail, &again.policies) == (read.reason, &read.detail, &read.policies));
    assert!((again.suggestion, again.contest) == (read.suggestion, read.contest));
    true
}

pub fn refusals() -> Vec<Vec<u8>> {
    let refusal = |reason: &ReasonCode| {
        refusal_to_wire(&firebreak_domain::Refusal::new(*reason).because("the field purpose")).encode_to_vec()
    };
    ReasonCode::ALL.iter().map(refusal).collect()
}

/// What an agency tells of what its leaf commits to.
pub fn opening(bytes: &[u8]) -> bool {
    let Some(read) = opening_from_wire(bytes) else { return false };
    assert_eq!(opening_to_wire(&read), bytes);
    true
}

pub fn openings() -> Vec<Vec<u8>> {
    vec![opening_to_wire(&crate::samples::opening())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost_types::FileDescriptorSet;

    #[test]
    fn every_message_that_a_call_takes_or_gives_is_in_the_table() {
        let files = FileDescriptorSet::decode(firebreak_wire::DESCRIPTORS).unwrap().file;
        let methods = files.iter().flat_map(|file| &file.service).flat_map(|service| &service.method);
        let sent: Vec<_> = methods.flat_map(|method| [method.input_type(), method.output_type()]).collect();
        assert!(sent.len() > 40, "the services were not read");
        let name = |full: &str| full.strip_prefix(".firebreak.").unwrap().replace(".v1.", ".");
        let missing: Vec<_> = sent.into_iter().filter(|full| !NAMES.contains(&name(full).as_str())).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
