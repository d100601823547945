use super::SessionFiles;
use crate::{Fault, SealError, StoreError};
use proptest::prelude::*;
use std::fs;
use tempfile::TempDir;

fn files() -> (TempDir, SessionFiles) {
    let folder = tempfile::tempdir().unwrap();
    let files = SessionFiles::new(folder.path().join("one"), &[7; 32]).unwrap();
    (folder, files)
}

fn sorted(files: &SessionFiles, records: &[Vec<u8>], memory: usize) -> Vec<Vec<u8>> {
    let record = records.first().map_or(1, Vec::len);
    let mut sorter = files.sort("set", record, memory).unwrap();
    for record in records {
        sorter.push(record).unwrap();
    }
    let mut sorted = sorter.finish().unwrap();
    let mut out = Vec::new();
    while let Some(record) = sorted.next().unwrap() {
        out.push(record.to_vec());
    }
    out
}

fn numbers(count: u32) -> Vec<Vec<u8>> {
    // An odd factor goes round all of them in an order that is not theirs.
    (0..count).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes().to_vec()).collect()
}

fn everything_in(folder: &TempDir) -> Vec<u8> {
    let read = |entry: fs::DirEntry| fs::read(entry.path()).unwrap();
    fs::read_dir(folder.path().join("one")).unwrap().flat_map(|entry| read(entry.unwrap())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn sorting_gives_what_sorting_in_memory_gives(
        records in prop::collection::vec(prop::collection::vec(0u8..4, 3), 0..400), memory in 1usize..200,
    ) {
        let (folder, files) = files();
        let mut expected = records.clone();
        expected.sort();
        prop_assert_eq!(sorted(&files, &records, memory), expected);
        prop_assert_eq!(everything_in(&folder).len(), 0, "a run is left on the disk");
    }
}

#[test]
fn more_runs_than_are_merged_at_once_are_sorted_all_the_same() {
    let (_folder, files) = files();
    let records = numbers(70_000);
    let mut expected = records.clone();
    expected.sort();
    // 100 records a run: 700 runs, merged in two rounds.
    assert_eq!(sorted(&files, &records, 400), expected);
}

#[test]
fn of_equal_records_one_is_written() {
    let (_folder, files) = files();
    let mut sorter = files.sort("set", 2, 6).unwrap();
    for record in [b"bb", b"aa", b"bb", b"cc", b"aa", b"aa", b"bb"] {
        sorter.push(record).unwrap();
    }
    let written = sorter.finish().unwrap().write_once_each(&files, "each", 2).unwrap();
    let mut reader = written.read().unwrap();
    let mut found = Vec::new();
    while let Some(record) = reader.next().unwrap() {
        found.push(record.to_vec());
    }
    assert_eq!(found, [b"aa", b"bb", b"cc"]);
}

/// 65,536 bytes hold 16,384 records of four: files around the end of a block.
#[test]
fn a_file_of_records_is_read_from_any_place_and_knows_how_many_it_has() {
    let (_folder, files) = files();
    for count in [0, 1, 16_383, 16_384, 16_385, 40_000] {
        let mut writer = files.write_records("list", 4).unwrap();
        for record in numbers(count) {
            writer.push(&record).unwrap();
        }
        writer.finish().unwrap();
        // As after a restart.
        let file = files.records("list", 4).unwrap();
        assert_eq!(file.len().unwrap(), u64::from(count));
        assert_eq!(file.is_empty().unwrap(), count == 0);
        for from in [0, 1, 16_383, 16_384, 16_385, 39_999, 40_000, 1_000_000] {
            let mut reader = file.read_from(from).unwrap();
            for record in numbers(count).iter().skip(from as usize) {
                assert_eq!(reader.next().unwrap(), Some(record.as_slice()));
            }
            assert!(reader.next().unwrap().is_none());
        }
    }
}

#[test]
fn a_file_is_there_whole_or_not_at_all() {
    let (_folder, files) = files();
    let mut writer = files.write_records("list", 4).unwrap();
    for record in numbers(50_000) {
        writer.push(&record).unwrap();
    }
    assert!(!files.holds("list"));
    drop(writer);
    assert!(!files.holds("list"));
    let absent = files.records("list", 4).unwrap();
    assert_eq!(absent.len().err(), Some(StoreError::File(Fault::Denied)));
    let mut writer = files.write_records("list", 4).unwrap();
    writer.push(b"abcd").unwrap();
    writer.finish().unwrap();
    assert!(files.holds("list"));
}

#[test]
fn a_piece_is_kept_once_and_none_before_those_that_come_before_it() {
    let (_folder, files) = files();
    let mut spool = files.spool("pieces").unwrap();
    assert_eq!(spool.keep(1, b"second").err(), Some(StoreError::Malformed("number of a piece")));
    spool.keep(0, b"first").unwrap();
    spool.keep(1, b"second").unwrap();
    spool.keep(0, b"another").unwrap();
    assert_eq!((spool.len(), spool.get(0).unwrap().as_slice()), (2, b"first".as_slice()));
}

#[test]
fn sizes_that_no_record_and_no_piece_has_are_refused() {
    let (_folder, files) = files();
    let size = Some(StoreError::Malformed("size of a record"));
    assert_eq!(files.write_records("list", 0).err(), size);
    assert_eq!(files.sort("list", 4097, 1).err(), size);
    assert_eq!(files.write_records("list", 4).unwrap().push(b"abc").err(), size);
    assert_eq!(files.sort("list", 4, 1).unwrap().push(b"abcde").err(), size);
    let mut spool = files.spool("pieces").unwrap();
    assert_eq!(spool.add(&vec![0; 16 * 1024 * 1024 + 1]).err(), Some(StoreError::Malformed("size of a piece")));
    assert!(spool.is_empty());
}

/// Whatever is done to a file of records, it is noticed, at the latest where it was done.
#[test]
fn a_changed_file_of_records_does_not_open() {
    let (folder, files) = files();
    let path = folder.path().join("one/list");
    let mut writer = files.write_records("list", 4).unwrap();
    for record in numbers(40_000) {
        writer.push(&record).unwrap();
    }
    let file = writer.finish().unwrap();
    let whole = fs::read(&path).unwrap();
    let block = 65_536 + 41;
    let damaged = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let Ok(mut reader) = file.read() else { return true };
        loop {
            match reader.next() {
                Err(_) => return true,
                Ok(None) => return false,
                Ok(Some(_)) => {}
            }
        }
    };
    assert!(!damaged(&whole));
    for at in [0, 30, 1000, block, whole.len() - 1] {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        assert!(damaged(&changed), "byte {at}");
    }
    for end in [0, 1, block - 1, block, 2 * block, whole.len() - 1] {
        assert!(damaged(&whole[..end]), "cut off at {end}");
    }
    let moved = [&whole[block..2 * block], &whole[..block], &whole[2 * block..]].concat();
    assert!(damaged(&moved), "two blocks changed places");
    assert!(damaged(&[whole.as_slice(), &whole[..block]].concat()), "a block was put behind");
}

#[test]
fn a_file_opens_under_its_own_name_and_in_its_own_session_alone() {
    let (folder, files) = files();
    let mut writer = files.write_records("list", 4).unwrap();
    writer.push(b"abcd").unwrap();
    writer.finish().unwrap();
    files.spool("pieces").unwrap().add(b"piece").unwrap();
    let open = |files: &SessionFiles, name: &str, record| {
        files.records(name, record).unwrap().read().unwrap().next().map(drop)
    };
    assert_eq!(open(&files, "list", 4), Ok(()));
    fs::copy(folder.path().join("one/list"), folder.path().join("one/other")).unwrap();
    assert_eq!(open(&files, "other", 4), Err(StoreError::Seal(SealError::Open)));
    assert_eq!(open(&files, "list", 2), Err(StoreError::Seal(SealError::Open)));
    let stranger = SessionFiles::new(folder.path().join("one"), &[8; 32]).unwrap();
    assert_eq!(open(&stranger, "list", 4), Err(StoreError::Seal(SealError::Open)));
}

#[test]
fn pieces_are_read_again_after_a_restart_and_what_was_told_stays() {
    let (folder, files) = files();
    let path = folder.path().join("one/pieces");
    let mut spool = files.spool("pieces").unwrap();
    for number in 0..20u8 {
        spool.add(&vec![number; usize::from(number) * 100]).unwrap();
    }
    drop(spool);
    let whole = fs::read(&path).unwrap();
    let last = 19 * 100 + 41 + 4;
    // Killed anywhere in the writing of the last one: those before stay.
    for end in [whole.len(), whole.len() - 1, whole.len() - last + 5, whole.len() - last + 3, whole.len() - last] {
        fs::write(&path, &whole[..end]).unwrap();
        let mut spool = files.spool("pieces").unwrap();
        let there = if end == whole.len() { 20 } else { 19 };
        assert_eq!(spool.len(), there);
        for number in 0..there {
            assert_eq!(spool.get(number).unwrap().as_slice(), vec![number as u8; number * 100]);
        }
        assert!(spool.get(there).is_err());
        spool.add(b"another").unwrap();
        drop(spool);
        assert_eq!(files.spool("pieces").unwrap().get(there).unwrap().as_slice(), b"another");
    }
    // The length of the last piece is there, and of its bytes something else: as after a crash of the machine.
    let mut torn = whole.clone();
    torn[whole.len() - 100..].fill(0);
    fs::write(&path, &torn).unwrap();
    assert_eq!(files.spool("pieces").unwrap().len(), 19);
    // One that was told to be there was changed.
    let mut changed = whole;
    changed[60] ^= 1;
    fs::write(&path, &changed).unwrap();
    let spool = files.spool("pieces").unwrap();
    assert!((0..20).any(|number| spool.get(number).is_err()));
}

#[test]
fn nothing_that_is_kept_stands_on_the_disk_as_it_is() {
    let (folder, files) = files();
    let mut writer = files.write_records("list", 16).unwrap();
    let mut sorter = files.sort("set", 16, 16).unwrap();
    for _ in 0..10 {
        writer.push(b"national-number1").unwrap();
        sorter.push(b"national-number1").unwrap();
    }
    let sorted = sorter.finish().unwrap();
    writer.finish().unwrap();
    files.spool("pieces").unwrap().add(b"national-number1").unwrap();
    let bytes = everything_in(&folder);
    assert!(bytes.len() > 20 * 16);
    assert!(!bytes.windows(8).any(|window| b"national-number1".windows(8).any(|part| part == window)));
    drop(sorted);
}
