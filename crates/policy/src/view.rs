use crate::bundle::Bundle;
use crate::catalogue::membership_kinds;
use crate::context::{Facts, Terms};
use crate::decision::{Asked, OutputKind, operation_name};
use crate::permit::DecisionFacts;
use crate::suspension::Suspensions;
use firebreak_domain::{
    Agreement, ClassFinding, ColumnName, ColumnRole, Contract, DatasetId, MatchTerms, Operation, OrgId, Recipient,
    RecipientClass, SpecialKind, Timestamp,
};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A question beside what the bundle says of everything that it names.
pub(crate) struct View<'a> {
    pub(crate) bundle: &'a Bundle,
    pub(crate) asked: Asked<'a>,
    /// The agreement, if it exists *and* the caller takes part in it.
    // PRIVACY: an agreement of others and none at all are the same from here on, so no answer tells them apart.
    pub(crate) agreement: Option<&'a Arc<Agreement>>,
    pub(crate) recipients: BTreeSet<Recipient>,
    /// The agencies of a join: each works on points of the other's.
    // SECURITY: one that does not follow the protocol can learn matches. What an enforcement body must not learn it
    // gets no chance to.
    pub(crate) exposed: BTreeSet<Recipient>,
    pub(crate) accesses: Vec<Access<'a>>,
}

/// A dataset touched.
pub(crate) struct Access<'a> {
    pub(crate) dataset: &'a DatasetId,
    pub(crate) columns: BTreeSet<&'a ColumnName>,
    /// The key of a join, which the agreement names and the question does not.
    pub(crate) key: Option<&'a ColumnName>,
    pub(crate) contract: Option<&'a Arc<Contract>>,
}

impl<'a> View<'a> {
    pub(crate) fn of(bundle: &'a Bundle, asked: Asked<'a>) -> Self {
        let caller = &asked.principal.org;
        let named = asked.agreement.and_then(|id| bundle.agreements().get(id));
        let agreement = named.filter(|a| takes_part(caller, a));
        let (recipients, exposed) = (BTreeSet::new(), BTreeSet::new());
        let mut view = Self { bundle, asked, agreement, recipients, exposed, accesses: Vec::new() };
        view.recipients.extend(asked.recipients.iter().cloned());
        view.recipients.insert(Recipient::Organisation(caller.clone()));
        for access in asked.datasets {
            view.touch(&access.dataset, &access.columns);
        }
        // Whoever learns in a match receives it, and what both sides match on is touched, whatever the caller says.
        if let Some(terms) = view.match_terms() {
            view.recipients.insert(Recipient::Organisation(terms.receiver.clone()));
            view.touch(&terms.receiver_dataset, terms.columns());
            view.touch(&terms.sender_dataset, terms.columns());
            view.touch(&terms.sender_dataset, terms.payload.iter().flat_map(|payload| &payload.columns));
        }
        if let Some(agreement) = view.agreement.filter(|_| asked.joined) {
            view.join(agreement);
        }
        view
    }

    /// Adds what a join touches and whom it exposes to what, as the agreement has it and whatever the caller says.
    fn join(&mut self, agreement: &'a Agreement) {
        // PRIVACY: whose a dataset is that the agreement does not cover changes nothing here.
        let covered = self.contracts().filter(|contract| agreement.columns_of(&contract.id).is_some());
        self.exposed = covered.map(|contract| Recipient::Organisation(contract.agency.clone())).collect();
        let Some(terms) = &agreement.join else { return };
        for access in self.accesses.iter_mut().filter(|access| terms.side_of(access.dataset).is_some()) {
            access.key = Some(&terms.field);
        }
    }

    fn touch(&mut self, dataset: &'a DatasetId, columns: impl IntoIterator<Item = &'a ColumnName>) {
        if let Some(access) = self.accesses.iter_mut().find(|a| a.dataset == dataset) {
            access.columns.extend(columns);
        } else {
            let contract = self.bundle.contracts().get(dataset);
            self.accesses.push(Access { dataset, columns: columns.into_iter().collect(), key: None, contract });
        }
    }

    /// The contracts of the datasets touched, in the question's order.
    pub(crate) fn contracts(&self) -> impl Iterator<Item = &'a Arc<Contract>> {
        self.accesses.iter().filter_map(|a| a.contract)
    }

    /// The findings about the recipients and whoever else is exposed to something; `None` for whoever is not registered.
    pub(crate) fn findings(&self) -> impl Iterator<Item = Option<&ClassFinding>> {
        let nameless = self.asked.nameless_recipient.then_some(None);
        self.recipients.union(&self.exposed).map(|r| self.bundle.finding(r)).chain(nameless)
    }

    pub(crate) fn worst_class(&self) -> RecipientClass {
        let classes = self.findings().map(|f| f.map_or(RecipientClass::Enforcement, |f| f.class));
        classes.max().unwrap_or(RecipientClass::Enforcement)
    }

    fn match_terms(&self) -> Option<&'a MatchTerms> {
        let is_match = self.asked.operation == Operation::Match || self.asked.output == OutputKind::Match;
        self.agreement.filter(|_| is_match).and_then(|a| a.matching.as_ref())
    }

    /// The agreement and the terms by which columns of persons would leave, if any would.
    pub(crate) fn discloses(&self) -> Option<(&'a Agreement, &'a MatchTerms)> {
        let terms = self.match_terms().filter(|terms| terms.payload.is_some())?;
        Some((self.agreement?.as_ref(), terms))
    }

    /// What the log may say: names that the bundle holds and the caller may know of, never what it merely typed.
    // PRIVACY: the caller gets the leaf of its own refusal, which therefore tells no more than the refusal: what others
    // agreed upon is left out like what does not exist.
    pub(crate) fn facts(&self) -> DecisionFacts {
        let (bundle, asked) = (self.bundle, self.asked);
        let caller = &asked.principal.org;
        let own = || bundle.agreements().values().filter(|a| takes_part(caller, a));
        let known = |c: &&Arc<Contract>| c.agency == *caller || own().any(|a| a.columns_of(&c.id).is_some());
        DecisionFacts {
            bundle_sequence: bundle.sequence(),
            organisation: Some(caller).filter(|o| bundle.organisations.contains_key(o)).cloned(),
            operation: asked.operation,
            output: asked.output,
            agreement: self.agreement.map(|a| a.id.clone()),
            purpose: asked.purpose.filter(|p| own().any(|a| a.purposes.contains(p))).cloned(),
            legal_basis: self.agreement.map(|a| a.legal_basis),
            recipient_class: self.worst_class(),
            datasets: self.contracts().filter(known).map(|c| c.id.clone()).collect(),
        }
    }

    /// The facts on which policies decide.
    pub(crate) fn to_facts(&self, suspensions: &Suspensions, now: Timestamp) -> Facts {
        let asked = self.asked;
        // Whoever is not registered has no organisation to name.
        let nameless = asked.nameless_recipient.then(String::new);
        Facts {
            bundle_in_force: self.bundle.in_force(now),
            suspended: self.is_suspended(suspensions),
            signed: asked.signed,
            caller: asked.principal.org.to_string(),
            caller_role: asked.principal.role.as_str(),
            operation: operation_name(asked.operation),
            output: asked.output.as_str(),
            joined: asked.joined,
            discloses: self.discloses().is_some(),
            purpose: asked.purpose.map(ToString::to_string).unwrap_or_default(),
            recipients: self
                .recipients
                .iter()
                .map(|r| self.organisation_of(r).map_or("", OrgId::as_str).into())
                .chain(nameless)
                .collect(),
            recipient_classes: self
                .findings()
                .map(|f| f.map_or(RecipientClass::Enforcement, |f| f.class).as_str())
                .collect(),
            datasets: self.accesses.iter().map(|a| a.dataset.to_string()).collect(),
            columns: self.accesses.iter().flat_map(Access::columns_to_cover).collect(),
            roles: self.accesses.iter().flat_map(Access::roles).collect(),
            kinds: self.accesses.iter().flat_map(|a| self.kinds(a)).map(SpecialKind::as_str).collect(),
            agreement: self.agreement.map(|a| self.terms(a, now)).unwrap_or_default(),
        }
    }

    fn terms(&self, agreement: &Agreement, now: Timestamp) -> Terms {
        let names = |orgs: &[OrgId]| orgs.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
        let kinds = agreement.special_grounds.iter().map(|g| g.kind);
        // Only what the question touches is listed of the columns: a decision costs by the question, not the agreement.
        let columns = agreement.datasets.iter().filter(|d| self.accesses.iter().any(|a| *a.dataset == d.id));
        Terms {
            parties: names(&agreement.parties).into_iter().chain(names(&agreement.recipients)).collect(),
            in_force: agreement.runs(now),
            assessed: self.bundle.is_assessed(agreement, now),
            purposes: agreement.purposes.iter().map(ToString::to_string).collect(),
            operations: agreement.operations.iter().map(|o| operation_name(*o)).collect(),
            recipients: names(&agreement.recipients),
            datasets: agreement.datasets.iter().map(|d| d.id.to_string()).collect(),
            columns: columns.flat_map(|d| d.columns.iter().map(|c| qualified(&d.id, c))).collect(),
            grounds: kinds.filter(|k| agreement.has_ground_for(*k)).map(SpecialKind::as_str).collect(),
            legal_basis: agreement.legal_basis.as_str(),
            join: agreement.join.iter().flat_map(|t| [&t.left, &t.right]).map(ToString::to_string).collect(),
            semi_honest_join: agreement.join.as_ref().is_some_and(|terms| terms.semi_honest_join),
            match_receiver: agreement.matching.as_ref().map(|m| m.receiver.to_string()).unwrap_or_default(),
            gateway_asserted: agreement.gateway_asserted,
            retention_days: i64::from(agreement.retention_days),
        }
    }

    /// Special categories that an answer could tell about a person.
    fn kinds(&self, access: &Access<'_>) -> BTreeSet<SpecialKind> {
        // The receiver of a match knows its own records: what it learns is who stands in the sender's dataset.
        let own = self.match_terms().is_some_and(|terms| terms.receiver_dataset == *access.dataset);
        let told = access.contract.filter(|_| !own).into_iter().flat_map(|c| membership_kinds(c));
        access.known_columns().filter_map(|c| c.special).chain(told).collect()
    }

    fn organisation_of(&self, recipient: &'a Recipient) -> Option<&'a OrgId> {
        match recipient {
            Recipient::Organisation(org) => Some(org),
            Recipient::Endpoint(id) => self.bundle.registry().endpoint(id).map(|e| &e.organisation),
        }
    }

    fn is_suspended(&self, suspensions: &Suspensions) -> bool {
        if suspensions.everything {
            return true;
        }
        let stopped = |org: &OrgId| {
            suspensions.agencies.contains(org) || suspensions.recipients.contains(&Recipient::Organisation(org.clone()))
        };
        let agreement = self.agreement.is_some_and(|a| {
            // PRIVACY: a dataset outside the agreement is refused as such, whoever it belongs to.
            let mut covered = self.contracts().filter(|c| a.columns_of(&c.id).is_some());
            suspensions.agreements.contains(&a.id) || covered.any(|c| suspensions.agencies.contains(&c.agency))
        });
        let recipients = self.recipients.iter();
        agreement
            || recipients.clone().any(|r| suspensions.recipients.contains(r))
            || recipients.filter_map(|r| self.organisation_of(r)).any(stopped)
    }
}

impl Access<'_> {
    fn known_columns(&self) -> impl Iterator<Item = &firebreak_domain::Column> {
        self.columns.iter().chain(&self.key).filter_map(move |name| self.known(name))
    }

    fn known(&self, name: &ColumnName) -> Option<&firebreak_domain::Column> {
        self.contract.and_then(|c| c.column(name.as_str()))
    }

    fn roles(&self) -> BTreeSet<&'static str> {
        let read = self.columns.iter().filter_map(|name| self.known(name)).map(|c| role_name(c.role));
        // SECURITY: a question that names the key itself reads a match key.
        let key = self.key.and_then(|name| self.known(name)).map(|c| match c.role {
            ColumnRole::MatchKey => "join_key",
            other => role_name(other),
        });
        read.chain(key).collect()
    }

    /// Every column touched but the privacy unit, which an agreement need not name: it can only be counted.
    fn columns_to_cover(&self) -> Vec<String> {
        let unit = self.contract.and_then(|c| c.privacy_unit()).map(|c| &c.name);
        self.columns.iter().chain(&self.key).filter(|c| Some(**c) != unit).map(|c| qualified(self.dataset, c)).collect()
    }
}

fn takes_part(org: &OrgId, agreement: &Agreement) -> bool {
    agreement.parties.contains(org) || agreement.recipients.contains(org)
}

/// `dataset/column`: neither name holds a slash.
fn qualified(dataset: &DatasetId, column: &ColumnName) -> String {
    format!("{dataset}/{column}")
}

const fn role_name(role: ColumnRole) -> &'static str {
    match role {
        ColumnRole::PrivacyUnit => "privacy_unit",
        ColumnRole::MatchKey => "match_key",
        ColumnRole::Identifier => "identifier",
        ColumnRole::Category => "category",
        ColumnRole::Measure => "measure",
        ColumnRole::Filter => "filter",
        ColumnRole::Withheld => "withheld",
    }
}
