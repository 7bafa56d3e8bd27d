//! What outlives a configuration: counters that a reload must not forget.
//!
//! In: names of upstreams, sources of keys. Out: shared handles. Not here: decisions made from
//! them (`pipeline`). Locks live here and nowhere else.

pub mod admin_token;
pub mod deadlines;
pub mod jwks;
pub mod retry_budget;
pub mod throttle;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use deadlines::Deadlines;
use jwks::{KeySources, Keys, Source};
use retry_budget::RetryBudget;

use crate::clock::Clock;

/// Opened once by `app` and handed down.
#[derive(Debug)]
pub struct State {
    clock: Clock,
    deadlines: Arc<Deadlines>,
    key_sources: KeySources,
    retry_budgets: Mutex<HashMap<String, Arc<RetryBudget>>>,
}

impl State {
    /// Empty state that tells the time by `clock`.
    pub fn new(clock: Clock) -> Self {
        let key_sources = KeySources::new(clock.clone());
        State { clock, deadlines: Arc::default(), key_sources, retry_budgets: Mutex::default() }
    }

    /// The clock that everything below uses.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The connections with a deadline.
    pub fn deadlines(&self) -> &Arc<Deadlines> {
        &self.deadlines
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
