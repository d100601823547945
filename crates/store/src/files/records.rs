//! Files of records of one size, sealed block by block.

use super::SessionFiles;
use crate::{Fault, SealError, StoreError, seal};
use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::FileExt,
};
use zeroize::Zeroizing;

/// Bytes of records in a block, at most.
const BLOCK: usize = 64 * 1024;

/// A file of records that was written to its end.
#[derive(Clone)]
pub struct RecordFile {
    files: SessionFiles,
    name: String,
    record: usize,
    /// Bytes of records in a block, at most.
    room: usize,
}

/// Writes a file of records. Dropped before [`RecordWriter::finish`], it leaves none.
pub struct RecordWriter {
    target: RecordFile,
    file: File,
    held: Zeroizing<Vec<u8>>,
    blocks: u64,
}

/// Reads the records of a file in their order.
pub struct RecordReader {
    source: RecordFile,
    file: File,
    length: u64,
    blocks: u64,
    next: u64,
    block: Zeroizing<Vec<u8>>,
    at: usize,
}

impl SessionFiles {
    /// Begins a file of records of `record` bytes each, 1 to 4,096. One of the same name is replaced when this one is
    /// finished.
    ///
    /// # Errors
    /// [`StoreError`]: the disk failed, or the size is out of range.
    pub fn write_records(&self, name: &str, record: usize) -> Result<RecordWriter, StoreError> {
        self.write_blocks(self.records(name, record)?)
    }

    pub(super) fn write_blocks(&self, target: RecordFile) -> Result<RecordWriter, StoreError> {
        let file = Self::create(&target.unfinished())?;
        let held = Zeroizing::new(Vec::with_capacity(target.block()));
        Ok(RecordWriter { target, file, held, blocks: 0 })
    }

    /// A file of records that was finished, also before a restart.
    ///
    /// # Errors
    /// [`StoreError`]: the size is out of range.
    pub fn records(&self, name: &str, record: usize) -> Result<RecordFile, StoreError> {
        self.records_in(name, record, BLOCK)
    }

    /// The same in blocks of `room` bytes at most, which has room for a record.
    pub(super) fn records_in(&self, name: &str, record: usize, room: usize) -> Result<RecordFile, StoreError> {
        if !(1..=room.min(4096)).contains(&record) {
            return Err(StoreError::Malformed("size of a record"));
        }
        Ok(RecordFile { files: self.clone(), name: name.to_owned(), record, room })
    }
}

impl RecordFile {
    /// How many records there are.
    ///
    /// # Errors
    /// [`StoreError`]: there is no such file, or its length is not one that this program writes.
    pub fn len(&self) -> Result<u64, StoreError> {
        let length = fs::metadata(self.files.path(&self.name))?.len();
        let (blocks, sealed) = (self.blocks(length), self.sealed_block());
        let last = length.saturating_sub(blocks.saturating_sub(1).saturating_mul(sealed));
        let last = last.checked_sub(seal::OVERHEAD as u64).ok_or(StoreError::File(Fault::Damaged))?;
        let records = self.record as u64;
        if last % records != 0 {
            return Err(StoreError::File(Fault::Damaged));
        }
        Ok(blocks.saturating_sub(1).saturating_mul(self.block() as u64 / records).saturating_add(last / records))
    }

    /// Whether there is none.
    ///
    /// # Errors
    /// As [`RecordFile::len`].
    pub fn is_empty(&self) -> Result<bool, StoreError> {
        Ok(self.len()? == 0)
    }

    /// Reads from the record of number `from` on, which is looked up without reading those before its block.
    ///
    /// # Errors
    /// [`StoreError`]: there is no such file, or it was changed.
    pub fn read_from(&self, from: u64) -> Result<RecordReader, StoreError> {
        let file = File::open(self.files.path(&self.name))?;
        let length = file.metadata()?.len();
        let in_block = self.block() as u64 / self.record as u64;
        let mut reader = RecordReader {
            source: self.clone(),
            file,
            length,
            blocks: self.blocks(length),
            next: from / in_block,
            block: Zeroizing::default(),
            at: 0,
        };
        let skip = (from % in_block) as usize;
        if skip > 0 && reader.fill()? {
            reader.at = skip.saturating_mul(self.record).min(reader.block.len());
        }
        Ok(reader)
    }

    /// Reads all of them.
    ///
    /// # Errors
    /// As [`RecordFile::read_from`].
    pub fn read(&self) -> Result<RecordReader, StoreError> {
        self.read_from(0)
    }

    /// Deletes the file. One that is not there is deleted already.
    pub fn delete(&self) {
        let _ = fs::remove_file(self.files.path(&self.name));
        let _ = fs::remove_file(self.unfinished());
    }

    fn unfinished(&self) -> std::path::PathBuf {
        self.files.path(&format!("{}.part", self.name))
    }

    /// Bytes of records in a full block.
    pub(super) const fn block(&self) -> usize {
        self.room / self.record * self.record
    }

    /// Bytes of a full block on the disk.
    const fn sealed_block(&self) -> u64 {
        (self.block() + seal::OVERHEAD) as u64
    }

    const fn blocks(&self, length: u64) -> u64 {
        length.div_ceil(self.sealed_block())
    }

    /// SECURITY: a block opens at its own place, in the file of its own name, as the last one or not: cut off, moved or
    /// put into another file, it is damaged.
    fn place(&self, block: u64, last: bool) -> Vec<u8> {
        let mut place = (self.record as u32).to_be_bytes().to_vec();
        place.extend(block.to_be_bytes());
        place.push(u8::from(last));
        place.extend(self.name.as_bytes());
        place
    }
}

const TABLE: &str = "session records";

impl RecordWriter {
    /// Adds a record.
    ///
    /// # Errors
    /// [`StoreError`]: the disk failed, or the record has another size.
    pub fn push(&mut self, record: &[u8]) -> Result<(), StoreError> {
        if record.len() != self.target.record {
            return Err(StoreError::Malformed("size of a record"));
        }
        if self.held.len() == self.target.block() {
            self.put(false)?;
        }
        self.held.extend_from_slice(record);
        Ok(())
    }

    /// Puts the file in its place, on the disk before this returns.
    ///
    /// # Errors
    /// [`StoreError`]: the disk failed; there is no such file then, or the earlier one.
    pub fn finish(mut self) -> Result<RecordFile, StoreError> {
        self.put(true)?;
        self.file.sync_all()?;
        let target = self.target.clone();
        fs::rename(target.unfinished(), target.files.path(&target.name))?;
        target.files.sync_folder()?;
        Ok(target)
    }

    fn put(&mut self, last: bool) -> Result<(), StoreError> {
        let place = self.target.place(self.blocks, last);
        let sealed = self.target.files.sealer.seal(TABLE, &place, &self.held)?;
        self.file.write_all(&sealed)?;
        self.held.clear();
        self.blocks = self.blocks.saturating_add(1);
        Ok(())
    }
}

impl RecordReader {
    /// The next record; `None` after the last.
    ///
    /// # Errors
    /// [`StoreError`]: the disk failed, or the file was changed.
    // Lends a part of its block: an iterator cannot.
    #[expect(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<&[u8]>, StoreError> {
        if self.at >= self.block.len() && !self.fill()? {
            return Ok(None);
        }
        let end = self.at.saturating_add(self.source.record);
        let record = self.block.get(self.at..end);
        self.at = end;
        Ok(record)
    }

    /// The records of one block; none beyond the last.
    pub(super) fn block(&mut self, number: u64) -> Result<&[u8], StoreError> {
        self.next = number;
        if !self.fill()? {
            self.block = Zeroizing::default();
        }
        Ok(&self.block)
    }

    /// Opens the next block. Whether there was one with a record in it.
    fn fill(&mut self) -> Result<bool, StoreError> {
        if self.next >= self.blocks {
            // A file of no record has one block: none at all is a file that was cut off.
            return if self.blocks == 0 { Err(StoreError::Seal(SealError::Open)) } else { Ok(false) };
        }
        let size = self.source.sealed_block();
        let start = self.next.saturating_mul(size);
        let mut sealed = vec![0; size.min(self.length.saturating_sub(start)) as usize];
        self.file.read_exact_at(&mut sealed, start)?;
        let place = self.source.place(self.next, self.next.saturating_add(1) == self.blocks);
        self.block = self.source.files.sealer.open(TABLE, &place, &sealed)?;
        self.next = self.next.saturating_add(1);
        self.at = 0;
        Ok(!self.block.is_empty())
    }
}
