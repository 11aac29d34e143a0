//! More than one who posts: two daemons, a stranger who is first, an anchorer that is replaced.

use std::process::Stdio;

use alloy::{
    primitives::{Address, Bytes},
    signers::{SignerSync, local::PrivateKeySigner},
    sol_types::{SolCall, SolStruct},
};
use cofferdam_contracts::{
    AuditAnchor, IAuditAnchor,
    signing::{Anchor, Verifier, domain},
};
use serde_json::json;
use tokio::time::Duration;

use super::{
    kills::{ENTRIES, MIRRORED},
    trap::When,
    world::{TENANTS, World},
};
use crate::support::CHAIN_ID;

/// Anvil's first account, which anchors on every devnet.
pub(crate) const ANCHORER: &str = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";

const ANCHORERS_KEY: &str = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
/// Anvil's second account, which the node signs for.
const STRANGER: &str = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";

#[tokio::test]
async fn i8_a_daemon_that_sleeps_past_its_lease_and_wakes_does_no_harm() {
    let mut world = World::start().await;
    let sleeper = world.daemon();
    // It knows that what it is about to send is written down, and falls asleep.
    let mut intent = world.wire.traps().set("INSERT INTO cofferdam.transactions", When::After, 0);
    world.append(2).await;
    assert!(intent.within(Duration::from_secs(60)).await, "{}", world.said());
    sleeper.signal("STOP").await;
    drop(intent);
    // Another one takes over what there is.
    let mut other = world.daemon();
    world.is_well().await;
    world.append(2).await;
    sleeper.signal("CONT").await;
    world.append(2).await;
    world.is_well().await;
    other.lives();
    sleeper.kill().await;
    world.append(1).await;
    world.is_well().await;
    other.stop().await;
}

#[tokio::test]
async fn i8_who_sleeps_with_a_lock_in_hand_holds_nobody_up_for_long() {
    let mut world = World::start().await;
    let sleeper = world.daemon();
    // It is about to commit what it mirrored, and falls asleep.
    let mut confirming = world.wire.traps().set(MIRRORED, When::Before, 0);
    world.append(2).await;
    assert!(confirming.within(Duration::from_secs(60)).await, "{}", world.said());
    sleeper.signal("STOP").await;
    let mut other = world.daemon();
    world.is_well().await;
    // So does somebody who appends.
    let mut appending = world.wire.traps().set(ENTRIES, When::Before, 0);
    let mut append = world.appending(2);
    let mut append = append.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    assert!(appending.within(Duration::from_secs(60)).await, "{}", world.said());
    world.append(2).await;
    world.is_well().await;
    drop((confirming, appending));
    let _ = append.wait().await.unwrap();
    sleeper.signal("CONT").await;
    world.append(2).await;
    world.is_well().await;
    other.lives();
    sleeper.kill().await;
    other.stop().await;
}

#[tokio::test]
async fn i8_an_anchorer_that_is_replaced_between_seal_and_send_loses_nothing() {
    let mut world = World::start().await;
    let mut daemon = world.daemon();
    let mut sending = world.rpc.traps().set("eth_sendRawTransaction", When::Before, 0);
    world.append(2).await;
    assert!(sending.within(Duration::from_secs(60)).await, "{}", world.said());
    let [rotated, other] = [TENANTS[0], TENANTS[1]];
    let before = world.anchored(rotated).await;
    set_anchorer(&world, rotated, Address::repeat_byte(7)).await;
    drop(sending);
    // Nobody else is held up.
    let all = world.acknowledged;
    world.until("the others' anchors", async || world.anchored(other).await == all).await;
    world.append(2).await;
    let all = world.acknowledged;
    world.until("the others' next anchors", async || world.anchored(other).await == all).await;
    assert_eq!(world.anchored(rotated).await, before);
    daemon.lives();
    // Given back, everything goes out.
    set_anchorer(&world, rotated, ANCHORER.parse().unwrap()).await;
    world.is_well().await;
    daemon.stop().await;
}

#[tokio::test]
async fn i8_what_somebody_else_has_anchored_already_is_taken_as_anchored() {
    let mut world = World::start().await;
    let daemon = world.daemon();
    let mut sending = world.rpc.traps().set("eth_sendRawTransaction", When::Before, 0);
    world.append(2).await;
    assert!(sending.within(Duration::from_secs(60)).await, "{}", world.said());
    // The same batches, signed by the anchorer and posted by a stranger, come first.
    let on_chain = domain(Verifier::AuditAnchor, CHAIN_ID, world.chain.contract());
    let deadline = u64::MAX;
    let anchorer: PrivateKeySigner = ANCHORERS_KEY.parse().unwrap();
    let mut items = vec![];
    for log in world.stack.snapshot().await.tenants.values() {
        let batch = log.batches.last().unwrap();
        assert!(batch.anchored.is_none());
        let (tenant, root) = (batch.tenant.as_b256(), batch.root.into());
        let (first, count) = (batch.first_seq.get(), batch.count);
        let anchor = Anchor { tenantId: tenant, firstSeq: first, count, root, deadline };
        let signed = anchorer.sign_hash_sync(&anchor.eip712_signing_hash(&on_chain)).unwrap();
        items.push(IAuditAnchor::SignedItem {
            tenantId: tenant,
            firstSeq: first,
            count,
            root,
            deadline,
            signature: signed.as_bytes().into(),
        });
    }
    let data = AuditAnchor::anchorSignedCall { items }.abi_encode();
    let data = Bytes::from(data);
    let first = json!([{ "from": STRANGER, "to": world.chain.contract(), "data": data }]);
    world.ask("eth_sendTransaction", first).await;
    assert_eq!(world.anchored(TENANTS[0]).await, world.acknowledged);
    drop(sending);
    world.is_well().await;
    world.append(1).await;
    world.is_well().await;
    daemon.stop().await;
}

/// Lets a tenant's authority name another anchorer.
pub(super) async fn set_anchorer(world: &World, name: &str, anchorer: Address) {
    let tenant = world.stack.tenant(name).await;
    let authority = tenant.authority();
    let call = AuditAnchor::setAnchorerCall { tenantId: tenant.as_b256(), anchorer };
    let data = Bytes::from(call.abi_encode());
    world.ask("anvil_setBalance", json!([authority, "0xde0b6b3a7640000"])).await;
    world.ask("anvil_impersonateAccount", json!([authority])).await;
    let contract = world.chain.contract();
    let sent = json!([{ "from": authority, "to": contract, "data": data }]);
    world.ask("eth_sendTransaction", sent).await;
    world.ask("anvil_stopImpersonatingAccount", json!([authority])).await;
}
