//! `log`: one line per request, and what never stands in one.

use serde_json::Value;

use crate::support::client::{self, RawClient, Request};
use crate::support::eventually::eventually_async;
use crate::support::gateway::{TOKEN, TestGateway};
use crate::support::h2_client::H2Client;
use crate::support::origin::{Answer, At, MockOrigin, Then};
use crate::support::process::Process;

const ROUTES: &str = "routes:
  /a: { pipe: a }
  /p: { proxy: /p, methods: [GET, POST], pass_headers: [X-Trace] }
";

/// Credentials that callers send, by mistake or by habit.
const CALLERS: &str = "callers-own-secret-0123456789";

#[tokio::test]
async fn each_request_has_one_line_of_json() {
    let gw = TestGateway::with(ROUTES);
    let calls = [
        Request::get("/a?limit=5"),
        Request::post("/p?x=1").typed_body("text/plain", "hello"),
        Request::get("/nowhere?x=1"),
        Request::get("/a?q=select"),
        Request::new("DELETE", "/a"),
        Request::get("/a%2fb"),
    ];
    for (before, call) in calls.iter().enumerate() {
        call.send(gw.addr()).await;
        // Two connections keep no order.
        gw.log(before + 1).await;
    }
    H2Client::connect(gw.addr()).await.get("/a?limit=5").await;
    let log = gw.log(7).await;
    assert_eq!(log.len(), 7);
    let field = |name: &str| log.iter().map(|line| line[name].clone()).collect::<Vec<Value>>();
    assert_eq!(field("status"), [200, 200, 404, 400, 405, 400, 200].map(Value::from));
    assert_eq!(field("path"), ["/a", "/p", "/nowhere", "/a", "/a", "/a%2fb", "/a"].map(Value::from));
    assert_eq!(field("method"), ["GET", "POST", "GET", "GET", "DELETE", "GET", "GET"].map(Value::from));
    assert_eq!(
        field("refusal"),
        [
            Value::Null,
            Value::Null,
            "route_not_found".into(),
            "control_parameter".into(),
            "method_not_allowed".into(),
            "bad_request".into(),
            Value::Null
        ]
    );
    let first = &log[0];
    assert_eq!((&first["route"], &first["upstream"], &first["attempts"]), (&"/a".into(), &"t".into(), &1.into()));
    assert_eq!((&first["client"], &first["host"]), (&"127.0.0.1".into(), &"localhost".into()));
    assert_eq!((&first["bytes_out"], &log[1]["bytes_in"]), (&20.into(), &5.into()));
    assert!(first["request_id"].is_string() && first["ms"].is_number() && first["upstream_ms"].is_number(), "{first}");
    assert_eq!((&log[2]["route"], &log[2]["upstream"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn each_request_has_one_line_of_text() {
    let gw = TestGateway::with(&format!("log: {{ format: text, access: access.log }}\n{ROUTES}"));
    let response = gw.get("/a?limit=5").await;
    gw.log_lines(1).await;
    gw.get("/nowhere?x=1").await;
    let lines = gw.log_lines(2).await;
    assert_eq!(lines.len(), 2);
    let id = response.header("x-request-id").unwrap();
    for word in ["GET /a 200 ", "route=/a", "upstream=t", "attempts=1", "host=localhost", id.as_str()] {
        assert!(lines[0].contains(word), "{word} in {}", lines[0]);
    }
    assert!(lines[1].contains("GET /nowhere 404 ") && lines[1].contains("refusal=route_not_found"), "{}", lines[1]);
}

#[tokio::test]
async fn faults_have_their_line_too() {
    let gw = TestGateway::with(&format!(
        "upstreams: {{ t: {{ url: '{{origin}}', token: '{TOKEN}', retry: {{ attempts: 1 }} }} }}\n{ROUTES}"
    ));
    gw.origin.script([Answer::close(), Answer::ok().cut(At::HalfBody, Then::Close), Answer::status(404)]);
    for before in 0..3 {
        gw.get("/a").await;
        gw.log(before + 1).await;
    }
    let log = gw.log(3).await;
    assert_eq!((&log[0]["status"], &log[0]["refusal"]), (&502.into(), &"upstream_failed".into()));
    assert!(log[0]["fault"].is_string() && log[1]["fault"].is_string(), "{log:?}");
    assert_eq!((&log[2]["status"], &log[2]["refusal"], &log[2]["fault"]), (&404.into(), &Value::Null, &Value::Null));
}

#[tokio::test]
async fn a_caller_who_leaves_after_100_continue_is_499() {
    let gw = TestGateway::with("routes: { /a: { pipe: a } }");
    let mut caller = client::RawClient::connect(gw.addr()).await;
    let request = Request::post("/a").header("Expect", "100-continue").json("{}");
    caller.send(request.head_bytes()).await;
    caller.read_some().await;
    drop(caller);
    assert_eq!(gw.log(1).await[0]["status"], 499);
}

/// Calls that carry credentials in every place a caller might put one.
async fn careless_calls(addr: std::net::SocketAddr) -> usize {
    let query = format!("token={CALLERS}&x=1");
    let calls = [
        Request::get(format!("/a?{query}")),
        Request::get(format!("/a?TOKEN={CALLERS}")),
        Request::get(format!("/a?%74oken={CALLERS}")),
        Request::get(format!("/p?{query}")),
        Request::get(format!("/nowhere?{query}")),
        Request::get(format!("/a.json&{query}")),
        Request::get(format!("/a%3F{query}")),
        Request::get(format!("/a;%74Oken={CALLERS}")),
        Request::get(format!("/a/token%3D{CALLERS}/x")),
        Request::get(format!("/a/../b?{query}")),
        Request::get(format!("/a%00?{query}")),
        Request::get(format!("/a?q=1&{query}")),
        Request::new("DELETE", format!("/a?{query}")),
        Request::get("/a").bearer(CALLERS).header("X-API-Key", CALLERS).header("Cookie", format!("token={CALLERS}")),
        Request::get("/p")
            .header("Referer", format!("https://x/?{query}"))
            .header("X-Trace", format!("token={CALLERS}")),
        Request::post("/a").form(&query),
        Request::post("/a").json(format!(r#"{{"token":"{CALLERS}"}}"#)),
        Request::post("/a").json(format!(r#"{{"token":"{CALLERS}""#)),
        Request::post("/a").typed_body("text/plain", &query),
        Request::post("/p").typed_body("text/plain", &query),
        Request::get(format!("/a?{query}")).header("X-Request-Id", format!("token={CALLERS}")),
        Request::get(format!("/a?{query}")).header("traceparent", CALLERS),
    ];
    let refused_by_the_parser = [
        Request::get(format!("http://u:{CALLERS}@localhost/a?{query}")),
        Request::get(format!("/a?{query}")).header("Host", "second"),
        Request::get(format!("/a?{query}")).header("X", "a\0b"),
        Request::new("CONNECT", format!("/a?{query}")),
        Request::get(format!("/a?{query}")).raw_header_line(format!("nonsense {CALLERS}")),
        Request::post(format!("/a?{query}")).header("Content-Length", "5").header("Content-Length", "6"),
        Request::post(format!("/a?{query}")).header("Transfer-Encoding", "nonsense"),
    ];
    for call in calls.iter().chain(&refused_by_the_parser) {
        let mut client = RawClient::connect(addr).await;
        client.send(call.clone().close().bytes()).await;
        client.read_some().await;
    }
    calls.len()
}

/// A configuration with a credential wherever there can be one.
fn secrets_everywhere(origin: &str, down: &str, format: &str) -> String {
    format!(
        "listeners: [{{ address: 127.0.0.1:0 }}]
admin: {{ address: 127.0.0.1:0, token: an-admin-token-nobody-sees }}
log: {{ level: debug, format: {format}, access: access.log }}
upstreams:
  t: {{ url: '{origin}', token: '{TOKEN}', headers: {{ X-Key: a-header-credential-0123 }}, retry: {{ attempts: 1 }} }}
  down: {{ url: '{down}', token: '{TOKEN}', retry: {{ attempts: 1 }} }}
routes:
  /a: {{ pipe: a, upstream: t }}
  /down: {{ pipe: a, upstream: down }}
  /p: {{ proxy: /p, methods: [GET, POST], pass_headers: [X-Trace], upstream: t }}
"
    )
}

#[tokio::test]
async fn l3_no_credential_in_any_log() {
    let origin = MockOrigin::start();
    let port = crate::support::unreachable::RefusedPort::reserve();
    for format in ["text", "json"] {
        let mut process = Process::start(&secrets_everywhere(&origin.url(), &port.url(), format)).await;
        let addr = process.addr();
        let mut count = careless_calls(addr).await;
        let leaky = format!("{TOKEN} token={CALLERS}");
        let faults = [
            Answer::close(),
            Answer::reset(),
            Answer::ok().header("ETag", TOKEN),
            Answer::json(500, format!(r#"{{"error":"{leaky}"}}"#)),
            Answer::json(400, format!(r#"{{"error":"{leaky}"}}"#)),
            Answer::ok().status_line(format!("HTTP/1.1 {leaky}")),
            Answer::ok().raw_header_line(format!("{leaky}\0")),
            Answer::raw(format!("{leaky}\r\n\r\n")).then(Then::Close),
            Answer::redirect(&format!("http://evil/?token={CALLERS}&t={TOKEN}")),
        ];
        count += faults.len() + 1;
        for fault in faults {
            origin.script([fault]);
            client::get(addr, &format!("/a?token={CALLERS}")).await;
        }
        client::get(addr, &format!("/down?token={CALLERS}")).await;
        client::request(
            process.admin(),
            "GET",
            &format!("/metrics?token={CALLERS}"),
            &[("Authorization", CALLERS)],
            b"",
        )
        .await;
        let mut scraper = client::RawClient::connect(process.admin()).await;
        let malformed = Request::get("/metrics").bearer("an-admin-token-nobody-sees").raw_header_line("nonsense");
        scraper.send(malformed.bytes()).await;
        scraper.wait_closed().await;
        // An exchange ends a moment after its caller has the last byte.
        let admin = process.admin();
        eventually_async("no exchange to be under way", || async move {
            client::get(admin, "/metrics").await.body_text().contains("\ntollgate_in_flight 0\n")
        })
        .await;
        process.signal("TERM");
        assert!(process.ended().await.success());
        let log = std::fs::read_to_string(process.folder().join("access.log")).unwrap();
        assert!(log.lines().count() >= count, "{} lines for {count} calls", log.lines().count());
        for (name, text) in [("stderr", process.stderr()), ("stdout", process.stdout()), ("access log", log)] {
            let secrets = [TOKEN, CALLERS, "a-header-credential", "an-admin-token", "token=", "TOKEN=", "%74oken"];
            for secret in secrets {
                let line = text.lines().find(|line| line.contains(secret));
                assert!(line.is_none(), "{secret} in {name}: {line:?}");
            }
        }
    }
}

#[tokio::test]
async fn g1_nothing_that_callers_write_breaks_a_line() {
    for format in ["text", "json"] {
        let gw = TestGateway::with(&format!("log: {{ format: {format}, access: access.log }}\n{ROUTES}"));
        let esc = "\x1b[2J\x1b]0;owned\x07";
        let calls = [
            Request::get("/a%0a{\"status\":200}"),
            Request::get("/a%0d%0aGET /b 200"),
            Request::get("/a%1b%5b2J"),
            Request::get("/a\u{9b}2J"),
            Request::get("/a\u{2028}{}"),
            Request::get("/a\u{202e}gpj"),
            Request::get(b"/a\xff\xfe"),
            Request::get("/a\"} {\"status\":200"),
            Request::get("/a\\\" host=evil id=1"),
            Request::get("/a").header("User-Agent", esc).header("Referer", esc).header("X-Request-Id", "a\" id=b"),
            Request::get("/a").host("evil%0ahost"),
            Request::get("/a").host("evil\" id=x"),
            Request::get("/a").host("ev\u{9b}il"),
            Request::get("/a").host("ev\u{202e}il"),
            Request::get("/a").host("ev\x7fil"),
            Request::get("/a\x1b[2J"),
            Request::get("/a\x7f"),
            Request::get("/a").header("X-Request-Id", "0123456789\u{202e}\x7f"),
            Request::new("G\"ET", "/a"),
            Request::get(format!("/{}", "x".repeat(12_000))),
        ];
        let count = calls.len();
        for call in calls {
            // Some are refused by the parser, before there is a line.
            let mut client = RawClient::connect(gw.addr()).await;
            client.send(call.clone().close().bytes()).await;
            client.read_some().await;
            gw.get("/a").await;
        }
        gw.get("/end").await;
        let file = gw.folder().join("access.log");
        crate::support::eventually::eventually("the last line", || {
            std::fs::read_to_string(&file).unwrap_or_default().contains("/end")
        })
        .await;
        let text = std::fs::read_to_string(&file).unwrap();
        let suspicious =
            |c: char| c != '\n' && (c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'));
        assert!(!text.contains(suspicious), "{format}: {}", text.escape_debug());
        let lines: Vec<&str> = text.lines().collect();
        assert!((count + 2..=2 * count + 1).contains(&lines.len()), "{} lines", lines.len());
        for line in lines {
            assert!(line.len() < 8_192, "a long line");
            match format {
                "json" => {
                    let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
                    assert!(value["request_id"].is_string(), "{line}");
                }
                _ => assert!(line.starts_with("20") && line.matches(" id=").count() == 1, "{line}"),
            }
        }
    }
}

#[tokio::test]
async fn off_writes_nothing() {
    let gw = TestGateway::with(&format!("log: {{ access: off }}\nusage: {{ ledger: false }}\n{ROUTES}"));
    assert_eq!(gw.get("/a").await.status, 200);
    let mut gw = gw;
    drop(gw.take_app());
    let left: Vec<_> = std::fs::read_dir(gw.folder()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_sample_leaves_out_what_went_well_and_no_failure() {
    let gw = TestGateway::with(&format!("log: {{ format: json, access: access.log, sample: 0% }}\n{ROUTES}"));
    for _ in 0..20 {
        assert_eq!(gw.get("/a").await.status, 200);
    }
    gw.origin.script([Answer::status(503)]);
    assert_eq!(gw.get("/a").await.status, 503);
    let log = gw.log(1).await;
    assert_eq!(log.len(), 1);
    assert_eq!(log[0]["status"], 503);
}

#[tokio::test]
async fn stdout_takes_the_access_log_and_stderr_the_rest() {
    let origin = MockOrigin::start();
    let mut process = Process::start(&format!(
        "listeners: [{{ address: 127.0.0.1:0 }}]
admin: {{ address: 127.0.0.1:0 }}
log: {{ format: json }}
upstreams: {{ t: {{ url: '{}', token: '{TOKEN}' }} }}
{ROUTES}",
        origin.url()
    ))
    .await;
    let mut client = RawClient::connect(process.addr()).await;
    for path in ["/a", "/nowhere"] {
        Request::get(path).send_on(&mut client).await;
    }
    process.signal("TERM");
    assert!(process.ended().await.success());
    let stdout = process.stdout();
    let statuses: Vec<Value> =
        stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["status"].clone()).collect();
    assert_eq!(statuses, [200, 404].map(Value::from));
    // Before them stands what `check` says about the file.
    let stderr = process.stderr();
    let lines = stderr.lines().skip_while(|line| !line.starts_with('{'));
    assert!(lines.clone().count() > 3, "{stderr}");
    for line in lines {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(value["time"].as_str().is_some_and(|time| time.starts_with("20") && time.ends_with('Z')), "{line}");
        assert!(value["message"].is_string() && value["status"].is_null(), "{line}");
    }
}

#[tokio::test]
async fn callers_who_break_off_do_not_fill_the_log() {
    let origin = MockOrigin::start();
    let mut process = Process::start(&format!(
        "listeners: [{{ address: 127.0.0.1:0 }}]
admin: {{ address: 127.0.0.1:0 }}
upstreams: {{ t: {{ url: '{}', token: '{TOKEN}' }} }}
{ROUTES}",
        origin.url()
    ))
    .await;
    for head in [b"".as_slice(), b"GET / HT", b"\x16\x03\x01\x02\x00\x01\x00", b"GARBAGE\r\n\r\n"] {
        let mut client = RawClient::connect(process.addr()).await;
        client.send(head).await;
        client.abort();
        let mut client = RawClient::connect(process.addr()).await;
        client.send(head).await;
        client.half_close().await;
        client.read_to_end_raw().await;
    }
    let mut client = RawClient::connect(process.addr()).await;
    assert_eq!(Request::get("/a").send_on(&mut client).await.status, 200);
    process.signal("TERM");
    assert!(process.ended().await.success());
    assert!(!process.stderr().contains("ERROR"), "{}", process.stderr());
}

/// A gateway in front of `origin` that writes `log`.
fn logging(origin: &MockOrigin, log: &str) -> String {
    format!(
        "listeners: [{{ address: 127.0.0.1:0 }}]
admin: {{ address: 127.0.0.1:0 }}
log: {{ {log} }}
upstreams: {{ t: {{ url: '{}', token: '{TOKEN}', retry: {{ attempts: 1 }} }} }}
{ROUTES}",
        origin.url()
    )
}

/// Sends this call again and again, on as few connections as the gateway lets it.
async fn flood(addr: std::net::SocketAddr, call: Request, count: usize) {
    let mut client = RawClient::connect(addr).await;
    for _ in 0..count {
        client.send(call.bytes()).await;
        let closes = match client.try_read_response().await {
            Ok(response) => response.header("connection").is_some_and(|value| value == "close"),
            Err(_) => true,
        };
        if closes {
            client = RawClient::connect(addr).await;
        }
    }
}

/// Ten thousand requests that are wrong in every way; those of them that have a line.
async fn flood_of_everything(addr: std::net::SocketAddr) -> usize {
    let esc = "\x1b]0;owned\x07";
    tokio::join!(
        flood(addr, Request::get("/a"), 1_000),
        flood(addr, Request::get("/nowhere/%1b%5b2J%0a{}"), 3_000),
        flood(addr, Request::new("BREW", "/a").header("User-Agent", "x".repeat(500)), 2_000),
        flood(addr, Request::get("/a?q=1").header("traceparent", "x").header("tracestate", "="), 2_000),
        flood(addr, Request::get("/a").host("ev il"), 1_000),
        flood(addr, Request::get("/a").raw_header_line(format!("nonsense {esc}")), 1_000),
    );
    9_000
}

#[tokio::test]
async fn g2_ten_thousand_bad_requests_do_not_fill_the_program_log() {
    let origin = MockOrigin::start();
    // The gateway calls for help at each such answer.
    origin.always(Answer::ok().header("ETag", TOKEN));
    let mut process = Process::start(&logging(&origin, "level: debug, format: text, access: access.log")).await;
    let with_lines = flood_of_everything(process.addr()).await;
    process.signal("TERM");
    assert!(process.ended().await.success());
    let said = process.stderr();
    assert!(said.len() < 64 << 10, "{} bytes", said.len());
    let cries = said.lines().filter(|line| line.contains("ERROR upstream t sent a configured credential")).count();
    assert_eq!(cries, 100, "{said}");
    let rest = "ERROR 900 more lines like this one were left out: upstream t sent a configured credential";
    assert!(said.contains(rest), "{said}");
    let log = std::fs::read_to_string(process.folder().join("access.log")).unwrap();
    assert_eq!(log.lines().count(), with_lines, "one line per request");
    assert!(log.lines().all(|line| line.len() < 1_024));
}

#[tokio::test]
async fn g2_a_sample_bounds_the_access_log() {
    let origin = MockOrigin::start();
    let mut process =
        Process::start(&logging(&origin, "level: debug, format: json, access: access.log, sample: 1%")).await;
    let with_lines = flood_of_everything(process.addr()).await;
    process.signal("TERM");
    assert!(process.ended().await.success());
    let log = std::fs::read_to_string(process.folder().join("access.log")).unwrap();
    let count = log.lines().count();
    assert!(count > 0 && count < with_lines / 50, "{count} lines");
    assert!(process.stderr().len() < 8 << 10, "{}", process.stderr());
}

/// Ids of the requests in these files, in no order.
fn ids(files: &[std::path::PathBuf]) -> Vec<String> {
    let texts = files.iter().map(|file| std::fs::read_to_string(file).expect("a log"));
    let lines: Vec<String> = texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    let id = |line: &String| {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        value["request_id"].as_str().expect("an id").to_owned()
    };
    lines.iter().map(id).collect()
}

#[tokio::test]
async fn rotating_loses_no_line_and_doubles_none() {
    let origin = MockOrigin::start();
    let mut process = Process::start(&logging(&origin, "format: json, access: access.log")).await;
    let log = process.folder().join("access.log");
    let addr = process.addr();
    let calls = tokio::spawn(async move {
        let mut client = RawClient::connect(addr).await;
        for id in 0..3_000 {
            Request::get("/a").header("X-Request-Id", format!("number-{id:06}")).send_on(&mut client).await;
        }
    });
    let mut files = vec![log.clone()];
    for turn in 0..5 {
        let written = || std::fs::metadata(&log).is_ok_and(|file| file.len() > 0);
        crate::support::eventually::eventually("a line in the fresh file", || written() || calls.is_finished()).await;
        let old = process.folder().join(format!("access.log.{turn}"));
        std::fs::rename(&log, &old).unwrap();
        process.signal("USR1");
        crate::support::eventually::eventually("a fresh file", || log.exists()).await;
        files.push(old);
    }
    calls.await.unwrap();
    process.signal("TERM");
    assert!(process.ended().await.success());
    let mut found = ids(&files);
    found.sort();
    let expected: Vec<String> = (0..3_000).map(|id| format!("number-{id:06}")).collect();
    assert_eq!(found, expected);
    assert_eq!(process.stderr().matches("was opened again").count(), 5);
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_again_is_said_and_the_old_one_goes_on() {
    let origin = MockOrigin::start();
    let mut process = Process::run(&logging(&origin, "format: json, access: logs/access.log"));
    assert!(!process.ended().await.success(), "there is no folder: {}", process.stderr());
    let mut process = Process::start_in(&logging(&origin, "format: json, access: logs/access.log"), "logs").await;
    let folder = process.folder();
    assert_eq!(Request::get("/a").send(process.addr()).await.status, 200);
    std::fs::rename(folder.join("logs"), folder.join("gone")).unwrap();
    process.signal("USR1");
    let told = || process.stderr().contains("cannot be opened again");
    crate::support::eventually::eventually("a word about the folder", told).await;
    assert_eq!(Request::get("/a").send(process.addr()).await.status, 200);
    std::fs::create_dir(folder.join("logs")).unwrap();
    process.signal("USR1");
    crate::support::eventually::eventually("the fresh file", || folder.join("logs/access.log").exists()).await;
    assert_eq!(Request::get("/a").send(process.addr()).await.status, 200);
    process.signal("TERM");
    assert!(process.ended().await.success());
    let count = |file: &str| std::fs::read_to_string(folder.join(file)).unwrap().lines().count();
    assert_eq!((count("gone/access.log"), count("logs/access.log")), (2, 1));
}

#[tokio::test]
async fn without_a_file_the_signal_changes_nothing() {
    let origin = MockOrigin::start();
    for access in ["stdout", "off"] {
        let mut process = Process::start(&logging(&origin, &format!("format: json, access: {access}"))).await;
        process.signal("USR1");
        assert_eq!(Request::get("/a").send(process.addr()).await.status, 200);
        assert!(process.is_running());
        process.signal("TERM");
        assert!(process.ended().await.success());
        assert!(!process.stderr().contains("opened again"), "{}", process.stderr());
    }
}

#[tokio::test]
async fn what_remains_is_the_gateways_own_time() {
    let gw = TestGateway::with(ROUTES);
    gw.get("/a").await;
    let line = gw.log(1).await.remove(0);
    let field = |name: &str| line[name].as_f64().unwrap();
    assert!((field("ms") - field("upstream_ms") - field("gateway_ms")).abs() < 0.002, "{line}");
}

#[tokio::test]
async fn lines_of_text_have_their_time_in_a_file() {
    let origin = MockOrigin::start();
    let process = Process::start(&logging(&origin, "format: text, access: off")).await;
    let said = process.stderr();
    let line = said.lines().find(|line| line.contains("listening on")).unwrap();
    let (time, rest) = line.split_once(' ').unwrap();
    assert!(time.starts_with("20") && time.ends_with('Z') && time.len() == 24, "{line}");
    assert!(rest.starts_with("INFO  listening on http://"), "{line}");
}
