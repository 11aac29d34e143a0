//! What is accepted as a payload: exactly one JSON value (RFC 8259), no key twice in an object, no
//! lone surrogate.
//!
//! The scanner is our own because the text is kept verbatim and only judged: serde_json refuses
//! numbers beyond `f64` unless a feature changes them for every crate of the build, and what it
//! skips it does not look into.

use memchr::memchr2;
use std::{borrow::Cow, collections::BTreeSet};

/// How deep arrays and objects may nest.
pub const MAX_DEPTH: usize = 128;

/// How much of a text an error quotes.
pub(crate) const QUOTED: usize = 64;

/// Why a text is refused, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {kind}")]
pub struct JsonError {
    /// Why.
    pub kind: JsonErrorKind,
    /// Where, in bytes from 0.
    pub offset: usize,
    /// The line, from 1.
    pub line: usize,
    /// The column, in characters from 1.
    pub column: usize,
}

/// Why a text is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonErrorKind {
    /// The text ends too early.
    #[error("the text ends where {0} should follow")]
    End(&'static str),
    /// Something else stands there.
    #[error("expected {expected}, found {found:?}")]
    Unexpected {
        /// What may stand there.
        expected: &'static str,
        /// What does.
        found: char,
    },
    /// A second value, or anything else, follows.
    #[error("more text after the value")]
    Trailing,
    /// An object has the key twice, once decoded.
    #[error("duplicate key {0:?}")]
    DuplicateKey(String),
    /// A `\u` escape of half a character.
    #[error("lone surrogate \\u{0:04x}")]
    LoneSurrogate(u16),
    /// A backslash before something that is no escape.
    #[error("no such escape")]
    Escape,
    /// A control character inside a string, unescaped.
    #[error("unescaped control character U+{0:04X} in a string")]
    Control(u8),
    /// Deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} levels")]
    Depth,
    /// An object has more members than any that is expected here.
    #[error("an object of more than {0} members")]
    Members(usize),
}

/// Succeeds only for exactly one JSON value with no key twice and no lone surrogate; numbers may
/// have any size and precision.
pub fn check(text: &str) -> Result<(), JsonError> {
    check_bounded(text, usize::MAX)
}

/// Like [`check`], and refuses an object of more than `members` members: to tell a million keys apart
/// takes time and memory.
pub fn check_bounded(text: &str, members: usize) -> Result<(), JsonError> {
    let mut scanner = Scanner { text, bytes: text.as_bytes(), at: 0, members };
    let end = scanner.value(0).and_then(|()| {
        scanner.space();
        if scanner.at == text.len() { Ok(()) } else { scanner.fail(JsonErrorKind::Trailing) }
    });
    end.map_err(|(kind, offset)| {
        let before = &text[..offset];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        JsonError { kind, offset, line, column: before[line_start..].chars().count() + 1 }
    })
}

/// Whether two texts differ in nothing but white space outside strings. Both must have passed
/// [`check`]: only then can white space not separate what would otherwise be one token.
pub fn same_ignoring_whitespace(a: &str, b: &str) -> bool {
    a == b || significant(a).eq(significant(b))
}

fn significant(text: &str) -> impl Iterator<Item = u8> {
    let (mut in_string, mut escaped) = (false, false);
    text.bytes().filter(move |byte| {
        if in_string {
            in_string = escaped || *byte != b'"';
            escaped = !escaped && *byte == b'\\';
            return true;
        }
        in_string = *byte == b'"';
        !is_space(*byte)
    })
}

const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// A reason and the byte it is about, which always begins a character.
type Failure = (JsonErrorKind, usize);

struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    members: usize,
}

impl<'a> Scanner<'a> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        while self.peek().is_some_and(is_space) {
            self.at += 1;
        }
    }

    fn fail<T>(&self, kind: JsonErrorKind) -> Result<T, Failure> {
        Err((kind, self.at))
    }

    fn unexpected<T>(&self, expected: &'static str) -> Result<T, Failure> {
        self.fail(match self.text[self.at..].chars().next() {
            Some(found) => JsonErrorKind::Unexpected { expected, found },
            None => JsonErrorKind::End(expected),
        })
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn value(&mut self, depth: usize) -> Result<(), Failure> {
        self.space();
        match self.peek() {
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.array(depth + 1),
            Some(b'"') => self.string().map(drop),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal("true"),
            Some(b'f') => self.literal("false"),
            Some(b'n') => self.literal("null"),
            _ => self.unexpected("a value"),
        }
    }

    fn open(&mut self, depth: usize) -> Result<(), Failure> {
        if depth > MAX_DEPTH {
            return self.fail(JsonErrorKind::Depth);
        }
        self.at += 1;
        self.space();
        Ok(())
    }

    fn object(&mut self, depth: usize) -> Result<(), Failure> {
        self.open(depth)?;
        if self.take(b'}') {
            return Ok(());
        }
        let mut keys = BTreeSet::new();
        loop {
            let start = self.at;
            if self.peek() != Some(b'"') {
                return self.unexpected("a key");
            }
            let key = self.string()?;
            if let Some(duplicate) = keys.replace(key) {
                return Err((JsonErrorKind::DuplicateKey(abridged(&duplicate, QUOTED)), start));
            }
            if keys.len() > self.members {
                return Err((JsonErrorKind::Members(self.members), start));
            }
            self.space();
            if !self.take(b':') {
                return self.unexpected("':'");
            }
            self.value(depth)?;
            self.space();
            if self.take(b'}') {
                return Ok(());
            }
            if !self.take(b',') {
                return self.unexpected("',' or '}'");
            }
            self.space();
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), Failure> {
        self.open(depth)?;
        if self.take(b']') {
            return Ok(());
        }
        loop {
            self.value(depth)?;
            self.space();
            if self.take(b']') {
                return Ok(());
            }
            if !self.take(b',') {
                return self.unexpected("',' or ']'");
            }
        }
    }

    fn literal(&mut self, word: &'static str) -> Result<(), Failure> {
        for byte in word.bytes() {
            if !self.take(byte) {
                return self.unexpected(word);
            }
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), Failure> {
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Failure> {
        if !self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            return self.unexpected("a digit");
        }
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        Ok(())
    }

    /// The decoded string; it borrows unless there is an escape in it.
    fn string(&mut self) -> Result<Cow<'a, str>, Failure> {
        let text = self.text;
        self.at += 1;
        let mut start = self.at;
        let mut decoded: Option<String> = None;
        loop {
            match self.peek() {
                Some(b'"') => {
                    let rest = &text[start..self.at];
                    self.at += 1;
                    return Ok(match decoded {
                        None => Cow::Borrowed(rest),
                        Some(decoded) => Cow::Owned(decoded + rest),
                    });
                }
                Some(b'\\') => {
                    let decoded = decoded.get_or_insert_default();
                    decoded.push_str(&text[start..self.at]);
                    decoded.push(self.escape()?);
                    start = self.at;
                }
                Some(_) => self.plain()?,
                None => return self.fail(JsonErrorKind::End("'\"'")),
            }
        }
    }

    /// What a string has before its next escape or its end.
    fn plain(&mut self) -> Result<(), Failure> {
        let rest = &self.bytes[self.at..];
        let part = &rest[..memchr2(b'"', b'\\', rest).unwrap_or(rest.len())];
        // Most of what a receipt consists of passes here: no branch for each byte.
        if part.iter().fold(false, |any, byte| any | (*byte < 0x20)) {
            self.at += part.iter().take_while(|byte| **byte >= 0x20).count();
            return self.fail(JsonErrorKind::Control(self.bytes[self.at]));
        }
        self.at += part.len();
        Ok(())
    }

    fn escape(&mut self) -> Result<char, Failure> {
        let start = self.at;
        self.at += 1;
        let simple = match self.peek() {
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(start),
            Some(_) => return Err((JsonErrorKind::Escape, start)),
            None => return self.fail(JsonErrorKind::End("an escape")),
        };
        self.at += 1;
        Ok(simple)
    }

    fn unicode(&mut self, start: usize) -> Result<char, Failure> {
        let first = self.unit()?;
        let lone = Err((JsonErrorKind::LoneSurrogate(first), start));
        let units = if (0xd800..0xdc00).contains(&first) {
            if !self.bytes[self.at..].starts_with(b"\\u") {
                return lone;
            }
            self.at += 1;
            [first, self.unit()?]
        } else {
            [first, 0]
        };
        // With a zero behind it a lone low surrogate fails to decode, and anything else decodes to
        // itself.
        char::decode_utf16(units).next().and_then(Result::ok).map_or(lone, Ok)
    }

    /// `uXXXX`.
    fn unit(&mut self) -> Result<u16, Failure> {
        self.at += 1;
        let mut unit = 0;
        for _ in 0..4 {
            let Some(digit) = self.peek().and_then(|byte| char::from(byte).to_digit(16)) else {
                return self.unexpected("four hex digits");
            };
            unit = unit << 4 | digit as u16;
            self.at += 1;
        }
        Ok(unit)
    }
}

/// At most so many characters of what may be megabytes of somebody else's.
pub(crate) fn abridged(text: &str, most: usize) -> String {
    let mut chars = text.chars();
    let mut short: String = chars.by_ref().take(most).collect();
    if chars.next().is_some() {
        short.push('…');
    }
    short
}
