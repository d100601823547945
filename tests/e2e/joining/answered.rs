//! A statistic over a join, through both adapters and the gateway between them.

use super::inside::{ALL, EDUCATION, HEALTH, LEFT, RIGHT, farthest, law};
use super::truth::{codes, joined, labelled};
use anyhow::{Context, Result, ensure};
use firebreak::client::{Ask, Connection, QueryAnswer, Step, get_budget, run_query};
use firebreak_audit::{LeafKind, Receipt, SignerRole};
use firebreak_domain::{Charge, ReasonCode};
use firebreak_population::Register;
use firebreak_tests::{Caller, Own, ask_until_answered, refusal_of, run, shared};
use firebreak_wire::{charge_from_wire, query::v1::Accepted};
use std::collections::BTreeMap;
use std::time::Duration;

const BY_BOTH: &str = "SELECT e.level, v.vaccine, COUNT(*) AS pupils FROM education.enrolments e JOIN \
                       health.vaccinations v ON PERSON GROUP BY e.level, v.vaccine";

fn ask(sql: &str) -> Result<Ask> {
    Ok(Ask::new("school-vaccinations", "school-health", sql)?)
}

async fn spent(connection: &Connection) -> Result<BTreeMap<String, Charge>> {
    let accounts = get_budget(connection, &ask(ALL)?.agreement).await?;
    Ok(accounts.into_iter().map(|account| (account.of, charge_from_wire(account.spent.as_ref()))).collect())
}

/// What an account of each kind has lost meanwhile.
fn more(before: &BTreeMap<String, Charge>, after: &BTreeMap<String, Charge>, word: &str) -> Result<u64> {
    let (name, spent) = after.iter().find(|(name, _)| name.contains(word)).context("no such account")?;
    Ok(spent.rho.nano() - before.get(name).map_or(0, |before| before.rho.nano()))
}

fn values(answer: &QueryAnswer) -> Vec<Option<f64>> {
    answer.rows.iter().flat_map(|row| &row.estimates).map(|estimate| estimate.value).collect()
}

#[test]
fn a_join_is_answered_within_its_noise_and_charged_in_full_to_both_registers() -> Result<()> {
    run(async {
        let own = Own::start(2_000, &[]).await?;
        let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
        let (before, asked) = (spent(&ada).await?, ask(BY_BOTH)?);
        let answer = ask_until_answered(&ada, &asked).await?;
        let after = spent(&ada).await?;
        let one = law()?.charge();
        for register in ["education.persons", "health.persons"] {
            assert_eq!(more(&before, &after, register)?, one.rho.nano(), "{register}");
        }
        assert_eq!(more(&before, &after, "agreement ")?, 2 * one.rho.nano());
        assert_eq!(charge_from_wire(answer.accepted.cost.as_ref()), one.plus(one)?);

        // Every cell within the noise: one of 36 is not in fewer than one of 2·10⁷ runs.
        let left = labelled(&own.federation, EDUCATION, Register::Education, Some("level")).await?;
        let right = labelled(&own.federation, HEALTH, Register::Health, Some("vaccine")).await?;
        let (truth, unsure) = (joined(&left, &right), left.unsure + right.unsure);
        let (levels, vaccines) = (
            codes(&own.federation, "education.enrolments", "level")?,
            codes(&own.federation, "health.vaccinations", "vaccine")?,
        );
        assert_eq!(answer.rows.len(), levels.len() * vaccines.len());
        let place = |codes: &[String], code: &str| codes.iter().position(|known| known == code).context("a group");
        let (mut all, mut expected) = (0.0, 0);
        for row in &answer.rows {
            let [level, vaccine] = row.groups.as_slice() else { anyhow::bail!("{:?}", row.groups) };
            let cell = (place(&levels, level)? as i64, place(&vaccines, vaccine)? as i64);
            let wanted = truth.get(&cell).copied().unwrap_or_default();
            let found = row.estimates.first().and_then(|estimate| estimate.value).context("no value")?;
            let far = (farthest()? + unsure) as f64;
            ensure!((found - wanted as f64).abs() <= far, "{level}, {vaccine}: {found} is not {wanted}");
            (all, expected) = (all + found, expected + wanted);
        }
        // Their sum has a standard error of six times one cell's: ten of those are never seen.
        ensure!(expected > 100, "the population is too small to tell");
        let far = 60.0f64.mul_add(law()?.deviation(), unsure as f64);
        ensure!((all - expected as f64).abs() < far, "{all} is not {expected}");

        // The gateway vouches for the numbers, each agency for its charge and its commitment.
        let receipts: Vec<_> = Receipt::each(answer.released.receipt.as_bytes()).collect();
        let key = own.federation.log_key().parse()?;
        let mut leaves = Vec::new();
        for receipt in receipts {
            let leaf = Receipt::decode(receipt)?.verify(&key)?.leaf.leaf().clone();
            leaves.push((leaf.signer_org.to_string(), leaf.signer_role, leaf.kind, leaf.charge));
        }
        let committed = |agency: &str| (agency.to_owned(), SignerRole::Adapter, LeafKind::JoinCommitted, one);
        assert_eq!(leaves.len(), 3);
        assert_eq!((leaves[0].1, leaves[0].2, leaves[0].3), (SignerRole::Gateway, LeafKind::Release, one.plus(one)?));
        assert_eq!(leaves[1..], [committed(LEFT), committed(RIGHT)]);

        // The same question again is the same release, to this request and to another, and costs the registers nothing.
        for again in [asked, ask(BY_BOTH)?] {
            let repeated = ask_until_answered(&ada, &again).await?;
            assert_eq!(values(&repeated), values(&answer));
            assert_eq!(repeated.released.release_id, answer.released.release_id);
        }
        let last = spent(&ada).await?;
        for register in ["education.persons", "health.persons"] {
            assert_eq!(more(&after, &last, register)?, 0, "{register}");
        }
        Ok(())
    })
}

#[test]
fn hours_of_one_register_are_added_up_by_what_the_other_knows_within_noise_and_rounding() -> Result<()> {
    run(async {
        const HOURS: &str = "SELECT v.vaccine, SUM(e.weekly_hours) AS hours, COUNT(e.weekly_hours) AS pupils FROM \
                             education.enrolments e JOIN health.vaccinations v ON PERSON GROUP BY v.vaccine";
        let own = Own::start(12_000, &[]).await?;
        let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
        let answer = ask_until_answered(&ada, &ask(HOURS)?).await?;
        let one = law()?.charge();
        assert_eq!(charge_from_wire(answer.accepted.cost.as_ref()), one.plus(one)?, "what counts alone would cost");
        let estimand = &answer.released.estimand;
        ensure!(estimand.contains("education.enrolments.weekly_hours, from 0 to 60"), "{estimand}");
        ensure!(estimand.contains("each person's is off by 1.5 at most"), "{estimand}");

        // Hours from 0 to 60 in parts of four, of three and of four again: their middles by hand.
        let last = |part: i64| if part == 15 { 60 } else { 3 + (53 * part + 13) / 14 };
        let ends = (0..16).map(|part| (if part == 0 { 0 } else { last(part - 1) + 1 }, last(part)));
        let middles: Vec<f64> = ends.map(|(first, last)| (first + last) as f64 / 2.0).collect();
        let error = law()?.deviation() * middles.iter().map(|middle| middle * middle).sum::<f64>().sqrt();

        let left = labelled(&own.federation, EDUCATION, Register::Education, Some("weekly_hours")).await?;
        let right = labelled(&own.federation, HEALTH, Register::Health, Some("vaccine")).await?;
        let (truth, unsure) = (joined(&left, &right), (left.unsure + right.unsure) as f64);
        let vaccines = codes(&own.federation, "health.vaccinations", "vaccine")?;
        assert_eq!(answer.rows.len(), vaccines.len());
        let (mut all, mut expected, mut persons) = (0.0, 0.0, 0.0);
        for row in &answer.rows {
            let place = vaccines.iter().position(|code| row.groups == [code.as_str()]).context("a group")? as i64;
            let here = || truth.iter().filter(|((_, vaccine), _)| *vaccine == place);
            let count = here().map(|(_, persons)| *persons).sum::<i64>() as f64;
            let hours = here().map(|((hours, _), persons)| hours * persons).sum::<i64>() as f64;
            let [sum, counted] = row.estimates.as_slice() else { anyhow::bail!("{row:?}") };
            let found = sum.value.context("no sum")?;
            ensure!((sum.standard_error.context("no error")? / error - 1.0).abs() < 1e-9, "{sum:?}, {error}");
            // Six standard errors are not seen in 10⁷ runs.
            let far = 6.0f64.mul_add(error, 1.5 * count) + 60.0 * unsure;
            ensure!((found - hours).abs() <= far, "{place}: {found} is not {hours}");
            let counted = counted.value.context("no count")?;
            ensure!((counted - count).abs() <= 24.0f64.mul_add(law()?.deviation(), unsure), "{counted} is not {count}");
            (all, expected, persons) = (all + found, expected + hours, persons + count);
        }
        let far = (6.0 * 6.0_f64.sqrt()).mul_add(error, 1.5 * persons) + 60.0 * unsure;
        ensure!(expected > far, "the population is too small to tell: {expected}, {far}");
        ensure!((all - expected).abs() <= far, "{all} is not {expected}");

        // What is counted for it answers the question that asks for it, at no loss.
        let before = spent(&ada).await?;
        let by_parts = HOURS
            .replace(
                "SUM(e.weekly_hours) AS hours, COUNT(e.weekly_hours)",
                "WIDTH_BUCKET(e.weekly_hours, 4, 57, 14) AS part, COUNT(*)",
            )
            .replace("GROUP BY v.vaccine", "GROUP BY v.vaccine, part");
        let parts = ask_until_answered(&ada, &ask(&by_parts)?).await?;
        assert_eq!(parts.released.release_id, answer.released.release_id);
        let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
        for row in &parts.rows {
            let [vaccine, part] = row.groups.as_slice() else { anyhow::bail!("{:?}", row.groups) };
            let middle = middles.get(part.parse::<usize>()?).context("a part")?;
            let count = row.estimates.first().and_then(|estimate| estimate.value).context("no count")?;
            *sums.entry(vaccine.as_str()).or_default() += middle * count;
        }
        for row in &answer.rows {
            let (vaccine, found) =
                (row.groups.first().context("no group")?, row.estimates.first().and_then(|e| e.value));
            let by_hand = sums.get(vaccine.as_str()).copied().context("a group")?;
            ensure!(found.is_some_and(|found| (found - by_hand).abs() < 1e-6), "{vaccine}: {found:?} is not {by_hand}");
        }
        for register in ["education.persons", "health.persons"] {
            assert_eq!(more(&before, &spent(&ada).await?, register)?, 0, "{register}");
        }
        Ok(())
    })
}

#[derive(Debug, Clone, Copy)]
enum Killed {
    Side(&'static str),
    Gateway,
}

#[test]
fn a_join_broken_off_by_a_kill_of_either_side_or_the_gateway_is_answered_by_the_same_request_for_one_charge()
-> Result<()> {
    run(async {
        let mut own = Own::start(600, &[]).await?;
        let from = "FROM education.enrolments e JOIN health.vaccinations v ON PERSON";
        // What was released once is given again without a session.
        for (killed, question) in [
            (Killed::Side(RIGHT), ALL.to_owned()),
            (Killed::Side(LEFT), format!("SELECT e.level, COUNT(*) AS n {from} GROUP BY e.level")),
            (Killed::Gateway, format!("SELECT v.vaccine, COUNT(*) AS n {from} GROUP BY v.vaccine")),
        ] {
            let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
            let (before, asked) = (spent(&ada).await?, ask(&question)?);
            let begun = std::sync::Arc::new(tokio::sync::Notify::new());
            let (said, question) = (std::sync::Arc::clone(&begun), asked.clone());
            let asking = tokio::spawn(async move {
                let mut report = |step: Step<'_>| {
                    if matches!(step, Step::Progress(_)) {
                        said.notify_one();
                    }
                };
                let _ = run_query(&ada, &question, &mut report).await;
            });
            // Wherever the kill meets it, what comes of it is the same.
            let _ = tokio::time::timeout(Duration::from_secs(30), begun.notified()).await;
            tokio::time::sleep(Duration::from_millis(150)).await;
            match killed {
                Killed::Side(agency) => own.kill_adapter(agency).await?,
                Killed::Gateway => own.kill_gateway().await?,
            }
            asking.await?;
            match killed {
                Killed::Side(agency) => own.start_adapter(agency).await?,
                Killed::Gateway => own.start_gateway().await?,
            }
            let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
            let answer = ask_until_answered(&ada, &asked).await?;
            let after = spent(&ada).await?;
            for register in ["education.persons", "health.persons"] {
                assert_eq!(more(&before, &after, register)?, law()?.charge().rho.nano(), "{register}, {killed:?}");
            }
            let again = ask_until_answered(&ada, &asked).await?;
            assert_eq!(values(&again), values(&answer), "{killed:?}");
        }
        Ok(())
    })
}

#[test]
fn an_agency_that_is_away_leaves_the_other_uncharged() -> Result<()> {
    run(async {
        let mut own = Own::start(300, &[]).await?;
        let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
        own.kill_adapter(RIGHT).await?;
        let before = spent(&ada).await?;
        let mut refused = None;
        for _ in 0..200 {
            let refusal = refusal_of(run_query(&ada, &ask(ALL)?, &mut |_| {}).await)?.refusal;
            if refusal.reason == ReasonCode::AgencyUnavailable.as_str() {
                refused = Some(refusal);
                break;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        let refusal = refused.context("it is not said that an agency is away")?;
        let detail = refusal.metadata.get("detail").context("no detail")?;
        ensure!(detail.contains("nothing was charged"), "{detail}");
        let after = spent(&ada).await?;
        assert_eq!(more(&before, &after, "education.persons")?, 0);
        Ok(())
    })
}

#[test]
fn enforcement_and_whoever_has_no_agreement_for_it_are_refused_a_join() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let ivo = Caller("immigration-agency", "analyst", "ivo");
        let ivo = ivo.connect(&shared.federation, shared.live.address).await?;
        let mut said: Option<Accepted> = None;
        let mut report = |step: Step<'_>| {
            if let Step::Accepted(accepted) = step {
                said = Some(accepted.clone());
            }
        };
        let refusal = refusal_of(run_query(&ivo, &ask(ALL)?, &mut report).await)?.refusal;
        assert_eq!(refusal.reason, ReasonCode::EnforcementRecipient.as_str());
        ensure!(said.is_none(), "it was accepted");
        let ada = Caller::ADA.connect(&shared.federation, shared.live.address).await?;
        let elsewhere = Ask::new("health-statistics", "health-planning", ALL)?;
        let refusal = refusal_of(run_query(&ada, &elsewhere, &mut |_| {}).await)?.refusal;
        assert_eq!(refusal.reason, ReasonCode::OperationNotCovered.as_str());
        Ok(())
    })
}
