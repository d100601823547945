use super::*;
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use tlog_tiles::tlog::record_hash;

/// The Merkle tree hash, word for word as RFC 6962, section 2.1, defines it.
fn by_definition(leaves: &[Vec<u8>]) -> Hash {
    match leaves {
        [] => Sha256::digest([]).into(),
        [leaf] => Sha256::new().chain_update([0]).chain_update(leaf).finalize().into(),
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            Sha256::new()
                .chain_update([1])
                .chain_update(by_definition(left))
                .chain_update(by_definition(right))
                .finalize()
                .into()
        }
    }
}

fn grow(leaves: &[Vec<u8>]) -> Edge {
    let mut edge = Edge::default();
    for leaf in leaves {
        edge.push(&record_hash(leaf).0);
    }
    edge
}

#[test]
fn roots_are_those_of_the_reference_tree() {
    // The eight leaves of certificate-transparency's Merkle tree tests, and their roots.
    let leaves: Vec<Vec<u8>> =
        ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
            .iter()
            .map(|leaf| hex::decode(leaf).unwrap())
            .collect();
    for (size, root) in [
        (0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
        (2, "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
        (3, "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
        (8, "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"),
    ] {
        assert_eq!(hex::encode(grow(&leaves[..size]).root().unwrap()), root, "{size}");
    }
}

#[test]
fn the_edge_has_the_root_of_the_definition_around_every_boundary() {
    let leaves: Vec<Vec<u8>> = (0..1030u32).map(|n| n.to_be_bytes().to_vec()).collect();
    for size in [0, 1, 2, 3, 127, 255, 256, 257, 511, 512, 513, 768, 1023, 1024, 1025, 1030] {
        assert_eq!(grow(&leaves[..size]).root().unwrap(), by_definition(&leaves[..size]), "{size}");
    }
}

#[test]
fn a_tree_fills_tiles_on_every_level() {
    let mut edge = Edge::default();
    let mut filled = Vec::new();
    for n in 0..(1u32 << 16) + 1 {
        let hash = Sha256::digest(n.to_be_bytes()).into();
        filled.extend(edge.push(&hash).into_iter().map(|tile| tile.name));
    }
    let of_level = |level| filled.iter().filter(|name| name.level == Some(level)).count();
    assert_eq!((of_level(0), of_level(1), of_level(2)), (256, 1, 0));
    let partial: Vec<_> = edge.partial_tiles().map(|(name, _)| name.path()).collect();
    assert_eq!(partial, ["tile/0/256.p/1", "tile/2/000.p/1"]);
}

#[test]
fn names_are_those_of_the_specification() {
    // The example of c2sp.org/tlog-tiles: number 1234067.
    let tile = TileName { level: Some(4), number: 1_234_067, width: 256 };
    assert_eq!(tile.path(), "tile/4/x001/x234/067");
    assert_eq!(TileName { width: 8, ..tile }.path(), "tile/4/x001/x234/067.p/8");
    assert_eq!(TileName { level: None, width: 8, ..tile }.path(), "tile/entries/x001/x234/067.p/8");
    for other in [
        "tile/8/0/000",
        "tile/0/0",
        "tile/0/x000/001",
        "tile/0/1000",
        "tile/00/000",
        "tile/0/000.p/256",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/data/000",
        "tile/0/000/",
        "tile/0/",
        "tile/entries/000.p/",
        "checkpoint",
        "tile/0/+01",
        "tile/6/000",
    ] {
        assert_eq!(TileName::parse(other), None, "{other}");
    }
}

proptest! {
    #[test]
    fn a_name_reads_back_as_written(
        level in prop::option::of(0..=MAX_LEVEL), number in 0u64..1 << 40, width in 1..=WIDTH,
    ) {
        let name = TileName { level, number, width };
        prop_assert_eq!(TileName::parse(&name.path()), Some(name));
    }
}
