//! JSON pointers (RFC 6901).

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use super::error::Problem;
use super::value::{Members, elements};

/// A JSON pointer (RFC 6901), such as `/user/id` or `/items/0`; the empty one is the whole record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer(Box<str>);

/// Why a text is no JSON pointer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PointerError {
    /// A pointer is empty or begins with a slash.
    #[error("the JSON pointer {0:?} must begin with '/', as in \"/user/id\"")]
    NoSlash(String),
    /// `~` stands only in `~0` (a tilde) and `~1` (a slash).
    #[error("the JSON pointer {0:?} has a '~' that is not part of '~0' (tilde) or '~1' (slash)")]
    BadEscape(String),
}

impl Pointer {
    /// What the pointer finds in `record`, whose members are `members`, as the value's own text.
    pub(super) fn find<'a>(
        &self,
        record: &'a str,
        members: &Members<'a>,
    ) -> Result<Option<&'a str>, Problem> {
        let mut tokens = self.0.split('/').skip(1);
        // The record's own members are read once for all pointers.
        let Some(first) = tokens.next() else { return Ok(Some(record)) };
        let mut found = members.raw(&unescape(first));
        for token in tokens {
            found = match found.map(|value| (value, value.as_bytes().first())) {
                Some((value, Some(b'{'))) => Members::of(value)?.raw(&unescape(token)),
                Some((value, Some(b'['))) => match array_index(token) {
                    Some(index) => elements(value)?.get(index).copied(),
                    None => None,
                },
                _ => None,
            };
        }
        Ok(found)
    }
}

/// The member's name that a token stands for.
fn unescape(token: &str) -> Cow<'_, str> {
    if token.contains('~') {
        // In this order: `~01` is `~1`, not a slash.
        token.replace("~1", "/").replace("~0", "~").into()
    } else {
        token.into()
    }
}

/// An array index as RFC 6901 writes it: digits without a leading zero.
fn array_index(token: &str) -> Option<usize> {
    let digits = token.bytes().all(|byte| byte.is_ascii_digit());
    let padded = token.len() > 1 && token.starts_with('0');
    if digits && !padded { token.parse().ok() } else { None }
}

impl FromStr for Pointer {
    type Err = PointerError;

    fn from_str(written: &str) -> Result<Self, Self::Err> {
        if !written.is_empty() && !written.starts_with('/') {
            return Err(PointerError::NoSlash(written.to_owned()));
        }
        if written.split('~').skip(1).any(|rest| !rest.starts_with(['0', '1'])) {
            return Err(PointerError::BadEscape(written.to_owned()));
        }
        Ok(Self(written.into()))
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}
