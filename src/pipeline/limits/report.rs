//! What callers are told of limits: `RateLimit-Policy`, `RateLimit` and `X-RateLimit-*`.
//!
//! In: a limit and how it stands. Out: header fields. The first two are those
//! of draft-ietf-httpapi-ratelimit-headers-10; the others are what Tinybird's
//! clients read.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use crate::state::counters::{Rule, Standing};

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const CURRENT: HeaderName = HeaderName::from_static("ratelimit");
const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
const NOTHING: HeaderValue = HeaderValue::from_static("0");

/// How the tightest limit of a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    limit: Option<usize>,
    standing: Standing,
}

/// What of the headers is the same for every request.
#[derive(Clone, Debug)]
pub struct Wording {
    /// `"name"`: names of limits need no escapes.
    quoted: Box<str>,
    policy: HeaderValue,
    total: HeaderValue,
}

/// What a token's own rate is called.
const TOKEN: &str = "token";

impl Wording {
    /// The wording of a limit.
    pub fn of(name: &str, rule: &Rule) -> Self {
        let (total, seconds) = match rule {
            // As long as it takes until everything is there again.
            Rule::Rate(pace) => {
                let whole = Duration::from_nanos(pace.interval.saturating_mul(u64::from(pace.burst)));
                (u64::from(pace.burst), ceil(whole).max(1))
            }
            Rule::Quota(allowance) => (allowance.amount, allowance.window.longest().as_secs()),
        };
        let quoted = format!("\"{name}\"");
        let policy = HeaderValue::from_str(&format!("{quoted};q={total};w={seconds}"));
        Wording {
            quoted: quoted.into(),
            policy: policy.unwrap_or_else(|_| HeaderValue::from_static("\"limit\"")),
            total: HeaderValue::from(total),
        }
    }

    /// The wording of a token's own rate.
    pub fn of_token(total: u64) -> Self {
        Wording {
            quoted: format!("\"{TOKEN}\"").into(),
            policy: HeaderValue::from_str(&format!("\"{TOKEN}\";q={total};w=1"))
                .unwrap_or_else(|_| HeaderValue::from_static("\"limit\"")),
            total: HeaderValue::from(total),
        }
    }
}

impl Report {
    pub(super) fn of(limit: Option<usize>, standing: Standing) -> Self {
        Report { limit, standing }
    }

    /// The tighter of two that both let the request in.
    #[must_use]
    pub fn or_tighter(self, other: Report) -> Report {
        match super::by_share_left(&self.standing, &other.standing) {
            std::cmp::Ordering::Greater => other,
            std::cmp::Ordering::Equal | std::cmp::Ordering::Less => self,
        }
    }

    /// The position of the limit; none for the rate of a token.
    pub fn limit(&self) -> Option<usize> {
        self.limit
    }

    /// How it stands.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// The header fields.
    pub fn headers(&self, wording: &Wording) -> [(HeaderName, HeaderValue); 5] {
        let Standing { remaining, wait, whole, .. } = self.standing;
        let (current, remaining) = current(&wording.quoted, remaining, ceil(whole));
        let reset = match ceil(wait) {
            0 => NOTHING,
            seconds => HeaderValue::from(seconds),
        };
        [
            (POLICY, wording.policy.clone()),
            (CURRENT, current),
            (LIMIT, wording.total.clone()),
            (REMAINING, remaining),
            (RESET, reset),
        ]
    }

    /// The header fields of a token's own rate.
    pub fn headers_of_token(&self) -> [(HeaderName, HeaderValue); 5] {
        self.headers(&Wording::of_token(self.standing.total))
    }
}

/// `"name";r=5;t=2`, and `5`, which is a part of it: one piece of memory for both.
fn current(quoted: &str, remaining: u64, seconds: u64) -> (HeaderValue, HeaderValue) {
    let (mut left, mut time) = (itoa::Buffer::new(), itoa::Buffer::new());
    let (left, time) = (left.format(remaining), time.format(seconds));
    let mut text = Vec::with_capacity(quoted.len() + left.len() + time.len() + 6);
    for part in [quoted, ";r=", left, ";t=", time] {
        text.extend_from_slice(part.as_bytes());
    }
    let (text, start) = (Bytes::from(text), quoted.len() + 3);
    let part = text.slice(start..start + left.len());
    // A name of a limit and numbers are characters that a header may have.
    let value = |bytes: Bytes| HeaderValue::from_maybe_shared(bytes).unwrap_or(NOTHING);
    (value(text), value(part))
}

/// Whole seconds, so that who waits as long has waited long enough.
fn ceil(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
