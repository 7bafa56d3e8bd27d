//! Trace identifiers (W3C Trace Context, level 1).
//!
//! In: a caller's `traceparent`, if any. Out: the one for the upstream, and a
//! request id. Not here: exporting spans.

use std::sync::Arc;

use http::HeaderValue;
use rand::Rng;

/// The trace that an exchange belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    trace_id: [u8; 32],
    flags: [u8; 2],
}

impl Trace {
    /// Continues the caller's trace if its header is well-formed, else begins one.
    pub fn continue_or_begin(traceparent: Option<&HeaderValue>) -> Self {
        traceparent.and_then(|value| Trace::parse(value.as_bytes())).unwrap_or_else(|| Trace {
            trace_id: random_hex(),
            // Not sampled: whoever collects traces decides.
            flags: *b"00",
        })
    }

    fn parse(value: &[u8]) -> Option<Self> {
        // version "-" trace-id "-" parent-id "-" flags, all lower-case hex; later versions may append.
        let version: [u8; 2] = value.get(..2)?.try_into().ok()?;
        let trace_id: [u8; 32] = value.get(3..35)?.try_into().ok()?;
        let parent: [u8; 16] = value.get(36..52)?.try_into().ok()?;
        let flags: [u8; 2] = value.get(53..55)?.try_into().ok()?;
        let dashes = [2, 35, 52].iter().all(|at| value.get(*at) == Some(&b'-'));
        let ends_well = match value.get(55) {
            None => true,
            Some(next) => version != *b"00" && *next == b'-',
        };
        let hex = |bytes: &[u8]| bytes.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let zero = |bytes: &[u8]| bytes.iter().all(|byte| *byte == b'0');
        let well_formed = hex(&version) && version != *b"ff" && hex(&trace_id) && hex(&parent) && hex(&flags);
        (dashes && ends_well && well_formed && !zero(&trace_id) && !zero(&parent)).then_some(Trace { trace_id, flags })
    }

    /// The trace id, 32 hex digits.
    pub fn id(&self) -> &str {
        std::str::from_utf8(&self.trace_id).unwrap_or_default()
    }

    /// The header for one attempt: the same trace, a span of its own.
    pub fn header(&self) -> HeaderValue {
        let span: [u8; 16] = random_hex();
        let mut text = Vec::with_capacity(55);
        text.extend_from_slice(b"00-");
        text.extend_from_slice(&self.trace_id);
        text.push(b'-');
        text.extend_from_slice(&span);
        text.push(b'-');
        text.extend_from_slice(&self.flags);
        HeaderValue::from_maybe_shared(bytes::Bytes::from(text)).unwrap_or(HeaderValue::from_static(""))
    }
}

/// A new request id: 32 hex digits.
pub fn request_id() -> Arc<str> {
    let digits: [u8; 32] = random_hex();
    std::str::from_utf8(&digits).unwrap_or_default().into()
}

/// Whether a caller's request id may be taken over: what logs and headers carry safely.
pub fn is_request_id(value: &[u8]) -> bool {
    (8..=128).contains(&value.len())
        && value
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'+' | b'/' | b'='))
}

fn random_hex<const N: usize>() -> [u8; N] {
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
mod tests {
    use super::*;

    #[test]
    fn a_callers_trace_goes_on_with_a_new_span() {
        let given = HeaderValue::from_static("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        let trace = Trace::continue_or_begin(Some(&given));
        let header = trace.header();
        let text = header.to_str().unwrap();
        assert!(text.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && text.ends_with("-01"), "{text}");
        assert!(!text.contains("b7ad6b7169203331"));
        assert_eq!(Trace::parse(text.as_bytes()).unwrap(), trace);
    }

    #[test]
    fn malformed_traces_are_not_continued() {
        for bad in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-extra",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
        ] {
            assert_eq!(Trace::parse(bad.as_bytes()), None, "{bad}");
        }
        assert!(Trace::parse(b"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-later").is_some());
    }

    #[test]
    fn request_ids_are_unlike_each_other() {
        assert_ne!(request_id(), request_id());
        assert!(is_request_id(request_id().as_bytes()));
        for bad in ["short", "with space in it", "line\nbreak-here", "", "ä-ä-ä-ä-ä"] {
            assert!(!is_request_id(bad.as_bytes()), "{bad:?}");
        }
    }
}
