//! Bytes that are taken one field after another.

use zeroize::Zeroizing;

/// What is left of a record.
pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) const fn of(record: &'a [u8]) -> Self {
        Self(record)
    }

    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(head)
    }

    #[inline]
    pub(crate) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().copied().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().copied().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().copied().map(u64::from_be_bytes)
    }

    pub(crate) fn i64(&mut self) -> Option<i64> {
        self.array().copied().map(i64::from_be_bytes)
    }

    /// Bytes behind their length, which is written in eight.
    pub(crate) fn part(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.u64()?).ok()?;
        self.take(length)
    }

    /// All that is left.
    pub(crate) const fn rest(self) -> &'a [u8] {
        self.0
    }

    /// Nothing may be left.
    pub(crate) fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

/// Adds bytes behind their length.
pub(crate) fn put_part(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// `bytes`, their length before them and zeros behind.
pub(crate) fn put_padded<const ROOM: usize>(length: u8, bytes: &[u8]) -> Zeroizing<[u8; ROOM]> {
    let mut record = Zeroizing::new([0; ROOM]);
    for (to, from) in record.iter_mut().zip(std::iter::once(&length).chain(bytes)) {
        *to = *from;
    }
    record
}

/// What was put there.
#[inline]
pub(crate) fn padded<const ROOM: usize>(record: &[u8; ROOM]) -> Option<&[u8]> {
    let (length, bytes) = record.split_first()?;
    let (bytes, zeros) = bytes.split_at_checked(usize::from(*length))?;
    zeros.iter().all(|zero| *zero == 0).then_some(bytes)
}
