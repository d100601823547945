use firebreak_domain::{AgreementId, OrgId, Recipient};
use std::collections::BTreeSet;

/// What overseers have stopped. It is kept and ordered elsewhere; [`crate::Bundle::decide`] obeys it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Suspensions {
    /// Everything.
    pub everything: bool,
    /// Agencies: none of them asks, receives, or has its datasets asked.
    pub agencies: BTreeSet<OrgId>,
    /// Agreements: nothing is decided under them.
    pub agreements: BTreeSet<AgreementId>,
    /// Recipients: nothing goes to them. A suspended organisation takes its endpoints with it.
    pub recipients: BTreeSet<Recipient>,
}

impl Suspensions {
    /// Nothing is suspended.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }
}
