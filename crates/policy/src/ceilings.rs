//! The bounds on privacy loss that no bundle can exceed: they bound what a captured quorum could spend.
//!
//! They are constants of the program, so raising one takes a release that everybody can read.

use firebreak_domain::{Charge, Delta, Epsilon, Rho};

/// The most that one question may cost: ρ = 0.5.
pub const RHO_PER_QUERY: Rho = Rho::from_nano(500_000_000);
/// The most that a person's data may cost in a calendar year: ρ = 2.
pub const RHO_PER_YEAR: Rho = Rho::from_nano(2_000_000_000);
/// The most that a person's data may ever cost: ρ = 10.
pub const RHO_FOR_LIFE: Rho = Rho::from_nano(10_000_000_000);

/// The largest δ of one question: 10⁻⁹.
pub const DELTA_PER_QUERY: Delta = Delta::from_atto(1_000_000_000);
/// The largest δ in a calendar year: 10⁻⁸.
pub const DELTA_PER_YEAR: Delta = Delta::from_atto(10_000_000_000);
/// The largest δ for life: 10⁻⁷.
pub const DELTA_FOR_LIFE: Delta = Delta::from_atto(100_000_000_000);

/// The ceiling of one question as a limit for accounts; ε is bounded through its ρ.
pub const PER_QUERY: Charge = limit(RHO_PER_QUERY, DELTA_PER_QUERY);
/// The ceiling of a calendar year as a limit for accounts.
pub const PER_YEAR: Charge = limit(RHO_PER_YEAR, DELTA_PER_YEAR);
/// The ceiling for life as a limit for accounts.
pub const FOR_LIFE: Charge = limit(RHO_FOR_LIFE, DELTA_FOR_LIFE);

const fn limit(rho: Rho, delta: Delta) -> Charge {
    Charge { rho, delta, epsilon: Epsilon::from_nano(0) }
}
