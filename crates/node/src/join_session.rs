use firebreak_domain::{Identity, Intent};
use sha2::{Digest, Sha256};

/// The name of the session in which a request for a join is answered: the same for the gateway and both sides, and for
/// the request sent again. Another caller's request of the same id has another.
#[must_use]
pub fn join_session(caller: &Identity, intent: &Intent) -> [u8; 32] {
    let caller = caller.to_string();
    Sha256::new()
        .chain_update(b"firebreak join session 1\n")
        .chain_update((caller.len() as u64).to_be_bytes())
        .chain_update(caller)
        .chain_update(intent.request_id.as_bytes())
        .chain_update(intent.digest())
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use firebreak_domain::{Act, OrgId, Recipient, RequestId, Timestamp};

    #[test]
    fn a_session_is_of_one_caller_and_one_request_whenever_it_is_sent() {
        let ada: Identity = "spiffe://firebreak.example/org/nso/analyst/ada".parse().unwrap();
        let bob: Identity = "spiffe://firebreak.example/org/nso/analyst/bob".parse().unwrap();
        let intent = |id: u8, expires| Intent {
            request_id: RequestId::from_bytes([id; 16]),
            agreement: "a".parse().unwrap(),
            purpose: "p".parse().unwrap(),
            act: Act::Aggregate { canonical_query: "q".into() },
            recipient: Recipient::Organisation(OrgId::new("nso").unwrap()),
            expires: Timestamp::from_secs(expires),
        };
        let name = join_session(&ada, &intent(1, 1000));
        assert_eq!(name, join_session(&ada, &intent(1, 2000)), "sent again");
        assert_ne!(name, join_session(&bob, &intent(1, 1000)));
        assert_ne!(name, join_session(&ada, &intent(2, 1000)));
    }
}
