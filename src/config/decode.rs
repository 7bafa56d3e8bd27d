//! Turns the tree into typed sections, and sections into a tree that can be
//! shown. The one file that knows the YAML crate.
//!
//! In: a [`Document`] with variables resolved. Out: a [`Config`], or as many
//! issues as can be found: each is reported, its node is taken out, and the
//! rest is decoded again. Not here: rules across sections (`check`).

use serde::Serialize;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_path_to_error::Segment;
use serde_yaml::{Mapping, Number, Value};

use super::Config;
use super::complaint::{BLANK_BEHIND_COLON, bad_value, is_about_key, missing_key, quoted_after, unknown_key};
use super::document::{Document, Key, Node, NodeKind, Scalar};
use super::fold::fold_hosts;
use super::issue::{Issue, IssueCode, Issues};
use super::mask::{is_credential, quotable};
use super::show::{self, Item};

/// Values that may be decoded once more because of mistakes among them. Without
/// a bound a hundred mistakes in one list of a megabyte would be read a hundred times.
const MAX_REPEATED: usize = 1_000_000;

/// Names that no operator writes, by section: for a route or a host whose own name was reported.
const STAND_IN_NAMES: [(&str, &str); 2] = [("hosts", "stand-in.invalid"), ("routes", "/stand-in-for-a-path")];

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
    fold_hosts(document, &mut issues);
    let mut effort = MAX_REPEATED;
    loop {
        let decoded = match &document.root.kind {
            NodeKind::Map(entries) => serde_path_to_error::deserialize(Named { entries, level: Level::File }),
            NodeKind::Broken | NodeKind::List(_) | NodeKind::Null | NodeKind::Scalar(_) => {
                serde_path_to_error::deserialize(to_value(&document.root))
            }
        };
        match decoded {
            Ok(config) => return Decoded { config, issues },
            Err(_) if issues.is_enough() || effort == 0 => break,
            // Not only this one: every section, upstream and route is decoded on its own, so that a
            // large file with many mistakes is not decoded as a whole for each of them.
            Err(error) if !repair_parts(document, &mut issues, &mut effort) => {
                effort = effort.saturating_sub(document.root.size().0);
                let path = steps(error.path());
                if !repair(document, &path, &error.inner().to_string(), &mut issues) {
                    break;
                }
            }
            Err(_) => {}
        }
    }
    issues.cut();
    Decoded { config: Config::default(), issues }
}

/// Decodes each item of a list on its own, with its position; what is wrong is reported and left out.
pub(super) fn decode_items<T: DeserializeOwned>(document: &mut Document, issues: &mut Issues) -> Vec<(usize, T)> {
    report_empty_keys(document, issues);
    let NodeKind::List(items) = &document.root.kind else { return Vec::new() };
    let mut found = Vec::with_capacity(items.len());
    let mut effort = MAX_REPEATED;
    for index in 0..items.len() {
        if issues.is_enough() || effort == 0 {
            issues.cut();
            break;
        }
        if let Some(item) = decode_item(document, index, issues, &mut effort) {
            found.push((index, item));
        }
    }
    found
}

fn decode_item<T: DeserializeOwned>(
    document: &mut Document,
    index: usize,
    issues: &mut Issues,
    effort: &mut usize,
) -> Option<T> {
    while !issues.is_enough() && *effort > 0 {
        let NodeKind::List(items) = &document.root.kind else { return None };
        let node = items.get(index).filter(|node| !is_broken(node))?;
        let error = match serde_path_to_error::deserialize(to_value(node)) {
            Ok(item) => return Some(item),
            Err(error) => error,
        };
        *effort = effort.saturating_sub(node.size().0);
        let message = error.inner().to_string();
        // What a record lacks as a whole may be what was wrong in it.
        let is_of_whole = error.path().iter().next().is_none() && !message.starts_with("missing field");
        if is_of_whole && entries(node).iter().any(|(_, value)| is_broken(value)) {
            return None;
        }
        let inner = with_broken_items(node, &steps(error.path()));
        let path: Vec<String> = std::iter::once(index.to_string()).chain(inner).collect();
        if !repair_at(document, &path, &message, issues) {
            return None;
        }
    }
    None
}

/// The sections of a file, or the upstreams or routes of one, each made a value when its turn comes: the
/// values of a large file take several times what its tree takes.
struct Named<'a> {
    entries: &'a [(Key, Node)],
    level: Level,
}

/// What the entries are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    File,
    Section,
}

impl<'de> Deserializer<'de> for Named<'_> {
    type Error = serde_yaml::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_map(Entering { rest: self.entries.iter(), current: None, level: self.level })
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// The entries that are still to come, and the one whose key was read.
struct Entering<'a> {
    rest: std::slice::Iter<'a, (Key, Node)>,
    current: Option<&'a (Key, Node)>,
    level: Level,
}

impl<'de> MapAccess<'de> for Entering<'_> {
    type Error = serde_yaml::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Self::Error> {
        self.current = self.rest.find(|(_, node)| !is_broken(node));
        self.current.map(|(key, _)| seed.deserialize(Value::String(key.text.clone()))).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Self::Error> {
        match self.current {
            Some((key, Node { kind: NodeKind::Map(entries), .. }))
                if self.level == Level::File && is_of_parts(&key.text) =>
            {
                seed.deserialize(Named { entries, level: Level::Section })
            }
            Some((_, node)) => seed.deserialize(to_value(node)),
            None => seed.deserialize(Value::Null),
        }
    }
}

/// Whether each entry of a section is decoded on its own.
fn is_of_parts(section: &str) -> bool {
    matches!(section, "auth" | "hosts" | "limits" | "plans" | "routes" | "tenants" | "upstreams")
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

/// Repairs each part of the file that can be decoded on its own; whether there was anything to repair.
fn repair_parts(document: &mut Document, issues: &mut Issues, effort: &mut usize) -> bool {
    let mut repaired = false;
    for part in parts(&document.root) {
        let mut misnamed = None;
        while !issues.is_enough() && *effort > 0 {
            let Some(value) = part_value(&document.root, &part) else { break };
            let Err(error) = serde_path_to_error::deserialize::<_, Config>(value) else { break };
            *effort = effort.saturating_sub(part_node(&document.root, &part).map_or(1, |node| node.size().0));
            let (path, message) = (steps(error.path()), error.inner().to_string());
            let stand_in = misnamed.as_ref().map_or_else(|| stand_in_name(document, &path, &message), |_| None);
            repaired = if let Some((section, stand_in)) = stand_in {
                let path: Vec<&str> = path.iter().map(String::as_str).collect();
                issues.push(bad_value(document, &path, &message));
                // What stands under a name that cannot be used is looked at all the same.
                misnamed = rename(&mut document.root, &part, stand_in).map(|name| (section, name));
                true
            } else if repair(document, &path, &message, issues) {
                true
            } else {
                break;
            };
        }
        if let Some((section, name)) = misnamed {
            rename(&mut document.root, &part, &name);
            take_out(document, &[section, &name]);
        }
    }
    repaired
}

/// A section and a name for one of its entries, where the entry's own is what is wrong, and a section stands under it.
fn stand_in_name(document: &Document, path: &[String], message: &str) -> Option<(&'static str, &'static str)> {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let is_section = || document.node(&path).is_some_and(|node| matches!(node.kind, NodeKind::Map(_)));
    let [section, _] = path.as_slice() else { return None };
    let known = STAND_IN_NAMES.into_iter().find(|(known, _)| known == section);
    known.filter(|_| is_about_key(&path, message) && is_section())
}

/// Gives a part another name; its name so far.
fn rename(root: &mut Node, (section, index): &Part, name: &str) -> Option<String> {
    let NodeKind::Map(sections) = &mut root.kind else { return None };
    let NodeKind::Map(named) = &mut sections.get_mut(*section)?.1.kind else { return None };
    named.rename((*index)?, name)
}

/// Where a part stands: the position of a section, and of an upstream or route in it.
type Part = (usize, Option<usize>);

/// The sections, and each upstream and route, in file order.
fn parts(root: &Node) -> Vec<Part> {
    let mut parts = Vec::new();
    for (section, (key, node)) in entries(root).iter().enumerate() {
        match entries(node) {
            named if !named.is_empty() && is_of_parts(&key.text) => {
                parts.extend((0..named.len()).map(|index| (section, Some(index))));
            }
            _ => parts.push((section, None)),
        }
    }
    parts
}

/// A file that has nothing but one part; none where the part was taken out.
fn part_value(root: &Node, (section, index): &Part) -> Option<Value> {
    let only = |(key, node): &(Key, Node), value: Option<Value>| {
        let value = value.unwrap_or_else(|| to_value(node));
        (!is_broken(node)).then(|| Value::Mapping(Mapping::from_iter([(Value::String(key.text.clone()), value)])))
    };
    let section = entries(root).get(*section)?;
    match index {
        None => only(section, None),
        Some(index) => only(section, Some(only(entries(&section.1).get(*index)?, None)?)),
    }
}

fn part_node<'a>(root: &'a Node, (section, index): &Part) -> Option<&'a Node> {
    let (_, section) = entries(root).get(*section)?;
    match index {
        None => Some(section),
        Some(index) => entries(section).get(*index).map(|(_, node)| node),
    }
}

fn entries(node: &Node) -> &[(Key, Node)] {
    match &node.kind {
        NodeKind::Map(entries) => entries,
        NodeKind::Broken | NodeKind::List(_) | NodeKind::Null | NodeKind::Scalar(_) => &[],
    }
}

/// Reports the mistake at `path` and takes its node out; false if nothing could be taken out.
fn repair(document: &mut Document, path: &[String], message: &str, issues: &mut Issues) -> bool {
    let path = with_broken_items(&document.root, path);
    repair_at(document, &path, message, issues)
}

/// As [`repair`], with a path that counts broken items.
fn repair_at(document: &mut Document, path: &[String], message: &str, issues: &mut Issues) -> bool {
    let mut path: Vec<&str> = path.iter().map(String::as_str).collect();
    // Where the decoder knows only the map, its message still names the key.
    while !path.is_empty() && document.node(&path).is_none() {
        path.pop();
    }
    if let Some(missing) = quoted_after(message, "missing field ") {
        if !document.is_reported(&path, &missing) {
            issues.push(missing_key(document, &path, &missing));
        }
        // What else stands there is looked at all the same.
        if stand_in(document, &path, &missing) {
            return true;
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

/// Puts a value in the place of a missing one that nothing else can be decoded without.
fn stand_in(document: &mut Document, path: &[&str], key: &str) -> bool {
    let text = |text: &str| NodeKind::Scalar(Scalar { text: text.to_owned(), plain: false, hidden: false });
    let kind = match (path, key) {
        (["listeners", _], "address") => text("127.0.0.1:0"),
        (["limits", _], "by") => text("gateway"),
        (_, "origins") => NodeKind::List(Vec::new()),
        _ => return false,
    };
    let node = path.iter().try_fold(&mut document.root, |node, step| node.child_mut(step));
    let Some(Node { span, kind: NodeKind::Map(entries) }) = node else { return false };
    let span = span.start..span.start;
    entries.push((Key { text: key.to_owned(), span: span.clone() }, Node { span, kind }));
    true
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
    if matches!(document.root.kind, NodeKind::Null) {
        issues.push(
            Issue::whole(IssueCode::MissingKey, format!("the file `{}` is empty", document.name()))
                .help("it needs `upstreams` and `routes`; `tollgate demo` runs without a file"),
        );
        document.root.kind = NodeKind::Broken;
    }
    report_empty_keys(document, issues);
}

fn report_empty_keys(document: &mut Document, issues: &mut Issues) {
    let mut root = std::mem::replace(&mut document.root, Node { span: 0..0, kind: NodeKind::Null });
    mark_empty(&mut root, &mut Vec::new(), &mut |path, key| {
        let place = document.place(&key.span);
        let name = quotable(path);
        issues.push(if is_credential(path) && !key.text.contains(':') && key.text != "sha256" {
            Issue::at(IssueCode::EmptyCredential, place, format!("`{name}`: this credential is empty"))
                .help("write its value, best as `${NAME}` or `file://PATH`, or remove the key")
        } else {
            let help = match path {
                ["hosts", _] => "write {} for a host where nothing differs, or remove it",
                _ if key.text.contains(':') => BLANK_BEHIND_COLON,
                _ => "write its value, or remove the key",
            };
            Issue::at(IssueCode::WrongType, place, format!("`{name}` is empty")).help(help)
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
                // For these sections, for upstreams and for routes there is a better sentence than this one.
                let named = match path.as_slice() {
                    [] => matches!(key.text.as_str(), "listeners" | "routes" | "upstreams"),
                    ["routes" | "upstreams"] | ["hosts", _, "routes"] => true,
                    _ => false,
                };
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

fn steps(path: &serde_path_to_error::Path) -> Vec<String> {
    path.iter()
        .filter_map(|segment| match segment {
            Segment::Enum { .. } | Segment::Unknown => None,
            Segment::Map { key } => Some(key.clone()),
            Segment::Seq { index } => Some(index.to_string()),
        })
        .collect()
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
