//! How far each tenant's counters are mirrored, and what must come next.

use std::collections::BTreeMap;

use alloy_primitives::B256;
use cofferdam_core::{
    Address, Batch, BatchIndex, History, Seq,
    mirror::{MirrorTable, Row, Value},
};
use sqlx::{Postgres, Transaction, postgres::PgRow};

use crate::{
    AnchoredEvent, Result, StoreError,
    row::{RowExt, bigint},
};

/// Where a tenant's counters stand in the mirror.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MirrorHead {
    /// Whose.
    pub tenant: B256,
    /// The index of the next batch.
    pub batches: u64,
    /// The first entry of the next batch.
    pub entries: u64,
    /// The history of these batches; `None` after a rewind, until it is made again from the rows.
    pub history: Option<History>,
    /// The nonce of the next `AnchorerSet`.
    pub anchorers: u64,
    /// The version of the last policy or revocation; 0 before the first.
    pub policies: u64,
    /// The index of the next event of the MCPAgentRegistry.
    pub scopes: u64,
    /// Where the tenant is an agent: the nonce of the next event of its own.
    pub agent_events: u64,
    /// Where the tenant is a `SmartAccount`: the index of its next event.
    pub account_events: u64,
}

/// A counter's next event is not there: what was read of the chain has a hole, or something twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole {
    /// Whose counter it is.
    pub tenant: B256,
    /// The counter, by the table that it counts.
    pub table: MirrorTable,
    /// What should come next.
    pub expected: u64,
    /// What came.
    pub found: u64,
    /// In which block.
    pub block_number: u64,
}

impl MirrorHead {
    /// Counts a row; returns the nodes of the history that it completes, where the history is known.
    fn advance(&mut self, row: &Row) -> Result<Option<Vec<u8>>> {
        let hole = |table, expected, found| {
            let block_number = row.position.block_number;
            StoreError::Hole(Hole { tenant: self.tenant, table, expected, found, block_number })
        };
        let counter = |column| row.int(column).ok_or(StoreError::Corrupt { column });
        let table = row.event.table;
        let (next, found) = match table {
            MirrorTable::Anchored => {
                let event = AnchoredEvent::try_from(row)?;
                let Batch { index, first_seq, count, .. } = event.batch();
                if index.get() != self.batches {
                    return Err(hole(table, self.batches, index.get()));
                }
                if first_seq.get() != self.entries {
                    return Err(hole(table, self.entries, first_seq.get()));
                }
                self.batches += 1;
                self.entries = self.entries.saturating_add(count);
                let Some(history) = &mut self.history else { return Ok(None) };
                let commitment = event.batch().commitment();
                let completed = history.completed(commitment);
                history.append(commitment).map_err(|_| hole(table, 0, 0))?;
                return Ok(Some(completed.concat()));
            }
            MirrorTable::AnchorerSet => (&mut self.anchorers, counter("nonce")?),
            // A version of 1 is the first: what comes after n is n + 1.
            MirrorTable::Policies => (&mut self.policies, counter("version")?.wrapping_sub(1)),
            MirrorTable::Scopes => (&mut self.scopes, counter("event_index")?),
            MirrorTable::Described => (&mut self.agent_events, counter("agent_nonce")?),
            MirrorTable::AccountEvents => (&mut self.account_events, counter("event_index")?),
            MirrorTable::Skipped => return Ok(None),
        };
        step(next, found).map_err(|expected| hole(table, expected, found))?;
        Ok(None)
    }
}

/// Moves a counter past `found`, or says what should have come.
fn step(next: &mut u64, found: u64) -> Result<(), u64> {
    if *next != found {
        return Err(*next);
    }
    *next += 1;
    Ok(())
}

/// The heads of all tenants that some rows touch, and which of them are registered here.
#[derive(Debug, Default)]
pub(super) struct Heads {
    heads: BTreeMap<B256, (MirrorHead, bool)>,
}

impl Heads {
    /// Reads them.
    pub(super) async fn of(
        tx: &mut Transaction<'static, Postgres>,
        chain: i64,
        rows: &[Row],
    ) -> Result<Self> {
        let mut heads = BTreeMap::new();
        let (mut last, counted) =
            (B256::ZERO, |row: &&Row| row.event.table != MirrorTable::Skipped);
        for row in rows.iter().filter(counted) {
            // Most often several of one tenant follow each other.
            if row.tenant != last {
                heads.entry(row.tenant).or_default();
                last = row.tenant;
            }
            if let Some(agent) = forfeiter(row) {
                heads.entry(agent.into_word()).or_default();
            }
        }
        let mut this = Self { heads };
        if this.heads.is_empty() {
            return Ok(this);
        }
        let found = sqlx::query(
            "SELECT u.tenant_id, t.tenant_id IS NOT NULL AS registered, h.tenant_id IS NOT NULL AS known, \
                 h.batches, h.entries, h.peaks, h.anchorers, h.policies, h.scopes, h.agent_events, \
                 h.account_events \
             FROM UNNEST($2::bytea[]) AS u(tenant_id) \
             LEFT JOIN cofferdam.mirror_heads h ON h.tenant_id = u.tenant_id AND h.chain_id = $1 \
             LEFT JOIN cofferdam.tenants t ON t.tenant_id = u.tenant_id AND t.chain_id = $1",
        )
        .bind(chain)
        .bind(this.heads.keys().map(B256::as_slice).collect::<Vec<_>>())
        .fetch_all(&mut **tx)
        .await
        .map_err(StoreError::database("read the mirror's counters"))?;
        for row in found {
            let tenant = row.hash("tenant_id")?;
            let head = match row.value("known")? {
                true => head(&row)?,
                false => {
                    MirrorHead { tenant, history: Some(History::new()), ..MirrorHead::default() }
                }
            };
            this.heads.insert(tenant, (head, row.value("registered")?));
        }
        Ok(this)
    }

    /// Counts rows, in the chain's order; returns the nodes of its tenant's history that each completes,
    /// where they are known.
    pub(super) fn advance(&mut self, rows: &[Row]) -> Result<Vec<Option<Vec<u8>>>> {
        let mut nodes = Vec::with_capacity(rows.len());
        for row in rows {
            nodes.push(match self.heads.get_mut(&row.tenant) {
                Some((head, _)) => head.advance(row)?,
                None => None,
            });
            let Some(agent) = forfeiter(row) else { continue };
            if let Some((head, _)) = self.heads.get_mut(&agent.into_word()) {
                let column = "agent_nonce";
                let found = row.int(column).ok_or(StoreError::Corrupt { column })?;
                let table = MirrorTable::Described;
                let (tenant, block_number) = (head.tenant, row.position.block_number);
                step(&mut head.agent_events, found).map_err(|expected| {
                    StoreError::Hole(Hole { tenant, table, expected, found, block_number })
                })?;
            }
        }
        Ok(nodes)
    }

    /// Whether somebody registered this tenant here.
    pub(super) fn is_registered(&self, tenant: &B256) -> bool {
        self.heads.get(tenant).is_some_and(|(_, registered)| *registered)
    }

    /// Writes them back.
    pub(super) async fn store(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        chain: i64,
    ) -> Result<()> {
        if self.heads.is_empty() {
            return Ok(());
        }
        let heads = || self.heads.values().map(|(head, _)| head);
        let numbers = |of: fn(&MirrorHead) -> u64| {
            heads().map(|head| bigint(of(head), "a counter")).collect::<Result<Vec<i64>>>()
        };
        let peaks: Vec<_> = heads().map(|head| head.history.as_ref().map(peaks)).collect();
        sqlx::query(
            "INSERT INTO cofferdam.mirror_heads AS h (chain_id, tenant_id, batches, entries, peaks, \
                 anchorers, policies, scopes, agent_events, account_events) \
             SELECT $1, u.* FROM UNNEST($2::bytea[], $3::bigint[], $4::bigint[], $5::bytea[], $6::bigint[], \
                 $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[]) u \
             ON CONFLICT (tenant_id, chain_id) DO UPDATE SET batches = excluded.batches, \
                 entries = excluded.entries, peaks = excluded.peaks, anchorers = excluded.anchorers, \
                 policies = excluded.policies, scopes = excluded.scopes, \
                 agent_events = excluded.agent_events, account_events = excluded.account_events",
        )
        .bind(chain)
        .bind(self.heads.keys().map(B256::as_slice).collect::<Vec<_>>())
        .bind(numbers(|head| head.batches)?)
        .bind(numbers(|head| head.entries)?)
        .bind(peaks)
        .bind(numbers(|head| head.anchorers)?)
        .bind(numbers(|head| head.policies)?)
        .bind(numbers(|head| head.scopes)?)
        .bind(numbers(|head| head.agent_events)?)
        .bind(numbers(|head| head.account_events)?)
        .execute(&mut **tx)
        .await
        .map_err(StoreError::database("write the mirror's counters"))?;
        Ok(())
    }
}

/// The agent that gave a grant up: the event counts for it, too.
fn forfeiter(row: &Row) -> Option<Address> {
    if row.event.name != "Forfeited" {
        return None;
    }
    match row.value("agent")? {
        Value::Address(agent) => Some(*agent),
        _ => None,
    }
}

/// Live peaks as they are stored.
pub(super) fn peaks(history: &History) -> Vec<u8> {
    history.peaks().iter().flat_map(|peak| peak.0).collect()
}

/// A row of `mirror_heads`.
pub(super) fn head(row: &PgRow) -> Result<MirrorHead> {
    let batches = row.number("batches")?;
    let column = "peaks";
    let history = row.value::<Option<&[u8]>>(column)?.map(|peaks| {
        let peaks = peaks.chunks_exact(32).map(B256::from_slice).collect();
        History::from_peaks(batches, peaks).map_err(|_| StoreError::Corrupt { column })
    });
    Ok(MirrorHead {
        tenant: row.hash("tenant_id")?,
        batches,
        entries: row.number("entries")?,
        history: history.transpose()?,
        anchorers: row.number("anchorers")?,
        policies: row.number("policies")?,
        scopes: row.number("scopes")?,
        agent_events: row.number("agent_events")?,
        account_events: row.number("account_events")?,
    })
}

impl TryFrom<&Row> for AnchoredEvent {
    type Error = StoreError;

    fn try_from(row: &Row) -> Result<Self> {
        let tenant = row.tenant_id().ok_or(StoreError::Corrupt { column: "tenant_id" })?;
        let [
            Value::Int(index),
            Value::Int(first),
            Value::Int(count),
            Value::Word(root),
            Value::Int(at),
        ] = row.values[..]
        else {
            return Err(StoreError::Corrupt { column: "batch_index" });
        };
        Ok(Self {
            tenant,
            index: BatchIndex(index),
            first_seq: Seq(first),
            count,
            root: root.into(),
            anchored_at: at,
            position: row.position,
        })
    }
}
