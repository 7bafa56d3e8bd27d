//! Which values are credentials, and the text of a file without them.
//!
//! In: a file's text, with its tree as far as one could be built. Out: a text
//! of the same length with stars. Not here: values that come from variables,
//! which are not in the text; files that have no tree (`lines`).

mod lines;
mod login;

pub(super) use lines::mask_lines;

use std::borrow::Cow;
use std::ops::Range;

use super::document::{Key, Node, NodeKind};
use super::scalar::{MASK, api_key, is_credential_name};

/// Longer sentences than this are cut: they quote what no one wrote by hand.
const MAX_SENTENCE: usize = 2_000;
/// Keys of an upstream that hold no credential, but for what stands in a section where nothing is known of it.
const PLAIN_UPSTREAM_KEYS: [&str; 12] =
    ["auth", "concurrency", "eject", "headers", "health", "mint", "rate", "retry", "timeouts", "tls", "url", "urls"];
/// As [`PLAIN_UPSTREAM_KEYS`], of a provider. Not `key`: a private one may have been put there.
const PLAIN_PROVIDER_KEYS: [&str; 17] = [
    "algorithms",
    "audience",
    "ca",
    "header",
    "issuer",
    "jwks",
    "keys",
    "leeway",
    "plan",
    "prefix",
    "refused_status",
    "revoked",
    "scopes",
    "tenant",
    "tenants",
    "type",
    "workspace_id",
];
/// Keys of the sections of an upstream.
const PLAIN_INNER_KEYS: [&str; 21] = [
    "after",
    "all_out",
    "attempt",
    "attempts",
    "authorized",
    "base",
    "budget",
    "ca",
    "connect",
    "down_after",
    "every",
    "for",
    "idle",
    "max",
    "on",
    "path",
    "queue",
    "timeout",
    "total",
    "up_after",
    "wait",
];
/// Keys of `state`.
const PLAIN_STATE_KEYS: [&str; 5] = ["counters", "dir", "max_counters", "on_counter_failure", "store"];
/// Keys whose names sound like a credential's, and are not.
const INNOCENT: [&str; 2] = ["credentials", "pass_headers"];

/// What `auth` of an upstream may say, now or later.
const WORDS_OF_AUTH: [&str; 3] = ["mint", "passthrough", "token"];

/// Whether the value at `path` is a credential, or stands inside one.
pub(super) fn is_credential(path: &[&str]) -> bool {
    match path {
        ["upstreams", _, "headers", _, ..] | ["log", "traces", "headers", _, ..] => true,
        // As for upstreams: what is not known may be a misspelt one.
        ["log", "traces", key, ..] => !["headers", "sample", "service", "url"].contains(key),
        // A key that does not exist may be a misspelt one, and all that can be meant but these are credentials.
        ["upstreams", _, key, ..] if !PLAIN_UPSTREAM_KEYS.contains(key) => true,
        ["upstreams", _, "concurrency" | "eject" | "health" | "retry" | "timeouts" | "tls", key, ..] => {
            !PLAIN_INNER_KEYS.contains(key)
        }
        ["upstreams", _, "mint", key, ..] => !["ttl", "workspace_id"].contains(key),
        ["upstreams", ..] => false,
        // As for upstreams: what is not known may be a misspelt secret.
        ["auth", _, key, ..] => !PLAIN_PROVIDER_KEYS.contains(key),
        ["auth" | "default_auth", ..] | ["white_label", "openapi_auth", ..] => false,
        // Sentences that everybody may read, by codes such as `credential_missing`.
        ["white_label", "errors", ..] | ["hosts", _, "errors", ..] => false,
        ["routes", _, "auth" | "require", ..]
        | ["hosts", _, "auth", ..]
        | ["hosts", _, "routes", _, "auth" | "require", ..] => false,
        ["usage", "export", key, ..] => !["events", "upstream"].contains(key),
        ["admin", key, ..] => *key != "address",
        // What operators name themselves says nothing about what is in it.
        ["hosts"] | ["hosts", _] => false,
        // Paths of files. Who writes the key itself there is told that it cannot be read, and not shown it.
        ["hosts", _, "tls", ..] => false,
        // As for upstreams: what is not known there may be a misspelt key.
        ["tls", "acme", .., "eab", key] => *key != "key_id",
        ["tls", ..] => false,
        ["limits" | "plans" | "routes" | "tenants", _, inner @ ..]
        | ["hosts", _, "routes", _, inner @ ..]
        | ["hosts", _, inner @ ..] => inner.iter().any(|key| is_credential_key(key)),
        // A URL, of which `mask` hides what is secret; in anything else there a password may stand anywhere.
        ["state", "counters" | "store", inner @ ..] => !inner.is_empty(),
        // As for upstreams.
        ["state", key, ..] => !PLAIN_STATE_KEYS.contains(key),
        _ => path.iter().any(|key| is_credential_key(key)),
    }
}

/// Whether a text at `path` must not be shown: a credential, or a text in the place of a section that has one in it, or
/// of a word that says which credential.
pub(super) fn is_confidential(path: &[&str]) -> bool {
    is_credential(path)
        || matches!(
            path,
            ["admin" | "auth" | "state" | "upstreams"]
                | ["log", "traces"]
                | ["log", "traces", "headers"]
                | ["usage", "export"]
                | ["auth" | "upstreams", _]
                | [
                    "upstreams",
                    _,
                    "auth" | "concurrency" | "eject" | "headers" | "health" | "mint" | "retry" | "timeouts" | "tls"
                ]
        )
}

/// `auth: token` says whose credential is sent, and is none.
pub(super) fn is_word_of_auth(path: &[&str], text: &str) -> bool {
    matches!(path, ["upstreams", _, "auth"]) && WORDS_OF_AUTH.contains(&text)
}

fn is_credential_key(key: &str) -> bool {
    // Who mistakes what a record of `keys.yaml` wants there writes the key itself.
    key == "sha256" || !INNOCENT.contains(&key) && is_credential_name(key)
}

/// The key at the end of `path` as a message may quote it: without what may be a credential that was written into it.
pub(super) fn quotable<'a>(path: &[&'a str]) -> Cow<'a, str> {
    let Some((key, above)) = path.split_last() else { return Cow::Borrowed("") };
    match hidden_in_key(above, key) {
        None => Cow::Borrowed(key),
        Some(at) => Cow::Owned(format!("{}…", key.get(..at).unwrap_or_default())),
    }
}

/// Where in a key something begins that nobody may see: `token:SECRET`, of which YAML makes one key.
fn hidden_in_key(above: &[&str], key: &str) -> Option<usize> {
    match above {
        _ if is_credential(above) || !api_key::find(key).is_empty() => Some(0),
        // Where a URL should be.
        ["state", "counters" | "store"] => Some(0),
        ["routes" | "hosts"] | ["hosts", _, "routes"] => None,
        ["admin" | "state"] | ["auth", _] | ["upstreams", _, ..] => {
            key.find(|c: char| !c.is_ascii_alphanumeric() && !"_-.".contains(c)).filter(|_| key != "<<")
        }
        _ => key.find([':', '=']),
    }
}

/// As [`hidden_in_key`], as bytes of the text.
fn hidden_span(text: &str, above: &[&str], key: &Key) -> Option<Range<usize>> {
    let at = hidden_in_key(above, &key.text)?;
    let quote = usize::from(text.get(key.span.clone()).is_some_and(|key| key.starts_with(['"', '\''])));
    Some((key.span.start + quote + at).min(key.span.end)..key.span.end)
}

/// The text with every literal credential replaced by stars: those of the tree
/// at `root`, and those at `dropped`, which are not in the tree.
pub(super) fn mask(text: &str, root: &Node, dropped: &[Range<usize>]) -> String {
    let mut spans = dropped.to_vec();
    // A text where the sections should be may be anything.
    if matches!(root.kind, NodeKind::Scalar(_)) {
        return mask_lines(text);
    }
    collect(text, root, &mut Vec::new(), &mut spans);
    spans.extend(remarks_behind(text, &spans));
    for section in ["admin", "auth", "state", "upstreams"].iter().filter_map(|name| root.child(name)) {
        spans.extend(remarks(text, &section.span));
    }
    stars(text, &spans)
}

/// Where the literal credentials of a node at `path` stand.
pub(super) fn credentials_in(text: &str, path: &[String], node: &Node) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    collect(text, node, &mut path.iter().map(String::as_str).collect(), &mut spans);
    spans
}

/// What must not be shown of the key at the end of `path`.
pub(super) fn credential_in_key(text: &str, path: &[&str], key: &Key) -> Option<Range<usize>> {
    path.split_last().and_then(|(_, above)| hidden_span(text, above, key))
}

/// What is `shown` of a text, without the keys and tokens that stand in it wherever.
pub(super) fn without_keys(text: &str, shown: String) -> String {
    let keys = api_key::find_credentials(text);
    if keys.is_empty() { shown } else { stars(&shown, &keys) }
}

/// A sentence without credentials: people paste them where a name or a path is meant, and messages quote what they find.
pub(super) fn shortened(mut sentence: String) -> String {
    for span in api_key::find_credentials(&sentence).into_iter().rev() {
        sentence.replace_range(span, MASK);
    }
    if sentence.len() > MAX_SENTENCE {
        let end = (0..=MAX_SENTENCE).rev().find(|end| sentence.is_char_boundary(*end)).unwrap_or_default();
        sentence.truncate(end);
        sentence.push('…');
    }
    sentence
}

fn stars(text: &str, spans: &[Range<usize>]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for span in spans {
        let boundary = |at: &usize| text.is_char_boundary(*at);
        let start = (0..=span.start).rev().find(boundary).unwrap_or_default();
        let end = (span.end..text.len()).find(boundary).unwrap_or(text.len());
        for byte in bytes.get_mut(start..end).unwrap_or_default() {
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
        // Where a file should be named.
        NodeKind::Scalar(scalar) if scalar.text.contains("PRIVATE KEY--") => spans.push(node.span.clone()),
        NodeKind::Scalar(scalar) if is_confidential(path) && !is_word_of_auth(path, &scalar.text) => {
            let is_alias = text.get(node.span.clone()).is_some_and(|written| written.starts_with('*'));
            if scalar.text.starts_with("file://") || is_alias || scalar.text.is_empty() {
            } else if scalar.text.contains("${") {
                spans.extend(beside_variables(text, &node.span));
            } else {
                spans.push(node.span.clone());
            }
        }
        NodeKind::Scalar(_) if matches!(path.as_slice(), ["state", "counters" | "store"]) => {
            spans.extend(login::hidden_of(text, &node.span));
        }
        NodeKind::Scalar(_) => {
            let is_url = matches!(path.as_slice(), ["upstreams", _, "url"] | ["upstreams", _, "urls", _]);
            spans.extend(credential_of_url(text, &node.span, is_url));
        }
        NodeKind::Map(entries) => {
            for (key, child) in entries {
                spans.extend(hidden_span(text, path, key));
                path.push(&key.text);
                let is_section = matches!(child.kind, NodeKind::List(_) | NodeKind::Map(_));
                let is_url = matches!(path.as_slice(), ["state", "counters" | "store"]);
                if is_credential(path) || ((is_confidential(path) || is_url) && !is_section) {
                    spans.extend(eaten_by_yaml(text, key.span.end));
                }
                if is_credential(path) {
                    // Nothing is hidden there, but for a remark behind it.
                    let end = child.span.end.max(key.span.end);
                    spans.push(end..end);
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
    let rest = text.get(behind_key..)?;
    let blanks = [' ', '\t'];
    let value = rest.trim_start_matches(['"', '\'']).trim_start_matches(blanks).strip_prefix(':')?;
    let value = value.trim_start_matches(blanks);
    let start = behind_key + rest.len() - value.len();
    let is_eaten = value.starts_with(['#', '&', '!']);
    is_eaten.then(|| start..start + value.lines().next().unwrap_or_default().trim_end().len())
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
        // Behind the name, a default; what else shells know there, `-`, `:=`, `:?`, means nothing here.
        let inside = written.get(opened + 2..closed).unwrap_or_default();
        let name = inside.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inside.len());
        let operator = inside.get(name..).unwrap_or_default();
        let shown = operator.len() - operator.trim_start_matches(":-").len();
        // What no variable is may be the credential itself: `${p.eyJ…}`.
        let is_variable = closed < end && (operator.is_empty() || shown > 0);
        hide(if is_variable { opened + 2 + name + shown } else { opened + 2 }, closed);
        rest = (closed + 1).min(end);
    }
    hide(rest, end);
    spans
}

/// The remark at the end of the line of a position: what was there before may stand in it.
fn remark_behind(text: &str, at: usize) -> Option<Range<usize>> {
    let line = text.get(at..)?.lines().next()?;
    let mark = line
        .match_indices('#')
        .map(|(mark, _)| mark)
        .find(|mark| line.get(..*mark).is_some_and(|before| before.ends_with([' ', '\t'])))?;
    Some(at + mark + 1..at + line.len())
}

/// The remarks on the lines where these end.
fn remarks_behind(text: &str, spans: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut ends: Vec<usize> = spans.iter().map(|span| span.end).collect();
    ends.sort_unstable();
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut looked = 0;
    // The last of a line first, so that no line is read more than once.
    for end in ends.into_iter().rev() {
        let is_known = text.get(end..looked).is_some_and(|between| !between.contains('\n'));
        if looked == 0 || !is_known {
            found.extend(remark_behind(text, end));
        }
        looked = end;
    }
    found
}

/// The remarks on the lines of a section.
fn remarks(text: &str, section: &Range<usize>) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    let mut start = text.get(..section.start).and_then(|before| before.rfind('\n')).map_or(0, |newline| newline + 1);
    for line in text.get(start..section.end).unwrap_or_default().split_inclusive('\n') {
        let blanks = line.len() - line.trim_start().len();
        match line.trim_start().starts_with('#') {
            true => spans.push(start + blanks + 1..start + line.len()),
            false => spans.extend(remark_behind(text, start)),
        }
        start += line.len();
    }
    spans
}

/// `user:password` and the query of a URL, which are wrong there and must not be shown for it. Where a URL must stand,
/// they are looked for in whatever stands there.
fn credential_of_url(text: &str, span: &Range<usize>, must_be_url: bool) -> Vec<Range<usize>> {
    let written = text.get(span.clone()).unwrap_or_default();
    let quote = usize::from(written.starts_with(['"', '\'']));
    let authority = written.find("://").map(|at| at + 3).or(must_be_url.then_some(quote));
    let Some(authority) = authority else { return Vec::new() };
    let rest = written.get(authority..).unwrap_or_default();
    // A password may hold any character, so the last `@` counts.
    let user = rest.rfind('@').map(|end| span.start + authority..span.start + authority + end);
    let query = rest.find(['?', '#']).map(|at| {
        let end = written.trim_end_matches(['"', '\'']).len();
        span.start + authority + at + 1..span.start + end
    });
    user.into_iter().chain(query.filter(|query| query.start < query.end)).collect()
}
