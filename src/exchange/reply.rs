//! An answer that the gateway makes itself.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};

/// Status, headers and body of an answer without an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// Headers beside those that every answer has.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body; empty for none.
    pub body: Bytes,
}
