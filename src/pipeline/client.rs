//! Who is calling, as far as addresses tell.
//!
//! In: the address a connection comes from, the headers that proxies write, and
//! which proxies are trusted. Out: the caller's address and scheme. Not here:
//! who the caller says to be.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::{HeaderMap, HeaderName};

use crate::config::scalar::AddressRange;
use crate::exchange::head::CallerScheme;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Proxies whose word about the caller counts.
#[derive(Clone, Debug)]
pub struct TrustedProxies(Box<[AddressRange]>);

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// The caller's address.
    pub address: IpAddr,
    /// How the caller reached the gateway, or a trusted proxy in front of it.
    pub scheme: CallerScheme,
}

impl TrustedProxies {
    /// The proxies of these ranges.
    pub fn compile(ranges: &[AddressRange]) -> Self {
        TrustedProxies(ranges.into())
    }

    /// The caller behind a connection from `peer`, if it is known where that comes from, which is with or without TLS.
    pub fn client(&self, peer: Option<IpAddr>, wire: CallerScheme, headers: &HeaderMap) -> Client {
        let peer = peer.map(|peer| peer.to_canonical());
        let address = peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        if !peer.is_some_and(|peer| self.trusts(peer)) {
            return Client { address, scheme: wire };
        }
        Client {
            address: self.forwarded_for(headers, address),
            scheme: match headers.get(FORWARDED_PROTO) {
                Some(value) if value == "https" => CallerScheme::Https,
                Some(_) => CallerScheme::Http,
                None => wire,
            },
        }
    }

    /// The rightmost address that no trusted proxy has: what stands further left, a caller may have written.
    fn forwarded_for(&self, headers: &HeaderMap, peer: IpAddr) -> IpAddr {
        let values: Vec<&str> = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok()).collect();
        let mut client = peer;
        for entry in values.iter().rev().flat_map(|value| value.rsplit(',')) {
            let Some(address) = parse_address(entry.trim()) else { break };
            client = address;
            if !self.trusts(address) {
                break;
            }
        }
        client
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|range| range.contains(address))
    }
}

/// An address as proxies write it: with or without port and brackets.
fn parse_address(text: &str) -> Option<IpAddr> {
    let plain = text.trim_start_matches('[').trim_end_matches(']');
    plain
        .parse()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
        .map(|address: IpAddr| address.to_canonical())
}
