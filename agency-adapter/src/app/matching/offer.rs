//! What a sender offers: its set, the key under which it evaluates, and the list of tags. Of one session, or of all
//! sessions of an epoch.

use super::epoch::{SharedEpoch, is_kept};
use super::fault::of_peer;
use super::offered::{OfferedSet, OfferedTags};
use super::payload::{Payload, with_payload};
use super::sender::{Offered, SenderSession};
use super::{CHUNK_ELEMENTS, MatchError};
use crate::app::App;
use firebreak_domain::Timestamp;
use firebreak_psi::{Evaluator, FORMAT, KeyContext, MatchParams, SecretSeed, derive_session_key, padded_size};
use firebreak_store::SessionFiles;
use std::sync::{Arc, Mutex};
use tokio::sync::OnceCell;
use tokio::task::block_in_place;

/// A set, its key and its list.
pub(super) struct Offer {
    pub(super) evaluator: Arc<Evaluator>,
    /// The name under which the list is charged: the session's, or the epoch's.
    pub(super) name: [u8; 32],
    /// When the key is destroyed: that of an epoch.
    ends: Option<Timestamp>,
    set: OfferedSet,
    files: SessionFiles,
    tags: OnceCell<Made>,
}

/// A list of tags, and the SHA-256 of what it was made of.
#[derive(Clone)]
pub(super) struct Made {
    pub(super) list: Arc<Mutex<OfferedTags>>,
    pub(super) hash: [u8; 32],
}

impl SenderSession {
    /// What is offered to this session alone, whose receiver has so many elements.
    pub(super) async fn offer_alone(
        &self,
        app: &App,
        by: &Offered,
        name: [u8; 32],
        seed: &SecretSeed,
        files: SessionFiles,
        elements: u32,
    ) -> Result<Offer, MatchError> {
        let payload = self.payload();
        let (set, padded) = self.form(app, by, payload, &files).await?;
        let params = MatchParams::new(FORMAT, CHUNK_ELEMENTS, elements, padded).map_err(of_peer)?;
        let evaluator = self.evaluator(by, seed, self.session().as_bytes(), with_payload(params, payload)?)?;
        Ok(Offer { evaluator, name, ends: None, set, files, tags: OnceCell::new() })
    }

    /// What is offered to all sessions of an epoch: formed once, of the cut that is the latest then. No rows go with it.
    pub(super) async fn offer_of_epoch(
        &self,
        app: &App,
        by: &Offered,
        epoch: &SharedEpoch,
    ) -> Result<Offer, MatchError> {
        let (seed, files) = epoch.open(app, epoch.epoch.ends).await?;
        let (set, padded) = self.form(app, by, None, &files).await?;
        // The list keeps its length, whatever a contract declares before the epoch is over.
        let padded = block_in_place(|| {
            let mut spool = files.spool("padded")?;
            if spool.is_empty() {
                spool.add(&padded.to_be_bytes())?;
            }
            let kept = spool.get(0)?.as_slice().try_into().map_err(|_| MatchError::Failed)?;
            Ok::<_, MatchError>(u32::from_be_bytes(kept))
        })?;
        let params = epoch.params(MatchParams::new(FORMAT, epoch.elements, epoch.elements, padded)?)?;
        let evaluator = self.evaluator(by, &seed, &epoch.name, params)?;
        Ok(Offer { evaluator, name: epoch.name, ends: Some(epoch.epoch.ends), set, files, tags: OnceCell::new() })
    }

    /// The set, and the number of tags that it is padded to.
    async fn form(
        &self,
        app: &App,
        by: &Offered,
        payload: Option<&Payload>,
        files: &SessionFiles,
    ) -> Result<(OfferedSet, u32), MatchError> {
        let rows = async || {
            let cut = self.contract().latest_cut().ok_or(MatchError::Failed)?;
            Ok(app.datasets.rows_to_match(self.contract(), cut, &by.key.columns).await?)
        };
        let reference = |key: &str| app.state.person_reference(key.as_bytes());
        let layout = payload.map(Payload::layout);
        let set = OfferedSet::form(rows, reference, by.key.normaliser, layout, files).await?;
        // Padded to the declared register, so that the receiver does not learn how many records there are.
        let padded = set.identifiers.max(self.contract().unit_space.register_size);
        let padded = padded_size(usize::try_from(padded).unwrap_or(usize::MAX), CHUNK_ELEMENTS)?;
        Ok((set, padded))
    }

    /// Evaluates under the key of a session or an epoch, which is named by `of`.
    fn evaluator(
        &self,
        by: &Offered,
        seed: &SecretSeed,
        of: &[u8],
        params: MatchParams,
    ) -> Result<Arc<Evaluator>, MatchError> {
        let (field, mode) = (by.key.field(), self.mode());
        let context = KeyContext {
            agreement: self.agreement().as_str(),
            receiver: self.receiver().as_str(),
            field: &field,
            normaliser: by.key.normaliser,
            session: of,
            mode,
        };
        Ok(Arc::new(Evaluator::new(derive_session_key(seed, &context)?, params.in_mode(mode))))
    }
}

impl Offer {
    /// Whether its key is destroyed by now, or is to be.
    pub(super) async fn is_over(&self, app: &App) -> Result<bool, MatchError> {
        Ok(match self.ends {
            Some(ends) => ends <= app.state.now() || !is_kept(app, &self.name).await?,
            None => false,
        })
    }

    /// Tags of the list, padding included.
    pub(super) fn padded(&self) -> u32 {
        self.evaluator.params().sender_padded()
    }

    /// The list, which is made once.
    pub(super) async fn list(&self) -> Result<Made, MatchError> {
        let made = self.tags.get_or_try_init(|| async {
            let (evaluator, set, files) = (Arc::clone(&self.evaluator), self.set.clone(), self.files.clone());
            let list = tokio::task::spawn_blocking(move || OfferedTags::make(&evaluator, &set, &files));
            let list = list.await.map_err(|_| MatchError::Failed)??;
            Ok::<_, MatchError>(Made { hash: *list.hash(), list: Arc::new(Mutex::new(list)) })
        });
        made.await.cloned()
    }
}
