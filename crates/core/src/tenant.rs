//! The tenant id is the tenant's own address.

use crate::hex::{self, HexError};
use alloy_primitives::{Address, B256};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{borrow::Cow, fmt, str::FromStr};

/// The address of a tenant's authority, left-padded to 32 bytes: there is no registry, and no id
/// that could be squatted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(Address);

/// Why 32 bytes are no tenant id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TenantIdError {
    /// The zero address has no owner.
    #[error("the zero tenant id is refused")]
    Zero,
    /// One of the top 96 bits is set, so no authority can have this id.
    #[error("tenant id {0} is not an address: one of its first 12 bytes is set")]
    NotAnAddress(B256),
    /// Not 32 bytes.
    #[error("a tenant id has 32 bytes, found {0}")]
    Length(usize),
    /// Not the one spelling of 32 bytes.
    #[error("a tenant id is 0x and 64 lowercase hex digits: {0}")]
    Hex(#[from] HexError),
}

impl TenantId {
    /// The id of the tenant whose authority is `authority`.
    pub fn from_authority(authority: Address) -> Result<Self, TenantIdError> {
        if authority.is_zero() { Err(TenantIdError::Zero) } else { Ok(Self(authority)) }
    }

    /// The id as the contracts see it.
    pub fn as_b256(&self) -> B256 {
        self.0.into_word()
    }

    /// The address that alone may write for this tenant.
    pub const fn authority(&self) -> Address {
        self.0
    }
}

impl TryFrom<B256> for TenantId {
    type Error = TenantIdError;

    fn try_from(word: B256) -> Result<Self, TenantIdError> {
        if word[..12].iter().any(|&byte| byte != 0) {
            return Err(TenantIdError::NotAnAddress(word));
        }
        Self::from_authority(Address::from_word(word))
    }
}

impl TryFrom<&[u8]> for TenantId {
    type Error = TenantIdError;

    fn try_from(bytes: &[u8]) -> Result<Self, TenantIdError> {
        let word = <[u8; 32]>::try_from(bytes).map_err(|_| TenantIdError::Length(bytes.len()))?;
        B256::from(word).try_into()
    }
}

impl From<TenantId> for B256 {
    fn from(tenant: TenantId) -> Self {
        tenant.as_b256()
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex::write(f, self.as_b256().as_slice())
    }
}

impl FromStr for TenantId {
    type Err = TenantIdError;

    fn from_str(text: &str) -> Result<Self, TenantIdError> {
        B256::from(hex::parse::<32>(text)?).try_into()
    }
}

impl Serialize for TenantId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TenantId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_and_high_bits_are_refused() {
        assert_eq!(TenantId::from_authority(Address::ZERO), Err(TenantIdError::Zero));
        assert_eq!(TenantId::try_from(B256::ZERO), Err(TenantIdError::Zero));
        for byte in 0..12 {
            let mut word = Address::repeat_byte(1).into_word();
            word[byte] = 1;
            assert_eq!(TenantId::try_from(word), Err(TenantIdError::NotAnAddress(word)));
        }
        assert_eq!(TenantId::try_from(&[1u8; 20][..]), Err(TenantIdError::Length(20)));
    }

    #[test]
    fn has_one_spelling() {
        let tenant = TenantId::from_authority(Address::repeat_byte(0xab)).expect("not zero");
        let text = tenant.to_string();
        assert_eq!(text, format!("0x{}{}", "0".repeat(24), "ab".repeat(20)));
        assert_eq!(text.parse(), Ok(tenant));
        assert_eq!(serde_json::to_string(&tenant).expect("a string"), format!("\"{text}\""));
        assert_eq!(TenantId::try_from(tenant.as_b256()), Ok(tenant));
        for wrong in [&text.to_uppercase(), &text[2..], &text[..60], &format!("{text}0")] {
            assert!(matches!(wrong.parse::<TenantId>(), Err(TenantIdError::Hex(_))), "{wrong}");
        }
    }
}
