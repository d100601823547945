//! R26, R28: evidence that outsiders verify, and ledgers that cannot be set back.

mod frozen;
mod ledgers;
mod log_at_rest;
mod openings;
mod outstanding;
mod repeats;
mod withheld;

use anyhow::Result;
use firebreak::client::Ask;
use firebreak_domain::{Act, Clock, Recipient, SystemClock};
use firebreak_testbed::Federation;
use firebreak_tests::Caller;
use firebreak_transport::sign;
use firebreak_wire::agency::v1::{Claim, ExecuteQueryRequest};
use firebreak_wire::{Header, RequestSignature, question_from_wire, sql_question};

/// A question as its caller signs it and a gateway brings it to an adapter.
fn signed(federation: &Federation, caller: Caller, ask: &Ask) -> Result<ExecuteQueryRequest> {
    let Caller(org, role, id) = caller;
    let credential = federation.issue(org, role, id)?;
    let question = sql_question(ask.sql.as_deref().unwrap_or_default());
    let canonical_query = question_from_wire(Some(&question)).map(|q| q.canonical().into()).unwrap_or_default();
    let unsigned = Header {
        request_id: ask.request_id,
        agreement: ask.agreement.clone(),
        purpose: ask.purpose.clone(),
        expires: SystemClock.now().plus_secs(300),
        signature: None,
    };
    let recipient = Recipient::Organisation(credential.identity().org.clone());
    let signature = sign(&credential, &unsigned.intent(Act::Aggregate { canonical_query }, recipient).signing_bytes())?;
    let signature = Some(RequestSignature { certificates: credential.chain(), signature });
    Ok(ExecuteQueryRequest {
        claim: Some(Claim { principal: credential.identity().to_string() }),
        header: Some(Header { signature, ..unsigned }.to_wire()),
        question: Some(question),
        export: None,
    })
}
