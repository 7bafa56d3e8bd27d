//! Where an authority's ACME directory is: `letsencrypt`, `letsencrypt-staging`, or a URL.
//!
//! In: a word or a URL. Out: the same, with the URL that it means. Not here:
//! asking it (`tls::acme`).

use std::fmt;
use std::str::FromStr;

use super::{Scheme, WebAddress};

const KNOWN: [(&str, &str); 2] = [
    ("letsencrypt", "https://acme-v02.api.letsencrypt.org/directory"),
    ("letsencrypt-staging", "https://acme-staging-v02.api.letsencrypt.org/directory"),
];

/// A directory (RFC 8555 section 7.1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmeDirectory {
    written: Box<str>,
    url: Box<str>,
}

impl AcmeDirectory {
    /// Its URL.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Default for AcmeDirectory {
    fn default() -> Self {
        let (word, url) = KNOWN[0];
        AcmeDirectory { written: word.into(), url: url.into() }
    }
}

impl FromStr for AcmeDirectory {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((word, url)) = KNOWN.iter().find(|(word, _)| *word == text) {
            return Ok(AcmeDirectory { written: (*word).into(), url: (*url).into() });
        }
        let is_url = text.contains("://");
        let wrong = "this is no ACME directory: write `letsencrypt`, `letsencrypt-staging`, or a URL like https://ca.example.com/acme/directory";
        let address: WebAddress = text.parse().map_err(|why: String| if is_url { why } else { wrong.to_owned() })?;
        match address.scheme() {
            Scheme::Https => Ok(AcmeDirectory { written: text.into(), url: text.into() }),
            Scheme::Http => Err("an ACME directory is asked over TLS only: write https://".to_owned()),
        }
    }
}

impl fmt::Display for AcmeDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

super::from_text!(AcmeDirectory, "`letsencrypt`, `letsencrypt-staging`, or a URL");
super::as_text!(AcmeDirectory);
