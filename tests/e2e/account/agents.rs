//! What agents pay, and what is refused to them, by the EntryPoint itself.

use alloy::{primitives::U256, sol_types::SolCall};
use cofferdam_contracts::{
    Revert, SmartAccount,
    account::{Operation, Outcome, SignedVerdict},
};

use super::world::{ETHER, GAS, Tenant, World, first_nonce, key, pay, payee};

/// Demands the account's (or a registry's) named error, told by the EntryPoint.
#[track_caller]
fn names(revert: &Revert, error: &str, says: &[&str]) {
    assert_eq!(revert.name(), Some("FailedOpWithRevert"), "{revert}");
    assert_eq!(revert.root().name(), Some(error), "{revert}");
    let text = revert.to_string();
    for part in says {
        assert!(text.contains(part), "not said: {part}\n{text}");
    }
    assert!(revert.advice().is_some(), "{revert}");
}

/// Demands one of the EntryPoint's own codes.
#[track_caller]
fn says(revert: &Revert, code: &str) {
    assert_eq!(revert.name(), Some("FailedOp"), "{revert}");
    assert!(revert.to_string().contains(code), "{revert}");
}

#[tokio::test]
async fn an_agent_pays_within_limits_and_once() {
    let world = World::start().await;
    let a = Tenant::new(&world, "A").await;
    let value = ETHER / 2;

    let operation = a.payment(value).await;
    assert_eq!(operation.nonce, first_nonce(&a.keys));
    // What we compute is what the EntryPoint does.
    let ours = Operation {
        account: a.account.address(),
        nonce: operation.nonce,
        calls: pay(value),
        gas: GAS,
    };
    let theirs = a.account.entry_point().getUserOpHash(operation.clone()).call().await.unwrap();
    assert_eq!(ours.hash(world.deployment.entry_point, world.chain.chain_id()), theirs);

    let (balance, deposit) = a.funds().await;
    let cost = a.handles(operation.clone()).await;
    assert!(cost > U256::ZERO && cost <= GAS.fee());
    assert_eq!(a.funds().await, (balance - U256::from(value), deposit - cost));
    assert_eq!(world.balance(payee()).await, U256::from(value));
    // Reserved was the most that it could cost.
    let day = U256::from(world.now().await / 86_400);
    let spent = a.account.binding().spentOf(Default::default(), day).call().await.unwrap();
    assert_eq!(spent.today, U256::from(value) + GAS.fee());

    says(&a.refuses(operation).await, "AA25 invalid account nonce");
}

#[tokio::test]
async fn what_is_of_one_tenant_is_worth_nothing_at_another() {
    let world = World::start().await;
    let (a, b) = (Tenant::new(&world, "A").await, Tenant::new(&world, "B").await);
    let of_b = b.account.tenant_id().to_string();
    let verdict = a.signed(a.verdict(&pay(ETHER), Outcome::Allow).await);

    // A's signed operation, sent for B.
    let mut for_b = a.operation(pay(ETHER), &verdict);
    for_b.sender = b.account.address();
    names(&b.refuses(for_b).await, "PolicyRegistry_BadVerdict", &[&of_b]);

    // Signed by the agent for B, which it may act for, but under A's verdict.
    let under_a = b.operation(pay(ETHER), &verdict);
    names(&b.refuses(under_a).await, "PolicyRegistry_BadVerdict", &[&of_b]);

    // Nothing else was wrong with either.
    a.handles(a.operation(pay(ETHER), &verdict)).await;
    b.handles(b.payment(ETHER).await).await;
}

#[tokio::test]
async fn what_is_of_one_chain_is_worth_nothing_on_another() {
    let (here, there) = (World::start().await, World::start_as(84_532).await);
    let (a_here, a_there) = (Tenant::new(&here, "A").await, Tenant::new(&there, "A").await);
    assert_eq!(a_here.account.address(), a_there.account.address());

    let operation = a_here.payment(ETHER).await;
    names(&a_there.refuses(operation.clone()).await, "PolicyRegistry_BadVerdict", &[]);
    // Not even with a verdict for there.
    let verdict = a_there.signed(a_there.verdict(&pay(ETHER), Outcome::Allow).await);
    let mut signature = operation.signature[..65].to_vec();
    signature.extend(verdict.authorisation());
    let mut mixed = operation.clone();
    mixed.signature = signature.into();
    says(&a_there.refuses(mixed).await, "AA24 signature error");

    a_here.handles(operation).await;
    a_there.handles(a_there.payment(ETHER).await).await;
}

#[tokio::test]
async fn what_the_limits_the_fee_and_the_verdict_do_not_cover() {
    let world = World::start().await;
    let a = Tenant::new(&world, "A").await;

    let over = a.payment(ETHER + 1).await;
    let amounts = format!("limit {ETHER}, amount {}", ETHER + 1);
    names(&a.refuses(over).await, "SmartAccount_OverCallLimit", &[&amounts]);

    // Two calls of one ether each are the day's whole limit, and the fee comes on top.
    let twice = [pay(ETHER), pay(ETHER)].concat();
    let verdict = a.signed(a.verdict(&twice, Outcome::Allow).await);
    let over = a.operation(twice, &verdict);
    names(&a.refuses(over).await, "SmartAccount_OverDailyLimit", &["spent 0"]);

    let mut verdict = a.verdict(&pay(ETHER), Outcome::Allow).await;
    verdict.maxFee = GAS.fee() - U256::from(1);
    let over = a.operation(pay(ETHER), &a.signed(verdict.clone()));
    let fees = format!("maxFee {}, fee {}", verdict.maxFee, GAS.fee());
    names(&a.refuses(over).await, "SmartAccount_OverMaxFee", &[&fees]);

    let verdict = a.verdict(&pay(ETHER), Outcome::Allow).await;
    let other = a.operation(pay(ETHER - 1), &a.signed(verdict.clone()));
    names(&a.refuses(other).await, "PolicyRegistry_BadVerdict", &[]);

    for outcome in [Outcome::Deny, Outcome::Escalate] {
        let denied = a.signed(a.verdict(&pay(ETHER), outcome).await);
        let denied = a.operation(pay(ETHER), &denied);
        names(&a.refuses(denied).await, "PolicyRegistry_BadVerdict", &[]);
    }

    // A key that is not the verdict signer's, and one that is not the agent's.
    let (chain_id, registry) = (world.chain.chain_id(), world.deployment.policy_registry);
    let forged = SignedVerdict::sign(verdict, &key("forger"), chain_id, registry).unwrap();
    names(&a.refuses(a.operation(pay(ETHER), &forged)).await, "PolicyRegistry_BadVerdict", &[]);
    let mut stolen = Tenant::at(&world, a.keys.clone(), a.account.address()).await;
    stolen.keys.agent = key("thief");
    let verdict = a.signed(a.verdict(&pay(ETHER), Outcome::Allow).await);
    says(&a.refuses(stolen.operation(pay(ETHER), &verdict)).await, "AA24 signature error");

    a.handles(a.payment(ETHER).await).await;
}

#[tokio::test]
async fn what_was_revoked_or_frozen_stops_at_once() {
    let world = World::start().await;
    let a = Tenant::new(&world, "A").await;
    let payment = a.payment(ETHER).await;

    let agent = a.keys.agent.address();
    a.send(&a.keys.guardian, SmartAccount::revokeAgentCall { agent }.abi_encode()).await;
    let said = [agent.to_string()];
    names(&a.refuses(payment.clone()).await, "MCPAgentRegistry_NotGranted", &[&said[0]]);
    a.grant().await;

    a.send(&a.keys.guardian, SmartAccount::revokePolicyCall {}.abi_encode()).await;
    names(&a.refuses(payment.clone()).await, "PolicyRegistry_NoActivePolicy", &[]);
    a.publish(3).await;
    names(&a.refuses(payment).await, "PolicyRegistry_WrongPolicyVersion", &["active 3, named 1"]);

    let payment = a.payment(ETHER).await;
    a.send(&a.keys.owner, SmartAccount::freezeCall {}.abi_encode()).await;
    names(&a.refuses(payment.clone()).await, "SmartAccount_Frozen", &[]);
    a.together(a.account.address(), SmartAccount::unfreezeCall {}.abi_encode().into()).await;
    a.handles(payment).await;
}

#[tokio::test]
async fn calls_that_fail_are_named_and_cost_no_more_than_their_fee() {
    let world = World::start().await;
    let a = Tenant::new(&world, "A").await;
    let payment = a.payment(ETHER).await;
    // The deposit pays the fee; there is nothing left to send.
    world.fund(a.account.address(), 0).await;
    let (_, deposit) = a.funds().await;

    let (event, revert) = a.validates(payment).await;
    assert!(!event.success);
    let revert = revert.expect("a reason").to_string();
    assert_eq!(revert, "SmartAccount_CallFailed(index 0, reason no reason given)");
    assert!(event.actualGasCost <= GAS.fee());
    assert_eq!(a.funds().await, (U256::ZERO, deposit - event.actualGasCost));
    assert_eq!(world.balance(payee()).await, U256::ZERO);
}
