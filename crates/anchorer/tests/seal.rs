//! Sealing many tenants: fairly, each by its own settings, and a broken one alone.

use std::time::Duration;

use cofferdam_anchorer::{SealPolicy, Stint, fault, seal_due};
use cofferdam_core::{Address, BatchRoot, BatchTiles, FieldName, Seq, TenantId};
use cofferdam_devnet::TestDatabase;
use cofferdam_store::{
    DatabaseUrl, NewEntry, SealSettings, Sealer, Sequencer, StoreError, flip_one_bit, migrate,
};

const CHAIN: u64 = 31337;
/// Nothing is due by it.
const NEVER: SealPolicy = SealPolicy {
    max_entries: 1_000_000,
    max_bytes: 1 << 40,
    max_age: Duration::from_secs(31_536_000),
};

struct World {
    admin: DatabaseUrl,
    sequencer: Sequencer,
    sealer: Sealer,
}

/// Tenants with so many entries each.
async fn world(entries: &[usize]) -> World {
    let test = TestDatabase::new().await.expect("a Postgres");
    let admin: DatabaseUrl = test.admin_url.as_str().parse().expect("a URL");
    let runtime: DatabaseUrl = test.runtime_url.as_str().parse().expect("a URL");
    migrate(&admin, &runtime).await.expect("migrated");
    let sequencer = Sequencer::connect(&runtime, CHAIN).await.expect("a sequencer");
    let sealer = Sealer::connect(&runtime, CHAIN).await.expect("a sealer");
    let appender = sequencer.appender();
    for (n, &count) in (0..).zip(entries) {
        sequencer.add_tenant(&format!("t{n}"), tenant(n)).await.expect("added");
        appender.append(tenant(n), (0..count).map(entry).collect()).await.expect("appended");
    }
    World { admin, sequencer, sealer }
}

fn tenant(n: u8) -> TenantId {
    TenantId::from_authority(Address::repeat_byte(n + 1)).expect("not zero")
}

fn entry(n: usize) -> NewEntry {
    NewEntry::new([
        (FieldName::ExternalId, format!("id-{n:05}")),
        (FieldName::Action, "s3:GetObject".to_owned()),
        (FieldName::Payload, format!("{{\"n\":{}}}", n + 10_000)),
    ])
    .expect("an entry")
}

impl World {
    /// How many batches each tenant has, and how many entries are in them.
    async fn sealed(&self) -> Vec<(u64, u64)> {
        let heads = self.sealer.heads().await.expect("heads");
        heads.iter().map(|head| (head.sealed_batches.get(), head.sealed_seq.get())).collect()
    }
}

#[tokio::test]
async fn who_has_much_waiting_gets_no_more_of_a_round_than_who_has_little() {
    let world = world(&[95, 1, 2, 0, 10]).await;
    let policy = SealPolicy { max_entries: 10, max_age: Duration::ZERO, ..NEVER };
    let report = seal_due(&world.sealer, &policy, Stint::default()).await.expect("sealed");
    assert_eq!((report.sealed, report.troubled.len()), (4, 0));
    assert_eq!(world.sealed().await, [(1, 10), (1, 1), (1, 2), (0, 0), (1, 10)]);
    let report = seal_due(&world.sealer, &policy, Stint::default()).await.expect("sealed");
    assert_eq!(report.sealed, 1);
    // To the end, whatever is due.
    let report =
        seal_due(&world.sealer, &SealPolicy { max_entries: 10, ..NEVER }, Stint::flush()).await;
    assert_eq!(report.expect("sealed").sealed, 8);
    assert_eq!(world.sealed().await, [(10, 95), (1, 1), (1, 2), (0, 0), (1, 10)]);
    let report = seal_due(&world.sealer, &policy, Stint::flush()).await.expect("sealed");
    assert_eq!(report.sealed, 0);
}

#[tokio::test]
async fn each_tenant_is_sealed_by_its_own_settings() {
    let world = world(&[7, 7, 7, 7]).await;
    assert_eq!(seal_due(&world.sealer, &NEVER, Stint::default()).await.expect("sealed").sealed, 0);
    let each = world.sealer.heads().await.expect("heads")[0].unsealed_bytes / 7;
    for (n, settings) in [
        (0, SealSettings { entries: Some(3), ..SealSettings::default() }),
        (1, SealSettings { bytes: Some(each * 5), ..SealSettings::default() }),
        (2, SealSettings { age: Some(Duration::ZERO), ..SealSettings::default() }),
    ] {
        world.sequencer.set_seal(tenant(n), settings).await.expect("set");
    }
    let report = seal_due(&world.sealer, &NEVER, Stint::default()).await.expect("sealed");
    assert_eq!(report.sealed, 3);
    assert_eq!(world.sealed().await, [(1, 3), (1, 5), (1, 7), (0, 0)]);
    // What is left of the first two is no longer more than they want in a batch, once it is sealed.
    let report = seal_due(&world.sealer, &NEVER, Stint::default()).await.expect("sealed");
    assert_eq!(report.sealed, 1);
    assert_eq!(world.sealed().await, [(2, 6), (1, 5), (1, 7), (0, 0)]);
    assert_eq!(seal_due(&world.sealer, &NEVER, Stint::default()).await.expect("sealed").sealed, 0);
    // An entry that is larger than a batch may be is a batch alone.
    let tiny = SealSettings { bytes: Some(1), ..SealSettings::default() };
    world.sequencer.set_seal(tenant(3), tiny).await.expect("set");
    assert_eq!(seal_due(&world.sealer, &NEVER, Stint::default()).await.expect("sealed").sealed, 1);
    assert_eq!(world.sealed().await[3], (1, 1));
}

#[tokio::test]
async fn what_is_due_is_sealed_for_a_while_and_what_could_not_be_comes_last() {
    let world = world(&[1; 8]).await;
    let over = Stint { limit: Some(Duration::ZERO), ..Stint::flush() };
    assert_eq!(seal_due(&world.sealer, &NEVER, over).await.expect("sealed").sealed, 0);
    let stint = Stint { last: [tenant(0)].into(), ..Stint::flush() };
    assert_eq!(seal_due(&world.sealer, &NEVER, stint).await.expect("sealed").sealed, 8);
    let mut sealed_at = vec![];
    for n in 0..8 {
        let mut tx = world.sealer.tenant(tenant(n)).await.expect("its own");
        sealed_at.push(tx.batches().await.expect("batches")[0].sealed_at);
    }
    // It waited longest; four are sealed at once, so three of these may be before whoever comes first.
    let before = sealed_at.iter().filter(|at| **at < sealed_at[0]).count();
    assert!(before >= 4, "only {before} were sealed before it");
}

#[tokio::test]
async fn i9_a_flipped_bit_halts_its_tenant_alone_and_names_the_entry() {
    let world = world(&[20, 20, 20]).await;
    let flip =
        async || flip_one_bit(&world.admin, CHAIN, tenant(1), Seq(13), 5).await.expect("flipped");
    flip().await;
    let report = seal_due(&world.sealer, &NEVER, Stint::flush()).await.expect("sealed");
    assert_eq!(report.sealed, 2);
    let [(of, why)] = &report.troubled[..] else { panic!("one is troubled: {report:?}") };
    assert_eq!(*of, tenant(1));
    assert!(why.contains("entry 13") && why.contains("changed"), "{why}");
    assert_eq!(world.sealed().await, [(1, 20), (0, 0), (1, 20)]);
    let incidents = world.sealer.incidents(10).await.expect("incidents");
    assert_eq!(incidents.len(), 1);
    assert_eq!(incidents[0].tenant, Some(tenant(1)));
    assert!(incidents[0].detail.contains("entry 13"), "{incidents:?}");

    // It stays halted, also when the bit is back: that is for an operator to decide.
    flip().await;
    world.sequencer.appender().append(tenant(0), vec![entry(20)]).await.expect("appended");
    world.sequencer.appender().append(tenant(1), vec![entry(20)]).await.expect("also appended");
    let report = seal_due(&world.sealer, &NEVER, Stint::flush()).await.expect("sealed");
    assert_eq!((report.sealed, report.troubled.len()), (1, 1));
    assert!(report.troubled[0].1.starts_with("halted: tampered"), "{report:?}");
    assert_eq!(world.sealed().await, [(2, 21), (0, 0), (1, 20)]);
}

#[tokio::test]
async fn i9_who_is_halted_while_its_batch_is_made_is_not_sealed() {
    let world = world(&[20, 1]).await;
    // Its entries are read and hashed already, and found to be sound.
    let mut tx = world.sealer.tenant(tenant(0)).await.expect("its own");
    let leaves = tx.leaves(Seq(0), 20, u64::MAX).await.expect("read").expect("as acknowledged");
    let tiles = BatchTiles::new(&leaves.hashes).expect("leaves");
    world.sealer.halt(tenant(0), "test", "meanwhile").await.expect("halted");
    let error = tx.seal_batch(Seq(0), leaves.bytes, &tiles).await.expect_err("halted");
    assert!(matches!(error, StoreError::Halted { .. }), "{error}");
    drop(tx);
    for stint in [Stint::default(), Stint::flush()] {
        let policy = SealPolicy { max_age: Duration::ZERO, ..NEVER };
        let report = seal_due(&world.sealer, &policy, stint).await.expect("sealed");
        assert_eq!(report.troubled, [(tenant(0), "halted: test: meanwhile".to_owned())]);
        assert_eq!(world.sealed().await, [(0, 0), (1, 1)]);
    }
    let seen = world.sealer.standing(tenant(0)).await.expect("read");
    world.sealer.resume(tenant(0), &seen).await.expect("resumed");
    assert_eq!(seal_due(&world.sealer, &NEVER, Stint::flush()).await.expect("sealed").sealed, 1);
    assert_eq!(world.sealed().await, [(1, 20), (1, 1)]);
}

#[tokio::test]
async fn a_batch_is_faultless_only_with_the_root_of_its_own_entries() {
    let world = world(&[20]).await;
    assert_eq!(seal_due(&world.sealer, &NEVER, Stint::flush()).await.expect("sealed").sealed, 1);
    let mut tx = world.sealer.tenant(tenant(0)).await.expect("its own");
    let mut batch = tx.batches().await.expect("batches").remove(0);
    assert_eq!(fault(&mut tx, &batch).await.expect("read"), None);

    batch.count += 1;
    let found = fault(&mut tx, &batch).await.expect("read").expect("a missing entry");
    assert!(found.missing && found.seq == Seq(20), "{found:?}");

    (batch.count, batch.root) = (20, BatchRoot::ZERO);
    let found = fault(&mut tx, &batch).await.expect("read").expect("another root");
    assert!(!found.missing && found.detail.contains("batch 0 was sealed with root"), "{found:?}");
}
