//! A request that is asked about and never sent.
//!
//! In: method, URL, headers and body as people write them for curl. Out: a
//! [`Question`], or a sentence that says what cannot be sent. Not here: what
//! the gateway makes of it.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use crate::config::Config;
use crate::exchange::head::CallerScheme;
use crate::x509::Chain;

/// One request, whole.
#[derive(Clone, Debug)]
pub struct Question {
    pub(super) method: Method,
    /// Path and query as they would travel.
    pub(super) target: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) peer: Option<IpAddr>,
    pub(super) scheme: CallerScheme,
    /// What its caller shows in the handshake; nothing proves here that he holds the key.
    pub(super) certificate: Option<Chain>,
}

impl Question {
    /// A request for `url`, which is a whole URL or a path; `host` is asked where neither it nor a header names one.
    ///
    /// `Content-Length` is added where no header frames the body. A connection from 127.0.0.1 is assumed.
    ///
    /// # Errors
    /// A sentence about a method, URL or header that no HTTP request can carry.
    pub fn new(
        method: &str,
        url: &str,
        headers: &[(String, String)],
        body: impl Into<Bytes>,
        host: &str,
    ) -> Result<Self, String> {
        let method: Method = method_word(method)?.parse().map_err(|_| "this is not a method".to_owned())?;
        let (authority, target) = split(url)?;
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let (name, value) = field(name, value)?;
            map.append(name, value);
        }
        if !map.contains_key(header::HOST) {
            let authority = authority.unwrap_or(host);
            let value = HeaderValue::from_str(authority)
                .map_err(|_| "this is not a host: write it like localhost:8080".to_owned())?;
            map.insert(header::HOST, value);
        }
        let body = body.into();
        let is_framed = map.contains_key(header::CONTENT_LENGTH) || map.contains_key(header::TRANSFER_ENCODING);
        if !body.is_empty() && !is_framed {
            map.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        let is_https = url.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"));
        let scheme = if is_https { CallerScheme::Https } else { CallerScheme::Http };
        Ok(Question { method, target, headers: map, body, peer: None, scheme, certificate: None })
    }

    /// What a caller on this machine would write into the URL: the host of the first listener.
    pub fn host(config: &Config) -> String {
        let first = config.listeners.first().map(|listener| listener.address);
        match first {
            Some(address) if address.ip().is_unspecified() => format!("localhost:{}", address.port()),
            Some(address) => SocketAddr::to_string(&address),
            None => "localhost".to_owned(),
        }
    }

    /// The same request on a connection from `peer`.
    #[must_use]
    pub fn from_peer(self, peer: IpAddr) -> Self {
        Question { peer: Some(peer), ..self }
    }

    /// The same request on a connection with TLS, for which the caller showed the certificate in this PEM text; `url` is what
    /// was asked.
    ///
    /// # Errors
    /// A sentence about a text with no certificate in it, or a URL without TLS.
    pub fn with_certificate(self, url: &str, pem: &[u8]) -> Result<Self, String> {
        if url.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://")) {
            return Err("a certificate is shown over TLS only: write the URL with https://".to_owned());
        }
        Ok(Question { certificate: Some(Chain::from_pem(pem)?), scheme: CallerScheme::Https, ..self })
    }
}

/// Reads a method as a word of a command line.
///
/// # Errors
/// A sentence about a word that is no method.
pub fn method_word(word: &str) -> Result<String, String> {
    match Method::from_bytes(word.as_bytes()) {
        Ok(method) => Ok(method.to_string()),
        Err(_) => Err("this is not a method: write it like GET or POST".to_owned()),
    }
}

/// Reads a URL or a path as a word of a command line.
///
/// # Errors
/// A sentence about a word that is neither.
pub fn url_word(word: &str) -> Result<String, String> {
    let (authority, _) = split(word)?;
    match authority.is_none_or(|authority| authority.is_ascii()) {
        true => Ok(word.to_owned()),
        false => Err("a host has no characters outside ASCII: write an international name as xn--".to_owned()),
    }
}

/// Takes `Name: value` apart, as curl's `-H` does.
///
/// # Errors
/// A sentence about a line that is no header.
pub fn header_line(line: &str) -> Result<(String, String), String> {
    let (name, value) = line.split_once(':').ok_or("this is not a header: write it like 'Name: value'")?;
    let (name, value) = (name.trim(), value.trim());
    field(name, value)?;
    Ok((name.to_owned(), value.to_owned()))
}

fn field(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), String> {
    let parsed = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| "this is not the name of a header: write it like 'Name: value'".to_owned())?;
    // The value may be a credential, so it is not repeated.
    let value = HeaderValue::from_str(value)
        .map_err(|_| format!("the value of the header `{name}` has a character that no header can carry"))?;
    Ok((parsed, value))
}

/// The authority, if there is one, and what goes on the request line.
fn split(url: &str) -> Result<(Option<&str>, String), String> {
    if url.bytes().any(|byte| byte.is_ascii_control() || byte == b' ') {
        return Err("a URL has no blanks and no control characters: write a blank as %20".to_owned());
    }
    // Programs do not send the part behind `#`, and what were sent of it would be cut off on arrival.
    let url = url.split('#').next().unwrap_or_default();
    if url.starts_with('/') {
        return Ok((None, url.to_owned()));
    }
    let scheme_end = url.find("://").filter(|end| {
        url.get(..*end)
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https"))
    });
    let rest = scheme_end.and_then(|end| url.get(end + 3..)).ok_or_else(|| {
        "this is not a URL: write it like http://localhost:8080/path, or only the path with its `/`".to_owned()
    })?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at_checked(end).unwrap_or((rest, ""));
    if authority.is_empty() {
        return Err("the URL has no host: write it like http://localhost:8080/path".to_owned());
    }
    if authority.contains('@') {
        return Err("a URL here cannot carry a user name or password: use a header".to_owned());
    }
    let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    Ok((Some(authority), target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_paths_are_read() {
        for (url, authority, target) in [
            ("/a?b=1", None, "/a?b=1"),
            ("http://h:8080/a?b=1#c", Some("h:8080"), "/a?b=1"),
            ("HTTPS://h", Some("h"), "/"),
            ("http://h?x=/y", Some("h"), "/?x=/y"),
            ("/a/../b%2f", None, "/a/../b%2f"),
        ] {
            assert_eq!(split(url), Ok((authority, target.to_owned())), "{url}");
        }
        for url in ["", "a", "ftp://h/a", "http:///a", "http://u:p@h/a", "/a b", "/a\n", "h:8080/a", "*"] {
            assert!(split(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_body_brings_its_length_unless_a_header_frames_it() {
        let question = |headers: &[(String, String)]| Question::new("POST", "/a", headers, "12345", "h").unwrap();
        assert_eq!(question(&[]).headers.get("content-length").unwrap(), "5");
        assert_eq!(question(&[]).headers.get("host").unwrap(), "h");
        let chunked = question(&[("Transfer-Encoding".into(), "chunked".into())]);
        assert!(chunked.headers.get("content-length").is_none());
    }

    #[test]
    fn a_bad_header_is_named_and_its_value_is_not() {
        assert_eq!(header_line("A:b: c"), Ok(("A".into(), "b: c".into())));
        assert!(header_line("no colon").is_err());
        let message = header_line("Authorization: hunter2\u{7}").unwrap_err();
        assert!(message.contains("Authorization") && !message.contains("hunter2"), "{message}");
    }
}
