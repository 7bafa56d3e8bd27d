//! What of an upstream's answer may leave.
//!
//! In: headers and error bodies as the upstream sent them. Out: those that are
//! allowed, rewritten where they name the upstream; and what becomes of the body
//! of a successful answer, which passes as bytes, but for members of a pipe's
//! JSON that are to be taken out. Not here: sending (`proxy`).

mod error_body;
mod phrases;
mod redirect;
mod strip;
mod tripwire;

pub use error_body::{Encoding, ErrorBody, MAX_ERROR_BODY};
pub use phrases::Phrases;
pub use strip::{Names, Strip};
pub use tripwire::Tripwire;

use std::collections::HashSet;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use regex::Regex;

use crate::config::scalar::{Endpoint, PathPattern, Template};
use crate::config::section::white_label::ErrorText;

use redirect::Redirect;

/// The compiled rules of a route.
#[derive(Clone, Debug)]
pub struct Scrub {
    error_text: ErrorText,
    redirect: Redirect,
    wording: Arc<Wording>,
    tripwire: Arc<Tripwire>,
    /// Members that answers of this route lose.
    strip: Names,
}

/// What becomes of the body of an answer that is no error.
#[derive(Debug)]
pub enum BodyFate {
    /// It passes as it is.
    Keep,
    /// There is none any more: what stands in a redirect's body names where it leads, in words of the upstream.
    Nothing,
    /// It passes without some members.
    Strip(Strip),
    /// Members would have to be taken out of it, and cannot.
    Unreadable,
    /// It would have lost some members, if there were one: an answer to HEAD, or one that says that nothing changed.
    WouldStrip,
}

/// What becomes of one header of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderFate {
    /// It does not leave.
    Drop,
    /// It leaves as it is.
    Keep,
    /// It leaves with this value.
    Replace(String),
}

/// An answer carries a configured credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tripped;

impl Scrub {
    /// The rules for answers of one upstream on one route.
    pub fn compile(
        error_text: ErrorText,
        upstream: &[Endpoint],
        public: (&PathPattern, Option<&Template>),
        wording: Arc<Wording>,
        tripwire: Arc<Tripwire>,
    ) -> Self {
        let redirect = Redirect::compile(upstream, public);
        Scrub { error_text, redirect, wording, tripwire, strip: Names::default() }
    }

    /// The same, for a route whose answers are JSON documents of a pipe, which lose these members.
    #[must_use]
    pub fn stripping(mut self, names: Names) -> Self {
        self.strip = names;
        self
    }

    /// Whether answers have to come plain and whole, because members are taken out of them.
    pub fn strips(&self) -> bool {
        !self.strip.is_empty()
    }

    /// What becomes of the body of an answer that is no error, to a request with this method.
    ///
    /// The type is not asked: what is sent as something else and is a JSON document all the same loses its members, too,
    /// and what is none passes.
    pub fn body(&self, method: &Method, status: StatusCode, headers: &HeaderMap) -> BodyFate {
        let says_nothing = [StatusCode::NO_CONTENT, StatusCode::RESET_CONTENT].contains(&status);
        if status == StatusCode::NOT_MODIFIED {
            return if self.strips() { BodyFate::WouldStrip } else { BodyFate::Keep };
        }
        if status.is_redirection() {
            return BodyFate::Nothing;
        }
        let is_empty = headers.get(header::CONTENT_LENGTH).is_some_and(|length| length == "0");
        if !self.strips() || !status.is_success() || says_nothing || is_empty {
            return BodyFate::Keep;
        }
        let is_plain = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"identity");
        let is_part = status == StatusCode::PARTIAL_CONTENT || headers.contains_key(header::CONTENT_RANGE);
        if is_part || !headers.get_all(header::CONTENT_ENCODING).iter().all(is_plain) {
            // Whatever the upstream was asked for.
            return BodyFate::Unreadable;
        }
        match *method == Method::HEAD {
            true => BodyFate::WouldStrip,
            false => BodyFate::Strip(Strip::new(self.strip.clone())),
        }
    }

    /// What becomes of a header.
    pub fn header(&self, name: &HeaderName, value: &[u8]) -> HeaderFate {
        if *name == header::LOCATION || *name == header::CONTENT_LOCATION {
            return match std::str::from_utf8(value)
                .ok()
                .and_then(|location| self.redirect.public(location, &self.wording))
            {
                Some(location) => HeaderFate::Replace(location),
                None => HeaderFate::Drop,
            };
        }
        if is_allowed(name) { HeaderFate::Keep } else { HeaderFate::Drop }
    }

    /// Looks for credentials in the headers that are about to leave.
    ///
    /// # Errors
    /// [`Tripped`], and then nothing of the answer may be sent.
    pub fn check_headers(&self, headers: &HeaderMap) -> Result<(), Tripped> {
        let trips = headers.iter().any(|(name, value)| !is_framing(name) && self.tripwire.trips(value.as_bytes()));
        if trips { Err(Tripped) } else { Ok(()) }
    }

    /// The body for an error status, from what the upstream sent.
    ///
    /// # Errors
    /// [`Tripped`], and then nothing of what was sent may be used.
    pub fn error_body(&self, status: StatusCode, sent: &ErrorBody, told: Told<'_>) -> Result<Vec<u8>, Tripped> {
        let passes = match self.error_text {
            ErrorText::All => true,
            ErrorText::ClientErrors => status.is_client_error(),
            ErrorText::Nothing => false,
        };
        let text = if passes { sent.decoded() } else { None };
        if text.as_ref().is_some_and(|text| self.tripwire.trips(text)) {
            return Err(Tripped);
        }
        let body = error_body::compose(status, text.as_deref(), self.terms(), told);
        // Looked at again: what was behind JSON's escapes is plain now.
        if text.is_some() && self.tripwire.trips(&body) { Err(Tripped) } else { Ok(body) }
    }

    /// The body for an error status when nothing the upstream sent may be used.
    pub fn bare_error_body(&self, status: StatusCode, told: Told<'_>) -> Vec<u8> {
        error_body::compose(status, None, self.terms(), told)
    }

    fn terms(&self) -> Terms<'_> {
        Terms { wording: &self.wording, strip: &self.strip }
    }
}

/// What an error body says of our own.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// The id of the request.
    pub request_id: &'a str,
    /// How the host that was asked speaks.
    pub phrases: &'a Phrases,
}

/// What must not stand in the body of an error.
#[derive(Clone, Copy, Debug)]
struct Terms<'a> {
    wording: &'a Wording,
    /// Members of the document.
    strip: &'a Names,
}

/// Headers of an upstream that may leave; its own identity, cookies, CORS and
/// hop-by-hop headers are not among them.
fn is_allowed(name: &HeaderName) -> bool {
    // Texts, because an array of `HeaderName` would be made and dropped for every header.
    match name.as_str() {
        "accept-ranges"
        | "age"
        | "allow"
        | "cache-control"
        | "content-disposition"
        | "content-encoding"
        | "content-language"
        | "content-length"
        | "content-range"
        | "content-type"
        | "etag"
        | "expires"
        | "last-modified"
        | "pragma"
        | "retry-after"
        | "transfer-encoding"
        | "vary" => true,
        other => other.starts_with("ratelimit") || other.starts_with("x-ratelimit-"),
    }
}

/// Written by HTTP itself; a credential cannot hide in a number.
fn is_framing(name: &HeaderName) -> bool {
    *name == header::CONTENT_LENGTH || *name == header::TRANSFER_ENCODING
}

/// What must not stand in a text that callers read.
#[derive(Debug)]
pub struct Wording {
    hosts: HashSet<String>,
    replacements: Vec<(Regex, &'static str)>,
}

impl Wording {
    /// The patterns, with the upstreams' own host names among them.
    pub fn compile<'a>(hosts: impl Iterator<Item = &'a str>) -> Self {
        let hosts: HashSet<String> = hosts.map(str::to_owned).collect();
        let escaped: Vec<String> = hosts.iter().map(|host| regex::escape(host)).collect();
        let escaped = (!hosts.is_empty()).then(|| format!(r"(?i)(?-u:\b)({})(:[0-9]+)?(?-u:\b)", escaped.join("|")));
        // ASCII word boundaries and classes: Unicode's tables would take megabytes.
        let patterns = [
            // URLs with any scheme.
            (r#"(?i)(?-u:\b)[a-z][a-z0-9+.-]*://[^\s"'<>()\[\]{}]+"#, "[link]"),
            (r#"(?i)(?-u:\b)(token|api_key|apikey|password|secret)=[^\s&"'<>]+"#, "$1=***"),
            // Tinybird's static tokens, then anything shaped like a JWT.
            (r"(?-u:\b)p\.ey[A-Za-z0-9_-]{8,}(\.[A-Za-z0-9_-]+)*", "***"),
            (r"(?-u:\b)ey[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*", "***"),
            (r"(?i)(?-u:\b)Bearer\s+[A-Za-z0-9._~+/=-]{8,}", "***"),
            (escaped.as_deref().unwrap_or_default(), "the service"),
            (
                r"(?i)[A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*(tinybird|click\s?house)[A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*",
                "the service",
            ),
        ];
        let replacements = patterns
            .into_iter()
            .filter(|(pattern, _)| !pattern.is_empty())
            // The patterns are constants and escaped names: they compile.
            .filter_map(|(pattern, replacement)| Some((Regex::new(pattern).ok()?, replacement)))
            .collect();
        Wording { hosts, replacements }
    }

    /// Whether a host, in lower case, is an upstream's or bears a vendor's name.
    fn is_inside(&self, host: &str) -> bool {
        self.hosts.contains(host) || ["tinybird", "clickhouse"].iter().any(|vendor| host.contains(vendor))
    }

    /// The text without URLs, tokens and vendor names.
    pub fn clean(&self, text: &str) -> String {
        self.replacements.iter().fold(text.to_owned(), |text, (pattern, replacement)| match pattern.is_match(&text) {
            true => pattern.replace_all(&text, *replacement).into_owned(),
            false => text,
        })
    }
}

#[cfg(test)]
mod tests;
