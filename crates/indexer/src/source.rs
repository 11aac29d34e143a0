//! From an endpoint's logs to rows: ranges read ahead, several at a time, each as long as it can be.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use alloy::{
    primitives::{Address, B256, map::HashMap},
    providers::Provider,
};
use cofferdam_contracts::{Chain, LogReader, ReadLog, deployment::Deployment};
use cofferdam_core::mirror::Row;
use futures::future::try_join_all;

use crate::{
    EndpointError, Endpoints, IndexError, Refusal,
    endpoint::{At, Endpoint, Link},
};

/// The first range's length, in blocks.
const FIRST_SPAN: u64 = 32;
/// The longest range: what the more generous of the providers allow.
const LONGEST_SPAN: u64 = 10_000;
/// A range that holds more than this makes the next one shorter.
const FULL: usize = 8_192;
/// Requests for single blocks and addresses that are under way at once.
const AT_ONCE: usize = 16;
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
    span: Arc<AtomicU64>,
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
            span: Arc::new(FIRST_SPAN.into()),
        }
    }

    pub(crate) fn deployment(&self) -> &Deployment {
        self.reader.deployment()
    }

    /// How many blocks to read at once now.
    pub(crate) fn span(&self) -> u64 {
        self.span.load(Ordering::Relaxed)
    }

    /// Forgets who is an account, and knows these.
    pub(crate) fn know(&self, accounts: Vec<Address>) {
        let known = accounts.into_iter().map(|account| (account, true)).collect();
        *self.accounts.write().unwrap_or_else(PoisonError::into_inner) = known;
    }

    pub(crate) async fn link(&self, at: At) -> Result<Option<Link>, IndexError> {
        self.endpoints.ask(|endpoint| async move { endpoint.link(at).await }).await
    }

    /// Reads a range whole, in as many parts as the endpoints' limits make of it.
    pub(crate) async fn read(
        &self,
        from: u64,
        to: u64,
        last_final: u64,
    ) -> Result<Vec<Part>, IndexError> {
        let (mut parts, mut next, mut span) = (vec![], from, to - from + 1);
        while next <= to {
            let last = to.min(next + span - 1);
            let read = self
                .endpoints
                .ask(|endpoint| self.part(endpoint, next, last, last_final, &self.topics));
            match read.await {
                Ok(part) => {
                    self.fit(last - next + 1, part.rows.len());
                    parts.push(part);
                    next = last + 1;
                }
                Err(IndexError::Endpoint(EndpointError { refusal: Refusal::TooLong, .. }))
                    if last > next =>
                {
                    span = (last - next + 1).div_ceil(2);
                    tracing::debug!(span, "range refused, halving it");
                    self.span.fetch_min(span, Ordering::Relaxed);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(parts)
    }

    /// All rows of one tenant in a range, from this endpoint's logs.
    pub(crate) async fn of_tenant(
        &self,
        tenant: B256,
        from: u64,
        to: u64,
    ) -> Result<Vec<Row>, IndexError> {
        let all = self.topics.trim_start_matches('[').trim_end_matches(']');
        let topics = format!("[[{all}],\"{tenant}\"]");
        let (mut rows, mut next, mut span) = (vec![], from, to.saturating_sub(from) + 1);
        while next <= to {
            let last = to.min(next + span - 1);
            let read =
                self.endpoints.ask(|endpoint| self.part(endpoint, next, last, u64::MAX, &topics));
            match read.await {
                Ok(part) => {
                    rows.extend(part.rows);
                    next = last + 1;
                }
                Err(IndexError::Endpoint(EndpointError { refusal: Refusal::TooLong, .. }))
                    if last > next =>
                {
                    span = (last - next + 1).div_ceil(2);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(rows)
    }

    /// Makes the next range longer or shorter, by what this one held.
    fn fit(&self, span: u64, rows: usize) {
        let next = match rows {
            rows if rows > FULL => span * FULL as u64 / rows as u64,
            rows if rows < FULL / 2 => (span * 2).min(LONGEST_SPAN),
            _ => return,
        };
        self.span.store(next.max(1), Ordering::Relaxed);
    }

    async fn part(
        &self,
        endpoint: Arc<Endpoint>,
        from: u64,
        to: u64,
        last_final: u64,
        topics: &str,
    ) -> Result<Part, IndexError> {
        let endpoint = &*endpoint;
        let (before, text) =
            futures::try_join!(endpoint.link(At::Number(to)), endpoint.raw_logs(from, to, topics))?;
        let missing = || endpoint.error("read a block", Refusal::Behind, "it has no such block");
        let before = before.ok_or_else(missing)?;
        let mut logs = self.logs(endpoint, &text, from, to)?;
        drop(text);
        self.keep_accounts(endpoint, &mut logs).await?;
        let links = if to > last_final {
            // Those that may still change are tied to each other, and to what was read of them.
            let first = from.max(last_final + 1);
            let links = self.links(endpoint, first, to).await?;
            let moving = IndexError::Moving { number: to };
            let tied = links.windows(2).all(|pair| pair[1].parent == pair[0].hash);
            if !tied || links.last() != Some(&before) {
                return Err(moving);
            }
            links
        } else {
            vec![]
        };
        self.time(endpoint, &mut logs, &links, before).await?;
        let rows = logs.into_iter().map(|log| log.row).collect();
        Ok(Part { from, to: before, rows, links })
    }

    /// What is ours of an answer, in the chain's order, each once.
    fn logs(
        &self,
        endpoint: &Endpoint,
        text: &[u8],
        from: u64,
        to: u64,
    ) -> Result<Vec<ReadLog>, IndexError> {
        let answer = endpoint.logs(text)?;
        let nonsense =
            |reason: &dyn std::fmt::Display| endpoint.error("read logs", Refusal::Nonsense, reason);
        let mut logs = Vec::with_capacity(answer.result.as_ref().map_or(0, Vec::len));
        for log in answer.result.iter().flatten() {
            logs.extend(self.reader.read(log).map_err(|error| nonsense(&error))?);
        }
        let key = |log: &ReadLog| (log.row.position.block_number, log.row.position.log_index);
        if !logs.is_sorted_by_key(key) {
            logs.sort_by_key(key);
        }
        logs.dedup();
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

    /// Leaves out what is of no account, asking for the code of addresses not seen before.
    async fn keep_accounts(
        &self,
        endpoint: &Endpoint,
        logs: &mut Vec<ReadLog>,
    ) -> Result<(), IndexError> {
        let unknown: Vec<Address> = {
            let known = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
            let claimed = logs.iter().filter_map(|log| log.account);
            let mut unknown: Vec<_> = claimed.filter(|it| !known.contains_key(it)).collect();
            unknown.sort_unstable();
            unknown.dedup();
            unknown
        };
        if !unknown.is_empty() {
            let (chain, code) = (endpoint.chain().await?, self.deployment().account_code());
            let mut asked = Vec::with_capacity(unknown.len());
            for some in unknown.chunks(AT_ONCE) {
                let some = some.iter().copied().map(|address| has_code(chain, address, &code));
                asked.extend(try_join_all(some).await?);
            }
            let mut known = self.accounts.write().unwrap_or_else(PoisonError::into_inner);
            if known.len() > STRANGERS {
                known.retain(|_, is_account| *is_account);
            }
            known.extend(asked);
        }
        let known = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        logs.retain(|log| {
            log.account.is_none_or(|account| known.get(&account).copied().unwrap_or(false))
        });
        Ok(())
    }

    /// Gives every row its block's time, and refuses rows of another fork.
    async fn time(
        &self,
        endpoint: &Endpoint,
        logs: &mut [ReadLog],
        links: &[Link],
        last: Link,
    ) -> Result<(), IndexError> {
        let mut known: BTreeMap<u64, Link> =
            links.iter().map(|link| (link.number, *link)).collect();
        known.insert(last.number, last);
        let mut untimed: Vec<u64> = logs
            .iter()
            .filter(|log| !log.timed)
            .map(|log| log.row.position.block_number)
            .filter(|number| !known.contains_key(number))
            .collect();
        untimed.dedup();
        for some in untimed.chunks(AT_ONCE) {
            let links = some.iter().copied().map(|number| endpoint.link(At::Number(number)));
            for (number, link) in some.iter().copied().zip(try_join_all(links).await?) {
                known.insert(number, link.ok_or(IndexError::Moving { number })?);
            }
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

    async fn links(
        &self,
        endpoint: &Endpoint,
        from: u64,
        to: u64,
    ) -> Result<Vec<Link>, IndexError> {
        let (mut links, mut next) = (vec![], from);
        while next <= to {
            let last = to.min(next + AT_ONCE as u64 - 1);
            let some = (next..=last).map(|number| endpoint.link(At::Number(number)));
            for (number, link) in (next..).zip(try_join_all(some).await?) {
                links.push(link.ok_or(IndexError::Moving { number })?);
            }
            next = last + 1;
        }
        Ok(links)
    }
}

/// Whether an address has this code.
async fn has_code(
    chain: &Chain,
    address: Address,
    code: &[u8],
) -> Result<(Address, bool), IndexError> {
    let there = chain.provider().get_code_at(address).into_future();
    let there = chain.ask("cannot read an account's code", there).await?;
    Ok((address, *there == *code))
}
