//! What the upstream gets: path, headers, the hidden credential.
//!
//! In: a [`Permit`], the head, and the caller's headers without hop-by-hop
//! ones. Out: a request head that is built from scratch, so that nothing
//! travels which is not on a list. Not here: parameters (`params`), choosing an
//! address (`upstream`).

mod mint;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header, request};

use crate::config::scalar::{FieldName, Part, Template};
use crate::config::section::routes::{Format, Route};
use crate::config::section::upstreams::{Upstream, UpstreamAuth};
use crate::exchange::coding::likes_gzip;
use crate::exchange::component::encode_component;
use crate::exchange::head::RequestHead;
use crate::exchange::refusal::Refusal;

use crate::pipeline::permit::Permit;
use crate::state::minted::Minted;

use mint::Mint;

/// Headers of callers that reach every upstream.
const PASSED: [HeaderName; 11] = [
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::IF_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_RANGE,
    header::IF_UNMODIFIED_SINCE,
    header::RANGE,
];

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("tollgate/", env!("CARGO_PKG_VERSION")));

/// The compiled way from a route to its upstream.
#[derive(Clone, Debug)]
pub struct Rewrite {
    path: Box<[Piece]>,
    set: Box<[(HeaderName, HeaderValue)]>,
    own: Own,
    passed: Box<[HeaderName]>,
    answers: Answers,
}

/// How the upstream may code its answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answers {
    /// As the caller likes, or as is set.
    AsAsked,
    /// In gzip where the caller likes that, else not at all.
    InGzip,
}

/// The credential that changes with the caller.
#[derive(Clone, Debug)]
enum Own {
    /// A token made for the tenant.
    Minted(Mint),
    /// None: the upstream's own is among the headers that are set.
    None,
    /// The caller's own token.
    Passed,
}

/// What all routes know of credentials.
#[derive(Clone, Debug, Default)]
pub struct Vault {
    /// Headers that carry the callers' own, which reach no upstream.
    pub credentials: Vec<HeaderName>,
    /// Tokens that were made for upstreams.
    pub minted: Arc<Minted>,
}

/// What differs from try to try.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The value of `Host`: each backend has its own.
    pub host: HeaderValue,
    /// The `traceparent` of this try.
    pub traceparent: HeaderValue,
    /// What the caller sent beside its own.
    pub tracestate: Option<HeaderValue>,
    /// The time of day.
    pub now: SystemTime,
}

#[derive(Clone, Debug)]
enum Piece {
    Literal(Box<str>),
    /// A capture inside one segment.
    Capture(Box<str>),
    /// The tail of the path, whose slashes stay.
    Tail,
}

impl Rewrite {
    /// The way of `route`, answering in `format` where it is a pipe.
    pub fn compile(route: &Route, format: Option<Format>, upstream: &Upstream, vault: &Vault) -> Self {
        let mut path = vec![Piece::Literal(upstream.base_path().into())];
        let mut passed = PASSED.to_vec();
        if let Some(pipe) = &route.pipe {
            path.push(Piece::Literal("/v0/pipes/".into()));
            path.extend(pieces(pipe));
            path.push(Piece::Literal(format!(".{}", format.unwrap_or(Format::Json).extension()).into()));
        } else if let Some(proxy) = &route.proxy {
            path.extend(pieces(proxy));
            // A body that is passed as bytes needs the name of its coding with it.
            passed.push(header::CONTENT_ENCODING);
        }
        passed.extend(route.pass_headers.iter().map(FieldName::name));
        // A `tracestate` as the caller wrote it may be malformed, or belong to a trace that is not continued.
        passed.retain(|name| !vault.credentials.contains(name) && *name != TRACESTATE);
        Rewrite {
            path: path.into(),
            set: credentials(upstream),
            own: own(route, upstream, &vault.minted),
            passed: passed.into(),
            answers: Answers::AsAsked,
        }
    }

    /// The same way, for answers that the gateway reads: the upstream is asked not to compress them, and for all of them,
    /// because what a query cost stands at their end.
    #[must_use]
    pub fn for_plain_answers(mut self) -> Self {
        let of_the_end = [header::ACCEPT_ENCODING, header::RANGE, header::IF_RANGE];
        let passed = self.passed.iter().filter(|name| !of_the_end.contains(name));
        self.passed = passed.cloned().collect();
        let identity = (header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        self.set = self.set.iter().cloned().chain([identity]).collect();
        self
    }

    /// The same way, for answers that the gateway unpacks as they pass: the upstream may compress them with gzip only.
    #[must_use]
    pub fn for_answers_in_gzip(mut self) -> Self {
        let passed = self.passed.iter().filter(|name| **name != header::ACCEPT_ENCODING);
        self.passed = passed.cloned().collect();
        self.answers = Answers::InGzip;
        self
    }

    /// The head for one attempt. `inbound` is what the caller sent, hop-by-hop
    /// headers and those that `Connection` nominates already removed.
    ///
    /// # Errors
    /// 400 where captures make a path that no URL can carry.
    pub fn apply(
        &self,
        head: &RequestHead,
        permit: &Permit,
        inbound: &HeaderMap,
        trial: Trial,
    ) -> Result<request::Parts, Refusal> {
        let uri = Uri::from_maybe_shared(Bytes::from(self.target(permit)))
            .map_err(|_| Refusal::BadRequest("The path cannot be passed on."))?;
        // What a table of 16 places holds: most heads have no more, and the next size takes twice the memory.
        let mut headers = HeaderMap::with_capacity(12);
        headers.insert(header::HOST, trial.host);
        // Callers send few headers: looking at each is cheaper than looking each allowed name up.
        for (name, value) in inbound.iter().filter(|(name, _)| self.passed.contains(name)) {
            headers.append(name, value.clone());
        }
        if self.answers == Answers::InGzip && likes_gzip(inbound) {
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        }
        headers.insert(header::USER_AGENT, USER_AGENT);
        headers.insert(FORWARDED_FOR, address(head));
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static(head.scheme.as_str()));
        if let Ok(host) = HeaderValue::from_str(&head.host) {
            headers.insert(FORWARDED_HOST, host);
        }
        headers.insert(TRACEPARENT, trial.traceparent);
        if let Some(tracestate) = trial.tracestate {
            headers.insert(TRACESTATE, tracestate);
        }
        if let Some(body) = permit.body() {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.bytes().len()));
            headers.insert(header::CONTENT_TYPE, body.media_type());
        }
        // Last, so that no `pass_headers` can put a caller's value in their place.
        for (name, value) in &self.set {
            headers.insert(name, value.clone());
        }
        if let Some(value) = self.own.value(permit, trial.now) {
            headers.insert(header::AUTHORIZATION, value);
        }
        let (mut parts, ()) = http::Request::new(()).into_parts();
        parts.method = head.method.clone();
        parts.uri = uri;
        parts.headers = headers;
        Ok(parts)
    }

    /// Path and query for the upstream.
    fn target(&self, permit: &Permit) -> String {
        let query = permit.query();
        let mut target = String::with_capacity(64 + query.len());
        for piece in &self.path {
            match piece {
                Piece::Literal(text) => target.push_str(text),
                Piece::Capture(name) => target.extend(encode_component(permit.captures().value(name).as_bytes())),
                Piece::Tail => encode_tail(permit.captures().tail(), &mut target),
            }
        }
        if !query.is_empty() {
            target.push('?');
            target.push_str(query);
        }
        target
    }
}

fn encode_tail(tail: &str, target: &mut String) {
    for (index, segment) in tail.split('/').enumerate() {
        if index > 0 {
            target.push('/');
        }
        target.extend(encode_component(segment.as_bytes()));
    }
}

fn pieces(template: &Template) -> Vec<Piece> {
    template
        .parts()
        .iter()
        .map(|part| match part {
            Part::Literal(text) => Piece::Literal(text.as_str().into()),
            Part::Path(name) if name == "rest" => Piece::Tail,
            Part::Path(name) => Piece::Capture(name.as_str().into()),
            // A file with these in a path is refused.
            Part::Certificate(_)
            | Part::Claim(_)
            | Part::FixedParam(_)
            | Part::Host(_)
            | Part::KeyMeta(_)
            | Part::KeyTenant
            | Part::Tenant => Piece::Literal("".into()),
        })
        .collect()
}

fn own(route: &Route, upstream: &Upstream, minted: &Arc<Minted>) -> Own {
    match (upstream.auth, &upstream.mint, &route.pipe) {
        (UpstreamAuth::Mint, Some(section), Some(pipe)) => {
            Own::Minted(Mint::compile(section, pipe, Arc::clone(minted)))
        }
        (UpstreamAuth::Passthrough, ..) => Own::Passed,
        (UpstreamAuth::Mint | UpstreamAuth::Token, ..) => Own::None,
    }
}

impl Own {
    fn value(&self, permit: &Permit, now: SystemTime) -> Option<HeaderValue> {
        match self {
            Own::Minted(mint) => mint.token(permit, now),
            Own::None => None,
            Own::Passed => sensitive(&format!("Bearer {}", permit.grant().identity()?.token.as_ref()?.expose())),
        }
    }
}

fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn credentials(upstream: &Upstream) -> Box<[(HeaderName, HeaderValue)]> {
    let own = upstream.auth == UpstreamAuth::Token;
    let token = upstream
        .token
        .as_ref()
        .filter(|_| own)
        .and_then(|token| sensitive(&format!("Bearer {}", token.expose())))
        .map(|value| (header::AUTHORIZATION, value));
    let headers = upstream.headers.iter().filter_map(|(name, value)| Some((name.name(), sensitive(value.expose())?)));
    token.into_iter().chain(headers).collect()
}

fn address(head: &RequestHead) -> HeaderValue {
    let text = match head.client {
        IpAddr::V4(address) => dotted(address),
        IpAddr::V6(address) => address.to_string(),
    };
    HeaderValue::from_maybe_shared(Bytes::from(text)).unwrap_or(HeaderValue::from_static("unknown"))
}

/// What `Display` writes, without the machinery that makes it the dearest header of a request.
fn dotted(address: Ipv4Addr) -> String {
    let mut text = String::with_capacity(15);
    for (index, octet) in address.octets().into_iter().enumerate() {
        if index > 0 {
            text.push('.');
        }
        for (digit, least) in [(octet / 100, 100), (octet / 10 % 10, 10), (octet % 10, 0)] {
            if octet >= least {
                text.push(char::from(b'0' + digit));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_everywhere() {
        for octet in 0..=u8::MAX {
            let address = Ipv4Addr::new(octet, 0, 255 - octet, 7);
            assert_eq!(dotted(address), address.to_string());
        }
    }
}
