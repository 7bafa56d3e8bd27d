//! A value that tests can wait for, from blocking and from async code alike.
//!
//! In: updates by whoever owns the value. Out: bounded waits that say what was awaited when they give up.
//! Not here: what the value means (`origin`, `gate`).

use std::fmt;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::sync::watch;

/// How long any wait of the kit lasts before it panics.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A value behind a lock that announces each change.
#[derive(Debug)]
pub struct Watched<T> {
    value: Mutex<T>,
    changed: Condvar,
    version: watch::Sender<u64>,
}

impl<T: fmt::Debug> Watched<T> {
    /// Holds `value`, unchanged so far.
    pub fn new(value: T) -> Self {
        Self { value: Mutex::new(value), changed: Condvar::new(), version: watch::Sender::new(0) }
    }

    /// Changes the value and wakes all who wait.
    pub fn update<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        self.version.send_modify(|version| *version += 1);
        result
    }

    /// Looks at the value.
    pub fn read<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.lock())
    }

    /// Blocks until `probe` finds something; panics after [`PATIENCE`] with `what` and the last value.
    #[track_caller]
    pub fn wait<R>(&self, what: &str, mut probe: impl FnMut(&T) -> Option<R>) -> R {
        let mut found = None;
        let (guard, _) = self
            .changed
            .wait_timeout_while(self.lock(), PATIENCE, |value| {
                found = probe(value);
                found.is_none()
            })
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = found {
            return found;
        }
        let last = format!("{:#?}", *guard);
        drop(guard);
        panic!("waited {PATIENCE:?} for {what}; last seen: {last}");
    }

    /// Waits until `probe` finds something; panics after [`PATIENCE`] with `what` and the last value.
    pub async fn until<R>(&self, what: &str, probe: impl FnMut(&T) -> Option<R>) -> R {
        match tokio::time::timeout(PATIENCE, self.found(probe)).await {
            Ok(found) => found,
            Err(_) => panic!("waited {PATIENCE:?} for {what}; last seen: {:#?}", *self.lock()),
        }
    }

    /// Waits without an end until `probe` finds something; for those whose waiting is ended by others.
    pub async fn found<R>(&self, mut probe: impl FnMut(&T) -> Option<R>) -> R {
        let mut version = self.version.subscribe();
        loop {
            version.borrow_and_update();
            if let Some(found) = self.read(&mut probe) {
                return found;
            }
            version.changed().await.expect("the sender lives in self");
        }
    }

    /// A panicking probe poisons the lock; the panic itself is report enough.
    fn lock(&self) -> MutexGuard<'_, T> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
