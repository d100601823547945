use super::dummies::{Dummies, encoded};
use super::list::{self, Entry};
use super::{JoinParams, JoinSession, JoinSide, KEY_WITH_PROOF};
use crate::secret::Prf;
use crate::{NormalisedInput, PsiError, PublicKey, SecretSeed, wire};
use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use std::ops::Range;
use zeroize::{Zeroize, Zeroizing};

/// The other side's key, whose secret it has shown to know.
pub struct PeerKey(RistrettoPoint);

/// One side of a join. Everything random in what it sends follows from its seed. Has no `Debug`.
pub struct JoinParty {
    session: JoinSession,
    side: JoinSide,
    params: JoinParams,
    secrets: Prf,
    key: Scalar,
    records: Vec<(NormalisedInput, u16)>,
    dummies: Dummies,
}

impl Drop for JoinParty {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl JoinParty {
    /// A side with its records: an identifier each, and one label.
    ///
    /// PRIVACY: each person is to be behind at most one record, and each record is of one person. An identifier that
    /// several persons have takes no part at all: if one of them stood in for the other, a person less would move two
    /// counts.
    ///
    /// # Errors
    /// [`PsiError::DuplicateElement`] for an identifier that comes twice, [`PsiError::Label`],
    /// [`PsiError::DegenerateHash`], which does not happen.
    pub fn new(
        session: JoinSession,
        side: JoinSide,
        seed: &SecretSeed,
        mut records: Vec<(NormalisedInput, u16)>,
        params: JoinParams,
    ) -> Result<Self, PsiError> {
        records.sort_unstable();
        if records.array_windows().any(|[one, next]| one.0 == next.0) {
            return Err(PsiError::DuplicateElement);
        }
        if records.iter().any(|(_, label)| *label >= params.labels(side)) {
            return Err(PsiError::Label);
        }
        let mut party = Self::of(session, side, seed, params)?;
        party.records = records;
        Ok(party)
    }

    /// A side whose records are kept elsewhere, and blinded by [`JoinParty::blind_records`]. What is said of them at
    /// [`JoinParty::new`] is for the caller to see to.
    ///
    /// # Errors
    /// [`PsiError::DegenerateHash`], which does not happen.
    pub fn of(session: JoinSession, side: JoinSide, seed: &SecretSeed, params: JoinParams) -> Result<Self, PsiError> {
        let secrets = Prf::new(seed.expose(), "firebreak join");
        let bound = [session.id.as_bytes().as_slice(), &session.terms, &[side.byte()]].concat();
        let secrets = Prf::new(secrets.block_seed(&bound).expose(), "firebreak join session");
        let key = Scalar::from_bytes_mod_order_wide(&secrets.block(b'K', &[]));
        if key == Scalar::ZERO {
            return Err(PsiError::DegenerateHash);
        }
        let dummies = Dummies::draw(side, &params, &secrets);
        Ok(Self { session, side, params, secrets, key, records: Vec::new(), dummies })
    }

    /// This side's public key, and the proof that it knows the secret one, for the other side.
    #[must_use]
    pub fn key(&self) -> [u8; KEY_WITH_PROOF] {
        self.session.prove(self.side, &self.secrets, &self.key)
    }

    /// Takes the other side's key.
    ///
    /// # Errors
    /// [`PsiError::WrongLength`], [`PsiError::InvalidElement`], [`PsiError::IdentityElement`],
    /// [`PsiError::InvalidScalar`]; [`PsiError::KnowledgeRejected`] for a proof of another session, of other terms, of
    /// this side or of another key; [`PsiError::DuplicateElement`] for this side's own key.
    pub fn meet(&self, shown: &[u8]) -> Result<PeerKey, PsiError> {
        let public: PublicKey = self.session.verify(self.side.other(), shown)?;
        let own = RistrettoPoint::mul_base(&self.key).compress();
        if own.as_bytes() == public.as_bytes() {
            return Err(PsiError::DuplicateElement);
        }
        Ok(PeerKey(wire::element(public.as_bytes())?))
    }

    /// How many records there are.
    #[must_use]
    pub fn records(&self) -> usize {
        self.records.len()
    }

    /// Blinds some of the records, for its own list.
    ///
    /// # Errors
    /// [`PsiError::NoSuchRange`]; [`PsiError::DegenerateHash`], which does not happen.
    pub fn blind(&self, range: Range<usize>) -> Result<Vec<Entry>, PsiError> {
        self.blind_records(self.records.get(range).ok_or(PsiError::NoSuchRange)?)
    }

    /// Blinds records, for its own list.
    ///
    /// # Errors
    /// [`PsiError::Label`]; [`PsiError::DegenerateHash`], which does not happen.
    pub fn blind_records(&self, records: &[(NormalisedInput, u16)]) -> Result<Vec<Entry>, PsiError> {
        let half = Zeroizing::new(self.key.div_by_2());
        if records.iter().any(|(_, label)| *label >= self.params.labels(self.side)) {
            return Err(PsiError::Label);
        }
        let blinded = records.iter().map(|(input, label)| {
            let point = Zeroizing::new(self.session.point(input.as_bytes())?);
            Ok((*half * *point, *label))
        });
        encoded(&blinded.collect::<Result<Vec<_>, PsiError>>()?)
    }

    /// The dummies of its own list.
    ///
    /// # Errors
    /// [`PsiError::DegenerateHash`], which does not happen.
    pub fn own_dummies(&self) -> Result<Vec<Entry>, PsiError> {
        encoded(&self.dummies.own(self.side, &self.params, &self.secrets, &self.key))
    }

    /// Raises points of the other side's list to its own key, for the list that it sends on.
    ///
    /// # Errors
    /// [`PsiError::InvalidElement`], [`PsiError::IdentityElement`].
    pub fn raise(&self, entries: &[Entry]) -> Result<Vec<Entry>, PsiError> {
        let half = Zeroizing::new(self.key.div_by_2());
        let raised = entries.iter().map(|entry| {
            let point = wire::element(list::point(entry))?;
            Ok((*half * point, list::label_of(entry)))
        });
        encoded(&raised.collect::<Result<Vec<_>, PsiError>>()?)
    }

    /// The counterparts of its own dummies, and what fills the list that it sends on to a length that says nothing.
    ///
    /// # Errors
    /// [`PsiError::DegenerateHash`], which does not happen.
    pub fn counterparts(&self, peer: &PeerKey) -> Result<Vec<Entry>, PsiError> {
        encoded(&self.dummies.sent_on(self.side, &self.params, &self.secrets, &self.key, &peer.0))
    }

    #[cfg(test)]
    pub(super) fn drawn(&self) -> &[u32] {
        self.dummies.matching()
    }
}
