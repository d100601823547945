//! Files that people write.

use super::{text, texts};
use crate::samples::contracts as sample_contracts;
use firebreak_domain::{Agreement, Assessment, Binding, Contract, Registry};
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

pub fn agreement(bytes: &[u8]) -> bool {
    read::<Agreement>(bytes).is_some_and(|agreement| agreement.check_format().is_ok())
}

pub fn agreements() -> Vec<Vec<u8>> {
    texts(&[
        include_str!("../../../../deploy/sample/bundle/agreements/vaccination-round.toml"),
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
