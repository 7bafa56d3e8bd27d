//! A configuration as it takes effect, and where each of its values came from.
//!
//! In: a [`Config`] and, for origins, the document it was read from. Out: a
//! tree that shows itself as YAML, which loads again, or as JSON. Credentials are
//! [`MASK`] in both. Not here: turning sections into values (`decode`).

mod yaml;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use super::Config;
use super::decode;
use super::document::{Document, Node, NodeKind};
use super::issue::Listing;
use super::mask::is_credential;
use super::scalar::{MASK, PathPattern};
use super::section::routes::Route;

pub(super) use yaml::{key_of, one_line};

/// Whether what is shown says where it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origins {
    /// Values only.
    LeftOut,
    /// File and line, variable, or default behind each value.
    Written,
}

/// A configuration that may be shown: `Display` is YAML, `Serialize` is for JSON.
#[derive(Debug)]
pub struct Shown(Item);

/// A value and what is said about it.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) value: Value,
    /// Where it came from, if that is asked for.
    pub(super) origin: Option<String>,
    /// What follows from the rest, and why: shown as comments below the keys of a section.
    pub(super) follows: Vec<(String, &'static str)>,
}

/// The kinds of value that a configuration is made of.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Value {
    Boolean(bool),
    List(Vec<Item>),
    /// In the order of the section's keys.
    Map(Vec<(String, Item)>),
    Number(i64),
    Text(String),
}

impl Item {
    pub(super) fn of(value: Value) -> Self {
        Item { value, origin: None, follows: Vec::new() }
    }

    /// Whether nothing stands inside it.
    pub(super) fn is_leaf(&self) -> bool {
        match &self.value {
            Value::Boolean(_) | Value::Number(_) | Value::Text(_) => true,
            Value::List(items) => items.is_empty(),
            Value::Map(entries) => entries.is_empty(),
        }
    }
}

// For `Value`, which is compared without what is said about it.
impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl Eq for Item {}

impl Shown {
    /// `config` without origins, for where there is no document.
    pub fn of(config: &Config) -> Self {
        let mut root = decode::encode(config);
        mask(&mut root, &mut Vec::new());
        Shown(root)
    }

    pub(super) fn with_origins(config: &Config, document: &Document) -> Self {
        let mut root = decode::encode(config);
        mask(&mut root, &mut Vec::new());
        Sources { document, lines: HashMap::new() }.annotate(&mut root, Some(&document.root));
        derive(&mut root, config);
        Shown(root)
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        yaml::write(&self.0, f)
    }
}

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// With origins, what has nothing inside it becomes `{"value": .., "origin": ..}`.
impl Serialize for Item {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.origin {
            Some(origin) if self.is_leaf() => {
                let mut map = serializer.serialize_map(Some(2))?;
                map.serialize_entry("value", &self.value)?;
                map.serialize_entry("origin", origin)?;
                map.end()
            }
            Some(_) | None => self.value.serialize(serializer),
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Boolean(value) => serializer.serialize_bool(*value),
            Value::Number(value) => serializer.serialize_i64(*value),
            Value::Text(value) => serializer.serialize_str(value),
            Value::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| list.serialize_element(item))?;
                list.end()
            }
            Value::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                entries.iter().try_for_each(|(key, item)| map.serialize_entry(key, item))?;
                map.end()
            }
        }
    }
}

/// Hides what only its name betrays as a credential; a `Secret` hides itself.
fn mask<'a>(item: &'a mut Item, path: &mut Vec<&'a str>) {
    match &mut item.value {
        Value::Boolean(_) | Value::Number(_) => {}
        Value::Text(text) if is_credential(path) => *text = MASK.to_owned(),
        Value::Text(_) => {}
        Value::List(items) => items.iter_mut().for_each(|item| mask(item, path)),
        Value::Map(entries) => {
            for (key, item) in entries {
                path.push(key);
                mask(item, path);
                path.pop();
            }
        }
    }
}

/// Finds where values stand.
struct Sources<'a> {
    document: &'a Document,
    /// Where the lines of each file begin: places count them anew each time.
    lines: HashMap<*const Listing, Vec<usize>>,
}

impl<'a> Sources<'a> {
    fn annotate(&mut self, item: &mut Item, node: Option<&'a Node>) {
        item.origin = Some(node.map_or_else(|| "default".to_owned(), |node| self.origin(node)));
        match (&mut item.value, node.map(|node| &node.kind)) {
            (Value::Map(entries), Some(NodeKind::Map(written))) => {
                let exact: HashMap<&str, &Node> = written.iter().map(|(key, node)| (key.text.as_str(), node)).collect();
                // Names of headers are shown in lower case, however they were written.
                let lower: HashMap<String, &Node> =
                    written.iter().map(|(key, node)| (key.text.to_ascii_lowercase(), node)).collect();
                for (key, item) in entries {
                    self.annotate(item, exact.get(key.as_str()).or_else(|| lower.get(key)).copied());
                }
            }
            (Value::Map(entries), _) => entries.iter_mut().for_each(|(_, item)| self.annotate(item, None)),
            (Value::List(items), Some(NodeKind::List(written))) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.annotate(item, written.get(index));
                }
            }
            (Value::List(items), _) => items.iter_mut().for_each(|item| self.annotate(item, None)),
            (Value::Boolean(_) | Value::Number(_) | Value::Text(_), _) => {}
        }
    }

    /// `conf/tollgate.yaml:4`, behind what the value was resolved from.
    fn origin(&mut self, node: &Node) -> String {
        let place = self.document.place(&node.span);
        let text = &place.listing.text;
        let lines = self
            .lines
            .entry(Arc::as_ptr(&place.listing))
            .or_insert_with(|| text.match_indices('\n').map(|(at, _)| at).collect());
        let line = lines.partition_point(|newline| *newline < place.span.start) + 1;
        let at = format!("{}:{line}", place.listing.name);
        let NodeKind::Scalar(scalar) = &node.kind else { return at };
        let written = text.get(place.span.clone()).filter(|_| scalar.hidden).unwrap_or_default();
        match references(written.trim_matches(['"', '\''])).as_slice() {
            [] => at,
            references => format!("{} at {at}", references.join(" ")),
        }
    }
}

/// What a value was resolved from. A variable's default is left out: it may be a credential.
fn references(written: &str) -> Vec<String> {
    if written.starts_with("file://") {
        return vec![written.to_owned()];
    }
    let mut found = Vec::new();
    let mut rest = written;
    while let Some((_, behind)) = rest.split_once('$') {
        rest = behind;
        if let Some(behind) = rest.strip_prefix('$') {
            rest = behind;
        } else if let Some((inside, behind)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            found.push(match inside.split_once(":-") {
                Some((name, _)) => format!("${{{name}:-…}}"),
                None => format!("${{{inside}}}"),
            });
            rest = behind;
        }
    }
    found
}

/// Adds to each limit and route what follows from the rest.
fn derive(root: &mut Item, config: &Config) {
    if let Some(Item { value: Value::Map(limits), .. }) = entry(root, "limits") {
        for ((_, shown), limit) in limits.iter_mut().zip(config.limits.values()) {
            let burst = limit.rate.filter(|_| limit.burst.is_none()).map(|rate| format!("burst: {}", rate.count()));
            shown.follows = burst.map(|burst| (burst, "the number in `rate`")).into_iter().collect();
        }
    }
    if let Some(shown) = entry(root, "routes") {
        derive_in(shown, config, &config.routes);
    }
    let Some(Item { value: Value::Map(hosts), .. }) = entry(root, "hosts") else { return };
    for ((_, shown), host) in hosts.iter_mut().zip(config.hosts.values()) {
        if let (Some(shown), Some(routes)) = (entry(shown, "routes"), &host.routes) {
            derive_in(shown, config, routes);
        }
    }
}

fn derive_in(shown: &mut Item, config: &Config, routes: &BTreeMap<PathPattern, Route>) {
    let Value::Map(shown) = &mut shown.value else { return };
    // Both are in the order of the map that they come from.
    for ((_, item), route) in shown.iter_mut().zip(routes.values()) {
        item.follows = follows(config, route);
    }
}

fn entry<'a>(item: &'a mut Item, key: &str) -> Option<&'a mut Item> {
    let Value::Map(entries) = &mut item.value else { return None };
    entries.iter_mut().find(|(known, _)| known == key).map(|(_, item)| item)
}

fn follows(config: &Config, route: &Route) -> Vec<(String, &'static str)> {
    let mut follows = Vec::new();
    if let (None, Some(only)) = (&route.upstream, config.upstream_of(route)) {
        follows.push((format!("upstream: {}", one_line(&Value::Text(only.to_owned()))), "the only one"));
    }
    if route.methods.is_none() {
        let methods: Vec<String> = route.served_methods().iter().map(ToString::to_string).collect();
        let why = if route.pipe.is_some() { "default of a pipe" } else { "default of a proxy" };
        follows.push((format!("methods: [{}]", methods.join(", ")), why));
    }
    follows
}
