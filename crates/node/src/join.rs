//! Decides a question over the join of two agencies' datasets, of which nobody learns a single match.

use crate::decide::{permit, restricted};
use crate::submitted::SubmittedQuery;
use crate::{Caller, PolicyInForce, accounts_of};
use firebreak_domain::{
    Charge, Contract, Identity, Intent, JoinSide, JoinTerms, LegalBasis, OrgId, Pin, ReasonCode, Refusal, Timestamp,
};
use firebreak_policy::{Bundle, DecisionFacts, Denial, Permit, Question, ceilings};
use firebreak_privacy::join::{JoinPrice, JoinTakers, join_price};
use firebreak_query::{CheckedJoin, check_join};
use firebreak_store::AccountLimit;
use firebreak_transport::TrustAnchor;
use std::sync::Arc;

/// A question over a join that is permitted, checked and priced.
pub struct DecidedJoin {
    /// Leave to answer it.
    pub permit: Permit,
    /// The question against both contracts.
    pub join: CheckedJoin,
    /// Its price, for the persons of either register.
    pub price: JoinPrice,
    /// What the caller signed.
    pub intent: Intent,
    /// Who asks.
    pub caller: Caller,
    /// The agency of the left dataset.
    pub left: DecidedSide,
    /// The agency of the right one.
    pub right: DecidedSide,
    /// What both sides cost together.
    pub cost: Charge,
}

/// One agency of a decided join.
pub struct DecidedSide {
    /// The contract of its dataset, whole: with the match key, which no question reads.
    pub contract: Arc<Contract>,
    /// The key that is pinned for it, by which the other side knows it.
    pub pin: Pin,
    /// Who pays: the persons of its register, and the agreement, the caller and their organisation once more.
    pub accounts: Vec<AccountLimit>,
}

impl DecidedJoin {
    /// One side.
    #[must_use]
    pub const fn side(&self, side: JoinSide) -> &DecidedSide {
        match side {
            JoinSide::Left => &self.left,
            JoinSide::Right => &self.right,
        }
    }

    /// The side that an agency answers for.
    ///
    /// # Errors
    /// A denial to whoever has neither dataset.
    #[expect(clippy::result_large_err, reason = "a denial is used up at once, and is as ordinary as a permit")]
    pub fn side_of(&self, agency: &OrgId) -> Result<JoinSide, Denial> {
        // SECURITY: whoever carries the request chooses whom it is brought to, and not whose data are read.
        self.join.side_of(agency).map(firebreak_query::CheckedSide::side).ok_or_else(|| {
            let refusal = Refusal::new(ReasonCode::DatasetNotCovered).because("other agencies serve it");
            denial(&self.permit, refusal)
        })
    }

    /// The join as it was permitted, to be decided again for as long as it runs.
    #[must_use]
    pub fn standing(&self) -> StandingJoin {
        StandingJoin {
            question: self.permit.question().clone(),
            terms: self.join.terms().clone(),
            contracts: self.permit.contracts().to_vec(),
            pins: [self.left.pin, self.right.pin],
            facts: self.permit.facts().clone(),
        }
    }
}

/// Decides a request for a statistic over a join: signature, policy, contracts and terms, price, in this order.
///
/// Reads the bundle alone: no account, no data.
///
/// # Errors
/// A denial: the refusal, and the facts for the log. Of a question that is no join, one that says so.
#[expect(clippy::result_large_err, reason = "a denial is used up at once, and is as ordinary as a permit")]
pub fn decide_join(
    submitted: &SubmittedQuery,
    claimed: &Identity,
    policy: &PolicyInForce,
    trust: &TrustAnchor,
    now: Timestamp,
) -> Result<DecidedJoin, Denial> {
    decide(submitted, claimed, submitted.authenticate(claimed, trust, now), policy, now)
}

/// What [`decide_join`] would say if the caller signed: what a question would cost, for a caller who is at the other end
/// of the connection.
///
/// # Errors
/// As there.
#[expect(clippy::result_large_err, reason = "a denial is used up at once, and is as ordinary as a permit")]
pub fn foresee_join(
    submitted: &SubmittedQuery,
    caller: &Identity,
    policy: &PolicyInForce,
    now: Timestamp,
) -> Result<DecidedJoin, Denial> {
    decide(submitted, caller, Ok(Caller { identity: caller.clone(), signed: true }), policy, now)
}

#[expect(clippy::result_large_err, reason = "a denial is used up at once, and is as ordinary as a permit")]
fn decide(
    submitted: &SubmittedQuery,
    claimed: &Identity,
    authenticated: Result<Caller, Refusal>,
    policy: &PolicyInForce,
    now: Timestamp,
) -> Result<DecidedJoin, Denial> {
    let (permit, caller, bundle) = permit(submitted, claimed, authenticated, policy, now)?;
    let priced = match &submitted.query {
        Ok(query) if submitted.is_join() => priced(query, &permit),
        Ok(_) => Err(Refusal::new(ReasonCode::JoinAsked).because("the question joins no two agencies' datasets")),
        Err(unread) => Err(unread.clone()),
    };
    let sided = priced.and_then(|(join, price)| {
        let side = |side: JoinSide| decided_side(&permit, join.terms(), side, &bundle, &caller.identity, now);
        let (left, right) = (side(JoinSide::Left)?, side(JoinSide::Right)?);
        let cost = price.charge().plus(price.charge()).map_err(|_| Refusal::new(ReasonCode::LossCeiling))?;
        Ok((join, price, left, right, cost))
    });
    let (join, price, left, right, cost) = sided.map_err(|refusal| denial(&permit, refusal))?;
    Ok(DecidedJoin { permit, join, price, intent: submitted.intent(claimed), caller, left, right, cost })
}

fn priced(query: &firebreak_query::AggregateQuery, permit: &Permit) -> Result<(CheckedJoin, JoinPrice), Refusal> {
    let agreement = permit.agreement();
    // SECURITY: the constitution says so too. Without it no theorem stands behind the answer.
    let terms = agreement.join.as_ref().filter(|terms| terms.semi_honest_join && permit.question().joined);
    let terms = terms.ok_or_else(|| Refusal::new(ReasonCode::OperationNotCovered))?;
    let contracts: Vec<Contract> = permit.contracts().iter().map(|contract| restricted(contract, agreement)).collect();
    let join = check_join(query, &contracts, terms)?;
    let takers = JoinTakers {
        purpose: permit.question().purpose.clone(),
        by_consent: permit.facts().legal_basis == Some(LegalBasis::Consent),
    };
    let price =
        join_price(&join, takers).map_err(|error| Refusal::new(ReasonCode::LossCeiling).because(error.to_string()))?;
    let (charge, most) = (price.charge(), agreement.budget.rho_per_query_max.min(ceilings::RHO_PER_QUERY));
    // PRIVACY: of the answer, somebody in both registers moves one count by one, and so loses the price once. That both
    // registers' accounts are charged covers what the gateway sees beside it (`docs/JOIN_PRIVACY.md`).
    if charge.rho > most || charge.delta > ceilings::DELTA_PER_QUERY {
        let what = format!("a join under this agreement may cost a rho of up to {most}");
        return Err(Refusal::new(ReasonCode::LossCeiling).because(what));
    }
    Ok((join, price))
}

fn decided_side(
    permit: &Permit,
    terms: &JoinTerms,
    side: JoinSide,
    bundle: &Bundle,
    caller: &Identity,
    now: Timestamp,
) -> Result<DecidedSide, Refusal> {
    let contract = permit.contract(terms.dataset(side)).ok_or(Refusal::new(ReasonCode::DatasetNotCovered))?;
    let pin = pin_of(bundle, &contract.agency).ok_or_else(|| {
        let what = format!("{} has no pinned key, by which the other side of a join would know it", contract.agency);
        Refusal::new(ReasonCode::SessionMismatch).because(what)
    })?;
    let accounts = accounts_of(permit.agreement(), contract, caller, now);
    Ok(DecidedSide { contract: Arc::clone(contract), pin, accounts })
}

fn denial(permit: &Permit, refusal: Refusal) -> Denial {
    let contest = Some(permit.agreement().contest.clone());
    Denial { refusal: Refusal { contest, ..refusal }, facts: permit.facts().clone() }
}

fn pin_of(bundle: &Bundle, org: &OrgId) -> Option<Pin> {
    bundle.registry().organisation(org).and_then(|o| o.pin)
}

/// A join that was permitted, to be decided again for as long as it runs: a permit is of one moment.
pub struct StandingJoin {
    question: Question,
    terms: JoinTerms,
    contracts: Vec<Arc<Contract>>,
    /// Left and right.
    pins: [Pin; 2],
    facts: DecisionFacts,
}

impl StandingJoin {
    /// The terms agreed.
    #[must_use]
    pub const fn terms(&self) -> &JoinTerms {
        &self.terms
    }

    /// The key that is pinned for a side: the one that counts for as long as the join stands.
    #[must_use]
    pub const fn pin(&self, side: JoinSide) -> Pin {
        let [left, right] = self.pins;
        match side {
            JoinSide::Left => left,
            JoinSide::Right => right,
        }
    }

    /// What the log may say of the join, as it was permitted.
    #[must_use]
    pub const fn facts(&self) -> &DecisionFacts {
        &self.facts
    }

    /// Decides again, by the bundle in force at `now`: the same question, on the same terms, contracts and keys. The
    /// signature on the request has been seen to and may be older by now than requests live.
    ///
    /// # Errors
    /// A denial: the join ends.
    #[expect(clippy::result_large_err, reason = "a denial is used up at once, and is as ordinary as a permit")]
    pub fn check(&self, policy: &PolicyInForce, now: Timestamp) -> Result<(), Denial> {
        let bundle = policy.bundle().map_err(|refusal| Denial { refusal, facts: self.facts.clone() })?;
        let permit = bundle.decide(&self.question, &policy.suspensions(), now)?;
        let pinned = |side: JoinSide| {
            let contract = permit.contract(self.terms.dataset(side))?;
            pin_of(&bundle, &contract.agency)
        };
        let same = permit.agreement().join.as_ref() == Some(&self.terms)
            && permit.contracts() == self.contracts.as_slice()
            && JoinSide::BOTH.into_iter().all(|side| pinned(side) == Some(self.pin(side)));
        if same {
            return Ok(());
        }
        let refusal = Refusal::new(ReasonCode::SessionMismatch)
            .because("the agreement's terms, a contract or a pinned key are no longer those that the join began with");
        Err(denial(&permit, refusal))
    }
}

#[cfg(test)]
mod tests;
