//! The head of a request, normalised once.
//!
//! In: method, target, authority and client address as they came. Out: a
//! [`RequestHead`] that routing and steps can trust, or a 400 [`Refusal`].
//! Not here: parameters (`pipeline::params`), header hygiene (`pipeline::guard`).

use std::net::{IpAddr, Ipv6Addr};

use http::Method;
use percent_encoding::percent_decode_str;

use super::refusal::Refusal;

/// Bytes of a host name (RFC 1035 section 2.3.4); log lines that wait hold it.
const MAX_HOST: usize = 253;

/// Who asks for what, in one spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// The method.
    pub method: Method,
    /// Host name in lower case, without port and trailing dot.
    pub host: String,
    /// The path, percent-decoded once, without dot segments or doubled slashes.
    pub path: String,
    /// The query as it came, without `?`.
    pub query: String,
    /// Where the caller connects from.
    pub client: IpAddr,
    /// Whether the caller came over TLS, as far as the gateway knows.
    pub scheme: CallerScheme,
}

/// How the caller reached the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallerScheme {
    /// Without TLS.
    Http,
    /// Over TLS, here or at a trusted proxy.
    Https,
}

impl CallerScheme {
    /// The scheme as URLs write it.
    pub fn as_str(self) -> &'static str {
        match self {
            CallerScheme::Http => "http",
            CallerScheme::Https => "https",
        }
    }
}

/// Splits a request target into decoded path and raw query.
///
/// # Errors
/// 400 for anything that two programs could read differently: see
/// [`normalise_path`].
pub fn split_target(target: &str) -> Result<(String, &str), Refusal> {
    if target.contains('#') {
        return Err(Refusal::BadRequest("The request target has a fragment."));
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Ok((normalise_path(path)?, query))
}

/// Decodes a path once.
///
/// # Errors
/// 400 for `.` and `..` segments, `//`, an encoded `/`, `\`, NUL, control
/// characters, bad percent-encoding and bad UTF-8: a gateway and an upstream
/// that read such a path differently disagree about who may see what.
pub fn normalise_path(path: &str) -> Result<String, Refusal> {
    if !path.starts_with('/') {
        return Err(Refusal::BadRequest("The request target must be a path that begins with a slash."));
    }
    let decoded = if path.contains('%') { decode(path)? } else { path.to_owned() };
    if decoded.bytes().any(|byte| byte.is_ascii_control() || byte == b'\\') {
        return Err(Refusal::BadRequest("The path has a character that is not allowed there."));
    }
    if has_pair(&decoded, (b'/', b'/')) {
        return Err(Refusal::BadRequest("The path has an empty segment."));
    }
    if has_pair(&decoded, (b'/', b'.')) && decoded.split('/').any(|segment| segment == "." || segment == "..") {
        return Err(Refusal::BadRequest("The path has a dot segment."));
    }
    Ok(decoded)
}

/// Lower-cases a host and drops its port and trailing dot.
///
/// # Errors
/// 400 where there is no host, or what there is cannot be one.
pub fn normalise_host(authority: &str) -> Result<String, Refusal> {
    let wrong = || Refusal::BadRequest("The Host header is missing or malformed.");
    let host = match authority.strip_prefix('[') {
        // An IPv6 literal keeps its brackets, so that its colons stay apart from a port's.
        Some(rest) => {
            let (inside, port) = rest.split_once(']').ok_or_else(wrong)?;
            match port.strip_prefix(':') {
                Some(port) => check_port(port)?,
                None if port.is_empty() => (),
                None => return Err(wrong()),
            }
            let address: Ipv6Addr = inside.parse().map_err(|_| wrong())?;
            return Ok(format!("[{address}]"));
        }
        None => match authority.split_once(':') {
            Some((host, port)) => {
                check_port(port)?;
                host
            }
            None => authority,
        },
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    // Two names for one host if the upstream, or whoever is asked for the name's address, leaves the empty label out.
    let has_empty_label = host.starts_with('.') || host.ends_with('.') || has_pair(host, (b'.', b'.'));
    if host.is_empty() || host.len() > MAX_HOST || has_empty_label || !host.bytes().all(allowed) {
        return Err(wrong());
    }
    Ok(host.to_ascii_lowercase())
}

/// Byte by byte: setting up a search for so short a text costs more than the search.
fn has_pair(text: &str, pair: (u8, u8)) -> bool {
    text.bytes().zip(text.bytes().skip(1)).any(|here| here == pair)
}

fn check_port(port: &str) -> Result<(), Refusal> {
    match port.bytes().all(|byte| byte.is_ascii_digit()) && port.len() <= 5 {
        true => Ok(()),
        false => Err(Refusal::BadRequest("The Host header is missing or malformed.")),
    }
}

fn decode(path: &str) -> Result<String, Refusal> {
    let bytes = path.as_bytes();
    for (index, byte) in bytes.iter().enumerate() {
        if *byte != b'%' {
            continue;
        }
        let code = match (bytes.get(index + 1).and_then(hex), bytes.get(index + 2).and_then(hex)) {
            (Some(high), Some(low)) => high * 16 + low,
            _ => return Err(Refusal::BadRequest("The path is not properly percent-encoded.")),
        };
        if code == b'/' {
            return Err(Refusal::BadRequest("The path has an encoded slash."));
        }
    }
    percent_decode_str(path)
        .decode_utf8()
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| Refusal::BadRequest("The path is not UTF-8."))
}

fn hex(byte: &u8) -> Option<u8> {
    char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;
