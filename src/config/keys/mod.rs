//! Files of records beside the configuration: `keys.yaml`, `revoked.yaml`.
//!
//! In: the path of a file with a list. Out: its records, and an issue with its
//! place for each that cannot be used. Variables and `file://` mean nothing in
//! these: programs write them, and nothing in them is secret. Not here: what a
//! record may hold (`section`), changing a file (`edit`).

mod edit;

use std::collections::HashMap;
use std::hash::Hash;
use std::io;
use std::ops::Range;
use std::path::Path;

use serde::de::DeserializeOwned;

use super::decode::decode_items;
use super::document::{Document, Node, NodeKind};
use super::issue::{Issue, IssueCode, Issues, Place};
use super::parse::{MaxValues, Parsed, parse_within};
use super::scalar::api_key;
use super::section::keys::KeyRecord;
use super::section::revoked::Revoked;
use super::source::not_utf8;
use super::touched::Reader;

pub use edit::{KeyFile, Unchangeable};

/// Larger files than this are for a store: some 130 000 keys.
const MAX_FILE: u64 = 32 << 20;
const MAX_VALUES: MaxValues = MaxValues {
    number: 2_000_000,
    help: "a file of records has at most 2 000 000 values, aliases (`*name`) written out",
};

/// Where one of these files stands among those of a configuration.
#[derive(Clone, Debug)]
pub struct Named {
    /// Where the configuration names it; none where an operator did.
    pub place: Option<Place>,
    /// Its position among the files that were read: issues are shown in this order.
    pub order: usize,
}

/// The keys of the file at `path`. `reader` remembers it, so that a change of it is noticed.
///
/// Of a file that is wrong in parts, the other parts are read: with errors among the issues, use none of it.
pub fn read(path: &Path, named: &Named, reader: &mut Reader) -> (Vec<KeyRecord>, Issues) {
    let help =
        "make it with `tollgate keys create -f FILE`; relative paths start at the folder of the file that names them";
    match text_of(path, named, reader, help) {
        Err(issues) => (Vec::new(), issues),
        Ok(text) => {
            let Listed { items, issues, .. } = keys_of(&path.display().to_string(), named.order, &text);
            (records(items), issues)
        }
    }
}

/// The revocations of the file at `path`, as [`read`] does it for keys.
pub fn read_revoked(path: &Path, named: &Named, reader: &mut Reader) -> (Vec<Revoked>, Issues) {
    let help = "make it, if need be empty; relative paths start at the folder of the file that names them";
    match text_of(path, named, reader, help) {
        Err(issues) => (Vec::new(), issues),
        Ok(text) => revoked_of(&path.display().to_string(), named.order, &text),
    }
}

/// The revocations in `text`, which came from the file called `name`, the `order`th that was read.
pub fn revoked_of(name: &str, order: usize, text: &str) -> (Vec<Revoked>, Issues) {
    let Listed { items, issues, .. } = listed(name, order, text, "- { sub: NAME }");
    (records(items), issues)
}

/// A file that is a list, as far as it could be read.
struct Listed<T> {
    document: Document,
    /// With their positions in the list.
    items: Vec<(usize, T)>,
    issues: Issues,
}

fn records<T>(items: Vec<(usize, T)>) -> Vec<T> {
    items.into_iter().map(|(_, item)| item).collect()
}

fn keys_of(name: &str, order: usize, text: &str) -> Listed<KeyRecord> {
    let mut keys: Listed<KeyRecord> = listed(name, order, text, "- { id: ID, sha256: HASH }");
    let Listed { document, items, issues } = &mut keys;
    report_twice(document, issues, "id", items.iter().map(|(index, key)| (*index, &key.id)));
    report_twice(document, issues, "sha256", items.iter().map(|(index, key)| (*index, &key.sha256)));
    issues.sort();
    keys
}

/// Reports records that have the same value under `key`.
fn report_twice<'a, T: Eq + Hash + 'a>(
    document: &Document,
    issues: &mut Issues,
    key: &str,
    values: impl ExactSizeIterator<Item = (usize, &'a T)>,
) {
    let mut seen: HashMap<&T, usize> = HashMap::with_capacity(values.len());
    for (index, value) in values {
        let Some(first) = seen.get(value) else {
            seen.insert(value, index);
            continue;
        };
        let place = |index: &usize| document.value_place(&[&index.to_string(), key]);
        let title = format!("two records have the same `{key}`");
        issues.push(
            Issue::at(IssueCode::Duplicate, place(&index), title)
                .label("second record")
                .related(place(first), "first record")
                .help("remove one of them; each key has a record of its own"),
        );
    }
}

fn listed<T: DeserializeOwned>(name: &str, order: usize, text: &str, example: &str) -> Listed<T> {
    let Parsed { listing, root, mut issues } = parse_within(name, order, text, MAX_VALUES);
    // Relative paths have no meaning in it.
    let mut document = Document::new(listing, Path::new("").to_path_buf(), root);
    report_secrets(&mut document, text.strip_prefix('\u{feff}').unwrap_or(text), &mut issues);
    let items = match &document.root.kind {
        NodeKind::Broken | NodeKind::Null => Vec::new(),
        NodeKind::List(_) => decode_items(&mut document, &mut issues),
        NodeKind::Map(_) | NodeKind::Scalar(_) => {
            let start = document.root.span.start;
            let title = format!("the file `{name}` is not a list");
            issues.push(
                Issue::at(IssueCode::WrongType, document.place(&(start..start)), title)
                    .help(format!("write a line for each record: {example}")),
            );
            Vec::new()
        }
    };
    issues.sort();
    Listed { document, items, issues }
}

/// Reports keys that stand in the file themselves, remarks included, and takes out what has them in it.
fn report_secrets(document: &mut Document, text: &str, issues: &mut Issues) {
    let found = api_key::find(text);
    for span in &found {
        let title = "this looks like an API key itself: the file holds only hashes";
        issues.push(
            Issue::at(IssueCode::BadValue, document.place(span), title)
                .help("remove it, and make a new key: whoever has read this file can use that one"),
        );
    }
    if !found.is_empty() {
        take_out(&mut document.root, &found);
    }
}

fn take_out(node: &mut Node, spans: &[Range<usize>]) {
    let touches = |span: &Range<usize>| {
        // They are in order, and there may be as many of them as of nodes.
        let next = spans.partition_point(|found| found.end <= span.start);
        spans.get(next).is_some_and(|found| found.start < span.end)
    };
    match &mut node.kind {
        NodeKind::List(items) => items.iter_mut().for_each(|item| take_out(item, spans)),
        NodeKind::Map(entries) => {
            for (key, child) in entries {
                match touches(&key.span) {
                    true => child.kind = NodeKind::Broken,
                    false => take_out(child, spans),
                }
            }
        }
        NodeKind::Scalar(_) if touches(&node.span) => node.kind = NodeKind::Broken,
        NodeKind::Broken | NodeKind::Null | NodeKind::Scalar(_) => {}
    }
}

fn text_of(path: &Path, named: &Named, reader: &mut Reader, help: &str) -> Result<String, Issues> {
    let name = path.display();
    let one = |code, title: String, help: &str| {
        let mut issues = Issues::default();
        issues.push(match named.place.clone() {
            Some(place) => Issue::at(code, place, title).help(help),
            None => Issue::whole(code, title).help(help),
        });
        issues
    };
    let bytes = match named.place {
        Some(_) => reader.read_once(path, MAX_FILE),
        // What an operator names may come from a pipe.
        None => reader.read_stream(path, MAX_FILE),
    };
    let bytes = bytes.map_err(|error| {
        if error.kind() == io::ErrorKind::FileTooLarge {
            let title = format!("the file `{name}` is larger than 32 MiB");
            return one(IssueCode::TooLarge, title, "use several files, each with a provider of its own");
        }
        if error.kind() == io::ErrorKind::NotFound {
            return one(IssueCode::Unreadable, format!("there is no file `{name}`"), help);
        }
        let title = format!("the file `{name}` cannot be read: {error}");
        one(IssueCode::Unreadable, title, "give the path of a YAML file that this user may read")
    })?;
    text_in(path, named.order, bytes)
}

fn text_in(path: &Path, order: usize, bytes: Vec<u8>) -> Result<String, Issues> {
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        not_utf8(path, order, error.as_bytes(), at)
    })
}

#[cfg(test)]
mod tests;
