//! What the store's tests share: a migrated database, and entries to put in it.

use alloy_primitives::U128;
use cofferdam_core::{
    Address, B256, BatchTiles, BundleProof, EntryHash, FieldName, PolicyVersion, SlotProof,
    TenantId,
    mirror::{Abi, MirrorEvent, Row, Value},
};
use cofferdam_devnet::TestDatabase;
use cofferdam_store::{
    AnchoredEvent, Applied, Checkpoint, Counters, DAY, DatabaseUrl, Leadership, LogPosition,
    Mirror, NewEntry, PolicyTerms, SealedBatch, Sealer, Sequencer, Spending, StoreError,
    Submission, migrate,
};
use futures::TryStreamExt;

pub(crate) const CHAIN: u64 = 31337;

/// A fresh database, migrated.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) admin: DatabaseUrl,
    pub(crate) runtime: DatabaseUrl,
    pub(crate) test: TestDatabase,
}

pub(crate) async fn database() -> Database {
    let test = TestDatabase::new().await.expect("a Postgres");
    let admin: DatabaseUrl = test.admin_url.as_str().parse().expect("a URL");
    let runtime: DatabaseUrl = test.runtime_url.as_str().parse().expect("a URL");
    migrate(&admin, &runtime).await.expect("migrated");
    Database { admin, runtime, test }
}

impl Database {
    pub(crate) async fn sequencer(&self) -> Sequencer {
        Sequencer::connect(&self.runtime, CHAIN).await.expect("a sequencer")
    }

    /// A connection of the administrator, or of a role that it took.
    pub(crate) async fn raw(&self, role: Option<&str>) -> sqlx::PgConnection {
        let mut connection = connect(self.test.admin_url.as_str()).await;
        if let Some(role) = role {
            sqlx::raw_sql(sqlx::AssertSqlSafe(format!("SET ROLE {role}")))
                .execute(&mut connection)
                .await
                .expect("the role");
        }
        connection
    }
}

pub(crate) async fn connect(url: &str) -> sqlx::PgConnection {
    <sqlx::PgConnection as sqlx::Connection>::connect(url).await.expect("a connection")
}

/// Counts rows and mirrors them.
pub(crate) async fn apply(
    mirror: &Mirror,
    from: Option<Checkpoint>,
    to: Checkpoint,
    blocks: &[(u64, B256)],
    rows: &[Row],
) -> Result<Applied, StoreError> {
    let counted = mirror.count(&mut Counters::default(), rows.to_vec()).await?;
    mirror.apply(from, to, blocks, counted).await
}

pub(crate) fn tenant(byte: u8) -> TenantId {
    TenantId::from_authority(Address::repeat_byte(byte)).expect("not zero")
}

pub(crate) fn entry(id: &str, payload: &str) -> NewEntry {
    NewEntry::new([
        (FieldName::ExternalId, id.to_owned()),
        (FieldName::Action, "s3:GetObject".to_owned()),
        (FieldName::Actor, "arn:aws:iam::1:user/ann".to_owned()),
        (FieldName::OccurredAt, "2026-01-31T23:59:59.000000Z".to_owned()),
        (FieldName::Payload, payload.to_owned()),
    ])
    .expect("an entry")
}

pub(crate) fn entries(ids: impl IntoIterator<Item = usize>) -> Vec<NewEntry> {
    ids.into_iter().map(|id| entry(&format!("id-{id}"), &format!("{{\"n\": {id}}}"))).collect()
}

pub(crate) fn position(block_number: u64, log_index: u64) -> LogPosition {
    LogPosition {
        block_number,
        block_hash: block(block_number).hash,
        tx_hash: B256::repeat_byte(0x77),
        log_index,
    }
}

pub(crate) fn block(number: u64) -> Checkpoint {
    Checkpoint { number, hash: B256::left_padding_from(&(number + 1).to_be_bytes()) }
}

/// The handle of a daemon that has just taken the lead.
pub(crate) async fn lead(sealer: &Sealer) -> Sealer {
    let lease = std::time::Duration::from_secs(3600);
    match sealer.lead("first", lease).await.expect("asked") {
        Leadership::Ours(leading) => leading,
        Leadership::Theirs(leader) => panic!("{leader:?} leads"),
    }
}

/// The event that anchors a sealed batch in a block.
pub(crate) fn anchored(batch: &SealedBatch, block_number: u64, log_index: u64) -> AnchoredEvent {
    AnchoredEvent {
        tenant: batch.tenant,
        index: batch.index,
        first_seq: batch.first_seq,
        count: batch.count,
        root: batch.root,
        anchored_at: 1_700_000_000 + block_number,
        position: position(block_number, log_index),
    }
}

/// The row of an event that anchors a batch.
pub(crate) fn anchored_row(event: AnchoredEvent) -> Row {
    let values = vec![
        Value::Int(event.index.get()),
        Value::Int(event.first_seq.get()),
        Value::Int(event.count),
        Value::Word(event.root.into()),
        Value::Int(event.anchored_at),
    ];
    row("Anchored", event.tenant, event.position, values)
}

/// The row of an event that names a tenant's anchorer.
pub(crate) fn anchorer_row(tenant: TenantId, nonce: u64, at: LogPosition) -> Row {
    let values = vec![Value::Address(Address::repeat_byte(5)), Value::Int(nonce)];
    row("AnchorerSet", tenant, at, values)
}

/// A row of an event with something in every member; `n` is where its counters stand.
pub(crate) fn sample(
    event: &'static MirrorEvent,
    n: u64,
    tenant: TenantId,
    position: LogPosition,
) -> Row {
    let seed = n as u8 + 1;
    let value = |member: &cofferdam_core::mirror::Member| match (member.column, member.abi) {
        ("batch_index" | "first_seq" | "nonce" | "event_index" | "agent_nonce", _) => Value::Int(n),
        ("version", _) => Value::Int(n + 1),
        (_, Abi::Int) => Value::Int(u64::from(seed) << 24),
        (_, Abi::Word | Abi::Tenant) => Value::Word(B256::repeat_byte(seed)),
        (_, Abi::Address) => Value::Address(Address::repeat_byte(seed)),
        (_, Abi::Amount) => Value::Amount(U128::from(seed) << 70),
        (_, Abi::Bool) => Value::Bool(n.is_multiple_of(2)),
        (_, Abi::Selector) => Value::Selector([seed; 4]),
        (_, Abi::Bytes) => Value::Bytes(vec![seed; usize::from(seed)].into()),
        (_, Abi::Words) => Value::Bytes(vec![seed; 64].into()),
    };
    let values = event.columns().map(value).collect();
    let time = 1_700_000_000 + position.block_number;
    Row { event, tenant: tenant.as_b256(), position, time, values }
}

/// What looks like the proof of a history of so many batches.
pub(crate) fn history_proof(batches: u8) -> BundleProof {
    let mut head = B256::repeat_byte(1);
    head.0[..12].copy_from_slice(&[0, 0, 0, 0, 0, 0, batches, 0, 0, 0, 0, batches]);
    let slot = |value| SlotProof { slot: value, value, proof: vec![vec![0xc0; 40].into()] };
    let peaks = (0..batches.count_ones()).map(|_| slot(B256::repeat_byte(2))).collect();
    let (header, account_proof) = (vec![0xf9; 600].into(), vec![vec![0xc1; 30].into()]);
    BundleProof { header, account_proof, head: slot(head), peaks }
}

/// A policy that a tenant handed in, as if it had signed that.
pub(crate) fn policy(tenant: TenantId, version: u64) -> Submission {
    Submission {
        tenant,
        version: PolicyVersion(version),
        terms: PolicyTerms {
            policy_hash: B256::repeat_byte(version as u8),
            verdict_signer: Address::repeat_byte(3),
            not_before: 1_700_000_000,
            not_after: 1_800_000_000,
        },
        deadline: u64::MAX,
        signature: vec![1; 65].into(),
    }
}

/// A row of an event.
pub(crate) fn row(event: &str, tenant: TenantId, position: LogPosition, values: Vec<Value>) -> Row {
    let event = MirrorEvent::named(event).expect("an event");
    let time = 1_700_000_000 + position.block_number;
    Row { event, tenant: tenant.as_b256(), position, time, values }
}

/// What a tenant's account spent of a token on a day, which ends with the block of the day's number.
pub(crate) fn spending(tenant: TenantId, day: u64, token: u8, spent: u128) -> Spending {
    Spending {
        tenant,
        day,
        token: Address::repeat_byte(token),
        spent: (spent > 0).then_some(spent),
        block: block(day),
        time: DAY * day + 86_399,
    }
}

impl Database {
    /// Seals everything a tenant has into one batch, as the anchorer does.
    pub(crate) async fn seal(&self, chain: u64, of: TenantId) -> SealedBatch {
        let sealer = Sealer::connect(&self.runtime, chain).await.expect("a sealer");
        let mut tx = sealer.tenant(of).await.expect("a transaction");
        let head = tx.lock_head().await.expect("a head");
        let leaves: Vec<EntryHash> = tx
            .entries(head.sealed_seq, head.unsealed())
            .map_ok(|entry| entry.entry_hash)
            .try_collect()
            .await
            .expect("entries");
        let tiles = BatchTiles::new(&leaves).expect("entries to seal");
        let batch = tx.seal_batch(head.sealed_seq, 0, &tiles).await.expect("sealed");
        tx.commit().await.expect("committed");
        batch
    }
}
