//! How a backend is doing: who is on the way to it, what failed, whether it is left out.
//!
//! In: beginnings and ends of tries, results of health checks, the time. Out:
//! whether it may be asked, and what has changed. Atomics only: a request takes
//! no lock here. It outlives a configuration. Not here: which of several
//! backends is taken (`balance`), what counts as a failure (`proxy::attempt`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::config::section::upstreams::{AllOut, Eject};

/// Out, and one request is finding out whether it is well again.
const ASKED: u64 = u64::MAX;

/// When a backend is left out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    after: u32,
    time: Duration,
    max: Duration,
    pub(super) all_out: AllOut,
}

impl Rules {
    pub(super) fn compile(section: &Eject) -> Self {
        let Eject { after, time, max, all_out } = section;
        Rules { after: *after, time: time.duration(), max: max.duration(), all_out: *all_out }
    }

    /// The `number`th time in a row, from 1: each is twice as long.
    fn length(&self, number: u32) -> Duration {
        let doubled = 1_u32.checked_shl(number.saturating_sub(1)).unwrap_or(u32::MAX);
        self.time.saturating_mul(doubled).min(self.max)
    }
}

/// What is known of one backend.
#[derive(Debug)]
pub(super) struct Condition {
    /// Times are milliseconds from here.
    epoch: Instant,
    in_flight: AtomicU32,
    /// Failures in a row.
    failures: AtomicU32,
    /// 0: it gets requests. [`ASKED`], or else the time when one may ask.
    out: AtomicU64,
    /// How often it was left out, without having been well for long in between.
    ejections: AtomicU32,
    /// When it was taken back.
    returned: AtomicU64,
    /// Health checks say that it is not well.
    down: AtomicBool,
}

/// Whether a backend may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Since then one request may find out whether it is well again.
    Due(u64),
    In,
    Out,
}

/// What became of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is left out for so long, after so many failures in a row.
    Ejected {
        /// How long.
        time: Duration,
        /// How many.
        failures: u32,
    },
    /// The request that was to find out whether it is well again failed, too.
    StillOut {
        /// How much longer it is left out.
        time: Duration,
    },
    /// It gets requests again.
    Returned,
}

/// Why a request goes to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// To find out whether it is well again. Where that is never told, another may ask from then on.
    Asking(u64),
    /// No backend is well.
    Desperate,
    Ordinary,
}

impl Condition {
    pub(super) fn new(epoch: Instant) -> Self {
        Condition {
            epoch,
            in_flight: AtomicU32::new(0),
            failures: AtomicU32::new(0),
            out: AtomicU64::new(0),
            ejections: AtomicU32::new(0),
            returned: AtomicU64::new(0),
            down: AtomicBool::new(false),
        }
    }

    /// Requests that are on their way to it.
    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(super) fn is_down(&self) -> bool {
        self.down.load(Ordering::Relaxed)
    }

    /// Whether it may be asked, as far as failures of requests tell.
    pub(super) fn standing(&self, now: Instant) -> Standing {
        match self.out.load(Ordering::Relaxed) {
            0 => Standing::In,
            ASKED => Standing::Out,
            due if due <= self.millis(now) => Standing::Due(due),
            _ => Standing::Out,
        }
    }

    /// Takes the right to find out whether it is well again; only one request has it.
    pub(super) fn ask(&self, due: u64, rules: &Rules, now: Instant) -> Option<Role> {
        self.out.compare_exchange(due, ASKED, Ordering::AcqRel, Ordering::Relaxed).ok()?;
        let length = rules.length(self.ejections.load(Ordering::Relaxed));
        Some(Role::Asking(self.millis(now + length)))
    }

    /// When one may find out whether it is well again; none where that is not known.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        match self.out.load(Ordering::Relaxed) {
            0 | ASKED => None,
            due => Some(Duration::from_millis(due.saturating_sub(self.millis(now)))),
        }
    }

    /// Takes over what health checks say; true where that is another thing than before. Who was not well and now is has
    /// nothing held against it any more.
    pub(super) fn set_down(&self, down: bool) -> bool {
        let before = self.down.swap(down, Ordering::AcqRel);
        if before && !down {
            self.failures.store(0, Ordering::Relaxed);
            self.ejections.store(0, Ordering::Relaxed);
            self.out.store(0, Ordering::Release);
        }
        before != down
    }

    /// Never 0, which means something else.
    fn millis(&self, at: Instant) -> u64 {
        let millis = at.saturating_duration_since(self.epoch).as_millis();
        u64::try_from(millis).unwrap_or(ASKED - 2).min(ASKED - 2) + 1
    }

    fn fail(&self, rules: &Rules, now: Instant) -> Option<Change> {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if failures < rules.after || self.out.load(Ordering::Relaxed) != 0 {
            return None;
        }
        let before = self.ejections.load(Ordering::Relaxed);
        let returned = Duration::from_millis(self.millis(now).saturating_sub(self.returned.load(Ordering::Relaxed)));
        // Who was well for shorter than it was left out is not well yet.
        let number = if before > 0 && returned < rules.length(before) { before.saturating_add(1) } else { 1 };
        let time = rules.length(number);
        self.out.compare_exchange(0, self.millis(now + time), Ordering::AcqRel, Ordering::Relaxed).ok()?;
        self.ejections.store(number, Ordering::Relaxed);
        Some(Change::Ejected { time, failures })
    }

    fn fail_again(&self, rules: &Rules, now: Instant) -> Option<Change> {
        let number = self.ejections.load(Ordering::Relaxed).saturating_add(1);
        let time = rules.length(number);
        self.out.compare_exchange(ASKED, self.millis(now + time), Ordering::AcqRel, Ordering::Relaxed).ok()?;
        self.ejections.store(number, Ordering::Relaxed);
        Some(Change::StillOut { time })
    }

    fn take_back(&self, now: Instant) -> Option<Change> {
        self.failures.store(0, Ordering::Relaxed);
        self.returned.store(self.millis(now), Ordering::Relaxed);
        (self.out.swap(0, Ordering::AcqRel) != 0).then_some(Change::Returned)
    }
}

/// A try on its way to a backend, until it is dropped.
#[derive(Debug)]
pub struct Visit {
    condition: Arc<Condition>,
    rules: Option<Rules>,
    role: Role,
    finding: Finding,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finding {
    Failed,
    Nothing,
    Well,
}

impl Visit {
    pub(super) fn begin(condition: &Arc<Condition>, rules: Option<Rules>, role: Role) -> Self {
        condition.in_flight.fetch_add(1, Ordering::Relaxed);
        Visit { condition: Arc::clone(condition), rules, role, finding: Finding::Nothing }
    }

    /// Whether it goes there although the backend is left out, because all are.
    pub fn is_desperate(&self) -> bool {
        self.role == Role::Desperate
    }

    /// An answer has begun that speaks for the backend.
    pub fn went_well(&mut self, now: Instant) -> Option<Change> {
        self.finding = Finding::Well;
        match self.role {
            Role::Ordinary => None,
            Role::Asking(_) | Role::Desperate => {
                self.role = Role::Ordinary;
                self.rules.and_then(|_| self.condition.take_back(now))
            }
        }
    }

    /// It failed by what the backend did, or did not do.
    pub fn failed(&mut self, now: Instant) -> Option<Change> {
        if std::mem::replace(&mut self.finding, Finding::Failed) == Finding::Failed {
            return None;
        }
        let rules = self.rules.as_ref()?;
        match self.role {
            Role::Asking(_) => self.condition.fail_again(rules, now),
            Role::Desperate => None,
            Role::Ordinary => self.condition.fail(rules, now),
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.condition.in_flight.fetch_sub(1, Ordering::Relaxed);
        match (self.role, self.finding) {
            // Read first: a cache line that all threads write costs each of them.
            (Role::Ordinary, Finding::Well) if self.condition.failures.load(Ordering::Relaxed) != 0 => {
                self.condition.failures.store(0, Ordering::Relaxed);
            }
            (Role::Asking(again), Finding::Nothing) => {
                // The caller left before anything was known.
                let _ = self.condition.out.compare_exchange(ASKED, again, Ordering::AcqRel, Ordering::Relaxed);
            }
            (Role::Asking(_) | Role::Desperate | Role::Ordinary, _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::TestClock;

    fn rules() -> Rules {
        Rules { after: 2, time: Duration::from_secs(10), max: Duration::from_secs(60), all_out: AllOut::Try }
    }

    fn visit(condition: &Arc<Condition>, role: Role) -> Visit {
        Visit::begin(condition, Some(rules()), role)
    }

    fn seconds(change: Option<Change>) -> Option<u64> {
        match change? {
            Change::Ejected { time, .. } | Change::StillOut { time } => Some(time.as_secs()),
            Change::Returned => None,
        }
    }

    #[test]
    fn times_double_and_are_bounded() {
        let rules = rules();
        let lengths = [1, 2, 3, 4, 40, u32::MAX].map(|number| rules.length(number).as_secs());
        assert_eq!(lengths, [10, 20, 40, 60, 60, 60]);
    }

    #[test]
    fn only_failures_in_a_row_count() {
        let now = TestClock::new().clock().now();
        let condition = Arc::new(Condition::new(now));
        for _ in 0..5 {
            assert_eq!(visit(&condition, Role::Ordinary).failed(now), None);
            assert_eq!(visit(&condition, Role::Ordinary).went_well(now), None);
        }
        let mut broken = visit(&condition, Role::Ordinary);
        broken.went_well(now);
        assert_eq!(broken.failed(now), None, "it broke behind its head");
        assert_eq!(broken.failed(now), None, "one try fails once");
        drop(broken);
        assert_eq!(condition.standing(now), Standing::In);
        assert_eq!(seconds(visit(&condition, Role::Ordinary).failed(now)), Some(10));
        assert_eq!(condition.in_flight(), 0);
    }

    #[test]
    fn who_is_ill_again_soon_is_out_for_longer() {
        let time = TestClock::new();
        let clock = time.clock();
        let condition = Arc::new(Condition::new(clock.now()));
        let fail = || {
            let changes = [(), ()].map(|()| visit(&condition, Role::Ordinary).failed(clock.now()));
            seconds(changes[1])
        };
        let come_back = |wait| {
            time.advance(Duration::from_secs(wait));
            let Standing::Due(due) = condition.standing(clock.now()) else { panic!("it is not due") };
            let role = condition.ask(due, &rules(), clock.now()).unwrap();
            assert_eq!(condition.ask(due, &rules(), clock.now()), None, "one alone asks");
            assert_eq!(visit(&condition, role).went_well(clock.now()), Some(Change::Returned));
        };
        assert_eq!(fail(), Some(10));
        come_back(10);
        assert_eq!(fail(), Some(20));
        come_back(20);
        time.advance(Duration::from_secs(30));
        assert_eq!(fail(), Some(10), "it was well for longer than it was out");
    }

    #[test]
    fn what_began_before_speaks_for_nobody() {
        let now = TestClock::new().clock().now();
        let condition = Arc::new(Condition::new(now));
        let mut early = visit(&condition, Role::Ordinary);
        let _ = [(), ()].map(|()| visit(&condition, Role::Ordinary).failed(now));
        assert_eq!(condition.standing(now), Standing::Out);
        assert_eq!(early.went_well(now), None);
        drop(early);
        assert_eq!(condition.standing(now), Standing::Out);
        assert_eq!(visit(&condition, Role::Desperate).failed(now), None);
        assert_eq!(visit(&condition, Role::Desperate).went_well(now), Some(Change::Returned));
    }

    #[test]
    fn who_asks_and_never_tells_is_followed_by_another() {
        let time = TestClock::new();
        let clock = time.clock();
        let condition = Arc::new(Condition::new(clock.now()));
        let _ = [(), ()].map(|()| visit(&condition, Role::Ordinary).failed(clock.now()));
        time.advance(Duration::from_secs(10));
        let Standing::Due(due) = condition.standing(clock.now()) else { panic!("it is not due") };
        let role = condition.ask(due, &rules(), clock.now()).unwrap();
        drop(visit(&condition, role));
        assert_eq!(condition.standing(clock.now()), Standing::Out);
        time.advance(Duration::from_secs(10));
        assert!(matches!(condition.standing(clock.now()), Standing::Due(_)));
    }

    #[test]
    fn who_passes_its_health_checks_again_has_nothing_held_against_it() {
        let now = TestClock::new().clock().now();
        let condition = Arc::new(Condition::new(now));
        let _ = [(), ()].map(|()| visit(&condition, Role::Ordinary).failed(now));
        assert!(condition.set_down(true) && !condition.set_down(true));
        assert!(condition.set_down(false));
        assert_eq!(condition.standing(now), Standing::In);
    }
}
