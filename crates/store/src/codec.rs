//! The one way in which things are written as bytes before they are hashed or stored: integers big-endian, texts and
//! byte strings after their length.

use crate::StoreError;
use firebreak_domain::{Charge, Delta, Epsilon, Rho};

/// Appends `bytes` after their length.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// A charge as 24 bytes: nano-ρ, δ in 10⁻¹⁸, nano-ε.
pub(crate) fn charge_bytes(charge: &Charge) -> [u8; 24] {
    let mut out = [0; 24];
    let numbers = [charge.rho.nano(), charge.delta.atto(), charge.epsilon.nano()];
    for (to, from) in out.iter_mut().zip(numbers.into_iter().flat_map(u64::to_be_bytes)) {
        *to = from;
    }
    out
}

/// Reads what the functions above wrote. Every error names what was read and nothing of it.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { rest: bytes, what }
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(StoreError::Malformed(self.what))?;
        self.rest = rest;
        Ok(*head)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, StoreError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, StoreError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, StoreError> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, StoreError> {
        self.array().map(i64::from_be_bytes)
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], StoreError> {
        let length = usize::try_from(self.u64()?).map_err(|_| StoreError::Malformed(self.what))?;
        let (head, rest) = self.rest.split_at_checked(length).ok_or(StoreError::Malformed(self.what))?;
        self.rest = rest;
        Ok(head)
    }

    pub(crate) fn charge(&mut self) -> Result<Charge, StoreError> {
        Ok(Charge {
            rho: Rho::from_nano(self.u64()?),
            delta: Delta::from_atto(self.u64()?),
            epsilon: Epsilon::from_nano(self.u64()?),
        })
    }

    /// Nothing may be left over.
    pub(crate) fn end(self) -> Result<(), StoreError> {
        if self.rest.is_empty() { Ok(()) } else { Err(StoreError::Malformed(self.what)) }
    }
}

/// A stored number that is never negative.
pub(crate) fn count(what: &'static str, stored: i64) -> Result<u64, StoreError> {
    u64::try_from(stored).map_err(|_| StoreError::Malformed(what))
}

/// A number as SQLite keeps it; what does not fit was never a real size.
pub(crate) fn stored(what: &'static str, number: u64) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(|_| StoreError::Malformed(what))
}

/// A stored byte string of a fixed length.
pub(crate) fn fixed<const N: usize>(what: &'static str, stored: &[u8]) -> Result<[u8; N], StoreError> {
    stored.try_into().map_err(|_| StoreError::Malformed(what))
}
