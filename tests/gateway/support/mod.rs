//! What gateway tests stand on: an origin that misbehaves, and clients that keep every byte.
//!
//! Not here: the gateway under test, and any assertion about it.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test kit fails loudly; Clippy exempts only functions that are tests themselves"
)]
#![expect(dead_code, reason = "the kit offers more than the tests of today ask for")]
#![expect(unused_imports, reason = "as above, for types that are named in signatures only")]
#![expect(unreachable_pub, reason = "`pub` says what tests may use")]

pub mod caller_certificate;
pub mod client;
pub mod credentials;
pub mod eventually;
pub mod gateway;
pub mod h2_client;
pub mod identity_provider;
pub mod origin;
pub mod pattern;
pub mod process;
pub mod tls_caller;
pub mod tls_origin;
pub mod unreachable;
pub mod watched;
pub mod wire;
