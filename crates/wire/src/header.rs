use crate::export::v1::ExportKind;
use crate::query::v1::RequestHeader;
use firebreak_domain::{
    Act, AgreementId, FORMAT, Intent, PurposeId, ReasonCode, Recipient, Refusal, RequestId, Timestamp, check_format,
};

/// What every request names, checked for form.
#[derive(Clone)]
pub struct Header {
    /// The caller's name for the request.
    pub request_id: RequestId,
    /// The agreement invoked.
    pub agreement: AgreementId,
    /// The purpose stated.
    pub purpose: PurposeId,
    /// When the request stops being good.
    pub expires: Timestamp,
    /// The caller's signature, if it sent one.
    pub signature: Option<RequestSignature>,
}

/// A header whose agreement or purpose, or both, is no name: nothing can be called like that.
///
/// `None` stands for what is no name. What was given in its place is not kept.
#[derive(Clone)]
pub struct MisnamedHeader {
    /// The agreement invoked.
    pub agreement: Option<AgreementId>,
    /// The purpose stated.
    pub purpose: Option<PurposeId>,
    /// When the request stops being good.
    pub expires: Timestamp,
}

/// A header as it was read.
#[derive(Clone)]
pub enum ReadHeader {
    /// All that it names has the form of a name.
    Named(Header),
    /// Something has not. No intent can be made of it, and so nobody's signature can be checked.
    Misnamed(MisnamedHeader),
}

impl From<ReadHeader> for MisnamedHeader {
    fn from(read: ReadHeader) -> Self {
        match read {
            ReadHeader::Named(Header { agreement, purpose, expires, .. }) => {
                Self { agreement: Some(agreement), purpose: Some(purpose), expires }
            }
            ReadHeader::Misnamed(misnamed) => misnamed,
        }
    }
}

/// A signature and the certificates of its key.
#[derive(Clone)]
pub struct RequestSignature {
    /// Certificates (DER), leaf first.
    pub certificates: Vec<Vec<u8>>,
    /// The signature over [`Intent::signing_bytes`].
    pub signature: Vec<u8>,
}

impl Header {
    /// Reads a header.
    ///
    /// # Errors
    /// A refusal, `MALFORMED_REQUEST`, that names the field, of what is no request at all.
    pub fn from_wire(header: Option<&RequestHeader>) -> Result<ReadHeader, Refusal> {
        let malformed = |what: &str| Refusal::new(ReasonCode::MalformedRequest).because(what);
        let header = header.ok_or_else(|| malformed("the header is missing"))?;
        check_format("the request", header.format).map_err(|e| malformed(&e.to_string()))?;
        let request_id = RequestId::try_from(header.request_id.as_slice())
            .map_err(|_| malformed("request_id must be 16 bytes, chosen at random"))?;
        let expires = Timestamp::from_secs(header.expires);
        let names = (AgreementId::new(header.agreement.clone()), PurposeId::new(header.purpose.clone()));
        let (Ok(agreement), Ok(purpose)) = names else {
            let (agreement, purpose) = (names.0.ok(), names.1.ok());
            return Ok(ReadHeader::Misnamed(MisnamedHeader { agreement, purpose, expires }));
        };
        let signature = (!header.signature.is_empty()).then(|| RequestSignature {
            certificates: header.certificates.clone(),
            signature: header.signature.clone(),
        });
        Ok(ReadHeader::Named(Self { request_id, agreement, purpose, expires, signature }))
    }

    /// The header as sent.
    #[must_use]
    pub fn to_wire(&self) -> RequestHeader {
        let (certificates, signature) =
            self.signature.as_ref().map_or_else(Default::default, |s| (s.certificates.clone(), s.signature.clone()));
        RequestHeader {
            format: FORMAT,
            request_id: self.request_id.as_bytes().to_vec(),
            agreement: self.agreement.to_string(),
            purpose: self.purpose.to_string(),
            expires: self.expires.secs(),
            certificates,
            signature,
        }
    }

    /// The intent that the caller signs: this header with an act and a recipient.
    #[must_use]
    pub fn intent(&self, act: Act, recipient: Recipient) -> Intent {
        Intent {
            request_id: self.request_id,
            agreement: self.agreement.clone(),
            purpose: self.purpose.clone(),
            act,
            recipient,
            expires: self.expires,
        }
    }
}

/// The name of an export's kind in intents; anything unknown is `other`.
#[must_use]
pub const fn export_kind_name(kind: ExportKind) -> &'static str {
    match kind {
        ExportKind::DpAggregate => "dp_aggregate",
        ExportKind::Identifiable => "identifiable",
        ExportKind::Pseudonymous => "pseudonymous",
        ExportKind::Unspecified => "other",
    }
}
