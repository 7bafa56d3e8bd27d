//! Callers' texts without their credentials.
//!
//! In: paths, queries, values, headers and bodies, as they came. Out: the same,
//! with stars where a name says that a credential follows. Not here: which
//! names do (`scalar`).

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::config::scalar::{MASK, is_credential_name};

/// How often a text is decoded to find what it hides: `token%253D` is `token=` to who decodes twice.
const DECODED: usize = 3;

/// Path and query.
pub(super) fn masked_target(target: &str) -> String {
    match target.split_once('?') {
        Some((path, query)) => format!("{}?{}", masked_text(path), masked_query(query)),
        None => masked_text(target).into_owned(),
    }
}

/// A query, or a body that is a form.
pub(super) fn masked_query(query: &str) -> String {
    let piece = |piece: &str| match piece.split_once('=') {
        None => masked_text(piece).into_owned(),
        Some((name, value)) => {
            let decoded = percent_decode_str(name).decode_utf8_lossy();
            format!("{}={}", masked_text(name), masked_value(&decoded, value))
        }
    };
    query.split('&').map(piece).collect::<Vec<_>>().join("&")
}

/// The value of a parameter.
pub(super) fn masked_value(name: &str, value: &str) -> String {
    match is_credential_name(name) && !value.is_empty() {
        true => MASK.to_owned(),
        false => masked_text(value).into_owned(),
    }
}

/// A body: JSON, a form, or any other text.
pub(super) fn masked_body(body: &str) -> String {
    if let Ok(mut value @ (Value::Array(_) | Value::Object(_))) = serde_json::from_str(body) {
        // Where there is nothing to hide, it stays as it was written.
        return if mask_json(&mut value) { value.to_string() } else { body.to_owned() };
    }
    let is_form = body.contains('=') && !body.contains(char::is_whitespace);
    if is_form { masked_query(body) } else { masked_text(body).into_owned() }
}

/// Hides the values of credentials; whether there were any.
fn mask_json(value: &mut Value) -> bool {
    match value {
        // Each of them, and not only the first.
        Value::Array(items) => items.iter_mut().map(mask_json).filter(|found| *found).count() > 0,
        Value::Object(members) => {
            let found = members.iter_mut().map(|(name, member)| {
                let hidden = is_credential_name(name) && !member.is_null();
                if hidden {
                    *member = MASK.into();
                }
                hidden || mask_json(member)
            });
            found.filter(|found| *found).count() > 0
        }
        Value::String(text) => match masked_text(text) {
            Cow::Borrowed(_) => false,
            Cow::Owned(masked) => {
                *text = masked;
                true
            }
        },
        Value::Bool(_) | Value::Null | Value::Number(_) => false,
    }
}

/// Any text of the caller. Callers append `&token=...` where there is no query, too, and put URLs with passwords into
/// headers: what stands behind such a name is hidden, and what stands before an `@`.
pub(super) fn masked_text(text: &str) -> Cow<'_, str> {
    let mut decoded = text.to_owned();
    let mut shown = Cow::Borrowed(text);
    for _ in 0..DECODED {
        if let Some(masked) = without_credentials(&decoded) {
            shown = Cow::Owned(masked.clone());
            decoded = masked;
        }
        let again = percent_decode_str(&decoded).decode_utf8_lossy().into_owned();
        if again == decoded {
            break;
        }
        decoded = again;
    }
    shown
}

/// The text up to the first credential; none where there is none.
fn without_credentials(text: &str) -> Option<String> {
    let named = text.match_indices(['=', ':']).map(|(at, _)| at).find(|at| {
        let before = text.get(..*at).unwrap_or_default().trim_end_matches([' ', '"', '\'', '\\']);
        let name = |c: char| c.is_alphanumeric() || "_-.[]".contains(c);
        let start = before.trim_end_matches(name).len();
        let behind = text.get(at + 1..).unwrap_or_default();
        !behind.trim().is_empty() && is_credential_name(before.get(start..).unwrap_or_default())
    });
    let shown = named.and_then(|at| text.get(..=at));
    let without = without_users(shown.unwrap_or(text));
    match shown {
        Some(shown) => Some(format!("{}{MASK}", without.as_deref().unwrap_or(shown))),
        None => without,
    }
}

/// The text with stars for `user:password` of `//user:password@host`; none where there is none.
fn without_users(text: &str) -> Option<String> {
    let mut found = false;
    let mut pieces = text.split("//");
    let mut shown = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let authority = piece.split(['/', '?', '#', ' ', '&']).next().unwrap_or_default();
        shown.push_str("//");
        match authority.rfind('@').and_then(|end| piece.get(end..)) {
            None => shown.push_str(piece),
            Some(rest) => {
                found = true;
                shown.push_str(MASK);
                shown.push_str(rest);
            }
        }
    }
    found.then_some(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_of_callers_are_hidden_wherever_they_stand() {
        for (given, shown) in [
            ("limit=5", "limit=5"),
            ("token=abc", "token=***"),
            ("limit=5&Token=abc&x=1", "limit=5&Token=***&x=1"),
            ("%74oken[]=abc", "%74oken[]=***"),
            ("token=", "token="),
            ("a=b%26token%3Dabc", "a=b&token=***"),
            ("x=token%253Dabc", "x=token=***"),
            ("a&&b=", "a&&b="),
            (
                "my_token=2&password=a&access_token=b&sig=c&author=d",
                "my_token=***&password=***&access_token=***&sig=***&author=d",
            ),
            ("x={\"token\":\"abc\"}", "x={\"token\":***"),
            ("next=https://me:abc@h/a", "next=https://***@h/a"),
            ("next=https%3A%2F%2Fme:abc@h/a?key=abc", "next=https://***@h/a?key=***"),
        ] {
            assert_eq!(masked_query(given), shown);
        }
        assert_eq!(masked_text("/top%20x"), "/top%20x");
        assert_eq!(masked_text("/top&Token=abc/d"), "/top&Token=***");
        assert_eq!(masked_text("/top%26%54oken%3Dabc"), "/top&Token=***");
        assert_eq!(masked_target("/top?token=abc=def"), "/top?token=***");
    }

    #[test]
    fn bodies_are_read_as_what_they_are() {
        for (given, shown) in [
            ("limit=5&pwd=abc", "limit=5&pwd=***"),
            ("{ \"limit\": 5 }", "{ \"limit\": 5 }"),
            (
                "{\"a\": [{\"api_key\": {\"b\": \"abc\"}}, \"?token=abc\"]}",
                "{\"a\":[{\"api_key\":\"***\"},\"?token=***\"]}",
            ),
            ("{\"token\": \"abc", "{\"token\":***"),
            ("two lines\npassword = abc\n", "two lines\npassword =***"),
            ("nothing to hide: 5 = 5\n", "nothing to hide: 5 = 5\n"),
        ] {
            assert_eq!(masked_body(given), shown);
        }
    }
}
