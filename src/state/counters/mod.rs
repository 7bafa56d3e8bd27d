//! How often, and how much, everybody asked: what limits are kept by.
//!
//! In: a few [`Ask`]s that one request must pass together. Out: an [`Answer`]:
//! all were spent or none was, and how each of them stands. Not here: which
//! limits apply (`pipeline::limits`), what callers are told.
//!
//! Counting is local to the process, or shared by several through Redis; the
//! arithmetic is the same ([`algorithm`]).

pub mod algorithm;
pub mod bucket;
pub mod calendar;
mod journal;
mod memory;
mod redis;
mod sqlite;
pub mod usual;

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use smallvec::SmallVec;

use crate::clock::Clock;
use crate::config::scalar::{Counters as Place, Moment, Rate, Window};
use crate::config::section::limits::Cost;
use crate::config::section::state::State;

use self::redis::{DEADLINE, Kept, Redis};
pub use self::redis::{Health, Up};
use bucket::{Bucket, Value};
use journal::Journal;
use memory::Memory;
use usual::{Usual, Usuals};

pub use memory::Fill;

/// Counters that are kept unless the operator wants another number.
pub const MAX_COUNTERS: usize = 1_000_000;

/// What one limit asks of one request.
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    /// The limit's name in the configuration; `rps` of a token has one that no limit can have.
    pub name: &'a str,
    /// Who is counted, in the order of the limit's dimensions.
    pub values: Values<'a>,
    /// How.
    pub rule: Rule,
    /// Whether it can refuse.
    pub mode: Mode,
    /// What is taken of a quota until the cost is known: 1, or what such a request usually costs. Rates always take 1.
    pub reserve: u64,
}

/// Few limits tell apart by more than two things.
pub type Values<'a> = SmallVec<[Value<'a>; 2]>;

/// Whether a limit refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It counts, and says what it would do.
    DryRun,
    /// It does.
    Enforced,
}

/// How a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// So much in a stretch of the calendar.
    Quota(Allowance),
    /// So many evenly, and some at once.
    Rate(Pace),
}

/// A rate: GCRA with an explicit burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Between two requests that come evenly, in nanoseconds; at least 1.
    pub interval: u64,
    /// Requests that may come at once; at least 1.
    pub burst: u32,
}

/// A quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// How much, in the units of the cost: requests, rows, bytes, microseconds.
    pub amount: u64,
    /// In which stretch.
    pub window: Window,
    /// When its stretches begin; none for those of the calendar.
    pub anchor: Option<Moment>,
    /// What is counted.
    pub cost: Cost,
    /// What an answer costs that does not say what was read.
    pub assumed: u64,
}

impl Pace {
    /// A rate with so many at once; none for as many as the rate says.
    pub fn of(rate: Rate, burst: Option<u32>) -> Self {
        Pace { interval: rate.interval_nanos(), burst: burst.unwrap_or(rate.count()).max(1) }
    }

    /// The rate of a Tinybird JWT (`limits.rps`): what may come in a second may come at once, and at least one.
    pub fn per_second(rps: f64) -> Self {
        let interval = (1e9 / rps.max(1e-6)).ceil().max(1.0);
        Pace { interval: interval as u64, burst: (rps.floor() as u32).max(1) }
    }
}

/// How one limit stands after it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// How much there is at most: the burst of a rate, the amount of a quota.
    pub total: u64,
    /// How much of that is left.
    pub remaining: u64,
    /// Whether the request passes here.
    pub passes: bool,
    /// Until the next would; zero where it would now.
    pub wait: Duration,
    /// Until everything is there again.
    pub whole: Duration,
}

/// What became of a request's asks.
#[derive(Debug)]
pub struct Answer {
    /// How each stands, in the order of the asks.
    pub standings: SmallVec<[Standing; 4]>,
    /// Whether all were spent.
    pub spent: Result<Receipt, NotSpent>,
}

/// At least one limit that is enforced lets nothing in; nothing was spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotSpent {
    /// A limit is used up: the standings say which, and for how long.
    Refused,
    /// Shared counters cannot be asked, and the operator wants nobody let in then.
    Unknown,
}

/// Whose word it is, or who was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Teller {
    /// Who decides: Redis where counts are shared, else this gateway.
    Authority,
    /// This gateway for itself, because Redis does not answer.
    Substitute,
}

/// What was taken, so that it can be given back or set right.
#[derive(Debug, Default)]
pub struct Receipt {
    entries: SmallVec<[Entry; 4]>,
}

#[derive(Debug)]
struct Entry {
    bucket: Bucket,
    taken: Taken,
    /// By which of the asks.
    ask: usize,
    /// Where it is counted besides this process.
    elsewhere: Option<Box<Kept>>,
}

#[derive(Clone, Copy, Debug)]
enum Taken {
    /// Of a rate: one turn, after which the next was due then (nanoseconds of the clock that counts).
    Pace { rule: Pace, due: u64 },
    /// Of a quota, in the stretch that began then (seconds since 1970).
    Quota { allowance: Allowance, began: u64, units: u64 },
}

/// What a request cost, once that is known; none where its answer does not say, and then it cost what is assumed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Costs {
    /// Rows that the query read.
    pub rows_read: Option<u64>,
    /// Bytes that the query read.
    pub bytes_read: Option<u64>,
    /// Bytes of the answer's body, before it is compressed for the caller.
    pub response_bytes: Option<u64>,
    /// Time that the query took, in microseconds.
    pub micros: Option<u64>,
}

/// What becomes known of a request's costs in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bill {
    /// It broke off, or failed after it had run: at least this, and never less than what was taken or is assumed.
    AtLeast(Costs),
    /// It cost this; what is none costs what is assumed.
    Exactly(Costs),
}

/// No single request costs more: sums stay exact, also where they are counted in floating-point numbers.
const MOST: u64 = 1 << 50;

impl Bill {
    /// What a quota counts of it, where so much was taken before.
    pub fn units(&self, allowance: &Allowance, taken: u64) -> u64 {
        let Allowance { cost, assumed, .. } = *allowance;
        let units = match self {
            Bill::AtLeast(costs) => costs.of(cost).unwrap_or_default().max(taken).max(assumed),
            Bill::Exactly(costs) => costs.of(cost).unwrap_or(assumed),
        };
        units.min(MOST)
    }
}

impl Costs {
    /// What a quota with this cost counts, where that is known.
    pub fn of(&self, cost: Cost) -> Option<u64> {
        match cost {
            Cost::One => Some(1),
            Cost::BytesRead => self.bytes_read,
            Cost::ResponseBytes => self.response_bytes,
            Cost::RowsRead => self.rows_read,
            Cost::Seconds => self.micros,
        }
    }
}

impl Teller {
    /// Who is to be named where several tell one thing.
    #[must_use]
    pub fn or(self, other: Teller) -> Teller {
        match self {
            Teller::Authority => other,
            Teller::Substitute => self,
        }
    }
}

impl Receipt {
    /// Whether the cost of something has to be known in the end.
    pub fn awaits_costs(&self) -> bool {
        self.entries.iter().any(|entry| match entry.taken {
            Taken::Pace { .. } => false,
            Taken::Quota { allowance, .. } => !allowance.cost.is_one(),
        })
    }
}

/// What is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Back {
    /// All of it.
    Everything,
    /// What quotas took; that a request came stays counted.
    Quotas,
}

/// Every counter.
#[derive(Debug)]
pub struct Counters {
    // Before the memory, so that what is left is written at the end.
    journal: OnceLock<Journal>,
    memory: Arc<Memory>,
    redis: Option<Redis>,
    usuals: Usuals,
    clock: Clock,
}

/// Whether quotas survive the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeping {
    /// They should, and cannot be written at the moment.
    Failing,
    /// There are none, so nobody wanted them to.
    Off,
    /// They do.
    Works,
}

/// Who counts in the file that quotas are kept in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writers {
    /// This process.
    One,
    /// Another one besides, which is about to go on in its place.
    Two,
}

impl Counters {
    /// Nobody has come yet.
    pub fn new(clock: Clock) -> Self {
        Counters::bounded(clock, MAX_COUNTERS)
    }

    /// As [`Counters::new`]; so many counters are kept at most, half of them of rates and half of quotas, and half of each by
    /// address; beyond them newcomers to a limit share some.
    pub fn bounded(clock: Clock, most: usize) -> Self {
        let memory = Arc::new(Memory::new(clock.clone(), most));
        Counters { journal: OnceLock::new(), memory, redis: None, usuals: Usuals::default(), clock }
    }

    /// As the configuration says: in this process, or in a Redis that is shared, which need not be there yet.
    pub fn open(clock: Clock, state: &State) -> Self {
        Counters::patient(clock, state, DEADLINE)
    }

    /// As [`Counters::open`], where requests wait as long as this for shared counters.
    pub fn patient(clock: Clock, state: &State, deadline: Duration) -> Self {
        let redis = match &state.counters {
            Place::Memory => None,
            Place::Redis(address) => {
                Some(Redis::new(clock.clone(), address.clone(), state.on_counter_failure, deadline))
            }
        };
        let most = usize::try_from(state.max_counters).unwrap_or(MAX_COUNTERS);
        Counters { redis, ..Counters::bounded(clock, most) }
    }

    /// Keeps the connection to shared counters; never ends.
    pub async fn run(&self) {
        match &self.redis {
            None => std::future::pending().await,
            Some(redis) => redis.run().await,
        }
    }

    /// How shared counters are; none where counts are this process' own.
    pub fn health(&self) -> Option<Health> {
        self.redis.as_ref().map(Redis::health)
    }

    /// Keeps quotas in a file of `folder`, and counts on from what it says; nothing if that is so already. To be called
    /// before the first quota is spent.
    ///
    /// # Errors
    /// In a sentence, why that cannot be and what to do.
    pub fn keep_in(&self, folder: &Path) -> Result<(), String> {
        if self.journal.get().is_none() {
            let journal = Journal::open(folder, &self.memory, &self.clock)?;
            // Only the thread that starts and reloads comes here.
            let _ = self.journal.set(journal);
        }
        Ok(())
    }

    /// Whether quotas survive the process.
    pub fn keeping(&self) -> Keeping {
        match self.journal.get() {
            None => Keeping::Off,
            Some(journal) if journal.is_failing() => Keeping::Failing,
            Some(_) => Keeping::Works,
        }
    }

    /// Tells who counts in the file that quotas are kept in.
    pub fn written_by(&self, writers: Writers) {
        if let Some(journal) = self.journal.get() {
            journal.written_by(writers);
        }
    }

    /// Waits until everything that was counted is kept, or cannot be; of two writers, until each knows what the other has
    /// written before, too.
    pub async fn flush(&self) {
        if let Some(journal) = self.journal.get() {
            journal.flush().await;
        }
    }

    /// What the requests of a route usually cost of a limit: the same one each time, as long as the limit counts the same. It
    /// begins with what is assumed.
    pub fn usual(&self, limit: &str, Allowance { cost, assumed, .. }: &Allowance, route: &str) -> Arc<Usual> {
        self.usuals.find([limit, route], *cost, *assumed)
    }

    /// Spends all asks, or none.
    pub async fn spend(&self, asks: &[Ask<'_>]) -> Answer {
        match &self.redis {
            None => self.memory.spend(asks),
            // In a box: requests that are counted here need no room for what is said to Redis.
            Some(redis) => Box::pin(redis.spend(&self.memory, asks)).await,
        }
    }

    /// Gives back what was taken: the request went nowhere.
    pub fn refund(&self, receipt: Receipt, back: Back) {
        self.memory.refund(&receipt, back);
        if let Some(redis) = &self.redis {
            receipt.entries.iter().for_each(|entry| redis.refund(entry, back));
        }
    }

    /// Sets right what was taken before the costs were known.
    pub fn settle(&self, receipt: Receipt, bill: &Bill) {
        self.memory.settle(&receipt, bill);
        if let Some(redis) = &self.redis {
            receipt.entries.iter().for_each(|entry| redis.settle(entry, bill));
        }
    }

    /// How a limit stands, without spending.
    pub async fn look(&self, ask: &Ask<'_>) -> Standing {
        self.inquire(ask).await.0
    }

    /// As [`Counters::look`], and who says so.
    pub async fn inquire(&self, ask: &Ask<'_>) -> (Standing, Teller) {
        let shared = match &self.redis {
            None => return (self.memory.look(ask), Teller::Authority),
            Some(redis) => Box::pin(redis.look(&self.memory, ask)).await,
        };
        match shared {
            Some(standing) => (standing, Teller::Authority),
            None => (self.memory.look(ask), Teller::Substitute),
        }
    }

    /// Forgets what was counted: of a quota for good, before this returns. Says who has; Redis does as soon as it is there.
    pub async fn reset(&self, ask: &Ask<'_>) -> Teller {
        self.memory.reset(ask);
        let teller = match &self.redis {
            None => Teller::Authority,
            Some(redis) => Box::pin(redis.reset(&self.memory, ask)).await,
        };
        self.flush().await;
        teller
    }

    /// Takes away what means nothing any more.
    pub fn sweep(&self) {
        self.memory.sweep();
    }

    /// How full they are: those of rates, and those of quotas.
    pub fn fill(&self) -> [Fill; 2] {
        self.memory.fill()
    }
}
