//! Every event as a row and back, and every counter under rewinds.

use crate::common::{
    CHAIN, Database, apply, block, database, position, row, sample, spending, tenant,
};
use alloy_primitives::U128;
use cofferdam_core::{
    Address, B256, TenantId,
    mirror::{MIRRORED, MirrorEvent, MirrorTable, Row, Value},
};
use cofferdam_store::{Counters, DAY, Hole, Mirror, MirrorHead, Reader, Spending, StoreError};
use futures::TryStreamExt;
use sqlx::{AssertSqlSafe, Executor, Row as _};
use std::collections::BTreeSet;

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
    apply(&mirror, None, block(40), &[], &rows).await.expect("applied");
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
async fn what_takes_several_statements_is_written_whole() {
    let database = database().await;
    let mirror = Mirror::connect(&database.runtime, CHAIN).await.expect("a mirror");
    // One statement ends among the second tenant's batches, and one among the third's.
    let (each, people) = (1_500_u64, [1, 2, 3].map(tenant));
    let batch = |of: TenantId, index| {
        let root = Value::Word(B256::repeat_byte(index as u8));
        let values = [index, index, 1].map(Value::Int).into_iter().chain([root, Value::Int(9)]);
        row("Anchored", of, position(1, index), values.collect())
    };
    let rows: Vec<Row> =
        people.iter().flat_map(|of| (0..each).map(|index| batch(*of, index))).collect();
    let applied = apply(&mirror, None, block(1), &[], &rows).await.expect("applied");
    assert_eq!(applied.mirrored, 3 * each);
    let nodes = "sum(length(nodes)) / 32) FROM cofferdam.anchored";
    for (of, expected) in people.into_iter().zip(rows.chunks(each as usize)) {
        assert_eq!(read(&database, of).await, expected);
        // A tree of n leaves has n − 1 nodes above them, and there is one for each set bit.
        let completed = each - u64::from(each.count_ones());
        assert_eq!(ask(&database, of, nodes).await, [completed.to_string()]);
    }
}

#[tokio::test]
async fn a_rewind_leaves_what_a_shorter_mirror_would_have() {
    let (long, short) = (database().await, database().await);
    let rows = everything(tenant(1));
    let mirror = Mirror::connect(&long.runtime, CHAIN).await.expect("a mirror");
    let reader = Reader::connect(&long.runtime, CHAIN).await.expect("a reader");
    apply(&mirror, None, block(40), &[], &rows).await.expect("applied");
    let other = Mirror::connect(&short.runtime, CHAIN).await.expect("a mirror");
    let of_other = Reader::connect(&short.runtime, CHAIN).await.expect("a reader");
    let mut checkpoint = block(40);
    for depth in (0..30).rev() {
        mirror.rewind(&reader, checkpoint, block(depth)).await.expect("rewound");
        checkpoint = block(depth);
        let until: Vec<Row> =
            rows.iter().filter(|row| row.position.block_number <= depth).cloned().collect();
        let from = other.checkpoint().await.expect("read");
        if let Some(from) = from {
            other.rewind(&of_other, from, block(0)).await.expect("rewound");
        }
        let from = from.map(|_| block(0));
        apply(&other, from, block(depth), &[], &until).await.expect("applied");
        assert_eq!(read(&long, tenant(1)).await, read(&short, tenant(1)).await, "{depth}");
        let heads = |mirror: Mirror| async move { mirror.heads(None, 10).await.expect("heads") };
        assert_eq!(heads(mirror.clone()).await, heads(other.clone()).await, "{depth}");
        if depth == 0 {
            assert_eq!(heads(mirror.clone()).await, Vec::<MirrorHead>::new());
        }
    }
}

#[tokio::test]
async fn an_update_of_counters_stays_on_its_page() {
    let database = database().await;
    let indexed = sqlx::query(
        "SELECT DISTINCT a.attname::text FROM pg_index i \
         JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid \
             AND d.refobjid = i.indrelid \
         JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = d.refobjsubid, aclexplode(a.attacl) g \
         WHERE i.indrelid = 'cofferdam.mirror_heads'::regclass AND g.privilege_type = 'UPDATE'",
    );
    let mut raw = database.raw(None).await;
    let indexed = indexed.fetch_all(&mut raw).await.expect("indexes");
    let indexed: Vec<String> = indexed.iter().map(|row| row.get(0)).collect();
    assert_eq!(indexed, ["history_lost"], "no index names a counter, nor does its condition");
}

#[tokio::test]
async fn every_gap_and_every_repeat_is_a_hole() {
    let database = database().await;
    let mirror = Mirror::connect(&database.runtime, CHAIN).await.expect("a mirror");
    apply(&mirror, None, block(1), &[], &[]).await.expect("applied");
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
                apply(&mirror, Some(block(1)), block(2), &[], &rows).await.expect_err("a hole");
            let StoreError::Hole(hole) = error else { panic!("{}: {error}", event.name) };
            let Hole { tenant: of, block_number, .. } = hole;
            assert_eq!((of, block_number), (tenant(1).as_b256(), 2), "{hole:?}");
        }
    }
    assert_eq!(mirror.checkpoint().await.expect("read"), Some(block(1)));
    assert_eq!(read(&database, tenant(1)).await, Vec::<Row>::new(), "nothing of it stays");
}

#[tokio::test]
async fn ranges_that_were_counted_ahead_are_what_they_are_one_by_one() {
    let database = database().await;
    let mirror = Mirror::connect(&database.runtime, CHAIN).await.expect("a mirror");
    let event = MirrorEvent::named("AnchorerSet").expect("an event");
    let range = |block: u64| -> Vec<Row> {
        let of = |byte| sample(event, block - 1, tenant(byte), position(block, u64::from(byte)));
        // Tenant 3 is met in the last range only.
        [
            Some(of(1)),
            Some(of(2)),
            (block == 3).then(|| sample(event, 0, tenant(3), position(3, 9))),
        ]
        .into_iter()
        .flatten()
        .collect()
    };
    let mut counters = Counters::default();
    let first = mirror.count(&mut counters, range(1)).await.expect("counted");
    let second = mirror.count(&mut counters, range(2)).await.expect("counted");
    assert_eq!(counters.len(), 2);
    mirror.apply(None, block(1), &[], first.followed()).await.expect("applied");
    let third = mirror.count(&mut counters, range(3)).await.expect("counted");
    mirror.apply(Some(block(1)), block(2), &[], second.followed()).await.expect("applied");
    mirror.apply(Some(block(2)), block(3), &[], third).await.expect("applied");
    for (byte, anchorers) in [(1, 3), (2, 3), (3, 1)] {
        let heads = mirror.heads_of(&[tenant(byte).as_b256()]).await.expect("heads");
        assert_eq!(heads[0].anchorers, anchorers, "tenant {byte}");
        assert_eq!(read(&database, tenant(byte)).await.len() as u64, anchorers, "tenant {byte}");
    }
    // One that is left out is missed at once, not when it is written.
    let error = mirror.count(&mut counters, range(5)).await.expect_err("a hole");
    assert!(matches!(error, StoreError::Hole(Hole { expected: 3, found: 4, .. })), "{error}");
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
    apply(&mirror, None, block(1), &[], &rows).await.expect("applied");
    let heads = mirror.heads_of(&[agent.as_b256(), tenant(2).as_b256()]).await.expect("heads");
    let counts: Vec<_> = heads.iter().map(|head| (head.agent_events, head.scopes)).collect();
    assert_eq!(counts, [(3, 0), (0, 1)]);
    let without = [rows[0].clone(), rows[2].clone()];
    let reader = Reader::connect(&database.runtime, CHAIN).await.expect("a reader");
    let gone = mirror.rewind(&reader, block(1), block(0)).await.expect("rewound");
    let of = [agent, tenant(2)].map(|tenant| tenant.as_b256());
    assert_eq!(BTreeSet::from_iter(gone), BTreeSet::from(of), "whose events went");
    let error = apply(&mirror, Some(block(0)), block(1), &[], &without).await.expect_err("a hole");
    assert!(matches!(error, StoreError::Hole(Hole { expected: 1, found: 2, .. })), "{error}");
}

/// What a question returns, in the scope of a tenant, as the reader.
async fn ask(database: &Database, of: TenantId, question: &str) -> Vec<String> {
    let mut session = crate::common::connect(database.test.runtime_url.as_str()).await;
    let scope = format!(
        "SET ROLE cofferdam_reader; SET cofferdam.chain_id = '{CHAIN}'; SET cofferdam.tenant_id = '{}'",
        &of.to_string()[2..]
    );
    session.execute(sqlx::raw_sql(AssertSqlSafe(scope))).await.expect("a scope");
    let question = format!("SELECT concat_ws(' ', {question}");
    let rows = sqlx::query_scalar(AssertSqlSafe(question)).fetch_all(&mut session).await;
    rows.expect("an answer")
}

#[tokio::test]
async fn the_views_answer_what_an_auditor_asks() {
    /// A block's time is this and its number.
    const T: u64 = 1_700_000_000;
    const VIEWS: [&str; 7] = [
        "anchors",
        "current_anchors",
        "policies_in_force",
        "scopes_in_force",
        "account_roles",
        "spending_limits",
        "spending_per_day",
    ];
    let database = database().await;
    let mirror = Mirror::connect(&database.runtime, CHAIN).await.expect("a mirror");
    let of = tenant(1);
    let (int, word) = (Value::Int, |byte| Value::Word(B256::repeat_byte(byte)));
    let address = |byte| Value::Address(Address::repeat_byte(byte));
    let batch = |n, block| {
        let values = vec![int(n), int(10 * n), int(10), word(n as u8), int(T + block)];
        row("Anchored", of, position(block, 0), values)
    };
    let policy = |version, block, from, until| {
        let values =
            vec![int(version), word(3), address(4), int(T + from), int(T + until), int(T + block)];
        row("PolicyPublished", of, position(block, 1), values)
    };
    let amount = |wei: u64| Value::Amount(U128::from(wei));
    let grant = |n, agent, capability, block, until| {
        let limits = [amount(5), address(0), Value::Selector([0; 4]), amount(0)];
        let window = [address(agent), word(capability), int(T), int(T + until)];
        let values = window.into_iter().chain(limits).chain([int(T + block), int(n)]).collect();
        row("Granted", of, position(block, 2), values)
    };
    let limit = |n, block, token, per_day| {
        let values = vec![int(n), address(token), amount(1), amount(per_day)];
        row("LimitSet", of, position(block, 3), values)
    };
    let holder = |role: u8, byte| [[0; 11].as_slice(), &[role], &[byte; 20]].concat();
    let holders = [holder(1, 0xa1), holder(5, 0xa5)].concat();
    let rows = [
        row("AnchorerSet", of, position(1, 9), vec![address(7), int(0)]),
        batch(0, 2),
        policy(1, 3, 0, 90),
        grant(0, 0xaa, 1, 4, 50),
        grant(1, 0xaa, 2, 5, 50),
        row(
            "Initialized",
            of,
            position(6, 3),
            vec![int(0), amount(1), amount(2), int(3600), Value::Bytes(holders.into())],
        ),
        batch(1, 10),
        // The second is not good at once; its successor revokes it.
        policy(2, 20, 30, 90),
        row("PolicyRevoked", of, position(40, 1), vec![int(3), int(T + 40)]),
        row(
            "Extended",
            of,
            position(45, 2),
            vec![address(0xaa), word(1), int(T + 99), int(T + 45), int(2)],
        ),
        row("AgentRevoked", of, position(60, 2), vec![address(0xaa), int(3)]),
        row("RoleSet", of, position(61, 3), vec![int(1), address(0xa5), int(0)]),
        limit(2, 62, 0xee, 7),
        limit(3, 63, 0, 9),
        row("TokenUnlisted", of, position(64, 3), vec![int(4), address(0xee)]),
    ];
    apply(&mirror, None, block(70), &[], &rows).await.expect("applied");
    mirror.settle(10, 5).await.expect("settled");
    // The day that all of it is on, and the next.
    let day = T / DAY;
    let spent = [(day, 0xee, 3), (day, 0, 4), (day + 1, 0, 0)];
    let spent = spent.map(|(day, token, spent)| Spending {
        block: block(66),
        ..spending(of, day, token, spent)
    });
    let state = mirror.state().await.expect("a state");
    assert!(mirror.spend(&state, day + 2, &spent).await.expect("written"));
    let reader = Reader::connect(&database.runtime, CHAIN).await.expect("a reader");
    let mut tx = reader.tenant(of).await.expect("a transaction");
    assert_eq!(tx.spending().await.expect("rows"), [spent[1], spent[0], spent[2]]);
    let assets = tx.assets().await.expect("assets");
    let assets: Vec<_> = assets.iter().map(|it| (it.token[0], it.since, it.time - T)).collect();
    assert_eq!(assets, [(0, 6, 6), (0xee, 62, 62)], "also what is not listed any more");
    drop(tx);

    let asked = async |question: &str| ask(&database, of, question).await;
    let anchors = "batch_index, finality) FROM cofferdam.anchors ORDER BY batch_index";
    assert_eq!(asked(anchors).await, ["0 final", "1 safe"]);
    let current = "batches, entries, substr(anchorer::text, 1, 4), anchored_at, finality) \
                   FROM cofferdam.current_anchors";
    assert_eq!(asked(current).await, [format!("2 20 \\x07 {} safe", T + 10)]);
    let in_force = |view: &str, what: &str, at: u64| {
        let at = T + at;
        format!(
            "{what}) FROM cofferdam.{view} WHERE in_force_from <= {at} \
             AND (in_force_until IS NULL OR {at} < in_force_until) ORDER BY {what}"
        )
    };
    for (at, version) in [
        (2, None),
        (3, Some("1")),
        (19, Some("1")),
        (20, None),
        (29, None),
        (30, Some("2")),
        (39, Some("2")),
        (40, None),
    ] {
        let found = asked(&in_force("policies_in_force", "version", at)).await;
        assert_eq!(found.first().map(String::as_str), version, "{at}");
        assert!(found.len() < 2, "{at}");
    }
    for (at, events) in [
        (3, &[][..]),
        (4, &["0"]),
        (5, &["0", "1"]),
        (45, &["1", "2"]),
        (50, &["1", "2"]),
        (51, &["2"]),
        (60, &[]),
    ] {
        assert_eq!(asked(&in_force("scopes_in_force", "event_index", at)).await, events, "{at}");
    }
    let roles = "substr(holder::text, 1, 4), role, held_from, held_until) \
                 FROM cofferdam.account_roles ORDER BY role";
    let expected =
        [format!("\\xa5 guardian {} {}", T + 6, T + 61), format!("\\xa1 owner {}", T + 6)];
    assert_eq!(asked(roles).await, expected);
    let limits = "substr(token::text, 1, 4), per_call, per_day, in_force_from, in_force_until) \
                  FROM cofferdam.spending_limits ORDER BY token, in_force_from";
    let expected = [
        format!("\\x00 1 2 {} {}", T + 6, T + 63),
        format!("\\x00 1 9 {}", T + 63),
        format!("\\xee 1 7 {} {}", T + 62, T + 64),
    ];
    assert_eq!(asked(limits).await, expected);

    // The token was not listed any more when the day ended, and a number that nobody could tell is none.
    let spent = "day, substr(token::text, 1, 4), coalesce(spent::text, '?'), per_day, block_time, finality) \
                 FROM cofferdam.spending_per_day ORDER BY day, token";
    let expected = [
        format!("2023-11-14 \\x00 4 9 {} latest", DAY * day + 86_399),
        format!("2023-11-14 \\xee 3 {} latest", DAY * day + 86_399),
        format!("2023-11-15 \\x00 ? 9 {} latest", DAY * day + 2 * 86_400 - 1),
    ];
    assert_eq!(asked(spent).await, expected);

    // Where each answer comes from, whether that may still go, and what ended it.
    let from = "block_number, block_time - 1700000000, log_index, finality";
    for (view, until, expected) in [
        ("anchors", "", &["2 2 0 final", "10 10 0 safe"][..]),
        ("current_anchors", "", &["10 10 0 safe"]),
        ("policies_in_force", ", until_finality", &["3 3 1 final latest", "20 20 1 latest latest"]),
        (
            "scopes_in_force",
            ", until_finality",
            &["4 4 2 final latest", "5 5 2 final latest", "45 45 2 latest latest"],
        ),
        ("account_roles", ", until_finality", &["6 6 3 safe latest", "6 6 3 safe"]),
        (
            "spending_limits",
            ", until_finality",
            &["6 6 3 safe latest", "62 62 3 latest latest", "63 63 3 latest"],
        ),
    ] {
        let order = format!("ORDER BY block_number{until}");
        let question = format!("{from}{until}) FROM cofferdam.{view} {order}");
        assert_eq!(asked(&question).await, expected, "{view}");
        let hashes = format!("block_hash, tx_hash) FROM cofferdam.{view} WHERE block_number = 10");
        let block = position(10, 0);
        let of_ten = [format!("\\x{:x} \\x{:x}", block.block_hash, block.tx_hash)];
        let of_ten = if view.ends_with("anchors") { &of_ten[..] } else { &[] };
        assert_eq!(asked(&hashes).await, of_ten, "{view}");
    }
    // What comes to be final is so in every answer.
    mirror.settle(70, 70).await.expect("settled");
    for view in VIEWS {
        let not_final = format!("1) FROM cofferdam.{view} WHERE finality <> 'final'");
        assert!(asked(&not_final).await.is_empty(), "{view}");
    }
    for view in VIEWS {
        let all = format!("tenant_id) FROM cofferdam.{view}");
        assert!(ask(&database, tenant(2), &all).await.is_empty(), "{view} of another tenant");
    }
}

#[tokio::test]
async fn a_day_is_written_once_and_taken_back_with_its_last_block() {
    let database = database().await;
    let mirror = Mirror::connect(&database.runtime, CHAIN).await.expect("a mirror");
    let reader = Reader::connect(&database.runtime, CHAIN).await.expect("a reader");
    apply(&mirror, None, block(9), &[], &[]).await.expect("applied");
    let day = |day| spending(tenant(1), day, 0xee, 7);
    let days = async || {
        let rows = reader.tenant(tenant(1)).await.expect("a transaction").spending().await;
        let days: Vec<u64> = rows.expect("rows").iter().map(|row| row.day).collect();
        (days, mirror.state().await.expect("a state").spending_day)
    };
    let state = mirror.state().await.expect("a state");
    assert!(mirror.spend(&state, 5, &[day(3), day(4)]).await.expect("written"));
    // Whoever comes second, with the same or another day, writes nothing.
    assert!(!mirror.spend(&state, 5, &[day(3), day(4)]).await.expect("asked"));
    assert!(!mirror.spend(&state, 6, &[day(5)]).await.expect("asked"));
    assert_eq!(days().await, (vec![3, 4], 5));
    // A reorg takes back no day, and what was found before it is not written after.
    let state = mirror.state().await.expect("a state");
    mirror.rewind(&reader, block(9), block(8)).await.expect("rewound");
    assert!(!mirror.spend(&state, 6, &[day(5)]).await.expect("asked"));
    assert_eq!(days().await, (vec![3, 4], 5));
    let state = mirror.state().await.expect("a state");
    assert!(mirror.spend(&state, 7, &[day(5), day(6)]).await.expect("written"));
    mirror.rewind_final(&reader, block(8), block(5), 5 * DAY).await.expect("rewound");
    assert_eq!(days().await, (vec![3, 4], 5));
    mirror.clear(&reader, block(5), block(0)).await.expect("cleared");
    assert_eq!(days().await, (vec![], 0));
}
