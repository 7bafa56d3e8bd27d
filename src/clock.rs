//! The only code that asks for the time.
//!
//! In: nothing. Out: monotonic and wall-clock time, and sleeping.
//! Not here: timers inside Pingora (socket time-outs), which know no clock but
//! their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use nix::time::{ClockId, clock_gettime};
use tokio::sync::watch;

/// Where time comes from: the system, or somebody who turns the clock by hand.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    Hand(Arc<HandTime>),
    System,
}

#[derive(Debug)]
struct HandTime {
    base: Instant,
    wall_base: SystemTime,
    /// How far the wall clock is set ahead of the time that has passed, in seconds; below zero, how far back.
    wall_ahead: AtomicI64,
    elapsed: watch::Sender<Duration>,
}

/// A clock that moves only when somebody turns it: a test, or who plays back what happened at another time.
#[derive(Clone, Debug)]
pub struct HandClock(Arc<HandTime>);

impl Clock {
    /// The machine's own clock.
    pub fn system() -> Self {
        Clock(Source::System)
    }

    /// Monotonic time: for time-outs, back-off and budgets.
    pub fn now(&self) -> Instant {
        match &self.0 {
            Source::System => system_now(),
            Source::Hand(time) => time.base + *time.elapsed.borrow(),
        }
    }

    /// Wall-clock time: for logs and for dates that others set.
    pub fn wall(&self) -> SystemTime {
        match &self.0 {
            Source::System => system_wall(),
            Source::Hand(time) => {
                let passed = time.wall_base + *time.elapsed.borrow();
                let ahead = time.wall_ahead.load(Ordering::Relaxed);
                let by = Duration::from_secs(ahead.unsigned_abs());
                if ahead < 0 { passed - by } else { passed + by }
            }
        }
    }

    /// The same as time since 1970; none has passed where it is set before.
    pub fn since_1970(&self) -> Duration {
        self.wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }

    /// How long the machine has been awake, as the system counts it (`CLOCK_MONOTONIC`): for who compares it with their
    /// own. The hand of a test's clock does not move it.
    pub fn since_boot(&self) -> Duration {
        // The clock is there on every system that has signals.
        clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
    }

    /// Waits until `duration` has passed on this clock.
    pub async fn sleep(&self, duration: Duration) {
        match &self.0 {
            Source::System => tokio::time::sleep(duration).await,
            Source::Hand(time) => {
                let mut elapsed = time.elapsed.subscribe();
                let end = *elapsed.borrow() + duration;
                // The sender lives in `time`, so the wait cannot fail.
                let _ = elapsed.wait_for(|now| *now >= end).await;
            }
        }
    }
}

/// What tests call it.
pub type TestClock = HandClock;

impl HandClock {
    /// A clock that begins at the wall time of every test, and stands still.
    pub fn new() -> Self {
        HandClock::at(SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000))
    }

    /// A clock that begins at this wall time, and stands still.
    pub fn at(wall: SystemTime) -> Self {
        let (wall_ahead, elapsed) = (AtomicI64::new(0), watch::channel(Duration::ZERO).0);
        HandClock(Arc::new(HandTime { base: system_now(), wall_base: wall, wall_ahead, elapsed }))
    }

    /// Turns the clock forward and wakes who waits for that time.
    pub fn advance(&self, by: Duration) {
        self.0.elapsed.send_modify(|elapsed| *elapsed += by);
    }

    /// Turns the clock forward to this wall time; never back.
    pub fn advance_to(&self, wall: SystemTime) {
        if let Ok(by) = wall.duration_since(self.clock().wall()) {
            self.advance(by);
        }
    }

    /// Sets the wall clock alone, so many seconds ahead of the time that has passed, or back: what an operator or a time
    /// server does.
    pub fn set_wall_ahead(&self, seconds: i64) {
        self.0.wall_ahead.store(seconds, Ordering::Relaxed);
    }

    /// How many tasks are asleep on this clock right now.
    pub fn sleepers(&self) -> usize {
        self.0.elapsed.receiver_count()
    }

    /// The clock to hand to who is to live by it.
    pub fn clock(&self) -> Clock {
        Clock(Source::Hand(Arc::clone(&self.0)))
    }
}

impl Default for HandClock {
    fn default() -> Self {
        HandClock::new()
    }
}

#[expect(clippy::disallowed_methods, reason = "this file is the one place that asks the system")]
fn system_now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "this file is the one place that asks the system")]
fn system_wall() -> SystemTime {
    SystemTime::now()
}
