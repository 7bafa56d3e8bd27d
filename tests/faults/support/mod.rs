//! What runs: the gateway as a process, clients that say anything, certificates.
#![expect(unreachable_pub, reason = "`pub` says what tests may use")]

#[expect(dead_code, unused_imports, reason = "made for tests/gateway, which uses all of it")]
#[path = "../../gateway/support/client/mod.rs"]
pub mod client;
#[expect(dead_code, reason = "made for tests/gateway, which uses all of it")]
#[path = "../../gateway/support/credentials.rs"]
pub mod credentials;
#[expect(dead_code, reason = "made for tests/gateway, which uses all of it")]
#[path = "../../gateway/support/eventually.rs"]
pub mod eventually;
#[expect(dead_code, unused_imports, reason = "made for tests/gateway, which uses all of it")]
#[path = "../../gateway/support/h2_client/mod.rs"]
pub mod h2_client;
#[expect(dead_code, reason = "made for tests/gateway, which uses all of it")]
#[path = "../../gateway/support/process.rs"]
pub mod process;
#[expect(dead_code, reason = "made for tests/gateway, which uses all of it")]
#[path = "../../gateway/support/tls_origin.rs"]
pub mod tls_origin;
#[expect(dead_code, reason = "made for tests/gateway, which uses all of it")]
#[path = "../../gateway/support/unreachable.rs"]
pub mod unreachable;
#[expect(dead_code, reason = "made for tests/gateway, which uses all of it")]
#[path = "../../gateway/support/watched.rs"]
pub mod watched;
#[path = "../../gateway/support/wire/mod.rs"]
pub mod wire;
