//! A stored release, by its id: for whoever may ask its question, and for nobody else.

use crate::catalogue::{done, firebreak, program};
use anyhow::{Context, Result, bail, ensure};
use firebreak::client::{
    Ask, ClientError, Connection, QueryAnswer, changes, cite_release, get_budget, get_loss, get_release,
};
use firebreak_audit::{LeafKind, Receipt, SignerRole};
use firebreak_domain::{Charge, CutId, ReleaseName};
use firebreak_tests::{Caller, Own, Shared, ask_until_answered, refusal_of, run, shared};
use std::collections::BTreeMap;

const BOB: Caller = Caller("nso", "analyst", "bob");
const BY_REGION: &str = "SELECT region AS region, COUNT(*) AS visits, COUNT(*) FILTER (WHERE kind = 'emergency') / \
                         COUNT(*) AS share FROM health.visits WHERE cost >= 3 GROUP BY region";

fn health() -> Result<Ask> {
    Ok(Ask::without_question("health-statistics", "health-planning")?)
}

fn name_of(answer: &QueryAnswer) -> Result<ReleaseName> {
    Ok(answer.released.release_id.parse()?)
}

async fn again(connection: &Connection, ask: &Ask, name: ReleaseName) -> Result<QueryAnswer, ClientError> {
    get_release(connection, ask, name, &mut |_| {}).await
}

/// What is spent of each account, by its name.
async fn spent(connection: &Connection, ask: &Ask) -> Result<BTreeMap<String, u64>> {
    let accounts = get_budget(connection, &ask.agreement).await?;
    let nano = |charge: Option<firebreak_wire::query::v1::Charge>| firebreak_wire::charge_from_wire(charge.as_ref());
    Ok(accounts.into_iter().map(|a| (a.of, nano(a.spent).rho.nano())).collect())
}

/// Those that no other test spends from: the caller's own.
fn own_accounts(spent: &BTreeMap<String, u64>) -> BTreeMap<&String, &u64> {
    spent.iter().filter(|(account, _)| account.contains("you")).collect()
}

#[test]
fn a_release_is_given_again_by_its_id_without_the_agency_and_without_loss_to_the_persons() -> Result<()> {
    run(async {
        let mut own = Own::start(300, &[]).await?;
        let asked = Ask::new("health-statistics", "health-planning", BY_REGION)?;
        let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
        let answered = ask_until_answered(&ada, &asked).await?;
        let name = name_of(&answered)?;
        // Nobody can ask the agency any more.
        own.kill_adapter("health-agency").await?;
        own.kill_gateway().await?;
        own.start_gateway().await?;

        let bob = BOB.connect(&own.federation, own.live.address).await?;
        let ask = health()?;
        let before = spent(&bob, &ask).await?;
        let given = again(&bob, &ask, name).await?;
        assert_eq!((&given.accepted, &given.rows), (&answered.accepted, &answered.rows));
        assert_eq!(given.released.release_id, answered.released.release_id);
        let after = spent(&bob, &ask).await?;
        let cost = firebreak_wire::charge_from_wire(answered.accepted.cost.as_ref()).rho.nano();
        ensure!(cost > 0 && before.len() >= 4, "{before:?}");
        for (account, spent) in &after {
            let of_persons = account.contains("persons");
            let more = spent - before.get(account).copied().unwrap_or_default();
            assert_eq!(more, if of_persons { 0 } else { cost }, "{account}");
        }
        ensure!(after.keys().any(|account| account.contains("persons")), "{after:?}");

        let verified =
            Receipt::decode(given.released.receipt.as_bytes())?.verify(&own.federation.log_key().parse()?)?;
        let leaf = verified.leaf.leaf();
        assert_eq!((leaf.kind, leaf.signer_role), (LeafKind::StoredRelease, SignerRole::Gateway));
        assert_eq!(leaf.charge, Charge::default());
        let payload = verified.opening.context("no opening")?.payload;
        let payload = String::from_utf8_lossy(&payload).into_owned();
        ensure!(payload.contains(&format!("act 7 release\nkind 0 \nquery 32 {name}\n")), "{payload}");

        // Sent again it is the same request, and is not charged again.
        let repeated = again(&bob, &ask, name).await?;
        assert_eq!(repeated.rows, given.rows);
        assert_eq!(spent(&bob, &ask).await?, after);
        Ok(())
    })
}

/// A refusal without its receipt, and the leaf in it without what differs between any two.
async fn refused(shared: &Shared, who: &Connection, ask: &Ask, name: ReleaseName) -> Result<(String, String)> {
    let refused = refusal_of(again(who, ask, name).await)?.refusal;
    let receipt = refused.metadata.get("receipt").context("no receipt")?;
    let leaf = Receipt::decode(receipt.as_bytes())?.verify(&shared.log_key()?)?.leaf;
    let told = |line: &&str| ["commitment ", "sealed ", "hour ", "ledger_"].iter().all(|own| !line.starts_with(own));
    let leaf = leaf.leaf().encode().lines().filter(told).collect::<Vec<_>>().join("\n");
    let mut rest: Vec<_> = refused.metadata.iter().filter(|(key, _)| *key != "receipt").collect();
    rest.sort();
    Ok((format!("{} {rest:?}", refused.reason), leaf))
}

#[test]
fn a_release_that_one_may_not_ask_for_looks_like_one_that_does_not_exist() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let ada = Caller::ADA.connect(&shared.federation, shared.live.address).await?;
        let asked = Ask::new("health-statistics", "health-planning", BY_REGION)?;
        let name = name_of(&ask_until_answered(&ada, &asked).await?)?;
        let nothing = ReleaseName::of(b"nothing");
        let by = |agreement: &str, purpose: &str| Ask::without_question(agreement, purpose);
        let school = Caller("education-agency", "analyst", "stranger");
        let enforcement = Caller("immigration-agency", "analyst", "stranger");
        for (who, agreement, purpose, reason) in [
            // Another dataset, another purpose, nobody's agreement, an agreement that has ended.
            (Caller::ADA, "education-statistics", "school-planning", "UNKNOWN_RELEASE"),
            (Caller::ADA, "health-statistics", "school-planning", "PURPOSE_NOT_COVERED"),
            (Caller::ADA, "no-such-agreement", "health-planning", "NO_AGREEMENT"),
            (Caller::ADA, "health-statistics-2023", "health-planning", "AGREEMENT_NOT_IN_FORCE"),
            (school, "education-statistics", "school-planning", "UNKNOWN_RELEASE"),
            (school, "health-statistics", "health-planning", "NO_AGREEMENT"),
            (enforcement, "health-statistics", "health-planning", ""),
        ] {
            let connection = who.connect(&shared.federation, shared.live.address).await?;
            let hidden = refused(shared, &connection, &by(agreement, purpose)?, name).await?;
            let absent = refused(shared, &connection, &by(agreement, purpose)?, nothing).await?;
            assert_eq!(hidden, absent, "{who:?}, {agreement}");
            ensure!(hidden.0.starts_with(reason), "{who:?}, {agreement}: {}", hidden.0);
            let ask = by(agreement, purpose)?;
            let cited = [name, nothing].map(|name| (name, cite_release(&connection, &ask, name)));
            let mut told = Vec::new();
            for (name, citing) in cited {
                match citing.await {
                    Err(ClientError::Refused(refused)) => told.push((refused.refusal.reason, refused.refusal.metadata)),
                    other => bail!("{name}: {other:?}"),
                }
            }
            assert_eq!(told.first(), told.last(), "{who:?}, {agreement}");
        }
        // The twin.
        assert!(again(&ada, &health()?, name).await.is_ok());
        Ok(())
    })
}

#[test]
fn a_signature_over_one_release_gives_no_other() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let ada = Caller::ADA.connect(&shared.federation, shared.live.address).await?;
        let mut names = Vec::new();
        for least in [5, 6] {
            let sql = format!("SELECT COUNT(*) AS n FROM health.visits WHERE cost >= {least}");
            let asked = Ask::new("health-statistics", "health-planning", &sql)?;
            names.push(name_of(&ask_until_answered(&ada, &asked).await?)?);
        }
        let [one, other] = names.as_slice() else { bail!("two releases") };
        assert_ne!(one, other);
        // One request id stands for one release.
        let ask = health()?;
        again(&ada, &ask, *one).await?;
        assert_eq!(refusal_of(again(&ada, &ask, *other).await)?.refusal.reason, "REQUEST_ID_REUSED");
        Ok(())
    })
}

#[test]
fn on_the_command_line_a_release_is_had_again_in_every_format_and_cited() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let right = ["--agreement", "health-statistics", "--purpose", "health-planning"];
        let asked = firebreak(shared, "rita", &[&["query", BY_REGION, "--csv"], right.as_slice()].concat())?;
        ensure!(asked.code == Some(0), "{}", asked.err);
        let id = asked.err.split_whitespace().last().context("no release")?.to_owned();
        let release = |word: &str, more: &[&str]| {
            firebreak(shared, "rita", &[&["release", word, &id], right.as_slice(), more].concat())
        };
        let given = release("get", &["--format", "csv"])?;
        ensure!(given.code == Some(0), "{}", given.err);
        assert_eq!(given.out, asked.out);
        let shown = release("get", &[])?;
        ensure!(shown.out.contains(&id) && shown.out.contains("share"), "{}", shown.out);

        let cited = release("cite", &[])?;
        ensure!(cited.code == Some(0), "{}", cited.err);
        let (title, year) = ("Health Records Directorate of the Ministry of Health", "2024-Q4");
        let flat = cited.out.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in [title, year, &id, "discrete gaussian", "health.visits", "Controller: Ministry of Health"] {
            ensure!(flat.contains(part), "{part} is missing:\n{}", cited.out);
        }
        let bibtex = release("cite", &["--bibtex"])?.out;
        ensure!(cited.out.ends_with(&bibtex) && bibtex.starts_with(&format!("@misc{{firebreak-{id},")), "{bibtex}");
        ensure!(!cited.out.contains("visits, COUNT") && !cited.out.contains("share"), "a caller's words are cited");
        let malformed = done(program("firebreak")?.args(["release", "cite", "4711"]).args(right))?;
        assert_eq!(malformed.code, Some(2));
        Ok(())
    })
}

const BY_REGION_AND_YEAR: &str = "SELECT region, visit_year, COUNT(*) AS visits, SUM(cost) AS costs FROM health.visits \
                                  WHERE kind <> 'emergency' GROUP BY region, visit_year";

#[test]
fn a_release_is_added_up_to_a_coarser_question_without_the_agency_and_without_loss_to_the_persons() -> Result<()> {
    run(async {
        let mut own = Own::start(300, &[]).await?;
        let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
        let asked = Ask::new("health-statistics", "health-planning", BY_REGION_AND_YEAR)?;
        let answered = ask_until_answered(&ada, &asked).await?;
        let name = name_of(&answered)?;
        own.kill_adapter("health-agency").await?;
        let before = get_loss(&ada).await?.together;
        let coarser = "SELECT visit_year, COUNT(*) AS visits, SUM(cost) / COUNT(*) AS mean FROM health.visits \
                       WHERE kind <> 'emergency' GROUP BY visit_year";
        let ask = Ask::new("health-statistics", "health-planning", coarser)?;
        let bob = BOB.connect(&own.federation, own.live.address).await?;
        let rolled = again(&bob, &ask, name).await?;
        assert_eq!(rolled.accepted.groups, ["visit_year"]);
        assert_eq!(rolled.released.release_id, name.to_string());
        ensure!(rolled.released.estimand.contains("added up"), "{}", rolled.released.estimand);
        for row in &rolled.rows {
            let year = &row.groups[0];
            let parts: Vec<_> = answered.rows.iter().filter(|part| part.groups[1] == *year).collect();
            ensure!(parts.len() > 10, "{} regions", parts.len());
            let sum: f64 = parts.iter().filter_map(|part| part.estimates[0].value).sum();
            let error = |part: &&firebreak_wire::query::v1::Row| part.estimates[0].standard_error;
            let error = parts.iter().filter_map(error).map(|error| error * error).sum::<f64>().sqrt();
            let found = &row.estimates[0];
            assert_eq!(found.value, Some(sum), "{year}");
            let root = found.standard_error.context("no error")?;
            ensure!((root - error).abs() < 1e-6 * error, "{year}: {root} and {error}");
            let costs: f64 = parts.iter().filter_map(|part| part.estimates[1].value).sum();
            let mean = row.estimates[1].value.context("no mean")?;
            ensure!((mean - costs / sum).abs() < 1e-9 * (costs / sum).abs(), "{year}: {mean} of {costs} and {sum}");
        }
        assert_eq!(get_loss(&ada).await?.together, before, "nobody lost anything");

        // Sent again it is the same request; with another question under its id it is another.
        assert_eq!(again(&bob, &ask, name).await?.rows, rolled.rows);
        let total = "SELECT COUNT(*) AS visits FROM health.visits WHERE kind <> 'emergency'";
        let other = Ask { sql: Some(total.to_owned()), ..ask.clone() };
        assert_eq!(refusal_of(again(&bob, &other, name).await)?.refusal.reason, "REQUEST_ID_REUSED");
        // What the release does not hold does not come out of it.
        for sql in [
            "SELECT kind, COUNT(*) AS visits FROM health.visits WHERE kind <> 'emergency' GROUP BY kind",
            "SELECT COUNT(*) AS visits FROM health.visits",
            "SELECT COUNT(DISTINCT person) AS persons FROM health.visits WHERE kind <> 'emergency'",
            "SELECT MEDIAN(cost) AS middle FROM health.visits WHERE kind <> 'emergency'",
            "SELECT COUNT(*) AS n FROM health.vaccinations",
        ] {
            let ask = Ask::new("health-statistics", "health-planning", sql)?;
            let refused = refusal_of(again(&bob, &ask, name).await)?;
            assert_eq!(refused.refusal.reason, "NOT_IN_RELEASE", "{sql}");
        }
        // Who may not have the release learns nothing by adding it up.
        let school = Ask::new("education-statistics", "school-planning", total)?;
        assert_eq!(refusal_of(again(&bob, &school, name).await)?.refusal.reason, "UNKNOWN_RELEASE");
        Ok(())
    })
}

#[test]
fn two_releases_of_one_question_are_compared_over_their_cuts() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let ada = Caller::ADA.connect(&shared.federation, shared.live.address).await?;
        let mut came = Vec::new();
        for cut in ["2024-Q3", "2024-Q4"] {
            let sql = "SELECT kind, COUNT(*) AS visits FROM health.visits WHERE cost >= 4 GROUP BY kind";
            let ask = Ask { cut: Some(CutId::new(cut)?), ..Ask::new("health-statistics", "health-planning", sql)? };
            came.push(ask_until_answered(&ada, &ask).await?);
        }
        let found = changes(&came[0], &came[1])?;
        assert_eq!(found.accepted.cut, "2024-Q3 to 2024-Q4");
        // A question with the same groups and headings over other rows is another.
        let mut others = Vec::new();
        for sql in [
            "SELECT kind, COUNT(*) AS visits FROM health.visits WHERE cost >= 40 GROUP BY kind",
            "SELECT kind, COUNT(*) AS visits FROM health.visits GROUP BY kind",
        ] {
            let ask = Ask::new("health-statistics", "health-planning", sql)?;
            let other = ask_until_answered(&ada, &ask).await?;
            ensure!(matches!(changes(&came[0], &other), Err(ClientError::Compared(_))), "{sql}");
            others.push(other.released.release_id);
        }
        ensure!(found.rows.len() == came[1].rows.len() && !found.rows.is_empty());
        for (row, (then, now)) in found.rows.iter().zip(came[0].rows.iter().zip(&came[1].rows)) {
            let value = |row: &firebreak_wire::query::v1::Row| row.estimates[0].value.context("no value");
            assert_eq!(row.estimates[0].value, Some(value(now)? - value(then)?));
        }
        let (then, now) = (came[0].released.release_id.as_str(), came[1].released.release_id.as_str());
        let right = ["--agreement", "health-statistics", "--purpose", "health-planning"];
        let folder = tempfile::tempdir()?;
        let receipt = folder.path().join("receipt");
        let kept = ["--receipt", receipt.to_str().context("a path that is no text")?];
        // The same request twice: it is paid for once, the earlier release too.
        let id = "0123456789abcdef0123456789abcdef";
        let change = [&["release", "change", now, "--since", then, "--request-id", id], &right[..], &kept[..]].concat();
        let carl = Caller("nso", "analyst", "carl").connect(&shared.federation, shared.live.address).await?;
        let done = firebreak(shared, "carl", &change)?;
        ensure!(done.code == Some(0) && done.out.contains("visits_factor"), "{}{}", done.out, done.err);
        let flat = done.out.split_whitespace().collect::<Vec<_>>().join(" ");
        ensure!(flat.contains(&format!("{then} to {now}")), "{flat}");
        let paid = spent(&carl, &health()?).await?;
        let again = firebreak(shared, "carl", &change)?;
        ensure!(again.code == Some(0), "{}", again.err);
        assert_eq!(
            own_accounts(&paid),
            own_accounts(&spent(&carl, &health()?).await?),
            "a repeated change costs nothing"
        );
        for file in [receipt.clone(), folder.path().join("receipt.earlier")] {
            Receipt::decode(&std::fs::read(file)?)?.verify(&shared.log_key()?)?;
        }
        // What turns out not to be comparable is paid for: its evidence is kept, and how to go on is said.
        let receipt = folder.path().join("other");
        let kept = ["--receipt", receipt.to_str().context("a path that is no text")?];
        let words = [&["release", "change", now, "--since", &others[0]], &right[..], &kept[..]].concat();
        let done = firebreak(shared, "carl", &words)?;
        ensure!(done.code == Some(1) && done.err.contains("one question"), "{}{}", done.out, done.err);
        ensure!(done.err.contains("--request-id"), "{}", done.err);
        for file in [receipt.clone(), folder.path().join("other.earlier")] {
            Receipt::decode(&std::fs::read(file)?)?.verify(&shared.log_key()?)?;
        }
        let itself = firebreak(shared, "carl", &[&["release", "change", now, "--since", now], &right[..]].concat())?;
        ensure!(itself.code == Some(2) && itself.err.contains("--since"), "{}", itself.err);
        let total = "SELECT COUNT(*) AS visits FROM health.visits WHERE cost >= 4";
        let done = firebreak(shared, "rolf", &[&["release", "roll-up", now, total], &right[..]].concat())?;
        ensure!(done.code == Some(0) && done.out.contains("visits"), "{}{}", done.out, done.err);
        Ok(())
    })
}
