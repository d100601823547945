//! What a side has of the other: its key, its sizes and its list, on the disk as they arrive.

use super::{JoinRun, lists, psi_side};
use crate::app::matching::MatchError;
use crate::app::matching::fault::of_peer;
use firebreak_domain::{ReasonCode, Refusal};
use firebreak_psi::join::{JoinParams, JoinParty, JoinSide, KEY_WITH_PROOF, PeerKey, PointStream};
use firebreak_records::JoinStated;
use firebreak_store::{Fault, SessionFiles, Spool, StoreError};
use sha2::{Digest, Sha256};
use std::sync::{MutexGuard, PoisonError};
use tokio::sync::watch;
use tokio::task::block_in_place;

/// How many times the persons that its contract declares the other side's list may hold, dummies aside.
const MOST_OF_REGISTER: u64 = 2;
/// That this side's list has arrived at the other.
const TAKEN: &str = "own-points-taken";

/// Where the other side's list stands.
#[derive(Debug, Clone)]
pub enum Arrival {
    /// It is still to come.
    Expected,
    /// It has arrived whole.
    Whole,
    /// It does not come: why.
    Ended(Refusal),
}

pub(super) struct Exchange {
    /// The key with its proof and the sizes, as they were stated first.
    stated: Spool,
    list: Spool,
    peer: Option<Peer>,
}

struct Peer {
    key: PeerKey,
    stream: PointStream,
}

impl Exchange {
    /// What has arrived so far.
    pub(super) fn open(
        files: &SessionFiles,
        theirs: JoinSide,
        params: &JoinParams,
        party: &JoinParty,
        labels: u16,
    ) -> Result<Self, MatchError> {
        let (stated, list) = (files.spool("their-key")?, files.spool("their-points")?);
        let mut this = Self { stated, list, peer: None };
        if this.stated.is_empty() {
            // Points without the key that they came with are of no list.
            return if this.list.is_empty() { Ok(this) } else { Err(StoreError::File(Fault::Damaged).into()) };
        }
        let stated = JoinStated::decode(&this.stated.get(0)?);
        let stated = stated.filter(|stated| stated.sizes.len() == usize::from(labels));
        let JoinStated { key, sizes } = stated.ok_or(MatchError::Failed)?;
        let mut stream = PointStream::new(theirs, params, &sizes)?;
        for piece in 0..this.list.len() {
            stream.check(&this.list.get(piece)?)?;
        }
        this.peer = Some(Peer { key: party.meet(&key)?, stream });
        Ok(this)
    }

    pub(super) fn arrival(&self) -> Arrival {
        if self.peer.as_ref().is_some_and(|peer| peer.stream.is_complete()) {
            Arrival::Whole
        } else {
            Arrival::Expected
        }
    }

    /// The other side's key and its whole list.
    pub(super) fn whole(&self) -> Result<(&PeerKey, &Spool), MatchError> {
        match &self.peer {
            Some(peer) if peer.stream.is_complete() => Ok((&peer.key, &self.list)),
            _ => Err(firebreak_psi::PsiError::Incomplete.into()),
        }
    }

    /// The other side's key with its proof, as it was shown.
    pub(super) fn shown(&self) -> Result<[u8; KEY_WITH_PROOF], MatchError> {
        Ok(JoinStated::decode(&self.stated.get(0)?).ok_or(MatchError::Failed)?.key)
    }

    /// SHA-256 of the other side's list.
    pub(super) fn hash(&self) -> Result<[u8; 32], MatchError> {
        let mut hash = Sha256::new();
        for piece in 0..self.list.len() {
            hash.update(&*self.list.get(piece)?);
        }
        Ok(hash.finalize().into())
    }
}

impl JoinRun {
    /// This side's public key, with the proof that it knows the secret one.
    #[must_use]
    pub fn key(&self) -> [u8; KEY_WITH_PROOF] {
        self.party.key()
    }

    /// Takes the other side's key and the sizes of its list, and gives how many bytes of that have arrived.
    ///
    /// # Errors
    /// [`MatchError::Fault`]: a key that is none or not proved, a list far larger than the declared register, or others
    /// than were stated before.
    pub fn greet(&self, key: &[u8], sizes: &[u64]) -> Result<u64, MatchError> {
        let mut exchange = self.exchange();
        let stated = key.as_array().map(|key| JoinStated { key: *key, sizes: sizes.to_vec() });
        if !exchange.stated.is_empty() {
            let kept = JoinStated::decode(&exchange.stated.get(0)?).ok_or(MatchError::Failed)?;
            if stated.as_ref() != Some(&kept) {
                let refusal = Refusal::new(ReasonCode::SessionMismatch);
                let refusal = refusal.because("the other side stated another key or other sizes before");
                return Err(MatchError::Fault(refusal));
            }
            return Ok(exchange.peer.as_ref().map_or(0, |peer| peer.stream.bytes()));
        }
        let points = sizes.iter().fold(0_u64, |all, size| all.saturating_add(*size));
        if points > self.most_points() {
            let refusal = Refusal::new(ReasonCode::SizeExceeded);
            let refusal = refusal.because("the other side's list is far larger than its declared register");
            return Err(MatchError::Fault(refusal));
        }
        let met = self.party.meet(key).map_err(of_peer)?;
        let stream = PointStream::new(psi_side(self.side.other()), &self.params, sizes).map_err(of_peer)?;
        // What was met has a key's length.
        let stated = stated.ok_or(MatchError::Failed)?;
        block_in_place(|| exchange.stated.add(&stated.encode()))?;
        exchange.peer = Some(Peer { key: met, stream });
        self.tell(exchange.arrival());
        Ok(0)
    }

    /// Takes the next points of the other side's list, which begin at `offset`, on the disk before this returns. Gives
    /// how many bytes have arrived.
    ///
    /// # Errors
    /// [`MatchError::Fault`]; nothing of them is kept.
    pub fn push(&self, offset: u64, points: &[u8]) -> Result<u64, MatchError> {
        let mut exchange = self.exchange();
        let Exchange { list, peer, .. } = &mut *exchange;
        let stream = peer.as_mut().map(|peer| &mut peer.stream).filter(|stream| stream.bytes() == offset);
        let Some(stream) = stream else {
            let refusal = Refusal::new(ReasonCode::SessionMismatch);
            return Err(MatchError::Fault(refusal.because("a list of points goes on where it broke off")));
        };
        block_in_place(|| lists::check(points))?;
        stream.check(points).map_err(of_peer)?;
        block_in_place(|| list.add(points))?;
        let bytes = stream.bytes();
        self.tell(exchange.arrival());
        Ok(bytes)
    }

    /// Bytes of the other side's list that have arrived.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.exchange().peer.as_ref().map_or(0, |peer| peer.stream.bytes())
    }

    /// Where the other side's list stands, and how that changes.
    #[must_use]
    pub fn arrival(&self) -> watch::Receiver<Arrival> {
        self.arrival.subscribe()
    }

    /// Says why the other side's list does not come, to whoever waits for it. False where nobody does: it has come, or it
    /// was said why it does not.
    pub fn give_up(&self, why: Refusal) -> bool {
        self.arrival.send_if_modified(|arrival| {
            let expected = matches!(arrival, Arrival::Expected);
            if expected {
                *arrival = Arrival::Ended(why);
            }
            expected
        })
    }

    /// That the other side goes by the same terms, on the same bundle, and writes identifiers by the same rule.
    ///
    /// # Errors
    /// [`MatchError::Fault`]: `BUNDLE_MISMATCH`, `NORMALISER_MISMATCH`, `SESSION_MISMATCH`.
    pub fn check_alike(&self, bundle_sequence: u64, normaliser: u32, terms: &[u8]) -> Result<(), MatchError> {
        let refusal = if bundle_sequence != self.bundle_sequence {
            let refusal = Refusal::new(ReasonCode::BundleMismatch).because("the two sides go by different bundles");
            refusal.instead("the same request again, once both have taken up the newest")
        } else if normaliser != self.normaliser {
            Refusal::new(ReasonCode::NormaliserMismatch).because("the two sides write identifiers by different rules")
        } else if terms != self.terms {
            let what = "the two sides go by different terms, contracts or keys";
            Refusal::new(ReasonCode::SessionMismatch).because(what)
        } else {
            return Ok(());
        };
        Err(MatchError::Fault(refusal))
    }

    /// Whether this side's list has arrived at the other, and the other's here: there is nothing more to say.
    ///
    /// # Errors
    /// [`MatchError`].
    pub fn is_exchanged(&self) -> Result<bool, MatchError> {
        let whole = matches!(self.exchange().arrival(), Arrival::Whole);
        Ok(whole && !self.files.spool(TAKEN)?.is_empty())
    }

    /// Keeps that the other side has this side's list.
    ///
    /// # Errors
    /// [`MatchError`].
    pub fn taken(&self) -> Result<(), MatchError> {
        Ok(self.files.spool(TAKEN)?.add(b"taken")?)
    }

    pub(super) fn exchange(&self) -> MutexGuard<'_, Exchange> {
        self.exchange.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, arrival: Arrival) {
        if matches!(arrival, Arrival::Whole) {
            self.arrival.send_replace(arrival);
        }
    }

    /// The most points that the other side's list may have.
    fn most_points(&self) -> u64 {
        let (own, other) = (psi_side(self.side), psi_side(self.side.other()));
        // Matching dummies of each pair of labels, and single ones of each of the other side's.
        let each =
            u64::from(self.params.labels(own)).saturating_add(1).saturating_mul(self.params.most_dummies().into());
        let dummies = each.saturating_mul(self.params.labels(other).into());
        self.registers.0.saturating_mul(MOST_OF_REGISTER).saturating_add(dummies)
    }
}
