//! The contract that these tests ask.

use firebreak_domain::Contract;

/// The contract of the sample federation's visits.
pub fn visits() -> Contract {
    let contract: Contract = toml::from_str(include_str!("../fixtures/health.visits.toml")).unwrap();
    contract.check().unwrap();
    contract
}
