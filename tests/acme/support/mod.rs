//! What the tests of ACME stand on.
#![expect(unreachable_pub, reason = "`pub` says what tests may use")]

pub mod dns;
pub mod front;
pub mod life;
pub mod pebble;
pub mod ports;
#[path = "../../stores/support/said.rs"]
pub mod said;
