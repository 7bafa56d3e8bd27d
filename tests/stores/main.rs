//! Counters that several gateways share: a real Redis, and the same behaviour with it, without it and in memory.
//!
//! Not here: which limits are asked, and what callers are told (`gateway/limits.rs`).
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails loudly, and processes beside it know no clock but the system's"
)]

mod arithmetic;
mod meanwhile;
mod outage;
mod suite;
mod support;
mod tls;
mod troubles;
