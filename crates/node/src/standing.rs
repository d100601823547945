use crate::PolicyInForce;
use firebreak_domain::{Contract, Intent, MatchTerms, OrgId, Pin, ReasonCode, Refusal, Timestamp};
use firebreak_policy::{Bundle, DecisionFacts, Denial, Permit, Question};
use std::sync::Arc;

/// A match that was permitted, to be decided again for as long as it runs.
///
/// A permit is of one moment. A match takes minutes, in which a bundle may expire, an agreement end or be withdrawn, or
/// a key be taken out: whoever takes part in it or passes it on asks again before each step.
pub struct StandingMatch {
    question: Question,
    intent: Intent,
    terms: MatchTerms,
    contracts: Vec<Arc<Contract>>,
    receiver: Pin,
    sender: Pin,
    facts: DecisionFacts,
}

impl StandingMatch {
    /// The match that `permit` lets begin upon the request `intent`, with the keys that are pinned for its two sides
    /// now.
    ///
    /// # Errors
    /// `OPERATION_NOT_COVERED` for an agreement without a match; `SESSION_MISMATCH` for a side without a pinned key.
    pub fn of(permit: &Permit, intent: Intent, policy: &PolicyInForce) -> Result<Self, Refusal> {
        let terms = permit.agreement().matching.clone().ok_or(Refusal::new(ReasonCode::OperationNotCovered))?;
        let bundle = policy.bundle()?;
        let pinned = |org: &OrgId, side: &str| {
            let refusal = || Refusal::new(ReasonCode::SessionMismatch).because(format!("the {side} has no pinned key"));
            pin_of(&bundle, org).ok_or_else(refusal)
        };
        Ok(Self {
            question: permit.question().clone(),
            intent,
            receiver: pinned(&terms.receiver, "receiver")?,
            sender: pinned(&terms.sender, "sender")?,
            contracts: permit.contracts().to_vec(),
            facts: permit.facts().clone(),
            terms,
        })
    }

    /// The terms agreed.
    #[must_use]
    pub const fn terms(&self) -> &MatchTerms {
        &self.terms
    }

    /// The request that was permitted.
    #[must_use]
    pub const fn intent(&self) -> &Intent {
        &self.intent
    }

    /// The receiver's pinned key: the one that counts for as long as the match stands.
    #[must_use]
    pub const fn receiver_pin(&self) -> Pin {
        self.receiver
    }

    /// The sender's pinned key.
    #[must_use]
    pub const fn sender_pin(&self) -> Pin {
        self.sender
    }

    /// What the log may say of the match, as it was permitted.
    #[must_use]
    pub const fn facts(&self) -> &DecisionFacts {
        &self.facts
    }

    /// Decides again, by the bundle in force at `now`: the same question, on the same terms, contracts and keys. The
    /// signature on the request has been seen to and may be older by now than requests live.
    ///
    /// # Errors
    /// A denial: the match ends.
    #[expect(clippy::result_large_err, reason = "a denial is used up at once, and is as ordinary as a permit")]
    pub fn check(&self, policy: &PolicyInForce, now: Timestamp) -> Result<(), Denial> {
        let denied = |refusal| Denial { refusal, facts: self.facts.clone() };
        let bundle = policy.bundle().map_err(denied)?;
        let permit = bundle.decide(&self.question, &policy.suspensions(), now)?;
        let same = permit.agreement().matching.as_ref() == Some(&self.terms)
            && permit.contracts() == self.contracts.as_slice()
            && pin_of(&bundle, &self.terms.receiver) == Some(self.receiver)
            && pin_of(&bundle, &self.terms.sender) == Some(self.sender);
        if same {
            return Ok(());
        }
        let refusal = Refusal::new(ReasonCode::SessionMismatch)
            .because("the agreement's terms, a contract or a pinned key are no longer those that the match began with");
        let contest = Some(permit.agreement().contest.clone());
        Err(Denial { refusal: Refusal { contest, ..refusal }, facts: permit.facts().clone() })
    }
}

fn pin_of(bundle: &Bundle, org: &OrgId) -> Option<Pin> {
    bundle.registry().organisation(org).and_then(|o| o.pin)
}
