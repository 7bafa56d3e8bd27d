//! Slows down who guesses: so many wrong tries per address and minute.
//!
//! In: addresses that tried. Out: how long one must wait. Not here: what was
//! tried. However many addresses try, what is remembered of them is bounded.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::clock::Clock;

use super::network::network;

const WINDOW: Duration = Duration::from_secs(60);
/// Between two looks for what is over: a full table is not searched at every try.
const SWEEP: Duration = Duration::from_secs(1);
/// Addresses that are counted one by one, where few can try at all.
pub const FEW: usize = 1024;
/// As [`FEW`], where everybody can.
pub const MANY: usize = 65_536;

/// Counts wrong tries by address; `None` stands for all that have no count of their own.
#[derive(Debug)]
pub struct Throttle {
    tries: Mutex<Tries>,
    /// Wrong tries that an address has in a [`WINDOW`].
    max: u32,
    /// Addresses that are counted one by one; beyond them all count together.
    addresses: usize,
    clock: Clock,
}

#[derive(Debug, Default)]
struct Tries {
    wrong: HashMap<Option<IpAddr>, Wrong, ahash::RandomState>,
    swept: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Wrong {
    since: Instant,
    count: u32,
}

impl Throttle {
    /// Nobody has tried yet; each has `max` wrong tries a minute, and so many addresses have a count of their own.
    pub fn new(clock: Clock, max: u32, addresses: usize) -> Self {
        Throttle { tries: Mutex::default(), max, addresses, clock }
    }

    /// How long this address must wait before it may try again.
    pub fn must_wait(&self, address: Option<IpAddr>) -> Option<Duration> {
        let now = self.clock.now();
        let Tries { wrong, .. } = &*self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        let address = address.map(counted_as);
        // What strangers do must not lock out who sits at the machine.
        let shared = || wrong.get(&None).filter(|_| !address.is_some_and(|address| address.is_loopback()));
        let Wrong { since, count } = wrong.get(&address).or_else(shared)?;
        let age = now.saturating_duration_since(*since);
        (*count >= self.max && age < WINDOW).then(|| WINDOW.saturating_sub(age))
    }

    /// Counts a wrong try.
    pub fn count(&self, address: Option<IpAddr>) {
        let now = self.clock.now();
        let is_over = |wrong: &Wrong| now.saturating_duration_since(wrong.since) >= WINDOW;
        let Tries { wrong, swept } = &mut *self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        if wrong.len() >= self.addresses && swept.is_none_or(|swept| now.saturating_duration_since(swept) >= SWEEP) {
            wrong.retain(|_, wrong| !is_over(wrong));
            *swept = Some(now);
        }
        let address = address.map(counted_as);
        let is_local = address.is_some_and(|address| address.is_loopback());
        let key = if is_local || wrong.len() < self.addresses || wrong.contains_key(&address) { address } else { None };
        let counted = wrong.entry(key).or_insert(Wrong { since: now, count: 0 });
        if is_over(counted) {
            *counted = Wrong { since: now, count: 0 };
        }
        counted.count += 1;
    }
}

/// What is counted as one; the machine itself is told apart from strangers.
fn counted_as(address: IpAddr) -> IpAddr {
    let address = address.to_canonical();
    if address.is_loopback() { address } else { network(address) }
}

#[cfg(test)]
mod tests {
    use crate::clock::TestClock;

    use super::*;

    const MAX_WRONG: u32 = 10;
    const ONE: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)));
    const OTHER: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2)));

    #[test]
    fn a2_ten_wrong_tries_a_minute_and_no_more() {
        let time = TestClock::new();
        let throttle = Throttle::new(time.clock(), MAX_WRONG, FEW);
        for _ in 0..MAX_WRONG {
            assert_eq!(throttle.must_wait(ONE), None);
            throttle.count(ONE);
        }
        assert_eq!(throttle.must_wait(ONE), Some(WINDOW));
        assert_eq!(throttle.must_wait(OTHER), None, "others are not held up");
        time.advance(WINDOW);
        assert_eq!(throttle.must_wait(ONE), None);
    }

    #[test]
    fn a2_a_network_of_one_caller_counts_as_one() {
        let throttle = Throttle::new(TestClock::new().clock(), MAX_WRONG, FEW);
        for index in 0..MAX_WRONG {
            throttle.count(format!("2001:db8::{index:x}").parse().ok());
        }
        assert!(throttle.must_wait("2001:db8::ffff".parse().ok()).is_some());
        assert_eq!(throttle.must_wait("2001:db8:0:1::1".parse().ok()), None);
    }

    #[test]
    fn d5_many_addresses_share_one_count() {
        let time = TestClock::new();
        let throttle = Throttle::new(time.clock(), MAX_WRONG, FEW);
        for index in 0..10_000_u32 {
            throttle.count(Some(IpAddr::V4(index.into())));
        }
        assert!(throttle.tries.lock().unwrap().wrong.len() <= FEW + 1);
        assert!(throttle.must_wait(Some(IpAddr::V4(u32::MAX.into()))).is_some());
        assert_eq!(throttle.must_wait("127.0.0.1".parse().ok()), None, "the operator's own machine");
        time.advance(WINDOW);
        assert_eq!(throttle.must_wait(ONE), None);
        throttle.count(ONE);
        assert!(throttle.tries.lock().unwrap().wrong.len() <= 2, "what is over is forgotten");
    }

    #[test]
    fn k2_as_many_addresses_as_wanted_have_a_count_of_their_own() {
        let throttle = Throttle::new(TestClock::new().clock(), MAX_WRONG, MANY);
        for index in 0..60_000_u32 {
            throttle.count(Some(IpAddr::V4((0x0a00_0000 + index).into())));
        }
        assert_eq!(throttle.must_wait("192.0.2.1".parse().ok()), None);
        throttle.count("192.0.2.1".parse().ok());
        assert_eq!(throttle.tries.lock().unwrap().wrong.len(), 60_001);
    }
}
