//! A node forgets the state that a receipt's proof is made of; the daemon kept it.

use std::{
    fs::File,
    sync::atomic::AtomicU64,
    time::{Duration, SystemTime},
};

use alloy::{
    primitives::{
        Address, B256, Bytes,
        aliases::{U48, U80, U96},
        keccak256,
    },
    providers::Provider,
    sol_types::SolCall,
};
use cofferdam_anchorer::{Keeper, Kept};
use cofferdam_contracts::{
    Chain, Expected, IMCPAgentRegistry, IPolicyRegistry, MCPAgentRegistry, PolicyRegistry,
    deployment::Deployment,
};
use cofferdam_core::TenantId;
use cofferdam_store::{Finality, Sealer};
use serde_json::{Value, json};
use tokio::process::Command;

use super::{
    rpc::Fault,
    world::{TENANTS, World},
};
use crate::support::{CHAIN_ID, program, records, run};

/// Blocks until one is final.
const FINAL: u64 = 8;

async fn world() -> World {
    World::with(&["--slots-in-an-epoch", &(FINAL / 2).to_string()]).await
}

#[tokio::test]
async fn a_receipt_is_proven_by_what_was_kept_once_the_node_has_forgotten() {
    let mut world = world().await;
    world.rpc.play(|_| Some(Fault::Pruned(3)));
    let made = run(&mut world.cofferdam("receipt --tenant acme --seq 0")).await.exits(0);
    let forgotten: Value = serde_json::from_str(&made.stdout).unwrap();
    assert_eq!(
        [&forgotten["state"], &forgotten["lacks"]],
        [&json!("final"), &json!(["proofBlock"])]
    );

    rule(&world, world.stack.tenant("acme").await).await;
    let sealer = Sealer::connect(&world.stack.runtime_url(), CHAIN_ID).await.unwrap();
    let daemon = world.daemon();
    world
        .until("that proofs are taken", async || {
            sealer.unsettled_proofs(u32::MAX.into(), 9).await.unwrap().len() == TENANTS.len()
        })
        .await;
    world.mine(FINAL).await;
    world
        .until("that they are kept", async || {
            sealer.unsettled_proofs(u32::MAX.into(), 9).await.unwrap().is_empty()
        })
        .await;
    daemon.stop().await;
    world.mine(FINAL).await;
    let mut without_node = world.cofferdam("receipt --tenant acme --seq 0");
    without_node.env_remove("RPC_URL").env("CHAIN_ID", CHAIN_ID.to_string());
    for mut make in [world.cofferdam("receipt --tenant acme --seq 0"), without_node] {
        let made = run(&mut make).await.exits(0);
        let receipt: Value = serde_json::from_str(&made.stdout).unwrap();
        assert_eq!([&receipt["state"], &receipt["lacks"]], [&json!("final"), &json!([])]);
        let header: Bytes = receipt["proofBlock"]["header"].as_str().unwrap().parse().unwrap();
        let hash = keccak256(&header);
        let block = world.chain.provider().get_block_by_hash(hash).await.unwrap();
        let number = block.expect("a block of the chain").header.number;
        assert!(number > receipt_block(&receipt), "{number} is not later than the batch's");
        let policy = json!({
            "chainId": CHAIN_ID, "contract": world.chain.contract(),
            "codeHash": world.chain.code_hash(), "blockHashes": [hash],
        });
        let mut verify = program();
        verify.args(["verify", "--json", "--policy"]);
        verify.arg(world.stack.file("pinned.json", policy.to_string()));
        verify.arg(world.stack.file("receipt.json", receipt.to_string()));
        assert_eq!(run(&mut verify).await.exits(0).json()["level"], 2);
    }

    // A bundle is what it would have been with a node that forgets nothing, at the same block.
    let bundle = async |mut export: Command, name: &str| {
        let path = world.stack.dir().join(name);
        let made = run(export.arg("--json").arg("--out").arg(&path)).await.exits(0).json();
        let read = cofferdam_bundle::verify(File::open(path).unwrap(), &AtomicU64::new(0), false);
        (read.unwrap().checked.manifest, made["block"].clone())
    };
    let (kept, at) = bundle(world.cofferdam("bundle --tenant acme"), "kept.bundle").await;
    let command = format!("bundle --tenant acme --block {at}");
    let (asked, _) = bundle(world.stack.cofferdam(&command), "asked.bundle").await;
    assert_eq!((kept.policies.len(), kept.scopes.len()), (asked.policies.len(), 2));
    assert!(kept.policies.len() >= 3, "{:?}", kept.policies);
    assert_eq!((kept.policies, kept.scopes), (asked.policies, asked.scopes));
    assert_eq!((kept.history, kept.proof_block), (asked.history, asked.proof_block));
}

/// Policies and grants of a tenant, some of which it took back.
async fn rule(world: &World, tenant: TenantId) {
    let (chain, authority) = (&world.chain, tenant.authority());
    world.ask("anvil_setBalance", json!([authority, "0xde0b6b3a7640000"])).await;
    world.ask("anvil_impersonateAccount", json!([authority])).await;
    let Deployment { policy_registry, mcp_agent_registry, .. } = Deployment::default();
    let call = async |to: Address, data: Vec<u8>| {
        let sent = json!([{ "from": authority, "to": to, "data": Bytes::from(data) }]);
        world.ask("eth_sendTransaction", sent).await;
        world.mine(1).await;
    };
    let id = tenant.as_b256();
    let registry = PolicyRegistry::new(policy_registry, chain.provider());
    let first = registry.versionOf(id).call().await.unwrap() + 1;
    let deadline = u64::MAX;
    let (from, until) = (U48::from(1_700_000_000_u64), U48::from(4_000_000_000_u64));
    for version in [first, first + 2] {
        let policy = IPolicyRegistry::Policy {
            policyHash: B256::repeat_byte(version as u8),
            verdictSigner: Address::repeat_byte(3),
            notBefore: from,
            notAfter: until,
        };
        let signature = Bytes::new();
        let publish =
            PolicyRegistry::publishCall { tenantId: id, version, policy, deadline, signature };
        call(policy_registry, publish.abi_encode()).await;
        if version == first {
            let revoke = PolicyRegistry::revokeCall { tenantId: id };
            call(policy_registry, revoke.abi_encode()).await;
        }
    }
    // Of five grants one goes on for longer, one is taken back, and two with their agent.
    let agent = |n: u8| Address::repeat_byte(0xa0 + n);
    let capability = B256::repeat_byte;
    for (of, what) in [(1, 1), (1, 2), (2, 1), (3, 1), (3, 2)] {
        let grant = MCPAgentRegistry::grantCall {
            tenantId: id,
            agent: agent(of),
            capability: capability(what),
            window: IMCPAgentRegistry::Window { notBefore: from, notAfter: until },
            limits: IMCPAgentRegistry::Limits {
                nativeMax: U80::from(1_000_000_000_000_000_000_000_u128),
                target: Address::ZERO,
                selector: [0; 4].into(),
                tokenMax: U96::ZERO,
            },
        };
        call(mcp_agent_registry, grant.abi_encode()).await;
    }
    let extend = MCPAgentRegistry::extendCall {
        tenantId: id,
        agent: agent(2),
        capability: capability(1),
        notAfter: until + U48::from(1),
    };
    call(mcp_agent_registry, extend.abi_encode()).await;
    let revoke =
        MCPAgentRegistry::revokeCall { tenantId: id, agent: agent(1), capability: capability(2) };
    call(mcp_agent_registry, revoke.abi_encode()).await;
    let all = MCPAgentRegistry::revokeAgentCall { tenantId: id, agent: agent(3) };
    call(mcp_agent_registry, all.abi_encode()).await;
}

fn receipt_block(receipt: &Value) -> u64 {
    receipt["anchor"]["blockNumber"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_proof_is_kept_once_final_dropped_by_a_reorg_and_renewed_daily() {
    const HOUR: Duration = Duration::from_secs(3600);
    let world = world().await;
    let sealer = Sealer::connect(&world.stack.runtime_url(), CHAIN_ID).await.unwrap();
    let url = world.rpc.url().clone().into();
    let keeper = Keeper::new(Chain::connect(&url, Expected::default()).await.unwrap(), 24 * HOUR);
    let now = SystemTime::now();
    let round = async |after: Duration| keeper.round(&sealer, now + after).await.unwrap();
    let known_final = async |last_final: u64| {
        let head = world.chain.head().await.unwrap().number;
        let at = Finality { head, safe: (head + last_final) / 2, last_final };
        sealer.set_finality(at).await.unwrap();
    };
    let finish = async || {
        world.mine(FINAL).await;
        known_final(world.chain.head().await.unwrap().number - FINAL).await;
    };
    let reader = world.stack.reader().await;
    let kept = async |name: &str| {
        let mut tx = reader.tenant(world.stack.tenant(name).await).await.unwrap();
        tx.kept_proof().await.unwrap()
    };
    let nothing = Kept::default();
    let taken = |taken| Kept { taken, ..nothing };

    // One tenant's trouble is nobody else's, and is not tried again at once.
    let mut first = true;
    world.rpc.play(move |method| {
        (method == "eth_getProof" && std::mem::take(&mut first)).then_some(Fault::Status(500))
    });
    assert_eq!(round(Duration::ZERO).await, Kept { failed: 1, ..taken(2) });
    assert_eq!(round(Duration::from_secs(1)).await, nothing);
    assert_eq!(round(HOUR).await, taken(1));

    // Their block goes: they are dropped, and others taken.
    world.ask("anvil_reorg", json!([1, []])).await;
    finish().await;
    assert_eq!(round(HOUR).await, Kept { dropped: 3, ..taken(3) });
    // One block less than final is not final, and what is not final is not given out.
    let at = world.chain.head().await.unwrap();
    world.mine(FINAL).await;
    known_final(at.number - 1).await;
    assert_eq!(round(HOUR).await, nothing);
    assert_eq!(kept("acme").await, None);
    known_final(at.number).await;
    // A node that does not have the block yet knows nothing against it.
    world.rpc.play(|_| Some(Fault::Behind(FINAL + 1)));
    assert_eq!(round(HOUR).await, nothing);
    world.rpc.heal();
    assert_eq!(round(HOUR).await, Kept { settled: 3, ..nothing });
    let (block, proof) = kept("acme").await.expect("a proof");
    assert_eq!((block.number, block.hash, keccak256(&proof.header)), (at.number, at.hash, at.hash));

    // A day later whoever anchored something is due, and nobody else.
    let more = world.stack.file("more.ndjson", records("acme", 2..3));
    run(world.cofferdam("append").arg(more)).await.exits(0);
    for command in ["anchor --once", "index --once"] {
        run(&mut world.cofferdam(command)).await.exits(0);
    }
    assert_eq!(round(24 * HOUR).await, nothing);
    // Of a block that lacks what is mirrored nothing is taken; nor soon again, but for a clock that is stepped back.
    world.rpc.play(|_| Some(Fault::Behind(1)));
    assert_eq!(round(26 * HOUR).await, Kept { failed: 1, ..nothing });
    world.rpc.heal();
    assert_eq!(round(26 * HOUR).await, nothing);
    assert_eq!(round(26 * HOUR - HOUR / 2).await, taken(1));
    finish().await;
    assert_eq!(round(26 * HOUR).await, Kept { settled: 1, ..nothing });
    for (name, batches) in TENANTS.into_iter().zip([2, 1, 1]) {
        let (_, proof) = kept(name).await.expect("a proof");
        assert_eq!(proof.claimed_head().batches, batches, "{name}");
    }
}
