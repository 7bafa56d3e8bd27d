//! `white_label`: what of the upstream's answers may be seen, and what never.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};

use crate::support::client::{RawClient, Request, Response};
use crate::support::gateway::{TOKEN, TestGateway, assert_nothing_betrayed, assert_refused};
use crate::support::h2_client::H2Client;
use crate::support::origin::{Answer, At, GzipFault, Piece, Then};

const ROUTES: &str = "routes:
  /a: { pipe: a }
  /p: { proxy: /p, methods: [GET, HEAD, POST] }
  /ch/*: { proxy: '/in/{path.rest}', params: { allow: [x] } }
";

/// A credential without the shape of a token, so that only the tripwire can know it.
const PLAIN: &str = "correct-horse/battery+staple=";

/// What servers, proxies and vendors say about themselves, and what browsers would obey.
const FOREIGN: [&str; 37] = [
    "Server",
    "Via",
    "X-Powered-By",
    "Set-Cookie",
    "X-Tb-Request-Id",
    "X-ClickHouse-Summary",
    "X-ClickHouse-Server-Display-Name",
    "Link",
    "Refresh",
    "Alt-Svc",
    "Report-To",
    "NEL",
    "Strict-Transport-Security",
    "CF-Ray",
    "X-Amz-Request-Id",
    "P3P",
    "Access-Control-Allow-Origin",
    "Access-Control-Allow-Credentials",
    "Access-Control-Expose-Headers",
    "Timing-Allow-Origin",
    "Keep-Alive",
    "Proxy-Connection",
    "Proxy-Authenticate",
    "WWW-Authenticate",
    "Upgrade",
    "Trailer",
    "Content-Security-Policy",
    "X-Frame-Options",
    "X-Accel-Redirect",
    "X-Sendfile",
    "Server-Timing",
    "SourceMap",
    "Clear-Site-Data",
    "X-Request-Id",
    "X-Content-Type-Options",
    "traceparent",
    "Authorization",
];

fn sections(more: &str) -> String {
    format!(
        "upstreams: {{ t: {{ url: '{{origin}}', token: '{TOKEN}', headers: {{ X-Key: '{PLAIN}' }}, retry: {{ attempts: 1 }} }} }}
{ROUTES}{more}\n"
    )
}

fn gateway() -> TestGateway {
    TestGateway::with(&sections(""))
}

/// The answer to a call when the origin gives this one.
async fn through(gw: &TestGateway, answer: Answer) -> Response {
    gw.origin.script([answer]);
    let response = gw.get("/a").await;
    response.assert_strictly_valid();
    assert_nothing_betrayed(&response);
    assert_eq!(response.header("x-content-type-options").as_deref(), Some("nosniff"));
    assert!(response.header("x-request-id").is_some());
    response
}

#[tokio::test]
async fn l4_only_known_headers_leave() {
    let gw = gateway();
    let mut answer = Answer::ok().header("Cache-Control", "max-age=5").header("ETag", "\"e\"").header("Vary", "Accept");
    for name in FOREIGN {
        answer = answer.header(name, "Tinybird-was-here").header(name.to_lowercase(), "twice-Tinybird");
    }
    let response = through(&gw, answer).await;
    let mut names = response.header_names();
    names.sort();
    let known = [
        "cache-control",
        "connection",
        "content-length",
        "content-type",
        "date",
        "etag",
        "vary",
        "x-content-type-options",
        "x-request-id",
    ];
    names.retain(|name| name != "connection" && name != "date");
    let known: Vec<_> = known.into_iter().filter(|name| *name != "connection" && *name != "date").collect();
    assert_eq!(names, known);
    assert!(!response.contains("was-here") && !response.contains("twice"), "{response:#?}");
}

#[tokio::test]
async fn l4_what_is_no_request_is_refused_without_a_name() {
    let gw = gateway();
    for (bytes, status) in [
        ("GET /a HTTP/1.1\r\nHost: localhost\r\nX-A\x01: b\r\n\r\n", 400),
        ("GET /a HTTP/1.1\r\nHost: localhost\r\nHost: other\r\n\r\n", 400),
        ("no request\r\n\r\n", 400),
        ("CONNECT localhost:443 HTTP/1.1\r\nHost: localhost:443\r\n\r\n", 405),
    ] {
        // Also on a connection that has served others.
        for before in 0..3 {
            let mut client = RawClient::connect(gw.addr()).await;
            for _ in 0..before {
                assert_eq!(Request::get("/a").send_on(&mut client).await.status, 200);
            }
            client.send(bytes).await;
            let response = client.read_response().await;
            assert_eq!((response.status, response.body.len()), (status, 0), "{bytes:?}: {response:#?}");
            assert_nothing_betrayed(&response);
            let mut names = response.header_names();
            names.sort();
            assert_eq!(names, ["cache-control", "connection", "content-length"], "{bytes:?}");
            client.wait_closed().await;
        }
    }
    let client = H2Client::connect(gw.addr()).await;
    let tunnel = http::Request::builder().method("CONNECT").uri("localhost:443").body(()).unwrap();
    let refused = client.request(tunnel, None).await;
    assert_eq!((refused.status, refused.body.len(), refused.header("server")), (405, 0, None), "{refused:#?}");
    assert_eq!(client.get("/a").await.status, 200, "other requests of the connection go on");
}

#[tokio::test]
async fn l4_headers_that_connection_nominates_do_not_leave() {
    let gw = gateway();
    let answer = Answer::ok().header("Connection", "keep-alive, ETag").header("ETag", "\"hop\"");
    let response = through(&gw, answer).await;
    assert_eq!(response.status, 200);
    assert!(!response.header("connection").unwrap_or_default().contains("ETag"), "{response:#?}");
}

#[tokio::test]
async fn l4_the_upstreams_words_in_the_status_line_do_not_leave() {
    let gw = gateway();
    for reason in ["Tinybird says hello", TOKEN, PLAIN] {
        for status in [200, 404] {
            let response = through(&gw, Answer::json(status, "{}").reason(reason)).await;
            assert_eq!(response.status, status);
            assert!(!response.contains(reason), "{response:#?}");
        }
    }
}

#[tokio::test]
async fn l1_redirects_lead_nowhere_inside() {
    let gw = gateway();
    let origin = gw.origin.url();
    let authority = gw.origin.addr().to_string();
    let inside = [
        format!("{origin}/v0/pipes/b.json?token={TOKEN}"),
        format!("{origin}/v0/pipes/b.json?x=1"),
        format!("//{authority}/v0/x"),
        format!("HTTP://{authority}/v0/x"),
        format!("https://user:secret@{authority}/x"),
        "/v0/pipes/b.json?token=abc".to_owned(),
        "b.json?token=abc".to_owned(),
        "?token=abc".to_owned(),
        format!("http:\\\\{authority}\\x"),
        "http://127.0.0.1:1/internal".to_owned(),
        format!("http://127.0.0.1.:{}/x?token=abc", gw.origin.addr().port()),
        "https://api.eu.tinybird.co/v0/x?token=abc".to_owned(),
        "https://xyz.eu-west-1.aws.clickhouse.cloud/?x=1".to_owned(),
        "javascript:alert(1)".to_owned(),
        String::new(),
    ];
    for location in inside {
        for name in ["Location", "Content-Location"] {
            let response = through(&gw, Answer::status(302).header(name, &location)).await;
            assert_eq!(response.status, 302);
            assert_eq!(response.header(name), None, "{location}");
            assert!(!response.contains(&authority) && !response.contains("token="), "{location}: {response:#?}");
        }
    }
    // Two of them: none slips through behind the other.
    let answer = Answer::redirect("https://cdn.example.com/x").header("Location", format!("{origin}/?token=abc"));
    let response = through(&gw, answer).await;
    assert!(!response.contains(&authority) && !response.contains("token="), "{response:#?}");
    let response = through(&gw, Answer::ok().header("Link", format!("<{origin}/next>; rel=next"))).await;
    assert!(!response.contains(&authority), "{response:#?}");
}

#[tokio::test]
async fn l1_redirects_name_no_other_upstream() {
    let gw = TestGateway::with(
        "upstreams:
  t: { url: '{origin}' }
  events: { url: 'http://events.acme.internal:8123' }
  six: { url: 'http://[::1]:8123' }
routes: { /a: { pipe: a, upstream: t } }",
    );
    for host in ["events.acme.internal:8123", "EVENTS.acme.internal.", "[::1]:8123"] {
        let response = through(&gw, Answer::redirect(&format!("http://{host}/x?token=abc"))).await;
        assert_eq!((response.status, response.header("location")), (302, None), "{host}");
    }
    // A neighbour of theirs is another site.
    let other = "https://files.events.acme.internal/x?sig=1";
    assert_eq!(through(&gw, Answer::redirect(other)).await.header("location").as_deref(), Some(other));
}

#[tokio::test]
async fn l1_redirects_of_a_mapped_path_lead_to_the_public_one() {
    let gw = gateway();
    let cases = [
        (format!("{}/in/next?x=2&token=abc", gw.origin.url()), Some("/ch/next?x=2")),
        ("/in/next".to_owned(), Some("/ch/next")),
        ("/elsewhere".to_owned(), None),
        ("/in/../secret".to_owned(), None),
        ("/in/%2e%2e/secret".to_owned(), None),
        ("https://cdn.example.com/file?sig=1".to_owned(), Some("https://cdn.example.com/file?sig=1")),
    ];
    for (location, public) in cases {
        gw.origin.script([Answer::redirect(&location)]);
        let response = gw.get("/ch/here").await;
        assert_eq!((response.status, response.header("location").as_deref()), (302, public), "{location}");
        assert_nothing_betrayed(&response);
    }
}

#[tokio::test]
async fn l2_texts_of_client_errors_are_cleaned() {
    let gw = gateway();
    let cases = [
        ("Missing parameter 'start' (Date)", "Missing parameter 'start' (Date)"),
        ("see https://www.tinybird.co/docs?x=1 for help", "see [link] for help"),
        ("Tinybird and ClickHouse failed", "the service and the service failed"),
        ("token=abc.def is wrong", "token=*** is wrong"),
    ];
    for (text, cleaned) in cases {
        let body = serde_json::json!({ "error": text, "documentation": "https://www.tinybird.co/docs" }).to_string();
        for answer in [
            Answer::json(400, &body),
            Answer::json(400, &body).chunked(),
            Answer::json(400, &body).gzip(),
            Answer::json(400, &body).gzip().chunked(),
            Answer::json(400, &body).until_close(),
            Answer::json(400, &body).chunked().drip_body(std::time::Duration::from_millis(1)),
        ] {
            let response = through(&gw, answer).await;
            assert_eq!(response.status, 400);
            assert_eq!(response.header("content-type").as_deref(), Some("application/json"));
            assert_eq!(response.header("content-encoding"), None);
            let json = response.json();
            assert_eq!(json["error"], cleaned);
            assert_eq!(json["request_id"].as_str(), response.header("x-request-id").as_deref());
            assert!(json.get("documentation").is_none(), "{json}");
        }
    }
    let nested = r#"{"error":"bad","details":{"Documentation":"https://x","hint":["by Tinybird",{"url":"http://127.0.0.1:9/x"}]}}"#;
    let json = through(&gw, Answer::json(422, nested)).await.json();
    assert_eq!(json["details"], serde_json::json!({ "hint": ["by the service", { "url": "[link]" }] }));
}

#[tokio::test]
async fn l2_the_upstreams_address_does_not_stand_in_a_text() {
    let gw = gateway();
    let authority = gw.origin.addr().to_string();
    let body = serde_json::json!({ "error": format!("no route to {authority} from {}", gw.origin.url()) });
    let response = through(&gw, Answer::json(400, body.to_string())).await;
    assert!(!response.contains(&authority) && !response.contains("127.0.0.1"), "{response:#?}");
}

#[tokio::test]
async fn l2_texts_of_server_errors_are_replaced() {
    let gw = gateway();
    let text = r#"{"error":"DB::Exception: SELECT card FROM users WHERE name='bob'","sql":"SELECT 1"}"#;
    for status in [500, 501, 502, 503, 504, 507, 599] {
        for answer in [Answer::json(status, text), Answer::json(status, text).chunked().gzip()] {
            let response = through(&gw, answer.header("Retry-After", "3")).await;
            assert_eq!((response.status, response.header("retry-after").as_deref()), (status, Some("3")));
            assert!(!response.contains("SELECT") && !response.contains("bob"), "{response:#?}");
            let json = response.json();
            assert!(json["error"].as_str().is_some_and(|text| !text.is_empty()) && json.get("sql").is_none(), "{json}");
        }
    }
}

#[tokio::test]
async fn which_texts_pass_is_the_operators_choice() {
    let text = r#"{"error":"the words, see https://tinybird.co"}"#;
    for (choice, client, server) in [("all", true, true), ("4xx", true, false), ("none", false, false)] {
        let gw = TestGateway::with(&sections(&format!("white_label: {{ error_text: {choice} }}")));
        for (status, passes) in [(400, client), (429, client), (500, server), (503, server)] {
            let response = through(&gw, Answer::json(status, text)).await;
            assert_eq!(response.status, status);
            assert_eq!(response.json()["error"] == "the words, see [link]", passes, "{choice} {status}: {response:#?}");
        }
    }
}

#[tokio::test]
async fn u2_error_bodies_that_are_not_json_are_replaced() {
    let gw = gateway();
    let large = format!(r#"{{"error":"{}"}}"#, "mark ".repeat(20_000));
    let html = "<html><script>alert('mark')</script>Tinybird</html>";
    let answers = [
        Answer::with_body(404, "text/html", html),
        Answer::with_body(404, "application/json", html),
        Answer::with_body(404, "text/plain", "Code: 62. DB::Exception: mark"),
        Answer::with_body(404, "application/json", r#"["mark"]"#),
        Answer::with_body(404, "application/json", r#""mark""#),
        Answer::with_body(404, "application/json", r#"{"error":"mark""#),
        Answer::with_body(404, "application/json", b"{\"error\":\"mark\xff\"}"),
        Answer::with_body(404, "application/json", format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000))),
        Answer::json(404, &large),
        Answer::json(404, &large).chunked(),
        Answer::json(404, &large).gzip(),
        Answer::json(404, r#"{"error":"mark"}"#).broken_gzip(GzipFault::Checksum),
        Answer::json(404, r#"{"error":"mark"}"#).broken_gzip(GzipFault::NotGzip),
        Answer::json(404, r#"{"error":"mark"}"#).broken_gzip(GzipFault::Truncated),
        Answer::json(404, r#"{"error":"mark"}"#).header("Content-Encoding", "br"),
        Answer::json(404, r#"{"error":"mark"}"#).header("Content-Encoding", "gzip, gzip"),
        Answer::gzip_bomb(64 * 1024 * 1024).status_line("HTTP/1.1 404 Not Found"),
        Answer::with_body(404, "text/html", ""),
        Answer::with_body(404, "text/html", "").chunked(),
        Answer::with_body(404, "text/html", "").until_close(),
        Answer::stream(1024 * 1024).status_line("HTTP/1.1 404 Not Found"),
    ];
    for answer in answers {
        let response = through(&gw, answer.clone()).await;
        assert_eq!(response.status, 404, "{answer:?}");
        assert_eq!(response.header("content-type").as_deref(), Some("application/json"));
        assert!(!response.contains("mark"), "{answer:?}: {response:#?}");
        let json = response.json();
        assert!(json["error"].as_str().is_some_and(|text| !text.is_empty()), "{json}");
    }
}

#[tokio::test]
async fn errors_to_head_have_a_clean_head_and_no_body() {
    let gw = gateway();
    let answers = [
        Answer::json(404, r#"{"error":"x"}"#),
        Answer::json(500, r#"{"error":"x"}"#).chunked(),
        Answer::with_body(404, "text/html", ""),
        Answer::json(404, "{}").gzip(),
        Answer::json(400, "{}").until_close(),
    ];
    for answer in answers {
        gw.origin.script([answer.clone().header("Server", "x").header("ETag", "\"e\"")]);
        let response = Request::head("/a").send(gw.addr()).await;
        assert!(response.status >= 400 && response.body.is_empty(), "{answer:?}: {response:#?}");
        assert_eq!(response.header("content-type").as_deref(), Some("application/json"));
        assert_nothing_betrayed(&response);
        response.assert_strictly_valid();
    }
}

#[tokio::test]
async fn errors_reach_callers_of_every_protocol_whole() {
    let gw = gateway();
    let answers = [
        Answer::json(400, r#"{"error":"x"}"#),
        Answer::json(400, r#"{"error":"x"}"#).chunked(),
        Answer::with_body(400, "text/plain", ""),
    ];
    for answer in answers {
        gw.origin.script([answer.clone(), answer.clone()]);
        let old = Request::get("/a").http10().send(gw.addr()).await;
        assert_eq!(old.status, 400);
        old.assert_strictly_valid();
        assert!(old.headers_all("transfer-encoding").is_empty(), "{old:#?}");
        old.json();
        let new = H2Client::connect(gw.addr()).await.get("/a").await;
        assert_eq!((new.status, new.broken_off), (400, None));
        assert!(new.json()["error"].is_string());
        assert!(!new.headers.contains_key("transfer-encoding"), "{new:#?}");
    }
    gw.origin.script([Answer::ok().chunked()]);
    let old = Request::get("/a").http10().send(gw.addr()).await;
    old.assert_strictly_valid();
    assert_eq!(old.body_text(), r#"{"data":[],"rows":0}"#);
}

#[tokio::test]
async fn an_error_that_is_cut_is_still_an_error() {
    let gw = gateway();
    let long = format!(r#"{{"error":"{}"}}"#, "mark ".repeat(100));
    for then in [Then::Close, Then::Reset] {
        for answer in [Answer::json(400, &long), Answer::json(400, &long).chunked()] {
            gw.origin.script([answer.cut(At::HalfBody, then)]);
            let response = gw.get("/a").await;
            assert!(matches!(response.status, 400 | 502), "{response:#?}");
            assert!(!response.contains("mark"), "{response:#?}");
        }
    }
    gw.assert_alive().await;
}

#[tokio::test]
async fn the_upstreams_own_status_is_never_masked() {
    let gw = gateway();
    let bodied = (200..=203)
        .chain([206, 207, 226, 299])
        .chain(300..=303)
        .chain(305..=308)
        .chain(400..=451)
        .chain(500..=511)
        .chain([599]);
    for status in bodied {
        let response = through(&gw, Answer::status(status)).await;
        assert_eq!(response.status, status);
    }
}

#[tokio::test]
async fn answers_without_body_pass_clean() {
    let gw = gateway();
    for status in [204, 304] {
        let answer = Answer::status(status).header("ETag", "\"e\"").header("Server", "x");
        let response = through(&gw, answer).await;
        assert_eq!((response.status, response.header("etag").as_deref()), (status, Some("\"e\"")));
        assert!(response.body.is_empty() && response.headers_all("transfer-encoding").is_empty(), "{response:#?}");
    }
    gw.origin.forget_requests();
    gw.origin.script([Answer::status(304)]);
    Request::get("/a").header("If-None-Match", "\"e\"").send(gw.addr()).await;
    assert_eq!(gw.origin.only_request().header("if-none-match").as_deref(), Some("\"e\""));
}

#[tokio::test]
async fn ranges_pass() {
    let gw = gateway();
    let part = Answer::with_body(206, "text/csv", "2;3")
        .header("Content-Range", "bytes 2-4/10")
        .header("Accept-Ranges", "bytes");
    gw.origin.script([part]);
    let response = Request::get("/p").header("Range", "bytes=2-4").header("If-Range", "\"e\"").send(gw.addr()).await;
    assert_eq!((response.status, response.body_text()), (206, "2;3".to_owned()));
    assert_eq!(response.header("content-range").as_deref(), Some("bytes 2-4/10"));
    let seen = gw.origin.only_request();
    assert_eq!(seen.header("range").as_deref(), Some("bytes=2-4"));
    assert_eq!(seen.header("if-range").as_deref(), Some("\"e\""));
}

/// The ways in which a credential may be written.
fn writings(credential: &str) -> Vec<String> {
    let percent = |byte: u8| format!("%{byte:02x}");
    vec![
        credential.to_owned(),
        form_urlencoded::byte_serialize(credential.as_bytes()).collect(),
        credential
            .bytes()
            .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { percent(byte) })
            .collect(),
        STANDARD.encode(credential),
        URL_SAFE.encode(credential),
        URL_SAFE_NO_PAD.encode(credential),
        STANDARD.encode(format!("u:{credential}")),
        STANDARD.encode(format!("us:{credential}")),
        STANDARD.encode(format!("user:{credential}:x")),
    ]
}

#[tokio::test]
async fn l1_a_credential_in_a_header_holds_the_answer_back() {
    let gw = gateway();
    let mut trips = 0.0;
    for credential in [TOKEN, PLAIN] {
        for written in writings(credential) {
            for (name, value) in
                [("ETag", format!("\"{written}\"")), ("Location", format!("https://example.com/?t={written}"))]
            {
                gw.origin.script([Answer::json(302, "{}").header(name, value)]);
                let response = gw.get("/a").await;
                assert!(!response.contains(&written), "{written}: {response:#?}");
                assert_refused(&response, 502, "upstream_failed");
                trips += 1.0;
            }
        }
    }
    assert_eq!(gw.metric("tollgate_tripwire_total").await, trips);
    gw.origin.script([Answer::ok().header("ETag", "\"v1\"").header("ETag", format!("\"{PLAIN}\""))]);
    let response = gw.get("/a").await;
    assert!(!response.contains(PLAIN), "{response:#?}");
}

#[tokio::test]
async fn l2_a_credential_in_an_error_is_held_back() {
    let gw = TestGateway::with(&sections("white_label: { error_text: all }"));
    let mut trips = 0.0;
    for credential in [TOKEN, PLAIN] {
        for written in writings(credential) {
            let body = serde_json::json!({ "error": format!("the key {written} is wrong"), "mark": 1 }).to_string();
            let (first, second) = body.split_at(body.find(&written).unwrap() + 5);
            let halves = [Piece::bytes(first), Piece::bytes(second)];
            let answers = [
                Answer::json(401, &body),
                Answer::json(500, &body).gzip(),
                Answer::json(403, "").pieces(halves).chunked(),
            ];
            for answer in answers {
                gw.origin.script([answer.clone()]);
                let response = gw.get("/a").await;
                assert!(!response.contains(&written) && !response.contains("mark"), "{answer:?}: {response:#?}");
                assert!(response.status >= 400);
                response.assert_strictly_valid();
                trips += 1.0;
            }
        }
    }
    assert_eq!(gw.metric("tollgate_tripwire_total").await, trips);
    assert!(gw.log(1).await[0]["fault"].is_string());
}

#[tokio::test]
async fn l2_a_credential_behind_json_escapes_is_held_back() {
    let gw = TestGateway::with(&sections("white_label: { error_text: all }"));
    for escaped in [PLAIN.replace('/', "\\/"), PLAIN.replace('-', "\\u002d"), PLAIN.replace('c', "\\u0063")] {
        for body in [format!(r#"{{"error":"{escaped}"}}"#), format!(r#"{{"error":"x","{escaped}":1}}"#)] {
            gw.origin.script([Answer::json(401, body)]);
            let response = gw.get("/a").await;
            assert!(!response.contains(PLAIN) && !response.contains(&escaped), "{escaped}: {response:#?}");
        }
    }
}

#[tokio::test]
async fn informational_answers_carry_nothing() {
    let gw = gateway();
    let hint =
        format!("HTTP/1.1 103 Early Hints\r\nLink: <{}/x?token={TOKEN}>\r\nServer: Tinybird\r\n\r\n", gw.origin.url());
    gw.origin.script([Answer::ok().lead_bytes(hint)]);
    let response = gw.get("/a").await;
    assert_eq!(response.status, 200);
    assert_nothing_betrayed(&response);
    assert!(response.informational.iter().all(|informational| informational.headers.is_empty()), "{response:#?}");
}

const SENTENCES: &str = r#"white_label:
  error_text: 4xx
  errors:
    route_not_found: Hier ist nichts.
    control_parameter: Das geht nicht.
    upstream_error: Das hat nicht geklappt.
    upstream_failed: Niemand da.
hosts:
  a.example.com: {}
  b.example.com:
    errors: { control_parameter: "Not that one: help@b.example.com", upstream_error: "It \"failed\"." }
"#;

fn said(response: &Response) -> String {
    response.json()["error"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn each_host_speaks_in_its_own_words_and_no_other_does() {
    let gw = TestGateway::with(&sections(SENTENCES));
    let ask = async |host: &'static str, target: &'static str| Request::get(target).host(host).send(gw.addr()).await;
    for (host, target, status, code, sentence) in [
        ("a.example.com", "/a?q=1", 400, "control_parameter", "Das geht nicht."),
        ("b.example.com", "/a?q=1", 400, "control_parameter", "Not that one: help@b.example.com"),
        ("a.example.com", "/nowhere", 404, "route_not_found", "Hier ist nichts."),
        ("b.example.com", "/nowhere", 404, "route_not_found", "Hier ist nichts."),
        // One that is not served speaks as is said in general.
        ("c.example.com", "/a", 404, "route_not_found", "Hier ist nichts."),
    ] {
        let response = ask(host, target).await;
        assert_refused(&response, status, code);
        assert_eq!(said(&response), sentence, "{host} {target}");
    }
    // What nobody has a sentence for, the gateway says as ever.
    let response = Request::post("/a").host("a.example.com").body("x").send(gw.addr()).await;
    assert_refused(&response, 415, "unsupported_body");
    assert!(said(&response).is_ascii() && said(&response).len() > 10);
}

#[tokio::test]
async fn an_upstreams_error_whose_text_does_not_pass_is_told_in_the_hosts_words() {
    let gw = TestGateway::with(&sections(SENTENCES));
    let ask = async |host: &'static str, answer: Answer| {
        gw.origin.script([answer]);
        Request::get("/a").host(host).send(gw.addr()).await
    };
    let failed = || Answer::json(500, r#"{"error":"DB::Exception: SELECT 1"}"#);
    for (host, sentence) in [("a.example.com", "Das hat nicht geklappt."), ("b.example.com", r#"It "failed"."#)] {
        let response = ask(host, failed()).await;
        assert_refused(&response, 500, "upstream_error");
        assert_eq!(said(&response), sentence);
    }
    // A text that passes is the upstream's, and stays.
    let response = ask("b.example.com", Answer::json(400, r#"{"error":"limit must be a number"}"#)).await;
    assert_eq!(said(&response), "limit must be a number");
    // One without any text is told in words of our own, and so is an answer that breaks.
    let response = ask("b.example.com", Answer::status(503)).await;
    assert_eq!((response.status, said(&response)), (503, r#"It "failed"."#.to_owned()));
    let response = ask("a.example.com", Answer::reset()).await;
    assert_refused(&response, 502, "upstream_failed");
    assert_eq!(said(&response), "Niemand da.");
}

#[tokio::test]
async fn a_reload_changes_the_words_at_once() {
    let gw = TestGateway::from_file(&sections(""), tollgate::clock::Clock::system());
    assert_eq!(said(&gw.get("/nowhere").await), "There is nothing at this address.");
    gw.rewrite(&sections("white_label: { errors: { route_not_found: Hier ist nichts. } }"));
    assert_eq!(gw.reload().await.status, 200);
    assert_eq!(said(&gw.get("/nowhere").await), "Hier ist nichts.");
}
