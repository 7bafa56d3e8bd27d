//! Usage: who used how much, in metrics as it happens and in a file for bills.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tollgate::clock::{Clock, TestClock};
use tollgate::proxy::server::Stop;
use tollgate::state::usage::{Answer as Sums, Place, Question, Side, ask};

use crate::support::client::{self, RawClient, Request};
use crate::support::credentials::{PROVIDERS, api_key, claims_with, jwt, record};
use crate::support::gateway::{TOKEN, TestGateway};
use crate::support::origin::{Answer, Gate};

const ROUTES: &str = r#"routes:
  /top: { pipe: top, auth: [partners, employees] }
  /open: { pipe: open, auth: public }
  /shaky: { pipe: shaky, auth: partners }
"#;
const BODY: &str = r#"{"data":[],"rows":0,"statistics":{"elapsed":0.01,"rows_read":100,"bytes_read":2400}}"#;

/// A gateway whose callers are `acme`, `beta` and whoever has a token.
fn gateway(sections: &str, clock: Clock) -> TestGateway {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let records = ["acme", "beta"].map(|tenant| record(&key(tenant), &format!(", tenant: {tenant}")));
    std::fs::write(folder.path().join("keys.yaml"), records.concat()).expect("a file");
    let upstreams =
        format!("upstreams: {{ t: {{ url: '{{origin}}', token: '{TOKEN}', retry: {{ base: 1ms, max: 1ms }} }} }}\n");
    let gw = TestGateway::from_folder(folder, &format!("{upstreams}{PROVIDERS}{ROUTES}{sections}"), clock);
    gw.origin.on_path("/v0/pipes/top.json", Answer::json(200, BODY));
    gw.origin.on_path("/v0/pipes/open.json", Answer::json(200, r#"{"data":[]}"#));
    gw
}

fn key(tenant: &str) -> String {
    api_key(&format!("{tenant}00000000")[..12], tenant)
}

fn top(tenant: &str) -> Request {
    Request::get("/top").bearer(&key(tenant))
}

/// The lines of tenants.
async fn lines(gw: &TestGateway) -> BTreeMap<String, f64> {
    let text = client::get(gw.admin(), "/metrics/usage").await.body_text();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let parsed = lines.filter_map(|line| line.rsplit_once(' '));
    parsed.map(|(series, value)| (series.to_owned(), value.parse().expect("a number"))).collect()
}

/// Ends a gateway as SIGTERM does; its folder.
async fn stop(mut gw: TestGateway) -> (TestGateway, std::path::PathBuf) {
    let folder = gw.folder();
    let app = gw.take_app();
    app.stop(Stop::Drain);
    tokio::task::spawn_blocking(move || app.wait()).await.expect("it ends");
    (gw, folder.join("data"))
}

fn by(folder: &Path, sides: &[Side]) -> Sums {
    let question = Question { by: sides.to_vec(), until: u64::MAX, ..Question::default() };
    ask(&Place::Folder(folder.to_path_buf()), &question).expect("a ledger that can be read").expect("a ledger")
}

#[tokio::test]
async fn tenants_have_metrics_of_their_own() {
    let gw = gateway("", Clock::system());
    for tenant in ["acme", "acme", "beta"] {
        assert_eq!(top(tenant).send(gw.addr()).await.status, 200);
    }
    top("acme").host("x").send(gw.addr()).await;
    Request::get("/top?q=1").bearer(&key("beta")).send(gw.addr()).await;
    gw.get("/top").await;
    gw.get("/open").await;
    gw.get("/nowhere").await;
    gw.origin.script([Answer::status(500)]);
    Request::get("/shaky").bearer(&key("beta")).send(gw.addr()).await;
    gw.log(9).await;
    let lines = lines(&gw).await;
    for (series, value) in [
        (r#"tollgate_tenant_requests_total{tenant="acme",route="/top",class="2xx"}"#, 3.0),
        (r#"tollgate_tenant_requests_total{tenant="beta",route="/top",class="2xx"}"#, 1.0),
        (r#"tollgate_tenant_requests_total{tenant="beta",route="/top",class="4xx"}"#, 1.0),
        (r#"tollgate_tenant_requests_total{tenant="__none__",route="/top",class="4xx"}"#, 1.0),
        (r#"tollgate_tenant_requests_total{tenant="__none__",route="/open",class="2xx"}"#, 1.0),
        (r#"tollgate_tenant_requests_total{tenant="__none__",route="__unmatched__",class="4xx"}"#, 1.0),
        (r#"tollgate_tenant_refusals_total{tenant="beta",route="/top"}"#, 1.0),
        (r#"tollgate_tenant_refusals_total{tenant="__none__",route="/top"}"#, 1.0),
        (r#"tollgate_tenant_retries_total{tenant="beta",route="/shaky"}"#, 1.0),
        (r#"tollgate_tenant_rows_read_total{tenant="acme",route="/top"}"#, 300.0),
        (r#"tollgate_tenant_bytes_read_total{tenant="beta",route="/top"}"#, 2400.0),
        (r#"tollgate_tenant_unmeasured_total{tenant="__none__",route="/open"}"#, 1.0),
    ] {
        assert_eq!(lines.get(series), Some(&value), "{series} in {lines:#?}");
    }
    let sent = lines[r#"tollgate_tenant_response_bytes_total{tenant="acme",route="/top"}"#];
    assert_eq!(sent, 3.0 * BODY.len() as f64);
    assert!(
        !lines.contains_key(r#"tollgate_tenant_refusals_total{tenant="acme",route="/top"}"#),
        "nothing was refused"
    );
    assert_eq!(gw.metric("tollgate_tenants").await, 2.0);
    let all = gw.metrics().await;
    assert!(all.contains(r#"tollgate_tenant_requests_total{tenant="acme",route="/top",class="2xx"} 3"#), "{all}");
}

#[tokio::test]
async fn d4_tenants_beyond_the_bound_share_a_name() {
    let time = TestClock::new();
    let gw = gateway("usage: { max_tenants: 10 }\n", time.clock());
    for number in 0..200 {
        let token = jwt(&claims_with(&serde_json::json!({ "org_id": format!("org{number}") })));
        assert_eq!(Request::get("/top").bearer(&token).send(gw.addr()).await.status, 200);
    }
    gw.log(200).await;
    let series = lines(&gw).await;
    let others = r#"tollgate_tenant_requests_total{tenant="__other__",route="/top",class="2xx"}"#;
    assert_eq!(series.get(others), Some(&190.0), "{series:#?}");
    let names = series.keys().filter(|name| name.starts_with("tollgate_tenant_requests_total")).count();
    assert_eq!(names, 11, "{series:#?}");
    let (_gw, folder) = stop(gw).await;
    assert_eq!(by(&folder, &[Side::Tenant]).rows.len(), 200, "bills tell all of them apart");
}

/// The names and labels of everything that Prometheus is told, on both pages.
async fn series(gw: &TestGateway) -> BTreeSet<String> {
    let everything = gw.metrics().await + &client::get(gw.admin(), "/metrics/usage").await.body_text();
    let lines = everything.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.rsplit_once(' ')).map(|(series, _)| series.to_owned()).collect()
}

#[tokio::test]
async fn d4_ten_thousand_tenants_hosts_paths_and_methods_make_no_series() {
    // Nobody here has to prove who they are: whose rows they ask for is what they say.
    let sections = r#"hosts: { "*.shops.test": { tenant: "{host.1}" } }
usage: { max_tenants: 10 }
routes:
  /top: { pipe: top, auth: public, params: { fixed: { shop: "{tenant}" }, allow_public_tenant: true } }
  /of/{shop}: { pipe: open, auth: public, params: { fixed: { shop: "{path.shop}" }, allow_public_tenant: true } }
"#;
    let time = TestClock::new();
    let gw = TestGateway::from_file(sections, time.clock());
    let addr = gw.addr();
    let round = |client: usize, turn: usize, name: String| {
        let call = match turn % 4 {
            0 => Request::get(format!("/of/{name}?{name}=1")),
            1 => Request::get(format!("/{name}/top")),
            2 => Request::new(&name.to_uppercase(), "/top"),
            _ => Request::get("/top"),
        };
        // Some come to hosts that nobody serves.
        let host = if (client + turn).is_multiple_of(5) { "nobody" } else { "shops" };
        call.header("X-Request-Id", &name).header("X-Forwarded-For", "192.0.2.9").host(format!("{name}.{host}.test"))
    };
    // As many as are told apart, and enough others to have made every series that there is.
    for turn in 0..40 {
        for client in 0..3 {
            round(client, turn, format!("known{client}x{turn}")).send(addr).await;
        }
    }
    gw.log(120).await;
    let before = series(&gw).await;
    assert_eq!(gw.metric("tollgate_tenants").await, 10.0);
    assert!(before.iter().any(|series| series.contains(r#"tenant="__other__""#)), "{before:#?}");

    let callers = (0..8).map(|caller| {
        tokio::spawn(async move {
            let mut client = RawClient::connect(addr).await;
            for turn in 0..1_250 {
                let response = round(caller, turn, format!("mark{caller}x{turn}")).send_on(&mut client).await;
                assert!(response.status < 500, "{response:#?}");
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.expect("no caller panics");
    }
    gw.log_lines(10_120).await;
    let after = series(&gw).await;
    let new: Vec<_> = after.difference(&before).collect();
    assert!(new.is_empty(), "{new:#?}");
    assert_eq!(after.len(), before.len());
    assert!(!after.iter().any(|series| series.to_lowercase().contains("mark")));
}

#[tokio::test]
async fn who_does_not_call_any_more_makes_room() {
    let time = TestClock::new();
    let gw = gateway("usage: { max_tenants: 1 }\n", time.clock());
    top("acme").send(gw.addr()).await;
    gw.log(1).await;
    assert_eq!(gw.metric("tollgate_tenants").await, 1.0);
    time.advance(std::time::Duration::from_secs(3_700));
    // Once to be forgotten, once to be looked at without.
    lines(&gw).await;
    assert!(lines(&gw).await.keys().all(|series| !series.contains("acme")));
    top("beta").send(gw.addr()).await;
    gw.log(2).await;
    assert!(lines(&gw).await.keys().any(|series| series.contains("beta")));
}

#[tokio::test]
async fn a_clean_stop_loses_nothing() {
    let time = TestClock::new();
    let gw = gateway("", time.clock());
    let (mut sent, addr) = (0, gw.addr());
    let callers: Vec<_> = ["acme", "beta", "acme", "nobody"]
        .into_iter()
        .map(|tenant| {
            tokio::spawn(async move {
                let mut client = RawClient::connect(addr).await;
                let mut count = 0;
                for _ in 0..100 {
                    let call = if tenant == "nobody" { Request::get("/top") } else { top(tenant) };
                    count += u64::from(call.send_on(&mut client).await.status < 500);
                }
                count
            })
        })
        .collect();
    for caller in callers {
        sent += caller.await.expect("no caller panics");
    }
    assert_eq!(sent, 400);
    let (_gw, folder) = stop(gw).await;
    let sums = by(&folder, &[Side::Tenant, Side::Route, Side::Class]);
    let rows: Vec<(Vec<&str>, u64, u64, u64)> = sums
        .rows
        .iter()
        .map(|(words, used)| (words.iter().map(String::as_str).collect(), used.requests, used.refusals, used.rows_read))
        .collect();
    let expected = [
        (vec!["acme", "/top", "2xx"], 200, 0, 20_000),
        (vec!["", "/top", "4xx"], 100, 100, 0),
        (vec!["beta", "/top", "2xx"], 100, 0, 10_000),
    ];
    assert_eq!(rows, expected);
    let callers = by(&folder, &[Side::Caller]);
    let names: Vec<&str> = callers.rows.iter().map(|(words, _)| words[0].as_str()).collect();
    assert_eq!(names[0], format!("partners:{}", &"acme00000000"[..12]), "{names:?}");
    assert_eq!(by(&folder, &[]).rows.first().map(|(_, used)| used.requests), Some(400));
}

#[tokio::test]
async fn the_command_shows_what_was_used() {
    let time = TestClock::new();
    let gw = gateway("", time.clock());
    for tenant in ["acme", "acme", "beta"] {
        top(tenant).send(gw.addr()).await;
    }
    gw.get("/top").await;
    let (_gw, folder) = stop(gw).await;
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_tollgate"))
            .args(["usage", "--since", "2026-01-01", "--dir"])
            .arg(&folder)
            .args(arguments)
            .output()
            .expect("the program starts");
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    let text = run(&[]);
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0][..3], ["TENANT", "REQUESTS", "REFUSED"], "{text}");
    assert_eq!(rows[1][..3], ["acme", "2", "0"], "{text}");
    assert!(text.contains("(no tenant)"), "{text}");
    assert_eq!(rows.last().unwrap()[..3], ["(all)", "4", "1"], "{text}");
    let csv = run(&["--by", "tenant,route", "--csv"]);
    assert!(csv.starts_with("tenant,route,requests,refusals,retries,request_bytes,response_bytes,rows_read,"), "{csv}");
    assert!(csv.lines().any(|line| line.starts_with("acme,/top,2,0,0,0,")), "{csv}");
    let json: Value = serde_json::from_str(&run(&["--json", "--tenant", "beta"])).expect("JSON");
    assert_eq!(json["usage"][0]["tenant"], "beta");
    assert_eq!(json["usage"][0]["rows_read"], 100);
    assert_eq!(json["usage"].as_array().map(Vec::len), Some(1));
    assert_eq!(run(&["--until", "2026-01-02"]), "", "nothing was used then");
    let hours = run(&["--by", "hour", "--csv"]);
    assert_eq!(hours.lines().nth(1).map(|line| line.split(',').next()), Some(Some("2026-09-21T14:00Z")), "{hours}");
}

#[tokio::test]
async fn a_command_without_a_ledger_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_tollgate"))
            .arg("usage")
            .args(arguments)
            .current_dir(folder.path())
            .output()
            .expect("the program starts");
        (output.status.code(), String::from_utf8(output.stderr).expect("text"))
    };
    for (arguments, code, said) in [
        (&["--dir", "."][..], 2, "there is no ledger at ./usage.sqlite: it is made with the first request"),
        (&[], 2, "Give the file that the gateway runs: -c FILE"),
        (&["-c", "nothing.yaml"], 2, "`nothing.yaml`"),
        (&["--dir", ".", "--since", "yesterday"], 64, "write how long ago, like 24h or 30d"),
        (&["--dir", ".", "--since", "1h", "--until", "2h"], 2, "no time between --since and --until"),
        (&["--dir", ".", "--by", "tenants"], 64, "tenant"),
        (&["--dir", ".", "--csv", "--json"], 64, "cannot be used with"),
    ] {
        let (status, stderr) = run(arguments);
        assert_eq!(status, Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.contains(said), "{arguments:?}: {stderr}");
    }
    std::fs::write(folder.path().join("usage.sqlite"), "not a database, though somebody wrote it with care").unwrap();
    let (status, stderr) = run(&["--dir", "."]);
    assert_eq!(status, Some(2));
    assert!(stderr.contains("usage.sqlite cannot be read"), "{stderr}");
}

#[tokio::test]
async fn usage_that_cannot_be_written_waits_in_memory() {
    let time = TestClock::new();
    let gw = gateway("state: { dir: kept }\n", time.clock());
    let folder = gw.folder().join("kept");
    std::fs::create_dir_all(&folder).unwrap();
    // In the place of the file: as a disk that takes nothing.
    std::fs::create_dir(folder.join("usage.sqlite")).unwrap();
    top("acme").send(gw.addr()).await;
    gw.log(1).await;
    gw.app().state().usage().flush().await;
    assert_eq!(gw.metric("tollgate_usage_kept").await, 0.0);
    time.advance(std::time::Duration::from_secs(5));
    assert_eq!(gw.metric("tollgate_usage_behind_seconds").await, 5.0);
    std::fs::remove_dir(folder.join("usage.sqlite")).unwrap();
    top("acme").send(gw.addr()).await;
    gw.log(2).await;
    gw.app().state().usage().flush().await;
    assert_eq!(gw.metric("tollgate_usage_kept").await, 1.0);
    assert_eq!(gw.metric("tollgate_usage_behind_seconds").await, 0.0);
    assert_eq!(by(&folder, &[Side::Tenant]).rows.first().map(|(_, used)| used.requests), Some(2));
    assert_eq!(gw.metric("tollgate_usage_lost_total").await, 0.0);
}

#[tokio::test]
async fn a_reload_switches_the_ledger_off_and_on() {
    let time = TestClock::new();
    let gw = gateway("", time.clock());
    let text = std::fs::read_to_string(gw.folder().join("test.yaml")).unwrap();
    let rewrite = |usage: &str| std::fs::write(gw.folder().join("test.yaml"), format!("{text}{usage}")).unwrap();
    top("acme").send(gw.addr()).await;
    gw.log(1).await;
    rewrite("usage: { ledger: false }\n");
    assert_eq!(gw.reload().await.json()["result"], "applied");
    let folder = gw.folder().join("data");
    let written = || by(&folder, &[]).rows.first().map_or(0, |(_, used)| used.requests);
    assert_eq!(written(), 1, "what was used before is written first");
    top("acme").send(gw.addr()).await;
    gw.log(2).await;
    let metrics = gw.metrics().await;
    assert!(!metrics.contains("tollgate_usage_kept"), "{metrics}");
    assert!(
        metrics.contains(r#"tollgate_tenant_requests_total{tenant="acme",route="/top",class="2xx"} 2"#),
        "{metrics}"
    );
    rewrite("usage: { ledger: true }\n");
    assert_eq!(gw.reload().await.json()["result"], "applied");
    top("acme").send(gw.addr()).await;
    gw.log(3).await;
    gw.app().state().usage().flush().await;
    assert_eq!(written(), 2, "what was used without a ledger is not in it");
}

#[tokio::test]
async fn compressed_answers_are_measured_and_pass_as_they_are() {
    let time = TestClock::new();
    let gw = gateway("", time.clock());
    gw.origin.on_path("/v0/pipes/top.json", Answer::json(200, BODY).gzip());
    let request = |coding: &str| top("acme").header("Accept-Encoding", coding);
    let response = request("br, gzip, deflate").send(gw.addr()).await;
    assert_eq!(response.header("content-encoding").as_deref(), Some("gzip"));
    let seen = gw.origin.requests(1).await;
    assert_eq!(seen.last().unwrap().header("accept-encoding").as_deref(), Some("gzip"), "what can be unpacked");
    request("br").send(gw.addr()).await;
    assert_eq!(gw.origin.requests(2).await[1].header("accept-encoding"), None);
    gw.log(2).await;
    assert_eq!(lines(&gw).await[r#"tollgate_tenant_rows_read_total{tenant="acme",route="/top"}"#], 200.0);
}

#[tokio::test]
async fn nothing_is_asked_or_read_where_usage_is_not_measured() {
    let time = TestClock::new();
    let gw = gateway("usage: { measure: false }\n", time.clock());
    top("acme").header("Accept-Encoding", "br, gzip").send(gw.addr()).await;
    assert_eq!(gw.origin.requests(1).await[0].header("accept-encoding").as_deref(), Some("br, gzip"));
    gw.log(1).await;
    let lines = lines(&gw).await;
    assert_eq!(lines.get(r#"tollgate_tenant_unmeasured_total{tenant="acme",route="/top"}"#), Some(&1.0), "{lines:#?}");
    assert!(lines.keys().all(|series| !series.contains("rows_read")), "{lines:#?}");
}

#[tokio::test]
async fn who_hangs_up_is_counted() {
    let time = TestClock::new();
    let gate = Gate::new();
    let gw = gateway("", time.clock());
    gw.origin.on_path("/v0/pipes/top.json", Answer::json(200, BODY).gate(&gate));
    let mut left = RawClient::connect(gw.addr()).await;
    left.send(top("acme").bytes()).await;
    gate.until_reached(1).await;
    drop(left);
    gw.log(1).await;
    let lines = lines(&gw).await;
    let series = r#"tollgate_tenant_requests_total{tenant="acme",route="/top",class="4xx"}"#;
    assert_eq!(lines.get(series), Some(&1.0), "{lines:#?}");
}

#[tokio::test]
async fn open_metrics_leads_from_a_bucket_to_a_trace() {
    let time = TestClock::new();
    let gw = gateway("", time.clock());
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    top("acme").header("traceparent", trace).send(gw.addr()).await;
    gw.log(1).await;
    let admin = gw.admin();
    let ask = |path: &'static str| async move {
        let accepted = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
        Request::get(path).header("Accept", accepted).send(admin).await
    };
    let response = ask("/metrics").await;
    let kind = response.header("content-type").unwrap_or_default();
    assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let text = response.body_text();
    assert!(text.ends_with("# EOF\n"), "{text}");
    assert_eq!(text.matches("# EOF").count(), 1);
    assert!(text.contains("# TYPE tollgate_requests counter\n"), "{text}");
    assert!(text.contains(r#"tollgate_requests_total{code="200",host="*",route="/top"} 1"#), "{text}");
    assert!(text.contains("# TYPE tollgate_tenant_requests counter\n"), "{text}");
    let bucket = text.lines().find(|line| line.contains(" # {trace_id=")).unwrap_or_default();
    assert!(bucket.starts_with(r#"tollgate_request_seconds_bucket{route="/top",le=""#), "{bucket}");
    assert!(bucket.contains(r#" 1 # {trace_id="0af7651916cd43dd8448eb211c80319c"} "#), "{bucket}");
    let usage = ask("/metrics/usage").await.body_text();
    assert!(usage.ends_with("# EOF\n") && !usage.contains("tollgate_in_flight"), "{usage}");
    let older = gw.metrics().await;
    assert!(!older.contains("EOF") && !older.contains("trace_id"), "{older}");
}
