//! What every person can have lost over all, for everybody to see.

use crate::catalogue::firebreak;
use anyhow::{Context, Result, ensure};
use firebreak::client::{Ask, get_loss};
use firebreak_domain::Charge;
use firebreak_tests::{Caller, Own, ask_until_answered, http_file, run, shared};
use firebreak_wire::charge_from_wire;
use firebreak_wire::query::v1::GetLossResponse;
use std::collections::BTreeMap;

const ENFORCEMENT: Caller = Caller("immigration-agency", "analyst", "ivo");

/// What is lost for life, by register, and together.
fn lost(loss: &GetLossResponse) -> (BTreeMap<String, Charge>, Charge) {
    let of = |register: &firebreak_wire::query::v1::RegisterLoss| {
        (register.unit_space.clone(), charge_from_wire(register.for_life.as_ref()))
    };
    (loss.registers.iter().map(of).collect(), charge_from_wire(loss.together.as_ref()))
}

#[test]
fn what_each_person_can_have_lost_over_all_is_shown_to_everybody() -> Result<()> {
    run(async {
        let mut own = Own::start(300, &[]).await?;
        let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
        let none = lost(&get_loss(&ada).await?);
        ensure!(none.0.len() >= 3 && none.1 == Charge::default(), "{none:?}");

        let health = "SELECT COUNT(*) AS n FROM health.visits";
        let education = "SELECT COUNT(*) AS n FROM education.enrolments";
        let mut costs = Vec::new();
        for (agreement, purpose, sql) in [
            ("health-statistics", "health-planning", health),
            // Given again: nobody loses anything more.
            ("health-statistics", "health-planning", health),
            ("education-statistics", "school-planning", education),
        ] {
            let answered = ask_until_answered(&ada, &Ask::new(agreement, purpose, sql)?).await?;
            costs.push(charge_from_wire(answered.accepted.cost.as_ref()));
        }
        let enforcement = ENFORCEMENT.connect(&own.federation, own.live.address).await?;
        let shown = get_loss(&enforcement).await?;
        let (registers, together) = lost(&shown);
        let of = |space: &str| registers.get(space).copied().context("a register is missing");
        assert_eq!(of("health.persons")?, costs[0]);
        assert_eq!(of("education.persons")?, costs[2]);
        assert_eq!(together, costs[0].plus(costs[2])?, "a person may be in both registers");
        for register in &shown.registers {
            let years = register.years.iter().map(|year| charge_from_wire(year.spent.as_ref()));
            let sum = years.map(|spent| spent.rho.nano()).sum::<u64>();
            assert_eq!(sum, charge_from_wire(register.for_life.as_ref()).rho.nano(), "{}", register.unit_space);
            ensure!(register.limit_for_life.is_some() && register.limit_per_year.is_some());
        }

        // The same on the public pages, and after a restart.
        own.kill_gateway().await?;
        own.start_gateway().await?;
        let page: serde_json::Value =
            serde_json::from_slice(&http_file(own.live.public_log, "/loss/index.json").await?)?;
        assert_eq!(page["together"]["rho_nano"], together.rho.nano());
        let listed = page["registers"].as_array().context("no registers")?;
        for register in listed {
            let space = register["unit_space"].as_str().context("no name")?;
            assert_eq!(register["for_life"]["rho_nano"], of(space)?.rho.nano(), "{space}");
        }
        assert_eq!(listed.len(), registers.len());
        let html = String::from_utf8(http_file(own.live.public_log, "/loss/").await?)?;
        ensure!(html.contains("health.persons") && html.contains(&together.rho.to_string()), "{html}");
        Ok(())
    })
}

#[test]
fn the_command_shows_the_loss_of_every_register_and_their_sum() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let done = firebreak(shared, "lena", &["loss"])?;
        ensure!(done.code == Some(0), "{}", done.err);
        for part in ["health.persons", "education.persons", "for life", "A person who is in every register"] {
            ensure!(done.out.contains(part), "{part}\n{}", done.out);
        }
        Ok(())
    })
}
