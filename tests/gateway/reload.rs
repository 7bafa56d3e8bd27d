//! Another configuration while requests go on: whole or not at all, and nobody notices.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tollgate::clock::{Clock, TestClock};
use tollgate::config::interpolate::Environment;
use tollgate::config::load;

use crate::support::client::{self, RawClient, Request, Response};
use crate::support::eventually::{driven, eventually, eventually_async};
use crate::support::gateway::{TOKEN, TestGateway, assert_refused};
use crate::support::origin::{Answer, Gate, MockOrigin, Received};
use crate::support::process::Process;

const ONE: &str = "routes: { /one: { pipe: one } }\n";
const TWO: &str = "routes: { /two: { pipe: two } }\n";
/// Not a key: nothing of such a file may be taken over.
const BROKEN: &str = "routes: { /two: { pip: two } }\n";

fn started(sections: &str) -> TestGateway {
    TestGateway::from_file(sections, Clock::system())
}

async fn status(gw: &TestGateway, path: &str) -> u16 {
    gw.get(path).await.status
}

#[tokio::test]
async fn routes_come_and_go() {
    let gw = started(ONE);
    assert_eq!((status(&gw, "/one").await, status(&gw, "/two").await), (200, 404));
    gw.rewrite(TWO);
    let reply = gw.reload().await;
    assert_eq!(reply.status, 200, "{}", reply.body_text());
    let told = reply.json();
    assert_eq!((&told["result"], &told["generation"]), (&"applied".into(), &2.into()), "{told}");
    let text = told["text"].as_str().unwrap();
    assert!(text.contains("+ routes./two") && text.contains("- routes./one"), "{text}");
    assert_eq!((status(&gw, "/one").await, status(&gw, "/two").await), (404, 200));

    let again = gw.reload().await;
    assert_eq!((again.status, &again.json()["result"]), (200, &"unchanged".into()));
    assert_eq!(again.json()["generation"], 2, "a file that says the same is nothing new");
    assert_eq!(gw.metric("tollgate_config_last_reload_successful").await, 1.0);
}

#[tokio::test]
async fn a_request_ends_on_the_configuration_it_began_with() {
    let gw = started("routes: { /one: { pipe: one, params: { fixed: { company: acme } } } }\n");
    let held = Gate::new();
    // The second try, after the reload, is the same request as the first.
    gw.origin.script([Answer::status(500).gate(&held), Answer::ok()]);
    let addr = gw.addr();
    let call = tokio::spawn(async move { client::get(addr, "/one").await });
    held.until_reached(1).await;
    gw.rewrite("routes: { /one: { pipe: another, params: { fixed: { company: beta } } } }\n");
    assert_eq!(gw.reload().await.status, 200);
    held.open();
    assert_eq!(call.await.unwrap().status, 200);
    let received = gw.origin.requests(2).await;
    for request in &received {
        assert_eq!(request.target, "/v0/pipes/one.json?company=acme");
    }
    assert_eq!(status(&gw, "/one").await, 200);
    assert_eq!(gw.origin.requests(3).await[2].target, "/v0/pipes/another.json?company=beta");
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_is_reported_as_check_reports_it() {
    let gw = started(ONE);
    let path = gw.folder().join("test.yaml");
    gw.rewrite(BROKEN);
    let issues = load(&path, &Environment::of([])).unwrap_err().to_string();
    let reply = gw.reload().await;
    assert_eq!(reply.status, 400);
    let told = reply.json();
    assert_eq!(told["result"], "rejected");
    assert!(told["text"].as_str().unwrap().starts_with(&issues), "{told}");
    assert!(issues.contains("did you mean `pipe`?"), "{issues}");

    assert_eq!((status(&gw, "/one").await, status(&gw, "/two").await), (200, 404));
    assert_eq!(gw.metric("tollgate_config_last_reload_successful").await, 0.0);
    let ready = client::get(gw.admin(), "/readyz").await;
    assert_eq!(ready.status, 200, "it serves what it served");
    let config = &ready.json()["config"];
    assert_eq!((&config["generation"], &config["last_reload"]["result"]), (&1.into(), &"rejected".into()));
    assert!(config["last_reload"]["text"].as_str().unwrap().starts_with(&issues), "{config}");

    gw.rewrite(TWO);
    assert_eq!(gw.reload().await.status, 200);
    assert_eq!(gw.metric("tollgate_config_last_reload_successful").await, 1.0);
    assert_eq!(client::get(gw.admin(), "/readyz").await.json()["config"]["last_reload"]["result"], "applied");
}

#[tokio::test]
async fn what_needs_a_restart_is_named_and_keeps_its_value() {
    let gw = started(ONE);
    let (addr, admin) = (gw.addr(), gw.admin());
    let changed = format!("listeners: [{{ address: 127.0.0.1:1 }}]\nserver: {{ threads: 7, max_uri: 100 B }}\n{TWO}");
    gw.rewrite(&changed);
    let told = gw.reload().await.json();
    assert_eq!(told["result"], "applied", "{told}");
    let named: Vec<&str> =
        told["needs_restart"].as_array().unwrap().iter().map(|path| path.as_str().unwrap()).collect();
    assert!(named.iter().any(|path| path.starts_with("listeners")), "{named:?}");
    assert!(named.contains(&"server.threads"), "{named:?}");
    assert!(!named.contains(&"server.max_uri"), "{named:?}");
    assert_eq!((gw.addr(), gw.admin()), (addr, admin));
    assert_eq!(status(&gw, "/two").await, 200, "the rest is taken over");
    assert_refused(&gw.get(&format!("/two?{}", "a".repeat(100))).await, 414, "uri_too_long");
    // They are named as long as the file and the gateway differ.
    let told = gw.reload().await.json();
    assert!(!told["needs_restart"].as_array().unwrap().is_empty(), "{told}");
    assert_eq!(told["generation"], 2, "{told}");
}

#[tokio::test]
async fn comparing_changes_nothing_and_shows_no_secret() {
    let gw = started(ONE);
    gw.rewrite(&format!("admin: {{ address: 127.0.0.1:0, token: another-hunter2-token }}\n{TWO}"));
    let ask = || Request::get("/config/diff").bearer(&gw.admin_token());
    let reply = ask().send(gw.admin()).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.json()["result"], "compared");
    let text = reply.body_text();
    assert!(text.contains("routes./two") && text.contains("admin.token"), "{text}");
    assert!(!text.contains("hunter2") && !text.contains(TOKEN), "{text}");
    assert_eq!((status(&gw, "/one").await, status(&gw, "/two").await), (200, 404));
    gw.rewrite(BROKEN);
    assert_eq!(ask().send(gw.admin()).await.status, 400);
    assert_eq!(gw.metric("tollgate_config_last_reload_successful").await, 1.0, "asking is no attempt");
}

#[tokio::test]
async fn a_new_admin_token_takes_effect_and_the_old_one_ends() {
    let gw = started(ONE);
    let made = gw.admin_token();
    gw.rewrite(&format!("admin: {{ address: 127.0.0.1:0, token: a-token-that-was-written }}\n{ONE}"));
    assert_eq!(gw.reload_with(&made).await.status, 200);
    assert_eq!(gw.reload_with(&made).await.status, 401);
    assert_eq!(gw.reload_with("a-token-that-was-written").await.status, 200);
    gw.rewrite(ONE);
    assert_eq!(gw.reload_with("a-token-that-was-written").await.status, 200);
    assert_eq!(gw.reload_with(&made).await.status, 200, "the gateway's own is what it was");
}

#[tokio::test]
async fn an_upstream_that_stays_keeps_its_connections() {
    let gw = started(ONE);
    let mut caller = RawClient::connect(gw.addr()).await;
    caller.send(Request::get("/one").bytes()).await;
    assert_eq!(caller.read_response().await.status, 200);
    gw.rewrite(&format!("tinybird_api: true\n{ONE}"));
    assert_eq!(gw.reload().await.json()["generation"], 2);
    caller.send(Request::get("/v0/pipes/one.json").bytes()).await;
    assert_eq!(caller.read_response().await.status, 200, "and so does the caller");
    assert_eq!(gw.origin.connections(), 1);
}

#[tokio::test]
async fn an_upstream_that_is_new_can_be_reached_at_once() {
    let gw = started(ONE);
    let other = MockOrigin::start();
    let url = other.url().replace("127.0.0.1", "localhost");
    gw.rewrite(&format!("upstreams: {{ other: {{ url: '{url}' }} }}\nroutes: {{ /two: {{ pipe: two }} }}\n"));
    assert_eq!(gw.reload().await.status, 200);
    assert_eq!(status(&gw, "/two").await, 200);
    assert_eq!(other.received_count(), 1);
    gw.origin.assert_untouched();
    let ready = client::get(gw.admin(), "/readyz").await.json();
    assert_eq!(ready["unresolved_upstreams"], serde_json::json!([]), "{ready}");
}

#[tokio::test]
async fn series_of_routes_that_are_gone_are_forgotten() {
    let time = TestClock::new();
    let gw = TestGateway::from_file(ONE, time.clock());
    assert_eq!(status(&gw, "/one").await, 200);
    assert!(gw.metrics().await.contains("route=\"/one\""));
    gw.rewrite(TWO);
    assert_eq!(gw.reload().await.status, 200);
    assert_eq!(status(&gw, "/two").await, 200);
    // What is under way may still count there; when the last request has ended, nothing does.
    driven(
        &time,
        Duration::from_secs(1),
        eventually_async("the series to go", || async { !gw.metrics().await.contains("route=\"/one\"") }),
    )
    .await;
    // A request is counted when it has ended, which may be after its answer has come.
    let counted = async || gw.metric("tollgate_requests_total{code=\"200\",host=\"*\",route=\"/two\"}").await == 1.0;
    eventually_async("the request to be counted", counted).await;
}

#[tokio::test]
async fn nothing_is_left_of_a_configuration_that_nobody_uses() {
    let time = TestClock::new();
    let gw = TestGateway::from_file(ONE, time.clock());
    let mut before = Vec::new();
    for number in 0..50 {
        let running = gw.app().running();
        before.push((
            Arc::downgrade(&running),
            Arc::downgrade(&running.snapshot),
            Arc::downgrade(&running.snapshot.config),
        ));
        drop(running);
        gw.rewrite(&format!(
            "upstreams: {{ u{number}: {{ url: '{{origin}}' }} }}\nroutes: {{ /r{number}: {{ pipe: p }} }}\n"
        ));
        assert_eq!(gw.reload().await.status, 200);
        assert_eq!(status(&gw, &format!("/r{number}")).await, 200);
    }
    let gone = eventually("the old configurations to go", || {
        let is_gone = |left: &(Weak<_>, Weak<_>, Weak<_>)| {
            left.0.strong_count() + left.1.strong_count() + left.2.strong_count() == 0
        };
        before.iter().all(is_gone)
    });
    driven(&time, Duration::from_secs(1), gone).await;
    let metrics = gw.metrics().await;
    let labels = |what: &str| metrics.lines().filter(|line| line.contains(what)).count();
    assert_eq!((labels("route=\"/r48\""), labels("upstream=\"u48\"")), (0, 0), "{metrics}");
    assert!(labels("route=\"/r49\"") > 0 && labels("upstream=\"u49\"") > 0, "{metrics}");
}

#[tokio::test]
async fn a_file_that_changes_is_noticed() {
    let time = TestClock::new();
    let secret = "upstreams: { t: { url: '{origin}', token: file://token } }\ninclude: [conf.d/*.yaml]\n";
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), "p.first\n").unwrap();
    std::fs::create_dir(folder.path().join("conf.d")).unwrap();
    let gw = TestGateway::from_folder(folder, &format!("{secret}{ONE}"), time.clock());
    let noticed = async |what: &str, generation: u64| {
        let there = eventually_async(what, || async {
            client::get(gw.admin(), "/readyz").await.json()["config"]["generation"] == generation
        });
        driven(&time, Duration::from_millis(250), there).await;
    };
    assert_eq!(status(&gw, "/one").await, 200);

    gw.rewrite(&format!("{secret}{TWO}"));
    noticed("the main file", 2).await;
    assert_eq!(status(&gw, "/two").await, 200);

    std::fs::write(gw.folder().join("token"), "p.second\n").unwrap();
    noticed("a credential's file", 3).await;
    assert_eq!(status(&gw, "/two").await, 200);

    std::fs::write(gw.folder().join("conf.d/more.yaml"), "routes: { /three: { pipe: three } }\n").unwrap();
    noticed("a file for a pattern", 4).await;
    assert_eq!(status(&gw, "/three").await, 200);

    std::fs::remove_file(gw.folder().join("conf.d/more.yaml")).unwrap();
    noticed("a file that is gone", 5).await;
    assert_eq!(status(&gw, "/three").await, 404);

    let tokens: Vec<String> =
        gw.origin.received().iter().map(|request| request.header("authorization").unwrap()).collect();
    assert_eq!(tokens, ["Bearer p.first", "Bearer p.first", "Bearer p.second", "Bearer p.second"]);
}

#[tokio::test]
async fn a_folder_of_files_that_is_away_takes_no_routes_away() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("conf.d")).unwrap();
    std::fs::write(folder.path().join("conf.d/more.yaml"), "routes: { /three: { pipe: three } }\n").unwrap();
    let gw = TestGateway::from_folder(folder, &format!("include: [conf.d/*.yaml]\n{ONE}"), Clock::system());
    std::fs::rename(gw.folder().join("conf.d"), gw.folder().join("away")).unwrap();
    let reply = gw.reload().await;
    assert_eq!(reply.status, 400, "{}", reply.body_text());
    assert!(reply.body_text().contains("there is no folder"), "{}", reply.body_text());
    assert_eq!(status(&gw, "/three").await, 200);
    std::fs::rename(gw.folder().join("away"), gw.folder().join("conf.d")).unwrap();
    assert_eq!(gw.reload().await.json()["result"], "unchanged");
}

#[tokio::test]
async fn who_asks_all_the_time_does_not_keep_a_change_from_being_noticed() {
    let time = TestClock::new();
    let gw = TestGateway::from_file(ONE, time.clock());
    gw.rewrite(TWO);
    let mut asked = 0;
    while client::get(gw.admin(), "/readyz").await.json()["config"]["generation"] != 2 {
        let compared = Request::get("/config/diff").bearer(&gw.admin_token()).send(gw.admin()).await;
        assert_eq!(compared.status, 200);
        time.advance(Duration::from_millis(400));
        asked += 1;
        assert!(asked < 1_000, "the change is not noticed");
    }
    assert_eq!(status(&gw, "/two").await, 200);
}

#[tokio::test]
async fn a_token_that_is_taken_away_is_made_again() {
    let time = TestClock::new();
    let gw = TestGateway::from_file(ONE, time.clock());
    let before = gw.admin_token();
    let path = gw.folder().join("data/admin.token");
    std::fs::remove_file(&path).unwrap();
    driven(&time, Duration::from_millis(250), eventually("another token", || path.exists())).await;
    assert_ne!(gw.admin_token(), before);
    eventually_async("the other token", || async { gw.reload().await.status == 200 }).await;
    assert_eq!(gw.reload_with(&before).await.status, 401);
}

#[tokio::test]
async fn what_an_operator_must_know_besides_is_in_the_reply() {
    let gw = started(ONE);
    gw.rewrite(&format!("upstreams: {{ t: {{ url: 'http://no-such-host.invalid' }} }}\n{ONE}"));
    let told = gw.reload().await.json();
    assert_eq!(told["result"], "applied", "{told}");
    let text = told["text"].as_str().unwrap();
    assert!(text.contains("warning: the host of upstream t cannot be looked up"), "{text}");
    assert_eq!(gw.metric("tollgate_upstream_resolved{upstream=\"t\"}").await, 0.0);
    assert_eq!(status(&gw, "/one").await, 503);

    // The token that was written goes, and none can be made: who could reload still can, and is told.
    let token = "a-token-that-was-written-down";
    let gw = started(&format!("admin: {{ address: 127.0.0.1:0, token: {token} }}\nstate: {{ dir: /proc/no }}\n{ONE}"));
    gw.rewrite(&format!("state: {{ dir: /proc/no }}\n{ONE}"));
    let told = gw.reload_with(token).await.json();
    assert!(told["text"].as_str().unwrap().contains("the token stays what it was"), "{told}");
    assert_eq!(gw.reload_with(token).await.status, 200);
}

#[tokio::test]
async fn a_file_that_breaks_is_reported_once_and_noticed_when_it_is_mended() {
    let time = TestClock::new();
    let gw = TestGateway::from_file(ONE, time.clock());
    let last = async |result: &str| {
        let there = eventually_async(result, || async {
            client::get(gw.admin(), "/readyz").await.json()["config"]["last_reload"]["result"] == result
        });
        driven(&time, Duration::from_millis(250), there).await;
    };
    gw.rewrite(BROKEN);
    last("rejected").await;
    assert_eq!(status(&gw, "/one").await, 200);
    std::fs::remove_file(gw.folder().join("test.yaml")).unwrap();
    let gone = eventually_async("the missing file", || async {
        client::get(gw.admin(), "/readyz").await.body_text().contains("there is no file")
    });
    driven(&time, Duration::from_millis(250), gone).await;
    assert_eq!(status(&gw, "/one").await, 200);
    gw.rewrite(TWO);
    last("applied").await;
    assert_eq!(status(&gw, "/two").await, 200);
}

#[tokio::test]
async fn sighup_reloads_and_the_log_tells() {
    let origin = MockOrigin::start();
    let text = |routes: &str| {
        format!(
            "listeners: [{{ address: 127.0.0.1:0 }}]\nadmin: {{ address: 127.0.0.1:0 }}\nlog: {{ access: off }}\n\
             upstreams: {{ t: {{ url: '{}', token: '{TOKEN}' }} }}\n{routes}",
            origin.url()
        )
    };
    let mut gateway = Process::start(&text(ONE)).await;
    assert_eq!(client::get(gateway.addr(), "/one").await.status, 200);
    std::fs::write(gateway.folder().join("test.yaml"), text(TWO)).unwrap();
    gateway.signal("HUP");
    eventually("the reload", || gateway.stderr().contains("generation 2 is running")).await;
    assert!(gateway.stderr().contains("+ routes./two"), "{}", gateway.stderr());
    assert_eq!(client::get(gateway.addr(), "/two").await.status, 200);

    std::fs::write(gateway.folder().join("test.yaml"), text(BROKEN)).unwrap();
    gateway.signal("HUP");
    eventually("the report", || gateway.stderr().contains("nothing was changed, generation 2 goes on")).await;
    assert!(gateway.stderr().contains("did you mean `pipe`?"), "{}", gateway.stderr());
    assert_eq!(client::get(gateway.addr(), "/two").await.status, 200);
    assert!(!gateway.stderr().contains(TOKEN));

    // What is written to the log changes with a reload, too.
    let generation = async |wanted: u64| {
        let there = || async { client::get(gateway.admin(), "/readyz").await.json()["config"]["generation"] == wanted };
        eventually_async("the generation", there).await;
    };
    for (number, routes) in [(3, ONE), (4, TWO)] {
        std::fs::write(
            gateway.folder().join("test.yaml"),
            text(routes).replace("access: off", "access: off, level: error"),
        )
        .unwrap();
        gateway.signal("HUP");
        generation(number).await;
    }
    assert!(!gateway.stderr().contains("generation 4 is running"), "{}", gateway.stderr());
    gateway.signal("TERM");
    assert_eq!(gateway.ended().await.code(), Some(0));
}

/// Runs the program beside a gateway; exit code, standard output, standard error.
fn tollgate(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_tollgate")).args(arguments).output().expect("the binary starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code().expect("an exit code"), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn the_program_reloads_compares_and_shows_what_runs() {
    let origin = MockOrigin::start();
    // Where it listens is asked of the file, so that cannot be port 0.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = |routes: &str| {
        format!(
            "listeners: [{{ address: 127.0.0.1:0 }}]\nadmin: {{ address: '{free}' }}\nlog: {{ access: off }}\n\
             upstreams: {{ t: {{ url: '{}', token: '{TOKEN}' }} }}\n{routes}",
            origin.url()
        )
    };
    let gateway = Process::start(&text(ONE)).await;
    let path = gateway.folder().join("test.yaml");
    let (write, file) = (|text: String| std::fs::write(&path, text).unwrap(), path.to_str().unwrap());
    let reload = || tollgate(&["reload", "-c", file]);
    let compare = || tollgate(&["config", "diff", "--running", "-c", file]);
    assert_eq!(compare(), (0, String::new(), "no difference\n".to_owned()));

    write(text(TWO));
    let (code, out, err) = compare();
    assert_eq!((code, err.as_str()), (1, ""));
    assert_eq!(out, "- routes./one\n+ routes./two: pipe two\n");
    let (code, out, err) = reload();
    assert_eq!((code, out.as_str()), (0, ""), "{err}");
    assert!(err.ends_with("reloaded: generation 2 is running\n"), "{err}");
    assert_eq!(client::get(gateway.addr(), "/two").await.status, 200);

    // Neither what is wrong in the file nor that it is no YAML any more keeps its gateway from being found.
    for broken in [text(BROKEN), format!("{}][", text(ONE))] {
        write(broken);
        let checked = tollgate(&["check", file]).2;
        let (code, _, err) = reload();
        assert_eq!(code, 1, "{err}");
        let problem = checked.split("\n\n").next().unwrap();
        assert!(err.contains(problem), "{problem}\nis not in\n{err}");
        assert_eq!(compare().0, 2);
        assert_eq!(tollgate(&["healthcheck", "-c", file]).0, 0, "it serves");
    }

    write(format!("{}server: {{ threads: 3 }}\n", text(ONE)));
    let (code, _, err) = reload();
    assert_eq!(code, 3, "{err}");
    assert!(err.contains("needs a restart: server.threads"), "{err}");
    let (code, out, _) = tollgate(&["reload", "-c", file, "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &json["needs_restart"]), (3, &serde_json::json!(["server.threads"])));

    let (code, out, _) = tollgate(&["config", "show", "--running", "-c", file]);
    assert_eq!(code, 0);
    assert!(out.contains("/one:") && out.contains("threads: auto") && !out.contains(TOKEN), "{out}");
    let (code, out, _) = tollgate(&["routes", "test", "GET", "/one?limit=1", "--running", "-c", file]);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("/v0/pipes/one.json?limit=1") && !out.contains(TOKEN), "{out}");
    assert_eq!(tollgate(&["routes", "test", "GET", "/no", "--running", "-c", file]).0, 1);
    assert_eq!(origin.received_count(), 1, "explaining sends nothing");
}

#[tokio::test]
async fn the_program_says_why_a_gateway_does_not_reload() {
    let gw = started(ONE);
    let url = format!("http://{}", gw.admin());
    let wrong = gw.folder().join("wrong");
    std::fs::write(&wrong, "not-the-token\n").unwrap();
    for (url, token, why) in [
        (url.as_str(), wrong.to_str().unwrap(), "this is not the admin token"),
        (url.as_str(), "no/such/file", "`no/such/file`: No such file"),
        ("http://127.0.0.1:1", wrong.to_str().unwrap(), "does not answer at http://127.0.0.1:1"),
    ] {
        let (url, token) = (url.to_owned(), token.to_owned());
        let asked =
            tokio::task::spawn_blocking(move || tollgate(&["reload", "--admin-url", &url, "--token-file", &token]));
        let (code, out, err) = asked.await.unwrap();
        assert_eq!((code, out.as_str()), (2, ""), "{err}");
        assert!(err.contains(why), "{why} is not in {err}");
    }
    let (code, _, err) = tollgate(&["reload", "-c", "no/such.yaml"]);
    assert!(code == 2 && err.contains("no/such.yaml"), "the defaults may be another gateway's: {err}");
    assert_eq!(tollgate(&["reload"]).0, 64);
}

#[tokio::test]
async fn a1_what_runs_and_what_would_happen_need_the_token_and_show_no_secret() {
    let gw = started("upstreams: { t: { url: '{origin}', token: p.hunter2 } }\nroutes: { /one: { pipe: one } }\n");
    let token = gw.admin_token();
    for path in ["/config", "/config/diff"] {
        assert_eq!(client::get(gw.admin(), path).await.status, 401, "{path}");
        let shown = Request::get(path).bearer(&token).send(gw.admin()).await;
        assert_eq!(shown.status, 200, "{path}");
        assert!(!shown.contains("hunter2") && !shown.contains(&token), "{}", shown.body_text());
    }
    let asked = r#"{"method": "GET", "url": "/one?q=1", "headers": [["Authorization", "Bearer x"]]}"#;
    assert_eq!(Request::post("/routes/test").json(asked).send(gw.admin()).await.status, 401);
    let told = Request::post("/routes/test").bearer(&token).json(asked).send(gw.admin()).await;
    assert_eq!(told.status, 200);
    assert_eq!(told.json()["explanation"]["verdict"]["code"], "control_parameter");
    assert_eq!(told.json()["explanation"]["request"]["host"], "127.0.0.1", "that of the first listener, as offline");
    for wrong in ["", "{", "[]", r#"{"method": "GET"}"#, r#"{"method": "GET", "url": "/", "more": 1}"#] {
        let response = Request::post("/routes/test").bearer(&token).json(wrong).send(gw.admin()).await;
        assert_eq!(response.status, 400, "{wrong}");
    }
    let deep = format!(r#"{{"method": "GET", "url": "/", "headers": {}"#, "[".repeat(100_000));
    assert_eq!(Request::post("/routes/test").bearer(&token).json(deep).send(gw.admin()).await.status, 400, "d7");
    gw.origin.assert_untouched();
    gw.assert_alive().await;
}

#[tokio::test]
async fn a1_reloading_needs_the_token_also_on_this_machine() {
    let gw = started(ONE);
    gw.rewrite(TWO);
    let json = ("Content-Type", "application/json");
    let call = || Request::post("/reload").header(json.0, json.1);
    let token = gw.admin_token();
    for (wrong, expected) in [
        (call(), 401),
        (call().bearer("wrong"), 401),
        (call().header("Authorization", &token), 401),
        (call().bearer(&token).host("evil.example.com"), 403),
        (call().bearer(&token).header("Origin", "http://127.0.0.1:9901"), 403),
        (call().bearer(&token).header("Origin", "null"), 403),
        (Request::get("/reload").bearer(&token), 405),
        (Request::get("/config/diff"), 401),
        (Request::get("/config/diff").bearer(&token).host("evil.example.com"), 403),
    ] {
        let response = wrong.send(gw.admin()).await;
        assert_eq!(response.status, expected, "{}", response.body_text());
        assert!(response.header("access-control-allow-origin").is_none());
    }
    let preflight = Request::preflight("/reload", "https://app.example.com", "POST").send(gw.admin()).await;
    assert!(preflight.status >= 400 && preflight.header("access-control-allow-origin").is_none());
    assert_eq!(status(&gw, "/one").await, 200, "nothing was reloaded");
    assert_refused(&Request::post("/reload").bearer(&token).send(gw.addr()).await, 404, "route_not_found");
    assert_eq!(gw.reload().await.status, 200);
}

#[tokio::test]
async fn a2_forms_do_not_reload_and_guessing_is_slowed_down() {
    let gw = started(ONE);
    let token = gw.admin_token();
    for media in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        let response = Request::post("/reload").bearer(&token).typed_body(media, "{}").send(gw.admin()).await;
        assert_eq!(response.status, 415, "{media}");
    }
    assert_eq!(Request::post("/reload").bearer(&token).send(gw.admin()).await.status, 415, "no type at all");
    for guess in 0..10 {
        assert_eq!(gw.reload_with(&format!("guess-{guess}")).await.status, 401);
    }
    let slowed = gw.reload_with("another guess").await;
    assert_eq!(slowed.status, 429);
    assert!(slowed.header("retry-after").is_some());
    assert_eq!(gw.reload_with(&token).await.status, 200, "who sits at the machine is not locked out");
    gw.assert_alive().await;
}

#[tokio::test]
async fn a3_a_reload_takes_nothing_from_the_network_and_checks_as_a_start_does() {
    let gw = started(ONE);
    let token = gw.admin_token();
    let send = async |body: String| Request::post("/reload").bearer(&token).json(body).send(gw.admin()).await;
    assert_eq!(send("{\"upstreams\":{\"t\":{\"url\":\"http://evil.example.com\"}}}".to_owned()).await.status, 400);
    assert_eq!(send(" ".repeat(2 << 20)).await.status, 413);
    assert_eq!(send("{}".to_owned()).await.status, 200);
    gw.rewrite(&format!("upstreams: {{ t: {{ url: 'file:///etc/passwd' }} }}\n{ONE}"));
    let reply = gw.reload().await;
    assert_eq!(reply.status, 400, "{}", reply.body_text());
    assert_eq!(status(&gw, "/one").await, 200);
}

#[tokio::test]
async fn a_gateway_without_a_file_says_so() {
    let gw = TestGateway::with(&format!("admin: {{ address: 127.0.0.1:0, token: a-token }}\n{ONE}"));
    let reply = gw.reload_with("a-token").await;
    assert_eq!((reply.status, &reply.json()["result"]), (409, &"without_file".into()));
    assert!(!gw.folder().join("data").exists(), "what nobody can use is not made");
}

/// What the origin of [`nothing_is_lost_while_it_reloads_all_the_time`] answers: the numbers that a request came with.
fn numbers(request: &Received) -> Answer {
    let behind = |text: &str, before: &str| -> Option<u64> {
        let (_, rest) = text.split_once(before)?;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    let pipe = behind(&request.path, "pipe_");
    let fixed = behind(request.query.as_deref().unwrap_or_default(), "generation=");
    let token = behind(&request.header("authorization").unwrap_or_default(), "p.token-");
    let body = serde_json::json!({ "pipe": pipe, "fixed": fixed, "token": token });
    Answer::json(200, body.to_string())
}

fn generation(number: u64, origin: &str) -> String {
    let extra = match number % 2 {
        0 => String::new(),
        _ => format!(
            "  /extra: {{ pipe: pipe_{number}, upstream: extra, params: {{ fixed: {{ generation: '{number}' }} }} }}\n"
        ),
    };
    let upstream = match number % 2 {
        0 => String::new(),
        _ => format!("  extra: {{ url: '{origin}', token: p.token-{number} }}\n"),
    };
    format!(
        "upstreams:\n  t: {{ url: '{origin}', token: p.token-{number} }}\n{upstream}routes:\n  /always: {{ pipe: \
         pipe_{number}, upstream: t, params: {{ fixed: {{ generation: '{number}' }} }} }}\n{extra}"
    )
}

/// The generation that an answer belongs to, wholly.
fn whole(answer: &Response) -> u64 {
    let numbers = answer.json();
    let number = numbers["pipe"].as_u64().unwrap_or_else(|| panic!("{numbers}"));
    assert_eq!(numbers["fixed"].as_u64(), Some(number), "parts of two configurations: {numbers}");
    assert_eq!(numbers["token"].as_u64(), Some(number), "parts of two configurations: {numbers}");
    number
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_while_it_reloads_all_the_time() {
    const LASTS: Duration = Duration::from_secs(20);
    const EVERY: Duration = Duration::from_millis(200);
    let origin = MockOrigin::start();
    origin.respond_with(numbers);
    let gw = TestGateway::from_file_at(origin, &generation(1, "{origin}"), Clock::system());
    let addr = gw.addr();
    let over = Arc::new(AtomicBool::new(false));
    let extras = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let mut callers = Vec::new();
    for caller in 0..6 {
        let (over, extras) = (Arc::clone(&over), Arc::clone(&extras));
        callers.push(tokio::spawn(call_until(over, extras, addr, caller % 3 == 0)));
    }
    let began = tokio::time::Instant::now();
    let mut number = 1;
    while began.elapsed() < LASTS {
        number += 1;
        gw.rewrite(&generation(number, "{origin}"));
        let told = gw.reload().await.json();
        // The poller may have been quicker.
        assert!(["applied", "unchanged"].contains(&told["result"].as_str().unwrap()), "{told}");
        assert_eq!(whole(&gw.get("/always").await), number, "a reload that is answered has happened");
        tokio::time::sleep(EVERY).await;
    }
    over.store(true, Ordering::Relaxed);
    let mut answered = 0;
    for caller in callers {
        answered += caller.await.unwrap();
    }
    assert!(number > 50, "only {number} reloads");
    assert!(answered > 1_000, "only {answered} requests");
    let extras = extras.each_ref().map(|count| count.load(Ordering::Relaxed));
    assert!(extras.iter().all(|count| *count > 0), "a route came and went: {extras:?}");
    let refused = gw.metric("tollgate_refusals_total{reason=\"upstream_failed\",route=\"/always\"}").await;
    assert_eq!(refused, 0.0);
}

/// Calls until it is over, on one connection or on a new one each time; every answer must be whole.
async fn call_until(
    over: Arc<AtomicBool>,
    extras: Arc<[AtomicUsize; 2]>,
    addr: SocketAddr,
    is_new_each_time: bool,
) -> usize {
    let mut client = RawClient::connect(addr).await;
    let (mut answered, mut last, mut is_closing) = (0, 0, false);
    while !over.load(Ordering::Relaxed) {
        if is_new_each_time || is_closing {
            client = RawClient::connect(addr).await;
        }
        client.send(Request::get("/always").bytes()).await;
        let answer = client.read_response().await;
        assert_eq!(answer.status, 200, "{}", answer.body_text());
        let generation = whole(&answer);
        if answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            // The gateway ends a connection after so many requests, and says so.
            client = RawClient::connect(addr).await;
        }
        assert!(generation >= last, "an older configuration came back: {generation} after {last}");
        last = generation;
        client.send(Request::get("/extra").bytes()).await;
        let answer = client.read_response().await;
        match answer.status {
            200 => assert_eq!(whole(&answer) % 2, 1),
            404 => assert_refused(&answer, 404, "route_not_found"),
            status => panic!("{status}: {}", answer.body_text()),
        }
        extras[usize::from(answer.status == 200)].fetch_add(1, Ordering::Relaxed);
        is_closing = answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        answered += 2;
    }
    answered
}
