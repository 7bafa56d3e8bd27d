//! `routes`: which paths exist, and what each leads to.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::support::client::RawClient;
use crate::support::client::Request;
use crate::support::client::Response;
use crate::support::gateway::{TOKEN, TestGateway, assert_nothing_betrayed, assert_refused};
use crate::support::origin::Answer;
use crate::support::pattern;

const MIB: usize = 1024 * 1024;

#[tokio::test]
async fn a_pipe_answers_on_its_own_path_with_the_token_hidden() {
    let gw = TestGateway::with("routes: { /top: { pipe: top-10-products } }");
    let response = gw.get("/top?limit=5").await;
    assert_eq!(response.status, 200);
    assert_nothing_betrayed(&response);
    let seen = gw.origin.only_request();
    assert_eq!(seen.target, "/v0/pipes/top-10-products.json?limit=5");
    assert_eq!(seen.header("authorization"), Some(format!("Bearer {TOKEN}")));
    assert_eq!(seen.header("host"), Some(gw.origin.addr().to_string()));
    seen.assert_strictly_valid();
}

#[tokio::test]
async fn r2_only_configured_pipes_exist() {
    let gw = TestGateway::with("tinybird_api: true\nroutes: { /top: { pipe: top } }");
    for path in [
        "/v0/pipes/openapi.json",
        "/v0/pipes/top",
        "/v0/pipes",
        "/v0/sql",
        "/v0/tokens",
        "/v0/pipes/other.json",
        "/v0/pipes/top.csv",
        "/topX",
        "/top/",
        "/",
    ] {
        assert_refused(&gw.get(path).await, 404, "route_not_found");
    }
    gw.origin.assert_untouched();
    assert_eq!(gw.get("/v0/pipes/top.json").await.status, 200);
}

#[tokio::test]
async fn a_longer_shorter_or_differently_cased_path_is_another_path() {
    let gw = TestGateway::with("routes: { /top-10-products: { pipe: top-10-products } }");
    for path in [
        "/top-10-productsX",
        "/top-10-product",
        "/top-10-products/",
        "/top-10-products/x",
        "/top-10-products.json",
        "/Top-10-Products",
        "/top-10-products;x",
        "/x/top-10-products",
        "/*",
        "*",
    ] {
        let response = gw.get(path).await;
        assert!([400, 404].contains(&response.status), "{path}: {response:?}");
        assert_nothing_betrayed(&response);
    }
    gw.origin.assert_untouched();
    gw.assert_alive().await;
    assert_eq!(gw.get("/top-10-products?").await.status, 200);
    assert_eq!(gw.origin.only_request().path, "/v0/pipes/top-10-products.json");
}

#[tokio::test]
async fn an_encoded_spelling_of_a_path_is_the_same_path() {
    let gw = TestGateway::with("routes: { /top: { pipe: top } }");
    assert_eq!(gw.get("/t%6Fp?a=1").await.status, 200);
    assert_eq!(gw.get("/%74%6f%70?a=1").await.status, 200);
    for seen in gw.origin.received() {
        assert_eq!(seen.target, "/v0/pipes/top.json?a=1");
    }
}

#[tokio::test]
async fn r1_a_capture_is_one_plain_word() {
    let gw = TestGateway::with(
        "routes: { '/reports/{report}.csv': { pipe: 'report_{path.report}', formats: [csv] }, '/r/{a}': { pipe: 'p_{path.a}' } }",
    );
    assert_eq!(gw.get("/reports/sales_2024-q1.csv?x=1").await.status, 200);
    assert_eq!(gw.origin.only_request().target, "/v0/pipes/report_sales_2024-q1.csv?x=1");
    gw.origin.forget_requests();
    for path in [
        "/reports/.csv",
        "/reports/a.b.csv",
        "/reports/a/b.csv",
        "/reports/a%2Fb.csv",
        "/reports/a%2e%2e.csv",
        "/reports/a%20b.csv",
        "/reports/a+b.csv",
        "/reports/a&b.csv",
        "/reports/a%3Fb.csv",
        "/reports/a%23b.csv",
        "/reports/%C3%A9.csv",
        "/reports/sales.json",
        "/reports/sales",
        "/r/",
        "/r/a.json",
        "/r/a.csv%3f",
        "/r/..",
        "/r/a%3Fq=1",
        "/r/a/",
    ] {
        let response = gw.get(path).await;
        assert!([400, 404].contains(&response.status), "{path}: {response:?}");
        let code = if response.status == 400 { "bad_request" } else { "route_not_found" };
        assert_refused(&response, response.status, code);
    }
    gw.origin.assert_untouched();
    gw.assert_alive().await;
}

#[tokio::test]
async fn the_most_specific_path_wins() {
    let gw = TestGateway::with(
        "routes: { /a/b: { pipe: exact }, '/a/{x}': { pipe: 'capture_{path.x}' }, '/a/*': { proxy: '/rest/{path.rest}' } }",
    );
    for (path, target) in
        [("/a/b", "/v0/pipes/exact.json"), ("/a/c", "/v0/pipes/capture_c.json"), ("/a/c/d", "/rest/c/d")]
    {
        gw.origin.forget_requests();
        assert_eq!(gw.get(path).await.status, 200, "{path}");
        assert_eq!(gw.origin.only_request().target, target);
    }
}

#[tokio::test]
async fn formats_open_the_path_with_each_extension() {
    let gw = TestGateway::with(
        "routes: { /top: { pipe: top, formats: [json, csv] }, /rows: { pipe: rows, formats: [ndjson] } }",
    );
    for (path, target) in [
        ("/top", "/v0/pipes/top.json"),
        ("/top.json", "/v0/pipes/top.json"),
        ("/top.csv", "/v0/pipes/top.csv"),
        ("/rows", "/v0/pipes/rows.ndjson"),
        ("/rows.ndjson", "/v0/pipes/rows.ndjson"),
    ] {
        gw.origin.forget_requests();
        assert_eq!(gw.get(path).await.status, 200, "{path}");
        assert_eq!(gw.origin.only_request().target, target);
    }
    gw.origin.forget_requests();
    for path in ["/top.ndjson", "/top.parquet", "/rows.json", "/top.CSV", "/top.csv.json", "/top.", "/top.xml"] {
        assert_refused(&gw.get(path).await, 404, "route_not_found");
    }
    gw.origin.assert_untouched();
}

#[tokio::test]
async fn bytes_of_another_format_pass_untouched() {
    let gw = TestGateway::with("routes: { /rows: { pipe: rows, formats: [csv, ndjson] } }");
    let csv = "id,name\r\n9007199254740993,\"a,b\"\n18446744073709551615,\u{e9}\n";
    let lines = "{\"id\":9007199254740993}\n{\"id\":1.10}\n\n";
    gw.origin.on_path("/v0/pipes/rows.csv", Answer::with_body(200, "text/csv; charset=utf-8", csv));
    gw.origin.on_path("/v0/pipes/rows.ndjson", Answer::with_body(200, "application/x-ndjson", lines));
    let response = gw.get("/rows.csv").await;
    assert_eq!((response.status, response.body.as_slice()), (200, csv.as_bytes()));
    assert_eq!(response.header("content-type").as_deref(), Some("text/csv; charset=utf-8"));
    assert_eq!(gw.get("/rows.ndjson").await.body, lines.as_bytes());
}

#[tokio::test]
async fn other_methods_are_refused_with_allow() {
    let gw = TestGateway::with(
        "routes: { /top: { pipe: top }, /get: { pipe: top, methods: [GET] }, '/p/*': { proxy: '/{path.rest}' } }",
    );
    for method in ["DELETE", "PUT", "PATCH", "TRACE", "OPTIONS", "PURGE", "get", "BREW"] {
        let response = Request::new(method, "/top").send(gw.addr()).await;
        assert_refused(&response, 405, "method_not_allowed");
        assert_eq!(allowed(&response), ["GET", "HEAD", "POST"], "{method}");
    }
    assert_refused(&Request::post("/get").body("").send(gw.addr()).await, 405, "method_not_allowed");
    let response = Request::post("/p/x").body("").send(gw.addr()).await;
    assert_refused(&response, 405, "method_not_allowed");
    assert_eq!(allowed(&response), ["GET", "HEAD"]);
    // A path that does not exist has no methods.
    assert_refused(&Request::new("DELETE", "/nothing").send(gw.addr()).await, 404, "route_not_found");
    gw.origin.assert_untouched();
    gw.assert_alive().await;
}

#[tokio::test]
async fn a_refused_method_with_a_body_does_not_poison_the_connection() {
    let gw = TestGateway::with("routes: { /top: { pipe: top } }");
    let mut client = RawClient::connect(gw.addr()).await;
    let response = Request::new("DELETE", "/top")
        .body("GET /top?smuggled=1 HTTP/1.1\r\nHost: a\r\n\r\n")
        .send_on(&mut client)
        .await;
    assert_refused(&response, 405, "method_not_allowed");
    // Either the connection is over, or the next request on it gets its own answer.
    if client.try_send(Request::get("/top?second=1").bytes()).await.is_ok()
        && let Ok(response) = client.try_read_response().await
    {
        assert_eq!(response.status, 200);
        assert_eq!(gw.origin.only_request().target, "/v0/pipes/top.json?second=1");
    }
    assert!(gw.origin.received().iter().all(|seen| !seen.contains("smuggled")));
    gw.assert_alive().await;
}

#[tokio::test]
async fn head_answers_without_a_body() {
    let gw = TestGateway::with("routes: { /top: { pipe: top } }");
    let mut client = RawClient::connect(gw.addr()).await;
    let response = Request::head("/top?limit=5").send_on(&mut client).await;
    assert_eq!(response.status, 200);
    assert!(response.body.is_empty());
    // No byte of a body came: the next answer starts where it should.
    let next = Request::get("/top").send_on(&mut client).await;
    assert_eq!((next.status, next.body_text().as_str()), (200, r#"{"data":[],"rows":0}"#));
    let seen = gw.origin.received();
    assert_eq!((seen[0].method.as_str(), seen[0].target.as_str()), ("HEAD", "/v0/pipes/top.json?limit=5"));
    // A refusal of HEAD has no body either.
    let mut client = RawClient::connect(gw.addr()).await;
    let response = Request::head("/nothing").send_on(&mut client).await;
    assert_eq!(response.status, 404);
    assert_eq!(response.header("content-type").as_deref(), Some("application/json"));
    assert_nothing_betrayed(&response);
    assert_eq!(Request::get("/top").send_on(&mut client).await.status, 200);
}

#[tokio::test]
async fn a_proxy_route_rewrites_the_path_and_nothing_else() {
    let gw = TestGateway::with(
        "routes: { '/ch/*': { proxy: '/{path.rest}' }, '/v1/{id}/rows': { proxy: '/api/{path.id}' }, '/under/*': { proxy: '/deep/er/{path.rest}' } }",
    );
    for (target, upstream) in [
        ("/ch/a/b?x=1&y=2", "/a/b?x=1&y=2"),
        ("/ch/a.b/c-d_e~f", "/a.b/c-d_e~f"),
        ("/v1/42/rows", "/api/42"),
        ("/v1/42/rows?x=%26", "/api/42?x=%26"),
        ("/under/x/y/", "/deep/er/x/y/"),
    ] {
        gw.origin.forget_requests();
        assert_eq!(gw.get(target).await.status, 200, "{target}");
        let seen = gw.origin.only_request();
        assert_eq!(seen.target, upstream);
        assert_eq!(seen.header("authorization"), Some(format!("Bearer {TOKEN}")));
        seen.assert_strictly_valid();
    }
    gw.origin.forget_requests();
    assert_refused(&gw.get("/ch").await, 404, "route_not_found");
    gw.origin.assert_untouched();
}

#[tokio::test]
async fn r1_h5_a_tail_is_decoded_once_and_encoded_again() {
    let gw = TestGateway::with("routes: { '/ch/*': { proxy: '/base/{path.rest}' } }");
    for (tail, upstream) in [
        ("a%20b", "/base/a%20b"),
        ("a%3Fb", "/base/a%3Fb"),
        ("a%23b", "/base/a%23b"),
        ("a%25b", "/base/a%25b"),
        ("a%2541", "/base/a%2541"),
        ("%c3%a9", "/base/%C3%A9"),
        ("%41", "/base/A"),
        ("a%22%3C%3E%7B%7D", "/base/a%22%3C%3E%7B%7D"),
    ] {
        gw.origin.forget_requests();
        assert_eq!(gw.get(&format!("/ch/{tail}")).await.status, 200, "{tail}");
        let seen = gw.origin.only_request();
        assert_eq!(seen.target, upstream, "{tail}");
        seen.assert_strictly_valid();
    }
    gw.origin.forget_requests();
    for tail in
        ["../x", "%2e%2e/x", "a/../../x", "a%2f..%2fx", "a%5cb", "a//b", "/a", "a%00b", "a%0d%0aX-Evil:%201", "."]
    {
        assert_refused(&gw.get(&format!("/ch/{tail}")).await, 400, "bad_request");
    }
    gw.origin.assert_untouched();
    gw.assert_alive().await;
}

#[tokio::test]
async fn p5_l5_a_proxy_route_keeps_the_hygiene_of_parameters() {
    let gw = TestGateway::with(
        "routes: { '/ch/*': { proxy: '/{path.rest}', params: { allow: [query_id, tenant], fixed: { tenant: t1 }, default: { limit: 7 } } }, '/any/*': { proxy: '/{path.rest}' } }",
    );
    assert_eq!(gw.get("/ch/x?query_id=q&tenant=evil&ten%61nt=evil&tenant[]=evil&token=evil").await.status, 200);
    let seen = gw.origin.only_request();
    assert_eq!(seen.query_values("tenant"), ["t1"]);
    assert_eq!(seen.query_values("query_id"), ["q"]);
    assert_eq!(seen.query_values("limit"), ["7"]);
    assert!(!seen.contains("evil"), "{seen:?}");
    gw.origin.forget_requests();
    assert_refused(&gw.get("/any/x?query_id=q").await, 400, "control_parameter");
    assert_refused(&gw.get("/any/x?__tb__x=q").await, 400, "control_parameter");
    gw.origin.assert_untouched();
    assert_eq!(gw.get("/any/x?a=1&TOKEN=evil&%74oken=evil").await.status, 200);
    assert_eq!(gw.origin.only_request().target, "/x?a=1");
}

#[tokio::test]
async fn p4_a_body_of_a_get_says_nothing_that_the_query_may_not() {
    let gw = TestGateway::with(
        "routes:
  /open: { proxy: /open }
  /fixed: { proxy: /fixed, params: { fixed: { query: SELECT 1 } } }
  /closed: { proxy: /closed, params: { allow: [query_id] }, methods: [GET, POST] }",
    );
    for target in ["/fixed", "/closed", "/closed?query_id=1"] {
        for method in ["GET", "HEAD"] {
            let request = Request::new(method, target);
            let sql = b" UNION ALL SELECT * FROM secrets".as_slice();
            for request in [request.clone().typed_body("text/plain", sql), request.clone().chunked([sql])] {
                assert_eq!(request.send(gw.addr()).await.status, 415, "{request:?}");
            }
            gw.origin.assert_untouched();
        }
    }
    assert_eq!(gw.get("/fixed").await.status, 200);
    assert_eq!(gw.post("/closed", "text/plain", b"x").await.status, 200);
    assert_eq!(Request::get("/open").typed_body("text/plain", "x").send(gw.addr()).await.status, 200);
}

#[tokio::test]
async fn a_proxy_body_travels_as_bytes() {
    let gw = TestGateway::with("routes: { '/in/*': { proxy: '/{path.rest}', methods: [POST, PUT] } }");
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(b"{\"id\":9007199254740993}\n").expect("memory takes it");
    let packed = encoder.finish().expect("memory takes it");
    let headers =
        |request: Request| request.header("Content-Type", "application/x-ndjson").header("Content-Encoding", "gzip");
    let response = headers(Request::post("/in/events?name=a")).body(&packed).send(gw.addr()).await;
    assert_eq!(response.status, 200);
    let seen = gw.origin.only_request();
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/events?name=a"));
    assert_eq!(seen.body, packed);
    assert_eq!(seen.header("content-encoding").as_deref(), Some("gzip"));
    assert_eq!(seen.header("content-type").as_deref(), Some("application/x-ndjson"));
    seen.assert_strictly_valid();

    // The same in chunks; any bytes, any type, PUT.
    gw.origin.forget_requests();
    let bytes = pattern::bytes(200_000);
    let request = Request::new("PUT", "/in/x").header("Content-Type", "application/octet-stream");
    let response = request.chunked(bytes.chunks(7_777)).send(gw.addr()).await;
    assert_eq!(response.status, 200);
    let seen = gw.origin.only_request();
    assert_eq!(seen.method, "PUT");
    assert!(seen.body == bytes, "the body changed on its way");
    seen.assert_strictly_valid();

    // What looks like parameters is none here, and stays as it was written.
    gw.origin.forget_requests();
    let form = "q=SELECT+1&token=mine&a=%2f&a=1;b";
    assert_eq!(Request::post("/in/x").form(form).send(gw.addr()).await.status, 200);
    assert_eq!(gw.origin.only_request().body_text(), form);
}

#[tokio::test]
async fn an_empty_and_a_missing_body_pass_a_proxy_route() {
    let gw = TestGateway::with("routes: { '/in/*': { proxy: '/{path.rest}', methods: [GET, POST, DELETE] } }");
    for request in [
        Request::post("/in/x").body(""),
        Request::post("/in/x"),
        Request::post("/in/x").chunked([]),
        Request::new("DELETE", "/in/x"),
        Request::get("/in/x"),
    ] {
        gw.origin.forget_requests();
        assert_eq!(request.send(gw.addr()).await.status, 200);
        let seen = gw.origin.only_request();
        assert_eq!(seen.body_length, 0);
        seen.assert_strictly_valid();
    }
}

#[tokio::test]
async fn a_proxy_body_ends_at_ten_mebibytes() {
    let gw = TestGateway::with("routes: { '/in/*': { proxy: '/{path.rest}', methods: [POST] } }");
    gw.origin.keep_body_bytes(11 * MIB);
    let whole = pattern::bytes(10 * MIB as u64);
    let post = || Request::post("/in/x").header("Content-Type", "application/octet-stream");
    assert_eq!(post().body(&whole).send(gw.addr()).await.status, 200);
    assert!(gw.origin.only_request().body == whole, "the body changed on its way");
    gw.origin.forget_requests();

    let more = pattern::bytes(11 * MIB as u64);
    assert_refused(&post().body(&more).send(gw.addr()).await, 413, "body_too_large");
    assert_refused(&post().body(&more[..10 * MIB + 1]).send(gw.addr()).await, 413, "body_too_large");
    gw.origin.assert_untouched();
    // Only the count tells here: the upstream may have seen the beginning, never a whole request.
    let response = post().chunked(more.chunks(64 * 1024)).send(gw.addr()).await;
    assert_refused(&response, 413, "body_too_large");
    assert!(gw.origin.received().iter().all(|seen| !seen.complete), "the origin took a cut body for a whole one");
    gw.assert_alive().await;
    assert_eq!(post().body("x").send(gw.addr()).await.status, 200);
}

#[tokio::test]
async fn only_listed_headers_pass_and_pass_headers_adds_to_them() {
    let gw = TestGateway::with(
        "routes: { '/ch/*': { proxy: '/{path.rest}', pass_headers: [X-Trace] }, /top: { pipe: top, pass_headers: [X-Trace] }, /bare: { pipe: top } }",
    );
    let headers = [
        ("Accept", "application/json"),
        ("Accept-Language", "de"),
        ("If-None-Match", "\"abc\""),
        ("Range", "bytes=0-1"),
        ("X-Trace", "t-1"),
        ("Cookie", "session=evil"),
        ("Authorization", "Bearer evil"),
        ("Proxy-Authorization", "Basic evil"),
        ("X-API-Key", "evil"),
        ("X-Tinybird-Something", "evil"),
        ("X-ClickHouse-Key", "evil"),
        ("Forwarded", "for=evil"),
        ("X-Forwarded-For", "evil"),
        ("X-Forwarded-Host", "evil"),
        ("X-Real-IP", "evil"),
        ("Referer", "http://evil"),
        ("Origin", "http://evil"),
        ("User-Agent", "evil"),
        ("Via", "1.1 evil"),
        ("Upgrade", "evil"),
        ("tracestate", "evil=1"),
        ("X-Request-Id", "evil"),
    ];
    for (path, traced) in [("/ch/x", true), ("/top", true), ("/bare", false)] {
        gw.origin.forget_requests();
        let request = headers.iter().fold(Request::get(path), |request, (name, value)| request.header(name, value));
        assert_eq!(request.send(gw.addr()).await.status, 200);
        let seen = gw.origin.only_request();
        assert!(!seen.contains("evil"), "{seen:?}");
        assert_eq!(seen.header("x-trace").as_deref(), traced.then_some("t-1"));
        assert_eq!(seen.header("accept").as_deref(), Some("application/json"));
        assert_eq!(seen.header("accept-language").as_deref(), Some("de"));
        assert_eq!(seen.header("if-none-match").as_deref(), Some("\"abc\""));
        assert_eq!(seen.header("range").as_deref(), Some("bytes=0-1"));
        assert_eq!(seen.header("authorization"), Some(format!("Bearer {TOKEN}")));
        assert!(seen.header("user-agent").is_some_and(|agent| agent.starts_with("tollgate/")), "{seen:?}");
        seen.assert_strictly_valid();
    }
}

#[tokio::test]
async fn a_host_counts_without_case_port_and_trailing_dot() {
    let gw = TestGateway::with("routes: { /top: { pipe: top } }");
    let port = gw.addr().port();
    for host in [
        "localhost",
        "LOCALHOST",
        &format!("localhost:{port}"),
        "localhost.",
        &format!("LocalHost.:{port}"),
        "[::1]",
        "10.0.0.1",
    ] {
        gw.origin.forget_requests();
        let response = Request::get("/top").host(host).send(gw.addr()).await;
        assert_eq!(response.status, 200, "{host}");
        let seen = gw.origin.only_request();
        assert_eq!(seen.header("host"), Some(gw.origin.addr().to_string()));
        let forwarded = seen.header("x-forwarded-host").unwrap_or_default();
        if host.to_ascii_lowercase().starts_with("localhost") {
            assert_eq!(forwarded, "localhost", "{host}");
        }
    }
    gw.origin.forget_requests();
    let mut served = Vec::new();
    for host in [
        "",
        ":80",
        ".",
        "a b",
        "a/b",
        "a,b",
        "user@localhost",
        "a?b",
        "a#b",
        "a\\b",
        "a:b",
        "a:1:2",
        "a:-1",
        "%6cocalhost",
        "[::1",
        "[::1]80",
        "[::1]x",
        "[evil]",
        "[]",
        "[::1].x",
        "\u{e9}",
    ] {
        let response = Request::get("/top").host(host).send(gw.addr()).await;
        // What Pingora's parser refuses has no body.
        if response.status != 400 {
            served.push((host, response.status));
        }
    }
    assert_eq!(served, [], "what is no host was served");
    gw.origin.assert_untouched();
    gw.assert_alive().await;
}

/// The methods of `Allow`, in order of the alphabet.
fn allowed(response: &Response) -> Vec<String> {
    let allow = response.header("allow").expect("a 405 has Allow");
    let mut methods: Vec<String> = allow.split(',').map(|method| method.trim().to_owned()).collect();
    methods.sort();
    methods
}
