//! What the tests of the gateway have, too.
#![expect(dead_code, unreachable_pub, clippy::expect_used, reason = "made for tests/gateway, which uses all of it")]

#[path = "../../gateway/support/identity_provider.rs"]
pub(crate) mod identity_provider;
#[path = "../../gateway/support/watched.rs"]
pub(crate) mod watched;
