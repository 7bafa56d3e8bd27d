//! One caller's addresses.
//!
//! In: an address. Out: what is counted as one. Not here: whose word about an
//! address counts (`pipeline::client`).

use std::net::{IpAddr, Ipv6Addr};

/// Who has one address of IPv6 has its whole /64; an IPv4 address is itself, in either spelling.
pub(in crate::state) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address @ IpAddr::V4(_) => address,
    }
}
