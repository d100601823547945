use firebreak_domain::{DatasetId, InvalidId, Operation, Recipient, Refusal};
use firebreak_policy::OutputKind;
use firebreak_query::AggregateQuery;
use firebreak_wire::MisnamedHeader;

/// What was sent and could not be read as a request that somebody may be permitted.
pub enum Unread {
    /// It is no request at all: there is nobody's wish in it to decide, and no evidence is made of it.
    NoRequest(Refusal),
    /// It is one, and is refused with evidence: see [`crate::refuse_misnamed`].
    Misnamed(Box<MisnamedRequest>),
}

/// A request that names its agreement, its purpose or its recipient as nothing can be named.
///
/// There is no way from here to a permit. Nothing that was typed in the place of a name is kept.
#[derive(Clone)]
pub struct MisnamedRequest {
    pub(crate) header: MisnamedHeader,
    pub(crate) operation: Operation,
    pub(crate) output: OutputKind,
    /// The endpoint named, if one is.
    pub(crate) endpoint: Result<Option<Recipient>, InvalidId>,
    pub(crate) query: Option<AggregateQuery>,
    pub(crate) dataset: Option<DatasetId>,
}
