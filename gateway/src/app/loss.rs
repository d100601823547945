use super::{App, Failure};
use firebreak_domain::{Charge, OrgId, UnitSpaceId};
use firebreak_node::limits_of;
use std::collections::BTreeMap;

/// What persons can have lost by all that was ever released, at most.
pub struct Losses {
    /// By register.
    pub registers: BTreeMap<UnitSpaceId, RegisterLoss>,
    /// For life, of a person who is in every register: losses add up.
    pub together: Charge,
}

/// What every person of one register can have lost.
pub struct RegisterLoss {
    /// Who keeps the register, what may be lost in a year, and for life; `None` where policy names it no longer.
    pub policy: Option<(OrgId, Charge, Charge)>,
    /// For life.
    pub for_life: Charge,
    /// In the years in which anything was charged, and the present one.
    pub by_year: BTreeMap<i32, Charge>,
}

impl App {
    /// What persons can have lost: of every register that policy names, and of those that were charged under earlier
    /// policy. Reads accounts alone.
    ///
    /// # Errors
    /// [`Failure`] where the sum is beyond its integers, which no ledger comes to.
    pub fn losses(&self) -> Result<Losses, Failure> {
        let mut losses = self.state.losses();
        let mut policy = BTreeMap::new();
        // Without a policy in force nothing is asked, and what was lost is lost.
        if let Some(bundle) = self.policy.accepted() {
            for contract in bundle.contracts().values() {
                let space = &contract.unit_space;
                let (per_year, for_life) = limits_of(space);
                losses.entry(space.id.clone()).or_default();
                policy.insert(space.id.clone(), (contract.agency.clone(), per_year, for_life));
            }
        }
        let year = self.state.now().year();
        let mut together = Charge::default();
        for loss in losses.values_mut() {
            loss.by_year.entry(year).or_default();
            together = together.plus(loss.for_life).map_err(|_| Failure::Answer("the sum of all losses"))?;
        }
        let registers = losses.into_iter().map(|(space, loss)| {
            let policy = policy.remove(&space);
            (space, RegisterLoss { policy, for_life: loss.for_life, by_year: loss.by_year })
        });
        Ok(Losses { registers: registers.collect(), together })
    }
}
