//! The leaves of a batch, hashed again from what is stored.
//!
//! Rows are read here and hashed on another thread at the same time. Memory is bounded by two chunks of
//! rows, whatever their size, and the hashes of one batch.

use std::result::Result as StdResult;

use cofferdam_core::{Commitment, EntryHash, Seq, TenantId};
use futures::{Stream, TryStreamExt};
use sqlx::{Row, postgres::PgRow};
use tokio::task::JoinHandle;

use crate::{
    EntryFault, Result, StoreError, TenantTx,
    entry::EntryParts,
    row::bigint,
    tenant_tx::{entry_columns, entry_parts},
};

/// Rows of one query: the most that is read for nothing when a batch is full before them.
const PAGE: u64 = 1024;
/// Bytes that are handed over to be hashed together, beyond the last row.
const CHUNK_BYTES: usize = 1 << 20;

/// Entries that hash to what was acknowledged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leaves {
    /// Their hashes, in order.
    pub hashes: Vec<EntryHash>,
    /// The bytes of their fields' values.
    pub bytes: u64,
}

/// What is wrong with a stored entry.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LeafFault {
    /// It is not what was acknowledged.
    #[error(transparent)]
    Tampered(#[from] EntryFault),
    /// It is not there.
    #[error("entry {0} is not in the database")]
    Missing(Seq),
    /// The database cannot give it, or not as an entry.
    #[error("entry {seq}, or one after it, cannot be read: {source}")]
    Unreadable {
        /// The first that was not hashed.
        seq: Seq,
        /// What the database said.
        source: StoreError,
    },
}

impl LeafFault {
    /// The entry.
    pub fn seq(&self) -> Seq {
        match self {
            Self::Tampered(fault) => fault.seq(),
            Self::Missing(seq) | Self::Unreadable { seq, .. } => *seq,
        }
    }
}

impl TenantTx {
    /// Hashes the entries from `first` on again: `count` of them, or as many as hold `max_bytes` of
    /// values, but at least one. The inner error is the first that is not as it was acknowledged.
    pub async fn leaves(
        &mut self,
        first: Seq,
        count: u64,
        max_bytes: u64,
    ) -> Result<StdResult<Leaves, LeafFault>> {
        let mut turn = Turn::Ours(Hashing::new(self.tenant(), first, count, max_bytes));
        // With the one before, for its hash.
        let mut next = first.get().saturating_sub(1);
        let end = first.get().saturating_add(count);
        'pages: while next < end {
            let to = end.min(next + PAGE);
            let mut rows = self.rows(next, to)?;
            loop {
                let chunk = chunk(&mut rows).await;
                if matches!(&chunk, Ok(rows) if rows.is_empty()) {
                    break;
                }
                let hashing = match turn.back().await? {
                    Ok(hashing) => hashing,
                    Err(fault) => return Ok(Err(fault)),
                };
                if hashing.full {
                    turn = Turn::Ours(hashing);
                    break 'pages;
                }
                let chunk = match chunk {
                    Err(source) if source.is_corruption() => {
                        return Ok(Err(LeafFault::Unreadable { seq: hashing.next(), source }));
                    }
                    chunk => chunk?,
                };
                turn = Turn::Theirs(tokio::task::spawn_blocking(move || hashing.take(&chunk)));
            }
            drop(rows);
            next = to;
        }
        Ok(turn.back().await?.and_then(Hashing::finish))
    }

    fn rows(
        &mut self,
        from: u64,
        to: u64,
    ) -> Result<impl Stream<Item = sqlx::Result<PgRow>> + Unpin + Send + '_> {
        let query = sqlx::query(concat!(
            "SELECT ",
            entry_columns!(),
            " FROM cofferdam.entries \
             WHERE tenant_id = $1 AND chain_id = $2 AND seq >= $3 AND seq < $4 ORDER BY seq"
        ))
        .bind(self.tenant().as_b256().0)
        .bind(self.chain())
        .bind(bigint(from, "seq")?)
        .bind(bigint(to, "seq")?);
        Ok(query.fetch(&mut *self.tx))
    }
}

/// Rows to be hashed together; none at the end.
async fn chunk(rows: &mut (impl Stream<Item = sqlx::Result<PgRow>> + Unpin)) -> Result<Vec<PgRow>> {
    let (mut chunk, mut bytes) = (Vec::new(), 0);
    while bytes < CHUNK_BYTES {
        let row = rows.try_next().await.map_err(StoreError::database("read entries"))?;
        let Some(row) = row else { break };
        bytes += (0..row.len())
            .map(|column| {
                row.try_get_raw(column).map_or(0, |value| value.as_bytes().map_or(0, <[u8]>::len))
            })
            .sum::<usize>();
        chunk.push(row);
    }
    Ok(chunk)
}

/// Who has the hashing: it goes to another thread and comes back.
enum Turn {
    Ours(Hashing),
    Theirs(JoinHandle<StdResult<Hashing, LeafFault>>),
}

impl Turn {
    async fn back(self) -> Result<StdResult<Hashing, LeafFault>> {
        match self {
            Self::Ours(hashing) => Ok(Ok(hashing)),
            // The runtime is going down, or the hashing panicked: either way nothing is known.
            Self::Theirs(hashing) => hashing
                .await
                .map_err(|_| StoreError::database("hash entries")(sqlx::Error::WorkerCrashed)),
        }
    }
}

struct Hashing {
    tenant: TenantId,
    first: Seq,
    count: u64,
    max_bytes: u64,
    /// The hash of the entry before; none until that was read.
    previous: Option<EntryHash>,
    leaves: Leaves,
    /// Whether the next entry would be more than `max_bytes`.
    full: bool,
}

impl Hashing {
    fn new(tenant: TenantId, first: Seq, count: u64, max_bytes: u64) -> Self {
        let previous = (first.get() == 0).then_some(EntryHash::ZERO);
        let leaves = Leaves::default();
        Self { tenant, first, count, max_bytes, previous, leaves, full: false }
    }

    /// The entry that must come now.
    fn next(&self) -> Seq {
        match self.previous {
            None => Seq(self.first.get() - 1),
            Some(_) => Seq(self.first.get() + self.leaves.hashes.len() as u64),
        }
    }

    fn take(mut self, rows: &[PgRow]) -> StdResult<Self, LeafFault> {
        let entries: Vec<_> = rows.iter().map(entry_parts).collect();
        let readable: Vec<_> = entries.iter().flatten().collect();
        let mut computed = EntryParts::commitments(&readable).into_iter();
        for entry in &entries {
            let seq = self.next();
            let entry = match entry {
                Ok(entry) => entry,
                Err(source) => {
                    return Err(LeafFault::Unreadable { seq, source: source.clone() });
                }
            };
            // None is left out; zero would be no entry's.
            let computed = computed.next().unwrap_or(Commitment::ZERO);
            if entry.seq != seq {
                return Err(LeafFault::Missing(seq));
            }
            let Some(previous) = self.previous.replace(entry.entry_hash) else { continue };
            let bytes = entry.size();
            if self.leaves.bytes + bytes > self.max_bytes && !self.leaves.hashes.is_empty() {
                self.full = true;
                break;
            }
            entry.verify(self.tenant, previous, computed)?;
            self.leaves.bytes += bytes;
            self.leaves.hashes.push(entry.entry_hash);
        }
        Ok(self)
    }

    fn finish(self) -> StdResult<Leaves, LeafFault> {
        if self.full || self.leaves.hashes.len() as u64 == self.count {
            return Ok(self.leaves);
        }
        Err(LeafFault::Missing(self.next()))
    }
}
