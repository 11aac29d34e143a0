//! What the store's tests share: a migrated database, and entries to put in it.
#![allow(dead_code, reason = "each test file uses its own part")]

use cofferdam_core::{Address, B256, EntryHash, FieldName, TenantId, batch_root};
use cofferdam_devnet::TestDatabase;
use cofferdam_store::{
    AnchoredEvent, Checkpoint, DatabaseUrl, Leadership, LogPosition, NewEntry, SealedBatch, Sealer,
    Sequencer, migrate,
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
        let root = batch_root(&leaves).expect("entries to seal");
        let batch = tx.insert_batch(head.sealed_seq, head.unsealed(), root).await.expect("sealed");
        tx.commit().await.expect("committed");
        batch
    }
}
