//! A chunk as either side keeps it: whoever asks again is given the same bytes.

use crate::fields::Fields;

/// A chunk, as it was sent or answered.
#[derive(Clone, Copy)]
pub struct KeptChunk<'a> {
    /// Its number.
    pub number: u32,
    /// What was sent.
    pub sent: &'a [u8],
}

impl<'a> KeptChunk<'a> {
    /// The record.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        [self.number.to_be_bytes().as_slice(), self.sent].concat()
    }

    /// Reads it.
    #[must_use]
    pub fn read(record: &'a [u8]) -> Option<Self> {
        let mut fields = Fields::of(record);
        Some(Self { number: fields.u32()?, sent: fields.rest() })
    }
}
