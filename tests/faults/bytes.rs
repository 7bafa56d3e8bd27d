//! Bytes that are no UTF-8, and text that is no text, wherever a caller can put them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::stand::{Stand, TOKEN, assert_none_wrong, refusal};
use crate::support::client::{RawClient, Request, Response};
use crate::support::credentials::{ISSUER, SECRET, claims_with, hs256, mac};
use crate::support::h2_client::{Fields, H2Outcome, RawH2Client};

/// A request, and the statuses that are right for it.
type Row = (&'static str, Request, &'static [u16]);

fn row(name: &'static str, request: Request, statuses: &'static [u16]) -> Row {
    (name, request, statuses)
}

async fn stand() -> Stand {
    let sections = format!(
        "log: {{ format: json, access: access.log }}
auth: {{ employees: {{ type: jwt, issuer: '{ISSUER}', audience: analytics, secret: {SECRET}, tenant: '{{claims.org_id}}' }} }}
default_auth: public
upstreams: {{ t: {{ url: '{{origin}}', token: '{TOKEN}' }} }}
routes:
  /canary: {{ pipe: canary }}
  /top: {{ pipe: top }}
  /items/{{name}}: {{ proxy: '/items/{{path.name}}' }}
  /raw/*: {{ proxy: '/raw/{{path.rest}}', methods: [GET, POST], pass_headers: [X-Passed] }}
  /guarded: {{ pipe: guarded, auth: employees, params: {{ fixed: {{ org: '{{tenant}}' }} }} }}"
    );
    Stand::start(&sections, []).await
}

fn targets() -> Vec<Row> {
    let get = |name, target: &[u8], statuses| row(name, Request::get(target), statuses);
    vec![
        get("a byte in the path", b"/top\xff", &[400, 404]),
        get("an encoded byte in the path", b"/top%ff", &[400, 404]),
        get("an encoded byte where a name stands", b"/items/%ff", &[400, 404]),
        get("a byte where a name stands", b"/items/\xff", &[400, 404]),
        get("an encoded byte in the rest of a path", b"/raw/%ff", &[200, 400]),
        get("half a character in the rest of a path", b"/raw/%c3", &[200, 400]),
        get("an overlong slash", b"/raw/..%c0%af..%c0%afsecret", &[200, 400]),
        get("a surrogate", b"/raw/%ed%a0%80", &[200, 400]),
        get("a byte in the rest of a path", b"/raw/\xff", &[200, 400]),
        get("a byte in a query", b"/top?a=\xff", &[200, 400]),
        get("an encoded byte in a query", b"/top?a=%ff", &[200, 400]),
        get("an encoded byte in a name", b"/top?%ff=a", &[200, 400]),
        get("a byte in a name", b"/top?\xff=a", &[200, 400]),
        get("half an escape", b"/top?a=%f", &[200, 400]),
        get("an escape that is none", b"/top?a=%zz", &[200, 400]),
        get("NUL in a query", b"/top?a=%00", &[200, 400]),
        get("a token of bytes", b"/guarded?token=\xff", &[400, 401]),
        get("an encoded token of bytes", b"/guarded?token=%ff", &[400, 401]),
    ]
}

fn heads() -> Vec<Row> {
    let with = |name, field: &str, statuses| row(name, Request::get("/raw/a").header(field, b"\xff\xfe"), statuses);
    vec![
        with("Accept", "Accept", &[200, 400]),
        with("Accept-Encoding", "Accept-Encoding", &[200, 400]),
        with("Accept-Language", "Accept-Language", &[200, 400]),
        with("If-None-Match", "If-None-Match", &[200, 400]),
        with("Range", "Range", &[200, 400]),
        with("a header that passes", "X-Passed", &[200, 400]),
        with("X-Request-Id", "X-Request-Id", &[200]),
        with("traceparent", "traceparent", &[200]),
        with("tracestate", "tracestate", &[200]),
        with("Origin", "Origin", &[200]),
        with("Cookie", "Cookie", &[200]),
        with("X-Forwarded-For", "X-Forwarded-For", &[200]),
        with("Connection", "Connection", &[200, 400]),
        with("Upgrade", "Upgrade", &[200, 400]),
        with("Expect", "Expect", &[200, 400]),
        with("Content-Length", "Content-Length", &[400]),
        with("Transfer-Encoding", "Transfer-Encoding", &[400]),
        row("Host", Request::get("/raw/a").host(b"\xff"), &[400]),
        row("Host beyond ASCII", Request::get("/raw/a").host("b\u{fc}ro.example"), &[400]),
        row("the name of a header", Request::get("/raw/a").header(b"X-\xff", "a"), &[400]),
        row("the method", Request::new("G\u{fc}T", "/raw/a"), &[400, 405]),
        row("a preflight", Request::preflight("/raw/a", "\u{fc}", "\u{fc}"), &[204, 400, 403, 404, 405]),
    ]
}

fn credentials() -> Vec<Row> {
    let with =
        |name, value: &[u8], statuses| row(name, Request::get("/guarded").header("Authorization", value), statuses);
    let bearer = |name, token: &str, statuses| row(name, Request::get("/guarded").bearer(token), statuses);
    let token = |header: &[u8], claims: &[u8]| {
        let front = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = URL_SAFE_NO_PAD.encode(mac(SECRET.as_bytes(), front.as_bytes()));
        format!("{front}.{signature}")
    };
    let header = br#"{"alg":"HS256","typ":"JWT"}"#;
    let claims = |org: &str| {
        let claims = claims_with(&serde_json::json!({ "org_id": "ORG", "exp": 4_000_000_000_u64 })).to_string();
        claims.replace("ORG", org)
    };
    let broken = claims("acme").into_bytes().into_iter().map(|byte| if byte == b'm' { 0xff } else { byte });
    let of = |org: &str| hs256(r#"{"alg":"HS256","typ":"JWT"}"#, &claims(org), SECRET);
    vec![
        with("a credential of bytes", b"\xff\xfe", &[400, 401]),
        with("a scheme of bytes", b"\xff abc", &[400, 401]),
        with("a token of bytes", b"Bearer \xff\xfe", &[400, 401]),
        with("a token with dots", b"Bearer \xff.\xff.\xff", &[400, 401]),
        bearer(
            "a header that is no text",
            &token(b"{\"alg\":\"HS256\",\"x\":\"\xff\"}", claims("acme").as_bytes()),
            &[401],
        ),
        bearer("claims that are no text", &token(header, &broken.collect::<Vec<_>>()), &[401]),
        bearer("half a surrogate in a claim", &token(header, claims("\\ud800").as_bytes()), &[401, 403]),
        bearer("NUL in a claim", &of("a\\u0000b"), &[401, 403]),
        bearer("a line end in a claim", &of("a\\r\\nb"), &[401, 403]),
        bearer("a tenant beyond ASCII", &of("b\u{fc}ro"), &[401, 403]),
        bearer("a tenant that turns writing around", &of("a\u{202e}b"), &[401, 403]),
        bearer("what is right", &of("acme"), &[200]),
    ]
}

fn bodies() -> Vec<Row> {
    let form = |name, body: &[u8], statuses| row(name, Request::post("/top").form(body), statuses);
    let json = |name, body: &[u8], statuses| row(name, Request::post("/top").json(body), statuses);
    let utf16: Vec<u8> = r#"{"a":"b"}"#.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let typed =
        |name, kind: &[u8]| row(name, Request::post("/top").header("Content-Type", kind).body("a=b"), &[400, 415]);
    vec![
        form("a byte in a form", b"a=\xff", &[415]),
        form("an encoded byte in a form", b"a=%ff", &[200, 400]),
        form("a byte in a form's name", b"\xff=a", &[415]),
        form("half a character in a form", b"a=\xc3", &[415]),
        json("a byte in JSON", b"{\"a\":\"\xff\"}", &[415]),
        json("a byte in a name of JSON", b"{\"\xff\":\"a\"}", &[415]),
        json("half a surrogate in JSON", b"{\"a\":\"\\ud800\"}", &[200, 400]),
        json("a mark before JSON", b"\xef\xbb\xbf{\"a\":\"b\"}", &[415]),
        json("JSON in UTF-16", &utf16, &[400, 415]),
        json("NUL in JSON", b"{\"a\":\"\\u0000\"}", &[200, 400]),
        typed("a type of bytes", b"\xff"),
        typed("another charset", b"application/json; charset=\xff"),
        typed("UTF-7", b"application/json; charset=utf-7"),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_no_text_are_refused_or_passed_as_they_are() {
    let stand = stand().await;
    let mut wrong = Vec::new();
    for (name, request, statuses) in targets().into_iter().chain(heads()).chain(credentials()).chain(bodies()) {
        let mut client = RawClient::connect(stand.addr).await;
        let response = request.send_on(&mut client).await;
        wrong.extend(judge(&response, statuses).err().map(|what| format!("{name}: {what}")));
    }
    let upload: Vec<u8> = (0..=255).collect();
    let passed = Request::post("/raw/all").body(&upload).send(stand.addr).await;
    assert_eq!(passed.status, 200, "{passed:?}");
    let arrived = stand.origin.take_requests();
    assert!(
        arrived.iter().any(|request| request.target == "/raw/all" && request.body == upload),
        "bytes pass unchanged"
    );
    assert_none_wrong(&wrong);
    assert_logged(&stand);
    stand.end("bytes that are no text").await;
}

fn judge(response: &Response, statuses: &[u16]) -> Result<(), String> {
    if !statuses.contains(&response.status) || !response.violations.is_empty() || response.truncated {
        return Err(format!("one of {statuses:?} was expected: {response:?}"));
    }
    let is_bare = response.status == 400 && response.body.is_empty();
    if response.status < 400 || is_bare {
        return Ok(());
    }
    let code = response.json()["code"].as_str().unwrap_or_default().to_owned();
    refusal(response, response.status, &code)
}

/// Every line of the access log is one object of JSON, whatever was asked for.
fn assert_logged(stand: &Stand) {
    let log = std::fs::read(stand.gateway.folder().join("access.log")).expect("an access log");
    let log = String::from_utf8(log).expect("the access log is UTF-8");
    for line in log.lines() {
        let parsed: Result<Value, _> = serde_json::from_str(line);
        assert!(parsed.is_ok_and(|value| value.is_object()), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_no_text_are_refused_over_http2_too() {
    let stand = stand().await;
    let get = || Fields::get("/raw/a");
    let rows = [
        (":path", get().set(":path", b"/raw/\xff")),
        (":path, encoded", get().set(":path", "/raw/%ff")),
        (":path, the query", get().set(":path", b"/top?a=\xff")),
        (":method", get().set(":method", b"G\xffT")),
        (":authority", get().set(":authority", b"\xff")),
        (":scheme", get().set(":scheme", b"\xff")),
        ("a name", get().with(b"x-\xff", "a")),
        ("a value", get().with("accept", b"\xff\xfe")),
        ("a value that passes", get().with("x-passed", b"\xff\xfe")),
        ("an id", get().with("x-request-id", b"\xff\xfe")),
        ("a credential", Fields::get("/guarded").with("authorization", b"Bearer \xff")),
        ("a credential in the query", Fields::get("/guarded?token=%ff")),
        ("NUL in a value", get().with("accept", b"a\0b")),
        ("a line end in a value", get().with("x-passed", b"a\r\nx-evil: b")),
    ];
    let mut wrong = Vec::new();
    for (name, fields) in rows {
        let mut client = RawH2Client::connect(stand.addr).await;
        match client.request(&fields, None).await {
            H2Outcome::Answered(answer) if [200, 400, 401, 404, 405].contains(&answer.status) => {}
            H2Outcome::Reset(_) | H2Outcome::GoAway(_) => {}
            outcome @ (H2Outcome::Answered(_) | H2Outcome::Closed(_)) => wrong.push(format!("{name}: {outcome:?}")),
        }
    }
    assert_none_wrong(&wrong);
    let arrived = stand.origin.take_requests();
    assert!(!arrived.iter().any(|request| request.raw_head.windows(6).any(|bytes| bytes == b"x-evil")), "{arrived:?}");
    stand.end("bytes that are no text over HTTP/2").await;
}
