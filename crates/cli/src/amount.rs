//! Amounts of the native currency on the command line.

use alloy::primitives::{
    U256,
    utils::{ParseUnits, Unit, format_ether},
};

/// An amount in wei: `1000`, `20gwei`, `0.5ether`. Never rounded.
pub(crate) fn wei(text: &str) -> Result<U256, String> {
    let wrong = || format!("{text:?} is no amount; give wei, or a unit as in 0.01ether or 5gwei");
    let unit = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit);
    let number = number.trim_end();
    let unit: Unit = if unit.is_empty() { "wei" } else { unit }.parse().map_err(|_| wrong())?;
    let places = number.split_once('.').map_or(0, |(_, places)| places.len());
    let digits = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    // alloy takes underscores, and cuts off what is smaller than a wei.
    if !digits || !number.starts_with(|c: char| c.is_ascii_digit()) || places > unit.get().into() {
        return Err(wrong());
    }
    ParseUnits::parse_units(number, unit).map(ParseUnits::get_absolute).map_err(|_| wrong())
}

/// An amount of wei for people, exact to the wei.
pub(crate) fn ether(wei: U256) -> String {
    let text = format_ether(wei);
    format!("{} ether", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_or_refused() {
        for (text, amount) in [
            ("0", 0_u64),
            ("1000", 1_000),
            ("7wei", 7),
            ("20gwei", 20_000_000_000),
            ("0.5ether", 500_000_000_000_000_000),
            ("1 ether", 1_000_000_000_000_000_000),
        ] {
            assert_eq!(wei(text), Ok(U256::from(amount)), "{text}");
        }
        for text in [
            "",
            "ether",
            "-1",
            "+1",
            ".5ether",
            "0.5",
            "1.5wei",
            "1.0000000001gwei",
            "1.2.3ether",
            "1_000",
            "0x10",
            "1e18",
            "1etherium",
        ] {
            assert!(wei(text).is_err(), "{text}");
        }
        assert!(wei(&"9".repeat(80)).is_err());
    }

    #[test]
    fn amounts_are_printed_to_the_wei() {
        for (amount, text) in [
            (0_u64, "0 ether"),
            (7, "0.000000000000000007 ether"),
            (1_500_000_000_000_000_000, "1.5 ether"),
            (10_000_000_000_000_000_000, "10 ether"),
        ] {
            assert_eq!(ether(U256::from(amount)), text);
        }
    }
}
