//! One backend of an upstream: one URL, its addresses, how it is doing.
//!
//! In: an `Endpoint`. Out: peers to connect to. The addresses of its name take
//! turns, and are looked up in the background; the last good answer stays. Not
//! here: which backend gets a request (`balance`).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use http::HeaderValue;
use pingora::upstreams::peer::HttpPeer;

use crate::clock::Clock;
use crate::config::scalar::Endpoint;
use crate::config::section::upstreams as section;

use super::condition::Condition;
use super::dial::Addresses;
use super::peer::PeerTemplate;

/// One of the APIs that answer alike.
#[derive(Debug)]
pub struct Backend {
    endpoint: Endpoint,
    label: Arc<str>,
    host: HeaderValue,
    template: PeerTemplate,
    peers: ArcSwap<Vec<HttpPeer>>,
    addresses: Addresses,
    resolved: AtomicBool,
    condition: Arc<Condition>,
}

impl Backend {
    /// A backend without addresses, unless its URL names one, or there was one of the same host before; what is known of
    /// how that one is doing goes on if its URL is the same.
    pub(super) fn compile(
        (name, section): (&str, &section::Upstream),
        endpoint: &Endpoint,
        previous: &[Backend],
        clock: &Clock,
    ) -> Self {
        let addresses = Addresses::default();
        let same = previous.iter().find(|backend| backend.endpoint == *endpoint);
        let backend = Backend {
            label: endpoint.authority().into(),
            host: HeaderValue::from_str(&endpoint.authority()).unwrap_or(HeaderValue::from_static("")),
            template: PeerTemplate::compile((name, section), endpoint, Arc::clone(&addresses), clock),
            peers: ArcSwap::default(),
            addresses,
            resolved: AtomicBool::new(false),
            condition: same.map_or_else(|| Arc::new(Condition::new(clock.now())), |same| Arc::clone(&same.condition)),
            endpoint: endpoint.clone(),
        };
        let same_host = |other: &&Backend| other.endpoint.host() == endpoint.host();
        if let Some(address) = endpoint.address() {
            backend.set_addresses(&[address]);
        } else if let Some(known) = previous.iter().find(same_host) {
            let known: Vec<IpAddr> = known.addresses.load().iter().map(|address| address.ip()).collect();
            backend.set_addresses(&known);
        }
        backend
    }

    /// Where it lives.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// What it is called in logs and metrics: its host, and its port unless that is the usual one.
    pub fn label(&self) -> &Arc<str> {
        &self.label
    }

    /// The value of `Host` towards it.
    pub fn host(&self) -> &HeaderValue {
        &self.host
    }

    pub(super) fn condition(&self) -> &Arc<Condition> {
        &self.condition
    }

    /// One of its addresses.
    pub(super) fn peer(&self, turn: usize) -> Option<Box<HttpPeer>> {
        let peers = self.peers.load();
        peers.get(turn.checked_rem(peers.len())?).cloned().map(Box::new)
    }

    /// Whether there is an address to go to.
    pub fn is_resolved(&self) -> bool {
        self.resolved.load(Ordering::Acquire)
    }

    /// Whether its URL names a host that must be looked up.
    pub fn needs_resolving(&self) -> bool {
        self.endpoint.address().is_none()
    }

    /// Looks the host up and takes over the addresses; keeps the old ones on failure.
    pub(super) async fn resolve(&self) -> io::Result<()> {
        let found = tokio::net::lookup_host((self.endpoint.host(), self.endpoint.port())).await?;
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
        let port = self.endpoint.port();
        let mut addresses: Vec<SocketAddr> = addresses.iter().map(|ip| SocketAddr::new(*ip, port)).collect();
        if addresses.iter().any(is_routed) {
            addresses.retain(is_routed);
        }
        let peers: Vec<HttpPeer> = addresses.iter().map(|address| self.template.peer(*address)).collect();
        let resolved = !peers.is_empty();
        self.addresses.store(Arc::new(addresses));
        self.peers.store(Arc::new(peers));
        self.resolved.store(resolved, Ordering::Release);
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
