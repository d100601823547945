use crate::misnamed::{MisnamedRequest, Unread};
use firebreak_domain::{
    Act, AgreementId, DatasetId, EndpointId, Identity, Intent, InvalidId, InvalidReleaseName, Operation,
    PublicationStep, PurposeId, ReasonCode, Recipient, Refusal, ReleaseName, RequestId, Timestamp,
};
use firebreak_policy::OutputKind;
use firebreak_query::AggregateQuery;
use firebreak_transport::{TrustAnchor, verify_signed_by};
use firebreak_wire::export::v1::ExportKind;
use firebreak_wire::query::v1::{Question, RequestHeader, question::Form};
use firebreak_wire::{Header, ReadHeader, export_kind_name, question_from_wire};

/// The furthest ahead that a request's expiry may lie, in seconds.
const LONGEST_VALIDITY: i64 = 3600;

/// Who asks, as far as is known: at the gateway the peer of the connection, at an adapter what the gateway claims.
/// A signature makes the claim a fact.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The identity.
    pub identity: Identity,
    /// Whether the caller's own signature over the request was verified.
    pub signed: bool,
}

/// What a request for an export says beside its question, as it came.
#[derive(Clone, Copy)]
pub struct RequestedExport<'a> {
    /// The kind.
    pub kind: ExportKind,
    /// The endpoint; empty for the caller's own organisation.
    pub endpoint: &'a str,
    /// The dataset, for kinds that have no question.
    pub dataset: &'a str,
}

/// A request for an aggregate or an export, read but not decided.
///
/// The question inside may be unreadable: that, too, is decided and recorded, by who asked.
#[derive(Clone)]
pub struct SubmittedQuery {
    /// What every request names.
    pub header: Header,
    /// The question, or what is wrong with it.
    pub query: Result<AggregateQuery, Refusal>,
    /// The SQL, where it came as such: for suggestions.
    pub sql: Option<String>,
    /// The export asked for, if it is one.
    pub export: Option<SubmittedExport>,
    /// The release asked for by its name, if it is one. The question is then the stored one, once it was looked up.
    pub release: Option<ReleaseName>,
    /// The question to which that release is to be added up, if it is not asked for as it is.
    pub roll_up: Option<AggregateQuery>,
    /// The step of a publication asked for, if it is one. It has the question of its release.
    pub publication: Option<PublicationStep>,
}

/// What an export adds to a question.
#[derive(Clone)]
pub struct SubmittedExport {
    /// The kind.
    pub kind: ExportKind,
    /// The recipient, if it is an endpoint and not the caller's organisation.
    pub endpoint: Option<Recipient>,
    /// The dataset named beside the question, for kinds that have none.
    pub dataset: Option<DatasetId>,
}

impl SubmittedQuery {
    /// Reads a request for an answer, or for an export if there is one.
    ///
    /// # Errors
    /// [`Unread`].
    pub fn read(
        header: Option<&RequestHeader>,
        question: Option<&Question>,
        export: Option<RequestedExport<'_>>,
    ) -> Result<Self, Unread> {
        let read = Header::from_wire(header).map_err(Unread::NoRequest)?;
        let query = question_from_wire(question);
        let dataset = export.and_then(|e| DatasetId::new(e.dataset).ok());
        let (header, endpoint) = match (read, export.map_or(Ok(None), |e| endpoint(e.endpoint))) {
            (ReadHeader::Named(header), Ok(endpoint)) => (header, endpoint),
            (read, endpoint) => {
                return Err(Unread::Misnamed(Box::new(MisnamedRequest {
                    header: read.into(),
                    operation: operation(export.is_some()),
                    output: output(export.map(|e| e.kind)),
                    endpoint,
                    query: query.ok(),
                    dataset,
                })));
            }
        };
        let sql = match question.and_then(|q| q.form.as_ref()) {
            Some(Form::Sql(sql)) => Some(sql.clone()),
            Some(Form::Query(_)) | None => None,
        };
        let export = export.map(|e| SubmittedExport { kind: e.kind, endpoint, dataset });
        Ok(Self { header, query, sql, export, release: None, roll_up: None, publication: None })
    }

    /// Reads a request for a stored release, or for what it adds up to for another question. Its own question is not
    /// known yet: until it is, the request is one for a release that does not exist.
    ///
    /// # Errors
    /// [`Unread`].
    pub fn read_release(
        header: Option<&RequestHeader>,
        release: &str,
        roll_up: Option<&Question>,
    ) -> Result<Self, Unread> {
        let malformed = |error: InvalidReleaseName| {
            Unread::NoRequest(Refusal::new(ReasonCode::MalformedRequest).because(error.to_string()))
        };
        let read = Header::from_wire(header).map_err(Unread::NoRequest)?;
        let release = Some(release.parse().map_err(malformed)?);
        let roll_up = roll_up.map(|question| question_from_wire(Some(question))).transpose();
        let roll_up = roll_up.map_err(Unread::NoRequest)?;
        match read {
            ReadHeader::Named(header) => {
                let query = Err(Refusal::new(ReasonCode::UnknownRelease));
                Ok(Self { header, query, sql: None, export: None, release, roll_up, publication: None })
            }
            ReadHeader::Misnamed(header) => Err(Unread::Misnamed(Box::new(MisnamedRequest {
                header,
                operation: operation(false),
                output: output(None),
                endpoint: Ok(None),
                query: None,
                dataset: None,
            }))),
        }
    }

    /// Reads a request for a step of a publication. As for a stored release, its question is not known yet.
    ///
    /// # Errors
    /// [`Unread`].
    pub fn read_publication(
        header: Option<&RequestHeader>,
        step: Result<PublicationStep, Refusal>,
    ) -> Result<Self, Unread> {
        let read = Header::from_wire(header).map_err(Unread::NoRequest)?;
        let step = step.map_err(Unread::NoRequest)?;
        match read {
            ReadHeader::Named(header) => Ok(Self::of_publication(header, step)),
            ReadHeader::Misnamed(header) => Err(Unread::Misnamed(Box::new(MisnamedRequest {
                header,
                operation: Operation::Publish,
                output: output(None),
                endpoint: Ok(None),
                query: None,
                dataset: None,
            }))),
        }
    }

    /// A step that nobody sent just now, to find out what would be decided of it.
    #[must_use]
    pub fn foreseen_publication(
        agreement: AgreementId,
        purpose: PurposeId,
        step: PublicationStep,
        now: Timestamp,
    ) -> Self {
        let request_id = RequestId::from_bytes([0; 16]);
        Self::of_publication(Header { request_id, agreement, purpose, expires: now, signature: None }, step)
    }

    /// The step of a publication under a header.
    #[must_use]
    pub fn of_publication(header: Header, step: PublicationStep) -> Self {
        let reason = match step.publication() {
            None => ReasonCode::UnknownRelease,
            Some(_) => ReasonCode::UnknownPublication,
        };
        let (query, publication) = (Err(Refusal::new(reason)), Some(step));
        Self { header, query, sql: None, export: None, release: None, roll_up: None, publication }
    }

    /// The same with the question that the release answers.
    #[must_use]
    pub fn asking(&self, query: AggregateQuery) -> Self {
        Self { query: Ok(query), ..self.clone() }
    }

    /// What would leave.
    #[must_use]
    pub fn output(&self) -> OutputKind {
        output(self.export.as_ref().map(|e| e.kind))
    }

    /// Whether it is over the join of two agencies' datasets.
    #[must_use]
    pub fn is_join(&self) -> bool {
        self.query.as_ref().is_ok_and(|query| query.on_person)
    }

    /// The operation asked for.
    #[must_use]
    pub const fn operation(&self) -> Operation {
        if self.publication.is_some() { Operation::Publish } else { operation(self.export.is_some()) }
    }

    /// Who receives.
    #[must_use]
    pub fn recipient(&self, caller: &Identity) -> Recipient {
        let endpoint = self.export.as_ref().and_then(|e| e.endpoint.clone());
        endpoint.unwrap_or_else(|| Recipient::Organisation(caller.org.clone()))
    }

    /// The intent that the caller signs.
    #[must_use]
    pub fn intent(&self, caller: &Identity) -> Intent {
        let canonical_query = self.query.as_ref().map(|q| q.canonical().as_str().to_owned()).unwrap_or_default();
        if let Some(step) = &self.publication {
            return self.header.intent(Act::Publication(step.clone()), self.recipient(caller));
        }
        let act = match (&self.export, self.release) {
            (_, Some(name)) => {
                let roll_up = self.roll_up.as_ref().map(|query| query.canonical().into()).unwrap_or_default();
                Act::Release { name, roll_up }
            }
            (None, None) => Act::Aggregate { canonical_query },
            (Some(export), None) => {
                let canonical_query = match (&export.dataset, canonical_query.is_empty()) {
                    (Some(dataset), true) => dataset.to_string(),
                    _ => canonical_query,
                };
                Act::Export { kind: export_kind_name(export.kind).to_owned(), canonical_query }
            }
        };
        self.header.intent(act, self.recipient(caller))
    }

    /// Finds out whether the caller signed this request.
    ///
    /// # Errors
    /// `SIGNATURE_INVALID` for a signature that is there and does not fit the claimed caller; `REQUEST_EXPIRED`.
    pub fn authenticate(&self, claimed: &Identity, trust: &TrustAnchor, now: Timestamp) -> Result<Caller, Refusal> {
        authenticate(&self.header, &self.intent(claimed), claimed, trust, now)
    }
}

const fn operation(exported: bool) -> Operation {
    if exported { Operation::Export } else { Operation::Aggregate }
}

const fn output(exported: Option<ExportKind>) -> OutputKind {
    match exported {
        None | Some(ExportKind::DpAggregate) => OutputKind::DpAggregate,
        // Whatever is not known to be an aggregate is judged as the worst that it could be.
        Some(ExportKind::Identifiable | ExportKind::Unspecified) => OutputKind::Identifiable,
        Some(ExportKind::Pseudonymous) => OutputKind::Pseudonymous,
    }
}

fn endpoint(name: &str) -> Result<Option<Recipient>, InvalidId> {
    if name.is_empty() { Ok(None) } else { EndpointId::new(name).map(|id| Some(Recipient::Endpoint(id))) }
}

/// A request for a match, read but not decided.
#[derive(Clone)]
pub struct SubmittedMatch {
    /// What every request names.
    pub header: Header,
}

impl SubmittedMatch {
    /// Reads a request for a match.
    ///
    /// # Errors
    /// [`Unread`].
    pub fn read(header: Option<&RequestHeader>) -> Result<Self, Unread> {
        match Header::from_wire(header).map_err(Unread::NoRequest)? {
            ReadHeader::Named(header) => Ok(Self { header }),
            ReadHeader::Misnamed(header) => Err(Unread::Misnamed(Box::new(MisnamedRequest {
                header,
                operation: Operation::Match,
                output: OutputKind::Match,
                endpoint: Ok(None),
                query: None,
                dataset: None,
            }))),
        }
    }

    /// The intent that the receiver's adapter signs.
    #[must_use]
    pub fn intent(&self, caller: &Identity) -> Intent {
        self.header.intent(Act::Match, Recipient::Organisation(caller.org.clone()))
    }

    /// As [`SubmittedQuery::authenticate`].
    ///
    /// # Errors
    /// As there.
    pub fn authenticate(&self, claimed: &Identity, trust: &TrustAnchor, now: Timestamp) -> Result<Caller, Refusal> {
        authenticate(&self.header, &self.intent(claimed), claimed, trust, now)
    }
}

pub(crate) fn check_expiry(expires: Timestamp, now: Timestamp) -> Result<(), Refusal> {
    let good = now <= expires && expires <= now.plus_secs(LONGEST_VALIDITY);
    if good { Ok(()) } else { Err(Refusal::new(ReasonCode::RequestExpired)) }
}

fn authenticate(
    header: &Header,
    intent: &Intent,
    claimed: &Identity,
    trust: &TrustAnchor,
    now: Timestamp,
) -> Result<Caller, Refusal> {
    check_expiry(header.expires, now)?;
    let signed = match &header.signature {
        None => false,
        Some(made) => {
            let signer = verify_signed_by(trust, &made.certificates, now, &intent.signing_bytes(), &made.signature)
                .map_err(|_| Refusal::new(ReasonCode::SignatureInvalid))?;
            // SECURITY: a valid signature of somebody else proves nothing about this caller.
            if signer != *claimed {
                return Err(Refusal::new(ReasonCode::SignatureInvalid));
            }
            true
        }
    };
    Ok(Caller { identity: claimed.clone(), signed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_good_until_it_expires_and_for_no_longer_than_an_hour() {
        let now = Timestamp::from_secs(1_740_830_400);
        for (ahead, good) in [(-1, false), (0, true), (60, true), (3_600, true), (3_601, false)] {
            assert_eq!(check_expiry(now.plus_secs(ahead), now).is_ok(), good, "{ahead} s ahead");
        }
    }
}
