//! Tollgate: an API gateway that puts Tinybird pipes, and any other analytics
//! HTTP API, on a company's own domain.
//!
//! The file tree is the request's journey. [`config`] is what the operator
//! wrote, [`snapshot`] what it compiles to, [`pipeline`] what happens to a
//! request, one file per step, and [`proxy`] the only code that knows
//! Pingora's hooks. [`exchange`] holds the nouns of one request and [`state`]
//! what outlives a configuration. Modules stand here in dependency order: each
//! imports only from those above it, and `tests/architecture.rs` keeps it so.

pub mod clock;
pub mod config;
pub mod outbound;

pub mod exchange;
pub mod jose;
pub mod state;
pub mod x509;

pub mod pipeline;
pub mod tls;
pub mod upstream;

pub mod snapshot;
pub mod telemetry;

pub mod proxy;

pub mod admin;
pub mod app;
pub mod demo;

pub mod cli;
