//! `white_label.strip`: members of a pipe's JSON that callers do not get, taken out while the answer streams.

use serde_json::Value;

use crate::support::client::{Request, Response};
use crate::support::gateway::{TestGateway, assert_nothing_betrayed, assert_refused};
use crate::support::h2_client::H2Client;
use crate::support::origin::{Answer, Piece};

const SECTIONS: &str = "white_label: { strip: [statistics, meta] }
routes:
  /a: { pipe: a }
  /f: { pipe: f, formats: [json, csv, ndjson, parquet] }
  /p: { proxy: /p }
";

const BODY: &str = r#"{
	"meta": [{ "name": "n", "type": "UInt64" }],
	"data": [{ "n": 18446744073709551615, "statistics": { "meta": 1 }, "x": 1.10 }],
	"rows": 1,
	"statistics": { "elapsed": 0.5, "rows_read": 7, "bytes_read": 70 }
}
"#;

const LEFT: &str = r#"{
	"data": [{ "n": 18446744073709551615, "statistics": { "meta": 1 }, "x": 1.10 }],
	"rows": 1
}
"#;

fn gateway() -> TestGateway {
    TestGateway::with(SECTIONS)
}

async fn through(gw: &TestGateway, answer: Answer) -> Response {
    gw.origin.script([answer]);
    let response = gw.get("/a").await;
    response.assert_strictly_valid();
    assert_nothing_betrayed(&response);
    response
}

#[tokio::test]
async fn answers_lose_what_is_named_however_they_come() {
    let gw = gateway();
    let bytes: Vec<Piece> = BODY.bytes().map(|byte| Piece::bytes([byte])).collect();
    for answer in [
        Answer::json(200, BODY),
        Answer::json(200, BODY).chunked(),
        Answer::json(200, "").pieces(bytes).chunked(),
        Answer::json(200, BODY).until_close(),
        Answer::json(201, BODY),
        Answer::json(200, BODY).header("Content-Encoding", "identity"),
        // Whatever it is called.
        Answer::with_body(200, "text/plain", BODY),
        Answer::with_body(200, "application/json; charset=utf-8", BODY),
    ] {
        let response = through(&gw, answer.clone()).await;
        assert_eq!(response.body_text(), LEFT, "{answer:?}");
        assert_eq!(response.header("content-length"), None, "{response:#?}");
    }
    for (text, left) in [("", ""), ("{}", "{}"), ("[1]", "[1]"), (r#"{"meta":1}"#, "{}"), (r#"{"meta":1"#, "{")] {
        assert_eq!(through(&gw, Answer::json(200, text)).await.body_text(), left);
    }
}

#[tokio::test]
async fn by_default_nothing_is_taken_out() {
    let gw = TestGateway::with("routes: { /a: { pipe: a } }\nusage: { measure: false }");
    let response = through(&gw, Answer::json(200, BODY)).await;
    assert_eq!(response.body_text(), BODY);
    assert_eq!(response.header("content-length"), Some(BODY.len().to_string()));
    Request::get("/a").header("Accept-Encoding", "gzip, br").send(gw.addr()).await;
    let asked = gw.origin.received().pop().unwrap();
    assert_eq!(
        asked.header("accept-encoding").as_deref(),
        Some("gzip, br"),
        "the upstream compresses as callers like it"
    );
}

#[tokio::test]
async fn other_formats_and_other_apis_pass_as_they_are() {
    let gw = gateway();
    for (target, media) in [
        ("/f.csv", "text/csv"),
        ("/f.ndjson", "application/x-ndjson"),
        ("/f.parquet", "application/octet-stream"),
        ("/p", "application/json"),
    ] {
        gw.origin.script([Answer::with_body(200, media, BODY).header("ETag", "\"v\"")]);
        let response = gw.get(target).await;
        assert_eq!(response.body_text(), BODY, "{target}");
        assert_eq!(response.header("etag").as_deref(), Some("\"v\""));
        Request::get(target).header("Accept-Encoding", "gzip").header("Range", "bytes=1-2").send(gw.addr()).await;
        let asked = gw.origin.received().pop().unwrap();
        assert_eq!(asked.header("accept-encoding").as_deref(), Some("gzip"), "{target}");
        assert_eq!(asked.header("range").as_deref(), Some("bytes=1-2"), "{target}");
    }
}

#[tokio::test]
async fn the_upstream_is_asked_for_all_of_it_as_it_is_and_the_gateway_compresses() {
    let gw = gateway();
    let rows = format!("{{\"meta\":[],\"data\":[{}1],\"statistics\":{{}}}}", "\"mark\",".repeat(2000));
    gw.origin.script([Answer::json(200, &rows)]);
    let request = Request::get("/a").header("Accept-Encoding", "gzip").header("Range", "bytes=0-9");
    let response = request.send(gw.addr()).await;
    let asked = gw.origin.only_request();
    assert_eq!(asked.header("accept-encoding").as_deref(), Some("identity"));
    assert_eq!(asked.header("range"), None);
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-encoding").as_deref(), Some("gzip"));
    assert_eq!(response.header("vary").as_deref(), Some("Accept-Encoding"));
    assert_eq!(
        String::from_utf8(response.decoded_body()).unwrap(),
        rows.replace("\"meta\":[],", "").replace(",\"statistics\":{}", "")
    );
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_held_back() {
    let gw = gateway();
    let answers = [
        Answer::json(200, BODY).gzip(),
        Answer::json(200, BODY).header("Content-Encoding", "br"),
        Answer::json(200, BODY).header("Content-Encoding", "deflate"),
        Answer::json(206, BODY).header("Content-Range", "bytes 0-9/10"),
        Answer::json(200, BODY).header("Content-Range", "bytes 0-9/10"),
    ];
    let count = answers.len();
    for answer in answers {
        let response = through(&gw, answer).await;
        assert_refused(&response, 502, "upstream_failed");
    }
    for line in gw.log(count).await {
        assert!(line["fault"].as_str().is_some_and(|fault| fault.contains("compressed")), "{line}");
    }
}

#[tokio::test]
async fn tags_and_lengths_are_those_of_what_is_sent() {
    let gw = gateway();
    let plain = || Answer::json(200, BODY).header("ETag", "\"v\"").header("Accept-Ranges", "bytes");
    let response = through(&gw, plain()).await;
    assert_eq!(response.header("etag").as_deref(), Some("W/\"v\""));
    assert_eq!(response.header("accept-ranges"), None);

    gw.origin.script([plain()]);
    let head = Request::head("/a").send(gw.addr()).await;
    head.assert_strictly_valid();
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, None, 0));
    assert_eq!(head.header("etag").as_deref(), Some("W/\"v\""));

    let unchanged = through(&gw, Answer::status(304).header("ETag", "\"v\"")).await;
    assert_eq!((unchanged.status, unchanged.header("etag").as_deref()), (304, Some("W/\"v\"")));
    let empty = through(&gw, Answer::status(204)).await;
    assert_eq!((empty.status, empty.body.len()), (204, 0));
}

#[tokio::test]
async fn callers_of_every_protocol_get_the_same() {
    let gw = gateway();
    gw.origin.script([Answer::json(200, BODY), Answer::json(200, BODY)]);
    let old = Request::get("/a").http10().send(gw.addr()).await;
    old.assert_strictly_valid();
    assert_eq!(old.body_text(), LEFT);
    let new = H2Client::connect(gw.addr()).await.get("/a").await;
    assert_eq!((new.status, new.broken_off), (200, None));
    assert_eq!(String::from_utf8(new.body.to_vec()).unwrap(), LEFT);
}

#[tokio::test]
async fn errors_lose_them_too() {
    let gw = gateway();
    let body = r#"{"error":"wrong","statistics":{"rows_read":1},"meta":[],"hint":{"meta":1}}"#;
    let json = through(&gw, Answer::json(400, body)).await.json();
    assert_eq!((json.get("statistics"), json.get("meta")), (None, None));
    assert_eq!(json["hint"], serde_json::json!({ "meta": 1 }));
}

#[tokio::test]
async fn a_cut_answer_is_cut_for_the_caller_too() {
    use crate::support::origin::{At, Then};
    let gw = gateway();
    let long = format!("{{\"meta\":[],\"data\":[{}1]}}", "1,".repeat(100_000));
    for answer in [Answer::json(200, &long), Answer::json(200, &long).chunked()] {
        gw.origin.script([answer.cut(At::HalfBody, Then::Close)]);
        let response = gw.get("/a").await;
        assert_eq!(response.status, 200);
        assert!(serde_json::from_slice::<Value>(&response.body).is_err(), "nobody takes it for whole");
        assert!(!response.contains("meta"));
    }
}

#[tokio::test]
async fn what_a_query_cost_is_read_before_it_is_taken_out() {
    let gw = TestGateway::with(
        "white_label: { strip: [statistics, meta] }
limits: { scan: { by: gateway, quota: 1000/day, cost: rows_read, assume: 10 } }
routes: { /a: { pipe: a, limits: [scan] } }",
    );
    let response = through(&gw, Answer::json(200, BODY)).await;
    assert_eq!(response.body_text(), LEFT);
    let line = gw.log(1).await.pop().unwrap();
    assert_eq!(line["rows_read"], 7, "{line}");
}

#[tokio::test]
async fn what_is_no_document_streams_through() {
    let gw = gateway();
    gw.origin.script([Answer::stream(64 << 20)]);
    let response = gw.get("/a").await;
    assert_eq!((response.status, response.body.len()), (200, 64 << 20));
}

#[tokio::test]
async fn a_redirect_has_no_body_in_the_upstreams_words() {
    for sections in [SECTIONS, "routes: { /a: { pipe: a } }"] {
        let gw = TestGateway::with(sections);
        let words = "<html><h1>Moved</h1><a href='http://inner.example/x'>Tinybird</a></html>";
        for answer in [
            Answer::with_body(302, "text/html", words),
            Answer::with_body(301, "text/html", words).chunked(),
            Answer::with_body(307, "text/html", words).gzip(),
            Answer::with_body(308, "text/html", words).until_close(),
        ] {
            let response = through(&gw, answer.clone().header("Location", "https://cdn.example.com/x")).await;
            assert_eq!(response.header("location").as_deref(), Some("https://cdn.example.com/x"), "{answer:?}");
            assert_eq!((response.body.len(), response.header("content-type")), (0, None), "{answer:?}: {response:#?}");
            assert_eq!(response.header("content-encoding"), None);
        }
        gw.origin.script([Answer::with_body(302, "text/html", words)]);
        let new = H2Client::connect(gw.addr()).await.get("/a").await;
        assert_eq!((new.status, new.broken_off, new.body.len()), (302, None, 0));
        gw.origin.script([Answer::with_body(302, "text/html", words)]);
        let head = Request::head("/a").send(gw.addr()).await;
        head.assert_strictly_valid();
    }
}
