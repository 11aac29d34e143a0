//! Where a database is and who logs in, with the password kept out of sight.

use std::{borrow::Cow, fmt, str::FromStr};

use ::url::Url;
use sqlx::postgres::PgConnectOptions;

use crate::{Result, StoreError};

/// A `postgres://user:password@host:port/database` URL whose `Debug` and `Display` hide the password.
#[derive(Clone)]
pub struct DatabaseUrl {
    options: PgConnectOptions,
    password: Option<String>,
}

impl DatabaseUrl {
    /// The login.
    pub fn user(&self) -> &str {
        self.options.get_username()
    }

    /// The database; the login's own name when the URL names none, as libpq does.
    pub fn database(&self) -> &str {
        self.options.get_database().unwrap_or_else(|| self.user())
    }

    /// The host, or the directory of the socket.
    pub fn host(&self) -> Cow<'_, str> {
        match self.options.get_socket() {
            Some(socket) => socket.to_string_lossy(),
            None => self.options.get_host().into(),
        }
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.options.get_port()
    }

    pub(crate) fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    pub(crate) fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }
}

impl FromStr for DatabaseUrl {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self> {
        // Neither parser's error is kept: it may quote the part that holds the password.
        let url: Url = text.parse().map_err(|_| StoreError::BadUrl)?;
        if !matches!(url.scheme(), "postgres" | "postgresql") {
            return Err(StoreError::BadUrl);
        }
        let options: PgConnectOptions = text.parse().map_err(|_| StoreError::BadUrl)?;
        let in_query = url.query_pairs().find(|(key, _)| key == "password");
        let password = match (in_query, url.password()) {
            (Some((_, password)), _) => Some(password.into_owned()),
            (None, Some(encoded)) => Some(percent_decode(encoded).ok_or(StoreError::BadUrl)?),
            (None, None) => None,
        };
        Ok(Self { options, password })
    }
}

fn percent_decode(encoded: &str) -> Option<String> {
    // A form value has the same escapes; `+` and `&`, which mean more there, are escaped first.
    let form = format!("p={}", encoded.replace('+', "%2B").replace('&', "%26"));
    let (_, value) = ::url::form_urlencoded::parse(form.as_bytes()).next()?;
    Some(value.into_owned())
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = if self.password.is_some() { ":…" } else { "" };
        let (host, port) = (self.host(), self.port());
        write!(f, "postgres://{}{hidden}@{host}:{port}/{}", self.user(), self.database())
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_read_and_never_shown() {
        for text in [
            "postgres://ann:s%2B+&c%40ret@db.example:6543/audit",
            "postgres://ann@db.example:6543/audit?password=s%2B%2B%26c%40ret",
        ] {
            let url: DatabaseUrl = text.parse().expect("a URL");
            assert_eq!(url.password(), Some("s++&c@ret"));
            assert_eq!((url.user(), url.database(), url.port()), ("ann", "audit", 6543));
            for shown in [url.to_string(), format!("{url:?}")] {
                assert!(!shown.contains("c@ret") && !shown.contains("c%40ret"), "{shown}");
                assert!(shown.contains("ann:…@db.example:6543/audit"), "{shown}");
            }
        }
    }

    #[test]
    fn a_bad_url_is_not_quoted() {
        for text in ["postgres://ann:secret@host:notaport/db", "secret", "mysql://ann:secret@h/db"]
        {
            let error = text.parse::<DatabaseUrl>().expect_err("not a database URL");
            assert!(!format!("{error} {error:?}").contains("secret"));
        }
    }
}
