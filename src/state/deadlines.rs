//! Ends connections to upstreams whose time is up.
//!
//! In: a handle to a socket and a time. Out: the socket shut down when the time
//! passes, unless it was disarmed before. Not here: which time (`proxy`).
//! Shutting a socket down wakes its reader with an end of stream, which no
//! timer inside Pingora can do for an upstream that drips its headers.

use std::io::ErrorKind;
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use slab::Slab;

/// Shards, so that worker threads rarely meet.
const SHARDS: usize = 8;

/// All connections with a deadline.
#[derive(Debug, Default)]
pub struct Deadlines {
    shards: [Mutex<Slab<Entry>>; SHARDS],
    turn: AtomicUsize,
}

#[derive(Debug)]
struct Entry {
    at: Instant,
    on: Awaited,
    socket: Arc<TcpStream>,
    passed: Passed,
}

/// What the upstream is to send in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    /// The whole head of an answer, however busily it drips.
    Head,
    /// Another piece of the body.
    Piece,
}

/// Whether a deadline passed before it was disarmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed {
    /// In time.
    No,
    /// Too late: the connection is shut down.
    Yes,
}

/// A deadline that stands until it is disarmed or dropped.
#[derive(Debug)]
pub struct Armed {
    deadlines: Arc<Deadlines>,
    shard: usize,
    key: usize,
}

impl Deadlines {
    /// Sets a deadline for a connection.
    pub fn arm(self: &Arc<Self>, socket: Arc<TcpStream>, at: Instant) -> Armed {
        let shard = self.turn.fetch_add(1, Ordering::Relaxed) % SHARDS;
        let key = self
            .shard(shard)
            .map_or(0, |mut slab| slab.insert(Entry { at, on: Awaited::Head, socket, passed: Passed::No }));
        Armed { deadlines: Arc::clone(self), shard, key }
    }

    /// Ends every connection whose time has passed at `now`.
    pub fn sweep(&self, now: Instant) {
        for index in 0..SHARDS {
            let Some(mut slab) = self.shard(index) else { continue };
            for (_, entry) in slab.iter_mut().filter(|(_, entry)| entry.at <= now && entry.is_late()) {
                entry.passed = Passed::Yes;
                // An error means that the connection has already ended.
                let _ = entry.socket.shutdown(Shutdown::Both);
            }
        }
    }

    fn shard(&self, index: usize) -> Option<MutexGuard<'_, Slab<Entry>>> {
        self.shards.get(index).map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Entry {
    /// Whether the connection is to end, its time being over.
    fn is_late(&self) -> bool {
        // What lies unread, an end among it, is no silence of the upstream: it waits for a slow caller.
        let is_silent = || self.socket.peek(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        self.passed == Passed::No && (self.on == Awaited::Head || is_silent())
    }
}

impl Armed {
    /// Moves the deadline and lets it wait for a piece of the body; one that has passed stays passed.
    pub fn extend(&self, at: Instant) -> Passed {
        let mut slab = self.deadlines.shard(self.shard);
        slab.as_mut().and_then(|slab| slab.get_mut(self.key)).map_or(Passed::No, |entry| {
            (entry.at, entry.on) = (at, Awaited::Piece);
            entry.passed
        })
    }

    /// Moves the deadline for the head of the answer; one that has passed stays passed.
    pub fn postpone(&self, at: Instant) {
        if let Some(entry) = self.deadlines.shard(self.shard).as_mut().and_then(|slab| slab.get_mut(self.key)) {
            entry.at = at;
        }
    }

    /// Ends the wait, and tells in the same breath whether it was too late.
    pub fn disarm(self) -> Passed {
        let mut slab = self.deadlines.shard(self.shard);
        let entry = slab.as_mut().and_then(|slab| slab.get_mut(self.key));
        // What has passed is not looked at again; the drop removes it.
        entry.map_or(Passed::No, |entry| std::mem::replace(&mut entry.passed, Passed::Yes))
    }
}

impl Drop for Armed {
    fn drop(&mut self) {
        if let Some(mut slab) = self.deadlines.shard(self.shard) {
            slab.try_remove(self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;
    use std::time::Duration;

    use super::*;
    use crate::clock::TestClock;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    }

    #[test]
    fn a_passed_deadline_wakes_the_reader() {
        let time = TestClock::new();
        let deadlines = Arc::new(Deadlines::default());
        let (mut client, _server) = pair();
        let armed = deadlines.arm(Arc::new(client.try_clone().unwrap()), time.clock().now() + Duration::from_secs(1));
        deadlines.sweep(time.clock().now());
        client.set_nonblocking(true).unwrap();
        assert!(client.read(&mut [0; 8]).is_err());
        time.advance(Duration::from_secs(1));
        deadlines.sweep(time.clock().now());
        assert_eq!(armed.disarm(), Passed::Yes);
        assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
    }

    #[test]
    fn a_body_that_waits_to_be_read_is_not_late() {
        let time = TestClock::new();
        let deadlines = Arc::new(Deadlines::default());
        let (mut client, mut server) = pair();
        client.set_nonblocking(true).unwrap();
        let armed = deadlines.arm(Arc::new(client.try_clone().unwrap()), time.clock().now());
        assert_eq!(armed.extend(time.clock().now()), Passed::No);
        std::io::Write::write_all(&mut server, b"x").unwrap();
        while client.peek(&mut [0]).is_err() {
            std::thread::yield_now();
        }
        deadlines.sweep(time.clock().now());
        assert_eq!(client.read(&mut [0; 8]).unwrap(), 1);
        deadlines.sweep(time.clock().now());
        assert_eq!(armed.disarm(), Passed::Yes);
        assert_eq!(server.read(&mut [0; 8]).unwrap(), 0);
    }

    #[test]
    fn a_dropped_deadline_is_forgotten() {
        let time = TestClock::new();
        let deadlines = Arc::new(Deadlines::default());
        let (client, mut server) = pair();
        drop(deadlines.arm(Arc::new(client.try_clone().unwrap()), time.clock().now()));
        deadlines.sweep(time.clock().now() + Duration::from_secs(9));
        std::io::Write::write_all(&mut &client, b"x").unwrap();
        assert_eq!(server.read(&mut [0; 8]).unwrap(), 1);
        assert!(deadlines.shards.iter().all(|shard| shard.lock().unwrap().is_empty()));
    }
}
