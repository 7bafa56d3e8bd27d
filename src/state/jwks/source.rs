//! Where the keys of an identity provider come from.
//!
//! In: what a configuration says. Out: what tells one source from another, and
//! how it is shown. Not here: asking it (`fetch`).

use std::fmt;

use crate::outbound::Trust;

/// One source of keys. What is equal is fetched once, however many providers use it.
#[derive(Clone, PartialEq, Eq)]
pub struct Source {
    pub(super) place: Place,
    /// DER; empty for the system's.
    authorities: Vec<Vec<u8>>,
}

/// How its keys are found.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// By OpenID Connect discovery, from this issuer, as it is written.
    Discovery(String),
    /// At this URL.
    Jwks(String),
}

impl Source {
    /// Keys that OpenID Connect discovery finds, from the issuer exactly as its tokens say it.
    pub fn discovery(issuer: impl Into<String>) -> Self {
        Source { place: Place::Discovery(issuer.into()), authorities: Vec::new() }
    }

    /// A set of keys at a URL. One that cannot be called is found out when it is fetched.
    pub fn jwks(url: impl Into<String>) -> Self {
        Source { place: Place::Jwks(url.into()), authorities: Vec::new() }
    }

    /// The same, where only these authorities (DER) sign its certificates; none stand for the system's.
    #[must_use]
    pub fn trusting(mut self, authorities: Vec<Vec<u8>>) -> Self {
        self.authorities = authorities;
        self
    }

    /// Whose certificates are believed.
    pub(super) fn trust(&self) -> Trust {
        if self.authorities.is_empty() { Trust::System } else { Trust::Given(self.authorities.clone()) }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Place::Discovery(url) | Place::Jwks(url)) = &self.place;
        // A token may stand in the query.
        f.write_str(url.split(['?', '#']).next().unwrap_or_default())
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
