//! Releases by their names.

use super::{AcceptedQuery, App, Asked, Failure, Held, Unanswered};
use firebreak_domain::{Identity, OrgId, ReasonCode, Refusal, ReleaseName};
use firebreak_node::{CitedRelease, DecidedQuery, StoredQuestion, SubmittedQuery, decide_query, foresee_query};
use firebreak_policy::Denial;
use firebreak_privacy::Released;
use firebreak_query::{AggregateQuery, CheckedQuery, NotRolledUp, Reads};
use firebreak_store::{AnsweredQuestion, StoredRelease};
use std::sync::Arc;

/// A stored release that its caller may have.
pub(in crate::app) struct FoundRelease {
    pub(in crate::app) decided: DecidedQuery,
    pub(in crate::app) stored: StoredRelease,
}

/// How a request is decided.
#[derive(Debug, Clone, Copy)]
pub(in crate::app) enum By {
    /// As it was sent, signature and all.
    Signature,
    /// As if its caller had signed it just now: nothing is answered by it, or it was signed before.
    Foresight,
}

impl App {
    /// Decides and pays for a stored release that is asked for by its name: as a repeat of the question that it
    /// answers.
    ///
    /// # Errors
    /// [`Unanswered`]: `UNKNOWN_RELEASE` for one that does not exist and for one that the caller may not ask for.
    pub async fn accept_release(&self, asked: &Asked, caller: &Identity) -> Result<AcceptedQuery, Unanswered> {
        let submitted = &asked.submitted;
        let decided = match self.find_release(submitted, submitted.release, caller, By::Signature).await? {
            Ok(found) => found.decided,
            Err(denial) => return Err(self.refuse(denial, Some(&submitted.intent(caller))).await),
        };
        let roll_up = match self.added_up(submitted, &decided, caller) {
            Ok(roll_up) => roll_up,
            Err(denial) => return Err(self.refuse(denial, Some(&submitted.intent(caller))).await),
        };
        let accepted = AcceptedQuery { roll_up, ..self.pay(decided, caller, false).await? };
        match accepted.first.held {
            Held::Own(_) | Held::Repeat(_) => Ok(accepted),
            // Nobody takes a stored release away. If somebody did, nothing is asked of the agency in its place.
            Held::Reservation(reservation) => {
                self.state.abandon(reservation).await?;
                Err(Failure::Answer("a stored release that is gone").into())
            }
        }
    }

    /// The question to which the release is to be added up, if that is asked for: decided as the release's own is, of
    /// the same cut, and within what the release holds.
    #[expect(clippy::result_large_err, reason = "a denial is used up at once, and is as ordinary as a permit")]
    fn added_up(
        &self,
        submitted: &SubmittedQuery,
        release: &DecidedQuery,
        caller: &Identity,
    ) -> Result<Option<CheckedQuery>, Denial> {
        let Some(question) = &submitted.roll_up else { return Ok(None) };
        let cut = question.cut.clone().or_else(|| Some(release.query.cut().clone()));
        let coarser =
            self.decide_by(&submitted.asking(AggregateQuery { cut, ..question.clone() }), caller, By::Signature)?;
        // A release is of one agency's data: what is asked over several cannot come out of it.
        let found = match &coarser.logical {
            None => release.query.rolls_up_to(&coarser.query),
            Some(_) => Err(NotRolledUp::OtherData),
        };
        match found {
            Ok(()) => Ok(Some(coarser.query)),
            Err(error) => {
                let contest = Some(coarser.permit.agreement().contest.clone());
                let refusal = Refusal::new(ReasonCode::NotInRelease).because(error.to_string());
                let refusal = refusal.instead("ask the question itself, at its price: firebreak query");
                Err(Denial { refusal: Refusal { contest, ..refusal }, facts: coarser.permit.facts().clone() })
            }
        }
    }

    /// What a citation says of a release that the caller may ask for. Charges and records nothing.
    ///
    /// # Errors
    /// A refusal; a failure of the state.
    pub async fn cite_release(
        &self,
        submitted: &SubmittedQuery,
        caller: &Identity,
    ) -> Result<Result<CitedRelease, Refusal>, Failure> {
        let found = match self.find_release(submitted, submitted.release, caller, By::Foresight).await? {
            Ok(found) => found,
            Err(denial) => return Ok(Err(denial.refusal)),
        };
        let cited = self.citation(&found)?;
        let published = self.state.published_at(&cited.name).await?;
        let address = published.map(|row| self.address(&row)).unwrap_or_default();
        Ok(Ok(CitedRelease { address, ..cited }))
    }

    /// The citation of a release, without an address.
    pub(in crate::app) fn citation(&self, found: &FoundRelease) -> Result<CitedRelease, Failure> {
        let FoundRelease { decided, stored } = found;
        let of = |reads: &Reads| decided.permit.contract(&reads.dataset).map(Arc::clone);
        let contracts: Option<Vec<_>> = decided.query.reads().iter().map(of).collect();
        let contracts = contracts.ok_or(Failure::Answer("a permit without its contract"))?;
        let released = Released::decode(&stored.bytes).map_err(|_| Failure::Answer("a stored answer"))?;
        Ok(CitedRelease {
            name: ReleaseName::of(&stored.bytes),
            released: stored.stored_at,
            agency: self.title(decided.query.agency()),
            contracts,
            cut: decided.query.cut().clone(),
            mechanism: released.mechanism(),
            address: String::new(),
        })
    }

    /// The registered title of an organisation; its id where it has none.
    fn title(&self, org: &OrgId) -> String {
        let bundle = self.policy.accepted();
        let title = bundle.as_ref().and_then(|b| b.registry().organisation(org)).map(|o| o.title.clone());
        title.filter(|title| !title.is_empty()).unwrap_or_else(|| org.to_string())
    }

    #[expect(clippy::result_large_err, reason = "a denial is used up at once, and is as ordinary as a permit")]
    fn decide_by(&self, submitted: &SubmittedQuery, caller: &Identity, by: By) -> Result<DecidedQuery, Denial> {
        let now = self.state.now();
        match by {
            By::Signature => decide_query(submitted, caller, &self.policy, &self.trust, now),
            By::Foresight => foresee_query(submitted, caller, &self.policy, now),
        }
    }

    /// The release of that name, if the caller may ask its question, at the price and with the meaning under which
    /// it was measured.
    ///
    /// SECURITY: whatever speaks against the question gives the denial of a release that does not exist, which is made
    /// before anything is looked up.
    pub(in crate::app) async fn find_release(
        &self,
        submitted: &SubmittedQuery,
        name: Option<ReleaseName>,
        caller: &Identity,
        by: By,
    ) -> Result<Result<FoundRelease, Denial>, Failure> {
        // A question that is not known is never permitted.
        let Err(denial) = self.decide_by(submitted, caller, by) else {
            return Err(Failure::Answer("an answer to no question"));
        };
        let unknown = [ReasonCode::UnknownRelease, ReasonCode::UnknownPublication].contains(&denial.refusal.reason);
        let Some(name) = name.filter(|_| unknown) else {
            return Ok(Err(denial));
        };
        let Some(AnsweredQuestion { release, question }) = self.state.answered(&name).await? else {
            return Ok(Err(denial));
        };
        let question = StoredQuestion::decode(&question).ok_or(Failure::Answer("a stored question"))?;
        match self.decide_by(&submitted.asking(question), caller, by) {
            Ok(decided)
                if decided.price.release_key() == release.release_key
                    && self.check_open(&decided.permit, &decided.query).is_ok() =>
            {
                Ok(Ok(FoundRelease { decided, stored: release }))
            }
            Ok(_) | Err(_) => Ok(Err(denial)),
        }
    }
}
