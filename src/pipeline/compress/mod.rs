//! Whether an answer is compressed on its way to the caller, and how.
//!
//! In: the heads of request and answer of a metered route, whose upstream was
//! asked for plain answers. Out: a [`Packing`], the headers that tell of it, and
//! a [`Gzip`] for the body. Not here: answers that the upstream compressed, and
//! bodies of errors, which pass.

mod gzip;

pub use gzip::Gzip;

use http::{HeaderMap, HeaderValue, StatusCode, Version, header};

use crate::exchange::coding::likes_gzip;

/// Bodies that are known to be shorter are not worth it.
const MIN_LENGTH: u64 = 1024;

/// How an answer's body goes to the caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Packing {
    /// As it came, whoever asks.
    #[default]
    AsItIs,
    /// Compressed.
    Gzip,
    /// As it came: others may get it compressed.
    Plain,
}

/// Who asks, and for what.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The version of HTTP that the caller speaks.
    pub version: Version,
    /// The headers of the request.
    pub headers: &'a HeaderMap,
}

impl Packing {
    /// Decides for an answer with this status and these headers.
    pub fn judge(status: StatusCode, answer: &HeaderMap, asked: Asked<'_>) -> Self {
        if !is_suited(status, answer) {
            return Packing::AsItIs;
        }
        // HTTP/1.0 knows no chunks, and few who speak it know codings.
        match asked.version >= Version::HTTP_11 && likes_gzip(asked.headers) {
            false => Packing::Plain,
            true => Packing::Gzip,
        }
    }
}

/// The `Vary` of an answer that is compressed for some callers.
pub fn vary(answer: &HeaderMap) -> HeaderValue {
    const CODING: &str = "Accept-Encoding";
    let values = answer.get_all(header::VARY).iter().filter_map(|value| value.to_str().ok());
    let mut names: Vec<&str> =
        values.flat_map(|value| value.split(',')).map(str::trim).filter(|name| !name.is_empty()).collect();
    if names.contains(&"*") {
        return HeaderValue::from_static("*");
    }
    if !names.iter().any(|name| name.eq_ignore_ascii_case(CODING)) {
        names.push(CODING);
    }
    HeaderValue::from_str(&names.join(", ")).unwrap_or(HeaderValue::from_static(CODING))
}

/// The entity tag of a compressed answer: other bytes that mean the same (RFC 9110 section 8.8.3.3). None where it can
/// stay.
pub fn weakened(answer: &HeaderMap) -> Option<HeaderValue> {
    let tag = answer.get(header::ETAG)?.as_bytes();
    match tag.starts_with(b"W/") {
        true => None,
        false => HeaderValue::from_bytes(&[b"W/", tag].concat()).ok(),
    }
}

/// Whether an answer is whole, plain, and gets shorter by it; or says that such a one has not changed.
fn is_suited(status: StatusCode, answer: &HeaderMap) -> bool {
    if status == StatusCode::NOT_MODIFIED {
        return true;
    }
    let has_body = status.is_success()
        && ![StatusCode::NO_CONTENT, StatusCode::PARTIAL_CONTENT, StatusCode::RESET_CONTENT].contains(&status);
    let length = answer.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    has_body
        && length.is_none_or(|length| length >= MIN_LENGTH)
        && !answer.contains_key(header::CONTENT_ENCODING)
        && !answer.contains_key(header::CONTENT_RANGE)
        && !forbids(answer)
        && answer.get(header::CONTENT_TYPE).and_then(|media| media.to_str().ok()).is_some_and(is_text)
}

/// RFC 9110 section 7.7: who says so wants nobody on the way to change the body.
fn forbids(answer: &HeaderMap) -> bool {
    let values = answer.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|directive| directive.trim().eq_ignore_ascii_case("no-transform"))
}

/// Media types that are text. Others are compressed already, as Parquet is, or nobody knows.
fn is_text(media: &str) -> bool {
    let media = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match media.split_once('/') {
        // An event that waits in somebody's buffer is late.
        Some(("text", kind)) => kind != "event-stream",
        Some(("application", "javascript" | "json" | "jsonl" | "jsonlines" | "ndjson" | "xml" | "yaml")) => true,
        Some(("application", "x-jsonlines" | "x-ndjson" | "x-yaml")) => true,
        Some((_, kind)) => kind.ends_with("+json") || kind.ends_with("+xml"),
        None => false,
    }
}

#[cfg(test)]
mod tests;
