//! Ports for servers that listen later.
//!
//! In: nothing. Out: a port that nobody else gets by chance meanwhile: the system gives callers and `:0` only ports from
//! 32768 on (`ip_local_port_range`).

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

const FIRST: u32 = 12_000;
const COUNT: u32 = 20_000;

/// Given to nobody before, in this process.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A port that is free.
pub fn free_port() -> u16 {
    // Programs that run side by side begin at different places.
    let begin = std::process::id().wrapping_mul(101);
    loop {
        let number = begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = u16::try_from(FIRST + number).expect("below 65536");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
