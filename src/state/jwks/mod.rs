//! Public keys of identity providers, which survive reloads.
//!
//! In: [`Source`]s, which configurations name. Out: [`Keys`], the same ones for
//! the same source, fetched in the background as long as [`KeySources::run`]
//! goes on. Not here: whether a token is good (`pipeline`), what keys look like
//! (`jose`). An identity provider that fails, lies or stalls never takes keys
//! away: the last good ones stay, for a day.

mod fetch;
mod freshness;
mod keys;
mod rejected;
mod source;

pub use keys::{Keys, Numbers};
pub use source::Source;

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};

use crate::clock::Clock;
use crate::outbound::Client;

/// Every source that a configuration names.
#[derive(Debug)]
pub struct KeySources {
    known: Mutex<Vec<Arc<Keys>>>,
    /// Woken when a source is added or forgotten.
    changed: Notify,
    clock: Clock,
}

impl KeySources {
    /// No sources yet.
    pub fn new(clock: Clock) -> Self {
        KeySources { known: Mutex::default(), changed: Notify::new(), clock }
    }

    /// The keys of a source: the same ones each time.
    pub fn keys(&self, source: &Source) -> Arc<Keys> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(keys) = known.iter().find(|keys| keys.source() == source) {
            return Arc::clone(keys);
        }
        let keys = Arc::new(Keys::new(source.clone(), self.clock.clone()));
        known.push(Arc::clone(&keys));
        self.changed.notify_one();
        keys
    }

    /// Forgets the sources that are not among these; they are fetched no more.
    pub fn keep<'a>(&self, sources: impl Iterator<Item = &'a Source>) {
        let sources: Vec<&Source> = sources.collect();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|keys| sources.contains(&keys.source()));
        self.changed.notify_one();
    }

    /// Fetches all keys, again and again, each source by itself: one that stalls holds up no other. Never ends; dropping
    /// it ends every fetch.
    pub async fn run(&self, client: Client) {
        let mut tended: Vec<(Arc<Keys>, AbortHandle)> = Vec::new();
        let mut tasks = JoinSet::new();
        loop {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
            tended.retain(|(keys, task)| {
                let is_known = known.iter().any(|known| Arc::ptr_eq(known, keys));
                if !is_known {
                    task.abort();
                }
                is_known && !task.is_finished()
            });
            for keys in known {
                if !tended.iter().any(|(tended, _)| Arc::ptr_eq(tended, &keys)) {
                    let (tending, client) = (Arc::clone(&keys), client.clone());
                    let task = tasks.spawn(async move { tending.tend(&client).await });
                    tended.push((keys, task));
                }
            }
            tokio::select! {
                () = self.changed.notified() => {}
                // A fault in one source's task: it is started again.
                Some(_) = tasks.join_next() => {}
            }
        }
    }
}
