//! The end: requests under way finish, nothing else holds it, and the exit code tells.

use std::fs::File;
use std::io::Read as _;
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tollgate::proxy::server::Stop;

use crate::support::client::{self, RawClient, Request};
use crate::support::eventually::{eventually, eventually_async};
use crate::support::gateway::{TOKEN, TestGateway};
use crate::support::h2_client::H2Client;
use crate::support::origin::{Answer, Gate, MockOrigin, Piece};
use crate::support::process::Process;

const ROUTES: &str = "routes: { /a: { pipe: a }, /b: { pipe: b } }\n";

/// What `server.drain` is by default.
const DRAIN: Duration = Duration::from_secs(20);

fn config(origin: &MockOrigin, more: &str) -> String {
    format!(
        "listeners: [{{ address: 127.0.0.1:0 }}]
admin: {{ address: 127.0.0.1:0 }}
log: {{ format: json, access: access.log }}
upstreams: {{ t: {{ url: '{}', token: '{TOKEN}' }} }}
{ROUTES}{more}\n",
        origin.url()
    )
}

/// Asks the gateway to drain; the handle ends when it has.
fn stop(gw: &mut TestGateway) -> JoinHandle<Stop> {
    let app = gw.take_app();
    app.stop(Stop::Drain);
    tokio::task::spawn_blocking(move || app.wait())
}

async fn refuses(addr: SocketAddr) -> bool {
    TcpStream::connect(addr).await.is_err()
}

#[tokio::test]
async fn requests_under_way_finish_and_new_ones_are_refused() {
    let mut gw = TestGateway::with(ROUTES);
    let (addr, admin) = (gw.addr(), gw.admin());
    let (before, inside) = (Gate::new(), Gate::new());
    let halves = [Piece::bytes("first,"), Piece::wait(&inside), Piece::bytes("second")];
    gw.origin.on_path("/v0/pipes/a", Answer::ok().gate(&before));
    gw.origin.on_path("/v0/pipes/b", Answer::ok().pieces(halves).chunked());
    let unanswered = tokio::spawn(async move { Request::get("/a").send(addr).await });
    let half = tokio::spawn(async move { Request::get("/b").send(addr).await });
    let h2 = tokio::spawn(async move { H2Client::connect(addr).await.get("/a").await });
    before.until_reached(2).await;
    inside.until_reached(1).await;
    let ended = stop(&mut gw);
    eventually_async("the listener to close", || refuses(addr)).await;
    eventually_async("readiness to be off", || async {
        let mut client = match TcpStream::connect(admin).await {
            Ok(stream) => RawClient::over(stream),
            // The admin address stays open until the end.
            Err(_) => return false,
        };
        client.send(Request::get("/readyz").bytes()).await;
        client.try_read_response().await.is_ok_and(|response| response.status == 503)
    })
    .await;
    assert!(!ended.is_finished(), "it ended with requests under way");
    before.open();
    let answered = unanswered.await.unwrap();
    assert_eq!(answered.status, 200);
    answered.assert_strictly_valid();
    assert_eq!(h2.await.unwrap().status, 200);
    assert!(!ended.is_finished(), "it ended with an answer half sent");
    inside.open();
    let whole = half.await.unwrap();
    assert_eq!(whole.body_text(), "first,second");
    whole.assert_strictly_valid();
    let began = Instant::now();
    assert_eq!(ended.await.unwrap(), Stop::Drain);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?} after the last request", began.elapsed());
}

#[tokio::test]
async fn idle_connections_do_not_hold_the_end() {
    let mut gw = TestGateway::with(ROUTES);
    let mut used = RawClient::connect(gw.addr()).await;
    assert_eq!(Request::get("/a").send_on(&mut used).await.status, 200);
    let _silent = RawClient::connect(gw.addr()).await;
    let mut half = RawClient::connect(gw.addr()).await;
    half.send("GET /a HTTP/1.1\r\nHost: ").await;
    let h2 = H2Client::connect(gw.addr()).await;
    assert_eq!(h2.get("/a").await.status, 200);
    gw.log(2).await;
    let began = Instant::now();
    stop(&mut gw).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    used.wait_closed().await;
}

#[tokio::test]
async fn the_drain_has_an_end() {
    let mut gw = TestGateway::with(&format!("server: {{ drain: 500ms }}\n{ROUTES}"));
    gw.origin.always(Answer::never());
    let mut client = RawClient::connect(gw.addr()).await;
    client.send(Request::get("/a").bytes()).await;
    gw.origin.requests(1).await;
    let began = Instant::now();
    stop(&mut gw).await.unwrap();
    let took = began.elapsed();
    assert!((Duration::from_millis(450)..Duration::from_secs(4)).contains(&took), "{took:?}");
}

#[tokio::test]
async fn sigterm_lets_requests_finish_and_then_ends_at_once() {
    let origin = MockOrigin::start();
    let gate = Gate::new();
    let halves = [Piece::Pattern(300_000), Piece::wait(&gate), Piece::Pattern(3_000_000)];
    origin.on_path("/v0/pipes/a", Answer::ok().pieces(halves));
    let mut process = Process::start(&config(&origin, "")).await;
    let addr = process.addr();
    let mut idle = RawClient::connect(addr).await;
    assert_eq!(Request::get("/b").send_on(&mut idle).await.status, 200);
    let call = tokio::spawn(async move { Request::get("/a").send(addr).await });
    gate.until_reached(1).await;
    process.signal("TERM");
    eventually_async("the listener to close", || refuses(addr)).await;
    assert!(process.is_running(), "{}", process.stderr());
    gate.open();
    let response = call.await.unwrap();
    response.assert_strictly_valid();
    assert_eq!(response.body.len(), 3_300_000);
    let began = Instant::now();
    assert_eq!(process.ended().await.code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(2), "{:?} after the last request", began.elapsed());
    idle.wait_closed().await;
    assert!(process.stderr().contains("stopped"), "{}", process.stderr());
    let log = std::fs::read_to_string(process.folder().join("access.log")).unwrap();
    assert_eq!(log.lines().count(), 2, "{log}");
}

#[tokio::test]
async fn sigterm_ends_an_idle_gateway_at_once() {
    let origin = MockOrigin::start();
    let mut process = Process::start(&config(&origin, "")).await;
    let began = Instant::now();
    process.signal("TERM");
    assert_eq!(process.ended().await.code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(2) && began.elapsed() < DRAIN, "{:?}", began.elapsed());
}

#[tokio::test]
async fn sigterm_cuts_what_outlasts_the_drain() {
    let origin = MockOrigin::start();
    origin.always(Answer::never());
    let mut process = Process::start(&config(&origin, "server: { drain: 500ms }")).await;
    let mut client = RawClient::connect(process.addr()).await;
    client.send(Request::get("/a").bytes()).await;
    origin.requests(1).await;
    let began = Instant::now();
    process.signal("TERM");
    assert_eq!(process.ended().await.code(), Some(0));
    let took = began.elapsed();
    assert!((Duration::from_millis(450)..Duration::from_secs(4)).contains(&took), "{took:?}");
    client.read_to_end_raw().await;
}

#[tokio::test]
async fn sigint_ends_at_once() {
    let origin = MockOrigin::start();
    origin.always(Answer::never());
    let mut process = Process::start(&config(&origin, "")).await;
    let mut client = RawClient::connect(process.addr()).await;
    client.send(Request::get("/a").bytes()).await;
    origin.requests(1).await;
    let began = Instant::now();
    process.signal("INT");
    process.ended().await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[tokio::test]
async fn every_line_of_the_access_log_is_written_before_the_end() {
    let origin = MockOrigin::start();
    let mut process = Process::start(&config(&origin, "")).await;
    let calls = 3_000;
    let mut client = RawClient::connect(process.addr()).await;
    // Refused at once, so that the log has the most to do.
    for _ in 0..calls / 50 {
        for _ in 0..50 {
            assert_eq!(Request::get("/nowhere").send_on(&mut client).await.status, 404);
        }
    }
    process.signal("TERM");
    assert_eq!(process.ended().await.code(), Some(0));
    let log = std::fs::read_to_string(process.folder().join("access.log")).unwrap();
    assert_eq!(log.lines().count(), calls);
    assert!(log.ends_with('\n'));
}

#[tokio::test]
async fn a_slow_reader_of_the_access_log_misses_nothing_at_the_end() {
    let origin = MockOrigin::start();
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let text = config(&origin, "").replace("access.log", &pipe.display().to_string());
    // Opening a pipe waits for its other end.
    let opening = tokio::task::spawn_blocking(move || File::open(pipe).unwrap());
    let mut process = Process::start(&text).await;
    let mut reader = opening.await.unwrap();
    let mut client = RawClient::connect(process.addr()).await;
    let calls = 2_000;
    for _ in 0..calls {
        assert_eq!(Request::get("/nowhere").send_on(&mut client).await.status, 404);
    }
    let addr = process.addr();
    process.signal("TERM");
    eventually_async("the listener to close", || refuses(addr)).await;
    let read = tokio::task::spawn_blocking(move || {
        let mut log = Vec::new();
        // Slowness is the point here: an idle gateway would be gone before all is read.
        while (&mut reader).take(8 * 1024).read_to_end(&mut log).unwrap() > 0 {
            std::thread::sleep(Duration::from_millis(3));
        }
        String::from_utf8(log).unwrap()
    });
    assert_eq!(read.await.unwrap().lines().count(), calls);
    assert_eq!(process.ended().await.code(), Some(0));
}

#[tokio::test]
async fn an_access_log_that_nobody_reads_does_not_hold_the_end() {
    let origin = MockOrigin::start();
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let text = config(&origin, "").replace("access.log", &pipe.display().to_string());
    let opening = tokio::task::spawn_blocking(move || File::open(pipe).unwrap());
    let mut process = Process::start(&text).await;
    let _never_read = opening.await.unwrap();
    let mut client = RawClient::connect(process.addr()).await;
    for _ in 0..1_000 {
        assert_eq!(Request::get("/nowhere").send_on(&mut client).await.status, 404);
    }
    process.signal("TERM");
    assert_eq!(process.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_port_in_use_is_an_error_at_once() {
    let origin = MockOrigin::start();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for key in ["listeners: [{ address: 127.0.0.1:0 }]", "admin: { address: 127.0.0.1:0 }"] {
        let text = config(&origin, "").replace(key, &key.replace("127.0.0.1:0", &address));
        let mut process = Process::run(&text);
        let began = Instant::now();
        assert_eq!(process.ended().await.code(), Some(1), "{}", process.stderr());
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
        let said = process.stderr();
        assert!(said.contains(&format!("cannot listen on {address}")) && said.contains("in use"), "{said}");
        assert!(!said.contains("panicked") && !said.contains(TOKEN), "{said}");
    }
    // And the same for two of its own.
    drop(taken);
    let text = config(&origin, "").replace("127.0.0.1:0", &address);
    let mut process = Process::run(&text);
    assert_eq!(process.ended().await.code(), Some(1), "{}", process.stderr());
}

#[tokio::test]
async fn two_gateways_cannot_share_a_port() {
    let origin = MockOrigin::start();
    let first = Process::start(&config(&origin, "")).await;
    let address = first.addr().to_string();
    let text = config(&origin, "")
        .replace("listeners: [{ address: 127.0.0.1:0 }]", &format!("listeners: [{{ address: {address} }}]"));
    let mut second = Process::run(&text);
    assert_eq!(second.ended().await.code(), Some(1), "{}", second.stderr());
    assert_eq!(client::get(first.addr(), "/a").await.status, 200);
}

#[tokio::test]
async fn a_file_that_is_missing_or_wrong_is_an_error() {
    let mut process = Process::run("routes: { /a: { pip: a } }\n");
    assert_eq!(process.ended().await.code(), Some(1), "{}", process.stderr());
    assert!(process.stderr().contains("test.yaml:1"), "{}", process.stderr());
    let origin = MockOrigin::start();
    let text = config(&origin, "").replace("access: access.log", "access: /nowhere/at/all/access.log");
    let mut process = Process::run(&text);
    eventually("its message", || !process.stderr().is_empty()).await;
    assert_eq!(process.ended().await.code(), Some(1), "{}", process.stderr());
}

#[tokio::test]
async fn memory_does_not_grow_with_the_length_of_an_answer() {
    let origin = MockOrigin::start();
    let length = 400 * 1024 * 1024;
    origin.on_path("/v0/pipes/a", Answer::stream(length).chunked());
    let process = Process::start(&config(&origin, "")).await;
    client::get(process.addr(), "/b").await;
    let idle = process.memory("VmHWM");
    // The buffers of a stream, and what the allocator keeps of them: the same for any length.
    assert_eq!(streamed(&process, "/a").await, length);
    let once = process.memory("VmHWM");
    // The kernel counts pages by thread and adds them up later, so that a number may even fall a little.
    let first = once.saturating_sub(idle);
    assert!(first < 40 * 1024, "{first} KiB for the first {length} bytes");
    for _ in 0..2 {
        assert_eq!(streamed(&process, "/a").await, length);
    }
    let more = process.memory("VmHWM").saturating_sub(once);
    assert!(more < 40 * 1024, "{more} KiB more for another 800 MiB");
}

/// How many bytes an answer has, none of them kept.
async fn streamed(process: &Process, path: &str) -> u64 {
    let mut client = RawClient::connect(process.addr()).await;
    client.send(Request::get(path).bytes()).await;
    let mut total = 0;
    client.read_response_into(|bytes| total += bytes.len() as u64).await.assert_strictly_valid();
    total
}

#[tokio::test]
async fn signals_are_heard_before_anybody_can_connect() {
    // A SIGTERM in between would end the process at once, with requests under way.
    let origin = MockOrigin::start();
    for _ in 0..5 {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let text = config(&origin, "").replacen("127.0.0.1:0", &free.to_string(), 1);
        let mut gateway = Process::run(&text);
        let mut heard = false;
        eventually("a connection", || {
            // Looked at first: what is heard now was heard before the connection.
            heard = gateway.is_running() && gateway.hears(15) && gateway.hears(2);
            std::net::TcpStream::connect(free).is_ok()
        })
        .await;
        assert!(heard, "the gateway takes connections, and a signal would end it");
        gateway.signal("TERM");
        assert_eq!(gateway.ended().await.code(), Some(0));
    }
}
