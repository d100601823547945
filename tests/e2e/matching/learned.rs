//! What the sender of a match receives, stores, logs and counts, with a person matched and not matched.
//!
//! Both agencies' sides run in this process, so that every message that reaches the sender can be seen as it arrives:
//! the same code as in the adapters, without the sockets. The session is lived twice, with the same request, keys and
//! policy. Between the two the sender loses one person, whom the receiver asks for.

use super::heard::Heard;
use super::side::{RECEIVER, SENDER, Side, begin, log_in, opening, submitted};
use agency_adapter::app::{accept_match, prepare_receiver};
use anyhow::{Context, Result, ensure};
use firebreak_audit::SignedLeaf;
use firebreak_domain::{Clock, SystemClock};
use firebreak_testbed::Federation;
use firebreak_tests::{Own, run, without_rows};
use sqlx::{Column, ConnectOptions, Row, TypeInfo, ValueRef};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// One life of the session.
struct Life {
    /// What the sender's program logged and counted.
    heard: Vec<String>,
    /// What reached the sender and what it answered, with sizes in place of what is random.
    messages: Vec<String>,
    /// What the sender stored, likewise.
    stored: Vec<String>,
    /// The receiver's persons who were matched.
    matched: BTreeSet<Vec<u8>>,
}

async fn live(federation: &Federation, folder: &Path) -> Result<Life> {
    let heard = Heard::nothing_yet();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let receiver = Side::open(federation, RECEIVER, clock.clone(), Vec::new()).await?;
    let sender = heard.of(Side::open(federation, SENDER, clock, Vec::new())).await?;
    let mut log = log_in(federation, folder)?;
    receiver.visit(&mut log).await?;
    heard.of(sender.visit(&mut log)).await?;
    let submitted = submitted(federation, SystemClock.now())?;
    let identity = federation.issue(RECEIVER, "adapter", "main")?.identity().clone();
    let prepared = prepare_receiver(&receiver.app, submitted.clone(), &identity, "birth_year >= 1990").await?;
    let accepted = heard.of(accept_match(&sender.app, &submitted, &identity)).await?;
    let Ok((session, _)) = accepted else { anyhow::bail!("the sender refused") };

    let mut messages = Vec::new();
    let open = opening(&prepared)?;
    messages.push(format!(
        "open {} {} {} {} {} {} {}",
        open.agreement,
        open.purpose,
        open.bundle_sequence,
        open.normaliser,
        open.field,
        open.elements,
        open.chunk_elements
    ));
    let (public_key, tags) = heard.of(session.open(&sender.app, &open)).await?;
    messages.push(format!("opened with a key of {} bytes and {tags} tags", public_key.len()));
    let mut machine = begin(prepared, &receiver, &mut log, &public_key, tags).await?;
    while let Some((number, chunk)) = machine.next(&receiver.app).await? {
        let blinded = chunk.as_bytes().to_vec();
        messages.push(format!("evaluate chunk {number}, {} bytes", blinded.len()));
        let evaluated = heard.of(session.evaluate(&sender.app, number, blinded)).await?;
        messages.push(format!("evaluated, {} bytes", evaluated.len()));
        machine.accept(&chunk, &evaluated)?;
    }
    let mut pieces = heard.of(session.tags(&sender.app, 0)).await?;
    while let Some(piece) = heard.of(session.next_piece(&sender.app, &mut pieces)).await? {
        messages.push(format!("tags, {} bytes", piece.len()));
        machine.push_tags(&piece)?;
    }
    // The sender hears that the list has arrived, and nothing more: the receiver closes the tunnel before it compares.
    heard.of(session.close(&sender.app)).await?;
    messages.push("closed".to_owned());
    heard.of(async { drop(session) }).await;
    let report = machine.finish(&receiver.app).await?;
    let matched = receiver.app.state().matched_persons(&report.session).await?;
    let matched = matched.iter().map(|person| person.to_vec()).collect();
    heard.of(sender.visit(&mut log)).await?;
    // That what is logged and counted is heard, whatever a sender has to say.
    heard
        .of(async {
            tracing::trace!(target: "agency_adapter::test", "the end");
            metrics::counter!("firebreak_ends_total").increment(1);
        })
        .await;
    for side in [receiver, sender] {
        side.app.state().clone().close().await;
    }
    let stored = stored(&federation.layout().adapter(SENDER).join("state/state.sqlite")).await?;
    Ok(Life { heard: heard.all(), messages, stored, matched })
}

/// Every row of every table, with times as such and bytes by their number: those are hashes, keys and ciphertexts. Of a
/// leaf everything but its commitments, ledger head and signature.
async fn stored(file: &Path) -> Result<Vec<String>> {
    let mut database = sqlx::sqlite::SqliteConnectOptions::new().filename(file).connect().await?;
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name";
    let mut rows = Vec::new();
    for table in sqlx::query_scalar::<_, String>(tables).fetch_all(&mut database).await? {
        let query = format!("SELECT * FROM {table}");
        for row in sqlx::query(sqlx::AssertSqlSafe(query)).fetch_all(&mut database).await? {
            let mut line = table.clone();
            for (place, column) in row.columns().iter().enumerate() {
                let raw = row.try_get_raw(place)?;
                let kind = raw.type_info().name().to_owned();
                let value = match (column.name(), kind.as_str()) {
                    (_, "NULL") => "nothing".to_owned(),
                    ("seen" | "opened_at" | "recorded_at" | "stored_at" | "offered_at" | "matched_at", _) => {
                        "a time".to_owned()
                    }
                    (_, "INTEGER") => row.try_get::<i64, _>(place)?.to_string(),
                    (_, "TEXT") => row.try_get::<String, _>(place)?,
                    ("bytes", _) if table == "leaves" => leaf(row.try_get(place)?)?,
                    _ => format!("{} bytes", row.try_get::<Vec<u8>, _>(place)?.len()),
                };
                line += &format!(" | {} {value}", column.name());
            }
            rows.push(line);
        }
    }
    rows.sort();
    Ok(rows)
}

fn leaf(bytes: Vec<u8>) -> Result<String> {
    let mut leaf = SignedLeaf::decode(&bytes)?.leaf().clone();
    (leaf.commitment, leaf.sealed, leaf.ledger_head) = ([0; 32], [0; 32], [0; 32]);
    Ok(leaf.encode())
}

#[test]
fn the_sender_receives_and_stores_the_same_whether_a_person_is_matched_or_not() -> Result<()> {
    run(async {
        let (federation, folder) = Own::prepare(600)?;
        let canary = federation.population().canary().context("no person stands in every register")?;
        let [_, patient, pupil] = &canary.person_keys;
        let logs = |name: &str| folder.path().join(name);

        let held = live(&federation, &logs("held")).await?;
        for agency in [RECEIVER, SENDER] {
            // The keys stay: it is the same session.
            std::fs::remove_dir_all(federation.layout().adapter(agency).join("state"))?;
        }
        let enrolments = federation.layout().population().join("education/enrolments.parquet");
        ensure!(without_rows(&enrolments, "pupil_no", pupil)? > 0, "the person was not enrolled");
        let not_held = live(&federation, &logs("not-held")).await?;

        let difference: Vec<_> = held.matched.symmetric_difference(&not_held.matched).collect();
        assert_eq!(difference, [patient.as_bytes()], "the two lives differ in one person");
        assert!(held.matched.contains(patient.as_bytes()));
        assert_eq!(held.heard, not_held.heard);
        for said in ["agency_adapter::test: the end", "firebreak_ends_total 1", "firebreak_node::policy: policy bundle"]
        {
            assert!(held.heard.iter().any(|line| line.contains(said)), "{said:?} was not heard: {:#?}", held.heard);
        }
        assert_eq!(held.messages, not_held.messages);
        assert_eq!(held.stored, not_held.stored);
        assert!(held.stored.iter().any(|row| row.starts_with("evaluated_chunks")), "{:#?}", held.stored);
        assert!(held.stored.iter().any(|row| row.starts_with("offered")), "{:#?}", held.stored);
        assert!(!held.stored.iter().any(|row| row.starts_with("matched ")), "the sender has a register of matches");
        Ok(())
    })
}
