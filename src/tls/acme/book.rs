//! What is known of every name, and what is to be done next.
//!
//! In: names that are wanted, how orders ended, the time. Out: which names are
//! due, in which order, and what an operator is told. Not here: waiting and
//! doing (`mod`), the arithmetic of times (`schedule`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rand::Rng as _;

use super::certificate::Certificate;
use super::issuer::Issuer;
use super::name::Name;
use super::order::Way;
use super::schedule;
use super::trouble::{Kind, Trouble};

/// So many orders are under way at the same time.
pub(super) const ORDERS: usize = 4;
/// So many authorities are asked at the same time when they want a certificate to be renewed.
pub(super) const CHECKS: usize = 2;
/// The first such question comes within this time.
const FIRST_CHECK: Duration = Duration::from_secs(600);

/// An authority is not left alone for longer, whatever it says to some names: new ones may do better.
const LONGEST_QUIET: Duration = Duration::from_secs(3600);
/// So many names in a row for which a limit was reached are a limit of the account.
const LIMITS: u32 = 3;

/// All names. Only ever seen as a whole, at one moment.
#[derive(Debug)]
pub(super) struct Book {
    pub(super) issuers: Arc<[Arc<Issuer>]>,
    pub(super) entries: BTreeMap<Name, Entry>,
    /// Authorities that are left alone, whoever needs them: one that is away is not asked once for each name.
    quiet: BTreeMap<String, Quiet>,
}

/// How an authority has been of late.
#[derive(Debug)]
struct Quiet {
    /// In a row.
    failures: u32,
    /// Names in a row for which a limit was reached: several of them say that it is not about the name.
    limits: u32,
    until: SystemTime,
}

/// What is known of a name.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) wish: Wish,
    stage: Stage,
    pub(super) current: Option<Current>,
    /// In a row.
    failures: u32,
    /// No try before.
    pause_until: Instant,
    /// Authorities that want to be left alone about this name.
    holds: BTreeMap<String, SystemTime>,
    check_at: Instant,
    trouble: Option<Trouble>,
}

/// Who wants a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wish {
    /// Somebody who waits for it.
    Asked,
    /// The configuration.
    Listed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Checking,
    Idle,
    Ordering,
}

/// The certificate that is served.
#[derive(Clone, Debug)]
pub(super) struct Current {
    pub(super) certificate: Certificate,
    /// Whose it is: the folder of its authority.
    pub(super) issuer: String,
    renew_at: SystemTime,
    /// The suggestion that `renew_at` is from.
    window: Option<Window>,
}

/// When an authority suggests to renew.
pub(super) type Window = (SystemTime, SystemTime);

/// Both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) passed: Instant,
    pub(super) wall: SystemTime,
}

/// Something to do.
#[derive(Debug)]
pub(super) enum Job {
    /// Ask whether it is time to renew.
    Check { name: Name, issuer: Arc<Issuer>, current: Current },
    /// Get a certificate.
    Order { name: Name, issuers: Vec<Arc<Issuer>>, current: Option<Current>, attempt: u32 },
}

/// How a job ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// With what an authority suggests, and when it wants to be asked again.
    Checked(Option<Window>, Option<Duration>),
    /// Without a certificate.
    Failed(Trouble, Vec<Refused>),
    /// With a certificate of the authority with this folder.
    Got(Certificate, String, From),
}

/// An authority that gave no certificate.
#[derive(Debug)]
pub(super) struct Refused {
    /// Its folder.
    pub(super) issuer: String,
    pub(super) kind: Kind,
    /// Until when it wants to be left alone, if it said so.
    pub(super) until: Option<SystemTime>,
}

/// Where a certificate comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    Authority,
    Disk,
}

/// What is worth a line in the log.
#[derive(Debug)]
pub(super) enum News {
    /// Its first failure of this kind, and when it is tried again.
    Failed(Trouble, Duration),
    Issued(SystemTime),
    Nothing,
}

/// How far a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It has a certificate that is valid.
    Active,
    /// It has none: the last order failed.
    Failed,
    /// It has none, and an order is under way.
    Ordering,
    /// It has none, and its turn has not come.
    Waiting,
}

/// What an operator is told of a name.
#[derive(Clone, Debug)]
pub struct NameReport {
    /// The name.
    pub name: Arc<str>,
    /// How far it is.
    pub state: State,
    /// Until when its certificate is valid.
    pub not_after: Option<SystemTime>,
    /// Whole days until then; below zero once it is over.
    pub days_left: Option<i64>,
    /// Why the last order failed, if it did; also while an older certificate is served.
    pub last_error: Option<Arc<str>>,
    /// When the next order begins; nothing while one is under way.
    pub next_try: Option<SystemTime>,
    /// Whose certificate it has: the host and path of the authority's directory.
    pub issuer: Option<String>,
}

impl Entry {
    pub(super) fn new(wish: Wish, current: Option<Current>, now: Now) -> Self {
        let (holds, check_at) = (BTreeMap::new(), now.passed + FIRST_CHECK.mul_f64(roll()));
        Entry {
            wish,
            stage: Stage::Idle,
            current,
            failures: 0,
            pause_until: now.passed,
            holds,
            check_at,
            trouble: None,
        }
    }

    /// Begins anew: another authority may do what the one before could not.
    pub(super) fn retry(&mut self, now: Now) {
        (self.failures, self.pause_until, self.trouble) = (0, now.passed, None);
        self.holds.clear();
    }

    /// Serves what was found on disk.
    pub(super) fn adopt(&mut self, current: Current) {
        self.current = Some(current);
    }

    /// How long until the next order.
    fn order_in(&self, now: Now) -> Duration {
        let renewal = self.current.as_ref().map_or(Duration::ZERO, |current| left(current.renew_at, now.wall));
        self.pause_until.saturating_duration_since(now.passed).max(renewal)
    }

    fn check_in(&self, now: Now) -> Duration {
        match &self.current {
            Some(current) if current.certificate.id.is_some() => self.check_at.saturating_duration_since(now.passed),
            Some(_) | None => Duration::MAX,
        }
    }

    fn end(&mut self, ending: Ending, now: Now) -> News {
        self.stage = Stage::Idle;
        match ending {
            Ending::Checked(window, again) => {
                self.check_at = now.passed + schedule::check_after(again, roll());
                self.suggest(window);
                News::Nothing
            }
            Ending::Failed(trouble, refused) => self.fail(trouble, refused, now),
            Ending::Got(certificate, issuer, from) => {
                let not_after = certificate.issued.not_after;
                self.retry(now);
                self.check_at = now.passed + FIRST_CHECK.mul_f64(roll());
                self.current = Some(Current::new(certificate, issuer));
                if from == From::Authority { News::Issued(not_after) } else { News::Nothing }
            }
        }
    }

    fn suggest(&mut self, window: Option<Window>) {
        let Some(current) = &mut self.current else { return };
        // A moment is picked once for each window, not anew with each look at it.
        if let Some((start, end)) = window
            && current.window != window
        {
            // An authority that suggests a time after the end is not believed.
            let last = current.certificate.issued.not_after;
            current.renew_at = schedule::within(start, end, roll()).min(last);
            current.window = window;
        }
    }

    fn fail(&mut self, trouble: Trouble, refused: Vec<Refused>, now: Now) -> News {
        self.failures = self.failures.saturating_add(1);
        let life = self.current.as_ref().map(|current| left(current.certificate.issued.not_after, now.wall));
        let pause = schedule::pause(self.failures, life, roll());
        self.holds.extend(refused.into_iter().filter_map(|refused| Some((refused.issuer, refused.until?))));
        self.holds.retain(|_, until| *until > now.wall);
        self.pause_until = now.passed + pause;
        let is_news = self.trouble.as_ref().is_none_or(|known| known.kind != trouble.kind);
        self.trouble = Some(trouble.clone());
        if is_news { News::Failed(trouble, pause) } else { News::Nothing }
    }

    fn state(&self, now: Now) -> State {
        let is_valid = self.current.as_ref().is_some_and(|current| current.certificate.issued.not_after > now.wall);
        match self.stage {
            Stage::Checking | Stage::Idle | Stage::Ordering if is_valid => State::Active,
            Stage::Ordering => State::Ordering,
            Stage::Checking | Stage::Idle if self.failures > 0 => State::Failed,
            Stage::Checking | Stage::Idle => State::Waiting,
        }
    }

    fn report(&self, name: &Name, now: Now) -> NameReport {
        let not_after = self.current.as_ref().map(|current| current.certificate.issued.not_after);
        NameReport {
            name: name.shared(),
            state: self.state(now),
            not_after,
            days_left: not_after.map(|end| days(end, now.wall)),
            last_error: self.trouble.as_ref().map(|trouble| Arc::clone(&trouble.sentence)),
            next_try: (self.stage != Stage::Ordering).then(|| now.wall + self.order_in(now)),
            issuer: self.current.as_ref().map(|current| current.issuer.clone()),
        }
    }
}

impl Current {
    pub(super) fn new(certificate: Certificate, issuer: String) -> Self {
        let issued = &certificate.issued;
        let renew_at = schedule::renew_at(issued.not_before, issued.not_after, roll());
        Current { certificate, issuer, renew_at, window: None }
    }

    /// Not one that is wanted any more: an authority that is not asked any more has issued it.
    pub(super) fn renew_now(&mut self) {
        self.renew_at = SystemTime::UNIX_EPOCH;
    }

    pub(super) fn is_due(&self, now: Now) -> bool {
        self.renew_at <= now.wall
    }
}

impl Book {
    /// Takes what is due from the book, as far as there is room for it.
    pub(super) fn due(&mut self, now: Now) -> Vec<Job> {
        if self.issuers.is_empty() {
            return Vec::new();
        }
        let mut jobs = Vec::new();
        for name in self.orders(now) {
            let Some(entry) = self.entries.get_mut(&name) else { continue };
            let current = entry.current.clone();
            entry.stage = Stage::Ordering;
            let is_free = |issuer: &&Arc<Issuer>| held(&self.quiet, entry, issuer, now).is_zero();
            let issuers = self.issuers.iter().filter(is_free).cloned().collect();
            jobs.push(Job::Order { name, issuers, current, attempt: entry.failures });
        }
        for name in self.checks(now) {
            let Some(entry) = self.entries.get_mut(&name) else { continue };
            let Some(current) = entry.current.clone() else { continue };
            let issuer = self.issuers.iter().find(|issuer| issuer.slug() == current.issuer);
            match issuer {
                Some(issuer) => {
                    entry.stage = Stage::Checking;
                    jobs.push(Job::Check { name, issuer: Arc::clone(issuer), current });
                }
                None => entry.check_at = now.passed + schedule::check_after(None, roll()),
            }
        }
        jobs
    }

    /// Who waits comes first, then who has no certificate, then whose ends first.
    fn orders(&self, now: Now) -> Vec<Name> {
        let room = ORDERS.saturating_sub(self.count(Stage::Ordering));
        if room == 0 {
            return Vec::new();
        }
        let is_due = |entry: &Entry| entry.stage == Stage::Idle && self.order_in(entry, now).is_zero();
        let mut due: Vec<_> = self.entries.iter().filter(|(_, entry)| is_due(entry)).collect();
        due.sort_by_key(|(_, entry)| {
            let end = entry.current.as_ref().map(|current| current.certificate.issued.not_after);
            (end, entry.failures, entry.wish)
        });
        due.into_iter().take(room).map(|(name, _)| name.clone()).collect()
    }

    fn checks(&self, now: Now) -> Vec<Name> {
        let room = CHECKS.saturating_sub(self.count(Stage::Checking));
        let is_due = |entry: &Entry| entry.stage == Stage::Idle && entry.check_in(now).is_zero();
        let due = self.entries.iter().filter(|(_, entry)| is_due(entry)).map(|(name, _)| name.clone());
        due.take(room).collect()
    }

    /// How long an order of this name has to wait: also for the first authority that may be asked about it.
    fn order_in(&self, entry: &Entry, now: Now) -> Duration {
        let own = entry.order_in(now);
        if entry.holds.is_empty() && self.quiet.is_empty() {
            return own;
        }
        let free = self.issuers.iter().map(|issuer| held(&self.quiet, entry, issuer, now)).min();
        own.max(free.unwrap_or_default())
    }

    fn count(&self, stage: Stage) -> usize {
        self.entries.values().filter(|entry| entry.stage == stage).count()
    }

    /// How long until something else is due. What is due already waits for room.
    pub(super) fn idle_for(&self, now: Now) -> Duration {
        let idle = self.entries.values().filter(|entry| entry.stage == Stage::Idle);
        let waits = idle.flat_map(|entry| [self.order_in(entry, now), entry.check_in(now)]);
        waits.filter(|wait| !wait.is_zero()).min().unwrap_or(Duration::MAX)
    }

    /// No names, and nobody to ask.
    pub(super) fn new() -> Self {
        Book { issuers: Arc::new([]), entries: BTreeMap::new(), quiet: BTreeMap::new() }
    }

    /// Takes other authorities. What those before said does not count any more.
    pub(super) fn turn_to(&mut self, issuers: Arc<[Arc<Issuer>]>, now: Now) {
        self.issuers = issuers;
        self.quiet.clear();
        for entry in self.entries.values_mut() {
            entry.retry(now);
        }
    }

    /// Whether somebody who waits for a certificate has waited long enough: it is there, or none will be soon.
    pub(super) fn is_settled(&self, name: &Name, now: Now) -> bool {
        let is_settled = |entry: &Entry| {
            entry.current.is_some() || entry.stage == Stage::Idle && !self.order_in(entry, now).is_zero()
        };
        self.entries.get(name).is_none_or(is_settled)
    }

    fn listen(&mut self, refused: &Refused, now: Now) {
        let new = || Quiet { failures: 0, limits: 0, until: now.wall };
        let quiet = self.quiet.entry(refused.issuer.clone()).or_insert_with(new);
        // Orders that were under way together count once.
        if quiet.until > now.wall {
            return;
        }
        if matches!(refused.kind, Kind::Account | Kind::Silence) {
            quiet.failures = quiet.failures.saturating_add(1);
            quiet.until = now.wall + schedule::pause(quiet.failures, None, roll()).min(LONGEST_QUIET);
        }
        if refused.kind == Kind::Limit {
            quiet.limits = quiet.limits.saturating_add(1);
            if quiet.limits >= LIMITS {
                quiet.until = refused.until.unwrap_or(now.wall).min(now.wall + LONGEST_QUIET);
            }
        }
    }

    /// Writes down how a job ended, if its name is still wanted.
    pub(super) fn end(&mut self, name: &Name, ending: Ending, now: Now) -> Option<News> {
        match &ending {
            Ending::Failed(_, refused) => refused.iter().for_each(|refused| self.listen(refused, now)),
            Ending::Got(_, issuer, From::Authority) => _ = self.quiet.remove(issuer),
            Ending::Checked(..) | Ending::Got(_, _, From::Disk) => {}
        }
        let news = self.entries.get_mut(name).map(|entry| entry.end(ending, now))?;
        match (news, self.entries.get(name)) {
            // An authority may want to be left alone for longer.
            (News::Failed(trouble, _), Some(entry)) => Some(News::Failed(trouble, self.order_in(entry, now))),
            (news, _) => Some(news),
        }
    }

    /// Nothing is under way: whoever did it is gone.
    pub(super) fn reset(&mut self) {
        for entry in self.entries.values_mut() {
            entry.stage = Stage::Idle;
        }
    }

    pub(super) fn report(&self, now: Now) -> Vec<NameReport> {
        let told = |(name, entry): (&Name, &Entry)| {
            let mut report = entry.report(name, now);
            report.next_try = report.next_try.map(|_| now.wall + self.order_in(entry, now));
            report
        };
        self.entries.iter().map(told).collect()
    }
}

/// By which way the name is proven: a second try takes the other one, where there is one.
pub(super) fn way(name: &Name, issuer: &Issuer, attempt: u32) -> Way {
    let by_turns = issuer.dns_hook.is_some() && attempt % 2 == 1;
    if name.is_wildcard() || by_turns { Way::Dns } else { Way::Http }
}

/// Of troubles with several authorities, the first that an operator can do something about: not that one is away.
pub(super) fn worst(troubles: Vec<Trouble>) -> Option<Trouble> {
    troubles.into_iter().min_by_key(|trouble| matches!(trouble.kind, Kind::Silence | Kind::Limit))
}

/// How long this authority is to be left alone about this name.
fn held(quiet: &BTreeMap<String, Quiet>, entry: &Entry, issuer: &Issuer, now: Now) -> Duration {
    let slug = issuer.slug();
    let own = entry.holds.get(&slug).map_or(Duration::ZERO, |until| left(*until, now.wall));
    own.max(quiet.get(&slug).map_or(Duration::ZERO, |quiet| left(quiet.until, now.wall)))
}

fn left(at: SystemTime, now: SystemTime) -> Duration {
    at.duration_since(now).unwrap_or_default()
}

fn days(end: SystemTime, now: SystemTime) -> i64 {
    let whole = |span: Duration| i64::try_from(span.as_secs() / 86_400).unwrap_or(i64::MAX);
    match end.duration_since(now) {
        Ok(left) => whole(left),
        Err(over) => -1 - whole(over.duration()),
    }
}

fn roll() -> f64 {
    rand::thread_rng().gen_range(0.0..=1.0)
}
