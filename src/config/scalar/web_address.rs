//! What is fetched from the web: `https://id.example.com/keys?p=policy`.
//!
//! In: a URL as its owner publishes it. Out: the same text, byte for byte, once
//! it is one that can be called. Not here: bases of upstreams (`endpoint`), to
//! which a path is added and which have no query; fetching (`outbound`).

use std::fmt;
use std::str::FromStr;

use http::Uri;

use super::Scheme;
use super::endpoint::{is_host_name, port_of};

/// An `http://` or `https://` URL with path and query as they were written: a slash at the end may be another page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebAddress {
    text: Box<str>,
    scheme: Scheme,
    host: Box<str>,
    has_query: bool,
}

impl WebAddress {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Plain or TLS.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Host name or address, without brackets or port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether there is a `?` in it.
    pub fn has_query(&self) -> bool {
        self.has_query
    }
}

impl FromStr for WebAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // Never quoted: a user name, a password or a token may stand in it.
        let wrong = || "this is not a URL that can be fetched: write it like https://id.example.com/keys".to_owned();
        if text.contains('#') {
            return Err("a URL here has no `#`: what stands behind it is never sent".to_owned());
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(
                "a URL has no blanks and no characters outside ASCII: write them as %20 and the like".to_owned()
            );
        }
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let (scheme, default_port) = match uri.scheme_str() {
            Some("http") => (Scheme::Http, 80),
            Some("https") => (Scheme::Https, 443),
            _ => return Err(wrong()),
        };
        let authority = uri.authority().ok_or_else(wrong)?;
        if authority.as_str().contains('@') {
            return Err("a URL here cannot carry a user name or password".to_owned());
        }
        port_of(authority, default_port).ok_or_else(wrong)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.parse::<std::net::IpAddr>().is_err() && !is_host_name(host.strip_suffix('.').unwrap_or(host)) {
            return Err("this URL has no host that can be looked up: write a name like id.example.com".to_owned());
        }
        Ok(WebAddress {
            text: text.into(),
            scheme,
            host: host.to_ascii_lowercase().into(),
            has_query: uri.query().is_some(),
        })
    }
}

impl fmt::Display for WebAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

super::from_text!(WebAddress, "a URL like https://id.example.com/keys");
super::as_text!(WebAddress);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_stays_as_it_was_written() {
        for (text, host, scheme) in [
            ("https://id.example.com/keys", "id.example.com", Scheme::Https),
            ("https://id.example.com/keys/", "id.example.com", Scheme::Https),
            ("https://ID.example.com/t/discovery/keys?p=B2C_1_in&q=%2F", "id.example.com", Scheme::Https),
            ("https://id.example.com", "id.example.com", Scheme::Https),
            ("https://id.example.com?p=1", "id.example.com", Scheme::Https),
            ("http://127.0.0.1:8080//a/../keys", "127.0.0.1", Scheme::Http),
            ("https://[::1]:8443/keys", "::1", Scheme::Https),
        ] {
            let address: WebAddress = text.parse().unwrap();
            assert_eq!((address.as_str(), address.host(), address.scheme()), (text, host, scheme));
            assert_eq!(address.has_query(), text.contains('?'), "{text}");
            assert_eq!(serde_json::to_string(&address).unwrap(), format!("\"{text}\""));
        }
    }

    #[test]
    fn what_cannot_be_fetched_is_refused_without_being_repeated() {
        for text in [
            "",
            "id.example.com/hunter2",
            "ftp://id.example.com/hunter2",
            "https:///hunter2",
            "https://hunter2:x@id.example.com/",
            "https://id.example.com/keys#hunter2",
            "https://id.example.com:0/hunter2",
            "https://id.example.com:99999/hunter2",
            "https://-bad-.example.com/hunter2",
            "https://id.example.com/hunter2 b",
            "https://id.example.com/hunter2é",
        ] {
            let why = text.parse::<WebAddress>().unwrap_err();
            assert!(!why.contains("hunter2"), "{why}");
        }
    }
}
