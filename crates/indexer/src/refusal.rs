//! What endpoints answer instead of an answer, and what it means.

use std::time::Duration;

use cofferdam_contracts::WireError;

use crate::IndexError;

/// What an endpoint's refusal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The range holds more than it answers at once: ask for less.
    TooLong,
    /// Too many requests: ask later, after this long where it says so.
    TooMany(Option<Duration>),
    /// It has not come to that block yet.
    Behind,
    /// It does not keep the state of so old a block.
    Forgotten,
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

impl IndexError {
    pub(crate) fn is_too_long(&self) -> bool {
        matches!(self, Self::Endpoint(EndpointError { refusal: Refusal::TooLong, .. }))
    }

    pub(crate) fn is_forgotten(&self) -> bool {
        matches!(self, Self::Endpoint(EndpointError { refusal: Refusal::Forgotten, .. }))
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
    if let Some((height, asked)) = out_of_range(&words) {
        return if asked > height { Refusal::Behind } else { Refusal::Forgotten };
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
        "missing trie node",
        "historical state",
        "state not available",
        "state is not available",
        "state unavailable",
        "no state available",
        "pruned",
    ]) {
        return Refusal::Forgotten;
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

/// Anvil's words for a block that is not there yet, and for one whose state it no longer keeps: how high its chain
/// is, and which block it was asked for.
fn out_of_range(words: &str) -> Option<(u64, u64)> {
    let (_, numbers) = words.split_once("block height is ")?;
    let (height, asked) = numbers.split_once(" but requested was ")?;
    Some((height.parse().ok()?, asked.parse().ok()?))
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
            (-32000, "missing trie node 5f…c1 (path ) <nil>", Refusal::Forgotten),
            (4444, "pruned history unavailable", Refusal::Forgotten),
            (-32603, "historical state 1f…00 is not available", Refusal::Forgotten),
            (
                -32602,
                "BlockOutOfRangeError: block height is 4096 but requested was 4097",
                Refusal::Behind,
            ),
            (
                -32602,
                "BlockOutOfRangeError: block height is 4096 but requested was 5",
                Refusal::Forgotten,
            ),
            (-32603, "distance to target block exceeds maximum proof window", long),
            (-32603, "internal error", Refusal::Away),
        ] {
            let error = WireError { code, message: message.to_owned() };
            assert_eq!(meaning(&error), expected, "{code} {message}");
        }
    }
}
