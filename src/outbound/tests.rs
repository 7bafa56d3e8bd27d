//! Against sockets of our own; TLS stands in `tests/gateway/check_online.rs`, beside its authority.

use std::sync::mpsc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::clock::TestClock;

/// Answers one connection with these bytes, and tells what it was sent.
async fn server(answers: &'static [&'static str]) -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (seen, received) = mpsc::sync_channel(16);
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        for answer in answers {
            let mut head = Vec::new();
            while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
                    return;
                }
            }
            seen.send(String::from_utf8(head).unwrap()).unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (address, received)
}

fn client() -> Client {
    Client::direct(Clock::system())
}

fn target(text: &str) -> Target {
    text.parse().unwrap()
}

#[tokio::test]
async fn an_answer_comes_whole_whatever_its_status() {
    let (address, seen) = server(&["HTTP/1.1 403 Forbidden\r\nX-A: b\r\nContent-Length: 2\r\n\r\nno"]).await;
    let token: Secret = "p.token".parse().unwrap();
    let call = Call::get(target(&format!("http://{address}/v0/x?a=b"))).bearer(&token);
    assert!(!format!("{call:?}").contains("p.token"), "{call:?}");
    let answer = client().call(&call).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.body.as_ref()), (403, b"no".as_slice()));
    assert_eq!(answer.headers["x-a"], "b");
    assert_eq!(answer.facts.connected, Some(address));
    let seen = seen.recv().unwrap().to_lowercase();
    assert!(seen.starts_with("get /v0/x?a=b http/1.1\r\n"), "{seen}");
    for line in [format!("host: {address}"), "authorization: bearer p.token".to_owned(), "connection: close".to_owned()]
    {
        assert!(seen.contains(&format!("{line}\r\n")), "{line} is not in {seen}");
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_not_followed() {
    let (address, _seen) =
        server(&["HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"]).await;
    let answer = client().call(&Call::get(target(&format!("http://{address}/")))).await.unwrap();
    assert_eq!(answer.status, 302);
}

#[tokio::test]
async fn a_body_is_sent() {
    let (address, seen) = server(&["HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]).await;
    client().call(&Call::post(target(&format!("http://{address}/reload")), "hello")).await.unwrap();
    let seen = seen.recv().unwrap().to_lowercase();
    assert!(seen.starts_with("post /reload ") && seen.contains("content-length: 5\r\n"), "{seen}");
}

#[tokio::test]
async fn failures_say_how_far_it_came() {
    let refused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let failure = client().call(&Call::get(target(&format!("http://{refused}/")))).await.unwrap_err();
    assert_eq!(failure.stage, Stage::Connect);
    assert_eq!(failure.to_string(), "no connection: connection refused");

    let failure = client().call(&Call::get(target("http://nothing.invalid/"))).await.unwrap_err();
    assert_eq!(failure.stage, Stage::Lookup, "{failure}");

    let (address, _seen) = server(&["SMTP ready\r\n"]).await;
    let failure = client().call(&Call::get(target(&format!("http://{address}/")))).await.unwrap_err();
    assert_eq!(failure.stage, Stage::Answer, "{failure}");

    let (address, _seen) = server(&["HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\ncut"]).await;
    let failure = client().call(&Call::get(target(&format!("http://{address}/")))).await.unwrap_err();
    assert_eq!(failure.stage, Stage::Answer, "half an answer is none: {failure}");
}

#[tokio::test]
async fn a_body_above_the_limit_is_not_kept() {
    let (address, _seen) = server(&["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"]).await;
    let call = Call { size: 4, ..Call::get(target(&format!("http://{address}/"))) };
    let failure = client().call(&call).await.unwrap_err();
    assert_eq!(failure.to_string(), "no answer: the answer is larger than 4 bytes");
}

#[tokio::test]
async fn silence_ends_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let clock = TestClock::new();
    let client = Client::direct(clock.clock());
    let call = Call::get(target(&format!("http://{}/", silent.local_addr().unwrap()))).within(Duration::from_secs(7));
    let turned = async {
        // Accepted, so the call waits for its answer by now.
        let _stream = silent.accept().await.unwrap();
        clock.advance(Duration::from_secs(8));
        std::future::pending::<()>().await;
    };
    let failure = tokio::select! {
        outcome = client.call(&call) => outcome.unwrap_err(),
        () = turned => unreachable!("it never ends"),
    };
    assert!(failure.timed_out, "{failure}");
    assert_eq!(failure.why, "nothing came within 7s");
}

#[tokio::test]
async fn a_proxy_stands_before_hosts_unless_no_proxy_names_them() {
    let (proxy, seen) = server(&["HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]).await;
    let variables = ProxyVariables {
        all: format!("http://user:pass@{proxy}"),
        no: "internal.example".to_owned(),
        ..Default::default()
    };
    let client = Client::through(Proxies::of(variables), Clock::system());
    client.call(&Call::get(target("http://api.example.com/v0?a=b"))).await.unwrap();
    let head = seen.recv().unwrap();
    assert!(head.starts_with("GET http://api.example.com/v0?a=b HTTP/1.1\r\n"), "{head}");
    assert!(head.to_lowercase().contains("proxy-authorization: basic dxnlcjpwyxnz\r\n"), "{head}");

    for (url, proxied) in [
        ("https://api.example.com/", true),
        ("https://a.internal.example/", false),
        ("http://localhost:1/", false),
        ("http://127.0.0.1:1/", false),
        ("http://[::1]:1/", false),
    ] {
        assert_eq!(client.proxies.before(&target(url)).is_some(), proxied, "{url}");
    }
}

#[tokio::test]
async fn tls_goes_through_a_proxy_in_a_tunnel() {
    let (proxy, seen) = server(&["HTTP/1.1 200 OK\r\n\r\n"]).await;
    let variables = ProxyVariables { https: format!("http://{proxy}"), ..Default::default() };
    let client = Client::through(Proxies::of(variables), Clock::system());
    let call = Call { trust: authority(), ..Call::get(target("https://api.example.com/v0")) };
    let call = client.call(&call);
    let failure = tokio::time::timeout(Duration::from_secs(30), call).await.unwrap().unwrap_err();
    assert_eq!(failure.stage, Stage::Tls, "the tunnel is open and nobody behind it speaks TLS: {failure}");
    let head = seen.recv().unwrap();
    assert!(head.starts_with("CONNECT api.example.com:443 HTTP/1.1\r\n"), "{head}");

    let (proxy, _seen) = server(&["HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"]).await;
    let variables = ProxyVariables { https: format!("http://{proxy}"), ..Default::default() };
    let client = Client::through(Proxies::of(variables), Clock::system());
    let failure = client.call(&Call::get(target("https://api.example.com/v0"))).await.unwrap_err();
    assert_eq!((failure.stage, failure.why.contains("407")), (Stage::Proxy, true), "{failure}");
}

/// Somebody to trust, so that no test depends on what the system has installed.
fn authority() -> Trust {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
    Trust::Given(vec![certificate.der().to_vec()])
}

#[test]
fn a_target_is_shown_without_its_query_and_never_quoted_when_wrong() {
    let target = target("https://api.tinybird.co/v0/pipes/openapi.json?token=p.secret");
    assert_eq!(target.to_string(), "https://api.tinybird.co/v0/pipes/openapi.json");
    assert_eq!(format!("{target:?}"), target.to_string());
    assert_eq!((target.host(), target.port(), target.query()), ("api.tinybird.co", 443, Some("token=p.secret")));
    assert_eq!(target.with_query(None).query(), None);
    assert_eq!(target.with_query(Some("a=b")).query(), Some("a=b"));
    for wrong in
        ["ftp://secret/x", "/secret", "http://u:secret@h/", "http://secret:0/", "http://secret:99999/", "secret"]
    {
        let problem = wrong.parse::<Target>().unwrap_err();
        assert!(!problem.contains("secret"), "{problem}");
    }
    let six: Target = "http://[::1]:8080/x".parse().unwrap();
    assert_eq!((six.host(), six.port(), six.authority()), ("::1", 8080, "[::1]:8080"));
}
