//! One source's keys as they are now, and when to ask for newer ones.
//!
//! In: what fetches bring, ids of keys that callers name. Out: the keys, and
//! whether waiting for newer ones is worth it. Not here: the fetch itself
//! (`fetch`). However many callers name keys that nobody knows, the provider is
//! asked once in [`COOL_DOWN`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use rand::Rng as _;
use tokio::sync::{Notify, watch};

use crate::clock::Clock;
use crate::jose::keys::KeySet;
use crate::outbound::Client;

use super::Source;
use super::fetch::{Content, Fetched, TIME, fetch, read};
use super::rejected::Rejected;

/// Between the start of any fetch and one that a caller may cause.
const COOL_DOWN: Duration = Duration::from_secs(30);
/// Then keys that could not be fetched again are not believed any more.
const USABLE: Duration = Duration::from_secs(24 * 3600);
/// Before the first try after a failure; doubled for each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Doublings after which a pause is longer than the longest in any case.
const DOUBLINGS: u32 = 6;
/// Of why a fetch failed, this many characters: a provider's own words may stand in it.
const TOLD: usize = 400;

/// The keys of one source. Shared by all who verify with them.
#[derive(Debug)]
pub struct Keys {
    source: Source,
    clock: Clock,
    current: ArcSwap<Current>,
    progress: Mutex<Progress>,
    /// Woken when newer keys are asked for.
    wanted: Notify,
    /// How many fetches have ended.
    ended: watch::Sender<u64>,
}

/// What the last good fetch brought.
#[derive(Debug, Default)]
struct Current {
    set: Arc<KeySet>,
    version: u64,
    fetched: Option<Instant>,
}

#[derive(Debug)]
struct Progress {
    stage: Stage,
    /// When the last fetch was asked for, or began.
    started: Option<Instant>,
    /// When the next one begins by itself.
    due: Instant,
    content: Option<Content>,
    rejected: Rejected,
    fetched: u64,
    failed: u64,
    /// Failures since the last good fetch.
    failures: u32,
    /// Why the last fetch failed, if it did.
    error: Option<Arc<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Asked,
    Fetching,
    Idle,
}

/// What an operator is told of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Since the last good fetch.
    pub age: Option<Duration>,
    /// Whether they may be believed.
    pub is_usable: bool,
    /// Keys that can be used.
    pub keys: usize,
    /// Good fetches.
    pub fetched: u64,
    /// Fetches that failed.
    pub failed: u64,
    /// Why the last fetch failed, if it did.
    pub error: Option<Arc<str>>,
}

impl Keys {
    pub(super) fn new(source: Source, clock: Clock) -> Self {
        let progress = Progress {
            stage: Stage::Idle,
            started: None,
            due: clock.now(),
            content: None,
            rejected: Rejected::default(),
            fetched: 0,
            failed: 0,
            failures: 0,
            error: None,
        };
        Keys {
            source,
            clock,
            current: ArcSwap::default(),
            progress: Mutex::new(progress),
            wanted: Notify::new(),
            ended: watch::Sender::new(0),
        }
    }

    /// Where they come from.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The keys; none before the first good fetch.
    pub fn current(&self) -> Arc<KeySet> {
        Arc::clone(&self.current.load().set)
    }

    /// Grows when the keys change. Who remembers what was verified reads it before [`Keys::current`]: then what an older
    /// set said is never taken for what the newer one says.
    pub fn version(&self) -> u64 {
        self.current.load().version
    }

    /// Since the last good fetch.
    pub fn age(&self, now: Instant) -> Option<Duration> {
        self.current.load().fetched.map(|fetched| now.saturating_duration_since(fetched))
    }

    /// Whether they may be believed: there are some, and they are not too old. Else nobody can be judged by them, which
    /// is the gateway's trouble and not the caller's.
    pub fn is_usable(&self) -> bool {
        is_usable(self.age(self.clock.now()))
    }

    /// Whether waiting for newer keys may bring the one with this id, which is not among those that the caller looked at.
    pub fn may_be_newer(&self, id: &str) -> bool {
        let now = self.clock.now();
        let mut progress = self.progress();
        // It came in the meantime: [`Keys::refreshed`] returns at once.
        if self.current.load().set.knows(id) {
            return true;
        }
        !progress.rejected.has(id, now) && (progress.is_under_way(now) || progress.has_cooled_down(now))
    }

    /// Asks for newer keys and waits for them, a short time at most. All who wait share one fetch.
    pub async fn refreshed(&self) {
        // Before asking: the end of no fetch is missed.
        let mut ended = self.ended.subscribe();
        if self.ask() {
            tokio::select! {
                _ = ended.changed() => {}
                () = self.clock.sleep(TIME) => {}
            }
        }
    }

    /// Remembers an id that was not among newer keys either: it is not asked for again soon. Where the last fetch failed, or
    /// has not ended, nothing is known of the id, and nothing is remembered.
    pub fn reject(&self, id: &str) {
        let now = self.clock.now();
        let mut progress = self.progress();
        if progress.has_answer() && !self.current.load().set.knows(id) {
            progress.rejected.add(id, now);
        }
    }

    /// Takes a set that somebody brings, instead of asking the source for one.
    ///
    /// # Errors
    /// There is no key in it that can be used.
    pub fn bring(&self, set: &[u8]) -> Result<(), String> {
        let brought = read(set, USABLE)?;
        self.begin();
        self.take(brought);
        Ok(())
    }

    /// What an operator is told.
    pub fn numbers(&self) -> Numbers {
        let age = self.age(self.clock.now());
        let progress = self.progress();
        let keys = self.current.load().set.len();
        let (fetched, failed, error) = (progress.fetched, progress.failed, progress.error.clone());
        Numbers { age, is_usable: is_usable(age), keys, fetched, failed, error }
    }

    /// Fetches when it is time, or when it is asked for. Never ends.
    pub(super) async fn tend(&self, client: &Client) {
        loop {
            self.wait_for_work().await;
            self.begin();
            match fetch(client, &self.clock, &self.source).await {
                Ok(fetched) => self.take(fetched),
                Err(why) => self.fail(&why),
            }
            self.ended.send_modify(|ended| *ended += 1);
        }
    }

    /// True if a fetch is under way or begins now.
    fn ask(&self) -> bool {
        let now = self.clock.now();
        let mut progress = self.progress();
        if progress.is_under_way(now) {
            return true;
        }
        let may_ask = progress.has_cooled_down(now);
        if may_ask {
            progress.stage = Stage::Asked;
            progress.started = Some(now);
            self.wanted.notify_one();
        }
        may_ask
    }

    async fn wait_for_work(&self) {
        loop {
            let left = {
                let progress = self.progress();
                if progress.stage == Stage::Asked {
                    return;
                }
                progress.due.saturating_duration_since(self.clock.now())
            };
            if left.is_zero() {
                return;
            }
            tokio::select! {
                () = self.clock.sleep(left) => {}
                () = self.wanted.notified() => {}
            }
        }
    }

    fn begin(&self) {
        let now = self.clock.now();
        let mut progress = self.progress();
        progress.stage = Stage::Fetching;
        progress.started = Some(now);
        // Holds if this fetch never comes to an end of its own.
        progress.due = now + LONGEST_PAUSE;
    }

    fn take(&self, fetched: Fetched) {
        let now = self.clock.now();
        let Fetched { set, content, lifetime } = fetched;
        let mut progress = self.progress();
        let current = self.current.load_full();
        let is_same = progress.content == Some(content);
        let (set, version) =
            if is_same { (Arc::clone(&current.set), current.version) } else { (Arc::new(set), current.version + 1) };
        if !is_same {
            progress.rejected.clear();
        }
        self.current.store(Arc::new(Current { set, version, fetched: Some(now) }));
        progress.stage = Stage::Idle;
        progress.content = Some(content);
        progress.fetched += 1;
        progress.failures = 0;
        progress.error = None;
        // While the old ones are still good.
        progress.due = now + lifetime * 4 / 5;
    }

    fn fail(&self, why: &str) {
        let now = self.clock.now();
        let mut progress = self.progress();
        progress.stage = Stage::Idle;
        progress.failed += 1;
        progress.error = Some(line(why).into());
        progress.due = now + pause(progress.failures);
        progress.failures = progress.failures.saturating_add(1);
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress {
    /// Whether an end of a fetch is near. One that is not, because nobody tends to these keys, is not waited for by everybody.
    fn is_under_way(&self, now: Instant) -> bool {
        self.stage != Stage::Idle && self.started.is_some_and(|started| now.saturating_duration_since(started) < TIME)
    }

    /// Whether the last fetch has ended, and well.
    fn has_answer(&self) -> bool {
        self.stage == Stage::Idle && self.fetched > 0 && self.error.is_none()
    }

    fn has_cooled_down(&self, now: Instant) -> bool {
        self.started.is_none_or(|started| now.saturating_duration_since(started) >= COOL_DOWN)
    }
}

fn is_usable(age: Option<Duration>) -> bool {
    age.is_some_and(|age| age <= USABLE)
}

/// Before the next try; gateways that failed together do not try together.
fn pause(failures: u32) -> Duration {
    let longest = FIRST_PAUSE * 2_u32.pow(failures.min(DOUBLINGS));
    longest.min(LONGEST_PAUSE).mul_f64(rand::thread_rng().gen_range(0.5..=1.0))
}

/// One line of a log, whatever a provider said.
fn line(why: &str) -> String {
    why.chars().take(TOLD).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_provider_says_makes_one_short_line() {
        let said = line(&format!("a\n\u{1b}b{}", "é".repeat(1000)));
        assert!(said.starts_with("a  bé") && said.chars().count() == TOLD, "{said}");
    }

    #[test]
    fn pauses_double_up_to_a_minute() {
        for (failures, longest) in [(0, 1), (1, 2), (3, 8), (5, 32), (6, 60), (7, 60), (u32::MAX, 60)] {
            let longest = Duration::from_secs(longest);
            for _ in 0..100 {
                let pause = pause(failures);
                assert!(pause <= longest && pause >= longest / 2, "{failures}: {pause:?}");
            }
        }
    }
}
