//! Certificates by ACME, from a real authority: Debian's `pebble`, which `.ci/setup acme` installs.
//!
//! Names of tests that prove a row of a threat model begin with its id.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails loudly; Clippy exempts only functions that are tests themselves"
)]

mod accounts;
mod authorities;
mod disk;
mod dns;
mod gateway;
mod issue;
mod killed;
mod on_demand;
mod support;
