//! What the origin saw: requests as they arrived, and what became of connections.
//!
//! Not here: reading them (`connection`), the rules they are held against (`wire`).

use std::fmt;

use super::super::wire::Field;
use super::super::wire::Head;
use super::super::wire::Violation;
use super::super::wire::text;
use super::super::wire::values;

/// All that was seen so far.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Requests in order of arrival.
    pub requests: Vec<Received>,
    /// Connections in order of acceptance; a connection's id is its index here.
    pub connections: Vec<ConnectionLog>,
    /// Request heads read, also of requests whose body is still awaited.
    pub heads: usize,
    /// How many requests were forgotten; keeps the numbers of those under way right.
    forgotten: usize,
}

/// One connection.
#[derive(Clone, Debug, Default)]
pub struct ConnectionLog {
    /// Requests read on it.
    pub requests: usize,
    /// Bytes that arrived and are part of no request: half a head, a request that met a closing connection, whatever
    /// came after 101 or during a stall. At most 1 MiB is kept.
    pub stray: Vec<u8>,
    /// How it ended; `None` while it is open.
    pub end: Option<ConnectionEnd>,
}

/// Who ended a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ConnectionEnd {
    /// The origin, with FIN.
    ClosedByOrigin,
    /// The peer, with FIN.
    ClosedByPeer,
    /// The origin, with RST.
    ResetByOrigin,
    /// The peer, with RST.
    ResetByPeer,
}

/// What became of a request's answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    /// The origin broke off, as it was told.
    Aborted,
    /// Written to the end, with all that was to follow it.
    Answered,
    /// The peer closed or reset before the answer was complete.
    HungUp,
    /// Under way, or stalled.
    Pending,
}

/// A request as it arrived.
#[derive(Clone)]
pub struct Received {
    /// Index of the connection among those accepted.
    pub connection: usize,
    /// Index of the request on its connection.
    pub index: usize,
    /// The head, every byte.
    pub raw_head: Vec<u8>,
    /// First word of the request line.
    pub method: String,
    /// Second word of the request line, untouched.
    pub target: String,
    /// The target up to the first `?`.
    pub path: String,
    /// The target after the first `?`, still encoded.
    pub query: Option<String>,
    /// Third word of the request line.
    pub version: String,
    /// Fields in order, duplicates included, names in the sender's case.
    pub headers: Vec<Field>,
    /// The body without chunk framing, as far as it is kept.
    pub body: Vec<u8>,
    /// The body's bytes as they arrived, chunk framing included, as far as they are kept.
    pub raw_body: Vec<u8>,
    /// Length of the body without chunk framing, kept or not.
    pub body_length: u64,
    /// Trailer fields.
    pub trailers: Vec<Field>,
    /// True once the body was read to its end.
    pub complete: bool,
    /// What a strict server would refuse.
    pub violations: Vec<Violation>,
    /// What became of the answer.
    pub fate: Fate,
}

impl Seen {
    /// Connections not yet ended.
    pub fn open_connections(&self) -> usize {
        self.connections.iter().filter(|connection| connection.end.is_none()).count()
    }

    /// Requests the peer gave up.
    pub fn hang_ups(&self) -> usize {
        self.requests.iter().filter(|request| request.fate == Fate::HungUp).count()
    }

    pub(super) fn whole_requests(&self, count: usize) -> Option<Vec<Received>> {
        let whole = self.requests.iter().filter(|request| request.complete).count();
        (whole >= count).then(|| self.requests.clone())
    }

    pub(super) fn forget_requests(&mut self) {
        self.forgotten += self.requests.len();
        self.requests.clear();
    }

    /// Adds a request; returns its number for `request_mut`.
    pub(super) fn push(&mut self, request: Received) -> usize {
        self.requests.push(request);
        self.forgotten + self.requests.len() - 1
    }

    pub(super) fn request_mut(&mut self, number: usize) -> Option<&mut Received> {
        self.requests.get_mut(number.checked_sub(self.forgotten)?)
    }
}

impl Received {
    pub(super) fn new(head: Head, connection: usize, index: usize) -> Self {
        let [method, target, version] = head.words();
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
            None => (target.clone(), None),
        };
        Self {
            connection,
            index,
            raw_head: head.raw,
            method,
            target,
            path,
            query,
            version,
            headers: head.fields,
            body: Vec::new(),
            raw_body: Vec::new(),
            body_length: 0,
            trailers: Vec::new(),
            complete: false,
            violations: head.violations,
            fate: Fate::Pending,
        }
    }

    /// The value of the only field of this name, as text; `None` if there is none. Panics if there are several.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<String> {
        let all = self.headers_all(name);
        assert!(all.len() <= 1, "several {name} fields at the origin: {self:#?}");
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

    /// The query's pairs in order, decoded as a form is (`+` is a blank).
    pub fn query_pairs(&self) -> Vec<(String, String)> {
        pairs(self.query.as_deref().unwrap_or_default())
    }

    /// The decoded values of a query parameter, by decoded name.
    pub fn query_values(&self, name: &str) -> Vec<String> {
        self.query_pairs().into_iter().filter(|pair| pair.0 == name).map(|pair| pair.1).collect()
    }

    /// The body's pairs in order, read as a form.
    pub fn form_pairs(&self) -> Vec<(String, String)> {
        pairs(&self.body_text())
    }

    /// The body as text.
    pub fn body_text(&self) -> String {
        text(&self.body)
    }

    /// The body as JSON; panics if it is none.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("no JSON at the origin ({error}): {self:#?}"))
    }

    /// Head and body as they arrived.
    pub fn raw(&self) -> Vec<u8> {
        [self.raw_head.as_slice(), &self.raw_body].concat()
    }

    /// True if `needle` occurs anywhere in the bytes that arrived; for secrets and injected lines.
    pub fn contains(&self, needle: impl AsRef<[u8]>) -> bool {
        let needle = needle.as_ref();
        self.raw().windows(needle.len().max(1)).any(|window| window == needle)
    }

    /// Panics unless the request was strictly valid and complete.
    #[track_caller]
    pub fn assert_strictly_valid(&self) {
        assert!(self.violations.is_empty(), "the origin received an invalid request: {self:#?}");
    }
}

impl fmt::Debug for Received {
    /// Bytes as escaped text: a list of numbers helps nobody who reads a failed test.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received")
            .field("connection", &self.connection)
            .field("index", &self.index)
            .field("head", &format_args!("\"{}\"", self.raw_head.escape_ascii()))
            .field("body", &format_args!("{}", super::super::wire::tail(&self.raw_body)))
            .field("complete", &self.complete)
            .field("violations", &self.violations)
            .field("fate", &self.fate)
            .finish()
    }
}

/// Splits `a=1&b=2` and decodes both sides; what cannot be decoded stays as it is.
fn pairs(encoded: &str) -> Vec<(String, String)> {
    let parts = encoded.split('&').filter(|part| !part.is_empty());
    parts
        .map(|part| part.split_once('=').unwrap_or((part, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

fn decode(encoded: &str) -> String {
    let bytes = encoded.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        let hex = escape.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let byte = hex.and_then(|digits| u8::from_str_radix(&text(digits), 16).ok());
        at += if byte.is_some() { 3 } else { 1 };
        let plain = |byte: u8| if byte == b'+' { b' ' } else { byte };
        decoded.push(byte.unwrap_or_else(|| plain(bytes[at - 1])));
    }
    text(&decoded)
}
