use crate::{AgreementId, FORMAT, PublicationStep, PurposeId, Recipient, ReleaseName, RequestId, Timestamp};
use sha2::{Digest, Sha256};

/// What a caller wants done, in the one form that is signed, compared and decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// A differentially private answer to the query with this canonical form.
    Aggregate {
        /// Canonical form of the query, version included.
        canonical_query: String,
    },
    /// An export of what the query with this canonical form gives.
    Export {
        /// Kind of output, for instance `dp_aggregate`.
        kind: String,
        /// Canonical form of the query; empty where the kind names none.
        canonical_query: String,
    },
    /// A match under the agreement's own terms.
    Match,
    /// A release that is stored, once more.
    Release {
        /// Its name.
        name: ReleaseName,
        /// Canonical form of the question to which it is added up; empty for the release as it is.
        roll_up: String,
    },
    /// A step on the way of a release to everybody.
    Publication(PublicationStep),
}

/// A request as its caller signs it with the key of its certificate.
///
/// Whoever holds the caller's certificate can check it, so a gateway in between can neither invent a request nor
/// change one. The recipient of an answer is the caller's organisation, or for an export the endpoint named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// The caller's name for the request.
    pub request_id: RequestId,
    /// The agreement invoked.
    pub agreement: AgreementId,
    /// The purpose stated.
    pub purpose: PurposeId,
    /// What is to be done.
    pub act: Act,
    /// Who receives.
    pub recipient: Recipient,
    /// When the request stops being good.
    pub expires: Timestamp,
}

impl Intent {
    /// The bytes that are signed: labelled lines, each with the length of its value, so that no two intents share them.
    #[must_use]
    pub fn signing_bytes(&self) -> Vec<u8> {
        let (act, kind, query) = match &self.act {
            Act::Aggregate { canonical_query } => ("aggregate", "", canonical_query.clone()),
            Act::Export { kind, canonical_query } => ("export", kind.as_str(), canonical_query.clone()),
            Act::Match => ("match", "", String::new()),
            Act::Release { name, roll_up } if roll_up.is_empty() => ("release", "", name.to_string()),
            Act::Release { name, roll_up } => ("release", "roll_up", format!("{name}\n{roll_up}")),
            Act::Publication(step) => ("publish", step.kind(), step.subject()),
        };
        let mut bytes = format!("firebreak intent format {FORMAT}\n").into_bytes();
        for (label, value) in [
            ("request", self.request_id.to_string().as_str()),
            ("agreement", self.agreement.as_str()),
            ("purpose", self.purpose.as_str()),
            ("act", act),
            ("kind", kind),
            ("query", query.as_str()),
            ("recipient", self.recipient.to_string().as_str()),
            ("expires", self.expires.to_string().as_str()),
        ] {
            bytes.extend_from_slice(format!("{label} {} ", value.len()).as_bytes());
            bytes.extend_from_slice(value.as_bytes());
            bytes.push(b'\n');
        }
        bytes
    }

    /// SHA-256 over everything but the expiry: what makes two requests with one id the same request.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let timeless = Self { expires: Timestamp::from_secs(0), ..self.clone() };
        Sha256::digest(timeless.signing_bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intent(act: Act) -> Intent {
        Intent {
            request_id: RequestId::from_bytes([7; 16]),
            agreement: AgreementId::new("a").unwrap(),
            purpose: PurposeId::new("p").unwrap(),
            act,
            recipient: Recipient::Organisation(crate::OrgId::new("nso").unwrap()),
            expires: Timestamp::from_secs(1000),
        }
    }

    #[test]
    fn two_intents_never_share_their_signed_bytes() {
        let one = intent(Act::Aggregate { canonical_query: "x\nrecipient 3 abc".into() });
        let two = intent(Act::Aggregate { canonical_query: "x".into() });
        let three = intent(Act::Export { kind: "dp_aggregate".into(), canonical_query: "x".into() });
        assert_ne!(one.signing_bytes(), two.signing_bytes());
        assert_ne!(two.signing_bytes(), three.signing_bytes());
        let name = ReleaseName::of(b"x");
        let (release, query) =
            (Act::Release { name, roll_up: String::new() }, Act::Aggregate { canonical_query: name.to_string() });
        assert_ne!(intent(release).signing_bytes(), intent(query).signing_bytes());
    }

    #[test]
    fn a_retry_with_a_later_expiry_is_the_same_request() {
        let one = intent(Act::Match);
        let later = Intent { expires: Timestamp::from_secs(2000), ..one.clone() };
        assert_eq!(one.digest(), later.digest());
        assert_ne!(one.signing_bytes(), later.signing_bytes());
    }
}
