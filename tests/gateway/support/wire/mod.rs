//! Strict reading of HTTP/1.1, shared by the origin (requests) and the client (responses).
//!
//! In: bytes as they arrived. Out: heads and bodies, and a [`Violation`] for whatever a strict reader would refuse.
//! Reading goes on after a violation wherever that is possible, so that a test sees all of them.
//! Not here: sockets, waiting, meaning.

mod body;
mod head;
mod violation;

pub use body::BodyReader;
pub use body::Framing;
pub use body::Part;
pub use head::Field;
pub use head::Head;
pub use head::head_end;
pub use violation::Violation;

/// The values of all fields called `name`, in order; names compare without case.
pub fn values<'a>(fields: &'a [Field], name: &str) -> Vec<&'a [u8]> {
    let same = |field: &&Field| field.0.eq_ignore_ascii_case(name);
    fields.iter().filter(same).map(|field| field.1.as_slice()).collect()
}

/// Text of bytes that may be anything, for names, targets and messages.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// At most the last 400 bytes, escaped: what a panic message shows of a connection.
pub fn tail(bytes: &[u8]) -> String {
    let from = bytes.len().saturating_sub(400);
    let dots = if from > 0 { "... " } else { "" };
    format!("{dots}\"{}\" ({} bytes)", bytes[from..].escape_ascii(), bytes.len())
}
