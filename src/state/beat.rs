//! The rhythm of a thread that works now and then, and when it is asked to.
//!
//! In: wishes to have the work done. Out: when to do it; for who wished, when it
//! is done. Not here: the work.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

/// Shared by the thread that works and those who wish.
#[derive(Debug)]
pub(in crate::state) struct Beat {
    wish: Mutex<Wish>,
    bell: Condvar,
    /// Moves with every wish, for who is at work.
    rings: watch::Sender<u64>,
    /// The number of the last wish that came true.
    done: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Wish {
    /// The number of the last wish to have everything done.
    flush: u64,
    end: bool,
}

impl Default for Beat {
    fn default() -> Self {
        Beat { wish: Mutex::default(), bell: Condvar::new(), rings: watch::channel(0).0, done: watch::channel(0).0 }
    }
}

impl Beat {
    /// Waits until what was there before is done, or cannot be.
    pub(in crate::state) async fn flush(&self) {
        let number = {
            let mut wish = self.wish();
            wish.flush += 1;
            wish.flush
        };
        let mut done = self.done.subscribe();
        self.ring();
        // The sender is ours, so the wait cannot fail.
        let _ = done.wait_for(|done| *done >= number).await;
    }

    /// Asks for the work to be done one last time.
    pub(in crate::state) fn end(&self) {
        self.wish().end = true;
        self.ring();
    }

    /// Tells who is at work of wishes that come meanwhile.
    pub(in crate::state) fn rings(&self) -> watch::Receiver<u64> {
        self.rings.subscribe()
    }

    fn ring(&self) {
        self.rings.send_modify(|rings| *rings += 1);
        self.bell.notify_all();
    }

    /// Waits until it is time to work, or somebody wishes so; which wish comes true by working now, and whether it is the
    /// last time. `last` is the wish that came true before.
    pub(in crate::state) fn next(&self, last: u64, every: Duration) -> (u64, bool) {
        let idle = |wish: &mut Wish| !wish.end && wish.flush == last;
        let (wish, _) = self.bell.wait_timeout_while(self.wish(), every, idle).unwrap_or_else(PoisonError::into_inner);
        (wish.flush, wish.end)
    }

    /// This wish came true.
    pub(in crate::state) fn done(&self, wish: u64) {
        self.done.send_replace(wish);
    }

    fn wish(&self) -> MutexGuard<'_, Wish> {
        self.wish.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
