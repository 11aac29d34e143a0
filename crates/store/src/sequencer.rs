//! The operator's table and the append door.

use std::time::SystemTime;

use alloy_primitives::{Address, B256};
use cofferdam_core::{EntryHash, TenantId};
use rand::Rng;
use sqlx::postgres::PgRow;

use crate::{
    Appender, DatabaseUrl, Deployment, Result, SealSettings, StoreError, Tenant, TenantTx,
    clock::Clock,
    deployment,
    pool::{Handle, Role},
    row::{RowExt, bigint},
    tenant_tx::seal_settings,
};

macro_rules! tenant_columns {
    () => {
        "tenant_id, name, seal_entries, seal_bytes, seal_seconds"
    };
}

pub(crate) use tenant_columns;

/// Registers the deployment and the tenants, and appends.
#[derive(Clone, Debug)]
pub struct Sequencer {
    pub(crate) handle: Handle,
}

/// What registering a tenant came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddTenant {
    /// It is registered now.
    Added,
    /// It was, under this very name.
    AlreadyThere,
}

impl Sequencer {
    /// Connects and checks the login.
    pub async fn connect(url: &DatabaseUrl, chain_id: u64) -> Result<Self> {
        Ok(Self { handle: Handle::connect(url, chain_id, Role::Sequencer).await? })
    }

    /// The same, recording entries at the times that `now` tells instead of this machine's clock.
    pub fn recording_at(self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self { handle: self.handle.by(Clock::new(now)) }
    }

    /// Registers the contract that this chain's tenants are anchored in. The same again is fine.
    pub async fn register_deployment(
        &self,
        contract: Address,
        code_hash: B256,
        from_block: u64,
    ) -> Result<()> {
        let mut tx = self.handle.begin().await?;
        sqlx::query(
            "INSERT INTO cofferdam.deployments (chain_id, contract, code_hash, from_block) \
             VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        )
        .bind(self.handle.chain())
        .bind(contract.as_slice())
        .bind(code_hash.as_slice())
        .bind(bigint(from_block, "from_block")?)
        .execute(&mut *tx)
        .await
        .map_err(StoreError::database("register the deployment"))?;
        tx.commit().await.map_err(StoreError::database("register the deployment"))?;
        match self.deployment().await? {
            Some(found) if found.contract == contract && found.code_hash == code_hash => Ok(()),
            Some(found) => Err(StoreError::OtherDeployment {
                chain_id: self.handle.chain_id(),
                registered: found.contract,
                code_hash: found.code_hash,
                from_block: found.from_block,
                given: contract,
            }),
            None => Err(StoreError::Corrupt { column: "contract" }),
        }
    }

    /// The contract this chain's tenants are anchored in.
    pub async fn deployment(&self) -> Result<Option<Deployment>> {
        deployment::read(&self.handle).await
    }

    /// Registers a tenant under a name, with an empty chain. The same again is fine; a name or an id
    /// that is taken otherwise is an error.
    pub async fn add_tenant(&self, name: &str, tenant: TenantId) -> Result<AddTenant> {
        if name.is_empty() || name.len() > 256 || name.contains('\0') {
            return Err(StoreError::TenantName(name.len()));
        }
        let id = tenant.as_b256();
        let mut tx = self.handle.begin().await?;
        let added = sqlx::query(
            "INSERT INTO cofferdam.tenants (tenant_id, chain_id, name) VALUES ($1, $2, $3) \
             ON CONFLICT DO NOTHING",
        )
        .bind(id.as_slice())
        .bind(self.handle.chain())
        .bind(name)
        .execute(&mut *tx)
        .await
        .map_err(StoreError::database("register a tenant"))?
        .rows_affected();
        if added == 0 {
            drop(tx);
            return self.already_there(name, tenant).await;
        }

        let mut scoped = TenantTx::enter(tx, &self.handle, tenant).await?;
        sqlx::query(
            "INSERT INTO cofferdam.heads (tenant_id, chain_id, last_entry_hash) VALUES ($1, $2, $3)",
        )
        .bind(id.as_slice())
        .bind(self.handle.chain())
        .bind(EntryHash::ZERO.as_bytes().as_slice())
        .execute(&mut *scoped.tx)
        .await
        .map_err(StoreError::database("register a tenant"))?;
        let key: [u8; 32] = rand::rng().random();
        sqlx::query(
            "INSERT INTO cofferdam.tag_keys (tenant_id, chain_id, key) VALUES ($1, $2, $3)",
        )
        .bind(id.as_slice())
        .bind(self.handle.chain())
        .bind(key.as_slice())
        .execute(&mut *scoped.tx)
        .await
        .map_err(StoreError::database("register a tenant"))?;
        scoped.commit().await?;
        tracing::info!(%tenant, name, "tenant registered");
        Ok(AddTenant::Added)
    }

    async fn already_there(&self, name: &str, tenant: TenantId) -> Result<AddTenant> {
        if let Some(by_id) = self.tenant_by_id(tenant).await? {
            let (holder, given) = (by_id.name, name.to_owned());
            return match holder == given {
                true => Ok(AddTenant::AlreadyThere),
                false => Err(StoreError::TenantTaken { tenant, holder, given }),
            };
        }
        match self.tenant_by_name(name).await? {
            Some(Tenant { id: holder, name, .. }) => {
                Err(StoreError::NameTaken { name, holder, given: tenant })
            }
            None => Err(StoreError::Corrupt { column: "tenant_id" }),
        }
    }

    /// All tenants of this chain, by name.
    pub async fn tenants(&self) -> Result<Vec<Tenant>> {
        let mut tx = self.handle.begin().await?;
        let rows = sqlx::query(concat!(
            "SELECT ",
            tenant_columns!(),
            " FROM cofferdam.tenants WHERE chain_id = $1 ORDER BY name"
        ))
        .bind(self.handle.chain())
        .fetch_all(&mut *tx)
        .await
        .map_err(StoreError::database("list the tenants"))?;
        rows.iter().map(tenant_row).collect()
    }

    /// The tenant that is registered under `name`: the only way in which a name becomes a tenant.
    pub async fn tenant_by_name(&self, name: &str) -> Result<Option<Tenant>> {
        if name.contains('\0') {
            return Ok(None);
        }
        let mut tx = self.handle.begin().await?;
        let row = sqlx::query(concat!(
            "SELECT ",
            tenant_columns!(),
            " FROM cofferdam.tenants WHERE chain_id = $1 AND name = $2"
        ))
        .bind(self.handle.chain())
        .bind(name)
        .fetch_optional(&mut *tx)
        .await
        .map_err(StoreError::database("look up a tenant"))?;
        row.as_ref().map(tenant_row).transpose()
    }

    /// The tenant with this id, if it is registered.
    pub async fn tenant_by_id(&self, tenant: TenantId) -> Result<Option<Tenant>> {
        let mut tx = self.handle.begin().await?;
        let row = sqlx::query(concat!(
            "SELECT ",
            tenant_columns!(),
            " FROM cofferdam.tenants WHERE tenant_id = $1 AND chain_id = $2"
        ))
        .bind(tenant.as_b256().as_slice())
        .bind(self.handle.chain())
        .fetch_optional(&mut *tx)
        .await
        .map_err(StoreError::database("look up a tenant"))?;
        row.as_ref().map(tenant_row).transpose()
    }

    /// Sets when a tenant's entries become a batch, from the next round on.
    pub async fn set_seal(&self, tenant: TenantId, settings: SealSettings) -> Result<()> {
        let mut tx = TenantTx::open(&self.handle, tenant).await?;
        let number = |value: Option<u64>| value.map(|it| bigint(it, "a seal setting")).transpose();
        let set = sqlx::query(
            "UPDATE cofferdam.tenants SET seal_entries = $3, seal_bytes = $4, seal_seconds = $5 \
             WHERE tenant_id = $1 AND chain_id = $2",
        )
        .bind(tenant.as_b256().as_slice())
        .bind(tx.chain())
        .bind(number(settings.entries)?)
        .bind(number(settings.bytes)?)
        .bind(number(settings.age.map(|age| age.as_secs()))?)
        .execute(&mut *tx.tx)
        .await
        .map_err(StoreError::database("set when a tenant is sealed"))?
        .rows_affected();
        if set == 0 {
            return Err(tx.unknown());
        }
        tx.commit().await
    }

    /// The append door.
    pub fn appender(&self) -> Appender {
        Appender::new(self.handle.clone())
    }
}

pub(crate) fn tenant_row(row: &PgRow) -> Result<Tenant> {
    Ok(Tenant { id: row.tenant()?, name: row.value("name")?, seal: seal_settings(row)? })
}
