//! Opens connections to upstreams and keeps a second handle to each socket.
//!
//! In: an address, and the others of the same backend. Out: Pingora's stream,
//! with the handle in its digest: who holds it can end the connection from
//! outside. Pingora has one read time-out
//! for headers and body and counts it per read, so an upstream that drips its
//! headers would never run out of time. Not here: when to end it.

use std::io;
use std::net::{SocketAddr, TcpStream as Socket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use pingora::connectors::L4Connect;
use pingora::http::ResponseHeader;
use pingora::protocols::l4::socket::SocketAddr as PeerAddr;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{Digest, GetProxyDigest};
use pingora::{Error, ErrorType, OrErr, Result};
use tokio::net::TcpStream;

use crate::clock::Clock;

/// The addresses of an upstream, as last looked up.
pub(super) type Addresses = Arc<ArcSwap<Vec<SocketAddr>>>;

/// How long an address that took no connection comes behind the others: one that swallows packets would else hold up
/// every other connection.
const BEHIND_FOR: Duration = Duration::from_secs(10);

/// Dials the addresses of one backend in turn, with a time-out for all of them.
#[derive(Debug)]
pub(super) struct Dialer {
    timeout: Duration,
    addresses: Addresses,
    clock: Clock,
    /// Addresses that took no connection, and until when that counts.
    failed: ArcSwap<Vec<(SocketAddr, Instant)>>,
}

impl Dialer {
    pub(super) fn new(timeout: Duration, addresses: Addresses, clock: Clock) -> Self {
        Dialer { timeout, addresses, clock, failed: ArcSwap::default() }
    }

    /// The address that is wanted, then the others; behind them all those that failed lately.
    fn candidates(&self, wanted: SocketAddr) -> Vec<SocketAddr> {
        let known = self.addresses.load();
        let others = known.iter().copied().filter(|other| *other != wanted);
        let mut candidates: Vec<SocketAddr> = std::iter::once(wanted).chain(others).collect();
        let (now, failed) = (self.clock.now(), self.failed.load());
        if !failed.is_empty() {
            candidates.sort_by_key(|address| failed.iter().any(|(known, until)| known == address && *until > now));
        }
        candidates
    }

    fn note_failure(&self, address: SocketAddr) {
        let now = self.clock.now();
        self.failed.rcu(|failed| {
            let others = failed.iter().filter(|(known, until)| *known != address && *until > now);
            others.copied().chain([(address, now + BEHIND_FOR)]).collect::<Vec<_>>()
        });
    }

    /// The first connection that succeeds. An address that refuses, such as `::1`
    /// for a server that listens on 127.0.0.1 only, is no failure of the upstream.
    async fn first_of(&self, wanted: SocketAddr) -> Result<TcpStream> {
        let candidates = self.candidates(wanted);
        let is_alone = candidates.len() == 1;
        // One that swallows packets must leave time for the others.
        let share = self.timeout / u32::try_from(candidates.len()).unwrap_or(u32::MAX);
        let mut failure = Error::new(ErrorType::ConnectError);
        for address in candidates {
            match tokio::time::timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => failure = Error::because(kind(&error), "connecting", error),
                Err(_) => failure = Error::explain(ErrorType::ConnectTimedout, "connecting"),
            }
            if !is_alone {
                self.note_failure(address);
            }
        }
        Err(failure)
    }
}

/// The handle that `Dialer` left with a connection.
pub fn socket_of(digest: &Digest) -> Option<&Arc<Socket>> {
    digest.proxy_digest.as_ref()?.user_data.as_ref()?.downcast_ref()
}

#[async_trait]
impl L4Connect for Dialer {
    async fn connect(&self, address: &PeerAddr) -> Result<Stream> {
        let wanted = address
            .as_inet()
            .ok_or_else(|| Error::explain(ErrorType::ConnectError, "upstreams have internet addresses"))?;
        let stream = self.first_of(*wanted).await?;
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

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::clock::TestClock;

    #[tokio::test]
    async fn an_address_that_refuses_is_passed_over() {
        let good = TcpListener::bind("127.0.0.1:0").unwrap();
        let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let addresses = Addresses::new(ArcSwap::from_pointee(vec![refused, good.local_addr().unwrap()]));
        let time = TestClock::new();
        let good = good.local_addr().unwrap();
        let dialer = Dialer::new(Duration::from_secs(5), addresses, time.clock());
        let stream = dialer.first_of(refused).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
        assert_eq!(dialer.candidates(refused), [good, refused], "it comes last for a while");
        time.advance(BEHIND_FOR);
        assert_eq!(dialer.candidates(refused), [refused, good]);

        let alone =
            Dialer::new(Duration::from_secs(5), Addresses::new(ArcSwap::from_pointee(vec![refused])), time.clock());
        assert_eq!(*alone.first_of(refused).await.unwrap_err().etype(), ErrorType::ConnectRefused);
    }
}
