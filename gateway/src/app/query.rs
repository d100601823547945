mod join;
mod left_out;
mod parts;
mod release;
mod run_join;

pub use join::ValidatedJoin;
pub use left_out::LeftOut;
pub(in crate::app) use release::{By, FoundRelease};
pub use run_join::AcceptedJoin;

use super::agencies::{AgencyRefusal, AgencyRelease, Asked};
use super::{App, Failure, Unanswered};
use firebreak_audit::LeafKind;
use firebreak_domain::{AgreementId, CapStanding, Charge, Identity, Intent, OrgId, ReasonCode, Refusal, Rho};
use firebreak_node::{
    Content, DecidedPart, DecidedQuery, Evidence, SubmittedQuery, account_name, decide_query, exhausted, foresee_query,
    is_release_payload, is_request_payload, release_name,
};
use firebreak_policy::{DecisionFacts, Denial, ceilings};
use firebreak_privacy::{Answer, Price, Released, answer_together, rho_for_half_width};
use firebreak_query::{AggregateQuery, Bins, Canonical, CheckedQuery, LogicalDataset, Part, counts_and_sums, to_sql};
use firebreak_store::{
    AccountLimit, Claim, LeafHash, OwnRelease, Reservation, ReserveError, Reserved, Settled, StoredRelease,
};
use futures::future::join_all;
use parts::{Accepting, PartEnd, claim, part_of, unavailable};
use std::iter;
use std::sync::Arc;

/// A request that is permitted and paid for, here.
pub struct AcceptedQuery {
    /// The price of all that is asked.
    pub cost: Charge,
    /// The logical dataset that is asked, if it is one.
    pub logical: Option<LogicalDataset>,
    first: HeldPart,
    others: Vec<HeldPart>,
    /// Parts that their agencies have closed, each with why.
    missing: Vec<(Part, String)>,
    facts: DecisionFacts,
    contest: String,
    accounts: Vec<AccountLimit>,
    caller: Identity,
    intent: Intent,
    roll_up: Option<CheckedQuery>,
}

impl AcceptedQuery {
    /// The question that is measured; over a logical dataset, that over the first of its parts.
    pub const fn query(&self) -> &CheckedQuery {
        &self.first.query
    }

    /// The question that is answered: another one than was measured, where a release is added up.
    #[must_use]
    pub fn answered(&self) -> &CheckedQuery {
        self.roll_up.as_ref().unwrap_or(self.query())
    }

    /// Its price; over a logical dataset, that of each part.
    pub const fn price(&self) -> &Price {
        &self.first.price
    }
}

/// What one agency answers of a question, and by what right: all of it, or its part of one over a logical dataset.
struct HeldPart {
    query: CheckedQuery,
    price: Price,
    held: Held,
}

enum Held {
    /// To be measured.
    Reservation(Reservation),
    /// The release that this very request was answered with, given again.
    Own(OwnRelease),
    /// What another request was answered.
    Repeat(StoredRelease),
}

impl From<Reserved> for Held {
    fn from(reserved: Reserved) -> Self {
        match reserved {
            Reserved::Fresh(reservation) | Reserved::Resumed(reservation) => Self::Reservation(reservation),
            Reserved::Stored(own) => Self::Own(own),
            Reserved::Repeat(stored) => Self::Repeat(stored),
        }
    }
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
    /// The name of the release; of several, theirs in the order of the parts with a plus sign between them.
    pub release_id: String,
    /// Evidence of it, as text; of several, that of each behind that of the one before.
    pub receipt: String,
    /// The accounts after it.
    pub left: Vec<Budget>,
    /// Whether the figures are added up from the release.
    pub rolled_up: bool,
    /// Over a logical dataset, the parts that the figures are put together from, each with the name of its release.
    pub parts: Vec<(Part, String)>,
    /// The parts that are missing, each with why, in words.
    pub missing: Vec<(Part, String)>,
    /// Whether figures count a person once in each of several registers.
    pub registrations: bool,
    /// Whether they are of two agencies' join, in which each person has one row.
    pub joined: bool,
    /// Of a join that adds a value up, the value's bins.
    pub bins: Option<Bins>,
    /// What bounding leaves out of each cut that was read.
    pub left_out: Vec<LeftOut>,
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

/// What a caller may know of what an agreement allows.
pub struct Budgets {
    /// The agreement.
    pub agreement: AgreementId,
    /// The caller's accounts; none where it permits no aggregates.
    pub accounts: Vec<Budget>,
    /// How the caps of its match stand; none where it permits none.
    pub caps: Vec<CapStanding>,
}

/// What a question would cost.
pub struct Validated {
    /// The form of it that is signed.
    pub canonical: Canonical,
    /// The question.
    pub query: CheckedQuery,
    /// Its price; over a logical dataset, that of each part.
    pub price: Price,
    /// The price of all that is asked.
    pub cost: Charge,
    /// The logical dataset that is asked, if it is one.
    pub logical: Option<LogicalDataset>,
    /// The loss that it is priced at; over a logical dataset, that each part is.
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
        let partial = asked.submitted.query.as_ref().is_ok_and(|query| query.partial);
        self.pay(decided, caller, partial).await
    }

    /// Pays for what was decided, or finds its release; in a `partial` answer for what no agency has closed.
    async fn pay(&self, decided: DecidedQuery, caller: &Identity, partial: bool) -> Result<AcceptedQuery, Unanswered> {
        let facts = decided.permit.facts().clone();
        let contest = decided.permit.agreement().contest.clone();
        let denial = |refusal: Refusal| {
            let contest = Some(contest.clone());
            Denial { refusal: Refusal { contest, ..refusal }, facts: facts.clone() }
        };
        let DecidedQuery { permit, query, price, intent, accounts, cost, logical, others, .. } = decided;
        if let Err(refusal) = self.check_ledger() {
            return Err(self.refuse(denial(refusal), Some(&intent)).await);
        }
        let (mut parts, mut missing, mut closed) = (Vec::new(), Vec::new(), None);
        for (at, part) in iter::once(DecidedPart { query, price, accounts }).chain(others).enumerate() {
            match self.check_open(&permit, &part.query) {
                Ok(()) => parts.push((at, part)),
                Err(refusal) => {
                    let (part, reason) = (part_of(&part.query), refusal.reason);
                    let why = format!("{} refuses ({reason}): {}", part.agency, reason.rule());
                    let named = if logical.is_some() { refusal.because(part.dataset.to_string()) } else { refusal };
                    closed.get_or_insert(named);
                    missing.push((part, why));
                }
            }
        }
        if let Some(refusal) = closed.filter(|_| parts.is_empty() || !partial) {
            return Err(self.refuse(denial(refusal), Some(&intent)).await);
        }
        let claims: Vec<Claim> = parts.iter().map(|(at, part)| claim(*at, part, &intent, caller)).collect();
        let reserved = match self.reserve(&claims).await {
            Ok(reserved) => reserved,
            Err(ReserveError::Exhausted { account, left }) => {
                return Err(self.refuse(denial(exhausted(account, left)), Some(&intent)).await);
            }
            Err(error @ (ReserveError::RequestIdReused | ReserveError::RequestChanged | ReserveError::OtherYear)) => {
                return Err(self.refuse(denial(request_changed(error)), Some(&intent)).await);
            }
            Err(ReserveError::NoAccount) => return Err(Failure::Answer("no account bears the loss").into()),
            Err(ReserveError::Store(error)) => return Err(error.into()),
        };
        let mut accounts: Vec<AccountLimit> = Vec::new();
        let mut held = Vec::with_capacity(parts.len());
        for ((_, part), reserved) in parts.into_iter().zip(reserved) {
            let DecidedPart { query, price, accounts: of_part } = part;
            let new: Vec<_> = of_part.into_iter().filter(|account| !accounts.contains(account)).collect();
            accounts.extend(new);
            held.push(HeldPart { query, price, held: reserved.into() });
        }
        // A request sent again after its contract changed has numbers that mean something else by now, and one sent
        // again after the agreement's price changed was measured at another.
        let answers: Vec<bool> = held.iter().map(HeldPart::still_answers).collect::<Result<_, _>>()?;
        if answers.contains(&false) {
            self.give_back(held).await?;
            let refusal = request_changed(ReserveError::RequestChanged);
            return Err(self.refuse(denial(refusal), Some(&intent)).await);
        }
        let mut held = held.into_iter();
        let first = held.next().ok_or(Failure::Answer("a question without a part"))?;
        let (others, caller) = (held.collect(), caller.clone());
        let roll_up = None;
        Ok(AcceptedQuery { cost, logical, first, others, missing, facts, contest, accounts, caller, intent, roll_up })
    }

    /// Has the agencies answer, or takes the stored releases; then puts the evidence into the log.
    ///
    /// What an agency answers is stored whatever becomes of the others: the same request, sent again, has it from
    /// there.
    ///
    /// # Errors
    /// [`Unanswered`]. What was charged stays charged unless the agency was never asked or refused.
    pub async fn finish(&self, accepted: AcceptedQuery, asked: &Asked) -> Result<Finished, Unanswered> {
        let AcceptedQuery {
            logical,
            first,
            others,
            mut missing,
            facts,
            contest,
            accounts,
            caller,
            intent,
            roll_up,
            ..
        } = accepted;
        let request = Accepting { asked, caller: &caller, facts: &facts, intent: &intent, contest: &contest };
        let parts = iter::once(first).chain(others);
        let ends = join_all(parts.map(|part| self.finish_part(part, &request, logical.is_some()))).await;
        let (mut answered, mut refused) = (Vec::new(), None);
        for end in ends {
            match end? {
                PartEnd::Refused { part, why, refused: by_agency } => {
                    missing.push((part, why));
                    refused.get_or_insert(by_agency);
                }
                PartEnd::Given(query, given) => answered.push((query, given)),
                PartEnd::Missing(part, why) => missing.push((part, why)),
            }
        }
        let partial = asked.submitted.query.as_ref().is_ok_and(|query| query.partial);
        if let Some(refused) = refused.filter(|_| answered.is_empty() || !partial) {
            return Err(*refused);
        }
        if !missing.is_empty() && (answered.is_empty() || !partial) {
            let refusal = unavailable(&missing, !answered.is_empty());
            let denial = Denial { refusal: Refusal { contest: Some(contest), ..refusal }, facts };
            return Err(self.refuse(denial, Some(&intent)).await);
        }
        let decoded = |(_, given): &(_, Given)| Released::decode(&given.release);
        let released: Result<Vec<Released>, _> = answered.iter().map(decoded).collect();
        let released = released.map_err(|_| Failure::Answer("a stored answer"))?;
        let together: Vec<_> = answered.iter().map(|(query, _)| query.as_ref()).zip(&released).collect();
        let answer = match (&roll_up, together.as_slice()) {
            (None, together) => answer_together(together),
            (Some(coarser), [(query, released)]) => released.roll_up(query, coarser),
            // A release has a name of its own, and is one.
            (Some(_), _) => return Err(Failure::Answer("a roll-up of several releases").into()),
        };
        let answer = answer.map_err(|_| Failure::Answer("the release is of another question"))?;
        let answer = if missing.is_empty() { answer } else { answer.provisional() };
        let names: Vec<String> = answered.iter().map(|(_, given)| release_name(&given.release)).collect();
        let counts = |query: &CheckedQuery| query.outputs().iter().any(|output| query.counts_persons(output));
        let registers = logical.as_ref().filter(|logical| !logical.disjoint_registers);
        let registrations = registers.is_some() && answered.iter().any(|(query, _)| counts(query));
        let left_out =
            self.left_out(&asked.submitted, &caller, answered.iter().map(|(query, _)| query.as_ref())).await?;
        let parts = answered.iter().map(|(query, _)| part_of(query)).zip(names.iter().cloned());
        Ok(Finished {
            answer,
            release_id: names.join("+"),
            receipt: answered.iter().map(|(_, given)| given.receipt.as_str()).collect(),
            left: self.budgets(&accounts),
            parts: if logical.is_some() { parts.collect() } else { Vec::new() },
            missing,
            registrations,
            rolled_up: roll_up.is_some(),
            joined: false,
            bins: None,
            left_out,
        })
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

    /// What a question would cost, or the least that it would cost with 95 % intervals of ± `half_width` at most, where
    /// their width does not depend on what is released. Reads contracts, policy and accounts; charges and records
    /// nothing.
    ///
    /// # Errors
    /// A refusal.
    pub fn validate(
        &self,
        submitted: &SubmittedQuery,
        caller: &Identity,
        half_width: Option<f64>,
    ) -> Result<Validated, Refusal> {
        let now = self.state.now();
        let foresee = |submitted: &SubmittedQuery| {
            foresee_query(submitted, caller, &self.policy, now).map_err(|denial| denial.refusal)
        };
        let mut submitted = submitted.clone();
        let mut decided = foresee(&submitted)?;
        if let Some(half_width) = half_width {
            let Some(rho) = price_of_half_width(&decided, half_width)? else {
                submitted.query = submitted.query.map(|query| counts_and_sums(&query));
                let nearest = foresee(&submitted).and(submitted.query);
                let nearest = nearest.map_or_else(|_| COUNTS_AND_SUMS.to_owned(), |query| to_sql(&query));
                return Err(Refusal::new(ReasonCode::MalformedRequest).because(NO_WIDTH).instead(nearest));
            };
            submitted.query = submitted.query.map(|query| AggregateQuery { rho: Some(rho), ..query });
            decided = foresee(&submitted)?;
        }
        let canonical = submitted.query?.canonical();
        let DecidedQuery { permit, query, price, accounts, cost, logical, others, .. } = decided;
        let rho = query.rho().unwrap_or(permit.agreement().budget.rho_per_query);
        let of_others = others.iter().map(|part| (&part.accounts, part.price.charge()));
        let affordable = self.affordable(iter::once((&accounts, price.charge())).chain(of_others))?;
        Ok(Validated { canonical, query, price, cost, logical, rho, affordable })
    }

    /// Whether the accounts of all parts of a question could pay it now. One that stands in several pays for each.
    fn affordable<'a>(&self, parts: impl Iterator<Item = (&'a Vec<AccountLimit>, Charge)>) -> Result<bool, Refusal> {
        let mut due: Vec<(AccountLimit, Charge)> = Vec::new();
        for (accounts, charge) in parts {
            for account in accounts {
                match due.iter_mut().find(|(known, _)| known == account) {
                    Some((_, sum)) => *sum = sum.plus(charge).map_err(|_| Refusal::new(ReasonCode::LossCeiling))?,
                    None => due.push((account.clone(), charge)),
                }
            }
        }
        let charged: Vec<AccountLimit> = due.iter().map(|(account, _)| account.clone()).collect();
        let payable = |(budget, (_, due)): (&Budget, &(AccountLimit, Charge))| {
            budget.spent.plus(*due).is_ok_and(|sum| sum.within(&budget.limit))
        };
        Ok(self.budgets(&charged).iter().zip(&due).all(payable))
    }

    /// The caller's accounts under an agreement that it takes part in, and how the caps of the agreement's match stand.
    ///
    /// # Errors
    /// `NO_AGREEMENT`.
    pub async fn budget(&self, caller: &Identity, agreement: &str) -> Result<Budgets, Refusal> {
        let unknown = || Refusal::new(ReasonCode::NoAgreement);
        let id = AgreementId::new(agreement).map_err(|_| unknown())?;
        let bundle = self.policy.bundle()?;
        let now = self.state.now();
        let mut accounts: Vec<AccountLimit> = Vec::new();
        for dataset in &bundle.visible_datasets(&caller.org, now) {
            let Some(agreement) = dataset.agreements.iter().find(|a| a.id == id) else { continue };
            let of_dataset = firebreak_node::accounts_of(agreement, &dataset.contract, caller, now);
            let new: Vec<_> = of_dataset.into_iter().filter(|account| !accounts.contains(account)).collect();
            accounts.extend(new);
        }
        let matching = bundle.visible_match(&caller.org, &id, now);
        if accounts.is_empty() && matching.is_none() {
            return Err(unknown());
        }
        let caps = match matching {
            Some(matching) => self.caps(caller, &id, &matching).await,
            None => Vec::new(),
        };
        Ok(Budgets { agreement: id, accounts: self.budgets(&accounts), caps })
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
    if *released.query_digest() != query.canonical().digest() || released.charge() != about.charge {
        return Err(Failure::Answer("the agency answered another question"));
    }
    released.check(query).map_err(|_| Failure::OtherContract)?;
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

const NO_WIDTH: &str = "the question has no count or sum: how wide the intervals of ratios, means and deviations are \
                        depends on what is released, and quantiles are off in rank";
const COUNTS_AND_SUMS: &str = "ask what it is made of, each count and sum as an output of its own";

/// The least loss at which the 95 % intervals of a question's counts and sums are ± `half_width` at most; `None` of a
/// question that has none.
fn price_of_half_width(decided: &DecidedQuery, half_width: f64) -> Result<Option<Rho>, Refusal> {
    if !(half_width.is_finite() && half_width > 0.0) {
        return Err(Refusal::new(ReasonCode::MalformedRequest).because("a half-width is a number above 0"));
    }
    let query = &decided.query;
    if query.linear_error(&vec![1.0; query.vectors().count()]).is_none() {
        return Ok(None);
    }
    let agreement = decided.permit.agreement();
    // Parts have noise of one size: that of their sum is its root of their number times as large.
    let parts = 1 + decided.others.len();
    let most = agreement.budget.rho_per_query_max.min(ceilings::RHO_PER_QUERY);
    let most = Rho::from_nano(most.nano() / parts as u64);
    let of_part = half_width / (parts as f64).sqrt();
    rho_for_half_width(query, agreement.mechanism, of_part, most).map(Some).ok_or_else(|| {
        let what = format!("no rho up to {most} gives intervals as narrow as that");
        Refusal::new(ReasonCode::LossCeiling).because(what).instead(format!("ask at rho = {most}"))
    })
}

fn request_changed(error: ReserveError) -> Refusal {
    Refusal::new(ReasonCode::RequestIdReused).because(error.to_string())
}
