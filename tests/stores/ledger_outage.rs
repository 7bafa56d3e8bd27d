//! Postgres goes away and comes back: nothing is lost, nothing counts twice, and nobody waits for it.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use tollgate::clock::Clock;
use tollgate::state::usage::{Place, Usage};

use crate::support::ledger::{end, gateway, key, place, requests, used};
use crate::support::ports::free_port;
use crate::support::postgres::Postgres;
use crate::support::said;
use crate::support::slow::Way;
use crate::support::store::eventually;

/// What the end of a gateway waits for at most; `app` waits a little longer.
const END: Duration = Duration::from_secs(5);

fn count(usage: &Usage, requests: u64) {
    usage.count(key(7, "acme", "a", "/a").borrowed(), used(requests));
}

fn files(folder: &Path) -> usize {
    fs::read_dir(folder.join("usage-waiting")).map_or(0, Iterator::count)
}

async fn ends_in_time(usage: Usage) {
    let began = Instant::now();
    end(usage).await;
    assert!(began.elapsed() < END, "{:?}", began.elapsed());
}

fn said_of(place: &Place) -> Vec<String> {
    said::of(&place.to_string())
}

#[tokio::test]
async fn a_postgres_that_was_away_gets_everything_and_that_is_told_once() {
    said::listen();
    let mut server = Postgres::start();
    let folder = tempfile::tempdir().expect("a folder for the test");
    let place = place(&server.url(), folder.path());
    let usage = gateway(&place, Clock::system());
    count(&usage, 1);
    usage.flush().await;
    server.stop();
    for _ in 0..3 {
        count(&usage, 10);
        eventually("the trouble", || usage.standing().is_written == Some(false)).await;
    }
    let behind = usage.standing().behind;
    eventually("what waits to grow older", || usage.standing().behind > behind).await;
    assert!(files(folder.path()) > 0, "a gateway that is killed now loses nothing of that");
    server.run();
    count(&usage, 100);
    eventually("Postgres to be written to", || usage.standing().is_written == Some(true)).await;
    end(usage).await;
    assert_eq!(requests(&place).await, 131);
    assert_eq!(files(folder.path()), 0);
    let lines = said_of(&place);
    let [down, up] = lines.as_slice() else { panic!("{lines:#?}") };
    assert!(down.contains("it cannot be reached: no connection: ") && down.contains("usage-waiting and written later"));
    assert!(up.ends_with("again; nothing was lost"), "{up}");
}

#[tokio::test]
async fn what_a_gateway_could_not_write_is_written_by_the_next() {
    let mut server = Postgres::start();
    let folder = tempfile::tempdir().expect("a folder for the test");
    let way = Way::to(server.port).await;
    let place = place(&server.url_at(way.port), folder.path());
    let usage = gateway(&place, Clock::system());
    count(&usage, 1);
    usage.flush().await;
    // One batch of which nobody knows whether it was added, and others behind it.
    way.lose_commits(2);
    count(&usage, 10);
    eventually("both losses", || way.left_to_lose() == 0).await;
    server.stop();
    count(&usage, 100);
    ends_in_time(usage).await;
    assert!(files(folder.path()) >= 1);

    // Nor does the next one find it.
    let usage = gateway(&place, Clock::system());
    count(&usage, 1_000);
    ends_in_time(usage).await;
    server.run();
    let usage = gateway(&place, Clock::system());
    count(&usage, 10_000);
    eventually("what waited", || files(folder.path()) == 0).await;
    end(usage).await;
    assert_eq!(requests(&place).await, 11_111);
}

#[tokio::test]
async fn a_postgres_that_hangs_holds_neither_requests_nor_the_end() {
    let server = Postgres::start();
    let folder = tempfile::tempdir().expect("a folder for the test");
    let way = Way::to(server.port).await;
    let place = place(&server.url_at(way.port), folder.path());
    let usage = gateway(&place, Clock::system());
    count(&usage, 1);
    usage.flush().await;
    way.hold_up(Duration::from_secs(3_600));
    count(&usage, 10);
    eventually("the thread to be at it", || usage.standing().behind > Duration::from_millis(700)).await;
    let began = Instant::now();
    for _ in 0..1_000 {
        count(&usage, 1);
        usage.standing();
    }
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    ends_in_time(usage).await;
    assert!(files(folder.path()) > 0);
    // Straight to it.
    let again = self::place(&server.url(), folder.path());
    let usage = gateway(&again, Clock::system());
    eventually("what waited", || files(folder.path()) == 0).await;
    end(usage).await;
    assert_eq!(requests(&again).await, 1_011);
}

#[tokio::test]
async fn a_gateway_starts_and_ends_where_there_is_no_postgres() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let place = place(&format!("postgres://u:p@127.0.0.1:{}/d", free_port()), folder.path());
    let usage = gateway(&place, Clock::system());
    count(&usage, 1);
    usage.flush().await;
    assert_eq!((usage.standing().is_written, files(folder.path())), (Some(false), 1));
    ends_in_time(usage).await;
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_either_is_told_and_so_is_what_is_lost() {
    said::listen();
    let folder = tempfile::tempdir().expect("a folder for the test");
    fs::write(folder.path().join("usage-waiting"), "a file where a folder should be").expect("a file");
    let place = place(&format!("postgres://u:p@127.0.0.1:{}/d", free_port()), folder.path());
    let usage = gateway(&place, Clock::system());
    count(&usage, 3);
    ends_in_time(usage).await;
    let lines = said_of(&place);
    assert!(
        lines.iter().any(|line| line.contains("kept in memory only, because") && line.contains("exists")),
        "{lines:#?}"
    );
    let lost = "the usage of 3 requests is lost when the gateway ends: it cannot be written to";
    assert!(lines.iter().any(|line| line.contains(lost)), "{lines:#?}");
}
