//! Every event as a row and back, and every counter under rewinds.

mod common;

use cofferdam_core::{
    Address, History, TenantId,
    mirror::{MIRRORED, MirrorEvent, MirrorTable, Row},
};
use cofferdam_store::{Hole, Mirror, MirrorHead, Reader, StoreError};
use common::{CHAIN, Database, block, database, position, sample, tenant};
use futures::TryStreamExt;

/// Every event in a block of its own, each counter contiguous. They come in the order of their tables.
fn everything(of: TenantId) -> Vec<Row> {
    let mut last = (MirrorTable::Skipped, 0);
    let rows = MIRRORED.iter().zip(1..).map(|(event, number)| {
        let n = if last.0 == event.table { last.1 + 1 } else { 0 };
        last = (event.table, n);
        let mut row = sample(event, n, of, position(number, 3));
        if event.name == "Forfeited" {
            // The agent counts it, too; the first of its own.
            let at =
                event.columns().position(|member| member.column == "agent_nonce").expect("one");
            row.values[at] = cofferdam_core::mirror::Value::Int(0);
        }
        row
    });
    rows.collect()
}

async fn read(database: &Database, of: TenantId) -> Vec<Row> {
    let reader = Reader::connect(&database.runtime, CHAIN).await.expect("a reader");
    let mut tx = reader.tenant(of).await.expect("a transaction");
    let mut all = vec![];
    for table in MirrorTable::ALL {
        all.extend(tx.mirrored(table).try_collect::<Vec<_>>().await.expect("rows"));
    }
    all.sort_by_key(|row| (row.position.block_number, row.position.log_index));
    all
}

#[tokio::test]
async fn what_is_read_back_is_what_was_written() {
    let database = database().await;
    let mirror = Mirror::connect(&database.runtime, CHAIN).await.expect("a mirror");
    let (ours, theirs) = (everything(tenant(1)), everything(tenant(2)));
    // Two tenants' logs at the same places cannot be, but no key minds.
    let rows: Vec<Row> = [&ours[..], &theirs].concat();
    let forfeits = |row: &&Row| row.event.name == "Forfeited";
    let rows: Vec<Row> = rows.iter().filter(|row| !forfeits(row)).cloned().collect();
    mirror.apply(None, block(40), &[], &rows).await.expect("applied");
    for of in [tenant(1), tenant(2)] {
        let expected: Vec<Row> =
            rows.iter().filter(|row| row.tenant == of.as_b256()).cloned().collect();
        assert_eq!(read(&database, of).await, expected);
    }
    for row in &rows {
        let (topics, data) = row.encode();
        let (of, values) = row.event.decode(&topics, &data).expect("a log");
        assert_eq!((of, &values), (row.tenant, &row.values), "{}", row.event.name);
    }
}

#[tokio::test]
async fn a_rewind_leaves_what_a_shorter_mirror_would_have() {
    let (long, short) = (database().await, database().await);
    let rows = everything(tenant(1));
    let mirror = Mirror::connect(&long.runtime, CHAIN).await.expect("a mirror");
    mirror.apply(None, block(40), &[], &rows).await.expect("applied");
    let other = Mirror::connect(&short.runtime, CHAIN).await.expect("a mirror");
    let mut checkpoint = block(40);
    for depth in (0..30).rev() {
        mirror.rewind(checkpoint, block(depth)).await.expect("rewound");
        checkpoint = block(depth);
        for of in mirror.without_history().await.expect("listed") {
            let mut history = History::new();
            for row in rows.iter().filter(|row| row.tenant == of.as_b256()) {
                if row.event.table == MirrorTable::Anchored && row.position.block_number <= depth {
                    let event = cofferdam_store::AnchoredEvent::try_from(row).expect("one");
                    history.append(event.batch().commitment()).expect("room");
                }
            }
            mirror.restore_history(of, &history).await.expect("restored");
        }
        let until: Vec<Row> =
            rows.iter().filter(|row| row.position.block_number <= depth).cloned().collect();
        let from = other.checkpoint().await.expect("read");
        if let Some(from) = from {
            other.rewind(from, block(0)).await.expect("rewound");
        }
        let from = from.map(|_| block(0));
        other.apply(from, block(depth), &[], &until).await.expect("applied");
        assert_eq!(read(&long, tenant(1)).await, read(&short, tenant(1)).await, "{depth}");
        let heads = |mirror: Mirror| async move { mirror.heads(None, 10).await.expect("heads") };
        assert_eq!(heads(mirror.clone()).await, heads(other.clone()).await, "{depth}");
        if depth == 0 {
            assert_eq!(heads(mirror.clone()).await, Vec::<MirrorHead>::new());
        }
    }
}

#[tokio::test]
async fn every_gap_and_every_repeat_is_a_hole() {
    let database = database().await;
    let mirror = Mirror::connect(&database.runtime, CHAIN).await.expect("a mirror");
    mirror.apply(None, block(1), &[], &[]).await.expect("applied");
    for event in MIRRORED.iter().filter(|event| event.table != MirrorTable::Skipped) {
        let at = |n, log| sample(event, n, tenant(1), position(2, log));
        let first = at(0, 0);
        let mut wrong =
            vec![vec![at(1, 0)], vec![first.clone(), at(2, 1)], vec![first.clone(), first]];
        if event.table == MirrorTable::Anchored {
            // The batch is the next one, and it begins elsewhere.
            let mut other = at(0, 0);
            other.values[1] = cofferdam_core::mirror::Value::Int(1);
            wrong.push(vec![other]);
        }
        for rows in wrong {
            let error =
                mirror.apply(Some(block(1)), block(2), &[], &rows).await.expect_err("a hole");
            let StoreError::Hole(hole) = error else { panic!("{}: {error}", event.name) };
            let Hole { tenant: of, block_number, .. } = hole;
            assert_eq!((of, block_number), (tenant(1).as_b256(), 2), "{hole:?}");
        }
    }
    assert_eq!(mirror.checkpoint().await.expect("read"), Some(block(1)));
    assert_eq!(read(&database, tenant(1)).await, Vec::<Row>::new(), "nothing of it stays");
}

#[tokio::test]
async fn what_an_agent_gives_up_counts_for_both() {
    let database = database().await;
    let mirror = Mirror::connect(&database.runtime, CHAIN).await.expect("a mirror");
    let agent = TenantId::from_authority(Address::repeat_byte(1)).expect("an address");
    let event = |name| MirrorEvent::named(name).expect("an event");
    // The agent of a sample has the address that its tenant is made of: it describes itself, gives
    // up a grant of tenant 2, and describes itself again.
    let mut forfeited = sample(event("Forfeited"), 0, tenant(2), position(1, 1));
    *forfeited.values.last_mut().expect("the agent's nonce") =
        cofferdam_core::mirror::Value::Int(1);
    let rows = [
        sample(event("Described"), 0, agent, position(1, 0)),
        forfeited.clone(),
        sample(event("Described"), 2, agent, position(1, 2)),
    ];
    mirror.apply(None, block(1), &[], &rows).await.expect("applied");
    let heads = mirror.heads_of(&[agent.as_b256(), tenant(2).as_b256()]).await.expect("heads");
    let counts: Vec<_> = heads.iter().map(|head| (head.agent_events, head.scopes)).collect();
    assert_eq!(counts, [(3, 0), (0, 1)]);
    let without = [rows[0].clone(), rows[2].clone()];
    mirror.rewind(block(1), block(0)).await.expect("rewound");
    let error = mirror.apply(Some(block(0)), block(1), &[], &without).await.expect_err("a hole");
    assert!(matches!(error, StoreError::Hole(Hole { expected: 1, found: 2, .. })), "{error}");
}
