//! What a receiver has of the sender, kept until the comparison is recorded: from then on it needs nobody else.

use super::{MatchError, Prepared, Receiver};
use crate::app::App;
use firebreak_store::KeptList;

/// Bytes of a public key; the padded number of tags follows in four, then the receipt.
const KEY: usize = 32;

/// A session for which the sender is no longer needed.
pub struct Received {
    public_key: [u8; KEY],
    tags: u32,
    receipt: String,
    kept: KeptList,
}

impl Received {
    /// The gateway's receipt for the tunnel by which all this came.
    #[must_use]
    pub fn receipt(&self) -> &str {
        &self.receipt
    }
}

impl Receiver {
    /// Keeps the whole list, sealed, and the `receipt` of the tunnel by which it came. To be called before the sender
    /// is told that it may destroy its key: without the key, nobody makes the list again.
    ///
    /// PRIVACY: the sender hears of the end after this, which takes a time that follows from the padded sizes alone.
    ///
    /// # Errors
    /// [`MatchError`]; [`MatchError::Protocol`] if the sender ended its list too early.
    pub async fn keep(&self, app: &App, receipt: &str) -> Result<(), MatchError> {
        let tags = self.machine.params().sender_padded().to_be_bytes();
        let terms = [self.public_key.as_bytes().as_slice(), &tags, receipt.as_bytes()].concat();
        let list = self.machine.tag_list()?;
        Ok(app.state.keep_list(&self.prepared.name, &terms, list.as_bytes()).await?)
    }
}

impl Prepared {
    /// What the same request has received before, if that was everything.
    ///
    /// # Errors
    /// [`MatchError`].
    pub async fn received(&self, app: &App) -> Result<Option<Received>, MatchError> {
        let Some(kept) = app.state.kept_list(&self.name).await? else { return Ok(None) };
        let (public_key, rest) = kept.terms.split_first_chunk::<KEY>().ok_or(MatchError::Failed)?;
        let (tags, receipt) = rest.split_first_chunk().ok_or(MatchError::Failed)?;
        let receipt = String::from_utf8(receipt.to_vec()).map_err(|_| MatchError::Failed)?;
        Ok(Some(Received { public_key: *public_key, tags: u32::from_be_bytes(*tags), receipt, kept }))
    }

    /// Takes up the session where it only has to be compared: no tunnel, no evaluation, no charge to a cap.
    ///
    /// # Errors
    /// [`MatchError`].
    pub async fn take_up(self, app: &App, received: &Received) -> Result<Receiver, MatchError> {
        let mut receiver = self.begin(app, &received.public_key, received.tags).await?;
        receiver.push_tags(&received.kept.list)?;
        Ok(receiver)
    }
}
