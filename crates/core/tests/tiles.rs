//! Paths from a few nodes that were kept are those of whole trees, byte for byte.
#![allow(clippy::unwrap_used)] // a failed expectation is a failed test

use std::collections::{BTreeSet, HashMap};

use cofferdam_core::{
    B256, BatchCommitment, BatchIndex, BatchMerkle, BatchRoot, BatchTiles, EntryHash, History,
    HistoryMerkle, TILE_LEAVES, siblings,
};

fn leaves(count: u64) -> Vec<EntryHash> {
    (0..count).map(|n| B256::left_padding_from(&(n + 1).to_be_bytes()).into()).collect()
}

/// The path of a leaf, from its tile alone.
fn path(tiles: &BatchTiles, leaves: &[EntryHash], index: u64) -> Option<Vec<B256>> {
    let tile = tiles.tile(index)?;
    tiles.path(index, &leaves[tile.start as usize..tile.end as usize])
}

#[test]
fn a_path_from_a_tile_is_that_of_the_whole_tree() {
    let all = leaves(1200);
    let edges = [0, 255, 256, 511, 768, 1024];
    for count in 1..=1200 {
        let leaves = &all[..count as usize];
        let whole = BatchMerkle::new(leaves).unwrap();
        let tiles = BatchTiles::new(leaves).unwrap();
        assert_eq!((tiles.root(), tiles.count()), (whole.root(), count));
        let kept = BatchTiles::from_roots(count, tiles.roots().to_vec());
        assert_eq!(kept.as_ref(), Some(&tiles));
        let every = count.abs_diff(2 * TILE_LEAVES) <= 1;
        let some = edges.into_iter().chain([count - 1, count * 2 / 3]);
        let positions: BTreeSet<u64> = if every { (0..count).collect() } else { some.collect() };
        for index in positions {
            assert_eq!(path(&tiles, leaves, index), whole.path(index), "{index} of {count}");
        }
    }
}

#[test]
fn a_batch_without_tiles_is_one() {
    let leaves = leaves(700);
    let whole = BatchMerkle::new(&leaves).unwrap();
    let tiles = BatchTiles::untiled(700, whole.root());
    for index in [0, 255, 256, 511, 512, 699] {
        assert_eq!(tiles.tile(index), Some(0..700));
        assert_eq!(path(&tiles, &leaves, index), whole.path(index));
    }
    assert_eq!(path(&BatchTiles::untiled(700, BatchRoot::ZERO), &leaves, 0), None);
}

#[test]
fn what_is_not_the_batch_has_no_path() {
    let mut leaves = leaves(700);
    let tiles = BatchTiles::new(&leaves).unwrap();
    assert_eq!((tiles.tile(700), tiles.tile(699)), (None, Some(512..700)));
    assert_eq!(tiles.path(700, &leaves[512..]), None);
    // The leaves of another tile, too few, too many, none.
    for others in [&leaves[..256], &leaves[513..], &leaves[511..], &[]] {
        assert_eq!(tiles.path(600, others), None);
    }
    leaves[520] = leaves[521];
    assert_eq!(path(&tiles, &leaves, 600), None, "another leaf");
    assert!(path(&tiles, &leaves, 100).is_some(), "its own tile is as it was");

    let mut roots = tiles.roots().to_vec();
    for count in [0, 512, 769] {
        assert_eq!(BatchTiles::from_roots(count, roots.clone()), None, "{count}");
    }
    roots[1] = BatchRoot::ZERO;
    let changed = BatchTiles::from_roots(700, roots).unwrap();
    assert_ne!(changed.root(), tiles.root());
    assert!(BatchTiles::new(&[]).is_none());
}

#[test]
fn a_path_from_completed_nodes_is_that_of_the_whole_history() {
    const BATCHES: u64 = 150;
    let commitments: Vec<BatchCommitment> =
        leaves(BATCHES).into_iter().map(|leaf| (*leaf.as_bytes()).into()).collect();
    let (mut history, mut nodes) = (History::new(), HashMap::new());
    let completed =
        History::append_together(&mut [(&mut history, &commitments)]).unwrap().remove(0);
    for (last, commitment) in (0..).map(BatchIndex).zip(&commitments) {
        let completed = completed.by(last).iter().copied();
        for (height, node) in (0..).zip([(*commitment).into()].into_iter().chain(completed)) {
            nodes.insert((height, last), node);
        }
    }
    for batches in 1..=BATCHES {
        let whole = HistoryMerkle::new(&commitments[..batches as usize]);
        for index in (0..batches).map(BatchIndex) {
            let path = siblings(index, batches).unwrap();
            let path: Vec<B256> = path.map(|node| nodes[&(node.height, node.last)]).collect();
            assert_eq!(Some(path), whole.path_to_peak(index), "{index} of {batches}");
        }
    }
    assert!(siblings(BatchIndex(3), 3).is_err());
    assert_eq!(nodes.len() as u64, 2 * BATCHES - u64::from(BATCHES.count_ones()));
}

#[test]
fn histories_that_grow_together_are_those_that_grow_alone() {
    let commitments: Vec<BatchCommitment> =
        leaves(64).into_iter().map(|leaf| (*leaf.as_bytes()).into()).collect();
    // Every start up to 40 with every growth up to 23, all at once.
    let cases: Vec<(usize, usize)> =
        (0..=40).flat_map(|before| (0..=23).map(move |new| (before, new))).collect();
    let grown = |count: usize| {
        let mut history = History::new();
        for commitment in &commitments[..count] {
            history.append(*commitment).unwrap();
        }
        history
    };
    let mut together: Vec<History> = cases.iter().map(|(before, _)| grown(*before)).collect();
    let mut growing: Vec<_> = together
        .iter_mut()
        .zip(&cases)
        .map(|(history, (before, new))| (history, &commitments[*before..before + new]))
        .collect();
    let completed = History::append_together(&mut growing).unwrap();
    for ((history, completed), (before, new)) in together.iter().zip(&completed).zip(cases) {
        assert_eq!(*history, grown(before + new), "{new} behind {before}");
        // A batch completes as many nodes as its index has ones at its end.
        for index in 0..70 {
            let is_new = (before..before + new).contains(&index);
            let ones = if is_new { index.trailing_ones() as usize } else { 0 };
            let nodes = completed.by(BatchIndex(index as u64));
            assert_eq!(nodes.len(), ones, "{index}: {new} behind {before}");
        }
    }
    let mut full = History::from_peaks(u64::MAX, vec![B256::ZERO; 64]).unwrap();
    assert!(History::append_together(&mut [(&mut full, &commitments[..1])]).is_err());
}
