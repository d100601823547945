//! Files that people write.

use super::{text, texts};
use crate::samples::contracts as sample_contracts;
use firebreak_domain::{
    Agreement, Assessment, Binding, Contract, EpochTerms, JoinSide, JoinTerms, Registry, Timestamp,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Reads a file; it is written so that it is read as the same.
fn read<T: DeserializeOwned + Serialize>(bytes: &[u8]) -> Option<T> {
    let read: T = toml::from_str(text(bytes)?).ok()?;
    let written = toml::to_string(&read).unwrap();
    let again: T = toml::from_str(&written).unwrap();
    assert_eq!(toml::to_string(&again).unwrap(), written);
    Some(read)
}

/// An agreement. Whatever terms it has of matches and joins, good ones keep their bounds.
pub fn agreement(bytes: &[u8]) -> bool {
    let Some(agreement) = read::<Agreement>(bytes) else { return false };
    if let Some(terms) = agreement.join.as_ref().filter(|terms| terms.problem().is_none()) {
        assert!(terms.semi_honest_join && terms.epsilon <= JoinTerms::MOST_EPSILON);
        assert!(terms.joins([terms.dataset(JoinSide::Left), terms.dataset(JoinSide::Right)]));
        assert!(terms.charge().rho.nano() > 0, "a join costs nothing");
    }
    if let Some(terms) = agreement.epochs() {
        let now = Timestamp::from_secs(1_750_000_000);
        let epoch = terms.at(now);
        let most = i64::from(EpochTerms::MOST_HOLD_HOURS) * 3600;
        assert!(now < epoch.ends && epoch.ends <= epoch.held_until && epoch.held_until <= now.plus_secs(most));
        assert!(agreement.matching.as_ref().is_some_and(|of| of.payload.is_none() && of.keys.len() == 1));
    }
    for key in agreement.matching.iter().flat_map(|of| &of.keys) {
        let _ = (key.field(), key.names_one_person(), key.columns_due());
    }
    agreement.check_format().is_ok()
}

pub fn agreements() -> Vec<Vec<u8>> {
    const ROUND: &str = include_str!("../../../../deploy/sample/bundle/agreements/vaccination-round.toml");
    let epoch = format!("{ROUND}\n[match.epoch]\nhours = 24\nhold_hours = 30\nelements = 1024\n");
    texts(&[
        ROUND,
        // Small sets against one list, two keys, a payload, a join.
        &epoch,
        include_str!("../../../../deploy/sample/bundle/agreements/language-support.toml"),
        include_str!("../../../../deploy/sample/bundle/agreements/vaccination-letters.toml"),
        include_str!("../../../../deploy/sample/bundle/agreements/school-vaccinations.toml"),
        include_str!("../../../../deploy/sample/bundle/agreements/health-statistics.toml"),
        include_str!("../../../../deploy/sample/bundle/agreements/residence-check.toml"),
    ])
}

pub fn assessment(bytes: &[u8]) -> bool {
    let Some(assessment) = read::<Assessment>(bytes) else { return false };
    let _ = assessment.missing();
    assessment.check_format().is_ok()
}

pub fn assessments() -> Vec<Vec<u8>> {
    texts(&[
        include_str!("../../../../deploy/sample/bundle/assessments/vaccination-round.toml"),
        include_str!("../../../../deploy/sample/bundle/assessments/health-statistics.toml"),
    ])
}

pub fn contract(bytes: &[u8]) -> bool {
    let Some(contract) = read::<Contract>(bytes) else { return false };
    if contract.check().is_err() {
        return false;
    }
    // What is suggested for a contract can be asked of it.
    let sql = firebreak_query::default_sql(&contract);
    assert!(
        firebreak_query::plan(&sql, std::slice::from_ref(&contract)).is_ok(),
        "what is suggested is refused: {sql}"
    );
    true
}

pub fn contracts() -> Vec<Vec<u8>> {
    texts(&[
        include_str!("../../../../deploy/sample/bundle/contracts/education.enrolments.toml"),
        include_str!("../../../../deploy/sample/bundle/contracts/health.interpreting.toml"),
        include_str!("../../../../deploy/sample/bundle/contracts/health.vaccinations.toml"),
        include_str!("../../../../deploy/sample/bundle/contracts/health.visits.toml"),
    ])
}

pub fn binding(bytes: &[u8]) -> bool {
    let Some(binding) = read::<Binding>(bytes) else { return false };
    for contract in sample_contracts() {
        let _ = binding.misfits(contract);
    }
    binding.check_format().is_ok()
}

pub fn bindings() -> Vec<Vec<u8>> {
    texts(&[
        include_str!("../../../../deploy/sample/bindings/education.enrolments.toml"),
        include_str!("../../../../deploy/sample/bindings/health.visits.toml"),
    ])
}

/// Who takes part. Whatever the file says, everybody has a class, however bodies pass data on in circles.
pub fn registry(bytes: &[u8]) -> bool {
    let Some(registry) = read::<Registry>(bytes) else { return false };
    if registry.check().is_err() {
        return false;
    }
    for organisation in &registry.organisations {
        let class = registry.class_of(&organisation.id).class;
        assert!(class >= organisation.class, "{} counts as better than it is", organisation.id);
    }
    registry.endpoints.iter().for_each(|endpoint| drop(registry.class_of_endpoint(&endpoint.id)));
    true
}

pub fn registries() -> Vec<Vec<u8>> {
    texts(&[include_str!("../../../../deploy/sample/bundle/endpoints.toml")])
}
