//! Tiles: their names in the folder, and the right edge of the growing tree.

use crate::Hash;
use tlog_tiles::tile::Tile;
use tlog_tiles::tlog::{Error, HASH_SIZE, Hash as TreeHash, HashReader, tree_hash};

/// Hashes in a full tile, and entries in a full bundle.
pub(crate) const WIDTH: u64 = 256;
const HEIGHT: u8 = 8;
const FULL_BYTES: usize = 256 * HASH_SIZE;
/// The level of the topmost tile of a tree of 2^40 leaves, the largest there can be.
const MAX_LEVEL: u8 = 5;

/// Names one tile or one bundle of entries, full or partial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TileName {
    /// The level of a tile of hashes; `None` for a bundle of entries.
    pub(crate) level: Option<u8>,
    /// Its number on that level.
    pub(crate) number: u64,
    /// Hashes or entries in it, 1 to 256.
    pub(crate) width: u64,
}

impl TileName {
    /// The tile or bundle that a tree of `size` leaves has at this place; `None` if the tree does not reach it.
    pub(crate) fn in_tree(level: Option<u8>, number: u64, size: u64) -> Option<Self> {
        let items = size.checked_shr(u32::from(HEIGHT) * u32::from(level.unwrap_or(0))).unwrap_or(0);
        let start = number.checked_mul(WIDTH)?;
        let width = items.checked_sub(start).filter(|left| *left > 0)?.min(WIDTH);
        Some(Self { level, number, width })
    }

    /// Whether it holds as much as any tile can.
    pub(crate) const fn is_full(&self) -> bool {
        self.width == WIDTH
    }

    /// Its path in the folder, as C2SP tlog-tiles writes it: `tile/<level>/<number>[.p/<width>]`,
    /// `tile/entries/<number>[.p/<width>]`, the number in groups of three digits, all but the last led by `x`.
    pub(crate) fn path(&self) -> String {
        let level = self.level.map_or_else(|| "entries".to_owned(), |level| level.to_string());
        let mut number = format!("{:03}", self.number % 1000);
        let mut rest = self.number / 1000;
        while rest > 0 {
            number = format!("x{:03}/{number}", rest % 1000);
            rest /= 1000;
        }
        let partial = if self.is_full() { String::new() } else { format!(".p/{}", self.width) };
        format!("tile/{level}/{number}{partial}")
    }

    /// The name that has that path.
    pub(crate) fn parse(path: &str) -> Option<Self> {
        let (level, rest) = path.strip_prefix("tile/")?.split_once('/')?;
        let level = if level == "entries" { None } else { Some(level.parse().ok().filter(|l| *l <= MAX_LEVEL)?) };
        let (digits, width) = match rest.split_once(".p/") {
            Some((digits, width)) => (digits, width.parse().ok().filter(|w| (1..WIDTH).contains(w))?),
            None => (rest, WIDTH),
        };
        let mut number: u64 = 0;
        for group in digits.split('/') {
            let group: u64 = group.trim_start_matches('x').parse().ok()?;
            number = number.checked_mul(1000)?.checked_add(group)?;
        }
        let name = Self { level, number, width };
        (name.path() == path).then_some(name)
    }
}

/// The path of a tile as it is written once it was read; `None` for the path of none.
#[must_use]
pub fn tile_path_again(path: &str) -> Option<String> {
    TileName::parse(path).map(|name| name.path())
}

/// A tile of hashes that has just become full.
pub(crate) struct FullTile {
    pub(crate) name: TileName,
    pub(crate) bytes: Vec<u8>,
}

/// The right edge of a tree: for each level the hashes of its last, not yet full tile. Everything left of it is in full
/// tiles, which never change again.
#[derive(Clone, Default)]
pub(crate) struct Edge {
    size: u64,
    levels: Vec<Vec<u8>>,
}

impl Edge {
    /// The edge of a tree of `size` leaves, its partial tiles read by `read`.
    pub(crate) fn load<E>(size: u64, mut read: impl FnMut(&TileName) -> Result<Vec<u8>, E>) -> Result<Self, E> {
        let mut levels = Vec::new();
        for level in 0..=MAX_LEVEL {
            let items = size >> (HEIGHT * level);
            let partial = TileName::in_tree(Some(level), items / WIDTH, size);
            levels.push(partial.map(|name| read(&name)).transpose()?.unwrap_or_default());
        }
        Ok(Self { size, levels })
    }

    /// Leaves in the tree.
    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    /// Adds the hash of the next leaf; gives the tiles that it fills, from the leaves up.
    pub(crate) fn push(&mut self, leaf: &Hash) -> Vec<FullTile> {
        let mut filled = Vec::new();
        let mut hash = *leaf;
        self.size += 1;
        for level in 0..=MAX_LEVEL {
            let place = usize::from(level);
            if self.levels.len() == place {
                self.levels.push(Vec::with_capacity(FULL_BYTES));
            }
            let Some(tile) = self.levels.get_mut(place) else { break };
            tile.extend_from_slice(&hash);
            if tile.len() < FULL_BYTES {
                break;
            }
            let bytes = std::mem::take(tile);
            hash = Tile::subtree_hash(&bytes).0;
            let number = (self.size >> (HEIGHT * (level + 1))) - 1;
            filled.push(FullTile { name: TileName { level: Some(level), number, width: WIDTH }, bytes });
        }
        filled
    }

    /// The partial tiles.
    pub(crate) fn partial_tiles(&self) -> impl Iterator<Item = (TileName, &[u8])> {
        (0..=MAX_LEVEL).zip(&self.levels).filter(|(_, bytes)| !bytes.is_empty()).map(|(level, bytes)| {
            let number = self.size >> (HEIGHT * (level + 1));
            (TileName { level: Some(level), number, width: (bytes.len() / HASH_SIZE) as u64 }, bytes.as_slice())
        })
    }

    /// The partial tile at that place, if it is one of the edge.
    pub(crate) fn partial(&self, level: u8, number: u64) -> Option<&[u8]> {
        let bytes = self.levels.get(usize::from(level))?;
        (self.size.checked_shr(u32::from(HEIGHT) * (u32::from(level) + 1)) == Some(number)).then_some(bytes)
    }

    /// The root of the tree.
    ///
    /// # Errors
    /// If the edge's tiles are shorter than its size says.
    pub(crate) fn root(&self) -> Result<Hash, Error> {
        let reader = TileHashes(|level, number| self.partial(level, number).map(<[u8]>::to_vec));
        Ok(tree_hash(self.size, &reader)?.0)
    }
}

/// Reads hashes of the tree from tiles that a function of level and number gives.
pub(crate) struct TileHashes<F>(pub(crate) F);

impl<F: Fn(u8, u64) -> Option<Vec<u8>>> HashReader for TileHashes<F> {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<TreeHash>, Error> {
        let mut last: Option<(u8, u64, Vec<u8>)> = None;
        let mut hashes = Vec::with_capacity(indexes.len());
        for &index in indexes {
            // The narrowest tile that holds the hash; what was read may be wider.
            let tile = Tile::from_index(HEIGHT, index);
            let (level, number) = (tile.level(), tile.level_index());
            if last.as_ref().is_none_or(|(l, n, _)| (*l, *n) != (level, number)) {
                last = Some((level, number, (self.0)(level, number).ok_or(Error::IndexesNotInTree)?));
            }
            let bytes = last.as_ref().map_or(&[][..], |(_, _, bytes)| bytes);
            hashes.push(tile.hash_at_index(bytes, index)?);
        }
        Ok(hashes)
    }
}

#[cfg(test)]
mod tests;
