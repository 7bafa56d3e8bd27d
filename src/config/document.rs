//! A file as a tree whose nodes know where they stand.
//!
//! In: what `source` parsed. Out: nodes and places by path. Not here: what the
//! keys mean (`decode`).

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use super::issue::{Listing, Place};

/// One parsed file.
#[derive(Debug)]
pub struct Document {
    /// The file as it may be shown.
    pub listing: Arc<Listing>,
    /// The folder that relative paths in the file start from.
    pub folder: PathBuf,
    /// The root of the tree.
    pub root: Node,
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
    Map(Vec<(Key, Node)>),
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
impl Document {
    /// A stretch of this file.
    pub fn place(&self, span: &Range<usize>) -> Place {
        Place { listing: Arc::clone(&self.listing), span: span.clone() }
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
        let written = self.node(path).filter(hidden).and_then(|node| self.listing.text.get(node.span.clone()));
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
            NodeKind::Map(entries) => entries.iter().find(|(key, _)| key.text == step).map(|(_, node)| node),
            NodeKind::Broken | NodeKind::Null | NodeKind::Scalar(_) => None,
        }
    }

    /// As [`Node::child`], to change it.
    pub fn child_mut(&mut self, step: &str) -> Option<&mut Node> {
        match &mut self.kind {
            NodeKind::List(items) => step.parse::<usize>().ok().and_then(|index| items.get_mut(index)),
            NodeKind::Map(entries) => entries.iter_mut().find(|(key, _)| key.text == step).map(|(_, node)| node),
            NodeKind::Broken | NodeKind::Null | NodeKind::Scalar(_) => None,
        }
    }

    /// The keys of this map, in file order.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        let entries = match &self.kind {
            NodeKind::Map(entries) => entries.as_slice(),
            NodeKind::Broken | NodeKind::List(_) | NodeKind::Null | NodeKind::Scalar(_) => &[],
        };
        entries.iter().map(|(key, _)| key)
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
            NodeKind::Map(entries) => entries.iter().map(|(key, _)| key).find(|key| key.text == text),
            NodeKind::Broken | NodeKind::List(_) | NodeKind::Null | NodeKind::Scalar(_) => None,
        }
    }
}
