//! Matched keys that leave the adapter: as what, to whom, and what the register says of it.

use super::begun::Begun;
use super::commands::{AGENCY, certificate, firebreak, succeeds};
use super::side::{RECEIVER, submitted};
use super::sides::Sides;
use super::truth::expected;
use agency_adapter::app::{AskedHandOut, MatchError};
use anyhow::{Context, Result, ensure};
use arrow::array::AsArray;
use firebreak::client::{HandOutPart, hand_out, list_handed_out};
use firebreak_domain::{Clock, ReasonCode};
use firebreak_format::records::RecordFormat;
use firebreak_store::HandOutForm as Form;
use firebreak_tests::{Caller, Own, run};
use firebreak_wire::local::v1::HandOutForm;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use sha2::{Digest, Sha256};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const WORDS: [&str; 5] = ["match", "--agreement", "vaccination-round", "--purpose", "vaccination-round"];

/// The keys in a CSV file, beside each of which stands that it was matched by number.
fn keys_of_csv(file: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(file)?;
    let mut lines = text.split_terminator("\r\n");
    ensure!(lines.next() == Some("person_key,match_key,provisional"), "{text}");
    let key = |line: &str| Ok(line.strip_suffix(",number,false").with_context(|| line.to_owned())?.to_owned());
    lines.map(key).collect()
}

/// The keys in a Parquet file, and its metadata.
fn keys_of_parquet(file: &Path) -> Result<(Vec<String>, BTreeMap<String, String>)> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(file)?)?;
    let told = reader.metadata().file_metadata().key_value_metadata().cloned().context("no metadata")?;
    let told = told.into_iter().filter_map(|entry| Some((entry.key, entry.value?))).collect();
    let mut keys = Vec::new();
    for batch in reader.build()? {
        let batch = batch?;
        let schema = batch.schema();
        let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, ["person_key", "match_key", "provisional"]);
        for (column, told) in [(1, "number"), (2, "false")] {
            assert!(batch.column(column).as_string::<i32>().iter().all(|value| value == Some(told)), "{told}");
        }
        keys.extend(batch.column(0).as_string::<i32>().iter().flatten().map(str::to_owned));
    }
    Ok((keys, told))
}

fn hash_of(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is no text")
}

#[test]
fn an_officer_takes_matched_keys_out_as_files_and_the_register_names_each() -> Result<()> {
    run(async {
        let own = Own::start(600, &[]).await?;
        let expected = expected(own.federation.population(), i32::MIN..=i32::MAX);
        ensure!(!expected.matched.is_empty(), "the population shows too little");
        let folder = own.federation.layout().root().join("command-line");
        let authority = own.federation.layout().local_authority(AGENCY);
        let officer = certificate(&authority, "officer", folder.join("officer"))?;
        let files = tempfile::tempdir()?;
        let [csv, parquet, again] = ["keys.csv", "keys.parquet", "again.csv"].map(|name| files.path().join(name));

        // One command does it all: match, counts, file.
        let done = succeeds(&own, &officer, &[&WORDS[..], &["--out", text(&csv)?]].concat()).await?;
        ensure!(done.out.contains("Held by the other agency too"), "{}", done.out);
        let list = done.out.lines().find_map(|line| line.split_once("firebreak matched --session "));
        let (_, session) = list.with_context(|| done.out.clone())?;
        let take = ["matched", "--session", session];
        succeeds(&own, &officer, &[&take[..], &["--out", text(&parquet)?]].concat()).await?;
        succeeds(&own, &officer, &[&take[..], &["--out", text(&again)?, "--format", "csv"]].concat()).await?;
        let listed = succeeds(&own, &officer, &take).await?.out;

        let keys = keys_of_csv(&csv)?;
        assert_eq!(keys.len(), expected.matched.len(), "somebody is in it twice");
        assert_eq!(keys.iter().cloned().collect::<BTreeSet<_>>(), expected.matched);
        let (of_parquet, told) = keys_of_parquet(&parquet)?;
        assert_eq!((&of_parquet, listed.lines().map(str::to_owned).collect()), (&keys, keys.clone()));
        for (key, value) in [
            ("session", session),
            ("agreement", "vaccination-round"),
            ("purpose", "vaccination-round"),
            ("dataset", "health.visits"),
            ("cut", "2024-Q4"),
        ] {
            assert_eq!(told.get(key).map(String::as_str), Some(value), "{key}");
        }
        assert_eq!(fs::read(&again)?, fs::read(&csv)?, "the same session gives another file");
        for file in [&csv, &parquet, &again] {
            assert_eq!(fs::metadata(file)?.permissions().mode() & 0o777, 0o600, "{}", file.display());
        }
        assert_eq!(fs::read_dir(files.path())?.count(), 3, "a part of a file stayed");

        // What left stands in the register, each time; the steward reads it as well.
        let steward = certificate(&authority, "steward", folder.join("steward"))?;
        for who in [&officer, &steward] {
            let shown = succeeds(&own, who, &["register"]).await?.out;
            let hashes: Vec<&str> = shown.lines().filter_map(|line| line.trim().strip_prefix("SHA-256")).collect();
            let hashes: Vec<&str> = hashes.into_iter().map(str::trim).collect();
            let [of_csv, of_parquet] = [&csv, &parquet].map(|file| fs::read(file).map(|bytes| hash_of(&bytes)));
            let (of_csv, of_list) = (of_csv?, hash_of(listed.as_bytes()));
            assert_eq!(hashes, [&of_csv, &of_parquet?, &of_csv, &of_list], "{shown}");
            for told in ["/officer/eve", session, "a CSV file", "a Parquet file", "a list"] {
                ensure!(shown.contains(told), "{told} is not in\n{shown}");
            }
        }

        // Nothing is written over, and nobody else takes anything out or leaves an entry.
        let kept = firebreak(&own, &officer, &[&take[..], &["--out", text(&csv)?]].concat())?;
        assert_eq!(kept.code, Some(1), "{}", kept.err);
        ensure!(kept.err.contains("is there already and is not replaced"), "{}", kept.err);
        assert_eq!(keys_of_csv(&csv)?, keys);
        let stolen = files.path().join("stolen.csv");
        for role in ["caseworker", "steward", "admin"] {
            let other = certificate(&authority, role, folder.join(format!("other-{role}")))?;
            let out = ["--out", text(&stolen)?];
            for words in [[&take[..], &out].concat(), [&WORDS[..], &out].concat(), take.to_vec()] {
                let refused = firebreak(&own, &other, &words)?;
                assert_eq!((refused.code, refused.out.as_str()), (Some(3), ""), "{role}: {}", refused.err);
                ensure!(refused.err.contains("ROLE_NOT_ALLOWED"), "{role}: {}", refused.err);
            }
        }
        let unknown = ["matched", "--session", &"0f".repeat(32), "--out", text(&stolen)?];
        let unknown = firebreak(&own, &officer, &unknown)?;
        assert_eq!(unknown.code, Some(1), "{}", unknown.err);
        ensure!(unknown.err.contains("no match of that session is recorded here"), "{}", unknown.err);
        assert_eq!(fs::read_dir(files.path())?.count(), 3, "a failure left a file");
        let local = own.live.adapter(AGENCY)?.local;
        let counter = Caller::connect_officer(&own.federation, AGENCY, local).await?;
        assert_eq!(list_handed_out(&counter).await?.len(), 4);
        Ok(())
    })
}

/// A statement to the receiver's database while its program runs.
async fn edit(own: &Own, statement: &'static str) -> Result<()> {
    let file = own.federation.layout().adapter(AGENCY).join("state/state.sqlite");
    let mut database = SqliteConnectOptions::new().filename(file).connect().await?;
    sqlx::raw_sql(statement).execute(&mut database).await?;
    Ok(database.close().await?)
}

#[test]
fn what_cannot_be_recorded_is_not_handed_out() -> Result<()> {
    run(async {
        let own = Own::start(300, &[]).await?;
        let folder = own.federation.layout().root().join("command-line");
        let authority = own.federation.layout().local_authority(AGENCY);
        let officer = certificate(&authority, "officer", folder.join("officer"))?;
        let done = succeeds(&own, &officer, &WORDS).await?;
        let list = done.out.lines().find_map(|line| line.split_once("firebreak matched --session "));
        let (_, session) = list.with_context(|| done.out.clone())?;
        let file = folder.join("keys.csv");
        let words = ["matched", "--session", session, "--out", text(&file)?];
        let stop = "CREATE TRIGGER stop BEFORE INSERT ON handed_out BEGIN SELECT raise(ABORT, 'stop'); END";
        edit(&own, stop).await?;
        let counter = Caller::connect_officer(&own.federation, AGENCY, own.live.adapter(AGENCY)?.local).await?;
        for form in [HandOutForm::Csv, HandOutForm::Parquet] {
            let sent = hand_out(&counter, &hex::decode(session)?, form).await;
            ensure!(sent.is_err(), "{form:?} leaves without an entry");
        }
        for words in [&words[..], &words[..3]] {
            let failed = firebreak(&own, &officer, words)?;
            assert_eq!((failed.code, failed.out.as_str()), (Some(1), ""), "{}", failed.err);
            ensure!(failed.err.contains("nothing was handed out"), "{}", failed.err);
        }
        ensure!(!file.exists(), "a file of what was not handed out");
        ensure!(list_handed_out(&counter).await?.is_empty(), "an entry of what was not handed out");

        edit(&own, "DROP TRIGGER stop").await?;
        succeeds(&own, &officer, &words).await?;
        // Whoever stops taking what was sent has an entry all the same.
        let mut part = hand_out(&counter, &hex::decode(session)?, HandOutForm::Csv).await?;
        ensure!(matches!(part.part().await?, HandOutPart::Piece(_)), "no piece came");
        drop(part);
        assert_eq!(list_handed_out(&counter).await?.len(), 2);
        Ok(())
    })
}

#[test]
fn matched_keys_leave_only_while_policy_permits_the_match_and_no_leaf_tells_of_them() -> Result<()> {
    run(async {
        let mut begun = Begun::start().await?;
        begun.evaluate().await?;
        begun.tags().await?;
        begun.session.close(&begun.sides.sender.app).await?;
        let Begun { machine, sides: Sides { receiver, federation, .. }, clock, .. } = begun;
        let report = machine.finish(&receiver.app).await?;
        let state = receiver.app.state();
        let recorded = state.recorded_match(&report.session).await?.context("the match is not recorded")?;
        let (own, officer) = (
            federation.issue(RECEIVER, "adapter", "main")?.identity().clone(),
            federation.issue_local(RECEIVER, "officer", "counter")?.identity().clone(),
        );
        let submitted = submitted(&federation, clock.now())?;
        let session = report.session;
        let asked = AskedHandOut { submitted: &submitted, own: &own, officer: &officer, session, recorded: &recorded };
        let leaves = receiver.app.outstanding().await?.0.len();
        let (file, entry) = receiver.app.hand_out(&asked, RecordFormat::Csv).await?;
        assert_eq!(entry.what.sha256, <[u8; 32]>::from(Sha256::digest(&file)));
        assert_eq!((entry.number, entry.what.form, entry.what.rows), (1, Form::Csv, report.matched));
        assert_eq!((&entry.what.officer, entry.at), (&officer, clock.now()));
        // The log is everybody's: whether somebody had something to take out is not the sender's to know.
        assert_eq!(receiver.app.outstanding().await?.0.len(), leaves);

        clock.set(begun.end);
        let late = self::submitted(&federation, begun.end)?;
        let asked = AskedHandOut { submitted: &late, ..asked };
        for outcome in [
            receiver.app.hand_out(&asked, RecordFormat::Parquet).await.err(),
            receiver.app.hand_out_list(&asked).await.err(),
        ] {
            match outcome {
                Some(MatchError::Refused(refusal)) => assert_eq!(refusal.reason, ReasonCode::NoPolicyInForce),
                _ => anyhow::bail!("handed out without policy"),
            }
        }
        assert_eq!(state.handed_out().await?, [entry]);
        Ok(())
    })
}
