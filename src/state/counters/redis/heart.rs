//! The heartbeat: keeps the connection, registers this gateway, and opens and closes the breaker.
//!
//! In: time. Out: a link that works, how many gateways live, Redis' time. Not
//! here: decisions (`mod`).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::breaker::Pulse;
use super::link::{Link, Task};
use super::question::PREFIX;
use super::trouble::Trouble;
use super::{Inner, Time};

/// Between heartbeats.
const EVERY: Duration = Duration::from_millis(250);
/// For the answer to one. Longer than a decision may take: only who answers as fast as that is asked again, but who is a
/// little slower keeps its connection.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long a Redis that went away counts as one that is only slow.
const LATELY: Duration = Duration::from_secs(2);
/// A gateway that was not heard of for so long is not counted.
const LIFE: Duration = Duration::from_secs(5);

/// How many gateways there are. More is believed at once, fewer only after a while: after an outage of Redis they come
/// back one by one.
#[derive(Debug, Default)]
struct Crowd {
    fewer_since: Option<Instant>,
}

impl Inner {
    pub(super) async fn beat_on(&self) {
        let (mut pulse, mut crowd) = (Pulse::default(), Crowd::default());
        loop {
            match self.beat(&mut crowd).await {
                Ok(time) if time <= self.deadline => {
                    if pulse.good(&self.breaker, self.machine.now()).is_some() {
                        self.voice.rejoice(self);
                    }
                }
                // Whether that is too slow while decisions are asked, they say themselves.
                Ok(_) if self.breaker.is_closed() => {}
                Ok(_) => self.voice.complain(self, &Trouble::Slow(self.deadline)),
                Err(trouble) => {
                    pulse.bad(self.machine.now());
                    self.lost(&trouble);
                }
            }
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = self.opened.notified() => {}
            }
        }
    }

    /// Whether Redis was there a moment ago. Then what rates took without it can be added to what it has: it is still owed.
    /// Later all that is certain is what this gateway remembers.
    pub(super) fn heard_lately(&self) -> bool {
        let heard = self.time.load();
        heard.as_ref().is_some_and(|time| self.machine.now().saturating_duration_since(time.sent) <= LATELY)
    }

    /// Says that this gateway lives; how long the answer took.
    async fn beat(&self, crowd: &mut Crowd) -> Result<Duration, Trouble> {
        let link = match self.link.load_full() {
            Some(link) => link,
            None => {
                let elsewhere = self.elsewhere.swap(None);
                let elsewhere = elsewhere.map(|node| (*node).clone());
                let link = Arc::new(Link::open(&self.address, elsewhere, &self.client).await?);
                // Meanwhile it may have lost something.
                self.fresh.clear();
                if !self.heard_lately() {
                    self.outbox.drop_rates();
                }
                self.link.store(Some(Arc::clone(&link)));
                link
            }
        };
        let mut call = Task::Beat.call(1);
        call.word(&format!("{PREFIX}:gateways")).word(&self.name).number(super::micros(LIFE) / 1_000);
        let sent = self.machine.now();
        let patience = PATIENCE.max(self.deadline);
        let answer = tokio::time::timeout(patience, link.call(call)).await.map_err(|_| Trouble::Slow(patience))?;
        let now = self.machine.now();
        if let &[micros, gateways] = answer?.as_slice()
            && let (Ok(micros), Ok(gateways)) = (u64::try_from(micros), u32::try_from(gateways))
        {
            self.time.store(Some(Arc::new(Time { micros, sent })));
            self.gateways.store(crowd.of(gateways, self.gateways.load(Ordering::Relaxed), now), Ordering::Relaxed);
        }
        Ok(now.saturating_duration_since(sent))
    }

    fn lost(&self, trouble: &Trouble) {
        let followed = self.link.swap(None).is_some_and(|link| link.is_elsewhere());
        if let Trouble::Moved(host, port) = trouble
            && !followed
        {
            self.elsewhere.store(Some(Arc::new((host.clone(), *port))));
            _ = self.breaker.open();
            return self.opened.notify_one();
        }
        self.failures.fetch_add(1, Ordering::Relaxed);
        match self.breaker.open() {
            Some(_) => self.has_opened(trouble),
            None => self.voice.complain(self, trouble),
        }
    }
}

impl Crowd {
    fn of(&mut self, heard: u32, before: u32, now: Instant) -> u32 {
        if heard >= before {
            self.fewer_since = None;
            return heard;
        }
        let since = *self.fewer_since.get_or_insert(now);
        if now.saturating_duration_since(since) < LIFE {
            return before;
        }
        self.fewer_since = None;
        heard
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::TestClock;

    #[test]
    fn fewer_gateways_are_believed_after_a_while_and_more_at_once() {
        let (mut crowd, clock) = (Crowd::default(), TestClock::new());
        let mut hear = |heard, before| crowd.of(heard, before, clock.clock().now());
        assert_eq!(hear(3, 1), 3);
        assert_eq!(hear(1, 3), 3);
        clock.advance(LIFE / 2);
        assert_eq!(hear(1, 3), 3);
        clock.advance(LIFE / 2);
        assert_eq!(hear(1, 3), 1);
        assert_eq!(hear(2, 1), 2);
    }
}
