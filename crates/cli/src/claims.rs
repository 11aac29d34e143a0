//! From the name that a record carries to a tenant: a claim, decided by the operator's table alone.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use cofferdam_core::TenantId;
use cofferdam_store::{AddTenant, SealSettings, Sequencer, Tenant};
use eyre::{Result, bail};

use crate::{ingest::Origin, register::Registrar};

/// The operator's table as it was when the work began, and the tenant that all records were said to
/// belong to, if one was.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    names: Arc<HashMap<String, TenantId>>,
    pinned: Option<Tenant>,
}

impl Table {
    /// Reads the table.
    pub(crate) async fn load(sequencer: &Sequencer, pinned: Option<Tenant>) -> Result<Self> {
        let tenants = sequencer.tenants().await?;
        let names = tenants.into_iter().map(|tenant| (tenant.name, tenant.id)).collect();
        Ok(Self { names: Arc::new(names), pinned })
    }

    /// Whether all records belong to one tenant, whatever they name.
    pub(crate) fn is_pinned(&self) -> bool {
        self.pinned.is_some()
    }

    /// The tenant of a record; `None` when nobody is registered under its name. A pinned tenant takes
    /// records whatever they name, but never those of another tenant of ours: that would be a leak.
    pub(crate) fn tenant_of(
        &self,
        name: Option<&str>,
        origin: &Origin,
    ) -> Result<Option<TenantId>> {
        let found = name.and_then(|name| self.names.get(name)).copied();
        match (&self.pinned, name) {
            (Some(pinned), Some(name)) if found.is_some_and(|id| id != pinned.id) => bail!(
                "{origin}: the record is of tenant {name:?}, which is registered, and not of {:?}, \
                 which --tenant names",
                pinned.name
            ),
            (Some(pinned), _) => Ok(Some(pinned.id)),
            (None, Some(_)) => Ok(found),
            (None, None) => bail!("{origin}: the record names no tenant"),
        }
    }
}

/// The error for a name that nobody is registered under.
pub(crate) fn unregistered(name: &str, origin: &Origin) -> eyre::Report {
    eyre::eyre!(
        "{origin}: no tenant {name:?} is registered; register it with `cofferdam tenant add`, or name \
         the tenant of all records with --tenant"
    )
}

/// The tenants that an append meets.
#[derive(Debug)]
pub(crate) struct Claims {
    table: Table,
    sequencer: Sequencer,
    registrar: Option<Registrar>,
    met: BTreeMap<String, TenantId>,
    registered: usize,
}

impl Claims {
    pub(crate) fn new(table: Table, sequencer: Sequencer, registrar: Option<Registrar>) -> Self {
        Self { table, sequencer, registrar, met: BTreeMap::new(), registered: 0 }
    }

    /// The tenant of a record, registered now where that was asked for.
    pub(crate) async fn tenant_of(
        &mut self,
        name: Option<&str>,
        origin: &Origin,
    ) -> Result<TenantId> {
        if let Some(id) = name.and_then(|name| self.met.get(name)) {
            return Ok(*id);
        }
        let found = self.table.tenant_of(name, origin)?;
        let tenant = match (name, &self.table.pinned) {
            (_, Some(pinned)) => pinned.clone(),
            (Some(name), None) => self.resolve(name, found, origin).await?,
            (None, None) => return Err(unregistered("", origin)),
        };
        // Under its own name: what records of a pinned tenant say has no bound.
        self.met.insert(tenant.name, tenant.id);
        Ok(tenant.id)
    }

    async fn resolve(
        &mut self,
        name: &str,
        found: Option<TenantId>,
        origin: &Origin,
    ) -> Result<Tenant> {
        if let Some(registrar) = &self.registrar {
            let (tenant, added) = registrar.ensure(name).await?;
            self.registered += usize::from(added == AddTenant::Added);
            return Ok(tenant);
        }
        if let Some(id) = found {
            return Ok(Tenant { id, name: name.into(), seal: SealSettings::default() });
        }
        // It may have been registered since the table was read, as when a pipe stays open for days.
        self.sequencer.tenant_by_name(name).await?.ok_or_else(|| unregistered(name, origin))
    }

    /// The tenants that were met, by name, and how many of them were registered on the way.
    pub(crate) fn into_met(self) -> (BTreeMap<String, TenantId>, usize) {
        (self.met, self.registered)
    }
}
