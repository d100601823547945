//! Requests of callers, from the bytes of the message to what is decided on.

use crate::samples::{header, questions as asked};
use firebreak_domain::{Identity, Timestamp};
use firebreak_node::{
    LONGEST_PERSON, RequestedExport, SubmittedMatch, SubmittedQuery, Unread, read_choice, told_choice,
};
use firebreak_store::RecordedChoice;
use firebreak_transport::{Ca, TrustAnchor};
use firebreak_wire::export::v1::{ExportKind, RequestExportRequest};
use firebreak_wire::local::v1::{ChoiceKind, RecordChoiceRequest};
use firebreak_wire::query::v1::{GetReleaseRequest, RequestHeader, RunQueryRequest};
use firebreak_wire::{Header, ReadHeader, question_from_bytes, question_to_bytes};
use prost::Message;
use std::sync::LazyLock;

fn analyst() -> Identity {
    "spiffe://firebreak.example/org/nso/analyst/ada".parse().unwrap()
}

fn trust() -> &'static TrustAnchor {
    static TRUST: LazyLock<TrustAnchor> =
        LazyLock::new(|| Ca::generate("fuzz", "firebreak.example").unwrap().trust_anchor().unwrap());
    &TRUST
}

fn header_reads_back(header: &Header) {
    let sent = header.to_wire();
    let Ok(ReadHeader::Named(read)) = Header::from_wire(Some(&sent)) else { panic!("a header is not read as sent") };
    assert_eq!(read.to_wire(), sent);
}

/// What holds of every request that is read.
fn check(read: Result<SubmittedQuery, Unread>) -> bool {
    let Ok(submitted) = read else { return false };
    header_reads_back(&submitted.header);
    if let Ok(query) = &submitted.query
        && let Some(stored) = question_from_bytes(&question_to_bytes(query))
    {
        assert!(stored.canonical() == query.canonical(), "the question is stored as another one");
    }
    assert!(!submitted.intent(&analyst()).signing_bytes().is_empty());
    // Nobody has a certificate of this authority: no signature is one.
    let now = Timestamp::from_secs(header().expires);
    let caller = submitted.authenticate(&analyst(), trust(), now);
    assert!(caller.is_err() || submitted.header.signature.is_none(), "a signature was made up");
    submitted.query.is_ok() || submitted.release.is_some() || submitted.export.is_some()
}

pub fn query(bytes: &[u8]) -> bool {
    let Ok(request) = RunQueryRequest::decode(bytes) else { return false };
    check(SubmittedQuery::read(request.header.as_ref(), request.question.as_ref(), None))
}

pub fn queries() -> Vec<Vec<u8>> {
    let request = |question| RunQueryRequest { header: Some(header()), question: Some(question) };
    asked().into_iter().map(|question| request(question).encode_to_vec()).collect()
}

pub fn export(bytes: &[u8]) -> bool {
    let Ok(request) = RequestExportRequest::decode(bytes) else { return false };
    let export = RequestedExport { kind: request.kind(), endpoint: &request.endpoint, dataset: &request.dataset };
    check(SubmittedQuery::read(request.header.as_ref(), request.question.as_ref(), Some(export)))
}

pub fn exports() -> Vec<Vec<u8>> {
    let kinds = [ExportKind::DpAggregate, ExportKind::Identifiable, ExportKind::Pseudonymous];
    let request = |(kind, question): (&ExportKind, _)| RequestExportRequest {
        header: Some(header()),
        kind: (*kind).into(),
        question: Some(question),
        endpoint: "open-portal".to_owned(),
        dataset: "health.visits".to_owned(),
    };
    kinds.iter().cycle().zip(asked()).map(|given| request(given).encode_to_vec()).collect()
}

pub fn release(bytes: &[u8]) -> bool {
    let Ok(request) = GetReleaseRequest::decode(bytes) else { return false };
    check(SubmittedQuery::read_release(request.header.as_ref(), &request.release_id, request.roll_up.as_ref()))
}

pub fn releases() -> Vec<Vec<u8>> {
    let name = firebreak_domain::ReleaseName::from_bytes([6; 16]);
    let request = |roll_up| GetReleaseRequest { header: Some(header()), release_id: name.to_string(), roll_up };
    let rolled = asked().into_iter().map(Some);
    std::iter::once(None).chain(rolled).map(|roll_up| request(roll_up).encode_to_vec()).collect()
}

/// A request for a match is its header.
pub fn matching(bytes: &[u8]) -> bool {
    let Ok(header) = RequestHeader::decode(bytes) else { return false };
    let Ok(submitted) = SubmittedMatch::read(Some(&header)) else { return false };
    header_reads_back(&submitted.header);
    assert!(!submitted.intent(&analyst()).signing_bytes().is_empty());
    true
}

pub fn matches() -> Vec<Vec<u8>> {
    let unsigned = RequestHeader { certificates: Vec::new(), signature: Vec::new(), ..header() };
    vec![header().encode_to_vec(), unsigned.encode_to_vec()]
}

/// What an agency's staff records of a person: as it is told, it is the same choice.
pub fn choice(bytes: &[u8]) -> bool {
    let Ok(request) = RecordChoiceRequest::decode(bytes) else { return false };
    let Ok((person, choice)) = read_choice(&request) else { return false };
    assert!((1..=LONGEST_PERSON).contains(&person.len()) && person.trim() == person);
    let told = told_choice(&RecordedChoice { choice: choice.clone(), at: Timestamp::from_secs(0) });
    assert_eq!(told.kind, request.kind);
    let again = RecordChoiceRequest { person: person.clone(), kind: told.kind, purpose: told.purpose };
    assert!(read_choice(&again).is_ok_and(|again| again == (person, choice)), "a choice is told as another one");
    true
}

pub fn choices() -> Vec<Vec<u8>> {
    let request = |kind: ChoiceKind, purpose: &str| RecordChoiceRequest {
        person: " P-0001234 ".to_owned(),
        kind: kind.into(),
        purpose: purpose.to_owned(),
    };
    let requests = [
        request(ChoiceKind::Consent, "vaccination-round"),
        request(ChoiceKind::Withdraw, "vaccination-round"),
        request(ChoiceKind::Restrict, "language-support"),
        request(ChoiceKind::Restrict, ""),
        request(ChoiceKind::Lift, "language-support"),
        request(ChoiceKind::Lift, ""),
    ];
    requests.map(|request| request.encode_to_vec()).into()
}
