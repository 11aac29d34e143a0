//! RPC endpoints: one after another, each left alone for a while after it refused.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use alloy::{
    primitives::{Address, B256, Bytes, hex},
    sol_types::SolCall,
    transports::http::reqwest::{Client, StatusCode, header::RETRY_AFTER},
};
use cofferdam_contracts::{Chain, ChainError, Expected, LogsAnswer, RpcUrl, WireError};
use serde::Deserialize;
use tokio::sync::OnceCell;

use crate::IndexError;

/// The longest answer that is read: a longer one is a range that is too long.
const MAX_ANSWER: u64 = 64 << 20;
/// How often all endpoints are tried before an error is told.
const ROUNDS: u32 = 5;
/// Questions in one request, at first.
const AT_ONCE: usize = 512;
const SHORTEST_REST: Duration = Duration::from_millis(250);
const LONGEST_REST: Duration = Duration::from_secs(30);

/// What an endpoint's refusal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The range holds more than it answers at once: ask for less.
    TooLong,
    /// Too many requests: ask later, after this long where it says so.
    TooMany(Option<Duration>),
    /// It has not come to that block yet.
    Behind,
    /// It could not be reached, or failed.
    Away,
    /// What it sent makes no sense.
    Nonsense,
}

/// A refusal with the endpoint's words, without the URL.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot {what}: {reason} (RPC endpoint {endpoint})")]
pub struct EndpointError {
    /// What was asked.
    pub what: &'static str,
    /// Scheme, host and port.
    pub endpoint: String,
    /// The words.
    pub reason: String,
    /// What they mean.
    pub refusal: Refusal,
}

/// A block's header as far as a mirror needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) number: u64,
    pub(crate) hash: B256,
    pub(crate) parent: B256,
    pub(crate) time: u64,
}

/// Which block.
#[derive(Debug, Clone, Copy)]
pub(crate) enum At {
    Number(u64),
    Latest,
    Safe,
    Final,
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number:#x}"),
            Self::Latest => f.write_str("latest"),
            Self::Safe => f.write_str("safe"),
            Self::Final => f.write_str("finalized"),
        }
    }
}

/// One endpoint.
#[derive(Debug)]
pub(crate) struct Endpoint {
    url: RpcUrl,
    client: Client,
    expected: Expected,
    /// Checked on first use: an endpoint that is away at the start may come later.
    chain: OnceCell<Chain>,
    resting: Mutex<Resting>,
    /// Questions that it takes in one request.
    at_once: AtomicUsize,
}

#[derive(Debug, Default, Clone, Copy)]
struct Resting {
    until: Option<Instant>,
    refusals: u32,
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, default)]
    result: Option<WireBlock<'a>>,
    #[serde(default)]
    error: Option<WireError>,
}

/// One of several answers.
#[derive(Deserialize)]
struct Said<'a> {
    #[serde(default)]
    id: Option<usize>,
    #[serde(borrow, default)]
    result: Option<&'a str>,
    #[serde(default)]
    error: Option<WireError>,
}

/// Something about the state.
#[derive(Debug, Clone)]
pub(crate) enum Question {
    /// What a call returns.
    Call { to: Address, data: Bytes },
    /// The code at an address.
    Code(Address),
}

impl Question {
    pub(crate) fn call(to: Address, call: &impl SolCall) -> Self {
        Self::Call { to, data: call.abi_encode().into() }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireBlock<'a> {
    number: &'a str,
    hash: &'a str,
    parent_hash: &'a str,
    timestamp: &'a str,
}

impl Endpoint {
    fn new(url: RpcUrl, expected: Expected) -> Result<Self, ChainError> {
        let client = Client::builder()
            .timeout(Duration::from_secs(60))
            .build()
            .map_err(|error| ChainError::BadUrl { reason: error.to_string() })?;
        let resting = Mutex::default();
        let at_once = AT_ONCE.into();
        Ok(Self { url, client, expected, chain: OnceCell::new(), resting, at_once })
    }

    /// A connection that was checked to be on the right chain.
    pub(crate) async fn chain(&self) -> Result<&Chain, IndexError> {
        let connect = || Chain::connect(&self.url, self.expected);
        Ok(self.chain.get_or_try_init(connect).await?)
    }

    pub(crate) fn error(
        &self,
        what: &'static str,
        refusal: Refusal,
        reason: impl fmt::Display,
    ) -> IndexError {
        let (endpoint, reason) = (self.url.to_string(), self.url.redact(&reason.to_string()));
        IndexError::Endpoint(EndpointError { what, endpoint, reason, refusal })
    }

    /// Sends a request and returns the answer's text.
    async fn post(&self, what: &'static str, body: String) -> Result<Vec<u8>, IndexError> {
        self.chain().await?;
        let away = |error: alloy::transports::http::reqwest::Error| {
            self.error(what, Refusal::Away, error.without_url())
        };
        let request = self.client.post(self.url.expose().clone());
        let request = request.header("content-type", "application/json").body(body);
        let mut answer = request.send().await.map_err(away)?;
        let status = answer.status();
        if status == StatusCode::TOO_MANY_REQUESTS {
            let after =
                answer.headers().get(RETRY_AFTER).and_then(|it| it.to_str().ok()?.parse().ok());
            let after = after.map(Duration::from_secs);
            return Err(self.error(what, Refusal::TooMany(after), status));
        }
        if status == StatusCode::PAYLOAD_TOO_LARGE {
            return Err(self.error(what, Refusal::TooLong, status));
        }
        let length = answer.content_length().unwrap_or_default();
        let mut text = Vec::with_capacity(length.min(MAX_ANSWER) as usize);
        while let Some(chunk) = answer.chunk().await.map_err(away)? {
            if text.len() + chunk.len() > MAX_ANSWER as usize {
                return Err(self.error(what, Refusal::TooLong, "the answer is too long"));
            }
            text.extend_from_slice(&chunk);
        }
        // Some providers send their refusals with a status of their own.
        if !status.is_success() && !text.starts_with(b"{") {
            return Err(self.error(what, Refusal::Away, status));
        }
        Ok(text)
    }

    /// The header of a block; `None` when the chain has none (yet).
    pub(crate) async fn link(&self, at: At) -> Result<Option<Link>, IndexError> {
        let what = "read a block";
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"eth_getBlockByNumber","params":["{at}",false]}}"#
        );
        let text = self.post(what, body).await?;
        let nonsense = |reason: &dyn fmt::Display| self.error(what, Refusal::Nonsense, reason);
        let answer: Answer<'_> = serde_json::from_slice(&text).map_err(|error| nonsense(&error))?;
        if let Some(error) = answer.error {
            return Err(self.refused(what, &error));
        }
        let Some(block) = answer.result else { return Ok(None) };
        let number = |text: &str| {
            u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16)
                .map_err(|error| nonsense(&error))
        };
        let hash = |text: &str| -> Result<B256, IndexError> {
            let mut bytes = [0; 32];
            hex::decode_to_slice(text, &mut bytes).map_err(|error| nonsense(&error))?;
            Ok(bytes.into())
        };
        let link = Link {
            number: number(block.number)?,
            hash: hash(block.hash)?,
            parent: hash(block.parent_hash)?,
            time: number(block.timestamp)?,
        };
        match at {
            At::Number(asked) if asked != link.number => Err(nonsense(&"another block was sent")),
            _ => Ok(Some(link)),
        }
    }

    /// Asks several things about the state after a block; in as few requests as the endpoint takes.
    pub(crate) async fn ask_all(
        &self,
        block: B256,
        questions: &[Question],
    ) -> Result<Vec<Bytes>, IndexError> {
        let (mut answers, mut rest) = (Vec::with_capacity(questions.len()), questions);
        while !rest.is_empty() {
            let at_once = self.at_once.load(Ordering::Relaxed).clamp(1, rest.len());
            let (some, others) = rest.split_at(at_once);
            match self.ask_some(block, some).await? {
                Some(found) => {
                    answers.extend(found);
                    rest = others;
                }
                None => self.at_once.store(at_once / 2, Ordering::Relaxed),
            }
        }
        Ok(answers)
    }

    /// The answers; `None` if it takes fewer questions in one request, or only one.
    async fn ask_some(
        &self,
        block: B256,
        questions: &[Question],
    ) -> Result<Option<Vec<Bytes>>, IndexError> {
        let what = "read a contract";
        let asked = questions.iter().enumerate().map(|(id, question)| match question {
            Question::Call { to, data } => format!(
                r#"{{"jsonrpc":"2.0","id":{id},"method":"eth_call","params":[{{"to":"{to}","data":"{data}"}},{{"blockHash":"{block}"}}]}}"#
            ),
            Question::Code(of) => format!(
                r#"{{"jsonrpc":"2.0","id":{id},"method":"eth_getCode","params":["{of}",{{"blockHash":"{block}"}}]}}"#
            ),
        });
        let body = format!("[{}]", asked.collect::<Vec<_>>().join(","));
        let text = self.post(what, body).await?;
        let nonsense = |reason: &dyn fmt::Display| self.error(what, Refusal::Nonsense, reason);
        // One answer to all of them is a refusal.
        if text.trim_ascii_start().starts_with(b"{") {
            let answer: Said<'_> =
                serde_json::from_slice(&text).map_err(|error| nonsense(&error))?;
            let refused = answer.error.unwrap_or_default();
            if questions.len() > 1 && !matches!(meaning(&refused), Refusal::TooMany(_)) {
                return Ok(None);
            }
            return Err(self.refused(what, &refused));
        }
        let said: Vec<Said<'_>> =
            serde_json::from_slice(&text).map_err(|error| nonsense(&error))?;
        let mut answers = vec![None; questions.len()];
        for one in &said {
            if let Some(error) = &one.error {
                return Err(self.refused(what, error));
            }
            let place = one.id.and_then(|id| answers.get_mut(id));
            let (Some(place), Some(result)) = (place, one.result) else { continue };
            *place = Some(Bytes::from(hex::decode(result).map_err(|error| nonsense(&error))?));
        }
        let all: Option<Vec<Bytes>> = answers.into_iter().collect();
        all.map(Some).ok_or_else(|| nonsense(&"some questions have no answer"))
    }

    /// The answer to `eth_getLogs`, for [`Endpoint::logs`] to read.
    pub(crate) async fn raw_logs(
        &self,
        from: u64,
        to: u64,
        topics: &str,
    ) -> Result<Vec<u8>, IndexError> {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"eth_getLogs","params":[{{"fromBlock":"{from:#x}","toBlock":"{to:#x}","topics":{topics}}}]}}"#
        );
        self.post("read logs", body).await
    }

    /// What an answer to `eth_getLogs` holds.
    pub(crate) fn logs<'a>(&self, text: &'a [u8]) -> Result<LogsAnswer<'a>, IndexError> {
        let what = "read logs";
        let answer: LogsAnswer<'_> = serde_json::from_slice(text)
            .map_err(|error| self.error(what, Refusal::Nonsense, error))?;
        match &answer {
            LogsAnswer { error: Some(error), .. } => Err(self.refused(what, error)),
            LogsAnswer { result: None, .. } => {
                Err(self.error(what, Refusal::Nonsense, "neither logs nor an error"))
            }
            _ => Ok(answer),
        }
    }

    fn refused(&self, what: &'static str, error: &WireError) -> IndexError {
        self.error(what, meaning(error), format_args!("{} ({})", error.message, error.code))
    }

    fn rest(&self) -> Resting {
        *self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refuse(&self, after: Option<Duration>) {
        let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        let backoff = SHORTEST_REST.saturating_mul(1 << resting.refusals.min(7));
        resting.refusals += 1;
        resting.until = Some(Instant::now() + after.unwrap_or(backoff).min(LONGEST_REST));
    }

    fn answered(&self) {
        *self.resting.lock().unwrap_or_else(PoisonError::into_inner) = Resting::default();
    }
}

/// What a refusal means, in the words of the providers that there are. The numbers are used for one thing
/// by one and for another by the next; the words are not.
pub(crate) fn meaning(error: &WireError) -> Refusal {
    let words = error.message.to_lowercase();
    let says = |parts: &[&str]| parts.iter().any(|part| words.contains(part));
    if says(&[
        "rate limit",
        "too many requests",
        "request rate",
        "request count",
        "compute units",
        "throttl",
        "capacity",
    ]) || matches!(error.code, 429 | -32016 | -32029)
    {
        return Refusal::TooMany(None);
    }
    if says(&[
        "beyond current head",
        "unknown block",
        "header not found",
        "greater than latest",
        "not yet available",
    ]) {
        return Refusal::Behind;
    }
    if says(&[
        "more than",
        "too large",
        "too many",
        "too wide",
        "too big",
        "exceed",
        "block range",
        "range limit",
        "response size",
        "limited to",
        "max results",
        "maximum",
        "query timeout",
        "timed out",
        "timeout",
    ]) || matches!(error.code, -32005 | -32602 | -32614 | -32062)
    {
        return Refusal::TooLong;
    }
    Refusal::Away
}

/// All endpoints, of which one is asked first until it refuses.
#[derive(Debug, Clone)]
pub struct Endpoints {
    all: Arc<[Arc<Endpoint>]>,
    first: Arc<AtomicUsize>,
}

impl Endpoints {
    /// These endpoints of the chain that `chain` was checked to be on. The first must be there.
    pub fn new(chain: &Chain, others: Vec<RpcUrl>) -> Result<Self, ChainError> {
        let expected = Expected {
            chain_id: Some(chain.chain_id()),
            contract: Some(chain.contract()),
            ..Expected::default()
        };
        let first = Endpoint::new(chain.url().clone(), expected)?;
        let _ = first.chain.set(chain.clone());
        let others = others.into_iter().map(|url| Endpoint::new(url, expected));
        let all = std::iter::once(Ok(first)).chain(others);
        let all = all.map(|endpoint| endpoint.map(Arc::new)).collect::<Result<_, _>>()?;
        Ok(Self { all, first: Arc::default() })
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.all.len()
    }

    /// Asks another one first from now on.
    pub(crate) fn rotate(&self) {
        self.first.fetch_add(1, Ordering::Relaxed);
    }

    /// Asks one after another until one answers. A range that is too long is told at once: another
    /// endpoint's limit is no other one.
    pub(crate) async fn ask<T, F>(
        &self,
        question: impl Fn(Arc<Endpoint>) -> F,
    ) -> Result<T, IndexError>
    where
        F: Future<Output = Result<T, IndexError>>,
    {
        let mut round = 0;
        loop {
            let first = self.first.load(Ordering::Relaxed);
            let (mut wait, mut last) = (LONGEST_REST, None);
            for n in 0..self.all.len() {
                let endpoint = &self.all[(first + n) % self.all.len()];
                if let Some(until) = endpoint.rest().until
                    && let Some(left) = until.checked_duration_since(Instant::now())
                {
                    wait = wait.min(left);
                    continue;
                }
                let error = match question(endpoint.clone()).await {
                    Ok(answer) => {
                        endpoint.answered();
                        return Ok(answer);
                    }
                    Err(error) => error,
                };
                let after = match &error {
                    IndexError::Endpoint(EndpointError { refusal, .. }) => match refusal {
                        Refusal::TooLong => return Err(error),
                        Refusal::TooMany(after) => *after,
                        _ => None,
                    },
                    IndexError::Chain(_) | IndexError::Moving { .. } => None,
                    _ => return Err(error),
                };
                tracing::debug!(%error, "an endpoint refused");
                endpoint.refuse(after);
                wait = wait.min(endpoint.rest().until.map_or(SHORTEST_REST, |until| {
                    until.saturating_duration_since(Instant::now())
                }));
                last = Some(error);
            }
            round += 1;
            if let Some(error) =
                last.filter(|error| round >= ROUNDS || matches!(error, IndexError::Moving { .. }))
            {
                return Err(error);
            }
            tokio::time::sleep(wait).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dialects_of_the_providers_are_understood() {
        let long = Refusal::TooLong;
        let many = Refusal::TooMany(None);
        for (code, message, expected) in [
            (-32005, "query returned more than 10000 results", long),
            (
                -32602,
                "Log response size exceeded. You can make eth_getLogs requests with up to a 2K block range",
                long,
            ),
            (-32602, "query exceeds max results 20000, retry with the range 1-2", long),
            (-32614, "eth_getLogs is limited to a 10,000 range", long),
            (-32000, "exceed maximum block range: 50000", long),
            (-32000, "block range is too wide", long),
            (-32062, "Block range is too large", long),
            (-32000, "query timeout exceeded", long),
            (-32602, "invalid params", long),
            (-32005, "daily request count exceeded, request rate limited", many),
            (-32005, "project ID request rate exceeded", many),
            (429, "Your app has exceeded its compute units per second capacity", many),
            (-32029, "please slow down", many),
            (-32000, "Too Many Requests", many),
            (-32600, "block range extends beyond current head block", Refusal::Behind),
            (-32000, "header not found", Refusal::Behind),
            (-32603, "internal error", Refusal::Away),
        ] {
            let error = WireError { code, message: message.to_owned() };
            assert_eq!(meaning(&error), expected, "{code} {message}");
        }
    }
}
