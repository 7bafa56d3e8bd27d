//! Gateways that share a ledger send its lines once.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::time::Duration;

use flate2::read::GzDecoder;
use serde_json::Value;
use tollgate::clock::{Clock, TestClock};
use tollgate::config::Config;
use tollgate::config::section::upstreams::Upstream;
use tollgate::config::section::usage::{Export, Usage as Section};
use tollgate::demo::{Demo, DemoOptions};
use tollgate::state::usage::{Place, Usage, lines as lines_of};

use crate::support::ledger::{clock, config, end, gateway, key, minute, place, requests, used};
use crate::support::postgres::Postgres;
use crate::support::store::eventually;

const TOKEN: &str = "p.may-append";
/// A step of the clock: a closed minute is some of them away.
const STEP: Duration = Duration::from_secs(5);

async fn receiver() -> Demo {
    let address = "127.0.0.1:0".parse().expect("an address");
    Demo::start(DemoOptions { address, token: TOKEN.to_owned(), clock: Clock::system() }).await.expect("it starts")
}

/// A gateway that writes there, and sends what is there to this data source.
fn exporting(place: &Place, url: &str, time: &TestClock) -> Usage {
    let upstream: Upstream = serde_yaml::from_str(&format!("{{ url: '{url}', token: {TOKEN} }}")).expect("an upstream");
    let export = Export { upstream: "t".to_owned(), events: Default::default(), token: None };
    let usage = Usage::new(time.clock());
    usage.follow(&Config {
        upstreams: BTreeMap::from([("t".to_owned(), upstream)]),
        usage: Section { export: Some(export), ..Section::default() },
        ..config(place)
    });
    usage
}

/// Every line that came, in its order.
fn lines(demo: &Demo) -> Vec<Value> {
    let mut lines = Vec::new();
    for visit in demo.visits() {
        let mut text = String::new();
        GzDecoder::new(visit.body.as_ref()).read_to_string(&mut text).expect("gzip, and not too long for the journal");
        lines.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")));
    }
    lines
}

fn sum(lines: &[Value]) -> u64 {
    lines.iter().filter_map(|line| line["requests"].as_u64()).sum()
}

#[tokio::test]
async fn one_of_several_gateways_sends_every_line_once() {
    let (server, demo, time) = (Postgres::start(), receiver().await, clock());
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder for the test"));
    let places = folders.each_ref().map(|folder| place(&server.url(), folder.path()));
    let url = format!("http://{}", demo.address());
    let [first, second] = places.each_ref().map(|place| exporting(place, &url, &time));
    let count = async |usage: &Usage, tenant: &str, requests: u64, before: u32| {
        usage.count(key(minute(&time) - before, tenant, "c", "/a").borrowed(), used(requests));
        usage.flush().await;
    };
    count(&first, "acme", 1, 0).await;
    count(&second, "acme", 2, 0).await;
    count(&second, "beta", 4, 0).await;
    let until = async |what: &str, wanted: u64| {
        eventually(what, || {
            time.advance(STEP);
            sum(&lines(&demo)) >= wanted
        })
        .await;
    };
    until("the first minute", 7).await;
    // Long over and sent: what comes late goes with the next one.
    count(&second, "acme", 8, 3).await;
    until("what came late", 15).await;
    // Whoever sent may go: the other one takes over.
    end(first).await;
    count(&second, "beta", 16, 0).await;
    until("what the other one sends", 31).await;
    let all = lines(&demo);
    assert_eq!(sum(&all), 31, "{all:#?}");
    assert_eq!(requests(&places[0]).await, 31);
    let mut ids: Vec<&str> = all.iter().filter_map(|line| line["id"].as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all.len(), "nothing is sent twice");
    assert_eq!(all[0]["requests"], 3, "both gateways add to one line: {all:#?}");
    assert!(all.iter().all(|line| line["gateway"] == all[0]["gateway"]));
    eventually("nothing to wait", || second.standing().exported.waiting == 0).await;
    end(second).await;
}

#[tokio::test]
async fn who_cannot_send_lets_another_do_it() {
    let (server, demo, time) = (Postgres::start(), receiver().await, clock());
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder for the test"));
    let places = folders.each_ref().map(|folder| place(&server.url(), folder.path()));
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("an address");
    let cannot = exporting(&places[0], &format!("http://{nobody}"), &time);
    cannot.count(key(minute(&time), "acme", "c", "/a").borrowed(), used(2));
    cannot.flush().await;
    eventually("a failure", || {
        time.advance(STEP);
        cannot.standing().exported.failures > 0
    })
    .await;
    let can = exporting(&places[1], &format!("http://{}", demo.address()), &time);
    eventually("the line", || {
        time.advance(STEP);
        sum(&lines(&demo)) == 2
    })
    .await;
    // A turn that a clock of the future took is none.
    server.sql("UPDATE tollgate_usage_notes SET text = '99999999999 somebody' WHERE name = 'sender'");
    can.count(key(minute(&time), "acme", "c", "/a").borrowed(), used(4));
    can.flush().await;
    eventually("another line", || {
        time.advance(STEP);
        sum(&lines(&demo)) == 6
    })
    .await;
    for usage in [can, cannot] {
        end(usage).await;
    }
}

#[tokio::test]
async fn notes_that_are_gone_take_no_usage_with_them() {
    let (server, time) = (Postgres::start(), clock());
    let folder = tempfile::tempdir().expect("a folder for the test");
    let place = place(&server.url(), folder.path());
    let usage = gateway(&place, time.clock());
    for requests in [1, 2] {
        usage.count(key(minute(&time), "acme", "c", "/a").borrowed(), used(requests));
        usage.flush().await;
        server.sql("DELETE FROM tollgate_usage_notes WHERE name <> 'version'");
    }
    assert_eq!(requests(&place).await, 3);
    end(usage).await;
}

#[tokio::test]
async fn every_line_is_printed_from_wherever_it_is_kept() {
    let (server, time) = (Postgres::start(), clock());
    let folder = tempfile::tempdir().expect("a folder for the test");
    let mut printed = Vec::new();
    for place in [place("sqlite", folder.path()), place(&server.url(), folder.path())] {
        let usage = gateway(&place, time.clock());
        // More than are read at once.
        for number in 0..10_500u64 {
            let key = key(minute(&time) - (number % 3) as u32, "acme", &format!("c{number}"), "/a");
            usage.count(key.borrowed(), used(number));
            if number % 4_000 == 0 {
                // More at once are not told apart.
                usage.flush().await;
            }
        }
        end(usage).await;
        let read = tokio::task::spawn_blocking(move || {
            let mut rows = Vec::new();
            let count = lines_of(&place, (0, u64::MAX), |_, row| rows.push(row.clone()));
            assert_eq!(count.expect("a ledger that can be read"), Some(10_500));
            rows
        });
        printed.push(read.await.expect("it ends"));
    }
    assert_eq!(printed[0].len(), 10_500);
    assert!(printed[0] == printed[1], "the same lines in the same order");
}

#[tokio::test]
async fn lines_wait_in_the_database_while_nobody_takes_them() {
    let (server, time) = (Postgres::start(), clock());
    let folder = tempfile::tempdir().expect("a folder for the test");
    let place = place(&server.url(), folder.path());
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("an address");
    let usage = exporting(&place, &format!("http://{nobody}"), &time);
    for requests in [1, 2] {
        usage.count(key(minute(&time), "acme", "c", "/a").borrowed(), used(requests));
        usage.flush().await;
        time.advance(STEP * 20);
    }
    eventually("two lines to wait", || {
        time.advance(STEP);
        let exported = usage.standing().exported;
        exported.waiting == 2 && exported.failures > 0
    })
    .await;
    time.advance(Duration::from_secs(50 * 3_600));
    usage.flush().await;
    assert_eq!(usage.standing().exported.dropped, 2, "two days are over");
    assert_eq!(requests(&place).await, 3, "the ledger has them");
    let demo = receiver().await;
    end(usage).await;
    let usage = exporting(&place, &format!("http://{}", demo.address()), &time);
    usage.count(key(minute(&time), "acme", "c", "/a").borrowed(), used(4));
    usage.flush().await;
    eventually("what is new", || {
        time.advance(STEP);
        sum(&lines(&demo)) > 0
    })
    .await;
    assert_eq!(sum(&lines(&demo)), 4);
    end(usage).await;
}
