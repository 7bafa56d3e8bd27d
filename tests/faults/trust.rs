//! Upstreams that cannot be trusted or found: certificates that are over, of another name, of nobody; what is no TLS; names
//! without an address.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::mounts;
use crate::stand::{Stand, TOKEN, assert_none_wrong, refusal};
use crate::support::client;
use crate::support::tls_origin::{Authority, TlsOrigin};

/// Answers whatever comes with these bytes, and nothing with none; it lives on the test's runtime.
async fn speaker(bytes: &'static [u8]) -> SocketAddr {
    speaker_at("127.0.0.1:0".parse().expect("an address"), bytes).await
}

async fn speaker_at(addr: SocketAddr, bytes: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind(addr).await.expect("a port");
    let addr = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut heard = [0; 1024];
                while stream.read(&mut heard).await.unwrap_or(0) > 0 {
                    // The peer may be gone.
                    drop(stream.write_all(bytes).await);
                }
            });
        }
    });
    addr
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t3_an_upstream_that_cannot_be_trusted_or_found_gets_no_request() {
    let folder = tempfile::tempdir().expect("a folder");
    let ca = folder.path().join("ca.pem");
    let authority = Authority::new();
    authority.write(&ca);
    let right = authority.origin("localhost").await;
    let over = authority.origin_until("localhost", (2020, 1, 1)).await;
    let other = authority.origin("other.example.com").await;
    let own = TlsOrigin::self_signed("localhost").await;
    let stranger = Authority::new().origin("localhost").await;
    let at = |addr: SocketAddr| format!("https://localhost:{}", addr.port());
    let (plain, mute) = (speaker(b"HTTP/1.1 400 Bad Request\r\n\r\n").await, speaker(b"").await);
    let rows = [
        ("over", over.url("localhost"), 502, "upstream_failed"),
        ("of another name", other.url("localhost"), 502, "upstream_failed"),
        ("signed by itself", own.url("localhost"), 502, "upstream_failed"),
        ("signed by a stranger", stranger.url("localhost"), 502, "upstream_failed"),
        ("no TLS", at(plain), 502, "upstream_failed"),
        ("a handshake that never ends", at(mute), 504, "upstream_timeout"),
        ("no address", "https://nowhere.invalid".to_owned(), 503, "upstream_unavailable"),
    ];
    let upstream = |name: &str, url: &str| {
        let retry = "retry: { attempts: 2, base: 1ms, max: 1ms }, timeouts: { connect: 1s }";
        format!("  {name}: {{ url: '{url}', token: '{TOKEN}', tls: {{ ca: '{}' }}, {retry} }}\n", ca.display())
    };
    let mut upstreams = upstream("right", &right.url("localhost"));
    let mut routes = "  /right: { pipe: a, upstream: right }\n".to_owned();
    for (number, (_, url, _, _)) in rows.iter().enumerate() {
        upstreams += &upstream(&format!("u{number}"), url);
        routes += &format!("  /u{number}: {{ pipe: a, upstream: u{number} }}\n");
    }
    let canary = format!("  canary: {{ url: '{{origin}}', token: '{TOKEN}' }}\n");
    let sections =
        format!("upstreams:\n{canary}{upstreams}routes:\n  /canary: {{ pipe: canary, upstream: canary }}\n{routes}");
    let stand = Stand::start(&sections, []).await;
    stand.until(r#"tollgate_upstream_resolved{upstream="right"}"#, 1.0).await;
    let mut wrong = Vec::new();
    for (number, (name, _, status, code)) in rows.iter().enumerate() {
        let response = client::get(stand.addr, &format!("/u{number}")).await;
        wrong.extend(refusal(&response, *status, code).err().map(|what| format!("{name}: {what}")));
    }
    assert_none_wrong(&wrong);
    let asked = [&over, &other, &own, &stranger].map(TlsOrigin::requests);
    assert_eq!(asked, [0; 4], "nothing is said to whom nobody knows");
    assert_eq!(client::get(stand.addr, "/right").await.status, 200);
    stand.end("upstreams that cannot be trusted").await;
}

const OF_THE_FIRST: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst";
const OF_THE_SECOND: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond";
/// The 15 s between two look-ups of a name (docs/reference/upstreams.md), and time to notice on a busy machine.
const LOOK_UP: Duration = Duration::from_secs(20);
/// Says which addresses `backend.test` has.
fn is_at(hosts: &Path, address: Option<&str>) {
    let line = address.map(|address| format!("{address} backend.test\n")).unwrap_or_default();
    // In its place: another file of that name would not be the one that the gateway sees.
    std::fs::write(hosts, format!("127.0.0.1 localhost\n{line}")).expect("a file");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_moves_is_followed_and_one_that_is_gone_is_remembered() {
    let folder = tempfile::tempdir().expect("a folder");
    let [hosts, servers] = ["hosts", "resolv.conf"].map(|name| folder.path().join(name));
    is_at(&hosts, Some("127.0.0.1"));
    // Nobody is asked there.
    std::fs::write(&servers, "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n").expect("a file");
    let script = format!(
        "mount --bind '{}' /etc/hosts && mount --bind '{}' /etc/resolv.conf",
        hosts.display(),
        servers.display()
    );
    let Some(wrapper) = mounts::after(&script) else { return };
    let first = speaker(OF_THE_FIRST).await;
    let second = SocketAddr::from(([127, 0, 0, 2], first.port()));
    speaker_at(second, OF_THE_SECOND).await;
    let sections = format!(
        "upstreams:\n  canary: {{ url: '{{origin}}', token: '{TOKEN}' }}\n  named: {{ url: 'http://backend.test:{}' }}\n\
         routes:\n  /canary: {{ pipe: canary, upstream: canary }}\n  /named: {{ proxy: /named, upstream: named }}\n",
        first.port()
    );
    let stand = Stand::start_under(&wrapper.each_ref().map(String::as_str), &sections, []).await;
    let said = || async { client::get(stand.addr, "/named").await.body_text() };
    assert_eq!(said().await, "first");

    is_at(&hosts, Some("127.0.0.2"));
    let moved = Instant::now();
    loop {
        match said().await.as_str() {
            "first" => assert!(moved.elapsed() < LOOK_UP, "the new address is not used after {LOOK_UP:?}"),
            text => break assert_eq!(text, "second"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    is_at(&hosts, None);
    // Which makes it look at once.
    let file = stand.gateway.folder().join("test.yaml");
    let text = std::fs::read_to_string(&file).expect("the configuration");
    std::fs::write(&file, format!("{text}  /extra: {{ pipe: extra, upstream: canary }}\n")).expect("a file");
    stand.gateway.signal("HUP");
    stand.until(r#"tollgate_upstream_resolved{upstream="named"}"#, 0.0).await;
    assert_eq!(said().await, "second", "its last address is kept");
    stand.end("a name that moves and goes").await;
}
