//! Whatever happens to the daemon's transactions, every batch is on the chain once; and where the chain
//! has something else, it wins and the tenant is halted.

use std::time::Duration;

use alloy::{
    primitives::{Address, B256, Bytes, U256},
    providers::Provider,
};
use cofferdam_anchorer::PostPolicy;
use cofferdam_contracts::{Chain, Expected, GAS_PRICE_ORACLE};
use cofferdam_core::{FieldName, TenantId};
use cofferdam_store::{NewEntry, Outcome, Sequencer};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    faults::rpc::{Fault, Rpc},
    support::{CHAIN_ID, records, run},
};

mod world;

use world::ANCHORER;
pub(crate) use world::{World, posting};

#[tokio::test]
async fn whatever_happens_to_a_transaction_each_batch_is_anchored_once() {
    let world = World::with(&records("acme", 0..2)).await;
    let daemon = world.daemon().await;

    // Stuck under a base fee that rose: its fee is raised until it is mined.
    world.automine(false).await;
    world.append("acme", 2..3).await;
    let stuck = world.pending().await;
    let price = U256::from(stuck.attempts[0].max_fee * 3);
    world.ask("anvil_setNextBlockBaseFeePerGas", [price]).await;
    world.mine().await;
    world
        .until("a raised fee", async || {
            let intents = world.sealer.unsettled().await.unwrap();
            let raised = intents.iter().find(|intent| intent.id == stuck.id)?;
            (raised.attempts.last()?.max_fee > stuck.attempts[0].max_fee * 3).then_some(())
        })
        .await;
    world.automine(true).await;
    world.mine().await;
    world.settled(3).await;
    world.each_once("acme").await;
    world.ask("anvil_setNextBlockBaseFeePerGas", [U256::from(1_000_000_000)]).await;
    world.mine().await;

    // Dropped by the node: sent again as it was.
    world.automine(false).await;
    world.append("acme", 3..4).await;
    let dropped = world.pending().await;
    for attempt in &dropped.attempts {
        world.ask("anvil_dropTransaction", [attempt.hash]).await;
    }
    let sent = world.pending().await;
    assert_eq!(sent.id, dropped.id);
    // And again when the wallet is empty: offered as it is, not for ever more.
    let open = async || {
        let intents = world.sealer.unsettled().await.unwrap();
        intents.into_iter().find(|intent| intent.id == sent.id).unwrap()
    };
    world.set_balance(U256::ZERO).await;
    for attempt in open().await.attempts {
        world.ask("anvil_dropTransaction", [attempt.hash]).await;
    }
    world
        .until("a word about funds", async || {
            let waiting = world.sealer.leader().await.unwrap()?.waiting?;
            waiting.to_lowercase().contains("insufficient funds").then_some(())
        })
        .await;
    let offers = open().await.attempts.len();
    sleep(Duration::from_secs(2)).await;
    assert_eq!(open().await.attempts.len(), offers, "an offer that nobody can pay");
    world.set_balance(U256::from(10).pow(U256::from(20))).await;
    world.automine(true).await;
    world.mine().await;
    world.settled(4).await;

    // Replaced by whoever else has the key: the batch goes out under the next nonce.
    world.automine(false).await;
    world.append("acme", 4..5).await;
    let replaced = world.pending().await;
    world.foreign(Some(replaced.nonce), ANCHORER, Bytes::new()).await;
    world.mine().await;
    let again = world
        .until("another nonce", async || {
            let intents = world.sealer.unsettled().await.unwrap();
            intents.into_iter().find(|intent| intent.nonce > replaced.nonce)
        })
        .await;
    assert_eq!(again.nonce, replaced.nonce + 1);
    world.automine(true).await;
    world.mine().await;
    world.settled(5).await;
    world.each_once("acme").await;

    // Front-run by the same batch: it is adopted, and nothing is sent again.
    world.automine(false).await;
    world.append("acme", 5..6).await;
    let beaten = world.pending().await;
    let batch = world.last_batch("acme").await;
    world.foreign_anchor(Some(beaten.nonce), &batch, batch.root.into()).await;
    world.mine().await;
    world.automine(true).await;
    world.settled(6).await;
    world.each_once("acme").await;
    let newest = world.sealer.unsettled().await.unwrap().iter().map(|intent| intent.nonce).max();
    assert_eq!(newest, Some(beaten.nonce), "sent again");

    // The wallet is empty: said, waited for, and gone on with.
    world.set_balance(U256::ZERO).await;
    world.append("acme", 6..7).await;
    world
        .until("a word about funds", async || {
            let waiting = world.sealer.leader().await.unwrap()?.waiting?;
            waiting.contains("send it funds").then_some(())
        })
        .await;
    let status = world.stack.json("status").await;
    assert!(status["waiting"].as_str().unwrap().contains("send it funds"), "{status}");
    world.set_balance(U256::from(10).pow(U256::from(20))).await;
    world.settled(7).await;
    assert_eq!(world.sealer.leader().await.unwrap().unwrap().waiting, None);

    // A daemon that vanishes with something under way is succeeded by another one.
    world.automine(false).await;
    world.append("acme", 7..8).await;
    let under_way = world.pending().await;
    let successor = world.daemon().await;
    daemon.vanish();
    let epoch = world.sealer.leader().await.unwrap().unwrap().epoch;
    world
        .until("a successor", async || {
            (world.sealer.leader().await.unwrap()?.epoch > epoch).then_some(())
        })
        .await;
    world.automine(true).await;
    world.mine().await;
    world.settled(8).await;
    let known = world.sealer.unsettled().await.unwrap();
    assert!(known.iter().any(|intent| intent.id == under_way.id), "not taken up: {known:#?}");
    world.each_once("acme").await;
    successor.end().await;
    let leader = world.sealer.leader().await.unwrap().unwrap();
    assert!(leader.remaining.is_zero(), "not given up: {leader:?}");

    // What it all cost is booked, and adds up.
    let costs = world.stack.json("costs").await;
    let wei = |value: &Value| value.as_str().unwrap().parse::<U256>().unwrap();
    assert_eq!(wei(&costs["feeWei"]), wei(&costs["tenants"][0]["feeWei"]));
    // All but the one that somebody else paid for.
    assert_eq!(costs["tenants"][0]["batches"], world.last_batch("acme").await.index.get());
}

#[tokio::test]
async fn a_receipt_that_comes_late_is_waited_for() {
    let mut world = World::with(&records("acme", 0..2)).await;
    let rpc = Rpc::start(vec![world.stack.anvil.rpc_url().clone()]).await;
    world.chain = Chain::connect(&rpc.url().clone().into(), Expected::default()).await.unwrap();
    let policy = PostPolicy { patience: Duration::from_secs(120), ..posting() };
    let daemon = world.daemon_of(world.anchorer(policy)).await;
    world.settled(2).await;
    let newest = async || {
        let intents = world.sealer.unsettled().await.unwrap();
        intents.into_iter().max_by_key(|intent| intent.nonce).unwrap()
    };
    let before = newest().await.nonce;
    // Behind one URL, a node that knows the nonce to be used up, and one that has no receipt yet.
    rpc.play(|method| {
        (method == "eth_getTransactionReceipt").then_some(Fault::Answer(Value::Null))
    });
    world.append("acme", 2..3).await;
    world.until("some looks", async || (rpc.faults() >= 5).then_some(())).await;
    let late = newest().await;
    assert_eq!((late.nonce, late.outcome), (before + 1, Outcome::Open));
    rpc.heal();
    world
        .until("its receipt", async || {
            matches!(newest().await.outcome, Outcome::Mined { .. }).then_some(())
        })
        .await;
    assert_eq!(newest().await.id, late.id);
    world.settled(3).await;
    world.each_once("acme").await;
    daemon.end().await;
}

#[tokio::test]
async fn batches_that_a_reorg_takes_back_are_anchored_again_once() {
    let world = World::with(&records("acme", 0..2)).await;
    // One transaction under way is all there is room for, also where a gap is before it.
    let policy = PostPolicy { in_flight: 1, ..posting() };
    let daemon = world.daemon_of(world.anchorer(policy)).await;
    for (step, depth) in [1, 2, 5, 20].into_iter().enumerate() {
        for _ in 0..depth {
            world.mine().await;
        }
        let next = 2 + step;
        world.append("acme", next..next + 1).await;
        world.settled(next as u64 + 1).await;
        let before = world.last_batch("acme").await.anchored.unwrap();
        world.reorg(depth).await;
        world
            .until("another block", async || {
                let now = world.last_batch("acme").await.anchored?;
                (now.position.block_hash != before.position.block_hash).then_some(())
            })
            .await;
        world.each_once("acme").await;
    }

    // A stranger's transaction goes too, and leaves a gap before ours: it is filled.
    world.foreign(None, ANCHORER, Bytes::new()).await;
    world.append("acme", 6..7).await;
    world.settled(7).await;
    let ours = world.last_batch("acme").await.anchored.unwrap().position.block_number;
    let head = world.chain.head().await.unwrap().number;
    world.reorg(head - ours + 2).await;
    world
        .until("a filled gap", async || {
            let now = world.last_batch("acme").await.anchored?;
            let canonical = world.chain.header(now.position.block_number.into()).await.unwrap()?;
            (canonical.hash == now.position.block_hash).then_some(())
        })
        .await;
    world.settled(7).await;
    world.each_once("acme").await;
    let filler = world.sealer.unsettled().await.unwrap();
    assert!(filler.iter().any(|intent| intent.items == 0), "{filler:#?}");

    // Deep enough, it is final, and settled in the ledger.
    for _ in 0..66 {
        world.mine().await;
    }
    world
        .until("final", async || {
            let stages = world.sealer.stages().await.unwrap();
            let all = stages.values().all(|it| (it.safe, it.last_final) == (7, 7));
            (all && world.sealer.unsettled().await.unwrap().is_empty()).then_some(())
        })
        .await;
    daemon.end().await;
}

#[tokio::test]
async fn i9_what_the_contract_says_wins_and_halts_that_tenant_alone() {
    let names = ["acme", "globex", "initech"];
    let first: String = names.iter().map(|name| records(name, 0..2)).collect();
    let world = World::with(&first).await;
    let daemon = world.daemon().await;
    let halted = async |name: &str| {
        let id = world.stack.tenant(name).await;
        let heads = world.sealer.heads().await.unwrap();
        heads.into_iter().find(|head| head.tenant == id).unwrap().halted
    };

    // Another root at our position: a stolen key was quicker.
    world.automine(false).await;
    world.append("acme", 2..3).await;
    let beaten = world.pending().await;
    let batch = world.last_batch("acme").await;
    world.foreign_anchor(Some(beaten.nonce), &batch, B256::repeat_byte(6)).await;
    world.mine().await;
    world.automine(true).await;
    let why = world.until("a halt", async || halted("acme").await).await;
    assert!(why.starts_with("different-batch"), "{why}");

    // A counter ahead of ours: a batch that was never sealed here.
    let mut unknown = world.last_batch("globex").await;
    unknown.first_seq = (unknown.first_seq.get() + unknown.count).into();
    world.foreign_anchor(None, &unknown, B256::repeat_byte(7)).await;
    world.append("globex", 2..3).await;
    let why = world.until("a halt", async || halted("globex").await).await;
    assert!(why.starts_with("chain-ahead") || why.starts_with("unknown-batch"), "{why}");

    // The third one goes on.
    world.append("initech", 2..3).await;
    world
        .until("the other tenant's batch", async || {
            let anchored = world.last_batch("initech").await;
            (anchored.first_seq.get() == 2 && anchored.anchored.is_some()).then_some(())
        })
        .await;
    assert_eq!(halted("initech").await, None);

    // What differs cannot be decided away.
    for name in ["acme", "globex"] {
        let mut resolve =
            world.stack.cofferdam(&format!("incident resolve --yes --json --tenant {name}"));
        let answer = run(&mut resolve).await.exits(1).json();
        assert_eq!(answer["resolved"], false);
        assert!(halted(name).await.is_some());
    }
    let listed = world.stack.json("incident list").await;
    assert_eq!(listed["halted"].as_array().unwrap().len(), 2, "{listed}");

    // A reorg takes the foreign batch of globex back: then it can.
    daemon.end().await;
    let (head, id) = (world.chain.head().await.unwrap().number, world.stack.tenant("globex").await);
    let foreign = world.chain.anchored(id, 0, head).await.unwrap().last().unwrap().block_number;
    world.reorg(head - foreign + 1).await;
    let daemon = world.daemon().await;
    world
        .until("a resolved incident", async || {
            let would = run(&mut world.stack.cofferdam("incident resolve --tenant globex")).await;
            (would.code == Some(0)).then_some(())
        })
        .await;
    assert!(halted("globex").await.is_some(), "nothing is done without --yes");
    world.stack.json("incident resolve --tenant globex --yes").await;
    world
        .until("globex going on", async || world.last_batch("globex").await.anchored.map(drop))
        .await;
    assert_eq!(halted("globex").await, None);

    // No code at the contract's address is an endpoint that lags: it is waited for.
    let contract = world.chain.contract();
    let code = world.chain.provider().get_code_at(contract).await.unwrap();
    world.ask("anvil_setCode", (contract, Bytes::new())).await;
    // The command would look at the contract first.
    let sequencer = Sequencer::connect(&world.stack.runtime_url(), CHAIN_ID).await.unwrap();
    put(&sequencer, world.stack.tenant("initech").await).await;
    let next = async || {
        let batch = world.last_batch("initech").await;
        (batch.first_seq.get() == 3).then_some(batch)
    };
    world.until("initech sealed meanwhile", next).await;
    world.ask("anvil_setCode", (contract, code.clone())).await;
    world.until("initech going on by itself", async || next().await?.anchored).await;

    // Other code at the contract's address halts everything, until it is back and an operator says so.
    world.ask("anvil_setCode", (contract, Bytes::from_static(&[0xfe]))).await;
    world.until("everything halted", async || world.sealer.all_halted().await.unwrap()).await;
    let refused = run(&mut world.stack.cofferdam("incident resolve --everything --yes")).await;
    refused.fails_saying(1, &["code"]);
    world.ask("anvil_setCode", (contract, code)).await;
    world.append("initech", 4..5).await;
    sleep(Duration::from_millis(300)).await;
    assert!(world.last_batch("initech").await.first_seq.get() < 4, "sealed while halted");
    world.stack.json("incident resolve --everything --yes").await;
    world
        .until("initech going on", async || {
            let batch = world.last_batch("initech").await;
            (batch.first_seq.get() == 4).then_some(batch.anchored).flatten().map(drop)
        })
        .await;
    daemon.end().await;
}

#[tokio::test]
async fn a_bit_flipped_between_seal_and_post_halts_and_names_the_entry() {
    let all: String = ["acme", "globex", "initech"].map(|name| records(name, 0..2)).concat();
    let world = World::with(&all).await;
    // Sealed, and not posted for want of funds.
    world.set_balance(U256::ZERO).await;
    world.append("acme", 2..6).await;
    world.append("globex", 2..3).await;
    world.append("initech", 2..3).await;
    let daemon = world.daemon().await;
    world.until("a word about funds", async || world.sealer.leader().await.unwrap()?.waiting).await;
    daemon.end().await;
    // One is another text, the other none at all.
    let tampered = ["--tenant acme --seq 4", "--tenant initech --seq 2 --unreadable"];
    for which in tampered {
        world.stack.json(&format!("devnet tamper {which}")).await;
    }
    world.set_balance(U256::from(10).pow(U256::from(20))).await;
    let round = run(&mut world.stack.cofferdam("anchor --once --json")).await.exits(1).json();
    assert_eq!([&round["anchored"], &round["sealed"]], [1, 0], "{round}");
    let halted = world.stack.json("incident list").await["halted"].to_string();
    for entry in ["tampered: entry 4", "tampered: entry 2"] {
        assert!(halted.contains(entry), "{entry}: {halted}");
    }

    // Put back, and decided on, it goes out as it was sealed.
    for (which, name) in tampered.into_iter().zip(["acme", "initech"]) {
        let stays = format!("incident resolve --tenant {name} --yes");
        run(&mut world.stack.cofferdam(&stays)).await.exits(1);
        world.stack.json(&format!("devnet tamper {which}")).await;
        world.stack.json(&stays).await;
    }
    world.stack.anchor().await;
    let snapshot = world.stack.snapshot().await;
    for name in ["acme", "initech"] {
        let log = snapshot.named(name);
        assert_eq!(log.anchored.len(), log.batches.len(), "{name}");
    }
}

#[tokio::test]
async fn i8_a_step_that_does_not_end_is_given_up_and_the_lead_with_it() {
    let world = World::with(&records("acme", 0..2)).await;
    world.append("acme", 2..3).await;
    let acme = world.stack.tenant("acme").await;
    let mut held = world.sealer.tenant(acme).await.unwrap();
    held.lock_head().await.unwrap();
    let anchorer = world.anchorer(PostPolicy { step: Duration::from_secs(1), ..posting() });
    let pulse = anchorer.pulse();
    let before = world.sealer.leader().await.unwrap().map_or(0, |leader| leader.epoch);
    let daemon = world.daemon_of(anchorer).await;
    world
        .until("another lead", async || {
            (world.sealer.leader().await.unwrap()?.epoch > before + 1).then_some(())
        })
        .await;
    assert!(pulse.failed() > 0);
    drop(held);
    world.settled(3).await;
    daemon.end().await;
}

/// Appends an entry.
async fn put(sequencer: &Sequencer, tenant: TenantId) {
    let entry = [(FieldName::ExternalId, "one"), (FieldName::Payload, "{}")];
    let entry = NewEntry::new(entry.map(|(name, value)| (name, value.to_owned()))).unwrap();
    sequencer.appender().append(tenant, vec![entry]).await.unwrap();
}

#[tokio::test]
async fn i9_tenants_that_nobody_may_anchor_for_hold_up_no_other() {
    let world = World::with(&records("acme", 0..2)).await;
    let url = world.stack.runtime_url();
    let sequencer = Sequencer::connect(&url, CHAIN_ID).await.unwrap();
    // More than fit into a page of what is to be posted, and all of them first.
    for n in 0..5 {
        let authority = Address::with_last_byte(n + 1);
        let tenant = TenantId::from_authority(authority).unwrap();
        sequencer.add_tenant(&format!("stranger-{n}"), tenant).await.unwrap();
        put(&sequencer, tenant).await;
    }
    let anchorer = world.anchorer(PostPolicy { in_flight: 1, max_items: 2, ..posting() });
    assert_eq!(anchorer.round().await.unwrap().troubled.len(), 5);
    world.append("acme", 2..3).await;
    let report = anchorer.round().await.unwrap();
    assert_eq!(report.posted.iter().map(|posted| posted.anchored).sum::<usize>(), 1);
    // Set aside, they are still reported.
    assert_eq!(report.troubled.len(), 5, "{report:?}");
    let fresh = world.anchorer(PostPolicy { in_flight: 1, max_items: 2, ..posting() });
    world.append("acme", 3..4).await;
    let report = fresh.round().await.unwrap();
    assert_eq!(report.posted.iter().map(|posted| posted.anchored).sum::<usize>(), 1);
}

/// Anvil has no GasPriceOracle: a contract that answers everything with one number stands in for it.
#[tokio::test]
async fn what_an_op_stack_chain_takes_beside_is_asked_where_it_can_be() {
    let ground = crate::ground::Ground::start().await;
    let raw = Bytes::from_static(&[2, 3, 4]);
    assert_eq!(ground.chain.surcharge(&raw, 50_000).await.unwrap(), U256::ZERO);
    // PUSH2 1000, MSTORE at 0, RETURN 32 bytes.
    let code = Bytes::from_static(&[0x61, 0x03, 0xe8, 0x5f, 0x52, 0x60, 0x20, 0x5f, 0xf3]);
    let request = ground
        .chain
        .provider()
        .raw_request::<_, Value>("anvil_setCode".into(), (GAS_PRICE_ORACLE, code));
    request.await.unwrap();
    assert_eq!(ground.chain.surcharge(&raw, 50_000).await.unwrap(), U256::from(2_000));

    // Of a block that the node has forgotten, the fee is what it is now.
    let ask = ground.chain.provider();
    let sent = json!({ "from": ANCHORER, "to": ANCHORER });
    let hash: B256 = ask.raw_request("eth_sendTransaction".into(), [sent]).await.unwrap();
    // Anvil answers before it has mined.
    let mut receipt = Value::Null;
    for _ in 0..500 {
        receipt = ask.raw_request("eth_getTransactionReceipt".into(), [hash]).await.unwrap();
        if receipt.is_object() {
            break;
        }
        sleep(Duration::from_millis(20)).await;
    }
    assert!(receipt.is_object(), "not mined: {hash}");
    receipt["operatorFeeScalar"] = json!("0x1");
    let rpc = Rpc::start(vec![ground.anvil.rpc_url().clone()]).await;
    let chain = Chain::connect(&rpc.url().clone().into(), Expected::default()).await.unwrap();
    let mut forgotten = true;
    rpc.play(move |method| match method {
        "eth_getTransactionReceipt" => Some(Fault::Answer(receipt.clone())),
        "eth_call" => std::mem::take(&mut forgotten).then_some(Fault::Status(500)),
        _ => None,
    });
    let paid = chain.paid(hash).await.unwrap().expect("a receipt");
    assert_eq!((paid.operator_fee, rpc.heal()), (U256::from(1_000), 2));
}
