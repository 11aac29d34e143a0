//! Differences that stop a tenant, or everything, until an operator decides.

use std::time::SystemTime;

use alloy_primitives::{B256, keccak256};
use cofferdam_core::TenantId;
use sqlx::{Postgres, Transaction, postgres::PgRow};

use crate::{
    Result, Sealer, StoreError, TenantTx,
    lease::hold,
    row::{RowExt, words},
};

/// A difference between what was sealed and what the chain says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    /// Names this finding: the same one has the same id.
    pub id: B256,
    /// Whose; none when it concerns the whole deployment.
    pub tenant: Option<TenantId>,
    /// What kind, in one word.
    pub kind: String,
    /// The positions and hashes that differ.
    pub detail: String,
    /// When it was first found.
    pub at: SystemTime,
    /// When an operator decided on it.
    pub resolved_at: Option<SystemTime>,
}

/// Why a tenant, or everything, stands still.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Why it is halted, if it is.
    pub halted: Option<String>,
    /// The incidents of it that no operator has decided on.
    pub open: Vec<B256>,
}

macro_rules! incident_columns {
    () => {
        "incident_id, tenant_id, kind, detail, (extract(epoch FROM at) * 1000000)::bigint AS at, \
         (extract(epoch FROM resolved_at) * 1000000)::bigint AS resolved_at"
    };
}

impl Sealer {
    /// Stops sealing and anchoring this tenant, and writes an incident, once however often it is found.
    /// Appending goes on. `detail` says positions and hashes, never a field value.
    pub async fn halt(&self, tenant: TenantId, kind: &str, detail: &str) -> Result<()> {
        let mut scoped = TenantTx::open(&self.handle, tenant).await?;
        let chain = scoped.chain();
        hold(&mut scoped.tx, chain, self.epoch).await?;
        let halted = sqlx::query(
            "UPDATE cofferdam.heads SET halted = coalesce(halted, $3) \
             WHERE tenant_id = $1 AND chain_id = $2",
        )
        .bind(tenant.as_b256().as_slice())
        .bind(scoped.chain())
        .bind(words(&format!("{kind}: {detail}")))
        .execute(&mut *scoped.tx)
        .await
        .map_err(StoreError::database("halt a tenant"))?
        .rows_affected();
        if halted == 0 {
            return Err(scoped.unknown());
        }
        write(&mut scoped.tx, chain, Some(tenant), kind, detail).await?;
        scoped.commit().await?;
        tracing::error!(%tenant, kind, detail, "tenant halted");
        Ok(())
    }

    /// Writes an incident of a tenant that is not halted for it, once however often it is found.
    pub async fn report(&self, tenant: TenantId, kind: &str, detail: &str) -> Result<()> {
        let mut scoped = TenantTx::open(&self.handle, tenant).await?;
        let chain = scoped.chain();
        hold(&mut scoped.tx, chain, self.epoch).await?;
        write(&mut scoped.tx, chain, Some(tenant), kind, detail).await?;
        scoped.commit().await
    }

    /// Stops sealing and anchoring all tenants of the chain, and writes an incident.
    pub async fn halt_all(&self, kind: &str, detail: &str) -> Result<()> {
        let mut tx = self.fenced().await?;
        let doing = "halt everything";
        sqlx::query(
            "UPDATE cofferdam.deployments SET halted = coalesce(halted, $2) WHERE chain_id = $1",
        )
        .bind(self.handle.chain())
        .bind(words(&format!("{kind}: {detail}")))
        .execute(&mut *tx)
        .await
        .map_err(StoreError::database(doing))?;
        write(&mut tx, self.handle.chain(), None, kind, detail).await?;
        tx.commit().await.map_err(StoreError::database(doing))?;
        tracing::error!(kind, detail, "everything halted");
        Ok(())
    }

    /// Why everything is halted, if it is.
    pub async fn all_halted(&self) -> Result<Option<String>> {
        let mut tx = self.handle.begin().await?;
        let row = sqlx::query("SELECT halted FROM cofferdam.deployments WHERE chain_id = $1")
            .bind(self.handle.chain())
            .fetch_optional(&mut *tx)
            .await
            .map_err(StoreError::database("read the deployment"))?;
        row.map_or(Ok(None), |row| row.value("halted"))
    }

    /// Why a tenant stands still now: for [`Sealer::resume`], once it was found out whether that is gone.
    pub async fn standing(&self, tenant: TenantId) -> Result<Standing> {
        let mut scoped = TenantTx::open(&self.handle, tenant).await?;
        let row = sqlx::query(
            "SELECT (SELECT halted FROM cofferdam.heads WHERE tenant_id = $1 AND chain_id = $2) AS halted, \
                 ARRAY(SELECT incident_id FROM cofferdam.incidents \
                     WHERE tenant_id = $1 AND chain_id = $2 AND resolved_at IS NULL) AS open",
        )
        .bind(tenant.as_b256().as_slice())
        .bind(scoped.chain())
        .fetch_one(&mut *scoped.tx)
        .await
        .map_err(StoreError::database("read why a tenant stands still"))?;
        standing(&row)
    }

    /// The same of what concerns the whole deployment: for [`Sealer::resume_all`].
    pub async fn standing_of_all(&self) -> Result<Standing> {
        let mut tx = self.handle.begin().await?;
        let row = sqlx::query(
            "SELECT (SELECT halted FROM cofferdam.deployments WHERE chain_id = $1) AS halted, \
                 ARRAY(SELECT incident_id FROM cofferdam.incidents \
                     WHERE chain_id = $1 AND tenant_id IS NULL AND resolved_at IS NULL) AS open",
        )
        .bind(self.handle.chain())
        .fetch_one(&mut *tx)
        .await
        .map_err(StoreError::database("read why everything stands still"))?;
        standing(&row)
    }

    /// An operator's decision on what was `seen`: the tenant is sealed and anchored again, and those
    /// incidents are closed, but for an intake's while anything waits in it. Whether there is still a
    /// reason not to is for the caller to find out first; refused when more was found meanwhile.
    pub async fn resume(&self, tenant: TenantId, seen: &Standing) -> Result<()> {
        let mut scoped = TenantTx::open(&self.handle, tenant).await?;
        let doing = "lift a tenant's halt";
        let id = tenant.as_b256().0;
        let ids: Vec<_> = seen.open.iter().map(|id| id.0).collect();
        let lifted = sqlx::query(
            "UPDATE cofferdam.heads SET halted = NULL \
             WHERE tenant_id = $1 AND chain_id = $2 AND halted IS NOT DISTINCT FROM $3",
        )
        .bind(id)
        .bind(scoped.chain())
        .bind(&seen.halted)
        .execute(&mut *scoped.tx)
        .await
        .map_err(StoreError::database(doing))?;
        let more = sqlx::query(
            "SELECT EXISTS (SELECT FROM cofferdam.heads \
                     WHERE tenant_id = $1 AND chain_id = $2 AND halted IS NOT NULL) \
                 OR EXISTS (SELECT FROM cofferdam.incidents WHERE tenant_id = $1 AND chain_id = $2 \
                     AND resolved_at IS NULL AND incident_id <> ALL ($3)) AS more",
        )
        .bind(id)
        .bind(scoped.chain())
        .bind(&ids)
        .fetch_one(&mut *scoped.tx)
        .await
        .map_err(StoreError::database(doing))?;
        if more.value("more")? {
            return Err(StoreError::Meanwhile { tenant: Some(tenant) });
        }
        let closed = sqlx::query(
            "UPDATE cofferdam.incidents SET resolved_at = now() \
             WHERE tenant_id = $1 AND chain_id = $2 AND resolved_at IS NULL AND incident_id = ANY ($3) \
                 AND (kind <> 'intake' OR NOT EXISTS (SELECT FROM cofferdam.arrivals a \
                     WHERE a.tenant_id = $1 AND a.chain_id = $2))",
        )
        .bind(id)
        .bind(scoped.chain())
        .bind(&ids)
        .execute(&mut *scoped.tx)
        .await
        .map_err(StoreError::database(doing))?;
        // Nobody's head, but something of a stranger's may be missing in the mirror.
        if lifted.rows_affected() + closed.rows_affected() == 0 {
            return Err(scoped.unknown());
        }
        scoped.commit().await?;
        tracing::warn!(%tenant, "tenant resumed by an operator");
        Ok(())
    }

    /// The same for what concerned the whole deployment; halted tenants stay halted.
    pub async fn resume_all(&self, seen: &Standing) -> Result<()> {
        let mut tx = self.handle.begin().await?;
        let doing = "lift the halt of everything";
        let ids: Vec<_> = seen.open.iter().map(|id| id.0).collect();
        sqlx::query(
            "UPDATE cofferdam.deployments SET halted = NULL \
             WHERE chain_id = $1 AND halted IS NOT DISTINCT FROM $2",
        )
        .bind(self.handle.chain())
        .bind(&seen.halted)
        .execute(&mut *tx)
        .await
        .map_err(StoreError::database(doing))?;
        let more = sqlx::query(
            "SELECT EXISTS (SELECT FROM cofferdam.deployments WHERE chain_id = $1 AND halted IS NOT NULL) \
                 OR EXISTS (SELECT FROM cofferdam.incidents WHERE chain_id = $1 AND tenant_id IS NULL \
                     AND resolved_at IS NULL AND incident_id <> ALL ($2)) AS more",
        )
        .bind(self.handle.chain())
        .bind(&ids)
        .fetch_one(&mut *tx)
        .await
        .map_err(StoreError::database(doing))?;
        if more.value("more")? {
            return Err(StoreError::Meanwhile { tenant: None });
        }
        sqlx::query(
            "UPDATE cofferdam.incidents SET resolved_at = now() \
             WHERE chain_id = $1 AND tenant_id IS NULL AND resolved_at IS NULL AND incident_id = ANY ($2)",
        )
        .bind(self.handle.chain())
        .bind(&ids)
        .execute(&mut *tx)
        .await
        .map_err(StoreError::database(doing))?;
        tx.commit().await.map_err(StoreError::database(doing))?;
        tracing::warn!("everything resumed by an operator");
        Ok(())
    }

    /// Whether an incident of this kind, of this tenant, waits for an operator.
    pub async fn has_open(&self, tenant: TenantId, kind: &str) -> Result<bool> {
        let mut scoped = TenantTx::open(&self.handle, tenant).await?;
        let row = sqlx::query(
            "SELECT EXISTS (SELECT FROM cofferdam.incidents WHERE tenant_id = $1 AND chain_id = $2 \
                 AND kind = $3 AND resolved_at IS NULL) AS open",
        )
        .bind(tenant.as_b256().as_slice())
        .bind(scoped.chain())
        .bind(kind)
        .fetch_one(&mut *scoped.tx)
        .await
        .map_err(StoreError::database("look for an open incident"))?;
        row.value("open")
    }

    /// The latest incidents, open ones before those that an operator decided on.
    pub async fn incidents(&self, limit: u32) -> Result<Vec<Incident>> {
        let mut tx = self.handle.begin().await?;
        let rows = sqlx::query(concat!(
            "SELECT ",
            incident_columns!(),
            " FROM cofferdam.incidents i WHERE chain_id = $1 \
             ORDER BY i.resolved_at IS NOT NULL, i.at DESC LIMIT $2"
        ))
        .bind(self.handle.chain())
        .bind(i64::from(limit))
        .fetch_all(&mut *tx)
        .await
        .map_err(StoreError::database("read incidents"))?;
        rows.iter().map(incident).collect()
    }

    /// The ids of all incidents that no operator has decided on, the oldest first.
    pub async fn open_incidents(&self) -> Result<Vec<B256>> {
        let mut tx = self.handle.begin().await?;
        let rows = sqlx::query(
            "SELECT incident_id FROM cofferdam.incidents i \
             WHERE chain_id = $1 AND resolved_at IS NULL ORDER BY i.at, i.incident_id",
        )
        .bind(self.handle.chain())
        .fetch_all(&mut *tx)
        .await
        .map_err(StoreError::database("read incidents"))?;
        rows.iter().map(|row| row.hash("incident_id")).collect()
    }

    /// One incident that no operator has decided on.
    pub async fn open_incident(&self, id: B256) -> Result<Option<Incident>> {
        let mut tx = self.handle.begin().await?;
        let row = sqlx::query(concat!(
            "SELECT ",
            incident_columns!(),
            " FROM cofferdam.incidents \
             WHERE chain_id = $1 AND incident_id = $2 AND resolved_at IS NULL"
        ))
        .bind(self.handle.chain())
        .bind(id.as_slice())
        .fetch_optional(&mut *tx)
        .await
        .map_err(StoreError::database("read an incident"))?;
        row.as_ref().map(incident).transpose()
    }
}

fn incident(row: &PgRow) -> Result<Incident> {
    let whole = row.value::<Option<&[u8]>>("tenant_id")?.is_none();
    Ok(Incident {
        id: row.hash("incident_id")?,
        tenant: if whole { None } else { Some(row.tenant()?) },
        kind: row.value("kind")?,
        detail: row.value("detail")?,
        at: row.time("at")?.ok_or(StoreError::Corrupt { column: "at" })?,
        resolved_at: row.time("resolved_at")?,
    })
}

fn standing(row: &PgRow) -> Result<Standing> {
    let open = row.value::<Vec<Vec<u8>>>("open")?;
    let open = open
        .iter()
        .map(|id| B256::try_from(&**id).map_err(|_| StoreError::Corrupt { column: "incident_id" }));
    Ok(Standing { halted: row.value("halted")?, open: open.collect::<Result<_>>()? })
}

/// Writes an incident, and says whether it was not open before; one that was resolved is open again.
pub(crate) async fn write(
    tx: &mut Transaction<'static, Postgres>,
    chain: i64,
    tenant: Option<TenantId>,
    kind: &str,
    detail: &str,
) -> Result<bool> {
    let written = sqlx::query(
        "INSERT INTO cofferdam.incidents AS i (tenant_id, chain_id, incident_id, kind, detail) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (tenant_id, chain_id, incident_id) \
         DO UPDATE SET resolved_at = NULL WHERE i.resolved_at IS NOT NULL",
    )
    .bind(tenant.map(|tenant| tenant.as_b256().0))
    .bind(chain)
    .bind(incident_id(tenant, kind, detail).as_slice())
    .bind(kind)
    .bind(words(detail))
    .execute(&mut **tx)
    .await
    .map_err(StoreError::database("write an incident"))?;
    Ok(written.rows_affected() == 1)
}

/// The same finding has the same id, so it is written once.
fn incident_id(tenant: Option<TenantId>, kind: &str, detail: &str) -> B256 {
    let tenant = tenant.map(|tenant| tenant.as_b256()).unwrap_or_default();
    let parts = [tenant.as_slice(), kind.as_bytes(), &[0], detail.as_bytes()];
    keccak256(parts.concat())
}
