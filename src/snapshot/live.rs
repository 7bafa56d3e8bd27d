//! The one cell that holds what is running now.

use std::sync::Arc;

use arc_swap::ArcSwap;

/// Holds the current value; a request takes it once and keeps it to its end.
#[derive(Debug)]
pub struct Live<T>(ArcSwap<T>);

impl<T> Live<T> {
    /// A cell that holds `value`.
    pub fn new(value: T) -> Self {
        Live(ArcSwap::from_pointee(value))
    }

    /// From now on requests begin with `value`; what they began with before is returned.
    pub fn replace(&self, value: T) -> Arc<T> {
        self.0.swap(Arc::new(value))
    }

    /// What is current.
    pub fn load(&self) -> Arc<T> {
        self.0.load_full()
    }
}
