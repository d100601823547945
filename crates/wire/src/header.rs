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
    /// A refusal, `MALFORMED_REQUEST`, that names the field; for an agreement or a purpose that is not well formed,
    /// `NO_AGREEMENT` or `PURPOSE_NOT_COVERED`, as for one that does not exist.
    pub fn from_wire(header: Option<&RequestHeader>) -> Result<Self, Refusal> {
        let malformed = |what: &str| Refusal::new(ReasonCode::MalformedRequest).because(what);
        let header = header.ok_or_else(|| malformed("the header is missing"))?;
        check_format("the request", header.format).map_err(|e| malformed(&e.to_string()))?;
        let signature = (!header.signature.is_empty()).then(|| RequestSignature {
            certificates: header.certificates.clone(),
            signature: header.signature.clone(),
        });
        Ok(Self {
            request_id: RequestId::try_from(header.request_id.as_slice())
                .map_err(|_| malformed("request_id must be 16 bytes, chosen at random"))?,
            agreement: AgreementId::new(header.agreement.clone()).map_err(|_| Refusal::new(ReasonCode::NoAgreement))?,
            purpose: PurposeId::new(header.purpose.clone()).map_err(|_| Refusal::new(ReasonCode::PurposeNotCovered))?,
            expires: Timestamp::from_secs(header.expires),
            signature,
        })
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
