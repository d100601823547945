use anyhow::{Context, Result, ensure};
use firebreak::client::{Ask, QueryAnswer};
use firebreak_domain::{Act, Clock, Recipient, Rho, SystemClock};
use firebreak_testbed::{Address, Federation, gateway_identity};
use firebreak_tests::Caller;
use firebreak_transport::{connect, sign};
use firebreak_wire::query::v1::query_service_client::QueryServiceClient;
use firebreak_wire::query::v1::{Question, Released, Row, RunQueryRequest, run_query_response::Step};
use firebreak_wire::{Header, RequestSignature, question_from_wire, sql_question};
use tonic::Status;
use tonic::transport::Channel;

/// What reached a caller before the stream of its answer ended or broke, however little: a client gives rows to nobody
/// before the release has come, but an attacker at its place would have them.
#[derive(Default)]
pub struct Received {
    rows: Vec<Row>,
    released: Option<Released>,
}

/// A question of the statistician, signed and with a connection, not yet sent.
pub struct Ready {
    client: QueryServiceClient<Channel>,
    request: RunQueryRequest,
}

impl Ready {
    /// Signs and connects, as the statistician's own program does.
    pub async fn to_ask(federation: &Federation, gateway: Address, ask: &Ask) -> Result<Self> {
        let Caller(org, role, id) = Caller::ADA;
        let credential = federation.issue(org, role, id)?;
        let rho_nano = ask.rho.map_or(0, Rho::nano);
        let question = Question { rho_nano, ..sql_question(ask.sql.as_deref().context("no question")?) };
        let query = question_from_wire(Some(&question)).map_err(|refusal| anyhow::anyhow!("{refusal}"))?;
        let unsigned = Header {
            request_id: ask.request_id,
            agreement: ask.agreement.clone(),
            purpose: ask.purpose.clone(),
            expires: SystemClock.now().plus_secs(600),
            signature: None,
        };
        let recipient = Recipient::Organisation(credential.identity().org.clone());
        let act = Act::Aggregate { canonical_query: query.canonical().as_str().to_owned() };
        let signature = sign(&credential, &unsigned.intent(act, recipient).signing_bytes())?;
        let signature = Some(RequestSignature { certificates: credential.chain(), signature });
        let header = Some(Header { signature, ..unsigned }.to_wire());
        let trust = federation.authority().trust_anchor()?;
        let channel = connect(&gateway.to_string(), &credential, &trust, &gateway_identity().parse()?).await?;
        let request = RunQueryRequest { header, question: Some(question) };
        Ok(Self { client: QueryServiceClient::new(channel), request })
    }
}

impl Received {
    /// Sends a question, and takes in what comes for as long as it is polled.
    pub async fn take_in(&mut self, mut ready: Ready) -> Result<(), Status> {
        let mut steps = ready.client.run_query(ready.request).await?.into_inner();
        while let Some(message) = steps.message().await? {
            match message.step {
                Some(Step::Rows(batch)) => self.rows.extend(batch.rows),
                Some(Step::Released(released)) => self.released = Some(released),
                Some(Step::Accepted(_) | Step::Progress(_)) | None => {}
            }
        }
        Ok(())
    }

    /// Whether any figure came.
    pub const fn anything(&self) -> bool {
        !self.rows.is_empty() || self.released.is_some()
    }

    /// Whether the answer came to its end.
    pub const fn whole(&self) -> bool {
        self.released.is_some()
    }

    /// Nothing of it is contradicted by the answer of the retry.
    pub fn agrees_with(&self, answer: &QueryAnswer) -> Result<()> {
        ensure!(answer.rows.starts_with(&self.rows), "the retry gives other figures than those received before");
        if let Some(released) = &self.released {
            ensure!(self.rows == answer.rows, "the retry gives more figures than the whole answer received before");
            ensure!(released.release_id == answer.released.release_id, "the retry gives another release");
        }
        Ok(())
    }
}
