//! Opens connections to upstreams and keeps a second handle to each socket.
//!
//! In: an address. Out: Pingora's stream, with the handle in its digest: who
//! holds it can end the connection from outside. Pingora has one read time-out
//! for headers and body and counts it per read, so an upstream that drips its
//! headers would never run out of time. Not here: when to end it.

use std::io;
use std::net::TcpStream as Socket;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::connectors::L4Connect;
use pingora::http::ResponseHeader;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{Digest, GetProxyDigest};
use pingora::{Error, ErrorType, OrErr, Result};
use tokio::net::TcpStream;

/// Dials with a time-out.
#[derive(Debug)]
pub(super) struct Dialer {
    timeout: Duration,
}

impl Dialer {
    pub(super) fn new(timeout: Duration) -> Self {
        Dialer { timeout }
    }
}

/// The handle that `Dialer` left with a connection.
pub fn socket_of(digest: &Digest) -> Option<&Arc<Socket>> {
    digest.proxy_digest.as_ref()?.user_data.as_ref()?.downcast_ref()
}

#[async_trait]
impl L4Connect for Dialer {
    async fn connect(&self, address: &SocketAddr) -> Result<Stream> {
        let address = address
            .as_inet()
            .ok_or_else(|| Error::explain(ErrorType::ConnectError, "upstreams have internet addresses"))?;
        let connected = tokio::time::timeout(self.timeout, TcpStream::connect(address)).await;
        let stream = connected
            .map_err(|_| Error::explain(ErrorType::ConnectTimedout, "connecting"))?
            .map_err(|error| Error::because(kind(&error), "connecting", error))?;
        let handle =
            stream.as_fd().try_clone_to_owned().or_err(ErrorType::SocketError, "a second handle to a socket")?;
        let mut stream = Stream::from(stream);
        let header = ResponseHeader::build_no_case(200, Some(0))?;
        let socket = Arc::new(Socket::from(handle));
        stream.set_proxy_digest(ProxyDigest::new(Box::new(header), Some(Box::new(socket))));
        Ok(stream)
    }
}

fn kind(error: &io::Error) -> ErrorType {
    match error.raw_os_error() {
        Some(111) => ErrorType::ConnectRefused,
        Some(101 | 113) => ErrorType::ConnectNoRoute,
        _ => ErrorType::ConnectError,
    }
}
