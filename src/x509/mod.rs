//! Certificates that callers show (X.509, RFC 5280): what one says, who signed it.
//!
//! In: DER or PEM. Out: a [`Chain`] that can be read, and whether [`Authorities`]
//! believe it. Not here: handshakes, in which callers prove that they hold the
//! key (`tls`), what a good certificate opens (`pipeline::authn`).

pub mod authorities;
pub mod chain;

mod facts;
mod twin;

pub use authorities::{Authorities, Fault, Term};
pub use chain::{Chain, Unreadable};

#[cfg(test)]
mod tests;
