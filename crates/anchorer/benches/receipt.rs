//! How long making a receipt takes, from what was kept and from whole trees: `script/bench receipt`.
//!
//! A Postgres of its own, fsync on. A tenant's million entries (`--entries`) of a kilobyte are appended,
//! sealed into batches of 65,536 (`--each`) and mirrored as anchored. Then receipts of entries all over them are made, one after
//! another: a transaction, the entry, its inclusion, the check, the text. Some of them are made as well
//! by reading whole batches and building whole trees, and must come out the same.

mod filled;

use std::{fs, time::Instant};

use cofferdam_anchorer::{SealPolicy, Stint, seal_due};
use cofferdam_core::{
    Address, AnchorRef, B256, BatchCommitment, BatchMerkle, EntryBody, Finality, HistoryMerkle,
    HistoryRef, Inclusion, Receipt, ReceiptEntry, Seq,
    mirror::{LogPosition, MirrorEvent, Row, Value},
};
use cofferdam_store::{
    AnchoredEvent, Checkpoint, Counters, Mirror, Reader, SealedBatch, Sealer, Sequencer, TenantTx,
};
use filled::{CHAIN, fill, number, start, tenant};
use futures::TryStreamExt;

/// Receipts whose making is measured.
const MADE: u64 = 2_000;
/// Receipts that are made from whole trees too.
const REBUILT: u64 = 40;

fn main() {
    let json = std::env::args().any(|arg| arg == "--json");
    let entries = number("--entries").unwrap_or(1_000_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let each = number("--each").unwrap_or(SealPolicy::default().max_entries);
    runtime.expect("a runtime").block_on(bench(entries, each, json));
}

async fn bench(entries: u64, each: u64, json: bool) {
    let began = Instant::now();
    let (server, daemon) = start().await;
    let sequencer = Sequencer::connect(&daemon, CHAIN).await.expect("a sequencer");
    let sealer = Sealer::connect(&daemon, CHAIN).await.expect("a sealer");
    fill(&sequencer, entries).await;
    let policy = SealPolicy { max_entries: each, ..SealPolicy::default() };
    let report = seal_due(&sealer, &policy, Stint::flush()).await.expect("sealed");
    assert_eq!(report.sealed as u64, entries.div_ceil(each), "{report:?}");
    let mirror = Mirror::connect(&daemon, CHAIN).await.expect("a mirror");
    let reader = Reader::connect(&daemon, CHAIN).await.expect("a reader");
    let batches = transaction(&reader).await.batches().await.expect("batches");
    let rows: Vec<Row> = batches.iter().map(event).collect();
    let tip = Checkpoint { number: batches.len() as u64, hash: B256::repeat_byte(2) };
    let counted = mirror.count(&mut Counters::default(), rows).await.expect("counted");
    mirror.apply(None, tip, &[], counted).await.expect("mirrored");
    let set_up = began.elapsed().as_secs_f64();

    // All over the entries, in an order that no cache foresees, and the same in every run.
    let seqs = (0..MADE).map(|n| Seq((n * 7_368_787 + 12_345) % entries));
    let (mut made, mut rebuilt) = (vec![], vec![]);
    for (n, seq) in seqs.enumerate() {
        let (text, took) = measured(make(&reader, seq)).await;
        made.push(took);
        if (n as u64).is_multiple_of(MADE / REBUILT) {
            let (whole, took) = measured(rebuild(&reader, seq)).await;
            assert_eq!(text, whole, "entry {seq}");
            rebuilt.push(took);
        }
    }
    let [(made_p50, made_p95), (rebuilt_p50, rebuilt_p95)] = [made, rebuilt].map(percentiles);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("making a receipt, {entries} entries in {} batches (budget 5 ms p95)", batches.len());
    println!("  setting that up          {set_up:>9.0} s");
    println!("  from tiles and nodes     {made_p50:>9.2} ms median {made_p95:>9.2} ms p95");
    println!("  from whole trees         {rebuilt_p50:>9.2} ms median {rebuilt_p95:>9.2} ms p95");
    println!("  load {}", load.trim());
    server.stop().await;
    if json {
        let line = serde_json::json!({
            "entries": entries, "set_up_s": set_up, "make_p50_ms": made_p50, "make_p95_ms": made_p95,
            "rebuild_p50_ms": rebuilt_p50, "rebuild_p95_ms": rebuilt_p95,
        });
        println!("{line}");
    }
}

async fn transaction(reader: &Reader) -> TenantTx {
    reader.tenant(tenant(0)).await.expect("a transaction")
}

/// Milliseconds.
async fn measured(making: impl Future<Output = String>) -> (String, f64) {
    let start = Instant::now();
    (making.await, start.elapsed().as_secs_f64() * 1e3)
}

fn percentiles(mut times: Vec<f64>) -> (f64, f64) {
    times.sort_by(f64::total_cmp);
    (times[times.len() / 2], times[times.len() * 95 / 100])
}

/// The event that anchors a sealed batch, in a block of its own.
fn event(batch: &SealedBatch) -> Row {
    let number = batch.index.get() + 1;
    let numbers = [batch.index.get(), batch.first_seq.get(), batch.count].map(Value::Int);
    let time = 1_700_000_000 + number;
    Row {
        event: MirrorEvent::named("Anchored").expect("an event"),
        tenant: batch.tenant.as_b256(),
        position: LogPosition {
            block_number: number,
            block_hash: B256::left_padding_from(&number.to_be_bytes()),
            tx_hash: B256::repeat_byte(1),
            log_index: 0,
        },
        time,
        values: numbers
            .into_iter()
            .chain([Value::Word(batch.root.into()), Value::Int(time)])
            .collect(),
    }
}

/// As `cofferdam receipt` does.
async fn make(reader: &Reader, seq: Seq) -> String {
    let mut tx = transaction(reader).await;
    let inclusion = tx.inclusion(seq).await.expect("proven").expect("anchored");
    receipt(&mut tx, seq, inclusion).await
}

/// The same from every entry of the batch and every batch of the tenant.
async fn rebuild(reader: &Reader, seq: Seq) -> String {
    let mut tx = transaction(reader).await;
    let events = tx.anchored().await.expect("events");
    let commitments: Vec<BatchCommitment> =
        events.iter().map(|event| event.batch().commitment()).collect();
    let of = events.iter().find(|event| event.batch().leaf_index(seq).is_some());
    let AnchoredEvent { position: at, .. } = *of.expect("anchored");
    let batch = of.expect("anchored").batch();
    let entries: Vec<_> = tx
        .entries(batch.first_seq, batch.count)
        .map_ok(|entry| entry.entry_hash)
        .try_collect()
        .await
        .expect("entries");
    let position = batch.leaf_index(seq).expect("in the batch");
    let inclusion = Inclusion {
        batch,
        position,
        path: BatchMerkle::new(&entries).and_then(|tree| tree.path(position)).expect("a path"),
        history: HistoryRef {
            batches: commitments.len() as u64,
            path: HistoryMerkle::new(&commitments).path_to_peak(batch.index).expect("a path"),
        },
        anchor: AnchorRef {
            transaction: at.tx_hash,
            log_index: at.log_index,
            block_number: at.block_number,
            block_hash: at.block_hash,
        },
        finality: Finality::Included,
    };
    receipt(&mut tx, seq, inclusion).await
}

async fn receipt(tx: &mut TenantTx, seq: Seq, inclusion: Inclusion) -> String {
    let entry = tx.entry(seq).await.expect("read").expect("an entry");
    let seed = entry.seed.expect("not erased");
    let receipt = Receipt {
        chain_id: CHAIN,
        contract: Address::repeat_byte(3),
        code_hash: B256::repeat_byte(4),
        tenant: tx.tenant(),
        entry: ReceiptEntry {
            seq,
            previous: entry.previous,
            body: EntryBody::Whole { seed, fields: entry.fields },
        },
        inclusion: Some(inclusion),
    };
    receipt.check().expect("right");
    receipt.to_json().expect("a text")
}
