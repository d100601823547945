use cedar_policy::{Context, RestrictedExpression};
use std::collections::BTreeSet;

/// The facts of a decision, as the schema's type `Facts` has them. The program computes each one.
#[derive(Clone)]
pub(crate) struct Facts {
    pub(crate) bundle_in_force: bool,
    pub(crate) suspended: bool,
    pub(crate) signed: bool,
    pub(crate) caller: String,
    pub(crate) caller_role: &'static str,
    pub(crate) operation: &'static str,
    pub(crate) output: &'static str,
    pub(crate) joined: bool,
    pub(crate) discloses: bool,
    pub(crate) purpose: String,
    pub(crate) recipients: BTreeSet<String>,
    pub(crate) recipient_classes: BTreeSet<&'static str>,
    pub(crate) datasets: BTreeSet<String>,
    pub(crate) columns: BTreeSet<String>,
    pub(crate) roles: BTreeSet<&'static str>,
    pub(crate) kinds: BTreeSet<&'static str>,
    pub(crate) agreement: Terms,
}

/// The agreement's terms, as the schema's type `Terms` has them. The default is that of no agreement at all.
#[derive(Clone, Default)]
pub(crate) struct Terms {
    pub(crate) parties: BTreeSet<String>,
    pub(crate) in_force: bool,
    pub(crate) assessed: bool,
    pub(crate) purposes: BTreeSet<String>,
    pub(crate) operations: BTreeSet<&'static str>,
    pub(crate) recipients: BTreeSet<String>,
    pub(crate) datasets: BTreeSet<String>,
    pub(crate) columns: BTreeSet<String>,
    pub(crate) grounds: BTreeSet<&'static str>,
    pub(crate) legal_basis: &'static str,
    pub(crate) match_receiver: String,
    pub(crate) join: BTreeSet<String>,
    pub(crate) semi_honest_join: bool,
    pub(crate) gateway_asserted: bool,
    pub(crate) retention_days: i64,
}

impl Facts {
    /// The context; `None` if it cannot be built, which refuses.
    pub(crate) fn into_context(self) -> Option<Context> {
        Context::from_pairs([
            pair("bundle_in_force", flag(self.bundle_in_force)),
            pair("suspended", flag(self.suspended)),
            pair("signed", flag(self.signed)),
            pair("caller", text(self.caller)),
            pair("caller_role", text(self.caller_role)),
            pair("operation", text(self.operation)),
            pair("output", text(self.output)),
            pair("joined", flag(self.joined)),
            pair("discloses", flag(self.discloses)),
            pair("purpose", text(self.purpose)),
            pair("recipients", set(self.recipients)),
            pair("recipient_classes", set(self.recipient_classes)),
            pair("datasets", set(self.datasets)),
            pair("columns", set(self.columns)),
            pair("roles", set(self.roles)),
            pair("kinds", set(self.kinds)),
            pair("agreement", self.agreement.into_record()?),
        ])
        .ok()
    }
}

impl Terms {
    fn into_record(self) -> Option<RestrictedExpression> {
        RestrictedExpression::new_record([
            pair("parties", set(self.parties)),
            pair("in_force", flag(self.in_force)),
            pair("assessed", flag(self.assessed)),
            pair("purposes", set(self.purposes)),
            pair("operations", set(self.operations)),
            pair("recipients", set(self.recipients)),
            pair("datasets", set(self.datasets)),
            pair("columns", set(self.columns)),
            pair("grounds", set(self.grounds)),
            pair("legal_basis", text(self.legal_basis)),
            pair("match_receiver", text(self.match_receiver)),
            pair("join", set(self.join)),
            pair("semi_honest_join", flag(self.semi_honest_join)),
            pair("gateway_asserted", flag(self.gateway_asserted)),
            pair("retention_days", RestrictedExpression::new_long(self.retention_days)),
        ])
        .ok()
    }
}

fn pair(name: &str, value: RestrictedExpression) -> (String, RestrictedExpression) {
    (name.to_owned(), value)
}

fn flag(value: bool) -> RestrictedExpression {
    RestrictedExpression::new_bool(value)
}

fn text(value: impl Into<String>) -> RestrictedExpression {
    RestrictedExpression::new_string(value.into())
}

fn set<T: Into<String>>(values: BTreeSet<T>) -> RestrictedExpression {
    RestrictedExpression::new_set(values.into_iter().map(text))
}
