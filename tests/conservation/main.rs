//! Conservation: what the ledger says is what callers saw, request by request, whatever becomes of them and of the gateway.
//!
//! A gateway that is a process of its own, an upstream that misbehaves, callers who leave, and stops in between: clean ones,
//! after which the ledger is exact, and `kill -9`, which takes the last second at most and doubles nothing. A data source that
//! is away for a part of it has in the end, of every line, one. 50 000 requests
//! for each of the two; `TOLLGATE_LONG=1` makes it a million each.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::wildcard_enum_match_arm,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test fails loudly, and processes beside it know no clock but the system's"
)]

mod book;
mod caller;
mod kind;
mod origin;
mod receiver;
mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpSocket;
use tokio::task::JoinSet;

use book::Account;
use caller::Load;
use origin::Origin;
use receiver::Receiver;
use support::credentials::{ISSUER, SECRET};
use support::process::Process;

/// Callers at once.
const CALLERS: usize = 24;
/// What the end of the process may take away.
const LOSS: Duration = Duration::from_secs(1);
/// One after the other: together they would want more than a machine has.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn total() -> usize {
    if std::env::var_os("TOLLGATE_LONG").is_some() { 1_000_000 } else { 50_000 }
}

/// How a gateway ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Clean,
    Kill,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_clean_stops_the_ledger_is_what_callers_saw() {
    run(&[End::Clean, End::Clean, End::Clean]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_takes_a_second_at_most_and_doubles_nothing() {
    run(&[End::Kill, End::Kill, End::Clean]).await;
}

/// A life of a gateway, when it is over.
#[derive(Debug)]
struct Life {
    end: End,
    /// When it was ended.
    at: Instant,
    /// What was added to the ledger.
    written: Account,
}

/// One gateway after the other, all with the same ledger, while callers go on.
async fn run(ends: &[End]) {
    let _turn = TURN.lock().await;
    let began = Instant::now();
    let folder = tempfile::tempdir().expect("a folder for the ledger");
    let origin = Origin::start(total()).await;
    // Nobody listens there, and nobody else gets it.
    let nobody = TcpSocket::new_v4().expect("a socket");
    nobody.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let nobody_at = nobody.local_addr().expect("an address");
    let receiver = Receiver::start().await;
    let config = config(&origin.url, &format!("http://{nobody_at}"), &receiver.url, folder.path());
    let load = Load::new(origin, total());
    let mut callers: JoinSet<()> = (0..CALLERS).map(|_| caller::call(Arc::clone(&load))).collect();
    let callers = async {
        while let Some(ended) = callers.join_next().await {
            ended.expect("no caller panics");
        }
    };
    let gateways = async {
        let (mut lives, mut ledger) = (Vec::new(), Account::default());
        for (gateway, end) in ends.iter().enumerate() {
            let share = (gateway + 1 < ends.len()).then_some(total() / ends.len());
            let at = live(&load, &config, (gateway, share, *end)).await;
            let now = Account::of_ledger(folder.path());
            lives.push(Life { end: *end, at, written: now.clone().since(&ledger) });
            ledger = now;
            // It is away for the first gateway, and on and off for the others.
            receiver.come_back();
        }
        lives
    };
    let (lives, ()) = tokio::join!(gateways, callers);
    for (gateway, life) in lives.iter().enumerate() {
        judge(&load, gateway, life);
        life.written.assert_mixed();
    }
    let written = Account::of_ledger(folder.path());
    let exported = receiver.account(&config, &written).await;
    let lost = written.beyond(&exported);
    assert!(lost.is_empty(), "the receiver does not have {lost:#?}");
    let doubled = exported.beyond(&written);
    assert!(doubled.is_empty(), "the receiver has too much: {doubled:#?}");
    println!("{ends:?}: {} requests in {:.1?}", total(), began.elapsed());
}

/// From the start of a gateway to its end; when it was ended.
async fn live(load: &Load, config: &str, (gateway, share, end): (usize, Option<usize>, End)) -> Instant {
    let mut process = Process::start(config).await;
    load.open(process.addr());
    let is_time = || match share {
        None => load.is_over(),
        // Else nothing would have to be in the ledger when it is killed.
        Some(share) if end == End::Kill => {
            load.book(gateway, |book| book.count() > share && book.age_of(share / 2) > Some(LOSS))
        }
        Some(share) => load.book(gateway, |book| book.count() > share),
    };
    load.ended.subscribe().wait_for(|()| is_time()).await.expect("the load is there");
    let at = Instant::now();
    process.signal(match end {
        End::Clean => "TERM",
        End::Kill => "KILL",
    });
    let status = process.ended().await;
    assert_eq!(status.code(), (end == End::Clean).then_some(0), "{}", process.stderr());
    at
}

/// Compares what a gateway has written with what its callers saw.
fn judge(load: &Load, gateway: usize, Life { end, at, written }: &Life) {
    load.book(gateway, |book| {
        let seen = book.account();
        let [all, counted] = [&seen, written].map(|account| account.all("requests"));
        println!(
            "gateway {gateway}, {end:?}: {counted} in the ledger, {all} answered, {} broken off",
            book.broken.len()
        );
        match end {
            End::Clean => {
                let lost = seen.beyond(written);
                assert!(lost.is_empty(), "gateway {gateway} lost {lost:#?}");
                let invented = written.beyond(&seen);
                assert!(invented.is_empty(), "gateway {gateway} invented {invented:#?}");
                let begun = book.broken.iter().find(|broken| load.origin.times(broken.number) > 0);
                assert!(begun.is_none(), "a request was begun and not answered: {begun:?}");
            }
            End::Kill => {
                let lost = book.account_until(*at - LOSS).beyond(written);
                assert!(lost.is_empty(), "gateway {gateway} lost more than a second: {lost:#?}");
                let invented = written.beyond(&book.at_most());
                assert!(invented.is_empty(), "gateway {gateway} invented {invented:#?}");
            }
        }
    });
}

fn config(origin: &str, nobody: &str, receiver: &str, folder: &Path) -> String {
    format!(
        r#"listeners: [{{ address: 127.0.0.1:0 }}]
admin: {{ address: 127.0.0.1:0 }}
state: {{ dir: '{}' }}
log: {{ access: off }}
auth:
  employees: {{ type: jwt, issuer: '{ISSUER}', audience: analytics, secret: {SECRET}, tenant: '{{claims.org_id}}' }}
limits:
  few: {{ by: tenant, rate: 5/s, burst: 5 }}
upstreams:
  origin: {{ url: '{origin}', token: p.test, retry: {{ base: 1ms, max: 1ms }} }}
  receiver: {{ url: '{receiver}', token: p.append }}
  nobody: {{ url: '{nobody}', token: p.test, retry: {{ attempts: 1 }} }}
usage: {{ export: {{ upstream: receiver }} }}
default_auth: employees
routes:
  /broken: {{ proxy: /broken, upstream: origin, methods: [POST] }}
  /cut: {{ pipe: cut, upstream: origin }}
  /dropped: {{ pipe: dropped, upstream: origin }}
  /failing: {{ pipe: failing, upstream: origin }}
  /gone: {{ pipe: gone, upstream: nobody }}
  /half: {{ pipe: half, upstream: origin }}
  /left: {{ pipe: left, upstream: origin }}
  /limited: {{ pipe: limited, upstream: origin, limits: [few] }}
  /open: {{ pipe: open, upstream: origin, auth: public }}
  /parameters: {{ pipe: top, upstream: origin }}
  /shaky: {{ pipe: shaky, upstream: origin }}
  /top: {{ pipe: top, upstream: origin, params: {{ fixed: {{ company: '{{tenant}}' }} }} }}
  /upload: {{ proxy: /upload, upstream: origin, methods: [POST] }}
"#,
        folder.display()
    )
}
