use crate::entries::split_entries;
use crate::folder::{CHECKPOINT, Folder};
use crate::tree::{Edge, TileName, WIDTH};
use crate::{
    Checkpoint, CheckpointError, Hash, LeafKind, LeafVerifier, Receipt, ReceiptError, SignedLeaf, SignerRole,
    TextError, VerifiedReceipt, VerifierKey,
};
use firebreak_domain::{Charge, DatasetId, ReasonCode};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use tlog_tiles::tlog::record_hash;

/// What a verified log says, counted from its leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogReport {
    /// The log's name.
    pub origin: String,
    /// Leaves.
    pub size: u64,
    /// Root of the tree.
    pub root: Hash,
    /// Leaves by kind.
    pub leaves_by_kind: BTreeMap<LeafKind, u64>,
    /// Leaves of refusals by their reason.
    pub refusals_by_reason: BTreeMap<ReasonCode, u64>,
    /// The sum of all charges on each dataset, from the leaves of the agencies that made them.
    pub charges_by_dataset: BTreeMap<DatasetId, Charge>,
    /// Receipts verified.
    pub receipts: usize,
    /// Whether the signature of every leaf was checked as well.
    pub signatures_checked: bool,
}

/// The file that is wrong, and what is wrong with it.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", file.display())]
pub struct VerifyError {
    /// Which.
    pub file: PathBuf,
    /// What.
    pub problem: VerifyProblem,
}

/// What is wrong with a file of a log, or with a receipt.
#[derive(Debug, thiserror::Error)]
pub enum VerifyProblem {
    /// It cannot be read, or is missing.
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
    /// It is none of the files of a log of this size.
    #[error("is none of the files of a log of this size")]
    Unexpected,
    /// The checkpoint does not count.
    #[error(transparent)]
    Checkpoint(CheckpointError),
    /// The checkpoint commits to another tree than that of entries and tiles.
    #[error("commits to other leaves than those in the folder")]
    OtherTree,
    /// A tile of hashes that is not the tree's.
    #[error("is not the tile of the tree that the checkpoint commits to")]
    Tile,
    /// A bundle that does not divide into the entries that it should hold.
    #[error("does not hold the number of entries that the checkpoint says, each after its length")]
    Bundle,
    /// An entry that is not the one committed to.
    #[error("entry {0} is not the one that the checkpoint commits to")]
    Entry(u64),
    /// An entry and its tile say different things, and neither is what the checkpoint commits to.
    #[error("entry {0} and its tile differ and neither leads to the checkpoint's root: several files are changed")]
    Several(u64),
    /// A partial bundle that is not the beginning of the whole.
    #[error("is not the beginning of the bundle that followed it")]
    PartialBundle,
    /// An entry that is no leaf.
    #[error("entry {0} is not a leaf: {1}")]
    Leaf(u64, TextError),
    /// A leaf that its signer did not sign.
    #[error("the signature of leaf {0} does not count")]
    Signature(u64),
    /// The charges add up beyond every bound.
    #[error("the charges up to leaf {0} are larger than any budget")]
    Charges(u64),
    /// A receipt does not hold in itself.
    #[error(transparent)]
    Receipt(ReceiptError),
    /// A receipt is from a later state of the log.
    #[error("is a receipt of a later state of the log: verify it with a newer copy")]
    ReceiptNewer,
    /// A receipt holds in itself, yet this log does not contain its tree: two histories under one key.
    #[error("is a receipt of another history than this log's, signed by the same key: the log has forked")]
    ReceiptForked,
}

/// Verifies a copy of a log, and receipts, with nothing but the log's public key: the checkpoint's signature; every
/// byte of every file in the folder, from the entries up to the root; that every entry is a leaf, with its signature if
/// `leaf_signatures` is given; each receipt in itself and as a leaf of this log.
///
/// The folder must be at rest: a log that is being written has files beyond its checkpoint for a moment.
///
/// # Errors
/// [`VerifyError`], which names the first file found wrong. The checkpoint's signature decides who is right: if the
/// entries lead to its root, a tile that differs is wrong, if the tiles do, the entry is.
pub fn verify_folder(
    dir: &Path,
    key: &VerifierKey,
    receipts: &[PathBuf],
    leaf_signatures: Option<&dyn LeafVerifier>,
) -> Result<LogReport, VerifyError> {
    let folder = Folder::new(dir);
    let receipts = receipts.iter().map(|path| read_receipts(path, key)).collect::<Result<Vec<_>, _>>()?.concat();
    let receipt_sizes = receipts.iter().map(|(_, receipt)| receipt.checkpoint.size()).collect();
    let (checkpoint, roots) = check_files(&folder, key, &receipt_sizes)?;
    for (path, receipt) in &receipts {
        check_receipt(receipt, checkpoint.size(), &roots)
            .map_err(|problem| VerifyError { file: path.clone(), problem })?;
    }
    let mut report = LogReport {
        origin: key.name().to_owned(),
        size: checkpoint.size(),
        root: *checkpoint.root(),
        leaves_by_kind: BTreeMap::new(),
        refusals_by_reason: BTreeMap::new(),
        charges_by_dataset: BTreeMap::new(),
        receipts: receipts.len(),
        signatures_checked: leaf_signatures.is_some(),
    };
    each_leaf(&folder, checkpoint.size(), &mut |index, leaf| report.add(index, &leaf, leaf_signatures))?;
    Ok(report)
}

/// Verifies a copy of a log as [`verify_folder`] does, signatures of leaves aside, then gives each leaf with its
/// number.
///
/// # Errors
/// [`VerifyError`]. What was given until then holds.
pub fn verified_leaves(
    dir: &Path,
    key: &VerifierKey,
    mut each: impl FnMut(u64, SignedLeaf),
) -> Result<(), VerifyError> {
    let folder = Folder::new(dir);
    let (checkpoint, _) = check_files(&folder, key, &BTreeSet::new())?;
    each_leaf(&folder, checkpoint.size(), &mut |index, leaf| {
        each(index, leaf);
        Ok(())
    })
}

/// Checks the checkpoint and every byte under it; gives the roots that the tree had at `sizes`.
fn check_files(
    folder: &Folder,
    key: &VerifierKey,
    sizes: &BTreeSet<u64>,
) -> Result<(Checkpoint, BTreeMap<u64, Hash>), VerifyError> {
    let note = read(folder, CHECKPOINT)?;
    let checkpoint = key
        .open(&note)
        .map_err(|error| VerifyError { file: folder.path(CHECKPOINT), problem: VerifyProblem::Checkpoint(error) })?;
    let older = list_older(folder, checkpoint.size())?;
    let roots = check_tree(folder, &checkpoint, sizes)?;
    for name in older {
        check_older(folder, name, checkpoint.size())?;
    }
    Ok((checkpoint, roots))
}

/// Reads every leaf of a log whose bytes were checked. A problem is its bundle's.
fn each_leaf(
    folder: &Folder,
    size: u64,
    each: &mut dyn FnMut(u64, SignedLeaf) -> Result<(), VerifyProblem>,
) -> Result<(), VerifyError> {
    for name in bundles(size) {
        for (index, entry) in (name.number * WIDTH..).zip(read_bundle(folder, &name)?.entries()) {
            SignedLeaf::decode(entry)
                .map_err(|error| VerifyProblem::Leaf(index, error))
                .and_then(|leaf| each(index, leaf))
                .map_err(|problem| VerifyError { file: folder.path(&name.path()), problem })?;
        }
    }
    Ok(())
}

impl LogReport {
    fn add(
        &mut self,
        index: u64,
        signed: &SignedLeaf,
        leaf_signatures: Option<&dyn LeafVerifier>,
    ) -> Result<(), VerifyProblem> {
        if leaf_signatures.is_some_and(|verifier| !signed.is_signed(verifier)) {
            return Err(VerifyProblem::Signature(index));
        }
        let leaf = signed.leaf();
        *self.leaves_by_kind.entry(leaf.kind).or_default() += 1;
        if let (LeafKind::Refusal, Some(reason)) = (leaf.kind, leaf.reason) {
            *self.refusals_by_reason.entry(reason).or_default() += 1;
        }
        // The agency's leaf is what counts; the gateway's tells of the same release.
        if let (Some(dataset), SignerRole::Adapter) = (&leaf.dataset, leaf.signer_role) {
            let sum = self.charges_by_dataset.entry(dataset.clone()).or_default();
            *sum = sum.plus(leaf.charge).map_err(|_| VerifyProblem::Charges(index))?;
        }
        Ok(())
    }
}

/// The bundle's bytes, known to divide into its entries.
struct Bundle {
    bytes: Vec<u8>,
    width: usize,
}

impl Bundle {
    fn entries(&self) -> Vec<&[u8]> {
        split_entries(&self.bytes, self.width).unwrap_or_default()
    }
}

fn read(folder: &Folder, name: &str) -> Result<Vec<u8>, VerifyError> {
    folder
        .read(name)
        .map_err(|error| VerifyError { file: folder.path(name), problem: VerifyProblem::Unreadable(error) })
}

fn read_bundle(folder: &Folder, name: &TileName) -> Result<Bundle, VerifyError> {
    let path = name.path();
    let bytes = read(folder, &path)?;
    let width = name.width as usize;
    if split_entries(&bytes, width).is_none() {
        return Err(VerifyError { file: folder.path(&path), problem: VerifyProblem::Bundle });
    }
    Ok(Bundle { bytes, width })
}

/// The receipts in a file: one, or those of an answer over several agencies.
fn read_receipts(path: &Path, key: &VerifierKey) -> Result<Vec<(PathBuf, VerifiedReceipt)>, VerifyError> {
    let fail = |problem| VerifyError { file: path.to_owned(), problem };
    let bytes = fs::read(path).map_err(|error| fail(VerifyProblem::Unreadable(error)))?;
    let read = |text| {
        let receipt = Receipt::decode(text).map_err(|error| fail(VerifyProblem::Receipt(error.into())))?;
        let receipt = receipt.verify(key).map_err(|error| fail(VerifyProblem::Receipt(error)))?;
        Ok((path.to_owned(), receipt))
    };
    Receipt::each(&bytes).map(read).collect()
}

fn bundles(size: u64) -> impl Iterator<Item = TileName> {
    (0..).map_while(move |number| TileName::in_tree(None, number, size))
}

/// Refuses any file that a log of `size` leaves does not have; gives the partial tiles and bundles of earlier
/// checkpoints, which it may have.
fn list_older(folder: &Folder, size: u64) -> Result<Vec<TileName>, VerifyError> {
    let files = folder
        .list()
        .map_err(|error| VerifyError { file: folder.path(""), problem: VerifyProblem::Unreadable(error) })?;
    let mut older = Vec::new();
    for (name, file) in files {
        if name == CHECKPOINT {
            continue;
        }
        let unexpected = || VerifyError { file, problem: VerifyProblem::Unexpected };
        let Some(tile) = TileName::parse(&name) else { return Err(unexpected()) };
        match TileName::in_tree(tile.level, tile.number, size) {
            Some(last) if last == tile => {}
            Some(last) if tile.width < last.width => older.push(tile),
            _ => return Err(unexpected()),
        }
    }
    Ok(older)
}

/// Leads the entries up to the root, comparing each tile on the way; gives the roots that the tree had at `sizes`.
fn check_tree(
    folder: &Folder,
    checkpoint: &Checkpoint,
    sizes: &BTreeSet<u64>,
) -> Result<BTreeMap<u64, Hash>, VerifyError> {
    let mut roots = BTreeMap::new();
    let mut climb = Climb::new(folder);
    for name in bundles(checkpoint.size()) {
        for entry in read_bundle(folder, &name)?.entries() {
            climb.push(&record_hash(entry).0);
            if sizes.contains(&climb.edge.size())
                && let Ok(root) = climb.edge.root()
            {
                roots.insert(climb.edge.size(), root);
            }
        }
    }
    let (root, wrong_tile) = climb.end();
    if root != Some(*checkpoint.root()) {
        return Err(blame(folder, checkpoint));
    }
    match wrong_tile {
        None => Ok(roots),
        Some(error) => Err(error),
    }
}

/// A tree that grows from leaf hashes and is compared with the tiles in a folder.
struct Climb<'a> {
    folder: &'a Folder,
    edge: Edge,
    wrong_tile: Option<VerifyError>,
}

impl<'a> Climb<'a> {
    fn new(folder: &'a Folder) -> Self {
        Self { folder, edge: Edge::default(), wrong_tile: None }
    }

    fn push(&mut self, leaf: &Hash) {
        for tile in self.edge.push(leaf) {
            self.wrong_tile = self.wrong_tile.take().or_else(|| differs(self.folder, &tile.name, &tile.bytes));
        }
    }

    /// The root, and the first tile that differs.
    fn end(self) -> (Option<Hash>, Option<VerifyError>) {
        let partial = || self.edge.partial_tiles().find_map(|(name, bytes)| differs(self.folder, &name, bytes));
        (self.edge.root().ok(), self.wrong_tile.or_else(partial))
    }
}

fn differs(folder: &Folder, name: &TileName, expected: &[u8]) -> Option<VerifyError> {
    match read(folder, &name.path()) {
        Ok(bytes) if bytes == expected => None,
        Ok(_) => Some(VerifyError { file: folder.path(&name.path()), problem: VerifyProblem::Tile }),
        Err(error) => Some(error),
    }
}

/// Finds the file to name when the entries do not lead to the signed root.
fn blame(folder: &Folder, checkpoint: &Checkpoint) -> VerifyError {
    match compare_with_tiles(folder, checkpoint) {
        Err(error) => error,
        Ok(Some((name, problem))) => VerifyError { file: folder.path(&name.path()), problem },
        // Entries and tiles agree with each other: it is the checkpoint that belongs to something else.
        Ok(None) => VerifyError { file: folder.path(CHECKPOINT), problem: VerifyProblem::OtherTree },
    }
}

/// The first bundle with an entry whose hash is not the one in its tile, and whether the tiles are the ones signed.
fn compare_with_tiles(
    folder: &Folder,
    checkpoint: &Checkpoint,
) -> Result<Option<(TileName, VerifyProblem)>, VerifyError> {
    let mut changed = None;
    let mut edge = Edge::default();
    for name in bundles(checkpoint.size()) {
        let bundle = read_bundle(folder, &name)?;
        let tile_name = TileName { level: Some(0), ..name };
        let tile = read(folder, &tile_name.path())?;
        let (hashes, rest) = tile.as_chunks::<32>();
        let entries = bundle.entries();
        if hashes.len() != entries.len() || !rest.is_empty() {
            return Ok(Some((tile_name, VerifyProblem::Tile)));
        }
        for ((index, entry), hash) in (name.number * WIDTH..).zip(entries).zip(hashes) {
            edge.push(hash);
            if record_hash(entry).0 != *hash && changed.is_none() {
                changed = Some((name, index));
            }
        }
    }
    let tiles_are_signed = edge.root().ok().as_ref() == Some(checkpoint.root());
    let problem = if tiles_are_signed { VerifyProblem::Entry } else { VerifyProblem::Several };
    Ok(changed.map(|(name, index)| (name, problem(index))))
}

/// Compares a partial tile or bundle of an earlier checkpoint with what it grew into.
fn check_older(folder: &Folder, name: TileName, size: u64) -> Result<(), VerifyError> {
    let file = folder.path(&name.path());
    let Some(last) = TileName::in_tree(name.level, name.number, size) else {
        return Err(VerifyError { file, problem: VerifyProblem::Unexpected });
    };
    let (older, whole) = (read(folder, &name.path())?, read(folder, &last.path())?);
    let (whole_parts, problem) = if name.level.is_some() {
        (older.len() as u64 == name.width * 32, VerifyProblem::Tile)
    } else {
        (split_entries(&older, name.width as usize).is_some(), VerifyProblem::PartialBundle)
    };
    if whole_parts && whole.starts_with(&older) { Ok(()) } else { Err(VerifyError { file, problem }) }
}

fn check_receipt(receipt: &VerifiedReceipt, size: u64, roots: &BTreeMap<u64, Hash>) -> Result<(), VerifyProblem> {
    if receipt.checkpoint.size() > size {
        return Err(VerifyProblem::ReceiptNewer);
    }
    if roots.get(&receipt.checkpoint.size()) == Some(receipt.checkpoint.root()) {
        Ok(())
    } else {
        Err(VerifyProblem::ReceiptForked)
    }
}

#[cfg(test)]
mod tests;
