//! One spelling for bytes in text: `0x` and lowercase digits, exactly as many as the type has.

use alloy_primitives::{Address, B256, Bytes, FixedBytes, hex};
use serde::{Deserialize, Deserializer, Serializer, de};
use std::fmt;

/// Why a text is not the one spelling of so many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HexError {
    /// No `0x` in front.
    #[error("hex must start with 0x")]
    Prefix,
    /// Too few or too many digits.
    #[error("expected {expected} hex digits after 0x, found {found}")]
    Length {
        /// Digits that the type has.
        expected: usize,
        /// Bytes of text after the prefix.
        found: usize,
    },
    /// Half a byte is left over.
    #[error("expected an even number of hex digits after 0x, found {0}")]
    Odd(usize),
    /// Something that is not one of `0-9a-f`.
    #[error("only 0-9 and a-f are hex digits here (position {position} after 0x)")]
    Digit {
        /// Where, counted from 0 after the prefix.
        position: usize,
    },
}

/// Reads exactly `N` bytes.
pub(crate) fn parse<const N: usize>(text: &str) -> Result<[u8; N], HexError> {
    let digits = text.strip_prefix("0x").ok_or(HexError::Prefix)?.as_bytes();
    if digits.len() != 2 * N {
        return Err(HexError::Length { expected: 2 * N, found: digits.len() });
    }
    let mut bytes = [0; N];
    decode(digits, &mut bytes)?;
    Ok(bytes)
}

/// Reads however many bytes there are.
pub(crate) fn parse_all(text: &str) -> Result<Bytes, HexError> {
    let digits = text.strip_prefix("0x").ok_or(HexError::Prefix)?.as_bytes();
    if digits.len() % 2 != 0 {
        return Err(HexError::Odd(digits.len()));
    }
    let mut bytes = vec![0; digits.len() / 2];
    decode(digits, &mut bytes)?;
    Ok(bytes.into())
}

/// `bytes` has half as many places as there are digits.
fn decode(digits: &[u8], bytes: &mut [u8]) -> Result<(), HexError> {
    // The library also takes capitals. Most of what a receipt consists of passes here: no branch for
    // each digit.
    let capital = digits.iter().fold(false, |any, digit| any | digit.is_ascii_uppercase());
    if !capital && hex::decode_to_slice(digits, bytes).is_ok() {
        return Ok(());
    }
    let wrong = digits.iter().position(|digit| !matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    Err(HexError::Digit { position: wrong.unwrap_or_default() })
}

/// Writes bytes in the one spelling.
pub(crate) fn write(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    f.write_str("0x")?;
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// The one spelling as a value to display.
pub(crate) struct Hex<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, self.0)
    }
}

/// For `#[serde(with)]` on fixed-size byte types that are not ours (`B256`, `Address`).
pub(crate) mod fixed {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(v: &impl AsRef<[u8]>, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&Hex(v.as_ref()))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>, T: Fixed>(d: D) -> Result<T, D::Error> {
        T::parse(&std::borrow::Cow::<'de, str>::deserialize(d)?).map_err(de::Error::custom)
    }

    /// The types that are read so.
    pub(crate) trait Fixed: Sized {
        fn parse(text: &str) -> Result<Self, HexError>;
    }

    impl Fixed for B256 {
        fn parse(text: &str) -> Result<Self, HexError> {
            super::parse(text).map(Self)
        }
    }

    impl Fixed for FixedBytes<4> {
        fn parse(text: &str) -> Result<Self, HexError> {
            super::parse(text).map(Self)
        }
    }

    impl Fixed for Address {
        fn parse(text: &str) -> Result<Self, HexError> {
            super::parse::<20>(text).map(Self::from)
        }
    }
}

/// For `#[serde(with)]` on paths.
pub(crate) mod path {
    use super::*;
    use serde::Serialize;

    #[derive(Serialize, Deserialize)]
    #[serde(transparent)]
    struct Node(#[serde(with = "super::fixed")] B256);

    pub(crate) fn serialize<S: Serializer>(path: &[B256], s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(path.iter().copied().map(Node))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<B256>, D::Error> {
        Ok(Vec::<Node>::deserialize(d)?.into_iter().map(|node| node.0).collect())
    }
}

/// For `#[serde(with)]` on bytes of any number.
pub(crate) mod bytes {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(bytes: &Bytes, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&Hex(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Bytes, D::Error> {
        parse_all(&std::borrow::Cow::<'de, str>::deserialize(d)?).map_err(de::Error::custom)
    }
}

/// For `#[serde(with)]` on lists of bytes of any number.
pub(crate) mod byte_strings {
    use super::*;
    use serde::Serialize;

    #[derive(Serialize, Deserialize)]
    #[serde(transparent)]
    struct Item(#[serde(with = "super::bytes")] Bytes);

    pub(crate) fn serialize<S: Serializer>(items: &[Bytes], s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(items.iter().cloned().map(Item))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Bytes>, D::Error> {
        Ok(Vec::<Item>::deserialize(d)?.into_iter().map(|item| item.0).collect())
    }
}
