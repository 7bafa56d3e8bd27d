//! The decoder's complaints in an operator's words.
//!
//! In: the path of a mistake and what serde says about it. Out: an [`Issue`]
//! that says what is wrong and what to do. Not here: decoding (`decode`), which
//! calls this for each mistake it takes out.

use super::document::{Document, Node, NodeKind};
use super::issue::{Issue, IssueCode};
use super::mask::{is_confidential, is_credential, is_word_of_auth, quotable};
use super::scalar::{ByteSize, Percent, Period, Quota, Rate};

/// What to do about a key that YAML took for text.
pub(super) const BLANK_BEHIND_COLON: &str = "behind the `:` of a key stands a blank";

pub(super) fn missing_key(document: &Document, path: &[&str], key: &str) -> Issue {
    let owner = name_of(document, path);
    let help = match (path, key) {
        (["limits", _], "by") => {
            "add `by:` with who is counted apart: gateway, route, host, tenant, caller, ip".to_owned()
        }
        _ => format!("add `{key}:`"),
    };
    Issue::at(IssueCode::MissingKey, document.key_place(path), format!("{owner} has no `{key}`")).help(help)
}

pub(super) fn unknown_key(document: &Document, path: &[&str], message: &str) -> Issue {
    let key = path.last().copied().unwrap_or_default();
    let expected = quoted_list(message);
    let issue =
        Issue::at(IssueCode::UnknownKey, document.key_place(path), format!("`{}` is not a key here", quotable(path)));
    match super::nearest(key, expected.iter().map(String::as_str)) {
        Some(nearest) => issue.help(format!("did you mean `{nearest}`?")),
        None if key == "<<" => {
            issue.help("merge keys have no meaning here: write the keys out, or give a whole section by `*name`")
        }
        None if expected.is_empty() => issue.help("no keys are possible here"),
        None => issue.help(format!("possible here: {}", expected.join(", "))),
    }
}

pub(super) fn bad_value(document: &Document, path: &[&str], message: &str) -> Issue {
    if is_about_key(path, message) {
        let (problem, advice) = problem_and_advice(message);
        return Issue::at(IssueCode::BadValue, document.key_place(path), problem)
            .help(advice.unwrap_or("write another name"));
    }
    let place = document.value_place(path);
    let name = name_of(document, path);
    let node = document.node(path);
    let hidden = is_confidential(path) || node.is_some_and(is_hidden);
    if message.contains("this credential") {
        let help = match node.is_some_and(is_hidden) {
            true => "set the variable or the file that it comes from",
            false => "write its value, best as `${NAME}` or `file://PATH`",
        };
        return Issue::at(IssueCode::EmptyCredential, place, format!("{name}: {message}")).help(help);
    }
    // serde quotes what it found; a credential must not be quoted.
    if message.starts_with("invalid type") || message.starts_with("invalid value") {
        let expected = message.rsplit_once(", expected ").map_or("something else", |(_, expected)| expected);
        let found = node.map_or("nothing".to_owned(), |node| describe(document, path, node, expected));
        let issue =
            Issue::at(IssueCode::WrongType, place, format!("{name} is {found}, and must be {}", in_words(expected)));
        let slip = node.and_then(|node| help_for_type(node, expected)).filter(|_| !is_credential(path));
        return issue.help(slip.unwrap_or_else(|| right_type(path, expected)));
    }
    let text = node.and_then(text_of).unwrap_or_default();
    let shown = if is_confidential(path) && !is_word_of_auth(path, text) {
        "this value".to_owned()
    } else {
        format!("`{}`", document.shown(path, text))
    };
    if message == "invalid socket address syntax" {
        return Issue::at(IssueCode::BadValue, place, format!("{shown} is not an address to listen on"))
            .help("write an IP address and a port, like 127.0.0.1:8080 or [::1]:8080");
    }
    if let Some(variant) = quoted_after(message, "unknown variant ") {
        let expected = quoted_list(message);
        let issue = Issue::at(IssueCode::BadValue, place, format!("{shown} is not possible for {name}"));
        return match super::nearest(&variant, expected.iter().map(String::as_str)) {
            Some(nearest) => issue.help(format!("did you mean `{nearest}`?")),
            None => issue.help(format!("possible: {}", expected.join(", "))),
        };
    }
    let (problem, advice) = problem_and_advice(message);
    let title = match hidden && !text.is_empty() {
        false => problem.to_owned(),
        // What was written is shown, not what it was resolved to.
        true if !is_confidential(path) && problem.contains(&format!("`{text}`")) => {
            problem.replace(&format!("`{text}`"), &shown)
        }
        true => format!("{shown} cannot be used for {name} (its value is not shown)"),
    };
    let likely = if hidden { Vec::new() } else { likely(problem, text) };
    Issue::at(IssueCode::BadValue, place, title).help(match likely.as_slice() {
        [] => advice.unwrap_or("write another value").to_owned(),
        likely => format!("did you mean {}?", likely.join(" or ")),
    })
}

/// A scalar's own sentence has two halves: what is wrong, and what to write instead.
fn problem_and_advice(message: &str) -> (&str, Option<&str>) {
    let advises = |rest: &str| ["leave ", "put ", "use ", "write "].iter().any(|verb| rest.starts_with(verb));
    match message.match_indices(": ").find(|(at, _)| message.get(at + 2..).is_some_and(advises)) {
        Some((at, _)) => (message.get(..at).unwrap_or(message), message.get(at + 2..)),
        None => (message, None),
    }
}

/// Values with a unit that may have been meant, in backquotes.
fn likely(problem: &str, text: &str) -> Vec<String> {
    let found = if problem.ends_with("is not a span of time") {
        Period::likely(text)
    } else if problem.ends_with("is not a size") {
        ByteSize::likely(text)
    } else if problem.ends_with("is not a share") {
        Percent::likely(text)
    } else if problem.ends_with("is not a rate") {
        Rate::likely(text)
    } else if problem.ends_with("is not a quota") {
        Quota::likely(text)
    } else {
        Vec::new()
    };
    found.into_iter().map(|value| format!("`{value}`")).collect()
}

/// What a value of the right kind looks like.
fn right_type(path: &[&str], expected: &str) -> String {
    match expected {
        _ if is_credential(path) && path.last() != Some(&"sha256") => {
            "write one value, best as `${NAME}` or `file://PATH`".to_owned()
        }
        "a map" => "write its keys on lines of their own, indented further, or as { KEY: VALUE }".to_owned(),
        _ if expected.starts_with("struct ") => right_type(path, "a map"),
        "a sequence" => "write [a, b]".to_owned(),
        "a boolean" => "write true or false".to_owned(),
        "a string" => "write one value, without brackets".to_owned(),
        "socket address" => "write it like 127.0.0.1:8080, or in quotes like \"[::1]:8080\"".to_owned(),
        "u16" | "u32" => "write digits only, like 3".to_owned(),
        _ => format!("write one value: {}", in_words(expected)),
    }
}

/// Whether a message is about the name that an operator gave, and not about what stands under it.
pub(super) fn is_about_key(path: &[&str], message: &str) -> bool {
    let custom = !["invalid type", "invalid value", "unknown variant"].iter().any(|start| message.starts_with(start));
    match path {
        ["routes" | "hosts" | "tenants", _] | ["hosts", _, "routes", _] => custom,
        ["white_label", "errors", _] | ["hosts", _, "errors", _] => custom && !message.contains("this sentence"),
        ["upstreams", _, "headers", _] => custom && !message.contains("this credential"),
        _ => false,
    }
}

/// How a message calls what stands at `path`.
fn name_of(document: &Document, path: &[&str]) -> String {
    match path {
        [] => "the file".to_owned(),
        [above @ .., last] => match (document.node(above).map(|node| &node.kind), last.parse::<usize>()) {
            (Some(NodeKind::List(_)), Ok(index)) => {
                let list = above.last().map_or("the file".to_owned(), |list| format!("`{list}`"));
                format!("item {} of {list}", index + 1)
            }
            _ => format!("`{}`", quotable(path)),
        },
    }
}

/// The most usual slips behind a wrong kind of value.
fn help_for_type(node: &Node, expected: &str) -> Option<String> {
    if let Some(hole) = hole_without_quotes(node).filter(|_| !is_section(expected) && expected != "a sequence") {
        return Some(format!("to YAML {{{hole}}} is a section: write it in quotes, \"{{{hole}}}\""));
    }
    let text = text_of(node)?;
    let section = is_section(expected);
    let is_key = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    match (expected, text) {
        _ if section && text.parse::<std::net::SocketAddr>().is_ok() => Some(format!("write {{ address: {text} }}")),
        // A URL on its own has a colon, too.
        _ if section && text.split_once(':').is_some_and(|(key, rest)| is_key(key) && !rest.starts_with("//")) => {
            Some(BLANK_BEHIND_COLON.to_owned())
        }
        ("a sequence", text) if !is_hidden(node) => Some(format!("write [{text}]")),
        ("a boolean", "yes" | "on" | "True" | "TRUE") => Some("write `true`".to_owned()),
        ("a boolean", "no" | "off" | "False" | "FALSE") => Some("write `false`".to_owned()),
        _ => None,
    }
}

/// `{tenant}` as YAML reads it: a map with one key and nothing behind it.
fn hole_without_quotes(node: &Node) -> Option<&str> {
    let mut keys = node.keys();
    let (key, None) = (keys.next()?, keys.next()) else { return None };
    let is_nothing = |node: &Node| matches!(node.kind, NodeKind::Null | NodeKind::Broken);
    node.child(&key.text).is_some_and(is_nothing).then_some(key.text.as_str())
}

/// Whether serde expected keys.
fn is_section(expected: &str) -> bool {
    expected == "a map" || expected.starts_with("struct ")
}

fn text_of(node: &Node) -> Option<&str> {
    match &node.kind {
        NodeKind::Scalar(scalar) => Some(&scalar.text),
        NodeKind::Broken | NodeKind::List(_) | NodeKind::Map(_) | NodeKind::Null => None,
    }
}

fn is_hidden(node: &Node) -> bool {
    matches!(&node.kind, NodeKind::Scalar(scalar) if scalar.hidden)
}

fn describe(document: &Document, path: &[&str], node: &Node, expected: &str) -> String {
    // Whoever wrote a text for a section may have written anything.
    let is_shown = !is_credential(path) && !is_section(expected);
    match &node.kind {
        NodeKind::Broken | NodeKind::Null => "empty".to_owned(),
        NodeKind::List(_) => "a list".to_owned(),
        NodeKind::Map(_) => "a section of its own".to_owned(),
        NodeKind::Scalar(scalar) if is_shown && scalar.text.len() <= 40 && !scalar.text.contains("://") => {
            format!("`{}`", document.shown(path, &scalar.text))
        }
        NodeKind::Scalar(_) => "a single value".to_owned(),
    }
}

/// serde's names for kinds of value, in the reader's words.
fn in_words(expected: &str) -> String {
    match expected {
        "a map" => "a section with keys of its own".to_owned(),
        "a sequence" => "a list: [a, b]".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a string" => "text".to_owned(),
        _ if expected.starts_with("struct ") => "a section with keys of its own".to_owned(),
        "socket address" => "an address to listen on: 127.0.0.1:8080".to_owned(),
        "u16" => format!("a whole number up to {}", u16::MAX),
        "u32" => "a whole number".to_owned(),
        _ => expected.to_owned(),
    }
}

/// The name in backquotes behind `before`.
pub(super) fn quoted_after(message: &str, before: &str) -> Option<String> {
    let (_, rest) = message.split_once(before)?;
    let rest = rest.strip_prefix('`')?;
    rest.split_once('`').map(|(name, _)| name.to_owned())
}

/// The names in backquotes behind "expected".
fn quoted_list(message: &str) -> Vec<String> {
    let expected = message.split_once("expected ").map_or("", |(_, expected)| expected);
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}
