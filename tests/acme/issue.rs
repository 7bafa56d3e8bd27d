//! From a name to a certificate, and from that to the next one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tollgate::clock::Clock;
use tollgate::outbound::{Call, Client, Trust};
use tollgate::tls::acme::{Issuer, State};

use crate::support::life::{Life, eventually, set};
use crate::support::pebble::{Options, Pebble};
use crate::support::{front, said};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_get_certificates_of_their_own() {
    said::listen();
    let (pebble, folder) = (Pebble::start(), tempfile::tempdir().unwrap());
    let names = ["one.issue.example", "two.issue.example", "three.issue.example"];
    let life = Life::begin(folder.path(), pebble.http_port, vec![pebble.issuer()], &names);
    for name in names {
        let issued = life.active(name).await;
        assert!(issued.key.keys_match().is_ok());
        let report = life.report(name);
        assert_eq!((report.days_left, report.last_error), (Some(89), None), "{name}");
        assert_eq!(report.issuer, Some(pebble.issuer().slug()));
        let next = report.next_try.unwrap().duration_since(life.time.clock().wall()).unwrap();
        assert!(next > DAY * 56 && next < DAY * 61, "{next:?}");
        assert_eq!(said::of(name).len(), 1, "{:?}", said::of(name));
    }
    // One account for all, although they began together.
    assert_eq!(said::of("an ACME account was made").iter().filter(|line| line.contains(&pebble.url())).count(), 1);
    assert_eq!(life.store.len(), 3);
    assert!(life.store.find("one.issue.example").is_some() && life.store.find("other.issue.example").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_asked_for_comes_while_somebody_waits() {
    let (pebble, folder) = (Pebble::start(), tempfile::tempdir().unwrap());
    let life = Life::begin(folder.path(), pebble.http_port, vec![pebble.issuer()], &[]);
    assert!(life.engine.ask("Asked.example."));
    assert!(life.engine.settled("asked.example").await.is_some());
    assert!(life.engine.ask("a.nowhere.example"));
    assert!(life.engine.settled("a.nowhere.example").await.is_none());
    assert!(!life.engine.ask("../asked.example") && !life.engine.ask("127.0.0.1"));
    assert!(life.engine.settled("never.asked.example").await.is_none());
    // Names of the configuration come and go; this one stays until it is forgotten.
    life.engine.want(&set(&["listed.example"]));
    life.active("listed.example").await;
    life.engine.want(&set(&[]));
    assert!(life.store.get("listed.example").is_none() && life.store.get("asked.example").is_some());
    life.engine.forget("asked.example");
    assert!(life.store.is_empty());
    // Both are on disk still: nobody has to be asked for them.
    let orders = pebble.count("POST /sign-me-up") + pebble.count("order-plz");
    life.engine.ask("asked.example");
    life.engine.want(&set(&["listed.example"]));
    assert!(life.store.get("listed.example").is_some(), "at once");
    assert!(life.engine.settled("asked.example").await.is_some());
    assert_eq!(pebble.count("POST /sign-me-up") + pebble.count("order-plz"), orders);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_renewed_before_it_ends() {
    let pebble = Pebble::with(Options { validity: Some(9), ..Options::default() });
    let folder = tempfile::tempdir().unwrap();
    let name = "renewed.example";
    let life = Life::begin(folder.path(), pebble.http_port, vec![pebble.issuer()], &[name]);
    let first = life.active(name).await;
    let second = life.renewed(name, &first).await;
    assert!(life.time.clock().wall() < first.not_after, "the first one is valid still");
    assert!(second.not_after > first.not_after);
    assert_ne!(first.key.cert[0], second.key.cert[0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_can_have_its_certificates_renewed_early() {
    let (pebble, folder) = (Pebble::start(), tempfile::tempdir().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let (counted, first_id) = (Arc::clone(&asked), std::sync::OnceLock::new());
    let place = front::serve(0, move |_, target| {
        // Whatever has the first id is to be renewed by now, everything else much later.
        counted.fetch_add(1, Ordering::Relaxed);
        let (start, end) = if first_id.get_or_init(|| target.to_owned()) == target {
            ("2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z")
        } else {
            ("2080-01-01T00:00:00Z", "2080-01-02T00:00:00Z")
        };
        let window = json!({ "suggestedWindow": { "start": start, "end": end } });
        (
            200,
            vec![("Retry-After", "21600".to_owned()), ("Content-Type", "application/json".to_owned())],
            window.to_string(),
        )
    })
    .forever();
    let issuer = altered(&pebble, "renewalInfo", format!("http://{place}/ari"));
    let name = "early.example";
    let life = Life::begin(folder.path(), pebble.http_port, vec![issuer], &[name]);
    let first = life.active(name).await;
    assert_eq!(asked.load(Ordering::Relaxed), 0);
    life.time.advance(11 * MINUTE);
    // Pebble does not know of `replaces`; the order is made without it.
    let second = life.renewed(name, &first).await;
    assert_ne!(first.key.cert[0], second.key.cert[0]);
    life.time.advance(11 * MINUTE);
    eventually(|| asked.load(Ordering::Relaxed) >= 2, || "it is not asked about the second one".to_owned()).await;
    eventually(|| life.report(name).next_try.is_some(), String::new).await;
    let not_after = life.report(name).not_after.unwrap();
    eventually(|| life.report(name).next_try == Some(not_after), || format!("{:?}", life.report(name))).await;
    assert!(Arc::ptr_eq(&life.store.get(name).unwrap(), &second));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_nonces_are_no_reason_to_fail() {
    let pebble = Pebble::with(Options { variables: vec![("PEBBLE_WFE_NONCEREJECT", "50")], ..Options::default() });
    let folder = tempfile::tempdir().unwrap();
    let names = ["one.nonce.example", "two.nonce.example", "three.nonce.example"];
    let life = Life::begin(folder.path(), pebble.http_port, vec![pebble.issuer()], &names);
    for name in names {
        life.active(name).await;
        assert_eq!(life.report(name).last_error, None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_is_respected_for_as_long_as_the_authority_says() {
    let (pebble, folder) = (Pebble::start(), tempfile::tempdir().unwrap());
    let orders = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&orders);
    let place = front::serve(0, move |_, _| {
        counted.fetch_add(1, Ordering::Relaxed);
        let problem = json!({ "type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many certificates" });
        let headers = vec![("Retry-After", "7200".to_owned()), ("Content-Type", "application/problem+json".to_owned())];
        (429, headers, problem.to_string())
    })
    .forever();
    let issuer = altered(&pebble, "newOrder", format!("http://{place}/order"));
    let name = "limited.example";
    let life = Life::begin(folder.path(), pebble.http_port, vec![issuer.clone()], &[name]);
    let why = life.failed(name).await;
    assert!(why.contains("limit is reached: too many certificates"), "{why}");
    let wait = |life: &Life| life.report(name).next_try.unwrap().duration_since(life.time.clock().wall()).unwrap();
    assert!(wait(&life) > 115 * MINUTE, "{:?}", wait(&life));
    life.time.advance(110 * MINUTE);
    assert_eq!(life.report(name).state, State::Failed);
    assert_eq!(orders.load(Ordering::Relaxed), 1);
    life.time.advance(11 * MINUTE);
    eventually(|| orders.load(Ordering::Relaxed) == 2, || "it is not asked again".to_owned()).await;
    // Another authority need not wait.
    life.engine.issuers(vec![issuer, pebble.issuer()]);
    life.active(name).await;
    assert_eq!(life.report(name).issuer, Some(pebble.issuer().slug()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_are_said_once_with_what_to_look_at_and_tried_ever_more_rarely() {
    said::listen();
    let (pebble, folder) = (Pebble::start(), tempfile::tempdir().unwrap());
    let (missing, silent) = ("missing.nowhere.example", "silent.example");
    let life = Life::silent(folder.path(), vec![pebble.issuer()], &[missing, silent]);
    let why = life.failed(missing).await;
    assert!(why.contains("CNAME record") || why.contains("A and AAAA records"), "{why}");
    let why = life.failed(silent).await;
    assert!(why.contains("port 80"), "{why}");
    let mut waits = Vec::new();
    for _ in 0..4 {
        let next = life.report(silent).next_try.unwrap();
        let wait = next.duration_since(life.time.clock().wall()).unwrap();
        waits.push(wait.as_secs().div_ceil(60));
        life.time.advance(wait + Duration::from_secs(1));
        let later = |report: Option<SystemTime>| report.is_some_and(|at| at > next + MINUTE);
        let tried = || {
            let report = life.report(silent).next_try;
            // Who was just about to sleep when the clock was turned sleeps on.
            if report == Some(next) {
                life.time.advance(MINUTE);
            }
            later(report)
        };
        eventually(tried, || format!("{:?}", life.report(silent))).await;
    }
    assert!(waits[0] <= 2 && waits[1] >= 2 && waits[2] >= 4 && waits[3] >= 8, "{waits:?}");
    assert_eq!(said::of(silent).len(), 1, "{:?}", said::of(silent));
    // Somebody else answers there.
    let _other = front::serve(pebble.http_port, |_, _| (200, Vec::new(), "welcome".to_owned()));
    let told = || {
        let is_told = life.error(silent).contains("another answer than ours");
        if !is_told && life.report(silent).next_try.is_some() {
            life.time.advance(MINUTE);
        }
        is_told
    };
    eventually(told, || life.error(silent)).await;
    assert_eq!(said::of(silent).len(), 2, "another reason is another line: {:?}", said::of(silent));
    assert!(life.store.is_empty());
}

/// An authority that is `pebble`, but for one entry of its directory.
fn altered(pebble: &Pebble, key: &'static str, url: String) -> Issuer {
    let (directory, ca) = (pebble.url(), pebble.ca());
    let place = front::serve(0, move |_, _| {
        let call = Call { trust: Trust::Given(vec![ca.clone()]), ..Call::get(directory.parse().expect("a URL")) };
        let client = Client::direct(Clock::system());
        let answer = tollgate::outbound::wait(async { client.call(&call).await }).expect("a runtime");
        let mut entries: Value = serde_json::from_slice(&answer.expect("a directory").body).expect("JSON");
        entries[key] = Value::from(url.clone());
        (200, vec![("Content-Type", "application/json".to_owned())], entries.to_string())
    })
    .forever();
    let directory = format!("http://{place}/{}", key.to_lowercase()).parse().expect("a URL");
    Issuer { directory, ..pebble.issuer() }
}
