//! Quotas over restarts, and over everything that can happen to their file.

use std::os::unix::fs::PermissionsExt;

use rusqlite::Connection;
use smallvec::smallvec;
use tempfile::TempDir;

use crate::clock::TestClock;
use crate::config::scalar::Window;
use crate::config::section::limits::Cost;
use crate::state::counters::bucket::Value;
use crate::state::counters::{Allowance, Ask, Costs, Counters, Keeping, Mode, Receipt, Rule};
use crate::state::counters::{Back, Bill};

use super::*;

const AMOUNT: u64 = 1_000_000;

fn ask(who: &str) -> Ask<'_> {
    let allowance = Allowance { amount: AMOUNT, window: Window::Day, anchor: None, cost: Cost::RowsRead, assumed: 0 };
    let values = smallvec![Value::word(who), Value::Missing];
    Ask { name: "scan", values, rule: Rule::Quota(allowance), mode: Mode::Enforced, reserve: 100 }
}

fn open(folder: &TempDir, time: &TestClock) -> Counters {
    let counters = Counters::new(time.clock());
    counters.keep_in(folder.path()).unwrap();
    counters
}

async fn spend(counters: &Counters, who: &str) -> Receipt {
    counters.spend(&[ask(who)]).await.spent.unwrap()
}

async fn used(counters: &Counters, who: &str) -> u64 {
    AMOUNT - counters.look(&ask(who)).await.remaining
}

/// What a gateway would find that starts now.
async fn found(folder: &TempDir, time: &TestClock, who: &str) -> u64 {
    used(&open(folder, time), who).await
}

fn file(folder: &TempDir) -> PathBuf {
    folder.path().join("counters.sqlite")
}

fn start() -> (TempDir, TestClock) {
    (tempfile::tempdir().unwrap(), TestClock::new())
}

#[tokio::test]
async fn quotas_go_on_after_a_restart() {
    let (folder, time) = start();
    let counters = open(&folder, &time);
    assert_eq!(counters.keeping(), Keeping::Works);
    let receipt = spend(&counters, "acme").await;
    spend(&counters, "acme").await;
    spend(&counters, "beta/10.0.0.1 ~").await;
    counters.flush().await;
    assert_eq!(found(&folder, &time, "acme").await, 200);
    counters.settle(receipt, &Bill::Exactly(Costs { rows_read: Some(30), ..Costs::default() }));
    // What has changed since is written at the end.
    drop(counters);
    let counters = open(&folder, &time);
    assert_eq!(used(&counters, "acme").await, 130);
    assert_eq!(used(&counters, "beta/10.0.0.1 ~").await, 100);
    assert_eq!(used(&counters, "gamma").await, 0);
    counters.refund(spend(&counters, "acme").await, Back::Everything);
    spend(&counters, "acme").await;
    drop(counters);
    assert_eq!(found(&folder, &time, "acme").await, 230, "what was written is not written again");
}

#[tokio::test]
async fn of_two_writers_each_learns_what_the_other_counts_and_nothing_is_counted_twice() {
    let (folder, time) = start();
    let old = open(&folder, &time);
    let receipt = spend(&old, "acme").await;
    old.flush().await;
    let new = open(&folder, &time);
    // Not known when the other one began: a caller whom both see, and one each.
    spend(&old, "acme").await;
    spend(&old, "both").await;
    spend(&new, "both").await;
    spend(&new, "beta/10.0.0.1 ~").await;
    for counters in [&old, &new] {
        counters.written_by(Writers::Two);
    }
    for counters in [&old, &new, &old] {
        counters.flush().await;
    }
    for counters in [&old, &new] {
        assert_eq!(used(counters, "acme").await, 200);
        assert_eq!(used(counters, "both").await, 200);
        assert_eq!(used(counters, "beta/10.0.0.1 ~").await, 100);
    }
    // What one took, and sets right while the other one counts.
    old.settle(receipt, &Bill::Exactly(Costs { rows_read: Some(30), ..Costs::default() }));
    spend(&new, "acme").await;
    drop(old);
    new.flush().await;
    assert_eq!(used(&new, "acme").await, 230);
    new.written_by(Writers::One);
    new.flush().await;
    drop(new);
    assert_eq!(found(&folder, &time, "acme").await, 230, "and the same is written");
    assert_eq!(found(&folder, &time, "both").await, 200);
}

#[tokio::test]
async fn without_a_quota_there_is_no_file() {
    let (folder, time) = start();
    let counters = Counters::new(time.clock());
    spend(&counters, "acme").await;
    counters.flush().await;
    assert_eq!(counters.keeping(), Keeping::Off);
    drop(counters);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn only_the_gateway_may_read_it() {
    let (folder, time) = start();
    let counters = open(&folder, &time);
    spend(&counters, "acme").await;
    counters.flush().await;
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.file_name());
        names.push(entry.file_name());
    }
    assert!(names.contains(&"counters.sqlite".into()), "{names:?}");
}

#[tokio::test]
async fn stretches_that_are_over_are_forgotten() {
    let (folder, time) = start();
    let counters = open(&folder, &time);
    spend(&counters, "acme").await;
    counters.flush().await;
    let rows = || -> i64 {
        let reader = Connection::open(file(&folder)).unwrap();
        reader.query_row("SELECT count(*) FROM counts", [], |row| row.get(0)).unwrap()
    };
    assert_eq!(rows(), 1);
    let day = Duration::from_secs(KEPT);
    time.advance(day);
    counters.flush().await;
    assert_eq!(used(&counters, "acme").await, 0);
    assert_eq!(rows(), 1, "for a day, whatever the clock says");
    time.advance(day);
    counters.flush().await;
    assert_eq!(rows(), 0, "while it runs");
    spend(&counters, "acme").await;
    drop(counters);
    time.advance(3 * day);
    let counters = open(&folder, &time);
    assert_eq!(used(&counters, "acme").await, 0);
    time.advance(FORGET_EVERY - Duration::from_secs(1));
    counters.flush().await;
    assert_eq!(rows(), 1, "not at once: the clock of a machine that starts may be wrong");
    time.advance(Duration::from_secs(1));
    counters.flush().await;
    assert_eq!(rows(), 0);
}

#[tokio::test]
async fn a_wall_clock_that_leaps_ahead_removes_nothing() {
    let (folder, time) = start();
    let counters = open(&folder, &time);
    spend(&counters, "acme").await;
    counters.flush().await;
    time.set_wall_ahead(400 * 86_400);
    for _ in 0..5 {
        time.advance(FORGET_EVERY);
        spend(&counters, "beta").await;
        counters.flush().await;
    }
    time.set_wall_ahead(0);
    counters.flush().await;
    assert_eq!(found(&folder, &time, "acme").await, 100);
    drop(counters);
    // So is one that is wrong when the machine starts.
    time.set_wall_ahead(400 * 86_400);
    let counters = open(&folder, &time);
    assert_eq!(used(&counters, "acme").await, 0);
    counters.flush().await;
    time.set_wall_ahead(0);
    time.advance(FORGET_EVERY);
    counters.flush().await;
    assert_eq!(found(&folder, &time, "acme").await, 100);
}

#[tokio::test]
async fn a_clock_that_is_set_back_hinders_no_tidying() {
    let (folder, time) = start();
    let counters = open(&folder, &time);
    spend(&counters, "acme").await;
    counters.flush().await;
    time.set_wall_ahead(30 * 86_400);
    time.advance(FORGET_EVERY);
    counters.flush().await;
    time.set_wall_ahead(0);
    time.advance(Duration::from_secs(2 * 86_400));
    counters.flush().await;
    let reader = Connection::open(file(&folder)).unwrap();
    let rows: i64 = reader.query_row("SELECT count(*) FROM counts", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 0);
}

#[tokio::test]
async fn x4_addresses_that_are_written_take_no_room_from_tenants() {
    let (folder, time) = start();
    let counters = open(&folder, &time);
    for number in 0..2000_u32 {
        let values = smallvec![Value::network(std::net::Ipv4Addr::from(number).into())];
        let asks = [Ask { values, reserve: AMOUNT, ..ask("") }];
        counters.spend(&asks).await.spent.unwrap();
    }
    spend(&counters, "acme").await;
    drop(counters);
    let small = Counters::bounded(time.clock(), 1);
    small.keep_in(folder.path()).unwrap();
    assert_eq!(used(&small, "acme").await, 100, "though addresses used more");
    assert_eq!(small.fill()[1].own, 128 + 1);
}

#[tokio::test]
async fn a_reset_is_for_good() {
    let (folder, time) = start();
    let counters = open(&folder, &time);
    spend(&counters, "acme").await;
    spend(&counters, "beta").await;
    counters.flush().await;
    counters.reset(&ask("acme")).await;
    // The first gateway has not ended: it might just as well have been killed.
    assert_eq!(found(&folder, &time, "acme").await, 0);
    assert_eq!(found(&folder, &time, "beta").await, 100);
    spend(&counters, "acme").await;
    drop(counters);
    assert_eq!(found(&folder, &time, "acme").await, 100);
}

#[tokio::test]
async fn two_gateways_on_one_file_add_up() {
    let (folder, time) = start();
    let (one, other) = (open(&folder, &time), open(&folder, &time));
    for counters in [&one, &other, &other] {
        spend(counters, "acme").await;
    }
    one.flush().await;
    other.flush().await;
    assert_eq!(found(&folder, &time, "acme").await, 300);
    one.reset(&ask("acme")).await;
    assert_eq!(found(&folder, &time, "acme").await, 0, "a reset is of what all have counted");
    spend(&other, "acme").await;
    other.flush().await;
    let busy = Connection::open(file(&folder)).unwrap();
    busy.execute_batch("BEGIN IMMEDIATE").unwrap();
    one.reset(&ask("acme")).await;
    busy.execute_batch("COMMIT").unwrap();
    one.flush().await;
    assert_eq!(found(&folder, &time, "acme").await, 0, "also where it could not be written at once");
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_says_what_to_do() {
    let (folder, time) = start();
    let place = folder.path().join("data");
    std::fs::write(&place, "").unwrap();
    let counters = Counters::new(time.clock());
    let why = counters.keep_in(&place).unwrap_err();
    assert!(why.contains("data/counters.sqlite") && why.contains("`state.dir`"), "{why}");
    assert_eq!(counters.keeping(), Keeping::Off);
    std::fs::remove_file(&place).unwrap();
    counters.keep_in(&place).unwrap();
    assert_eq!(std::fs::metadata(&place).unwrap().permissions().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn a_file_of_a_newer_gateway_is_left_alone() {
    let (folder, time) = start();
    drop(open(&folder, &time));
    Connection::open(file(&folder)).unwrap().pragma_update(None, "user_version", 2).unwrap();
    let why = Counters::new(time.clock()).keep_in(folder.path()).unwrap_err();
    assert!(why.contains("newer gateway"), "{why}");
}

#[tokio::test]
async fn a_damaged_file_is_moved_aside() {
    let (folder, time) = start();
    std::fs::write(file(&folder), "this was a file of counts once, but something happened to it").unwrap();
    let counters = open(&folder, &time);
    spend(&counters, "acme").await;
    drop(counters);
    assert_eq!(found(&folder, &time, "acme").await, 100);
    let aside = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let aside: Vec<_> =
        aside.filter(|path| path.display().to_string().contains("counters.sqlite.corrupt-2026")).collect();
    assert_eq!(aside.len(), 1, "{aside:?}");
    assert!(std::fs::read_to_string(&aside[0]).unwrap().starts_with("this was a file"));
}

#[tokio::test]
async fn half_a_file_is_damaged_too() {
    let (folder, time) = start();
    let counters = open(&folder, &time);
    for number in 0..1000 {
        spend(&counters, &format!("tenant-{number}")).await;
    }
    drop(counters);
    let path = file(&folder);
    let mut bytes = std::fs::read(&path).unwrap();
    let half = bytes.len() / 2;
    bytes[half..].fill(0xaa);
    std::fs::write(&path, bytes).unwrap();
    let counters = open(&folder, &time);
    assert_eq!(counters.keeping(), Keeping::Works);
    assert_eq!(used(&counters, "tenant-1").await, 0);
}

#[tokio::test]
async fn while_the_file_cannot_be_written_nothing_is_lost_and_nothing_stops() {
    let (folder, time) = start();
    let counters = open(&folder, &time);
    spend(&counters, "acme").await;
    counters.flush().await;
    let other = Connection::open(file(&folder)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let receipt = spend(&counters, "acme").await;
    spend(&counters, "beta").await;
    counters.flush().await;
    assert_eq!(counters.keeping(), Keeping::Failing);
    counters.refund(receipt, Back::Everything);
    spend(&counters, "beta").await;
    counters.flush().await;
    other.execute_batch("COMMIT").unwrap();
    counters.flush().await;
    assert_eq!(counters.keeping(), Keeping::Works);
    assert_eq!(found(&folder, &time, "acme").await, 100);
    assert_eq!(found(&folder, &time, "beta").await, 200);
}

#[tokio::test]
async fn a_folder_that_goes_away_and_comes_back() {
    let (folder, time) = start();
    let counters = open(&folder, &time);
    spend(&counters, "acme").await;
    counters.flush().await;
    // The folder is gone, and something else stands in its place.
    let (data, away) = (folder.path().to_path_buf(), folder.path().with_extension("away"));
    std::fs::rename(&data, &away).unwrap();
    std::fs::write(&data, "").unwrap();
    spend(&counters, "acme").await;
    counters.flush().await;
    assert_eq!(counters.keeping(), Keeping::Failing);
    spend(&counters, "acme").await;
    counters.flush().await;
    std::fs::remove_file(&data).unwrap();
    std::fs::rename(&away, &data).unwrap();
    counters.flush().await;
    assert_eq!(counters.keeping(), Keeping::Works);
    assert_eq!(found(&folder, &time, "acme").await, 300);
}

#[tokio::test]
async fn a_file_that_was_taken_away_is_written_anew() {
    let (folder, time) = start();
    let counters = open(&folder, &time);
    spend(&counters, "quiet").await;
    spend(&counters, "busy").await;
    counters.flush().await;
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    spend(&counters, "busy").await;
    counters.flush().await;
    assert_eq!(found(&folder, &time, "busy").await, 200);
    assert_eq!(found(&folder, &time, "quiet").await, 100, "also what has not changed since");
}

#[tokio::test]
async fn what_threads_count_while_it_is_written_is_written_once() {
    let (folder, time) = start();
    let counters = open(&folder, &time);
    let memory = &counters.memory;
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let spenders: Vec<_> = (0..3)
            .map(|thread| {
                scope.spawn(move || {
                    for number in 0..20_000_u64 {
                        let who = ["acme", "beta", "gamma"][(thread + number as usize) % 3];
                        let one = Ask { reserve: 3, ..ask(who) };
                        let receipt = memory.spend(&[one]).spent.unwrap();
                        match number % 3 {
                            0 => memory.refund(&receipt, Back::Everything),
                            1 => memory.settle(
                                &receipt,
                                &Bill::Exactly(Costs { rows_read: Some(number % 5), ..Costs::default() }),
                            ),
                            _ => {}
                        }
                    }
                })
            })
            .collect();
        let (counters, is_done) = (&counters, &is_done);
        scope.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            while !is_done.load(Ordering::Relaxed) {
                runtime.block_on(counters.flush());
            }
        });
        spenders.into_iter().for_each(|spender| spender.join().unwrap());
        is_done.store(true, Ordering::Relaxed);
    });
    counters.flush().await;
    for who in ["acme", "beta", "gamma"] {
        assert!(used(&counters, who).await > 10_000);
        assert_eq!(found(&folder, &time, who).await, used(&counters, who).await, "{who}");
    }
}

#[tokio::test]
async fn what_newcomers_share_is_not_written_under_their_names() {
    let (folder, time) = start();
    let counters = Counters::bounded(time.clock(), 1);
    counters.keep_in(folder.path()).unwrap();
    for number in 0..2000 {
        spend(&counters, &format!("sprayed-{number}")).await;
    }
    counters.flush().await;
    let rows: i64 = Connection::open(file(&folder))
        .unwrap()
        .query_row("SELECT count(*) FROM counts WHERE used = 100", [], |row| row.get(0))
        .unwrap();
    assert_eq!(rows, 128, "one in each shard that is not for addresses");
    drop(counters);
    // More are written than may be kept: those that fit go on.
    let fewer = Counters::bounded(time.clock(), 1);
    fewer.keep_in(folder.path()).unwrap();
    assert_eq!(fewer.fill()[1].own, 128);
}
