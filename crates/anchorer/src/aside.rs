//! Tenants that this key cannot anchor for: they are asked about now and then, not in every step.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use alloy::primitives::Address;
use cofferdam_core::TenantId;
use tokio::sync::Mutex;
use tracing::warn;

/// How long nobody asks about a tenant again.
const REST: Duration = Duration::from_secs(60);

/// Each tenant's anchorer, and when it was asked for.
#[derive(Debug, Default)]
pub(crate) struct Aside(Mutex<HashMap<TenantId, (Address, Instant)>>);

impl Aside {
    /// Those that nobody is to ask about now, each with its anchorer.
    pub(crate) async fn resting(&self) -> Vec<(TenantId, Address)> {
        let all = self.0.lock().await;
        let resting = all.iter().filter(|(_, (_, since))| since.elapsed() < REST);
        resting.map(|(tenant, (anchorer, _))| (*tenant, *anchorer)).collect()
    }

    /// Sets a tenant aside, and says so where that is news.
    pub(crate) async fn put(&self, tenant: TenantId, anchorer: Address) {
        let before = self.0.lock().await.insert(tenant, (anchorer, Instant::now()));
        if before.is_none_or(|(known, _)| known != anchorer) {
            warn!(%tenant, %anchorer, "cannot anchor for this tenant, it has another anchorer");
        }
    }

    /// This key anchors for the tenant again.
    pub(crate) async fn remove(&self, tenant: TenantId) {
        self.0.lock().await.remove(&tenant);
    }
}
