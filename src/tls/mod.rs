//! Certificates of our own hosts: where they come from, and which one a
//! handshake gets.
//!
//! In: names that are to have certificates. Out: a [`store::Store`] that has
//! them. Not here: which host a request is for (`snapshot`), certificates of
//! upstreams (`upstream`), the TLS of our own calls (`outbound`).

pub mod acme;
pub mod store;
