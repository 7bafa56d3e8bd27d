//! Writes a tree as YAML that the loader reads back.
//!
//! In: a tree of items. Out: lines, comments aligned behind them. Not here: what is in the tree.

use std::fmt;

use super::{Item, Value};

/// Comments stand in this column at most; a longer line has its comment right behind it.
const MAX_COLUMN: usize = 48;

/// A list that is longer than this has a line for each item.
const MAX_FLOW: usize = 80;

/// Words that YAML, old or new, takes for something other than text.
const WORDS: [&str; 13] = [".inf", ".nan", "", "~", "null", "true", "false", "yes", "no", "on", "off", "y", "n"];

/// A line and the comment behind it.
struct Line {
    text: String,
    comment: Option<String>,
}

/// What text stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    /// On a line of its own.
    Block,
    /// Inside `[ ]` or `{ }`.
    Flow,
}

/// Writes the tree at `root`.
pub(super) fn write(root: &Item, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut lines = Vec::new();
    map(root, 0, &mut lines);
    let width = |line: &Line| line.text.chars().count();
    let commented = lines.iter().filter(|line| line.comment.is_some());
    let column = commented.map(width).filter(|width| *width <= MAX_COLUMN).max().unwrap_or_default();
    lines.iter().try_for_each(|line| match &line.comment {
        None => writeln!(f, "{}", line.text),
        Some(comment) => writeln!(f, "{}{}  # {comment}", line.text, " ".repeat(column.saturating_sub(width(line)))),
    })
}

/// A value in one line, as a message quotes it; `$` is not doubled.
pub(in crate::config) fn one_line(value: &Value) -> String {
    match value {
        Value::Boolean(_) | Value::Number(_) => literal(value),
        Value::Text(text) => quoted(text, Style::Block),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(|item| inner_line(&item.value)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Map(entries) => {
            let entries = entries.iter().map(|(key, item)| format!("{}: {}", key_of(key), inner_line(&item.value)));
            format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
        }
    }
}

fn inner_line(value: &Value) -> String {
    match value {
        Value::Text(text) => quoted(text, Style::Flow),
        Value::Boolean(_) | Value::List(_) | Value::Map(_) | Value::Number(_) => one_line(value),
    }
}

/// A key as it stands before its colon.
pub(in crate::config) fn key_of(key: &str) -> String {
    // A key is never taken for anything but text: `on` of `retry` needs no quotes.
    let is_name =
        key.starts_with(|c: char| c.is_ascii_lowercase()) && key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    if is_name { key.to_owned() } else { quoted(key, Style::Block) }
}

fn map(item: &Item, indent: usize, lines: &mut Vec<Line>) {
    let Value::Map(entries) = &item.value else { return };
    for (key, item) in entries {
        entry(&format!("{}{}:", " ".repeat(indent), key_of(key)), item, indent, lines);
    }
    for (text, why) in &item.follows {
        lines.push(Line { text: format!("{}# {text}", " ".repeat(indent)), comment: Some((*why).to_owned()) });
    }
}

/// An item behind its key, or behind the dash of a list.
fn entry(before: &str, item: &Item, indent: usize, lines: &mut Vec<Line>) {
    match &item.value {
        Value::Map(entries) if !entries.is_empty() => {
            lines.push(Line { text: before.to_owned(), comment: None });
            map(item, indent + 2, lines);
        }
        Value::List(items) if !items.is_empty() => match flow(items) {
            Some(text) => {
                // They all came from one place.
                let comment = items.first().and_then(|item| item.origin.clone());
                lines.push(Line { text: format!("{before} {text}"), comment });
            }
            None => {
                lines.push(Line { text: before.to_owned(), comment: None });
                items.iter().for_each(|item| list_item(item, indent + 2, lines));
            }
        },
        Value::Boolean(_) | Value::List(_) | Value::Map(_) | Value::Number(_) | Value::Text(_) => {
            lines.push(Line {
                text: format!("{before} {}", scalar(&item.value, Style::Block)),
                comment: item.origin.clone(),
            });
        }
    }
}

fn list_item(item: &Item, indent: usize, lines: &mut Vec<Line>) {
    let dash = format!("{}-", " ".repeat(indent));
    if item.is_leaf() {
        return entry(&dash, item, indent, lines);
    }
    let first = lines.len();
    map(item, indent + 2, lines);
    // The first key stands behind the dash.
    if let Some(line) = lines.get_mut(first) {
        line.text = format!("{dash} {}", line.text.trim_start());
    }
}

/// `[a, b]`, if the items are short and from one place.
fn flow(items: &[Item]) -> Option<String> {
    let origin = &items.first()?.origin;
    if !items.iter().all(|item| item.is_leaf() && item.origin == *origin) {
        return None;
    }
    let items: Vec<String> = items.iter().map(|item| scalar(&item.value, Style::Flow)).collect();
    let text = format!("[{}]", items.join(", "));
    (text.len() <= MAX_FLOW).then_some(text)
}

fn scalar(value: &Value, style: Style) -> String {
    let Value::Text(text) = value else { return literal(value) };
    let dollars = text.replace('$', "$$");
    match text.strip_prefix("file://") {
        // Read back, it would name a file; this variable is nobody's, so nothing stands before it.
        Some(_) => quoted(&format!("${{TOLLGATE_NOTHING:-}}{dollars}"), style),
        None => quoted(&dollars, style),
    }
}

/// What needs no quotes whatever is in it.
fn literal(value: &Value) -> String {
    match value {
        Value::Boolean(value) => value.to_string(),
        Value::Number(value) => value.to_string(),
        Value::List(_) => "[]".to_owned(),
        Value::Map(_) => "{}".to_owned(),
        Value::Text(text) => quoted(text, Style::Flow),
    }
}

/// The text as it stands, where nobody can take it for anything else; otherwise in quotes.
fn quoted(text: &str, style: Style) -> String {
    if is_plain(text, style) {
        return text.to_owned();
    }
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            _ if is_printable(c) => quoted.push(c),
            _ => quoted.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    quoted.push('"');
    quoted
}

fn is_plain(text: &str, style: Style) -> bool {
    let begins = text.starts_with(|c: char| c.is_alphanumeric() || "/_.$".contains(c));
    let inside =
        |c: char| c.is_alphanumeric() || "-_./:@%+=~*?()$".contains(c) || (style == Style::Block && "{}".contains(c));
    // `5s: x` would be a key, and a number must stay text.
    let is_number =
        text.replace('_', "").parse::<f64>().is_ok() || ["0x", "0o", "0b"].iter().any(|base| text.starts_with(base));
    begins
        && text.chars().all(inside)
        && !text.ends_with(':')
        && !is_number
        && !WORDS.contains(&text.to_ascii_lowercase().as_str())
}

fn is_printable(c: char) -> bool {
    let noncharacter = u32::from(c) & 0xfffe == 0xfffe;
    !c.is_control() && !noncharacter && !"\u{a0}\u{2028}\u{2029}\u{feff}".contains(c)
}
