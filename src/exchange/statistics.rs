//! What a query cost, in the words of the upstream that ran it.
//!
//! Not here: reading it out of an answer (`pipeline::statistics`), what that
//! is of somebody's quota (`state::counters`).

use std::time::Duration;

/// The `statistics` of an answer; none where it does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Rows that the query read.
    pub rows_read: Option<u64>,
    /// Bytes that the query read.
    pub bytes_read: Option<u64>,
    /// Time that the query took.
    pub elapsed: Option<Duration>,
}
