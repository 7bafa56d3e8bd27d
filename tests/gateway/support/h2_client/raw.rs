//! The client that says anything: header lists and frames by hand.
//!
//! In: [`Fields`], [`Frame`]s, bytes. Out: an [`H2Outcome`] per stream.
//! SETTINGS and PING of the server are acknowledged while something is awaited; our windows are as large as can be.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::super::client::Ending;
use super::super::client::RawClient;
use super::Fields;
use super::Frame;
use super::fields;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a server must accept in one frame.
const FRAME_LIMIT: usize = 16_384;

/// How a server dealt with a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum H2Outcome {
    /// With a response.
    Answered(H2Answer),
    /// It ended the connection without GOAWAY.
    Closed(Ending),
    /// It gave the connection up with this error code.
    GoAway(u32),
    /// It reset the stream with this error code, before any response.
    Reset(u32),
}

/// A response.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct H2Answer {
    /// The final status.
    pub status: u16,
    /// The body, as far as it came.
    pub body: Vec<u8>,
    /// The error code of the reset that broke the body off.
    pub broken_off: Option<u32>,
}

/// One connection.
#[derive(Debug)]
pub struct RawH2Client {
    client: RawClient,
    next_stream: u32,
    streams: BTreeMap<u32, Stream>,
    /// The header block under way, until END_HEADERS.
    block: Vec<u8>,
    settings_acked: bool,
    pings_acked: u64,
    pings_sent: u64,
    goaway: Option<u32>,
    ending: Option<Ending>,
}

#[derive(Debug, Default)]
struct Stream {
    answer: H2Answer,
    ended: bool,
    reset: Option<u32>,
}

impl RawH2Client {
    /// Connects, and waits until both sides' settings are in force.
    pub async fn connect(addr: SocketAddr) -> Self {
        let mut connection = Self::over(RawClient::connect(addr).await);
        // A header table of size 0: each block of the server can be read by itself. A window of 2^31 - 1.
        let settings = [0, 1, 0, 0, 0, 0, 0, 4, 0x7f, 0xff, 0xff, 0xff];
        connection.send_raw(PREFACE).await;
        connection.send_frame(&Frame::new(Frame::SETTINGS, 0, 0, settings)).await;
        connection.send_frame(&Frame::new(Frame::WINDOW_UPDATE, 0, 0, 0x7fff_0000_u32.to_be_bytes())).await;
        while !connection.settings_acked && connection.ending.is_none() {
            connection.take_frame().await;
        }
        connection
    }

    /// A connection on which nothing was said yet, not even the preface.
    pub fn over(client: RawClient) -> Self {
        Self {
            client,
            next_stream: 1,
            streams: BTreeMap::new(),
            block: Vec::new(),
            settings_acked: false,
            pings_acked: 0,
            pings_sent: 0,
            goaway: None,
            ending: None,
        }
    }

    /// Sends a request on a new stream and waits for what becomes of it. The body goes without regard for the server's
    /// window: at most 64 KiB less one byte are sure to fit.
    pub async fn request(&mut self, fields: &Fields, body: Option<&[u8]>) -> H2Outcome {
        let stream = self.open_stream();
        let flags = if body.is_none() { Frame::END_STREAM } else { 0 };
        self.send_headers(stream, flags, fields).await;
        if let Some(body) = body {
            self.send_data(stream, Frame::END_STREAM, body).await;
        }
        self.outcome(stream).await
    }

    /// The number for a new stream.
    pub fn open_stream(&mut self) -> u32 {
        self.next_stream += 2;
        self.next_stream - 2
    }

    /// Sends HEADERS with these flags (END_HEADERS is added), and CONTINUATIONs if the block needs them.
    pub async fn send_headers(&mut self, stream: u32, flags: u8, fields: &Fields) {
        let block = fields.encode();
        let mut parts: Vec<&[u8]> = block.chunks(FRAME_LIMIT).collect();
        if parts.is_empty() {
            parts.push(b"");
        }
        let last = parts.len() - 1;
        for (at, part) in parts.into_iter().enumerate() {
            let (kind, flags) = if at == 0 { (Frame::HEADERS, flags) } else { (Frame::CONTINUATION, 0) };
            let end = if at == last { Frame::END_HEADERS } else { 0 };
            self.send_frame(&Frame::new(kind, flags | end, stream, part)).await;
        }
    }

    /// Sends DATA, in several frames if need be; the flags go on the last one.
    pub async fn send_data(&mut self, stream: u32, flags: u8, data: &[u8]) {
        let mut rest = data;
        while rest.len() > FRAME_LIMIT {
            let (now, later) = rest.split_at(FRAME_LIMIT);
            self.send_frame(&Frame::new(Frame::DATA, 0, stream, now)).await;
            rest = later;
        }
        self.send_frame(&Frame::new(Frame::DATA, flags, stream, rest)).await;
    }

    /// Sends RST_STREAM with this error code.
    pub async fn send_reset(&mut self, stream: u32, code: u32) {
        self.send_frame(&Frame::new(Frame::RST_STREAM, 0, stream, code.to_be_bytes())).await;
    }

    /// Sends any frame.
    pub async fn send_frame(&mut self, frame: &Frame) {
        self.send_raw(frame.bytes()).await;
    }

    /// Sends any bytes. If the server is gone already, `outcome` says so.
    pub async fn send_raw(&mut self, bytes: impl AsRef<[u8]>) {
        drop(self.client.try_send(bytes).await);
    }

    /// Waits for what becomes of a stream; others may go on meanwhile.
    pub async fn outcome(&mut self, stream: u32) -> H2Outcome {
        loop {
            if let Some(outcome) = self.known_outcome(stream) {
                return outcome;
            }
            self.take_frame().await;
        }
    }

    /// True if the server answers a PING: the connection has survived.
    pub async fn is_alive(&mut self) -> bool {
        self.pings_sent += 1;
        self.send_frame(&Frame::new(Frame::PING, 0, 0, self.pings_sent.to_be_bytes())).await;
        while self.pings_acked < self.pings_sent && self.ending.is_none() {
            self.take_frame().await;
        }
        self.ending.is_none()
    }

    /// Waits until the server ends the connection; the error code of its GOAWAY, if it sent one.
    pub async fn wait_closed(&mut self) -> Option<u32> {
        while self.ending.is_none() {
            self.take_frame().await;
        }
        self.goaway
    }

    fn known_outcome(&self, id: u32) -> Option<H2Outcome> {
        if !self.block.is_empty() && self.ending.is_none() {
            return None;
        }
        if let Some(stream) = self.streams.get(&id) {
            let mut answer = stream.answer.clone();
            match (stream.ended, stream.reset) {
                (true, _) => return Some(H2Outcome::Answered(answer)),
                (false, Some(code)) if answer.status == 0 => return Some(H2Outcome::Reset(code)),
                (false, Some(code)) => {
                    answer.broken_off = Some(code);
                    return Some(H2Outcome::Answered(answer));
                }
                (false, None) => {}
            }
        }
        match (self.goaway, self.ending) {
            (Some(code), Some(_)) => Some(H2Outcome::GoAway(code)),
            // With NO_ERROR the streams under way may still end well.
            (Some(code), None) if code != 0 => Some(H2Outcome::GoAway(code)),
            (Some(_) | None, None) => None,
            (None, Some(ending)) => Some(H2Outcome::Closed(ending)),
        }
    }

    async fn take_frame(&mut self) {
        match self.read_frame().await {
            Ok(frame) => self.take(frame).await,
            Err(ending) => self.ending = Some(ending),
        }
    }

    async fn read_frame(&mut self) -> Result<Frame, Ending> {
        let header = self.client.try_read_exact(9).await?;
        let (length, mut frame) = Frame::from_header(&header);
        frame.payload = self.client.try_read_exact(length).await?;
        Ok(frame)
    }

    async fn take(&mut self, frame: Frame) {
        let acked = frame.has(Frame::ACK);
        match frame.kind {
            Frame::CONTINUATION | Frame::HEADERS => self.take_headers(&frame),
            Frame::DATA => {
                let stream = self.streams.entry(frame.stream).or_default();
                stream.answer.body.extend_from_slice(frame.content());
                stream.ended |= frame.has(Frame::END_STREAM);
            }
            Frame::GOAWAY => self.goaway = Some(frame.number(4)),
            Frame::PING if acked => self.pings_acked += 1,
            Frame::PING => self.send_frame(&Frame { flags: Frame::ACK, ..frame }).await,
            Frame::RST_STREAM => self.streams.entry(frame.stream).or_default().reset = Some(frame.number(0)),
            Frame::SETTINGS if acked => self.settings_acked = true,
            Frame::SETTINGS => self.send_frame(&Frame::new(Frame::SETTINGS, Frame::ACK, 0, [])).await,
            _ => {}
        }
    }

    /// END_STREAM stands on HEADERS, but counts when the block is whole (see `known_outcome`).
    fn take_headers(&mut self, frame: &Frame) {
        let stream = self.streams.entry(frame.stream).or_default();
        stream.ended |= frame.kind == Frame::HEADERS && frame.has(Frame::END_STREAM);
        self.block.extend_from_slice(frame.content());
        if frame.has(Frame::END_HEADERS) {
            let block = std::mem::take(&mut self.block);
            // A second block is an informational head's successor, or trailers, which have no status.
            if stream.answer.status < 200 {
                stream.answer.status = fields::status(&block);
            }
        }
    }
}

impl H2Outcome {
    /// The status, if there was a response.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Answered(answer) => Some(answer.status),
            Self::Closed(_) | Self::GoAway(_) | Self::Reset(_) => None,
        }
    }

    /// True for everything but an answer below 400: a stream or connection error, or a refusal in words.
    pub fn is_refused(&self) -> bool {
        self.status().is_none_or(|status| status >= 400)
    }
}
