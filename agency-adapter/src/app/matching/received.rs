//! What a receiver has of the sender, kept until the comparison is recorded: from then on it needs nobody else.

use super::fault::of_peer;
use super::{MatchError, Prepared, Receiver};
use crate::app::App;
use firebreak_domain::{ReasonCode, Refusal};
use firebreak_psi::{PsiError, PublicKey};
use firebreak_records::Stated;
use firebreak_store::SessionFiles;
use tokio::task::block_in_place;

/// A session for which the sender is no longer needed.
pub struct Received {
    stated: Stated,
    receipt: String,
}

impl Received {
    /// The gateway's receipt for the tunnel by which all this came.
    #[must_use]
    pub fn receipt(&self) -> &str {
        &self.receipt
    }
}

/// Keeps what a sender stated, the first time; afterwards it must state the same, or is told `otherwise`.
///
/// SECURITY: chunks that were verified under one key are not verified again, so no other takes its place.
pub(super) fn keep_sender(files: &SessionFiles, stated: Stated, otherwise: &'static str) -> Result<(), MatchError> {
    let stated = stated.encode();
    let mut spool = files.spool("sender")?;
    if spool.is_empty() {
        return Ok(spool.add(&stated)?);
    }
    if spool.get(0)?.as_slice() == stated {
        return Ok(());
    }
    Err(MatchError::Fault(Refusal::new(ReasonCode::SessionMismatch).because(otherwise)))
}

impl Receiver {
    /// Keeps the `receipt` of the tunnel by which everything came, with which the session counts as received. To be
    /// called before the sender is told that it may destroy its key: without the key, nobody makes the list again.
    ///
    /// PRIVACY: the sender hears of the end after this, which takes a time that follows from the padded sizes alone.
    ///
    /// # Errors
    /// [`MatchError`]; [`MatchError::Fault`] if the sender ended its list too early.
    pub fn keep(&self, receipt: &str) -> Result<(), MatchError> {
        if !self.is_complete() {
            return Err(of_peer(PsiError::Incomplete));
        }
        block_in_place(|| {
            let mut spool = self.prepared.files.spool("received")?;
            if spool.is_empty() {
                spool.add(receipt.as_bytes())?;
            }
            Ok(())
        })
    }
}

impl Prepared {
    /// What the same request has received before, if that was everything.
    ///
    /// # Errors
    /// [`MatchError`].
    pub fn received(&self) -> Result<Option<Received>, MatchError> {
        if !self.files.holds("received") {
            return Ok(None);
        }
        block_in_place(|| {
            let spool = self.files.spool("received")?;
            if spool.is_empty() {
                return Ok(None);
            }
            let receipt = String::from_utf8(spool.get(0)?.to_vec()).map_err(|_| MatchError::Failed)?;
            let stated = Stated::decode(&self.files.spool("sender")?.get(0)?).ok_or(MatchError::Failed)?;
            Ok(Some(Received { stated, receipt }))
        })
    }

    /// Takes up the session where it only has to be compared: no tunnel, no evaluation, no charge to a cap.
    ///
    /// # Errors
    /// [`MatchError`].
    pub async fn take_up(self, app: &App, received: &Received) -> Result<Receiver, MatchError> {
        let params = self.params(received.stated.tags)?;
        let key = PublicKey::from_bytes(&received.stated.public_key)?;
        self.go_on(app, key, params).await
    }
}
