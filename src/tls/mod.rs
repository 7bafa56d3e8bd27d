//! Certificates, and which one answers a handshake.
//!
//! In: what `hosts` and `tls` say. Out: certificates with their keys, for the
//! listeners of `proxy`. Not here: which site serves a host (`snapshot`),
//! sockets (`proxy`).

pub mod certificates;
pub mod internal;
pub mod resolver;
