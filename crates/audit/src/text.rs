//! The form that leaves, receipts and states share: a line that names the thing and its format, then lines of a key
//! and a value in a fixed order.

use crate::Hash;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use firebreak_domain::{Charge, Delta, Epsilon, FORMAT, Rho, UnknownFormat, check_format};
use std::fmt::Write as _;

/// A text that is not of its form. Names the line, never what stands on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Not UTF-8.
    #[error("not text in UTF-8")]
    NotText,
    /// The first line is another.
    #[error("does not begin with 'firebreak {0} format <number>'")]
    FirstLine(&'static str),
    /// Written by a later program.
    #[error(transparent)]
    UnknownFormat(#[from] UnknownFormat),
    /// A line that has to stand here does not.
    #[error("the line '{0}' is missing or out of place")]
    Line(&'static str),
    /// The value is not of its form, or not written in the one way that counts.
    #[error("the value of the line '{0}' is not of its form")]
    Value(&'static str),
    /// Lines after the last one, or a last line without an end.
    #[error("something follows the last line")]
    Trailing,
    /// Larger than an entry of the log may be.
    #[error("larger than the 65535 bytes that an entry of the log may have")]
    TooLarge,
}

/// The first line of a thing in the present format.
pub(crate) fn first_line(what: &str) -> String {
    format!("firebreak {what} format {FORMAT}\n")
}

/// Adds the line `key value`.
pub(crate) fn put(text: &mut String, key: &str, value: impl std::fmt::Display) {
    // Writing into a String has no way to fail.
    let _ = writeln!(text, "{key} {value}");
}

/// Adds the three lines of a charge, each key led by `prefix`.
pub(crate) fn put_charge(text: &mut String, keys: [&str; 3], charge: &Charge) {
    let [rho, delta, epsilon] = keys;
    put(text, rho, charge.rho.nano());
    put(text, delta, charge.delta.atto());
    put(text, epsilon, charge.epsilon.nano());
}

/// What is left to read of a text.
pub(crate) struct Lines<'a> {
    rest: &'a str,
}

impl<'a> Lines<'a> {
    /// Begins after the first line, which must name `what` and a format that this program reads.
    pub(crate) fn begin(bytes: &'a [u8], what: &'static str) -> Result<Self, TextError> {
        let text = std::str::from_utf8(bytes).map_err(|_| TextError::NotText)?;
        let mut lines = Self { rest: text };
        let first = lines.line().ok_or(TextError::FirstLine(what))?;
        let number = first
            .strip_prefix("firebreak ")
            .and_then(|rest| rest.strip_prefix(what))
            .and_then(|rest| rest.strip_prefix(" format "))
            .ok_or(TextError::FirstLine(what))?;
        let number = integer(number).and_then(|n| u32::try_from(n).ok()).ok_or(TextError::FirstLine(what))?;
        check_format(what, number)?;
        Ok(lines)
    }

    /// The next line without its end; `None` if no complete line is left.
    pub(crate) fn line(&mut self) -> Option<&'a str> {
        let (line, rest) = self.rest.split_once('\n')?;
        self.rest = rest;
        Some(line)
    }

    /// The value of the next line if its key is `key`; otherwise nothing is consumed.
    pub(crate) fn optional(&mut self, key: &str) -> Option<&'a str> {
        let (line, rest) = self.rest.split_once('\n')?;
        let value = line.strip_prefix(key)?.strip_prefix(' ')?;
        self.rest = rest;
        Some(value)
    }

    /// The value of the next line, whose key must be `key`.
    pub(crate) fn value(&mut self, key: &'static str) -> Result<&'a str, TextError> {
        self.optional(key).ok_or(TextError::Line(key))
    }

    /// The value of the next line, read by `parse`.
    pub(crate) fn parsed<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&'a str) -> Option<T>,
    ) -> Result<T, TextError> {
        parse(self.value(key)?).ok_or(TextError::Value(key))
    }

    /// The value of the next line if it has that key, read by `parse`.
    pub(crate) fn parsed_optional<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&'a str) -> Option<T>,
    ) -> Result<Option<T>, TextError> {
        self.optional(key).map(|value| parse(value).ok_or(TextError::Value(key))).transpose()
    }

    /// The three lines of a charge.
    pub(crate) fn charge(&mut self, keys: [&'static str; 3]) -> Result<Charge, TextError> {
        let [rho, delta, epsilon] = keys;
        Ok(Charge {
            rho: Rho::from_nano(self.parsed(rho, integer)?),
            delta: Delta::from_atto(self.parsed(delta, integer)?),
            epsilon: Epsilon::from_nano(self.parsed(epsilon, integer)?),
        })
    }

    /// All that is left.
    pub(crate) const fn rest(&self) -> &'a str {
        self.rest
    }

    /// Nothing may be left.
    pub(crate) const fn end(&self) -> Result<(), TextError> {
        if self.rest.is_empty() { Ok(()) } else { Err(TextError::Trailing) }
    }
}

/// A number as `u64` writes it: no sign, no leading zero.
pub(crate) fn integer(text: &str) -> Option<u64> {
    let canonical = text == "0" || text.starts_with(|c: char| ('1'..='9').contains(&c));
    canonical.then(|| text.parse().ok()).flatten()
}

/// 32 bytes as 64 lower-case hexadecimal digits.
pub(crate) fn hash_from_hex(text: &str) -> Option<Hash> {
    let mut hash = [0; 32];
    hex::decode_to_slice(text, &mut hash).ok()?;
    (!text.bytes().any(|b| b.is_ascii_uppercase())).then_some(hash)
}

/// 32 bytes in base64.
pub(crate) fn hash_from_base64(text: &str) -> Option<Hash> {
    from_base64(text)?.try_into().ok()
}

/// Bytes in padded base64 of the standard alphabet; one text for each.
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// The text that [`from_base64`] reads.
pub(crate) fn to_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}
