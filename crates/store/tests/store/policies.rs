//! Policies that were handed in: kept once for each version, met by what is mirrored, and given up in order.

use crate::common::{CHAIN, apply, block, database, lead, policy, position, row, tenant};
use cofferdam_core::{
    Address, TenantId,
    mirror::{Row, Value},
};
use cofferdam_store::{
    Finality, Mirror, PolicyStage, Reader, Sealer, Sequencer, StoreError, Submission, SubmitPolicy,
};

/// The event that publishes a policy, in a block of its own.
fn published(policy: &Submission, block_number: u64) -> Row {
    let terms = policy.terms;
    let values = vec![
        Value::Int(policy.version.get()),
        Value::Word(terms.policy_hash),
        Value::Address(terms.verdict_signer),
        Value::Int(terms.not_before),
        Value::Int(terms.not_after),
        Value::Int(1_700_000_000 + block_number),
    ];
    row("PolicyPublished", policy.tenant, position(block_number, 0), values)
}

fn revoked(tenant: TenantId, version: u64, block_number: u64) -> Row {
    let values = vec![Value::Int(version), Value::Int(1_700_000_000 + block_number)];
    row("PolicyRevoked", tenant, position(block_number, 0), values)
}

struct World {
    sequencer: Sequencer,
    sealer: Sealer,
    mirror: Mirror,
    at: u64,
}

impl World {
    async fn with(tenants: &[u8]) -> (Self, crate::common::Database) {
        let database = database().await;
        let sequencer = database.sequencer().await;
        for &byte in tenants {
            sequencer.add_tenant(&format!("t{byte}"), tenant(byte)).await.expect("added");
        }
        let sealer = Sealer::connect(&database.runtime, CHAIN).await.expect("a sealer");
        let sealer = lead(&sealer).await;
        let mirror = Mirror::connect(&database.runtime, CHAIN).await.expect("a mirror");
        apply(&mirror, None, block(0), &[], &[]).await.expect("applied");
        (Self { sequencer, sealer, mirror, at: 0 }, database)
    }

    async fn submit(&self, policy: &Submission) {
        let done = self.sequencer.submit_policy(policy).await.expect("submitted");
        assert_eq!(done, SubmitPolicy::Submitted);
    }

    /// Mirrors one event, and tells how many incidents that was.
    async fn mirror(&mut self, event: Row) -> u64 {
        let (from, to) = (block(self.at), block(event.position.block_number));
        self.at = to.number;
        let hashes = [(to.number, to.hash)];
        let applied = apply(&self.mirror, Some(from), to, &hashes, &[event]).await;
        applied.expect("applied").incidents
    }

    async fn stages(&self) -> Vec<(u64, PolicyStage)> {
        let all = self.sealer.policies().await.expect("read").into_iter();
        all.map(|(policy, stage)| (policy.version.get(), stage)).collect()
    }

    async fn waiting(&self) -> Vec<(TenantId, u64)> {
        let all = self.sealer.waiting_policies(10, &[]).await.expect("read").into_iter();
        all.map(|it| (it.submission.tenant, it.submission.version.get())).collect()
    }

    async fn kinds(&self) -> Vec<String> {
        let all = self.sealer.incidents(10).await.expect("read").into_iter();
        let mut kinds: Vec<_> = all.map(|incident| incident.kind).collect();
        kinds.sort();
        kinds
    }
}

fn failed((version, stage): &(u64, PolicyStage)) -> Option<u64> {
    matches!(stage, PolicyStage::Failed(_)).then_some(*version)
}

#[tokio::test]
async fn a_version_is_handed_in_once_and_again_when_it_failed() {
    let (world, _database) = World::with(&[1, 2]).await;
    let (first, second) = (policy(tenant(1), 1), policy(tenant(1), 2));
    world.submit(&first).await;
    world.submit(&second).await;
    let resigned = Submission { signature: vec![2; 65].into(), ..first.clone() };
    let again = world.sequencer.submit_policy(&resigned).await.expect("the same");
    assert_eq!(again, SubmitPolicy::AlreadyThere);
    let other = Submission { deadline: 5, ..first.clone() };
    let taken = world.sequencer.submit_policy(&other).await.expect_err("another");
    assert!(matches!(taken, StoreError::PolicyTaken { .. }), "{taken}");

    world.submit(&policy(tenant(2), 1)).await;
    assert_eq!(world.waiting().await, [(tenant(1), 1), (tenant(2), 1)]);
    let vitals = world.sealer.vitals().await.expect("read");
    assert_eq!(vitals.waiting_policies, 3);
    // A page goes on after those that were looked at.
    for (limit, passed, expected) in [(1, &[][..], 1), (1, &[tenant(1)], 2), (9, &[tenant(1)], 2)] {
        let page = world.sealer.waiting_policies(limit, passed).await.expect("read");
        let page: Vec<_> = page.iter().map(|it| it.submission.tenant).collect();
        assert_eq!(page, [tenant(expected)], "{limit} after {passed:?}");
    }
    world.sealer.fail_policy(&first, "policy-expired", "too late").await.expect("given up");
    assert_eq!(world.waiting().await, [(tenant(2), 1)]);
    let stages = world.stages().await;
    assert_eq!(stages[0], (1, PolicyStage::Failed("too late".into())));
    assert_eq!(stages.iter().filter_map(failed).collect::<Vec<_>>(), [1, 2], "it goes with it");
    world.submit(&other).await;
    assert_eq!(world.waiting().await, [(tenant(2), 1), (tenant(1), 1)]);
    assert_eq!(world.kinds().await, ["policy-expired"]);
}

#[tokio::test]
async fn what_is_mirrored_confirms_contradicts_or_is_unknown() {
    let (mut world, database) = World::with(&[1, 2, 3]).await;
    let reader = Reader::connect(&database.runtime, CHAIN).await.expect("a reader");
    let of = |version| policy(tenant(1), version);
    for version in 1..=4 {
        world.submit(&of(version)).await;
    }
    // The same, whoever published it; a reorg puts it back.
    assert_eq!(world.mirror(published(&of(1), 1)).await, 0);
    assert_eq!(world.stages().await[0], (1, PolicyStage::Included));
    world.mirror.rewind(&reader, block(1), block(0)).await.expect("rewound");
    world.at = 0;
    assert_eq!(world.waiting().await, [(tenant(1), 1)]);
    assert_eq!(world.mirror(published(&of(1), 1)).await, 0);
    let finality = Finality { head: 9, safe: 1, last_final: 0 };
    world.sealer.set_finality(finality).await.expect("written");
    assert_eq!(world.stages().await[0], (1, PolicyStage::Safe));
    world.sealer.set_finality(Finality { last_final: 1, ..finality }).await.expect("written");
    assert_eq!(world.stages().await[0], (1, PolicyStage::Final));

    // Each term counts.
    let mut other = of(2);
    other.terms.verdict_signer = Address::repeat_byte(4);
    assert_eq!(world.mirror(published(&other, 2)).await, 1);
    assert_eq!(world.stages().await.iter().filter_map(failed).collect::<Vec<_>>(), [2, 3, 4]);
    // The next one was not handed in again.
    assert_eq!(world.mirror(published(&policy(tenant(1), 3), 3)).await, 0, "the very same");
    let mut other = of(4);
    other.terms.not_after += 1;
    assert_eq!(world.mirror(published(&other, 4)).await, 1);
    assert_eq!(world.mirror(revoked(tenant(1), 5, 5)).await, 0);
    assert_eq!(world.mirror(published(&of(6), 6)).await, 1);
    assert_eq!(world.kinds().await, ["different-policy", "unknown-policy", "unknown-policy"]);

    // A revocation has the version of what waits; a tenant that publishes by itself; and a stranger.
    world.submit(&policy(tenant(2), 1)).await;
    assert_eq!(world.mirror(revoked(tenant(2), 1, 7)).await, 1);
    assert_eq!(world.mirror(published(&policy(tenant(3), 1), 8)).await, 0);
    assert_eq!(world.mirror(published(&policy(tenant(9), 1), 9)).await, 0);
    // What came before a tenant's first was its own to publish.
    world.submit(&policy(tenant(3), 3)).await;
    assert_eq!(world.mirror(published(&policy(tenant(3), 2), 10)).await, 0);
    assert!(world.sealer.heads().await.expect("read").iter().all(|head| head.halted.is_none()));
}

#[tokio::test]
async fn what_was_mirrored_before_it_was_handed_in_is_met() {
    let (mut world, _database) = World::with(&[1, 2]).await;
    let (ours, theirs) = (policy(tenant(1), 1), policy(tenant(2), 1));
    assert!(!world.sealer.meet_mirrored(&ours).await.expect("asked"), "nothing is mirrored");
    world.mirror(published(&ours, 1)).await;
    world.mirror(published(&theirs, 2)).await;
    world.submit(&ours).await;
    let mut other = theirs.clone();
    other.terms.not_before += 1;
    world.submit(&other).await;
    assert!(world.sealer.meet_mirrored(&ours).await.expect("met"));
    assert!(world.sealer.meet_mirrored(&other).await.expect("met"));
    let stages = world.stages().await;
    assert_eq!(stages[0], (1, PolicyStage::Included));
    assert_eq!(failed(&stages[1]), Some(1));
    assert_eq!(world.kinds().await, ["different-policy"]);
}
