//! Where requests go: named upstreams and their addresses.
//!
//! In: an `upstreams` section. Out: an [`Upstream`] that hands out peers.
//! Not here: whether to try again (`pipeline::retry`), what is sent
//! (`pipeline::rewrite`). Names are resolved in the background, never while a
//! request waits; the last good answer stays.

pub mod catalogue;

mod dial;
mod peer;

pub use dial::socket_of;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use pingora::upstreams::peer::HttpPeer;

use crate::config::scalar::Endpoint;
use crate::config::section::upstreams as section;

use dial::Addresses;
use peer::PeerTemplate;

/// A named API behind the gateway.
#[derive(Debug)]
pub struct Upstream {
    name: Arc<str>,
    section: section::Upstream,
    template: PeerTemplate,
    timeouts: Timeouts,
    peers: ArcSwap<Vec<HttpPeer>>,
    addresses: Addresses,
    turn: AtomicUsize,
}

/// Time-outs that the edge enforces, see `timeouts` in the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For one try, until its response headers are complete.
    pub attempt: Duration,
    /// For all tries and the waits between them.
    pub total: Duration,
    /// Between two reads of a response body.
    pub idle: Duration,
}

impl Upstream {
    /// As [`Upstream::compile`], after one of the same name: if nothing is
    /// different it goes on, and else its addresses do while the host is the same.
    pub fn compile_after(previous: Option<&Arc<Upstream>>, name: &str, section: &section::Upstream) -> Arc<Self> {
        let same_host = |previous: &&Arc<Upstream>| previous.section.url.host() == section.url.host();
        match previous {
            Some(previous) if previous.section == *section => Arc::clone(previous),
            previous => {
                let upstream = Upstream::compile(name, section);
                if let Some(previous) = previous.filter(same_host) {
                    let addresses: Vec<IpAddr> = previous.addresses.load().iter().map(|address| address.ip()).collect();
                    upstream.set_addresses(&addresses);
                }
                Arc::new(upstream)
            }
        }
    }

    /// An upstream without addresses, unless its URL names one.
    pub fn compile(name: &str, section: &section::Upstream) -> Self {
        let addresses = Addresses::default();
        let upstream = Upstream {
            name: name.into(),
            section: section.clone(),
            template: PeerTemplate::compile(name, section, Arc::clone(&addresses)),
            timeouts: Timeouts {
                attempt: section.timeouts.attempt.duration(),
                total: section.timeouts.total.duration(),
                idle: section.timeouts.idle.duration(),
            },
            peers: ArcSwap::default(),
            addresses,
            turn: AtomicUsize::new(0),
        };
        if let Some(address) = section.url.address() {
            upstream.set_addresses(&[address]);
        }
        upstream
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Where it lives.
    pub fn endpoint(&self) -> &Endpoint {
        &self.section.url
    }

    /// Its time-outs.
    pub fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    /// The peer for an attempt (from 1): each request begins with the next
    /// address, and each further attempt takes the one after.
    pub fn pick(&self, attempt: u32, first: usize) -> Option<Box<HttpPeer>> {
        let peers = self.peers.load();
        let index = first.wrapping_add(attempt as usize).checked_rem(peers.len())?;
        peers.get(index).cloned().map(Box::new)
    }

    /// A starting point for [`Upstream::pick`].
    pub fn next_turn(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether there is an address to go to.
    pub fn is_resolved(&self) -> bool {
        !self.peers.load().is_empty()
    }

    /// Whether its URL names a host that must be looked up.
    pub fn needs_resolving(&self) -> bool {
        self.section.url.address().is_none()
    }

    /// Looks the host up and takes over the addresses; keeps the old ones on failure.
    ///
    /// # Errors
    /// What the resolver says, or that it found nothing.
    pub async fn resolve(&self) -> io::Result<()> {
        let found = tokio::net::lookup_host((self.section.url.host(), self.section.url.port())).await?;
        let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        if addresses.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no addresses"));
        }
        self.set_addresses(&addresses);
        Ok(())
    }

    fn set_addresses(&self, addresses: &[IpAddr]) {
        let port = self.section.url.port();
        let mut addresses: Vec<SocketAddr> = addresses.iter().map(|ip| SocketAddr::new(*ip, port)).collect();
        if addresses.iter().any(is_routed) {
            addresses.retain(is_routed);
        }
        let peers = addresses.iter().map(|address| self.template.peer(*address)).collect();
        self.addresses.store(Arc::new(addresses));
        self.peers.store(Arc::new(peers));
    }
}

/// Whether this machine has a way to an address at all: many have none to IPv6.
/// Connecting a UDP socket asks the routing table and sends nothing.
fn is_routed(address: &SocketAddr) -> bool {
    let any: SocketAddr = match address.ip() {
        IpAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        IpAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    UdpSocket::bind(any).and_then(|socket| socket.connect(address)).is_ok()
}
