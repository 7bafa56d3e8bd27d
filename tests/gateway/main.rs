//! Behaviour through the front door: a gateway in this process, an origin that
//! misbehaves, and clients that see every byte.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    reason = "a test fails loudly; Clippy exempts only functions that are tests themselves"
)]

mod support;

mod admin;
mod api_keys;
mod audit;
mod auth;
mod backends;
mod callers;
mod check_online;
mod client_certificates;
mod cors;
mod costs;
mod explain;
mod head;
mod hosts;
mod isolation;
mod jwks;
mod key_sets;
mod limits;
mod limits_durable;
mod limits_show;
mod load;
mod log;
mod metrics;
mod openapi;
mod overload;
mod params;
mod plans;
mod reload;
mod retry;
mod routes;
mod server;
mod shutdown;
mod stripping;
mod supervisor;
mod tenants;
mod tinybird_api;
mod tinybird_jwt;
mod tls;
mod tls_many;
mod tls_old;
mod tokens;
mod traces;
mod upstream_auth;
mod upstreams;
mod usage;
mod usage_export;
mod usage_plan;
mod white_label;
