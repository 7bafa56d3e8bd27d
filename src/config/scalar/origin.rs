//! Web origins for CORS: `https://app.acme.com`, `https://*.acme.com`, `*`.

use std::fmt;
use std::str::FromStr;

/// Which origins a rule means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OriginPattern {
    /// Every origin.
    Any,
    /// One origin, compared byte for byte in lower case.
    Exact(String),
    /// One scheme, and hosts that end in the suffix: `https://` and `.acme.com`.
    Subdomains {
        /// Scheme with `://`.
        scheme: String,
        /// Suffix with its leading dot, port included.
        suffix: String,
    },
}

impl OriginPattern {
    /// Whether an `Origin` header's value is meant.
    pub fn matches(&self, origin: &str) -> bool {
        match self {
            OriginPattern::Any => true,
            OriginPattern::Exact(exact) => exact.eq_ignore_ascii_case(origin),
            OriginPattern::Subdomains { scheme, suffix } => origin
                .to_ascii_lowercase()
                .strip_prefix(scheme.as_str())
                .and_then(|rest| rest.strip_suffix(suffix.as_str()))
                .is_some_and(|label| !label.is_empty() && label.chars().all(is_host_character)),
        }
    }
}

impl FromStr for OriginPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not an origin: write it like https://app.example.com, without a path");
        if text == "*" {
            return Ok(OriginPattern::Any);
        }
        let lower = text.to_ascii_lowercase();
        let (scheme, rest) = lower.split_once("://").ok_or_else(|| match is_host(&lower) {
            true => format!("`{text}` is not an origin, it lacks its scheme: write https://{lower}"),
            false => wrong(),
        })?;
        let scheme_is_name =
            !scheme.is_empty() && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
        let host = rest.strip_prefix("*.").unwrap_or(rest);
        if !scheme_is_name || host.is_empty() || !host.chars().all(|c| is_host_character(c) || "[]:".contains(c)) {
            return Err(wrong());
        }
        if rest == host {
            return Ok(OriginPattern::Exact(lower));
        }
        Ok(OriginPattern::Subdomains { scheme: format!("{scheme}://"), suffix: format!(".{host}") })
    }
}

/// `app.example.com` and `*.example.com`: all that is missing is the scheme.
fn is_host(text: &str) -> bool {
    let host = text.strip_prefix("*.").unwrap_or(text);
    host.contains('.') && host.chars().all(|c| is_host_character(c) || c == ':') && !host.starts_with(['.', ':'])
}

fn is_host_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '.' || c == '_'
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OriginPattern::Any => f.write_str("*"),
            OriginPattern::Exact(origin) => f.write_str(origin),
            OriginPattern::Subdomains { scheme, suffix } => write!(f, "{scheme}*{suffix}"),
        }
    }
}

super::from_text!(OriginPattern, "an origin like https://app.example.com");
super::as_text!(OriginPattern);
