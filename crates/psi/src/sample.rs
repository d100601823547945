//! A random sample of a committed list, opened: for overseers, who check each place against the source.

use crate::commitment::{Opening, Root, leaf, node, salt_of, salts_of};
use crate::secret::Prf;
use crate::{PsiError, SecretSeed};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// Draws `count` different places of a committed list, in ascending order; all of them where it has no more.
///
/// The draw follows from the commitment and from `seed`, which whoever checks chooses **after** the commitment is in
/// the log: so nobody who formed the set can know which places will be opened. The n-th value drawn, from 0, is the
/// first eight bytes of
///
/// ```text
/// SHA-256("firebreak match sample" ‖ format ‖ size ‖ root ‖ seed ‖ n)
/// ```
///
/// with format and size in 4 bytes and n in 8. Values at or above the largest multiple of the size that 64 bits hold are
/// passed over; others count modulo the size, each place once.
#[must_use]
pub fn sample_places(root: &Root, seed: &[u8; 32], count: u32) -> Vec<u32> {
    if count >= root.size {
        return (0..root.size).collect();
    }
    let size = u64::from(root.size);
    let drawn = Sha256::new()
        .chain_update(b"firebreak match sample")
        .chain_update(crate::FORMAT.to_be_bytes())
        .chain_update(root.size.to_be_bytes())
        .chain_update(root.hash)
        .chain_update(seed);
    let above = u64::MAX - u64::MAX % size;
    let mut places = BTreeSet::new();
    let mut number: u64 = 0;
    while places.len() < count as usize {
        let hash: [u8; 32] = drawn.clone().chain_update(number.to_be_bytes()).finalize().into();
        number = number.wrapping_add(1);
        let value = hash.first_chunk().map_or(u64::MAX, |first| u64::from_be_bytes(*first));
        if value < above {
            // INVARIANT: below the size, which 32 bits hold.
            places.insert((value % size) as u32);
        }
    }
    places.into_iter().collect()
}

/// Commits to a list that is read once, as [`CommitmentBuilder`](crate::CommitmentBuilder) does, and opens some places of
/// it on the way. Its memory grows with the places opened and not with the list.
pub struct SampleBuilder {
    salts: Prf,
    wanted: Vec<u32>,
    openings: Vec<Opening>,
    /// The roots of whole subtrees, the largest first.
    roots: Vec<Subtree>,
    size: u32,
}

struct Subtree {
    leaves: u32,
    hash: [u8; 32],
    /// Which of the openings stand in it.
    opened: Vec<usize>,
}

impl SampleBuilder {
    /// Before its first item. `salt` is the one that was committed with; `wanted` are the places to open, in any order.
    #[must_use]
    pub fn new(salt: &SecretSeed, mut wanted: Vec<u32>) -> Self {
        wanted.sort_unstable();
        wanted.dedup();
        Self { salts: salts_of(salt), wanted, openings: Vec::new(), roots: Vec::new(), size: 0 }
    }

    /// Adds the next item.
    ///
    /// # Errors
    /// [`PsiError::SetTooLarge`] for 2³² items.
    pub fn push(&mut self, item: &[u8]) -> Result<(), PsiError> {
        let (index, size) = (self.size, self.size.checked_add(1).ok_or(PsiError::SetTooLarge)?);
        let salt = salt_of(&self.salts, index);
        let mut subtree = Subtree { leaves: 1, hash: leaf(index, &salt, item), opened: Vec::new() };
        if self.wanted.get(self.openings.len()) == Some(&index) {
            subtree.opened.push(self.openings.len());
            self.openings.push(Opening { index, item: item.to_vec(), salt, path: Vec::new() });
        }
        while let Some(left) = self.roots.pop_if(|left| left.leaves == subtree.leaves) {
            subtree = self.joined(left, subtree);
        }
        self.roots.push(subtree);
        self.size = size;
        Ok(())
    }

    /// The commitment, and the places wanted in ascending order, each with its path to it.
    ///
    /// # Errors
    /// [`PsiError::NoSuchSlot`] if nothing was added, or for a place beyond the list.
    pub fn finish(mut self) -> Result<(Root, Vec<Opening>), PsiError> {
        if self.openings.len() != self.wanted.len() {
            return Err(PsiError::NoSuchSlot);
        }
        let mut whole = self.roots.pop().ok_or(PsiError::NoSuchSlot)?;
        while let Some(left) = self.roots.pop() {
            whole = self.joined(left, whole);
        }
        Ok((Root { size: self.size, hash: whole.hash }, self.openings))
    }

    /// The subtree over two that stand side by side: each one's root is on the way of all that is opened in the other.
    fn joined(&mut self, left: Subtree, right: Subtree) -> Subtree {
        for (of, beside) in [(&left, &right), (&right, &left)] {
            for opening in &of.opened {
                if let Some(opening) = self.openings.get_mut(*opening) {
                    opening.path.push(beside.hash);
                }
            }
        }
        let mut opened = left.opened;
        opened.extend(right.opened);
        Subtree { leaves: left.leaves.saturating_add(right.leaves), hash: node(&left.hash, &right.hash), opened }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Commitment, CommittedSet, NormalisedInput, Normaliser, Shuffle, Slot, verify_opening};
    use std::collections::HashSet;

    fn seed(number: u32) -> [u8; 32] {
        Sha256::digest(number.to_be_bytes()).into()
    }

    #[test]
    fn what_is_opened_on_the_way_is_what_the_whole_tree_opens() {
        let salt = SecretSeed::from_bytes([5; 32]);
        for count in 1..40_u32 {
            let items: Vec<_> = (0..count).map(u32::to_be_bytes).collect();
            let whole = Commitment::new(&items, &salt).unwrap();
            for wanted in [Vec::new(), vec![count - 1, 0], (0..count).collect()] {
                let mut builder = SampleBuilder::new(&salt, wanted.clone());
                items.iter().for_each(|item| builder.push(item).unwrap());
                let (root, openings) = builder.finish().unwrap();
                assert_eq!(root, whole.root());
                let places: BTreeSet<_> = openings.iter().map(|opening| opening.index).collect();
                assert_eq!(places, wanted.into_iter().collect::<BTreeSet<_>>());
                for opening in &openings {
                    let same = whole.open(opening.index, &opening.item).unwrap();
                    assert_eq!((&opening.salt, &opening.path), (&same.salt, &same.path));
                    assert_eq!(verify_opening(&root, opening), Ok(()));
                }
            }
            let mut beyond = SampleBuilder::new(&salt, vec![count]);
            items.iter().for_each(|item| beyond.push(item).unwrap());
            assert_eq!(beyond.finish().err(), Some(PsiError::NoSuchSlot));
        }
        assert_eq!(SampleBuilder::new(&salt, Vec::new()).finish().err(), Some(PsiError::NoSuchSlot));
    }

    #[test]
    fn a_draw_follows_from_the_commitment_and_the_seed_and_has_each_place_once() {
        let root = Root { size: 1000, hash: [1; 32] };
        let drawn = sample_places(&root, &seed(1), 100);
        assert_eq!(drawn, sample_places(&root, &seed(1), 100));
        assert_eq!(drawn.len(), 100);
        assert!(drawn.is_sorted_by(|one, other| one < other) && drawn.iter().all(|place| *place < 1000));
        assert_ne!(drawn, sample_places(&root, &seed(2), 100));
        assert_ne!(drawn, sample_places(&Root { hash: [2; 32], ..root }, &seed(1), 100));
        for count in [1000, 1001, u32::MAX] {
            assert_eq!(sample_places(&root, &seed(1), count), (0..1000).collect::<Vec<_>>());
        }
        assert!(sample_places(&root, &seed(1), 0).is_empty());
    }

    fn number(number: u32) -> NormalisedInput {
        Normaliser::V1.normalise(&format!("id-{number:08}")).unwrap()
    }

    /// A receiver puts 4 identifiers into its set that its register does not hold. Whoever looks at every place that it
    /// has to open finds them as often as is said: 1 − C(60, 16) / C(64, 16), which is 0.694 of the draws.
    #[test]
    fn invented_identifiers_are_found_by_a_sample_as_often_as_is_said_and_always_by_all_places() {
        const SIZE: u32 = 64;
        let register: HashSet<Vec<u8>> = (0..40).map(|n| number(n).as_bytes().to_vec()).collect();
        let set: Vec<_> = (0..44).map(number).collect();
        let opening_seed = SecretSeed::from_bytes([9; 32]);
        let committed = CommittedSet::new(&opening_seed, set, SIZE).unwrap();
        let root = committed.root();
        let shuffle = Shuffle::new(opening_seed);
        let found = |draw: u32, count: u32| {
            let mut builder = shuffle.sample(sample_places(&root, &seed(draw), count));
            committed.slots().iter().for_each(|slot| builder.push(slot.as_ref()).unwrap());
            let (opened, openings) = builder.finish().unwrap();
            assert_eq!(opened, root);
            openings.iter().any(|opening| {
                assert_eq!(verify_opening(&root, opening), Ok(()));
                let slot = Slot::from_bytes(&opening.item).unwrap();
                let held: &[u8] = slot.as_ref();
                !slot.is_padding() && !register.contains(held)
            })
        };
        assert!(found(0, SIZE), "all places were opened, and nothing was found");
        // The draws are fixed, and so is the outcome: within three standard deviations of 2,000 draws.
        let times = (1..=2000).filter(|draw| found(*draw, 16)).count() as f64 / 2000.0;
        let missed: f64 = (0..16).map(|n| f64::from(60 - n) / f64::from(64 - n)).product();
        let deviation = (missed * (1.0 - missed) / 2000.0).sqrt();
        assert!((times - (1.0 - missed)).abs() < 3.0 * deviation, "{times} of the draws, and not {}", 1.0 - missed);
    }
}
