//! What is missing is looked for at every endpoint before it is an incident.

use std::{
    collections::BTreeSet,
    sync::{MutexGuard, PoisonError},
};

use alloy::primitives::B256;
use cofferdam_core::{
    History, TenantId,
    mirror::{MirrorTable, Row},
};
use cofferdam_store::{AnchoredEvent, Checkpoint, StoreError};
use futures::TryStreamExt;
use tracing::{error, warn};

use crate::{IndexError, IndexMetrics, Indexer, blocks::At};

/// What was last found missing, and how often.
#[derive(Debug, Default)]
pub(crate) struct Missing {
    of: Option<(B256, MirrorTable, u64)>,
    times: usize,
    /// How often mirroring went back to before something that was missing, whatever it was.
    found: usize,
    /// Whose events no endpoint had when they were looked for.
    given_up: BTreeSet<B256>,
}

impl Indexer {
    /// Sees to it that the next pass may find what is missing, or gives it up when everything was tried.
    ///
    /// First the same range is read again from each endpoint in turn. Then the missing event may lie in a range
    /// that is mirrored already, without it: the first difference between the tenant's rows and what an
    /// endpoint has of it is looked for, and the mirror goes back to before it.
    pub(crate) async fn repair(
        &self,
        tenant: B256,
        table: MirrorTable,
        expected: u64,
        found: u64,
    ) -> Result<(), IndexError> {
        let (endpoints, metrics) = (&self.source.endpoints, &self.metrics);
        let (times, found_before) = {
            let mut missing = self.missing();
            let of = Some((tenant, table, expected));
            missing.times = if missing.of == of { missing.times + 1 } else { 0 };
            missing.of = of;
            (missing.times, missing.found)
        };
        IndexMetrics::add(&metrics.refetches, 1);
        // Who is no account may have been a lie too.
        self.source.forget_strangers();
        endpoints.rotate();
        // Every endpoint in turn, then the search, and so on for as long as it is missing.
        if times % (endpoints.count() + 1) < endpoints.count() {
            warn!(%tenant, table = table.name(), expected, found, "events are missing, reading again");
            return Ok(());
        }
        // An endpoint that has an event when asked for the tenant and not when asked for the range would
        // keep this going for ever.
        if let Some(at) = self.mirror.checkpoint().await?
            && found_before < 2 * endpoints.count()
        {
            for _ in 0..endpoints.count() {
                if let Some(block) = self.parting(tenant, at).await? {
                    let before = block.saturating_sub(1);
                    let link = self.source.link(At::Number(before)).await?;
                    let link = link.ok_or(IndexError::Moving { number: before })?;
                    warn!(%tenant, block = before, "events are missing, mirroring again from there");
                    self.missing().found += 1;
                    return self.take_back(at, link).await;
                }
                endpoints.rotate();
            }
        }
        {
            let mut missing = self.missing();
            let given_up = std::mem::take(&mut missing.given_up);
            *missing = Missing { given_up, ..Missing::default() };
            missing.given_up.insert(tenant);
        }
        let hole = IndexError::Hole { tenant, table, expected, found };
        let of = TenantId::try_from(tenant).ok();
        if self.mirror.incident(of, "hole", &hole.to_string()).await? {
            IndexMetrics::add(&metrics.incidents, 1);
            error!(error = %hole, "incident");
        }
        Ok(())
    }

    /// The first block in which a tenant's rows are not the events that an endpoint has of it; what it
    /// gave up as an agent stands among others' rows.
    async fn parting(&self, tenant: B256, at: Checkpoint) -> Result<Option<u64>, IndexError> {
        let last_final = self.mirror.state().await?.last_final.unwrap_or_default();
        let theirs = self.source.of_tenant(tenant, self.from_block, at.number, last_final).await?;
        let mut of: BTreeSet<B256> = theirs.iter().map(|row| row.tenant).collect();
        of.insert(tenant);
        let mut ours: Vec<Row> = vec![];
        for of in of.into_iter().filter_map(|of| TenantId::try_from(of).ok()) {
            let mut tx = self.reader.tenant(of).await?;
            for table in MirrorTable::ALL {
                // What a stranger's call left out is no event of the tenant's: no endpoint finds it by the tenant.
                if table == MirrorTable::Skipped {
                    continue;
                }
                let rows = std::pin::pin!(tx.mirrored(table));
                let about = |row: &Row| {
                    row.tenant == tenant
                        || row.forfeiter().is_some_and(|agent| agent.into_word() == tenant)
                };
                let about = rows.try_filter(|row| std::future::ready(about(row)));
                ours.extend(about.try_collect::<Vec<_>>().await?);
            }
        }
        let place = |row: &Row| (row.position.block_number, row.position.log_index);
        ours.sort_by_key(place);
        let parting = ours.iter().zip(&theirs).position(|(ours, theirs)| ours != theirs);
        let parting = parting.unwrap_or(ours.len().min(theirs.len()));
        let blocks = [ours.get(parting), theirs.get(parting)].into_iter().flatten();
        Ok(blocks.map(|row| row.position.block_number).min())
    }

    fn missing(&self) -> MutexGuard<'_, Missing> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether no endpoint had what is missing of a tenant when it was looked for.
    pub(crate) fn is_given_up(&self, tenant: B256) -> bool {
        self.missing().given_up.contains(&tenant)
    }

    /// A tenant has everything.
    pub(crate) fn made_whole(&self, tenant: B256) {
        self.missing().given_up.remove(&tenant);
    }

    /// Everything was there, or all is to be looked for once more: what was missing once may be missing again.
    pub(crate) fn cleared(&self) {
        *self.missing() = Missing::default();
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
