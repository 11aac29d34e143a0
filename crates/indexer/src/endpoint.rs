//! RPC endpoints: one after another, each left alone for a while after it refused.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use alloy::{
    primitives::{Address, B256, Bytes, hex, keccak256},
    sol_types::SolCall,
    transports::http::reqwest::{Client, StatusCode, header::RETRY_AFTER},
};
use cofferdam_contracts::{Chain, ChainError, Expected, LogsAnswer, RpcUrl, WireError, WireLog};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::OnceCell;

use crate::{IndexError, packed};

/// The longest answer that is read where there is less to ask for; several are held at once.
const MAX_ANSWER: usize = 8 << 20;
/// The longest answer that is read at all.
const MAX_WHOLE_ANSWER: usize = 64 << 20;
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
    /// Whether it takes many questions about the state in one call.
    packs: AtomicBool,
}

#[derive(Debug, Default, Clone, Copy)]
struct Resting {
    until: Option<Instant>,
    refusals: u32,
}

/// An answer, one of several or alone.
#[derive(Deserialize)]
struct Said<'a> {
    #[serde(default)]
    id: Option<usize>,
    /// None of `null` too.
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<WireError>,
}

/// Which state.
#[derive(Debug, Clone, Copy)]
pub(crate) enum State {
    Newest,
    After { number: u64, hash: B256 },
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newest => f.write_str(r#""latest""#),
            Self::After { hash, .. } => write!(f, r#"{{"blockHash":"{hash}"}}"#),
        }
    }
}

/// Something about the state.
#[derive(Debug, Clone)]
pub(crate) enum Question {
    /// What a call returns.
    Call { to: Address, data: Bytes },
    /// The hash of the code at an address.
    CodeHash(Address),
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
        let (at_once, packs) = (AT_ONCE.into(), true.into());
        Ok(Self { url, client, expected, chain: OnceCell::new(), resting, at_once, packs })
    }

    /// Sees to it that this was checked to be the right chain.
    async fn check(&self) -> Result<(), IndexError> {
        let connect = || Chain::connect(&self.url, self.expected);
        self.chain.get_or_try_init(connect).await?;
        Ok(())
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
    async fn post(
        &self,
        what: &'static str,
        body: String,
        longest: usize,
    ) -> Result<Vec<u8>, IndexError> {
        self.check().await?;
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
        let too_long = || self.error(what, Refusal::TooLong, "the answer is too long");
        if length > longest as u64 {
            return Err(too_long());
        }
        let mut text = Vec::with_capacity(length as usize);
        while let Some(chunk) = answer.chunk().await.map_err(away)? {
            if text.len() + chunk.len() > longest {
                return Err(too_long());
            }
            text.extend_from_slice(&chunk);
        }
        // Some providers send their refusals with a status of their own.
        if !status.is_success() && !text.starts_with(b"{") {
            return Err(self.error(what, Refusal::Away, status));
        }
        Ok(text)
    }

    /// Asks several things, each a method and its parameters, in as few requests as the endpoint takes.
    async fn ask_each<T>(
        &self,
        what: &'static str,
        questions: &[String],
        read: impl Fn(&str) -> Result<T, serde_json::Error>,
    ) -> Result<Vec<Result<T, WireError>>, IndexError> {
        let (mut answers, mut rest) = (Vec::with_capacity(questions.len()), questions);
        while !rest.is_empty() {
            let at_once = self.at_once.load(Ordering::Relaxed).clamp(1, rest.len());
            let (some, others) = rest.split_at(at_once);
            match self.ask_some(what, some, &read).await? {
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
    async fn ask_some<T>(
        &self,
        what: &'static str,
        questions: &[String],
        read: &impl Fn(&str) -> Result<T, serde_json::Error>,
    ) -> Result<Option<Vec<Result<T, WireError>>>, IndexError> {
        let asked = questions.iter().enumerate();
        let asked = asked.map(|(id, it)| format!(r#"{{"jsonrpc":"2.0","id":{id},{it}}}"#));
        let asked = asked.collect::<Vec<_>>().join(",");
        let several = questions.len() > 1;
        // Where batches are refused, one is not to be a batch.
        let body = if several { format!("[{asked}]") } else { asked };
        let longest = if several { MAX_ANSWER } else { MAX_WHOLE_ANSWER };
        let text = match self.post(what, body, longest).await {
            Ok(text) => text,
            Err(error) if several && error.is_too_long() => return Ok(None),
            Err(error) => return Err(error.for_nothing_less()),
        };
        let nonsense = |reason: &dyn fmt::Display| self.error(what, Refusal::Nonsense, reason);
        let alone = text.trim_ascii_start().starts_with(b"{");
        let said: Vec<Said<'_>> = if alone {
            vec![serde_json::from_slice(&text).map_err(|error| nonsense(&error))?]
        } else {
            serde_json::from_slice(&text).map_err(|error| nonsense(&error))?
        };
        if alone && several {
            // One answer to all of them is a refusal.
            let refused = said.into_iter().next().and_then(|it| it.error).unwrap_or_default();
            return match meaning(&refused) {
                Refusal::TooMany(_) => Err(self.refused(what, &refused)),
                _ => Ok(None),
            };
        }
        let mut answers: Vec<_> = questions.iter().map(|_| None).collect();
        for one in said {
            let id = if several { one.id } else { Some(0) };
            let Some(place) = id.and_then(|id| answers.get_mut(id)) else { continue };
            *place = Some(match one.error {
                Some(error) => Err(error),
                None => {
                    let result = one.result.map_or("null", RawValue::get);
                    Ok(read(result).map_err(|error| nonsense(&error))?)
                }
            });
        }
        let all: Option<Vec<_>> = answers.into_iter().collect();
        all.map(Some).ok_or_else(|| nonsense(&"some questions have no answer"))
    }

    /// The headers of blocks, each `None` where the chain has none (yet), or as it was refused.
    pub(crate) async fn headers(
        &self,
        of: &[At],
    ) -> Result<Vec<Result<Option<Link>, WireError>>, IndexError> {
        let question =
            |at: &At| format!(r#""method":"eth_getBlockByNumber","params":["{at}",false]"#);
        let questions: Vec<_> = of.iter().map(question).collect();
        let read =
            |text: &str| serde_json::from_str::<Option<WireBlock<'_>>>(text)?.map(link).transpose();
        let found = self.ask_each("read a block", &questions, read).await?;
        for (at, link) in of.iter().zip(&found) {
            if let (At::Number(asked), Ok(Some(link))) = (at, link)
                && *asked != link.number
            {
                return Err(self.error(
                    "read a block",
                    Refusal::Nonsense,
                    "another block was sent",
                ));
            }
        }
        Ok(found)
    }

    /// The header of a block; `None` when the chain has none (yet).
    pub(crate) async fn link(&self, at: At) -> Result<Option<Link>, IndexError> {
        let link = self.headers(&[at]).await?.pop().unwrap_or(Ok(None));
        link.map_err(|error| self.refused("read a block", &error))
    }

    /// The headers of blocks that should all be there.
    pub(crate) async fn links(
        &self,
        numbers: impl IntoIterator<Item = u64>,
    ) -> Result<Vec<Link>, IndexError> {
        let numbers: Vec<u64> = numbers.into_iter().collect();
        let of: Vec<_> = numbers.iter().copied().map(At::Number).collect();
        let found = numbers.into_iter().zip(self.headers(&of).await?);
        let links = found.map(|(number, link)| match link {
            Ok(link) => link.ok_or(IndexError::Moving { number }),
            Err(error) => Err(self.refused("read a block", &error)),
        });
        links.collect()
    }

    /// Asks several things about a state: in one call, where the endpoint takes that.
    pub(crate) async fn ask_all(
        &self,
        at: State,
        questions: &[Question],
    ) -> Result<Vec<Bytes>, IndexError> {
        if self.packs.load(Ordering::Relaxed) {
            match self.ask_packed(at, questions).await? {
                Some(answers) => return Ok(answers),
                None => self.packs.store(false, Ordering::Relaxed),
            }
        }
        self.ask_singly(at, questions).await
    }

    /// The answers from as few calls as they fit in; `None` if the endpoint refuses such calls.
    pub(crate) async fn ask_packed(
        &self,
        at: State,
        questions: &[Question],
    ) -> Result<Option<Vec<Bytes>>, IndexError> {
        let chunks = questions.chunks(packed::AT_ONCE);
        let asked = chunks.clone().map(|some| {
            let data = Bytes::from(packed::call(some));
            format!(r#""method":"eth_call","params":[{{"data":"{data}"}},{at}]"#)
        });
        let what = "read a contract";
        let said = self.ask_each(what, &asked.collect::<Vec<_>>(), bytes).await?;
        let mut answers = Vec::with_capacity(questions.len());
        for (some, said) in chunks.zip(said) {
            let found = match said {
                Ok(said) => packed::answers(&said, some.len()),
                Err(error) if matches!(meaning(&error), Refusal::TooMany(_) | Refusal::Behind) => {
                    return Err(self.refused_at(at, &error));
                }
                Err(error) => {
                    tracing::debug!(endpoint = %self.url, error.message, "asking one by one");
                    None
                }
            };
            let Some(found) = found else { return Ok(None) };
            answers.extend(found);
        }
        Ok(Some(answers))
    }

    /// The answers, each to a question of its own.
    pub(crate) async fn ask_singly(
        &self,
        at: State,
        questions: &[Question],
    ) -> Result<Vec<Bytes>, IndexError> {
        let asked = questions.iter().map(|question| match question {
            Question::Call { to, data } => {
                format!(r#""method":"eth_call","params":[{{"to":"{to}","data":"{data}"}},{at}]"#)
            }
            Question::CodeHash(of) => format!(r#""method":"eth_getCode","params":["{of}",{at}]"#),
        });
        let asked: Vec<_> = asked.collect();
        let said = self.ask_each("read a contract", &asked, bytes).await?;
        let answers = questions.iter().zip(said).map(|(question, said)| match (question, said) {
            (Question::Call { .. }, Ok(answer)) => Ok(answer),
            (Question::CodeHash(_), Ok(code)) => Ok(keccak256(code).into()),
            (_, Err(error)) => Err(self.refused_at(at, &error)),
        });
        answers.collect()
    }

    /// A refusal to tell of a state. That a block is not there which was just read is no reason to ask again:
    /// it went, or whoever answers has not come to it.
    fn refused_at(&self, at: State, error: &WireError) -> IndexError {
        match at {
            State::After { number, .. } if meaning(error) == Refusal::Behind => {
                IndexError::Moving { number }
            }
            _ => self.refused("read a contract", error),
        }
    }

    /// The answer to `eth_getLogs` of a range, for [`Endpoint::logs`] to read.
    pub(crate) async fn raw_logs(
        &self,
        from: u64,
        to: u64,
        topics: &str,
    ) -> Result<Vec<u8>, IndexError> {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"eth_getLogs","params":[{{"fromBlock":"{from:#x}","toBlock":"{to:#x}","topics":{topics}}}]}}"#
        );
        let longest = if from == to { MAX_WHOLE_ANSWER } else { MAX_ANSWER };
        self.post("read logs", body, longest).await
    }

    /// The logs of these very blocks: whoever does not have one of them says so, and does not answer that
    /// there are none. What there is in each goes to `read`.
    pub(crate) async fn logs_of<T>(
        &self,
        blocks: &[Link],
        topics: &str,
        read: impl Fn(&[WireLog<'_>]) -> Result<T, IndexError>,
    ) -> Result<Vec<T>, IndexError> {
        let asked = blocks.iter().map(|Link { hash, .. }| {
            format!(
                r#""method":"eth_getLogs","params":[{{"blockHash":"{hash}","topics":{topics}}}]"#
            )
        });
        let asked: Vec<_> = asked.collect();
        let what = "read logs";
        let said = self.ask_each(what, &asked, |text| {
            serde_json::from_str::<Vec<WireLog<'_>>>(text).map(|logs| read(&logs))
        });
        let said = said.await?;
        let logs = blocks.iter().zip(said).map(|(block, said)| match said {
            Ok(logs) => logs,
            Err(error) if meaning(&error) == Refusal::Behind => {
                Err(IndexError::Moving { number: block.number })
            }
            Err(error) => Err(self.refused(what, &error)),
        });
        logs.collect()
    }

    /// What an answer to `eth_getLogs` holds.
    pub(crate) fn logs<'a>(&self, text: &'a [u8]) -> Result<LogsAnswer<'a>, IndexError> {
        let what = "read logs";
        let answer: LogsAnswer<'_> = serde_json::from_slice(text)
            .map_err(|error| self.error(what, Refusal::Nonsense, error))?;
        match &answer {
            LogsAnswer { error: Some(error), .. } => {
                let words = format_args!("{} ({})", error.message, error.code);
                Err(self.error(what, meaning(error), words))
            }
            LogsAnswer { result: None, .. } => {
                Err(self.error(what, Refusal::Nonsense, "neither logs nor an error"))
            }
            _ => Ok(answer),
        }
    }

    /// A refusal of what cannot be asked for in parts.
    pub(crate) fn refused(&self, what: &'static str, error: &WireError) -> IndexError {
        let words = format_args!("{} ({})", error.message, error.code);
        self.error(what, meaning(error), words).for_nothing_less()
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

impl IndexError {
    pub(crate) fn is_too_long(&self) -> bool {
        matches!(self, Self::Endpoint(EndpointError { refusal: Refusal::TooLong, .. }))
    }

    /// Where there is nothing less to ask for, too long is a refusal like any: another endpoint may answer.
    pub(crate) fn for_nothing_less(mut self) -> Self {
        if let Self::Endpoint(EndpointError { refusal, .. }) = &mut self
            && *refusal == Refusal::TooLong
        {
            *refusal = Refusal::Away;
        }
        self
    }
}

/// A header as it was sent.
fn link(block: WireBlock<'_>) -> Result<Link, serde_json::Error> {
    use serde::de::Error;
    let number = |text: &str| {
        u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).map_err(Error::custom)
    };
    let hash = |text: &str| -> Result<B256, serde_json::Error> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(Error::custom)?;
        Ok(bytes.into())
    };
    Ok(Link {
        number: number(block.number)?,
        hash: hash(block.hash)?,
        parent: hash(block.parent_hash)?,
        time: number(block.timestamp)?,
    })
}

/// Bytes as they were sent.
fn bytes(text: &str) -> Result<Bytes, serde_json::Error> {
    let text: &str = serde_json::from_str(text)?;
    hex::decode(text).map(Bytes::from).map_err(serde::de::Error::custom)
}

/// Whether an endpoint refuses a tag because its chain has none of that name (yet).
pub(crate) fn is_no_tag(error: &WireError) -> bool {
    let words = error.message.to_lowercase();
    let says = ["not supported", "unsupported", "block not found", "invalid"];
    matches!(error.code, -32602 | -39001) && !matches!(meaning(error), Refusal::TooMany(_))
        || meaning(error) == Refusal::Behind
        || says.iter().any(|part| words.contains(part))
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
        "block not found",
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
                    IndexError::Chain(_) => None,
                    // The chain moved: that is nobody's refusal.
                    IndexError::Moving { .. } => {
                        last = Some(error);
                        continue;
                    }
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
