//! Comparing the own tags with the sender's, when there is nobody left who could see how long that takes.

use super::PayloadReport;
use super::form::{Behind, persons};
use super::held::Theirs;
use super::opened::{Opened, opened, status_bytes};
use super::shared::SharedPlaces;
use crate::app::App;
use crate::app::matching::MatchError;
use crate::app::matching::records::{KEY, SORTED_IN_MEMORY, key as read_key};
use firebreak_domain::{AgreementId, PayloadLayout, PurposeId};
use firebreak_psi::{MatchParams, PAYLOAD_KEY_BYTES};
use firebreak_store::{Participation, RecordReader, SessionFiles, Sorted, Spool, State};
use std::cmp::Ordering;
use zeroize::Zeroizing;

/// Bytes of a place's number.
const PLACE: usize = 4;
/// Bytes of a person's place in the register.
const INDEX: usize = 32;
/// Persons that are written into the register at once.
const TOGETHER: usize = 10_000;

/// Compares. Gives the keys of the persons who stand behind a place that matched, each with what its row came to if the
/// match has a payload, in the order of the register of `state`: written into it in any other, a million persons touch
/// each of its pages over and over.
pub(super) fn compare(
    state: &State,
    params: &MatchParams,
    own: &Spool,
    theirs: &Theirs,
    layout: Option<&PayloadLayout>,
    files: &SessionFiles,
) -> Result<Sorted, MatchError> {
    let length = params.tag_bytes();
    let key_bytes = layout.map_or(0, |_| PAYLOAD_KEY_BYTES);
    let (kept, size) = (length.saturating_add(key_bytes), length.saturating_add(PLACE).saturating_add(key_bytes));
    // Of a small set no more is made room for, and wiped, than there is.
    let room = |record: usize| SORTED_IN_MEMORY.min(record.saturating_mul(params.receiver_padded() as usize));
    let mut tags = files.sort("compared", size, room(size))?;
    let mut record = Zeroizing::new(Vec::with_capacity(size));
    let mut place: u32 = 0;
    for chunk in 0..own.len() {
        let piece = own.get(chunk)?;
        let (whole, count) = (piece.chunks_exact(kept), piece.len() / kept);
        if count != params.chunk_elements() as usize || !whole.remainder().is_empty() {
            return Err(MatchError::Failed);
        }
        for one in whole {
            let (tag, key) = one.split_at_checked(length).ok_or(MatchError::Failed)?;
            record.clear();
            record.extend_from_slice(tag);
            record.extend_from_slice(&place.to_be_bytes());
            record.extend_from_slice(key);
            tags.push(&record)?;
            place = place.saturating_add(1);
        }
    }
    let mut tags = tags.finish()?;
    let status = status_bytes(layout);
    let size = PLACE.saturating_add(status);
    let mut places = files.sort("places", size, room(size))?;
    let mut search = theirs.search(params)?;
    while let Some(record) = tags.next()? {
        let (tag, behind) = record.split_at_checked(length).ok_or(MatchError::Failed)?;
        let (place, key) = behind.split_at_checked(PLACE).ok_or(MatchError::Failed)?;
        if let Some(sealed) = search.sealed_behind(tag)? {
            let status = opened(layout, tag, key, sealed)?;
            places.push(&Zeroizing::new([place, status.as_slice()].concat()))?;
        }
    }
    behind(state, places.finish()?, layout, files)
}

/// The keys of the persons who stand behind those places, in the order of the register.
fn behind(
    state: &State,
    mut places: Sorted,
    layout: Option<&PayloadLayout>,
    files: &SessionFiles,
) -> Result<Sorted, MatchError> {
    let mut reader = persons(files)?.read()?;
    let record = INDEX.saturating_add(KEY).saturating_add(status_bytes(layout));
    let mut matched = files.sort("matched", record, SORTED_IN_MEMORY)?;
    let mut place = next_place(&mut places)?;
    let mut shared = SharedPlaces::of(files)?;
    while let Some((of, key)) = next_person(&mut reader)? {
        while place.as_ref().is_some_and(|(place, _)| place.cmp(&of) == Ordering::Less) {
            place = next_place(&mut places)?;
        }
        if let Some((_, status)) = place.as_ref().filter(|(place, _)| *place == of) {
            // PRIVACY: of several own persons with one identifier it is not known whose row this is: none has it.
            let nothing = Opened::undisclosed(layout);
            let status = if shared.hold(of)? { nothing.as_slice() } else { status.as_slice() };
            let index = state.place_in_register(&read_key(&key)?);
            matched.push(&Zeroizing::new([index.as_slice(), &key, status].concat()))?;
        }
    }
    Ok(matched.finish()?)
}

type Bytes = Zeroizing<Vec<u8>>;

/// The next place that matched, and what its row came to.
fn next_place(places: &mut Sorted) -> Result<Option<(u32, Bytes)>, MatchError> {
    let Some((place, status)) = places.next()?.and_then(|record| record.split_first_chunk()) else { return Ok(None) };
    Ok(Some((u32::from_be_bytes(*place), Zeroizing::new(status.to_vec()))))
}

/// The next place with somebody behind it, and the key of one of them.
fn next_person(reader: &mut RecordReader) -> Result<Option<(u32, Bytes)>, MatchError> {
    let Some(record) = reader.next()? else { return Ok(None) };
    let Behind { place, key, .. } = Behind::read(record).ok_or(MatchError::Failed)?;
    Ok(Some((place, Zeroizing::new(key.to_vec()))))
}

/// What was written into the register.
#[derive(Default)]
pub(super) struct Registered {
    /// Persons matched.
    pub(super) matched: u64,
    /// Persons who matched and do not take part any more.
    pub(super) late: u64,
    /// What was disclosed of the former.
    pub(super) payload: PayloadReport,
}

impl App {
    /// Writes the persons of [`compare`] who take part into the register, of which either all are there or none, and
    /// keeps what was disclosed of them.
    pub(super) async fn register_matched(
        &self,
        session: &[u8; 32],
        purpose: &PurposeId,
        agreement: &AgreementId,
        matched: &mut Sorted,
        layout: Option<&PayloadLayout>,
        who: &Participation,
    ) -> Result<Registered, MatchError> {
        // PRIVACY: who was restricted since a first attempt broke off is not to stay from it.
        self.state.forget_incomplete(session).await?;
        let mut registered = Registered::default();
        loop {
            let (mut some, mut disclosed) = (Vec::with_capacity(TOGETHER), Vec::new());
            while some.len() < TOGETHER
                && let Some(record) = matched.next()?
            {
                let record = record.get(INDEX..).ok_or(MatchError::Failed)?;
                let (person, status) = record.split_at_checked(KEY).ok_or(MatchError::Failed)?;
                let person = read_key(person)?;
                if !who.allows(&self.state.person_reference(&person)) {
                    registered.late = registered.late.saturating_add(1);
                    continue;
                }
                if let Some(layout) = layout {
                    let counted = match Opened::read(layout, status)? {
                        Opened::Values(values) => {
                            disclosed.push((person.clone(), Zeroizing::new(layout.texts(&values))));
                            &mut registered.payload.disclosed
                        }
                        Opened::Undisclosed => &mut registered.payload.undisclosed,
                        Opened::Unreadable => &mut registered.payload.unreadable,
                    };
                    *counted = counted.saturating_add(1);
                }
                some.push(person);
            }
            self.state.record_matched(session, purpose, agreement, &some).await?;
            self.state.record_disclosed(session, &disclosed).await?;
            registered.matched = registered.matched.saturating_add(some.len() as u64);
            if some.len() < TOGETHER {
                break;
            }
        }
        self.state.complete_matched(session).await?;
        Ok(registered)
    }
}
