//! What the persons of one register can lose, whoever asks, under whatever agreement, over whatever contract and by
//! whatever clock.

use crate::bundles::clocked::Clocked;
use crate::bundles::{heard, lengths, patiently};
use crate::refusals::request::{Outcome, Request, Told, What};
use anyhow::{Context, Result, ensure};
use firebreak::client::{Ask, ClientError, Connection, QueryAnswer, get_loss};
use firebreak_domain::{Clock, SystemClock, Timestamp};
use firebreak_policy::Validity;
use firebreak_policy::signing::cosign;
use firebreak_testbed::Federation;
use firebreak_tests::{Caller, Shared, ask_until_answered, change_contracts, offered_digest, refusal_of, run};
use firebreak_wire::charge_from_wire;
use tokio::task::JoinSet;

const DAY: i64 = 86_400;
const AGENCY: &str = "health-agency";
const REGISTER: &str = "health.persons";
const PURPOSE: &str = "health-planning";
const STATISTICS: &str = "health-statistics";
const UNSIGNED: &str = "health-statistics-unsigned";
const BOB: Caller = Caller("nso", "analyst", "bob");
/// The last day of 2026, at noon.
const NEW_YEARS_EVE: Timestamp = Timestamp::from_secs(1_798_718_400);
/// What a question costs under both agreements, in units of 10⁻⁹.
const PRICE: u64 = 5_000_000;

/// So many questions may be asked of the health agency's persons in a year, and for life.
fn bounds(federation: &Federation, in_a_year: u64, for_life: u64) -> Result<()> {
    let (year, life) = ((in_a_year * PRICE).to_string(), (for_life * PRICE).to_string());
    change_contracts(federation, AGENCY, &[("rho_per_year", &year), ("rho_for_life", &life)])
}

/// A question of its own for each number, over one contract of the register or another.
fn question(number: u32) -> String {
    if number.is_multiple_of(2) {
        format!("SELECT COUNT(*) AS n FROM health.visits WHERE cost >= {number}")
    } else {
        let (month, day) = (1 + number / 2 % 12, 1 + number / 24 % 28);
        format!("SELECT COUNT(*) AS n FROM health.vaccinations WHERE dose_date >= DATE '2020-{month:02}-{day:02}'")
    }
}

/// Two analysts, and how each reaches the gateway.
struct Analysts {
    ada: Connection,
    bob: Connection,
}

impl Analysts {
    /// Who asks the question of that number, and under which agreement: eight in a row are every choice.
    const fn turn(&self, number: u32) -> (Caller, &Connection, &'static str) {
        let (who, connection) =
            if (number / 2).is_multiple_of(2) { (Caller::ADA, &self.ada) } else { (BOB, &self.bob) };
        (who, connection, if (number / 4).is_multiple_of(2) { STATISTICS } else { UNSIGNED })
    }
}

/// What the persons of the register have lost: for life, and over all years together.
async fn lost(connection: &Connection) -> Result<(u64, u64)> {
    let loss = get_loss(connection).await?;
    let register = loss.registers.iter().find(|of| of.unit_space == REGISTER).context("no such register")?;
    let rho = |charge| charge_from_wire(charge).rho.nano();
    let years = register.years.iter().map(|year| rho(year.spent.as_ref())).sum();
    Ok((rho(register.for_life.as_ref()), years))
}

/// Asks all of these at once, by two analysts in turn and under two agreements; how many are answered. The rest is
/// refused, because these accounts have nothing left.
async fn answered_of(analysts: &Analysts, numbers: std::ops::Range<u32>, spent: &str) -> Result<u64> {
    let mut asking: JoinSet<Result<Result<QueryAnswer, ClientError>>> = JoinSet::new();
    for number in numbers {
        let (_, connection, agreement) = analysts.turn(number);
        let (connection, ask) = (connection.clone(), Ask::new(agreement, PURPOSE, &question(number))?);
        asking.spawn(async move { Ok(ask_until_answered(&connection, &ask).await) });
    }
    let mut answered = 0;
    while let Some(ended) = asking.join_next().await {
        match ended?? {
            Ok(_) => answered += 1,
            refused => {
                let refusal = refusal_of(refused)?.refusal;
                ensure!(refusal.reason == "BUDGET_EXHAUSTED", "{}", refusal.reason);
                let said = refusal.metadata.get("detail").cloned().unwrap_or_default();
                ensure!(said.contains(spent), "{said}");
            }
        }
    }
    Ok(answered)
}

/// That each analyst under each agreement is refused over each contract, by the gateway and by the adapter alone.
async fn all_is_spent(shared: &Shared, analysts: &Analysts, from: u32, spent: &str) -> Result<()> {
    for number in from..from + 8 {
        let (who, connection, agreement) = analysts.turn(number);
        let ask = Ask::new(agreement, PURPOSE, &question(number))?;
        let refusal = refusal_of(ask_until_answered(connection, &ask).await)?.refusal;
        ensure!(refusal.reason == "BUDGET_EXHAUSTED", "{}", refusal.reason);
        let what = What::Query(question(number).leak());
        let request = Request { who, agreement, purpose: PURPOSE, what };
        let sent = request.signed(&shared.federation, SystemClock.now(), 0)?;
        let told = patiently(async || sent.to_adapter(shared.liar.agency(AGENCY)?).await).await?.refused()?;
        ensure!(told.reason == "BUDGET_EXHAUSTED" && told.words.contains(spent), "{}: {}", told.reason, told.words);
    }
    Ok(())
}

#[test]
fn whoever_asks_under_whatever_never_adds_up_past_the_register_and_a_quorum_raises_the_year_alone() -> Result<()> {
    const YEAR: &str = "the persons of this register for the period";
    const LIFE: &str = "the persons of this register for life";
    run(async {
        let now = SystemClock.now();
        // Made long enough ago for what loosens it to have waited.
        let made = now.plus_secs(-60 * DAY);
        let until = now.plus_secs(30 * DAY);
        let shared = Shared::own(300, |federation| {
            bounds(federation, 6, 9)?;
            federation.sign_bundle(1, None, Validity { made, valid_from: made, valid_until: until })
        })
        .await?;
        let federation = &shared.federation;
        let connect = async |who: Caller| who.connect(federation, shared.live.address).await;
        let analysts = Analysts { ada: connect(Caller::ADA).await?, bob: connect(BOB).await? };

        let first = Ask::new(STATISTICS, PURPOSE, &question(100))?;
        let answer = ask_until_answered(&analysts.ada, &first).await?;
        ensure!(1 + answered_of(&analysts, 0..16, YEAR).await? == 6, "another number than the year allows");
        assert_eq!(lost(&analysts.bob).await?, (6 * PRICE, 6 * PRICE));
        all_is_spent(&shared, &analysts, 20, YEAR).await?;
        // What is released already costs the persons nothing, and is given to either.
        let again = ask_until_answered(&analysts.bob, &Ask::new(STATISTICS, PURPOSE, &question(100))?).await?;
        assert_eq!(again.rows, answer.rows);
        assert_eq!(lost(&analysts.bob).await?, (6 * PRICE, 6 * PRICE));

        // Two of three overseers cannot raise what a year gives.
        let previous = offered_digest(federation)?;
        bounds(federation, 20, 9)?;
        let waited = Validity {
            made: now.plus_secs(-31 * DAY),
            valid_from: now.plus_secs(-3_600),
            valid_until: now.plus_secs(30 * DAY),
        };
        let since = lengths(federation)?;
        federation.sign_bundle(2, Some(previous), waited)?;
        heard(federation, &since, 0, "2 of 3").await?;
        all_is_spent(&shared, &analysts, 30, YEAR).await?;

        // All three and the agency can, and then the bound for life ends it.
        let since = lengths(federation)?;
        for name in ["overseer-west", AGENCY] {
            cosign(&federation.layout().bundle(), &federation.signing_key(name)?)?;
        }
        heard(federation, &since, 0, "accepted").await?;
        ensure!(answered_of(&analysts, 40..56, LIFE).await? == 3, "another number than life allows");
        assert_eq!(lost(&analysts.ada).await?, (9 * PRICE, 9 * PRICE));
        all_is_spent(&shared, &analysts, 60, LIFE).await
    })
}

/// Of the questions that are sent at that time one after the other, how many both programs answer before they refuse,
/// and what they say then.
async fn until_refused(
    clocked: &Clocked,
    at: Timestamp,
    numbers: &mut std::ops::RangeFrom<u32>,
) -> Result<(u64, Told)> {
    let mut answered = 0;
    loop {
        let number = numbers.next().context("no more numbers")?;
        let what = What::Query(question(number).leak());
        let request = Request { who: Caller::ADA, agreement: UNSIGNED, purpose: PURPOSE, what };
        // These clients do not sign: a signature is good for as long as its certificate is, which is not for years.
        let sent = request.signed(&clocked.federation, at, 0)?.unsigned();
        let outcome = patiently(async || sent.to_gateway(&clocked.federation, clocked.gateway).await).await?;
        let Outcome::Refused(by_gateway) = outcome else {
            answered += 1;
            ensure!(answered < 100, "nothing is refused");
            continue;
        };
        let by_adapter = patiently(async || clocked.to_adapter(&sent).await).await?.refused()?;
        ensure!(by_gateway.reason == by_adapter.reason, "{} and {}", by_gateway.reason, by_adapter.reason);
        return Ok((answered, by_adapter));
    }
}

#[test]
fn a_clock_that_jumps_over_years_and_back_gives_no_more_than_the_bound_for_life() -> Result<()> {
    run(async {
        let start = NEW_YEARS_EVE;
        let validity = Validity {
            made: start.plus_secs(-DAY),
            valid_from: start.plus_secs(-DAY),
            valid_until: start.plus_secs(1_600 * DAY),
        };
        let clocked = Clocked::prepare(start, |federation| {
            bounds(federation, 2, 5)?;
            federation.sign_bundle(1, None, validity)
        })
        .await?;
        let connection = Caller::ADA.connect(&clocked.federation, clocked.gateway).await?;
        let mut numbers = 1_u32..;
        let [new_year, two_years, four_years] = [1, 731, 1_462].map(|days| start.plus_secs(days * DAY));
        // Of each time that the clocks show and requests are made at: how many are answered, and why the next is not.
        for (at, answered, reason, words) in [
            (start, 2, "BUDGET_EXHAUSTED", "for the period"),
            (new_year, 2, "BUDGET_EXHAUSTED", "for the period"),
            // Set back: who asks by the right time asks too late for a program that has seen a later one.
            (start, 0, "REQUEST_EXPIRED", ""),
            (two_years, 1, "BUDGET_EXHAUSTED", "for life"),
            (start, 0, "REQUEST_EXPIRED", ""),
            (four_years, 0, "BUDGET_EXHAUSTED", "for life"),
        ] {
            clocked.clock.set(at);
            let (found, told) = until_refused(&clocked, at, &mut numbers).await?;
            assert_eq!((found, told.reason.as_str()), (answered, reason), "at {at}: {}", told.words);
            ensure!(told.words.contains(words), "at {at}: {}", told.words);
            let (life, years) = lost(&connection).await?;
            assert_eq!(life, years, "at {at}");
        }
        // Nor is there more while the clock stands earlier again.
        clocked.clock.set(new_year);
        let (found, told) = until_refused(&clocked, four_years, &mut numbers).await?;
        assert_eq!((found, told.reason.as_str()), (0, "BUDGET_EXHAUSTED"));
        assert_eq!(lost(&connection).await?, (5 * PRICE, 5 * PRICE));
        Ok(())
    })
}
