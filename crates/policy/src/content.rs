//! What a bundle's files say, checked each by itself and against one another.

use crate::candidate::Candidate;
use crate::ceilings;
use crate::constitution::{self, Constitution};
use crate::disclosure;
use crate::error::BundleError;
use crate::match_terms::wrong_terms;
use crate::overseers::{Overseers, SignedText};
use crate::signing::contract_text;
use cedar_policy::{Effect, Policy, PolicyId, PolicySet};
use firebreak_domain::{
    Agreement, AgreementId, Assessment, AssessmentId, ColumnRole, Contract, DatasetId, JoinTerms, Operation, Registry,
    Rho, UnitSpaceId,
};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

/// The facts and policies of a bundle.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) registry: Registry,
    pub(crate) overseers: Overseers,
    pub(crate) agreements: BTreeMap<AgreementId, Arc<Agreement>>,
    pub(crate) assessments: BTreeMap<AssessmentId, Assessment>,
    pub(crate) contracts: BTreeMap<DatasetId, Arc<Contract>>,
    /// The constitution and the bundle's own policies.
    pub(crate) policies: PolicySet,
    /// Each of the bundle's own policies in words, by id.
    pub(crate) rules: BTreeMap<String, String>,
}

impl Content {
    pub(crate) fn read(candidate: &Candidate, constitution: &Constitution) -> Result<Self, BundleError> {
        let registry: Registry = parse(candidate, "endpoints.toml")?;
        registry.check()?;
        let overseers = Overseers::parse(candidate.text("overseers.toml")?)?;
        let contracts = contracts(candidate, &overseers)?;
        let assessments = assessments(candidate)?;
        let mut agreements = BTreeMap::new();
        for file in candidate.listed("agreements", "toml") {
            let agreement: Agreement = parse(candidate, file)?;
            check_agreement(file, &agreement, &contracts, &assessments)?;
            insert(file, "agreement", &mut agreements, agreement.id.clone(), Arc::new(agreement))?;
        }
        let (policies, rules) = policies(candidate, constitution)?;
        Ok(Self { registry, overseers, agreements, assessments, contracts, policies, rules })
    }
}

fn parse<T: DeserializeOwned>(candidate: &Candidate, file: &str) -> Result<T, BundleError> {
    toml::from_str(candidate.text(file)?).map_err(|e| {
        let at = e.span().map_or_else(String::new, |span| format!(" (at byte {})", span.start));
        BundleError::Syntax { file: file.to_owned(), problem: format!("{}{at}", e.message()) }
    })
}

fn insert<K: Ord + ToString, V>(
    file: &str,
    kind: &str,
    all: &mut BTreeMap<K, V>,
    key: K,
    value: V,
) -> Result<(), BundleError> {
    match all.entry(key) {
        Entry::Vacant(place) => {
            place.insert(value);
            Ok(())
        }
        Entry::Occupied(place) => {
            let name = format!("{kind} {}", place.key().to_string());
            Err(BundleError::Duplicate { file: file.to_owned(), name })
        }
    }
}

fn within(file: &str, field: &'static str, value: Rho, ceiling: Rho) -> Result<(), BundleError> {
    if value <= ceiling { Ok(()) } else { Err(BundleError::AboveCeiling { file: file.to_owned(), field, ceiling }) }
}

fn contracts(candidate: &Candidate, overseers: &Overseers) -> Result<BTreeMap<DatasetId, Arc<Contract>>, BundleError> {
    let mut contracts = BTreeMap::new();
    let mut spaces: BTreeMap<UnitSpaceId, Arc<Contract>> = BTreeMap::new();
    for file in candidate.listed("contracts", "toml") {
        let contract: Contract = parse(candidate, file)?;
        contract.check().map_err(|source| BundleError::Contract { file: file.to_owned(), source })?;
        if !is_signed(candidate, overseers, file, &contract) {
            return Err(BundleError::ContractNotSigned { file: file.to_owned(), agency: contract.agency });
        }
        let space = &contract.unit_space;
        within(file, "unit_space.rho_per_year", space.rho_per_year, ceilings::RHO_PER_YEAR)?;
        within(file, "unit_space.rho_for_life", space.rho_for_life, ceilings::RHO_FOR_LIFE)?;
        let contract = Arc::new(contract);
        let first = spaces.entry(contract.unit_space.id.clone()).or_insert_with(|| Arc::clone(&contract));
        if first.unit_space != contract.unit_space || first.agency != contract.agency {
            let unit_space = contract.unit_space.id.clone();
            return Err(BundleError::UnitSpacesDiffer { file: file.to_owned(), unit_space });
        }
        insert(file, "contract", &mut contracts, contract.id.clone(), contract)?;
    }
    // A note whose contract is gone is a signature in search of a text.
    for note in candidate.listed("contracts", "note") {
        let contract = note.strip_suffix("note").map(|stem| format!("{stem}toml")).unwrap_or_default();
        if !candidate.files.contains_key(&contract) {
            return Err(BundleError::Stray(note.to_owned()));
        }
    }
    for contract in contracts.values() {
        check_part(contract, &contracts)?;
    }
    Ok(contracts)
}

/// Whether a contract and the others that say to be parts of the same logical dataset belong together.
fn check_part(contract: &Contract, contracts: &BTreeMap<DatasetId, Arc<Contract>>) -> Result<(), BundleError> {
    let Some(part_of) = &contract.part_of else { return Ok(()) };
    let problem = |problem| {
        Err(BundleError::PartsDisagree { part: contract.id.clone(), logical: part_of.dataset.clone(), problem })
    };
    if contracts.contains_key(&part_of.dataset) {
        return problem("that is the dataset of a contract: give the logical dataset a name of its own");
    }
    let mut others = parts_of(contracts, &part_of.dataset).filter(|other| other.id != contract.id).peekable();
    if others.peek().is_none() {
        return problem("no other contract does: a logical dataset has parts of two agencies or more");
    }
    for other in others {
        if other.agency == contract.agency {
            return problem("another part is of the same agency: each part is of an agency of its own");
        }
        if other.part_of.as_ref() != Some(part_of) {
            return problem("another part says otherwise whether registers are disjoint");
        }
        if !contract.reads_like(other) {
            return problem(
                "another part has other columns, roles, domains, rows per person or cuts: all parts have the same",
            );
        }
    }
    Ok(())
}

/// The contracts that are parts of a logical dataset, by their ids; none where there is no such.
pub(crate) fn parts_of<'a>(
    contracts: &'a BTreeMap<DatasetId, Arc<Contract>>,
    logical: &DatasetId,
) -> impl Iterator<Item = &'a Arc<Contract>> {
    contracts.values().filter(move |contract| contract.part_of.as_ref().is_some_and(|part| part.dataset == *logical))
}

fn is_signed(candidate: &Candidate, overseers: &Overseers, file: &str, contract: &Contract) -> bool {
    let note = file.strip_suffix("toml").map(|stem| format!("{stem}note"));
    let note = note.and_then(|file| candidate.files.get(&file)).and_then(|bytes| SignedText::parse(bytes));
    let (Some(note), Some(key), Some(bytes)) =
        (note, overseers.agency_key(&contract.agency), candidate.files.get(file))
    else {
        return false;
    };
    note.text() == contract_text(contract, bytes) && note.is_signed_by(key)
}

fn assessments(candidate: &Candidate) -> Result<BTreeMap<AssessmentId, Assessment>, BundleError> {
    let mut assessments = BTreeMap::new();
    for file in candidate.listed("assessments", "toml") {
        let assessment: Assessment = parse(candidate, file)?;
        assessment.check_format().map_err(|source| BundleError::Format { file: file.to_owned(), source })?;
        insert(file, "assessment", &mut assessments, assessment.id.clone(), assessment)?;
    }
    Ok(assessments)
}

fn check_agreement(
    file: &str,
    agreement: &Agreement,
    contracts: &BTreeMap<DatasetId, Arc<Contract>>,
    assessments: &BTreeMap<AssessmentId, Assessment>,
) -> Result<(), BundleError> {
    let problem = |problem: String| Err(BundleError::Agreement { file: file.to_owned(), problem });
    agreement.check_format().map_err(|source| BundleError::Format { file: file.to_owned(), source })?;
    for (field, text) in [("controller", &agreement.controller), ("contest", &agreement.contest)] {
        if text.trim().is_empty() {
            return problem(format!("{field} is blank"));
        }
    }
    if agreement.start > agreement.end {
        return problem("start is after end".to_owned());
    }
    for covered in &agreement.datasets {
        let Some(contract) = contracts.get(&covered.id) else {
            return problem(format!("no contract describes dataset {}", covered.id));
        };
        if let Some(column) = covered.columns.iter().find(|c| contract.column(c.as_str()).is_none()) {
            return problem(format!("the contract of {} has no column {column}", covered.id));
        }
    }
    if let Some(assessment) = agreement.assessment.as_ref().filter(|id| !assessments.contains_key(*id)) {
        return problem(format!("no file declares assessment {assessment}"));
    }
    if agreement.operations.contains(&Operation::Match) != agreement.matching.is_some() {
        return problem("the operation match and the section [match] go together".to_owned());
    }
    if let Some(wrong) = agreement.matching.as_ref().and_then(|terms| wrong_terms(agreement, terms, contracts)) {
        return problem(wrong);
    }
    if let Some(wrong) = agreement.join.as_ref().and_then(|terms| wrong_join(agreement, terms, contracts)) {
        return problem(wrong.to_owned());
    }
    if let Some(wrong) = disclosure::wrong_payload(agreement, contracts) {
        return problem(wrong);
    }
    let budget = &agreement.budget;
    if budget.rho_per_query > budget.rho_per_query_max {
        return problem("budget.rho_per_query is above budget.rho_per_query_max".to_owned());
    }
    within(file, "budget.rho_per_query_max", budget.rho_per_query_max, ceilings::RHO_PER_QUERY)?;
    within(file, "budget.rho_total", budget.rho_total, ceilings::RHO_FOR_LIFE)?;
    within(file, "budget.rho_per_analyst", budget.rho_per_analyst, ceilings::RHO_FOR_LIFE)
}

/// What is wrong with the terms of a join beside the agreement and the contracts that they name.
fn wrong_join(
    agreement: &Agreement,
    terms: &JoinTerms,
    contracts: &BTreeMap<DatasetId, Arc<Contract>>,
) -> Option<&'static str> {
    if let Some(wrong) = terms.problem() {
        return Some(wrong);
    }
    if !agreement.operations.contains(&Operation::Aggregate) {
        return Some("a join is asked as an aggregate: the section [join] takes the operation aggregate");
    }
    let (Some(left), Some(right)) = (contracts.get(&terms.left), contracts.get(&terms.right)) else {
        return Some("join.left and join.right are datasets that there are contracts for");
    };
    if left.agency == right.agency {
        return Some("join.left and join.right are of one agency: its datasets are joined without terms");
    }
    if left.cuts.iter().all(|cut| !right.cuts.contains(cut)) {
        return Some("the contracts of join.left and join.right have no cut in common");
    }
    if terms.charge().rho > agreement.budget.rho_per_query_max {
        return Some("join.epsilon costs more than budget.rho_per_query_max: a question costs half of its square");
    }
    [left, right].into_iter().find_map(|contract| {
        if !agreement.parties.contains(&contract.agency) {
            return Some("the agencies of join.left and join.right are both parties of the agreement");
        }
        let key = contract.column(terms.field.as_str()).filter(|column| column.role == ColumnRole::MatchKey);
        let Some(key) = key else {
            return Some("join.field is not a match_key in the contracts of both sides");
        };
        if key.special.is_some() {
            return Some("join.field is of a special kind: persons are never joined by one");
        }
        let covered = agreement.columns_of(&contract.id).is_some_and(|columns| columns.contains(&terms.field));
        (!covered).then_some("join.field is not among the agreement's columns on both sides")
    })
}

type PoliciesAndRules = (PolicySet, BTreeMap<String, String>);

fn policies(candidate: &Candidate, constitution: &Constitution) -> Result<PoliciesAndRules, BundleError> {
    let mut all = constitution.policies().clone();
    let mut rules = BTreeMap::new();
    for file in candidate.listed("policies", "cedar") {
        let at_odds = |problem: String| BundleError::AtOddsWithConstitution { file: file.to_owned(), problem };
        let mut own = PolicySet::new();
        for policy in constitution::parse_policies(candidate.text(file)?).map_err(at_odds)? {
            let (id, rule) = name_of(&policy).map_err(at_odds)?;
            let renamed = policy.new_id(PolicyId::new(&id));
            all.add(renamed.clone()).map_err(|_| at_odds(format!("two policies of the bundle are called {id}")))?;
            own.add(renamed).map_err(|e| at_odds(e.to_string()))?;
            rules.insert(id, rule);
        }
        constitution::validate(constitution.schema(), &own).map_err(at_odds)?;
    }
    Ok((all, rules))
}

fn name_of(policy: &Policy) -> Result<(String, String), String> {
    let id = policy.annotation("id").unwrap_or_default();
    let formed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if id.is_empty() || id.len() > 64 || !id.bytes().all(formed) {
        return Err("each policy has an @id of 1 to 64 characters of a-z, 0-9 and '-'".to_owned());
    }
    let rule = match (policy.annotation("rule"), policy.effect()) {
        (Some(rule), _) => rule.to_owned(),
        (None, Effect::Permit) => format!("policy {id} of the bundle permits it"),
        (None, Effect::Forbid) => format!("policy {id} of the bundle forbids it"),
    };
    Ok((format!("{}{id}", BUNDLE_PREFIX), rule))
}

/// What the ids of a bundle's own policies begin with.
pub(crate) const BUNDLE_PREFIX: &str = "bundle/";
