//! Comparing the own tags with the sender's, when there is nobody left who could see how long that takes.

use super::PayloadReport;
use super::form::persons;
use super::held::Theirs;
use super::shared::SharedPlaces;
use crate::app::App;
use crate::app::matching::MatchError;
use crate::app::matching::sorting::SORTED_IN_MEMORY;
use firebreak_domain::{AgreementId, PayloadLayout, PurposeId};
use firebreak_psi::{MatchParams, PayloadKey};
use firebreak_records::{AtPlace, Behind, Compared, Matched, OwnTag, RowStatus, read_key};
use firebreak_store::{Participation, SessionFiles, Sorted, Spool, State};
use zeroize::Zeroizing;

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
    let (length, with_keys) = (params.tag_bytes(), layout.is_some());
    // Of a small set no more is made room for, and wiped, than there is.
    let room = |record: usize| SORTED_IN_MEMORY.min(record.saturating_mul(params.receiver_padded() as usize));
    let size = Compared::bytes(length, with_keys);
    let mut tags = files.sort("compared", size, room(size))?;
    let mut record = Zeroizing::new(Vec::with_capacity(size));
    let mut place: u32 = 0;
    for chunk in 0..own.len() {
        let chunk = own.get(chunk)?;
        let chunk = OwnTag::read_all(&chunk, params.chunk_elements(), length, with_keys);
        for own in chunk.ok_or(MatchError::Failed)? {
            record.clear();
            Compared { own, place }.put(&mut record);
            tags.push(&record)?;
            place = place.saturating_add(1);
        }
    }
    let mut tags = tags.finish()?;
    let size = AtPlace::bytes(RowStatus::bytes(layout));
    let mut places = files.sort("places", size, room(size))?;
    // Another, in its own length: what a vector leaves behind as it grows is not wiped, and a row's key stands in that.
    let mut matched = Zeroizing::new(Vec::with_capacity(size));
    let mut search = theirs.search(params)?;
    while let Some(tag) = tags.next()? {
        let Compared { own, place } = Compared::read(tag, length, with_keys).ok_or(MatchError::Failed)?;
        if let Some(sealed) = search.sealed_behind(own.tag)? {
            let status = opened(layout, own, sealed)?;
            matched.clear();
            AtPlace { place, status: &status }.put(&mut matched);
            places.push(&matched)?;
        }
    }
    behind(state, places.finish()?, layout, files)
}

/// What the row behind a tag that matched comes to; nothing without a payload.
///
/// PRIVACY: it comes after the receiver's last message. Whatever a row holds, the sender hears nothing of it.
fn opened(layout: Option<&PayloadLayout>, own: OwnTag<'_>, sealed: &[u8]) -> Result<Status, MatchError> {
    let Some(layout) = layout else { return Ok(Zeroizing::default()) };
    let key = PayloadKey::from_bytes(*own.key.ok_or(MatchError::Failed)?);
    Ok(RowStatus::open(layout, own.tag, &key, sealed))
}

/// The keys of the persons who stand behind those places, in the order of the register.
fn behind(
    state: &State,
    mut places: Sorted,
    layout: Option<&PayloadLayout>,
    files: &SessionFiles,
) -> Result<Sorted, MatchError> {
    let mut reader = persons(files)?.read()?;
    let size = Matched::bytes(RowStatus::bytes(layout));
    let mut matched = files.sort("matched", size, SORTED_IN_MEMORY)?;
    let mut record = Zeroizing::new(Vec::with_capacity(size));
    let mut place = next_place(&mut places)?;
    let mut shared = SharedPlaces::of(files)?;
    let nothing = layout.map(RowStatus::undisclosed).unwrap_or_default();
    while let Some(person) = reader.next()? {
        let person = Behind::read(person).ok_or(MatchError::Failed)?;
        while place.as_ref().is_some_and(|(place, _)| *place < person.place) {
            place = next_place(&mut places)?;
        }
        if let Some((_, status)) = place.as_ref().filter(|(place, _)| *place == person.place) {
            // PRIVACY: of several own persons with one identifier it is not known whose row this is: none has it.
            let status = if shared.hold(person.place)? { &nothing } else { status };
            let index = state.place_in_register(&read_key(person.key).ok_or(MatchError::Failed)?);
            record.clear();
            Matched { index: &index, key: person.key, status }.put(&mut record);
            matched.push(&record)?;
        }
    }
    Ok(matched.finish()?)
}

/// What a row came to, as it was written down.
type Status = Zeroizing<Vec<u8>>;

/// The next place that matched, and what its row came to.
fn next_place(places: &mut Sorted) -> Result<Option<(u32, Status)>, MatchError> {
    let Some(record) = places.next()? else { return Ok(None) };
    let AtPlace { place, status } = AtPlace::read(record).ok_or(MatchError::Failed)?;
    Ok(Some((place, Zeroizing::new(status.to_vec()))))
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
                let Matched { key, status, .. } = Matched::read(record).ok_or(MatchError::Failed)?;
                let person = read_key(key).ok_or(MatchError::Failed)?;
                if !who.allows(&self.state.person_reference(&person)) {
                    registered.late = registered.late.saturating_add(1);
                    continue;
                }
                if let Some(layout) = layout {
                    let counted = match RowStatus::read(layout, status).ok_or(MatchError::Failed)? {
                        RowStatus::Values(values) => {
                            disclosed.push((person.clone(), Zeroizing::new(layout.texts(&values))));
                            &mut registered.payload.disclosed
                        }
                        RowStatus::Undisclosed => &mut registered.payload.undisclosed,
                        RowStatus::Unreadable => &mut registered.payload.unreadable,
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
