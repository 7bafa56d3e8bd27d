//! What holds for every input, whoever made it: one property for each part of the gateway that reads what strangers write.
//!
//! In: bytes. Out: nothing, or a panic that says what does not hold. Not here: inventing bytes (cargo-fuzz does, by
//! `targets/`), trying those that are kept (`main.rs`, a test like any other).
#![expect(clippy::expect_used, reason = "what does not hold is said loudly")]

pub mod config_bytes;
pub mod head;
pub mod jwt_parse;
pub mod openapi;
pub mod params;
pub mod tail;

/// A property: it panics where it does not hold.
pub type Property = fn(&[u8]);

/// All of them, by the name that targets, corpora and dictionaries have.
pub const ALL: [(&str, Property); 6] = [
    ("config_bytes", config_bytes::holds),
    ("head", head::holds),
    ("jwt_parse", jwt_parse::holds),
    ("openapi", openapi::holds),
    ("params", params::holds),
    ("tail", tail::holds),
];
