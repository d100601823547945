use chrono::Datelike;
use firebreak_domain::{Charge, Contract, Identity, ReasonCode, Refusal, Timestamp};
use firebreak_policy::ceilings;
use firebreak_store::{AccountClass, AccountKind, AccountLimit};

/// The accounts that one question is charged to, and their limits: the persons of the unit space for the year and for
/// life, the agreement, the caller under it, the caller's organisation.
///
/// A contract's own limits never count for more than the compiled-in ceilings.
#[must_use]
pub fn accounts_of(
    agreement: &firebreak_domain::Agreement,
    contract: &Contract,
    caller: &Identity,
    now: Timestamp,
) -> Vec<AccountLimit> {
    let space = &contract.unit_space;
    let capped = |rho, ceiling: Charge| Charge { rho: std::cmp::min(rho, ceiling.rho), ..ceiling };
    let account = |account, limit| AccountLimit { account, limit };
    vec![
        account(
            AccountKind::UnitSpaceYear { space: space.id.clone(), year: now.date().year() },
            capped(space.rho_per_year, ceilings::PER_YEAR),
        ),
        account(AccountKind::UnitSpaceLife(space.id.clone()), capped(space.rho_for_life, ceilings::FOR_LIFE)),
        account(AccountKind::Agreement(agreement.id.clone()), capped(agreement.budget.rho_total, ceilings::FOR_LIFE)),
        account(
            AccountKind::Analyst { agreement: agreement.id.clone(), principal: caller.to_string() },
            capped(agreement.budget.rho_per_analyst, ceilings::FOR_LIFE),
        ),
        account(AccountKind::Organisation(caller.org.clone()), ceilings::FOR_LIFE),
    ]
}

/// What an account is called towards its owner.
#[must_use]
pub fn account_name(account: &AccountKind) -> String {
    match account {
        AccountKind::UnitSpaceYear { space, year } => format!("every person of {space}, in {year}"),
        AccountKind::UnitSpaceLife(space) => format!("every person of {space}, for life"),
        AccountKind::Agreement(agreement) => format!("agreement {agreement}"),
        AccountKind::Analyst { agreement, .. } => format!("you, under {agreement}"),
        AccountKind::Organisation(org) => format!("organisation {org}"),
    }
}

/// The refusal of a request that an account cannot pay.
#[must_use]
pub fn exhausted(account: AccountClass, left: Charge) -> Refusal {
    Refusal::new(ReasonCode::BudgetExhausted)
        .because(format!("{account} has rho {} left", left.rho))
        .instead("ask at a lower price (a larger error), or use a release that is already stored: those cost the register nothing")
}
