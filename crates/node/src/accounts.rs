use firebreak_domain::{Charge, Contract, Identity, ReasonCode, Refusal, Rho, Timestamp, UnitSpace};
use firebreak_policy::ceilings;
use firebreak_privacy::SELECTION_DELTA;
use firebreak_store::{AccountClass, AccountKind, AccountLimit};

/// What a person of a unit space may lose in a calendar year, and for life: by the contract, and never more than the
/// compiled-in ceilings.
#[must_use]
pub fn limits_of(space: &UnitSpace) -> (Charge, Charge) {
    (capped(space.rho_per_year, ceilings::PER_YEAR), capped(space.rho_for_life, ceilings::FOR_LIFE))
}

fn capped(rho: Rho, ceiling: Charge) -> Charge {
    Charge { rho: rho.min(ceiling.rho), ..ceiling }
}

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
    let (per_year, for_life) = limits_of(space);
    let account = |account, limit| AccountLimit { account, limit };
    vec![
        account(AccountKind::UnitSpaceYear { space: space.id.clone(), year: now.year() }, per_year),
        account(AccountKind::UnitSpaceLife(space.id.clone()), for_life),
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
    // Every δ is the same, and an account that has none left has less than one.
    let delta =
        if left.delta < SELECTION_DELTA { ", and no delta for groups whose codes are not declared" } else { "" };
    Refusal::new(ReasonCode::BudgetExhausted)
        .because(format!("{account} has rho {} left{delta}", left.rho))
        .instead("ask at a lower price (a larger error), or use a release that is already stored: those cost the register nothing")
}

#[cfg(test)]
mod tests {
    use super::*;
    use firebreak_domain::Agreement;

    const VISITS: &str = include_str!("../../../deploy/sample/bundle/contracts/health.visits.toml");
    const VACCINATIONS: &str = include_str!("../../../deploy/sample/bundle/contracts/health.vaccinations.toml");
    const AGREEMENT: &str = include_str!("../../../deploy/sample/bundle/agreements/health-statistics.toml");
    const OTHER_AGREEMENT: &str = include_str!("../../../deploy/sample/bundle/agreements/health-costs.toml");

    fn accounts(agreement: &str, contract: &Contract, days: i64) -> Vec<AccountLimit> {
        let agreement: Agreement = toml::from_str(agreement).unwrap();
        let ada: Identity = "spiffe://firebreak.example/org/nso/analyst/ada".parse().unwrap();
        // 2025-03-01.
        accounts_of(&agreement, contract, &ada, Timestamp::from_secs(1_740_830_400).plus_secs(days * 86_400))
    }

    fn contract(text: &str) -> Contract {
        toml::from_str(text).unwrap()
    }

    /// The accounts of the persons, as the ledger knows them.
    fn of_persons(accounts: Vec<AccountLimit>) -> Vec<(AccountClass, String, i32)> {
        let named = accounts.into_iter().filter_map(|limit| match limit.account {
            AccountKind::UnitSpaceYear { ref space, year } => Some((limit.account.class(), space.to_string(), year)),
            AccountKind::UnitSpaceLife(ref space) => Some((limit.account.class(), space.to_string(), 0)),
            _ => None,
        });
        named.collect()
    }

    #[test]
    fn a_question_is_charged_to_the_persons_the_agreement_the_caller_and_their_organisation() {
        let classes: Vec<_> =
            accounts(AGREEMENT, &contract(VISITS), 0).iter().map(|limit| limit.account.class()).collect();
        let expected = [
            AccountClass::UnitSpaceYear,
            AccountClass::UnitSpaceLife,
            AccountClass::Agreement,
            AccountClass::Analyst,
            AccountClass::Organisation,
        ];
        assert_eq!(classes, expected);
    }

    #[test]
    fn no_new_contract_cut_or_agreement_has_accounts_of_its_own_for_the_persons() {
        let visits = contract(VISITS);
        let before = of_persons(accounts(AGREEMENT, &visits, 0));
        assert_eq!(before.len(), 2);
        assert_eq!(of_persons(accounts(AGREEMENT, &contract(VACCINATIONS), 0)), before, "another contract");
        assert_eq!(of_persons(accounts(OTHER_AGREEMENT, &visits, 0)), before, "another agreement");
        let mut later = visits.clone();
        later.cuts.push(firebreak_domain::CutId::new("2025-Q1").unwrap());
        assert_eq!(of_persons(accounts(AGREEMENT, &later, 0)), before, "another cut");
        let next_year = of_persons(accounts(AGREEMENT, &visits, 365));
        assert_eq!(next_year[0].2, before[0].2 + 1, "a year has an account of its own");
        assert_eq!(next_year[1], before[1], "life has one");
    }

    #[test]
    fn no_contract_and_no_agreement_allows_more_than_the_ceilings() {
        let mut lavish = contract(VISITS);
        lavish.unit_space.rho_per_year = Rho::from_nano(u64::MAX);
        lavish.unit_space.rho_for_life = Rho::from_nano(u64::MAX);
        let of = AGREEMENT.replace("rho_total = 1_000_000_000", "rho_total = 9_000_000_000_000_000_000");
        for limit in accounts(&of, &lavish, 0) {
            let ceiling = match limit.account.class() {
                AccountClass::UnitSpaceYear => ceilings::PER_YEAR,
                _ => ceilings::FOR_LIFE,
            };
            assert!(limit.limit.within(&ceiling), "{limit:?}");
        }
        let modest = accounts(AGREEMENT, &contract(VISITS), 0);
        assert_eq!(modest[0].limit.rho, contract(VISITS).unit_space.rho_per_year, "less than the ceiling counts");
    }
}
