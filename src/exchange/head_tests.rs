use proptest::prelude::*;

use super::*;

#[test]
fn clean_paths_keep_their_text() {
    for path in ["/", "/a", "/a/b.json", "/a/", "/caf%C3%A9", "/a;b=c", "/a%20b"] {
        assert!(normalise_path(path).is_ok(), "{path}");
    }
    assert_eq!(normalise_path("/caf%C3%A9").unwrap(), "/café");
    assert_eq!(normalise_path("/%74op").unwrap(), "/top");
    assert_eq!(normalise_path("/%252e").unwrap(), "/%2e", "decoded once, not twice");
}

#[test]
fn ambiguous_paths_are_refused() {
    for path in [
        "",
        "a",
        "*",
        "/a/../b",
        "/..",
        "/.",
        "/a/%2e%2e/b",
        "/a/%2E./b",
        "//a",
        "/a//b",
        "/a%2fb",
        "/a%2Fb",
        "/a\\b",
        "/a%5cb",
        "/a%00",
        "/a%0d%0ab",
        "/a%7f",
        "/%c0%ae%c0%ae/b",
        "/%ff",
        "/a%2",
        "/a%",
        "/a%zz",
        "http://evil/top",
    ] {
        assert!(normalise_path(path).is_err(), "{path}");
    }
}

#[test]
fn hosts_are_compared_in_one_spelling() {
    for (given, expected) in [
        ("API.example.com", "api.example.com"),
        ("api.example.com:8080", "api.example.com"),
        ("api.example.com.", "api.example.com"),
        ("127.0.0.1:80", "127.0.0.1"),
        ("[::1]:80", "[::1]"),
        ("localhost", "localhost"),
    ] {
        assert_eq!(normalise_host(given).unwrap(), expected);
    }
    for host in ["", ":80", ".", "a b", "a/b", "a@b", "a:b", "[::1", "a:123456", ".example.com", "a\u{e9}"] {
        assert!(normalise_host(host).is_err(), "{host}");
    }
    for host in ["..", "a..", "a..b", "a.example.com..", "a.example.com..:80"] {
        assert!(normalise_host(host).is_err(), "{host} has a label without a letter");
    }
    assert!(normalise_host(&format!("{}:80", "a".repeat(253))).is_ok());
    assert!(normalise_host(&"a".repeat(254)).is_err());
}

proptest! {
    #[test]
    fn no_path_panics_and_what_passes_is_unambiguous(path in "(/|[a-z.%0-9A-F]|\\PC){0,40}") {
        if let Ok(decoded) = normalise_path(&path) {
            prop_assert!(decoded.starts_with('/'));
            prop_assert!(!decoded.contains("//") && !decoded.contains('\\'));
            prop_assert!(decoded.split('/').all(|segment| segment != "." && segment != ".."));
            prop_assert_eq!(decoded.matches('/').count(), path.matches('/').count());
        }
    }

    #[test]
    fn no_host_panics_and_what_passes_stays(host in "(\\PC{0,40}|[a-z.:0-9]{0,10})") {
        if let Ok(host) = normalise_host(&host) {
            prop_assert_eq!(normalise_host(&host), Ok(host));
        }
    }
}
