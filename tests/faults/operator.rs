//! What operators and their machines do to a gateway that serves: reloads, the end, a full disk, a folder that cannot be
//! written, too few files, strangers at the admin address.
//!
//! Not here: stores, identity providers and databases that die (`tests/stores`, `tests/gateway`), which are processes and
//! servers of those tests; clocks that jump, which only a gateway inside the test can be given.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::load::{canary, canary_h2};
use crate::mounts;
use crate::origin::{Origin, Step, say};
use crate::sized;
use crate::stand::{CANARY, Stand, TOKEN, processor_time};
use crate::support::client::{self, RawClient, Request};
use crate::support::eventually::{eventually, eventually_async};
use crate::support::h2_client::H2Client;
use crate::support::process::Process;

const SECTIONS: &str = "upstreams: { t: { url: '{origin}', token: 'TOKEN' } }
usage: { ledger: true, measure: true }
log: { access: access.log, format: json }
routes:
  /canary: { pipe: canary }
";

fn sections() -> String {
    SECTIONS.replace("TOKEN", TOKEN)
}

/// What `prlimit` says of this process, or makes of it.
fn prlimit(id: u32, what: &str) -> String {
    let mut command = Command::new("prlimit");
    let out = command.args(["--pid", &id.to_string()]).args(what.split(' ')).output();
    let out = out.expect("prlimit is there: apt install util-linux");
    assert!(out.status.success(), "prlimit {what}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

fn open_files(id: u32) -> usize {
    std::fs::read_dir(format!("/proc/{id}/fd")).expect("a running process").count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reloads_ten_times_a_second_lose_nothing() {
    const EVERY: Duration = Duration::from_millis(100);
    let stand = Stand::start(&sections(), []).await;
    let file = stand.gateway.folder().join("test.yaml");
    let text = std::fs::read_to_string(&file).expect("the configuration");
    let (began, lasts) = (Instant::now(), sized(Duration::from_secs(3), Duration::from_secs(30)));
    let mut turn = 0;
    while began.elapsed() < lasts {
        turn += 1;
        // A name that is new each time, so that nothing is as it was.
        replace(&file, &format!("{text}  /extra/{turn}: {{ pipe: extra_{turn} }}\n"));
        stand.gateway.signal("HUP");
        tokio::time::sleep(EVERY).await;
    }
    // The last one has come through: its route is there.
    let (addr, last) = (stand.addr, format!("/extra/{turn}"));
    let is_there = || async { canary(&mut RawClient::connect(addr).await, &last).await.is_ok() };
    eventually_async("the last configuration to be taken over", is_there).await;
    let reloads = stand.gateway.stderr().matches("reloaded (by").count();
    println!("{turn} files, {reloads} reloads");
    assert!(reloads >= turn / 4, "{turn} files were {reloads} reloads: {}", stand.gateway.stderr());
    assert_eq!(stand.metric("tollgate_config_last_reload_successful").await, 1.0);
    stand.end("reloads all the time").await;
}

/// As editors do it: never half a file.
fn replace(file: &Path, text: &str) {
    let fresh = file.with_extension("new");
    std::fs::write(&fresh, text).expect("a file");
    std::fs::rename(&fresh, file).expect("a file");
}

/// What a caller has seen by the time that nobody listens any more.
#[derive(Debug, Default)]
struct Seen {
    answers: usize,
    last: Option<Instant>,
    wrong: Vec<String>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_under_load_answers_whatever_has_gone_upstream() {
    const BODY: &str = r#"{"data":[],"rows":0}"#;
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", BODY.len());
    let slow =
        vec![Step::Pause(Duration::from_millis(300)), say(answer), Step::Pause(Duration::from_millis(100)), say(BODY)];
    let origin = Origin::start([("slow".to_owned(), slow)]).await;
    let sections = sections().replace("{origin}", &origin.url);
    let listeners = "listeners: [{ address: 127.0.0.1:0 }]\nadmin: { address: 127.0.0.1:0 }\n";
    let mut gateway = Process::start(&format!("{listeners}{sections}")).await;
    let addr = gateway.addr();
    let mut callers = JoinSet::new();
    for caller in 0..40 {
        callers.spawn(async move { call_until_nobody_listens(addr, caller % 2 == 0, BODY).await });
    }
    eventually("every caller to be under way", || origin.playing().len() >= 40).await;
    gateway.signal("TERM");
    let mut seen = Seen::default();
    while let Some(ended) = callers.join_next().await {
        let one = ended.expect("callers do not panic");
        seen.answers += one.answers;
        seen.last = seen.last.max(one.last);
        seen.wrong.extend(one.wrong);
    }
    assert_eq!(gateway.ended().await.code(), Some(0), "{}", gateway.stderr());
    let after = seen.last.expect("there were answers").elapsed();
    let asked = origin.take_requests().len();
    println!("{asked} requests went upstream, {} were answered; it ended {after:.1?} after the last", seen.answers);
    assert_eq!(seen.wrong, Vec::<String>::new());
    assert_eq!(seen.answers, asked, "what has gone upstream is answered");
    assert!(after < Duration::from_secs(2), "{after:?} after the last answer");
    assert!(!gateway.stderr().contains("panicked"), "{}", gateway.stderr());
}

/// Asks again and again. A connection may end before an answer begins, and then nothing went upstream.
async fn call_until_nobody_listens(addr: std::net::SocketAddr, is_kept: bool, body: &str) -> Seen {
    let (mut seen, mut kept) = (Seen::default(), None);
    loop {
        let mut client = match kept.take() {
            Some(client) => client,
            None => match TcpStream::connect(addr).await {
                Ok(stream) => RawClient::over(stream),
                Err(_) => return seen,
            },
        };
        if client.try_send(Request::get("/canary?row=slow").bytes()).await.is_err() {
            continue;
        }
        let Ok(response) = client.try_read_response().await else { continue };
        seen.answers += 1;
        seen.last = Some(Instant::now());
        if response.status != 200 || response.truncated || response.body != body.as_bytes() {
            seen.wrong.push(format!("{response:?}"));
        }
        let closes = response.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        kept = (is_kept && !closes).then_some(client);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_nobody_and_nothing_is_forgotten() {
    // Without that, the first byte too many would end the process: a full disk does not.
    let wrapper = ["env", "--ignore-signal=XFSZ"];
    let quota = "limits: { each: { by: ip, quota: 1000000/day } }\nserver: { limits: [each] }\n";
    let mut stand = Stand::start_under(&wrapper, &format!("{quota}{}", sections()), []).await;
    let kept = ["tollgate_usage_kept", "tollgate_quotas_kept"];
    for name in kept {
        stand.until(name, 1.0).await;
    }
    // No file may get any longer: neither the ledger nor any log.
    prlimit(stand.gateway.id(), "--fsize=0:");
    for name in kept {
        stand.until(name, 0.0).await;
    }
    stand.assert_serves(CANARY).await.expect("a full disk is nobody's fault who calls");
    assert!(stand.gateway.is_running());
    eventually_async("the access log to count what it drops", || async {
        stand.assert_serves(CANARY).await.expect("an answer");
        stand.metric("tollgate_access_log_dropped_total").await > 0.0
    })
    .await;
    prlimit(stand.gateway.id(), "--fsize=unlimited:");
    for name in kept {
        stand.until(name, 1.0).await;
    }
    let (addr, folder) = (stand.addr, stand.gateway.folder());
    let before = lines(&folder);
    let is_logged = || async {
        canary(&mut RawClient::connect(addr).await, CANARY).await.expect("an answer");
        lines(&folder) > before
    };
    eventually_async("the access log to go on", is_logged).await;
    stand.settle().await;
    let answered = stand.metric(r#"tollgate_requests_total{code="200",host="*",route="/canary"}"#).await;
    eventually_async("the ledger to have all of it", || async {
        in_ledger(&[], &folder.join("data")) as f64 == answered
    })
    .await;
    let said = stand.gateway.stderr();
    stand.end("a full disk").await;
    assert!(answered > 10.0, "{answered} requests are in the ledger");
    println!("{answered} requests are in the ledger; the log has {} bytes", said.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_without_room_stops_nobody_and_nothing_is_forgotten() {
    let disk = tempfile::tempdir().expect("a place for a disk");
    let at = disk.path().display();
    let script =
        format!("mount -t tmpfs -o size=8m disk '{at}' && {{ cat /dev/zero >'{at}/filler' 2>/dev/null || :; }}");
    let Some(wrapper) = mounts::after(&script) else { return };
    let sections = sections().replace("access: access.log", &format!("access: '{at}/access.log'"));
    let sections = format!("state: {{ dir: '{at}' }}\n{sections}");
    // It is full when the gateway comes.
    let mut stand = Stand::start_under(&wrapper.each_ref().map(String::as_str), &sections, []).await;
    let folder = PathBuf::from(format!("/proc/{}/root{at}", stand.gateway.id()));
    let filler = folder.join("filler");
    let id = stand.gateway.id().to_string();
    let within = ["nsenter", "--target", &id, "--user", "--mount", "--preserve-credentials"];
    stand.assert_serves(CANARY).await.expect("a full disk is nobody's fault who calls");
    stand.until("tollgate_usage_kept", 0.0).await;
    std::fs::remove_file(&filler).expect("what fills the disk");
    stand.until("tollgate_usage_kept", 1.0).await;
    // It is filled while the gateway writes, up to the last byte.
    let mut more = std::fs::File::create(&filler).expect("a file");
    while more.write_all(&[0; 512]).is_ok() {}
    let dropped = stand.metric("tollgate_access_log_dropped_total").await;
    let drops_more = || async { stand.metric("tollgate_access_log_dropped_total").await > dropped + 10.0 };
    eventually_async("the access log to count what it drops", drops_more).await;
    stand.assert_serves(CANARY).await.expect("a full disk is nobody's fault who calls");
    std::fs::remove_file(&filler).expect("what fills the disk");
    drop(more);
    let before = lines(&folder);
    eventually_async("the access log to go on", || async { lines(&folder) > before + 10 }).await;
    stand.settle().await;
    let answered = stand.metric(r#"tollgate_requests_total{code="200",host="*",route="/canary"}"#).await;
    eventually_async("the ledger to have all of it", || async { in_ledger(&within, disk.path()) as f64 == answered })
        .await;
    stand.until("tollgate_usage_kept", 1.0).await;
    // What was cut is counted as dropped, and the next one begins on a line of its own.
    let log = std::fs::read_to_string(folder.join("access.log")).expect("the access log");
    let cut: Vec<_> = log.lines().filter(|line| serde_json::from_str::<serde_json::Value>(line).is_err()).collect();
    assert!(cut.len() <= 2 && cut.iter().all(|line| line.matches("\"time\"").count() <= 1), "{cut:#?}");
    stand.end("a disk without room").await;
}

fn lines(folder: &Path) -> usize {
    std::fs::read_to_string(folder.join("access.log")).expect("the access log").lines().count()
}

/// How many requests the ledger has, as the program says that this command runs.
fn in_ledger(wrapper: &[&str], state: &Path) -> u64 {
    let words = [wrapper, &[env!("CARGO_BIN_EXE_tollgate")]].concat();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).args(["usage", "--by", "route", "--since", "2d", "--json", "--dir"]).arg(state);
    let asked = command.output().expect("the program runs");
    let said: serde_json::Value = serde_json::from_slice(&asked.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&asked.stderr)));
    let rows = said["usage"].as_array().expect("rows");
    rows.iter().map(|row| row["requests"].as_u64().expect("a number")).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_cannot_be_written_stops_nobody() {
    // Who may do everything is not stopped by a mode: without these two, root is a user like others.
    let is_root = Command::new("id").arg("-u").output().expect("id is there").stdout == b"0\n";
    let bounded = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"];
    let wrapper = if is_root { &bounded[..] } else { &[] };
    let folder = tempfile::tempdir().expect("a folder");
    let sections = format!("state: {{ dir: '{}' }}\n{}", folder.path().display(), sections());
    let writable =
        |mode| std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(mode)).expect("own folder");
    writable(0o555);
    let stand = Stand::start_under(wrapper, &sections, []).await;
    stand.assert_serves(CANARY).await.expect("an answer");
    eventually("the log to say so", || stand.gateway.stderr().contains("usage cannot be written to")).await;
    stand.until("tollgate_usage_kept", 0.0).await;
    assert!(stand.gateway.stderr().contains("no admin token"), "{}", stand.gateway.stderr());
    // As soon as it can be, it is.
    writable(0o755);
    stand.until("tollgate_usage_kept", 1.0).await;
    // What is open goes on.
    writable(0o555);
    stand.assert_serves(CANARY).await.expect("an answer");
    stand.end("a folder for reading only").await;
    writable(0o755);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_few_files_are_waited_for() {
    let origin = Origin::start([]).await;
    let sections = sections().replace("{origin}", &origin.url);
    let listeners = "listeners: [{ address: 127.0.0.1:0 }]\nadmin: { address: 127.0.0.1:0 }\n";
    let mut gateway = Process::start(&format!("{listeners}{sections}")).await;
    let (addr, admin) = (gateway.addr(), gateway.admin());
    let mut before = RawClient::connect(addr).await;
    canary(&mut before, CANARY).await.expect("an answer");
    let mut scraper = RawClient::connect(admin).await;
    assert_eq!(Request::get("/readyz").send_on(&mut scraper).await.status, 200);
    let (hard, open) = (prlimit(gateway.id(), "--nofile --raw --noheadings --output HARD"), open_files(gateway.id()));
    prlimit(gateway.id(), &format!("--nofile={}:{hard}", open + 20));
    // More than fit. The system accepts them; the gateway cannot.
    let mut idle = Vec::new();
    for _ in 0..100 {
        idle.push(RawClient::connect(addr).await);
    }
    eventually("there to be no file left", || open_files(gateway.id()) >= open + 19).await;
    // Who is there already is served, on the connection that the gateway has upstream; so is who watches it.
    canary(&mut before, CANARY).await.expect("an answer");
    assert_eq!(Request::get("/metrics").send_on(&mut scraper).await.status, 200);
    let worked = processor_time(gateway.id());
    tokio::time::sleep(Duration::from_secs(1)).await;
    let worked = processor_time(gateway.id()) - worked;
    assert!(worked < Duration::from_millis(500), "{worked:?} to wait for a second");
    drop(idle);
    let serves = || async {
        let fresh = async { canary(&mut RawClient::connect(addr).await, CANARY).await };
        let ready = async { client::get(admin, "/readyz").await.status == 200 };
        fresh.await.is_ok() && ready.await
    };
    eventually_async("the gateway to serve again", serves).await;
    canary_h2(&H2Client::connect(addr).await, CANARY).await.expect("an answer");
    let said = gateway.stderr();
    assert!(gateway.is_running() && !said.contains("panicked"), "{said}");
    assert!(said.len() < 64 << 10, "{} bytes of log about it", said.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_at_the_admin_address_hold_nobody_up() {
    let stand = Stand::start(&format!("server: {{ keepalive: 2s }}\n{}", sections()), []).await;
    let admin = stand.gateway.admin();
    let before = stand.gateway.memory("VmRSS");
    let large = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "a".repeat(1 << 20));
    let endless = "GET / HTTP/1.1\r\nHost: x\r\n".to_owned() + &"X: a\r\n".repeat(10_000);
    let upload = "POST /reload HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\nhalf".to_owned();
    let said: Vec<Vec<u8>> = vec![
        Vec::new(),
        b"GET /metrics HT".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(),
        b"\0\0\0\xff\xfe\xfd garbage \r\n\r\n".to_vec(),
        b"GET /.env HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        b"CONNECT 169.254.169.254:80 HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        large.into_bytes(),
        endless.into_bytes(),
        upload.into_bytes(),
    ];
    let mut held = JoinSet::new();
    for turn in 0..sized(300, 3_000) {
        let bytes = said[turn % said.len()].clone();
        held.spawn(async move {
            let mut client = RawClient::connect(admin).await;
            // The gateway may hang up first.
            drop(client.try_send(&bytes).await);
            client
        });
        if held.len() % 50 == 0 {
            assert_eq!(client::get(admin, "/readyz").await.status, 200, "after {turn} strangers");
        }
    }
    let held = held.join_all().await;
    assert_eq!(client::get(admin, "/metrics").await.status, 200);
    let grown = stand.gateway.memory("VmHWM").saturating_sub(before);
    println!("{} strangers cost {grown} KiB", held.len());
    // Pingora holds some 100 KiB for each that is there, and most are gone after two seconds.
    assert!(grown < sized(100, 250) * 1024, "{grown} KiB");
    drop(held);
    assert!(stand.gateway.stderr().len() < 64 << 10, "the log is not theirs");
    stand.end("strangers at the admin address").await;
}
