use crate::query::v1::Charge as WireCharge;
use firebreak_domain::{Charge, Delta, Epsilon, Rho};

/// A charge as sent.
#[must_use]
pub const fn to_wire(charge: Charge) -> WireCharge {
    WireCharge { rho_nano: charge.rho.nano(), delta_atto: charge.delta.atto(), epsilon_nano: charge.epsilon.nano() }
}

/// A charge as received; an absent one is zero.
#[must_use]
pub fn from_wire(charge: Option<&WireCharge>) -> Charge {
    charge.map_or_else(Charge::default, |c| Charge {
        rho: Rho::from_nano(c.rho_nano),
        delta: Delta::from_atto(c.delta_atto),
        epsilon: Epsilon::from_nano(c.epsilon_nano),
    })
}
