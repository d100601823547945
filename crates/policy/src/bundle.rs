use crate::candidate::Candidate;
use crate::constitution::Constitution;
use crate::content::{Content, parts_of};
use crate::error::BundleError;
use crate::manifest::Manifest;
use crate::overseers::{Overseers, SignedText, TrustRoot};
use crate::ratchet::{self, Loosening};
use firebreak_domain::{
    Agreement, AgreementId, Assessment, AssessmentId, ClassFinding, Contract, DatasetId, EndpointId, OrgId, Recipient,
    RecipientClass, Registry, Timestamp,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The policy bundle in force: verified, checked, and compiled for decisions.
///
/// It is read-only and shared between tasks behind an `Arc`.
#[derive(Debug)]
pub struct Bundle {
    pub(crate) manifest: Manifest,
    pub(crate) content: Content,
    pub(crate) constitution: &'static Constitution,
    /// Class after onward transfer of every organisation and endpoint registered.
    pub(crate) organisations: BTreeMap<OrgId, ClassFinding>,
    pub(crate) endpoints: BTreeMap<EndpointId, ClassFinding>,
    digest: [u8; 32],
}

/// The last bundle accepted here: what a program keeps durably, and never lets go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermark {
    /// Its sequence.
    pub sequence: u64,
    /// SHA-256 of the text of its manifest.
    pub manifest: [u8; 32],
}

impl Bundle {
    /// Takes up the first bundle on a machine that never accepted one: signed by a quorum of the pinned overseers.
    ///
    /// # Errors
    /// [`BundleError`]: see there for every way in which a candidate can be wrong.
    pub fn first(candidate: &Candidate, root: &TrustRoot, now: Timestamp) -> Result<Self, BundleError> {
        root.require(candidate)?;
        let bundle = Self::compile(candidate)?;
        check_time(candidate, now)?;
        require_overseers(&candidate.note, root.overseers(), &bundle.content.overseers)?;
        Ok(bundle)
    }

    /// Takes up again, after a restart, the one bundle that was accepted here last, from the program's own copy
    /// ([`Candidate::write`]). A newer one is offered to [`Bundle::succeed`], so that a restart is no way round the
    /// ratchet.
    ///
    /// Whose quorum it took was checked when it was accepted, and is not asked again: the overseers who are pinned may
    /// have been succeeded since. It must still be signed by a quorum of its own overseers, which every accepted bundle
    /// is, and it starts even when it has expired: it then refuses everything, and can be succeeded.
    ///
    /// # Errors
    /// [`BundleError`]: another bundle than that one, or a copy that does not hold together.
    pub fn resume(candidate: &Candidate, accepted: Watermark) -> Result<Self, BundleError> {
        let Watermark { sequence, manifest } = accepted;
        let found = candidate.manifest.sequence;
        if found < sequence {
            return Err(BundleError::RolledBack { found, accepted: sequence });
        }
        if found > sequence {
            return Err(BundleError::Skipped { found, accepted: sequence });
        }
        // SECURITY: the digest decides, and not the number: overseers of any time may have signed another of this
        // number.
        if candidate.manifest.digest() != manifest {
            return Err(BundleError::Forked(found));
        }
        let bundle = Self::compile(candidate)?;
        require_quorum(&candidate.note, &bundle.content.overseers)?;
        Ok(bundle)
    }

    /// Takes up the candidate that follows this bundle: signed by a quorum of *this* bundle's overseers, naming this
    /// bundle's manifest as the one before, tightening facts only, or else loosening them with everybody's signature
    /// after the waiting period. This bundle stays in force until the caller puts the new one in its place.
    ///
    /// A successor is accepted even when this bundle has expired: that is how overseers end a standstill.
    ///
    /// # Errors
    /// [`BundleError`].
    pub fn succeed(&self, candidate: &Candidate, now: Timestamp) -> Result<Self, BundleError> {
        let overseers = &self.content.overseers;
        require_quorum(&candidate.note, overseers)?;
        let (found, accepted) = (candidate.manifest.sequence, self.manifest.sequence);
        if found <= accepted {
            return Err(BundleError::RolledBack { found, accepted });
        }
        if candidate.manifest.previous != Some(self.digest) {
            return Err(BundleError::NotASuccessor);
        }
        if found != accepted + 1 || candidate.manifest.validity.made < self.manifest.validity.made {
            return Err(BundleError::NotASuccessor);
        }
        check_time(candidate, now)?;
        let bundle = Self::compile(candidate)?;
        require_overseers(&candidate.note, overseers, &bundle.content.overseers)?;
        ratchet::require(&ratchet::loosenings(self, &bundle), candidate, overseers)?;
        Ok(bundle)
    }

    /// What a change to that candidate would loosen: what overseers look at before they sign.
    ///
    /// # Errors
    /// [`BundleError`] where the candidate's own files are wrong. Signatures and times are not looked at.
    pub fn loosened_by(&self, candidate: &Candidate) -> Result<Vec<Loosening>, BundleError> {
        Ok(ratchet::loosenings(self, &Self::compile(candidate)?))
    }

    fn compile(candidate: &Candidate) -> Result<Self, BundleError> {
        let constitution = Constitution::compiled()?;
        let content = Content::read(candidate, constitution)?;
        let registry = &content.registry;
        let organisations = registry.organisations.iter().map(|o| (o.id.clone(), registry.class_of(&o.id))).collect();
        let endpoints = registry.endpoints.iter().map(|e| (e.id.clone(), registry.class_of_endpoint(&e.id))).collect();
        let manifest = candidate.manifest.clone();
        let digest = manifest.digest();
        Ok(Self { manifest, content, constitution, organisations, endpoints, digest })
    }

    /// Whether its time has come and not passed. Out of force, [`Bundle::decide`] refuses everything.
    #[must_use]
    pub fn in_force(&self, now: Timestamp) -> bool {
        let validity = self.manifest.validity;
        validity.valid_from <= now && now < validity.valid_until
    }

    /// Its sequence.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.manifest.sequence
    }

    /// What the program keeps durably of it.
    #[must_use]
    pub const fn watermark(&self) -> Watermark {
        Watermark { sequence: self.manifest.sequence, manifest: self.digest }
    }

    /// Its manifest.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Who takes part, with each agency's pinned key.
    #[must_use]
    pub const fn registry(&self) -> &Registry {
        &self.content.registry
    }

    /// Who signs policy, and the agencies' contract keys.
    #[must_use]
    pub const fn overseers(&self) -> &Overseers {
        &self.content.overseers
    }

    /// The agreements, by id.
    #[must_use]
    pub const fn agreements(&self) -> &BTreeMap<AgreementId, Arc<Agreement>> {
        &self.content.agreements
    }

    /// The assessments, by id.
    #[must_use]
    pub const fn assessments(&self) -> &BTreeMap<AssessmentId, Assessment> {
        &self.content.assessments
    }

    /// The contracts, by dataset.
    #[must_use]
    pub const fn contracts(&self) -> &BTreeMap<DatasetId, Arc<Contract>> {
        &self.content.contracts
    }

    /// The contracts of the parts of a logical dataset, by their ids; none where there is no such dataset.
    ///
    /// INVARIANT: of a bundle that was taken up they are two or more, each of an agency of its own, and a question
    /// means the same over each ([`Contract::reads_like`]).
    pub fn parts_of(&self, logical: &DatasetId) -> impl Iterator<Item = &Arc<Contract>> {
        parts_of(&self.content.contracts, logical)
    }

    /// The class by which a recipient is judged: computed once for whoever is registered; anybody else is enforcement.
    #[must_use]
    pub fn class_of(&self, recipient: &Recipient) -> ClassFinding {
        let unregistered = || ClassFinding { class: RecipientClass::Enforcement, registered: false, path: Vec::new() };
        self.finding(recipient).cloned().unwrap_or_else(unregistered)
    }

    /// The finding about a recipient that is registered.
    pub(crate) fn finding(&self, recipient: &Recipient) -> Option<&ClassFinding> {
        match recipient {
            Recipient::Organisation(org) => self.organisations.get(org),
            Recipient::Endpoint(endpoint) => self.endpoints.get(endpoint),
        }
    }

    /// Whether an agreement runs today and its assessment is complete, approved and unexpired.
    #[must_use]
    pub fn agreement_counts(&self, agreement: &Agreement, now: Timestamp) -> bool {
        agreement.runs(now) && self.is_assessed(agreement, now)
    }

    pub(crate) fn is_assessed(&self, agreement: &Agreement, now: Timestamp) -> bool {
        let assessment = agreement.assessment.as_ref().and_then(|id| self.content.assessments.get(id));
        assessment.is_some_and(|a| a.in_force(now))
    }
}

fn check_time(candidate: &Candidate, now: Timestamp) -> Result<(), BundleError> {
    let validity = candidate.manifest.validity;
    if now < validity.valid_from {
        return Err(BundleError::NotYetValid(validity.valid_from));
    }
    if now >= validity.valid_until {
        return Err(BundleError::Expired(validity.valid_until));
    }
    Ok(())
}

pub(crate) fn require_quorum(note: &SignedText, overseers: &Overseers) -> Result<(), BundleError> {
    if !note.is_signed() {
        return Err(BundleError::Unsigned);
    }
    let (have, need) = (overseers.signers(note).len(), overseers.threshold as usize);
    if have < need { Err(BundleError::TooFewSignatures { have, need }) } else { Ok(()) }
}

/// Where the overseers change, a quorum of the new ones has signed as well, and so has each who reads openings with
/// another key.
fn require_overseers(note: &SignedText, before: &Overseers, after: &Overseers) -> Result<(), BundleError> {
    let signers = after.signers(note);
    if !after.same_quorum(before) {
        let (have, need) = (signers.len(), after.threshold as usize);
        if have < need {
            return Err(BundleError::TooFewNewSignatures { have, need });
        }
    }
    // SECURITY: nobody is given a key in an overseer's name by the others.
    match after.with_another_seal_key(before).find(|overseer| !signers.contains(overseer)) {
        Some(overseer) => Err(BundleError::SealKeyNotSigned(overseer.clone())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
