//! Any text as a request's target and host: what comes out stays what it is when it is read again.

use std::fmt::Write as _;

use tollgate::exchange::head::{normalise_host, normalise_path, split_target};

/// Tries these bytes.
pub fn holds(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok((path, query)) = split_target(text) {
        assert!(path.starts_with('/') && !path.contains("//"), "{path:?}");
        assert!(!path.contains(|c: char| c.is_ascii_control() || c == '\\'), "{path:?}");
        assert!(path.split('/').all(|segment| segment != "." && segment != ".."), "{path:?}");
        assert!(text.ends_with(query) && !query.contains('#'), "{query:?}");
        // As an upstream gets it: every byte that could mean something is encoded.
        assert_eq!(normalise_path(&encoded(&path)), Ok(path));
    }
    if let Ok(host) = normalise_host(text) {
        assert!(
            !host.is_empty() && !host.contains(|c: char| c.is_ascii_uppercase() || c == '/' || c == '@'),
            "{host:?}"
        );
        assert_eq!(normalise_host(&host), Ok(host));
    }
}

fn encoded(path: &str) -> String {
    let mut out = String::new();
    for byte in path.bytes() {
        match byte {
            b'/' | b'a'..=b'z' => out.push(char::from(byte)),
            _ => _ = write!(out, "%{byte:02X}"),
        }
    }
    out
}
