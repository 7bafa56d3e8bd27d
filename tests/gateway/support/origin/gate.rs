//! A point at which an answer waits for the test, instead of a guessed delay.
//!
//! In: `open`. Out: whether and how often an answer has come to wait here.

use std::sync::Arc;

use super::super::watched::Watched;

/// A gate in an answer; clones are the same gate. Once open it stays open.
#[derive(Clone, Debug)]
pub struct Gate {
    state: Arc<Watched<GateState>>,
}

#[derive(Debug, Default)]
struct GateState {
    open: bool,
    reached: usize,
}

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self { state: Arc::new(Watched::new(GateState::default())) }
    }

    /// Lets all answers through that wait here or will come.
    pub fn open(&self) {
        self.state.update(|state| state.open = true);
    }

    /// How many answers have come to this gate so far; what stands before it has been written by then.
    pub fn reached(&self) -> usize {
        self.state.read(|state| state.reached)
    }

    /// Blocks until `count` answers have come to this gate. Panics after 10 s.
    #[track_caller]
    pub fn wait_until_reached(&self, count: usize) {
        self.state.wait("answers at a gate", |state| (state.reached >= count).then_some(()));
    }

    /// `wait_until_reached` for async tests whose runtime must not be blocked.
    pub async fn until_reached(&self, count: usize) {
        self.state.until("answers at a gate", |state| (state.reached >= count).then_some(())).await;
    }

    /// Waits until the gate is open, however long that takes.
    pub(super) async fn pass(&self) {
        self.state.update(|state| state.reached += 1);
        self.state.found(|state| state.open.then_some(())).await;
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}
