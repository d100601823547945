//! The payload of a match: columns of matched persons that go to its receiver. The one way in which rows that name
//! persons may move.

use crate::catalogue::membership_kinds;
use crate::refusal::because_of_class;
use crate::view::View;
use firebreak_domain::{
    Agreement, Contract, DatasetId, LegalBasis, MATCHED_BY_COLUMNS, MatchKey, MatchTerms, Operation, PayloadError,
    PayloadLayout, ReasonCode, RecipientClass, Refusal,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is wrong with an agreement's payload, in words for its authors; `None` where nothing is, or where it has none.
pub(crate) fn wrong_payload(agreement: &Agreement, contracts: &BTreeMap<DatasetId, Arc<Contract>>) -> Option<String> {
    let terms = agreement.matching.as_ref();
    let payload = terms.and_then(|terms| terms.payload.as_ref());
    if agreement.operations.contains(&Operation::Disclose) != payload.is_some() {
        return Some("the operation disclose and the section [match.payload] go together".to_owned());
    }
    let (terms, payload) = terms.zip(payload)?;
    let wrong = |what: &str| Some(format!("match.payload: {what}"));
    if terms.keys.len() != 1 {
        return wrong(
            "an agreement that discloses has one match key: what a weaker key finds is provisional and discloses nothing",
        );
    }
    if !terms.keys.iter().all(MatchKey::names_one_person) {
        return wrong("its match key is a number: what names find is provisional and discloses nothing");
    }
    let (Some(sender), Some(receiver)) = (contracts.get(&terms.sender_dataset), contracts.get(&terms.receiver_dataset))
    else {
        return wrong("each side's dataset has a contract");
    };
    if let Err(error) = PayloadLayout::of(sender, &payload.columns) {
        return wrong(&error.to_string());
    }
    let covered = agreement.columns_of(&sender.id).unwrap_or_default();
    if let Some(column) = payload.columns.iter().find(|column| !covered.contains(column)) {
        return wrong(&format!("column {column} is not among the agreement's columns of {}", sender.id));
    }
    if sender.contribution.rows_per_person != 1 {
        return wrong(&format!(
            "the contract of {} allows several rows of a person, and one at most is disclosed: name a dataset with \
             contribution.rows_per_person = 1",
            sender.id
        ));
    }
    if let Some(unit) = receiver.privacy_unit().filter(|unit| payload.columns.contains(&unit.name)) {
        return wrong(&format!("column {} has the name of the receiver's own key of a person", unit.name));
    }
    if let Some(column) = payload.columns.iter().find(|column| MATCHED_BY_COLUMNS.contains(&column.as_str())) {
        return wrong(&format!("column {column} has the name of one that says by which key a person was matched"));
    }
    let kept = payload.columns.iter().filter_map(|name| sender.column(name.as_str())?.retention_days);
    let most = kept.fold(agreement.retention_days, u32::min);
    if payload.retention_days == 0 || payload.retention_days > most {
        return wrong(&format!("retention_days is at least 1, and at most {most}, by the agreement and the columns"));
    }
    match kind_without_consent(agreement, sender) {
        None => None,
        Some(kind) => wrong(&format!(
            "special category {kind} is disclosed with consent as the legal basis, on a ground that special_ground names"
        )),
    }
}

/// The first special category that a disclosure would tell and may not.
fn kind_without_consent(agreement: &Agreement, sender: &Contract) -> Option<&'static str> {
    let by_consent = agreement.legal_basis == LegalBasis::Consent;
    membership_kinds(sender).find(|kind| !by_consent || !agreement.has_ground_for(*kind)).map(|kind| kind.as_str())
}

/// SECURITY: what the constitution says of disclosures stands here a second time, in plain Rust, whatever any policy or
/// the evaluator says.
pub(crate) fn check(view: &View<'_>) -> Result<(), Refusal> {
    let Some((agreement, terms)) = view.discloses() else { return Ok(()) };
    let classes = || view.findings().map(|finding| finding.map_or(RecipientClass::Enforcement, |found| found.class));
    if classes().any(|class| class == RecipientClass::Enforcement) {
        return Err(because_of_class(view));
    }
    if classes().any(|class| class != RecipientClass::Service) {
        return Err(Refusal::new(ReasonCode::RecipientNotCovered).because("rows are disclosed to services alone"));
    }
    if !agreement.operations.contains(&Operation::Disclose) {
        return Err(Refusal::new(ReasonCode::OperationNotCovered));
    }
    check_columns(agreement, terms, view)
}

fn check_columns(agreement: &Agreement, terms: &MatchTerms, view: &View<'_>) -> Result<(), Refusal> {
    let payload = terms.payload.as_ref().ok_or(Refusal::new(ReasonCode::OperationNotCovered))?;
    let sender = view.bundle.contracts().get(&terms.sender_dataset);
    let sender = sender.ok_or(Refusal::new(ReasonCode::DatasetNotCovered))?;
    let forbidden = |column: &firebreak_domain::ColumnName| {
        sender.column(column.as_str()).and_then(|column| column.special).is_some_and(|kind| kind.is_forbidden())
    };
    if payload.columns.iter().any(forbidden) {
        return Err(Refusal::new(ReasonCode::ForbiddenKind));
    }
    match PayloadLayout::of(sender, &payload.columns) {
        Ok(_) => {}
        Err(PayloadError::Withheld(_)) => return Err(Refusal::new(ReasonCode::IdentifierColumn)),
        Err(_) => return Err(Refusal::new(ReasonCode::ColumnNotCovered)),
    }
    match kind_without_consent(agreement, sender) {
        None => Ok(()),
        Some(_) => Err(Refusal::new(ReasonCode::NoSpecialGround)),
    }
}

#[cfg(test)]
mod tests;
