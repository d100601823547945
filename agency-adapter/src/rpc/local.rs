mod hand_out;
mod replay;
mod sample;

use super::broken::Broken;
use super::oversized::MESSAGE;
use super::patience::{LAST_WORD, MESSAGE_LIMIT, limit, within};
use super::way::{Reached, Way};
use super::{match_status, no_request};
use crate::app::{App, Asked, MatchError, MatchStep, PayloadOffer, Prepared, Receiver, prepare_receiver};
use firebreak_domain::{FORMAT, IdentityRole, RequestId, Timestamp};
use firebreak_node::{SubmittedMatch, Unread, UnreadChoice, read_choice, read_person, told_choice};
use firebreak_transport::{peer, sign};
use firebreak_wire::local::v1 as wire;
use firebreak_wire::local::v1::local_match_service_server::LocalMatchService;
use firebreak_wire::local::v1::run_match_response;
use firebreak_wire::matching::v1::match_session_service_client::MatchSessionServiceClient;
use firebreak_wire::matching::v1::{
    CloseSessionRequest, EvaluateRequest, ListTagsRequest, OpenSessionRequest, PayloadOffer as WirePayload,
    TunnelHeader,
};
use firebreak_wire::policy::v1::ReasonCode as WireReason;
use firebreak_wire::{Header, RequestSignature, reason_to_wire};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

/// Seconds for which a request for a match is good.
const VALID: i64 = 600;

/// Matches for the agency's own staff.
pub struct LocalMatch {
    app: Arc<App>,
    way: Way,
}

impl LocalMatch {
    /// Asks for matches under the adapter's own certificate, at the first gateway that answers.
    #[must_use]
    pub const fn new(app: Arc<App>, way: Way) -> Self {
        Self { app, way }
    }

    async fn run(&self, request: wire::RunMatchRequest, report: &Report) -> Result<wire::MatchSummary, Status> {
        report.step(MatchStep::Forming).await;
        let asked = Asked { selection: &request.selection, key: &request.key, after: after(&request)? };
        let submitted = self.signed(&request).await?;
        let own = self.way.credential.identity();
        let prepared = prepare_receiver(&self.app, submitted, own, asked).await.map_err(match_status)?;
        let (receiver, receipt) = match prepared.received().map_err(match_status)? {
            // Broken off after the sender was done: it has nothing left that it could be asked for.
            Some(received) => {
                let receiver = prepared.take_up(&self.app, &received).await.map_err(match_status)?;
                report.step(receiver.comparing()).await;
                (receiver, received.receipt().to_owned())
            }
            None => self.ask(prepared, report).await?,
        };
        let done = receiver.finish(&self.app).await.map_err(match_status)?;
        Ok(wire::MatchSummary {
            session_id: done.session.to_vec(),
            offered: done.offered,
            matched: done.matched,
            unusable: done.unusable,
            withheld: done.withheld,
            payload: done.payload.map(|payload| wire::MatchPayload {
                disclosed: payload.disclosed,
                undisclosed: payload.undisclosed,
                unreadable: payload.unreadable,
            }),
            receipt,
            key: done.key.into(),
            provisional: done.provisional,
            next_key: done.next_key.map(String::from).unwrap_or_default(),
            held_until: done.held_until.map_or(0, Timestamp::secs),
        })
    }

    /// All that the sender is needed for. It has nothing more to hear when this returns.
    async fn ask(&self, prepared: Prepared, report: &Report) -> Result<(Receiver, String), Status> {
        let attempt = prepared.attempt();
        let session_id = prepared.submitted().header.request_id.as_bytes().to_vec();
        let (mut session, exporter, receipt) = match self.open_tunnel(&prepared).await {
            Ok(opened) => opened,
            // SECURITY: what a gateway says for the sender, outside of the tunnel, ends no session.
            Err(Broken::Sender(status)) => return Err(status),
            Err(broken) => return Err(broken.recorded(&self.app, &attempt).await.0),
        };
        let exchanged = self.exchange(&mut session, exporter.to_vec(), prepared, &receipt, report).await;
        let (reason, exchanged) = match exchanged {
            Ok(receiver) => (None, Ok((receiver, receipt))),
            Err(broken) => {
                let (status, told) = broken.recorded(&self.app, &attempt).await;
                if told.is_none() {
                    return Err(status);
                }
                (told, Err(status))
            }
        };
        // The sender destroys its key. If it does not hear this it does so by itself, later. All that came from it is
        // kept by now, or counts for nothing.
        let bound = if reason.is_some() { LAST_WORD } else { MESSAGE_LIMIT };
        let reason = reason.map_or(WireReason::Unspecified, reason_to_wire).into();
        let _ = within(bound, session.close_session(CloseSessionRequest { session_id, reason })).await;
        // PRIVACY: the tunnel is closed before anything is compared, so that the sender can learn nothing from
        // how long that takes or how it ends.
        drop(session);
        exchanged
    }

    /// All that is said in the tunnel before its end.
    async fn exchange(
        &self,
        session: &mut MatchSessionServiceClient<tonic::transport::Channel>,
        exporter: Vec<u8>,
        prepared: Prepared,
        receipt: &str,
        report: &Report,
    ) -> Result<Receiver, Broken> {
        let header = prepared.submitted().header.clone();
        let session_id = header.request_id.as_bytes().to_vec();
        let (field, normaliser) = prepared.field();
        let opening = session.open_session(OpenSessionRequest {
            format: FORMAT,
            session_id: session_id.clone(),
            agreement: header.agreement.to_string(),
            purpose: header.purpose.to_string(),
            bundle_sequence: prepared.bundle_sequence(),
            normaliser: normaliser.number(),
            field,
            elements: prepared.elements(),
            chunk_elements: prepared.chunk_elements(),
            exporter,
            unproved: !prepared.proofs(),
            payload: to_wire(prepared.payload()),
            epoch: prepared.epoch().unwrap_or_default(),
        });
        let opened = within(limit(prepared.sender_register()), opening).await??.into_inner();
        let mut receiver = prepared.begin(&self.app, &opened.public_key, opened.tags).await?;
        report.step(MatchStep::Committed).await;
        self.evaluate(session, &session_id, &mut receiver, report).await?;
        self.tags(session, &session_id, &mut receiver, report).await?;
        receiver.keep(receipt)?;
        Ok(receiver)
    }

    async fn evaluate(
        &self,
        session: &MatchSessionServiceClient<tonic::transport::Channel>,
        session_id: &[u8],
        receiver: &mut Receiver,
        report: &Report,
    ) -> Result<(), Broken> {
        report.step(receiver.evaluating()).await;
        let mut exchange = receiver.exchange(|chunk, blinded| {
            let (mut session, session_id) = (session.clone(), session_id.to_vec());
            Box::pin(async move {
                let request = EvaluateRequest { session_id, chunk, blinded };
                let answer = within(MESSAGE_LIMIT, session.evaluate(request)).await;
                Ok::<_, Broken>(answer??.into_inner().evaluated)
            })
        });
        while let Some(step) = exchange.verified(&self.app).await? {
            report.step(step).await;
        }
        Ok(())
    }

    async fn tags(
        &self,
        session: &mut MatchSessionServiceClient<tonic::transport::Channel>,
        session_id: &[u8],
        receiver: &mut Receiver,
        report: &Report,
    ) -> Result<(), Broken> {
        if receiver.has_tags() {
            report.step(receiver.comparing()).await;
            return Ok(());
        }
        let request = ListTagsRequest { session_id: session_id.to_vec(), offset: receiver.tag_bytes() };
        // Making the list takes its time, and so does passing it on; each piece of it does not.
        let whole = limit(receiver.tags().into());
        let mut tags = within(whole, session.list_tags(request)).await??.into_inner();
        let begun = Instant::now();
        while let Some(piece) =
            within(MESSAGE_LIMIT.min(whole.saturating_sub(begun.elapsed())), tags.message()).await??
        {
            receiver.push_tags(&piece.tags)?;
            report.step(receiver.comparing()).await;
        }
        Ok(())
    }

    async fn signed(&self, request: &wire::RunMatchRequest) -> Result<SubmittedMatch, Status> {
        let request_id = RequestId::try_from(request.request_id.as_slice())
            .map_err(|_| Status::invalid_argument("request_id must be 16 bytes, chosen at random"))?;
        let header = firebreak_wire::query::v1::RequestHeader {
            format: FORMAT,
            request_id: request_id.as_bytes().to_vec(),
            agreement: request.agreement.clone(),
            purpose: request.purpose.clone(),
            expires: self.app.state().now().plus_secs(VALID).secs(),
            certificates: Vec::new(),
            signature: Vec::new(),
        };
        let unsigned = match SubmittedMatch::read(Some(&header)) {
            Ok(unsigned) => unsigned,
            Err(Unread::NoRequest(refusal)) => return Err(no_request(&refusal)),
            Err(Unread::Misnamed(misnamed)) => {
                let refused = self.app.refuse_misnamed(&misnamed, self.way.credential.identity()).await;
                return Err(match_status(refused.map_or_else(MatchError::from, |r| MatchError::Refused(r.refusal))));
            }
        };
        let intent = unsigned.intent(self.way.credential.identity());
        let credential = self.way.credential.snapshot();
        let signature = sign(&credential, &intent.signing_bytes())
            .map_err(|_| Status::internal("the adapter's key could not sign the request"))?;
        let signature = Some(RequestSignature { certificates: credential.chain(), signature });
        Ok(SubmittedMatch { header: Header { signature, ..unsigned.header } })
    }

    /// A connection to the sender's own key, through the gateway. Gives its exporter and the gateway's receipt.
    async fn open_tunnel(
        &self,
        prepared: &Prepared,
    ) -> Result<(MatchSessionServiceClient<tonic::transport::Channel>, [u8; 32], String), Broken> {
        let header = TunnelHeader { header: Some(prepared.submitted().header.to_wire()), join: Vec::new() };
        let (sender, pin) = prepared.sender();
        let Reached { channel, exporter, receipt } = self.way.reach(header, sender, pin, MESSAGE_LIMIT).await?;
        let client = MatchSessionServiceClient::new(channel)
            .max_decoding_message_size(MESSAGE)
            .max_encoding_message_size(MESSAGE);
        Ok((client, exporter, receipt))
    }
}

/// What the receiver says of its payload; absent without one.
fn to_wire(offer: PayloadOffer) -> Option<WirePayload> {
    let PayloadOffer { format, columns, row_bytes, meaning } = offer;
    (format > 0).then_some(WirePayload { format, columns, row_bytes, meaning })
}

/// The request that a match by a weaker key follows, if one is named.
fn after(request: &wire::RunMatchRequest) -> Result<Option<RequestId>, Status> {
    if request.after.is_empty() {
        return Ok(None);
    }
    let after = RequestId::try_from(request.after.as_slice());
    after.map(Some).map_err(|_| Status::invalid_argument("after must be the 16 bytes of a request id, or empty"))
}

#[tonic::async_trait]
impl LocalMatchService for LocalMatch {
    type RunMatchStream = ReceiverStream<Result<wire::RunMatchResponse, Status>>;
    type ListMatchedStream = hand_out::Parts<wire::ListMatchedResponse>;
    type HandOutStream = hand_out::Parts<wire::HandOutResponse>;
    type ListHandedOutStream = hand_out::Parts<wire::ListHandedOutResponse>;
    type OpenSampleStream = hand_out::Parts<wire::OpenSampleResponse>;

    async fn run_match(
        &self,
        request: Request<wire::RunMatchRequest>,
    ) -> Result<Response<Self::RunMatchStream>, Status> {
        allowed(&request, if request.get_ref().hand_out { TAKE } else { RUN })?;
        let (send, receive) = mpsc::channel(16);
        let this = Self { app: Arc::clone(&self.app), way: self.way.clone() };
        tokio::spawn(async move {
            let report = Report(send);
            let end = this.run(request.into_inner(), &report).await;
            let end = end.map(|s| wire::RunMatchResponse { step: Some(run_match_response::Step::Summary(s)) });
            let _ = report.0.send(end).await;
        });
        Ok(Response::new(ReceiverStream::new(receive)))
    }

    async fn record_choice(
        &self,
        request: Request<wire::RecordChoiceRequest>,
    ) -> Result<Response<wire::RecordChoiceResponse>, Status> {
        allowed(&request, RECORD)?;
        let (person, choice) = read_choice(request.get_ref()).map_err(|e| no_choice(&e))?;
        let recorded = self.app.state().record_choice(person.as_bytes(), &choice).await;
        recorded.map_err(|e| match_status(e.into()))?;
        Ok(Response::new(wire::RecordChoiceResponse {}))
    }

    async fn list_choices(
        &self,
        request: Request<wire::ListChoicesRequest>,
    ) -> Result<Response<wire::ListChoicesResponse>, Status> {
        allowed(&request, RECORD)?;
        let person = read_person(&request.get_ref().person).map_err(|e| no_choice(&e))?;
        let known = self.app.state().choices_of(person.as_bytes()).await.map_err(|e| match_status(e.into()))?;
        Ok(Response::new(wire::ListChoicesResponse { choices: known.iter().map(told_choice).collect() }))
    }

    async fn list_matched(
        &self,
        request: Request<wire::ListMatchedRequest>,
    ) -> Result<Response<Self::ListMatchedStream>, Status> {
        self.send_list(request).await
    }

    async fn hand_out(&self, request: Request<wire::HandOutRequest>) -> Result<Response<Self::HandOutStream>, Status> {
        self.send_file(request).await
    }

    async fn list_handed_out(
        &self,
        request: Request<wire::ListHandedOutRequest>,
    ) -> Result<Response<Self::ListHandedOutStream>, Status> {
        allowed(&request, READ)?;
        self.send_register().await
    }

    async fn open_sample(
        &self,
        request: Request<wire::OpenSampleRequest>,
    ) -> Result<Response<Self::OpenSampleStream>, Status> {
        self.send_sample(request).await
    }

    async fn replay_join(
        &self,
        request: Request<wire::ReplayJoinRequest>,
    ) -> Result<Response<wire::ReplayJoinResponse>, Status> {
        allowed(&request, REPLAY)?;
        replay::run(&self.app, request.get_ref()).await.map(Response::new)
    }
}

/// Who has a join made again, for overseers.
const REPLAY: &[IdentityRole] = &[IdentityRole::Steward];

/// Who records who takes part in matches.
const RECORD: &[IdentityRole] = &[IdentityRole::Caseworker, IdentityRole::Steward];
/// Who has a match run, and hears how many were matched.
const RUN: &[IdentityRole] = &[IdentityRole::Officer, IdentityRole::Caseworker, IdentityRole::Steward];
/// Who takes the matched keys out of the adapter.
const TAKE: &[IdentityRole] = &[IdentityRole::Officer];
/// Who reads what was taken out.
const READ: &[IdentityRole] = &[IdentityRole::Officer, IdentityRole::Steward];
/// Who opens a sample of a committed set: who answers for the data, with those who oversee the agency.
const OPEN: &[IdentityRole] = &[IdentityRole::Steward];

fn allowed<T>(request: &Request<T>, roles: &[IdentityRole]) -> Result<(), Status> {
    if roles.contains(&peer(request)?.identity.role) {
        return Ok(());
    }
    let refusal = firebreak_domain::Refusal::new(firebreak_domain::ReasonCode::RoleNotAllowed);
    Err(firebreak_wire::status_of_refusal(&refusal, None))
}

fn no_choice(error: &UnreadChoice) -> Status {
    Status::invalid_argument(error.to_string())
}

struct Report(mpsc::Sender<Result<wire::RunMatchResponse, Status>>);

impl Report {
    async fn step(&self, step: MatchStep) {
        let (words, done, of, unit) = match step {
            MatchStep::Forming => ("forming the set", 0, 0, ""),
            MatchStep::Committed => ("committed to the set in the log", 0, 0, ""),
            MatchStep::Evaluating { done, of } => ("evaluating blinded identifiers", done, of, "elements"),
            MatchStep::Comparing { done, of } => ("receiving tags", done, of, "bytes"),
        };
        let progress = wire::MatchProgress { step: words.to_owned(), done, of, unit: unit.to_owned() };
        let step = Some(run_match_response::Step::Progress(progress));
        let _ = self.0.send(Ok(wire::RunMatchResponse { step })).await;
    }
}
