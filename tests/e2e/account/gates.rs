//! The three gates: three keys, each of another role, and none of them for another.

use alloy::{
    primitives::{B256, U256},
    signers::local::PrivateKeySigner,
    sol_types::{SolCall, SolEvent},
};
use cofferdam_anchorer::AnchorError;
use cofferdam_contracts::{
    ChainError, SmartAccount,
    account::{
        Outcome, Role, Stage, calls_hash, execute_directly_calldata, execute_proposal_calldata,
        propose_calldata,
    },
};

use super::world::{ETHER, Tenant, World, pay, payee};

/// More than any agent may pay.
const MUCH: u64 = 5 * ETHER;

/// Has the agent propose a payment that only people may let pass.
async fn propose(tenant: &Tenant<'_>) -> B256 {
    let verdict = tenant.signed(tenant.verdict(&pay(MUCH), Outcome::Escalate).await);
    let calldata = propose_calldata(&pay(MUCH), verdict.verdict.nonce, verdict.authorisation());
    let sender = tenant.world.sender(&tenant.keys.agent).await;
    let receipt = sender.send(tenant.account.address(), calldata).await.unwrap();
    let event = SmartAccount::Proposed::decode_log(&receipt.logs()[0].inner).unwrap();
    assert_eq!(event.id, tenant.account.proposal_id(&event.proposal));
    assert_eq!(event.proposal.callsHash, calls_hash(&pay(MUCH)));
    event.id
}

/// Demands that a key's call is refused by this error, before anything is sent.
async fn refused(tenant: &Tenant<'_>, key: &PrivateKeySigner, calldata: Vec<u8>, error: &str) {
    let sender = tenant.world.sender(key).await;
    let answer = sender.send(tenant.account.address(), calldata.into()).await;
    let Err(AnchorError::Chain(ChainError::Reverted { revert, .. })) = answer else {
        panic!("not refused: {answer:?}");
    };
    assert!(revert.to_string().starts_with(error), "{revert}");
}

#[tokio::test]
async fn three_keys_pass_a_payment_once_and_two_never() {
    let world = World::start().await;
    let a = Tenant::new(&world, "A").await;
    let keys = a.keys.clone();
    let id = propose(&a).await;
    let (proposed, calls) = a.account.proposal(id).await.unwrap();
    assert_eq!((proposed.stage, calls.as_deref()), (Stage::Proposed, Some(&pay(MUCH)[..])));

    let approve = SmartAccount::approveCall { id }.abi_encode();
    let authorise = SmartAccount::authoriseCall { id }.abi_encode();
    let execute = execute_proposal_calldata(&proposed.proposal, &pay(MUCH)).to_vec();
    let wrong = |key: &PrivateKeySigner, role: Role| {
        format!("SmartAccount_WrongRole(sender {}, role {role})", key.address())
    };

    // Not out of order.
    refused(&a, &keys.authoriser, authorise.clone(), "SmartAccount_WrongStage").await;
    refused(&a, &keys.executor, execute.clone(), "SmartAccount_WrongStage").await;
    // Approver and executor alone: neither can do the authoriser's part, nor leave it out.
    a.send(&keys.approver, approve.clone()).await;
    for (key, role) in [
        (&keys.approver, Role::Approver),
        (&keys.executor, Role::Executor),
        (&keys.owner, Role::Owner),
        (&keys.guardian, Role::Guardian),
        (&keys.agent, Role::None),
    ] {
        refused(&a, key, authorise.clone(), &wrong(key, role)).await;
    }
    refused(&a, &keys.executor, execute.clone(), "SmartAccount_WrongStage").await;
    // Approver and authoriser alone: neither can execute.
    a.send(&keys.authoriser, authorise.clone()).await;
    refused(&a, &keys.approver, execute.clone(), &wrong(&keys.approver, Role::Approver)).await;
    refused(&a, &keys.authoriser, execute.clone(), &wrong(&keys.authoriser, Role::Authoriser))
        .await;
    assert_eq!(world.balance(payee()).await, U256::ZERO);

    // Not other calls than the ones that passed, and not at another tenant.
    let other = execute_proposal_calldata(&proposed.proposal, &pay(MUCH + 1)).to_vec();
    refused(&a, &keys.executor, other, "SmartAccount_Stale").await;
    let b = Tenant::new(&world, "B").await;
    refused(&b, &b.keys.executor, execute.clone(), "SmartAccount_WrongStage").await;

    let balance = a.account.balance().await.unwrap();
    a.send(&keys.executor, execute.clone()).await;
    assert_eq!(world.balance(payee()).await, U256::from(MUCH));
    assert_eq!(a.account.balance().await.unwrap(), balance - U256::from(MUCH));

    refused(&a, &keys.executor, execute, "SmartAccount_WrongStage").await;
    refused(&a, &keys.approver, approve, "SmartAccount_WrongStage").await;
    let by = a.account.history().await.unwrap().proposals.remove(&id).unwrap().by;
    let expected = [
        (Stage::Proposed, keys.agent.address()),
        (Stage::Approved, keys.approver.address()),
        (Stage::Authorised, keys.authoriser.address()),
        (Stage::Closed, keys.executor.address()),
    ];
    assert_eq!(by, expected);
}

#[tokio::test]
async fn an_agent_pays_without_the_entry_point_under_the_same_rules() {
    let world = World::start().await;
    let a = Tenant::new(&world, "A").await;
    let directly = |value: u64| {
        let a = &a;
        async move {
            let verdict = a.signed(a.verdict(&pay(value), Outcome::Allow).await);
            execute_directly_calldata(&pay(value), verdict.verdict.nonce, &verdict.authorisation())
                .to_vec()
        }
    };
    let over = directly(ETHER + 1).await;
    refused(&a, &a.keys.agent, over, "SmartAccount_OverCallLimit").await;
    let good = directly(ETHER).await;
    refused(&a, &a.keys.owner, good.clone(), "SmartAccount_ForeignNonce").await;
    a.send(&a.keys.agent, good.clone()).await;
    assert_eq!(world.balance(payee()).await, U256::from(ETHER));
    // The nonce is the EntryPoint's: a verdict is good for one way only.
    refused(&a, &a.keys.agent, good, "SmartAccount_WrongNonce").await;
}
