//! The builder for answers: a right one to begin with, each method makes one thing different.
//!
//! In: what the test wants to happen. Out: a description; `steps` turns it into bytes and pauses.
//! Not here: writing it (`connection`).

use std::time::Duration;

use bytes::Bytes;

use super::Gate;
use super::Piece;
use super::faults;
use super::framing::Framing;

/// One answer. Without further words: HTTP/1.1, `Content-Length`, kept alive.
#[derive(Clone, Debug)]
pub struct Answer {
    pub(super) http10: bool,
    pub(super) status: u16,
    pub(super) reason: Option<String>,
    pub(super) status_line: Option<Bytes>,
    /// Header lines in order, without line ends.
    pub(super) lines: Vec<Bytes>,
    pub(super) line_end: &'static str,
    pub(super) body: Vec<Piece>,
    pub(super) framing: Framing,
    pub(super) trailers: Vec<Bytes>,
    pub(super) force_body: bool,
    /// What happens before the head: pauses and informational heads.
    pub(super) lead: Vec<Piece>,
    pub(super) drip_head: Option<Duration>,
    pub(super) drip_body: Option<Duration>,
    pub(super) before_body: bool,
    pub(super) cut: Option<(At, Then)>,
    /// What follows the answer on the connection.
    pub(super) extra: Vec<Piece>,
    pub(super) then: Then,
}

/// A place in an answer, counted from the first byte of the final head.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum At {
    /// After this many bytes.
    Byte(u64),
    /// In the middle of the body's bytes.
    HalfBody,
    /// In the middle of the head's bytes.
    HalfHead,
    /// After the head's empty line.
    HeadEnd,
    /// Before the first byte.
    Start,
}

/// What happens to the connection after an answer, or where one is cut.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Then {
    /// It is closed with FIN at once.
    Close,
    /// It stays open until bytes of a next request arrive and is then closed without an answer: the race of a reused
    /// connection, made certain. The bytes are in `ConnectionLog::stray`.
    CloseOnReuse,
    /// The next request is read.
    KeepAlive,
    /// It is reset (RST) at once.
    Reset,
    /// Like `CloseOnReuse`, with RST.
    ResetOnReuse,
    /// It stays open and silent until the peer ends it; what the peer sends is kept in `ConnectionLog::stray`.
    Stall,
}

impl Answer {
    /// 200 with `{"data":[],"rows":0}`.
    pub fn ok() -> Self {
        Self::json(200, r#"{"data":[],"rows":0}"#)
    }

    /// This status with this JSON text.
    pub fn json(status: u16, json: impl AsRef<[u8]>) -> Self {
        Self::with_body(status, "application/json", json)
    }

    /// This status; the body, where the status has one, is a Tinybird-like error.
    pub fn status(status: u16) -> Self {
        match status {
            100..=199 | 204 | 304 => Self { framing: Framing::Unframed, ..Self::blank(status) },
            _ => Self::json(status, format!(r#"{{"error":"origin answered {status}"}}"#)),
        }
    }

    /// This status with a body of this type.
    pub fn with_body(status: u16, content_type: &str, body: impl AsRef<[u8]>) -> Self {
        Self::blank(status).header("Content-Type", content_type).body(body)
    }

    /// 200 with `length` bytes of [`super::super::pattern`], made while they are sent.
    pub fn stream(length: u64) -> Self {
        Self::blank(200).header("Content-Type", "application/octet-stream").pieces([Piece::Pattern(length)])
    }

    /// 302 to this location.
    pub fn redirect(location: &str) -> Self {
        Self::status(302).header("Location", location)
    }

    /// 200 whose gzip body unpacks to `length` zeros.
    pub fn gzip_bomb(length: usize) -> Self {
        let body = faults::gzip_zeros(length);
        Self::with_body(200, "application/json", body).header("Content-Encoding", "gzip")
    }

    /// 101 nobody need have asked for; afterwards the connection swallows bytes (see [`Then::Stall`]).
    pub fn switching_protocols() -> Self {
        let answer = Self::status(101).header("Connection", "Upgrade").header("Upgrade", "websocket");
        answer.then(Then::Stall)
    }

    /// No byte, ever; the connection stays open until the peer gives up ([`super::Fate::HungUp`]).
    pub fn never() -> Self {
        Self::ok().cut(At::Start, Then::Stall)
    }

    /// RST instead of an answer.
    pub fn reset() -> Self {
        Self::ok().cut(At::Start, Then::Reset)
    }

    /// FIN instead of an answer.
    pub fn close() -> Self {
        Self::ok().cut(At::Start, Then::Close)
    }

    /// Exactly these bytes, head and all. Cut it with [`At::Byte`].
    pub fn raw(bytes: impl AsRef<[u8]>) -> Self {
        Self { framing: Framing::Raw, ..Self::blank(0) }.body(bytes)
    }

    fn blank(status: u16) -> Self {
        Self {
            http10: false,
            status,
            reason: None,
            status_line: None,
            lines: Vec::new(),
            line_end: "\r\n",
            body: Vec::new(),
            framing: Framing::Length,
            trailers: Vec::new(),
            force_body: false,
            lead: Vec::new(),
            drip_head: None,
            drip_body: None,
            before_body: false,
            cut: None,
            extra: Vec::new(),
            then: Then::KeepAlive,
        }
    }
}

/// The head.
impl Answer {
    /// Another reason phrase.
    pub fn reason(mut self, reason: &str) -> Self {
        self.reason = Some(reason.to_owned());
        self
    }

    /// This status line, whatever it is, without line end.
    pub fn status_line(mut self, line: impl AsRef<[u8]>) -> Self {
        self.status_line = Some(Bytes::copy_from_slice(line.as_ref()));
        self
    }

    /// One more field; nothing is checked, so name and value may hold anything.
    pub fn header(self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.raw_header_line([name.as_ref(), b": ", value.as_ref()].concat())
    }

    /// One more header line, without line end, whatever it is.
    pub fn raw_header_line(mut self, line: impl AsRef<[u8]>) -> Self {
        self.lines.push(Bytes::copy_from_slice(line.as_ref()));
        self
    }

    /// Leaves out the lines that begin with `name:` so far, also those the constructor made.
    pub fn without_header(mut self, name: &str) -> Self {
        let start = format!("{}:", name.to_ascii_lowercase());
        self.lines.retain(|line| !line.to_ascii_lowercase().starts_with(start.as_bytes()));
        self
    }

    /// One field `X-Huge` whose value has this many KiB.
    pub fn huge_header(self, kib: usize) -> Self {
        self.header("X-Huge", vec![b'a'; kib * 1024])
    }

    /// This many fields `X-Many-0`, `X-Many-1`, ...
    pub fn many_headers(self, count: usize) -> Self {
        (0..count).fold(self, |answer, at| answer.header(format!("X-Many-{at}"), "v"))
    }

    /// LF alone after each line of the head.
    pub fn bare_lf(mut self) -> Self {
        self.line_end = "\n";
        self
    }

    /// HTTP/1.0: closed afterwards, unless the answer has a header `Connection: keep-alive`.
    pub fn http10(mut self) -> Self {
        self.http10 = true;
        self
    }

    /// `count` informational heads of this status before the final one; for "endless" take 1000.
    pub fn informational(self, status: u16, count: usize) -> Self {
        let head = format!("HTTP/1.1 {status} Informational\r\nX-Informational: {status}\r\n\r\n");
        self.lead_bytes(head.repeat(count))
    }

    /// These bytes before the final head, whatever they are.
    pub fn lead_bytes(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.lead.push(Piece::bytes(bytes));
        self
    }
}

/// Time, faults and the aftermath.
impl Answer {
    /// Waits this long before the first byte; several waits add up.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.lead.push(Piece::Delay(delay));
        self
    }

    /// Waits for the gate before the first byte.
    pub fn gate(mut self, gate: &Gate) -> Self {
        self.lead.push(Piece::wait(gate));
        self
    }

    /// The head one byte at a time, with this delay before each.
    pub fn drip_head(mut self, delay: Duration) -> Self {
        self.drip_head = Some(delay);
        self
    }

    /// The body one byte at a time, with this delay before each; not for generated bodies.
    pub fn drip_body(mut self, delay: Duration) -> Self {
        self.drip_body = Some(delay);
        self
    }

    /// Answers as soon as the request's head is there. The body is read afterwards, if the connection is kept alive.
    pub fn before_body(mut self) -> Self {
        self.before_body = true;
        self
    }

    /// Breaks off at this place.
    pub fn cut(mut self, at: At, then: Then) -> Self {
        self.cut = Some((at, then));
        self
    }

    /// What happens to the connection afterwards.
    pub fn then(mut self, then: Then) -> Self {
        self.then = then;
        self
    }

    /// Closes right after the answer, without having said so.
    pub fn close_after(self) -> Self {
        self.then(Then::Close)
    }

    /// Closes when the connection is used again; see [`Then::CloseOnReuse`].
    pub fn close_on_reuse(self) -> Self {
        self.then(Then::CloseOnReuse)
    }

    /// These bytes right after the answer, in the same write where possible.
    pub fn extra(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.extra.push(Piece::bytes(bytes));
        self
    }

    /// These bytes on the idle connection once the gate is open; the request is [`super::Fate::Answered`] only then,
    /// and a next request on the connection waits as well.
    pub fn extra_when(mut self, gate: &Gate, bytes: impl AsRef<[u8]>) -> Self {
        self.extra.push(Piece::wait(gate));
        self.extra(bytes)
    }
}
