use super::*;
use firebreak_domain::SystemClock;
use firebreak_psi::{Normaliser, SecretSeed};
use firebreak_records::{IDENTIFIER, item_record, key_record, name_hash, read_key};
use firebreak_store::{State, StateKey};
use std::collections::BTreeSet;
use std::sync::Arc;
use tempfile::TempDir;

/// The files of a session of its own.
struct Session {
    files: SessionFiles,
    state: State,
    _folder: TempDir,
}

impl Session {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path(), StateKey::from_bytes([1; 32]), Arc::new(SystemClock)).await.unwrap();
        state.open_session(&[2; 32], &[3; 32]).await.unwrap();
        let files = state.session_files(&[2; 32]).await.unwrap();
        Self { files, state, _folder: folder }
    }

    async fn close(self) {
        self.state.close().await;
    }

    /// Those who take part of such rows: person, whether inside, and family name, if the row has one.
    fn own(&self, rows: &[(String, Stands, Option<String>)], matched: &[String]) -> Own {
        self.own_by(Normaliser::V2, rows, matched)
    }

    fn own_by(&self, rule: Normaliser, rows: &[(String, Stands, Option<String>)], matched: &[String]) -> Own {
        let sharing = if rule == Normaliser::V1 { Sharing::Together } else { Sharing::Nobodys };
        self.own_apart(rule, sharing, &|_| None, rows, matched)
    }

    /// By that rule, and names and birth dates beside it.
    fn own_apart(
        &self,
        rule: Normaliser,
        sharing: Sharing,
        apart: &dyn Fn(&str) -> Option<&'static str>,
        rows: &[(String, Stands, Option<String>)],
        matched: &[String],
    ) -> Own {
        let names = |family: &str| Normaliser::V2.normalise_parts(&[Some(family), Some("Anna"), Some("1990-02-03")]);
        let mut sorter = self.files.sort("selected", Selected::BYTES, SORTED_IN_MEMORY).unwrap();
        for (number, (person, stands, name)) in rows.iter().enumerate() {
            let mut record = Vec::new();
            let input = name.as_ref().and_then(|name| match rule {
                Normaliser::V1 => rule.normalise(name),
                _ => names(name),
            });
            let (key, item) = (&key_record(person), &item_record(input.as_ref().map_or(&[], AsRef::as_ref)));
            let name = &name_hash(apart(person).and_then(names).as_ref());
            Selected { key, stands: *stands, row: number as u64, item, name }.put(&mut record);
            sorter.push(&record).unwrap();
        }
        let mut keys = self.files.sort("stronger", KEY, SORTED_IN_MEMORY).unwrap();
        for person in matched {
            keys.push(&*key_record(person)).unwrap();
        }
        let shuffle = Shuffle::new(SecretSeed::from_bytes([4; 32]));
        own(sorter.finish().unwrap(), Some(keys.finish().unwrap()), sharing, &shuffle, &self.files).unwrap()
    }
}

/// The persons who stand so.
fn standing(own: &Own, as_what: Stands) -> BTreeSet<String> {
    let (mut reader, mut found) = (own.records.read().unwrap(), BTreeSet::new());
    while let Some(record) = reader.next().unwrap() {
        let person = Ranked::read(record).unwrap();
        if person.stands == as_what {
            found.insert(String::from_utf8(read_key(person.key).unwrap().to_vec()).unwrap());
        }
    }
    found
}

fn persons(own: &Own) -> BTreeSet<String> {
    standing(own, Stands::TakesPart)
}

/// Ranks and identifiers, in their order.
fn identifiers(own: &Own) -> Vec<Vec<u8>> {
    let (mut reader, mut found) = (own.records.read().unwrap(), Vec::new());
    while let Some(record) = reader.next().unwrap() {
        found.push(record[..IDENTIFIER].to_vec());
    }
    found
}

/// A name of letters alone for each number.
fn name(number: u32) -> String {
    const LETTERS: [&str; 10] = ["ba", "bo", "da", "do", "fa", "fo", "la", "lo", "ma", "mo"];
    number.to_string().bytes().map(|digit| LETTERS[usize::from(digit - b'0')]).collect()
}

fn row(person: &str, stands: Stands, name: Option<&str>) -> (String, Stands, Option<String>) {
    (person.to_owned(), stands, name.map(str::to_owned))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_set_is_the_same_whoever_was_matched_before_and_nobody_of_them_takes_part() {
    let session = Session::open().await;
    let rows: Vec<_> = (0..500).map(|n| row(&format!("P-{n}"), Stands::TakesPart, Some(&name(n)))).collect();
    let everybody = identifiers(&session.own(&rows, &[]));
    assert_eq!(everybody.len(), 500);
    for matched in [1_u32, 90, 499, 500] {
        let keys: BTreeSet<_> = (0..matched).map(|n| format!("P-{n}")).collect();
        let own = session.own(&rows, &keys.iter().cloned().collect::<Vec<_>>());
        assert_eq!((own.offered, own.unusable), (500 - u64::from(matched), 0));
        assert_eq!(standing(&own, Stands::Matched), keys);
        assert!(persons(&own).is_disjoint(&keys), "who was matched takes part again");
        assert_eq!(identifiers(&own), everybody, "the set tells who was matched");
    }
    // By a number that two records share, one of whom was matched, the other takes part.
    let rows = [row("a", Stands::TakesPart, Some("ab123456")), row("b", Stands::TakesPart, Some("ab123456"))];
    let whole = identifiers(&session.own_by(Normaliser::V1, &rows, &[]));
    let own = session.own_by(Normaliser::V1, &rows, &["a".to_owned()]);
    assert_eq!((persons(&own), own.offered), (BTreeSet::from(["b".to_owned()]), 1));
    assert!(standing(&own, Stands::Matched).is_empty() && identifiers(&own)[0] == whole[0]);
    session.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_several_persons_share_are_nobodys_whoever_else_has_them() {
    let session = Session::open().await;
    let rows = [
        row("alone", Stands::TakesPart, Some("Dora")),
        row("one", Stands::TakesPart, Some("Ba")),
        row("two", Stands::TakesPart, Some("BA")),
        row("beside-one-matched", Stands::TakesPart, Some("Lola")),
        row("matched", Stands::TakesPart, Some("Lola")),
        row("beside-one-outside", Stands::TakesPart, Some("Malo")),
        row("outside", Stands::Outside, Some("Malo")),
        row("outside-alone", Stands::Outside, Some("Fado")),
        row(&"beside-one-too-long".repeat(9), Stands::TakesPart, Some("Foma")),
        row("beside-one-too-long", Stands::TakesPart, Some("Foma")),
        row("nameless", Stands::TakesPart, None),
    ];
    let own = session.own(&rows, &["matched".to_owned(), "of-another-selection".to_owned()]);
    assert_eq!(persons(&own), BTreeSet::from(["alone".to_owned()]));
    // One, two, beside a matched, an outsider and a long key, the long key itself, and without a name.
    assert_eq!((own.offered, own.unusable), (1, 7));
    session.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_counts_by_the_first_usable_row_inside_of_the_selection() {
    let session = Session::open().await;
    let rows = [
        row("a", Stands::Outside, Some("Dora")),
        row("a", Stands::TakesPart, None),
        row("a", Stands::TakesPart, Some("Malo")),
        row("a", Stands::TakesPart, Some("Lola")),
        // The name outside is not this person's here, and the one inside is unusable.
        row("b", Stands::TakesPart, Some("unknown")),
        row("b", Stands::Outside, Some("Fado")),
        // What another has in some row is nobody's; a spelling that the same person repeats is theirs.
        row("c", Stands::TakesPart, Some("Lola")),
        row("d", Stands::TakesPart, Some("Fado")),
        row("e", Stands::TakesPart, Some("Dora")),
        row("f", Stands::TakesPart, Some("Mama")),
        row("f", Stands::TakesPart, Some("MAMA")),
        row("f", Stands::Outside, Some("Mama")),
    ];
    let own = session.own(&rows, &[]);
    let all = ["a", "f"].map(str::to_owned);
    assert_eq!(persons(&own), BTreeSet::from(all));
    assert_eq!((own.offered, own.unusable), (2, 4));
    session.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn persons_with_one_number_take_part_together() {
    let session = Session::open().await;
    let rows = [
        row("a", Stands::TakesPart, Some("AB 123456")),
        row("b", Stands::TakesPart, Some("ab123456")),
        row("c", Stands::TakesPart, Some("ab123457")),
        row("d", Stands::TakesPart, Some("n/a")),
        row(&"e".repeat(100), Stands::TakesPart, Some("ab123458")),
    ];
    let own = session.own_by(Normaliser::V1, &rows, &["c".to_owned()]);
    assert_eq!(persons(&own), BTreeSet::from(["a", "b"].map(str::to_owned)));
    assert_eq!((own.offered, own.unusable), (2, 2));
    session.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_persons_of_different_names_have_is_nobodys_and_one_persons_entries_take_part_together() {
    let session = Session::open().await;
    let names = |person: &str| match person {
        "one-again" | "one" => Some("Dora"),
        "other" => Some("Malo"),
        "wrong" | "outside" => Some("Lola"),
        "wronged" => Some("Fado"),
        _ => None,
    };
    let many = (0..=MOST_ENTRIES).map(|n| row(&format!("filler-{n:03}"), Stands::TakesPart, Some("ab000000")));
    let rows: Vec<_> = [
        row("one", Stands::TakesPart, Some("ab123456")),
        row("one-again", Stands::TakesPart, Some("ab123456")),
        row("one-nameless", Stands::TakesPart, Some("ab123456")),
        row("other", Stands::TakesPart, Some("ab123457")),
        row("outside", Stands::Outside, Some("ab123457")),
        row("wrong", Stands::TakesPart, Some("ab123458")),
        row("wronged", Stands::TakesPart, Some("ab123458")),
        row("between", Stands::TakesPart, Some("ab123458")),
        row("matched", Stands::TakesPart, Some("ab123459")),
        row("left", Stands::TakesPart, Some("ab123459")),
        row("alone", Stands::TakesPart, Some("ab123460")),
    ]
    .into_iter()
    .chain(many)
    .collect();
    let own = |matched: &[String]| session.own_apart(Normaliser::V1, Sharing::OfOnePerson, &names, &rows, matched);
    let whole = own(&[]);
    let own = own(&["matched".to_owned()]);
    let all = ["one", "one-again", "one-nameless", "left", "alone"].map(str::to_owned);
    assert_eq!(persons(&own), BTreeSet::from(all));
    // One beside somebody outside, three with one number, and the fillers.
    assert_eq!((own.offered, own.unusable), (5, 4 + MOST_ENTRIES + 1));
    let set = |own: &Own| identifiers(own).into_iter().collect::<BTreeSet<_>>();
    assert_eq!(set(&whole), set(&own), "the set tells who was matched");
    session.close().await;
}
