//! Releases on their way to everybody.

mod left_out;

use super::query::{By, FoundRelease};
use super::{App, Failure, Unanswered};
use firebreak_audit::LeafKind;
use firebreak_domain::{
    Charge, Identity, Intent, OrgId, PublicationId, PublicationStep, ReasonCode, Refusal, SeriesId, Timestamp,
};
use firebreak_node::{
    Content, Evidence, PublicationContent, SubmittedQuery, permit_publication, publication_payload, published_figures,
};
use firebreak_policy::{DecisionFacts, Denial};
use firebreak_privacy::Released;
use firebreak_store::{LeafHash, NewPublication, PublicationStage, StepTaken, StoredPublication};
use left_out::LEFT_OUT_WITHHELD;
use sha2::{Digest, Sha256};

/// The longest embargo, in seconds: five years.
const LONGEST_EMBARGO: i64 = 5 * 366 * 86_400;

/// A publication as somebody may see it.
pub struct ShownPublication {
    /// As it is stored.
    pub stored: StoredPublication,
    /// What it shows: [`published_figures`].
    pub figures: Vec<u8>,
    /// Whether a later revision has taken its place.
    pub revised: bool,
}

/// A step that was taken.
pub struct TakenStep {
    /// The publication after it.
    pub publication: ShownPublication,
    /// Evidence of the step; none where it had been taken before.
    pub receipt: Option<String>,
}

/// A step that its caller may take.
struct Permitted<'a> {
    found: FoundRelease,
    /// Of what everybody will see.
    facts: DecisionFacts,
    submitted: &'a SubmittedQuery,
    caller: &'a Identity,
    intent: &'a Intent,
}

impl App {
    /// Decides a step of a publication and takes it: stored with its leaf, the leaf in the log, then answered.
    ///
    /// # Errors
    /// [`Unanswered`]: `UNKNOWN_RELEASE` and `UNKNOWN_PUBLICATION` for what does not exist and for what is not the
    /// caller's to see; `PUBLICATION_STEP`.
    pub async fn take_step(
        &self,
        submitted: &SubmittedQuery,
        step: &PublicationStep,
        caller: &Identity,
    ) -> Result<TakenStep, Unanswered> {
        let _alone = self.publishing.lock().await;
        let (now, intent) = (self.state.now(), submitted.intent(caller));
        let stored = match step.publication() {
            Some(id) => self.state.publication(&id).await?.filter(|stored| stored.organisation == caller.org),
            None => None,
        };
        let release = match step {
            PublicationStep::Draft { release, .. } => Some(*release),
            _ => stored.as_ref().map(|stored| stored.release),
        };
        let found = match self.find_release(submitted, release, caller, By::Signature).await? {
            Ok(found) => found,
            Err(denial) => return Err(self.refuse(denial, Some(&intent)).await),
        };
        let facts = match permit_publication(&found.decided.permit, &self.policy, now) {
            Ok(facts) => facts,
            Err(denial) => return Err(self.refuse(denial, Some(&intent)).await),
        };
        if let Err(refusal) = self.check_ledger() {
            return Err(self.refuse(denied(&found, refusal), Some(&intent)).await);
        }
        let permitted = Permitted { found, facts, submitted, caller, intent: &intent };
        let taken = match (step, stored) {
            (PublicationStep::Draft { series, revises, .. }, _) => self.draft(&permitted, series, *revises).await?,
            (PublicationStep::Embargo { until, .. }, Some(stored)) => {
                if *until <= now || *until > now.plus_secs(LONGEST_EMBARGO) {
                    Err("an embargo ends at a time ahead, within five years")
                } else {
                    self.prepare(&permitted, stored, PublicationStage::Embargoed(*until)).await?
                }
            }
            (PublicationStep::Withdraw { .. }, Some(stored)) => {
                self.prepare(&permitted, stored, PublicationStage::Withdrawn).await?
            }
            (PublicationStep::Publish { .. }, Some(stored)) => self.publish_now(&permitted, stored).await?,
            (_, None) => return Err(Failure::Answer("a step of no publication").into()),
        };
        match taken {
            Ok(taken) => Ok(taken),
            Err(why) => {
                let refusal = Refusal::new(ReasonCode::PublicationStep).because(why);
                Err(self.refuse(denied(&permitted.found, refusal), Some(&intent)).await)
            }
        }
    }

    async fn draft(
        &self,
        permitted: &Permitted<'_>,
        series: &SeriesId,
        revises: bool,
    ) -> Result<Result<TakenStep, &'static str>, Failure> {
        let Permitted { found, caller, intent, .. } = permitted;
        let id = publication_id(caller, intent);
        if let Some(before) = self.state.publication(&id).await? {
            if before.digest != intent.digest() {
                return Ok(Err("the request id was used for another draft: send this one under a new id"));
            }
            return Ok(Ok(TakenStep { publication: self.shown(before).await?, receipt: None }));
        }
        let newest = self.state.open_revision(&caller.org, series, None).await?;
        match &newest {
            None if revises => return Ok(Err("the series has published nothing yet: draft its first publication")),
            Some(_) if !revises => return Ok(Err("the series has published already: draft a revision")),
            Some(newest) if newest.datasets != found.decided.query.datasets() => {
                return Ok(Err("a series is of the same datasets throughout: begin another series"));
            }
            _ => {}
        }
        let released = Released::decode(&found.stored.bytes).map_err(|_| Failure::Answer("a stored answer"))?;
        let answer = released.answer(&found.decided.query).map_err(|_| Failure::Answer("a stored answer"))?;
        let cited = self.citation(found)?;
        let release = cited.name;
        let left_out = self.left_out_to_publish(permitted).await?;
        let figures = published_figures(&found.decided.query, &found.decided.price, &answer, left_out, cited);
        let evidence = self.prepared(permitted)?;
        let new = NewPublication {
            id,
            digest: intent.digest(),
            organisation: caller.org.clone(),
            series: series.clone(),
            datasets: found.decided.query.datasets(),
            release,
            revises,
            content: permitted.content(figures).encode(),
        };
        match self.state.draft_publication(new, evidence.new_leaf()).await? {
            StepTaken::No => Ok(Err("the request id was used for another draft: send this one under a new id")),
            StepTaken::Now(leaf) => Ok(Ok(self.after(&id, leaf, evidence).await?)),
        }
    }

    /// Moves what is not published yet.
    async fn prepare(
        &self,
        permitted: &Permitted<'_>,
        stored: StoredPublication,
        stage: PublicationStage,
    ) -> Result<Result<TakenStep, &'static str>, Failure> {
        if stored.stage == stage {
            return Ok(Ok(TakenStep { publication: self.shown(stored).await?, receipt: None }));
        }
        if !matches!(stored.stage, PublicationStage::Draft | PublicationStage::Embargoed(_)) {
            return Ok(Err("it is published or withdrawn"));
        }
        // What was given up is not kept.
        let figures = match stage {
            PublicationStage::Withdrawn => Vec::new(),
            _ => content(&stored)?.figures,
        };
        let evidence = self.prepared(permitted)?;
        let content = permitted.content(figures).encode();
        match self.state.prepare_publication(&stored, stage, &content, evidence.new_leaf()).await? {
            StepTaken::No => Ok(Err("it is published or withdrawn")),
            StepTaken::Now(leaf) => Ok(Ok(self.after(&stored.id, leaf, evidence).await?)),
        }
    }

    async fn publish_now(
        &self,
        permitted: &Permitted<'_>,
        stored: StoredPublication,
    ) -> Result<Result<TakenStep, &'static str>, Failure> {
        match stored.stage {
            PublicationStage::Published => {
                return Ok(Ok(TakenStep { publication: self.shown(stored).await?, receipt: None }));
            }
            PublicationStage::Withdrawn => return Ok(Err("it is withdrawn")),
            PublicationStage::Embargoed(_) => {
                return Ok(Err("it lies under an embargo, at whose end it is published: set another time"));
            }
            PublicationStage::Draft => {}
        }
        let figures = content(&stored)?.figures;
        if !self.may_publish_left_out(permitted.submitted, permitted.caller, &figures).await? {
            return Ok(Err(LEFT_OUT_WITHHELD));
        }
        match self.publish(&stored, &permitted.facts, &figures, &permitted.intent.signing_bytes()).await? {
            None => Ok(Err(MEANWHILE)),
            Some(receipt) => {
                let published = self.state.publication(&stored.id).await?.ok_or(GONE)?;
                Ok(Ok(TakenStep { publication: self.shown(published).await?, receipt: Some(receipt) }))
            }
        }
    }

    /// Publishes as the next revision, if that is what it is to be. Gives the receipt that everybody gets.
    async fn publish(
        &self,
        stored: &StoredPublication,
        facts: &DecisionFacts,
        figures: &[u8],
        request: &[u8],
    ) -> Result<Option<String>, Failure> {
        let revision = self.state.next_revision(&stored.organisation, &stored.series).await?;
        if stored.revises != (revision > 1) {
            return Ok(None);
        }
        let StoredPublication { organisation, series, release, .. } = stored;
        let payload = publication_payload(organisation, series, revision, release, figures);
        let content = Content::of_publication(&payload, request);
        let none = Charge::default();
        let evidence = self.recorder.record(LeafKind::Published, facts, None, none, content, &self.state)?;
        match self.state.publish(stored, revision, &evidence.encode(), evidence.new_leaf()).await? {
            StepTaken::No => Ok(None),
            StepTaken::Now(leaf) => self.show_to_everybody(&stored.id, leaf, evidence).await.map(Some),
        }
    }

    /// Puts the leaf into the log; only then everybody sees what it tells of.
    // INVARIANT: nothing is public whose leaf is not in the log.
    async fn show_to_everybody(
        &self,
        id: &PublicationId,
        leaf: LeafHash,
        evidence: Evidence,
    ) -> Result<String, Failure> {
        let receipt = self.logged(leaf, evidence).await?;
        self.state.open_publication(id, &receipt).await?;
        tracing::info!(outcome = "published", "request");
        metrics::counter!("firebreak_publications_total").increment(1);
        Ok(receipt)
    }

    async fn logged(&self, leaf: LeafHash, evidence: Evidence) -> Result<String, Failure> {
        let index = self.log.append(evidence.entry()).await?;
        self.state.confirm(&[(leaf, index)]).await?;
        Ok(self.log.receipt(evidence).await?)
    }

    async fn after(&self, id: &PublicationId, leaf: LeafHash, evidence: Evidence) -> Result<TakenStep, Failure> {
        let receipt = Some(self.logged(leaf, evidence).await?);
        let stored = self.state.publication(id).await?.ok_or(GONE)?;
        Ok(TakenStep { publication: self.shown(stored).await?, receipt })
    }

    fn prepared(&self, permitted: &Permitted<'_>) -> Result<Evidence, Failure> {
        let content = Content::of_request(Some(permitted.intent));
        let sequence = permitted.facts.bundle_sequence;
        Ok(self.recorder.record_unnamed(LeafKind::PublicationPrepared, sequence, content, &self.state)?)
    }

    /// Opens what was published when the program ended before its receipt was stored.
    pub(super) async fn open_published(&self) -> Result<(), Failure> {
        for stored in self.state.unopened_publications().await? {
            let Some(evidence) = stored.published.as_ref().and_then(|p| Evidence::decode(&p.evidence)) else {
                return Err(Failure::Answer("evidence of a publication"));
            };
            let leaf = LeafHash::of(evidence.leaf.as_bytes());
            self.show_to_everybody(&stored.id, leaf, evidence).await?;
        }
        Ok(())
    }

    /// Opens what waits for it, and publishes what lies under an embargo whose time has come, if it may be published
    /// by then. What may not goes back to its draft, with evidence of why. While no policy is in force, it waits.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn lift_embargoes(&self) -> Result<(), Failure> {
        let _alone = self.publishing.lock().await;
        self.open_published().await?;
        let now = self.state.now();
        // Between two bundles nothing can be decided: it is when the next one is there.
        let in_force = self.policy.accepted().is_some_and(|bundle| bundle.in_force(now));
        if !in_force || self.check_ledger().is_err() {
            return Ok(());
        }
        // SECURITY: read while nobody else takes a step: what was just given more time, or up, is not among them.
        for stored in self.state.due_publications(now).await? {
            // One that cannot be read or decided keeps no other from its end.
            if let Err(failure) = self.lift(&stored, now).await {
                tracing::error!(error_kind = %failure, "an embargo could not be ended");
            }
        }
        Ok(())
    }

    async fn lift(&self, stored: &StoredPublication, now: Timestamp) -> Result<(), Failure> {
        let PublicationStage::Embargoed(until) = stored.stage else { return Ok(()) };
        let content = content(stored)?;
        let step = PublicationStep::Embargo { publication: stored.id, until };
        let denial = match self.foresee_step(stored, &content, step, &content.principal, now).await? {
            Ok((_, facts)) => match self.publish(stored, &facts, &content.figures, &content.request).await? {
                Some(_) => return Ok(()),
                None => Denial { refusal: Refusal::new(ReasonCode::PublicationStep).because(MEANWHILE), facts },
            },
            Err(denial) => denial,
        };
        self.record_refusal(&denial, None).await?;
        let back = Content::of_publication("", &content.request);
        let sequence = denial.facts.bundle_sequence;
        let kind = LeafKind::PublicationPrepared;
        let evidence = self.recorder.record_unnamed(kind, sequence, back, &self.state)?;
        let (draft, bytes) = (PublicationStage::Draft, content.encode());
        if let StepTaken::Now(leaf) = self.state.prepare_publication(stored, draft, &bytes, evidence.new_leaf()).await?
        {
            self.logged(leaf, evidence).await?;
        }
        Ok(())
    }

    /// What would be decided of a step, under the agreement and purpose of the last one, if `who` signed it.
    async fn foresee_step(
        &self,
        stored: &StoredPublication,
        content: &PublicationContent,
        step: PublicationStep,
        who: &Identity,
        now: Timestamp,
    ) -> Result<Result<(FoundRelease, DecisionFacts), Denial>, Failure> {
        let (agreement, purpose) = (content.agreement.clone(), content.purpose.clone());
        let submitted = SubmittedQuery::foreseen_publication(agreement, purpose, step, now);
        let found = match self.find_release(&submitted, Some(stored.release), who, By::Foresight).await? {
            Ok(found) => found,
            Err(denial) => return Ok(Err(denial)),
        };
        let facts = match permit_publication(&found.decided.permit, &self.policy, now) {
            Ok(facts) => facts,
            Err(denial) => return Ok(Err(denial)),
        };
        if !self.may_publish_left_out(&submitted, who, &content.figures).await? {
            let refusal = Refusal::new(ReasonCode::PublicationStep).because(LEFT_OUT_WITHHELD);
            return Ok(Err(denied(&found, refusal)));
        }
        Ok(Ok((found, facts)))
    }

    /// A publication that everybody sees: that revision of a series, or the newest.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn open_revision(
        &self,
        organisation: &OrgId,
        series: &SeriesId,
        revision: Option<u32>,
    ) -> Result<Option<ShownPublication>, Failure> {
        match self.state.open_revision(organisation, series, revision).await? {
            Some(stored) => self.vouched(self.shown(stored).await?).map(Some),
            None => Ok(None),
        }
    }

    /// All that everybody sees, by organisation, series and revision.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn open_publications(&self) -> Result<Vec<ShownPublication>, Failure> {
        let mut shown: Vec<ShownPublication> = Vec::new();
        for stored in self.state.publications().await? {
            let figures = content(&stored)?.figures;
            let one = match self.vouched(ShownPublication { stored, figures, revised: false }) {
                Ok(one) => one,
                // One that an insider wrote keeps none of the others from their readers.
                Err(failure) => {
                    tracing::error!(error_kind = %failure, "a publication is not shown");
                    continue;
                }
            };
            if let Some(before) = shown.last_mut() {
                let (earlier, later) = (&before.stored, &one.stored);
                before.revised = (&earlier.organisation, &earlier.series) == (&later.organisation, &later.series);
            }
            shown.push(one);
        }
        Ok(shown)
    }

    /// The drafts and embargoed publications of the caller's organisation that the caller may publish.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn own_publications(&self, caller: &Identity) -> Result<Vec<ShownPublication>, Failure> {
        let mut shown = Vec::new();
        for stored in self.state.hidden_publications(&caller.org).await? {
            if self.may_see(&stored, caller).await? {
                shown.push(self.shown(stored).await?);
            }
        }
        Ok(shown)
    }

    /// A publication by its id: one that is public, or of the caller's organisation that the caller may publish.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn publication_by_id(
        &self,
        id: &PublicationId,
        caller: &Identity,
    ) -> Result<Option<ShownPublication>, Failure> {
        let Some(stored) = self.state.publication(id).await? else { return Ok(None) };
        if let Some(published) = &stored.published {
            return self.open_revision(&stored.organisation, &stored.series, Some(published.revision)).await;
        }
        let hidden = matches!(stored.stage, PublicationStage::Draft | PublicationStage::Embargoed(_));
        if hidden && self.may_see(&stored, caller).await? { Ok(Some(self.shown(stored).await?)) } else { Ok(None) }
    }

    /// Where a published publication is: an address, or its path where no address is configured.
    #[must_use]
    pub fn address(&self, stored: &StoredPublication) -> String {
        let Some(published) = &stored.published else { return String::new() };
        let StoredPublication { organisation, series, .. } = stored;
        format!("{}/publications/{organisation}/{series}/{}", self.public_url, published.revision)
    }

    // SECURITY: who no longer may publish it, or whose organisation is enforcement by now, sees it no longer either.
    async fn may_see(&self, stored: &StoredPublication, caller: &Identity) -> Result<bool, Failure> {
        if stored.organisation != caller.org {
            return Ok(false);
        }
        let (content, step) = (content(stored)?, PublicationStep::Publish { publication: stored.id });
        Ok(self.foresee_step(stored, &content, step, caller, self.state.now()).await?.is_ok())
    }

    async fn shown(&self, stored: StoredPublication) -> Result<ShownPublication, Failure> {
        let newest = self.state.open_revision(&stored.organisation, &stored.series, None).await?;
        let revision = |stored: &StoredPublication| stored.published.as_ref().map(|p| p.revision);
        let revised = match (revision(&stored), newest.as_ref().and_then(revision)) {
            (Some(own), Some(newest)) => own < newest,
            _ => false,
        };
        let figures = content(&stored)?.figures;
        Ok(ShownPublication { stored, figures, revised })
    }

    /// The publication, if a leaf in the log commits to what it shows at that place.
    // SECURITY: a row that says `published` shows nothing by itself.
    fn vouched(&self, shown: ShownPublication) -> Result<ShownPublication, Failure> {
        const OTHERWISE: Failure = Failure::Answer("a publication that the log does not have");
        let StoredPublication { organisation, series, release, published, .. } = &shown.stored;
        let published = published.as_ref().ok_or(OTHERWISE)?;
        let evidence = Evidence::decode(&published.evidence).ok_or(OTHERWISE)?;
        let payload = publication_payload(organisation, series, published.revision, release, &shown.figures);
        let (leaf, known) = (evidence.leaf.leaf(), self.log.index_of(&evidence.leaf).is_some());
        let own = leaf.signer_org == *self.recorder.organisation() && leaf.kind == LeafKind::Published;
        if known && own && evidence.opening.payload == payload.as_bytes() { Ok(shown) } else { Err(OTHERWISE) }
    }
}

const GONE: Failure = Failure::Answer("a publication that is gone");
const MEANWHILE: &str = "the series has published meanwhile, or not what is to be revised: draft it anew";

impl Permitted<'_> {
    fn content(&self, figures: Vec<u8>) -> PublicationContent {
        PublicationContent {
            principal: self.caller.clone(),
            agreement: self.intent.agreement.clone(),
            purpose: self.intent.purpose.clone(),
            request: self.intent.signing_bytes(),
            figures,
        }
    }
}

fn content(stored: &StoredPublication) -> Result<PublicationContent, Failure> {
    PublicationContent::decode(&stored.content).ok_or(Failure::Answer("a stored publication"))
}

fn denied(found: &FoundRelease, refusal: Refusal) -> Denial {
    let permit = &found.decided.permit;
    let contest = Some(permit.agreement().contest.clone());
    Denial { refusal: Refusal { contest, ..refusal }, facts: permit.facts().clone() }
}

/// The name of the publication that a request drafts: the same for the request sent again, and for no other.
fn publication_id(caller: &Identity, intent: &Intent) -> PublicationId {
    let hash = Sha256::new()
        .chain_update(b"firebreak publication id format 1\n")
        .chain_update(intent.request_id.as_bytes())
        .chain_update(caller.to_string());
    let hash: [u8; 32] = hash.finalize().into();
    let mut id = [0; 16];
    id.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
    PublicationId::from_bytes(id)
}
