//! A Postgres of its own, fsync on, and a tenant with many entries of a kilobyte.
#![allow(dead_code, reason = "each bench uses its own part")]

use cofferdam_core::{Address, FieldName, TenantId};
use cofferdam_devnet::{BenchServer, TestDatabase};
use cofferdam_store::{DatabaseUrl, NewEntry, Sequencer, migrate};
use futures::{StreamExt, stream};

pub(crate) const CHAIN: u64 = 31337;
/// Entries handed over at a time.
const GROUP: u64 = 1000;
pub(crate) const PAYLOAD: usize = 820;

/// A number after an option of the command.
pub(crate) fn number(option: &str) -> Option<u64> {
    let value = std::env::args().skip_while(|arg| arg != option).nth(1)?;
    Some(value.parse().expect("a number"))
}

/// Starts it, migrated; with the daemon's URL.
pub(crate) async fn start() -> (BenchServer, DatabaseUrl) {
    let server = BenchServer::start().await.expect("a Postgres");
    let TestDatabase { admin_url, runtime_url } = server.database("bench");
    let admin: DatabaseUrl = admin_url.as_str().parse().expect("a URL");
    let daemon: DatabaseUrl = runtime_url.as_str().parse().expect("a URL");
    migrate(&admin, &daemon).await.expect("migrated");
    (server, daemon)
}

pub(crate) fn tenant(n: u64) -> TenantId {
    let mut address = [0x11; 20];
    address[..8].copy_from_slice(&n.to_be_bytes());
    TenantId::from_authority(Address::from(address)).expect("not zero")
}

pub(crate) fn entry(n: u64, payload: usize) -> NewEntry {
    let payload = format!("{{\"n\":{n:>9},\"of\":\"{}\"}}", "x".repeat(payload));
    NewEntry::new([
        (FieldName::ExternalId, format!("3f2504e0-4f89-41d3-9a0c-{n:012x}")),
        (FieldName::Action, "s3.amazonaws.com:GetObject".to_owned()),
        (FieldName::Actor, "arn:aws:sts::111122223333:assumed-role/reports/nightly".to_owned()),
        (FieldName::OccurredAt, "2026-01-31T23:59:59.123456Z".to_owned()),
        (FieldName::Resource, "arn:aws:s3:::finance-reports".to_owned()),
        (FieldName::Result, "success".to_owned()),
        (FieldName::Payload, payload),
    ])
    .expect("an entry")
}

/// Gives tenant 0 so many.
pub(crate) async fn fill(sequencer: &Sequencer, entries: u64) {
    sequencer.add_tenant("hot", tenant(0)).await.expect("added");
    let appender = sequencer.appender();
    stream::iter((0..entries).step_by(GROUP as usize))
        .for_each_concurrent(4, |first| {
            let appender = appender.clone();
            async move {
                let group = first..entries.min(first + GROUP);
                let group = group.map(|n| entry(n, PAYLOAD)).collect();
                appender.append(tenant(0), group).await.expect("appended");
            }
        })
        .await;
}
