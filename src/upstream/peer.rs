//! From an address to a Pingora peer: SNI, authorities, time-outs.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;

use pingora::protocols::ALPN;
use pingora::protocols::tls::CaType;
use pingora::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy};
use pingora::utils::tls::{WrappedX509, parse_x509};

use crate::clock::Clock;
use crate::config::scalar::{Endpoint, Scheme};
use crate::config::section::upstreams as section;

use super::dial::{Addresses, Dialer};

/// Everything about a peer but its address.
#[derive(Clone)]
pub(super) struct PeerTemplate {
    tls: bool,
    sni: String,
    group: u64,
    ca: Option<Arc<CaType>>,
    timeouts: section::Timeouts,
    dialer: Arc<Dialer>,
}

impl std::fmt::Debug for PeerTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerTemplate").field("tls", &self.tls).field("sni", &self.sni).finish_non_exhaustive()
    }
}

impl PeerTemplate {
    pub(super) fn compile(
        (name, section): (&str, &section::Upstream),
        endpoint: &Endpoint,
        addresses: Addresses,
        clock: &Clock,
    ) -> Self {
        let certificates: Vec<WrappedX509> =
            section.tls.ca_certificates.iter().map(|der| WrappedX509::new(der.clone(), parse_x509)).collect();
        PeerTemplate {
            tls: endpoint.scheme() == Scheme::Https,
            sni: endpoint.host().to_owned(),
            group: group(name, section, endpoint),
            ca: (!certificates.is_empty()).then(|| certificates.into()),
            timeouts: section.timeouts.clone(),
            dialer: Arc::new(Dialer::new(section.timeouts.connect.duration(), addresses, clock.clone())),
        }
    }

    pub(super) fn peer(&self, address: SocketAddr) -> HttpPeer {
        let mut peer = HttpPeer::new(address, self.tls, self.sni.clone());
        peer.group_key = self.group;
        let options = &mut peer.options;
        options.alpn = ALPN::H1;
        options.ca = self.ca.clone();
        options.custom_l4 = Some(Arc::clone(&self.dialer) as _);
        options.connection_timeout = Some(self.timeouts.connect.duration());
        options.total_connection_timeout = Some(self.timeouts.connect.duration());
        // One time-out serves headers and body; the shorter of the two limits is kept by `state::deadlines`.
        options.read_timeout = Some(self.timeouts.idle.duration().max(self.timeouts.attempt.duration()));
        options.write_timeout = Some(self.timeouts.idle.duration());
        // Below what servers commonly keep, so that few requests meet a connection that is just closing.
        options.idle_timeout = Some(std::time::Duration::from_secs(30));
        options.http_upstream_request_policy = HttpUpstreamRequestPolicy::deny_upgrades();
        peer
    }
}

/// Pingora shares connections between peers that differ only in their CA or
/// time-outs; this keeps each backend's to itself.
fn group(name: &str, section: &section::Upstream, endpoint: &Endpoint) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    endpoint.to_string().hash(&mut hasher);
    section.tls.ca_certificates.hash(&mut hasher);
    hasher.finish()
}
