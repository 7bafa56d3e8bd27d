//! Finds the route for a path.
//!
//! In: patterns with route indexes. Out: the most specific match, with what its
//! captures matched. A path without captures is one hash look-up, however many
//! routes there are; captures are tried segment by segment, fixed text first.

use std::collections::HashMap;
use std::ops::ControlFlow;

use crate::config::scalar::{PathPattern, Piece, Segment};
use crate::exchange::captures::Captures;

/// A route and what its captures matched.
#[derive(Debug, PartialEq, Eq)]
pub struct Match {
    /// The route's index.
    pub route: usize,
    /// The captures by name; `rest` for a tail.
    pub captures: Captures,
}

/// The compiled patterns.
#[derive(Debug, Default)]
pub(super) struct PathTable {
    exact: HashMap<Box<str>, usize, ahash::RandomState>,
    root: Node,
}

/// What can follow after some segments.
#[derive(Debug, Default)]
struct Node {
    literals: HashMap<Box<str>, Node, ahash::RandomState>,
    /// The longest fixed text first.
    captures: Vec<(Piece, Node)>,
    end: Option<Leaf>,
    tail: Option<Leaf>,
}

/// A pattern that ends here. The names are kept by leaf, because patterns with
/// one shape may name their captures differently.
#[derive(Debug)]
struct Leaf {
    route: usize,
    names: Box<[Box<str>]>,
}

impl Leaf {
    fn matched(&self, values: &[&str]) -> Match {
        let named = self.names.iter().cloned().zip(values.iter().map(|value| (*value).to_owned()));
        Match { route: self.route, captures: Captures(named.collect()) }
    }
}

impl PathTable {
    pub(super) fn compile<'a>(patterns: impl Iterator<Item = (&'a PathPattern, usize)>) -> Self {
        let mut table = PathTable::default();
        for (pattern, route) in patterns {
            let has_captures = pattern.segments().iter().any(|segment| matches!(segment, Segment::Capture(_)));
            if has_captures || pattern.has_tail() {
                table.root.insert(pattern, route);
            } else {
                table.exact.insert(pattern.as_str().into(), route);
            }
        }
        table
    }

    pub(super) fn find(&self, path: &str) -> Option<Match> {
        if let Some(route) = self.exact.get(path) {
            return Some(Match { route: *route, captures: Captures::default() });
        }
        let first = |leaf: &Leaf, values: &[&str]| ControlFlow::Break(leaf.matched(values));
        self.root.walk(path.strip_prefix('/')?, &mut Vec::new(), &mut { first }).break_value()
    }

    /// Every match, the most specific first: what [`PathTable::find`] gives, and what it would give without that.
    pub(super) fn find_all(&self, path: &str) -> Vec<Match> {
        let exact = self.exact.get(path).map(|route| Match { route: *route, captures: Captures::default() });
        let mut matches: Vec<Match> = exact.into_iter().collect();
        let mut keep = |leaf: &Leaf, values: &[&str]| -> ControlFlow<()> {
            matches.push(leaf.matched(values));
            ControlFlow::Continue(())
        };
        if let Some(rest) = path.strip_prefix('/') {
            // It never breaks off.
            let _ = self.root.walk(rest, &mut Vec::new(), &mut keep);
        }
        matches
    }
}

impl Node {
    fn insert(&mut self, pattern: &PathPattern, route: usize) {
        let mut node = self;
        for segment in pattern.segments() {
            node = match segment {
                Segment::Literal(text) => node.literals.entry(text.as_str().into()).or_default(),
                Segment::Capture(piece) => node.capture(piece),
            };
        }
        let leaf = Leaf { route, names: pattern.captures().map(Box::from).collect() };
        if pattern.has_tail() {
            node.tail = Some(leaf);
        } else {
            node.end = Some(leaf);
        }
    }

    fn capture(&mut self, piece: &Piece) -> &mut Node {
        let key = |piece: &Piece| {
            let fixed = piece.prefix.len() + piece.suffix.len();
            (usize::MAX - fixed, piece.prefix.clone(), piece.suffix.clone())
        };
        let wanted = key(piece);
        let index = match self.captures.binary_search_by(|(other, _)| key(other).cmp(&wanted)) {
            Ok(index) => index,
            Err(index) => {
                self.captures.insert(index, (piece.clone(), Node::default()));
                index
            }
        };
        #[expect(clippy::indexing_slicing, reason = "the index was found or filled just above")]
        &mut self.captures[index].1
    }

    /// Visits the leaves for what remains of a path, the most specific first, until `visit` breaks off. Depth is bounded
    /// by the patterns, not by the path.
    fn walk<'a, B>(
        &self,
        rest: &'a str,
        values: &mut Vec<&'a str>,
        visit: &mut impl FnMut(&Leaf, &[&'a str]) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let (segment, behind) = match rest.split_once('/') {
            Some((segment, behind)) => (segment, Some(behind)),
            None => (rest, None),
        };
        let onward = |node: &'_ Node| -> bool { behind.is_some() || node.end.is_some() };
        if let Some(node) = self.literals.get(segment).filter(|node| onward(node)) {
            node.step(behind, values, visit)?;
        }
        for (piece, node) in &self.captures {
            let Some(value) = captured(piece, segment) else { continue };
            values.push(value);
            node.step(behind, values, visit)?;
            values.pop();
        }
        if let Some(tail) = &self.tail {
            values.push(rest);
            visit(tail, values)?;
            values.pop();
        }
        ControlFlow::Continue(())
    }

    fn step<'a, B>(
        &self,
        behind: Option<&'a str>,
        values: &mut Vec<&'a str>,
        visit: &mut impl FnMut(&Leaf, &[&'a str]) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        match (behind, &self.end) {
            (Some(behind), _) => self.walk(behind, values, visit),
            (None, Some(leaf)) => visit(leaf, values),
            (None, None) => ControlFlow::Continue(()),
        }
    }
}

fn captured<'a>(piece: &Piece, segment: &'a str) -> Option<&'a str> {
    let value = segment.strip_prefix(piece.prefix.as_str())?.strip_suffix(piece.suffix.as_str())?;
    let clean = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (!value.is_empty() && value.bytes().all(clean)).then_some(value)
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
