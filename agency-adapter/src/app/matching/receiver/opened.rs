//! What a sealed row comes to, as it is written down between the comparison and the register.

use crate::app::matching::MatchError;
use firebreak_domain::{PayloadLayout, PayloadRow};
use firebreak_psi::PayloadKey;
use zeroize::Zeroizing;

/// A row that can be read follows.
const READ: u8 = 1;
/// It was not sealed as agreed; as many zeros follow.
const UNREADABLE: u8 = 0;

/// What came of a matched person.
pub(super) enum Opened {
    /// The person's values.
    Values(Vec<Option<i64>>),
    /// Nothing is disclosed.
    Undisclosed,
    /// The row does not open, or is none of the agreed form.
    Unreadable,
}

/// Bytes of what a row came to; none without a payload.
pub(super) fn status_bytes(layout: Option<&PayloadLayout>) -> usize {
    layout.map_or(0, |layout| layout.row_bytes().saturating_add(1))
}

/// Opens the row of a tag that matched.
///
/// PRIVACY: it comes after the receiver's last message. Whatever a row holds, the sender hears nothing of it.
pub(super) fn opened(
    layout: Option<&PayloadLayout>,
    tag: &[u8],
    key: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, MatchError> {
    let Some(layout) = layout else { return Ok(Zeroizing::default()) };
    let key = PayloadKey::from_bytes(key.try_into().map_err(|_| MatchError::Failed)?);
    let mut status = Zeroizing::new(Vec::with_capacity(status_bytes(Some(layout))));
    match key.open(tag, sealed).filter(|row| layout.decode(row).is_some()) {
        Some(row) => {
            status.push(READ);
            status.extend_from_slice(&row);
        }
        None => {
            status.push(UNREADABLE);
            status.extend_from_slice(&layout.empty());
        }
    }
    Ok(status)
}

impl Opened {
    /// What is written down where nothing is disclosed.
    pub(super) fn undisclosed(layout: Option<&PayloadLayout>) -> Vec<u8> {
        layout.map_or_else(Vec::new, |layout| [&[READ], layout.empty().as_slice()].concat())
    }

    /// Reads what was written down.
    pub(super) fn read(layout: &PayloadLayout, status: &[u8]) -> Result<Self, MatchError> {
        let (read, row) = status.split_first().ok_or(MatchError::Failed)?;
        if *read == UNREADABLE {
            return Ok(Self::Unreadable);
        }
        match layout.decode(row).ok_or(MatchError::Failed)? {
            PayloadRow::Values(values) => Ok(Self::Values(values)),
            PayloadRow::Empty => Ok(Self::Undisclosed),
        }
    }
}
