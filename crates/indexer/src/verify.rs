//! Everything recomputed: the mirror from its own rows, from the contracts' storage, and from all logs.

use std::collections::BTreeMap;

use alloy::primitives::{B256, U256, keccak256};
use cofferdam_core::{
    BatchIndex, History, TenantId,
    mirror::{MirrorTable, Row},
};
use cofferdam_store::{AnchoredEvent, Checkpoint, MirrorHead, StoreError, TenantTx};
use futures::TryStreamExt;

use crate::{IndexError, Indexer, blocks::At};

/// Tenants whose counters are read at once.
const PAGE: u32 = 1_000;
/// After so many tenants one after another about whom no endpoint answered at all, nobody is asked about any
/// more: each is asked about for long.
const UNANSWERED: u32 = 2;

/// What `index verify` found.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    /// The block that the mirror stands at; `None` when nothing is mirrored, and nothing was compared.
    pub block: Option<u64>,
    /// Tenants whose rows were checked.
    pub tenants: u64,
    /// Of these, whose counters and history were compared with the contracts' state at that block.
    pub compared: u64,
    /// Rows that were read.
    pub rows: u64,
    /// Events that were downloaded and compared; `None` when only the contracts' state was.
    pub downloaded: Option<u64>,
    /// What of the contracts' state could not be read, if anything: it was not compared.
    pub unread: Option<Unread>,
    /// Days of which it was compared what accounts spent; `None` when only the contracts' present state was.
    pub days: Option<u64>,
    /// Those of which no endpoint told it.
    pub unread_days: Option<UnreadDays>,
    /// The first difference, if there is any.
    pub difference: Option<Difference>,
}

impl Verdict {
    /// Whether mirror and chain agree; `None` if they may, and not everything was compared.
    pub fn agree(&self) -> Option<bool> {
        match (&self.difference, self.block) {
            (Some(_), _) => Some(false),
            (None, Some(_)) if self.unread.is_none() && self.unread_days.is_none() => Some(true),
            _ => None,
        }
    }
}

/// State of the contracts that no endpoint told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// At which block.
    pub block: u64,
    /// The first tenant that was not compared.
    pub tenant: B256,
    /// How many were not.
    pub tenants: u64,
    /// Why not the first.
    pub reason: String,
}

/// Days whose last state no endpoint told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadDays {
    /// The first.
    pub first: String,
    /// Its last block.
    pub block: u64,
    /// How many.
    pub days: u64,
    /// Why not the first.
    pub reason: String,
}

/// What is counted on the way from one tenant to the next.
#[derive(Debug, Default)]
struct Count {
    verdict: Verdict,
    /// Events of agents, which are spread over the rows of all tenants: as counted, and as the counters say.
    agents: BTreeMap<B256, (u64, u64)>,
    /// Tenants one after another about whom no endpoint answered.
    unanswered: u32,
}

impl Count {
    fn agent(&mut self, agent: B256) -> &mut (u64, u64) {
        self.agents.entry(agent).or_default()
    }

    /// Whether to ask the contracts about another tenant.
    fn asks(&self) -> bool {
        self.unanswered < UNANSWERED
    }

    /// A tenant could not be compared.
    fn unread(&mut self, block: u64, tenant: B256, reason: impl FnOnce() -> String) {
        let new = || Unread { block, tenant, tenants: 0, reason: reason() };
        self.verdict.unread.get_or_insert_with(new).tenants += 1;
    }
}

/// Where mirror and chain part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Whose rows.
    pub tenant: B256,
    /// Which of them, and how they differ.
    pub what: String,
}

/// A digest of a tenant's rows whose order does not matter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Digest {
    rows: u64,
    sum: U256,
}

impl Digest {
    fn add(&mut self, row: &Row) {
        let (topics, data) = row.encode();
        let at = &row.position;
        let mut bytes = Vec::with_capacity(160 + 32 * topics.len() + data.len());
        for word in [at.block_hash, at.tx_hash] {
            bytes.extend_from_slice(word.as_slice());
        }
        for number in [at.block_number, at.log_index, row.time] {
            bytes.extend(number.to_be_bytes());
        }
        topics.iter().for_each(|topic| bytes.extend_from_slice(topic.as_slice()));
        bytes.extend(data);
        self.rows += 1;
        self.sum = self.sum.wrapping_add(U256::from_be_bytes(keccak256(bytes).0));
    }
}

impl Indexer {
    /// Recomputes every tenant's counters and history from its rows and compares them with the contracts'
    /// storage at the mirror's block; with `full`, every row with a log that is downloaded again, the hash and
    /// time of its block with the block's header, and what accounts spent with what they say of each day. Reports
    /// how far it is, in blocks, through `progress`.
    pub async fn verify(
        &self,
        full: bool,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Verdict, IndexError> {
        let mut count = Count::default();
        let Some(at) = self.mirror.checkpoint().await? else { return Ok(count.verdict) };
        count.verdict.block = Some(at.number);
        let mut logs = match full {
            true => Some(self.download(at, &mut count.verdict, &mut progress).await?),
            false => None,
        };
        let mut after = None;
        loop {
            let heads = self.mirror.heads(after, PAGE).await?;
            let Some(last) = heads.last() else { break };
            after = Some(last.tenant);
            for head in heads {
                let digest =
                    logs.as_mut().map(|logs| logs.remove(&head.tenant).unwrap_or_default());
                if let Some(what) = self.verify_tenant(at, &head, digest, &mut count).await? {
                    count.verdict.difference = Some(Difference { tenant: head.tenant, what });
                    return Ok(count.verdict);
                }
                count.verdict.tenants += 1;
            }
        }
        // Whoever is left has logs and no counters: what strangers' calls skipped, or what is missing.
        for (tenant, digest) in logs.into_iter().flatten() {
            let head = MirrorHead { tenant, ..MirrorHead::default() };
            if let Some(what) = self.verify_tenant(at, &head, Some(digest), &mut count).await? {
                count.verdict.difference = Some(Difference { tenant, what });
                return Ok(count.verdict);
            }
        }
        let other = count.agents.iter().find(|(_, (counted, said))| counted != said);
        if let Some((tenant, (counted, said))) = other {
            let what =
                format!("described: its rows as an agent are {counted}, its counter says {said}");
            count.verdict.difference = Some(Difference { tenant: *tenant, what });
            return Ok(count.verdict);
        }
        if full {
            self.verify_days(&mut count.verdict).await?;
        }
        if self.mirror.checkpoint().await? != Some(at) {
            return Err(IndexError::Moving { number: at.number });
        }
        Ok(count.verdict)
    }

    /// The first difference of one tenant.
    async fn verify_tenant(
        &self,
        at: Checkpoint,
        head: &MirrorHead,
        logs: Option<Digest>,
        counted: &mut Count,
    ) -> Result<Option<String>, IndexError> {
        // Nobody's id: only skipped items name it, and no session can read them.
        let Ok(tenant) = TenantId::try_from(head.tenant) else { return Ok(None) };
        let mut own = MirrorHead {
            tenant: head.tenant,
            history: Some(History::new()),
            ..MirrorHead::default()
        };
        let mut digest = Digest::default();
        let mut tx = self.reader.tenant(tenant).await?;
        for table in MirrorTable::ALL {
            let mut rows = std::pin::pin!(tx.mirrored(table));
            let mut next = u64::from(table == MirrorTable::Policies);
            while let Some(row) = rows.try_next().await? {
                counted.verdict.rows += 1;
                let agent = match table {
                    MirrorTable::Described => Some(row.tenant),
                    _ => row.forfeiter().map(|agent| agent.into_word()),
                };
                if let Some(agent) = agent {
                    counted.agent(agent).0 += 1;
                }
                if logs.is_some() {
                    digest.add(&row);
                }
                if let Some(what) = count(&mut own, &row, &mut next) {
                    return Ok(Some(what));
                }
            }
        }
        let wrong = wrong_nodes(&mut tx).await?;
        drop(tx);
        // What it counted as an agent is spread over others' rows: it is compared when all were read.
        own.agent_events = head.agent_events;
        if head.agent_events > 0 {
            counted.agent(head.tenant).1 = head.agent_events;
        }
        let names = |head: &MirrorHead| {
            (
                head.batches,
                head.entries,
                head.anchorers,
                head.policies,
                head.scopes,
                head.account_events,
            )
        };
        if names(&own) != names(head) {
            return Ok(Some(format!(
                "its rows count {:?} (batches, entries, anchorers, policies, scopes, account events), its counters say {:?}",
                names(&own),
                names(head)
            )));
        }
        if counted.asks() {
            match self.compared(std::slice::from_ref(&own), at).await {
                Ok(compared) => {
                    counted.unanswered = 0;
                    if let Some(different) = compared.into_iter().flatten().next() {
                        return Ok(Some(different.in_words(at)));
                    }
                    counted.verdict.compared += 1;
                }
                Err(error @ IndexError::Moving { .. }) => return Err(error),
                Err(error) => {
                    // Who says that it has forgotten this says so at once.
                    counted.unanswered += u32::from(!error.is_forgotten());
                    counted.unread(at.number, head.tenant, || error.to_string());
                }
            }
        } else {
            counted.unread(at.number, head.tenant, String::new);
        }
        match logs {
            Some(logs) if logs != digest => Ok(Some(self.first_difference(at, tenant).await?)),
            // Last, since they follow from rows that may be the ones that differ.
            _ => Ok(wrong.map(|batch| {
                format!(
                    "anchored: the nodes kept with batch {batch} are not those of the history; \
                     run `cofferdam index rebuild`"
                )
            })),
        }
    }

    /// All logs from the deployment on, as digests by tenant.
    async fn download(
        &self,
        at: Checkpoint,
        verdict: &mut Verdict,
        progress: &mut impl FnMut(u64, u64),
    ) -> Result<BTreeMap<B256, Digest>, IndexError> {
        let mut digests: BTreeMap<B256, Digest> = BTreeMap::new();
        let last_final = self.mirror.state().await?.last_final.unwrap_or_default();
        let mut next = self.from_block;
        let mut downloaded = 0;
        let source = self.source.with_every_header();
        while next <= at.number {
            let last = at.number.min(next.saturating_add(source.span().blocks() - 1));
            let part = source.read(next, last, last_final).await?;
            for row in &part.rows {
                digests.entry(row.tenant).or_default().add(row);
                downloaded += 1;
            }
            if part.to.number == at.number && part.to.hash != at.hash {
                return Err(IndexError::Moving { number: at.number });
            }
            next = part.to.number + 1;
            progress(next.saturating_sub(self.from_block), at.number + 1 - self.from_block);
        }
        verdict.downloaded = Some(downloaded);
        Ok(digests)
    }

    /// The first row or log of a tenant that has no equal on the other side.
    async fn first_difference(
        &self,
        at: Checkpoint,
        tenant: TenantId,
    ) -> Result<String, IndexError> {
        let place = |row: &Row| (row.position.block_number, row.position.log_index);
        let mut mirrored = vec![];
        let mut tx = self.reader.tenant(tenant).await?;
        for table in MirrorTable::ALL {
            mirrored.extend(tx.mirrored(table).try_collect::<Vec<_>>().await?);
        }
        mirrored.sort_by_key(place);
        let mut next = self.from_block;
        let mut ours = mirrored.iter().peekable();
        let says = |row: &Row| {
            let (block, log) = place(row);
            format!("{} at block {block}, log {log}", row.event.name)
        };
        let last_final = self.mirror.state().await?.last_final.unwrap_or_default();
        let source = self.source.with_every_header();
        while next <= at.number {
            let last = at.number.min(next.saturating_add(source.span().blocks() - 1));
            let part = source.read(next, last, last_final).await?;
            for log in part.rows.iter().filter(|row| row.tenant == tenant.as_b256()) {
                match ours.peek() {
                    Some(row) if *row == log => {
                        ours.next();
                    }
                    Some(row) if place(row) < place(log) => {
                        return Ok(format!("{} is mirrored and not on the chain", says(row)));
                    }
                    Some(row) if place(row) == place(log) => {
                        return Ok(format!(
                            "{} is mirrored with other members than the chain has",
                            says(row)
                        ));
                    }
                    _ => return Ok(format!("{} is on the chain and not mirrored", says(log))),
                }
            }
            next = part.to.number + 1;
        }
        if self.source.link(At::Number(at.number)).await?.map(|link| link.hash) != Some(at.hash) {
            return Err(IndexError::Moving { number: at.number });
        }
        Ok(match ours.next() {
            Some(row) => format!("{} is mirrored and not on the chain", says(row)),
            None => "mirror and chain differed a moment ago, and do not now".to_owned(),
        })
    }
}

/// The first batch with which other nodes of the history are kept than its rows make.
async fn wrong_nodes(tx: &mut TenantTx) -> Result<Option<BatchIndex>, IndexError> {
    let mut history = History::new();
    let mut batches = std::pin::pin!(tx.batches_and_nodes(BatchIndex(0)));
    while let Some((batch, kept)) = batches.try_next().await? {
        let commitment = batch.commitment();
        let made = History::append_together(&mut [(&mut history, &[commitment])]);
        let made = made.map_err(|_| StoreError::Corrupt { column: "batch_index" })?;
        let made = made.first().map(|made| made.by(batch.index));
        if kept.is_some() && kept.as_deref() != made {
            return Ok(Some(batch.index));
        }
    }
    Ok(None)
}

/// Counts a row; says so when it is not the next.
fn count(own: &mut MirrorHead, row: &Row, next: &mut u64) -> Option<String> {
    let (column, counter): (_, &mut u64) = match row.event.table {
        MirrorTable::Anchored => ("batch_index", &mut own.batches),
        MirrorTable::AnchorerSet => ("nonce", &mut own.anchorers),
        MirrorTable::Policies => ("version", &mut own.policies),
        MirrorTable::Scopes => ("event_index", &mut own.scopes),
        MirrorTable::AccountEvents => ("event_index", &mut own.account_events),
        MirrorTable::Skipped | MirrorTable::Described => return None,
    };
    let found = row.int(column).unwrap_or(u64::MAX);
    if found != *next {
        let (table, block) = (row.event.table.name(), row.position.block_number);
        return Some(format!(
            "{table}: {column} {found} in block {block} where {next} should be next"
        ));
    }
    *next += 1;
    *counter += 1;
    if row.event.table == MirrorTable::Anchored {
        let batch = AnchoredEvent::try_from(row).ok()?.batch();
        if batch.first_seq.get() != own.entries {
            return Some(format!(
                "anchored: batch {found} begins at {}, not at {}",
                batch.first_seq, own.entries
            ));
        }
        own.entries += batch.count;
        if let Some(history) = &mut own.history {
            let _ = history.append(batch.commitment());
        }
    }
    None
}
