//! Releases made public: by whom, from when on, and readable by everybody, enforcement included.

mod clocks;
mod commands;
mod kept;
mod left_out;
mod refused;

use anyhow::{Context, Result, ensure};
use firebreak::client::{
    Ask, ClientError, Connection, Published, QueryAnswer, cite_release, get_publication, list_publications, run_query,
    take_step,
};
use firebreak_audit::{LeafKind, Receipt};
use firebreak_domain::{Clock, PublicationId, PublicationStep, ReleaseName, SystemClock, Timestamp};
use firebreak_testbed::http_answer;
use firebreak_tests::{Caller, Own, ask_until_answered, http_file, refusal_of, run};
use firebreak_wire::publication::v1::{Publication, PublicationStepResponse, publication::State};
use firebreak_wire::query::v1::Accepted;
use std::time::Duration;

const BOB: Caller = Caller("nso", "analyst", "bob");
/// Decides on residence: class enforcement.
const ENFORCEMENT: Caller = Caller("immigration-agency", "analyst", "ivo");
const OWNER: Caller = Caller("health-agency", "analyst", "olga");
const ENDINGS: [&str; 4] = ["csv", "sdmx.csv", "parquet", "json"];
const BY_REGION: &str = "SELECT region, COUNT(*) AS visits FROM health.visits WHERE cost >= 2 GROUP BY region";

fn right() -> Result<Ask> {
    Ok(Ask::without_question("health-statistics", "health-planning")?)
}

async fn release(connection: &Connection, sql: &str) -> Result<(QueryAnswer, ReleaseName)> {
    let answer = ask_until_answered(connection, &Ask::new("health-statistics", "health-planning", sql)?).await?;
    let name = answer.released.release_id.parse()?;
    Ok((answer, name))
}

fn draft(release: ReleaseName, series: &str, revises: bool) -> Result<PublicationStep> {
    Ok(PublicationStep::Draft { release, series: series.parse()?, revises })
}

async fn step(connection: &Connection, step: PublicationStep) -> Result<PublicationStepResponse, ClientError> {
    take_step(connection, &right().map_err(|_| ClientError::Answer("no right"))?, step).await
}

fn id(taken: &PublicationStepResponse) -> Result<PublicationId> {
    Ok(taken.publication.as_ref().context("no publication")?.publication_id.parse()?)
}

fn state(taken: &PublicationStepResponse) -> State {
    taken.publication.as_ref().map_or(State::Unspecified, Publication::state)
}

fn newest(series: &str) -> Result<Published> {
    Ok(Published::Revision("nso".parse()?, series.parse()?, None))
}

async fn drafted(connection: &Connection, name: ReleaseName, series: &str, revises: bool) -> Result<PublicationId> {
    id(&step(connection, draft(name, series, revises)?).await?)
}

/// The status of a page, in a number.
async fn status(own: &Own, path: &str) -> Result<u16> {
    let answer = http_answer(own.live.public_log, path).await?;
    Ok(std::str::from_utf8(answer.get(9..12).context("no status")?)?.parse()?)
}

/// What somebody without any right to it is told of a publication: by its id, by its series, in the list, over HTTP.
async fn seen(own: &Own, who: Caller, id: PublicationId, series: &str) -> Result<Vec<String>> {
    let connection = who.connect(&own.federation, own.live.address).await?;
    let mut told = Vec::new();
    let first = Published::Revision("nso".parse()?, series.parse()?, Some(1));
    for published in [Published::Id(id), newest(series)?, first] {
        told.push(match get_publication(&connection, &published).await {
            Ok(read) => format!("read {}", read.publication.series),
            Err(ClientError::Refused(refused)) => format!("{:?}", refused.refusal),
            Err(other) => return Err(other.into()),
        });
    }
    let listed = list_publications(&connection).await?;
    told.push(format!("{}", listed.iter().filter(|p| p.series == series).count()));
    for path in ENDINGS.iter().flat_map(|end| [format!("nso/{series}.{end}"), format!("nso/{series}/1.{end}")]) {
        told.push(status(own, &format!("/publications/{path}")).await?.to_string());
    }
    for index in ["", "index.json"] {
        let page = http_file(own.live.public_log, &format!("/publications/{index}")).await?;
        told.push(String::from_utf8(page)?.contains(&format!("/{series}/")).to_string());
    }
    Ok(told)
}

#[test]
fn what_is_published_is_everybodys_enforcement_included_and_nothing_else_is() -> Result<()> {
    run(async {
        let own = Own::start(300, &[]).await?;
        let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
        let (answer, name) = release(&ada, BY_REGION).await?;
        let id = drafted(&ada, name, "visits", false).await?;
        let nothing = PublicationId::from_bytes([9; 16]);
        // A draft looks like what is not there, to enforcement and to the agency whose data it is of.
        for who in [ENFORCEMENT, OWNER, Caller("dpa", "authority", "otto")] {
            let hidden: Vec<_> = seen(&own, who, id, "visits").await?;
            assert_eq!(hidden, seen(&own, who, nothing, "nonesuch").await?, "{who:?}");
            ensure!(hidden.iter().all(|told| !told.starts_with("read") && told != "200"), "{hidden:?}");
        }
        // Its own organisation sees it.
        let bob = BOB.connect(&own.federation, own.live.address).await?;
        assert_eq!(get_publication(&bob, &Published::Id(id)).await?.answer.rows, answer.rows);
        assert_eq!(list_publications(&bob).await?.len(), 1);

        let published = step(&ada, PublicationStep::Publish { publication: id }).await?;
        assert_eq!(state(&published), State::Published);
        for who in
            [ENFORCEMENT, OWNER, Caller("it-contractor", "endpoint", "inbox"), Caller("dpa", "authority", "otto")]
        {
            let connection = who.connect(&own.federation, own.live.address).await?;
            assert_eq!(list_publications(&connection).await?.len(), 1, "{who:?}");
            let read = get_publication(&connection, &newest("visits")?).await?;
            let accepted = Accepted { question: Vec::new(), ..answer.accepted.clone() };
            assert_eq!((&read.answer.rows, &read.answer.accepted), (&answer.rows, &accepted), "{who:?}");
            assert_eq!(read.answer.released.release_id, name.to_string());
            ensure!(read.intervals.contains("noise alone") && read.citation.cut == "2024-Q4", "{who:?}");
        }
        // Enforcement has this, and nothing else.
        let ivo = ENFORCEMENT.connect(&own.federation, own.live.address).await?;
        let asked = Ask::new("health-statistics", "health-planning", BY_REGION)?;
        refusal_of(run_query(&ivo, &asked, &mut |_| {}).await)?;
        refusal_of(firebreak::client::get_release(&ivo, &right()?, name, &mut |_| {}).await)?;
        refusal_of(step(&ivo, draft(name, "visits", true)?).await)?;

        read_over_http(&own, &answer, name).await?;
        let cited = cite_release(&ada, &right()?, name).await?;
        assert_eq!(cited.address, "/publications/nso/visits/1");

        // So is the release of a join, in a series of its own.
        let joined = "SELECT c.vaccine, COUNT(*) AS visits FROM health.visits v JOIN health.vaccinations c \
                      ON v.person = c.person GROUP BY c.vaccine";
        let (of_join, name) = release(&ada, joined).await?;
        refusal_of(step(&ada, draft(name, "visits", true)?).await)?;
        let id = drafted(&ada, name, "visits-of-the-vaccinated", false).await?;
        step(&ada, PublicationStep::Publish { publication: id }).await?;
        let read = get_publication(&ivo, &newest("visits-of-the-vaccinated")?).await?;
        assert_eq!(read.answer.rows, of_join.rows);
        assert_eq!(read.answer.accepted, Accepted { question: Vec::new(), ..of_join.accepted.clone() });
        assert_eq!(read.publication.dataset, of_join.accepted.dataset);
        let csv = http_file(own.live.public_log, "/publications/nso/visits-of-the-vaccinated.csv").await?;
        assert_eq!(String::from_utf8(csv)?, firebreak_format::csv::answer(&of_join.accepted, &of_join.rows));
        Ok(())
    })
}

async fn read_over_http(own: &Own, answer: &QueryAnswer, name: ReleaseName) -> Result<()> {
    let file = async |path: &str| http_file(own.live.public_log, &format!("/publications/{path}")).await;
    for ending in ENDINGS {
        assert_eq!(file(&format!("nso/visits.{ending}")).await?, file(&format!("nso/visits/1.{ending}")).await?);
    }
    let csv = String::from_utf8(file("nso/visits.csv").await?)?;
    assert_eq!(csv, firebreak_format::csv::answer(&answer.accepted, &answer.rows));
    let sdmx = String::from_utf8(file("nso/visits.sdmx.csv").await?)?;
    ensure!(sdmx.contains(",F,") && !sdmx.contains(",N,") && sdmx.contains(&name.to_string()), "{sdmx}");
    ensure!(file("nso/visits.parquet").await?.starts_with(b"PAR1"), "no Parquet");
    let json: serde_json::Value = serde_json::from_slice(&file("nso/visits/1.json").await?)?;
    let told = |path: &str| json.pointer(path).and_then(|v| v.as_str()).unwrap_or_default().to_owned();
    assert_eq!(told("/release_id"), name.to_string());
    assert_eq!(told("/publication/state"), "published");
    for path in ["/estimand", "/mechanism", "/publication/intervals", "/publication/citation/bibtex"] {
        ensure!(!told(path).is_empty(), "{path}");
    }
    // Evidence for everybody: of the publication, and of nobody's request.
    let receipt = Receipt::decode(told("/publication/receipt").as_bytes())?;
    let verified = receipt.verify(&own.federation.log_key().parse()?)?;
    assert_eq!(verified.leaf.leaf().kind, LeafKind::Published);
    let payload = String::from_utf8(verified.opening.context("no opening")?.payload)?;
    ensure!(payload.contains("organisation nso\nseries visits\nrevision 1\n"), "{payload}");
    // By words: an id in hexadecimal may well hold the letters of a name.
    ensure!(payload.contains(&format!("release {name}\n")), "{payload}");
    ensure!(payload.split(|c: char| !c.is_alphanumeric()).all(|word| word != "ada"), "{payload}");
    // Caches are told what they need.
    let head = String::from_utf8(http_answer(own.live.public_log, "/publications/nso/visits.csv").await?)?;
    for header in ["etag: \"", "last-modified: ", "text/csv", "</publications/nso/visits/1.json>; rel=\"describedby\""]
    {
        ensure!(head.contains(header), "{header} is missing:\n{head}");
    }
    for path in ["", "/", "/nso", "/nso/visits", "/nso/visits/2.csv", "/nso/visits/../visits.csv", "/../state.key"] {
        let expected = if path == "/" { 200 } else { 404 };
        assert_eq!(status(own, &format!("/publications{path}")).await?, expected, "{path}");
    }
    Ok(())
}

#[test]
fn an_embargo_ends_by_itself_and_nobody_else_sees_it_before() -> Result<()> {
    run(async {
        let own = Own::start(300, &[]).await?;
        let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
        let (_, name) = release(&ada, BY_REGION).await?;
        let (soon, late) = (drafted(&ada, name, "soon", false).await?, drafted(&ada, name, "late", false).await?);
        let embargo = |publication, until| PublicationStep::Embargo { publication, until };
        let now = SystemClock.now();
        for until in [now.plus_secs(-5), now.plus_secs(6 * 366 * 86_400)] {
            assert_eq!(refusal_of(step(&ada, embargo(soon, until)).await)?.refusal.reason, "PUBLICATION_STEP");
        }
        let until = SystemClock.now().plus_secs(4);
        assert_eq!(state(&step(&ada, embargo(soon, until)).await?), State::Embargoed);
        step(&ada, embargo(late, now.plus_secs(3600))).await?;
        // Not before its time, not even by who drafted it.
        let early = step(&ada, PublicationStep::Publish { publication: late }).await;
        assert_eq!(refusal_of(early)?.refusal.reason, "PUBLICATION_STEP");
        let told = seen(&own, ENFORCEMENT, late, "late").await?;
        assert_eq!(told, seen(&own, ENFORCEMENT, PublicationId::from_bytes([9; 16]), "nonesuch").await?);

        let ivo = ENFORCEMENT.connect(&own.federation, own.live.address).await?;
        let mut read = None;
        for _ in 0..1200 {
            if let Ok(found) = get_publication(&ivo, &newest("soon")?).await {
                read = Some((found, SystemClock.now()));
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let (read, seen_at) = read.context("the embargo did not end")?;
        ensure!(seen_at >= until && Timestamp::from_secs(read.publication.published) >= until, "seen before its time");
        assert_eq!(read.publication.release_id, name.to_string());
        let verified = Receipt::decode(read.answer.released.receipt.as_bytes())?;
        assert_eq!(verified.verify(&own.federation.log_key().parse()?)?.leaf.leaf().kind, LeafKind::Published);

        // What lies under an embargo can be withdrawn; what is published cannot.
        assert_eq!(state(&step(&ada, PublicationStep::Withdraw { publication: late }).await?), State::Withdrawn);
        for publication in [late, soon] {
            for next in [PublicationStep::Withdraw { publication: soon }, embargo(publication, now.plus_secs(9000))] {
                assert_eq!(refusal_of(step(&ada, next).await)?.refusal.reason, "PUBLICATION_STEP");
            }
        }
        let withdrawn = step(&ada, PublicationStep::Publish { publication: late }).await;
        assert_eq!(refusal_of(withdrawn)?.refusal.reason, "PUBLICATION_STEP");
        Ok(())
    })
}

#[test]
fn a_revision_takes_the_place_of_the_one_before_which_stays_at_its_address() -> Result<()> {
    run(async {
        let own = Own::start(300, &[]).await?;
        let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
        let (_, first) = release(&ada, BY_REGION).await?;
        let (corrected, second) = release(&ada, &BY_REGION.replace(">= 2", ">= 1")).await?;
        refusal_of(step(&ada, draft(first, "visits", true)?).await).context("a revision of nothing")?;
        let (one, twin) = (drafted(&ada, first, "visits", false).await?, drafted(&ada, first, "visits", false).await?);
        step(&ada, PublicationStep::Publish { publication: one }).await?;
        let file = |path: &'static str| http_file(own.live.public_log, path);
        let before = file("/publications/nso/visits/1.csv").await?;
        // A second beginning replaces nothing, whether it was drafted before or is drafted now.
        for refused in [PublicationStep::Publish { publication: twin }, draft(second, "visits", false)?] {
            assert_eq!(refusal_of(step(&ada, refused).await)?.refusal.reason, "PUBLICATION_STEP");
        }
        let two = drafted(&ada, second, "visits", true).await?;
        // Published by two at once, and once more: one revision.
        let publish = || PublicationStep::Publish { publication: two };
        let bob = BOB.connect(&own.federation, own.live.address).await?;
        let (a, b) = tokio::join!(step(&ada, publish()), step(&bob, publish()));
        let again = step(&ada, publish()).await?;
        let revisions = [a?, b?, again].map(|taken| (taken.publication.map(|p| p.revision), taken.receipt.is_empty()));
        assert_eq!(revisions.iter().filter(|(revision, _)| *revision == Some(2)).count(), 3);
        assert_eq!(revisions.iter().filter(|(_, no_receipt)| !no_receipt).count(), 1, "one leaf");

        assert_eq!(file("/publications/nso/visits/1.csv").await?, before, "the earlier one stays");
        assert_eq!(file("/publications/nso/visits.csv").await?, file("/publications/nso/visits/2.csv").await?);
        let ivo = ENFORCEMENT.connect(&own.federation, own.live.address).await?;
        let listed = list_publications(&ivo).await?;
        let listed: Vec<_> = listed.iter().map(|p| (p.revision, p.state())).collect();
        assert_eq!(listed, [(1, State::Revised), (2, State::Published)]);
        assert_eq!(get_publication(&ivo, &newest("visits")?).await?.answer.rows, corrected.rows);
        let old: serde_json::Value = serde_json::from_slice(&file("/publications/nso/visits/1.json").await?)?;
        assert_eq!(old.pointer("/publication/state").and_then(|v| v.as_str()), Some("revised"));
        // A request sent again drafts nothing anew.
        let ask = right()?;
        let begin = draft(first, "others", false)?;
        let (once, twice) = (take_step(&ada, &ask, begin.clone()).await?, take_step(&ada, &ask, begin).await?);
        assert_eq!(id(&once)?, id(&twice)?);
        ensure!(!once.receipt.is_empty() && twice.receipt.is_empty(), "drafted twice");
        Ok(())
    })
}
