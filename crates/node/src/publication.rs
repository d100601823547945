//! Making a release public: who may, what is kept of it and what its leaf commits to.

use crate::{CitedRelease, PolicyInForce};
use firebreak_domain::{
    AgreementId, FORMAT, Identity, OrgId, PurposeId, ReasonCode, Recipient, RecipientClass, Refusal, ReleaseName,
    SeriesId, Timestamp,
};
use firebreak_policy::{DecisionFacts, Denial, OutputKind, Permit, Question};
use firebreak_privacy::{Answer, Price};
use firebreak_query::CheckedQuery;
use firebreak_wire::publication::v1::{PublishedFigures, StoredPublication};
use firebreak_wire::query::v1::{Accepted, LeftOut};
use firebreak_wire::{
    accepted_at, all_groups, answer_rows, figures_to_bytes, stored_publication_from_bytes, stored_publication_to_bytes,
};
use sha2::{Digest, Sha256};

/// What is kept, sealed, of a publication.
#[derive(Clone)]
pub struct PublicationContent {
    /// Who took the last step.
    pub principal: Identity,
    /// Under which agreement.
    pub agreement: AgreementId,
    /// For which purpose.
    pub purpose: PurposeId,
    /// What they signed.
    pub request: Vec<u8>,
    /// What is shown, by [`published_figures`].
    pub figures: Vec<u8>,
}

impl PublicationContent {
    /// As it is stored.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        stored_publication_to_bytes(&StoredPublication {
            format: FORMAT,
            principal: self.principal.to_string(),
            agreement: self.agreement.to_string(),
            purpose: self.purpose.to_string(),
            request: self.request.clone(),
            figures: self.figures.clone(),
        })
    }

    /// Reads what [`PublicationContent::encode`] wrote; `None` for anything else.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let StoredPublication { principal, agreement, purpose, request, figures, .. } =
            stored_publication_from_bytes(bytes)?;
        Some(Self {
            principal: principal.parse().ok()?,
            agreement: AgreementId::new(agreement).ok()?,
            purpose: PurposeId::new(purpose).ok()?,
            request,
            figures,
        })
    }
}

/// What a publication shows, worked out once: later contracts and programs change nothing of it. `left_out` is what
/// bounding leaves out of the cuts, as far as that may go to everybody as well.
#[must_use]
pub fn published_figures(
    query: &CheckedQuery,
    price: &Price,
    answer: &Answer,
    left_out: Vec<LeftOut>,
    cited: CitedRelease,
) -> Vec<u8> {
    figures_to_bytes(&PublishedFigures {
        format: FORMAT,
        // PRIVACY: everybody gets this, and nothing of the request.
        accepted: Some(Accepted { question: Vec::new(), ..accepted_at(query, price) }),
        rows: answer_rows(answer),
        citation: Some(cited.into()),
        all_groups: all_groups(answer),
        left_out,
    })
}

/// What the leaf of a publication commits to: its address, the name of its release and what it shows. It holds
/// nothing of the request, because everybody gets its receipt.
#[must_use]
pub fn publication_payload(
    organisation: &OrgId,
    series: &SeriesId,
    revision: u32,
    release: &ReleaseName,
    figures: &[u8],
) -> String {
    let figures = hex::encode(Sha256::digest(figures));
    format!(
        "firebreak publication format {FORMAT}\norganisation {organisation}\nseries {series}\nrevision {revision}\n\
         release {release}\nfigures sha256 {figures}\n"
    )
}

/// Whether what its publisher may have may go to everybody, and what the log may say of that. `permit` is for the
/// publisher to handle it, under the operation `publish`.
///
/// # Errors
/// A denial: of policy about what is published to everybody; `NOT_PERMITTED` for an organisation that neither owns
/// the data nor is a statistics body.
#[expect(clippy::result_large_err, reason = "a denial is used up at once, and is as ordinary as a permit")]
pub fn permit_publication(permit: &Permit, policy: &PolicyInForce, now: Timestamp) -> Result<DecisionFacts, Denial> {
    let denied = |refusal: Refusal| {
        let contest = Some(permit.agreement().contest.clone());
        Denial { refusal: Refusal { contest, ..refusal }, facts: permit.facts().clone() }
    };
    let bundle = policy.bundle().map_err(&denied)?;
    let org = &permit.question().principal.org;
    let class = bundle.class_of(&Recipient::Organisation(org.clone())).class;
    let owns = permit.contracts().iter().all(|contract| contract.agency == *org);
    // SECURITY: in plain Rust as well, whatever policies say: enforcement publishes nothing, not even what is its own.
    if class == RecipientClass::Enforcement || !(owns || class == RecipientClass::Statistics) {
        let who = "a release is published by the agency whose data it is of, or by a statistics body";
        return Err(denied(Refusal::new(ReasonCode::NotPermitted).because(who)));
    }
    let everybody = Question { output: OutputKind::PublishedRelease, ..permit.question().clone() };
    let permit = bundle.decide(&everybody, &policy.suspensions(), now)?;
    Ok(permit.facts().clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_read_back_and_what_is_none_is_not() {
        let content = PublicationContent {
            principal: "spiffe://firebreak.example/org/nso/analyst/ada".parse().unwrap(),
            agreement: AgreementId::new("a").unwrap(),
            purpose: PurposeId::new("p").unwrap(),
            request: b"request".to_vec(),
            figures: b"figures".to_vec(),
        };
        let bytes = content.encode();
        let read = PublicationContent::decode(&bytes).unwrap();
        assert_eq!((read.principal, read.request, read.figures), (content.principal, content.request, content.figures));
        assert!(PublicationContent::decode(b"").is_none());
        assert!(PublicationContent::decode(&bytes[1..]).is_none());
    }

    #[test]
    fn a_payload_differs_with_each_of_its_parts() {
        let (org, series) = (|id: &str| OrgId::new(id).unwrap(), |id: &str| SeriesId::new(id).unwrap());
        let (one, other) = (ReleaseName::of(b"1"), ReleaseName::of(b"2"));
        let payloads = [
            publication_payload(&org("nso"), &series("s"), 1, &one, b"f"),
            publication_payload(&org("nso2"), &series("s"), 1, &one, b"f"),
            publication_payload(&org("nso"), &series("t"), 1, &one, b"f"),
            publication_payload(&org("nso"), &series("s"), 2, &one, b"f"),
            publication_payload(&org("nso"), &series("s"), 1, &other, b"f"),
            publication_payload(&org("nso"), &series("s"), 1, &one, b"g"),
        ];
        assert_eq!(payloads.iter().collect::<std::collections::BTreeSet<_>>().len(), payloads.len());
    }
}
