//! Several keys of one agreement: the strongest first, and a weaker one for whoever is left.

mod named;

use super::commands::{AGENCY, certificate, firebreak, succeeds};
use super::side::{RECEIVER, opening, refused};
use crate::catalogue::Done;
use agency_adapter::app::{Asked, CHUNK_ELEMENTS};
use anyhow::{Context, Result, ensure};
use firebreak_domain::{CapPeriod, Clock, Counted, ReasonCode, RequestId, SystemClock};
use firebreak_store::CappedKey;
use firebreak_testbed::Programs;
use firebreak_tests::{Own, run};
use named::{Named, ROUND, expected, names_after};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::sleep;

#[test]
fn who_is_left_by_number_is_matched_by_names_provisionally_and_each_key_has_a_cap() -> Result<()> {
    run(async {
        let mut named = Named::open().await?;
        let expected = expected(named.sides.federation.population());
        ensure!(
            !expected.by_number.is_empty() && expected.by_names.len() > 5 && expected.unusable > 5,
            "the population shows too little"
        );
        let first = named.run(1, "".into()).await?;
        assert_eq!(first.matched, expected.by_number);
        let told = (first.report.key.as_str(), first.report.provisional, first.report.next_key.clone());
        assert_eq!(told, ("number", false, Some("names".parse()?)));

        // Each cap is one chunk: of both keys together it would not be enough.
        let second = named.run(2, names_after(1)).await?;
        assert_eq!(second.matched, expected.by_names);
        assert_eq!((second.report.offered, second.report.unusable), (expected.offered, expected.unusable));
        let told = (second.report.key.as_str(), second.report.provisional, second.report.next_key.clone());
        assert_eq!(told, ("names", true, None));
        assert_eq!(second.elements, first.elements);

        for (persons, key, provisional) in [(&first.matched, "number", false), (&second.matched, "names", true)] {
            for person in persons {
                let told = named.told(person).await?;
                assert_eq!(told, BTreeMap::from([(key.to_owned(), provisional)]), "the register says otherwise");
            }
        }
        // Whoever has the whole set opened sees everybody in it, and not who was left.
        let sample = named.sides.receiver.app.open_sample(&second.report.session, &[17; 32], second.elements).await?;
        let sample = sample.context("nothing is kept that opens the set")?;
        let persons: BTreeSet<_> = sample.places.iter().flat_map(|place| &place.persons).collect();
        assert_eq!(persons.len() as u64, expected.named);
        ensure!(expected.named > expected.offered, "everybody was left");

        let period = CapPeriod::Year(SystemClock.now().year());
        for key in ["number", "names"] {
            let of = CappedKey { agreement: ROUND.parse()?, receiver: RECEIVER.parse()?, key: key.parse()? };
            let counted = named.sides.sender.app.state().counted(Counted::Evaluations, &of, period);
            assert_eq!(counted, u64::from(CHUNK_ELEMENTS), "{key}");
        }
        Ok(())
    })
}

#[test]
fn a_weaker_key_follows_the_finished_match_by_the_next_stronger_of_the_same_persons_and_nothing_else() -> Result<()> {
    run(async {
        let mut named = Named::open().await?;
        named.run(1, "".into()).await?;
        // Begun, and not finished.
        drop(named.prepare(2, "".into()).await??);
        let after = Some(RequestId::from_bytes([1; 16]));
        for (asked, why) in [
            (Asked { selection: "", key: "passport", after }, "no match key of that name"),
            (Asked { selection: "", key: "names", after: None }, "follows a stronger one"),
            (names_after(2), "is not finished"),
            (names_after(9), "is not finished"),
            (Asked { selection: "birth_year >= 1990", key: "names", after }, "of another purpose or selection"),
            (Asked { selection: "", key: "number", after }, "strongest key follows no other"),
        ] {
            let prepared = named.prepare(3, asked).await?.map(|_| ());
            let said = prepared.as_ref().err().map(ToString::to_string).unwrap_or_default();
            refused(prepared, ReasonCode::SessionMismatch).with_context(|| format!("{asked:?}"))?;
            ensure!(said.contains(why), "{asked:?}: {said}");
        }
        // A match by the names is none that they could follow themselves.
        named.run(3, names_after(1)).await?;
        let prepared = named.prepare(4, names_after(3)).await?.map(|_| ());
        let said = prepared.as_ref().err().map(ToString::to_string).unwrap_or_default();
        refused(prepared, ReasonCode::SessionMismatch)?;
        ensure!(said.contains("not by the agreement's next stronger key"), "{said}");
        // The twin of them all.
        named.prepare(4, names_after(1)).await??;
        Ok(())
    })
}

#[test]
fn a_request_goes_on_by_no_other_key_than_it_was_begun_by() -> Result<()> {
    run(async {
        let mut named = Named::open().await?;
        named.run(1, "".into()).await?;
        named.sides.visit().await?;
        let prepared = named.prepare(2, names_after(1)).await??;
        let session = named.accept(2).await?;
        let mut open = opening(&prepared)?;
        assert_eq!(open.field, "names:last_name+first_name+born");
        session.open(&named.sides.sender.app, &open).await?;
        drop(prepared);
        // At the receiver, whose set is of the other key.
        refused(named.prepare(2, "".into()).await?.map(|_| ()), ReasonCode::SessionMismatch)?;
        // At the sender, while its program runs and after it was started anew.
        (open.field, open.normaliser) = ("number:national_number".to_owned(), 1);
        refused(named.accept(2).await?.open(&named.sides.sender.app, &open).await, ReasonCode::SessionMismatch)?;
        drop(session);
        named.sides.restart_sender().await?;
        refused(named.accept(2).await?.open(&named.sides.sender.app, &open).await, ReasonCode::SessionMismatch)?;
        (open.field, open.normaliser) = ("names:last_name+first_name+born".to_owned(), 2);
        named.accept(2).await?.open(&named.sides.sender.app, &open).await.context("by its own key")?;
        Ok(())
    })
}

#[test]
fn one_command_matches_by_all_keys_and_writes_a_file_for_each() -> Result<()> {
    run(async {
        let (own, officer) = started().await?;
        let expected = expected(own.federation.population());
        let alone = alone(&own, &officer).await?;
        assert_eq!(alone.code, Some(3), "{}", alone.err);
        let said = alone.err.split_whitespace().collect::<Vec<_>>().join(" ");
        ensure!(said.contains("the match by number first"), "{}", alone.err);

        let files = tempfile::tempdir()?;
        let (csv, receipt) = (files.path().join("keys.csv"), files.path().join("receipt"));
        let [csv_text, receipt_text] = [&csv, &receipt].map(|file| file.display().to_string());
        let asked = [&WORDS[..], &["--out", &csv_text, "--receipt", &receipt_text]].concat();
        let done = succeeds(&own, &officer, &asked).await?;
        let sessions: Vec<_> =
            done.out.lines().filter_map(|line| line.strip_prefix("List them: firebreak matched --session ")).collect();
        let [_, by_names] = sessions.as_slice() else { anyhow::bail!("not two matches:\n{}", done.out) };
        ensure!(done.out.contains("Matched by key names, provisionally"), "{}", done.out);
        ensure!(done.err.contains("Next by the weaker key names"), "{}", done.err);

        for (name, expected, said) in
            [("keys.csv", &expected.by_number, ",number,false"), ("keys-names.csv", &expected.by_names, ",names,true")]
        {
            assert_eq!(taken_out(&files.path().join(name), said)?.as_ref(), Some(expected), "{name}");
        }
        for name in ["receipt", "receipt-names"] {
            ensure!(fs::read_to_string(files.path().join(name))?.contains("match_authorised"), "{name}");
        }
        let listed = succeeds(&own, &officer, &["matched", "--session", by_names]).await?;
        assert_eq!(listed.out.lines().map(str::to_owned).collect::<BTreeSet<_>>(), expected.by_names);
        ensure!(listed.err.contains("Matched by key names, provisionally"), "{}", listed.err);
        Ok(())
    })
}

#[test]
fn a_file_that_is_there_keeps_no_key_from_being_matched_and_the_command_shows_how_it_is_taken_out() -> Result<()> {
    run(async {
        let (own, officer) = started().await?;
        let expected = expected(own.federation.population());
        alone(&own, &officer).await?;
        let files = tempfile::tempdir()?;
        let [csv, of_names, other] = ["keys.csv", "keys-names.csv", "other.csv"].map(|name| files.path().join(name));
        fs::write(&of_names, "kept")?;
        let [csv_text, other_text] = [&csv, &other].map(|file| file.display().to_string());
        let ended = firebreak(&own, &officer, &[&WORDS[..], &["--out", &csv_text]].concat())?;
        ensure!(ended.code.is_some_and(|code| code != 0), "it wrote over the file:\n{}", ended.out);
        ensure!(ended.err.contains("keys-names.csv") && ended.out.contains("Matched by key names"), "{}", ended.err);
        assert_eq!(fs::read_to_string(&of_names)?, "kept");
        assert_eq!(taken_out(&csv, ",number,false")?, Some(expected.by_number), "what was matched is not written");

        let said =
            ended.err.lines().find_map(|line| line.strip_prefix("Not taken out: firebreak ")).unwrap_or_default();
        let shown: Vec<&str> = said.split_whitespace().take(3).collect();
        ensure!(matches!(*shown, ["matched", "--session", _]), "{}", ended.err);
        succeeds(&own, &officer, &[&shown, &["--out", &other_text][..]].concat()).await?;
        assert_eq!(taken_out(&other, ",names,true")?, Some(expected.by_names));
        Ok(())
    })
}

const WORDS: [&str; 5] = ["match", "--agreement", ROUND, "--purpose", ROUND];

/// The federation of both keys with its programs, and the certificate of an officer of the receiver.
async fn started() -> Result<(Own, PathBuf)> {
    let (federation, folder) = named::prepare()?;
    let live = federation.start(&Programs::built()?, &[]).await?;
    let own = Own::of(federation, live, folder);
    let home = own.federation.layout().root().join("command-line");
    let officer = certificate(&own.federation.layout().local_authority(AGENCY), "officer", home.join("officer"))?;
    Ok((own, officer))
}

/// What comes of the weaker key alone, once the programs have found each other: what is refused is refused for what it is.
async fn alone(own: &Own, officer: &Path) -> Result<Done> {
    let mut alone = firebreak(own, officer, &[&WORDS[..], &["--key", "names"]].concat())?;
    for _ in 0..100 {
        if alone.err.contains("SESSION_MISMATCH") {
            break;
        }
        sleep(Duration::from_millis(100)).await;
        alone = firebreak(own, officer, &[&WORDS[..], &["--key", "names"]].concat())?;
    }
    Ok(alone)
}

/// The keys of a file, each with `said` behind it; `None` if it is not behind each.
fn taken_out(file: &Path, said: &str) -> Result<Option<BTreeSet<String>>> {
    let text = fs::read_to_string(file)?;
    let mut lines = text.split_terminator("\r\n");
    assert_eq!(lines.next(), Some("person_key,match_key,provisional"));
    Ok(lines.map(|line| line.strip_suffix(said).map(str::to_owned)).collect())
}
