use super::{App, Failure, LogFailure};
use firebreak_domain::{Identity, ReasonCode, Recipient, RecipientClass, Refusal};
use firebreak_store::LeafHash;

/// Leaves looked at for one page: a sealed opening has at most 256 KiB, and clients take messages of 4 MiB.
const LEAVES: u64 = 8;

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

    /// The sealed openings of the log's leaves from number `from`, as many as fit a page.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn openings(&self, from: u64) -> Result<OpeningsPage, Failure> {
        let published = self.log.published();
        let log_size = published.checkpoint().size();
        let next = log_size.min(from.saturating_add(LEAVES));
        let mut numbers = Vec::new();
        let mut leaves = Vec::new();
        for index in from..next {
            numbers.push(index);
            leaves.push(LeafHash::of(published.entry(index).map_err(LogFailure::from)?.as_bytes()));
        }
        let sealed = self.state.sealed_openings(&leaves).await?;
        let kept = |(index, sealed): (u64, Option<Vec<u8>>)| sealed.map(|sealed| KeptOpening { index, sealed });
        Ok(OpeningsPage { openings: numbers.into_iter().zip(sealed).filter_map(kept).collect(), next, log_size })
    }
}
