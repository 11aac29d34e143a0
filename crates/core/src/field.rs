//! The ten fields of an entry.

use crate::{
    Commitment, FieldDigest, Seed, Timestamp, TimestampError, commitment, entry_digests,
    json::{self, JsonError},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{borrow::Cow, fmt, str::FromStr};

/// The name of a field; they sort as their names do, bytewise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FieldName {
    /// What was done.
    Action,
    /// Who did it.
    Actor,
    /// The source's own id, unique for a tenant.
    ExternalId,
    /// When it happened, by the source.
    OccurredAt,
    /// The source's own JSON text, verbatim.
    Payload,
    /// Under which policy.
    PolicyVersion,
    /// Why, or why not.
    Reason,
    /// When it was appended, by us.
    RecordedAt,
    /// To what.
    Resource,
    /// With what outcome.
    Result,
}

/// A name that is none of the ten.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no field has the name {0:?}")]
pub struct UnknownField(pub String);

impl FieldName {
    /// All ten in the order in which their digests are committed to.
    pub const ALL: [Self; 10] = [
        Self::Action,
        Self::Actor,
        Self::ExternalId,
        Self::OccurredAt,
        Self::Payload,
        Self::PolicyVersion,
        Self::Reason,
        Self::RecordedAt,
        Self::Resource,
        Self::Result,
    ];

    /// The name that is hashed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Action => "action",
            Self::Actor => "actor",
            Self::ExternalId => "external_id",
            Self::OccurredAt => "occurred_at",
            Self::Payload => "payload",
            Self::PolicyVersion => "policy_version",
            Self::Reason => "reason",
            Self::RecordedAt => "recorded_at",
            Self::Resource => "resource",
            Self::Result => "result",
        }
    }

    /// The most bytes that a value of this field may have.
    pub const fn limit(self) -> usize {
        match self {
            Self::Payload => 1 << 20,
            Self::ExternalId => 256,
            _ => 64 << 10,
        }
    }

    /// Its place in [`ALL`](Self::ALL).
    pub const fn position(self) -> usize {
        self as usize
    }
}

impl fmt::Display for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for FieldName {
    type Err = UnknownField;

    fn from_str(text: &str) -> Result<Self, UnknownField> {
        let known = Self::ALL.into_iter().find(|name| name.as_str() == text);
        known.ok_or_else(|| UnknownField(text.to_owned()))
    }
}

impl Serialize for FieldName {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for FieldName {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}

/// Why values are refused as an entry; each names the field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// The field was given twice.
    #[error("{0} is given twice")]
    Twice(FieldName),
    /// The value is longer than the field allows.
    #[error("{field} has {length} bytes, at most {} are allowed", field.limit())]
    TooLong {
        /// Which.
        field: FieldName,
        /// Bytes that it has.
        length: usize,
    },
    /// The value holds U+0000, which Postgres cannot keep.
    #[error("{field} holds U+0000 at byte {offset}")]
    Nul {
        /// Which.
        field: FieldName,
        /// Where.
        offset: usize,
    },
    /// The value is no time in the form that is hashed.
    #[error("{field}: {source}")]
    Time {
        /// Which.
        field: FieldName,
        /// Why.
        source: TimestampError,
    },
    /// The payload is not one well-formed JSON value.
    #[error("payload: {0}")]
    Payload(#[from] JsonError),
}

/// The ten values of an entry, in the order of [`FieldName::ALL`]; an absent one is empty.
#[derive(Clone, PartialEq, Eq)]
pub struct Fields(Box<[String; 10]>);

impl Fields {
    /// Values that may become an entry: limits, no U+0000, times in their one form or empty, the
    /// payload one JSON value or empty. A field that is not given is empty.
    pub fn new(values: impl IntoIterator<Item = (FieldName, String)>) -> Result<Self, FieldError> {
        let mut given: [Option<String>; 10] = Default::default();
        for (field, value) in values {
            if given[field.position()].replace(value).is_some() {
                return Err(FieldError::Twice(field));
            }
        }
        let fields = Self(Box::new(given.map(Option::unwrap_or_default)));
        fields.iter().try_for_each(|(field, value)| check(field, value))?;
        Ok(fields)
    }

    /// Values as they are, unchecked: for verifying what has been kept or received.
    pub fn from_stored(values: [String; 10]) -> Self {
        Self(Box::new(values))
    }

    /// One value.
    pub fn get(&self, field: FieldName) -> &str {
        &self.0[field.position()]
    }

    /// All ten in order.
    pub fn iter(&self) -> impl Iterator<Item = (FieldName, &str)> {
        FieldName::ALL.into_iter().zip(self.0.iter().map(String::as_str))
    }

    /// The ten values in order.
    pub fn values(&self) -> [&str; 10] {
        self.0.each_ref().map(String::as_str)
    }

    /// The same, to keep.
    pub fn into_values(self) -> [String; 10] {
        *self.0
    }

    /// The ten digests in order.
    pub fn digests(&self, seed: &Seed) -> [FieldDigest; 10] {
        entry_digests(&[(seed, self.values())])[0]
    }

    /// The commitment to all ten.
    pub fn commitment(&self, seed: &Seed) -> Commitment {
        commitment(&self.digests(seed))
    }
}

/// Values are personal data: only their lengths are shown.
impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for (field, value) in self.iter() {
            map.entry(&field, &format_args!("{} bytes", value.len()));
        }
        map.finish()
    }
}

fn check(field: FieldName, value: &str) -> Result<(), FieldError> {
    if value.len() > field.limit() {
        return Err(FieldError::TooLong { field, length: value.len() });
    }
    if let Some(offset) = memchr::memchr(0, value.as_bytes()) {
        return Err(FieldError::Nul { field, offset });
    }
    if value.is_empty() {
        return Ok(());
    }
    match field {
        FieldName::Payload => Ok(json::check(value)?),
        FieldName::OccurredAt | FieldName::RecordedAt => {
            Timestamp::check_canonical(value).map_err(|source| FieldError::Time { field, source })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(field: FieldName, value: impl Into<String>) -> Result<Fields, FieldError> {
        Fields::new([(field, value.into())])
    }

    #[test]
    fn what_is_absent_is_empty() {
        let fields = with(FieldName::Actor, "mara").expect("valid");
        for (field, value) in fields.iter() {
            assert_eq!(value, if field == FieldName::Actor { "mara" } else { "" });
            assert_eq!(fields.get(field), value);
        }
        assert_eq!(fields.clone(), Fields::from_stored(fields.into_values()));
    }

    #[test]
    fn limits_are_exact() {
        for field in FieldName::ALL {
            let fill = |length: usize| match field {
                FieldName::Payload => format!("\"{}\"", "é".repeat(length / 2 - 1)),
                _ => "é".repeat(length / 2),
            };
            if !matches!(field, FieldName::OccurredAt | FieldName::RecordedAt) {
                assert!(with(field, fill(field.limit())).is_ok(), "{field}");
            }
            let length = field.limit() + 2;
            assert_eq!(with(field, fill(length)), Err(FieldError::TooLong { field, length }));
        }
        let limits = FieldName::ALL.map(FieldName::limit);
        let k64 = 65536;
        assert_eq!(limits, [k64, k64, 256, k64, 1_048_576, k64, k64, k64, k64, k64]);
    }

    #[test]
    fn a_nul_is_refused_and_its_escape_is_not() {
        for field in FieldName::ALL {
            assert_eq!(with(field, "ab\0"), Err(FieldError::Nul { field, offset: 2 }));
        }
        assert!(with(FieldName::Payload, r#""\u0000""#).is_ok());
        assert!(with(FieldName::Reason, "\u{1}\u{1f}\u{ffff}").is_ok());
    }

    #[test]
    fn times_and_payload_are_checked() {
        for field in [FieldName::OccurredAt, FieldName::RecordedAt] {
            assert!(with(field, "2026-01-31T23:59:59.000000Z").is_ok());
            let error = with(field, "2026-01-31T23:59:59Z").expect_err("another form");
            assert!(error.to_string().starts_with(field.as_str()), "{error}");
            assert!(with(field, "yesterday").is_err());
        }
        let error = with(FieldName::Payload, r#"{"a":1,"a":2}"#).expect_err("a key twice");
        assert_eq!(error.to_string(), "payload: line 1, column 8: duplicate key \"a\"");
        assert!(with(FieldName::Payload, " ").is_err());
    }

    #[test]
    fn a_field_is_given_once() {
        let twice = [FieldName::Actor, FieldName::Actor].map(|field| (field, String::new()));
        assert_eq!(Fields::new(twice), Err(FieldError::Twice(FieldName::Actor)));
    }

    #[test]
    fn names_are_known_or_refused() {
        for (position, field) in FieldName::ALL.into_iter().enumerate() {
            assert_eq!(field.as_str().parse(), Ok(field));
            assert_eq!(field.position(), position);
        }
        assert_eq!("Actor".parse::<FieldName>(), Err(UnknownField("Actor".to_owned())));
    }

    #[test]
    fn debug_shows_no_value() {
        let fields = with(FieldName::Actor, "mara").expect("valid");
        let shown = format!("{fields:?} {:?}", Seed::from([0xab; 32]));
        assert!(shown.contains("4 bytes") && !shown.contains("mara") && !shown.contains("abab"));
    }
}
