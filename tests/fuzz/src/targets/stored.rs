//! What programs keep and read again after a restart.

use crate::samples::{AgencyKey, leaf, opening, recipes};
use firebreak_audit::{OpeningKey, Sealer, SignedLeaf};
use firebreak_domain::{FORMAT, ManualClock, Timestamp};
use firebreak_node::{Evidence, PublicationContent, StoredQuestion};
use firebreak_store::rows::{
    account_again, account_for_life, decode_disclosed, decode_handed_out, encode_disclosed, encode_handed_out,
    entry_again, joined_columns, read_columns,
};
use firebreak_store::{HandOutForm, HandedOut, NewHandedOut, SessionFiles, State, StateKey};
use firebreak_wire::publication::v1::PublishedFigures;
use firebreak_wire::query::v1::{Estimate, Row};
use firebreak_wire::{figures_from_bytes, figures_to_bytes, question_to_bytes};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use tempfile::TempDir;

pub fn evidence(bytes: &[u8]) -> bool {
    let Some(evidence) = Evidence::decode(bytes) else { return false };
    assert_eq!(evidence.encode(), bytes);
    assert_eq!(evidence.leaf.leaf().commitment, evidence.opening.commitment());
    assert_eq!(evidence.leaf.leaf().sealed, evidence.sealed.hash());
    true
}

pub fn evidence_samples() -> Vec<Vec<u8>> {
    static SAMPLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let sealer = Sealer::default();
        sealer.seal_to(&[OpeningKey::generate().unwrap().seal_key()]).unwrap();
        let sealed = sealer.seal(&opening(), b"").unwrap();
        let leaf = SignedLeaf::sign(leaf(1, sealed.hash()), &AgencyKey).unwrap();
        Evidence { leaf, opening: opening(), sealed }.encode()
    });
    vec![SAMPLE.clone()]
}

pub fn publication(bytes: &[u8]) -> bool {
    let Some(content) = PublicationContent::decode(bytes) else { return false };
    let written = content.encode();
    assert!(PublicationContent::decode(&written).is_some_and(|again| again.encode() == written));
    true
}

pub fn publications() -> Vec<Vec<u8>> {
    let content = PublicationContent {
        principal: "spiffe://firebreak.example/org/nso/analyst/ada".parse().unwrap(),
        agreement: "health-statistics".parse().unwrap(),
        purpose: "public-health".parse().unwrap(),
        request: b"draft".to_vec(),
        figures: figure_samples().concat(),
    };
    vec![content.encode()]
}

pub fn figures(bytes: &[u8]) -> bool {
    let Some(figures) = figures_from_bytes(bytes) else { return false };
    let written = figures_to_bytes(&figures);
    assert!(figures_from_bytes(&written).is_some_and(|again| figures_to_bytes(&again) == written));
    true
}

pub fn figure_samples() -> Vec<Vec<u8>> {
    let estimate = Estimate { value: Some(120.5), standard_error: Some(3.25), ..Default::default() };
    let row = Row { groups: vec!["north".to_owned()], estimates: vec![estimate] };
    vec![figures_to_bytes(&PublishedFigures { format: 1, rows: vec![row.clone(), row], ..Default::default() })]
}

pub fn question(bytes: &[u8]) -> bool {
    let Some(query) = StoredQuestion::decode(bytes) else { return false };
    let again = StoredQuestion::decode(&question_to_bytes(&query));
    assert!(again.is_none_or(|again| again.canonical() == query.canonical()), "stored, it is another question");
    true
}

pub fn questions() -> Vec<Vec<u8>> {
    let stored = |sql: &str| question_to_bytes(&firebreak_query::parse_sql(sql).expect("a recipe"));
    recipes().into_iter().map(stored).collect()
}

fn private_file(path: &Path, bytes: &[u8]) {
    let _ = fs::remove_file(path);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).unwrap();
    file.write_all(bytes).unwrap();
}

/// The file of a state's secret. What stands there is read or refused, and never written over.
pub fn state_key(bytes: &[u8]) -> bool {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("key");
    private_file(&path, bytes);
    let key = StateKey::load_or_create(&path);
    assert_eq!(fs::read(&path).unwrap(), bytes, "a key file was written over");
    assert_eq!(StateKey::check(&path).is_ok(), key.is_ok());
    let Ok(key) = key else { return false };
    let sealer = key.sealer("fuzz");
    let sealed = sealer.seal("table", b"row", b"value").unwrap();
    assert_eq!(sealer.open("table", b"row", &sealed).unwrap().as_slice(), b"value");
    assert!(bytes.len() >= 64, "a key of fewer digits was read");
    true
}

pub fn state_keys() -> Vec<Vec<u8>> {
    vec![format!("firebreak-state-key-v1:{}\n", hex::encode([7; 32])).into_bytes()]
}

/// Evidence of an answer over a join: three pieces of evidence.
pub fn join_evidence(bytes: &[u8]) -> bool {
    let Some([own, left, right]) = Evidence::decode_join(bytes) else { return false };
    assert_eq!(Evidence::encode_join([&own, &left, &right]), bytes);
    assert!([own, left, right].into_iter().all(|one| one.checked().is_some()));
    true
}

pub fn join_evidence_samples() -> Vec<Vec<u8>> {
    let one = Evidence::decode(&evidence_samples().concat()).unwrap();
    vec![Evidence::encode_join([&one; 3])]
}

/// An entry of what was handed out of a receiver's matches.
pub fn handed_out(bytes: &[u8]) -> bool {
    let Ok(entry) = decode_handed_out(7, bytes) else { return false };
    assert_eq!(entry.number, 7);
    assert_eq!(encode_handed_out(&entry), bytes, "an entry has two texts");
    true
}

pub fn handed_out_samples() -> Vec<Vec<u8>> {
    let entry = |form| HandedOut {
        number: 7,
        at: Timestamp::from_secs(1_750_000_000),
        what: NewHandedOut {
            officer: "spiffe://firebreak.example/org/health/officer/ada".parse().unwrap(),
            session: [3; 32],
            agreement: "vaccination-round".parse().unwrap(),
            purpose: "vaccination-round".parse().unwrap(),
            form,
            rows: 1200,
            sha256: [9; 32],
        },
    };
    [HandOutForm::List, HandOutForm::Csv, HandOutForm::Parquet].map(|form| encode_handed_out(&entry(form))).into()
}

/// A person's values that a match disclosed.
pub fn disclosed(bytes: &[u8]) -> bool {
    let Ok(values) = decode_disclosed(bytes) else { return false };
    assert_eq!(encode_disclosed(&values).as_slice(), bytes, "values have two texts");
    true
}

pub fn disclosed_samples() -> Vec<Vec<u8>> {
    let rows = [vec![], vec!["R01", "uk"], vec!["", "2024-02-29", "123.45", "żółć"]];
    let encoded = |row: Vec<&str>| {
        let row: Vec<String> = row.into_iter().map(str::to_owned).collect();
        encode_disclosed(&row).to_vec()
    };
    rows.map(encoded).into()
}

/// Bytes behind their length, as the ledger writes names.
fn part(bytes: &[u8]) -> Vec<u8> {
    [(bytes.len() as u64).to_be_bytes().as_slice(), bytes].concat()
}

/// Kinds of the accounts that caps count in, by year, and how many further the kind for life is.
const CAPS: [u8; 2] = [6, 7];
const FOR_LIFE: u8 = 2;

/// The name of an account of persons in the ledger, or of one that a cap counts in by year.
pub fn account(bytes: &[u8]) -> bool {
    let (of_persons, for_life) = (account_again(bytes), account_for_life(bytes));
    assert!(of_persons.as_ref().is_none_or(|written| written == bytes), "an account has two names");
    // All but the year, of no other kind: what two agreements count is never one account.
    let due = bytes.split_first().zip(bytes.split_last_chunk::<4>()).filter(|((kind, _), _)| CAPS.contains(kind));
    let due = due.and_then(|((kind, _), (named, _))| Some([&[kind + FOR_LIFE], named.get(1..)?].concat()));
    assert_eq!(for_life, due);
    of_persons.is_some() || for_life.is_some()
}

pub fn account_samples() -> Vec<Vec<u8>> {
    let (space, year) = (part(b"residents"), 2026_i32.to_be_bytes());
    let cap = [part(b"vaccination-round"), part(b"health-agency"), part(b"number")].concat();
    let persons = [[&[1], space.as_slice(), &year].concat(), [&[2], space.as_slice()].concat()];
    persons.into_iter().chain(CAPS.map(|kind| [&[kind], cap.as_slice(), &year].concat())).collect()
}

/// Names of columns.
pub fn columns(bytes: &[u8]) -> bool {
    let Some(stored) = super::text(bytes) else { return false };
    let Ok(columns) = read_columns(Some(stored)) else { return false };
    assert_eq!(joined_columns(&columns), stored, "columns have two texts");
    true
}

pub fn column_samples() -> Vec<Vec<u8>> {
    super::texts(&["", "level", "region\nvisit_date\ncost"])
}

/// An entry of the ledger.
pub fn ledger_entry(bytes: &[u8]) -> bool {
    let Some(written) = entry_again(bytes) else { return false };
    assert_eq!(written, bytes, "an entry has two texts");
    true
}

/// Of each kind: a charge, one that repeats, one that is given back, a chunk that was evaluated, a list of tags.
pub fn ledger_samples() -> Vec<Vec<u8>> {
    let account = part(b"an account");
    // Principal, id, digest, release key, charge, and the accounts behind their number.
    let spend = [[1; 32].as_slice(), &[2; 16], &[3; 32], &[4; 32], &[5; 24], &2_u64.to_be_bytes(), &account, &account];
    let of_none = [[1; 32].as_slice(), &[2; 16], &[3; 32], &[4; 32], &[5; 24], &[0; 8]];
    let chunk = [account.as_slice(), &[6; 32], &7_u32.to_be_bytes(), &[8; 32], &1024_u64.to_be_bytes()];
    let list = [account.as_slice(), &[6; 32], &[9; 32], &4096_u64.to_be_bytes()];
    let entry = |(kind, parts): (u8, &[&[u8]])| {
        let head = [FORMAT.to_be_bytes().as_slice(), &[kind], &1_750_000_000_i64.to_be_bytes()].concat();
        [head, parts.concat()].concat()
    };
    [(1, &spend[..]), (1, &of_none), (2, &spend), (3, &spend), (4, &chunk), (5, &list)].map(entry).into()
}

/// The files of an open match session.
struct Session {
    files: SessionFiles,
    folder: PathBuf,
    _state: TempDir,
}

impl Session {
    /// The same secret each time: what one of them sealed, every other opens.
    fn open() -> Self {
        let state = TempDir::new().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let session = [3; 32];
        let files = runtime.block_on(async {
            let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1_750_000_000)));
            let opened = State::open(state.path(), StateKey::from_bytes([42; 32]), clock).await.unwrap();
            opened.open_session(&session, &[7; 32]).await.unwrap();
            opened.session_files(&session).await.unwrap()
        });
        let folder = state.path().join("sessions").join(hex::encode(session));
        Self { files, folder, _state: state }
    }
}

thread_local! {
    // A thread's own, so that it is deleted with it and no two write one file.
    static SESSION: Session = Session::open();
}

const PIECES: [&[u8]; 3] = [b"the first piece", b"2", b"and a third one"];
const RECORD: usize = 8;
const RECORDS: u64 = 20;

/// A file of pieces, each sealed to its place.
pub fn pieces(bytes: &[u8]) -> bool {
    SESSION.with(|session| {
        private_file(&session.folder.join("pieces"), bytes);
        let spool = session.files.spool("pieces").unwrap();
        let whole = (0..spool.len()).filter(|number| {
            let piece = spool.get(*number);
            assert!(piece.as_ref().is_ok_and(|piece| Some(&piece.as_slice()) == PIECES.get(*number)) || piece.is_err());
            piece.is_ok()
        });
        whole.count() == PIECES.len()
    })
}

pub fn piece_samples() -> Vec<Vec<u8>> {
    SESSION.with(|session| {
        let path = session.folder.join("pieces");
        let _ = fs::remove_file(&path);
        let mut spool = session.files.spool("pieces").unwrap();
        PIECES.iter().for_each(|piece| spool.add(piece).unwrap());
        vec![fs::read(path).unwrap()]
    })
}

/// A file of records, sealed block by block.
pub fn records(bytes: &[u8]) -> bool {
    SESSION.with(|session| {
        private_file(&session.folder.join("set"), bytes);
        let file = session.files.records("set", RECORD).unwrap();
        let Ok(mut reader) = file.read() else { return false };
        let mut read = 0_u64;
        while let Ok(Some(record)) = reader.next() {
            assert_eq!(record, read.to_be_bytes(), "a record that nobody wrote was read");
            read += 1;
        }
        assert!(read <= RECORDS);
        read == RECORDS
    })
}

pub fn record_samples() -> Vec<Vec<u8>> {
    SESSION.with(|session| {
        let mut writer = session.files.write_records("set", RECORD).unwrap();
        (0..RECORDS).for_each(|number| writer.push(&number.to_be_bytes()).unwrap());
        drop(writer.finish().unwrap());
        vec![fs::read(session.folder.join("set")).unwrap()]
    })
}

/// Records of a list that is held, in three blocks; of the numbers below, every third.
const HELD: u64 = 600;
const FIRSTS: &str = "held-firsts";

/// A list that single records are looked up in: how many bytes its file of records has (2 bytes), that file, and the
/// one of the first record of each block.
pub fn look_up(bytes: &[u8]) -> bool {
    let Some((length, files)) = bytes.split_first_chunk() else { return false };
    let Some((list, firsts)) = files.split_at_checked(usize::from(u16::from_be_bytes(*length))) else { return false };
    SESSION.with(|session| {
        private_file(&session.folder.join("held"), list);
        private_file(&session.folder.join(FIRSTS), firsts);
        let Ok(mut look_up) = session.files.look_up("held", RECORD) else { return false };
        let mut found = 0;
        for number in 0..HELD * 3 {
            let Ok(holds) = look_up.holds(&number.to_be_bytes()) else { return false };
            assert!(!holds || number.is_multiple_of(3), "a record that nobody wrote is held");
            found += u64::from(holds);
        }
        found == HELD
    })
}

pub fn look_up_samples() -> Vec<Vec<u8>> {
    SESSION.with(|session| {
        let mut writer = session.files.write_look_up("held", RECORD).unwrap();
        (0..HELD).for_each(|number| writer.push(&(number * 3).to_be_bytes()).unwrap());
        writer.finish().unwrap();
        let [list, firsts] = ["held", FIRSTS].map(|name| fs::read(session.folder.join(name)).unwrap());
        vec![[u16::try_from(list.len()).unwrap().to_be_bytes().as_slice(), &list, &firsts].concat()]
    })
}
