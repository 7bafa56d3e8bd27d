//! `tracestate`: what other tracing systems pass along with a trace.
//!
//! In: a caller's headers. Out: one value to pass on, of well-formed members
//! and bounded length (W3C Trace Context section 3.3); none where there is
//! nothing to pass, or it is malformed. Not here: members of our own; there
//! are none.

use http::header::{HeaderMap, HeaderName, HeaderValue};

const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Members of a list; one with more is discarded whole.
const MAX_MEMBERS: usize = 32;
/// Bytes that are passed on: what the standard wants to be passed at least.
const MAX_BYTES: usize = 512;
/// Where there are more, members longer than this go first.
const LONG_MEMBER: usize = 128;

/// The caller's `tracestate`, of one header or several.
pub(super) fn joined(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut members = Vec::new();
    for value in headers.get_all(TRACESTATE) {
        let text = value.to_str().ok()?;
        // An empty member is allowed, and is none.
        for member in text.split(',').map(|member| member.trim_matches([' ', '\t'])).filter(|member| !member.is_empty())
        {
            if !is_member(member) || members.len() == MAX_MEMBERS {
                return None;
            }
            members.push(member);
        }
    }
    let length = |members: &[&str]| members.iter().map(|member| member.len() + 1).sum::<usize>().saturating_sub(1);
    if length(&members) > MAX_BYTES {
        members.retain(|member| member.len() <= LONG_MEMBER);
    }
    // The newest stand first.
    while length(&members) > MAX_BYTES {
        members.pop();
    }
    if members.is_empty() {
        return None;
    }
    HeaderValue::from_str(&members.join(",")).ok()
}

fn is_member(member: &str) -> bool {
    member.split_once('=').is_some_and(|(key, value)| is_key(key) && is_value(value))
}

fn is_key(key: &str) -> bool {
    let is_of_key = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/');
    let is_name = |name: &str, longest: usize| (1..=longest).contains(&name.len()) && name.bytes().all(is_of_key);
    let begins_with_letter = |name: &str| name.starts_with(|c: char| c.is_ascii_lowercase());
    match key.split_once('@') {
        None => is_name(key, 256) && begins_with_letter(key),
        // The tenant of a system with several of them, which may begin with a digit.
        Some((tenant, system)) => {
            let tenant_begins_well = tenant.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
            is_name(tenant, 241) && tenant_begins_well && is_name(system, 14) && begins_with_letter(system)
        }
    }
}

fn is_value(value: &str) -> bool {
    let is_of_value = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'=';
    (1..=256).contains(&value.len()) && value.bytes().all(is_of_value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(values: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(TRACESTATE, HeaderValue::from_str(value).unwrap());
        }
        joined(&headers).map(|value| value.to_str().unwrap().to_owned())
    }

    /// The cases of the W3C's own test suite (`trace-context/test/test.py`).
    #[test]
    fn well_formed_lists_are_passed_on_in_their_order() {
        assert_eq!(passed(&[]), None);
        assert_eq!(passed(&[""]), None);
        assert_eq!(passed(&["foo=1", ""]), Some("foo=1".to_owned()));
        assert_eq!(passed(&["", "foo=1"]), Some("foo=1".to_owned()));
        assert_eq!(passed(&["foo=1,bar=2"]), Some("foo=1,bar=2".to_owned()));
        assert_eq!(
            passed(&["foo=1,bar=2", "rojo=1,congo=2", "baz=3"]),
            Some("foo=1,bar=2,rojo=1,congo=2,baz=3".to_owned())
        );
        assert_eq!(passed(&["foo=1 \t , \t bar=2, \t baz=3"]), Some("foo=1,bar=2,baz=3".to_owned()));
        let key = "abcdefghijklmnopqrstuvwxyz0123456789_-*/";
        let value: String = (b' '..=b'~').map(char::from).filter(|c| !",=".contains(*c)).collect();
        let value = value.trim();
        for list in [format!("{key}={value}"), format!("{key}@a-z0-9_-*/={value}")] {
            assert_eq!(passed(&[&list]).as_deref(), Some(&*list));
        }
        let many: Vec<String> = (0..32).map(|n| format!("bar{n:02}={n:02}")).collect();
        assert_eq!(passed(&[&many.join(",")]), Some(many.join(",")));
        for key in ["z".repeat(256), format!("{}@{}", "t".repeat(241), "v".repeat(14))] {
            let list = format!("foo=1,{key}=1");
            assert_eq!(passed(&[&list]).as_deref(), Some(&*list));
        }
    }

    #[test]
    fn malformed_lists_are_discarded_whole() {
        for bad in [
            "foo =1",
            "FOO=1",
            "foo.bar=1",
            "foo@=1,bar=2",
            "@foo=1,bar=2",
            "foo@@bar=1,bar=2",
            "foo@bar@baz=1,bar=2",
            "foo=bar=baz",
            "foo=,bar=3",
            "foo",
            "=1",
            "1foo=1",
            "foo@1bar=1",
            "foo=1;bar=2,x",
        ] {
            assert_eq!(passed(&[bad]), None, "{bad}");
        }
        let many: Vec<String> = (0..33).map(|n| format!("bar{n:02}={n:02}")).collect();
        assert_eq!(passed(&[&many.join(",")]), None);
        for key in ["z".repeat(257), format!("{}@v", "t".repeat(242)), format!("t@{}", "v".repeat(15))] {
            assert_eq!(passed(&[&format!("{key}=1")]), None);
        }
        assert_eq!(passed(&[&format!("foo={}", "x".repeat(257))]), None);
        let mut headers = HeaderMap::new();
        headers.append(TRACESTATE, HeaderValue::from_bytes(b"foo=\xff").unwrap());
        assert_eq!(joined(&headers), None);
    }

    #[test]
    fn what_is_too_long_loses_its_longest_and_its_oldest() {
        let long = format!("long={}", "x".repeat(200));
        let middle = format!("m={}", "y".repeat(100));
        assert_eq!(passed(&[&format!("a=1,{long},{long},{long},b=2")]), Some("a=1,b=2".to_owned()));
        let five = [middle.as_str(); 6].join(",");
        assert_eq!(passed(&[&five]), Some([middle.as_str(); 4].join(",")));
    }
}
