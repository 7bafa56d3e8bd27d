//! A quota and a process that is killed: nothing is counted twice, and at most a second is forgotten.
//!
//! The process that is killed is this program again, as its test [`the_one_that_is_killed`].
#![expect(clippy::expect_used, reason = "a test fails loudly; Clippy exempts only functions that are tests themselves")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use smallvec::smallvec;
use tollgate::clock::Clock;
use tollgate::config::scalar::Window;
use tollgate::config::section::limits::Cost;
use tollgate::state::counters::bucket::Value;
use tollgate::state::counters::{Allowance, Ask, Counters, Mode, Rule};

/// Tells the program that it is the one to be killed, and where it keeps its quotas.
const FOLDER: &str = "TOLLGATE_TEST_QUOTAS";
const AMOUNT: u64 = 1 << 40;

/// Of a month, so that no stretch ends while the test runs, but for one second in a month.
fn ask() -> Ask<'static> {
    let allowance = Allowance { amount: AMOUNT, window: Window::Month, anchor: None, cost: Cost::One, assumed: 0 };
    let values = smallvec![Value::word("acme")];
    Ask { name: "monthly", values, rule: Rule::Quota(allowance), mode: Mode::Enforced, reserve: 1 }
}

fn open(folder: &Path) -> Counters {
    let counters = Counters::new(Clock::system());
    counters.keep_in(folder).expect("a folder that can be used");
    counters
}

async fn used(counters: &Counters) -> u64 {
    AMOUNT - counters.look(&ask()).await.remaining
}

#[tokio::test]
async fn a_process_that_is_killed_loses_at_most_a_second_and_counts_nothing_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut before = 0;
    for life in 1..=3 {
        let mut child = start(folder.path());
        // Long enough for a batch or two, and another moment of the half second each time.
        let (spent, a_second_ago) = kill_after(&mut child, Duration::from_millis(1_250 + 150 * life));
        let counters = open(folder.path());
        let after = used(&counters).await;
        assert!(after <= before + spent, "life {life}: {after} are counted, and {before} + {spent} were spent");
        assert!(after >= before + a_second_ago, "life {life}: {after} are counted of {before} + {a_second_ago}");
        assert!(after > before);
        before = after;
    }
}

#[tokio::test]
async fn a_reset_outlives_a_process_that_is_killed() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut child = start(folder.path());
    kill_after(&mut child, Duration::from_millis(700));
    let counters = open(folder.path());
    assert!(used(&counters).await > 0);
    counters.reset(&ask()).await;
    // Nothing of it is ended in an orderly way, as far as the file can tell.
    assert_eq!(used(&open(folder.path())).await, 0);
}

/// Kills the child when it has spent for so long; how much it spent at most, and at least a second before its end.
fn kill_after(child: &mut Child, life: Duration) -> (u64, u64) {
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    // The harness of tests says a few things first.
    let mut next = || lines.by_ref().find_map(|line| line.strip_prefix("spent ").and_then(|count| count.parse().ok()));
    let clock = Clock::system();
    let mut seen: Vec<(Instant, u64)> = Vec::new();
    let first: u64 = next().expect("the child spends");
    let began = clock.now();
    seen.push((began, first));
    while clock.now() - began < life {
        let count = next().expect("the child spends until it is killed");
        seen.push((clock.now(), count));
    }
    child.kill().expect("a signal");
    let killed = clock.now();
    child.wait().expect("an end");
    let mut last = seen.last().map_or(0, |(_, count)| *count);
    while let Some(count) = next() {
        last = count;
    }
    let a_second_ago = seen.iter().rev().find(|(then, _)| killed - *then >= Duration::from_secs(1));
    // One more may be spent and not said.
    (last + 1, a_second_ago.map_or(0, |(_, count)| *count))
}

fn start(folder: &Path) -> Child {
    Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "the_one_that_is_killed", "--nocapture"])
        .env(FOLDER, folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("this program starts")
}

/// Spends until it is killed, and says how much; does nothing where nobody wants to kill it.
#[tokio::test]
async fn the_one_that_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let counters = open(Path::new(&folder));
    let mut out = std::io::stdout();
    for count in 1_u64.. {
        assert!(counters.spend(&[ask()]).await.spent.is_ok());
        // Who started this is gone, too.
        if writeln!(out, "\nspent {count}").is_err() {
            return;
        }
    }
}
