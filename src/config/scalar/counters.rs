//! Where limits are counted: `memory`, `redis://counters.internal:6379/0`.
//!
//! In: the word or the URL. Out: what is needed to connect. Not here:
//! connecting (`state::counters`).

use std::fmt;
use std::str::FromStr;

use http::Uri;

use super::Secret;
use super::endpoint::{is_host_name, port_of};

/// Where limits are counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Counters {
    /// In this process alone.
    #[default]
    Memory,
    /// In a Redis, or in what speaks like one, that several gateways share.
    Redis(RedisAddress),
}

/// Where a Redis is, and as whom it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
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
        let wrong = || {
            match text.contains('@') {
            true => "this is not a place for counters: write redis://:PASSWORD@HOST:6379/0, with / @ : # ? % in the password as %2F %40 %3A %23 %3F %25",
            false => "this is not a place for counters: write `memory` or redis://HOST:6379/0, with rediss:// for TLS",
        }
        .to_owned()
        };
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let tls = match uri.scheme_str() {
            Some("redis") => false,
            Some("rediss") => true,
            _ => return Err(wrong()),
        };
        let authority = uri.authority().ok_or_else(wrong)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.parse::<std::net::IpAddr>().is_err() && !is_host_name(host) {
            return Err(wrong());
        }
        let login = authority.as_str().rsplit_once('@').map(|(login, _)| login);
        let (user, password) = match login.map(|login| login.split_once(':').unwrap_or((login, ""))) {
            None => (None, None),
            Some((user, password)) => (Some(decoded(user)?).filter(|user| !user.is_empty()), Some(decoded(password)?)),
        };
        let password = password.filter(|password| !password.is_empty()).map(|password| password.parse()).transpose();
        let password = password.map_err(|_: String| {
            "the password of this URL cannot be used: write it in printable ASCII, without blanks around it".to_owned()
        })?;
        if user.is_some() && password.is_none() {
            return Err(
                "this URL has a user and no password: write redis://USER:PASSWORD@HOST or redis://:PASSWORD@HOST"
                    .to_owned(),
            );
        }
        let database = match uri.path() {
            "" | "/" => 0,
            path => path.trim_start_matches('/').parse().map_err(|_| {
                "the path of this URL is not the number of a database: write it like redis://HOST:6379/0".to_owned()
            })?,
        };
        if uri.query().is_some() {
            return Err("a URL here has no `?`".to_owned());
        }
        let port = port_of(authority, PORT).ok_or_else(wrong)?;
        Ok(RedisAddress {
            tls,
            host: host.to_ascii_lowercase().into(),
            port,
            user: user.map(Into::into),
            password,
            database,
        })
    }
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

super::from_text!(Counters, "`memory` or a URL like redis://counters.internal:6379/0");
super::as_text!(Counters);
