//! `usage.export`: lines of the ledger, as a data source gets them.
//!
//! The receiver is a [`MockOrigin`] that unpacks what it gets, and deduplicates by id as the data source does.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use flate2::read::GzDecoder;
use serde_json::Value;
use tollgate::clock::{Clock, TestClock};
use tollgate::config::interpolate::Environment;
use tollgate::config::scalar::TenantName;
use tollgate::config::{Config, load_text};
use tollgate::exchange::usage::{UsageKeyRef, Used};
use tollgate::state::usage::{Exported, Place, Question, Side, Usage, ask};

use crate::support::client::Request;
use crate::support::credentials::{PROVIDERS, api_key, record};
use crate::support::eventually::{eventually, eventually_async};
use crate::support::gateway::{TOKEN, TestGateway};
use crate::support::origin::{Answer, At, MockOrigin, Received, Then};

const APPEND: &str = "p.eyJ1IjoidGVzdCJ9.may-append-and-nothing-else";
/// More than a minute, so that the one before is closed and its lines are on their way.
const TURN: Duration = Duration::from_secs(75);
const DAY: Duration = Duration::from_secs(86_400);

/// What Tinybird answers with `wait=true`.
fn taken(received: &Received) -> Answer {
    let lines = text_of(received).lines().count();
    Answer::json(200, format!(r#"{{"successful_rows":{lines},"quarantined_rows":0}}"#))
}

fn receiver() -> MockOrigin {
    let receiver = MockOrigin::start();
    receiver.respond_with(taken);
    receiver
}

fn text_of(received: &Received) -> String {
    let mut text = String::new();
    GzDecoder::new(received.body.as_slice()).read_to_string(&mut text).expect("gzip");
    assert!(text.ends_with('\n'), "{text}");
    text
}

fn lines_of(received: &Received) -> Vec<Value> {
    text_of(received).lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

/// The lines of all these calls, as a data source has them that keeps one of each id; panics where two are not the same.
fn deduplicated(calls: &[Received]) -> BTreeMap<String, Value> {
    let mut kept = BTreeMap::new();
    for line in calls.iter().flat_map(lines_of) {
        let id = line["id"].as_str().expect("an id").to_owned();
        let before = kept.insert(id, line.clone());
        assert!(before.is_none_or(|before| before == line), "the same id, another line: {line}");
    }
    kept
}

fn requests(lines: &BTreeMap<String, Value>) -> u64 {
    lines.values().map(|line| line["requests"].as_u64().expect("a number")).sum()
}

/// Usage that is counted without a gateway, and exported.
struct Metered {
    usage: Usage,
    time: TestClock,
    folder: Arc<tempfile::TempDir>,
}

impl Metered {
    fn new(receiver: &str, export: &str) -> Self {
        Metered::begin(receiver, export, TestClock::new(), Arc::new(tempfile::tempdir().expect("a folder")))
    }

    fn begin(receiver: &str, export: &str, time: TestClock, folder: Arc<tempfile::TempDir>) -> Self {
        let usage = Usage::new(time.clock());
        usage.follow(&config(receiver, export, folder.path().to_path_buf()));
        Metered { usage, time, folder }
    }

    /// The same after an end and a new start of the process.
    fn again(self, receiver: &str, export: &str) -> Self {
        let Metered { usage, time, folder } = self;
        drop(usage);
        Metered::begin(receiver, export, time, folder)
    }

    /// Counts so many requests of a tenant now, and has them written.
    async fn count(&self, tenant: &str, requests: u64) {
        let tenant: TenantName = tenant.parse().expect("a name");
        let seconds = self.time.clock().wall().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let minute = u32::try_from(seconds / 60).expect("a minute");
        let key = UsageKeyRef { minute, tenant: Some(&tenant), caller: None, route: None, class: 2 };
        self.usage.count(key, Used { requests, rows_read: 10 * requests, ..Used::default() });
        self.usage.flush().await;
    }

    /// Turns the clock until the export stands so.
    async fn until(&self, what: &str, holds: impl Fn(Exported) -> bool) {
        let mut looks = 0;
        eventually(what, || {
            // A call has to end in 30 s of this clock: not before the receiver had a chance to answer.
            looks += 1;
            if looks % 10 == 0 {
                self.time.advance(Duration::from_secs(5));
            }
            holds(self.exported())
        })
        .await;
    }

    fn exported(&self) -> Exported {
        self.usage.standing().exported
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The sum of the ledger.
    fn written(&self) -> u64 {
        let question = Question { until: u64::MAX, ..Question::default() };
        let answer = ask(&Place::Folder(self.data()), &question).expect("a ledger that can be read").expect("a ledger");
        answer.rows.first().map_or(0, |(_, used)| used.requests)
    }
}

fn config(receiver: &str, export: &str, folder: PathBuf) -> Config {
    let text = format!(
        "upstreams: {{ t: {{ url: '{receiver}', token: '{TOKEN}', headers: {{ X-Team: data }} }} }}
routes: {{ /a: {{ pipe: a, auth: public }} }}
usage: {{ export: {{ upstream: t, {export} }} }}
"
    );
    let loaded = load_text("test.yaml", &text, folder, &Environment::of([]));
    loaded.unwrap_or_else(|issues| panic!("{issues}\nin\n{text}")).config
}

#[tokio::test]
async fn every_line_of_a_closed_minute_is_sent_once() {
    let receiver = receiver();
    let metered = Metered::new(&receiver.url(), &format!("events: billing, token: '{APPEND}'"));
    metered.count("acme", 2).await;
    metered.count("beta", 3).await;
    metered.count("acme", 5).await;
    assert_eq!(receiver.received_count(), 0, "the minute is not over");
    metered.until("two lines", |exported| exported.sent == 2).await;
    let call = receiver.only_request();
    assert_eq!(call.target, "/v0/events?name=billing&wait=true");
    assert_eq!(call.header("authorization").as_deref(), Some(&*format!("Bearer {APPEND}")), "its own token");
    assert_eq!(call.header("x-team").as_deref(), Some("data"), "headers of the upstream");
    assert_eq!(call.header("content-encoding").as_deref(), Some("gzip"));
    assert_eq!(call.header("content-type").as_deref(), Some("application/x-ndjson"));
    let lines = lines_of(&call);
    let sums: Vec<(&str, u64, u64)> = lines
        .iter()
        .map(|line| {
            (line["tenant"].as_str().unwrap(), line["requests"].as_u64().unwrap(), line["rows_read"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(sums, [("acme", 7, 70), ("beta", 3, 30)]);
    assert_eq!(lines[0]["start"], "2026-09-21 14:13:00");
    assert_eq!(lines[0]["seconds"], 60);
    assert_eq!(lines[0]["gateway"], lines[1]["gateway"]);
    metered.count("acme", 1).await;
    metered.until("another line", |exported| exported.sent == 3).await;
    assert_eq!(lines_of(&receiver.received()[1]).len(), 1, "what was sent is not sent again");
    assert_eq!(metered.exported(), Exported { sent: 3, ..Exported::default() });
}

#[tokio::test]
async fn a_receiver_that_fails_gets_everything_later_and_nothing_twice() {
    let receiver = receiver();
    receiver.script([
        Answer::json(429, r#"{"error":"too fast"}"#).header("Retry-After", "2"),
        Answer::status(503),
        Answer::status(403),
        Answer::status(404),
        Answer::json(422, r#"{"error":"a view failed"}"#),
        Answer::reset(),
        // It has the lines, and nobody hears of it.
        Answer::json(200, "{}").cut(At::HalfHead, Then::Close),
    ]);
    let metered = Metered::new(&receiver.url(), "events: usage");
    metered.count("acme", 2).await;
    metered.until("seven failures", |exported| exported.failures == 7 && exported.waiting == 1).await;
    metered.count("acme", 3).await;
    metered.until("all is there", |exported| exported.waiting == 0 && exported.sent == 2).await;
    metered.until("the last minute, too", |exported| exported.sent == 2 && exported.waiting == 0).await;
    let calls = receiver.received();
    assert_eq!(requests(&deduplicated(&calls)), 5, "each tried call had the same lines");
    assert_eq!(metered.exported(), Exported { sent: 2, dropped: 0, failures: 7, waiting: 0 });
}

#[tokio::test]
async fn what_waits_outlives_the_process() {
    let receiver = receiver();
    let nobody = MockOrigin::start();
    nobody.always(Answer::status(503));
    let metered = Metered::new(&nobody.url(), "events: usage");
    metered.count("acme", 2).await;
    metered.until("a failure", |exported| exported.failures > 0).await;
    metered.count("acme", 3).await;
    metered.time.advance(TURN);
    let metered = metered.again(&receiver.url(), "events: usage");
    metered.until("both minutes", |exported| exported.sent == 2).await;
    let metered = metered.again(&receiver.url(), "events: usage");
    metered.count("beta", 4).await;
    metered.until("one more", |exported| exported.sent == 1).await;
    let lines = deduplicated(&receiver.received());
    assert_eq!((lines.len(), requests(&lines)), (3, 9));
    assert_eq!(receiver.received().iter().map(|call| lines_of(call).len()).sum::<usize>(), 3, "each once");
    let ids = |calls: &[Received]| deduplicated(calls).into_keys().collect::<Vec<_>>();
    assert!(ids(&receiver.received()).contains(&ids(&nobody.received())[0]), "the same line has the same id");
}

#[tokio::test]
async fn of_a_process_and_the_next_one_only_one_sends_and_nothing_is_left() {
    let receiver = receiver();
    let old = Metered::new(&receiver.url(), "events: usage");
    old.count("acme", 2).await;
    old.until("a line", |exported| exported.sent == 1).await;
    // Both count, and neither sends.
    let (time, folder) = (old.time.clone(), Arc::clone(&old.folder));
    let new = Metered { usage: Usage::new(time.clock()), time, folder };
    let config = config(&receiver.url(), "events: usage", new.folder.path().to_path_buf());
    new.usage.lend();
    new.usage.follow(&config);
    old.usage.lend();
    old.count("acme", 3).await;
    new.count("acme", 4).await;
    new.time.advance(2 * TURN);
    new.count("beta", 5).await;
    old.usage.follow(&config);
    assert_eq!(receiver.received_count(), 1);
    old.count("acme", 6).await;
    drop(old);
    new.usage.take_back();
    new.usage.follow(&config);
    new.until("what both counted", |exported| exported.waiting == 0 && exported.sent >= 2).await;
    new.until("the last minute, too", |exported| exported.sent == 3).await;
    let calls = receiver.received();
    assert_eq!(requests(&deduplicated(&calls)), 20);
    assert_eq!(calls.iter().map(|call| lines_of(call).len()).sum::<usize>(), 4, "each once");
    assert_eq!(new.written(), 20);
}

#[tokio::test]
async fn what_comes_late_is_counted_in_the_next_minute() {
    let receiver = receiver();
    let metered = Metered::new(&receiver.url(), "events: usage");
    metered.count("acme", 2).await;
    metered.until("a line", |exported| exported.sent == 1).await;
    // The clock goes back into the minute that was sent.
    metered.time.set_wall_ahead(-200);
    metered.count("acme", 5).await;
    metered.time.set_wall_ahead(0);
    metered.until("what came late", |exported| exported.sent == 2).await;
    let lines = deduplicated(&receiver.received());
    assert_eq!((lines.len(), requests(&lines), metered.written()), (2, 7, 7));
}

#[tokio::test]
async fn a_clock_that_was_years_ahead_does_not_stop_the_export() {
    let receiver = receiver();
    let metered = Metered::new(&receiver.url(), "events: usage");
    metered.time.set_wall_ahead(400_000_000);
    metered.count("acme", 2).await;
    metered.until("a line of the future", |exported| exported.sent == 1).await;
    metered.time.set_wall_ahead(0);
    metered.time.advance(TURN);
    // Somebody notices with the next minute.
    metered.until("a minute in which nothing is sent", |_| true).await;
    let calls = receiver.received_count();
    eventually("a line of today", || {
        metered.time.advance(TURN);
        metered.usage.count(key_of(&metered.time.clock()), Used { requests: 1, ..Used::default() });
        receiver.received_count() > calls
    })
    .await;
    let today = receiver
        .received()
        .iter()
        .skip(calls)
        .flat_map(lines_of)
        .all(|line| line["start"].as_str().is_some_and(|start| start.starts_with("2026-")));
    assert!(today, "{:#?}", receiver.received());
}

/// Nobody, now.
fn key_of(clock: &Clock) -> UsageKeyRef<'static> {
    let seconds = clock.wall().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let minute = u32::try_from(seconds / 60).expect("a minute");
    UsageKeyRef { minute, tenant: None, caller: None, route: None, class: 2 }
}

#[tokio::test]
async fn a_clock_that_goes_back_for_days_and_is_mended_doubles_and_loses_nothing() {
    let receiver = receiver();
    let metered = Metered::new(&receiver.url(), "events: usage");
    for requests in [1, 2, 4] {
        metered.count("acme", requests).await;
        metered.time.advance(TURN);
    }
    metered.until("three lines", |exported| exported.sent == 3).await;
    for (leap, requests) in [(-3 * 86_400, 8), (0, 16), (5 * 86_400, 32), (0, 64)] {
        metered.time.set_wall_ahead(leap);
        metered.time.advance(TURN);
        metered.count("acme", requests).await;
        metered.time.advance(TURN);
        // Two minutes in which it may be sent, or not before its time comes.
        let end = metered.time.clock().now() + TURN + TURN;
        metered.until("two minutes", |_| metered.time.clock().now() > end).await;
    }
    // Of a line that comes again, as Tinybird does it with ENGINE_VER: the largest.
    let kept = || {
        let mut kept: BTreeMap<String, u64> = BTreeMap::new();
        for line in receiver.received().iter().flat_map(lines_of) {
            let requests = line["requests"].as_u64().expect("a number");
            let known = kept.entry(line["id"].as_str().expect("an id").to_owned()).or_default();
            *known = requests.max(*known);
        }
        kept.values().sum::<u64>()
    };
    metered.until("everything", |_| kept() == 127).await;
    assert_eq!(metered.written(), 127);
}

#[tokio::test]
async fn a_minute_stays_open_for_what_is_not_written_yet() {
    let receiver = receiver();
    let metered = Metered::new(&receiver.url(), "events: usage");
    metered.count("beta", 1).await;
    metered.until("a line", |exported| exported.sent == 1).await;
    let file = metered.data().join("usage.sqlite");
    let aside = metered.data().join("aside");
    // In the place of the file: as a disk that takes nothing.
    std::fs::rename(&file, &aside).unwrap();
    std::fs::create_dir(&file).unwrap();
    metered.count("acme", 2).await;
    let minute = metered.time.clock().wall();
    metered.time.advance(TURN * 10);
    metered.usage.flush().await;
    std::fs::remove_dir(&file).unwrap();
    std::fs::rename(&aside, &file).unwrap();
    metered.count("acme", 4).await;
    metered.until("both", |exported| exported.sent == 3).await;
    let starts: Vec<String> = receiver
        .received()
        .iter()
        .flat_map(lines_of)
        .filter(|line| line["tenant"] == "acme")
        .map(|line| format!("{} {}", line["start"].as_str().unwrap(), line["requests"]))
        .collect();
    let minute = chrono::DateTime::<chrono::Utc>::from(minute).format("%Y-%m-%d %H:%M:00 2").to_string();
    assert_eq!(starts.first(), Some(&minute), "{starts:?}");
}

#[tokio::test]
async fn who_is_no_data_source_is_not_believed() {
    let receiver = receiver();
    let metered = Metered::new(&receiver.url(), "events: usage");
    receiver.script([
        Answer::with_body(200, "text/html", "<h1>Sign in</h1>"),
        Answer::json(200, r#"{"successful_rows":0,"quarantined_rows":0}"#),
        Answer::json(202, "{}"),
    ]);
    metered.count("acme", 2).await;
    metered.until("three failures", |exported| exported.failures == 3).await;
    metered.until("a line", |exported| exported.sent == 1).await;
    assert_eq!(requests(&deduplicated(&receiver.received())), 2);
}

#[tokio::test]
async fn what_is_kept_for_less_than_two_days_is_counted_when_it_goes() {
    let receiver = receiver();
    receiver.respond_with(|_| Answer::status(503));
    let metered = Metered::new(&receiver.url(), "events: usage");
    let mut config = config(&receiver.url(), "events: usage", metered.folder.path().to_path_buf());
    config.usage.retention = "1d".parse().unwrap();
    metered.usage.follow(&config);
    metered.count("acme", 2).await;
    metered.until("a failure", |exported| exported.failures > 0 && exported.waiting == 1).await;
    metered.time.advance(DAY + DAY / 12);
    metered.usage.flush().await;
    assert_eq!((metered.exported().dropped, metered.written()), (1, 0));
}

#[tokio::test]
async fn what_waits_for_two_days_is_given_up_and_counted() {
    let receiver = receiver();
    receiver.respond_with(|_| Answer::status(503));
    let metered = Metered::new(&receiver.url(), "events: usage");
    metered.count("acme", 2).await;
    metered.count("beta", 3).await;
    metered.until("a failure", |exported| exported.failures > 0 && exported.waiting == 2).await;
    metered.time.advance(DAY + DAY + DAY / 12);
    metered.usage.flush().await;
    assert_eq!(metered.exported().dropped, 2);
    metered.count("acme", 4).await;
    receiver.respond_with(taken);
    receiver.forget_requests();
    metered.until("what is new", |exported| exported.sent == 1).await;
    assert_eq!(requests(&deduplicated(&receiver.received())), 4, "only what was not given up");
    assert_eq!(metered.written(), 9, "the ledger still has all of it");
    assert_eq!(metered.exported().dropped, 2, "once");
}

#[tokio::test]
async fn what_is_too_large_is_sent_in_parts() {
    let receiver = receiver();
    receiver.respond_with(|received| match lines_of(received).len() {
        0..=3 => taken(received),
        _ => Answer::status(413),
    });
    let metered = Metered::new(&receiver.url(), "events: usage");
    for tenant in 0..10 {
        metered.count(&format!("t{tenant}"), 1).await;
    }
    metered.until("ten lines", |exported| exported.sent == 10).await;
    let kept: Vec<Received> =
        receiver.received().into_iter().filter(|received| lines_of(received).len() <= 3).collect();
    assert_eq!(requests(&deduplicated(&kept)), 10);
    assert_eq!(metered.exported(), Exported { sent: 10, ..Exported::default() }, "413 is no failure here");
    receiver.respond_with(taken);
    receiver.forget_requests();
    for tenant in 0..10 {
        metered.count(&format!("t{tenant}"), 1).await;
    }
    metered.until("ten more", |exported| exported.sent == 20).await;
    let largest = receiver.received().iter().map(|received| lines_of(received).len()).max();
    assert!(largest > Some(3), "a call may be large again: {largest:?}");
}

#[tokio::test]
async fn many_lines_are_several_calls() {
    let receiver = receiver();
    let metered = Metered::new(&receiver.url(), "events: usage");
    let route: Arc<str> = "/a-route-with-a-long-name".repeat(40).into();
    let minute = key_of(&metered.time.clock()).minute;
    for number in 0..12_000 {
        let tenant: TenantName = format!("tenant-{number}").parse().unwrap();
        let key = UsageKeyRef { minute, tenant: Some(&tenant), caller: None, route: Some(&route), class: 2 };
        metered.usage.count(key, Used { requests: 1, ..Used::default() });
    }
    metered.usage.flush().await;
    metered.until("every line", |exported| exported.sent == 12_000).await;
    let calls = receiver.received();
    assert!(calls.len() > 2, "{}", calls.len());
    assert_eq!(requests(&deduplicated(&calls)), 12_000);
}

#[tokio::test]
async fn lines_that_do_not_fit_are_told() {
    let receiver = receiver();
    receiver.respond_with(|_| Answer::json(200, r#"{"successful_rows":1,"quarantined_rows":1}"#));
    let metered = Metered::new(&receiver.url(), "events: usage");
    metered.count("acme", 1).await;
    metered.count("beta", 1).await;
    metered.until("two lines", |exported| exported.sent + exported.dropped == 2).await;
    assert_eq!(metered.exported(), Exported { sent: 1, dropped: 1, ..Exported::default() });
}

/// The front door: a gateway, its metrics, and a reload that mends the token.
#[tokio::test]
async fn a_reload_mends_what_is_refused() {
    let time = TestClock::new();
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("keys.yaml"), record(&api_key("acme00000000", "acme"), ", tenant: acme"))
        .unwrap();
    let sections = |export: &str| {
        format!(
            "upstreams: {{ t: {{ url: '{{origin}}', token: '{TOKEN}' }} }}\n{PROVIDERS}
routes: {{ /top: {{ pipe: top, auth: partners }} }}\nusage: {{ export: {{ upstream: t{export} }} }}\n"
        )
    };
    let gw = TestGateway::from_folder(folder, &sections(""), time.clock());
    gw.origin.respond_with(|received| {
        let is_mended = received.header("authorization").is_some_and(|value| value.ends_with(APPEND));
        match received.path.as_str() {
            "/v0/events" if is_mended => taken(received),
            "/v0/events" => Answer::json(403, format!(r#"{{"error":"{TOKEN} may not do that"}}"#)),
            _ => Answer::json(200, r#"{"data":[]}"#),
        }
    });
    for series in ["tollgate_export_failures_total", r#"tollgate_export_rows_total{result="dropped"}"#] {
        assert_eq!(gw.metric(series).await, 0.0, "{series} is there from the start");
    }
    let caller = Request::get("/top").bearer(&api_key("acme00000000", "acme"));
    assert_eq!(caller.send(gw.addr()).await.status, 200);
    gw.log(1).await;
    gw.app().state().usage().flush().await;
    time.advance(TURN);
    eventually_async("a failure", || async { gw.metric("tollgate_export_failures_total").await > 0.0 }).await;
    assert_eq!(gw.metric("tollgate_export_waiting_rows").await, 1.0);
    gw.rewrite(&sections(&format!(", token: '{APPEND}'")));
    assert_eq!(gw.reload().await.json()["result"], "applied");
    let sent = || async { gw.metric(r#"tollgate_export_rows_total{result="sent"}"#).await == 1.0 };
    eventually_async("the line", sent).await;
    assert_eq!(gw.metric("tollgate_export_waiting_rows").await, 0.0);
    let calls: Vec<Received> = gw.origin.received().into_iter().filter(|call| call.path == "/v0/events").collect();
    let line = lines_of(calls.last().unwrap()).remove(0);
    assert_eq!((line["tenant"].as_str(), line["route"].as_str()), (Some("acme"), Some("/top")));
    let question = Question { by: vec![Side::Tenant], until: u64::MAX, ..Question::default() };
    let written = ask(&Place::Folder(gw.folder().join("data")), &question).unwrap().unwrap();
    assert_eq!(written.rows[0].1.requests, line["requests"].as_u64().unwrap());
}

/// Runs `tollgate usage export`; its status, stdout and stderr.
fn export(arguments: &[&str], folder: &std::path::Path) -> (Option<i32>, String, String) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(["usage", "export"])
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("the program starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn the_command_prints_the_lines_that_are_sent() {
    let receiver = receiver();
    let metered = Metered::new(&receiver.url(), "events: usage");
    metered.count("acme", 2).await;
    metered.count("beta", 3).await;
    metered.until("two lines", |exported| exported.sent == 2).await;
    let data = metered.data();
    let all = ["--dir", ".", "--since", "2026-01-01"];
    let (status, ndjson, _) = export(&all, &data);
    assert_eq!(status, Some(0));
    let printed: Vec<Value> = ndjson.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(printed, lines_of(&receiver.only_request()), "ids, too");
    let (_, csv, _) = export(&[&all[..], &["--csv"]].concat(), &data);
    let rows: Vec<&str> = csv.lines().collect();
    assert!(rows[0].starts_with("id,gateway,start,seconds,tenant,"), "{csv}");
    assert!(rows[1].contains(",2026-09-21 14:13:00,60,acme,,,,2,2,0,"), "{csv}");
    assert_eq!(rows.len(), 3);
    let (status, nothing, said) = export(&["--dir", ".", "--since", "2026-01-01", "--until", "2026-01-02"], &data);
    assert_eq!((status, nothing.as_str()), (Some(0), ""));
    assert!(said.contains("nothing was used in that time"), "{said}");
    let (status, _, said) = export(&["--dir", "elsewhere"], &data);
    assert_eq!(status, Some(2));
    assert!(said.contains("there is no ledger at elsewhere/usage.sqlite"), "{said}");
}

#[test]
fn the_data_source_and_pipes_are_printed_or_written() {
    let folder = tempfile::tempdir().unwrap();
    let (status, text, said) = export(&["--ddl", "--events", "billing"], folder.path());
    assert_eq!(status, Some(0), "{said}");
    for part in
        ["# datasources/billing.datasource\n", "ENGINE \"ReplacingMergeTree\"", "# endpoints/billing_invoice.pipe\n"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
    let (status, paths, _) = export(&["--ddl", "--out", "project"], folder.path());
    assert_eq!(status, Some(0));
    let written: Vec<PathBuf> = paths.lines().map(|path| folder.path().join(path)).collect();
    assert_eq!(written.len(), 4, "{paths}");
    assert!(written.iter().all(|path| path.is_file()), "{paths}");
    std::fs::remove_file(&written[0]).unwrap();
    let (status, _, said) = export(&["--ddl", "--out", "project"], folder.path());
    assert_eq!(status, Some(2));
    assert!(said.contains("gateway_usage_per_tenant.pipe is there already"), "{said}");
    assert!(!written[0].exists(), "all or none");
    for arguments in [&["--out", "x"][..], &["--events", "x"], &["--ddl", "--csv"], &["--ddl", "--events", "a-b"]] {
        let (status, _, said) = export(arguments, folder.path());
        assert_eq!(status, Some(64), "{arguments:?}: {said}");
    }
}
