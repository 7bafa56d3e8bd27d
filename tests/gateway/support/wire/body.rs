//! Bodies: how long they are, and taking them off a buffer as they arrive.

use bytes::Buf;
use bytes::BytesMut;

use super::Field;
use super::Head;
use super::Violation;
use super::text;
use super::values;

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Framing {
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// Exactly this many bytes; zero where there is no body.
    Length(u64),
    /// All bytes until the connection ends.
    UntilClose,
}

/// What a [`BodyReader`] hands out as it goes.
#[derive(Debug)]
pub enum Part<'a> {
    /// Bytes of the body proper.
    Payload(&'a [u8]),
    /// Bytes as they arrived, chunk framing included; each byte of the body once.
    Raw(&'a [u8]),
}

/// Takes one body off a buffer.
#[derive(Debug)]
pub struct BodyReader {
    state: State,
    /// What was wrong with the chunked framing.
    pub violations: Vec<Violation>,
    /// The trailer fields of a chunked body.
    pub trailers: Vec<Field>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Broken,
    ChunkData(u64),
    ChunkDataEnd,
    ChunkSize,
    Done,
    Length(u64),
    Trailers,
    UntilClose,
}

/// No chunk size line or trailer section of ours or of a gateway is longer.
const LINE_LIMIT: usize = 64 * 1024;

impl Framing {
    /// The framing of a request with this head; objections go into the head.
    pub fn of_request(head: &mut Head) -> Self {
        let http10 = head.words()[2] == "HTTP/1.0";
        Self::declared(head, http10).unwrap_or(Self::Length(0))
    }

    /// The framing of a final response with this head; objections go into the head.
    pub fn of_response(head: &mut Head, status: u16, to_head: bool) -> Self {
        let http10 = head.words()[0] == "HTTP/1.0";
        let declared = Self::declared(head, http10);
        let empty = to_head || status == 101 || status == 204 || status == 304;
        if empty { Self::Length(0) } else { declared.unwrap_or(Self::UntilClose) }
    }

    fn declared(head: &mut Head, http10: bool) -> Option<Self> {
        let codings: Vec<String> = texts(&head.fields, "transfer-encoding");
        let lengths: Vec<String> = texts(&head.fields, "content-length");
        if lengths.len() > 1 {
            head.object(Violation::DuplicateContentLength);
        }
        for length in lengths.iter().filter(|length| parse_length(length).is_none()) {
            head.object(Violation::BadContentLength(length.clone()));
        }
        let Some(last) = codings.last() else {
            return lengths.first().map(|length| Self::Length(parse_length(length).unwrap_or(0)));
        };
        if !lengths.is_empty() {
            head.object(Violation::ContentLengthAndTransferEncoding);
        }
        if http10 {
            head.object(Violation::TransferEncodingInHttp10);
        }
        if codings.len() > 1 || !last.eq_ignore_ascii_case("chunked") {
            head.object(Violation::BadTransferEncoding(codings.join(", ")));
        }
        last.to_ascii_lowercase().ends_with("chunked").then_some(Self::Chunked)
    }
}

impl BodyReader {
    /// A reader at the start of a body.
    pub fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::Chunked => State::ChunkSize,
            Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::UntilClose => State::UntilClose,
        };
        Self { state, violations: Vec::new(), trailers: Vec::new() }
    }

    /// Takes what belongs to the body; true when there is no more to come (or no way to tell where it ends).
    pub fn take(&mut self, input: &mut BytesMut, out: &mut dyn FnMut(Part<'_>)) -> bool {
        while self.step(input, out) {}
        matches!(self.state, State::Broken | State::Done)
    }

    /// True if the body may end here because the connection does.
    pub fn may_end(&self) -> bool {
        matches!(self.state, State::Done | State::UntilClose)
    }

    /// True once the end was reached.
    pub fn is_whole(&self) -> bool {
        self.state == State::Done
    }

    /// True once the framing made no sense; what follows on the connection cannot be read.
    pub fn is_broken(&self) -> bool {
        self.state == State::Broken
    }

    /// One step; false when it needs more input or is through.
    fn step(&mut self, input: &mut BytesMut, out: &mut dyn FnMut(Part<'_>)) -> bool {
        match self.state {
            State::Broken | State::Done => false,
            State::ChunkData(left) => self.data(input, left, out, State::after_chunk_data),
            State::ChunkDataEnd => self.chunk_data_end(input, out),
            State::ChunkSize => self.chunk_size(input, out),
            State::Length(left) => self.data(input, left, out, State::after_length),
            State::Trailers => self.trailer_section(input, out),
            State::UntilClose => self.data(input, u64::MAX, out, |_| State::UntilClose),
        }
    }

    fn data(&mut self, input: &mut BytesMut, left: u64, out: &mut dyn FnMut(Part<'_>), next: fn(u64) -> State) -> bool {
        let take = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
        if take == 0 {
            return false;
        }
        out(Part::Raw(&input[..take]));
        out(Part::Payload(&input[..take]));
        input.advance(take);
        self.state = next(left - take as u64);
        true
    }

    fn chunk_size(&mut self, input: &mut BytesMut, out: &mut dyn FnMut(Part<'_>)) -> bool {
        let Some(end) = input.iter().position(|byte| *byte == b'\n') else {
            return self.too_long(input);
        };
        let line = input.split_to(end + 1);
        out(Part::Raw(&line));
        let Some(line) = line.strip_suffix(b"\r\n") else {
            self.violations.push(Violation::BareLf);
            return self.broken(&line);
        };
        let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
        let valid = (1..=16).contains(&digits.len()) && digits.iter().all(u8::is_ascii_hexdigit);
        let size = valid.then(|| u64::from_str_radix(&text(digits), 16).ok()).flatten();
        match size {
            None => return self.broken(line),
            Some(0) => self.state = State::Trailers,
            Some(size) => self.state = State::ChunkData(size),
        }
        true
    }

    fn chunk_data_end(&mut self, input: &mut BytesMut, out: &mut dyn FnMut(Part<'_>)) -> bool {
        if input.len() < 2 && !input.starts_with(b"\n") {
            return false;
        }
        if !input.starts_with(b"\r\n") {
            return self.broken(b"no CR LF after the data of a chunk");
        }
        out(Part::Raw(b"\r\n"));
        input.advance(2);
        self.state = State::ChunkSize;
        true
    }

    fn trailer_section(&mut self, input: &mut BytesMut, out: &mut dyn FnMut(Part<'_>)) -> bool {
        let mut end = 0;
        for line in input.split_inclusive(|byte| *byte == b'\n') {
            end += line.len();
            if line == b"\r\n" || line == b"\n" {
                let section = Head::parse_trailers(&input.split_to(end));
                out(Part::Raw(&section.raw));
                self.violations.extend(section.violations);
                self.trailers = section.fields;
                self.state = State::Done;
                return true;
            }
        }
        self.too_long(input)
    }

    fn too_long(&mut self, input: &BytesMut) -> bool {
        input.len() > LINE_LIMIT && self.broken(b"a line without an end")
    }

    fn broken(&mut self, what: &[u8]) -> bool {
        self.violations.push(Violation::BadChunk(text(what)));
        self.state = State::Broken;
        true
    }
}

impl State {
    fn after_chunk_data(left: u64) -> Self {
        if left == 0 { Self::ChunkDataEnd } else { Self::ChunkData(left) }
    }

    fn after_length(left: u64) -> Self {
        if left == 0 { Self::Done } else { Self::Length(left) }
    }
}

fn texts(fields: &[Field], name: &str) -> Vec<String> {
    values(fields, name).into_iter().map(text).collect()
}

/// Digits only: `u64::from_str` would also take a plus sign.
fn parse_length(length: &str) -> Option<u64> {
    let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| length.parse().ok()).flatten()
}
