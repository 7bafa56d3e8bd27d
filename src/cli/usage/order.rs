//! Lines in the order in which their requests came.
//!
//! In: lines as they were written: when a request ends. Out: the same, the
//! earliest first, as far as that can be had without keeping the whole log: a
//! line waits until the log has gone on for [`WINDOW`] behind it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, SystemTime};

use super::line::Line;

/// Requests that take longer than this may be counted late.
pub(super) const WINDOW: Duration = Duration::from_secs(120);
/// Lines that wait at most; some 100 MB.
const MOST: usize = 300_000;

/// Lines that wait for earlier ones.
#[derive(Debug, Default)]
pub(super) struct Order {
    waiting: BinaryHeap<Reverse<Waiting>>,
    newest: Option<SystemTime>,
    count: u64,
}

#[derive(Debug)]
struct Waiting {
    /// Its time, and its place among those of the same time.
    key: (SystemTime, u64),
    line: Line,
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key.cmp(&other.key)
    }
}

impl Order {
    /// Another line of the log.
    pub(super) fn push(&mut self, line: Line) {
        self.count += 1;
        self.newest = self.newest.max(Some(line.end));
        self.waiting.push(Reverse(Waiting { key: (line.at, self.count), line }));
    }

    /// A line before which no other can be expected.
    pub(super) fn pop(&mut self) -> Option<Line> {
        let Reverse(first) = self.waiting.peek()?;
        let is_old = first.key.0.checked_add(WINDOW).is_some_and(|until| Some(until) <= self.newest);
        match is_old || self.waiting.len() > MOST {
            true => self.pop_last(),
            false => None,
        }
    }

    /// The next line, when the log has ended.
    pub(super) fn pop_last(&mut self) -> Option<Line> {
        self.waiting.pop().map(|Reverse(waiting)| waiting.line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(second: u64, took: u64) -> Line {
        let time = format!("2026-11-22T17:{:02}:{:02}Z", second / 60, second % 60);
        let text = format!(r#"{{"time":"{time}","client":"::1","status":200,"ms":{}}}"#, took * 1000);
        Line::read(text.as_bytes()).unwrap()
    }

    fn second(line: &Line) -> u64 {
        line.at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() % 3600
    }

    #[test]
    fn a_slow_request_is_counted_when_it_came() {
        let mut order = Order::default();
        let mut seen = Vec::new();
        // Written when they end: the first takes a minute and a half.
        for (at, took) in [(11, 1), (60, 1), (10, 90), (99, 2), (240, 1)] {
            order.push(line(at, took));
            seen.extend(std::iter::from_fn(|| order.pop()).map(|line| second(&line)));
        }
        assert_eq!(seen, [10, 11, 60, 99], "nothing before the log has gone on for two minutes");
        seen.extend(std::iter::from_fn(|| order.pop_last()).map(|line| second(&line)));
        assert_eq!(seen, [10, 11, 60, 99, 240]);
    }

    #[test]
    fn requests_of_one_moment_keep_their_order() {
        let mut order = Order::default();
        for took in [3, 1, 2] {
            order.push(line(5, took));
        }
        let ends: Vec<u64> = std::iter::from_fn(|| order.pop_last())
            .map(|line| line.end.duration_since(line.at).unwrap().as_secs())
            .collect();
        assert_eq!(ends, [3, 1, 2]);
    }
}
