//! One component of a URL: a name or a value of the query, a segment of the path.
//!
//! In: bytes. Out: the same, percent-encoded, so that they cannot end the
//! component. Not here: reading URLs (`head`).

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

/// Unreserved characters (RFC 3986), and two that no query parser treats
/// specially and that arrays and times are full of.
const PLAIN: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b',').remove(b':');

/// Percent-encodes a value for a query or one segment of a path.
pub fn encode_component(bytes: &[u8]) -> impl Iterator<Item = &str> {
    percent_encode(bytes, PLAIN)
}
