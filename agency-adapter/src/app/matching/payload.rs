//! The payload of a match: which columns of the sender's go with the tags, and how both sides write them.

use super::MatchError;
use crate::source::{EncodedColumn, MISSING, Rows};
use firebreak_domain::{ColumnName, Contract, MatchTerms, PayloadLayout, ReasonCode, Refusal};
use firebreak_psi::{MatchParams, PsiError};
use firebreak_store::SessionFiles;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// What both sides of a session must mean alike by its payload. The default is a match without one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PayloadOffer {
    /// The number of the form in which rows are written; 0 for no payload.
    pub format: u32,
    /// The sender's columns, in their order.
    pub columns: Vec<String>,
    /// Bytes of every row before it is sealed.
    pub row_bytes: u32,
    /// SHA-256 of what the bytes of a row stand for ([`PayloadLayout::meaning`]).
    pub meaning: Vec<u8>,
}

/// The payload that an agreement names.
pub(super) struct Payload {
    layout: PayloadLayout,
    columns: Vec<ColumnName>,
    retention_days: u32,
}

impl Payload {
    /// That of a match; `None` where the agreement names none.
    ///
    /// # Errors
    /// `COLUMN_NOT_COVERED` for columns that make no payload.
    pub(super) fn of(terms: &MatchTerms, sender: &Contract) -> Result<Option<Self>, Refusal> {
        let Some(payload) = &terms.payload else { return Ok(None) };
        let layout = PayloadLayout::of(sender, &payload.columns)
            .map_err(|error| Refusal::new(ReasonCode::ColumnNotCovered).because(error.to_string()))?;
        Ok(Some(Self { layout, columns: payload.columns.clone(), retention_days: payload.retention_days }))
    }

    /// How rows are written.
    pub(super) const fn layout(&self) -> &PayloadLayout {
        &self.layout
    }

    /// The sender's columns.
    pub(super) fn columns(&self) -> &[ColumnName] {
        &self.columns
    }

    /// Days for which the receiver keeps what it got.
    pub(super) const fn retention_days(&self) -> u32 {
        self.retention_days
    }

    fn row_bytes(&self) -> u32 {
        u32::try_from(self.layout.row_bytes()).unwrap_or(u32::MAX)
    }
}

/// What the receiver names, and the sender compares.
pub(super) fn offer(payload: Option<&Payload>) -> PayloadOffer {
    payload.map_or_else(PayloadOffer::default, |payload| PayloadOffer {
        format: PayloadLayout::FORMAT,
        columns: payload.columns.iter().map(ToString::to_string).collect(),
        row_bytes: payload.row_bytes(),
        // A contract may come to read a row of the same length otherwise, and what was formed before stays.
        meaning: Sha256::digest(payload.layout.meaning().as_bytes()).to_vec(),
    })
}

/// The session's parameters with the rows of its payload, if it has one.
pub(super) fn with_payload(params: MatchParams, payload: Option<&Payload>) -> Result<MatchParams, PsiError> {
    payload.map_or(Ok(params), |payload| params.with_rows(payload.row_bytes()))
}

/// The columns of a payload among those of a batch of rows.
pub(super) struct PayloadReader<'a> {
    layout: &'a PayloadLayout,
    columns: Vec<&'a EncodedColumn>,
}

impl<'a> PayloadReader<'a> {
    /// Over a batch of the sender's rows.
    ///
    /// # Errors
    /// [`MatchError::Failed`] if the batch has not got a column.
    pub(super) fn over(layout: &'a PayloadLayout, rows: &'a Rows) -> Result<Self, MatchError> {
        let find = |name: &ColumnName| rows.columns.iter().find(|column| column.name() == name);
        let columns = layout.columns().map(|name| find(name).ok_or(MatchError::Failed));
        Ok(Self { layout, columns: columns.collect::<Result<_, _>>()? })
    }

    /// The row of that number, as it is sealed.
    pub(super) fn row(&self, row: usize) -> Zeroizing<Vec<u8>> {
        let value = |column: &&EncodedColumn| column.values().get(row).copied().filter(|value| *value != MISSING);
        Zeroizing::new(self.layout.encode(self.columns.iter().map(value)))
    }
}

/// Keeps, at the sender, the payload with which a session was begun. Afterwards it must be the same: what was formed
/// holds the rows of that one.
///
/// # Errors
/// `SESSION_MISMATCH` for another payload.
pub(super) fn keep_offer(files: &SessionFiles, payload: Option<&Payload>) -> Result<(), MatchError> {
    const NAME: &str = "payload";
    let begun = files.holds(NAME);
    if payload.is_none() && !begun {
        return Ok(());
    }
    let offer = offer(payload);
    let stated = stated(&offer);
    let mut spool = files.spool(NAME)?;
    if !begun && !files.holds("set") {
        return Ok(spool.add(stated.as_bytes())?);
    }
    if !spool.is_empty() && spool.get(0)?.as_slice() == stated.as_bytes() {
        return Ok(());
    }
    let refusal = Refusal::new(ReasonCode::SessionMismatch);
    Err(refusal.because("this session was begun with another payload: begin a new match").into())
}

/// An offer as it is kept: no name of a column has a space.
fn stated(offer: &PayloadOffer) -> String {
    format!("{} {} {} {}", offer.format, offer.row_bytes, hex::encode(&offer.meaning), offer.columns.join(" "))
}

/// What a session's set is formed from, as far as its payload is concerned: nothing for none.
pub(super) fn described(payload: Option<&Payload>) -> String {
    payload.map_or_else(String::new, |payload| format!("\npayload {}", stated(&offer(Some(payload)))))
}
