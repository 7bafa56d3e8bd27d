//! In front of an upstream: so many requests at once, so many in a second, and a line for those who have to wait.
//!
//! In: a request with its tenant and its patience. Out: a [`Place`], which is
//! free again when it is dropped, or why there is none. Not here: what callers
//! are told (`proxy::queue`), limits of callers (`counters`).
//!
//! A place given to who is just giving up is not lost: who leaves looks, under
//! the lock, whether it was called meanwhile.

mod kept;
mod line;
mod terms;
mod turned_away;

#[cfg(test)]
mod tests;

pub use terms::Terms;
pub use turned_away::{TurnedAway, Why};

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::clock::Clock;
use crate::config::scalar::TenantName;

use super::counters::{Ask, Counters, Mode, NotSpent, Pace, Rule, Values};

use kept::{Kept, Leave, News, Told, Waiter};
use line::Tenant;

/// The queues of all upstreams that are protected, by name.
#[derive(Debug)]
pub struct Queues {
    known: Mutex<HashMap<Arc<str>, Arc<Queue>>>,
    clock: Clock,
}

impl Queues {
    pub(super) fn new(clock: Clock) -> Self {
        Queues { known: Mutex::default(), clock }
    }

    /// The queue of the upstream called `name`: the same one each time. Until [`Queues::set`] it lets everything through.
    pub fn of(&self, name: &str) -> Arc<Queue> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = known.get(name) {
            return Arc::clone(queue);
        }
        let queue = Arc::new(Queue::new(name, self.clock.clone()));
        known.insert(name.into(), Arc::clone(&queue));
        queue
    }

    /// From now on these are the terms. Whose upstream has none any more lets everything through, and is forgotten.
    pub fn set<'a>(&self, terms: impl Iterator<Item = (&'a str, &'a Terms)>) {
        let terms: HashMap<&str, &Terms> = terms.collect();
        for (name, terms) in &terms {
            self.of(name).set((*terms).clone());
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, queue) in known.extract_if(|name, _| !terms.contains_key(&**name)) {
            queue.set(Terms::open());
        }
    }
}

/// In front of one upstream.
#[derive(Debug)]
pub struct Queue {
    /// What its counter is called: no limit can be called so.
    counter: String,
    kept: Mutex<Kept>,
    /// Whether nothing is in anybody's way: then nobody need look behind the lock. Who finds it shut looks, and opens it again.
    is_open: AtomicBool,
    clock: Clock,
}

/// A request that wants to go to the upstream.
#[derive(Clone, Copy, Debug)]
pub struct Visit<'a> {
    /// Whose it is.
    pub tenant: Option<&'a TenantName>,
    /// How long it may take altogether until it goes.
    pub left: Duration,
    /// Where the upstream's `rate` is counted.
    pub counters: &'a Counters,
}

/// How much an upstream has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Requests that are on their way.
    pub in_flight: u32,
    /// Requests that wait.
    pub waiting: usize,
    /// Whether the upstream asked for a pause that is not over.
    pub is_tap_closed: bool,
}

/// One of the requests that an upstream may have at once, until it is dropped.
#[derive(Debug)]
pub struct Place {
    queue: Arc<Queue>,
    since: Instant,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.queue.update(|kept, now| kept.leave(now.saturating_duration_since(self.since)));
    }
}

impl Queue {
    fn new(name: &str, clock: Clock) -> Self {
        let counter = format!("upstream rate:{name}");
        Queue { counter, kept: Mutex::new(Kept::new()), is_open: AtomicBool::new(true), clock }
    }

    /// Whether everybody may go at once, and needs no place.
    pub fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Acquire)
    }

    /// A place, as soon as there is one. Who does not want it any more drops the future.
    ///
    /// # Errors
    /// There is none, or none in time.
    pub async fn enter(self: &Arc<Self>, visit: Visit<'_>) -> Result<Place, TurnedAway> {
        let mut visitor = Visitor::new(self, visit);
        loop {
            match &mut visitor.stage {
                Stage::Outside => visitor.arrive()?,
                Stage::Line { .. } => visitor.wait().await?,
                Stage::Called { leave: Leave::Ask(pace), number } => {
                    let (pace, number) = (*pace, *number);
                    visitor.ask(visit.counters, pace, number).await?;
                }
                Stage::Called { leave: Leave::Go, .. } => {
                    visitor.stage = Stage::Outside;
                    return Ok(Place { queue: Arc::clone(self), since: self.clock.now() });
                }
            }
        }
    }

    /// The upstream wants no requests for so long; true if the operator should hear of it.
    pub fn close(self: &Arc<Self>, pause: Duration) -> bool {
        self.update(|kept, now| kept.close(pause, now)) == News::Yes
    }

    /// How much the upstream has to do now.
    pub fn load(&self) -> Load {
        let now = self.clock.now();
        let kept = self.lock();
        Load { in_flight: kept.in_flight(), waiting: kept.line.len(), is_tap_closed: kept.is_tap_closed(now) }
    }

    fn set(self: &Arc<Self>, terms: Terms) {
        self.update(|kept, _| kept.set(terms));
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is known, and calls whoever can go then.
    fn update<R>(self: &Arc<Self>, change: impl FnOnce(&mut Kept, Instant) -> R) -> R {
        let now = self.clock.now();
        let mut kept = self.lock();
        let result = change(&mut kept, now);
        let next = kept.serve(now);
        self.is_open.store(kept.is_open(now), Ordering::Release);
        if let Some(at) = next {
            self.wake_at(at, now, &mut kept);
        }
        result
    }

    /// Looks again at this time, for who waits for nothing else.
    fn wake_at(self: &Arc<Self>, at: Instant, now: Instant, kept: &mut Kept) {
        // One that should have rung by now may be gone, with the thread that ran it.
        if kept.alarm.is_some_and(|alarm| now < alarm && alarm <= at) {
            return;
        }
        // Without a runtime the process is ending, and so is everybody's waiting.
        let Ok(runtime) = Handle::try_current() else { return };
        kept.alarm = Some(at);
        let queue = Arc::clone(self);
        runtime.spawn(async move {
            queue.clock.sleep(at.saturating_duration_since(queue.clock.now())).await;
            queue.update(|kept, _| kept.alarm = kept.alarm.filter(|alarm| *alarm != at));
        });
    }
}

/// A request on its way to a place; dropped before it has one, it leaves nothing behind.
struct Visitor<'a> {
    queue: &'a Arc<Queue>,
    tenant: Tenant,
    since: Instant,
    patience: Duration,
    stage: Stage,
}

enum Stage {
    /// A place is its own, with what is left to do; the number that it had in the line, if it was there.
    Called { leave: Leave, number: Option<u64> },
    /// In the line.
    Line { number: u64, told: oneshot::Receiver<Told> },
    /// Neither.
    Outside,
}

impl<'a> Visitor<'a> {
    fn new(queue: &'a Arc<Queue>, visit: Visit<'_>) -> Self {
        let tenant = visit.tenant.cloned();
        Visitor { queue, tenant, since: queue.clock.now(), patience: visit.left, stage: Stage::Outside }
    }

    /// To a place, or to the end of the line.
    fn arrive(&mut self) -> Result<(), TurnedAway> {
        let queue = self.queue;
        let stage = queue.update(|kept, now| {
            self.patience = self.patience.min(kept.terms.wait);
            if let Some(leave) = kept.enter(now) {
                return Ok(Stage::Called { leave, number: None });
            }
            let (waiter, told) = self.waiter();
            Ok(Stage::Line { number: kept.join(&self.tenant, waiter, now)?, told })
        });
        self.stage = stage?;
        Ok(())
    }

    fn waiter(&self) -> (Waiter, oneshot::Receiver<Told>) {
        let (tell, told) = oneshot::channel();
        (Waiter { until: self.since + self.patience, tell }, told)
    }

    /// In the line until it is told something or has no patience left.
    async fn wait(&mut self) -> Result<(), TurnedAway> {
        let Stage::Line { number, told } = &mut self.stage else { return Ok(()) };
        let number = *number;
        let left = (self.since + self.patience).saturating_duration_since(self.queue.clock.now());
        let told = tokio::select! {
            biased;
            told = told => told.ok(),
            () = self.queue.clock.sleep(left) => None,
        };
        match told.or_else(|| self.give_up()) {
            Some(Told::Called(leave)) => {
                self.stage = Stage::Called { leave, number: Some(number) };
                Ok(())
            }
            Some(Told::TurnedAway(turned_away)) => {
                self.stage = Stage::Outside;
                Err(turned_away)
            }
            None => {
                let why = Why::WaitedTooLong { waited: self.patience };
                Err(self.queue.update(|kept, now| kept.turned_away(why, now)))
            }
        }
    }

    /// Out of the line; what it was told, if that happened in the same moment.
    fn give_up(&mut self) -> Option<Told> {
        let Stage::Line { number, mut told } = std::mem::replace(&mut self.stage, Stage::Outside) else { return None };
        self.queue.update(|kept, now| {
            // Its turn may come at this very moment, and the alarm a little later.
            let _ = kept.serve(now);
            match kept.line.remove(&self.tenant, number) {
                Some(_) => None,
                None => told.try_recv().ok(),
            }
        })
    }

    /// Asks the counters whether it is time; if not, back to the line.
    async fn ask(&mut self, counters: &Counters, pace: Pace, number: Option<u64>) -> Result<(), TurnedAway> {
        let rule = Rule::Rate(pace);
        let ask = Ask { name: &self.queue.counter, values: Values::new(), rule, mode: Mode::Enforced, reserve: 1 };
        let answer = counters.spend(&[ask]).await;
        let standing = answer.standings.first().copied();
        let stage = self.queue.update(|kept, now| match answer.spent {
            Ok(_) => {
                kept.passed(pace, standing, now);
                Ok(Stage::Called { leave: Leave::Go, number })
            }
            Err(NotSpent::Unknown) => {
                kept.uncall(Leave::Ask(pace));
                Err(kept.turned_away(Why::CountersUnknown, now))
            }
            Err(NotSpent::Refused) => {
                kept.too_early(pace, standing.map(|standing| standing.wait).unwrap_or_default(), now);
                let (waiter, told) = self.waiter();
                let number = match number {
                    None => kept.join(&self.tenant, waiter, now)?,
                    Some(number) => kept.rejoin(&self.tenant, number, waiter, now).map(|()| number)?,
                };
                Ok(Stage::Line { number, told })
            }
        });
        // Nothing is its own any more, whatever comes.
        self.stage = Stage::Outside;
        self.stage = stage?;
        Ok(())
    }
}

impl Drop for Visitor<'_> {
    fn drop(&mut self) {
        let told = match std::mem::replace(&mut self.stage, Stage::Outside) {
            Stage::Called { leave, .. } => Some(Told::Called(leave)),
            line @ Stage::Line { .. } => {
                self.stage = line;
                self.give_up()
            }
            Stage::Outside => None,
        };
        if let Some(Told::Called(leave)) = told {
            self.queue.update(|kept, _| kept.uncall(leave));
        }
    }
}
