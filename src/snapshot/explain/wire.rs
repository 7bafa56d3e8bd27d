//! What Pingora does to a request before and after our own code.
//!
//! In: a question. Out: the head as it reaches us, or that it never does; the
//! head as it leaves. Not here: anything we decide. Pingora cannot be asked
//! without a connection, so these are its rules told again, as few as matter;
//! `tests/gateway/explain.rs` compares them with what Pingora does.

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header, request};

use crate::exchange::refusal::Refusal;

use super::question::Question;

/// Names in one `Connection` header, at most.
const MAX_NOMINATED: usize = 9;

/// Headers that end at the gateway whether `Connection` names them or not.
const HOP_BY_HOP: [&str; 10] = [
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Headers that `Connection` may not name.
const PROTECTED: [&str; 4] = ["host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"];

/// A request as our code gets it.
pub(super) struct Parsed {
    pub(super) headers: HeaderMap,
    /// Stands for the bytes of the head, of which only one line is ever looked for.
    pub(super) raw: &'static [u8],
    pub(super) body: Body,
}

/// A body as the connection delivers it.
#[derive(Clone)]
pub(super) enum Body {
    /// Shorter than its announced length: what came of it.
    CutShort(Bytes),
    /// None was announced.
    None,
    /// All of it; a chunked one may be empty.
    Whole(Bytes),
}

/// A request that gets a bare answer from the parser.
pub(super) struct Unparsed {
    pub(super) status: u16,
    pub(super) why: &'static str,
}

/// Reads a request as the parser does.
pub(super) fn parse(question: &Question) -> Result<Parsed, Unparsed> {
    let refuse = |status, why| Err(Unparsed { status, why });
    if PathAndQuery::try_from(question.target.as_str()).is_err() {
        return refuse(400, "the URL has a character that must be percent-encoded");
    }
    let mut headers = question.headers.clone();
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return refuse(400, "the Host header is given twice");
    }
    if host.is_some_and(|host| host.as_bytes().contains(&b'@')) {
        return refuse(400, "the Host header has a user name in it");
    }
    let mut raw: &[u8] = b"";
    let body = match headers.get_all(header::TRANSFER_ENCODING).iter().next_back() {
        Some(coding) => {
            if !last_of(coding).eq_ignore_ascii_case(b"chunked") {
                return refuse(400, "the last coding of Transfer-Encoding is not chunked");
            }
            if headers.remove(header::CONTENT_LENGTH).is_some() {
                raw = b"content-length:\n";
            }
            Body::Whole(question.body.clone())
        }
        None => match announced(&headers) {
            Err(()) => return refuse(400, "the Content-Length headers do not say one number"),
            Ok(None | Some(0)) => Body::None,
            Ok(Some(length)) => match usize::try_from(length).ok().filter(|length| *length <= question.body.len()) {
                Some(length) => Body::Whole(question.body.slice(..length)),
                None => Body::CutShort(question.body.clone()),
            },
        },
    };
    // Last: what cannot be read is no CONNECT either.
    if question.method == Method::CONNECT {
        return refuse(405, "CONNECT asks for a tunnel, which the gateway never opens");
    }
    Ok(Parsed { headers, raw, body })
}

/// The one number that the `Content-Length` headers say, if they say any.
fn announced(headers: &HeaderMap) -> Result<Option<u64>, ()> {
    let mut length = None;
    for value in headers.get_all(header::CONTENT_LENGTH) {
        for number in value.to_str().map_err(|_| ())?.split(',') {
            let digits = number.trim();
            let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            let number: u64 = digits.parse().ok().filter(|_| is_number).ok_or(())?;
            if length.is_some_and(|length| length != number) {
                return Err(());
            }
            length = Some(number);
        }
    }
    Ok(length)
}

fn last_of(codings: &HeaderValue) -> &[u8] {
    codings.as_bytes().rsplit(|byte| *byte == b',').next().unwrap_or_default().trim_ascii()
}

/// The caller's headers without those that end at the gateway.
pub(super) fn onward(headers: &HeaderMap) -> Result<HeaderMap, Refusal> {
    const MALFORMED: Refusal = Refusal::BadRequest("The request is malformed.");
    let values = headers.get_all(header::CONNECTION).iter();
    let tokens = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    let nominated: Vec<&[u8]> = tokens.filter(|token| !token.is_empty()).collect();
    if nominated.len() > MAX_NOMINATED {
        return Err(MALFORMED);
    }
    let mut onward = headers.clone();
    for token in nominated {
        let name = HeaderName::from_bytes(token).ok().filter(|_| token.iter().all(is_token_byte)).ok_or(MALFORMED)?;
        if PROTECTED.contains(&name.as_str()) {
            return Err(MALFORMED);
        }
        onward.remove(name);
    }
    for name in HOP_BY_HOP {
        onward.remove(name);
    }
    Ok(onward)
}

fn is_token_byte(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}

/// Adds the framing of a body whose length is not known beforehand.
pub(super) fn frame(parts: &mut request::Parts, body: &Body) {
    let has_length = parts.headers.contains_key(header::CONTENT_LENGTH);
    if matches!(body, Body::Whole(_)) && !has_length {
        parts.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}
