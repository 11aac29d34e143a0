//! What is missing is looked for at every endpoint before it is an incident.

use std::sync::PoisonError;

use alloy::primitives::B256;
use cofferdam_core::{History, TenantId, mirror::MirrorTable};
use cofferdam_store::{AnchoredEvent, StoreError};
use futures::TryStreamExt;
use tracing::{error, warn};

use crate::{IndexError, IndexMetrics, Indexer, endpoint::At, indexer::checkpoint};

/// What was last found missing, and how often.
#[derive(Debug, Default)]
pub(crate) struct Suspect {
    of: Option<(B256, MirrorTable, u64)>,
    times: usize,
}

impl Indexer {
    /// Sees to it that the next pass may find what is missing; an error when everything was tried.
    ///
    /// First the same range is read again from each endpoint in turn. Then the missing event may lie in a range
    /// that is mirrored already, without it: its block is looked for, and the mirror goes back to it.
    pub(crate) async fn repair(
        &self,
        tenant: B256,
        table: MirrorTable,
        expected: u64,
        found: u64,
    ) -> Result<(), IndexError> {
        let times = {
            let mut suspect = self.suspect.lock().unwrap_or_else(PoisonError::into_inner);
            let of = Some((tenant, table, expected));
            suspect.times = if suspect.of == of { suspect.times + 1 } else { 0 };
            suspect.of = of;
            suspect.times
        };
        let (endpoints, metrics) = (&self.source.endpoints, &self.metrics);
        IndexMetrics::add(&metrics.refetches, 1);
        endpoints.rotate();
        // Every endpoint in turn, then the search, and so on for as long as it is missing.
        if times % (endpoints.count() + 1) < endpoints.count() {
            warn!(%tenant, table = table.name(), expected, found, "events are missing, reading again");
            return Ok(());
        }
        if let Some(at) = self.mirror.checkpoint().await? {
            for _ in 0..endpoints.count() {
                let rows = self.source.of_tenant(tenant, self.from_block, at.number).await?;
                let missing = rows.iter().find(|row| {
                    let counter = match table {
                        MirrorTable::Anchored => "batch_index",
                        MirrorTable::AnchorerSet => "nonce",
                        MirrorTable::Policies => "version",
                        MirrorTable::Described => "agent_nonce",
                        _ => "event_index",
                    };
                    let first = u64::from(table == MirrorTable::Policies);
                    row.event.table == table && row.int(counter) == Some(expected + first)
                });
                if let Some(row) = missing {
                    let before = row.position.block_number.saturating_sub(1);
                    let link = self.source.link(At::Number(before)).await?;
                    let link = link.ok_or(IndexError::Moving { number: before })?;
                    warn!(%tenant, block = before, "events are missing, mirroring again from there");
                    self.mirror.rewind(at, checkpoint(link)).await?;
                    self.source.know(self.mirror.accounts().await?);
                    return Ok(());
                }
                endpoints.rotate();
            }
        }
        let hole = IndexError::Hole { tenant, table, expected, found };
        let of = TenantId::try_from(tenant).ok();
        if self.mirror.incident(of, "hole", &hole.to_string()).await? {
            IndexMetrics::add(&metrics.incidents, 1);
            error!(error = %hole, "incident");
        }
        Err(hole)
    }

    /// Everything was there: what was missing once may be missing again, and is then looked for again.
    pub(crate) fn cleared(&self) {
        *self.suspect.lock().unwrap_or_else(PoisonError::into_inner) = Suspect::default();
    }

    /// Makes the histories again that a rewind left without peaks.
    pub(crate) async fn restore_histories(&self) -> Result<(), IndexError> {
        for tenant in self.mirror.without_history().await? {
            let history = self.history(tenant).await?;
            self.mirror.restore_history(tenant, &history).await?;
        }
        Ok(())
    }

    /// The history that a tenant's mirrored batches make.
    pub(crate) async fn history(&self, tenant: TenantId) -> Result<History, IndexError> {
        let mut tx = self.reader.tenant(tenant).await?;
        let mut rows = std::pin::pin!(tx.mirrored(MirrorTable::Anchored));
        let mut history = History::new();
        while let Some(row) = rows.try_next().await? {
            let batch = AnchoredEvent::try_from(&row)?.batch();
            let appended = history.append(batch.commitment());
            if appended.ok() != Some(batch.index) {
                return Err(StoreError::Corrupt { column: "batch_index" }.into());
            }
        }
        Ok(history)
    }
}
