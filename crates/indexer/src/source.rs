//! From an endpoint's logs to rows: ranges read ahead, several at a time, each as long as it can be.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use alloy::primitives::{Address, B256, keccak256, map::HashMap};
use cofferdam_contracts::{LogReader, ReadLog, deployment::Deployment};
use cofferdam_core::mirror::{MirrorEvent, Row};

use crate::{
    Endpoints, IndexError, Refusal,
    blocks::{At, Link},
    endpoint::Endpoint,
    span::Span,
    state::{Question, State},
};

/// Blocks that may still change and are read at once: each is asked for by its hash.
pub(crate) const UNSETTLED: u64 = 64;
/// How many addresses that are no accounts are remembered; anybody can make more of them.
const STRANGERS: usize = 65_536;

/// Blocks that were read, with all that they hold for us.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) from: u64,
    pub(crate) to: Link,
    /// In the chain's order.
    pub(crate) rows: Vec<Row>,
    /// The headers of all blocks, each the next one's parent, when they are not final; else none.
    pub(crate) links: Vec<Link>,
}

/// Reads rows from endpoints.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) endpoints: Endpoints,
    reader: Arc<LogReader>,
    /// As `eth_getLogs` takes them.
    topics: Arc<str>,
    /// Whether an address is an account of the factory.
    accounts: Arc<RwLock<HashMap<Address, bool>>>,
    span: Arc<Mutex<Span>>,
    /// Whether the header of every block that has logs is read, and not only where a log does not say its time.
    every_header: bool,
}

impl Source {
    pub(crate) fn new(endpoints: Endpoints, deployment: Deployment) -> Self {
        let reader = LogReader::new(deployment);
        let topics: Vec<_> = reader.topics().map(|topic| format!("\"{topic}\"")).collect();
        Self {
            endpoints,
            topics: format!("[[{}]]", topics.join(",")).into(),
            reader: Arc::new(reader),
            accounts: Arc::default(),
            span: Arc::default(),
            every_header: false,
        }
    }

    /// The same, but it believes no log of a final block without the block's header.
    pub(crate) fn with_every_header(&self) -> Self {
        Self { every_header: true, ..self.clone() }
    }

    pub(crate) fn deployment(&self) -> &Deployment {
        self.reader.deployment()
    }

    /// How many blocks to read at once now.
    pub(crate) fn span(&self) -> MutexGuard<'_, Span> {
        self.span.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets who is no account.
    pub(crate) fn forget_strangers(&self) {
        let mut known = self.accounts.write().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, is_account| *is_account);
    }

    /// Forgets who is an account, and knows these.
    pub(crate) fn know(&self, accounts: Vec<Address>) {
        let known = accounts.into_iter().map(|account| (account, true)).collect();
        *self.accounts.write().unwrap_or_else(PoisonError::into_inner) = known;
    }

    pub(crate) async fn link(&self, at: At) -> Result<Option<Link>, IndexError> {
        self.endpoints.ask(|endpoint| async move { endpoint.link(at).await }).await
    }

    /// Reads a range, or as much of it from its beginning as an endpoint sends at once.
    pub(crate) async fn read(
        &self,
        from: u64,
        to: u64,
        last_final: u64,
    ) -> Result<Part, IndexError> {
        let room = self.span().room(to + 1 - from);
        let part = self.first_part(from, to, last_final, &self.topics, room).await?;
        if part.links.is_empty() {
            self.span().fits(part.to.number + 1 - from, part.rows.len());
        }
        Ok(part)
    }

    /// All rows that move a tenant's counters in a range, in the chain's order: its own, and what it gave up
    /// as an agent.
    pub(crate) async fn of_tenant(
        &self,
        tenant: B256,
        from: u64,
        to: u64,
        last_final: u64,
    ) -> Result<Vec<Row>, IndexError> {
        let all = self.topics.trim_start_matches('[').trim_end_matches(']');
        let forfeited = MirrorEvent::named("Forfeited").map(MirrorEvent::topic).unwrap_or_default();
        let mut rows = vec![];
        for topics in
            [format!("[[{all}],\"{tenant}\"]"), format!("[[\"{forfeited}\"],null,\"{tenant}\"]")]
        {
            let mut next = from;
            while next <= to {
                // Of one tenant there are few, however many blocks.
                let part = self.first_part(next, to, last_final, &topics, 0).await?;
                next = part.to.number + 1;
                rows.extend(part.rows);
            }
        }
        rows.sort_by_key(|row| (row.position.block_number, row.position.log_index));
        rows.dedup();
        Ok(rows)
    }

    /// `room` is how many logs to reserve memory for.
    async fn first_part(
        &self,
        from: u64,
        to: u64,
        last_final: u64,
        topics: &str,
        room: usize,
    ) -> Result<Part, IndexError> {
        if from > last_final {
            let to = to.min(from + UNSETTLED - 1);
            return self.endpoints.ask(|endpoint| self.unsettled(endpoint, from, to, topics)).await;
        }
        let mut to = to.min(last_final);
        loop {
            let read =
                self.endpoints.ask(|endpoint| self.settled(endpoint, from, to, topics, room));
            match read.await {
                Err(error) if error.is_too_long() && from < to => {
                    let blocks = to - from + 1;
                    tracing::debug!(blocks, "range refused, halving it");
                    self.span().refused(blocks);
                    to = from + blocks / 2 - 1;
                }
                part => return part,
            }
        }
    }

    /// Blocks that are final, by their numbers.
    async fn settled(
        &self,
        endpoint: Arc<Endpoint>,
        from: u64,
        to: u64,
        topics: &str,
        room: usize,
    ) -> Result<Part, IndexError> {
        let endpoint = &*endpoint;
        let alone = |error: IndexError| {
            if from < to || !error.is_too_long() {
                return error;
            }
            // Whoever refuses a single block refuses all: another is asked first from now on.
            self.endpoints.rotate();
            *self.span() = Span::default();
            error.for_nothing_less()
        };
        let logs = endpoint.logs(from, to, topics, &self.reader, room);
        let read = futures::try_join!(endpoint.link(At::Number(to)), logs);
        let (last, logs) = read.map_err(alone)?;
        let missing = || endpoint.error("read a block", Refusal::Behind, "it has no such block");
        let last = last.ok_or_else(missing)?;
        let mut logs = in_order(endpoint, logs, from, to)?;
        self.keep_accounts(endpoint, State::Newest, &mut logs).await?;
        self.time(endpoint, &mut logs, &[last]).await?;
        let rows = logs.into_iter().map(|log| log.row).collect();
        Ok(Part { from, to: last, rows, links: vec![] })
    }

    /// Blocks that may still change: tied to each other by their parents, and each log to its block.
    async fn unsettled(
        &self,
        endpoint: Arc<Endpoint>,
        from: u64,
        to: u64,
        topics: &str,
    ) -> Result<Part, IndexError> {
        let endpoint = &*endpoint;
        let links = endpoint.links(from..=to).await?;
        let moving = IndexError::Moving { number: to };
        let Some(last) = links.last().copied() else { return Err(moving) };
        if links.windows(2).any(|pair| pair[1].parent != pair[0].hash) {
            return Err(moving);
        }
        let of_each = endpoint.logs_of(&links, topics, &self.reader).await?;
        let mut logs = vec![];
        for (link, of_block) in links.iter().zip(of_each) {
            logs.extend(in_order(endpoint, of_block, link.number, link.number)?);
        }
        let state = State::After { number: last.number, hash: last.hash };
        self.keep_accounts(endpoint, state, &mut logs).await?;
        self.time(endpoint, &mut logs, &links).await?;
        let rows = logs.into_iter().map(|log| log.row).collect();
        Ok(Part { from, to: last, rows, links })
    }

    /// Leaves out what is of no account, asking for the code of addresses not seen before.
    async fn keep_accounts(
        &self,
        endpoint: &Endpoint,
        at: State,
        logs: &mut Vec<ReadLog>,
    ) -> Result<(), IndexError> {
        let unknown: BTreeSet<Address> = {
            let known = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
            let claimed = logs.iter().filter_map(|log| log.account);
            claimed.filter(|it| !known.contains_key(it)).collect()
        };
        let mut strangers = BTreeSet::new();
        if !unknown.is_empty() {
            let (accounts, sure) = self.accounts_of(endpoint, at, &unknown, logs).await?;
            let mut known = self.accounts.write().unwrap_or_else(PoisonError::into_inner);
            if known.len() > STRANGERS {
                known.retain(|_, is_account| *is_account);
            }
            for address in unknown {
                let is_account = accounts.contains(&address);
                if is_account || sure {
                    known.insert(address, is_account);
                } else {
                    strangers.insert(address);
                }
            }
        }
        let known = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        logs.retain(|log| {
            log.account.is_none_or(|account| {
                !strangers.contains(&account) && known.get(&account).copied().unwrap_or(false)
            })
        });
        Ok(())
    }

    /// Which of these are accounts, and whether the others never will be.
    async fn accounts_of(
        &self,
        endpoint: &Endpoint,
        at: State,
        unknown: &BTreeSet<Address>,
        logs: &[ReadLog],
    ) -> Result<(BTreeSet<Address>, bool), IndexError> {
        let code = keccak256(self.deployment().account_code());
        let asked = async |at: State, addresses: Vec<Address>| {
            let questions: Vec<_> = addresses.iter().copied().map(Question::CodeHash).collect();
            let hashes = endpoint.ask_all(at, &questions).await?;
            let found = addresses.into_iter().zip(hashes);
            let found = found.filter(|(_, hash)| hash[..] == code[..]).map(|(address, _)| address);
            Ok::<BTreeSet<Address>, IndexError>(found.collect())
        };
        let mut accounts = asked(at, unknown.iter().copied().collect()).await?;
        let others: Vec<Address> = unknown.difference(&accounts).copied().collect();
        let Some(last) = logs.last().map(|log| log.row.position) else {
            return Ok((accounts, false));
        };
        // Who is none in a block that may still go can be one in what comes instead.
        if !matches!(at, State::Newest) || others.is_empty() {
            return Ok((accounts, false));
        }
        // An endpoint's newest state may be one from before the account. Code never changes: who is none where
        // its events are never is.
        let there = State::After { number: last.block_number, hash: last.block_hash };
        match asked(there, others).await {
            Ok(found) => accounts.extend(found),
            Err(error) if error.is_forgotten() => return Ok((accounts, false)),
            Err(error) => return Err(error),
        }
        Ok((accounts, true))
    }

    /// Gives every row its block's time, and refuses rows of another fork.
    async fn time(
        &self,
        endpoint: &Endpoint,
        logs: &mut [ReadLog],
        links: &[Link],
    ) -> Result<(), IndexError> {
        let mut known: BTreeMap<u64, Link> =
            links.iter().map(|link| (link.number, *link)).collect();
        let mut untimed: Vec<u64> = logs
            .iter()
            .filter(|log| self.every_header || !log.timed)
            .map(|log| log.row.position.block_number)
            .filter(|number| !known.contains_key(number))
            .collect();
        untimed.dedup();
        if !untimed.is_empty() {
            let links = endpoint.links(untimed).await?;
            known.extend(links.into_iter().map(|link| (link.number, link)));
        }
        let mut block = (0, B256::ZERO);
        for log in logs {
            let at = &log.row.position;
            let number = at.block_number;
            if let Some(link) = known.get(&number) {
                if link.hash != at.block_hash || (log.timed && link.time != log.row.time) {
                    return Err(IndexError::Moving { number });
                }
                log.row.time = link.time;
            } else if block.0 == number && block.1 != at.block_hash {
                return Err(IndexError::Moving { number });
            }
            block = (number, at.block_hash);
        }
        Ok(())
    }
}

/// The logs of these blocks in the chain's order, each once.
fn in_order(
    endpoint: &Endpoint,
    mut logs: Vec<ReadLog>,
    from: u64,
    to: u64,
) -> Result<Vec<ReadLog>, IndexError> {
    let nonsense =
        |reason: &dyn std::fmt::Display| endpoint.error("read logs", Refusal::Nonsense, reason);
    let key = |log: &ReadLog| (log.row.position.block_number, log.row.position.log_index);
    if !logs.is_sorted_by_key(key) {
        logs.sort_by_key(key);
    }
    // Two that stand at different places need not be compared word for word.
    logs.dedup_by(|a, b| key(a) == key(b) && a == b);
    let repeated = logs.windows(2).find(|pair| key(&pair[0]) == key(&pair[1]));
    if let Some([log, _]) = repeated {
        return Err(nonsense(&format_args!("two logs at {:?}", key(log))));
    }
    let outside = logs.iter().find(|log| !(from..=to).contains(&log.row.position.block_number));
    if let Some(log) = outside {
        let number = log.row.position.block_number;
        return Err(nonsense(&format_args!("a log of block {number}, which nobody asked for")));
    }
    Ok(logs)
}
