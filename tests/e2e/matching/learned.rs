//! What the sender of a match receives and stores, with a person matched and not matched.
//!
//! Both agencies' sides run in this process, so that every message that reaches the sender can be seen as it arrives:
//! the same code as in the adapters, without the sockets. The session is lived twice, with the same request, keys and
//! policy. Between the two the sender loses one person, whom the receiver asks for.

use agency_adapter::app::{
    App, CHUNK_ELEMENTS, Confirmation, ConfirmedLeaf, Gate, OpenRequest, Prepared, Receiver, Tick, accept_match,
    prepare_receiver,
};
use agency_adapter::configuration::Configuration;
use agency_adapter::datasets::Datasets;
use anyhow::{Context, Result, ensure};
use firebreak_audit::{Log, NoteKey, SignedLeaf};
use firebreak_domain::{Act, Clock, Recipient, RequestId, SystemClock};
use firebreak_node::{PolicyInForce, Recorder, SubmittedMatch, load};
use firebreak_store::{LeafHash, State, StateKey};
use firebreak_testbed::Federation;
use firebreak_tests::{Own, run, without_rows};
use firebreak_transport::sign;
use firebreak_wire::{Header, RequestSignature};
use sqlx::{Column, ConnectOptions, Row, TypeInfo, ValueRef};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const RECEIVER: &str = "health-agency";
const SENDER: &str = "education-agency";

/// A side of a match: an agency's adapter without its sockets.
struct Side {
    app: App,
    match_seed: [u8; 32],
}

impl Side {
    async fn open(federation: &Federation, agency: &str) -> Result<Self> {
        let file = federation.configure_adapter(agency, &[([127, 0, 0, 1], 1).into()], None)?;
        let base = file.parent().context("no folder")?;
        let configuration: Configuration = load(&file)?;
        let (credential, trust) = configuration.federation.open(base)?;
        let key = StateKey::load_or_create(&base.join(&configuration.state_key))?;
        let (ranking, match_seed) = (*key.secret("row ranking"), *key.secret("match keys"));
        let folder = base.join(&configuration.state_folder);
        let state = State::open(&folder, key, Arc::new(SystemClock)).await?;
        let policy = PolicyInForce::open(&configuration.bundles, base, &folder, &state).await?;
        policy.refresh(&state).await?;
        let bindings = configuration.bindings.iter().map(|b| load(&base.join(b))).collect::<Result<_, _>>()?;
        let app = App::new(
            state,
            Arc::new(policy),
            trust,
            Recorder::new(&credential)?,
            Datasets::new(base.join(&configuration.data_folder), bindings, ranking, 1),
            Vec::new(),
            Gate::new(configuration.log_key.parse()?),
            Tick::of(Duration::from_millis(1)),
        );
        Ok(Self { app, match_seed })
    }

    /// Brings the side's leaves into the log and shows it that they are there, as the gateway does.
    async fn visit(&self, log: &mut Log) -> Result<()> {
        let (leaves, accepted) = self.app.outstanding().await?;
        let signed = leaves.iter().map(|leaf| SignedLeaf::decode(leaf)).collect::<Result<Vec<_>, _>>()?;
        let places = if signed.is_empty() { 0..0 } else { log.append(&signed)? };
        let checkpoint = log.publish()?.clone();
        let size = checkpoint.size();
        let confirmed = places.zip(&leaves).map(|(index, leaf)| {
            let proof = log.inclusion_proof(index, size)?;
            Ok(ConfirmedLeaf { hash: *LeafHash::of(leaf).as_bytes(), index, proof })
        });
        let leaves = confirmed.collect::<Result<_>>()?;
        let consistency = if accepted == 0 { Vec::new() } else { log.consistency_proof(accepted, size)? };
        let checkpoint = checkpoint.note().as_bytes().to_vec();
        self.app.confirm(&Confirmation { checkpoint, consistency, leaves, newest: None }).await?;
        Ok(())
    }
}

/// The receiver's request, the same in both lives of the session.
fn submitted(federation: &Federation) -> Result<SubmittedMatch> {
    let credential = federation.issue(RECEIVER, "adapter", "main")?;
    let unsigned = Header {
        request_id: RequestId::from_bytes([42; 16]),
        agreement: "vaccination-round".parse()?,
        purpose: "vaccination-round".parse()?,
        expires: SystemClock.now().plus_secs(600),
        signature: None,
    };
    let recipient = Recipient::Organisation(credential.identity().org.clone());
    let signature = sign(&credential, &unsigned.intent(Act::Match, recipient).signing_bytes())?;
    let signature = Some(RequestSignature { certificates: credential.chain(), signature });
    Ok(SubmittedMatch { header: Header { signature, ..unsigned } })
}

/// One life of the session.
struct Life {
    /// What reached the sender and what it answered, with sizes in place of what is random.
    messages: Vec<String>,
    /// What the sender stored, likewise.
    stored: Vec<String>,
    /// The receiver's persons who were matched.
    matched: BTreeSet<Vec<u8>>,
}

async fn begin(prepared: Prepared, receiver: &Side, log: &mut Log, key: &[u8], tags: u32) -> Result<Receiver> {
    let mut beginning = Box::pin(prepared.begin(&receiver.app, key, tags));
    loop {
        // The commitment waits for the log, and the log for a visit.
        tokio::select! {
            begun = &mut beginning => return Ok(begun?),
            () = tokio::time::sleep(Duration::from_millis(10)) => receiver.visit(log).await?,
        }
    }
}

async fn live(federation: &Federation, folder: &Path) -> Result<Life> {
    let (receiver, sender) = (Side::open(federation, RECEIVER).await?, Side::open(federation, SENDER).await?);
    let key = NoteKey::decode(&std::fs::read(federation.layout().gateway().join("log.key"))?)?;
    let mut log = Log::open(folder, key)?;
    for side in [&receiver, &sender] {
        side.visit(&mut log).await?;
    }
    let submitted = submitted(federation)?;
    let identity = federation.issue(RECEIVER, "adapter", "main")?.identity().clone();
    let prepared = prepare_receiver(&receiver.app, submitted.clone(), &identity, "birth_year >= 1990").await?;
    let accepted = accept_match(&sender.app, &submitted, &identity, &sender.match_seed).await?;
    let Ok((session, _)) = accepted else { anyhow::bail!("the sender refused") };

    let mut messages = Vec::new();
    let open = OpenRequest {
        session: submitted.header.request_id,
        agreement: submitted.header.agreement.to_string(),
        purpose: submitted.header.purpose.to_string(),
        bundle_sequence: prepared.bundle_sequence(),
        normaliser: prepared.field().1.number(),
        field: prepared.field().0.to_string(),
        elements: prepared.elements()?,
        chunk_elements: CHUNK_ELEMENTS,
    };
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
    let (public_key, tags) = session.open(&sender.app, &open).await?;
    messages.push(format!("opened with key {} and {tags} tags", hex::encode(public_key)));
    let mut machine = begin(prepared, &receiver, &mut log, &public_key, tags).await?;
    while let Some((number, chunk)) = machine.next()? {
        let blinded = chunk.as_bytes().to_vec();
        messages.push(format!("evaluate chunk {number}, {} bytes", blinded.len()));
        let evaluated = session.evaluate(&sender.app, number, blinded).await?;
        messages.push(format!("evaluated, {} bytes", evaluated.len()));
        machine.accept(&receiver.app, &chunk, &evaluated).await?;
    }
    let list = session.tags(&sender.app).await?;
    messages.push(format!("tags, {} bytes", list.as_bytes().len()));
    machine.push_tags(list.as_bytes())?;
    // The sender hears nothing more: the receiver closes the tunnel before it compares.
    drop(session);
    let report = machine.finish(&receiver.app).await?;
    let matched = receiver.app.state().matched_persons(&report.session).await?;
    let matched = matched.iter().map(|person| person.to_vec()).collect();
    sender.visit(&mut log).await?;
    for side in [receiver, sender] {
        side.app.state().clone().close().await;
    }
    let stored = stored(&federation.layout().adapter(SENDER).join("state/state.sqlite")).await?;
    Ok(Life { messages, stored, matched })
}

/// Every row of every table, with times as such and bytes by their number: those are hashes, keys and ciphertexts. Of a
/// leaf everything but its commitment, ledger head and signature.
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
    (leaf.commitment, leaf.ledger_head) = ([0; 32], [0; 32]);
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
        assert_eq!(held.messages, not_held.messages);
        assert_eq!(held.stored, not_held.stored);
        assert!(held.stored.iter().any(|row| row.starts_with("evaluated_chunks")), "{:#?}", held.stored);
        assert!(held.stored.iter().any(|row| row.starts_with("offered")), "{:#?}", held.stored);
        assert!(!held.stored.iter().any(|row| row.starts_with("matched ")), "the sender has a register of matches");
        Ok(())
    })
}
