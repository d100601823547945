//! Every byte of a log and of its receipts counts: whichever is changed, verification fails and names its file.

#![cfg(test)]

mod sample;

use firebreak_audit::{Leaf, SignedLeaf, VerifierKey, verify_folder};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

const PATTERNS: [u8; 2] = [0x01, 0xa0];

/// A log with receipts in a folder of its own.
struct Copy {
    dir: tempfile::TempDir,
    key: VerifierKey,
    receipts: Vec<PathBuf>,
}

impl Copy {
    fn new(sizes: &[u64], leaves: impl Fn(Range<u64>) -> Vec<SignedLeaf>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (key, made) = sample::make_log(&dir.path().join("log"), sizes, leaves);
        let mut receipts = Vec::new();
        for (number, receipt) in made.iter().enumerate() {
            let path = dir.path().join(format!("{number}.receipt"));
            fs::write(&path, receipt.encode()).unwrap();
            receipts.push(path);
        }
        Self { dir, key: key.parse().unwrap(), receipts }
    }

    fn files(&self) -> Vec<PathBuf> {
        fn walk(dir: &Path, into: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { walk(&path, into) } else { into.push(path) }
            }
        }
        let mut files = Vec::new();
        walk(self.dir.path(), &mut files);
        files.sort();
        files
    }

    fn verify(&self) -> Result<u64, PathBuf> {
        let report = verify_folder(&self.dir.path().join("log"), &self.key, &self.receipts, None);
        report.map(|report| report.size).map_err(|error| error.file)
    }

    /// Changes the bytes at these places of a file one at a time; each change must be laid at that file's door.
    fn change(&self, file: &Path, changes: impl Iterator<Item = (usize, u8)>) -> usize {
        let good = fs::read(file).unwrap();
        let mut count = 0;
        for (at, pattern) in changes {
            let mut bad = good.clone();
            bad[at] ^= pattern;
            fs::write(file, bad).unwrap();
            assert_eq!(self.verify(), Err(file.to_owned()), "byte {at} of {} xor {pattern:#x}", file.display());
            count += 1;
        }
        fs::write(file, good).unwrap();
        count
    }
}

/// Leaves that name nothing they need not.
fn short_leaves(numbers: Range<u64>) -> Vec<SignedLeaf> {
    let short = |number| Leaf {
        organisations: [].into(),
        agreement: None,
        purpose: None,
        legal_basis: None,
        recipient_class: None,
        output_kind: None,
        dataset: None,
        ..sample::leaf(number, &sample::opening(number))
    };
    numbers.map(|number| SignedLeaf::sign(short(number), &sample::AgencyKey::new(1)).unwrap()).collect()
}

#[test]
fn a_changed_byte_anywhere_in_a_small_log_or_its_receipts_is_found_in_its_file() {
    let change_all = |pattern: u8| {
        let log = Copy::new(&[1, 3], short_leaves);
        let files = log.files();
        assert_eq!(files.len(), 7, "{files:?}");
        for file in files {
            let length = fs::read(&file).unwrap().len();
            let changed = log.change(&file, (0..length).map(|at| (at, pattern)));
            assert_eq!(changed, length);
        }
        assert_eq!(log.verify(), Ok(3));
    };
    std::thread::scope(|scope| {
        for pattern in PATTERNS {
            scope.spawn(move || change_all(pattern));
        }
    });
}

#[test]
fn a_changed_byte_in_a_full_tile_or_bundle_is_found_in_its_file() {
    let log = Copy::new(&[2, 258], sample::leaves);
    let files = log.files();
    assert_eq!(files.len(), 8, "{files:?}");
    for file in files {
        let length = fs::read(&file).unwrap().len();
        // A verification of so many leaves takes a millisecond and the full bundle has some 200,000 bytes: steps that
        // are prime lead through every part of hashes and entries.
        let step = match length {
            50_000.. => 101,
            5_000.. => 5,
            1_000.. => 7,
            _ => 1,
        };
        let places = (0..length).step_by(step).enumerate();
        let changed = log.change(&file, places.map(|(turn, at)| (at, PATTERNS[turn % 2])));
        assert!(changed >= 32, "{changed} in {}", file.display());
    }
    assert_eq!(log.verify(), Ok(258));
}
