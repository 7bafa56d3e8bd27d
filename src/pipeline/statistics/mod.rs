//! What a query cost: the `statistics` at the end of its answer.
//!
//! In: the limits that can apply to a route, and whether usage is measured; the pieces of an answer's body; how
//! the exchange ended. Out: whether its answers are metered ([`Meter`]), what
//! they say ([`Reading`]), and what is to become of what was taken of quotas
//! ([`verdict`]). Not here: counting (`state::counters`), the body itself, which
//! passes and is not kept.

mod reading;
mod tail;

pub use reading::Reading;
pub use tail::Tail;

use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::config::section::limits::Limit;
use crate::config::section::routes::{Format, Route};
use crate::config::section::usage::Usage;
use crate::exchange::statistics::Statistics;
use crate::state::counters::{Bill, Costs};

/// Whether answers on a route are read for what they cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Meter {
    /// Nobody wants to know: they pass as the upstream encodes them.
    #[default]
    Off,
    /// They are read as they pass, and unpacked for that: the upstream is asked for a coding that can be.
    Passing,
    /// The upstream is asked for plain answers, whose end is read; the gateway compresses them itself.
    Statistics,
}

impl Meter {
    /// Whether one of these limits counts what only the answer tells; its length, too, must not depend on what the caller
    /// lets the upstream compress.
    pub fn compile<'a>(mut limits: impl Iterator<Item = &'a Limit>) -> Self {
        match limits.any(|limit| !limit.cost.is_one()) {
            false => Meter::Off,
            true => Meter::Statistics,
        }
    }

    /// Where usage is measured: answers of pipes in JSON are read, whatever limits there are.
    pub fn of_usage(usage: &Usage, route: &Route, format: Option<Format>) -> Self {
        match usage.measure && route.pipe.is_some() && matches!(format, None | Some(Format::Json)) {
            false => Meter::Off,
            true => Meter::Passing,
        }
    }

    /// Where both of two sets of limits hold.
    #[must_use]
    pub fn or(self, other: Meter) -> Self {
        match self {
            Meter::Off => other,
            Meter::Passing => {
                if other == Meter::Off {
                    self
                } else {
                    other
                }
            }
            Meter::Statistics => self,
        }
    }

    /// What reads an answer with this head; none where it cannot say what it cost.
    ///
    /// Only a whole JSON document does: the callers of a part of one choose where it begins, and the rows of other
    /// formats may hold anything.
    pub fn reading(self, status: StatusCode, headers: &HeaderMap) -> Option<Reading> {
        let says =
            self != Meter::Off && status.is_success() && status != StatusCode::PARTIAL_CONTENT && is_json(headers);
        match (says, coding(headers)) {
            (true, Coding::Gzip) => Some(Reading::packed()),
            (true, Coding::Plain) => Some(Reading::default()),
            (false, _) | (true, Coding::Other) => None,
        }
    }
}

/// How far an answer came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Body {
    /// It broke off: the upstream failed, or the caller left.
    #[default]
    Broken,
    /// To its end.
    Whole,
}

/// Whether the upstream had anything to do with a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Nothing was sent to it.
    #[default]
    Nowhere,
    /// It was sent there, in one try at least.
    Upstream,
}

/// How an exchange ended, as far as its cost goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// Whether it went anywhere.
    pub reach: Reach,
    /// The upstream's status, where its answer became the caller's.
    pub answered: Option<StatusCode>,
    /// How far that answer came.
    pub body: Body,
    /// What it said about its cost.
    pub statistics: Statistics,
    /// Bytes of its body, before it was compressed for the caller.
    pub response_bytes: u64,
    /// The time until its head, all tries together.
    pub waited: Duration,
}

/// What becomes of what was taken before the costs were known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It broke off, or failed after it had run: nothing says at what cost, but it was this at least.
    AtLeast(Costs),
    /// It cost this. What is none here costs what the limit assumes.
    Known(Costs),
    /// It never ran: the upstream refused it.
    Nothing,
    /// What quotas took is given back: the request went nowhere.
    Refund,
}

impl Verdict {
    /// What quotas count; none where what they took is given back.
    pub fn bill(&self) -> Option<Bill> {
        match self {
            Verdict::AtLeast(costs) => Some(Bill::AtLeast(*costs)),
            Verdict::Known(costs) => Some(Bill::Exactly(*costs)),
            Verdict::Nothing => Some(Bill::Exactly(Costs {
                rows_read: Some(0),
                bytes_read: Some(0),
                response_bytes: Some(0),
                micros: Some(0),
            })),
            Verdict::Refund => None,
        }
    }

    /// What later requests of the route can be expected to cost, as far as this one says.
    pub fn lesson(&self) -> Option<&Costs> {
        match self {
            Verdict::Known(costs) => Some(costs),
            // What callers can bring about for nothing teaches nothing.
            Verdict::AtLeast(_) | Verdict::Nothing | Verdict::Refund => None,
        }
    }
}

/// What an exchange cost.
pub fn verdict(end: &End) -> Verdict {
    let at_least =
        Costs { response_bytes: Some(end.response_bytes), micros: Some(micros(end.waited)), ..Costs::default() };
    match (end.answered, end.reach) {
        (None, Reach::Nowhere) => Verdict::Refund,
        (None, Reach::Upstream) => Verdict::AtLeast(at_least),
        // The query was ended by the upstream, after it had run.
        (Some(status), _) if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT => {
            Verdict::AtLeast(at_least)
        }
        (Some(status), _) if status.is_client_error() => Verdict::Nothing,
        // What breaks off must not be cheaper than what was asked for.
        (Some(_), _) if end.body == Body::Broken => Verdict::AtLeast(at_least),
        (Some(_), _) => Verdict::Known(Costs {
            rows_read: end.statistics.rows_read,
            bytes_read: end.statistics.bytes_read,
            response_bytes: Some(end.response_bytes),
            micros: Some(micros(end.statistics.elapsed.unwrap_or(end.waited))),
        }),
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// How a body is coded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Coding {
    Gzip,
    Other,
    Plain,
}

fn coding(headers: &HeaderMap) -> Coding {
    let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
    let is = |coding: &HeaderValue, word: &[u8]| coding.as_bytes().eq_ignore_ascii_case(word);
    match (codings.next(), codings.next()) {
        (None, _) => Coding::Plain,
        (Some(coding), None) if is(coding, b"identity") => Coding::Plain,
        (Some(coding), None) if is(coding, b"gzip") || is(coding, b"x-gzip") => Coding::Gzip,
        (Some(_), _) => Coding::Other,
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let media = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let parameters = media.iter().position(|byte| *byte == b';').unwrap_or(media.len());
    let media = media.get(..parameters).unwrap_or_default();
    media.trim_ascii().eq_ignore_ascii_case(b"application/json")
}

#[cfg(test)]
mod tests;
