//! Certificates of our own hosts: where they come from, and which one a
//! handshake gets.
//!
//! In: what `hosts` and `tls` say. Out: certificates with their keys, for the
//! listeners of `proxy`, and what asks callers for theirs. Not here: which site serves a host (`snapshot`), sockets
//! (`proxy`), certificates of upstreams (`upstream`), the TLS of our own calls
//! (`outbound`).

pub mod acme;
pub mod asking;
pub mod certificates;
pub mod domains;
pub mod hello;
pub mod internal;
pub mod resolver;
pub mod store;
mod whole_file;
