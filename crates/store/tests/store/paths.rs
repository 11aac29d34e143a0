//! Paths from what was kept: those of whole trees, and none at all from what was changed.

use crate::common::{
    CHAIN, Database, anchored, anchored_row, apply, block, database, entries, tenant,
};
use cofferdam_core::{
    AnchorRef, BatchCommitment, BatchIndex, BatchMerkle, EntryHash, Finality, HistoryMerkle,
    HistoryRef, Inclusion, Seq,
};
use cofferdam_store::{AnchoredEvent, LogPosition, Mirror, Reader, StoreError};
use futures::TryStreamExt;
use sqlx::AssertSqlSafe;

/// Entries of each batch: one tile, three with a ragged one, exactly one, one more, and small ones.
const BATCHES: [usize; 7] = [3, 700, 256, 257, 1, 2, 5];

struct World {
    database: Database,
    mirror: Mirror,
    reader: Reader,
    events: Vec<AnchoredEvent>,
    leaves: Vec<EntryHash>,
}

/// A tenant whose batches are sealed and mirrored, each in a block of its own from block 1 on.
async fn world() -> World {
    let database = database().await;
    let sequencer = database.sequencer().await;
    let mirror = Mirror::connect(&database.runtime, CHAIN).await.expect("a mirror");
    let reader = Reader::connect(&database.runtime, CHAIN).await.expect("a reader");
    sequencer.add_tenant("a", tenant(1)).await.expect("added");
    apply(&mirror, None, block(0), &[], &[]).await.expect("applied");
    let mut events = vec![];
    let mut next = 0;
    for (number, count) in (1..).zip(BATCHES) {
        let new = entries(next..next + count);
        sequencer.appender().append(tenant(1), new).await.expect("appended");
        next += count;
        let event = anchored(&database.seal(CHAIN, tenant(1)).await, number, 0);
        let rows = [anchored_row(event)];
        apply(&mirror, Some(block(number - 1)), block(number), &[], &rows).await.expect("applied");
        events.push(event);
    }
    let mut tx = reader.tenant(tenant(1)).await.expect("a transaction");
    let stored: Vec<_> = tx.entries(Seq(0), next as u64).try_collect().await.expect("entries");
    let leaves = stored.iter().map(|entry| entry.entry_hash).collect();
    drop(tx);
    World { database, mirror, reader, events, leaves }
}

impl World {
    async fn inclusion(&self, seq: u64) -> Result<Option<Inclusion>, StoreError> {
        self.reader.tenant(tenant(1)).await.expect("a transaction").inclusion(Seq(seq)).await
    }

    async fn refused(&self, seq: u64) -> String {
        let error = self.inclusion(seq).await.expect_err("refused");
        assert!(matches!(error, StoreError::Unproven { .. }), "{error}");
        error.to_string()
    }

    async fn run(&self, sql: &str) {
        let sql = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        sql.execute(&mut self.database.raw(None).await).await.expect("changed");
    }

    /// What whole trees give.
    fn rebuilt(&self, event: &AnchoredEvent, position: u64) -> Inclusion {
        let batch = event.batch();
        let first = batch.first_seq.get() as usize;
        let leaves = &self.leaves[first..first + batch.count as usize];
        let tree = BatchMerkle::new(leaves).expect("leaves");
        let commitments: Vec<BatchCommitment> =
            self.events.iter().map(|event| event.batch().commitment()).collect();
        let history = HistoryMerkle::new(&commitments);
        let LogPosition { block_number, block_hash, tx_hash, log_index } = event.position;
        Inclusion {
            batch,
            position,
            path: tree.path(position).expect("a path"),
            history: HistoryRef {
                batches: history.batches(),
                path: history.path_to_peak(batch.index).expect("a path"),
            },
            anchor: AnchorRef { transaction: tx_hash, log_index, block_number, block_hash },
            finality: Finality::Included,
        }
    }

    /// Every batch at its first, last and some entries between.
    async fn all_are_as_rebuilt(&self, what: &str) {
        for event in &self.events {
            let count = event.count;
            for position in [0, 255, 256, count - 1].into_iter().filter(|at| *at < count) {
                let seq = event.first_seq.get() + position;
                let found = self.inclusion(seq).await.expect(what);
                assert_eq!(found, Some(self.rebuilt(event, position)), "{what}: entry {seq}");
            }
        }
    }
}

#[tokio::test]
async fn paths_are_those_of_whole_trees_whatever_was_kept() {
    let world = world().await;
    let mut raw = world.database.raw(None).await;
    let kept =
        "SELECT (octet_length(tiles) / 32)::bigint FROM cofferdam.batches ORDER BY batch_index";
    let kept: Vec<Option<i64>> = sqlx::query_scalar(kept).fetch_all(&mut raw).await.expect("tiles");
    assert_eq!(kept, [None, Some(3), None, Some(2), None, None, None]);
    let nodes =
        "SELECT (octet_length(nodes) / 32)::bigint FROM cofferdam.anchored ORDER BY batch_index";
    let nodes: Vec<Option<i64>> =
        sqlx::query_scalar(nodes).fetch_all(&mut raw).await.expect("nodes");
    assert_eq!(nodes, [0, 1, 0, 2, 0, 1, 0].map(Some));
    world.all_are_as_rebuilt("as kept").await;
    assert_eq!(world.inclusion(world.leaves.len() as u64).await.expect("asked"), None);

    // Of every size that the history had.
    let mut tx = world.reader.tenant(tenant(1)).await.expect("a transaction");
    for batches in 0..=world.events.len() + 1 {
        let known = world.events.get(..batches).unwrap_or_default();
        let commitments: Vec<_> = known.iter().map(|event| event.batch().commitment()).collect();
        for index in (0..batches as u64 + 1).map(BatchIndex) {
            let path = tx.path_to_peak(index, batches as u64).await.expect("asked");
            // With a batch too many the peaks that are complete are known all the same.
            if batches <= world.events.len() {
                assert_eq!(path, HistoryMerkle::new(&commitments).path_to_peak(index));
            }
        }
    }
    assert_eq!(tx.path_to_peak(BatchIndex(6), 8).await.expect("asked"), None, "not mirrored yet");
    drop(tx);

    for (change, what) in [
        ("UPDATE cofferdam.anchored SET nodes = NULL WHERE batch_index = 3", "a node less"),
        ("UPDATE cofferdam.batches SET tiles = NULL", "without tiles"),
        ("UPDATE cofferdam.anchored SET nodes = NULL", "without nodes"),
    ] {
        world.run(change).await;
        world.all_are_as_rebuilt(what).await;
    }
}

#[tokio::test]
async fn what_is_mirrored_again_after_a_rewind_has_its_paths() {
    let world = world().await;
    let tip = BATCHES.len() as u64;
    let rows: Vec<_> = world.events[2..].iter().map(|event| anchored_row(*event)).collect();
    let again = async || {
        let (rows, tip) = (rows.clone(), block(tip));
        world.mirror.replace(&world.reader, tip, block(2), tip, &[], rows).await.expect("replaced");
        let mut raw = world.database.raw(None).await;
        let without = "SELECT count(*) FROM cofferdam.anchored WHERE nodes IS NULL";
        sqlx::query_scalar(without).fetch_one(&mut raw).await.expect("a count")
    };
    let without: i64 = again().await;
    assert_eq!(without, 0, "the peaks before these followed from what is kept");
    world.all_are_as_rebuilt("after a rewind").await;

    // What does not lead to the peaks that the contract has is not gone on from: all rows tell.
    let flip = "UPDATE cofferdam.anchored SET nodes = set_bit(nodes, 0, 1 - get_bit(nodes, 0)) \
                WHERE batch_index = 1";
    world.run(flip).await;
    assert_eq!(again().await, 5);
    let said = world.refused(0).await;
    assert!(said.contains("index --once"), "{said}");

    let mut history = cofferdam_core::History::new();
    for event in &world.events {
        history.append(event.batch().commitment()).expect("room");
    }
    world.mirror.restore_history(tenant(1), &history).await.expect("restored");
    world.run("UPDATE cofferdam.anchored SET nodes = NULL WHERE batch_index = 1").await;
    world.all_are_as_rebuilt("made from below").await;
    assert_eq!(again().await, 1, "nor need it be kept");
    world.all_are_as_rebuilt("and go on").await;
}

#[tokio::test]
async fn i9_what_was_changed_proves_nothing_and_says_what_it_is() {
    let world = world().await;
    let flip = |table: &str, column: &str, bit: u32, of: &str| {
        format!(
            "UPDATE cofferdam.{table} SET {column} = set_bit({column}, {bit}, 1 - get_bit({column}, {bit})) \
             WHERE {of}"
        )
    };
    // A tile of the batch of 700: no entry of it, and of the others all.
    let tile = flip("batches", "tiles", 300, "batch_index = 1");
    world.run(&tile).await;
    for seq in [3, 300, 702] {
        let said = world.refused(seq).await;
        for part in ["batch 1", "tiles", &world.events[1].root.to_string(), "NULL"] {
            assert!(said.contains(part), "{said}");
        }
    }
    world.inclusion(2).await.expect("as it was");
    world.inclusion(703).await.expect("as it was");
    world.run(&tile).await;

    // One entry's hash: nobody in its tile.
    let entry = flip("entries", "entry_hash", 9, "seq = 3");
    world.run(&entry).await;
    let said = world.refused(258).await;
    assert!(said.contains("entries 3 to 258") && said.contains("cofferdam verify"), "{said}");
    world.inclusion(259).await.expect("as it was");
    world.run("CREATE TABLE kept AS SELECT * FROM cofferdam.entries WHERE seq = 3").await;
    world.run("DELETE FROM cofferdam.entries WHERE seq = 3").await;
    assert!(world.refused(4).await.contains("entries 3 to 258"));
    world.run("INSERT INTO cofferdam.entries SELECT * FROM kept").await;
    world.run(&entry).await;

    // The node of batches 2 and 3: whoever needs it, by the peaks that the indexer compared with the chain.
    let node = flip("anchored", "nodes", 0, "batch_index = 3");
    world.run(&node).await;
    let said = world.refused(0).await;
    assert!(said.contains("history") && said.contains("index rebuild"), "{said}");
    world.inclusion(world.events[2].first_seq.get()).await.expect("does not need it");
    world.run(&node).await;
    // And the peaks themselves.
    let peaks = flip("mirror_heads", "peaks", 0, "true");
    world.run(&peaks).await;
    world.refused(0).await;
    world.run(&peaks).await;
    world.all_are_as_rebuilt("changed back").await;
}
