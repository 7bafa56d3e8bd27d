//! Ranges of client addresses: `10.0.0.0/8`, `::1`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

/// A CIDR block, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange(IpNet);

impl AddressRange {
    /// Whether `address` lies in the range; IPv4 mapped into IPv6 counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl FromStr for AddressRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(network) = text.parse::<IpNet>() {
            return Ok(AddressRange(network.trunc()));
        }
        text.parse::<IpAddr>()
            .map(|address| AddressRange(IpNet::from(address)))
            .map_err(|_| format!("`{text}` is not an address range: write it like 10.0.0.0/8 or 2001:db8::/32"))
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One address is written as one address.
        match self.0.prefix_len() == self.0.max_prefix_len() {
            true => write!(f, "{}", self.0.addr()),
            false => write!(f, "{}", self.0),
        }
    }
}

super::from_text!(AddressRange, "an address range like 10.0.0.0/8");
super::as_text!(AddressRange);
