//! What a query cost: read at the end of answers that are asked for plain and compressed on the way.

use std::io::Read as _;

use flate2::read::GzDecoder;
use serde_json::{Value, json};

use crate::support::client::{RawClient, Request, Response};
use crate::support::eventually::eventually;
use crate::support::gateway::{TOKEN, TestGateway, assert_nothing_betrayed};
use crate::support::h2_client::H2Client;
use crate::support::origin::{Answer, At, Gate, MockOrigin, Piece, Then};
use crate::support::pattern::PatternCheck;
use crate::support::process::Process;

/// `/a` is metered, `/free` is not.
const SECTIONS: &str = "limits: { scan: { by: gateway, quota: 1TB/day, cost: bytes_read, assume: 1MB } }
routes: { /a: { pipe: a, limits: [scan] }, /free: { pipe: free } }
";

const STATISTICS: &str = "\t\"statistics\":\n\t{\n\t\t\"elapsed\": 0.0125,\n\t\t\"rows_read\": 100000,\n\t\t\"bytes_read\": 2400000\n\t}\n}\n";

/// A document of about this many bytes, as ClickHouse writes it.
fn document(length: usize) -> String {
    let row = "\t\t{\n\t\t\t\"product\": \"caf\u{e9} \\\"statistics\\\":{\\\"rows_read\\\":1}\",\n\t\t\t\"n\": 9007199254740993\n\t\t}";
    let rows = vec![row; 1 + length / row.len()].join(",\n");
    format!("{{\n\t\"meta\":\n\t[],\n\n\t\"data\":\n\t[\n{rows}\n\t],\n\n\t\"rows\": 3,\n\n{STATISTICS}")
}

fn zipped(path: &str) -> Request {
    Request::get(path).header("Accept-Encoding", "gzip, deflate")
}

/// The fields of a line of the access log that say what an answer cost.
fn costs(line: &Value) -> [&Value; 4] {
    ["rows_read", "bytes_read", "query_ms", "bytes_unpacked"].map(|name| &line[name])
}

fn known(bytes_unpacked: impl Into<Value>) -> [Value; 4] {
    [json!(100_000), json!(2_400_000), json!(12.5), bytes_unpacked.into()]
}

fn vary(response: &Response) -> Vec<String> {
    response.headers_all("vary").into_iter().map(|value| String::from_utf8_lossy(value).into_owned()).collect()
}

/// Asserts that a body was neither compressed nor marked as if it could be.
fn assert_as_it_is(response: &Response, body: impl AsRef<[u8]>) {
    response.assert_strictly_valid();
    assert_eq!(response.header("content-encoding"), None);
    assert_eq!(vary(response), Vec::<String>::new());
    assert!(response.body == body.as_ref(), "the body changed on its way");
}

#[tokio::test]
async fn a_metered_answer_is_asked_for_plain_and_compressed_for_who_wants_it() {
    let gw = TestGateway::with(SECTIONS);
    let body = document(20_000);
    gw.origin.always(Answer::json(200, &body).header("ETag", "\"v1\"").header("Accept-Ranges", "bytes"));
    let response = zipped("/a").send(gw.addr()).await;
    response.assert_strictly_valid();
    assert_nothing_betrayed(&response);
    assert_eq!(gw.origin.only_request().header("accept-encoding").as_deref(), Some("identity"));
    assert_eq!(response.header("content-encoding").as_deref(), Some("gzip"));
    assert_eq!(response.header("transfer-encoding").as_deref(), Some("chunked"));
    assert_eq!(response.header("etag").as_deref(), Some("W/\"v1\""));
    assert_eq!(vary(&response), ["Accept-Encoding"]);
    for name in ["content-length", "accept-ranges"] {
        assert_eq!(response.header(name), None, "{name}");
    }
    assert!(response.body.len() < body.len() / 4, "{} bytes", response.body.len());
    assert_eq!(response.body_text(), body);

    for call in [
        Request::get("/a"),
        Request::get("/a").header("Accept-Encoding", "br"),
        Request::get("/a").header("Accept-Encoding", "gzip;q=0"),
        Request::get("/a").header("Accept-Encoding", "gzip;q=0.3, identity;q=0.7"),
        zipped("/a").http10(),
    ] {
        gw.origin.forget_requests();
        let response = call.send(gw.addr()).await;
        response.assert_strictly_valid();
        assert_eq!(gw.origin.only_request().header("accept-encoding").as_deref(), Some("identity"));
        assert_eq!(response.header("content-encoding"), None);
        assert_eq!(response.header("content-length"), Some(body.len().to_string()));
        assert_eq!(response.header("etag").as_deref(), Some("\"v1\""));
        assert_eq!(vary(&response), ["Accept-Encoding"]);
        assert!(response.body == body.as_bytes());
    }
    let log = gw.log(6).await;
    assert_eq!(costs(&log[0]), known(body.len()).each_ref());
    assert_eq!(log[0]["bytes_out"], response.body.len());
    for line in &log[1..] {
        assert_eq!(costs(line), known(Value::Null).each_ref());
    }
}

#[tokio::test]
async fn compressed_answers_keep_the_connection_and_can_follow_each_other() {
    let gw = TestGateway::with(SECTIONS);
    let mut client = RawClient::connect(gw.addr()).await;
    for length in [2_000, 70_000, 1, 500_000] {
        let body = document(length);
        gw.origin.script([Answer::json(200, &body).chunked()]);
        let response = zipped("/a").send_on(&mut client).await;
        response.assert_strictly_valid();
        assert_eq!(response.body_text(), body);
    }
    assert!(client.unread().is_empty());
}

#[tokio::test]
async fn h2_callers_get_the_same() {
    let gw = TestGateway::with(SECTIONS);
    let body = document(300_000);
    gw.origin.always(Answer::json(200, &body).header("ETag", "\"v1\""));
    let client = H2Client::connect(gw.addr()).await;
    let request = |coding: &str| {
        let mut request = H2Client::build("GET", "/a");
        request.headers_mut().insert("accept-encoding", coding.parse().expect("a value"));
        request
    };
    let packed = client.request(request("gzip"), None).await;
    assert_eq!((packed.status, packed.broken_off), (200, None));
    assert_eq!(packed.header("content-encoding").as_deref(), Some("gzip"));
    assert_eq!(packed.header("vary").as_deref(), Some("Accept-Encoding"));
    assert_eq!(packed.header("etag").as_deref(), Some("W/\"v1\""));
    assert_eq!((packed.header("transfer-encoding"), packed.header("content-length")), (None, None));
    assert!(unzipped(&packed.body).expect("whole") == body.as_bytes());
    let plain = client.request(request("br"), None).await;
    assert_eq!(plain.header("content-encoding"), None);
    assert!(plain.body == body.as_bytes());
    let log = gw.log(2).await;
    assert_eq!(costs(&log[0]), known(body.len()).each_ref());
    assert_eq!(costs(&log[1]), known(Value::Null).each_ref());

    gw.origin.always(Answer::json(200, &body).chunked().cut(At::HalfBody, Then::Close));
    let broken = client.request(request("gzip"), None).await;
    assert!(broken.broken_off.is_some(), "{broken:?}");
    assert!(unzipped(&broken.body).is_err());
}

fn unzipped(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut whole = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut whole).map(|_| whole)
}

#[tokio::test]
async fn statistics_are_found_wherever_pieces_end() {
    let gw = TestGateway::with(SECTIONS);
    let body = document(20_000);
    let cuts: Vec<usize> =
        (body.len() - STATISTICS.len() - 3..=body.len()).filter(|at| body.is_char_boundary(*at)).collect();
    let mut client = RawClient::connect(gw.addr()).await;
    for at in &cuts {
        let (left, right) = body.split_at(*at);
        let pieces = [left, right].into_iter().filter(|piece| !piece.is_empty()).map(Piece::bytes);
        gw.origin.script([Answer::json(200, "").pieces(pieces).chunked()]);
        let response = zipped("/a").send_on(&mut client).await;
        assert_eq!(response.body_text(), body, "at {at}");
    }
    // Byte by byte, and in pieces that have gaps between them.
    let gate = Gate::new();
    let (front, back) = body.split_at(body.len() - 60);
    let bytes = back.as_bytes().chunks(1).map(Piece::bytes);
    let pieces = [Piece::bytes(front)].into_iter().chain(bytes).chain([Piece::wait(&gate)]);
    gw.origin.script([Answer::json(200, "").pieces(pieces).chunked()]);
    gate.open();
    assert_eq!(zipped("/a").send_on(&mut client).await.body_text(), body);
    let log = gw.log(cuts.len() + 1).await;
    for (line, at) in log.iter().zip(&cuts) {
        assert_eq!(costs(line), known(body.len()).each_ref(), "at {at}");
    }
    assert_eq!(costs(&log[cuts.len()]), known(body.len()).each_ref());
}

#[tokio::test]
async fn every_piece_reaches_the_caller_when_it_comes() {
    let gw = TestGateway::with(SECTIONS);
    let gate = Gate::new();
    let lines = ["{\"n\":1}\n", "{\"n\":2}\n"];
    let pieces = [Piece::bytes(lines[0]), Piece::wait(&gate), Piece::bytes(lines[1])];
    gw.origin.script([Answer::with_body(200, "application/x-ndjson", "").pieces(pieces).chunked()]);
    let mut client = RawClient::connect(gw.addr()).await;
    client.send(zipped("/a").bytes()).await;
    let (mut raw, mut first) = (Vec::new(), vec![0; lines[0].len()]);
    loop {
        raw.extend(client.read_some().await);
        let body = raw.windows(4).position(|window| window == b"\r\n\r\n").map(|end| &raw[end + 4..]);
        // One chunk: its size, then what is compressed.
        let packed = body.and_then(|body| Some(&body[body.windows(2).position(|end| end == b"\r\n")? + 2..]));
        if packed.is_some_and(|packed| GzDecoder::new(packed).read_exact(&mut first).is_ok()) {
            break;
        }
    }
    assert_eq!(first, lines[0].as_bytes());
    // It still waits, or is about to: nobody opened the gate.
    gate.until_reached(1).await;
    gate.open();
    let mut rest = Vec::new();
    while !rest.ends_with(b"0\r\n\r\n") {
        rest.extend(client.read_some().await);
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_broken_for_the_caller_too() {
    let gw = TestGateway::with(&format!(
        "{SECTIONS}upstreams: {{ t: {{ url: '{{origin}}', token: '{TOKEN}', retry: {{ attempts: 1 }} }} }}\n"
    ));
    let body = document(50_000);
    let late = u64::try_from(body.len()).expect("it is small") + 100;
    let broken = [
        Answer::json(200, &body).chunked().cut(At::HalfBody, Then::Close),
        Answer::json(200, &body).chunked().cut(At::HalfBody, Then::Reset),
        Answer::json(200, &body).cut(At::HalfBody, Then::Close),
        Answer::json(200, &body).declared_length(late),
    ];
    let count = broken.len();
    for (number, answer) in broken.into_iter().enumerate() {
        for call in [zipped("/a"), Request::get("/a")] {
            gw.origin.script([answer.clone()]);
            let response = call.send(gw.addr()).await;
            assert_eq!(response.status, 200, "{number}");
            assert!(response.truncated, "{number}: {response:?}");
            if response.header("content-encoding").is_some() {
                assert!(unzipped(&response.body).is_err(), "{number}: a whole gzip body");
            }
        }
    }
    // Also where all that was written came: an end that does not come might have said something else.
    for line in gw.log(2 * count).await {
        assert_eq!(costs(&line)[..3], [&Value::Null, &Value::Null, &Value::Null], "{line}");
    }
    gw.assert_alive().await;
}

#[tokio::test]
async fn a_caller_who_leaves_ends_it() {
    let gw = TestGateway::with(SECTIONS);
    let gate = Gate::new();
    let body = document(50_000);
    let (front, back) = body.split_at(body.len() / 2);
    gw.origin.script([Answer::json(200, "")
        .pieces([Piece::bytes(front), Piece::wait(&gate), Piece::bytes(back)])
        .chunked()]);
    let mut client = RawClient::connect(gw.addr()).await;
    client.send(zipped("/a").bytes()).await;
    client.read_exact(200).await;
    drop(client);
    gw.origin.until("the hang-up", |seen| seen.hang_ups() == 1).await;
    assert_eq!(costs(&gw.log(1).await[0])[0], &Value::Null);
}

#[tokio::test]
async fn what_is_no_whole_long_text_passes_as_it_is() {
    let gw = TestGateway::with(SECTIONS);
    let body = document(5_000);
    let short = r#"{"data":[],"statistics":{"rows_read":100000,"bytes_read":2400000,"elapsed":0.0125}}"#;
    for (answer, body) in [
        (Answer::json(200, short), short.to_owned()),
        (Answer::json(206, &body[100..]).header("Content-Range", "bytes 100-5000/5001"), body[100..].to_owned()),
        (Answer::with_body(200, "text/event-stream", &body).chunked(), body.clone()),
        (Answer::with_body(200, "application/octet-stream", &body), body.clone()),
        (Answer::json(200, &body).header("Cache-Control", "no-transform"), body.clone()),
        (Answer::json(200, ""), String::new()),
        (Answer::json(200, "").chunked(), String::new()),
        (Answer::status(204), String::new()),
        (Answer::redirect("/elsewhere").body(""), String::new()),
    ] {
        gw.origin.script([answer]);
        let response = zipped("/a").header("Range", "bytes=100-").send(gw.addr()).await;
        match body.is_empty() && response.status == 200 && response.header("transfer-encoding").is_some() {
            // Whether anything comes is not known when the head goes out.
            true => assert_eq!(response.body_text(), ""),
            false => assert_as_it_is(&response, &body),
        }
    }
    let log = gw.log(9).await;
    let rows: Vec<bool> = log.iter().map(|line| line["rows_read"].is_number()).collect();
    assert_eq!(rows, [true, false, false, false, true, false, false, false, false]);
    assert_eq!(gw.origin.received()[1].header("range"), None, "a part of an answer does not say what its query cost");
}

#[tokio::test]
async fn head_and_not_modified_say_what_get_would() {
    let gw = TestGateway::with(SECTIONS);
    let body = document(5_000);
    gw.origin.always(Answer::json(200, &body).header("ETag", "\"v1\""));
    let head = Request::head("/a").header("Accept-Encoding", "gzip").send(gw.addr()).await;
    head.assert_strictly_valid();
    assert_eq!((head.header("content-encoding").as_deref(), head.header("content-length")), (Some("gzip"), None));
    assert_eq!((vary(&head), head.header("etag").as_deref()), (vec!["Accept-Encoding".to_owned()], Some("W/\"v1\"")));
    let head = Request::head("/a").send(gw.addr()).await;
    assert_eq!((head.header("content-encoding"), head.header("content-length")), (None, Some(body.len().to_string())));

    gw.origin.always(Answer::status(304).header("ETag", "\"v1\"").header("Vary", "Accept"));
    let response = zipped("/a").header("If-None-Match", "W/\"v1\"").send(gw.addr()).await;
    response.assert_strictly_valid();
    assert_eq!((response.status, response.header("content-encoding")), (304, None));
    assert_eq!(response.header("etag").as_deref(), Some("W/\"v1\""));
    assert_eq!(vary(&response), ["Accept, Accept-Encoding"]);
    for line in gw.log(3).await {
        assert_eq!(costs(&line), [&Value::Null; 4], "{line}");
    }
}

#[tokio::test]
async fn vary_keeps_what_others_said() {
    let gw = TestGateway::with(&format!("{SECTIONS}cors: {{ origins: ['https://app.example.com'] }}\n"));
    gw.origin.always(Answer::json(200, document(5_000)).header("Vary", "Accept").header("Vary", "X-Other"));
    let response = zipped("/a").header("Origin", "https://app.example.com").send(gw.addr()).await;
    let names = vary(&response).join(", ");
    assert_eq!(names, "Accept, X-Other, Accept-Encoding, Origin");
    assert_eq!(response.header("access-control-allow-origin").as_deref(), Some("https://app.example.com"));
}

#[tokio::test]
async fn other_formats_are_compressed_and_say_nothing() {
    let gw = TestGateway::with(SECTIONS);
    let fake = r#"{"x":1,"statistics":{"rows_read":1,"bytes_read":1,"elapsed":0}}"#;
    let lines = format!("{fake}\n").repeat(500);
    for (media, body) in
        [("application/x-ndjson", &lines), ("text/csv; charset=utf-8", &lines), ("application/json", &lines)]
    {
        gw.origin.script([Answer::with_body(200, media, body).chunked()]);
        let response = zipped("/a").send(gw.addr()).await;
        assert_eq!(response.header("content-encoding").as_deref(), Some("gzip"), "{media}");
        assert_eq!(response.body_text(), *body, "{media}");
    }
    for line in gw.log(3).await {
        assert_eq!(costs(&line)[0], &Value::Null, "{line}");
    }
}

#[tokio::test]
async fn an_upstream_that_compresses_all_the_same_is_passed_on() {
    let gw = TestGateway::with(SECTIONS);
    let answer = Answer::json(200, document(5_000)).gzip().header("ETag", "\"v1\"");
    gw.origin.script([answer.clone(), answer]);
    let straight = Request::get("/").send(gw.origin.addr()).await;
    let through = zipped("/a").send(gw.addr()).await;
    through.assert_strictly_valid();
    assert_eq!(through.body, straight.body);
    for name in ["content-encoding", "content-length", "etag", "vary"] {
        assert_eq!(through.header(name), straight.header(name), "{name}");
    }
    let line = &gw.log(1).await[0];
    assert_eq!(line["rows_read"], 100_000, "gzip can be unpacked");
    gw.origin.script([Answer::json(200, document(5_000)).header("Content-Encoding", "br")]);
    zipped("/a").send(gw.addr()).await;
    let line = &gw.log(2).await[1];
    assert_eq!(costs(line), [&Value::Null; 4]);
    assert!(line["fault"].as_str().is_some_and(|fault| fault.contains("what it cost is unknown")), "{line}");
}

#[tokio::test]
async fn errors_are_scrubbed_and_not_compressed() {
    let gw = TestGateway::with(SECTIONS);
    let text = format!(r#"{{"error":"{}"}}"#, "no such column. ".repeat(200));
    for status in [400, 404] {
        gw.origin.script([Answer::json(status, &text)]);
        let response = zipped("/a").send(gw.addr()).await;
        assert_eq!((response.status, response.header("content-encoding")), (status, None));
        assert!(response.json()["error"].as_str().is_some_and(|error| error.contains("no such column")));
        assert_nothing_betrayed(&response);
    }
}

#[tokio::test]
async fn a_route_that_nobody_meters_is_left_alone() {
    let gw = TestGateway::with(&format!("usage: {{ measure: false }}\n{SECTIONS}"));
    let body = document(5_000);
    let answers = [
        Answer::json(200, &body).header("ETag", "\"v1\"").header("Vary", "Accept"),
        Answer::json(200, &body).gzip(),
        Answer::with_body(200, "text/csv", &body).chunked(),
    ];
    for answer in answers {
        gw.origin.forget_requests();
        gw.origin.script([answer.clone(), answer]);
        let straight = Request::get("/").send(gw.origin.addr()).await;
        gw.origin.forget_requests();
        let through = Request::get("/free").header("Accept-Encoding", "br;q=1, gzip").send(gw.addr()).await;
        assert_eq!(gw.origin.only_request().header("accept-encoding").as_deref(), Some("br;q=1, gzip"));
        assert_eq!(through.body, straight.body);
        for name in ["content-encoding", "content-length", "transfer-encoding", "etag", "vary"] {
            assert_eq!(through.header(name), straight.header(name), "{name}");
        }
    }
    gw.origin.forget_requests();
    assert_eq!(gw.get("/free").await.status, 200);
    assert_eq!(gw.origin.only_request().header("accept-encoding"), None);
    for line in gw.log(4).await {
        assert_eq!(costs(&line), [&Value::Null; 4]);
    }
}

#[tokio::test]
async fn any_limit_that_might_count_makes_a_route_metered() {
    let limits = "limits: { rows: { by: tenant, quota: 1000000/day, cost: rows_read, assume: 10 }, many: { by: gateway, quota: 5/day }, \
                  large: { by: gateway, quota: 1TB/day, cost: response_bytes }, slow: { by: gateway, quota: 1h/day, cost: seconds } }\n";
    for (sections, is_metered) in [
        ("routes: { /a: { pipe: a } }", false),
        ("routes: { /a: { pipe: a, limits: [many] } }", false),
        // How long an answer is must not depend on what the caller lets the upstream compress.
        ("routes: { /a: { pipe: a, limits: [many, large] } }", true),
        ("routes: { /a: { pipe: a, limits: [many, rows] } }", true),
        ("routes: { /a: { pipe: a, limits: [slow] } }", true),
        ("routes: { /a: { pipe: a } }\nserver: { limits: [rows] }", true),
        ("routes: { /a: { pipe: a } }\nplans: { free: { limits: [rows] } }", true),
        ("routes: { /a: { pipe: a } }\nhosts: { localhost: { limits: [rows] } }", true),
        ("routes: { /a: { pipe: a } }\nhosts: { localhost: {}, other.example.com: { limits: [rows] } }", true),
        (
            "routes: { /a: { pipe: a } }\nhosts: { localhost: {}, other.example.com: { limits: [rows], routes: { /b: { pipe: b } } } }",
            false,
        ),
        ("routes: { /b: { pipe: b } }\nhosts: { localhost: { limits: [rows], routes: { /a: { pipe: a } } } }", true),
        ("routes: { '/*': { proxy: '/{path.rest}', limits: [rows], pass_headers: [Accept-Encoding] } }", true),
    ] {
        let gw = TestGateway::with(&format!("{limits}{sections}\nusage: {{ measure: false }}\n"));
        gw.origin.always(Answer::json(200, document(5_000)));
        let response = zipped("/a").send(gw.addr()).await;
        assert_eq!(response.status, 200, "{sections}");
        let coding = if is_metered { "identity" } else { "gzip, deflate" };
        let seen = gw.origin.only_request();
        assert_eq!(seen.headers_all("accept-encoding"), [coding.as_bytes()], "{sections}");
        assert_eq!(response.header("content-encoding").is_some(), is_metered, "{sections}");
        assert_eq!(gw.log(1).await[0]["rows_read"].is_number(), is_metered, "{sections}");
    }
}

#[tokio::test]
async fn only_the_last_try_is_read() {
    let gw = TestGateway::with(&format!(
        "{SECTIONS}upstreams: {{ t: {{ url: '{{origin}}', token: '{TOKEN}', retry: {{ attempts: 3, base: 1ms, max: 1ms }} }} }}\n"
    ));
    let body = document(5_000);
    gw.origin.script([Answer::json(500, &body), Answer::json(429, &body), Answer::json(200, &body)]);
    let response = zipped("/a").send(gw.addr()).await;
    assert_eq!((response.status, response.body_text() == body), (200, true));
    let log = gw.log(1).await;
    assert_eq!((costs(&log[0]), &log[0]["attempts"]), (known(body.len()).each_ref(), &json!(3)));
    for seen in gw.origin.received() {
        assert_eq!(seen.header("accept-encoding").as_deref(), Some("identity"));
    }
}

#[tokio::test]
async fn a_hundred_mebibytes_are_metered_and_compressed_in_little_memory() {
    let origin = MockOrigin::start();
    let length = 100 * 1024 * 1024;
    // Bytes that no compression makes less, between the ends of a document.
    let pieces = [Piece::bytes("{"), Piece::Pattern(length), Piece::bytes(format!(",{STATISTICS}"))];
    origin.on_path("/v0/pipes/a", Answer::json(200, "").pieces(pieces).chunked());
    let process = Process::start(&format!(
        "listeners: [{{ address: 127.0.0.1:0 }}]\nadmin: {{ address: 127.0.0.1:0 }}\nlog: {{ format: json, access: access.log }}
upstreams: {{ t: {{ url: '{}', token: '{TOKEN}' }} }}\n{SECTIONS}",
        origin.url()
    ))
    .await;
    assert_eq!(Request::get("/free").send(process.addr()).await.status, 200);
    let idle = process.memory("VmHWM");
    let mut client = RawClient::connect(process.addr()).await;
    client.send(zipped("/a").bytes()).await;
    let mut unpacked = flate2::write::GzDecoder::new(Checked { seen: 0, check: PatternCheck::default(), length });
    let response =
        client.read_response_into(|bytes| std::io::Write::write_all(&mut unpacked, bytes).expect("gzip")).await;
    response.assert_strictly_valid();
    unpacked.finish().expect("a whole gzip body").check.assert_whole(length);
    let more = process.memory("VmHWM").saturating_sub(idle);
    assert!(more < 40 * 1024, "{more} KiB for {length} bytes");
    let mut log = String::new();
    eventually("two lines of the log", || {
        log = std::fs::read_to_string(process.folder().join("access.log")).unwrap_or_default();
        log.lines().count() == 2 && log.ends_with('\n')
    })
    .await;
    let line: Value = serde_json::from_str(log.lines().last().expect("two lines")).expect("JSON");
    assert_eq!(costs(&line), known(1 + length + 1 + STATISTICS.len() as u64).each_ref());
}

/// Checks the pattern between the first byte and the end of a document.
struct Checked {
    seen: u64,
    check: PatternCheck,
    length: u64,
}

impl std::io::Write for Checked {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let place = |byte: u64| usize::try_from(byte.saturating_sub(self.seen)).unwrap_or(usize::MAX).min(bytes.len());
        self.check.feed(&bytes[place(1)..place(1 + self.length)]);
        self.seen += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
