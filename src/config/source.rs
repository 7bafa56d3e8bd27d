//! Reads a file and takes it apart, remembering where everything stands.
//!
//! In: a path, or text. Out: a [`Document`]: a tree of nodes with byte spans.
//! Not here: what the keys mean (`decode`), variables (`interpolate`).

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::issue::{Issue, IssueCode, Issues, Listing, Place};

/// Larger files than this are no configuration.
const MAX_FILE: u64 = 8 << 20;
/// Deeper nesting than this is an attack or an accident.
const MAX_DEPTH: usize = 64;
/// Nodes that aliases may add, so that a short file cannot grow without bound.
const MAX_NODES: usize = 1_000_000;

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
    /// Reads and parses the file at `path`.
    pub fn read(path: &Path) -> Result<Document, Issues> {
        let name = path.display().to_string();
        let whole = |code, title: String, help: &str| {
            let mut issues = Issues::default();
            issues.push(Issue::whole(code, title).help(help));
            issues
        };
        let unreadable = |error: std::io::Error| {
            let title = match error.kind() {
                std::io::ErrorKind::NotFound => format!("there is no file `{name}`"),
                _ => format!("the file `{name}` cannot be read: {error}"),
            };
            whole(
                IssueCode::Unreadable,
                title,
                "give the path of a YAML file, or start with `tollgate demo`, which needs none",
            )
        };
        let size = std::fs::metadata(path).map_err(unreadable)?.len();
        if size > MAX_FILE {
            return Err(whole(
                IssueCode::TooLarge,
                format!("the file `{name}` has {size} bytes"),
                "a configuration has at most 8 MiB",
            ));
        }
        let bytes = std::fs::read(path).map_err(unreadable)?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            whole(
                IssueCode::Syntax,
                format!("the file `{name}` is not UTF-8: the byte at {at} is wrong"),
                "save it as UTF-8",
            )
        })?;
        let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
        Document::parse(&name, &text, folder)
    }

    /// Parses `text`, which came from a file called `name` in `folder`.
    pub fn parse(name: &str, text: &str, folder: PathBuf) -> Result<Document, Issues> {
        let mut builder = Builder::new(text);
        let parsed = builder.parse(text);
        let root = match parsed {
            Ok(root) => root,
            Err(error) => {
                builder.problems.push((IssueCode::Syntax, error.span.clone(), error.title, None));
                Node { span: error.span, kind: NodeKind::Broken }
            }
        };
        let listing = Arc::new(Listing { name: name.to_owned(), text: mask(text, &root) });
        if builder.problems.is_empty() {
            return Ok(Document { listing, folder, root });
        }
        let mut issues = Issues::default();
        for (code, span, title, first) in builder.problems {
            let quotes_missing = code == IssueCode::Syntax && line_at(text, span.start).contains("${");
            let mut issue = Issue::at(code, place(&listing, span), title);
            if quotes_missing {
                issue = issue.help("inside `{ }`, a variable stands in quotes: { token: \"${NAME}\" }");
            }
            if let Some(first) = first {
                issue = issue
                    .label("second definition")
                    .related(place(&listing, first), "first defined here")
                    .help("keep one of them, or rename one");
            }
            issues.push(issue);
        }
        issues.sort();
        Err(issues)
    }

    /// A stretch of this file.
    pub fn place(&self, span: &Range<usize>) -> Place {
        place(&self.listing, span.clone())
    }

    /// The node at the end of a path of keys and list positions.
    pub fn node(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(&self.root, |node, step| node.child(step))
    }

    /// Where the key at the end of `path` stands, or the nearest thing above it.
    pub fn key_place(&self, path: &[&str]) -> Place {
        let span = match path.split_last() {
            None => None,
            Some((last, above)) => self.node(above).and_then(|node| node.key(last)).map(|key| key.span.clone()),
        };
        self.place(&span.unwrap_or_else(|| self.value_span(path)))
    }

    /// Where the value at the end of `path` stands, or the nearest thing above it.
    pub fn value_place(&self, path: &[&str]) -> Place {
        self.place(&self.value_span(path))
    }

    fn value_span(&self, path: &[&str]) -> Range<usize> {
        let mut node = &self.root;
        for step in path {
            match node.child(step) {
                Some(child) => node = child,
                None => break,
            }
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

    /// The key of this map with that text.
    pub fn key(&self, text: &str) -> Option<&Key> {
        match &self.kind {
            NodeKind::Map(entries) => entries.iter().map(|(key, _)| key).find(|key| key.text == text),
            NodeKind::Broken | NodeKind::List(_) | NodeKind::Null | NodeKind::Scalar(_) => None,
        }
    }
}

/// Keys whose values are credentials wherever they stand.
const CREDENTIAL_KEYS: [&str; 3] = ["token", "secret", "key"];

/// Whether the value at `path` is a credential by the name of its key.
pub(super) fn is_credential(path: &[&str]) -> bool {
    match path {
        ["upstreams", _, "headers", _] => true,
        [.., last] => CREDENTIAL_KEYS.contains(last),
        [] => false,
    }
}

fn place(listing: &Arc<Listing>, span: Range<usize>) -> Place {
    Place { listing: Arc::clone(listing), span }
}

fn line_at(text: &str, at: usize) -> &str {
    let (before, behind) = text.split_at_checked(at).unwrap_or((text, ""));
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let end = behind.find('\n').map_or(text.len(), |newline| at + newline);
    text.get(start..end).unwrap_or_default()
}

/// The text with every literal credential replaced by stars of the same length.
fn mask(text: &str, root: &Node) -> String {
    let mut spans = Vec::new();
    collect_credentials(root, &mut Vec::new(), &mut spans);
    let mut bytes = text.as_bytes().to_vec();
    for span in spans {
        for byte in bytes.get_mut(span).unwrap_or_default() {
            if *byte != b'\n' {
                *byte = b'*';
            }
        }
    }
    // Whole scalars were replaced, so no character was cut.
    String::from_utf8(bytes).unwrap_or_default()
}

fn collect_credentials<'a>(node: &'a Node, path: &mut Vec<&'a str>, spans: &mut Vec<Range<usize>>) {
    match &node.kind {
        NodeKind::Scalar(scalar) => {
            let by_reference = scalar.text.contains("${") || scalar.text.starts_with("file://");
            if !by_reference && is_credential(path) {
                spans.push(node.span.clone());
            }
        }
        NodeKind::Map(entries) => {
            for (key, child) in entries {
                path.push(&key.text);
                collect_credentials(child, path, spans);
                path.pop();
            }
        }
        NodeKind::List(items) => {
            for item in items {
                path.push("");
                collect_credentials(item, path, spans);
                path.pop();
            }
        }
        NodeKind::Broken | NodeKind::Null => {}
    }
}

type Problem = (IssueCode, Range<usize>, String, Option<Range<usize>>);

struct SyntaxError {
    span: Range<usize>,
    title: String,
}

/// Builds the tree from parser events.
struct Builder {
    /// Byte position of each character, because the parser counts characters.
    positions: Vec<usize>,
    length: usize,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    problems: Vec<Problem>,
}

impl Builder {
    fn new(text: &str) -> Self {
        Builder {
            positions: if text.is_ascii() { Vec::new() } else { text.char_indices().map(|(at, _)| at).collect() },
            length: text.len(),
            anchors: HashMap::new(),
            nodes: 0,
            problems: Vec::new(),
        }
    }

    fn parse(&mut self, text: &str) -> Result<Node, SyntaxError> {
        let mut parser = Parser::new_from_str(text);
        let mut root = None;
        loop {
            let (event, span) = self.next(&mut parser)?;
            match event {
                Event::StreamEnd => break,
                Event::DocumentStart(_) if root.is_some() => {
                    return Err(SyntaxError {
                        span,
                        title: "a second document (`---`): a configuration is one document".to_owned(),
                    });
                }
                Event::Alias(_) | Event::MappingStart(..) | Event::Scalar(..) | Event::SequenceStart(..) => {
                    root = Some(self.node(&mut parser, event, span, 0)?);
                }
                Event::DocumentEnd
                | Event::DocumentStart(_)
                | Event::MappingEnd
                | Event::Nothing
                | Event::SequenceEnd
                | Event::StreamStart => {}
            }
        }
        Ok(root.unwrap_or(Node { span: 0..0, kind: NodeKind::Null }))
    }

    fn node<'a>(
        &mut self,
        parser: &mut Parser<'a, saphyr_parser::StrInput<'a>>,
        event: Event<'a>,
        span: Range<usize>,
        depth: usize,
    ) -> Result<Node, SyntaxError> {
        self.nodes += 1;
        if depth > MAX_DEPTH || self.nodes > MAX_NODES {
            return Err(SyntaxError { span, title: "the file nests too deeply or repeats too much".to_owned() });
        }
        let (anchor, node) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none();
                let kind = match text.as_ref() {
                    "" | "~" | "null" if plain => NodeKind::Null,
                    _ => NodeKind::Scalar(Scalar { text: text.into_owned(), plain, hidden: false }),
                };
                (anchor, Node { span, kind })
            }
            Event::SequenceStart(anchor, _) => (anchor, self.list(parser, span, depth)?),
            Event::MappingStart(anchor, _) => (anchor, self.map(parser, span, depth)?),
            Event::Alias(id) => {
                let mut node =
                    self.anchors.get(&id).cloned().unwrap_or(Node { span: span.clone(), kind: NodeKind::Null });
                self.nodes += count(&node);
                node.span = span;
                (0, node)
            }
            Event::DocumentEnd
            | Event::DocumentStart(_)
            | Event::MappingEnd
            | Event::Nothing
            | Event::SequenceEnd
            | Event::StreamEnd
            | Event::StreamStart => (0, Node { span, kind: NodeKind::Null }),
        };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list<'a>(
        &mut self,
        parser: &mut Parser<'a, saphyr_parser::StrInput<'a>>,
        start: Range<usize>,
        depth: usize,
    ) -> Result<Node, SyntaxError> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next(parser)?;
            if matches!(event, Event::SequenceEnd) {
                let end = items.last().map_or(span.end, |item: &Node| item.span.end).max(span.end.min(start.end));
                return Ok(Node { span: start.start..end.max(start.end), kind: NodeKind::List(items) });
            }
            items.push(self.node(parser, event, span, depth + 1)?);
        }
    }

    fn map<'a>(
        &mut self,
        parser: &mut Parser<'a, saphyr_parser::StrInput<'a>>,
        start: Range<usize>,
        depth: usize,
    ) -> Result<Node, SyntaxError> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        // By text, so that ten thousand routes do not cost a hundred million comparisons.
        let mut seen: HashMap<String, Range<usize>> = HashMap::new();
        loop {
            let (event, span) = self.next(parser)?;
            let key = match event {
                Event::MappingEnd => {
                    let end = entries.last().map_or(start.end, |(_, node)| node.span.end);
                    return Ok(Node { span: start.start..end.max(start.end), kind: NodeKind::Map(entries) });
                }
                Event::Scalar(text, ..) => Key { text: text.into_owned(), span },
                Event::Alias(_)
                | Event::DocumentEnd
                | Event::DocumentStart(_)
                | Event::MappingStart(..)
                | Event::Nothing
                | Event::SequenceEnd
                | Event::SequenceStart(..)
                | Event::StreamEnd
                | Event::StreamStart => {
                    return Err(SyntaxError { span, title: "a key must be plain text".to_owned() });
                }
            };
            let (event, span) = self.next(parser)?;
            let value = self.node(parser, event, span, depth + 1)?;
            match seen.get(&key.text) {
                Some(first) => {
                    let title = format!("`{}` is defined twice", key.text);
                    self.problems.push((IssueCode::Duplicate, key.span, title, Some(first.clone())));
                }
                None => {
                    seen.insert(key.text.clone(), key.span.clone());
                    entries.push((key, value));
                }
            }
        }
    }

    fn next<'a>(
        &self,
        parser: &mut Parser<'a, saphyr_parser::StrInput<'a>>,
    ) -> Result<(Event<'a>, Range<usize>), SyntaxError> {
        match parser.next_event() {
            Some(Ok((event, span))) => Ok((event, self.bytes(span))),
            Some(Err(error)) => {
                let at = self.byte(error.marker().index());
                Err(SyntaxError { span: at..at, title: format!("this is not YAML: {}", error.info()) })
            }
            None => Ok((Event::StreamEnd, self.length..self.length)),
        }
    }

    fn bytes(&self, span: Span) -> Range<usize> {
        let start = self.byte(span.start.index());
        start..self.byte(span.end.index()).max(start)
    }

    fn byte(&self, character: usize) -> usize {
        if self.positions.is_empty() {
            return character.min(self.length);
        }
        self.positions.get(character).copied().unwrap_or(self.length)
    }
}

fn count(node: &Node) -> usize {
    match &node.kind {
        NodeKind::List(items) => 1 + items.iter().map(count).sum::<usize>(),
        NodeKind::Map(entries) => 1 + entries.iter().map(|(_, node)| count(node)).sum::<usize>(),
        NodeKind::Broken | NodeKind::Null | NodeKind::Scalar(_) => 1,
    }
}
