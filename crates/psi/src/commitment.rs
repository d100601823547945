use crate::secret::Prf;
use crate::{PsiError, SecretSeed};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

type Hash = [u8; 32];

const LEAF: &[u8] = b"firebreak match commitment leaf";

/// A commitment to a list: the tree's size and its root, which may be public.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Root {
    /// Leaves: the padded size of the list.
    pub size: u32,
    /// The root (SHA-256).
    pub hash: [u8; 32],
}

/// One item of a committed list, with what ties it to the root. Says nothing of the other items.
#[derive(Clone)]
pub struct Opening {
    /// Its place in the list.
    pub index: u32,
    /// The item.
    pub item: Vec<u8>,
    /// The item's own salt.
    pub salt: [u8; 32],
    /// The hashes beside the way from the leaf to the root, the leaf's neighbour first.
    pub path: Vec<[u8; 32]>,
}

/// A Merkle tree over a list, hashed as in RFC 6962 §2.1 (0x00 before leaves, 0x01 before nodes).
///
/// PRIVACY: identifiers are few enough to try them all, so each leaf has a salt of its own (a PRF of one secret
/// and the place); the root, and an opening of another leaf, say nothing of it.
pub struct Commitment {
    /// Leaf hashes first, the root alone last. A hash without a neighbour goes up unchanged, which gives the tree
    /// of RFC 6962.
    levels: Vec<Vec<Hash>>,
    salts: Prf,
}

impl Commitment {
    /// Commits to `items` in their order. The same items and salt give the same root.
    ///
    /// # Errors
    /// [`PsiError::SetTooLarge`] for 2³² items or more; [`PsiError::NoSuchSlot`] for none.
    pub fn new<I: AsRef<[u8]>>(items: impl IntoIterator<Item = I>, salt: &SecretSeed) -> Result<Self, PsiError> {
        let salts = salts_of(salt);
        let mut leaves = Vec::new();
        for item in items {
            let index = u32::try_from(leaves.len()).map_err(|_| PsiError::SetTooLarge)?;
            leaves.push(leaf(index, &salt_of(&salts, index), item.as_ref()));
        }
        if leaves.is_empty() {
            return Err(PsiError::NoSuchSlot);
        }
        u32::try_from(leaves.len()).map_err(|_| PsiError::SetTooLarge)?;
        let mut levels = vec![leaves];
        while let Some(below) = levels.last().filter(|level| level.len() > 1) {
            levels.push(below.chunks(2).map(parent).collect());
        }
        Ok(Self { levels, salts })
    }

    /// The commitment itself.
    #[must_use]
    pub fn root(&self) -> Root {
        let size = self.levels.first().map_or(0, Vec::len);
        let hash = self.levels.last().and_then(|level| level.first()).copied().unwrap_or_default();
        // INVARIANT: `new` refuses sizes beyond 32 bits.
        Root { size: size as u32, hash }
    }

    /// Opens the leaf at `index`; `item` is what was committed there.
    ///
    /// # Errors
    /// [`PsiError::NoSuchSlot`] for a place beyond the list; [`PsiError::OpeningRejected`] if `item` is not what
    /// was committed.
    pub fn open(&self, index: u32, item: &[u8]) -> Result<Opening, PsiError> {
        let mut place = index as usize;
        if self.levels.first().is_none_or(|leaves| place >= leaves.len()) {
            return Err(PsiError::NoSuchSlot);
        }
        let mut path = Vec::new();
        for level in &self.levels {
            path.extend(level.get(place ^ 1).filter(|_| level.len() > 1));
            place /= 2;
        }
        let opening = Opening { index, item: item.to_vec(), salt: salt_of(&self.salts, index), path };
        verify_opening(&self.root(), &opening)?;
        Ok(opening)
    }
}

/// Commits to a list that is read once and need not fit into memory. Gives the root that [`Commitment::new`] gives.
pub struct CommitmentBuilder {
    salts: Prf,
    /// The roots of whole subtrees, the largest first, each with the number of its leaves: those of a binary number.
    roots: Vec<(u32, Hash)>,
    size: u32,
}

impl CommitmentBuilder {
    /// Before its first item.
    #[must_use]
    pub fn new(salt: &SecretSeed) -> Self {
        Self { salts: salts_of(salt), roots: Vec::new(), size: 0 }
    }

    /// Adds the next item.
    ///
    /// # Errors
    /// [`PsiError::SetTooLarge`] for 2³² items.
    pub fn push(&mut self, item: &[u8]) -> Result<(), PsiError> {
        let size = self.size.checked_add(1).ok_or(PsiError::SetTooLarge)?;
        let mut subtree = (1, leaf(self.size, &salt_of(&self.salts, self.size), item));
        while let Some((_, left)) = self.roots.pop_if(|(leaves, _)| *leaves == subtree.0) {
            subtree = (subtree.0.saturating_mul(2), node(&left, &subtree.1));
        }
        self.roots.push(subtree);
        self.size = size;
        Ok(())
    }

    /// The commitment.
    ///
    /// # Errors
    /// [`PsiError::NoSuchSlot`] if nothing was added.
    pub fn root(&self) -> Result<Root, PsiError> {
        let mut smaller = self.roots.iter().rev().map(|(_, hash)| *hash);
        let least = smaller.next().ok_or(PsiError::NoSuchSlot)?;
        Ok(Root { size: self.size, hash: smaller.fold(least, |right, left| node(&left, &right)) })
    }
}

/// Checks that the opening's item stands at its place in the committed list (RFC 9162 §2.1.3.2).
///
/// # Errors
/// [`PsiError::OpeningRejected`].
pub fn verify_opening(root: &Root, opening: &Opening) -> Result<(), PsiError> {
    let mut place = opening.index;
    let mut last = root.size.checked_sub(1).filter(|last| place <= *last).ok_or(PsiError::OpeningRejected)?;
    let mut hash = leaf(opening.index, &opening.salt, &opening.item);
    let mut path = opening.path.iter();
    while last > 0 {
        if place % 2 == 1 {
            hash = node(path.next().ok_or(PsiError::OpeningRejected)?, &hash);
        } else if place < last {
            hash = node(&hash, path.next().ok_or(PsiError::OpeningRejected)?);
        }
        place /= 2;
        last /= 2;
    }
    let fits = path.next().is_none() && bool::from(hash.ct_eq(&root.hash));
    if fits { Ok(()) } else { Err(PsiError::OpeningRejected) }
}

pub(crate) fn salts_of(seed: &SecretSeed) -> Prf {
    Prf::new(seed.expose(), "firebreak match commitment salt")
}

pub(crate) fn salt_of(salts: &Prf, index: u32) -> [u8; 32] {
    *salts.block_seed(&index.to_be_bytes()).expose()
}

pub(crate) fn leaf(index: u32, salt: &[u8; 32], item: &[u8]) -> Hash {
    let hash = Sha256::new().chain_update([0x00]).chain_update(LEAF).chain_update(crate::FORMAT.to_be_bytes());
    hash.chain_update(index.to_be_bytes()).chain_update(salt).chain_update(item).finalize().into()
}

pub(crate) fn node(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([0x01]).chain_update(left).chain_update(right).finalize().into()
}

fn parent(pair: &[Hash]) -> Hash {
    match pair {
        [left, right] => node(left, right),
        [alone, ..] => *alone,
        [] => Hash::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(count: u32) -> Vec<[u8; 4]> {
        (0..count).map(u32::to_be_bytes).collect()
    }

    fn tree(count: u32) -> Commitment {
        Commitment::new(items(count), &SecretSeed::from_bytes([5; 32])).unwrap()
    }

    /// RFC 6962 §2.1 as it is written there: split at the largest power of two below the size.
    fn rfc_6962_root(leaves: &[Hash]) -> Hash {
        if let [alone] = leaves {
            return *alone;
        }
        let split = leaves.len().next_power_of_two() / 2;
        node(&rfc_6962_root(&leaves[..split]), &rfc_6962_root(&leaves[split..]))
    }

    #[test]
    fn the_root_is_that_of_rfc_6962_and_every_leaf_opens_to_it() {
        for count in 1..40 {
            let commitment = tree(count);
            let root = commitment.root();
            assert_eq!(root, Root { size: count, hash: rfc_6962_root(&commitment.levels[0]) });
            for (index, item) in (0..).zip(items(count)) {
                let opening = commitment.open(index, &item).unwrap();
                assert_eq!(verify_opening(&root, &opening), Ok(()));
            }
            assert_eq!(commitment.open(count, &[]).err(), Some(PsiError::NoSuchSlot));
            let mut once = CommitmentBuilder::new(&SecretSeed::from_bytes([5; 32]));
            assert!(count > 1 || once.root().is_err());
            items(count).iter().for_each(|item| once.push(item).unwrap());
            assert_eq!(once.root(), Ok(root));
        }
    }

    #[test]
    fn any_change_of_an_opening_is_refused() {
        let commitment = tree(11);
        let root = commitment.root();
        let opening = commitment.open(6, &6u32.to_be_bytes()).unwrap();
        let mut changed = Vec::new();
        for index in [5, 7, 10, 11, u32::MAX] {
            changed.push(Opening { index, ..opening.clone() });
        }
        changed.push(Opening { item: vec![0, 0, 0, 7], ..opening.clone() });
        changed.push(Opening { salt: [0; 32], ..opening.clone() });
        changed.push(Opening { path: opening.path[1..].to_vec(), ..opening.clone() });
        changed.push(Opening { path: [&opening.path[..], &[[0; 32]]].concat(), ..opening.clone() });
        for bad in &changed {
            assert_eq!(verify_opening(&root, bad), Err(PsiError::OpeningRejected));
        }
        for size in [0, 1, 6, 7] {
            assert!(verify_opening(&Root { size, ..root }, &opening).is_err());
        }
        assert_eq!(commitment.open(6, b"another").err(), Some(PsiError::OpeningRejected));
    }

    #[test]
    fn equal_items_have_unequal_leaves_and_another_salt_another_root() {
        let commitment = Commitment::new([b"same", b"same"], &SecretSeed::from_bytes([5; 32])).unwrap();
        assert_ne!(commitment.levels[0][0], commitment.levels[0][1]);
        let other = Commitment::new([b"same", b"same"], &SecretSeed::from_bytes([6; 32])).unwrap();
        assert_ne!(commitment.root(), other.root());
        assert!(Commitment::new::<&[u8]>([], &SecretSeed::from_bytes([5; 32])).is_err());
    }
}
