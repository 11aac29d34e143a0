//! One form for times: RFC 3339 in UTC with six fractional digits.

use std::{fmt, str::FromStr};
use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

/// A moment between the years 0000 and 9999, to the microsecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(OffsetDateTime);

/// Why a text is no time that can be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimestampError {
    /// Not `YYYY-MM-DDTHH:MM:SS`, an optional fraction of up to nine digits, and `Z` or `±HH:MM`.
    #[error("not an RFC 3339 time such as 2026-01-31T23:59:59.000000Z")]
    Shape,
    /// A month, day, hour, minute, second or offset that does not exist.
    #[error("no such date or time of day")]
    Range,
    /// Second 60.
    #[error("leap seconds are refused: which of them exist is not known to every reader")]
    LeapSecond,
    /// More than six digits of which the seventh to ninth are not zeros.
    #[error("finer than a microsecond: truncating it would change what the source said")]
    Precision,
    /// Before the year 0000 or after 9999 once in UTC.
    #[error("outside the years 0000 to 9999 in UTC")]
    Year,
    /// A good time, but in another form than the one that is hashed.
    #[error("not in the form that is hashed: expected {0}")]
    Form(Timestamp),
}

impl Timestamp {
    /// From microseconds since 1970-01-01T00:00:00Z.
    pub fn from_unix_micros(micros: i64) -> Result<Self, TimestampError> {
        let moment = OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000);
        moment.map_err(|_| TimestampError::Year).and_then(Self::from_utc)
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    pub fn unix_micros(self) -> i64 {
        self.0.unix_timestamp() * 1_000_000 + i64::from(self.0.microsecond())
    }

    /// Succeeds only for the very text that [`Timestamp`] displays.
    pub fn check_canonical(text: &str) -> Result<(), TimestampError> {
        let time: Self = text.parse()?;
        if time.to_string() == text { Ok(()) } else { Err(TimestampError::Form(time)) }
    }

    fn from_utc(moment: OffsetDateTime) -> Result<Self, TimestampError> {
        if (0..=9999).contains(&moment.year()) {
            Ok(Self(moment))
        } else {
            Err(TimestampError::Year)
        }
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        let (local, rest) = text.as_bytes().split_at_checked(19).ok_or(TimestampError::Shape)?;
        let separators = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
        let shaped = separators.iter().all(|&(at, byte)| local[at] == byte)
            && local[10].eq_ignore_ascii_case(&b'T');
        if !shaped {
            return Err(TimestampError::Shape);
        }
        let (fraction, zone) = match rest.strip_prefix(b".") {
            Some(rest) => {
                rest.split_at(rest.iter().take_while(|byte| byte.is_ascii_digit()).count())
            }
            None => (&b"0"[..], rest),
        };
        let second = digits(&local[17..19])?;
        if second == 60 {
            return Err(TimestampError::LeapSecond);
        }
        let time = Time::from_hms_micro(
            small(&local[11..13])?,
            small(&local[14..16])?,
            small(&local[17..19])?,
            micros(fraction)?,
        );
        let month = Month::try_from(small(&local[5..7])?).map_err(|_| TimestampError::Range)?;
        let year = i32::try_from(digits(&local[..4])?).map_err(|_| TimestampError::Shape)?;
        let date = Date::from_calendar_date(year, month, small(&local[8..10])?);
        let (date, time) =
            (date.map_err(|_| TimestampError::Range)?, time.map_err(|_| TimestampError::Range)?);
        let moment = PrimitiveDateTime::new(date, time).assume_offset(offset(zone)?);
        let utc = moment.checked_to_offset(UtcOffset::UTC).ok_or(TimestampError::Year)?;
        Self::from_utc(utc)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let t = &self.0;
        let (year, month, day) = (t.year(), u8::from(t.month()), t.day());
        let (hour, minute, second, micro) = (t.hour(), t.minute(), t.second(), t.microsecond());
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micro:06}Z")
    }
}

fn offset(zone: &[u8]) -> Result<UtcOffset, TimestampError> {
    let (sign, hours, minutes) = match *zone {
        [b'Z' | b'z'] => return Ok(UtcOffset::UTC),
        [b'+', ref rest @ ..] if rest.len() == 5 && rest[2] == b':' => (1, &rest[..2], &rest[3..]),
        [b'-', ref rest @ ..] if rest.len() == 5 && rest[2] == b':' => (-1, &rest[..2], &rest[3..]),
        _ => return Err(TimestampError::Shape),
    };
    let (hours, minutes) = (digits(hours)?, digits(minutes)?);
    if hours > 23 || minutes > 59 {
        return Err(TimestampError::Range);
    }
    let seconds = sign * (hours * 3600 + minutes * 60) as i32;
    UtcOffset::from_whole_seconds(seconds).map_err(|_| TimestampError::Range)
}

fn micros(fraction: &[u8]) -> Result<u32, TimestampError> {
    if fraction.is_empty() || fraction.len() > 9 {
        return Err(TimestampError::Shape);
    }
    let nanos = digits(fraction)? * 10u32.pow(9 - fraction.len() as u32);
    if nanos.is_multiple_of(1000) { Ok(nanos / 1000) } else { Err(TimestampError::Precision) }
}

fn small(text: &[u8]) -> Result<u8, TimestampError> {
    u8::try_from(digits(text)?).map_err(|_| TimestampError::Shape)
}

/// At most nine digits, so it cannot overflow.
fn digits(text: &[u8]) -> Result<u32, TimestampError> {
    text.iter().try_fold(0, |number, byte| match byte {
        b'0'..=b'9' => Ok(number * 10 + u32::from(byte - b'0')),
        _ => Err(TimestampError::Shape),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn canonical(text: &str) -> Result<String, TimestampError> {
        text.parse::<Timestamp>().map(|time| time.to_string())
    }

    #[test]
    fn every_offset_and_precision_becomes_one_form() {
        for (text, expected) in [
            ("2026-01-31T23:59:59Z", "2026-01-31T23:59:59.000000Z"),
            ("2026-01-31t23:59:59z", "2026-01-31T23:59:59.000000Z"),
            ("2026-01-31T23:59:59.1Z", "2026-01-31T23:59:59.100000Z"),
            ("2026-01-31T23:59:59.123456Z", "2026-01-31T23:59:59.123456Z"),
            ("2026-01-31T23:59:59.123456000Z", "2026-01-31T23:59:59.123456Z"),
            ("2026-01-31T23:59:59+14:00", "2026-01-31T09:59:59.000000Z"),
            ("2026-01-31T23:59:59-00:01", "2026-02-01T00:00:59.000000Z"),
            ("2026-01-31T23:59:59-00:00", "2026-01-31T23:59:59.000000Z"),
            ("2024-02-29T00:00:00+23:59", "2024-02-28T00:01:00.000000Z"),
            ("0000-01-01T00:00:00Z", "0000-01-01T00:00:00.000000Z"),
            ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(canonical(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        use TimestampError::{LeapSecond, Precision, Range, Shape, Year};
        for (text, expected) in [
            ("", Shape),
            ("2026-01-31", Shape),
            ("2026-01-31T23:59:59", Shape),
            ("2026-01-31 23:59:59Z", Shape),
            ("2026-1-31T23:59:59Z", Shape),
            ("+026-01-31T23:59:59Z", Shape),
            ("2026-01-31T23:59:59.Z", Shape),
            ("2026-01-31T23:59:59,5Z", Shape),
            ("2026-01-31T23:59:59.0000000000Z", Shape),
            ("2026-01-31T23:59:59+0100", Shape),
            ("2026-01-31T23:59:59+01", Shape),
            ("2026-01-31T23:59:59Z ", Shape),
            (" 2026-01-31T23:59:59Z", Shape),
            ("2026-01-31T23:59:59UTC", Shape),
            ("2026-01-3éT23:59:59Z", Shape),
            ("２026-01-31T23:59:59Z", Shape),
            ("2026-02-29T23:59:59Z", Range),
            ("2026-13-01T23:59:59Z", Range),
            ("2026-00-01T23:59:59Z", Range),
            ("2026-01-00T23:59:59Z", Range),
            ("2026-01-31T24:00:00Z", Range),
            ("2026-01-31T23:60:00Z", Range),
            ("2026-01-31T23:59:61Z", Range),
            ("2026-01-31T23:59:59+24:00", Range),
            ("2026-01-31T23:59:59+00:60", Range),
            ("2016-12-31T23:59:60Z", LeapSecond),
            ("2026-01-31T23:59:59.1234567Z", Precision),
            ("2026-01-31T23:59:59.000000001Z", Precision),
            ("0000-01-01T00:00:00+00:01", Year),
            ("9999-12-31T23:59:59-00:01", Year),
        ] {
            assert_eq!(canonical(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn only_the_one_form_is_canonical() {
        assert_eq!(Timestamp::check_canonical("2026-01-31T23:59:59.000000Z"), Ok(()));
        for text in [
            "2026-01-31T23:59:59Z",
            "2026-01-31t23:59:59.000000Z",
            "2026-01-31T23:59:59.000000+00:00",
            "2026-01-31T23:59:59.0000000Z",
        ] {
            let error = Timestamp::check_canonical(text).expect_err(text);
            let expected = "not in the form that is hashed: expected 2026-01-31T23:59:59.000000Z";
            assert_eq!(error.to_string(), expected);
        }
    }

    proptest! {
        #[test]
        fn micros_round_trip(micros in -62_167_219_200_000_000i64..=253_402_300_799_999_999) {
            let time = Timestamp::from_unix_micros(micros).expect("in range");
            prop_assert_eq!(time.unix_micros(), micros);
            prop_assert_eq!(time.to_string().parse(), Ok(time));
            prop_assert_eq!(Timestamp::check_canonical(&time.to_string()), Ok(()));
        }

        #[test]
        fn no_text_panics(text in "[0-9T:Zz+.\\-é]{0,36}") {
            if let Ok(time) = text.parse::<Timestamp>() {
                prop_assert_eq!(time.to_string().len(), 27);
            }
        }
    }

    #[test]
    fn years_outside_are_refused() {
        for micros in [i64::MIN, i64::MAX, -62_167_219_200_000_001, 253_402_300_800_000_000] {
            assert_eq!(Timestamp::from_unix_micros(micros), Err(TimestampError::Year));
        }
    }
}
