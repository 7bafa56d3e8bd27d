//! TLS in front: which certificate answers, which host may be asked for, what comes without TLS.

use std::path::Path;
use std::time::Duration;

use rcgen::{KeyPair, PKCS_ED25519};
use tokio_rustls::rustls::{ProtocolVersion, SignatureScheme};
use tollgate::clock::{Clock, TestClock};

use crate::support::client::{self, RawClient, Request};
use crate::support::eventually::{eventually, eventually_async};
use crate::support::gateway::{TestGateway, assert_refused};
use crate::support::h2_client::H2Client;
use crate::support::process::Process;
use crate::support::tls_caller::TlsCaller;
use crate::support::tls_origin::Authority;

const LISTENERS: &str = "listeners: [{ address: 127.0.0.1:0, tls: true }, { address: 127.0.0.1:0 }]\n";
const ROUTES: &str = "routes: { /top: { pipe: top } }\n";
const HOSTS: &str = r#"hosts:
  a.example.com: { tls: { cert: a.pem, key: a.key }, redirect_http: true, hsts: 180d }
  "*.example.com": { tls: { cert: star.pem, key: star.key } }
  b.example.com: {}
  shop.test: { tls: [{ cert: shop.pem, key: shop.key }, { cert: other.pem, key: other.key }] }
"#;

/// An authority, and what it signed.
struct Signed {
    authority: Authority,
    folder: tempfile::TempDir,
    a: Vec<u8>,
    star: Vec<u8>,
    shop: Vec<u8>,
    other: Vec<u8>,
}

impl Signed {
    fn new() -> Self {
        let (authority, folder) = (Authority::new(), tempfile::tempdir().expect("a folder"));
        let pair = |stem: &str, name: &str| authority.write_pair(folder.path(), stem, &[name]);
        let (a, star, shop) = (pair("a", "a.example.com"), pair("star", "*.example.com"), pair("shop", "shop.test"));
        let key = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
        let other = authority.write_pair_with(folder.path(), "other", &["shop.test"], key);
        Signed { authority, folder, a, star, shop, other }
    }

    fn caller(&self) -> TlsCaller {
        TlsCaller::trusting(self.authority.der())
    }

    fn gateway(self, sections: &str) -> (TestGateway, TlsCaller, Authority) {
        self.gateway_on(sections, Clock::system())
    }

    fn gateway_on(self, sections: &str, clock: Clock) -> (TestGateway, TlsCaller, Authority) {
        let caller = self.caller();
        let gw = TestGateway::from_folder(self.folder, sections, clock);
        (gw, caller, self.authority)
    }
}

fn sections() -> String {
    format!("{LISTENERS}{ROUTES}{HOSTS}")
}

#[tokio::test]
async fn the_name_decides_which_certificate_answers() {
    let signed = Signed::new();
    let (a, star, shop) = (signed.a.clone(), signed.star.clone(), signed.shop.clone());
    let (gw, caller, _) = signed.gateway(&sections());
    for (name, expected) in [
        ("a.example.com", &a),
        ("A.Example.COM", &a),
        ("c.example.com", &star),
        // It says nothing itself.
        ("b.example.com", &star),
        ("shop.test", &shop),
    ] {
        let peer = caller.open(gw.addr(), Some(name)).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(peer.chain, std::slice::from_ref(expected), "{name}");
    }
}

#[tokio::test]
async fn a_name_that_is_not_served_is_refused_in_the_handshake() {
    let (gw, caller, _) = Signed::new().gateway(&sections());
    for name in [Some("evil.test"), Some("x.y.example.com"), Some("example.com"), None] {
        let error = caller.open(gw.addr(), name).await.unwrap_err();
        assert!(error.contains("AccessDenied"), "{name:?}: {error}");
    }
    gw.assert_alive().await;
}

#[tokio::test]
async fn tls_default_answers_who_names_nobody_known() {
    let signed = Signed::new();
    let default = signed.authority.write_pair(signed.folder.path(), "default", &["evil.test", "127.0.0.1"]);
    let sections = format!("{}tls: {{ default: {{ cert: default.pem, key: default.key }} }}\n", sections());
    let (gw, caller, _) = signed.gateway(&sections);
    for name in [Some("evil.test"), None] {
        let peer = caller.open(gw.addr(), name).await.unwrap_or_else(|error| panic!("{name:?}: {error}"));
        assert_eq!(peer.chain, std::slice::from_ref(&default), "{name:?}");
    }
    // Who named no host may ask for any; who named one that is not served, for none.
    let nameless = caller.tunnel(gw.addr(), None).await;
    assert_eq!(Request::get("/top").host("b.example.com").send(nameless).await.status, 200);
    let evil = caller.tunnel(gw.addr(), Some("evil.test")).await;
    assert_refused(&Request::get("/top").host("evil.test").send(evil).await, 404, "route_not_found");
    assert_refused(&Request::get("/top").host("b.example.com").send(evil).await, 421, "misdirected");
}

#[tokio::test]
async fn a_caller_gets_the_certificate_whose_signature_it_can_verify() {
    let signed = Signed::new();
    let (shop, other) = (signed.shop.clone(), signed.other.clone());
    let (gw, caller, _) = signed.gateway(&sections());
    for (scheme, expected) in [(SignatureScheme::ECDSA_NISTP256_SHA256, shop), (SignatureScheme::ED25519, other)] {
        let peer = caller.clone().verifying(scheme).open(gw.addr(), Some("shop.test")).await.unwrap();
        assert_eq!(peer.chain, [expected], "{scheme:?}");
    }
}

#[tokio::test]
async fn versions_and_protocols_are_agreed_on() {
    let (gw, caller, _) = Signed::new().gateway(&sections());
    let both = caller.clone().offering(&["h2", "http/1.1"]);
    let (new, old) = (both.clone(), both.old());
    let (peer, none) = (caller.clone(), caller.offering(&[]));
    for (caller, version, alpn) in [
        (new, ProtocolVersion::TLSv1_3, Some("h2")),
        (old, ProtocolVersion::TLSv1_2, Some("h2")),
        (peer, ProtocolVersion::TLSv1_3, Some("http/1.1")),
        (none, ProtocolVersion::TLSv1_3, None),
    ] {
        let peer = caller.open(gw.addr(), Some("shop.test")).await.unwrap();
        assert_eq!((peer.version, peer.alpn.as_deref()), (Some(version), alpn.map(str::as_bytes)));
    }
}

#[tokio::test]
async fn t1_a_request_for_another_host_than_the_connection_was_opened_for_is_misdirected() {
    let (gw, caller, _) = Signed::new().gateway(&sections());
    let http1 = caller.tunnel(gw.addr(), Some("a.example.com")).await;
    for (host, status) in [
        ("a.example.com", 200),
        ("A.example.com.", 200),
        ("a.example.com:443", 200),
        // Of the same owner as far as certificates tell, of another tenant as far as hosts do.
        ("b.example.com", 421),
        ("shop.test", 421),
        ("evil.test", 421),
    ] {
        let response = Request::get("/top").host(host).send(http1).await;
        assert_eq!(response.status, status, "{host}: {}", response.body_text());
    }
    assert_refused(&Request::get("/top").host("b.example.com").send(http1).await, 421, "misdirected");
    assert_refused(&Request::get("/nowhere").host("shop.test").send(http1).await, 421, "misdirected");
    // The connection is still good for its own host.
    let mut kept = RawClient::connect(http1).await;
    kept.send(Request::get("/top").host("shop.test").bytes()).await;
    assert_eq!(kept.read_response().await.status, 421);
    kept.send(Request::get("/top").host("a.example.com").bytes()).await;
    assert_eq!(kept.read_response().await.status, 200);

    let http2 = caller.offering(&["h2"]).tunnel(gw.addr(), Some("a.example.com")).await;
    let h2 = H2Client::connect(http2).await;
    for (host, status) in [("a.example.com", 200), ("b.example.com", 421), ("shop.test", 421)] {
        let request = http::Request::get(format!("https://{host}/top")).body(()).unwrap();
        assert_eq!(h2.request(request, None).await.status, status, "{host}");
    }
    // Without TLS nobody has seen a certificate.
    let plain = gw.app().addresses()[1];
    assert_eq!(Request::get("/top").host("b.example.com").send(plain).await.status, 200);
}

#[tokio::test]
async fn who_comes_without_tls_is_sent_to_it() {
    let sections = format!("{}tls: {{ port: 8443 }}\n", sections());
    let (gw, caller, _) = Signed::new().gateway(&sections);
    let plain = gw.app().addresses()[1];
    for (method, target) in [("GET", "/top?from=a%20b&x=1"), ("POST", "/top"), ("GET", "/nowhere"), ("OPTIONS", "/top")]
    {
        let response = Request::new(method, target).host("a.example.com").send(plain).await;
        let location = format!("https://a.example.com:8443{target}");
        assert_eq!((response.status, response.header("location")), (308, Some(location)), "{method}");
        assert!(response.header("strict-transport-security").is_none(), "browsers must not believe it there");
    }
    assert_eq!(gw.origin.received_count(), 0);
    let log = gw.log(4).await;
    assert!(log.iter().all(|line| line["host"] == "a.example.com" && line["client"] == "127.0.0.1"), "{log:?}");
    let over_tls = caller.tunnel(gw.addr(), Some("a.example.com")).await;
    let response = Request::get("/top").host("a.example.com").send(over_tls).await;
    assert_eq!(response.status, 200);
    assert_eq!(response.header("strict-transport-security").as_deref(), Some("max-age=15552000"));
    assert!(gw.origin.received()[0].header("x-forwarded-proto").is_some_and(|scheme| scheme == "https"));
    let refused = Request::get("/nowhere").host("a.example.com").send(over_tls).await;
    assert_eq!(refused.header("strict-transport-security").as_deref(), Some("max-age=15552000"), "also there");
    // What others said has no say here.
    assert_eq!(Request::get("/top").host("b.example.com").send(plain).await.status, 200);
}

#[tokio::test]
async fn a_proxy_that_is_trusted_says_whether_there_was_tls() {
    let sections = format!(
        "{ROUTES}hosts: {{ a.example.com: {{ redirect_http: true, hsts: 1h }} }}\nserver: {{ trusted_proxies: [127.0.0.0/8] }}\n"
    );
    let gw = TestGateway::with(&sections);
    let call = async |scheme: &'static str| {
        Request::get("/top").host("a.example.com").header("X-Forwarded-Proto", scheme).send(gw.addr()).await
    };
    let (plain, over_tls) = (call("http").await, call("https").await);
    assert_eq!(plain.header("location").as_deref(), Some("https://a.example.com/top"));
    assert_eq!((over_tls.status, over_tls.header("strict-transport-security").as_deref()), (200, Some("max-age=3600")));
}

/// How often a certificate's file is looked at is the reload's own affair: here it is told to look.
async fn reloaded(gw: &TestGateway) -> client::Response {
    gw.reload().await
}

#[tokio::test]
async fn another_certificate_takes_over_and_open_connections_stay() {
    let signed = Signed::new();
    let before = signed.a.clone();
    let (gw, caller, authority) = signed.gateway(&sections());
    let through = caller.tunnel(gw.addr(), Some("a.example.com")).await;
    let mut open = RawClient::connect(through).await;
    let mut ask = async || {
        open.send(Request::get("/top").host("a.example.com").bytes()).await;
        open.read_response().await.status
    };
    assert_eq!(ask().await, 200);
    let after = authority.write_pair(&gw.folder(), "a", &["a.example.com"]);
    assert_eq!(reloaded(&gw).await.status, 200);
    assert_eq!(caller.open(gw.addr(), Some("a.example.com")).await.unwrap().chain, [after]);
    assert_ne!(caller.open(gw.addr(), Some("a.example.com")).await.unwrap().chain, [before]);
    assert_eq!(ask().await, 200, "what is open stays");
}

#[tokio::test]
async fn a_changed_certificate_is_served_within_two_seconds() {
    let time = TestClock::new();
    let (signed, step) = (Signed::new(), Duration::from_millis(250));
    let (gw, caller, authority) = signed.gateway_on(&sections(), time.clock());
    let written = time.clock().now();
    let after = authority.write_pair(&gw.folder(), "a", &["a.example.com"]);
    let is_served =
        async || caller.open(gw.addr(), Some("a.example.com")).await.unwrap().chain == std::slice::from_ref(&after);
    assert!(!is_served().await, "nobody has looked yet");
    // Each step of the clock gives the gateway some time of the world in which to do what is due.
    while !is_served().await && time.clock().now() - written < Duration::from_secs(2) {
        time.advance(step);
        for _ in 0..20 {
            if is_served().await {
                break;
            }
        }
    }
    assert!(is_served().await, "two seconds are over");
}

#[tokio::test]
async fn a_changed_certificate_is_noticed_by_itself() {
    let signed = Signed::new();
    let (gw, caller, authority) = signed.gateway(&sections());
    let after = authority.write_pair(&gw.folder(), "a", &["a.example.com"]);
    eventually_async("the new certificate", || async {
        caller.open(gw.addr(), Some("a.example.com")).await.unwrap().chain == [after.clone()]
    })
    .await;
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_changes_nothing() {
    let signed = Signed::new();
    let before = signed.a.clone();
    let (gw, caller, authority) = signed.gateway(&sections());
    let folder = gw.folder();
    let write = |name: &str, text: &[u8]| std::fs::write(folder.join(name), text).unwrap();
    let (pem, key) = (std::fs::read(folder.join("a.pem")).unwrap(), std::fs::read(folder.join("a.key")).unwrap());
    let star_key = std::fs::read(folder.join("star.key")).unwrap();
    for (what, change, expected) in [
        ("no certificate", Box::new(|| write("a.pem", b"")) as Box<dyn Fn()>, "no certificate"),
        ("half of one", Box::new(|| write("a.pem", &pem[..pem.len() / 2])), "a.pem"),
        (
            "another's key",
            Box::new(|| write("a.key", &star_key)),
            "does not belong to the certificate of a.example.com",
        ),
        ("no key", Box::new(|| write("a.key", &pem)), "swapped"),
        (
            "another's name",
            Box::new(|| drop(authority.write_pair(&folder, "a", &["z.example.com"]))),
            "not for `a.example.com`",
        ),
        ("gone", Box::new(|| std::fs::remove_file(folder.join("a.pem")).unwrap()), "cannot be read"),
    ] {
        change();
        let reply = reloaded(&gw).await;
        let text = reply.json()["text"].as_str().unwrap_or_default().to_owned();
        assert_eq!(reply.status, 400, "{what}: {text}");
        assert!(text.contains(expected), "{what}: {text}");
        assert!(!text.contains("PRIVATE KEY-----"), "{text}");
        let peer = caller.open(gw.addr(), Some("a.example.com")).await.unwrap();
        assert_eq!(peer.chain, std::slice::from_ref(&before), "{what}");
        write("a.pem", &pem);
        write("a.key", &key);
    }
    assert_eq!(reloaded(&gw).await.status, 200);
}

#[tokio::test]
async fn the_internal_authority_signs_and_is_the_same_after_a_restart() {
    let text = format!(
        "{LISTENERS}{ROUTES}hosts: {{ dev.test: {{ tls: internal }}, \"*.dev.test\": {{ tls: internal }} }}\ntls: {{ default: internal }}\n"
    );
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("kept");
    let text = format!("{text}state: {{ dir: '{}' }}\n", state.display());
    let root = |path: &Path| {
        let pem = std::fs::read(path.join("tls/internal/authority.pem")).unwrap();
        x509_parser::pem::parse_x509_pem(&pem).unwrap().1.contents
    };
    let mut roots = Vec::new();
    for _ in 0..2 {
        let gw = TestGateway::with(&text);
        let caller = TlsCaller::trusting(root(&state));
        for name in [Some("dev.test"), Some("x.dev.test"), Some("localhost"), None] {
            let open = caller.open(gw.addr(), name).await;
            assert!(open.is_ok(), "{name:?}: {open:?}");
        }
        let through = caller.tunnel(gw.addr(), Some("dev.test")).await;
        assert_eq!(Request::get("/top").host("dev.test").send(through).await.status, 200);
        roots.push(root(&state));
    }
    assert_eq!(roots[0], roots[1]);
    let mode = |name: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::metadata(state.join(name)).unwrap().permissions().mode() & 0o777
    };
    assert_eq!((mode("tls/internal/authority.key"), mode("tls/internal")), (0o600, 0o700));
}

#[tokio::test]
async fn what_is_no_handshake_hurts_nobody() {
    let (gw, caller, _) = Signed::new().gateway(&sections());
    for bytes in [&b"GET / HTTP/1.1\r\nHost: a.example.com\r\n\r\n"[..], b"", b"\x16\x03\x01\xff\xff", &[0; 3000]] {
        let mut raw = RawClient::connect(gw.addr()).await;
        raw.send(bytes).await;
        drop(raw);
    }
    assert!(caller.open(gw.addr(), Some("a.example.com")).await.is_ok());
    gw.assert_alive().await;
}

/// A pair for `a.example.com` that is valid until midnight of a day.
fn write_until(authority: &Authority, folder: &Path, day: (i32, u8, u8)) {
    authority.write_pair_until(folder, "a", "a.example.com", day);
}

#[tokio::test]
async fn a_certificate_that_is_over_does_not_take_the_place_of_another() {
    let signed = Signed::new();
    let before = signed.a.clone();
    let (gw, caller, authority) = signed.gateway(&sections());
    write_until(&authority, &gw.folder(), (2020, 2, 3));
    let reply = reloaded(&gw).await;
    let told = reply.json();
    assert_eq!(told["result"], "blocked", "{told}");
    let text = told["text"].as_str().unwrap();
    assert!(
        text.contains("a.pem` is over: it is of a.example.com") && text.contains("to 2020-02-03 00:00 UTC"),
        "{text}"
    );
    assert_eq!(caller.open(gw.addr(), Some("a.example.com")).await.unwrap().chain, [before]);
    // What else is wrong with the file has to wait; what is right again is taken.
    let after = authority.write_pair(&gw.folder(), "a", &["a.example.com"]);
    assert_eq!(reloaded(&gw).await.status, 200);
    assert_eq!(caller.open(gw.addr(), Some("a.example.com")).await.unwrap().chain, [after]);
}

#[tokio::test]
async fn a_gateway_that_starts_with_a_certificate_that_is_over_serves_all_hosts() {
    let signed = Signed::new();
    write_until(&signed.authority, signed.folder.path(), (2020, 2, 3));
    let star = signed.star.clone();
    let (gw, caller, _) = signed.gateway(&sections());
    let error = caller.open(gw.addr(), Some("a.example.com")).await.unwrap_err();
    assert!(error.contains("expired"), "{error}");
    assert_eq!(caller.open(gw.addr(), Some("c.example.com")).await.unwrap().chain, [star]);
    // It does not keep other changes from being taken over.
    gw.rewrite(&sections().replace("/top", "/other"));
    assert_eq!(reloaded(&gw).await.status, 200);
}

#[tokio::test]
async fn metrics_tell_when_certificates_from_files_end() {
    let signed = Signed::new();
    write_until(&signed.authority, signed.folder.path(), (2090, 2, 3));
    let (gw, _, _) = signed.gateway(&sections());
    let family = "tollgate_certificate_not_after_seconds";
    let series = format!(r#"{family}{{host="a.example.com",source="file"}} 3789763200"#);
    eventually_async("the end of a certificate", || async { gw.metrics().await.contains(&series) }).await;
    gw.rewrite(&sections().replace(
        "a.example.com: { tls: { cert: a.pem, key: a.key }, redirect_http: true",
        "a.example.com: { redirect_http: true",
    ));
    assert_eq!(reloaded(&gw).await.status, 200);
    let gone = format!(r#"{family}{{host="a.example.com""#);
    eventually_async("its host's end", || async { !gw.metrics().await.contains(&gone) }).await;
    assert!(gw.metrics().await.contains(&format!(r#"{family}{{host="shop.test",source="file"}}"#)));
    assert!(gw.metrics().await.contains("tollgate_acme_failures_total 0"));
}

#[tokio::test]
async fn the_operator_is_told_where_the_own_authority_lies_and_why_handshakes_are_refused() {
    let process = Process::start(
        "listeners: [{ address: 127.0.0.1:0 }, { address: 127.0.0.1:0, tls: true }]
admin: { address: 127.0.0.1:0 }
log: { level: debug }
upstreams: { t: { url: 'http://127.0.0.1:9' } }
routes: { /top: { pipe: top } }
hosts: { localhost: { tls: internal } }
",
    )
    .await;
    let file = process.folder().join("data/tls/internal/authority.pem");
    let pem = std::fs::read_to_string(&file).expect("it is made at the start");
    let signed = format!("certificates for development are signed by {}", file.display());
    let said = process.stderr().replace("/./", "/");
    assert!(said.contains(&signed), "{said}");
    let at = said.split("https://").nth(1).and_then(|rest| rest.split_whitespace().next()).expect("an address");
    let at = at.parse().expect("an address");
    let (_, der) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).expect("a certificate");
    let caller = TlsCaller::trusting(der.contents);
    assert!(caller.open(at, Some("localhost")).await.is_ok());
    assert!(caller.open(at, Some("nobody.test")).await.is_err());
    let told = "a handshake is refused: `nobody.test` is no host of the file, or one without `tls`";
    eventually("the reason", || process.stderr().contains(told)).await;
}
