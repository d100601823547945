//! Requests as their callers sign them, sent to the gateway or, by a gateway that lies, to an adapter.

use anyhow::{Context, Result, bail};
use firebreak::client::Ask;
use firebreak_audit::{LeafKind, SignedLeaf, VerifierKey};
use firebreak_domain::{Act, AgreementId, EndpointId, Identity, PurposeId, ReasonCode, Recipient, Timestamp};
use firebreak_testbed::{Address, Federation, TRUST_DOMAIN, gateway_identity};
use firebreak_tests::{Caller, verified_refusal};
use firebreak_transport::{connect, sign};
use firebreak_wire::agency::v1::agency_service_client::AgencyServiceClient;
use firebreak_wire::agency::v1::{
    self as agency, AcceptTunnelHeader, AcceptTunnelRequest, Claim, ExecuteQueryRequest, accept_tunnel_request,
    accept_tunnel_response, execute_query_response,
};
use firebreak_wire::export::v1::export_service_client::ExportServiceClient;
use firebreak_wire::export::v1::{ExportKind, RequestExportRequest, request_export_response};
use firebreak_wire::matching::v1::matching_service_client::MatchingServiceClient;
use firebreak_wire::matching::v1::{OpenTunnelRequest, TunnelHeader, open_tunnel_request};
use firebreak_wire::query::v1::query_service_client::QueryServiceClient;
use firebreak_wire::query::v1::{Question, RequestHeader, RunQueryRequest, run_query_response};
use firebreak_wire::{
    Header, RequestSignature, export_kind_name, question_from_wire, refusal_from_wire, refusal_of_status, sql_question,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Response, Status, Streaming};

/// Seconds for which a request is good.
const VALID: i64 = 600;

/// What somebody asks, in the words of the bundle.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    /// Who.
    pub who: Caller,
    /// Under which agreement.
    pub agreement: &'static str,
    /// For which purpose.
    pub purpose: &'static str,
    /// What.
    pub what: What,
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub enum What {
    /// An answer.
    Query(&'static str),
    /// A file, for an endpoint or for the caller's own organisation.
    Export(ExportKind, Option<&'static str>, &'static str),
    /// A match.
    Match,
}

/// A request as it goes over the wire, with what a gateway says of its caller.
#[derive(Clone)]
pub struct Sent {
    /// The caller's identity, as the gateway claims it.
    pub claim: String,
    /// The header.
    pub header: RequestHeader,
    /// The question.
    pub question: Option<Question>,
    /// What an export adds.
    pub export: Option<agency::Export>,
}

/// What came back.
#[derive(Debug)]
pub enum Outcome {
    /// A release with so many rows.
    Rows(usize),
    /// A file.
    File(Vec<u8>),
    /// A tunnel.
    Tunnel,
    /// Nothing.
    Refused(Box<Told>),
}

/// A refusal as its caller hears it.
#[derive(Debug)]
pub struct Told {
    /// The reason's code.
    pub reason: String,
    /// The policies that decided.
    pub policies: Vec<String>,
    /// The rule, what was wrong, and what to do instead.
    pub words: String,
    evidence: Evidence,
}

#[derive(Debug)]
enum Evidence {
    /// From the gateway: a receipt that the leaf is in the log.
    Receipt(String),
    /// From an adapter: the signed leaf, on its way to the log.
    Leaf(Vec<u8>),
}

impl Request {
    /// The request as its caller's own program would send it at `now`, asked at so much loss.
    pub fn signed(&self, federation: &Federation, now: Timestamp, rho_nano: u64) -> Result<Sent> {
        let Caller(org, role, id) = self.who;
        let credential = federation.issue(org, role, id)?;
        let own = Recipient::Organisation(credential.identity().org.clone());
        let (question, export) = match self.what {
            What::Query(sql) => (Some(sql), None),
            What::Export(kind, endpoint, sql) => {
                let endpoint = endpoint.unwrap_or_default().to_owned();
                (Some(sql), Some(agency::Export { kind: kind.into(), endpoint, dataset: "health.visits".to_owned() }))
            }
            What::Match => (None, None),
        };
        let question = question.map(|sql| Question { rho_nano, ..sql_question(sql) });
        let canonical_query: String =
            question_from_wire(question.as_ref()).map(|q| q.canonical().into()).unwrap_or_default();
        let (act, recipient) = match (&export, self.what) {
            (_, What::Match) => (Act::Match, own),
            (None, _) => (Act::Aggregate { canonical_query }, own),
            (Some(export), _) => {
                let recipient = match export.endpoint.as_str() {
                    "" => own,
                    endpoint => Recipient::Endpoint(EndpointId::new(endpoint)?),
                };
                (Act::Export { kind: export_kind_name(export.kind()).to_owned(), canonical_query }, recipient)
            }
        };
        let unsigned = Header {
            request_id: Ask::without_question(self.agreement, self.purpose)?.request_id,
            agreement: AgreementId::new(self.agreement)?,
            purpose: PurposeId::new(self.purpose)?,
            expires: now.plus_secs(VALID),
            signature: None,
        };
        let signature = sign(&credential, &unsigned.intent(act, recipient).signing_bytes())?;
        let signature = Some(RequestSignature { certificates: credential.chain(), signature });
        let header = Header { signature, ..unsigned }.to_wire();
        Ok(Sent { claim: self.who.uri(), header, question, export })
    }
}

/// The identity of a caller.
pub trait Uri {
    /// As a SPIFFE URI.
    fn uri(&self) -> String;
}

impl Uri for Caller {
    fn uri(&self) -> String {
        let Self(org, role, id) = self;
        format!("spiffe://{TRUST_DOMAIN}/org/{org}/{role}/{id}")
    }
}

impl Sent {
    /// The same with the signature taken off.
    pub fn unsigned(&self) -> Self {
        let header = RequestHeader { certificates: Vec::new(), signature: Vec::new(), ..self.header.clone() };
        Self { header, ..self.clone() }
    }

    /// The same under the signature of another request.
    pub fn under_signature_of(&self, other: &Self) -> Self {
        let (certificates, signature) = (other.header.certificates.clone(), other.header.signature.clone());
        Self { header: RequestHeader { certificates, signature, ..self.header.clone() }, ..self.clone() }
    }

    /// Sends it to the gateway, by the caller that it names.
    pub async fn to_gateway(&self, federation: &Federation, gateway: Address) -> Result<Outcome> {
        let who: Identity = self.claim.parse()?;
        let credential = federation.issue(who.org.as_str(), who.role.as_str(), &who.id)?;
        let trust = federation.authority().trust_anchor()?;
        let expected: Identity = gateway_identity().parse()?;
        let channel = connect(&format!("localhost:{}", gateway.port()), &credential, &trust, &expected).await?;
        match self.call(channel).await {
            Ok(outcome) => Ok(outcome),
            Err(status) => Ok(Outcome::Refused(Box::new(Told::by_status(&status)?))),
        }
    }

    async fn call(&self, channel: Channel) -> Result<Outcome, Status> {
        let header = Some(self.header.clone());
        let Some(question) = self.question.clone() else {
            // The stream stays open: a tunnel whose receiver has ended is cut before it is let in.
            let (send, receive) = tokio::sync::mpsc::channel(1);
            let frame = Some(open_tunnel_request::Frame::Header(TunnelHeader { header, join: Vec::new() }));
            let _ = send.send(OpenTunnelRequest { frame }).await;
            let answer = MatchingServiceClient::new(channel).open_tunnel(ReceiverStream::new(receive)).await?;
            return first(answer).await.map(|_| Outcome::Tunnel);
        };
        if let Some(export) = self.export.clone() {
            let agency::Export { kind, endpoint, dataset } = export;
            let request = RequestExportRequest { header, kind, question: Some(question), endpoint, dataset };
            let mut steps = ExportServiceClient::new(channel).request_export(request).await?.into_inner();
            let mut file = Vec::new();
            while let Some(message) = steps.message().await? {
                if let Some(request_export_response::Step::Chunk(chunk)) = message.step {
                    file.extend(chunk);
                }
            }
            return Ok(Outcome::File(file));
        }
        let request = RunQueryRequest { header, question: Some(question) };
        let mut steps = QueryServiceClient::new(channel).run_query(request).await?.into_inner();
        let mut rows = 0;
        while let Some(message) = steps.message().await? {
            if let Some(run_query_response::Step::Rows(batch)) = message.step {
                rows += batch.rows.len();
            }
        }
        Ok(Outcome::Rows(rows))
    }

    /// Sends it to an adapter, by a gateway that claims what stands in it.
    pub async fn to_adapter(&self, mut adapter: AgencyServiceClient<Channel>) -> Result<Outcome> {
        let claim = Some(Claim { principal: self.claim.clone() });
        let header = Some(self.header.clone());
        let refused = if self.question.is_some() {
            let (question, export) = (self.question.clone(), self.export.clone());
            let answer = adapter.execute_query(ExecuteQueryRequest { claim, header, question, export }).await?;
            match first(answer).await?.step {
                Some(execute_query_response::Step::Release(_)) => return Ok(Outcome::Rows(1)),
                Some(execute_query_response::Step::Refused(refused)) => refused,
                _ => bail!("neither released nor refused"),
            }
        } else {
            let (send, receive) = tokio::sync::mpsc::channel(1);
            let tunnel = Some(TunnelHeader { header, join: Vec::new() });
            let frame = Some(accept_tunnel_request::Frame::Header(AcceptTunnelHeader { claim, tunnel }));
            send.send(AcceptTunnelRequest { frame }).await?;
            let answer = adapter.accept_tunnel(ReceiverStream::new(receive)).await?;
            match first(answer).await?.frame {
                Some(accept_tunnel_response::Frame::Accepted(_)) => return Ok(Outcome::Tunnel),
                Some(accept_tunnel_response::Frame::Refused(refused)) => refused,
                _ => bail!("neither let in nor refused"),
            }
        };
        Ok(Outcome::Refused(Box::new(Told::by_adapter(&refused)?)))
    }
}

async fn first<T>(answer: Response<Streaming<T>>) -> Result<T, Status> {
    answer.into_inner().message().await?.ok_or_else(|| Status::internal("the answer ended before it began"))
}

impl Outcome {
    /// The refusal.
    pub fn refused(self) -> Result<Told> {
        match self {
            Self::Refused(told) => Ok(*told),
            answered => bail!("answered with {}, and not refused", answered.kind()),
        }
    }

    /// The answer.
    pub fn answered(self) -> Result<Self> {
        match self {
            Self::Refused(told) => bail!("refused for {}: {}", told.reason, told.words),
            answered => Ok(answered),
        }
    }

    const fn kind(&self) -> &'static str {
        match self {
            Self::Rows(_) => "rows",
            Self::File(_) => "a file",
            Self::Tunnel => "a tunnel",
            Self::Refused(_) => "a refusal",
        }
    }
}

impl Told {
    fn by_status(status: &Status) -> Result<Self> {
        let received = refusal_of_status(status).with_context(|| format!("no refusal but {status}"))?;
        let told = |key: &str| received.metadata.get(key).cloned().unwrap_or_default();
        let policies = told("policies");
        let policies = policies.split(", ").filter(|p| !p.is_empty()).map(str::to_owned).collect();
        let words = [told("rule"), told("detail"), told("suggestion")].join("; ");
        Ok(Self { reason: received.reason, policies, words, evidence: Evidence::Receipt(told("receipt")) })
    }

    fn by_adapter(refused: &agency::Refused) -> Result<Self> {
        let refusal = refusal_from_wire(refused.refusal.as_ref().context("a refusal without its reason")?);
        let words = refusal.to_string();
        let evidence = Evidence::Leaf(refused.leaf.clone());
        Ok(Self { reason: refusal.reason.as_str().to_owned(), policies: refusal.policies, words, evidence })
    }

    /// The leaf of the refusal: from the gateway proved to be in the log, from an adapter on its way there.
    pub fn leaf(&self, log: &VerifierKey, reason: ReasonCode) -> Result<SignedLeaf> {
        let signed = match &self.evidence {
            Evidence::Receipt(receipt) => verified_refusal(receipt, log, reason)?.leaf,
            Evidence::Leaf(leaf) => SignedLeaf::decode(leaf)?,
        };
        let leaf = signed.leaf();
        if leaf.kind != LeafKind::Refusal || leaf.reason != Some(reason) {
            bail!("the leaf is of kind {} for {:?}", leaf.kind.as_str(), leaf.reason);
        }
        Ok(signed)
    }
}
