//! A process that is killed in the middle of an order: the next one goes on, or begins anew, and never serves half of
//! anything.
//!
//! The process that is killed is this program again, as its test [`the_one_that_is_killed`].

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use tollgate::tls::acme::{Issuer, State};

use crate::support::front;
use crate::support::life::{Life, eventually, files};
use crate::support::pebble::{Options, Pebble};
use crate::support::ports::free_port;

/// Tells the program that it is the one to be killed: folder, port, directory.
const WORK: &str = "TOLLGATE_TEST_ACME";
const NAMES: [&str; 3] = ["one.killed.example", "two.killed.example", "three.killed.example"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_killed_at_any_time_leaves_nothing_half_done() {
    let pebble = Pebble::start();
    let folder = tempfile::tempdir().unwrap();
    for life in 0..12 {
        let mut child = start(folder.path(), pebble.http_port, &pebble);
        until_ready(&mut child);
        // Another moment of the order each time.
        std::thread::sleep(Duration::from_millis(55 * life));
        child.kill().unwrap();
        child.wait().unwrap();
        // Whatever it left can be read by the next one.
        for file in files(folder.path()) {
            let name = file.to_string_lossy().into_owned();
            assert!(!name.contains(".unusable-"), "life {life}: {name}");
        }
    }
    // Fast, because an order that the authority gave up in the meantime is made again after a minute.
    let life = Life::at_speed(10, folder.path(), pebble.http_port, vec![pebble.issuer()], &NAMES);
    for name in NAMES {
        assert!(life.active(name).await.key.keys_match().is_ok());
    }
    // What was half written is not looked at, and removed by a later start.
    let files: Vec<String> = files(folder.path()).iter().map(|file| file.to_string_lossy().into_owned()).collect();
    let count = |is: fn(&str) -> bool| files.iter().filter(|file| !file.ends_with(".tmp") && is(file)).count();
    let accounts = count(|file| file.ends_with("account.json"));
    let unusable = count(|file| file.contains(".unusable-"));
    let orders = count(|file| file.contains("/orders/"));
    assert_eq!((accounts, unusable, orders), (1, 0, 0), "{files:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_has_brought_its_certificate_is_not_gone_on_with() {
    let (pebble, folder) = (Pebble::start(), tempfile::tempdir().unwrap());
    let name = NAMES[0];
    let own = folder.path().join(pebble.issuer().slug());
    let (certificate, order) = (own.join(format!("certificates/{name}.pem")), own.join(format!("orders/{name}.json")));
    let life = Life::begin(folder.path(), pebble.http_port, vec![pebble.issuer()], &[name]);
    eventually(|| order.exists(), || "no order was written down".to_owned()).await;
    let pending = std::fs::read(&order).unwrap();
    life.active(name).await;
    assert!(!order.exists());
    drop(life);
    let issued = std::fs::read(&certificate).unwrap();

    // Killed before it could be removed.
    std::fs::write(&order, &pending).unwrap();
    let life = Life::begin(folder.path(), pebble.http_port, vec![pebble.issuer()], &[name]);
    assert!(life.store.get(name).is_some() && !order.exists());
    drop(life);

    // Killed before the certificate was written: the authority has it still.
    std::fs::write(&order, &pending).unwrap();
    std::fs::remove_file(&certificate).unwrap();
    let life = Life::begin(folder.path(), pebble.http_port, vec![pebble.issuer()], &[name]);
    life.active(name).await;
    assert_eq!(std::fs::read(&certificate).unwrap(), issued);
    assert!(!order.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_the_authority_is_looking_into_is_gone_on_with() {
    // The authority's question is let through to whoever lives, once it is allowed to.
    let pebble = Pebble::with(Options { variables: vec![("PEBBLE_WFE_NONCEREJECT", "20")], ..Options::default() });
    let folder = tempfile::tempdir().unwrap();
    let (behind, is_open) = (free_port(), Arc::new(AtomicBool::new(false)));
    let (asked, questions) = mpsc::sync_channel(16);
    let open = Arc::clone(&is_open);
    let _front = front::serve(pebble.http_port, move |_, target| {
        let _ = asked.try_send(());
        while !open.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let target = format!("http://127.0.0.1:{behind}{target}").parse().expect("a URL");
        let client = tollgate::outbound::Client::direct(tollgate::clock::Clock::system());
        let call = tollgate::outbound::Call::get(target);
        let answer = tollgate::outbound::wait(async { client.call(&call).await }).expect("a runtime");
        match answer {
            Ok(answer) => (answer.status.as_u16(), Vec::new(), String::from_utf8_lossy(&answer.body).into_owned()),
            Err(_) => (502, Vec::new(), String::new()),
        }
    });
    let mut child = start(folder.path(), free_port(), &pebble);
    questions.recv_timeout(Duration::from_secs(60)).expect("the authority asks");
    child.kill().unwrap();
    child.wait().unwrap();
    let orders = files(folder.path()).iter().filter(|file| file.to_string_lossy().contains("/orders/")).count();
    assert!(orders > 0);
    let life = Life::begin(folder.path(), behind, vec![pebble.issuer()], &NAMES);
    eventually(|| life.engine.report().iter().any(|report| report.state == State::Ordering), String::new).await;
    is_open.store(true, Ordering::Release);
    let mut at_once = 0;
    for name in NAMES {
        let settled = || matches!(life.report(name).state, State::Active | State::Failed);
        eventually(settled, || format!("{:?}", life.report(name))).await;
        at_once += usize::from(life.report(name).state == State::Active);
    }
    assert!(at_once > 0, "{:?}", life.engine.report());
    life.time.advance(Duration::from_secs(120));
    for name in NAMES {
        life.active(name).await;
    }
}

fn start(folder: &Path, http_port: u16, pebble: &Pebble) -> Child {
    let ca = pebble.folder().join("ca.der");
    std::fs::write(&ca, pebble.ca()).expect("a file");
    let work = format!("{}|{http_port}|{}|{}", folder.display(), pebble.url(), ca.display());
    Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "killed::the_one_that_is_killed", "--nocapture"])
        .env(WORK, work)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("this program starts")
}

fn until_ready(child: &mut Child) {
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    lines.map_while(Result::ok).find(|line| line == "ready").expect("it begins");
}

/// Orders until it is killed; does nothing where nobody wants to kill it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_one_that_is_killed() {
    let Some(work) = std::env::var_os(WORK) else { return };
    let work = work.to_str().unwrap();
    let parts: Vec<&str> = work.split('|').collect();
    let [folder, http_port, directory, ca] = parts[..] else { panic!("{work}") };
    let ca = std::fs::read(ca).unwrap();
    let issuer = Issuer { ca: Some(vec![ca]), ..Issuer::new(directory.parse().unwrap()) };
    let _life = Life::begin(Path::new(folder), http_port.parse().unwrap(), vec![issuer], &NAMES);
    println!("\nready");
    // Who started this kills it; if it is gone itself, this ends some time.
    tokio::time::sleep(Duration::from_secs(60)).await;
}
