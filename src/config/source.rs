//! Reads a configuration's files and joins them to one tree.
//!
//! In: the path that the operator named. Out: a [`Document`] that also holds
//! the files it includes. Not here: one file's text (`parse`), what the keys
//! mean (`decode`).

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::document::{Document, Entries, Key, Node, NodeKind};
use super::interpolate::{Environment, resolve_node};
use super::issue::{Issue, IssueCode, Issues, Listing, Place};
use super::mask::{mask_lines, quotable};
use super::parse::{Parsed, parse};
use super::touched::{Reader, is_pattern};

/// Larger files than this are no configuration.
const MAX_FILE: u64 = 8 << 20;
/// All files of a configuration together; a pattern may match more than anyone meant.
const MAX_TOTAL: usize = 16 << 20;
/// More files than this are a pattern that matches too much.
const MAX_FILES: usize = 1_000;
/// Sections whose entries may stand in several files; any other key stands in one.
const SHARED: [&str; 6] = ["hosts", "limits", "plans", "routes", "tenants", "upstreams"];

/// Reads and parses the file at `path` and all that it includes, with what is wrong in them.
///
/// # Errors
/// What is wrong, where it leaves no tree: then there is nothing else to say.
pub(super) fn read(path: &Path, environment: &Environment, reader: &mut Reader) -> Result<(Document, Issues), Issues> {
    let text = text_of(path, 0, reader).map_err(|problem| problem.into_issues(path, None))?;
    let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
    let (mut document, mut issues) = of_text(&path.display().to_string(), &text, folder)?;
    let mut including = Including {
        environment,
        reader,
        known: HashSet::from([same(path)]),
        issues: Issues::default(),
        is_whole: true,
    };
    including.all(&mut document);
    issues.append(including.issues);
    match including.is_whole {
        true => Ok((document, issues)),
        false => Err(issues),
    }
}

/// Reads only these sections of the file at `path`, by the look of its lines:
/// what is wrong elsewhere in it does not matter, not even that it is no YAML.
///
/// # Errors
/// Where the file cannot be read, or these sections cannot be parsed.
pub(super) fn read_sections(path: &Path, names: &[&str], reader: &mut Reader) -> Result<Document, Issues> {
    let text = text_of(path, 0, reader).map_err(|problem| problem.into_issues(path, None))?;
    let mut is_wanted = false;
    let mut kept = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        if line.starts_with(|c: char| !c.is_whitespace() && c != '#') {
            let key = line.split(':').next().unwrap_or_default().trim_matches(['"', '\'']);
            is_wanted = names.contains(&key);
        }
        // Lines that are left out leave their line breaks, so that places stay what they are.
        kept.push_str(if is_wanted { line } else { "\n" });
    }
    let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
    Ok(of_text(&path.display().to_string(), &kept, folder)?.0)
}

/// The sections of the file at `path`, as parts of `document`, into whose place they are to come. Any other is a problem.
///
/// # Errors
/// Where the file cannot be read or parsed.
pub(super) fn read_beside(
    document: &mut Document,
    path: &Path,
    names: &[&str],
    reader: &mut Reader,
) -> Result<(Vec<(Key, Node)>, Issues), Issues> {
    let order = document.file_count();
    let text = text_of(path, 0, reader).map_err(|problem| problem.into_issues(path, None))?;
    let Parsed { listing, mut root, mut issues } = parse(&path.display().to_string(), order, &text);
    let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
    root.shift(document.add(listing, folder));
    let place = document.place(&(root.span.start..root.span.start));
    let sections = match root.kind {
        NodeKind::Map(entries) => entries.into_list(),
        NodeKind::Broken => return Err(issues),
        NodeKind::List(_) | NodeKind::Null | NodeKind::Scalar(_) => {
            let title = format!("this file holds none of {}", names.join(", "));
            issues.push(Issue::at(IssueCode::WrongType, place, title).help("begin with `limits:` or `plans:`"));
            return Err(issues);
        }
    };
    let (sections, others): (Vec<_>, Vec<_>) =
        sections.into_iter().partition(|(key, _)| names.contains(&key.text.as_str()));
    for (key, _) in others {
        let title = format!("`{}` does not stand beside another configuration", quotable(&[&key.text]));
        let help = format!("keep only {}, or use this file alone", names.join(", "));
        issues.push(Issue::at(IssueCode::UnknownKey, document.place(&key.span), title).help(help));
    }
    Ok((sections, issues))
}

/// Parses `text`, which came from a file called `name` in `folder`.
///
/// # Errors
/// As for [`read`].
pub(super) fn of_text(name: &str, text: &str, folder: PathBuf) -> Result<(Document, Issues), Issues> {
    let Parsed { listing, root, issues } = parse(name, 0, text);
    match root.kind {
        NodeKind::Broken => Err(issues),
        NodeKind::List(_) | NodeKind::Map(_) | NodeKind::Null | NodeKind::Scalar(_) => {
            Ok((Document::new(listing, folder, root), issues))
        }
    }
}

/// Reads what `include` names.
struct Including<'a> {
    environment: &'a Environment,
    reader: &'a mut Reader,
    /// What has been read: no file is read twice, though two patterns match it.
    known: HashSet<PathBuf>,
    issues: Issues,
    /// No file is missing from the tree, so that what is not in it is nowhere.
    is_whole: bool,
}

impl Including<'_> {
    fn all(&mut self, document: &mut Document) {
        for (pattern, place) in self.patterns(document) {
            for path in self.matches(&pattern, &place) {
                if document.file_count() > MAX_FILES {
                    let title = format!("`include` names more than {MAX_FILES} files");
                    self.report(Issue::at(IssueCode::TooLarge, place, title).help("write a narrower pattern"));
                    return;
                }
                if self.known.insert(same(&path)) {
                    self.one(document, &path, &place);
                }
            }
        }
    }

    /// Notes a problem that leaves a file out.
    fn report(&mut self, issue: Issue) {
        self.issues.push(issue);
        self.is_whole = false;
    }

    /// The patterns with their places, variables resolved, relative to the main file.
    fn patterns(&mut self, document: &Document) -> Vec<(String, Place)> {
        let Some(NodeKind::List(items)) = document.root.child("include").map(|node| &node.kind) else {
            // Decoding says that it must be a list.
            return Vec::new();
        };
        let mut patterns = Vec::new();
        for item in items {
            // A copy, because the whole tree is resolved later.
            let mut item = item.clone();
            let unresolved = resolve_node(&mut item, document, self.environment, &mut Reader::default());
            self.is_whole &= unresolved.is_empty();
            self.issues.append(unresolved);
            if let NodeKind::Scalar(scalar) = item.kind {
                let folder = glob::Pattern::escape(&document.main_folder().display().to_string());
                let pattern = Path::new(&folder).join(scalar.text).display().to_string();
                patterns.push((pattern, document.place(&item.span)));
            }
        }
        patterns
    }

    fn matches(&mut self, pattern: &str, place: &Place) -> Vec<PathBuf> {
        match self.reader.matches(pattern) {
            Err(why) => {
                let (code, help) = match why.starts_with("this is not") {
                    true => (IssueCode::BadValue, "write a path, or a pattern like conf.d/*.yaml"),
                    false => (IssueCode::Unreadable, "make the folder, which may be empty, or let this user read it"),
                };
                self.report(Issue::at(code, place.clone(), why).help(help));
                Vec::new()
            }
            // A folder without files is fine, a file that is named and missing is not.
            Ok(found) if found.is_empty() && !is_pattern(pattern) => vec![PathBuf::from(pattern)],
            Ok(found) => found,
        }
    }

    fn one(&mut self, document: &mut Document, path: &Path, named: &Place) {
        let order = document.file_count();
        let text = match text_of(path, order, self.reader) {
            Ok(text) => text,
            Err(problem) => {
                self.issues.append(problem.into_issues(path, Some(named.clone())));
                self.is_whole = false;
                return;
            }
        };
        if document.length() + text.len() > MAX_TOTAL {
            let title = "the files are together larger than 16 MiB";
            self.report(Issue::at(IssueCode::TooLarge, named.clone(), title).help("write a narrower pattern"));
            return;
        }
        let Parsed { listing, mut root, issues } = parse(&path.display().to_string(), order, &text);
        self.is_whole &= !matches!(root.kind, NodeKind::Broken);
        self.issues.append(issues);
        let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
        root.shift(document.add(listing, folder));
        self.issues.append(join(document, root));
    }
}

/// Takes the entries of another file's tree into the document's.
fn join(document: &mut Document, other: Node) -> Issues {
    let entries = match other.kind {
        NodeKind::Map(entries) => entries,
        // A file whose lines are all comments.
        NodeKind::Null | NodeKind::Broken => return Issues::default(),
        NodeKind::List(_) | NodeKind::Scalar(_) => {
            let place = document.place(&(other.span.start..other.span.start));
            let title = "an included file holds sections, like the file that includes it";
            return one(Issue::at(IssueCode::WrongType, place, title).help("begin with `routes:` or `upstreams:`"));
        }
    };
    let mut twice: Vec<(Key, Key)> = Vec::new();
    let mut nested = None;
    let mut root = std::mem::replace(&mut document.root, Node { span: 0..0, kind: NodeKind::Null });
    if matches!(root.kind, NodeKind::Null) {
        root.kind = NodeKind::Map(Entries::default());
    }
    if let NodeKind::Map(mine) = &mut root.kind {
        let mut fresh = Vec::new();
        for (key, value) in entries.into_list() {
            if key.text == "include" {
                nested = Some(key);
                continue;
            }
            match mine.iter_mut().find(|(known, _)| known.text == key.text) {
                None => fresh.push((key, value)),
                Some((known, section)) => join_section(known, section, (key, value), &mut twice),
            }
        }
        *mine = std::mem::take(mine).join(fresh);
    }
    document.root = root;
    let mut issues = Issues::default();
    if let Some(key) = nested {
        let title = "an included file cannot include others";
        issues.push(
            Issue::at(IssueCode::UnknownKey, document.place(&key.span), title)
                .help("write the pattern into the file that `check` and `run` are given"),
        );
    }
    for (first, second) in twice {
        let title = format!("`{}` is defined twice", second.text);
        let issue = Issue::at(IssueCode::Duplicate, document.place(&second.span), title).label("second definition");
        let issue = issue.related(document.place(&first.span), "first defined here");
        issues.push(issue.help("keep one of them, or rename one"));
    }
    issues
}

/// Joins a section that both files have; keys that stand in both are added to `twice`.
fn join_section(known: &Key, section: &mut Node, other: (Key, Node), twice: &mut Vec<(Key, Key)>) {
    let (key, value) = other;
    if !SHARED.contains(&key.text.as_str()) {
        twice.push((known.clone(), key));
        return;
    }
    match (&mut section.kind, value.kind) {
        (NodeKind::Map(mine), NodeKind::Map(others)) => {
            let (doubled, fresh) = others.into_list().into_iter().partition(|(key, _)| mine.entry(&key.text).is_some());
            let doubled: Vec<(Key, Node)> = doubled;
            for (second, _) in doubled {
                if let Some((first, _)) = mine.entry(&second.text) {
                    twice.push((first.clone(), second));
                }
            }
            *mine = std::mem::take(mine).join(fresh);
        }
        // `routes:` with nothing behind it says nothing.
        (_, NodeKind::Null) => {}
        (kind @ NodeKind::Null, value) => *kind = value,
        // Of the wrong type, which decoding can only say of one of them.
        (_, _) => twice.push((known.clone(), key)),
    }
}

/// Why a file gives no text.
enum Unreadable {
    /// It cannot be read.
    Failed(io::Error),
    /// What is in it is not text.
    NotText(Issues),
}

impl Unreadable {
    /// `named` is where another file names this one.
    fn into_issues(self, path: &Path, named: Option<Place>) -> Issues {
        let name = path.display();
        let error = match self {
            Unreadable::NotText(issues) => return issues,
            Unreadable::Failed(error) => error,
        };
        let (code, title, help) = match (error.kind(), &named) {
            (io::ErrorKind::FileTooLarge, _) => (
                IssueCode::TooLarge,
                format!("the file `{name}` is larger than 8 MiB"),
                "a configuration has at most 8 MiB a file; `include` takes several",
            ),
            (io::ErrorKind::NotFound, None) => (
                IssueCode::Unreadable,
                format!("there is no file `{name}`"),
                "give the path of a YAML file, or start with `tollgate demo`, which needs none",
            ),
            (io::ErrorKind::NotFound, Some(_)) => (
                IssueCode::Unreadable,
                format!("there is no file `{name}`"),
                "relative paths start at the folder of the file that names them",
            ),
            (_, _) => (
                IssueCode::Unreadable,
                format!("the file `{name}` cannot be read: {error}"),
                "give the path of a YAML file that this user may read",
            ),
        };
        one(match named {
            None => Issue::whole(code, title).help(help),
            Some(place) => Issue::at(code, place, title).help(help),
        })
    }
}

fn text_of(path: &Path, order: usize, reader: &mut Reader) -> Result<String, Unreadable> {
    // The operator's own file may come from a pipe: `check <(helm template ..)`.
    let bytes = if order == 0 { reader.read_stream(path, MAX_FILE) } else { reader.read_once(path, MAX_FILE) };
    String::from_utf8(bytes.map_err(Unreadable::Failed)?).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Unreadable::NotText(not_utf8(path, order, error.as_bytes(), at))
    })
}

pub(super) fn not_utf8(path: &Path, order: usize, bytes: &[u8], at: usize) -> Issues {
    let name = path.display().to_string();
    let title = format!("the file `{name}` is not UTF-8");
    if let [0xff, 0xfe, ..] | [0xfe, 0xff, ..] = bytes {
        return one(Issue::whole(IssueCode::Syntax, title).help("it seems to be UTF-16: save it as UTF-8"));
    }
    let text = mask_lines(&String::from_utf8_lossy(bytes));
    let listing = Arc::new(Listing::new(name, text, order));
    let place = Place { listing, span: at..at + '\u{fffd}'.len_utf8() };
    one(Issue::at(IssueCode::Syntax, place, title).label("this byte").help("save the file as UTF-8"))
}

fn one(issue: Issue) -> Issues {
    let mut issues = Issues::default();
    issues.push(issue);
    issues
}

/// The file itself, whatever names and links lead to it.
fn same(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}
