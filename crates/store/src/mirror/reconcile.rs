//! What the chain says about our own batches.

use alloy_primitives::B256;
use cofferdam_core::{Seq, TenantId};
use sqlx::{Postgres, Transaction};

use super::Mirror;
use crate::{
    AnchoredEvent, LogPosition, Result, Sealer, StoreError,
    error::batch_words,
    incidents,
    row::{RowExt, bigint},
};

impl Mirror {
    /// Tells events of registered tenants that confirm a batch of ours from those that contradict what we
    /// sealed.
    pub(super) async fn compare<'e>(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        events: &'e [AnchoredEvent],
    ) -> Result<(Vec<&'e AnchoredEvent>, Vec<Finding>)> {
        let tenants: Vec<_> = events.iter().map(|event| event.tenant.as_b256()).collect();
        let rows = sqlx::query(
            "SELECT e.ord, b.first_seq, b.count, b.root, b.block_hash, b.log_index \
             FROM UNNEST($2::bytea[], $3::bigint[]) WITH ORDINALITY AS e(tenant_id, batch_index, ord) \
             LEFT JOIN LATERAL (SELECT first_seq, count, root, block_hash, log_index FROM cofferdam.batches \
                 WHERE tenant_id = e.tenant_id AND chain_id = $1 AND batches.batch_index = e.batch_index \
                 LIMIT 1) b ON true \
             ORDER BY e.ord",
        )
        .bind(self.handle.chain())
        .bind(tenants.iter().map(B256::as_slice).collect::<Vec<_>>())
        .bind(numbers(events, |event| event.index.get(), "batch index")?)
        .fetch_all(&mut **tx)
        .await
        .map_err(StoreError::database("reconcile batches"))?;
        let (mut confirmed, mut findings) = (Vec::new(), Vec::new());
        for row in rows {
            let column = "ord";
            let ord = usize::try_from(row.number(column)?).ok().and_then(|ord| ord.checked_sub(1));
            let event = ord.and_then(|at| events.get(at)).ok_or(StoreError::Corrupt { column })?;
            let of_chain =
                batch_words(event.index, event.first_seq, event.count, event.root.into());
            let at = event.position;
            let block = format!("block {} ({})", at.block_number, at.block_hash);
            let finding = |kind, detail| Finding { tenant: event.tenant, kind, detail };
            if row.value::<Option<i64>>("first_seq")?.is_none() {
                let detail = format!("{of_chain} in {block} was never sealed here");
                findings.push(finding("unknown-batch", detail));
                continue;
            }
            let sealed = (Seq(row.number("first_seq")?), row.number("count")?, row.hash("root")?);
            if sealed != (event.first_seq, event.count, event.root) {
                let (first_seq, count, root) = sealed;
                let ours = batch_words(event.index, first_seq, count, root.into());
                let detail = format!("{of_chain} in {block} was sealed here as {ours}");
                findings.push(finding("different-batch", detail));
                continue;
            }
            if row.value::<Option<&[u8]>>("block_hash")?.is_some() {
                let before: B256 = row.hash("block_hash")?;
                if (before, row.number("log_index")?) != (at.block_hash, at.log_index) {
                    let detail = format!("{of_chain} in {block} was mirrored from {before} before");
                    findings.push(finding("anchored-twice", detail));
                    continue;
                }
            }
            confirmed.push(event);
        }
        Ok((confirmed, findings))
    }

    /// Confirms a tenant's batches that were adopted after their events had been mirrored. The mirror is held
    /// where it is meanwhile, so that no reorg takes back an event that was just read.
    pub async fn confirm_adopted(&self, sealer: &Sealer, tenant: TenantId) -> Result<u64> {
        let mut tx = self.handle.begin().await?;
        sqlx::query(
            "SELECT block_number FROM cofferdam.checkpoints WHERE chain_id = $1 FOR UPDATE",
        )
        .bind(self.handle.chain())
        .fetch_optional(&mut *tx)
        .await
        .map_err(StoreError::database("hold the mirror"))?;
        let events = sealer.tenant(tenant).await?.anchored().await?;
        let (confirmed, _) = self.compare(&mut tx, &events).await?;
        let done = self.confirm(&mut tx, &confirmed).await?;
        tx.commit().await.map_err(StoreError::database("confirm batches"))?;
        Ok(done)
    }

    pub(super) async fn confirm(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        events: &[&AnchoredEvent],
    ) -> Result<u64> {
        if events.is_empty() {
            return Ok(0);
        }
        let at = Positions::of(events, |event| (event.tenant, event.position))?;
        let done = sqlx::query(
            "SELECT count(cofferdam.confirm(tenant_id, $1, batch_index, anchored_at, block_number, \
                 block_hash, tx_hash, log_index)) AS confirmed \
             FROM UNNEST($2::bytea[], $3::bytea[], $4::bigint[], $5::bigint[], $6::bytea[], \
                 $7::bigint[], $8::bigint[]) AS e(tenant_id, block_hash, log_index, block_number, \
                 tx_hash, batch_index, anchored_at)",
        )
        .bind(self.handle.chain())
        .bind(at.tenants)
        .bind(at.block_hashes)
        .bind(at.log_indexes)
        .bind(at.block_numbers)
        .bind(at.tx_hashes)
        .bind(numbers(events, |event| event.index.get(), "batch index")?)
        .bind(numbers(events, |event| event.anchored_at, "block timestamp")?)
        .fetch_one(&mut **tx)
        .await
        .map_err(StoreError::database("confirm batches"))?;
        done.number("confirmed")
    }

    pub(super) async fn report(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        findings: &[Finding],
    ) -> Result<u64> {
        for Finding { tenant, kind, detail } in findings {
            incidents::write(tx, self.handle.chain(), Some(*tenant), kind, detail).await?;
            sqlx::query(
                "UPDATE cofferdam.heads SET halted = $3 \
                 WHERE tenant_id = $1 AND chain_id = $2 AND halted IS NULL",
            )
            .bind(tenant.as_b256().as_slice())
            .bind(self.handle.chain())
            .bind(format!("{kind}: {detail}"))
            .execute(&mut **tx)
            .await
            .map_err(StoreError::database("halt a tenant"))?;
            tracing::error!(%tenant, kind, detail, "tenant halted");
        }
        Ok(findings.len() as u64)
    }
}

/// A registered tenant's event that contradicts what we sealed.
pub(super) struct Finding {
    tenant: TenantId,
    kind: &'static str,
    detail: String,
}

/// The columns that every mirrored event has.
struct Positions {
    tenants: Vec<[u8; 32]>,
    block_hashes: Vec<[u8; 32]>,
    log_indexes: Vec<i64>,
    block_numbers: Vec<i64>,
    tx_hashes: Vec<[u8; 32]>,
}

impl Positions {
    fn of<E>(events: &[E], of: impl Fn(&E) -> (TenantId, LogPosition)) -> Result<Self> {
        let at = |event: &E| of(event).1;
        Ok(Self {
            tenants: events.iter().map(|event| of(event).0.as_b256().0).collect(),
            block_hashes: events.iter().map(|event| at(event).block_hash.0).collect(),
            log_indexes: numbers(events, |event| at(event).log_index, "log index")?,
            block_numbers: numbers(events, |event| at(event).block_number, "block number")?,
            tx_hashes: events.iter().map(|event| at(event).tx_hash.0).collect(),
        })
    }
}

pub(super) fn numbers<E>(
    events: &[E],
    of: impl Fn(&E) -> u64,
    what: &'static str,
) -> Result<Vec<i64>> {
    events.iter().map(|event| bigint(of(event), what)).collect()
}
