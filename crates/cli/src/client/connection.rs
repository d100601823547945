use super::ClientError;
use firebreak_domain::{Act, Clock, Identity, Recipient, SystemClock};
use firebreak_transport::{Credential, TrustAnchor, connect, sign};
use firebreak_wire::query::v1::RequestHeader;
use firebreak_wire::{Header, RequestSignature};
use tonic::transport::Channel;

use super::Ask;

/// Seconds for which a signed request is good.
const VALID: i64 = 600;

/// Largest message taken: a batch of rows, with room.
pub(super) const MESSAGE: usize = 16 * 1024 * 1024;

/// An authenticated connection, and the key that signs what is sent on it. Cheap to clone.
#[derive(Clone)]
pub struct Connection {
    channel: Channel,
    credential: Credential,
}

impl Connection {
    /// Connects to `address` (`host:port`), where exactly `expected` must answer.
    ///
    /// # Errors
    /// [`ClientError::Connect`].
    pub async fn open(
        address: &str,
        credential: Credential,
        trust: &TrustAnchor,
        expected: &Identity,
    ) -> Result<Self, ClientError> {
        let channel = connect(address, &credential, trust, expected)
            .await
            .map_err(|source| ClientError::Connect { address: address.to_owned(), source })?;
        Ok(Self { channel, credential })
    }

    /// Who asks.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        self.credential.identity()
    }

    pub(super) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// The header of a request, signed over what it asks and who receives.
    pub(super) fn sign(&self, ask: &Ask, act: Act, recipient: Recipient) -> Result<RequestHeader, ClientError> {
        signed_header(&self.credential, ask, act, recipient)
    }

    /// The caller's organisation, which receives answers.
    pub(super) fn own_organisation(&self) -> Recipient {
        Recipient::Organisation(self.identity().org.clone())
    }
}

fn signed_header(
    credential: &Credential,
    ask: &Ask,
    act: Act,
    recipient: Recipient,
) -> Result<RequestHeader, ClientError> {
    let unsigned = Header {
        request_id: ask.request_id,
        agreement: ask.agreement.clone(),
        purpose: ask.purpose.clone(),
        expires: SystemClock.now().plus_secs(VALID),
        signature: None,
    };
    let signature = sign(credential, &unsigned.intent(act, recipient).signing_bytes())?;
    let signature = Some(RequestSignature { certificates: credential.chain(), signature });
    Ok(Header { signature, ..unsigned }.to_wire())
}

#[cfg(test)]
mod tests {
    use super::*;
    use firebreak_transport::{Ca, Validity, verify_signed_by};
    use firebreak_wire::{ReadHeader, question_from_wire};

    /// What an adapter does with a request, in the adapter's own steps.
    #[test]
    fn an_adapter_finds_the_callers_signature_over_the_same_bytes() {
        let ca = Ca::generate("test", "firebreak.test").unwrap();
        let who: Identity = "spiffe://firebreak.test/org/nso/analyst/ada".parse().unwrap();
        let credential = ca.issue(&who, &[], Validity::days(1)).unwrap();
        let mut ask = Ask::new("a", "p", "SELECT COUNT(*) AS n FROM health.visits WHERE cost >= 1.50").unwrap();
        ask.cut = Some(firebreak_domain::CutId::new("2024-Q4").unwrap());
        ask.rho = firebreak_domain::Rho::at_least(0.01);
        let recipient = Recipient::Organisation(who.org.clone());
        let wire = signed_header(&credential, &ask, ask.aggregate(), recipient.clone()).unwrap();

        let Ok(ReadHeader::Named(header)) = Header::from_wire(Some(&wire)) else { panic!("no header") };
        let received = question_from_wire(Some(&ask.question())).unwrap();
        let act = Act::Aggregate { canonical_query: received.canonical().as_str().to_owned() };
        let bytes = header.intent(act, recipient.clone()).signing_bytes();
        let made = header.signature.clone().unwrap();
        let trust = ca.trust_anchor().unwrap();
        let signer = verify_signed_by(&trust, &made.certificates, SystemClock.now(), &bytes, &made.signature).unwrap();
        assert_eq!(signer, who);

        let dearer = Ask { rho: firebreak_domain::Rho::at_least(0.02), ..ask };
        let bytes = header.intent(dearer.aggregate(), recipient).signing_bytes();
        assert!(verify_signed_by(&trust, &made.certificates, SystemClock.now(), &bytes, &made.signature).is_err());
    }
}
