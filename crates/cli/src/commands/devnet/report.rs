//! What a devnet run shows in the end.

use std::{collections::HashMap, fmt};

use alloy::primitives::{Address, B256};
use cofferdam_contracts::{Chain, Event, Logged};
use cofferdam_core::TenantId;
use cofferdam_store::Reader;
use eyre::Result;
use serde::Serialize;

use crate::{
    check::Verdict,
    commands::append,
    output::{counted, grouped, table},
};

/// The counts of the tenants that a run was about, over all of their entries.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    /// Tenants that the input named.
    tenants: usize,
    /// Their entries.
    entries: u64,
    /// Their batches, as sealed.
    batches: u64,
    /// Transactions that anchored them.
    transactions: usize,
    /// Batches that the contract counts.
    anchored: u64,
    /// Batches mirrored from its events.
    mirrored: u64,
    /// Entries that the contract's own view confirmed.
    verified: u64,
    /// Checks that failed.
    failed: u64,
    /// Records that were new in this run.
    appended: u64,
    /// Records that were there before.
    repeated: u64,
    /// Gas of those transactions, their shares of other tenants' batches left out.
    gas: u64,
    /// Gas divided by tenants.
    gas_per_tenant: u64,
    #[serde(skip)]
    first_account: Address,
    #[serde(skip)]
    rows: Vec<[String; 5]>,
}

impl Report {
    pub(crate) async fn gather(
        chain: &Chain,
        reader: &Reader,
        appended: &append::Report,
        verdicts: &[Verdict],
    ) -> Result<Self> {
        let sum = |part: fn(&Verdict) -> u64| verdicts.iter().map(part).sum::<u64>();
        let ids: Vec<_> = verdicts.iter().map(|verdict| verdict.tenant_id).collect();
        let heads = chain.heads(&ids).await?;
        let mut costs = Costs { chain, known: HashMap::new() };
        let (mut batches, mut gas, mut rows) = (0, 0, vec![]);
        for (verdict, head) in verdicts.iter().zip(&heads) {
            let mut tx = reader.tenant(verdict.tenant_id).await?;
            batches += tx.batches().await?.len() as u64;
            let mut own = 0;
            for event in tx.anchored().await? {
                own += costs.of_batch(event.position.tx_hash).await?;
            }
            gas += own;
            rows.push([
                verdict.name.clone(),
                grouped(verdict.entries),
                grouped(head.batches),
                grouped(own),
                grouped(verdict.verified),
            ]);
        }
        Ok(Self {
            tenants: verdicts.len(),
            entries: sum(|it| it.entries),
            batches,
            transactions: costs.known.len(),
            anchored: heads.iter().map(|head| head.batches).sum(),
            mirrored: sum(|it| it.batches),
            verified: sum(|it| it.verified),
            failed: sum(|it| it.failed),
            appended: appended.appended,
            repeated: appended.repeated,
            gas,
            gas_per_tenant: gas.checked_div(verdicts.len() as u64).unwrap_or_default(),
            first_account: ids.first().map(TenantId::authority).unwrap_or_default(),
            rows,
        })
    }

    /// Whether every entry was anchored, mirrored and verified.
    pub(crate) fn complete(&self) -> bool {
        self.failed == 0
            && self.entries == self.verified
            && self.batches == self.anchored
            && self.batches == self.mirrored
    }

    /// The first tenant's name and address, for examples.
    pub(crate) fn first_tenant(&self) -> (&str, Address) {
        (self.rows.first().map_or("NAME", |row| &row[0]), self.first_account)
    }
}

/// What a batch cost: its transaction's gas, shared among the batches in it.
struct Costs<'a> {
    chain: &'a Chain,
    known: HashMap<B256, u64>,
}

impl Costs<'_> {
    async fn of_batch(&mut self, tx: B256) -> Result<u64> {
        if let Some(cost) = self.known.get(&tx) {
            return Ok(*cost);
        }
        let Some(receipt) = self.chain.receipt(tx).await? else { return Ok(0) };
        let anchored = receipt.inner.logs().iter().filter(|log| {
            let event = Logged::try_from(*log).map(|logged| logged.event);
            log.address() == self.chain.contract() && matches!(event, Ok(Event::Anchored(_)))
        });
        let cost = receipt.gas_used.checked_div(anchored.count() as u64).unwrap_or_default();
        self.known.insert(tx, cost);
        Ok(cost)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows = self.rows.clone();
        rows.push([
            counted(self.tenants as u64, "tenant", "tenants"),
            grouped(self.entries),
            grouped(self.anchored),
            grouped(self.gas),
            grouped(self.verified),
        ]);
        let headings = ["tenant", "entries", "batches", "gas", "verified"];
        writeln!(f, "\n{}\n", table(headings, &rows))?;
        writeln!(
            f,
            "{} in {}, {} gas per tenant; {} of {} mirrored",
            counted(self.anchored, "batch", "batches"),
            counted(self.transactions as u64, "transaction", "transactions"),
            grouped(self.gas_per_tenant),
            grouped(self.mirrored),
            counted(self.batches, "batch", "batches"),
        )?;
        if self.complete() {
            write!(f, "every entry is anchored, mirrored, and verified by the contract's own view")
        } else {
            write!(
                f,
                "NOT COMPLETE: {} of {} verified, {} failed",
                grouped(self.verified),
                counted(self.entries, "entry", "entries"),
                counted(self.failed, "check", "checks")
            )
        }
    }
}
