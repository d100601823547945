//! An adapter whose leaves do not reach the log.

use super::signed;
use anyhow::{Context, Result, bail};
use firebreak::client::Ask;
use firebreak_domain::ReasonCode;
use firebreak_testbed::Federation;
use firebreak_tests::{Caller, Liar, Own, ask_until_answered, run};
use firebreak_wire::agency::v1::execute_query_response::Step;
use firebreak_wire::refusal_from_wire;
use std::time::{Duration, Instant};

/// The health agency, and what Ada may ask it for.
pub const HEALTH: (&str, &str, &str) = ("health-agency", "health-statistics", "health-planning");
const EDUCATION: (&str, &str, &str) = ("education-agency", "education-statistics", "school-planning");

/// What an adapter said to the false gateway: answered, or refused for a reason.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    /// Answered.
    Answered,
    /// Refused.
    Refused(ReasonCode),
}

/// A question of Ada's, signed by her, brought to the adapter by the false gateway.
pub async fn ask(liar: &Liar, federation: &Federation, to: (&str, &str, &str), sql: &str) -> Result<Said> {
    let (agency, agreement, purpose) = to;
    let request = signed(federation, Caller::ADA, &Ask::new(agreement, purpose, sql)?)?;
    let mut steps = liar.agency(agency)?.execute_query(request).await?.into_inner();
    while let Some(message) = steps.message().await? {
        match message.step {
            Some(Step::Release(_)) => return Ok(Said::Answered),
            Some(Step::Refused(refused)) => {
                let refusal = refused.refusal.context("a refusal without its reason")?;
                return Ok(Said::Refused(refusal_from_wire(&refusal).reason));
            }
            _ => {}
        }
    }
    bail!("the adapter said nothing")
}

#[test]
fn an_adapter_whose_leaves_are_not_confirmed_answers_nothing_new() -> Result<()> {
    run(async {
        let (federation, _folder) = Own::prepare(300)?;
        let liar = Liar::listen(&federation).await?;
        let programs = firebreak_testbed::Programs::built()?;
        let mut live = federation.start(&programs, &[liar.address()]).await?;
        liar.wait_for_agencies().await?;
        let ada = Caller::ADA.connect(&federation, live.address).await?;
        let sql = "SELECT COUNT(*) AS n FROM health.visits WHERE cost >= 10";
        ask_until_answered(&ada, &Ask::new(HEALTH.1, HEALTH.2, sql)?).await?;
        let schools = "SELECT COUNT(*) AS n FROM education.enrolments WHERE weekly_hours >= 1";
        ask_until_answered(&ada, &Ask::new(EDUCATION.1, EDUCATION.2, schools)?).await?;

        // Nobody brings leaves to the log from here on.
        live.gateway.kill().await?;
        let outstanding = ReasonCode::EvidenceOutstanding;
        let sql = "SELECT COUNT(*) AS n FROM health.visits WHERE cost >= 20";
        assert_eq!(ask(&liar, &federation, HEALTH, sql).await?, Said::Answered);
        let since = Instant::now();

        // 64 leaves are too many, however young.
        let schools =
            |hours: u32| format!("SELECT COUNT(*) AS n FROM education.enrolments WHERE weekly_hours >= {hours}");
        assert_eq!(ask(&liar, &federation, EDUCATION, &schools(2)).await?, Said::Answered);
        for number in 1..64 {
            let said = ask(&liar, &federation, EDUCATION, "SELECT name FROM education.enrolments").await?;
            assert!(matches!(&said, Said::Refused(reason) if *reason != outstanding), "{number}: {said:?}");
        }
        assert_eq!(ask(&liar, &federation, EDUCATION, &schools(3)).await?, Said::Refused(outstanding));

        // One leaf is too many once it is older than ten seconds.
        while since.elapsed() < Duration::from_millis(11_500) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let sql = "SELECT COUNT(*) AS n FROM health.visits WHERE cost >= 30";
        assert_eq!(ask(&liar, &federation, HEALTH, sql).await?, Said::Refused(outstanding));
        Ok(())
    })
}
