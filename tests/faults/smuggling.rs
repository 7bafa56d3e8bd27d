//! Requests that can be read in two ways, each with a canary right behind it on the same connection.
//!
//! What the gateway refuses ends the connection, and the canary with it. What it takes goes on as one clean message. In
//! neither case does the upstream ever see the request that was hidden inside.

use crate::origin::{Request as Arrived, canary_body};
use crate::stand::{Stand, TOKEN, assert_none_wrong, refusal};
use crate::support::client::{RawClient, Request, Response};

/// What a row is to come to.
#[derive(Clone, Copy, Debug)]
enum Expected {
    /// Taken, and passed on as one clean message.
    Clean,
    /// Refused, or clean.
    Either,
    /// 400 and the end of the connection.
    Refused,
}

use Expected::{Clean, Either, Refused};

struct Row {
    name: String,
    bytes: Vec<u8>,
    expected: Expected,
}

/// The request that nobody sent.
const HIDDEN: &str = "GET /hidden?smuggled=1 HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn stand() -> impl Future<Output = Stand> {
    let sections = format!(
        "upstreams: {{ t: {{ url: '{{origin}}', token: '{TOKEN}' }} }}
routes:
  /canary: {{ pipe: canary }}
  /hidden: {{ pipe: hidden }}
  /top: {{ pipe: top }}
  /raw: {{ proxy: /raw, methods: [GET, HEAD, POST, PUT] }}
  /any/*: {{ proxy: '/any/{{path.rest}}' }}"
    );
    async move { Stand::start(&sections, []).await }
}

/// A POST with these lines, and what stands behind its head.
fn post(path: &str, lines: &[&str], body: &str) -> Vec<u8> {
    let request = Request::post(path).header("Content-Type", "application/x-www-form-urlencoded");
    lines.iter().fold(request, |request, line| request.raw_header_line(line)).raw_body(body).bytes()
}

/// Lengths and codings that different readers take for different ones.
fn framings() -> Vec<Row> {
    let lines: &[(&str, &[&str])] = &[
        ("CL.TE", &["Content-Length: 6", "Transfer-Encoding: chunked"]),
        ("TE.CL", &["Transfer-Encoding: chunked", "Content-Length: 6"]),
        ("TE.TE, another coding behind", &["Transfer-Encoding: chunked", "Transfer-Encoding: x"]),
        ("TE.TE, another coding before", &["Transfer-Encoding: x", "Transfer-Encoding: chunked"]),
        ("TE.TE, twice the same", &["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"]),
        ("TE.TE, xchunked", &["Transfer-Encoding: xchunked"]),
        ("TE.TE, a list", &["Transfer-Encoding: chunked, identity"]),
        ("TE.TE, a list that ends well", &["Transfer-Encoding: identity, chunked"]),
        ("TE.TE, a vertical tab", &["Transfer-Encoding: \u{b}chunked"]),
        ("TE.TE, quotes", &["Transfer-Encoding: \"chunked\""]),
        ("TE.TE, a parameter", &["Transfer-Encoding: chunked;q=1"]),
        ("TE.TE, a comma before", &["Transfer-Encoding: ,chunked"]),
        ("TE.TE, a blank before the colon", &["Transfer-Encoding : chunked"]),
        ("TE.TE, a blank before the name", &[" Transfer-Encoding: chunked"]),
        ("TE.TE, folded", &["Transfer-Encoding:\r\n chunked"]),
        ("TE.TE, behind a CR", &["X: y\rTransfer-Encoding: chunked"]),
        ("TE.TE, NUL", &["Transfer-Encoding: chunked\0"]),
        ("TE.TE, nothing", &["Transfer-Encoding:"]),
        ("gzip", &["Transfer-Encoding: gzip"]),
        ("two lengths", &["Content-Length: 5", "Content-Length: 0"]),
        ("one length twice", &["Content-Length: 5", "Content-Length: 5"]),
        ("a list of one length", &["Content-Length: 10,10"]),
        ("a list of two lengths", &["Content-Length: 0, 10"]),
        ("+5", &["Content-Length: +5"]),
        ("-5", &["Content-Length: -5"]),
        ("0x5", &["Content-Length: 0x5"]),
        ("5.0", &["Content-Length: 5.0"]),
        ("5 5", &["Content-Length: 5 5"]),
        ("5;", &["Content-Length: 5;"]),
        ("no digits", &["Content-Length: five"]),
        ("no length", &["Content-Length:"]),
        ("beyond 64 bits", &["Content-Length: 18446744073709551621"]),
        ("a folded length", &["Content-Length: 1\r\n 0"]),
        ("a folded field", &["X-Fold: a\r\n Transfer-Encoding: chunked"]),
        ("a length with a blank before the colon", &["Content-Length : 5"]),
        ("NUL in a value", &["X-Nul: a\0b"]),
        ("NUL in a name", &["X-\0: a"]),
        ("CR in a value", &["X-Bare: a\rContent-Length: 5"]),
        ("a name with a blank", &["Bad Name: a"]),
        ("no name", &[": a"]),
        ("no colon", &["nonsense"]),
        ("another Host", &["Host: elsewhere"]),
        ("the same Host again", &["Host: localhost"]),
    ];
    let body = format!("0\r\n\r\n{HIDDEN}");
    let both = |(name, lines): &(&str, &[&str])| {
        ["/top", "/raw"].map(|path| Row {
            name: format!("{path} {name}"),
            bytes: post(path, lines, &body),
            expected: Refused,
        })
    };
    lines.iter().flat_map(both).collect()
}

/// Bodies that end where a careless reader does not think so.
fn bodies() -> Vec<Row> {
    let chunks = |name: &str, body: &str, expected| Row {
        name: name.to_owned(),
        bytes: post("/raw", &["Transfer-Encoding: chunked"], body),
        expected,
    };
    let with = |name: &str, lines: &[&str], body: &str, expected| Row {
        name: name.to_owned(),
        bytes: post("/raw", lines, body),
        expected,
    };
    let length = format!("Content-Length: {}", HIDDEN.len());
    let (size, underscored) = (format!("{:x}", HIDDEN.len()), length.replace('-', "_"));
    vec![
        with("CL.0", &[&length], HIDDEN, Clean),
        with("CL.0 with a form", &[&length, "Accept: */*"], HIDDEN, Clean),
        with("a length with zeros before", &["Content-Length: 0005"], "hello", Either),
        with("a length in another spelling", &["cOnTeNt-LeNgTh: 5"], "hello", Clean),
        with("Content_Length", &[&underscored], "", Either),
        with("Transfer_Encoding", &["Transfer_Encoding: chunked", "Content-Length: 5"], "0\r\n\r\n", Either),
        with("CHUNKED", &["Transfer-Encoding: CHUNKED"], "0\r\n\r\n", Either),
        with("a tab before chunked", &["Transfer-Encoding:\tchunked"], "0\r\n\r\n", Either),
        with("chunked with blanks", &["Transfer-Encoding:   chunked  "], "0\r\n\r\n", Either),
        with("Connection names the length", &["Connection: content-length", "Content-Length: 5"], "hello", Either),
        with(
            "Connection names the coding",
            &["Connection: transfer-encoding", "Transfer-Encoding: chunked"],
            "5\r\nhello\r\n0\r\n\r\n",
            Either,
        ),
        with("Expect", &["Expect: 100-continue", "Content-Length: 5"], "hello", Clean),
        with("Expect of something else", &["Expect: miracles", "Content-Length: 5"], "hello", Either),
        with("an upgrade", &["Connection: upgrade", "Upgrade: h2c", "Content-Length: 5"], "hello", Either),
        chunks("whole", &format!("{size}\r\n{HIDDEN}\r\n0\r\n\r\n"), Clean),
        chunks("an extension", &format!("{size};a=b\r\n{HIDDEN}\r\n0\r\n\r\n"), Clean),
        chunks("an extension with CR", &format!("{size};a\rb\r\n{HIDDEN}\r\n0\r\n\r\n"), Either),
        chunks("an extension with LF", &format!("{size};a\nb\r\n{HIDDEN}\r\n0\r\n\r\n"), Either),
        chunks("an extension with quotes", &format!("{size};a=\"\r\n{HIDDEN}\r\n0\r\n\r\n"), Either),
        chunks("a long extension", &format!("{size};{}\r\n{HIDDEN}\r\n0\r\n\r\n", "a".repeat(10_000)), Either),
        chunks("zeros before the size", &format!("0000{size}\r\n{HIDDEN}\r\n0\r\n\r\n"), Either),
        chunks("a size of 17 digits", &format!("1{size:0>16}\r\n{HIDDEN}\r\n0\r\n\r\n"), Refused),
        chunks("a size of nearly 64 bits", &format!("fffffffffffffffe\r\n{HIDDEN}\r\n0\r\n\r\n"), Refused),
        chunks("0x before the size", &format!("0x{size}\r\n{HIDDEN}\r\n0\r\n\r\n"), Refused),
        chunks("a plus before the size", &format!("+{size}\r\n{HIDDEN}\r\n0\r\n\r\n"), Refused),
        chunks("a minus before the size", &format!("-{size}\r\n{HIDDEN}\r\n0\r\n\r\n"), Refused),
        chunks("a blank before the size", &format!(" {size}\r\n{HIDDEN}\r\n0\r\n\r\n"), Refused),
        chunks("a blank behind the size", &format!("{size} \r\n{HIDDEN}\r\n0\r\n\r\n"), Either),
        chunks("a word for a size", &format!("zz\r\n{HIDDEN}\r\n0\r\n\r\n"), Refused),
        chunks("LF behind the size", &format!("{size}\n{HIDDEN}\n0\n\n"), Refused),
        chunks("no line end behind the data", &format!("{size}\r\n{HIDDEN}0\r\n\r\n"), Refused),
        chunks("more data than said", &format!("5\r\n{HIDDEN}\r\n0\r\n\r\n"), Refused),
        chunks("trailers", &format!("{size}\r\n{HIDDEN}\r\n0\r\nContent-Length: 5\r\nHost: evil\r\n\r\n"), Either),
        chunks("a hidden request in the trailers", &format!("0\r\nX: y\r\n{HIDDEN}"), Either),
    ]
}

/// Heads that are odd in themselves.
fn heads() -> Vec<Row> {
    let row = |name: &str, head: &str, expected| Row {
        name: name.to_owned(),
        bytes: head.replace('\n', "\r\n").into_bytes(),
        expected,
    };
    let as_is = |name: &str, bytes: &[u8], expected| Row { name: name.to_owned(), bytes: bytes.to_vec(), expected };
    vec![
        row("no Host", "GET /raw HTTP/1.1\n\n", Refused),
        row("an empty Host", "GET /raw HTTP/1.1\nHost:\n\n", Refused),
        row("a Host with a user", "GET /raw HTTP/1.1\nHost: a@localhost\n\n", Refused),
        row("a Host with a path", "GET /raw HTTP/1.1\nHost: localhost/hidden\n\n", Refused),
        row("two names in Host", "GET /raw HTTP/1.1\nHost: localhost, elsewhere\n\n", Refused),
        row("absolute form with another host", "GET http://elsewhere/raw HTTP/1.1\nHost: localhost\n\n", Refused),
        row("absolute form with a user", "GET http://a@localhost/raw HTTP/1.1\nHost: localhost\n\n", Refused),
        row("absolute form", "GET http://localhost/raw HTTP/1.1\nHost: localhost\n\n", Either),
        row("an authority for a target", "GET localhost:80 HTTP/1.1\nHost: localhost\n\n", Refused),
        row("two blanks", "GET  /raw HTTP/1.1\nHost: localhost\n\n", Refused),
        row("a blank in the target", "GET /any/a /hidden HTTP/1.1\nHost: localhost\n\n", Either),
        row("a tab for a blank", "GET\t/raw\tHTTP/1.1\nHost: localhost\n\n", Refused),
        row("an empty line before", "\n\nGET /raw HTTP/1.1\nHost: localhost\n\n", Either),
        row("HTTP/1.2", "GET /raw HTTP/1.2\nHost: localhost\n\n", Refused),
        row("HTTP/2.0", "GET /raw HTTP/2.0\nHost: localhost\n\n", Refused),
        row("http/1.1", "GET /raw http/1.1\nHost: localhost\n\n", Refused),
        row("no version", "GET /raw\nHost: localhost\n\n", Refused),
        row("a method that is none", "G(T /raw HTTP/1.1\nHost: localhost\n\n", Refused),
        row("chunks in HTTP/1.0", "POST /raw HTTP/1.0\nHost: localhost\nTransfer-Encoding: chunked\n\n0\n\n", Refused),
        as_is("LF for CR LF", b"GET /raw HTTP/1.1\nHost: localhost\n\n", Either),
        as_is(
            "LF in front of a coding",
            b"GET /raw HTTP/1.1\r\nHost: localhost\r\nX: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            Either,
        ),
        as_is("CR for CR LF", b"GET /raw HTTP/1.1\rHost: localhost\r\r", Refused),
        as_is("NUL in the target", b"GET /raw\0 HTTP/1.1\r\nHost: localhost\r\n\r\n", Refused),
        as_is("NUL before", b"\0GET /raw HTTP/1.1\r\nHost: localhost\r\n\r\n", Refused),
        as_is("a byte order mark", b"\xef\xbb\xbfGET /raw HTTP/1.1\r\nHost: localhost\r\n\r\n", Refused),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h3_no_request_hides_in_another_one() {
    let stand = stand().await;
    let mut wrong = Vec::new();
    for row in framings().into_iter().chain(bodies()).chain(heads()) {
        let (responses, is_closed) = exchange(&stand, &row.bytes).await;
        let arrived = stand.origin.take_requests();
        if let Err(what) = judge(row.expected, &responses, &arrived) {
            wrong.push(format!("{}: {what}", row.name));
        } else if !is_closed {
            wrong.push(format!("{}: the connection stayed open", row.name));
        }
    }
    assert_none_wrong(&wrong);
    stand.end("requests that hide others").await;
}

/// What comes back for these bytes and a canary behind them, until the connection is closed.
async fn exchange(stand: &Stand, bytes: &[u8]) -> (Vec<Response>, bool) {
    let canary = Request::get("/canary?id=behind").close().bytes();
    let mut client = RawClient::connect(stand.addr).await;
    // It may be closed before all of that is sent.
    drop(client.try_send([bytes, &canary].concat()).await);
    let mut responses = Vec::new();
    while let Ok(response) = client.try_read_response().await {
        responses.push(response);
    }
    (responses, client.is_closed_by_peer())
}

fn judge(expected: Expected, responses: &[Response], arrived: &[Arrived]) -> Result<(), String> {
    for request in arrived {
        let head = String::from_utf8_lossy(&request.raw_head);
        let is_odd = head.lines().skip(1).any(|line| line.split(':').next().is_some_and(|name| name.contains('_')));
        let is_asked_for = request.target == "/raw" || request.target.starts_with("/any/");
        if !is_asked_for || is_odd {
            return Err(format!("the upstream saw {head}"));
        }
    }
    let (Some(first), rest) = (responses.first(), responses.get(1..).unwrap_or_default()) else {
        return Err("no answer".to_owned());
    };
    let is_bare =
        first.status == 400 && first.body.is_empty() && first.header("connection").as_deref() == Some("close");
    let is_refused = (is_bare || refusal(first, 400, "bad_request").is_ok()) && rest.is_empty();
    let is_canary = |response: &Response| response.status == 200 && response.body == canary_body("behind").as_bytes();
    // Who sends before an answer has come may be dropped.
    // What the request before left unfinished may arrive late.
    let whole = arrived.iter().filter(|request| request.is_whole).count();
    let is_clean = first.status == 200 && rest.len() <= 1 && rest.iter().all(is_canary) && whole == 1;
    let is_right = match expected {
        Clean => is_clean,
        Either => is_clean || is_refused,
        Refused => is_refused && whole == 0,
    };
    if is_right { Ok(()) } else { Err(format!("{expected:?} was expected: {responses:?}, {arrived:?}")) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h3_who_does_not_wait_for_answers_gets_its_own_or_none() {
    let stand = stand().await;
    for round in 0..50 {
        let ids: Vec<String> = (0..20).map(|number| format!("{round}-{number}")).collect();
        let requests = ids.iter().flat_map(|id| Request::get(format!("/canary?id={id}")).bytes());
        let mut client = RawClient::connect(stand.addr).await;
        drop(client.try_send(requests.collect::<Vec<u8>>()).await);
        let mut answers = 0;
        while answers < ids.len() {
            let Ok(response) = client.try_read_response().await else { break };
            assert_eq!(response.body_text(), canary_body(&ids[answers]), "{response:?}");
            answers += 1;
        }
        assert!(answers > 0, "not even the first was answered");
    }
    stand.end("requests before answers").await;
}
