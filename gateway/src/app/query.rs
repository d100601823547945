mod release;

pub(in crate::app) use release::{By, FoundRelease};

use super::agencies::{AgencyAnswer, AgencyError, AgencyRefusal, AgencyRelease, Asked};
use super::{App, Failure, Unanswered};
use firebreak_audit::LeafKind;
use firebreak_domain::{AgreementId, Charge, Identity, Intent, OrgId, ReasonCode, Refusal, Rho};
use firebreak_node::{
    Content, DecidedQuery, Evidence, StoredQuestion, SubmittedQuery, account_name, decide_query, exhausted,
    foresee_query, is_release_payload, is_request_payload, release_name,
};
use firebreak_policy::{DecisionFacts, Denial, ceilings};
use firebreak_privacy::{Answer, Price, Released, rho_for_error};
use firebreak_query::{AggregateQuery, Canonical, CheckedQuery};
use firebreak_store::{
    Abandoned, AccountLimit, LeafHash, OwnRelease, RequestKey, Reservation, ReserveError, Reserved, Settled,
    StoredRelease,
};
use std::sync::Arc;

/// A request that is permitted and paid for, here.
pub struct AcceptedQuery {
    /// The question that is paid for.
    pub query: CheckedQuery,
    /// Its price.
    pub price: Price,
    agency: OrgId,
    facts: DecisionFacts,
    contest: String,
    accounts: Vec<AccountLimit>,
    caller: Identity,
    intent: Intent,
    held: Held,
    roll_up: Option<CheckedQuery>,
}

impl AcceptedQuery {
    /// The question that is answered: another one than was measured, where a release is added up.
    #[must_use]
    pub fn answered(&self) -> &CheckedQuery {
        self.roll_up.as_ref().unwrap_or(&self.query)
    }
}

enum Held {
    /// To be measured.
    Reservation(Reservation),
    /// The release that this very request was answered with, given again.
    Own(OwnRelease),
    /// What another request was answered.
    Repeat(StoredRelease),
}

/// Numbers that a request is given, and its own evidence of them, as text.
struct Given {
    release: Arc<[u8]>,
    receipt: String,
}

/// What evidence of an answer tells of.
struct About<'a> {
    facts: &'a DecisionFacts,
    intent: &'a Intent,
    exported: bool,
    charge: Charge,
}

/// An answer, ready to leave.
pub struct Finished {
    /// The figures.
    pub answer: Answer,
    /// The name of the release.
    pub release_id: String,
    /// Evidence of it, as text.
    pub receipt: String,
    /// The accounts after it.
    pub left: Vec<Budget>,
    /// Whether the figures are added up from the release.
    pub rolled_up: bool,
}

/// An account as its owner sees it.
pub struct Budget {
    /// Of what.
    pub of: String,
    /// All that may be spent.
    pub limit: Charge,
    /// What is spent.
    pub spent: Charge,
}

/// What a question would cost.
pub struct Validated {
    /// The form of it that is signed.
    pub canonical: Canonical,
    /// The question.
    pub query: CheckedQuery,
    /// Its price.
    pub price: Price,
    /// The loss that it is priced at.
    pub rho: Rho,
    /// Whether the accounts could pay it now.
    pub affordable: bool,
}

impl App {
    /// Decides, prices and pays.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn accept(&self, asked: &Asked, caller: &Identity) -> Result<AcceptedQuery, Unanswered> {
        let now = self.state.now();
        let decided = match decide_query(&asked.submitted, caller, &self.policy, &self.trust, now) {
            Ok(decided) => decided,
            Err(denial) => return Err(self.refuse(denial, Some(&asked.submitted.intent(caller))).await),
        };
        self.pay(decided, caller).await
    }

    /// Pays for what was decided, or finds its release.
    async fn pay(&self, decided: DecidedQuery, caller: &Identity) -> Result<AcceptedQuery, Unanswered> {
        let facts = decided.permit.facts().clone();
        let contest = decided.permit.agreement().contest.clone();
        let denial = |refusal: Refusal| {
            let contest = Some(contest.clone());
            Denial { refusal: Refusal { contest, ..refusal }, facts: facts.clone() }
        };
        let DecidedQuery { query, price, intent, accounts, .. } = decided;
        if let Err(refusal) = self.check_ledger() {
            return Err(self.refuse(denial(refusal), Some(&intent)).await);
        }
        let request =
            RequestKey { principal: caller.to_string(), request_id: intent.request_id, digest: intent.digest() };
        let held = match self.state.reserve(&request, &price.release_key(), price.charge(), &accounts).await {
            Ok(Reserved::Fresh(reservation) | Reserved::Resumed(reservation)) => Held::Reservation(reservation),
            Ok(Reserved::Stored(own)) => Held::Own(own),
            Ok(Reserved::Repeat(stored)) => Held::Repeat(stored),
            Err(ReserveError::Exhausted { account, left }) => {
                return Err(self.refuse(denial(exhausted(account, left)), Some(&intent)).await);
            }
            Err(error @ (ReserveError::RequestIdReused | ReserveError::RequestChanged)) => {
                return Err(self.refuse(denial(request_changed(error)), Some(&intent)).await);
            }
            Err(ReserveError::NoAccount) => return Err(Failure::Answer("no account bears the loss").into()),
            Err(ReserveError::Store(error)) => return Err(error.into()),
        };
        if let Held::Own(OwnRelease { release, .. }) | Held::Repeat(release) = &held {
            // A request sent again after its contract changed has numbers that mean something else by now, and one sent
            // again after the agreement's price changed was measured at another.
            let released = Released::decode(&release.bytes).map_err(|_| Failure::Answer("a stored answer"))?;
            if released.check(&query).is_err() || released.charge() != price.charge() {
                let refusal = request_changed(ReserveError::RequestChanged);
                return Err(self.refuse(denial(refusal), Some(&intent)).await);
            }
        }
        let agency = query.agency().clone();
        let caller = caller.clone();
        Ok(AcceptedQuery { query, price, agency, facts, contest, accounts, caller, intent, held, roll_up: None })
    }

    /// Has the agency answer, or takes the stored release; then puts the evidence into the log.
    ///
    /// # Errors
    /// [`Unanswered`]. What was charged stays charged unless the agency was never asked or refused.
    pub async fn finish(&self, accepted: AcceptedQuery, asked: &Asked) -> Result<Finished, Unanswered> {
        let AcceptedQuery { query, agency, facts, contest, accounts, caller, intent, price, held, roll_up } = accepted;
        let exported = asked.submitted.export.is_some();
        let about = About { facts: &facts, intent: &intent, exported, charge: price.charge() };
        let given = match held {
            Held::Own(own) => self.give_own(own, &about).await?,
            Held::Repeat(stored) => self.give_repeat(&stored, &about).await?,
            Held::Reservation(reservation) => match self.agencies.execute(&agency, &caller, asked).await {
                Ok(AgencyAnswer::Released(release)) => {
                    check_release(&release, &query, &about)?;
                    let question = asked.submitted.query.as_ref().map(|asked| StoredQuestion::encode(asked, &query));
                    let question = question.map_err(|_| Failure::Answer("an answer to no question"))?;
                    self.store(reservation, release, &about, &question).await?
                }
                Ok(AgencyAnswer::Refused(refused)) => {
                    // Nothing was measured: the agency says so under its own signature.
                    self.state.abandon(reservation).await?;
                    return Err(self.refused_by_agency(refused, &agency, &intent, contest).await);
                }
                Err(AgencyError::NotConnected) => {
                    let kept = self.state.abandon(reservation).await?;
                    let detail = match kept {
                        Abandoned::Refunded => format!("{agency} is not connected; nothing was charged"),
                        Abandoned::Kept => {
                            format!("{agency} is not connected; a retry under the same request id costs nothing more")
                        }
                    };
                    let refusal = Refusal::new(ReasonCode::AgencyUnavailable).because(detail);
                    let contest = Some(contest);
                    let denial = Denial { refusal: Refusal { contest, ..refusal }, facts };
                    return Err(self.refuse(denial, Some(&intent)).await);
                }
                Err(AgencyError::Lost | AgencyError::Unreadable) => {
                    reservation.mark_executing();
                    return Err(Failure::Agency.into());
                }
            },
        };
        let Given { release, receipt } = given;
        let released = Released::decode(&release).map_err(|_| Failure::Answer("a stored answer"))?;
        let answer = match &roll_up {
            None => released.answer(&query),
            Some(coarser) => released.roll_up(&query, coarser),
        };
        let answer = answer.map_err(|_| Failure::Answer("the release is of another question"))?;
        let left = self.budgets(&accounts);
        Ok(Finished { answer, release_id: release_name(&release), receipt, left, rolled_up: roll_up.is_some() })
    }

    /// This very request's release again, with its first receipt.
    async fn give_own(&self, own: OwnRelease, about: &About<'_>) -> Result<Given, Failure> {
        let first = Evidence::decode(&own.evidence).ok_or(Failure::Answer("stored evidence"))?;
        let again = self.given_again(&own.release, about)?;
        self.log.append(again.entry()).await?;
        Ok(Given { release: own.release.bytes, receipt: self.log.receipt(first).await? })
    }

    /// What another request was answered, with a receipt of this one.
    // PRIVACY: the opening of a release holds what its first caller signed.
    async fn give_repeat(&self, stored: &StoredRelease, about: &About<'_>) -> Result<Given, Failure> {
        let receipt = self.log.receipt(self.given_again(stored, about)?).await?;
        Ok(Given { release: Arc::clone(&stored.bytes), receipt })
    }

    /// Evidence that a stored release was given again.
    fn given_again(&self, stored: &StoredRelease, about: &About<'_>) -> Result<Evidence, Failure> {
        let content = Content::of_release(about.intent, &stored.bytes);
        let kind = if about.exported { LeafKind::Export } else { LeafKind::StoredRelease };
        Ok(self.recorder.record(kind, about.facts, None, Charge::default(), content, &self.state)?)
    }

    async fn store(
        &self,
        reservation: Reservation,
        release: AgencyRelease,
        about: &About<'_>,
        question: &[u8],
    ) -> Result<Given, Unanswered> {
        let AgencyRelease { release, evidence: theirs } = release;
        let content = Content::of_release(about.intent, &release);
        let kind = if about.exported { LeafKind::Export } else { LeafKind::Release };
        let own = self.recorder.record(kind, about.facts, None, about.charge, content, &self.state)?;
        // The agency's leaf goes through the gateway's own outbox: a crash before the log has it loses nothing.
        self.state.record_leaf(theirs.new_leaf()).await?;
        let evidence = theirs.encode();
        let settled = self.state.settle_asked(reservation, &release, &evidence, own.new_leaf(), question).await?;
        let their_hash = LeafHash::of(theirs.leaf.as_bytes());
        if !matches!(settled, Settled::Now(_)) {
            // The leaf made above tells of a release that was not stored, and goes nowhere. The agency's tells of what
            // the agency did.
            let index = self.log.append(theirs.entry()).await?;
            self.state.confirm(&[(their_hash, index)]).await?;
        }
        match settled {
            Settled::Now(stored) => {
                let own_hash = LeafHash::of(own.leaf.as_bytes());
                let (own, index) = tokio::join!(self.log.append(own.entry()), self.log.append(theirs.entry()));
                self.state.confirm(&[(own_hash, own?), (their_hash, index?)]).await?;
                let receipt = self.log.receipt(theirs).await?;
                Ok(Given { release: stored.bytes, receipt })
            }
            Settled::Stored(own) => Ok(self.give_own(own, about).await?),
            // Another request was first. What this one was charged stays charged.
            Settled::Repeat(stored) => Ok(self.give_repeat(&stored, about).await?),
        }
    }

    pub(crate) async fn refused_by_agency(
        &self,
        refused: AgencyRefusal,
        agency: &OrgId,
        intent: &Intent,
        contest: String,
    ) -> Unanswered {
        let Evidence { leaf, opening, .. } = &refused.evidence;
        let of_refusal = leaf.leaf().kind == LeafKind::Refusal && leaf.leaf().signer_org == *agency;
        // PRIVACY: the opening goes to the caller. An agency's slip hands out nobody else's request.
        if !of_refusal || !is_request_payload(&opening.payload, intent) {
            return Failure::Answer("the agency's evidence is of something else").into();
        }
        match self.log.receipt(refused.evidence).await {
            Ok(receipt) => {
                let mut refusal = refused.refusal;
                refusal.contest.get_or_insert(contest);
                Unanswered::Refused { refusal: Box::new(refusal), receipt: Some(receipt) }
            }
            Err(error) => Unanswered::Failed(error.into()),
        }
    }

    /// What [`App::accept`] would say of this very request, signed or not, before it looks at accounts. Reads contracts
    /// and policy; charges and records nothing.
    ///
    /// # Errors
    /// A denial, for [`App::refuse`] to record where somebody meant to be answered.
    #[expect(clippy::result_large_err, reason = "a denial is used up at once, and is as ordinary as a permit")]
    pub fn foresee(&self, submitted: &SubmittedQuery, caller: &Identity) -> Result<DecidedQuery, Denial> {
        decide_query(submitted, caller, &self.policy, &self.trust, self.state.now())
    }

    /// What a question would cost, or the least that it would cost with a standard error of `error`. Reads contracts,
    /// policy and accounts; charges and records nothing.
    ///
    /// # Errors
    /// A refusal.
    pub fn validate(
        &self,
        submitted: &SubmittedQuery,
        caller: &Identity,
        error: Option<f64>,
    ) -> Result<Validated, Refusal> {
        let now = self.state.now();
        let foresee = |submitted: &SubmittedQuery| {
            foresee_query(submitted, caller, &self.policy, now).map_err(|denial| denial.refusal)
        };
        let mut submitted = submitted.clone();
        let mut decided = foresee(&submitted)?;
        if let Some(error) = error {
            let rho = price_of_error(&decided, error)?;
            submitted.query = submitted.query.map(|query| AggregateQuery { rho: Some(rho), ..query });
            decided = foresee(&submitted)?;
        }
        let canonical = submitted.query?.canonical();
        let budgets = self.budgets(&decided.accounts);
        let affordable =
            budgets.iter().all(|b| b.spent.plus(decided.price.charge()).is_ok_and(|sum| sum.within(&b.limit)));
        let rho = decided.query.rho().unwrap_or(decided.permit.agreement().budget.rho_per_query);
        Ok(Validated { canonical, query: decided.query, price: decided.price, rho, affordable })
    }

    /// The caller's accounts under an agreement that it takes part in.
    ///
    /// # Errors
    /// `NO_AGREEMENT`.
    pub fn budget(&self, caller: &Identity, agreement: &str) -> Result<Vec<Budget>, Refusal> {
        let unknown = || Refusal::new(ReasonCode::NoAgreement);
        let id = AgreementId::new(agreement).map_err(|_| unknown())?;
        let bundle = self.policy.bundle()?;
        let visible = bundle.visible_datasets(&caller.org, self.state.now());
        let mut accounts: Vec<AccountLimit> = Vec::new();
        for dataset in &visible {
            let Some(agreement) = dataset.agreements.iter().find(|a| a.id == id) else { continue };
            let of_dataset = firebreak_node::accounts_of(agreement, &dataset.contract, caller, self.state.now());
            let new: Vec<_> = of_dataset.into_iter().filter(|account| !accounts.contains(account)).collect();
            accounts.extend(new);
        }
        if accounts.is_empty() { Err(unknown()) } else { Ok(self.budgets(&accounts)) }
    }

    fn budgets(&self, accounts: &[AccountLimit]) -> Vec<Budget> {
        let kinds: Vec<_> = accounts.iter().map(|a| a.account.clone()).collect();
        let spent = self.state.balance(&kinds);
        let budget = |(account, spent): (&AccountLimit, Charge)| Budget {
            of: account_name(&account.account),
            limit: account.limit,
            spent,
        };
        accounts.iter().zip(spent).map(budget).collect()
    }
}

/// Whether the agency answered this request of this question, at this price, under its own signature.
fn check_release(release: &AgencyRelease, query: &CheckedQuery, about: &About<'_>) -> Result<(), Failure> {
    let released = Released::decode(&release.release).map_err(|_| Failure::Answer("the agency's release"))?;
    if released.check(query).is_err() || released.charge() != about.charge {
        return Err(Failure::Answer("the agency answered another question, or under another contract"));
    }
    let Evidence { leaf, opening, .. } = &release.evidence;
    let leaf = leaf.leaf();
    let of_release = matches!(leaf.kind, LeafKind::Release | LeafKind::StoredRelease);
    // PRIVACY: the opening goes to the caller. An agency's slip hands out nobody else's request.
    let of_request = is_release_payload(&opening.payload, about.intent, &release.release);
    if leaf.signer_org == *query.agency() && of_release && of_request {
        Ok(())
    } else {
        Err(Failure::Answer("the agency's evidence is of something else"))
    }
}

/// The least loss at which a question's counts and sums have that standard error.
fn price_of_error(decided: &DecidedQuery, error: f64) -> Result<Rho, Refusal> {
    let malformed = |what: &str| Err(Refusal::new(ReasonCode::MalformedRequest).because(what));
    if !(error.is_finite() && error > 0.0) {
        return malformed("a standard error is a number above 0");
    }
    let query = &decided.query;
    if query.linear_error(&vec![1.0; query.vectors().count()]).is_none() {
        return malformed(
            "the question has no count or sum: the errors of ratios, means and quantiles follow from their values",
        );
    }
    let agreement = decided.permit.agreement();
    let most = agreement.budget.rho_per_query_max.min(ceilings::RHO_PER_QUERY);
    rho_for_error(query, agreement.mechanism, error, most).ok_or_else(|| {
        let what = format!("no rho up to {most} gives so small an error");
        Refusal::new(ReasonCode::LossCeiling).because(what).instead(format!("ask at rho = {most}"))
    })
}

fn request_changed(error: ReserveError) -> Refusal {
    Refusal::new(ReasonCode::RequestIdReused).because(error.to_string())
}
