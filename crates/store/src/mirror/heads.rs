//! How far each tenant's counters are mirrored, and what must come next.

use std::collections::HashSet;

use alloy_primitives::{B256, map::B256Map};
use cofferdam_core::{
    BatchIndex, Completed, History, Seq, batch_commitments,
    mirror::{MirrorTable, Row, Value},
};
use sqlx::{Postgres, Transaction, postgres::PgRow};

use super::columns::{self, Insert};
use crate::{
    AnchoredEvent, Result, StoreError,
    policies::PublishedPolicy,
    row::{RowExt, bigint},
};

/// The columns of `mirror_heads` that [`head`] reads.
macro_rules! head_columns {
    () => {
        "tenant_id, batches, entries, peaks, anchorers, policies, scopes, agent_events, account_events"
    };
}
pub(super) use head_columns;

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
    /// Counts a row. The history does not grow yet.
    fn advance(&mut self, row: &Row) -> Result<()> {
        let hole = |table, expected, found| {
            let block_number = row.position.block_number;
            StoreError::Hole(Hole { tenant: self.tenant, table, expected, found, block_number })
        };
        let counter = |column| row.int(column).ok_or(StoreError::Corrupt { column });
        let table = row.event.table;
        let (next, found) = match table {
            MirrorTable::Anchored => {
                let [Value::Int(index), Value::Int(first), Value::Int(count), ..] = row.values[..]
                else {
                    return Err(StoreError::Corrupt { column: "batch_index" });
                };
                if index != self.batches {
                    return Err(hole(table, self.batches, index));
                }
                if first != self.entries {
                    return Err(hole(table, self.entries, first));
                }
                self.batches += 1;
                self.entries = self.entries.saturating_add(count);
                return Ok(());
            }
            MirrorTable::AnchorerSet => (&mut self.anchorers, counter("nonce")?),
            // A version of 1 is the first: what comes after n is n + 1.
            MirrorTable::Policies => (&mut self.policies, counter("version")?.wrapping_sub(1)),
            MirrorTable::Scopes => (&mut self.scopes, counter("event_index")?),
            MirrorTable::Described => (&mut self.agent_events, counter("agent_nonce")?),
            MirrorTable::AccountEvents => (&mut self.account_events, counter("event_index")?),
            MirrorTable::Skipped => return Ok(()),
        };
        step(next, found).map_err(|expected| hole(table, expected, found))
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

/// Where the counters stand of the tenants that were met, while one range of blocks is counted after another.
/// They are the mirror's own as long as nothing but these ranges is written to it.
#[derive(Debug, Default)]
pub struct Counters {
    heads: B256Map<MirrorHead>,
}

/// Rows that go on where the counters stood, as they are written: what is encoded need not be kept beside it.
#[derive(Debug)]
pub struct Counted {
    pub(super) inserts: Vec<Insert>,
    /// Where the counters of all tenants that they touch stand behind them.
    pub(super) heads: Vec<MirrorHead>,
    /// What is compared with our own batches and policies, if we have any of that tenant.
    pub(super) anchored: Vec<AnchoredEvent>,
    pub(super) policies: Vec<PublishedPolicy>,
    pub(super) is_followed: bool,
}

impl Counted {
    /// Says that another range follows, so that nobody waits until this one is on the disk. If the database
    /// crashes before it is, the range is gone with its checkpoint, and is mirrored again.
    pub fn followed(self) -> Self {
        Self { is_followed: true, ..self }
    }

    /// Whose counters they move.
    pub fn touched(&self) -> Vec<B256> {
        self.heads.iter().map(|head| head.tenant).collect()
    }
}

impl Counters {
    /// How many tenants' they are.
    #[expect(clippy::len_without_is_empty, reason = "nobody asks whether there are none")]
    pub fn len(&self) -> usize {
        self.heads.len()
    }

    /// Counts rows, in the chain's order. `read` tells where the counters stand of tenants that were not met yet.
    pub(super) async fn count(
        &mut self,
        chain: i64,
        rows: Vec<Row>,
        read: impl AsyncFnOnce(Vec<B256>) -> Result<Vec<MirrorHead>>,
    ) -> Result<Counted> {
        let groups = by_tenant(&rows);
        let touched = touched(&groups);
        let unmet = touched.iter().filter(|tenant| !self.heads.contains_key(*tenant));
        let unmet: Vec<_> = unmet.copied().collect();
        if !unmet.is_empty() {
            let found = read(unmet.clone()).await?;
            let new = |tenant| {
                let history = Some(History::new());
                (tenant, MirrorHead { tenant, history, ..MirrorHead::default() })
            };
            self.heads.extend(unmet.into_iter().map(new));
            self.heads.extend(found.into_iter().map(|head| (head.tenant, head)));
        }
        self.advance(chain, &rows, &groups, &touched)
    }

    /// Counts rows which touch these tenants, all of whom were met.
    fn advance(
        &mut self,
        chain: i64,
        rows: &[Row],
        groups: &[Group<'_>],
        touched: &[B256],
    ) -> Result<Counted> {
        for row in rows {
            if let Some(head) = self.heads.get_mut(&row.tenant) {
                head.advance(row)?;
            }
            let Some(agent) = row.forfeiter() else { continue };
            if let Some(head) = self.heads.get_mut(&agent.into_word()) {
                let column = "agent_nonce";
                let found = row.int(column).ok_or(StoreError::Corrupt { column })?;
                let table = MirrorTable::Described;
                let (tenant, block_number) = (head.tenant, row.position.block_number);
                step(&mut head.agent_events, found).map_err(|expected| {
                    StoreError::Hole(Hole { tenant, table, expected, found, block_number })
                })?;
            }
        }
        let of_table = |table| {
            let rows = groups.iter().flat_map(|(_, rows)| rows.iter().copied());
            rows.filter(move |row| row.event.table == table)
        };
        let anchored = of_table(MirrorTable::Anchored).map(AnchoredEvent::try_from);
        let anchored: Vec<_> = anchored.collect::<Result<_>>()?;
        let completed = self.grow(&anchored)?;
        let policies = of_table(MirrorTable::Policies).map(PublishedPolicy::try_from);
        Ok(Counted {
            inserts: columns::inserts(chain, groups, &completed)?,
            heads: touched.iter().filter_map(|tenant| self.heads.get(tenant).cloned()).collect(),
            anchored,
            policies: policies.collect::<Result<_>>()?,
            is_followed: false,
        })
    }

    /// Lets the histories grow by these batches, those of one tenant next to each other. Returns the nodes that
    /// they complete, of each tenant whose history is known.
    fn grow(&mut self, anchored: &[AnchoredEvent]) -> Result<B256Map<Completed>> {
        let batches: Vec<_> = anchored.iter().map(AnchoredEvent::batch).collect();
        let (mut ranges, mut start) = (B256Map::default(), 0);
        for of_one in batches.chunk_by(|a, b| a.tenant == b.tenant) {
            let end = start + of_one.len();
            ranges.insert(of_one[0].tenant.as_b256(), start..end);
            start = end;
        }
        let commitments = batch_commitments(&batches);
        let known = self.heads.iter_mut().filter_map(|(tenant, head)| {
            let range = ranges.get(tenant)?.clone();
            Some((*tenant, (head.history.as_mut()?, &commitments[range])))
        });
        let (tenants, mut growing): (Vec<_>, Vec<_>) = known.unzip();
        let completed = History::append_together(&mut growing);
        let completed = completed.map_err(|_| StoreError::Corrupt { column: "peaks" })?;
        Ok(tenants.into_iter().zip(completed).collect())
    }
}

/// A tenant's rows, in the chain's order.
pub(super) type Group<'a> = (B256, Vec<&'a Row>);

/// Rows by tenant, so that those of one lie next to each other in the tables and their keys, too.
fn by_tenant(rows: &[Row]) -> Vec<Group<'_>> {
    let mut groups: B256Map<Vec<_>> = B256Map::default();
    for row in rows {
        groups.entry(row.tenant).or_default().push(row);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_unstable_by_key(|(tenant, _)| *tenant);
    groups
}

/// Whose counters some rows move.
fn touched(groups: &[Group<'_>]) -> Vec<B256> {
    let mut touched = vec![];
    for (tenant, rows) in groups {
        if rows.iter().any(|row| row.event.table != MirrorTable::Skipped) {
            touched.push(*tenant);
        }
        let forfeiters = rows.iter().filter_map(|row| row.forfeiter());
        touched.extend(forfeiters.map(|agent| agent.into_word()));
    }
    touched.sort_unstable();
    touched.dedup();
    touched
}

/// These tenants' counters; of those that have any.
pub(super) async fn read(
    tx: &mut Transaction<'static, Postgres>,
    chain: i64,
    tenants: &[B256],
) -> Result<Vec<MirrorHead>> {
    let rows = sqlx::query(concat!(
        "SELECT ",
        head_columns!(),
        " FROM cofferdam.mirror_heads WHERE chain_id = $1 AND tenant_id = ANY($2::bytea[])"
    ))
    .bind(chain)
    .bind(tenants.iter().map(B256::as_slice).collect::<Vec<_>>())
    .fetch_all(&mut **tx)
    .await
    .map_err(StoreError::database("read the mirror's counters"))?;
    rows.iter().map(head).collect()
}

/// Writes counters back.
pub(super) async fn store(
    tx: &mut Transaction<'static, Postgres>,
    chain: i64,
    heads: &[MirrorHead],
) -> Result<()> {
    if heads.is_empty() {
        return Ok(());
    }
    let numbers = |of: fn(&MirrorHead) -> u64| {
        heads.iter().map(|head| bigint(of(head), "a counter")).collect::<Result<Vec<i64>>>()
    };
    let peaks: Vec<_> = heads.iter().map(|head| head.history.as_ref().map(peaks)).collect();
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
    .bind(heads.iter().map(|head| head.tenant.as_slice()).collect::<Vec<_>>())
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

/// Which of these tenants somebody registered here.
pub(super) async fn registered(
    tx: &mut Transaction<'static, Postgres>,
    chain: i64,
    heads: &[MirrorHead],
) -> Result<HashSet<B256>> {
    let rows = sqlx::query(
        "SELECT t.tenant_id FROM unnest($2::bytea[]) AS wanted (id), LATERAL (SELECT tenant_id \
             FROM cofferdam.tenants WHERE tenant_id = wanted.id AND chain_id = $1 LIMIT 1) t",
    )
    .bind(chain)
    .bind(heads.iter().map(|head| head.tenant.as_slice()).collect::<Vec<_>>())
    .fetch_all(&mut **tx)
    .await
    .map_err(StoreError::database("read who is registered"))?;
    rows.iter().map(|row| row.hash("tenant_id")).collect()
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
            Value::Int(anchored_at),
        ] = row.values[..]
        else {
            return Err(StoreError::Corrupt { column: "batch_index" });
        };
        let (index, first_seq, root) = (BatchIndex(index), Seq(first), root.into());
        Ok(Self { tenant, index, first_seq, count, root, anchored_at, position: row.position })
    }
}
