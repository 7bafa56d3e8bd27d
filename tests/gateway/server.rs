//! `server`: who a caller is taken for, how much is accepted, and how long a connection lasts.

use std::time::Duration;

use bytes::Bytes;

use crate::support::client::RawClient;
use crate::support::client::Request;
use crate::support::gateway::{TOKEN, TestGateway, assert_refused};
use crate::support::h2_client::H2Client;
use crate::support::origin::Answer;

#[tokio::test]
async fn x1_a_caller_cannot_choose_its_address() {
    let gw = TestGateway::with("routes: { /top: { pipe: top } }");
    let spoofed = [
        ("X-Forwarded-For", "203.0.113.9"),
        ("X-Forwarded-For", "203.0.113.9, 10.0.0.1"),
        ("x-forwarded-for", "127.0.0.2"),
        ("X_Forwarded_For", "203.0.113.9"),
        ("X-Real-IP", "203.0.113.9"),
        ("True-Client-IP", "203.0.113.9"),
        ("CF-Connecting-IP", "203.0.113.9"),
        ("Forwarded", "for=203.0.113.9"),
        ("X-Client-IP", "203.0.113.9"),
    ];
    for (name, value) in spoofed {
        gw.origin.forget_requests();
        let request = Request::get("/top").header(name, value);
        let request = request.header("X-Forwarded-Proto", "https").header("X-Forwarded-Host", "evil.example");
        assert_eq!(request.send(gw.addr()).await.status, 200);
        let seen = gw.origin.only_request();
        assert_eq!(seen.header("x-forwarded-for").as_deref(), Some("127.0.0.1"), "{name}: {value}");
        assert_eq!(seen.header("x-forwarded-proto").as_deref(), Some("http"));
        assert_eq!(seen.header("x-forwarded-host").as_deref(), Some("localhost"));
        assert!(!seen.contains("203.0.113.9") && !seen.contains("127.0.0.2"), "{seen:?}");
    }
    for line in gw.log(spoofed.len()).await {
        assert_eq!(line["client"], "127.0.0.1", "{line}");
    }
}

#[tokio::test]
async fn x1_behind_trusted_proxies_the_rightmost_untrusted_address_counts() {
    let gw = TestGateway::with(
        "server: { trusted_proxies: ['127.0.0.0/8', '10.0.0.0/8', '2001:db8::/32'] }\nroutes: { /top: { pipe: top } }",
    );
    let cases: [(&[&str], &str); 14] = [
        (&[], "127.0.0.1"),
        (&["203.0.113.9"], "203.0.113.9"),
        (&["198.51.100.1, 203.0.113.9"], "203.0.113.9"),
        (&["198.51.100.1, 203.0.113.9, 10.1.2.3"], "203.0.113.9"),
        (&["198.51.100.1,203.0.113.9 ,  10.1.2.3,127.0.0.5"], "203.0.113.9"),
        (&["198.51.100.1", "203.0.113.9"], "203.0.113.9"),
        (&["198.51.100.1, 203.0.113.9", "10.1.2.3"], "203.0.113.9"),
        (&["198.51.100.1, 203.0.113.9:4711"], "203.0.113.9"),
        (&["198.51.100.1, 2001:4860::1"], "2001:4860::1"),
        (&["198.51.100.1, [2001:4860::1]:4711, 2001:db8::1"], "2001:4860::1"),
        (&["198.51.100.1, ::ffff:203.0.113.9"], "203.0.113.9"),
        // What a trusted proxy cannot have written ends the search; what stands left of it is nobody's word.
        (&["198.51.100.1, unknown"], "127.0.0.1"),
        (&["198.51.100.1, , 10.1.2.3"], "10.1.2.3"),
        (&["198.51.100.1, 203.0.113.999, 10.1.2.3"], "10.1.2.3"),
    ];
    for (lines, client) in cases {
        gw.origin.forget_requests();
        let request = lines.iter().fold(Request::get("/top"), |request, line| request.header("X-Forwarded-For", line));
        assert_eq!(request.header("X-Forwarded-Proto", "https").send(gw.addr()).await.status, 200);
        let seen = gw.origin.only_request();
        let forwarded = seen.header("x-forwarded-for").unwrap_or_default();
        assert_eq!(forwarded.split(',').next().map(str::trim), Some(client), "{lines:?}");
        assert!(!seen.contains("198.51.100.1"), "{seen:?}");
        assert_eq!(seen.header("x-forwarded-proto").as_deref(), Some("https"));
        seen.assert_strictly_valid();
    }
    let log = gw.log(cases.len()).await;
    // Two threads may write their lines in another order than they answered.
    let mut clients: Vec<_> = log.iter().map(|line| line["client"].as_str().unwrap_or_default()).collect();
    let mut expected = cases.map(|case| case.1);
    clients.sort_unstable();
    expected.sort_unstable();
    assert_eq!(clients, expected);
}

#[tokio::test]
async fn x1_a_peer_outside_the_trusted_ranges_is_believed_nothing() {
    let gw = TestGateway::with("server: { trusted_proxies: ['10.0.0.0/8'] }\nroutes: { /top: { pipe: top } }");
    let request =
        Request::get("/top").header("X-Forwarded-For", "203.0.113.9, 10.0.0.1").header("X-Forwarded-Proto", "https");
    assert_eq!(request.send(gw.addr()).await.status, 200);
    let seen = gw.origin.only_request();
    assert_eq!(seen.header("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    assert_eq!(seen.header("x-forwarded-proto").as_deref(), Some("http"));
    assert_eq!(gw.log(1).await[0]["client"], "127.0.0.1");
}

#[tokio::test]
async fn the_limits_of_a_head_are_settings() {
    let gw = TestGateway::with("server: { max_uri: 1KiB, max_headers: 2KiB }\nroutes: { /top: { pipe: top } }");
    let target = |length: usize| format!("/top?a={}", "a".repeat(length - "/top?a=".len()));
    assert_eq!(gw.get(&target(1024)).await.status, 200);
    assert_refused(&gw.get(&target(1025)).await, 414, "uri_too_long");
    let headers = |length: usize| Request::get("/top").header("X-Fill", "a".repeat(length));
    assert_eq!(headers(1900).send(gw.addr()).await.status, 200);
    assert_refused(&headers(2048).send(gw.addr()).await, 431, "headers_too_large");
    let many = (0..60).fold(Request::get("/top"), |request, at| request.header(format!("X-{at}"), "a".repeat(40)));
    assert_refused(&many.send(gw.addr()).await, 431, "headers_too_large");
    assert_eq!(gw.origin.received_count(), 2);
    gw.assert_alive().await;
}

#[tokio::test]
async fn the_limit_of_a_body_is_a_setting() {
    let gw = TestGateway::with(
        "server: { max_body: 1KiB }\nroutes: { '/in/*': { proxy: '/{path.rest}', methods: [POST] } }",
    );
    let post = || Request::post("/in/x");
    assert_eq!(post().body("a".repeat(1024)).send(gw.addr()).await.status, 200);
    let chunk = [b'a'; 512];
    assert_eq!(post().chunked([&chunk[..], &chunk]).send(gw.addr()).await.status, 200);
    assert_eq!(gw.origin.received_count(), 2);
    gw.origin.forget_requests();
    assert_refused(&post().body("a".repeat(1025)).send(gw.addr()).await, 413, "body_too_large");
    assert_refused(&post().chunked([&chunk[..], &chunk, b"a"]).send(gw.addr()).await, 413, "body_too_large");
    assert!(gw.origin.received().iter().all(|seen| !seen.complete), "a body that is too large went up whole");
    gw.assert_alive().await;
}

#[tokio::test]
async fn a_larger_limit_lets_more_through() {
    let gw = TestGateway::with(
        "server: { max_uri: 40KiB, max_headers: 64KiB, max_body: 12MiB }\nroutes: { /top: { pipe: top }, '/in/*': { proxy: '/{path.rest}', methods: [POST] } }",
    );
    gw.origin.keep_body_bytes(0);
    assert_eq!(gw.get(&format!("/top?a={}", "a".repeat(30_000))).await.status, 200);
    assert_eq!(Request::get("/top").header("X-Fill", "a".repeat(50_000)).send(gw.addr()).await.status, 200);
    assert_eq!(Request::post("/in/x").body(vec![b'a'; 11 << 20]).send(gw.addr()).await.status, 200);
    assert_eq!(gw.origin.received()[2].body_length, 11 << 20);
}

#[tokio::test]
async fn h3_one_connection_serves_many_requests_refusals_between_them() {
    let gw = TestGateway::with("routes: { /top: { pipe: top } }");
    let mut client = RawClient::connect(gw.addr()).await;
    for round in 0..50 {
        let target = format!("/top?round={round}");
        let response = Request::get(&target).send_on(&mut client).await;
        assert_eq!(response.status, 200, "round {round}");
        response.assert_strictly_valid();
        // Refusals of requests that have no body leave the connection as it was.
        assert_refused(&Request::get("/nothing").send_on(&mut client).await, 404, "route_not_found");
        assert_refused(&Request::new("DELETE", "/top").send_on(&mut client).await, 405, "method_not_allowed");
        assert_refused(&Request::get("/top?q=1").send_on(&mut client).await, 400, "control_parameter");
        let form = format!("round={round}");
        assert_eq!(Request::post("/top").form(&form).send_on(&mut client).await.status, 200, "round {round}");
    }
    let seen = gw.origin.received();
    assert_eq!(seen.len(), 100);
    for (at, seen) in seen.iter().enumerate() {
        let round = format!("round={}", at / 2);
        assert!(seen.query.as_deref() == Some(&round) || seen.body_text() == round, "{seen:?}");
    }
    gw.origin.assert_strictly_valid();
    assert_eq!(gw.origin.connections(), 1, "connections to the upstream are reused");
}

#[tokio::test]
async fn a_caller_who_wants_to_close_is_closed() {
    let gw = TestGateway::with("routes: { /top: { pipe: top } }");
    for request in [Request::get("/top").close(), Request::get("/top").http10(), Request::get("/nothing").close()] {
        let mut client = RawClient::connect(gw.addr()).await;
        let response = request.send_on(&mut client).await;
        assert!([200, 404].contains(&response.status));
        client.wait_closed().await;
    }
    // HTTP/1.0 goes up as what the upstream speaks.
    assert!(gw.origin.received().iter().all(|seen| seen.version == "HTTP/1.1"));
    gw.origin.assert_strictly_valid();
}

#[tokio::test]
async fn http2_without_tls_is_served_beside_http1() {
    let gw = TestGateway::with("routes: { /top: { pipe: top, params: { fixed: { tenant_id: t1 } } } }");
    let client = H2Client::connect(gw.addr()).await;
    let calls: Vec<_> = (0..20)
        .map(|at| {
            let client = client.clone();
            tokio::spawn(async move { client.get(&format!("/top?at={at}&tenant_id=evil")).await })
        })
        .collect();
    for call in calls {
        let response = call.await.expect("the call ends");
        assert_eq!((response.status, response.body_text().as_str()), (200, r#"{"data":[],"rows":0}"#));
        assert!(response.header("x-request-id").is_some());
        assert_eq!(response.header("server"), None);
    }
    let mut form = H2Client::build("POST", "/top");
    form.headers_mut().insert("content-type", "application/x-www-form-urlencoded".parse().expect("a value"));
    let response = client.request(form, Some(Bytes::from_static(b"at=20&tenant_id=evil"))).await;
    assert_eq!(response.status, 200);
    let seen = gw.origin.received();
    assert_eq!(seen.len(), 21);
    for seen in &seen {
        assert!(!seen.contains("evil"), "{seen:?}");
        assert_eq!(seen.query_values("tenant_id"), ["t1"]);
        assert_eq!(seen.header("x-forwarded-host").as_deref(), Some("localhost"));
    }
    gw.origin.assert_strictly_valid();
    // Refusals have the same shape.
    for (path, status, code) in [
        ("/nothing", 404, "route_not_found"),
        ("/top?q=1", 400, "control_parameter"),
        ("/%2e%2e/top", 400, "bad_request"),
    ] {
        let response = client.get(path).await;
        assert_eq!((response.status, response.json()["code"].as_str()), (status, Some(code)));
        assert_eq!(response.json()["request_id"].as_str(), response.header("x-request-id").as_deref());
        assert!(!response.body_text().contains(TOKEN));
    }
    let response = client.request(H2Client::build("DELETE", "/top"), None).await;
    assert_eq!((response.status, response.header("allow").as_deref()), (405, Some("GET, HEAD, POST")));
    let mut large = H2Client::build("POST", "/top");
    large.headers_mut().insert("content-type", "application/x-www-form-urlencoded".parse().expect("a value"));
    let response = client.request(large, Some(Bytes::from(vec![b'a'; 61 * 1024]))).await;
    assert_eq!((response.status, response.json()["code"].as_str()), (413, Some("body_too_large")));
    // After all of it the connection still works.
    assert_eq!(client.get("/top").await.status, 200);
    assert_eq!(client.request(H2Client::build("HEAD", "/top"), None).await.status, 200);
}

#[tokio::test]
async fn a_silent_connection_is_closed_once_its_time_is_over() {
    let gw = TestGateway::with("server: { keepalive: 1s }\nroutes: { /top: { pipe: top } }");
    // Nothing, less than HTTP/2's preface, and its beginning; the kit waits ten seconds at most.
    let mut silent = Vec::new();
    for start in ["", "GE", "PRI * HTTP/2.0"] {
        let mut client = RawClient::connect(gw.addr()).await;
        client.send(start).await;
        silent.push(client);
    }
    // After a request as well.
    let mut client = RawClient::connect(gw.addr()).await;
    assert_eq!(Request::get("/top").send_on(&mut client).await.status, 200);
    silent.push(client);
    for mut client in silent {
        client.wait_closed().await;
    }
    gw.assert_alive().await;
}

#[tokio::test]
async fn d6_a_head_that_drips_has_an_end_and_a_slow_answer_has_not() {
    let gw = TestGateway::with("server: { keepalive: 1s }\nroutes: { /top: { pipe: top }, /slow: { pipe: slow } }");
    gw.origin.on_path("/v0/pipes/slow", Answer::ok().delay(Duration::from_millis(3500)));
    let addr = gw.addr();
    let slow = tokio::spawn(async move { Request::get("/slow").send(addr).await });
    let head = format!("GET /top HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "a".repeat(40));
    let mut first = RawClient::connect(gw.addr()).await;
    let dripped = first.send_slowly(head.as_bytes(), Duration::from_millis(100)).await;
    assert!((1..head.len()).contains(&dripped), "{dripped} of {} bytes were taken", head.len());
    // The same on a connection that has served a request.
    let mut second = RawClient::connect(gw.addr()).await;
    assert_eq!(Request::get("/top").send_on(&mut second).await.status, 200);
    let dripped = second.send_slowly(head.as_bytes(), Duration::from_millis(100)).await;
    assert!(dripped < head.len(), "{dripped} of {} bytes were taken", head.len());
    assert_eq!(slow.await.unwrap().status, 200);
    assert_eq!(gw.origin.received_count(), 2);
}

#[tokio::test]
async fn a_taken_port_is_an_error_at_once_and_free_again_afterwards() {
    let sections =
        |gw: &TestGateway| format!("listeners: [{{ address: '{}' }}]\nroutes: {{ /top: {{ pipe: top }} }}", gw.addr());
    let gw = TestGateway::with("routes: { /top: { pipe: top } }");
    let text = sections(&gw);
    let refused = std::panic::catch_unwind(|| drop(TestGateway::with(&text))).expect_err("the port is taken");
    let message = refused.downcast_ref::<String>().map(String::as_str).unwrap_or_default();
    assert!(message.contains("cannot listen on"), "{message}");
    assert_eq!(gw.get("/top").await.status, 200);
    assert_eq!(gw.origin.received_count(), 1);
    // Connections that the gateway itself has closed linger in the kernel, and are no hindrance.
    assert_eq!(Request::get("/top").close().send(gw.addr()).await.status, 200);
    drop(gw);
    let gw = TestGateway::with(&text);
    assert_eq!(gw.get("/top").await.status, 200);
    assert_eq!(gw.origin.received_count(), 1);
}
