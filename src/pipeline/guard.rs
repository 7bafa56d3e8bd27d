//! Cheap limits before anything else: sizes, framing, methods.
//!
//! In: the raw head. Out: nothing, or the refusal. Not here: what the path
//! means (`exchange::head`), parameters.

use std::sync::Arc;

use http::{HeaderMap, Method, header};

use crate::config::scalar::ByteSize;
use crate::config::section::server::Server;
use crate::exchange::refusal::Refusal;

/// Fields in one header block; far above what clients send.
const MAX_FIELDS: usize = 100;

/// Limits that hold for every request, whatever its route.
#[derive(Clone, Copy, Debug)]
pub struct HeadGuard {
    max_uri: ByteSize,
    max_headers: ByteSize,
}

impl HeadGuard {
    /// The limits of a `server` section.
    pub fn compile(server: &Server) -> Self {
        HeadGuard { max_uri: server.max_uri, max_headers: server.max_headers }
    }

    /// Looks at the size of a head and at everything that could make two
    /// programs disagree about where its body ends.
    ///
    /// # Errors
    /// 400, 414 or 431.
    ///
    /// `raw` are the bytes of an HTTP/1 head, empty for HTTP/2.
    pub fn inspect(&self, target: &[u8], headers: &HeaderMap, raw: &[u8]) -> Result<(), Refusal> {
        if target.len() as u64 > self.max_uri.bytes() {
            return Err(Refusal::UriTooLong { limit: self.max_uri.bytes() });
        }
        let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        if size as u64 > self.max_headers.bytes() || headers.len() > MAX_FIELDS {
            return Err(Refusal::HeadersTooLarge { limit: self.max_headers.bytes() });
        }
        framing(headers, raw)
    }
}

/// Pingora forwards `Content-Length: 5, 5` as it came and drops a length
/// beside `Transfer-Encoding`; both are how requests are smuggled past a
/// gateway (RFC 9112 section 6.3).
fn framing(headers: &HeaderMap, raw: &[u8]) -> Result<(), Refusal> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let length = lengths.next();
    if lengths.next().is_some() {
        return Err(Refusal::BadRequest("Content-Length is given twice."));
    }
    if let Some(length) = length {
        let digits = length.as_bytes();
        if digits.is_empty() || digits.len() > 18 || !digits.iter().all(u8::is_ascii_digit) {
            return Err(Refusal::BadRequest("Content-Length is not a number."));
        }
    }
    let mut encodings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let encoding = encodings.next();
    if encodings.next().is_some() || encoding.is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"chunked")) {
        return Err(Refusal::BadRequest("Transfer-Encoding must be chunked, once."));
    }
    // The dropped length is left in the bytes alone.
    if encoding.is_some() && (length.is_some() || has_line(raw, header::CONTENT_LENGTH.as_str())) {
        return Err(Refusal::BadRequest("Content-Length and Transfer-Encoding exclude each other."));
    }
    Ok(())
}

/// Whether a field of this name is in a raw head.
fn has_line(raw: &[u8], name: &str) -> bool {
    raw.split(|byte| *byte == b'\n')
        .filter_map(|line| line.split(|byte| *byte == b':').next())
        .any(|given| given.eq_ignore_ascii_case(name.as_bytes()))
}

/// Limits of one route.
#[derive(Clone, Debug)]
pub struct RouteGuard {
    methods: Box<[Method]>,
    allow: Arc<str>,
    max_body: ByteSize,
}

impl RouteGuard {
    /// A route that serves `methods`, with request bodies of at most `max_body`.
    pub fn compile(methods: Vec<Method>, max_body: ByteSize) -> Self {
        let allow = methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ").into();
        RouteGuard { methods: methods.into(), allow, max_body }
    }

    /// The methods as `Allow` and CORS list them.
    pub fn allow(&self) -> &Arc<str> {
        &self.allow
    }

    /// The largest request body.
    pub fn max_body(&self) -> u64 {
        self.max_body.bytes()
    }

    /// Looks at method and announced size.
    ///
    /// # Errors
    /// 405 or 413.
    pub fn inspect(&self, method: &Method, announced: Option<u64>) -> Result<(), Refusal> {
        if !self.methods.contains(method) {
            return Err(Refusal::MethodNotAllowed { allow: Arc::clone(&self.allow) });
        }
        if announced.is_some_and(|length| length > self.max_body.bytes()) {
            return Err(Refusal::BodyTooLarge { limit: self.max_body.bytes() });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    #[test]
    fn ambiguous_framing_is_refused() {
        let guard = HeadGuard::compile(&Server::default());
        for bad in [
            headers(&[("content-length", "5"), ("content-length", "5")]),
            headers(&[("content-length", "5, 5")]),
            headers(&[("content-length", "+5")]),
            headers(&[("content-length", "")]),
            headers(&[("content-length", "99999999999999999999")]),
            headers(&[("content-length", "5"), ("transfer-encoding", "chunked")]),
            headers(&[("transfer-encoding", "gzip, chunked")]),
            headers(&[("transfer-encoding", "xchunked")]),
            headers(&[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")]),
        ] {
            assert!(guard.inspect(b"/", &bad, b"").is_err(), "{bad:?}");
        }
        assert!(guard.inspect(b"/", &headers(&[("content-length", "5")]), b"").is_ok());
        let chunked = headers(&[("transfer-encoding", "Chunked")]);
        assert!(guard.inspect(b"/", &chunked, b"POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n").is_ok());
        let both = b"POST / HTTP/1.1\r\ncontent-LENGTH: 5\r\nTransfer-Encoding: Chunked\r\n\r\n";
        assert!(guard.inspect(b"/", &chunked, both).is_err());
    }

    #[test]
    fn sizes_have_limits() {
        let guard = HeadGuard::compile(&Server::default());
        let long = vec![b'a'; 17 << 10];
        assert_eq!(guard.inspect(&long, &HeaderMap::new(), b""), Err(Refusal::UriTooLong { limit: 16 << 10 }));
        let wide = headers(&[("x", &"a".repeat(40 << 10))]);
        assert_eq!(guard.inspect(b"/", &wide, b""), Err(Refusal::HeadersTooLarge { limit: 32 << 10 }));
        let many = headers(&[("x", "1"); 101]);
        assert!(guard.inspect(b"/", &many, b"").is_err());
    }
}
