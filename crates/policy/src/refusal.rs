use crate::bundle::Bundle;
use crate::decision::operation_name;
use crate::view::View;
use firebreak_domain::{OrgId, ReasonCode, RecipientClass, Refusal};
use std::collections::BTreeSet;

/// Which reason is given when several policies forbid: the first in this list.
// PRIVACY: what tells of an agreement stands after `NoAgreement`, what tells of a dataset after `DatasetNotCovered`.
pub(crate) const PRECEDENCE: [ReasonCode; 16] = [
    ReasonCode::EnforcementRecipient,
    ReasonCode::IdentifiableExport,
    ReasonCode::NoPolicyInForce,
    ReasonCode::NoAgreement,
    ReasonCode::Suspended,
    ReasonCode::AgreementNotInForce,
    ReasonCode::AgreementNotAssessed,
    ReasonCode::SignatureRequired,
    ReasonCode::OperationNotCovered,
    ReasonCode::PurposeNotCovered,
    ReasonCode::RecipientNotCovered,
    ReasonCode::DatasetNotCovered,
    ReasonCode::ForbiddenKind,
    ReasonCode::IdentifierColumn,
    ReasonCode::ColumnNotCovered,
    ReasonCode::NoSpecialGround,
];

/// The refusal that the forbidding policies amount to.
pub(crate) fn from_policies(bundle: &Bundle, view: &View<'_>, policies: &[String]) -> Refusal {
    let articles = bundle.constitution.articles();
    let rank = |reason: ReasonCode| PRECEDENCE.iter().position(|r| *r == reason).unwrap_or(PRECEDENCE.len());
    let fired = || policies.iter().filter_map(|id| articles.get(id));
    let Some(reason) = fired().map(|a| a.reason).min_by_key(|r| (rank(*r), *r)) else {
        let rules: Vec<_> = policies.iter().filter_map(|id| bundle.content.rules.get(id).cloned()).collect();
        return Refusal::new(ReasonCode::NotPermitted).because(rules.join("; ")).decided_by(policies.to_vec());
    };
    // Only the policies of the reason given are named: the others could tell what the caller may not see.
    let (ids, rules): (Vec<_>, BTreeSet<_>) =
        fired().filter(|a| a.reason == reason).map(|a| (a.id.clone(), a.rule.as_str())).unzip();
    if reason == ReasonCode::EnforcementRecipient {
        return because_of_class(view).decided_by(ids);
    }
    let spoken: Vec<_> = rules.into_iter().filter(|rule| *rule != reason.rule()).collect();
    let refusal = Refusal::new(reason).because(spoken.join("; ")).decided_by(ids);
    match suggestion(view, reason) {
        Some(suggestion) => refusal.instead(suggestion),
        None => refusal,
    }
}

/// Why the recipients as a whole count as enforcement: one of them is, or is not registered, or passes data on.
pub(crate) fn because_of_class(view: &View<'_>) -> Refusal {
    const INSTEAD: &str = "read the releases that are published to everybody";
    let is_enforcement = |r| view.bundle.finding(r).is_none_or(|f| f.class == RecipientClass::Enforcement);
    if view.exposed.iter().any(is_enforcement) && !view.recipients.iter().any(is_enforcement) {
        let what = "no enforcement body, and nobody who passes data on to one, takes part in a join";
        return Refusal::new(ReasonCode::EnforcementRecipient).because(what).instead(INSTEAD);
    }
    let enforcement = || view.findings().filter(|f| f.is_none_or(|f| f.class == RecipientClass::Enforcement));
    let refusal = if enforcement().flatten().any(|f| f.registered && f.path.len() <= 1) {
        Refusal::new(ReasonCode::EnforcementRecipient)
    } else if enforcement().any(|f| f.is_none_or(|f| !f.registered)) {
        Refusal::new(ReasonCode::UnregisteredRecipient)
    } else {
        let path = enforcement().flatten().map(|f| &f.path).min_by_key(|p| p.len());
        let path: Vec<_> = path.into_iter().flatten().map(OrgId::as_str).collect();
        Refusal::new(ReasonCode::OnwardTransfer).because(format!("data would go on from {}", path.join(" to ")))
    };
    refusal.instead(INSTEAD)
}

/// What would be answered. Everything named stands in an agreement that the caller takes part in.
fn suggestion(view: &View<'_>, reason: ReasonCode) -> Option<String> {
    let agreement = view.agreement;
    match reason {
        ReasonCode::IdentifiableExport => Some(
            "ask for an aggregate (dp_aggregate), or, to know which of your own records another agency holds, \
             for a match under an agreement that permits one"
                .to_owned(),
        ),
        ReasonCode::PurposeNotCovered => {
            agreement.map(|a| format!("its purposes are {}", list(a.purposes.iter().map(ToString::to_string))))
        }
        ReasonCode::OperationNotCovered if view.asked.joined => agreement.map(|a| match &a.join {
            Some(terms) => format!("its join is of {} and {}, asked as an aggregate", terms.left, terms.right),
            None => "it joins no two agencies' datasets: ask each by itself".to_owned(),
        }),
        ReasonCode::OperationNotCovered => agreement
            .map(|a| format!("it permits {}", list(a.operations.iter().map(|o| operation_name(*o).to_owned())))),
        ReasonCode::DatasetNotCovered => {
            agreement.map(|a| format!("its datasets are {}", list(a.datasets.iter().map(|d| d.id.to_string()))))
        }
        ReasonCode::ColumnNotCovered => agreement.map(|a| {
            let touched = a.datasets.iter().filter(|d| view.accesses.iter().any(|t| *t.dataset == d.id));
            let columns = touched.flat_map(|d| d.columns.iter().map(move |c| format!("{c} of {}", d.id)));
            format!("it reaches {}", list(columns))
        }),
        ReasonCode::SignatureRequired => Some("sign the request with the key of your certificate".to_owned()),
        _ => None,
    }
}

fn list(names: impl Iterator<Item = String>) -> String {
    let names: Vec<_> = names.collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::constitution::Constitution;

    #[test]
    fn every_article_has_its_place_in_the_order_of_reasons() {
        let articles = Constitution::compiled().unwrap().articles();
        for article in articles.values() {
            assert!(PRECEDENCE.contains(&article.reason), "{}", article.id);
        }
    }
}
