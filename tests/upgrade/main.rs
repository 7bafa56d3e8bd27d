//! A gateway goes on as another process, and no caller notices.
//!
//! The binary, under load: what is lost, what is counted, and what is told where it cannot be done.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails loudly; Clippy exempts only functions that are tests themselves"
)]

mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tollgate::clock::Clock;
use tollgate::state::usage::{Place, lines};

use support::calls::{Calls, Door};
use support::eventually::eventually;
use support::line::{Line, is_running};
use support::upstream::Upstream;

/// More than any test sends.
const PLENTY: u64 = 1_000_000_000;

fn config(upstream: &str, more: &str) -> String {
    format!(
        "listeners: [{{ address: 127.0.0.1:0 }}, {{ address: 127.0.0.1:0, tls: true }}]
admin: {{ address: 127.0.0.1:0 }}
state: {{ dir: data }}
log: {{ access: off }}
upstreams: {{ t: {{ url: '{upstream}', token: p.secretsecretsecretsecret }} }}
hosts: {{ localhost: {{ tls: internal }} }}
limits: {{ daily: {{ by: gateway, quota: {PLENTY}/day }} }}
default_auth: public
routes: {{ /a: {{ pipe: a, limits: [daily] }} }}
{more}"
    )
}

async fn start() -> (Upstream, Line) {
    let upstream = Upstream::start().await;
    let line = Line::start(&config(&upstream.url(), "")).await;
    (upstream, line)
}

fn doors(line: &Line) -> [Door; 2] {
    let plain = Door { at: line.address("listening on http://"), tls: None };
    [plain, Door::of_tls(line.address("https://"), &line.file("data/tls/internal/authority.pem"))]
}

/// What `tollgate ...` prints as JSON.
fn json(mut command: Command) -> Value {
    let output = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// Requests in the ledger.
fn in_ledger(line: &Line) -> u64 {
    let mut sum = 0;
    let place = Place::Folder(line.file("data"));
    lines(&place, (0, u64::from(u32::MAX)), |_, row| sum += row.used.requests).expect("a ledger").expect("lines");
    sum
}

/// What was used of the quota, as the gateway that runs knows it.
fn of_quota(line: &Line) -> u64 {
    let limits = json(line.asking(&["limits", "show", "--format", "json"]));
    PLENTY - limits["limits"][0]["remaining"].as_u64().unwrap_or_else(|| panic!("{limits}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_is_lost_and_each_is_counted_once_over_three_upgrades() {
    let (upstream, mut line) = start().await;
    let (doors, admin) = (doors(&line), line.address("health and metrics on http://"));
    let calls = Calls::start(&doors, "/a", 3);
    let mut current = line.first();
    for turn in 1..=3 {
        let sent = upstream.requests();
        eventually("requests before the upgrade", || upstream.requests() > sent + 50).await;
        let (code, answer) = line.upgrade(&[]).await;
        assert_eq!((code, &answer["result"]), (Some(0), &"upgraded".into()), "{answer} {}", line.said());
        let next = u32::try_from(answer["pid"].as_u64().unwrap()).unwrap();
        assert_ne!(next, current);
        line.ended(current).await;
        assert!(is_running(next));
        eventually("the new process to know that the old one has ended", || {
            line.said().matches("the process that this one follows has ended").count() == turn
        })
        .await;
        current = next;
    }
    let sent = upstream.requests();
    eventually("requests after the upgrades", || upstream.requests() > sent + 50).await;
    let tally = calls.end().await;
    assert_eq!(tally.failures, Vec::<String>::new(), "{}", line.said());
    assert_eq!(tally.answers.keys().collect::<Vec<_>>(), [&200], "{tally:?}");
    assert_eq!(line.first_ended(), Some(0));
    assert_eq!(line.address("health and metrics on http://"), admin, "each has the sockets of the first");
    let answered = tally.answered();
    // Nobody was told twice to go: whoever sends within the courtesy is answered.
    assert!(tally.repeats <= 6, "{} repeats of {answered}", tally.repeats);
    assert_eq!(u64::from(upstream.requests()), answered, "what was sent again had not been read");
    assert_eq!(of_quota(&line), answered);
    Line::signal(current, "TERM");
    line.ended(current).await;
    assert_eq!(in_ledger(&line), answered);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_runs_out_while_two_processes_count_is_kept_to() {
    const QUOTA: u64 = 600;
    // The new process is there after some hundred requests: one of these is about right.
    for before in [250, 150, 80, 30] {
        let upstream = Upstream::start().await;
        let text = config(&upstream.url(), "").replace(&format!("{PLENTY}/day"), &format!("{QUOTA}/day"));
        let mut line = Line::start(&text).await;
        let calls = Calls::start(&doors(&line), "/a", 3);
        eventually("most of it to be used", || u64::from(upstream.requests()) > QUOTA - before).await;
        let (code, answer) = line.upgrade(&[]).await;
        assert_eq!(code, Some(0), "{answer}");
        eventually("the old one to end", || line.said().contains("has ended")).await;
        let is_refusal = |line: &str| line.starts_with("tollgate_requests_total") && line.contains("code=\"429\"");
        eventually("a refusal", || line.metrics().lines().any(is_refusal)).await;
        let tally = calls.end().await;
        assert_eq!(tally.failures, Vec::<String>::new());
        let let_in = tally.answers[&200];
        // No more than four requests of each who calls: what came to the old one within 20 ms, over connections that it had.
        // If neither knew what the other counts, some hundreds would be let in.
        assert!((QUOTA..=QUOTA + 13 * 4).contains(&let_in), "{let_in} of {QUOTA}");
        assert_eq!(u64::from(upstream.requests()), let_in);
    }
}

#[tokio::test]
async fn whoever_does_not_come_up_leaves_the_other_one_serving() {
    let (upstream, mut line) = start().await;
    let calls = Calls::start(&doors(&line), "/a", 1);
    // A file that is wrong.
    let good = config(&upstream.url(), "");
    std::fs::write(line.file("test.yaml"), good.replace("default_auth: public", "default_auth: nobody")).unwrap();
    eventually("a reload that fails", || line.said().contains("reload (by file) failed")).await;
    let output = line.asking(&["upgrade"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("TG0") && said.contains("nobody"), "the new one's message: {said}");
    assert!(said.contains("serves as before"), "{said}");
    std::fs::write(line.file("test.yaml"), &good).unwrap();
    // A program that is none, one that ends at once, and one that never says anything.
    std::fs::create_dir(line.file("open")).unwrap();
    std::fs::set_permissions(line.file("open"), std::fs::Permissions::from_mode(0o777)).unwrap();
    let program = |name: &str, text: &str, mode: u32| {
        let path = line.file(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path.display().to_string()
    };
    for (binary, why) in [
        (program("fails", "#!/bin/sh\necho it is tuesday >&2\nexit 7\n", 0o755), "it said:\nit is tuesday"),
        (program("nothing", "neither fish nor fowl", 0o755), "cannot be started"),
        (program("no-program", "", 0o644), "is no program"),
        (program("anybodys", "#!/bin/sh\n", 0o777), "can be changed by other users"),
        (program("open/fine", "#!/bin/sh\n", 0o755), "can be replaced by other users"),
        (line.file("gone").display().to_string(), "No such file"),
    ] {
        let (code, answer) = line.upgrade(&["--binary", &binary]).await;
        let text = answer["text"].as_str().unwrap();
        assert!(code == Some(2) && text.contains(why), "{binary}: {code:?} {text}");
    }
    assert_eq!(line.first_ended(), None);
    // And then it works all the same.
    let (code, answer) = line.upgrade(&["--binary", env!("CARGO_BIN_EXE_tollgate")]).await;
    assert_eq!(code, Some(0), "{answer}");
    line.ended(line.first()).await;
    let tally = calls.end().await;
    assert_eq!((tally.failures, tally.answers.len()), (Vec::new(), 1));
}

#[tokio::test]
async fn a_gateway_hands_over_once_at_a_time_and_not_while_it_stops() {
    let (_upstream, mut line) = start().await;
    let slow = line.file("slow");
    std::fs::write(&slow, "#!/bin/sh\nread -r line\nexit 3\n").unwrap();
    std::fs::set_permissions(&slow, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut first = line.asking(&["upgrade", "--format", "json", "--binary", &slow.display().to_string()]);
    let first = std::thread::spawn(move || first.output().unwrap());
    eventually("the first to begin", || line.said().contains("slow is started")).await;
    let (code, answer) = line.upgrade(&[]).await;
    assert_eq!((code, &answer["result"]), (Some(2), &"refused".into()), "{answer}");
    assert!(answer["text"].as_str().unwrap().contains("an upgrade is under way"), "{answer}");
    // Whatever the other process has read already is not changed here.
    let reset = line.asking(&["limits", "reset", "--limit", "daily"]).output().unwrap();
    let said = String::from_utf8_lossy(&reset.stderr).into_owned();
    assert!(reset.status.code() == Some(2) && said.contains("an upgrade is under way"), "{said}");
    // SIGTERM means the end, whatever else is going on.
    let pid = line.first();
    Line::signal(pid, "TERM");
    line.ended(pid).await;
    assert_eq!(line.first_ended(), Some(0));
    let output = first.join().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
}

/// An upstream that answers when it is let.
async fn held(release: Arc<Notify>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("a port"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let release = Arc::clone(&release);
            tokio::spawn(async move {
                drop(stream.read(&mut [0; 4096]).await);
                release.notified().await;
                drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{\"data\":[]}").await);
            });
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_process_finishes_what_it_has_and_the_supervisor_follows_the_new_one() {
    let release = Arc::new(Notify::new());
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("notify");
    let ear = UnixDatagram::bind(&socket).unwrap();
    ear.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let hear = || {
        let mut buffer = [0; 4096];
        let length = ear.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    let text = config(&held(Arc::clone(&release)).await, "");
    let mut line = Line::start_in(folder, &text, &[("NOTIFY_SOCKET", socket.as_os_str())]).await;
    assert_eq!(hear(), "READY=1\nSTATUS=Serving");
    let (first, door) = (line.first(), doors(&line)[0].clone());
    let caller = tokio::spawn(Calls::once(door, "/a"));
    let in_flight = |line: &Line| {
        let metrics = line.metrics();
        metrics.lines().find_map(|line| line.strip_prefix("tollgate_in_flight ")?.parse().ok()).unwrap_or(0)
    };
    eventually("the request to be under way", || in_flight(&line) == 1).await;
    let (code, answer) = line.upgrade(&[]).await;
    assert_eq!(code, Some(0), "{answer}");
    assert_eq!(hear(), format!("MAINPID={}\nREADY=1\nSTATUS=Serving", answer["pid"]));
    // The new one answers operators, and is not handed over before the old one has ended.
    assert_eq!(in_flight(&line), 0);
    let (code, refused) = line.upgrade(&[]).await;
    assert_eq!((code, &refused["result"]), (Some(2), &"refused".into()), "{refused}");
    assert_eq!(line.first_ended(), None);
    eventually("the courtesy to be over", || line.is_quiet(first)).await;
    release.notify_waiters();
    assert_eq!(caller.await.unwrap(), Ok(200));
    let (clock, answered) = (Clock::system(), Clock::system().now());
    line.ended(first).await;
    let took = clock.now().duration_since(answered);
    assert!(took < Duration::from_secs(1), "{took:?} after its last request");
    // A reload is the new one's affair, and the supervisor believes it. The old one has said nothing of its end.
    Line::signal(u32::try_from(answer["pid"].as_u64().unwrap()).unwrap(), "HUP");
    assert!(hear().starts_with("RELOADING=1\n"));
}

#[tokio::test]
async fn nobody_takes_over_who_would_refuse_callers() {
    let upstream = Upstream::start().await;
    // A provider that is away: a gateway that runs may still have its keys.
    let away = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let idp = format!(
        "auth: {{ idp: {{ type: jwt, issuer: 'https://id.test/', audience: a, jwks: 'http://{away}/keys', tenant: '{{claims.t}}' }} }}\n"
    );
    let text = config(&upstream.url(), &idp).replace("routes: { ", "routes: { /b: { pipe: b, auth: idp }, ");
    let mut line = Line::start(&text).await;
    let (code, answer) = line.upgrade(&[]).await;
    let text = answer["text"].as_str().unwrap();
    assert!(code == Some(2) && text.contains("the keys of idp cannot be had"), "{text}");
    let door = Door { at: line.address("listening on http://"), tls: None };
    assert_eq!(Calls::once(door, "/a").await, Ok(200));
}

#[tokio::test]
async fn what_needs_a_restart_takes_effect() {
    let (upstream, mut line) = start().await;
    let more = config(&upstream.url(), "").replace("listeners: [", "listeners: [{ address: '[::1]:0' }, ");
    std::fs::write(line.file("test.yaml"), more).unwrap();
    let (code, answer) = line.upgrade(&[]).await;
    assert_eq!(code, Some(0), "{answer}");
    eventually("the old one to have ended", || line.said().contains("has ended")).await;
    let said = line.said();
    assert!(said.rsplit_once("listening on ").unwrap().1.starts_with("http://[::1]:"), "{said}");
    let door = Door { at: line.address("listening on http://"), tls: None };
    assert_eq!(Calls::once(door, "/a").await, Ok(200));
    // And what is given up is closed with the old process.
    let given_up = line.address("listening on http://");
    std::fs::write(line.file("test.yaml"), config(&upstream.url(), "")).unwrap();
    let (code, answer) = line.upgrade(&[]).await;
    assert_eq!(code, Some(0), "{answer}");
    eventually("nobody to listen", || std::net::TcpStream::connect(given_up).is_err()).await;
}

#[tokio::test]
async fn sigusr2_asks_for_the_same() {
    let (_upstream, mut line) = start().await;
    let first = line.first();
    Line::signal(first, "USR2");
    eventually("the other one to serve", || line.said().contains("upgraded: process")).await;
    line.ended(first).await;
    let (code, answer) = line.upgrade(&[]).await;
    assert_eq!(code, Some(0), "the sockets go on to the third: {answer}");
}
