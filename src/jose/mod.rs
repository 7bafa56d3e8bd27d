//! Signed tokens (JOSE): what a token says, which key signed it.
//!
//! In: a compact token (RFC 7515), keys (RFC 7517, PEM, shared secrets). Out:
//! parts that are read in one way only, and whether a signature is good. Not
//! here: whether what a token says is enough (`pipeline::authn`), fetching keys
//! (`state`). A token's header never chooses the algorithm: the key does.

pub mod keys;
