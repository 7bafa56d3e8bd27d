//! Where an upstream lives: `https://api.tinybird.co`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::Uri;
use http::uri::Authority;
use percent_encoding::percent_decode_str;

/// The base URL of an upstream, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    scheme: Scheme,
    host: String,
    port: u16,
    base_path: String,
}

/// How the upstream is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS, the certificate verified.
    Https,
}

impl Endpoint {
    /// Plain or TLS.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Lower-case host name or address, without brackets or port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, 80 or 443 where none is written.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What stands before every path, without a slash at its end.
    pub fn base_path(&self) -> &str {
        &self.base_path
    }

    /// The address, where the host is one rather than a name.
    pub fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// The value of `Host` towards this upstream.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.scheme, self.port) {
            (Scheme::Http, 80) | (Scheme::Https, 443) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|_| wrong(text))?;
        let (scheme, default_port) = match uri.scheme_str() {
            Some("http") => (Scheme::Http, 80),
            Some("https") => (Scheme::Https, 443),
            _ => return Err(wrong(text)),
        };
        let authority = uri.authority().ok_or_else(|| wrong(text))?;
        if authority.as_str().contains('@') {
            return Err("a URL here cannot carry a user name or password: use `token` or `headers`".to_owned());
        }
        if uri.query().is_some() || text.contains('#') {
            return Err("a URL here has no `?` and no `#`: put parameters into a route's `params.fixed`".to_owned());
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let host = host.strip_suffix('.').unwrap_or(host);
        if host.is_empty() {
            return Err(wrong(text));
        }
        if host.parse::<IpAddr>().is_err() && !is_host_name(host) {
            return Err(format!("`{text}` has no host that can be looked up: write a name like api.tinybird.co"));
        }
        if let Some(problem) = path_problem(uri.path()) {
            return Err(format!("`{text}` has {problem}: leave it out"));
        }
        let endpoint = Endpoint {
            scheme,
            host: host.to_ascii_lowercase(),
            port: port_of(authority, default_port).ok_or_else(|| wrong(text))?,
            base_path: uri.path().trim_end_matches('/').to_owned(),
        };
        // Without a name there is no SNI, and Pingora then skips verification.
        if scheme == Scheme::Https && endpoint.address().is_some() {
            return Err(format!(
                "`{text}` names an address, and a certificate is checked against a host name: write the name"
            ));
        }
        Ok(endpoint)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        write!(f, "{scheme}://{}{}", self.authority(), self.base_path)
    }
}

/// Labels of letters, digits, `-` and, as container networks have it, `_`.
pub(super) fn is_host_name(host: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.len() <= 253 && host.split('.').all(is_label)
}

/// Why a path of an upstream would not arrive as it is written.
pub(crate) fn path_problem(path: &str) -> Option<&'static str> {
    let mut rest = path;
    while let Some((_, behind)) = rest.split_once('%') {
        let is_byte = behind.get(..2).is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        if !is_byte {
            return Some("a `%` without two hexadecimal digits");
        }
        rest = behind;
    }
    if path.contains("//") {
        return Some("an empty segment (`//`)");
    }
    let decoded = |segment| percent_decode_str(segment).collect::<Vec<u8>>();
    let is_dots = |segment| matches!(decoded(segment).as_slice(), b"." | b"..");
    if path.split('/').any(is_dots) {
        return Some("a `.` or `..` segment");
    }
    decoded(path).iter().any(u8::is_ascii_control).then_some("a control character")
}

/// What stands before the `@` of a URL to a database, if there is one, and behind it: a host in small letters without
/// brackets, and its port.
pub(super) fn login_and_place(authority: &Authority, default_port: u16) -> Option<(Option<&str>, String, u16)> {
    let (login, place) = match authority.as_str().rsplit_once('@') {
        Some((login, place)) => (Some(login), place),
        None => (None, authority.as_str()),
    };
    // Where a host ends is only clear without what stands before it.
    let place: Authority = place.parse().ok()?;
    let host = place.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let is_host = host.parse::<IpAddr>().is_ok() || is_host_name(&host);
    Some((login, host, port_of(&place, default_port)?)).filter(|_| is_host)
}

pub(super) fn port_of(authority: &Authority, default_port: u16) -> Option<u16> {
    match authority.as_str().strip_prefix(authority.host()) {
        Some("") => Some(default_port),
        Some(port) => port.strip_prefix(':')?.parse().ok().filter(|port| *port != 0),
        None => None,
    }
}

fn wrong(text: &str) -> String {
    // A user name, a password or a token may stand in it.
    if text.contains(['@', '?', '#']) {
        return "this is not a URL: write it like https://api.tinybird.co".to_owned();
    }
    format!("`{text}` is not a URL: write it like https://api.tinybird.co")
}

super::from_text!(Endpoint, "a URL like https://api.tinybird.co");
super::as_text!(Endpoint);
