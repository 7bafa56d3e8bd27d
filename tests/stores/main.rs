//! Counters and a ledger that several gateways share: a real Redis and a real Postgres, and the same behaviour with them,
//! without them and alone.
//!
//! Not here: which limits are asked, and what callers are told (`gateway/limits.rs`).
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails loudly, and processes beside it know no clock but the system's"
)]

mod arithmetic;
#[cfg(feature = "postgres")]
mod ledger;
#[cfg(feature = "postgres")]
mod ledger_export;
#[cfg(feature = "postgres")]
mod ledger_outage;
#[cfg(feature = "postgres")]
mod ledger_troubles;
mod meanwhile;
mod outage;
mod suite;
mod support;
mod tls;
mod troubles;
