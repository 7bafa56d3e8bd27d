//! Files as one tree whose nodes know where they stand.
//!
//! In: what `source` read and joined. Out: nodes and places by path. Spans are
//! positions in all files laid end to end, so that a node needs no file of its
//! own. Not here: what the keys mean (`decode`).

use std::collections::HashMap;
use std::ops::{Deref, DerefMut, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::issue::{Listing, Place};

/// The parsed files of one configuration.
#[derive(Clone, Debug)]
pub struct Document {
    /// In reading order; the first is the one the operator named.
    files: Vec<File>,
    /// The root of the tree.
    pub root: Node,
}

/// One of a document's files.
#[derive(Clone, Debug)]
struct File {
    /// Where it begins in the space of spans.
    start: usize,
    /// The file as it may be shown.
    listing: Arc<Listing>,
    /// The folder that relative paths in the file start from.
    folder: PathBuf,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Node {
    /// Bytes of the file.
    pub span: Range<usize>,
    /// The value.
    pub kind: NodeKind,
}

/// The kinds of value.
#[derive(Clone, Debug)]
pub enum NodeKind {
    /// Reported already and left out, so that one mistake is one issue.
    Broken,
    /// `[a, b]`.
    List(Vec<Node>),
    /// `{a: b}`, in file order.
    Map(Entries),
    /// `~`, or nothing at all.
    Null,
    /// Anything else.
    Scalar(Scalar),
}

/// A scalar's text and how it came about.
#[derive(Clone, Debug)]
pub struct Scalar {
    /// The text, variables resolved.
    pub text: String,
    /// Whether YAML may take it for a number or a boolean.
    pub plain: bool,
    /// Whether it came from a variable or a file, and must not be shown.
    pub hidden: bool,
}

/// A map's key and where it stands.
#[derive(Clone, Debug)]
pub struct Key {
    /// The key.
    pub text: String,
    /// Bytes of the file.
    pub span: Range<usize>,
}

/// The entries of a map, in file order. A large one knows its keys by text:
/// among ten thousand routes nothing is looked for by going through them.
#[derive(Clone, Debug, Default)]
pub struct Entries {
    list: Vec<(Key, Node)>,
    /// Boxed, because most maps are small and there are many of them.
    index: Option<Box<Index>>,
}

/// Positions by the hash of their key: a second copy of every key would cost more than the list.
#[derive(Clone, Debug, Default)]
struct Index {
    hasher: ahash::RandomState,
    positions: HashMap<u64, usize, ahash::RandomState>,
    /// Two keys have one hash, which hardly ever happens: then the list is looked through.
    is_ambiguous: bool,
}

impl Index {
    fn add(&mut self, text: &str, at: usize) {
        let other = self.positions.insert(self.hasher.hash_one(text), at);
        self.is_ambiguous |= other.is_some_and(|other| other != at);
    }

    fn position(&self, text: &str, list: &[(Key, Node)]) -> Option<usize> {
        let is_it = |at: &usize| list.get(*at).is_some_and(|(key, _)| key.text == text);
        let found = self.positions.get(&self.hasher.hash_one(text)).copied().filter(is_it);
        found.or_else(|| if self.is_ambiguous { list.iter().position(|(key, _)| key.text == text) } else { None })
    }
}

/// Maps up to this size are looked through.
const SMALL: usize = 16;

impl Entries {
    /// These entries and then `others`, whose keys differ.
    pub fn join(mut self, others: Vec<(Key, Node)>) -> Self {
        others.into_iter().for_each(|entry| self.push(entry));
        self
    }

    /// The entries without their index.
    pub fn into_list(self) -> Vec<(Key, Node)> {
        self.list
    }

    /// Gives back the room for more entries.
    pub fn close(mut self) -> Self {
        if self.list.capacity() > self.list.len() {
            // Moved to a place of its own: an allocator may leave what it only shrinks where it is.
            let mut exact = Vec::with_capacity(self.list.len());
            exact.append(&mut self.list);
            self.list = exact;
        }
        self
    }

    /// Adds an entry at the end, whose key is new.
    pub fn push(&mut self, entry: (Key, Node)) {
        self.list.push(entry);
        match (&mut self.index, self.list.as_slice()) {
            (Some(index), [before @ .., (key, _)]) => index.add(&key.text, before.len()),
            (index @ None, list) if list.len() > SMALL => {
                let mut fresh = Index::default();
                list.iter().enumerate().for_each(|(at, (key, _))| fresh.add(&key.text, at));
                *index = Some(Box::new(fresh));
            }
            (_, _) => {}
        }
    }

    /// Gives the entry at a position another key, and returns the one it had.
    pub fn rename(&mut self, at: usize, name: &str) -> Option<String> {
        let (key, _) = self.list.get_mut(at)?;
        let before = std::mem::replace(&mut key.text, name.to_owned());
        if let Some(index) = &mut self.index {
            index.add(name, at);
        }
        Some(before)
    }

    fn position(&self, text: &str) -> Option<usize> {
        match &self.index {
            None => self.list.iter().position(|(key, _)| key.text == text),
            Some(index) => index.position(text, &self.list),
        }
    }

    /// The entry with that key.
    pub fn entry(&self, text: &str) -> Option<&(Key, Node)> {
        self.list.get(self.position(text)?)
    }

    fn value_mut(&mut self, text: &str) -> Option<&mut Node> {
        let at = self.position(text)?;
        self.list.get_mut(at).map(|(_, node)| node)
    }
}

impl Deref for Entries {
    type Target = [(Key, Node)];

    fn deref(&self) -> &Self::Target {
        &self.list
    }
}

impl DerefMut for Entries {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.list
    }
}

impl<'a> IntoIterator for &'a Entries {
    type Item = &'a (Key, Node);
    type IntoIter = std::slice::Iter<'a, (Key, Node)>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.iter()
    }
}

impl<'a> IntoIterator for &'a mut Entries {
    type Item = &'a mut (Key, Node);
    type IntoIter = std::slice::IterMut<'a, (Key, Node)>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.iter_mut()
    }
}

impl Document {
    /// A document of one file, whose tree has its spans from 0.
    pub fn new(listing: Arc<Listing>, folder: PathBuf, root: Node) -> Self {
        Document { files: vec![File { start: 0, listing, folder }], root }
    }

    /// Adds a file; its tree's spans must be moved by what this returns before
    /// anything of it becomes part of the document's tree.
    pub fn add(&mut self, listing: Arc<Listing>, folder: PathBuf) -> usize {
        // One position lies between files, so that the end of one is not the start of the next.
        let start = self.length() + 1;
        self.files.push(File { start, listing, folder });
        start
    }

    /// The file that a position lies in.
    fn file(&self, at: usize) -> Option<&File> {
        let behind = self.files.partition_point(|file| file.start <= at);
        self.files.get(behind.saturating_sub(1))
    }

    /// Leaves nothing in the tree but these sections.
    pub fn keep_sections(&mut self, names: &[&str]) {
        if let NodeKind::Map(entries) = &mut self.root.kind {
            let kept = std::mem::take(entries).into_list();
            let kept = kept.into_iter().filter(|(key, _)| names.contains(&key.text.as_str()));
            *entries = Entries::default().join(kept.collect());
        }
    }

    /// Puts these sections in the place of those that there are.
    pub fn replace_sections(&mut self, sections: Vec<(Key, Node)>) {
        if let NodeKind::Map(entries) = &mut self.root.kind {
            let is_replaced = |key: &Key| sections.iter().any(|(other, _)| other.text == key.text);
            let mut kept = std::mem::take(entries).into_list();
            kept.retain(|(key, _)| !is_replaced(key));
            *entries = Entries::default().join(kept).join(sections);
        }
    }

    /// Bytes of all files.
    pub fn length(&self) -> usize {
        self.files.last().map_or(0, |last| last.start + last.listing.text.len())
    }

    /// How many files there are.
    pub fn file_count(&self) -> usize {
        self.files.len()
    }

    /// The name of the file that the operator named.
    pub fn name(&self) -> &str {
        self.files.first().map_or("", |file| &file.listing.name)
    }

    /// The folder of the file that the operator named.
    pub fn main_folder(&self) -> &Path {
        self.folder_at(0)
    }

    /// The folder that relative paths start from in the file of this position.
    pub fn folder_at(&self, at: usize) -> &Path {
        self.file(at).map_or(Path::new(""), |file| &file.folder)
    }

    /// The folder that the relative path at the end of `path` starts from.
    pub fn folder_of(&self, path: &[&str]) -> &Path {
        self.folder_at(self.value_span(path).start)
    }

    /// A stretch of one of the files.
    pub fn place(&self, span: &Range<usize>) -> Place {
        let Some(file) = self.file(span.start) else {
            return Place { listing: Arc::default(), span: 0..0 };
        };
        let local = |at: usize| at.saturating_sub(file.start).min(file.listing.text.len());
        Place { listing: Arc::clone(&file.listing), span: local(span.start)..local(span.end) }
    }

    /// What stands at a stretch of one of the files, credentials masked.
    pub fn text_at(&self, span: &Range<usize>) -> Option<&str> {
        let file = self.file(span.start)?;
        file.listing.text.get(span.start.checked_sub(file.start)?..span.end.checked_sub(file.start)?)
    }

    /// The node at the end of a path of keys and list positions.
    pub fn node(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(&self.root, |node, step| node.child(step))
    }

    /// Whether what is missing at `path` was written after all, and reported:
    /// as a bad value, or under a name that comes near.
    pub fn is_reported(&self, path: &[&str], key: &str) -> bool {
        let Some(NodeKind::Map(entries)) = self.node(path).map(|node| &node.kind) else { return false };
        entries.iter().filter(|(_, node)| matches!(node.kind, NodeKind::Broken)).any(|(written, _)| {
            let before_colon = written.text.split(':').next().unwrap_or_default();
            written.text == "<<" || super::nearest(before_colon, std::iter::once(key)).is_some()
        })
    }

    /// Where the key at the end of `path` stands, or the nearest thing above it.
    pub fn key_place(&self, path: &[&str]) -> Place {
        let span = match path.split_last() {
            None => None,
            Some((last, above)) => self.node(above).and_then(|node| node.key(last)).map(|key| key.span.clone()),
        };
        self.place(&span.unwrap_or_else(|| self.value_span(path)))
    }

    /// The value at the end of `path` as a message may quote it: what was
    /// resolved from a variable or a file is quoted as it was written.
    pub fn shown(&self, path: &[&str], text: &str) -> String {
        let hidden = |node: &&Node| matches!(&node.kind, NodeKind::Scalar(scalar) if scalar.hidden);
        let written = self.node(path).filter(hidden).and_then(|node| self.text_at(&node.span));
        written.unwrap_or(text).trim_matches(['"', '\'']).to_owned()
    }

    /// Where the value at the end of `path` stands, or the nearest thing above it.
    pub fn value_place(&self, path: &[&str]) -> Place {
        self.place(&self.value_span(path))
    }

    fn value_span(&self, path: &[&str]) -> Range<usize> {
        // A whole section is too much to mark for what it lacks, so its key is marked.
        let mut found = 0..0;
        let mut node = &self.root;
        for step in path {
            let Some(child) = node.child(step) else { return found };
            found = node.key(step).map_or(child.span.start..child.span.start, |key| key.span.clone());
            node = child;
        }
        node.span.clone()
    }
}

impl Node {
    /// The value of a key, or the item at a position.
    pub fn child(&self, step: &str) -> Option<&Node> {
        match &self.kind {
            NodeKind::List(items) => step.parse::<usize>().ok().and_then(|index| items.get(index)),
            NodeKind::Map(entries) => entries.entry(step).map(|(_, node)| node),
            NodeKind::Broken | NodeKind::Null | NodeKind::Scalar(_) => None,
        }
    }

    /// As [`Node::child`], to change it.
    pub fn child_mut(&mut self, step: &str) -> Option<&mut Node> {
        match &mut self.kind {
            NodeKind::List(items) => step.parse::<usize>().ok().and_then(|index| items.get_mut(index)),
            NodeKind::Map(entries) => entries.value_mut(step),
            NodeKind::Broken | NodeKind::Null | NodeKind::Scalar(_) => None,
        }
    }

    /// The keys of this map, in file order.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        let entries: &[(Key, Node)] = match &self.kind {
            NodeKind::Map(entries) => entries,
            NodeKind::Broken | NodeKind::List(_) | NodeKind::Null | NodeKind::Scalar(_) => &[],
        };
        entries.iter().map(|(key, _)| key)
    }

    /// The values of this map, in file order.
    pub fn children(&self) -> impl Iterator<Item = &Node> {
        let entries: &[(Key, Node)] = match &self.kind {
            NodeKind::Map(entries) => entries,
            NodeKind::Broken | NodeKind::List(_) | NodeKind::Null | NodeKind::Scalar(_) => &[],
        };
        entries.iter().map(|(_, node)| node)
    }

    /// Whether nothing stands here: no value, `{}` or `[]`.
    pub fn is_empty(&self) -> bool {
        match &self.kind {
            NodeKind::Broken | NodeKind::Scalar(_) => false,
            NodeKind::List(items) => items.is_empty(),
            NodeKind::Map(entries) => entries.is_empty(),
            NodeKind::Null => true,
        }
    }

    /// The key of this map with that text.
    pub fn key(&self, text: &str) -> Option<&Key> {
        match &self.kind {
            NodeKind::Map(entries) => entries.entry(text).map(|(key, _)| key),
            NodeKind::Broken | NodeKind::List(_) | NodeKind::Null | NodeKind::Scalar(_) => None,
        }
    }

    /// How many values this is, and how many bytes of text.
    pub fn size(&self) -> (usize, usize) {
        let add = |(values, bytes): (usize, usize), (others, more)| (values + others, bytes + more);
        match &self.kind {
            NodeKind::List(items) => items.iter().map(Node::size).fold((1, 0), add),
            NodeKind::Map(entries) => {
                entries.iter().map(|(key, node)| add(node.size(), (0, key.text.len()))).fold((1, 0), add)
            }
            // Written, a text may be much longer than it is: line breaks and blanks are folded.
            NodeKind::Scalar(scalar) => (1, scalar.text.len().max(self.span.len())),
            NodeKind::Broken | NodeKind::Null => (1, 0),
        }
    }

    /// Moves the spans of this node and all below it.
    pub fn shift(&mut self, by: usize) {
        let moved = |span: &Range<usize>| span.start + by..span.end + by;
        self.span = moved(&self.span);
        match &mut self.kind {
            NodeKind::Broken | NodeKind::Null | NodeKind::Scalar(_) => {}
            NodeKind::List(items) => items.iter_mut().for_each(|item| item.shift(by)),
            NodeKind::Map(entries) => {
                for (key, child) in entries {
                    key.span = moved(&key.span);
                    child.shift(by);
                }
            }
        }
    }
}
