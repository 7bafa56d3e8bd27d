//! A response as it arrived.
//!
//! Not here: reading it (`reader`).

use std::fmt;
use std::io::Read as _;

use flate2::read::MultiGzDecoder;

use super::super::wire::Field;
use super::super::wire::Violation;
use super::super::wire::tail;
use super::super::wire::text;
use super::super::wire::values;

/// One final response, with the informational heads before it.
#[derive(Clone, Default)]
pub struct Response {
    /// The status; 0 if the status line has none.
    pub status: u16,
    /// The reason phrase.
    pub reason: String,
    /// `HTTP/1.1` or what stands there.
    pub version: String,
    /// Fields in order, duplicates included, names in the sender's case.
    pub headers: Vec<Field>,
    /// The body without chunk framing; still compressed if it was.
    pub body: Vec<u8>,
    /// Trailer fields.
    pub trailers: Vec<Field>,
    /// The 1xx heads that came before.
    pub informational: Vec<Informational>,
    /// Every byte: informational heads, head, body with its framing.
    pub raw: Vec<u8>,
    /// The connection ended, or the framing broke, before the body was whole.
    pub truncated: bool,
    /// The end of the connection was seen by the time the response was through. After a response that is complete by
    /// itself nobody has looked yet: use `RawClient::wait_closed`.
    pub closed: bool,
    /// What a strict client would refuse.
    pub violations: Vec<Violation>,
}

/// A 1xx head.
#[derive(Clone, Debug, Default)]
pub struct Informational {
    /// The status.
    pub status: u16,
    /// Its fields.
    pub headers: Vec<Field>,
}

impl Response {
    /// The value of the only field of this name, as text; `None` if there is none. Panics if there are several.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<String> {
        let all = self.headers_all(name);
        assert!(all.len() <= 1, "several {name} fields in {self:#?}");
        all.first().map(|value| text(value))
    }

    /// The values of all fields of this name, in order.
    pub fn headers_all(&self, name: &str) -> Vec<&[u8]> {
        values(&self.headers, name)
    }

    /// The field names in order, in lower case.
    pub fn header_names(&self) -> Vec<String> {
        self.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect()
    }

    /// The body, unpacked if `Content-Encoding` is gzip; panics if that fails.
    #[track_caller]
    pub fn decoded_body(&self) -> Vec<u8> {
        if self.header("content-encoding").as_deref() != Some("gzip") {
            return self.body.clone();
        }
        let mut unpacked = Vec::new();
        match MultiGzDecoder::new(self.body.as_slice()).read_to_end(&mut unpacked) {
            Ok(_) => unpacked,
            Err(error) => panic!("the gzip body is broken ({error}): {self:#?}"),
        }
    }

    /// The body, unpacked if need be, as text.
    #[track_caller]
    pub fn body_text(&self) -> String {
        text(&self.decoded_body())
    }

    /// The body, unpacked if need be, as JSON; panics if it is none.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        let body = self.decoded_body();
        serde_json::from_slice(&body).unwrap_or_else(|error| panic!("no JSON ({error}): {self:#?}"))
    }

    /// True if `needle` occurs anywhere in the bytes, or in the unpacked body; for secrets and injected lines.
    #[track_caller]
    pub fn contains(&self, needle: impl AsRef<[u8]>) -> bool {
        let needle = needle.as_ref();
        let within = |bytes: &[u8]| bytes.windows(needle.len().max(1)).any(|window| window == needle);
        within(&self.raw) || within(&self.decoded_body())
    }

    /// Panics unless the response was strictly valid and whole.
    #[track_caller]
    pub fn assert_strictly_valid(&self) {
        assert!(self.violations.is_empty() && !self.truncated, "an invalid response: {self:#?}");
    }
}

impl fmt::Debug for Response {
    /// Bytes as escaped text: a list of numbers helps nobody who reads a failed test.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("raw", &format_args!("{}", tail(&self.raw)))
            .field(
                "headers",
                &self.headers.iter().map(|(name, value)| format!("{name}: {}", text(value))).collect::<Vec<_>>(),
            )
            .field("body", &format_args!("{}", tail(&self.body)))
            .field("truncated", &self.truncated)
            .field("closed", &self.closed)
            .field("violations", &self.violations)
            .finish()
    }
}
