//! How much is asked of the gateway at once, and whether that is too much.
//!
//! In: connections as they come and go, what memory the process has, the
//! configured marks. Out: an [`Entry`] for each connection that may stay, and
//! why a request is not taken. Not here: what callers may ask (`counters`), what
//! an upstream takes (`queue`), answers (`proxy`).

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::config::scalar::AddressRange;
use crate::config::section::server::Server;

use super::memory_limit;
use super::network::network;

/// Parts of the table of addresses, so that connections seldom wait for each other.
const SHARDS: usize = 16;
/// What is shared out where nothing is written: some systems allow a billion files, and have no memory for as many connections.
const MOST_FILES: u64 = 1 << 17;

/// Lets the process open as many files as the system would let it, of which it uses few until callers come.
pub fn raise_open_files() {
    if let Ok((now, most)) = getrlimit(Resource::RLIMIT_NOFILE)
        && now < most
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, most, most)
    {
        log::warn!("the limit of open files stays at {now}, though it might be {most}: {error}");
    }
}

/// What is on its way, and how much of it there may be.
#[derive(Debug)]
pub struct Load {
    /// The system's limit.
    open_files: u64,
    marks: ArcSwap<Marks>,
    connections: AtomicU64,
    requests: AtomicU64,
    addresses: [Mutex<HashMap<IpAddr, u64>>; SHARDS],
    hasher: RandomState,
    is_short_of_memory: AtomicBool,
    turned_away: [AtomicU64; 3],
}

/// How much there may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marks {
    /// Connections.
    pub connections: u64,
    /// Those of one address.
    pub connections_per_address: u64,
    /// Requests on their way.
    pub in_flight: u64,
    /// Bytes of the process.
    pub memory: Option<u64>,
    /// Addresses that may have any number of connections.
    trusted: Vec<AddressRange>,
}

impl Marks {
    /// The marks of a configuration, where the system allows so many open files.
    ///
    /// A connection is one, and a request in flight has two more towards its upstream; a quarter is left for connections that
    /// are kept, listeners and files. One address has a quarter of the connections: over HTTP/1.1 that is half of the requests.
    fn of(server: &Server, open_files: u64) -> Self {
        let given = |number: Option<std::num::NonZeroU32>| number.map(|number| u64::from(number.get()));
        let room = (open_files.min(MOST_FILES) / 8 * 3).max(16);
        let connections = given(server.overload.connections).unwrap_or(room);
        Marks {
            connections,
            connections_per_address: given(server.overload.connections_per_address).unwrap_or(connections.div_ceil(4)),
            in_flight: given(server.overload.in_flight).unwrap_or(room / 2),
            memory: server.overload.memory.map(|size| size.bytes()),
            trusted: server.trusted_proxies.clone(),
        }
    }
}

/// Why a connection is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// Its address has as many as it may have.
    Address,
    /// There are as many as there may be.
    All,
    /// The process has as much memory as it may have.
    Memory,
}

impl Full {
    /// Every reason.
    pub const EACH: [Full; 3] = [Full::Address, Full::All, Full::Memory];

    /// As metrics call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Full::Address => "connections_per_address",
            Full::All => "connections",
            Full::Memory => "memory",
        }
    }
}

/// Why a request is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strain {
    /// So many are on their way.
    InFlight,
    /// The process has so much memory.
    Memory,
}

impl Strain {
    /// As the access log says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Strain::InFlight => "as many requests are on their way as server.overload.in_flight allows",
            Strain::Memory => "the process has as much memory as server.overload.memory allows",
        }
    }
}

/// A connection that is counted until this is dropped.
#[derive(Debug)]
pub struct Entry {
    load: Arc<Load>,
    /// The address that it is counted for.
    address: Option<IpAddr>,
}

impl Load {
    /// Nothing yet, with what the system allows now.
    pub fn open() -> Self {
        // Where it does not tell, it is rather too few.
        Load::new(getrlimit(Resource::RLIMIT_NOFILE).map_or(1_024, |(now, _)| now))
    }

    /// Nothing yet, where the system allows so many open files.
    pub fn new(open_files: u64) -> Self {
        Load {
            open_files,
            marks: ArcSwap::from_pointee(Marks::of(&Server::default(), open_files)),
            connections: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            addresses: Default::default(),
            hasher: RandomState::new(),
            is_short_of_memory: AtomicBool::new(false),
            turned_away: Default::default(),
        }
    }

    /// Takes over the marks of a configuration. Who is there stays.
    pub fn follow(&self, server: &Server) {
        let marks = Arc::new(Marks::of(server, self.open_files));
        let before = self.marks.swap(Arc::clone(&marks));
        if marks.memory.is_none() {
            self.is_short_of_memory.store(false, Ordering::Relaxed);
        }
        if before != marks {
            warnings(&marks, self.open_files, memory_limit::of_process()).iter().for_each(|text| log::warn!("{text}"));
        }
    }

    /// How much there may be.
    pub fn marks(&self) -> Arc<Marks> {
        self.marks.load_full()
    }

    /// Lets a connection in; of one without an address only the number counts.
    ///
    /// # Errors
    /// There is no room for it.
    pub fn enter(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Entry, Full> {
        let marks = self.marks.load();
        let address = address.map(|address| address.to_canonical());
        let counted =
            address.filter(|address| !marks.trusted.iter().any(|range| range.contains(*address))).map(network);
        let entry = Entry { load: Arc::clone(self), address: counted };
        // Counted before it is looked at, so that two that come at once do not both find the last place.
        let all = self.connections.fetch_add(1, Ordering::Relaxed) + 1;
        let of_this = counted.map_or(0, |address| self.change(address, |count| count.saturating_add(1)));
        let full = match () {
            () if self.is_short_of_memory.load(Ordering::Relaxed) => Full::Memory,
            () if of_this > marks.connections_per_address => Full::Address,
            () if all > marks.connections => Full::All,
            () => return Ok(entry),
        };
        self.turned_away(full).fetch_add(1, Ordering::Relaxed);
        Err(full)
    }

    /// Connections that are there.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Connections that were turned away for this reason.
    pub fn refused(&self, why: Full) -> u64 {
        self.turned_away(why).load(Ordering::Relaxed)
    }

    /// Takes a request, unless that is too much. Those that are not taken do not count, however long their refusals take.
    ///
    /// # Errors
    /// It is too much.
    pub fn begin(self: &Arc<Self>) -> Result<Underway, Strain> {
        if self.is_short_of_memory.load(Ordering::Relaxed) {
            return Err(Strain::Memory);
        }
        let request = Underway(Arc::clone(self));
        match self.requests.fetch_add(1, Ordering::Relaxed) < self.marks.load().in_flight {
            true => Ok(request),
            false => Err(Strain::InFlight),
        }
    }

    /// Takes note of the memory that the process has; says whether that is another state than before.
    pub fn note_memory(&self, bytes: u64) -> Memory {
        let was_short = self.is_short_of_memory.load(Ordering::Relaxed);
        let mark = self.marks.load().memory;
        let is_short = match (mark, was_short) {
            (None, _) => false,
            (Some(mark), false) => bytes > mark,
            // Else every other one would be taken.
            (Some(mark), true) => bytes > mark - mark / 20,
        };
        self.is_short_of_memory.store(is_short, Ordering::Relaxed);
        match (was_short, is_short) {
            (false, true) => Memory::GotShort,
            (true, false) => Memory::Recovered,
            (false, false) | (true, true) => Memory::AsBefore,
        }
    }

    fn turned_away(&self, why: Full) -> &AtomicU64 {
        let [address, all, memory] = &self.turned_away;
        match why {
            Full::Address => address,
            Full::All => all,
            Full::Memory => memory,
        }
    }

    /// Changes the number of an address; there is no entry where it is zero.
    fn change(&self, address: IpAddr, change: impl Fn(u64) -> u64) -> u64 {
        let shard = self.hasher.hash_one(address) as usize % SHARDS;
        let Some(shard) = self.addresses.get(shard) else { return 0 };
        let mut counts = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_insert(0);
        *count = change(*count);
        let count = *count;
        if count == 0 {
            counts.remove(&address);
        }
        count
    }
}

/// A request that is counted until this is dropped.
#[derive(Debug)]
pub struct Underway(Arc<Load>);

impl Drop for Underway {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.load.connections.fetch_sub(1, Ordering::Relaxed);
        if let Some(address) = self.address {
            self.load.change(address, |count| count.saturating_sub(1));
        }
    }
}

/// What is wrong with marks that the system will not let the process come to.
fn warnings(marks: &Marks, open_files: u64, memory: Option<u64>) -> Vec<String> {
    let connections = (marks.connections > open_files).then(|| {
        let marked = marks.connections;
        format!(
            "server.overload.connections is {marked}, but the process may open {open_files} files only: callers are kept waiting \
             before that mark is reached. Allow more (ulimit -n), or lower it"
        )
    });
    let memory = marks.memory.zip(memory).filter(|(mark, most)| mark >= most).map(|(mark, most)| {
        format!(
            "server.overload.memory is {} MiB, but the system ends the process at {} MiB: write some four fifths of that",
            mark >> 20,
            most >> 20
        )
    });
    connections.into_iter().chain(memory).collect()
}

/// What became of the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Nothing new.
    AsBefore,
    /// There is too little of it.
    GotShort,
    /// There is enough again.
    Recovered,
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
