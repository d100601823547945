//! What a sender keeps of a session on the disk: its set, what it evaluated, and its list.

use super::MatchError;
use super::payload::PayloadReader;
use super::sorting::{SORTED_IN_MEMORY, distinct};
use crate::datasets::RowsToMatch;
use firebreak_domain::{PayloadLayout, ReasonCode, Refusal};
use firebreak_psi::{Evaluator, NormalisedInput, Normaliser};
use firebreak_records::{EvaluatedChunk, ITEM, OfferedEntry, OfferedRecord, PERSON, SentPiece, item_record, read_item};
use firebreak_store::{Participation, PersonReference, RecordFile, RecordReader, SessionFiles, Sorter, Spool};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::thread;
use tokio::task::block_in_place;
use zeroize::Zeroizing;

/// Records of which one thread makes the tags at once.
const BLOCK: usize = 4096;
/// Bytes of tags that are sent at once, at most.
const PIECE: usize = 256 * 1024;

/// Behind a tag that fills the list up stands nobody.
const NOBODY: PersonReference = [0; PERSON];
/// A person whom the register has no key of: nothing can be recorded of them, and so no consent.
const UNNAMED: PersonReference = [0xff; PERSON];

/// The set: identifiers, who stands behind each, and the row that goes with the tag if the match has a payload, in the
/// order of their bytes. It is formed once for a session.
#[derive(Clone)]
pub(super) struct OfferedSet {
    records: RecordFile,
    /// The row that holds nothing; of no byte without a payload.
    nothing: Vec<u8>,
    /// How many identifiers there are.
    pub(super) identifiers: u64,
}

impl OfferedSet {
    /// Forms it from `rows`, or takes the one that was formed.
    pub(super) async fn form<'a>(
        rows: impl AsyncFnOnce() -> Result<RowsToMatch<'a>, MatchError>,
        reference: impl Fn(&str) -> PersonReference,
        normaliser: Normaliser,
        layout: Option<&PayloadLayout>,
        files: &SessionFiles,
    ) -> Result<Self, MatchError> {
        const NAME: &str = "set";
        let nothing = layout.map(PayloadLayout::empty).unwrap_or_default();
        let size = OfferedRecord::bytes(nothing.len());
        let records = files.records(NAME, size)?;
        if !files.holds(NAME) {
            let mut rows = rows().await?;
            let mut sorter = files.sort(NAME, size, SORTED_IN_MEMORY)?;
            let mut record = Zeroizing::new(Vec::with_capacity(size));
            let mut unnamed: u64 = 0;
            while let Some(batch) = rows.next().await? {
                block_in_place(|| {
                    let payload = layout.map(|layout| PayloadReader::over(layout, &batch)).transpose()?;
                    for row in 0..batch.persons.len() {
                        let Some(input) = normaliser.normalise_parts(&batch.match_key_of(row)) else { continue };
                        let mut person = batch.person_of(row).map_or(UNNAMED, &reference);
                        if payload.is_some() && person == UNNAMED {
                            person = number_of_unnamed(&mut unnamed);
                        }
                        let (item, row) = (item_record(input.as_bytes()), payload.as_ref().map(|p| p.row(row)));
                        record.clear();
                        OfferedRecord { item: &item, person: &person, row: &row.unwrap_or_default() }.put(&mut record);
                        sorter.push(&record)?;
                    }
                    Ok::<_, MatchError>(())
                })?;
            }
            block_in_place(|| sorter.finish()?.write_once_each(files, NAME, size))?;
        }
        let identifiers = block_in_place(|| distinct(&records, ITEM))?;
        Ok(Self { records, nothing, identifiers })
    }
}

/// In place of [`UNNAMED`], where two persons without a key are not to be taken for one.
fn number_of_unnamed(number: &mut u64) -> PersonReference {
    let mut person = UNNAMED;
    for (to, from) in person.iter_mut().skip(PERSON / 2).zip(number.to_be_bytes()) {
        *to = from;
    }
    *number = number.saturating_add(1);
    person
}

/// Chunks that were evaluated: one that comes again is given the very same bytes.
pub(super) struct Evaluated {
    spool: Spool,
    places: BTreeMap<u32, usize>,
}

impl Evaluated {
    /// Those of a session.
    pub(super) fn open(files: &SessionFiles) -> Result<Self, MatchError> {
        let spool = files.spool("evaluated")?;
        let mut places = BTreeMap::new();
        for place in 0..spool.len() {
            let chunk = spool.get(place)?;
            places.entry(EvaluatedChunk::read(&chunk).ok_or(MatchError::Failed)?.number).or_insert(place);
        }
        Ok(Self { spool, places })
    }

    /// The evaluated chunk of that number, if it was kept.
    pub(super) fn get(&self, chunk: u32) -> Result<Option<Vec<u8>>, MatchError> {
        let Some(place) = self.places.get(&chunk) else { return Ok(None) };
        let kept = self.spool.get(*place)?;
        let kept = EvaluatedChunk::read(&kept).filter(|kept| kept.number == chunk);
        kept.map(|kept| Some(kept.evaluated.to_vec())).ok_or(MatchError::Failed)
    }

    /// Keeps one, on the disk before it may be sent. The first of a number stays: gives that one.
    pub(super) fn keep(&mut self, chunk: u32, evaluated: Vec<u8>) -> Result<Vec<u8>, MatchError> {
        if let Some(kept) = self.get(chunk)? {
            return Ok(kept);
        }
        let place = self.spool.len();
        self.spool.add(&EvaluatedChunk { number: chunk, evaluated: &evaluated }.encode())?;
        self.places.insert(chunk, place);
        Ok(evaluated)
    }
}

/// The sender's list: tags of equal length in ascending order, random ones among them up to the declared size, and behind
/// each its sealed row if the match has a payload. What was sent of it once is sent again as it was.
pub(super) struct OfferedTags {
    sent: Spool,
    reader: RecordReader,
    /// Records that were read, but for the one ahead.
    position: u64,
    ahead: Option<Offered>,
    /// The tag that was sent last.
    last: Vec<u8>,
    length: usize,
    /// Bytes of a tag and its sealed row.
    entry: usize,
    hash: [u8; 32],
}

/// A record of the list: a tag with its sealed row, and one of those who stand behind it.
struct Offered {
    entry: Vec<u8>,
    person: PersonReference,
}

impl OfferedTags {
    /// Makes the list, or takes the one that was made for the session.
    pub(super) fn make(evaluator: &Evaluator, set: &OfferedSet, files: &SessionFiles) -> Result<Self, MatchError> {
        const NAME: &str = "tags";
        let (length, entry) = (evaluator.params().tag_bytes(), evaluator.params().entry_bytes());
        let due = u64::from(evaluator.params().sender_padded());
        let record = OfferedEntry::bytes(entry);
        let list = files.records(NAME, record)?;
        let mut padding = due.checked_sub(set.identifiers).ok_or(MatchError::Failed)?;
        while !(files.holds(NAME) && distinct(&list, length)? == due) {
            let mut sorter = files.sort(NAME, record, SORTED_IN_MEMORY)?;
            add_own(evaluator, set, &mut sorter)?;
            let mut number = 0;
            while number < padding {
                let count = padding.saturating_sub(number).min(BLOCK as u64);
                for (tag, number) in evaluator.padding(number, count as usize).iter().zip(number..) {
                    let entry = [tag, &evaluator.padding_row(number)].concat();
                    push(&mut sorter, &entry, &NOBODY)?;
                }
                number = number.saturating_add(count);
            }
            sorter.finish()?.write_once_each(files, NAME, record)?;
            // A tag that comes twice, which hardly ever happens, is made up by more padding: the list's size does not
            // change.
            padding = padding.saturating_add(due.saturating_sub(distinct(&list, length)?));
        }
        Self::open(files, &list, length, entry)
    }

    fn open(files: &SessionFiles, list: &RecordFile, length: usize, entry: usize) -> Result<Self, MatchError> {
        let sent = files.spool("sent")?;
        let (position, last) = match sent.len().checked_sub(1) {
            None => (0, Vec::new()),
            Some(piece) => {
                let piece = sent.get(piece)?;
                let piece = SentPiece::read(&piece, entry).ok_or(MatchError::Failed)?;
                let last = piece.last_tag(length, entry).ok_or(MatchError::Failed)?;
                (piece.position, last.to_vec())
            }
        };
        let reader = list.read_from(position)?;
        let mut opened = Self { sent, reader, position, ahead: None, last, length, entry, hash: hash_of(list)? };
        opened.ahead = opened.read()?;
        Ok(opened)
    }

    /// Bytes of every piece but the last.
    pub(super) const fn piece_bytes(&self) -> usize {
        PIECE / self.entry * self.entry
    }

    /// SHA-256 of all tags, their rows and who stands behind them: of two lists of one session, it tells that they are two.
    pub(super) const fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// Bytes of a tag and its sealed row.
    pub(super) const fn entry_bytes(&self) -> usize {
        self.entry
    }

    /// The piece of that number, from 0: as it was sent, or, the first time, as those take part who do now. `None` after
    /// the last.
    ///
    /// PRIVACY: a tag behind which somebody stands who takes no part is replaced by one drawn uniformly between its
    /// neighbours. Tags are pseudorandom, and of ordered uniform values each is, given its neighbours, uniform between
    /// them: the list is distributed as it would be without the person, and no place or size of it tells of choices. Its
    /// row is replaced by random bytes, which a sealed one looks like.
    pub(super) fn piece(&mut self, number: usize, who: &Participation) -> Result<Option<Vec<u8>>, MatchError> {
        if number < self.sent.len() {
            let piece = self.sent.get(number)?;
            let piece = SentPiece::read(&piece, self.entry).ok_or(MatchError::Failed)?;
            return Ok(Some(piece.entries.to_vec()));
        }
        if number > self.sent.len() {
            let refusal = Refusal::new(ReasonCode::SessionMismatch);
            return Err(refusal.because("a list of tags is sent from its beginning").into());
        }
        let mut piece = Vec::with_capacity(self.piece_bytes());
        while piece.len() < self.piece_bytes()
            && let Some((entry, takes_part)) = self.entry(who)?
        {
            // Drawn for each, so that nobody's choice takes time.
            let next = self.ahead.as_ref().and_then(|ahead| ahead.entry.get(..self.length));
            let drawn =
                [between(&self.last, next, self.length)?, random(self.entry.saturating_sub(self.length))?].concat();
            let sent = if takes_part { entry } else { drawn };
            piece.extend_from_slice(&sent);
            self.last = sent.get(..self.length).ok_or(MatchError::Failed)?.to_vec();
        }
        if piece.is_empty() {
            return Ok(None);
        }
        self.sent.add(&SentPiece { position: self.position, entries: &piece }.encode())?;
        Ok(Some(piece))
    }

    /// The next tag with its row, and whether all who stand behind it take part.
    fn entry(&mut self, who: &Participation) -> Result<Option<(Vec<u8>, bool)>, MatchError> {
        let Some(first) = self.ahead.take() else { return Ok(None) };
        let takes_part = |person: &PersonReference| *person == NOBODY || who.allows(person);
        let mut all = takes_part(&first.person);
        self.position = self.position.saturating_add(1);
        while let Some(next) = self.read()? {
            if next.entry.get(..self.length) != first.entry.get(..self.length) {
                self.ahead = Some(next);
                break;
            }
            all &= takes_part(&next.person);
            self.position = self.position.saturating_add(1);
        }
        Ok(Some((first.entry, all)))
    }

    fn read(&mut self) -> Result<Option<Offered>, MatchError> {
        let Some(record) = self.reader.next()? else { return Ok(None) };
        let OfferedEntry { entry, person } = OfferedEntry::read(record).ok_or(MatchError::Failed)?;
        Ok(Some(Offered { entry: entry.to_vec(), person: *person }))
    }
}

fn hash_of(list: &RecordFile) -> Result<[u8; 32], MatchError> {
    let (mut reader, mut hash) = (list.read()?, Sha256::new());
    while let Some(record) = reader.next()? {
        hash.update(record);
    }
    Ok(hash.finalize().into())
}

/// A value of `length` bytes, uniform among those above `last`, if there is one, and below `next`, if there is one.
fn between(last: &[u8], next: Option<&[u8]>, length: usize) -> Result<Vec<u8>, MatchError> {
    // INVARIANT: a tag has at most 13 bytes, and there is room, since a tag stands between the two.
    let number = |bytes: &[u8]| bytes.iter().fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
    let least = if last.is_empty() { 0 } else { number(last).saturating_add(1) };
    let end = next.map_or(1_u128 << (8 * length).min(127), number);
    let room = end.checked_sub(least).filter(|room| *room > 0).ok_or(MatchError::Failed)?;
    let mask = u128::MAX.checked_shr(room.leading_zeros()).unwrap_or_default();
    let drawn = loop {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|_| MatchError::Failed)?;
        let drawn = u128::from_be_bytes(random) & mask;
        if drawn < room {
            break drawn;
        }
    };
    let bytes = least.saturating_add(drawn).to_be_bytes();
    Ok(bytes.get(bytes.len().saturating_sub(length)..).unwrap_or_default().to_vec())
}

/// Adds the tags of the set, each with its row and those who stand behind it.
fn add_own(evaluator: &Evaluator, set: &OfferedSet, sorter: &mut Sorter) -> Result<(), MatchError> {
    let mut own = Own::of(set)?;
    loop {
        let (first, second) = (own.block()?, own.block()?);
        if first.inputs.is_empty() {
            return Ok(());
        }
        let (first_entries, second_entries) = thread::scope(|scope| {
            let entries = scope.spawn(|| first.entries(evaluator));
            let second = second.entries(evaluator);
            (entries.join(), second)
        });
        for (entries, block) in [(first_entries.map_err(|_| MatchError::Failed)??, &first), (second_entries?, &second)]
        {
            for (entry, person) in entries.iter().zip(&block.persons) {
                push(sorter, entry, person)?;
            }
        }
    }
}

/// Adds a tag with its row, and one of those who stand behind it.
fn push(sorter: &mut Sorter, entry: &[u8], person: &PersonReference) -> Result<(), MatchError> {
    let mut record = Vec::with_capacity(OfferedEntry::bytes(entry.len()));
    OfferedEntry { entry, person }.put(&mut record);
    Ok(sorter.push(&record)?)
}

/// Records of the set.
struct Block {
    inputs: Vec<NormalisedInput>,
    persons: Vec<PersonReference>,
    rows: Vec<Zeroizing<Vec<u8>>>,
}

impl Block {
    /// Tags, each with its sealed row.
    fn entries(&self, evaluator: &Evaluator) -> Result<Vec<Vec<u8>>, MatchError> {
        if evaluator.params().sealed_bytes() == 0 {
            return Ok(evaluator.tags(&self.inputs)?.iter().map(<[u8]>::to_vec).collect());
        }
        let (tags, keys) = evaluator.tags_and_keys(&self.inputs)?;
        let entries = tags.iter().zip(&keys).zip(&self.rows);
        entries.map(|((tag, key), row)| Ok([tag, &key.seal(tag, row)?].concat())).collect()
    }
}

/// The records of the set, one after the other.
struct Own<'a> {
    set: &'a OfferedSet,
    reader: RecordReader,
    ahead: Option<Zeroizing<Vec<u8>>>,
    /// The identifier of the record before.
    last: Zeroizing<Vec<u8>>,
}

impl<'a> Own<'a> {
    fn of(set: &'a OfferedSet) -> Result<Self, MatchError> {
        let mut reader = set.records.read()?;
        let ahead = reader.next()?.map(|record| Zeroizing::new(record.to_vec()));
        Ok(Self { set, reader, ahead, last: Zeroizing::default() })
    }

    fn block(&mut self) -> Result<Block, MatchError> {
        let mut block =
            Block { inputs: Vec::with_capacity(BLOCK), persons: Vec::with_capacity(BLOCK), rows: Vec::new() };
        while block.inputs.len() < BLOCK
            && let Some(record) = self.ahead.take()
        {
            self.ahead = self.reader.next()?.map(|record| Zeroizing::new(record.to_vec()));
            let OfferedRecord { item: held, person, row } = OfferedRecord::read(&record).ok_or(MatchError::Failed)?;
            // Equal records stand here once. So an identifier that comes again is several persons', or of one of whom
            // the register says two things.
            // PRIVACY: whose row would it be? Nothing is disclosed, in as many bytes.
            let again = self.ahead.as_ref().is_some_and(|ahead| ahead.starts_with(held));
            let alone = self.last.as_slice() != held && !again;
            block.inputs.push(read_item(held).and_then(|slot| slot.input()).ok_or(MatchError::Failed)?);
            block.persons.push(*person);
            if !row.is_empty() {
                block.rows.push(Zeroizing::new(if alone { row } else { &self.set.nothing }.to_vec()));
            }
            self.last.clear();
            self.last.extend_from_slice(held);
        }
        Ok(block)
    }
}

/// So many random bytes.
fn random(bytes: usize) -> Result<Vec<u8>, MatchError> {
    let mut random = vec![0; bytes];
    getrandom::fill(&mut random).map_err(|_| MatchError::Failed)?;
    Ok(random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_lies_between_its_neighbours_and_comes_everywhere_there() {
        let mut seen = [false; 256];
        for _ in 0..2000 {
            let drawn = between(&[0, 9], Some(&[0, 13]), 2).unwrap();
            assert!(drawn.as_slice() > [0, 9].as_slice() && drawn.as_slice() < [0, 13].as_slice());
            seen[usize::from(drawn[1])] = true;
        }
        assert!(seen[10] && seen[11] && seen[12]);
        assert_eq!(between(&[0xff, 0xfe], None, 2).unwrap(), [0xff, 0xff]);
        assert_eq!(between(&[], Some(&[0, 1]), 2).unwrap(), [0, 0]);
        assert!(between(&[1], Some(&[2]), 1).is_err(), "there is no room");
        assert_eq!(between(&[], None, 13).unwrap().len(), 13);
    }
}
