//! Trace identifiers (W3C Trace Context), and the spans of one exchange.
//!
//! In: a caller's `traceparent` and `tracestate`, if any, and what becomes of
//! each try. Out: the headers for the upstream, a request id. Not here: which
//! `tracestate` is well-formed (`tracestate`), sending spans (`traces`).

use std::sync::Arc;
use std::time::Instant;

use http::{HeaderMap, HeaderName, HeaderValue};
use rand::Rng;

use super::tracestate;

/// The header that says which trace a request belongs to.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The bit of the flags that says: somebody keeps this trace.
const SAMPLED: u8 = 1;
/// The bits that have a meaning; others are to be sent as zero. The second says that the id is random.
const KNOWN_FLAGS: u8 = 3;

/// Which exchanges have spans.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Sampling {
    /// None: nobody collects them.
    #[default]
    Off,
    /// Those whose caller says so; of those whose caller says nothing, this share.
    Share(f64),
}

/// The trace that an exchange belongs to.
#[derive(Clone, Debug)]
pub struct Trace {
    id: [u8; 32],
    flags: u8,
    /// What other systems wrote beside the caller's `traceparent`.
    state: Option<HeaderValue>,
    /// Only where somebody collects them.
    spans: Option<Box<Spans>>,
}

/// What is recorded of an exchange.
#[derive(Clone, Debug)]
pub struct Spans {
    /// The caller's span.
    pub parent: Option<[u8; 16]>,
    /// The span of the exchange.
    pub own: [u8; 16],
    /// One for each try, in their order.
    pub tries: Vec<Try>,
}

/// One try towards the upstream.
#[derive(Clone, Debug)]
pub struct Try {
    /// Its span, which the upstream is told.
    pub span: [u8; 16],
    /// When the connection was asked for.
    pub began: Instant,
    /// When it was over; none where its answer is the caller's answer.
    pub ended: Option<Instant>,
    /// What was asked for, without query.
    pub url: String,
    /// The status that came, if one did.
    pub status: Option<u16>,
    /// What kept it from an answer.
    pub failure: Option<TryFailure>,
}

/// What kept a try from its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryFailure {
    /// The connection broke.
    Broken,
    /// There was no connection.
    Connect,
    /// It took too long.
    Timeout,
}

impl TryFailure {
    /// As `error.type` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            TryFailure::Broken => "connection_broken",
            TryFailure::Connect => "connection_failed",
            TryFailure::Timeout => "timeout",
        }
    }
}

impl Trace {
    /// Continues the caller's trace if its header is well-formed, else begins one.
    pub fn continue_or_begin(headers: &HeaderMap, sampling: Sampling) -> Self {
        let mut given = headers.get_all(TRACEPARENT).iter();
        // Of two, nobody knows which is the caller's.
        let parent = match (given.next(), given.next()) {
            (Some(value), None) => Parent::parse(value.as_bytes()),
            (None, _) | (_, Some(_)) => None,
        };
        match parent {
            Some(Parent { trace, span, flags }) => Trace {
                id: trace,
                flags: flags & KNOWN_FLAGS,
                state: tracestate::joined(headers),
                spans: sampling.of_caller(flags).then(|| Spans::new(Some(span))),
            },
            None => {
                let is_sampled = sampling.of_nobody();
                Trace {
                    id: random_hex(),
                    // Not sampled where nobody collects: others behind the gateway decide for themselves.
                    flags: if is_sampled { SAMPLED } else { 0 },
                    state: None,
                    spans: is_sampled.then(|| Spans::new(None)),
                }
            }
        }
    }

    /// The trace id, 32 hex digits.
    pub fn id(&self) -> &str {
        std::str::from_utf8(&self.id).unwrap_or_default()
    }

    /// What `traceparent` says about who keeps the trace.
    pub fn flags(&self) -> u8 {
        self.flags
    }

    /// The `tracestate` to pass on.
    pub fn state(&self) -> Option<&HeaderValue> {
        self.state.as_ref()
    }

    /// What is recorded, where somebody collects it.
    pub fn spans(&self) -> Option<&Spans> {
        self.spans.as_deref()
    }

    /// Another try begins.
    pub fn begin_try(&mut self, now: Instant) {
        if let Some(spans) = &mut self.spans {
            let (ended, url, status, failure) = (None, String::new(), None, None);
            spans.tries.push(Try { span: random_hex(), began: now, ended, url, status, failure });
        }
    }

    /// What is known of the current try, where somebody collects it.
    pub fn current_try(&mut self) -> Option<&mut Try> {
        self.spans.as_mut()?.tries.last_mut()
    }

    /// The `traceparent` of the current try: the same trace, a span of its own.
    pub fn header(&self) -> HeaderValue {
        let recorded = self.spans.as_ref().and_then(|spans| spans.tries.last());
        let span = recorded.map_or_else(random_hex, |recorded| recorded.span);
        let mut text = Vec::with_capacity(55);
        text.extend_from_slice(b"00-");
        text.extend_from_slice(&self.id);
        text.push(b'-');
        text.extend_from_slice(&span);
        text.extend_from_slice(b"-0");
        text.push(b'0' + self.flags);
        HeaderValue::from_maybe_shared(bytes::Bytes::from(text)).unwrap_or(HeaderValue::from_static(""))
    }
}

impl Sampling {
    fn of_caller(self, flags: u8) -> bool {
        self != Sampling::Off && flags & SAMPLED != 0
    }

    fn of_nobody(self) -> bool {
        match self {
            Sampling::Off => false,
            Sampling::Share(share) => share >= 1.0 || rand::random::<f64>() < share,
        }
    }
}

impl Spans {
    fn new(parent: Option<[u8; 16]>) -> Box<Self> {
        Box::new(Spans { parent, own: random_hex(), tries: Vec::new() })
    }
}

/// What a caller's `traceparent` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Parent {
    trace: [u8; 32],
    span: [u8; 16],
    flags: u8,
}

impl Parent {
    fn parse(value: &[u8]) -> Option<Self> {
        // version "-" trace-id "-" parent-id "-" flags, all lower-case hex; later versions may append.
        let version: [u8; 2] = value.get(..2)?.try_into().ok()?;
        let trace: [u8; 32] = value.get(3..35)?.try_into().ok()?;
        let span: [u8; 16] = value.get(36..52)?.try_into().ok()?;
        let flags: [u8; 2] = value.get(53..55)?.try_into().ok()?;
        let dashes = [2, 35, 52].iter().all(|at| value.get(*at) == Some(&b'-'));
        let ends_well = match value.get(55) {
            None => true,
            Some(next) => version != *b"00" && *next == b'-',
        };
        let hex = |bytes: &[u8]| bytes.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let zero = |bytes: &[u8]| bytes.iter().all(|byte| *byte == b'0');
        let well_formed = hex(&version) && version != *b"ff" && hex(&trace) && hex(&span) && hex(&flags);
        let flags = u8::from_str_radix(std::str::from_utf8(&flags).ok()?, 16).ok()?;
        (dashes && ends_well && well_formed && !zero(&trace) && !zero(&span)).then_some(Parent { trace, span, flags })
    }
}

/// A new request id: 32 hex digits.
pub fn request_id() -> Arc<str> {
    let digits: [u8; 32] = random_hex();
    std::str::from_utf8(&digits).unwrap_or_default().into()
}

/// Whether a caller's request id may be taken over: what logs and headers carry safely.
pub fn is_request_id(value: &[u8]) -> bool {
    // As padding only: `token=...` is no request id.
    let padding = value.iter().rev().take_while(|byte| **byte == b'=').count();
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'+' | b'/');
    (8..=128).contains(&value.len()) && padding <= 2 && value.iter().rev().skip(padding).all(allowed)
}

/// So many random hex digits. That all are zero, which is no id, happens to nobody.
pub(super) fn random_hex<const N: usize>() -> [u8; N] {
    const { assert!(N <= 32, "a u128 has 32 digits") };
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    // One number holds all digits: asking the generator once per digit would take half of the time.
    let mut random: u128 = rand::thread_rng().r#gen();
    [0; N].map(|_: u8| {
        let digit = DIGITS.get((random & 15) as usize).copied().unwrap_or(b'0');
        random >>= 4;
        digit
    })
}

#[cfg(test)]
#[path = "trace_tests.rs"]
mod tests;
