use super::{DummyLaw, DummyLawError, JoinCells};
use crate::release::{NoisyVector, Released};
use firebreak_domain::{Charge, Mechanism, PurposeId};
use firebreak_query::{Basis, CheckedJoin};
use firebreak_store::ReleaseKey;
use sha2::{Digest, Sha256};

/// What an answer to one question over a join costs, and the law of the dummies that are its noise.
///
/// It follows from the question, both contracts and the agreement's ε alone, never from data.
#[derive(Debug, Clone, PartialEq)]
pub struct JoinPrice {
    charge: Charge,
    law: DummyLaw,
    /// SHA-256 of the canonical form of what is counted.
    query: [u8; 32],
    basis: Basis,
    takers: JoinTakers,
    cells: usize,
}

/// By which choices persons take part in a join: those for its purpose, and, with consent as its legal basis, those alone
/// who have given it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinTakers {
    /// The purpose.
    pub purpose: PurposeId,
    /// Whether consent is its legal basis.
    pub by_consent: bool,
}

/// Prices a question over a join of those who take part, at the ε of its terms.
///
/// # Errors
/// [`DummyLawError`], for an ε that no agreement's terms may have.
pub fn join_price(join: &CheckedJoin, takers: JoinTakers) -> Result<JoinPrice, DummyLawError> {
    let law = DummyLaw::new(join.terms().epsilon)?;
    let counted = join.counted();
    Ok(JoinPrice {
        charge: law.charge(),
        law,
        query: counted.canonical().digest(),
        basis: *counted.basis(),
        takers,
        cells: counted.cells(),
    })
}

/// Counts of another join than was priced: of another question, or of other numbers of labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("these counts are of another join than the one that was priced")]
pub struct OtherJoin;

impl JoinPrice {
    /// What the persons of each of the two registers are charged, in full: ρ = ε²/2 and δ. It is not a pure loss.
    ///
    /// The accounts of agreement, caller and organisation are charged once for each register, as in a union.
    #[must_use]
    pub const fn charge(&self) -> Charge {
        self.charge
    }

    /// The law of the dummies of each side.
    #[must_use]
    pub const fn law(&self) -> &DummyLaw {
        &self.law
    }

    /// The standard deviation of a count: of the dummies of both sides.
    #[must_use]
    pub fn deviation(&self) -> f64 {
        self.law.deviation()
    }

    /// What is released at this price: one release answers all that share the question that is counted, both contracts'
    /// meaning of it, the loss, and the choices by which persons take part.
    ///
    /// PRIVACY: without the last, whoever asks for another purpose, or by consent, would be given a release of persons who
    /// have objected to that purpose, or have not consented.
    #[must_use]
    pub fn release_key(&self) -> ReleaseKey {
        let hash = Sha256::new()
            .chain_update(b"firebreak join release key format 1\n")
            .chain_update(self.query)
            .chain_update(self.basis.as_bytes())
            .chain_update(self.charge.rho.nano().to_be_bytes())
            .chain_update(self.charge.delta.atto().to_be_bytes())
            .chain_update([u8::from(self.takers.by_consent)])
            .chain_update(self.takers.purpose.as_str());
        ReleaseKey::from_bytes(hash.finalize().into())
    }

    /// The release of what was counted. The noise is in the counts already: nothing is drawn.
    ///
    /// # Errors
    /// [`OtherJoin`].
    pub fn release(&self, join: &CheckedJoin, cells: &JoinCells) -> Result<Released, OtherJoin> {
        let counted = join.counted();
        if counted.canonical().digest() != self.query || *counted.basis() != self.basis {
            return Err(OtherJoin);
        }
        let values = join.arranged(cells.counts()).filter(|values| values.len() == self.cells).ok_or(OtherJoin)?;
        let vector = NoisyVector { sigma: self.deviation(), values };
        Ok(Released::measured(Mechanism::MatchingDummies, self.query, self.basis, self.charge, vec![vector]))
    }
}

#[cfg(test)]
#[path = "price_tests.rs"]
mod tests;
