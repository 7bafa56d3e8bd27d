//! What runs: gateways, a Redis, an upstream.
#![expect(unreachable_pub, reason = "`pub` says what tests may use")]

pub mod fleet;
pub mod upstream;

#[expect(dead_code, reason = "made for tests/gateway, which uses all of it")]
#[path = "../../gateway/support/eventually.rs"]
mod eventually;
#[path = "../../acme/support/ports.rs"]
pub mod ports;
#[expect(dead_code, reason = "made for tests/gateway, which uses all of it")]
#[path = "../../gateway/support/process.rs"]
mod process;
#[expect(dead_code, reason = "made for tests/stores, which uses all of it")]
#[path = "../../stores/support/server.rs"]
mod server;
#[expect(dead_code, reason = "made for tests/gateway, which uses all of it")]
#[path = "../../gateway/support/watched.rs"]
mod watched;
