//! What watches a gateway: the rules, the dashboards and their page, and a real Prometheus that scrapes a real gateway.
//!
//! `UPDATE_EXPECT=1 cargo test --test observability` writes the tables of docs/observability.md anew. Not here: which
//! metrics a gateway feeds when (`gateway/metrics.rs`), and how the stack is put together (`deploy.rs`).
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails loudly, and processes beside it know no clock but the system's"
)]

mod expression;
mod families;
mod files;
mod page;
mod rules;
mod scrape;
mod support;
