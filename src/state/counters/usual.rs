//! What requests of a route usually cost.
//!
//! In: costs, as they become known. Out: an average that follows them. Not
//! here: which cost (`pipeline::limits`).

use std::sync::atomic::{AtomicU64, Ordering};

/// One part in so many of the average is the newest cost.
const INERTIA: u64 = 8;

/// An average that follows the newest.
#[derive(Debug)]
pub struct Usual {
    units: AtomicU64,
}

impl Usual {
    /// Begins at what is assumed.
    pub fn new(assumed: u64) -> Self {
        Usual { units: AtomicU64::new(assumed) }
    }

    /// The usual cost.
    pub fn units(&self) -> u64 {
        self.units.load(Ordering::Relaxed)
    }

    /// Another cost has become known.
    pub fn learn(&self, actual: u64) {
        let before = self.units();
        // Two at once may lose one of them; an average survives that.
        let after = before - before / INERTIA + actual / INERTIA;
        let after = if before == 0 { actual } else { after };
        self.units.store(after, Ordering::Relaxed);
    }
}
