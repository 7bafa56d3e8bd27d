//! Faults of upstreams, of callers and of the machine that the operator gave it, each while others are being served: whoever is at fault gets what is documented, and
//! nobody else notices.
//!
//! A gateway that is a process of its own, an upstream that says any bytes, callers who say any bytes, and beside every fault
//! a few healthy callers: each of their answers must be their own, and how long the slowest took is printed. In the end the
//! gateway has not panicked, holds nothing for anybody, and serves the next request. `TOLLGATE_LONG=1` brings 15 000
//! connections instead of 2 000, larger floods, and waits for what takes half a minute.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test fails loudly, and processes beside it know no clock but the system's"
)]

mod aborts;
mod answers;
mod bytes;
mod costs;
mod http2;
mod load;
mod mounts;
mod operator;
mod origin;
mod slow;
mod smuggling;
mod stand;
mod storm;
mod support;
mod trust;
mod upstream;

/// Whether this is the long form.
fn is_long() -> bool {
    std::env::var_os("TOLLGATE_LONG").is_some()
}

/// This in the short form, that in the long one.
fn sized<T>(short: T, long: T) -> T {
    if is_long() { long } else { short }
}
