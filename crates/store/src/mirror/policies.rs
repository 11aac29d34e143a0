//! What the chain says about the policies that were handed in.

use alloy_primitives::B256;
use sqlx::{Postgres, Transaction};

use super::{Mirror, reconcile::numbers};
use crate::{
    Result, StoreError,
    policies::{Known, PublishedPolicy, meet, terms},
    row::{RowExt, bigint},
};

impl Mirror {
    /// Confirms what was handed in and is published, and reports what differs from it. A version that
    /// nobody handed in is reported of those tenants alone that handed in an earlier one; the others
    /// publish by themselves. How many were reported.
    pub(super) async fn meet_policies(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        events: &[PublishedPolicy],
    ) -> Result<u64> {
        if events.is_empty() {
            return Ok(0);
        }
        let tenants: Vec<_> = events.iter().map(|event| event.tenant.as_b256()).collect();
        let rows = sqlx::query(
            "SELECT e.ord, s.version IS NOT NULL AS known, s.policy_hash, s.verdict_signer, s.not_before, \
                 s.not_after, s.failed IS NOT NULL AS failed \
             FROM UNNEST($2::bytea[], $3::bigint[]) WITH ORDINALITY AS e(tenant_id, version, ord) \
             LEFT JOIN LATERAL (SELECT version, policy_hash, verdict_signer, not_before, not_after, failed \
                 FROM cofferdam.policy_submissions s \
                 WHERE s.tenant_id = e.tenant_id AND s.chain_id = $1 AND s.version = e.version \
                 LIMIT 1) s ON true \
             WHERE s.version IS NOT NULL OR EXISTS (SELECT FROM cofferdam.policy_submissions o \
                 WHERE o.tenant_id = e.tenant_id AND o.chain_id = $1 AND o.version < e.version) \
             ORDER BY e.ord",
        )
        .bind(self.handle.chain())
        .bind(tenants.iter().map(B256::as_slice).collect::<Vec<_>>())
        .bind(numbers(events, |event| event.version.get(), "policy version")?)
        .fetch_all(&mut **tx)
        .await
        .map_err(StoreError::database("reconcile policies"))?;
        let mut incidents = 0;
        for row in rows {
            let column = "ord";
            let ord = usize::try_from(row.number(column)?).ok().and_then(|ord| ord.checked_sub(1));
            let event = ord.and_then(|at| events.get(at)).ok_or(StoreError::Corrupt { column })?;
            let known = match row.value("known")? {
                true => Some(Known { terms: terms(&row)?, failed: row.value("failed")? }),
                false => None,
            };
            incidents += u64::from(meet(tx, self.handle.chain(), event, known).await?);
        }
        Ok(incidents)
    }

    /// Puts back to waiting what was published above a block.
    pub(super) async fn put_policies_back(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        above: u64,
    ) -> Result<()> {
        sqlx::query(
            "UPDATE cofferdam.policy_submissions SET block_number = NULL, block_hash = NULL, tx_hash = NULL \
             WHERE chain_id = $1 AND block_number > $2",
        )
        .bind(self.handle.chain())
        .bind(bigint(above, "block number")?)
        .execute(&mut **tx)
        .await
        .map_err(StoreError::database("put policies back"))?;
        Ok(())
    }
}
