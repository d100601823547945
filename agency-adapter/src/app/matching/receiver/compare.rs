//! Comparing the own tags with the sender's, when there is nobody left who could see how long that takes.

use super::form::{persons, place_and_key};
use super::list::List;
use crate::app::App;
use crate::app::matching::records::{KEY, SORTED_IN_MEMORY, key};
use crate::app::matching::{CHUNK_ELEMENTS, MatchError};
use firebreak_domain::{AgreementId, PurposeId};
use firebreak_psi::MatchParams;
use firebreak_store::{Participation, RecordFile, SessionFiles, Spool};
use std::cmp::Ordering;
use zeroize::Zeroizing;

/// Bytes of a place's number.
const PLACE: usize = 4;
/// Persons that are written into the register at once.
const TOGETHER: usize = 10_000;

/// Compares, and writes down the keys of the persons who stand behind a place that matched.
pub(super) fn compare(
    params: &MatchParams,
    own: &Spool,
    list: &List,
    files: &SessionFiles,
) -> Result<RecordFile, MatchError> {
    let length = params.tag_bytes();
    let mut tags = files.sort("compared", length.saturating_add(PLACE), SORTED_IN_MEMORY)?;
    let mut record = Zeroizing::new(Vec::with_capacity(length.saturating_add(PLACE)));
    let mut place: u32 = 0;
    for chunk in 0..own.len() {
        let piece = own.get(chunk)?;
        let (whole, count) = (piece.chunks_exact(length), piece.len() / length);
        if count != CHUNK_ELEMENTS as usize || !whole.remainder().is_empty() {
            return Err(MatchError::Failed);
        }
        for tag in whole {
            record.clear();
            record.extend_from_slice(tag);
            record.extend_from_slice(&place.to_be_bytes());
            tags.push(&record)?;
            place = place.saturating_add(1);
        }
    }
    let mut tags = tags.finish()?;
    let mut places = files.sort("places", PLACE, SORTED_IN_MEMORY)?;
    let mut theirs = list.tags(length);
    let mut their = theirs.next().transpose()?;
    while let Some(record) = tags.next()? {
        let (tag, place) = record.split_at_checked(length).ok_or(MatchError::Failed)?;
        while their.as_ref().is_some_and(|their| their.as_slice() < tag) {
            their = theirs.next().transpose()?;
        }
        if their.as_ref().is_some_and(|their| their.as_slice() == tag) {
            places.push(place)?;
        }
    }
    behind(places.finish()?, files)
}

/// The keys of the persons who stand behind those places.
fn behind(mut places: firebreak_store::Sorted, files: &SessionFiles) -> Result<RecordFile, MatchError> {
    let mut reader = persons(files)?.read()?;
    let mut matched = files.write_records("matched", KEY)?;
    let mut place = next_place(&mut places)?;
    while let Some(record) = reader.next()? {
        let (of, key) = place_and_key(record).ok_or(MatchError::Failed)?;
        while place.is_some_and(|place| place.cmp(&of) == Ordering::Less) {
            place = next_place(&mut places)?;
        }
        if place == Some(of) {
            matched.push(key)?;
        }
    }
    Ok(matched.finish()?)
}

fn next_place(places: &mut firebreak_store::Sorted) -> Result<Option<u32>, MatchError> {
    Ok(places.next()?.and_then(|place| place.try_into().ok()).map(u32::from_be_bytes))
}

impl App {
    /// Writes the matched persons who take part into the register, of which either all are there or none. Gives how many
    /// they are, and how many matched and do not take part any more.
    pub(super) async fn register_matched(
        &self,
        session: &[u8; 32],
        purpose: &PurposeId,
        agreement: &AgreementId,
        matched: &RecordFile,
        who: &Participation,
    ) -> Result<(u64, u64), MatchError> {
        let mut reader = matched.read()?;
        let (mut count, mut late): (u64, u64) = (0, 0);
        loop {
            let mut some = Vec::with_capacity(TOGETHER);
            while some.len() < TOGETHER
                && let Some(record) = reader.next()?
            {
                let key = key(record)?;
                if who.allows(&self.state.person_reference(&key)) {
                    some.push(key);
                } else {
                    late = late.saturating_add(1);
                }
            }
            self.state.record_matched(session, purpose, agreement, &some).await?;
            count = count.saturating_add(some.len() as u64);
            if some.len() < TOGETHER {
                break;
            }
        }
        self.state.complete_matched(session).await?;
        Ok((count, late))
    }
}
