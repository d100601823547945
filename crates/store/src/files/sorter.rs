//! Sorting records that do not fit into memory.

use super::{RecordFile, RecordReader, SessionFiles};
use crate::StoreError;
use std::{
    cmp::{Ordering, Reverse},
    collections::{BinaryHeap, binary_heap::PeekMut},
};
use zeroize::Zeroizing;

/// Runs that are merged at once: a block of each is in memory.
const FAN: usize = 64;

/// Takes records in any order and gives them in the order of their bytes. Records that are equal all stay.
///
/// Holds so many bytes of records as it is allowed; beyond, sorted runs go to the disk. Dropped, it leaves no file.
pub struct Sorter {
    files: SessionFiles,
    name: String,
    record: usize,
    /// Bytes of records held at most.
    room: usize,
    held: Zeroizing<Vec<u8>>,
    runs: Runs,
    made: u64,
}

/// Runs on the disk, deleted when dropped.
#[derive(Default)]
struct Runs(Vec<RecordFile>);

impl Drop for Runs {
    fn drop(&mut self) {
        for run in &self.0 {
            run.delete();
        }
    }
}

/// Records in ascending order, read once.
pub struct Sorted {
    heads: BinaryHeap<Reverse<Head>>,
    sources: Vec<Source>,
    record: Zeroizing<Vec<u8>>,
    /// Deleted when all of this is dropped.
    _runs: Runs,
}

enum Source {
    Disk(RecordReader),
    Memory { records: Zeroizing<Vec<u8>>, order: std::vec::IntoIter<u32>, record: usize },
}

struct Head {
    record: Zeroizing<Vec<u8>>,
    source: usize,
}

impl SessionFiles {
    /// Begins to sort records of `record` bytes, 1 to 4,096, with about `memory` bytes for them. Two that sort at the
    /// same time have different names.
    ///
    /// # Errors
    /// [`StoreError`]: the size is out of range.
    pub fn sort(&self, name: &str, record: usize, memory: usize) -> Result<Sorter, StoreError> {
        self.records(name, record)?;
        let room = (memory / record).clamp(1, u32::MAX as usize).saturating_mul(record);
        let (files, name) = (self.clone(), name.to_owned());
        Ok(Sorter { files, name, record, room, held: Zeroizing::default(), runs: Runs::default(), made: 0 })
    }
}

impl Sorter {
    /// Adds a record.
    ///
    /// # Errors
    /// [`StoreError`]: the disk failed, or the record has another size.
    pub fn push(&mut self, record: &[u8]) -> Result<(), StoreError> {
        if record.len() != self.record {
            return Err(StoreError::Malformed("size of a record"));
        }
        if self.held.capacity() == 0 {
            // Room from the start: a vector that grows leaves copies behind that nobody wipes.
            self.held.reserve_exact(self.room);
        }
        if self.held.len() == self.room {
            let run = self.write_held()?;
            self.add(run)?;
        }
        self.held.extend_from_slice(record);
        Ok(())
    }

    /// All of them in order.
    ///
    /// # Errors
    /// [`StoreError`]: the disk failed.
    pub fn finish(mut self) -> Result<Sorted, StoreError> {
        let records = std::mem::take(&mut self.held);
        let order = order(&records, self.record).into_iter();
        let memory = Source::Memory { records, order, record: self.record };
        Sorted::merge(std::mem::take(&mut self.runs), Some(memory))
    }

    fn write_held(&mut self) -> Result<RecordFile, StoreError> {
        let name = self.next_name();
        let mut writer = self.files.write_records(&name, self.record)?;
        for place in order(&self.held, self.record) {
            writer.push(record_at(&self.held, self.record, place))?;
        }
        self.held.clear();
        writer.finish()
    }

    fn add(&mut self, run: RecordFile) -> Result<(), StoreError> {
        self.runs.0.push(run);
        if self.runs.0.len() < FAN {
            return Ok(());
        }
        let name = self.next_name();
        let mut writer = self.files.write_records(&name, self.record)?;
        let mut merged = Sorted::merge(std::mem::take(&mut self.runs), None)?;
        while let Some(record) = merged.next()? {
            writer.push(record)?;
        }
        self.runs.0.push(writer.finish()?);
        Ok(())
    }

    fn next_name(&mut self) -> String {
        self.made = self.made.saturating_add(1);
        format!("{}.run-{}", self.name, self.made)
    }
}

impl Sorted {
    fn merge(runs: Runs, memory: Option<Source>) -> Result<Self, StoreError> {
        let disk = runs.0.iter().map(|run| Ok(Source::Disk(run.read()?)));
        let mut sources = disk.chain(memory.map(Ok)).collect::<Result<Vec<_>, StoreError>>()?;
        let mut heads = BinaryHeap::new();
        for (source, records) in sources.iter_mut().enumerate() {
            if let Some(record) = records.next()? {
                heads.push(Reverse(Head { record: Zeroizing::new(record.to_vec()), source }));
            }
        }
        Ok(Self { heads, sources, record: Zeroizing::default(), _runs: runs })
    }

    /// The next record; `None` after the last.
    ///
    /// # Errors
    /// [`StoreError`]: the disk failed, or a run was changed.
    // Lends its buffer: an iterator cannot.
    #[expect(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<&[u8]>, StoreError> {
        let Some(mut least) = self.heads.peek_mut() else { return Ok(None) };
        self.record.clear();
        self.record.extend_from_slice(&least.0.record);
        let following = self.sources.get_mut(least.0.source).map(Source::next).transpose()?.flatten();
        match following {
            Some(record) => {
                least.0.record.clear();
                least.0.record.extend_from_slice(record);
            }
            None => drop(PeekMut::pop(least)),
        }
        Ok(Some(&self.record))
    }

    /// Writes all that are left to a file of records, which lasts until the session ends. Of equal ones it writes
    /// one.
    ///
    /// # Errors
    /// [`StoreError`]: the disk failed.
    pub fn write_once_each(
        mut self,
        files: &SessionFiles,
        name: &str,
        record: usize,
    ) -> Result<RecordFile, StoreError> {
        let mut writer = files.write_records(name, record)?;
        let mut before = Zeroizing::new(Vec::with_capacity(record));
        while let Some(record) = self.next()? {
            if before.as_slice() != record {
                writer.push(record)?;
                before.clear();
                before.extend_from_slice(record);
            }
        }
        writer.finish()
    }
}

impl Source {
    fn next(&mut self) -> Result<Option<&[u8]>, StoreError> {
        match self {
            Self::Disk(reader) => reader.next(),
            Self::Memory { records, order, record } => Ok(order.next().map(|place| record_at(records, *record, place))),
        }
    }
}

/// The places of records, in the order of their bytes.
fn order(records: &[u8], record: usize) -> Vec<u32> {
    // INVARIANT: at most 2³² − 1 records are held.
    let mut order: Vec<u32> = (0..(records.len() / record) as u32).collect();
    order.sort_unstable_by(|one, other| record_at(records, record, *one).cmp(record_at(records, record, *other)));
    order
}

fn record_at(records: &[u8], record: usize, place: u32) -> &[u8] {
    let start = (place as usize).saturating_mul(record);
    records.get(start..start.saturating_add(record)).unwrap_or_default()
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        self.record.cmp(&other.record).then(self.source.cmp(&other.source))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Head {}
