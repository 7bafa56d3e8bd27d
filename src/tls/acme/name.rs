//! Names that certificates are for: `a.example.com`, `*.example.com`.
//!
//! In: text from a file or from a handshake. Out: the same in lower case, once it
//! is a name that a certificate could have; so it is safe as part of a path,
//! too. Not here: whether somebody may have one.

use std::fmt;
use std::sync::Arc;

/// The longest name that DNS can carry.
const LONGEST: usize = 253;
const LONGEST_LABEL: usize = 63;

/// A name that a certificate can be issued for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Name(Arc<str>);

impl Name {
    /// The name, if it is one.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let base = text.strip_prefix("*.").unwrap_or(&text);
        let is_long = text.len() > LONGEST;
        // An address ends with a number; no certificate of these authorities is for one.
        let is_number = base.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
        (!is_long && !is_number && base.split('.').all(is_label)).then(|| Name(text.into()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    pub(super) fn is_wildcard(&self) -> bool {
        self.0.starts_with("*.")
    }

    /// The name without its wildcard: what DNS is asked about.
    pub(super) fn base(&self) -> &str {
        self.0.strip_prefix("*.").unwrap_or(&self.0)
    }

    /// The name as that of a file, without its ending.
    pub(super) fn file_stem(&self) -> String {
        if self.is_wildcard() { format!("_.{}", self.base()) } else { self.as_str().to_owned() }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_label(label: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=LONGEST_LABEL).contains(&label.len())
        && label.bytes().all(is_inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_names_and_nothing_that_leads_elsewhere() {
        for (text, name, file) in [
            ("a.example.com", "a.example.com", "a.example.com"),
            ("A.Example.COM.", "a.example.com", "a.example.com"),
            ("*.example.com", "*.example.com", "_.example.com"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example", "xn--bcher-kva.example"),
        ] {
            let parsed = Name::parse(text).unwrap();
            assert_eq!((parsed.as_str(), parsed.file_stem().as_str()), (name, file));
        }
        let long = format!("{}.example.com", "a".repeat(64));
        let longer = format!("{}com", "abcdefg.".repeat(32));
        for text in [
            "",
            ".",
            "..",
            "a..b",
            "../etc",
            "a/b",
            "*",
            "*.",
            "*.*.a",
            "a.*.b",
            "-a.b",
            "a-.b",
            "a b",
            "_x.a",
            "é.example",
            "127.0.0.1",
            "*.0.0.1",
            "[::1]",
            "::1",
            "a\0b",
            &long,
            &longer,
        ] {
            assert_eq!(Name::parse(text), None, "{text}");
        }
    }
}
