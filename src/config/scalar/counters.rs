//! Where limits are counted: `memory`, `redis://counters.internal:6379/0`.
//!
//! In: the word or the URL. Out: what is needed to connect. Not here:
//! connecting (`state::counters`).

use std::fmt;
use std::str::FromStr;

use http::Uri;

use super::Secret;
use super::endpoint::login_and_place;

/// Where limits are counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Counters {
    /// In this process alone.
    #[default]
    Memory,
    /// In a Redis, or in what speaks like one, that several gateways share.
    Redis(RedisAddress),
}

/// Where a Redis is, and as whom it is used. It shows neither user nor password.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisAddress {
    /// Whether the connection is made with TLS.
    pub tls: bool,
    /// Host name or address, without brackets.
    pub host: Box<str>,
    /// Its port.
    pub port: u16,
    /// The user; none for Redis' own default.
    pub user: Option<Box<str>>,
    /// The password.
    pub password: Option<Secret>,
    /// The number of the database.
    pub database: u16,
}

/// The port of Redis, with TLS or without.
const PORT: u16 = 6379;

const NO_PLACE: &str =
    "this is not a place for counters: write `memory` or redis://HOST:6379/0, with rediss:// for TLS";
const ODD_LOGIN: &str = "this is not a place for counters: write redis://:PASSWORD@HOST:6379/0, with / @ : # ? % in the password as %2F %40 %3A %23 %3F %25";

impl FromStr for Counters {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "memory" => Ok(Counters::Memory),
            _ => text.parse().map(Counters::Redis),
        }
    }
}

impl FromStr for RedisAddress {
    type Err = String;

    // Never quotes the text: a password may stand in it.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || if text.contains('@') { ODD_LOGIN.to_owned() } else { NO_PLACE.to_owned() };
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let tls = match uri.scheme_str() {
            Some("redis") => false,
            Some("rediss") => true,
            _ => return Err(wrong()),
        };
        let place = uri.authority().and_then(|authority| login_and_place(authority, PORT));
        let (login, host, port) = place.ok_or_else(wrong)?;
        if uri.query().is_some() || text.contains('#') {
            return Err("a URL here has no `?` and no `#`: leave out what stands behind its path".to_owned());
        }
        let database = match uri.path() {
            "" | "/" => 0,
            path => path.strip_prefix('/').and_then(|number| number.parse().ok()).ok_or_else(|| {
                "the path of this URL is not the number of a database: write it like redis://HOST:6379/0".to_owned()
            })?,
        };
        let (user, password) = login_of(login.unwrap_or_default())?;
        Ok(RedisAddress { tls, host: host.into(), port, user, password, database })
    }
}

/// User and password, percent-decoded.
fn login_of(text: &str) -> Result<(Option<Box<str>>, Option<Secret>), String> {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    let (user, password) = (decoded(user)?, decoded(password)?);
    match (user.is_empty(), password.is_empty()) {
        (true, true) => return Ok((None, None)),
        (false, true) => {
            let sentence = "this URL has a user and no password: write redis://USER:PASSWORD@HOST, or redis://:PASSWORD@HOST for a password alone";
            return Err(sentence.to_owned());
        }
        (_, false) => {}
    }
    let password = password.parse().map_err(|_: String| {
        "the password of this URL cannot be used: write it in printable ASCII, without blanks around it".to_owned()
    })?;
    Ok((Some(user).filter(|user| !user.is_empty()).map(Into::into), Some(password)))
}

fn decoded(text: &str) -> Result<String, String> {
    let decoded = percent_encoding::percent_decode_str(text).decode_utf8();
    decoded.map(|text| text.into_owned()).map_err(|_| "the user name or password of this URL is not UTF-8".to_owned())
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Counters::Memory => f.write_str("memory"),
            Counters::Redis(address) => address.fmt(f),
        }
    }
}

// Without user and password, and still a URL that can be read.
impl fmt::Display for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "rediss" } else { "redis" };
        let login = match (&self.user, &self.password) {
            (_, None) => "",
            (None, Some(_)) => ":***@",
            (Some(_), Some(_)) => "***:***@",
        };
        match self.host.contains(':') {
            true => write!(f, "{scheme}://{login}[{}]:{}/{}", self.host, self.port, self.database),
            false => write!(f, "{scheme}://{login}{}:{}/{}", self.host, self.port, self.database),
        }
    }
}

// A user may be a password that was written in the wrong place.
impl fmt::Debug for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

super::from_text!(Counters, "`memory` or a URL like redis://counters.internal:6379/0");
super::as_text!(Counters);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_taken_apart_and_not_shown() {
        let address: RedisAddress = "rediss://us%40er:p%3A%2Fw@[::1]:7000/3".parse().expect("an address");
        assert_eq!((&*address.host, address.port, address.database, address.tls), ("::1", 7000, 3, true));
        assert_eq!(address.user.as_deref(), Some("us@er"));
        assert_eq!(address.password.as_ref().map(Secret::expose), Some("p:/w"));
        assert_eq!(address.to_string(), "rediss://***:***@[::1]:7000/3");
        let address: RedisAddress = "redis://:secret@redis.internal".parse().expect("an address");
        assert_eq!((address.user, address.port, address.database), (None, PORT, 0));
    }
}
