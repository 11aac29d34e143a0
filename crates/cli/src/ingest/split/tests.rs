//! The splitter's promises: every record byte for byte, at its place, in bounded memory.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::{self, Read};

use proptest::prelude::*;
use proptest::string::string_regex;

use super::*;

/// Gives out its bytes at most `step` at a time, to put chunk boundaries anywhere.
struct Trickle<'a> {
    bytes: &'a [u8],
    step: usize,
}

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.step.min(buffer.len()).min(self.bytes.len());
        let (head, rest) = self.bytes.split_at(length);
        buffer[..length].copy_from_slice(head);
        self.bytes = rest;
        Ok(length)
    }
}

/// What a splitter found: the records with their places, the envelopes' text, and the end.
#[derive(Debug, Default)]
struct Found {
    records: Vec<(Position, String)>,
    envelopes: Vec<String>,
    error: Option<SplitError>,
}

fn split_by(text: &[u8], member: Option<&str>, step: usize, limit: usize) -> Found {
    let input = Trickle { bytes: text, step };
    let mut splitter = Splitter::with_limits(input, member, 64, limit);
    let mut found = Found::default();
    loop {
        let piece = splitter.next_piece();
        let text = String::from_utf8_lossy(splitter.text()).into_owned();
        match piece {
            Ok(Some(Piece::Record(position))) => found.records.push((position, text)),
            Ok(Some(Piece::Envelope(_))) => found.envelopes.push(text),
            Ok(None) => return found,
            Err(error) => {
                found.error = Some(error);
                return found;
            }
        }
    }
}

fn split(text: &str) -> Found {
    let found = split_by(text.as_bytes(), Some("Records"), 64, RECORD_LIMIT);
    // The same text a byte at a time must be the same records.
    let slowly = split_by(text.as_bytes(), Some("Records"), 1, RECORD_LIMIT);
    assert_eq!(found.records, slowly.records);
    assert_eq!(found.envelopes, slowly.envelopes);
    assert_eq!(format!("{:?}", found.error), format!("{:?}", slowly.error));
    found
}

/// The records' texts of an input that must be read to its end.
fn texts(text: &str) -> Vec<String> {
    let found = split(text);
    assert!(found.error.is_none(), "{:?}", found.error);
    found.records.into_iter().map(|(_, text)| text).collect()
}

#[test]
fn records_come_back_verbatim_from_every_layout() {
    assert_eq!(texts("{\"a\": 1.50}\n{ \"b\" : 2 }\r\n"), ["{\"a\": 1.50}", "{ \"b\" : 2 }"]);
    assert_eq!(texts("[ {\"a\":1} ,\n{\"b\":[2,{}]} ]"), ["{\"a\":1}", "{\"b\":[2,{}]}"]);
    assert_eq!(texts("[1,\"]\",null,[[]],-2e5]"), ["1", "\"]\"", "null", "[[]]", "-2e5"]);
    assert_eq!(texts("{\"Records\":[{\"a\":1},{\"b\":2}]}"), ["{\"a\":1}", "{\"b\":2}"]);
    assert_eq!(
        texts("[{\"a\":1}][{\"b\":2}]\n{\"Records\":[3]}{}"),
        ["{\"a\":1}", "{\"b\":2}", "3", "{}"]
    );
    assert_eq!(texts("12"), ["12"], "the end of the input ends a number");
    for empty in ["", " \n\t\r\n", "[]", "{\"Records\":[]}"] {
        assert_eq!(texts(empty), [""; 0], "{empty:?}");
    }
}

#[test]
fn a_bracket_or_quote_inside_a_string_ends_nothing() {
    let tricky = r#"{"a":"]}\"}{[","b":"\\","c":"\\\"]","d\"}":"é]"}"#;
    assert_eq!(texts(tricky), [tricky]);
    assert_eq!(texts(&format!("[{tricky},{tricky}]")), [tricky, tricky]);
}

#[test]
fn an_envelope_is_told_by_its_member_and_keeps_the_others() {
    let found = split(r#"{"Records ":[0],"n":{"Records":[1]},"Records":[2],"after":"x"}"#);
    assert_eq!(found.records.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>(), ["2"]);
    assert_eq!(
        found.envelopes,
        [r#"{"Records ":[0],"n":{"Records":[1]},"Records":[],"after":"x"}"#]
    );

    for record in [
        r#"{"Records":{"a":[1]}}"#,
        r#"{"Records":"[","a":[1]}"#,
        r#"{"Record":[1]}"#,
        r#"{"Recordss":[1]}"#,
        r#"{"Records\n":[1]}"#,
        r#"{"Records":{},"a":[1]}"#,
        // Not JSON: to be refused whole, not read as records first.
        r#"{"Records"[1]}"#,
        r#"{"Rec":"ords"[1]}"#,
        r#"{"a":"Records","b":[1]}"#,
        r#"{"a":{"Records":[1]}}"#,
    ] {
        assert_eq!(texts(record), [record]);
    }
    assert_eq!(texts(r#"[{"Records":[1]}]"#), [r#"{"Records":[1]}"#], "a record of an array");
}

#[test]
fn a_second_array_of_records_stays_in_the_envelopes_text() {
    let found = split(r#"{"Records":[1],"Records":[2]}"#);
    assert_eq!(found.records.len(), 1);
    assert_eq!(found.envelopes, [r#"{"Records":[],"Records":[2]}"#]);
}

#[test]
fn places_count_lines_and_characters_from_one() {
    let places: Vec<_> = split("\u{feff}{\"é\":\n1} {\"é\":1} {}\n\n  {}")
        .records
        .iter()
        .map(|(position, _)| (position.line, position.column))
        .collect();
    assert_eq!(places, [(1, 1), (2, 4), (2, 12), (4, 3)]);
}

#[test]
fn what_cannot_be_cut_is_refused_where_it_stands() {
    let error = |text: &str| format!("{:?}", split(text).error.unwrap());
    let at = |line, column| Position { line, column };
    let unexpected = |position, byte, expected| {
        format!("{:?}", SplitError::Unexpected(position, byte, expected))
    };
    assert_eq!(error("PK\x03\x04"), unexpected(at(1, 1), b'P', Expected::Start));
    assert_eq!(error("{}\n,{}"), unexpected(at(2, 1), b',', Expected::Value));
    assert_eq!(error("[,1]"), unexpected(at(1, 2), b',', Expected::Element));
    assert_eq!(error("[1,]"), unexpected(at(1, 4), b']', Expected::Element));
    assert_eq!(error("[1 2]"), unexpected(at(1, 4), b'2', Expected::CommaOrEnd));
    assert_eq!(error("[{}"), format!("{:?}", SplitError::CutInArray(at(1, 4))));
    assert_eq!(error("[{},"), format!("{:?}", SplitError::CutInArray(at(1, 5))));
    assert_eq!(error("{}\n{\"a"), format!("{:?}", SplitError::CutInRecord(at(2, 1))));
    assert_eq!(error("{\"Records\":["), format!("{:?}", SplitError::CutInArray(at(1, 13))));
    assert_eq!(error("{\"Records\":[]"), format!("{:?}", SplitError::CutInRecord(at(1, 1))));
    assert_eq!(error("{}\u{feff}{}"), unexpected(at(1, 3), 0xEF, Expected::Value));
    assert_eq!(error("\u{feff}\u{feff}{}"), unexpected(at(1, 1), 0xEF, Expected::Value));
}

/// Repeats a pattern up to a length and counts what was asked of it.
struct Endless<'a> {
    head: &'a [u8],
    body: u8,
    length: usize,
    given: usize,
}

impl Read for Endless<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = buffer.len().min(self.length - self.given);
        for (at, byte) in buffer[..room].iter_mut().enumerate() {
            *byte = self.head.get(self.given + at).copied().unwrap_or(self.body);
        }
        self.given += room;
        Ok(room)
    }
}

/// The bytes that may be held: the chunk, the text, and what `Vec` adds when it grows.
const MEMORY: usize = CHUNK + 2 * RECORD_LIMIT;

#[test]
fn a_line_of_100_mb_is_refused_without_being_held_or_read() {
    for head in
        ["{\"a\":\"", "[", "{\"a\":", "[{\"Records\":[", "{\"", "[\"", "{\"Records\":[0],\""]
    {
        let body = if head.ends_with('"') { b'x' } else { b'[' };
        let mut input = Endless { head: head.as_bytes(), body, length: 100 << 20, given: 0 };
        let mut splitter = Splitter::new(&mut input, Some("Records"));
        let error = loop {
            match splitter.next_piece() {
                Ok(piece) => assert!(piece.is_some()),
                Err(error) => break error,
            }
        };
        assert!(
            matches!(error, SplitError::TooLong(Position { line: 1, .. })),
            "{head}: {error:?}"
        );
        assert_eq!(splitter.text().len(), RECORD_LIMIT);
        assert!(splitter.held() <= MEMORY, "{head}: {} bytes held", splitter.held());
        assert!(input.given <= RECORD_LIMIT + 2 * CHUNK, "{head}: {} bytes read", input.given);
    }
}

#[test]
fn memory_does_not_grow_with_the_number_of_records() {
    for (head, body) in [("[{}", &b",{\"a\":[1,2,3]}"[..]), ("", b"{\"a\":\"b\"}\n"), ("", b" \n")]
    {
        let text = [head.as_bytes(), &body.repeat((4 << 20) / body.len())].concat();
        let mut splitter = Splitter::new(&text[..], None);
        let mut most = 0;
        while let Ok(Some(_)) = splitter.next_piece() {
            most = most.max(splitter.held());
        }
        assert!(most <= CHUNK + 64, "{most} bytes held");
    }
}

#[test]
fn a_record_of_exactly_the_limit_is_read() {
    let record = "{\"a\":\"0123456789\"}";
    let lines = format!("{record}\n{record}");
    let at_limit = split_by(lines.as_bytes(), None, 7, record.len());
    assert!(at_limit.error.is_none());
    assert_eq!(at_limit.records.len(), 2);
    let below = split_by(lines.as_bytes(), None, 7, record.len() - 1);
    assert!(matches!(below.error, Some(SplitError::TooLong(_))));
}

fn white() -> impl Strategy<Value = String> {
    string_regex("[ \t\r\n]{0,3}").unwrap()
}

fn string_text() -> impl Strategy<Value = String> {
    string_regex(r#""([^"\\\x00-\x1f]|[\]\[{}:, ]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4}){0,8}""#).unwrap()
}

/// One JSON value as text, with white space wherever JSON allows it.
fn value_text() -> impl Strategy<Value = String> {
    let number =
        string_regex(r"-?(0|[1-9][0-9]{0,5})(\.[0-9]{1,4})?([eE][+-]?[0-9]{1,2})?").unwrap();
    let literal = prop::sample::select(vec!["null", "true", "false"]).prop_map(str::to_owned);
    let leaf = prop_oneof![literal, number, string_text()];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let element = (white(), inner, white()).prop_map(|(a, b, c)| format!("{a}{b}{c}")).boxed();
        let key = prop_oneof![string_text(), Just("\"Records\"".to_owned())];
        let member = (white(), key, white(), element.clone())
            .prop_map(|(a, key, b, value)| format!("{a}{key}{b}:{value}"));
        prop_oneof![
            prop::collection::vec(element, 0..4).prop_map(|all| format!("[{}]", all.join(","))),
            prop::collection::vec(member, 0..4).prop_map(|all| format!("{{{}}}", all.join(","))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_values_joined_by_any_white_space_come_back_byte_for_byte(
        values in prop::collection::vec((white(), value_text(), white()), 0..6),
        layout in 0..3,
        step in 1..70_usize,
    ) {
        let (open, between, close) = match layout {
            0 => ("[", ",", "]"),
            1 => ("{ \"x\" : [\"Records\"] ,\n\"Records\": [", ",", "] , \"y\":{} }"),
            _ => ("", "\n", ""),
        };
        let mut text = open.to_owned();
        let mut expected = Vec::new();
        for (index, (before, value, after)) in values.iter().enumerate() {
            // Without brackets around it an array would be opened, and so would an envelope.
            let value = if layout == 2 { format!("{{\"v\":{value}}}") } else { value.clone() };
            if index > 0 {
                text.push_str(between);
            }
            text.push_str(before);
            let start = Position { line: 1, column: 1 }.after(text.as_bytes());
            prop_assert_eq!(start.line as usize, text.split('\n').count());
            text.push_str(&value);
            text.push_str(after);
            expected.push((start, value));
        }
        text.push_str(close);
        let found = split_by(text.as_bytes(), Some("Records"), step, RECORD_LIMIT);
        prop_assert!(found.error.is_none(), "{:?} in {text:?}", found.error);
        prop_assert_eq!(found.records, expected);
        prop_assert_eq!(found.envelopes.len(), usize::from(layout == 1));
    }

    #[test]
    fn any_bytes_end_without_a_panic(
        bytes in prop::collection::vec(
            prop_oneof![any::<u8>(), prop::sample::select(b"[]{}\",:\\ \n1eRecords".to_vec())],
            0..80,
        ),
        step in 1..70_usize,
    ) {
        let found = split_by(&bytes, Some("Records"), step, 40);
        let again = split_by(&bytes, Some("Records"), 1, 40);
        prop_assert_eq!(found.records, again.records);
        prop_assert_eq!(format!("{:?}", found.error), format!("{:?}", again.error));
    }
}
