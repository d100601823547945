//! The lists of points that a side of a join makes, on the disk and in the order of their bytes.

use super::form::block;
use crate::app::matching::MatchError;
use crate::app::matching::fault::of_peer;
use crate::app::matching::sorting::SORTED_IN_MEMORY;
use firebreak_domain::{ReasonCode, Refusal};
use firebreak_psi::PsiError;
use firebreak_psi::join::{ENTRY, Entry, JoinParty, check_points, label_of};
use firebreak_store::{RecordFile, SessionFiles, Sorted, Sorter, Spool};
use sha2::{Digest, Sha256};
use std::thread;

const OWN: &str = "own-points";
const SENT_ON: &str = "points-sent-on";
/// Points that one thread raises at once.
const BLOCK: usize = 4096;
/// Bytes of a point without its label.
const POINT: usize = 32;
/// Bytes of points that are sent at once, at most: below what a message may hold.
pub(super) const PIECE: usize = 27_000 * ENTRY;

/// A list that was made: its points, each with its label.
#[derive(Clone)]
pub struct JoinList {
    points: RecordFile,
    /// How many there are of each label.
    pub sizes: Vec<u64>,
    /// SHA-256 of all their bytes.
    pub hash: [u8; 32],
}

impl JoinList {
    fn of(points: RecordFile, labels: u16) -> Result<Self, MatchError> {
        let (mut sizes, mut hash) = (vec![0_u64; usize::from(labels)], Sha256::new());
        let mut reader = points.read()?;
        while let Some(point) = reader.next()? {
            hash.update(point);
            let label = point.as_array().map(|point| usize::from(label_of(point)));
            let size = label.and_then(|label| sizes.get_mut(label)).ok_or(MatchError::Failed)?;
            *size = size.saturating_add(1);
        }
        Ok(Self { points, sizes, hash: hash.finalize().into() })
    }

    /// That `offset` is the beginning of a point of it, or its end.
    ///
    /// # Errors
    /// [`MatchError::Fault`].
    pub fn check_offset(&self, offset: u64) -> Result<(), MatchError> {
        let points = self.sizes.iter().fold(0_u64, |all, size| all.saturating_add(*size));
        if offset.is_multiple_of(ENTRY as u64) && offset / ENTRY as u64 <= points {
            return Ok(());
        }
        let refusal = Refusal::new(ReasonCode::SessionMismatch);
        Err(MatchError::Fault(refusal.because("a list of points goes on where it broke off")))
    }

    /// The bytes from `offset` on, whole points and so many as go into a message; none after the last.
    ///
    /// # Errors
    /// [`MatchError`].
    pub fn piece(&self, offset: u64) -> Result<Vec<u8>, MatchError> {
        let mut reader = self.points.read_from(offset / ENTRY as u64)?;
        let mut piece = Vec::with_capacity(PIECE);
        while piece.len() < PIECE
            && let Some(point) = reader.next()?
        {
            piece.extend_from_slice(point);
        }
        Ok(piece)
    }
}

/// A side's own list: its records blinded, and its dummies.
pub(super) fn own(
    party: &JoinParty,
    records: &RecordFile,
    labels: u16,
    files: &SessionFiles,
) -> Result<JoinList, MatchError> {
    let mut sorter = files.sort(OWN, ENTRY, SORTED_IN_MEMORY)?;
    let mut reader = records.read()?;
    loop {
        let (first, second) = (block(&mut reader)?, block(&mut reader)?);
        if first.is_empty() {
            break;
        }
        let (first, second) = both(|| party.blind_records(&first), || party.blind_records(&second))?;
        put(&mut sorter, first.iter().chain(&second))?;
    }
    put(&mut sorter, &party.own_dummies()?)?;
    write(sorter.finish()?, files, OWN)?;
    JoinList::of(files.records(OWN, ENTRY)?, labels)
}

/// The own list that was made, if it was.
pub(super) fn kept_own(labels: u16, files: &SessionFiles) -> Result<Option<JoinList>, MatchError> {
    if !files.holds(OWN) {
        return Ok(None);
    }
    JoinList::of(files.records(OWN, ENTRY)?, labels).map(Some)
}

/// SHA-256 of the points that a side adds to the other's list, in the order of their bytes.
pub(super) fn hash_of_added(added: &[Entry]) -> [u8; 32] {
    let mut added = added.to_vec();
    added.sort_unstable();
    Sha256::digest(added.as_flattened()).into()
}

/// The list that is sent on: the other side's points raised, and those that are added to them.
///
/// # Errors
/// [`MatchError::Fault`] for points of the other side that are none.
pub(super) fn sent_on(
    party: &JoinParty,
    theirs: &Spool,
    added: &[Entry],
    labels: u16,
    files: &SessionFiles,
) -> Result<JoinList, MatchError> {
    if !files.holds(SENT_ON) {
        let mut sorter = files.sort(SENT_ON, ENTRY, SORTED_IN_MEMORY)?;
        for piece in 0..theirs.len() {
            let piece = theirs.get(piece)?;
            let (points, rest) = piece.as_chunks::<ENTRY>();
            if !rest.is_empty() {
                return Err(MatchError::Failed);
            }
            for blocks in points.chunks(2 * BLOCK) {
                let (first, second) = blocks.split_at(blocks.len().div_ceil(2));
                let (first, second) = both(|| party.raise(first), || party.raise(second)).map_err(peers)?;
                put(&mut sorter, first.iter().chain(&second))?;
            }
        }
        put(&mut sorter, added)?;
        write(sorter.finish()?, files, SENT_ON)?;
    }
    JoinList::of(files.records(SENT_ON, ENTRY)?, labels)
}

/// That each point of a piece of the other side's list is one.
///
/// # Errors
/// [`MatchError::Fault`].
pub(super) fn check(piece: &[u8]) -> Result<(), MatchError> {
    let points = piece.len() / ENTRY;
    let (first, second) = piece.split_at(points / 2 * ENTRY);
    both(|| check_points(first), || check_points(second)).map_err(peers)?;
    Ok(())
}

/// Done on two threads.
fn both<T: Send>(
    one: impl FnOnce() -> Result<T, PsiError> + Send,
    other: impl FnOnce() -> Result<T, PsiError>,
) -> Result<(T, T), Halted> {
    let (one, other) = thread::scope(|scope| {
        let one = scope.spawn(one);
        let other = other();
        (one.join(), other)
    });
    Ok((one.map_err(|_| Halted::Died)?.map_err(Halted::Refused)?, other.map_err(Halted::Refused)?))
}

/// Why points were not worked on.
enum Halted {
    Died,
    Refused(PsiError),
}

impl From<Halted> for MatchError {
    fn from(_: Halted) -> Self {
        Self::Failed
    }
}

fn peers(halted: Halted) -> MatchError {
    match halted {
        Halted::Refused(error) => of_peer(error),
        Halted::Died => MatchError::Failed,
    }
}

fn put<'a>(sorter: &mut Sorter, points: impl IntoIterator<Item = &'a Entry>) -> Result<(), MatchError> {
    for point in points {
        sorter.push(point)?;
    }
    Ok(())
}

/// Writes sorted points, of which none may come twice: the counting refuses a list in which one does.
fn write(mut sorted: Sorted, files: &SessionFiles, name: &str) -> Result<(), MatchError> {
    let mut written = files.write_records(name, ENTRY)?;
    let mut last: Option<[u8; POINT]> = None;
    while let Some(point) = sorted.next()? {
        let bytes = point.first_chunk().copied();
        if bytes == last {
            return Err(MatchError::Failed);
        }
        last = bytes;
        written.push(point)?;
    }
    written.finish()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use firebreak_psi::join::{JoinParams, JoinSession, JoinSide};
    use firebreak_psi::{SecretSeed, SessionId};

    #[test]
    fn a_point_that_is_none_is_found_wherever_it_stands_in_a_piece() {
        let session = JoinSession { id: SessionId::from_bytes([1; 16]), terms: [2; 32] };
        let params = JoinParams::new(3, 3, vec![1, 2, 4, 2, 1]).unwrap();
        let seed = SecretSeed::from_bytes([3; 32]);
        let mut points = JoinParty::of(session, JoinSide::Left, &seed, params).unwrap().own_dummies().unwrap();
        assert!(points.len() > 2, "{} points are too few to tell", points.len());
        for count in 0..=points.len() {
            assert!(check(points[..count].as_flattened()).is_ok(), "{count} points");
        }
        for place in 0..points.len() {
            let point = points[place];
            points[place][..POINT].fill(0xff);
            let MatchError::Fault(refusal) = check(points.as_flattened()).unwrap_err() else { panic!("{place}") };
            assert_eq!(refusal.reason, ReasonCode::HostileInput, "{place}");
            points[place] = point;
        }
    }
}
