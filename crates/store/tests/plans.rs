//! What is asked for by its key reads its own row and not all of the tenant's, though the planner has no
//! statistics to go by. In a program of its own, whose server is too young to vacuum what is counted here.

#[allow(dead_code, reason = "the store's other tests use the rest")]
#[path = "store/common.rs"]
mod common;

use alloy_primitives::U256;
use cofferdam_core::{Address, B256, BatchIndex, Seq, TenantId};
use cofferdam_store::{Attempt, Item, Mined, Mirror, Reader, Sealer, TenantTx};
use common::{CHAIN, Database, anchored, anchored_row, apply, block, database, entries, tenant};
use std::time::Duration;
use tokio::sync::Mutex;

const BATCHES: usize = 12;
/// Entries of a batch.
const EACH: usize = 30;
/// What may be read besides, and is far less than another index would give.
const SLACK: i64 = 8;

/// Rows that were read so far, in all. A server counts what a connection read once that is closed.
async fn total(database: &Database) -> i64 {
    let mut raw = database.raw(None).await;
    let others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                  AND backend_type = 'client backend' AND pid <> pg_backend_pid()";
    while sqlx::query_scalar::<_, i64>(others).fetch_one(&mut raw).await.expect("a count") > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let read = "SELECT (SELECT sum(idx_tup_read) FROM pg_stat_all_indexes WHERE schemaname = 'cofferdam')::bigint \
                + (SELECT sum(seq_tup_read) FROM pg_stat_all_tables WHERE schemaname = 'cofferdam')::bigint";
    sqlx::query_scalar(read).fetch_one(&mut raw).await.expect("a sum")
}

/// Demands that this reads about so many rows of a tenant.
async fn reads(database: &Database, rows: i64, doing: impl AsyncFnOnce(TenantTx)) {
    let before = total(database).await;
    let reader = Reader::connect(&database.runtime, CHAIN).await.expect("a reader");
    doing(reader.tenant(tenant(1)).await.expect("a transaction")).await;
    drop(reader);
    let read = total(database).await - before;
    assert!((rows..rows + SLACK).contains(&read), "{read} rows, not {rows}");
}

/// How many tenants there are, each with one anchored batch; and how many of them have a second, which a receipt
/// of long ago says is anchored, too.
const TENANTS: u64 = 3_000;
const SECOND: u64 = 40;
/// Few enough that to a planner without statistics any index is as good as another.
const FEW: u64 = 150;
/// One test at a time: dead versions of rows are read too, as long as a transaction anywhere on the server keeps
/// them.
static ALONE: Mutex<()> = Mutex::const_new(());

fn crowded(n: u64) -> TenantId {
    TenantId::from_authority(Address::left_padding_from(&(n + 1).to_be_bytes())).expect("not zero")
}

/// Fills the database with all of them, each with a transaction of its own.
async fn crowd(database: &Database, tenants: u64) {
    let ids: Vec<_> = (0..tenants).map(|n| crowded(n).as_b256().0).collect();
    let sql = format!(
        "WITH t AS (INSERT INTO cofferdam.tenants (tenant_id, chain_id, name) \
             SELECT id, {CHAIN}, 't' || n FROM unnest($1::bytea[]) WITH ORDINALITY AS t(id, n) RETURNING *), \
         h AS (INSERT INTO cofferdam.heads (tenant_id, chain_id, last_entry_hash, next_seq, sealed_seq, \
                 sealed_batches) SELECT tenant_id, chain_id, tenant_id, 2, 2, 2 FROM t), \
         m AS (INSERT INTO cofferdam.mirror_heads (tenant_id, chain_id, batches, entries, peaks) \
             SELECT tenant_id, chain_id, 1, 1, tenant_id FROM t), \
         b AS (INSERT INTO cofferdam.batches (tenant_id, chain_id, batch_index, first_seq, count, root, \
                 anchored_at, block_number, block_hash, tx_hash, log_index) \
             SELECT id, {CHAIN}, i, i, 1, id, CASE i WHEN 0 THEN 1 END, CASE i WHEN 0 THEN 1 END, \
                 CASE i WHEN 0 THEN id END, CASE i WHEN 0 THEN id END, CASE i WHEN 0 THEN 1 END \
             FROM unnest($1::bytea[]) WITH ORDINALITY AS t(id, n), generate_series(0, 1) i \
             WHERE i = 0 OR n <= {SECOND} RETURNING *), \
         p AS (INSERT INTO cofferdam.postings (tenant_id, chain_id, batch_index, intent, anchored) \
             SELECT tenant_id, chain_id, batch_index, tenant_id, true FROM b) \
         INSERT INTO cofferdam.transactions (chain_id, tx_hash, intent, sender, nonce, items, settled) \
         SELECT {CHAIN}, id, id, decode(repeat('00', 20), 'hex'), n, 1, true FROM unnest($1::bytea[]) WITH ORDINALITY AS t(id, n)"
    );
    let mut raw = database.raw(None).await;
    sqlx::query(sqlx::AssertSqlSafe(sql)).bind(ids).execute(&mut raw).await.expect("filled");
}

/// Demands that this reads at most so many rows for each of the tenants that it is about.
async fn reads_each(database: &Database, rows: i64, doing: impl AsyncFnOnce()) {
    let before = total(database).await;
    doing().await;
    let (read, of) = (total(database).await - before, SECOND as i64);
    assert!((of..=of * rows).contains(&read), "{read} rows, for {of} tenants");
}

#[tokio::test]
async fn what_concerns_few_tenants_reads_their_rows_alone() {
    let _alone = ALONE.lock().await;
    for tenants in [FEW, TENANTS] {
        what_concerns_few_of(tenants).await;
    }
}

async fn what_concerns_few_of(tenants: u64) {
    let database = database().await;
    crowd(&database, tenants).await;
    let sealer = async || Sealer::connect(&database.runtime, CHAIN).await.expect("a sealer");

    let mut waiting = vec![];
    reads_each(&database, 4, async || {
        waiting = sealer().await.unanchored_batches(99, &[]).await.expect("listed");
    })
    .await;
    assert_eq!(waiting.len() as u64, SECOND);

    let hash = B256::repeat_byte(7);
    let attempt = Attempt { hash, raw: vec![1].into(), max_fee: 1, tip: 1 };
    let items: Vec<_> =
        waiting.iter().map(|batch| (batch.tenant, Item::Batch(batch.index))).collect();
    let mined = Mined {
        hash,
        success: true,
        block_number: 2,
        block_hash: block(2).hash,
        gas_used: 100,
        effective_gas_price: 1,
        l1_fee: U256::ZERO,
        operator_fee: U256::ZERO,
        done: items.clone(),
    };
    reads_each(&database, 10, async || {
        let sealer = sealer().await;
        let intent = sealer.record_intent(Address::ZERO, 0, &attempt, &items).await;
        let intent = intent.expect("recorded");
        sealer.mined(&intent, &mined).await.expect("written down");
        sealer.abandon(&intent, 0).await.expect("freed");
    })
    .await;

    let rows: Vec<_> =
        waiting.iter().zip(0..).map(|(batch, n)| anchored_row(anchored(batch, 2, n))).collect();
    reads_each(&database, 9, async || {
        let mirror = Mirror::connect(&database.runtime, CHAIN).await.expect("a mirror");
        let applied = apply(&mirror, None, block(2), &[], &rows).await.expect("applied");
        assert_eq!((applied.anchored, applied.incidents), (SECOND, 0));
    })
    .await;
}

#[tokio::test]
async fn a_key_reads_its_row_alone() {
    let _alone = ALONE.lock().await;
    let database = database().await;
    let mut events = vec![];
    let sequencer = database.sequencer().await;
    sequencer.add_tenant("a", tenant(1)).await.expect("added");
    for batch in 0..BATCHES {
        let new = entries(batch * EACH..(batch + 1) * EACH);
        sequencer.appender().append(tenant(1), new).await.expect("appended");
        let sealed = database.seal(CHAIN, tenant(1)).await;
        events.push(anchored(&sealed, 1, batch as u64));
    }
    drop(sequencer);
    let mirror = Mirror::connect(&database.runtime, CHAIN).await.expect("a mirror");
    let rows: Vec<_> = events.iter().copied().map(anchored_row).collect();
    apply(&mirror, None, block(1), &[], &rows).await.expect("applied");
    drop(mirror);

    // Its batch, tiles, history and leaves, and two nodes.
    reads(&database, EACH as i64 + 5, async |mut tx| {
        tx.inclusion(Seq(77)).await.expect("read").expect("anchored");
    })
    .await;
    reads(&database, 1, async |mut tx| {
        tx.entry(Seq(77)).await.expect("read").expect("stored");
    })
    .await;
    // The tenant's key, too.
    reads(&database, 2, async |mut tx| {
        tx.entry_by_external_id("id-77").await.expect("read").expect("stored");
    })
    .await;
    reads(&database, 1, async |mut tx| {
        tx.batch(BatchIndex(7)).await.expect("read").expect("sealed");
    })
    .await;
    reads(&database, 1, async |mut tx| {
        tx.tiles(&events[7].batch()).await.expect("read");
    })
    .await;
    // What is appended again is found by its id, beside what the door itself reads.
    reads(&database, 3, async |_| {
        let appender = database.sequencer().await.appender();
        let again = appender.append(tenant(1), entries([7, 77, 277])).await;
        assert_eq!(again.expect("repeats").len(), 3);
    })
    .await;
}
