//! From the socket to the right to go upstream.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderValue, StatusCode, Version, header};
use pingora::http::RequestHeader;
use pingora::{Error, Result};
use pingora_proxy::Session;

use crate::config::scalar::{Endpoint, Scheme};
use crate::exchange::captures::Captures;
use crate::exchange::grant::Grant;
use crate::exchange::refusal::Refusal;
use crate::exchange::reply::Reply;
use crate::pipeline::client::Client;
use crate::pipeline::params::ParameterBody;
use crate::pipeline::rewrite::Trial;
use crate::pipeline::statistics::Reach;
use crate::pipeline::{self, Case, Entrance};
use crate::snapshot::arrival::{Arrival, Stage, Turn};
use crate::snapshot::openapi::Document;
use crate::snapshot::route::{BodyRule, Route};
use crate::state::State;
use crate::state::domains::Domains;
use crate::state::load::Strain;
use crate::telemetry::trace::{Trace, is_request_id, request_id};
use crate::tls::acme::{self, Challenges};

use super::ctx::Ctx;
use super::limits::Place;
use super::respond::{self, Connection};
use super::{DECIDED, body, caller, limits, tls};

/// Between two reads of a request.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// For one write of an answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// For the rest of a body that nobody wants.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// When to come again whom the gateway did not take.
const OVERLOAD_WAIT: Duration = Duration::from_secs(1);

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

/// Answers an authority that asks whose host this is (RFC 8555 section 8.3), before anything else is looked at; true if it
/// was one.
pub(super) async fn answer_authority(session: &mut Session, ctx: &mut Ctx, challenges: &Challenges) -> Result<bool> {
    let path = session.req_header().uri.path();
    let Some(answer) = path.strip_prefix(acme::PATH).and_then(|token| challenges.get(token)) else { return Ok(false) };
    identify(session.req_header(), ctx);
    let client = came_from(session, ctx);
    ctx.head = arrival(session.req_header(), (&[], None), client, None).head();
    let headers = vec![(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))];
    let reply = Reply { status: StatusCode::OK, headers, body: Bytes::copy_from_slice(answer.as_bytes()) };
    Box::pin(respond::send(session, ctx, reply, Connection::Keep)).await?;
    Ok(true)
}

/// Reads the head and the parameters, and asks the pipeline.
///
/// What seldom has to wait stands in a box here and below: the future of this holds the largest of what it waits for, and
/// is made and moved for each request.
pub(super) async fn open(session: &mut Session, ctx: &mut Ctx, state: &State) -> Result<Next> {
    let running = std::sync::Arc::clone(&ctx.running);
    let snapshot = &running.snapshot;
    identify(session.req_header(), ctx);
    let (client, (_, server_name)) = (came_from(session, ctx), tls::of(session));
    let raw = session.as_ref().as_http1().map(|session| session.get_headers_raw_bytes()).unwrap_or_default();
    let opened = snapshot.open(&arrival(session.req_header(), (&raw, server_name), client, Some(state.domains())));
    ctx.head = opened.head;
    ctx.site = opened.site.map(|site| site.index);
    ctx.route = opened.route.map(|route| route.index);
    let place = Place { snapshot, site: opened.site, route: opened.route };
    match state.load().begin() {
        Ok(underway) => ctx.underway = Some(underway),
        Err(strain) => {
            ctx.fault = Some(strain.as_str().to_owned());
            return Ok(Next::Refuse(Refusal::overloaded(OVERLOAD_WAIT), of_strain(strain)));
        }
    }
    // Before anything else becomes of it: who tries many paths, or many credentials, pays for each.
    if let Err(refusal) = limits::arrive(ctx, place, state).await {
        return Ok(Next::Refuse(refusal, opened.turn.stage().map_or(Connection::Keep, after)));
    }
    let (route, captures) = match (opened.turn, opened.route) {
        (Turn::Answer(reply), _) => {
            Box::pin(respond::send(session, ctx, reply, Connection::Keep)).await?;
            return Ok(Next::Answered);
        }
        (Turn::Describe(document, port), _) => {
            let entrance = snapshot.entrance_to(opened.site, &document);
            return Box::pin(describe(session, ctx, (entrance, &document, port), state)).await;
        }
        (Turn::Refuse(refusal, stage), _) => return Ok(Next::Refuse(refusal, after(stage))),
        (Turn::Proceed(captures), Some(route)) => (route, captures),
        (Turn::Proceed(_), None) => return Err(Error::new_in(DECIDED)),
    };
    let grant = match caller::enter(session, ctx, (snapshot.entrance(opened.site, route), &captures), state).await {
        Ok(grant) => grant,
        Err(refusal) => return Ok(Next::Refuse(refusal, Connection::Keep)),
    };
    ctx.grant = Some(grant.clone());
    let parameters = match read_body(session, ctx, route, &grant).await? {
        Ok(parameters) => parameters,
        Err(refusal) => return Ok(Next::Refuse(refusal, Connection::Close)),
    };
    let Some(head) = &ctx.head else { return Err(Error::new_in(DECIDED)) };
    let case = Case { params: &route.params, head, captures, grant, body: parameters };
    let permit = match pipeline::admit(case) {
        Err(refusal) => return Ok(Next::Refuse(refusal, Connection::Keep)),
        Ok(permit) => permit,
    };
    // Last: a request that cannot be answered anyway costs its caller nothing.
    if let Err(refusal) = limits::admit(ctx, place, permit.grant(), state).await {
        return Ok(Next::Refuse(refusal, Connection::Keep));
    }
    if route.body == BodyRule::PassThrough {
        // Not before: who is refused need not send it.
        body::welcome(session).await?;
    }
    ctx.permit = Some(permit);
    ctx.attempt.first = route.upstream.next_turn();
    Ok(Next::Upstream)
}

/// What of the body has to be known before it goes upstream.
///
/// # Errors
/// Outer: the caller left. Inner: what the caller is told.
async fn read_body(
    session: &mut Session,
    ctx: &mut Ctx,
    route: &Route,
    grant: &Grant,
) -> Result<Result<Option<ParameterBody>, Refusal>> {
    match route.body {
        BodyRule::Parameters if session.as_mut().is_body_empty() => Ok(Ok(None)),
        BodyRule::Parameters => Box::pin(body::read_parameters(session, ctx)).await,
        BodyRule::PassThrough => Ok(body::check_passed(session, &route.params, grant).map(|()| None)),
    }
}

/// Tells which routes there are.
async fn describe(
    session: &mut Session,
    ctx: &mut Ctx,
    (entrance, document, port): (Entrance<'_>, &Document, Option<u16>),
    state: &State,
) -> Result<Next> {
    match caller::enter(session, ctx, (entrance, &Captures::default()), state).await {
        Ok(grant) => ctx.grant = Some(grant),
        Err(refusal) => return Ok(Next::Refuse(refusal, Connection::Keep)),
    }
    let body = ctx.head.as_ref().map(|head| document.body(head, port)).unwrap_or_default();
    let headers = vec![
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    let reply = Reply { status: StatusCode::OK, headers, body: body.into() };
    respond::send(session, ctx, reply, Connection::Keep).await?;
    Ok(Next::Answered)
}

/// Who calls, and how.
fn came_from(session: &Session, ctx: &mut Ctx) -> Client {
    let (wire, _) = tls::of(session);
    let peer = session.client_addr().and_then(|address| address.as_inet()).map(|address| address.ip());
    let client = ctx.running.snapshot.proxies.client(peer, wire, &session.req_header().headers);
    (ctx.client, ctx.scheme) = (client.address, client.scheme);
    client
}

/// The head in words that know no Pingora.
fn arrival<'a>(
    request: &'a RequestHeader,
    (raw, server_name): (&'a [u8], Option<&'a str>),
    client: Client,
    domains: Option<&'a Domains>,
) -> Arrival<'a> {
    let (target, authority) = match request.version {
        Version::HTTP_2 => (
            request.uri.path_and_query().map_or("/", |target| target.as_str()).as_bytes(),
            request.uri.authority().map(|authority| authority.as_str()),
        ),
        _ => (request.raw_path(), None),
    };
    Arrival { method: &request.method, target, authority, headers: &request.headers, raw, client, server_name, domains }
}

fn of_strain(strain: Strain) -> Connection {
    match strain {
        Strain::InFlight => Connection::Keep,
        // The connection has some of it.
        Strain::Memory => Connection::Close,
    }
}

fn after(stage: Stage) -> Connection {
    match stage {
        Stage::Framing => Connection::Close,
        Stage::Guard | Stage::Reading | Stage::Routing => Connection::Keep,
    }
}

/// Replaces the copy of the caller's head by one built from scratch.
pub(super) fn rewrite(request: &mut RequestHeader, ctx: &mut Ctx, now: SystemTime) -> Result<()> {
    let (Some(route), Some(head), Some(permit), Some(trace)) = (ctx.route(), &ctx.head, &ctx.permit, &ctx.trace) else {
        return Err(Error::new_in(DECIDED));
    };
    let backend = route.upstream.backend(ctx.attempt.backend).ok_or_else(|| Error::new_in(DECIDED))?;
    let trial =
        Trial { host: backend.host().clone(), traceparent: trace.header(), tracestate: trace.state().cloned(), now };
    match route.rewrite.apply(head, permit, &request.headers, trial) {
        Ok(parts) => {
            let url = trace.spans().map(|_| shown_url(backend.endpoint(), parts.uri.path()));
            *request = RequestHeader::from(parts);
            ctx.attempt.reach = Reach::Upstream;
            if let (Some(tried), Some(url)) = (ctx.trace.as_mut().and_then(Trace::current_try), url) {
                tried.url = url;
            }
            Ok(())
        }
        Err(refusal) => {
            ctx.refusal = Some(refusal);
            Err(Error::new_in(DECIDED))
        }
    }
}

/// Request id and trace: known before anything can be refused.
fn identify(request: &RequestHeader, ctx: &mut Ctx) {
    let given = request.headers.get(respond::REQUEST_ID).map(|value| value.as_bytes());
    ctx.request_id = match given.filter(|value| is_request_id(value)).and_then(|value| std::str::from_utf8(value).ok())
    {
        Some(given) => given.into(),
        None => request_id(),
    };
    ctx.trace = Some(Trace::continue_or_begin(&request.headers, ctx.sampling));
}

/// The path of a request as the log shows it.
pub(super) fn logged_path(request: &RequestHeader) -> String {
    logged(request.raw_path().split(|byte| *byte == b'?').next().unwrap_or_default())
}

/// Where a try goes, as traces show it: without the query, in which values stand that callers must not choose.
fn shown_url(endpoint: &Endpoint, path: &str) -> String {
    let scheme = match endpoint.scheme() {
        Scheme::Http => "http",
        Scheme::Https => "https",
    };
    format!("{scheme}://{}{}", endpoint.authority(), logged(path.as_bytes()))
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

/// Whether the exchange may be sent a second time after it began.
pub(super) fn is_repeatable(session: &Session, ctx: &Ctx) -> bool {
    let repeats = ctx.route().is_some_and(|route| route.repeats(&session.req_header().method));
    let begun = session.response_written().is_some_and(|response| !response.status.is_informational());
    repeats && !begun && !session.as_ref().retry_buffer_truncated()
}
