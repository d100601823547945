//! What bounding leaves out, published beside a release.

use super::Permitted;
use crate::app::query::{By, LeftOut};
use crate::app::{App, Failure};
use firebreak_domain::{Identity, ReleaseName};
use firebreak_node::{SubmittedQuery, permit_publication};
use firebreak_wire::query::v1 as wire;
use firebreak_wire::{figures_from_bytes, left_out_to_wire};
use std::iter;

/// Why a draft is not published that shows what may no longer be.
pub(super) const LEFT_OUT_WITHHELD: &str =
    "what bounding leaves out of the data may no longer be published, and this draft shows it: draft it anew";

impl App {
    /// What bounding leaves out of the cuts of a release, for everybody to see beside it: what is measured already and
    /// may be published by the same right.
    // PRIVACY: its figures are of a release of their own, and of a column that the question published does not read.
    pub(super) async fn left_out_to_publish(
        &self,
        Permitted { found, submitted, caller, .. }: &Permitted<'_>,
    ) -> Result<Vec<wire::LeftOut>, Failure> {
        let mut shown = Vec::new();
        for of in self.left_out(submitted, caller, iter::once(&found.decided.query)).await? {
            let LeftOut { dataset, question, measured: Some((name, answer)) } = of else { continue };
            if self.may_publish_release(submitted, caller, &name).await? {
                shown.push(left_out_to_wire(&dataset, question, Some((name, answer))));
            }
        }
        Ok(shown)
    }

    /// Whether all that published figures show of what bounding leaves out may be published now, by this right.
    // SECURITY: a column that its agency has closed since the draft was made is not opened by publishing the draft.
    pub(super) async fn may_publish_left_out(
        &self,
        submitted: &SubmittedQuery,
        who: &Identity,
        figures: &[u8],
    ) -> Result<bool, Failure> {
        let figures = figures_from_bytes(figures).ok_or(Failure::Answer("published figures"))?;
        for of in &figures.left_out {
            if !self.may_publish_release(submitted, who, &of.release_id).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn may_publish_release(
        &self,
        submitted: &SubmittedQuery,
        who: &Identity,
        name: &str,
    ) -> Result<bool, Failure> {
        let name: ReleaseName = name.parse().map_err(|_| Failure::Answer("the name of a release"))?;
        let found = self.find_release(submitted, Some(name), who, By::Foresight).await?;
        let now = self.state.now();
        Ok(found.is_ok_and(|found| permit_publication(&found.decided.permit, &self.policy, now).is_ok()))
    }
}
