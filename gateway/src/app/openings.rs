use super::{App, Failure, LogFailure};
use firebreak_domain::{Identity, ReasonCode, Recipient, RecipientClass, Refusal};
use firebreak_store::LeafHash;

/// A sealed opening and its leaf's number.
pub struct KeptOpening {
    /// Number of the leaf.
    pub index: u64,
    /// [`firebreak_audit::SealedOpening`].
    pub sealed: Vec<u8>,
}

/// Some sealed openings in the order of their leaves.
pub struct OpeningsPage {
    /// Those that are kept.
    pub openings: Vec<KeptOpening>,
    /// The number from which to go on.
    pub next: u64,
    /// Leaves in the log.
    pub log_size: u64,
}

impl App {
    /// That the caller belongs to an organisation whose class is oversight.
    ///
    /// # Errors
    /// `ROLE_NOT_ALLOWED`.
    pub fn check_oversight(&self, caller: &Identity) -> Result<(), Refusal> {
        let finding = self.policy.bundle()?.class_of(&Recipient::Organisation(caller.org.clone()));
        if finding.registered && finding.class == RecipientClass::Oversight {
            return Ok(());
        }
        Err(Refusal::new(ReasonCode::RoleNotAllowed).because("openings are for organisations registered as oversight"))
    }

    /// The sealed openings of the log's leaves from number `from` to the end of their bundle.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn openings(&self, from: u64) -> Result<OpeningsPage, Failure> {
        let published = self.log.published();
        let log_size = published.checkpoint().size();
        // Reading a bundle takes its time, which nobody else's request waits for.
        let read = tokio::task::spawn_blocking(move || published.entries_from(from)).await;
        let leaves = read.map_err(|_| Failure::Answer("the log"))?.map_err(LogFailure::from)?;
        let hashes: Vec<_> = leaves.iter().map(|leaf| LeafHash::of(leaf.as_bytes())).collect();
        let next = from.saturating_add(hashes.len() as u64);
        let sealed = self.state.sealed_openings(&hashes).await?;
        let kept = |(index, sealed): (u64, Option<Vec<u8>>)| sealed.map(|sealed| KeptOpening { index, sealed });
        Ok(OpeningsPage { openings: (from..).zip(sealed).filter_map(kept).collect(), next, log_size })
    }
}
