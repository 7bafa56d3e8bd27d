//! Upstreams that cannot be trusted or found: certificates that are over, of another name, of nobody; what is no TLS; names
//! without an address.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::stand::{Stand, TOKEN, assert_none_wrong, refusal};
use crate::support::client;
use crate::support::tls_origin::{Authority, TlsOrigin};

/// Answers whatever comes with these bytes, and nothing with none; it lives on the test's runtime.
async fn speaker(bytes: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
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
