//! From the intake into the chain.
//!
//! Order: what one snapshot shows is chained by the transactions' ids. A transaction that began after
//! another had committed has the higher id, and no snapshot shows it without the other; so they stay in
//! that order, and nobody waits for a transaction that is still thinking, its tenant's or another's.

use std::{sync::Arc, time::SystemTime};

use cofferdam_core::{FieldName, TenantId};
use futures::{StreamExt, TryStreamExt, stream};
use sqlx::postgres::PgRow;

use crate::{
    AppendError, Appended, NewEntry, Result, Sequencer, StoreError, TenantTx,
    append::{Group, LockedHead, Look, carry_out, lock, plan},
    appender::{MAX_GROUP, MAX_GROUP_BYTES},
    enqueue::given,
    incidents,
    row::RowExt,
};

/// Tenants whose intakes are chained at the same time.
const TOGETHER: usize = 4;
/// The kind of incident that a stopped intake is.
const KIND: &str = "intake";

/// What chaining the intakes came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Entries that are in a chain now.
    pub chained: u64,
    /// Entries that were there already.
    pub repeated: u64,
    /// Tenants whose intake goes no further.
    pub stopped: Vec<StoppedIntake>,
    /// Whether a tenant has more waiting than one turn took.
    pub more: bool,
}

/// An intake that goes no further: its tenant's alone, and the tenant's `append` door stays open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoppedIntake {
    /// Whose.
    pub tenant: TenantId,
    /// The entry that cannot be chained; none when the database failed for this tenant.
    pub at: Option<IntakePosition>,
    /// Why, without any field's value.
    pub reason: String,
}

/// A tenant that has something in its intake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intake {
    /// Whose.
    pub tenant: TenantId,
    /// Its name.
    pub name: String,
    /// How many transactions brought it.
    pub transactions: u64,
    /// When the first of them began.
    pub since: SystemTime,
}

/// Where an entry stands in its tenant's intake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IntakePosition {
    /// The transaction that enqueued it.
    pub transaction: u64,
    /// Its place in that transaction, from 0.
    pub place: u64,
}

impl std::fmt::Display for IntakePosition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.transaction, self.place)
    }
}

/// A position that is not `TRANSACTION/PLACE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a place in an intake: expected TRANSACTION/PLACE, such as 812/0")]
pub struct BadIntakePosition;

impl std::str::FromStr for IntakePosition {
    type Err = BadIntakePosition;

    fn from_str(text: &str) -> Result<Self, BadIntakePosition> {
        let (transaction, place) = text.split_once('/').ok_or(BadIntakePosition)?;
        let number = |digits: &str| digits.parse().map_err(|_| BadIntakePosition);
        Ok(Self { transaction: number(transaction)?, place: number(place)? })
    }
}

impl Sequencer {
    /// Chains what applications enqueued, in at most `turns` turns. In a turn every tenant with something
    /// waiting has one transaction's worth chained, so that none waits for another's backlog. What cannot
    /// be chained stops its own tenant, is written down as an incident, and is tried again by every call.
    ///
    /// # Errors
    ///
    /// The database is away. Whatever was chained until then stays chained, exactly once.
    pub async fn drain(&self, turns: u32) -> Result<Drained> {
        let mut all = Drained::default();
        for _ in 0..turns {
            let Drained { chained, repeated, stopped, more } = self.turn().await?;
            all.chained += chained;
            all.repeated += repeated;
            all.stopped = stopped;
            all.more = more;
            if !more {
                break;
            }
        }
        Ok(all)
    }

    async fn turn(&self) -> Result<Drained> {
        let waiting = self.waiting().await?;
        let turns = waiting.into_iter().map(|tenant| async move {
            let turn = self.drain_one(tenant).await;
            (tenant, turn)
        });
        let mut turns = stream::iter(turns).buffer_unordered(TOGETHER);
        let mut all = Drained::default();
        while let Some((tenant, turn)) = turns.next().await {
            match turn {
                Ok(turn) => {
                    all.chained += turn.chained;
                    all.repeated += turn.repeated;
                    all.more |= turn.more;
                    all.stopped.extend(turn.stopped);
                }
                Err(error) if error.is_transient() => return Err(error),
                Err(error) => {
                    tracing::error!(%tenant, %error, "intake stopped");
                    all.stopped.push(StoppedIntake { tenant, at: None, reason: error.to_string() });
                }
            }
        }
        Ok(all)
    }

    /// Tenants with something in their intake, who waits longest first.
    async fn waiting(&self) -> Result<Vec<TenantId>> {
        let mut tx = self.handle.begin().await?;
        let rows = sqlx::query(
            "SELECT a.tenant_id FROM cofferdam.arrivals a WHERE a.chain_id = $1 \
             GROUP BY a.tenant_id ORDER BY min(a.xid)",
        )
        .bind(self.handle.chain())
        .fetch_all(&mut *tx)
        .await
        .map_err(StoreError::database("look into the intakes"))?;
        rows.iter().map(RowExt::tenant).collect()
    }

    /// Every intake that is not empty, who waits longest first.
    pub async fn intakes(&self) -> Result<Vec<Intake>> {
        let mut tx = self.handle.begin().await?;
        let rows = sqlx::query(
            "SELECT a.tenant_id, t.name, count(a.xid) AS transactions, \
                 (extract(epoch FROM min(a.at)) * 1000000)::bigint AS since \
             FROM cofferdam.arrivals a JOIN cofferdam.tenants t USING (tenant_id, chain_id) \
             WHERE a.chain_id = $1 GROUP BY a.tenant_id, t.name ORDER BY min(a.at)",
        )
        .bind(self.handle.chain())
        .fetch_all(&mut *tx)
        .await
        .map_err(StoreError::database("look into the intakes"))?;
        rows.iter()
            .map(|row| {
                Ok(Intake {
                    tenant: row.tenant()?,
                    name: row.value("name")?,
                    transactions: row.number("transactions")?,
                    since: row.time("since")?.ok_or(StoreError::Corrupt { column: "at" })?,
                })
            })
            .collect()
    }

    async fn drain_one(&self, tenant: TenantId) -> Result<Drained> {
        let mut tx = TenantTx::open(&self.handle, tenant).await?;
        let head = lock(&mut tx).await?;
        let rows = read(&mut tx).await?;
        let more = rows.len() == MAX_GROUP || rows.last().is_some_and(|row| row.cut);
        let (places, entries, unfit) = sort_out(rows);
        let drained = chain(&mut tx, head, &places, entries, unfit).await?;
        tx.commit().await?;
        Ok(Drained { more: more && drained.stopped.is_empty(), ..drained })
    }

    /// Takes an entry out of a tenant's intake without chaining it, and writes that down as an incident.
    /// What the application did stays done, without an entry. False when nothing is there.
    pub async fn discard(&self, tenant: TenantId, at: IntakePosition) -> Result<bool> {
        let mut tx = TenantTx::open(&self.handle, tenant).await?;
        lock(&mut tx).await?;
        let removed = remove(&mut tx, &[at]).await?;
        if removed == 0 {
            return Ok(false);
        }
        let (doing, chain) = ("write down what was discarded", tx.chain());
        let which = format!("entry {at} of the intake");
        let detail = format!("the operator discarded {which}");
        incidents::write(&mut tx.tx, chain, Some(tenant), KIND, &detail).await?;
        // With that, and why it was, the operator is done.
        sqlx::query(
            "UPDATE cofferdam.incidents SET resolved_at = now() \
             WHERE tenant_id = $1 AND chain_id = $2 AND kind = $3 AND resolved_at IS NULL \
                 AND strpos(detail, $4) > 0",
        )
        .bind(tenant.as_b256().0)
        .bind(chain)
        .bind(KIND)
        .bind(which)
        .execute(&mut *tx.tx)
        .await
        .map_err(StoreError::database(doing))?;
        tx.commit().await?;
        tracing::warn!(%tenant, %at, "discarded from the intake");
        Ok(true)
    }
}

/// A row of the intake, unchecked: whoever may enqueue may have written it by hand.
struct Waiting {
    at: IntakePosition,
    entry: std::result::Result<NewEntry, String>,
    /// Whether the limit of bytes was reached with it.
    cut: bool,
}

/// What waits, in order, up to a transaction's worth.
async fn read(tx: &mut TenantTx) -> Result<Vec<Waiting>> {
    let (tenant, chain) = (tx.tenant().as_b256(), tx.chain());
    // The one that fills a transaction is the last.
    sqlx::query(
        "SELECT w.*, w.total > $4 AS cut FROM (SELECT i.xid, i.n, i.action, i.actor, i.external_id, \
             i.occurred_at, i.payload, i.policy_version, i.reason, i.resource, i.result, s.size, \
             sum(s.size) OVER (ORDER BY i.xid, i.n ROWS UNBOUNDED PRECEDING) AS total \
             FROM cofferdam.intake i, LATERAL (SELECT octet_length(i.action) \
                 + octet_length(i.actor) + octet_length(i.payload) + octet_length(i.policy_version) \
                 + octet_length(i.reason) + octet_length(i.resource) + octet_length(i.result) \
                 AS size) s \
             WHERE i.tenant_id = $1 AND i.chain_id = $2 ORDER BY i.xid, i.n LIMIT $3) w \
         WHERE w.total - w.size <= $4 ORDER BY w.xid, w.n",
    )
    .bind(tenant.0)
    .bind(chain)
    .bind(MAX_GROUP as i64)
    .bind(MAX_GROUP_BYTES as i64)
    .fetch(&mut *tx.tx)
    .map(|row| waiting(&row.map_err(StoreError::database("read the intake"))?))
    .try_collect()
    .await
}

fn waiting(row: &PgRow) -> Result<Waiting> {
    let values = given()
        .map(|name| Ok((name, row.value::<String>(name.as_str())?)))
        .collect::<Result<Vec<(FieldName, String)>>>()?;
    Ok(Waiting {
        at: IntakePosition { transaction: row.number("xid")?, place: row.number("n")? },
        entry: NewEntry::new(values).map_err(|error| error.to_string()),
        cut: row.value("cut")?,
    })
}

/// Why an entry cannot be chained.
type Unfit = (IntakePosition, String);

/// What comes before the first row that is no entry.
fn sort_out(rows: Vec<Waiting>) -> (Vec<IntakePosition>, Vec<NewEntry>, Option<Unfit>) {
    let (mut places, mut entries) = (Vec::with_capacity(rows.len()), Vec::new());
    for Waiting { at, entry, .. } in rows {
        match entry {
            Ok(entry) => {
                places.push(at);
                entries.push(entry);
            }
            Err(why) => return (places, entries, Some((at, why))),
        }
    }
    (places, entries, None)
}

/// Chains what comes before the first entry that cannot be, and takes it out of the intake.
async fn chain(
    tx: &mut TenantTx,
    head: LockedHead,
    places: &[IntakePosition],
    entries: Vec<NewEntry>,
    mut unfit: Option<Unfit>,
) -> Result<Drained> {
    let tenant = tx.tenant();
    let mut plan = plan(tx, &head, &entries, Look::Yes).await?;
    let mut fit = places.len();
    if let Some((i, AppendError::Conflict { seq, field, .. })) = plan.stop_at_conflict() {
        let why = format!("its external_id is entry {seq}'s already, with another {field}");
        (fit, unfit) = (i, Some((places[i], why)));
    }
    let group = Group::prepare_aside(tenant, entries).await?;
    let mut drained = Drained::default();
    for answer in carry_out(tx, head, Arc::new(group), plan).await? {
        match answer {
            Ok(Appended::New { .. }) => drained.chained += 1,
            Ok(Appended::Repeat { .. }) => drained.repeated += 1,
            Err(_) => return Err(StoreError::Interrupted { tenant }),
        }
    }
    remove(tx, &places[..fit]).await?;
    if let Some((at, why)) = unfit {
        let reason = format!("entry {at} of the intake cannot be chained: {why}");
        let chain = tx.chain();
        incidents::write(&mut tx.tx, chain, Some(tenant), KIND, &reason).await?;
        tracing::error!(%tenant, %at, reason, "intake stopped");
        drained.stopped.push(StoppedIntake { tenant, at: Some(at), reason });
    }
    Ok(drained)
}

/// Removes exactly these: a range would also take what another transaction has just committed into it.
async fn remove(tx: &mut TenantTx, places: &[IntakePosition]) -> Result<u64> {
    if places.is_empty() {
        return Ok(0);
    }
    let numbers = |of: fn(&IntakePosition) -> u64| -> Vec<i64> {
        places.iter().map(|at| i64::try_from(of(at)).unwrap_or(i64::MAX)).collect()
    };
    let removed = sqlx::query(
        "DELETE FROM cofferdam.intake i USING UNNEST($3::bigint[], $4::bigint[]) u(xid, n) \
         WHERE i.tenant_id = $1 AND i.chain_id = $2 AND i.xid = u.xid AND i.n = u.n",
    )
    .bind(tx.tenant().as_b256().0)
    .bind(tx.chain())
    .bind(numbers(|at| at.transaction))
    .bind(numbers(|at| at.place))
    .execute(&mut *tx.tx)
    .await
    .map_err(StoreError::database("empty the intake"))?
    .rows_affected();
    sqlx::query(
        "DELETE FROM cofferdam.arrivals a WHERE a.tenant_id = $1 AND a.chain_id = $2 \
             AND a.xid = ANY($3) AND NOT EXISTS (SELECT FROM cofferdam.intake i \
                 WHERE i.tenant_id = $1 AND i.chain_id = $2 AND i.xid = a.xid)",
    )
    .bind(tx.tenant().as_b256().0)
    .bind(tx.chain())
    .bind(numbers(|at| at.transaction))
    .execute(&mut *tx.tx)
    .await
    .map_err(StoreError::database("empty the intake"))?;
    Ok(removed)
}
