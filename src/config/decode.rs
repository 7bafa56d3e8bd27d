//! Turns the tree into typed sections. The one file that knows the YAML crate.
//!
//! In: a [`Document`] with variables resolved. Out: a [`Config`], or as many
//! issues as can be found: each is reported, its node is taken out, and the
//! rest is decoded again. Not here: rules across sections (`check`).

use serde_path_to_error::Segment;
use serde_yaml::{Mapping, Number, Value};

use super::Config;
use super::issue::{Issue, IssueCode, Issues};
use super::source::{Document, Node, NodeKind, Scalar, is_credential};

/// More mistakes than this in one run help nobody.
const MAX_ISSUES: usize = 100;

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

/// Reports the mistake at `path` and takes its node out; false if nothing could be taken out.
fn repair(document: &mut Document, path: &[String], message: &str, issues: &mut Issues) -> bool {
    let path = with_broken_items(&document.root, path);
    let mut path: Vec<&str> = path.iter().map(String::as_str).collect();
    // Where the decoder knows only the map, its message still names the key.
    while !path.is_empty() && document.node(&path).is_none() {
        path.pop();
    }
    if let Some(missing) = quoted_after(message, "missing field ") {
        let reported = broken_child(document, &path, &missing);
        if !reported {
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
            let sound = items.iter().enumerate().filter(|(_, item)| !is_broken(item)).map(|(at, _)| at);
            step = sound.skip(index).next().unwrap_or(index).to_string();
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

/// Whether a missing key is there after all, but was already reported.
fn broken_child(document: &Document, path: &[&str], key: &str) -> bool {
    document.node(path).and_then(|node| node.child(key)).is_some_and(|child| matches!(child.kind, NodeKind::Broken))
}

fn missing_key(document: &Document, path: &[&str], key: &str) -> Issue {
    let owner = path.last().map_or("the file".to_owned(), |owner| format!("`{owner}`"));
    Issue::at(IssueCode::MissingKey, document.key_place(path), format!("{owner} has no `{key}`"))
        .help(format!("add `{key}:`"))
}

fn unknown_key(document: &Document, path: &[&str], message: &str) -> Issue {
    let key = path.last().copied().unwrap_or_default();
    let expected = quoted_list(message);
    let issue = Issue::at(IssueCode::UnknownKey, document.key_place(path), format!("`{key}` is not a key here"));
    match super::nearest(key, expected.iter().map(String::as_str)) {
        Some(nearest) => issue.help(format!("did you mean `{nearest}`?")),
        None if expected.is_empty() => issue.help("no keys are possible here"),
        None => issue.help(format!("possible here: {}", expected.join(", "))),
    }
}

fn bad_value(document: &Document, path: &[&str], message: &str) -> Issue {
    // A scalar's own complaint about a node that is none is about its key: a malformed path or name.
    let place = match document.node(path).map(|node| &node.kind) {
        Some(NodeKind::Map(_)) if !message.starts_with("invalid ") => document.key_place(path),
        _ => document.value_place(path),
    };
    let key = path.last().copied().unwrap_or("the file");
    let hidden = is_credential(path) || document.node(path).is_some_and(is_hidden);
    // serde quotes what it found; a credential must not be quoted.
    let unexpected = message.starts_with("invalid type") || message.starts_with("invalid value");
    if message.contains("this credential") {
        return Issue::at(IssueCode::EmptyCredential, place, format!("`{key}`: {message}"))
            .help("set the variable or the file that it comes from");
    }
    if unexpected {
        let expected = message.rsplit_once(", expected ").map_or("something else", |(_, expected)| expected);
        let found = document.node(path).map_or("nothing", |node| describe(&node.kind));
        return Issue::at(
            IssueCode::WrongType,
            place,
            format!("`{key}` is {found}, and must be {}", in_words(expected)),
        );
    }
    if let Some(variant) = quoted_after(message, "unknown variant ") {
        let expected = quoted_list(message);
        let shown = if hidden { "this value".to_owned() } else { format!("`{variant}`") };
        let issue = Issue::at(IssueCode::BadValue, place, format!("{shown} is not possible for `{key}`"));
        return match super::nearest(&variant, expected.iter().map(String::as_str)) {
            Some(nearest) => issue.help(format!("did you mean `{nearest}`?")),
            None => issue.help(format!("possible: {}", expected.join(", "))),
        };
    }
    let text = if hidden {
        "this value cannot be used (it is not shown, because it comes from a variable or a file)"
    } else {
        message
    };
    Issue::at(IssueCode::BadValue, place, text)
}

fn is_hidden(node: &Node) -> bool {
    matches!(&node.kind, NodeKind::Scalar(scalar) if scalar.hidden)
}

fn describe(kind: &NodeKind) -> &'static str {
    match kind {
        NodeKind::Broken | NodeKind::Null => "empty",
        NodeKind::List(_) => "a list",
        NodeKind::Map(_) => "a section of its own",
        NodeKind::Scalar(_) => "a single value",
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
        _ if expected.starts_with('u') || expected.starts_with('i') => "a whole number".to_owned(),
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
