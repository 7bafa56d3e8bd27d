//! Turns an [`Answer`] into what is to be done on the socket.
//!
//! In: an answer, and whether it is one to HEAD. Out: bytes and pauses in order, and what happens at the end.

use std::time::Duration;

use bytes::Bytes;

use super::Answer;
use super::At;
use super::Gate;
use super::Piece;
use super::Then;
use super::framing::Framing;

/// One thing to do.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Bytes(Bytes),
    Delay(Duration),
    Drip(Bytes, Duration),
    Pattern { offset: u64, length: u64 },
    Wait(Gate),
}

/// All that is to be done for one answer.
#[derive(Debug)]
pub(super) struct Steps {
    pub(super) steps: Vec<Step>,
    pub(super) then: Then,
    /// The answer is cut: what was announced does not all come.
    pub(super) cut: bool,
}

/// Generated bodies go in chunks of this size.
const PATTERN_CHUNK: u64 = 64 * 1024;

impl Steps {
    pub(super) fn of(answer: &Answer, to_head: bool) -> Self {
        let head = head(answer);
        let mut offset = 0;
        let bodiless = to_head || matches!(answer.status, 100..=199 | 204 | 304);
        let body =
            if bodiless && !answer.force_body && !answer.is_raw() { Vec::new() } else { body(answer, &mut offset) };
        let lengths = (head.len() as u64, body.iter().map(Step::length).sum());

        let mut steps = plain(&answer.lead, &mut offset);
        let head = if head.is_empty() { None } else { Some(dripped(head, answer.drip_head)) };
        let mut message: Vec<Step> = head.into_iter().chain(body).collect();
        if let Some((at, then)) = answer.cut {
            cut(&mut message, at.byte(lengths));
            steps.extend(message);
            return Self { steps: merged(steps), then, cut: true };
        }
        steps.extend(message);
        steps.extend(plain(&answer.extra, &mut offset));
        Self { steps: merged(steps), then: answer.then_if_unsaid(), cut: false }
    }
}

impl Step {
    fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) | Self::Drip(bytes, _) => bytes.len() as u64,
            Self::Delay(_) | Self::Wait(_) => 0,
            Self::Pattern { length, .. } => *length,
        }
    }

    /// Keeps the first `keep` bytes.
    fn truncate(&mut self, keep: u64) {
        match self {
            Self::Bytes(bytes) | Self::Drip(bytes, _) => bytes.truncate(usize::try_from(keep).expect("within memory")),
            Self::Delay(_) | Self::Wait(_) => {}
            Self::Pattern { length, .. } => *length = keep.min(*length),
        }
    }
}

impl At {
    fn byte(self, (head, body): (u64, u64)) -> u64 {
        match self {
            Self::Byte(byte) => byte,
            Self::HalfBody => head + body / 2,
            Self::HalfHead => head / 2,
            Self::HeadEnd => head,
            Self::Start => 0,
        }
    }
}

impl Answer {
    fn is_raw(&self) -> bool {
        matches!(self.framing, Framing::Raw)
    }

    fn has_line(&self, line: &str) -> bool {
        self.lines.iter().any(|known| known.eq_ignore_ascii_case(line.as_bytes()))
    }

    /// A connection that is kept by default ends where the head says so.
    fn then_if_unsaid(&self) -> Then {
        let ends = self.has_line("Connection: close") || (self.http10 && !self.has_line("Connection: keep-alive"));
        if self.then == Then::KeepAlive && ends { Then::Close } else { self.then }
    }
}

fn head(answer: &Answer) -> Bytes {
    let framing = match &answer.framing {
        Framing::Chunked | Framing::ChunkedBroken(_) => Some("Transfer-Encoding: chunked".to_owned()),
        Framing::Declared(length) => Some(format!("Content-Length: {length}")),
        Framing::Length => Some(format!("Content-Length: {}", answer.body_length())),
        Framing::Raw => return Bytes::new(),
        Framing::Unframed => None,
    };
    let mut head = Vec::new();
    let mut line = |line: &[u8]| {
        head.extend_from_slice(line);
        head.extend_from_slice(answer.line_end.as_bytes());
    };
    match &answer.status_line {
        Some(own) => line(own),
        None => line(status_line(answer).as_bytes()),
    }
    answer.lines.iter().for_each(|own| line(own));
    if let Some(framing) = framing {
        line(framing.as_bytes());
    }
    line(b"");
    Bytes::from(head)
}

fn status_line(answer: &Answer) -> String {
    let version = if answer.http10 { "HTTP/1.0" } else { "HTTP/1.1" };
    let known = http::StatusCode::from_u16(answer.status).ok().and_then(|status| status.canonical_reason());
    let reason = answer.reason.as_deref().or(known).unwrap_or("Unknown");
    format!("{version} {} {reason}", answer.status)
}

fn body(answer: &Answer, offset: &mut u64) -> Vec<Step> {
    let steps = match &answer.framing {
        Framing::Chunked => chunked(answer, offset),
        Framing::ChunkedBroken(fault) => {
            let bytes: Vec<Bytes> = answer.body.iter().filter_map(piece_bytes).collect();
            vec![Step::Bytes(Bytes::from(fault.encode(&bytes.concat())))]
        }
        Framing::Declared(_) | Framing::Length | Framing::Raw | Framing::Unframed => plain(&answer.body, offset),
    };
    let drip = |step| match step {
        Step::Bytes(bytes) => dripped(bytes, answer.drip_body),
        other @ (Step::Delay(_) | Step::Drip(..) | Step::Pattern { .. } | Step::Wait(_)) => other,
    };
    steps.into_iter().map(drip).collect()
}

fn piece_bytes(piece: &Piece) -> Option<Bytes> {
    match piece {
        Piece::Bytes(bytes) => Some(bytes.clone()),
        Piece::Delay(_) | Piece::Pattern(_) | Piece::Wait(_) => None,
    }
}

fn plain(pieces: &[Piece], offset: &mut u64) -> Vec<Step> {
    pieces.iter().map(|piece| step(piece, offset)).collect()
}

fn step(piece: &Piece, offset: &mut u64) -> Step {
    match piece {
        Piece::Bytes(bytes) => Step::Bytes(bytes.clone()),
        Piece::Delay(delay) => Step::Delay(*delay),
        Piece::Pattern(length) => {
            *offset += length;
            Step::Pattern { offset: *offset - length, length: *length }
        }
        Piece::Wait(gate) => Step::Wait(gate.clone()),
    }
}

fn chunked(answer: &Answer, offset: &mut u64) -> Vec<Step> {
    let mut steps = Vec::new();
    for piece in &answer.body {
        let mut left = piece.length();
        if left == 0 && !matches!(piece, Piece::Bytes(_)) {
            steps.push(step(piece, offset));
        }
        while left > 0 {
            let part = match piece {
                Piece::Pattern(_) => Piece::Pattern(left.min(PATTERN_CHUNK)),
                whole @ (Piece::Bytes(_) | Piece::Delay(_) | Piece::Wait(_)) => whole.clone(),
            };
            left -= part.length();
            steps.push(Step::Bytes(Bytes::from(format!("{:x}\r\n", part.length()))));
            steps.push(step(&part, offset));
            steps.push(Step::Bytes(Bytes::from_static(b"\r\n")));
        }
    }
    steps.push(Step::Bytes(Bytes::from_static(b"0\r\n")));
    for line in &answer.trailers {
        steps.push(Step::Bytes([line, b"\r\n".as_slice()].concat().into()));
    }
    steps.push(Step::Bytes(Bytes::from_static(b"\r\n")));
    steps
}

fn dripped(bytes: Bytes, delay: Option<Duration>) -> Step {
    match delay {
        Some(delay) => Step::Drip(bytes, delay),
        None => Step::Bytes(bytes),
    }
}

/// Drops all that comes after the first `keep` bytes, pauses included.
fn cut(steps: &mut Vec<Step>, mut keep: u64) {
    for at in 0..steps.len() {
        let length = steps[at].length();
        if length >= keep {
            steps[at].truncate(keep);
            steps.truncate(if keep == 0 { at } else { at + 1 });
            return;
        }
        keep -= length;
    }
}

/// Joins neighbouring bytes, so that head, body and extra bytes reach the peer in one read.
fn merged(steps: Vec<Step>) -> Vec<Step> {
    let mut merged: Vec<Step> = Vec::with_capacity(steps.len());
    for step in steps {
        match (merged.last_mut(), step) {
            (Some(Step::Bytes(before)), Step::Bytes(bytes)) => *before = [before.as_ref(), &bytes].concat().into(),
            (_, step) => merged.push(step),
        }
    }
    merged
}
