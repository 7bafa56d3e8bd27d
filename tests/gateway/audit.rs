//! `tollgate audit --brand`: what it calls, and what it finds.

use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::eventually::eventually_async;
use crate::support::gateway::{TOKEN, TestGateway};
use crate::support::origin::{Answer, MockOrigin};

/// The file of an audit in front of this origin, and what the audit says of it.
fn audit(origin: &MockOrigin, sections: &str, more: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let file = folder.path().join("test.yaml");
    let text = format!("upstreams: {{ t: {{ url: '{}', token: '{TOKEN}' }} }}\n{sections}", origin.url());
    std::fs::write(&file, text).expect("a file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.args(["audit", "--brand", "-c"]).arg(&file).args(more).stdin(Stdio::null());
    command.output().expect("the binary starts")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const ROUTES: &str = "default_auth: public
routes:
  /a: { pipe: a, params: { allow: [start, limit] } }
  /p/*: { proxy: '/in/{path.rest}', methods: [GET, PUT, DELETE] }
";

#[test]
fn an_answer_that_names_what_runs_behind_it_is_found() {
    let origin = MockOrigin::start();
    for (answer, word) in [
        (Answer::json(200, r#"{"data":[],"by":"TinyBird"}"#), "the name `tinybird`"),
        (Answer::json(200, r#"{"data":["ClickHouse 24.3"]}"#).chunked(), "the name `clickhouse`"),
        (Answer::json(200, r#"{"data":["see Secret-Sauce"]}"#), "the word `secret-sauce`"),
        (Answer::json(200, format!("{{\"at\":\"{}\"}}", origin.url())), "the upstream's host `127.0.0.1:"),
        (Answer::json(200, "{}").header("ETag", "\"tinybird-1\""), "the name `tinybird`"),
        (Answer::redirect("https://docs.secret-sauce.example/x"), "the word `secret-sauce`"),
    ] {
        origin.always(answer.clone());
        let output = audit(&origin, ROUTES, &["--words", "secret-sauce"]);
        assert_eq!(output.status.code(), Some(1), "{answer:?}\n{}{}", out(&output), err(&output));
        assert!(out(&output).contains(word), "{answer:?}\n{}", out(&output));
        assert!(out(&output).contains("GET /a (host localhost; as it is meant)"), "{}", out(&output));
        assert!(err(&output).contains(" finding"), "talk goes to stderr: {}", err(&output));
    }
}

#[test]
fn what_the_gateway_hides_is_not_found() {
    let origin = MockOrigin::start();
    let telling = |answer: Answer| {
        let words = format!("Tinybird at {} says ClickHouse failed, token={TOKEN}", origin.url());
        answer.header("Server", "ClickHouse").header("Via", "tinybird").header("X-DB-Code", "1").reason(&words)
    };
    let error = format!(r#"{{"error":"Tinybird at {}","documentation":"https://tinybird.co"}}"#, origin.url());
    for answer in [
        telling(Answer::json(200, r#"{"data":[]}"#)),
        telling(Answer::json(400, &error)),
        telling(Answer::json(500, &error)),
        telling(Answer::redirect(&format!("{}/x", origin.url()))),
        Answer::close(),
        Answer::raw("HTTP/1.1 200 Tinybird\r\nContent-Length: x\r\n\r\n"),
    ] {
        origin.always(answer.clone());
        let output = audit(&origin, ROUTES, &[]);
        assert_eq!((output.status.code(), out(&output)), (Some(0), String::new()), "{answer:?}\n{}", err(&output));
    }
}

#[test]
fn every_route_is_called_and_nothing_is_changed_behind_it() {
    let origin = MockOrigin::start();
    origin.always(Answer::json(200, r#"{"data":[]}"#));
    let output = audit(&origin, ROUTES, &[]);
    assert_eq!(output.status.code(), Some(0), "{}{}", out(&output), err(&output));
    let received = origin.received();
    let has = |method: &str, target: &str| {
        received.iter().any(|request| request.method == method && request.target.starts_with(target))
    };
    for (method, target) in [
        ("GET", "/v0/pipes/a.json"),
        ("HEAD", "/v0/pipes/a.json"),
        ("POST", "/v0/pipes/a.json"),
        ("GET", "/v0/pipes/a.json?start=%27"),
        ("GET", "/v0/pipes/a.json?limit=%27"),
        ("GET", "/in/audit"),
    ] {
        assert!(has(method, target), "{method} {target}");
    }
    let writes = received.iter().filter(|request| request.target.starts_with("/in/") && request.method != "GET");
    assert!(
        writes.clone().all(|request| request.method == "HEAD"),
        "{:?}",
        writes.map(|r| &r.method).collect::<Vec<_>>()
    );
}

#[test]
fn limits_do_not_hide_what_is_behind_them() {
    let origin = MockOrigin::start();
    origin.always(Answer::json(200, r#"{"data":["tinybird"]}"#));
    let limited = "limits: { one: { by: gateway, rate: 1/d } }
default_auth: public
routes: { /a: { pipe: a, limits: [one] }, /b: { pipe: b, limits: [one] } }
server: { limits: [one] }
";
    let output = audit(&origin, limited, &["--format", "json"]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("one document");
    assert!(report["statuses"].get("429").is_none(), "{report:#}");
    for path in ["/a", "/b"] {
        let found = report["findings"].as_array().unwrap().iter();
        assert!(found.clone().any(|one| one["request"]["line"] == format!("GET {path}")), "{report:#}");
    }
    let first = &report["findings"][0];
    assert_eq!((&first["place"], &first["status"]), (&"the body".into(), &200.into()), "{first}");
    assert!(first["context"].as_str().is_some_and(|text| text.contains("tinybird")), "{first}");
}

#[test]
fn a_credential_that_is_given_opens_what_wants_one_and_is_not_shown() {
    let origin = MockOrigin::start();
    origin.always(Answer::json(200, format!(r#"{{"data":["tinybird"],"echo":"{TOKEN}"}}"#)));
    let guarded = "auth: { partners: { type: api_key, keys: ./keys.yaml } }
default_auth: partners
routes: { /a: { pipe: a } }
";
    let folder = tempfile::tempdir().expect("a folder for the test");
    let key = crate::support::credentials::api_key("Good00000001", "good");
    std::fs::write(folder.path().join("keys.yaml"), crate::support::credentials::record(&key, ", tenant: acme"))
        .unwrap();
    let guarded = guarded.replace("./keys.yaml", &folder.path().join("keys.yaml").display().to_string());
    let without = audit(&origin, &guarded, &[]);
    assert_eq!(without.status.code(), Some(0), "{}", out(&without));
    assert!(err(&without).contains("No call of a route succeeded"), "{}", err(&without));
    origin.assert_untouched();
    let with = audit(&origin, &guarded, &["-H", &format!("Authorization: Bearer {key}")]);
    assert_eq!(with.status.code(), Some(1), "{}{}", out(&with), err(&with));
    for text in [out(&with), err(&with)] {
        assert!(!text.contains(&key) && !text.contains(TOKEN), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_runs_can_be_asked() {
    let sections =
        "default_auth: public\nroutes: { /a: { pipe: a } }\nhosts: { a.example.com: {}, '*.b.example': {} }\n";
    let gw = TestGateway::with(sections);
    gw.origin.always(Answer::json(200, "{}"));
    let origin = MockOrigin::start();
    let url = format!("http://{}", gw.addr());
    let output = audit(&origin, sections, &["--url", &url]);
    assert_eq!((output.status.code(), out(&output)), (Some(0), String::new()), "{}", err(&output));
    origin.assert_untouched();
    assert!(gw.origin.received_count() > 5);
    // The log is written behind the answers.
    eventually_async("hosts of the configuration in the log", || async {
        let lines = gw.log(1).await;
        let has = |host: &str| lines.iter().any(|line| line["host"] == host);
        has("a.example.com") && has("audit.b.example") && has("audit.invalid")
    })
    .await;
}

#[test]
fn it_ends_with_2_where_nothing_can_be_asked_and_with_64_where_the_call_is_wrong() {
    let origin = MockOrigin::start();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = audit(&origin, ROUTES, &["--url", &format!("http://{closed}")]);
    assert_eq!((output.status.code(), out(&output)), (Some(2), String::new()));
    assert!(err(&output).contains("cannot be called"), "{}", err(&output));
    let output = audit(&origin, "routes: { /a: { pipe: a, nothing: 1 } }", &[]);
    assert_eq!(output.status.code(), Some(2));
    for wrong in [&["--url", "ftp://x"][..], &["--url", "http://x/path"], &["-H", "no header"], &["--format", "xml"]] {
        let output = audit(&origin, ROUTES, wrong);
        assert_eq!((output.status.code(), out(&output)), (Some(64), String::new()), "{wrong:?}");
    }
    let output = Command::new(env!("CARGO_BIN_EXE_tollgate")).args(["audit", "-c", "x"]).output().unwrap();
    assert_eq!(output.status.code(), Some(64), "there is one kind of audit, and it is named");
}
