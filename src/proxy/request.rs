//! From the socket to the right to go upstream.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

use http::{HeaderMap, HeaderName, Method, Version, header};
use pingora::http::RequestHeader;
use pingora::{Error, Result};
use pingora_proxy::Session;

use crate::exchange::head::{CallerScheme, RequestHead, normalise_host, split_target};
use crate::exchange::refusal::Refusal;
use crate::pipeline;
use crate::snapshot::route::BodyRule;
use crate::telemetry::trace::{Trace, is_request_id, request_id};

use super::ctx::Ctx;
use super::respond::{self, Connection};
use super::{DECIDED, body};

/// [`respond::REQUEST_ID`], parsed: looking a text up parses it each time.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Between two reads of a request.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// For one write of an answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// For the rest of a body that nobody wants.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Characters of a path that a log line holds.
const MAX_LOGGED_PATH: usize = 1024;

/// How an exchange goes on.
pub(super) enum Next {
    /// It is over: the answer was sent.
    Answered,
    /// It is refused.
    Refuse(Refusal, Connection),
    /// It goes upstream.
    Upstream,
}

/// Pingora's defaults are endless once a connection is kept alive.
pub(super) fn set_timeouts(session: &mut Session, ctx: &Ctx) {
    // None is Pingora's word that this connection ends: the caller asked for it, speaks HTTP/1.0, or framed its body twice.
    if session.get_keepalive().is_some() {
        session.set_keepalive(Some(ctx.running.snapshot.keepalive));
    }
    // A caller of HTTP/1.0 does not know interim answers (RFC 9110 section 15.2).
    let is_old = session.req_header().version < Version::HTTP_11;
    session.set_ignore_info_resp(is_old);
    session.set_read_timeout(Some(READ_TIMEOUT));
    session.set_write_timeout(Some(WRITE_TIMEOUT));
    session.set_total_drain_timeout(Some(DRAIN_TIMEOUT));
}

/// Reads the head and the parameters, and asks the pipeline.
pub(super) async fn open(session: &mut Session, ctx: &mut Ctx) -> Result<Next> {
    let running = std::sync::Arc::clone(&ctx.running);
    let snapshot = &running.snapshot;
    let request = session.req_header();
    identify(request, ctx);
    let (peer, trusted) = peer_address(session, ctx);
    ctx.client = match trusted {
        true => forwarded_for(session.req_header(), ctx, peer),
        false => peer,
    };
    let request = session.req_header();
    let raw = session.as_ref().as_http1().map(|session| session.get_headers_raw_bytes()).unwrap_or_default();
    if let Err(refusal) = snapshot.guard.inspect(request.raw_path(), &request.headers, &raw) {
        // What follows such a head on the connection cannot be told from its body.
        return Ok(Next::Refuse(refusal, Connection::Close));
    }
    let head = match read_head(request, ctx.client, trusted) {
        Ok(head) => head,
        Err(refusal) => return Ok(Next::Refuse(refusal, Connection::Keep)),
    };
    let Some((route, found)) = snapshot.find(&head.path) else {
        ctx.head = Some(head);
        return Ok(Next::Refuse(Refusal::RouteNotFound, Connection::Keep));
    };
    ctx.route = Some(route.index);
    let preflight = route.cors.preflight(&head.method, &request.headers, route.guard.allow());
    let inspected = route.guard.inspect(&head.method, announced_length(request));
    ctx.head = Some(head);
    if let Some(reply) = preflight {
        respond::send(session, ctx, reply, Connection::Keep).await?;
        return Ok(Next::Answered);
    }
    if let Err(refusal) = inspected {
        return Ok(Next::Refuse(refusal, Connection::Keep));
    }
    let parameters = match route.body {
        BodyRule::Parameters => match body::read_parameters(session, ctx).await? {
            Ok(parameters) => parameters,
            Err(refusal) => return Ok(Next::Refuse(refusal, Connection::Close)),
        },
        BodyRule::PassThrough => {
            if let Err(refusal) = body::check_passed(session, &route.params) {
                return Ok(Next::Refuse(refusal, Connection::Close));
            }
            body::welcome(session).await?;
            None
        }
    };
    let Some(head) = &ctx.head else { return Err(Error::new_in(DECIDED)) };
    match pipeline::admit(&route.params, head, found.captures, parameters) {
        Err(refusal) => Ok(Next::Refuse(refusal, Connection::Keep)),
        Ok(permit) => {
            ctx.permit = Some(permit);
            ctx.attempt.first = route.upstream.next_turn();
            route.retry.count_request();
            Ok(Next::Upstream)
        }
    }
}

/// Replaces the copy of the caller's head by one built from scratch.
pub(super) fn rewrite(request: &mut RequestHeader, ctx: &mut Ctx) -> Result<()> {
    let (Some(route), Some(head), Some(permit), Some(trace)) = (ctx.route(), &ctx.head, &ctx.permit, &ctx.trace) else {
        return Err(Error::new_in(DECIDED));
    };
    match route.rewrite.apply(head, permit, &request.headers, trace.header()) {
        Ok(parts) => {
            *request = RequestHeader::from(parts);
            Ok(())
        }
        Err(refusal) => {
            ctx.refusal = Some(refusal);
            Err(Error::new_in(DECIDED))
        }
    }
}

/// Request id, trace and raw path: known before anything can be refused.
fn identify(request: &RequestHeader, ctx: &mut Ctx) {
    let given = request.headers.get(REQUEST_ID).map(|value| value.as_bytes());
    ctx.request_id = match given.filter(|value| is_request_id(value)).and_then(|value| std::str::from_utf8(value).ok())
    {
        Some(given) => given.into(),
        None => request_id(),
    };
    ctx.trace = Some(Trace::continue_or_begin(request.headers.get(TRACEPARENT)));
    let raw = request.raw_path();
    ctx.raw_path = logged(raw.split(|byte| *byte == b'?').next().unwrap_or_default());
}

/// A path as the log shows it. Callers append `&token=...` where there is no query, too: from there on it is hidden.
fn logged(path: &[u8]) -> String {
    const MARK: &[u8] = b"token=";
    let plain = match path.iter().any(|byte| matches!(byte, b'=' | b'%')) {
        true => Cow::from(percent_encoding::percent_decode(path)),
        false => Cow::Borrowed(path),
    };
    let marked = plain.windows(MARK.len()).position(|window| window.eq_ignore_ascii_case(MARK));
    let (shown, rest) = match marked.and_then(|at| plain.get(..at)) {
        Some(before) => (before, "***"),
        None => (path, ""),
    };
    match std::str::from_utf8(shown) {
        Ok(text) if text.len() <= MAX_LOGGED_PATH => format!("{text}{rest}"),
        _ => String::from_utf8_lossy(shown).chars().take(MAX_LOGGED_PATH).chain(rest.chars()).collect(),
    }
}

fn read_head(request: &RequestHeader, client: IpAddr, trusted: bool) -> Result<RequestHead, Refusal> {
    let not_utf8 = |_| Refusal::BadRequest("The request target is not UTF-8.");
    let host = one_host(&request.headers)?;
    let (target, authority) = match request.version {
        Version::HTTP_2 => {
            // A request that was HTTP/1.1 before may have `host` alone (RFC 9113 section 8.3.1); Pingora has seen to it that
            // both say the same.
            let authority = request.uri.authority().map(|authority| authority.as_str());
            (request.uri.path_and_query().map_or("/", |target| target.as_str()), authority.or(host))
        }
        _ => (std::str::from_utf8(request.raw_path()).map_err(not_utf8)?, host),
    };
    let (path, query) = split_target(target)?;
    Ok(RequestHead {
        method: request.method.clone(),
        host: normalise_host(authority.unwrap_or_default())?,
        path,
        query: query.to_owned(),
        client,
        scheme: match trusted && request.headers.get(FORWARDED_PROTO).is_some_and(|value| value == "https") {
            true => CallerScheme::Https,
            false => CallerScheme::Http,
        },
    })
}

/// The `Host` header, unless there are several: then nobody knows which site is meant.
fn one_host(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next();
    match hosts.next() {
        None => Ok(host.and_then(|host| host.to_str().ok())),
        Some(_) => Err(Refusal::BadRequest("The Host header is given twice.")),
    }
}

/// Where the connection comes from, and whether that is a trusted proxy.
fn peer_address(session: &Session, ctx: &Ctx) -> (IpAddr, bool) {
    let peer = session.client_addr().and_then(|address| address.as_inet()).map(|address| address.ip().to_canonical());
    let trusted = peer.is_some_and(|peer| is_trusted(ctx, peer));
    (peer.unwrap_or(ctx.client), trusted)
}

/// The rightmost address that no trusted proxy has: what stands further left, a caller may have written.
fn forwarded_for(request: &RequestHeader, ctx: &Ctx, peer: IpAddr) -> IpAddr {
    let values: Vec<&str> =
        request.headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok()).collect();
    let mut client = peer;
    for entry in values.iter().rev().flat_map(|value| value.rsplit(',')) {
        let Some(address) = parse_address(entry.trim()) else { break };
        client = address;
        if !is_trusted(ctx, address) {
            break;
        }
    }
    client
}

/// An address as proxies write it: with or without port and brackets.
fn parse_address(text: &str) -> Option<IpAddr> {
    let plain = text.trim_start_matches('[').trim_end_matches(']');
    plain
        .parse()
        .ok()
        .or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip()))
        .map(|address: IpAddr| address.to_canonical())
}

fn is_trusted(ctx: &Ctx, address: IpAddr) -> bool {
    ctx.running.snapshot.trusted_proxies.iter().any(|range| range.contains(address))
}

fn announced_length(request: &RequestHeader) -> Option<u64> {
    // The guard has seen that there is one number at most.
    request.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Whether the exchange may be sent a second time after it began.
pub(super) fn is_repeatable(session: &Session, ctx: &Ctx) -> bool {
    let reads = match ctx.route().map(|route| route.body) {
        // Reading a pipe by POST changes nothing.
        Some(BodyRule::Parameters) => true,
        Some(BodyRule::PassThrough) | None => matches!(session.req_header().method, Method::GET | Method::HEAD),
    };
    let begun = session.response_written().is_some_and(|response| !response.status.is_informational());
    reads && !begun && !session.as_ref().retry_buffer_truncated()
}
