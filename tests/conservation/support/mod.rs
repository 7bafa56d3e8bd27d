//! What runs: the gateway as a process, credentials for it, bounded waits.
#![expect(unreachable_pub, reason = "`pub` says what tests may use")]

#[expect(dead_code, reason = "made for tests/gateway, which uses all of it")]
#[path = "../../gateway/support/credentials.rs"]
pub mod credentials;
#[expect(dead_code, reason = "made for tests/gateway, which uses all of it")]
#[path = "../../gateway/support/eventually.rs"]
mod eventually;
#[expect(dead_code, reason = "made for tests/gateway, which uses all of it")]
#[path = "../../gateway/support/process.rs"]
pub mod process;
#[expect(dead_code, reason = "made for tests/gateway, which uses all of it")]
#[path = "../../gateway/support/watched.rs"]
mod watched;
