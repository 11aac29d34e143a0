//! One RPC endpoint: what is sent to it, and how long it is left alone.

use std::{
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use alloy::transports::http::reqwest::{Client, StatusCode, header::RETRY_AFTER};
use cofferdam_contracts::{Chain, ChainError, Expected, RpcUrl, WireError};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::OnceCell;

use crate::{
    IndexError, Refusal,
    refusal::{EndpointError, meaning},
};

/// The longest answer that is read where there is less to ask for; several are held at once.
pub(crate) const MAX_ANSWER: usize = 8 << 20;
/// The longest answer that is read at all.
pub(crate) const MAX_WHOLE_ANSWER: usize = 64 << 20;
/// Questions in one request, at most.
const AT_ONCE: usize = 512;
/// After so many requests that it took, it is tried whether it takes more again.
const PROVEN: usize = 32;
pub(crate) const SHORTEST_REST: Duration = Duration::from_millis(250);
pub(crate) const LONGEST_REST: Duration = Duration::from_secs(30);

/// One endpoint.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) url: RpcUrl,
    client: Client,
    expected: Expected,
    /// Checked on first use: an endpoint that is away at the start may come later.
    chain: OnceCell<Chain>,
    resting: Mutex<Resting>,
    /// Questions that it takes in one request.
    at_once: AtomicUsize,
    /// Requests of as many that it took one after another.
    taken: AtomicUsize,
    /// How often yet to ask about the state one by one, before it is tried again whether it takes many questions
    /// in one call.
    singly: AtomicUsize,
}

#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Resting {
    pub(crate) until: Option<Instant>,
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

impl Endpoint {
    pub(crate) fn new(url: RpcUrl, expected: Expected) -> Result<Self, ChainError> {
        let client = Client::builder()
            .timeout(expected.patience.unwrap_or(LONGEST_REST))
            .build()
            .map_err(|error| ChainError::Rpc {
            what: "cannot make an HTTP client",
            endpoint: url.to_string(),
            reason: url.redact(&error.to_string()),
        })?;
        let resting = Mutex::default();
        let (at_once, taken, singly) = (AT_ONCE.into(), 0.into(), 0.into());
        let chain = OnceCell::new();
        Ok(Self { url, client, expected, chain, resting, at_once, taken, singly })
    }

    /// The one that `chain` is reached by, which was checked already.
    pub(crate) fn of(chain: &Chain, expected: Expected) -> Result<Self, ChainError> {
        let this = Self::new(chain.url().clone(), expected)?;
        Ok(Self { chain: OnceCell::new_with(Some(chain.clone())), ..this })
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

    /// Sends a request, and passes the answer's text on part by part, as it arrives.
    pub(crate) async fn post(
        &self,
        what: &'static str,
        body: String,
        longest: usize,
        mut read: impl FnMut(&[u8]) -> Result<(), IndexError>,
    ) -> Result<(), IndexError> {
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
        let too_long = || self.error(what, Refusal::TooLong, "the answer is too long");
        if answer.content_length().is_some_and(|length| length > longest as u64) {
            return Err(too_long());
        }
        let mut length = 0;
        loop {
            let part = answer.chunk().await.map_err(away)?;
            // Some providers send their refusals with a status of their own.
            let is_json = || part.as_ref().is_some_and(|part| part.starts_with(b"{"));
            if length == 0 && !status.is_success() && !is_json() {
                return Err(self.error(what, Refusal::Away, status));
            }
            let Some(part) = part else { return Ok(()) };
            length += part.len();
            if length > longest {
                return Err(too_long());
            }
            read(&part)?;
        }
    }

    /// Asks several things, each a method and its parameters, in as few requests as the endpoint takes.
    pub(crate) async fn ask_each<T, E: fmt::Display>(
        &self,
        what: &'static str,
        questions: &[String],
        read: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Vec<Result<T, WireError>>, IndexError> {
        let (mut answers, mut rest) = (Vec::with_capacity(questions.len()), questions);
        while !rest.is_empty() {
            let at_once = self.at_once.load(Ordering::Relaxed).clamp(1, rest.len());
            let (some, others) = rest.split_at(at_once);
            match self.ask_some(what, some, &read).await? {
                Some(found) => {
                    answers.extend(found);
                    rest = others;
                    self.took();
                }
                None => {
                    self.at_once.store(at_once / 2, Ordering::Relaxed);
                    self.taken.store(0, Ordering::Relaxed);
                }
            }
        }
        Ok(answers)
    }

    /// It took a request: after enough of them it may take twice as many questions.
    fn took(&self) {
        let at_once = self.at_once.load(Ordering::Relaxed);
        if at_once < AT_ONCE && self.taken.fetch_add(1, Ordering::Relaxed) + 1 >= PROVEN {
            self.at_once.store((2 * at_once).clamp(1, AT_ONCE), Ordering::Relaxed);
            self.taken.store(0, Ordering::Relaxed);
        }
    }

    /// Whether to ask many questions about the state in one call.
    pub(crate) fn packs(&self) -> bool {
        let left = |left: usize| left.checked_sub(1);
        self.singly.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).is_err()
    }

    /// It refused a call with many questions.
    pub(crate) fn refused_packed(&self) {
        self.singly.store(PROVEN, Ordering::Relaxed);
    }

    /// The answers; `None` if it takes fewer questions in one request, or only one.
    async fn ask_some<T, E: fmt::Display>(
        &self,
        what: &'static str,
        questions: &[String],
        read: &impl Fn(&str) -> Result<T, E>,
    ) -> Result<Option<Vec<Result<T, WireError>>>, IndexError> {
        let asked = questions.iter().enumerate();
        let asked = asked.map(|(id, it)| format!(r#"{{"jsonrpc":"2.0","id":{id},{it}}}"#));
        let asked = asked.collect::<Vec<_>>().join(",");
        let several = questions.len() > 1;
        // Where batches are refused, one is not to be a batch.
        let body = if several { format!("[{asked}]") } else { asked };
        let longest = if several { MAX_ANSWER } else { MAX_WHOLE_ANSWER };
        let mut text = vec![];
        let whole = self.post(what, body, longest, |part| {
            text.extend_from_slice(part);
            Ok(())
        });
        match whole.await {
            Ok(()) => {}
            Err(error) if several && error.is_too_long() => return Ok(None),
            Err(error) => return Err(error.for_nothing_less()),
        }
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

    /// A refusal of what cannot be asked for in parts.
    pub(crate) fn refused(&self, what: &'static str, error: &WireError) -> IndexError {
        let words = format_args!("{} ({})", error.message, error.code);
        self.error(what, meaning(error), words).for_nothing_less()
    }

    pub(crate) fn rest(&self) -> Resting {
        *self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn refuse(&self, after: Option<Duration>) {
        let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        let backoff = SHORTEST_REST.saturating_mul(1 << resting.refusals.min(7));
        resting.refusals += 1;
        resting.until = Some(Instant::now() + after.unwrap_or(backoff).min(LONGEST_REST));
    }

    /// It answered. To what was on its way when something else was refused: then it rests all the same.
    pub(crate) fn answered(&self) {
        let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        if resting.until.is_none_or(|until| until <= Instant::now()) {
            *resting = Resting::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint() -> Endpoint {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let url = "http://127.0.0.1:1".parse().expect("a URL");
        Endpoint::new(url, Expected::default()).expect("an endpoint")
    }

    #[test]
    fn an_answer_ends_no_rest_that_another_question_was_told_to_keep() {
        let endpoint = endpoint();
        endpoint.refuse(Some(Duration::from_secs(20)));
        endpoint.answered();
        assert!(endpoint.rest().until.is_some_and(|until| until > Instant::now()));
        // A rest that is over is forgotten with the refusals that it came of.
        endpoint.refuse(Some(Duration::ZERO));
        endpoint.answered();
        assert_eq!((endpoint.rest().until, endpoint.rest().refusals), (None, 0));
    }

    #[test]
    fn what_was_refused_once_is_tried_again() {
        let endpoint = endpoint();
        endpoint.at_once.store(0, Ordering::Relaxed);
        for _ in 0..PROVEN * 10 {
            endpoint.took();
        }
        assert_eq!(endpoint.at_once.load(Ordering::Relaxed), AT_ONCE);

        assert!(endpoint.packs());
        endpoint.refused_packed();
        let singly = (0..PROVEN * 2).take_while(|_| !endpoint.packs()).count();
        assert_eq!(singly, PROVEN);
    }
}
