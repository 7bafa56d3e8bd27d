//! Hosts that callers name: `analytics.acme.com`, `*.customers.example.com`.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Bytes of a host name (RFC 1035 section 2.3.4).
const MAX_HOST: usize = 253;
/// Bytes of one of its labels.
const MAX_LABEL: usize = 63;

/// One host, or every host with one more label in front; in lower case, as requests are compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPattern(String);

impl HostPattern {
    /// The pattern in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands behind `*.`, where it does.
    pub fn suffix(&self) -> Option<&str> {
        self.0.strip_prefix("*.")
    }

    /// Whether a host in lower case is one of those that are meant; a `*` is one label.
    pub fn covers(&self, host: &str) -> bool {
        match self.suffix() {
            None => host == self.0,
            Some(suffix) => host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == suffix),
        }
    }

    /// How many labels a host that matches has; an address has none.
    pub fn labels(&self) -> usize {
        match is_address(&self.0) {
            true => 0,
            false => self.0.split('.').count(),
        }
    }

    /// Whether callers choose the label at this place from the left, of which the first is 1.
    pub fn is_open(&self, label: usize) -> bool {
        label == 1 && self.suffix().is_some()
    }
}

/// Whether a host in its one spelling is an address, which has no labels.
pub(crate) fn is_address(host: &str) -> bool {
    host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok()
}

impl FromStr for HostPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        if lower.starts_with('[') || lower.parse::<Ipv6Addr>().is_ok() {
            return address(&lower);
        }
        if let Some((_, behind)) = lower.split_once("://") {
            let host = behind.split(['/', ':']).next().unwrap_or_default();
            return Err(format!("`{text}` is a URL: write its host alone, like {}", example(host)));
        }
        if !lower.is_ascii() {
            return Err(format!(
                "`{text}` has characters outside ASCII, which no request carries: write the name in its punycode form, \
                 which begins with xn--"
            ));
        }
        if let Some((host, _)) = lower.split_once(':') {
            return Err(format!(
                "`{text}` has a port, and hosts are compared without: leave it out, like {}",
                example(host)
            ));
        }
        if let Some(host) = lower.strip_suffix('.').filter(|host| !host.is_empty()) {
            return Err(format!("`{text}` ends in a dot, and hosts are compared without: write {host}"));
        }
        if lower == "*" {
            return Err("`*` would be every host: leave `hosts` out to serve every host, or write a pattern like \
                 *.example.com"
                .to_owned());
        }
        let name = lower.strip_prefix("*.").unwrap_or(&lower);
        if name.contains('*') {
            return Err(format!("in `{text}` the `*` is not the first label alone: write it like *.example.com"));
        }
        check_name(text, name, &lower)?;
        Ok(HostPattern(lower))
    }
}

fn address(lower: &str) -> Result<HostPattern, String> {
    let inside = lower.strip_prefix('[').unwrap_or(lower);
    let (inside, behind) = inside.split_once(']').unwrap_or((inside, ""));
    let address: Ipv6Addr =
        inside.parse().map_err(|_| format!("`{lower}` is not an address: write it like [2001:db8::1]"))?;
    if !behind.is_empty() {
        return Err(format!("`{lower}` has a port, and hosts are compared without: leave it out, like [{address}]"));
    }
    let spelling = format!("[{address}]");
    match lower == spelling {
        true => Ok(HostPattern(spelling)),
        false => Err(format!("`{lower}` is not the one spelling of this address: write {spelling}")),
    }
}

fn check_name(text: &str, name: &str, lower: &str) -> Result<(), String> {
    let wrong = |why: &str| Err(format!("`{text}` is not a host, {why}: write it like analytics.example.com"));
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if let Some(c) = name.chars().find(|c| !is_allowed(*c) && *c != '.') {
        return wrong(&format!("it has the character {c:?}"));
    }
    if lower.len() > MAX_HOST {
        return wrong(&format!("it is longer than {MAX_HOST} characters"));
    }
    if name.split('.').any(str::is_empty) {
        return wrong("it has an empty label");
    }
    if name.split('.').any(|label| label.len() > MAX_LABEL) {
        return wrong(&format!("it has a label of more than {MAX_LABEL} characters"));
    }
    // No name ends in a number (RFC 1123 section 2.1), so what does is an address.
    let is_number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    let ends_in_number = name.rsplit('.').next().is_some_and(is_number);
    match ends_in_number && (name != lower || name.parse::<Ipv4Addr>().is_err()) {
        true => wrong("no name ends in a number"),
        false => Ok(()),
    }
}

/// A host for advice, if there is one to take.
fn example(host: &str) -> &str {
    if host.is_empty() { "analytics.example.com" } else { host }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

super::from_text!(HostPattern, "a host like analytics.example.com or *.example.com");
super::as_text!(HostPattern);
