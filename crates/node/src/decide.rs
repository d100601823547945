use crate::submitted::{SubmittedMatch, SubmittedQuery, check_expiry};
use crate::{Caller, MisnamedRequest, PolicyInForce, accounts_of};
use firebreak_domain::{
    Agreement, AgreementId, Charge, ColumnRole, Contract, DatasetId, Identity, Intent, Mechanism, Operation, OrgId,
    ReasonCode, Recipient, RecipientClass, Refusal, Rho, Timestamp,
};
use firebreak_policy::{
    Bundle, DatasetAccess, DecisionFacts, Denial, Misnamed, OutputKind, Permit, Question, ceilings,
};
use firebreak_privacy::{Price, price};
use firebreak_query::{
    Aggregate, AggregateQuery, CheckedQuery, Contracts, LogicalDataset, MAX_CELLS, Measure, check_over, check_parts,
    of_dataset, plan, plan_query,
};
use firebreak_store::AccountLimit;
use firebreak_transport::TrustAnchor;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A question that is permitted, checked and priced.
pub struct DecidedQuery {
    /// Leave to answer it.
    pub permit: Permit,
    /// The question against its contract; over a logical dataset, that over the first of its parts.
    pub query: CheckedQuery,
    /// Its price; over a logical dataset, that of each part.
    pub price: Price,
    /// What the caller signed.
    pub intent: Intent,
    /// Who asks.
    pub caller: Caller,
    /// Who pays.
    pub accounts: Vec<AccountLimit>,
    /// The price of all that is asked: over a logical dataset, of all its parts together.
    pub cost: Charge,
    /// The logical dataset that it is over, if it is over one.
    pub logical: Option<LogicalDataset>,
    /// The other parts of that.
    pub others: Vec<DecidedPart>,
}

/// One part of a question over a logical dataset: the question over that part alone.
pub struct DecidedPart {
    /// The question against the part's contract.
    pub query: CheckedQuery,
    /// Its price.
    pub price: Price,
    /// Who pays. Accounts of the caller stand in each part, and are charged for each.
    pub accounts: Vec<AccountLimit>,
}

impl DecidedQuery {
    /// What the agency answers: all of a question over its own datasets, its own part of one over a logical dataset.
    ///
    /// # Errors
    /// A denial of what is not the agency's.
    #[expect(clippy::result_large_err, reason = "a denial is used up at once, and is as ordinary as a permit")]
    pub fn of_agency(mut self, agency: &OrgId) -> Result<Self, Denial> {
        if self.query.agency() != agency {
            let own = self.others.drain(..).find(|part| part.query.agency() == agency);
            // SECURITY: whoever carries the request chooses whom it is brought to, and not whose data are read.
            let Some(DecidedPart { query, price, accounts }) = own else {
                let refusal = Refusal::new(ReasonCode::DatasetNotCovered);
                let contest = Some(self.permit.agreement().contest.clone());
                let refusal = Refusal { contest, ..refusal.because("another agency serves it") };
                return Err(Denial { refusal, facts: self.permit.facts().clone() });
            };
            self = Self { query, price, accounts, ..self };
        }
        self.cost = self.price.charge();
        self.others.clear();
        Ok(self)
    }

    /// What the log may say of it: of a question over a logical dataset, with the one part that is answered.
    #[must_use]
    pub fn facts(&self) -> DecisionFacts {
        facts_of(self.permit.facts(), &self.query)
    }
}

/// The facts of a decision with the datasets of one part of what was decided.
#[must_use]
pub fn facts_of(facts: &DecisionFacts, query: &CheckedQuery) -> DecisionFacts {
    let datasets = query.reads().iter().map(|reads| reads.dataset.clone()).collect();
    DecisionFacts { datasets, ..facts.clone() }
}

/// Decides a request for an answer or an export: signature, policy, contract, price, in this order.
///
/// Reads the bundle alone: no account, no data.
///
/// # Errors
/// A denial: the refusal, and the facts for the log.
#[expect(clippy::result_large_err, reason = "a denial is used up at once, and is as ordinary as a permit")]
pub fn decide_query(
    submitted: &SubmittedQuery,
    claimed: &Identity,
    policy: &PolicyInForce,
    trust: &TrustAnchor,
    now: Timestamp,
) -> Result<DecidedQuery, Denial> {
    decide(submitted, claimed, submitted.authenticate(claimed, trust, now), policy, now)
}

/// What [`decide_query`] would say if the caller signed, for a caller who is at the other end of the connection and
/// to whom nothing is answered by it but what stands beside an answer of their own.
///
/// # Errors
/// As there.
#[expect(clippy::result_large_err, reason = "a denial is used up at once, and is as ordinary as a permit")]
pub fn foresee_query(
    submitted: &SubmittedQuery,
    caller: &Identity,
    policy: &PolicyInForce,
    now: Timestamp,
) -> Result<DecidedQuery, Denial> {
    decide(submitted, caller, Ok(Caller { identity: caller.clone(), signed: true }), policy, now)
}

#[expect(clippy::result_large_err, reason = "a denial is used up at once, and is as ordinary as a permit")]
fn decide(
    submitted: &SubmittedQuery,
    claimed: &Identity,
    authenticated: Result<Caller, Refusal>,
    policy: &PolicyInForce,
    now: Timestamp,
) -> Result<DecidedQuery, Denial> {
    let (permit, caller, bundle) = permit(submitted, claimed, authenticated, policy, now)?;
    let facts = permit.facts().clone();
    let refused = |refusal: Refusal| {
        let contest = Some(permit.agreement().contest.clone());
        Denial { refusal: Refusal { contest, ..refusal }, facts: facts.clone() }
    };
    let asked = match &submitted.query {
        Ok(query) => query,
        Err(refusal) => {
            let visible = Visible::to(&bundle, &claimed.org, &submitted.header.agreement, now);
            return Err(refused(suggested(refusal.clone(), submitted, &visible)));
        }
    };
    if asked.on_person {
        return Err(refused(Refusal::new(ReasonCode::JoinAsked).because(JOINED)));
    }
    let parts: Vec<&DatasetId> = parts(asked, &bundle).map(|contract| &contract.id).collect();
    let of_permit = |dataset: &DatasetId| permit.contract(dataset);
    let contracts: Option<Vec<_>> = match parts.as_slice() {
        [] => asked.datasets().map(of_permit).collect(),
        parts => parts.iter().copied().map(of_permit).collect(),
    };
    let contracts = contracts.ok_or_else(|| refused(Refusal::new(ReasonCode::DatasetNotCovered)))?;
    let covered: Vec<Contract> = contracts.iter().map(|contract| restricted(contract, permit.agreement())).collect();
    let logical = LogicalDataset::of(&covered).filter(|_| !parts.is_empty());
    let queries = match &logical {
        None => vec![check_over(asked, &covered).map_err(refused)?],
        Some(_) if asked.partial && submitted.export.is_some() => {
            let what = "a table that is taken away is whole: ask for a partial answer as an answer";
            return Err(refused(Refusal::new(ReasonCode::MalformedRequest).because(what)));
        }
        Some(_) => check_parts(asked, &covered).map_err(refused)?,
    };
    let (mut priced, mut cost) = (Vec::with_capacity(queries.len()), Charge::default());
    for (query, contract) in queries.into_iter().zip(&contracts) {
        // Datasets that are joined have one register of persons: that of the first.
        let accounts = accounts_of(permit.agreement(), contract, &caller.identity, now);
        let price = priced_part(&query, permit.agreement(), registers(logical.as_ref())).map_err(refused)?;
        cost = cost.plus(price.charge()).map_err(|_| refused(Refusal::new(ReasonCode::LossCeiling)))?;
        priced.push(DecidedPart { query, price, accounts });
    }
    let intent = submitted.intent(claimed);
    let mut priced = priced.into_iter();
    let Some(DecidedPart { query, price, accounts }) = priced.next() else {
        return Err(refused(Refusal::new(ReasonCode::DatasetNotCovered)));
    };
    Ok(DecidedQuery { permit, query, price, intent, caller, accounts, cost, logical, others: priced.collect() })
}

/// Why what two agencies join is not answered where one agency's answers are.
const JOINED: &str =
    "what two agencies join is asked as a question of its own: it is not rolled up, exported or published";

/// Leave to do what a request asks, as far as policy cares.
#[expect(clippy::result_large_err, reason = "a denial is used up at once, and is as ordinary as a permit")]
pub(crate) fn permit(
    submitted: &SubmittedQuery,
    claimed: &Identity,
    authenticated: Result<Caller, Refusal>,
    policy: &PolicyInForce,
    now: Timestamp,
) -> Result<(Permit, Caller, Arc<Bundle>), Denial> {
    let output = submitted.output();
    let bundle = policy.bundle().map_err(|refusal| unfounded(refusal, submitted.operation(), output))?;
    let caller = match &authenticated {
        Ok(caller) => caller.clone(),
        Err(_) => Caller { identity: claimed.clone(), signed: false },
    };
    let question = Question {
        principal: caller.identity.clone(),
        operation: submitted.operation(),
        agreement: submitted.header.agreement.clone(),
        purpose: submitted.header.purpose.clone(),
        recipients: vec![submitted.recipient(claimed)],
        datasets: accesses(
            submitted.query.as_ref().ok(),
            submitted.export.as_ref().and_then(|e| e.dataset.as_ref()),
            &bundle,
        ),
        output,
        joined: submitted.is_join(),
        signed: caller.signed,
    };
    let decided = bundle.decide(&question, &policy.suspensions(), now);
    let caller = match (authenticated, &decided) {
        (Ok(caller), _) => caller,
        // A request that does not come from whom it names is refused as that, under the facts of what it asked.
        (Err(refusal), Ok(permit)) => return Err(Denial { refusal, facts: permit.facts().clone() }),
        (Err(refusal), Err(denial)) => return Err(Denial { refusal, facts: denial.facts.clone() }),
    };
    // Made for whoever is refused alone: most are not.
    let visible = || Visible::to(&bundle, &claimed.org, &submitted.header.agreement, now);
    let permit = decided.map_err(|denial| match &submitted.query {
        // A question that cannot be read names no dataset. Where policy holds nothing else against it, what is wrong
        // with it is the reason.
        Err(unread) if question.datasets.is_empty() && denial.refusal.reason == ReasonCode::DatasetNotCovered => {
            let contest = denial.refusal.contest;
            let refusal = Refusal { contest, ..suggested(unread.clone(), submitted, &visible()) };
            Denial { refusal, facts: denial.facts }
        }
        _ => with_suggestion(denial, submitted, &visible()),
    })?;
    Ok((permit, caller, bundle))
}

/// In how many registers one person may stand that a question is over: as many as it has parts.
fn registers(logical: Option<&LogicalDataset>) -> u64 {
    logical.map_or(1, |logical| logical.parts.len() as u64)
}

/// The price of a question, or of each of the `parts` that it has.
///
/// PRIVACY: whoever stands in the registers of all parts loses the price of each, so that the ceilings of one question
/// hold for their sum. That registers are said to be disjoint changes nothing here.
fn priced_part(query: &CheckedQuery, agreement: &Agreement, parts: u64) -> Result<Price, Refusal> {
    if query.cells().saturating_mul(query.primitives().len()) > MAX_CELLS {
        let refusal = Refusal::new(ReasonCode::TooManyGroups);
        return Err(refusal.instead("ask fewer figures or group by fewer columns"));
    }
    let budget = &agreement.budget;
    let rho = query.rho().unwrap_or(budget.rho_per_query);
    let most = Rho::from_nano(budget.rho_per_query_max.min(ceilings::RHO_PER_QUERY).nano() / parts.max(1));
    let instead = format!("ask at rho = {}", budget.rho_per_query.min(most));
    if rho > most || rho.nano() == 0 {
        let of_each = if parts > 1 { format!(" to each of its {parts} agencies") } else { String::new() };
        let refusal = Refusal::new(ReasonCode::LossCeiling)
            .because(format!("a question under this agreement may cost a rho above 0 and up to {most}{of_each}"));
        return Err(refusal.instead(instead));
    }
    if let Some((column, _)) = query.selection().filter(|_| agreement.mechanism == Mechanism::DiscreteLaplace) {
        let what = format!(
            "the codes of column {column} are not declared, and groups of it are selected with a delta, which pure \
             differential privacy does not have"
        );
        let instead =
            "ask under an agreement with the mechanism discrete_gaussian, or by a column whose codes are declared";
        return Err(Refusal::new(ReasonCode::NotGroupable).because(what).instead(instead));
    }
    let price = price(query, agreement.mechanism, rho).map_err(|_| {
        let refusal = Refusal::new(ReasonCode::LossCeiling).because("no noise fits this question at so low a price");
        refusal.instead(instead)
    })?;
    if price.charge().delta > ceilings::DELTA_PER_QUERY {
        let what = "the delta of this question is above what any question may cost";
        return Err(Refusal::new(ReasonCode::LossCeiling).because(what));
    }
    Ok(price)
}

/// The contracts of the parts of the logical dataset that a question is over; none where it is over none.
fn parts<'a>(query: &AggregateQuery, bundle: &'a Bundle) -> impl Iterator<Item = &'a Arc<Contract>> + use<'a> {
    // What is joined is of one agency.
    let logical = query.joins.is_empty().then(|| query.dataset.clone());
    logical.into_iter().flat_map(move |logical| bundle.parts_of(&logical).collect::<Vec<_>>())
}

/// Decides a request for a match, whose terms are the agreement's.
///
/// # Errors
/// As [`decide_query`].
#[expect(clippy::result_large_err, reason = "a denial is used up at once, and is as ordinary as a permit")]
pub fn decide_match(
    submitted: &SubmittedMatch,
    claimed: &Identity,
    policy: &PolicyInForce,
    trust: &TrustAnchor,
    now: Timestamp,
) -> Result<(Permit, Intent), Denial> {
    let bundle = policy.bundle().map_err(|refusal| unfounded(refusal, Operation::Match, OutputKind::Match))?;
    let authenticated = submitted.authenticate(claimed, trust, now);
    let question = Question {
        principal: claimed.clone(),
        operation: Operation::Match,
        agreement: submitted.header.agreement.clone(),
        purpose: submitted.header.purpose.clone(),
        recipients: Vec::new(),
        datasets: Vec::new(),
        output: OutputKind::Match,
        joined: false,
        signed: authenticated.as_ref().is_ok_and(|c| c.signed),
    };
    let permit = match (authenticated, bundle.decide(&question, &policy.suspensions(), now)) {
        (Ok(_), decided) => decided?,
        (Err(refusal), Ok(permit)) => return Err(Denial { refusal, facts: permit.facts().clone() }),
        (Err(refusal), Err(denial)) => return Err(Denial { refusal, facts: denial.facts }),
    };
    let is_receiver = permit.agreement().matching.as_ref().is_some_and(|terms| terms.receiver == claimed.org);
    if !is_receiver {
        let refusal = Refusal::new(ReasonCode::RoleNotAllowed).because("only the receiver of a match asks for it");
        return Err(Denial { refusal, facts: permit.facts().clone() });
    }
    Ok((permit, submitted.intent(claimed)))
}

/// Refuses a request that names something as nothing can be named: as it would be refused if it named what does not
/// exist, so that a probe leaves the same trace either way.
///
/// Its signature is not looked at: it can be refused alone, and what a gateway makes up in somebody's name by it tells
/// that gateway nothing that the policy folder does not.
#[must_use]
pub fn refuse_misnamed(
    misnamed: &MisnamedRequest,
    claimed: &Identity,
    policy: &PolicyInForce,
    now: Timestamp,
) -> Denial {
    let bundle = match policy.bundle() {
        Ok(bundle) => bundle,
        Err(refusal) => return unfounded(refusal, misnamed.operation, misnamed.output),
    };
    let own = || Recipient::Organisation(claimed.org.clone());
    let asked = Misnamed {
        principal: claimed.clone(),
        operation: misnamed.operation,
        agreement: misnamed.header.agreement.clone(),
        purpose: misnamed.header.purpose.clone(),
        recipient: misnamed.endpoint.clone().map(|named| named.unwrap_or_else(own)).ok(),
        datasets: accesses(misnamed.query.as_ref(), misnamed.dataset.as_ref(), &bundle),
        output: misnamed.output,
        joined: misnamed.query.as_ref().is_some_and(|query| query.on_person),
    };
    let denial = bundle.refuse(&asked, &policy.suspensions(), now);
    match check_expiry(misnamed.header.expires, now) {
        Ok(()) => denial,
        Err(refusal) => Denial { refusal, facts: denial.facts },
    }
}

/// A denial without any bundle to found it on.
const fn unfounded(refusal: Refusal, operation: Operation, output: OutputKind) -> Denial {
    let facts = DecisionFacts {
        bundle_sequence: 0,
        organisation: None,
        operation,
        output,
        agreement: None,
        purpose: None,
        legal_basis: None,
        recipient_class: RecipientClass::Enforcement,
        datasets: Vec::new(),
    };
    Denial { refusal, facts }
}

/// The datasets and every column that the question names; a person's key that is only counted is not a column read.
/// Without a question that can be read, the dataset named beside it.
fn accesses(query: Option<&AggregateQuery>, dataset: Option<&DatasetId>, bundle: &Bundle) -> Vec<DatasetAccess> {
    match (query, dataset) {
        (Some(query), _) => {
            let access = |dataset: &DatasetId| {
                let contract = bundle.contracts().get(dataset);
                let columns = read_columns(query, dataset, contract.map(Arc::as_ref));
                DatasetAccess { dataset: dataset.clone(), columns }
            };
            // Every part of a logical dataset is read, by whichever agency.
            let of_parts: Vec<_> = parts(query, bundle).map(|contract| access(&contract.id)).collect();
            if of_parts.is_empty() { query.datasets().map(access).collect() } else { of_parts }
        }
        (None, Some(dataset)) => vec![DatasetAccess { dataset: dataset.clone(), columns: BTreeSet::new() }],
        (None, None) => Vec::new(),
    }
}

fn read_columns(
    query: &AggregateQuery,
    dataset: &DatasetId,
    contract: Option<&Contract>,
) -> BTreeSet<firebreak_domain::ColumnName> {
    let unit = contract.and_then(Contract::privacy_unit).map(|c| &c.name);
    let is_unit = |name: &firebreak_domain::ColumnName| {
        unit == Some(name) || (name.as_str() == "person" && contract.is_some_and(|c| c.column("person").is_none()))
    };
    let counts = |counted: &firebreak_domain::ColumnName, name: &firebreak_domain::ColumnName| {
        counted == name || of_dataset(dataset, counted).as_ref() == Some(name)
    };
    let only_counted = |name: &firebreak_domain::ColumnName| {
        let of = |m: &Measure| matches!(&m.aggregate, Aggregate::CountDistinct(counted) if counts(counted, name));
        is_unit(name) && query.measures.iter().any(of)
    };
    query.columns_of(dataset).into_iter().filter(|name| !only_counted(name)).collect()
}

/// The contracts that an organisation may see, each cut down to the columns that it may ask.
struct Visible(Vec<Contract>);

impl Visible {
    /// Those of the agreement invoked come first, so that an example is answered under it.
    fn to(bundle: &Bundle, org: &OrgId, invoked: &AgreementId, now: Timestamp) -> Self {
        let mut visible = bundle.visible_datasets(org, now);
        visible.sort_by_key(|dataset| !dataset.agreements.iter().any(|a| a.id == *invoked));
        Self(
            visible
                .into_iter()
                .map(|dataset| cut_down(&dataset.contract, |c| dataset.columns.contains(&c.name)))
                .collect(),
        )
    }
}

impl Contracts for Visible {
    /// Of a logical dataset the first part, over which whatever is suggested can be asked.
    fn contract(&self, dataset: &DatasetId) -> Option<&Contract> {
        let part = |c: &&Contract| c.part_of.as_ref().is_some_and(|part_of| part_of.dataset == *dataset);
        self.0.iter().find(|c| c.id == *dataset).or_else(|| self.0.iter().find(part))
    }

    fn example(&self) -> Option<&Contract> {
        self.0.first()
    }
}

/// The contract with the columns that the agreement covers, and the person's key.
pub(crate) fn restricted(contract: &Contract, agreement: &Agreement) -> Contract {
    let covered = agreement.columns_of(&contract.id).unwrap_or_default();
    cut_down(contract, |c| covered.contains(&c.name))
}

fn cut_down(contract: &Contract, keep: impl Fn(&firebreak_domain::Column) -> bool) -> Contract {
    let columns = contract.columns.iter().filter(|c| c.role == ColumnRole::PrivacyUnit || keep(c)).cloned().collect();
    Contract { columns, ..contract.clone() }
}

/// Where the policy's refusal names no way out and the question has one, the question's.
fn with_suggestion(denial: Denial, submitted: &SubmittedQuery, visible: &Visible) -> Denial {
    if let Some(query) = submitted.query.as_ref().ok().filter(|query| query.on_person) {
        return of_one_agency(denial, query, visible);
    }
    let of_columns = matches!(
        denial.refusal.reason,
        ReasonCode::ColumnNotCovered
            | ReasonCode::IdentifierColumn
            | ReasonCode::ForbiddenKind
            | ReasonCode::DatasetNotCovered
    );
    if !of_columns {
        return denial;
    }
    let planned = match (&submitted.query, &submitted.sql) {
        (_, Some(sql)) => plan(sql, visible).err(),
        (Ok(query), None) => plan_query(query, visible).err(),
        (Err(_), None) => None,
    };
    let Some(planned) = planned else { return denial };
    let joins = submitted.query.as_ref().is_ok_and(|query| !query.joins.is_empty());
    let contest = denial.refusal.contest.clone();
    let refusal = match planned.suggestion.clone() {
        // That a join is of one agency says more than that the agreement does not cover the other's dataset.
        _ if joins && planned.reason == ReasonCode::JoinAsked => Refusal { contest, ..planned },
        Some(suggestion) => denial.refusal.instead(suggestion),
        None => return denial,
    };
    Denial { refusal, facts: denial.facts }
}

/// That datasets of one register are joined otherwise says more than that the agreement has no join of them.
fn of_one_agency(denial: Denial, query: &AggregateQuery, visible: &Visible) -> Denial {
    let registers: Option<BTreeSet<_>> =
        query.datasets().map(|id| Some(&visible.contract(id)?.unit_space.id)).collect();
    let one = registers.is_some_and(|registers| registers.len() == 1);
    let planned = plan_query(query, visible).err().filter(|_| one);
    match planned.filter(|_| denial.refusal.reason == ReasonCode::OperationNotCovered) {
        Some(refusal) => {
            Denial { refusal: Refusal { contest: denial.refusal.contest, ..refusal }, facts: denial.facts }
        }
        None => denial,
    }
}

fn suggested(refusal: Refusal, submitted: &SubmittedQuery, visible: &Visible) -> Refusal {
    let planned = submitted.sql.as_ref().and_then(|sql| plan(sql, visible).err());
    planned.filter(|planned| planned.reason == refusal.reason).unwrap_or(refusal)
}
