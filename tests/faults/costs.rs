//! What one request of ten kibibytes costs, whatever is in it: who sends little makes the gateway work little, and remember little.
//!
//! In: heads and bodies that are made to be dear: many of something, deep, long, doubled, encoded. Out: processor time and
//! memory of each. Not here: floods, which are many (`http2`), and callers who are slow (`slow`).

use std::time::Duration;

use serde_json::json;

use crate::sized;
use crate::stand::{Stand, TOKEN, assert_none_wrong, processor_time};
use crate::support::client::{Ending, RawClient, Request};
use crate::support::credentials::{ISSUER, SECRET, claims_with, hs256, jwt};

/// About what fits into a request of this kind.
const SIZE: usize = 10_000;
/// Processor time for one, with everything; the build of tests is slow, and what is dear takes seconds.
const MOST_TIME: Duration = Duration::from_millis(10);
/// At once, so that what each of them takes adds up.
const CALLERS: usize = 16;
/// What one may take, and what all of them may leave behind in tables and pools, in KiB.
const MOST_MEMORY: u64 = 1024;

async fn stand() -> Stand {
    let sections = format!(
        "auth:
  employees: {{ type: jwt, issuer: '{ISSUER}', audience: analytics, secret: {SECRET}, tenant: '{{claims.org_id}}' }}
default_auth: public
limits: {{ each: {{ by: ip, rate: 100000/s }} }}
upstreams: {{ t: {{ url: '{{origin}}', token: '{TOKEN}' }} }}
routes:
  /canary: {{ pipe: canary }}
  /top: {{ pipe: top, methods: [GET, POST], limits: [each], params: {{ allow: [a, b, q], fixed: {{ org: acme }} }} }}
  /all: {{ pipe: all, methods: [GET, POST] }}
  /items/{{name}}: {{ proxy: '/items/{{path.name}}' }}
  /raw/*: {{ proxy: '/raw/{{path.rest}}', methods: [GET, POST] }}
  /guarded: {{ pipe: guarded, auth: employees, params: {{ fixed: {{ org: '{{tenant}}' }} }} }}
hosts:
  localhost: {{}}
  '*.wild.test': {{ routes: {{ /top: {{ pipe: top }} }} }}"
    );
    Stand::start(&sections, []).await
}

/// Of these bytes as many as make up a request.
fn many(text: &str) -> String {
    text.repeat(SIZE / text.len())
}

/// As [`many`], each with its number in place of `#`.
fn numbered(text: &str) -> String {
    (0..SIZE / (text.len() + 2)).map(|number| text.replace('#', &number.to_string())).collect()
}

fn targets() -> Vec<(&'static str, Request)> {
    vec![
        ("one long path", Request::get(format!("/raw/{}", many("a")))),
        ("a path of escapes", Request::get(format!("/raw/{}", many("%61")))),
        ("a path of slashes", Request::get(format!("/raw/{}", many("/")))),
        ("a path of dots", Request::get(format!("/raw/{}", many("./")))),
        ("a path of steps up", Request::get(format!("/raw/{}{}", "a/".repeat(2_000), "../".repeat(1_900)))),
        ("a path of half escapes", Request::get(format!("/raw/{}", many("%2")))),
        ("a long name in a path", Request::get(format!("/items/{}", many("a")))),
        ("a path that has no route", Request::get(many("/a"))),
        ("parameters of one name", Request::get(format!("/top?{}", many("a=1&")))),
        ("parameters without a name", Request::get(format!("/top?{}", many("&=")))),
        ("parameters of other names", Request::get(format!("/top?{}", numbered("p#=1&")))),
        ("parameters, all of which pass", Request::get(format!("/all?{}", numbered("p#=1&")))),
        ("a parameter of escapes", Request::get(format!("/top?q={}", many("%00")))),
        ("a parameter of what must be escaped", Request::get(format!("/all?q={}", many("'+\"")))),
        (
            "the forced parameter, in many ways of writing",
            Request::get(format!("/top?{}", many("%6frg=a&OrG=b&org=c&"))),
        ),
    ]
}

fn heads() -> Vec<(&'static str, Request)> {
    let with = |name, value: String| Request::get("/top").header(name, value);
    let lines = |line: &str| numbered(line).lines().fold(Request::get("/top"), Request::raw_header_line);
    vec![
        ("one long header", with("X-A", many("a"))),
        ("headers of other names", lines("X-#: a\n")),
        (
            "headers of other names, as many as are taken",
            (0..90).fold(Request::get("/top"), |request, number| request.header(format!("X-{number}"), "a".repeat(90))),
        ),
        ("headers of one name", lines("Accept: a/#\n")),
        ("what it accepts", with("Accept", many("a/b;q=0.1,"))),
        ("encodings", with("Accept-Encoding", many("gzip;q=0.1, br;q=0.01,"))),
        ("tags", with("If-None-Match", many("\"a\","))),
        ("ranges", with("Range", format!("bytes={}", many("0-1,")))),
        ("cookies", with("Cookie", many("a=b; "))),
        ("hops", with("X-Forwarded-For", many("10.0.0.1, "))),
        ("forwarded", with("Forwarded", many("for=\"[::1]\";by=a,"))),
        ("names in Connection", with("Connection", numbered("x-#,"))),
        ("a trace's state", with("tracestate", numbered("k#=a,")).header("traceparent", TRACE)),
        ("a long request id", with("X-Request-Id", many("a"))),
        ("a host of labels", Request::get("/top").host(format!("{}wild.test", "a.".repeat(2_000)))),
        (
            "names in a preflight",
            Request::preflight("/top", "https://a.test", "GET")
                .header("Access-Control-Request-Headers", numbered("x-#,")),
        ),
    ]
}

/// The time of tests is not that of a process.
const FAR: u64 = 4_000_000_000;
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn credentials() -> Vec<(&'static str, Request)> {
    let bearer = |token: &str| Request::get("/guarded").bearer(token);
    let deep = format!("{}{}", "[".repeat(3_000), "]".repeat(3_000));
    let header = r#"{"alg":"HS256","typ":"JWT"}"#;
    let long = jwt(&claims_with(&json!({ "org_id": "acme", "exp": FAR, "more": "a".repeat(2_000) })));
    let wide: serde_json::Map<_, _> = (0..200).map(|number| (format!("c{number}"), json!(number))).collect();
    vec![
        ("a token of dots", bearer(&many("."))),
        ("a token of nothing", bearer(&many("a"))),
        ("a token whose header nests", bearer(&hs256(&format!("{{\"alg\":\"HS256\",\"x\":{deep}}}"), "{}", SECRET))),
        ("a token whose claims nest", bearer(&hs256(header, &format!("{{\"org_id\":{deep}}}"), SECRET))),
        ("a token with a long claim", bearer(&long)),
        (
            "a token with many claims",
            bearer(&jwt(&claims_with(&json!({ "org_id": "acme", "exp": FAR, "more": wide })))),
        ),
        (
            "a forged token",
            bearer(&hs256(
                header,
                &json!({ "org_id": many("a") }).to_string(),
                "another secret, not that of the issuer",
            )),
        ),
    ]
}

fn bodies() -> Vec<(&'static str, Request)> {
    let json = |text: String| Request::post("/top").json(text);
    let all = |text: String| Request::post("/all").json(text);
    let list = |text: &str| format!("{{\"a\":[{}0]}}", many(text));
    vec![
        ("JSON that nests", json(many("["))),
        ("JSON of objects in objects", json(many("{\"a\":"))),
        ("JSON of many names", all(format!("{{{}\"b\":1}}", numbered("\"p#\":1,")))),
        ("JSON of one name", all(format!("{{{}\"b\":1}}", many("\"a\":1,")))),
        ("JSON of escapes", all(format!("{{\"a\":\"{}\"}}", many("\\u0000")))),
        ("JSON of halves of characters", all(format!("{{\"a\":\"{}\"}}", many("\\ud800")))),
        ("JSON of one long number", all(format!("{{\"a\":{}}}", many("9")))),
        ("JSON of a number with a long exponent", all(format!("{{\"a\":1e{}}}", many("9")))),
        ("JSON of a list of numbers", all(list("1,"))),
        ("JSON of a list of texts", all(list("\"a\","))),
        ("JSON of blanks", all(format!("{{{}}}", many(" ")))),
        ("a form of one name", Request::post("/top").form(many("a=1&"))),
        ("a form of other names", Request::post("/all").form(numbered("p#=1&"))),
        ("a form of escapes", Request::post("/all").form(format!("q={}", many("%00")))),
        (
            "a body in chunks of one byte",
            Request::post("/all").header("Content-Type", "application/json").chunked(many("[").as_bytes().chunks(1)),
        ),
        (
            "a body that says it is compressed",
            Request::post("/all").json(many("\0")).header("Content-Encoding", "gzip"),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_of_ten_kibibytes_costs_much() {
    let mut stand = stand().await;
    // What they cost would be counted, too.
    stand.settle().await;
    let (mut wrong, turns) = (Vec::new(), sized(4, 40));
    for (name, request) in [targets(), heads(), credentials(), bodies()].concat() {
        let (bytes, before) = (request.bytes(), stand.gateway.memory("VmHWM"));
        let began = processor_time(stand.gateway.id());
        let mut statuses = Vec::new();
        for _ in 0..turns {
            let mut clients = Vec::new();
            for _ in 0..CALLERS {
                let mut client = RawClient::connect(stand.addr).await;
                // It may be refused before all of it is said.
                drop(client.try_send(&bytes).await);
                clients.push(client);
            }
            for mut client in clients {
                match client.try_read_response().await {
                    Ok(response) => statuses.push(response.status),
                    // It was refused before all of it was said, and the answer lost thereby.
                    Err(missing) if matches!(missing.ending, Ending::Reset) => {}
                    Err(missing) => wrong.push(format!("{name}: no answer: {missing:?}")),
                }
            }
        }
        statuses.dedup();
        let each = (processor_time(stand.gateway.id()) - began) / (turns * CALLERS) as u32;
        let grown = stand.gateway.memory("VmHWM").saturating_sub(before);
        println!("{name}: {} bytes, {statuses:?}, {each:.0?}, {grown} KiB", bytes.len());
        if each > MOST_TIME {
            wrong.push(format!("{name}: {each:.1?} of processor time each"));
        }
        if grown > MOST_MEMORY * CALLERS as u64 {
            wrong.push(format!("{name}: {grown} KiB for {CALLERS} at once"));
        }
        if !statuses.iter().all(|status| (200..500).contains(status)) {
            wrong.push(format!("{name}: {statuses:?}"));
        }
    }
    assert_none_wrong(&wrong);
    stand.end("requests that are made to be dear").await;
}
