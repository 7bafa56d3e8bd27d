//! Where requests go: named upstreams, their backends and addresses.
//!
//! In: an `upstreams` section. Out: an [`Upstream`] that hands out peers.
//! Not here: whether to try again (`pipeline::retry`), what is sent
//! (`pipeline::rewrite`). Names are resolved in the background, never while a
//! request waits; the last good answer stays.

pub mod catalogue;

mod backend;
mod balance;
mod condition;
mod dial;
mod peer;

pub use backend::Backend;
pub use balance::{Nowhere, Seeker, Tried};
pub use condition::{Change, Visit};
pub use dial::socket_of;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pingora::upstreams::peer::HttpPeer;

use crate::clock::Clock;
use crate::config::section::upstreams as section;

use balance::Choice;
use condition::{Rules, Standing};

/// A named API behind the gateway.
#[derive(Debug)]
pub struct Upstream {
    name: Arc<str>,
    section: section::Upstream,
    timeouts: Timeouts,
    backends: Box<[Backend]>,
    /// None where there is one backend, and nobody wants to know how it is doing.
    watch: Option<Watch>,
    turn: AtomicUsize,
}

/// What of its backends' condition counts.
#[derive(Debug)]
struct Watch {
    /// When requests leave a backend out.
    rules: Option<Rules>,
    checks: Checks,
}

/// Whether health checks are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Checks {
    Made,
    None,
}

/// Time-outs that the edge enforces, see `timeouts` in the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For one try, until its response headers are complete.
    pub attempt: Duration,
    /// For all tries and the waits between them.
    pub total: Duration,
    /// Between two reads of a response body.
    pub idle: Duration,
}

/// Where a try goes.
#[derive(Debug)]
pub struct Pick {
    /// The index of the backend, see [`Upstream::backend`].
    pub backend: usize,
    /// One of its addresses.
    pub peer: Box<HttpPeer>,
    /// What is to be told how it went; none where nobody wants to know.
    pub visit: Option<Visit>,
}

impl Watch {
    fn compile(section: &section::Upstream, backends: usize) -> Option<Self> {
        let rules = section.ejection().map(Rules::compile);
        let checks = if section.health.is_some() { Checks::Made } else { Checks::None };
        (backends > 1 || rules.is_some() || checks == Checks::Made).then_some(Watch { rules, checks })
    }

    fn standing(&self, backend: &Backend, now: Instant) -> Standing {
        let is_down = self.checks == Checks::Made && backend.condition().is_down();
        if is_down || !backend.is_resolved() {
            return Standing::Out;
        }
        self.rules.map_or(Standing::In, |_| backend.condition().standing(now))
    }
}

impl Upstream {
    /// An upstream of this section, after one of the same name: if nothing is
    /// different it goes on, and else its addresses do while the host is the
    /// same, and what is known of its backends while their URLs are.
    pub fn compile_after(
        previous: Option<&Arc<Upstream>>,
        name: &str,
        section: &section::Upstream,
        clock: &Clock,
    ) -> Arc<Self> {
        match previous {
            Some(previous) if previous.section == *section => Arc::clone(previous),
            previous => {
                let before = previous.map_or(&[][..], |previous| &previous.backends);
                Arc::new(Upstream::compile(name, section, before, clock))
            }
        }
    }

    fn compile(name: &str, section: &section::Upstream, before: &[Backend], clock: &Clock) -> Self {
        let backend = |endpoint| Backend::compile((name, section), endpoint, before, clock);
        let backends: Box<[Backend]> = section.endpoints().map(backend).collect();
        Upstream {
            name: name.into(),
            timeouts: Timeouts {
                attempt: section.timeouts.attempt.duration(),
                total: section.timeouts.total.duration(),
                idle: section.timeouts.idle.duration(),
            },
            watch: Watch::compile(section, backends.len()),
            section: section.clone(),
            backends,
            turn: AtomicUsize::new(0),
        }
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What was written of it.
    pub fn section(&self) -> &section::Upstream {
        &self.section
    }

    /// Its backends, in the order of the file.
    pub fn backends(&self) -> &[Backend] {
        &self.backends
    }

    /// One of them, see [`Pick`].
    pub fn backend(&self, index: usize) -> Option<&Backend> {
        self.backends.get(index)
    }

    /// Its time-outs.
    pub fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    /// Where a try goes: another backend, or another address, than the tries before it, where there is one.
    ///
    /// # Errors
    /// Where there is nowhere to go.
    pub fn pick(&self, seeker: &Seeker) -> Result<Pick, Nowhere> {
        let turn = seeker.first.wrapping_add(seeker.number as usize);
        let Some(watch) = &self.watch else {
            let peer = self.backends.first().and_then(|backend| backend.peer(turn)).ok_or(Nowhere::Unresolved)?;
            return Ok(Pick { backend: 0, peer, visit: None });
        };
        let Choice { index, role } = balance::choose(&self.backends, watch, seeker)?;
        let backend = self.backends.get(index).ok_or(Nowhere::Unresolved)?;
        let visit = Visit::begin(backend.condition(), watch.rules, role);
        // The addresses of each take turns, too: with two backends, every second request would find the same.
        let turn = (seeker.first / self.backends.len().max(1)).wrapping_add(seeker.number as usize);
        let peer = backend.peer(turn).ok_or(Nowhere::Unresolved)?;
        Ok(Pick { backend: index, peer, visit: Some(visit) })
    }

    /// A starting point for [`Upstream::pick`].
    pub fn next_turn(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether anybody wants to know how its backends are doing.
    pub fn is_watched(&self) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.rules.is_some() || watch.checks == Checks::Made)
    }

    /// Whether a backend gets requests as long as another does.
    pub fn gets_requests(&self, backend: &Backend, now: Instant) -> bool {
        match &self.watch {
            None => backend.is_resolved(),
            Some(watch) => watch.standing(backend, now) == Standing::In,
        }
    }

    /// What becomes of requests while a backend is left out, for the log.
    pub fn who_is_left(&self, now: Instant) -> &'static str {
        let others = self.backends.iter().any(|backend| self.gets_requests(backend, now));
        let rules = self.watch.as_ref().and_then(|watch| watch.rules.as_ref());
        match (others, rules.map(|rules| rules.all_out)) {
            (true, _) => "requests go to the others",
            (false, Some(section::AllOut::Refuse)) => "none is left, and requests answer 503",
            (false, _) => "none is left, and all are tried",
        }
    }

    /// Takes over what health checks say of a backend; true where that is another thing than before.
    pub fn set_down(&self, backend: &Backend, down: bool) -> bool {
        backend.condition().set_down(down)
    }

    /// Whether there is an address to go to.
    pub fn is_resolved(&self) -> bool {
        self.backends.iter().any(Backend::is_resolved)
    }

    /// Whether a URL names a host that must be looked up.
    pub fn needs_resolving(&self) -> bool {
        self.backends.iter().any(Backend::needs_resolving)
    }

    /// Whether a host has no address, be it one of several.
    pub fn lacks_addresses(&self) -> bool {
        self.backends.iter().any(|backend| !backend.is_resolved())
    }

    /// Looks the host of a backend up and takes over the addresses; keeps the old ones on failure.
    ///
    /// # Errors
    /// What the resolver says, or that it found nothing.
    pub async fn resolve(&self, index: usize) -> io::Result<()> {
        let Some(backend) = self.backends.get(index) else { return Ok(()) };
        backend.resolve().await.map_err(|error| match self.backends.len() {
            1 => error,
            _ => io::Error::new(error.kind(), format!("{}: {error}", backend.endpoint().host())),
        })
    }
}
