//! Whom of the receiver's persons the set of a match by a key is formed of.

use crate::app::matching::MatchError;
use crate::app::matching::keys::Reading;
use crate::app::matching::records::{ITEM, KEY, SORTED_IN_MEMORY, is_readable, item as read_item};
use firebreak_psi::{NormalisedInput, Shuffle};
use firebreak_store::{RecordFile, RecordWriter, SessionFiles, Sorted};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Bytes of a place's rank.
pub(super) const RANK: usize = 16;
/// Bytes of a row's number.
pub(super) const ROW: usize = 8;
/// Bytes of how a row or a person stands to the selection.
pub(super) const INSIDE: usize = 1;

/// Bytes of the hash of a name, by which persons with one identifier are told apart.
pub(super) const NAME: usize = 16;
/// In place of that hash: nothing tells the person from others.
const NO_NAME: [u8; NAME] = [0; NAME];
/// The most entries of one register that may be one person's. What more have is written for whoever has none.
const MOST_ENTRIES: u64 = 100;

/// Inside of the selection, and not matched by a stronger key.
pub(super) const TAKES_PART: u8 = 0;
/// Inside of the selection, and matched by a stronger key.
pub(super) const MATCHED: u8 = 1;
/// Outside of the selection. Whoever shares an identifier with somebody there is not told from them.
pub(super) const OUTSIDE: u8 = 2;

/// Whose an identifier is that several persons of the register have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sharing {
    /// It is that of all of them: nothing but a number is known of anybody.
    Together,
    /// It is theirs unless two of them have a name and birth date, and other ones: then a register's clerk has given one
    /// person's number to another, and it is not known to whom the sender's is.
    OfOnePerson,
    /// Nobody's: what two persons may share says of neither that it is the one whom the sender holds.
    Nobodys,
}

impl Sharing {
    /// In a set that is read so.
    pub(super) fn of(reading: &Reading) -> Self {
        match reading.tells_apart() {
            _ if !reading.normaliser().names_one_person() => Self::Nobodys,
            true => Self::OfOnePerson,
            false => Self::Together,
        }
    }
}

/// Adds the hash of a name to a record; the one of nobody for none.
pub(super) fn put_name(record: &mut Vec<u8>, name: Option<&NormalisedInput>) {
    let hash = name.map(|name| Sha256::digest(name.as_ref()));
    record.extend_from_slice(hash.as_ref().and_then(|hash| hash.first_chunk()).unwrap_or(&NO_NAME));
}

/// Those whom the set is formed of.
pub(super) struct Own {
    /// Of each: rank, identifier, whether [`TAKES_PART`] or [`MATCHED`], key; in order.
    pub(super) records: RecordFile,
    /// How many persons take part.
    pub(super) offered: u64,
    /// Persons selected, and not matched by a stronger key, whose identifier or key is missing, unusable or shared.
    pub(super) unusable: u64,
}

/// Finds those whom the set is formed of among `rows`, which are ordered by person and hold key, whether inside, row,
/// identifier and hash of the name. `matched` are the keys of those whom stronger keys have matched, in order. Of a
/// person's rows inside of the selection the first with a usable identifier counts; a further one, in whatever row, is
/// taken from others who have it.
///
/// PRIVACY: the identifiers are the same whoever was matched: the set that is committed to, and its size, tell nothing of
/// it, neither to the sender nor to those who have places of the set opened.
pub(super) fn own(
    rows: Sorted,
    matched: Option<Sorted>,
    sharing: Sharing,
    shuffle: &Shuffle,
    files: &SessionFiles,
) -> Result<Own, MatchError> {
    let (ranked, unusable) = by_rank(rows, matched, sharing, shuffle, files)?;
    let mut taking =
        Taking { sharing, written: files.write_records("own", RANK + ITEM + INSIDE + KEY)?, offered: 0, unusable };
    taking.all(ranked)?;
    let (offered, unusable) = (taking.offered, taking.unusable);
    Ok(Own { records: taking.written.finish()?, offered, unusable })
}

/// A record for each person who has an identifier, by the identifier's rank: rank, identifier, how it stands, key, hash of
/// the name; where sharing matters, one for each identifier of the person. With how many have none who would take part.
fn by_rank(
    mut rows: Sorted,
    matched: Option<Sorted>,
    sharing: Sharing,
    shuffle: &Shuffle,
    files: &SessionFiles,
) -> Result<(Sorted, u64), MatchError> {
    let mut ranked = files.sort("own", RANK + ITEM + INSIDE + KEY + NAME, SORTED_IN_MEMORY)?;
    let mut matched = Matched::of(matched)?;
    let mut unusable: u64 = 0;
    let mut person = Zeroizing::new(Vec::with_capacity(KEY));
    // Of the person before: as what it stands, whether it is still without an identifier of its own, and all that it has.
    let (mut stands, mut lacks, mut theirs) = (OUTSIDE, false, Vec::<Zeroizing<Vec<u8>>>::new());
    let mut record = Zeroizing::new(Vec::with_capacity(RANK + ITEM + INSIDE + KEY + NAME));
    while let Some(row) = rows.next()? {
        let (key, rest) = row.split_at_checked(KEY).ok_or(MatchError::Failed)?;
        let (inside, rest) = rest.split_first().ok_or(MatchError::Failed)?;
        if person.as_slice() != key {
            unusable = unusable.saturating_add(u64::from(lacks && stands == TAKES_PART));
            person.clear();
            person.extend_from_slice(key);
            stands = if *inside == TAKES_PART && matched.holds(key)? { MATCHED } else { *inside };
            lacks = true;
            theirs.clear();
        }
        // The first identifier counts. Rows outside come behind those inside: they are no part of what was selected.
        let further = !lacks || (*inside == OUTSIDE && stands != OUTSIDE);
        let (item, name) = rest.get(ROW..).and_then(|rest| rest.split_at_checked(ITEM)).ok_or(MatchError::Failed)?;
        let Some(slot) = read_item(item) else { continue };
        // PRIVACY: by a further identifier the person is not matched, but nobody else is by it either.
        let passed_over = sharing == Sharing::Together || theirs.iter().any(|known| known.as_slice() == item);
        if further && passed_over {
            continue;
        }
        // With a person whose key is not kept no match can be recorded. It has the identifier all the same.
        let readable = is_readable(key);
        if !readable && sharing == Sharing::Together {
            continue;
        }
        record.clear();
        record.extend_from_slice(&*shuffle.rank(&slot));
        record.extend_from_slice(item);
        record.push(if readable && !further { stands } else { OUTSIDE });
        record.extend_from_slice(key);
        record.extend_from_slice(name);
        ranked.push(&record)?;
        theirs.push(Zeroizing::new(item.to_vec()));
        if !further {
            unusable = unusable.saturating_add(u64::from(!readable && stands == TAKES_PART));
            lacks = false;
        }
    }
    unusable = unusable.saturating_add(u64::from(lacks && stands == TAKES_PART));
    Ok((ranked.finish()?, unusable))
}

/// The keys of persons whom stronger keys have matched, read beside the persons.
struct Matched {
    keys: Option<Sorted>,
    next: Option<Zeroizing<Vec<u8>>>,
}

impl Matched {
    fn of(keys: Option<Sorted>) -> Result<Self, MatchError> {
        let mut matched = Self { keys, next: None };
        matched.advance()?;
        Ok(matched)
    }

    fn advance(&mut self) -> Result<(), MatchError> {
        let next = match &mut self.keys {
            Some(keys) => keys.next()?,
            None => None,
        };
        self.next = next.map(|key| Zeroizing::new(key.to_vec()));
        Ok(())
    }

    /// Whether that person was. To be asked of persons in their order.
    fn holds(&mut self, key: &[u8]) -> Result<bool, MatchError> {
        while self.next.as_ref().is_some_and(|next| next.as_slice() < key) {
            self.advance()?;
        }
        Ok(self.next.as_ref().is_some_and(|next| next.as_slice() == key))
    }
}

/// Those whom the set is formed of, on their way to the disk.
struct Taking {
    sharing: Sharing,
    written: RecordWriter,
    offered: u64,
    unusable: u64,
}

/// The persons with one identifier.
#[derive(Default)]
struct Group {
    identifier: Zeroizing<Vec<u8>>,
    persons: u64,
    take_part: u64,
    /// Of those inside, as long as it is not known whether they are different persons: how they stand, and the key.
    held: Vec<Zeroizing<Vec<u8>>>,
    /// The first name that one of them has.
    name: [u8; NAME],
    /// Whether they are different persons, or may be.
    differ: bool,
}

impl Taking {
    fn all(&mut self, mut ranked: Sorted) -> Result<(), MatchError> {
        let mut group = Group::default();
        while let Some(record) = ranked.next()? {
            let (identifier, person) = record.split_at_checked(RANK + ITEM).ok_or(MatchError::Failed)?;
            let (person, name) = person.split_last_chunk().ok_or(MatchError::Failed)?;
            if group.identifier.as_slice() != identifier {
                self.end(&group)?;
                group = Group { identifier: Zeroizing::new(identifier.to_vec()), ..Group::default() };
            }
            group.persons = group.persons.saturating_add(1);
            let takes_part = person.first() == Some(&TAKES_PART);
            group.take_part = group.take_part.saturating_add(u64::from(takes_part));
            if self.sharing == Sharing::Together {
                // Those who take part come first. Behind a place stand they, or else those matched, and never both.
                if takes_part || group.take_part == 0 {
                    self.write(identifier, person)?;
                }
            } else {
                group.add(person, *name, self.sharing);
            }
        }
        self.end(&group)
    }

    /// What becomes of a group when all who are in it are known.
    fn end(&mut self, group: &Group) -> Result<(), MatchError> {
        if group.differ {
            self.unusable = self.unusable.saturating_add(group.take_part);
            return Ok(());
        }
        let takes_part = |person: &&Zeroizing<Vec<u8>>| person.first() == Some(&TAKES_PART) || group.take_part == 0;
        group.held.iter().filter(takes_part).try_for_each(|person| self.write(&group.identifier, person))
    }

    fn write(&mut self, identifier: &[u8], person: &[u8]) -> Result<(), MatchError> {
        self.offered = self.offered.saturating_add(u64::from(person.first() == Some(&TAKES_PART)));
        Ok(self.written.push(&Zeroizing::new([identifier, person].concat()))?)
    }
}

impl Group {
    fn add(&mut self, person: &[u8], name: [u8; NAME], sharing: Sharing) {
        if self.name == NO_NAME {
            self.name = name;
        }
        let another = name != NO_NAME && name != self.name;
        let many = self.persons > MOST_ENTRIES || (sharing == Sharing::Nobodys && self.persons > 1);
        self.differ |= another || many;
        if self.differ {
            self.held.clear();
        } else if person.first() != Some(&OUTSIDE) {
            self.held.push(Zeroizing::new(person.to_vec()));
        }
    }
}

#[cfg(test)]
mod tests;
