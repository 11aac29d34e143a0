//! Cuts a stream of JSON into its records, verbatim, in memory that depends on neither the file's
//! length nor a line's.
//!
//! Three layouts are read, in any mixture: values one after another (one a line, or indented),
//! arrays of values, and an envelope: an object with one array member of a given name, as in
//! `{"Records":[…]}`. The splitter knows only where a value ends; whether the value's own text is
//! strict JSON is for [`cofferdam_core::json::check`], which sees every text cut here.

mod scanner;

use std::io::{self, Read};

use scanner::{Scanner, Step, is_white_space};

/// The most bytes one record may take. A payload is at most 1 MiB; the rest is room for the other
/// fields and for escapes.
pub(super) const RECORD_LIMIT: usize = 2 * 1024 * 1024;

/// How many bytes are asked of the input at a time.
const CHUNK: usize = 64 * 1024;

/// The bytes of a UTF-8 byte order mark.
const BYTE_ORDER_MARK: [u8; 3] = [0xEF, 0xBB, 0xBF];

/// A place in the unpacked text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    /// Line, from 1.
    pub(super) line: u64,
    /// Character within the line, from 1.
    pub(super) column: u64,
}

impl Position {
    /// The place that follows `bytes` when they begin here.
    pub(super) fn after(mut self, bytes: &[u8]) -> Self {
        // One pass that the compiler vectorises; only a text with line ends needs the second.
        let lines = bytes.iter().filter(|&&byte| byte == b'\n').count();
        let mut last_line = bytes;
        if lines > 0 {
            let tail = bytes.iter().rev().take_while(|&&byte| byte != b'\n').count();
            last_line = &bytes[bytes.len() - tail..];
            self.line += lines as u64;
            self.column = 1;
        }
        self.column += last_line.iter().filter(|&&byte| begins_character(byte)).count() as u64;
        self
    }
}

/// What the splitter found; [`Splitter::text`] holds its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    /// A record that begins here.
    Record(Position),
    /// An envelope that began here, without the records it held.
    Envelope(Position),
}

/// Why the text cannot be cut any further.
#[derive(Debug)]
pub(super) enum SplitError {
    /// The input failed.
    Read(Position, io::Error),
    /// The value that begins here is longer than the limit; its first bytes are in `text`.
    TooLong(Position),
    /// The input ended inside the value that begins here; what came of it is in `text`.
    CutInRecord(Position),
    /// The input ended here, with an array or envelope still open.
    CutInArray(Position),
    /// A byte stands here that cannot.
    Unexpected(Position, u8, Expected),
}

/// What may stand where an unexpected byte stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    /// The first byte of the file's JSON.
    Start,
    /// A value between others.
    Value,
    /// An array's value.
    Element,
    /// A comma or the array's end.
    CommaOrEnd,
}

impl Expected {
    /// What to tell the reader of a log in which `byte` stands here instead.
    pub(super) fn advice(self, byte: u8) -> &'static str {
        match (self, byte) {
            (Self::Start, 0xFE | 0xFF) => "this looks like UTF-16; convert the file to UTF-8",
            (Self::Start, _) => "the file is neither JSON text nor gzipped JSON text",
            (Self::Value, b',') => "records one after another are not separated by commas",
            (Self::Value, _) => "only another JSON record may follow here",
            (Self::Element, _) => "a record of the array should stand here",
            (Self::CommaOrEnd, _) => "',' or ']' should follow the record",
        }
    }
}

/// What the next byte belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Outside all values; nothing read yet.
    Start,
    /// Outside all values.
    Between,
    /// Right after `[`.
    ArrayStart,
    /// After a comma of an array.
    ArrayValue,
    /// After a value of an array.
    ArrayNext,
    /// Inside an envelope, past its array.
    Envelope,
}

/// The splitter: see the module's documentation.
pub(super) struct Splitter<R> {
    input: R,
    member: Option<String>,
    limit: usize,
    chunk: Box<[u8]>,
    at: usize,
    end: usize,
    position: Position,
    place: Place,
    text: Vec<u8>,
    envelope: Option<OpenEnvelope>,
}

/// An envelope whose array is being read.
struct OpenEnvelope {
    start: Position,
    text: Vec<u8>,
    scanner: Scanner,
}

impl<R: Read> Splitter<R> {
    /// Splits `input`; `member` names the array member that makes an object an envelope.
    pub(super) fn new(input: R, member: Option<&str>) -> Self {
        Self::with_limits(input, member, CHUNK, RECORD_LIMIT)
    }

    /// [`Splitter::new`] with its own chunk size and record limit.
    pub(super) fn with_limits(input: R, member: Option<&str>, chunk: usize, limit: usize) -> Self {
        Self {
            input,
            member: member.map(str::to_owned),
            limit,
            chunk: vec![0; chunk].into_boxed_slice(),
            at: 0,
            end: 0,
            position: Position { line: 1, column: 1 },
            place: Place::Start,
            text: Vec::new(),
            envelope: None,
        }
    }

    /// The bytes of the last piece, or what was held of the value that an error cut short.
    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    /// The next piece, or `None` at the end of a complete input.
    pub(super) fn next_piece(&mut self) -> Result<Option<Piece>, SplitError> {
        self.text.clear();
        loop {
            if self.place == Place::Envelope
                && let Some(envelope) = self.envelope.take()
            {
                return self.close(envelope).map(Some);
            }
            let Some(byte) = self.skip_white_space()? else {
                return match self.place {
                    Place::Start | Place::Between => Ok(None),
                    _ => Err(SplitError::CutInArray(self.position)),
                };
            };
            match (self.place, byte) {
                (Place::Start | Place::Between, b'[') => self.bump(Place::ArrayStart),
                (Place::ArrayNext, b',') => self.bump(Place::ArrayValue),
                (Place::ArrayStart | Place::ArrayNext, b']') => match &mut self.envelope {
                    None => self.bump(Place::Between),
                    Some(envelope) => {
                        envelope.text.push(b']');
                        self.bump(Place::Envelope);
                    }
                },
                (Place::Start | Place::Between | Place::ArrayStart | Place::ArrayValue, byte)
                    if begins_value(byte) =>
                {
                    if let Some(start) = self.value(byte)? {
                        return Ok(Some(Piece::Record(start)));
                    }
                }
                (place, byte) => {
                    let expected = match place {
                        Place::Start => Expected::Start,
                        Place::Between | Place::Envelope => Expected::Value,
                        Place::ArrayStart | Place::ArrayValue => Expected::Element,
                        Place::ArrayNext => Expected::CommaOrEnd,
                    };
                    return Err(SplitError::Unexpected(self.position, byte, expected));
                }
            }
        }
    }

    /// Reads the value that begins with `first`; `None` when it turned out to be an envelope.
    fn value(&mut self, first: u8) -> Result<Option<Position>, SplitError> {
        let start = self.position;
        let in_array = matches!(self.place, Place::ArrayStart | Place::ArrayValue);
        let member = if in_array || first != b'{' { None } else { self.member.clone() };
        let mut scanner = Scanner::new(member);
        if self.collect(start, &mut scanner)? {
            let text = std::mem::take(&mut self.text);
            self.envelope = Some(OpenEnvelope { start, text, scanner });
            self.place = Place::ArrayStart;
            return Ok(None);
        }
        self.place = if in_array { Place::ArrayNext } else { Place::Between };
        Ok(Some(start))
    }

    /// Reads what follows an envelope's array, to the envelope's end.
    fn close(&mut self, envelope: OpenEnvelope) -> Result<Piece, SplitError> {
        let OpenEnvelope { start, text, mut scanner } = envelope;
        self.text = text;
        self.collect(start, &mut scanner)?;
        self.place = Place::Between;
        Ok(Piece::Envelope(start))
    }

    /// Moves bytes of one value into `text`; true when they stop inside an envelope's array.
    fn collect(&mut self, start: Position, scanner: &mut Scanner) -> Result<bool, SplitError> {
        loop {
            if self.at == self.end && !self.fill()? {
                // A number has no closing byte of its own: the input's end is one.
                return if scanner.may_end() {
                    Ok(false)
                } else {
                    Err(SplitError::CutInRecord(start))
                };
            }
            let bytes = &self.chunk[self.at..self.end];
            let (used, step) = scanner.scan(bytes);
            let bytes = &bytes[..used];
            if self.text.len() + used > self.limit {
                self.text.extend_from_slice(&bytes[..self.limit - self.text.len()]);
                return Err(SplitError::TooLong(start));
            }
            self.text.extend_from_slice(bytes);
            self.position = self.position.after(bytes);
            self.at += used;
            match step {
                Step::More => {}
                Step::Done => return Ok(false),
                Step::Envelope => return Ok(true),
            }
        }
    }

    /// The next byte that is not white space, left unread; `None` at the end of the input.
    fn skip_white_space(&mut self) -> Result<Option<u8>, SplitError> {
        loop {
            if self.at == self.end && !self.fill()? {
                return Ok(None);
            }
            let bytes = &self.chunk[self.at..self.end];
            let white = bytes.iter().take_while(|byte| is_white_space(**byte)).count();
            self.position = self.position.after(&bytes[..white]);
            self.at += white;
            let Some(&byte) = self.chunk[self.at..self.end].first() else { continue };
            let unread =
                self.place == Place::Start && self.position == Position { line: 1, column: 1 };
            if unread && byte == BYTE_ORDER_MARK[0] {
                self.skip_byte_order_mark()?;
                continue;
            }
            return Ok(Some(byte));
        }
    }

    /// Steps over a byte order mark, which is no part of the first record.
    fn skip_byte_order_mark(&mut self) -> Result<(), SplitError> {
        for expected in BYTE_ORDER_MARK {
            if self.at == self.end && !self.fill()? {
                return Err(SplitError::Unexpected(self.position, expected, Expected::Start));
            }
            let byte = self.chunk[self.at];
            if byte != expected {
                return Err(SplitError::Unexpected(self.position, byte, Expected::Start));
            }
            self.at += 1;
        }
        // Not `Start`: a second mark is no mark.
        self.place = Place::Between;
        Ok(())
    }

    /// Steps over one byte that is not a line end.
    fn bump(&mut self, place: Place) {
        self.at += 1;
        self.position.column += 1;
        self.place = place;
    }

    /// Reads the next chunk; false at the end of the input.
    fn fill(&mut self) -> Result<bool, SplitError> {
        loop {
            match self.input.read(&mut self.chunk) {
                Ok(read) => {
                    (self.at, self.end) = (0, read);
                    return Ok(read > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(SplitError::Read(self.position, error)),
            }
        }
    }

    /// Bytes of memory held, whatever the input's length.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        let envelope = self.envelope.as_ref().map_or(0, |envelope| envelope.text.capacity());
        self.chunk.len() + self.text.capacity() + envelope
    }
}

/// False for the second and later bytes of a character in UTF-8.
fn begins_character(byte: u8) -> bool {
    byte & 0xC0 != 0x80
}

fn begins_value(byte: u8) -> bool {
    matches!(byte, b'{' | b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n')
}

#[cfg(test)]
mod tests;
