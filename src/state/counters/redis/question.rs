//! What Redis is asked about a request, and what its numbers mean.
//!
//! In: asks, and what this gateway last knew of their buckets. Out: the words of
//! a call of `decide.lua`; standings and what was taken. Not here: the
//! connection (`link`), what follows (`mod`).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use smallvec::SmallVec;

use super::super::{Allowance, Ask, Mode, Rule, Standing, Values, algorithm, bucket, calendar};
use super::link::{Call, Task};

/// What all keys begin with. The braces keep them on one server of a cluster, so that one call can decide over several.
pub(super) const PREFIX: &str = "{tollgate}";

/// One ask.
#[derive(Debug)]
pub(super) struct Question<'a, 'v> {
    pub(super) ask: &'a Ask<'v>,
    pub(super) key: String,
    pub(super) floor: Floor,
    pub(super) trust: Trust,
}

/// What this gateway last knew of a bucket: a backlog in nanoseconds, or what was used, and in the stretch since when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Floor {
    pub(super) value: u64,
    pub(super) began: u64,
}

/// Whose word counts where Redis and the gateway differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Who says more: Redis may have lost something since it was last asked.
    More,
    /// Redis, as long as it knows the bucket.
    Redis,
}

impl Trust {
    pub(super) fn word(self) -> &'static str {
        match self {
            Trust::More => "more",
            Trust::Redis => "redis",
        }
    }
}

/// Whether anything is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Look,
    Spend,
}

/// The name of the bucket of an ask. Another window or another unit is another count.
pub(super) fn key(ask: &Ask<'_>) -> String {
    named(ask, &bucket::text(ask))
}

/// The name of one of the buckets that those share for whom there is no room. No value is written with a `*`.
pub(super) fn overflow_key(ask: &Ask<'_>, number: usize) -> String {
    let text = bucket::text(&Ask { values: Values::new(), ..ask.clone() });
    named(ask, &format!("{text}/*{number}"))
}

fn named(ask: &Ask<'_>, text: &str) -> String {
    match ask.rule {
        Rule::Rate(_) => format!("{PREFIX}:rate:{text}"),
        Rule::Quota(Allowance { window, anchor, cost, amount: _, assumed: _ }) => {
            let (window, cost) = (window.word(), cost.word());
            match anchor {
                Some(anchor) => format!("{PREFIX}:quota:{window}:{cost}:{}:{text}", anchor.unix_seconds()),
                None => format!("{PREFIX}:quota:{window}:{cost}:{text}"),
            }
        }
    }
}

/// When the stretch before, this one, the next and that after it begin: the server's clock may be another.
pub(super) fn stretches(allowance: &Allowance, now: SystemTime) -> [u64; 4] {
    let stretch =
        |seconds: u64| calendar::stretch(allowance.window, allowance.anchor, UNIX_EPOCH + Duration::from_secs(seconds));
    let (began, ends) = calendar::stretch(allowance.window, allowance.anchor, now);
    let (before, _) = stretch(began.saturating_sub(1));
    let (_, after) = stretch(ends);
    [before, began, ends, after]
}

/// The call that decides over all of them. After `latest` (microseconds by the server's clock) nobody waits for the answer.
pub(super) fn call(verb: Verb, questions: &[Question<'_, '_>], latest: u64, now: SystemTime) -> Call {
    let mut call = Task::Decide.call(questions.len());
    for question in questions {
        call.word(&question.key);
    }
    call.word(match verb {
        Verb::Look => "look",
        Verb::Spend => "spend",
    });
    call.number(0).number(latest);
    for Question { ask, floor, trust, .. } in questions {
        let mode = match ask.mode {
            Mode::DryRun => "dry_run",
            Mode::Enforced => "enforced",
        };
        let trust = trust.word();
        match &ask.rule {
            Rule::Rate(pace) => {
                call.word("rate").word(mode).number(pace.interval).number(u64::from(pace.burst));
                call.number(floor.value).word(trust);
            }
            Rule::Quota(allowance) => {
                call.word("quota").word(mode).number(allowance.amount).number(ask.reserve);
                call.number(floor.value).word(trust).number(floor.began);
                for moment in stretches(allowance, now) {
                    call.number(moment);
                }
            }
        }
    }
    call
}

/// What Redis said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Too late: nothing was done, and it is so late there (microseconds since 1970).
    Late(u64),
    /// At least one enforced limit refused, and nothing was spent.
    Refused(SmallVec<[Shown; 4]>),
    /// Everything was.
    Spent(SmallVec<[Shown; 4]>),
}

/// How a bucket is kept in Redis now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    /// The backlog in nanoseconds, or what is used.
    pub(super) value: u64,
    /// Whether this request is in it.
    pub(super) taken: Taking,
    /// The stretch of a quota.
    pub(super) stretch: (u64, u64),
    /// When, in microseconds since 1970.
    now: u64,
}

/// Whether a request is in what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taking {
    Left,
    Taken,
}

impl Verdict {
    /// Reads the numbers of `decide.lua`; none where they are not its numbers.
    pub(super) fn read(numbers: &[i64], asks: usize) -> Option<Self> {
        let (head, rest) = numbers.split_at_checked(2)?;
        let &[now, verdict] = head else { return None };
        let now = u64::try_from(now).ok()?;
        if verdict == 2 {
            return Some(Verdict::Late(now));
        }
        let shown = rest.chunks_exact(4).map(|of| {
            let &[value, taken, began, ends] = of else { return None };
            let taken = if taken == 1 { Taking::Taken } else { Taking::Left };
            let stretch = (u64::try_from(began).ok()?, u64::try_from(ends).ok()?);
            Some(Shown { value: u64::try_from(value).ok()?, taken, stretch, now })
        });
        let shown: SmallVec<[Shown; 4]> = shown.collect::<Option<_>>()?;
        match (shown.len() == asks, verdict) {
            (true, 0) => Some(Verdict::Refused(shown)),
            (true, 1) => Some(Verdict::Spent(shown)),
            _ => None,
        }
    }
}

impl Shown {
    /// How the limit stands.
    pub(super) fn standing(&self, rule: Rule) -> Standing {
        let standing = match rule {
            Rule::Rate(pace) => algorithm::standing_of_pace(pace, self.value, 0),
            Rule::Quota(Allowance { amount, .. }) => {
                let ends = self.stretch.1.saturating_mul(1_000_000);
                let whole = Duration::from_micros(ends.saturating_sub(self.now));
                let wait = if algorithm::quota(amount, self.value) { Duration::ZERO } else { whole };
                Standing {
                    total: amount,
                    remaining: amount.saturating_sub(self.value),
                    passes: wait.is_zero(),
                    wait,
                    whole,
                }
            }
        };
        match self.taken {
            Taking::Left => standing,
            Taking::Taken => Standing { passes: true, ..standing },
        }
    }
}
