//! The head of an answer and the beginning of its body, in one write.
//!
//! In: what is written on a connection. Out: the same bytes in the same order,
//! in fewer writes. Not here: what is written, when it has to be out (whoever
//! writes flushes).
//!
//! Pingora's buffer in front of a socket holds 1 460 bytes. A head and a body
//! that are larger together are two writes, and each is a call of the system: a
//! tenth of what a small answer costs the gateway. Only a head is held, and only
//! until what follows it comes, so that a body that drips is not held up.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

/// How a head begins; a piece of a body that does so, too, is held like one, and loses nothing by it.
const HEAD: &[u8] = b"HTTP/1.";
/// A larger head is written at once.
const LARGEST_HEAD: usize = 4 << 10;
/// What is joined at most: copying more costs as much as a write.
const LARGEST: usize = 16 << 10;

/// What is held of an answer.
#[derive(Debug, Default)]
pub(super) struct Joined {
    held: Vec<u8>,
    /// Bytes of the current write that are in `held` already, for whoever is asked to write them again.
    taken: Option<usize>,
}

impl Joined {
    /// Takes bytes to write, as [`AsyncWrite::poll_write_vectored`].
    pub(super) fn poll_write<W: AsyncWrite + Unpin>(
        &mut self,
        inner: &mut W,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        if let Some(taken) = self.taken {
            ready!(self.poll_out(inner, context))?;
            self.taken = None;
            return Poll::Ready(Ok(taken));
        }
        if self.held.is_empty() {
            let first = pieces.first().map(|piece| &**piece).unwrap_or_default();
            if length > LARGEST_HEAD || !first.starts_with(HEAD) {
                return match pieces {
                    [only] => Pin::new(inner).poll_write(context, only),
                    pieces => Pin::new(inner).poll_write_vectored(context, pieces),
                };
            }
            self.hold(pieces);
            return Poll::Ready(Ok(length));
        }
        if self.held.len() + length > LARGEST {
            ready!(self.poll_out(inner, context))?;
            return Pin::new(inner).poll_write_vectored(context, pieces);
        }
        self.hold(pieces);
        self.taken = Some(length);
        ready!(self.poll_out(inner, context))?;
        self.taken = None;
        Poll::Ready(Ok(length))
    }

    /// Writes out what is held.
    pub(super) fn poll_out<W: AsyncWrite + Unpin>(
        &mut self,
        inner: &mut W,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            match ready!(Pin::new(&mut *inner).poll_write(context, &self.held))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => drop(self.held.drain(..written.min(self.held.len()))),
            }
        }
        // Nothing of it stays with a connection that idles.
        self.held = Vec::new();
        Poll::Ready(Ok(()))
    }

    fn hold(&mut self, pieces: &[IoSlice<'_>]) {
        if self.held.is_empty() {
            // Room for what small answers have behind their heads.
            self.held.reserve(LARGEST_HEAD);
        }
        pieces.iter().for_each(|piece| self.held.extend_from_slice(piece));
    }
}

#[cfg(test)]
#[path = "joined_tests.rs"]
mod tests;
