//! Positions, each its own type, and integers in JSON as decimal strings: a JSON number is only
//! exact to 2^53 elsewhere.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{borrow::Cow, fmt, str::FromStr};

/// Why a text is not the one decimal spelling of a `u64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a decimal integer below 2^64 without sign or leading zeros")]
pub struct NumberError;

/// Reads the one spelling.
pub(crate) fn parse(text: &str) -> Result<u64, NumberError> {
    let canonical = text == "0" || !text.starts_with(['0', '+']);
    if canonical { text.parse().map_err(|_| NumberError) } else { Err(NumberError) }
}

/// For `#[serde(with)]` on plain integers.
pub(crate) mod decimal {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(value: &u64, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(value)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<u64, D::Error> {
        parse(&Cow::<'de, str>::deserialize(d)?).map_err(de::Error::custom)
    }
}

/// The same for amounts, which 64 bits need not hold.
pub(crate) mod wide {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(value: &u128, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(value)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<u128, D::Error> {
        let text = Cow::<'de, str>::deserialize(d)?;
        let canonical = text == "0" || !text.starts_with(['0', '+']);
        let value = text.parse().ok().filter(|_| canonical);
        value.ok_or_else(|| de::Error::custom("expected a decimal integer below 2^128"))
    }
}

macro_rules! position {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl $name {
            /// The number.
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The one after this; `None` at the end of `u64`.
            #[must_use]
            pub const fn next(self) -> Option<Self> {
                match self.0.checked_add(1) {
                    Some(next) => Some(Self(next)),
                    None => None,
                }
            }
        }

        impl From<u64> for $name {
            fn from(value: u64) -> Self {
                Self(value)
            }
        }

        impl From<$name> for u64 {
            fn from(value: $name) -> Self {
                value.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = NumberError;

            fn from_str(text: &str) -> Result<Self, NumberError> {
                parse(text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                decimal::serialize(&self.0, s)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                decimal::deserialize(d).map(Self)
            }
        }
    };
}

position!(
    /// The place of an entry in its tenant's chain, from 0, without gaps.
    Seq
);
position!(
    /// The place of a batch in its tenant's history, from 0, without gaps.
    BatchIndex
);
position!(
    /// What a tenant's policies and revocations are counted by, from 1, without gaps.
    PolicyVersion
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_spelling() {
        for value in [0, 1, 9_007_199_254_740_993, u64::MAX] {
            let json = serde_json::to_string(&Seq(value)).expect("a string");
            assert_eq!(json, format!("\"{value}\""));
            assert_eq!(serde_json::from_str::<Seq>(&json).expect("its own"), Seq(value));
        }
        for wrong in ["", "00", "01", "+1", "-1", "-0", "1.0", "1e3", " 1", "18446744073709551616"]
        {
            assert_eq!(wrong.parse::<BatchIndex>(), Err(NumberError), "{wrong:?}");
        }
        assert!(serde_json::from_str::<Seq>("1").is_err(), "a JSON number is refused");
    }

    #[test]
    fn next_stops_at_the_end() {
        assert_eq!(Seq(7).next(), Some(Seq(8)));
        assert_eq!(BatchIndex(u64::MAX).next(), None);
    }
}
