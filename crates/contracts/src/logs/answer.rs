//! The answer to `eth_getLogs`, read as it arrives.
//!
//! Most of it is hex of a known length, which is decoded where it stands: serde_json would look for each
//! string's end, and for what is no UTF-8, before anybody could. It reads whatever is not a log.

use std::fmt::Display;

use alloy::primitives::{Address, B256, hex};
use memchr::memchr;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::StreamDeserializer;

use super::{LogReader, ReadLog};
use crate::ChainError;

/// A refusal.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct WireError {
    /// Its number; what it means differs from provider to provider.
    #[serde(default)]
    pub code: i64,
    /// Its words.
    #[serde(default)]
    pub message: String,
}

/// A log as a node sends it.
#[derive(Debug, Default)]
pub(super) struct WireLog {
    pub(super) address: Option<Address>,
    /// `None` where there are none said to be none.
    pub(super) topic_count: Option<usize>,
    /// A log has four at most.
    pub(super) topics: [B256; 4],
    pub(super) data: Vec<u8>,
    pub(super) block_number: Option<u64>,
    pub(super) block_hash: Option<B256>,
    pub(super) block_timestamp: Option<u64>,
    pub(super) transaction_hash: Option<B256>,
    pub(super) log_index: Option<u64>,
    pub(super) removed: bool,
}

/// An answer of which some has arrived.
#[derive(Debug)]
pub struct LogsAnswer<'a> {
    reader: &'a LogReader,
    /// How many logs there may be.
    room: usize,
    place: Place,
    /// What was not read yet of earlier parts, and how long it must be to be tried again.
    rest: Vec<u8>,
    enough: usize,
    /// The log that is being read.
    log: WireLog,
    logs: Option<Vec<ReadLog>>,
    refusal: Option<WireError>,
}

/// What comes next in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Start,
    Member,
    Log,
    End,
}

impl<'a> LogsAnswer<'a> {
    pub(super) fn new(reader: &'a LogReader, room: usize) -> Self {
        let (rest, enough, log) = Default::default();
        Self { reader, room, place: Place::Start, rest, enough, log, logs: None, refusal: None }
    }

    /// Reads the next part of the text, wherever it ends.
    pub fn read(&mut self, mut part: &[u8]) -> Result<(), ChainError> {
        // What an earlier part began is copied, with as much of this one as it is itself, until it ends.
        while !self.rest.is_empty() {
            let begun = self.rest.len();
            let Some(more) = part.get(..self.enough.saturating_sub(begun)) else {
                self.rest.extend_from_slice(part);
                return Ok(());
            };
            self.rest.extend_from_slice(more);
            let mut text = std::mem::take(&mut self.rest);
            let read = self.steps(&text)?;
            if read < begun {
                part = &part[more.len()..];
                text.drain(..read);
            } else {
                part = &part[read - begun..];
                text.clear();
            }
            self.leave(text);
        }
        let read = self.steps(part)?;
        let mut rest = std::mem::take(&mut self.rest);
        rest.extend_from_slice(&part[read..]);
        self.leave(rest);
        Ok(())
    }

    /// Leaves what was not read for the next part.
    fn leave(&mut self, rest: Vec<u8>) {
        // Not again at each part, however small: that would take the square of a log's length.
        self.enough = 2 * rest.len();
        self.rest = rest;
    }

    /// Reads as much of a text as is there as a whole; returns how much that is.
    fn steps(&mut self, text: &[u8]) -> Result<usize, ChainError> {
        let mut cursor = Cursor { text, at: 0 };
        loop {
            let start = cursor.at;
            match self.step(&mut cursor) {
                Ok(place) => self.place = place,
                Err(Stop::End) => return Ok(start),
                Err(Stop::Wrong(error)) => return Err(*error),
            }
        }
    }

    /// The logs that are ours, in the order in which they came, or the refusal.
    pub fn done(mut self) -> Result<Result<Vec<ReadLog>, WireError>, ChainError> {
        self.enough = 0;
        self.read(&[])?;
        match (self.place, self.refusal, self.logs) {
            (Place::End, Some(refusal), _) => Ok(Err(refusal)),
            (Place::End, None, Some(logs)) => Ok(Ok(logs)),
            (Place::End, None, None) => Err(malformed(&"neither logs nor an error")),
            _ => Err(malformed(&"it ends too early")),
        }
    }

    /// Reads one thing, and what tells where it ends.
    fn step(&mut self, cursor: &mut Cursor<'_>) -> Result<Place, Stop> {
        match self.place {
            Place::Start => {
                cursor.expect(b'{')?;
                Ok(if cursor.take(b'}')? { Place::End } else { Place::Member })
            }
            Place::Member => {
                let key = cursor.key()?;
                if key == b"result" && cursor.take(b'[')? {
                    if cursor.take(b']')? {
                        self.logs.get_or_insert_default();
                        return self.after_member(cursor);
                    }
                    return Ok(Place::Log);
                }
                let refusal = match key {
                    b"error" => cursor.value()?,
                    _ => cursor.value::<IgnoredAny>().map(|_| None)?,
                };
                let next = self.after_member(cursor)?;
                self.refusal = refusal.or(self.refusal.take());
                Ok(next)
            }
            Place::Log => {
                cursor.log(&mut self.log)?;
                let next = match cursor.follows(b']')? {
                    true => Place::Log,
                    false => self.after_member(cursor)?,
                };
                let logs = self.logs.get_or_insert_with(|| Vec::with_capacity(self.room));
                logs.extend(self.reader.read(&self.log)?);
                Ok(next)
            }
            Place::End => {
                cursor.peek()?;
                cursor.wrong(&"something follows the answer")
            }
        }
    }

    fn after_member(&self, cursor: &mut Cursor<'_>) -> Result<Place, Stop> {
        Ok(if cursor.follows(b'}')? { Place::Member } else { Place::End })
    }
}

/// The logs of an array that are ours, in the order in which they came.
pub(super) fn logs(reader: &LogReader, text: &str) -> Result<Vec<ReadLog>, ChainError> {
    let (mut cursor, mut log) = (Cursor { text: text.as_bytes(), at: 0 }, WireLog::default());
    let mut logs = vec![];
    let read = cursor.elements(|cursor| {
        cursor.log(&mut log)?;
        logs.extend(reader.read(&log)?);
        Ok(())
    });
    match read {
        Ok(()) => Ok(logs),
        Err(Stop::End) => Err(malformed(&"it ends too early")),
        Err(Stop::Wrong(error)) => Err(*error),
    }
}

fn malformed(reason: &dyn Display) -> ChainError {
    ChainError::Malformed { what: "an answer", reason: reason.to_string() }
}

/// Why reading stops.
#[derive(Debug)]
enum Stop {
    /// The text ends: more of it may come.
    End,
    Wrong(Box<ChainError>),
}

impl From<ChainError> for Stop {
    fn from(error: ChainError) -> Self {
        Self::Wrong(error.into())
    }
}

/// Whether an error is about the last byte: to serde_json half a number is a wrong one.
fn is_at_end(error: &serde_json::Error, text: &[u8]) -> bool {
    let last_line = text.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    let lines = 1 + text.iter().filter(|byte| **byte == b'\n').count();
    (error.line(), error.column()) >= (lines, last_line.len())
}

/// Where the next quote is, which is near: sooner looked for byte by byte.
fn in_short(text: &[u8]) -> Option<usize> {
    text.iter().position(|byte| *byte == b'"')
}

/// A place in a JSON text. Whatever it reads is there as a whole, or nothing is.
struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// The next byte that is no white space.
    fn peek(&mut self) -> Result<u8, Stop> {
        while let Some(byte) = self.text.get(self.at) {
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Ok(*byte);
            }
            self.at += 1;
        }
        Err(Stop::End)
    }

    fn take(&mut self, byte: u8) -> Result<bool, Stop> {
        let found = self.peek()? == byte;
        self.at += usize::from(found);
        Ok(found)
    }

    fn expect(&mut self, byte: u8) -> Result<(), Stop> {
        if self.take(byte)? { Ok(()) } else { self.wrong(&format_args!("no {}", char::from(byte))) }
    }

    fn wrong<T>(&self, reason: &dyn Display) -> Result<T, Stop> {
        Err(malformed(&format_args!("{reason} at byte {}", self.at)).into())
    }

    /// Whether another one follows in what `close` ends.
    fn follows(&mut self, close: u8) -> Result<bool, Stop> {
        Ok(self.take(b',')? || self.expect(close).map(|()| false)?)
    }

    fn elements(
        &mut self,
        mut each: impl FnMut(&mut Self) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        self.expect(b'[')?;
        if self.take(b']')? {
            return Ok(());
        }
        loop {
            each(self)?;
            if !self.follows(b']')? {
                return Ok(());
            }
        }
    }

    fn members(
        &mut self,
        mut each: impl FnMut(&mut Self, &[u8]) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        self.expect(b'{')?;
        if self.take(b'}')? {
            return Ok(());
        }
        loop {
            let key = self.key()?;
            each(self, key)?;
            if !self.follows(b'}')? {
                return Ok(());
            }
        }
    }

    /// A string up to the next quote, which `find` finds: nobody escapes anything in hex, or in a name that
    /// is known here.
    fn string(&mut self, find: impl FnOnce(&[u8]) -> Option<usize>) -> Result<&'a [u8], Stop> {
        self.expect(b'"')?;
        let rest = &self.text[self.at..];
        let end = find(rest).ok_or(Stop::End)?;
        self.at += end + 1;
        Ok(&rest[..end])
    }

    fn key(&mut self) -> Result<&'a [u8], Stop> {
        let key = self.string(in_short)?;
        self.expect(b':')?;
        Ok(key)
    }

    /// Anything, as serde_json reads it.
    fn value<T: Deserialize<'a>>(&mut self) -> Result<T, Stop> {
        let rest = &self.text[self.at..];
        let mut values: StreamDeserializer<'_, _, T> =
            serde_json::Deserializer::from_slice(rest).into_iter();
        match values.next() {
            Some(Ok(value)) => {
                self.at += values.byte_offset();
                Ok(value)
            }
            Some(Err(error)) if !error.is_eof() && !is_at_end(&error, rest) => self.wrong(&error),
            _ => Err(Stop::End),
        }
    }

    /// Hex of so many bytes.
    fn word<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        self.peek()?;
        let mut bytes = [0; N];
        match self.text.get(self.at..self.at + 2 * N + 4) {
            Some([b'"', b'0', b'x', digits @ .., b'"'])
                if hex::decode_to_slice(digits, &mut bytes).is_ok() =>
            {
                self.at += 2 * N + 4;
                Ok(bytes)
            }
            Some(_) => self.wrong(&format_args!("no hex of {N} bytes")),
            None => Err(Stop::End),
        }
    }

    /// Hex of however many bytes.
    fn bytes(&mut self, bytes: &mut Vec<u8>) -> Result<(), Stop> {
        let Some(digits) = self.string(|text| memchr(b'"', text))?.strip_prefix(b"0x") else {
            return self.wrong(&"no hex before this");
        };
        bytes.resize(digits.len() / 2, 0);
        hex::decode_to_slice(digits, bytes).or_else(|error| self.wrong(&error))
    }

    fn number(&mut self) -> Result<u64, Stop> {
        let digits =
            self.string(in_short)?.strip_prefix(b"0x").filter(|it| (1..=16).contains(&it.len()));
        let number = digits.and_then(|digits| {
            digits.iter().try_fold(0, |number, digit| {
                Some(number << 4 | u64::from(char::from(*digit).to_digit(16)?))
            })
        });
        number.map_or_else(|| self.wrong(&"no number before this"), Ok)
    }

    /// What may be null.
    fn maybe<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Stop>,
    ) -> Result<Option<T>, Stop> {
        if self.peek()? == b'n' {
            self.literal(b"null").map(|_| None)
        } else {
            read(self).map(Some)
        }
    }

    fn truth(&mut self) -> Result<bool, Stop> {
        match self.peek()? {
            b't' => self.literal(b"true").map(|()| true),
            _ => self.literal(b"false").map(|()| false),
        }
    }

    fn literal(&mut self, literal: &[u8]) -> Result<(), Stop> {
        match self.text.get(self.at..self.at + literal.len()) {
            Some(text) if text == literal => self.at += literal.len(),
            Some(_) => return self.wrong(&format_args!("no {}", literal.escape_ascii())),
            None => return Err(Stop::End),
        }
        Ok(())
    }

    fn log(&mut self, log: &mut WireLog) -> Result<(), Stop> {
        let mut data = std::mem::take(&mut log.data);
        data.clear();
        *log = WireLog { data, ..WireLog::default() };
        self.members(|this, key| {
            match key {
                b"address" => log.address = Some(this.word()?.into()),
                b"topics" => {
                    let mut count = 0;
                    this.elements(|this| {
                        let Some(topic) = log.topics.get_mut(count) else {
                            return this.wrong(&"a fifth topic");
                        };
                        (*topic, count) = (this.word()?.into(), count + 1);
                        Ok(())
                    })?;
                    log.topic_count = Some(count);
                }
                b"data" => this.bytes(&mut log.data)?,
                b"blockNumber" => log.block_number = this.maybe(Self::number)?,
                b"blockHash" => log.block_hash = this.maybe(Self::word)?.map(B256::new),
                b"blockTimestamp" => log.block_timestamp = this.maybe(Self::number)?,
                b"transactionHash" => log.transaction_hash = this.maybe(Self::word)?.map(B256::new),
                b"logIndex" => log.log_index = this.maybe(Self::number)?,
                b"transactionIndex" => drop(this.maybe(Self::number)?),
                b"removed" => log.removed = this.truth()?,
                _ => drop(this.value::<IgnoredAny>()?),
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::Deployment;
    use cofferdam_core::mirror::MirrorEvent;
    use serde_json::{Value, json};

    fn log(index: u64) -> Value {
        let event = MirrorEvent::named("AnchorerSet").expect("an event");
        let (tenant, anchorer) = (Address::repeat_byte(7), Address::repeat_byte(8));
        json!({
            "address": Deployment::default().audit_anchor,
            "topics": [event.topic(), tenant.into_word(), anchorer.into_word()],
            "data": B256::with_last_byte(5), "blockNumber": "0x10", "blockHash": B256::repeat_byte(1),
            "blockTimestamp": "0x20", "transactionHash": B256::repeat_byte(2),
            "transactionIndex": "0x0", "logIndex": format!("{index:#x}"), "removed": false,
        })
    }

    /// The indices of the logs that are ours, or the refusal's words.
    fn read<'a>(
        parts: impl IntoIterator<Item = &'a str>,
    ) -> Result<Result<Vec<u64>, String>, ChainError> {
        let reader = LogReader::new(Deployment::default());
        let mut answer = reader.answer(2);
        for part in parts {
            answer.read(part.as_bytes())?;
        }
        let indices =
            |logs: Vec<ReadLog>| logs.iter().map(|log| log.row.position.log_index).collect();
        Ok(answer.done()?.map(indices).map_err(|refusal| refusal.message))
    }

    #[test]
    fn an_answer_is_the_same_wherever_its_parts_end() {
        let strange = json!({ "a \" [{\\": [1.5e3, null, { "result": ["]"] }] });
        let mut other = log(4);
        other["later"] = strange.clone();
        other["blockTimestamp"] = Value::Null;
        let logs = json!([log(3), other]);
        let (logs, strange) = (logs, strange.to_string());
        let spaced = serde_json::to_string_pretty(&json!({ "result": logs })).expect("JSON");
        for (text, expected) in [
            (format!(r#"{{"jsonrpc":"2.0","id":12,"result":{logs}}}"#), Ok(vec![3, 4])),
            (format!(r#"{{"result":{logs},"error":null,"more":{strange}}}"#), Ok(vec![3, 4])),
            (format!(" {spaced}\n"), Ok(vec![3, 4])),
            (r#"{"id":1,"result":[]}"#.to_owned(), Ok(vec![])),
            (r#"{"id":1,"result":[ ] , "x":2}"#.to_owned(), Ok(vec![])),
            (
                r#"{"result":null,"error":{"code":-32005,"message":"a \"lot\"","data":[]},"id":1}"#
                    .to_owned(),
                Err("a \"lot\"".to_owned()),
            ),
        ] {
            assert_eq!(read([text.as_str()]).expect(&text), expected, "{text}");
            let bytes: Vec<_> = (0..text.len()).map(|at| &text[at..at + 1]).collect();
            assert_eq!(read(bytes).expect(&text), expected, "{text}");
            for at in 0..text.len() {
                let (first, second) = text.split_at(at);
                assert_eq!(read([first, second]).expect(&text), expected, "{first} | {second}");
                // What ends early is no answer.
                if !text[at..].trim().is_empty() {
                    read([first]).expect_err(first);
                }
            }
        }
    }

    #[test]
    fn a_long_log_in_small_parts_is_not_read_over_and_over() {
        let mut long = log(3);
        long["later"] = "x".repeat(8 << 20).into();
        let text = json!({ "result": [long] }).to_string();
        let parts =
            text.as_bytes().chunks(64).map(|part| std::str::from_utf8(part).expect("ASCII"));
        assert_eq!(read(parts).expect("readable"), Ok(vec![3]));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let answer = |log: &str| format!(r#"{{"id":1,"result":[{log}]}}"#);
        let good = log(3).to_string();
        assert_eq!(read([answer(&good).as_str()]).expect("readable"), Ok(vec![3]));
        let hash = B256::repeat_byte(1).to_string();
        for text in [
            "[]".to_owned(),
            "{}".to_owned(),
            r#"{"id":1}"#.to_owned(),
            r#"{"result":null}"#.to_owned(),
            r#"{"result":{}}"#.to_owned(),
            r#"{"error":"no"}"#.to_owned(),
            answer("") + "x",
            answer("1"),
            answer("null"),
            answer(&format!("{good},")),
            answer(&format!("{good} {good}")),
            answer(&good).replace("\"id\":1,", "\"id\":1 2,"),
            answer(&good).replace("\"id\":1,", "\"id\":1,,"),
            answer(&good).replace(&hash, &hash[..64]),
            answer(&good).replace(&hash, &format!("{hash}01")),
            answer(&good).replace(&hash, &hash.replace('1', "g")),
            answer(&good).replace(&hash, &hash[2..]),
            answer(&good).replace("0x3", "3"),
            answer(&good).replace("0x3", "0x"),
            answer(&good).replace("0x3", "0x10000000000000000"),
            answer(&good).replace("false", "\"false\""),
            answer(&good).replace("false", "falsy"),
            answer(&good).replace("false", "truth"),
            answer(&good).replace("\"0x20\"", "nil."),
            answer(&good).replace("\"address\"", "\"addr\\u0065ss\""),
            answer(&good).replace("\"topics\"", "\"topic\""),
            answer(&good).replace("\"data\"", "\"dat\""),
            answer(&good).replace("\"topics\":[", &format!("\"topics\":[\"{hash}\",\"{hash}\",")),
        ] {
            read([text.as_str()]).expect_err(&text);
        }
    }
}
