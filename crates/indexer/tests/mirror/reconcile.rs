//! What the chain and our own records say of each other, and what somebody did to the mirror.

use std::collections::BTreeSet;

use alloy::primitives::{B256, keccak256};
use cofferdam_core::{TenantId, mirror::MirrorTable};
use cofferdam_indexer::IndexError;
use cofferdam_store::{Harm, harm_mirrored};
use serde_json::json;

use crate::{
    agrees,
    ground::Ground,
    history, is_whole,
    liar::{Liar, Said, asks_for_logs, with_logs},
    without_last,
};

/// The root that the ground anchors under an index.
fn root(index: u64) -> B256 {
    keccak256(index.to_be_bytes())
}

#[tokio::test]
async fn i9_anchors_that_are_unknown_different_or_missing_are_incidents_within_one_poll() {
    let ground = Ground::start(32).await;
    // Those who come last, so that it is nobody's turn to look at them when a block is new.
    let mut people: Vec<usize> = (0..10).collect();
    people.sort_by_key(|who| ground.people[*who]);
    let [unknown, different, missing] = people[7..] else { panic!("{people:?}") };
    let id = |who: usize| ground.people[who].into_word();
    let liar = Liar::start(ground.chain.url(), |_, answer| Said::Json(answer)).await;
    let mirrored = ground.mirror(vec![liar.url.clone()]).await;
    for who in [unknown, different, missing] {
        ground.register(&mirrored.url, &format!("t{who}"), who).await;
        ground.seal(&mirrored.url, who, 1, root(0)).await;
    }
    for who in people {
        ground.anchor(who, 1).await;
    }
    let done = mirrored.indexer.catch_up().await.expect("mirrored");
    // Every call left an item of theirs out, too: anybody can do that.
    let (rows, ..) = mirrored.contents(&ground).await;
    let skipped = rows.iter().filter(|row| row.event.table == MirrorTable::Skipped);
    let skipped: BTreeSet<B256> = skipped.map(|row| row.tenant).collect();
    assert!([unknown, different, missing].iter().all(|who| skipped.contains(&id(*who))));
    assert_eq!((done.anchored, done.incidents), (3, 0));
    assert_eq!(mirrored.incidents(&ground).await, Vec::<String>::new());

    ground.seal(&mirrored.url, different, 2, B256::repeat_byte(9)).await;
    ground.seal(&mirrored.url, missing, 2, root(1)).await;
    for who in [unknown, different, missing] {
        ground.anchor(who, 2).await;
    }
    let hidden = json!(id(missing));
    liar.tell(move |question, answer| match asks_for_logs(question) {
        true => with_logs(answer, |logs| {
            let second = json!(B256::with_last_byte(1));
            logs.retain(|log| log["topics"][1] != hidden || log["topics"][2] != second);
        }),
        false => Said::Json(answer),
    });
    let error = mirrored.indexer.catch_up().await.expect_err("a hole");
    let IndexError::Hole { tenant, expected: 1, found: 2, .. } = error else { panic!("{error}") };
    assert_eq!(tenant, id(missing));
    let incidents = mirrored.all_incidents(&ground).await;
    let of = |it: &cofferdam_store::Incident| (it.tenant.map(|it| it.as_b256()), it.kind.clone());
    let found: BTreeSet<_> = incidents.iter().map(of).collect();
    let expected = [
        (Some(id(unknown)), "unknown-batch".to_owned()),
        (Some(id(different)), "different-batch".to_owned()),
        (Some(id(missing)), "hole".to_owned()),
    ];
    assert_eq!(found, BTreeSet::from(expected));
    liar.repent();
    let healed = mirrored.indexer.catch_up().await.expect("mirrored");
    assert_eq!((healed.anchored, healed.incidents), (1, 0));
}

#[tokio::test]
async fn a_last_event_of_any_table_that_was_left_out_is_fetched_from_another() {
    let ground = Ground::start(32).await;
    history(&ground).await;
    ground.describe(1).await;
    let honest = ground.chain.url().clone();
    for event in ["AnchorerSet", "PolicyPublished", "Granted", "Described", "FrozenSet"] {
        let liar = Liar::start(&honest, without_last(event)).await;
        let mirrored = ground.mirror(vec![liar.url.clone(), honest.clone()]).await;
        mirrored.indexer.catch_up().await.unwrap_or_else(|error| panic!("{event}: {error}"));
        assert!(liar.lies() > 0, "{event}");
        is_whole(&mirrored, &ground).await;
        assert!(mirrored.incidents(&ground).await.is_empty(), "{event}");
    }
}

#[tokio::test]
async fn a_row_of_any_table_that_was_changed_or_taken_is_named_and_mended() {
    let ground = Ground::start(32).await;
    for _ in 0..2 {
        history(&ground).await;
        ground.describe(1).await;
    }
    let account = ground.account(&Default::default(), 2).await;
    let mirrored = ground.mirror(vec![]).await;
    mirrored.indexer.catch_up().await.expect("mirrored");
    let whole = mirrored.contents(&ground).await;
    let chain = ground.chain.chain_id();
    let found = async |full| {
        let verdict = mirrored.indexer.verify(full, |_, _| {}).await.expect("verified");
        verdict.difference.map(|it| (it.tenant, it.what))
    };
    // The column, whose row, what a verification says that downloads nothing once the row is gone.
    for (table, column, who, counted) in [
        (MirrorTable::Anchored, "root", ground.people[1], "its rows count"),
        (MirrorTable::AnchorerSet, "anchorer", ground.people[1], "its rows count"),
        (MirrorTable::Skipped, "tx_hash", ground.people[1], ""),
        (MirrorTable::Policies, "verdict_signer", ground.people[1], "its rows count"),
        (MirrorTable::Scopes, "capability", ground.people[1], "its rows count"),
        (MirrorTable::Described, "metadata_hash", ground.people[1], "described: its rows"),
        (MirrorTable::AccountEvents, "tx_hash", account, "its rows count"),
    ] {
        let tenant = TenantId::from_authority(who).expect("an id");
        let harm = async |harm| {
            let done = harm_mirrored(&mirrored.admin, chain, tenant, table, harm).await;
            assert!(done.expect("done"), "{table:?}");
        };
        let id = tenant.as_b256();
        let newest = whole.0.iter().rfind(|row| row.event.table == table && row.tenant == id);
        let newest = newest.expect("a row");
        let at = (newest.position.block_number, newest.position.log_index);
        let named = format!("{} at block {}, log {}", newest.event.name, at.0, at.1);

        harm(Harm::Flip(column)).await;
        // The contract's own peaks speak of batches before any log does.
        let expected = match table {
            MirrorTable::Anchored => {
                let head = ground.head().await;
                format!("anchored: as many as in the contract at block {head}, and not the same")
            }
            _ => format!("{named} is mirrored with other members than the chain has"),
        };
        assert_eq!(found(true).await, Some((id, expected)), "{table:?}");
        harm(Harm::Flip(column)).await;
        agrees(&mirrored).await;

        harm(Harm::Delete).await;
        let (of, what) = found(true).await.unwrap_or_else(|| panic!("{table:?}"));
        assert_eq!(of, id, "{table:?}");
        let expected = match table {
            MirrorTable::Skipped | MirrorTable::Described => "is on the chain and not mirrored",
            _ => counted,
        };
        assert!(what.contains(expected), "{table:?}: {what}");
        let what = found(false).await.map(|it| it.1).unwrap_or_default();
        assert!(what.starts_with(counted), "{table:?}: {what}");
        mirrored.indexer.rebuild().await.expect("rebuilt");
        assert!(mirrored.contents(&ground).await == whole, "{table:?}");
    }
    agrees(&mirrored).await;
}
