//! What runs: gateways that follow each other, an upstream, callers who never stop calling.
#![expect(unreachable_pub, reason = "`pub` says what tests may use")]

pub mod calls;
pub mod line;

#[expect(dead_code, reason = "made for tests/gateway, which uses all of it")]
#[path = "../../gateway/support/eventually.rs"]
pub mod eventually;
#[path = "../../exactness/support/upstream.rs"]
pub mod upstream;
#[expect(dead_code, reason = "made for tests/gateway, which uses all of it")]
#[path = "../../gateway/support/watched.rs"]
mod watched;
