use crate::bundle::Bundle;
use crate::disclosure;
use crate::permit::{Denial, Permit};
use crate::refusal::{self, because_of_class};
use crate::suspension::Suspensions;
use crate::view::View;
use cedar_policy::{Authorizer, Decision, Entities, EntityId, EntityUid, Request, Response};
use firebreak_domain::{
    AgreementId, ColumnName, DatasetId, Identity, Operation, PurposeId, ReasonCode, Recipient, RecipientClass, Refusal,
    Timestamp,
};
use std::collections::BTreeSet;

/// What a caller wants, as far as policy cares.
///
/// It has no `Debug`: agreement and purpose are what a caller typed.
#[derive(Clone)]
pub struct Question {
    /// Who asks. An adapter passes the identity whose signature it verified, or, unsigned, the gateway's claim.
    pub principal: Identity,
    /// What is to be done.
    pub operation: Operation,
    /// The agreement invoked.
    pub agreement: AgreementId,
    /// The purpose stated.
    pub purpose: PurposeId,
    /// Who receives. The caller's own organisation always counts as well, and so does the receiver of a match.
    pub recipients: Vec<Recipient>,
    /// The datasets and columns touched. Those that a match touches by its terms are added by the decision.
    pub datasets: Vec<DatasetAccess>,
    /// What would leave.
    pub output: OutputKind,
    /// Whether the datasets are two agencies' and joined on the person, so that nobody learns a match. The match key of
    /// the agreement's terms is added by the decision.
    pub joined: bool,
    /// Whether the caller's own signature over the request was verified.
    pub signed: bool,
}

/// A question that names an agreement, a purpose or a recipient as nothing can be named. It has no permit, ever.
///
/// `None` stands for such a name: what was typed in its place is not kept.
#[derive(Clone)]
pub struct Misnamed {
    /// As in [`Question`].
    pub principal: Identity,
    /// As in [`Question`].
    pub operation: Operation,
    /// The agreement invoked.
    pub agreement: Option<AgreementId>,
    /// The purpose stated.
    pub purpose: Option<PurposeId>,
    /// Who receives, beside the caller's own organisation.
    pub recipient: Option<Recipient>,
    /// As in [`Question`].
    pub datasets: Vec<DatasetAccess>,
    /// As in [`Question`].
    pub output: OutputKind,
    /// As in [`Question`].
    pub joined: bool,
}

/// What is decided, whether or not all of it has a name.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) principal: &'a Identity,
    pub(crate) operation: Operation,
    pub(crate) agreement: Option<&'a AgreementId>,
    pub(crate) purpose: Option<&'a PurposeId>,
    pub(crate) recipients: &'a [Recipient],
    /// Whether there is a recipient that cannot be registered, because nothing is named like that.
    pub(crate) nameless_recipient: bool,
    pub(crate) datasets: &'a [DatasetAccess],
    pub(crate) output: OutputKind,
    pub(crate) joined: bool,
    pub(crate) signed: bool,
}

impl<'a> From<&'a Question> for Asked<'a> {
    fn from(question: &'a Question) -> Self {
        Self {
            principal: &question.principal,
            operation: question.operation,
            agreement: Some(&question.agreement),
            purpose: Some(&question.purpose),
            recipients: &question.recipients,
            nameless_recipient: false,
            datasets: &question.datasets,
            output: question.output,
            joined: question.joined,
            signed: question.signed,
        }
    }
}

impl<'a> From<&'a Misnamed> for Asked<'a> {
    fn from(misnamed: &'a Misnamed) -> Self {
        Self {
            principal: &misnamed.principal,
            operation: misnamed.operation,
            agreement: misnamed.agreement.as_ref(),
            purpose: misnamed.purpose.as_ref(),
            recipients: misnamed.recipient.as_slice(),
            nameless_recipient: misnamed.recipient.is_none(),
            datasets: &misnamed.datasets,
            output: misnamed.output,
            joined: misnamed.joined,
            // It is refused for its name: that a signature is missing as well would only hide why.
            signed: true,
        }
    }
}

/// A dataset and the columns of it that a question touches.
#[derive(Clone, PartialEq, Eq)]
pub struct DatasetAccess {
    /// The dataset.
    pub dataset: DatasetId,
    /// Its columns, those of filters included.
    pub columns: BTreeSet<ColumnName>,
}

/// What would leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OutputKind {
    /// A differentially private aggregate.
    DpAggregate,
    /// A release that is published to everybody.
    PublishedRelease,
    /// Which of its own records the receiver of a match shares with the sender.
    Match,
    /// Rows that name persons.
    Identifiable,
    /// Rows about single persons under other names.
    Pseudonymous,
}

impl OutputKind {
    /// Every kind.
    pub const ALL: [Self; 5] =
        [Self::DpAggregate, Self::PublishedRelease, Self::Match, Self::Identifiable, Self::Pseudonymous];

    /// Its name in requests, policies and the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DpAggregate => "dp_aggregate",
            Self::PublishedRelease => "published_release",
            Self::Match => "match",
            Self::Identifiable => "identifiable",
            Self::Pseudonymous => "pseudonymous",
        }
    }
}

impl Bundle {
    /// Decides a question. The gateway and the adapter each do, and neither believes the other.
    ///
    /// `now` is never earlier than the latest time already seen durably.
    ///
    /// # Errors
    /// A [`Denial`], whose refusal names the reason, the policies that decided and how to contest.
    #[expect(clippy::result_large_err, reason = "a denial is used up at once, and is as ordinary as a permit")]
    pub fn decide(&self, question: &Question, suspensions: &Suspensions, now: Timestamp) -> Result<Permit, Denial> {
        let view = View::of(self, question.into());
        match self.judge(&view, suspensions, now) {
            Ok((agreement, policies)) => {
                let contracts = view.contracts().cloned().collect();
                Ok(Permit::grant(question.clone(), agreement, contracts, policies, view.facts()))
            }
            Err(refusal) => Err(denial(&view, refusal)),
        }
    }

    /// Why a question is refused that names something as nothing can be named: as if it named what does not exist.
    #[must_use]
    pub fn refuse(&self, misnamed: &Misnamed, suspensions: &Suspensions, now: Timestamp) -> Denial {
        let view = View::of(self, misnamed.into());
        // SECURITY: there is no way from here to a permit, whatever the policies say.
        let refusal = self.judge(&view, suspensions, now).err().unwrap_or(Refusal::new(ReasonCode::NotPermitted));
        denial(&view, refusal)
    }

    fn judge(&self, view: &View<'_>, suspensions: &Suspensions, now: Timestamp) -> Result<Granted, Refusal> {
        let Some(request) = self.request(view, suspensions, now) else {
            return Err(Refusal::new(ReasonCode::PolicyError));
        };
        let response = Authorizer::new().is_authorized(&request, &self.content.policies, &Entities::empty());
        let policies = decisive(&response);
        if response.decision() == Decision::Deny && !policies.is_empty() {
            return Err(refusal::from_policies(self, view, &policies));
        }
        // SECURITY: a policy that errs is skipped by the evaluator; what it would have forbidden is not known.
        if response.diagnostics().errors().next().is_some() {
            return Err(Refusal::new(ReasonCode::PolicyError));
        }
        if response.decision() == Decision::Deny {
            return Err(Refusal::new(ReasonCode::NotPermitted));
        }
        // SECURITY: this stands a second time, in plain Rust, whatever any policy or the evaluator says.
        if view.worst_class() == RecipientClass::Enforcement && view.asked.output != OutputKind::PublishedRelease {
            return Err(because_of_class(view));
        }
        disclosure::check(view)?;
        // No permit is given outside an agreement and contracts, even if every policy were silent.
        let agreement = view.agreement.ok_or(Refusal::new(ReasonCode::NoAgreement))?;
        if view.accesses.iter().any(|a| a.contract.is_none()) {
            return Err(Refusal::new(ReasonCode::DatasetNotCovered));
        }
        Ok((agreement.clone(), policies))
    }

    fn request(&self, view: &View<'_>, suspensions: &Suspensions, now: Timestamp) -> Option<Request> {
        let kinds = self.constitution.kinds();
        let uid = |kind: &cedar_policy::EntityTypeName, name: &str| {
            EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(name))
        };
        let principal = uid(&kinds.organisation, view.asked.principal.org.as_str());
        let action = uid(&kinds.action, operation_name(view.asked.operation));
        let resource = uid(&kinds.agreement, view.asked.agreement.map_or("", AgreementId::as_str));
        let context = view.to_facts(suspensions, now).into_context()?;
        Request::new(principal, action, resource, context, Some(self.constitution.schema())).ok()
    }
}

fn denial(view: &View<'_>, refusal: Refusal) -> Denial {
    let contest = view.agreement.map(|a| a.contest.clone());
    Denial { refusal: Refusal { contest, ..refusal }, facts: view.facts() }
}

type Granted = (std::sync::Arc<firebreak_domain::Agreement>, Vec<String>);

/// The operation's name in policies.
pub(crate) const fn operation_name(operation: Operation) -> &'static str {
    match operation {
        Operation::Aggregate => "aggregate",
        Operation::Match => "match",
        Operation::Export => "export",
        Operation::Publish => "publish",
        Operation::Disclose => "disclose",
    }
}

/// The policies that decided, sorted: those that permit where it is allowed, those that forbid where it is not.
fn decisive(response: &Response) -> Vec<String> {
    let ids: BTreeSet<String> = response.diagnostics().reason().map(ToString::to_string).collect();
    ids.into_iter().collect()
}

#[cfg(test)]
mod join_tests;
#[cfg(test)]
mod tests;
