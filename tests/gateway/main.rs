//! Behaviour through the front door: a gateway in this process, an origin that
//! misbehaves, and clients that see every byte.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails loudly; Clippy exempts only functions that are tests themselves"
)]

mod support;

mod admin;
mod check_online;
mod cors;
mod explain;
mod head;
mod jwks;
mod log;
mod metrics;
mod params;
mod reload;
mod retry;
mod routes;
mod server;
mod shutdown;
mod tinybird_api;
mod upstreams;
mod white_label;
