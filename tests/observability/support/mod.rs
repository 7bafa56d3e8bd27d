//! What runs: a gateway, the bundled upstream, an identity provider, a Prometheus.
#![expect(unreachable_pub, reason = "`pub` says what tests may use")]

pub mod http;
pub mod prometheus;
pub mod stack;

#[expect(dead_code, reason = "made for tests/gateway, which uses all of it")]
#[path = "../../gateway/support/eventually.rs"]
mod eventually;
#[expect(dead_code, reason = "made for tests/gateway, which uses all of it")]
#[path = "../../gateway/support/identity_provider.rs"]
mod identity_provider;
#[expect(dead_code, reason = "made for tests/gateway, which uses all of it")]
#[path = "../../gateway/support/process.rs"]
mod process;
#[expect(dead_code, reason = "made for tests/gateway, which uses all of it")]
#[path = "../../gateway/support/watched.rs"]
mod watched;
