//! A client that sends any bytes and keeps every byte it gets.
//!
//! In: bytes, or a [`Request`] that makes them. Out: a [`Response`] with all that arrived, right or wrong.
//! Every wait ends after 10 s with a panic that says what was awaited and what had come.
//! Not here: HTTP/2 (`super::h2_client`), TLS.

mod exchange;
mod reader;
mod request;
mod response;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio::time::timeout;

use super::watched::PATIENCE;
use super::wire::tail;

pub use exchange::Exchange;
pub use exchange::exchange;
pub use exchange::get;
pub use exchange::raw;
pub use exchange::request;
pub use request::Request;
pub use response::Informational;
pub use response::Response;

use reader::ResponseReader;

/// How a peer ended a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ending {
    /// With FIN.
    Closed,
    /// With RST.
    Reset,
}

/// The connection ended before a whole final head had arrived.
#[derive(Clone, Debug)]
pub struct NoResponse {
    /// How it ended.
    pub ending: Ending,
    /// What had arrived.
    pub bytes: Vec<u8>,
}

/// Who may have a body in the answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Asked {
    Body,
    Head,
}

/// One TCP connection.
#[derive(Debug)]
pub struct RawClient {
    stream: TcpStream,
    buffer: BytesMut,
    ending: Option<Ending>,
}

impl RawClient {
    /// Connects; panics if nobody accepts.
    pub async fn connect(addr: SocketAddr) -> Self {
        let connected = timeout(PATIENCE, TcpStream::connect(addr)).await;
        let connected = connected.unwrap_or_else(|_| panic!("waited {PATIENCE:?} to connect to {addr}"));
        Self::over(connected.unwrap_or_else(|error| panic!("cannot connect to {addr}: {error}")))
    }

    /// Speaks on a connection made elsewhere, for instance from a chosen source address.
    pub fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("a fresh socket");
        Self { stream, buffer: BytesMut::new(), ending: None }
    }

    /// Sends these bytes; panics if the peer is gone.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        if let Err(error) = self.try_send(bytes).await {
            panic!("cannot send {}: {error}", tail(bytes));
        }
    }

    /// Sends these bytes, unless the peer is gone.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        let bytes = bytes.as_ref();
        let sent = timeout(PATIENCE, self.stream.write_all(bytes)).await;
        sent.unwrap_or_else(|_| panic!("waited {PATIENCE:?} for the peer to take {}", tail(bytes)))
    }

    /// Sends one byte at a time with this delay before each, until done or the peer is gone; returns how many were sent.
    pub async fn send_slowly(&mut self, bytes: impl AsRef<[u8]>, delay: Duration) -> usize {
        for (sent, byte) in bytes.as_ref().iter().enumerate() {
            tokio::time::sleep(delay).await;
            if self.stream.write_all(&[*byte]).await.is_err() {
                return sent;
            }
        }
        bytes.as_ref().len()
    }

    /// Reads the next response; panics if the connection ends before its head is whole.
    pub async fn read_response(&mut self) -> Response {
        unless_missing(self.try_read_response().await)
    }

    /// Reads the next response as one to HEAD: no body, whatever its headers say.
    pub async fn read_response_to_head(&mut self) -> Response {
        unless_missing(self.next(Asked::Head, None).await)
    }

    /// Reads the next response, if one comes before the connection ends.
    pub async fn try_read_response(&mut self) -> Result<Response, NoResponse> {
        self.next(Asked::Body, None).await
    }

    /// Reads a response of any size: the body goes to `sink` as it arrives and is not kept (nor is it in `raw`).
    pub async fn read_response_into(&mut self, mut sink: impl FnMut(&[u8]) + Send) -> Response {
        unless_missing(self.next(Asked::Body, Some(&mut sink)).await)
    }

    /// Reads exactly this many bytes; panics if the connection ends before.
    pub async fn read_exact(&mut self, count: usize) -> Vec<u8> {
        let read = self.try_read_exact(count).await;
        read.unwrap_or_else(|ending| {
            panic!("the peer ended the connection ({ending:?}) before {count} bytes: {}", tail(&self.buffer))
        })
    }

    /// Reads exactly this many bytes, if they come before the connection ends; else they stay unread.
    pub async fn try_read_exact(&mut self, count: usize) -> Result<Vec<u8>, Ending> {
        while self.buffer.len() < count {
            if let Some(ending) = self.fill(&format!("{count} bytes")).await {
                return Err(ending);
            }
        }
        Ok(self.buffer.split_to(count).to_vec())
    }

    /// Reads what is there, waiting for the first byte; empty once the connection has ended.
    pub async fn read_some(&mut self) -> Vec<u8> {
        if self.buffer.is_empty() {
            self.fill("any bytes").await;
        }
        self.buffer.split().to_vec()
    }

    /// Reads until the peer ends the connection; returns all bytes not yet read.
    pub async fn read_to_end_raw(&mut self) -> Vec<u8> {
        while self.fill("the end of the connection").await.is_none() {}
        self.buffer.split().to_vec()
    }

    /// Reads until the peer ends the connection, or until nothing has come for this long.
    pub async fn read_until_quiet(&mut self, quiet: Duration) -> Vec<u8> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            match timeout(quiet, self.fill("quiet")).await {
                Ok(None) => {}
                Ok(Some(_)) | Err(_) => return self.buffer.split().to_vec(),
            }
        }
        panic!("bytes kept coming for {PATIENCE:?}: {}", tail(&self.buffer));
    }

    /// Waits until the peer ends the connection; panics if it sends anything or stays.
    pub async fn wait_closed(&mut self) -> Ending {
        loop {
            assert!(self.buffer.is_empty(), "bytes instead of the end: {}", tail(&self.buffer));
            if let Some(ending) = self.fill("the end of the connection").await {
                return ending;
            }
        }
    }

    /// True if the peer's end of the connection has already been seen or is there to be seen; does not wait.
    pub fn is_closed_by_peer(&mut self) -> bool {
        while self.ending.is_none() {
            self.buffer.reserve(16 * 1024);
            match self.stream.try_read_buf(&mut self.buffer) {
                Ok(0) => self.ending = Some(Ending::Closed),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(_) => self.ending = Some(Ending::Reset),
            }
        }
        true
    }

    /// Bytes that have been taken off the socket and belong to no response read so far.
    pub fn unread(&self) -> &[u8] {
        &self.buffer
    }

    /// Where the connection starts: the address the peer sees.
    pub fn local_addr(&self) -> SocketAddr {
        self.stream.local_addr().expect("the socket is connected")
    }

    /// Sends FIN; reading goes on.
    pub async fn half_close(&mut self) {
        // An error means that the peer was faster.
        drop(self.stream.shutdown().await);
    }

    /// Ends the connection with RST.
    pub fn abort(self) {
        self.stream.set_zero_linger().expect("an open socket");
    }

    async fn next(&mut self, asked: Asked, mut sink: Option<Sink<'_>>) -> Result<Response, NoResponse> {
        let mut reader = ResponseReader::new(asked);
        loop {
            let again: Option<Sink<'_>> = match &mut sink {
                Some(sink) => Some(&mut **sink),
                None => None,
            };
            if let Some(result) = reader.advance(&mut self.buffer, self.ending, again) {
                return result;
            }
            self.fill(reader.awaits()).await;
        }
    }

    /// Reads once; the connection's end if it has come.
    async fn fill(&mut self, what: &str) -> Option<Ending> {
        if self.ending.is_some() {
            return self.ending;
        }
        self.buffer.reserve(64 * 1024);
        match timeout(PATIENCE, self.stream.read_buf(&mut self.buffer)).await {
            Err(_) => panic!("waited {PATIENCE:?} for {what}; unread so far: {}", tail(&self.buffer)),
            Ok(Ok(0)) => self.ending = Some(Ending::Closed),
            Ok(Ok(_)) => {}
            Ok(Err(_)) => self.ending = Some(Ending::Reset),
        }
        self.ending
    }
}

/// Takes the bytes of a body that is not to be kept.
pub(crate) type Sink<'a> = &'a mut (dyn FnMut(&[u8]) + Send);

fn unless_missing(result: Result<Response, NoResponse>) -> Response {
    result.unwrap_or_else(|missing| {
        panic!("the peer ended the connection ({:?}) before a response: {}", missing.ending, tail(&missing.bytes))
    })
}
