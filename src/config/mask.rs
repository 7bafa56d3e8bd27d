//! Which values are credentials, and the text of a file without them.
//!
//! In: a file's text, with its tree as far as one could be built. Out: a text
//! of the same length with stars. Not here: values that come from variables,
//! which are not in the text.

use std::ops::Range;

use super::document::{Node, NodeKind};

/// Keys whose values are credentials wherever they stand.
const CREDENTIAL_KEYS: [&str; 3] = ["token", "secret", "key"];

/// Keys of an upstream that hold no credential.
const PLAIN_UPSTREAM_KEYS: [&str; 6] = ["auth", "headers", "retry", "timeouts", "tls", "url"];

/// Whether the value at `path` is a credential, or stands inside one.
pub(super) fn is_credential(path: &[&str]) -> bool {
    match path {
        ["upstreams", _, "headers", _, ..] => true,
        // A key that does not exist may be a misspelt one, and all that can be meant but these are credentials.
        ["upstreams", _, key, ..] if !PLAIN_UPSTREAM_KEYS.contains(key) => true,
        ["admin", key, ..] if *key != "address" => true,
        // What operators name themselves says nothing about what is in it.
        ["upstreams" | "routes", _, inner @ ..] => inner.iter().any(|key| is_credential_key(key)),
        _ => path.iter().any(|key| is_credential_key(key)),
    }
}

/// Whether the value at `path` is a parameter whose name says that it is a credential:
/// `api_key`, `access_token`, `Password`.
pub(super) fn is_named_like_a_credential(path: &[&str]) -> bool {
    let ["routes", _, "params", "fixed" | "default", name] = path else { return false };
    let name = name.to_ascii_lowercase();
    ["credential", "passwd", "password", "secret", "token"].iter().any(|word| name.contains(word))
        || name.ends_with("key")
}

fn is_credential_key(key: &str) -> bool {
    CREDENTIAL_KEYS.iter().any(|credential| key.eq_ignore_ascii_case(credential))
}

/// The text with every literal credential replaced by stars: those of the tree
/// at `root`, and those at `dropped`, which are not in the tree.
pub(super) fn mask(text: &str, root: &Node, dropped: &[Range<usize>]) -> String {
    let mut spans = dropped.to_vec();
    collect(text, root, &mut Vec::new(), &mut spans);
    stars(text, &spans)
}

/// Where the literal credentials of a node at `path` stand.
pub(super) fn credentials_in(text: &str, path: &[String], node: &Node) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    collect(text, node, &mut path.iter().map(String::as_str).collect(), &mut spans);
    spans
}

/// As [`mask`], for a text that has no tree: by the look of its lines.
pub(super) fn mask_lines(text: &str) -> String {
    let mut spans = Vec::new();
    let mut start = 0;
    let mut headers = None;
    for line in text.split_inclusive('\n') {
        let indentation = line.len() - line.trim_start().len();
        if headers.is_some_and(|section| indentation <= section) && !line.trim().is_empty() {
            headers = None;
        }
        if let Some(at) = credential_in(line, headers.is_some()) {
            spans.push(start + at..start + line.len());
        }
        if line.trim_start().starts_with("headers:") {
            headers = Some(indentation);
        }
        start += line.len();
    }
    stars(text, &spans)
}

/// Where in a line the first credential begins, if one may be in it.
fn credential_in(line: &str, in_headers: bool) -> Option<usize> {
    let mut word_start = 0;
    let mut named = in_headers || line.contains("headers:");
    let scheme = line.find("://");
    for (at, c) in line.char_indices() {
        match c {
            ':' if named || line.get(word_start..at).is_some_and(is_credential_key) => {
                let value = line.get(at + 1..).unwrap_or_default();
                let begins = value.trim_start_matches([' ', '"', '\'']);
                if begins.starts_with("${")
                    && let Some(default) = value.find(":-")
                {
                    return Some(at + 1 + default + 2);
                }
                let literal = !begins.starts_with("${") && !begins.starts_with("file://") && !begins.trim().is_empty();
                if literal && !begins.starts_with('{') {
                    return Some(at + 1);
                }
                named = named && begins.starts_with('{');
            }
            '@' if scheme.is_some_and(|scheme| scheme + "://".len() <= at) => return scheme,
            _ => {}
        }
        if !(c.is_alphanumeric() || c == '_') {
            word_start = at + c.len_utf8();
        }
    }
    None
}

fn stars(text: &str, spans: &[Range<usize>]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for span in spans {
        for byte in bytes.get_mut(span.clone()).unwrap_or_default() {
            if !matches!(byte, b'\n' | b'\r') {
                *byte = b'*';
            }
        }
    }
    // Whole characters were replaced, so none was cut.
    String::from_utf8(bytes).unwrap_or_default()
}

fn collect<'a>(text: &str, node: &'a Node, path: &mut Vec<&'a str>, spans: &mut Vec<Range<usize>>) {
    match &node.kind {
        NodeKind::Scalar(scalar) if is_credential(path) => {
            let is_alias = text.get(node.span.clone()).is_some_and(|written| written.starts_with('*'));
            if scalar.text.starts_with("file://") || is_alias || scalar.text.is_empty() {
            } else if scalar.text.contains("${") {
                spans.extend(beside_variables(text, &node.span));
            } else {
                spans.push(node.span.clone());
            }
        }
        NodeKind::Scalar(_) => spans.extend(credential_of_url(text, &node.span)),
        NodeKind::Map(entries) => {
            for (key, child) in entries {
                path.push(&key.text);
                if is_credential(path) {
                    spans.extend(eaten_by_yaml(text, key.span.end));
                }
                collect(text, child, path, spans);
                path.pop();
            }
        }
        NodeKind::List(items) => {
            for item in items {
                path.push("");
                collect(text, item, path, spans);
                path.pop();
            }
        }
        NodeKind::Broken | NodeKind::Null => {}
    }
}

/// The rest of a line whose value begins with what YAML takes for a remark, a name or a type: `token: #x`, `&x`, `!x`.
fn eaten_by_yaml(text: &str, behind_key: usize) -> Option<Range<usize>> {
    let line = text.get(behind_key..)?.lines().next()?;
    let value = line.trim_start_matches(['"', '\'']).trim_start().strip_prefix(':')?.trim_start();
    let start = behind_key + line.len() - value.len();
    value.starts_with(['#', '&', '!']).then(|| start..behind_key + line.trim_end().len())
}

/// What stands around variables, and their defaults: `Bearer ${NAME:-****}`.
fn beside_variables(text: &str, span: &Range<usize>) -> Vec<Range<usize>> {
    let written = text.get(span.clone()).unwrap_or_default();
    let mut spans = Vec::new();
    let mut hide = |from: usize, to: usize| {
        if from < to {
            spans.push(span.start + from..span.start + to);
        }
    };
    // Quotes and the scheme of an `Authorization` header say nothing that others may not know.
    let mut rest = written.len() - written.trim_start_matches(['"', '\'']).len();
    for scheme in ["Bearer ", "Basic "] {
        rest += if written.get(rest..).is_some_and(|written| written.starts_with(scheme)) { scheme.len() } else { 0 };
    }
    let end = written.trim_end_matches(['"', '\'']).len();
    while let Some(opened) = written.get(rest..end).and_then(|text| text.find("${")).map(|at| rest + at) {
        hide(rest, opened);
        let closed = written.get(opened..end).and_then(|text| text.find('}')).map_or(end, |at| opened + at);
        // Behind the name, whatever else shells know there: `:-`, `-`, `:=`, `:?`.
        let inside = written.get(opened + 2..closed).unwrap_or_default();
        let name = inside.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inside.len());
        let operator = inside.get(name..).unwrap_or_default();
        let shown = operator.len() - operator.trim_start_matches(":-").len();
        let is_closed = closed < end;
        hide(if is_closed { opened + 2 + name + shown } else { opened + 2 }, closed);
        rest = (closed + 1).min(end);
    }
    hide(rest, end);
    spans
}

/// `user:password` and the query of a URL, which are wrong there and must not be shown for it.
fn credential_of_url(text: &str, span: &Range<usize>) -> Vec<Range<usize>> {
    let written = text.get(span.clone()).unwrap_or_default();
    let Some(authority) = written.find("://").map(|at| at + 3) else { return Vec::new() };
    let rest = written.get(authority..).unwrap_or_default();
    // A password may hold any character, so the last `@` counts.
    let user = rest.rfind('@').map(|end| span.start + authority..span.start + authority + end);
    let query = rest.find('?').map(|at| {
        let end = written.trim_end_matches(['"', '\'']).len();
        span.start + authority + at + 1..span.start + end
    });
    user.into_iter().chain(query.filter(|query| query.start < query.end)).collect()
}
