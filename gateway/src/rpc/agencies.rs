use crate::app::{
    Agencies, AgencyAnswer, AgencyError, AgencyRefusal, AgencyRelease, Asked, JoinStep, JoinSteps, LeafInLog,
    MOST_LEAVES, OfferedLeaf, Outstanding, Shown, TunnelAnswer,
};
use async_trait::async_trait;
use bytes::Bytes;
use firebreak_audit::{Leaf, LeafVerifier, LogEntry, SealedOpening, SignedLeaf, SignerRole};
use firebreak_domain::{AgreementId, CapStanding, Closed, ColumnName, DatasetId, Identity, OrgId, Pin, ReasonCode};
use firebreak_node::{Evidence, SubmittedMatch};
use firebreak_transport::{ByteStream, Peer, ReverseConnections, receive_chunks, verify};
use firebreak_wire::agency::v1::agency_service_client::AgencyServiceClient;
use firebreak_wire::agency::v1::{
    self as wire, accept_tunnel_request, accept_tunnel_response, execute_query_response, run_join_response,
};
use firebreak_wire::export::v1::RequestExportRequest;
use firebreak_wire::matching::v1::TunnelHeader;
use firebreak_wire::query::v1::{Question, RequestHeader, RunQueryRequest};
use firebreak_wire::{cap_from_wire, opening_from_wire, reason_to_wire, refusal_from_wire};
use prost::Message;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

/// Largest message between gateway and adapter.
const MESSAGE: usize = 16 * 1024 * 1024;

/// The agencies whose adapters have dialled in.
pub struct ConnectedAgencies(ReverseConnections);

impl ConnectedAgencies {
    /// Reaches agencies by these connections.
    #[must_use]
    pub const fn new(connections: ReverseConnections) -> Self {
        Self(connections)
    }

    fn signer(&self, agency: &OrgId) -> Result<Signer, AgencyError> {
        self.0.peer(agency).map(Signer).ok_or(AgencyError::NotConnected)
    }

    fn client(&self, agency: &OrgId) -> Result<AgencyServiceClient<Channel>, AgencyError> {
        let channel = self.0.channel(agency).ok_or(AgencyError::NotConnected)?;
        Ok(AgencyServiceClient::new(channel).max_decoding_message_size(MESSAGE).max_encoding_message_size(MESSAGE))
    }
}

fn lost(status: &Status) -> AgencyError {
    tracing::warn!(error_kind = ?status.code(), "an agency gave no answer");
    AgencyError::Lost
}

fn claim(caller: &Identity) -> Option<wire::Claim> {
    Some(wire::Claim { principal: caller.to_string() })
}

/// The caller's own request, as it came, in the envelope for its agency.
fn envelope(asked: &Asked, caller: &Identity) -> Result<wire::ExecuteQueryRequest, AgencyError> {
    let bytes = asked.message.as_ref().clone();
    let claim = claim(caller);
    if asked.submitted.export.is_none() {
        let request = RunQueryRequest::decode(bytes).map_err(|_| AgencyError::Unreadable)?;
        return Ok(wire::ExecuteQueryRequest {
            claim,
            header: request.header,
            question: request.question,
            export: None,
        });
    }
    let request = RequestExportRequest::decode(bytes).map_err(|_| AgencyError::Unreadable)?;
    let export =
        wire::Export { kind: request.kind, endpoint: request.endpoint.clone(), dataset: request.dataset.clone() };
    Ok(wire::ExecuteQueryRequest { claim, header: request.header, question: request.question, export: Some(export) })
}

/// The caller's own request for a join, as it came.
fn signed(asked: &Asked) -> Result<(Option<RequestHeader>, Option<Question>), AgencyError> {
    let request = RunQueryRequest::decode(asked.message.as_ref().clone()).map_err(|_| AgencyError::Unreadable)?;
    Ok((request.header, request.question))
}

/// The end of a tunnel whose first frame was taken.
fn carried(
    answers: Streaming<wire::AcceptTunnelResponse>,
    send: mpsc::Sender<wire::AcceptTunnelRequest>,
) -> ByteStream {
    let incoming = receive_chunks(answers.map(|answer| match answer?.frame {
        Some(accept_tunnel_response::Frame::Bytes(bytes)) => Ok(Bytes::from(bytes)),
        _ => Err(Status::new(Code::InvalidArgument, "a tunnel carries bytes alone")),
    }));
    let (outgoing, mut chunks) = mpsc::channel::<Bytes>(8);
    tokio::spawn(async move {
        while let Some(chunk) = chunks.recv().await {
            let frame = Some(accept_tunnel_request::Frame::Bytes(chunk.into()));
            if send.send(wire::AcceptTunnelRequest { frame }).await.is_err() {
                return;
            }
        }
    });
    ByteStream::new(incoming, outgoing)
}

/// One side of a join, as its agency says it.
struct SideOfJoin {
    signer: Signer,
    answers: Streaming<wire::RunJoinResponse>,
}

#[async_trait]
impl JoinSteps for SideOfJoin {
    async fn next(&mut self) -> Result<JoinStep, AgencyError> {
        let answer = self.answers.message().await.map_err(|s| lost(&s))?.ok_or(AgencyError::Lost)?;
        match answer.step.ok_or(AgencyError::Unreadable)? {
            run_join_response::Step::Committed(committed) => {
                let (leaf, opening) = (&committed.leaf, &committed.opening);
                Ok(JoinStep::Committed(self.signer.evidence(leaf, opening, committed.sealed_opening)?))
            }
            run_join_response::Step::Prepared(prepared) => Ok(JoinStep::Prepared(prepared.sizes)),
            run_join_response::Step::Points(points) => Ok(JoinStep::Points(points)),
            run_join_response::Step::Sent(_) => Ok(JoinStep::Sent),
            run_join_response::Step::Refused(refused) => Ok(JoinStep::Refused(self.signer.refusal(refused)?)),
        }
    }
}

/// What an agency keeps closed, if it names something as a dataset or a column can be named.
fn closed(of: &wire::Closed) -> Option<Closed> {
    let column = if of.column.is_empty() { None } else { Some(ColumnName::new(&of.column).ok()?) };
    Some(Closed { dataset: DatasetId::new(&of.dataset).ok()?, column })
}

/// The agency whose adapter is at the other end, and the key that it showed there.
struct Signer(Arc<Peer>);

impl LeafVerifier for Signer {
    fn accepts(&self, leaf: &Leaf, text: &[u8], key: &Pin, signature: &[u8]) -> bool {
        leaf.signer_org == self.0.identity.org
            && leaf.signer_role == SignerRole::Adapter
            && *key == self.0.pin
            && verify(&self.0.certificate, text, signature).is_ok()
    }
}

impl Signer {
    /// A leaf and what opens it. One that the agency's own key did not sign is not put into the log.
    fn evidence(&self, leaf: &[u8], opening: &[u8], sealed: Vec<u8>) -> Result<Evidence, AgencyError> {
        let leaf = SignedLeaf::decode(leaf).map_err(|_| AgencyError::Unreadable)?;
        let opening = opening_from_wire(opening).ok_or(AgencyError::Unreadable)?;
        let sealed = SealedOpening::from_bytes(sealed).map_err(|_| AgencyError::Unreadable)?;
        let evidence = Evidence { leaf, opening, sealed }.checked().filter(|evidence| evidence.leaf.is_signed(self));
        evidence.ok_or(AgencyError::Unreadable)
    }

    fn refusal(&self, refused: wire::Refused) -> Result<AgencyRefusal, AgencyError> {
        let evidence = self.evidence(&refused.leaf, &refused.opening, refused.sealed_opening)?;
        let refusal = refused.refusal.as_ref().map(refusal_from_wire).ok_or(AgencyError::Unreadable)?;
        Ok(AgencyRefusal { refusal, evidence })
    }
}

#[async_trait]
impl Agencies for ConnectedAgencies {
    fn connected(&self) -> Vec<OrgId> {
        self.0.connected().into_iter().map(|(agency, _)| agency).collect()
    }

    async fn execute(&self, agency: &OrgId, caller: &Identity, asked: &Asked) -> Result<AgencyAnswer, AgencyError> {
        let request = envelope(asked, caller)?;
        let signer = self.signer(agency)?;
        let mut answers = match self.client(agency)?.execute_query(request).await {
            Ok(answers) => answers.into_inner(),
            Err(status) => return Err(lost(&status)),
        };
        while let Some(answer) = answers.message().await.map_err(|s| lost(&s))? {
            match answer.step {
                Some(execute_query_response::Step::Release(release)) => {
                    let evidence = signer.evidence(&release.leaf, &release.opening, release.sealed_opening)?;
                    return Ok(AgencyAnswer::Released(AgencyRelease { release: release.release, evidence }));
                }
                Some(execute_query_response::Step::Refused(refused)) => {
                    return Ok(AgencyAnswer::Refused(signer.refusal(refused)?));
                }
                Some(execute_query_response::Step::Progress(_)) | None => {}
            }
        }
        Err(AgencyError::Lost)
    }

    async fn open_tunnel(
        &self,
        agency: &OrgId,
        caller: &Identity,
        submitted: &SubmittedMatch,
    ) -> Result<TunnelAnswer, AgencyError> {
        let (send, receive) = mpsc::channel::<wire::AcceptTunnelRequest>(8);
        let tunnel = Some(TunnelHeader { header: Some(submitted.header.to_wire()), join: Vec::new() });
        let signer = self.signer(agency)?;
        let header = wire::AcceptTunnelHeader { claim: claim(caller), tunnel };
        let frame = Some(accept_tunnel_request::Frame::Header(header));
        send.send(wire::AcceptTunnelRequest { frame }).await.map_err(|_| AgencyError::Lost)?;
        let mut answers = match self.client(agency)?.accept_tunnel(ReceiverStream::new(receive)).await {
            Ok(answers) => answers.into_inner(),
            Err(status) => return Err(lost(&status)),
        };
        match answers.message().await.map_err(|s| lost(&s))?.and_then(|m| m.frame) {
            Some(accept_tunnel_response::Frame::Accepted(accepted)) => {
                let evidence = signer.evidence(&accepted.leaf, &accepted.opening, accepted.sealed_opening)?;
                Ok(TunnelAnswer::Open(carried(answers, send), evidence))
            }
            Some(accept_tunnel_response::Frame::Refused(refused)) => {
                Ok(TunnelAnswer::Refused(signer.refusal(refused)?))
            }
            Some(accept_tunnel_response::Frame::Bytes(_)) | None => Err(AgencyError::Unreadable),
        }
    }

    async fn check_join(
        &self,
        agency: &OrgId,
        caller: &Identity,
        asked: &Asked,
    ) -> Result<Option<AgencyRefusal>, AgencyError> {
        let (header, question) = signed(asked)?;
        let signer = self.signer(agency)?;
        let request = wire::CheckJoinRequest { claim: claim(caller), header, question };
        let answer = self.client(agency)?.check_join(request).await.map_err(|s| lost(&s))?.into_inner();
        answer.refused.map(|refused| signer.refusal(refused)).transpose()
    }

    async fn run_join(
        &self,
        agency: &OrgId,
        caller: &Identity,
        asked: &Asked,
    ) -> Result<Box<dyn JoinSteps>, AgencyError> {
        let (header, question) = signed(asked)?;
        let signer = self.signer(agency)?;
        let request = wire::RunJoinRequest { claim: claim(caller), header, question };
        let answers = self.client(agency)?.run_join(request).await.map_err(|s| lost(&s))?.into_inner();
        Ok(Box::new(SideOfJoin { signer, answers }))
    }

    async fn report_join_fault(
        &self,
        agency: &OrgId,
        session: &[u8; 32],
        reason: ReasonCode,
        sent_on: bool,
    ) -> Result<(), AgencyError> {
        let reason = reason_to_wire(reason).into();
        let request = wire::ReportJoinFaultRequest { session: session.to_vec(), reason, sent_on };
        self.client(agency)?.report_join_fault(request).await.map_err(|s| lost(&s))?;
        Ok(())
    }

    async fn open_join_tunnel(
        &self,
        agency: &OrgId,
        left: &Identity,
        session: &[u8; 32],
    ) -> Result<ByteStream, AgencyError> {
        let (send, receive) = mpsc::channel::<wire::AcceptTunnelRequest>(8);
        let tunnel = Some(TunnelHeader { header: None, join: session.to_vec() });
        let header = wire::AcceptTunnelHeader { claim: claim(left), tunnel };
        let frame = Some(accept_tunnel_request::Frame::Header(header));
        send.send(wire::AcceptTunnelRequest { frame }).await.map_err(|_| AgencyError::Lost)?;
        let answers = self.client(agency)?.accept_tunnel(ReceiverStream::new(receive)).await;
        let mut answers = answers.map_err(|s| lost(&s))?.into_inner();
        match answers.message().await.map_err(|s| lost(&s))?.and_then(|m| m.frame) {
            Some(accept_tunnel_response::Frame::Accepted(_)) => Ok(carried(answers, send)),
            _ => Err(AgencyError::Unreadable),
        }
    }

    async fn caps(
        &self,
        agency: &OrgId,
        caller: &Identity,
        agreement: &AgreementId,
    ) -> Result<Vec<CapStanding>, AgencyError> {
        let request = wire::ListCapsRequest { claim: claim(caller), agreement: agreement.to_string() };
        let answer = self.client(agency)?.list_caps(request).await.map_err(|s| lost(&s))?.into_inner();
        Ok(answer.caps.iter().filter_map(cap_from_wire).collect())
    }

    async fn outstanding(&self, agency: &OrgId) -> Result<Outstanding, AgencyError> {
        let request = wire::ListOutstandingLeavesRequest {};
        let signer = self.signer(agency)?;
        let answer = self.client(agency)?.list_outstanding_leaves(request).await.map_err(|s| lost(&s))?.into_inner();
        // One that cannot be read, or is somebody else's, keeps no other from the log.
        let leaf = |offered: wire::OutstandingLeaf| {
            let leaf = SignedLeaf::decode(&offered.leaf).ok()?;
            let sealed = SealedOpening::from_bytes(offered.sealed_opening).ok()?;
            let own = leaf.leaf().signer_org == *agency
                && leaf.leaf().signer_role == SignerRole::Adapter
                && leaf.leaf().sealed == sealed.hash();
            let signed_by_key = leaf.is_signed(&signer);
            own.then_some(OfferedLeaf { entry: LogEntry { leaf, sealed }, signed_by_key })
        };
        // Signatures of no more leaves than are taken up are looked at.
        let leaves = answer.leaves.into_iter().take(MOST_LEAVES).filter_map(leaf).collect();
        // An adapter does not start with more.
        if answer.closed.len() > Closed::MOST {
            return Err(AgencyError::Unreadable);
        }
        let closed = answer.closed.iter().map(closed).collect::<Option<_>>().ok_or(AgencyError::Unreadable)?;
        Ok(Outstanding { leaves, log_size: answer.log_size, closed })
    }

    async fn confirm(&self, agency: &OrgId, shown: Shown) -> Result<(), AgencyError> {
        let inclusion = |leaf: &LeafInLog| wire::LeafInclusion {
            leaf_hash: leaf.hash.to_vec(),
            index: leaf.index,
            proof: leaf.proof.iter().map(|h| h.to_vec()).collect(),
        };
        let request = wire::ConfirmLeavesRequest {
            checkpoint: shown.checkpoint,
            consistency: shown.consistency.iter().map(|h| h.to_vec()).collect(),
            leaves: shown.leaves.iter().map(inclusion).collect(),
            newest_leaf: shown.newest.as_ref().map(|(leaf, _)| leaf.as_bytes().to_vec()).unwrap_or_default(),
            newest_inclusion: shown.newest.as_ref().map(|(_, place)| inclusion(place)),
        };
        self.client(agency)?.confirm_leaves(request).await.map_err(|s| lost(&s))?;
        Ok(())
    }
}
