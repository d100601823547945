//! The commitment to the set, which is in the log before anything is sent for evaluation.

use super::form;
use crate::app::App;
use crate::app::matching::{MatchError, Prepared};
use firebreak_audit::LeafKind;
use firebreak_domain::{Charge, ReasonCode, Refusal};
use firebreak_node::Content;
use firebreak_policy::Denial;
use firebreak_psi::{Root, Shuffle};
use firebreak_records::{SetOpening, read_item};
use firebreak_store::{CommittedSetSource, LeafHash};
use std::time::Duration;
use tokio::task::block_in_place;
use tokio::time::{Instant, sleep};

impl Prepared {
    /// The root of the whole list.
    fn root(&self, shuffle: &Shuffle) -> Result<Root, MatchError> {
        let mut commitment = shuffle.commitment();
        let mut slots = form::slots(&self.files)?.read()?;
        while let Some(record) = slots.next()? {
            commitment
                .push(read_item(record.as_array().ok_or(MatchError::Failed)?).ok_or(MatchError::Failed)?.as_ref())?;
        }
        Ok(commitment.root()?)
    }

    /// Of what the set is formed again when its commitment is to be opened.
    fn set_source(&self, app: &App) -> CommittedSetSource {
        let kept = i64::from(self.retention_days).saturating_mul(86_400);
        CommittedSetSource {
            agreement: self.submitted.header.agreement.clone(),
            dataset: self.dataset().clone(),
            cut: self.formed.set.cut.clone(),
            reading: Some(self.key.reading().text()),
            selection: self.selection.clone(),
            until: app.state.now().plus_secs(kept),
        }
    }

    /// Commits to the set, unless it was before, and waits until that is in the log.
    pub(super) async fn commit(&self, app: &App) -> Result<(), MatchError> {
        let leaf = match app.state.session_opening(&self.name).await? {
            Some(kept) => SetOpening::decode(&kept).ok_or(MatchError::Failed)?.0.leaf,
            None => {
                let shuffle = Shuffle::of_session(&self.seed);
                let root = block_in_place(|| self.root(&shuffle))?;
                let (kind, none) = (LeafKind::MatchCommitted, Charge::default());
                let content = Content::of_request(Some(self.standing.intent())).with_line(&SetOpening::line(&root));
                let evidence = app.recorder.record(kind, self.standing.facts(), None, none, content, &app.state);
                let evidence = evidence.map_err(|_| MatchError::Failed)?;
                let leaf = LeafHash::of(evidence.leaf.as_bytes());
                // PRIVACY: what is kept opens the leaf and, beside the same set, any place of it. It gives no blind:
                // from it nobody tells what was sent, nor what matched.
                let opening = SetOpening {
                    leaf,
                    seed: shuffle.opening_seed().clone(),
                    nonce: &evidence.opening.nonce,
                    payload: &evidence.opening.payload,
                };
                app.state.record_set_source(&self.name, &self.set_source(app)).await?;
                app.state.keep_opening(&self.name, &opening.encode(), evidence.new_leaf()).await?;
                leaf
            }
        };
        match wait_until_logged(app, &leaf).await? {
            Ok(()) => Ok(()),
            Err(refusal) => {
                let denial = Denial { refusal, facts: self.standing.facts().clone() };
                Err(app.refuse_match(denial, self.standing.intent()).await)
            }
        }
    }
}

/// How long a commitment may take to reach the log.
const LOGGED_WITHIN: Duration = Duration::from_secs(10);

pub(in crate::app) async fn wait_until_logged(app: &App, leaf: &LeafHash) -> Result<Result<(), Refusal>, MatchError> {
    let started = Instant::now();
    loop {
        // SECURITY: that it stands in the log, and not that it is out of sight behind other leaves that wait.
        if app.state.is_logged(leaf).await? {
            return Ok(Ok(()));
        }
        if started.elapsed() > LOGGED_WITHIN {
            let refusal = Refusal::new(ReasonCode::EvidenceOutstanding);
            return Ok(Err(refusal.because("the commitment to the set did not reach the log")));
        }
        sleep(Duration::from_millis(20)).await;
    }
}
