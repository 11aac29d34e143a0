//! Looks inside a JSON text without reformatting any part of it.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::error::Problem;

/// An object's members in their order, each value as its own text.
#[derive(Debug, Default)]
pub(super) struct Members<'a>(Vec<(Cow<'a, str>, &'a str)>);

impl<'a> Members<'a> {
    /// Reads `text`, which must be one JSON object.
    pub(super) fn of(text: &'a str) -> Result<Self, Problem> {
        if !text.starts_with('{') {
            return Err(Problem::NotAnObject { found: kind(text), member: None });
        }
        serde_json::from_str(text).map_err(Problem::Unreadable)
    }

    /// The member's value, null included.
    pub(super) fn raw(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| *value)
    }

    /// The member's value; null counts as absent.
    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        self.raw(name).filter(|value| *value != "null")
    }

    /// The member's value as a string: empty when absent, refused when it is anything else.
    pub(super) fn string(&self, name: &'static str) -> Result<String, Problem> {
        self.get(name).map_or(Ok(String::new()), |value| string(value, name))
    }

    /// The members' names.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(key, _)| key.as_ref())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(24);
                while let Some((Key(key), value)) = map.next_entry::<Key<'de>, &RawValue>()? {
                    members.push((key, value.get()));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

/// A value as a field's text: a string decoded, null empty, anything else verbatim.
pub(super) fn text(verbatim: &str) -> Result<String, Problem> {
    match verbatim.as_bytes().first() {
        Some(b'"') => decode(verbatim),
        Some(b'n') => Ok(String::new()),
        _ => Ok(verbatim.to_owned()),
    }
}

/// A value that must be a string, decoded.
fn string(verbatim: &str, member: &str) -> Result<String, Problem> {
    if !verbatim.starts_with('"') {
        return Err(Problem::NotAString { member: member.to_owned(), found: kind(verbatim) });
    }
    decode(verbatim)
}

/// An array's values, each as its own text.
pub(super) fn elements(array: &str) -> Result<Vec<&str>, Problem> {
    let elements: Vec<&RawValue> = serde_json::from_str(array).map_err(Problem::Unreadable)?;
    Ok(elements.into_iter().map(RawValue::get).collect())
}

fn decode(string: &str) -> Result<String, Problem> {
    serde_json::from_str(string).map_err(Problem::Unreadable)
}

/// What a JSON text is, in words for a message.
fn kind(text: &str) -> &'static str {
    match text.as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}
