//! The part of the [`Answer`] builder that deals with the body and its length.

use bytes::Bytes;

use super::Answer;
use super::ChunkFault;
use super::GzipFault;
use super::Piece;
use super::Then;
use super::faults;

/// How the length of the body is announced.
#[derive(Clone, Debug)]
pub(super) enum Framing {
    Chunked,
    ChunkedBroken(ChunkFault),
    /// This `Content-Length`, right or not.
    Declared(u64),
    Length,
    /// Head and framing are the test's own.
    Raw,
    /// No framing header is added.
    Unframed,
}

/// Body and framing.
impl Answer {
    /// This body.
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = vec![Piece::bytes(body)];
        self
    }

    /// A body in parts, with pauses between them.
    pub fn pieces(mut self, pieces: impl IntoIterator<Item = Piece>) -> Self {
        self.body = pieces.into_iter().collect();
        self
    }

    /// The body so far compressed, with `Content-Encoding: gzip`.
    pub fn gzip(self) -> Self {
        let packed = faults::gzip(&self.plain_body());
        self.body(packed).header("Content-Encoding", "gzip")
    }

    /// The body so far compressed and broken, with `Content-Encoding: gzip`.
    pub fn broken_gzip(self, fault: GzipFault) -> Self {
        let packed = fault.encode(&self.plain_body());
        self.body(packed).header("Content-Encoding", "gzip")
    }

    /// Sends the body even where HTTP has none: to HEAD, and with 204, 304 and 1xx.
    pub fn force_body(mut self) -> Self {
        self.force_body = true;
        self
    }

    /// Chunked framing.
    pub fn chunked(mut self) -> Self {
        self.framing = Framing::Chunked;
        self
    }

    /// One chunk, framed wrongly; closes afterwards. The body must not be empty.
    pub fn broken_chunks(mut self, fault: ChunkFault) -> Self {
        self.framing = Framing::ChunkedBroken(fault);
        self.then(Then::Close)
    }

    /// No framing header; the body ends with the connection.
    pub fn until_close(self) -> Self {
        self.unframed().then(Then::Close)
    }

    /// No framing header, for tests that bring their own; the connection is kept alive.
    pub fn unframed(mut self) -> Self {
        self.framing = Framing::Unframed;
        self
    }

    /// A `Content-Length` that need not be true. If the body is shorter the origin closes after it; if it is longer
    /// the rest follows as bytes nobody announced.
    pub fn declared_length(mut self, length: u64) -> Self {
        self.framing = Framing::Declared(length);
        if length > self.body_length() { self.then(Then::Close) } else { self }
    }

    /// A second `Content-Length`, before the one that the framing makes.
    pub fn second_content_length(self, length: u64) -> Self {
        self.header("Content-Length", length.to_string())
    }

    /// A second `Content-Length` that says the same; call it when the body is set.
    pub fn same_content_length_twice(self) -> Self {
        let length = self.body_length();
        self.second_content_length(length)
    }

    /// Chunked framing with a `Content-Length` beside it; call it when the body is set.
    pub fn length_and_chunked(self) -> Self {
        let length = self.body_length();
        self.chunked().second_content_length(length)
    }

    /// Chunked framing with one more trailer field.
    pub fn trailer(mut self, name: &str, value: &str) -> Self {
        self.trailers.push(Bytes::from(format!("{name}: {value}")));
        self.header("Trailer", name).chunked()
    }

    pub(super) fn body_length(&self) -> u64 {
        self.body.iter().map(Piece::length).sum()
    }

    fn plain_body(&self) -> Vec<u8> {
        let bytes = |piece: &Piece| match piece {
            Piece::Bytes(bytes) => bytes.clone(),
            Piece::Delay(_) | Piece::Pattern(_) | Piece::Wait(_) => {
                panic!("only a body of bytes can be compressed")
            }
        };
        self.body.iter().map(bytes).collect::<Vec<_>>().concat()
    }
}
