//! The 32-byte values, each its own type, so that a root cannot be passed where a commitment
//! belongs.

use crate::hex;
use alloy_primitives::B256;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{borrow::Cow, fmt, str::FromStr};

/// A slice that does not hold exactly 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 32 bytes, found {0}")]
pub struct WrongLength(pub usize);

macro_rules! bytes32 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// The bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        impl From<[u8; 32]> for $name {
            fn from(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }
        }

        impl From<B256> for $name {
            fn from(bytes: B256) -> Self {
                Self(bytes.0)
            }
        }

        impl From<$name> for B256 {
            fn from(value: $name) -> Self {
                Self(value.0)
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = WrongLength;

            fn try_from(bytes: &[u8]) -> Result<Self, WrongLength> {
                bytes.try_into().map(Self).map_err(|_| WrongLength(bytes.len()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                hex::write(f, &self.0)
            }
        }

        impl FromStr for $name {
            type Err = hex::HexError;

            fn from_str(text: &str) -> Result<Self, hex::HexError> {
                hex::parse(text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                Cow::<'de, str>::deserialize(d)?.parse().map_err(de::Error::custom)
            }
        }
    };
}

macro_rules! public_bytes32 {
    ($(#[$doc:meta])* $name:ident) => {
        bytes32!($(#[$doc])* $name);

        impl $name {
            /// Thirty-two zero bytes.
            pub const ZERO: Self = Self([0; 32]);
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

bytes32!(
    /// An entry's one secret: 32 random bytes from which the salts of its ten fields derive.
    /// Whoever has it can test guesses at every field, so it is shown by `Display` and serde, which
    /// are explicit, and never by `Debug`.
    Seed
);
public_bytes32!(
    /// What hides one field's value: revealing it discloses that field alone.
    Salt
);
public_bytes32!(
    /// The salted hash of one field.
    FieldDigest
);
public_bytes32!(
    /// The hash of an entry's ten field digests.
    Commitment
);
public_bytes32!(
    /// A link of the tenant's hash chain and the leaf of its batch tree; zero before the first
    /// entry.
    EntryHash
);
public_bytes32!(
    /// The root of a batch tree.
    BatchRoot
);
public_bytes32!(
    /// A leaf of the tenant's history: all that is to know of one anchored batch.
    BatchCommitment
);
public_bytes32!(
    /// The root of the tenant's history; zero while it is empty.
    HistoryRoot
);

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(redacted)")
    }
}
