//! What a queue knows, behind its lock: places, those who wait, the tap and the pace. Pure but for telling who waits.
//!
//! In: what happens, and the time. Out: who is called, and who is turned away.
//! Not here: waiting itself, asking counters, timers (`mod`).

use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::state::counters::{Pace, Standing};

use super::line::{Line, Tenant};
use super::terms::{Tap, Terms};
use super::turned_away::{TurnedAway, Why};

/// The longest that one answer can close the tap for: a tenant may have brought it about.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Between two lines in the log that say that a tap is closed.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// The shortest and the longest guess at when a place comes free.
const GUESS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How much the last request counts in the average time that a place is held.
const WEIGHT: f64 = 0.1;

/// What is known of one upstream's places.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) terms: Terms,
    /// Places that are taken, those of who still asks the counters among them.
    pub(super) taken: u32,
    /// Those who ask the counters.
    asking: u32,
    pub(super) line: Line<Waiter>,
    /// Until when the upstream wants no requests.
    tap: Option<Instant>,
    /// When the log last said so.
    told: Option<Instant>,
    /// Before this the counters let nobody through.
    opens: Option<Instant>,
    /// How many the counters will let through, as far as they have said.
    left: u32,
    /// How long a place is held, in seconds; an average that follows.
    held: Option<f64>,
    /// When the timer that runs will look again.
    pub(super) alarm: Option<Instant>,
    came: u64,
}

/// Somebody in the line.
#[derive(Debug)]
pub(super) struct Waiter {
    /// When it gives up.
    pub(super) until: Instant,
    pub(super) tell: oneshot::Sender<Told>,
}

/// What somebody in the line is told.
#[derive(Debug)]
pub(super) enum Told {
    /// It is its turn.
    Called(Leave),
    /// There is no place for it.
    TurnedAway(TurnedAway),
}

/// A place that was given, and what is left to do before something may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// The counters have to be asked.
    Ask(Pace),
    /// Nothing.
    Go,
}

/// Whether something is new to the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// It was said lately, or is nothing.
    No,
    /// Say so.
    Yes,
}

impl Kept {
    pub(super) fn new() -> Self {
        Kept {
            terms: Terms::open(),
            taken: 0,
            asking: 0,
            line: Line::default(),
            tap: None,
            told: None,
            opens: None,
            left: u32::MAX,
            held: None,
            alarm: None,
            came: 0,
        }
    }

    /// Other terms from now on. An upstream with another address or credential has not closed any tap.
    pub(super) fn set(&mut self, terms: Terms) {
        if !self.terms.is_same_upstream(&terms) {
            (self.tap, self.told) = (None, None);
        }
        if self.terms.pace != terms.pace {
            (self.opens, self.left) = (None, u32::MAX);
        }
        self.terms = terms;
    }

    /// Requests that are on their way.
    pub(super) fn in_flight(&self) -> u32 {
        self.taken - self.asking
    }

    pub(super) fn is_tap_closed(&self, now: Instant) -> bool {
        self.tap.is_some_and(|tap| tap > now)
    }

    /// Whether nothing limits this upstream now, and nobody waits.
    pub(super) fn is_open(&self, now: Instant) -> bool {
        !self.terms.is_limited() && !self.is_tap_closed(now) && self.line.is_empty()
    }

    /// Until when time alone keeps everybody out.
    fn closed_until(&self, now: Instant) -> Option<Instant> {
        let paced = self.opens.filter(|_| self.terms.pace.is_some());
        self.tap.max(paced).filter(|until| *until > now)
    }

    /// A place for who comes now, if nobody waits and nothing is in the way.
    pub(super) fn enter(&mut self, now: Instant) -> Option<Leave> {
        (self.line.is_empty() && self.admits(now)).then(|| self.call())
    }

    fn admits(&self, now: Instant) -> bool {
        let may_ask = self.terms.pace.is_none() || self.asking < self.left;
        self.closed_until(now).is_none() && self.taken < self.terms.max && may_ask
    }

    fn call(&mut self) -> Leave {
        self.taken += 1;
        match self.terms.pace {
            None => Leave::Go,
            Some(pace) => {
                self.asking += 1;
                Leave::Ask(pace)
            }
        }
    }

    /// A called one does not go.
    pub(super) fn uncall(&mut self, leave: Leave) {
        self.taken -= 1;
        if matches!(leave, Leave::Ask(_)) {
            self.asking -= 1;
        }
    }

    /// Calls everybody for whom there is a place; where only time is in the way, until when.
    pub(super) fn serve(&mut self, now: Instant) -> Option<Instant> {
        while !self.line.is_empty() {
            if let Some(until) = self.closed_until(now) {
                return Some(until);
            }
            if !self.admits(now) {
                return None;
            }
            let leave = self.call();
            let told = self.line.next().map(|(_, _, waiter)| waiter.tell.send(Told::Called(leave)));
            if !matches!(told, Some(Ok(()))) {
                // Who leaves takes itself out of the line first, so nobody is told who is not there.
                self.uncall(leave);
            }
        }
        None
    }

    /// Into the line with who has come; the number by which it is found again.
    pub(super) fn join(&mut self, tenant: &Tenant, waiter: Waiter, now: Instant) -> Result<u64, TurnedAway> {
        self.check_time(tenant, waiter.until, now)?;
        let room = self.terms.room;
        let share = (room / self.line.tenants_with(tenant)).max(1);
        let held = self.line.held_by(tenant);
        if held >= share {
            let why = if held >= room { Why::QueueFull { room } } else { Why::OverShare { share } };
            return Err(self.turned_away(why, now));
        }
        if self.line.len() >= room {
            let Some(evicted) = self.line.evict(share) else {
                return Err(self.turned_away(Why::QueueFull { room }, now));
            };
            // It may have given up this very moment.
            let _ = evicted.tell.send(Told::TurnedAway(self.turned_away(Why::MadeRoom, now)));
        }
        self.came += 1;
        self.line.push(tenant, self.came, waiter);
        Ok(self.came)
    }

    /// Whether it makes sense to wait for the tap, and for a turn.
    fn check_time(&self, tenant: &Tenant, until: Instant, now: Instant) -> Result<(), TurnedAway> {
        if let Some(tap) = self.tap.filter(|tap| *tap > until.max(now)) {
            return Err(self.turned_away(Why::TapClosed { left: tap - now }, now));
        }
        let turn = self.turn_after(self.line.ahead_of(tenant), now);
        match turn.is_some_and(|turn| now + turn > until) {
            true => Err(self.turned_away(Why::TooFast, now)),
            false => Ok(()),
        }
    }

    /// When the counters let one through that comes behind so many; none while they are not what is in the way.
    fn turn_after(&self, ahead: usize, now: Instant) -> Option<Duration> {
        let pace = self.terms.pace?;
        let opens = self.opens.filter(|opens| *opens > now)?;
        let ahead = u32::try_from(ahead).unwrap_or(u32::MAX).saturating_add(self.asking);
        Some((opens - now).saturating_add(Duration::from_nanos(pace.interval).saturating_mul(ahead)))
    }

    /// The counters said how things stand: to one who goes.
    pub(super) fn passed(&mut self, pace: Pace, standing: Option<Standing>, now: Instant) {
        self.asking -= 1;
        let Some(standing) = standing else { return };
        self.left = u32::try_from(standing.remaining).unwrap_or(u32::MAX).max(1);
        if standing.remaining == 0 {
            let early = Duration::from_nanos(pace.interval).saturating_mul(pace.burst.saturating_sub(1));
            self.opens = self.opens.max(Some(now + standing.whole.saturating_sub(early)));
        }
    }

    /// The counters said how things stand: to one who came too early, and who waits again.
    pub(super) fn too_early(&mut self, pace: Pace, wait: Duration, now: Instant) {
        self.uncall(Leave::Ask(pace));
        self.left = 1;
        self.opens = self.opens.max(Some(now + wait));
    }

    /// Back to where it stood in the line.
    pub(super) fn rejoin(
        &mut self,
        tenant: &Tenant,
        number: u64,
        waiter: Waiter,
        now: Instant,
    ) -> Result<(), TurnedAway> {
        if self.opens.is_some_and(|opens| opens > waiter.until) {
            return Err(self.turned_away(Why::TooFast, now));
        }
        self.line.put_back(tenant, number, waiter);
        Ok(())
    }

    /// A place is free again, after so long.
    pub(super) fn leave(&mut self, held: Duration) {
        self.taken -= 1;
        let held = held.as_secs_f64();
        self.held = Some(self.held.map_or(held, |before| before + WEIGHT * (held - before)));
    }

    /// The upstream wants no requests for so long. Who cannot wait for the end of that need not wait at all.
    pub(super) fn close(&mut self, pause: Duration, now: Instant) -> News {
        if self.terms.tap == Tap::Callers || pause.is_zero() {
            return News::No;
        }
        let until = now + pause.min(LONGEST_PAUSE);
        self.tap = self.tap.max(Some(until));
        for waiter in self.line.take_if(|waiter| waiter.until < until) {
            let why = Why::TapClosed { left: until - now };
            let _ = waiter.tell.send(Told::TurnedAway(self.turned_away(why, now)));
        }
        let is_said = self.told.is_some_and(|told| now < told + TELL_EVERY);
        if is_said {
            return News::No;
        }
        self.told = Some(now);
        News::Yes
    }

    /// Until when somebody should stay away: until nothing of what is in the way will be, as far as that is known.
    pub(super) fn turned_away(&self, why: Why, now: Instant) -> TurnedAway {
        let tap = self.tap.map(|tap| tap.saturating_duration_since(now)).filter(|left| !left.is_zero());
        let turn = self.turn_after(self.line.len(), now);
        let retry_after = tap.max(turn).unwrap_or_else(|| self.guess());
        TurnedAway { why, retry_after }
    }

    /// When those who wait will have had a place, if requests go on to take as long.
    fn guess(&self) -> Duration {
        let rounds = (self.line.len() + 1) as f64 / f64::from(self.terms.max);
        let guess = Duration::try_from_secs_f64(self.held.unwrap_or_default() * rounds).unwrap_or(GUESS.1);
        guess.clamp(GUESS.0, GUESS.1)
    }
}
