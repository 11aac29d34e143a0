//! Under which policies and scopes a tenant was at a block, from the mirror.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256};
use cofferdam_core::{PolicyRecord, ScopeRecord};
use sqlx::postgres::PgRow;

use crate::{
    Result, StoreError, TenantTx,
    row::{RowExt, bigint},
};

/// A tenant's policies, by version, and its agents' scopes, by agent and capability.
pub type Rules = (Vec<PolicyRecord>, Vec<ScopeRecord>);

impl TenantTx {
    /// Every version of the tenant's policy, and what its agents were scoped to, after a block; `None` while the
    /// mirror has not come so far.
    pub async fn rules_at(&mut self, block: u64) -> Result<Option<Rules>> {
        let row = sqlx::query("SELECT block_number FROM cofferdam.checkpoints WHERE chain_id = $1")
            .bind(self.chain())
            .fetch_optional(&mut *self.tx)
            .await
            .map_err(StoreError::database("read the checkpoint"))?;
        let mirrored = row.map(|row| row.number("block_number")).transpose()?;
        if mirrored.is_none_or(|number| number < block) {
            return Ok(None);
        }
        let policies = self
            .mirrored_rules(
                "SELECT version, policy_hash, verdict_signer, not_before, not_after, recorded_at \
                 FROM cofferdam.policies WHERE tenant_id = $1 AND chain_id = $2 AND block_number <= $3 \
                 ORDER BY version",
                block,
            )
            .await?;
        let policies = policies.iter().map(policy).collect::<Result<_>>()?;
        let events = self
            .mirrored_rules(
                "SELECT kind, agent, capability, not_before, not_after, recorded_at, target, selector, \
                     native_max::text AS native_max, token_max::text AS token_max \
                 FROM cofferdam.scopes WHERE tenant_id = $1 AND chain_id = $2 AND block_number <= $3 \
                 ORDER BY event_index",
                block,
            )
            .await?;
        let mut scopes = BTreeMap::new();
        for event in &events {
            apply(&mut scopes, event)?;
        }
        Ok(Some((policies, scopes.into_values().collect())))
    }

    async fn mirrored_rules(&mut self, sql: &'static str, block: u64) -> Result<Vec<PgRow>> {
        sqlx::query(sql)
            .bind(self.tenant().as_b256().0)
            .bind(self.chain())
            .bind(bigint(block, "block number")?)
            .fetch_all(&mut *self.tx)
            .await
            .map_err(StoreError::database("read mirrored policies and scopes"))
    }
}

/// A version as the registry has it: zeros of a revocation.
fn policy(row: &PgRow) -> Result<PolicyRecord> {
    let revoked = row.value::<Option<&[u8]>>("policy_hash")?.is_none();
    let time = |column| if revoked { Ok(0) } else { row.number(column) };
    Ok(PolicyRecord {
        version: row.number("version")?,
        policy_hash: if revoked { B256::ZERO } else { row.hash("policy_hash")? },
        verdict_signer: if revoked { Address::ZERO } else { address(row, "verdict_signer")? },
        not_before: time("not_before")?,
        not_after: time("not_after")?,
        recorded_at: row.number("recorded_at")?,
    })
}

/// What an event makes of the scopes before it.
fn apply(scopes: &mut BTreeMap<(Address, B256), ScopeRecord>, row: &PgRow) -> Result<()> {
    let agent = address(row, "agent")?;
    let kind = row.value::<&str>("kind")?;
    if kind == "AgentRevoked" {
        scopes.retain(|(other, _), _| *other != agent);
        return Ok(());
    }
    let capability = row.hash("capability")?;
    let key = (agent, capability);
    match kind {
        "Granted" => {
            let amount = |column| {
                let amount = row.value::<String>(column)?.parse();
                amount.map_err(|_| StoreError::Corrupt { column })
            };
            let selector = <[u8; 4]>::try_from(row.value::<&[u8]>("selector")?);
            let scope = ScopeRecord {
                agent,
                capability,
                not_before: row.number("not_before")?,
                not_after: row.number("not_after")?,
                native_max: amount("native_max")?,
                token_max: amount("token_max")?,
                target: address(row, "target")?,
                selector: selector.map_err(|_| StoreError::Corrupt { column: "selector" })?.into(),
                recorded_at: row.number("recorded_at")?,
            };
            scopes.insert(key, scope);
        }
        "Extended" => {
            let column = "kind";
            let scope = scopes.get_mut(&key).ok_or(StoreError::Corrupt { column })?;
            scope.not_after = row.number("not_after")?;
            scope.recorded_at = row.number("recorded_at")?;
        }
        // Revoked, or given up by the agent.
        _ => drop(scopes.remove(&key)),
    }
    Ok(())
}

fn address(row: &PgRow, column: &'static str) -> Result<Address> {
    let bytes = row.value::<&[u8]>(column)?;
    Address::try_from(bytes).map_err(|_| StoreError::Corrupt { column })
}
