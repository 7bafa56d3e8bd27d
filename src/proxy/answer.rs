//! Answers of the upstream on their way to the caller.

use bytes::Bytes;
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, Version, header};
use pingora::http::ResponseHeader;
use pingora::{Error, ErrorType, OrErr, Result};
use pingora_proxy::Session;

use crate::exchange::refusal::Refusal;
use crate::pipeline::scrub::{ErrorBody, HeaderFate, Tripped};

use super::ctx::Ctx;
use super::{DECIDED, Proxy, limits, measure, respond};

/// What described the upstream's body and not the one that replaces it.
const OF_THE_BODY: [HeaderName; 8] = [
    header::ACCEPT_RANGES,
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::ETAG,
    header::LAST_MODIFIED,
];

/// Headers that most answers get: an id, `nosniff`, and two for privacy or those of CORS.
const ADDED: usize = 4;

const NO_REFERRER: HeaderValue = HeaderValue::from_static("no-referrer");
const PRIVATE: HeaderValue = HeaderValue::from_static("private");

impl Proxy {
    /// Leaves of the head what may leave, and adds what every answer has.
    pub(super) fn clean_head(&self, session: &mut Session, response: &mut ResponseHeader, ctx: &mut Ctx) -> Result<()> {
        if response.status.is_informational() {
            // Early hints name the upstream's resources; only the status means something here.
            return drop_all(response);
        }
        // Pingora's head holds each name a second time, as it was written, and so takes twice as long for each change. The
        // upstream's reason, its own words, goes with that.
        let mut head = std::mem::replace(response, no_head()).into();
        let cleaned = self.clean_parts(session, &mut head, ctx);
        *response = ResponseHeader::from(head);
        cleaned
    }

    fn clean_parts(&self, session: &mut Session, head: &mut Parts, ctx: &mut Ctx) -> Result<()> {
        if !has_clear_framing(head) {
            ctx.fault = Some("the upstream did not say clearly where its body ends".to_owned());
            ctx.refusal = Some(Refusal::UpstreamFailed);
            return Err(Error::new_up(DECIDED));
        }
        // The version is that of a connection, and this one is ours.
        head.version = Version::HTTP_11;
        let Some(route) = ctx.route() else { return Err(Error::new_in(DECIDED)) };
        let added = ADDED + limits::count_headers(ctx);
        head.headers = kept(std::mem::take(&mut head.headers), added, |name, value| route.scrub.header(name, value))?;
        if route.scrub.check_headers(&head.headers) == Err(Tripped) {
            self.trip(ctx, "a response header");
            return Err(Error::new_up(DECIDED));
        }
        if ctx.grant.as_ref().is_some_and(|grant| grant.identity().is_some()) {
            keep_private(&mut head.headers)?;
        }
        let head_only = session.req_header().method == Method::HEAD;
        match head.status.is_client_error() || head.status.is_server_error() {
            true => self.replace_error(head, ctx, head_only)?,
            false => measure::begin(session, head, ctx)?,
        }
        if session.req_header().version < Version::HTTP_11 && head.headers.remove(header::TRANSFER_ENCODING).is_some() {
            // HTTP/1.0 knows no chunks: the end of the connection ends the body.
            session.set_keepalive(None);
        }
        respond::decorate(session, ctx, &mut head.headers)
    }

    /// Prepares an error's body to be replaced by a scrubbed one.
    fn replace_error(&self, head: &mut Parts, ctx: &mut Ctx, head_only: bool) -> Result<()> {
        ctx.status = head.status;
        ctx.measured.answered = Some(head.status);
        let body = ErrorBody::new(&head.headers);
        let empty = head.headers.get(header::CONTENT_LENGTH).is_some_and(|length| length == "0");
        for name in OF_THE_BODY {
            head.headers.remove(name);
        }
        head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if head_only {
            return Ok(());
        }
        if empty {
            // Pingora passes no body through its filters where there is none, so ours is sent from elsewhere.
            ctx.replaced = Some(Box::new(ResponseHeader::from(head.clone())));
            return Err(Error::new_up(DECIDED));
        }
        head.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        ctx.error_body = Some(body);
        Ok(())
    }

    /// A piece of the body: as it is, or collected where it is replaced.
    pub(super) fn clean_body(&self, piece: &mut Option<Bytes>, end: bool, ctx: &mut Ctx) -> Result<()> {
        self.piece_has_come(end, ctx)?;
        if end {
            // The upstream is done, even if the caller still reads.
            ctx.attempt.leave();
        }
        let Some(body) = &mut ctx.error_body else { return ctx.measured.pass(piece, end) };
        if let Some(piece) = piece.take() {
            body.push(&piece);
        }
        if body.is_endless() {
            ctx.fault = Some("an error of the upstream did not come to an end".to_owned());
            ctx.refusal = Some(Refusal::UpstreamFailed);
            return Err(Error::new_up(DECIDED));
        }
        if !end {
            // Nothing yet; an absent piece would end the answer.
            *piece = Some(Bytes::new());
            return Ok(());
        }
        *piece = Some(self.error_body(ctx));
        Ok(())
    }

    fn error_body(&self, ctx: &mut Ctx) -> Bytes {
        let (Some(body), status) = (ctx.error_body.take(), ctx.status) else { return Bytes::new() };
        let Some(route) = ctx.route() else { return Bytes::new() };
        match route.scrub.error_body(status, &body, ctx.told()) {
            Ok(body) => body.into(),
            Err(Tripped) => {
                let body = route.scrub.bare_error_body(status, ctx.told());
                self.trip(ctx, "an error body");
                body.into()
            }
        }
    }

    fn trip(&self, ctx: &mut Ctx, place: &str) {
        self.metrics.count_trip();
        let upstream = ctx.route().map_or("?", |route| route.upstream.name());
        let route = ctx.route().map_or("?", |route| &route.label);
        log::error!("upstream {upstream} sent a configured credential in {place} on {route}: it was held back");
        ctx.fault = Some(format!("{place} contained a configured credential"));
        ctx.refusal = Some(Refusal::UpstreamFailed);
    }
}

/// An answer for one caller is for no cache that others share (RFC 9111 section 3.5), and a page that was opened with a
/// token in its address must not tell the next one.
fn keep_private(headers: &mut HeaderMap) -> Result<()> {
    headers.insert(header::REFERRER_POLICY, NO_REFERRER);
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, PRIVATE);
        return Ok(());
    }
    let values = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let shared = |name: &str| ["public", "s-maxage", "private"].iter().any(|word| name.eq_ignore_ascii_case(word));
    let name = |directive: &str| directive.split('=').next().unwrap_or_default().trim().to_owned();
    let mut kept: Vec<String> = values
        .flat_map(|value| value.split(','))
        .map(|directive| directive.trim().to_owned())
        .filter(|directive| !directive.is_empty() && !shared(&name(directive)))
        .collect();
    kept.insert(0, "private".to_owned());
    let kept = HeaderValue::try_from(kept.join(", ")).or_err(ErrorType::InternalError, "directives for caches")?;
    headers.insert(header::CACHE_CONTROL, kept);
    Ok(())
}

/// Pingora believes the first length or coding and passes all on; whoever reads another one loses track.
fn has_clear_framing(response: &Parts) -> bool {
    let is_length = |length: &HeaderValue| length.as_bytes().iter().all(u8::is_ascii_digit);
    let is_chunked = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    if response.version < Version::HTTP_11 && response.headers.contains_key(header::TRANSFER_ENCODING) {
        // RFC 9112 section 6.1.
        return false;
    }
    let mut lengths = response.headers.get_all(header::CONTENT_LENGTH).iter();
    let mut codings = response.headers.get_all(header::TRANSFER_ENCODING).iter();
    lengths.next().is_none_or(is_length)
        && codings.next().is_none_or(is_chunked)
        && lengths.next().is_none()
        && codings.next().is_none()
}

/// The headers that may leave, with room for so many of ours: to make a new table costs less than to take out of the old one, and to
/// let it grow.
fn kept(headers: HeaderMap, added: usize, decide: impl Fn(&HeaderName, &[u8]) -> HeaderFate) -> Result<HeaderMap> {
    let mut kept = HeaderMap::with_capacity(headers.len() + added);
    let mut current = None;
    for (name, value) in headers {
        // The values of one name come one after the other, the later ones without it; the first decides for all.
        if let Some(name) = name {
            current = match decide(&name, value.as_bytes()) {
                HeaderFate::Drop => None,
                HeaderFate::Keep => Some(name),
                HeaderFate::Replace(value) => {
                    let value =
                        HeaderValue::try_from(value).or_err(ErrorType::InternalError, "a header's new value")?;
                    kept.insert(name, value);
                    None
                }
            };
        }
        if let Some(name) = &current {
            kept.append(name, value);
        }
    }
    Ok(kept)
}

/// What stands in the place of a head that is being worked on; it takes no memory.
fn no_head() -> ResponseHeader {
    ResponseHeader::from(Response::new(()).into_parts().0)
}

fn drop_all(response: &mut ResponseHeader) -> Result<()> {
    let names: Vec<HeaderName> = response.headers.keys().cloned().collect();
    for name in names {
        response.remove_header(&name);
    }
    Ok(())
}
