//! Turns the tree into typed sections, and sections into a tree that can be
//! shown. The one file that knows the YAML crate.
//!
//! In: a [`Document`] with variables resolved. Out: a [`Config`], or as many
//! issues as can be found: each is reported, its node is taken out, and the
//! rest is decoded again. Not here: rules across sections (`check`).

use serde::Serialize;
use serde_path_to_error::Segment;
use serde_yaml::{Mapping, Number, Value};

use super::Config;
use super::document::{Document, Key, Node, NodeKind, Scalar};
use super::issue::{Issue, IssueCode, Issues};
use super::mask::is_credential;
use super::show::{self, Item};

/// More mistakes than this in one run help nobody.
const MAX_ISSUES: usize = 100;

const BLANK_BEHIND_COLON: &str = "behind the `:` of a key stands a blank";

/// A configuration as far as it could be decoded.
#[derive(Debug)]
pub(super) struct Decoded {
    /// What was decoded; incomplete where there are issues.
    pub config: Config,
    /// What was wrong.
    pub issues: Issues,
}

/// Decodes `document`, taking out what is wrong.
pub(super) fn decode(document: &mut Document) -> Decoded {
    let mut issues = Issues::default();
    report_empty(document, &mut issues);
    for _ in 0..MAX_ISSUES {
        let value = to_value(&document.root);
        match serde_path_to_error::deserialize::<_, Config>(value) {
            Ok(config) => return Decoded { config, issues },
            Err(error) => {
                let path = steps(error.path());
                if !repair(document, &path, &error.inner().to_string(), &mut issues) {
                    break;
                }
            }
        }
    }
    Decoded { config: Config::default(), issues }
}

/// The other way round: `value` as a tree that can be shown.
pub(super) fn encode(value: &impl Serialize) -> Item {
    // Sections are plain data, so this does not fail; if it did, that is what would be shown.
    let encoded = serde_yaml::to_value(value).unwrap_or_else(|error| Value::String(error.to_string()));
    to_item(encoded)
}

fn to_item(value: Value) -> Item {
    Item::of(match value {
        Value::Bool(value) => show::Value::Boolean(value),
        Value::Mapping(map) => show::Value::Map(
            map.into_iter().map(|(key, value)| (key.as_str().unwrap_or_default().to_owned(), to_item(value))).collect(),
        ),
        Value::Null => show::Value::Text(String::new()),
        Value::Number(number) => match number.as_i64() {
            Some(number) => show::Value::Number(number),
            None => show::Value::Text(number.to_string()),
        },
        Value::Sequence(items) => show::Value::List(items.into_iter().map(to_item).collect()),
        Value::String(text) => show::Value::Text(text),
        Value::Tagged(tagged) => return to_item(tagged.value),
    })
}

/// Reports the mistake at `path` and takes its node out; false if nothing could be taken out.
fn repair(document: &mut Document, path: &[String], message: &str, issues: &mut Issues) -> bool {
    let path = with_broken_items(&document.root, path);
    let mut path: Vec<&str> = path.iter().map(String::as_str).collect();
    // Where the decoder knows only the map, its message still names the key.
    while !path.is_empty() && document.node(&path).is_none() {
        path.pop();
    }
    if let Some(missing) = quoted_after(message, "missing field ") {
        if !document.is_reported(&path, &missing) {
            issues.push(missing_key(document, &path, &missing));
        }
    } else if let Some(unknown) = quoted_after(message, "unknown field ") {
        if path.last() != Some(&unknown.as_str()) {
            let mut inner = path.clone();
            inner.push(&unknown);
            issues.push(unknown_key(document, &inner, message));
            return take_out(document, &inner);
        }
        issues.push(unknown_key(document, &path, message));
    } else {
        issues.push(bad_value(document, &path, message));
    }
    take_out(document, &path)
}

/// Decoding saw lists without their broken items; this counts them in again.
fn with_broken_items(root: &Node, path: &[String]) -> Vec<String> {
    let mut node = Some(root);
    let mut steps = Vec::new();
    for step in path {
        let mut step = step.clone();
        if let (Some(Node { kind: NodeKind::List(items), .. }), Ok(index)) = (node, step.parse::<usize>()) {
            let mut sound = items.iter().enumerate().filter(|(_, item)| !is_broken(item)).map(|(at, _)| at);
            step = sound.nth(index).unwrap_or(index).to_string();
        }
        node = node.and_then(|node| node.child(&step));
        steps.push(step);
    }
    steps
}

fn take_out(document: &mut Document, path: &[&str]) -> bool {
    let node = path.iter().try_fold(&mut document.root, |node, step| node.child_mut(step));
    match node {
        Some(node) if !matches!(node.kind, NodeKind::Broken) => {
            node.kind = NodeKind::Broken;
            true
        }
        _ => false,
    }
}

/// Reports keys without a value: nothing is accepted and ignored.
fn report_empty(document: &mut Document, issues: &mut Issues) {
    let mut root = std::mem::replace(&mut document.root, Node { span: 0..0, kind: NodeKind::Null });
    if matches!(root.kind, NodeKind::Null) {
        issues.push(
            Issue::whole(IssueCode::MissingKey, format!("the file `{}` is empty", document.name()))
                .help("it needs `upstreams` and `routes`; `tollgate demo` runs without a file"),
        );
        root.kind = NodeKind::Broken;
    }
    mark_empty(&mut root, &mut Vec::new(), &mut |path, key| {
        let place = document.place(&key.span);
        issues.push(if is_credential(path) {
            Issue::at(IssueCode::EmptyCredential, place, format!("`{}`: this credential is empty", key.text))
                .help("write its value, best as `${NAME}` or `file://PATH`, or remove the key")
        } else {
            let help = match key.text.contains(':') {
                true => BLANK_BEHIND_COLON,
                false => "write its value, or remove the key",
            };
            Issue::at(IssueCode::WrongType, place, format!("`{}` is empty", key.text)).help(help)
        });
    });
    document.root = root;
}

fn mark_empty<'a>(node: &'a mut Node, path: &mut Vec<&'a str>, report: &mut impl FnMut(&[&str], &Key)) {
    match &mut node.kind {
        NodeKind::List(items) => {
            for item in items {
                path.push("");
                mark_empty(item, path, report);
                path.pop();
            }
        }
        NodeKind::Map(entries) => {
            for (key, child) in entries {
                // For sections, for upstreams and for routes there is a better sentence than this one.
                let named = matches!(path.as_slice(), [] | ["routes" | "upstreams"]);
                path.push(&key.text);
                if matches!(child.kind, NodeKind::Null) && !named {
                    report(path, key);
                    child.kind = NodeKind::Broken;
                }
                mark_empty(child, path, report);
                path.pop();
            }
        }
        NodeKind::Broken | NodeKind::Null | NodeKind::Scalar(_) => {}
    }
}

fn missing_key(document: &Document, path: &[&str], key: &str) -> Issue {
    let owner = name_of(document, path);
    Issue::at(IssueCode::MissingKey, document.key_place(path), format!("{owner} has no `{key}`"))
        .help(format!("add `{key}:`"))
}

fn unknown_key(document: &Document, path: &[&str], message: &str) -> Issue {
    let key = path.last().copied().unwrap_or_default();
    let expected = quoted_list(message);
    let issue = Issue::at(IssueCode::UnknownKey, document.key_place(path), format!("`{key}` is not a key here"));
    match super::nearest(key, expected.iter().map(String::as_str)) {
        Some(nearest) => issue.help(format!("did you mean `{nearest}`?")),
        None if key == "<<" => {
            issue.help("merge keys have no meaning here: write the keys out, or give a whole section by `*name`")
        }
        None if expected.is_empty() => issue.help("no keys are possible here"),
        None => issue.help(format!("possible here: {}", expected.join(", "))),
    }
}

fn bad_value(document: &Document, path: &[&str], message: &str) -> Issue {
    if is_about_key(path, message) {
        return Issue::at(IssueCode::BadValue, document.key_place(path), message);
    }
    let place = document.value_place(path);
    let name = name_of(document, path);
    let node = document.node(path);
    let hidden = is_credential(path) || node.is_some_and(is_hidden);
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
        let found = node.map_or("nothing".to_owned(), |node| describe(document, path, node));
        let issue =
            Issue::at(IssueCode::WrongType, place, format!("{name} is {found}, and must be {}", in_words(expected)));
        return match node.and_then(|node| help_for_type(node, expected)).filter(|_| !is_credential(path)) {
            Some(help) => issue.help(help),
            None => issue,
        };
    }
    let text = node.and_then(text_of).unwrap_or_default();
    let shown = if is_credential(path) { "this value".to_owned() } else { format!("`{}`", document.shown(path, text)) };
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
    let title = match hidden && !text.is_empty() {
        false => message.to_owned(),
        // What was written is shown, not what it was resolved to.
        true if message.contains(&format!("`{text}`")) => message.replace(&format!("`{text}`"), &shown),
        true => format!("{shown} cannot be used for {name} (its value is not shown)"),
    };
    Issue::at(IssueCode::BadValue, place, title)
}

/// Whether a message is about the name that an operator gave, and not about what stands under it.
fn is_about_key(path: &[&str], message: &str) -> bool {
    let custom = !["invalid type", "invalid value", "unknown variant"].iter().any(|start| message.starts_with(start));
    match path {
        ["routes", _] => custom,
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
                format!("item {} of `{}`", index + 1, above.last().unwrap_or(&"the file"))
            }
            _ => format!("`{last}`"),
        },
    }
}

/// The most usual slips behind a wrong kind of value.
fn help_for_type(node: &Node, expected: &str) -> Option<String> {
    let text = text_of(node)?;
    let section = expected == "a map" || expected.starts_with("struct ");
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

fn text_of(node: &Node) -> Option<&str> {
    match &node.kind {
        NodeKind::Scalar(scalar) => Some(&scalar.text),
        NodeKind::Broken | NodeKind::List(_) | NodeKind::Map(_) | NodeKind::Null => None,
    }
}

fn is_hidden(node: &Node) -> bool {
    matches!(&node.kind, NodeKind::Scalar(scalar) if scalar.hidden)
}

fn describe(document: &Document, path: &[&str], node: &Node) -> String {
    match &node.kind {
        NodeKind::Broken | NodeKind::Null => "empty".to_owned(),
        NodeKind::List(_) => "a list".to_owned(),
        NodeKind::Map(_) => "a section of its own".to_owned(),
        NodeKind::Scalar(scalar) if !is_credential(path) && scalar.text.len() <= 40 && !scalar.text.contains("://") => {
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

fn steps(path: &serde_path_to_error::Path) -> Vec<String> {
    path.iter()
        .filter_map(|segment| match segment {
            Segment::Enum { .. } | Segment::Unknown => None,
            Segment::Map { key } => Some(key.clone()),
            Segment::Seq { index } => Some(index.to_string()),
        })
        .collect()
}

/// The name in backquotes behind `before`.
fn quoted_after(message: &str, before: &str) -> Option<String> {
    let (_, rest) = message.split_once(before)?;
    let rest = rest.strip_prefix('`')?;
    rest.split_once('`').map(|(name, _)| name.to_owned())
}

/// The names in backquotes behind "expected".
fn quoted_list(message: &str) -> Vec<String> {
    let expected = message.split_once("expected ").map_or("", |(_, expected)| expected);
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn to_value(node: &Node) -> Value {
    match &node.kind {
        NodeKind::Broken | NodeKind::Null => Value::Null,
        NodeKind::List(items) => Value::Sequence(items.iter().filter(|item| !is_broken(item)).map(to_value).collect()),
        NodeKind::Map(entries) => Value::Mapping(
            entries
                .iter()
                .filter(|(_, node)| !is_broken(node))
                .map(|(key, node)| (Value::String(key.text.clone()), to_value(node)))
                .collect::<Mapping>(),
        ),
        NodeKind::Scalar(scalar) => scalar_value(scalar),
    }
}

fn is_broken(node: &Node) -> bool {
    matches!(node.kind, NodeKind::Broken)
}

/// A typed value only where its text survives: `007` and `1.10` stay text.
fn scalar_value(scalar: &Scalar) -> Value {
    let text = scalar.text.as_str();
    if !scalar.plain && !scalar.hidden {
        return Value::String(text.to_owned());
    }
    if let "true" | "false" = text {
        return Value::Bool(text == "true");
    }
    match text.parse::<i64>() {
        Ok(number) if number.to_string() == text => Value::Number(Number::from(number)),
        _ => Value::String(text.to_owned()),
    }
}
