//! Takes a file's text apart, remembering where everything stands.
//!
//! In: text. Out: a tree of nodes with byte spans. Not here: reading files and
//! joining several (`source`), what the keys mean (`decode`), variables
//! (`interpolate`).

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

use super::document::{Entries, Key, Node, NodeKind, Scalar};
use super::issue::{Issue, IssueCode, Issues, Listing, MAX_KEPT, Place};
use super::mask::{credential_in_key, credentials_in, mask, mask_lines, quotable, without_keys};

/// Deeper nesting than this is an attack or an accident.
const MAX_DEPTH: usize = 64;
/// Values in a configuration's file, those that aliases add among them: a short file must not grow without bound.
pub(super) const CONFIGURATION: MaxValues = MaxValues {
    number: 500_000,
    help: "a configuration has at most 500 000 values a file, aliases (`*name`) written out",
};
/// What anchors and aliases may add, in bytes: many times a long text is much with few values.
const MAX_COPIED: usize = 8 << 20;
/// Longer keys than this are none that anyone wrote.
const MAX_KEY: usize = 16 << 10;
/// Longer values than this are no values of a configuration.
const MAX_SCALAR: usize = 64 << 10;

/// Tags that YAML knows; what stands behind `!!` otherwise may be anything.
const TAGS: [&str; 9] = ["binary", "bool", "float", "int", "map", "null", "seq", "str", "timestamp"];

/// How many values a file may have, and what to do about more.
#[derive(Clone, Copy, Debug)]
pub(super) struct MaxValues {
    pub number: usize,
    pub help: &'static str,
}

/// One file as a tree of its own; spans begin at 0.
#[derive(Debug)]
pub(super) struct Parsed {
    /// The file as it may be shown.
    pub listing: Arc<Listing>,
    /// The root of the tree; broken where the text has none.
    pub root: Node,
    /// What is wrong with the text as such.
    pub issues: Issues,
}

/// Parses `text`, which came from the file called `name`, the `order`th that was read.
pub(super) fn parse(name: &str, order: usize, text: &str) -> Parsed {
    parse_within(name, order, text, CONFIGURATION)
}

/// As [`parse`], of a file with its own limit.
pub(super) fn parse_within(name: &str, order: usize, text: &str, max_values: MaxValues) -> Parsed {
    // A byte order mark is nothing that an editor counts as a column.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder::new(text, max_values);
    let (root, shown) = match builder.parse() {
        Ok(root) => {
            let shown = mask(text, &root, &builder.dropped);
            (root, shown)
        }
        Err(problem) => {
            let broken = Node { span: problem.span.clone(), kind: NodeKind::Broken };
            builder.problems.push(*problem);
            // The tree is lost, and what was read of it may belong elsewhere.
            (broken, mask_lines(text))
        }
    };
    let listing = Arc::new(Listing::new(name.to_owned(), without_keys(text, shown), order));
    let mut issues = Issues::default();
    if builder.are_more {
        issues.cut();
    }
    for problem in builder.problems {
        issues.push(problem.into_issue(&listing));
    }
    Parsed { listing, root, issues }
}

/// A problem before there is a text that it may be shown in.
#[derive(Debug)]
struct Problem {
    code: IssueCode,
    span: Range<usize>,
    title: String,
    label: &'static str,
    related: Option<(Range<usize>, &'static str)>,
    help: Option<&'static str>,
}

impl Problem {
    fn new(code: IssueCode, span: Range<usize>, title: impl Into<String>) -> Box<Self> {
        Box::new(Problem { code, span, title: title.into(), label: "", related: None, help: None })
    }

    fn help(mut self: Box<Self>, help: &'static str) -> Box<Self> {
        self.help = Some(help);
        self
    }

    fn into_issue(self, listing: &Arc<Listing>) -> Issue {
        let place = |span| Place { listing: Arc::clone(listing), span };
        let mut issue = Issue::at(self.code, place(self.span), self.title).label(self.label);
        if let Some((span, label)) = self.related {
            issue = issue.related(place(span), label);
        }
        match self.help {
            Some(help) => issue.help(help),
            None => issue,
        }
    }
}

fn too_deep(span: Range<usize>) -> Box<Problem> {
    Problem::new(IssueCode::TooLarge, span, "the file nests too deeply").help("a configuration has at most 64 levels")
}

/// What is said about `!…`.
fn tagged(tag: &Tag, span: Range<usize>) -> Box<Problem> {
    // What stands behind one `!` may be a credential that nobody put into quotes.
    let title = match tag.handle.starts_with("tag:yaml.org,2002:") && TAGS.contains(&tag.suffix.as_str()) {
        true => format!("a tag (`!!{}`) has no meaning here", tag.suffix),
        false => "a tag (`!…`) has no meaning here".to_owned(),
    };
    Problem::new(IssueCode::Syntax, span, title).help("remove it; what must stay text stands in quotes")
}

/// What to do about the parser's complaint.
fn advice(complaint: &str, line: &str) -> Option<&'static str> {
    let advice = match complaint {
        _ if line.contains(" [:") && line.contains("]:") => "an IPv6 address stands in quotes: \"[::]:8080\"",
        _ if complaint.contains("flow mapping") && line.contains("${") => {
            "inside `{ }`, a variable stands in quotes: { token: \"${NAME}\" }"
        }
        _ if complaint.contains("flow mapping") => "a `{` is closed by `}`, and a `,` stands between two entries",
        _ if complaint.contains("flow sequence") => "a `[` is closed by `]`, and a `,` stands between two items",
        _ if complaint.contains("block mapping") => {
            "keys of one section begin in the same column: look at this line and those above"
        }
        _ if complaint.contains("tab") => "indent with blanks",
        _ if complaint.contains("quoted scalar") => "look for a quote that is not closed",
        _ if complaint.contains("did not find expected node content") => {
            "a value is missing, or a `]` or `}` without its `[` or `{`"
        }
        _ if complaint.contains("anchor") => "text that begins with `*` or `&` stands in quotes: \"*.example.com\"",
        _ => "look at this line and the one above it: a missing quote, bracket or colon, or another indentation",
    };
    Some(advice)
}

fn line_at(text: &str, at: usize) -> &str {
    let (before, behind) = text.split_at_checked(at).unwrap_or((text, ""));
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let end = behind.find('\n').map_or(text.len(), |newline| at + newline);
    text.get(start..end).unwrap_or_default()
}
/// Builds the tree from parser events.
struct Builder<'t> {
    text: &'t str,
    max_values: MaxValues,
    /// Byte position of each character, because the parser counts characters.
    positions: Vec<usize>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    problems: Vec<Problem>,
    /// Whether there are problems beside these.
    are_more: bool,
    /// Where brackets that are not closed yet were opened.
    open: Vec<Range<usize>>,
    /// Keys above the node that is being built.
    path: Vec<String>,
    /// Where credentials stand that do not become part of the tree.
    dropped: Vec<Range<usize>>,
    /// Bytes that anchors and aliases have added.
    copied: usize,
}

impl<'t> Builder<'t> {
    fn new(text: &'t str, max_values: MaxValues) -> Self {
        Builder {
            text,
            max_values,
            positions: if text.is_ascii() { Vec::new() } else { text.char_indices().map(|(at, _)| at).collect() },
            anchors: HashMap::new(),
            nodes: 0,
            problems: Vec::new(),
            are_more: false,
            open: Vec::new(),
            path: Vec::new(),
            dropped: Vec::new(),
            copied: 0,
        }
    }

    fn parse(&mut self) -> Result<Node, Box<Problem>> {
        // The parser would take it for the end of the file, and what follows would be ignored.
        if let Some(at) = self.text.find('\0') {
            return Err(Problem::new(IssueCode::Syntax, at..at + 1, "a NUL character: this is not a text file")
                .help("remove it, or save the file as UTF-8"));
        }
        let mut parser = Parser::new_from_str(self.text);
        let mut root = None;
        loop {
            let (event, span) = self.next(&mut parser)?;
            match event {
                Event::StreamEnd => break,
                Event::DocumentStart(_) if root.is_some() => {
                    let title = "a second document (`---`): a configuration is one document";
                    return Err(Problem::new(IssueCode::Syntax, span, title).help("remove the line, or use two files"));
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
    ) -> Result<Node, Box<Problem>> {
        self.nodes += 1;
        if depth > MAX_DEPTH {
            return Err(too_deep(span));
        }
        if self.nodes > self.max_values.number {
            return Err(
                Problem::new(IssueCode::TooLarge, span, "the file has too many values").help(self.max_values.help)
            );
        }
        if let Event::Scalar(_, _, _, Some(tag))
        | Event::SequenceStart(_, Some(tag))
        | Event::MappingStart(_, Some(tag)) = &event
        {
            self.report(*tagged(tag, span.clone()));
        }
        let (anchor, node) = match event {
            Event::Scalar(text, ..) if text.len().max(span.len()) > MAX_SCALAR => {
                return Err(Problem::new(IssueCode::TooLarge, span.start..span.start, "this value is too long")
                    .help("a value has at most 64 KiB; look for a quote that is not closed"));
            }
            Event::Scalar(text, style, anchor, _) => {
                let plain = style == ScalarStyle::Plain;
                let kind = match text.as_ref() {
                    "" | "~" | "null" if plain => NodeKind::Null,
                    _ => NodeKind::Scalar(Scalar { text: text.into_owned(), plain, hidden: false }),
                };
                // A block of text ends before the line break that the parser counts in.
                let end = self.text.get(span.clone()).map_or(span.end, |text| span.start + text.trim_end().len());
                (anchor, Node { span: span.start..end.max(span.start), kind })
            }
            Event::SequenceStart(anchor, _) => (anchor, self.list(parser, span, depth)?),
            Event::MappingStart(anchor, _) => (anchor, self.map(parser, span, depth)?),
            Event::Alias(id) => {
                if let Some(size) = self.anchors.get(&id).map(Node::size) {
                    self.grow(size, &span)?;
                }
                let nothing = Node { span: span.clone(), kind: NodeKind::Null };
                let mut node = self.anchors.get(&id).cloned().unwrap_or(nothing);
                if matches!(node.kind, NodeKind::Scalar(_)) {
                    self.leave_out(&node);
                }
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
            // Anchors inside anchors are kept as often as they are deep.
            self.grow(node.size(), &(node.span.start..node.span.start))?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    /// Counts in what an anchor or alias adds, before it is copied.
    fn grow(&mut self, (nodes, bytes): (usize, usize), span: &Range<usize>) -> Result<(), Box<Problem>> {
        self.nodes += nodes;
        self.copied += bytes;
        if self.nodes > self.max_values.number || self.copied > MAX_COPIED {
            let title = "the aliases (`*name`) of the file repeat too much";
            return Err(Problem::new(IssueCode::TooLarge, span.clone(), title)
                .help("a configuration has at most 500 000 values and 8 MiB a file, aliases written out"));
        }
        Ok(())
    }

    /// Notes a problem that leaves a tree; no more of them than are shown.
    fn report(&mut self, problem: Problem) {
        match self.problems.len() < MAX_KEPT {
            true => self.problems.push(problem),
            false => self.are_more = true,
        }
    }

    /// Notes the credentials of what does not become part of the tree.
    fn leave_out(&mut self, node: &Node) {
        self.dropped.extend(credentials_in(self.text, &self.path, node));
    }

    fn list<'a>(
        &mut self,
        parser: &mut Parser<'a, saphyr_parser::StrInput<'a>>,
        start: Range<usize>,
        depth: usize,
    ) -> Result<Node, Box<Problem>> {
        let mut items = Vec::new();
        self.open.push(start.clone());
        loop {
            let (event, span) = self.next(parser)?;
            if matches!(event, Event::SequenceEnd) {
                self.open.pop();
                items.shrink_to_fit();
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
    ) -> Result<Node, Box<Problem>> {
        let mut entries = Entries::default();
        self.open.push(start.clone());
        loop {
            let (event, span) = self.next(parser)?;
            let key = match event {
                Event::MappingEnd => {
                    self.open.pop();
                    let end = entries.last().map_or(start.end, |(_, node)| node.span.end);
                    return Ok(Node { span: start.start..end.max(start.end), kind: NodeKind::Map(entries.close()) });
                }
                Event::Scalar(text, ..) if text.len() > MAX_KEY => {
                    return Err(Problem::new(IssueCode::TooLarge, span.start..span.start, "this key is too long")
                        .help("a key has at most 16 KiB; look for a quote that is not closed"));
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
                    return Err(Problem::new(IssueCode::Syntax, span, "a key must be plain text")
                        .help("a value that begins with `[`, `{` or `*` stands in quotes"));
                }
            };
            let (event, span) = self.next(parser)?;
            self.path.push(key.text.clone());
            let value = self.node(parser, event, span, depth + 1)?;
            match entries.entry(&key.text) {
                Some((first, _)) => {
                    let first = first.span.clone();
                    let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
                    let title = format!("`{}` is defined twice", quotable(&path));
                    self.dropped.extend(credential_in_key(self.text, &path, &key));
                    self.report(Problem {
                        label: "second definition",
                        related: Some((first, "first defined here")),
                        help: Some("keep one of them, or rename one"),
                        ..*Problem::new(IssueCode::Duplicate, key.span, title)
                    });
                    self.leave_out(&value);
                }
                None => entries.push((key, value)),
            }
            self.path.pop();
        }
    }

    fn next<'a>(
        &self,
        parser: &mut Parser<'a, saphyr_parser::StrInput<'a>>,
    ) -> Result<(Event<'a>, Range<usize>), Box<Problem>> {
        match parser.next_event() {
            Some(Ok((event, span))) => Ok((event, self.bytes(span))),
            Some(Err(error)) => {
                let at = self.byte(error.marker().index());
                Err(self.not_yaml(at, error.info()))
            }
            None => Ok((Event::StreamEnd, self.text.len()..self.text.len())),
        }
    }

    fn not_yaml(&self, at: usize, complaint: &str) -> Box<Problem> {
        // The parser looks ahead, and has a limit of its own.
        if complaint.contains("recursion limit") {
            return too_deep(at..at);
        }
        let mut problem = Problem::new(IssueCode::Syntax, at..at, format!("this is not YAML: {complaint}"));
        problem.help = advice(complaint, line_at(self.text, at));
        if complaint.contains("flow") {
            let opened = self
                .open
                .last()
                .filter(|open| self.text.get(open.start..).is_some_and(|text| text.starts_with(['{', '['])));
            problem.related = opened.map(|open| (open.clone(), "opened here"));
        }
        problem
    }

    fn bytes(&self, span: Span) -> Range<usize> {
        let start = self.byte(span.start.index());
        start..self.byte(span.end.index()).max(start)
    }

    fn byte(&self, character: usize) -> usize {
        if self.positions.is_empty() {
            return character.min(self.text.len());
        }
        self.positions.get(character).copied().unwrap_or(self.text.len())
    }
}
