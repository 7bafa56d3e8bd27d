//! Resolves `${VAR}`, `${VAR:-x}`, `$$` and `file://…` on scalars.
//!
//! In: a parsed `Document`. Out: the same with texts resolved and marked as
//! hidden. Not here: substitution on text, which lets a password with a colon
//! in it rewrite the file.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use super::document::{Document, Node, NodeKind};
use super::issue::{Issue, IssueCode, Issues};
use super::touched::Reader;

/// Larger files than this are no credential.
const MAX_SECRET_FILE: u64 = 64 << 10;

/// Where variables come from.
#[derive(Clone, Debug)]
pub struct Environment(Variables);

#[derive(Clone, Debug)]
enum Variables {
    Given(HashMap<String, String>),
    Process,
}

impl Environment {
    /// The environment of this process.
    pub fn of_process() -> Self {
        Environment(Variables::Process)
    }

    /// Exactly these variables.
    pub fn of<const N: usize>(variables: [(&str, &str); N]) -> Self {
        Environment(Variables::Given(variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into()))
    }

    /// Where the system says that a service keeps things: `STATE_DIRECTORY`, which systemd sets (systemd.exec(5)).
    pub(super) fn state_directory(&self) -> Option<PathBuf> {
        // Of several, which a unit may have, the first.
        let folders = self.value("STATE_DIRECTORY")?;
        folders.split(':').next().filter(|folder| !folder.is_empty()).map(PathBuf::from)
    }

    #[expect(clippy::disallowed_methods, reason = "the one place where configuration reads the environment")]
    fn value(&self, name: &str) -> Option<String> {
        match &self.0 {
            Variables::Given(variables) => variables.get(name).cloned(),
            Variables::Process => std::env::var(name).ok(),
        }
    }
}

/// Resolves every scalar of `document`; a scalar that cannot be resolved is
/// reported and marked broken.
pub fn resolve(document: &mut Document, environment: &Environment, reader: &mut Reader) -> Issues {
    let mut root = std::mem::replace(&mut document.root, Node { span: 0..0, kind: NodeKind::Null });
    let issues = resolve_node(&mut root, document, environment, reader);
    document.root = root;
    issues
}

/// As [`resolve`], for a node of `document` and what is below it.
pub(super) fn resolve_node(
    node: &mut Node,
    document: &Document,
    environment: &Environment,
    reader: &mut Reader,
) -> Issues {
    let mut issues = Issues::default();
    visit(node, &mut |node| {
        let NodeKind::Scalar(scalar) = &mut node.kind else { return };
        let mut resolver = Resolver { environment, folder: document.folder_at(node.span.start), reader };
        match resolver.text(&scalar.text) {
            Ok(None) => {}
            Ok(Some(text)) => {
                scalar.text = text;
                scalar.hidden = true;
                scalar.plain = false;
            }
            Err(problem) => {
                issues.push(Issue::at(problem.code, document.place(&node.span), problem.title).help(problem.help));
                node.kind = NodeKind::Broken;
            }
        }
    });
    issues
}

struct Problem {
    code: IssueCode,
    title: String,
    help: String,
}

fn visit(node: &mut Node, act: &mut impl FnMut(&mut Node)) {
    match &mut node.kind {
        NodeKind::List(items) => items.iter_mut().for_each(|item| visit(item, act)),
        NodeKind::Map(entries) => entries.iter_mut().for_each(|(_, child)| visit(child, act)),
        NodeKind::Broken | NodeKind::Null => {}
        NodeKind::Scalar(_) => act(node),
    }
}

/// What scalars are resolved with.
struct Resolver<'a> {
    environment: &'a Environment,
    /// Where relative paths start.
    folder: &'a Path,
    reader: &'a mut Reader,
}

impl Resolver<'_> {
    /// The resolved text, or `None` where nothing was to be resolved.
    fn text(&mut self, text: &str) -> Result<Option<String>, Problem> {
        match text.strip_prefix("file://") {
            Some(path) => read_secret(&self.folder.join(path), self.reader).map(Some),
            None => with_variables(text, self.environment),
        }
    }
}

fn with_variables(text: &str, environment: &Environment) -> Result<Option<String>, Problem> {
    if !text.contains('$') {
        return Ok(None);
    }
    if text.strip_prefix('$').is_some_and(is_name) {
        return Err(Problem {
            code: IssueCode::UnsetVariable,
            // It is not quoted: it may be a password after all.
            title: "a variable without braces is not resolved".to_owned(),
            help: "write `${NAME}`, or `$$` for a dollar sign".to_owned(),
        });
    }
    let mut resolved = String::new();
    let mut found = false;
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        resolved.push_str(before);
        if let Some(behind) = after.strip_prefix('$') {
            // `$$` is a dollar sign.
            resolved.push('$');
            found = true;
            rest = behind;
        } else if let Some(behind) = after.strip_prefix('{') {
            let (inside, behind) = behind.split_once('}').ok_or_else(|| Problem {
                code: IssueCode::UnsetVariable,
                title: "a `${` without its `}`".to_owned(),
                help: "write `${NAME}`, or `$$` for a dollar sign".to_owned(),
            })?;
            resolved.push_str(&variable(inside, environment)?);
            found = true;
            rest = behind;
        } else {
            resolved.push('$');
            rest = after;
        }
    }
    resolved.push_str(rest);
    Ok(found.then_some(resolved))
}

fn variable(inside: &str, environment: &Environment) -> Result<String, Problem> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    if !is_name(name) {
        return Err(Problem {
            code: IssueCode::UnsetVariable,
            // A default may be a credential.
            title: format!("`${{{name}}}` is not a variable"),
            help: "write `${NAME}` or `${NAME:-default}`, or `$$` for a dollar sign".to_owned(),
        });
    }
    match (environment.value(name), default) {
        // As in a shell, `:-` also stands in for a variable that is set but empty.
        (Some(value), Some(default)) if value.is_empty() => Ok(default.to_owned()),
        (Some(value), _) => Ok(value),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(Problem {
            code: IssueCode::UnsetVariable,
            title: format!("the variable `{name}` is not set"),
            help: format!("set it in the environment (export {name}=...), or write a default: ${{{name}:-...}}"),
        }),
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn read_secret(path: &Path, reader: &mut Reader) -> Result<String, Problem> {
    let unreadable = |why: String| Problem {
        code: IssueCode::Unreadable,
        title: format!("the file `{}` cannot be read: {why}", path.display()),
        help: "relative paths start at the folder of the file that names them".to_owned(),
    };
    let bytes = reader.read(path, MAX_SECRET_FILE).map_err(|error| {
        let is_large = error.kind() == io::ErrorKind::FileTooLarge;
        unreadable(if is_large { "it is larger than 64 KiB".to_owned() } else { error.to_string() })
    })?;
    let text = std::str::from_utf8(&bytes).map_err(|_| unreadable("it is not UTF-8".to_owned()))?;
    // One newline, as editors and `echo` leave it; more would be part of the value.
    let line = text.strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    Ok(line.unwrap_or(text).to_owned())
}
