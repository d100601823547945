//! Tickets and handles: what a client of Flight SQL carries from one call to the next.

use super::under::Under;
use firebreak_domain::{FORMAT, Identity, ReasonCode, Refusal, RequestId, Timestamp};
use firebreak_store::{SealError, Sealer, StateKey};
use firebreak_wire::query::v1::{Question, RequestHeader, RunQueryRequest};
use prost::Message;
use tonic::Status;

/// For how many seconds a ticket is good. Within it, one ticket is one request, however often it is shown.
const VALIDITY: i64 = 1800;
/// Where a ticket is, and where a handle: neither opens as the other.
const TICKET: &str = "ticket";
const HANDLE: &str = "handle";

/// Seals what the gateway gives out, each to the principal that it is given to. Nothing is kept here.
///
/// A ticket is a whole request, named by random bytes: showing it twice is sending one request twice. A handle is a
/// question.
pub struct Tickets(Sealer);

/// A ticket, and what is in it.
pub(super) struct Ticket {
    pub request: RunQueryRequest,
    pub expires: Timestamp,
}

impl Ticket {
    /// A new request for that question.
    ///
    /// # Errors
    /// `INTERNAL` if the system gives no random bytes.
    pub(super) fn new(under: Under, question: Question, now: Timestamp) -> Result<Self, Status> {
        let question = Question { partial: question.partial || under.partial, ..question };
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|_| unsealed())?;
        let expires = now.plus_secs(VALIDITY);
        let header = RequestHeader {
            format: FORMAT,
            request_id: RequestId::from_bytes(id).as_bytes().to_vec(),
            agreement: under.agreement,
            purpose: under.purpose,
            expires: expires.secs(),
            certificates: Vec::new(),
            signature: Vec::new(),
        };
        Ok(Self { request: RunQueryRequest { header: Some(header), question: Some(question) }, expires })
    }
}

impl Tickets {
    /// Seals under a key of its own, which follows from the state's.
    #[must_use]
    pub fn new(key: &StateKey) -> Self {
        Self(key.sealer("flight"))
    }

    pub(super) fn seal_ticket(&self, caller: &Identity, ticket: &Ticket) -> Result<Vec<u8>, Status> {
        self.seal(TICKET, caller, &ticket.request)
    }

    /// The request that this caller was given this ticket for.
    ///
    /// # Errors
    /// One refusal for whatever was never given to this caller: another's ticket looks like one that nobody has.
    pub(super) fn open_ticket(&self, caller: &Identity, sealed: &[u8]) -> Result<RunQueryRequest, Refusal> {
        self.open(TICKET, caller, sealed)
    }

    pub(super) fn seal_handle(&self, caller: &Identity, question: &Question) -> Result<Vec<u8>, Status> {
        self.seal(HANDLE, caller, question)
    }

    /// The question that this caller was given this handle for.
    ///
    /// # Errors
    /// As [`Tickets::open_ticket`].
    pub(super) fn open_handle(&self, caller: &Identity, sealed: &[u8]) -> Result<Question, Refusal> {
        self.open(HANDLE, caller, sealed)
    }

    // SECURITY: the principal is part of the place for which a value is sealed. It opens for nobody else.
    fn seal(&self, what: &str, caller: &Identity, value: &impl Message) -> Result<Vec<u8>, Status> {
        let value = value.encode_to_vec();
        self.0.seal(what, caller.to_string().as_bytes(), &value).map_err(|_: SealError| unsealed())
    }

    fn open<M: Message + Default>(&self, what: &str, caller: &Identity, sealed: &[u8]) -> Result<M, Refusal> {
        let opened = self.0.open(what, caller.to_string().as_bytes(), sealed).ok();
        opened.and_then(|value| M::decode(value.as_slice()).ok()).ok_or_else(|| {
            let refusal = Refusal::new(ReasonCode::MalformedRequest);
            refusal.because(format!("the {what} is none that was given to this caller here")).instead("execute again")
        })
    }
}

fn unsealed() -> Status {
    Status::internal("the gateway could not make a ticket: execute again")
}

#[cfg(test)]
mod tests {
    use super::*;
    use firebreak_wire::sql_question;

    const NOW: Timestamp = Timestamp::from_secs(1_750_000_000);

    fn analyst(id: &str) -> Identity {
        format!("spiffe://example.org/org/nso/analyst/{id}").parse().unwrap()
    }

    fn tickets() -> Tickets {
        Tickets::new(&StateKey::from_bytes([7; 32]))
    }

    fn ticket() -> Ticket {
        let under = Under { agreement: "a".to_owned(), purpose: "p".to_owned(), partial: false };
        Ticket::new(under, sql_question("SELECT COUNT(*) FROM d"), NOW).unwrap()
    }

    #[test]
    fn a_ticket_opens_for_its_principal_alone_and_never_as_a_handle() {
        let (tickets, ticket, ada) = (tickets(), ticket(), analyst("ada"));
        let sealed = tickets.seal_ticket(&ada, &ticket).unwrap();
        assert_eq!(tickets.open_ticket(&ada, &sealed).unwrap(), ticket.request);
        let of_another = tickets.open_ticket(&analyst("eve"), &sealed).unwrap_err();
        assert_eq!(of_another, tickets.open_ticket(&ada, b"made up").unwrap_err());
        assert!(tickets.open_handle(&ada, &sealed).is_err());
        let handle = tickets.seal_handle(&ada, ticket.request.question.as_ref().unwrap()).unwrap();
        assert!(tickets.open_ticket(&ada, &handle).is_err());
        assert!(tickets.open_handle(&ada, &handle).is_ok());
        let elsewhere = Tickets::new(&StateKey::from_bytes([8; 32]));
        assert_eq!(of_another, elsewhere.open_ticket(&ada, &sealed).unwrap_err());
    }

    #[test]
    fn no_byte_of_a_ticket_can_be_changed_or_cut() {
        let (tickets, ada) = (tickets(), analyst("ada"));
        let sealed = tickets.seal_ticket(&ada, &ticket()).unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(tickets.open_ticket(&ada, &changed).is_err(), "byte {at}");
            assert!(tickets.open_ticket(&ada, &sealed[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn two_tickets_for_one_question_are_two_requests() {
        let id = |ticket: Ticket| ticket.request.header.unwrap().request_id;
        assert_ne!(id(ticket()), id(ticket()));
        assert_eq!(ticket().expires, NOW.plus_secs(1800));
    }
}
