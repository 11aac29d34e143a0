//! What is accepted as a payload, and how a refusal is reported.
#![allow(clippy::unwrap_used)] // a failed expectation is a failed test

use cofferdam_core::json::{JsonErrorKind, MAX_DEPTH, check, same_ignoring_whitespace};
use proptest::prelude::*;
use std::time::{Duration, Instant};

#[test]
fn one_value_of_any_kind_is_accepted() {
    let digits = "9".repeat(100);
    let deep = format!("{}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
    for text in [
        "null",
        "true",
        "false",
        "0",
        "-0",
        "-0.0e-0",
        "1e400",
        "1E+400",
        "0.1e-99999",
        "\"\"",
        "[]",
        "{}",
        " \t\r\n{ \"a\" : [ 1 , 2 ] , \"b\" : { \"a\" : 1 } } \n",
        r#"{"a":1,"A":2,"a ":3,"\u0061b":4}"#,
        r#"["\ud83d\ude00","\u0000","\"\\\/\b\f\n\r\t","\uFFFF","\ud7ff\ue000"]"#,
        "[\"é\",\"👩‍🔧\",\"\u{7f}\",\"\u{2028}\"]",
        &digits,
        &format!("-{digits}.{digits}"),
        &deep,
    ] {
        check(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    }
}

#[test]
fn anything_else_is_refused_where_it_stands() {
    for (text, offset, message) in [
        ("", 0, "line 1, column 1: the text ends where a value should follow"),
        (" \n ", 3, "line 2, column 2: the text ends where a value should follow"),
        ("{\"a\":1", 6, "line 1, column 7: the text ends where ',' or '}' should follow"),
        ("{\"a\"", 4, "line 1, column 5: the text ends where ':' should follow"),
        ("{\"a", 3, "line 1, column 4: the text ends where '\"' should follow"),
        ("[1,", 3, "line 1, column 4: the text ends where a value should follow"),
        ("[1,]", 3, "line 1, column 4: expected a value, found ']'"),
        ("{,}", 1, "line 1, column 2: expected a key, found ','"),
        ("{\"a\":1,}", 7, "line 1, column 8: expected a key, found '}'"),
        ("{a:1}", 1, "line 1, column 2: expected a key, found 'a'"),
        ("[1 2]", 3, "line 1, column 4: expected ',' or ']', found '2'"),
        ("1 2", 2, "line 1, column 3: more text after the value"),
        ("{}\n{}", 3, "line 2, column 1: more text after the value"),
        ("01", 1, "line 1, column 2: more text after the value"),
        ("+1", 0, "line 1, column 1: expected a value, found '+'"),
        (".5", 0, "line 1, column 1: expected a value, found '.'"),
        ("-", 1, "line 1, column 2: the text ends where a digit should follow"),
        ("1.", 2, "line 1, column 3: the text ends where a digit should follow"),
        ("1.e5", 2, "line 1, column 3: expected a digit, found 'e'"),
        ("1e+", 3, "line 1, column 4: the text ends where a digit should follow"),
        ("nul", 3, "line 1, column 4: the text ends where null should follow"),
        ("NaN", 0, "line 1, column 1: expected a value, found 'N'"),
        ("'a'", 0, "line 1, column 1: expected a value, found '\\''"),
        ("\u{feff}{}", 0, "line 1, column 1: expected a value, found '\\u{feff}'"),
        ("[\u{a0}1]", 1, "line 1, column 2: expected a value, found '\\u{a0}'"),
        ("\0", 0, "line 1, column 1: expected a value, found '\\0'"),
        ("[\"é\",\n\"é\"x]", 11, "line 2, column 4: expected ',' or ']', found 'x'"),
        ("\"a\nb\"", 2, "line 1, column 3: unescaped control character U+000A in a string"),
        ("\"\0\"", 1, "line 1, column 2: unescaped control character U+0000 in a string"),
        (r#""\x""#, 1, "line 1, column 2: no such escape"),
        (r#""\é""#, 1, "line 1, column 2: no such escape"),
        ("\"\\", 2, "line 1, column 3: the text ends where an escape should follow"),
        (r#""\u12g4""#, 5, "line 1, column 6: expected four hex digits, found 'g'"),
        (r#""\u12é""#, 5, "line 1, column 6: expected four hex digits, found 'é'"),
        (r#""\ud800""#, 1, r"line 1, column 2: lone surrogate \ud800"),
        (r#""\udfff""#, 1, r"line 1, column 2: lone surrogate \udfff"),
        (r#""\ud800\ud800""#, 1, r"line 1, column 2: lone surrogate \ud800"),
        (r#""\ud83d\n""#, 1, r"line 1, column 2: lone surrogate \ud83d"),
        (r#""\ud83d\u0041""#, 1, r"line 1, column 2: lone surrogate \ud83d"),
        (r#""\ude00\ud83d""#, 1, r"line 1, column 2: lone surrogate \ude00"),
        (r#"{"\ud800":1}"#, 2, r"line 1, column 3: lone surrogate \ud800"),
        (r#"{"a":1,"a":2}"#, 7, "line 1, column 8: duplicate key \"a\""),
        (r#"{"a":1,"\u0061":2}"#, 7, "line 1, column 8: duplicate key \"a\""),
        (r#"{"\u0061":1,"a":2}"#, 12, "line 1, column 13: duplicate key \"a\""),
        (r#"{"é😀":1,"\u00e9\ud83d\ude00":2}"#, 12, "line 1, column 9: duplicate key \"é😀\""),
        (r#"[{"x":{"":0,"":0}}]"#, 12, "line 1, column 13: duplicate key \"\""),
    ] {
        let error = check(text).expect_err(text);
        assert_eq!((error.offset, error.to_string().as_str()), (offset, message), "{text}");
    }
}

#[test]
fn too_deep_is_refused_without_going_there() {
    let at = |text: &str| check(text).map_err(|e| (e.kind, e.offset));
    assert_eq!(at(&"[".repeat(1 << 20)), Err((JsonErrorKind::Depth, MAX_DEPTH)));
    let objects = "{\"a\":".repeat(1 << 18);
    assert_eq!(at(&objects), Err((JsonErrorKind::Depth, 5 * MAX_DEPTH)));
}

/// Quadratic code takes minutes for these, linear code some milliseconds: the limit only has to
/// tell them apart.
#[test]
fn a_mebibyte_takes_linear_time() {
    let keys: Vec<String> = (0..110_000).map(|i| format!("\"{i}\":0")).collect();
    let escaped: Vec<String> = (0..60_000).map(|i| format!("\"\\u0061{i}\":0")).collect();
    let mut large_then_many = format!("[{{{}}}", keys[..50_000].join(","));
    large_then_many.push_str(&",{\"a\":0}".repeat(60_000));
    large_then_many.push(']');
    for text in [
        format!("{{{}}}", keys.join(",")),
        format!("{{{}}}", escaped.join(",")),
        large_then_many,
        format!("\"{}\"", "\\n".repeat(500_000)),
        format!("[{}0]", "0,".repeat(500_000)),
    ] {
        assert!(text.len() > 900_000);
        let start = Instant::now();
        check(&text).unwrap();
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        assert!(same_ignoring_whitespace(&text, &format!(" {text}\n")));
    }
    let key = "k".repeat(500_000);
    let error = check(&format!("{{\"{key}\":0,\"{key}\":0}}")).unwrap_err();
    assert!(error.to_string().len() < 200, "the message is abridged");
}

#[test]
fn only_white_space_outside_strings_is_ignored() {
    let same = same_ignoring_whitespace;
    assert!(same(r#"{"a":[1,2]}"#, "{ \"a\" :\t[ 1,\r\n2 ] }\n"));
    assert!(same(r#"{"a\" b":1}"#, r#"{ "a\" b" : 1 }"#));
    assert!(same(r#"["\\", 1]"#, r#"["\\",1]"#));
    assert!(!same(r#"{"a":"x y"}"#, r#"{"a":"xy"}"#));
    assert!(!same(r#"["\" a"]"#, r#"["\"a"]"#));
    assert!(!same("1.0", "1.00"));
    assert!(!same(r#""a""#, r#""\u0061""#));
    assert!(!same("[1,2]", "[1,2,3]"));
    assert!(!same("[\u{a0}]", "[]"));
}

/// Pieces that make valid and nearly valid texts likely.
fn texts() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"a\"",
        "\"b\"",
        "\"\\u0061\"",
        "\"\\ud800\"",
        "\"",
        "\\",
        "0",
        "1.5",
        "-",
        "e9",
        "1e999",
        "true",
        "null",
        " ",
        "\n",
        "é",
        "{\"a\":",
        "\"a\":1",
        "[1,",
        "\u{1}",
    ]);
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// Another parser agrees, but for what it does not look at (duplicate keys) and cannot hold
    /// (large numbers).
    #[test]
    fn agrees_with_serde_json(text in texts()) {
        let theirs = serde_json::from_str::<serde_json::Value>(&text);
        match (check(&text).map_err(|e| e.kind), theirs) {
            (Ok(()), Ok(_)) => {}
            (Ok(()), Err(e)) => {
                prop_assert!(e.to_string().contains("number out of range"), "{text}: {e}");
            }
            (Err(JsonErrorKind::DuplicateKey(_)), _) => {}
            (Err(kind), theirs) => prop_assert!(theirs.is_err(), "{text}: {kind}"),
        }
    }

    #[test]
    fn accepts_whatever_serde_json_writes(value in values()) {
        let compact = serde_json::to_string(&value).unwrap();
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        prop_assert_eq!(check(&compact), Ok(()));
        prop_assert_eq!(check(&pretty), Ok(()));
        prop_assert!(same_ignoring_whitespace(&compact, &pretty));
    }
}

fn values() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::Value;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::hash_map(any::<String>(), inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}
