//! Times on the command line.

use std::{str::FromStr, time::SystemTime};

use alloy::primitives::aliases::U48;
use cofferdam_core::Timestamp;
use eyre::Result;

/// A time, or a while from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Seconds since 1970.
    At(u64),
    /// Seconds from now.
    In(u64),
}

impl Moment {
    /// In seconds since 1970.
    pub(crate) fn seconds(self, now: u64) -> u64 {
        match self {
            Self::At(seconds) => seconds,
            Self::In(seconds) => now.saturating_add(seconds),
        }
    }

    /// The same as the contracts' windows take it.
    pub(crate) fn in_window(self, now: u64) -> Result<U48> {
        let seconds = self.seconds(now);
        U48::try_from(seconds)
            .map_err(|_| eyre::eyre!("{seconds} seconds since 1970 is later than a window can end"))
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("{text:?} is no time; give RFC 3339, seconds since 1970, or +30d (s, m, h, d)")
        };
        if let Some(span) = text.strip_prefix('+') {
            let unit = span.chars().last().ok_or_else(wrong)?;
            let seconds = match unit {
                's' => 1,
                'm' => 60,
                'h' => 3_600,
                'd' => 86_400,
                _ => return Err(wrong()),
            };
            let number = digits(&span[..span.len() - 1]).ok_or_else(wrong)?;
            return number.checked_mul(seconds).map(Self::In).ok_or_else(wrong);
        }
        if let Some(seconds) = digits(text) {
            return Ok(Self::At(seconds));
        }
        let time: Timestamp = text.parse().map_err(|error| format!("{}: {error}", wrong()))?;
        u64::try_from(time.unix_micros() / 1_000_000).map(Self::At).map_err(|_| wrong())
    }
}

/// Digits and nothing else.
fn digits(text: &str) -> Option<u64> {
    let all = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if all { text.parse().ok() } else { None }
}

/// This machine's clock, in seconds since 1970.
pub(crate) fn clock() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Seconds since 1970 as RFC 3339; as they are when they are beyond its years.
pub(crate) fn rfc3339(seconds: u64) -> String {
    let micros = i64::try_from(seconds).ok().and_then(|seconds| seconds.checked_mul(1_000_000));
    match micros.map(Timestamp::from_unix_micros) {
        Some(Ok(time)) => time.to_string().replace(".000000", ""),
        _ => seconds.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_date_a_number_or_a_while_from_now() {
        for (text, moment) in [
            ("0", Moment::At(0)),
            ("1795220490", Moment::At(1_795_220_490)),
            ("2026-11-21T01:21:30Z", Moment::At(1_795_224_090)),
            ("2026-11-21T02:21:30+01:00", Moment::At(1_795_224_090)),
            ("+90s", Moment::In(90)),
            ("+15m", Moment::In(900)),
            ("+2h", Moment::In(7_200)),
            ("+30d", Moment::In(2_592_000)),
        ] {
            assert_eq!(text.parse(), Ok(moment), "{text}");
        }
        assert_eq!(rfc3339(1_795_224_090), "2026-11-21T01:21:30Z");
        assert_eq!(rfc3339(u64::MAX), u64::MAX.to_string());
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "+",
            "+d",
            "+1",
            "+1w",
            "+-1d",
            "+1.5d",
            "-1",
            "1e9",
            "tomorrow",
            "+1é",
            "1969-12-31T23:59:58Z",
            "99999999999999999999",
            "+9999999999999999999d",
        ] {
            let said = text.parse::<Moment>().expect_err(text);
            assert!(said.contains("RFC 3339"), "{said}");
        }
    }
}
