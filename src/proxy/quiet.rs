//! A connection on which nobody speaks before a request has come.
//!
//! In: a connection, and whether the head of the current request has come. Out:
//! the same connection; what is written on it before that is replaced by an
//! answer of our own. Not here: requests that have come (`respond`).
//!
//! What Pingora's parser refuses, and CONNECT, it answers itself, in a head that
//! says `Server: Pingora`: no option changes that, and no hook is called. But
//! until then nobody else writes, so whatever comes is that answer.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::{SslDigest, TlsRef};
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream, TimingDigest,
    UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::door::HeadArrived;
use super::joined::Joined;

/// For CONNECT, which no route serves.
const METHOD_NOT_ALLOWED: &[u8] =
    b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n";
/// For what is no request.
const BAD_REQUEST: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n";

/// The connection.
#[derive(Debug)]
pub(super) struct Quiet {
    inner: Stream,
    arrived: HeadArrived,
    /// What is left to write of our own answer, in place of one that was given so many bytes.
    own: Option<(&'static [u8], usize)>,
    joined: Joined,
}

impl Quiet {
    pub(super) fn new(inner: Stream, arrived: HeadArrived) -> Self {
        Quiet { inner, arrived, own: None, joined: Joined::default() }
    }

    /// Writes our own answer; whoever wrote the other one believes that it was written.
    fn poll_own(&mut self, context: &mut Context<'_>, given: &[u8]) -> Poll<io::Result<usize>> {
        let (mut left, length) = self.own.take().unwrap_or_else(|| {
            let is_connect = given.starts_with(b"HTTP/1.1 405 ");
            (if is_connect { METHOD_NOT_ALLOWED } else { BAD_REQUEST }, given.len())
        });
        while !left.is_empty() {
            match Pin::new(&mut self.inner).poll_write(context, left) {
                Poll::Pending => {
                    self.own = Some((left, length));
                    return Poll::Pending;
                }
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(written) => left = left.get(written?..).unwrap_or_default(),
            }
        }
        Poll::Ready(Ok(length))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // As Pingora's connection does with what is in its buffer: a caller whose answer breaks off behind its head is to
        // see that head. A write is ready unless that buffer is full.
        drop(self.joined.poll_out(&mut self.inner, &mut Context::from_waker(Waker::noop())));
    }
}

impl AsyncWrite for Quiet {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match this.arrived.is_set() {
            false => this.poll_own(context, bytes),
            true => this.joined.poll_write(&mut this.inner, context, &[IoSlice::new(bytes)]),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.arrived.is_set() {
            return this.joined.poll_write(&mut this.inner, context, pieces);
        }
        let all: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
        let written = ready!(this.poll_own(context, &all))?;
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.joined.poll_out(&mut this.inner, context))?;
        Pin::new(&mut this.inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.joined.poll_out(&mut this.inner, context))?;
        Pin::new(&mut this.inner).poll_shutdown(context)
    }
}

impl AsyncRead for Quiet {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_read(context, buffer)
    }
}

// Everything else is the connection's own affair.

#[async_trait]
impl Shutdown for Quiet {
    async fn shutdown(&mut self) {
        // What was written goes out before the end, as from any buffer; a peer that is gone misses nothing.
        let Quiet { inner, joined, .. } = self;
        drop(poll_fn(|context| joined.poll_out(inner, context)).await);
        self.inner.shutdown().await;
    }
}

impl UniqueID for Quiet {
    fn id(&self) -> UniqueIDType {
        self.inner.id()
    }
}

impl Ssl for Quiet {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.inner.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.inner.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.inner.selected_alpn_proto()
    }
}

impl GetTimingDigest for Quiet {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.inner.get_timing_digest()
    }

    fn get_read_pending_time(&self) -> std::time::Duration {
        self.inner.get_read_pending_time()
    }

    fn get_write_pending_time(&self) -> std::time::Duration {
        self.inner.get_write_pending_time()
    }
}

impl GetProxyDigest for Quiet {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.inner.get_proxy_digest()
    }

    fn set_proxy_digest(&mut self, digest: ProxyDigest) {
        self.inner.set_proxy_digest(digest);
    }
}

impl GetSocketDigest for Quiet {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.inner.get_socket_digest()
    }

    fn set_socket_digest(&mut self, digest: SocketDigest) {
        self.inner.set_socket_digest(digest);
    }
}

#[async_trait]
impl Peek for Quiet {
    async fn try_peek(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        self.inner.try_peek(buffer).await
    }
}
