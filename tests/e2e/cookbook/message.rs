//! Questions sent as messages, the other of the two forms.

use super::document::Under;
use anyhow::{Context, Result, ensure};
use firebreak::client::{Ask, QueryAnswer};
use firebreak_domain::{Act, Clock, Recipient, SystemClock};
use firebreak_query::parse_sql;
use firebreak_testbed::gateway_identity;
use firebreak_tests::{Caller, Own};
use firebreak_transport::{Credential, connect, sign};
use firebreak_wire::query::v1::query_service_client::QueryServiceClient;
use firebreak_wire::query::v1::run_query_response::Step;
use firebreak_wire::query::v1::{RunQueryRequest, question};
use firebreak_wire::{Header, RequestSignature, question_to_wire};
use tonic::transport::Channel;

/// Seconds for which a request is good.
const VALID: i64 = 600;

/// Somebody who asks by messages.
pub struct Sender {
    credential: Credential,
    client: QueryServiceClient<Channel>,
}

impl Sender {
    /// Connects to the gateway.
    pub async fn connect(own: &Own, Caller(org, role, id): Caller) -> Result<Self> {
        let credential = own.federation.issue(org, role, id)?;
        let trust = own.federation.authority().trust_anchor()?;
        let gateway = gateway_identity().parse()?;
        let channel = connect(&own.live.address.to_string(), &credential, &trust, &gateway).await?;
        Ok(Self { credential, client: QueryServiceClient::new(channel) })
    }

    /// Asks what the SQL asks, without sending any SQL. What is signed is the canonical form of the SQL, which the
    /// message has as well or the signature does not hold.
    pub async fn ask(&self, under: &Under, sql: &str) -> Result<QueryAnswer> {
        let query = parse_sql(sql)?;
        let question = question_to_wire(&query);
        ensure!(matches!(question.form, Some(question::Form::Query(_))), "sent in no message");
        let ask = Ask::without_question(&under.agreement, &under.purpose)?;
        let unsigned = Header {
            request_id: ask.request_id,
            agreement: ask.agreement,
            purpose: ask.purpose,
            expires: SystemClock.now().plus_secs(VALID),
            signature: None,
        };
        let act = Act::Aggregate { canonical_query: query.canonical().into() };
        let recipient = Recipient::Organisation(self.credential.identity().org.clone());
        let signature = sign(&self.credential, &unsigned.intent(act, recipient).signing_bytes())?;
        let signature = Some(RequestSignature { certificates: self.credential.chain(), signature });
        let header = Some(Header { signature, ..unsigned }.to_wire());
        let request = RunQueryRequest { header, question: Some(question) };

        let mut steps = self.client.clone().run_query(request).await?.into_inner();
        let (mut accepted, mut rows, mut released) = (None, Vec::new(), None);
        while let Some(message) = steps.message().await? {
            match message.step {
                Some(Step::Accepted(first)) => accepted = Some(first),
                Some(Step::Rows(batch)) => rows.extend(batch.rows),
                Some(Step::Released(last)) => released = Some(last),
                Some(Step::Progress(_)) | None => {}
            }
        }
        let (accepted, released) = accepted.zip(released).context("it ended before the release")?;
        Ok(QueryAnswer { accepted, rows, released })
    }
}
