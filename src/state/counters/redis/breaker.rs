//! Whether Redis is asked at all: while it does not answer, nobody waits for it.
//!
//! In: how decisions and heartbeats went. Out: whether it is asked, and when
//! that changed. Not here: asking, and telling the operator (`mod`).

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::trouble::Trouble;

/// Answers in a row that come too late until nobody waits for one any more.
const MISSES: u32 = 3;
/// Who fails again this soon must answer more heartbeats before it is asked again.
const RELAPSE: Duration = Duration::from_secs(5);
/// The most heartbeats that are asked for.
const MOST_BEATS: u32 = 16;

/// Open, and nobody asks; closed, and everybody does. It begins open.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    closed: AtomicBool,
    misses: AtomicU32,
}

/// Something changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Changed;

impl Breaker {
    /// Whether it is asked.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// A decision was answered in time.
    pub(super) fn answered(&self) {
        // Read first: a write by every request would keep the cores busy with each other.
        if self.misses.load(Ordering::Relaxed) != 0 {
            self.misses.store(0, Ordering::Relaxed);
        }
    }

    /// A decision, or a heartbeat, was not answered; whether that opened it.
    pub(super) fn missed(&self, trouble: &Trouble) -> Option<Changed> {
        let misses = self.misses.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if misses < MISSES && !trouble.ends_connection() {
            return None;
        }
        self.open()
    }

    /// Opens it.
    pub(super) fn open(&self) -> Option<Changed> {
        self.closed.swap(false, Ordering::AcqRel).then_some(Changed)
    }

    fn close(&self) -> Option<Changed> {
        self.misses.store(0, Ordering::Relaxed);
        (!self.closed.swap(true, Ordering::AcqRel)).then_some(Changed)
    }
}

/// What heartbeats said lately: kept by the one task that sends them.
#[derive(Debug)]
pub(super) struct Pulse {
    good: u32,
    wanted: u32,
    closed_at: Option<Instant>,
}

impl Default for Pulse {
    fn default() -> Self {
        Pulse { good: 0, wanted: 1, closed_at: None }
    }
}

impl Pulse {
    /// A heartbeat was answered as fast as a decision must be; whether that closed the breaker.
    pub(super) fn good(&mut self, breaker: &Breaker, now: Instant) -> Option<Changed> {
        if breaker.is_closed() {
            return None;
        }
        if let Some(closed_at) = self.closed_at.take() {
            // Opened since by decisions.
            self.relapsed(closed_at, now);
        }
        self.good += 1;
        if self.good < self.wanted {
            return None;
        }
        self.good = 0;
        self.closed_at = Some(now);
        breaker.close()
    }

    /// One was not.
    pub(super) fn bad(&mut self, now: Instant) {
        self.good = 0;
        if let Some(closed_at) = self.closed_at.take() {
            self.relapsed(closed_at, now);
        }
    }

    fn relapsed(&mut self, closed_at: Instant, now: Instant) {
        self.wanted = match now.saturating_duration_since(closed_at) < RELAPSE {
            true => (self.wanted * 2).min(MOST_BEATS),
            false => 1,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::TestClock;

    const SLOW: Trouble = Trouble::Slow(Duration::from_millis(10));

    fn closed() -> Breaker {
        let breaker = Breaker::default();
        assert_eq!(breaker.close(), Some(Changed));
        breaker
    }

    #[test]
    fn three_late_answers_in_a_row_open_it_once() {
        let breaker = closed();
        assert_eq!([breaker.missed(&SLOW), breaker.missed(&SLOW)], [None, None]);
        breaker.answered();
        assert_eq!([breaker.missed(&SLOW), breaker.missed(&SLOW)], [None, None]);
        assert!(breaker.is_closed());
        assert_eq!(breaker.missed(&SLOW), Some(Changed));
        assert_eq!(breaker.missed(&SLOW), None);
        assert!(!breaker.is_closed());
    }

    #[test]
    fn a_broken_connection_opens_it_at_once() {
        let breaker = closed();
        assert_eq!(breaker.missed(&Trouble::Unreachable("closed".to_owned())), Some(Changed));
    }

    #[test]
    fn who_fails_again_soon_must_answer_more_often() {
        let (breaker, clock) = (Breaker::default(), TestClock::new());
        let mut pulse = Pulse::default();
        let mut beats_until_closed = |breaker: &Breaker| {
            let mut beats = 1;
            while pulse.good(breaker, clock.clock().now()).is_none() {
                beats += 1;
            }
            beats
        };
        let mut beats = Vec::new();
        for _ in 0..7 {
            beats.push(beats_until_closed(&breaker));
            breaker.open();
        }
        assert_eq!(beats, [1, 2, 4, 8, 16, 16, 16]);
        clock.advance(RELAPSE);
        assert_eq!(beats_until_closed(&breaker), 1);
    }
}
