use proptest::prelude::*;

use super::*;

#[test]
fn units_are_required() {
    assert_eq!("16KiB".parse::<ByteSize>().unwrap().bytes(), 16384);
    assert_eq!("10 MB".parse::<ByteSize>().unwrap().bytes(), 10_000_000);
    assert_eq!("100ms".parse::<Period>().unwrap().duration().as_millis(), 100);
    assert_eq!("10m".parse::<Period>().unwrap().duration().as_secs(), 600);
    for bad in ["", "5", "-5s", "5 parsecs", "1.5s", "99999999999999999999s", "s"] {
        assert!(bad.parse::<Period>().is_err(), "{bad}");
        assert!(bad.parse::<ByteSize>().is_err(), "{bad}");
    }
    assert!("20%".parse::<Percent>().is_ok() && "101%".parse::<Percent>().is_err() && "20".parse::<Percent>().is_err());
}

#[test]
fn endpoints_are_checked() {
    let endpoint: Endpoint = "https://API.Example.com:8443/base/".parse().unwrap();
    assert_eq!((endpoint.host(), endpoint.port(), endpoint.base_path()), ("api.example.com", 8443, "/base"));
    assert_eq!(endpoint.authority(), "api.example.com:8443");
    assert_eq!("http://[::1]:81".parse::<Endpoint>().unwrap().to_string(), "http://[::1]:81");
    for bad in [
        "",
        "api.tinybird.co",
        "ftp://x",
        "https://",
        "https://u:p@x",
        "https://x?a=1",
        "https://x#y",
        "https://10.0.0.1",
        "http://x:0",
        "http://x:99999",
    ] {
        assert!(bad.parse::<Endpoint>().is_err(), "{bad}");
    }
}

#[test]
fn origins_match_as_browsers_write_them() {
    let pattern = |text: &str| text.parse::<OriginPattern>().unwrap();
    assert!(pattern("https://app.acme.com").matches("https://app.acme.com"));
    assert!(!pattern("https://app.acme.com").matches("https://app.acme.com.evil.com"));
    let wild = pattern("https://*.acme.com");
    assert!(wild.matches("https://a.b.acme.com"));
    for bad in [
        "https://acme.com",
        "http://a.acme.com",
        "https://a.acme.com.evil.com",
        "https://evilacme.com",
        "https://a/.acme.com",
        "null",
    ] {
        assert!(!wild.matches(bad), "{bad}");
    }
    for bad in ["app.acme.com", "https://", "https://a/b", "https://*", "https://a.*.com"] {
        assert!(bad.parse::<OriginPattern>().is_err(), "{bad}");
    }
}

#[test]
fn paths_and_templates_are_checked() {
    for good in ["/", "/a", "/a/", "/{x}", "/a-{x}.csv", "/a/*", "/*", "/é"] {
        assert!(good.parse::<PathPattern>().is_ok(), "{good}");
    }
    for bad in [
        "", "a", "//", "/a//b", "/a/../b", "/{x", "/x}", "/{}", "/{x}{y}", "/{x}/{x}", "/a*", "/*/a", "/a%20", "/a?b",
        "/a b",
    ] {
        assert!(bad.parse::<PathPattern>().is_err(), "{bad}");
    }
    for bad in [
        "{",
        "}",
        "{x}",
        "{path.}",
        "{path.a b}",
        "a}b{path.x}",
        "{tenant.}",
        "{claims.}",
        "{host.0}",
        "{key.x}",
        "{key.meta.}",
    ] {
        assert!(bad.parse::<Template>().is_err(), "{bad}");
    }
    for good in
        ["a{path.x}b", "{tenant}", "{claims.https://acme.com/org}", "{fixed_params.x}", "{key.tenant}", "{host.12}"]
    {
        assert_eq!(good.parse::<Template>().unwrap().to_string(), good);
    }
}

#[test]
fn hosts_are_read_in_one_spelling() {
    for (given, expected, labels) in [
        ("Analytics.ACME.com", "analytics.acme.com", 3),
        ("*.Customers.example.com", "*.customers.example.com", 4),
        ("localhost", "localhost", 1),
        ("xn--bcher-kva.example", "xn--bcher-kva.example", 2),
        ("_a.b-c", "_a.b-c", 2),
        ("127.0.0.1", "127.0.0.1", 0),
        ("[::1]", "[::1]", 0),
    ] {
        let pattern: HostPattern = given.parse().unwrap();
        assert_eq!((pattern.as_str(), pattern.labels()), (expected, labels));
    }
    for (bad, advice) in [
        ("", "write it like"),
        ("*", "leave `hosts` out"),
        ("*.", "leave"),
        ("a.*.example.com", "write it like *.example.com"),
        ("*a.example.com", "write it like *.example.com"),
        ("*.*.example.com", "write it like *.example.com"),
        ("bücher.example", "xn--"),
        ("a.example.com:8080", "leave it out, like a.example.com"),
        ("https://a.example.com/x", "like a.example.com"),
        ("a.example.com.", "write a.example.com"),
        ("a..example.com", "empty label"),
        (".example.com", "empty label"),
        ("a b", "' '"),
        ("a/b", "'/'"),
        ("::1", "write [::1]"),
        ("[::0001]", "write [::1]"),
        ("[::1]:80", "like [::1]"),
        ("[::1", "write [::1]"),
        ("[x]", "write it like [2001:db8::1]"),
        ("10.0.0.256", "ends in a number"),
        ("*.0.0.1", "ends in a number"),
        ("*.127.0.0.1", "ends in a number"),
    ] {
        let message = bad.parse::<HostPattern>().unwrap_err();
        assert!(message.contains(advice) || bad == "*.", "{bad}: {message}");
    }
    assert!(format!("{}.example", "a".repeat(64)).parse::<HostPattern>().is_err());
    assert!("a.".repeat(130).trim_end_matches('.').parse::<HostPattern>().is_err());
}

proptest! {
    #[test]
    fn nothing_panics(text in "\\PC{0,30}|[0-9a-zA-Z{}/.*%:?]{0,20}") {
        let _ = text.parse::<ByteSize>();
        let _ = text.parse::<Period>();
        let _ = text.parse::<Percent>();
        let _ = text.parse::<Endpoint>();
        let _ = text.parse::<OriginPattern>();
        let _ = text.parse::<PathPattern>();
        let _ = text.parse::<Template>();
        let _ = text.parse::<Secret>();
        let _ = text.parse::<AddressRange>();
        let _ = text.parse::<FieldName>();
        let _ = text.parse::<HostPattern>();
    }

    #[test]
    fn what_is_shown_reads_back(millis in 0_u64..100_000_000, bytes in 0_u64..1_000_000_000) {
        let period = Period::of_millis(millis);
        prop_assert_eq!(period.to_string().parse::<Period>().unwrap(), period);
        let size = ByteSize::of(bytes);
        prop_assert_eq!(size.to_string().parse::<ByteSize>().unwrap(), size);
    }
}
