//! Bodies of an upstream's errors, made presentable.
//!
//! In: the body as sent, at most 64 KiB of it. Out: JSON in the shape of the
//! gateway's own refusals. What is not JSON, not decodable or larger is
//! replaced by a sentence.

use std::io::Read;

use bytes::{Bytes, BytesMut};
use flate2::read::{DeflateDecoder, GzDecoder, ZlibDecoder};
use http::{HeaderMap, StatusCode, header};
use serde_json::{Map, Value};

use crate::config::section::white_label::ErrorCode;

use super::{Terms, Told, Wording};

/// Larger error bodies are replaced, in bytes, before and after decoding.
pub const MAX_ERROR_BODY: usize = 64 << 10;
/// Where an error body that is replaced anyway is not read any further, in bytes.
const MAX_LET_GO: u64 = 16 << 20;

/// An error body as it arrives.
#[derive(Debug)]
pub struct ErrorBody {
    encoding: Encoding,
    bytes: BytesMut,
    overflow: bool,
    length: u64,
}

/// The content codings that error bodies are decoded from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// zlib, or raw deflate as some servers send it.
    Deflate,
    /// gzip.
    Gzip,
    /// None.
    Identity,
    /// Any other: the body is replaced.
    Other,
}

impl ErrorBody {
    /// An empty body with the coding that `headers` name.
    pub fn new(headers: &HeaderMap) -> Self {
        let coding = headers.get(header::CONTENT_ENCODING).map(|value| value.as_bytes().to_ascii_lowercase());
        let encoding = match coding.as_deref() {
            None | Some(b"" | b"identity") => Encoding::Identity,
            Some(b"gzip" | b"x-gzip") => Encoding::Gzip,
            Some(b"deflate") => Encoding::Deflate,
            Some(_) => Encoding::Other,
        };
        ErrorBody { encoding, bytes: BytesMut::new(), overflow: false, length: 0 }
    }

    /// Takes the next piece; what is beyond the limit is let go.
    pub fn push(&mut self, piece: &Bytes) {
        self.length += piece.len() as u64;
        if self.bytes.len() + piece.len() > MAX_ERROR_BODY {
            self.overflow = true;
            self.bytes.clear();
        } else if !self.overflow {
            self.bytes.extend_from_slice(piece);
        }
    }

    /// Whether it goes on beyond anything that an error could be: the caller, who waits for its end, would wait for ever.
    pub fn is_endless(&self) -> bool {
        self.length > MAX_LET_GO
    }

    /// The body without its coding, if that is possible within the limit.
    pub(super) fn decoded(&self) -> Option<Vec<u8>> {
        if self.overflow {
            return None;
        }
        let bytes = self.bytes.as_ref();
        match self.encoding {
            Encoding::Deflate => inflate(ZlibDecoder::new(bytes)).or_else(|| inflate(DeflateDecoder::new(bytes))),
            Encoding::Gzip => inflate(GzDecoder::new(bytes)),
            Encoding::Identity => Some(bytes.to_vec()),
            Encoding::Other => None,
        }
    }
}

fn inflate(decoder: impl Read) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    // One byte more than allowed tells a large body from one that just fits.
    decoder.take(MAX_ERROR_BODY as u64 + 1).read_to_end(&mut out).ok()?;
    (out.len() <= MAX_ERROR_BODY).then_some(out)
}

/// The JSON body that the caller gets.
pub(super) fn compose(status: StatusCode, text: Option<&[u8]>, terms: Terms<'_>, told: Told<'_>) -> Vec<u8> {
    let mut object = match text.and_then(|text| serde_json::from_slice(text).ok()) {
        Some(Value::Object(mut object)) => {
            object.retain(|name, _| !terms.strip.has(name));
            cleaned(object, terms.wording)
        }
        _ => Map::new(),
    };
    if !object.get("error").is_some_and(Value::is_string) {
        let own = told.phrases.upstream_error().map(str::to_owned);
        object.insert("error".to_owned(), own.unwrap_or_else(|| sentence(status)).into());
    }
    if !object.contains_key("code") {
        object.insert("code".to_owned(), ErrorCode::UPSTREAM.into());
    }
    object.insert("request_id".to_owned(), told.request_id.into());
    Value::Object(object).to_string().into_bytes()
}

fn cleaned(object: Map<String, Value>, wording: &Wording) -> Map<String, Value> {
    object
        .into_iter()
        .filter(|(name, _)| !name.eq_ignore_ascii_case("documentation"))
        .map(|(name, value)| (wording.clean(&name), clean_value(value, wording)))
        .collect()
}

fn clean_value(value: Value, wording: &Wording) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.into_iter().map(|item| clean_value(item, wording)).collect()),
        Value::Bool(_) | Value::Null | Value::Number(_) => value,
        Value::Object(object) => Value::Object(cleaned(object, wording)),
        Value::String(text) => Value::String(wording.clean(&text)),
    }
}

fn sentence(status: StatusCode) -> String {
    let code = status.as_u16();
    match code {
        400 => "The service could not understand this request.".to_owned(),
        401 | 403 => "The service does not allow this request.".to_owned(),
        404 => "The service has nothing at this address.".to_owned(),
        408 => "The service took too long to answer this request.".to_owned(),
        429 => "The service has too many requests now. Try again later.".to_owned(),
        500..=599 => format!("The service failed with status {code}. Try again later."),
        _ => format!("The service answered with status {code}."),
    }
}
