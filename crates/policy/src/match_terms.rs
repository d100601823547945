//! What an agreement says of its match, checked against the contracts of both sides.

use firebreak_domain::{Agreement, ColumnRole, Contract, DatasetId, MOST_MATCH_KEYS, MatchKey, MatchTerms};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is wrong with the terms, in words.
pub(crate) fn wrong_terms(
    agreement: &Agreement,
    terms: &MatchTerms,
    contracts: &BTreeMap<DatasetId, Arc<Contract>>,
) -> Option<String> {
    if terms.receiver == terms.sender {
        return Some("match.receiver and match.sender are one".to_owned());
    }
    if !agreement.recipients.contains(&terms.receiver) {
        return Some("match.receiver is not among the recipients".to_owned());
    }
    if !(1..=MOST_MATCH_KEYS).contains(&terms.keys.len()) {
        return Some(format!("a match has 1 to {MOST_MATCH_KEYS} keys, each a [[match.key]], the strongest first"));
    }
    let of_key = |key: &MatchKey, wrong: &str| format!("match.key {}: {wrong}", key.name);
    let others = |place: usize| terms.keys.iter().take(place);
    for (place, key) in terms.keys.iter().enumerate() {
        let wrong = if others(place).any(|other| other.name == key.name) {
            Some("another key has the same name")
        } else if others(place).any(|other| other.compares_like(key)) {
            // Its caps would add up with the other's.
            Some("another key compares the same columns by the same rule")
        } else {
            wrong_key(key)
        };
        if let Some(wrong) = wrong {
            return Some(of_key(key, wrong));
        }
    }
    if let Some(wrong) = terms.epoch.and_then(|epoch| epoch.wrong(agreement.legal_basis, terms)) {
        return Some(wrong.to_owned());
    }
    let sides = [(&terms.receiver, &terms.receiver_dataset), (&terms.sender, &terms.sender_dataset)];
    for (agency, dataset) in sides {
        let Some(contract) = contracts.get(dataset).filter(|contract| contract.agency == *agency) else {
            return Some("match: each side's dataset is one that its agency has a contract for".to_owned());
        };
        let covered = agreement.columns_of(dataset).unwrap_or_default();
        for (key, column) in terms.keys.iter().flat_map(|key| key.columns.iter().map(move |column| (key, column))) {
            if contract.column(column.as_str()).is_none_or(|c| c.role != ColumnRole::MatchKey) {
                return Some(of_key(key, "a column is not a match_key in the contracts of both sides"));
            }
            if !covered.contains(column) {
                return Some(of_key(key, "a column is not among the agreement's columns on both sides"));
            }
        }
    }
    None
}

/// What is wrong with a key by itself.
fn wrong_key(key: &MatchKey) -> Option<&'static str> {
    let Some(due) = key.columns_due() else {
        return Some("this program knows no such normaliser: upgrade it, or name another");
    };
    if key.columns.len() != due {
        return Some("its columns are as many as its normaliser takes: 1 of a number; 3 of names and a birth date");
    }
    if (1..key.columns.len()).any(|end| key.columns.iter().take(end).any(|c| Some(c) == key.columns.get(end))) {
        return Some("a column stands in it twice");
    }
    wrong_caps(key)
}

/// Caps that contradict each other, or that let nothing through.
fn wrong_caps(key: &MatchKey) -> Option<&'static str> {
    if key.life_cap_permille.is_some_and(|life| life < key.cap_permille) {
        return Some("life_cap_permille, for all years together, is below cap_permille, for one");
    }
    if [key.tags_permille, key.life_tags_permille].into_iter().flatten().any(|permille| permille < 1000) {
        return Some(
            "tags_permille and life_tags_permille are thousandths of the sender's whole list: 1000 is one list, and \
             less is none",
        );
    }
    let life_below_year = key.tags_permille.zip(key.life_tags_permille).is_some_and(|(year, life)| life < year);
    life_below_year.then_some("life_tags_permille, for all years together, is below tags_permille, for one")
}
