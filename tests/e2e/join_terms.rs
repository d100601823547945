//! What a question over two agencies' join costs and who may ask it, before any is run.

use anyhow::{Context, Result, ensure};
use firebreak::client::{Ask, get_budget, validate_query};
use firebreak_domain::{Epsilon, MAX_JOIN_CELLS};
use firebreak_privacy::join::DummyLaw;
use firebreak_tests::{Caller, refusal_of, run, shared};
use firebreak_wire::charge_from_wire;
use firebreak_wire::query::v1::Account;

const BY_BOTH: &str = "SELECT e.level, v.vaccine, COUNT(*) AS pupils FROM education.enrolments e JOIN \
                       health.vaccinations v ON PERSON GROUP BY e.level, v.vaccine";

fn ask(sql: &str) -> Result<Ask> {
    Ok(Ask::new("school-vaccinations", "school-health", sql)?)
}

#[test]
fn a_join_has_as_many_cells_as_its_protocol() {
    assert_eq!(MAX_JOIN_CELLS, firebreak_psi::join::MAX_CELLS);
}

#[test]
fn what_a_join_costs_both_registers_is_said_and_charged_to_nobody() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let ada = Caller::ADA.connect(&shared.federation, shared.live.address).await?;
        let law = DummyLaw::new(Epsilon::from_nano(500_000_000))?;
        let before = get_budget(&ada, &ask(BY_BOTH)?.agreement).await?;
        let said = validate_query(&ada, &ask(BY_BOTH)?, None).await?;
        let (one, both) = (law.charge(), charge_from_wire(said.cost.as_ref()));
        assert_eq!(said.rho_nano, one.rho.nano());
        assert_eq!(both, one.plus(one)?);
        assert_eq!((said.cells, said.groups), (36, vec!["level".to_owned(), "vaccine".to_owned()]));
        assert_eq!(said.dataset, "education.enrolments, health.vaccinations");
        ensure!(said.canonical_query.contains("\njoin health.vaccinations on person\n"), "{}", said.canonical_query);
        let [noise] = said.noise.as_slice() else { anyhow::bail!("{:?}", said.noise) };
        ensure!((noise.standard_error - law.deviation()).abs() < 1e-9, "{noise:?}");
        let after = get_budget(&ada, &ask(BY_BOTH)?.agreement).await?;
        // Others may ask of the same registers meanwhile; under this agreement nobody does.
        let own = |accounts: &[Account]| -> Vec<Account> {
            accounts.iter().filter(|account| account.of.contains("school-vaccinations")).cloned().collect()
        };
        assert_eq!((own(&before), own(&after).len()), (own(&after), 2));
        for register in ["education.persons", "health.persons"] {
            ensure!(after.iter().any(|account| account.of.contains(register)), "{register}: {after:?}");
        }
        let width = refusal_of(validate_query(&ada, &ask(BY_BOTH)?, Some(8.0)).await)?.refusal;
        assert_eq!(width.reason, "MALFORMED_REQUEST");
        Ok(())
    })
}

#[test]
fn a_join_that_no_agreement_names_is_refused() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let ada = Caller::ADA.connect(&shared.federation, shared.live.address).await?;
        let elsewhere = Ask::new("health-statistics", "health-planning", BY_BOTH)?;
        let refusal = refusal_of(validate_query(&ada, &elsewhere, None).await)?.refusal;
        assert_eq!(refusal.reason, "OPERATION_NOT_COVERED");
        let ivo = Caller("immigration-agency", "analyst", "ivo");
        let ivo = ivo.connect(&shared.federation, shared.live.address).await?;
        let refusal = refusal_of(validate_query(&ivo, &ask(BY_BOTH)?, None).await)?.refusal;
        assert_eq!(refusal.reason, "ENFORCEMENT_RECIPIENT");
        let median = BY_BOTH.replace("COUNT(*) AS pupils", "MEDIAN(e.weekly_hours) AS hours");
        let refusal = refusal_of(validate_query(&ada, &ask(&median)?, None).await)?.refusal;
        assert_eq!(refusal.reason, "UNSUPPORTED_AGGREGATE");
        let instead = refusal.metadata.get("suggestion").context("nothing to ask instead")?;
        validate_query(&ada, &ask(instead)?, None).await?;
        Ok(())
    })
}

#[test]
fn what_a_sum_over_a_join_costs_and_how_far_it_is_rounded_is_said_before_it_is_asked() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let ada = Caller::ADA.connect(&shared.federation, shared.live.address).await?;
        let sum = BY_BOTH.replace("COUNT(*) AS pupils", "SUM(e.weekly_hours) AS hours");
        let (counted, added_up) =
            (validate_query(&ada, &ask(BY_BOTH)?, None).await?, validate_query(&ada, &ask(&sum)?, None).await?);
        assert_eq!((added_up.cost, added_up.cells), (counted.cost, counted.cells));
        let [persons, hours, with_hours] = added_up.noise.as_slice() else { anyhow::bail!("{:?}", added_up.noise) };
        let deviation = DummyLaw::new(Epsilon::from_nano(500_000_000))?.deviation();
        ensure!((persons.standard_error - deviation).abs() < 1e-9, "{persons:?}");
        ensure!(persons.measured.contains("each of 16 parts of education.enrolments.weekly_hours"), "{persons:?}");
        // The root of the sum of the squared middles of 0 to 3, 4 to 7, … 57 to 60.
        ensure!((hours.standard_error / deviation - 140.361_141).abs() < 1e-6, "{hours:?}");
        ensure!(hours.measured.contains("off by 1.5 at most"), "{hours:?}");
        // A COUNT(column) adds up sixteen.
        ensure!((with_hours.standard_error / deviation - 4.0).abs() < 1e-9, "{with_hours:?}");
        let derived = BY_BOTH.replace("COUNT(*) AS pupils", "SUM(2 * e.weekly_hours) AS hours");
        let derived = validate_query(&ada, &ask(&derived)?, None).await?;
        let said = "what the question works out from education.enrolments.weekly_hours";
        ensure!(derived.noise.iter().all(|noise| noise.measured.contains(said)), "{:?}", derived.noise);
        Ok(())
    })
}

#[test]
fn what_a_join_does_not_add_up_is_refused_in_words() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let ada = Caller::ADA.connect(&shared.federation, shared.live.address).await?;
        let from = "FROM education.enrolments e JOIN health.vaccinations v ON PERSON";
        for (question, reason, words) in [
            (format!("SELECT SUM(e.weekly_hours * v.dose_date) AS x {from}"), "NOT_MEASURABLE", "dose_date"),
            (format!("SELECT SUM(e.level) AS x {from}"), "NOT_MEASURABLE", "level"),
            (
                format!("SELECT SUM(e.weekly_hours) AS x, SUM(2 * e.weekly_hours) AS y {from}"),
                "UNSUPPORTED_AGGREGATE",
                "one value",
            ),
            (
                format!("SELECT SUM(e.weekly_hours) AS x, COUNT(*) AS n {from}"),
                "UNSUPPORTED_AGGREGATE",
                "COUNT(column)",
            ),
            (
                format!("SELECT e.region, v.region, SUM(e.weekly_hours) AS x {from} GROUP BY e.region, v.region"),
                "TOO_MANY_GROUPS",
                "the bins of what is added up counted in",
            ),
        ] {
            let refusal = refusal_of(validate_query(&ada, &ask(&question)?, None).await)?.refusal;
            assert_eq!(refusal.reason, reason, "{question}");
            let detail = refusal.metadata.get("detail").context("no detail")?;
            ensure!(detail.contains(words), "{question}: {detail}");
            let instead = refusal.metadata.get("suggestion").context("nothing to ask instead")?;
            validate_query(&ada, &ask(instead)?, None).await?;
        }
        Ok(())
    })
}
