//! What a successor loosens. The proof is about policies; classes, roles, bounds and budgets are facts, and an ordinary
//! bundle may only tighten them. What is absent counts as tightest: an organisation that is not registered is
//! enforcement, a column that no contract has cannot be read, a register that no contract names has no budget. So
//! nothing is loosened by removing it first.

use crate::bundle::Bundle;
use crate::candidate::Candidate;
use crate::error::BundleError;
use crate::overseers::Overseers;
use firebreak_domain::{
    Agreement, AgreementId, Column, ColumnRole, Contract, Domain, JoinTerms, MatchCaps, MatchKey, OrgId, Recipient,
    Rho, SpecialKind, tags_of,
};
use std::collections::BTreeSet;
use std::fmt;

/// Days that must lie between `made` and `valid-from` of a bundle that loosens anything.
pub const WAITING_DAYS: i64 = 30;

/// One fact that a successor loosens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loosening {
    /// The fact, in words.
    pub what: String,
    /// The agencies whose data it concerns, as far as the bundle in force holds a contract key of theirs.
    pub owners: BTreeSet<OrgId>,
}

impl fmt::Display for Loosening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// Demands what loosening takes: every overseer in force, the agencies concerned, and the waiting period.
pub(crate) fn require(
    loosenings: &[Loosening],
    candidate: &Candidate,
    in_force: &Overseers,
) -> Result<(), BundleError> {
    if loosenings.is_empty() {
        return Ok(());
    }
    let (have, need) = (in_force.signers(&candidate.note).len(), in_force.overseers.len());
    if have < need {
        return Err(BundleError::LooseningNeedsAllOverseers { loosenings: loosenings.to_vec(), have, need });
    }
    for loosening in loosenings {
        let keys = loosening.owners.iter().filter_map(|agency| Some((agency, in_force.agency_key(agency)?)));
        for (agency, key) in keys {
            if !candidate.note.is_signed_by(key) {
                return Err(BundleError::LooseningNeedsAgency { loosening: loosening.clone(), agency: agency.clone() });
            }
        }
    }
    let validity = candidate.manifest.validity;
    if validity.valid_from < validity.made.plus_secs(WAITING_DAYS * 86_400) {
        return Err(BundleError::LooseningTooSoon { loosenings: loosenings.to_vec() });
    }
    Ok(())
}

/// What `new` loosens of `old`, in a fixed order.
pub(crate) fn loosenings(old: &Bundle, new: &Bundle) -> Vec<Loosening> {
    let mut found = Vec::new();
    recipients(old, new, &mut found);
    keys(old, new, &mut found);
    for contract in new.contracts().values() {
        contract_facts(old, contract, &mut found);
    }
    for (id, agreement) in new.agreements() {
        if let Some(before) = old.agreements().get(id) {
            agreement_facts(before, agreement, register_of(new, agreement), &owners_of(&[old, new], id), &mut found);
        }
    }
    found
}

struct Facts<'a> {
    owners: &'a BTreeSet<OrgId>,
    found: &'a mut Vec<Loosening>,
}

impl Facts<'_> {
    fn loosened_if(&mut self, loosened: bool, what: impl FnOnce() -> String) {
        if loosened {
            self.found.push(Loosening { what: what(), owners: self.owners.clone() });
        }
    }
}

fn owners_of(bundles: &[&Bundle], agreement: &AgreementId) -> BTreeSet<OrgId> {
    let covered = bundles.iter().filter_map(|b| Some((b, b.agreements().get(agreement)?)));
    covered
        .flat_map(|(b, agreement)| agreement.datasets.iter().filter_map(|d| b.contracts().get(&d.id)))
        .map(|contract| contract.agency.clone())
        .collect()
}

/// Classes after onward transfer: a removed edge and a milder class come to the same.
fn recipients(old: &Bundle, new: &Bundle, found: &mut Vec<Loosening>) {
    let registered = new.registry();
    let organisations = registered.organisations.iter().map(|o| (&o.id, Recipient::Organisation(o.id.clone())));
    let endpoints = registered.endpoints.iter().map(|e| (&e.organisation, Recipient::Endpoint(e.id.clone())));
    for (org, recipient) in organisations.chain(endpoints) {
        let (before, after) = (old.class_of(&recipient), new.class_of(&recipient));
        let named = |agreement: &Agreement| agreement.recipients.contains(org) || agreement.parties.contains(org);
        let agreements = new.agreements().iter().filter(|(_, a)| named(a));
        let owners = agreements.flat_map(|(id, _)| owners_of(&[old, new], id)).collect();
        Facts { owners: &owners, found }.loosened_if(after.class < before.class, || {
            let registered = if before.registered { "" } else { ", which was not registered" };
            format!("{recipient}{registered}: class {} to {}", before.class.as_str(), after.class.as_str())
        });
    }
}

/// A pin or a contract key in other hands speaks for the agency.
fn keys(old: &Bundle, new: &Bundle, found: &mut Vec<Loosening>) {
    for organisation in &new.registry().organisations {
        let before = old.registry().organisation(&organisation.id).and_then(|o| o.pin);
        let owners = BTreeSet::from([organisation.id.clone()]);
        Facts { owners: &owners, found }.loosened_if(before.is_some() && organisation.pin != before, || {
            format!("the pinned key of {}", organisation.id)
        });
    }
    for agency in &old.overseers().agencies {
        let owners = BTreeSet::from([agency.id.clone()]);
        let kept = new.overseers().agency_key(&agency.id) == Some(agency.key.as_str());
        Facts { owners: &owners, found }.loosened_if(!kept, || format!("the contract key of {}", agency.id));
    }
}

fn contract_facts(old: &Bundle, new: &Contract, found: &mut Vec<Loosening>) {
    let id = &new.id;
    let before = old.contracts().get(id);
    let mut owners = BTreeSet::from([new.agency.clone()]);
    owners.extend(before.map(|c| c.agency.clone()));
    let mut facts = Facts { owners: &owners, found };
    let space = &new.unit_space;
    let known = old.contracts().values().find(|c| c.unit_space.id == space.id).map(|c| &c.unit_space);
    let figures =
        known.map_or((Rho::default(), Rho::default(), 0), |s| (s.rho_per_year, s.rho_for_life, s.register_size));
    facts.loosened_if(space.rho_per_year > figures.0, || format!("{id}: unit_space.rho_per_year is raised"));
    facts.loosened_if(space.rho_for_life > figures.1, || format!("{id}: unit_space.rho_for_life is raised"));
    facts.loosened_if(space.register_size > figures.2, || format!("{id}: unit_space.register_size is raised"));
    if let Some(before) = before {
        facts.loosened_if(before.agency != new.agency, || format!("{id}: another agency"));
        facts.loosened_if(before.unit_space.id != space.id, || format!("{id}: another unit space"));
        let rows = new.contribution.rows_per_person > before.contribution.rows_per_person;
        facts.loosened_if(rows, || format!("{id}: rows_per_person is raised"));
    }
    for column in &new.columns {
        let name = &column.name;
        match before.and_then(|c| c.column(name.as_str())) {
            // What nobody may read is no loss to the persons it is about.
            None => facts.loosened_if(exposure(column.role) > 0, || format!("{id}.{name}: a new column")),
            Some(before) => column_facts(id.as_str(), before, column, &mut facts),
        }
    }
}

fn column_facts(dataset: &str, old: &Column, new: &Column, facts: &mut Facts<'_>) {
    let name = &new.name;
    let unit = (old.role == ColumnRole::PrivacyUnit) != (new.role == ColumnRole::PrivacyUnit);
    let role = old.role != new.role && exposure(new.role) >= exposure(old.role);
    facts.loosened_if(unit || role, || format!("{dataset}.{name}: a looser role"));
    let forbidden = new.special.is_some_and(SpecialKind::is_forbidden);
    let special = old.special.is_some() && new.special != old.special && !forbidden;
    facts.loosened_if(special, || format!("{dataset}.{name}: no longer the special kind that it was"));
    let kept_longer = old.retention_days.is_some_and(|days| new.retention_days.is_none_or(|n| n > days));
    facts.loosened_if(kept_longer, || format!("{dataset}.{name}: kept longer"));
    facts.loosened_if(is_wider(&old.domain, &new.domain), || format!("{dataset}.{name}: a wider domain"));
}

const fn exposure(role: ColumnRole) -> u8 {
    match role {
        ColumnRole::Withheld => 0,
        ColumnRole::Identifier => 1,
        ColumnRole::PrivacyUnit | ColumnRole::MatchKey => 2,
        ColumnRole::Filter => 3,
        ColumnRole::Category | ColumnRole::Measure => 4,
    }
}

/// Whether a domain tells more than it did. Months, years and days that a calendar gains are no loosening: time passes.
fn is_wider(old: &Domain, new: &Domain) -> bool {
    match (old, new) {
        (Domain::Category { codes: old, .. }, Domain::Category { codes: new, .. }) => {
            new.iter().any(|code| old.iter().all(|o| o.code != code.code))
        }
        (Domain::Open { length: old }, Domain::Open { length: new }) => new > old,
        (Domain::Integer { min: a, max: b }, Domain::Integer { min, max }) => min < a || max > b,
        (Domain::Decimal { min: a, max: b, decimals: c }, Domain::Decimal { min, max, decimals }) => {
            min < a || max > b || decimals > c
        }
        (Domain::Month { .. }, Domain::Month { .. })
        | (Domain::Year { .. }, Domain::Year { .. })
        | (Domain::Date { .. }, Domain::Date { .. })
        | (Domain::LeftOut, Domain::LeftOut)
        | (Domain::Text, Domain::Text) => false,
        _ => true,
    }
}

/// The size of the register of an agreement's receiver: of which both agreements' caps are worked out, because a larger
/// one is a loosening of its own.
fn register_of(bundle: &Bundle, agreement: &Agreement) -> u64 {
    let dataset = agreement.matching.as_ref().map(|terms| &terms.receiver_dataset);
    dataset.and_then(|id| bundle.contracts().get(id)).map_or(0, |contract| contract.unit_space.register_size)
}

fn agreement_facts(
    old: &Agreement,
    new: &Agreement,
    register: u64,
    owners: &BTreeSet<OrgId>,
    found: &mut Vec<Loosening>,
) {
    let mut facts = Facts { owners, found };
    let id = &new.id;
    let (a, b) = (&old.budget, &new.budget);
    for (field, before, after) in [
        ("rho_per_query_max", a.rho_per_query_max, b.rho_per_query_max),
        ("rho_total", a.rho_total, b.rho_total),
        ("rho_per_analyst", a.rho_per_analyst, b.rho_per_analyst),
    ] {
        facts.loosened_if(after > before, || format!("agreement {id}: budget.{field} is raised"));
    }
    facts.loosened_if(new.gateway_asserted && !old.gateway_asserted, || {
        format!("agreement {id}: gateway_asserted is turned on")
    });
    facts.loosened_if(new.retention_days > old.retention_days, || format!("agreement {id}: kept longer"));
    if let Some(terms) = &new.join {
        join_facts(id, old.join.as_ref(), terms, &mut facts);
    }
    payload_facts(old, new, &mut facts);
    epoch_facts(old, new, &mut facts);
    let (Some(a), Some(b)) = (&old.matching, &new.matching) else { return };
    facts.loosened_if(a.proofs && !b.proofs, || format!("agreement {id}: match.proofs is turned off"));
    for (place, key) in b.keys.iter().enumerate() {
        let name = &key.name;
        let Some((stronger, before)) = a.key(name).filter(|(_, before)| before.compares_like(key)) else {
            facts.loosened_if(true, || format!("agreement {id}: match.key {name} is new, or compares something else"));
            continue;
        };
        // A key runs for those whom no stronger one has matched.
        let first = a.keys.iter().take(stronger).any(|other| b.keys.iter().take(place).all(|k| k.name != other.name));
        facts.loosened_if(first, || format!("agreement {id}: match.key {name} no longer follows a stronger key"));
        // Who shares a number with somebody of another name is matched by it where no weaker key has the names.
        let told_apart = |keys: &[MatchKey], place: usize| keys.iter().skip(place).any(|key| !key.names_one_person());
        let together = key.names_one_person() && told_apart(&a.keys, stronger) && !told_apart(&b.keys, place);
        facts.loosened_if(together, || {
            format!("agreement {id}: match.key {name} no longer leaves numbers of different persons to their names")
        });
        caps_of_key(id, (old, before), (new, key), register, &mut facts);
    }
}

fn caps_of_key(
    id: &AgreementId,
    (old, before): (&Agreement, &MatchKey),
    (new, key): (&Agreement, &MatchKey),
    register: u64,
    facts: &mut Facts<'_>,
) {
    let name = &key.name;
    facts.loosened_if(key.cap_permille > before.cap_permille, || {
        format!("agreement {id}: match.cap_permille of key {name} is raised")
    });
    // What an agreement leaves unsaid follows from what it says: a later end raises a life that is not stated. Lists of
    // tags are of one length before and after.
    let caps = |agreement: &Agreement, key: &MatchKey| {
        let caps = MatchCaps::of(agreement, key, register);
        (caps.evaluations, caps.tags(tags_of(register)))
    };
    let ((evaluations, tags), (old_evaluations, old_tags)) = (caps(new, key), caps(old, before));
    for (field, before, after) in [
        ("life_cap_permille", old_evaluations.for_life, evaluations.for_life),
        ("tags_permille", old_tags.per_year, tags.per_year),
        ("life_tags_permille", old_tags.for_life, tags.for_life),
    ] {
        facts.loosened_if(after > before, || {
            format!("agreement {id}: match.{field} of key {name}, stated or not, is raised")
        });
    }
}

/// Without terms nothing is joined, so that any are looser; another key, or another rule by which it is written, joins
/// others.
fn join_facts(id: &AgreementId, old: Option<&JoinTerms>, new: &JoinTerms, facts: &mut Facts<'_>) {
    let Some(old) = old else {
        facts.loosened_if(true, || format!("agreement {id}: a join of {} and {}", new.left, new.right));
        return;
    };
    let persons = |terms: &JoinTerms| (terms.left.clone(), terms.right.clone(), terms.field.clone(), terms.normaliser);
    facts.loosened_if(persons(new) != persons(old), || format!("agreement {id}: another join"));
    facts.loosened_if(new.epsilon > old.epsilon, || format!("agreement {id}: join.epsilon is raised"));
    facts.loosened_if(new.semi_honest_join && !old.semi_honest_join, || {
        format!("agreement {id}: join.semi_honest_join is turned on")
    });
}

/// What of persons leaves with a match, and for how long it is kept.
fn payload_facts(old: &Agreement, new: &Agreement, facts: &mut Facts<'_>) {
    let payload = |a: &Agreement| {
        let terms = a.matching.as_ref()?;
        let payload = terms.payload.as_ref()?;
        let columns = payload.columns.iter().map(|column| format!("{}.{column}", terms.sender_dataset));
        Some((columns.collect::<BTreeSet<_>>(), payload.retention_days))
    };
    let Some((columns, days)) = payload(new) else { return };
    let (before, kept) = payload(old).unwrap_or_default();
    let gained: Vec<_> = columns.difference(&before).cloned().collect();
    let id = &new.id;
    facts.loosened_if(!gained.is_empty(), || format!("agreement {id}: match.payload gains {}", gained.join(", ")));
    facts.loosened_if(!before.is_empty() && days > kept, || format!("agreement {id}: match.payload is kept longer"));
}

/// An epoch lets one key and one list serve longer than a session.
fn epoch_facts(old: &Agreement, new: &Agreement, facts: &mut Facts<'_>) {
    let epoch = |agreement: &Agreement| agreement.matching.as_ref().and_then(|terms| terms.epoch);
    let (id, Some(after)) = (&new.id, epoch(new)) else { return };
    let Some(before) = epoch(old) else {
        return facts.loosened_if(true, || format!("agreement {id}: match.epoch is added"));
    };
    facts.loosened_if(after.hours > before.hours, || format!("agreement {id}: match.epoch.hours is raised"));
    let held = after.hold_hours > before.hold_hours;
    facts.loosened_if(held, || format!("agreement {id}: match.epoch.hold_hours is raised"));
    // More sets come under one key, or the padding of each hides less.
    let elements = after.elements != before.elements;
    facts.loosened_if(elements, || format!("agreement {id}: match.epoch.elements is another"));
}

#[cfg(test)]
mod tests;
