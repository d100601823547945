use super::ClientError;
use firebreak_domain::{Act, AgreementId, CutId, DatasetId, PurposeId, ReleaseName, RequestId, Rho};
use firebreak_wire::query::v1::Question;
use firebreak_wire::{question_from_wire, sql_question};

/// A question under an agreement, for a purpose.
#[derive(Clone)]
pub struct Ask {
    /// The agreement invoked.
    pub agreement: AgreementId,
    /// The purpose stated.
    pub purpose: PurposeId,
    /// One SELECT statement; `None` for an export of a kind that has no question.
    pub sql: Option<String>,
    /// The version of the dataset; the one that the SQL names, or the latest, where none is given.
    pub cut: Option<CutId>,
    /// The price; the one that the SQL names, or the agreement's, where none is given.
    pub rho: Option<Rho>,
    /// Over several agencies: whether what some of them give is wanted, should others give no answer.
    pub partial: bool,
    /// The request's own name: sending it again gives the same answer and costs nothing more.
    pub request_id: RequestId,
}

impl Ask {
    /// A question about the latest cut at the agreement's price, under a fresh request id.
    ///
    /// # Errors
    /// [`ClientError::Malformed`] for names that are not well formed, [`ClientError::Randomness`].
    pub fn new(agreement: &str, purpose: &str, sql: &str) -> Result<Self, ClientError> {
        Ok(Self { sql: Some(sql.to_owned()), ..Self::without_question(agreement, purpose)? })
    }

    /// As [`Ask::new`], with nothing asked.
    ///
    /// # Errors
    /// As there.
    pub fn without_question(agreement: &str, purpose: &str) -> Result<Self, ClientError> {
        Ok(Self {
            agreement: AgreementId::new(agreement)?,
            purpose: PurposeId::new(purpose)?,
            sql: None,
            cut: None,
            rho: None,
            partial: false,
            request_id: fresh_request_id()?,
        })
    }

    /// A further request by the same right, for a stored release that belongs to what is asked here. Its id follows
    /// from this one's and the release, so that whoever repeats the one repeats the other.
    #[must_use]
    pub fn further(&self, of: ReleaseName) -> Self {
        Self { request_id: self.request_id.further(of.as_bytes()), ..self.clone() }
    }

    /// The question as sent.
    pub(super) fn question(&self) -> Question {
        Question {
            cut: self.cut.as_ref().map(ToString::to_string).unwrap_or_default(),
            rho_nano: self.rho.map_or(0, Rho::nano),
            partial: self.partial,
            ..sql_question(self.sql.as_deref().unwrap_or_default())
        }
    }

    /// What is signed for an answer.
    pub(super) fn aggregate(&self) -> Act {
        Act::Aggregate { canonical_query: self.canonical() }
    }

    /// What is signed for an export. Where no question can be read, the dataset named stands for it.
    pub(super) fn export(&self, kind: &str, dataset: &str) -> Act {
        let mut canonical_query = self.canonical();
        if canonical_query.is_empty() {
            canonical_query = DatasetId::new(dataset).map(|d| d.to_string()).unwrap_or_default();
        }
        Act::Export { kind: kind.to_owned(), canonical_query }
    }

    /// The canonical form, read from the question as sent, which is what everybody else reads it from. A question
    /// that cannot be read has the empty one: it is sent all the same, to be refused with a reason and a suggestion.
    pub(super) fn canonical(&self) -> String {
        let question = self.sql.as_ref().map(|_| self.question());
        question_from_wire(question.as_ref()).map(|query| query.canonical().into()).unwrap_or_default()
    }
}

/// A request id that nobody else has.
pub(super) fn fresh_request_id() -> Result<RequestId, ClientError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| ClientError::Randomness)?;
    Ok(RequestId::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(ask: &Ask) -> String {
        ask.canonical()
    }

    #[test]
    fn cut_and_price_are_part_of_what_is_signed() {
        let ask = Ask::new("a", "p", "SELECT COUNT(*) AS n FROM health.visits").unwrap();
        let at_cut = Ask { cut: Some(CutId::new("2024-Q4").unwrap()), ..ask.clone() };
        let dearer = Ask { rho: Rho::at_least(0.5), ..ask.clone() };
        let partial = Ask { partial: true, ..ask.clone() };
        assert!(!canonical(&ask).contains("partial"));
        assert!(canonical(&partial).contains("\npartial\n"));
        assert!(canonical(&ask).contains("cut latest\nrho agreed"));
        assert!(canonical(&at_cut).contains("cut 2024-Q4\n"));
        assert!(canonical(&dearer).contains("rho 500000000\n"));
    }

    #[test]
    fn an_export_without_a_readable_question_signs_its_dataset() {
        let none = Ask::without_question("a", "p").unwrap();
        let unreadable = Ask::new("a", "p", "DELETE FROM x").unwrap();
        for ask in [none, unreadable] {
            let expected = Act::Export { kind: "identifiable".into(), canonical_query: "health.visits".into() };
            assert_eq!(ask.export("identifiable", "health.visits"), expected);
        }
    }

    #[test]
    fn two_requests_never_share_an_id() {
        let ids = (0..100).map(|_| fresh_request_id().unwrap()).collect::<std::collections::BTreeSet<_>>();
        assert_eq!(ids.len(), 100);
    }
}
