//! What the tests of counters stand on.
#![expect(unreachable_pub, reason = "`pub` says what tests may use")]

pub mod asks;
#[cfg(feature = "postgres")]
pub mod ledger;
#[path = "../../acme/support/ports.rs"]
pub mod ports;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod said;
pub mod server;
pub mod slow;
pub mod store;
