//! What outlives a configuration: counters that a reload must not forget.
//!
//! In: names of upstreams, sources of keys. Out: shared handles. Not here: decisions made from
//! them (`pipeline`). Locks live here and nowhere else.

pub mod admin_token;
mod beat;
pub mod counters;
pub mod deadlines;
pub mod domains;
mod fingerprint;
pub mod jwks;
pub mod load;
pub mod looks;
mod memory_limit;
pub mod minted;
mod network;
mod past;
mod private;
pub mod queue;
pub mod retry_budget;
pub mod throttle;
pub mod usage;
pub mod verified;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use counters::Counters;
use deadlines::Deadlines;
use domains::Domains;
use jwks::{KeySources, Keys, Source};
use load::Load;
use minted::Minted;
use queue::Queues;
use retry_budget::RetryBudget;
use throttle::Throttle;
use usage::Usage;
use verified::Verified;

use crate::clock::Clock;
use crate::config::section::state::State as Section;

/// Wrong keys, and wrong signatures that cost time, that an address may send in a minute: far too few to guess one or to
/// keep the machine busy.
const MAX_GUESSES: u32 = 100;

/// Opened once by `app` and handed down.
#[derive(Debug)]
pub struct State {
    clock: Clock,
    counters: Counters,
    deadlines: Arc<Deadlines>,
    domains: Domains,
    load: Arc<Load>,
    minted: Arc<Minted>,
    queues: Queues,
    guessers: Throttle,
    usage: Usage,
    verified: Verified,
    epochs: AtomicU64,
    key_sources: KeySources,
    retry_budgets: Mutex<HashMap<String, Arc<RetryBudget>>>,
}

impl State {
    /// Empty state that tells the time by `clock`.
    pub fn new(clock: Clock) -> Self {
        State::open(clock, &Section::default())
    }

    /// State that is kept where the configuration says.
    pub fn open(clock: Clock, section: &Section) -> Self {
        State {
            counters: Counters::open(clock.clone(), section),
            deadlines: Arc::default(),
            domains: Domains::open(clock.clone(), &section.folder()),
            load: Arc::new(Load::open()),
            minted: Arc::default(),
            queues: Queues::new(clock.clone()),
            guessers: Throttle::new(clock.clone(), MAX_GUESSES, throttle::MANY),
            usage: Usage::new(clock.clone()),
            verified: Verified::default(),
            epochs: AtomicU64::new(0),
            retry_budgets: Mutex::default(),
            key_sources: KeySources::new(clock.clone()),
            clock,
        }
    }

    /// The clock that everything below uses.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// What limits are kept by.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What stands in front of upstreams.
    pub fn queues(&self) -> &Queues {
        &self.queues
    }

    /// The connections with a deadline.
    pub fn deadlines(&self) -> &Arc<Deadlines> {
        &self.deadlines
    }

    /// How much is asked of the gateway at once.
    pub fn load(&self) -> &Arc<Load> {
        &self.load
    }

    /// Customers' own domains.
    pub fn domains(&self) -> &Domains {
        &self.domains
    }

    /// Tokens that were made for upstreams.
    pub fn minted(&self) -> &Arc<Minted> {
        &self.minted
    }

    /// Who sends credentials that are not accepted.
    pub fn guessers(&self) -> &Throttle {
        &self.guessers
    }

    /// What was used.
    pub fn usage(&self) -> &Usage {
        &self.usage
    }

    /// Tokens that were verified.
    pub fn verified(&self) -> &Verified {
        &self.verified
    }

    /// A number that was not given before.
    pub fn next_epoch(&self) -> u64 {
        self.epochs.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Every source of keys.
    pub fn key_sources(&self) -> &KeySources {
        &self.key_sources
    }

    /// The keys of a source: the same ones each time.
    pub fn keys(&self, source: &Source) -> Arc<Keys> {
        self.key_sources.keys(source)
    }

    /// Forgets what belongs to upstreams that are not among these.
    pub fn keep_upstreams<'a>(&self, names: impl Iterator<Item = &'a str>) {
        let names: HashSet<&str> = names.collect();
        let mut budgets = self.retry_budgets.lock().unwrap_or_else(PoisonError::into_inner);
        budgets.retain(|name, _| names.contains(name.as_str()));
    }

    /// The budget of the upstream called `name`: the same one each time.
    pub fn retry_budget(&self, name: &str) -> Arc<RetryBudget> {
        let mut budgets = self.retry_budgets.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(budgets.entry(name.to_owned()).or_insert_with(|| Arc::new(RetryBudget::new(self.clock.clone()))))
    }
}
