use crate::{Bundles, EvidenceError, Recorder};
use firebreak_audit::{LeafKind, SealError, Sealer};
use firebreak_domain::{ReasonCode, Refusal};
use firebreak_policy::{Bundle, BundleError, Candidate, Overseers, OverseersError, Suspensions, TrustRoot, Watermark};
use firebreak_store::{AcceptedBundle, State, StoreError};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Policy that could not be taken up. For the program's own log and its operator.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The bundle is not acceptable.
    #[error("the policy bundle is not taken up: {0}")]
    Bundle(#[from] Box<BundleError>),
    /// The trust root cannot be read.
    #[error("the trust root {0} cannot be read")]
    TrustRoot(PathBuf, #[source] io::Error),
    /// The trust root is not an `overseers.toml`.
    #[error("the trust root is not acceptable: {0}")]
    Overseers(#[from] OverseersError),
    /// The copy of the bundle in force could not be kept.
    #[error("the copy of the policy bundle in force could not be written")]
    Copy(#[source] io::Error),
    /// The copy of the bundle in force is gone or was changed.
    #[error(
        "the copy of the accepted bundle {accepted} in the state folder is missing or was changed; put back the bundle whose manifest has SHA-256 {manifest}"
    )]
    CopyChanged {
        /// The sequence that was accepted last.
        accepted: u64,
        /// The digest of the manifest that was accepted, in hexadecimal.
        manifest: String,
    },
    /// There is no evidence of it.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    /// The state failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The state has seen a later bundle.
    #[error(transparent)]
    RolledBack(#[from] firebreak_store::BundleError),
}

/// The policy bundle in force, kept current from a folder.
///
/// A bundle that is accepted is copied into the state folder, and its digest is kept in the state. A restart begins
/// with the copy that has that digest, and with no other: whoever changes the offered folder or the copies changes
/// nothing until a quorum has signed. The pinned trust root founds the first bundle alone; from then on each bundle
/// names the overseers of the next. Out of its validity, or without a bundle, everything is refused.
pub struct PolicyInForce {
    offered: PathBuf,
    copies: PathBuf,
    root: TrustRoot,
    current: RwLock<Option<Arc<Bundle>>>,
    /// Seals to the overseers of the bundle accepted last; before the first, to those who are pinned.
    sealer: Arc<Sealer>,
    /// What was last said of a bundle that was not taken up, so that it is said once.
    rejected: Mutex<Option<String>>,
}

impl PolicyInForce {
    /// Takes up again, from the copies in `state_folder`, the bundle that was accepted last, if any was.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub async fn open(bundles: &Bundles, base: &Path, state_folder: &Path, state: &State) -> Result<Self, PolicyError> {
        let root_file = base.join(&bundles.trust_root);
        let text = fs::read_to_string(&root_file).map_err(|e| PolicyError::TrustRoot(root_file, e))?;
        let this = Self {
            offered: base.join(&bundles.folder),
            copies: state_folder.join("bundles"),
            root: TrustRoot::parse(&text)?,
            current: RwLock::new(None),
            sealer: Arc::default(),
            rejected: Mutex::default(),
        };
        this.seal_to(this.root.overseers())?;
        if let Some(AcceptedBundle { sequence, manifest }) = state.accepted_bundle() {
            let changed = |_| PolicyError::CopyChanged { accepted: sequence, manifest: hex::encode(manifest) };
            let copy = Candidate::read(&this.copy(sequence)).map_err(changed)?;
            // SECURITY: what was accepted is what the state says, not what the copy says of itself.
            let bundle = Bundle::resume(&copy, Watermark { sequence, manifest }).map_err(|error| match error {
                BundleError::RolledBack { .. } | BundleError::Skipped { .. } | BundleError::Forked(_) => changed(error),
                error => PolicyError::Bundle(Box::new(error)),
            })?;
            this.seal_to(bundle.overseers())?;
            this.put(bundle);
        }
        Ok(this)
    }

    /// What seals the openings of this program's leaves.
    #[must_use]
    pub const fn sealer(&self) -> &Arc<Sealer> {
        &self.sealer
    }

    fn seal_to(&self, overseers: &Overseers) -> Result<(), PolicyError> {
        seal_to(&self.sealer, overseers)
    }

    fn copy(&self, sequence: u64) -> PathBuf {
        self.copies.join(sequence.to_string())
    }

    fn put(&self, bundle: Bundle) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(bundle));
    }

    /// The bundle last accepted, whether or not its time has passed.
    #[must_use]
    pub fn accepted(&self) -> Option<Arc<Bundle>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The bundle by which to decide.
    ///
    /// # Errors
    /// A refusal, `NO_POLICY_IN_FORCE`, if none was ever accepted. An expired one is given: it refuses everything
    /// itself, and can say for which agreement.
    pub fn bundle(&self) -> Result<Arc<Bundle>, Refusal> {
        self.accepted().ok_or_else(|| Refusal::new(ReasonCode::NoPolicyInForce))
    }

    /// What is suspended.
    #[must_use]
    pub fn suspensions(&self) -> Suspensions {
        Suspensions::none()
    }

    /// Looks at the offered folder, takes up what is new there, and leaves evidence of it in the state's outbox: a leaf
    /// for each bundle that is taken up, and one for each that is offered and is not. True if there is a new leaf.
    ///
    /// A bundle that is not acceptable is no error of this program: the one in force stays.
    ///
    /// # Errors
    /// [`PolicyError`]: the state, or the evidence.
    pub async fn refresh(&self, recorder: &Recorder, state: &State) -> Result<bool, PolicyError> {
        match self.take_up(recorder, state).await {
            Ok(new) => {
                *self.rejected.lock().unwrap_or_else(PoisonError::into_inner) = None;
                if new {
                    tracing::info!(outcome = "accepted", "policy bundle");
                }
                Ok(new)
            }
            Err(PolicyError::Bundle(why)) => {
                tracing::warn!(error_kind = %why, outcome = "kept", "policy bundle");
                let said = why.to_string();
                // No bundle at all, as while somebody copies one there: nothing was offered.
                if matches!(*why, BundleError::Unreadable { .. }) {
                    return Ok(false);
                }
                let known = self.rejected.lock().unwrap_or_else(PoisonError::into_inner).replace(said.clone());
                if known.as_ref() == Some(&said) {
                    return Ok(false);
                }
                let in_force = self.accepted().map_or(0, |bundle| bundle.sequence());
                let evidence = recorder.record_policy(LeafKind::BundleRejected, in_force, said.as_bytes(), state)?;
                state.record_leaf(evidence.new_leaf()).await?;
                Ok(true)
            }
            Err(error) => Err(error),
        }
    }

    async fn take_up(&self, recorder: &Recorder, state: &State) -> Result<bool, PolicyError> {
        let candidate = Candidate::read(&self.offered).map_err(Box::new)?;
        let now = state.now();
        let bundle = match self.accepted() {
            None => Bundle::first(&candidate, &self.root, now).map_err(Box::new)?,
            Some(current) => {
                if current.watermark().manifest == candidate.manifest().digest() {
                    return Ok(false);
                }
                current.succeed(&candidate, now).map_err(Box::new)?
            }
        };
        seal_to(&Sealer::default(), bundle.overseers())?;
        // The copy is on the disk before its digest is recorded: a crash in between leaves an unused folder.
        let copy = self.copy(bundle.sequence());
        if copy.exists() {
            fs::remove_dir_all(&copy).map_err(PolicyError::Copy)?;
        }
        fs::create_dir_all(&copy).map_err(PolicyError::Copy)?;
        let unwritten = |error: BundleError| PolicyError::Copy(io::Error::other(error.to_string()));
        candidate.write(&copy).map_err(unwritten)?;
        for folder in [Some(self.copies.as_path()), self.copies.parent()].into_iter().flatten() {
            fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(PolicyError::Copy)?;
        }
        let manifest = candidate.manifest().digest();
        let evidence = recorder.record_policy(LeafKind::BundleAccepted, bundle.sequence(), &manifest, state)?;
        let accepted = AcceptedBundle { sequence: bundle.sequence(), manifest };
        state.accept_bundle(accepted, evidence.new_leaf()).await?;
        self.seal_to(bundle.overseers())?;
        self.put(bundle);
        Ok(true)
    }
}

/// Seals to overseers from now on.
fn seal_to(sealer: &Sealer, overseers: &Overseers) -> Result<(), PolicyError> {
    match sealer.seal_to(&overseers.seal_keys()) {
        Ok(()) => Ok(()),
        Err(SealError::Key(key)) => Err(Box::new(BundleError::Overseers(OverseersError::SealKey(key))).into()),
        Err(error) => Err(EvidenceError::from(error).into()),
    }
}

#[cfg(test)]
mod tests;
