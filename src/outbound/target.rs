//! Where a call goes.
//!
//! In: a URL. Out: its parts, and a form that may be shown: without its query,
//! in which a token may stand. Not here: bases of upstreams (`Endpoint`).

use std::fmt;
use std::str::FromStr;

use http::Uri;
use http::uri::PathAndQuery;

use crate::config::scalar::{Endpoint, Scheme};

/// An `http://` or `https://` URL without user name and password.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    uri: Uri,
    scheme: Scheme,
    host: String,
    port: u16,
}

impl Target {
    /// A path of an upstream, behind the base path of its URL.
    pub fn of(endpoint: &Endpoint, path: &str) -> Option<Self> {
        format!("{endpoint}{path}").parse().ok()
    }

    /// Plain or TLS.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Host name or address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, 80 or 443 where none is written.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The path, without the query.
    pub fn path(&self) -> &str {
        self.uri.path()
    }

    /// What stands behind the `?`.
    pub fn query(&self) -> Option<&str> {
        self.uri.query()
    }

    /// The same with another query, or none.
    #[must_use]
    pub fn with_query(&self, query: Option<&str>) -> Self {
        let path = match query {
            Some(query) => format!("{}?{query}", self.path()),
            None => self.path().to_owned(),
        };
        let mut parts = self.uri.clone().into_parts();
        parts.path_and_query = PathAndQuery::from_maybe_shared(bytes::Bytes::from(path)).ok();
        Target { uri: Uri::from_parts(parts).unwrap_or_else(|_| self.uri.clone()), ..self.clone() }
    }

    /// Scheme, host and port: `https://api.tinybird.co`.
    pub fn origin(&self) -> String {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        format!("{scheme}://{}", self.authority())
    }

    /// The value of `Host`.
    pub(super) fn authority(&self) -> &str {
        self.uri.authority().map_or("", http::uri::Authority::as_str)
    }

    pub(super) fn uri(&self) -> &Uri {
        &self.uri
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The text is not quoted: a token may stand in it.
        let wrong = || "this is not a URL that can be called: write it like https://api.tinybird.co/path".to_owned();
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let (scheme, usual_port) = match uri.scheme_str() {
            Some("http") => (Scheme::Http, 80),
            Some("https") => (Scheme::Https, 443),
            _ => return Err(wrong()),
        };
        let authority = uri.authority().ok_or_else(wrong)?;
        if authority.as_str().contains('@') {
            return Err("a URL here cannot carry a user name or password".to_owned());
        }
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("") => usual_port,
            Some(port) => port.strip_prefix(':').and_then(|port| port.parse().ok()).ok_or_else(wrong)?,
            None => return Err(wrong()),
        };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() || port == 0 {
            return Err(wrong());
        }
        Ok(Target { scheme, host, port, uri })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin(), self.path())
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
