//! Counts that several gateways share, in a Redis or Valkey.
//!
//! In: asks. Out: answers: Redis' own if it comes in time, else this gateway's,
//! as `on_counter_failure` says. Not here: counting in this process (`memory`),
//! which is kept as warm as Redis says, so that who falls back on it gives
//! nobody a fresh burst.
//!
//! One task keeps the connection and sends heartbeats, another sends what became
//! known after decisions. Redis' own time is the machine's, also under a test
//! clock: nobody can turn it.

mod alone;
mod breaker;
mod heart;
mod late;
mod link;
mod outbox;
mod post;
mod question;
mod trouble;
mod voice;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;
use smallvec::SmallVec;
use tokio::sync::{Notify, Semaphore};

use crate::clock::Clock;
use crate::config::scalar::RedisAddress;
use crate::config::section::state::OnCounterFailure;
use crate::outbound::Client;

use super::bucket::Value;
use super::memory::{Known, Memory};
use super::{Answer, Ask, Back, Bill, Entry, NotSpent, Receipt, Rule, Standing, Taken, Teller};

use breaker::Breaker;
use link::Link;
use outbox::{Change, Forget, Outbox};
use question::{Floor, Question, Shown, Taking, Trust, Verb, Verdict};
use trouble::Trouble;
use voice::Voice;

/// How long a request waits for a decision.
pub(super) const DEADLINE: Duration = Duration::from_millis(10);
/// Late answers that are waited for.
const LATE_MOST: usize = 1_024;
/// Buckets of which it is remembered that Redis was told of them since it was last away.
const FRESH_MOST: usize = 100_000;

type Numbers = Result<Vec<i64>, Trouble>;
/// A call under way.
type Rest = Pin<Box<dyn Future<Output = Numbers> + Send>>;

/// A Redis that is shared with other gateways.
#[derive(Debug)]
pub(super) struct Redis(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    address: RedisAddress,
    on_failure: OnCounterFailure,
    deadline: Duration,
    /// The gateway's clock, for the calendar.
    clock: Clock,
    /// The machine's clock, for time-outs and for Redis' own time.
    machine: Clock,
    client: Client,
    /// What this process is called among the gateways.
    name: String,
    link: ArcSwapOption<Link>,
    /// Where Redis said that the keys are.
    elsewhere: ArcSwapOption<(String, u16)>,
    breaker: Breaker,
    /// Redis' time at some moment.
    time: ArcSwapOption<Time>,
    gateways: AtomicU32,
    outbox: Outbox,
    /// Buckets, by the hash of their names, that Redis was told of since it was last away.
    fresh: quick_cache::sync::Cache<u64, ()>,
    hash: ahash::RandomState,
    failures: AtomicU64,
    late: Arc<Semaphore>,
    voice: Voice,
    /// Woken when the breaker opens.
    opened: Notify,
    posting: tokio::sync::Mutex<()>,
}

/// What time it was at Redis, or earlier, when it was so late here.
#[derive(Clone, Copy, Debug)]
struct Time {
    micros: u64,
    sent: Instant,
}

/// Where else an entry of a receipt is counted.
#[derive(Debug)]
pub(super) enum Kept {
    /// Of a quota: its stretch, and what Redis said is used, or last said.
    Quota { key: Box<str>, stretch: (u64, u64), floor: u64 },
    /// Of a rate: what a request takes of it, and the backlog at a moment.
    Rate { key: Box<str>, interval: u64, early: u64, at: Instant },
}

/// How the shared counters are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// Whether Redis decides.
    pub up: Up,
    /// Gateways that live, as far as this one knows; itself included.
    pub gateways: u32,
    /// Calls that failed.
    pub failures: u64,
    /// Buckets about which Redis has yet to be told.
    pub unsent: usize,
    /// Changes that were lost because too many waited.
    pub lost: u64,
}

/// Whether Redis decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Up {
    /// This gateway does without.
    No,
    /// It does.
    Yes,
}

/// What became of a call.
enum Asked {
    Answered(Numbers),
    /// Not in time: the rest of the call.
    Late(Rest),
}

impl Redis {
    /// A Redis that need not be there; requests wait for it as long as `deadline`.
    pub(super) fn new(clock: Clock, address: RedisAddress, on_failure: OnCounterFailure, deadline: Duration) -> Self {
        let machine = Clock::system();
        Redis(Arc::new(Inner {
            address,
            on_failure,
            deadline,
            clock,
            client: Client::direct(machine.clone()),
            machine,
            name: format!("{:016x}", rand::random::<u64>()),
            link: ArcSwapOption::empty(),
            elsewhere: ArcSwapOption::empty(),
            breaker: Breaker::default(),
            time: ArcSwapOption::empty(),
            gateways: AtomicU32::new(1),
            outbox: Outbox::default(),
            fresh: quick_cache::sync::Cache::new(FRESH_MOST),
            hash: ahash::RandomState::default(),
            failures: AtomicU64::new(0),
            late: Arc::new(Semaphore::new(LATE_MOST)),
            voice: Voice::default(),
            opened: Notify::new(),
            posting: tokio::sync::Mutex::default(),
        }))
    }

    /// Keeps the connection, and sends what waits. Never ends.
    pub(super) async fn run(&self) {
        tokio::join!(self.0.beat_on(), self.0.post_on());
    }

    /// How it goes.
    pub(super) fn health(&self) -> Health {
        let (unsent, lost) = self.0.outbox.fill();
        Health {
            up: if self.0.breaker.is_closed() { Up::Yes } else { Up::No },
            gateways: self.0.gateways.load(Ordering::Relaxed),
            failures: self.0.failures.load(Ordering::Relaxed),
            unsent,
            lost,
        }
    }

    /// Spends all asks, or none: in Redis, or as it is to be done without.
    pub(super) async fn spend(&self, memory: &Memory, asks: &[Ask<'_>]) -> Answer {
        let Some(link) = self.0.link() else { return self.0.without(memory, asks) };
        let questions = self.0.questions(memory, asks);
        let sent = self.0.machine.now();
        let trouble = match self.0.ask(&link, Verb::Spend, &questions).await {
            Asked::Answered(numbers) => match self.0.understand(numbers, asks.len(), sent) {
                Ok(verdict) => return self.0.answer(memory, &questions, verdict, sent),
                Err(trouble) => trouble,
            },
            Asked::Late(rest) => {
                self.0.failed(&Trouble::Slow(self.0.deadline));
                let answer = self.0.without(memory, asks);
                self.0.give_back_late(rest, &questions);
                return answer;
            }
        };
        self.0.failed(&trouble);
        self.0.without(memory, asks)
    }

    /// How a limit stands; none if Redis does not say.
    pub(super) async fn look(&self, memory: &Memory, ask: &Ask<'_>) -> Option<Standing> {
        let link = self.0.link()?;
        let asks = std::slice::from_ref(ask);
        let questions = self.0.questions(memory, asks);
        let sent = self.0.machine.now();
        let Asked::Answered(numbers) = self.0.ask(&link, Verb::Look, &questions).await else { return None };
        let (Verdict::Spent(shown) | Verdict::Refused(shown)) = self.0.understand(numbers, 1, sent).ok()? else {
            return None;
        };
        Some(shown.first()?.standing(ask.rule))
    }

    /// Forgets what was counted: now, or as soon as Redis is there.
    pub(super) async fn reset(&self, memory: &Memory, ask: &Ask<'_>) -> Teller {
        let (life, stretches) = match &ask.rule {
            Rule::Rate(pace) => {
                let whole = pace.interval.saturating_mul(u64::from(pace.burst));
                (whole.div_ceil(1_000_000).saturating_add(10_000), [0; 4])
            }
            Rule::Quota(allowance) => {
                let stretches = question::stretches(allowance, self.0.wall());
                let [before, .., after] = stretches;
                ((after.saturating_sub(before) + 86_400).saturating_mul(1_000), stretches)
            }
        };
        // Another gateway may have room for it.
        let keys = [question::key(ask), self.0.key(memory, ask)];
        keys.iter().for_each(|key| self.0.outbox.forget(key, Forget { life, stretches }));
        self.0.post().await;
        match keys.iter().any(|key| self.0.outbox.has_to_forget(key)) {
            true => Teller::Substitute,
            false => Teller::Authority,
        }
    }

    /// Tells Redis, soon, what is given back.
    pub(super) fn refund(&self, entry: &Entry, back: Back) {
        match (entry.elsewhere.as_deref(), entry.taken) {
            (Some(Kept::Rate { key, interval, early, at }), Taken::Pace { .. }) if back == Back::Everything => {
                // What time has given back already belongs to others.
                let now = self.0.machine.now();
                let left = early.saturating_sub(nanos(now.saturating_duration_since(*at))).min(*interval);
                if left > 0 {
                    self.0.outbox.put(key, Change::Rate { added: 0_i64.saturating_sub_unsigned(left), at: now });
                }
            }
            (Some(Kept::Quota { key, stretch, floor }), Taken::Quota { units, .. }) => {
                self.0.add(key, *stretch, *floor, 0_i64.saturating_sub_unsigned(units));
            }
            (Some(Kept::Rate { .. } | Kept::Quota { .. }) | None, Taken::Pace { .. } | Taken::Quota { .. }) => {}
        }
    }

    /// Tells Redis, soon, what a request cost.
    pub(super) fn settle(&self, entry: &Entry, bill: &Bill) {
        if let (Some(Kept::Quota { key, stretch, floor }), Taken::Quota { allowance, units, .. }) =
            (entry.elsewhere.as_deref(), entry.taken)
        {
            let actual = bill.units(&allowance, units);
            self.0.add(key, *stretch, *floor, signed(actual).saturating_sub_unsigned(units));
        }
    }
}

impl Inner {
    /// The connection, while Redis is asked at all.
    fn link(&self) -> Option<Arc<Link>> {
        self.breaker.is_closed().then(|| self.link.load_full())?
    }

    /// The time of Redis, or the gateway's while that is not known.
    fn wall(&self) -> SystemTime {
        self.time.load().as_ref().map_or_else(
            || self.clock.wall(),
            |time| {
                let passed = self.machine.now().saturating_duration_since(time.sent);
                UNIX_EPOCH + Duration::from_micros(time.micros) + passed
            },
        )
    }

    fn questions<'a, 'v>(&self, memory: &Memory, asks: &'a [Ask<'v>]) -> SmallVec<[Question<'a, 'v>; 4]> {
        let question = |ask: &'a Ask<'v>| {
            let key = self.key(memory, ask);
            let floor = self.floor(memory, ask, &key);
            let trust = self.trust(&key);
            Question { ask, key, floor, trust }
        };
        asks.iter().map(question).collect()
    }

    /// The name of the bucket of an ask. Nobody can fill Redis by sending from ever new addresses: beyond what this gateway
    /// has room for, they share a few there as they do here.
    fn key(&self, memory: &Memory, ask: &Ask<'_>) -> String {
        let is_by_address = ask.values.iter().any(|value| matches!(value, Value::Network(_)));
        match is_by_address.then(|| memory.overflow(ask)).flatten() {
            None => question::key(ask),
            Some(number) => question::overflow_key(ask, number),
        }
    }

    fn trust(&self, key: &str) -> Trust {
        match self.fresh.get(&self.hash.hash_one(key)) {
            Some(()) => Trust::Redis,
            None => Trust::More,
        }
    }

    fn was_told(&self, key: &str) {
        self.fresh.insert(self.hash.hash_one(key), ());
    }

    /// What Redis last said, as far as this gateway remembers, without what Redis does not know yet.
    fn floor(&self, memory: &Memory, ask: &Ask<'_>, key: &str) -> Floor {
        let standing = memory.recall(ask);
        match &ask.rule {
            Rule::Rate(_) => {
                // What this gateway took alone stands for what others took meanwhile as well.
                let gateways = match self.on_failure {
                    OnCounterFailure::Local => u64::from(self.gateways.load(Ordering::Relaxed).max(1)),
                    OnCounterFailure::Allow | OnCounterFailure::Refuse => 1,
                };
                let unknown = self.outbox.unknown(key, 0).unsigned_abs().saturating_mul(gateways);
                Floor { value: nanos(standing.whole).saturating_sub(unknown), began: 0 }
            }
            Rule::Quota(allowance) => {
                let [_, began, ..] = question::stretches(allowance, self.clock.wall());
                let used = standing.total.saturating_sub(standing.remaining);
                let unknown = self.outbox.unknown(key, began);
                Floor { value: signed(used).saturating_sub(unknown).max(0).unsigned_abs(), began }
            }
        }
    }

    async fn ask(&self, link: &Link, verb: Verb, questions: &[Question<'_, '_>]) -> Asked {
        let call = question::call(verb, questions, self.latest(), self.wall());
        let mut call: Rest = Box::pin(link.call(call));
        match tokio::time::timeout(self.deadline, &mut call).await {
            Ok(numbers) => Asked::Answered(numbers),
            Err(_) => Asked::Late(call),
        }
    }

    /// The time at Redis after which nobody waits for what is asked now; never too early, because the way to Redis is
    /// counted as well. A Redis that was paused, or a network that held back what was sent, thus spends nothing late.
    fn latest(&self) -> u64 {
        self.time.load().as_ref().map_or(0, |time| {
            let passed = self.machine.now().saturating_duration_since(time.sent) + self.deadline;
            time.micros.saturating_add(micros(passed))
        })
    }

    fn understand(&self, numbers: Numbers, asks: usize, sent: Instant) -> Result<Verdict, Trouble> {
        let numbers = numbers?;
        let verdict = Verdict::read(&numbers, asks)
            .ok_or_else(|| Trouble::Other("answers something that is not of this gateway's scripts".to_owned()))?;
        if let Verdict::Late(micros) = verdict {
            // Its clock may have jumped: then the next question is right again.
            self.time.store(Some(Arc::new(Time { micros, sent })));
            return Err(Trouble::Slow(self.deadline));
        }
        self.breaker.answered();
        Ok(verdict)
    }

    /// What Redis said, remembered here as well.
    fn answer(&self, memory: &Memory, questions: &[Question<'_, '_>], verdict: Verdict, sent: Instant) -> Answer {
        let (shown, is_spent) = match verdict {
            Verdict::Spent(shown) => (shown, true),
            Verdict::Refused(shown) => (shown, false),
            Verdict::Late(_) => (SmallVec::new(), false),
        };
        let mut receipt = Receipt::default();
        for (index, (question, shown)) in questions.iter().zip(&shown).enumerate() {
            if question.trust == Trust::More {
                self.was_told(&question.key);
            }
            let entry = memory.learn(question.ask, self.known(question, shown, sent));
            if shown.taken == Taking::Taken {
                let elsewhere = Some(Box::new(kept(question, shown, sent)));
                receipt.entries.push(Entry { ask: index, elsewhere, ..entry });
            }
        }
        let standings = questions.iter().zip(&shown).map(|(question, shown)| shown.standing(question.ask.rule));
        Answer { standings: standings.collect(), spent: if is_spent { Ok(receipt) } else { Err(NotSpent::Refused) } }
    }

    /// What memory keeps of it: never more than Redis has.
    fn known(&self, question: &Question<'_, '_>, shown: &Shown, sent: Instant) -> Known {
        match question.ask.rule {
            Rule::Rate(_) => {
                let passed = self.machine.now().saturating_duration_since(sent);
                let unknown = self.outbox.unknown(&question.key, 0).unsigned_abs();
                Known::Rate { early: shown.value.saturating_sub(nanos(passed)).saturating_add(unknown) }
            }
            Rule::Quota(_) => {
                let unknown = self.outbox.unknown(&question.key, shown.stretch.0);
                let used = signed(shown.value).saturating_add(unknown).max(0).unsigned_abs();
                Known::Quota { stretch: shown.stretch, used }
            }
        }
    }

    fn add(&self, key: &str, stretch: (u64, u64), floor: u64, added: i64) {
        if added != 0 {
            self.outbox.put(key, Change::Quota { stretch, added, floor });
        }
    }

    /// A call was not answered.
    fn failed(&self, trouble: &Trouble) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        if let Trouble::Moved(host, port) = trouble {
            self.elsewhere.store(Some(Arc::new((host.clone(), *port))));
        }
        if self.breaker.missed(trouble).is_some() {
            self.has_opened(trouble);
        }
    }

    fn has_opened(&self, trouble: &Trouble) {
        if trouble.ends_connection() {
            self.link.store(None);
        }
        // The next heartbeat follows a move; what comes of that is worth telling.
        if !matches!(trouble, Trouble::Moved(..)) {
            self.voice.complain(self, trouble);
        }
        self.opened.notify_one();
    }
}

fn kept(question: &Question<'_, '_>, shown: &Shown, sent: Instant) -> Kept {
    let key = question.key.as_str().into();
    match question.ask.rule {
        Rule::Rate(pace) => Kept::Rate { key, interval: pace.interval, early: shown.value, at: sent },
        Rule::Quota(_) => Kept::Quota { key, stretch: shown.stretch, floor: shown.value },
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Amounts are far below the most that this can hold.
fn signed(units: u64) -> i64 {
    i64::try_from(units).unwrap_or(i64::MAX)
}
