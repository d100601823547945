use crate::Bundles;
use firebreak_domain::{ReasonCode, Refusal, Timestamp};
use firebreak_policy::{Bundle, BundleError, Candidate, OverseersError, Suspensions, TrustRoot, Watermark};
use firebreak_store::{State, StoreError};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

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
        "the copy of the accepted bundle {accepted} in the state folder is missing or was changed; put that bundle back"
    )]
    CopyMissing {
        /// The sequence that was accepted last.
        accepted: u64,
    },
    /// The state failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The state has seen a later bundle.
    #[error(transparent)]
    RolledBack(#[from] firebreak_store::BundleError),
}

/// The policy bundle in force, kept current from a folder.
///
/// A bundle that is accepted is copied into the state folder, and the copy is what a restart begins with: whoever
/// changes the offered folder changes nothing until a quorum has signed. Out of its validity, or without a bundle,
/// everything is refused.
pub struct PolicyInForce {
    offered: PathBuf,
    copies: PathBuf,
    root: TrustRoot,
    current: RwLock<Option<Arc<Bundle>>>,
}

impl PolicyInForce {
    /// Takes up the copy in `state_folder`, or the offered bundle if nothing was ever accepted.
    ///
    /// # Errors
    /// [`PolicyError`]. A first bundle that is not acceptable is no error: nothing is in force then.
    pub async fn open(bundles: &Bundles, base: &Path, state_folder: &Path, state: &State) -> Result<Self, PolicyError> {
        let root_file = base.join(&bundles.trust_root);
        let text = fs::read_to_string(&root_file).map_err(|e| PolicyError::TrustRoot(root_file, e))?;
        let this = Self {
            offered: base.join(&bundles.folder),
            copies: state_folder.join("bundles"),
            root: TrustRoot::parse(&text)?,
            current: RwLock::new(None),
        };
        let accepted = state.highest_bundle_sequence().await?;
        if accepted > 0 {
            let missing = || PolicyError::CopyMissing { accepted };
            let copy = Candidate::read(&this.copy(accepted)).map_err(|_| missing())?;
            let watermark = Watermark { sequence: accepted, manifest: copy.manifest().digest() };
            let bundle = Bundle::first(&copy, &this.root, state.now(), Some(watermark)).map_err(Box::new)?;
            this.put(bundle);
        }
        Ok(this)
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

    /// Looks at the offered folder and takes up what is new there. True if something was.
    ///
    /// # Errors
    /// [`PolicyError`]: the offered bundle is not taken up, and the one in force stays.
    pub async fn refresh(&self, state: &State) -> Result<bool, PolicyError> {
        let candidate = Candidate::read(&self.offered).map_err(Box::new)?;
        let now: Timestamp = state.now();
        let bundle = match self.accepted() {
            None => Bundle::first(&candidate, &self.root, now, None).map_err(Box::new)?,
            Some(current) => {
                if current.watermark().manifest == candidate.manifest().digest() {
                    return Ok(false);
                }
                current.succeed(&candidate, now).map_err(Box::new)?
            }
        };
        // The copy is complete before the sequence is recorded: a crash in between leaves an unused folder.
        let copy = self.copy(bundle.sequence());
        if copy.exists() {
            fs::remove_dir_all(&copy).map_err(PolicyError::Copy)?;
        }
        fs::create_dir_all(&copy).map_err(PolicyError::Copy)?;
        candidate.write(&copy).map_err(Box::new)?;
        state.accept_bundle(bundle.sequence()).await?;
        self.put(bundle);
        Ok(true)
    }
}
