use firebreak_domain::{Contract, CutId, Mechanism, ReleaseName, Timestamp};
use firebreak_query::{AggregateQuery, CheckedQuery};
use firebreak_wire::query::v1::Citation;
use firebreak_wire::{question_from_bytes, question_to_bytes};
use std::sync::Arc;

/// The question that is kept beside a release.
pub struct StoredQuestion;

impl StoredQuestion {
    /// A question as its first caller asked it, headings and labels included, with the cut that it was answered for: a
    /// later cut does not change what the release is an answer to.
    #[must_use]
    pub fn encode(asked: &AggregateQuery, checked: &CheckedQuery) -> Vec<u8> {
        question_to_bytes(&AggregateQuery { cut: Some(checked.cut().clone()), ..asked.clone() })
    }

    /// Reads what [`StoredQuestion::encode`] wrote; `None` for anything else.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<AggregateQuery> {
        question_from_bytes(bytes)
    }
}

/// What a citation of a release rests on. None of it was typed by a caller.
#[derive(Debug, Clone)]
pub struct CitedRelease {
    /// The release.
    pub name: ReleaseName,
    /// When it was stored.
    pub released: Timestamp,
    /// The registered title of the agency whose data it is.
    pub agency: String,
    /// The contracts of its datasets, at least one.
    pub contracts: Vec<Arc<Contract>>,
    /// The cut.
    pub cut: CutId,
    /// How noise was drawn.
    pub mechanism: Mechanism,
    /// Where it is published; empty where it is not.
    pub address: String,
}

impl From<CitedRelease> for Citation {
    fn from(cited: CitedRelease) -> Self {
        let CitedRelease { name, released, agency, contracts, cut, mechanism, address } = cited;
        let each = |of: &dyn Fn(&Contract) -> String| {
            let mut said: Vec<String> = contracts.iter().map(|contract| of(contract)).collect();
            said.dedup();
            said.join("; ")
        };
        Self {
            agency,
            controller: each(&|contract| contract.controller.clone()),
            dataset: each(&|contract| contract.id.to_string()),
            title: each(&|contract| contract.title.clone()),
            population: each(&|contract| contract.population.clone()),
            cut: cut.to_string(),
            year: released.year(),
            release_id: name.to_string(),
            mechanism: mechanism.as_str().to_owned(),
            address,
        }
    }
}
