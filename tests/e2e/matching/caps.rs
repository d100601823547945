//! What a receiver may have in all: evaluations and tags, by year and over the agreement's life, counted by the sender's
//! own adapter and shown by the gateway.

use super::exact::{ask, desk, match_until_done, this_year};
use super::side::{RECEIVER, SENDER, opening, submitted_by};
use super::sides::Sides;
use agency_adapter::app::{CHUNK_ELEMENTS, MatchError, Receiver, SenderSession};
use anyhow::{Context, Result, bail, ensure};
use firebreak::client::{Connection, get_budget_and_caps, run_match};
use firebreak_domain::{AgreementId, CapPeriod, CapStanding, Clock, Counted, ManualClock, Timestamp};
use firebreak_policy::Validity as BundleValidity;
use firebreak_store::CappedKey;
use firebreak_tests::{Caller, Own, refusal_of, run};
use firebreak_transport::{Credential, Validity};
use firebreak_wire::cap_from_wire;
use firebreak_wire::query::v1::GetBudgetResponse;
use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

const ROUND: &str = "vaccination-round";
const CHUNK: u64 = CHUNK_ELEMENTS as u64;
const DAY: i64 = 86_400;

/// Both sides in this process, ten seconds before New Year, under an agreement with terms of the test's own.
struct Rounds {
    clock: Arc<ManualClock>,
    credential: Credential,
    year: i32,
    sides: Sides,
}

impl Rounds {
    /// `terms` take the place of the sample's `cap_permille`.
    async fn start(terms: &str) -> Result<Self> {
        let (federation, folder) = Own::prepare(600)?;
        let file = federation.layout().bundle().join(format!("agreements/{ROUND}.toml"));
        let text = fs::read_to_string(&file)?;
        ensure!(text.contains("cap_permille = 1050"), "the sample has other terms");
        fs::write(&file, text.replace("cap_permille = 1050", terms))?;
        let year = this_year();
        let new_year: Timestamp = Timestamp::start_of(format!("{}-01-01", year + 1).parse()?);
        let (start, end) = (new_year.plus_secs(-10), new_year.plus_secs(9 * DAY));
        let made = start.plus_secs(-60 * DAY);
        federation.sign_bundle(1, None, BundleValidity { made, valid_from: made, valid_until: end })?;
        let clock = Arc::new(ManualClock::at(start));
        let sides = Sides::open(federation, folder, clock.clone()).await?;
        let validity = Validity { not_before: start.plus_secs(-DAY), not_after: end };
        let credential = sides.federation.authority().issue(&sides.identity, &["localhost"], validity)?;
        Ok(Self { clock, credential, year, sides })
    }

    fn new_year(&self) {
        self.clock.set(self.clock.now().plus_secs(20));
    }

    /// Opens the session of that number, or takes it up again.
    async fn open(&mut self, session: u8) -> Result<Result<(Receiver, SenderSession), MatchError>> {
        self.sides.visit().await?;
        let submitted = submitted_by(&self.credential, session, self.clock.now())?;
        let prepared = self.sides.prepare(&submitted, "").await?;
        let session = self.sides.accept(&submitted).await?;
        let (key, tags) = match session.open(&self.sides.sender.app, &opening(&prepared)?).await {
            Ok(opened) => opened,
            Err(error) => return Ok(Err(error)),
        };
        let machine = self.sides.begin(prepared, &key, tags).await?;
        Ok(Ok((machine, session)))
    }

    /// What the sender has counted.
    fn counted(&self, counted: Counted) -> Result<[u64; 3]> {
        let of = by_number()?;
        let periods = [CapPeriod::Year(self.year), CapPeriod::Year(self.year + 1), CapPeriod::Life];
        Ok(periods.map(|period| self.sides.sender.app.state().counted(counted, &of, period)))
    }
}

/// What the sample agreement's one key has caps of.
pub fn by_number() -> Result<CappedKey> {
    Ok(CappedKey { agreement: ROUND.parse()?, receiver: RECEIVER.parse()?, key: "number".parse()? })
}

/// That a refusal names the cap, and how much is left of it.
fn exhausted<T>(done: Result<T, MatchError>, what: &str) -> Result<()> {
    match done {
        Err(MatchError::Refused(refusal)) => {
            ensure!(refusal.reason.as_str() == "MATCH_CAP_EXHAUSTED", "refused for {refusal}");
            ensure!(refusal.detail.contains(what), "{refusal}");
            Ok(())
        }
        Err(error) => Err(error.into()),
        Ok(_) => bail!("not refused"),
    }
}

#[test]
fn a_cap_for_life_outlasts_new_year_and_the_sessions_list_again_is_free() -> Result<()> {
    run(async {
        for (terms, for_life) in
            [("cap_permille = 1050\nlife_cap_permille = 1050", true), ("cap_permille = 1050", false)]
        {
            let mut rounds = Rounds::start(terms).await?;
            let (mut machine, session) = rounds.open(1).await??;
            let (number, chunk) = machine.next(&rounds.sides.receiver.app).await?.context("no chunk")?;
            let blinded = chunk.as_bytes().to_vec();
            session.evaluate(&rounds.sides.sender.app, number, blinded.clone()).await?;
            let list = rounds.sides.list(&session, 0).await?;
            for counted in [Counted::Evaluations, Counted::Tags] {
                assert_eq!(rounds.counted(counted)?, [CHUNK, 0, CHUNK], "{counted}");
            }

            // The same session in the new year: the same chunk and the same list, for nothing.
            drop(machine);
            rounds.new_year();
            let (_, resumed) = rounds.open(1).await??;
            resumed.evaluate(&rounds.sides.sender.app, number, blinded).await?;
            let again = rounds.sides.list(&resumed, 0).await?;
            assert_eq!(again, list);
            for counted in [Counted::Evaluations, Counted::Tags] {
                assert_eq!(rounds.counted(counted)?, [CHUNK, 0, CHUNK], "{counted}");
            }

            // Another one: the year's cap is whole again, the one for life is not.
            let (mut machine, session) = rounds.open(2).await??;
            let (number, chunk) = machine.next(&rounds.sides.receiver.app).await?.context("no chunk")?;
            let evaluated = session.evaluate(&rounds.sides.sender.app, number, chunk.as_bytes().to_vec()).await;
            if for_life {
                exhausted(evaluated, "evaluations that the cap allows over the agreement's life, 0 are left")?;
                assert_eq!(rounds.counted(Counted::Evaluations)?, [CHUNK, 0, CHUNK]);
            } else {
                evaluated.context("nothing is said of life")?;
                assert_eq!(rounds.counted(Counted::Evaluations)?, [CHUNK, CHUNK, 2 * CHUNK]);
            }
            rounds.sides.sender.app.state().verify_chain().await?;
        }
        Ok(())
    })
}

#[test]
fn a_cap_on_tags_outlives_the_program_and_nothing_is_evaluated_for_a_list_that_would_not_fit() -> Result<()> {
    run(async {
        // Evaluations enough for three sessions of one chunk, and one list a year.
        let mut rounds = Rounds::start("cap_permille = 20000\ntags_permille = 1000").await?;
        let (mut machine, session) = rounds.open(1).await??;
        let (number, chunk) = machine.next(&rounds.sides.receiver.app).await?.context("no chunk")?;
        let evaluated = session.evaluate(&rounds.sides.sender.app, number, chunk.as_bytes().to_vec()).await?;
        machine.accept(&chunk, &evaluated)?;
        let list = rounds.sides.list(&session, 0).await?;
        machine.push_tags(&list)?;
        drop((machine, session));

        rounds.sides.restart_sender().await?;
        let left = format!("tags that the cap allows in {}, 0 are left", rounds.year);
        exhausted(rounds.open(2).await?, &left)?;
        assert_eq!(rounds.counted(Counted::Evaluations)?, [CHUNK, 0, CHUNK]);
        let (_, resumed) = rounds.open(1).await??;
        let again = rounds.sides.list(&resumed, 0).await?;
        assert_eq!(again, list, "what was sent once is sent again as it was");
        assert_eq!(rounds.counted(Counted::Tags)?, [CHUNK, 0, CHUNK]);

        rounds.new_year();
        let (_, session) = rounds.open(3).await?.context("in a new year")?;
        session.tags(&rounds.sides.sender.app, 0).await?;
        assert_eq!(rounds.counted(Counted::Tags)?, [CHUNK, CHUNK, 2 * CHUNK]);
        Ok(())
    })
}

/// The caps that a caller is shown, once the sender's adapter is there to say what is used.
async fn shown(connection: &Connection) -> Result<Vec<CapStanding>> {
    for _ in 0..200 {
        let caps = caps_of(&get_budget_and_caps(connection, &round()?).await?)?;
        if caps.iter().all(|cap| cap.used.is_some()) {
            return Ok(caps);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("the sender said nothing")
}

fn round() -> Result<AgreementId> {
    Ok(ROUND.parse()?)
}

fn caps_of(budget: &GetBudgetResponse) -> Result<Vec<CapStanding>> {
    ensure!(budget.accounts.is_empty(), "the agreement permits no aggregates");
    ensure!(budget.caps.len() == 4, "{:?}", budget.caps);
    ensure!(budget.caps.iter().all(|cap| cap.agreement == ROUND), "{:?}", budget.caps);
    budget.caps.iter().map(|cap| cap_from_wire(cap).context("it counts what nobody knows")).collect()
}

#[test]
fn a_receivers_caps_are_shown_with_its_budgets_by_the_senders_own_account() -> Result<()> {
    run(async {
        let mut own = Own::start(600, &[]).await?;
        let hana = Caller("health-agency", "analyst", "hana").connect(&own.federation, own.live.address).await?;
        // A register of 600 is one chunk and one list; the sample agreement has ten calendar years.
        let key = by_number()?.key;
        let expected = |used: Option<u64>| {
            let (year, life) = (CapPeriod::Year(this_year()), CapPeriod::Life);
            let each = [Counted::Evaluations, Counted::Tags].map(|counted| {
                [(year, CHUNK), (life, 10 * CHUNK)].map(|(period, cap)| {
                    let key = key.clone();
                    CapStanding { key, counted, period, cap, used }
                })
            });
            each.concat()
        };
        assert_eq!(shown(&hana).await?, expected(Some(0)));
        match_until_done(&own, &ask()?, &mut BTreeSet::new()).await?;
        assert_eq!(shown(&hana).await?, expected(Some(CHUNK)));

        // What is refused says which cap it is, how much is left, and when more comes.
        let refused = refusal_of(run_match(&desk(&own).await?, &ask()?, &mut |_| {}).await)?.refusal;
        assert_eq!(refused.reason, "MATCH_CAP_EXHAUSTED");
        for (key, said) in [
            ("detail", format!("in {}, 0 are left", this_year())),
            ("suggestion", format!("{}-01-01", this_year() + 1)),
        ] {
            ensure!(refused.metadata.get(key).is_some_and(|text| text.contains(&said)), "{key}: {refused:?}");
        }
        assert_eq!(shown(&hana).await?, expected(Some(CHUNK)), "a refused match costs nothing");

        // The sender alone counts; without it the caps are known, and what is used is not. It has forgotten nothing.
        own.kill_adapter(SENDER).await?;
        assert_eq!(caps_of(&get_budget_and_caps(&hana, &round()?).await?)?, expected(None));
        own.start_adapter(SENDER).await?;
        assert_eq!(shown(&hana).await?, expected(Some(CHUNK)));

        // For recipients of the agreement and nobody else, and never for enforcement.
        for (caller, agreement) in [
            (Caller::ADA, ROUND),
            (Caller("immigration-agency", "analyst", "ivo"), ROUND),
            (Caller("immigration-agency", "analyst", "ivo"), "residence-check"),
            (Caller("health-agency", "analyst", "hana"), "no-such-agreement"),
        ] {
            let connection = caller.connect(&own.federation, own.live.address).await?;
            let refused = refusal_of(get_budget_and_caps(&connection, &agreement.parse()?).await)?;
            assert_eq!(refused.refusal.reason, "NO_AGREEMENT", "{caller:?} under {agreement}");
        }
        Ok(())
    })
}
