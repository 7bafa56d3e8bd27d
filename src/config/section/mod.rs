//! One file per YAML key: what it may hold, with its defaults.
//!
//! In: decoded YAML. Out: typed sections. Not here: rules that look at more
//! than one section (`check`). The comments on fields are the manual's text.

pub mod admin;
pub mod auth;
pub mod cors;
pub mod hosts;
pub mod keys;
pub mod limits;
pub mod listeners;
pub mod log;
pub mod params;
pub mod plans;
pub mod retry;
pub mod revoked;
pub mod routes;
pub mod server;
pub mod state;
pub mod tenants;
pub mod tls;
pub mod upstreams;
pub mod usage;
pub mod white_label;
