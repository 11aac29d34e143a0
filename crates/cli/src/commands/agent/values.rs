//! What the agent commands take on the command line.

use std::{fmt, str::FromStr};

use alloy::primitives::{
    B256, FixedBytes, U256,
    aliases::{U80, U96},
    keccak256,
};
use cofferdam_contracts::account::capability;

use crate::amount::wei;

/// A capability: its name, or only the keccak256 of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Capability {
    pub(super) hash: B256,
    pub(super) name: Option<String>,
}

impl FromStr for Capability {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("0x") {
            let hash = text.parse().map_err(|_| {
                format!("{text:?} is no capability; give its name, or 0x and 64 hex digits")
            })?;
            return Ok(Self { hash, name: None });
        }
        if text.is_empty() || text.contains(char::is_whitespace) {
            return Err("a capability's name has at least one character and no space".into());
        }
        Ok(Self { hash: capability(text), name: Some(text.into()) })
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => f.write_str(name),
            None => self.hash.fmt(f),
        }
    }
}

/// An amount of the native currency, as a grant takes it: `0.01ether`, or in wei.
pub(super) fn native(text: &str) -> Result<U80, String> {
    narrow(wei(text)?).ok_or_else(|| format!("{text} is more than a grant can hold (2^80 wei)"))
}

/// An amount of a token in its smallest unit, as a grant takes it.
pub(super) fn token(text: &str) -> Result<U96, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let amount = U256::from_str_radix(text, 10).ok().filter(|_| digits);
    let amount = amount.ok_or_else(|| {
        format!("{text:?} is no amount; give whole units of the token's smallest")
    })?;
    narrow(amount).ok_or_else(|| format!("{text} is more than a grant can hold (2^96)"))
}

fn narrow<T: TryFrom<u128>>(amount: U256) -> Option<T> {
    u128::try_from(amount).ok()?.try_into().ok()
}

/// A function: its selector, or its signature as Solidity has it.
pub(super) fn selector(text: &str) -> Result<FixedBytes<4>, String> {
    let signature = text.split_once('(').is_some_and(|(name, rest)| {
        !name.is_empty() && rest.ends_with(')') && !text.contains(char::is_whitespace)
    });
    if signature {
        return Ok(FixedBytes::from_slice(&keccak256(text)[..4]));
    }
    text.parse().ok().filter(|_| text.starts_with("0x")).ok_or_else(|| {
        format!("{text:?} is no function; give 0x and 8 hex digits, or pay(address,uint256)")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_fit_into_a_grant() {
        assert_eq!(native("1208925819614629174706175"), Ok(U80::MAX));
        for text in ["1208925819614629174706176", "2000000ether"] {
            assert!(native(text).is_err(), "{text}");
        }
        assert_eq!(token("79228162514264337593543950335"), Ok(U96::MAX));
        for text in ["", "-1", "1.5", "1ether", "79228162514264337593543950336"] {
            assert!(token(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_function_is_its_selector_or_its_signature() {
        let transfer = FixedBytes([0xa9, 0x05, 0x9c, 0xbb]);
        assert_eq!(selector("0xa9059cbb"), Ok(transfer));
        assert_eq!(selector("transfer(address,uint256)"), Ok(transfer));
        for text in ["", "transfer", "a9059cbb", "0xa9059c", "transfer(address, uint256)", "()"] {
            assert!(selector(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_capability_is_its_name_or_its_hash() {
        let named: Capability = "payments.send".parse().expect("a name");
        let hashed: Capability = named.hash.to_string().parse().expect("a hash");
        assert_eq!(named.hash, hashed.hash);
        assert_eq!(named.to_string(), "payments.send");
        for text in ["", "payments send", "0x12"] {
            assert!(text.parse::<Capability>().is_err(), "{text}");
        }
    }
}
