//! R13: a match with a payload. Columns of matched persons come to the receiver, of nobody else, and for their days.

mod disclosing;
mod files;

use super::side::{recorded, refused};
use agency_adapter::app::PayloadReport;
use anyhow::{Context, Result, ensure};
use disclosing::{Disclosing, Patients, Pupil, days, with_any_language};
use firebreak_audit::{LeafKind, SignedLeaf};
use firebreak_domain::{OpenCode, ReasonCode};
use firebreak_store::Choice;
use firebreak_testbed::Federation;
use firebreak_tests::{files_below, run};
use std::collections::BTreeMap;

const MATCHED: &str = "MATCHED777";
const CANARY: &str = "CANARY9911";
/// Of a file with what was disclosed.
const HEADING: &str = "person_key,match_key,provisional,region,language";

/// What a file of the officer's holds of each person.
type Rows = BTreeMap<String, Vec<String>>;

fn row(region: &str, language: &str) -> Vec<String> {
    vec![region.to_owned(), language.to_owned()]
}

/// The bytes by which a row holds a language that is an open code, and its text.
fn traces(language: &str) -> Result<[Vec<u8>; 2]> {
    let code = OpenCode::parse(language, 10).context("no open code")?;
    Ok([(code.number() + 1).to_be_bytes().to_vec(), language.as_bytes().to_vec()])
}

fn holds(bytes: &[u8], trace: &[u8]) -> bool {
    bytes.windows(trace.len()).any(|window| window == trace)
}

/// Each kind of pupil, as the education agency lists them.
fn pupils(patients: &Patients) -> Vec<Pupil> {
    let own = |place: usize| patients.alone(place).1;
    vec![
        Pupil::of("ED-0", own(0), "R01", MATCHED),
        // A region that no list has, and no language.
        Pupil::of("ED-1", own(1), "R99", ""),
        // Two persons with one number, who differ, and two who do not.
        Pupil::of("ED-2", own(2), "R02", "AA"),
        Pupil::of("ED-3", own(2), "R03", "AA"),
        Pupil::of("ED-4", own(3), "R04", "BB"),
        Pupil::of("ED-5", own(3), "R04", "BB"),
        // Nobody whom the receiver knows.
        Pupil::of("ED-6", "NOBODY12345", "R17", CANARY),
        Pupil::of("ED-7", own(4), "R07", "CC"),
        // A number that two of the receiver's own persons have.
        Pupil::of("ED-8", patients.shared().1, "R08", "DD"),
        Pupil::of("ED-9", "", "R09", "EE"),
        // One person of whom the register says two things, and one of whom it says one thing twice.
        Pupil::of("ED-10", own(5), "R05", "FF"),
        Pupil::of("ED-10", own(5), "R06", "FF"),
        Pupil::of("ED-11", own(6), "R10", "GG"),
        Pupil::of("ED-11", own(6), "R10", "GG"),
    ]
}

fn prepare(federation: &Federation) -> Result<()> {
    with_any_language(federation)?;
    days(federation, 2)
}

#[test]
fn columns_come_of_matched_persons_alone_and_of_no_number_that_several_persons_have() -> Result<()> {
    run(async {
        let mut match_ = Disclosing::start(prepare, pupils).await?;
        let restricted = Choice::Restrict(None);
        match_.sides.sender.app.state().record_choice(b"ED-7", &restricted).await?;
        match_.evaluate().await?;
        // Either program ends in the middle of the list, which goes on behind what came of it.
        let list = match_.list(0).await?;
        let part = list.get(..list.len() / 2 / match_.entry() * match_.entry()).unwrap_or_default();
        match_.machine()?.push_tags(part)?;
        match_.restart().await?;
        ensure!(match_.machine()?.tag_bytes() == part.len() as u64, "the list goes on elsewhere");
        let rest = match_.list(part.len() as u64).await?;
        ensure!([part, &rest].concat() == list, "it is another list");
        match_.machine()?.push_tags(&rest)?;
        let report = match_.finish().await?;

        let patients = match_.patients.clone();
        let payload = PayloadReport { disclosed: 3, undisclosed: 5, unreadable: 0 };
        assert_eq!((report.matched, report.payload), (8, Some(payload)));
        let mut expected = Rows::new();
        for (place, row) in [(0, row("R01", MATCHED)), (1, row("", "")), (6, row("R10", "GG"))] {
            expected.insert(patients.alone(place).0.to_owned(), row);
        }
        let none = [2, 3, 5].map(|place| patients.alone(place).0.to_owned());
        let none = none.into_iter().chain(patients.shared().0.iter().cloned());
        expected.extend(none.map(|key| (key, row("", ""))));
        let (heading, rows) = match_.handed_out().await?;
        assert_eq!(heading, HEADING);
        assert_eq!(rows, expected);

        // What was not matched came sealed alone, and stands nowhere; nor does anything in clear.
        let state = match_.sides.federation.layout().adapter(super::side::RECEIVER);
        for trace in traces(CANARY)?.iter().chain(&traces(MATCHED)?) {
            ensure!(!holds(&list, trace), "a row crossed the line in clear");
            for file in files_below(&state)? {
                ensure!(!holds(&std::fs::read(&file)?, trace), "{} holds a row in clear", file.display());
            }
        }
        // The registers: by person here, by session there.
        let register = match_.sides.receiver.app.state();
        let of = async |key: &str| -> Result<Vec<String>> {
            let entries = register.matches_of(key.as_bytes()).await?;
            let [entry] = entries.as_slice() else { anyhow::bail!("{} entries", entries.len()) };
            Ok(entry.disclosed.iter().map(ToString::to_string).collect())
        };
        assert_eq!(of(patients.alone(0).0).await?, ["region", "language"]);
        assert!(of(patients.alone(2).0).await?.is_empty(), "nothing was received of that person");
        let offered = match_.sides.sender.app.state().offered().await?;
        let columns: Vec<_> = offered.iter().flat_map(|entry| &entry.columns).map(ToString::to_string).collect();
        assert_eq!((offered.len(), columns), (1, vec!["region".to_owned(), "language".to_owned()]));
        Ok(())
    })
}

#[test]
fn nothing_is_disclosed_of_a_number_that_somebody_has_who_is_not_selected() -> Result<()> {
    run(async {
        let mut match_ = Disclosing::selecting(prepare, pupils, Patients::of_the_first).await?;
        match_.evaluate().await?;
        let list = match_.list(0).await?;
        match_.machine()?.push_tags(&list)?;
        let report = match_.finish().await?;
        let (shared, _) = match_.patients.shared();
        let (_, rows) = match_.handed_out().await?;
        ensure!(!rows.contains_key(&shared[1]), "who was not selected is in the match");
        assert_eq!(rows.get(&shared[0]), Some(&row("", "")), "the row of one of two persons is given as the other's");
        ensure!(report.payload.is_some_and(|payload| payload.undisclosed > 0), "{:?}", report.payload);
        Ok(())
    })
}

#[test]
fn a_list_is_as_long_and_its_rows_as_random_whether_somebody_is_restricted_or_not() -> Result<()> {
    run(async {
        let mut lengths = Vec::new();
        for restricted in [false, true] {
            let mut match_ = Disclosing::start(prepare, pupils).await?;
            if restricted {
                for key in ["ED-0", "ED-6", "ED-11"] {
                    match_.sides.sender.app.state().record_choice(key.as_bytes(), &Choice::Restrict(None)).await?;
                }
            }
            match_.evaluate().await?;
            let list = match_.list(0).await?;
            let sealed: usize = list.chunks_exact(match_.entry()).filter_map(|entry| entry.get(10..)).map(ones).sum();
            // Of some 800,000 bits half are ones, within 0.6 %: ten standard deviations, odds below 2⁻⁷⁰.
            let bits = 8 * (list.len() - 10 * list.len() / match_.entry());
            ensure!(sealed.abs_diff(bits / 2) < bits / 160, "{sealed} ones of {bits}");
            lengths.push(list.len());
            match_.machine()?.push_tags(&list)?;
            let report = match_.finish().await?;
            assert_eq!(report.payload.map(|payload| payload.disclosed), Some(if restricted { 2 } else { 4 }));
        }
        assert_eq!(lengths.first(), lengths.last());
        Ok(())
    })
}

fn ones(bytes: &[u8]) -> usize {
    bytes.iter().map(|byte| byte.count_ones() as usize).sum()
}

#[test]
fn rows_that_do_not_open_are_counted_for_the_receivers_staff_and_the_sender_hears_of_nothing() -> Result<()> {
    run(async {
        let mut match_ = Disclosing::start(prepare, pupils).await?;
        match_.evaluate().await?;
        let mut list = match_.list(0).await?;
        let entry = match_.entry();
        list.chunks_exact_mut(entry).filter_map(<[u8]>::last_mut).for_each(|byte| *byte ^= 1);
        match_.machine()?.push_tags(&list)?;
        let report = match_.finish().await?;
        // All whom the sender holds but those of a shared number, whose rows are not looked at.
        let payload = PayloadReport { disclosed: 0, undisclosed: 2, unreadable: 7 };
        assert_eq!((report.matched, report.payload), (9, Some(payload)));
        let (_, rows) = match_.handed_out().await?;
        ensure!(rows.len() == 9 && rows.values().flatten().all(String::is_empty), "a row that did not open: {rows:?}");
        for side in [&match_.sides.receiver, &match_.sides.sender] {
            ensure!(recorded(side).await?.is_empty(), "a leaf tells of what the comparison gave");
        }
        Ok(())
    })
}

#[test]
fn after_its_days_what_was_disclosed_is_handed_to_nobody_and_deleted_with_a_leaf() -> Result<()> {
    run(async {
        let mut match_ = Disclosing::start(prepare, pupils).await?;
        match_.evaluate().await?;
        let list = match_.list(0).await?;
        match_.machine()?.push_tags(&list)?;
        let report = match_.finish().await?;
        let key = match_.patients.alone(0).0.to_owned();
        let end = match_.start.plus_secs(2 * 86_400);
        match_.clock.set(end.plus_secs(-1));
        assert_eq!(match_.sides.receiver.app.delete_expired_disclosures().await?, 0);
        let (heading, rows) = match_.handed_out().await?;
        assert_eq!((heading.as_str(), rows.get(&key)), (HEADING, Some(&row("R01", MATCHED))));

        // Its second has come: nobody gets it, whether or not it is deleted yet. The keys stay.
        match_.clock.set(end);
        let (heading, rows) = match_.handed_out().await?;
        assert_eq!((heading.as_str(), rows.len() as u64), ("person_key,match_key,provisional", report.matched));
        let before = match_.sides.receiver.app.outstanding().await?.0;
        // As the program starts again, and looks.
        match_.sides.restart_receiver().await?;
        assert_eq!(match_.sides.receiver.app.delete_expired_disclosures().await?, 1);
        assert_eq!(match_.sides.receiver.app.delete_expired_disclosures().await?, 0, "deleted twice");
        let leaves = match_.sides.receiver.app.outstanding().await?.0;
        let new: Vec<_> = leaves.iter().filter(|leaf| !before.contains(leaf)).collect();
        let [leaf] = new.as_slice() else { anyhow::bail!("{} leaves", new.len()) };
        let leaf = SignedLeaf::decode(&leaf.leaf)?;
        let leaf = leaf.leaf();
        assert_eq!(leaf.kind, LeafKind::DisclosureDeleted);
        assert_eq!(leaf.agreement.as_ref().map(|id| id.as_str()), Some(disclosing::AGREEMENT));
        let entries = match_.sides.receiver.app.state().matches_of(key.as_bytes()).await?;
        assert_eq!(entries.iter().map(|entry| entry.disclosed.len()).collect::<Vec<_>>(), [2], "it was received");
        Ok(())
    })
}

#[test]
fn a_session_that_was_begun_with_another_payload_goes_on_at_neither_side() -> Result<()> {
    run(async {
        let mut match_ = Disclosing::start(prepare, pupils).await?;
        match_.evaluate().await?;
        for outcome in match_.with_a_column_less().await? {
            refused(outcome, ReasonCode::SessionMismatch)?;
        }
        Ok(())
    })
}

/// The day of deletion is public, and so it comes whether or not there is anything to delete.
#[test]
fn a_match_of_nobody_leaves_the_same_leaf_on_the_same_day() -> Result<()> {
    run(async {
        let nobody = |_: &Patients| vec![Pupil::of("ED-6", "NOBODY12345", "R17", CANARY)];
        let mut match_ = Disclosing::start(prepare, nobody).await?;
        match_.evaluate().await?;
        let list = match_.list(0).await?;
        match_.machine()?.push_tags(&list)?;
        let report = match_.finish().await?;
        assert_eq!((report.matched, report.payload), (0, Some(PayloadReport::default())));
        match_.clock.set(match_.start.plus_secs(2 * 86_400));
        assert_eq!(match_.sides.receiver.app.delete_expired_disclosures().await?, 1);
        Ok(())
    })
}
