//! Pieces in the order in which they came, each on the disk before it is told to be there.

use super::SessionFiles;
use crate::{StoreError, seal};
use std::cmp::Ordering;
use std::{
    fs::{File, OpenOptions},
    os::unix::fs::{FileExt, OpenOptionsExt},
};
use zeroize::Zeroizing;

/// Bytes of a piece's sealed length, before the piece.
const LENGTH: u64 = 4;
/// Bytes of a piece, at most.
const LARGEST: usize = 16 * 1024 * 1024;
const TABLE: &str = "session pieces";

/// A file to which pieces are added and from which each can be read again, also after a restart.
pub struct Spool {
    files: SessionFiles,
    name: String,
    file: File,
    /// Where each piece begins, and after them where the next one goes.
    starts: Vec<u64>,
}

impl SessionFiles {
    /// Opens the spool of that name, empty if there is none. A piece that a program was adding when it was killed is
    /// not in it, unless it was told to be.
    ///
    /// In a file that somebody changed, the pieces may end before the change: nothing tells a length that was changed
    /// from one that was being written. Those before it are as they were, or do not open.
    ///
    /// # Errors
    /// [`StoreError`]: the disk failed.
    pub fn spool(&self, name: &str) -> Result<Spool, StoreError> {
        let path = self.path(name);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        self.sync_folder()?;
        let length = file.metadata()?.len();
        let mut spool = Spool { files: self.clone(), name: name.to_owned(), file, starts: vec![0] };
        while let Some(next) = spool.piece_after(length)? {
            spool.starts.push(next);
        }
        // Of what was being written when the program ended any part may be there: the last piece counts if it opens.
        if let Some(last) = spool.len().checked_sub(1) {
            match spool.get(last) {
                Err(StoreError::Seal(_)) => drop(spool.starts.pop()),
                piece => drop(piece?),
            }
        }
        spool.file.set_len(spool.end())?;
        spool.file.sync_all()?;
        Ok(spool)
    }
}

impl Spool {
    /// How many pieces there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a piece of at most 16 MiB. It is on the disk when this returns.
    ///
    /// # Errors
    /// [`StoreError`]: the piece is not there.
    pub fn add(&mut self, piece: &[u8]) -> Result<(), StoreError> {
        if piece.len() > LARGEST {
            return Err(StoreError::Malformed("size of a piece"));
        }
        let sealed = self.files.sealer.seal(TABLE, &self.place(self.len()), piece)?;
        // INVARIANT: 16 MiB and what sealing adds fit into 32 bits.
        let written = [(sealed.len() as u32).to_be_bytes().as_slice(), &sealed].concat();
        let start = self.end();
        self.file.write_all_at(&written, start)?;
        self.file.sync_data()?;
        self.starts.push(start.saturating_add(written.len() as u64));
        Ok(())
    }

    /// Adds the piece of that number, the next one, as [`Spool::add`] does. One that is there already stays as it is.
    ///
    /// # Errors
    /// [`StoreError`]: the piece is not there; also where one before it is not.
    pub fn keep(&mut self, number: usize, piece: &[u8]) -> Result<(), StoreError> {
        match number.cmp(&self.len()) {
            Ordering::Less => Ok(()),
            Ordering::Equal => self.add(piece),
            Ordering::Greater => Err(StoreError::Malformed("number of a piece")),
        }
    }

    /// The piece of that number, from 0.
    ///
    /// # Errors
    /// [`StoreError`]: there is no such piece, or it was changed.
    pub fn get(&self, number: usize) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        let bounds = self.starts.get(number).zip(self.starts.get(number.saturating_add(1)));
        let (start, end) = bounds.ok_or(StoreError::Malformed("number of a piece"))?;
        let start = start.saturating_add(LENGTH);
        let mut sealed = vec![0; end.saturating_sub(start) as usize];
        self.file.read_exact_at(&mut sealed, start)?;
        Ok(self.files.sealer.open(TABLE, &self.place(number), &sealed)?)
    }

    /// Where the piece after the last known one ends, in a file of that length; `None` if there is no whole one.
    fn piece_after(&self, length: u64) -> Result<Option<u64>, StoreError> {
        let start = self.end();
        let content = start.saturating_add(LENGTH);
        if content > length {
            return Ok(None);
        }
        let mut size = [0; LENGTH as usize];
        self.file.read_exact_at(&mut size, start)?;
        let size = u32::from_be_bytes(size) as usize;
        let end = content.saturating_add(size as u64);
        let plausible = (seal::OVERHEAD..=LARGEST.saturating_add(seal::OVERHEAD)).contains(&size) && end <= length;
        Ok(plausible.then_some(end))
    }

    fn end(&self) -> u64 {
        self.starts.last().copied().unwrap_or_default()
    }

    fn place(&self, number: usize) -> Vec<u8> {
        [&(number as u64).to_be_bytes(), self.name.as_bytes()].concat()
    }
}
