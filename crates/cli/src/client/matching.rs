use super::ask::fresh_request_id;
use super::connection::MESSAGE;
use super::{ClientError, Connection};
use firebreak_domain::{AgreementId, PurposeId, RequestId};
use firebreak_wire::local::v1::local_match_service_client::LocalMatchServiceClient;
use firebreak_wire::local::v1::{
    ChoiceKind, ListChoicesRequest, ListMatchedRequest, MatchProgress, MatchSummary, RecordChoiceRequest,
    RecordedChoice, RunMatchRequest, run_match_response,
};
use tonic::transport::Channel;

/// A match that the own agency receives.
#[derive(Clone)]
pub struct MatchAsk {
    /// The agreement invoked.
    pub agreement: AgreementId,
    /// The purpose stated.
    pub purpose: PurposeId,
    /// Which of the agency's own records take part, as a WHERE condition; empty means all.
    pub selection: String,
    /// The request's own name: sending it again resumes the session.
    pub request_id: RequestId,
    /// The agreement's key by which is matched; empty for the strongest.
    pub key: String,
    /// For any but the strongest key: the request id of the finished match by the next stronger one. Whom it matched takes
    /// no part.
    pub after: Option<RequestId>,
    /// Whether the matches are to be handed out afterwards ([`super::hand_out`]): if the caller may not have them, nothing
    /// is run.
    pub hand_out: bool,
}

impl MatchAsk {
    /// A match of all records by the agreement's strongest key, under a fresh request id.
    ///
    /// # Errors
    /// As [`super::Ask::new`].
    pub fn new(agreement: &str, purpose: &str) -> Result<Self, ClientError> {
        Ok(Self {
            agreement: AgreementId::new(agreement)?,
            purpose: PurposeId::new(purpose)?,
            selection: String::new(),
            request_id: fresh_request_id()?,
            key: String::new(),
            after: None,
            hand_out: false,
        })
    }

    /// The match by the next weaker key that follows this one, once it is finished. It has the same request id each time.
    #[must_use]
    pub fn next(&self, key: &str) -> Self {
        let request_id = self.request_id.further(key.as_bytes());
        Self { key: key.to_owned(), after: Some(self.request_id), request_id, ..self.clone() }
    }
}

/// Has the own agency's adapter run a match as its receiver, and waits for its end.
///
/// # Errors
/// [`ClientError::Refused`]; failures, after which the same `ask` resumes the session.
pub async fn run_match(
    connection: &Connection,
    ask: &MatchAsk,
    report: &mut (dyn FnMut(&MatchProgress) + Send),
) -> Result<MatchSummary, ClientError> {
    let request = RunMatchRequest {
        agreement: ask.agreement.to_string(),
        purpose: ask.purpose.to_string(),
        selection: ask.selection.clone(),
        request_id: ask.request_id.as_bytes().to_vec(),
        hand_out: ask.hand_out,
        key: ask.key.clone(),
        after: ask.after.map(|after| after.as_bytes().to_vec()).unwrap_or_default(),
    };
    let mut steps = local(connection).run_match(request).await?.into_inner();
    let mut summary = None;
    while let Some(message) = steps.message().await? {
        match message.step {
            None => {}
            Some(run_match_response::Step::Progress(progress)) => report(&progress),
            Some(run_match_response::Step::Summary(end)) => summary = Some(end),
        }
    }
    summary.ok_or(ClientError::Answer("it ended before the match did; the same request id resumes it"))
}

/// Who was matched in a session, and by what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MatchedPersons {
    /// The agency's own keys of them.
    pub persons: Vec<String>,
    /// The agreement's key by which they were matched; empty if an earlier program recorded it.
    pub key: String,
    /// Whether people are to look at each match before anything follows from it.
    pub provisional: bool,
}

/// The own agency's records that were matched in a session, to an officer, with the key that matched them. The agency's
/// register says that they were handed out.
///
/// # Errors
/// [`ClientError`], [`ClientError::Refused`] to anybody else.
pub async fn list_matched_by(connection: &Connection, session: &[u8]) -> Result<MatchedPersons, ClientError> {
    let request = ListMatchedRequest { session_id: session.to_vec() };
    let mut batches = local(connection).list_matched(request).await?.into_inner();
    let mut matched = MatchedPersons::default();
    while let Some(batch) = batches.message().await? {
        if !batch.key.is_empty() {
            (matched.key, matched.provisional) = (batch.key, batch.provisional);
        }
        matched.persons.extend(batch.persons);
    }
    Ok(matched)
}

/// As [`list_matched_by`], the agency's own keys of the persons alone.
///
/// # Errors
/// As there.
pub async fn list_matched(connection: &Connection, session: &[u8]) -> Result<Vec<String>, ClientError> {
    Ok(list_matched_by(connection, session).await?.persons)
}

/// Records a choice of one person, by the own agency's key of the person; `None` for all purposes.
///
/// # Errors
/// [`ClientError`]; nothing was recorded.
pub async fn record_choice(
    connection: &Connection,
    person: &str,
    kind: ChoiceKind,
    purpose: Option<&PurposeId>,
) -> Result<(), ClientError> {
    let purpose = purpose.map(ToString::to_string).unwrap_or_default();
    let request = RecordChoiceRequest { person: person.to_owned(), kind: kind.into(), purpose };
    local(connection).record_choice(request).await?;
    Ok(())
}

/// Everything that was recorded of a person, the oldest first.
///
/// # Errors
/// [`ClientError`].
pub async fn list_choices(connection: &Connection, person: &str) -> Result<Vec<RecordedChoice>, ClientError> {
    let request = ListChoicesRequest { person: person.to_owned() };
    Ok(local(connection).list_choices(request).await?.into_inner().choices)
}

pub(super) fn local(connection: &Connection) -> LocalMatchServiceClient<Channel> {
    LocalMatchServiceClient::new(connection.channel()).max_decoding_message_size(MESSAGE)
}
