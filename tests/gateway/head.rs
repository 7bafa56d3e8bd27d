//! Heads of requests: targets, framing and headers that mean to be two things at once.
//!
//! What our code refuses has the documented body. What Pingora's parser refuses before any of our code runs is exempt:
//! a bare 400 (405 for CONNECT) and a closed connection.

use crate::support::client::RawClient;
use crate::support::client::Request;
use crate::support::client::Response;
use crate::support::client::exchange;
use crate::support::gateway::{TOKEN, TestGateway, assert_nothing_betrayed, assert_refused};
use crate::support::h2_client::Fields;
use crate::support::h2_client::Frame;
use crate::support::h2_client::H2Outcome;
use crate::support::h2_client::RawH2Client;

const FORM: &str = "application/x-www-form-urlencoded";

/// `/top` reads parameters, `/raw/...` passes bodies on as they are, `/canary` tells whose answer is whose.
const ROUTES: &str = "tinybird_api: true
routes:
  /top: { pipe: top }
  /secret: { pipe: secret }
  /canary: { pipe: canary }
  /raw/*: { proxy: '/raw/{path.rest}', methods: [GET, POST] }";

#[tokio::test]
async fn r1_ambiguous_paths_are_refused() {
    let gw = TestGateway::with(ROUTES);
    for target in [
        "/top/../secret",
        "/top/..",
        "/..",
        "/../top",
        "/./top",
        "/top/.",
        "/raw/../secret",
        "/raw/a/../../secret",
        "/raw/%2e%2e/secret",
        "/raw/%2E%2e/secret",
        "/raw/.%2e/secret",
        "/raw/%2e/x",
        "/raw/..%2fsecret",
        "/top%2f..%2fsecret",
        "/top%2F",
        "/raw/a%2fb",
        "/raw/a%5cb",
        "/raw/..%5c..%5csecret",
        "/raw/a\\b",
        "/raw\\..\\secret",
        "//top",
        "/raw//x",
        "/raw/x//",
        "/v0//pipes/top.json",
        "/top%00",
        "/raw/a%00b",
        "/raw/a%0d%0aX-Evil:%201",
        "/raw/a%0aX-Evil:%201",
        "/raw/a%09b",
        "/raw/a%7fb",
        "/raw/%1b[2J",
        "/raw/%c0%ae%c0%ae/secret",
        "/raw/%e0%80%ae/secret",
        "/raw/%c0%af",
        "/raw/%ff",
        "/raw/%",
        "/raw/%2",
        "/raw/%zz",
        "/raw/%u002e",
        "top",
        "?top",
        "",
    ] {
        let response = Request::get(target).send(gw.addr()).await;
        if response.body.is_empty() {
            assert_bare(target, &response);
        } else {
            assert_refused_for(target, &response, 400, "bad_request");
        }
    }
    gw.origin.assert_untouched();
    gw.assert_alive().await;
}

#[tokio::test]
async fn r1_a_path_is_decoded_once_and_matched_as_a_whole() {
    let gw = TestGateway::with(ROUTES);
    for target in [
        "/top;x",
        "/top;jsessionid=1",
        "/top%3bx",
        "/top%3Flimit=1",
        "/top%23",
        "/t%256fp",
        "/top%20",
        "/top%2500",
        "/%252e%252e/secret",
        "/top%EF%BC%8Fx",
    ] {
        assert_refused_for(target, &gw.get(target).await, 404, "route_not_found");
    }
    gw.origin.assert_untouched();
    // A fragment is no part of a request (RFC 9112, section 3.2); Pingora cuts it off before any of our code runs. What
    // is left is one path for us and for the upstream.
    for target in ["/top#x", "/top#/../secret", "/top#?q=1"] {
        gw.origin.forget_requests();
        match gw.get(target).await.status {
            200 => assert_eq!(gw.origin.only_request().target, "/v0/pipes/top.json", "{target}"),
            status => assert_eq!(status, 400, "{target}"),
        }
    }
    // A tail that holds an encoded percent sign arrives with it.
    for (target, upstream) in
        [("/raw/%252e%252e/secret", "/raw/%252e%252e/secret"), ("/raw/%252fx", "/raw/%252fx"), ("/raw/...", "/raw/...")]
    {
        gw.origin.forget_requests();
        assert_eq!(gw.get(target).await.status, 200, "{target}");
        assert_eq!(gw.origin.only_request().target, upstream);
    }
    gw.assert_alive().await;
}

#[tokio::test]
async fn r1_bytes_that_no_target_has() {
    let gw = TestGateway::with(ROUTES);
    for target in [
        &b"/top\0"[..],
        b"/raw/a\0b",
        b"/raw/a\rb",
        b"/raw/a\nb",
        b"/raw/a\r\nX-Evil: 1",
        b"/raw/a\x01b",
        b"/raw/a\x7fb",
        b"/raw/a\tb",
        b"/raw/\xff\xfe",
        b"/raw/\xc0\xae\xc0\xae/secret",
        b"/raw/a b",
        b"/top?a=\r\nX-Evil: 1",
        b"/top?a=\0",
        b"/top?a=\x1b",
        b"/top?a=b c",
    ] {
        let shown = target.escape_ascii().to_string();
        gw.origin.forget_requests();
        let mut client = RawClient::connect(gw.addr()).await;
        client.send([b"GET ", target, b" HTTP/1.1\r\nHost: localhost\r\n\r\n"].concat()).await;
        let response = client.try_read_response().await;
        let Ok(response) = response else { continue };
        assert_nothing_betrayed(&response);
        if response.status == 200 {
            // Refused or made valid: bytes that are no UTF-8, and letters of a query, may be encoded.
            let seen = gw.origin.only_request();
            seen.assert_strictly_valid();
            assert!(seen.target.bytes().all(|byte| byte.is_ascii_graphic()), "{shown}: {seen:?}");
            assert_eq!(seen.header("x-evil"), None);
        } else {
            assert_eq!(response.status, 400, "{shown}");
            gw.origin.assert_untouched();
        }
    }
    gw.assert_alive().await;
}

#[tokio::test]
async fn r1_absolute_form_names_no_other_host() {
    let gw = TestGateway::with(ROUTES);
    for target in [
        "http://evil.example/top",
        "http://localhost@evil.example/top",
        "http://evil.example@localhost/top",
        "https://evil.example:443/top",
        "http://",
        "http:///top",
        "http:/top",
        "ftp://localhost/top",
        "file:///etc/passwd",
        "localhost:80",
        "*",
    ] {
        let response = Request::get(target).send(gw.addr()).await;
        assert!([400, 404].contains(&response.status), "{target}: {response:?}");
        assert_nothing_betrayed(&response);
    }
    gw.origin.assert_untouched();
    // The same host in both places: refused, or served as the path alone.
    let response = Request::get("http://localhost/top?a=1").send(gw.addr()).await;
    match response.status {
        200 => assert_eq!(gw.origin.only_request().target, "/v0/pipes/top.json?a=1"),
        _ => assert_refused(&response, 400, "bad_request"),
    }
    gw.assert_alive().await;
}

#[tokio::test]
async fn r2_connect_and_upgrade_lead_nowhere() {
    let gw = TestGateway::with(ROUTES);
    for target in ["127.0.0.1:80", "localhost:443", "/top"] {
        let mut client = RawClient::connect(gw.addr()).await;
        let response = Request::new("CONNECT", target).send_on(&mut client).await;
        assert!([400, 405].contains(&response.status), "{response:?}");
        client.wait_closed().await;
    }
    gw.origin.assert_untouched();
    // An upgrade is not asked for upstream, so the bytes after it are nobody's tunnel.
    let mut client = RawClient::connect(gw.addr()).await;
    let request = Request::get("/top").header("Connection", "Upgrade").header("Upgrade", "websocket");
    let bytes = [request.bytes(), Request::get("/secret").bytes()].concat();
    client.send(bytes).await;
    let response = client.read_response().await;
    assert_ne!(response.status, 101);
    for seen in gw.origin.received() {
        assert_eq!((seen.header("upgrade"), seen.header("connection")), (None, None));
        seen.assert_strictly_valid();
    }
    let request = Request::get("/top").header("Connection", "Upgrade, HTTP2-Settings").header("Upgrade", "h2c");
    assert_ne!(request.header("HTTP2-Settings", "AAMAAABkAAQAoAAAAAIAAAAA").send(gw.addr()).await.status, 101);
    gw.assert_alive().await;
}

#[tokio::test]
async fn r3_no_header_overrides_path_or_method() {
    let gw = TestGateway::with(ROUTES);
    for (name, value) in [
        ("X-Original-URL", "/secret"),
        ("X-Rewrite-URL", "/secret"),
        ("X-Original-URI", "/secret"),
        ("X-Forwarded-Path", "/secret"),
        ("X-Forwarded-Prefix", "/secret"),
        ("X-HTTP-Method-Override", "DELETE"),
        ("X-HTTP-Method", "DELETE"),
        ("X-Method-Override", "DELETE"),
        ("Destination", "/secret"),
    ] {
        gw.origin.forget_requests();
        assert_eq!(Request::get("/top").header(name, value).send(gw.addr()).await.status, 200);
        let seen = gw.origin.only_request();
        assert_eq!((seen.method.as_str(), seen.target.as_str()), ("GET", "/v0/pipes/top.json"));
        assert_eq!(seen.header(name), None);
        assert_eq!(Request::get("/nothing").header(name, "/top").send(gw.addr()).await.status, 404);
    }
    gw.origin.forget_requests();
    assert_eq!(gw.get("/top?_method=DELETE").await.status, 200);
    assert_eq!(gw.origin.only_request().method, "GET");
    gw.assert_alive().await;
}

#[tokio::test]
async fn h1_nominating_our_headers_does_not_remove_them() {
    let gw = TestGateway::with(ROUTES);
    for nominated in [
        "authorization",
        "Authorization, Host",
        "host",
        "close, authorization, x-forwarded-for, x-forwarded-host, x-forwarded-proto, user-agent, traceparent",
        "keep-alive, authorization",
        "content-length, content-type",
        "accept",
        "x-trace",
    ] {
        gw.origin.forget_requests();
        let request = Request::post("/top").header("Connection", nominated).header("X-Trace", "evil");
        let request =
            request.header("Keep-Alive", "timeout=5").header("TE", "trailers").header("Proxy-Connection", "keep-alive");
        let response = request.form("limit=5").send(gw.addr()).await;
        if response.status != 200 {
            assert_refused_for(
                nominated,
                &response,
                if response.status == 415 { 415 } else { 400 },
                if response.status == 415 { "unsupported_body" } else { "bad_request" },
            );
            continue;
        }
        let seen = gw.origin.only_request();
        assert_eq!(seen.header("authorization"), Some(format!("Bearer {TOKEN}")), "{nominated}");
        assert_eq!(seen.header("host"), Some(gw.origin.addr().to_string()));
        assert_eq!(seen.header("x-forwarded-for").as_deref(), Some("127.0.0.1"));
        assert_eq!(seen.header("x-forwarded-host").as_deref(), Some("localhost"));
        assert!(seen.header("user-agent").is_some() && seen.header("traceparent").is_some());
        for name in ["connection", "keep-alive", "te", "proxy-connection", "x-trace"] {
            assert_eq!(seen.header(name), None, "{nominated}: {name}");
        }
        assert_eq!(seen.form_pairs(), [("limit".to_owned(), "5".to_owned())], "{nominated}");
        seen.assert_strictly_valid();
    }
    gw.assert_alive().await;
}

#[tokio::test]
async fn h2_identity_headers_of_the_caller_stay_behind() {
    let gw = TestGateway::with(ROUTES);
    let names = [
        "X-Tenant-Id",
        "X-User",
        "X-User-Id",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-User",
        "X_Forwarded_For",
        "X_Tenant_Id",
        "x_forwarded_host",
        "Authorization_",
        "Content_Length",
        "Transfer_Encoding",
        "Host_",
        "X-Real-IP",
        "Remote-User",
        "X-Remote-User",
        "Forwarded",
        "X-Tinybird-Token",
        "X-Auth-Token",
        "Cookie",
        "Cookie2",
        "Proxy-Authorization",
        "X-API-Key",
        "User-Agent",
        "Referer",
        "Via",
        "Max-Forwards",
        "Trailer",
        "Expect_",
    ];
    let request = names.iter().fold(Request::get("/top"), |request, name| request.header(name, "evil"));
    assert_eq!(request.send(gw.addr()).await.status, 200);
    let seen = gw.origin.only_request();
    assert!(!seen.contains("evil"), "{seen:?}");
    let documented = [
        "accept",
        "accept-encoding",
        "accept-language",
        "authorization",
        "host",
        "traceparent",
        "user-agent",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
    ];
    for name in seen.header_names() {
        assert!(documented.contains(&name.as_str()), "{name} in {seen:?}");
    }
    seen.assert_strictly_valid();
}

#[tokio::test]
async fn h3_no_host_and_two_hosts_are_refused() {
    let gw = TestGateway::with(ROUTES);
    assert_refused(&Request::get("/top").without_host().send(gw.addr()).await, 400, "bad_request");
    assert_refused(&Request::get("/top").host("").send(gw.addr()).await, 400, "bad_request");
    // HTTP/1.0 may leave it out, but then nobody knows which site is meant.
    assert_refused(&Request::get("/top").without_host().http10().send(gw.addr()).await, 400, "bad_request");
    assert_refused(&Request::get("/").without_host().http10().send(gw.addr()).await, 400, "bad_request");
    for second in ["localhost", "evil.example", ""] {
        let mut client = RawClient::connect(gw.addr()).await;
        let response = Request::get("/top").header("Host", second).send_on(&mut client).await;
        assert_eq!(response.status, 400, "{response:?}");
        client.wait_closed().await;
    }
    for line in ["Host : evil.example", " Host: evil.example", "Host\0: evil.example"] {
        let response = Request::get("/top").raw_header_line(line).send(gw.addr()).await;
        assert_eq!(response.status, 400, "{line:?}");
    }
    gw.origin.assert_untouched();
    gw.assert_alive().await;
}

/// Lines that two programs may read as two lengths, or as none; the body they go with has 57 bytes.
const AMBIGUOUS: &[&[&str]] = &[
    &["Content-Length: 5", "Content-Length: 5"],
    &["Content-Length: 5", "Content-Length: 6"],
    &["Content-Length: 0", "Content-Length: 44"],
    &["Content-Length: 5,5"],
    &["Content-Length: 5, 5"],
    &["Content-Length: +5"],
    &["Content-Length: -5"],
    &["Content-Length: 0x5"],
    &["Content-Length: 5 5"],
    &["Content-Length: 5a"],
    &["Content-Length:"],
    &["Content-Length: ''"],
    &["Content-Length: 5.0"],
    &["Content-Length: 1e1"],
    &["Content-Length: 18446744073709551621"],
    &["Content-Length: 99999999999999999999999999"],
    &["Content-Length : 5"],
    &["Transfer-Encoding: chunked", "Content-Length: 57"],
    &["Content-Length: 57", "Transfer-Encoding: chunked"],
    &["Content-Length: 4", "Transfer-Encoding: chunked"],
    &["Transfer-Encoding: xchunked"],
    &["Transfer-Encoding: chunked, identity"],
    &["Transfer-Encoding: identity"],
    &["Transfer-Encoding: identity, chunked"],
    &["Transfer-Encoding: gzip, chunked"],
    &["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
    &["Transfer-Encoding: chunked", "Transfer-Encoding: identity"],
    &["Transfer-Encoding: chunked;q=1"],
    &["Transfer-Encoding: \"chunked\""],
    &["Transfer-Encoding: \x0bchunked"],
    &["Transfer-Encoding: chunked\x0b"],
    &["Transfer-Encoding : chunked"],
    &["Transfer-Encoding:"],
    &["Transfer-Encoding: ,chunked"],
    &["Transfer-Encoding:\r\n chunked"],
    &[" Transfer-Encoding: chunked"],
    &["X-Fold: a\r\n Transfer-Encoding: chunked"],
    &["X-Fold: a\r\n\tb"],
    &["X-Bare: a\rTransfer-Encoding: chunked"],
    &["X-Nul: a\0b"],
    &["Bad Name: x"],
    &["Bad(Name): x"],
    &["NoColon"],
    &[": empty"],
];

#[tokio::test]
async fn h3_framing_that_can_be_read_twice_is_refused() {
    let gw = TestGateway::with(ROUTES);
    let inner = "GET /secret?smuggled=1 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let chunked = format!("0\r\n\r\n{inner}");
    for path in ["/top", "/raw/x"] {
        for lines in AMBIGUOUS {
            let request = lines.iter().fold(Request::post(path).header("Content-Type", FORM), Request::raw_header_line);
            let what = format!("{path} {lines:?}");
            let exchange = exchange(
                gw.addr(),
                [request.raw_body(&chunked).bytes(), Request::get("/canary").close().bytes()].concat(),
            )
            .await;
            let responses = exchange.responses();
            let first = responses.first().unwrap_or_else(|| panic!("{what}: no answer"));
            assert_eq!(first.status, 400, "{what}: {first:?}");
            if first.body.is_empty() {
                assert_eq!(first.header("connection").as_deref(), Some("close"), "{what}");
            } else {
                assert_refused_for(&what, first, 400, "bad_request");
            }
            // Where such a body ends is anybody's guess: nothing after it is a request.
            assert_eq!(responses.len(), 1, "{what}: {:?}", exchange.statuses());
            assert!(exchange.ending.is_some(), "{what}: the connection stayed open");
        }
    }
    gw.origin.assert_untouched();
    gw.assert_alive().await;
}

/// Requests whose body is framed oddly; a whole request follows where a sloppy reader may think it ends.
fn odd_bodies() -> Vec<(&'static str, Vec<u8>)> {
    let inner = "GET /secret?smuggled=1 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let post = |lines: &[&str], body: &str| {
        let request = Request::post("/raw/x").header("Content-Type", "application/octet-stream");
        lines.iter().fold(request, |request, line| request.raw_header_line(line)).raw_body(body).bytes()
    };
    vec![
        ("Content_Length", post(&["Content_Length: 44"], inner)),
        ("Transfer_Encoding", post(&["Transfer_Encoding: chunked", "Content-Length: 5"], &format!("0\r\n\r\n{inner}"))),
        ("CHUNKED", post(&["Transfer-Encoding: CHUNKED"], &format!("0\r\n\r\n{inner}"))),
        ("leading zeros", post(&["Content-Length: 005"], &format!("0\r\n\r\n{inner}"))),
        ("chunk extension", post(&["Transfer-Encoding: chunked"], &format!("5;a=b\r\nhello\r\n0\r\n\r\n{inner}"))),
        (
            "chunk size in capitals",
            post(&["Transfer-Encoding: chunked"], &format!("A\r\n0123456789\r\n0\r\n\r\n{inner}")),
        ),
        ("chunk size 0x5", post(&["Transfer-Encoding: chunked"], &format!("0x5\r\nhello\r\n0\r\n\r\n{inner}"))),
        ("chunk size -1", post(&["Transfer-Encoding: chunked"], &format!("-1\r\nhello\r\n0\r\n\r\n{inner}"))),
        (
            "chunk size too large",
            post(&["Transfer-Encoding: chunked"], &format!("ffffffffffffffff1\r\nhello\r\n0\r\n\r\n{inner}")),
        ),
        ("chunk ends with LF", post(&["Transfer-Encoding: chunked"], &format!("5\nhello\n0\n\n{inner}"))),
        ("chunk longer than said", post(&["Transfer-Encoding: chunked"], &format!("3\r\nhello\r\n0\r\n\r\n{inner}"))),
        ("chunk shorter than said", post(&["Transfer-Encoding: chunked"], &format!("8\r\nhello\r\n0\r\n\r\n{inner}"))),
        ("blank chunk size", post(&["Transfer-Encoding: chunked"], &format!("\r\nhello\r\n0\r\n\r\n{inner}"))),
        (
            "trailers",
            post(
                &["Transfer-Encoding: chunked"],
                &format!("5\r\nhello\r\n0\r\nX-Evil: 1\r\nContent-Length: 5\r\n\r\n{inner}"),
            ),
        ),
    ]
}

/// Requests whose head is odd.
fn odd_heads() -> Vec<(&'static str, Vec<u8>)> {
    let inner = "GET /secret?smuggled=1 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let plain = |head: &str| head.replace('\n', "\r\n").into_bytes();
    vec![
        ("chunked in 1.0", plain("POST /raw/x HTTP/1.0\nHost: localhost\nTransfer-Encoding: chunked\n\n0\n\n")),
        ("bare LF", b"GET /raw/x HTTP/1.1\nHost: localhost\n\n".to_vec()),
        (
            "bare LF before a field",
            b"GET /raw/x HTTP/1.1\r\nHost: localhost\r\nX-A: b\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_vec(),
        ),
        ("bare CR in a value", plain("GET /raw/x HTTP/1.1\nHost: localhost\nX-A: b\rX-Evil: 1\n\n")),
        ("two blanks", plain("GET  /raw/x HTTP/1.1\nHost: localhost\n\n")),
        ("a tab", plain("GET\t/raw/x\tHTTP/1.1\nHost: localhost\n\n")),
        ("empty lines first", plain("\n\nGET /raw/x HTTP/1.1\nHost: localhost\n\n")),
        ("HTTP/1.2", plain("GET /raw/x HTTP/1.2\nHost: localhost\n\n")),
        ("HTTP/2.0", plain("GET /raw/x HTTP/2.0\nHost: localhost\n\n")),
        ("http/1.1", plain("GET /raw/x http/1.1\nHost: localhost\n\n")),
        ("HTTP/0.9", b"GET /raw/x\r\n\r\n".to_vec()),
        ("no target", plain("GET HTTP/1.1\nHost: localhost\n\n")),
        ("a method that is none", plain("G(T /raw/x HTTP/1.1\nHost: localhost\n\n")),
        ("a byte order mark", "\u{feff}GET /raw/x HTTP/1.1\r\nHost: localhost\r\n\r\n".as_bytes().to_vec()),
        ("TLS", vec![0x16, 0x03, 0x01, 0x00, 0x05, 0x01, 0x00, 0x00, 0x01, 0x03, b'\r', b'\n', b'\r', b'\n']),
        ("GET with a body", plain(&format!("GET /raw/x HTTP/1.1\nHost: localhost\nContent-Length: 52\n\n{inner}"))),
    ]
}

#[tokio::test]
async fn h3_odd_framing_goes_on_clean_or_not_at_all() {
    let gw = TestGateway::with(ROUTES);
    for (what, bytes) in odd_bodies().into_iter().chain(odd_heads()) {
        gw.origin.forget_requests();
        // The canary goes with the request, so that a wrong end of the body would eat it or be served before it.
        let mut client = RawClient::connect(gw.addr()).await;
        drop(client.try_send([bytes, Request::get("/canary").close().bytes()].concat()).await);
        client.half_close().await;
        let mut statuses = Vec::new();
        while let Ok(response) = client.try_read_response().await {
            assert_nothing_betrayed(&response);
            statuses.push(response.status);
        }
        assert!(
            statuses.iter().all(|status| [200, 400, 404, 405, 408, 413, 415].contains(status)),
            "{what}: {statuses:?}"
        );
        for seen in gw.origin.received() {
            if !seen.complete {
                continue;
            }
            seen.assert_strictly_valid();
            assert!(
                ["/raw/x", "/v0/pipes/canary.json", "/v0/pipes/secret.json"].contains(&seen.path.as_str()),
                "{what}: {seen:?}"
            );
            // The request inside the body is a request of its own only where the body has ended before it,
            // as it then is for every reader.
            assert!(what != "GET with a body" || seen.path != "/v0/pipes/secret.json", "{seen:?}");
            assert_eq!((seen.header("x-evil"), seen.trailers.len()), (None, 0), "{what}: {seen:?}");
        }
        gw.assert_alive().await;
    }
}

#[tokio::test]
async fn h3_a_pipelined_canary_gets_its_own_answer_or_none() {
    let gw = TestGateway::with(ROUTES);
    gw.origin.on_path("/v0/pipes/canary.json", crate::support::origin::Answer::json(200, r#"{"canary":1}"#));
    let canary = Request::get("/canary").close().bytes();
    for (request, status) in [
        (Request::get("/top"), 200),
        (Request::get("/nothing"), 404),
        (Request::new("DELETE", "/top").body("GET /secret HTTP/1.1\r\n\r\n"), 405),
        (Request::post("/top").form("a=1"), 200),
        (Request::post("/top").typed_body("text/plain", "GET /secret HTTP/1.1\r\n\r\n"), 415),
        (Request::post("/top").form("a".repeat(62_000)), 413),
        (Request::post("/nothing").body("GET /secret HTTP/1.1\r\n\r\n"), 404),
        (Request::get("/top?q=1").body("GET /secret HTTP/1.1\r\n\r\n"), 415),
        (Request::post("/top?q=1").form("x=GET"), 400),
        (Request::post("/raw/x").chunked([b"GET /secret HTTP/1.1\r\n\r\n".as_slice()]), 200),
    ] {
        let exchange = exchange(gw.addr(), [request.bytes(), canary.clone()].concat()).await;
        let responses = exchange.responses();
        assert_eq!(responses.first().map(|response| response.status), Some(status), "{exchange:?}");
        assert!(responses.len() <= 2, "{exchange:?}");
        if let Some(second) = responses.get(1) {
            assert_eq!((second.status, second.body_text().as_str()), (200, r#"{"canary":1}"#), "{exchange:?}");
        }
        assert!(gw.origin.received().iter().all(|seen| seen.path != "/v0/pipes/secret.json"), "{request:?}");
    }
    gw.origin.assert_strictly_valid();
    gw.assert_alive().await;
}

#[tokio::test]
async fn sizes_of_a_head_have_limits() {
    let gw = TestGateway::with(ROUTES);
    let target = |length: usize| format!("/top?a={}", "a".repeat(length - "/top?a=".len()));
    assert_eq!(gw.get(&target(16 * 1024)).await.status, 200);
    for length in [16 * 1024 + 1, 17 * 1024, 60 * 1024] {
        assert_refused(&gw.get(&target(length)).await, 414, "uri_too_long");
    }
    // Longer ones than the parser can hold.
    assert_bare("100 KiB", &gw.get(&target(100 * 1024)).await);
    assert_refused(&gw.get(&format!("/{}", "a".repeat(17 * 1024))).await, 414, "uri_too_long");
    assert_eq!(Request::get("/top").header("X-Fill", "a".repeat(30 * 1024)).send(gw.addr()).await.status, 200);
    for kib in [33, 40, 500] {
        let response = Request::get("/top").header("X-Fill", "a".repeat(kib * 1024)).send(gw.addr()).await;
        assert_refused(&response, 431, "headers_too_large");
    }
    let fields =
        |count: usize| (0..count).fold(Request::get("/top"), |request, at| request.header(format!("X-{at}"), "v"));
    assert_eq!(fields(99).send(gw.addr()).await.status, 200);
    for count in [101, 200] {
        assert_refused(&fields(count).send(gw.addr()).await, 431, "headers_too_large");
    }
    assert_eq!(gw.origin.received_count(), 3);
    // Beyond what Pingora's parser takes its own answer stands: refused, closed, survived.
    let mut client = RawClient::connect(gw.addr()).await;
    let response = fields(300).send_on(&mut client).await;
    assert!([400, 431].contains(&response.status), "{response:?}");
    let mut client = RawClient::connect(gw.addr()).await;
    drop(client.try_send(Request::get("/top").header("X-Fill", vec![b'a'; 2 << 20]).bytes()).await);
    if let Ok(response) = client.try_read_response().await {
        assert!([400, 431].contains(&response.status), "{response:?}");
    }
    assert_eq!(gw.origin.received_count(), 3);
    gw.assert_alive().await;
}

#[tokio::test]
async fn a_head_in_pieces_is_a_head() {
    let gw = TestGateway::with(ROUTES);
    let mut client = RawClient::connect(gw.addr()).await;
    for byte in Request::get("/top?a=1").bytes() {
        client.send([byte]).await;
    }
    assert_eq!(client.read_response().await.status, 200);
    assert_eq!(gw.origin.only_request().target, "/v0/pipes/top.json?a=1");
    // Half a head and then nothing: no answer is owed, and nobody else waits.
    for half in ["GET /secret", "GET /secret HTTP/1.1\r\nHost: localhost\r\n", ""] {
        let mut client = RawClient::connect(gw.addr()).await;
        client.send(half).await;
        client.half_close().await;
        drop(client.try_read_response().await);
        let mut client = RawClient::connect(gw.addr()).await;
        client.send(half).await;
        client.abort();
    }
    assert_eq!(gw.origin.received_count(), 1);
    gw.assert_alive().await;
}

#[tokio::test]
async fn a_request_id_is_taken_over_if_it_is_one() {
    let gw = TestGateway::with(ROUTES);
    for path in ["/top", "/nothing"] {
        let id = "0f8fad5b-d9cb-469f-a165-70867728950e";
        let response = Request::get(path).header("X-Request-Id", id).send(gw.addr()).await;
        assert_eq!(response.header("x-request-id").as_deref(), Some(id));
        let long = "a".repeat(5_000);
        for bad in
            ["", " ", "a b", "\"}{\"", "<script>", "a\tb", "\u{e9}", "a,b", "a;b", "../../x", "$(id)", "\x1b[2J", &long]
        {
            let request = Request::get(path).header("X-Request-Id", bad);
            let response = request.send(gw.addr()).await;
            if response.status == 400 && response.body.is_empty() {
                continue;
            }
            let given = response.header("x-request-id").unwrap_or_default();
            assert_ne!(given, bad, "{bad:?}");
            assert!(
                given.len() >= 16 && given.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'),
                "{given}"
            );
        }
        // Two ids are none that could be told apart.
        let request =
            Request::get(path).header("X-Request-Id", "first-of-two-ids").header("X-Request-Id", "second-of-two-ids");
        assert!(request.send(gw.addr()).await.header("x-request-id").is_some());
    }
    // Ours differ from each other.
    let (one, other) = (gw.get("/top").await.header("x-request-id"), gw.get("/top").await.header("x-request-id"));
    assert_ne!(one, other);
    assert!(gw.origin.received().iter().all(|seen| seen.header("x-request-id").is_none()));
}

#[tokio::test]
async fn a_trace_is_continued_or_begun() {
    let gw = TestGateway::with(ROUTES);
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let given = format!("00-{trace}-00f067aa0ba902b7-01");
    assert_eq!(Request::get("/top").header("traceparent", &given).send(gw.addr()).await.status, 200);
    let seen = trace_of(&gw);
    assert_eq!((seen[1].as_str(), seen[3].as_str()), (trace, "01"));
    assert_eq!(Request::get("/top").send(gw.addr()).await.status, 200);
    let own = trace_of(&gw);
    assert_ne!(own[1], trace);
    for bad in [
        "",
        "evil",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00F067AA0BA902B7-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-evil",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902bz-01",
    ] {
        assert_eq!(Request::get("/top").header("traceparent", bad).send(gw.addr()).await.status, 200);
        let begun = trace_of(&gw);
        assert_ne!(begun[1].to_ascii_lowercase(), trace, "{bad}");
    }
}

#[tokio::test]
async fn h5_values_of_passed_headers_cannot_make_lines() {
    let gw = TestGateway::with(ROUTES);
    for value in ["a\rX-Evil: 1", "a\nX-Evil: 1", "a\0b", "a\x01b", "a\x7fb"] {
        for name in ["Accept", "If-None-Match", "Range", "X-Other"] {
            gw.origin.forget_requests();
            let response = Request::get("/top").header(name, value).send(gw.addr()).await;
            if response.status == 200 {
                let seen = gw.origin.only_request();
                seen.assert_strictly_valid();
                // A line feed ends a line for a lenient parser: what follows it is a header of the caller's, and not passed.
                assert_eq!(seen.header("x-evil"), None);
            } else {
                assert_eq!(response.status, 400, "{name}: {value:?}");
                gw.origin.assert_untouched();
            }
        }
    }
    // Parameters that are answered in headers of ours do not exist; refusals name them all the same.
    let response = gw.get("/top?q%0d%0aX-Evil:1=1").await;
    assert_refused(&response, 400, "bad_parameter");
    assert_eq!(response.header("x-evil"), None);
    gw.assert_alive().await;
}

#[tokio::test]
async fn h4_http2_cannot_say_what_http1_may_not() {
    let gw = TestGateway::with(ROUTES);
    let get = || Fields::get("/top");
    let post = || Fields::post("/raw/x");
    let cases: Vec<(&str, Fields, Option<&[u8]>)> = vec![
        ("CR LF in a value", get().with("accept", "a\r\nx-evil: 1"), None),
        ("LF in a value", get().with("accept", "a\nx-evil: 1"), None),
        ("NUL in a value", get().with("accept", "a\0b"), None),
        ("CR LF in a name", get().with("x-a\r\nx-evil", "1"), None),
        ("a colon in a name", get().with("x-a: b", "1"), None),
        ("a capital in a name", get().with("X-Evil", "1"), None),
        ("an empty name", get().with("", "1"), None),
        ("CR LF in the path", get().set(":path", "/top HTTP/1.1\r\nx-evil: 1\r\n\r\nGET /secret"), None),
        ("a blank in the path", get().set(":path", "/top HTTP/1.1"), None),
        ("NUL in the path", get().set(":path", "/top\0"), None),
        ("no path", get().without(":path"), None),
        ("an empty path", get().set(":path", ""), None),
        ("a path without a slash", get().set(":path", "top"), None),
        ("another path beside it", get().with(":path", "/secret"), None),
        ("an absolute path", get().set(":path", "http://evil.example/top"), None),
        ("a dot path", get().set(":path", "/raw/../secret"), None),
        ("an encoded dot path", get().set(":path", "/raw/%2e%2e/secret"), None),
        ("CR LF in the method", get().set(":method", "GET /secret HTTP/1.1\r\nx: "), None),
        ("a blank in the method", get().set(":method", "GET /secret"), None),
        ("no method", get().without(":method"), None),
        ("CONNECT", Fields::none().with(":method", "CONNECT").with(":authority", "127.0.0.1:80"), None),
        ("another authority beside it", get().with(":authority", "evil.example"), None),
        ("CR LF in the authority", get().set(":authority", "localhost\r\nx-evil: 1"), None),
        ("a path in the authority", get().set(":authority", "localhost/x"), None),
        ("a user in the authority", get().set(":authority", "evil@localhost"), None),
        ("another host", get().with("host", "evil.example"), None),
        ("two hosts", get().with("host", "localhost").with("host", "evil.example"), None),
        ("neither authority nor host", get().without(":authority"), None),
        ("two hosts alone", get().without(":authority").with("host", "localhost").with("host", "evil.example"), None),
        (
            "two equal hosts alone",
            get().without(":authority").with("host", "localhost").with("host", "localhost"),
            None,
        ),
        ("an empty host alone", get().without(":authority").with("host", ""), None),
        ("a host alone that is none", get().without(":authority").with("host", "a/b"), None),
        ("Connection", get().with("connection", "close"), None),
        ("Keep-Alive", get().with("keep-alive", "1"), None),
        ("Transfer-Encoding", post().with("transfer-encoding", "chunked"), Some(b"0\r\n\r\n")),
        ("TE", get().with("te", "gzip"), None),
        ("Upgrade", get().with("upgrade", "h2c"), None),
        ("a length too long", post().with("content-length", "10"), Some(b"hello")),
        ("a length too short", post().with("content-length", "3"), Some(b"hello")),
        ("two lengths", post().with("content-length", "5").with("content-length", "5"), Some(b"hello")),
        ("a list of lengths", post().with("content-length", "5, 5"), Some(b"hello")),
        ("a length that is none", post().with("content-length", "+5"), Some(b"hello")),
        ("a length and no body", post().with("content-length", "5"), None),
        ("an unknown pseudo header", get().with(":evil", "1"), None),
        ("a pseudo header of answers", get().with(":status", "200"), None),
        (
            "a pseudo header after others",
            Fields::none()
                .with(":method", "GET")
                .with(":scheme", "http")
                .with("accept", "*/*")
                .with(":path", "/top")
                .with(":authority", "localhost"),
            None,
        ),
        ("nothing at all", Fields::none(), None),
    ];
    for (what, fields, body) in cases {
        let mut client = RawH2Client::connect(gw.addr()).await;
        let outcome = client.request(&fields, body).await;
        assert!(outcome.is_refused(), "{what}: {outcome:?}");
        if let H2Outcome::Answered(answer) = &outcome {
            assert!(answer.status < 500 || what.contains("length"), "{what}: {answer:?}");
        }
        for seen in gw.origin.received() {
            // A body's length shows only when it ends, so a head may have gone up, and come there during the next row: never a
            // whole request.
            assert!(!seen.complete && seen.header("content-length").is_some(), "{what}: {seen:?}");
        }
        gw.origin.forget_requests();
    }
    gw.assert_alive().await;
    let mut client = RawH2Client::connect(gw.addr()).await;
    assert_eq!(client.request(&get(), None).await.status(), Some(200));
}

#[tokio::test]
async fn h4_http2_says_host_in_its_own_way() {
    let gw = TestGateway::with(ROUTES);
    let mut client = RawH2Client::connect(gw.addr()).await;
    // RFC 9113, section 8.3.1: a request translated from HTTP/1.1 may have `host` alone, or both alike.
    for fields in [
        Fields::get("/top").with("host", "localhost"),
        Fields::get("/top").without(":authority").with("host", "localhost"),
    ] {
        gw.origin.forget_requests();
        assert_eq!(client.request(&fields, None).await.status(), Some(200), "{fields:?}");
        let seen = gw.origin.only_request();
        assert_eq!(seen.header("x-forwarded-host").as_deref(), Some("localhost"));
        assert_eq!(seen.header("host"), Some(gw.origin.addr().to_string()));
        seen.assert_strictly_valid();
    }
    gw.origin.forget_requests();
    // Cookie crumbs, trailers and padding are no way in either.
    let fields = Fields::get("/top")
        .with("cookie", "a=evil")
        .with("cookie", "b=evil")
        .with("te", "trailers")
        .with("authorization", "Bearer evil");
    assert_eq!(client.request(&fields, None).await.status(), Some(200));
    let stream = client.open_stream();
    client.send_headers(stream, 0, &Fields::post("/raw/x")).await;
    client.send_data(stream, 0, b"hello").await;
    client
        .send_headers(stream, Frame::END_STREAM, &Fields::none().with("x-evil", "evil").with("content-length", "99"))
        .await;
    assert!(client.outcome(stream).await.status().is_some());
    for seen in gw.origin.received() {
        assert!(!seen.contains("evil"), "{seen:?}");
        seen.assert_strictly_valid();
    }
    assert!(client.is_alive().await);
    gw.assert_alive().await;
}

#[tokio::test]
async fn h4_a_stream_that_is_given_up_leaves_nothing() {
    let gw = TestGateway::with(ROUTES);
    let mut client = RawH2Client::connect(gw.addr()).await;
    let stream = client.open_stream();
    client.send_headers(stream, 0, &Fields::post("/top").with("content-type", FORM)).await;
    client.send_data(stream, 0, b"limit=5").await;
    client.send_reset(stream, 8).await;
    assert!(client.is_alive().await);
    assert_eq!(client.request(&Fields::get("/canary"), None).await.status(), Some(200));
    assert_eq!(gw.origin.only_request().path, "/v0/pipes/canary.json");
    gw.assert_alive().await;
}

/// The parts of the `traceparent` that the upstream got last.
fn trace_of(gw: &TestGateway) -> Vec<String> {
    let seen = gw.origin.received().pop().expect("a request");
    let header = seen.header("traceparent").expect("every request is traced");
    let parts: Vec<String> = header.split('-').map(str::to_owned).collect();
    assert_eq!(parts.iter().map(String::len).collect::<Vec<_>>(), [2, 32, 16, 2], "{header}");
    assert!(header.bytes().all(|byte| b"0123456789abcdef-".contains(&byte)), "{header}");
    assert_eq!(parts[0], "00");
    assert_eq!(seen.header("tracestate"), None);
    parts
}

/// What Pingora's parser answers: 400 without a body, and the end of the connection.
#[track_caller]
fn assert_bare(what: &str, response: &Response) {
    assert_eq!((response.status, response.body.len()), (400, 0), "{what}: {response:?}");
    assert_eq!(response.header("connection").as_deref(), Some("close"), "{what}");
    assert_nothing_betrayed(response);
}

/// As `assert_refused`, saying for what.
#[track_caller]
fn assert_refused_for(what: &str, response: &Response, status: u16, code: &str) {
    assert_eq!(response.status, status, "{what}: {response:?}");
    assert_refused(response, status, code);
}
