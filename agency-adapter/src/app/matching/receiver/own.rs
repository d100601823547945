//! Whom of the receiver's persons the set of a match by a key is formed of.

use crate::app::matching::MatchError;
use crate::app::matching::sorting::SORTED_IN_MEMORY;
use firebreak_psi::Shuffle;
use firebreak_records::{
    ITEM, Identifier, KEY, NAME, Ranked, Reading, Selected, Stands, holds_nothing, identifier, is_readable, read_item,
};
use firebreak_store::{RecordFile, RecordWriter, SessionFiles, Sorted};
use zeroize::Zeroizing;

/// The most entries of one register that may be one person's. What more have is written for whoever has none.
const MOST_ENTRIES: u64 = 100;

/// Whose an identifier is that several persons of the register have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sharing {
    /// It is that of all of them: nothing but a number is known of anybody.
    Together,
    /// It is theirs unless two of them have a name and birth date, and other ones: then a register's clerk has given
    /// one person's number to another, and it is not known to whom the sender's is.
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

/// Those whom the set is formed of.
pub(super) struct Own {
    /// A [`Ranked`] of each, in order. None of them is outside.
    pub(super) records: RecordFile,
    /// How many persons take part.
    pub(super) offered: u64,
    /// Persons selected, and not matched by a stronger key, whose identifier or key is missing, unusable or shared.
    pub(super) unusable: u64,
}

/// Finds those whom the set is formed of among `rows`, each a [`Selected`], in order. `matched` are the keys of those
/// whom stronger keys have matched, in order. Of a person's rows inside of the selection the first with a usable
/// identifier counts; a further one, in whatever row, is taken from others who have it.
///
/// PRIVACY: the identifiers are the same whoever was matched: the set that is committed to, and its size, tell nothing
/// of it, neither to the sender nor to those who have places of the set opened.
pub(super) fn own(
    rows: Sorted,
    matched: Option<Sorted>,
    sharing: Sharing,
    shuffle: &Shuffle,
    files: &SessionFiles,
) -> Result<Own, MatchError> {
    let (ranked, unusable) = by_rank(rows, matched, sharing, shuffle, files)?;
    let written = files.write_records("own", Ranked::BYTES)?;
    let mut taking = Taking { sharing, written, offered: 0, unusable };
    taking.all(ranked)?;
    let (offered, unusable) = (taking.offered, taking.unusable);
    Ok(Own { records: taking.written.finish()?, offered, unusable })
}

/// A [`Ranked`] with the hash of the name for each person who has an identifier; where sharing matters, one for each
/// identifier of the person. With how many have none who would take part.
fn by_rank(
    mut rows: Sorted,
    matched: Option<Sorted>,
    sharing: Sharing,
    shuffle: &Shuffle,
    files: &SessionFiles,
) -> Result<(Sorted, u64), MatchError> {
    let mut ranked = files.sort("own", Ranked::BYTES_WITH_NAME, SORTED_IN_MEMORY)?;
    let mut matched = MatchedBefore::of(matched)?;
    let mut unusable: u64 = 0;
    let mut person: Option<Zeroizing<[u8; KEY]>> = None;
    // Of the person before: as what it stands, whether it is still without an identifier of its own, and all that it
    // has. Boxed, since what a vector leaves behind as it grows is not wiped.
    let (mut stands, mut lacks, mut theirs) = (Stands::Outside, false, Vec::<Box<Zeroizing<[u8; ITEM]>>>::new());
    let mut record = Zeroizing::new(Vec::with_capacity(Ranked::BYTES_WITH_NAME));
    while let Some(row) = rows.next()? {
        let Selected { key, stands: inside, item, name, .. } = Selected::read(row).ok_or(MatchError::Failed)?;
        if person.as_deref() != Some(key) {
            unusable = unusable.saturating_add(u64::from(lacks && stands == Stands::TakesPart));
            person = Some(Zeroizing::new(*key));
            stands = if inside == Stands::TakesPart && matched.holds(key)? { Stands::Matched } else { inside };
            lacks = true;
            theirs.clear();
        }
        // The first identifier counts. Rows outside come behind those inside: they are no part of what was selected.
        let further = !lacks || (inside == Stands::Outside && stands != Stands::Outside);
        if holds_nothing(item) {
            continue;
        }
        let slot = read_item(item).ok_or(MatchError::Failed)?;
        // PRIVACY: by a further identifier the person is not matched, but nobody else is by it either.
        let passed_over = sharing == Sharing::Together || theirs.iter().any(|known| ***known == *item);
        if further && passed_over {
            continue;
        }
        // With a person whose key is not kept no match can be recorded. It has the identifier all the same.
        let readable = is_readable(key);
        if !readable && sharing == Sharing::Together {
            continue;
        }
        let by_this = if readable && !further { stands } else { Stands::Outside };
        record.clear();
        Ranked { identifier: &identifier(&shuffle.rank(&slot), item), stands: by_this, key }
            .put_with_name(name, &mut record);
        ranked.push(&record)?;
        theirs.push(Box::new(Zeroizing::new(*item)));
        if !further {
            unusable = unusable.saturating_add(u64::from(!readable && stands == Stands::TakesPart));
            lacks = false;
        }
    }
    unusable = unusable.saturating_add(u64::from(lacks && stands == Stands::TakesPart));
    Ok((ranked.finish()?, unusable))
}

/// The keys of persons whom stronger keys have matched, read beside the persons.
struct MatchedBefore {
    keys: Option<Sorted>,
    next: Option<Zeroizing<Vec<u8>>>,
}

impl MatchedBefore {
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
    fn holds(&mut self, key: &[u8; KEY]) -> Result<bool, MatchError> {
        while self.next.as_ref().is_some_and(|next| next.as_slice() < key.as_slice()) {
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
    identifier: Option<Zeroizing<Identifier>>,
    persons: u64,
    take_part: u64,
    /// Of those inside, as long as it is not known whether they are different persons: how they stand, and the key.
    /// Boxed, since what a vector leaves behind as it grows is not wiped.
    held: Vec<(Stands, Box<Zeroizing<[u8; KEY]>>)>,
    /// The first name that one of them has, as its hash.
    name: Option<[u8; NAME]>,
    /// Whether they are different persons, or may be.
    differ: bool,
}

impl Taking {
    fn all(&mut self, mut ranked: Sorted) -> Result<(), MatchError> {
        let mut group = Group::default();
        while let Some(record) = ranked.next()? {
            let (person, name) = Ranked::read_with_name(record).ok_or(MatchError::Failed)?;
            if group.identifier.as_deref() != Some(person.identifier) {
                self.end(&group)?;
                group = Group { identifier: Some(Zeroizing::new(*person.identifier)), ..Group::default() };
            }
            group.persons = group.persons.saturating_add(1);
            let takes_part = person.stands == Stands::TakesPart;
            group.take_part = group.take_part.saturating_add(u64::from(takes_part));
            if self.sharing == Sharing::Together {
                // Those who take part come first. Behind a place stand they, or else those matched, and never both.
                if takes_part || group.take_part == 0 {
                    self.write(&person)?;
                }
            } else {
                group.add(&person, name, self.sharing);
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
        let Some(identifier) = &group.identifier else { return Ok(()) };
        for (stands, key) in &group.held {
            if *stands == Stands::TakesPart || group.take_part == 0 {
                self.write(&Ranked { identifier, stands: *stands, key })?;
            }
        }
        Ok(())
    }

    fn write(&mut self, person: &Ranked<'_>) -> Result<(), MatchError> {
        self.offered = self.offered.saturating_add(u64::from(person.stands == Stands::TakesPart));
        let mut record = Zeroizing::new(Vec::with_capacity(Ranked::BYTES));
        person.put(&mut record);
        Ok(self.written.push(&record)?)
    }
}

impl Group {
    fn add(&mut self, person: &Ranked<'_>, name: Option<&[u8; NAME]>, sharing: Sharing) {
        let name = name.copied();
        self.name = self.name.or(name);
        let another = name.is_some() && name != self.name;
        let many = self.persons > MOST_ENTRIES || (sharing == Sharing::Nobodys && self.persons > 1);
        self.differ |= another || many;
        if self.differ {
            self.held.clear();
        } else if person.stands != Stands::Outside {
            self.held.push((person.stands, Box::new(Zeroizing::new(*person.key))));
        }
    }
}

#[cfg(test)]
mod tests;
