//! Reading, one tenant at a time.

use cofferdam_core::TenantId;

use crate::{
    DatabaseUrl, Deployment, Result, StoreError, Tenant, TenantTx, deployment,
    pool::{Handle, Role},
    sequencer::{tenant_columns, tenant_row},
};

/// Reads one tenant at a time and cannot list them.
#[derive(Clone, Debug)]
pub struct Reader {
    handle: Handle,
}

impl Reader {
    /// Connects and checks the login.
    pub async fn connect(url: &DatabaseUrl, chain_id: u64) -> Result<Self> {
        Ok(Self { handle: Handle::connect(url, chain_id, Role::Reader).await? })
    }

    /// The contract this chain's tenants are anchored in.
    pub async fn deployment(&self) -> Result<Option<Deployment>> {
        deployment::read(&self.handle).await
    }

    /// The tenant that the operator registered under `name`. The database answers for this one name.
    pub async fn tenant_by_name(&self, name: &str) -> Result<Option<Tenant>> {
        if name.contains('\0') {
            return Ok(None);
        }
        let mut tx = self.handle.begin().await?;
        sqlx::query("SELECT set_config('cofferdam.tenant_name', $1, true)")
            .bind(name)
            .execute(&mut *tx)
            .await
            .map_err(StoreError::database("look up a tenant"))?;
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

    /// A transaction in the scope of `tenant`.
    pub async fn tenant(&self, tenant: TenantId) -> Result<TenantTx> {
        TenantTx::open(&self.handle, tenant).await
    }
}
