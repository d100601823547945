//! Records in ascending order, of which single ones are looked up without reading the others.

use super::{RecordReader, RecordWriter, SessionFiles};
use crate::StoreError;
use zeroize::Zeroizing;

/// Bytes of records in a block, at most: what a look-up reads and opens. Smaller ones make more of them, whose first
/// records are in memory.
const BLOCK: usize = 2048;

/// Writes records in which single ones can be looked up. Dropped before [`LookUpWriter::finish`], it leaves none.
pub struct LookUpWriter {
    records: RecordWriter,
    /// The first record of each block.
    firsts: RecordWriter,
    in_block: usize,
    /// Records in the block that is being filled.
    filled: usize,
    last: Zeroizing<Vec<u8>>,
}

/// Looks records up: one block is read for each, and none where the next lies in the same.
///
/// The first record of each block is in memory: for ten million records of 12 bytes, 0.7 MB.
pub struct LookUp {
    reader: RecordReader,
    record: usize,
    firsts: Zeroizing<Vec<u8>>,
    /// The block that was read last.
    read: Option<usize>,
    block: Zeroizing<Vec<u8>>,
}

impl SessionFiles {
    /// Begins a file of records of `record` bytes, 1 to 2,048, that come in strictly ascending order. One of the same name
    /// is replaced when this one is finished; until then there is none to look up in.
    ///
    /// # Errors
    /// [`StoreError`]: the disk failed, or the size is out of range.
    pub fn write_look_up(&self, name: &str, record: usize) -> Result<LookUpWriter, StoreError> {
        let target = self.records_in(name, record, BLOCK)?;
        let in_block = target.block() / record;
        let (records, firsts) = (self.write_blocks(target)?, self.write_records(&firsts_of(name), record)?);
        Ok(LookUpWriter { records, firsts, in_block, filled: 0, last: Zeroizing::default() })
    }

    /// Looks up in the records of that name that were written to their end, also before a restart.
    ///
    /// # Errors
    /// [`StoreError`]: there are none, the disk failed, or a file was changed.
    pub fn look_up(&self, name: &str, record: usize) -> Result<LookUp, StoreError> {
        let reader = self.records_in(name, record, BLOCK)?.read()?;
        let index = self.records(&firsts_of(name), record)?;
        let bytes = usize::try_from(index.len()?).unwrap_or(usize::MAX).saturating_mul(record);
        let (mut firsts, mut index) = (Zeroizing::new(Vec::with_capacity(bytes)), index.read()?);
        while let Some(first) = index.next()? {
            firsts.extend_from_slice(first);
        }
        Ok(LookUp { reader, record, firsts, read: None, block: Zeroizing::default() })
    }
}

fn firsts_of(name: &str) -> String {
    format!("{name}-firsts")
}

impl LookUpWriter {
    /// Adds a record, above the last.
    ///
    /// # Errors
    /// [`StoreError`]: the disk failed, or the record has another size or place.
    pub fn push(&mut self, record: &[u8]) -> Result<(), StoreError> {
        if !self.last.is_empty() && self.last.as_slice() >= record {
            return Err(StoreError::Malformed("order of records"));
        }
        self.records.push(record)?;
        if self.filled.is_multiple_of(self.in_block) {
            self.firsts.push(record)?;
            self.filled = 0;
        }
        self.filled = self.filled.saturating_add(1);
        self.last.clear();
        self.last.extend_from_slice(record);
        Ok(())
    }

    /// Puts the records in their place, on the disk before this returns.
    ///
    /// # Errors
    /// [`StoreError`]: the disk failed; there is nothing to look up in then.
    pub fn finish(self) -> Result<(), StoreError> {
        // INVARIANT: the records come last: where they are, the first of each block are too.
        self.firsts.finish()?;
        self.records.finish()?;
        Ok(())
    }
}

impl LookUp {
    /// Whether a record is there.
    ///
    /// # Errors
    /// [`StoreError`]: the disk failed, or the file was changed.
    pub fn holds(&mut self, record: &[u8]) -> Result<bool, StoreError> {
        let not_above = |first: &[u8]| first <= record;
        let Some(block) = partition(&self.firsts, self.record, not_above).checked_sub(1) else { return Ok(false) };
        if self.read != Some(block) {
            self.read = None;
            self.block = Zeroizing::new(self.reader.block(block as u64)?.to_vec());
            self.read = Some(block);
        }
        let place = partition(&self.block, self.record, |held| held < record);
        let start = place.saturating_mul(self.record);
        Ok(self.block.get(start..start.saturating_add(self.record)) == Some(record))
    }
}

/// How many records, of those of `record` bytes in ascending order, are before the first for which `before` is false.
fn partition(records: &[u8], record: usize, before: impl Fn(&[u8]) -> bool) -> usize {
    let (mut from, mut to) = (0, records.len().checked_div(record).unwrap_or_default());
    while from < to {
        let middle = from.midpoint(to);
        let start = middle.saturating_mul(record);
        if records.get(start..start.saturating_add(record)).is_some_and(&before) {
            from = middle.saturating_add(1);
        } else {
            to = middle;
        }
    }
    from
}
